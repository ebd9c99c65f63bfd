// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/witness.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/log.h"

#define MAGIC	    0x54495754u /* "TWIT" */
#define VERSION	    1
#define GUESTS	    64
#define CONNECTIONS 64
#define IDLE_MS	    60000 /* an idle connection is closed after this time */
#define SEND_MS	    2000

/* ---- messages ---- */

bool witness_name_is_good(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= WITNESS_NAME || !isalnum((unsigned char)*name))
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("-._", *name))
			return false;
	}
	return true;
}

static void take_bytes(struct buf *b, uint8_t *out, size_t n)
{
	must(!b->bad && b->len == n);
	memcpy(out, b->data, n);
	buf_free(b);
}

void witness_put_request(uint8_t out[WITNESS_REQUEST], const struct witness_request *q)
{
	struct buf b = BUF_INIT;

	buf_put_u32(&b, MAGIC);
	buf_put_u8(&b, VERSION);
	buf_put_u8(&b, (uint8_t)q->op);
	buf_put_u16(&b, 0);
	buf_put_u64(&b, q->generation);
	buf_put(&b, q->id, sizeof(q->id));
	buf_put(&b, q->guest, sizeof(q->guest));
	take_bytes(&b, out, WITNESS_REQUEST);
}

int witness_get_request(const uint8_t in[WITNESS_REQUEST], struct witness_request *q,
			struct err *err)
{
	struct rd r = RD_INIT(in, WITNESS_REQUEST);
	uint32_t magic = rd_u32(&r);
	uint8_t version = rd_u8(&r), op = rd_u8(&r);

	*q = (struct witness_request){ .op = (enum witness_op)op };
	if (magic != MAGIC)
		return err_set(err, EBADMSG, "that is no request to a witness");
	if (version != VERSION)
		return err_set(err, EBADMSG, "this witness speaks version %d, not %u", VERSION,
			       version);
	if (rd_u16(&r) || op > WITNESS_OPEN)
		return err_set(err, EBADMSG, "there is no request %u to a witness", op);
	q->generation = rd_u64(&r);
	rd_get(&r, q->id, sizeof(q->id));
	rd_get(&r, q->guest, sizeof(q->guest));
	if (q->guest[WITNESS_NAME - 1] || !witness_name_is_good(q->guest))
		return err_set(err, EBADMSG, "that is no name for a guest");
	return 0;
}

void witness_put_answer(uint8_t out[WITNESS_ANSWER], const struct witness_answer *a)
{
	struct buf b = BUF_INIT;

	buf_put_u32(&b, (uint32_t)a->result);
	buf_put_u32(&b, 0);
	buf_put_u64(&b, a->generation);
	buf_put(&b, a->id, sizeof(a->id));
	buf_put(&b, a->text, sizeof(a->text));
	take_bytes(&b, out, WITNESS_ANSWER);
}

int witness_get_answer(const uint8_t in[WITNESS_ANSWER], struct witness_answer *a)
{
	struct rd r = RD_INIT(in, WITNESS_ANSWER);

	a->result = (int32_t)rd_u32(&r);
	if (rd_u32(&r) || a->result > 1 || a->result < -4095)
		return -EBADMSG;
	a->generation = rd_u64(&r);
	rd_get(&r, a->id, sizeof(a->id));
	rd_get(&r, a->text, sizeof(a->text));
	return a->text[WITNESS_TEXT - 1] ? -EBADMSG : 0;
}

/* ---- the server ---- */

struct guest {
	char name[WITNESS_NAME];
	struct arbiter *arbiter;
};

struct server {
	const char *dir;
	/* guards the list; an arbiter itself may be called by several threads */
	pthread_mutex_t lock;
	struct guest guest[GUESTS];
	unsigned nguests;
	atomic_uint connections;
};

struct connection {
	struct server *s;
	struct peer *p;
};

static void spec_of(const struct server *s, const char *name, char spec[600])
{
	snprintf(spec, 600, "file:%.500s/%s", s->dir, name);
}

/* Returns a guest's arbiter, which is opened at the first call. NULL and err on failure. */
static struct arbiter *arbiter_of(struct server *s, const char *name, struct err *err)
{
	struct arbiter *a = NULL;
	char spec[600];

	spec_of(s, name, spec);
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->nguests; i++) {
		if (!strcmp(s->guest[i].name, name))
			a = s->guest[i].arbiter;
	}
	if (!a && s->nguests == GUESTS)
		err_set(err, E2BIG, "this witness has %d guests already", GUESTS);
	else if (!a && (a = arbiter_open(spec, err))) {
		struct guest *g = &s->guest[s->nguests++];

		strcpy(g->name, name);
		g->arbiter = a;
	}
	pthread_mutex_unlock(&s->lock);
	return a;
}

static int init(const struct server *s, const char *name, struct err *err)
{
	char spec[600];

	spec_of(s, name, spec);
	return arbiter_init(spec, err);
}

static int execute(struct server *s, const struct witness_request *q, struct witness_answer *a,
		   struct err *err)
{
	struct arbiter *arbiter;

	if (q->op == WITNESS_INIT)
		return init(s, q->guest, err);
	arbiter = arbiter_of(s, q->guest, err);
	if (!arbiter && err->code == ENOENT)
		return err_set(err, ENOENT,
			       "this witness knows no guest %s: `twinstep arbiter init` makes it "
			       "known, once",
			       q->guest);
	if (!arbiter)
		return -err->code;
	if (q->op == WITNESS_TAKE)
		return arbiter_take(arbiter, q->generation, q->id, err);
	if (q->op == WITNESS_OWNER)
		return arbiter_owner(arbiter, q->generation, a->id, err);
	return q->op == WITNESS_LAST ? arbiter_last(arbiter, &a->generation, err) : 0;
}

/* Answers a request. False: the connection is over. */
static bool answer_one(struct connection *c)
{
	uint8_t in[WITNESS_REQUEST], out[WITNESS_ANSWER];
	struct witness_request q;
	struct witness_answer a = { 0 };
	struct err err = ERR_INIT;
	bool sense;

	if (peer_recv_all(c->p, in, sizeof(in), IDLE_MS, NULL) < 0)
		return false;
	sense = witness_get_request(in, &q, &err) == 0;
	a.result = sense ? execute(c->s, &q, &a, &err) : -err.code;
	if (a.result < 0)
		snprintf(a.text, sizeof(a.text), "%.*s", (int)sizeof(a.text) - 1, err.text);
	if (sense && q.op == WITNESS_TAKE && a.result == 1)
		log_info("guest %s: generation %llu is %02x%02x%02x%02x's, at %s", q.guest,
			 (unsigned long long)q.generation, q.id[0], q.id[1], q.id[2], q.id[3],
			 peer_name(c->p));
	witness_put_answer(out, &a);
	return peer_send(c->p, out, sizeof(out), SEND_MS, NULL) == 0 && sense;
}

static void *serve_connection(void *arg)
{
	struct connection *c = arg;

	while (answer_one(c))
		;
	peer_close(c->p);
	atomic_fetch_sub(&c->s->connections, 1);
	free(c);
	return NULL;
}

static void begin_connection(struct server *s, struct peer *p)
{
	struct connection *c = calloc(1, sizeof(*c));
	pthread_attr_t attr;
	pthread_t t;
	bool good = c && atomic_fetch_add(&s->connections, 1) < CONNECTIONS;

	if (c)
		*c = (struct connection){ s, p };
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!good || pthread_create(&t, &attr, serve_connection, c) != 0) {
		log_warn("%s is refused: there are %u connections", peer_name(p),
			 atomic_load(&s->connections));
		if (c)
			atomic_fetch_sub(&s->connections, 1);
		free(c);
		peer_close(p);
	}
	pthread_attr_destroy(&attr);
}

int witness_serve(const char *dir, const char *addr, const struct peer_key *key,
		  const volatile bool *stop, struct err *err)
{
	static struct server s; /* static, because connections' threads may outlive this function */
	struct peer_listener *l;

	s.dir = dir;
	pthread_mutex_init(&s.lock, NULL);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "cannot make the directory %s: %s", dir,
			       strerror(errno));
	l = peer_listen(addr, key, err);
	if (!l)
		return -err->code;
	while (!*stop) {
		struct err mine = ERR_INIT;
		struct peer *p = peer_accept(l, 200, &mine);

		if (p)
			begin_connection(&s, p);
		else if (mine.code != EAGAIN)
			log_warn("%s", mine.text);
	}
	if (peer_listener_path(l))
		remove(peer_listener_path(l));
	peer_listener_close(l);
	return 0;
}
