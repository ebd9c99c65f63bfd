// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two sides with images in temporary files, and a connection that can be lost at any message: what
 * is said to be in step is equal, byte for byte, and what was lost is made up for later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/disk_file.h"
#include "replica/disk_sync.h"
#include "tests/unit.h"

#define BLOCKS 40u
#define JOINED 77 /* number of the record of a join */
#define IMAGE  ((uint64_t)BLOCKS * DISK_META_BLOCK - 512)

static uint64_t seed = 1;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

struct side {
	char path[40];
	int meta_fd;
	struct disk_sync_disk disk;
	atomic_uint_fast64_t record;
};

static struct side a, b;

static void side_open(struct side *s)
{
	struct err err = ERR_INIT;

	s->disk.image = disk_file_open(s->path, false, &err);
	ck_assert_msg(s->disk.image != NULL, "%s", err.text);
	s->disk.meta = disk_meta_open(s->meta_fd, "meta", s->disk.image->sectors * DISK_SECTOR,
				      disk_flush_image, s->disk.image, &err);
	ck_assert_msg(s->disk.meta != NULL, "%s", err.text);
	disk_attach_meta(s->disk.image, s->disk.meta, &s->record);
}

static void side_new(struct side *s, uint64_t bytes)
{
	struct disk_meta_identity id = { .image_bytes = bytes };
	struct err err = ERR_INIT;
	int fd;

	strcpy(s->path, "/tmp/twinstep-sync-XXXXXX");
	fd = mkstemp(s->path);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
	s->meta_fd = memfd_create("meta", MFD_CLOEXEC);
	ck_assert_int_eq(disk_meta_format(s->meta_fd, "meta", &id, &err), 0);
	side_open(s);
}

static void side_close(struct side *s)
{
	disk_close(s->disk.image);
}

static void side_free(struct side *s)
{
	side_close(s);
	unlink(s->path);
	close(s->meta_fd);
}

static int guest_writes(struct side *s, uint64_t block)
{
	static uint64_t id;
	static uint8_t data[4096];
	uint64_t sector = block * DISK_META_BLOCK / 512 + rnd(100);

	memset(data, (int)rnd(3), sizeof(data)); /* zeros, too */
	s->disk.image->ops->start(s->disk.image, ++id, DISK_WRITE, sector, 8, data);
	return s->disk.image->ops->finish(s->disk.image, id);
}

static bool equal(void)
{
	uint64_t x, y;

	ck_assert_int_eq(a.disk.image->ops->digest(a.disk.image, &x), 0);
	ck_assert_int_eq(b.disk.image->ops->digest(b.disk.image, &y), 0);
	return x == y;
}

/* ---- the connection: two queues of messages ---- */

struct queue {
	struct buf message[256];
	unsigned first, n;
};

static struct queue to_target, to_source;
static unsigned lost_in; /* messages until the connection is lost; 0: never */

static int put(void *ctx, struct buf *m)
{
	struct queue *q = ctx;

	if (lost_in && --lost_in == 0)
		lost_in = 1; /* and stays so */
	if (lost_in == 1)
		return -ECONNRESET;
	ck_assert_uint_lt(q->n, 256);
	q->message[(q->first + q->n++) % 256] = *m;
	*m = (struct buf)BUF_INIT;
	return 0;
}

static bool get(struct queue *q, struct buf *m)
{
	if (!q->n)
		return false;
	*m = q->message[q->first];
	q->first = (q->first + 1) % 256;
	q->n--;
	return true;
}

static void drop(struct queue *q)
{
	struct buf m;

	while (get(q, &m))
		buf_free(&m);
}

struct join {
	struct disk_source *s;
	struct disk_target *t;
	struct err err;
	bool in_step;
};

/* Delivers what is under way. 0 or -errno. */
static int deliver(struct join *j)
{
	struct buf m;
	int ret = 0;

	while (!ret && get(&to_source, &m)) {
		struct rd in = RD_INIT(m.data, m.len);

		ret = disk_source_take(j->s, &in, &j->err);
		buf_free(&m);
	}
	while (ret >= 0 && get(&to_target, &m)) {
		struct rd in = RD_INIT(m.data, m.len);

		ret = disk_target_take(j->t, &in, &j->err);
		j->in_step |= ret == 1;
		buf_free(&m);
	}
	return ret < 0 ? ret : 0;
}

/* A join of b at a, whose guest writes meanwhile. 0 or -errno. */
static int join(struct join *j, unsigned lose_in, unsigned guest_rounds)
{
	int ret;

	*j = (struct join){ .err = ERR_INIT };
	lost_in = lose_in;
	j->s = disk_source_new(&a.disk, 1, rnd(UINT64_MAX), put, &to_target);
	j->t = disk_target_new(&b.disk, 1, put, &to_source);
	ret = disk_target_offer(j->t, &j->err);
	for (unsigned i = 0; !ret && i < 1000; i++) {
		ret = deliver(j);
		if (!ret && i < guest_rounds)
			ck_assert_int_eq(guest_writes(&a, rnd(BLOCKS - 1)), 0);
		if (!ret && disk_source_begun(j->s))
			ret = disk_source_step(j->s, 3, &j->err);
		if (ret == 0 && disk_source_begun(j->s) && !disk_source_left(j->s) &&
		    i >= guest_rounds)
			break;
		ret = ret > 0 ? 0 : ret;
	}
	atomic_store(&a.record, JOINED);
	ret = ret < 0 ? ret : disk_source_finish(j->s, JOINED, &j->err);
	for (unsigned i = 0; !ret && i < 4; i++)
		ret = deliver(j);
	if (!ret && disk_source_confirmed(j->s))
		ret = disk_source_in_step(j->s, &j->err);
	disk_source_free(j->s);
	disk_target_free(j->t);
	drop(&to_source);
	drop(&to_target);
	return ret;
}

static void begin(void)
{
	side_new(&a, IMAGE);
	side_new(&b, IMAGE);
	disk_meta_part(a.disk.meta, 1000, 1);
}

/* With a guest that has written something. */
static void begin_written(void)
{
	begin();
	for (unsigned i = 0; i < 30; i++)
		ck_assert_int_eq(guest_writes(&a, rnd(BLOCKS - 1)), 0);
}

static void end(void)
{
	side_free(&a);
	side_free(&b);
}

static void join_fully(struct join *j, unsigned guest_rounds)
{
	int ret = join(j, 0, guest_rounds);

	ck_assert_msg(ret == 0, "%s", j->err.text);
	ck_assert(j->in_step);
	ck_assert(equal());
	ck_assert_uint_eq(disk_meta_count(a.disk.meta), 0);
	ck_assert_uint_eq(disk_meta_count(b.disk.meta), 0);
}

START_TEST(a_new_copy_becomes_equal_while_the_guest_writes)
{
	struct join j;

	begin_written();
	join_fully(&j, 50);
	end();
}
END_TEST

START_TEST(only_blocks_that_differ_are_sent)
{
	struct join j;

	begin();
	for (unsigned i = 0; i < BLOCKS; i++)
		ck_assert_int_eq(guest_writes(&a, i < BLOCKS - 1 ? i : 0), 0);
	join_fully(&j, 0);
	disk_meta_part(a.disk.meta, 1001, 2);
	ck_assert_int_eq(guest_writes(&a, 5), 0);
	side_close(&b); /* an orderly end, and back */
	side_open(&b);
	lost_in = 0;
	j.s = disk_source_new(&a.disk, 1, 1, put, &to_target);
	j.t = disk_target_new(&b.disk, 1, put, &to_source);
	ck_assert_int_eq(disk_target_offer(j.t, &j.err), 0);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(deliver(&j), 0);
	ck_assert(disk_source_begun(j.s));
	ck_assert_uint_eq(disk_source_left(j.s), DISK_META_BLOCK);
	disk_source_free(j.s);
	disk_target_free(j.t);
	drop(&to_source);
	drop(&to_target);
	end();
}
END_TEST

/* The fault that this is for: a side that missed writes went live later, and they were gone. */
START_TEST(after_a_failover_the_old_live_side_gets_what_it_missed)
{
	struct join j;
	struct side t;

	begin();
	join_fully(&j, 10);
	/* a writes what b never executes, and dies */
	ck_assert_int_eq(guest_writes(&a, 3), 0);
	side_close(&a);
	/* b goes live */
	disk_meta_part(b.disk.meta, 2000, 2);
	ck_assert_int_eq(guest_writes(&b, 9), 0);
	side_open(&a);
	t = a, a = b, b = t;
	disk_attach_meta(a.disk.image, a.disk.meta, &a.record);
	disk_attach_meta(b.disk.image, b.disk.meta, &b.record);
	join_fully(&j, 10);
	end();
}
END_TEST

START_TEST(a_lost_connection_costs_only_time)
{
	for (unsigned lose = 1; lose < 60; lose++) {
		struct join j;
		int ret;

		begin_written();
		ret = join(&j, lose, 10);
		if (ret && rnd(2)) {
			side_close(&b);
			side_open(&b);
		}
		disk_meta_part(a.disk.meta, 1001, 2);
		if (ret)
			ck_assert_int_eq(guest_writes(&a, rnd(BLOCKS - 1)), 0);
		if (ret)
			join_fully(&j, 5);
		end();
	}
}
END_TEST

/* All that is on its way to the target arrives, and what it answers does not yet. */
static void deliver_to_target(struct join *j)
{
	struct buf m;

	while (get(&to_target, &m)) {
		struct rd in = RD_INIT(m.data, m.len);

		ck_assert_int_eq(disk_target_take(j->t, &in, &j->err), 0);
		buf_free(&m);
	}
}

START_TEST(a_block_sent_again_is_not_done_with_the_mark_before)
{
	struct join j = { .err = ERR_INIT };

	begin();
	join_fully(&j, 0);
	disk_meta_part(a.disk.meta, 1001, 2);
	side_close(&b);
	side_open(&b);
	j.s = disk_source_new(&a.disk, 1, 1, put, &to_target);
	j.t = disk_target_new(&b.disk, 1, put, &to_source);
	ck_assert_int_eq(disk_target_offer(j.t, &j.err), 0);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(deliver(&j), 0);
	for (unsigned i = 0; i < 2; i++) { /* sent, written, and sent again before DONE arrives */
		ck_assert_int_eq(guest_writes(&a, 5), 0);
		ck_assert_int_eq(disk_source_step(j.s, 16, &j.err), 0);
		if (i == 0)
			deliver_to_target(&j);
	}
	drop(&to_target); /* and the connection is lost */
	ck_assert_int_eq(deliver(&j), 0);
	disk_source_free(j.s);
	disk_target_free(j.t);
	ck_assert_uint_eq(disk_meta_next(a.disk.meta, 0), 5);
	end();
}
END_TEST

START_TEST(what_cannot_follow_is_refused)
{
	struct join j;

	begin();
	join_fully(&j, 0);
	disk_meta_part(a.disk.meta, 1001, 2);
	disk_meta_part(b.disk.meta, 2001, 3);
	ck_assert_int_eq(guest_writes(&b, 1), 0);
	ck_assert_int_eq(join(&j, 0, 0), -ESTALE);
	ck_assert_ptr_nonnull(strstr(j.err.text, "both copies were written"));
	end();

	begin();
	join_fully(&j, 0);
	disk_meta_part(b.disk.meta, 2001, 3);
	ck_assert_int_eq(guest_writes(&b, 1), 0);
	ck_assert_int_eq(join(&j, 0, 0), -ESTALE);
	ck_assert_ptr_nonnull(strstr(j.err.text, "newer"));
	end();
}
END_TEST

static uint64_t bytes_of(const struct side *s)
{
	struct stat st;

	ck_assert_int_eq(stat(s->path, &st), 0);
	return (uint64_t)st.st_size;
}

/* Growth of a, whose guest writes to what is new: to its end, and not to all of it. */
static void grow(uint64_t bytes)
{
	ck_assert_int_eq(a.disk.image->ops->grow(a.disk.image, bytes / 512), 0);
	ck_assert_int_eq(guest_writes(&a, bytes / DISK_META_BLOCK - 1), 0);
	ck_assert_int_eq(guest_writes(&a, BLOCKS), 0);
}

/* Another copy takes b's place and follows: what b lacks is not in the bitmap any more. */
static void another_follows(uint64_t bytes)
{
	struct side old = b;
	struct join j;

	side_new(&b, bytes);
	join_fully(&j, 0);
	side_free(&b);
	b = old;
	disk_meta_part(a.disk.meta, 1002, 3);
}

/* By the bitmap, and, where that does not reach back so far, by sums of what b has. */
START_TEST(a_copy_that_missed_a_growth_grows)
{
	const uint64_t bytes = 3 * IMAGE;
	struct join j;

	for (unsigned whole = 0; whole < 2; whole++) {
		begin_written();
		join_fully(&j, 0);
		disk_meta_part(a.disk.meta, 1001, 2);
		side_close(&b);
		grow(bytes);
		if (whole)
			another_follows(bytes);
		side_open(&b);
		join_fully(&j, 20);
		ck_assert_uint_eq(bytes_of(&b), bytes);
		ck_assert_uint_eq(b.disk.image->sectors, bytes / 512);
		end();
	}
}
END_TEST

/*
 * A live side that grew its image and was lost before its backup knew: that went on without, and
 * has the newer content. By the bitmap, or by sums of what there is.
 */
START_TEST(a_copy_that_grew_alone_is_cut)
{
	struct side old;
	struct join j;

	for (unsigned whole = 0; whole < 2; whole++) {
		begin_written();
		join_fully(&j, 0);
		grow(3 * IMAGE);
		side_close(&a);
		disk_meta_part(b.disk.meta, 1001, 2);
		ck_assert_int_eq(guest_writes(&b, 7), 0);
		old = a, a = b, b = old;
		disk_attach_meta(a.disk.image, a.disk.meta, &a.record);
		if (whole)
			another_follows(IMAGE);
		side_open(&b);
		join_fully(&j, 20);
		ck_assert_uint_eq(bytes_of(&b), IMAGE);
		ck_assert_uint_eq(b.disk.image->sectors, IMAGE / 512);
		side_close(&b);
		side_open(&b); /* as long as its metadata says */
		end();
	}
}
END_TEST

/* Nothing of it is written to. */
START_TEST(a_new_copy_does_not_grow)
{
	struct join j;

	begin();
	grow(2 * IMAGE);
	ck_assert_int_eq(join(&j, 0, 0), -ESTALE);
	ck_assert_ptr_nonnull(strstr(j.err.text, "different lengths"));
	ck_assert_uint_eq(bytes_of(&b), IMAGE);
	ck_assert(disk_is_blank(b.disk.image));
	end();
}
END_TEST

START_TEST(messages_at_the_wrong_time_are_refused)
{
	struct err err = ERR_INIT;
	struct disk_source *s;
	struct disk_target *t;

	begin();
	s = disk_source_new(&a.disk, 1, 1, put, &to_target);
	t = disk_target_new(&b.disk, 1, put, &to_source);
	for (unsigned kind = 0; kind < 256; kind++) {
		uint8_t m[3] = { (uint8_t)kind, 0, 0 };
		struct rd in = RD_INIT(m, sizeof(m)), again = in;

		if (kind == 4) /* which sums are wanted: the one that is in time, but cut short */
			ck_assert_int_lt(disk_target_take(t, &again, &err), 0);
		else
			ck_assert_int_eq(disk_target_take(t, &again, &err), -EBADMSG);
		if (kind == 12) /* a sign of life may come at any time */
			ck_assert_int_eq(disk_source_take(s, &in, &err), 0);
		else
			ck_assert_int_lt(disk_source_take(s, &in, &err), 0);
	}
	disk_source_free(s);
	disk_target_free(t);
	drop(&to_source);
	drop(&to_target);
	end();
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_new_copy_becomes_equal_while_the_guest_writes);
	tcase_add_test(tc, only_blocks_that_differ_are_sent);
	tcase_add_test(tc, after_a_failover_the_old_live_side_gets_what_it_missed);
	tcase_add_test(tc, a_lost_connection_costs_only_time);
	tcase_add_test(tc, a_block_sent_again_is_not_done_with_the_mark_before);
	tcase_add_test(tc, what_cannot_follow_is_refused);
	tcase_add_test(tc, a_copy_that_missed_a_growth_grows);
	tcase_add_test(tc, a_copy_that_grew_alone_is_cut);
	tcase_add_test(tc, a_new_copy_does_not_grow);
	tcase_add_test(tc, messages_at_the_wrong_time_are_refused);
}

UNIT_MAIN("disk_sync", add_tests)
