/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT. */
#include "hypervisor/soft/integer.h"

/*
 * Each operation has three macros: what it needs from before (carry in), its result, and the flags
 * it leaves. A handler computes the result, stores it where it may fault, and only then touches
 * flags.
 */
#define PRE_add
#define PRE_or
#define PRE_adc const unsigned carry = flags_cf(cpu);
#define PRE_sbb const unsigned carry = flags_cf(cpu);
#define PRE_and
#define PRE_sub
#define PRE_xor
#define PRE_cmp
#define PRE_test

#define RES_add(x, y)  ((x) + (y))
#define RES_or(x, y)   ((x) | (y))
#define RES_adc(x, y)  ((x) + (y) + carry)
#define RES_sbb(x, y)  ((x) - (y)-carry)
#define RES_and(x, y)  ((x) & (y))
#define RES_sub(x, y)  ((x) - (y))
#define RES_xor(x, y)  ((x) ^ (y))
#define RES_cmp(x, y)  ((x) - (y))
#define RES_test(x, y) ((x) & (y))

#define LAZY3(bits, type)   lazy_set(cpu, type, (SINT(bits))r, (SINT(bits))x, (SINT(bits))y)
#define LAZY_FOR_add(bits)  LAZY3(bits, LAZY_ADD)
#define LAZY_FOR_or(bits)   lazy_set_logic(cpu, (SINT(bits))r)
#define LAZY_FOR_adc(bits)  LAZY3(bits, LAZY_ADD + carry)
#define LAZY_FOR_sbb(bits)  LAZY3(bits, LAZY_SUB + carry)
#define LAZY_FOR_and(bits)  lazy_set_logic(cpu, (SINT(bits))r)
#define LAZY_FOR_sub(bits)  LAZY3(bits, LAZY_SUB)
#define LAZY_FOR_xor(bits)  lazy_set_logic(cpu, (SINT(bits))r)
#define LAZY_FOR_cmp(bits)  LAZY3(bits, LAZY_SUB)
#define LAZY_FOR_test(bits) lazy_set_logic(cpu, (SINT(bits))r)

/* Register destination: source expression `src`. */
#define ALU_TO_REG(o, bits, src)               \
	PRE_##o UINT(bits) y = (src);          \
	UINT(bits) x = reg##bits(cpu, op->r0); \
	UINT(bits) r = RES_##o(x, y);          \
                                               \
	set_reg##bits(cpu, op->r0, r);         \
	LAZY_FOR_##o(bits)

/* CMP and TEST: flags only. */
#define ALU_TO_FLAGS(o, bits, left, right) \
	UINT(bits) x = (left);             \
	UINT(bits) y = (right);            \
	UINT(bits) r = RES_##o(x, y);      \
                                           \
	LAZY_FOR_##o(bits)

#define ALU_FLAGS_RM(o, bits, src) ALU_TO_FLAGS(o, bits, reg##bits(cpu, op->r0), src)
#define ALU_FLAGS_MR(o, bits, src) ALU_TO_FLAGS(o, bits, src, reg##bits(cpu, op->r1))
#define ALU_FLAGS_MI(o, bits, src) ALU_TO_FLAGS(o, bits, src, op->imm)

#define ALU_REG(name, body, o, bits, src) \
	OP(name)                          \
	{                                 \
		body(o, bits, src);       \
		OP_NEXT;                  \
	}

/* Memory destination. */
#define ALU_MEM(name, o, bits, src)                                         \
	OP_COLD(name##_slow)                                                \
	{                                                                   \
		PRE_##o uint64_t lin = OP_RMW_LIN(bits);                    \
		UINT(bits) x = mem_ldw##bits(cpu, lin);                     \
		UINT(bits) y = (src);                                       \
		UINT(bits) r = RES_##o(x, y);                               \
                                                                            \
		mem_st##bits(cpu, lin, r);                                  \
		LAZY_FOR_##o(bits);                                         \
		OP_NEXT;                                                    \
	}                                                                   \
	OP(name)                                                            \
	{                                                                   \
		void *host;                                                 \
                                                                            \
		if (unlikely(!op_host(cpu, op, (bits) / 8, true, &host))) { \
			name##_slow(cpu, op);                               \
			return;                                             \
		}                                                           \
		PRE_##o UINT(bits) x = host_get##bits(host);                \
		UINT(bits) y = (src);                                       \
		UINT(bits) r = RES_##o(x, y);                               \
                                                                            \
		host_set##bits(host, r);                                    \
		LAZY_FOR_##o(bits);                                         \
		OP_NEXT;                                                    \
	}

#define ALU_WRITE_FORMS(o, bits)                                           \
	ALU_REG(o##_rr##bits, ALU_TO_REG, o, bits, reg##bits(cpu, op->r1)) \
	ALU_REG(o##_ri##bits, ALU_TO_REG, o, bits, op->imm)                \
	OP_LOADING(o##_rm##bits, bits, ALU_TO_REG, o)                      \
	ALU_MEM(o##_mr##bits, o, bits, reg##bits(cpu, op->r1))             \
	ALU_MEM(o##_mi##bits, o, bits, op->imm)

#define ALU_FLAG_FORMS(o, bits)                                              \
	ALU_REG(o##_rr##bits, ALU_FLAGS_RM, o, bits, reg##bits(cpu, op->r1)) \
	ALU_REG(o##_ri##bits, ALU_FLAGS_RM, o, bits, op->imm)                \
	OP_LOADING(o##_rm##bits, bits, ALU_FLAGS_RM, o)                      \
	OP_LOADING(o##_mr##bits, bits, ALU_FLAGS_MR, o)                      \
	OP_LOADING(o##_mi##bits, bits, ALU_FLAGS_MI, o)

#define ALU_ALL(bits)              \
	ALU_WRITE_FORMS(add, bits) \
	ALU_WRITE_FORMS(or, bits)  \
	ALU_WRITE_FORMS(adc, bits) \
	ALU_WRITE_FORMS(sbb, bits) \
	ALU_WRITE_FORMS(and, bits) \
	ALU_WRITE_FORMS(sub, bits) \
	ALU_WRITE_FORMS(xor, bits) \
	ALU_FLAG_FORMS(cmp, bits)  \
	ALU_FLAG_FORMS(test, bits)

INT_EACH_SIZE(ALU_ALL)

#define ALU_ROW(o, bits)                                                                      \
	{                                                                                     \
		[FORM_RR] = o##_rr##bits, [FORM_RI] = o##_ri##bits, [FORM_RM] = o##_rm##bits, \
		[FORM_MR] = o##_mr##bits, [FORM_MI] = o##_mi##bits                            \
	}
#define ALU_ROWS(o)                                                           \
	{                                                                     \
		ALU_ROW(o, 8), ALU_ROW(o, 16), ALU_ROW(o, 32), ALU_ROW(o, 64) \
	}

static const op_fn alu_fn[ALU_COUNT][INT_SIZES][INT_FORMS] = {
	[ALU_ADD] = ALU_ROWS(add), [ALU_OR] = ALU_ROWS(or),   [ALU_ADC] = ALU_ROWS(adc),
	[ALU_SBB] = ALU_ROWS(sbb), [ALU_AND] = ALU_ROWS(and), [ALU_SUB] = ALU_ROWS(sub),
	[ALU_XOR] = ALU_ROWS(xor), [ALU_CMP] = ALU_ROWS(cmp), [ALU_TEST] = ALU_ROWS(test),
};

static bool bind_alu(const struct decoded *d, struct op *op, uintptr_t arg)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	if (form == FORM_OTHER || size < 0)
		return false;
	op_form(op, OPK_ALU, (unsigned)arg, form, (unsigned)size,
		arg == ALU_ADC || arg == ALU_SBB ? FLAGS_CF : 0, FLAGS_ALL);
	return int_pick(op, alu_fn[arg][size][form]);
}

/* ---- one operand ---- */
#define NEXT_inc(x) ((x) + 1)
#define NEXT_dec(x) ((x)-1)
#define NEXT_neg(x) (-(x))
#define NEXT_not(x) (~(x))

#define ONE_FLAGS_inc(bits) lazy_set(cpu, LAZY_INC, (SINT(bits))r, (SINT(bits))x, flags_cf(cpu))
#define ONE_FLAGS_dec(bits) lazy_set(cpu, LAZY_DEC, (SINT(bits))r, (SINT(bits))x, flags_cf(cpu))
#define ONE_FLAGS_neg(bits) lazy_set(cpu, LAZY_SUB, (SINT(bits))r, 0, (SINT(bits))x)
#define ONE_FLAGS_not(bits) (void)0

#define ONE_FORMS(o, bits)                              \
	OP(o##_r##bits)                                 \
	{                                               \
		UINT(bits) x = reg##bits(cpu, op->r0);  \
		UINT(bits) r = NEXT_##o(x);             \
                                                        \
		set_reg##bits(cpu, op->r0, r);          \
		ONE_FLAGS_##o(bits);                    \
		OP_NEXT;                                \
	}                                               \
	OP(o##_m##bits)                                 \
	{                                               \
		uint64_t lin = OP_RMW_LIN(bits);        \
		UINT(bits) x = mem_ldw##bits(cpu, lin); \
		UINT(bits) r = NEXT_##o(x);             \
                                                        \
		mem_st##bits(cpu, lin, r);              \
		ONE_FLAGS_##o(bits);                    \
		OP_NEXT;                                \
	}

#define ONE_ALL(bits)        \
	ONE_FORMS(inc, bits) \
	ONE_FORMS(dec, bits) \
	ONE_FORMS(neg, bits) \
	ONE_FORMS(not, bits)

INT_EACH_SIZE(ONE_ALL)

#define ONE_ROWS(o)                                                             \
	{                                                                       \
		{ o##_r8, o##_m8 }, { o##_r16, o##_m16 }, { o##_r32, o##_m32 }, \
		{                                                               \
			o##_r64, o##_m64                                        \
		}                                                               \
	}

static const op_fn one_fn[ONE_COUNT][INT_SIZES][2] = {
	[ONE_INC] = ONE_ROWS(inc),
	[ONE_DEC] = ONE_ROWS(dec),
	[ONE_NEG] = ONE_ROWS(neg),
	[ONE_NOT] = ONE_ROWS(not ),
};

static bool bind_one(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const uint8_t writes[ONE_COUNT] = {
		[ONE_INC] = FLAGS_ALL & ~FLAGS_CF,
		[ONE_DEC] = FLAGS_ALL & ~FLAGS_CF,
		[ONE_NEG] = FLAGS_ALL,
	};
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	if (form == FORM_OTHER || size < 0)
		return false;
	op_form(op, OPK_ONE, (unsigned)arg, form, (unsigned)size, 0, writes[arg]);
	return int_pick(op, one_fn[arg][size][form == FORM_MI]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_ADD, bind_alu, ALU_ADD },   { ZYDIS_MNEMONIC_OR, bind_alu, ALU_OR },
	{ ZYDIS_MNEMONIC_ADC, bind_alu, ALU_ADC },   { ZYDIS_MNEMONIC_SBB, bind_alu, ALU_SBB },
	{ ZYDIS_MNEMONIC_AND, bind_alu, ALU_AND },   { ZYDIS_MNEMONIC_SUB, bind_alu, ALU_SUB },
	{ ZYDIS_MNEMONIC_XOR, bind_alu, ALU_XOR },   { ZYDIS_MNEMONIC_CMP, bind_alu, ALU_CMP },
	{ ZYDIS_MNEMONIC_TEST, bind_alu, ALU_TEST }, { ZYDIS_MNEMONIC_INC, bind_one, ONE_INC },
	{ ZYDIS_MNEMONIC_DEC, bind_one, ONE_DEC },   { ZYDIS_MNEMONIC_NEG, bind_one, ONE_NEG },
	{ ZYDIS_MNEMONIC_NOT, bind_one, ONE_NOT },
};

BINDING_TABLE(alu_bindings, rows);
