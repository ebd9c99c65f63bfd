// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Port I/O: IN, OUT, INS, OUTS, and who may do it: Intel SDM vol. 1, chapter 19.
 *
 * A port access is an effect outside the CPU, so it comes after everything that can fault, and ends
 * its block: the machine may want to stop after it.
 */
#include "hypervisor/soft/sys.h"

#define TSS_IO_BASE   0x66
#define TSS_LIMIT_MIN 0x67

/* The I/O permission bitmap in the TSS has to have a clear bit for every port of the access. */
static bool bitmap_allows(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct seg_state *tr = &cpu->seg[SEG_TR];
	uint16_t base, bits;
	uint32_t off;

	if ((tr->attr & SEG_UNUSABLE) || !(SEG_TYPE(tr->attr) & SYS_32) ||
	    tr->limit < TSS_LIMIT_MIN)
		return false;
	sys_read(cpu, tss_linear(cpu, TSS_IO_BASE), &base, sizeof(base));
	off = base + port / 8u;
	/* Two bytes are read always: the bits may straddle them. */
	if (off + 1 > tr->limit)
		return false;
	sys_read(cpu, tss_linear(cpu, off), &bits, sizeof(bits));
	return !((bits >> (port & 7)) & ((1u << size) - 1));
}

static void check_port(struct cpu *cpu, uint16_t port, unsigned size)
{
	if (!(cpu->cr0 & CR0_PE) || (cpu->cpl <= cpu_iopl(cpu) && !(cpu->rflags & FL_VM)))
		return;
	if (!bitmap_allows(cpu, port, size))
		cpu_raise(cpu, VEC_GP, 0);
}

/* I/O breakpoints: a trap after the access (vol. 3, 17.2.4; they exist while CR4.DE is set). */
static void note_breakpoint(struct cpu *cpu, uint16_t port, unsigned size)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t control = cpu->dr[7] >> (16 + 4 * i), len = (control >> 2) & 3;
		uint64_t first = cpu->dr[i] & ~len;

		if (!(cpu->dr[7] & (3ull << (2 * i))) || (control & 3) != 2)
			continue;
		if (port + size > first && port <= first + len) {
			cpu->db_pending = true;
			cpu->db_dr6 |= 1ull << i;
			cpu->rep_break = true; /* a trap after the iteration (vol. 3, 17.2.4) */
		}
	}
}

static uint32_t port_in(struct cpu *cpu, uint16_t port, unsigned size)
{
	uint32_t v = cpu->bus.port_read(cpu->bus.ctx, port, size);

	cpu->stats.ports++;
	cpu_is_exit(cpu);
	if (unlikely(cpu->cr4 & CR4_DE))
		note_breakpoint(cpu, port, size);
	return v;
}

static void port_out(struct cpu *cpu, uint16_t port, unsigned size, uint32_t v)
{
	cpu->bus.port_write(cpu->bus.ctx, port, size, v);
	cpu->stats.ports++;
	cpu_is_exit(cpu);
	if (unlikely(cpu->cr4 & CR4_DE))
		note_breakpoint(cpu, port, size);
}

static uint16_t op_port(const struct cpu *cpu, const struct op *op)
{
	return op->extra ? (uint16_t)cpu->gpr[R_RDX] : (uint8_t)op->imm;
}

static void op_in(struct cpu *cpu, const struct op *op)
{
	uint16_t port = op_port(cpu, op);
	uint32_t v;

	check_port(cpu, port, op->osize);
	v = port_in(cpu, port, op->osize);
	if (op->osize == 1)
		cpu->gpr[R_RAX] = (cpu->gpr[R_RAX] & ~0xffull) | (uint8_t)v;
	else
		reg_put(cpu, R_RAX, op->osize, v);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_out(struct cpu *cpu, const struct op *op)
{
	uint16_t port = op_port(cpu, op);

	check_port(cpu, port, op->osize);
	port_out(cpu, port, op->osize, (uint32_t)reg_get(cpu, R_RAX, op->osize));
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

/* extra: the port is in DX */
static bool bind_port(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->extra = !opnd_is_imm(d, 0) && !opnd_is_imm(d, 1);
	if (op->osize == 8)
		op->osize = 4;
	return bind_end(d, op, arg);
}

/* ---- INS and OUTS ---- */
static uint64_t addr_mask(const struct op *op)
{
	return op->asize == 8 ? UINT64_MAX : op->asize == 4 ? UINT32_MAX : UINT16_MAX;
}

/* An address or count register, written at address size. */
static void addr_put(struct cpu *cpu, const struct op *op, unsigned r, uint64_t v)
{
	reg_put(cpu, r, op->asize, v);
}

static uint64_t string_linear(struct cpu *cpu, const struct op *op, enum seg s, uint64_t off,
			      bool write)
{
	uint64_t lin = cpu->ea_base[s] + off;

	if (!cpu_mode64(cpu)) {
		lin = (uint32_t)lin;
		if (cpu->mode & MODE_SEGCHECK || s == SEG_CS)
			seg_check(cpu, s, off, op->osize, write);
	}
	return lin;
}

static void advance(struct cpu *cpu, const struct op *op, unsigned r)
{
	uint64_t step = cpu->rflags & FL_DF ? -(uint64_t)op->osize : op->osize;

	addr_put(cpu, op, r, cpu->gpr[r] + step);
}

static void ins_once(struct cpu *cpu, const struct op *op)
{
	uint16_t port = (uint16_t)cpu->gpr[R_RDX];
	uint64_t lin = string_linear(cpu, op, SEG_ES, cpu->gpr[R_RDI] & addr_mask(op), true);
	uint32_t v;

	check_port(cpu, port, op->osize);
	mem_probe_write(cpu, lin, op->osize);
	v = port_in(cpu, port, op->osize);
	mem_st(cpu, lin, &v, op->osize);
	advance(cpu, op, R_RDI);
}

static void outs_once(struct cpu *cpu, const struct op *op)
{
	uint16_t port = (uint16_t)cpu->gpr[R_RDX];
	uint64_t lin = string_linear(cpu, op, op->seg, cpu->gpr[R_RSI] & addr_mask(op), false);
	uint32_t v = 0;

	check_port(cpu, port, op->osize);
	mem_ld(cpu, lin, &v, op->osize);
	port_out(cpu, port, op->osize, v);
	advance(cpu, op, R_RSI);
}

/*
 * Every iteration stands for itself: registers are committed, and the instruction may be left after
 * any.
 */
static void port_string(struct cpu *cpu, const struct op *op,
			void (*once)(struct cpu *, const struct op *))
{
	uint64_t mask = addr_mask(op);

	cpu->rip = next_rip(cpu, op);
	/* Privilege comes first, before the count and the segment. */
	check_port(cpu, (uint16_t)cpu->gpr[R_RDX], op->osize);
	if (!(op->flags & (OPF_REP | OPF_REPNE))) {
		once(cpu, op);
		return;
	}
	if (op->asize == 4)
		cpu->gpr[R_RCX] = (uint32_t)cpu->gpr[R_RCX]; /* see string_zero_extend() */
	while (cpu->gpr[R_RCX] & mask) {
		once(cpu, op);
		addr_put(cpu, op, R_RCX, (cpu->gpr[R_RCX] & mask) - 1);
		if ((cpu->gpr[R_RCX] & mask) && rep_should_stop(cpu)) {
			cpu->in_rep = true;
			cpu->rip = op_rip(cpu, op);
			return;
		}
	}
}

static void op_ins(struct cpu *cpu, const struct op *op)
{
	port_string(cpu, op, ins_once);
	OP_EXIT;
}

static void op_outs(struct cpu *cpu, const struct op *op)
{
	port_string(cpu, op, outs_once);
	OP_EXIT;
}

#define H(fn) ((uintptr_t)(fn))

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_IN, bind_port, H(op_in) },
	{ ZYDIS_MNEMONIC_OUT, bind_port, H(op_out) },
	{ ZYDIS_MNEMONIC_INSB, bind_port, H(op_ins) },
	{ ZYDIS_MNEMONIC_INSW, bind_port, H(op_ins) },
	{ ZYDIS_MNEMONIC_INSD, bind_port, H(op_ins) },
	{ ZYDIS_MNEMONIC_OUTSB, bind_port, H(op_outs) },
	{ ZYDIS_MNEMONIC_OUTSW, bind_port, H(op_outs) },
	{ ZYDIS_MNEMONIC_OUTSD, bind_port, H(op_outs) },
};

BINDING_TABLE(port_bindings, rows);
