// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/rdma_ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define TAG 16

/* First word of a nonce: one key serves a direction's frames and the credits that answer there. */
enum nonce_kind { NONCE_FRAME = 0, NONCE_CREDIT = 1 };

struct frame_header {
	uint32_t len, flags;
	uint64_t number;
	uint8_t tag[TAG];
};
_Static_assert(sizeof(struct frame_header) == RDMA_HEADER, "frame header layout");
_Static_assert(RDMA_RING % RDMA_UNIT == 0 && RDMA_HEADER % RDMA_UNIT == 0,
	       "a header is never cut by the ring's end");
_Static_assert(RDMA_RING / 4 + RDMA_FRAME_SIZE(RDMA_FRAME) <= RDMA_RING,
	       "a writer without room is owed a credit");

/* A reader's message: it has read so many frames, up to this position. */
struct credit {
	uint64_t count, number, position, zero;
	uint8_t tag[TAG];
	uint8_t pad[16];
};
_Static_assert(sizeof(struct credit) == RDMA_CELL, "credit layout");

#define HEADER_AAD (sizeof(struct frame_header) - TAG)
#define CREDIT_AAD 32

/* ---- sealing ---- */

static EVP_CIPHER_CTX *seal_new(const uint8_t *key, bool encrypt)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

	if (c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) == 1)
		return c;
	EVP_CIPHER_CTX_free(c);
	return NULL;
}

/* Begins a message; the context keeps its key. */
static bool seal_begin(EVP_CIPHER_CTX *c, bool encrypt, enum nonce_kind kind, uint64_t number,
		       const void *aad, size_t n)
{
	uint32_t first = kind;
	uint8_t nonce[12];
	int len;

	memcpy(nonce, &first, 4);
	memcpy(nonce + 4, &number, 8);
	return EVP_CipherInit_ex(c, NULL, NULL, NULL, nonce, encrypt) == 1 &&
	       EVP_CipherUpdate(c, NULL, &len, aad, (int)n) == 1;
}

static bool seal_finish(EVP_CIPHER_CTX *c, uint8_t tag[TAG])
{
	uint8_t none[16];
	int len;

	return EVP_CipherFinal_ex(c, none, &len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1;
}

static bool seal_check(EVP_CIPHER_CTX *c, const uint8_t tag[TAG])
{
	uint8_t none[16], copy[TAG];
	int len;

	memcpy(copy, tag, TAG);
	return EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, copy) == 1 &&
	       EVP_CipherFinal_ex(c, none, &len) == 1;
}

/* ---- places ---- */

unsigned rdma_pieces(uint64_t position, size_t len, struct rdma_piece piece[2])
{
	uint32_t at = (uint32_t)(position % RDMA_RING), first = RDMA_RING - at;

	if (len <= first) {
		piece[0] = (struct rdma_piece){ at, (uint32_t)len };
		return 1;
	}
	piece[0] = (struct rdma_piece){ at, first };
	piece[1] = (struct rdma_piece){ 0, (uint32_t)len - first };
	return 2;
}

static void ring_copy_out(const uint8_t *ring, uint64_t position, void *data, size_t n)
{
	struct rdma_piece p[2];
	unsigned pieces = rdma_pieces(position, n, p);

	memcpy(data, ring + p[0].at, p[0].len);
	if (pieces > 1)
		memcpy((uint8_t *)data + p[0].len, ring + p[1].at, p[1].len);
}

static void ring_copy_in(uint8_t *ring, uint64_t position, const void *data, size_t n)
{
	struct rdma_piece p[2];
	unsigned pieces = rdma_pieces(position, n, p);

	memcpy(ring + p[0].at, data, p[0].len);
	if (pieces > 1)
		memcpy(ring + p[1].at, (const uint8_t *)data + p[0].len, p[1].len);
}

/* ---- writer ---- */

int rdma_writer_init(struct rdma_writer *w, uint8_t *ring, const uint8_t *key)
{
	*w = (struct rdma_writer){ .ring = ring, .clear = !key };
	w->seal = key ? seal_new(key, true) : NULL;
	return key && !w->seal ? -ENOMEM : 0;
}

void rdma_writer_fini(struct rdma_writer *w)
{
	EVP_CIPHER_CTX_free(w->seal);
	w->seal = NULL;
}

/* Seals n bytes into the ring, behind the header's place. */
static bool writer_seal(struct rdma_writer *w, struct frame_header *h, const uint8_t *data)
{
	struct rdma_piece p[2];
	unsigned pieces = rdma_pieces(w->head + RDMA_HEADER, h->len, p);
	int len;

	if (!seal_begin(w->seal, true, NONCE_FRAME, h->number, h, HEADER_AAD))
		return false;
	for (unsigned i = 0; i < pieces; i++) {
		if (EVP_CipherUpdate(w->seal, w->ring + p[i].at, &len, data, (int)p[i].len) != 1)
			return false;
		data += p[i].len;
	}
	return seal_finish(w->seal, h->tag);
}

static ssize_t writer_put(struct rdma_writer *w, const void *data, size_t take, uint32_t flags)
{
	struct frame_header h = { .number = w->number + 1 };
	size_t size = RDMA_FRAME_SIZE(take);

	if (w->head - w->kept + size > RDMA_RING || w->number - w->kept_number >= RDMA_SLOTS)
		return 0;
	h.len = (uint32_t)take;
	h.flags = flags | (w->clear ? RDMA_FLAG_CLEAR : 0);
	if (w->clear)
		ring_copy_in(w->ring, w->head + RDMA_HEADER, data, take);
	else if (!writer_seal(w, &h, data))
		return -EIO;
	ring_copy_in(w->ring, w->head, &h, sizeof(h));
	w->head += size;
	w->number++;
	return (ssize_t)take;
}

ssize_t rdma_writer_put(struct rdma_writer *w, const void *data, size_t n)
{
	return writer_put(w, data, n < RDMA_FRAME ? n : RDMA_FRAME, 0);
}

bool rdma_writer_put_sums(struct rdma_writer *w, const void *data, size_t n)
{
	must(n && n <= RDMA_FRAME);
	return writer_put(w, data, n, RDMA_FLAG_SUMS) > 0;
}

size_t rdma_writer_next(const struct rdma_writer *w)
{
	struct frame_header h;

	if (w->sent == w->head)
		return 0;
	ring_copy_out(w->ring, w->sent, &h, sizeof(h));
	must(h.number == w->sent_number + 1 && h.len <= RDMA_FRAME);
	return RDMA_FRAME_SIZE(h.len);
}

uint64_t rdma_writer_sent(struct rdma_writer *w)
{
	w->sent += rdma_writer_next(w);
	return ++w->sent_number;
}

/* The position behind a frame, counted from what is kept; false: there is no such frame. */
static bool writer_position(const struct rdma_writer *w, uint64_t number, uint64_t *position)
{
	struct frame_header h;

	if (number < w->kept_number || number > w->number)
		return false;
	*position = w->kept;
	for (uint64_t n = w->kept_number; n < number; n++) {
		ring_copy_out(w->ring, *position, &h, sizeof(h));
		*position += RDMA_FRAME_SIZE(h.len);
	}
	return true;
}

void rdma_writer_rewind(struct rdma_writer *w, uint64_t number)
{
	must(number <= w->sent_number);
	if (number < w->kept_number)
		number = w->kept_number;
	must(writer_position(w, number, &w->sent));
	w->sent_number = number;
}

int rdma_writer_credit(struct rdma_writer *w, const uint8_t cell[RDMA_CELL], struct err *err)
{
	struct credit c;
	uint64_t position;

	memcpy(&c, cell, sizeof(c)); /* once: it may be written again meanwhile */
	if (c.count <= w->credits)
		return 0;
	if (w->seal && (!seal_begin(w->seal, true, NONCE_CREDIT, c.count, &c, CREDIT_AAD)))
		return 0;
	if (w->seal) {
		uint8_t tag[TAG];

		if (!seal_finish(w->seal, tag) || CRYPTO_memcmp(tag, c.tag, TAG))
			return 0; /* half of it, or not the other side's */
	}
	if (!writer_position(w, c.number, &position) || position != c.position)
		return err_set(err, EBADMSG,
			       "a credit for frame %" PRIu64 " at %" PRIu64 ": frames %" PRIu64
			       " to %" PRIu64 " are on their way",
			       c.number, c.position, w->kept_number + 1, w->number);
	w->credits = c.count;
	if (c.number == w->kept_number)
		return 0;
	w->kept = position;
	w->kept_number = c.number;
	if (w->sent < w->kept) { /* arrived before its path broke, and was to be sent again */
		w->sent = w->kept;
		w->sent_number = w->kept_number;
	}
	return 1;
}

/* ---- reader ---- */

int rdma_reader_init(struct rdma_reader *r, const uint8_t *ring, uint8_t *aside, const uint8_t *key)
{
	*r = (struct rdma_reader){ .ring = ring, .aside = aside, .clear = !key, .next = 1 };
	r->bytes = malloc(RDMA_FRAME);
	r->seal = key ? seal_new(key, false) : NULL;
	if (r->bytes && (!key || r->seal))
		return 0;
	rdma_reader_fini(r);
	return -ENOMEM;
}

void rdma_reader_fini(struct rdma_reader *r)
{
	EVP_CIPHER_CTX_free(r->seal);
	free(r->bytes);
	r->seal = NULL;
	r->bytes = NULL;
}

static void reader_reaches(struct rdma_reader *r, uint64_t number)
{
	if (number > r->announced && number - r->next < RDMA_SLOTS)
		r->announced = number;
}

uint64_t rdma_reader_announce(struct rdma_reader *r, uint32_t number)
{
	uint32_t ahead = (number - (uint32_t)r->next) & 0x7fffffff;

	if (ahead >= RDMA_SLOTS)
		return 0;
	reader_reaches(r, r->next + ahead);
	return r->next + ahead;
}

int rdma_reader_place(struct rdma_reader *r, uint64_t position, const void *frame, size_t n,
		      struct err *err)
{
	struct frame_header h;

	if (n < sizeof(h))
		return err_set(err, EBADMSG, "a frame of %zu bytes: it has no header", n);
	memcpy(&h, frame, sizeof(h));
	if (h.len > RDMA_FRAME || RDMA_FRAME_SIZE(h.len) != n)
		return err_set(err, EBADMSG, "a frame of %zu bytes says that it has %" PRIu32, n,
			       h.len);
	if (h.number < r->next)
		return 0;
	if (h.number - r->next >= RDMA_SLOTS || position < r->position ||
	    position - r->position > RDMA_RING || position - r->position + n > RDMA_RING)
		return err_set(err, EBADMSG,
			       "frame %" PRIu64 " at %" PRIu64 ": frame %" PRIu64 " at %" PRIu64
			       " is expected, and the ring has %u bytes",
			       h.number, position, r->next, r->position, RDMA_RING);
	ring_copy_in(r->aside, position, frame, n);
	reader_reaches(r, h.number);
	if (h.number > r->placed) /* it may come a second time, as those behind it will */
		r->placed = h.number;
	return 0;
}

/* A race by design: whether the bytes are there is decided elsewhere. */
__attribute__((no_sanitize("thread"))) bool rdma_reader_glance(const struct rdma_reader *r)
{
	const volatile uint64_t *number =
		(const volatile uint64_t *)(const volatile void *)(r->ring +
								   r->position % RDMA_RING + 8);

	return *number == r->next;
}

/* Decrypts in place what was copied: nobody changes it between check and use. */
static bool reader_open(struct rdma_reader *r, const struct frame_header *h)
{
	int len;

	if (h->flags & RDMA_FLAG_CLEAR)
		return r->clear;
	return r->seal && seal_begin(r->seal, false, NONCE_FRAME, h->number, h, HEADER_AAD) &&
	       EVP_CipherUpdate(r->seal, r->bytes, &len, r->bytes, (int)h->len) == 1 &&
	       seal_check(r->seal, h->tag);
}

/* The next frame into r->bytes; false: it is not there. *sums: it has no bytes of the stream. */
static bool reader_take(struct rdma_reader *r, bool *sums)
{
	bool is_aside = r->next <= r->placed;
	const uint8_t *ring = is_aside ? r->aside : r->ring;
	struct frame_header h;

	if (!is_aside && r->next >= r->gap && r->next < r->gap_end)
		return false;
	ring_copy_out(ring, r->position, &h, sizeof(h));
	if (h.number != r->next || h.len > RDMA_FRAME || h.len == 0 ||
	    h.flags & ~(RDMA_FLAG_CLEAR | RDMA_FLAG_SUMS))
		return false;
	ring_copy_out(ring, r->position + RDMA_HEADER, r->bytes, h.len);
	if (!reader_open(r, &h))
		return false;
	*sums = h.flags & RDMA_FLAG_SUMS;
	r->have = h.len;
	r->given = *sums ? h.len : 0;
	r->position += RDMA_FRAME_SIZE(h.len);
	r->next++;
	return true;
}

ssize_t rdma_reader_get(struct rdma_reader *r, void *data, size_t n)
{
	bool sums;

	while (r->given == r->have) {
		if (r->next > r->announced)
			return 0;
		if (!reader_take(r, &sums))
			return -EAGAIN;
		if (sums && (!r->sums || r->sums(r->sums_ctx, r->bytes, r->have) < 0))
			return -EBADMSG;
	}
	if (n > r->have - r->given)
		n = r->have - r->given;
	memcpy(data, r->bytes + r->given, n);
	r->given += n;
	return (ssize_t)n;
}

bool rdma_reader_owes(const struct rdma_reader *r)
{
	return r->position - r->credited >= RDMA_RING / 4 ||
	       r->next - 1 - r->credited_number >= RDMA_SLOTS / 4;
}

int rdma_reader_credit(struct rdma_reader *r, uint8_t cell[RDMA_CELL])
{
	struct credit c = { .count = r->credits + 1,
			    .number = r->next - 1,
			    .position = r->position };

	/* The key's other user is the writer's side, with the same kind of nonce: encrypting. */
	if (r->seal && (!seal_begin(r->seal, true, NONCE_CREDIT, c.count, &c, CREDIT_AAD) ||
			!seal_finish(r->seal, c.tag)))
		return -EIO;
	memcpy(cell, &c, sizeof(c));
	r->credits = c.count;
	r->credited = r->position;
	r->credited_number = c.number;
	return 0;
}
