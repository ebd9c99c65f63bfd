// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control and debug registers, descriptor-table registers, flags, HLT and the rest of the system
 * instructions.
 */
#include "hypervisor/cpuid.h"
#include "hypervisor/soft/sys.h"

/* ---- binders ---- */
bool bind_plain(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = (op_fn)arg;
	return true;
}

bool bind_end(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->flags |= OPF_END;
	return bind_plain(d, op, arg);
}

bool bind_protected(const struct decoded *d, struct op *op, uintptr_t arg)
{
	return !(d->mode & (MODE_REAL | MODE_VM86)) && bind_plain(d, op, arg);
}

bool bind_long(const struct decoded *d, struct op *op, uintptr_t arg)
{
	return (d->mode & MODE_SIZE) == MODE_64 && bind_plain(d, op, arg);
}

/* ---- control registers ---- */
#define CR0_BITS                                                                                   \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)
/* Bits whose change makes the processor read the PDPTEs again (SDM vol. 3, 4.4.1). */
#define CR0_PDPTE (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR4_FLUSH (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PCIDE)

/* Combinations that no write may make (SDM vol. 2, MOV control registers; vol. 3, 9.8.5). */
static bool cr0_valid(const struct cpu *cpu, uint64_t v)
{
	bool pg = v & CR0_PG, was_pg = cpu->cr0 & CR0_PG;

	if (v >> 32 || (pg && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
		return false;
	if (pg && !was_pg && (cpu->efer & EFER_LME)) {
		/* Long mode starts: PAE is on, CS has no L bit, TR holds no 16-bit TSS. */
		if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[SEG_CS].attr & SEG_L))
			return false;
		if (!(SEG_TYPE(cpu->seg[SEG_TR].attr) & SYS_32))
			return false;
	}
	if (!pg && was_pg && (cpu_mode64(cpu) || (cpu->cr4 & CR4_PCIDE)))
		return false;
	return true;
}

static void cr0_write(struct cpu *cpu, uint64_t v)
{
	uint64_t changed;

	if (!cr0_valid(cpu, v))
		cpu_raise(cpu, VEC_GP, 0);
	v = (v & CR0_BITS) | CR0_ET;
	changed = v ^ cpu->cr0;
	if ((v & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LME) &&
	    (changed & CR0_PDPTE) && !mmu_load_pdptes(cpu, cpu->cr3))
		cpu_raise(cpu, VEC_GP, 0);
	if (changed & CR0_PG) {
		cpu->efer &= ~(uint64_t)EFER_LMA;
		if ((v & CR0_PG) && (cpu->efer & EFER_LME))
			cpu->efer |= EFER_LMA;
	}
	cpu->cr0 = v;
	if (changed & (CR0_PG | CR0_PE))
		mmu_flush_all(cpu);
	cpu_mode_update(cpu);
}

static void cr3_write(struct cpu *cpu, uint64_t v)
{
	bool pcid = cpu->cr4 & CR4_PCIDE;

	/*
	 * Bit 63 asks to keep the translations of the PCID. They may be dropped all the same, and
	 * are.
	 */
	if (pcid)
		v &= ~(1ull << 63);
	if (cpu_long(cpu) && v >> CPUID_V1_PHYS_BITS)
		cpu_raise(cpu, VEC_GP, 0);
	if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !cpu_long(cpu) &&
	    !mmu_load_pdptes(cpu, v))
		cpu_raise(cpu, VEC_GP, 0);
	cpu->cr3 = v;
	mmu_flush_nonglobal(cpu);
}

static bool cr4_valid(const struct cpu *cpu, uint64_t v)
{
	if (v & ~(cpu->bus.version == 2 ? CPUID_V2_CR4_MASK : CPUID_V1_CR4_MASK))
		return false;
	if (cpu_long(cpu) && !(v & CR4_PAE))
		return false;
	if ((v & CR4_PCIDE) && !(cpu->cr4 & CR4_PCIDE) && (!cpu_long(cpu) || (cpu->cr3 & 0xfff)))
		return false;
	return true;
}

static void cr4_write(struct cpu *cpu, uint64_t v)
{
	uint64_t changed = v ^ cpu->cr4;

	if (!cr4_valid(cpu, v))
		cpu_raise(cpu, VEC_GP, 0);
	if ((cpu->cr0 & CR0_PG) && (v & CR4_PAE) && !cpu_long(cpu) && (changed & CR4_PDPTE) &&
	    !mmu_load_pdptes(cpu, cpu->cr3))
		cpu_raise(cpu, VEC_GP, 0);
	cpu->cr4 = v;
	if (changed & CR4_FLUSH)
		mmu_flush_all(cpu);
	cpu_mode_update(cpu);
}

static void op_mov_to_cr(struct cpu *cpu, const struct op *op)
{
	uint64_t v = reg_get(cpu, op->r1, cpu_mode64(cpu) ? 8 : 4);

	require_cpl0(cpu);
	switch (op->r0) {
	case 0:
		cr0_write(cpu, v);
		break;
	case 2:
		cpu->cr2 = v;
		break;
	case 3:
		cr3_write(cpu, v);
		break;
	case 4:
		cr4_write(cpu, v);
		break;
	default:
		if (v > 15)
			cpu_raise(cpu, VEC_GP, 0);
		if (cpu->bus.cr8_write)
			cpu->bus.cr8_write(cpu->bus.ctx, v);
		else
			cpu->cr8 = v;
		break;
	}
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static uint64_t cr_read(const struct cpu *cpu, unsigned n)
{
	const uint64_t cr[9] = {
		[0] = cpu->cr0, [2] = cpu->cr2, [3] = cpu->cr3, [4] = cpu->cr4, [8] = cpu->cr8
	};

	/* With a local APIC, CR8 is a part of its task priority. */
	if (n == 8 && cpu->bus.cr8_read)
		return cpu->bus.cr8_read(cpu->bus.ctx);

	return cr[n];
}

static void op_mov_from_cr(struct cpu *cpu, const struct op *op)
{
	require_cpl0(cpu);
	reg_put(cpu, op->r0, cpu_mode64(cpu) ? 8 : 4, cr_read(cpu, op->r1));
	OP_NEXT;
}

/* CLTS and LMSW keep to CR0 as MOV does. */
static void op_clts(struct cpu *cpu, const struct op *op)
{
	require_cpl0(cpu);
	cpu->cr0 &= ~(uint64_t)CR0_TS;
	cpu_mode_update(cpu);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_lmsw(struct cpu *cpu, const struct op *op)
{
	uint16_t v;

	require_cpl0(cpu);
	v = rm16_get(cpu, op, op->r0) & (CR0_PE | CR0_MP | CR0_EM | CR0_TS);
	/* LMSW can enter protected mode, but not leave it. */
	cr0_write(cpu, (cpu->cr0 & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS)) | v);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

/* User-mode instruction prevention: SGDT, SIDT, SLDT, SMSW, STR. */
static void require_umip(struct cpu *cpu)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
		cpu_raise(cpu, VEC_GP, 0);
}

/* Memory gets 16 bits whatever the operand size, a register all of it. */
static void put_rm(struct cpu *cpu, const struct op *op, uint64_t v)
{
	if (op->flags & OPF_MEM)
		mem_st16(cpu, op_lin(cpu, op, 2, true), (uint16_t)v);
	else
		reg_put(cpu, op->r0, op->osize, v);
}

static void op_smsw(struct cpu *cpu, const struct op *op)
{
	require_umip(cpu);
	put_rm(cpu, op, cpu->cr0);
	OP_NEXT;
}

/* ---- debug registers ---- */
#define DR6_BITS 0xe00full
#define DR7_BITS 0xffff23ffull

/* DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE takes them away. */
static unsigned dr_number(struct cpu *cpu, unsigned n)
{
	if (n == 4 || n == 5) {
		if (cpu->cr4 & CR4_DE)
			cpu_raise(cpu, VEC_UD, 0);
		n += 2;
	}
	require_cpl0(cpu);
	if (cpu->dr[7] & DR7_GD) {
		cpu_debug_status(cpu, DR6_BD);
		cpu_raise(cpu, VEC_DB, DB_GENERAL_DETECT);
	}
	return n & 7;
}

static void op_mov_to_dr(struct cpu *cpu, const struct op *op)
{
	uint64_t v = reg_get(cpu, op->r1, cpu_mode64(cpu) ? 8 : 4);
	unsigned n = dr_number(cpu, op->r0);

	if (n >= 6 && v >> 32)
		cpu_raise(cpu, VEC_GP, 0);
	if (n == 6)
		v = (v & DR6_BITS) | DR6_ONES;
	else if (n == 7)
		v = (v & DR7_BITS) | DR7_ONES;
	cpu->dr[n & 7] = v;
	if (n != 6)
		mmu_debug_changed(cpu);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_mov_from_dr(struct cpu *cpu, const struct op *op)
{
	unsigned n = dr_number(cpu, op->r1);

	reg_put(cpu, op->r0, cpu_mode64(cpu) ? 8 : 4, cpu->dr[n]);
	OP_NEXT;
}

static ZydisRegisterClass opnd_class(const struct decoded *d, unsigned i)
{
	return opnd_is_reg(d, i) ? ZydisRegisterGetClass(d->opnd[i].reg.value)
				 : ZYDIS_REGCLASS_INVALID;
}

static bool bind_mov_control(const struct decoded *d, struct op *op, uintptr_t arg)
{
	ZydisRegisterClass to = opnd_class(d, 0), from = opnd_class(d, 1);
	unsigned cr = to == ZYDIS_REGCLASS_CONTROL ? op->r0 : op->r1;

	if (op->flags & OPF_LOCK)
		return false;
	if (to == ZYDIS_REGCLASS_CONTROL || from == ZYDIS_REGCLASS_CONTROL) {
		if (cr > 8 || cr == 1 || (cr > 4 && cr < 8) ||
		    (cr == 8 && (d->mode & MODE_SIZE) != MODE_64))
			return false;
		return to == ZYDIS_REGCLASS_CONTROL ? bind_end(d, op, (uintptr_t)op_mov_to_cr)
						    : bind_plain(d, op, (uintptr_t)op_mov_from_cr);
	}
	if (to == ZYDIS_REGCLASS_DEBUG)
		return op->r0 < 8 && bind_end(d, op, (uintptr_t)op_mov_to_dr);
	return from == ZYDIS_REGCLASS_DEBUG && op->r1 < 8 &&
	       bind_plain(d, op, (uintptr_t)op_mov_from_dr);
}

/* ---- descriptor-table registers ---- */
static void store_table(struct cpu *cpu, const struct op *op, const struct table_state *t)
{
	unsigned n = cpu_mode64(cpu) ? 10 : 6;
	uint8_t b[10];

	require_umip(cpu);
	memcpy(b, &t->limit, 2);
	memcpy(b + 2, &t->base, 8);
	mem_st(cpu, op_lin(cpu, op, n, true), b, n);
}

static void op_sgdt(struct cpu *cpu, const struct op *op)
{
	store_table(cpu, op, &cpu->gdtr);
	OP_NEXT;
}

static void op_sidt(struct cpu *cpu, const struct op *op)
{
	store_table(cpu, op, &cpu->idtr);
	OP_NEXT;
}

static void load_table(struct cpu *cpu, const struct op *op, struct table_state *t)
{
	unsigned n = cpu_mode64(cpu) ? 10 : 6;
	uint8_t b[10];
	uint64_t base = 0;

	require_cpl0(cpu);
	mem_ld(cpu, op_lin(cpu, op, n, false), b, n);
	memcpy(&base, b + 2, n - 2);
	if (n == 6 && op->osize == 2)
		base &= 0xffffff;
	if (!canonical(base))
		cpu_raise(cpu, VEC_GP, 0);
	memcpy(&t->limit, b, 2);
	t->base = base;
}

static void op_lgdt(struct cpu *cpu, const struct op *op)
{
	load_table(cpu, op, &cpu->gdtr);
	OP_NEXT;
}

static void op_lidt(struct cpu *cpu, const struct op *op)
{
	load_table(cpu, op, &cpu->idtr);
	OP_NEXT;
}

static void op_sldt(struct cpu *cpu, const struct op *op)
{
	require_umip(cpu);
	put_rm(cpu, op, cpu->seg[SEG_LDTR].selector);
	OP_NEXT;
}

static void op_str(struct cpu *cpu, const struct op *op)
{
	require_umip(cpu);
	put_rm(cpu, op, cpu->seg[SEG_TR].selector);
	OP_NEXT;
}

/* Upper half of the descriptor in long mode, presence, and a base that can be used. */
static void finish_system_desc(struct cpu *cpu, struct desc *d)
{
	if (!(d->s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, d->s.selector));
	if (!cpu_long(cpu))
		return;
	desc_fetch_upper(cpu, d, VEC_GP);
	if (!canonical(d->s.base))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, d->s.selector));
}

static void op_lldt(struct cpu *cpu, const struct op *op)
{
	struct desc d;
	uint16_t sel;

	require_cpl0(cpu);
	sel = rm16_get(cpu, op, op->r0);
	if (sel_null(sel)) {
		seg_set_null(cpu, SEG_LDTR, sel);
		OP_NEXT;
	}
	if (sel & 4)
		cpu_raise(cpu, VEC_GP, sel_error(cpu, sel));
	desc_fetch(cpu, sel, VEC_GP, &d);
	if ((d.s.attr & SEG_S) || SEG_TYPE(d.s.attr) != SYS_LDT)
		cpu_raise(cpu, VEC_GP, sel_error(cpu, sel));
	finish_system_desc(cpu, &d);
	cpu->seg[SEG_LDTR] = d.s;
	OP_NEXT;
}

static void op_ltr(struct cpu *cpu, const struct op *op)
{
	struct desc d;
	unsigned type;
	uint16_t sel;

	require_cpl0(cpu);
	sel = rm16_get(cpu, op, op->r0);
	if (sel_null(sel))
		cpu_raise(cpu, VEC_GP, 0);
	if (sel & 4)
		cpu_raise(cpu, VEC_GP, sel_error(cpu, sel));
	desc_fetch(cpu, sel, VEC_GP, &d);
	type = SEG_TYPE(d.s.attr);
	if ((d.s.attr & SEG_S) || !(type == SYS_TSS32 || (type == SYS_TSS16 && !cpu_long(cpu))))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, sel));
	finish_system_desc(cpu, &d);
	desc_set_busy(cpu, &d, true);
	d.s.attr |= SYS_TSS_BUSY_BIT;
	cpu->seg[SEG_TR] = d.s;
	OP_NEXT;
}

/* ---- flags ---- */
static void require_iopl(struct cpu *cpu)
{
	/*
	 * CPL is 3 in virtual-8086 mode and 0 in real mode, so this one rule serves them all (no
	 * VME, no PVI).
	 */
	if (unlikely(cpu->cpl > cpu_iopl(cpu)))
		cpu_raise(cpu, VEC_GP, 0);
}

static void op_cli(struct cpu *cpu, const struct op *op)
{
	require_iopl(cpu);
	cpu->rflags &= ~(uint64_t)FL_IF;
	OP_NEXT;
}

static void op_sti(struct cpu *cpu, const struct op *op)
{
	require_iopl(cpu);
	if (!(cpu->rflags & FL_IF))
		cpu->shadow = true;
	cpu->rflags |= FL_IF;
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void require_vm86_iopl3(struct cpu *cpu)
{
	if ((cpu->rflags & FL_VM) && cpu_iopl(cpu) != 3)
		cpu_raise(cpu, VEC_GP, 0);
}

static void op_pushf(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	uint64_t image = flags_get(cpu) & ~(uint64_t)(FL_VM | FL_RF);

	require_vm86_iopl3(cpu);
	stack_push(cpu, &st, &image, 1, op->osize, 0);
	stack_set_pointer(cpu, st.sp, st.mask);
	OP_NEXT;
}

static void op_popf(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT, old = flags_get(cpu), v;

	require_vm86_iopl3(cpu);
	v = stack_peek(cpu, &st, 0, op->osize, 0);
	if (op->osize > 2)
		mask |= FL_AC | FL_ID;
	if (cpu->cpl == 0)
		mask |= FL_IOPL;
	if (cpu->cpl <= cpu_iopl(cpu))
		mask |= FL_IF;
	stack_set_pointer(cpu, st.sp + op->osize, st.mask);
	flags_set(cpu, (old & ~(mask | FL_RF)) | (v & mask));
	if ((old ^ v) & mask & FL_AC)
		cpu_mode_update(cpu);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void set_ac(struct cpu *cpu, bool on)
{
	if (cpu->cpl)
		cpu_raise(cpu, VEC_UD, 0);
	cpu->rflags = (cpu->rflags & ~(uint64_t)FL_AC) | (on ? FL_AC : 0);
	cpu_mode_update(cpu);
}

static void op_stac(struct cpu *cpu, const struct op *op)
{
	set_ac(cpu, true);
	OP_NEXT;
}

static void op_clac(struct cpu *cpu, const struct op *op)
{
	set_ac(cpu, false);
	OP_NEXT;
}

/* ---- the rest ---- */
static void op_hlt(struct cpu *cpu, const struct op *op)
{
	require_cpl0(cpu);
	cpu->stats.hlt++;
	cpu_is_exit(cpu);
	cpu->halted = true;
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_invlpg(struct cpu *cpu, const struct op *op)
{
	uint64_t lin = cpu->ea_base[op->seg] + op_ea(cpu, op);

	require_cpl0(cpu);
	if (!cpu_mode64(cpu))
		lin = (uint32_t)lin;
	if (canonical(lin))
		mmu_flush_page(cpu, lin);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

/* INVD, WBINVD: memory is always coherent. */
static void op_cache(struct cpu *cpu, const struct op *op)
{
	require_cpl0(cpu);
	OP_NEXT;
}

static void require_osxsave(struct cpu *cpu)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		cpu_raise(cpu, VEC_UD, 0);
}

static void op_xgetbv(struct cpu *cpu, const struct op *op)
{
	require_osxsave(cpu);
	if ((uint32_t)cpu->gpr[R_RCX] != 0)
		cpu_raise(cpu, VEC_GP, 0);
	cpu->gpr[R_RAX] = (uint32_t)cpu->xcr0;
	cpu->gpr[R_RDX] = cpu->xcr0 >> 32;
	OP_NEXT;
}

static void op_xsetbv(struct cpu *cpu, const struct op *op)
{
	uint64_t v = (uint32_t)cpu->gpr[R_RAX] | cpu->gpr[R_RDX] << 32;

	require_osxsave(cpu);
	require_cpl0(cpu);
	if ((uint32_t)cpu->gpr[R_RCX] != 0 || (v & ~CPUID_V1_XCR0_MASK) || !(v & 1))
		cpu_raise(cpu, VEC_GP, 0);
	cpu->xcr0 = v;
	OP_NEXT;
}

#define H(fn) ((uintptr_t)(fn))

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_MOV, bind_mov_control, 0 },
	{ ZYDIS_MNEMONIC_CLTS, bind_end, H(op_clts) },
	{ ZYDIS_MNEMONIC_LMSW, bind_end, H(op_lmsw) },
	{ ZYDIS_MNEMONIC_SMSW, bind_plain, H(op_smsw) },
	{ ZYDIS_MNEMONIC_SGDT, bind_plain, H(op_sgdt) },
	{ ZYDIS_MNEMONIC_SIDT, bind_plain, H(op_sidt) },
	{ ZYDIS_MNEMONIC_LGDT, bind_plain, H(op_lgdt) },
	{ ZYDIS_MNEMONIC_LIDT, bind_plain, H(op_lidt) },
	{ ZYDIS_MNEMONIC_SLDT, bind_protected, H(op_sldt) },
	{ ZYDIS_MNEMONIC_STR, bind_protected, H(op_str) },
	{ ZYDIS_MNEMONIC_LLDT, bind_protected, H(op_lldt) },
	{ ZYDIS_MNEMONIC_LTR, bind_protected, H(op_ltr) },
	{ ZYDIS_MNEMONIC_CLI, bind_plain, H(op_cli) },
	{ ZYDIS_MNEMONIC_STI, bind_end, H(op_sti) },
	{ ZYDIS_MNEMONIC_PUSHF, bind_plain, H(op_pushf) },
	{ ZYDIS_MNEMONIC_PUSHFD, bind_plain, H(op_pushf) },
	{ ZYDIS_MNEMONIC_PUSHFQ, bind_plain, H(op_pushf) },
	{ ZYDIS_MNEMONIC_POPF, bind_end, H(op_popf) },
	{ ZYDIS_MNEMONIC_POPFD, bind_end, H(op_popf) },
	{ ZYDIS_MNEMONIC_POPFQ, bind_end, H(op_popf) },
	{ ZYDIS_MNEMONIC_STAC, bind_plain, H(op_stac) },
	{ ZYDIS_MNEMONIC_CLAC, bind_plain, H(op_clac) },
	{ ZYDIS_MNEMONIC_HLT, bind_end, H(op_hlt) },
	{ ZYDIS_MNEMONIC_INVLPG, bind_end, H(op_invlpg) },
	{ ZYDIS_MNEMONIC_INVD, bind_plain, H(op_cache) },
	{ ZYDIS_MNEMONIC_WBINVD, bind_plain, H(op_cache) },
	{ ZYDIS_MNEMONIC_XGETBV, bind_plain, H(op_xgetbv) },
	{ ZYDIS_MNEMONIC_XSETBV, bind_plain, H(op_xsetbv) },
};

BINDING_TABLE(system_bindings, rows);
