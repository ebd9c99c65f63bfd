/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MUL IMUL DIV IDIV. */
#include "hypervisor/soft/integer.h"

typedef unsigned __int128 uint128_t;
typedef __int128 int128_t;

/* Double-width types. */
#define UWIDE_8	 uint16_t
#define UWIDE_16 uint32_t
#define UWIDE_32 uint64_t
#define UWIDE_64 uint128_t
#define SWIDE_8	 int16_t
#define SWIDE_16 int32_t
#define SWIDE_32 int64_t
#define SWIDE_64 int128_t

/* The double-width register: AX for 8 bits, else rDX:rAX. */
#define PAIR_ACCESS(bits)                                                                     \
	static inline UWIDE_##bits pair##bits(const struct cpu *cpu)                          \
	{                                                                                     \
		return (UWIDE_##bits)reg##bits(cpu, R_RDX) << (bits) | reg##bits(cpu, R_RAX); \
	}                                                                                     \
	static inline void set_pair##bits(struct cpu *cpu, UINT(bits) hi, UINT(bits) lo)      \
	{                                                                                     \
		set_reg##bits(cpu, R_RAX, lo);                                                \
		set_reg##bits(cpu, R_RDX, hi);                                                \
	}

static inline uint16_t pair8(const struct cpu *cpu)
{
	return reg16(cpu, R_RAX);
}

static inline void set_pair8(struct cpu *cpu, uint8_t hi, uint8_t lo)
{
	set_reg16(cpu, R_RAX, (uint16_t)(hi << 8 | lo));
}

PAIR_ACCESS(16)
PAIR_ACCESS(32)
PAIR_ACCESS(64)

#define MUL_CALCS(bits)                                                                           \
	static inline void mul##bits(struct cpu *cpu, UINT(bits) y)                               \
	{                                                                                         \
		UWIDE_##bits p = (UWIDE_##bits)((UWIDE_##bits)reg##bits(cpu, R_RAX) * y);         \
                                                                                                  \
		set_pair##bits(cpu, (UINT(bits))(p >> (bits)), (UINT(bits))p);                    \
		mul_flags(cpu, (SINT(bits))p, (p >> (bits)) != 0);                                \
	}                                                                                         \
	static inline void imul##bits(struct cpu *cpu, UINT(bits) y)                              \
	{                                                                                         \
		SWIDE_##bits p = (SWIDE_##bits)((SWIDE_##bits)(SINT(bits))reg##bits(cpu, R_RAX) * \
						(SINT(bits))y);                                   \
                                                                                                  \
		set_pair##bits(cpu, (UINT(bits))(p >> (bits)), (UINT(bits))p);                    \
		mul_flags(cpu, (SINT(bits))p, p != (SINT(bits))p);                                \
	}

INT_EACH_SIZE(MUL_CALCS)

/*
 * Division. Unsigned first: `n` / `d` with #DE when d is 0 or the quotient does not fit. Signed on
 * magnitudes, so that no intermediate overflows; the quotient fits when it is at most MAX, or MAX +
 * 1 and negative.
 */
#define DIV_CALCS(bits)                                                                \
	static inline void div##bits(struct cpu *cpu, UINT(bits) d)                    \
	{                                                                              \
		UWIDE_##bits n = pair##bits(cpu);                                      \
                                                                                       \
		if (d == 0 || (n >> (bits)) >= d)                                      \
			cpu_raise(cpu, VEC_DE, 0);                                     \
		if ((bits) == 64 && (n >> (bits)) == 0)                                \
			set_pair##bits(cpu, (UINT(bits))n % d, (UINT(bits))n / d);     \
		else                                                                   \
			set_pair##bits(cpu, (UINT(bits))(n % d), (UINT(bits))(n / d)); \
	}                                                                              \
	static inline void idiv##bits(struct cpu *cpu, UINT(bits) y)                   \
	{                                                                              \
		UWIDE_##bits n = pair##bits(cpu), q;                                   \
		bool nneg = n >> (2 * (bits)-1), dneg = y >> ((bits)-1);               \
		UINT(bits) d = dneg ? (UINT(bits)) - y : y, r;                         \
		UINT(bits) max = (UINT(bits))((UINT(bits)) ~(UINT(bits))0 >> 1);       \
                                                                                       \
		n = nneg ? (UWIDE_##bits) - n : n;                                     \
		if (d == 0 || (n >> (bits)) >= d)                                      \
			cpu_raise(cpu, VEC_DE, 0);                                     \
		if ((bits) == 64 && (n >> (bits)) == 0) {                              \
			q = (UINT(bits))n / d;                                         \
			r = (UINT(bits))n % d;                                         \
		} else {                                                               \
			q = n / d;                                                     \
			r = (UINT(bits))(n % d);                                       \
		}                                                                      \
		if (q > (UWIDE_##bits)max + (nneg != dneg))                            \
			cpu_raise(cpu, VEC_DE, 0);                                     \
		set_pair##bits(cpu, nneg ? (UINT(bits)) - r : r,                       \
			       (UINT(bits))(nneg != dneg ? -q : q));                   \
	}

INT_EACH_SIZE(DIV_CALCS)

#define ACC_FORMS(o, bits)                            \
	OP(o##_r##bits)                               \
	{                                             \
		o##bits(cpu, reg##bits(cpu, op->r0)); \
		OP_NEXT;                              \
	}                                             \
	OP(o##_m##bits)                               \
	{                                             \
		o##bits(cpu, OP_LOAD(bits));          \
		OP_NEXT;                              \
	}

#define ACC_ALL(bits)         \
	ACC_FORMS(mul, bits)  \
	ACC_FORMS(imul, bits) \
	ACC_FORMS(div, bits)  \
	ACC_FORMS(idiv, bits)

INT_EACH_SIZE(ACC_ALL)

enum { ACC_MUL, ACC_IMUL, ACC_DIV, ACC_IDIV, ACC_COUNT };

#define ACC_ROWS(o)                                                             \
	{                                                                       \
		{ o##_r8, o##_m8 }, { o##_r16, o##_m16 }, { o##_r32, o##_m32 }, \
		{                                                               \
			o##_r64, o##_m64                                        \
		}                                                               \
	}

static const op_fn acc_fn[ACC_COUNT][INT_SIZES][2] = {
	[ACC_MUL] = ACC_ROWS(mul),
	[ACC_IMUL] = ACC_ROWS(imul),
	[ACC_DIV] = ACC_ROWS(div),
	[ACC_IDIV] = ACC_ROWS(idiv),
};

static bool bind_acc(const struct decoded *d, struct op *op, uintptr_t arg)
{
	int size = int_size(d, 0);

	int_form(d, op);
	/* DIV and IDIV leave flags alone. */
	if (arg >= ACC_DIV && size >= 2)
		op_form(op, OPK_DIVIDE, arg == ACC_IDIV, opnd_is_mem(d, 0) ? FORM_RM : FORM_RR,
			(unsigned)size, 0, 0);
	return size >= 0 && int_pick(op, acc_fn[arg][size][opnd_is_mem(d, 0)]);
}

/* ---- IMUL with two and three operands ---- */
#define IMUL_FORM(name, bits, left, right)                                          \
	OP(name)                                                                    \
	{                                                                           \
		SINT(bits) r, x = (SINT(bits))(left);                               \
		bool overflow = __builtin_mul_overflow(x, (SINT(bits))(right), &r); \
                                                                                    \
		set_reg##bits(cpu, op->r0, (UINT(bits))r);                          \
		mul_flags(cpu, r, overflow);                                        \
		OP_NEXT;                                                            \
	}

#define IMUL_FORMS(bits)                                                               \
	IMUL_FORM(imul2_r##bits, bits, reg##bits(cpu, op->r0), reg##bits(cpu, op->r1)) \
	IMUL_FORM(imul2_m##bits, bits, reg##bits(cpu, op->r0), OP_LOAD(bits))          \
	IMUL_FORM(imul3_r##bits, bits, reg##bits(cpu, op->r1), op->imm)                \
	IMUL_FORM(imul3_m##bits, bits, OP_LOAD(bits), op->imm)

IMUL_FORMS(16)
IMUL_FORMS(32)
IMUL_FORMS(64)

static bool bind_imul(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[2][3][2] = {
		{ { imul2_r16, imul2_m16 }, { imul2_r32, imul2_m32 }, { imul2_r64, imul2_m64 } },
		{ { imul3_r16, imul3_m16 }, { imul3_r32, imul3_m32 }, { imul3_r64, imul3_m64 } },
	};
	int size = int_size(d, 0);

	if (d->ins.operand_count_visible < 2)
		return bind_acc(d, op, ACC_IMUL);
	if (size < 1)
		return false;
	op_form(op, OPK_IMUL, opnd_is_imm(d, 2), opnd_is_mem(d, 1) ? FORM_RM : FORM_RR,
		(unsigned)size, 0, FLAGS_ALL);
	return int_pick(op, fn[opnd_is_imm(d, 2)][size - 1][opnd_is_mem(d, 1)]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_MUL, bind_acc, ACC_MUL },
	{ ZYDIS_MNEMONIC_IMUL, bind_imul, 0 },
	{ ZYDIS_MNEMONIC_DIV, bind_acc, ACC_DIV },
	{ ZYDIS_MNEMONIC_IDIV, bind_acc, ACC_IDIV },
};

BINDING_TABLE(muldiv_bindings, rows);
