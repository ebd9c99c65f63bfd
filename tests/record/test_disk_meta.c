// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Metadata of a disk image on simulated storage that forgets, keeps or tears whatever was not
 * flushed when it is cut off; beside it a model of both sides' contents, which says what differs.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define META_ACTIVE_MAX 40u

static ssize_t sim_pwrite(int fd, const void *data, size_t len, off_t at);
static ssize_t sim_pread(int fd, void *data, size_t len, off_t at);
static int sim_fdatasync(int fd);
static int sim_fallocate(int fd, off_t at, off_t len);
#define pwrite		sim_pwrite
#define pread		sim_pread
#define fdatasync	sim_fdatasync
#define posix_fallocate sim_fallocate
#include "base/file_io.c"
#include "record/disk_meta.c"
#include "record/disk_meta_layout.c"
#undef pwrite
#undef pread
#undef fdatasync
#undef posix_fallocate

#include "tests/unit.h"

#define EXTENTS 200u
#define IMAGE	((uint64_t)EXTENTS * DISK_META_EXTENT - 3 * DISK_META_BLOCK - 512)
#define BLOCKS	(EXTENTS * 64u - 3)
#define PAGES	16u

static uint64_t seed = 1;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* ---- storage of the metadata file ---- */

static uint8_t now[PAGES][META_PAGE], durable[PAGES][META_PAGE];
static bool pending[PAGES];
static unsigned cut_in;	    /* writes and flushes until the power fails; 0: never */
static bool cut, disk_full; /* it has failed */
static bool flush_fails;    /* once; what was written passes for flushed then, as Linux has it */
static unsigned writes, flushes;

static bool power(void)
{
	if (cut_in && --cut_in == 0)
		cut = true;
	return !cut;
}

static ssize_t sim_pwrite(int fd, const void *data, size_t len, off_t at)
{
	ck_assert_uint_eq(len, META_PAGE);
	ck_assert_uint_lt((uint64_t)at / META_PAGE, PAGES);
	if (disk_full) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(now[at / META_PAGE], data, META_PAGE);
	pending[at / META_PAGE] = true;
	writes++;
	if (!power()) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)len;
}

static ssize_t sim_pread(int fd, void *data, size_t len, off_t at)
{
	ck_assert_uint_eq(len, META_PAGE);
	memcpy(data, now[at / META_PAGE], META_PAGE);
	return META_PAGE;
}

static int sim_fdatasync(int fd)
{
	if (!power() || flush_fails) {
		if (flush_fails)
			memset(pending, 0, sizeof(pending));
		flush_fails = false;
		errno = EIO;
		return -1;
	}
	for (unsigned i = 0; i < PAGES; i++)
		if (pending[i])
			memcpy(durable[i], now[i], META_PAGE);
	memset(pending, 0, sizeof(pending));
	flushes++;
	return 0;
}

static int sim_fallocate(int fd, off_t at, off_t len)
{
	return (uint64_t)len <= sizeof(now) ? 0 : ENOSPC;
}

/* Pages that were not flushed are lost, whole, or torn at a sector. */
static void storage_crash(bool tears)
{
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned how = (unsigned)rnd(tears ? 3 : 2);

		if (pending[i])
			memcpy(durable[i], now[i],
			       how == 0	  ? 0
			       : how == 1 ? META_PAGE
					  : 512 * (1 + rnd(7)));
		memcpy(now[i], durable[i], META_PAGE);
	}
	memset(pending, 0, sizeof(pending));
	cut = false;
	cut_in = 0;
}

/* The process was cut off, and not the host: what was written is in its memory. */
static void process_killed(struct disk_meta *m)
{
	disk_meta_abandon(m);
	cut = false;
	cut_in = 0;
}

/* ---- contents: a number for each block ---- */

static uint32_t image[BLOCKS], image_durable[BLOCKS], other[BLOCKS];
static uint32_t version;
static struct {
	uint64_t record; /* first one behind its completion; UINT64_MAX: it has none yet */
	uint32_t block, version;
} late[8192]; /* writes that the other side need not have executed yet, in order */
static unsigned nlate;
static struct {
	uint64_t offset, len;
	uint32_t from, to; /* versions */
} open_write[64];	   /* writes that are not over */
static unsigned nopen;
static bool other_follows;
static uint64_t record, acked;

static int image_flush(void *ctx)
{
	if (!power())
		return EIO;
	memcpy(image_durable, image, sizeof(image));
	return 0;
}

/* What was not flushed is lost or not, each block by itself. */
static void image_crash(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		if (rnd(2))
			image[b] = image_durable[b];
	memcpy(image_durable, image, sizeof(image));
}

static void other_executes_first(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		other[late[i].block] = late[i].version;
	memmove(late, late + n, (nlate - n) * sizeof(late[0]));
	nlate -= n;
}

/* All that has to be executed when this record is applied. */
static void other_applies(uint64_t up_to)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nlate; i++)
		if (late[i].record <= up_to)
			n = i + 1;
	other_executes_first(n);
}

/* It ends somewhere between what it has said and what it has been sent. */
static void other_goes(void)
{
	other_applies(acked);
	other_executes_first((unsigned)rnd(nlate + 1));
	nlate = 0;
}

static void finish_one(struct disk_meta *m)
{
	unsigned i = (unsigned)rnd(nopen);

	disk_meta_finished(m, open_write[i].offset, open_write[i].len, record + 1);
	for (unsigned j = 0; j < nlate; j++)
		if (late[j].version >= open_write[i].from && late[j].version <= open_write[i].to)
			late[j].record = record + 1;
	open_write[i] = open_write[--nopen];
}

static struct disk_meta *open_meta(void)
{
	struct err err = ERR_INIT;
	struct disk_meta *m = disk_meta_open(0, "test.twin", IMAGE, image_flush, NULL, &err);

	ck_assert_msg(m != NULL, "%s", err.text);
	return m;
}

static struct disk_meta_identity identity(uint64_t current)
{
	struct disk_meta_identity id = { .image_bytes = IMAGE, .current = current };

	memset(id.pair, 1, sizeof(id.pair));
	memset(id.disk, 2, sizeof(id.disk));
	return id;
}

static struct disk_meta *fresh(void)
{
	struct disk_meta_identity id = identity(100);
	struct err err = ERR_INIT;

	memset(now, 0, sizeof(now));
	memset(pending, 0, sizeof(pending));
	memset(image, 0, sizeof(image));
	memset(image_durable, 0, sizeof(image_durable));
	memset(other, 0, sizeof(other));
	nlate = nopen = 0;
	other_follows = cut = disk_full = flush_fails = false;
	cut_in = 0;
	record = acked = version = 0;
	ck_assert_int_eq(disk_meta_format(0, "test.twin", &id, &err), 0);
	return open_meta();
}

/* Every block that differs is known to; returns how many do. */
static unsigned check_differences(struct disk_meta *m)
{
	struct disk_meta_identity id;
	unsigned n = 0;

	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	for (uint64_t b = 0; b < BLOCKS; b++) {
		if (image[b] == other[b])
			continue;
		n++;
		ck_assert_msg(id.doubtful || disk_meta_next(m, b) == b,
			      "block %llu differs and nobody knows (seed %llu)",
			      (unsigned long long)b, (unsigned long long)seed);
	}
	return n;
}

static int guest_writes(struct disk_meta *m, uint64_t block, uint64_t n)
{
	uint64_t len = n * DISK_META_BLOCK, offset = block * DISK_META_BLOCK;
	int error;

	if (offset + len > IMAGE)
		len = IMAGE - offset;
	record += rnd(2);
	if (nopen == 64 || (nopen && rnd(3)))
		finish_one(m);
	error = disk_meta_write(m, offset, len);
	if (error)
		return error;
	open_write[nopen].offset = offset;
	open_write[nopen].len = len;
	open_write[nopen].from = version + 1;
	open_write[nopen++].to = version + (uint32_t)n;
	for (uint64_t b = block; b < block + n; b++) {
		image[b] = ++version;
		if (!other_follows)
			continue;
		if (nlate == 8192)
			other_executes_first(nlate);
		late[nlate].record = UINT64_MAX;
		late[nlate].block = (uint32_t)b;
		late[nlate++].version = version;
	}
	return 0;
}

static int both_equal(struct disk_meta *m)
{
	struct disk_meta_identity id = identity(200 + record);
	int error = 0;

	if (other_follows)
		return 0;
	memcpy(other, image, sizeof(other));
	nlate = 0;
	disk_meta_sync_begin(m);
	while (disk_meta_sync_take(m, 0) != UINT64_MAX)
		;
	disk_meta_follow(m);
	other_follows = true;
	for (unsigned n = (unsigned)rnd(20); n && !error; n--)
		error = guest_writes(m, rnd(BLOCKS - 1), 1);
	return error ? error : disk_meta_join(m, &id);
}

static void part(struct disk_meta *m)
{
	static uint64_t name = 1000;

	if (other_follows)
		other_goes();
	other_follows = false;
	disk_meta_part(m, ++name, 7);
}

static int step(struct disk_meta *m)
{
	static uint64_t at;
	uint64_t n = 1 + rnd(4);

	switch (rnd(40)) {
	case 0:
		part(m);
		return 0;
	case 1:
		return both_equal(m);
	case 2:
		image_flush(NULL);
		return 0;
	case 3:
		acked += other_follows ? rnd(record - acked + 1) : 0;
		disk_meta_applied(m, acked);
		if (other_follows)
			other_applies(acked);
		return 0;
	case 4:
		return disk_meta_save(m);
	default:
		at = rnd(3) ? at + n : rnd(BLOCKS);
		at = at + n <= BLOCKS ? at : 0;
		return guest_writes(m, at, n);
	}
}

static void run(uint64_t from, bool tears)
{
	struct disk_meta *m;
	int error = 0;

	seed = from * 0x9e3779b97f4a7c15ull + 1;
	m = fresh();
	ck_assert_int_eq(both_equal(m), 0);
	cut_in = 1 + (unsigned)rnd(400);
	for (unsigned i = 0; i < 3000 && !error && !cut; i++)
		error = step(m);
	ck_assert_msg(!error || cut, "error %d with power on (seed %llu)", error,
		      (unsigned long long)from);
	if (!cut && rnd(2))
		check_differences(m);
	disk_meta_abandon(m);
	if (other_follows)
		other_goes();
	image_crash();
	storage_crash(tears);
	m = open_meta();
	check_differences(m);
	disk_meta_abandon(m);
}

START_TEST(a_crash_at_any_write_leaves_it_true)
{
	for (uint64_t i = 0; i < unit_cases(3000); i++)
		run(i, false);
}
END_TEST

START_TEST(so_do_torn_pages)
{
	for (uint64_t i = 0; i < unit_cases(3000); i++)
		run(i, true);
}
END_TEST

/* Without tearing nothing is in doubt: the test above would prove little otherwise. */
START_TEST(a_crash_that_tears_nothing_leaves_no_doubt)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id;

	ck_assert_int_eq(both_equal(m), 0);
	for (unsigned i = 0; i < 500; i++)
		ck_assert_int_eq(guest_writes(m, rnd(BLOCKS), 1), 0);
	disk_meta_abandon(m);
	storage_crash(false);
	m = open_meta();
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert(!id.doubtful);
	ck_assert_uint_lt(disk_meta_count(m), BLOCKS / 2);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(few_writes_of_metadata_where_the_guest_writes_in_few_places)
{
	struct disk_meta *m = fresh();

	ck_assert_int_eq(both_equal(m), 0);
	writes = flushes = 0;
	for (unsigned i = 0; i < 10000; i++)
		ck_assert_int_eq(guest_writes(m, rnd(64 * 20), 1), 0);
	ck_assert_uint_le(writes, 20);
	writes = 0;
	for (unsigned b = 0; b < BLOCKS; b++) /* from one end to the other */
		ck_assert_int_eq(guest_writes(m, b, 1), 0);
	ck_assert_uint_le(writes, EXTENTS / 4);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(an_orderly_end_knows_exactly)
{
	struct disk_meta *m = fresh();

	ck_assert_int_eq(both_equal(m), 0);
	while (nopen)
		finish_one(m);
	acked = record + 1;
	disk_meta_applied(m, acked);
	part(m);
	for (unsigned i = 0; i < 300; i++)
		ck_assert_int_eq(guest_writes(m, rnd(BLOCKS), 1), 0);
	ck_assert_int_eq(disk_meta_close(m), 0);
	m = open_meta();
	ck_assert_uint_eq(disk_meta_count(m), check_differences(m));
	ck_assert_uint_gt(disk_meta_count(m), 200);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(no_write_before_it_is_known_what_it_means)
{
	struct disk_meta *m = fresh();

	ck_assert_int_eq(disk_meta_write(m, 0, 512), EPERM);
	ck_assert_int_eq(disk_meta_write(m, 0, 0), EINVAL);
	ck_assert_int_eq(disk_meta_write(m, IMAGE, 512), EINVAL);
	ck_assert_int_eq(disk_meta_write(m, IMAGE - 512, 1024), EINVAL);
	ck_assert_int_eq(disk_meta_write(m, 0, DISK_META_WRITE_MAX + 1ull), EINVAL);
	disk_meta_part(m, 5, 2);
	ck_assert_int_eq(disk_meta_write(m, IMAGE - 512, 512), 0);
	ck_assert_int_eq(disk_meta_write(m, 0, DISK_META_WRITE_MAX), 0);
	disk_full = true;
	ck_assert_int_eq(disk_meta_write(m, IMAGE / 2, 512), ENOSPC);
	disk_full = false;
	ck_assert_int_eq(disk_meta_write(m, IMAGE / 2, 512), 0);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(sides_change_before_the_next_write)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(100);

	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	disk_meta_change_sides(m, 9, 41, DISK_FOLLOWS);
	disk_full = true;
	ck_assert_int_eq(disk_meta_write(m, 0, 512), ENOSPC); /* not as what it was before */
	disk_full = false;
	ck_assert_int_eq(disk_meta_write(m, 0, 512), 0);
	disk_meta_abandon(m);
	storage_crash(false);
	m = open_meta();
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.generation, 9);
	ck_assert_uint_eq(id.record, 41);
	ck_assert_uint_eq(id.current, 100);
	ck_assert_int_eq(id.state, DISK_FOLLOWS);
	disk_meta_abandon(m);
}
END_TEST

/* The other side is lost right after they have changed places, before anything could be written. */
START_TEST(sides_change_and_part)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(100);

	id.state = DISK_FOLLOWS;
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	disk_meta_change_sides(m, 9, 41, DISK_IN_STEP);
	disk_meta_applied(m, 41);
	disk_meta_part(m, 101, 10);
	disk_meta_change_sides(m, 11, 50, DISK_IN_STEP); /* comes too late */
	ck_assert_int_eq(disk_meta_set_state(m, DISK_AHEAD), 0);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	ck_assert_int_eq(disk_meta_close(m), 0);
	m = open_meta();
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.generation, 10);
	ck_assert_uint_eq(id.record, 41);
	ck_assert_uint_eq(id.current, 101);
	ck_assert_uint_eq(id.base, 100);
	ck_assert_int_eq(id.state, DISK_AHEAD);
	ck_assert_uint_eq(disk_meta_next(m, 0), 7);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(a_block_is_sent_again_when_it_was_written)
{
	struct disk_meta *m = fresh();

	disk_meta_part(m, 5, 2);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	disk_meta_set(m, 9);
	ck_assert_uint_eq(disk_meta_sync_left(m), 0);
	ck_assert(disk_meta_sync_begin(m));
	ck_assert_uint_eq(disk_meta_sync_left(m), 2);
	ck_assert_uint_eq(disk_meta_sync_take(m, 0), 7);
	ck_assert_uint_eq(disk_meta_sync_take(m, 0), 9);
	ck_assert_uint_eq(disk_meta_sync_take(m, 0), UINT64_MAX);
	ck_assert_uint_eq(disk_meta_count(m), 2); /* until the other side has them for sure */
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	disk_meta_sync_done(m, 7);
	disk_meta_sync_done(m, 9);
	ck_assert_uint_eq(disk_meta_next(m, 0), 7);
	ck_assert_uint_eq(disk_meta_count(m), 1);
	disk_meta_sync_end(m);
	ck_assert_int_eq(disk_meta_close(m), 0);
	m = open_meta();
	ck_assert_uint_eq(disk_meta_next(m, 0), 7);
	ck_assert_uint_eq(disk_meta_count(m), 1);
	disk_meta_abandon(m);
}
END_TEST

/* A third copy is brought up to date, and lost: what it confirmed says nothing of the second one.
 */
START_TEST(a_copy_that_is_not_the_base_ends_the_base)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(100), second = identity(100);
	struct disk_relation r;

	id.state = DISK_IN_STEP;
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	disk_meta_applied(m, 0);
	disk_meta_part(m, 101, 2);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	r = disk_meta_relation(&id, &second);
	ck_assert(r.newer == DISK_NEWER_MINE && !r.whole);
	ck_assert_int_eq(disk_meta_forget_base(m), 0);
	ck_assert(disk_meta_sync_begin(m));
	ck_assert_uint_eq(disk_meta_sync_take(m, 0), 7);
	disk_meta_sync_done(m, 7);
	disk_meta_sync_end(m);
	ck_assert_uint_eq(disk_meta_next(m, 0), UINT64_MAX);
	ck_assert_int_eq(disk_meta_close(m), 0);
	m = open_meta();
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.current, 101);
	r = disk_meta_relation(&id, &second);
	ck_assert(r.newer == DISK_NEWER_MINE && r.whole);
	disk_meta_abandon(m);
}
END_TEST

/* It may have become equal and have our name: the next copy gets another one. */
START_TEST(a_copy_that_may_have_the_name_is_left_with_it)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(100), copy = identity(101);
	struct disk_relation r;

	id.state = DISK_IN_STEP;
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	disk_meta_part(m, 101, 2);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	disk_meta_part(m, 102, 3);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.current, 101); /* nobody else can have that */
	finish_one(m);
	disk_meta_follow(m);
	disk_meta_part(m, 103, 4);
	ck_assert_int_eq(guest_writes(m, 9, 1), 0);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.current, 103);
	ck_assert_uint_eq(id.base, 101);
	r = disk_meta_relation(&id, &copy);
	ck_assert(r.newer == DISK_NEWER_MINE && !r.whole);
	copy.current = 100;
	r = disk_meta_relation(&id, &copy);
	ck_assert(r.newer == DISK_NEWER_MINE && r.whole);
	disk_meta_part(m, 104, 5);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.current, 103);
	disk_meta_abandon(m);
}
END_TEST

/*
 * Cut off while a copy was being made: whether that became equal is not known then. The copy that
 * had the base, which that most likely is, is told by the bitmap still.
 */
START_TEST(an_offer_is_known_after_a_crash)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(100), copy = identity(101), before = identity(100);
	struct disk_relation r;

	id.state = DISK_IN_STEP;
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	disk_meta_part(m, 101, 2);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	ck_assert_int_eq(disk_meta_offer(m), 0);
	disk_meta_part(m, 102, 3); /* that join has failed, and it is known how far it came */
	ck_assert_int_eq(guest_writes(m, 8, 1), 0);
	ck_assert_int_eq(disk_meta_offer(m), 0);
	disk_meta_abandon(m);
	storage_crash(false);
	m = open_meta();
	disk_meta_part(m, 103, 4);
	ck_assert_int_eq(guest_writes(m, 9, 1), 0);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_uint_eq(id.current, 103);
	ck_assert_uint_eq(id.base, 100);
	ck_assert(!id.offered);
	r = disk_meta_relation(&id, &before);
	ck_assert(r.newer == DISK_NEWER_MINE && !r.whole);
	r = disk_meta_relation(&id, &copy);
	ck_assert(r.newer == DISK_NEWER_MINE && r.whole);
	/* The copy was equal, and somebody has gone on with it: neither is the newer one. */
	copy.state = DISK_AHEAD;
	copy.base = 101;
	copy.history[0] = 101;
	copy.current = 110;
	ck_assert_int_eq(disk_meta_relation(&id, &copy).newer, DISK_NEWER_SPLIT);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(a_join_ends_the_offer)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id = identity(101);

	disk_meta_part(m, 101, 2);
	ck_assert_int_eq(guest_writes(m, 7, 1), 0);
	finish_one(m);
	ck_assert_int_eq(disk_meta_offer(m), 0);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert(id.offered);
	disk_meta_follow(m);
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert(!id.offered && id.state == DISK_IN_STEP);
	ck_assert_int_eq(disk_meta_offer(m), 0); /* nothing is ahead that could be offered */
	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert(!id.offered);
	disk_meta_abandon(m);
}
END_TEST

static void expect(const struct disk_meta_identity *a, const struct disk_meta_identity *b,
		   enum disk_newer ab, enum disk_newer ba, bool whole)
{
	struct disk_relation r = disk_meta_relation(a, b), s = disk_meta_relation(b, a);

	ck_assert_int_eq(r.newer, ab);
	ck_assert_int_eq(s.newer, ba);
	ck_assert_int_eq(r.whole, whole);
	ck_assert_int_eq(s.whole, whole);
}

START_TEST(names_tell_what_is_newer)
{
	struct disk_meta_identity a = identity(10), b = identity(10), old, none = identity(0);

	expect(&a, &b, DISK_NEWER_NEITHER, DISK_NEWER_NEITHER, false);
	expect(&a, &none, DISK_NEWER_MINE, DISK_NEWER_THEIRS, true);
	expect(&none, &none, DISK_NEWER_UNKNOWN, DISK_NEWER_UNKNOWN, true);
	old = a;
	identity_part(&a, 11, 3, NAME_KNOWN_HERE);
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, false);
	identity_part(&a, 12, 4,
		      NAME_KNOWN_HERE); /* ahead already: the same name in a later generation */
	ck_assert_uint_eq(a.current, 11);
	ck_assert_uint_eq(a.generation, 4);
	a.state = DISK_IN_STEP; /* in step with a third image, and parted from it */
	identity_part(&a, 13, 5, NAME_KNOWN_HERE);
	expect(&a, &old, DISK_NEWER_MINE, DISK_NEWER_THEIRS, true);
	identity_part(&b, 21, 3, NAME_KNOWN_HERE);
	expect(&a, &b, DISK_NEWER_SPLIT, DISK_NEWER_SPLIT, true);
}
END_TEST

START_TEST(a_mixture_is_never_newer)
{
	struct disk_meta_identity a = identity(10), b = identity(10), c;

	b.state = DISK_SYNCING;
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, false);
	a.state = DISK_SYNCING;
	expect(&a, &b, DISK_NEWER_BROKEN, DISK_NEWER_BROKEN, true);
	a = identity(10);
	identity_part(&a, 11, 2, NAME_KNOWN_HERE);
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, false);
	c = b;
	identity_part(&c, 12, 3, NAME_KNOWN_HERE); /* somebody insisted on starting with it */
	ck_assert_uint_eq(c.base, 0);
	expect(&a, &c, DISK_NEWER_SPLIT, DISK_NEWER_SPLIT, true);
}
END_TEST

START_TEST(what_does_not_belong_together_is_told_apart)
{
	struct disk_meta_identity a = identity(10), b = identity(10);

	b.pair[0] = 9;
	expect(&a, &b, DISK_NEWER_FOREIGN, DISK_NEWER_FOREIGN, true);
	b = identity(10);
	b.disk[15] = 9;
	expect(&a, &b, DISK_NEWER_FOREIGN, DISK_NEWER_FOREIGN, true);
	b = identity(10);
	b.image_bytes += 512;
	expect(&a, &b, DISK_NEWER_SIZE, DISK_NEWER_SIZE, true);
	b = identity(10);
	b.doubtful = true;
	expect(&a, &b, DISK_NEWER_NEITHER, DISK_NEWER_NEITHER, true);
}
END_TEST

/* Only a known copy that missed the growth, or grew alone; never a new one, and never of two that
 * split. */
START_TEST(an_older_copy_may_have_another_length)
{
	struct disk_meta_identity a = identity(10), b = identity(10), none = identity(0);

	identity_part(&a, 11, 2, NAME_KNOWN_HERE);
	a.image_bytes += 512;
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, false);
	expect(&a, &none, DISK_NEWER_SIZE, DISK_NEWER_SIZE, true);
	b.doubtful = true;
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, true);
	b = identity(10);
	b.image_bytes = a.image_bytes + 512;
	expect(&a, &b, DISK_NEWER_MINE, DISK_NEWER_THEIRS, false);
	expect(&b, &none, DISK_NEWER_SIZE, DISK_NEWER_SIZE, true);
	b.image_bytes = a.image_bytes - 512;
	identity_part(&b, 21, 2, NAME_KNOWN_HERE);
	expect(&a, &b, DISK_NEWER_SIZE, DISK_NEWER_SIZE, true);
	none.image_bytes += 512;
	b = identity(0);
	expect(&none, &b, DISK_NEWER_SIZE, DISK_NEWER_SIZE, true);
}
END_TEST

/* A page of each kind with one byte changed: never taken for what it was. */
START_TEST(damage_is_noticed)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id;
	struct err err = ERR_INIT;

	disk_meta_abandon(m);
	for (unsigned at = 0; at < META_PAGE; at += 61) {
		now[META_AT_BITMAP][at] ^= 0x10;
		m = open_meta();
		ck_assert_uint_eq(disk_meta_count(m), BLOCKS);
		disk_meta_abandon(m);
		m = fresh();
		disk_meta_abandon(m);
		now[META_AT_ACTIVE][at] ^= 0x10;
		m = open_meta();
		ck_assert_int_eq(disk_meta_get(m, &id), 0);
		ck_assert(id.doubtful);
		disk_meta_abandon(m);
		m = fresh();
		disk_meta_abandon(m);
		now[0][at] ^= 0x10; /* the second copy serves */
		disk_meta_abandon(open_meta());
		now[0][at] ^= 0x20;
		now[1][at] ^= 0x10;
		ck_assert_ptr_null(disk_meta_open(0, "x.twin", IMAGE, image_flush, NULL, &err));
		ck_assert_ptr_nonnull(strstr(err.text, "x.twin"));
		m = fresh();
		disk_meta_abandon(m);
	}
	memcpy(now[1], now[0], META_PAGE); /* a page in another's place */
	memset(now[0], 0, META_PAGE);
	ck_assert_ptr_null(disk_meta_open(0, "x.twin", IMAGE, image_flush, NULL, &err));
}
END_TEST

static void tear_identity(unsigned page)
{
	memset(now[page] + 100, 0xff, 50);
	memcpy(durable[page], now[page], META_PAGE);
}

/* The page that is intact is not written before the other one is intact again. */
START_TEST(a_torn_identity_may_be_followed_by_another_crash)
{
	for (unsigned i = 0; i < 400; i++) {
		struct disk_meta *m = fresh();

		disk_meta_abandon(m);
		tear_identity(i % 2);
		m = open_meta();
		cut_in = 1 + i / 2 % 12;
		disk_meta_set_state(m, DISK_BEHIND);
		disk_meta_abandon(m);
		storage_crash(true);
		disk_meta_abandon(open_meta());
	}
}
END_TEST

/* What the process before has written is not on stable storage only because it can be read. */
START_TEST(killed_at_any_write_and_cut_off_later)
{
	for (unsigned i = 0; i < 800; i++) {
		struct disk_meta *m = fresh();

		cut_in = 1 + i % 9;
		disk_meta_set_state(m, DISK_BEHIND);
		process_killed(m);
		now[META_AT_ACTIVE][100] ^= 1; /* in doubt, which is written first */
		m = open_meta();
		cut_in = 1 + i / 9 % 10;
		disk_meta_set_state(m, DISK_IN_STEP);
		disk_meta_abandon(m);
		storage_crash(true);
		disk_meta_abandon(open_meta());
	}
}
END_TEST

/* The copy gets what was in the host's memory alone, and then the power fails. */
START_TEST(a_block_that_was_sent_is_flushed_here_as_well)
{
	for (unsigned i = 0; i < 50; i++) {
		struct disk_meta *m = fresh();

		disk_meta_part(m, 101, 2);
		ck_assert_int_eq(guest_writes(m, 7, 1), 0);
		process_killed(m);
		m = open_meta();
		disk_meta_part(m, 102, 3);
		ck_assert_int_eq(disk_meta_save(m), 0);
		ck_assert(disk_meta_sync_begin(m));
		for (uint64_t b = 0; (b = disk_meta_sync_take(m, b)) != UINT64_MAX; b++) {
			other[b] = image[b];
			disk_meta_sync_done(m, b);
		}
		ck_assert_int_eq(disk_meta_save(m), 0);
		disk_meta_abandon(m);
		image_crash();
		storage_crash(false);
		m = open_meta();
		check_differences(m);
		disk_meta_abandon(m);
	}
}
END_TEST

START_TEST(a_bitmap_whose_flush_fails_is_written_again)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id;

	ck_assert_int_eq(disk_meta_get(m, &id), 0);
	ck_assert_int_eq(disk_meta_save(m), 0);
	disk_meta_set(m, 9);
	flush_fails = true;
	ck_assert_int_eq(disk_meta_save(m), EIO);
	ck_assert_int_eq(disk_meta_save(m), 0);
	disk_meta_abandon(m);
	storage_crash(false);
	m = open_meta();
	ck_assert_uint_eq(disk_meta_next(m, 0), 9);
	disk_meta_abandon(m);
}
END_TEST

START_TEST(another_size_or_version_is_refused_by_name)
{
	struct disk_meta *m = fresh();
	struct err err = ERR_INIT;

	disk_meta_abandon(m);
	ck_assert_ptr_null(disk_meta_open(0, "x.twin", IMAGE + 512, image_flush, NULL, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "bytes"));
	for (uint32_t i = 0; i < 2; i++) {
		now[i][8]++;
		put64(now[i] + CHECKSUM_AT, checksum(now[i], i));
	}
	ck_assert_ptr_null(disk_meta_open(0, "x.twin", IMAGE, image_flush, NULL, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "version"));
}
END_TEST

#define GROWN ((uint64_t)META_PAGE_BLOCKS * 2 * DISK_META_BLOCK + 512) /* three pages of bitmap */

static struct disk_meta *open_long(uint64_t bytes)
{
	return disk_meta_open(0, "test.twin", bytes, image_flush, NULL, NULL);
}

START_TEST(it_grows_with_the_image)
{
	struct disk_meta *m = fresh();

	ck_assert(disk_meta_sync_begin(m));
	disk_meta_set(m, 7);
	ck_assert_int_eq(disk_meta_grow(m, IMAGE - 512), 0); /* nothing */
	ck_assert_uint_eq(disk_meta_blocks(m), BLOCKS);
	ck_assert_int_eq(disk_meta_grow(m, DISK_META_IMAGE_MAX + 512), EFBIG);
	ck_assert_int_eq(disk_meta_grow(m, GROWN), 0);
	ck_assert_uint_eq(disk_meta_blocks(m), 2 * META_PAGE_BLOCKS + 1);
	disk_meta_part(m, 5, 1);
	ck_assert_int_eq(disk_meta_write(m, GROWN - 512, 512), 0);
	ck_assert_int_eq(disk_meta_close(m), 0);
	ck_assert_ptr_null(open_long(IMAGE));
	m = open_long(GROWN);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(disk_meta_next(m, 0), 7);
	ck_assert_uint_eq(disk_meta_next(m, 8), 2 * META_PAGE_BLOCKS);
	disk_meta_abandon(m);
}
END_TEST

/* A copy that grew alone is set back, cut off anywhere as well; what it has of the rest stays. */
START_TEST(it_is_cut_with_the_image)
{
	unsigned before = 0, after = 0;

	for (unsigned at = 0; at < 40; at++) {
		struct disk_meta *m = fresh();
		struct disk_meta_identity id;
		int error;

		other_follows = false;
		ck_assert_int_eq(disk_meta_grow(m, GROWN), 0);
		disk_meta_part(m, 5, 1);
		ck_assert_int_eq(guest_writes(m, 9, 1), 0);
		ck_assert_int_eq(disk_meta_write(m, GROWN - 512, 512), 0);
		ck_assert_int_eq(disk_meta_cut(m, IMAGE), EBUSY); /* it is being written */
		disk_meta_abandon(m);
		m = open_long(GROWN);
		ck_assert_int_eq(disk_meta_cut(m, 0), EINVAL);
		ck_assert_int_eq(disk_meta_cut(m, GROWN), 0); /* nothing */
		cut_in = at;
		error = disk_meta_cut(m, IMAGE);
		ck_assert(!error || cut);
		ck_assert(error || disk_meta_blocks(m) == BLOCKS);
		disk_meta_abandon(m);
		storage_crash(true);
		ck_assert_int_eq(disk_meta_peek(0, "test.twin", &id, NULL), 0);
		ck_assert(id.image_bytes == IMAGE || (error && id.image_bytes == GROWN));
		before += id.image_bytes == GROWN;
		after += id.image_bytes == IMAGE;
		m = open_long(id.image_bytes);
		ck_assert_ptr_nonnull(m);
		ck_assert_int_eq(disk_meta_get(m, &id), 0);
		ck_assert(error || !id.doubtful);
		ck_assert_uint_eq(disk_meta_next(m, 0), 0); /* all of its extent */
		/* Grown again, nothing of the tail before is left. */
		ck_assert_int_eq(disk_meta_grow(m, GROWN), 0);
		ck_assert(id.image_bytes == GROWN || disk_meta_next(m, BLOCKS) == UINT64_MAX);
		disk_meta_abandon(m);
	}
	ck_assert_uint_gt(before, 3);
	ck_assert_uint_gt(after, 3);
}
END_TEST

/* Cut off anywhere it belongs to the image before, or to the longer one, and knows what differs. */
START_TEST(growth_cut_off_at_any_write)
{
	unsigned before = 0, after = 0;

	for (unsigned at = 1; at < 40; at++) {
		struct disk_meta *m = fresh();
		struct disk_meta_identity id;
		int error;

		other_follows = false;
		disk_meta_part(m, 5, 1);
		ck_assert_int_eq(guest_writes(m, 9, 1), 0);
		cut_in = at;
		error = disk_meta_grow(m, GROWN);
		ck_assert(!error || cut);
		disk_meta_abandon(m);
		storage_crash(true);
		ck_assert_int_eq(disk_meta_peek(0, "test.twin", &id, NULL), 0);
		ck_assert(id.image_bytes == GROWN || (error && id.image_bytes == IMAGE));
		before += id.image_bytes == IMAGE;
		after += id.image_bytes == GROWN;
		m = open_long(id.image_bytes);
		ck_assert_ptr_nonnull(m);
		ck_assert_uint_eq(disk_meta_next(m, 0), 0); /* all of its extent */
		ck_assert_uint_eq(disk_meta_next(m, 64), UINT64_MAX);
		disk_meta_abandon(m);
	}
	ck_assert_uint_gt(before, 3);
	ck_assert_uint_gt(after, 3);
}
END_TEST

static void identity_set(uint32_t word, uint32_t value)
{
	for (uint32_t i = 0; i < 2; i++) {
		memcpy(now[i] + word, &value, sizeof(value));
		put64(now[i] + CHECKSUM_AT, checksum(now[i], i));
	}
}

START_TEST(the_version_before_is_read_and_written_as_this_one)
{
	struct disk_meta *m = fresh();
	struct disk_meta_identity id;
	struct err err = ERR_INIT;

	disk_meta_abandon(m);
	identity_set(8, 1);
	m = open_meta();
	ck_assert_int_eq(disk_meta_set_state(m, DISK_BEHIND), 0);
	disk_meta_abandon(m);
	ck_assert_uint_eq(now[0][8], META_VERSION);
	ck_assert_int_eq(disk_meta_peek(0, "x.twin", &id, &err), 0);
	ck_assert_int_eq(id.state, DISK_BEHIND);
	/* What version 1 has not said was not said in it. */
	identity_set(8, 1);
	identity_set(12, DISK_AHEAD | WORD_OFFERED);
	ck_assert_int_lt(disk_meta_peek(0, "x.twin", &id, &err), 0);
	identity_set(8, META_VERSION);
	ck_assert_int_eq(disk_meta_peek(0, "x.twin", &id, &err), 0);
	ck_assert(id.offered);
	identity_set(12, DISK_AHEAD | (WORD_KNOWN + 1));
	ck_assert_int_lt(disk_meta_peek(0, "x.twin", &id, &err), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_crash_at_any_write_leaves_it_true);
	tcase_add_test(tc, so_do_torn_pages);
	tcase_add_test(tc, a_crash_that_tears_nothing_leaves_no_doubt);
	tcase_add_test(tc, few_writes_of_metadata_where_the_guest_writes_in_few_places);
	tcase_add_test(tc, an_orderly_end_knows_exactly);
	tcase_add_test(tc, no_write_before_it_is_known_what_it_means);
	tcase_add_test(tc, sides_change_before_the_next_write);
	tcase_add_test(tc, sides_change_and_part);
	tcase_add_test(tc, a_copy_that_is_not_the_base_ends_the_base);
	tcase_add_test(tc, a_copy_that_may_have_the_name_is_left_with_it);
	tcase_add_test(tc, an_offer_is_known_after_a_crash);
	tcase_add_test(tc, a_join_ends_the_offer);
	tcase_add_test(tc, a_block_is_sent_again_when_it_was_written);
	tcase_add_test(tc, names_tell_what_is_newer);
	tcase_add_test(tc, a_mixture_is_never_newer);
	tcase_add_test(tc, what_does_not_belong_together_is_told_apart);
	tcase_add_test(tc, an_older_copy_may_have_another_length);
	tcase_add_test(tc, damage_is_noticed);
	tcase_add_test(tc, a_torn_identity_may_be_followed_by_another_crash);
	tcase_add_test(tc, killed_at_any_write_and_cut_off_later);
	tcase_add_test(tc, a_block_that_was_sent_is_flushed_here_as_well);
	tcase_add_test(tc, a_bitmap_whose_flush_fails_is_written_again);
	tcase_add_test(tc, another_size_or_version_is_refused_by_name);
	tcase_add_test(tc, it_grows_with_the_image);
	tcase_add_test(tc, growth_cut_off_at_any_write);
	tcase_add_test(tc, it_is_cut_with_the_image);
	tcase_add_test(tc, the_version_before_is_read_and_written_as_this_one);
}

UNIT_MAIN("disk_meta", add_tests)
