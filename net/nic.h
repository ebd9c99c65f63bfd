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
	 * Sends a frame. 0; -EAGAIN: the host has no room, and the frame is lost as on a wire;
	 * another -errno.
	 */
	int (*send)(struct nic *nic, const void *frame, size_t len);
	long send_call; /* the system call that sends a frame to fd(), for nic_send_before() */
	/*
	 * Receives a frame of at most max bytes. Returns its length; -EAGAIN: there is none now;
	 * another -errno.
	 */
	ssize_t (*recv)(struct nic *nic, void *frame, size_t max);
	/*
	 * Captures frames for this address of the guest from now on. NULL: the backend gets all
	 * frames anyway. 0, or -errno and err.
	 */
	int (*set_mac)(struct nic *nic, const uint8_t mac[6], struct err *err);
	/*
	 * Called outside the jail, where interface names and rights are available: checks that the
	 * interface is there and up, and attaches to it again if it was replaced by another.
	 * socket_fd: a socket for these requests. 0; -ENODEV: there is no interface of that name;
	 * -ENETDOWN: it is down; another -errno. NULL: the NIC cannot be lost.
	 */
	int (*attach)(struct nic *nic, int socket_fd);
	void (*close)(struct nic *nic);
};

#define NIC_NAME_LEN 16

struct nic {
	const struct nic_ops *ops;
	char name[NIC_NAME_LEN];     /* of its interface */
	atomic_bool lost;	     /* the interface is down or gone */
	atomic_uint_fast64_t losses; /* how often the interface was lost */
	/* frames captured that could not be restored to what was on a wire */
	atomic_uint_fast64_t unusable;
};

/* spec: "tap:NAME", "pcap:IFACE" or "none"; mac: the guest's address. NULL and err on failure. */
struct nic *nic_open(const char *spec, const uint8_t mac[6], struct err *err);
/* Checks that spec names a known backend with a possible argument; opens nothing. 0, or -errno. */
int nic_check_spec(const char *spec, struct err *err);
/* Descriptor to wait on for a frame; -1: none now. */
int nic_fd(const struct nic *nic);
/*
 * True: the interface was found to be down or gone. Sends and receives then fail as on a busy or
 * empty interface; the first such call logs and counts the loss. While the NIC is lost, the caller
 * must now and then have nic_attach() called in a process that has the rights, and pass the result
 * to nic_found(). Any thread may call this.
 */
bool nic_is_lost(const struct nic *nic);
/* Makes the socket for nic_attach(), before the jail forbids it. -errno on failure. */
int nic_attach_socket(void);
/*
 * Attaches a lost NIC again. mac: the guest's address, for a backend that has to know it. 0 or
 * -errno.
 */
int nic_attach(struct nic *nic, int socket_fd, const uint8_t mac[6]);
/* Takes the result of nic_attach(). 0: the NIC is not lost any more. */
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
