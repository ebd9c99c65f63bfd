// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A join, as the live side sees it:
 *
 *   handshake                      acceptor
 *   each phase's step(), in turn   sender, while the guest runs, until all say that little is left
 *   joining_look()                 vCPU, now and then: which pages were written
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define STEP_BLOCKS   16u	 /* of a disk, in one step */
#define DISK_LITTLE   (1u << 20) /* bytes of disks that can wait for the sync point */
#define PAGES_A_FRAME 64u
#define PLACES_NS     NS_PER_S /* how long to wait for a transport that can place pages */
#define PAGES_A_RUN   16u      /* shorter runs are sent in frames, although they could be placed */
#define PROGRESS_NS   (2 * NS_PER_S) /* time between two events about progress */

struct joining {
	struct session *s;
	struct disk_source *disks;
	struct rounds *rounds;
	/* pages that the backup has; the receiver's until the list is complete */
	struct have *have;
	uint64_t begun_ns;

	/* the sender's */
	struct buf list; /* pages gathered for the next frame */
	unsigned pages;	 /* number of pages in the last frame */
	/* when the last frame was queued */
	uint64_t pages_ns;
	/* when progress was last reported; when a join that takes long is next reported */
	uint64_t told_ns, late_ns;
	uint64_t next_ns; /* --sync-rate: no block is sent before this time */
	uint64_t looked_ns, looked_sent, looked_left;

	/* written by the sender, read by all */
	atomic_uint_fast64_t sent;
	atomic_uint_fast64_t rate; /* bytes a second */
	atomic_bool behind;
	uint64_t due_ns;	     /* vCPU thread's: time of its last look */
	atomic_uint_fast64_t placed; /* pages placed straight into the backup's memory */
	/* written by the vCPU thread: the last round */
	atomic_uint_fast64_t pause_ns, last_pages;
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
	    !(j->disks = disk_source_new(d->disk, d->n, seed, push_disk, s)) ||
	    !(j->rounds = rounds_new(machine_memory(s->r->m), s->r->cfg.max_pause_ms)) ||
	    !(j->have = have_new(machine_memory(s->r->m)->pages))) {
		joining_free(j);
		return NULL;
	}
	rounds_backup_has(j->rounds, j->have);
	j->s = s;
	peer_share(s->wire.peer, machine_memory(s->r->m)->base, machine_memory(s->r->m)->size);
	j->begun_ns = j->told_ns = host_mono_ns();
	j->late_ns = j->begun_ns + s->r->cfg.join_timeout_ms * NS_PER_MS;
	return j;
}

void joining_free(struct joining *j)
{
	if (!j)
		return;
	disk_source_free(j->disks);
	rounds_free(j->rounds);
	have_free(j->have);
	buf_free(&j->list);
	free(j);
}

int joining_take_disk(struct joining *j, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	int ret = disk_source_take(j->disks, &in, err);

	queue_wake(&j->s->queue); /* the sender may be waiting for this */
	return ret;
}

int joining_take_have(struct joining *j, const struct wire_frame *f, struct err *err)
{
	int ret = have_take(j->have, f->data, f->len, err);

	if (ret < 0 || !have_is_complete(j->have))
		return ret;
	if (have_count(j->have))
		replica_event(j->s->r, "progress",
			      "backup %s: resumed, it has %llu KiB of this guest's memory",
			      peer_name(j->s->wire.peer),
			      (unsigned long long)(have_count(j->have) * PAGE_SIZE >> 10));
	queue_wake(&j->s->queue);
	return 0;
}

int joining_complete(struct joining *j, struct err *err)
{
	peer_share(j->s->wire.peer, NULL, 0);
	if (!disk_source_confirmed(j->disks))
		return err_set(err, EBADMSG,
			       "the backup has the state, and has not confirmed its disks");
	return disk_source_in_step(j->disks, err);
}

/* ---- disks ---- */

/* Once a second: measures the rate, and checks whether the disks are catching up. */
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
	uint64_t now = host_mono_ns(), rate = j->s->r->cfg.sync_rate, left;
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

/* ---- memory ---- */

static void push_pages(struct joining *j)
{
	struct parcel *p = parcel_new(WIRE_PAGES, &j->list);

	if (p)
		p->compress = true;
	session_push(j->s, p);
}

/*
 * Sends adjacent pages straight from this memory into the backup's, if the transport can. Returns
 * their number; 0: pages have to be sent in a frame. Pages that the guest wrote meanwhile are sent
 * again.
 */
static unsigned place_pages(struct joining *j, uint64_t now)
{
	uint64_t changed[PEER_PLACE / 64], first;
	unsigned n = rounds_next_run(j->rounds, PAGES_A_RUN, PEER_PLACE, &first, now);
	int ret = n ? peer_place(j->s->wire.peer, first, n, changed) : -EAGAIN;

	atomic_store(&j->s->moved_ns, host_mono_ns());
	for (unsigned i = 0; i < n; i++) {
		if (ret < 0 || page_set_has(changed, i))
			rounds_put_back(j->rounds, first + i);
	}
	if (ret == 0)
		atomic_fetch_add(&j->placed, n);
	return ret == 0 ? n : 0;
}

/*
 * Sends pages ahead. This is called only when the queue is empty, so the time since the last frame
 * was queued is the time that sending it took.
 */
static int memory_step(struct joining *j, struct err *err)
{
	enum peer_places way = peer_places(j->s->wire.peer);
	uint64_t now = host_mono_ns();

	if (!have_is_complete(j->have))
		return JOINING_WAITS;
	if (way == PEER_PLACES_SOON && now - j->begun_ns < PLACES_NS)
		return JOINING_WAITS;
	if (j->pages)
		rounds_sent(j->rounds, j->pages, now - j->pages_ns);
	j->pages_ns = now;
	j->pages = way == PEER_PLACES_NOW ? place_pages(j, now) : 0;
	if (!j->pages)
		j->pages = rounds_next(j->rounds, &j->list, PAGES_A_FRAME, now);
	if (j->list.len)
		push_pages(j);
	if (j->pages)
		return JOINING_MORE;
	if (!rounds_waits_for_vcpu(j->rounds))
		return JOINING_LITTLE;
	replica_wake(j->s->r);
	return JOINING_WAITS;
}

bool joining_look(struct joining *j, bool due)
{
	bool little;

	if (!due && !rounds_waits_for_vcpu(j->rounds))
		return false;
	j->due_ns = host_mono_ns();
	little = rounds_look(j->rounds, j->due_ns);
	if (!due || !little)
		queue_wake(&j->s->queue);
	return little;
}

/*
 * Sends the machine's state, and the pages that the backup still lacks now that the guest stands
 * still.
 */
static int state_finish(struct joining *j, uint64_t seq, struct err *err)
{
	struct session *s = j->s;
	struct buf b = BUF_INIT;
	uint64_t pages = 0;

	rounds_finish(j->rounds);
	buf_put_u64(&b, seq);
	machine_save(s->r->m, &b);
	session_push(s, parcel_new(WIRE_STATE, &b));
	for (unsigned n; (n = rounds_last(j->rounds, &j->list, PAGES_A_FRAME)); pages += n) {
		replica_beat(s->r);
		if (j->list.len)
			push_pages(j);
	}
	session_push(s, parcel_new(WIRE_STATE_END, &b));
	atomic_store(&j->last_pages, pages);
	return 0;
}

/* ---- what is told ---- */

#define MIB(bytes) ((double)(bytes) / (1u << 20))

static void tell_late(struct joining *j, const struct joining_progress *p, uint64_t now)
{
	struct replica *r = j->s->r;

	j->late_ns = now + r->cfg.join_timeout_ms * NS_PER_MS;
	replica_event(r, "slow-join",
		      "backup %s has not joined after %llu s: %.0f MiB are left, the link takes "
		      "%.1f MiB of memory a second; the guest writes %.1f with %.1f %% of its time",
		      peer_name(j->s->wire.peer),
		      (unsigned long long)((now - j->begun_ns) / NS_PER_S),
		      MIB(p->left + p->memory_left), MIB(p->memory_rate), MIB(p->dirty_rate),
		      p->share / 10.0);
}

static void tell_progress(struct joining *j)
{
	uint64_t now = host_mono_ns();
	struct joining_progress p;
	char kept[64] = "";

	if (now - j->told_ns < PROGRESS_NS)
		return;
	j->told_ns = now;
	joining_get_progress(j, &p);
	if (p.memory_kept)
		snprintf(kept, sizeof(kept), "resumed with %.0f MiB, ", MIB(p.memory_kept));
	replica_event(j->s->r, "progress",
		      "backup %s: %s%.0f MiB of memory sent, %.0f left; %.0f MiB of disks sent, "
		      "%.0f left",
		      peer_name(j->s->wire.peer), kept, MIB(p.memory_sent), MIB(p.memory_left),
		      MIB(p.sent), MIB(p.left));
	if (now >= j->late_ns)
		tell_late(j, &p, now);
}

/* ---- the phases ---- */

/* Steps and finishes are called in this order. */
static const struct {
	int (*step)(struct joining *j, struct err *err);
	int (*finish)(struct joining *j, uint64_t seq, struct err *err);
} phases[] = {
	{ disks_step, disks_finish },
	{ memory_step, state_finish },
};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

int joining_step(struct joining *j, struct err *err)
{
	int result = JOINING_LITTLE;

	tell_progress(j);
	for (unsigned i = 0; i < PHASES; i++) {
		int ret = phases[i].step(j, err);

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
	atomic_store(&j->pause_ns, host_mono_ns() - j->due_ns);
	return ret;
}

/* ---- for status, and for the guest's pace ---- */

void joining_get_progress(struct joining *j, struct joining_progress *p)
{
	struct rounds_progress m;

	p->sent = atomic_load(&j->sent);
	p->left = disk_source_begun(j->disks) ? disk_source_left(j->disks) : 0;
	p->rate = (double)atomic_load(&j->rate);
	rounds_get_progress(j->rounds, &m);
	p->memory = m.total * PAGE_SIZE;
	p->memory_sent = m.sent * PAGE_SIZE;
	p->memory_kept = m.kept * PAGE_SIZE;
	p->memory_left = m.left * PAGE_SIZE;
	p->memory_placed = atomic_load(&j->placed) * PAGE_SIZE;
	p->memory_rate = m.page_rate * PAGE_SIZE;
	p->dirty_rate = m.dirty_rate * PAGE_SIZE;
	p->share = m.share;
	p->last = atomic_load(&j->last_pages) * PAGE_SIZE;
	p->pause_ns = atomic_load(&j->pause_ns);
}

unsigned joining_share(struct joining *j)
{
	return rounds_share(j->rounds);
}

bool joining_falls_behind(struct joining *j)
{
	return atomic_load(&j->behind);
}
