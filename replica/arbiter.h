/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arbiter: the test-and-set outside both replicas. Generation n belongs for ever to the replica
 * that took it first. A replica may be live only in a generation that it holds.
 */
#ifndef REPLICA_ARBITER_H
#define REPLICA_ARBITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ARBITER_ID_LEN 16

/*
 * A bit in the last byte of an owner's id: the mark. A replica sets it when it takes a generation
 * while it still counts on the other replica. If the owner is then lost, the other replica finds
 * the mark and may ask for the generation after that one.
 */
#define ARBITER_COUNTS_ON 0x80u

/* True: both ids are of the same replica; the mark is ignored. */
bool arbiter_same_owner(const uint8_t a[ARBITER_ID_LEN], const uint8_t b[ARBITER_ID_LEN]);
/* Copies an id and sets the mark in the copy. */
void arbiter_mark(uint8_t marked[ARBITER_ID_LEN], const uint8_t id[ARBITER_ID_LEN]);
/* True: the owner's id has the mark. */
bool arbiter_is_marked(const uint8_t owner[ARBITER_ID_LEN]);

struct arbiter;
struct keeper;
struct keeper_message;
struct keeper_post;

/*
 * A kind of arbiter: one source file (such as arbiter_file.c) and a line in arbiter.c. Several
 * threads may call the operations at the same time.
 */
struct arbiter_ops {
	const char *prefix; /* "file" of "file:DIR" */
	bool network;	    /* an operation uses the network and opens no files */
	unsigned wait_ms;   /* longest time that an operation takes */
	struct arbiter *(*open)(const char *name, struct err *err);
	/*
	 * Creates the storage that open() expects, unless it exists. NULL: there is nothing to
	 * create.
	 */
	int (*init)(const char *name, struct err *err);
	void (*close)(struct arbiter *a);
	/*
	 * Takes a generation. 1: it is ours now, or was already; 0: another replica has it; -errno
	 * and err: the arbiter cannot tell. -EPERM: nobody has the generation before it, so it is
	 * not the next one, or the arbiter has lost its contents; the generation is not given away.
	 */
	int (*take)(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		    struct err *err);
	/*
	 * Finds the owner of a generation. 1: `id` is the owner's; 0: nobody has it; -errno and
	 * err.
	 */
	int (*owner)(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		     struct err *err);
	/*
	 * Finds the highest generation that is taken; 0 in *generation: none is. Returns 0, or
	 * -errno and err.
	 */
	int (*last)(struct arbiter *a, uint64_t *generation, struct err *err);

	/* The rest is for a replica in a jail. Its keeper, a process outside, asks in its place. */
	/* Returns the descriptor through which the keeper asks; -1: it needs none. */
	int (*fd)(const struct arbiter *a);
	/*
	 * Called in the replica: gives up the descriptors and secrets that open() got. Only close()
	 * may follow.
	 */
	void (*delegate)(struct arbiter *a);
};

/* Common part of all arbiters; the first member of each kind's own struct. */
struct arbiter {
	const struct arbiter_ops *ops;
	struct keeper *keeper; /* NULL: ops are called here; else requests go to this keeper */
	/* limits that the keeper sets its replica: */
	uint64_t highest;  /* highest generation that the replica was answered about */
	unsigned takes;	   /* number of higher ones that it may ask for now */
	uint64_t refilled; /* when `takes` last grew, in seconds of CLOCK_MONOTONIC */
};

extern const struct arbiter_ops arbiter_file_ops, arbiter_etcd_ops, arbiter_witness_ops;

/*
 * Opens an arbiter; NULL and err on failure. spec: "file:DIR", a directory on storage that both
 * replicas share (or on their one host), or "etcd://HOST:PORT,.../PREFIX" (arbiter_etcd.c), or
 * "witness:HOST:PORT/GUEST,key=FILE" (arbiter_witness.c).
 */
struct arbiter *arbiter_open(const char *spec, struct err *err);
/* Checks that spec names a kind of arbiter, without asking one. 0, or -EINVAL and err. */
int arbiter_check_kind(const char *spec, struct err *err);
/*
 * Creates the arbiter that arbiter_open() expects. 0, also when it exists already; or -errno and
 * err.
 */
int arbiter_init(const char *spec, struct err *err);
void arbiter_close(struct arbiter *a);

/* As the operations of the same names in arbiter_ops. Inside a jail they ask the keeper. */
int arbiter_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		 struct err *err);
int arbiter_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		  struct err *err);
int arbiter_last(struct arbiter *a, uint64_t *generation, struct err *err);

/*
 * Describes, for keeper_start(), a keeper that answers the requests of a replica in a jail with
 * arbiter_serve(). After arbiter_delegate() this process sends its requests to that keeper.
 */
struct keeper_post arbiter_post(struct arbiter *a);
int arbiter_serve(void *arbiter, struct keeper_message *m);
void arbiter_delegate(struct arbiter *a, struct keeper *k);

#endif
