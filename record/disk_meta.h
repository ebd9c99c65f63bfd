/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata of a disk image: its pair and owner, the name of its content, and the blocks that may
 * differ from the other replica's copy. They lie in a file beside the image
 * (docs/disk-metadata.md) and are true after a crash at any instant.
 *
 * Content has a name, a random number. Two images of one disk whose contents have the same name are
 * in step: they differ at most where either of them was being written when it was cut off. A
 * replica that goes on without the other gives its content a new name and remembers the old one; so
 * what one side missed follows from the names alone, without clocks and without dates of files.
 *
 * Two sets say where images may differ. The bitmap has a bit for each block of 64 KiB, set when the
 * block was written while the other side did not follow. The active extents, of 4 MiB each, are
 * those that are being written: an extent is in the set on stable storage before the first write to
 * it begins, and leaves it after the image was flushed and the blocks that the other side may lack
 * are in the bitmap. A disk that is written in few places costs few writes of metadata; after a
 * crash the blocks of all active extents count as written (as DRBD's activity log does).
 */
#ifndef RECORD_DISK_META_H
#define RECORD_DISK_META_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DISK_META_ID_LEN  16
#define DISK_META_HISTORY 8
#ifndef DISK_META_BLOCK		       /* a test has smaller pieces */
#define DISK_META_BLOCK	    65536u     /* bytes that a bit of the bitmap stands for */
#define DISK_META_EXTENT    (4u << 20) /* bytes of an active extent */
#define DISK_META_WRITE_MAX (64u << 20)
#endif
/* An image is at most so long: the bitmap in memory takes 128 MiB then. */
#define DISK_META_IMAGE_MAX (1ull << 46)

enum disk_meta_state {
	DISK_IN_STEP, /* the other side has the same content, or had it when last seen */
	DISK_AHEAD,   /* written while the other side did not follow */
	DISK_BEHIND,  /* the other side is known to have gone on without this one */
	DISK_SYNCING, /* a copy is being received: the content is a mixture */
	DISK_FOLLOWS, /* in step, as the side that follows: the live one's writes come first */
	DISK_STATES
};

struct disk_meta_identity {
	uint8_t pair[DISK_META_ID_LEN]; /* of the pair that the image belongs to */
	uint8_t disk[DISK_META_ID_LEN]; /* of the disk, the same on both sides */
	uint64_t image_bytes;
	uint64_t current;		     /* name of the content; 0: none yet, a new image */
	uint64_t base;			     /* content since which the bitmap was kept; 0: none */
	uint64_t history[DISK_META_HISTORY]; /* older contents, the newest first; 0: none */
	uint64_t generation;		     /* generation in which the image was last written */
	uint64_t record; /* last record that both sides had applied when last in step */
	/* id of the process that wrote this, as the arbiter knows it */
	uint8_t owner[DISK_META_ID_LEN];
	enum disk_meta_state state;
	bool doubtful; /* part of the metadata was damaged: every block has to be compared */
	bool offered;  /* ahead, but a copy being made may get this content's name at any moment */
};

/* The side with the newer content, as far as the names of contents tell. */
enum disk_newer {
	DISK_NEWER_NEITHER, /* the same content: only blocks in the bitmaps may differ */
	DISK_NEWER_MINE,
	DISK_NEWER_THEIRS,
	DISK_NEWER_UNKNOWN, /* both images are new to the pair */
	DISK_NEWER_SPLIT,   /* both were written while the other did not follow: a person chooses */
	DISK_NEWER_BROKEN,  /* both are mixtures: copies that were never finished */
	DISK_NEWER_FOREIGN, /* images of different pairs or disks */
	/* different lengths, and neither is known to be an older copy of the other */
	DISK_NEWER_SIZE,
};

struct disk_relation {
	enum disk_newer newer;
	bool whole; /* the bitmaps do not reach back far enough: every block has to be compared */
};

/*
 * Compares two images of a disk by their identities. If the older copy is shorter, it missed a
 * growth and has to grow first; if it is longer, it grew alone and has to be cut.
 */
struct disk_relation disk_meta_relation(const struct disk_meta_identity *mine,
					const struct disk_meta_identity *theirs);
/* "in step", "ahead", ... */
const char *disk_meta_state_name(enum disk_meta_state s);
/* The reason why content in this state may not be the newest; NULL: the state gives none. */
const char *disk_meta_state_doubt(enum disk_meta_state s);

struct disk_meta;

/*
 * Writes metadata for an image to an empty file: nothing is known to differ. The file gets its full
 * length at once, so that no later write of metadata can find the host's disk full. 0, or -errno
 * and err.
 */
int disk_meta_format(int fd, const char *name, const struct disk_meta_identity *id,
		     struct err *err);

/*
 * Reads the metadata of an image of image_bytes, and writes nothing yet. Extents that were active
 * count as written from now on. name: the file's, for messages. flush(ctx) puts the image's data on
 * stable storage (0 or a positive errno); it is called on the thread that writes. The file stays
 * the caller's. NULL and err when this is no metadata of such an image.
 */
struct disk_meta *disk_meta_open(int fd, const char *name, uint64_t image_bytes,
				 int (*flush)(void *ctx), void *ctx, struct err *err);
/* Reads the identity alone and changes nothing: 0, or -errno and err. */
int disk_meta_peek(int fd, const char *name, struct disk_meta_identity *id, struct err *err);
/*
 * Closes the metadata in good order, after the last write: flushes the image, so that no extent
 * stays active. Frees m, even on failure. 0 or a positive errno.
 */
int disk_meta_close(struct disk_meta *m);
/* Frees m and writes nothing, as a crash would. */
void disk_meta_abandon(struct disk_meta *m);

/* ---- the thread that writes to the image ---- */

/*
 * To be called before each write of len bytes (1 to DISK_META_WRITE_MAX) at offset, inside the
 * image. 0: their extents are active on stable storage. Otherwise a positive errno, and the write
 * must not begin. EPERM: neither disk_meta_join() nor disk_meta_part() has said whether the other
 * side follows.
 */
int disk_meta_write(struct disk_meta *m, uint64_t offset, uint64_t len);
/*
 * Takes the next block to be sent to the other side, at or after `block`; UINT64_MAX: none. It
 * counts as sent. To be called between writes and right before the block is read: a later write
 * then marks the block to be sent again before it changes it.
 */
uint64_t disk_meta_sync_take(struct disk_meta *m, uint64_t block);

/* ---- any thread; these do not wait for storage ---- */

/*
 * Notes that a write announced by disk_meta_write() has completed for the guest. record: number of
 * the first record after that; a side that has applied it has executed the write.
 */
void disk_meta_finished(struct disk_meta *m, uint64_t offset, uint64_t len, uint64_t record);
/* Notes that the other side has applied all records up to this one; UINT64_MAX: it is ahead. */
void disk_meta_applied(struct disk_meta *m, uint64_t record);
/*
 * Notes that the other side does not follow any more: all writes that it may not have executed, and
 * all from now on, are kept in the bitmap. current: the new name of the content, not 0. An image
 * that is ahead already keeps its name, if no copy can have got that since (disk_meta_follow()).
 * The change is on stable storage before the next write begins.
 */
void disk_meta_part(struct disk_meta *m, uint64_t current, uint64_t generation);
/*
 * Notes that both sides are equal right after this record, and that from there on, in this
 * generation, the other side follows (DISK_IN_STEP) or this one does (DISK_FOLLOWS). It is on
 * stable storage before the next write begins. Names and bitmap stay. Does nothing while a call of
 * disk_meta_part() has not taken effect yet.
 */
void disk_meta_change_sides(struct disk_meta *m, uint64_t generation, uint64_t record,
			    enum disk_meta_state state);
/*
 * Sets the process that writes from now on. Reaches stable storage with the next change of the
 * identity.
 */
void disk_meta_set_owner(struct disk_meta *m, const uint8_t owner[DISK_META_ID_LEN]);
/* Sets the pair of an image that belongs to none yet; stored likewise. */
void disk_meta_set_pair(struct disk_meta *m, const uint8_t pair[DISK_META_ID_LEN]);
/* First block at or after `block` that may differ; UINT64_MAX: none. */
uint64_t disk_meta_next(struct disk_meta *m, uint64_t block);
uint64_t disk_meta_blocks(struct disk_meta *m);
/* Number of blocks that may differ, for tests. */
uint64_t disk_meta_count(struct disk_meta *m);
/* Notes that the block may differ; on stable storage from disk_meta_save() on. */
void disk_meta_set(struct disk_meta *m, uint64_t block);

/*
 * Begins to send: every block that may differ, and each block written from now on, is to be sent,
 * until disk_meta_sync_end() or disk_meta_join(). False: out of memory.
 */
bool disk_meta_sync_begin(struct disk_meta *m);
void disk_meta_sync_end(struct disk_meta *m);
/* Number of blocks that are still to be sent. */
uint64_t disk_meta_sync_left(struct disk_meta *m);
/*
 * Notes that the other side has the block, as it was sent, on stable storage. The block no longer
 * differs, unless it is to be sent again.
 */
void disk_meta_sync_done(struct disk_meta *m, uint64_t block);

/*
 * Notes on stable storage that disk_meta_follow() may be called soon. If this side is cut off after
 * that, a copy may have got this content's name, so this side takes a new name before it writes.
 * Waits for storage: 0 or a positive errno.
 */
int disk_meta_offer(struct disk_meta *m);
/*
 * From here on the other side executes each write as well. Every block has been sent, and no
 * request of the guest is under way. If the join fails, disk_meta_part() knows what the other side
 * may lack; if it succeeds, disk_meta_join() has to follow.
 */
void disk_meta_follow(struct disk_meta *m);

/* ---- a join; these wait for storage: 0 or a positive errno ---- */

/*
 * To be called before the first block is sent to a copy that is not the one that the bitmap's base
 * stands for: its confirmations say nothing about that one.
 */
int disk_meta_forget_base(struct disk_meta *m);

/* Gets the present identity, even if it cannot be put on stable storage. */
int disk_meta_get(struct disk_meta *m, struct disk_meta_identity *id);
/*
 * Ends a join: both sides are equal, or were at disk_meta_follow(). Names, generation and record
 * become the common ones, as do pair and disk ids where the image has none, and the bitmap forgets
 * everything from before. common->state: DISK_FOLLOWS on the side that follows, DISK_IN_STEP on the
 * live one.
 */
int disk_meta_join(struct disk_meta *m, const struct disk_meta_identity *common);
/*
 * Sets the process that is going to write, before it asks the arbiter for permission. generation:
 * the one in which this content was last written; 0: as the file says. Names and bitmap stay.
 */
int disk_meta_adopt(struct disk_meta *m, uint64_t generation,
		    const uint8_t owner[DISK_META_ID_LEN]);
/*
 * Extends the metadata to an image that already has image_bytes; the new part is not known to
 * differ. Does nothing if the image had more before. After a failure, or when this is cut off, the
 * file describes the old length or the new one. To be called on the thread that writes to the
 * image.
 */
int disk_meta_grow(struct disk_meta *m, uint64_t image_bytes);
/*
 * Shortens the metadata before the image is cut to image_bytes. EBUSY: the image has been written
 * since it was opened. Otherwise as disk_meta_grow().
 */
int disk_meta_cut(struct disk_meta *m, uint64_t image_bytes);
/* Sets the state; names and bitmap stay. */
int disk_meta_set_state(struct disk_meta *m, enum disk_meta_state s);
/* Gives the content up: the image counts as new until a copy is complete. */
int disk_meta_discard(struct disk_meta *m);
/* Puts the bitmap on stable storage. */
int disk_meta_save(struct disk_meta *m);

#endif
