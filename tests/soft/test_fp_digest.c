// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Floating point is the same on every host and with every compiler: digests of all that each
 * instruction does with random and edge operands, under random controls and masks. They were made
 * on an AMD processor (family 25, model 1) with gcc; where another one gives another digest, a
 * handler lets the host decide something that the host's maker does not do as the others.
 *
 * What Intel's silicon itself does is in the golden vectors of tests/isa.
 */
#include <xxhash.h>

#include "tests/soft/operands.h"
#include "tests/unit.h"

#define ROUNDS 500

static XXH3_state_t *hash;

/* One instruction, ROUNDS times; bytes that decode to nothing, or to #UD, count too. */
static void digest_form(const uint8_t *bytes, size_t n, bool x87)
{
	static struct sil_state in, out;
	struct op op;

	memset(&op, 0, sizeof(op));
	if (decode_op(bytes, n, MODE_64, 0, &op) != DECODE_OK)
		return;
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (x87)
			x87_random_state(&in, i % 8 == 0);
		else
			sse_random_state(&in);
		sil_soft_run(&op, &in, &out);
		XXH3_64bits_update(hash, out.fx, sizeof(out.fx));
		XXH3_64bits_update(hash, out.gpr, sizeof(out.gpr));
		XXH3_64bits_update(hash, &out.flags, sizeof(out.flags));
		XXH3_64bits_update(hash, out.mem, 128);
		XXH3_64bits_update(hash, &out.fault, sizeof(out.fault));
	}
}

static void digest_begin(void)
{
	sil_cpu();
	sil_seed = 0x2545f4914f6cdd1dull;
	hash = XXH3_createState();
	ck_assert_ptr_nonnull(hash);
	XXH3_64bits_reset(hash);
}

static void digest_end(const char *name, uint64_t want)
{
	uint64_t got = XXH3_64bits_digest(hash);

	XXH3_freeState(hash);
	if (got != want)
		ck_abort_msg("%s: digest %#llx, not %#llx", name, (unsigned long long)got,
			     (unsigned long long)want);
}

/* ---- SSE ---- */
static const struct sse_group {
	const char *name;
	uint8_t map;	     /* 0 or 3A */
	uint8_t prefixes;    /* bits: none, 66, F3, F2 */
	uint8_t first, last; /* opcodes */
	uint8_t imms;	     /* immediates 0 to so many less one; 0: none */
	uint64_t digest;
} sse_groups[] = {
	{ "sqrt", 0, 0xf, 0x51, 0x51, 0, 0x4bd20c1fb9944996 },
	{ "estimates", 0, 0x5, 0x52, 0x53, 0, 0xe724887ea83062b5 },
	{ "add, mul", 0, 0xf, 0x58, 0x59, 0, 0x0b8308a9c20c2079 },
	{ "float and double", 0, 0xf, 0x5a, 0x5a, 0, 0x762a2fb220694b64 },
	{ "int32 and float", 0, 0x7, 0x5b, 0x5b, 0, 0x7d8dba7e8ae7e97e },
	{ "sub, min, div, max", 0, 0xf, 0x5c, 0x5f, 0, 0xe5711aa04b1a7381 },
	{ "horizontal", 0, 0xa, 0x7c, 0x7d, 0, 0x8c3997a8481d9bf8 },
	{ "addsub", 0, 0xa, 0xd0, 0xd0, 0, 0x6363ccee372d88a0 },
	{ "int32 and double", 0, 0xe, 0xe6, 0xe6, 0, 0x3a135d5a1d749f59 },
	{ "from and to integers", 0, 0xf, 0x2a, 0x2a, 0, 0xf4d34b3db6ef8e7d },
	{ "to integers", 0, 0xf, 0x2c, 0x2d, 0, 0xb0343a951f4f92ef },
	{ "comis", 0, 0x3, 0x2e, 0x2f, 0, 0x42b42d4316ad22c0 },
	{ "cmp", 0, 0xf, 0xc2, 0xc2, 8, 0x6bef59a7dcfd617f },
	{ "round", 0x3a, 0x2, 0x08, 0x0b, 16, 0x6d518d58f3c59088 },
	{ "dot product", 0x3a, 0x2, 0x40, 0x41, 255, 0x0302b0dc9538cb6f },
};

static void digest_opcode(const struct sse_group *g, uint8_t prefix, uint8_t opcode, unsigned imm)
{
	static const uint8_t modrm[] = { 0xc1, 0xd2, 0x06, 0x1e }; /* registers, [RSI] */

	for (unsigned i = 0; i < sizeof(modrm) * 2; i++) {
		uint8_t bytes[8];
		size_t n = 0;

		if (prefix)
			bytes[n++] = prefix;
		bytes[n++] = (uint8_t)(0x40 | (i & 1) << 3);
		bytes[n++] = 0x0f;
		if (g->map)
			bytes[n++] = g->map;
		bytes[n++] = opcode;
		bytes[n++] = modrm[i / 2];
		bytes[n++] = (uint8_t)imm;
		digest_form(bytes, g->imms ? n : n - 1, false);
	}
}

START_TEST(sse)
{
	static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
	const struct sse_group *g = &sse_groups[_i];

	digest_begin();
	for (unsigned p = 0; p < 4; p++) {
		if (!(g->prefixes >> p & 1))
			continue;
		for (unsigned o = g->first; o <= g->last; o++)
			for (unsigned imm = 0;
			     imm<(g->imms ? g->imms : 1); imm += g->imms> 16 ? 14 : 1)
				digest_opcode(g, prefixes[p], (uint8_t)o, imm);
	}
	digest_end(g->name, g->digest);
}
END_TEST

/* ---- x87: by first byte ---- */
static const uint64_t x87_digests[8] = { 0x60b8011530185064, 0x8237531e494ccfac, 0x03a95dcd8a560050,
					 0x20e5bb227582a2ee, 0x2156bb2e17c43f88, 0xfaef973f378a4348,
					 0xf7e9e1a0d2f5ecb7, 0x580a78e3d7d4eca5 };

START_TEST(x87)
{
	uint8_t bytes[3] = { 0x66, (uint8_t)(0xd8 + _i), 0 };

	digest_begin();
	for (unsigned modrm = 0xc0; modrm < 0x100; modrm++) {
		bytes[2] = (uint8_t)modrm;
		digest_form(bytes + 1, 2, true);
	}
	for (unsigned reg = 0; reg < 8; reg++) {
		bytes[2] = (uint8_t)(reg << 3 | 6);
		digest_form(bytes + 1, 2, true);
		digest_form(bytes, 3, true);
	}
	digest_end("x87", x87_digests[_i]);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, sse, 0, sizeof(sse_groups) / sizeof(sse_groups[0]));
	tcase_add_loop_test(tc, x87, 0, 8);
}

UNIT_MAIN("fp_digest", add_tests)
