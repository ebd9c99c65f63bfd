// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x87 loads and stores: floating point of 32, 64 and 80 bits, integers, packed decimals, constants.
 */
#include "hypervisor/soft/x87.h"

/* ---- loads ---- */
/*
 * Executes insn, which pushes, on an empty host stack; *r is what was pushed. An unmasked invalid
 * operand is not pushed; a denormal one is, even if that is unmasked.
 */
#define HOST_LOAD(name, insn, type)                                               \
	static uint16_t name(uint16_t cw, struct x87_reg *r, const void *src)     \
	{                                                                         \
		const type *m = src;                                              \
		uint16_t sw;                                                      \
                                                                                  \
		__asm__ volatile("fninit\n\tfldcw %[cw]\n\t" insn                 \
				 " %[m]\n\tfnstsw %[sw]\n\tfnclex\n\t"            \
				 "fldcw %[safe]\n\tfstpt %[r]\n\tfninit"          \
				 : [r] "=m"(*r), [sw] "=&a"(sw)                   \
				 : [m] "m"(*m), [cw] "m"(cw), [safe] "m"(safe_cw) \
				 : X87_CLOBBERS);                                 \
		return sw;                                                        \
	}

static const uint16_t safe_cw = X87_CW_RESET;

static void load_mem(struct cpu *cpu, const struct op *op, x87_host_fn fn, const void *src)
{
	struct fpu_state *f = &cpu->fpu;
	struct x87_reg v = { 0 };
	uint16_t sw;

	x87_note(cpu, op);
	if (unlikely(!x87_empty(f, 7))) {
		x87_load(f, op, v);
		return;
	}
	sw = fn(f->cw, &v, src);
	x87_clear_c1(f);
	if (sw & X87_FLAGS)
		x87_raise(f, op, sw & X87_FLAGS);
	if (!(sw & ~f->cw & X87_IE))
		x87_push(f, v);
}

#define LOAD(name, insn, type, bits)                                     \
	HOST_LOAD(host_##name, insn, type)                               \
	static void name(struct cpu *cpu, const struct op *op)           \
	{                                                                \
		uint##bits##_t v;                                        \
                                                                         \
		x87_check(cpu);                                          \
		v = mem_ld##bits(cpu, op_lin(cpu, op, bits / 8, false)); \
		load_mem(cpu, op, host_##name, &v);                      \
		OP_NEXT;                                                 \
	}

LOAD(fld_m32, "flds", float, 32)
LOAD(fld_m64, "fldl", double, 64)
LOAD(fild_m16, "filds", int16_t, 16)
LOAD(fild_m32, "fildl", int32_t, 32)
LOAD(fild_m64, "fildll", int64_t, 64)

static struct x87_reg read80(struct cpu *cpu, const struct op *op)
{
	uint64_t lin = op_lin(cpu, op, 10, false);
	struct x87_reg v;

	v.mant = mem_ld64(cpu, lin);
	v.exp = mem_ld16(cpu, lin + 8);
	return v;
}

static void fld_m80(struct cpu *cpu, const struct op *op)
{
	struct x87_reg v;

	x87_check(cpu);
	v = read80(cpu, op);
	x87_note(cpu, op);
	x87_load(&cpu->fpu, op, v);
	OP_NEXT;
}

/* Integer as a register value. */
static struct x87_reg from_u64(uint64_t v, bool negative)
{
	struct x87_reg r = { 0, negative ? 0x8000 : 0 };
	int lead;

	if (v) {
		lead = __builtin_clzll(v);
		r.mant = v << lead;
		r.exp |= (uint16_t)(X87_EXP_BIAS + 63 - lead);
	}
	return r;
}

/* Digits above 9 are not checked: each counts with its weight, as Intel's cores do. */
static void fbld(struct cpu *cpu, const struct op *op)
{
	struct x87_reg v;
	uint64_t n = 0, digits;

	x87_check(cpu);
	v = read80(cpu, op);
	digits = v.exp & 0xff;
	n = (digits >> 4) * 10 + (digits & 15);
	for (int i = 15; i >= 0; i--)
		n = n * 10 + ((v.mant >> (4 * i)) & 15);
	x87_note(cpu, op);
	x87_load(&cpu->fpu, op, from_u64(n, v.exp >> 15));
	OP_NEXT;
}

/* ---- constants, by rounding control: nearest, down, up, to zero (SDM vol. 1, 8.3.8) ---- */
static const struct {
	uint16_t exp;
	uint64_t mant[4];
} constants[] = {
	{ 0x3fff,
	  { 0x8000000000000000, 0x8000000000000000, 0x8000000000000000,
	    0x8000000000000000 } }, /* 1 */
	{ 0x4000,
	  { 0xd49a784bcd1b8afe, 0xd49a784bcd1b8afe, 0xd49a784bcd1b8aff,
	    0xd49a784bcd1b8afe } }, /* log2 10 */
	{ 0x3fff,
	  { 0xb8aa3b295c17f0bc, 0xb8aa3b295c17f0bb, 0xb8aa3b295c17f0bc,
	    0xb8aa3b295c17f0bb } }, /* log2 e */
	{ 0x4000,
	  { 0xc90fdaa22168c235, 0xc90fdaa22168c234, 0xc90fdaa22168c235,
	    0xc90fdaa22168c234 } }, /* pi */
	{ 0x3ffd,
	  { 0x9a209a84fbcff799, 0x9a209a84fbcff798, 0x9a209a84fbcff799,
	    0x9a209a84fbcff798 } }, /* log10 2 */
	{ 0x3ffe,
	  { 0xb17217f7d1cf79ac, 0xb17217f7d1cf79ab, 0xb17217f7d1cf79ac,
	    0xb17217f7d1cf79ab } }, /* ln 2 */
	{ 0, { 0, 0, 0, 0 } },	    /* 0 */
};

/* op->cc: row of the table. */
static void fld_constant(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	unsigned rc = (f->cw & X87_CW_RC) >> 10;

	x87_load(f, op, (struct x87_reg){ constants[op->cc].mant[rc], constants[op->cc].exp });
	OP_NEXT;
}

static bool constant_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->cc = (uint8_t)arg;
	return x87_bind_one(d, op, (uintptr_t)fld_constant);
}

/* ---- stores ---- */
/* Computes what a store of *r writes into *dst and returns the status word. */
typedef uint16_t (*store_fn)(uint16_t cw, const struct x87_reg *r, void *dst);

#define HOST_STORE(name, insn, type)                                           \
	static uint16_t name(uint16_t cw, const struct x87_reg *r, void *dst)  \
	{                                                                      \
		type *m = dst;                                                 \
		uint16_t sw;                                                   \
                                                                               \
		__asm__ volatile("fninit\n\tfldcw %[cw]\n\tfldt %[r]\n\t" insn \
				 " %[m]\n\tfnstsw %[sw]\n\t"                   \
				 "fninit"                                      \
				 : [m] "+m"(*m), [sw] "=&a"(sw)                \
				 : [r] "m"(*r), [cw] "m"(cw)                   \
				 : X87_CLOBBERS);                              \
		return sw;                                                     \
	}

HOST_STORE(host_fst_m32, "fstps", float)
HOST_STORE(host_fst_m64, "fstpl", double)
HOST_STORE(host_fist_m16, "fistps", int16_t)
HOST_STORE(host_fist_m32, "fistpl", int32_t)
HOST_STORE(host_fist_m64, "fistpll", int64_t)
HOST_STORE(host_fisttp_m16, "fisttps", int16_t)
HOST_STORE(host_fisttp_m32, "fisttpl", int32_t)
HOST_STORE(host_fisttp_m64, "fisttpll", int64_t)

static inline void write_sized(struct cpu *cpu, uint64_t lin, const void *data, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, data, size < 8 ? size : 8);
	switch (size) {
	case 2:
		mem_st16(cpu, lin, (uint16_t)v);
		break;
	case 4:
		mem_st32(cpu, lin, (uint32_t)v);
		break;
	case 8:
		mem_st64(cpu, lin, v);
		break;
	default: /* two stores: the first one has been done when the second one faults */
		mem_st64(cpu, lin, v);
		memcpy(&v, (const uint8_t *)data + 8, 2);
		mem_st16(cpu, lin + 8, (uint16_t)v);
	}
}

/*
 * Stores ST(0) in `size` bytes; *data holds the masked response to an empty register. Memory is
 * written first, as that may fault. An unmasked exception that leaves no result is pending without
 * any access to memory, and nothing is popped.
 */
static inline void store_value(struct cpu *cpu, const struct op *op, store_fn fn, void *data,
			       unsigned size, bool pop)
{
	struct fpu_state *f = &cpu->fpu;
	struct x87_reg v = x87_get(f, 0);
	bool empty = x87_empty(f, 0), done;
	uint16_t sw = X87_IE;

	x87_check(cpu);
	if (likely(!empty))
		sw = fn(f->cw, &v, data);
	done = !(sw & ~f->cw & (X87_IE | X87_OE | X87_UE));
	if (done)
		write_sized(cpu, op_lin(cpu, op, size, true), data, size);
	x87_note(cpu, op);
	if (empty)
		x87_stack_fault(f, op, false);
	else
		x87_take(f, op, sw, 0);
	if (done && pop)
		x87_pop(f);
}

#define STORE(name, fn, bits, indefinite, pop)                 \
	static void name(struct cpu *cpu, const struct op *op) \
	{                                                      \
		uint##bits##_t v = indefinite;                 \
                                                               \
		store_value(cpu, op, fn, &v, sizeof(v), pop);  \
		OP_NEXT;                                       \
	}

#define NAN32 0xffc00000u
#define NAN64 0xfff8000000000000ull
#define INT16 0x8000u
#define INT32 0x80000000u
#define INT64 0x8000000000000000ull

STORE(fst_m32, host_fst_m32, 32, NAN32, false)
STORE(fst_m64, host_fst_m64, 64, NAN64, false)
STORE(fstp_m32, host_fst_m32, 32, NAN32, true)
STORE(fstp_m64, host_fst_m64, 64, NAN64, true)
STORE(fist_m16, host_fist_m16, 16, INT16, false)
STORE(fist_m32, host_fist_m32, 32, INT32, false)
STORE(fistp_m16, host_fist_m16, 16, INT16, true)
STORE(fistp_m32, host_fist_m32, 32, INT32, true)
STORE(fistp_m64, host_fist_m64, 64, INT64, true)
STORE(fisttp_m16, host_fisttp_m16, 16, INT16, true)
STORE(fisttp_m32, host_fisttp_m32, 32, INT32, true)
STORE(fisttp_m64, host_fisttp_m64, 64, INT64, true)

struct m80 {
	uint64_t mant;
	uint16_t exp;
} __attribute__((packed));

/* No conversion, so no exception either. */
static uint16_t copy_m80(uint16_t cw, const struct x87_reg *r, void *dst)
{
	struct m80 *m = dst;

	m->mant = r->mant;
	m->exp = r->exp;
	return 0;
}

static void fstp_m80(struct cpu *cpu, const struct op *op)
{
	struct m80 v = { x87_default_nan.mant, x87_default_nan.exp };

	store_value(cpu, op, copy_m80, &v, sizeof(v), true);
	OP_NEXT;
}

X87_HOST_MEM(host_frndint, "frndint", struct x87_reg)

#define BCD_LIMIT 1000000000000000000ull
#define BCD_INDEFINITE                        \
	{                                     \
		0xc000000000000000ull, 0xffff \
	}

/* Eighteen digits and a sign; what does not fit is invalid and gives the indefinite. */
static uint16_t pack_bcd(uint16_t cw, const struct x87_reg *r, void *dst)
{
	struct m80 *m = dst;
	struct x87_reg v = *r;
	uint16_t sw = host_frndint(cw | X87_FLAGS, &v, &v) & (X87_PE | X87_C1);
	uint64_t n = 0;

	if (x87_unsupported(*r) || x87_exp(v) > X87_EXP_BIAS + 62)
		return X87_IE;
	if (x87_exp(v) >= X87_EXP_BIAS)
		n = v.mant >> (X87_EXP_BIAS + 63 - x87_exp(v));
	if (n >= BCD_LIMIT)
		return X87_IE;
	m->mant = 0;
	for (int i = 0; i < 16; i++, n /= 10)
		m->mant |= (n % 10) << (4 * i);
	m->exp = (uint16_t)(n / 10 << 4 | n % 10 | (v.exp & 0x8000));
	return sw;
}

static void fbstp(struct cpu *cpu, const struct op *op)
{
	struct m80 v = BCD_INDEFINITE;

	store_value(cpu, op, pack_bcd, &v, sizeof(v), true);
	OP_NEXT;
}

/* ---- binding ---- */
static const struct x87_forms fld_forms = { .m32 = fld_m32, .m64 = fld_m64, .m80 = fld_m80 };
static const struct x87_forms fild_forms = { .m16 = fild_m16, .m32 = fild_m32, .m64 = fild_m64 };
static const struct x87_forms fst_forms = { .m32 = fst_m32, .m64 = fst_m64 };
static const struct x87_forms fstp_forms = { .m32 = fstp_m32, .m64 = fstp_m64, .m80 = fstp_m80 };
static const struct x87_forms fist_forms = { .m16 = fist_m16, .m32 = fist_m32 };
static const struct x87_forms fistp_forms = { .m16 = fistp_m16,
					      .m32 = fistp_m32,
					      .m64 = fistp_m64 };
static const struct x87_forms fisttp_forms = { .m16 = fisttp_m16,
					       .m32 = fisttp_m32,
					       .m64 = fisttp_m64 };

#define ROW_CONSTANT(mnem, row)                           \
	{                                                 \
		ZYDIS_MNEMONIC_##mnem, constant_bind, row \
	}

static const struct binding x87_mem_rows[] = {
	ROW_X87_FORMS(FLD, fld_forms),
	ROW_X87_FORMS(FILD, fild_forms),
	ROW_X87(FBLD, fbld),
	ROW_X87_FORMS(FST, fst_forms),
	ROW_X87_FORMS(FSTP, fstp_forms),
	ROW_X87_FORMS(FIST, fist_forms),
	ROW_X87_FORMS(FISTP, fistp_forms),
	ROW_X87_FORMS(FISTTP, fisttp_forms),
	ROW_X87(FBSTP, fbstp),
	ROW_CONSTANT(FLD1, 0),
	ROW_CONSTANT(FLDL2T, 1),
	ROW_CONSTANT(FLDL2E, 2),
	ROW_CONSTANT(FLDPI, 3),
	ROW_CONSTANT(FLDLG2, 4),
	ROW_CONSTANT(FLDLN2, 5),
	ROW_CONSTANT(FLDZ, 6),
};

BINDINGS(x87_mem);
