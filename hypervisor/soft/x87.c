// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x87 arithmetic and comparisons (SDM vol. 1, chapter 8).
 *
 * Condition codes that the SDM calls undefined after an instruction keep their value; C1 is cleared
 * where nothing else is said of it.
 */
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/x87.h"

/* ---- arithmetic ---- */
/* ST(dst) = ST(dst) op ST(src). */
static void arith_reg(struct cpu *cpu, const struct op *op, x87_host_fn fn, bool pop)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg r, s;

	if (unlikely(x87_empty(f, op->r0) || x87_empty(f, op->r1))) {
		if (!x87_stack_fault(f, op, false))
			return;
		r = x87_default_nan;
	} else {
		r = x87_get(f, op->r0);
		s = x87_get(f, op->r1);
		if (!x87_take(f, op, fn(f->cw, &r, &s), 0))
			return;
	}
	x87_set(f, op->r0, r);
	if (pop)
		x87_pop(f);
}

/* ST(0) = ST(0) op memory. */
static void arith_mem(struct cpu *cpu, const struct op *op, x87_host_fn fn, const void *src)
{
	struct fpu_state *f = &cpu->fpu;
	struct x87_reg r;

	x87_note(cpu, op);
	if (!x87_need1(f, op))
		return;
	r = x87_get(f, 0);
	if (x87_take(f, op, fn(f->cw, &r, src), 0))
		x87_set(f, 0, r);
}

#define ARITH_MEM(name, insn, type, bits)                                \
	X87_HOST_MEM(host_##name, insn " %[m]", type)                    \
	static void name(struct cpu *cpu, const struct op *op)           \
	{                                                                \
		uint##bits##_t v;                                        \
                                                                         \
		x87_check(cpu);                                          \
		v = mem_ld##bits(cpu, op_lin(cpu, op, bits / 8, false)); \
		arith_mem(cpu, op, host_##name, &v);                     \
		OP_NEXT;                                                 \
	}

#define ARITH(name, iname)                                           \
	X87_HOST_REG(host_##name, #name " %%st(1), %%st")            \
	static void name##_reg(struct cpu *cpu, const struct op *op) \
	{                                                            \
		arith_reg(cpu, op, host_##name, false);              \
		OP_NEXT;                                             \
	}                                                            \
	static void name##_pop(struct cpu *cpu, const struct op *op) \
	{                                                            \
		arith_reg(cpu, op, host_##name, true);               \
		OP_NEXT;                                             \
	}                                                            \
	ARITH_MEM(name##_m32, #name "s", float, 32)                  \
	ARITH_MEM(name##_m64, #name "l", double, 64)                 \
	ARITH_MEM(name##_i16, #iname "s", int16_t, 16)               \
	ARITH_MEM(name##_i32, #iname "l", int32_t, 32)               \
	static const struct x87_forms name##_forms = {               \
		.reg = name##_reg,                                   \
		.m32 = name##_m32,                                   \
		.m64 = name##_m64,                                   \
	};                                                           \
	static const struct x87_forms name##_int_forms = {           \
		.m16 = name##_i16,                                   \
		.m32 = name##_i32,                                   \
	};

ARITH(fadd, fiadd)
ARITH(fsub, fisub)
ARITH(fsubr, fisubr)
ARITH(fmul, fimul)
ARITH(fdiv, fidiv)
ARITH(fdivr, fidivr)

/* ---- ST(0) = op ST(0) ---- */
static void unary(struct cpu *cpu, const struct op *op, x87_host_fn fn)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg r;

	if (!x87_need1(f, op))
		return;
	r = x87_get(f, 0);
	if (x87_take(f, op, fn(f->cw, &r, &r), 0))
		x87_set(f, 0, r);
}

X87_HOST_MEM(host_fsqrt, "fsqrt", struct x87_reg)
X87_HOST_MEM(host_frndint, "frndint", struct x87_reg)
X87_HOST_REG(host_fscale, "fscale")

static void fsqrt(struct cpu *cpu, const struct op *op)
{
	unary(cpu, op, host_fsqrt);
	OP_NEXT;
}

static void frndint(struct cpu *cpu, const struct op *op)
{
	unary(cpu, op, host_frndint);
	OP_NEXT;
}

static void fscale(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg r, s;

	if (x87_empty(f, 0) || x87_empty(f, 1)) {
		if (x87_stack_fault(f, op, false))
			x87_set(f, 0, x87_default_nan);
		OP_NEXT;
	}
	r = x87_get(f, 0);
	s = x87_get(f, 1);
	if (x87_take(f, op, host_fscale(f->cw, &r, &s), 0))
		x87_set(f, 0, r);
	OP_NEXT;
}

/* Sign changes are not arithmetic: no exception but a stack fault, any operand. */
static void fchs(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	if (x87_need1(f, op)) {
		x87_clear_c1(f);
		f->reg[x87_phys(f, 0)].exp ^= 0x8000;
	}
	OP_NEXT;
}

static void fabs_st0(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	if (x87_need1(f, op)) {
		x87_clear_c1(f);
		f->reg[x87_phys(f, 0)].exp &= 0x7fff;
	}
	OP_NEXT;
}

/* ---- comparisons: condition codes of the host, for FCOMI turned into flags ---- */
X87_HOST_REG(host_fcom, "fcom %%st(1)")
X87_HOST_REG(host_fucom, "fucom %%st(1)")
X87_HOST_MEM(host_fcom_m32, "fcoms %[m]", float)
X87_HOST_MEM(host_fcom_m64, "fcoml %[m]", double)
X87_HOST_MEM(host_ficom_m16, "ficoms %[m]", int16_t)
X87_HOST_MEM(host_ficom_m32, "ficoml %[m]", int32_t)
X87_HOST_MEM(host_ftst, "ftst", struct x87_reg)

#define X87_UNORDERED (X87_C0 | X87_C2 | X87_C3)

/*
 * Compares ST(0) with *src (NULL: an empty register) and sets C3, C2, C0: to "unordered" for every
 * invalid operand. SDM vol. 2, FCOM, has an unmasked one leave them alone; Intel's and AMD's cores
 * do not. False when an unmasked exception came up, so that nothing is popped.
 */
static bool compare(struct fpu_state *f, const struct op *op, x87_host_fn fn, const void *src)
{
	struct x87_reg r = x87_get(f, 0);
	uint16_t sw;

	if (unlikely(!src || x87_empty(f, 0))) {
		bool masked = x87_stack_fault(f, op, false);

		f->sw |= X87_UNORDERED;
		return masked;
	}
	sw = fn(f->cw, &r, src);
	x87_raise(f, op, sw & X87_FLAGS);
	f->sw = (uint16_t)((f->sw & ~X87_CC) | (sw & X87_IE ? X87_UNORDERED : sw & X87_UNORDERED));
	return !(sw & ~f->cw & (X87_IE | X87_DE));
}

static void compare_reg(struct cpu *cpu, const struct op *op, x87_host_fn fn, unsigned i,
			unsigned pops)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg s = x87_get(f, i);

	if (!compare(f, op, fn, x87_empty(f, i) ? NULL : &s))
		return;
	while (pops--)
		x87_pop(f);
}

static void compare_mem(struct cpu *cpu, const struct op *op, x87_host_fn fn, const void *src,
			bool pop)
{
	x87_note(cpu, op);
	if (compare(&cpu->fpu, op, fn, src) && pop)
		x87_pop(&cpu->fpu);
}

#define COMPARE_REG(name, fn, i, pops)                         \
	static void name(struct cpu *cpu, const struct op *op) \
	{                                                      \
		compare_reg(cpu, op, fn, i, pops);             \
		OP_NEXT;                                       \
	}

#define COMPARE_MEM(name, fn, bits, pop)                                 \
	static void name(struct cpu *cpu, const struct op *op)           \
	{                                                                \
		uint##bits##_t v;                                        \
                                                                         \
		x87_check(cpu);                                          \
		v = mem_ld##bits(cpu, op_lin(cpu, op, bits / 8, false)); \
		compare_mem(cpu, op, fn, &v, pop);                       \
		OP_NEXT;                                                 \
	}

COMPARE_REG(fcom_reg, host_fcom, op->r0, 0)
COMPARE_REG(fcomp_reg, host_fcom, op->r0, 1)
COMPARE_REG(fcompp, host_fcom, 1, 2)
COMPARE_REG(fucom, host_fucom, op->r0, 0)
COMPARE_REG(fucomp, host_fucom, op->r1, 1) /* the one form that Zydis gives ST(0) as an operand */
COMPARE_REG(fucompp, host_fucom, 1, 2)
COMPARE_REG(ftst, host_ftst, 0, 0)
COMPARE_MEM(fcom_m32, host_fcom_m32, 32, false)
COMPARE_MEM(fcom_m64, host_fcom_m64, 64, false)
COMPARE_MEM(fcomp_m32, host_fcom_m32, 32, true)
COMPARE_MEM(fcomp_m64, host_fcom_m64, 64, true)
COMPARE_MEM(ficom_m16, host_ficom_m16, 16, false)
COMPARE_MEM(ficom_m32, host_ficom_m32, 32, false)
COMPARE_MEM(ficomp_m16, host_ficom_m16, 16, true)
COMPARE_MEM(ficomp_m32, host_ficom_m32, 32, true)

static const struct x87_forms fcom_forms = { .reg = fcom_reg, .m32 = fcom_m32, .m64 = fcom_m64 };
static const struct x87_forms fcomp_forms = { .reg = fcomp_reg,
					      .m32 = fcomp_m32,
					      .m64 = fcomp_m64 };
static const struct x87_forms ficom_forms = { .m16 = ficom_m16, .m32 = ficom_m32 };
static const struct x87_forms ficomp_forms = { .m16 = ficomp_m16, .m32 = ficomp_m32 };

/*
 * FCOMI and the like: the result goes to ZF, PF, CF; OF, SF and AF are cleared; the condition codes
 * stay, but for C1 after a stack fault.
 */
static void compare_flags(struct cpu *cpu, const struct op *op, x87_host_fn fn, bool pop)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg s = x87_get(f, op->r1);
	bool full = !x87_empty(f, 0) && !x87_empty(f, op->r1), done;
	uint16_t keep = full ? X87_CC : X87_UNORDERED, before = f->sw, cc;

	done = compare(f, op, fn, full ? &s : NULL);
	cc = f->sw;
	f->sw = (uint16_t)((cc & ~keep) | (before & keep));
	flags_set_arith(cpu, (cc & X87_C3 ? FL_ZF : 0) | (cc & X87_C2 ? FL_PF : 0) |
				     (cc & X87_C0 ? FL_CF : 0));
	if (done && pop)
		x87_pop(f);
}

#define COMPARE_FLAGS(name, fn, pop)                           \
	static void name(struct cpu *cpu, const struct op *op) \
	{                                                      \
		compare_flags(cpu, op, fn, pop);               \
		OP_NEXT;                                       \
	}

COMPARE_FLAGS(fcomi, host_fcom, false)
COMPARE_FLAGS(fcomip, host_fcom, true)
COMPARE_FLAGS(fucomi, host_fucom, false)
COMPARE_FLAGS(fucomip, host_fucom, true)

/* FXAM: class in C3, C2, C0 and sign in C1; never an exception. */
static void fxam(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg v = x87_get(f, 0);
	unsigned cc;

	if (x87_empty(f, 0))
		cc = X87_C3 | X87_C0;
	else if (x87_unsupported(v))
		cc = 0;
	else if (x87_exp(v) == X87_EXP_MAX)
		cc = X87_C0 | (x87_is_inf(v) ? X87_C2 : 0);
	else if (x87_exp(v) == 0)
		cc = X87_C3 | (v.mant ? X87_C2 : 0);
	else
		cc = X87_C2;
	if (x87_sign(v))
		cc |= X87_C1;
	f->sw = (uint16_t)((f->sw & ~X87_CC) | cc);
	OP_NEXT;
}

/* ---- moves inside the stack ---- */
static void fld_reg(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	if (x87_empty(f, op->r0)) {
		if (x87_stack_fault(f, op, false))
			x87_push(f, x87_default_nan);
		OP_NEXT;
	}
	x87_load(f, op, x87_get(f, op->r0));
	OP_NEXT;
}

static void fst_to(struct cpu *cpu, const struct op *op, bool pop)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg v = x87_get(f, 0);

	if (x87_empty(f, 0)) {
		if (!x87_stack_fault(f, op, false))
			return;
		v = x87_default_nan;
	} else {
		x87_clear_c1(f);
	}
	x87_set(f, op->r0, v);
	if (pop)
		x87_pop(f);
}

static void fst_reg(struct cpu *cpu, const struct op *op)
{
	fst_to(cpu, op, false);
	OP_NEXT;
}

static void fstp_reg(struct cpu *cpu, const struct op *op)
{
	fst_to(cpu, op, true);
	OP_NEXT;
}

/* FSTP ST(i) in an encoding of its own, which only pops when ST(0) is empty. */
static void fstpnce(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	x87_clear_c1(f);
	if (!x87_empty(f, 0))
		x87_set(f, op->r0, x87_get(f, 0));
	x87_pop(f);
	OP_NEXT;
}

static void fxch(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg a = x87_get(f, 0), b = x87_get(f, op->r0);

	x87_clear_c1(f);
	if (x87_empty(f, 0) || x87_empty(f, op->r0)) {
		if (!x87_stack_fault(f, op, false))
			OP_NEXT;
		a = x87_empty(f, 0) ? x87_default_nan : a;
		b = x87_empty(f, op->r0) ? x87_default_nan : b;
	}
	x87_set(f, 0, b);
	x87_set(f, op->r0, a);
	OP_NEXT;
}

/* op->cc: condition code as in Jcc. */
static void fcmov(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	if (x87_empty(f, 0) || x87_empty(f, op->r1)) {
		if (x87_stack_fault(f, op, false))
			x87_set(f, 0, x87_default_nan);
	} else if (flags_cond(cpu, op->cc)) {
		x87_set(f, 0, x87_get(f, op->r1));
	}
	OP_NEXT;
}

static bool fcmov_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->cc = (uint8_t)arg;
	return x87_bind_one(d, op, (uintptr_t)fcmov);
}

/* ---- binding; the memory forms of loads and stores are in x87_mem.c ---- */
static const struct x87_forms fld_forms = { .reg = fld_reg };
static const struct x87_forms fst_forms = { .reg = fst_reg };
static const struct x87_forms fstp_forms = { .reg = fstp_reg };

/* Sets op->extra to the x87 opcode; every binder of a non-control instruction calls it. */
static void x87_set_opcode(const struct decoded *d, struct op *op)
{
	op->extra = (uint16_t)((d->ins.opcode & 7) << 8 | d->ins.raw.modrm.mod << 6 |
			       d->ins.raw.modrm.reg << 3 | d->ins.raw.modrm.rm);
}

bool x87_bind_one(const struct decoded *d, struct op *op, uintptr_t arg)
{
	x87_set_opcode(d, op);
	op->fn = (op_fn)arg;
	return true;
}

bool x87_bind_forms(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct x87_forms *f = (const struct x87_forms *)arg;

	if (!opnd_is_mem(d, 0))
		op->fn = f->reg;
	else if (d->opnd[0].size == 16)
		op->fn = f->m16;
	else if (d->opnd[0].size == 32)
		op->fn = f->m32;
	else
		op->fn = d->opnd[0].size == 64 ? f->m64 : f->m80;
	x87_set_opcode(d, op);
	return op->fn != NULL;
}

#define ROWS_ARITH(F, f) ROW_X87_FORMS(F, f##_forms), ROW_X87(F##P, f##_pop)
#define ROW_FCMOV(mnem, cc)                           \
	{                                             \
		ZYDIS_MNEMONIC_##mnem, fcmov_bind, cc \
	}

static const struct binding x87_rows[] = {
	ROWS_ARITH(FADD, fadd),
	ROWS_ARITH(FSUB, fsub),
	ROWS_ARITH(FSUBR, fsubr),
	ROWS_ARITH(FMUL, fmul),
	ROWS_ARITH(FDIV, fdiv),
	ROWS_ARITH(FDIVR, fdivr),
	ROW_X87_FORMS(FIADD, fadd_int_forms),
	ROW_X87_FORMS(FISUB, fsub_int_forms),
	ROW_X87_FORMS(FISUBR, fsubr_int_forms),
	ROW_X87_FORMS(FIMUL, fmul_int_forms),
	ROW_X87_FORMS(FIDIV, fdiv_int_forms),
	ROW_X87_FORMS(FIDIVR, fdivr_int_forms),
	ROW_X87(FSQRT, fsqrt),
	ROW_X87(FRNDINT, frndint),
	ROW_X87(FSCALE, fscale),
	ROW_X87(FCHS, fchs),
	ROW_X87(FABS, fabs_st0),
	ROW_X87_FORMS(FCOM, fcom_forms),
	ROW_X87_FORMS(FCOMP, fcomp_forms),
	ROW_X87(FCOMPP, fcompp),
	ROW_X87(FUCOM, fucom),
	ROW_X87(FUCOMP, fucomp),
	ROW_X87(FUCOMPP, fucompp),
	ROW_X87(FTST, ftst),
	ROW_X87_FORMS(FICOM, ficom_forms),
	ROW_X87_FORMS(FICOMP, ficomp_forms),
	ROW_X87(FCOMI, fcomi),
	ROW_X87(FCOMIP, fcomip),
	ROW_X87(FUCOMI, fucomi),
	ROW_X87(FUCOMIP, fucomip),
	ROW_X87(FXAM, fxam),
	ROW_X87_FORMS(FLD, fld_forms),
	ROW_X87_FORMS(FST, fst_forms),
	ROW_X87_FORMS(FSTP, fstp_forms),
	ROW_X87(FSTPNCE, fstpnce),
	ROW_X87(FXCH, fxch),
	ROW_FCMOV(FCMOVB, 0x2),
	ROW_FCMOV(FCMOVE, 0x4),
	ROW_FCMOV(FCMOVBE, 0x6),
	ROW_FCMOV(FCMOVU, 0xa),
	ROW_FCMOV(FCMOVNB, 0x3),
	ROW_FCMOV(FCMOVNE, 0x5),
	ROW_FCMOV(FCMOVNBE, 0x7),
	ROW_FCMOV(FCMOVNU, 0xb),
};

BINDINGS(x87);
