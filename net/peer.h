/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection to the other replica: a stream of bytes in both directions, over which nobody but
 * a holder of the pair's key gets to say anything.
 *
 *   HOST:PORT, [V6]:PORT   TCP
 *   unix:PATH              a local socket
 *   rdma:HOST:PORT         TCP for set-up, RDMA for the rest where it works
 *
 * Both ends prove in a TLS 1.3 handshake that they hold the key (RFC 8446, 2.2, with an ephemeral
 * Diffie-Hellman exchange), so nobody else gets further, a recorded handshake is worth nothing, and
 * a stolen key does not open old sessions. Without a key the stream is bare.
 *
 * No descriptor leaves net/, but for a connection that goes to another process: who waits for a
 * peer waits in peer_accept(), who has one waits in peer_recv(), and both are woken from other
 * threads by peer_listener_wake() and peer_shutdown(). A transport is a struct peer_ops in a file
 * of its own and a row in peer.c.
 */
#ifndef NET_PEER_H
#define NET_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PEER_KEY_LEN  32
#define PEER_NAME_LEN 128

/* A pre-shared key, in locked memory that is left out of dumps. */
struct peer_key;

/* Makes a key file with mode 0600; it must not exist. */
int peer_key_create(const char *path, struct err *err);
/* Reads a key file; refuses one that others than its owner can read. NULL and err on failure. */
struct peer_key *peer_key_load(const char *path, struct err *err);
/* A process that is forked from now on has it, too; else it finds zeros. */
void peer_key_inherit(struct peer_key *k);
/* Wipes and frees. */
void peer_key_free(struct peer_key *k);

struct peer;
struct peer_listener;

enum peer_places { PEER_PLACES_NOT, PEER_PLACES_SOON, PEER_PLACES_NOW };

/*
 * A transport. Addresses are "SCHEME:REST", and REST is what its calls are given. One that speaks
 * through other hardware opens a TCP listener or connection of its own for set-up and keeps it for
 * control: authentication is there already.
 */
struct peer_ops {
	const char *scheme; /* "": the transport of addresses without one of these */
	/* Like peer_listen() and peer_dial(); addr is the address behind its scheme. */
	struct peer_listener *(*listen)(const char *addr, const struct peer_key *key,
					struct err *err);
	struct peer *(*dial)(const char *addr, int timeout_ms, struct err *err);
	/* The socket of one that was dialled, which is freed; NULL: it is more than a socket. */
	int (*release)(struct peer *p);
	/* The caller's half of authentication, on a peer that was dialled. 0, or -errno and err. */
	int (*greet)(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err);
	/* Like peer_send() and peer_recv(). One thread is in send(), another one in recv(). */
	int (*send)(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err);
	ssize_t (*recv)(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
	/* While other threads are in send() and recv(), which return. */
	void (*shutdown)(struct peer *p);
	void (*close)(struct peer *p);
	/* Like peer_path(); NULL: the transport has one way only, and `way` is its name. */
	const char *(*path)(struct peer *p, char *why, size_t size);
	const char *way;
	/* Like peer_share(), peer_places() and peer_place(); NULL: the transport cannot. */
	void (*share)(struct peer *p, void *memory, uint64_t n);
	enum peer_places (*places)(struct peer *p);
	int (*place)(struct peer *p, uint64_t page, unsigned n, uint64_t *changed);
};

/*
 * From now on rdma: peers write frames that are not sealed, to peers that were told the same: what
 * is on the fabric can be read and changed there.
 */
void peer_rdma_allow_clear(void);

struct peer {
	const struct peer_ops *ops;
	char name[PEER_NAME_LEN];
};

struct peer_listener_ops {
	struct peer *(*accept)(struct peer_listener *l, int timeout_ms, struct err *err);
	void (*wake)(struct peer_listener *l);
	/* Like peer_listener_path(); NULL: there never is a name. */
	const char *(*path)(const struct peer_listener *l);
	void (*close)(struct peer_listener *l);
};

struct peer_listener {
	const struct peer_listener_ops *ops;
};

/*
 * addr NULL: nobody can come, but it can be waited on and woken all the same. key NULL: no
 * authentication; else it has to live as long as the listener. NULL and err on failure.
 */
struct peer_listener *peer_listen(const char *addr, const struct peer_key *key, struct err *err);
/*
 * The next peer that holds the key. Handshakes go on side by side, each within PEER_GREET_MS of its
 * first byte, and only here: who accepts has to come back. A connection that says nothing may stay
 * for PEER_SILENT_MS, if there is room: a backup has dialled before its jail closes, and that takes
 * as long as its host makes it. NULL after timeout_ms (-1: never) or when woken, with
 * err->code EAGAIN; NULL and another err when somebody was refused.
 */
struct peer *peer_accept(struct peer_listener *l, int timeout_ms, struct err *err);
/*
 * Makes peer_accept() return, the call that waits or else the next one. Any thread may call it.
 * NULL is allowed.
 */
void peer_listener_wake(struct peer_listener *l);
/* The name in the file system that it leaves behind for its owner to remove; NULL: none. */
const char *peer_listener_path(const struct peer_listener *l);
void peer_listener_close(struct peer_listener *l); /* NULL allowed */

#define PEER_GREET_MS  2000
#define PEER_SILENT_MS 30000

/*
 * A connection to addr is made in two steps, because the second one needs nothing of the host any
 * more: dialled, nothing is authenticated and nothing may be sent; greeted, it is a peer. A peer
 * that could not be greeted has still to be closed.
 */
struct peer *peer_dial(const char *addr, int timeout_ms, struct err *err);
int peer_greet(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err);
/*
 * A connection to addr for another process, which makes a peer of it with peer_from_socket(): a
 * socket over which nothing was said yet, or -errno and err.
 */
int peer_dial_socket(const char *addr, int timeout_ms, struct err *err);
/*
 * An address with its name looked up: for a process that will have no files to look names up with.
 * 0, or -errno and err.
 */
int peer_resolve(const char *addr, char *out, size_t n, struct err *err);
/* Both steps, each within timeout_ms. */
struct peer *peer_connect(const char *addr, const struct peer_key *key, int timeout_ms,
			  struct err *err);

/*
 * A stream over a connected socket, which is owned from now on; bare until it is greeted, if that
 * is done. NULL: out of memory.
 */
struct peer *peer_from_socket(int fd, const char *name);

/* Sends all n bytes; 0, or -errno (-ETIMEDOUT when the other side takes nothing for timeout_ms). */
int peer_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err);
/*
 * At least one byte, at most n: their number, 0 at the end of the stream, -EAGAIN after timeout_ms
 * (-1: never), or another -errno.
 */
ssize_t peer_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
/*
 * Exactly n bytes, each piece of them within timeout_ms: 0, -EPIPE at the end of the stream,
 * -ETIMEDOUT, or another -errno, and err.
 */
int peer_recv_all(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
/* Ends both directions, so that blocked calls return. Any thread may call it. */
void peer_shutdown(struct peer *p);
void peer_close(struct peer *p); /* NULL allowed */
/*
 * The way that bytes travel now ("tcp", "rdma"). `why` (NULL allowed) gets the reason why no better
 * way is used, or "".
 */
const char *peer_path(struct peer *p, char *why, size_t size);
/*
 * Pages that go straight from one side's memory into the other one's, where the transport can do
 * that. Both sides share memory of the same n bytes, before anything is placed there; it has to be
 * there until it is shared no more (memory NULL), from when on nothing is written into it.
 */
#define PEER_PAGE  4096u
#define PEER_PLACE 256u /* pages in one call, at most */
void peer_share(struct peer *p, void *memory, uint64_t n);
/* Tells if peer_place() is worth a try: now, or perhaps in a moment. */
enum peer_places peer_places(struct peer *p);
/*
 * n pages of the shared memory from `page` on are put into the same place on the other side; they
 * are there, and their checksums were looked at, before what is sent next is received. Memory may
 * be written meanwhile: pages that were get a bit in `changed` (PEER_PLACE bits), and are to be
 * sent again. The thread that sends calls this. 0; -EAGAIN: there is no such way now; what is there
 * of these pages is worth nothing.
 */
int peer_place(struct peer *p, uint64_t page, unsigned n, uint64_t *changed);
/* Address of the other side, for messages ("192.0.2.1:7777"). */
const char *peer_name(const struct peer *p);

extern const struct peer_ops peer_tcp_ops, peer_unix_ops, peer_rdma_ops;

#endif
