/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints of a machine in memory (shots): RAM as pages, which neighbouring checkpoints share,
 * state, translations (TLBs), disk changes and the place in the log. They can be restored only into
 * the same machine object.
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
	struct shot_chunk **
		base; /* content of RAM when a checkpoint was last taken or restored; NULL: never */
	struct shot **list; /* by count */
	size_t n, room;
	uint64_t bytes, spacing;
};

int shots_init(struct shots *s, const struct timeline_config *c, struct err *err);
void shots_fini(struct shots *s);
/* For detail.h: notes a page that was dirty, because a digest clears its dirty mark. */
void shots_page_dirty(void *shots, uint64_t offset, const void *page, uint64_t hash);
/*
 * Takes a checkpoint where the machine stands, at the first boundary with its count, unless there
 * is one. place: the next record that the machine will take. Other checkpoints may be dropped to
 * make room. 0, or -errno and err.
 */
int shots_take(struct shots *s, const struct logstream_place *place, struct err *err);
/* Index of the last checkpoint at or before count; -1: there is none. */
ssize_t shots_find(const struct shots *s, uint64_t count);
/* Restores the machine. The caller has to move the stream. 0, or -errno and err. */
int shots_restore(struct shots *s, size_t index, struct err *err);

#endif
