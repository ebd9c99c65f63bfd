// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/rounds.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "record/pages.h"

#define LOOK_NS	   200000000ull /* time between two collections while there are pages to send */
#define PAGES_A_MS 50u		/* pages that any host can copy in a millisecond: 200 MB a second */
#define LAST_S	   2u	/* the link may need so many seconds for the pages left at the end ... */
#define LAST_MIN   256u /* ... and over any link so many pages may be left */
#define SHARE_ALL  1000u
#define SHARE_MIN  2u
#define SECOND	   1000000000ull

enum rounds_phase {
	ROUNDS_BEGIN, /* the vCPU thread is to start the collection */
	ROUNDS_FILL,  /* the set is filled with the pages in use */
	ROUNDS_SEND,
	ROUNDS_ASKED, /* the vCPU thread is to add what was written */
	ROUNDS_READY, /* few pages are left: the backup can join */
	ROUNDS_LAST,
};

struct rounds {
	struct memory *mem;
	uint64_t last_max; /* pages that can be copied in the pause */

	/* used by the thread that the phase names */
	atomic_uint phase;
	uint64_t *todo; /* pages that the backup lacks */
	uint64_t *full; /* pages that are not zero on the backup */
	uint64_t at;	/* page that the sweep has come to */
	uint64_t looked_ns;
	bool fresh;	    /* nothing was sent since the last look */
	uint64_t pages, ns; /* pages sent since the last look, and how long that took */
	/* pages of the last list that were not sent because the backup has them */
	unsigned skipped;
	struct have *have; /* what the backup has at the start; NULL: nothing is known */

	atomic_uint_fast64_t total, sent, kept, left, page_rate, dirty_rate;
	atomic_uint share, looks;
};

struct rounds *rounds_new(struct memory *mem, unsigned max_pause_ms)
{
	uint64_t words = page_set_words(mem->pages);
	struct rounds *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->mem = mem;
	r->last_max = (uint64_t)max_pause_ms * PAGES_A_MS;
	r->todo = calloc(words, sizeof(*r->todo));
	r->full = calloc(words, sizeof(*r->full));
	atomic_store(&r->share, SHARE_ALL);
	if (r->todo && r->full)
		return r;
	rounds_free(r);
	return NULL;
}

void rounds_backup_has(struct rounds *r, struct have *have)
{
	r->have = have;
}

void rounds_free(struct rounds *r)
{
	if (!r)
		return;
	free(r->todo);
	free(r->full);
	free(r);
}

static enum rounds_phase phase_of(const struct rounds *r)
{
	return (enum rounds_phase)atomic_load(&r->phase);
}

/* ---- sending ---- */

static void count(atomic_uint_fast64_t *n, uint64_t by)
{
	atomic_fetch_add(n, by);
}

/* Adds pages that are in use only on the backup: it must be told that they are zero here. */
static uint64_t add_what_backup_has(struct rounds *r)
{
	uint64_t pages = r->mem->pages, n = 0;

	for (uint64_t i = r->have ? have_next(r->have, 0) : pages; i < pages;
	     i = have_next(r->have, i + 1)) {
		n += !page_set_has(r->todo, i);
		page_set_add(r->todo, i);
		page_set_add(r->full, i);
	}
	return n;
}

/*
 * Fills the set with all pages in use. This may take long: pages written meanwhile are collected
 * for the next look.
 */
static void fill(struct rounds *r)
{
	const struct memory *m = r->mem;
	uint64_t n = 0;

	for (uint64_t i = memory_next_used(m, 0); i < m->pages; i = memory_next_used(m, i)) {
		uint64_t end = memory_next_unused(m, i);

		for (; i < end; i++, n++)
			page_set_add(r->todo, i);
	}
	n += add_what_backup_has(r);
	atomic_store(&r->total, n);
	atomic_store(&r->left, n);
}

/*
 * True: the backup already has this content of the page. In the last round this is not checked,
 * because hashing takes time while the guest stands still.
 */
static bool backup_has(struct rounds *r, uint64_t page, const void *data)
{
	if (!r->have)
		return false;
	if (phase_of(r) == ROUNDS_LAST)
		have_forget(r->have, page);
	return have_equal(r->have, page, data);
}

/*
 * Appends a page to the list; a page of zeros only if the backup has something else there. False:
 * the page was not appended, since the backup has it from an earlier join.
 */
static bool put_page(struct rounds *r, struct buf *out, uint64_t page)
{
	uint8_t data[PAGE_SIZE] __attribute__((aligned(8)));

	memory_copy_page(r->mem, page, data);
	if (backup_has(r, page, data))
		return false;
	if (!memory_page_is_zero(data)) {
		pages_put(out, page, data);
		page_set_add(r->full, page);
	} else if (page_set_has(r->full, page)) {
		pages_put(out, page, NULL);
		page_set_remove(r->full, page);
	}
	return true;
}

/* Pages from the place of the sweep to the end of memory, at most max. */
static unsigned sweep(struct rounds *r, struct buf *out, unsigned max)
{
	uint64_t pages = r->mem->pages, i = page_set_next(r->todo, pages, r->at);
	unsigned n = 0;

	r->skipped = 0;

	for (; i < pages && n < max; i = page_set_next(r->todo, pages, i + 1), n++) {
		page_set_remove(r->todo, i);
		if (!put_page(r, out, i))
			r->skipped++;
	}
	r->at = i < pages ? i : 0;
	count(&r->sent, n - r->skipped);
	count(&r->kept, r->skipped);
	atomic_fetch_sub(&r->left, n);
	return n;
}

/* True: there may be pages to send before the vCPU thread has to come by. */
static bool may_send(struct rounds *r, uint64_t now_ns)
{
	if (phase_of(r) == ROUNDS_FILL) {
		fill(r);
		atomic_store(&r->phase, ROUNDS_SEND);
	}
	return phase_of(r) == ROUNDS_SEND && (r->fresh || now_ns - r->looked_ns < LOOK_NS);
}

/*
 * True: the page may be sent in a run. Pages that the backup may already have are not: they are
 * compared by their hash.
 */
static bool is_for_run(const struct rounds *r, uint64_t page)
{
	return page < r->mem->pages && page_set_has(r->todo, page) &&
	       !(r->have && have_claims(r->have, page));
}

/*
 * Length of the run of pages that begins at first; 0 if it is shorter than min. Pages are read only
 * if enough adjacent ones are in the set.
 */
static unsigned run_length(const struct rounds *r, uint64_t first, unsigned min, unsigned max)
{
	uint8_t data[PAGE_SIZE] __attribute__((aligned(8)));
	unsigned n = 0;

	for (unsigned i = 0; i < min; i++) {
		if (!is_for_run(r, first + i))
			return 0;
	}
	for (; n < max && is_for_run(r, first + n); n++) {
		memory_copy_page(r->mem, first + n, data);
		if (memory_page_is_zero(data))
			break;
	}
	return n < min ? 0 : n;
}

unsigned rounds_next_run(struct rounds *r, unsigned min, unsigned max, uint64_t *first,
			 uint64_t now_ns)
{
	uint64_t pages = r->mem->pages;
	unsigned n;

	if (!may_send(r, now_ns))
		return 0;
	*first = page_set_next(r->todo, pages, r->at);
	n = run_length(r, *first, min, max);
	if (!n)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		page_set_remove(r->todo, *first + i);
		page_set_add(r->full, *first + i);
	}
	r->fresh = false;
	r->skipped = 0;
	r->at = *first + n < pages ? *first + n : 0;
	count(&r->sent, n);
	atomic_fetch_sub(&r->left, n);
	return n;
}

void rounds_put_back(struct rounds *r, uint64_t page)
{
	if (page_set_has(r->todo, page))
		return;
	page_set_add(r->todo, page);
	atomic_fetch_add(&r->left, 1);
}

unsigned rounds_next(struct rounds *r, struct buf *out, unsigned max, uint64_t now_ns)
{
	unsigned n = 0;

	if (may_send(r, now_ns)) {
		r->fresh = false;
		n = sweep(r, out, max);
		if (!n && atomic_load(&r->left)) /* the sweep starts again from page 0 */
			n = sweep(r, out, max);
	}
	if (!n && phase_of(r) == ROUNDS_SEND)
		atomic_store(&r->phase, ROUNDS_ASKED);
	return n;
}

void rounds_sent(struct rounds *r, unsigned pages, uint64_t ns)
{
	if (phase_of(r) != ROUNDS_SEND || pages <= r->skipped)
		return;
	r->pages += pages - r->skipped;
	r->ns += ns;
}

bool rounds_waits_for_vcpu(const struct rounds *r)
{
	enum rounds_phase p = phase_of(r);

	return p == ROUNDS_BEGIN || p == ROUNDS_ASKED;
}

/* ---- looking ---- */

static uint64_t set_count(const uint64_t *set, uint64_t pages)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < page_set_words(pages); i++)
		n += (uint64_t)__builtin_popcountll(set[i]);
	return n;
}

/*
 * Updates the rate at which pages are sent: the mean of the old value and what was measured since.
 */
static void learn_page_rate(struct rounds *r)
{
	uint64_t before = atomic_load(&r->page_rate), now;

	if (!r->pages || !r->ns)
		return;
	now = (uint64_t)((double)r->pages * (double)SECOND / (double)r->ns) + 1;
	atomic_store(&r->page_rate, before ? (before + now) / 2 : now);
	r->pages = r->ns = 0;
}

/*
 * Chooses the guest's share of the time such that it writes pages at most half as fast as they can
 * be sent. The measured rate of writing falls as the share falls; so the share is changed by
 * factors, and recovers slowly.
 */
static void choose_share(struct rounds *r)
{
	uint64_t send = atomic_load(&r->page_rate), dirty = atomic_load(&r->dirty_rate);
	uint64_t share = atomic_load(&r->share);

	if (!send)
		return;
	if (2 * dirty > send)
		share = share * send / (2 * dirty);
	else if (4 * dirty < send)
		share += share / 4 + 1;
	share = share < SHARE_MIN ? SHARE_MIN : share > SHARE_ALL ? SHARE_ALL : share;
	atomic_store(&r->share, (unsigned)share);
}

/*
 * True: so few pages are left that the guest may stand still for them, and the link is through with
 * them soon.
 */
static bool is_little(const struct rounds *r, uint64_t left)
{
	uint64_t soon = LAST_S * atomic_load(&r->page_rate);

	return left <= r->last_max && left <= (soon < LAST_MIN ? LAST_MIN : soon);
}

static void collect(struct rounds *r, uint64_t now_ns)
{
	uint64_t written = memory_collect(r->mem, r->todo), ns = now_ns - r->looked_ns, left;

	r->looked_ns = now_ns;
	r->fresh = true;
	left = set_count(r->todo, r->mem->pages);
	atomic_store(&r->left, left);
	atomic_store(&r->dirty_rate,
		     ns ? (uint64_t)((double)written * (double)SECOND / (double)ns) : 0);
	atomic_fetch_add(&r->looks, 1);
	learn_page_rate(r);
	if (is_little(r, left)) {
		atomic_store(&r->phase, ROUNDS_READY);
		return;
	}
	choose_share(r);
	atomic_store(&r->phase, ROUNDS_SEND);
}

bool rounds_look(struct rounds *r, uint64_t now_ns)
{
	switch (phase_of(r)) {
	case ROUNDS_BEGIN:
		memory_collect_begin(r->mem);
		r->looked_ns = now_ns;
		r->fresh = true;
		atomic_store(&r->phase, ROUNDS_FILL);
		return false;
	case ROUNDS_ASKED:
	case ROUNDS_READY: /* the guest has run since: check that little is still left */
		collect(r, now_ns);
		return phase_of(r) == ROUNDS_READY;
	default:
		return false;
	}
}

void rounds_allow_more(struct rounds *r)
{
	if (2 * r->last_max <= ROUNDS_PAGES_MAX)
		r->last_max *= 2;
}

void rounds_finish(struct rounds *r)
{
	must(phase_of(r) == ROUNDS_READY);
	memory_collect(r->mem, r->todo);
	memory_collect_end(r->mem);
	atomic_store(&r->left, set_count(r->todo, r->mem->pages));
	atomic_store(&r->share, SHARE_ALL);
	r->at = 0;
	atomic_store(&r->phase, ROUNDS_LAST);
}

unsigned rounds_last(struct rounds *r, struct buf *out, unsigned max)
{
	must(phase_of(r) == ROUNDS_LAST);
	return atomic_load(&r->left) ? sweep(r, out, max) : 0;
}

/* ---- what is to be seen ---- */

unsigned rounds_share(const struct rounds *r)
{
	return atomic_load(&r->share);
}

void rounds_get_progress(const struct rounds *r, struct rounds_progress *p)
{
	*p = (struct rounds_progress){ .total = atomic_load(&r->total),
				       .sent = atomic_load(&r->sent),
				       .kept = atomic_load(&r->kept),
				       .left = atomic_load(&r->left),
				       .page_rate = atomic_load(&r->page_rate),
				       .dirty_rate = atomic_load(&r->dirty_rate),
				       .share = atomic_load(&r->share),
				       .looks = atomic_load(&r->looks) };
}
