// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * State of x87, MMX and SSE as a whole: reset, images, FXSAVE and XSAVE, MXCSR, and what happens
 * when a unit may not be used or an SSE operation raised an exception.
 *
 * XSAVE and XRSTOR know the components x87 (bit 0) and SSE (bit 1) in the standard format; the
 * modified forms (XSAVEOPT, XSAVEC, XSAVES) are not offered. The init optimisation is not done:
 * XINUSE reads as all ones, so XSAVE stores every requested component and sets its bit in
 * XSTATE_BV. XRSTOR puts a component whose bit is clear into its initial state. MXCSR belongs to
 * SSE, and XRSTOR loads it from memory whatever XSTATE_BV says (SDM vol. 1, 13.8.1).
 *
 * FXSAVE and FXRSTOR treat XMM registers and MXCSR also while CR4.OSFXSR is 0, which the SDM leaves
 * open.
 */
#include <errno.h>

#include "hypervisor/soft/fpu.h"

#define XSTATE_X87	1u
#define XSTATE_SSE	2u
#define FXSAVE_SIZE	512u
#define XSAVE_SIZE	576u
#define XSAVE_HEADER	512u
#define XCOMP_COMPACTED (1ull << 63)
#define OFF_FIP		8u
#define OFF_FDP		16u
#define OFF_MXCSR	24u
#define OFF_MXCSR_MASK	28u
#define OFF_ST		32u
#define OFF_XMM		160u

/* ---- faults ---- */
void sse_unavailable(struct cpu *cpu)
{
	if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR))
		cpu_raise(cpu, VEC_UD, 0);
	cpu_raise(cpu, VEC_NM, 0);
}

void mmx_unavailable(struct cpu *cpu)
{
	if (cpu->cr0 & CR0_EM)
		cpu_raise(cpu, VEC_UD, 0);
	cpu_raise(cpu, cpu->cr0 & CR0_TS ? VEC_NM : VEC_MF, 0);
}

/* CR0.NE = 0 would signal through FERR# and the interrupt controller; it is treated as NE = 1. */
void x87_unavailable(struct cpu *cpu)
{
	cpu_raise(cpu, cpu->cr0 & (CR0_EM | CR0_TS) ? VEC_NM : VEC_MF, 0);
}

/* ---- SSE exceptions ---- */
uint32_t fp_trapping_control(uint32_t mxcsr)
{
	uint32_t want = (mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS;

	/* Flushing to zero happens only while underflow is masked (SDM vol. 1, 10.2.3.3). */
	return mxcsr & MXCSR_UM ? want : want & ~MXCSR_FTZ;
}

static bool tiny32(const union xmm *v, unsigned i)
{
	return !(v->u32[i] & 0x7f800000u) && (v->u32[i] & 0x7fffffu);
}

static bool tiny64(const union xmm *v, unsigned i)
{
	return !(v->u64[i] & 0x7ff0000000000000ull) && (v->u64[i] & 0xfffffffffffffull);
}

static bool has_tiny(__m128i result, enum fp_kind kind)
{
	union xmm v = xmm_of(result);

	switch (kind) {
	case FP_PS:
		return tiny32(&v, 0) || tiny32(&v, 1) || tiny32(&v, 2) || tiny32(&v, 3);
	case FP_SS:
		return tiny32(&v, 0);
	case FP_PD:
		return tiny64(&v, 0) || tiny64(&v, 1);
	case FP_SD:
		return tiny64(&v, 0);
	default:
		return false;
	}
}

void fp_raised(struct cpu *cpu, uint32_t raised, __m128i result, enum fp_kind kind,
	       const struct fp_again *x)
{
	const uint32_t before = MXCSR_IE | MXCSR_DE | MXCSR_ZE;
	uint32_t unmasked = ~(cpu->fpu.mxcsr >> 7) & MXCSR_FLAGS;

	/*
	 * Masked underflow is signalled for inexact tiny results only, the trap for all (SDM vol.
	 * 1, 4.9.1.5).
	 */
	if ((unmasked & MXCSR_UE) && has_tiny(result, kind))
		raised |= MXCSR_UE;
	if (x && (raised & unmasked & (MXCSR_OE | MXCSR_UE)))
		raised = (raised & ~MXCSR_PE) | fp_precision(cpu, kind, x);
	/*
	 * A pre-computation exception that is not masked ends the operation before the others
	 * arise.
	 */
	if (raised & unmasked & before)
		raised &= before;
	cpu->fpu.mxcsr |= raised;
	if (raised & unmasked)
		cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD, 0);
}

/* ---- binders ---- */
bool simd_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct simd_forms *f = (const struct simd_forms *)arg;
	bool mem = opnd_is_mem(d, 1);

	if (opnd_is_xmm(d, 0))
		op->fn = mem ? f->xm : f->xr;
	else if (opnd_is_mmx(d, 0))
		op->fn = mem ? f->mm : f->mr;
	else
		op->fn = NULL;
	return op->fn != NULL;
}

bool fpu_bind_one(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = (op_fn)arg;
	return true;
}

/* ---- images ---- */
static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* Everything but XMM registers, into an image of zeros; wide: the form with 64-bit pointers. */
static void image_put_x87(const struct fpu_state *f, uint8_t *image, bool wide)
{
	unsigned top = (f->sw >> 11) & 7;

	put16(image, f->cw);
	put16(image + 2, f->sw);
	image[4] = f->tag;
	put16(image + 6, f->fop);
	if (wide) {
		put64(image + OFF_FIP, f->fip);
		put64(image + OFF_FDP, f->fdp);
	} else {
		put32(image + OFF_FIP, (uint32_t)f->fip);
		put32(image + OFF_FDP, (uint32_t)f->fdp);
	}
	put32(image + OFF_MXCSR, f->mxcsr);
	put32(image + OFF_MXCSR_MASK, MXCSR_VALID);
	for (unsigned i = 0; i < 8; i++) {
		put64(image + OFF_ST + 16 * i, f->reg[(top + i) & 7].mant);
		put16(image + OFF_ST + 16 * i + 8, f->reg[(top + i) & 7].exp);
	}
}

static void image_get_x87(struct fpu_state *f, const uint8_t *image, bool wide)
{
	unsigned top;

	f->cw = (get16(image) & 0x1f3f) | 0x40;
	f->sw = get16(image + 2);
	f->tag = image[4];
	f->fop = get16(image + 6) & 0x7ff;
	f->fip = wide ? get64(image + OFF_FIP) : get32(image + OFF_FIP);
	f->fdp = wide ? get64(image + OFF_FDP) : get32(image + OFF_FDP);
	top = (f->sw >> 11) & 7;
	for (unsigned i = 0; i < 8; i++) {
		f->reg[(top + i) & 7].mant = get64(image + OFF_ST + 16 * i);
		f->reg[(top + i) & 7].exp = get16(image + OFF_ST + 16 * i + 8);
	}
	x87_update_summary(f);
}

void fpu_to_fxsave(const struct fpu_state *f, uint8_t image[512])
{
	memset(image, 0, FXSAVE_SIZE);
	image_put_x87(f, image, true);
	memcpy(image + OFF_XMM, f->xmm, sizeof(f->xmm));
}

int fpu_from_fxsave(struct fpu_state *f, const uint8_t image[512])
{
	if (get32(image + OFF_MXCSR) & ~MXCSR_VALID)
		return -EINVAL;
	memset(f, 0, sizeof(*f));
	image_get_x87(f, image, true);
	f->mxcsr = get32(image + OFF_MXCSR);
	memcpy(f->xmm, image + OFF_XMM, sizeof(f->xmm));
	return 0;
}

/* ---- FXSAVE, FXRSTOR ---- */
/* The whole area is accessed before anything is done: its last byte, then the start. */
static void probe_area(struct cpu *cpu, uint64_t lin, unsigned size)
{
	mem_probe_write(cpu, lin + size - 1, 1);
	for (unsigned i = 0; i < size; i += 16)
		mem_probe_write(cpu, lin + i, 16);
}

/* Outside of 64-bit mode XMM8 to XMM15 are neither stored nor loaded. */
static unsigned xmm_end(const struct cpu *cpu)
{
	return OFF_XMM + 16 * ((cpu->mode & MODE_SIZE) == MODE_64 ? 16 : 8);
}

static void store_pieces(struct cpu *cpu, uint64_t lin, const uint8_t *image, unsigned from,
			 unsigned to)
{
	for (unsigned i = from; i < to; i += 16)
		mem_st128(cpu, lin + i, image + i);
}

static void load_pieces(struct cpu *cpu, uint64_t lin, uint8_t *image, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i += 16)
		mem_ld128(cpu, lin + i, image + i);
}

static uint64_t area_lin(struct cpu *cpu, const struct op *op, unsigned size, unsigned align,
			 bool write)
{
	uint64_t lin = op_lin(cpu, op, size, write);

	mem_check_alignment(cpu, lin, 4);
	if (lin & (align - 1))
		cpu_raise(cpu, VEC_GP, 0);
	return lin;
}

static void fxsave(struct cpu *cpu, const struct op *op)
{
	uint8_t image[FXSAVE_SIZE] = { 0 };
	uint64_t lin;

	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, VEC_NM, 0);
	lin = area_lin(cpu, op, FXSAVE_SIZE, 16, true);
	image_put_x87(&cpu->fpu, image, op->extra);
	memcpy(image + OFF_XMM, cpu->fpu.xmm, sizeof(cpu->fpu.xmm));
	probe_area(cpu, lin, FXSAVE_SIZE);
	store_pieces(cpu, lin, image, 0, xmm_end(cpu));
	OP_NEXT;
}

static void fxrstor(struct cpu *cpu, const struct op *op)
{
	uint8_t image[FXSAVE_SIZE];
	unsigned end = xmm_end(cpu);
	uint64_t lin;

	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, VEC_NM, 0);
	lin = area_lin(cpu, op, FXSAVE_SIZE, 16, false);
	mem_probe_read(cpu, lin + FXSAVE_SIZE - 1, 1);
	load_pieces(cpu, lin, image, 0, end);
	if (get32(image + OFF_MXCSR) & ~MXCSR_VALID)
		cpu_raise(cpu, VEC_GP, 0);
	image_get_x87(&cpu->fpu, image, op->extra);
	cpu->fpu.mxcsr = get32(image + OFF_MXCSR);
	memcpy(cpu->fpu.xmm, image + OFF_XMM, end - OFF_XMM);
	OP_NEXT;
}

/* ---- XSAVE, XRSTOR ---- */
static void xsave_check(struct cpu *cpu)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		cpu_raise(cpu, VEC_UD, 0);
	if (cpu->cr0 & CR0_TS)
		cpu_raise(cpu, VEC_NM, 0);
}

/* Requested-feature bitmap: EDX:EAX and XCR0. */
static uint64_t xsave_rfbm(const struct cpu *cpu)
{
	return ((uint64_t)(uint32_t)cpu->gpr[R_RDX] << 32 | (uint32_t)cpu->gpr[R_RAX]) & cpu->xcr0;
}

static void xsave(struct cpu *cpu, const struct op *op)
{
	uint8_t image[FXSAVE_SIZE] = { 0 };
	uint64_t lin, rfbm, bv;

	xsave_check(cpu);
	lin = area_lin(cpu, op, XSAVE_SIZE, 64, true);
	rfbm = xsave_rfbm(cpu);
	probe_area(cpu, lin, XSAVE_SIZE);
	bv = mem_ldw64(cpu, lin + XSAVE_HEADER);
	image_put_x87(&cpu->fpu, image, op->extra);
	if (rfbm & XSTATE_X87) {
		store_pieces(cpu, lin, image, 0, 16);
		mem_st64(cpu, lin + OFF_FDP, get64(image + OFF_FDP));
		store_pieces(cpu, lin, image, OFF_ST, OFF_XMM);
	}
	if (rfbm & XSTATE_SSE) {
		memcpy(image + OFF_XMM, cpu->fpu.xmm, sizeof(cpu->fpu.xmm));
		mem_st64(cpu, lin + OFF_MXCSR, get64(image + OFF_MXCSR));
		store_pieces(cpu, lin, image, OFF_XMM, xmm_end(cpu));
	}
	mem_st64(cpu, lin + XSAVE_HEADER, bv | rfbm);
	OP_NEXT;
}

/*
 * Checks the header of an XSAVE area (SDM vol. 1, 13.8) and returns XSTATE_BV. Page faults show in
 * which order: XCOMP_BV is read first, and the compacted format, which is not offered, is refused
 * at once; the start of the area is accessed before anything else is checked.
 */
static uint64_t xrstor_header(struct cpu *cpu, uint64_t lin)
{
	uint64_t xcomp_bv = mem_ld64(cpu, lin + XSAVE_HEADER + 8), bv;

	bv = mem_ld64(cpu, lin + XSAVE_HEADER);
	if (!(xcomp_bv & XCOMP_COMPACTED))
		mem_probe_read(cpu, lin, 8);
	if ((bv & ~cpu->xcr0) || xcomp_bv || mem_ld64(cpu, lin + XSAVE_HEADER + 16))
		cpu_raise(cpu, VEC_GP, 0);
	return bv;
}

static void x87_init_all(struct fpu_state *f)
{
	memset(f->reg, 0, sizeof(f->reg));
	f->cw = X87_CW_RESET;
	f->sw = 0;
	f->tag = 0;
	f->fop = 0;
	f->fip = f->fdp = 0;
}

static void xrstor(struct cpu *cpu, const struct op *op)
{
	uint8_t image[FXSAVE_SIZE] = { 0 };
	unsigned end = xmm_end(cpu);
	uint64_t lin, rfbm, bv;

	xsave_check(cpu);
	lin = area_lin(cpu, op, XSAVE_SIZE, 64, false);
	rfbm = xsave_rfbm(cpu);
	bv = xrstor_header(cpu, lin);
	if (rfbm & (XSTATE_X87 | XSTATE_SSE))
		load_pieces(cpu, lin, image, 0, rfbm & bv & XSTATE_X87 ? OFF_XMM : OFF_ST);
	if (rfbm & bv & XSTATE_SSE)
		load_pieces(cpu, lin, image, OFF_XMM, end);
	if ((rfbm & XSTATE_SSE) && (get32(image + OFF_MXCSR) & ~MXCSR_VALID))
		cpu_raise(cpu, VEC_GP, 0);

	if (rfbm & bv & XSTATE_X87)
		image_get_x87(&cpu->fpu, image, op->extra);
	else if (rfbm & XSTATE_X87)
		x87_init_all(&cpu->fpu);
	if (rfbm & XSTATE_SSE) {
		cpu->fpu.mxcsr = get32(image + OFF_MXCSR);
		memcpy(cpu->fpu.xmm, image + OFF_XMM,
		       end - OFF_XMM); /* zeros when not in XSTATE_BV */
	}
	OP_NEXT;
}

/* arg: handler; extra tells it the form with 64-bit pointers. */
static bool bind_narrow(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->extra = 0;
	return fpu_bind_one(d, op, arg);
}

static bool bind_wide(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->extra = 1;
	return fpu_bind_one(d, op, arg);
}

/* ---- MXCSR, EMMS ---- */
static void ldmxcsr(struct cpu *cpu, const struct op *op)
{
	uint32_t v;

	sse_check(cpu);
	v = mem_ld32(cpu, op_lin(cpu, op, 4, false));
	if (v & ~MXCSR_VALID)
		cpu_raise(cpu, VEC_GP, 0);
	cpu->fpu.mxcsr = v;
	OP_NEXT;
}

static void stmxcsr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st32(cpu, op_lin(cpu, op, 4, true), cpu->fpu.mxcsr);
	OP_NEXT;
}

static void emms(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	cpu->fpu.tag = 0;
	OP_NEXT;
}

static const struct binding fpu_state_rows[] = {
	{ ZYDIS_MNEMONIC_FXSAVE, bind_narrow, (uintptr_t)fxsave },
	{ ZYDIS_MNEMONIC_FXSAVE64, bind_wide, (uintptr_t)fxsave },
	{ ZYDIS_MNEMONIC_FXRSTOR, bind_narrow, (uintptr_t)fxrstor },
	{ ZYDIS_MNEMONIC_FXRSTOR64, bind_wide, (uintptr_t)fxrstor },
	{ ZYDIS_MNEMONIC_XSAVE, bind_narrow, (uintptr_t)xsave },
	{ ZYDIS_MNEMONIC_XSAVE64, bind_wide, (uintptr_t)xsave },
	{ ZYDIS_MNEMONIC_XRSTOR, bind_narrow, (uintptr_t)xrstor },
	{ ZYDIS_MNEMONIC_XRSTOR64, bind_wide, (uintptr_t)xrstor },
	ROW_ONE(LDMXCSR, ldmxcsr),
	ROW_ONE(STMXCSR, stmxcsr),
	ROW_ONE(EMMS, emms),
};

BINDINGS(fpu_state);
