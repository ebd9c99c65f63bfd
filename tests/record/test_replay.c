// SPDX-License-Identifier: GPL-2.0-or-later
// Replays that differ from their recording say where and what; replays that stop early stop where
// they should.
#include <errno.h>
#include <sys/stat.h>

#include "tests/record/log_rig.h"

static const struct rig_options options = { .rounds = 3000, .digest_count = 777 };

static void setup(void)
{
	rig_setup();
	rig_record(&options);
}

static int replay_with(struct rig_replay *r, const struct input *fault, uint64_t after)
{
	int ret;

	if (fault)
		r->fault = *fault;
	r->fault_after = fault ? after : 0;
	rig_replay_open(r, rig_path, &options);
	ret = rig_replay_run(r, UINT64_MAX);
	rig_replay_close(r);
	return ret;
}

START_TEST(a_register_that_differs_is_named)
{
	struct rig_replay r = { 0 };
	const struct input flip = { .kind = INPUT_CONTROL,
				    .a = CONTROL_FLIP_REG,
				    .b = 8 * 64 + 3 }; /* R8: unused */

	ck_assert_int_eq(replay_with(&r, &flip, 10), -EILSEQ);
	ck_assert(r.replay.diverged);
	ck_assert_str_eq(r.replay.differs, "cpu");
	ck_assert_ptr_nonnull(strstr(rig_err.text, "divergence at count "));
	ck_assert_ptr_nonnull(strstr(rig_err.text, "RIP 0x7c"));
}
END_TEST

START_TEST(a_page_that_differs_is_named)
{
	struct rig_replay r = { 0 };
	const struct input flip = { .kind = INPUT_CONTROL,
				    .a = CONTROL_FLIP_BIT,
				    .b = 0x2123 * 8 + 5 };

	ck_assert_int_eq(replay_with(&r, &flip, 10), -EILSEQ);
	ck_assert_msg(strstr(rig_err.text, "0x2000") != NULL, "%s", rig_err.text);
	ck_assert_ptr_null(strstr(r.replay.differs, "cpu"));
}
END_TEST

/*
 * The difference shows at the next digest, not later; a host that is slow while it records adds
 * records that have none.
 */
START_TEST(a_difference_shows_within_an_epoch)
{
	const struct input flip = { .kind = INPUT_CONTROL, .a = CONTROL_FLIP_REG, .b = 8 * 64 };

	for (uint64_t after = 3; after < 30; after += 5) {
		struct rig_replay r = { 0 };

		ck_assert_int_eq(replay_with(&r, &flip, after), -EILSEQ);
		ck_assert_uint_ge(r.applied, after);
		ck_assert_uint_eq(r.replay.digests, r.fault_digests + 1);
	}
}
END_TEST

START_TEST(another_path_is_noticed_by_its_landmarks)
{
	struct rig_replay r = { 0 };
	/* The number of rounds left: the guest ends early. */
	const struct input flip = { .kind = INPUT_CONTROL, .a = CONTROL_FLIP_REG, .b = 0 };

	ck_assert_int_eq(replay_with(&r, &flip, 5), -EILSEQ);
	ck_assert(rig_err.text[0] && !strchr(rig_err.text, '\n'));
}
END_TEST

START_TEST(another_start_ends_elsewhere)
{
	struct rig_options fewer = options;
	struct rig_replay r = { 0 };
	const struct output_sink none = { 0 };

	fewer.rounds = 2000;
	rig_replay_open(&r, rig_path, &options);
	machine_destroy(r.m);
	r.m = rig_machine(NULL, &none, fewer.rounds);
	machine_digest(r.m);
	ck_assert_int_eq(rig_replay_run(&r, UINT64_MAX), -EILSEQ);
	rig_replay_close(&r);
}
END_TEST

static uint64_t count_of(struct machine *m)
{
	return machine_engine(m)->ops->count(machine_engine(m));
}

START_TEST(until_stops_exactly_there)
{
	for (uint64_t count = 1; count < 30000; count += 4567) {
		struct rig_replay r = { 0 };

		rig_replay_open(&r, rig_path, &options);
		ck_assert_msg(rig_replay_run(&r, count) == 0, "%s", rig_err.text);
		ck_assert_uint_eq(count_of(r.m), count);
		rig_replay_close(&r);
	}
}
END_TEST

START_TEST(until_behind_the_end)
{
	struct rig_replay r = { 0 };

	rig_replay_open(&r, rig_path, &options);
	ck_assert_msg(rig_replay_run(&r, 1ull << 40) == 0, "%s", rig_err.text);
	ck_assert_uint_eq(machine_exit_code(r.m), 5);
	rig_replay_close(&r);
}
END_TEST

START_TEST(stopped_on_the_way)
{
	struct rig_replay r = { .stop_after = 7 };

	rig_replay_open(&r, rig_path, &options);
	ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
	ck_assert_uint_eq(r.applied, 7);
	rig_replay_close(&r);
}
END_TEST

/* Older programs made a checkpoint where a recording was stopped: no record is left behind it. */
static struct replay_end stopped;

static int no_record(void *ctx, const struct codec_record **rec, struct err *err)
{
	return 0;
}

static const struct replay_end *stopped_end(void *ctx)
{
	return &stopped;
}

START_TEST(a_start_where_the_recording_was_stopped)
{
	const struct output_sink none = { 0 };
	struct rig_replay r = { 0 };
	struct machine *twin;

	rig_replay_open(&r, rig_path, &options);
	twin = rig_machine(NULL, &none, options.rounds);
	machine_digest(twin);
	stopped = (struct replay_end){ .end = MACHINE_STOPPED, .digest = machine_digest(twin) };
	machine_destroy(twin);
	r.records = (struct record_stream){ .ctx = &r, .next = no_record, .end = stopped_end };
	ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
	ck_assert_uint_eq(count_of(r.m), 0);
	stopped.count = 100; /* it did not come so far */
	stopped.end = MACHINE_EXIT;
	ck_assert_int_eq(rig_replay_run(&r, UINT64_MAX), -EILSEQ);
	rig_replay_close(&r);
}
END_TEST

START_TEST(a_log_cut_short_replays_to_there)
{
	struct stat st;

	ck_assert_int_eq(stat(rig_path, &st), 0);
	for (off_t n = st.st_size - 1; n > st.st_size / 2; n -= 97) {
		struct rig_replay r = { 0 };

		ck_assert_int_eq(truncate(rig_path, n), 0);
		rig_replay_open(&r, rig_path, &options);
		ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
		ck_assert_ptr_nonnull(log_reader_cut(r.reader));
		rig_replay_close(&r);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, rig_teardown);
	tcase_add_test(tc, a_register_that_differs_is_named);
	tcase_add_test(tc, a_page_that_differs_is_named);
	tcase_add_test(tc, a_difference_shows_within_an_epoch);
	tcase_add_test(tc, another_path_is_noticed_by_its_landmarks);
	tcase_add_test(tc, another_start_ends_elsewhere);
	tcase_add_test(tc, until_stops_exactly_there);
	tcase_add_test(tc, until_behind_the_end);
	tcase_add_test(tc, stopped_on_the_way);
	tcase_add_test(tc, a_start_where_the_recording_was_stopped);
	tcase_add_test(tc, a_log_cut_short_replays_to_there);
}

UNIT_MAIN("replay", add)
