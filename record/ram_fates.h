/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of bytes of RAM: whether anything reads them before they get other values. One way
 * along a recording tells it for any number of bytes, each from a count of its own on, by a watch
 * on their pages (memory.h).
 *
 * What is not sure counts as read: a use at the very count (a device's may come before the fault or
 * after it), and all of a page that holds code, which may run without another fetch.
 */
#ifndef RECORD_RAM_FATES_H
#define RECORD_RAM_FATES_H

#include "record/timeline.h"

enum ram_fate {
	RAM_UNKNOWN,	 /* nobody has asked for it */
	RAM_READ,	 /* or nobody knows */
	RAM_OVERWRITTEN, /* before anything reads it */
	RAM_UNUSED,	 /* up to the recording's end */
};

struct ram_byte {
	uint64_t offset; /* in RAM */
	uint64_t count;	 /* from this one on */
	enum ram_fate fate;
};

struct ram_fates {
	struct ram_byte *byte; /* by offset, then by count */
	size_t n, room, left;  /* left: so many are not known yet */
	struct machine *m;
	uint64_t *pages, *code; /* sets: those of the bytes; those that code was fetched from */
};

/* Zeros are none. -ENOMEM and err. */
int ram_fates_add(struct ram_fates *f, uint64_t offset, uint64_t count, struct err *err);
/*
 * Finds them out, after all were added: moves along from the first count to the recording's end, or
 * until all are known. 0; or -errno and err, -ENOTSUP where the engine does not tell.
 */
int ram_fates_find(struct ram_fates *f, struct timeline *t, struct machine *m, struct err *err);
enum ram_fate ram_fates_get(const struct ram_fates *f, uint64_t offset, uint64_t count);
void ram_fates_free(struct ram_fates *f);

#endif
