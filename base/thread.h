/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads with a role. The role is the thread's name, and decides what the jail lets it ask of the
 * kernel (isolation/seccomp.h).
 *
 * A thread inherits the restrictions of the one that creates it. So, where thread_host() runs, only
 * the thread that called it creates threads, on behalf of all: the vCPU's thread need not be able
 * to.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

enum thread_role {
	THREAD_MAIN,	 /* starts the others, takes signals */
	THREAD_VCPU,	 /* the guest, its devices, and the source of its inputs */
	THREAD_POLLER,	 /* waits for NICs and consoles */
	THREAD_DISK,	 /* reads and writes disk images */
	THREAD_LOG,	 /* writes the log of a recording */
	THREAD_SENDER,	 /* to the other replica */
	THREAD_RECEIVER, /* from the other replica */
	THREAD_ACCEPTOR, /* lets a backup join */
	THREAD_SPY,	 /* keeps frames that arrive at a backup */
	THREAD_CONTROL,	 /* answers `twinstep status` and its like */
	THREAD_CONSOLE,	 /* reads the terminal */
	THREAD_FABRIC,	 /* makes queue pairs of RDMA to the other replica */
	THREAD_SNAPSHOT, /* writes a snapshot of what a backup replays */
	THREAD_KEEPER,	 /* not a thread: the process that holds names for a jailed one
			    (isolation/keeper.h) */
	THREAD_COURIER,	 /* likewise: the process that asks over the network for a jailed one */
	THREAD_ROLES,
};

/* "vcpu", "disk", ... */
const char *thread_role_name(enum thread_role role);
/* Called on each new thread before its function. */
void thread_on_start(void (*hook)(enum thread_role role));
/*
 * Creates a thread as pthread_create() does: 0 or a positive errno. The thread takes no signals but
 * those of its own faults. ECANCELED: thread_host() has returned, or is about to; from then on its
 * caller alone can create threads, because others may lack the right.
 */
int thread_start(pthread_t *t, enum thread_role role, void *(*fn)(void *), void *arg);
/*
 * Runs fn(arg) in a thread of that role, and creates the threads that others ask for meanwhile; the
 * calling thread is the one that takes signals. Returns when fn has returned: 0 with fn's value in
 * *result, or a positive errno.
 */
int thread_host(enum thread_role role, void *(*fn)(void *), void *arg, void **result);

#endif
