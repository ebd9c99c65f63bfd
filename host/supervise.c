// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/supervise.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void put_ends(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

int supervise_signals(void)
{
	sigset_t set;

	put_ends(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void supervise_exec(char *const *argv)
{
	sigset_t ends;

	put_ends(&ends);
	sigprocmask(SIG_SETMASK, &ends, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv("/proc/self/exe", argv);
	_exit(127);
}
