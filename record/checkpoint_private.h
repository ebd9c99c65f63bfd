/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of checkpoint files, for the writer, the reader and tests that forge files. */
#ifndef RECORD_CHECKPOINT_PRIVATE_H
#define RECORD_CHECKPOINT_PRIVATE_H

#include "hypervisor/devices/disk.h"
#include "record/checkpoint.h"

#define CHECKPOINT_MAGIC      "TWINCKP\n"
#define CHECKPOINT_PREAMBLE   16 /* magic, version, length of the body */
#define CHECKPOINT_HEADER_MAX 4096
#define CHECKPOINT_SECTION    0x43535754u /* "TWSC" */
#define CHECKPOINT_ZSTD	      1u	  /* flags of a section: the payload is compressed ... */
#define CHECKPOINT_CONTENT    2u /* ... and of DISK: blocks of the disk, not changes to its image */
#define CHECKPOINT_CHUNK      (1u << 20) /* a section's payload before compression, without ... */
#define CHECKPOINT_RAW_MAX    (CHECKPOINT_CHUNK + 8192) /* ... and with the page that filled it up */
#define CHECKPOINT_STATE_MAX  (64u << 20)		/* machine state, all of its sections */

enum checkpoint_kind {
	CHECKPOINT_STATE = 1, /* machine_save(), in pieces */
	CHECKPOINT_PAGES,     /* pages.h; numbers rise */
	CHECKPOINT_DISK,      /* changes of disk `index`, in pieces; or its content: numbers rise */
	CHECKPOINT_END,	      /* u64 pages, u64 sections before this one */
	CHECKPOINT_KIND_END_
};

/*
 * All little-endian, as on every host that this runs on. Sections come in the order of their kinds.
 */
struct checkpoint_section {
	uint32_t magic;
	uint8_t kind;
	uint8_t flags;
	uint16_t index;
	uint32_t stored; /* payload bytes in the file */
	uint32_t raw;	 /* after decompression */
	uint64_t chain;	 /* `check` of the section before, or the header's checksum */
	uint64_t check;	 /* XXH3 of the fields above and the stored payload; the last one is the
			    checkpoint's id */
};
_Static_assert(sizeof(struct checkpoint_section) == 32, "section header layout");

/* Bytes of a block of a disk of so many sectors: the last one may be short. */
static inline unsigned checkpoint_block_bytes(uint64_t sectors, uint64_t block)
{
	uint64_t left = sectors * DISK_SECTOR - block * CHECKPOINT_BLOCK;

	return left < CHECKPOINT_BLOCK ? (unsigned)left : CHECKPOINT_BLOCK;
}

/* The right value of `check` for this header and stored payload. */
uint64_t checkpoint_check(const struct checkpoint_section *s, const void *stored);

#endif
