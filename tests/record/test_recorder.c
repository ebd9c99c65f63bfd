// SPDX-License-Identifier: GPL-2.0-or-later
// Recordings of a small guest: they replay, from checkpoints as well; on a slow disk and on one
// that fills up.
#include <errno.h>
#include <sys/syscall.h>

#include "tests/record/log_rig.h"

/* The recorder's writes come by here. */
static useconds_t write_delay;
static off_t disk_size = INT64_MAX;
static pthread_t guest_thread; /* runs the machine; begins and ends the log */
static atomic_uint writes_by_guest, writes_by_others;
static struct recorder *stuck_for; /* the disk writes nothing before this one's guest has waited */

static void wait_until_the_guest_waits(void)
{
	struct recorder_stats s = { 0 };

	for (unsigned ms = 0; ms < 30000 && !s.waited_ns; ms++) {
		usleep(1000);
		recorder_get_stats(stuck_for, &s);
	}
	stuck_for = NULL; /* once: a guest that does not wait shall get to its end */
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	atomic_fetch_add(pthread_equal(pthread_self(), guest_thread) ? &writes_by_guest
								     : &writes_by_others,
			 1);
	if (stuck_for && !pthread_equal(pthread_self(), guest_thread))
		wait_until_the_guest_waits();
	if (write_delay)
		usleep(write_delay);
	if (at >= disk_size) {
		errno = ENOSPC;
		return -1;
	}
	if (at + (off_t)n > disk_size)
		n = (size_t)(disk_size - at); /* a disk writes what it can first */
	return syscall(SYS_pwrite64, fd, data, n, at);
}

static void setup(void)
{
	rig_setup();
	write_delay = 0;
	stuck_for = NULL;
	disk_size = INT64_MAX;
}

static void replay_all(const struct rig_options *o, struct rig_replay *r)
{
	*r = (struct rig_replay){ 0 };
	rig_replay_open(r, rig_path, o);
	ck_assert_msg(rig_replay_run(r, UINT64_MAX) == 0, "%s", rig_err.text);
	ck_assert_ptr_null(log_reader_cut(r->reader));
	rig_replay_close(r);
}

START_TEST(a_recording_replays)
{
	const struct rig_options o = { .rounds = 3000, .digest_count = 777 };
	struct recorder_stats s = rig_record(&o);
	struct rig_replay r;

	replay_all(&o, &r);
	ck_assert_uint_ge(s.records, 30);
	ck_assert_uint_eq(r.applied, s.records);
	ck_assert_uint_ge(r.replay.digests, 30);
}
END_TEST

START_TEST(sync_points_inside_rep)
{
	const struct rig_options o = { .rounds = 6000, .digest_count = 5000, .poke = true };
	struct rig_replay r;

	rig_record(&o);
	replay_all(&o, &r);
	ck_assert_uint_ge(r.in_rep, 1);
}
END_TEST

/* Stopped from outside, in the middle of whatever it does: the end is a landmark like any other. */
START_TEST(an_end_anywhere)
{
	for (unsigned i = 0; i < 8; i++) {
		const struct rig_options o = { .rounds = 1000000, .digest_count = 5000 };
		struct recorder_stats s;
		struct rig_replay r;
		struct rig rig;

		rig_open(&rig, &o);
		rig.stopping = true;
		ck_assert_int_eq(pthread_create(&rig.stopper, NULL,
						(void *(*)(void *))(void (*)(void))live_stop,
						rig.live),
				 0);
		ck_assert_int_eq(rig_run(&rig, &s), 0);
		ck_assert_int_eq(rig.end, MACHINE_ENDED);
		replay_all(&o, &r);
		unlink(rig_path);
	}
}
END_TEST

static void replay_from(const struct rig_options *o, size_t mark)
{
	struct rig_replay r = { 0 };

	rig_replay_open(&r, rig_path, o);
	ck_assert_msg(logstream_restore(&r.stream, r.m, mark, rig_import, &r, &rig_err) == 0, "%s",
		      rig_err.text);
	ck_assert_int_eq(memcmp(machine_memory(r.m)->base + RIG_RAM - 5, "never", 5), 0);
	ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
	ck_assert_uint_ge(r.replay.digests, 1);
	rig_replay_close(&r);
}

START_TEST(every_checkpoint_is_a_start)
{
	const struct rig_options o = { .rounds = 3000, .digest_count = 777, .checkpoint_ns = 7000 };
	struct recorder_stats s = rig_record(&o);
	struct rig_replay r;

	ck_assert_uint_ge(s.checkpoints, 3);
	replay_all(&o, &r);
	for (size_t i = 0; i < s.checkpoints; i++)
		replay_from(&o, i);
}
END_TEST

/* A recording that is ended where a checkpoint is due, which would be none to go on from. */
START_TEST(an_end_at_a_checkpoint)
{
	const uint64_t control[] = { CONTROL_STOP, CONTROL_RESET };
	const enum machine_end end[] = { MACHINE_STOPPED, MACHINE_RESET };

	for (unsigned i = 0; i < 2; i++) {
		const struct rig_options o = { .rounds = 3000,
					       .digest_count = 777,
					       .checkpoint_ns = 1,
					       .stop_count = 9000,
					       .stop_control = control[i] };
		struct recorder_stats s;
		struct rig_replay r;
		struct rig rig;

		rig_open(&rig, &o);
		ck_assert_int_eq(rig_run(&rig, &s), 0);
		ck_assert_int_eq(rig.end, end[i]);
		ck_assert_uint_ge(s.checkpoints, 3);
		replay_all(&o, &r);
		for (size_t mark = 0; mark < s.checkpoints; mark++)
			replay_from(&o, mark);
		unlink(rig_path);
	}
}
END_TEST

/* A disk's changes longer than a frame may be. */
START_TEST(checkpoints_with_a_large_disk)
{
	const struct rig_options o = {
		.rounds = 1000, .digest_count = 777, .checkpoint_ns = 7000, .disk = true
	};
	struct recorder_stats s = rig_record(&o);
	struct rig_replay r = { 0 };
	struct buf changes = BUF_INIT;

	ck_assert_uint_ge(s.checkpoints, 1);
	rig_replay_open(&r, rig_path, &o);
	ck_assert_msg(logstream_restore(&r.stream, r.m, 0, rig_import, &r, &rig_err) == 0, "%s",
		      rig_err.text);
	ck_assert_int_eq(disk_overlay_export(r.disk, &changes, &rig_err), 0);
	ck_assert_uint_ge(changes.len, 80000 * 512);
	ck_assert_uint_eq(changes.data[changes.len - 1], (80000 / 8 - 1) % 251 + 1);
	ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
	buf_free(&changes);
	rig_replay_close(&r);
}
END_TEST

/*
 * Not one of the frames; and while there is room for what is not written yet, it does not wait for
 * the disk either.
 */
START_TEST(the_guests_thread_does_not_write)
{
	const struct rig_options o = { .rounds = 3000, .digest_count = 777, .checkpoint_ns = 5000 };
	struct recorder_stats s;
	struct rig_replay r;
	struct rig rig;

	guest_thread = pthread_self();
	rig_open(&rig, &o);
	atomic_store(&writes_by_guest, 0);
	atomic_store(&writes_by_others, 0);
	write_delay = 5000;
	ck_assert_int_eq(rig_run(&rig, &s), 0);
	write_delay = 0;
	ck_assert_uint_eq(atomic_load(&writes_by_guest), 2); /* after its end: index and trailer */
	ck_assert_uint_ge(atomic_load(&writes_by_others), 10);
	ck_assert_uint_eq(s.waited_ns, 0);
	replay_all(&o, &r);
	ck_assert_uint_eq(r.applied, s.records);
}
END_TEST

/*
 * However slow the guest is itself (its host may be busy): the disk is slower, as it stands still
 * until the guest waits.
 */
START_TEST(a_slow_disk_slows_the_guest)
{
	const struct rig_options o = {
		.rounds = 3000, .digest_count = 777, .checkpoint_ns = 5000, .in_flight_max = 10000
	};
	struct recorder_stats s;
	struct rig_replay r;
	struct rig rig;

	guest_thread = pthread_self();
	rig_open(&rig, &o);
	stuck_for = rig.recorder;
	ck_assert_int_eq(rig_run(&rig, &s), 0);
	ck_assert_int_eq(rig.end, MACHINE_EXIT);
	ck_assert_uint_gt(s.waited_ns, 0);
	replay_all(&o, &r);
	ck_assert_uint_eq(r.applied, s.records);
}
END_TEST

START_TEST(a_full_disk_ends_the_recording)
{
	const struct rig_options o = { .rounds = 50000000,
				       .digest_count = 777,
				       .checkpoint_ns = 5000 };
	struct recorder_stats s;
	struct rig_replay r = { 0 };
	struct rig rig;

	disk_size = 20000;
	rig_open(&rig, &o);
	ck_assert_int_eq(rig_run(&rig, &s), -ENOSPC);
	ck_assert_int_eq(rig.end, MACHINE_ENDED);
	ck_assert_ptr_nonnull(strstr(rig_err.text, "cannot write log"));
	ck_assert_ptr_nonnull(strstr(rig_err.text, "No space left"));
	/* What there is replays, and says that it is not all. */
	rig_replay_open(&r, rig_path, &o);
	ck_assert_msg(rig_replay_run(&r, UINT64_MAX) == 0, "%s", rig_err.text);
	ck_assert_ptr_nonnull(log_reader_cut(r.reader));
	ck_assert_uint_ge(r.applied, 1);
	rig_replay_close(&r);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, rig_teardown);
	tcase_add_test(tc, a_recording_replays);
	tcase_add_test(tc, sync_points_inside_rep);
	tcase_add_test(tc, an_end_anywhere);
	tcase_add_test(tc, every_checkpoint_is_a_start);
	tcase_add_test(tc, an_end_at_a_checkpoint);
	tcase_add_test(tc, checkpoints_with_a_large_disk);
	tcase_add_test(tc, the_guests_thread_does_not_write);
	tcase_add_test(tc, a_slow_disk_slows_the_guest);
	tcase_add_test(tc, a_full_disk_ends_the_recording);
}

UNIT_MAIN("recorder", add)
