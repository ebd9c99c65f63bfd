// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Contents are compared where both sides have executed the same writes: at a record. A disk
 * executes its requests in the order in which they were started, and what was started before a
 * record is the same on both sides; so what its thread does next, there and here, sees the same
 * content, however far apart in time.
 *
 *   live, at record n                      backup
 *   VERIFY n, range          -->           keeps it until it has applied n
 *   record n                 -->           the disk's thread makes sums; so does ours meanwhile
 *                            <--           VERIFIED n, sums
 *   later record: compares
 *
 * A block that differs is named. It is mended from the live side by sending its content, read at a
 * record, ahead of that record; from the backup by asking for its content at a record, while the
 * guest stands still until it is here, 200 ms at most: a backup that was not so quick is asked for
 * the block again when it has answered, and when five such waits were in vain the comparison ends
 * and says so. So it does when a backup that goes on to follow does not answer at all; another
 * comparison begins when that answer has come after all, or from another backup.
 */
#include "replica/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/host_clock.h"
#include "record/disk_file.h"
#include "replica/disk_sync_private.h"
#include "replica/replica_private.h"

/*
 * Longest time that the guest stands still for a block from the backup, and how many such waits may
 * fail.
 */
#define FETCH_NS (NS_PER_S / 5)
#define FETCHES	 5
/*
 * Time that an answer may take, in addition to --max-lag: the backup may have to read a megabyte.
 */
#define ANSWER_NS (10 * NS_PER_S)

_Static_assert(VERIFY_SUM == SYNC_SUM_LEN && VERIFY_BLOCKS <= 32, "sums, and a bit for each block");

const char *const verify_mend_names[] = {
	[VERIFY_MEND_NOT] = "no", [VERIFY_MEND_LIVE] = "live", [VERIFY_MEND_BACKUP] = "backup"
};

void verify_init(struct verify *v)
{
	pthread_mutex_init(&v->lock, NULL);
}

void verify_fini(struct verify *v)
{
	pthread_mutex_destroy(&v->lock);
}

/* ---- the disk's thread ---- */

static int make_sums(struct disk_backend *d, struct verify_job *j)
{
	for (unsigned i = 0; i < j->ask.n; i++) {
		uint64_t block = j->ask.block + i;
		uint32_t len = sync_block_bytes(&j->disk, block);
		int error = disk_raw_read(d, j->data, len, block * DISK_META_BLOCK);

		if (error)
			return error;
		sync_sum(j->data, len, j->ask.seed, j->sum + i * VERIFY_SUM);
	}
	return 0;
}

/*
 * Marks the block as different before it is mended: if mending is cut off, the next join sends it
 * again.
 */
static int mark(struct verify_job *j)
{
	disk_meta_set(j->disk.meta, j->ask.block);
	return disk_meta_save(j->disk.meta);
}

static int read_block(struct disk_backend *d, struct verify_job *j)
{
	return disk_raw_read(d, j->data, sync_block_bytes(&j->disk, j->ask.block),
			     j->ask.block * DISK_META_BLOCK);
}

static int write_block(struct disk_backend *d, struct verify_job *j)
{
	int error = disk_raw_write(d, j->data, sync_block_bytes(&j->disk, j->ask.block),
				   j->ask.block * DISK_META_BLOCK);

	return error ? error : disk_flush_image(d);
}

static int run_job(struct disk_backend *d, void *ctx)
{
	static int (*const execute[VERIFY_WHATS])(struct disk_backend * d,
						  struct verify_job * j) = {
		[VERIFY_SUMS] = make_sums,
		[VERIFY_READ] = read_block,
		[VERIFY_WRITE] = write_block,
	};
	struct verify_job *j = ctx;

	j->error = j->marks ? mark(j) : 0;
	if (!j->error)
		j->error = execute[j->ask.what](d, j);
	atomic_store(&j->state, VERIFY_JOB_DONE);
	return 0;
}

static void start_job(struct replica *r, struct verify_job *j)
{
	j->disk = r->disks.disk[j->ask.disk];
	atomic_store(&j->state, VERIFY_JOB_RUNS);
	disk_later(j->disk.image, run_job, j);
}

static int nothing(struct disk_backend *d, void *ctx)
{
	return 0;
}

static void wait_for_job(struct verify_job *j)
{
	if (atomic_load(&j->state) == VERIFY_JOB_RUNS)
		disk_between(j->disk.image, nothing, NULL);
	atomic_store(&j->state, VERIFY_JOB_NONE);
}

void verify_forget(struct replica *r)
{
	struct verify *v = &r->verify;

	pthread_mutex_lock(&v->lock);
	v->waits_for = 0;
	v->answered = false;
	v->phase = VERIFY_IDLE;
	pthread_mutex_unlock(&v->lock);
}

void verify_end(struct replica *r)
{
	struct verify *v = &r->verify;

	wait_for_job(&v->job);
	wait_for_job(&v->asked);
	verify_forget(r);
	if (!atomic_exchange(&v->running, false))
		return;
	pthread_mutex_lock(&v->lock);
	v->shown.running = false;
	snprintf(v->shown.error, sizeof(v->shown.error), "this side is not live any more");
	pthread_mutex_unlock(&v->lock);
}

/* ---- messages ---- */

static void put_ask(struct buf *b, const struct verify_ask *a)
{
	buf_put_u64(b, a->record);
	buf_put_u64(b, a->seed);
	buf_put_u8(b, (uint8_t)a->what);
	buf_put_u8(b, (uint8_t)a->disk);
	buf_put_varint(b, a->block);
	buf_put_u8(b, (uint8_t)a->n);
}

static bool ask_makes_sense(const struct replica *r, const struct verify_ask *a)
{
	struct disk_meta *m = a->disk < r->disks.n ? r->disks.disk[a->disk].meta : NULL;

	return m && a->what < VERIFY_WHATS && a->n >= 1 && a->n <= VERIFY_BLOCKS &&
	       (a->what == VERIFY_SUMS || a->n == 1) && a->block < disk_meta_blocks(m) &&
	       a->n <= disk_meta_blocks(m) - a->block;
}

int verify_take_ask(struct replica *r, uint64_t received, struct rd *in, struct err *err)
{
	struct verify_job *j = &r->verify.asked;
	struct verify_ask a = { .record = rd_u64(in), .seed = rd_u64(in) };
	uint32_t len;

	a.what = (enum verify_what)rd_u8(in);
	a.disk = rd_u8(in);
	a.block = rd_varint(in);
	a.n = rd_u8(in);
	if (in->bad || !ask_makes_sense(r, &a) || a.record <= received ||
	    atomic_load(&j->state) != VERIFY_JOB_NONE)
		return err_set(err, EBADMSG, "a comparison of disks is damaged");
	len = a.what == VERIFY_WRITE ? sync_block_bytes(&r->disks.disk[a.disk], a.block) : 0;
	if (rd_left(in) != len)
		return err_set(err, EBADMSG, "a comparison of disks is of another length");
	if (len)
		memcpy(j->data, rd_bytes(in, len), len);
	j->ask = a;
	atomic_store(&j->state, VERIFY_JOB_WAITS);
	return 0;
}

void verify_applied(struct replica *r, uint64_t seq)
{
	struct verify_job *j = &r->verify.asked;

	if (atomic_load(&j->state) == VERIFY_JOB_WAITS && j->ask.record == seq)
		start_job(r, j);
}

static uint32_t answer_bytes(const struct verify_job *j)
{
	if (j->error)
		return 0;
	if (j->ask.what == VERIFY_SUMS)
		return j->ask.n * VERIFY_SUM;
	return j->ask.what == VERIFY_READ ? sync_block_bytes(&j->disk, j->ask.block) : 0;
}

bool verify_answer(struct replica *r, struct buf *b)
{
	struct verify_job *j = &r->verify.asked;

	if (atomic_load(&j->state) != VERIFY_JOB_DONE)
		return false;
	buf_put_u64(b, j->ask.record);
	buf_put_varint(b, (uint64_t)j->error);
	buf_put(b, j->ask.what == VERIFY_SUMS ? j->sum : j->data, answer_bytes(j));
	atomic_store(&j->state, VERIFY_JOB_NONE);
	return true;
}

int verify_take_answer(struct replica *r, struct rd *in, struct err *err)
{
	struct verify *v = &r->verify;
	uint64_t record = rd_u64(in), error = rd_varint(in);
	size_t len = rd_left(in);
	bool awaited;

	if (in->bad || error > INT32_MAX || len > sizeof(v->theirs))
		return err_set(err, EBADMSG, "an answer about disks is damaged");
	pthread_mutex_lock(&v->lock);
	awaited = record == v->waits_for && record && !v->answered;
	if (awaited) {
		memset(v->theirs, 0, sizeof(v->theirs));
		if (len)
			memcpy(v->theirs, rd_bytes(in, len), len);
		v->their_error = (int)error;
		v->answered = true;
	}
	pthread_mutex_unlock(&v->lock);
	if (awaited)
		replica_wake(r);
	return 0;
}

/* ---- what is told ---- */

/* Ends the comparison. why: the reason; NULL: everything was compared. */
static void finish(struct replica *r, const char *why, int error)
{
	struct verify *v = &r->verify;
	struct verify_progress p;

	pthread_mutex_lock(&v->lock);
	v->shown.running = false;
	if (why)
		snprintf(v->shown.error, sizeof(v->shown.error), "%s: %s", why, strerror(error));
	p = v->shown;
	pthread_mutex_unlock(&v->lock);
	atomic_store(&v->running, false);
	if (why)
		replica_event(r, "verified", "disks were not compared to their end: %s", p.error);
	else
		replica_event(r, "verified",
			      "%" PRIu64 " blocks of disks were compared: %" PRIu64
			      " differ, %" PRIu64 " of them mended",
			      p.compared, p.differing, p.mended);
}

static void note_differing(struct replica *r, unsigned disk, uint64_t block)
{
	struct verify *v = &r->verify;

	pthread_mutex_lock(&v->lock);
	if (v->shown.differing < VERIFY_FOUND) {
		v->shown.found[v->shown.differing].disk = disk;
		v->shown.found[v->shown.differing].block = block;
	}
	v->shown.differing++;
	pthread_mutex_unlock(&v->lock);
	replica_event(r, "differs", "disk %u: the two sides differ in the %u bytes from %" PRIu64,
		      disk, sync_block_bytes(&r->disks.disk[disk], block), block * DISK_META_BLOCK);
}

static void note_mended(struct replica *r, unsigned disk, uint64_t block)
{
	struct verify *v = &r->verify;

	pthread_mutex_lock(&v->lock);
	v->shown.mended++;
	pthread_mutex_unlock(&v->lock);
	replica_event(r, "mended", "disk %u: the block at %" PRIu64 " is now the %s's", disk,
		      block * DISK_META_BLOCK,
		      v->mend == VERIFY_MEND_LIVE ? "live side" : "backup");
}

void verify_get_progress(struct verify *v, struct verify_progress *p)
{
	pthread_mutex_lock(&v->lock);
	*p = v->shown;
	pthread_mutex_unlock(&v->lock);
}

/* ---- the live side: begin ---- */

/* Lock held. True: the backup, which takes one request at a time, has not answered the last one. */
static bool owes_answer(const struct verify *v)
{
	return v->waits_for && !v->answered;
}

static uint64_t blocks_of(const struct replica *r, unsigned first, unsigned last)
{
	uint64_t n = 0;

	for (unsigned i = first; i <= last && i < r->disks.n; i++)
		n += r->disks.disk[i].meta ? disk_meta_blocks(r->disks.disk[i].meta) : 0;
	return n;
}

int verify_start(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err)
{
	struct verify *v = &r->verify;
	bool all = disk == VERIFY_DISKS;
	unsigned first = all ? 0 : disk, last = all ? r->disks.n : disk;
	uint64_t blocks = blocks_of(r, first, last);

	if (!failover_holds(failover_state(&r->failover)))
		return err_set(err, EBUSY,
			       "there is nothing to compare with: this is not the live side of a "
			       "protected pair");
	if (!blocks)
		return err_set(err, EINVAL, "there is no such disk that both sides write");
	pthread_mutex_lock(&v->lock);
	if (atomic_load(&v->running)) {
		pthread_mutex_unlock(&v->lock);
		return err_set(err, EBUSY, "disks are being compared already");
	}
	if (owes_answer(v)) {
		pthread_mutex_unlock(&v->lock);
		return err_set(err, EBUSY,
			       "the backup has not answered what the last comparison asked of it");
	}
	v->shown = (struct verify_progress){ .running = true, .known = true, .blocks = blocks };
	v->at_disk = first;
	v->last_disk = last;
	v->at_block = 0;
	v->bad = 0;
	v->mend = mend;
	v->seed = 0;
	v->phase = VERIFY_IDLE;
	v->fetches = 0;
	atomic_store(&v->running, true);
	pthread_mutex_unlock(&v->lock);
	replica_wake(r);
	return 0;
}

/* ---- the live side: the vCPU's thread ---- */

/* Sends a request, to be done right after record seq. data: a block's content, or NULL. */
static void ask(struct replica *r, uint64_t seq, struct verify_ask a, const void *data)
{
	struct verify *v = &r->verify;
	struct buf b = BUF_INIT;

	a.record = seq;
	a.seed = v->seed;
	a.disk = v->at_disk;
	put_ask(&b, &a);
	if (data)
		buf_put(&b, data, sync_block_bytes(&r->disks.disk[a.disk], a.block));
	pthread_mutex_lock(&v->lock);
	v->waits_for = seq;
	v->answered = false;
	pthread_mutex_unlock(&v->lock);
	v->asked_ns = host_mono_ns();
	v->job.ask = a;
	link_send(r, WIRE_VERIFY, &b);
}

static bool is_answered(struct verify *v)
{
	bool yes;

	pthread_mutex_lock(&v->lock);
	yes = v->answered;
	pthread_mutex_unlock(&v->lock);
	return yes;
}

/* True: the backup has not answered in time, although it may still acknowledge records. */
static bool is_overdue(const struct replica *r)
{
	const uint64_t most = ANSWER_NS + r->cfg.max_lag_ms * NS_PER_MS;

	return host_mono_ns() - r->verify.asked_ns > most;
}

/* True: an answer is still awaited. *overdue: for too long. */
static bool waits_for_answer(struct replica *r, bool *overdue)
{
	struct verify *v = &r->verify;
	bool waits;

	pthread_mutex_lock(&v->lock);
	waits = owes_answer(v);
	pthread_mutex_unlock(&v->lock);
	*overdue = waits && is_overdue(r);
	return waits;
}

static unsigned range_blocks(const struct replica *r)
{
	const struct verify *v = &r->verify;
	uint64_t left = disk_meta_blocks(r->disks.disk[v->at_disk].meta) - v->at_block;

	return left < VERIFY_BLOCKS ? (unsigned)left : VERIFY_BLOCKS;
}

/* Finds the next range to compare; false: there is none. */
static bool find_range(struct replica *r, struct verify_ask *a)
{
	struct verify *v = &r->verify;

	for (; v->at_disk <= v->last_disk && v->at_disk < r->disks.n; v->at_disk++) {
		struct disk_meta *m = r->disks.disk[v->at_disk].meta;
		uint64_t blocks = m ? disk_meta_blocks(m) : 0;

		if (v->at_block < blocks) {
			*a = (struct verify_ask){ .block = v->at_block, .n = range_blocks(r) };
			return true;
		}
		v->at_block = 0;
	}
	return false;
}

static void next_range(struct verify *v)
{
	pthread_mutex_lock(&v->lock);
	v->shown.compared += v->job.ask.n;
	pthread_mutex_unlock(&v->lock);
	v->at_block += v->job.ask.n;
	v->phase = VERIFY_IDLE;
}

static void begin_range(struct replica *r, uint64_t seq)
{
	struct verify *v = &r->verify;
	struct verify_ask a;

	if (!v->seed)
		v->seed = disks_new_name();
	if (!find_range(r, &a)) {
		finish(r, NULL, 0);
		return;
	}
	ask(r, seq, a, NULL);
	start_job(r, &v->job);
	v->phase = VERIFY_COMPARES;
}

static void compare_range(struct replica *r)
{
	struct verify *v = &r->verify;

	if (atomic_load(&v->job.state) != VERIFY_JOB_DONE)
		return;
	if (v->job.error || v->their_error) {
		finish(r, v->job.error ? "the live side cannot read" : "the backup cannot read",
		       v->job.error ? v->job.error : v->their_error);
		return;
	}
	v->bad = 0;
	for (unsigned i = 0; i < v->job.ask.n; i++) {
		if (!memcmp(v->job.sum + i * VERIFY_SUM, v->theirs + i * VERIFY_SUM, VERIFY_SUM))
			continue;
		note_differing(r, v->at_disk, v->at_block + i);
		v->bad |= v->mend ? 1u << i : 0;
	}
	if (v->bad)
		v->phase = VERIFY_MENDS;
	else
		next_range(v);
}

/*
 * Has our own disk do a request now, after all requests that the guest made before this record, and
 * waits for it.
 */
static int do_here(struct replica *r, struct verify_ask a)
{
	struct verify_job *j = &r->verify.job;

	a.disk = r->verify.at_disk;
	j->ask = a;
	j->disk = r->disks.disk[a.disk];
	j->marks = true;
	disk_between(j->disk.image, run_job, j);
	j->marks = false;
	return j->error;
}

static void begin_mending(struct replica *r, uint64_t seq)
{
	struct verify *v = &r->verify;
	struct verify_ask a = { .block = v->at_block + (unsigned)__builtin_ctz(v->bad), .n = 1 };
	int error;

	a.what = VERIFY_READ;
	if (v->mend == VERIFY_MEND_BACKUP) {
		ask(r, seq, a, NULL);
		v->phase = VERIFY_FETCHES;
		return;
	}
	error = do_here(r, a);
	if (error) {
		finish(r, "the live side cannot read", error);
		return;
	}
	a.what = VERIFY_WRITE;
	ask(r, seq, a, v->job.data);
	v->phase = VERIFY_MENDED;
}

static void end_mending(struct replica *r, int error)
{
	struct verify *v = &r->verify;
	unsigned i = (unsigned)__builtin_ctz(v->bad);

	if (error) {
		finish(r, "a block cannot be mended", error);
		return;
	}
	note_mended(r, v->at_disk, v->at_block + i);
	v->bad &= v->bad - 1;
	v->phase = VERIFY_MENDS;
	v->job.ask.n = range_blocks(r);
	if (!v->bad)
		next_range(v);
}

/*
 * The block came too late: the guest had gone on and may have written to it. It is requested again,
 * but only after the backup has answered, because it takes one request at a time.
 */
static void fetch_again(struct replica *r)
{
	struct verify *v = &r->verify;

	v->phase = VERIFY_MENDS;
	if (++v->fetches >= FETCHES)
		finish(r, "the backup does not send a block in time", ETIMEDOUT);
}

/* --scrub: starts a comparison from time to time. */
static void scrub(struct replica *r)
{
	struct verify *v = &r->verify;
	uint64_t now;

	if (!r->cfg.scrub_ns)
		return;
	now = host_mono_ns();
	if (v->scrub_ns && now >= v->scrub_ns)
		verify_start(r, VERIFY_DISKS, VERIFY_MEND_NOT, NULL);
	if (!v->scrub_ns || now >= v->scrub_ns)
		v->scrub_ns = now + r->cfg.scrub_ns;
}

void verify_before(struct replica *r, uint64_t seq)
{
	struct verify *v = &r->verify;
	bool overdue;

	scrub(r);
	if (!atomic_load(&v->running))
		return;
	/* The backup is lost, and with it its answer; the range is requested again later. */
	if (!failover_holds(failover_state(&r->failover))) {
		v->phase = VERIFY_IDLE;
		return;
	}
	if (waits_for_answer(r, &overdue)) {
		if (overdue)
			finish(r, "the backup does not answer in time", ETIMEDOUT);
		return;
	}
	if (v->phase == VERIFY_COMPARES)
		compare_range(r);
	else if (v->phase == VERIFY_LATE)
		fetch_again(r);
	else if (v->phase == VERIFY_MENDED)
		end_mending(r, v->their_error);
	if (!atomic_load(&v->running))
		return;
	if (v->phase == VERIFY_IDLE && atomic_load(&v->job.state) != VERIFY_JOB_RUNS)
		begin_range(r, seq);
	else if (v->phase == VERIFY_MENDS)
		begin_mending(r, seq);
}

bool verify_wants_record(struct replica *r)
{
	struct verify *v = &r->verify;
	bool overdue;

	if (!atomic_load(&v->running) || !failover_holds(failover_state(&r->failover)))
		return false;
	if (waits_for_answer(r, &overdue))
		return overdue;
	if (v->phase == VERIFY_COMPARES)
		return atomic_load(&v->job.state) == VERIFY_JOB_DONE;
	if (v->phase == VERIFY_MENDED || v->phase == VERIFY_LATE)
		return true;
	return v->phase != VERIFY_FETCHES && atomic_load(&v->job.state) != VERIFY_JOB_RUNS;
}

/*
 * Waits for the block from the backup. The guest stands still meanwhile, so nothing writes to the
 * block here.
 */
void verify_after(struct replica *r)
{
	struct verify *v = &r->verify;
	struct verify_ask a;
	uint64_t until;
	int error;

	if (v->phase != VERIFY_FETCHES || !atomic_load(&v->running))
		return;
	until = host_mono_ns() + FETCH_NS;
	a = v->job.ask;
	batch_push(r);
	while (!is_answered(v) && host_mono_ns() < until &&
	       failover_holds(failover_state(&r->failover))) {
		replica_beat(r);
		link_ask(&r->link);
		replica_nap();
	}
	v->phase = is_answered(v) ? VERIFY_MENDS : VERIFY_LATE;
	if (v->phase == VERIFY_LATE)
		return;
	v->fetches = 0;
	error = v->their_error;
	if (!error) {
		memcpy(v->job.data, v->theirs, sizeof(v->job.data));
		a.what = VERIFY_WRITE;
		error = do_here(r, a);
	}
	end_mending(r, error);
}
