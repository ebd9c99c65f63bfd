// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/gdb_packet.h"

#include "base/hex.h"

static enum gdb_event feed_idle(struct gdb_packet *p, uint8_t byte)
{
	if (byte == '$') {
		p->state = GDB_DATA;
		p->len = 0;
		p->sum = 0;
		p->overlong = false;
	}
	return byte == 3 ? GDB_BREAK : byte == '-' ? GDB_NAK : GDB_MORE;
}

static void add(struct gdb_packet *p, uint8_t byte)
{
	if (p->len < GDB_PACKET_MAX)
		p->data[p->len++] = (char)byte;
	else
		p->overlong = true;
}

static enum gdb_event feed_data(struct gdb_packet *p, uint8_t byte)
{
	if (byte == '#') {
		p->state = GDB_SUM1;
		return GDB_MORE;
	}
	p->sum = (uint8_t)(p->sum + byte);
	if (p->state == GDB_ESCAPE) {
		p->state = GDB_DATA;
		add(p, byte ^ 0x20);
	} else if (byte == '}') {
		p->state = GDB_ESCAPE;
	} else {
		add(p, byte);
	}
	return GDB_MORE;
}

enum gdb_event gdb_packet_feed(struct gdb_packet *p, uint8_t byte)
{
	int d = hex_digit((char)byte, HEX_ANY);

	switch (p->state) {
	case GDB_IDLE:
		return feed_idle(p, byte);
	case GDB_DATA:
	case GDB_ESCAPE:
		return feed_data(p, byte);
	case GDB_SUM1:
		p->state = d < 0 ? GDB_IDLE : GDB_SUM2;
		p->want = d < 0 ? 0 : (uint8_t)(d << 4);
		return d < 0 ? GDB_BAD : GDB_MORE;
	case GDB_SUM2:
		p->state = GDB_IDLE;
		p->data[p->len] = 0;
		return d < 0 || p->overlong || (p->want | d) != p->sum ? GDB_BAD : GDB_PACKET;
	}
	return GDB_MORE;
}

static const char digits[] = "0123456789abcdef";

void gdb_packet_put(struct buf *out, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	buf_put_u8(out, '$');
	for (size_t i = 0; i < len; i++) {
		uint8_t c = p[i];

		if (c == '$' || c == '#' || c == '}' || c == '*') {
			buf_put_u8(out, '}');
			sum = (uint8_t)(sum + '}');
			c ^= 0x20;
		}
		buf_put_u8(out, c);
		sum = (uint8_t)(sum + c);
	}
	buf_put_u8(out, '#');
	buf_put_u8(out, (uint8_t)digits[sum >> 4]);
	buf_put_u8(out, (uint8_t)digits[sum & 15]);
}

void gdb_hex_put(struct buf *out, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		buf_put_u8(out, (uint8_t)digits[p[i] >> 4]);
		buf_put_u8(out, (uint8_t)digits[p[i] & 15]);
	}
}

bool gdb_number(const char **text, uint64_t *n)
{
	const char *p = *text;

	for (*n = 0; hex_digit(*p, HEX_ANY) >= 0; p++) {
		if (*n >> 60)
			return false;
		*n = *n << 4 | (uint64_t)hex_digit(*p, HEX_ANY);
	}
	if (p == *text)
		return false;
	*text = p;
	return true;
}
