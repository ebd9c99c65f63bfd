/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct peer, for peer*.c. */
#ifndef NET_PEER_PRIVATE_H
#define NET_PEER_PRIVATE_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "net/peer.h"

struct peer_key {
	uint8_t bytes[PEER_KEY_LEN];
};

struct peer {
	int fd;
	SSL_CTX *ctx; /* NULL: bare TCP */
	SSL *ssl;
	pthread_mutex_t lock; /* an SSL object is not for two threads at once */
	char name[128];
};

/* peer_tls.c */
int peer_tls_start(struct peer *p, const struct peer_key *key, bool server, int timeout_ms,
		   struct err *err);
void peer_tls_end(struct peer *p);
/* Waits for events (POLLIN, POLLOUT); 1 ready, 0 timeout, -errno. */
int peer_poll(const struct peer *p, short events, int timeout_ms);
/* Milliseconds of the monotonic clock. */
int64_t peer_now_ms(void);

#endif
