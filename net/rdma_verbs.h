/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of verbs that the RDMA transport needs: reliable connected queue pairs and one-sided
 * writes. The one implementation for hardware is rdma_device.c, on libibverbs; tests have another
 * one in memory.
 *
 * Calls on one queue pair are made by one thread at a time; its descriptor may be waited for
 * meanwhile.
 */
#ifndef NET_RDMA_VERBS_H
#define NET_RDMA_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct verbs_device; /* a port, and the address on it that was asked for; may be shared */
struct verbs_memory; /* registered memory */
struct verbs_qp;     /* a queue pair with its completions */

#define VERBS_GID 16

/* Address of a queue pair, by which the other side reaches it. */
struct verbs_address {
	uint32_t qpn, psn; /* 24 bits */
	uint16_t lid;
	uint8_t mtu;  /* enum ibv_mtu: 1 (256 bytes) to 5 (4096) */
	uint8_t roce; /* an Ethernet port */
	uint8_t gid[VERBS_GID];
};

enum verbs_what {
	VERBS_WRITTEN, /* a write of ours is done */
	VERBS_ARRIVED, /* a write with a number came from the other side, and is in memory */
	VERBS_BROKEN,  /* the queue pair is of no use any more */
};

struct verbs_completion {
	enum verbs_what what;
	uint32_t number; /* ARRIVED */
	const char *why; /* BROKEN */
};

struct verbs_write {
	const void *from; /* in memory that was registered with this key */
	uint32_t from_key, len;
	uint64_t to;
	uint32_t to_key;
	bool tells; /* arrives with a number */
	uint32_t number;
};

struct verbs_ops {
	/* The device that has this address of an interface. NULL and err. */
	struct verbs_device *(*open)(const struct sockaddr *local, struct err *err);
	void (*hold)(struct verbs_device *d); /* one close() more */
	void (*close)(struct verbs_device *d);
	/* Looks at the device's port: 0, or -errno and err why it cannot be used now. */
	int (*check)(struct verbs_device *d, struct err *err);
	int (*events)(struct verbs_device *d); /* a descriptor that is readable when check() may
						  have news; -1: none */
	/* written: by the other side. Its key in *key. */
	struct verbs_memory *(*memory_add)(struct verbs_device *d, void *at, size_t n, bool written,
					   uint32_t *key, struct err *err);
	void (*memory_remove)(struct verbs_memory *m);
	/* For so many writes that are not done, and so many that arrive and were not polled. */
	struct verbs_qp *(*qp_new)(struct verbs_device *d, unsigned writes, unsigned arrivals,
				   struct verbs_address *own, struct err *err);
	int (*qp_connect)(struct verbs_qp *q, const struct verbs_address *theirs, struct err *err);
	/* After its return nothing reads or writes memory for this queue pair any more. */
	void (*qp_free)(struct verbs_qp *q);
	/* 0, or -errno. */
	int (*write)(struct verbs_qp *q, const struct verbs_write *w);
	/* At most n: how many. */
	unsigned (*poll)(struct verbs_qp *q, struct verbs_completion *c, unsigned n);
	/* The descriptor is readable after the next arrival; what is there by then does not count.
	 */
	int (*arm)(struct verbs_qp *q);
	int (*descriptor)(struct verbs_qp *q);
	void (*drain)(struct verbs_qp *q); /* it was readable */
};

/* libibverbs, loaded when it is asked for the first time, before the jail closes. NULL and err. */
const struct verbs_ops *verbs_load(struct err *err);

#endif
