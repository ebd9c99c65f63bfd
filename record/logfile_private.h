/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of frames, for logwriter.c and logreader.c. */
#ifndef RECORD_LOGFILE_PRIVATE_H
#define RECORD_LOGFILE_PRIVATE_H

#include <stdint.h>

#define LOG_MAGIC	  "TWINLOG\n"
#define LOG_TRAILER_MAGIC "TWINEND\n"
#define LOG_FRAME_MAGIC	  0x52465754u /* "TWFR" */
#define LOG_FRAME_ZSTD	  1u
#define LOG_PREAMBLE	  16 /* magic, version, header length */
#define LOG_TRAILER	  24 /* magic, offset of the index frame, chain before it */

/* All little-endian, as on every host that this runs on. */
struct log_frame_header {
	uint32_t magic;
	uint8_t kind;
	uint8_t flags;
	uint16_t zero;
	uint32_t stored; /* payload bytes in the file */
	uint32_t raw;	 /* payload bytes after decompression */
	uint64_t seq;
	uint64_t count;
	uint64_t chain; /* `check` of the frame before, or the header's checksum */
	uint64_t check; /* XXH3 of the fields above and the stored payload */
};
_Static_assert(sizeof(struct log_frame_header) == 48, "frame header layout");

/* The right value of `check` for this header and stored payload. */
uint64_t log_frame_check(const struct log_frame_header *h, const void *stored);

#endif
