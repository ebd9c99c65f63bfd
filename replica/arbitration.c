// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arbitration. A replica that has lost the other one, which may be live, asks the arbiter for the
 * next generation. Only a definite answer ends the replica. While the arbiter cannot tell (no
 * space, a read-only or damaged directory, a keeper that is gone), no output leaves here and the
 * arbiter is asked again. This replica may be the only copy of the guest, and the other one can be
 * live only if it was given the generation that we ask for.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define ASK_AGAIN_NS (50 * NS_PER_MS)

/* Waits before the arbiter is asked again. False: this replica was told to stop. */
static bool wait_to_ask_again(struct replica *r)
{
	uint64_t until = host_mono_ns() + ASK_AGAIN_NS;

	while (host_mono_ns() < until && !atomic_load(&r->stopping))
		replica_nap();
	hang_report(r);
	return !atomic_load(&r->stopping);
}

/*
 * Called when the generation that we ask for is taken. 1: the last generation taken belongs to this
 * replica or the other one, and neither has taken one without the mark that it counts on the other:
 * we go on with the generation after it; 0: otherwise; -errno: the arbiter cannot tell.
 */
static int moved(struct replica *r, uint64_t generation, struct err *err)
{
	struct later l;
	int ret = later_look(r, generation, &l, err);

	if (ret < 0 || l.left || !l.ours)
		return ret;
	failover_take(&r->failover, FAILOVER_MOVED, l.last);
	return 1;
}

/* As arbiter_take(). 2: the arbiter has to be asked again, for a later generation. */
static int ask_once(struct replica *r, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		    struct err *err)
{
	int ret = hang_prove_alive(r) ? arbiter_take(r->cfg.arbiter, generation, id, err) : 0;
	int went = ret == 0 ? moved(r, generation, err) : 0;

	if (went)
		return went < 0 ? went : 2;
	if (ret == 1)
		failover_take(&r->failover, FAILOVER_WON, generation);
	else
		failover_event(&r->failover, ret ? FAILOVER_UNKNOWN : FAILOVER_TAKEN);
	return ret;
}

/*
 * Asks until the answer is definite. 1: the generation is ours; 0: another replica has it;
 * -ECANCELED: this replica was told to stop before an answer came.
 */
static int ask(struct replica *r, const uint8_t id[ARBITER_ID_LEN], const char *lost)
{
	uint64_t generation;
	bool told = false;

	while (failover_asks(&r->failover, &generation)) {
		struct err err = ERR_INIT;
		int ret = ask_once(r, generation, id, &err);

		if (ret == 2)
			continue;
		if (ret >= 0)
			return ret;
		if (!told)
			replica_event(r, "asking",
				      "%s, and the arbiter cannot tell who goes on (%s): nothing "
				      "leaves until it answers",
				      lost, err.text);
		told = true;
		if (!wait_to_ask_again(r))
			return -ECANCELED;
	}
	return failover_is_live(failover_state(&r->failover));
}

void arbitrate_stop(struct replica *r)
{
	replica_end_live(r);
	hang_linger(r);
}

void arbitrate_go_on(struct replica *r, const char *why)
{
	char lost[600];
	int won;

	snprintf(lost, sizeof(lost), "the backup is gone (%s)", why);
	won = ask(r, r->id, lost);
	if (won == 1) {
		disks_part(r);
		outbox_drain(&r->outbox);
		replica_event(r, "unprotected",
			      "%s: going on alone in generation %" PRIu64 ", UNPROTECTED", lost,
			      failover_generation(&r->failover));
		replica_wake(r);
	} else if (won == 0) {
		replica_event(r, "fenced",
			      "%s and the arbiter has given the next generation to it: stopping "
			      "for good",
			      lost);
		arbitrate_stop(r);
	}
}

/*
 * The next generation must be ours before the backup is dropped. The backup asks for it as soon as
 * it sees the end of its connection, and must not be first. If this side dies between the two
 * steps, neither goes on; without a backup that would be so as well.
 *
 * A lost answer may have been yes. Then the backup could not go on any more although status says
 * that it protects the guest. So the backup is dropped then, too, and the arbiter is asked until it
 * tells. If the arbiter cannot be read, or says that it does not give the generation away, nothing
 * was taken.
 */
int arbitrate_dismiss(struct replica *r, const char *why, struct err *err)
{
	uint64_t generation = failover_generation(&r->failover) + 1, last;
	int ret;

	if (!failover_counts_on(failover_state(&r->failover)) || !hang_prove_alive(r))
		return err_set(err, EBUSY, "its backup does not protect it yet: try again");
	ret = arbiter_last(r->cfg.arbiter, &last, err);
	if (ret < 0)
		return ret;
	ret = arbiter_take(r->cfg.arbiter, generation, r->id, err);
	if (ret == 0)
		return err_set(err, EBUSY, "the next generation was taken by another replica");
	if (ret == -EPERM)
		return ret;
	link_give_up(r, why);
	if (failover_state(&r->failover) != REPLICA_ALONE)
		return err_set(err, EPERM, "this replica is not live any more");
	return 0;
}

void arbitrate_at_end(struct replica *r, uint64_t deadline_ns)
{
	uint64_t generation;

	while (failover_asks(&r->failover, &generation)) {
		int ret = arbiter_take(r->cfg.arbiter, generation, r->id, NULL);

		if (ret == 1) {
			failover_take(&r->failover, FAILOVER_WON, generation);
			disks_part(r);
		} else {
			failover_event(&r->failover, ret ? FAILOVER_UNKNOWN : FAILOVER_TAKEN);
		}
		if (ret >= 0 || host_mono_ns() > deadline_ns)
			return;
		replica_beat(r);
		replica_nap();
	}
}

int arbitrate_claim(struct replica *r, const char *why)
{
	char lost[600];
	int won;

	snprintf(lost, sizeof(lost), "the primary is gone (%s)", why);
	won = ask(r, r->id, lost);
	if (won == 0)
		replica_event(r, "fenced",
			      "%s and the arbiter has given the next generation to it: stopping "
			      "for good",
			      lost);
	return won;
}

int arbitrate_take_over(struct replica *r)
{
	uint8_t id[ARBITER_ID_LEN];
	int won;

	arbiter_mark(id, r->id);
	won = ask(r, id, "the primary has handed over");
	if (won == 0)
		replica_event(r, "fenced",
			      "the primary handed over and went on before this replica was ready: "
			      "stopping for good");
	return won;
}
