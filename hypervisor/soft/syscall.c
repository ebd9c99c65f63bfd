// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fast system calls and the segment bases that go with them: SYSCALL, SYSENTER, SWAPGS, RDFSBASE
 * and their like.
 */
#include "hypervisor/soft/sys.h"

/* Flat segments as these instructions make them up, without looking at any descriptor. */
#define FLAT_CODE (SEG_P | SEG_S | SEG_G | 11u)
#define FLAT_DATA (SEG_P | SEG_S | SEG_G | SEG_DB | 3u)

#define SYSRET_FLAGS 0x3c7fd7ull

static void set_flat(struct cpu *cpu, uint16_t cs, uint16_t ss, uint8_t cpl, uint32_t size)
{
	uint32_t dpl = (uint32_t)cpl << 5;

	cpu->seg[SEG_CS] = (struct seg_state){
		.limit = UINT32_MAX,
		.attr = FLAT_CODE | dpl | size,
		.selector = (uint16_t)((cs & ~3u) | cpl),
	};
	cpu->seg[SEG_SS] = (struct seg_state){
		.limit = UINT32_MAX,
		.attr = FLAT_DATA | dpl,
		.selector = (uint16_t)((ss & ~3u) | cpl),
	};
	cpu->cpl = cpl;
}

static void op_syscall(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = (uint16_t)(cpu->star >> 32);
	uint64_t flags = flags_get(cpu) & ~(uint64_t)FL_RF;

	if (!(cpu->efer & EFER_SCE))
		cpu_raise(cpu, VEC_UD, 0);
	cpu->gpr[R_RCX] = next_rip(cpu, op);
	cpu->gpr[R_R11] = flags;
	flags_set(cpu, flags & ~cpu->fmask);
	cpu->rip = cpu->lstar;
	set_flat(cpu, sel, (uint16_t)(sel + 8), 0, SEG_L);
	cpu_mode_update(cpu);
	OP_EXIT;
}

static void op_sysret(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = (uint16_t)(cpu->star >> 48);
	bool to64 = op->osize == 8;

	if (!(cpu->efer & EFER_SCE))
		cpu_raise(cpu, VEC_UD, 0);
	require_cpl0(cpu);
	if (to64 && !canonical(cpu->gpr[R_RCX]))
		cpu_raise(cpu, VEC_GP, 0);
	cpu->rip = to64 ? cpu->gpr[R_RCX] : (uint32_t)cpu->gpr[R_RCX];
	flags_set(cpu, cpu->gpr[R_R11] & SYSRET_FLAGS);
	/*
	 * The TF that SYSRET loads traps before the next instruction, as if SYSCALL had just been
	 * executed.
	 */
	if (cpu->gpr[R_R11] & FL_TF) {
		cpu->db_pending = true;
		cpu->db_dr6 |= DR6_BS;
	}
	set_flat(cpu, (uint16_t)(to64 ? sel + 16 : sel), (uint16_t)(sel + 8), 3,
		 to64 ? SEG_L : SEG_DB);
	cpu_mode_update(cpu);
	OP_EXIT;
}

static void op_sysenter(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = (uint16_t)cpu->sysenter_cs;

	if (!(cpu->cr0 & CR0_PE) || sel_null(sel))
		cpu_raise(cpu, VEC_GP, 0);
	flags_set(cpu, flags_get(cpu) & ~(uint64_t)(FL_VM | FL_IF));
	cpu->rip = cpu_long(cpu) ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
	cpu->gpr[R_RSP] = cpu_long(cpu) ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	set_flat(cpu, sel, (uint16_t)((sel & ~3u) + 8), 0, cpu_long(cpu) ? SEG_L : SEG_DB);
	cpu_mode_update(cpu);
	OP_EXIT;
}

static void op_sysexit(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = cpu->sysenter_cs & 0xfffc;
	uint64_t rip = cpu->gpr[R_RDX], rsp = cpu->gpr[R_RCX];
	bool to64 = op->osize == 8;

	if (!(cpu->cr0 & CR0_PE) || sel_null(sel) || cpu->cpl)
		cpu_raise(cpu, VEC_GP, 0);
	if (to64 && (!canonical(rip) || !canonical(rsp)))
		cpu_raise(cpu, VEC_GP, 0);
	cpu->rip = to64 ? rip : (uint32_t)rip;
	cpu->gpr[R_RSP] = to64 ? rsp : (uint32_t)rsp;
	set_flat(cpu, (uint16_t)(sel + (to64 ? 32 : 16)), (uint16_t)(sel + (to64 ? 40 : 24)), 3,
		 to64 ? SEG_L : SEG_DB);
	cpu_mode_update(cpu);
	OP_EXIT;
}

/* ---- FS and GS bases (64-bit mode) ---- */
static void set_base(struct cpu *cpu, unsigned s, uint64_t base)
{
	cpu->seg[s].base = base;
	cpu->ea_base[s] = base;
}

static void op_swapgs(struct cpu *cpu, const struct op *op)
{
	uint64_t base = cpu->seg[SEG_GS].base;

	require_cpl0(cpu);
	set_base(cpu, SEG_GS, cpu->kernel_gs_base);
	cpu->kernel_gs_base = base;
	OP_NEXT;
}

static void require_fsgsbase(struct cpu *cpu)
{
	if (!(cpu->cr4 & CR4_FSGSBASE))
		cpu_raise(cpu, VEC_UD, 0);
}

/* extra: segment register */
static void op_rdbase(struct cpu *cpu, const struct op *op)
{
	require_fsgsbase(cpu);
	reg_put(cpu, op->r0, op->osize, cpu->seg[op->extra].base);
	OP_NEXT;
}

static void op_wrbase(struct cpu *cpu, const struct op *op)
{
	uint64_t base = reg_get(cpu, op->r0, op->osize);

	require_fsgsbase(cpu);
	if (!canonical(base))
		cpu_raise(cpu, VEC_GP, 0);
	set_base(cpu, op->extra, base);
	OP_NEXT;
}

/* A 66 prefix means nothing here: 64 bits with REX.W, else 32. */
static void base_size(struct op *op)
{
	if (op->osize == 2)
		op->osize = 4;
}

static bool bind_rdbase(const struct decoded *d, struct op *op, uintptr_t arg)
{
	base_size(op);
	op->extra = (uint16_t)arg;
	return bind_long(d, op, (uintptr_t)op_rdbase);
}

static bool bind_wrbase(const struct decoded *d, struct op *op, uintptr_t arg)
{
	base_size(op);
	op->extra = (uint16_t)arg;
	return bind_long(d, op, (uintptr_t)op_wrbase);
}

/* SYSCALL and SYSRET exist in 64-bit mode only, as on Intel's processors. */
static bool bind_long_end(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->flags |= OPF_END;
	return bind_long(d, op, arg);
}

#define H(fn) ((uintptr_t)(fn))

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_SYSCALL, bind_long_end, H(op_syscall) },
	{ ZYDIS_MNEMONIC_SYSRET, bind_long_end, H(op_sysret) },
	{ ZYDIS_MNEMONIC_SYSENTER, bind_end, H(op_sysenter) },
	{ ZYDIS_MNEMONIC_SYSEXIT, bind_end, H(op_sysexit) },
	{ ZYDIS_MNEMONIC_SWAPGS, bind_long, H(op_swapgs) },
	{ ZYDIS_MNEMONIC_RDFSBASE, bind_rdbase, SEG_FS },
	{ ZYDIS_MNEMONIC_RDGSBASE, bind_rdbase, SEG_GS },
	{ ZYDIS_MNEMONIC_WRFSBASE, bind_wrbase, SEG_FS },
	{ ZYDIS_MNEMONIC_WRGSBASE, bind_wrbase, SEG_GS },
};

BINDING_TABLE(fastcall_bindings, rows);
