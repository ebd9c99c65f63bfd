// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The list of kinds of arbiters, and the way to one from inside a jail. A replica in a jail sends
 * its requests to its keeper (isolation/keeper.h), which has the arbiter's descriptor and makes the
 * request in its place. The same code serves all kinds, so a kind is one file with its arbiter_ops
 * and one line in the list below.
 */
#include "replica/arbiter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "isolation/keeper.h"

/* Limits of a replica: so many new generations in a short time, then one in so many seconds. */
#define TAKES	     256
#define TAKE_SECONDS 1

static const struct arbiter_ops *const kinds[] = { &arbiter_file_ops, &arbiter_etcd_ops,
						   &arbiter_witness_ops };

/*
 * Finds the kind that spec names; NULL and err: there is none. *name: the part of spec after the
 * kind.
 */
static const struct arbiter_ops *kind_of(const char *spec, const char **name, struct err *err)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i]->prefix);

		*name = spec + n + 1;
		if (!strncmp(spec, kinds[i]->prefix, n) && spec[n] == ':' && spec[n + 1])
			return kinds[i];
	}
	err_set(err, EINVAL,
		"unknown arbiter '%s': expected file:DIR, etcd://... or "
		"witness:...",
		spec);
	return NULL;
}

int arbiter_check_kind(const char *spec, struct err *err)
{
	const char *name;

	return kind_of(spec, &name, err) ? 0 : -EINVAL;
}

struct arbiter *arbiter_open(const char *spec, struct err *err)
{
	const char *name;
	const struct arbiter_ops *ops = kind_of(spec, &name, err);
	struct arbiter *a = ops ? ops->open(name, err) : NULL;

	if (!a)
		return NULL;
	a->ops = ops;
	a->takes = TAKES;
	a->refilled = host_mono_ns() / 1000000000;
	return a;
}

int arbiter_init(const char *spec, struct err *err)
{
	const char *name;
	const struct arbiter_ops *ops = kind_of(spec, &name, err);

	if (!ops)
		return -EINVAL;
	return ops->init ? ops->init(name, err) : 0;
}

bool arbiter_same_owner(const uint8_t a[ARBITER_ID_LEN], const uint8_t b[ARBITER_ID_LEN])
{
	return !memcmp(a, b, ARBITER_ID_LEN - 1) &&
	       !((a[ARBITER_ID_LEN - 1] ^ b[ARBITER_ID_LEN - 1]) & ~ARBITER_COUNTS_ON);
}

void arbiter_mark(uint8_t marked[ARBITER_ID_LEN], const uint8_t id[ARBITER_ID_LEN])
{
	memcpy(marked, id, ARBITER_ID_LEN);
	marked[ARBITER_ID_LEN - 1] |= ARBITER_COUNTS_ON;
}

bool arbiter_is_marked(const uint8_t owner[ARBITER_ID_LEN])
{
	return owner[ARBITER_ID_LEN - 1] & ARBITER_COUNTS_ON;
}

void arbiter_close(struct arbiter *a)
{
	if (a)
		a->ops->close(a);
}

/* ---- in the keeper ---- */

enum { ASK_TAKE = KEEPER_SERVICE, ASK_OWNER, ASK_LAST };

/*
 * Limits how many new generations a replica may take, so that one under an attacker's control
 * cannot fill the arbiter up: one for each second, and a stock of TAKES for a pair that has bad
 * luck. -EAGAIN is not an answer of the arbiter, so a healthy replica is not ended by it: it waits
 * a second and asks again.
 */
static int allow_take(struct arbiter *a, uint64_t generation, struct err *err)
{
	uint64_t now = host_mono_ns() / 1000000000;
	uint64_t more = (now - a->refilled) / TAKE_SECONDS;

	if (generation <= a->highest)
		return 0;
	a->refilled += more * TAKE_SECONDS;
	a->takes = more > TAKES - a->takes ? TAKES : a->takes + (unsigned)more;
	if (!a->takes)
		return err_set(err, EAGAIN,
			       "%d new generations in a short time are too many: the next in %d s",
			       TAKES, TAKE_SECONDS);
	a->takes--;
	return 0;
}

static int take(struct arbiter *a, uint64_t generation, const uint8_t *id, struct err *err)
{
	return generation ? a->ops->take(a, generation, id, err)
			  : err_set(err, EPERM, "there is no generation 0");
}

static int serve_take(struct arbiter *a, struct keeper_message *m, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN];
	int ret = allow_take(a, m->arg, err);

	if (ret == 0)
		ret = take(a, m->arg, m->data, err);
	/*
	 * With no generation to spare, a question about one that has an owner can still be
	 * answered.
	 */
	else if (a->ops->owner(a, m->arg, owner, NULL) == 1)
		ret = !memcmp(owner, m->data, ARBITER_ID_LEN);
	if (ret >= 0 && m->arg > a->highest)
		a->highest = m->arg;
	return ret;
}

/* When the result is negative, the answer carries the error's text in place of an id. */
int arbiter_serve(void *arbiter, struct keeper_message *m)
{
	struct arbiter *a = arbiter;
	struct err err = ERR_INIT;

	if (m->op == ASK_TAKE)
		m->result = serve_take(a, m, &err);
	else if (m->op == ASK_OWNER)
		m->result = a->ops->owner(a, m->arg, m->data, &err);
	else if (m->op == ASK_LAST)
		m->result = a->ops->last(a, &m->arg, &err);
	else
		m->result = err_set(&err, EPERM, "there is no such request");
	if (m->result < 0)
		snprintf((char *)m->data, sizeof(m->data), "%.250s", err.text);
	return -1;
}

/* ---- in the replica ---- */

static int ask(struct arbiter *a, struct keeper_message *m, struct err *err)
{
	int ret = keeper_call(a->keeper, m);

	if (ret == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT, "the arbiter has not answered for %u ms",
			       a->ops->wait_ms);
	if (ret < 0)
		return err_set(err, -ret, "the process that asks the arbiter for us %s",
			       ret == -EAGAIN ? "was killed" : "is gone");
	m->data[sizeof(m->data) - 1] = 0;
	return m->result < 0 ? err_set(err, -m->result, "%s", (const char *)m->data) : m->result;
}

int arbiter_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		 struct err *err)
{
	struct keeper_message m = { .op = ASK_TAKE, .arg = generation };

	if (!a->keeper)
		return take(a, generation, id, err);
	memcpy(m.data, id, ARBITER_ID_LEN);
	return ask(a, &m, err);
}

int arbiter_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		  struct err *err)
{
	struct keeper_message m = { .op = ASK_OWNER, .arg = generation };
	int ret;

	if (!a->keeper)
		return a->ops->owner(a, generation, id, err);
	ret = ask(a, &m, err);
	if (ret > 0)
		memcpy(id, m.data, ARBITER_ID_LEN);
	return ret;
}

int arbiter_last(struct arbiter *a, uint64_t *generation, struct err *err)
{
	struct keeper_message m = { .op = ASK_LAST };
	int ret;

	if (!a->keeper)
		return a->ops->last(a, generation, err);
	ret = ask(a, &m, err);
	*generation = m.arg;
	return ret;
}

struct keeper_post arbiter_post(struct arbiter *a)
{
	return (struct keeper_post){ .service = arbiter_serve,
				     .ctx = a,
				     .fd = a->ops->fd(a),
				     .network = a->ops->network,
				     .wait_ms = a->ops->wait_ms };
}

void arbiter_delegate(struct arbiter *a, struct keeper *k)
{
	a->keeper = k;
	a->ops->delegate(a);
}
