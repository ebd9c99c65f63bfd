// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/clock.h"

#include <errno.h>

#include "base/log.h"

typedef unsigned __int128 u128;

void clock_init(struct clock *c)
{
	*c = (struct clock){ .rate = CLOCK_RATE_ONE };
}

uint64_t clock_ns_at(const struct clock *c, uint64_t count)
{
	u128 ns = (u128)(count - c->anchor_count) * c->rate >> CLOCK_RATE_SHIFT;

	return c->anchor_ns + (uint64_t)ns;
}

uint64_t clock_now(const struct clock *c)
{
	return clock_ns_at(c, c->count(c->count_ctx));
}

uint64_t clock_count_at(const struct clock *c, uint64_t ns)
{
	u128 n;

	if (ns <= c->anchor_ns)
		return c->anchor_count;
	n = (((u128)(ns - c->anchor_ns) << CLOCK_RATE_SHIFT) + c->rate - 1) / c->rate;
	return n > UINT64_MAX - c->anchor_count ? UINT64_MAX : c->anchor_count + (uint64_t)n;
}

int clock_anchor(struct clock *c, uint64_t ns, uint32_t rate)
{
	uint64_t count = c->count(c->count_ctx);

	if (rate == 0 || rate > CLOCK_RATE_MAX || ns < clock_ns_at(c, count) || ns > INT64_MAX)
		return -EINVAL;
	c->anchor_ns = ns;
	c->anchor_count = count;
	c->rate = rate;
	return 0;
}

void timer_init(struct clock *c, struct timer *t, const char *name, void (*fire)(void *), void *ctx)
{
	must(c->ntimers < CLOCK_TIMERS);
	*t = (struct timer){ .deadline = CLOCK_NEVER, .fire = fire, .ctx = ctx, .name = name };
	c->timers[c->ntimers++] = t;
}

void timer_set(struct clock *c, struct timer *t, uint64_t deadline_ns)
{
	if (t->deadline == deadline_ns)
		return;
	t->deadline = deadline_ns;
	if (c->changed)
		c->changed(c->changed_ctx);
}

void timer_stop(struct clock *c, struct timer *t)
{
	t->deadline = CLOCK_NEVER;
}

static struct timer *clock_first(const struct clock *c)
{
	struct timer *first = NULL;

	for (size_t i = 0; i < c->ntimers; i++) {
		struct timer *t = c->timers[i];

		if (t->deadline != CLOCK_NEVER && (!first || t->deadline < first->deadline))
			first = t;
	}
	return first;
}

uint64_t clock_next_deadline(const struct clock *c)
{
	const struct timer *t = clock_first(c);

	return t ? t->deadline : CLOCK_NEVER;
}

#define EXPIRE_MAX 1000

void clock_expire(struct clock *c)
{
	uint64_t now = clock_now(c);

	for (unsigned n = 0; n < EXPIRE_MAX; n++) {
		struct timer *t = clock_first(c);

		if (!t || t->deadline > now)
			return;
		t->deadline = CLOCK_NEVER;
		t->fire(t->ctx);
	}
}

void clock_save(const struct clock *c, struct buf *out)
{
	buf_put_u64(out, c->anchor_ns);
	buf_put_u64(out, c->anchor_count);
	buf_put_u32(out, c->rate);
	buf_put_u8(out, (uint8_t)c->ntimers);
	for (size_t i = 0; i < c->ntimers; i++)
		buf_put_u64(out, c->timers[i]->deadline);
}

int clock_restore(struct clock *c, struct rd *in)
{
	uint64_t ns = rd_u64(in), count = rd_u64(in);
	uint32_t rate = rd_u32(in);
	uint8_t n = rd_u8(in);

	if (in->bad || n != c->ntimers || rate == 0 || rate > CLOCK_RATE_MAX || ns > INT64_MAX)
		return -EINVAL;
	c->anchor_ns = ns;
	c->anchor_count = count;
	c->rate = rate;
	for (size_t i = 0; i < n; i++)
		c->timers[i]->deadline = rd_u64(in);
	return in->bad ? -EINVAL : 0;
}
