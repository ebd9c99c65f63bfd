/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A byte stream to the other replica: TCP with TLS 1.3 and a pre-shared key, or bare TCP where the
 * user insists.
 *
 * Both ends prove in the TLS handshake that they hold the key (RFC 8446, 2.2, with an ephemeral
 * Diffie-Hellman exchange), so nobody else gets further, a recorded handshake is worth nothing, and
 * a stolen key does not open old sessions.
 *
 * One thread may send while another one receives.
 */
#ifndef NET_PEER_H
#define NET_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PEER_KEY_LEN 32

/* A pre-shared key, in locked memory that is left out of dumps. */
struct peer_key;

/* Makes a key file with mode 0600; it must not exist. */
int peer_key_create(const char *path, struct err *err);
/* Reads a key file; refuses one that others than its owner can read. NULL and err on failure. */
struct peer_key *peer_key_load(const char *path, struct err *err);
/* Wipes and frees. */
void peer_key_free(struct peer_key *k);

struct peer;

/* addr: "HOST:PORT", "[V6]:PORT" or "unix:PATH". Returns a listening descriptor, or -errno. */
int peer_listen(const char *addr, struct err *err);

/*
 * Takes a connection that waits on the listening descriptor and authenticates it. key NULL: no
 * authentication. All of it within timeout_ms. NULL and err when the other side does not hold the
 * key, is too slow, or nobody waits.
 */
struct peer *peer_accept(int listen_fd, const struct peer_key *key, int timeout_ms,
			 struct err *err);
/* The two halves of peer_connect(): the connection, as a descriptor or -errno; and the handshake
 * over it, which owns it. */
int peer_dial(const char *addr, int timeout_ms, struct err *err);
struct peer *peer_greet(int fd, const char *addr, const struct peer_key *key, int timeout_ms,
			struct err *err);
struct peer *peer_connect(const char *addr, const struct peer_key *key, int timeout_ms,
			  struct err *err);

/*
 * A bare stream over a connected socket, which is owned from now on: a socketpair in tests. NULL:
 * out of memory.
 */
struct peer *peer_from_socket(int fd, const char *name);

/* Sends all n bytes; 0, or -errno (-ETIMEDOUT when the other side takes nothing for timeout_ms). */
int peer_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err);
/* At least one byte, at most n: their number, 0 at the end of the stream, -EAGAIN after timeout_ms,
 * or another -errno.
 */
ssize_t peer_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
/* From any thread: both directions end, blocked calls return. */
void peer_shutdown(struct peer *p);
void peer_close(struct peer *p);
/* Who the other side is, for messages ("192.0.2.1:7777"). */
const char *peer_name(const struct peer *p);

#endif
