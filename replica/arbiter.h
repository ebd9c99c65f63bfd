/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arbiter: the test-and-set outside both replicas. Generation n belongs to whoever took it
 * first, for ever. A replica may be live only in a generation that it holds.
 */
#ifndef REPLICA_ARBITER_H
#define REPLICA_ARBITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ARBITER_ID_LEN 16

struct arbiter;
struct keeper;
struct keeper_message;

/*
 * A kind of arbiter: one file of its own (arbiter_file.c), and a line in arbiter.c. Requests may
 * come from several threads at the same time.
 */
struct arbiter_ops {
	const char *prefix; /* "file" of "file:DIR" */
	struct arbiter *(*open)(const char *name, struct err *err);
	void (*close)(struct arbiter *a);
	/*
	 * 1: generation is ours now (or was already); 0: somebody else's; -errno: nobody can tell.
	 */
	int (*take)(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		    struct err *err);
	/* Owner of a generation: 1 and id; 0: nobody's; -errno. */
	int (*owner)(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		     struct err *err);
	/* Highest generation taken, 0 when none: 0 and *generation; -errno. */
	int (*last)(struct arbiter *a, uint64_t *generation, struct err *err);

	/* The rest is for a replica in a jail, whose keeper asks. */
	/* The descriptor that the keeper needs to ask; -1: none. */
	int (*fd)(const struct arbiter *a);
	/*
	 * In the keeper: whether a replica that may be in other hands may try for this generation.
	 * 0 or -errno and err. NULL: always.
	 */
	int (*allows)(struct arbiter *a, uint64_t generation, struct err *err);
	/* In the replica: what open() got is given up; only close() follows. */
	void (*delegate)(struct arbiter *a);
};

/* First in each kind's own struct. */
struct arbiter {
	const struct arbiter_ops *ops;
	struct keeper *keeper; /* set: it is asked instead of ops */
};

extern const struct arbiter_ops arbiter_file_ops;

/* spec: "file:DIR", a directory on storage that both replicas share (or on their one host). */
struct arbiter *arbiter_open(const char *spec, struct err *err);
void arbiter_close(struct arbiter *a);

/* As the operations of the same names, from inside a jail as well. */
int arbiter_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		 struct err *err);
int arbiter_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		  struct err *err);
int arbiter_last(struct arbiter *a, uint64_t *generation, struct err *err);

/*
 * For a replica in a jail: the keeper has the arbiter's descriptor (arbiter_fd()) and answers by
 * arbiter_serve(); from arbiter_delegate() on this process only asks.
 */
int arbiter_fd(const struct arbiter *a);
void arbiter_serve(void *arbiter, struct keeper_message *m);
void arbiter_delegate(struct arbiter *a, struct keeper *k);

#endif
