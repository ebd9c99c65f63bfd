/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte buffers: `struct buf` grows while it is written; `struct rd` reads a range that another
 * object owns.
 *
 * Everything is little-endian. A reader never reads past its end: after the first short read `bad`
 * is set and every later get returns 0, so the caller checks `bad` only once, at the end. A writer
 * that runs out of memory sets `bad` likewise.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool bad; /* out of memory: content is incomplete */
};

#define BUF_INIT  \
	{         \
		0 \
	}

void buf_free(struct buf *b);
/* Empties the buffer and keeps its memory. */
void buf_clear(struct buf *b);
/* Makes room for n more bytes and returns where they go, or NULL (and sets bad); len grows by n. */
void *buf_grow(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *data, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
/* LEB128: seven bits a byte, low first; at most 10 bytes. */
void buf_put_varint(struct buf *b, uint64_t v);
/* A varint length and the bytes. */
void buf_put_blob(struct buf *b, const void *data, size_t n);
void buf_put_str(struct buf *b, const char *s);

/*
 * Makes room for n bytes at *p, whose allocated size is *cap; false when out of memory, then
 * nothing has changed.
 */
bool bytes_reserve(uint8_t **p, size_t *cap, size_t n);

/* True: all of n bytes are 0. n is at least 1. */
bool bytes_are_zero(const void *data, size_t n);

struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad; /* something was read past the end, or a varint was too long */
};

/* ptr may be NULL when n is 0. */
#define RD_INIT(ptr, n)                                                                        \
	{                                                                                      \
		.p = (ptr), .end = (n) ? (const uint8_t *)(ptr) + (n) : (const uint8_t *)(ptr) \
	}

size_t rd_left(const struct rd *r);
void rd_get(struct rd *r, void *data, size_t n); /* zeroes data when short */
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
uint64_t rd_varint(struct rd *r);
/* Pointer to n bytes inside the range, or NULL (and sets bad). */
const uint8_t *rd_bytes(struct rd *r, size_t n);
/*
 * A blob of at most max bytes: pointer and *n; NULL (and sets bad) when short or longer than max.
 */
const uint8_t *rd_blob(struct rd *r, size_t max, size_t *n);

#endif
