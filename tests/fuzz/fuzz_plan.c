// SPDX-License-Identifier: GPL-2.0-or-later
/* A campaign's plan, and what is drawn from one that is taken. */
#include "base/log.h"
#include "host/campaign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct campaign_plan p;
	struct err err = ERR_INIT;

	if (campaign_plan_parse(&p, (const char *)data, size, "fuzz", &err) == 0) {
		for (uint64_t n = 0; n < 20; n++) {
			struct fault f;

			if (!campaign_plan_draw(&p, n, 100, 5000, 1 << 20, &f))
				continue;
			must(f.count >= 100 && f.count < 5000 && f.bit < fault_bits(f.place));
			must(f.index < 1 << 20);
		}
	}
	campaign_plan_free(&p);
	return 0;
}
