/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The witness: an arbiter for setups of two hosts and a small third one. It is a server on the
 * third host that replicas reach over the same TLS as each other. It keeps an arbiter of files
 * (arbiter_file.c) for each guest, and serves every client that holds the key. What an answer says
 * is on stable storage before the answer leaves.
 *
 * One request and one answer at a time on a connection, both of fixed length, little-endian:
 *
 *   request   magic u32 "TWIT", version u8 1, op u8, 2 bytes 0, generation u64, id[16], guest[48]
 *   answer    result i32 (as the operations of arbiter.h), 4 bytes 0, generation u64, id[16],
 *             text[200] of an error, ended by 0
 */
#ifndef REPLICA_WITNESS_H
#define REPLICA_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/peer.h"
#include "replica/arbiter.h"

#define WITNESS_NAME	48
#define WITNESS_REQUEST 80
#define WITNESS_ANSWER	232
#define WITNESS_TEXT	200

enum witness_op { WITNESS_INIT, WITNESS_TAKE, WITNESS_OWNER, WITNESS_LAST, WITNESS_OPEN };

struct witness_request {
	enum witness_op op;
	uint64_t generation;
	uint8_t id[ARBITER_ID_LEN];
	char guest[WITNESS_NAME];
};

struct witness_answer {
	int32_t result;
	uint64_t generation;
	uint8_t id[ARBITER_ID_LEN];
	char text[WITNESS_TEXT];
};

/*
 * True: the name may be that of a guest. Such names become directories, so they have only letters,
 * digits and -._ , and begin with a letter or digit.
 */
bool witness_name_is_good(const char *name);
void witness_put_request(uint8_t out[WITNESS_REQUEST], const struct witness_request *q);
/* Reads a request. 0; -EBADMSG and err: these bytes are not a request. */
int witness_get_request(const uint8_t in[WITNESS_REQUEST], struct witness_request *q,
			struct err *err);
void witness_put_answer(uint8_t out[WITNESS_ANSWER], const struct witness_answer *a);
/* Reads an answer. 0; -EBADMSG: these bytes are not an answer. */
int witness_get_answer(const uint8_t in[WITNESS_ANSWER], struct witness_answer *a);

/*
 * Runs the server until *stop: listens at addr, and keeps the guests' arbiters below directory dir,
 * which it creates. 0, or -errno and err.
 */
int witness_serve(const char *dir, const char *addr, const struct peer_key *key,
		  const volatile bool *stop, struct err *err);

#endif
