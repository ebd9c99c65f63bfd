/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The outcomes of faults in a guest's code and data, by the name of the code that is there. */
#ifndef HOST_CAMPAIGN_SYMBOLS_H
#define HOST_CAMPAIGN_SYMBOLS_H

#include "host/campaign_stats.h"
#include "host/symbols.h"

struct named_tally {
	const char *name;
	struct campaign_tally t;
};

/* Zeros are none, with no names. */
struct named_tallies {
	struct symbols symbols;
	struct named_tally *list; /* those with most experiments first, once sorted */
	size_t n, room;
	bool bad; /* memory was short, and some are missing */
};

/* The names: a System.map or an ELF file; path NULL: none. 0, or -errno and err. */
int named_tallies_open(struct named_tallies *t, const char *path, struct err *err);
/* Of faults by linear address where there are names; others do not matter. */
void named_tallies_add(struct named_tallies *t, const struct fault *f, enum outcome o);
/* Ends the adding. 0, or -ENOMEM and err. */
int named_tallies_sort(struct named_tallies *t, struct err *err);
void named_tallies_free(struct named_tallies *t);

#endif
