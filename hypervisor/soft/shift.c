/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SHL SHR SAR ROL ROR RCL RCR SHLD SHRD. What the manual leaves undefined is pinned in
 * docs/undefined-flags.md.
 */
#include "hypervisor/soft/integer.h"

#define SHIFT_MASK(bits) ((bits) == 64 ? 63u : 31u)

static inline uint32_t cf_of(bool cf, bool of)
{
	return (cf ? FL_CF : 0) | (of ? FL_OF : 0);
}

/*
 * One function an operation and size: x shifted by c, which is not 0 and masked (for RCL and RCR
 * modulo size + 1), with CF and OF in *aux. All arithmetic on 64 bits: for sizes below, c may
 * exceed the size. OF is what a count of 1 gives, from the operand as it was before, for every
 * count.
 */
#define SHIFT_CALCS(bits)                                                                \
	/* Do the two top bits differ? */                                                \
	static inline bool tops##bits(UINT(bits) x)                                      \
	{                                                                                \
		return ((x ^ (x << 1)) >> ((bits)-1)) & 1;                               \
	}                                                                                \
	static inline UINT(bits)                                                         \
		shl##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		bool cf = c <= (bits) && (((uint64_t)x >> ((bits)-c)) & 1);              \
                                                                                         \
		*aux = cf_of(cf, tops##bits(x));                                         \
		return (UINT(bits))((uint64_t)x << c);                                   \
	}                                                                                \
	static inline UINT(bits)                                                         \
		shr##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		*aux = cf_of(((uint64_t)x >> (c - 1)) & 1, x >> ((bits)-1));             \
		return (UINT(bits))((uint64_t)x >> c);                                   \
	}                                                                                \
	static inline UINT(bits)                                                         \
		sar##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		int64_t wide = (SINT(bits))x;                                            \
                                                                                         \
		*aux = cf_of((wide >> (c - 1)) & 1, false);                              \
		return (UINT(bits))(wide >> c);                                          \
	}                                                                                \
	static inline UINT(bits)                                                         \
		rol##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		unsigned n = c % (bits);                                                 \
		UINT(bits) r = (UINT(bits))(x << n | x >> (-n & ((bits)-1)));            \
                                                                                         \
		*aux = cf_of(r & 1, tops##bits(x));                                      \
		return r;                                                                \
	}                                                                                \
	static inline UINT(bits)                                                         \
		ror##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		unsigned n = c % (bits);                                                 \
		UINT(bits) r = (UINT(bits))(x >> n | x << (-n & ((bits)-1)));            \
                                                                                         \
		*aux = cf_of(r >> ((bits)-1), ((x >> ((bits)-1)) ^ x) & 1);              \
		return r;                                                                \
	}                                                                                \
	static inline UINT(bits)                                                         \
		rcl##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		uint64_t w = x, r = w << c | (uint64_t)flags_cf(cpu) << (c - 1);         \
                                                                                         \
		if (c > 1)                                                               \
			r |= w >> ((bits) + 1 - c);                                      \
		*aux = cf_of((w >> ((bits)-c)) & 1, tops##bits(x));                      \
		return (UINT(bits))r;                                                    \
	}                                                                                \
	static inline UINT(bits)                                                         \
		rcr##bits(struct cpu *cpu, UINT(bits) x, unsigned c, uint32_t *aux)      \
	{                                                                                \
		uint64_t w = x, carry = flags_cf(cpu), r = w >> c | carry << ((bits)-c); \
                                                                                         \
		if (c > 1)                                                               \
			r |= w << ((bits) + 1 - c);                                      \
		*aux = cf_of((w >> (c - 1)) & 1, (w >> ((bits)-1)) != carry);            \
		return (UINT(bits))r;                                                    \
	}

INT_EACH_SIZE(SHIFT_CALCS)

#define SHIFT_LAZY(o, code, bits)                                               \
	case code:                                                              \
		r = (uint64_t)(SINT(bits))o##bits(cpu, (UINT(bits))x, c, &aux); \
		break;
#define SHIFT_LAZY_SIZE(bits)                                                             \
	static void lazy##bits(struct cpu *cpu, enum shift_op op, uint64_t x, unsigned c) \
	{                                                                                 \
		uint32_t aux = 0;                                                         \
		uint64_t r = 0;                                                           \
                                                                                          \
		switch (op) {                                                             \
			SHIFT_LAZY(shl, SHIFT_SHL, bits)                                  \
			SHIFT_LAZY(shr, SHIFT_SHR, bits)                                  \
			SHIFT_LAZY(sar, SHIFT_SAR, bits)                                  \
		default:                                                                  \
			break;                                                            \
		}                                                                         \
		lazy_set_aux(cpu, (int64_t)r, aux);                                       \
	}

INT_EACH_SIZE(SHIFT_LAZY_SIZE)

void shift_flags(struct cpu *cpu, enum shift_op op, unsigned size, uint64_t x, unsigned c)
{
	static void (*const fn[INT_SIZES])(struct cpu *, enum shift_op, uint64_t,
					   unsigned) = { lazy8, lazy16, lazy32, lazy64 };

	fn[size](cpu, op, x, c);
}

#define COUNT_shl(c, bits) ((c)&SHIFT_MASK(bits))
#define COUNT_shr	   COUNT_shl
#define COUNT_sar	   COUNT_shl
#define COUNT_rol	   COUNT_shl
#define COUNT_ror	   COUNT_shl
#define COUNT_rcl(c, bits) (((c)&SHIFT_MASK(bits)) % ((bits) + 1))
#define COUNT_rcr	   COUNT_rcl

#define SHIFT_FLAGS_shl(bits) lazy_set_aux(cpu, (SINT(bits))r, aux)
#define SHIFT_FLAGS_shr	      SHIFT_FLAGS_shl
#define SHIFT_FLAGS_sar	      SHIFT_FLAGS_shl
/* Rotates change CF and OF alone. */
#define SHIFT_FLAGS_rol(bits) flags_change(cpu, FL_CF | FL_OF, aux)
#define SHIFT_FLAGS_ror	      SHIFT_FLAGS_rol
#define SHIFT_FLAGS_rcl	      SHIFT_FLAGS_rol
#define SHIFT_FLAGS_rcr	      SHIFT_FLAGS_rol

/*
 * A count of 0 changes no flag, but the destination is written all the same (a 32-bit register is
 * zero-extended).
 */
#define SHIFT_FORM(o, bits, kind, count)                \
	OP(o##_r_##kind##bits)                          \
	{                                               \
		unsigned c = COUNT_##o((count), bits);  \
		UINT(bits) r = reg##bits(cpu, op->r0);  \
		uint32_t aux;                           \
                                                        \
		if (likely(c)) {                        \
			r = o##bits(cpu, r, c, &aux);   \
			SHIFT_FLAGS_##o(bits);          \
		}                                       \
		set_reg##bits(cpu, op->r0, r);          \
		OP_NEXT;                                \
	}                                               \
	OP(o##_m_##kind##bits)                          \
	{                                               \
		unsigned c = COUNT_##o((count), bits);  \
		uint64_t lin = OP_RMW_LIN(bits);        \
		UINT(bits) r = mem_ldw##bits(cpu, lin); \
		uint32_t aux = 0;                       \
                                                        \
		if (likely(c))                          \
			r = o##bits(cpu, r, c, &aux);   \
		mem_st##bits(cpu, lin, r);              \
		if (likely(c))                          \
			SHIFT_FLAGS_##o(bits);          \
		OP_NEXT;                                \
	}

#define SHIFT_FORMS(o, bits)                        \
	SHIFT_FORM(o, bits, imm, (unsigned)op->imm) \
	SHIFT_FORM(o, bits, cl, reg8(cpu, REG8_CL))

#define SHIFT_ALL(bits)        \
	SHIFT_FORMS(shl, bits) \
	SHIFT_FORMS(shr, bits) \
	SHIFT_FORMS(sar, bits) \
	SHIFT_FORMS(rol, bits) \
	SHIFT_FORMS(ror, bits) \
	SHIFT_FORMS(rcl, bits) \
	SHIFT_FORMS(rcr, bits)

INT_EACH_SIZE(SHIFT_ALL)

/* ROL and ROR of a register by an immediate other than 1 leave OF as it is. */
#define ROTATE_KEEP(o, bits)                                     \
	OP(o##_keep##bits)                                       \
	{                                                        \
		unsigned c = COUNT_##o((unsigned)op->imm, bits); \
		UINT(bits) r = reg##bits(cpu, op->r0);           \
		uint32_t aux;                                    \
                                                                 \
		if (likely(c)) {                                 \
			r = o##bits(cpu, r, c, &aux);            \
			flags_change(cpu, FL_CF, aux &FL_CF);    \
		}                                                \
		set_reg##bits(cpu, op->r0, r);                   \
		OP_NEXT;                                         \
	}
#define ROTATE_KEEP_BOTH(bits) ROTATE_KEEP(rol, bits) ROTATE_KEEP(ror, bits)

INT_EACH_SIZE(ROTATE_KEEP_BOTH)

#define SHIFT_ROW(o, bits)                              \
	{                                               \
		{ o##_r_imm##bits, o##_r_cl##bits },    \
		{                                       \
			o##_m_imm##bits, o##_m_cl##bits \
		}                                       \
	}
#define SHIFT_ROWS(o)                                                                 \
	{                                                                             \
		SHIFT_ROW(o, 8), SHIFT_ROW(o, 16), SHIFT_ROW(o, 32), SHIFT_ROW(o, 64) \
	}

/* [operation][size][in memory][by CL] */
static const op_fn shift_fn[SHIFT_COUNT][INT_SIZES][2][2] = {
	[SHIFT_SHL] = SHIFT_ROWS(shl), [SHIFT_SHR] = SHIFT_ROWS(shr), [SHIFT_SAR] = SHIFT_ROWS(sar),
	[SHIFT_ROL] = SHIFT_ROWS(rol), [SHIFT_ROR] = SHIFT_ROWS(ror), [SHIFT_RCL] = SHIFT_ROWS(rcl),
	[SHIFT_RCR] = SHIFT_ROWS(rcr),
};

static const op_fn rotate_keep_fn[2][INT_SIZES] = {
	{ rol_keep8, rol_keep16, rol_keep32, rol_keep64 },
	{ ror_keep8, ror_keep16, ror_keep32, ror_keep64 },
};

/*
 * Chooses the form of a shift of a register. Rotates leave most flags, and a count of 0 leaves all.
 */
static void shift_form(struct op *op, unsigned arg, unsigned size, bool imm)
{
	bool some = !imm || !(op->imm & SHIFT_MASK(size == 3 ? 64 : 32)) || arg >= SHIFT_ROL;

	op_form(op, OPK_SHIFT, arg, imm ? FORM_RI : FORM_RR, size, some ? FLAGS_ALL : 0,
		some ? 0 : FLAGS_ALL);
}

static bool bind_shift(const struct decoded *d, struct op *op, uintptr_t arg)
{
	bool mem = opnd_is_mem(d, 0), imm = opnd_is_imm(d, 1);
	int size = int_size(d, 0);

	int_form(d, op);
	if (size < 0)
		return false;
	if (imm)
		op->imm = d->opnd[1].imm.value.u;
	if (!mem)
		shift_form(op, (unsigned)arg, (unsigned)size, imm);
	if (imm && !mem && (arg == SHIFT_ROL || arg == SHIFT_ROR) &&
	    (op->imm & (size == 3 ? SHIFT_MASK(64) : SHIFT_MASK(32))) != 1)
		return int_pick(op, rotate_keep_fn[arg == SHIFT_ROR][size]);
	return int_pick(op, shift_fn[arg][size][mem][!imm]);
}

/* ---- SHLD and SHRD ---- */
/* OF, for every count: of SHLD as of SHL; of SHRD whether the sign changes with a count of 1. */
#define DOUBLE_CALCS(bits)                                                                         \
	static inline UINT(bits) shld##bits(UINT(bits) x, UINT(bits) y, unsigned c, uint32_t *aux) \
	{                                                                                          \
		*aux = cf_of((x >> ((bits)-c)) & 1, tops##bits(x));                                \
		return x << c | y >> ((bits)-c);                                                   \
	}                                                                                          \
	static inline UINT(bits) shrd##bits(UINT(bits) x, UINT(bits) y, unsigned c, uint32_t *aux) \
	{                                                                                          \
		*aux = cf_of((x >> (c - 1)) & 1, ((x >> ((bits)-1)) ^ y) & 1);                     \
		return x >> c | y << ((bits)-c);                                                   \
	}

DOUBLE_CALCS(32)
DOUBLE_CALCS(64)

/* Counts from 17 to 31 are undefined for 16 bits: cores shift x:y:x. */
static inline uint16_t shld16(uint16_t x, uint16_t y, unsigned c, uint32_t *aux)
{
	uint64_t wide = (uint64_t)x << 32 | (uint64_t)y << 16 | x;

	*aux = cf_of((wide >> (48 - c)) & 1, tops16(x));
	return (uint16_t)(wide << c >> 32);
}

static inline uint16_t shrd16(uint16_t x, uint16_t y, unsigned c, uint32_t *aux)
{
	uint64_t wide = (uint64_t)x << 32 | (uint64_t)y << 16 | x;

	*aux = cf_of((wide >> (c - 1)) & 1, ((x >> 15) ^ y) & 1);
	return (uint16_t)(wide >> c);
}

#define DOUBLE_FORM(o, bits, kind, count)                                \
	OP(o##_r_##kind##bits)                                           \
	{                                                                \
		unsigned c = (count)&SHIFT_MASK(bits);                   \
		UINT(bits) r = reg##bits(cpu, op->r0);                   \
		uint32_t aux;                                            \
                                                                         \
		if (c) {                                                 \
			r = o##bits(r, reg##bits(cpu, op->r1), c, &aux); \
			lazy_set_aux(cpu, (SINT(bits))r, aux);           \
		}                                                        \
		set_reg##bits(cpu, op->r0, r);                           \
		OP_NEXT;                                                 \
	}                                                                \
	OP(o##_m_##kind##bits)                                           \
	{                                                                \
		unsigned c = (count)&SHIFT_MASK(bits);                   \
		uint64_t lin = OP_RMW_LIN(bits);                         \
		UINT(bits) r = mem_ldw##bits(cpu, lin);                  \
		uint32_t aux = 0;                                        \
                                                                         \
		if (c)                                                   \
			r = o##bits(r, reg##bits(cpu, op->r1), c, &aux); \
		mem_st##bits(cpu, lin, r);                               \
		if (c)                                                   \
			lazy_set_aux(cpu, (SINT(bits))r, aux);           \
		OP_NEXT;                                                 \
	}

#define DOUBLE_FORMS(o, bits)                        \
	DOUBLE_FORM(o, bits, imm, (unsigned)op->imm) \
	DOUBLE_FORM(o, bits, cl, reg8(cpu, REG8_CL))

DOUBLE_FORMS(shld, 16)
DOUBLE_FORMS(shld, 32)
DOUBLE_FORMS(shld, 64)
DOUBLE_FORMS(shrd, 16)
DOUBLE_FORMS(shrd, 32)
DOUBLE_FORMS(shrd, 64)

static const op_fn double_fn[2][3][2][2] = {
	{ SHIFT_ROW(shld, 16), SHIFT_ROW(shld, 32), SHIFT_ROW(shld, 64) },
	{ SHIFT_ROW(shrd, 16), SHIFT_ROW(shrd, 32), SHIFT_ROW(shrd, 64) },
};

static bool bind_double(const struct decoded *d, struct op *op, uintptr_t right)
{
	int size = int_size(d, 0);
	bool imm = opnd_is_imm(d, 2);

	if (size < 1)
		return false;
	if (imm)
		op->imm = d->opnd[2].imm.value.u;
	return int_pick(op, double_fn[right][size - 1][opnd_is_mem(d, 0)][!imm]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_SHL, bind_shift, SHIFT_SHL },
	{ ZYDIS_MNEMONIC_SHR, bind_shift, SHIFT_SHR },
	{ ZYDIS_MNEMONIC_SAR, bind_shift, SHIFT_SAR },
	{ ZYDIS_MNEMONIC_ROL, bind_shift, SHIFT_ROL },
	{ ZYDIS_MNEMONIC_ROR, bind_shift, SHIFT_ROR },
	{ ZYDIS_MNEMONIC_RCL, bind_shift, SHIFT_RCL },
	{ ZYDIS_MNEMONIC_RCR, bind_shift, SHIFT_RCR },
	{ ZYDIS_MNEMONIC_SHLD, bind_double, 0 },
	{ ZYDIS_MNEMONIC_SHRD, bind_double, 1 },
};

BINDING_TABLE(shift_bindings, rows);
