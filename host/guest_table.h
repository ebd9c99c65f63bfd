/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guests of a host as a table of text, for `twinstep list` and `twinstep top`. */
#ifndef HOST_GUEST_TABLE_H
#define HOST_GUEST_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct guest_table {
	const json_t *guests; /* guest_list() */
	const json_t *before; /* the same, `seconds` ago: CPU is that of this time; NULL: since the
				 replica's start */
	double seconds;
	bool details;		/* a second line for each guest, and its disks */
	unsigned width, height; /* of the terminal, in characters and lines; 0: any */
};

/* A head, a line for each guest, and below it what is wrong with it; no more than fits. */
void guest_table_print(FILE *f, const struct guest_table *t);

#endif
