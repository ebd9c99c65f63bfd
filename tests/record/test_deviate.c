// SPDX-License-Identifier: GPL-2.0-or-later
// What faults of the environment make of the inputs of a record, one sync point after the other.
#include <errno.h>
#include <string.h>

#include "hypervisor/clock.h"
#include "record/deviate.h"
#include "record/packet_pattern.h"
#include "tests/unit.h"

#define RECORDS 8
#define FRAME	60

static struct machine *m;
static struct codec_record record[RECORDS];
static size_t nrecords, given;
static uint8_t frame[RECORDS][FRAME];
static struct deviate d;
static struct err err;

static int next_record(void *ctx, const struct codec_record **rec, struct err *e)
{
	if (given == nrecords)
		return 0;
	*rec = &record[given++];
	return 1;
}

/* A packet that is full of its number, behind an anchor. */
static void add_packet(uint64_t count, uint64_t ns)
{
	struct codec_record *r = &record[nrecords];

	memset(frame[nrecords], (int)nrecords + 1, FRAME);
	r->input[0] = (struct input){ .kind = INPUT_ANCHOR, .a = ns, .b = CLOCK_RATE_ONE };
	r->input[1] = (struct input){ .kind = INPUT_NET_RX, .data = frame[nrecords], .len = FRAME };
	r->sp = (struct sync_point){ .at = { .count = count }, .input = r->input, .n = 2 };
	nrecords++;
}

static void setup(void)
{
	const struct output_sink sink = { 0 };
	struct machine_config c;

	machine_config_defaults(&c);
	c.memory = 2 << 20;
	c.nnics = 2;
	m = machine_create(&c, &soft_engine_ops, NULL, &sink, &err);
	ck_assert_msg(m != NULL, "%s", err.text);
	nrecords = given = 0;
	for (unsigned i = 0; i < 4; i++)
		add_packet(100 * (i + 1), 1000 * (i + 1));
}

static void teardown(void)
{
	deviate_fini(&d);
	machine_destroy(m);
}

static void begin(enum fault_place place, uint64_t amount)
{
	static const struct record_stream stream = { .next = next_record };
	const struct fault f = { .count = 150,
				 .place = place,
				 .amount = amount,
				 .bit = 9 * (place == FAULT_PACKET_CORRUPT) };

	deviate_init(&d, m, &stream, NULL, &f, 1, 10000);
}

/* The machine is asked at a count: numbers of the packets that enter, as digits; "." for none. */
static const char *at(uint64_t count)
{
	const struct landmark here = { .count = count };
	static char text[16];
	struct sync_point sp = { 0 };
	size_t n = 0;

	if (d.source.next(d.source.ctx, m, SYNC_UNTIL, &here, &sp) != SYNC_APPLY)
		return "-";
	d.source.applied(d.source.ctx, m, &sp, 0);
	for (size_t i = 0; i < sp.n; i++) {
		if (sp.input[i].kind == INPUT_NET_RX)
			text[n++] = (char)('0' + sp.input[i].data[0]);
	}
	if (!n)
		text[n++] = '.';
	text[n] = 0;
	return text;
}

static void expect(const char *at100, const char *at150, const char *at200, const char *at300)
{
	ck_assert_str_eq(at(100), at100);
	ck_assert_str_eq(at(150), at150);
	ck_assert_str_eq(at(200), at200);
	ck_assert_str_eq(at(300), at300);
}

START_TEST(packets)
{
	begin(FAULT_PACKET_LOST, 0);
	expect("1", "-", ".", "3");
	teardown();
	setup();
	begin(FAULT_PACKET_TWICE, 0);
	expect("1", "-", "22", "3");
	teardown();
	setup();
	begin(FAULT_PACKET_SWAPPED, 0);
	expect("1", "-", ".", "32");
	teardown();
	setup();
	begin(FAULT_PACKET_LATE, 150);
	expect("1", "-", ".", "3");
	ck_assert_str_eq(at(340), "-");
	ck_assert_str_eq(at(350), "2");
	ck_assert_str_eq(at(400), "4");
}
END_TEST

/* One more in a record that has a packet. */
static void add_to_record(unsigned n, uint8_t nic, uint8_t value, uint8_t *data)
{
	struct codec_record *r = &record[n];

	memset(data, value, FRAME);
	r->input[r->sp.n++] =
		(struct input){ .kind = INPUT_NET_RX, .port = nic, .data = data, .len = FRAME };
}

/* Packets that come at one count, on two NICs: one of them is meant, by NIC and number. */
START_TEST(one_packet_of_several)
{
	static const struct {
		uint64_t count, nic;
		unsigned packet;
		const char *at200;
	} of[] = {
		{ 150, 0, 0, "789" }, /* the next on this NIC */
		{ 150, 1, 0, "289" },  { 199, 0, 1, "789" },  { 199, 1, 2, "289" },
		{ 199, 0, 3, "279" },  { 199, 1, 4, "278" },  { 199, 0, 4, "2789" },
		{ 199, 0, 5, "2789" }, { 150, 0, 1, "2789" }, /* none is there */
	};
	static const struct record_stream stream = { .next = next_record };
	static uint8_t more[3][FRAME];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		const struct fault f = { .count = of[i].count,
					 .place = FAULT_PACKET_LOST,
					 .index = of[i].nic,
					 .packet = of[i].packet };

		add_to_record(1, 1, 7, more[0]);
		add_to_record(1, 0, 8, more[1]);
		add_to_record(1, 1, 9, more[2]);
		deviate_init(&d, m, &stream, NULL, &f, 1, 10000);
		ck_assert_str_eq(at(100), "1");
		ck_assert_str_eq(at(of[i].count), "-");
		ck_assert_msg(!strcmp(at(200), of[i].at200), "case %zu", i);
		ck_assert_str_eq(at(300), "3");
		ck_assert_str_eq(at(400), "4");
		teardown();
		setup();
	}
}
END_TEST

START_TEST(patterns)
{
	static const uint8_t request[] = "GET /it\x01\xff";
	static const char *const good[] = { "47",    "'GET'",	     "'G' 45 ??20",
					    "01 fF", "?? ?? ??????", "2f6974" };
	static const char *const bad[] = { "",	" ",   "4",    "4 7",	  "'GET",
					   "?", "GET", "0x47", "47 '' 4", "''" };
	struct packet_pattern p;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(packet_pattern_parse(&p, good[i]), "%s", good[i]);
		ck_assert_msg(packet_pattern_matches(&p, 0, request, 9), "%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!packet_pattern_parse(&p, bad[i]), "%s", bad[i]);
	ck_assert(packet_pattern_parse(&p, "'/it' 01"));
	ck_assert(!packet_pattern_matches(&p, 0, request, 7)); /* it ends before */
	p.at = 4;
	ck_assert(packet_pattern_matches(&p, 3, request, 9));
	p.nic = 2;
	ck_assert(!packet_pattern_matches(&p, 3, request, 9));
	ck_assert(packet_pattern_matches(&p, 2, request, 9));
	p.at = UINT64_MAX - 1;
	ck_assert(!packet_pattern_matches(&p, 2, request, 9));
}
END_TEST

START_TEST(a_corrupt_packet_is_another)
{
	const struct landmark second = { .count = 200 };
	struct sync_point sp = { 0 };

	begin(FAULT_PACKET_CORRUPT, 0);
	at(100);
	at(150);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &second, &sp), SYNC_APPLY);
	ck_assert_uint_eq(sp.n, 2);
	ck_assert_uint_eq(sp.input[1].len, FRAME);
	ck_assert_uint_eq(sp.input[1].data[1], 2 ^ 2); /* bit 9 */
	ck_assert_uint_eq(sp.input[1].data[0], 2);
	ck_assert_uint_eq(frame[1][1], 2); /* the record is as it was */
}
END_TEST

static uint64_t anchor_at(uint64_t count)
{
	const struct landmark here = { .count = count };
	struct sync_point sp = { 0 };

	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &here, &sp), SYNC_APPLY);
	d.source.applied(d.source.ctx, m, &sp, 0);
	ck_assert_int_eq(sp.input[0].kind, INPUT_ANCHOR);
	return sp.input[0].a;
}

/* The machine does not run here: its clock stands at 0. */
START_TEST(clocks)
{
	begin(FAULT_CLOCK_JUMP, 5000);
	ck_assert_uint_eq(anchor_at(100), 1000);
	ck_assert_uint_eq(anchor_at(150), 5000);
	ck_assert_uint_eq(anchor_at(200), 7000);
	teardown();
	setup();
	begin(FAULT_CLOCK_FAST, 500000);
	anchor_at(100);
	ck_assert_uint_eq(anchor_at(150), 0);
	ck_assert_uint_eq(anchor_at(200), 3000);
	teardown();
	setup();
	begin(FAULT_CLOCK_STOP, 2500);
	anchor_at(100);
	ck_assert_uint_eq(anchor_at(150), 0);
	ck_assert_uint_eq(anchor_at(200), 0);
	ck_assert_uint_eq(anchor_at(300), 3000);
}
END_TEST

START_TEST(a_link_comes_back)
{
	const struct landmark down = { .count = 150 }, up = { .count = 260 };
	struct sync_point sp = { 0 };

	begin(FAULT_LINK_DOWN, 110);
	at(100);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &down, &sp), SYNC_APPLY);
	ck_assert(sp.n == 1 && sp.input[0].a == CONTROL_LINK && sp.input[0].b == 0);
	ck_assert_str_eq(at(200), "2");
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &up, &sp), SYNC_APPLY);
	ck_assert(sp.n == 1 && sp.input[0].a == CONTROL_LINK && sp.input[0].b == 1);
	ck_assert_str_eq(at(300), "3");
}
END_TEST

/* First disks have caches, then the power fails: by any seed but 0. */
START_TEST(power)
{
	const struct landmark first = { .count = 150 }, then = { .count = 260 };
	struct sync_point sp = { 0 };

	begin(FAULT_POWER, 110);
	at(100);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &first, &sp), SYNC_APPLY);
	ck_assert(sp.n == 1 && sp.input[0].a == CONTROL_POWER && sp.input[0].b == 0);
	ck_assert_str_eq(at(200), "2");
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &then, &sp), SYNC_APPLY);
	ck_assert(sp.n == 1 && sp.input[0].a == CONTROL_POWER && sp.input[0].b != 0);
}
END_TEST

/* Several at once: each does its own, those at one count one after the other. */
START_TEST(several)
{
	static const struct record_stream stream = { .next = next_record };
	const struct fault f[] = { { .count = 150, .place = FAULT_PACKET_SWAPPED },
				   { .count = 150, .place = FAULT_CLOCK_JUMP, .amount = 5000 },
				   { .count = 210, .place = FAULT_PACKET_TWICE },
				   { .count = 250, .place = FAULT_CLOCK_SLOW, .amount = 500000 } };

	deviate_init(&d, m, &stream, NULL, f, 4, 10000);
	ck_assert_str_eq(at(100), "1");
	ck_assert_str_eq(at(150), "-");
	ck_assert_str_eq(at(150), "."); /* the jump */
	ck_assert_str_eq(at(200), ".");
	ck_assert_str_eq(at(210), "-");
	ck_assert_str_eq(at(250), ".");
	ck_assert_str_eq(at(300), "332");
	/* 4000 and the jump, and half of what went by since the last one: the clock stands at 0. */
	ck_assert_uint_eq(anchor_at(400), 4500);
}
END_TEST

/* Nothing can come of it: the run ends, rather than ask for what is behind for ever. */
START_TEST(a_record_that_was_passed)
{
	struct sync_point sp;
	struct landmark here = { .count = 100, .in_rep = true, .rcx = 5 };

	begin(FAULT_PACKET_LOST, 0);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &here, &sp), SYNC_AGAIN);
	ck_assert_int_eq(d.error.code, 0);
	here = (struct landmark){ .count = 101 };
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &here, &sp), SYNC_END);
	ck_assert_int_eq(d.error.code, EILSEQ);
	ck_assert_msg(strstr(d.error.text, "count 100") != NULL, "%s", d.error.text);
}
END_TEST

/* The digest of the last record before a fault is that of the record alone. */
START_TEST(a_digest_before_the_fault)
{
	const struct landmark first = { .count = 100 }, fault = { .count = 150 };
	struct sync_point sp = { 0 };

	record[0].has_digest = true;
	record[0].digest = 0x1234;
	begin(FAULT_CLOCK_JUMP, 5000);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &first, &sp), SYNC_APPLY);
	ck_assert(d.source.applied(d.source.ctx, m, &sp, 0x1234));
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &fault, &sp), SYNC_APPLY);
	ck_assert(d.source.applied(d.source.ctx, m, &sp, 0));
	ck_assert_int_eq(d.error.code, 0);
	teardown();
	setup();
	record[0].has_digest = true;
	record[0].digest = 0x1234;
	begin(FAULT_CLOCK_JUMP, 5000);
	ck_assert_int_eq(d.source.next(d.source.ctx, m, SYNC_UNTIL, &first, &sp), SYNC_APPLY);
	ck_assert(!d.source.applied(d.source.ctx, m, &sp, 0x1235));
	ck_assert_str_eq(d.error.text, "divergence at count 100, before the fault");
	record[0].has_digest = false;
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, packets);
	tcase_add_test(tc, one_packet_of_several);
	tcase_add_test(tc, patterns);
	tcase_add_test(tc, a_corrupt_packet_is_another);
	tcase_add_test(tc, clocks);
	tcase_add_test(tc, a_link_comes_back);
	tcase_add_test(tc, power);
	tcase_add_test(tc, several);
	tcase_add_test(tc, a_record_that_was_passed);
	tcase_add_test(tc, a_digest_before_the_fault);
}

UNIT_MAIN("deviate", add)
