// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "hypervisor/devices/rtc.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

#define EPOCH 1700000000u /* Tue 2023-11-14 22:13:20 UTC */
#define SEC   1000000000ull

static struct rig rig;
static struct rtc rtc;

static void setup_epoch(uint64_t epoch)
{
	rig_init(&rig);
	rtc_init(&rtc, &rig.bus, &rig.clock, rig_irq(&rig), epoch, 0xc0000000, 0x40000000);
}

static void setup(void)
{
	setup_epoch(EPOCH);
}

static uint8_t get(uint8_t reg)
{
	rig_out(&rig, 0x70, reg);
	return rig_in(&rig, 0x71);
}

static void put(uint8_t reg, uint8_t v)
{
	rig_out(&rig, 0x70, reg);
	rig_out(&rig, 0x71, v);
}

static void check_date(
	const uint8_t want[8]) /* century, year, month, day, hour, min, sec, weekday */
{
	static const uint8_t reg[8] = { 0x32, 9, 8, 7, 4, 2, 0, 6 };

	for (unsigned i = 0; i < 8; i++)
		ck_assert_msg(get(reg[i]) == want[i], "register %02x is %02x, expected %02x",
			      reg[i], get(reg[i]), want[i]);
}

START_TEST(date_in_bcd)
{
	check_date((uint8_t[]){ 0x20, 0x23, 0x11, 0x14, 0x22, 0x13, 0x20, 3 });
	rig_pass(&rig, 100 * 60 * SEC);
	check_date((uint8_t[]){ 0x20, 0x23, 0x11, 0x14, 0x23, 0x53, 0x20, 3 });
	rig_pass(&rig, 10 * 60 * SEC);
	check_date((uint8_t[]){ 0x20, 0x23, 0x11, 0x15, 0x00, 0x03, 0x20, 4 });
}
END_TEST

START_TEST(date_in_other_formats)
{
	put(0x0b, 0x06); /* binary, 24 h */
	check_date((uint8_t[]){ 20, 23, 11, 14, 22, 13, 20, 3 });
	put(0x0b, 0x04); /* 12 h */
	check_date((uint8_t[]){ 20, 23, 11, 14, 0x80 | 10, 13, 20, 3 });
	put(0x0b, 0x00);
	ck_assert_uint_eq(get(4), 0x90);
	rig_pass(&rig, 2 * 3600 * SEC); /* half past midnight is 12 AM */
	ck_assert_uint_eq(get(4), 0x12);
	rig_pass(&rig, 12 * 3600 * SEC);
	ck_assert_uint_eq(get(4), 0x92);
}
END_TEST

START_TEST(dates_agree_with_the_c_library)
{
	static const int64_t when[] = { 0,	    951782399,	951782400,  1078012799,
					1709164800, 1735689599, 4107542400, 253402300799 };

	for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
		time_t t = when[i];
		struct tm tm;

		setup_epoch((uint64_t)when[i]);
		put(0x0b, 0x06);
		gmtime_r(&t, &tm);
		check_date((uint8_t[]){
			(uint8_t)((tm.tm_year + 1900) / 100), (uint8_t)(tm.tm_year % 100),
			(uint8_t)(tm.tm_mon + 1), (uint8_t)tm.tm_mday, (uint8_t)tm.tm_hour,
			(uint8_t)tm.tm_min, (uint8_t)tm.tm_sec, (uint8_t)(tm.tm_wday + 1) });
	}
}
END_TEST

/* The order of Linux's mc146818_set_time(). */
START_TEST(guest_sets_the_date)
{
	uint8_t a = get(0x0a), b = get(0x0b);

	rig_pass(&rig, 300000000);
	put(0x0b, b | 0x80);
	put(0x0a, a | 0x70);
	put(9, 0x24);
	put(8, 0x02);
	put(7, 0x28);
	put(4, 0x23);
	put(2, 0x59);
	put(0, 0x59);
	put(6, 0x04);
	put(0x32, 0x20);
	rig_pass(&rig, 10 * SEC); /* stands still */
	check_date((uint8_t[]){ 0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x59, 4 });
	put(0x0b, b);
	put(0x0a, a);
	rig_pass(&rig, SEC / 2 - 1);
	ck_assert_uint_eq(get(0), 0x59);
	rig_pass(&rig, 1); /* first second half a second after the divider's start */
	check_date((uint8_t[]){ 0x20, 0x24, 0x02, 0x29, 0, 0, 0, 5 });
	rig_pass(&rig, 86400 * SEC);
	check_date((uint8_t[]){ 0x20, 0x24, 0x03, 0x01, 0, 0, 0, 6 });
}
END_TEST

START_TEST(set_bit_keeps_the_phase)
{
	rig_pass(&rig, 700000000);
	put(0x0b, 0x82);
	put(0, 0x30);
	rig_pass(&rig, 1200000000); /* now at 1.9 s */
	put(0x0b, 0x02);
	ck_assert_uint_eq(get(0), 0x30);
	rig_pass(&rig, 100000000);
	ck_assert_uint_eq(get(0), 0x31);
}
END_TEST

START_TEST(weekday_and_running_writes)
{
	put(6, 1); /* the chip does not know what day it is */
	ck_assert_uint_eq(get(6), 1);
	put(4, 0x23);
	rig_pass(&rig, 3600 * SEC);
	check_date((uint8_t[]){ 0x20, 0x23, 0x11, 0x15, 0x00, 0x13, 0x20, 2 });
	put(8, 0xff); /* nonsense counts as the nearest month */
	ck_assert_uint_eq(get(8), 0x12);
}
END_TEST

START_TEST(update_in_progress)
{
	ck_assert_uint_eq(get(0x0a), 0x26);
	rig_pass(&rig, SEC - 244000 - 1);
	ck_assert_uint_eq(get(0x0a), 0x26);
	rig_pass(&rig, 1);
	ck_assert_uint_eq(get(0x0a), 0xa6);
	rig_pass(&rig, 243999);
	ck_assert_uint_eq(get(0x0a), 0xa6);
	ck_assert_uint_eq(get(0), 0x20);
	rig_pass(&rig, 1);
	ck_assert_uint_eq(get(0x0a), 0x26);
	ck_assert_uint_eq(get(0), 0x21);
	put(0x0a, 0xff); /* read-only bit */
	ck_assert_uint_eq(get(0x0a), 0x7f);
}
END_TEST

START_TEST(registers_c_and_d)
{
	ck_assert_uint_eq(get(0x0d), 0x80);
	put(0x0d, 0);
	put(0x0c, 0xff);
	ck_assert_uint_eq(get(0x0d), 0x80);
	ck_assert_uint_eq(get(0x0c), 0);
	rig_pass(&rig, SEC);
	ck_assert_uint_eq(get(0x0c), 0x50); /* flags come without interrupts, IRQF does not */
	ck_assert_uint_eq(get(0x0c), 0);
	ck_assert(!rig.edges);
	ck_assert_uint_eq(rig_in(&rig, 0x70), 0xff);
}
END_TEST

START_TEST(periodic_interrupt)
{
	put(0x0a, 0x26); /* 1024 Hz */
	get(0x0c);
	put(0x0b, 0x42);
	rig_pass(&rig, 976562);
	ck_assert(!rig.level);
	rig_pass(&rig, 1);
	ck_assert(rig.level);
	rig_pass(&rig, SEC);
	ck_assert_uint_eq(rig.edges, 1); /* none more until C is read */
	ck_assert_uint_eq(get(0x0c), 0xd0);
	ck_assert(!rig.level);
	for (unsigned i = 0; i < 1024; i++) {
		rig_pass(&rig, clock_next_deadline(&rig.clock) - rig.ns);
		ck_assert(rig.level);
		get(0x0c);
	}
	ck_assert_uint_eq(rig.edges, 1025);
	ck_assert_uint_eq(rig.ns, 2 * SEC + 976563); /* no drift */
}
END_TEST

START_TEST(periodic_rates)
{
	static const unsigned hz[16] = { 0,   256, 128, 8192, 4096, 2048, 1024, 512,
					 256, 128, 64,	32,   16,   8,	  4,	2 };

	for (unsigned rs = 0; rs < 16; rs++) {
		setup();
		put(0x0a, 0x20 | rs);
		put(0x0b, 0x42);
		ck_assert_uint_eq(clock_next_deadline(&rig.clock),
				  hz[rs] ? (SEC + hz[rs] - 1) / hz[rs] : CLOCK_NEVER);
	}
	put(0x0a, 0x76); /* divider held in reset */
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
}
END_TEST

START_TEST(update_interrupt)
{
	put(0x0b, 0x12);
	rig_pass(&rig, SEC - 1);
	ck_assert(!rig.level);
	rig_pass(&rig, 1);
	ck_assert(rig.level);
	ck_assert_uint_eq(get(0x0c) & 0x90, 0x90);
	rig_jump(&rig, 5 * SEC + 1); /* late: one */
	ck_assert_uint_eq(rig.edges, 2);
	get(0x0c);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), 7 * SEC);
	put(0x0b, 0x92); /* SET clears UIE */
	ck_assert_uint_eq(get(0x0b), 0x82);
	rig_pass(&rig, 5 * SEC);
	ck_assert_uint_eq(rig.edges, 2);
}
END_TEST

START_TEST(alarm_at_a_time)
{
	put(5, 0x22);
	put(3, 0x15);
	put(1, 0x07);
	put(0x0b, 0x22);
	rig_pass(&rig, 107 * SEC - 1);
	ck_assert(!rig.level);
	rig_pass(&rig, 1);
	ck_assert(rig.level);
	ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
	rig_pass(&rig, 86400 * SEC - 1);
	ck_assert(!rig.level);
	rig_pass(&rig, 1);
	ck_assert(rig.level);
}
END_TEST

START_TEST(alarm_wildcards_and_nonsense)
{
	put(5, 0xff);
	put(3, 0xc0);
	put(1, 0x00);
	put(0x0b, 0x22);
	for (unsigned i = 1; i <= 100; i++) { /* once a minute */
		rig_pass(&rig, 60 * SEC);
		ck_assert_uint_eq(rig.edges, i);
		get(0x0c);
	}
	put(3, 0x60); /* no such minute */
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
	rig_pass(&rig, 2 * 86400 * SEC);
	ck_assert_uint_eq(get(0x0c) & 0x20, 0);
}
END_TEST

START_TEST(alarm_in_12_hour_format)
{
	put(0x0b, 0x00);
	put(5, 0x91); /* 11 PM */
	put(3, 0x00);
	put(1, 0x00);
	put(0x0b, 0x20);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), (46 * 60 + 40) * SEC);
}
END_TEST

START_TEST(memory_bytes)
{
	unsigned sum = 0;

	put(0x0e, 0x5a);
	put(0x7f, 0xa5);
	ck_assert_uint_eq(get(0x0e), 0x5a);
	ck_assert_uint_eq(get(0xff), 0xa5); /* bit 7 of the index is the NMI mask */
	ck_assert_uint_eq(get(0x15) | get(0x16) << 8, 640);
	ck_assert_uint_eq(get(0x17) | get(0x18) << 8, 0xffff);
	ck_assert_uint_eq(get(0x34) | get(0x35) << 8, (0xc0000000u - (16 << 20)) >> 16);
	ck_assert_uint_eq(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 0x40000000u >> 16);
	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += get((uint8_t)i);
	ck_assert_uint_eq(get(0x2e) << 8 | get(0x2f), sum);
}
END_TEST

START_TEST(reset_keeps_the_date)
{
	put(0x0b, 0x72);
	put(0x40, 7);
	rig_pass(&rig, 5 * SEC);
	ck_assert(rig.level);
	rtc_ops.reset(&rtc);
	ck_assert(!rig.level);
	ck_assert_uint_eq(get(0x0b), 0x02);
	ck_assert_uint_eq(get(0x0c), 0);
	ck_assert_uint_eq(get(0x40), 7);
	ck_assert_uint_eq(get(0), 0x25);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
}
END_TEST

/* A reset does not clobber all of it, so the image goes into a second chip. */
START_TEST(state_round_trip)
{
	struct buf image = BUF_INIT, again = BUF_INIT;
	struct rd in;

	put(0x0b, 0x72);
	put(5, 0xff);
	put(6, 2);
	rig_pass(&rig, 1234567890);
	rtc_ops.save(&rtc, &image);
	rig.clock.ntimers = 0;
	bus_init(&rig.bus);
	rtc_init(&rtc, &rig.bus, &rig.clock, rig_irq(&rig), 0, 0, 0);
	in = (struct rd)RD_INIT(image.data, image.len);
	ck_assert_int_eq(rtc_ops.restore(&rtc, &in), 0);
	rtc_ops.save(&rtc, &again);
	ck_assert_uint_eq(image.len, again.len);
	ck_assert_mem_eq(image.data, again.data, image.len);
	ck_assert_uint_eq(get(0), 0x21);
	ck_assert(rig_refuses_short(&rtc_ops, &rtc));
	buf_free(&image);
	buf_free(&again);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, date_in_bcd);
	tcase_add_test(tc, date_in_other_formats);
	tcase_add_test(tc, dates_agree_with_the_c_library);
	tcase_add_test(tc, guest_sets_the_date);
	tcase_add_test(tc, set_bit_keeps_the_phase);
	tcase_add_test(tc, weekday_and_running_writes);
	tcase_add_test(tc, update_in_progress);
	tcase_add_test(tc, registers_c_and_d);
	tcase_add_test(tc, periodic_interrupt);
	tcase_add_test(tc, periodic_rates);
	tcase_add_test(tc, update_interrupt);
	tcase_add_test(tc, alarm_at_a_time);
	tcase_add_test(tc, alarm_wildcards_and_nonsense);
	tcase_add_test(tc, alarm_in_12_hour_format);
	tcase_add_test(tc, memory_bytes);
	tcase_add_test(tc, reset_keeps_the_date);
	tcase_add_test(tc, state_round_trip);
}

UNIT_MAIN("rtc", add_tests)
