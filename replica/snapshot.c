// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A snapshot on the backup costs the guest nothing that it could notice: the backup is a few
 * milliseconds behind anyway.
 *
 *   snapshot's thread                 backup's vCPU thread           live side
 *   pages to the file, in rounds      adds what was written since
 *                                     little is left: a wish   -->   flushes the TLB, takes a
 *                                     at that record: copies   <--   digest: a record
 *                                     what is left, and the
 *                                     machine's state; disks
 *                                     keep what they overwrite
 *   writes the checkpoint,
 *   disks as they were
 *
 * The record is there because a restored machine begins with empty TLBs: behind it, both replicas
 * are in the state from which it will go on.
 *
 * The file is what the command that asks has opened. Pages stand behind the place that the
 * checkpoint can take, each where its number says, and behind them what disks have overwritten; in
 * the end the checkpoint is made of them, and the rest is cut off. So memory need not be held
 * twice. Neither the vCPU thread nor those of disks write to that file, which may be slow: what
 * they keep is in memory, within bounds.
 *
 * Until the moment of the snapshot it belongs to the backup, and ends when the roles change;
 * what comes behind goes on whatever this replica is by then.
 */
#include "replica/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/host_clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "record/disk_copy.h"
#include "record/pages.h"
#include "replica/replica_private.h"

#define PAUSE_MS      50u /* at first, the replay may stand still for copying for so long */
#define LOOKS	      10u /* after so many rounds, twice as long */
#define PAGES_A_STEP  64u /* pages of memory written to the file in one step */
#define BLOCKS_A_STEP 16u /* blocks of a disk, likewise */
#define NAP_NS	      (5 * NS_PER_MS)
/* time allowed for writing memory ahead and for the record ... */
#define MEMORY_NS    (600 * NS_PER_S)
#define MIB_A_SECOND 16	      /* ... and more for large memories, at this rate of a slow disk */
#define NAMES_NS     NS_PER_S /* time between two checks that the file still has a name */

struct snapshot_job {
	struct replica *r;
	uint64_t number, begun_ns;
	uint64_t named_ns; /* when it was last checked that the file has a name; 0: check at once */
	int fd;
	uint64_t pages_at; /* where page 0 would stand in the file */
	struct memory *mem;
	uint64_t *have; /* set of pages that are not zero; the snapshot thread's */

	/*
	 * used by both threads as rounds.h says, and by the vCPU thread alone once the record is
	 * asked for
	 */
	struct rounds *rounds;
	unsigned looks;

	/* the vCPU thread's until the snapshot is taken, then the snapshot thread's */
	bool taken;
	struct checkpoint_info info;
	struct buf last, state; /* the pages left at the end; the state from machine_save() */
	struct disk_copy *disks;
	uint64_t pause_ns;
};

const char *snapshot_stage_name(enum snapshot_stage s)
{
	static const char *const names[SNAPSHOT_STAGES] = {
		[SNAPSHOT_NOT] = "none",    [SNAPSHOT_MEMORY] = "memory",
		[SNAPSHOT_ASKED] = "asked", [SNAPSHOT_WRITES] = "writing",
		[SNAPSHOT_DONE] = "done",   [SNAPSHOT_FAILED] = "failed",
	};

	return names[s];
}

void snapshot_init(struct snapshot *s)
{
	pthread_mutex_init(&s->lock, NULL);
}

static void join_thread(struct snapshot *s)
{
	if (s->has_thread)
		pthread_join(s->thread, NULL);
	s->has_thread = false;
}

void snapshot_fini(struct snapshot *s)
{
	atomic_store(&s->over, true);
	join_thread(s);
	pthread_mutex_destroy(&s->lock);
}

void snapshot_get_progress(struct snapshot *s, struct snapshot_progress *p)
{
	pthread_mutex_lock(&s->lock);
	*p = s->shown;
	pthread_mutex_unlock(&s->lock);
}

static void set_stage(struct snapshot *s, enum snapshot_stage stage)
{
	pthread_mutex_lock(&s->lock);
	s->shown.stage = stage;
	pthread_mutex_unlock(&s->lock);
}

/* ---- the vCPU thread ---- */

/* Takes the snapshot at the record: the rest of memory, and all other state. */
static void take(struct snapshot_job *j, uint64_t seq)
{
	struct snapshot *s = &j->r->snapshot;
	uint64_t start = host_mono_ns();

	disk_copy_begin(j->disks);
	rounds_finish(j->rounds);
	while (rounds_last(j->rounds, &j->last, PAGES_A_STEP))
		replica_beat(j->r);
	machine_save(j->r->m, &j->state);
	j->info = checkpoint_describe(j->r->m, seq, 0);
	j->info.contents = j->info.config.ndisks > 0;
	j->pause_ns = host_mono_ns() - start;
	/* a thread that takes the lock next finds this thread done with the job */
	pthread_mutex_lock(&s->lock);
	j->taken = true;
	s->shown.stage = SNAPSHOT_WRITES;
	atomic_store(&s->wish, 0);
	atomic_store(&s->active, false);
	pthread_mutex_unlock(&s->lock);
}

/*
 * If the guest writes faster than pages are written ahead, from time to time more pages are allowed
 * to be left for the end.
 */
static void look(struct snapshot_job *j)
{
	struct snapshot *s = &j->r->snapshot;

	if (!rounds_waits_for_vcpu(j->rounds))
		return;
	if (rounds_look(j->rounds, host_mono_ns())) {
		set_stage(s, SNAPSHOT_ASKED);
		atomic_store(&s->wish, j->number);
	} else if (++j->looks % LOOKS == 0) {
		rounds_allow_more(j->rounds);
	}
}

void snapshot_applied(struct replica *r, const struct codec_record *rec)
{
	struct snapshot *s = &r->snapshot;
	struct snapshot_job *j;

	if (!atomic_load(&s->active))
		return;
	j = s->job;
	if (atomic_load(&s->cancelled))
		snapshot_role_ends(r);
	else if (!atomic_load(&s->wish))
		look(j);
	else if (sync_point_has(&rec->sp, INPUT_FLUSH_TLB) &&
		 sync_point_has(&rec->sp, INPUT_DIGEST))
		take(j, rec->sp.seq);
}

void snapshot_role_ends(struct replica *r)
{
	struct snapshot *s = &r->snapshot;

	if (!atomic_load(&s->active))
		return;
	if (machine_memory(r->m)->collecting)
		memory_collect_end(machine_memory(r->m));
	atomic_store(&s->cancelled, true);
	atomic_store(&s->wish, 0);
	atomic_store(&s->active, false);
}

/* ---- the thread: memory ---- */

static int fail(int code, struct err *err)
{
	return err_set(err, code, "the snapshot cannot be written: %s", strerror(code));
}

/* Writes a list of pages to their places in the file. */
static int store_pages(struct snapshot_job *j, struct buf *list, struct err *err)
{
	struct rd in = RD_INIT(list->data, list->len);
	int error = list->bad ? ENOMEM : 0;

	while (rd_left(&in) && !error) {
		struct page page;

		must(pages_get(&in, 0, j->mem->pages, &page) == 0);
		if (page.data) {
			page_set_add(j->have, page.number);
			error = file_write_at(j->fd, page.data, PAGE_SIZE,
					      j->pages_at + page.number * PAGE_SIZE);
		} else {
			page_set_remove(j->have, page.number);
		}
	}
	buf_clear(list);
	return error ? fail(error, err) : 0;
}

/*
 * True: the snapshot is not wanted any more. The command that asked for it has ended and removed
 * the file's name.
 */
static bool is_nameless(struct snapshot_job *j, uint64_t now)
{
	struct stat st;

	if (now - j->named_ns < NAMES_NS)
		return false;
	j->named_ns = now;
	return fstat(j->fd, &st) == 0 && !st.st_nlink;
}

static int check_wanted(struct snapshot_job *j, struct err *err)
{
	if (atomic_load(&j->r->snapshot.over))
		return err_set(err, ECANCELED, "this replica has ended");
	if (is_nameless(j, host_mono_ns()))
		return err_set(err, ECANCELED, "nobody waits for the snapshot any more");
	return 0;
}

static bool is_taken(struct snapshot_job *j)
{
	struct snapshot *s = &j->r->snapshot;
	bool taken;

	pthread_mutex_lock(&s->lock);
	taken = j->taken;
	pthread_mutex_unlock(&s->lock);
	return taken;
}

static int may_wait(struct snapshot_job *j, struct err *err)
{
	uint64_t limit = MEMORY_NS + (j->mem->size >> 20) * NS_PER_S / MIB_A_SECOND;

	if (atomic_load(&j->r->snapshot.cancelled) || !atomic_load(&j->r->follower.replaying))
		return err_set(err, ECANCELED,
			       "this replica has stopped following before the snapshot was taken");
	if (host_mono_ns() - j->begun_ns > limit)
		return err_set(err, ETIMEDOUT,
			       "the snapshot was not taken within %llu s: the guest writes faster "
			       "than its memory can be copied, or the live side does not answer",
			       (unsigned long long)(limit / NS_PER_S));
	return check_wanted(j, err);
}

/* Writes memory ahead to the file until the snapshot is taken. */
static int send_memory_ahead(struct snapshot_job *j, struct err *err)
{
	struct buf list = BUF_INIT;
	int ret = 0;

	while (ret == 0 && !is_taken(j)) {
		uint64_t now = host_mono_ns();
		unsigned n = atomic_load(&j->r->snapshot.wish)
				     ? 0
				     : rounds_next(j->rounds, &list, PAGES_A_STEP, now);

		ret = store_pages(j, &list, err);
		if (n)
			rounds_sent(j->rounds, n, host_mono_ns() - now);
		else
			host_sleep_ns(NAP_NS);
		if (ret == 0)
			ret = may_wait(j, err);
		/* taken: that the role or the wish ended does not matter any more */
		if (is_taken(j))
			ret = ret == -ECANCELED ? 0 : ret;
	}
	buf_free(&list);
	return ret;
}

/* ---- the thread: the checkpoint ---- */

static int write_pages(struct snapshot_job *j, struct checkpoint_out *w, struct err *err)
{
	uint64_t i = page_set_next(j->have, j->mem->pages, 0);
	uint8_t page[PAGE_SIZE];
	unsigned n = 0;
	int ret = 0;

	for (; i < j->mem->pages && ret == 0; i = page_set_next(j->have, j->mem->pages, i + 1)) {
		int error = file_read_at(j->fd, page, PAGE_SIZE, j->pages_at + i * PAGE_SIZE);

		ret = error ? fail(error, err) : checkpoint_out_page(w, i, page);
		if (ret == 0 && ++n % 1024 == 0)
			ret = check_wanted(j, err);
	}
	return ret;
}

static int write_blocks(struct snapshot_job *j, struct checkpoint_out *w, unsigned disk,
			uint64_t first, unsigned n, const uint8_t *data)
{
	int ret = 0;

	for (unsigned k = 0; k < n && ret == 0; k++) {
		const uint8_t *block = data + (size_t)k * DISK_COPY_BLOCK;
		uint64_t left = j->info.config.disk_sectors[disk] * DISK_SECTOR -
				(first + k) * DISK_COPY_BLOCK;

		if (!bytes_are_zero(block, left < DISK_COPY_BLOCK ? left : DISK_COPY_BLOCK))
			ret = checkpoint_out_block(w, first + k, block);
	}
	return ret;
}

static int write_content(struct snapshot_job *j, struct checkpoint_out *w, unsigned disk,
			 uint8_t *data, struct err *err)
{
	uint64_t blocks = disk_copy_blocks(j->disks, disk);
	int ret = checkpoint_out_content(w, disk), n = 0;

	for (uint64_t b = 0; b < blocks && ret == 0; b += (unsigned)n) {
		n = disk_copy_read(j->disks, disk, b, BLOCKS_A_STEP, data, err);
		ret = n < 0 ? n : write_blocks(j, w, disk, b, (unsigned)n, data);
		if (ret == 0)
			ret = check_wanted(j, err);
	}
	return ret;
}

/* Writes the disks' contents. Disks that the guest cannot write to are not part of a snapshot. */
static int write_disks(struct snapshot_job *j, struct checkpoint_out *w, struct err *err)
{
	uint8_t *data = malloc((size_t)BLOCKS_A_STEP * DISK_COPY_BLOCK);
	const struct buf none = BUF_INIT;
	int ret = data ? 0 : fail(ENOMEM, err);

	for (unsigned i = 0; i < j->info.config.ndisks && ret == 0; i++)
		ret = disk_copy_blocks(j->disks, i) ? write_content(j, w, i, data, err)
						    : checkpoint_out_changes(w, i, &none);
	free(data);
	return ret;
}

/*
 * Writes the whole checkpoint, and cuts off the rest of the file, which was needed only to make it.
 */
static int write_out(struct snapshot_job *j, struct err *err)
{
	int ret = store_pages(j, &j->last, err);
	struct checkpoint_out *w =
		ret ? NULL : checkpoint_out_begin(j->fd, "the snapshot", &j->info, &j->state, err);

	if (!w)
		return -err->code;
	ret = write_pages(j, w, err);
	if (ret == 0)
		ret = write_disks(j, w, err);
	if (ret == 0)
		ret = checkpoint_out_end(w, &j->info);
	if (ret == 0 && ftruncate(j->fd, (off_t)j->info.bytes) < 0)
		ret = fail(errno, err);
	if (ret == 0)
		ret = checkpoint_out_sync(w);
	checkpoint_out_free(w);
	return ret;
}

/* ---- the thread ---- */

static void job_free(struct snapshot_job *j)
{
	if (!j)
		return;
	disk_copy_free(j->disks);
	rounds_free(j->rounds);
	free(j->have);
	buf_free(&j->last);
	buf_free(&j->state);
	if (j->fd >= 0)
		close(j->fd);
	free(j);
}

/*
 * Waits until the vCPU thread no longer uses the job: it has seen that the snapshot is cancelled,
 * does not replay any more, or has ended.
 */
static void wait_for_vcpu(struct replica *r)
{
	struct snapshot *s = &r->snapshot;

	atomic_store(&s->cancelled, true);
	while (atomic_load(&s->active) && atomic_load(&r->follower.replaying) &&
	       !atomic_load(&s->over))
		replica_nap();
	pthread_mutex_lock(&s->lock); /* the vCPU thread may be at the end of take() */
	atomic_store(&s->wish, 0);
	atomic_store(&s->active, false);
	pthread_mutex_unlock(&s->lock);
}

static void tell(struct snapshot_job *j, int ret, const struct err *err)
{
	struct replica *r = j->r;

	if (ret)
		replica_event(r, "snapshot", "snapshot %" PRIu64 " has failed: %s", j->number,
			      err->text);
	else
		replica_event(r, "snapshot",
			      "snapshot %" PRIu64 " of record %" PRIu64
			      ": %llu KiB written; the replay stood still for %.1f ms",
			      j->number, j->info.record, (unsigned long long)(j->info.bytes >> 10),
			      (double)j->pause_ns / 1e6);
}

static void show(struct snapshot_job *j, int ret, const struct err *err)
{
	struct snapshot *s = &j->r->snapshot;

	pthread_mutex_lock(&s->lock);
	s->shown.info = j->info;
	s->shown.pause_ns = j->pause_ns;
	snprintf(s->shown.why, sizeof(s->shown.why), "%s", ret ? err->text : "");
	s->shown.stage = ret ? SNAPSHOT_FAILED : SNAPSHOT_DONE;
	pthread_mutex_unlock(&s->lock);
}

static void *snapshot_thread(void *arg)
{
	struct snapshot_job *j = arg;
	struct err err = ERR_INIT;
	int ret = send_memory_ahead(j, &err);

	if (ret == 0)
		ret = write_out(j, &err);
	else
		wait_for_vcpu(j->r);
	tell(j, ret, &err);
	show(j, ret, &err);
	job_free(j);
	return NULL;
}

/* ---- start ---- */

static bool is_writable(const struct disk_backend *d)
{
	return d && !d->readonly;
}

/*
 * Size, in bytes, reserved in the file for a checkpoint of everything, compressed or not, with its
 * sections.
 */
static uint64_t checkpoint_room(const struct machine *m, uint64_t disks)
{
	uint64_t bytes = machine_memory((struct machine *)m)->size + disks;

	return (bytes + bytes / 128 + (128ull << 20)) & ~(PAGE_SIZE - 1ull);
}

static struct snapshot_job *job_new(struct replica *r, int fd)
{
	struct snapshot_job *j = calloc(1, sizeof(*j));
	struct disk_backend *disk[DISK_SYNC_DISKS];
	uint64_t room;

	if (!j)
		return NULL;
	for (unsigned i = 0; i < r->disks.n; i++)
		disk[i] = is_writable(r->disks.disk[i].image) ? r->disks.disk[i].image : NULL;
	room = checkpoint_room(r->m, disk_copy_room(disk, r->disks.n));
	j->r = r;
	j->fd = -1;
	j->mem = machine_memory(r->m);
	j->pages_at = room;
	j->begun_ns = host_mono_ns();
	j->have = calloc(page_set_words(j->mem->pages), sizeof(*j->have));
	j->rounds = rounds_new(j->mem, PAUSE_MS);
	j->disks = disk_copy_new(disk, r->disks.n, fd, room + j->mem->size);
	if (j->have && j->rounds && j->disks)
		return j;
	job_free(j);
	return NULL;
}

/*
 * Checks that this replica follows, so a snapshot can be made. No other thread starts one
 * meanwhile.
 */
static int check_start(struct replica *r, struct err *err)
{
	enum replica_state state = failover_state(&r->failover);
	struct snapshot_progress p;

	snapshot_get_progress(&r->snapshot, &p);
	if (state != REPLICA_BACKUP)
		return err_set(err, EPERM,
			       "this replica is %s: a snapshot of a pair is taken on its backup, "
			       "while it protects the guest",
			       replica_state_name(state));
	if (p.stage >= SNAPSHOT_MEMORY && p.stage <= SNAPSHOT_WRITES)
		return err_set(err, EBUSY, "a snapshot is being taken already");
	return 0;
}

int snapshot_start(struct replica *r, int fd, uint64_t *number, struct err *err)
{
	struct snapshot *s = &r->snapshot;
	struct snapshot_job *j;
	int ret = check_start(r, err);

	if (ret < 0)
		return ret;
	join_thread(s);
	j = job_new(r, fd);
	if (!j)
		return err_set(err, ENOMEM, "out of memory");
	j->fd = fd;
	pthread_mutex_lock(&s->lock);
	j->number = *number = s->shown.number + 1;
	s->shown = (struct snapshot_progress){ .stage = SNAPSHOT_MEMORY, .number = j->number };
	pthread_mutex_unlock(&s->lock);
	s->job = j;
	atomic_store(&s->cancelled, false);
	atomic_store(&s->active, true);
	ret = thread_start(&s->thread, THREAD_SNAPSHOT, snapshot_thread, j);
	s->has_thread = ret == 0;
	if (ret == 0)
		return 0;
	wait_for_vcpu(r);
	set_stage(s, SNAPSHOT_FAILED);
	j->fd = -1; /* still the caller's */
	job_free(j);
	return err_set(err, ret, "cannot start a thread: %s", strerror(ret));
}
