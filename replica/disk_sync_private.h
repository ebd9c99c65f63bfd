/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef REPLICA_DISK_SYNC_PRIVATE_H
#define REPLICA_DISK_SYNC_PRIVATE_H

#include "replica/disk_sync.h"

#define SYNC_SUM_LEN	16u
#define SYNC_SUMS_MAX	4096u /* in a message */
#define SYNC_MARKS_MAX	8192u /* 64-bit words of a bitmap in a message */
#define SYNC_MARK_EVERY 256u  /* blocks */
#define SYNC_MARKS_OPEN 8u    /* marks that wait for their confirmation */

/* First byte of a message. */
enum sync_message {
	SYNC_OFFER = 1, /* u8 disks; for each: u8 kept in step, and then its identity */
	SYNC_MARKS,	/* u8 disk, varint first word, u64 ...: bits of its bitmap */
	SYNC_OFFER_END,
	SYNC_WANT,     /* u64 seed, u8 disks; for each: u8 whether sums are wanted */
	SYNC_SUMS,     /* u8 disk, varint first block, 16 bytes for each block */
	SYNC_SUMS_END, /* of all disks */
	SYNC_BEGIN,    /* u8 disks; for each that is kept in step its identity at the source */
	SYNC_BLOCK, /* u8 disk, varint block, then its content; nothing: the block is all zeros */
	SYNC_MARK,  /* varint number */
	SYNC_DONE,  /* varint number: all blocks before that mark are on stable storage */
	SYNC_EQUAL, /* varint number, then the same as in BEGIN */
	SYNC_ALIVE, /* the target's answer to a heartbeat: it is at work */
};

void sync_put_identity(struct buf *b, const struct disk_meta_identity *id);
int sync_get_identity(struct rd *in, struct disk_meta_identity *id);
int sync_garbled(struct err *err, const char *message);
int sync_block_error(struct err *err, const char *what, unsigned disk, uint64_t block, int error);
/* Length of a block in bytes; the last block of an image may be shorter. */
uint32_t sync_block_bytes(const struct disk_sync_disk *d, uint64_t block);
/*
 * Computes the checksum, SYNC_SUM_LEN bytes, by which two blocks are compared. The guest does not
 * know the seed.
 */
void sync_sum(const uint8_t *data, uint32_t len, uint64_t seed, uint8_t *sum);
/* Reads a block into data (DISK_META_BLOCK bytes) and hashes it. 0 or a positive errno. */
int sync_block_sum(const struct disk_sync_disk *d, uint64_t block, uint64_t seed, uint8_t *data,
		   uint8_t *sum);

#endif
