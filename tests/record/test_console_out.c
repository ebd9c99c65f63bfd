// SPDX-License-Identifier: GPL-2.0-or-later
/* Console output on its way to the host: every byte arrives once, in order, at its own console. */
#include <string.h>

#include "record/console_out.h"
#include "record/live.h"
#include "tests/unit.h"

struct screen {
	struct live_console live;
	char text[3 * CONSOLE_OUT_BUFFER];
	size_t len;
	unsigned writes;
};

static void screen_write(void *ctx, const uint8_t *data, size_t n)
{
	struct screen *s = ctx;

	ck_assert_uint_le(s->len + n, sizeof(s->text));
	memcpy(s->text + s->len, data, n);
	s->len += n;
	s->writes++;
}

static struct screen serial, debug;
static struct console_out out;

static void begin(void)
{
	memset(&out, 0, sizeof(out));
	memset(&serial, 0, sizeof(serial));
	memset(&debug, 0, sizeof(debug));
	serial.live = (struct live_console){ .ctx = &serial, .write = screen_write };
	debug.live = (struct live_console){ .ctx = &debug, .write = screen_write };
	out.console[0] = &serial.live;
	out.console[MACHINE_CONSOLES] = &debug.live;
}

static struct output output(enum output_kind kind, uint8_t port, const char *text)
{
	return (struct output){
		.kind = kind, .port = port, .data = (const uint8_t *)text, .len = strlen(text)
	};
}

static void gather(enum output_kind kind, uint8_t port, const char *text)
{
	struct output o = output(kind, port, text);

	console_out_gather(&out, &o);
}

START_TEST(bytes_are_gathered_until_the_flush)
{
	begin();
	for (const char *s = "hello"; *s; s++)
		gather(OUTPUT_CONSOLE, 0, (char[]){ *s, 0 });
	gather(OUTPUT_DEBUG, 0, "d");
	ck_assert_uint_eq(serial.writes + debug.writes, 0);
	console_out_flush(&out);
	ck_assert_uint_eq(serial.writes, 1);
	ck_assert_mem_eq(serial.text, "hello", 5);
	ck_assert_mem_eq(debug.text, "d", 1);
	console_out_flush(&out);
	ck_assert_uint_eq(serial.writes + debug.writes, 2);
}
END_TEST

START_TEST(a_full_buffer_is_written)
{
	begin();
	for (int i = 0; i < CONSOLE_OUT_BUFFER + 1; i++)
		gather(OUTPUT_CONSOLE, 0, i & 1 ? "b" : "a");
	ck_assert_uint_eq(serial.writes, 1);
	ck_assert_uint_eq(serial.len, CONSOLE_OUT_BUFFER);
	console_out_flush(&out);
	ck_assert_uint_eq(serial.len, CONSOLE_OUT_BUFFER + 1);
	for (size_t i = 0; i < serial.len; i++)
		ck_assert_int_eq(serial.text[i], i & 1 ? 'b' : 'a');
}
END_TEST

START_TEST(what_is_for_no_console_is_dropped)
{
	struct output o = output(OUTPUT_NET_TX, 0, "frame");

	begin();
	gather(OUTPUT_CONSOLE, 1, "the machine has none");
	gather(OUTPUT_CONSOLE, 200, "nor this");
	gather(OUTPUT_NET_TX, 0, "frame");
	console_out_write(&out, &o);
	console_out_flush(&out);
	ck_assert_uint_eq(serial.writes + debug.writes, 0);
	o = output(OUTPUT_DEBUG, 0, "now");
	console_out_write(&out, &o);
	ck_assert_mem_eq(debug.text, "now", 3);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, bytes_are_gathered_until_the_flush);
	tcase_add_test(tc, a_full_buffer_is_written);
	tcase_add_test(tc, what_is_for_no_console_is_dropped);
}

UNIT_MAIN("console_out", add_tests)
