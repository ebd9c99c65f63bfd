// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An arbiter that is a witness (witness.h): witness:HOST:PORT/GUEST,key=FILE. The connection is
 * kept, and made anew when it breaks. A request whose answer was lost is sent once more. That is
 * safe: a generation that is ours already is given to us again.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/witness.h"

#define STEP_MS 1000 /* for each of: connection, handshake, question, answer */

struct witness_arbiter {
	struct arbiter base;
	char address[PEER_NAME_LEN], guest[WITNESS_NAME];
	struct peer_key *key;
	char *key_path;
	pthread_mutex_t lock; /* guards the connection: one request at a time */
	struct peer *peer;    /* NULL: none */
};

static void hang_up(struct witness_arbiter *a)
{
	peer_close(a->peer);
	a->peer = NULL;
}

/* Sends a request once. Each step has its own deadline. 0, or -errno and err. */
static int ask_once(struct witness_arbiter *a, const struct witness_request *q,
		    struct witness_answer *answer, struct err *err)
{
	uint8_t out[WITNESS_REQUEST], in[WITNESS_ANSWER];
	int ret;

	if (!a->peer && !(a->peer = peer_connect(a->address, a->key, STEP_MS, err)))
		return -err->code;
	witness_put_request(out, q);
	ret = peer_send(a->peer, out, sizeof(out), STEP_MS, err);
	if (ret == 0)
		ret = peer_recv_all(a->peer, in, sizeof(in), STEP_MS, err);
	if (ret == 0 && witness_get_answer(in, answer) < 0)
		ret = err_set(err, EBADMSG, "its answer makes no sense");
	if (ret < 0)
		hang_up(a);
	return ret;
}

static int say_failure(const struct witness_arbiter *a, int ret, struct err *err)
{
	const struct err said = *err;

	if (ret == -EACCES)
		err_set(err, EACCES, "%s; %s has to be the key that the witness has", said.text,
			a->key_path);
	err_prefix(err, "witness %s", a->address);
	return ret;
}

static int ask(struct witness_arbiter *a, struct witness_request *q, struct witness_answer *answer,
	       struct err *err)
{
	int ret = -EIO;

	memcpy(q->guest, a->guest, sizeof(q->guest));
	pthread_mutex_lock(&a->lock);
	for (unsigned tries = 0; ret < 0 && tries < 2; tries++)
		ret = ask_once(a, q, answer, err);
	pthread_mutex_unlock(&a->lock);
	if (ret < 0)
		return say_failure(a, ret, err);
	return answer->result < 0
		       ? err_set(err, -answer->result, "witness %s: %s", a->address, answer->text)
		       : answer->result;
}

static int witness_take(struct arbiter *base, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
			struct err *err)
{
	struct witness_request q = { .op = WITNESS_TAKE, .generation = generation };
	struct witness_answer answer;

	memcpy(q.id, id, ARBITER_ID_LEN);
	return ask((struct witness_arbiter *)base, &q, &answer, err);
}

static int witness_owner(struct arbiter *base, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
			 struct err *err)
{
	struct witness_request q = { .op = WITNESS_OWNER, .generation = generation };
	struct witness_answer answer;
	int ret = ask((struct witness_arbiter *)base, &q, &answer, err);

	if (ret == 1)
		memcpy(id, answer.id, ARBITER_ID_LEN);
	return ret;
}

static int witness_last(struct arbiter *base, uint64_t *generation, struct err *err)
{
	struct witness_request q = { .op = WITNESS_LAST };
	struct witness_answer answer;
	int ret = ask((struct witness_arbiter *)base, &q, &answer, err);

	if (ret >= 0)
		*generation = answer.generation;
	return ret < 0 ? ret : 0;
}

/* ---- opening and closing ---- */

static int parse(struct witness_arbiter *a, char *spec, struct err *err)
{
	char *key = strstr(spec, ",key="), *guest;

	if (!key || !key[5])
		return err_set(err, EINVAL,
			       "--arbiter witness: no key: expected "
			       "witness:HOST:PORT/GUEST,key=FILE, the key that the witness holds");
	*key = 0;
	guest = strrchr(spec, '/');
	if (!guest || !witness_name_is_good(guest + 1))
		return err_set(err, EINVAL,
			       "--arbiter witness:%s: no name of a guest: expected "
			       "witness:HOST:PORT/GUEST,key=FILE",
			       spec);
	*guest = 0;
	strcpy(a->guest, guest + 1);
	if (peer_resolve(spec, a->address, sizeof(a->address), err) < 0)
		return -err->code;
	a->key = peer_key_load(key + 5, err);
	if (!a->key)
		return -err->code;
	a->key_path = strdup(key + 5);
	if (!a->key_path)
		return err_set(err, ENOMEM, "out of memory");
	peer_key_inherit(a->key); /* the keeper, another process, sends the requests */
	return 0;
}

static void witness_close(struct arbiter *base)
{
	struct witness_arbiter *a = (struct witness_arbiter *)base;

	peer_close(a->peer);
	peer_key_free(a->key);
	free(a->key_path);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static struct witness_arbiter *make(const char *name, struct err *err)
{
	struct witness_arbiter *a = calloc(1, sizeof(*a));
	char *spec = strdup(name);

	if (!a || !spec) {
		err_set(err, ENOMEM, "out of memory");
		free(a);
		free(spec);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	if (parse(a, spec, err) < 0) {
		witness_close(&a->base);
		a = NULL;
	}
	free(spec);
	return a;
}

/*
 * Opening fails if the witness does not answer or does not know the guest. A replica that cannot
 * ask at its start could not go live later either, and its operator should learn of that now.
 */
static struct arbiter *witness_open(const char *name, struct err *err)
{
	struct witness_arbiter *a = make(name, err);
	struct witness_request q = { .op = WITNESS_OPEN };
	struct witness_answer answer;

	if (!a)
		return NULL;
	if (ask(a, &q, &answer, err) < 0) {
		witness_close(&a->base);
		return NULL;
	}
	return &a->base;
}

static int witness_init(const char *name, struct err *err)
{
	struct witness_arbiter *a = make(name, err);
	struct witness_request q = { .op = WITNESS_INIT };
	struct witness_answer answer;
	int ret = a ? ask(a, &q, &answer, err) : -err->code;

	if (a)
		witness_close(&a->base);
	return ret < 0 ? ret : 0;
}

static int witness_fd(const struct arbiter *base)
{
	return -1;
}

static void witness_delegate(struct arbiter *base)
{
	struct witness_arbiter *a = (struct witness_arbiter *)base;

	hang_up(a);
	peer_key_free(a->key);
	a->key = NULL;
}

const struct arbiter_ops arbiter_witness_ops = {
	.prefix = "witness",
	.network = true,
	.wait_ms = 8 * STEP_MS,
	.open = witness_open,
	.init = witness_init,
	.close = witness_close,
	.take = witness_take,
	.owner = witness_owner,
	.last = witness_last,
	.fd = witness_fd,
	.delegate = witness_delegate,
};
