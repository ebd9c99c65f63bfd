// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/wire.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/host_clock.h"
#include "record/codec.h"

/*
 *   0  u32 magic      4  u8 type    5  u8 flags   6  u16 zero
 *   8  u32 stored    12  u32 raw   16  u64 number 24 u64 zero   32 u64 check
 */
#define WIRE_MAGIC 0x52495754u /* "TWIR" */
#define WIRE_ZSTD  1u
#define ZSTD_LEVEL 1

struct wire_header {
	uint32_t magic;
	uint8_t type, flags;
	uint16_t zero;
	uint32_t stored, raw;
	uint64_t seq;
	uint64_t zero2;
	uint64_t check;
};
_Static_assert(sizeof(struct wire_header) == WIRE_HEADER, "wire header layout");

void wire_init(struct wire *w, struct peer *peer)
{
	*w = (struct wire){ .peer = peer, .max = WIRE_HELLO_MAX };
}

void wire_fini(struct wire *w)
{
	buf_free(&w->out);
	free(w->in);
	free(w->raw);
	w->in = w->raw = NULL;
}

void wire_established(struct wire *w)
{
	w->max = WIRE_FRAME_MAX;
}

static uint64_t wire_check(const struct wire_header *h, const void *payload)
{
	struct wire_header copy = *h;

	copy.check = 0;
	return XXH3_64bits_withSeed(payload, h->stored, XXH3_64bits(&copy, sizeof(copy)));
}

/* ---- sending ---- */

static int wire_pack(struct wire *w, struct wire_header *h, const void *data, size_t len,
		     bool compress)
{
	size_t bound = compress ? ZSTD_compressBound(len) : len, n = 0;
	uint8_t *p = buf_grow(&w->out, bound);

	if (!p)
		return -ENOMEM;
	if (compress) {
		n = ZSTD_compress(p, bound, data, len, ZSTD_LEVEL);
		if (!ZSTD_isError(n) && n < len)
			h->flags = WIRE_ZSTD;
	}
	if (!h->flags) {
		if (len)
			memcpy(p, data, len);
		n = len;
	}
	h->stored = (uint32_t)n;
	w->out.len = sizeof(*h) + n;
	return 0;
}

int wire_send(struct wire *w, enum wire_type type, const void *data, size_t len, bool compress,
	      int timeout_ms, struct err *err)
{
	struct wire_header h = { .magic = WIRE_MAGIC,
				 .type = (uint8_t)type,
				 .raw = (uint32_t)len,
				 .seq = w->sent_seq + 1 };
	int ret;

	if (len > WIRE_FRAME_MAX)
		return err_set(err, EMSGSIZE, "wire frame of %zu bytes: at most %u", len,
			       WIRE_FRAME_MAX);
	buf_clear(&w->out);
	if (!buf_grow(&w->out, sizeof(h)) || wire_pack(w, &h, data, len, compress) < 0)
		return err_set(err, ENOMEM, "out of memory");
	h.check = wire_check(&h, w->out.data + sizeof(h));
	memcpy(w->out.data, &h, sizeof(h));
	ret = peer_send(w->peer, w->out.data, w->out.len, timeout_ms, err);
	if (ret < 0)
		return ret;
	w->sent_seq++;
	w->bytes_out += w->out.len;
	return 0;
}

/* ---- receiving ---- */

/* Parses a frame's header: 0, or -EBADMSG and err. */
static int parse_header(const uint8_t *bytes, uint64_t want_seq, uint32_t max, uint32_t *stored,
			struct err *err)
{
	struct wire_header h;

	memcpy(&h, bytes, sizeof(h));
	if (h.magic != WIRE_MAGIC)
		return err_set(err, EBADMSG,
			       "what arrived is not a Twinstep frame (magic %08" PRIx32 ")",
			       h.magic);
	if (h.type == 0 || h.type >= WIRE_TYPE_END_ || h.flags & ~WIRE_ZSTD || h.zero || h.zero2)
		return err_set(err, EBADMSG, "frame header is damaged (type %u, flags %02x)",
			       h.type, h.flags);
	if (h.seq != want_seq)
		return err_set(err, EBADMSG,
			       "frame %" PRIu64 " arrived where %" PRIu64 " was expected", h.seq,
			       want_seq);
	if (h.raw > max || h.stored > h.raw)
		return err_set(err, EBADMSG,
			       "frame of %" PRIu32 " bytes: at most %" PRIu32 " are allowed here",
			       h.raw, max);
	*stored = h.stored;
	return 0;
}

/*
 * Receives until `want` bytes of the frame have arrived. 1; 0: the stream has ended; -EAGAIN;
 * another -errno and err. While bytes keep coming, a long frame on a slow link may take longer than
 * the timeout; during the handshake the whole frame has to arrive in time.
 */
static int wire_fill(struct wire *w, size_t want, int timeout_ms, struct err *err)
{
	int64_t end = host_mono_ms() + timeout_ms;

	if (!bytes_reserve(&w->in, &w->in_cap, want < 4096 ? 4096 : want))
		return err_set(err, ENOMEM, "out of memory");
	while (w->have < want) {
		ssize_t n = peer_recv(w->peer, w->in + w->have, want - w->have, timeout_ms, err);

		if (n == 0 && w->have)
			return err_set(err, ECONNABORTED, "the stream ended inside a frame");
		if (n <= 0)
			return (int)n;
		w->have += (size_t)n;
		w->bytes_in += (uint64_t)n;
		if (w->max == WIRE_HELLO_MAX && w->have < want && host_mono_ms() >= end)
			return -EAGAIN;
	}
	return 1;
}

static int wire_unpack(struct wire *w, const struct wire_header *h, struct wire_frame *f,
		       struct err *err)
{
	const uint8_t *payload = w->in + sizeof(*h);

	if (h->check != wire_check(h, payload))
		return err_set(err, EBADMSG, "frame %" PRIu64 ": the checksum does not match",
			       h->seq);
	*f = (struct wire_frame){ .type = h->type, .data = payload, .len = h->raw };
	if (!(h->flags & WIRE_ZSTD))
		return h->stored == h->raw ? 1
					   : err_set(err, EBADMSG,
						     "frame %" PRIu64 ": lengths disagree", h->seq);
	if (!bytes_reserve(&w->raw, &w->raw_cap, h->raw))
		return err_set(err, ENOMEM, "out of memory");
	if (ZSTD_decompress(w->raw, h->raw, payload, h->stored) != h->raw)
		return err_set(err, EBADMSG, "frame %" PRIu64 " does not decompress", h->seq);
	if (h->raw) /* for an empty frame there may be no buffer yet */
		f->data = w->raw;
	return 1;
}

int wire_recv(struct wire *w, struct wire_frame *f, int timeout_ms, struct err *err)
{
	struct wire_header h;
	uint32_t stored = 0;
	int ret = wire_fill(w, sizeof(h), timeout_ms, err);

	if (ret <= 0)
		return ret;
	ret = parse_header(w->in, w->recv_seq + 1, w->max, &stored, err);
	if (ret < 0)
		return ret;
	ret = wire_fill(w, sizeof(h) + stored, timeout_ms, err);
	if (ret <= 0)
		return ret;
	memcpy(&h, w->in, sizeof(h));
	w->have = 0;
	w->recv_seq++;
	return wire_unpack(w, &h, f, err);
}

/* ---- messages ---- */

void wire_hello_save(const struct wire_hello *h, struct buf *out)
{
	struct buf config = BUF_INIT;

	buf_put_u32(out, h->wire_version);
	buf_put_u32(out, h->codec_version);
	buf_put_u8(out, h->primary);
	buf_put(out, h->id, WIRE_ID_LEN);
	buf_put_u64(out, h->generation);
	buf_put_u64(out, h->config_digest);
	buf_put_u64(out, h->cpuid_digest);
	buf_put(out, h->counter, sizeof(h->counter));
	buf_put_u8(out, h->on_divergence);
	buf_put_u32(out, h->timeout_ms);
	buf_put_u32(out, h->hang_timeout_ms);
	buf_put(out, h->version, sizeof(h->version));
	traits_save(&h->traits, out);
	machine_config_save(&h->config, &config);
	buf_put_blob(out, config.data, config.len);
	buf_free(&config);
}

/* Makes the other side's version printable, as it is shown to people. */
static void take_version(char *version)
{
	version[TWINSTEP_VERSION_LEN - 1] = 0;
	for (; *version; version++) {
		if (!isalnum((unsigned char)*version) && !strchr("+-.:~", *version))
			*version = '?';
	}
}

int wire_hello_restore(struct wire_hello *h, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len), c;
	const uint8_t *config;
	size_t n;

	*h = (struct wire_hello){ .wire_version = rd_u32(&in), .codec_version = 0 };
	h->codec_version = rd_u32(&in);
	if (f->type != WIRE_HELLO || in.bad)
		return err_set(err, EBADMSG, "the other side did not start with a HELLO");
	if (h->wire_version != WIRE_VERSION || h->codec_version != CODEC_VERSION)
		return err_set(err, EPROTO,
			       "the other side speaks wire version %" PRIu32 ".%" PRIu32
			       ", we speak %d.%d",
			       h->wire_version, h->codec_version, WIRE_VERSION, CODEC_VERSION);
	h->primary = rd_u8(&in) != 0;
	rd_get(&in, h->id, WIRE_ID_LEN);
	h->generation = rd_u64(&in);
	h->config_digest = rd_u64(&in);
	h->cpuid_digest = rd_u64(&in);
	rd_get(&in, h->counter, sizeof(h->counter));
	h->counter[sizeof(h->counter) - 1] = 0;
	h->on_divergence = rd_u8(&in);
	h->timeout_ms = rd_u32(&in);
	h->hang_timeout_ms = rd_u32(&in);
	rd_get(&in, h->version, sizeof(h->version));
	take_version(h->version);
	traits_restore(&h->traits, &in);
	config = rd_blob(&in, WIRE_HELLO_MAX, &n);
	if (!in.bad && config && !rd_left(&in)) {
		c = (struct rd)RD_INIT(config, n);
		if (machine_config_restore(&h->config, &c) == 0 && !rd_left(&c))
			return 0;
		return err_set(err, EPROTO,
			       "the other side's machine is of no version that this program has "
			       "(1 to %d, revision %d of 2)",
			       MACHINE_VERSIONS, MACHINE_V2_REVISION);
	}
	return err_set(err, EBADMSG, "the other side's HELLO is damaged");
}

void wire_ack_save(const struct wire_ack *a, struct buf *out)
{
	buf_put_u64(out, a->echo_ns);
	buf_put_u64(out, a->received);
	buf_put_u64(out, a->applied);
	buf_put_u64(out, a->digests);
	buf_put_u64(out, a->beat);
	buf_put_u64(out, a->flush);
}

int wire_ack_restore(struct wire_ack *a, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);

	a->echo_ns = rd_u64(&in);
	a->received = rd_u64(&in);
	a->applied = rd_u64(&in);
	a->digests = rd_u64(&in);
	a->beat = rd_u64(&in);
	a->flush = rd_u64(&in);
	return in.bad || rd_left(&in) ? err_set(err, EBADMSG, "an acknowledgement is damaged") : 0;
}

void wire_stamp_save(const struct wire_stamp *s, struct buf *out)
{
	buf_put_u64(out, s->sent_ns);
	buf_put_u64(out, s->released);
	buf_put_u64(out, s->beat);
	buf_put_u8(out, s->protecting);
	buf_put_u32(out, s->silence_ms);
}

int wire_stamp_restore(struct wire_stamp *s, struct rd *in, struct err *err)
{
	s->sent_ns = rd_u64(in);
	s->released = rd_u64(in);
	s->beat = rd_u64(in);
	s->protecting = rd_u8(in) != 0;
	s->silence_ms = rd_u32(in);
	if (s->silence_ms < WIRE_SILENCE_MIN_MS || s->silence_ms > WIRE_SILENCE_MAX_MS)
		in->bad = true;
	return in->bad ? err_set(err, EBADMSG, "a time stamp is damaged") : 0;
}
