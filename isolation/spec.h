/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Controls over information that a processor leaks to programs that share it: over speculation
 * (Documentation/userspace-api/spec_ctrl.rst), and over the processes that run on a core's other
 * thread (Documentation/admin-guide/hw-vuln/core-scheduling.rst).
 */
#ifndef ISOLATION_SPEC_H
#define ISOLATION_SPEC_H

#include <stdbool.h>

enum spec_control {
	SPEC_STORE_BYPASS,    /* loads do not pass older stores (SSBD) */
	SPEC_INDIRECT_BRANCH, /* branches are not steered by others (STIBP, IBPB at a switch) */
	SPEC_L1D_FLUSH,	      /* the L1 data cache is flushed when another process gets the CPU */
	SPEC_CONTROLS
};

enum spec_state {
	SPEC_UNKNOWN,	   /* the kernel does not know this control */
	SPEC_NOT_AFFECTED, /* the processor does not need it */
	SPEC_PROTECTED,
	SPEC_OPEN,	  /* could be protected, and is not */
	SPEC_NOT_OFFERED, /* open, and the host offers no control */
};

const char *spec_name(enum spec_control c);
const char *spec_state_name(enum spec_state s);
/* State of a control for the calling thread. */
enum spec_state spec_state(enum spec_control c);
/*
 * Puts all controls into the protective state, for the calling thread and all that it starts, for
 * good where the kernel can do that. 0, or -EOPNOTSUPP when one that the processor needs is not
 * offered; the flush is taken where offered, and its absence is no error.
 */
int spec_protect(void);

/* True: the kernel was built with core scheduling. */
bool spec_core_known(void);
/*
 * Gives the process its own core-scheduling cookie, so that no other process's threads run beside
 * its own on a core. To be called before threads start, as they inherit it. 0, also if no core has
 * a second thread; -EOPNOTSUPP; another -errno.
 */
int spec_core_create(void);

#endif
