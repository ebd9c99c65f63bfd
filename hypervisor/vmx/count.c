// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Count sources: how one move of the run loop is made, and what it counts. vmx.h tells them apart.
 *
 * A kick stops the guest anywhere, also after the processor has delivered a fault by itself, where
 * no landmark can name the place: with the performance counter one step, or a few, lead to one that
 * can.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/vmx/vmx.h"

/* Entries without the counter, one after the other, after which it is taken to be lost for good. */
#define LOST_MAX 100

static bool exits_advance(struct vmx *v)
{
	if (vmx_steps_branches(v) || v->rep_unnamed)
		return vmx_single_step(v);
	return vmx_run_free(v, UINT64_MAX) && vmx_complete(v);
}

static bool steps_advance(struct vmx *v)
{
	return vmx_single_step(v);
}

/* ---- the performance counter, behind landing.h ---- */

static bool fail(struct vmx *v, const char *text)
{
	snprintf(v->error, sizeof(v->error), "%s", text);
	return false;
}

static bool has_counter(struct vmx *v)
{
	v->lost = v->run->exit_reason == TWVMX_EXIT_PMU ? v->lost + 1 : 0;
	return v->lost < LOST_MAX ||
	       fail(v, "the kernel has taken the performance counter away: somebody else uses the "
		       "counters (perf, a profiler), or its interrupts were too frequent "
		       "(kernel.perf_event_max_sample_rate)");
}

static enum landing_stop pmu_run(void *ctx, uint64_t distance)
{
	struct vmx *v = ctx;

	if (!vmx_run_free(v, distance ? v->count + distance : UINT64_MAX) || !has_counter(v))
		return LANDING_FAILED;
	return v->run->exit_reason == TWVMX_EXIT_COUNT ? LANDING_OVERFLOW : LANDING_EXIT;
}

static bool pmu_complete(void *ctx)
{
	return vmx_complete(ctx);
}

static bool pmu_step(void *ctx)
{
	struct vmx *v = ctx;
	uint64_t before = v->count;

	if (!vmx_single_step(v) || !has_counter(v))
		return false;
	if (!v->at_landmark || v->count > before)
		return true;
	return fail(v, "an instruction retired in a single step and the performance counter did "
		       "not count it");
}

static uint64_t pmu_count(void *ctx)
{
	return ((struct vmx *)ctx)->count;
}

/* The next boundary that a landmark names is wanted, whichever it is. */
static bool wants_next(const struct vmx *v)
{
	return vmx_is_kicked(v) || v->stop_wanted || v->st.in_rep || v->until.count <= v->count ||
	       vmx_steps_branches(v);
}

static bool pmu_advance(struct vmx *v)
{
	static const struct landing_ops ops = { pmu_run, pmu_complete, pmu_step, pmu_count };
	uint64_t target = wants_next(v) ? v->count + 1 : v->until.count;
	int ret = landing_advance(&v->landing, &ops, v, target, v->until.may_pass);

	if (ret == -EOVERFLOW || ret == -EPROTO)
		fail(v, v->landing.error);
	return ret == 0;
}

const struct count_source vmx_count_exits = { .advance = exits_advance };
const struct count_source vmx_count_steps = { .retired = true, .advance = steps_advance };
const struct count_source vmx_count_pmu = { .retired = true, .pmu = true, .advance = pmu_advance };
