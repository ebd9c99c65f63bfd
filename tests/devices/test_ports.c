// SPDX-License-Identifier: GPL-2.0-or-later
/* Reset logic, debug ports, the port for panics. */
#include "hypervisor/devices/debugport.h"
#include "hypervisor/devices/pvpanic.h"
#include "hypervisor/devices/reset.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct reset reset;
static struct debugport debugport;
static struct pvpanic pvpanic;
static uint8_t panics[4];
static unsigned npanics;
static unsigned resets;
static int code;

static void on_reset(void *ctx)
{
	resets++;
}

static void on_exit_port(void *ctx, uint8_t v)
{
	code = v;
}

static void on_panic(void *ctx, uint8_t events)
{
	ck_assert_uint_lt(npanics, sizeof(panics));
	panics[npanics++] = events;
}

static void setup(void)
{
	rig_init(&rig);
	resets = 0;
	code = -1;
	reset_init(&reset, &rig.bus, on_reset, NULL);
	npanics = 0;
	pvpanic_init(&pvpanic, &rig.bus, on_panic, NULL);
	debugport_init(&debugport, &rig.bus, on_exit_port, rig_tx, &rig);
}

START_TEST(keyboard_controller_pulse)
{
	ck_assert(!(rig_in(&rig, 0x64) & 0x02)); /* ready for a command */
	ck_assert(rig_in(&rig, 0x64) & 0x01);	 /* never empty: no controller */
	ck_assert_uint_ne(rig_in(&rig, 0x64), 0xff);
	ck_assert_uint_eq(rig_in(&rig, 0x60), 0xff);
	rig_out(&rig, 0x64, 0xff); /* pulses no line */
	rig_out(&rig, 0x64, 0xfd); /* pulses A20 */
	ck_assert_uint_eq(resets, 0);
	rig_out(&rig, 0x64, 0xfe);
	ck_assert_uint_eq(resets, 1);
	rig_out(&rig, 0x64, 0xf0);
	ck_assert_uint_eq(resets, 2);
}
END_TEST

START_TEST(keyboard_controller_output_port)
{
	rig_out(&rig, 0x60, 0xfe); /* data without a command */
	rig_out(&rig, 0x64, 0xd1);
	rig_out(&rig, 0x60, 0xdf); /* A20 on, reset not asserted */
	rig_out(&rig, 0x60, 0xfe); /* the command took one byte */
	ck_assert_uint_eq(resets, 0);
	rig_out(&rig, 0x64, 0xd1);
	rig_out(&rig, 0x60, 0xfe);
	ck_assert_uint_eq(resets, 1);
}
END_TEST

START_TEST(port_92)
{
	ck_assert_uint_eq(rig_in(&rig, 0x92), 0x02);
	rig_out(&rig, 0x92, 0xfe);
	ck_assert_uint_eq(rig_in(&rig, 0x92), 0x02);
	ck_assert_uint_eq(resets, 0);
	rig_out(&rig, 0x92, 0x01);
	ck_assert_uint_eq(resets, 1);
	rig_out(&rig, 0x92, 0x03); /* no edge */
	ck_assert_uint_eq(resets, 1);
}
END_TEST

START_TEST(port_cf9)
{
	reset_cf9_write(&reset, 0x02);
	ck_assert_uint_eq(reset_cf9_read(&reset), 0x02);
	ck_assert_uint_eq(resets, 0);
	reset_cf9_write(&reset, 0x06);
	ck_assert_uint_eq(resets, 1);
	reset_cf9_write(&reset, 0xff);
	ck_assert_uint_eq(resets, 1);
	ck_assert_uint_eq(reset_cf9_read(&reset), 0x0e);
}
END_TEST

START_TEST(reset_state)
{
	rig_out(&rig, 0x92, 0x00);
	rig_out(&rig, 0x64, 0xd1);
	reset_cf9_write(&reset, 0x0a);
	ck_assert(rig_round_trip(&reset_ops, &reset));
	ck_assert_uint_eq(reset_cf9_read(&reset), 0x0a);
	ck_assert(rig_refuses_short(&reset_ops, &reset));
	ck_assert_uint_eq(rig_in(&rig, 0x92), 0x02);
}
END_TEST

START_TEST(debug_console)
{
	ck_assert_uint_eq(rig_in(&rig, 0xe9), 0xe9);
	rig_out(&rig, 0xe9, 'o');
	rig_out(&rig, 0xe9, 'k');
	ck_assert_uint_eq(rig.nout, 2);
	ck_assert_mem_eq(rig.out, "ok", 2);
	ck_assert(rig_round_trip(&debugport_ops, &debugport));
}
END_TEST

START_TEST(debug_exit)
{
	ck_assert_uint_eq(rig_in(&rig, 0xf4), 0xff);
	ck_assert_int_eq(code, -1);
	rig_out(&rig, 0xf4, 0);
	ck_assert_int_eq(code, 0);
	bus_write(&rig.bus, BUS_PORT, 0xf4, 4, 0x12345607);
	ck_assert_int_eq(code, 7);
}
END_TEST

/* What the guest may not tell, nobody hears. */
START_TEST(panics_are_told)
{
	ck_assert_uint_eq(rig_in(&rig, PVPANIC_PORT), PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
	rig_out(&rig, PVPANIC_PORT, 0);
	rig_out(&rig, PVPANIC_PORT, 0xfc);
	ck_assert_uint_eq(npanics, 0);
	rig_out(&rig, PVPANIC_PORT, 0xfd);
	rig_out(&rig, PVPANIC_PORT, PVPANIC_CRASH_LOADED);
	ck_assert_uint_eq(npanics, 2);
	ck_assert(panics[0] == PVPANIC_PANICKED && panics[1] == PVPANIC_CRASH_LOADED);
	ck_assert(rig_round_trip(&pvpanic_ops, &pvpanic));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, keyboard_controller_pulse);
	tcase_add_test(tc, keyboard_controller_output_port);
	tcase_add_test(tc, port_92);
	tcase_add_test(tc, port_cf9);
	tcase_add_test(tc, reset_state);
	tcase_add_test(tc, debug_console);
	tcase_add_test(tc, debug_exit);
	tcase_add_test(tc, panics_are_told);
}

UNIT_MAIN("ports", add_tests)
