// SPDX-License-Identifier: GPL-2.0-or-later
// Whichever way a moment of a recording is reached, the machine is the same one there.
#include <xxhash.h>

#include "record/timeline.h"
#include "tests/record/log_rig.h"

/* Offsets in rig_program, from where it lies. */
#define AT_INC	 0x7c01u /* inc word [0x2000] */
#define AT_STORE 0x7c0du /* mov [bx + 0x4000], al */
#define AT_REP	 0x7c17u
#define AT_DEC	 0x7c22u /* dec dword [0x2004] */
#define AT_JNZ	 0x7c27u

static struct rig_options options;
static struct rig_replay rr;
static struct timeline *line;

static int export_disk(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	return disk_overlay_export(rr.disk, out, err);
}

static void line_open(uint64_t spacing, uint64_t memory_max)
{
	struct timeline_config c = { .spacing = spacing,
				     .memory_max = memory_max,
				     .disk_export = export_disk,
				     .disk_import = rig_import,
				     .disk_ctx = &rr };

	rr = (struct rig_replay){ 0 };
	rig_replay_open(&rr, rig_path, &options);
	c.m = rr.m;
	c.stream = &rr.stream;
	line = timeline_open(&c, &rig_err);
	ck_assert_msg(line != NULL, "%s", rig_err.text);
}

static void line_close(void)
{
	timeline_close(line);
	rig_replay_close(&rr);
}

static void setup(void)
{
	options = (struct rig_options){
		.rounds = 1000, .digest_count = 777, .poke = true, .disk = true
	};
	rig_setup();
	rig_record(&options);
	line_open(1000, 0);
}

static void teardown(void)
{
	line_close();
	rig_teardown();
}

/* Everything: registers, devices, translations, RAM. */
static uint64_t state(void)
{
	struct buf b = BUF_INIT;
	struct engine *e = machine_engine(rr.m);
	struct memory *mem = machine_memory(rr.m);
	uint64_t h;

	machine_save(rr.m, &b);
	e->ops->hidden_save(e, &b);
	h = XXH3_64bits_withSeed(b.data, b.len, XXH3_64bits(mem->base, mem->size));
	buf_free(&b);
	return h;
}

static struct moment now(void)
{
	struct timeline_where w;

	timeline_where(line, &w);
	return w.at;
}

static uint64_t rip(void)
{
	struct cpu_state s;
	struct engine *e = machine_engine(rr.m);

	e->ops->get_state(e, &s);
	return s.rip;
}

static void seek(uint64_t count)
{
	const struct moment to = { .count = count };
	enum timeline_stop why = timeline_seek(line, &to, &rig_err);

	ck_assert_msg(why == TIMELINE_THERE, "%d: %s", why, rig_err.text);
	ck_assert_uint_eq(now().count, count);
	ck_assert_uint_eq(now().events, 0);
}

/* 64 landmarks in an order that jumps about; twice, and again by another timeline. */
START_TEST(a_landmark_is_the_same_from_everywhere)
{
	uint64_t want[64], end = 13000;

	for (unsigned i = 0; i < 64; i++) {
		seek((i + 1) * end / 65);
		want[i] = state();
	}
	for (unsigned i = 0; i < 200; i++) {
		unsigned k = i * 29 % 64;

		seek((k + 1) * end / 65);
		ck_assert_uint_eq(state(), want[k]);
	}
	line_close();
	line_open(100000000, 0); /* no checkpoint but the first */
	for (unsigned i = 0; i < 64; i += 7) {
		seek((i + 1) * end / 65);
		ck_assert_uint_eq(state(), want[i]);
	}
}
END_TEST

START_TEST(steps_back_undo_steps)
{
	enum { STEPS = 60 };
	uint64_t want[STEPS + 1];
	struct moment at[STEPS + 1];

	seek(7001);
	for (unsigned i = 0; i <= STEPS; i++) {
		want[i] = state();
		at[i] = now();
		if (i < STEPS)
			ck_assert_int_eq(timeline_step(line, &rig_err), TIMELINE_THERE);
	}
	for (unsigned i = STEPS; i-- > 0;) {
		ck_assert_msg(timeline_step_back(line, &rig_err) == TIMELINE_THERE, "%s",
			      rig_err.text);
		ck_assert_uint_eq(now().count, at[i].count);
		ck_assert_uint_eq(now().events, at[i].events);
		ck_assert_uint_eq(state(), want[i]);
	}
}
END_TEST

START_TEST(breakpoints_stop_both_ways)
{
	const struct timeline_probe p = { .breakpoint = { AT_REP, AT_JNZ }, .nbreakpoints = 2 };
	uint64_t count[40];

	timeline_set_probe(line, &p);
	for (unsigned i = 0; i < 40; i++) {
		ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_BREAKPOINT);
		ck_assert_uint_eq(rip(), i % 2 ? AT_JNZ : AT_REP);
		count[i] = now().count;
	}
	for (unsigned i = 39; i-- > 0;) {
		ck_assert_int_eq(timeline_back(line, &rig_err), TIMELINE_BREAKPOINT);
		ck_assert_uint_eq(now().count, count[i]);
	}
	ck_assert_int_eq(timeline_back(line, &rig_err), TIMELINE_BEGIN);
	ck_assert_uint_eq(now().count, 0);
	ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_BREAKPOINT);
	ck_assert_uint_eq(now().count, count[0]);
}
END_TEST

START_TEST(a_watch_backward_finds_the_write)
{
	const struct timeline_probe p = {
		.watch = { { .address = 0x2004, .length = 4, .write = true },
			   { .address = 0x4000, .length = 1, .write = true } },
		.nwatches = 2
	};
	struct timeline_where w;
	uint32_t left = 77;

	timeline_set_probe(line, &(struct timeline_probe){ 0 });
	ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_END);
	timeline_set_probe(line, &p);
	for (unsigned i = 1; i <= 20; i++) {
		do {
			ck_assert_int_eq(timeline_back(line, &rig_err), TIMELINE_WATCH);
			timeline_where(line, &w);
			ck_assert_uint_eq(w.address, w.watch ? 0x4000 : 0x2004);
			ck_assert_uint_eq(rip(), w.watch ? AT_STORE : AT_DEC);
		} while (w.watch);
		ck_assert(memory_read(machine_memory(rr.m), 0x2004, &left, 4));
		ck_assert_uint_eq(left, i);
	}
	ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_WATCH);
	ck_assert_uint_eq(rip(), AT_JNZ);
}
END_TEST

/* A read is seen where reads are watched, and there alone. */
START_TEST(reads_are_told_from_writes)
{
	struct timeline_probe p = { .watch = { { .address = 0x2000, .length = 1, .read = true } },
				    .nwatches = 1 };

	seek(1400);
	timeline_set_probe(line, &p);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_WATCH);
		ck_assert_uint_eq(rip(), 0x7c21);
	}
	p.watch[0].write = true;
	p.watch[0].read = false;
	timeline_set_probe(line, &p);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_WATCH);
		ck_assert_uint_eq(rip(), AT_INC + 4);
	}
}
END_TEST

START_TEST(probes_leave_no_trace)
{
	const struct timeline_probe p = {
		.breakpoint = { AT_INC },
		.nbreakpoints = 1,
		.watch = { { .address = 0x8000, .length = 8, .read = true, .write = true } },
		.nwatches = 1
	};
	uint64_t want;

	seek(11111);
	want = state();
	line_close();
	line_open(1000, 0);
	timeline_set_probe(line, &p);
	for (unsigned i = 0; i < 500; i++)
		ck_assert_int_lt(timeline_forward(line, &rig_err), TIMELINE_BEGIN);
	seek(11111);
	ck_assert_uint_eq(state(), want);
}
END_TEST

START_TEST(both_ends)
{
	struct moment far = { .count = 1ull << 40 };

	ck_assert_int_eq(timeline_step_back(line, &rig_err), TIMELINE_BEGIN);
	ck_assert_int_eq(timeline_back(line, &rig_err), TIMELINE_BEGIN);
	ck_assert_int_eq(timeline_seek(line, &far, &rig_err), TIMELINE_END);
	ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_END);
	ck_assert_int_eq(timeline_step(line, &rig_err), TIMELINE_END);
	ck_assert_int_eq(timeline_step_back(line, &rig_err), TIMELINE_THERE);
	ck_assert_uint_eq(rip(), 0x7c2b); /* out 0xf4, al */
	ck_assert_int_eq(timeline_step(line, &rig_err), TIMELINE_END);
}
END_TEST

/* Memory is bounded; what is left still leads everywhere. */
START_TEST(checkpoints_make_room)
{
	struct timeline_stats stats;
	uint64_t want, bound = 400000;

	seek(10001);
	want = state();
	line_close();
	line_open(100, bound);
	seek(12500);
	timeline_get_stats(line, &stats);
	ck_assert_uint_gt(stats.spacing, 100);
	ck_assert_uint_gt(stats.checkpoints, 2);
	ck_assert_uint_le(stats.bytes, bound);
	seek(10001);
	ck_assert_uint_eq(state(), want);
}
END_TEST

/* A disk's changes come back as well, whatever was written since. */
START_TEST(disks_come_back)
{
	struct buf want = BUF_INIT, have = BUF_INIT;
	uint8_t zeros[4096] = { 0 };

	line_close();
	unlink(rig_path);
	options.disk = true;
	rig_record(&options);
	line_open(3000, 0);
	rig_fill_disk(rr.disk);
	seek(9000);
	ck_assert_int_eq(disk_overlay_export(rr.disk, &want, &rig_err), 0);
	ck_assert_int_eq(disk_raw_write(rr.disk, zeros, sizeof(zeros), 8192), 0);
	seek(7000);
	ck_assert_int_eq(disk_overlay_export(rr.disk, &have, &rig_err), 0);
	ck_assert_uint_eq(have.len, want.len);
	ck_assert_int_eq(memcmp(have.data, want.data, want.len), 0);
	buf_free(&want);
	buf_free(&have);
}
END_TEST

static bool ask(void *ctx)
{
	return ++*(unsigned *)ctx > 1;
}

START_TEST(a_run_can_be_ended_from_outside)
{
	unsigned asked = 0;
	struct timeline_config c = { .asked = ask, .asked_ctx = &asked, .spacing = 5000 };

	timeline_close(line);
	rig_replay_close(&rr);
	rr = (struct rig_replay){ 0 };
	rig_replay_open(&rr, rig_path, &options);
	c.m = rr.m;
	c.stream = &rr.stream;
	line = timeline_open(&c, &rig_err);
	ck_assert_int_eq(timeline_forward(line, &rig_err), TIMELINE_ASKED);
	ck_assert_uint_eq(now().count, 10000);
	asked = 0;
	ck_assert_int_eq(timeline_step_back(line, &rig_err), TIMELINE_THERE);
	ck_assert_uint_eq(now().count, 9999);
}
END_TEST

START_TEST(a_damaged_log_is_said)
{
	struct moment far = { .count = 12999 };
	struct timeline_config c = { 0 };
	int fd = open(rig_path, O_RDWR);

	line_close();
	ck_assert_int_eq(pwrite(fd, "damage", 6, lseek(fd, 0, SEEK_END) / 2), 6);
	close(fd);
	rr = (struct rig_replay){ 0 };
	rig_replay_open(&rr, rig_path, &options);
	c.m = rr.m;
	c.stream = &rr.stream;
	line = timeline_open(&c, &rig_err);
	if (line)
		ck_assert_int_eq(timeline_seek(line, &far, &rig_err), TIMELINE_FAILED);
	ck_assert_msg(rig_err.text[0] && !strchr(rig_err.text, '\n'), "%s", rig_err.text);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_landmark_is_the_same_from_everywhere);
	tcase_add_test(tc, steps_back_undo_steps);
	tcase_add_test(tc, breakpoints_stop_both_ways);
	tcase_add_test(tc, a_watch_backward_finds_the_write);
	tcase_add_test(tc, reads_are_told_from_writes);
	tcase_add_test(tc, probes_leave_no_trace);
	tcase_add_test(tc, both_ends);
	tcase_add_test(tc, checkpoints_make_room);
	tcase_add_test(tc, disks_come_back);
	tcase_add_test(tc, a_run_can_be_ended_from_outside);
	tcase_add_test(tc, a_damaged_log_is_said);
}

UNIT_MAIN("timeline", add)
