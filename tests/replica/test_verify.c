// SPDX-License-Identifier: GPL-2.0-or-later
/* What a backup is asked about its disks: all that makes no sense is refused, the rest is done. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record/disk_file.h"
#include "replica/replica_private.h"
#include "tests/unit.h"

#define BLOCKS 20u
#define IMAGE  ((uint64_t)BLOCKS * DISK_META_BLOCK - 512)
#define SEED   7

static char path[] = "/tmp/twinstep-verify-XXXXXX";
static struct replica *r;
static struct disk_sync_disk disk[2]; /* the second one is not kept in step */
static atomic_uint_fast64_t record;
static int meta_fd;

static void setup(void)
{
	struct disk_meta_identity id = { .image_bytes = IMAGE };
	struct replica_config cfg = { .timeout_ms = 1000 };
	struct err err = ERR_INIT;
	int fd = mkstemp(path);

	ck_assert_int_eq(ftruncate(fd, (off_t)IMAGE), 0);
	close(fd);
	meta_fd = memfd_create("meta", MFD_CLOEXEC);
	ck_assert_int_eq(disk_meta_format(meta_fd, "meta", &id, &err), 0);
	disk[0].image = disk_file_open(path, false, &err);
	disk[0].meta =
		disk_meta_open(meta_fd, "meta", IMAGE, disk_flush_image, disk[0].image, &err);
	disk_attach_meta(disk[0].image, disk[0].meta, &record);
	disk[1].image = disk_memory_open(2048, &err);
	r = replica_create(&cfg, &err);
	ck_assert(r && disk[0].meta && disk[1].image);
	replica_set_disks(r, disk, 2, &record);
}

static void teardown(void)
{
	verify_end(r);
	replica_destroy(r);
	disk_close(disk[0].image);
	disk_close(disk[1].image);
	unlink(path);
	close(meta_fd);
}

struct ask {
	uint64_t record;
	uint8_t what, disk;
	uint64_t block;
	uint8_t n;
	size_t data; /* bytes of 0x5a behind it */
};

static int take(struct ask a)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	struct rd in;
	int ret;

	buf_put_u64(&b, a.record);
	buf_put_u64(&b, SEED);
	buf_put_u8(&b, a.what);
	buf_put_u8(&b, a.disk);
	buf_put_varint(&b, a.block);
	buf_put_u8(&b, a.n);
	for (size_t i = 0; i < a.data; i++)
		buf_put_u8(&b, 0x5a);
	in = (struct rd)RD_INIT(b.data, b.len);
	ret = verify_take_ask(r, 10, &in, &err);
	buf_free(&b);
	return ret;
}

static int nothing(struct disk_backend *d, void *ctx)
{
	return 0;
}

/* The answer, when the record has been applied. */
static struct buf answer(uint64_t seq)
{
	struct buf b = BUF_INIT;

	ck_assert(!verify_answer(r, &b));
	verify_applied(r, seq);
	ck_assert_int_eq(disk_between(disk[0].image, nothing, NULL), 0);
	ck_assert(verify_answer(r, &b));
	return b;
}

START_TEST(what_makes_no_sense_is_refused)
{
	const struct ask bad[] = {
		{ 10, VERIFY_SUMS, 0, 0, 1, 0 },
		{ 11, VERIFY_WHATS, 0, 0, 1, 0 },
		{ 11, VERIFY_SUMS, 1, 0, 1, 0 },
		{ 11, VERIFY_SUMS, 2, 0, 1, 0 },
		{ 11, VERIFY_SUMS, 0, 0, 0, 0 },
		{ 11, VERIFY_SUMS, 0, 0, VERIFY_BLOCKS + 1, 0 },
		{ 11, VERIFY_SUMS, 0, BLOCKS - 1, 2, 0 },
		{ 11, VERIFY_SUMS, 0, BLOCKS, 1, 0 },
		{ 11, VERIFY_SUMS, 0, UINT64_MAX, 2, 0 },
		{ 11, VERIFY_SUMS, 0, 0, 1, 1 },
		{ 11, VERIFY_READ, 0, 0, 2, 0 },
		{ 11, VERIFY_WRITE, 0, 0, 1, DISK_META_BLOCK - 1 },
		{ 11, VERIFY_WRITE, 0, 0, 1, DISK_META_BLOCK + 1 },
		{ 11, VERIFY_WRITE, 0, BLOCKS - 1, 1, DISK_META_BLOCK },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(take(bad[i]) == -EBADMSG, "%zu", i);
	ck_assert_int_eq(take((struct ask){ 11, VERIFY_SUMS, 0, 0, 1, 0 }), 0);
	ck_assert_int_eq(take((struct ask){ 12, VERIFY_SUMS, 0, 0, 1, 0 }), -EBADMSG);
}
END_TEST

START_TEST(a_range_is_summed_written_and_read_behind_its_record)
{
	struct buf before, after, b;

	ck_assert_int_eq(take((struct ask){ 12, VERIFY_SUMS, 0, BLOCKS - 2, 2, 0 }), 0);
	verify_applied(r, 11);
	before = answer(12);
	ck_assert_uint_eq(before.len, 9 + 2 * VERIFY_SUM);
	ck_assert_int_eq(
		take((struct ask){ 13, VERIFY_WRITE, 0, BLOCKS - 1, 1, DISK_META_BLOCK - 512 }), 0);
	b = answer(13);
	ck_assert_uint_eq(b.len, 9);
	buf_free(&b);
	ck_assert_int_eq(take((struct ask){ 14, VERIFY_SUMS, 0, BLOCKS - 2, 2, 0 }), 0);
	after = answer(14);
	ck_assert_int_eq(memcmp(before.data + 9, after.data + 9, VERIFY_SUM), 0);
	ck_assert_int_ne(
		memcmp(before.data + 9 + VERIFY_SUM, after.data + 9 + VERIFY_SUM, VERIFY_SUM), 0);
	ck_assert_int_eq(take((struct ask){ 15, VERIFY_READ, 0, BLOCKS - 1, 1, 0 }), 0);
	b = answer(15);
	ck_assert_uint_eq(b.len, 9 + DISK_META_BLOCK - 512);
	ck_assert_uint_eq(b.data[9], 0x5a);
	ck_assert_uint_eq(b.data[b.len - 1], 0x5a);
	buf_free(&b);
	buf_free(&before);
	buf_free(&after);
}
END_TEST

START_TEST(an_answer_that_was_not_asked_for_counts_for_nothing)
{
	static const uint8_t longest[8 + 1 + DISK_META_BLOCK + 1];
	struct err err = ERR_INIT;
	struct rd in = RD_INIT(longest, sizeof(longest));

	ck_assert_int_eq(verify_take_answer(r, &in, &err), -EBADMSG);
	in = (struct rd)RD_INIT(longest, 4);
	ck_assert_int_eq(verify_take_answer(r, &in, &err), -EBADMSG);
	in = (struct rd)RD_INIT(longest, 9);
	ck_assert_int_eq(verify_take_answer(r, &in, &err), 0);
	ck_assert(!r->verify.answered);
	ck_assert_int_eq(verify_start(r, VERIFY_DISKS, VERIFY_MEND_NOT, &err), -EBUSY);
}
END_TEST

/* An answer to what was asked at that record: sums, or a block, of nothing but this byte. */
static void answer_to(uint64_t seq, size_t len, uint8_t byte)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	struct rd in;

	buf_put_u64(&b, seq);
	buf_put_varint(&b, 0);
	for (size_t i = 0; i < len; i++)
		buf_put_u8(&b, byte);
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(verify_take_answer(r, &in, &err), 0);
	buf_free(&b);
}

static void follow(void)
{
	failover_take(&r->failover, FAILOVER_START, 1);
	failover_event(&r->failover, FAILOVER_JOIN);
	failover_event(&r->failover, FAILOVER_FOLLOWS);
}

/* Up to the ask for the content of block 0, which differs, at record 2. */
static void come_to_a_fetch(void)
{
	struct err err = ERR_INIT;

	follow();
	ck_assert_int_eq(verify_start(r, 0, VERIFY_MEND_BACKUP, &err), 0);
	verify_before(r, 1);
	ck_assert_int_eq(disk_between(disk[0].image, nothing, NULL), 0);
	answer_to(1, VERIFY_BLOCKS * VERIFY_SUM, 0x11);
	verify_before(r, 2);
}

/*
 * The backup takes one ask at a time: nothing is asked before it has answered. What comes late is
 * worth nothing, and the guest does not stand still for ever.
 */
START_TEST(a_backup_that_is_late_is_asked_again_and_not_for_ever)
{
	struct verify_progress p;
	uint64_t seq = 2;

	come_to_a_fetch();
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(r->verify.phase, VERIFY_FETCHES);
		verify_after(r); /* in vain */
		ck_assert(!verify_wants_record(r));
		verify_before(r, seq + 1);
		ck_assert_uint_eq(r->verify.waits_for, seq);
		answer_to(seq, DISK_META_BLOCK, 0x22);
		ck_assert(verify_wants_record(r));
		seq += 2;
		verify_before(r, seq);
	}
	verify_get_progress(&r->verify, &p);
	ck_assert(!p.running && p.mended == 0);
	ck_assert_msg(strstr(p.error, "in time") != NULL, "%s", p.error);
}
END_TEST

#define LONG_NS (60 * NS_PER_S)

/* What the vCPU's thread does when the backup has not answered for long. */
static void expect_the_end(uint64_t seq)
{
	struct verify_progress p;
	struct err err = ERR_INIT;

	verify_before(r, seq);
	ck_assert(atomic_load(&r->verify.running) && !verify_wants_record(r));
	r->verify.asked_ns -= LONG_NS;
	ck_assert(verify_wants_record(r));
	verify_before(r, seq + 1);
	verify_get_progress(&r->verify, &p);
	ck_assert(!p.running && p.known);
	ck_assert_msg(strstr(p.error, "does not answer in time") != NULL, "%s", p.error);
	/* It would take a second ask for damage, until it has answered the first one. */
	ck_assert_int_eq(verify_start(r, 0, VERIFY_MEND_LIVE, &err), -EBUSY);
	ck_assert_msg(strstr(err.text, "has not answered") != NULL, "%s", err.text);
}

/* Of sums, of a block's content, of a block that it is to write: nobody waits for ever. */
START_TEST(a_backup_that_never_answers_ends_the_comparison)
{
	struct err err = ERR_INIT;

	come_to_a_fetch();
	verify_after(r);
	expect_the_end(3);
	answer_to(2, DISK_META_BLOCK, 0x22); /* after all */
	ck_assert_int_eq(verify_start(r, 0, VERIFY_MEND_LIVE, &err), 0);
	verify_before(r, 5);
	ck_assert_int_eq(disk_between(disk[0].image, nothing, NULL), 0);
	expect_the_end(6);
	verify_forget(r); /* another backup has joined */
	ck_assert_int_eq(verify_start(r, 0, VERIFY_MEND_LIVE, &err), 0);
	verify_before(r, 8);
	ck_assert_int_eq(disk_between(disk[0].image, nothing, NULL), 0);
	answer_to(8, VERIFY_BLOCKS * VERIFY_SUM, 0x11);
	verify_before(r, 9);
	ck_assert_int_eq(r->verify.phase, VERIFY_MENDED);
	expect_the_end(10);
}
END_TEST

START_TEST(a_block_that_comes_in_time_is_mended)
{
	struct verify_progress p;
	uint8_t byte = 0;

	come_to_a_fetch();
	answer_to(2, DISK_META_BLOCK, 0x22);
	verify_after(r);
	verify_get_progress(&r->verify, &p);
	ck_assert_uint_eq(p.mended, 1);
	ck_assert_int_eq(disk_raw_read(disk[0].image, &byte, 1, 4711), 0);
	ck_assert_uint_eq(byte, 0x22);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_makes_no_sense_is_refused);
	tcase_add_test(tc, a_range_is_summed_written_and_read_behind_its_record);
	tcase_add_test(tc, an_answer_that_was_not_asked_for_counts_for_nothing);
	tcase_add_test(tc, a_backup_that_is_late_is_asked_again_and_not_for_ever);
	tcase_add_test(tc, a_backup_that_never_answers_ends_the_comparison);
	tcase_add_test(tc, a_block_that_comes_in_time_is_mended);
}

UNIT_MAIN("verify", add_tests)
