// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A join, as the live side sees it:
 *
 *   handshake                      acceptor
 *   each phase's step(), in turn   sender, while the guest runs, until all say that little is left
 *   sync point                     vCPU: TLB flush and digest, which are recorded inputs
 *   each phase's finish()          vCPU, the guest stands still: what is left
 *   READY of the backup            receiver: what was copied is in step
 *
 * The guest is not touched before the sync point: a backup that is lost, refused or slow until then
 * costs it nothing. One thread at a time uses what step() and finish() use: the sender makes no
 * more steps once the sync point is due.
 */
#include "replica/joining.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "replica/replica_private.h"

#define STEP_BLOCKS 16u	       /* of a disk, in one step */
#define DISK_LITTLE (1u << 20) /* bytes of disks that can wait for the sync point */

struct joining {
	struct session *s;
	struct disk_source *disks;

	/* the sender's */
	uint64_t next_ns; /* --sync-rate: nothing is sent before */
	uint64_t looked_ns, looked_sent, looked_left;

	/* written by the sender, read by all */
	atomic_uint_fast64_t sent;
	atomic_uint_fast64_t rate; /* bytes a second */
	atomic_bool behind;
};

static int push_disk(void *ctx, struct buf *message)
{
	struct session *s = ctx;

	if (atomic_load(&s->over))
		return -ECONNRESET;
	session_push(s, parcel_new(WIRE_DISK, message));
	return 0;
}

struct joining *joining_new(struct session *s)
{
	struct disks *d = &s->r->disks;
	struct joining *j = calloc(1, sizeof(*j));
	uint64_t seed;

	if (!j || getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed) ||
	    !(j->disks = disk_source_new(d->disk, d->n, seed, push_disk, s))) {
		free(j);
		return NULL;
	}
	j->s = s;
	return j;
}

void joining_free(struct joining *j)
{
	if (!j)
		return;
	disk_source_free(j->disks);
	free(j);
}

int joining_take_disk(struct joining *j, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	int ret = disk_source_take(j->disks, &in, err);

	queue_wake(&j->s->queue); /* the sender may have waited for this */
	return ret;
}

int joining_complete(struct joining *j, struct err *err)
{
	if (!disk_source_confirmed(j->disks))
		return err_set(err, EBADMSG,
			       "the backup has the state, and has not confirmed its disks");
	return disk_source_in_step(j->disks, err);
}

/* ---- disks ---- */

/* Once a second: how fast it goes, and whether it comes to an end. */
static void look_at_progress(struct joining *j, uint64_t now, uint64_t left)
{
	uint64_t ns = now - j->looked_ns, sent = atomic_load(&j->sent);

	if (j->looked_ns && ns < NS_PER_S)
		return;
	if (j->looked_ns) {
		atomic_store(&j->rate, (sent - j->looked_sent) * NS_PER_S / ns);
		atomic_store(&j->behind, left > DISK_LITTLE && left >= j->looked_left);
	}
	j->looked_ns = now;
	j->looked_sent = sent;
	j->looked_left = left;
}

static int disks_step(struct joining *j, struct err *err)
{
	uint64_t now = replica_mono_ns(), rate = j->s->r->cfg.sync_rate, left;
	int ret;

	if (!disk_source_begun(j->disks))
		return JOINING_WAITS;
	left = disk_source_left(j->disks);
	look_at_progress(j, now, left);
	if (left <= DISK_LITTLE)
		return JOINING_LITTLE;
	if (now < j->next_ns)
		return JOINING_WAITS;
	ret = disk_source_step(j->disks, STEP_BLOCKS, err);
	if (ret < 0)
		return ret;
	left = disk_source_sent(j->disks) - atomic_load(&j->sent);
	atomic_fetch_add(&j->sent, left);
	if (rate)
		j->next_ns =
			(j->next_ns + NS_PER_S > now ? j->next_ns : now) + left * NS_PER_S / rate;
	return ret == 1 ? JOINING_MORE : JOINING_WAITS;
}

static int disks_finish(struct joining *j, uint64_t seq, struct err *err)
{
	return disk_source_finish(j->disks, seq, err);
}

/* ---- the machine ---- */

static int state_finish(struct joining *j, uint64_t seq, struct err *err)
{
	link_send_state(j->s, seq);
	return 0;
}

/* ---- the phases ---- */

/* step: NULL: nothing goes ahead. finish() is called in this order. */
static const struct {
	int (*step)(struct joining *j, struct err *err);
	int (*finish)(struct joining *j, uint64_t seq, struct err *err);
} phases[] = {
	{ disks_step, disks_finish },
	{ NULL, state_finish },
};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

int joining_step(struct joining *j, struct err *err)
{
	int result = JOINING_LITTLE;

	for (unsigned i = 0; i < PHASES; i++) {
		int ret = phases[i].step ? phases[i].step(j, err) : JOINING_LITTLE;

		if (ret < 0 || ret == JOINING_MORE)
			return ret;
		if (ret == JOINING_WAITS)
			result = ret;
	}
	return result;
}

int joining_finish(struct joining *j, uint64_t seq, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < PHASES && ret == 0; i++)
		ret = phases[i].finish(j, seq, err);
	return ret;
}

/* ---- for status, and for the guest's pace ---- */

void joining_get_progress(struct joining *j, struct joining_progress *p)
{
	p->sent = atomic_load(&j->sent);
	p->left = disk_source_begun(j->disks) ? disk_source_left(j->disks) : 0;
	p->rate = (double)atomic_load(&j->rate);
}

bool joining_falls_behind(struct joining *j)
{
	return atomic_load(&j->behind);
}
