/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's random numbers (RDRAND, RDSEED, virtio-rng): ChaCha20 (RFC 8439) keyed by recorded
 * seeds, so that replay draws the same numbers and a guest cannot predict them.
 */
#ifndef HYPERVISOR_GENERATOR_H
#define HYPERVISOR_GENERATOR_H

#include <stdint.h>

#include "base/buf.h"

#define GENERATOR_SEED_LEN 32

struct generator {
	uint32_t key[8];
	uint64_t block;	  /* number of the next block */
	uint32_t out[16]; /* present block */
	uint32_t used;	  /* words of it already given out; 16: none left */
};

void generator_init(struct generator *g);
/* Mixes a seed into the key: what was drawn before cannot be computed from the state afterwards. */
void generator_seed(struct generator *g, const uint8_t seed[GENERATOR_SEED_LEN]);
uint64_t generator_next(struct generator *g);
void generator_save(const struct generator *g, struct buf *out);
int generator_restore(struct generator *g, struct rd *in);

#endif
