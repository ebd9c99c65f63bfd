// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
static void (*stop_fn)(void *ctx);
static void *stop_ctx;
static volatile sig_atomic_t stop_which;

static void handle(int sig)
{
	int saved = errno;

	stop_which = sig;
	stop_fn(stop_ctx);
	errno = saved;
}

static void set_all(void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++)
		sigaction(stop_signals[i], &sa, NULL);
}

void stop_on_signals(void (*stop)(void *ctx), void *ctx)
{
	sigset_t set;

	stop_fn = stop;
	stop_ctx = ctx;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
	set_all(handle, SA_RESTART | (int)SA_RESETHAND);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++)
		sigaddset(&set, stop_signals[i]);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* they may have waited for a handler: jail_begin() */
}

int stop_signal(void)
{
	return stop_which;
}

void stop_restore(void)
{
	set_all(SIG_DFL, 0);
}
