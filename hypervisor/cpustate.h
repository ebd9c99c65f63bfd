/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Architectural state of one vCPU, as engines exchange it with the machine: what a checkpoint
 * stores, a digest covers and a backup receives. No padding: the struct is stored and hashed field
 * by field through cpu_state_save().
 */
#ifndef HYPERVISOR_CPUSTATE_H
#define HYPERVISOR_CPUSTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "hypervisor/x86.h"

/* Numbers as in instruction encodings. */
enum gpr {
	R_RAX,
	R_RCX,
	R_RDX,
	R_RBX,
	R_RSP,
	R_RBP,
	R_RSI,
	R_RDI,
	R_R8,
	R_R9,
	R_R10,
	R_R11,
	R_R12,
	R_R13,
	R_R14,
	R_R15
};
enum seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/*
 * Segment attributes in the layout of VMX access rights (Intel SDM vol. 3, table 25-2):
 *
 *   16   15 14 13 12  11..8  7  6..5  4  3..0
 *  unus  G  DB L  AVL  -     P  DPL   S  type
 */
#define SEG_TYPE(attr) ((attr)&15u)
#define SEG_S	       (1u << 4)
#define SEG_DPL(attr)  (((attr) >> 5) & 3u)
#define SEG_P	       (1u << 7)
#define SEG_AVL	       (1u << 12)
#define SEG_L	       (1u << 13)
#define SEG_DB	       (1u << 14)
#define SEG_G	       (1u << 15)
#define SEG_UNUSABLE   (1u << 16)

struct seg_state {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity already applied */
	uint32_t attr;
	uint16_t selector;
};

struct table_state {
	uint64_t base;
	uint16_t limit;
};

/*
 * An event that is to be delivered before the next instruction (set by a restore, or half-done on
 * vmx).
 */
struct event_state {
	bool valid;
	uint8_t vector;
	uint8_t type; /* VMX interruption type: 0 external interrupt, 2 NMI, 3 exception, 4 software
			 interrupt ... */
	bool has_error;
	uint32_t error;
};

struct cpu_state {
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	struct seg_state seg[SEG_COUNT];
	struct table_state gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t xcr0;
	uint64_t pdpte[4]; /* loaded with CR3 under PAE paging */
	uint64_t dr[8];	   /* 0-3, 6, 7 used */

	uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, pat, misc_enable;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t
		tsc_offset; /* guest TSC = virtual time in ns + tsc_offset (written by WRMSR 10h) */
	uint64_t apic_base;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys[16];
	uint64_t debugctl; /* IA32_DEBUGCTL: DEBUGCTL_BTF or 0 */

	/*
	 * FXSAVE64 layout with the full tag word implied by the abridged one (SDM vol. 1, 10.5.1).
	 */
	uint8_t fxsave[512];

	/* Execution state that no register shows. */
	bool halted;		  /* after HLT, until an interrupt */
	bool sti_shadow;	  /* interrupts blocked for one instruction after STI */
	bool movss_shadow;	  /* ... or after a load of SS */
	bool nmi_blocked;	  /* between NMI delivery and IRET */
	bool shutdown;		  /* after a triple fault */
	struct event_state event; /* to be delivered first */
	bool nmi_pending;	  /* injected and not delivered yet */
	bool intr_pending;	  /* likewise an external interrupt ... */
	uint8_t intr_vector;	  /* ... with this vector */
	bool in_rep;		  /* between two iterations of the REP instruction at RIP */
	bool debug_pending;	  /* a debug trap is to be delivered ... */
	uint64_t debug_dr6;	  /* ... with these DR6 bits */

	uint64_t count; /* retired instructions since reset */
};

/* State after RESET: real mode at F000:FFF0, as in SDM vol. 3, table 10-1. */
void cpu_state_reset(struct cpu_state *s);
/* Byte image, versioned by the log and checkpoint formats; restore returns 0 or -EINVAL. */
void cpu_state_save(const struct cpu_state *s, struct buf *out);
int cpu_state_restore(struct cpu_state *s, struct rd *in);

#endif
