/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ten checks of `twinstep qualify`: what the first boot on a real machine has to show. */
#ifndef HOST_QUALIFY_CHECKS_H
#define HOST_QUALIFY_CHECKS_H

#include <jansson.h>

#include "host/qualify_move.h"
#include "hypervisor/vmx/measure.h"
#include "hypervisor/vmx/vmx.h"

#define QUALIFY_CHECKS 10

enum check_state {
	CHECK_GOOD,
	CHECK_NOTE, /* works, with a limit that the text names */
	CHECK_BAD,
	CHECK_NOT_DONE, /* could not be checked here; the text says why */
};

struct check {
	const char *name;
	enum check_state state;
	char text[600];
};

/* What has been found out before. */
struct check_input {
	const struct twvmx_info *info;	   /* version 0: there is no module */
	const char *no_vmx, *no_pmu;	   /* why not, or NULL */
	const struct measure *pmu;	   /* NULL: not measured */
	const struct qualify_moved *moved; /* beside pmu */
	unsigned repeats;		   /* whole runs that are compared */
	unsigned runs; /* of the guest on each CPU between two looks at registers */
};

/* How a check came out, and why. */
__attribute__((format(printf, 3, 4))) void qualify_settle(struct check *c, enum check_state state,
							  const char *fmt, ...);

void qualify_check(const struct check_input *in, struct check *checks);
void qualify_print(const struct check *checks);
json_t *qualify_json(const struct check *checks);

#endif
