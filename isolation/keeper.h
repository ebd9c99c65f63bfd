/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: a small process that stays outside of the jail and holds the few names that are
 * needed after it closed. It removes sockets from the file system, each only if it was named before
 * the jail closed. A backup, which learns how large its guest is when it is in the jail, may ask
 * once for that much memory of the host (isolation/host_file.h). When an interface under a NIC was
 * deleted, it attaches the NIC to the one that takes its place, and it tells a capture which
 * address the guest has given itself. Requests have a fixed size; a process in the jail can ask for
 * nothing else.
 *
 * A service is another keeper, a process of its own, so that neither waits for the other: the
 * arbiter of a pair, whose directory or network stays out of the replica's reach. A service that
 * is killed is started again, and callers that wait for its answer are told at once.
 */
#ifndef ISOLATION_KEEPER_H
#define ISOLATION_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define KEEPER_DATA 256

struct keeper_message {
	int32_t op;	/* KEEPER_REMOVE, or one of the service's from KEEPER_SERVICE on */
	int32_t result; /* of the answer: what the call returned */
	uint64_t arg;	/* in and out */
	uint64_t nr;	/* filled in here: the same in a request and its answer */
	uint8_t data[KEEPER_DATA];
};

enum { KEEPER_REMOVE, KEEPER_PROMISE, KEEPER_PEER, KEEPER_ATTACH, KEEPER_SERVICE };

struct keeper;

/*
 * Answers a request in place. Everything in it is to be mistrusted. Returns a descriptor that goes
 * along with the answer, and is closed here then, or -1.
 */
typedef int keeper_service(void *ctx, struct keeper_message *m);

/* Answers a request for so many bytes of memory: 0 or -errno. */
typedef int keeper_promise(void *ctx, uint64_t bytes, struct err *err);

/* A path that the keeper may remove; before keeper_start(). */
void keeper_allow_remove(const char *path);
/* The keeper may be asked for memory, once; before keeper_start(). */
void keeper_allow_promise(keeper_promise *fn, void *ctx);
/*
 * The keeper may be asked for something that needs rights or names, with a number that fn has to
 * mistrust, and keeps the descriptors that it needs; before keeper_start(). The answer is 0 or
 * -errno. taps: it keeps CAP_NET_ADMIN, if it has it, for tap interfaces that are nobody's.
 */
typedef int keeper_attach(void *ctx, uint64_t which);
void keeper_allow_attach(keeper_attach *fn, void *ctx, bool taps);
void keeper_keep(int fd);
/* The purpose of a keeper, and the rights that it keeps for that. */
struct keeper_post {
	keeper_service *service; /* NULL: it holds names, and does what it was allowed above */
	void *ctx;
	int fd;		  /* the one descriptor that the service needs, -1: none */
	bool network;	  /* the service asks over the network, and has no files */
	unsigned wait_ms; /* how long an answer of the service may take; 0: for ever */
};
/*
 * Forks. The new process keeps standard error and what its post needs open, nothing else. NULL and
 * err on failure.
 */
struct keeper *keeper_start(const struct keeper_post *post, struct err *err);
/*
 * Asks the keeper and waits for its answer. Any thread may call it. 0; -EIO: the keeper is gone;
 * -EAGAIN: it was killed while it was asked, and another one is there; -ETIMEDOUT.
 */
int keeper_call(struct keeper *k, struct keeper_message *m);
/* The same; *fd: the descriptor that came along with the answer, or -1. */
int keeper_call_for_fd(struct keeper *k, struct keeper_message *m, int *fd);
/* Removes a file that the keeper was told of: 0 or -errno of the removal. */
int keeper_remove(struct keeper *k, const char *path);
/* Has the function of keeper_allow_attach() called: its answer. */
int keeper_ask_attach(struct keeper *k, uint64_t which);
/* Has the function of keeper_allow_promise() called: 0, or -errno and err from it. */
int keeper_promise_memory(struct keeper *k, uint64_t bytes, struct err *err);
/*
 * Checks that the process at the other end of a connected local socket is root's or of the user
 * that started the machine. A jailed process cannot see that itself: in its user namespace of one
 * user all other ids look the same. 0, -EPERM, -errno.
 */
int keeper_check_peer(struct keeper *k, int fd);
/* The same check without a jail. */
int keeper_peer_allowed(int fd);
/* The keeper ends when nobody can ask any more. NULL allowed. */
void keeper_end(struct keeper *k);

#endif
