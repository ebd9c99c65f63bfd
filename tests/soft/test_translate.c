/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translated code against the interpreter: random programs of integer instructions, and of those on
 * XMM registers in every other one, in forms that the translator knows and some that it does not,
 * with jumps, loops, calls, faults and stores into the program itself. Every fourth one has what
 * writes and reads flags alone, so that each combination of flags meets each other. Both run the
 * same slices, some of one instruction, and after each the state, the count, memory, dirty marks
 * and TLBs are equal. TRANSLATE_CASES (600) and TRANSLATE_SEED (1) for more.
 */
#include <stdlib.h>

#include "tests/unit.h"

#include "tests/soft/rig.h"

#define PROGRAM 3000u /* bytes of code at most; it runs through a page's end */
#define START	(CODE + 0xe00)
#define LENGTH	4000u /* instructions of a case at least */
#define PD	0xf000u
#define SHARED	(TLB_SIZE * PAGE_SIZE) /* the same memory as at 0, in the same slots of the TLB */
#define SLICES	200u
#define USED	0x60000u /* bytes of memory that are compared; dirty marks tell of the rest */

struct program {
	uint64_t random;
	uint8_t code[PROGRAM + 64];
	size_t n;
	uint16_t start[PROGRAM]; /* of instructions */
	unsigned starts;
	bool sse;   /* half of it are instructions on XMM registers */
	bool plain; /* registers and flags alone, no memory */
};

static uint32_t rnd(struct program *p, uint32_t below)
{
	p->random = p->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(p->random >> 33) % below;
}

static void put(struct program *p, unsigned v)
{
	p->code[p->n++] = (uint8_t)v;
}

static void put_imm(struct program *p, uint32_t v, unsigned n)
{
	for (; n; n--, v >>= 8)
		put(p, v);
}

/* An operand: ModRM with whatever follows. rbx, rsi, r9 and r12 mostly hold addresses of data. */
struct operand {
	uint8_t rm, idx, mod;
	bool sib;
	int32_t disp;
};

static struct operand any_operand(struct program *p)
{
	static const uint8_t pointer[] = { 3, 6, 9, 12, 3, 6, 9, 12, 4, 5 };
	struct operand o = { .mod = 3, .rm = (uint8_t)rnd(p, 16) };

	if (p->plain || rnd(p, 2))
		return o;
	o.mod = (uint8_t)(1 + rnd(p, 2));
	o.rm = pointer[rnd(p, sizeof(pointer))];
	o.disp = o.mod == 1 ? (int32_t)rnd(p, 128) - 64 : (int32_t)rnd(p, 8192) - 2048;
	o.sib = (o.rm & 7) == 4 || !rnd(p, 4);
	o.idx = rnd(p, 4) || !o.sib ? 4 : (uint8_t)rnd(p, 16);
	return o;
}

/* Prefixes, opcode of one byte or two, and the operand. */
static void put_op(struct program *p, unsigned size, unsigned opcode, unsigned reg,
		   struct operand o)
{
	unsigned rex = (size == 3) << 3 | reg >> 3 << 2 | (o.sib ? o.idx >> 3 : 0) << 1 | o.rm >> 3;

	if (o.mod != 3 && !rnd(p, 12))
		put(p, rnd(p, 2) ? 0x64 : 0x65); /* FS, GS */
	if (size == 1)
		put(p, 0x66);
	if (rex || rnd(p, 3))
		put(p, 0x40 | rex);
	if (opcode > 0xff)
		put(p, 0x0f);
	put(p, opcode);
	put(p, (unsigned)o.mod << 6 | (reg & 7) << 3 | (o.sib ? 4 : o.rm & 7));
	if (o.sib && o.mod != 3)
		put(p, rnd(p, 4) << 6 | (o.idx & 7u) << 3 | (o.rm & 7));
	if (o.mod != 3)
		put_imm(p, (uint32_t)o.disp, o.mod == 1 ? 1 : 4);
}

static unsigned sized(unsigned opcode, unsigned size)
{
	return opcode | (size ? 1 : 0);
}

static void put_pointer(struct program *p)
{
	static const uint8_t pointer[] = { 3, 6, 9, 12 };
	/* The last ones drive others out of the TLB. */
	static const uint32_t area[] = { 0x40000,  0x40ff0,	     0x41000,	       0x42ffc,
					 0x1ff000, SHARED + 0x40000, SHARED + 0x40ff0, START };
	unsigned r = pointer[rnd(p, 4)];

	put(p, 0x48 | r >> 3);
	put(p, 0xc7);
	put(p, 0xc0 | (r & 7));
	put_imm(p, area[rnd(p, rnd(p, 4) ? 7 : 8)] + (rnd(p, 64) & ~(rnd(p, 4) ? 15u : 0)), 4);
}

static void put_alu(struct program *p)
{
	unsigned size = rnd(p, 4), alu = rnd(p, 8);
	struct operand o = any_operand(p);

	switch (rnd(p, 4)) {
	case 0:
		put_op(p, size, sized(alu * 8, size), rnd(p, 16), o);
		break;
	case 1:
		put_op(p, size, sized(alu * 8 | 2, size), rnd(p, 16), o);
		break;
	case 2:
		put_op(p, size, size ? 0x83 : 0x80, alu, o);
		put(p, rnd(p, 256));
		break;
	default:
		put_op(p, size, sized(0x80, size), alu, o);
		put_imm(p, rnd(p, UINT32_MAX), size > 2 ? 4 : 1u << size);
	}
}

static void put_test(struct program *p)
{
	unsigned size = rnd(p, 4);
	struct operand o = any_operand(p);

	if (rnd(p, 2)) {
		put_op(p, size, sized(0x84, size), rnd(p, 3) ? o.rm : rnd(p, 16), o);
		return;
	}
	put_op(p, size, sized(0xf6, size), 0, o);
	put_imm(p, rnd(p, UINT32_MAX), size > 2 ? 4 : 1u << size);
}

static void put_mov(struct program *p)
{
	unsigned size = rnd(p, 4), reg = rnd(p, 16);
	struct operand o = any_operand(p);

	switch (rnd(p, 5)) {
	case 0:
		put_op(p, size, sized(0x88, size), reg, o);
		break;
	case 1:
		put_op(p, size, sized(0x8a, size), reg, o);
		break;
	case 2:
		put_op(p, size, sized(0xc6, size), 0, o);
		put_imm(p, rnd(p, UINT32_MAX), size > 2 ? 4 : 1u << size);
		break;
	case 3:
		put_op(p, 1 + rnd(p, 3), (rnd(p, 2) ? 0x1b6 : 0x1be) | rnd(p, 2), reg, o);
		break;
	default:
		o.mod = o.mod == 3 ? 1 : o.mod;
		o.sib |= (o.rm & 7) == 4;
		o.disp = o.mod == 1 ? (int8_t)o.disp : o.disp;
		put_op(p, 1 + rnd(p, 3), rnd(p, 2) ? 0x8d : 0x63, reg, o);
	}
}

static void put_shift(struct program *p)
{
	unsigned size = rnd(p, 3) ? 2 + rnd(p, 2) : rnd(p, 4), digit = rnd(p, 8);
	struct operand o = any_operand(p);

	if (rnd(p, 3)) {
		put_op(p, size, sized(0xc0, size), digit, o);
		put(p, rnd(p, 4) ? rnd(p, 32) : rnd(p, 256));
	} else {
		put_op(p, size, sized(rnd(p, 2) ? 0xd0 : 0xd2, size), digit, o);
	}
}

static void put_one(struct program *p)
{
	unsigned size = rnd(p, 4);
	struct operand o = any_operand(p);

	if (rnd(p, 2))
		put_op(p, size, sized(0xfe, size), rnd(p, 2), o);
	else
		put_op(p, size, sized(0xf6, size), 2 + rnd(p, 3 + !rnd(p, 8)), o);
}

static void put_conditional(struct program *p)
{
	struct operand o = any_operand(p);

	if (rnd(p, 2))
		put_op(p, 1 + rnd(p, 3), 0x140 | rnd(p, 16), rnd(p, 16), o);
	else
		put_op(p, 0, 0x190 | rnd(p, 16), 0, o);
}

/* DIV or IDIV, mostly of a dividend that fits. */
static void put_divide(struct program *p)
{
	unsigned size = 1 + rnd(p, 3), sign = rnd(p, 2);
	struct operand o = any_operand(p);

	if (rnd(p, 6)) {
		if (size != 2)
			put(p, size == 3 ? 0x48 : 0x66);
		put(p, sign ? 0x99 : 0x31); /* CWD to CQO, or XOR EDX, EDX */
		if (!sign)
			put(p, 0xd2);
	}
	put_op(p, size, 0xf7, 6 + sign, o);
}

static void put_multiply(struct program *p)
{
	unsigned size = 1 + rnd(p, 3);
	struct operand o = any_operand(p);

	if (!rnd(p, 4)) {
		put_divide(p);
		return;
	}
	switch (rnd(p, 3)) {
	case 0:
		put_op(p, size, 0x1af, rnd(p, 16), o);
		break;
	case 1:
		put_op(p, size, 0x69, rnd(p, 16), o);
		put_imm(p, rnd(p, UINT32_MAX), size == 1 ? 2 : 4);
		break;
	default:
		put_op(p, size, 0x6b, rnd(p, 16), o);
		put(p, rnd(p, 256));
	}
}

static void put_stack(struct program *p)
{
	unsigned r = rnd(p, 16);

	switch (rnd(p, 8)) {
	case 0:
		put(p, 0x6a);
		put(p, rnd(p, 256));
		return;
	case 1:
		put(p, 0x9c); /* PUSHF */
		return;
	case 2: /* MOV RBP, RSP; LEAVE, sometimes */
		put(p, 0x48);
		put_imm(p, 0xe589, 2);
		if (rnd(p, 2))
			put(p, 0xc9);
		return;
	default:
		if (r == R_RSP && rnd(p, 4))
			r = 0;
		put(p, 0x40 | r >> 3);
		put(p, (rnd(p, 2) ? 0x50 : 0x58) | (r & 7));
	}
}

/* What the translator leaves to handlers, and one-byte instructions. */
static void put_other(struct program *p)
{
	static const uint8_t byte[] = {
		0xf5, 0xf8, 0xf9, 0x9f, 0x9e, 0x90, 0x98, 0x99, 0xfc, 0xd7
	};
	struct operand o = any_operand(p);

	switch (rnd(p, 8)) {
	case 6:
	case 7: /* BSF, BSR */
		put_op(p, 1 + rnd(p, 3), 0x1bc | rnd(p, 2), rnd(p, 16), o);
		break;
	case 0:
	case 1:
		if (rnd(p, 2))
			put(p, rnd(p, 2) ? 0x48 : 0x66);
		put(p, byte[rnd(p, sizeof(byte))]);
		break;
	case 2:
		put(p, 0x40 | rnd(p, 2) << 3);
		put(p, 0x0f);
		put(p, 0xc8 | rnd(p, 8)); /* BSWAP */
		break;
	case 3:
		put_op(p, 1 + rnd(p, 3), 0x187 - 0x100, rnd(p, 16), o); /* XCHG */
		break;
	case 4:
		put_op(p, 1 + rnd(p, 3), 0x1ba, 4 + rnd(p, 4), o); /* BT ... */
		put(p, rnd(p, 64));
		break;
	default:
		put_op(p, 2 + rnd(p, 2), 0x1a3, rnd(p, 16), o);
	}
}

/* SSE to SSE4.1: mandatory prefix, map and opcode, digit or -1, immediate. */
struct sse_insn {
	uint8_t prefix, map, opcode;
	int8_t digit;
	bool imm;
};

static const struct sse_insn sse_insns[] = {
	{ 0, 0, 0x10, -1, 0 },	  { 0, 0, 0x11, -1, 0 },    { 0x66, 0, 0x10, -1, 0 },
	{ 0x66, 0, 0x11, -1, 0 }, { 0xf3, 0, 0x10, -1, 0 }, { 0xf3, 0, 0x11, -1, 0 },
	{ 0xf2, 0, 0x10, -1, 0 }, { 0xf2, 0, 0x11, -1, 0 }, { 0, 0, 0x12, -1, 0 },
	{ 0, 0, 0x13, -1, 0 },	  { 0, 0, 0x16, -1, 0 },    { 0x66, 0, 0x17, -1, 0 },
	{ 0xf3, 0, 0x12, -1, 0 }, { 0xf2, 0, 0x12, -1, 0 }, { 0xf3, 0, 0x16, -1, 0 },
	{ 0, 0, 0x28, -1, 0 },	  { 0, 0, 0x29, -1, 0 },    { 0x66, 0, 0x6f, -1, 0 },
	{ 0x66, 0, 0x7f, -1, 0 }, { 0xf3, 0, 0x6f, -1, 0 }, { 0xf3, 0, 0x7f, -1, 0 },
	{ 0x66, 0, 0x6e, -1, 0 }, { 0x66, 0, 0x7e, -1, 0 }, { 0xf3, 0, 0x7e, -1, 0 },
	{ 0x66, 0, 0xd6, -1, 0 }, { 0x66, 0, 0xd7, -1, 0 }, { 0, 0, 0x50, -1, 0 },
	{ 0x66, 0, 0x50, -1, 0 }, { 0x66, 0, 0xe7, -1, 0 }, { 0xf2, 0, 0xf0, -1, 0 },
	{ 0x66, 0, 0xef, -1, 0 }, { 0x66, 0, 0xfe, -1, 0 }, { 0x66, 0, 0xfa, -1, 0 },
	{ 0x66, 0, 0x74, -1, 0 }, { 0x66, 0, 0x76, -1, 0 }, { 0x66, 0, 0xeb, -1, 0 },
	{ 0x66, 0, 0xdb, -1, 0 }, { 0x66, 0, 0xf4, -1, 0 }, { 0x66, 0, 0x61, -1, 0 },
	{ 0x66, 0, 0x6c, -1, 0 }, { 0x66, 0, 0x67, -1, 0 }, { 0x66, 0, 0xd3, -1, 0 },
	{ 0x66, 0, 0x72, 2, 1 },  { 0x66, 0, 0x73, 3, 1 },  { 0x66, 0, 0x73, 7, 1 },
	{ 0x66, 0, 0x71, 6, 1 },  { 0x66, 0, 0x70, -1, 1 }, { 0xf2, 0, 0x70, -1, 1 },
	{ 0, 0, 0xc6, -1, 1 },	  { 0x66, 0, 0xc4, -1, 1 }, { 0x66, 0, 0xc5, -1, 1 },
	{ 0x66, 1, 0x00, -1, 0 }, { 0x66, 1, 0x17, -1, 0 }, { 0x66, 1, 0x1e, -1, 0 },
	{ 0x66, 1, 0x20, -1, 0 }, { 0x66, 1, 0x34, -1, 0 }, { 0x66, 1, 0x35, -1, 0 },
	{ 0x66, 1, 0x40, -1, 0 }, { 0x66, 1, 0x10, -1, 0 }, { 0x66, 1, 0xdc, -1, 0 },
	{ 0x66, 2, 0x0f, -1, 1 }, { 0x66, 2, 0x14, -1, 1 }, { 0x66, 2, 0x16, -1, 1 },
	{ 0x66, 2, 0x21, -1, 1 }, { 0x66, 2, 0x22, -1, 1 }, { 0x66, 2, 0x44, -1, 1 },
	{ 0x66, 2, 0x40, -1, 1 }, { 0x66, 2, 0x63, -1, 1 }, { 0, 0, 0x58, -1, 0 },
	{ 0x66, 0, 0x58, -1, 0 }, { 0xf3, 0, 0x58, -1, 0 }, { 0xf2, 0, 0x58, -1, 0 },
	{ 0, 0, 0x59, -1, 0 },	  { 0xf2, 0, 0x59, -1, 0 }, { 0xf2, 0, 0x5c, -1, 0 },
	{ 0xf3, 0, 0x5e, -1, 0 }, { 0xf2, 0, 0x51, -1, 0 }, { 0xf2, 0, 0x5d, -1, 0 },
	{ 0x66, 0, 0x5f, -1, 0 }, { 0xf2, 0, 0xc2, -1, 1 }, { 0, 0, 0xc2, -1, 1 },
	{ 0xf3, 0, 0x5a, -1, 0 }, { 0xf2, 0, 0x5a, -1, 0 }, { 0, 0, 0x5a, -1, 0 },
	{ 0x66, 0, 0x5a, -1, 0 }, { 0, 0, 0x5b, -1, 0 },    { 0xf3, 0, 0x5b, -1, 0 },
	{ 0xf2, 0, 0xe6, -1, 0 }, { 0xf3, 0, 0xe6, -1, 0 }, { 0xf2, 0, 0x2a, -1, 0 },
	{ 0xf3, 0, 0x2a, -1, 0 }, { 0xf2, 0, 0x2c, -1, 0 }, { 0xf3, 0, 0x2d, -1, 0 },
	{ 0x66, 0, 0x2e, -1, 0 }, { 0, 0, 0x2f, -1, 0 },    { 0x66, 0, 0xd0, -1, 0 },
	{ 0x66, 0, 0x7c, -1, 0 }, { 0, 0, 0x53, -1, 0 },    { 0, 0, 0x6f, -1, 0 },
};

static void put_sse_insn(struct program *p, const struct sse_insn *s)
{
	static const uint8_t map[] = { 0, 0x38, 0x3a };
	struct operand o = any_operand(p);
	unsigned reg = s->digit < 0 ? rnd(p, 16) : (unsigned)s->digit;

	if (s->digit >= 0)
		o.mod = 3;
	if (rnd(p, 4) && o.mod != 3) {
		o.disp &= ~15;
		o.idx = 4;
	}
	if (s->prefix)
		put(p, s->prefix);
	put(p, 0x40 | !rnd(p, 4) << 3 | reg >> 3 << 2 | (o.sib ? o.idx >> 3 : 0) << 1 | o.rm >> 3);
	put(p, 0x0f);
	if (s->map)
		put(p, map[s->map]);
	put(p, s->opcode);
	put(p, (unsigned)o.mod << 6 | (reg & 7) << 3 | (o.sib ? 4 : o.rm & 7));
	if (o.sib && o.mod != 3)
		put(p, rnd(p, 4) << 6 | (o.idx & 7u) << 3 | (o.rm & 7));
	if (o.mod != 3)
		put_imm(p, (uint32_t)o.disp, o.mod == 1 ? 1 : 4);
	if (s->imm)
		put(p, rnd(p, 256));
}

/* MXCSR from memory: by default, with other control bits, with exceptions unmasked, invalid. */
static void put_mxcsr(struct program *p)
{
	static const uint32_t value[] = { 0x1f80, 0x1f80, 0x1fbf, 0x9fc0, 0x7f80, 0x1e80, 0x11f80 };

	put_imm(p, 0x2504c7, 3); /* MOV DWORD [0x50400], value */
	put_imm(p, 0x50400, 4);
	put_imm(p, value[rnd(p, rnd(p, 4) ? 3 : 7)], 4);
	put_imm(p, 0x2514ae0f, 4); /* LDMXCSR [0x50400] */
	put_imm(p, 0x50400, 4);
}

/* Switches CR0.TS, in the kernel. */
static void put_ts(struct program *p)
{
	put_imm(p, 0xc0200f, 3);		    /* MOV RAX, CR0 */
	put_imm(p, rnd(p, 2) ? 0x080c : 0xf724, 2); /* OR AL, 8; AND AL, ~8 */
	put_imm(p, 0xc0220f, 3);
}

static void put_sse(struct program *p)
{
	unsigned what = rnd(p, 40);

	if (what == 0)
		put_mxcsr(p);
	else if (what == 1 && !rnd(p, 4))
		put_ts(p);
	else
		put_sse_insn(p, &sse_insns[rnd(p, sizeof(sse_insns) / sizeof(sse_insns[0]))]);
}

static void put_random(struct program *p);

/* A counter in memory of its own, as anything may change registers. */
static void put_loop(struct program *p)
{
	static const uint8_t init[] = { 0xc7, 0x04, 0x25 }, count[] = { 0xff, 0x0c, 0x25 };
	uint32_t counter = 0x50000 + 8 * rnd(p, 64);
	size_t start;

	for (size_t i = 0; i < sizeof(init); i++)
		put(p, init[i]);
	put_imm(p, counter, 4);
	put_imm(p, 1 + rnd(p, 40), 4);
	start = p->n;
	for (unsigned n = 1 + rnd(p, 8); n; n--)
		put_random(p);
	for (size_t i = 0; i < sizeof(count); i++)
		put(p, count[i]);
	put_imm(p, counter, 4);
	put(p, 0x0f);
	put(p, 0x8f); /* JG */
	put_imm(p, (uint32_t)(start - (p->n + 4)), 4);
}

/* Over a few instructions by JMP or CALL with the target in memory, sometimes through a bad
 * address. */
static void put_jump_to(struct program *p)
{
	uint32_t slot = 0x50600 + 8 * rnd(p, 64);
	size_t site;
	uint32_t target;

	put_imm(p, 0x2504c748, 4); /* MOV QWORD [slot], target */
	put_imm(p, slot, 4);
	site = p->n;
	put_imm(p, 0, 4);
	put(p, 0xff);
	put(p, rnd(p, 3) ? 0x14 : 0x24); /* CALL or JMP [slot] */
	put(p, 0x25);
	put_imm(p, rnd(p, 16) ? slot : SHARED + slot, 4);
	for (unsigned n = 1 + rnd(p, 3); n; n--)
		put_random(p);
	if (rnd(p, 2)) {
		put(p, 0xeb); /* over a RET */
		put(p, 1);
		target = (uint32_t)(START + p->n);
		put(p, 0xc3);
	} else {
		target = (uint32_t)(START + p->n);
	}
	memcpy(&p->code[site], &target, 4);
}

/* Over a few instructions: by Jcc, JMP, or a call that returns. */
static void put_jump(struct program *p)
{
	unsigned kind = rnd(p, 4);
	size_t site;
	uint32_t rel;

	if (!rnd(p, 4)) {
		put_jump_to(p);
		return;
	}

	if (kind < 2) {
		put(p, 0x0f);
		put(p, 0x80 | rnd(p, 16));
	} else {
		put(p, kind == 2 ? 0xe9 : 0xe8);
	}
	site = p->n;
	put_imm(p, 0, 4);
	for (unsigned n = 1 + rnd(p, 3); n; n--)
		put_random(p);
	if (kind == 3 && rnd(p, 2)) { /* CALL over code; sometimes a RET is there */
		put(p, 0xeb);
		put(p, 1);
		rel = (uint32_t)(p->n - (site + 4));
		put(p, 0xc3);
	} else {
		rel = (uint32_t)(p->n - (site + 4));
	}
	memcpy(&p->code[site], &rel, 4);
}

static void put_random(struct program *p)
{
	static void (*const kind[])(struct program *) = {
		put_alu,   put_alu,   put_alu,	   put_test,	put_mov,	 put_mov,
		put_mov,   put_shift, put_shift,   put_one,	put_conditional, put_multiply,
		put_stack, put_other, put_pointer, put_pointer,
	};

	static void (*const flags[])(struct program *) = {
		put_alu, put_test, put_shift, put_shift, put_shift, put_one, put_conditional,
	};

	if (p->n > PROGRAM - 200)
		return;
	p->start[p->starts++] = (uint16_t)p->n;
	if (p->plain) {
		flags[rnd(p, sizeof(flags) / sizeof(flags[0]))](p);
		return;
	}
	if (p->sse && rnd(p, 2)) {
		put_sse(p);
		return;
	}
	kind[rnd(p, sizeof(kind) / sizeof(kind[0]))](p);
}

static void make_program(struct program *p, uint64_t seed)
{
	size_t want;

	p->random = seed * 0x9e3779b97f4a7c15u + 1;
	p->n = p->starts = 0;
	p->sse = seed & 1;
	p->plain = seed % 4 == 2;
	want = 100 + rnd(p, PROGRAM - 400);
	for (unsigned i = 0; i < 4; i++)
		put_pointer(p);
	while (p->n < want) {
		unsigned what = rnd(p, 10);

		if (what == 0)
			put_loop(p);
		else if (what < 3)
			put_jump(p);
		else
			put_random(p);
	}
	put(p, 0xf4);
}

static struct rig *machine(bool translate)
{
	struct rig *r = rig_new();
	const struct engine_bus bus = { .ctx = r,
					.port_read = rig_port_read,
					.port_write = rig_port_write,
					.mmio_read = rig_mmio_read,
					.mmio_write = rig_mmio_write,
					.time_ns = rig_time,
					.random = rig_random };

	r->e->ops->destroy(r->e);
	r->e = translate ? test_engine_translating(&r->mem, &bus)
			 : soft_interpret_engine_ops.create(&r->mem, &bus, NULL);
	ck_assert_ptr_nonnull(r->e);
	r->mem.engine = r->e;
	return r;
}

static void load(struct rig *r, const struct program *p)
{
	struct program q = *p;

	ck_assert_int_eq(memory_clear(&r->mem, NULL), 0);
	cpu_state_reset(&r->s);
	r->s.gpr[R_RSP] = STACK;
	rig_long(r, rnd(&q, 2) ? 3 : 0);
	/* Only 2 MiB are mapped, twice, so that what reaches far, REP first of all, faults. */
	rig_put64(r, PDPT, PD | 7);
	rig_put64(r, PDPT + 8, 0);
	rig_put64(r, PD, 0x87);
	rig_put64(r, PD + 8 * (SHARED >> 21), 0x87);
	rig_put(r, START, p->code, p->n);
	for (unsigned i = 0; i < 16; i++) {
		if (i != R_RSP)
			r->s.gpr[i] = rnd(&q, 3) ? rnd(&q, UINT32_MAX) : 0x40000 + rnd(&q, 0x2000);
	}
	r->s.cr4 |= CR4_OSFXSR | (rnd(&q, 2) ? CR4_OSXMMEXCPT : 0);
	if (p->sse) {
		for (unsigned i = 160; i < 160 + 256; i++)
			r->s.fxsave[i] = (uint8_t)rnd(&q, 256);
		for (unsigned i = 0; i < 0x3000; i += 4)
			rig_put32(r, 0x40000 + i, rnd(&q, UINT32_MAX));
	}
	rig_seg(r, SEG_FS, U_DATA, A_DATA | A_DPL(3));
	r->s.seg[SEG_FS].base = 0x3000;
	r->s.rip = START;
	ck_assert_int_eq(r->e->ops->set_state(r->e, &r->s, NULL), 0);
}

static void same_tlbs(const struct cpu *a, const struct cpu *b, uint64_t seed)
{
	bool same = true;

	for (size_t i = 0; i < MMU_COUNT * TLB_SIZE; i++) {
		const struct tlb_entry *ea = &a->tlbs[0][0] + i, *eb = &b->tlbs[0][0] + i;

		same &= ea->rd == eb->rd && !((ea->wr ^ eb->wr) & ~(uint64_t)TLB_CODE);
	}
	ck_assert_msg(same, "seed %llu: TLBs", (unsigned long long)seed);
	ck_assert_msg(memcmp(a->itlb, b->itlb, sizeof(a->itlb)) == 0, "seed %llu: ITLB",
		      (unsigned long long)seed);
}

static void same(struct rig *a, struct rig *b, uint64_t seed)
{
	struct buf x = BUF_INIT, y = BUF_INIT;

	a->e->ops->get_state(a->e, &a->s);
	b->e->ops->get_state(b->e, &b->s);
	cpu_state_save(&a->s, &x);
	cpu_state_save(&b->s, &y);
	ck_assert_msg(a->s.rip == b->s.rip && a->s.rflags == b->s.rflags &&
			      a->s.count == b->s.count,
		      "seed %llu: rip %llx flags %llx count %llu, translated %llx %llx %llu",
		      (unsigned long long)seed, (unsigned long long)a->s.rip,
		      (unsigned long long)a->s.rflags, (unsigned long long)a->s.count,
		      (unsigned long long)b->s.rip, (unsigned long long)b->s.rflags,
		      (unsigned long long)b->s.count);
	ck_assert_msg(x.len == y.len && memcmp(x.data, y.data, x.len) == 0, "seed %llu: state",
		      (unsigned long long)seed);
	ck_assert_msg(memcmp(a->mem.dirty, b->mem.dirty, a->mem.pages) == 0, "seed %llu: dirty",
		      (unsigned long long)seed);
	buf_free(&x);
	buf_free(&y);
}

/* After a fault, or at the end: on from anywhere in the program. */
static void go_on(struct rig *r, uint64_t rip, unsigned cpl)
{
	r->s.rip = rip;
	r->s.rflags = FL_ONE | (r->s.rflags & FL_ARITH);
	r->s.cr0 &= ~(uint64_t)CR0_TS;
	r->s.gpr[R_RSP] = cpl ? USTACK : STACK;
	r->s.gpr[R_RBX] = r->s.gpr[9] = 0x40010;
	r->s.gpr[R_RSI] = r->s.gpr[12] = 0x41020;
	r->s.halted = false;
	for (enum seg s = SEG_ES; s <= SEG_DS; s++)
		rig_seg(r, s, cpl ? U_DATA : K_DATA, A_DATA | A_DPL(cpl));
	rig_seg(r, SEG_CS, cpl ? U_CODE64 : K_CODE64, A_CODE64 | A_DPL(cpl));
	ck_assert_int_eq(r->e->ops->set_state(r->e, &r->s, NULL), 0);
}

/* Returns the instructions that ran. */
static uint64_t run_case(struct rig *a, struct rig *b, uint64_t seed)
{
	static struct program p;
	enum engine_exit_kind kind;

	make_program(&p, seed);
	load(a, &p);
	load(b, &p);
	for (unsigned n = 0; n < SLICES && a->e->ops->count(a->e) < LENGTH; n++) {
		uint64_t now = a->e->ops->count(a->e);
		struct landmark to = { .count = now + 1 + rnd(&p, rnd(&p, 4) ? 1500 : 9) };

		if (!rnd(&p, 8)) {
			a->e->ops->sync_dirty(a->e);
			b->e->ops->sync_dirty(b->e);
		}
		kind = a->e->ops->run(a->e, &to);
		ck_assert_msg(b->e->ops->run(b->e, &to) == kind, "seed %llu: exit",
			      (unsigned long long)seed);
		same(a, b, seed);
		if (kind == ENGINE_EXIT_STUCK || kind == ENGINE_EXIT_SHUTDOWN)
			break;
		if (kind != ENGINE_EXIT_UNTIL) {
			uint64_t rip = START + p.start[rnd(&p, p.starts)];
			unsigned cpl = rnd(&p, 2) * 3;

			same_tlbs(soft_engine_cpu(a->e), soft_engine_cpu(b->e), seed);
			go_on(a, rip, cpl);
			go_on(b, rip, cpl);
		}
	}
	same_tlbs(soft_engine_cpu(a->e), soft_engine_cpu(b->e), seed);
	ck_assert_msg(memcmp(a->mem.base, b->mem.base, USED) == 0, "seed %llu: memory",
		      (unsigned long long)seed);
	return a->s.count;
}

START_TEST(translated_as_interpreted)
{
	uint64_t first = unit_setting("TRANSLATE_SEED", 1),
		 n = unit_setting("TRANSLATE_CASES", unit_cases(600));

	struct rig *a = machine(false), *b = machine(true);
	const struct cpu_stats *stats = &soft_engine_cpu(b->e)->stats;
	uint64_t count = 0;

	for (uint64_t i = first; i < first + n; i++)
		count += run_case(a, b, i);
	/* The cases are of use. */
	ck_assert(stats->in_code > count / 4);
	if (getenv("TRANSLATE_CASES"))
		fprintf(stderr, "%llu instructions, %llu in translated code, %llu blocks\n",
			(unsigned long long)count, (unsigned long long)stats->in_code,
			(unsigned long long)stats->translated);
	rig_free(a);
	rig_free(b);
}
END_TEST

/* A rotate by more than 1 leaves OF, which is read behind it and stored by nobody. */
START_TEST(a_rotate_leaves_of)
{
	static const uint8_t code[] = {
		0xb8, 0xff, 0xff, 0xff, 0x7f, /* mov $0x7fffffff, %eax */
		0x83, 0xc0, 0x01,	      /* add $1, %eax: OF */
		0xc1, 0xc2, 0x03,	      /* rol $3, %edx */
		0x0f, 0x90, 0xc3,	      /* seto %bl */
		0x0f, 0x94, 0xc1,	      /* sete %cl */
		0xff, 0xc6,		      /* inc %esi */
		0x41, 0x89, 0x01,	      /* mov %eax, (%r9) */
		0x01, 0xc0,		      /* add %eax, %eax */
		0xf4,
	};
	static struct program p = { .n = sizeof(code) };
	struct rig *a = machine(false), *b = machine(true);
	const struct landmark to = { .count = 100 };

	memcpy(p.code, code, sizeof(code));
	load(a, &p);
	load(b, &p);
	ck_assert_int_eq(a->e->ops->run(a->e, &to), b->e->ops->run(b->e, &to));
	same(a, b, 0);
	ck_assert_uint_eq(a->s.gpr[R_RBX] & 0xff, 1);
	ck_assert_uint_eq(a->s.gpr[R_RCX] & 0xff, 0);
	rig_free(a);
	rig_free(b);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, translated_as_interpreted);
	tcase_add_test(tc, a_rotate_leaves_of);
}

UNIT_MAIN("soft_translate", add)
