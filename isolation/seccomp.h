/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists the system calls that each thread role may make, with a reason for each
 * (isolation/calls.c). Any other call kills the process.
 *
 * The thread that enters the jail gets the union of all threads' lists, because filters are
 * inherited and can only be narrowed; each thread then narrows it to its own list.
 */
#ifndef ISOLATION_SECCOMP_H
#define ISOLATION_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/thread.h"

enum seccomp_rule {
	CALL_ANY,
	CALL_NO_EXEC, /* third argument: memory that is not executable */
	CALL_HEAP,    /* mmap() of private memory without a file, not executable */
	CALL_ADVICE,  /* madvise() that neither shares pages nor undoes what keeps them out of core
			 files */
	CALL_THREAD,  /* clone() of a thread, never of a process or into a namespace */
	CALL_FILTER,  /* seccomp() to add a filter, without flags */
	CALL_NAME,    /* prctl() to name a thread */
	CALL_FSTAT,  /* with AT_EMPTY_PATH, as of a descriptor; a path beside it cannot be looked at
		      */
	CALL_SIZE,   /* ioctl() that asks for a block device's size */
	CALL_IS_TTY, /* ioctl() that asks for a terminal's mode */
	CALL_SET_TTY, /* and one that sets it */
	CALL_VMX,     /* ioctl() of the VT-x module */
	CALL_VERBS,   /* ioctl() of an RDMA device */
	CALL_QUEUE,   /* mmap() of a device's queues: shared, not executable */
	CALL_SEND,    /* sendto() without an address, so as connected; without MSG_FASTOPEN, which
			 connects */
	CALL_SEND_MESSAGE, /* sendmsg() without MSG_FASTOPEN */
	CALL_NO_DELAY,	   /* setsockopt(): what makes TCP send soon, and again */
	CALL_PACKETS,	   /* setsockopt(): SO_ATTACH_FILTER, SO_DETACH_FILTER, PACKET_RX_RING */
	CALL_PEER,	   /* getsockopt(): SO_PEERCRED */
	CALL_ERROR,	   /* getsockopt(): SO_ERROR */
	CALL_LOOK,	   /* ioctl(): an interface's name, number and flags, asked for */
	CALL_JOIN,	   /* ioctl(): attaches a tap descriptor to an interface, brings that up */
	CALL_ADD_MEMBER,   /* setsockopt(): PACKET_ADD_MEMBERSHIP */
	CALL_NO_BLOCK,	   /* ioctl(): FIONBIO */
	CALL_SET_CAPTURE,  /* setsockopt(): SO_ATTACH_FILTER */
	CALL_FLAGS,	   /* fcntl(): F_GETFL, F_SETFL, F_SETFD */
	CALL_SEAL,	   /* fcntl(): F_ADD_SEALS */
	CALL_OWN_LIMIT,	   /* prlimit64() of this process's address space */
	CALL_ABORT,	   /* rt_sigaction() of SIGABRT */
	CALL_OWN_PROCESS,  /* first argument: this process */
	CALL_ABSENT,	   /* not allowed: fails with ENOSYS, so that the library does without */
	CALL_REFUSED,	   /* not allowed: fails with EACCES */
};

struct seccomp_call {
	const char *name;
	uint32_t roles; /* bit 1 << role for each role that may make the call */
	/* of these roles, those in which a test need not see the call: error paths, other hosts */
	uint32_t rare;
	enum seccomp_rule rule;
	const char *why;
};

extern const struct seccomp_call seccomp_calls[];
extern const size_t seccomp_ncalls;

/* True: the row is about the role; main has every thread's rows. */
bool seccomp_allows(const struct seccomp_call *c, enum thread_role role);
/* System calls that the role may make. */
unsigned seccomp_count(enum thread_role role);
/* Describes for people what happens to a call: "allow", or another text. */
const char *seccomp_rule_text(enum seccomp_rule rule);
/*
 * Translates the lists of roles (bit 1 << role for each) into filters for the kernel. 0 or -errno.
 */
int seccomp_prepare(uint32_t roles);
/*
 * Sets the role's filter for the calling thread and all threads that it creates later. no_new_privs
 * must be set. 0 or -errno.
 */
int seccomp_enter(enum thread_role role);

#endif
