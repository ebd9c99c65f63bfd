/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B. One vCPU: a LOCK prefix changes nothing. */
#include "hypervisor/soft/integer.h"

#define XCHG_FORMS(bits)                                                              \
	OP(xchg_r##bits)                                                              \
	{                                                                             \
		UINT(bits) x = reg##bits(cpu, op->r0), y = reg##bits(cpu, op->r1);    \
                                                                                      \
		set_reg##bits(cpu, op->r0, y);                                        \
		set_reg##bits(cpu, op->r1, x);                                        \
		OP_NEXT;                                                              \
	}                                                                             \
	OP(xchg_m##bits)                                                              \
	{                                                                             \
		uint64_t lin = OP_RMW_LIN(bits);                                      \
		UINT(bits) x = mem_ldw##bits(cpu, lin);                               \
                                                                                      \
		mem_st##bits(cpu, lin, reg##bits(cpu, op->r1));                       \
		set_reg##bits(cpu, op->r1, x);                                        \
		OP_NEXT;                                                              \
	}                                                                             \
	/* With the same register twice the sum wins. */                              \
	OP(xadd_r##bits)                                                              \
	{                                                                             \
		UINT(bits) x = reg##bits(cpu, op->r0), y = reg##bits(cpu, op->r1);    \
		UINT(bits) r = x + y;                                                 \
                                                                                      \
		set_reg##bits(cpu, op->r1, x);                                        \
		set_reg##bits(cpu, op->r0, r);                                        \
		lazy_set(cpu, LAZY_ADD, (SINT(bits))r, (SINT(bits))x, (SINT(bits))y); \
		OP_NEXT;                                                              \
	}                                                                             \
	OP(xadd_m##bits)                                                              \
	{                                                                             \
		uint64_t lin = OP_RMW_LIN(bits);                                      \
		UINT(bits) x = mem_ldw##bits(cpu, lin), y = reg##bits(cpu, op->r1);   \
		UINT(bits) r = x + y;                                                 \
                                                                                      \
		mem_st##bits(cpu, lin, r);                                            \
		set_reg##bits(cpu, op->r1, x);                                        \
		lazy_set(cpu, LAZY_ADD, (SINT(bits))r, (SINT(bits))x, (SINT(bits))y); \
		OP_NEXT;                                                              \
	}

/*
 * The register that is not written stays as it is, upper half included: the accumulator on success,
 * the destination register on failure. A destination in memory is written either way (SDM vol. 2,
 * CMPXCHG).
 */
#define CMPXCHG_FORMS(bits)                                                                     \
	OP(cmpxchg_r##bits)                                                                     \
	{                                                                                       \
		UINT(bits) acc = reg##bits(cpu, R_RAX), x = reg##bits(cpu, op->r0);             \
                                                                                                \
		if (acc == x)                                                                   \
			set_reg##bits(cpu, op->r0, reg##bits(cpu, op->r1));                     \
		else                                                                            \
			set_reg##bits(cpu, R_RAX, x);                                           \
		lazy_set(cpu, LAZY_SUB, (SINT(bits))(acc - x), (SINT(bits))acc, (SINT(bits))x); \
		OP_NEXT;                                                                        \
	}                                                                                       \
	OP(cmpxchg_m##bits)                                                                     \
	{                                                                                       \
		uint64_t lin = OP_RMW_LIN(bits);                                                \
		UINT(bits) acc = reg##bits(cpu, R_RAX), x = mem_ldw##bits(cpu, lin);            \
                                                                                                \
		mem_st##bits(cpu, lin, acc == x ? reg##bits(cpu, op->r1) : x);                  \
		if (acc != x)                                                                   \
			set_reg##bits(cpu, R_RAX, x);                                           \
		lazy_set(cpu, LAZY_SUB, (SINT(bits))(acc - x), (SINT(bits))acc, (SINT(bits))x); \
		OP_NEXT;                                                                        \
	}

/* AL is byte offset 0 of the registers: R_RAX serves as both kinds of number. */
_Static_assert(R_RAX == REG8_AL, "accumulator");

INT_EACH_SIZE(XCHG_FORMS)
INT_EACH_SIZE(CMPXCHG_FORMS)

enum { XCHG_XCHG, XCHG_XADD, XCHG_CMPXCHG, XCHG_COUNT };

#define XCHG_ROWS(o)                                                            \
	{                                                                       \
		{ o##_r8, o##_m8 }, { o##_r16, o##_m16 }, { o##_r32, o##_m32 }, \
		{                                                               \
			o##_r64, o##_m64                                        \
		}                                                               \
	}

static const op_fn xchg_fn[XCHG_COUNT][INT_SIZES][2] = {
	[XCHG_XCHG] = XCHG_ROWS(xchg),
	[XCHG_XADD] = XCHG_ROWS(xadd),
	[XCHG_CMPXCHG] = XCHG_ROWS(cmpxchg),
};

static bool bind_xchg(const struct decoded *d, struct op *op, uintptr_t arg)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	/* XCHG has its memory operand on either side. */
	if (form == FORM_RM) {
		op->r1 = op->r0;
		form = FORM_MR;
	}
	if ((form != FORM_RR && form != FORM_MR) || size < 0)
		return false;
	return int_pick(op, xchg_fn[arg][size][form == FORM_MR]);
}

/* ---- CMPXCHG8B, CMPXCHG16B: of the flags only ZF changes ---- */
static void set_zf(struct cpu *cpu, bool zf)
{
	flags_set_arith(cpu, (flags_arith(cpu) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

OP(cmpxchg8b)
{
	uint64_t lin = op_lin(cpu, op, 8, true);
	uint64_t x = mem_ldw64(cpu, lin);
	uint64_t expect = (uint64_t)reg32(cpu, R_RDX) << 32 | reg32(cpu, R_RAX);
	uint64_t with = (uint64_t)reg32(cpu, R_RCX) << 32 | reg32(cpu, R_RBX);

	mem_st64(cpu, lin, x == expect ? with : x);
	if (x != expect) {
		set_reg32(cpu, R_RAX, (uint32_t)x);
		set_reg32(cpu, R_RDX, x >> 32);
	}
	set_zf(cpu, x == expect);
	OP_NEXT;
}

OP(cmpxchg16b)
{
	uint64_t lin = op_lin(cpu, op, 16, true);
	uint64_t x[2], with[2] = { cpu->gpr[R_RBX], cpu->gpr[R_RCX] };
	bool equal;

	if (lin & 15)
		cpu_raise(cpu, VEC_GP, 0);
	mem_read_slow(cpu, lin, x, sizeof(x), true);
	equal = x[0] == cpu->gpr[R_RAX] && x[1] == cpu->gpr[R_RDX];
	mem_write_slow(cpu, lin, equal ? with : x, sizeof(x));
	if (!equal) {
		cpu->gpr[R_RAX] = x[0];
		cpu->gpr[R_RDX] = x[1];
	}
	set_zf(cpu, equal);
	OP_NEXT;
}

static bool bind_cmpxchg_wide(const struct decoded *d, struct op *op, uintptr_t is16)
{
	return opnd_is_mem(d, 0) && int_pick(op, is16 ? cmpxchg16b : cmpxchg8b);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_XCHG, bind_xchg, XCHG_XCHG },
	{ ZYDIS_MNEMONIC_XADD, bind_xchg, XCHG_XADD },
	{ ZYDIS_MNEMONIC_CMPXCHG, bind_xchg, XCHG_CMPXCHG },
	{ ZYDIS_MNEMONIC_CMPXCHG8B, bind_cmpxchg_wide, 0 },
	{ ZYDIS_MNEMONIC_CMPXCHG16B, bind_cmpxchg_wide, 1 },
};

BINDING_TABLE(xchg_bindings, rows);
