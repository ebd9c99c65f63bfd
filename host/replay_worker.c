// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replay_worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "host/stop.h"

/* ---- the parent looks whether it goes on ---- */

int replay_watch_open(struct replay_watch *w)
{
	void *p = mmap(NULL, sizeof(*w->beats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);

	*w = (struct replay_watch){ .beats = p == MAP_FAILED ? NULL : p };
	return w->beats ? 0 : -errno;
}

void replay_watch_close(struct replay_watch *w)
{
	if (w->beats)
		munmap((void *)w->beats, sizeof(*w->beats));
	w->beats = NULL;
}

void replay_watch_reset(struct replay_watch *w)
{
	w->quiet = 0;
}

unsigned replay_watch_look(struct replay_watch *w)
{
	uint64_t beats = atomic_load(w->beats);

	w->quiet = beats == w->seen ? w->quiet + 1 : 0;
	w->seen = beats;
	return w->quiet;
}

void replay_watch_beat(atomic_uint_fast64_t *beats)
{
	if (beats)
		atomic_fetch_add(beats, 1);
}

bool replay_watch_is_time(uint64_t *last_ns)
{
	uint64_t now = host_mono_ns();

	if (now - *last_ns < 1000000000)
		return false;
	*last_ns = now;
	return true;
}

/* ---- the worker ---- */

static bool asked(void *ctx)
{
	replay_watch_beat(((struct replay_worker *)ctx)->beats);
	return stop_signal() != 0;
}

/* What was open before the jail began is closed by it. */
static int open_names(void *ctx, struct err *err)
{
	struct replay_worker *w = ctx;

	for (unsigned i = 0; i < w->pipes; i++) {
		w->fd[i] = dup(w->given[i]);
		if (w->fd[i] < 0)
			return err_set(err, errno, "cannot copy a pipe: %s", strerror(errno));
	}
	return 0;
}

static void close_names(void *ctx)
{
	struct replay_worker *w = ctx;

	for (unsigned i = 0; i < w->pipes; i++) {
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	}
}

static struct output_sink get_sink(void *ctx)
{
	return (struct output_sink){ .ctx = &((struct replay_worker *)ctx)->x,
				     .emit = experiments_emit };
}

static int start(void *ctx, struct err *err)
{
	struct replay_worker *w = ctx;

	w->config.line = w->line = replay_machine_timeline(&w->rm, asked, err);
	if (w->line)
		w->x = experiments_open(&w->config, w->rm.up.machine, err);
	return w->x ? 0 : -err->code;
}

static void stop(void *ctx)
{
	struct replay_worker *w = ctx;

	timeline_close(w->line);
	experiments_close(w->x);
	w->line = NULL;
	w->x = NULL;
}

static int execute(void *ctx)
{
	struct replay_worker *w = ctx;
	int status = bringup_run_vcpu(w->work, w);

	return status ? status : w->status;
}

int replay_worker_live(struct replay_worker *w)
{
	static const struct bringup_role role = { .names = open_names,
						  .unname = close_names,
						  .sink = get_sink,
						  .start = start,
						  .stop = stop };

	for (unsigned i = 0; i < REPLAY_WORKER_PIPES; i++)
		w->fd[i] = -1;
	return replay_machine_live(&w->rm, &role, execute);
}

/* 0: it lives on at the end. */
static pid_t wait_until(pid_t pid, int *status, uint64_t end)
{
	pid_t got;

	while ((got = waitpid(pid, status, WNOHANG)) == 0 && host_mono_ns() < end)
		host_sleep_ns(5000000);
	return got;
}

void replay_worker_reap(const pid_t *pid, unsigned n, unsigned ms, int *status)
{
	uint64_t end = host_mono_ns() + ms * 1000000ull;

	for (unsigned i = 0; i < n; i++) {
		int s = 0;

		if (wait_until(pid[i], &s, end) == 0) {
			kill(pid[i], SIGKILL);
			while (waitpid(pid[i], &s, 0) < 0 && errno == EINTR)
				;
		}
		if (status)
			status[i] = s;
	}
}
