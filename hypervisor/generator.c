// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/generator.h"

#include <errno.h>
#include <string.h>

static uint32_t rotl(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void quarter_round(uint32_t *s, unsigned a, unsigned b, unsigned c, unsigned d)
{
	s[a] += s[b];
	s[d] = rotl(s[d] ^ s[a], 16);
	s[c] += s[d];
	s[b] = rotl(s[b] ^ s[c], 12);
	s[a] += s[b];
	s[d] = rotl(s[d] ^ s[a], 8);
	s[c] += s[d];
	s[b] = rotl(s[b] ^ s[c], 7);
}

/* RFC 8439, 2.3, with a 64-bit block counter and a zero nonce. */
static void generator_block(struct generator *g)
{
	const uint32_t in[16] = {
		0x61707865,
		0x3320646e,
		0x79622d32,
		0x6b206574,
		g->key[0],
		g->key[1],
		g->key[2],
		g->key[3],
		g->key[4],
		g->key[5],
		g->key[6],
		g->key[7],
		(uint32_t)g->block,
		(uint32_t)(g->block >> 32),
		0,
		0,
	};
	uint32_t *s = g->out;

	memcpy(s, in, sizeof(in));
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned c = 0; c < 4; c++)
			quarter_round(s, c, 4 + c, 8 + c, 12 + c);
		for (unsigned c = 0; c < 4; c++)
			quarter_round(s, c, 4 + (c + 1) % 4, 8 + (c + 2) % 4, 12 + (c + 3) % 4);
	}
	for (unsigned i = 0; i < 16; i++)
		s[i] += in[i];
	g->block++;
	g->used = 0;
}

void generator_init(struct generator *g)
{
	memset(g, 0, sizeof(*g));
	g->used = 16;
}

void generator_seed(struct generator *g, const uint8_t seed[GENERATOR_SEED_LEN])
{
	struct rd r = RD_INIT(seed, GENERATOR_SEED_LEN);

	generator_block(g);
	for (unsigned i = 0; i < 8; i++)
		g->key[i] = g->out[i] ^ rd_u32(&r);
	memset(g->out, 0, sizeof(g->out));
	g->block = 0;
	g->used = 16;
}

uint64_t generator_next(struct generator *g)
{
	uint64_t v;

	if (g->used + 2 > 16)
		generator_block(g);
	v = g->out[g->used] | (uint64_t)g->out[g->used + 1] << 32;
	g->used += 2;
	return v;
}

void generator_save(const struct generator *g, struct buf *out)
{
	for (unsigned i = 0; i < 8; i++)
		buf_put_u32(out, g->key[i]);
	buf_put_u64(out, g->block);
	buf_put_u8(out, (uint8_t)g->used);
}

int generator_restore(struct generator *g, struct rd *in)
{
	uint64_t block;
	uint8_t used;

	for (unsigned i = 0; i < 8; i++)
		g->key[i] = rd_u32(in);
	block = rd_u64(in);
	used = rd_u8(in);
	if (in->bad || used > 16 || used % 2 || (used < 16 && !block))
		return -EINVAL;
	g->block = block;
	if (used < 16) {
		g->block--;
		generator_block(g);
	}
	g->used = used;
	return 0;
}
