/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames with a TCP segment, as a guest sends them. */
#ifndef TESTS_RECORD_TCP_FRAME_H
#define TESTS_RECORD_TCP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TCP_FRAME 200

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static inline void tcp_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned tcp_sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += i % 2 ? p[i] : p[i] * 256u;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* A frame of at most TCP_FRAME bytes with n bytes of payload, from a port; its length. */
static inline size_t tcp_frame(uint8_t *frame, bool v6, unsigned port, uint32_t seq, unsigned flags,
			       const char *text, size_t n)
{
	size_t ip = v6 ? 40 : 24; /* IPv4 with an option */
	uint8_t *p = frame + 14, *tcp = p + ip;

	memset(frame, 0, TCP_FRAME);
	tcp_put16(frame + 12, v6 ? 0x86dd : 0x0800);
	p[0] = v6 ? 0x60 : 0x46;
	tcp_put16(p + (v6 ? 4 : 2), (unsigned)(v6 ? 20 + n : ip + 20 + n));
	p[v6 ? 6 : 9] = 6;
	memset(p + (v6 ? 8 : 12), 10, 4);
	memset(p + (v6 ? 24 : 16), 77, 4);
	if (!v6) {
		memset(p + 20, 1, 4);
		tcp_put16(p + 10, ~tcp_sum(0, p, ip) & 0xffff);
	}
	tcp_put16(tcp, port);
	tcp_put16(tcp + 2, 40000);
	tcp_put16(tcp + 4, seq >> 16);
	tcp_put16(tcp + 6, seq & 0xffff);
	tcp[12] = 0x50;
	tcp[13] = (uint8_t)flags;
	memcpy(tcp + 20, text, n);
	tcp_put16(tcp + 16, ~tcp_sum(tcp_sum(6 + 20 + (uint32_t)n, p + (v6 ? 8 : 12), v6 ? 32 : 8),
				     tcp, 20 + n) &
				    0xffff);
	n += 14 + ip + 20;
	return n < 60 ? 60 : n; /* Ethernet's shortest */
}

#endif
