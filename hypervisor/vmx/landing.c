// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/landing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void landing_init(struct landing *l)
{
	memset(l, 0, sizeof(*l));
	l->margin = LANDING_MARGIN_FIRST;
	l->margin_least = LANDING_MARGIN_MIN;
}

void landing_know(struct landing *l, const struct landing *measured)
{
	l->skid_max = measured->skid_max;
	l->margin = l->margin_least = measured->margin;
}

static unsigned bucket_of(uint64_t skid)
{
	unsigned b = skid ? 64u - (unsigned)__builtin_clzll(skid) : 0;

	return b < LANDING_BUCKETS ? b : LANDING_BUCKETS - 1;
}

/* The least margin, doubled until it is `times` the largest skid seen, within the bounds. */
static uint64_t margin_for(const struct landing *l, unsigned times)
{
	uint64_t margin = l->margin_least;

	while (margin < times * l->skid_max && margin < LANDING_MARGIN_MAX)
		margin *= 2;
	return margin;
}

/*
 * Twice the skid is the least. What a host needs is known when some have been seen; because skid
 * has rare long tails, four times the longest is kept then. An exit that came before the interrupt
 * tells of a skid that it has cut short: the margin may grow for it, but it teaches nothing.
 */
static void fit_margin(struct landing *l, bool interrupted)
{
	uint64_t least = margin_for(l, 2);

	l->learnt += interrupted;
	if (l->margin < least)
		l->margin = least;
	else if (interrupted && l->learnt == LANDING_LEARNT)
		l->margin = margin_for(l, 4);
}

static void measure_skid(struct landing *l, uint64_t skid, bool interrupted)
{
	l->overflows++;
	l->late += !interrupted;
	l->skid[bucket_of(skid)]++;
	if (skid > l->skid_max)
		l->skid_max = skid;
	fit_margin(l, interrupted);
}

static int overshot(struct landing *l, uint64_t armed, uint64_t count, uint64_t target,
		    bool may_pass)
{
	l->overshoots++;
	if (count - target > l->overshoot_max)
		l->overshoot_max = count - target;
	if (may_pass)
		return 0;
	snprintf(l->error, sizeof(l->error),
		 "the guest ran %llu instructions past the count %llu where it had to stop: the "
		 "performance counter's interrupt, armed at %llu, came too late or not at all",
		 (unsigned long long)(count - target), (unsigned long long)target,
		 (unsigned long long)armed);
	return -EOVERFLOW;
}

static int run_free(struct landing *l, const struct landing_ops *ops, void *ctx, uint64_t distance,
		    uint64_t target, bool may_pass)
{
	uint64_t armed = distance ? ops->count(ctx) + distance : UINT64_MAX, count;
	enum landing_stop stop = ops->run(ctx, distance);
	bool passed;

	l->runs++;
	if (stop == LANDING_FAILED)
		return -EIO;
	count = ops->count(ctx);
	if (count >= armed)
		measure_skid(l, count - armed, stop == LANDING_OVERFLOW);
	passed = distance && count >= target;
	if (passed && overshot(l, armed, count, target, may_pass) < 0)
		return -EOVERFLOW;
	if (stop == LANDING_EXIT && !ops->complete(ctx))
		return -EIO;
	l->landings += !passed && ops->count(ctx) == target;
	return 0;
}

static int single_step(struct landing *l, const struct landing_ops *ops, void *ctx, uint64_t target)
{
	uint64_t before = ops->count(ctx), n;

	l->steps++;
	if (!ops->step(ctx))
		return -EIO;
	n = ops->count(ctx) - before;
	l->landings += before + n == target;
	if (n <= 1)
		return 0;
	snprintf(l->error, sizeof(l->error),
		 "a single step at count %llu retired %llu instructions: the performance counter "
		 "is not exact",
		 (unsigned long long)before, (unsigned long long)n);
	return -EPROTO;
}

int landing_advance(struct landing *l, const struct landing_ops *ops, void *ctx, uint64_t target,
		    bool may_pass)
{
	uint64_t left = target - ops->count(ctx);

	if (target == UINT64_MAX)
		return run_free(l, ops, ctx, 0, target, may_pass);
	if (left > l->margin + LANDING_RUN_MIN)
		return run_free(l, ops, ctx, left - l->margin, target, may_pass);
	return single_step(l, ops, ctx, target);
}
