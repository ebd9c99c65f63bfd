/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code of instructions on XMM registers (sse_form.c says which): the same instruction, with
 * each guest register in the host register of its number. They are loaded where a block first needs
 * them, and stored at its end and in front of each handler that the hot path calls; around handlers
 * that cold code calls, cold code stores and loads them again.
 *
 * Instructions under MXCSR run under the guest's, which the host's is loaded with, so that sticky
 * flags come together there. Only where it masks every exception and neither rounds, flushes nor
 * takes denormals otherwise than by default: then nothing traps, C code does not notice, and of
 * what handlers have to mend (fp_raised()) nothing applies. Under any other the rest of the block
 * is interpreted.
 *
 * That XMM registers may be used at all is part of the mode that a block is for.
 */
#include "hypervisor/soft/fpu.h"
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/trans_op.h"

#define CPU_XMM(i) HOST_MEM(H_CPU, offsetof(struct cpu, fpu.xmm) + sizeof(union xmm) * (size_t)(i))

bool trans_sse_fits(const struct op *op, uint32_t mode)
{
	return !(mode & MODE_NO_SSE);
}

bool trans_sse_exits(const struct op *op)
{
	return op->sub & SSE_FP;
}

/* ---- registers ---- */
static void load_each(struct emit *e, unsigned mask)
{
	for (; mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctz(mask);

		emit_rm(e, 2, 0x0f28, i, CPU_XMM(i)); /* MOVAPS */
	}
}

static void store_each(struct emit *e, unsigned mask)
{
	for (; mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctz(mask);

		emit_rm(e, 2, 0x0f29, i, CPU_XMM(i));
	}
}

static void load_mxcsr(struct emit *e)
{
	emit_rm(e, 2, 0x0fae, 2, CPU_FIELD(fpu.mxcsr));
}

static void store_mxcsr(struct emit *e)
{
	emit_rm(e, 2, 0x0fae, 3, CPU_FIELD(fpu.mxcsr));
}

void trans_sse_store(struct tr *tr)
{
	store_each(tr->e, tr->xmm_new);
	if (tr->mxcsr)
		store_mxcsr(tr->e);
	tr->xmm_new = 0;
	tr->mxcsr = false;
}

void trans_sse_lost(struct tr *tr)
{
	tr->xmm = 0;
}

void trans_sse_leave(struct tr *tr, const struct cold *c)
{
	store_each(tr->e, c->xmm_new);
	if (c->mxcsr)
		store_mxcsr(tr->e);
}

void trans_sse_back(struct tr *tr, const struct cold *c)
{
	load_each(tr->e, c->xmm_back);
	if (c->mxcsr_back)
		load_mxcsr(tr->e);
}

/* Guest register i is needed, with its value or, when it is written as a whole, without. */
static void use_xmm(struct tr *tr, unsigned i, bool value)
{
	if (value && !(tr->xmm >> i & 1))
		load_each(tr->e, 1u << i);
	tr->xmm |= (uint16_t)(1u << i);
}

static void wrote_xmm(struct tr *tr, unsigned i)
{
	tr->xmm_new |= (uint16_t)(1u << i);
}

/* The host's MXCSR becomes the guest's. */
static void use_mxcsr(struct tr *tr)
{
	if (tr->mxcsr)
		return;
	emit_rm(tr->e, 2, 0x8b, H_S0, CPU_FIELD(fpu.mxcsr));
	emit_alu_imm(tr->e, ALU_AND, 2, H_S0, MXCSR_VALID & ~MXCSR_FLAGS);
	emit_alu_imm(tr->e, ALU_CMP, 2, H_S0, MXCSR_DEFAULT);
	trans_cold(tr, emit_jcc(tr->e, 5), COLD_RESUME);
	load_mxcsr(tr->e);
	tr->host = 0;
	tr->mxcsr = true;
}

/* ---- instructions ---- */
/* Emits all bytes in front of ModRM. */
static void emit_head(struct emit *e, unsigned encoding, unsigned reg, unsigned idx, unsigned base)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 }, map[4] = { 0, 0x38, 0x3a, 0 };
	unsigned p = prefix[encoding >> SSE_PREFIX_SHIFT & 3],
		 m = map[encoding >> SSE_MAP_SHIFT & 3];

	if (p)
		emit8(e, p);
	emit8(e, 0x40 | (encoding & SSE_W ? 8u : 0) | (reg >> 3 & 1) << 2 | (idx >> 3 & 1) << 1 |
			 (base >> 3 & 1));
	emit8(e, 0x0f);
	if (m)
		emit8(e, m);
	emit8(e, encoding & 0xff);
}

/* Operands of the host's instruction, of which rm may be in memory. */
struct sse_operands {
	unsigned reg, rm;
	struct host_mem m;
};

static void emit_sse(struct tr *tr, const struct sse_operands *o)
{
	const struct op *op = tr->op;
	struct emit *e = tr->e;

	if (op->form == FORM_RR) {
		emit_head(e, op->extra, o->reg, 0, o->rm);
		emit8(e, 0xc0 | (o->reg & 7) << 3 | (o->rm & 7));
	} else {
		emit_head(e, op->extra, o->reg, o->m.idx == H_NONE ? 0 : o->m.idx, o->m.base);
		emit_mem(e, o->reg, o->m);
	}
	if (op->extra & SSE_IMM)
		emit8(e, (unsigned)op->imm & 0xff);
}

static bool is_mem_written(const struct op *op)
{
	return op->form == FORM_MR;
}

/*
 * A register operand of the instruction. written: it is the destination; those of general registers
 * are written as a whole, and XMM ones are read too unless SSE_WHOLE says otherwise.
 */
static unsigned use_operand(struct tr *tr, unsigned number, bool general, bool written)
{
	if (general && written)
		return dest(tr, number, 2, H_S0);
	if (general)
		return use(tr, number, H_S0);
	use_xmm(tr, number, !written || !(tr->op->sub & SSE_WHOLE));
	return number;
}

static void written(struct tr *tr, unsigned number, bool general, unsigned host)
{
	if (general)
		done(tr, number, host);
	else
		wrote_xmm(tr, number);
}

void trans_sse_op(struct tr *tr)
{
	const struct op *op = tr->op;
	bool rm_first = op->sub & SSE_RM_FIRST, writes = !(op->sub & SSE_READS);
	unsigned reg = rm_first ? op->r1 : op->r0, rm = rm_first ? op->r0 : op->r1;
	bool reg_written = writes && !rm_first, rm_written = writes && rm_first;
	bool reg_gpr = op->sub & SSE_REG_GPR, rm_gpr = op->sub & SSE_RM_GPR;
	struct sse_operands o = { .reg = op->r2 };

	if (op->sub & SSE_FP)
		use_mxcsr(tr);
	if (op->form != FORM_RR)
		o.m = trans_probe(tr, trans_operand(tr), 1u << op->size,
				  op->sub & SSE_ALIGNED ? 16 : 1, is_mem_written(op), COLD_CALL);
	/* What is read goes first: source and destination may be the same register. */
	if (op->form == FORM_RR && !rm_written)
		o.rm = use_operand(tr, rm, rm_gpr, false);
	if (!(op->sub & SSE_DIGIT) && !reg_written)
		o.reg = use_operand(tr, reg, reg_gpr, false);
	if (op->form == FORM_RR && rm_written)
		o.rm = use_operand(tr, rm, rm_gpr, true);
	if (!(op->sub & SSE_DIGIT) && reg_written)
		o.reg = use_operand(tr, reg, reg_gpr, true);
	emit_sse(tr, &o);
	if (op->form == FORM_RR && rm_written)
		written(tr, rm, rm_gpr, o.rm);
	if (!(op->sub & SSE_DIGIT) && reg_written)
		written(tr, reg, reg_gpr, o.reg);
	if (op->writes)
		trans_keep_flags(tr);
}
