/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host file lists how much memory is promised to which machine, so that all of them together
 * are never promised more than the host has. A process that starts a machine adds an entry under a
 * lock. Entries of processes that have ended, or of an earlier boot, do not count, and the next
 * writer drops them.
 *
 * It is a text file, replaced as a whole (rename), and read strictly: anything unexpected is an
 * error that names the line.
 */
#ifndef ISOLATION_HOST_FILE_H
#define ISOLATION_HOST_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "isolation/limits.h"

#define HOST_ENTRIES  256
#define HOST_NAME_LEN 64

struct host_entry {
	pid_t pid;				/* process of the machine */
	uint64_t start;				/* its start time, as process_start() returns it */
	uint64_t promised, memory, balloon_min; /* bytes */
	struct limits limits;
	char name[HOST_NAME_LEN + 1];
};

struct host_state {
	uint64_t limit; /* bytes for all machines; 0: not set, so host_file_room() decides */
	unsigned n;
	struct host_entry entry[HOST_ENTRIES]; /* entries of processes that run */
};

/* Bytes that may be promised where no limit is set: the host's memory but for a margin. */
uint64_t host_file_room(uint64_t host_memory);
/* Bytes promised to all. */
uint64_t host_file_promised(const struct host_state *s);

/* True: `name` may stand in the file, as it has 1 to 64 letters, digits and ._- */
bool host_file_name_ok(const char *name);
/* A file that does not exist is an empty one. 0 or -errno. */
int host_file_read(const char *path, struct host_state *s, struct err *err);
/*
 * Adds e, in place of its process's present entry, if there is room within the limit, or within
 * `room` bytes where none is set. -ENOMEM when there is none; err then lists the machines that have
 * promises.
 */
int host_file_promise(const char *path, const struct host_entry *e, uint64_t room, struct err *err);
/* Sets the limit; 0: that of host_file_room() again. Machines keep what they were promised. */
int host_file_set_limit(const char *path, uint64_t bytes, struct err *err);

#endif
