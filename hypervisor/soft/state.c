/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPU's architectural state, out of and into struct cpu_state. */
#include <errno.h>
#include <string.h>

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/run.h"

/* Registers that have one field of the same name on both sides. */
#define COPY_SAME(to, from)                                                             \
	do {                                                                            \
		memcpy((to)->gpr, (from)->gpr, 16 * sizeof(uint64_t));                  \
		memcpy((to)->seg, (from)->seg, sizeof((to)->seg));                      \
		memcpy((to)->pdpte, (from)->pdpte, sizeof((to)->pdpte));                \
		memcpy((to)->dr, (from)->dr, sizeof((to)->dr));                         \
		memcpy((to)->mtrr_fixed, (from)->mtrr_fixed, sizeof((to)->mtrr_fixed)); \
		memcpy((to)->mtrr_phys, (from)->mtrr_phys, sizeof((to)->mtrr_phys));    \
		(to)->rip = (from)->rip;                                                \
		(to)->gdtr = (from)->gdtr;                                              \
		(to)->idtr = (from)->idtr;                                              \
		(to)->cr0 = (from)->cr0;                                                \
		(to)->cr2 = (from)->cr2;                                                \
		(to)->cr3 = (from)->cr3;                                                \
		(to)->cr4 = (from)->cr4;                                                \
		(to)->cr8 = (from)->cr8;                                                \
		(to)->xcr0 = (from)->xcr0;                                              \
		(to)->efer = (from)->efer;                                              \
		(to)->star = (from)->star;                                              \
		(to)->lstar = (from)->lstar;                                            \
		(to)->cstar = (from)->cstar;                                            \
		(to)->fmask = (from)->fmask;                                            \
		(to)->kernel_gs_base = (from)->kernel_gs_base;                          \
		(to)->tsc_aux = (from)->tsc_aux;                                        \
		(to)->pat = (from)->pat;                                                \
		(to)->misc_enable = (from)->misc_enable;                                \
		(to)->sysenter_cs = (from)->sysenter_cs;                                \
		(to)->sysenter_esp = (from)->sysenter_esp;                              \
		(to)->sysenter_eip = (from)->sysenter_eip;                              \
		(to)->tsc_offset = (from)->tsc_offset;                                  \
		(to)->apic_base = (from)->apic_base;                                    \
		(to)->mtrr_def_type = (from)->mtrr_def_type;                            \
		(to)->debugctl = (from)->debugctl;                                      \
		(to)->halted = (from)->halted;                                          \
		(to)->shutdown = (from)->shutdown;                                      \
		(to)->nmi_blocked = (from)->nmi_blocked;                                \
		(to)->nmi_pending = (from)->nmi_pending;                                \
		(to)->intr_pending = (from)->intr_pending;                              \
		(to)->intr_vector = (from)->intr_vector;                                \
		(to)->in_rep = (from)->in_rep;                                          \
		(to)->event = (from)->event;                                            \
	} while (0)

void soft_state_get(const struct cpu *cpu, struct cpu_state *s)
{
	memset(s, 0, sizeof(*s));
	COPY_SAME(s, cpu);
	s->count = cpu->count_exits ? cpu->exits : cpu->count;
	s->rflags = flags_get(cpu);
	s->sti_shadow = cpu->shadow && !cpu->shadow_movss;
	s->movss_shadow = cpu->shadow_movss;
	s->debug_pending = cpu->db_pending;
	s->debug_dr6 = cpu->db_dr6;
	fpu_to_fxsave(&cpu->fpu, s->fxsave);
}

static bool canonical(uint64_t v)
{
	return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}

#define CR0_KNOWN                                                                                  \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)
#define CR4_KNOWN                                                                                 \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | \
	 CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE |        \
	 CR4_SMEP | CR4_SMAP)
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NX)

/* The reason why no CPU can be in this state; NULL: one can. */
static const char *state_fault(const struct cpu_state *s)
{
	bool lma = s->efer & EFER_LMA;

	if (s->cr0 & ~(uint64_t)CR0_KNOWN || ((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)))
		return "CR0";
	if (s->cr4 & ~(uint64_t)CR4_KNOWN || (lma && !(s->cr4 & CR4_PAE)))
		return "CR4";
	if (s->efer & ~(uint64_t)EFER_KNOWN || lma != ((s->efer & EFER_LME) && (s->cr0 & CR0_PG)))
		return "EFER";
	if (s->xcr0 & ~3ull || !(s->xcr0 & 1))
		return "XCR0";
	if (s->rflags >> 22 || (lma && (s->rflags & FL_VM) && (s->seg[SEG_CS].attr & SEG_L)))
		return "RFLAGS";
	if (lma && !canonical(s->rip))
		return "RIP";
	if (s->debugctl & ~(uint64_t)DEBUGCTL_BTF)
		return "IA32_DEBUGCTL";
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		if (!canonical(s->seg[i].base))
			return "a segment base";
	}
	if (s->event.valid && (s->event.type > 6 || s->event.type == 1))
		return "the pending event";
	return NULL;
}

static uint8_t cpl_of(const struct cpu_state *s)
{
	if (!(s->cr0 & CR0_PE))
		return 0;
	return s->rflags & FL_VM ? 3 : SEG_DPL(s->seg[SEG_SS].attr);
}

int soft_state_set(struct cpu *cpu, const struct cpu_state *s, struct err *err)
{
	const char *fault = state_fault(s);
	struct fpu_state fpu;

	if (!fault && fpu_from_fxsave(&fpu, s->fxsave) < 0)
		fault = "MXCSR";
	if (fault)
		return err_set(err, EINVAL,
			       "CPU state is invalid: %s has a value that no CPU can hold", fault);
	COPY_SAME(cpu, s);
	cpu->count = cpu->exits = s->count;
	cpu->exit_seen = false;
	cpu->at_landmark = true;
	flags_set(cpu, s->rflags & 0x3fffff & ~0x8028ull);
	cpu->shadow = s->sti_shadow || s->movss_shadow;
	cpu->shadow_movss = s->movss_shadow;
	cpu->db_pending = s->debug_pending;
	cpu->db_dr6 = s->debug_dr6;
	cpu->undelivered = 0;
	cpu->op = NULL;
	cpu->block = NULL;
	cpu->cpl = cpl_of(s);
	cpu->fpu = fpu;
	cpu_mode_update(cpu);
	mmu_flush_all(cpu);
	block_drop_all(cpu);
	return 0;
}
