/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RDMA devices and ports of this host, for people who set a pair up. */
#ifndef NET_RDMA_PORTS_H
#define NET_RDMA_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define RDMA_PORT_GIDS 8 /* that are told; a port may have hundreds */

struct rdma_port_gid {
	char text[64];	  /* an IPv4 address where it is one */
	const char *kind; /* "InfiniBand", "RoCE v1", "RoCE v2" */
};

/* A port; or, with number 0, a device that cannot be looked into. */
struct rdma_port {
	char device[64];
	unsigned number;
	char why[128]; /* number 0 */
	const char *state, *link_layer;
	double gbit; /* a second, each way, as the link runs now; 0: not told */
	unsigned mtu;
	unsigned ngids; /* all that there are; the first ones in gid */
	struct rdma_port_gid gid[RDMA_PORT_GIDS];
};

/*
 * All ports of all devices into p, n at most: how many; 0: there is no device. -ENOENT and err:
 * libibverbs is not installed.
 */
int rdma_ports_list(struct rdma_port *p, size_t n, struct err *err);

/*
 * Gbit/s of a port by its width and speed, as the InfiniBand architecture (PortInfo:
 * LinkWidthActive, LinkSpeedActive, LinkSpeedExtActive) and ibv_query_port(3) number them; 0: not
 * known.
 */
double rdma_ports_gbit(unsigned width, unsigned speed);

#endif
