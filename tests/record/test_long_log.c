// SPDX-License-Identifier: GPL-2.0-or-later
// A log that has grown past 4 GiB, by a hole in the file: offsets are whole in writer, index,
// marks, reader and messages.
#include <inttypes.h>

#include "hypervisor/clock.h"
#include "record/codec.h"
#include "record/logwriter.c"
#include "record/logstream.h"
#include "tests/record/log_frames.h"
#include "tests/unit.h"

#define FAR (5ull << 30)

static char dir[64], path[128];
static struct err err;

static void put_records(struct log_writer *w, uint64_t first, unsigned n)
{
	struct codec c = { 0 };
	struct buf b = BUF_INIT;

	for (uint64_t seq = first; seq < first + n; seq++) {
		struct sync_point sp = { .seq = seq, .at = { .count = seq * 1000, .rip = seq } };

		codec_put(&c, &b, &sp, 0, NULL);
	}
	ck_assert_int_eq(log_writer_frame(w, LOG_RECORDS, first * 1000, b.data, b.len, &err), 0);
	buf_free(&b);
}

/* 20 records, a hole of 5 GiB, and behind it a checkpoint, 30 records, another checkpoint. */
static void write_log(void)
{
	struct log_header h = {
		.engine = "soft", .counter = "retired", .append = "", .rate = CLOCK_RATE_ONE
	};
	struct log_writer *w;

	strcpy(dir, "/tmp/twinstep-longlog-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	machine_config_defaults(&h.config);
	h.config.memory = MEMORY_MIN;
	w = log_writer_open(path, &h, false, &err);
	ck_assert_msg(w != NULL, "%s", err.text);
	put_records(w, 1, 20);
	w->offset += FAR;
	put_checkpoint(w, 20);
	put_records(w, 21, 30);
	put_checkpoint(w, 50);
	put_end(w, 50);
	ck_assert_uint_gt(log_writer_bytes(w), FAR);
	ck_assert_int_eq(log_writer_close(w, true, &err), 0);
}

static void remove_log(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(checkpoints_are_found_by_the_index)
{
	const struct log_mark *mark;
	const struct codec_record *rec;
	struct log_reader *r = log_reader_open(path, &err);
	struct logstream s;
	size_t n;
	uint64_t seq = 20;

	ck_assert_msg(r != NULL, "%s", err.text);
	ck_assert_int_eq(log_reader_marks(r, &mark, &n, &err), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_gt(mark[0].offset, FAR);
	ck_assert_uint_gt(mark[1].offset, mark[0].offset);
	ck_assert_uint_eq(mark[1].record, 50);
	logstream_init(&s, r);
	ck_assert_int_eq(log_reader_seek(r, &mark[0], &err), 0);
	while (logstream_next(&s, &rec, &err) > 0)
		ck_assert_uint_eq(rec->sp.seq, ++seq);
	ck_assert_msg(!err.code, "%s", err.text);
	ck_assert_uint_eq(seq, 50);
	ck_assert_uint_gt(s.bytes, FAR);
	log_reader_close(r);
}
END_TEST

START_TEST(messages_name_the_whole_offset)
{
	const struct log_mark *mark;
	struct log_reader *r = log_reader_open(path, &err);
	struct log_frame f;
	size_t n;
	char where[32];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert(r && fd >= 0);
	ck_assert_int_eq(log_reader_marks(r, &mark, &n, &err), 0);
	ck_assert_int_eq(pwrite(fd, "damage", 6, (off_t)mark[1].offset), 6);
	close(fd);
	ck_assert_int_eq(log_reader_seek(r, &mark[1], &err), 0);
	ck_assert_int_eq(log_reader_next(r, &f, &err), -EBADMSG);
	snprintf(where, sizeof(where), "at offset %" PRIu64, mark[1].offset);
	ck_assert_msg(strstr(err.text, where) != NULL, "%s", err.text);
	log_reader_close(r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, write_log, remove_log);
	tcase_add_test(tc, checkpoints_are_found_by_the_index);
	tcase_add_test(tc, messages_name_the_whole_offset);
}

UNIT_MAIN("long_log", add_tests)
