// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->bad = false;
}

void *buf_grow(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 64;
	uint8_t *p;

	if (b->bad || n > SIZE_MAX / 4 - b->len) {
		b->bad = true;
		return NULL;
	}
	while (cap < b->len + n)
		cap *= 2;
	if (cap != b->cap) {
		p = realloc(b->data, cap);
		if (!p) {
			b->bad = true;
			return NULL;
		}
		b->data = p;
		b->cap = cap;
	}
	p = b->data + b->len;
	b->len += n;
	return p;
}

void buf_put(struct buf *b, const void *data, size_t n)
{
	void *p;

	if (!n)
		return;
	p = buf_grow(b, n);
	if (p)
		memcpy(p, data, n);
}

static void buf_put_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t *p = buf_grow(b, n);

	for (size_t i = 0; p && i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put_le(b, v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
	buf_put_le(b, v, 2);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	buf_put_le(b, v, 4);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
	buf_put_le(b, v, 8);
}

void buf_put_varint(struct buf *b, uint64_t v)
{
	uint8_t out[10];
	size_t n = 0;

	while (v >= 0x80) {
		out[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	buf_put(b, out, n);
}

void buf_put_blob(struct buf *b, const void *data, size_t n)
{
	buf_put_varint(b, n);
	buf_put(b, data, n);
}

void buf_put_str(struct buf *b, const char *s)
{
	buf_put_blob(b, s, strlen(s));
}

bool bytes_reserve(uint8_t **p, size_t *cap, size_t n)
{
	uint8_t *q;

	if (n <= *cap)
		return true;
	q = realloc(*p, n);
	if (!q)
		return false;
	*p = q;
	*cap = n;
	return true;
}

bool bytes_are_zero(const void *data, size_t n)
{
	const uint8_t *p = data;

	return !p[0] && !memcmp(p, p + 1, n - 1);
}

size_t rd_left(const struct rd *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

const uint8_t *rd_bytes(struct rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > (size_t)(r->end - r->p)) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

void rd_get(struct rd *r, void *data, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	if (!n)
		return;
	if (p)
		memcpy(data, p, n);
	else
		memset(data, 0, n);
}

static uint64_t rd_le(struct rd *r, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t rd_u8(struct rd *r)
{
	return (uint8_t)rd_le(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
	return (uint16_t)rd_le(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
	return (uint32_t)rd_le(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
	return rd_le(r, 8);
}

uint64_t rd_varint(struct rd *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t c = rd_u8(r);

		if (r->bad || (shift == 63 && c > 1))
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

const uint8_t *rd_blob(struct rd *r, size_t max, size_t *n)
{
	uint64_t len = rd_varint(r);

	*n = 0;
	if (len > max)
		r->bad = true;
	if (r->bad)
		return NULL;
	*n = (size_t)len;
	return rd_bytes(r, (size_t)len);
}
