// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stranger, such as a primary that was started by mistake with --force or with another pair's
 * arbiter, may take a protected pair's next generation. That would doom the pair: at the next
 * failure each side would find the generation taken, and stop. So the live side looks at the
 * arbiter every few seconds. If the backup is counted on, it takes the generation after the
 * stranger's, with the mark (arbiter.h). The backup still stands in the old generation. When it
 * asks the arbiter, it finds the mark and may ask for the generation after that, as may the live
 * side. No message is sent for this, and outputs leave as before.
 *
 * If one of the two takes a generation without the mark, it has gone on without the other. No
 * generation taken later changes that.
 */
#include "replica/healing.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define LOOK_NS (2 * NS_PER_S)
/* longest pause: two pairs that share an arbiter by mistake would outbid each other for ever */
#define PAUSE_MAX_NS (300 * NS_PER_S)

int later_look(struct replica *r, uint64_t from, struct later *l, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN], other[ARBITER_ID_LEN];
	int ret = arbiter_last(r->cfg.arbiter, &l->last, err);

	pthread_mutex_lock(&r->link.lock);
	memcpy(other, r->other, sizeof(other));
	pthread_mutex_unlock(&r->link.lock);
	l->left = l->ours = l->mine = false;
	for (uint64_t g = from; ret >= 0 && g <= l->last && !l->left; g++) {
		ret = arbiter_owner(r->cfg.arbiter, g, owner, err);
		if (ret < 0)
			return ret;
		l->mine = arbiter_same_owner(owner, r->id);
		l->ours = l->mine || arbiter_same_owner(owner, other);
		/*
		 * A generation without an owner was lost by the arbiter: any process may have had
		 * it.
		 */
		l->left = ret == 0 || (l->ours && !arbiter_is_marked(owner));
	}
	return ret < 0 ? ret : 0;
}

static void tell_once(struct replica *r, uint64_t generation, const char *text)
{
	struct healing *h = &r->healing;

	if (h->told == generation)
		return;
	h->told = generation;
	replica_event(r, "taken",
		      "generation %" PRIu64 " was taken by a replica that is not of this pair (one "
		      "that was started with --force, or another pair with the same arbiter): %s",
		      generation, text);
}

/* Takes the generation after a stranger's, which is the last one. */
static void heal(struct replica *r, uint64_t last)
{
	uint8_t id[ARBITER_ID_LEN];
	struct healing *h = &r->healing;

	if (!failover_counts_on(failover_state(&r->failover))) {
		tell_once(r, last,
			  "a backup that joins is counted on in a later one; until then make sure "
			  "that it is not live");
		return;
	}
	tell_once(r, last, "this pair takes the one after it");
	arbiter_mark(id, r->id);
	if (arbiter_take(r->cfg.arbiter, last + 1, id, NULL) != 1)
		return; /* the next look is soon */
	h->due_ns = host_mono_ns() + h->pause_ns;
	h->pause_ns = 2 * h->pause_ns < PAUSE_MAX_NS ? 2 * h->pause_ns : PAUSE_MAX_NS;
	if (!failover_move(&r->failover, last + 1))
		return;
	atomic_fetch_add(&h->healed, 1);
	replica_event(r, "healed",
		      "generation %" PRIu64 " is this pair's: either side may go on without the "
		      "other again",
		      last + 1);
}

void healing_step(struct replica *r)
{
	uint64_t generation = failover_generation(&r->failover), now = host_mono_ns();
	struct healing *h = &r->healing;
	struct later l;

	if (now < h->due_ns || !failover_is_live(failover_state(&r->failover)))
		return;
	if (!h->pause_ns)
		h->pause_ns = LOOK_NS;
	h->due_ns = now + LOOK_NS;
	/* Errors are reported by the code that depends on the arbiter's answer. */
	if (later_look(r, generation + 1, &l, NULL) < 0 || l.left)
		return;
	if (l.last > generation && l.mine) /* we have it, but the answer was lost */
		failover_move(&r->failover, l.last);
	else if (l.last > generation && !l.ours)
		heal(r, l.last);
	else if (l.last < generation && h->told != generation) {
		h->told = generation;
		replica_event(r, "forgotten",
			      "the arbiter has forgotten generation %" PRIu64
			      ": at the next failure nobody may go on. Its storage was replaced or "
			      "put back; end the pair and start it again with `twinstep primary "
			      "--force`",
			      generation);
	}
}
