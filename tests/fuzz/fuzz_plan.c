// SPDX-License-Identifier: GPL-2.0-or-later
/* A campaign's plan, and what is drawn from one that is taken. */
#include "base/log.h"
#include "host/campaign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct machine_config config = { .memory = 1 << 20, .nnics = 2, .ndisks = 2 };
	static const struct experiment_moment moment[] = {
		{ 50, 0, 1 }, { 700, 1, 1 }, { 700, 0, 2 }, { 4000, 1, 1 }, { 6000, 0, 1 }
	};
	const struct campaign_space space = {
		.start = 100, .end = 5000, .config = &config, .moment = moment, .nmoments = 5
	};
	struct campaign_plan p;
	struct err err = ERR_INIT;

	if (campaign_plan_parse(&p, (const char *)data, size, "fuzz", &err) == 0) {
		for (uint64_t n = 0; n < 20; n++) {
			struct fault f[CAMPAIGN_TOGETHER];

			if (!campaign_plan_draw(&p, n, &space, f))
				continue;
			for (uint64_t i = 0; i < p.together; i++) {
				uint64_t last;

				must(fault_last(f[i].place, &config, &last) && f[i].index <= last);
				must(f[i].count >= 100 && f[i].count < 5000);
				must(f[i].bit < fault_bits(f[i].place));
			}
		}
	}
	campaign_plan_free(&p);
	return 0;
}
