// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_translations.h"

#include "host/qualify_load.h"
#include "hypervisor/vmx/stale.h"

static void settle(const struct stale *idle, const struct stale *busy, unsigned threads,
		   unsigned cpus, struct check *c)
{
	unsigned faults = idle->differ[STALE_FAULTS] + busy->differ[STALE_FAULTS];
	bool same = !idle->differ[STALE_ACCESSED] && !busy->differ[STALE_ACCESSED] &&
		    !idle->differ[STALE_XINUSE] && !busy->differ[STALE_XINUSE];

	qualify_settle(
		c,
		faults			  ? CHECK_BAD
		: same && threads >= cpus ? CHECK_GOOD
					  : CHECK_NOTE,
		"%u runs idle, %u while %u threads on %u CPUs write all over memory: in %u a "
		"page fault came that the tables do not explain (%llu were kept from guests); "
		"accessed bits other than the software CPU's in %u and %u, XINUSE (machine "
		"version 1 alone has it) in %u and %u",
		idle->runs, busy->runs, threads, cpus, faults,
		(unsigned long long)(idle->spurious + busy->spurious), idle->differ[STALE_ACCESSED],
		busy->differ[STALE_ACCESSED], idle->differ[STALE_XINUSE],
		busy->differ[STALE_XINUSE]);
}

void qualify_check_translations(const struct check_input *in, struct check *c)
{
	struct err err = ERR_INIT;
	struct stale idle, busy = { 0 };
	struct qualify_load *load;
	unsigned threads, cpus;
	int ret;

	if (in->no_vmx) {
		qualify_settle(c, CHECK_NOT_DONE, "no guest can run");
		return;
	}
	ret = stale_measure(&vmx_engine_ops, in->repeats, &idle, &err);
	load = qualify_load_begin(&threads, &cpus);
	if (ret == 0)
		ret = stale_measure(&vmx_engine_ops, in->repeats, &busy, &err);
	qualify_load_end(load);
	if (ret < 0 || idle.error[0] || busy.error[0])
		qualify_settle(c, CHECK_BAD, "%.200s",
			       ret < 0	       ? err.text
			       : idle.error[0] ? idle.error
					       : busy.error);
	else
		settle(&idle, &busy, threads, cpus, c);
}
