/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of the whole host: its size, and whether two hardware threads share a core. */
#ifndef ISOLATION_HOST_INFO_H
#define ISOLATION_HOST_INFO_H

#include <stdbool.h>
#include <stdint.h>

enum host_smt {
	HOST_SMT_UNKNOWN, /* the kernel does not say */
	/* the processor has no second thread per core, or does not show it to this machine */
	HOST_SMT_ABSENT,
	HOST_SMT_OFF,
	HOST_SMT_ON,
};

struct host_info {
	unsigned cpus;		   /* online */
	uint64_t memory;	   /* bytes the kernel manages */
	uint64_t memory_available; /* bytes that could be had without swapping */
	enum host_smt smt;
	bool core_scheduling; /* the kernel keeps strangers off a core's other thread when asked to
			       */
};

/*
 * root: in front of /proc and /sys, "" for the host itself. What cannot be read is 0, unknown or
 * false.
 */
void host_info_read(struct host_info *h, const char *root);
/* "unknown", "absent", "off", "on" */
const char *host_smt_name(enum host_smt smt);

#endif
