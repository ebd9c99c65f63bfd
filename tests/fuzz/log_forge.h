/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log files with right checksums and arbitrary contents: for the reader's fuzzer and its tests. */
#ifndef TESTS_FUZZ_LOG_FORGE_H
#define TESTS_FUZZ_LOG_FORGE_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "hypervisor/clock.h"
#include "record/logfile.h"
#include "record/logfile_private.h"

struct log_forge {
	struct buf file;
	uint64_t chain, seq;
};

static inline void log_forge_header(struct log_forge *f, uint32_t version, const struct buf *body)
{
	buf_put(&f->file, LOG_MAGIC, 8);
	buf_put_u32(&f->file, version);
	buf_put_u32(&f->file, (uint32_t)body->len);
	buf_put(&f->file, body->data, body->len);
	f->chain = XXH3_64bits(f->file.data, f->file.len);
	buf_put_u64(&f->file, f->chain);
}

/* The next frame, with number and checksums as they must be. */
static inline void log_forge_frame(struct log_forge *f, uint8_t kind, uint8_t flags, uint32_t raw,
				   const void *data, size_t n)
{
	struct log_frame_header h = {
		.magic = LOG_FRAME_MAGIC,
		.kind = kind,
		.flags = flags,
		.stored = (uint32_t)n,
		.raw = raw,
		.seq = ++f->seq,
		.chain = f->chain,
	};

	h.check = f->chain = log_frame_check(&h, data);
	buf_put(&f->file, &h, sizeof(h));
	buf_put(&f->file, data, n);
}

/* The bytes as a file that log_reader_open() can open; close *fd afterwards. */
static inline void log_forge_open(const void *data, size_t n, int *fd, char path[32])
{
	*fd = memfd_create("log", MFD_CLOEXEC);
	must(*fd >= 0 && write(*fd, data, n) == (ssize_t)n);
	snprintf(path, 32, "/proc/self/fd/%d", *fd);
}

#endif
