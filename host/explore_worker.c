// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "host/exit.h"
#include "host/explore.h"
#include "host/replay_worker.h"

/* What goes through the pipes, between processes of one program. */
struct question {
	size_t n;
	struct fault fault[DEVIATE_FAULTS];
};

struct head {
	struct experiment_try t;
	struct explore_space space; /* of the first answer */
	uint64_t shown;		    /* so many bytes follow */
	uint8_t failed;		    /* ... and are a sentence that says why */
};

/* 0; -EPIPE: the other side has gone. */
static int put_all(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -EPIPE;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* ... or does not go on within so many ms; -1: that is waited for. */
static int get_all(int fd, void *data, size_t n, int ms)
{
	uint8_t *p = data;

	while (n) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t done = ms < 0 ? 1 : poll(&wait, 1, ms); /* a worker may not poll */

		if (done > 0)
			done = read(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -EPIPE;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* ---- a worker ---- */

enum { QUESTIONS, ANSWERS }; /* its pipes */

static int answer(const struct replay_worker *w, struct head *h, const struct buf *shown)
{
	h->shown = shown->len < EXPLORE_SHOWN ? shown->len : EXPLORE_SHOWN;
	if (put_all(w->fd[ANSWERS], h, sizeof(*h)) < 0)
		return -EPIPE;
	return put_all(w->fd[ANSWERS], shown->data, h->shown);
}

static void fill_space(struct replay_worker *w, struct explore_space *s, uint64_t start)
{
	const struct machine_config *c = machine_get_config(w->rm.up.machine);
	size_t n;
	const struct experiment_moment *moment = experiments_moments(w->x, &n);

	*s = (struct explore_space){ .start = start,
				     .end = experiments_end(w->x),
				     .after = n ? moment[0].count : start,
				     .nnics = c->nnics,
				     .ndisks = c->ndisks };
}

/* To the end of the questions. */
static int serve(struct replay_worker *w, struct buf *shown, struct err *err)
{
	uint64_t start =
		machine_engine(w->rm.up.machine)->ops->count(machine_engine(w->rm.up.machine));
	struct question q = { 0 };
	struct head h = { 0 };
	int ret = experiments_golden(w->x, err);

	if (ret == 0)
		fill_space(w, &h.space, start);
	do {
		if (ret == 0)
			ret = experiments_try(w->x, q.fault, q.n, &h.t, shown, err);
		if (ret < 0)
			return ret;
		if (answer(w, &h, shown) < 0)
			return 0;
	} while (get_all(w->fd[QUESTIONS], &q, sizeof(q), -1) == 0);
	return 0;
}

static void *work(void *arg)
{
	struct replay_worker *w = arg;
	struct buf shown = BUF_INIT;
	struct err err = ERR_INIT;

	if (serve(w, &shown, &err) < 0) {
		struct head h = { .failed = 1 };

		buf_clear(&shown);
		buf_put(&shown, err.text, strlen(err.text));
		w->status = EXIT_ENGINE;
		answer(w, &h, &shown);
	}
	buf_free(&shown);
	return NULL;
}

static int worker_live(const struct options *o, const char *log, const regex_t *after,
		       atomic_uint_fast64_t *beats, int in, int out)
{
	static struct replay_worker w;

	w = (struct replay_worker){
		.rm = { .given = &o->machine, .path = log },
		.config = { .bound = o->bound, .when_output = after },
		.work = work,
		.beats = beats,
		.pipes = 2,
		.given = { [QUESTIONS] = in, [ANSWERS] = out },
	};
	if (after)
		w.config.when = (struct experiments_when){ .kind = WHEN_OUTPUT, .nth = 1 };
	return replay_worker_live(&w);
}

/* ---- the process that asks ---- */

struct explore_crew {
	unsigned jobs; /* hired */
	pid_t pid[EXPLORE_JOBS];
	int to[EXPLORE_JOBS], from[EXPLORE_JOBS];
	bool busy[EXPLORE_JOBS];
	struct replay_watch watch[EXPLORE_JOBS];
	uint64_t looked; /* at them */
	unsigned patience_s;
	bool knows_space;
	struct explore_space space; /* as the first one said */
};

static int lost(struct err *err)
{
	return err_set(err, EPIPE, "a worker has ended; it says why in a line of its own");
}

static void close_pair(const int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

/* One process, which dies with this one; one that could not be made is not of the crew. */
static int hire(struct explore_crew *c, const struct options *o, const char *log,
		const regex_t *after)
{
	pid_t parent = getpid();
	unsigned n = c->jobs;
	int to[2], from[2], error = -replay_watch_open(&c->watch[n]);

	if (error)
		return -error;
	if (pipe2(to, O_CLOEXEC) < 0) {
		error = errno;
		replay_watch_close(&c->watch[n]);
		return -error;
	}
	if (pipe2(from, O_CLOEXEC) < 0) {
		error = errno;
		replay_watch_close(&c->watch[n]);
		close_pair(to);
		return -error;
	}
	fflush(NULL);
	c->pid[n] = fork();
	if (c->pid[n] < 0) {
		error = errno;
		replay_watch_close(&c->watch[n]);
		close_pair(to);
		close_pair(from);
		return -error;
	}
	if (c->pid[n] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		for (unsigned i = 0; i < n; i++) {
			close(c->to[i]);
			close(c->from[i]);
		}
		close(to[1]);
		close(from[0]);
		exit(getppid() == parent
			     ? worker_live(o, log, after, c->watch[n].beats, to[0], from[1])
			     : EXIT_ENGINE);
	}
	close(to[0]);
	close(from[1]);
	c->to[n] = to[1];
	c->from[n] = from[0];
	c->busy[n] = true; /* with the recording itself */
	c->jobs++;
	return 0;
}

int explore_ask(struct explore_crew *c, unsigned number, const struct fault *faults, size_t n,
		struct err *err)
{
	struct question q = { .n = n };

	must(n <= DEVIATE_FAULTS && number < c->jobs && !c->busy[number]);
	if (n)
		memcpy(q.fault, faults, n * sizeof(q.fault[0]));
	c->busy[number] = true;
	replay_watch_reset(&c->watch[number]);
	return put_all(c->to[number], &q, sizeof(q)) < 0 ? lost(err) : 0;
}

/* A worker holds the guest, which may hold the worker: nothing of what it says is believed. */
static int take(struct explore_crew *c, unsigned number, struct explore_answer *a, struct err *err)
{
	static uint8_t piece[65536];
	const int ms = (int)c->patience_s * 1000;
	struct head h;

	buf_clear(&a->shown);
	c->busy[number] = false;
	if (get_all(c->from[number], &h, sizeof(h), ms) < 0)
		return lost(err);
	if (!explore_answer_can_be(&h.t, &h.space, h.shown)) {
		c->busy[number] = true; /* nor is it trusted to end by itself */
		return err_set(err, EBADMSG, "worker %u has given an answer that cannot be",
			       number);
	}
	for (uint64_t left = h.shown; left;) {
		size_t n = left < sizeof(piece) ? left : sizeof(piece);

		if (get_all(c->from[number], piece, n, ms) < 0)
			return lost(err);
		buf_put(&a->shown, piece, n);
		left -= n;
	}
	if (h.failed)
		return err_set(err, EIO, "%.*s", (int)a->shown.len, (const char *)a->shown.data);
	a->t = h.t;
	if (!c->knows_space)
		c->space = h.space;
	c->knows_space = true;
	return a->shown.bad ? err_set(err, ENOMEM, "out of memory") : (int)number;
}

/* One that is at something and stands still is not waited for. */
static int look(struct explore_crew *c, struct err *err)
{
	if (!replay_watch_is_time(&c->looked))
		return 0;
	for (unsigned i = 0; i < c->jobs; i++) {
		if (!c->busy[i] || replay_watch_look(&c->watch[i]) < c->patience_s)
			continue;
		kill(c->pid[i], SIGKILL); /* it need not hear anything else */
		return err_set(err, ETIMEDOUT, "worker %u has not gone on for %u s", i,
			       c->patience_s);
	}
	return 0;
}

int explore_hear(struct explore_crew *c, struct explore_answer *a, struct err *err)
{
	struct pollfd wait[EXPLORE_JOBS];

	for (;;) {
		if (look(c, err) < 0)
			return -err->code;
		for (unsigned i = 0; i < c->jobs; i++)
			wait[i] = (struct pollfd){ .fd = c->busy[i] ? c->from[i] : -1,
						   .events = POLLIN };
		if (poll(wait, c->jobs, 1000) < 0 && errno != EINTR)
			return err_set(err, errno, "cannot wait for workers: %s", strerror(errno));
		for (unsigned i = 0; i < c->jobs; i++) {
			if (wait[i].revents)
				return take(c, i, a, err);
		}
	}
}

void explore_dismiss(struct explore_crew *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->jobs; i++) {
		if (c->busy[i])
			kill(c->pid[i], SIGTERM);
		close(c->to[i]);
		close(c->from[i]);
	}
	replay_worker_reap(c->pid, c->jobs, REPLAY_WORKER_PATIENCE_MS, NULL);
	for (unsigned i = 0; i < c->jobs; i++)
		replay_watch_close(&c->watch[i]);
	free(c);
}

struct explore_crew *explore_hire(const struct options *o, const char *log, unsigned jobs,
				  const regex_t *after, struct explore_space *space,
				  struct explore_answer *golden, struct err *err)
{
	struct explore_crew *c = calloc(1, sizeof(*c));
	int ret = c ? 0 : -ENOMEM;

	signal(SIGPIPE, SIG_IGN);
	if (c)
		c->patience_s = (unsigned)o->patience_s;
	for (unsigned i = 0; i < jobs && ret == 0; i++)
		ret = hire(c, o, log, after);
	if (ret < 0)
		err_set(err, -ret, "cannot start a worker: %s", strerror(-ret));
	for (unsigned i = 0; i < jobs && ret >= 0; i++)
		ret = explore_hear(c, golden, err);
	if (ret >= 0) {
		*space = c->space;
		return c;
	}
	explore_dismiss(c);
	return NULL;
}
