// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process that holds the results runs no guest: workers do, each a replay in a jail of its own,
 * and hand their results on through a pipe. Which experiments a worker does follows from their
 * numbers, so nobody has to be told; what is done already was in its memory when it was made.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/campaign.h"
#include "host/exit.h"
#include "host/replay_worker.h"
#include "host/run_end.h"
#include "host/stop.h"

struct worker {
	struct replay_worker base; /* the first member; results go to its pipe */
	const struct campaign_run *run;
	unsigned number;
};

/* ---- a worker ---- */

static bool campaign_run_has(const struct campaign_run *r, uint64_t n)
{
	return !r->shards || n % r->shards == r->shard;
}

uint64_t campaign_run_left(const struct campaign_run *r, uint64_t *all)
{
	uint64_t left = 0;

	*all = 0;
	for (uint64_t n = 0; n < r->plan->experiments; n++) {
		*all += campaign_run_has(r, n);
		left += campaign_run_has(r, n) && !(r->order && r->order->outcome[n]);
	}
	return left;
}

bool campaign_run_is_of(const struct campaign_run *r, unsigned number, uint64_t n)
{
	if (r->only != UINT64_MAX)
		return n == r->only;
	return campaign_run_has(r, n) && n / (r->shards ? r->shards : 1) % r->jobs == number &&
	       !(r->order && r->order->outcome[n]);
}

/* Where the fault of an experiment that somebody looks at went. */
static int look_closer(struct worker *w, struct campaign_row *row, const struct fault *fault,
		       struct err *err)
{
	const struct experiment_result *r = &row->result;
	uint64_t to = r->first_difference != UINT64_MAX ? r->first_difference : r->end_count;

	return r->outcome == OUTCOME_REFUSED
		       ? 0
		       : experiments_spread(w->base.x, fault, w->run->plan->together, to,
					    &row->spread, err);
}

#define PRUNE_CHECK 16 /* every so many experiments are run even if they need not be */

/* An experiment; where it was pruned, now and then it is run all the same. */
static int run_one(struct worker *w, struct campaign_row *row, const struct fault *fault,
		   struct err *err)
{
	struct err why = ERR_INIT;
	int ret = experiments_run(w->base.x, fault, w->run->plan->together, &row->result, err);

	if (ret < 0 || !row->result.pruned || row->n % PRUNE_CHECK)
		return ret;
	ret = experiments_verify(w->base.x, fault, &row->result, &why);
	return ret < 0 ? err_set(err, -ret, "experiment %llu: %s: leave out \"prune\"",
				 (unsigned long long)row->n, why.text)
		       : 0;
}

static int nothing_there(struct err *err)
{
	return err_set(err, EINVAL, "the plan's window or range holds nothing of this recording");
}

static int do_one(struct worker *w, uint64_t n, const struct campaign_space *s, struct err *err)
{
	struct campaign_row row = { .n = n };
	struct fault fault[CAMPAIGN_TOGETHER] = { 0 };
	uint64_t began = host_mono_ns();

	if (!campaign_plan_draw(w->run->plan, n, s, fault))
		return nothing_there(err);
	row.fault = fault[0];
	memcpy(row.also, fault + 1, sizeof(row.also));
	if (run_one(w, &row, fault, err) < 0)
		return -err->code;
	row.host_ns = host_mono_ns() - began;
	if (w->run->only != UINT64_MAX && look_closer(w, &row, fault, err) < 0)
		return -err->code;
	return write(w->base.fd[0], &row, sizeof(row)) == (ssize_t)sizeof(row)
		       ? 0
		       : err_set(err, EPIPE, "nobody takes the results any more");
}

/* Where experiments may be pruned, looks up what becomes of the bytes that they are to change. */
static int foresee(struct worker *w, const struct campaign_space *s, struct err *err)
{
	const struct campaign_plan *p = w->run->plan;
	struct fault drawn[CAMPAIGN_TOGETHER];

	if (!p->prune || p->together > 1)
		return 0;
	for (uint64_t i = 0; i < p->experiments; i++) {
		if (!campaign_run_is_of(w->run, w->number, i))
			continue;
		if (!campaign_plan_draw(p, i, s, drawn))
			return nothing_there(err);
		if (experiments_expect(w->base.x, drawn, err) < 0)
			return -err->code;
	}
	return experiments_foresee(w->base.x, err);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct engine *e = machine_engine(w->base.rm.up.machine);
	struct campaign_space s = { .start = e->ops->count(e),
				    .config = machine_get_config(w->base.rm.up.machine) };
	struct err err = ERR_INIT;
	int ret = experiments_golden(w->base.x, &err);

	s.end = experiments_end(w->base.x);
	s.moment = experiments_moments(w->base.x, &s.nmoments);
	if (ret == 0)
		ret = foresee(w, &s, &err);

	for (uint64_t n = 0; n < w->run->plan->experiments && ret == 0 && !stop_signal(); n++) {
		if (campaign_run_is_of(w->run, w->number, n))
			ret = do_one(w, n, &s, &err);
	}
	w->base.status = ret < 0 ? EXIT_ENGINE : 0;
	if (ret < 0 && !stop_signal())
		log_error("%s", err.text);
	return NULL;
}

static int worker_live(const struct campaign_run *r, unsigned number, int fd,
		       atomic_uint_fast64_t *beats)
{
	const struct campaign_plan *p = r->plan;
	static struct worker w;

	w = (struct worker){
		.base = { .rm = { .given = &r->o->machine, .path = p->log },
			  .config = { .bound = p->bound,
				      .detector = p->detector,
				      .ndetectors = p->ndetectors,
				      .mask = p->mask,
				      .nmasks = p->nmasks,
				      .detect_status = p->detect_status,
				      .ndetect_status = p->ndetect_status,
				      .by_status = p->by_status,
				      .prune = p->prune,
				      .when = p->when,
				      .when_output = &p->when_output,
				      .when_packet = &p->when_packet },
			  .work = work,
			  .beats = beats,
			  .pipes = 1,
			  .given = { fd } },
		.run = r,
		.number = number,
	};
	return replay_worker_live(&w.base);
}

/* ---- the process that holds the results ---- */

struct crew {
	struct campaign_run *run;
	pid_t pid[CAMPAIGN_JOBS];
	int fd[CAMPAIGN_JOBS]; /* -1: it has ended */
	struct replay_watch watch[CAMPAIGN_JOBS];
	uint64_t looked; /* at them */
	uint64_t taken, left, began, shown;
	bool enough;
};

static int live(const struct crew *c, unsigned number, int fd)
{
	atomic_uint_fast64_t *beats = c->watch[number].beats;

	return c->run->plan->npair ? campaign_pair_live(c->run, number, fd, beats)
				   : worker_live(c->run, number, fd, beats);
}

/* One process, which dies with this one. */
static int crew_hire(struct crew *c, unsigned number)
{
	pid_t parent = getpid();
	int fd[2], error = -replay_watch_open(&c->watch[number]);

	if (error)
		return -error;
	if (pipe2(fd, O_CLOEXEC) < 0) {
		error = errno;
		replay_watch_close(&c->watch[number]);
		return -error;
	}
	fflush(NULL);
	c->pid[number] = fork();
	error = errno;
	if (c->pid[number] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		for (unsigned i = 0; i < number; i++)
			close(c->fd[i]);
		close(fd[0]);
		exit(getppid() == parent ? live(c, number, fd[1]) : EXIT_ENGINE);
	}
	close(fd[1]);
	c->fd[number] = fd[0];
	if (c->pid[number] < 0) {
		close(fd[0]);
		replay_watch_close(&c->watch[number]);
	}
	return c->pid[number] < 0 ? -error : 0;
}

/* Rate, what is left of it, and what has come up, for a person at the terminal. */
static void show_progress(struct crew *c)
{
	const struct campaign_order *order = c->run->order;
	uint64_t now = host_mono_ns();
	double s = (double)(now - c->began) / 1e9, rate = s > 0 ? (double)c->taken / s : 0;
	char text[400];

	if (!order || !isatty(STDERR_FILENO) || now - c->shown < 200000000)
		return;
	c->shown = now;
	campaign_tally_say(&order->all, order->z, text, sizeof(text));
	fprintf(stderr, "\r\033[Ktwinstep: %llu of %llu, %.1f a second, %.0f s to go: %s",
		(unsigned long long)order->known, (unsigned long long)order->experiments, rate,
		rate > 0 ? (double)(c->left - c->taken) / rate : 0, text);
}

/* 0; 1 when no more are needed. */
static int crew_keep(struct crew *c, const struct campaign_row *row, struct err *err)
{
	int ret = c->run->put(c->run->ctx, row, err);

	c->taken++;
	if (ret < 0 || !c->run->order)
		return ret;
	campaign_order_add(c->run->order, row->n, row->result.outcome);
	show_progress(c);
	c->enough = c->run->order->enough;
	return c->enough;
}

/*
 * A worker holds the guest, which may hold the worker: only results that it was to find, of what
 * there is, and each of them once. Bytes, as a bool that another process wrote need not be one.
 */
static bool can_be(const struct crew *c, unsigned number, const struct campaign_row *row)
{
	const struct campaign_plan *p = c->run->plan;
	const bool *flag[] = { &row->result.pruned, &row->spread.found, &row->spread.paging,
			       &row->spread.user };
	uint8_t byte;

	for (size_t i = 0; i < sizeof(flag) / sizeof(flag[0]); i++) {
		memcpy(&byte, flag[i], 1);
		if (byte > 1)
			return false;
	}
	for (size_t i = 0; i + 1 < p->together; i++) {
		if (!campaign_plan_has(p, &row->also[i]))
			return false;
	}
	return row->n < p->experiments && campaign_run_is_of(c->run, number, row->n) &&
	       campaign_plan_has(p, &row->fault) &&
	       outcome_can_be(row->result.outcome, p->npair > 0);
}

/* What a worker has to say: rows are whole, because they are shorter than a pipe's unit. */
static int crew_take(struct crew *c, unsigned number, struct err *err)
{
	struct campaign_row row;
	ssize_t n = read(c->fd[number], &row, sizeof(row));

	if (n == (ssize_t)sizeof(row) && !can_be(c, number, &row))
		return err_set(err, EBADMSG, "worker %u has given a result that cannot be", number);
	if (n == (ssize_t)sizeof(row))
		return crew_keep(c, &row, err);
	if (n < 0 && errno == EINTR)
		return 0;
	close(c->fd[number]);
	c->fd[number] = -1;
	return 0;
}

/* One that stands still ends the campaign: what it has not done is done when it runs again. */
static int crew_look(struct crew *c, struct err *err)
{
	if (!replay_watch_is_time(&c->looked))
		return 0;
	for (unsigned i = 0; i < c->run->jobs; i++) {
		if (c->fd[i] < 0 || replay_watch_look(&c->watch[i]) < c->run->patience_s)
			continue;
		kill(c->pid[i], SIGKILL); /* it need not hear anything else */
		return err_set(err, ETIMEDOUT,
			       "worker %u has not gone on for %u s: run the campaign again "
			       "for what it has not done",
			       i, c->run->patience_s);
	}
	return 0;
}

static int crew_run(struct crew *c, struct err *err)
{
	struct pollfd wait[CAMPAIGN_JOBS];
	unsigned left = c->run->jobs;
	int ret = 0;

	while (left && ret == 0) {
		left = 0;
		for (unsigned i = 0; i < c->run->jobs; i++) {
			wait[i] = (struct pollfd){ .fd = c->fd[i], .events = POLLIN };
			left += c->fd[i] >= 0;
		}
		if (!left)
			break;
		ret = crew_look(c, err);
		if (ret < 0)
			break;
		if (poll(wait, c->run->jobs, 1000) < 0) {
			if (errno != EINTR)
				ret = err_set(err, errno, "cannot wait for workers: %s",
					      strerror(errno));
			continue;
		}
		for (unsigned i = 0; i < c->run->jobs && ret == 0; i++) {
			if (c->fd[i] >= 0 && wait[i].revents)
				ret = crew_take(c, i, err);
		}
	}
	return ret;
}

/*
 * Workers see by a pipe that nobody reads that it is over; where enough is known, or one cannot be
 * believed, they are told. The worst of their statuses.
 */
static int crew_end(struct crew *c, unsigned hired, bool now)
{
	int worst = 0, status[CAMPAIGN_JOBS];

	for (unsigned i = 0; i < hired; i++) {
		if (now)
			kill(c->pid[i], SIGTERM);
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	}
	replay_worker_reap(c->pid, hired, REPLAY_WORKER_PATIENCE_MS, status);
	for (unsigned i = 0; i < hired; i++)
		replay_watch_close(&c->watch[i]);
	for (unsigned i = 0; i < hired && !c->enough; i++) {
		int s = WIFEXITED(status[i]) ? WEXITSTATUS(status[i]) : EXIT_ENGINE;

		if (WIFSIGNALED(status[i]))
			log_error("a worker has ended by signal %d: run the campaign again for "
				  "what it has not done",
				  WTERMSIG(status[i]));
		worst = s > worst ? s : worst;
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return worst;
}

int campaign_run(struct campaign_run *r)
{
	static struct crew c;
	struct err err = ERR_INIT;
	unsigned hired = 0;
	uint64_t all;
	int status, ret = 0;

	c = (struct crew){ .run = r, .began = host_mono_ns() };
	c.left = campaign_run_left(r, &all);
	while (hired < r->jobs && (ret = crew_hire(&c, hired)) == 0)
		hired++;
	if (ret == 0)
		ret = crew_run(&c, &err);
	else
		err_set(&err, -ret, "cannot start a worker: %s", strerror(-ret));
	status = crew_end(&c, hired, c.enough || ret < 0);
	if (ret >= 0)
		return status;
	log_error("%s", err.text);
	return EXIT_ENGINE;
}
