// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/hooks.h"

#include "base/log.h"

static bool chain_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			  uint64_t digest)
{
	struct live_hooks_chain *c = ctx;
	bool good = true;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].applied)
			good &= c->user[i].applied(c->user[i].ctx, m, sp, digest);
	}
	return good;
}

/* Drops all flushes but the last one: no input may come between a flush and its digest. */
static size_t keep_one_flush(struct input *in, size_t n)
{
	size_t kept = 0, flushes = 0;

	for (size_t i = 0; i < n; i++)
		flushes += in[i].kind == INPUT_FLUSH_TLB;
	for (size_t i = 0; i < n; i++) {
		if (in[i].kind == INPUT_FLUSH_TLB && --flushes)
			continue;
		in[kept++] = in[i];
	}
	return kept;
}

static size_t chain_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct live_hooks_chain *c = ctx;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].inputs)
			n += c->user[i].inputs(c->user[i].ctx, m, in + n, max - n);
	}
	return keep_one_flush(in, n);
}

static bool chain_wants_sync(void *ctx)
{
	struct live_hooks_chain *c = ctx;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].wants_sync && c->user[i].wants_sync(c->user[i].ctx))
			return true;
	}
	return false;
}

static void chain_pace(void *ctx, struct machine *m)
{
	struct live_hooks_chain *c = ctx;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].pace)
			c->user[i].pace(c->user[i].ctx, m);
	}
}

static bool chain_spins(void *ctx, struct machine *m)
{
	struct live_hooks_chain *c = ctx;
	bool end = false;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].spins)
			end |= c->user[i].spins(c->user[i].ctx, m);
	}
	return end;
}

static void chain_idle(void *ctx)
{
	struct live_hooks_chain *c = ctx;

	for (size_t i = 0; i < c->n; i++) {
		if (c->user[i].idle)
			c->user[i].idle(c->user[i].ctx);
	}
}

void live_hooks_chain_add(struct live_hooks_chain *c, const struct live_hooks *h)
{
	must(c->n < LIVE_HOOKS_USERS);
	c->user[c->n++] = *h;
}

struct live_hooks live_hooks_chain_ops(struct live_hooks_chain *c)
{
	struct live_hooks h = { .ctx = c,
				.applied = chain_applied,
				.inputs = chain_inputs,
				.wants_sync = chain_wants_sync,
				.pace = chain_pace,
				.spins = chain_spins,
				.idle = chain_idle };

	for (size_t i = 0; i < c->n; i++)
		h.waits |= c->user[i].waits;
	return h;
}
