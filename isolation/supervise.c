// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process outside the jail. A pid namespace begins with a new process, so there are two: the
 * outer one passes signals on, and ends with the same status as the inner one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "isolation/jail_private.h"

static int lifeline = -1; /* read end of a pipe that the outer process holds */
#define SECOND_REQUEST_MS 1000

static pid_t host_pid;
static void (*at_end)(void *ctx, pid_t pid);
static void *at_end_ctx;

pid_t jail_pid(void)
{
	return host_pid ? host_pid : getpid();
}

/* /proc is still the host's here. */
static void learn_pid(void)
{
	char text[16] = "";

	if (readlink("/proc/self", text, sizeof(text) - 1) > 0)
		host_pid = atoi(text);
}

void jail_die_with_parent(void)
{
	struct pollfd p = { .fd = lifeline };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (lifeline >= 0 && poll(&p, 1, 0) > 0 &&
	    p.revents & POLLHUP) /* the outer process has already ended */
		_exit(128 + SIGKILL);
}

static pid_t clone_process(unsigned long flags)
{
	return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

pid_t jail_fork(void)
{
	unsigned uid = geteuid(), gid = getegid();
	pid_t pid = clone_process(CLONE_NEWPID);

	if (pid >= 0)
		return pid;
	pid = clone_process(CLONE_NEWPID | CLONE_NEWUSER);
	if (pid < 0)
		return fork();
	if (pid == 0 && jail_map_user(uid, gid, uid, gid) < 0)
		_exit(127);
	return pid;
}

/* ---- the outer process ---- */

void jail_at_end(void (*fn)(void *ctx, pid_t pid), void *ctx)
{
	at_end = fn;
	at_end_ctx = ctx;
}

static const int handed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP };

static void wanted_signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
		sigaddset(set, handed_on[i]);
	sigaddset(set, SIGCHLD);
}

static _Noreturn void end_like(int status)
{
	const struct rlimit none = { 0 };
	sigset_t set;
	int sig;

	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	sig = WTERMSIG(status);
	if (sig == SIGSYS)
		log_error("the jail ended the machine: it asked the kernel for something that its "
			  "role does not need");
	setrlimit(RLIMIT_CORE, &none);
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	exit(128 + sig);
}

/*
 * Passes a signal on to the inner process. A terminal sends its signals to both processes. A second
 * request to end means that the process is to be killed, unless it comes at once: timeout(1) sends
 * a signal to this process and then to its process group, which is the same request.
 */
static void hand_on(pid_t pid, const siginfo_t *si, uint64_t *asked_ms)
{
	bool end = si->si_signo != SIGUSR1 && si->si_signo != SIGUSR2;

	if (si->si_signo == SIGTSTP) {
		kill(pid, SIGSTOP);
		raise(SIGSTOP);
		kill(pid, SIGCONT);
	} else if (end && *asked_ms) {
		if (host_mono_ms() - *asked_ms >= SECOND_REQUEST_MS)
			kill(pid, SIGKILL);
	} else if (si->si_code != SI_KERNEL) {
		kill(pid, si->si_signo);
	}
	if (end && si->si_signo != SIGTSTP && !*asked_ms)
		*asked_ms = host_mono_ms();
}

/* A shell, when we were sent to the background. */
static bool others_have_terminal(void)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);

	return group >= 0 && group != getpgrp();
}

static _Noreturn void supervise(pid_t pid, const sigset_t *set)
{
	struct termios tty;
	bool has_tty = tcgetattr(STDIN_FILENO, &tty) == 0;
	uint64_t asked_ms = 0;
	siginfo_t si;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (sigwaitinfo(set, &si) > 0 && si.si_signo != SIGCHLD)
			hand_on(pid, &si, &asked_ms);
	}
	/* The machine could not always put the terminal right itself. */
	if (has_tty && !others_have_terminal()) {
		signal(SIGTTOU, SIG_IGN);
		tcsetattr(STDIN_FILENO, TCSANOW, &tty);
	}
	if (at_end)
		at_end(at_end_ctx, pid);
	end_like(status);
}

/* ---- the inner one ---- */

/* The first process of a namespace does not get signals that have no handler yet: they wait. */
static void begin_inside(const sigset_t *old, int fd)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	sigset_t set = *old;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaddset(&set, ends[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	lifeline = fd;
	learn_pid();
	jail_die_with_parent();
}

static void split(void)
{
	int life[2] = { -1, -1 };
	sigset_t set, old;
	pid_t pid;

	fflush(NULL);
	wanted_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	if (pipe2(life, O_CLOEXEC) < 0)
		life[0] = life[1] = -1;
	pid = jail_fork();
	if (pid > 0) {
		close(life[0]);
		supervise(pid, &set);
	}
	close(life[1]);
	if (pid == 0)
		begin_inside(&old, life[0]);
	else
		sigprocmask(SIG_SETMASK, &old, NULL);
}

void jail_begin(enum jail_mode mode)
{
	if (mode == JAIL_OFF)
		return;
	jail_note_inherited();
	if (getpid() != 1) /* else jail_fork() was here */
		split();
	learn_pid();
	jail_layer_set(LAYER_PID, getpid() == 1 ? 0 : EPERM);
}
