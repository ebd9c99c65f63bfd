/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint files with right checksums and arbitrary contents, and as the plain bytes given: for
 * the reader's fuzzer and for tests of what lies behind the checksums.
 */
#ifndef TESTS_FUZZ_CHECKPOINT_FORGE_H
#define TESTS_FUZZ_CHECKPOINT_FORGE_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/log.h"
#include "record/checkpoint_private.h"

struct forge {
	struct buf file;
	uint64_t chain;
};

/* body: what comes behind the header's preamble. */
static inline void forge_header(struct forge *f, uint32_t version, const struct buf *body)
{
	buf_put(&f->file, CHECKPOINT_MAGIC, 8);
	buf_put_u32(&f->file, version);
	buf_put_u32(&f->file, (uint32_t)body->len);
	buf_put(&f->file, body->data, body->len);
	f->chain = XXH3_64bits(f->file.data, f->file.len);
	buf_put_u64(&f->file, f->chain);
}

static inline void forge_body(struct buf *body, const struct machine_config *c, const char *counter,
			      uint64_t base)
{
	struct buf config = BUF_INIT;

	machine_config_save(c, &config);
	buf_put_blob(body, config.data, config.len);
	buf_put_str(body, "soft");
	buf_put_str(body, counter);
	buf_put_u64(body, base);
	buf_put_u64(body, 0);
	buf_put_u64(body, 0);
	buf_put_u64(body, 0);
	buf_free(&config);
}

static inline void forge_section(struct forge *f, uint8_t kind, uint8_t flags, uint16_t index,
				 uint32_t raw, const void *data, size_t n)
{
	struct checkpoint_section s = {
		.magic = CHECKPOINT_SECTION,
		.kind = kind,
		.flags = flags,
		.index = index,
		.stored = (uint32_t)n,
		.raw = raw,
		.chain = f->chain,
	};

	s.check = f->chain = checkpoint_check(&s, data);
	buf_put(&f->file, &s, sizeof(s));
	buf_put(&f->file, data, n);
}

/* The bytes as an open file. */
static inline int forge_fd(const void *data, size_t n)
{
	int fd = memfd_create("checkpoint", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	return fd;
}

#endif
