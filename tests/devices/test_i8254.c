// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/i8254.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct i8254 pit;

static void setup(void)
{
	rig_init(&rig);
	i8254_init(&pit, &rig.bus, &rig.clock, rig_irq(&rig));
}

/* Virtual time of the start of clock k, rounded up. */
static uint64_t clk(uint64_t k)
{
	return (uint64_t)(((unsigned __int128)k * 1000000000u + I8254_HZ - 1) / I8254_HZ);
}

static void at(uint64_t k)
{
	rig_pass(&rig, clk(k) - rig.ns);
}

static void count(unsigned ch, uint16_t n)
{
	rig_out(&rig, 0x40 + ch, (uint8_t)n);
	rig_out(&rig, 0x40 + ch, (uint8_t)(n >> 8));
}

static uint16_t latched(unsigned ch)
{
	uint16_t low;

	rig_out(&rig, 0x43, (uint8_t)(ch << 6));
	low = rig_in(&rig, 0x40 + ch);
	return low | rig_in(&rig, 0x40 + ch) << 8;
}

static bool out2(void)
{
	return rig_in(&rig, 0x61) & 0x20;
}

static uint8_t status(unsigned ch)
{
	rig_out(&rig, 0x43, 0xe0 | 2 << ch);
	return rig_in(&rig, 0x40 + ch);
}

START_TEST(mode0_counts_down_and_wraps)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb0);
	ck_assert(!out2());
	count(2, 100);			    /* loaded at clock 1 */
	ck_assert_uint_eq(status(2), 0x70); /* OUT low, null count, both bytes, mode 0 */
	at(1);
	ck_assert_uint_eq(status(2), 0x30);
	ck_assert_uint_eq(latched(2), 100);
	at(100);
	ck_assert_uint_eq(latched(2), 1);
	ck_assert(!out2());
	at(101);
	ck_assert_uint_eq(latched(2), 0);
	ck_assert(out2());
	at(102);
	ck_assert_uint_eq(latched(2), 0xffff);
	ck_assert(out2());
}
END_TEST

START_TEST(mode0_first_byte_stops_the_count)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb0);
	count(2, 10);
	at(50);
	ck_assert(out2());
	rig_out(&rig, 0x42, 5);
	ck_assert(!out2());
	at(100);
	ck_assert(!out2());
	rig_out(&rig, 0x42, 0);
	at(105);
	ck_assert(!out2());
	at(106);
	ck_assert(out2());
}
END_TEST

START_TEST(mode0_gate_suspends)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb0);
	count(2, 100);
	at(41);
	ck_assert_uint_eq(latched(2), 60);
	rig_out(&rig, 0x61, 0);
	at(1000);
	ck_assert_uint_eq(latched(2), 60);
	rig_out(&rig, 0x61, 1);
	at(1059);
	ck_assert(!out2());
	at(1060);
	ck_assert(out2());
}
END_TEST

START_TEST(mode1_is_triggered_by_gate)
{
	rig_out(&rig, 0x43, 0xb2);
	count(2, 50);
	at(100);
	ck_assert(out2()); /* waits */
	rig_out(&rig, 0x61, 1);
	at(101);
	ck_assert(!out2());
	at(120);
	rig_out(&rig, 0x61, 0); /* falling edge: nothing */
	ck_assert(!out2());
	rig_out(&rig, 0x61, 1); /* starts over at clock 121 */
	at(170);
	ck_assert(!out2());
	at(171);
	ck_assert(out2());
}
END_TEST

START_TEST(mode2_period)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb4);
	count(2, 4);
	for (unsigned k = 1; k < 40; k++) {
		at(k);
		ck_assert_uint_eq(latched(2), 4 - (k - 1) % 4);
		ck_assert_int_eq(out2(), (k - 1) % 4 != 3); /* low while the count is 1 */
	}
}
END_TEST

START_TEST(mode2_new_count_waits_for_the_period)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb4);
	count(2, 100);
	at(51);
	count(2, 30);
	ck_assert_uint_eq(status(2) & 0x40, 0x40);
	ck_assert_uint_eq(latched(2), 50);
	at(100);
	ck_assert_uint_eq(latched(2), 1);
	at(101);
	ck_assert_uint_eq(status(2) & 0x40, 0);
	ck_assert_uint_eq(latched(2), 30);
	at(131);
	ck_assert_uint_eq(latched(2), 30);
}
END_TEST

START_TEST(mode2_gate_restarts)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb4);
	count(2, 100);
	at(100);
	ck_assert(!out2());
	rig_out(&rig, 0x61, 0);
	ck_assert(out2()); /* forced high */
	at(500);
	rig_out(&rig, 0x61, 1);
	at(501);
	ck_assert_uint_eq(latched(2), 100);
}
END_TEST

START_TEST(mode3_counts_by_twos)
{
	static const uint16_t even[] = { 6, 4, 2, 6, 4, 2 }, odd[] = { 6, 4, 2, 0, 6, 4, 2 };

	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb6);
	count(2, 6);
	for (unsigned k = 0; k < 18; k++) {
		at(1 + k);
		ck_assert_uint_eq(latched(2), even[k % 6]);
		ck_assert_int_eq(out2(), k % 6 < 3);
	}
	rig_out(&rig, 0x43, 0xb6);
	count(2, 7);
	for (unsigned k = 0; k < 21; k++) {
		at(19 + k);
		ck_assert_uint_eq(latched(2), odd[k % 7]);
		ck_assert_int_eq(out2(), k % 7 < 4);
	}
}
END_TEST

START_TEST(mode3_new_count_waits_for_half_the_period)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb6);
	count(2, 100); /* high until 51, low until 101 */
	at(20);
	count(2, 20);
	at(50);
	ck_assert(out2());
	at(51); /* the low half is one of 20 */
	ck_assert(!out2());
	ck_assert_uint_eq(latched(2), 20);
	at(60);
	ck_assert(!out2());
	at(61);
	ck_assert(out2());
	at(71);
	ck_assert(!out2());
}
END_TEST

START_TEST(mode4_strobes_once)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb8);
	count(2, 10);
	at(10);
	ck_assert(out2());
	at(11); /* N + 1 clocks after the write */
	ck_assert(!out2());
	at(12);
	ck_assert(out2());
	at(11 + 65536);
	ck_assert(out2()); /* wrapped, no second strobe */
}
END_TEST

START_TEST(mode5_strobes_after_trigger)
{
	rig_out(&rig, 0x43, 0xba);
	count(2, 10);
	at(100);
	ck_assert(out2());
	rig_out(&rig, 0x61, 1);
	at(110);
	ck_assert(out2());
	at(111);
	ck_assert(!out2());
	at(112);
	ck_assert(out2());
}
END_TEST

START_TEST(modes_6_and_7_are_2_and_3)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xbc);
	count(2, 4);
	at(4);
	ck_assert(!out2());
	ck_assert_uint_eq(status(2), 0x3c); /* the mode reads back as written */
	rig_out(&rig, 0x43, 0xbe);
	count(2, 4);
	at(7);
	ck_assert(!out2());
}
END_TEST

START_TEST(bcd)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb1);
	count(2, 0x1000);
	at(2);
	ck_assert_uint_eq(latched(2), 0x0999);
	at(1001);
	ck_assert(out2());
	at(1002);
	ck_assert_uint_eq(latched(2), 0x9999);
	rig_out(&rig, 0x43, 0xb5);
	count(2, 0); /* 10000 */
	at(1003);
	ck_assert_uint_eq(latched(2), 0);
	at(1004);
	ck_assert_uint_eq(latched(2), 0x9999);
	at(1003 + 9999);
	ck_assert(!out2());
}
END_TEST

START_TEST(single_byte_access)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0x90); /* low byte only */
	rig_out(&rig, 0x42, 200);
	at(101);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 100);
	rig_out(&rig, 0x43, 0xa0); /* high byte only */
	rig_out(&rig, 0x42, 2);
	at(102);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 2);
	at(103);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 1);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 1);
}
END_TEST

START_TEST(latch_holds_until_read)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb0);
	count(2, 0x1234);
	at(1);
	rig_out(&rig, 0x43, 0x80);
	at(100);
	rig_out(&rig, 0x43, 0x80); /* ignored: one is held */
	ck_assert_uint_eq(rig_in(&rig, 0x42), 0x34);
	at(500);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 0x12);
	ck_assert_uint_eq(rig_in(&rig, 0x42), (0x1234 - 499) & 0xff); /* live again */
}
END_TEST

START_TEST(read_back_of_several)
{
	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0xb0);
	count(2, 1000);
	rig_out(&rig, 0x43, 0x34);
	count(0, 500);
	at(101);
	rig_out(&rig, 0x43, 0xca); /* status and count of 0 and 2 */
	at(301);
	ck_assert_uint_eq(rig_in(&rig, 0x40), 0xb4);
	ck_assert_uint_eq(rig_in(&rig, 0x40), 400 & 0xff);
	ck_assert_uint_eq(rig_in(&rig, 0x40), 400 >> 8);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 0x30);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 900 & 0xff);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 900 >> 8);
	ck_assert_uint_eq(rig_in(&rig, 0x42), 700 & 0xff);
}
END_TEST

START_TEST(control_word_cannot_be_read)
{
	ck_assert_uint_eq(rig_in(&rig, 0x43), 0xff);
}
END_TEST

START_TEST(refresh_toggle_and_speaker_bits)
{
	unsigned toggles = 0;
	uint8_t last = rig_in(&rig, 0x61) & 0x10;

	rig_out(&rig, 0x61, 0xfe);
	ck_assert_uint_eq(rig_in(&rig, 0x61) & 0xcf, 0x0e);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t now;

		rig_pass(&rig, 1000);
		now = rig_in(&rig, 0x61) & 0x10;
		toggles += now != last;
		last = now;
	}
	ck_assert_uint_eq(toggles, 66); /* 1 ms / 15.086 us */
}
END_TEST

START_TEST(irq0_periodic_without_drift)
{
	rig_out(&rig, 0x43, 0x34);
	count(0, 11932); /* 100 Hz and a bit */
	rig.edges = 0;
	rig_pass(&rig, 1000000000ull * 3600); /* an hour: 4295592000 clocks... */
	ck_assert_uint_eq(rig.edges, (1193182ull * 3600 - 1) / 11932);
}
END_TEST

START_TEST(irq0_late_ticks_coalesce_and_keep_phase)
{
	rig_out(&rig, 0x43, 0x34);
	count(0, 1000);
	rig.edges = 0;
	rig_jump(&rig, clk(10 * 1000 + 500)); /* ten periods at once */
	ck_assert_uint_eq(rig.edges, 1);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), clk(11 * 1000 + 1));
	at(20 * 1000 + 500);
	ck_assert_uint_eq(rig.edges, 11);
}
END_TEST

START_TEST(irq0_square_wave_and_short_periods)
{
	rig_out(&rig, 0x43, 0x36);
	count(0, 2000);
	rig.edges = 0;
	at(2001 * 3);
	ck_assert_uint_eq(rig.edges, 3);
	count(0, 2); /* 600 kHz: bounded by I8254_MIN_REARM_NS */
	at(10000);
	rig.edges = 0;
	rig_pass(&rig, 1000000);
	ck_assert_uint_ge(rig.edges, 15);
	ck_assert_uint_le(rig.edges, 20);
	rig_out(&rig, 0x43, 0x34);
	count(0, 1); /* not allowed in mode 2: no edges */
	rig.edges = 0;
	rig_pass(&rig, 1000000);
	ck_assert_uint_eq(rig.edges, 0);
}
END_TEST

START_TEST(irq0_changes_period_in_mid_run)
{
	rig_out(&rig, 0x43, 0x34);
	count(0, 1000);
	rig.edges = 0;
	at(1500);
	count(0, 300);
	at(2000);
	ck_assert_uint_eq(rig.edges, 1);
	at(2001);
	ck_assert_uint_eq(rig.edges, 2);
	at(2301);
	ck_assert_uint_eq(rig.edges, 3);
	at(2901);
	ck_assert_uint_eq(rig.edges, 5);
}
END_TEST

START_TEST(irq0_one_shot_modes)
{
	rig_out(&rig, 0x43, 0x30);
	ck_assert(!rig.level);
	count(0, 1000);
	at(1000);
	ck_assert(!rig.level);
	at(1001);
	ck_assert(rig.level);
	rig_pass(&rig, 1000000000);
	ck_assert_uint_eq(rig.edges, 1);
	setup();
	rig_out(&rig, 0x43, 0x38); /* as Linux's oneshot clock event */
	rig.edges = 0;
	count(0, 1000);
	at(1001);
	ck_assert_uint_eq(rig.edges, 0);
	at(1002);
	ck_assert_uint_eq(rig.edges, 1);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
	count(0, 1000);
	rig_pass(&rig, 10000000);
	ck_assert_uint_eq(rig.edges, 2);
}
END_TEST

START_TEST(control_word_stops_the_tick)
{
	rig_out(&rig, 0x43, 0x34);
	count(0, 1000);
	at(1500);
	rig_out(&rig, 0x43, 0x30);
	rig.edges = 0;
	rig_pass(&rig, 1000000000);
	ck_assert_uint_eq(rig.edges, 0);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
}
END_TEST

START_TEST(state_round_trip)
{
	uint64_t deadline;

	rig_out(&rig, 0x61, 1);
	rig_out(&rig, 0x43, 0x34);
	count(0, 1000);
	rig_out(&rig, 0x43, 0xb6);
	count(2, 5000);
	at(1200);
	count(2, 100);
	rig_out(&rig, 0x43, 0xc8);
	deadline = clock_next_deadline(&rig.clock);
	ck_assert(rig_round_trip(&i8254_ops, &pit));
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), deadline);
	rig.edges = 0;
	at(2001);
	ck_assert_uint_eq(rig.edges, 1);
	ck_assert(rig_refuses_short(&i8254_ops, &pit));
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, mode0_counts_down_and_wraps);
	tcase_add_test(tc, mode0_first_byte_stops_the_count);
	tcase_add_test(tc, mode0_gate_suspends);
	tcase_add_test(tc, mode1_is_triggered_by_gate);
	tcase_add_test(tc, mode2_period);
	tcase_add_test(tc, mode2_new_count_waits_for_the_period);
	tcase_add_test(tc, mode2_gate_restarts);
	tcase_add_test(tc, mode3_counts_by_twos);
	tcase_add_test(tc, mode3_new_count_waits_for_half_the_period);
	tcase_add_test(tc, mode4_strobes_once);
	tcase_add_test(tc, mode5_strobes_after_trigger);
	tcase_add_test(tc, modes_6_and_7_are_2_and_3);
	tcase_add_test(tc, bcd);
	tcase_add_test(tc, single_byte_access);
	tcase_add_test(tc, latch_holds_until_read);
	tcase_add_test(tc, read_back_of_several);
	tcase_add_test(tc, control_word_cannot_be_read);
	tcase_add_test(tc, refresh_toggle_and_speaker_bits);
	tcase_add_test(tc, irq0_periodic_without_drift);
	tcase_add_test(tc, irq0_late_ticks_coalesce_and_keep_phase);
	tcase_add_test(tc, irq0_square_wave_and_short_periods);
	tcase_add_test(tc, irq0_changes_period_in_mid_run);
	tcase_add_test(tc, irq0_one_shot_modes);
	tcase_add_test(tc, control_word_stops_the_tick);
	tcase_add_test(tc, state_round_trip);
}

UNIT_MAIN("i8254", add_tests)
