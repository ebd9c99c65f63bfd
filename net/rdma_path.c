// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How frames travel: by one-sided writes over a queue pair while there is one, over the TLS
 * connection else. The caller offers a queue pair as soon as both have met, and again when one was
 * lost:
 *
 *     caller                       the other one
 *     OFFER   queue pair, ring ->  makes and connects its own
 *             connects         <-  ANSWER
 *     READY                    ->
 *     a first write, both ways; a side whose own one is done sends frames this way
 *
 * A side that finds the queue pair of no use gives it up and says BROKEN, then sends all frames
 * that went over it and are not credited over TLS. (Those before went over TLS, which loses
 * nothing; so did all of them if it never came up.) Such frames stand aside from the ring, into
 * which a queue pair that is on its way down may still write. The next one is made when the last
 * one is gone, on both sides, so the ring never holds what came over an earlier one.
 *
 * Queue pairs are made, connected and freed by a thread of its own (rdma_maker.c), as the calls for
 * that may take seconds; frames take TLS meanwhile.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "net/rdma_private.h"

#define MAGIC	    0x44525754u /* "TWRD" */
#define VERSION	    2
#define GREETING    16 /* bytes: u32 magic, version, flags, 0 */
#define HEAD	    8  /* of a message */
#define MESSAGE_MAX (8 + RDMA_FRAME_SIZE(RDMA_FRAME))
#define OUT_MAX	    (128u << 10) /* bytes that wait for the TLS connection before frames wait */

#define CREDIT_BIT 0x80000000u /* in the number of a write: the credit cell was written */

#define STALL_MS   80  /* a write that takes longer is lost: less than a pair waits */
#define TORN_MS	   30  /* a frame that is announced comes within this time */
#define RETRY_MS   100 /* first pause before another queue pair is offered */
#define RETRY_MAX  10000
#define CONTROL_MS 20	 /* the TLS connection is read at least so often */
#define STEADY_MS  10000 /* up for so long: the next pause is the first one again */
#define NEVER	   UINT64_MAX

/* Places in a peer's area: the half that the other side writes comes first. */
#define CELL_AT RDMA_RING
#define HALF	RDMA_HALF

static uint8_t *own_cell(struct rdma_peer *p)
{
	return p->area + HALF + CELL_AT;
}

/* ---- the TLS connection ---- */

void rdma_path_fail(struct rdma_peer *p, const char *text, int code)
{
	if (p->error)
		return;
	p->error = -code;
	err_set(&p->err, code, "%s: %s", p->base.name, text);
}

static void put_message(struct rdma_peer *p, enum rdma_message kind, const void *data, size_t n,
			const void *more, size_t m)
{
	buf_put_u32(&p->out, (uint32_t)(n + m));
	buf_put_u32(&p->out, kind);
	buf_put(&p->out, data, n);
	if (m)
		buf_put(&p->out, more, m);
	if (p->out.bad)
		rdma_path_fail(p, "out of memory", ENOMEM);
}

void rdma_path_say(struct rdma_peer *p, enum rdma_message kind, const void *data, size_t n)
{
	put_message(p, kind, data, n, NULL, 0);
}

static void put_text(struct rdma_peer *p, enum rdma_message kind, const char *text)
{
	uint32_t lane = p->lane;

	put_message(p, kind, &lane, sizeof(lane), text, strlen(text));
}

static void put_greeting(struct rdma_peer *p)
{
	buf_put_u32(&p->out, MAGIC);
	buf_put_u32(&p->out, VERSION);
	buf_put_u32(&p->out, p->clear ? RDMA_FLAG_CLEAR : 0);
	buf_put_u32(&p->out, 0);
}

static size_t out_waits(const struct rdma_peer *p)
{
	return p->out.len - p->out_done;
}

/* Sends the messages that wait, as far as the TLS connection takes them without waiting. */
static void flush_control(struct rdma_peer *p)
{
	short events;

	while (out_waits(p) && !p->out_error && !p->out.bad) {
		ssize_t n = peer_stream_try_send(p->control, p->out.data + p->out_done,
						 out_waits(p), &events);

		if (n > 0)
			p->out_done += (size_t)n;
		else if (n == -EAGAIN)
			return;
		else if (n != -EINTR)
			p->out_error = (int)n;
	}
	buf_clear(&p->out);
	p->out_done = 0;
}

/* ---- the queue pair ---- */

void rdma_path_drop(struct rdma_peer *p)
{
	rdma_maker_drop(p, p->qp);
	p->qp = NULL;
	p->armed = false;
	p->unfinished = 0;
	p->posted = p->finished = 0;
	p->drops++;
	rdma_place_reset(p);
	p->lane_first = NEVER;
	p->torn_ms = 0;
	if (p->state == PATH_UP) { /* it carried frames and credits, which may be lost */
		p->owes = true;
		rdma_writer_rewind(&p->writer, p->lane_after);
	}
	p->state = PATH_NONE;
}

/* Tells why there is no path; a reason that repeats is told once, however often it is tried. */
static void path_tell(struct rdma_peer *p, bool was_up, const char *why)
{
	bool same = !strcmp(p->why, why);

	snprintf(p->why, sizeof(p->why), "%s", why);
	if (was_up)
		log_try(LOG_WARN, "RDMA to %s is lost (%s): what it carried goes over TCP",
			p->base.name, why);
	else if (!same)
		log_try(LOG_WARN, "no RDMA to %s (%s): TCP is used, and RDMA tried again",
			p->base.name, why);
}

static void path_later(struct rdma_peer *p, bool was_up)
{
	int64_t now = host_mono_ms();

	if (was_up && now - p->up_ms > STEADY_MS)
		p->backoff_ms = 0;
	p->backoff_ms = !p->backoff_ms			? RETRY_MS
			: p->backoff_ms < RETRY_MAX / 2 ? 2 * p->backoff_ms
							: RETRY_MAX;
	p->retry_ms = now + p->backoff_ms;
}

/* Gives the queue pair up, if there is one, and tells the other side where that has one. */
static void path_break(struct rdma_peer *p, enum rdma_message say, const char *why)
{
	bool was_up = p->state == PATH_UP;

	p->breaks += was_up;
	rdma_path_drop(p);
	path_later(p, was_up);
	path_tell(p, was_up, why);
	if (say)
		put_text(p, say, why);
}

static const char write_refused[] = "a write is refused";

static bool path_write(struct rdma_peer *p, const struct verbs_write *w)
{
	if (p->verbs->write(p->qp, w) < 0)
		return false;
	p->posted++;
	if (!p->unfinished++)
		p->oldest_ms = host_mono_ms();
	return true;
}

bool rdma_path_write(struct rdma_peer *p, const struct verbs_write *w)
{
	bool taken = path_write(p, w);

	if (!taken)
		path_break(p, RDMA_BROKEN, write_refused);
	return taken;
}

static bool path_write_cell(struct rdma_peer *p)
{
	struct verbs_write w = { .from = own_cell(p),
				 .from_key = p->own_key,
				 .len = RDMA_CELL,
				 .to = p->remote.cell,
				 .to_key = p->remote.cell_key,
				 .tells = true,
				 .number = CREDIT_BIT };

	return path_write(p, &w);
}

static void path_probe(struct rdma_peer *p)
{
	p->state = PATH_PROBED;
	if (!path_write_cell(p))
		path_break(p, RDMA_BROKEN, write_refused);
}

/* The frame at the writer's mark: the piece that ends it tells. */
static bool path_write_frame(struct rdma_peer *p, size_t size)
{
	struct rdma_writer *w = &p->writer;
	struct rdma_piece piece[2];
	unsigned n = rdma_pieces(w->sent, size, piece);

	for (unsigned i = 0; i < n; i++) {
		struct verbs_write v = { .from = w->ring + piece[i].at,
					 .from_key = p->own_key,
					 .len = piece[i].len,
					 .to = p->remote.ring + piece[i].at,
					 .to_key = p->remote.ring_key,
					 .tells = i + 1 == n,
					 .number = (uint32_t)(w->sent_number + 1) & ~CREDIT_BIT };

		if (!path_write(p, &v))
			return false;
	}
	return true;
}

/* ---- making one ---- */

static void put_ends(struct rdma_peer *p, enum rdma_message kind, const struct rdma_ends *e)
{
	struct buf b = BUF_INIT;

	buf_put_u32(&b, p->lane);
	buf_put_u32(&b, e->qp.qpn);
	buf_put_u32(&b, e->qp.psn);
	buf_put_u16(&b, e->qp.lid);
	buf_put_u8(&b, e->qp.mtu);
	buf_put_u8(&b, e->qp.roce);
	buf_put(&b, e->qp.gid, VERBS_GID);
	buf_put_u64(&b, e->ring);
	buf_put_u32(&b, e->ring_key);
	buf_put_u64(&b, e->cell);
	buf_put_u32(&b, e->cell_key);
	put_message(p, kind, b.data, b.len, NULL, 0);
	buf_free(&b);
}

static bool get_ends(struct rd *in, struct rdma_ends *e)
{
	e->qp.qpn = rd_u32(in);
	e->qp.psn = rd_u32(in);
	e->qp.lid = rd_u16(in);
	e->qp.mtu = rd_u8(in);
	e->qp.roce = rd_u8(in);
	rd_get(in, e->qp.gid, VERBS_GID);
	e->ring = rd_u64(in);
	e->ring_key = rd_u32(in);
	e->cell = rd_u64(in);
	e->cell_key = rd_u32(in);
	return !in->bad && !rd_left(in) && e->qp.mtu >= 1 && e->qp.mtu <= 5 &&
	       e->qp.qpn < 1u << 24 && e->qp.psn < 1u << 24;
}

static void path_make(struct rdma_peer *p, enum rdma_job job, struct verbs_qp *qp)
{
	p->state = PATH_MAKING;
	rdma_maker_ask(p, job, qp);
}

static void path_offer(struct rdma_peer *p)
{
	p->lane++;
	path_make(p, JOB_MAKE, NULL);
}

static void take_offer(struct rdma_peer *p, uint32_t lane, struct rd *in)
{
	if (p->caller || !get_ends(in, &p->remote)) {
		rdma_path_fail(p, "an offer of a queue pair is damaged", EBADMSG);
		return;
	}
	rdma_path_drop(p);
	p->lane = lane;
	path_make(p, JOB_ANSWER, NULL);
}

static void take_answer(struct rdma_peer *p, struct rd *in)
{
	struct verbs_qp *qp = p->qp;

	if (!get_ends(in, &p->remote)) {
		rdma_path_fail(p, "the answer to our queue pair is damaged", EBADMSG);
		return;
	}
	p->qp = NULL;
	path_make(p, JOB_CONNECT, qp);
}

/* Takes what the maker has made, or its error. */
static void path_take_made(struct rdma_peer *p)
{
	/* Messages for the other side, where it has a queue pair that waits for ours. */
	static const enum rdma_message no[] = {
		[JOB_ANSWER] = RDMA_NO, [JOB_CONNECT] = RDMA_BROKEN
	};
	struct rdma_maker *m = &p->maker;
	enum rdma_job job = m->made;

	m->made = JOB_NONE;
	p->qp = m->made_qp;
	m->made_qp = NULL;
	if (m->made_err.code) {
		path_break(p, no[job], m->made_err.text);
	} else if (job == JOB_CONNECT) {
		put_text(p, RDMA_READY, "");
		path_probe(p);
	} else {
		p->state = job == JOB_MAKE ? PATH_OFFERED : PATH_ANSWERED;
		put_ends(p, job == JOB_MAKE ? RDMA_OFFER : RDMA_ANSWER, &m->made_ends);
	}
}

/* Takes a message that the other side has no path, with its words as far as they can be shown. */
static void take_no(struct rdma_peer *p, struct rd *in)
{
	size_t n = rd_left(in);
	char text[120];

	if (n >= sizeof(text))
		n = sizeof(text) - 1;
	rd_get(in, text, n);
	for (size_t i = 0; i < n; i++)
		text[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
	text[n] = 0;
	path_break(p, 0, text);
}

/* Messages about a queue pair that is gone are of no interest any more. */
static void take_lane_message(struct rdma_peer *p, enum rdma_message kind, struct rd *in)
{
	uint32_t lane = rd_u32(in);

	if (kind == RDMA_OFFER)
		take_offer(p, lane, in);
	else if (in->bad)
		rdma_path_fail(p, "a message about a queue pair is damaged", EBADMSG);
	else if (lane != p->lane || p->state == PATH_NONE)
		return;
	else if (kind == RDMA_ANSWER && p->state == PATH_OFFERED)
		take_answer(p, in);
	else if (kind == RDMA_READY && p->state == PATH_ANSWERED)
		path_probe(p);
	else if (kind == RDMA_NO || kind == RDMA_BROKEN)
		take_no(p, in);
	else if (kind == RDMA_WINDOW || kind == RDMA_OPENED)
		rdma_place_take(p, kind, in);
}

/* ---- what arrives over TLS ---- */

static void take_credit(struct rdma_peer *p, const uint8_t *cell)
{
	if (rdma_writer_credit(&p->writer, cell, &p->err) < 0)
		p->error = -p->err.code;
}

static void take_message(struct rdma_peer *p, uint32_t kind, const uint8_t *data, size_t n)
{
	struct rd in = RD_INIT(data, n);
	uint64_t position;

	switch (kind) {
	case RDMA_PLACED:
		position = rd_u64(&in);
		if (in.bad || rdma_reader_place(&p->reader, position, in.p, rd_left(&in), &p->err))
			rdma_path_fail(p, "a frame over TLS is damaged", EBADMSG);
		return;
	case RDMA_CREDITED:
		if (n != RDMA_CELL)
			rdma_path_fail(p, "a credit over TLS is damaged", EBADMSG);
		else
			take_credit(p, data);
		return;
	default:
		if (!kind || kind >= RDMA_MESSAGES)
			rdma_path_fail(p, "a message of an unknown kind", EBADMSG);
		else
			take_lane_message(p, kind, &in);
	}
}

static void take_greeting(struct rdma_peer *p, const uint8_t *data)
{
	struct rd in = RD_INIT(data, GREETING);
	uint32_t magic = rd_u32(&in), version = rd_u32(&in), flags = rd_u32(&in);

	if (magic != MAGIC)
		rdma_path_fail(p, "the other side does not have rdma: in front of its address",
			       EPROTO);
	else if (version != VERSION)
		rdma_path_fail(p, "the other side speaks another version of RDMA transport",
			       EPROTO);
	p->met = true;
	p->writer.clear = p->clear && flags & RDMA_FLAG_CLEAR;
}

/* The first message that is complete, if any: bytes of it. */
static size_t take_first(struct rdma_peer *p, const uint8_t *data, size_t n)
{
	uint32_t len, kind;

	if (!p->met) {
		if (n >= GREETING)
			take_greeting(p, data);
		return n >= GREETING ? GREETING : 0;
	}
	if (n < HEAD)
		return 0;
	memcpy(&len, data, 4);
	memcpy(&kind, data + 4, 4);
	if (len > MESSAGE_MAX)
		rdma_path_fail(p, "a message is too long", EBADMSG);
	if (p->error || n < HEAD + len)
		return 0;
	take_message(p, kind, data + HEAD, len);
	return HEAD + len;
}

static void take_all(struct rdma_peer *p)
{
	size_t at = 0, n;

	while (!p->error && (n = take_first(p, p->in.data + at, p->in.len - at)))
		at += n;
	memmove(p->in.data, p->in.data + at, p->in.len - at);
	p->in.len -= at;
}

static void read_control(struct rdma_peer *p)
{
	short events;

	while (!p->ended && !p->error) {
		size_t have = p->in.len;
		uint8_t *to = buf_grow(&p->in, 16384);
		ssize_t n = to ? peer_stream_try_recv(p->control, to, 16384, &events) : -ENOMEM;

		p->in.len = have + (n > 0 ? (size_t)n : 0);
		if (n == -EAGAIN)
			return;
		if (n == 0)
			p->ended = true;
		else if (n < 0 && n != -EINTR) {
			p->error = (int)n;
			err_set(&p->err, (int)-n, "cannot receive from %s: %s", p->base.name,
				strerror((int)-n));
		}
		take_all(p);
	}
}

/* ---- what arrives over the queue pair ---- */

static void path_is_up(struct rdma_peer *p)
{
	p->state = PATH_UP;
	p->up_ms = host_mono_ms();
	p->lane_after = p->writer.sent_number;
	p->why[0] = 0;
	log_try(LOG_INFO, "RDMA to %s is up%s", p->base.name,
		p->writer.clear ? ", and nothing is sealed (--rdma-clear)" : "");
}

static void take_arrival(struct rdma_peer *p, uint32_t number)
{
	uint64_t before = p->reader.announced, frame;

	if (number & CREDIT_BIT) {
		take_credit(p, p->area + CELL_AT);
		return;
	}
	frame = rdma_reader_announce(&p->reader, number);
	if (!frame || frame >= p->lane_first)
		return;
	if (p->lane_first == NEVER)
		p->reader.gap = before + 1;
	p->lane_first = p->reader.gap_end = frame;
}

static void poll_path(struct rdma_peer *p)
{
	struct verbs_completion c[16];
	unsigned n;

	while (p->qp && (n = p->verbs->poll(p->qp, c, 16)) != 0) {
		int64_t now = host_mono_ms();

		for (unsigned i = 0; i < n && p->qp; i++) {
			if (c[i].what == VERBS_BROKEN) {
				path_break(p, RDMA_BROKEN, c[i].why);
			} else if (c[i].what == VERBS_ARRIVED) {
				take_arrival(p, c[i].number);
			} else if (p->unfinished) {
				p->unfinished--;
				p->finished++;
				p->oldest_ms = now;
				if (p->state == PATH_PROBED)
					path_is_up(p);
			}
		}
	}
}

/* ---- all of it ---- */

static void keep_path(struct rdma_peer *p)
{
	int64_t now = host_mono_ms();

	if (p->ended || p->error || atomic_load(&p->over))
		return;
	if (p->maker.faulty && p->qp)
		path_break(p, RDMA_BROKEN, p->maker.made_err.text);
	p->maker.faulty = false;
	if (p->unfinished && now - p->oldest_ms > STALL_MS)
		path_break(p, RDMA_BROKEN, "a write gets no answer");
	if (p->caller && p->met && p->state == PATH_NONE && now >= p->retry_ms)
		path_offer(p);
}

void rdma_path_pay(struct rdma_peer *p)
{
	uint8_t cell[RDMA_CELL];

	if (!p->owes && !rdma_reader_owes(&p->reader))
		return;
	if (p->state == PATH_UP && p->unfinished >= RDMA_WRITES)
		return;
	if (rdma_reader_credit(&p->reader, cell) < 0) {
		rdma_path_fail(p, "a credit cannot be sealed", EIO);
		return;
	}
	p->owes = false;
	if (p->state != PATH_UP) {
		put_message(p, RDMA_CREDITED, cell, sizeof(cell), NULL, 0);
		return;
	}
	memcpy(own_cell(p), cell, sizeof(cell));
	if (!path_write_cell(p))
		path_break(p, RDMA_BROKEN, write_refused);
}

static void put_placed(struct rdma_peer *p, size_t size)
{
	const struct rdma_writer *w = &p->writer;
	struct rdma_piece piece[2];
	unsigned n = rdma_pieces(w->sent, size, piece);

	buf_put_u32(&p->out, (uint32_t)(8 + size));
	buf_put_u32(&p->out, RDMA_PLACED);
	buf_put_u64(&p->out, w->sent);
	for (unsigned i = 0; i < n; i++)
		buf_put(&p->out, w->ring + piece[i].at, piece[i].len);
	if (p->out.bad)
		rdma_path_fail(p, "out of memory", ENOMEM);
}

static void send_frames(struct rdma_peer *p)
{
	size_t size;

	while (!p->error && !p->out_error && (size = rdma_writer_next(&p->writer)) != 0) {
		if (p->state == PATH_UP) {
			if (p->unfinished + 2 > RDMA_WRITES)
				return;
			if (!path_write_frame(p, size)) {
				path_break(p, RDMA_BROKEN, write_refused);
				continue;
			}
		} else {
			if (out_waits(p) > OUT_MAX)
				return;
			put_placed(p, size);
		}
		rdma_writer_sent(&p->writer);
	}
}

/* Wakes the other thread, if it waits. */
static void wake(bool waits, int fd)
{
	uint64_t one = 1;

	/* The write fails when there are 2^64 - 2 wakes already. */
	if (waits && write(fd, &one, sizeof(one)) < 0)
		return;
}

/*
 * It is time to read the TLS connection. Without this nothing would ever wait for it where frames
 * never stop coming by RDMA.
 */
static bool control_due(struct rdma_peer *p)
{
	int64_t now = host_mono_ms();

	if (p->state == PATH_UP && now - p->control_ms < CONTROL_MS)
		return false;
	p->control_ms = now;
	return true;
}

void rdma_path_pump(struct rdma_peer *p, unsigned ready)
{
	uint64_t announced = p->reader.announced, kept = p->writer.kept;
	bool over = p->ended || p->error || p->out_error;
	enum rdma_state state = p->state;
	size_t waits = out_waits(p);

	if (p->maker.made)
		path_take_made(p);
	if (ready & READY_CONTROL || control_due(p))
		read_control(p);
	if (ready & READY_QP && p->qp) {
		p->verbs->drain(p->qp);
		p->armed = false;
	}
	poll_path(p);
	keep_path(p);
	rdma_path_pay(p);
	send_frames(p);
	flush_control(p);
	/*
	 * The event that was taken here may have been the one that the other thread waits for: it
	 * would not be told of the next arrival.
	 */
	if (p->rx_waits || p->tx_waits)
		rdma_path_arm(p);
	over = over != (p->ended || p->error || p->out_error);
	wake(p->rx_waits && (over || announced != p->reader.announced || state != p->state),
	     p->rx_wake);
	wake(p->tx_waits &&
		     (over || kept != p->writer.kept || state != p->state || out_waits(p) < waits),
	     p->tx_wake);
}

bool rdma_path_flushed(const struct rdma_peer *p)
{
	return p->writer.sent == p->writer.head && !out_waits(p);
}

int rdma_path_patience(const struct rdma_peer *p)
{
	int64_t now = host_mono_ms(), ms = -1;

	if (p->caller && p->met && p->state == PATH_NONE && !p->ended)
		ms = p->retry_ms > now ? p->retry_ms - now : 0;
	if (p->unfinished && (ms < 0 || ms > STALL_MS / 10))
		ms = STALL_MS / 10;
	if (p->torn_ms && (ms < 0 || ms > TORN_MS / 10))
		ms = TORN_MS / 10;
	return (int)ms;
}

void rdma_path_arm(struct rdma_peer *p)
{
	if (!p->qp || p->armed)
		return;
	if (p->verbs->arm(p->qp) < 0)
		path_break(p, RDMA_BROKEN, "its completions cannot be waited for");
	else
		p->armed = true;
	poll_path(p);
}

void rdma_path_torn(struct rdma_peer *p)
{
	uint64_t next = p->reader.next;
	int64_t now = host_mono_ms();

	if (next <= p->reader.placed) /* as the other side has sent it, over TLS */
		rdma_path_fail(p, "a frame is not sealed as agreed", EBADMSG);
	if (next < p->lane_first) /* it comes over TLS */
		return;
	if (!p->torn_ms)
		p->torn_ms = now;
	else if (now - p->torn_ms > TORN_MS)
		path_break(p, RDMA_BROKEN, "the ring holds what the other side did not seal");
}

int rdma_path_init(struct rdma_peer *p, const uint8_t *out_key, const uint8_t *in_key)
{
	p->lane_first = NEVER;
	if (rdma_writer_init(&p->writer, p->area + HALF, out_key) < 0 ||
	    rdma_reader_init(&p->reader, p->area, p->area + 2 * HALF, in_key) < 0)
		return -ENOMEM;
	p->reader.clear = p->clear;
	p->reader.sums = rdma_place_sums;
	p->reader.sums_ctx = p;
	put_greeting(p);
	return p->out.bad ? -ENOMEM : 0;
}

void rdma_path_fini(struct rdma_peer *p)
{
	if (p->theirs_memory)
		p->verbs->memory_remove(p->theirs_memory);
	if (p->own_memory)
		p->verbs->memory_remove(p->own_memory);
	rdma_writer_fini(&p->writer);
	rdma_reader_fini(&p->reader);
	buf_free(&p->in);
	buf_free(&p->out);
}
