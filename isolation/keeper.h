/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: a small process that stays outside of the jail and holds the few names that are needed after it closed.
 * It removes sockets from the file system, each only if it was named before the jail closed, and it runs one service:
 * the arbiter of a pair, whose directory stays out of the replica's reach. Requests have a fixed size; whoever sits in
 * the jail can ask for nothing else.
 */
#ifndef ISOLATION_KEEPER_H
#define ISOLATION_KEEPER_H

#include <stdint.h>

#include "base/err.h"

#define KEEPER_DATA 256

struct keeper_message {
	int32_t op;	/* KEEPER_REMOVE, or one of the service's from KEEPER_SERVICE on */
	int32_t result; /* of the answer: what the call returned */
	uint64_t arg;	/* in and out */
	uint8_t data[KEEPER_DATA];
};

enum { KEEPER_REMOVE, KEEPER_SERVICE };

struct keeper;

/* Answers a request in place. Everything in it is to be mistrusted. */
typedef void keeper_service(void *ctx, struct keeper_message *m);

/* A path that the keeper may remove; before keeper_start(). */
void keeper_allow_remove(const char *path);
/* Forks. The new process keeps standard error and keep_fd (-1: none) open, nothing else. NULL and err on failure. */
struct keeper *keeper_start(keeper_service *service, void *ctx, int keep_fd, struct err *err);
/* Asks and waits for the answer. From any thread. 0, or -EIO when the keeper is gone. */
int keeper_call(struct keeper *k, struct keeper_message *m);
/* 0 or -errno of the removal. */
int keeper_remove(struct keeper *k, const char *path);
/* The keeper ends when nobody can ask any more. NULL allowed. */
void keeper_end(struct keeper *k);

#endif
