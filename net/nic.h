/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host side of a guest NIC: one interface, several backends (tap:NAME, pcap:IFACE), chosen by the specification's
 * prefix.
 */
#ifndef NET_NIC_H
#define NET_NIC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define NIC_FRAME_MAX 65536

struct nic;

struct nic_ops {
	const char *prefix; /* "tap", "pcap" */
	/* name: what follows the colon; mac: the guest's address. */
	struct nic *(*open)(const char *name, const uint8_t mac[6], struct err *err);
	void (*close)(struct nic *n);
	int (*fd)(const struct nic *n); /* readable when a frame waits */
	/* Without blocking: length of the frame, -EAGAIN, or another negative errno. */
	ssize_t (*recv)(struct nic *n, uint8_t *frame, size_t max);
	/* 0 or a negative errno; a full queue drops the frame (-EAGAIN), as a wire would. */
	int (*send)(struct nic *n, const uint8_t *frame, size_t len);
};

struct nic {
	const struct nic_ops *ops;
};

/* spec: "tap:NAME" or "pcap:IFACE". NULL and err when the prefix is unknown or the backend fails. */
struct nic *nic_open(const char *spec, const uint8_t mac[6], struct err *err);
void nic_close(struct nic *n);

#endif
