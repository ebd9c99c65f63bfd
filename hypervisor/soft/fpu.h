/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Common parts of the floating-point and SIMD files: availability checks, operand access, the
 * shapes of bindings, and the bracket around every operation that runs on the host's SSE unit.
 */
#ifndef SOFT_FPU_H
#define SOFT_FPU_H

#include <emmintrin.h>

#include "hypervisor/soft/cpu.h"
#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/mem.h"

/* ---- MXCSR (SDM vol. 1, 10.2.3) ---- */
#define MXCSR_IE      (1u << 0)
#define MXCSR_DE      (1u << 1)
#define MXCSR_ZE      (1u << 2)
#define MXCSR_OE      (1u << 3)
#define MXCSR_UE      (1u << 4)
#define MXCSR_PE      (1u << 5)
#define MXCSR_FLAGS   0x3fu
#define MXCSR_DAZ     (1u << 6)
#define MXCSR_MASKS   0x1f80u
#define MXCSR_UM      (1u << 11)
#define MXCSR_RC      (3u << 13)
#define MXCSR_FTZ     (1u << 15)
#define MXCSR_CONTROL (MXCSR_DAZ | MXCSR_RC | MXCSR_FTZ)
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_VALID   0xffffu /* also what FXSAVE shows as MXCSR_MASK */

/* ---- x87 control and status words (SDM vol. 1, 8.1.3 and 8.1.5) ---- */
#define X87_IE	     (1u << 0)
#define X87_DE	     (1u << 1)
#define X87_ZE	     (1u << 2)
#define X87_OE	     (1u << 3)
#define X87_UE	     (1u << 4)
#define X87_PE	     (1u << 5)
#define X87_FLAGS    0x3fu
#define X87_SF	     (1u << 6)
#define X87_ES	     (1u << 7)
#define X87_C0	     (1u << 8)
#define X87_C1	     (1u << 9)
#define X87_C2	     (1u << 10)
#define X87_TOP	     (7u << 11)
#define X87_C3	     (1u << 14)
#define X87_B	     (1u << 15)
#define X87_CC	     (X87_C0 | X87_C1 | X87_C2 | X87_C3)
#define X87_CW_RC    (3u << 10)
#define X87_CW_RESET 0x37fu
#define X87_CW_INIT  0x040u /* after RESET, before FNINIT */

/* fpu_state.c; they raise the fault that says why the unit cannot be used now. */
_Noreturn void sse_unavailable(struct cpu *cpu);
_Noreturn void mmx_unavailable(struct cpu *cpu);
_Noreturn void x87_unavailable(struct cpu *cpu);

/* #UD or #NM for an instruction on XMM registers (SDM vol. 3, tables 2-21 and following). */
static inline void sse_check(struct cpu *cpu)
{
	if (unlikely(((cpu->cr0 & (CR0_EM | CR0_TS)) | (~cpu->cr4 & CR4_OSFXSR)) != 0))
		sse_unavailable(cpu);
}

/* #UD, #NM or #MF for an instruction on MMX registers. */
static inline void mmx_check(struct cpu *cpu)
{
	if (unlikely((cpu->cr0 & (CR0_EM | CR0_TS)) || (cpu->fpu.sw & X87_ES)))
		mmx_unavailable(cpu);
}

/* Every MMX instruction makes all registers valid (EMMS: empty) and TOP 0 (SDM vol. 3, 13.2). */
static inline void mmx_enter(struct cpu *cpu)
{
	cpu->fpu.sw &= (uint16_t)~X87_TOP;
	cpu->fpu.tag = 0xff;
}

static inline void mmx_set(struct cpu *cpu, unsigned i, uint64_t v)
{
	cpu->fpu.reg[i & 7].mant = v;
	cpu->fpu.reg[i & 7].exp = 0xffff;
}

static inline uint64_t mmx_get(const struct cpu *cpu, unsigned i)
{
	return cpu->fpu.reg[i & 7].mant;
}

/* ---- vectors ---- */
#define XMM(i) (*(__m128i *)&cpu->fpu.xmm[i])

static inline __m128i vec_of(union xmm v)
{
	return *(__m128i *)&v;
}

static inline union xmm xmm_of(__m128i v)
{
	union xmm u;

	*(__m128i *)&u = v;
	return u;
}

static inline __m128i vec_low(uint64_t v)
{
	return _mm_cvtsi64_si128((long long)v);
}

static inline uint64_t vec_low64(__m128i v)
{
	return (uint64_t)_mm_cvtsi128_si64(v);
}

/* Low 64 bits of lo, then low 64 bits of hi. */
static inline __m128i vec_pair(__m128i lo, __m128i hi)
{
	return _mm_unpacklo_epi64(lo, hi);
}

/* ---- memory operands ---- */
/* Linear address of a 16-byte operand that has to be aligned. */
static inline uint64_t sse_lin_aligned(struct cpu *cpu, const struct op *op, bool write)
{
	uint64_t lin = op_lin(cpu, op, 16, write);

	if (unlikely(lin & 15))
		cpu_raise(cpu, VEC_GP, 0);
	return lin;
}

static inline __m128i sse_ld_at(struct cpu *cpu, uint64_t lin)
{
	union xmm v;

	mem_ld128(cpu, lin, &v);
	return vec_of(v);
}

static inline __m128i sse_ld128a(struct cpu *cpu, const struct op *op)
{
	return sse_ld_at(cpu, sse_lin_aligned(cpu, op, false));
}

static inline __m128i sse_ld128u(struct cpu *cpu, const struct op *op)
{
	return sse_ld_at(cpu, op_lin(cpu, op, 16, false));
}

static inline __m128i sse_ld64(struct cpu *cpu, const struct op *op)
{
	return vec_low(mem_ld64(cpu, op_lin(cpu, op, 8, false)));
}

static inline __m128i sse_ld32(struct cpu *cpu, const struct op *op)
{
	return vec_low(mem_ld32(cpu, op_lin(cpu, op, 4, false)));
}

static inline __m128i sse_ld16(struct cpu *cpu, const struct op *op)
{
	return vec_low(mem_ld16(cpu, op_lin(cpu, op, 2, false)));
}

/* ---- SSE arithmetic on the host ---- */
/* Kind of result, for the underflow trap on exact tiny results. */
enum fp_kind { FP_NO_TINY, FP_PS, FP_SS, FP_PD, FP_SD };

/* Host MXCSR for a guest's one with an unmasked exception; fpu_state.c. */
uint32_t fp_trapping_control(uint32_t mxcsr);
/* The operation of each lane, for the precision flag: see sse_exact.c. */
enum fp_arith { FP_OTHER, FP_ADD, FP_SUB, FP_ADDSUB, FP_MUL, FP_DIV, FP_NARROW };

/* An operation that can overflow or underflow, to be done once more. */
struct fp_again {
	enum fp_arith arith;
	__m128i (*run)(__m128i a, __m128i b);
	__m128i a, b;
};

/* MXCSR_PE or 0, when overflow or underflow is unmasked and was raised. */
uint32_t fp_precision(const struct cpu *cpu, enum fp_kind kind, const struct fp_again *x);

/* Takes over what an operation raised; raises #XM or #UD when one is unmasked. x may be NULL. */
void fp_raised(struct cpu *cpu, uint32_t raised, __m128i result, enum fp_kind kind,
	       const struct fp_again *x);

/*
 * Puts the guest's rounding, DAZ and FTZ into the host's MXCSR with everything masked. The flags
 * that the guest has already set are loaded too, so that an operation that raises nothing new
 * leaves the register as it was and needs no further work. Outside of the bracket the host runs
 * with default controls; only sticky flags may stay behind.
 */
static inline uint32_t fp_begin_with(uint32_t want)
{
	uint32_t now;

	if (unlikely((want & MXCSR_MASKS) != MXCSR_MASKS))
		want = fp_trapping_control(want);
	__asm__ volatile("stmxcsr %0" : "=m"(now));
	if (now != want)
		__asm__ volatile("ldmxcsr %0" : : "m"(want));
	return want;
}

static inline uint32_t fp_begin(const struct cpu *cpu)
{
	return fp_begin_with(cpu->fpu.mxcsr);
}

/* Returns what the operation left in MXCSR; the host's is the default one again. */
static inline uint32_t fp_leave(uint32_t want)
{
	static const uint32_t plain = MXCSR_DEFAULT;
	uint32_t now;

	__asm__ volatile("stmxcsr %0" : "=m"(now));
	if (unlikely(want & MXCSR_CONTROL))
		__asm__ volatile("ldmxcsr %0" : : "m"(plain));
	return now;
}

static inline void fp_end(struct cpu *cpu, uint32_t want, __m128i result, enum fp_kind kind)
{
	uint32_t now = fp_leave(want);

	if (unlikely(now != want || !(cpu->fpu.mxcsr & MXCSR_UM)))
		fp_raised(cpu, now & MXCSR_FLAGS, result, kind, NULL);
}

/* Ends an operation that can overflow or underflow. */
static inline void fp_end_arith(struct cpu *cpu, uint32_t want, __m128i result, enum fp_kind kind,
				struct fp_again x)
{
	uint32_t now = fp_leave(want);

	if (unlikely(now != want || !(cpu->fpu.mxcsr & MXCSR_UM)))
		fp_raised(cpu, now & MXCSR_FLAGS, result, kind, x.arith ? &x : NULL);
}

/* ---- bindings ---- */
/* Handlers of a `dst, src` instruction: on XMM and on MMX registers, with a register and a memory
 * source. NULL: no such form. */
struct simd_forms {
	op_fn xr, xm, mr, mm;
};

/*
 * The handlers name_xr and name_xm of XMM(op->r0) = value, an expression of cpu, op and the source
 * s, which load(cpu, op) reads where it is in memory.
 */
#define XMM_HANDLERS(name, load, value)                             \
	static void name##_xr(struct cpu *cpu, const struct op *op) \
	{                                                           \
		__m128i s;                                          \
                                                                    \
		sse_check(cpu);                                     \
		s = XMM(op->r1);                                    \
		XMM(op->r0) = value;                                \
		OP_NEXT;                                            \
	}                                                           \
	static void name##_xm(struct cpu *cpu, const struct op *op) \
	{                                                           \
		__m128i s;                                          \
                                                                    \
		sse_check(cpu);                                     \
		s = load(cpu, op);                                  \
		XMM(op->r0) = value;                                \
		OP_NEXT;                                            \
	}

/* Makes these handlers, and the forms that a table of instructions needs. */
#define XMM_FORMS(name, load, value)    \
	XMM_HANDLERS(name, load, value) \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

/* arg: struct simd_forms. */
bool simd_bind(const struct decoded *d, struct op *op, uintptr_t arg);
/* arg: the handler; for instructions with a single form. */
bool fpu_bind_one(const struct decoded *d, struct op *op, uintptr_t arg);

#define ROW_SIMD(mnem, name)                                               \
	{                                                                  \
		ZYDIS_MNEMONIC_##mnem, simd_bind, (uintptr_t)&name##_forms \
	}
#define ROW_ONE(mnem, fn)                                            \
	{                                                            \
		ZYDIS_MNEMONIC_##mnem, fpu_bind_one, (uintptr_t)(fn) \
	}

static inline ZydisRegisterClass opnd_class(const struct decoded *d, unsigned i)
{
	return opnd_is_reg(d, i) ? ZydisRegisterGetClass(d->opnd[i].reg.value)
				 : ZYDIS_REGCLASS_INVALID;
}

static inline bool opnd_is_xmm(const struct decoded *d, unsigned i)
{
	return opnd_class(d, i) == ZYDIS_REGCLASS_XMM;
}

static inline bool opnd_is_mmx(const struct decoded *d, unsigned i)
{
	return opnd_class(d, i) == ZYDIS_REGCLASS_MMX;
}

#define BINDINGS(name)                                                    \
	const struct binding_table name##_bindings = {                    \
		name##_rows, sizeof(name##_rows) / sizeof(name##_rows[0]) \
	}

/* ---- x87.c ---- */
/* Recomputes ES and B from the flags and masks. */
static inline void x87_update_summary(struct fpu_state *f)
{
	f->sw &= (uint16_t) ~(X87_ES | X87_B);
	if (f->sw & ~f->cw & X87_FLAGS)
		f->sw |= X87_ES | X87_B;
}

/* #NM or #MF for a waiting x87 instruction. */
static inline void x87_check(struct cpu *cpu)
{
	if (unlikely((cpu->cr0 & (CR0_EM | CR0_TS)) || (cpu->fpu.sw & X87_ES)))
		x87_unavailable(cpu);
}

#endif
