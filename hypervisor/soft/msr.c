// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Model-specific registers, time stamp, CPUID and random numbers. The registers are those of the
 * CPUID model; any other number raises #GP. Numbers and layouts: Intel SDM vol. 4.
 */
#include <stddef.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/soft/sys.h"

#define MSR_TSC		 0x10
#define MSR_MTRR_PHYS	 0x200
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC	 0x800
#define MSR_X2APIC_LAST	 0x8ff
#define APIC_BASE_BSP	 (1ull << 8)
#define MTRR_DEF_BITS	 0xcffull
#define MTRR_MASK_VALID	 (1ull << 11)
#define DEBUGCTL_LBR	 1ull /* accepted, but no branch is recorded */
#define MISC_FAST_STRING 1ull
/* Bits of IA32_MISC_ENABLE that exist; only fast strings can be switched. */
#define MISC_KNOWN 0x400c51889ull

struct msr {
	uint32_t first, count;
	/* NULL: #GP. write returns false for a value that raises #GP. */
	uint64_t (*read)(struct cpu *cpu, const struct msr *m, uint32_t n);
	bool (*write)(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v);
	uint64_t constant; /* for msr_constant() */
	size_t field;	   /* offset in struct cpu, for the plain ones */
	uint64_t bits;	   /* bits that may be set, for the plain ones */
	unsigned since;	   /* the first machine version that has it; 0: every one */
};

static uint64_t *msr_field(struct cpu *cpu, const struct msr *m, uint32_t n)
{
	return (uint64_t *)((char *)cpu + m->field) + n;
}

/* ---- kinds of registers ---- */
static uint64_t msr_constant(struct cpu *cpu, const struct msr *m, uint32_t n)
{
	return m->constant;
}

static uint64_t msr_plain_read(struct cpu *cpu, const struct msr *m, uint32_t n)
{
	return *msr_field(cpu, m, n);
}

static bool msr_plain_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (v & ~m->bits)
		return false;
	*msr_field(cpu, m, n) = v;
	return true;
}

/* Writes an MSR of which only the low half exists; the high half of the value is lost. */
static bool msr_low_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	*msr_field(cpu, m, n) = (uint32_t)v;
	return true;
}

static bool msr_address_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (!canonical(v))
		return false;
	*msr_field(cpu, m, n) = v;
	return true;
}

static bool msr_ignore_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	return !(v & ~m->bits);
}

/* ---- one by one ---- */
static uint64_t tsc_now(struct cpu *cpu)
{
	cpu->stats.rdtsc++;
	return cpu->bus.time_ns(cpu->bus.ctx) + cpu->tsc_offset;
}

static uint64_t tsc_read(struct cpu *cpu, const struct msr *m, uint32_t n)
{
	return tsc_now(cpu);
}

/* A local APIC compares deadlines with the TSC. */
static void tsc_set_offset(struct cpu *cpu, uint64_t offset)
{
	cpu->tsc_offset = offset;
	if (cpu->bus.tsc_changed)
		cpu->bus.tsc_changed(cpu->bus.ctx, offset);
}

static bool tsc_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	tsc_set_offset(cpu, v - cpu->bus.time_ns(cpu->bus.ctx));
	return true;
}

static bool tsc_adjust_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	tsc_set_offset(cpu, v);
	return true;
}

static bool apic_base_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	/* There is no APIC to enable; only its address can be written. */
	if (v & (~(((1ull << CPUID_V1_PHYS_BITS) - 1) & PAGE_MASK) & ~APIC_BASE_BSP))
		return false;
	cpu->apic_base = v;
	return true;
}

static bool efer_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (v & ~CPUID_V1_EFER_MASK)
		return false;
	if ((cpu->cr0 & CR0_PG) && ((v ^ cpu->efer) & EFER_LME))
		return false;
	cpu->efer = (v & ~(uint64_t)EFER_LMA) | (cpu->efer & EFER_LMA);
	cpu_mode_update(cpu);
	return true;
}

static bool pat_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned type = (v >> (8 * i)) & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	cpu->pat = v;
	return true;
}

static bool misc_enable_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (v & ~MISC_KNOWN)
		return false;
	cpu->misc_enable = (cpu->misc_enable & ~MISC_FAST_STRING) | (v & MISC_FAST_STRING);
	return true;
}

static bool debugctl_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (v & ~(DEBUGCTL_LBR | DEBUGCTL_BTF))
		return false;
	cpu->debugctl = v & DEBUGCTL_BTF;
	return true;
}

/* Memory types 0, 1, 4, 5, 6 (vol. 3, table 11-8). */
static bool mtrr_type_valid(unsigned type)
{
	return type <= 1 || (type >= 4 && type <= 6);
}

static bool mtrr_def_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if ((v & ~MTRR_DEF_BITS) || !mtrr_type_valid(v & 0xff))
		return false;
	cpu->mtrr_def_type = v;
	return true;
}

static bool mtrr_phys_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	uint64_t addr = ((1ull << CPUID_V1_PHYS_BITS) - 1) & PAGE_MASK;

	if (n & 1) {
		if (v & ~(addr | MTRR_MASK_VALID))
			return false;
	} else if ((v & ~(addr | 0xff)) || !mtrr_type_valid(v & 0xff)) {
		return false;
	}
	cpu->mtrr_phys[n] = v;
	return true;
}

static bool mtrr_fixed_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++) {
		if (!mtrr_type_valid((v >> (8 * i)) & 0xff))
			return false;
	}
	*msr_field(cpu, m, n) = v;
	return true;
}

static uint64_t seg_base_read(struct cpu *cpu, const struct msr *m, uint32_t n)
{
	return cpu->seg[SEG_FS + n].base;
}

static bool seg_base_write(struct cpu *cpu, const struct msr *m, uint32_t n, uint64_t v)
{
	if (!canonical(v))
		return false;
	cpu->seg[SEG_FS + n].base = v;
	cpu_mode_update(cpu);
	return true;
}

/* ---- the table ---- */
#define CONSTANT(v)	  .read = msr_constant, .constant = (v)
#define FIELD(f)	  .field = offsetof(struct cpu, f), .read = msr_plain_read
#define PLAIN(f, allowed) FIELD(f), .write = msr_plain_write, .bits = (allowed)
#define ADDRESS(f)	  FIELD(f), .write = msr_address_write

static const struct msr msrs[] = {
	{ MSR_TSC, 1, .read = tsc_read, .write = tsc_write },
	{ 0x17, 1, CONSTANT(0) }, /* IA32_PLATFORM_ID */
	{ MSR_APIC_BASE, 1, FIELD(apic_base), .write = apic_base_write },
	/* IA32_TSC_ADJUST is the sum of all changes of the TSC, and so is tsc_offset. */
	{ 0x3b, 1, FIELD(tsc_offset), .write = tsc_adjust_write },
	{ 0x8b, 1, CONSTANT(CPUID_V1_UCODE), .write = msr_ignore_write,
	  .bits = UINT64_MAX },			  /* IA32_BIOS_SIGN_ID */
	{ 0xce, 1, CONSTANT(CPUID_V1_PLATFORM) }, /* PLATFORM_INFO */
	{ 0xfe, 1, CONSTANT(CPUID_V1_MTRR_CAP) },
	{ 0x174, 1, FIELD(sysenter_cs), .write = msr_low_write },
	{ 0x175, 1, ADDRESS(sysenter_esp) },
	{ 0x176, 1, ADDRESS(sysenter_eip) },
	/* IA32_MCG_CAP: no banks. Xen reads it for its dom0 whatever CPUID says of machine checks.
	 */
	{ 0x179, 1, CONSTANT(0), .since = 2 },
	{ 0x1a0, 1, FIELD(misc_enable), .write = misc_enable_write },
	{ 0x1d9, 1, FIELD(debugctl), .write = debugctl_write },
	{ MSR_MTRR_PHYS, 2 * CPUID_V1_MTRR_RANGES, FIELD(mtrr_phys), .write = mtrr_phys_write },
	{ 0x250, 1, FIELD(mtrr_fixed[0]), .write = mtrr_fixed_write }, /* 64K_00000 */
	{ 0x258, 2, FIELD(mtrr_fixed[1]), .write = mtrr_fixed_write }, /* 16K_80000, 16K_A0000 */
	{ 0x268, 8, FIELD(mtrr_fixed[3]), .write = mtrr_fixed_write }, /* 4K_C0000 ... 4K_F8000 */
	{ 0x277, 1, FIELD(pat), .write = pat_write },
	{ 0x2ff, 1, FIELD(mtrr_def_type), .write = mtrr_def_write },
	{ 0xc0000080, 1, FIELD(efer), .write = efer_write },
	{ 0xc0000081, 1, PLAIN(star, UINT64_MAX) },
	{ 0xc0000082, 1, ADDRESS(lstar) },
	{ 0xc0000083, 1, ADDRESS(cstar) },
	{ 0xc0000084, 1, FIELD(fmask), .write = msr_low_write },
	{ 0xc0000100, 2, .read = seg_base_read, .write = seg_base_write }, /* FS, GS */
	{ 0xc0000102, 1, ADDRESS(kernel_gs_base) },
	{ 0xc0000103, 1, PLAIN(tsc_aux, UINT32_MAX) },
};

static const struct msr *msr_find(const struct cpu *cpu, uint32_t n)
{
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		if (n - msrs[i].first < msrs[i].count && cpu->bus.version >= msrs[i].since)
			return &msrs[i];
	}
	return NULL;
}

/* Registers of the local APIC, where the machine has one. */
static bool msr_is_apic(const struct cpu *cpu, uint32_t n)
{
	return cpu->bus.apic_read && (n == MSR_APIC_BASE || n == MSR_TSC_DEADLINE ||
				      (n >= MSR_X2APIC && n <= MSR_X2APIC_LAST));
}

/* False: #GP. */
static bool msr_read(struct cpu *cpu, uint32_t n, uint64_t *v)
{
	const struct msr *m = msr_find(cpu, n);

	if (msr_is_apic(cpu, n))
		return cpu->bus.apic_read(cpu->bus.ctx, n, v);
	if (!m || !m->read)
		return false;
	*v = m->read(cpu, m, n - m->first);
	return true;
}

static bool msr_write(struct cpu *cpu, uint32_t n, uint64_t v)
{
	const struct msr *m = msr_find(cpu, n);

	if (msr_is_apic(cpu, n))
		return cpu->bus.apic_write(cpu->bus.ctx, n, v);
	return m && m->write && m->write(cpu, m, n - m->first, v);
}

static void op_rdmsr(struct cpu *cpu, const struct op *op)
{
	uint64_t v;

	require_cpl0(cpu);
	cpu->stats.msr++;
	if (!msr_read(cpu, (uint32_t)cpu->gpr[R_RCX], &v))
		cpu_raise(cpu, VEC_GP, 0);
	cpu_is_exit(cpu);
	cpu->gpr[R_RAX] = (uint32_t)v;
	cpu->gpr[R_RDX] = v >> 32;
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_wrmsr(struct cpu *cpu, const struct op *op)
{
	require_cpl0(cpu);
	cpu->stats.msr++;
	if (!msr_write(cpu, (uint32_t)cpu->gpr[R_RCX],
		       (uint32_t)cpu->gpr[R_RAX] | cpu->gpr[R_RDX] << 32))
		cpu_raise(cpu, VEC_GP, 0);
	cpu_is_exit(cpu);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

/* ---- time, identity, random numbers ---- */
static void require_tsc(struct cpu *cpu)
{
	if ((cpu->cr4 & CR4_TSD) && cpu->cpl)
		cpu_raise(cpu, VEC_GP, 0);
}

static void tsc_load(struct cpu *cpu)
{
	uint64_t v;

	require_tsc(cpu);
	v = tsc_now(cpu);
	cpu_is_exit(cpu);
	cpu->gpr[R_RAX] = (uint32_t)v;
	cpu->gpr[R_RDX] = v >> 32;
}

static void op_rdtsc(struct cpu *cpu, const struct op *op)
{
	tsc_load(cpu);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_rdtscp(struct cpu *cpu, const struct op *op)
{
	tsc_load(cpu);
	cpu->gpr[R_RCX] = (uint32_t)cpu->tsc_aux;
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

/* No counters, so every number is out of range. */
static void op_rdpmc(struct cpu *cpu, const struct op *op)
{
	cpu_raise(cpu, VEC_GP, 0);
}

static void op_cpuid(struct cpu *cpu, const struct op *op)
{
	const struct cpuid_dynamic dyn = { .cr4 = cpu->cr4,
					   .long_code = cpu_mode64(cpu),
					   .apic_off = engine_apic_is_off(&cpu->bus) };
	uint32_t out[4];

	cpu->stats.cpuid++;
	cpu_is_exit(cpu);
	(cpu->bus.version == 2 ? cpuid_v2 : cpuid_v1)((uint32_t)cpu->gpr[R_RAX],
						      (uint32_t)cpu->gpr[R_RCX], &dyn, out);
	cpu->gpr[R_RAX] = out[0];
	cpu->gpr[R_RBX] = out[1];
	cpu->gpr[R_RCX] = out[2];
	cpu->gpr[R_RDX] = out[3];
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static void op_random(struct cpu *cpu, const struct op *op)
{
	reg_put(cpu, op->r0, op->osize, cpu->bus.random(cpu->bus.ctx));
	cpu_is_exit(cpu);
	flags_set_arith(cpu, FL_CF);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static bool bind_random(const struct decoded *d, struct op *op, uintptr_t arg)
{
	return opnd_is_reg(d, 0) && bind_end(d, op, arg);
}

#define H(fn) ((uintptr_t)(fn))

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_RDMSR, bind_end, H(op_rdmsr) },
	{ ZYDIS_MNEMONIC_WRMSR, bind_end, H(op_wrmsr) },
	{ ZYDIS_MNEMONIC_RDTSC, bind_end, H(op_rdtsc) },
	{ ZYDIS_MNEMONIC_RDTSCP, bind_end, H(op_rdtscp) },
	{ ZYDIS_MNEMONIC_RDPMC, bind_plain, H(op_rdpmc) },
	{ ZYDIS_MNEMONIC_CPUID, bind_end, H(op_cpuid) },
	{ ZYDIS_MNEMONIC_RDRAND, bind_random, H(op_random) },
	{ ZYDIS_MNEMONIC_RDSEED, bind_random, H(op_random) },
};

BINDING_TABLE(msr_bindings, rows);
