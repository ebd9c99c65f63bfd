// SPDX-License-Identifier: GPL-2.0-or-later
// GDB's remote protocol: packets in and out, and what a target is asked.
#include <string.h>

#include "host/gdb_stub.h"
#include "tests/unit.h"

static struct gdb_stub stub;
static struct timeline_probe seen;
static enum gdb_move moved;
static enum timeline_stop next_stop;
static char asked[100];

static void state(void *ctx, struct cpu_state *s)
{
	cpu_state_reset(s);
	s->seg[SEG_CS].base = 0;
	s->rip = 0x401000;
	s->gpr[R_RBX] = 0x1122334455667788;
}

static size_t read_memory(void *ctx, uint64_t address, void *data, size_t len)
{
	size_t n = address >= 0x1000 ? 0 : 0x1000 - (size_t)address;

	memset(data, 0xab, n < len ? n : len);
	return n < len ? n : len;
}

static enum timeline_stop move(void *ctx, enum gdb_move how, const struct timeline_probe *p,
			       struct timeline_where *w)
{
	moved = how;
	seen = *p;
	*w = (struct timeline_where){ .watch = 1, .address = 0x2004 };
	return next_stop;
}

static void monitor(void *ctx, const char *command, struct buf *text)
{
	snprintf(asked, sizeof(asked), "%s", command);
	buf_put(text, "hi", 2);
}

static const struct gdb_target target = {
	.state = state, .read = read_memory, .move = move, .monitor = monitor
};

static void setup(void)
{
	gdb_stub_init(&stub, &target, NULL);
	next_stop = TIMELINE_THERE;
}

static void teardown(void)
{
	gdb_stub_fini(&stub);
}

/* What the stub sends when it gets a packet with this content, without the '+'. */
static const char *ask(const char *text)
{
	static char reply[GDB_PACKET_MAX + 1];
	struct buf b = BUF_INIT;
	size_t n;

	gdb_packet_put(&b, text, strlen(text));
	buf_clear(&stub.out);
	gdb_stub_input(&stub, b.data, b.len);
	buf_free(&b);
	ck_assert_uint_ge(stub.out.len, 5);
	ck_assert_int_eq(memcmp(stub.out.data, "+$", 2), 0);
	n = stub.out.len - 5;
	memcpy(reply, stub.out.data + 2, n);
	reply[n] = 0;
	return reply;
}

START_TEST(packets_by_hand)
{
	static const char good[] = "$qC#b4", bad[] = "$qC#b5", half[] = "$q", rest[] = "C#b4";

	gdb_stub_input(&stub, (const uint8_t *)good, sizeof(good) - 1);
	ck_assert_uint_eq(stub.out.len, 8);
	ck_assert_int_eq(memcmp(stub.out.data, "+$QC1#c5", 8), 0);
	buf_clear(&stub.out);
	gdb_stub_input(&stub, (const uint8_t *)bad, sizeof(bad) - 1);
	ck_assert_uint_eq(stub.out.len, 1);
	ck_assert_int_eq(stub.out.data[0], '-');
	buf_clear(&stub.out);
	gdb_stub_input(&stub, (const uint8_t *)half, sizeof(half) - 1);
	ck_assert_uint_eq(stub.out.len, 0);
	gdb_stub_input(&stub, (const uint8_t *)rest, sizeof(rest) - 1);
	ck_assert_uint_eq(stub.out.len, 8);
	/* A checksum that is no number. */
	buf_clear(&stub.out);
	gdb_stub_input(&stub, (const uint8_t *)"$qC#.4$qC#b.", 12);
	ck_assert_uint_eq(stub.out.len, 2);
	ck_assert_int_eq(memcmp(stub.out.data, "--", 2), 0);
	ck_assert_str_eq(ask("qC"), "QC1");
	/* The last one again, when it was not understood. */
	buf_clear(&stub.out);
	gdb_stub_input(&stub, (const uint8_t *)"-", 1);
	ck_assert_int_eq(memcmp(stub.out.data, "$QC1#c5", 7), 0);
}
END_TEST

START_TEST(too_long_is_refused)
{
	static uint8_t long_one[GDB_PACKET_MAX + 10];

	memset(long_one, 'a', sizeof(long_one));
	long_one[0] = '$';
	memcpy(long_one + sizeof(long_one) - 3, "#00", 3);
	gdb_stub_input(&stub, long_one, sizeof(long_one));
	ck_assert_uint_eq(stub.out.len, 1);
	ck_assert_int_eq(stub.out.data[0], '-');
	ck_assert_str_eq(ask("qC"), "QC1");
}
END_TEST

START_TEST(registers_and_memory)
{
	const char *g = ask("g");

	ck_assert_uint_eq(strlen(g), 2 * (17 * 8 + 7 * 4 + 80 + 32 + 256 + 4 + 9 * 8));
	ck_assert_int_eq(strncmp(g + 16, "8877665544332211", 16), 0);
	ck_assert_int_eq(strncmp(g + 16 * 16, "0010400000000000", 16), 0);
	ck_assert_str_eq(ask("mffe,8"), "abab");
	ck_assert_str_eq(ask("m1000,8"), "E14");
	ck_assert_str_eq(ask("m,8"), "E01");
	ck_assert_str_eq(ask("m11112222333344445,8"), "E01");
	ck_assert_int_eq(ask("M0,1:00")[0], 'E');
	ck_assert_int_eq(ask("G00")[0], 'E');
}
END_TEST

START_TEST(points_are_handed_on)
{
	ck_assert_str_eq(ask("Z0,401000,1"), "OK");
	ck_assert_str_eq(ask("Z2,1000,4"), "OK");
	ck_assert_str_eq(ask("Z3,2004,8"), "OK");
	next_stop = TIMELINE_BREAKPOINT;
	ck_assert_str_eq(ask("c"), "T05thread:1;swbreak:;");
	ck_assert_int_eq(moved, GDB_CONTINUE);
	ck_assert_uint_eq(seen.nbreakpoints, 1);
	ck_assert_uint_eq(seen.breakpoint[0], 0x401000);
	ck_assert_uint_eq(seen.nwatches, 2);
	ck_assert(seen.watch[0].write && !seen.watch[0].read && seen.watch[1].read);
	next_stop = TIMELINE_WATCH;
	ck_assert_str_eq(ask("bc"), "T05thread:1;rwatch:2004;");
	ck_assert_int_eq(moved, GDB_BACK);
	ck_assert_str_eq(ask("z2,1000,4"), "OK");
	ck_assert_str_eq(ask("z0,401000,1"), "OK");
	next_stop = TIMELINE_BEGIN;
	ck_assert_str_eq(ask("bs"), "T05thread:1;replaylog:begin;");
	ck_assert_uint_eq(seen.nbreakpoints, 0);
	ck_assert_uint_eq(seen.nwatches, 1);
	for (unsigned i = 1; i < PROBE_WATCHES; i++)
		ck_assert_str_eq(ask("Z2,1000,4"), "OK");
	ck_assert_int_eq(ask("Z2,1000,4")[0], 'E');
	ck_assert_int_eq(ask("Z7,1000,4")[0], 'E');
}
END_TEST

START_TEST(monitor_and_features)
{
	ck_assert_str_eq(ask("qRcmd,7365656b2031"), "6869");
	ck_assert_str_eq(asked, "seek 1");
	ck_assert_str_eq(ask("qRcmd,zz"), "E01");
	ck_assert_int_eq(strncmp(ask("qXfer:features:read:target.xml:0,5"), "m<?xml", 6), 0);
	ck_assert_str_eq(ask("qXfer:features:read:target.xml:fffff,5"), "E01");
	ck_assert_str_eq(ask("vMustReplyEmpty"), "");
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, packets_by_hand);
	tcase_add_test(tc, too_long_is_refused);
	tcase_add_test(tc, registers_and_memory);
	tcase_add_test(tc, points_are_handed_on);
	tcase_add_test(tc, monitor_and_features);
}

UNIT_MAIN("gdb", add)
