/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MOV MOVZX MOVSX MOVSXD MOVNTI LEA BSWAP CBW..CQO CMOVcc SETcc XLAT. */
#include "hypervisor/soft/integer.h"

/* ---- MOV ---- */
#define MOV_BODY(what, bits, v) set_reg##bits(cpu, op->r0, (v))

#define MOV_FORMS(bits)                                             \
	OP(mov_rr##bits)                                            \
	{                                                           \
		set_reg##bits(cpu, op->r0, reg##bits(cpu, op->r1)); \
		OP_NEXT;                                            \
	}                                                           \
	OP(mov_ri##bits)                                            \
	{                                                           \
		set_reg##bits(cpu, op->r0, op->imm);                \
		OP_NEXT;                                            \
	}                                                           \
	OP_LOADING(mov_rm##bits, bits, MOV_BODY, )                  \
	OP_STORING(mov_mr##bits, bits, reg##bits(cpu, op->r1))      \
	OP_STORING(mov_mi##bits, bits, (UINT(bits))op->imm)

INT_EACH_SIZE(MOV_FORMS)

#define MOV_ROW(bits)                                                                         \
	{                                                                                     \
		[FORM_RR] = mov_rr##bits, [FORM_RI] = mov_ri##bits, [FORM_RM] = mov_rm##bits, \
		[FORM_MR] = mov_mr##bits, [FORM_MI] = mov_mi##bits                            \
	}

static const op_fn mov_fn[INT_SIZES][INT_FORMS] = { MOV_ROW(8), MOV_ROW(16), MOV_ROW(32),
						    MOV_ROW(64) };

static bool bind_mov(const struct decoded *d, struct op *op, uintptr_t arg)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	/* MOV to or from segment, control and debug registers is not here. */
	if (form == FORM_OTHER || size < 0)
		return false;
	op_form(op, OPK_MOV, 0, form, (unsigned)size, 0, 0);
	return int_pick(op, mov_fn[size][form]);
}

/* ---- MOVZX, MOVSX, MOVSXD: destination `to`, source `from` bits ---- */
#define MOVZX_BODY(to, from, v) set_reg##to(cpu, op->r0, (v))
#define MOVSX_BODY(to, from, v) set_reg##to(cpu, op->r0, (UINT(to))(SINT(from))(v))

#define EXTEND_FORMS(to, from)                                                          \
	OP(movzx_r##to##_r##from)                                                       \
	{                                                                               \
		set_reg##to(cpu, op->r0, reg##from(cpu, op->r1));                       \
		OP_NEXT;                                                                \
	}                                                                               \
	OP_LOADING(movzx_r##to##_m##from, from, MOVZX_BODY, to)                         \
	OP(movsx_r##to##_r##from)                                                       \
	{                                                                               \
		set_reg##to(cpu, op->r0, (UINT(to))(SINT(from))reg##from(cpu, op->r1)); \
		OP_NEXT;                                                                \
	}                                                                               \
	OP_LOADING(movsx_r##to##_m##from, from, MOVSX_BODY, to)

#define EXTEND_TO(to) EXTEND_FORMS(to, 8) EXTEND_FORMS(to, 16) EXTEND_FORMS(to, 32)

EXTEND_TO(16)
EXTEND_TO(32)
EXTEND_TO(64)

#define EXTEND_CELL(x, to, from)                         \
	{                                                \
		x##_r##to##_r##from, x##_r##to##_m##from \
	}
#define EXTEND_ROW(x, to)                                                             \
	{                                                                             \
		EXTEND_CELL(x, to, 8), EXTEND_CELL(x, to, 16), EXTEND_CELL(x, to, 32) \
	}

/* [signed][destination size - 1][source size][in memory] */
static const op_fn extend_fn[2][3][3][2] = {
	{ EXTEND_ROW(movzx, 16), EXTEND_ROW(movzx, 32), EXTEND_ROW(movzx, 64) },
	{ EXTEND_ROW(movsx, 16), EXTEND_ROW(movsx, 32), EXTEND_ROW(movsx, 64) },
};

static bool bind_extend(const struct decoded *d, struct op *op, uintptr_t is_signed)
{
	enum int_form form = int_form(d, op);
	int to = int_size(d, 0), from = int_size(d, 1);

	if ((form != FORM_RR && form != FORM_RM) || to < 1 || from < 0 || from > 2)
		return false;
	op_form(op, is_signed ? OPK_MOVSX : OPK_MOVZX, (unsigned)from, form, (unsigned)to, 0, 0);
	return int_pick(op, extend_fn[is_signed][to - 1][from][form == FORM_RM]);
}

/*
 * MOVSXD without REX.W is a plain move of 16 or 32 bits: with 66h it reads two bytes, whatever the
 * decoder says of the size of a memory operand.
 */
static bool bind_movsxd(const struct decoded *d, struct op *op, uintptr_t arg)
{
	return d->opnd[0].size == 64 ? bind_extend(d, op, 1) : bind_mov(d, op, 0);
}

/* ---- LEA ---- */
OP(lea16)
{
	set_reg16(cpu, op->r0, op_ea(cpu, op));
	OP_NEXT;
}

OP(lea32)
{
	set_reg32(cpu, op->r0, op_ea(cpu, op));
	OP_NEXT;
}

OP(lea64)
{
	set_reg64(cpu, op->r0, op_ea(cpu, op));
	OP_NEXT;
}

/*
 * The two common shapes with 64-bit address size: base and displacement; base, index and
 * displacement.
 */
OP(lea64_base)
{
	cpu->gpr[op->r0] = cpu->gpr[op->base] + (uint64_t)op->disp;
	OP_NEXT;
}

OP(lea64_index)
{
	cpu->gpr[op->r0] =
		cpu->gpr[op->base] + (cpu->gpr[op->idx] << op->scale) + (uint64_t)op->disp;
	OP_NEXT;
}

static bool bind_lea(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[INT_SIZES] = { NULL, lea16, lea32, lea64 };
	int size = int_size(d, 0);

	if (!opnd_is_mem(d, 1) || size < 0)
		return false;
	op_form(op, OPK_LEA, 0, FORM_RM, (unsigned)size, 0, 0);
	if (size == 3 && op->asize == 8)
		return int_pick(op, op->idx == REG_ZERO ? lea64_base : lea64_index);
	return int_pick(op, fn[size]);
}

/* ---- BSWAP ---- */
OP(bswap16)
{
	/*
	 * Undefined by the manual; cores clear the register's low half (docs/undefined-flags.md).
	 */
	set_reg16(cpu, op->r0, 0);
	OP_NEXT;
}

OP(bswap32)
{
	set_reg32(cpu, op->r0, __builtin_bswap32(reg32(cpu, op->r0)));
	OP_NEXT;
}

OP(bswap64)
{
	set_reg64(cpu, op->r0, __builtin_bswap64(reg64(cpu, op->r0)));
	OP_NEXT;
}

static bool bind_bswap(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[INT_SIZES] = { NULL, bswap16, bswap32, bswap64 };
	int size = int_size(d, 0);

	if (size < 0)
		return false;
	op_form(op, OPK_BSWAP, 0, FORM_RI, (unsigned)size, 0, 0);
	return int_pick(op, fn[size]);
}

/* ---- sign extension of the accumulator ---- */
OP(cbw)
{
	set_reg16(cpu, R_RAX, (uint16_t)(int8_t)reg8(cpu, REG8_AL));
	OP_NEXT;
}

OP(cwde)
{
	set_reg32(cpu, R_RAX, (uint32_t)(int16_t)reg16(cpu, R_RAX));
	OP_NEXT;
}

OP(cdqe)
{
	set_reg64(cpu, R_RAX, (uint64_t)(int32_t)reg32(cpu, R_RAX));
	OP_NEXT;
}

OP(cwd)
{
	set_reg16(cpu, R_RDX, (uint16_t)((int16_t)reg16(cpu, R_RAX) >> 15));
	OP_NEXT;
}

OP(cdq)
{
	set_reg32(cpu, R_RDX, (uint32_t)((int32_t)reg32(cpu, R_RAX) >> 31));
	OP_NEXT;
}

OP(cqo)
{
	set_reg64(cpu, R_RDX, (uint64_t)((int64_t)reg64(cpu, R_RAX) >> 63));
	OP_NEXT;
}

enum { ACC_CBW, ACC_CWDE, ACC_CDQE, ACC_CWD, ACC_CDQ, ACC_CQO, ACC_COUNT };

static bool bind_acc(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[ACC_COUNT] = {
		[ACC_CBW] = cbw, [ACC_CWDE] = cwde, [ACC_CDQE] = cdqe,
		[ACC_CWD] = cwd, [ACC_CDQ] = cdq,   [ACC_CQO] = cqo,
	};

	op_form(op, OPK_EXTEND_ACC, arg >= ACC_CWD, FORM_OTHER, 1 + (unsigned)arg % 3, 0, 0);
	return int_pick(op, fn[arg]);
}

/* ---- CMOVcc: the load always happens, and a 32-bit destination is always zero-extended ---- */
#define CMOV_BODY(expr, bits, source)            \
	UINT(bits) v = (source);                 \
                                                 \
	v = (expr) ? v : reg##bits(cpu, op->r0); \
	set_reg##bits(cpu, op->r0, v)

#define CMOV_FORMS(bits, suffix, expr)                   \
	OP(cmov##suffix##_r##bits)                       \
	{                                                \
		UINT(bits) v = reg##bits(cpu, op->r1);   \
                                                         \
		v = (expr) ? v : reg##bits(cpu, op->r0); \
		set_reg##bits(cpu, op->r0, v);           \
		OP_NEXT;                                 \
	}                                                \
	OP_LOADING(cmov##suffix##_m##bits, bits, CMOV_BODY, expr)

#define CMOV_SET(suffix, code, expr) \
	CMOV_FORMS(16, suffix, expr) \
	CMOV_FORMS(32, suffix, expr) \
	CMOV_FORMS(64, suffix, expr)

FLAGS_CONDITIONS(CMOV_SET)

#define CMOV_ROW(suffix, code, expr)                           \
	[code] = { { cmov##suffix##_r16, cmov##suffix##_m16 }, \
		   { cmov##suffix##_r32, cmov##suffix##_m32 }, \
		   { cmov##suffix##_r64, cmov##suffix##_m64 } },

static const op_fn cmov_fn[16][3][2] = { FLAGS_CONDITIONS(CMOV_ROW) };

static bool bind_cmov(const struct decoded *d, struct op *op, uintptr_t cc)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	if ((form != FORM_RR && form != FORM_RM) || size < 1)
		return false;
	op_form(op, OPK_CMOV, (unsigned)cc, form, (unsigned)size, form_flags_of_cc((unsigned)cc),
		0);
	return int_pick(op, cmov_fn[cc][size - 1][form == FORM_RM]);
}

/* ---- SETcc ---- */
#define SET_FORMS(suffix, code, expr)          \
	OP(set##suffix##_r)                    \
	{                                      \
		set_reg8(cpu, op->r0, (expr)); \
		OP_NEXT;                       \
	}                                      \
	OP_STORING(set##suffix##_m, 8, (expr))

FLAGS_CONDITIONS(SET_FORMS)

#define SET_ROW(suffix, code, expr) [code] = { set##suffix##_r, set##suffix##_m },

static const op_fn set_fn[16][2] = { FLAGS_CONDITIONS(SET_ROW) };

static bool bind_set(const struct decoded *d, struct op *op, uintptr_t cc)
{
	enum int_form form = int_form(d, op);

	if (form == FORM_OTHER)
		return false;
	op_form(op, OPK_SETCC, (unsigned)cc, form, 0, form_flags_of_cc((unsigned)cc), 0);
	return int_pick(op, set_fn[cc][form == FORM_MI]);
}

/* ---- XLAT: [rBX + AL], whatever the decoder shows as its operand ---- */
OP(xlat)
{
	struct op at = *op;

	/* The index is AL alone, so it is added as the displacement. */
	at.disp = reg8(cpu, REG8_AL);
	set_reg8(cpu, REG8_AL, mem_ld8(cpu, op_lin(cpu, &at, 1, false)));
	OP_NEXT;
}

static bool bind_xlat(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->base = R_RBX;
	op->idx = REG_ZERO;
	op->scale = 0;
	int_implicit_mem(d, op);
	return int_pick(op, xlat);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_MOV, bind_mov, 0 },
	{ ZYDIS_MNEMONIC_MOVNTI, bind_mov, 0 },
	{ ZYDIS_MNEMONIC_MOVZX, bind_extend, 0 },
	{ ZYDIS_MNEMONIC_MOVSX, bind_extend, 1 },
	{ ZYDIS_MNEMONIC_LEA, bind_lea, 0 },
	{ ZYDIS_MNEMONIC_BSWAP, bind_bswap, 0 },
	{ ZYDIS_MNEMONIC_MOVSXD, bind_movsxd, 0 },
	{ ZYDIS_MNEMONIC_CBW, bind_acc, ACC_CBW },
	{ ZYDIS_MNEMONIC_CWDE, bind_acc, ACC_CWDE },
	{ ZYDIS_MNEMONIC_CDQE, bind_acc, ACC_CDQE },
	{ ZYDIS_MNEMONIC_CWD, bind_acc, ACC_CWD },
	{ ZYDIS_MNEMONIC_CDQ, bind_acc, ACC_CDQ },
	{ ZYDIS_MNEMONIC_CQO, bind_acc, ACC_CQO },
	{ ZYDIS_MNEMONIC_XLAT, bind_xlat, 0 },
	INT_CC_ROWS(CMOV, bind_cmov),
	INT_CC_ROWS(SET, bind_set),
};

BINDING_TABLE(mov_bindings, rows);
