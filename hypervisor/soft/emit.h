/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host instructions, byte by byte. Formats as in SDM vol. 2, chapter 2; a REX prefix stands before
 * every instruction with a ModRM byte, so that registers 4 to 7 of 8 bits are SPL to DIL.
 *
 * Sizes are size indexes: 0 to 3 for 8, 16, 32 and 64 bits. Opcodes above 0xff have 0f as their
 * first byte.
 */
#ifndef SOFT_EMIT_H
#define SOFT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum host_reg {
	H_RAX,
	H_RCX,
	H_RDX,
	H_RBX,
	H_RSP,
	H_RBP,
	H_RSI,
	H_RDI,
	H_R8,
	H_R9,
	H_R10,
	H_R11,
	H_R12,
	H_R13,
	H_R14,
	H_R15,
	H_NONE
};

struct emit {
	uint8_t *at, *end; /* in the writable mapping */
	bool full;	   /* something had no room: the code is void */
};

/* [base + (idx << scale) + disp]; idx is H_NONE where there is none. */
struct host_mem {
	uint8_t base, idx, scale;
	int32_t disp;
};

static inline struct host_mem host_mem(unsigned base, size_t disp)
{
	return (struct host_mem){ .base = (uint8_t)base, .idx = H_NONE, .disp = (int32_t)disp };
}
#define HOST_MEM(base, disp) host_mem((base), (size_t)(disp))

static inline void emit_bytes(struct emit *e, const void *data, size_t n)
{
	if ((size_t)(e->end - e->at) < n) {
		e->full = true;
		return;
	}
	memcpy(e->at, data, n);
	e->at += n;
}

static inline void emit8(struct emit *e, unsigned v)
{
	uint8_t b = (uint8_t)v;

	emit_bytes(e, &b, 1);
}

static inline void emit32(struct emit *e, uint32_t v)
{
	emit_bytes(e, &v, sizeof(v));
}

static inline void emit64(struct emit *e, uint64_t v)
{
	emit_bytes(e, &v, sizeof(v));
}

/* An immediate of an instruction of this size; 64-bit ones have 32 bits. */
static inline void emit_imm(struct emit *e, unsigned size, uint64_t v)
{
	emit_bytes(e, &v, size > 2 ? 4 : 1u << size);
}

static inline bool emit_is_imm8(int64_t v)
{
	return v == (int8_t)v;
}

static inline bool emit_is_imm32(int64_t v)
{
	return v == (int32_t)v;
}

/* Prefixes and opcode. */
static inline void emit_op(struct emit *e, unsigned size, unsigned opcode, unsigned reg,
			   unsigned idx, unsigned base)
{
	if (size == 1)
		emit8(e, 0x66);
	emit8(e, 0x40 | (size == 3) << 3 | (reg >> 3 & 1) << 2 | (idx >> 3 & 1) << 1 |
			 (base >> 3 & 1));
	if (opcode > 0xff)
		emit8(e, opcode >> 8);
	emit8(e, opcode);
}

/* Registers in ModRM.reg (or a digit) and ModRM.rm. */
static inline void emit_rr(struct emit *e, unsigned size, unsigned opcode, unsigned reg,
			   unsigned rm)
{
	emit_op(e, size, opcode, reg, 0, rm);
	emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* ModRM and what follows it of a memory operand. */
static inline void emit_mem(struct emit *e, unsigned reg, struct host_mem m)
{
	bool sib = m.idx != H_NONE || (m.base & 7) == H_RSP;
	unsigned mod = emit_is_imm8(m.disp) ? 1 : 2;

	if (!m.disp && (m.base & 7) != H_RBP)
		mod = 0;
	emit8(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : m.base & 7));
	if (sib)
		emit8(e, (unsigned)m.scale << 6 | (m.idx == H_NONE ? 4u : m.idx & 7u) << 3 |
				 (m.base & 7));
	if (mod == 1)
		emit8(e, (unsigned)m.disp);
	else if (mod == 2)
		emit32(e, (uint32_t)m.disp);
}

/* Register (or digit) and memory. */
static inline void emit_rm(struct emit *e, unsigned size, unsigned opcode, unsigned reg,
			   struct host_mem m)
{
	emit_op(e, size, opcode, reg, m.idx == H_NONE ? 0 : m.idx, m.base);
	emit_mem(e, reg, m);
}

/* Opcode of a form that has one for 8 bits and, one higher, one for the other sizes. */
static inline unsigned emit_sized(unsigned opcode, unsigned size)
{
	return opcode | (size ? 1 : 0);
}

static inline void emit_load(struct emit *e, unsigned reg, struct host_mem m)
{
	emit_rm(e, 3, 0x8b, reg, m);
}

static inline void emit_store(struct emit *e, unsigned reg, struct host_mem m)
{
	emit_rm(e, 3, 0x89, reg, m);
}

/* 32 or 64 bits of a register to another. */
static inline void emit_move(struct emit *e, unsigned size, unsigned to, unsigned from)
{
	emit_rr(e, size, 0x89, from, to);
}

/* Stores a sign-extended immediate of 32 bits as 64. */
static inline void emit_store_imm(struct emit *e, struct host_mem m, int32_t v)
{
	emit_rm(e, 3, 0xc7, 0, m);
	emit32(e, (uint32_t)v);
}

static inline void emit_move_imm(struct emit *e, unsigned reg, uint64_t v)
{
	if (v == (uint32_t)v) {
		emit_op(e, 2, 0xb8 | (reg & 7), 0, 0, reg);
		emit32(e, (uint32_t)v);
	} else if (emit_is_imm32((int64_t)v)) {
		emit_rr(e, 3, 0xc7, 0, reg);
		emit32(e, (uint32_t)v);
	} else {
		emit_op(e, 3, 0xb8 | (reg & 7), 0, 0, reg);
		emit64(e, v);
	}
}

/* ADD OR ADC SBB AND SUB XOR CMP (0 to 7) with an immediate that fits 32 bits. */
static inline void emit_alu_imm(struct emit *e, unsigned alu, unsigned size, unsigned rm, int32_t v)
{
	bool small = size && emit_is_imm8(v);

	emit_rr(e, size, small ? 0x83 : emit_sized(0x80, size), alu, rm);
	emit_imm(e, small ? 0 : size, (uint64_t)v);
}

static inline void emit_alu_imm_mem(struct emit *e, unsigned alu, unsigned size, struct host_mem m,
				    int32_t v)
{
	bool small = size && emit_is_imm8(v);

	emit_rm(e, size, small ? 0x83 : emit_sized(0x80, size), alu, m);
	emit_imm(e, small ? 0 : size, (uint64_t)v);
}

/* JMP rel32 and Jcc rel32: the displacement comes last, and emit_aim() sets it. */
static inline uint8_t *emit_jmp(struct emit *e)
{
	emit8(e, 0xe9);
	emit32(e, 0);
	return e->at - 4;
}

static inline uint8_t *emit_jcc(struct emit *e, unsigned cc)
{
	emit8(e, 0x0f);
	emit8(e, 0x80 | cc);
	emit32(e, 0);
	return e->at - 4;
}

static inline uint8_t *emit_call(struct emit *e)
{
	emit8(e, 0xe8);
	emit32(e, 0);
	return e->at - 4;
}

/* Aims the jump at site at a target. Both addresses are in the writable mapping. */
static inline void emit_aim(uint8_t *site, const uint8_t *target)
{
	int32_t rel = (int32_t)(target - (site + 4));

	memcpy(site, &rel, sizeof(rel));
}

#endif
