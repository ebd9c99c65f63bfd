// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A thread of each peer for the calls of verbs that may take long: making, connecting and freeing a
 * queue pair, asking a device for the state of its port. They pin memory, wait for locks of the
 * kernel that others hold for seconds, or for an adapter's firmware. Nobody waits for this thread
 * but who closes the peer: frames, and with them the beats of a replica, go on over TLS.
 *
 * It has one job at a time. A queue pair is either the peer's or in the maker's hands, and no call
 * is made on it by the other one then. What is begun is finished, and freed when it is of no
 * interest any more.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "net/rdma_private.h"

static void maker_wake(struct rdma_maker *m)
{
	uint64_t one = 1;

	/* The write fails when there are 2^64 - 2 wakes already. */
	if (write(m->wake, &one, sizeof(one)) < 0)
		return;
}

/* ---- jobs, without the lock ---- */

/* Both halves are registered once, and stay so. */
static int maker_register(struct rdma_peer *p, struct err *err)
{
	const struct verbs_ops *v = p->verbs;

	if (!p->theirs_memory)
		p->theirs_memory =
			v->memory_add(p->device, p->area, RDMA_HALF, true, &p->theirs_key, err);
	if (p->theirs_memory && !p->own_memory)
		p->own_memory = v->memory_add(p->device, p->area + RDMA_HALF, RDMA_HALF, false,
					      &p->own_key, err);
	return p->own_memory ? 0 : -err->code;
}

/* A queue pair of ours, and what the other side is told of it. */
static struct verbs_qp *maker_make(struct rdma_peer *p, struct rdma_ends *own, struct err *err)
{
	struct verbs_qp *qp;

	if (p->verbs->check(p->device, err) < 0 || maker_register(p, err) < 0)
		return NULL;
	qp = p->verbs->qp_new(p->device, RDMA_WRITES, RDMA_ARRIVALS, &own->qp, err);
	own->ring = (uintptr_t)p->area;
	own->cell = (uintptr_t)(p->area + RDMA_RING);
	own->ring_key = own->cell_key = p->theirs_key;
	return qp;
}

/* ---- the thread, with the lock ---- */

static void maker_work(struct rdma_peer *p)
{
	struct rdma_maker *m = &p->maker;
	const struct verbs_address remote = p->remote.qp;
	const enum rdma_job job = m->job;
	const uint64_t turn = m->turn;
	struct verbs_qp *qp = m->qp;
	struct rdma_ends ends = { 0 };
	struct err err = ERR_INIT;

	m->job = JOB_NONE;
	m->qp = NULL;
	m->busy = true;
	pthread_mutex_unlock(&p->lock);
	if (job != JOB_CONNECT)
		qp = maker_make(p, &ends, &err);
	if (qp && job != JOB_MAKE)
		p->verbs->qp_connect(qp, &remote, &err);
	pthread_mutex_lock(&p->lock);
	m->busy = false;
	if (turn != m->turn) {
		must(!m->gone);
		m->gone = qp;
		return;
	}
	m->made = job;
	m->made_qp = qp;
	m->made_ends = ends;
	m->made_err = err;
	rdma_path_pump(p, 0);
}

static void maker_free(struct rdma_peer *p)
{
	struct rdma_maker *m = &p->maker;
	struct verbs_qp *qp = m->gone;

	m->gone = NULL;
	m->busy = true;
	pthread_mutex_unlock(&p->lock);
	p->verbs->qp_free(qp);
	pthread_mutex_lock(&p->lock);
	m->busy = false;
}

/* For a job, or for news of the device while there is a queue pair. */
static void maker_wait(struct rdma_peer *p)
{
	struct rdma_maker *m = &p->maker;
	struct pollfd fd[] = {
		{ .fd = m->wake, .events = POLLIN },
		{ .fd = p->qp && !m->deaf ? p->verbs->events(p->device) : -1, .events = POLLIN },
	};
	const uint64_t turn = m->turn;
	struct err err = ERR_INIT;
	uint64_t wakes;
	int ret = 0;

	pthread_mutex_unlock(&p->lock);
	if (poll(fd, 2, -1) > 0) {
		if (fd[0].revents && read(m->wake, &wakes, sizeof(wakes)) < 0)
			log_try(LOG_WARN, "wake-up of RDMA: %s", strerror(errno));
		if (fd[1].revents)
			ret = p->verbs->check(p->device, &err);
	}
	pthread_mutex_lock(&p->lock);
	if (fd[1].revents & ~POLLIN)
		m->deaf = true;
	if (ret < 0 && turn == m->turn) {
		m->faulty = true;
		m->made_err = err;
		rdma_path_pump(p, 0);
	}
}

static void *maker_main(void *arg)
{
	struct rdma_peer *p = arg;
	struct rdma_maker *m = &p->maker;

	pthread_mutex_lock(&p->lock);
	while (m->gone || !m->quits) {
		if (m->gone)
			maker_free(p);
		else if (m->job)
			maker_work(p);
		else
			maker_wait(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- for the others ---- */

void rdma_maker_ask(struct rdma_peer *p, enum rdma_job job, struct verbs_qp *qp)
{
	p->maker.job = job;
	p->maker.qp = qp;
	maker_wake(&p->maker);
}

void rdma_maker_drop(struct rdma_peer *p, struct verbs_qp *qp)
{
	struct rdma_maker *m = &p->maker;

	must(!qp || !m->qp);
	if (!qp)
		qp = m->qp;
	m->turn++;
	m->job = JOB_NONE;
	m->qp = NULL;
	if (!qp)
		return;
	must(!m->gone);
	m->gone = qp;
	maker_wake(m);
}

int rdma_maker_init(struct rdma_peer *p, struct err *err)
{
	int ret = thread_start(&p->maker.thread, THREAD_FABRIC, maker_main, p);

	p->maker.runs = ret == 0;
	return ret ? err_set(err, ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

void rdma_maker_fini(struct rdma_peer *p)
{
	if (!p->maker.runs)
		return;
	pthread_mutex_lock(&p->lock);
	p->maker.quits = true;
	rdma_path_drop(p);
	maker_wake(&p->maker);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->maker.thread, NULL);
	p->maker.runs = false;
}
