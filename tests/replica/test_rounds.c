// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory that goes ahead in rounds, over a link that is made of numbers: a guest writes so many
 * pages a second, the link takes so many. The backup's copy is equal in the end, whatever happened
 * on the way.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "record/pages.h"
#include "replica/rounds.h"
#include "tests/unit.h"

#define MS	  1000000ull
#define SECOND	  1000000000ull
#define PAGES	  16384ul /* 64 MiB */
#define MAX_PAUSE 50u
#define FRAME	  64u

struct world {
	struct memory mem;
	uint8_t *copy; /* the backup's */
	struct rounds *r;
	uint64_t now_ns, seed;
	uint64_t link;	   /* pages a second */
	uint64_t appetite; /* pages a second that the guest writes when it runs all the time ... */
	uint64_t first, span; /* ... of these */
	bool runs;	      /* pages that stand side by side go as they stand */
	double owed;	      /* pages that it would have written by now */
	uint64_t sent, frames_bytes;
	unsigned least_share;
};

static uint64_t rnd(struct world *w, uint64_t n)
{
	w->seed = w->seed * 6364136223846793005 + 1442695040888963407;
	return (w->seed >> 33) % n;
}

static void touch(struct world *w, uint64_t page)
{
	uint64_t v = rnd(w, UINT32_MAX) + 1;

	ck_assert(memory_write(&w->mem, page * PAGE_SIZE + 8 * rnd(w, 512), &v, 8));
}

/* used: pages with something in them at the start. */
static void begin(struct world *w, uint64_t used, uint64_t link, uint64_t appetite, uint64_t span)
{
	struct err err = ERR_INIT;

	*w = (struct world){ .seed = 1, .link = link, .appetite = appetite, .span = span };
	w->least_share = 1000;
	w->now_ns = 77 * SECOND;
	ck_assert_int_eq(memory_init(&w->mem, PAGES * PAGE_SIZE, &err), 0);
	w->copy = calloc(PAGES, PAGE_SIZE);
	for (uint64_t i = 0; i < used; i++)
		touch(w, i);
	w->r = rounds_new(&w->mem, MAX_PAUSE);
	ck_assert_ptr_nonnull(w->r);
}

static void end(struct world *w)
{
	rounds_free(w->r);
	free(w->copy);
	memory_fini(&w->mem);
}

/* Time goes by, and the guest runs in its share of it. */
static void pass(struct world *w, uint64_t ns)
{
	unsigned share = rounds_share(w->r);

	w->least_share = share < w->least_share ? share : w->least_share;
	w->now_ns += ns;
	w->owed += (double)w->appetite * share / 1000 * (double)ns / (double)SECOND;
	for (; w->owed >= 1; w->owed--)
		touch(w, w->first + rnd(w, w->span));
}

/* The backup takes a list of pages. */
static void deliver(struct world *w, struct buf *b)
{
	struct rd in = RD_INIT(b->data, b->len);

	ck_assert(!b->bad);
	while (rd_left(&in)) {
		struct page p;

		ck_assert_int_eq(pages_get(&in, 0, PAGES, &p), 0);
		if (p.data)
			memcpy(w->copy + p.number * PAGE_SIZE, p.data, PAGE_SIZE);
		else
			memset(w->copy + p.number * PAGE_SIZE, 0, PAGE_SIZE);
	}
	w->frames_bytes += b->len;
	buf_clear(b);
}

/* A run goes as it stands; some of its pages are said to have been written meanwhile. */
static unsigned deliver_run(struct world *w)
{
	uint64_t first;
	unsigned n = rounds_next_run(w->r, 16, 256, &first, w->now_ns);

	for (unsigned i = 0; i < n; i++) {
		if (rnd(w, 50) == 0)
			rounds_put_back(w->r, first + i);
		else
			memcpy(w->copy + (first + i) * PAGE_SIZE,
			       w->mem.base + (first + i) * PAGE_SIZE, PAGE_SIZE);
	}
	return n;
}

/* One turn of the sender and of the vCPU thread; true: the backup can join. */
static bool turn(struct world *w, struct buf *b)
{
	unsigned n = w->runs ? deliver_run(w) : 0;
	uint64_t ns;

	if (!n)
		n = rounds_next(w->r, b, FRAME, w->now_ns);
	ns = n * SECOND / w->link;

	if (n) {
		pass(w, ns);
		rounds_sent(w->r, n, ns);
		w->sent += n;
		deliver(w, b);
		return false;
	}
	pass(w, MS);
	return rounds_look(w->r, w->now_ns);
}

/* Rounds until the backup can join, then the last one; returns how many pages were left for that.
 */
static uint64_t join(struct world *w, uint64_t patience_s)
{
	uint64_t until = w->now_ns + patience_s * SECOND, last = 0;
	struct buf b = BUF_INIT;
	unsigned n;

	while (!turn(w, &b))
		ck_assert_uint_lt(w->now_ns, until);
	rounds_finish(w->r);
	while ((n = rounds_last(w->r, &b, FRAME))) {
		last += n;
		deliver(w, &b);
	}
	buf_free(&b);
	ck_assert(memcmp(w->copy, w->mem.base, PAGES * PAGE_SIZE) == 0);
	ck_assert_uint_eq(memory_next_undigested(&w->mem, 0) < PAGES, w->appetite || w->sent);
	return last;
}

START_TEST(an_idle_guest_is_sent_once)
{
	struct rounds_progress p;
	struct world w;

	begin(&w, 5000, 100000, 0, 1);
	ck_assert_uint_eq(join(&w, 10), 0);
	rounds_get_progress(w.r, &p);
	ck_assert_uint_eq(w.sent, 5000);
	ck_assert_uint_eq(p.total, 5000);
	ck_assert_uint_eq(p.sent, 5000);
	ck_assert_uint_eq(p.left, 0);
	ck_assert_uint_eq(w.least_share, 1000);
	end(&w);
}
END_TEST

START_TEST(a_guest_that_writes_less_than_the_link_takes_is_not_slowed_down)
{
	struct world w;

	begin(&w, 10000, 50000, 8000, 10000);
	ck_assert_uint_le(join(&w, 10), MAX_PAUSE * 50);
	ck_assert_uint_lt(w.sent, 2 * 10000);
	ck_assert_uint_eq(w.least_share, 1000);
	end(&w);
}
END_TEST

/* Five times, and four hundred times, what the link takes; all over its memory. */
START_TEST(a_guest_that_writes_more_is_slowed_down_until_it_fits)
{
	static const uint64_t appetite[] = { 100000, 8000000 };
	struct world w;

	begin(&w, PAGES, 20000, appetite[_i], PAGES);
	ck_assert_uint_le(join(&w, 60), MAX_PAUSE * 50);
	ck_assert_uint_lt(w.least_share, 600);
	ck_assert_uint_ge(w.least_share, 2);
	ck_assert_uint_eq(rounds_share(w.r), 1000); /* it runs freely again */
	end(&w);
}
END_TEST

START_TEST(over_a_slow_link_little_is_left_for_the_end)
{
	struct world w;

	begin(&w, 3000, 60, 20, 500);
	ck_assert_uint_le(join(&w, 600), 256);
	end(&w);
}
END_TEST

START_TEST(pages_that_become_zero_are_zero_on_the_other_side)
{
	struct buf b = BUF_INIT;
	struct world w;

	begin(&w, 2000, 100000, 0, 1);
	for (unsigned i = 0; i < 40; i++) /* begun, and some were sent */
		turn(&w, &b);
	ck_assert_uint_gt(w.sent, 1000);
	ck_assert(memory_zero(&w.mem, 100 * PAGE_SIZE, 800 * PAGE_SIZE));
	ck_assert(memory_zero(&w.mem, 4000 * PAGE_SIZE, 800 * PAGE_SIZE)); /* and never was not */
	buf_free(&b);
	ck_assert_uint_le(join(&w, 10), MAX_PAUSE * 50);
	ck_assert_uint_lt(w.frames_bytes, 2000 * (PAGE_SIZE + 3) + 800 * 3 + 1);
	end(&w);
}
END_TEST

START_TEST(runs_of_pages_go_as_they_stand)
{
	struct world w;

	begin(&w, 10000, 50000, 8000, 10000);
	w.runs = true;
	ck_assert_uint_le(join(&w, 20), MAX_PAUSE * 50);
	ck_assert_uint_lt(w.frames_bytes, 9000 * PAGE_SIZE);
	end(&w);
}
END_TEST

/* What was put there as it stood, and is zero by now. */
START_TEST(pages_of_a_run_that_become_zero)
{
	struct buf b = BUF_INIT;
	struct world w;

	begin(&w, 2000, 100000, 0, 1);
	w.runs = true;
	for (unsigned i = 0; i < 10; i++)
		turn(&w, &b);
	ck_assert_uint_gt(w.sent, 1000);
	ck_assert(memory_zero(&w.mem, 100 * PAGE_SIZE, 800 * PAGE_SIZE));
	buf_free(&b);
	ck_assert_uint_le(join(&w, 10), MAX_PAUSE * 50);
	end(&w);
}
END_TEST

static int take_list(void *have, struct buf *message)
{
	struct err err = ERR_INIT;

	return have_take(have, message->data, message->len, &err);
}

/*
 * What a backup has from a join that was cut: pages as they are, older ones, and some where the
 * guest has zeros by now, or has never been.
 */
static struct have *keep_some(struct world *w, uint64_t used)
{
	struct have *have = have_new(PAGES);
	struct err err = ERR_INIT;
	struct memory kept;
	uint64_t n;

	ck_assert_int_eq(memory_init(&kept, PAGES * PAGE_SIZE, &err), 0);
	for (uint64_t i = 0; i < used; i++) {
		const uint8_t *page = w->mem.base + i * PAGE_SIZE;

		ck_assert(memory_write(&kept, i * PAGE_SIZE, page, PAGE_SIZE));
		if (i % 4 == 0)
			ck_assert(memory_write(&kept, i * PAGE_SIZE, "older", 5));
	}
	for (uint64_t i = 0; i < 500; i++)
		ck_assert(memory_write(&kept, (PAGES - 500 + i) * PAGE_SIZE, "gone", 4));
	memcpy(w->copy, kept.base, PAGES * PAGE_SIZE);
	ck_assert_int_eq(have_tell(&kept, take_list, have, &n, &err), 0);
	ck_assert_uint_eq(n, used + 500);
	memory_fini(&kept);
	rounds_backup_has(w->r, have);
	return have;
}

START_TEST(what_the_backup_has_is_not_sent_again)
{
	struct rounds_progress p;
	struct have *have;
	struct world w;

	begin(&w, 8000, 100000, 0, 1);
	w.runs = _i;
	have = keep_some(&w, 8000);
	join(&w, 10);
	rounds_get_progress(w.r, &p);
	ck_assert_uint_eq(p.total, 8000 + 500);
	ck_assert_uint_eq(p.kept, 6000);
	ck_assert_uint_eq(p.sent, 2000 + 500);
	ck_assert_uint_lt(w.frames_bytes, 2100 * PAGE_SIZE);
	end(&w);
	have_free(have);
}
END_TEST

/* Pages that were equal once are sent when the guest has written them since. */
START_TEST(what_the_backup_has_and_the_guest_writes)
{
	struct rounds_progress p;
	struct have *have;
	struct world w;

	begin(&w, 12000, 50000, 20000, 12000);
	w.runs = _i;
	have = keep_some(&w, 12000);
	join(&w, 30);
	rounds_get_progress(w.r, &p);
	ck_assert_uint_gt(p.kept, 0);
	ck_assert_uint_le(p.kept, 9000);
	end(&w);
	have_free(have);
}
END_TEST

/* The disks are not done when memory is: what is little may be much by the time they are. */
START_TEST(readiness_does_not_last)
{
	struct buf b = BUF_INIT;
	struct world w;

	begin(&w, 2000, 100000, 0, 1);
	while (!turn(&w, &b))
		;
	for (uint64_t i = 0; i < 8000; i++)
		touch(&w, i);
	ck_assert(!rounds_look(w.r, w.now_ns + SECOND));
	buf_free(&b);
	ck_assert_uint_le(join(&w, 10), MAX_PAUSE * 50);
	end(&w);
}
END_TEST

/* ---- two threads ---- */

struct sender {
	struct world *w;
	pthread_t thread;
	atomic_bool done;
	atomic_uint_fast64_t now_ns;
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	struct buf b = BUF_INIT;

	while (!atomic_load(&s->done)) {
		if (rounds_next(s->w->r, &b, FRAME, atomic_load(&s->now_ns))) {
			rounds_sent(s->w->r, FRAME, MS);
			deliver(s->w, &b);
		}
	}
	buf_free(&b);
	return NULL;
}

/* The guest writes all the time; nothing that was written is lost between the two. */
START_TEST(a_sender_beside_a_guest_that_writes)
{
	struct sender s = { 0 };
	struct buf b = BUF_INIT;
	struct world w;
	uint64_t t;

	begin(&w, 4000, 1, 0, 1);
	s.w = &w;
	ck_assert_int_eq(pthread_create(&s.thread, NULL, send_all, &s), 0);
	do {
		/* For a while: no share slows it down here. */
		for (unsigned i = 0; i < 40 && atomic_load(&s.now_ns) < 2000 * MS; i++)
			touch(&w, rnd(&w, PAGES));
		t = atomic_fetch_add(&s.now_ns, MS);
		sched_yield();
	} while (!rounds_look(w.r, t));
	rounds_finish(w.r);
	atomic_store(&s.done, true);
	pthread_join(s.thread, NULL);
	while (rounds_last(w.r, &b, FRAME))
		deliver(&w, &b);
	buf_free(&b);
	ck_assert(memcmp(w.copy, w.mem.base, PAGES * PAGE_SIZE) == 0);
	end(&w);
}
END_TEST

static void add(TCase *tc)
{
	unit_mostly_waits();
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, an_idle_guest_is_sent_once);
	tcase_add_test(tc, a_guest_that_writes_less_than_the_link_takes_is_not_slowed_down);
	tcase_add_loop_test(tc, a_guest_that_writes_more_is_slowed_down_until_it_fits, 0, 2);
	tcase_add_test(tc, over_a_slow_link_little_is_left_for_the_end);
	tcase_add_test(tc, pages_that_become_zero_are_zero_on_the_other_side);
	tcase_add_test(tc, runs_of_pages_go_as_they_stand);
	tcase_add_test(tc, pages_of_a_run_that_become_zero);
	tcase_add_loop_test(tc, what_the_backup_has_is_not_sent_again, 0, 2);
	tcase_add_loop_test(tc, what_the_backup_has_and_the_guest_writes, 0, 2);
	tcase_add_test(tc, readiness_does_not_last);
	tcase_add_test(tc, a_sender_beside_a_guest_that_writes);
}

UNIT_MAIN("rounds", add)
