/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints of one machine in memory: RAM as pages that neighbouring checkpoints share, state,
 * translations, disk changes and the place in the log. Good for this machine object only.
 */
#ifndef RECORD_SHOTS_H
#define RECORD_SHOTS_H

#include <sys/types.h>

#include "record/timeline.h"

struct shot {
	uint64_t count;
	struct logstream_place place;
	struct buf state, hidden;
	struct shot_blob *disk[MACHINE_DISKS]; /* changes; NULL: none are kept */
	uint8_t *dirty;
	struct shot_chunk **chunk;
};

struct shots {
	struct machine *m;
	const struct timeline_config *config;
	size_t nchunks;
	uint8_t *changed; /* pages written since `base`, as far as digests have told */
	struct shot_chunk *
		*base;	    /* what RAM was when a shot was last taken or restored; NULL: never */
	struct shot **list; /* by count */
	size_t n, room;
	uint64_t bytes, spacing;
};

int shots_init(struct shots *s, const struct timeline_config *c, struct err *err);
void shots_fini(struct shots *s);
/* For detail.h: a digest ends a page's being dirty. */
void shots_page_dirty(void *shots, uint64_t offset, const void *page, uint64_t hash);
/*
 * Takes one where the machine stands, at a fresh boundary, unless there is one. `place`: the next
 * record that it will take. Others may go to make room.
 */
int shots_take(struct shots *s, const struct logstream_place *place, struct err *err);
/* Index of the last one at or before count; -1: none. */
ssize_t shots_find(const struct shots *s, uint64_t count);
/* Puts the machine there. The stream is the caller's to move. */
int shots_restore(struct shots *s, size_t index, struct err *err);

#endif
