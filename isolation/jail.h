/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jail: a process that runs a guest gives up everything that it does not need, in two steps.
 *
 * jail_begin(), first of all: the rest of the program becomes the first process of a pid namespace;
 * the caller's process waits for it, hands signals on, puts the terminal right and exits as it did.
 * Either dies with the other.
 *
 * jail_enter(), when everything that has a name is open and before the first thread starts: the
 * layers below. What threads may do is narrowed once more at their start, by role
 * (isolation/seccomp.h).
 */
#ifndef ISOLATION_JAIL_H
#define ISOLATION_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "isolation/keeper.h"

enum jail_mode {
	JAIL_ON,     /* what the host does not have is named */
	JAIL_STRICT, /* what the host does not have is an error */
	JAIL_OFF,    /* says loudly what is lost */
};

enum jail_layer {
	LAYER_PID,
	LAYER_UID,
	LAYER_USER,
	LAYER_MOUNT,
	LAYER_NET,
	LAYER_IPC,
	LAYER_UTS,
	LAYER_CGROUP,
	LAYER_ROOT,
	LAYER_LIMITS,
	LAYER_LANDLOCK,
	LAYER_CAPS,
	LAYER_NO_PRIVS,
	LAYER_NO_DUMP,
	LAYER_CORE,
	LAYER_SPECULATION,
	LAYER_SECCOMP,
	LAYERS,
};

struct jail_config {
	uint64_t
		memory; /* bytes that may still be mapped, beyond what is mapped now and a margin */
	uint64_t file_size;		   /* how long a file may become; 0: no limit */
	const struct keeper_post *service; /* NULL: none; a keeper of its own */
	const struct keeper_post *dialler; /* likewise, for as long as it is needed */
	uint32_t without;		   /* 1 << layer: left out, by tests of the other layers */
};

/*
 * Returns in the process that goes on, with the signals that end a run blocked until
 * stop_on_signals(); the other one exits here.
 */
void jail_begin(enum jail_mode mode);
/* Before jail_begin(): the process outside calls fn when the one inside (`pid`) has ended. */
void jail_at_end(void (*fn)(void *ctx, pid_t pid), void *ctx);
/*
 * Forks like fork(), but the child is the first process of a new pid namespace, where that is
 * allowed; its jail_begin() forks no more.
 */
pid_t jail_fork(void);
/* Closes the jail; with JAIL_STRICT fails for layers that cannot be had. 0 or -errno. */
int jail_enter(enum jail_mode mode, const struct jail_config *c, struct err *err);
/* Logs, when the guest is about to start, the layers that the jail lacks, or that there is none. */
void jail_warn(void);
/*
 * After jail_enter(), by the main thread: lowers the limit on memory to so many bytes more than
 * were mapped when the jail closed, and a margin. Never raises it.
 */
void jail_limit_memory(uint64_t bytes);

/*
 * A file that is ours to remove at the end: told before jail_enter(), removed by jail_remove(),
 * jailed or not.
 */
void jail_will_remove(const char *path);
void jail_remove(const char *path);
/*
 * Checks that the process at the other end of a local socket is root's or of the user that started
 * us. 0, -EPERM, -errno.
 */
int jail_check_peer(int fd);
/* The keeper that holds names for this process; NULL: not in a jail. */
struct keeper *jail_keeper(void);
/* The keeper that runs jail_config.service; NULL: not in a jail, or there is no service. */
struct keeper *jail_service_keeper(void);
/* The keeper that runs jail_config.dialler, likewise; it can be ended before the run is over. */
struct keeper *jail_dialler(void);
void jail_end_dialler(void);
/* The last thing of a run. */
void jail_end(void);
/* Id of this process as processes outside the jail see it. */
pid_t jail_pid(void);

/* For `twinstep jail`. */
const char *jail_layer_name(enum jail_layer l);
const char *jail_layer_purpose(enum jail_layer l);

#endif
