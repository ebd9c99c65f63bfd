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

/*
 * A replica that takes a generation while the other one is counted on, and may go on without it,
 * says so with this bit in the last byte of its id: the other one, when it finds that, may ask for
 * the generation after.
 */
#define ARBITER_COUNTS_ON 0x80u

/* True: both are the id of one replica, with or without that bit. */
bool arbiter_same_owner(const uint8_t a[ARBITER_ID_LEN], const uint8_t b[ARBITER_ID_LEN]);
/* Sets that bit in a copy of an id; and looks if an owner has it. */
void arbiter_mark(uint8_t marked[ARBITER_ID_LEN], const uint8_t id[ARBITER_ID_LEN]);
bool arbiter_is_marked(const uint8_t owner[ARBITER_ID_LEN]);

struct arbiter;
struct keeper;
struct keeper_message;
struct keeper_post;

/*
 * A kind of arbiter: one file of its own (arbiter_file.c), and a line in arbiter.c. Requests may
 * come from several threads at the same time.
 */
struct arbiter_ops {
	const char *prefix; /* "file" of "file:DIR" */
	bool network;	    /* asks over the network, and needs no files to ask */
	unsigned wait_ms;   /* in which an answer comes, or none will */
	struct arbiter *(*open)(const char *name, struct err *err);
	/* Makes what open() looks for, if it is not there; NULL: nothing has to be made. */
	int (*init)(const char *name, struct err *err);
	void (*close)(struct arbiter *a);
	/*
	 * 1: generation is ours now (or was already); 0: somebody else's; -errno: nobody can tell.
	 * -EPERM: the one before is nobody's, so this is not the next one (or the arbiter has lost
	 * what it knew): it is not given away.
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
	/* In the replica: gives up all that open() got; only close() follows. */
	void (*delegate)(struct arbiter *a);
};

/* First in each kind's own struct. */
struct arbiter {
	const struct arbiter_ops *ops;
	struct keeper *keeper; /* set: it is asked instead of ops */
	/* Limits of the keeper's side: */
	uint64_t highest;  /* generation that its replica has been answered about */
	unsigned takes;	   /* higher ones that it may still ask for */
	uint64_t refilled; /* monotonic seconds */
};

extern const struct arbiter_ops arbiter_file_ops, arbiter_etcd_ops, arbiter_witness_ops;

/*
 * spec: "file:DIR", a directory on storage that both replicas share (or on their one host), or
 * "etcd://HOST:PORT,.../PREFIX" (arbiter_etcd.c), or "witness:HOST:PORT/GUEST,key=FILE"
 * (arbiter_witness.c).
 */
struct arbiter *arbiter_open(const char *spec, struct err *err);
/* Checks that spec names a kind of arbiter; no arbiter is asked. 0, or -EINVAL and err. */
int arbiter_check_kind(const char *spec, struct err *err);
/* Makes the arbiter that arbiter_open() looks for. 0, also when it is there already, or -errno. */
int arbiter_init(const char *spec, struct err *err);
void arbiter_close(struct arbiter *a);

/* Operations of arbiter_ops, by the same names; they work inside a jail as well. */
int arbiter_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		 struct err *err);
int arbiter_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		  struct err *err);
int arbiter_last(struct arbiter *a, uint64_t *generation, struct err *err);

/*
 * Makes the post of a keeper that answers by arbiter_serve() for a replica in a jail. From
 * arbiter_delegate() on this process only asks that keeper.
 */
struct keeper_post arbiter_post(struct arbiter *a);
int arbiter_serve(void *arbiter, struct keeper_message *m);
void arbiter_delegate(struct arbiter *a, struct keeper *k);

#endif
