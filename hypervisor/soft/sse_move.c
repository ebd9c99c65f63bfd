// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SSE moves: whole registers, parts of registers, to and from general registers, non-temporal and
 * masked stores. Non-temporal hints have no effect: memory is always coherent here.
 */
#include "hypervisor/soft/fpu.h"

/* ---- whole registers ---- */
static void mov128_rr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = XMM(op->r1);
	OP_NEXT;
}

static void mov128_load_aligned(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_ld128(cpu, sse_lin_aligned(cpu, op, false), &cpu->fpu.xmm[op->r0]);
	OP_NEXT;
}

static void mov128_load(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_ld128(cpu, op_lin(cpu, op, 16, false), &cpu->fpu.xmm[op->r0]);
	OP_NEXT;
}

static void mov128_store_aligned(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st128(cpu, sse_lin_aligned(cpu, op, true), &cpu->fpu.xmm[op->r1]);
	OP_NEXT;
}

static void mov128_store(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st128(cpu, op_lin(cpu, op, 16, true), &cpu->fpu.xmm[op->r1]);
	OP_NEXT;
}

/* ---- 32 bits ---- */
static void movss_rr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u32[0] = cpu->fpu.xmm[op->r1].u32[0];
	OP_NEXT;
}

static void load32(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = sse_ld32(cpu, op);
	OP_NEXT;
}

static void store32(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st32(cpu, op_lin(cpu, op, 4, true), cpu->fpu.xmm[op->r1].u32[0]);
	OP_NEXT;
}

static void movd_from_gpr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = vec_low((uint32_t)cpu->gpr[op->r1]);
	OP_NEXT;
}

static void movd_to_gpr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->gpr[op->r0] = cpu->fpu.xmm[op->r1].u32[0];
	OP_NEXT;
}

/* ---- 64 bits ---- */
static void movsd_rr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u64[0] = cpu->fpu.xmm[op->r1].u64[0];
	OP_NEXT;
}

static void movq_rr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = _mm_move_epi64(XMM(op->r1));
	OP_NEXT;
}

static void load64(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = sse_ld64(cpu, op);
	OP_NEXT;
}

static void store_low(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st64(cpu, op_lin(cpu, op, 8, true), cpu->fpu.xmm[op->r1].u64[0]);
	OP_NEXT;
}

static void store_high(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mem_st64(cpu, op_lin(cpu, op, 8, true), cpu->fpu.xmm[op->r1].u64[1]);
	OP_NEXT;
}

static void load_low(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u64[0] = mem_ld64(cpu, op_lin(cpu, op, 8, false));
	OP_NEXT;
}

static void load_high(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u64[1] = mem_ld64(cpu, op_lin(cpu, op, 8, false));
	OP_NEXT;
}

static void movhlps(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u64[0] = cpu->fpu.xmm[op->r1].u64[1];
	OP_NEXT;
}

static void movlhps(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->fpu.xmm[op->r0].u64[1] = cpu->fpu.xmm[op->r1].u64[0];
	OP_NEXT;
}

static void movq_from_gpr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	XMM(op->r0) = vec_low(cpu->gpr[op->r1]);
	OP_NEXT;
}

static void movq_to_gpr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->gpr[op->r0] = cpu->fpu.xmm[op->r1].u64[0];
	OP_NEXT;
}

/* ---- duplicating moves (SSE3) ---- */
XMM_FORMS(movddup, sse_ld64, _mm_unpacklo_epi64(s, s))
XMM_FORMS(movsldup, sse_ld128a, _mm_shuffle_epi32(s, 0xa0))
XMM_FORMS(movshdup, sse_ld128a, _mm_shuffle_epi32(s, 0xf5))

/* ---- sign masks ---- */
static void movmskps(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->gpr[op->r0] = (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(XMM(op->r1)));
	OP_NEXT;
}

static void movmskpd(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->gpr[op->r0] = (uint32_t)_mm_movemask_pd(_mm_castsi128_pd(XMM(op->r1)));
	OP_NEXT;
}

static void pmovmskb_xmm(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cpu->gpr[op->r0] = (uint32_t)_mm_movemask_epi8(XMM(op->r1));
	OP_NEXT;
}

static void pmovmskb_mmx(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	cpu->gpr[op->r0] = (uint32_t)_mm_movemask_epi8(vec_low(mmx_get(cpu, op->r1)));
	OP_NEXT;
}

/* ---- MMX ---- */
static void mmx_mov_rr(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, mmx_get(cpu, op->r1));
	OP_NEXT;
}

static void mmx_load64(struct cpu *cpu, const struct op *op)
{
	uint64_t v;

	mmx_check(cpu);
	v = mem_ld64(cpu, op_lin(cpu, op, 8, false));
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, v);
	OP_NEXT;
}

static void mmx_load32(struct cpu *cpu, const struct op *op)
{
	uint32_t v;

	mmx_check(cpu);
	v = mem_ld32(cpu, op_lin(cpu, op, 4, false));
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, v);
	OP_NEXT;
}

/*
 * Intel's cores have set TOP to 0 when the store of MOVD, MOVQ or MOVNTQ faults; the tags follow
 * with its completion. Setting TOP twice, when the instruction is restarted, changes nothing.
 */
static void mmx_store_begin(struct cpu *cpu)
{
	mmx_check(cpu);
	cpu->fpu.sw &= (uint16_t)~X87_TOP;
}

static void mmx_store64(struct cpu *cpu, const struct op *op)
{
	mmx_store_begin(cpu);
	mem_st64(cpu, op_lin(cpu, op, 8, true), mmx_get(cpu, op->r1));
	mmx_enter(cpu);
	OP_NEXT;
}

static void mmx_store32(struct cpu *cpu, const struct op *op)
{
	mmx_store_begin(cpu);
	mem_st32(cpu, op_lin(cpu, op, 4, true), (uint32_t)mmx_get(cpu, op->r1));
	mmx_enter(cpu);
	OP_NEXT;
}

static void mmx_from_gpr32(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, (uint32_t)cpu->gpr[op->r1]);
	OP_NEXT;
}

static void mmx_to_gpr32(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	cpu->gpr[op->r0] = (uint32_t)mmx_get(cpu, op->r1);
	OP_NEXT;
}

static void mmx_from_gpr64(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, cpu->gpr[op->r1]);
	OP_NEXT;
}

static void mmx_to_gpr64(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	cpu->gpr[op->r0] = mmx_get(cpu, op->r1);
	OP_NEXT;
}

/* MOVQ2DQ and MOVDQ2Q need both units. */
static void movq2dq(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mmx_check(cpu);
	mmx_enter(cpu);
	XMM(op->r0) = vec_low(mmx_get(cpu, op->r1));
	OP_NEXT;
}

static void movdq2q(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	mmx_check(cpu);
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, cpu->fpu.xmm[op->r1].u64[0]);
	OP_NEXT;
}

/* ---- masked stores ---- */
/*
 * Writes the selected bytes, but faults as a store of all of them, selected or not: in pieces of
 * eight bytes, the upper one first.
 */
static void store_masked(struct cpu *cpu, const struct op *op, const uint8_t *data,
			 const uint8_t *mask, unsigned n)
{
	uint64_t lin = op_lin(cpu, op, n, true);

	for (unsigned i = n; i > 0; i -= 8)
		mem_probe_write(cpu, lin + i - 8, 8);
	for (unsigned i = 0; i < n; i++)
		if (mask[i] & 0x80)
			mem_st8(cpu, lin + i, data[i]);
}

static void maskmovdqu(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	store_masked(cpu, op, cpu->fpu.xmm[op->r0].u8, cpu->fpu.xmm[op->r1].u8, 16);
	OP_NEXT;
}

static void maskmovq(struct cpu *cpu, const struct op *op)
{
	uint64_t data, mask;

	mmx_check(cpu);
	data = mmx_get(cpu, op->r0);
	mask = mmx_get(cpu, op->r1);
	mmx_enter(cpu); /* also when the store faults */
	store_masked(cpu, op, (const uint8_t *)&data, (const uint8_t *)&mask, 8);
	OP_NEXT;
}

static uint8_t seg_of_register(ZydisRegister reg)
{
	static const struct {
		ZydisRegister reg;
		uint8_t seg;
	} map[] = {
		{ ZYDIS_REGISTER_ES, SEG_ES }, { ZYDIS_REGISTER_CS, SEG_CS },
		{ ZYDIS_REGISTER_SS, SEG_SS }, { ZYDIS_REGISTER_FS, SEG_FS },
		{ ZYDIS_REGISTER_GS, SEG_GS },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].reg == reg)
			return map[i].seg;
	return SEG_DS;
}

/* The destination of MASKMOV* is implicit: seg:[rDI]. */
static bool maskmov_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->base = R_RDI;
	op->idx = REG_ZERO;
	op->scale = 0;
	op->disp = 0;
	op->asize = d->ins.address_width / 8;
	op->seg = SEG_DS;
	for (unsigned i = 0; i < d->ins.operand_count; i++)
		if (d->opnd[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			op->seg = seg_of_register(d->opnd[i].mem.segment);
	op->flags |= OPF_MEM;
	if (d->mode & MODE_SEGCHECK)
		op->flags |= OPF_SEGCHECK;
	op->fn = (op_fn)arg;
	return true;
}

/* ---- binding ---- */
/* Register to register, load and store of one mnemonic; NULL: no such form. */
struct move_forms {
	op_fn rr, load, store;
};

static bool move_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct move_forms *f = (const struct move_forms *)arg;

	if (opnd_is_mem(d, 0))
		op->fn = opnd_is_xmm(d, 1) ? f->store : NULL;
	else if (opnd_is_xmm(d, 0))
		op->fn = opnd_is_mem(d, 1) ? f->load : f->rr;
	else
		op->fn = NULL;
	return op->fn != NULL;
}

enum move_place { PLACE_XMM, PLACE_MMX, PLACE_GPR, PLACE_MEM, PLACES };

static enum move_place place_of(const struct decoded *d, unsigned i)
{
	if (opnd_is_mem(d, i))
		return PLACE_MEM;
	if (opnd_is_xmm(d, i))
		return PLACE_XMM;
	return opnd_is_mmx(d, i) ? PLACE_MMX : PLACE_GPR;
}

/* MOVD and MOVQ: [destination][source]. */
static const op_fn movd_table[PLACES][PLACES] = {
	[PLACE_XMM] = { [PLACE_GPR] = movd_from_gpr, [PLACE_MEM] = load32 },
	[PLACE_MMX] = { [PLACE_GPR] = mmx_from_gpr32, [PLACE_MEM] = mmx_load32 },
	[PLACE_GPR] = { [PLACE_XMM] = movd_to_gpr, [PLACE_MMX] = mmx_to_gpr32 },
	[PLACE_MEM] = { [PLACE_XMM] = store32, [PLACE_MMX] = mmx_store32 },
};

static const op_fn movq_table[PLACES][PLACES] = {
	[PLACE_XMM] = { [PLACE_XMM] = movq_rr, [PLACE_GPR] = movq_from_gpr, [PLACE_MEM] = load64 },
	[PLACE_MMX] = { [PLACE_MMX] = mmx_mov_rr,
			[PLACE_GPR] = mmx_from_gpr64,
			[PLACE_MEM] = mmx_load64 },
	[PLACE_GPR] = { [PLACE_XMM] = movq_to_gpr, [PLACE_MMX] = mmx_to_gpr64 },
	[PLACE_MEM] = { [PLACE_XMM] = store_low, [PLACE_MMX] = mmx_store64 },
};

static bool movdq_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const op_fn(*table)[PLACES] = (const op_fn(*)[PLACES])arg;

	op->fn = table[place_of(d, 0)][place_of(d, 1)];
	return op->fn != NULL;
}

static bool pmovmskb_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = opnd_is_mmx(d, 1) ? pmovmskb_mmx : pmovmskb_xmm;
	return true;
}

static const struct move_forms aligned_forms = { mov128_rr, mov128_load_aligned,
						 mov128_store_aligned };
static const struct move_forms unaligned_forms = { mov128_rr, mov128_load, mov128_store };
static const struct move_forms movss_forms = { movss_rr, load32, store32 };
static const struct move_forms movsd_forms = { movsd_rr, load64, store_low };
static const struct move_forms low_forms = { NULL, load_low, store_low };
static const struct move_forms high_forms = { NULL, load_high, store_high };
static const struct move_forms movhlps_forms = { movhlps, NULL, NULL };
static const struct move_forms movlhps_forms = { movlhps, NULL, NULL };

#define ROW_MOVE(mnem, forms)                                       \
	{                                                           \
		ZYDIS_MNEMONIC_##mnem, move_bind, (uintptr_t)&forms \
	}

static const struct binding sse_move_rows[] = {
	ROW_MOVE(MOVAPS, aligned_forms),
	ROW_MOVE(MOVAPD, aligned_forms),
	ROW_MOVE(MOVDQA, aligned_forms),
	ROW_MOVE(MOVNTPS, aligned_forms),
	ROW_MOVE(MOVNTPD, aligned_forms),
	ROW_MOVE(MOVNTDQ, aligned_forms),
	ROW_MOVE(MOVNTDQA, aligned_forms),
	ROW_MOVE(MOVUPS, unaligned_forms),
	ROW_MOVE(MOVUPD, unaligned_forms),
	ROW_MOVE(MOVDQU, unaligned_forms),
	ROW_MOVE(LDDQU, unaligned_forms),
	ROW_MOVE(MOVSS, movss_forms),
	ROW_MOVE(MOVSD, movsd_forms),
	ROW_MOVE(MOVLPS, low_forms),
	ROW_MOVE(MOVLPD, low_forms),
	ROW_MOVE(MOVHPS, high_forms),
	ROW_MOVE(MOVHPD, high_forms),
	ROW_MOVE(MOVHLPS, movhlps_forms),
	ROW_MOVE(MOVLHPS, movlhps_forms),
	{ ZYDIS_MNEMONIC_MOVD, movdq_bind, (uintptr_t)movd_table },
	{ ZYDIS_MNEMONIC_MOVQ, movdq_bind, (uintptr_t)movq_table },
	ROW_SIMD(MOVDDUP, movddup),
	ROW_SIMD(MOVSLDUP, movsldup),
	ROW_SIMD(MOVSHDUP, movshdup),
	ROW_ONE(MOVMSKPS, movmskps),
	ROW_ONE(MOVMSKPD, movmskpd),
	{ ZYDIS_MNEMONIC_PMOVMSKB, pmovmskb_bind, 0 },
	ROW_ONE(MOVQ2DQ, movq2dq),
	ROW_ONE(MOVDQ2Q, movdq2q),
	ROW_ONE(MOVNTQ, mmx_store64),
	{ ZYDIS_MNEMONIC_MASKMOVDQU, maskmov_bind, (uintptr_t)maskmovdqu },
	{ ZYDIS_MNEMONIC_MASKMOVQ, maskmov_bind, (uintptr_t)maskmovq },
};

BINDINGS(sse_move);
