// SPDX-License-Identifier: GPL-2.0-or-later
/* The live source and a network card that fails. */
#include <errno.h>

#include "base/host_clock.h"
#include "record/live.h"
#include "tests/boot_sector.h"
#include "tests/unit.h"

static ssize_t answer;

static int no_fd(const struct nic *nic)
{
	return -1;
}

static ssize_t fail_recv(struct nic *nic, void *frame, size_t max)
{
	return answer;
}

static const struct nic_ops failing = { .fd = no_fd, .recv = fail_recv };
static struct live *live;
static unsigned applied;

static bool three_times(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	live_wake(live); /* it looks at the host again */
	return ++applied < 3;
}

/* Runs a guest that loops, with this card, until the hook has had enough. */
static struct live_stats run(struct live_config c, struct nic *nic)
{
	static const uint8_t loop[] = { 0xeb, 0xfe };
	struct live_sink sink = { 0 };
	struct output_sink out = live_sink_ops(&sink);
	struct machine_config config;
	struct err err = ERR_INIT;
	struct live_stats stats;
	struct machine *m;

	machine_config_defaults(&config);
	config.memory = 4 << 20;
	config.nnics = 2;
	m = machine_create(&config, &soft_engine_ops, NULL, &out, &err);
	ck_assert_msg(m != NULL, "%s", err.text);
	boot_sector_load(m, loop, sizeof(loop));
	c.nic[1] = nic;
	live = live_create(&c, m, &err);
	ck_assert_msg(live != NULL, "%s", err.text);
	ck_assert_int_eq(machine_run(m, live_source(live), &err), MACHINE_DIVERGED);
	live_get_stats(live, &stats);
	live_destroy(live);
	machine_destroy(m);
	return stats;
}

/* For three sync points, with a card that answers so. */
static struct live_stats run_with(ssize_t result)
{
	struct nic nic = { .ops = &failing };

	answer = result;
	applied = 0;
	return run((struct live_config){ .clock = LIVE_CLOCK_VIRTUAL,
					 .digest_count = 1000,
					 .hooks.applied = three_times },
		   &nic);
}

/* What virtual time has gained on the host's clock since the first sync point. */
static uint64_t start_mono, start_virtual, gained, elapsed;

static bool until_caught_up(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	uint64_t mono = host_mono_ns(), now = machine_now(m);

	if (!start_mono) {
		start_mono = mono;
		start_virtual = now;
	}
	elapsed = mono - start_mono;
	gained = now - start_virtual > elapsed ? now - start_virtual - elapsed : 0;
	return gained < 100000000;
}

/* 100 ms of 150: 5 % of two seconds. Less than half of that would be a jump. */
START_TEST(an_outage_is_caught_up_with_smoothly)
{
	start_mono = 0;
	run((struct live_config){ .clock = LIVE_CLOCK_HOST,
				  .behind_ns = 150000000,
				  .hooks.applied = until_caught_up },
	    NULL);
	ck_assert_uint_ge(elapsed, 1000000000);
}
END_TEST

START_TEST(errors_of_a_card_are_counted)
{
	struct live_stats s = run_with(-ENETDOWN);

	ck_assert_uint_ge(s.nic_errors[1], 2);
	ck_assert_uint_eq(s.nic_errors[0], 0);
	ck_assert_uint_eq(s.rx_packets, 0);
}
END_TEST

START_TEST(no_frame_is_no_error)
{
	ck_assert_uint_eq(run_with(-EAGAIN).nic_errors[1], 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, an_outage_is_caught_up_with_smoothly);
	tcase_add_test(tc, errors_of_a_card_are_counted);
	tcase_add_test(tc, no_frame_is_no_error);
}

UNIT_MAIN("live", add_tests)
