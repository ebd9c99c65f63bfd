/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values of options of the form WHAT,WORD,NAME=VALUE. A comma that belongs to one of them is
 * written twice, as for QEMU. A word that is not known is an error: taken as part of WHAT, it would
 * name another file or interface than the user meant.
 */
#ifndef HOST_SUBOPTIONS_H
#define HOST_SUBOPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct suboption {
	const char *name;
	const char *takes; /* what stands behind '=', for people; NULL: nothing */
	bool *flag;	   /* becomes true; for one without a value */
	char **value;	   /* becomes malloc()ed memory of the caller's; for one with a value */
};

/*
 * A malloc()ed copy of what stands before the next single comma, NULL: out of memory; *arg is
 * behind it then, or NULL.
 */
char *suboptions_word(const char **arg);

/*
 * what: becomes malloc()ed memory of the caller's too. All of them are to be freed, also after an
 * error. option: its name, for messages. 0, or -errno and err.
 */
int suboptions_parse(const char *option, const char *arg, char **what,
		     const struct suboption *known, size_t n, struct err *err);

#endif
