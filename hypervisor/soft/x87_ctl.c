// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x87 control instructions, and the environment and state images of FNSTENV and FNSAVE (SDM vol.
 * 1, 8.1.10).
 *
 * An image has 16- or 32-bit fields by operand size, and pointers as selector and offset or, in
 * real and virtual-8086 mode, as linear address. Selectors are not kept (see fpu_state.h), so the
 * latter have the offset only.
 */
#include "hypervisor/soft/x87.h"

#define ENV_WORDS 7 /* control, status, tag, IP, CS and opcode, DP, DS */

/* Control instructions are not stopped by a pending exception. */
static void control_check(struct cpu *cpu)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, VEC_NM, 0);
}

static void set_cw(struct fpu_state *f, uint16_t v)
{
	f->cw = (uint16_t)((v & 0x1f3f) | 0x40);
	x87_update_summary(f);
}

static void init(struct fpu_state *f)
{
	f->cw = X87_CW_RESET;
	f->sw = 0;
	f->tag = 0;
	f->fop = 0;
	f->fip = f->fdp = 0;
}

static void fninit(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	init(&cpu->fpu);
	OP_NEXT;
}

static void fnclex(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	cpu->fpu.sw &= (uint16_t) ~(X87_FLAGS | X87_SF | X87_ES | X87_B);
	OP_NEXT;
}

static void fldcw(struct cpu *cpu, const struct op *op)
{
	x87_check(cpu);
	set_cw(&cpu->fpu, mem_ld16(cpu, op_lin(cpu, op, 2, false)));
	OP_NEXT;
}

static void fnstcw(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	mem_st16(cpu, op_lin(cpu, op, 2, true), cpu->fpu.cw);
	OP_NEXT;
}

static void fnstsw_mem(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	mem_st16(cpu, op_lin(cpu, op, 2, true), cpu->fpu.sw);
	OP_NEXT;
}

static void fnstsw_ax(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	cpu->gpr[R_RAX] = (cpu->gpr[R_RAX] & ~0xffffull) | cpu->fpu.sw;
	OP_NEXT;
}

static bool fnstsw_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = opnd_is_mem(d, 0) ? fnstsw_mem : fnstsw_ax;
	return true;
}

static void fwait(struct cpu *cpu, const struct op *op)
{
	if ((cpu->cr0 & CR0_MP) && (cpu->cr0 & CR0_TS))
		cpu_raise(cpu, VEC_NM, 0);
	if (cpu->fpu.sw & X87_ES)
		cpu_raise(cpu, VEC_MF, 0);
	OP_NEXT;
}

/* FNOP is none of the control instructions: it waits, and FIP points to it. */
static void fnop(struct cpu *cpu, const struct op *op)
{
	x87_begin(cpu, op);
	OP_NEXT;
}

/* Instructions of the 8087 and 80287 that do nothing since. */
static void old_nop(struct cpu *cpu, const struct op *op)
{
	control_check(cpu);
	OP_NEXT;
}

static void fincstp(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	x87_clear_c1(f);
	x87_add_top(f, 1);
	OP_NEXT;
}

static void fdecstp(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	x87_clear_c1(f);
	x87_add_top(f, 7);
	OP_NEXT;
}

static void ffree(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	x87_clear_c1(f);
	x87_free(f, op->r0);
	OP_NEXT;
}

static void ffreep(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);

	x87_clear_c1(f);
	x87_free(f, op->r0);
	x87_pop(f);
	OP_NEXT;
}

/* ---- environment ---- */
/* Tag of a register in the full tag word: 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned full_tag(const struct fpu_state *f, unsigned phys)
{
	struct x87_reg v = f->reg[phys];

	if (!((f->tag >> phys) & 1))
		return 3;
	if (x87_is_zero(v))
		return 1;
	return x87_exp(v) == 0 || x87_exp(v) == X87_EXP_MAX || !(v.mant & X87_INT_BIT) ? 2 : 0;
}

static uint16_t full_tag_word(const struct fpu_state *f)
{
	unsigned w = 0;

	for (unsigned i = 0; i < 8; i++)
		w |= full_tag(f, i) << (2 * i);
	return (uint16_t)w;
}

static bool wide(const struct op *op)
{
	return op->osize != 2;
}

/* The field of a real-mode image that holds the upper bits of a pointer. */
static uint32_t high_pointer(const struct op *op, uint64_t pointer)
{
	return wide(op) ? (uint32_t)(pointer >> 4) & 0x0ffff000u
			: (uint32_t)(pointer >> 4) & 0xf000u;
}

static void env_words(const struct cpu *cpu, const struct op *op, uint32_t w[ENV_WORDS])
{
	const struct fpu_state *f = &cpu->fpu;
	const uint32_t high = 0xffff0000u; /* reserved halves read as ones */

	w[0] = high | f->cw;
	w[1] = high | f->sw;
	w[2] = high | full_tag_word(f);
	if (cpu->mode & (MODE_REAL | MODE_VM86)) {
		w[3] = high | (uint16_t)f->fip;
		w[4] = high_pointer(op, f->fip) | f->fop;
		w[5] = high | (uint16_t)f->fdp;
		w[6] = high_pointer(op, f->fdp);
	} else {
		w[3] = (uint32_t)f->fip;
		w[4] = wide(op) ? (uint32_t)f->fop << 16 : 0;
		w[5] = (uint32_t)f->fdp;
		w[6] = high;
	}
}

/* Bytes of the environment in memory. */
static unsigned env_size(const struct op *op)
{
	return wide(op) ? 28 : 14;
}

static void env_pack(const struct cpu *cpu, const struct op *op, uint8_t *image)
{
	uint32_t w[ENV_WORDS];
	unsigned step = wide(op) ? 4 : 2;

	env_words(cpu, op, w);
	for (unsigned i = 0; i < ENV_WORDS; i++)
		memcpy(image + step * i, &w[i], step);
}

/* Pointer from its offset field and, for real mode, the field with its upper bits. */
static uint64_t join_pointer(const struct cpu *cpu, uint32_t low, uint32_t high)
{
	if (!(cpu->mode & (MODE_REAL | MODE_VM86)))
		return low;
	return (low & 0xffff) | (uint64_t)(high & 0x0ffff000u) << 4;
}

static void env_unpack(struct cpu *cpu, const struct op *op, const uint8_t *image)
{
	struct fpu_state *f = &cpu->fpu;
	uint32_t w[ENV_WORDS] = { 0 };
	unsigned step = wide(op) ? 4 : 2;

	for (unsigned i = 0; i < ENV_WORDS; i++)
		memcpy(&w[i], image + step * i, step);
	f->sw = (uint16_t)w[1];
	f->tag = 0;
	for (unsigned i = 0; i < 8; i++)
		if (((w[2] >> (2 * i)) & 3) != 3)
			f->tag |= (uint8_t)(1u << i);
	f->fip = join_pointer(cpu, w[3], w[4]);
	f->fdp = join_pointer(cpu, w[5], w[6]);
	if (cpu->mode & (MODE_REAL | MODE_VM86))
		f->fop = w[4] & 0x7ff;
	else
		f->fop = wide(op) ? (w[4] >> 16) & 0x7ff : 0;
	set_cw(f, (uint16_t)w[0]);
}

/*
 * Linear address of the operand: `size` bytes, made of numbers of 2 or 4 bytes (SDM vol. 3, table
 * 6-7), of which nothing is written before a fault. Intel's cores access the first number, then the
 * last byte.
 */
static uint64_t image_lin(struct cpu *cpu, const struct op *op, unsigned size, bool write)
{
	void (*probe)(struct cpu *, uint64_t, unsigned) = write ? mem_probe_write : mem_probe_read;
	uint64_t lin = op_lin(cpu, op, size, write);

	probe(cpu, lin, wide(op) ? 4 : 2);
	probe(cpu, lin + size - 1, 1);
	return lin;
}

static void fnstenv(struct cpu *cpu, const struct op *op)
{
	uint8_t image[28];

	control_check(cpu);
	env_pack(cpu, op, image);
	mem_st(cpu, image_lin(cpu, op, env_size(op), true), image, env_size(op));
	set_cw(&cpu->fpu, cpu->fpu.cw | X87_FLAGS);
	OP_NEXT;
}

static void fldenv(struct cpu *cpu, const struct op *op)
{
	uint8_t image[28];

	x87_check(cpu);
	mem_ld(cpu, image_lin(cpu, op, env_size(op), false), image, env_size(op));
	env_unpack(cpu, op, image);
	OP_NEXT;
}

static void fnsave(struct cpu *cpu, const struct op *op)
{
	uint8_t image[108];
	unsigned env = env_size(op), size = env + 80, first = 64;
	uint64_t lin;

	control_check(cpu);
	lin = image_lin(cpu, op, size, true);
	env_pack(cpu, op, image);
	for (unsigned i = 0; i < 8; i++) {
		struct x87_reg v = x87_get(&cpu->fpu, i);

		memcpy(image + env + 10 * i, &v.mant, 8);
		memcpy(image + env + 10 * i + 8, &v.exp, 2);
	}
	mem_probe_write(cpu, lin + first, size - first);
	mem_st(cpu, lin, image, first);
	mem_st(cpu, lin + first, image + first, size - first);
	init(&cpu->fpu);
	OP_NEXT;
}

static void frstor(struct cpu *cpu, const struct op *op)
{
	uint8_t image[108];
	unsigned env = env_size(op), size = env + 80, first = 64;
	uint64_t lin;

	x87_check(cpu);
	lin = image_lin(cpu, op, size, false);
	mem_ld(cpu, lin, image, first);
	mem_ld(cpu, lin + first, image + first, size - first);
	env_unpack(cpu, op, image);
	for (unsigned i = 0; i < 8; i++) {
		struct x87_reg *r = &cpu->fpu.reg[x87_phys(&cpu->fpu, i)];

		memcpy(&r->mant, image + env + 10 * i, 8);
		memcpy(&r->exp, image + env + 10 * i + 8, 2);
	}
	OP_NEXT;
}

static const struct binding x87_ctl_rows[] = {
	ROW_X87(FNINIT, fninit),
	ROW_X87(FNCLEX, fnclex),
	ROW_X87(FLDCW, fldcw),
	ROW_X87(FNSTCW, fnstcw),
	{ ZYDIS_MNEMONIC_FNSTSW, fnstsw_bind, 0 },
	ROW_X87(FWAIT, fwait),
	ROW_X87(FNOP, fnop),
	ROW_X87(FENI8087_NOP, old_nop),
	ROW_X87(FDISI8087_NOP, old_nop),
	ROW_X87(FSETPM287_NOP, old_nop),
	ROW_X87(FINCSTP, fincstp),
	ROW_X87(FDECSTP, fdecstp),
	ROW_X87(FFREE, ffree),
	ROW_X87(FFREEP, ffreep),
	ROW_X87(FNSTENV, fnstenv),
	ROW_X87(FLDENV, fldenv),
	ROW_X87(FNSAVE, fnsave),
	ROW_X87(FRSTOR, frstor),
};

BINDINGS(x87_ctl);
