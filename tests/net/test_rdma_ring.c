// SPDX-License-Identifier: GPL-2.0-or-later
/* The ring of the RDMA transport: frames, credits, and what nobody but the other side may do. */
#include <errno.h>

#include "net/rdma_ring.h"
#include "tests/unit.h"

static const uint8_t key[RDMA_KEY] = { 1, 2, 3 }, other_key[RDMA_KEY] = { 9 };

/* A writer, its ring, the reader's copy of it. */
static struct rdma_writer w;
static struct rdma_reader r;
static uint8_t *out, *in, *aside, *data, *got;

static void set_up(void)
{
	out = calloc(1, RDMA_RING);
	in = calloc(1, RDMA_RING);
	aside = calloc(1, RDMA_RING);
	data = malloc(RDMA_FRAME);
	got = malloc(RDMA_FRAME);
	ck_assert(out && in && aside && data && got);
	for (size_t i = 0; i < RDMA_FRAME; i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	ck_assert_int_eq(rdma_writer_init(&w, out, key), 0);
	ck_assert_int_eq(rdma_reader_init(&r, in, aside, key), 0);
}

static void tear_down(void)
{
	rdma_writer_fini(&w);
	rdma_reader_fini(&r);
	free(out);
	free(in);
	free(aside);
	free(data);
	free(got);
}

/* The next frame goes over, as a write would carry it. */
static uint64_t carry(void)
{
	struct rdma_piece p[2];
	unsigned n = rdma_pieces(w.sent, rdma_writer_next(&w), p);

	for (unsigned i = 0; i < n; i++)
		memcpy(in + p[i].at, out + p[i].at, p[i].len);
	return rdma_writer_sent(&w);
}

static void credit(void)
{
	uint8_t cell[RDMA_CELL];

	ck_assert_int_eq(rdma_reader_credit(&r, cell), 0);
	ck_assert_int_ge(rdma_writer_credit(&w, cell, NULL), 0);
}

static void take(const uint8_t *want, size_t n)
{
	ck_assert_int_eq(rdma_reader_get(&r, got, RDMA_FRAME), (ssize_t)n);
	ck_assert_mem_eq(got, want, n);
}

START_TEST(every_size_at_every_place)
{
	size_t n = 1, wrapped = 0;

	for (unsigned i = 0; i < 5000; i++) {
		struct rdma_piece p[2];

		ck_assert_int_eq(rdma_writer_put(&w, data, n), (ssize_t)n);
		wrapped += rdma_pieces(w.sent, rdma_writer_next(&w), p) == 2;
		rdma_reader_announce(&r, (uint32_t)carry());
		take(data, n);
		if (rdma_reader_owes(&r))
			credit();
		n = (n * 7 + 13) % RDMA_FRAME + 1;
	}
	ck_assert_uint_gt(wrapped, 100);
	ck_assert_uint_eq(w.head, r.position);
}
END_TEST

START_TEST(long_data_takes_several_frames_and_small_reads)
{
	static uint8_t much[3 * RDMA_FRAME + 5], back[sizeof(much)];
	size_t at = 0, n = 0;

	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = (uint8_t)(i * 13);
	while (at < sizeof(much)) {
		at += (size_t)rdma_writer_put(&w, much + at, sizeof(much) - at);
		rdma_reader_announce(&r, (uint32_t)carry());
	}
	ck_assert_uint_eq(w.number, 4);
	while (n < sizeof(back)) {
		ssize_t some = rdma_reader_get(&r, back + n, sizeof(back) - n > 40 ? 40 : 1);

		ck_assert_int_gt(some, 0);
		n += (size_t)some;
	}
	ck_assert_mem_eq(much, back, sizeof(much));
	ck_assert_int_eq(rdma_reader_get(&r, back, 1), 0);
}
END_TEST

START_TEST(nothing_is_taken_before_it_is_announced)
{
	rdma_writer_put(&w, data, 100);
	carry();
	ck_assert_int_eq(rdma_reader_get(&r, got, 100), 0);
	ck_assert(rdma_reader_glance(&r));
	rdma_reader_announce(&r, 1);
	take(data, 100);
	ck_assert(!rdma_reader_glance(&r));
}
END_TEST

START_TEST(a_torn_frame_is_waited_for)
{
	uint64_t number;

	rdma_writer_put(&w, data, 10000);
	number = carry();
	memset(in + 5000, 0, 6000);
	rdma_reader_announce(&r, (uint32_t)number);
	ck_assert_int_eq(rdma_reader_get(&r, got, RDMA_FRAME), -EAGAIN);
	memcpy(in, out, 10100);
	take(data, 10000);
}
END_TEST

START_TEST(the_ring_holds_no_plain_bytes)
{
	memset(data, 'A', 4096);
	rdma_writer_put(&w, data, 4096);
	ck_assert_ptr_null(memmem(out, RDMA_RING, data, 4));
	w.clear = true;
	rdma_writer_put(&w, data, 4096);
	ck_assert_ptr_nonnull(memmem(out, RDMA_RING, data, 4096));
}
END_TEST

START_TEST(a_changed_bit_is_noticed)
{
	static const size_t places[] = { 0, 4, 8, 16, 31, 32, 90, 131 };

	rdma_writer_put(&w, data, 100);
	rdma_reader_announce(&r, (uint32_t)carry());
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		in[places[i]] ^= 0x10;
		ck_assert_int_eq(rdma_reader_get(&r, got, 100), -EAGAIN);
		in[places[i]] ^= 0x10;
	}
	take(data, 100);
}
END_TEST

START_TEST(frames_of_others_are_not_taken)
{
	struct rdma_writer forger;

	ck_assert_int_eq(rdma_writer_init(&forger, in, other_key), 0);
	rdma_writer_put(&forger, data, 100);
	rdma_reader_announce(&r, 1);
	ck_assert_int_eq(rdma_reader_get(&r, got, 100), -EAGAIN);
	forger.clear = true;
	forger.head = forger.number = 0;
	rdma_writer_put(&forger, data, 100);
	ck_assert_int_eq(rdma_reader_get(&r, got, 100), -EAGAIN);
	r.clear = true; /* this reader was told that it may */
	take(data, 100);
	rdma_writer_fini(&forger);
}
END_TEST

START_TEST(an_old_frame_does_not_come_back)
{
	static uint8_t first[RDMA_FRAME_SIZE(100)];

	rdma_writer_put(&w, data, 100);
	memcpy(first, out, sizeof(first));
	rdma_reader_announce(&r, (uint32_t)carry());
	take(data, 100);
	memcpy(in + r.position, first, sizeof(first));
	rdma_reader_announce(&r, 2);
	ck_assert_int_eq(rdma_reader_get(&r, got, 100), -EAGAIN);
	first[8] = 2; /* with the number that is expected now */
	memcpy(in + r.position, first, sizeof(first));
	ck_assert_int_eq(rdma_reader_get(&r, got, 100), -EAGAIN);
}
END_TEST

START_TEST(who_is_out_of_credit_waits)
{
	unsigned n = 0;

	while (rdma_writer_put(&w, data, 1) == 1)
		n++;
	ck_assert_uint_eq(n, RDMA_SLOTS);
	while (rdma_writer_next(&w))
		rdma_reader_announce(&r, (uint32_t)carry());
	ck_assert_int_eq(rdma_writer_put(&w, data, 1), 0);
	for (n = 0; !rdma_reader_owes(&r); n++)
		take(data, 1);
	ck_assert_uint_eq(n, RDMA_SLOTS / 4);
	credit();
	for (n = 0; rdma_writer_put(&w, data, 1) == 1; n++)
		;
	ck_assert_uint_eq(n, RDMA_SLOTS / 4);
}
END_TEST

START_TEST(a_full_ring_is_not_written_over)
{
	unsigned n = 0;

	while (rdma_writer_put(&w, data, RDMA_FRAME) == RDMA_FRAME) {
		rdma_reader_announce(&r, (uint32_t)carry());
		n++;
	}
	ck_assert_uint_eq(n, RDMA_RING / RDMA_FRAME_SIZE(RDMA_FRAME));
	while (n--)
		take(data, RDMA_FRAME);
	ck_assert(rdma_reader_owes(&r));
	credit();
	ck_assert_int_eq(rdma_writer_put(&w, data, RDMA_FRAME), RDMA_FRAME);
}
END_TEST

START_TEST(credits_are_checked)
{
	uint8_t cell[RDMA_CELL], old[RDMA_CELL];
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < 4; i++) {
		rdma_writer_put(&w, data, 50);
		rdma_reader_announce(&r, (uint32_t)carry());
	}
	take(data, 50);
	ck_assert_int_eq(rdma_reader_credit(&r, old), 0);
	take(data, 50);
	ck_assert_int_eq(rdma_reader_credit(&r, cell), 0);
	for (unsigned i = 0; i < 48; i++) { /* damaged, or half of it */
		cell[i] ^= 1;
		ck_assert_int_le(rdma_writer_credit(&w, cell, &err), 0);
		ck_assert_uint_eq(w.kept_number, 0);
		cell[i] ^= 1;
	}
	ck_assert_int_eq(rdma_writer_credit(&w, cell, &err), 1);
	ck_assert_uint_eq(w.kept_number, 2);
	ck_assert_int_eq(rdma_writer_credit(&w, old, &err), 0); /* comes again */
	ck_assert_int_eq(rdma_writer_credit(&w, cell, &err), 0);
	ck_assert_uint_eq(w.kept, r.position);
}
END_TEST

/* The other side holds the key, and lies. */
START_TEST(a_credit_for_what_was_not_sent_is_an_error)
{
	uint8_t cell[RDMA_CELL];
	struct err err = ERR_INIT;

	rdma_writer_put(&w, data, 50);
	r.next = 5;
	ck_assert_int_eq(rdma_reader_credit(&r, cell), 0);
	ck_assert_int_eq(rdma_writer_credit(&w, cell, &err), -EBADMSG);
	r.next = 2;
	r.position = 32;
	ck_assert_int_eq(rdma_reader_credit(&r, cell), 0);
	ck_assert_int_eq(rdma_writer_credit(&w, cell, &err), -EBADMSG);
	ck_assert_uint_eq(w.kept, 0);
}
END_TEST

START_TEST(what_was_lost_goes_again_and_is_taken_once)
{
	static uint8_t frame[RDMA_FRAME_SIZE(50)];
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < 4; i++) {
		data[0] = (uint8_t)i;
		rdma_writer_put(&w, data, 50);
		carry();
	}
	rdma_reader_announce(&r, 2);
	data[0] = 0;
	take(data, 50);
	credit();
	memset(in + r.position + sizeof(frame), 0, RDMA_RING / 2); /* 3 and 4 did not arrive */
	rdma_writer_rewind(&w, 0);
	for (unsigned i = 1; i < 4; i++) {
		memcpy(frame, out + w.sent, sizeof(frame));
		ck_assert_int_eq(rdma_reader_place(&r, w.sent, frame, sizeof(frame), &err), 0);
		ck_assert_uint_eq(rdma_writer_sent(&w), i + 1);
		data[0] = (uint8_t)i;
		take(data, 50);
		/* and a second time */
		ck_assert_int_eq(rdma_reader_place(&r, w.sent, frame, sizeof(frame), &err), 0);
	}
	ck_assert_int_eq(rdma_reader_get(&r, got, 50), 0);
}
END_TEST

/* A queue pair that is on its way down may still write: not where frames of the other way stand. */
START_TEST(what_came_another_way_is_not_written_over)
{
	static uint8_t frame[RDMA_FRAME_SIZE(50)];
	struct err err = ERR_INIT;

	for (uint8_t i = 0; i < 3; i++) {
		data[0] = i;
		ck_assert_int_eq(rdma_writer_put(&w, data, 50), 50);
		memcpy(frame, out + w.sent, sizeof(frame));
		ck_assert_int_eq(rdma_reader_place(&r, w.sent, frame, sizeof(frame), &err), 0);
		rdma_writer_sent(&w);
	}
	memset(in, 0xa5, RDMA_RING);
	for (uint8_t i = 0; i < 3; i++) {
		data[0] = i;
		take(data, 50);
	}
	/* The next one comes over a queue pair again. */
	ck_assert_int_eq(rdma_writer_put(&w, data, 50), 50);
	rdma_reader_announce(&r, (uint32_t)carry());
	take(data, 50);
}
END_TEST

START_TEST(placed_frames_are_checked)
{
	struct err err = ERR_INIT;
	uint8_t frame[96] = { 50, 0, 0, 0, 0, 0, 0, 0, 1 };

	ck_assert_int_eq(rdma_reader_place(&r, 0, frame, 20, &err), -EBADMSG);
	ck_assert_int_eq(rdma_reader_place(&r, 0, frame, 64, &err), -EBADMSG);
	ck_assert_int_eq(rdma_reader_place(&r, RDMA_RING, frame, 96, &err), -EBADMSG);
	ck_assert_int_eq(rdma_reader_place(&r, UINT64_MAX - 40, frame, 96, &err), -EBADMSG);
	frame[8] = 0;
	frame[9] = 2; /* number 512 */
	ck_assert_int_eq(rdma_reader_place(&r, 0, frame, 96, &err), -EBADMSG);
	frame[9] = 0;
	frame[8] = 1;
	frame[3] = 0x7f;
	ck_assert_int_eq(rdma_reader_place(&r, 0, frame, 96, &err), -EBADMSG);
	ck_assert_uint_eq(r.announced, 0);
}
END_TEST

START_TEST(numbers_go_on_after_31_bits)
{
	w.number = w.kept_number = w.sent_number = (1ull << 31) - 3;
	r.next = w.number + 1;
	r.announced = w.number;
	for (unsigned i = 0; i < 6; i++) {
		rdma_writer_put(&w, data, 50);
		ck_assert_uint_eq(rdma_reader_announce(&r, (uint32_t)carry() & 0x7fffffff),
				  (1ull << 31) - 2 + i);
		take(data, 50);
	}
	ck_assert_uint_eq(rdma_reader_announce(&r, 1), 0); /* long ago */
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, every_size_at_every_place);
	tcase_add_test(tc, long_data_takes_several_frames_and_small_reads);
	tcase_add_test(tc, nothing_is_taken_before_it_is_announced);
	tcase_add_test(tc, a_torn_frame_is_waited_for);
	tcase_add_test(tc, the_ring_holds_no_plain_bytes);
	tcase_add_test(tc, a_changed_bit_is_noticed);
	tcase_add_test(tc, frames_of_others_are_not_taken);
	tcase_add_test(tc, an_old_frame_does_not_come_back);
	tcase_add_test(tc, who_is_out_of_credit_waits);
	tcase_add_test(tc, a_full_ring_is_not_written_over);
	tcase_add_test(tc, credits_are_checked);
	tcase_add_test(tc, a_credit_for_what_was_not_sent_is_an_error);
	tcase_add_test(tc, what_was_lost_goes_again_and_is_taken_once);
	tcase_add_test(tc, what_came_another_way_is_not_written_over);
	tcase_add_test(tc, placed_frames_are_checked);
	tcase_add_test(tc, numbers_go_on_after_31_bits);
}

UNIT_MAIN("rdma_ring", add_tests)
