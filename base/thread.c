// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

static const char *const role_names[] = {
	[THREAD_MAIN] = "main",		[THREAD_VCPU] = "vcpu",
	[THREAD_POLLER] = "poller",	[THREAD_DISK] = "disk",
	[THREAD_LOG] = "log",		[THREAD_SENDER] = "sender",
	[THREAD_RECEIVER] = "receiver", [THREAD_ACCEPTOR] = "acceptor",
	[THREAD_SPY] = "spy",		[THREAD_CONTROL] = "control",
	[THREAD_CONSOLE] = "console",	[THREAD_FABRIC] = "fabric",
	[THREAD_SNAPSHOT] = "snapshot", [THREAD_KEEPER] = "keeper",
	[THREAD_COURIER] = "courier",
};

struct start {
	enum thread_role role;
	void *(*fn)(void *arg);
	void *arg;
};

/*
 * A request of a thread that waits until a new thread is created; there is at most one at a time.
 */
struct request {
	pthread_t *thread;
	struct start *start;
	int result;
	bool done;
};

static void (*start_hook)(enum thread_role role);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { HOST_NONE, HOST_RUNS, HOST_OVER } hosting;
static bool ended;
static pthread_t host;
static struct request *request;

const char *thread_role_name(enum thread_role role)
{
	return role_names[role];
}

void thread_on_start(void (*hook)(enum thread_role role))
{
	start_hook = hook;
}

static void *thread_main(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	pthread_setname_np(pthread_self(), role_names[s.role]);
	if (start_hook)
		start_hook(s.role);
	return s.fn(s.arg);
}

static int create(pthread_t *t, struct start *s)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	sigset_t set, old;
	int ret;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	ret = pthread_create(t, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		free(s);
	return ret;
}

/*
 * Lock held, while the host runs, which does not end before it has done what is asked of it. An
 * errno; s is the new thread's, or freed.
 */
static int ask_host(pthread_t *t, struct start *s)
{
	struct request r = { .thread = t, .start = s };

	while (request && hosting == HOST_RUNS)
		pthread_cond_wait(&changed, &lock);
	if (hosting != HOST_RUNS) {
		free(s);
		return ECANCELED;
	}
	request = &r;
	pthread_cond_broadcast(&changed);
	while (!r.done)
		pthread_cond_wait(&changed, &lock);
	return r.result;
}

int thread_start(pthread_t *t, enum thread_role role, void *(*fn)(void *), void *arg)
{
	struct start *s = malloc(sizeof(*s));
	bool elsewhere;
	int ret = 0;

	if (!s)
		return ENOMEM;
	*s = (struct start){ .role = role, .fn = fn, .arg = arg };
	pthread_mutex_lock(&lock);
	elsewhere = hosting != HOST_NONE && !pthread_equal(host, pthread_self());
	if (elsewhere)
		ret = ask_host(t, s);
	pthread_mutex_unlock(&lock);
	return elsewhere ? ret : create(t, s);
}

struct hosted {
	void *(*fn)(void *arg);
	void *arg;
};

static void *hosted_main(void *arg)
{
	struct hosted *h = arg;
	void *result = h->fn(h->arg);

	pthread_mutex_lock(&lock);
	ended = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return result;
}

int thread_host(enum thread_role role, void *(*fn)(void *), void *arg, void **result)
{
	struct hosted h = { .fn = fn, .arg = arg };
	pthread_t t;
	int ret;

	/* Before the thread starts: it may ask for others at once. */
	pthread_mutex_lock(&lock);
	ended = false;
	host = pthread_self();
	hosting = HOST_RUNS;
	pthread_mutex_unlock(&lock);
	ret = thread_start(&t, role, hosted_main, &h);
	pthread_mutex_lock(&lock);
	if (ret)
		ended = true;
	while (!ended || request) {
		if (!request) {
			pthread_cond_wait(&changed, &lock);
			continue;
		}
		request->result = create(request->thread, request->start);
		request->done = true;
		request = NULL;
		pthread_cond_broadcast(&changed);
	}
	hosting = HOST_OVER;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (ret == 0)
		pthread_join(t, result);
	return ret;
}
