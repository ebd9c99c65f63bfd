// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/thread.h"
#include "hypervisor/cpuid.h"
#include "replica/replica_private.h"

struct parcel *parcel_new(enum wire_type type, struct buf *take)
{
	struct parcel *p = calloc(1, sizeof(*p));

	if (!p || take->bad) {
		free(p);
		buf_clear(take);
		return NULL;
	}
	p->type = type;
	p->data = *take;
	*take = (struct buf)BUF_INIT;
	return p;
}

void parcel_free(struct parcel *p)
{
	if (!p)
		return;
	buf_free(&p->data);
	free(p);
}

struct parcel *parcel_pop(struct queue *q)
{
	struct queue_node *n = queue_pop(q);

	return n ? caa_container_of(n, struct parcel, node) : NULL;
}

void session_push(struct session *s, struct parcel *p)
{
	if (p)
		queue_push(&s->queue, &p->node, p->data.len + sizeof(*p));
	else
		session_end(s);
}

void session_ask(struct session *s)
{
	atomic_store(&s->asked, true);
	queue_wake(&s->queue);
}

struct session *session_new(struct replica *r, struct peer *p)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s || queue_init(&s->queue) < 0) {
		free(s);
		peer_close(p);
		return NULL;
	}
	s->r = r;
	wire_init(&s->wire, p);
	return s;
}

int session_start(struct session *s, void *(*sender)(void *), void *(*receiver)(void *),
		  struct err *err)
{
	int ret = 0;

	session_beat(s);
	if (sender) {
		ret = thread_start(&s->sender, THREAD_SENDER, sender, s);
		s->has_sender = ret == 0;
	}
	if (ret == 0 && receiver) {
		ret = thread_start(&s->receiver, THREAD_RECEIVER, receiver, s);
		s->has_receiver = ret == 0;
	}
	return ret ? err_set(err, ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

void session_beat(struct session *s)
{
	atomic_store_explicit(&s->beat_ns, host_mono_ns(), memory_order_relaxed);
}

uint64_t session_last_beat(struct session *s)
{
	uint64_t beat = atomic_load_explicit(&s->beat_ns, memory_order_relaxed);
	uint64_t vcpu = replica_last_beat(s->r), poller;
	struct live *live = replica_look(s->r);

	poller = live ? live_poller_beat(live) : vcpu;
	replica_looked(s->r);
	beat = vcpu < beat ? vcpu : beat;
	return poller < beat ? poller : beat;
}

uint64_t session_hear(struct session *s, uint64_t heard_ns, unsigned period_ms)
{
	return hang_watch_look(&s->quiet, heard_ns, host_mono_ns(), 2 * period_ms * 1000000ull);
}

void session_end(struct session *s)
{
	atomic_store(&s->over, true);
	peer_shutdown(s->wire.peer);
	queue_wake(&s->queue);
}

void session_join(struct session *s)
{
	session_end(s);
	if (s->has_sender)
		pthread_join(s->sender, NULL);
	if (s->has_receiver)
		pthread_join(s->receiver, NULL);
	s->has_sender = s->has_receiver = false;
}

void session_free(struct session *s)
{
	struct parcel *p;

	if (!s)
		return;
	session_join(s);
	while ((p = parcel_pop(&s->queue)))
		parcel_free(p);
	joining_free(s->joining);
	queue_fini(&s->queue);
	peer_close(s->wire.peer);
	wire_fini(&s->wire);
	free(s);
}

/* ---- handshake ---- */

static void hello_fill(const struct replica *r, bool primary, struct wire_hello *h)
{
	*h = (struct wire_hello){
		.wire_version = WIRE_VERSION,
		.codec_version = CODEC_VERSION,
		.primary = primary,
		.generation = failover_generation(&r->failover),
		.cpuid_digest = cpuid_v1_digest(),
		.on_divergence = (uint8_t)r->cfg.on_divergence,
		.timeout_ms = r->cfg.timeout_ms,
		.hang_timeout_ms = r->cfg.hang_timeout_ms,
	};
	memcpy(h->id, r->id, WIRE_ID_LEN);
	memcpy(h->version, twinstep_version, sizeof(h->version));
	machine_config_defaults(&h->config);
	h->config.version = 1; /* a backup that has no machine yet does not know its revision */
	if (r->m) {
		const struct engine_ops *ops = machine_engine(r->m)->ops;

		strncpy(h->counter, ops->counter, sizeof(h->counter) - 1);
		h->config = *machine_get_config(r->m);
		traits_of(ops, h->config.version, &h->traits);
		h->config_digest = machine_config_digest(&h->config);
	}
}

int session_say_hello(struct session *s, bool primary, struct err *err)
{
	struct wire_hello h;
	struct buf b = BUF_INIT;
	int ret;

	hello_fill(s->r, primary, &h);
	wire_hello_save(&h, &b);
	ret = wire_send(&s->wire, WIRE_HELLO, b.data, b.len, false, (int)s->r->cfg.timeout_ms * 4,
			err);
	buf_free(&b);
	return ret;
}

/* Refuses the other side and tells it why. */
static int hello_refuse(struct session *s, const char *why, struct err *err)
{
	wire_send(&s->wire, WIRE_REFUSE, why, strlen(why), false, (int)s->r->cfg.timeout_ms, NULL);
	return err_set(err, EPROTO, "%s is refused: %s", peer_name(s->wire.peer), why);
}

static int hello_check(struct session *s, bool primary, struct err *err)
{
	const struct wire_hello *h = &s->theirs;
	char text[200], why[240];

	if (h->primary == primary)
		return hello_refuse(
			s, primary ? "both sides are primaries" : "both sides are backups", err);
	if (cpuid_v1_refusal(h->cpuid_digest, text, sizeof(text))) {
		snprintf(why, sizeof(why), "the other side has %s", text);
		return hello_refuse(s, why, err);
	}
	if (!primary && machine_config_digest(&h->config) != h->config_digest)
		return hello_refuse(s, "the machine's configuration and its digest disagree", err);
	if (h->timeout_ms < WIRE_SILENCE_MIN_MS || h->timeout_ms > WIRE_SILENCE_MAX_MS ||
	    h->hang_timeout_ms < 100 || h->hang_timeout_ms > 3600000)
		return hello_refuse(s, "a timeout is out of range", err);
	return 0;
}

int session_hear_hello(struct session *s, bool primary, struct err *err)
{
	int timeout = (int)s->r->cfg.timeout_ms * 4;
	struct wire_frame f;
	int ret = wire_recv(&s->wire, &f, timeout < 2000 ? 2000 : timeout, err);

	if (ret == 0)
		return err_set(err, ECONNRESET, "%s closed the connection during the handshake",
			       peer_name(s->wire.peer));
	if (ret == -EAGAIN)
		return err_set(err, ETIMEDOUT, "%s said nothing during the handshake",
			       peer_name(s->wire.peer));
	if (ret < 0)
		return ret;
	if (f.type == WIRE_REFUSE)
		return err_set(err, EPROTO, "%s refuses us: %.*s", peer_name(s->wire.peer),
			       (int)(f.len < 200 ? f.len : 200), (const char *)f.data);
	ret = wire_hello_restore(&s->theirs, &f, err);
	if (ret < 0) {
		wire_send(&s->wire, WIRE_REFUSE, err->text, strlen(err->text), false, timeout,
			  NULL);
		return err_prefix(err, "%s", peer_name(s->wire.peer));
	}
	ret = hello_check(s, primary, err);
	if (ret == 0)
		wire_established(&s->wire);
	return ret;
}

int session_hello(struct session *s, bool primary, struct err *err)
{
	int ret = session_say_hello(s, primary, err);

	return ret < 0 ? ret : session_hear_hello(s, primary, err);
}
