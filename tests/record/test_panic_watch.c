// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/panic_watch.h"

#include <string.h>

#include "hypervisor/devices/pvpanic.h"
#include "tests/unit.h"

static struct panic_watch w;
static char told[PANIC_TEXT];
static unsigned tells;
static struct input in;

static void tell(void *ctx, const char *why)
{
	strncpy(told, why, sizeof(told) - 1);
	tells++;
}

static void say(uint8_t port, const char *text, size_t piece)
{
	size_t n = strlen(text);

	for (size_t at = 0; at < n; at += piece)
		panic_watch_output(&w, &(struct output){ .kind = OUTPUT_CONSOLE,
							 .port = port,
							 .data = (const uint8_t *)text + at,
							 .len = n - at < piece ? n - at : piece });
}

static void setup(void)
{
	w = (struct panic_watch){ .tell = tell };
	tells = 0;
}

static void teardown(void)
{
}

/* Byte by byte, as a serial port speaks, and in pieces. */
START_TEST(hears_a_panic_once)
{
	static const char text[] =
		"[ 1.2] Kernel panic - not syncing: Oops\r\n"
		"[ 1.3] ---[ end Kernel panic - not syncing: \x1b[mOops ]---\r\n";

	say(0, text, _i);
	say(1, text, _i); /* on another console as well */
	ck_assert(atomic_load(&w.seen));
	ck_assert(panic_watch_take(&w, &in));
	ck_assert_uint_eq(in.kind, 0);
	ck_assert_str_eq(told, "the guest's kernel has panicked and will not reboot: ?[mOops");
	ck_assert(!panic_watch_take(&w, &in));
	ck_assert_uint_eq(tells, 1);
}
END_TEST

/* A kernel that reboots does not come to its last line; consoles do not mix. */
START_TEST(hears_nothing_else)
{
	say(0, "Kernel panic - not syncing: Oops\nRebooting in 1 seconds..\n", 7);
	say(0, "end Kernel panic - not", 5);
	say(1, " syncing: x\n", 5);
	say(0, "\nend Kernel panic - not syncing: a line that has no end", 9);
	ck_assert(!atomic_load(&w.seen));
	ck_assert(!panic_watch_take(&w, &in));
	for (unsigned i = 0; i < 2 * PANIC_LINE; i++)
		say(0, "x", 1);
	ck_assert(panic_watch_take(&w, &in));
	ck_assert_uint_lt(strlen(told), PANIC_TEXT - 1);
}
END_TEST

START_TEST(acts_as_it_was_told)
{
	w.action = PANIC_STOP;
	say(0, "end Kernel panic - not syncing\n", 3);
	ck_assert(panic_watch_take(&w, &in));
	ck_assert(in.kind == INPUT_CONTROL && in.a == CONTROL_STOP);
	setup();
	w.action = PANIC_RESET;
	for (unsigned i = 1; i <= 2; i++) { /* and again after the reset */
		say(0, "eend Kernel panic - not syncing\n", 3);
		ck_assert(panic_watch_take(&w, &in));
		ck_assert(in.kind == INPUT_CONTROL && in.a == CONTROL_RESET);
		ck_assert_uint_eq(tells, i);
	}
	ck_assert(!panic_watch_take(NULL, &in));
}
END_TEST

static void panic_event(uint8_t events)
{
	panic_watch_output(&w, &(struct output){ .kind = OUTPUT_PANIC, .data = &events, .len = 1 });
}

/* The port comes after the first line and before the last one: told once, with the reason. */
START_TEST(hears_the_port)
{
	w.action = _i ? PANIC_STOP : PANIC_REPORT;
	say(0, "[ 1.2] Kernel panic - not syncing: Oops\n", 5);
	ck_assert(!panic_watch_take(&w, &in));
	panic_event(PVPANIC_PANICKED);
	ck_assert(panic_watch_take(&w, &in));
	ck_assert_str_eq(told, "the guest has panicked: Oops");
	ck_assert_uint_eq(in.kind, _i ? INPUT_CONTROL : 0);
	say(0, "---[ end Kernel panic - not syncing: Oops ]---\n", 5);
	panic_event(PVPANIC_PANICKED);
	ck_assert(!panic_watch_take(&w, &in));
}
END_TEST

/* Whose crash kernel takes over is left alone, and cannot fill a log. */
START_TEST(leaves_a_crash_kernel_alone)
{
	w.action = PANIC_STOP;
	for (int i = 0; i < 3; i++) {
		panic_event(PVPANIC_CRASH_LOADED);
		ck_assert(panic_watch_take(&w, &in) == (i == 0));
	}
	ck_assert_uint_eq(in.kind, 0);
	ck_assert(!atomic_load(&w.seen));
	panic_event(PVPANIC_PANICKED);
	ck_assert(panic_watch_take(&w, &in));
	ck_assert_uint_eq(in.kind, INPUT_CONTROL);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, hears_a_panic_once, 1, 12);
	tcase_add_test(tc, hears_nothing_else);
	tcase_add_test(tc, acts_as_it_was_told);
	tcase_add_loop_test(tc, hears_the_port, 0, 2);
	tcase_add_test(tc, leaves_a_crash_kernel_alone);
}

UNIT_MAIN("panic_watch", add)
