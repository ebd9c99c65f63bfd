// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pages by writes from memory into memory: of a guest that runs into that of a backup that joins.
 *
 *     placer                                  the other one
 *     registers these pages, for reading
 *     WINDOW  where, how many          ->     registers the same ones, for writing
 *                                      <-     OPENED  address, key
 *     checksums; writes, until they are done; checksums again
 *     a frame of checksums in the ring ->     compares them with what is in its memory
 *
 * A page whose checksum is another one behind the write was written meanwhile: it is not in the
 * frame, and the caller sends it again. So the frame has only pages that arrived as they were, and
 * a checksum that differs is damage.
 *
 * Pages are not placed while an earlier frame may be unread that may hold the same page or its
 * checksum: where a sweep begins anew, or other frames were sent since, all is to be read first. So
 * much is pinned as one window has, and not for longer than it is used, on both sides.
 *
 * Writes cannot be sealed. Where frames are, pages go in frames.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "net/rdma_private.h"

#define PIECE	     (64u << 10) /* bytes of a write */
#define PATIENCE     1000	 /* ms until an answer comes, or all is read */
#define LOOK_NS	     20000	 /* between two looks for it */
#define SUM_BYTES    16u	 /* u64 page, u64 checksum */
#define WINDOW_BYTES ((uint64_t)PEER_PLACE * PEER_PAGE)

_Static_assert(PEER_PLACE *SUM_BYTES <= RDMA_FRAME, "checksums of one call fit into a frame");

static void memory_drop(struct rdma_peer *p, struct verbs_memory **m)
{
	if (*m)
		p->verbs->memory_remove(*m);
	*m = NULL;
}

void rdma_place_reset(struct rdma_peer *p)
{
	memory_drop(p, &p->place.own);
	memory_drop(p, &p->place.theirs);
	p->place.state = WINDOW_NONE;
}

/* The race with the vCPU is meant: checksums before and behind the write tell of it. */
static uint64_t page_sum(const uint8_t *page)
{
	uint64_t copy[PEER_PAGE / 8];

	for (unsigned i = 0; i < PEER_PAGE / 8; i++)
		copy[i] =
			__atomic_load_n((const uint64_t *)(const void *)page + i, __ATOMIC_RELAXED);
	return XXH3_64bits(copy, sizeof(copy));
}

/* ---- the side that is written to ---- */

static bool window_fits(const struct rdma_place *w, uint64_t at, uint64_t n)
{
	return w->memory && n && n <= WINDOW_BYTES && at % PEER_PAGE == 0 && n % PEER_PAGE == 0 &&
	       at <= w->size && n <= w->size - at;
}

static void say_opened(struct rdma_peer *p, uint64_t at, uint64_t n, uint32_t key)
{
	struct buf b = BUF_INIT;

	buf_put_u32(&b, p->lane);
	buf_put_u64(&b, at);
	buf_put_u64(&b, n);
	buf_put_u64(&b, n ? (uintptr_t)(p->place.memory + at) : 0);
	buf_put_u32(&b, key);
	if (b.bad)
		rdma_path_fail(p, "out of memory", ENOMEM);
	else
		rdma_path_say(p, RDMA_OPENED, b.data, b.len);
	buf_free(&b);
}

static void take_window(struct rdma_peer *p, struct rd *in)
{
	uint64_t at = rd_u64(in), n = rd_u64(in);
	struct rdma_place *w = &p->place;
	struct err err = ERR_INIT;
	uint32_t key = 0;

	if (in->bad || rd_left(in)) {
		rdma_path_fail(p, "a window for pages is damaged", EBADMSG);
		return;
	}
	memory_drop(p, &w->theirs);
	if (p->clear && window_fits(w, at, n))
		w->theirs = p->verbs->memory_add(p->device, w->memory + at, n, true, &key, &err);
	if (err.code)
		log_try(LOG_WARN, "pages come in frames: %s", err.text);
	say_opened(p, at, w->theirs ? n : 0, key);
}

int rdma_place_sums(void *peer, const uint8_t *data, size_t n)
{
	struct rdma_peer *p = peer;
	struct rd in = RD_INIT(data, n);
	char text[100];

	p->owes = true; /* who wrote it may be waiting until it is read */
	while (rd_left(&in) >= SUM_BYTES) {
		uint64_t page = rd_u64(&in), sum = rd_u64(&in);

		if (!p->clear || !p->place.memory || page >= p->place.size / PEER_PAGE)
			return -EBADMSG;
		if (page_sum(p->place.memory + page * PEER_PAGE) == sum)
			continue;
		snprintf(text, sizeof(text),
			 "page %" PRIu64 " was written by RDMA, and has another checksum", page);
		rdma_path_fail(p, text, EBADMSG);
		return -EBADMSG;
	}
	return 0;
}

/* ---- the side that writes ---- */

static void take_opened(struct rdma_peer *p, struct rd *in)
{
	uint64_t at = rd_u64(in), n = rd_u64(in), to = rd_u64(in);
	struct rdma_place *w = &p->place;
	uint32_t key = rd_u32(in);

	if (in->bad || rd_left(in)) {
		rdma_path_fail(p, "an opened window is damaged", EBADMSG);
		return;
	}
	if (w->state != WINDOW_ASKED || at != w->at)
		return;
	w->state = n == w->len ? WINDOW_OPEN : WINDOW_REFUSED;
	w->to = to;
	w->to_key = key;
}

void rdma_place_take(struct rdma_peer *p, enum rdma_message kind, struct rd *in)
{
	if (kind == RDMA_WINDOW)
		take_window(p, in);
	else
		take_opened(p, in);
}

/* Gives the lock away for a moment. False: the queue pair is another one, or there is an end. */
static bool place_nap(struct rdma_peer *p, uint64_t drops, unsigned ready)
{
	pthread_mutex_unlock(&p->lock);
	host_sleep_ns(LOOK_NS);
	pthread_mutex_lock(&p->lock);
	rdma_path_pump(p, ready);
	return p->drops == drops && p->state == PATH_UP && !p->ended && !p->error &&
	       !p->out_error && !atomic_load(&p->over);
}

static int place_open(struct rdma_peer *p, uint64_t at, uint64_t n)
{
	int64_t until = host_mono_ms() + PATIENCE;
	struct rdma_place *w = &p->place;
	struct err err = ERR_INIT;
	uint64_t drops = p->drops;
	struct buf b = BUF_INIT;

	memory_drop(p, &w->own);
	w->own = p->verbs->memory_add(p->device, w->memory + at, n, false, &w->own_key, &err);
	if (!w->own) {
		log_try(LOG_WARN, "pages go in frames: %s", err.text);
		w->state = WINDOW_REFUSED;
		return -EAGAIN;
	}
	w->at = at;
	w->len = n;
	w->state = WINDOW_ASKED;
	buf_put_u32(&b, p->lane);
	buf_put_u64(&b, at);
	buf_put_u64(&b, n);
	if (!b.bad)
		rdma_path_say(p, RDMA_WINDOW, b.data, b.len);
	buf_free(&b);
	rdma_path_pump(p, 0);
	while (w->state == WINDOW_ASKED && host_mono_ms() < until) {
		if (!place_nap(p, drops, READY_CONTROL))
			return -EAGAIN;
	}
	if (w->state == WINDOW_ASKED) /* until there is another queue pair */
		w->state = WINDOW_REFUSED;
	return w->state == WINDOW_OPEN && p->drops == drops ? 0 : -EAGAIN;
}

/* All of the window is written, and is there. */
static int place_write(struct rdma_peer *p)
{
	const struct rdma_place *w = &p->place;
	uint64_t drops = p->drops, posted;

	for (uint64_t at = 0; at < w->len; at += PIECE) {
		struct verbs_write v = { .from = w->memory + w->at + at,
					 .from_key = w->own_key,
					 .len = (uint32_t)(w->len - at < PIECE ? w->len - at
									       : PIECE),
					 .to = w->to + at,
					 .to_key = w->to_key };

		if (!rdma_path_write(p, &v))
			return -EAGAIN;
	}
	posted = p->posted;
	do {
		rdma_path_pump(p, 0);
		if (p->drops == drops && p->finished >= posted)
			return 0;
	} while (place_nap(p, drops, 0));
	return -EAGAIN;
}

/*
 * A frame of checksums, when there is room. All frames up to w->clean are read, or hold checksums
 * of this sweep.
 */
static int place_tell(struct rdma_peer *p, const void *sums, size_t n)
{
	int64_t until = host_mono_ms() + PATIENCE;
	uint64_t drops = p->drops;

	while (!rdma_writer_put_sums(&p->writer, sums, n)) {
		if (host_mono_ms() >= until || !place_nap(p, drops, 0))
			return -EAGAIN;
	}
	p->place.clean += p->place.clean + 1 == p->writer.number;
	rdma_path_pump(p, 0);
	return 0;
}

/* What was sent before has to be read: this frame is when the bytes before it are received. */
static int place_settle(struct rdma_peer *p)
{
	int64_t until = host_mono_ms() + PATIENCE;
	uint64_t drops = p->drops, number;
	uint8_t none = 0;

	if (place_tell(p, &none, sizeof(none)) < 0)
		return -EAGAIN;
	number = p->writer.number;
	while (p->writer.kept_number < number) {
		if (host_mono_ms() >= until || !place_nap(p, drops, 0))
			return -EAGAIN;
	}
	p->place.clean = number;
	return 0;
}

static void sums_of(struct rdma_peer *p, const uint8_t *at, unsigned n, uint64_t *sums)
{
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < n; i++)
		sums[i] = page_sum(at + i * PEER_PAGE);
	pthread_mutex_lock(&p->lock);
}

/* Checksums of pages that are the same before and behind the write; a bit for each other one. */
static size_t compare(uint64_t page, unsigned n, const uint64_t *before, const uint64_t *behind,
		      uint64_t *list, uint64_t *changed)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		if (before[i] != behind[i]) {
			changed[i / 64] |= 1ull << (i % 64);
			continue;
		}
		list[len++] = page + i;
		list[len++] = before[i];
	}
	return len * sizeof(*list);
}

static int place(struct rdma_peer *p, uint64_t page, unsigned n, uint64_t *changed)
{
	uint64_t before[PEER_PLACE], behind[PEER_PLACE], list[2 * PEER_PLACE];
	struct rdma_place *w = &p->place;
	const uint8_t *memory = w->memory + page * PEER_PAGE;
	uint64_t drops = p->drops;
	size_t len;
	int ret = 0;

	if (page < w->next || w->clean != p->writer.number)
		ret = place_settle(p);
	if (ret == 0 && p->drops == drops)
		ret = place_open(p, page * PEER_PAGE, (uint64_t)n * PEER_PAGE);
	if (ret < 0)
		return ret;
	w->next = page + n;
	sums_of(p, memory, n, before);
	if (p->drops != drops || place_write(p) < 0)
		return -EAGAIN;
	sums_of(p, memory, n, behind);
	len = compare(page, n, before, behind, list, changed);
	w->pages += len / SUM_BYTES;
	return len ? place_tell(p, list, len) : 0;
}

/* The first queue pair is being made: no attempt has failed yet. */
static bool is_coming(const struct rdma_peer *p)
{
	return p->clear && (!p->met || p->writer.clear) && !p->why[0] && !p->ended && !p->error;
}

static enum peer_places may_place(const struct rdma_peer *p)
{
	if (!p->place.memory || p->place.state == WINDOW_REFUSED)
		return PEER_PLACES_NOT;
	if (p->state == PATH_UP)
		return p->writer.clear ? PEER_PLACES_NOW : PEER_PLACES_NOT;
	return is_coming(p) ? PEER_PLACES_SOON : PEER_PLACES_NOT;
}

enum peer_places rdma_places(struct peer *base)
{
	struct rdma_peer *p = rdma_peer_of(base);
	enum peer_places may;

	pthread_mutex_lock(&p->lock);
	may = may_place(p);
	pthread_mutex_unlock(&p->lock);
	return may;
}

int rdma_place(struct peer *base, uint64_t page, unsigned n, uint64_t *changed)
{
	struct rdma_peer *p = rdma_peer_of(base);
	const struct rdma_place *w = &p->place;
	int ret = -EAGAIN;

	pthread_mutex_lock(&p->lock);
	must(n <= PEER_PLACE && (!w->memory || page + n <= w->size / PEER_PAGE));
	memset(changed, 0, PEER_PLACE / 8);
	if (n && may_place(p) == PEER_PLACES_NOW)
		ret = place(p, page, n, changed);
	pthread_mutex_unlock(&p->lock);
	return ret;
}

void rdma_share(struct peer *base, void *memory, uint64_t n)
{
	struct rdma_peer *p = rdma_peer_of(base);

	pthread_mutex_lock(&p->lock);
	p->drops++; /* nothing is placed any more that was begun */
	rdma_place_reset(p);
	p->place.memory = memory;
	p->place.size = memory ? n : 0;
	pthread_mutex_unlock(&p->lock);
}
