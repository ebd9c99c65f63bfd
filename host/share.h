/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's share of its host: limits on CPU, memory and disks (a control group), the memory that
 * it was promised (an entry of the host file), and how far its balloon may go. One machine a
 * process.
 *
 *     share_jail_begin()   first of all; the process outside cleans up
 *     share_enter()        before anything large is allocated
 *     share_promise()      when it is known how much memory the guest has
 *     share_end()          last
 */
#ifndef HOST_SHARE_H
#define HOST_SHARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "isolation/jail.h"
#include "isolation/limits.h"

struct share_opts {
	struct limits limits;
	const char
		*cgroup; /* group below which the machine's is made; NULL: see isolation/cgroup.h */
	const char *host_file; /* NULL: that of this user */
	const char *name;      /* as others know the machine; NULL: it has none */
	bool no_reserve;
	uint64_t reserve;     /* bytes; 0: what the machine needs */
	uint64_t balloon_min; /* bytes that the guest keeps; 0: a quarter */
};

/* Parsers of the option table (options.h): target is the struct share_opts... */
struct option_row;
int share_parse_reserve(const struct option_row *row, void *target, const char *arg,
			struct err *err);
int share_parse_balloon_min(const struct option_row *row, void *target, const char *arg,
			    struct err *err);
/* ... or its struct limits. */
int share_parse_cpu_weight(const struct option_row *row, void *target, const char *arg,
			   struct err *err);
int share_parse_cpu_max(const struct option_row *row, void *target, const char *arg,
			struct err *err);
int share_parse_memory_max(const struct option_row *row, void *target, const char *arg,
			   struct err *err);
int share_parse_io_max(const struct option_row *row, void *target, const char *arg,
		       struct err *err);

/* Begins the jail like jail_begin(). */
void share_jail_begin(const struct share_opts *s, enum jail_mode mode);
/*
 * Makes the group and moves this process there. disks: paths of what --io-max is about. 0 or
 * -errno.
 */
int share_enter(const struct share_opts *s, const char *const *disks, unsigned ndisks,
		struct err *err);
/*
 * Before the jail closes, of a machine whose size will be known only then: share_promise() may be
 * called later.
 */
int share_promise_later(const struct share_opts *s, struct err *err);
/* Has the memory that a guest of so many bytes needs promised by the host, or fails. */
int share_promise(const struct share_opts *s, uint64_t memory, struct err *err);
void share_end(enum jail_mode mode);
/* Removes the group of a machine's process that has ended. */
void share_ended(const struct share_opts *s, pid_t pid);

/*
 * Checks that a balloon of so many bytes leaves the guest between its floor and its promise. 0 or
 * -EINVAL.
 */
int share_check_balloon(const struct share_opts *s, uint64_t memory, int64_t bytes,
			struct err *err);
/* Path of the host file: as given, or this user's. Free *path. 0 or -errno. */
int share_host_file(const char *given, bool create, char **path, struct err *err);

#endif
