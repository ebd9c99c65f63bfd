/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host side of a guest's network card. Frames are whole Ethernet frames without FCS. Nothing here
 * blocks.
 *
 *   tap:NAME     a tap interface: an existing one, or created and gone with the process
 *   pcap:IFACE   an interface of the host, shared with it: capture of what is for the guest, and
 *                injection
 *   none         a card whose cable hangs in the air
 */
#ifndef NET_NIC_H
#define NET_NIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define NIC_FRAME_MIN 14   /* an Ethernet header */
#define NIC_FRAME_MAX 9018 /* a jumbo frame of 9000 bytes of payload, with a VLAN tag */

struct nic;

struct nic_ops {
	const char *scheme;
	/* arg: what follows "scheme:" (empty when nothing does). NULL and err on failure. */
	struct nic *(*open)(const char *arg, const uint8_t mac[6], struct err *err);
	/* Descriptor that polls readable when recv() may have a frame; -1: never. */
	int (*fd)(const struct nic *nic);
	/*
	 * 0, -EAGAIN when the host has no room (the frame is lost, as on a wire), or a negative
	 * errno.
	 */
	int (*send)(struct nic *nic, const void *frame, size_t len);
	long send_call; /* the system call that sends a frame to fd(), for nic_send_before() */
	/*
	 * Length of one frame (at most max bytes), -EAGAIN when there is none now, or a negative
	 * errno.
	 */
	ssize_t (*recv)(struct nic *nic, void *frame, size_t max);
	/*
	 * From now on frames for this address of the guest's are captured. NULL: the backend gets
	 * all that arrives anyway. 0, or -errno and err.
	 */
	int (*set_mac)(struct nic *nic, const uint8_t mac[6], struct err *err);
	/*
	 * Outside of the jail, where names and rights are: whether its interface is there and up,
	 * to which it is attached anew if it was another one before. 0, or -errno (-ENODEV: there
	 * is none of that name, -ENETDOWN: it is down). socket_fd: to look with. NULL: it cannot
	 * be lost.
	 */
	int (*attach)(struct nic *nic, int socket_fd);
	void (*close)(struct nic *nic);
};

#define NIC_NAME_LEN 16

struct nic {
	const struct nic_ops *ops;
	char name[NIC_NAME_LEN];     /* of its interface */
	atomic_bool lost;	     /* the interface is down or gone */
	atomic_uint_fast64_t losses; /* how often it became so */
	/* frames that came, and that could not be made into what was on a wire */
	atomic_uint_fast64_t unusable;
};

/* spec: "tap:NAME", "pcap:IFACE" or "none"; mac: the guest's address. NULL and err on failure. */
struct nic *nic_open(const char *spec, const uint8_t mac[6], struct err *err);
/* Checks that spec names a known backend with a possible argument; opens nothing. 0, or -errno. */
int nic_check_spec(const char *spec, struct err *err);
/* -1: nothing can be waited for now. */
int nic_fd(const struct nic *nic);
/*
 * A send or a receive that finds the interface down or gone fails like one that finds it busy or
 * empty: the first one says so and counts it, and from then on the NIC is lost. While it is, the
 * caller has to have nic_attach() called now and then, where the rights for it are, and to pass on
 * what came of it. Any thread may call it.
 */
bool nic_is_lost(const struct nic *nic);
/* A socket for nic_attach(), made while sockets may be made; -errno. */
int nic_attach_socket(void);
/* mac: the guest's address, for a card that has to know it. 0 or -errno. */
int nic_attach(struct nic *nic, int socket_fd, const uint8_t mac[6]);
void nic_found(struct nic *nic, int attached);
int nic_send(struct nic *nic, const void *frame, size_t len);
/*
 * Sends like nic_send(), but before CLOCK_BOOTTIME shows deadline_ns or not at all; then the result
 * is -ETIME (base/call_before.h).
 */
int nic_send_before(struct nic *nic, const void *frame, size_t len, uint64_t deadline_ns);
ssize_t nic_recv(struct nic *nic, void *frame, size_t max);
int nic_set_mac(struct nic *nic, const uint8_t mac[6], struct err *err);
void nic_close(struct nic *nic); /* NULL allowed */

extern const struct nic_ops nic_tap_ops, nic_pcap_ops, nic_none_ops;

#endif
