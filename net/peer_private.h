/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream over a socket, for peer_*.c. */
#ifndef NET_PEER_PRIVATE_H
#define NET_PEER_PRIVATE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "net/peer.h"

struct peer_key {
	uint8_t bytes[PEER_KEY_LEN];
};

struct peer_stream {
	struct peer base;
	int fd;
	SSL_CTX *ctx; /* NULL: bare */
	SSL *ssl;
	pthread_mutex_t lock; /* an SSL object is not for two threads at once */
};

static inline struct peer_stream *peer_stream_of(struct peer *p)
{
	return (struct peer_stream *)p;
}

struct peer_address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* peer_address.c: HOST:PORT or [V6]:PORT, and PATH. 0, or -errno and err. */
int peer_address_tcp(const char *text, bool passive, struct peer_address *a, struct err *err);
int peer_address_unix(const char *path, struct peer_address *a, struct err *err);
/* "192.0.2.1:7777" */
void peer_address_name(const struct peer_address *a, char *name, size_t n);

/* peer_stream.c: owns fd, which does not block any more. NULL and err when memory is short. */
struct peer_stream *peer_stream_new(const struct peer_ops *ops, int fd, const char *name,
				    struct err *err);

/*
 * Try once, without waiting: number of bytes, 0 at the stream's end, -EAGAIN with poll's *events to
 * wait for, or -errno. From several threads.
 */
ssize_t peer_stream_try_send(struct peer_stream *s, const void *data, size_t n, short *events);
ssize_t peer_stream_try_recv(struct peer_stream *s, void *data, size_t n, short *events);

/* peer_listen.c: on an address (NULL: none). path: the socket's file, or NULL. */
struct peer_listener *peer_stream_listen(const struct peer_ops *ops, const struct peer_address *a,
					 const char *text, const char *path,
					 const struct peer_key *key, struct err *err);

/* peer_tls.c: before the first step. 0, or -errno and err. */
int peer_tls_begin(struct peer_stream *s, const struct peer_key *key, bool server, struct err *err);
/*
 * Goes on with the handshake as far as that needs no waiting: 0 done, -EAGAIN with poll's *events
 * to wait for, or -errno and err.
 */
int peer_tls_step(struct peer_stream *s, short *events, struct err *err);
/* True: not a byte has come, so the caller only looked if anything listens here. */
bool peer_tls_is_silent(const struct peer_stream *s);
/* The message of a handshake that took too long; -ETIMEDOUT. */
int peer_tls_too_slow(const struct peer_stream *s, int timeout_ms, struct err *err);
void peer_tls_end(struct peer_stream *s);
/*
 * n bytes that both ends know and nobody else does (RFC 8446, 7.5); false: the stream is bare.
 */
bool peer_tls_export(struct peer_stream *s, const char *label, uint8_t *bytes, size_t n);

#endif
