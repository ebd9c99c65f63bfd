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
/* Lets processes forked from now on inherit the key; without this they find zeros. */
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
	/*
	 * Gives up a dialled peer and returns its socket; NULL: a peer of this transport is more
	 * than a socket.
	 */
	int (*release)(struct peer *p);
	/* The caller's half of authentication, on a peer that was dialled. 0, or -errno and err. */
	int (*greet)(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err);
	/* Like peer_send() and peer_recv(). One thread is in send(), another one in recv(). */
	int (*send)(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err);
	ssize_t (*recv)(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
	/* Makes send() and recv() return in other threads. */
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
 * Allows rdma: peers to write frames without encryption, to peers that allow it too. Whoever has
 * access to the fabric can then read and change them.
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
 * Listens at addr; addr NULL: no peer can connect, but peer_accept() can be called and woken all
 * the same. key NULL: no authentication; else the key must live as long as the listener. NULL and
 * err on failure.
 */
struct peer_listener *peer_listen(const char *addr, const struct peer_key *key, struct err *err);
/*
 * Waits for the next peer that holds the key. Handshakes of several connections run at the same
 * time, each within PEER_GREET_MS of its first byte, and only inside this function, so it has to be
 * called again and again. A connection that sends nothing may stay for PEER_SILENT_MS, if there is
 * room: a backup connects before its jail closes, which may take long on a slow host. NULL after
 * timeout_ms (-1: no limit) or when woken, with err->code EAGAIN; NULL and another err: a
 * connection was refused.
 */
struct peer *peer_accept(struct peer_listener *l, int timeout_ms, struct err *err);
/*
 * Makes peer_accept() return, the call that waits or else the next one. Any thread may call it.
 * NULL is allowed.
 */
void peer_listener_wake(struct peer_listener *l);
/* Path of a socket file that the owner has to remove; NULL: there is none. */
const char *peer_listener_path(const struct peer_listener *l);
void peer_listener_close(struct peer_listener *l); /* NULL allowed */

#define PEER_GREET_MS  2000
#define PEER_SILENT_MS 30000

/*
 * Connects to addr, the first of two steps; the second needs nothing from the host any more, so it
 * can be made inside the jail. A dialled peer is not authenticated and must not be used to send.
 * peer_greet() authenticates it. A peer that could not be greeted still has to be closed. NULL or
 * -errno, and err, on failure.
 */
struct peer *peer_dial(const char *addr, int timeout_ms, struct err *err);
int peer_greet(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err);
/*
 * Connects to addr for another process, which makes a peer of the socket with peer_from_socket().
 * Returns the socket, over which nothing was sent yet; or -errno and err.
 */
int peer_dial_socket(const char *addr, int timeout_ms, struct err *err);
/*
 * Looks up the host name in an address, for a process that cannot look names up later. 0, or -errno
 * and err.
 */
int peer_resolve(const char *addr, char *out, size_t n, struct err *err);
/* Both steps, each within timeout_ms. */
struct peer *peer_connect(const char *addr, const struct peer_key *key, int timeout_ms,
			  struct err *err);

/*
 * Makes a peer of a connected socket, which the peer owns from now on. It is not authenticated
 * until it is greeted, if it ever is. NULL: out of memory.
 */
struct peer *peer_from_socket(int fd, const char *name);

/* Sends all n bytes; 0, or -errno (-ETIMEDOUT when the other side takes nothing for timeout_ms). */
int peer_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err);
/*
 * Receives 1 to n bytes. Returns their number; 0: the stream has ended; -EAGAIN: nothing came
 * within timeout_ms (-1: no limit); another -errno and err.
 */
ssize_t peer_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
/*
 * Receives exactly n bytes, each piece of them within timeout_ms. 0; -EPIPE: the stream has ended;
 * -ETIMEDOUT; another -errno; with err.
 */
int peer_recv_all(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err);
/* Ends both directions, so that blocked calls return. Any thread may call it. */
void peer_shutdown(struct peer *p);
void peer_close(struct peer *p); /* NULL allowed */
/*
 * Returns the transport in use now ("tcp", "rdma"). why (NULL allowed): gets the reason why no
 * better one is used, or "".
 */
const char *peer_path(struct peer *p, char *why, size_t size);
/*
 * Shares memory with the other side, so that pages can be placed straight into it, where the
 * transport can. Both sides share memory of the same n bytes before anything is placed there. The
 * memory must exist until it is no longer shared (memory NULL); from then on nothing is written
 * into it.
 */
#define PEER_PAGE  4096u
#define PEER_PLACE 256u /* pages in one call, at most */
void peer_share(struct peer *p, void *memory, uint64_t n);
/* Tells whether peer_place() can be used: now, perhaps soon, or not at all. */
enum peer_places peer_places(struct peer *p);
/*
 * Puts n pages of the shared memory, from `page` on, into the same place on the other side. They
 * are there, with their checksums verified, before anything sent later is received. The memory may
 * be written meanwhile: pages that were get a bit in `changed` (PEER_PLACE bits) and have to be
 * sent again. Called by the thread that sends. 0; -EAGAIN: this is not possible now, and these
 * pages on the other side are invalid.
 */
int peer_place(struct peer *p, uint64_t page, unsigned n, uint64_t *changed);
/* Address of the other side, for messages ("192.0.2.1:7777"). */
const char *peer_name(const struct peer *p);

extern const struct peer_ops peer_tcp_ops, peer_unix_ops, peer_rdma_ops;

#endif
