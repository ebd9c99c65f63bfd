/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of the architecture that more than one part needs: vectors, and the bits of registers and
 * page tables, as the Intel SDM names them (vol. 3: 2.3, 2.5, 4.5, 6.3, 17.2; vol. 1: 3.4.3).
 */
#ifndef HYPERVISOR_X86_H
#define HYPERVISOR_X86_H

#include <stdint.h>

/* ---- vectors of exceptions ---- */
enum vector {
	VEC_DE = 0,
	VEC_DB = 1,
	VEC_NMI = 2,
	VEC_BP = 3,
	VEC_OF = 4,
	VEC_BR = 5,
	VEC_UD = 6,
	VEC_NM = 7,
	VEC_DF = 8,
	VEC_TS = 10,
	VEC_NP = 11,
	VEC_SS = 12,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_MF = 16,
	VEC_AC = 17,
	VEC_MC = 18,
	VEC_XM = 19,
};

/* ---- RFLAGS ---- */
#define FL_CF	 (1u << 0)
#define FL_ONE	 (1u << 1)
#define FL_PF	 (1u << 2)
#define FL_AF	 (1u << 4)
#define FL_ZF	 (1u << 6)
#define FL_SF	 (1u << 7)
#define FL_TF	 (1u << 8)
#define FL_IF	 (1u << 9)
#define FL_DF	 (1u << 10)
#define FL_OF	 (1u << 11)
#define FL_IOPL	 (3u << 12)
#define FL_NT	 (1u << 14)
#define FL_RF	 (1u << 16)
#define FL_VM	 (1u << 17)
#define FL_AC	 (1u << 18)
#define FL_VIF	 (1u << 19)
#define FL_VIP	 (1u << 20)
#define FL_ID	 (1u << 21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* ---- control registers ---- */
#define CR0_PE		  (1u << 0)
#define CR0_MP		  (1u << 1)
#define CR0_EM		  (1u << 2)
#define CR0_TS		  (1u << 3)
#define CR0_ET		  (1u << 4)
#define CR0_NE		  (1u << 5)
#define CR0_WP		  (1u << 16)
#define CR0_AM		  (1u << 18)
#define CR0_NW		  (1u << 29)
#define CR0_CD		  (1u << 30)
#define CR0_PG		  (1u << 31)
#define CR4_VME		  (1u << 0)
#define CR4_PVI		  (1u << 1)
#define CR4_TSD		  (1u << 2)
#define CR4_DE		  (1u << 3)
#define CR4_PSE		  (1u << 4)
#define CR4_PAE		  (1u << 5)
#define CR4_MCE		  (1u << 6)
#define CR4_PGE		  (1u << 7)
#define CR4_PCE		  (1u << 8)
#define CR4_OSFXSR	  (1u << 9)
#define CR4_OSXMMEXCPT	  (1u << 10)
#define CR4_UMIP	  (1u << 11)
#define CR4_FSGSBASE	  (1u << 16)
#define CR4_PCIDE	  (1u << 17)
#define CR4_OSXSAVE	  (1u << 18)
#define CR4_SMEP	  (1u << 20)
#define CR4_SMAP	  (1u << 21)
#define MSR_APIC_BASE	  0x1bu
#define APIC_BASE_ENABLED (1u << 11)
#define EFER_SCE	  (1u << 0)
#define EFER_LME	  (1u << 8)
#define EFER_LMA	  (1u << 10)
#define EFER_NX		  (1u << 11)

/* ---- debug registers ---- */
#define DR6_TRAPS    15u	   /* B0 to B3 */
#define DR6_BD	     (1u << 13)	   /* access to a debug register */
#define DR6_BS	     (1u << 14)	   /* single step */
#define DR6_BT	     (1u << 15)	   /* task switch */
#define DR6_ONES     0xffff0ff0ull /* read as one */
#define DR7_GD	     (1ull << 13)  /* general detect */
#define DR7_ONES     0x400ull	   /* read as one */
#define DEBUGCTL_BTF 2u		   /* IA32_DEBUGCTL: RFLAGS.TF steps from branch to branch */

/*
 * DR6 after a debug exception with `bits`: breakpoints that it did not meet do not stay from before
 * (on Intel's processors).
 */
static inline uint64_t x86_debug_status(uint64_t dr6, uint64_t bits)
{
	return (dr6 & ~(uint64_t)DR6_TRAPS) | bits;
}

/* ---- entries of page tables ---- */
#define PTE_P  (1ull << 0)
#define PTE_W  (1ull << 1)
#define PTE_U  (1ull << 2)
#define PTE_A  (1ull << 5)
#define PTE_D  (1ull << 6)
#define PTE_PS (1ull << 7) /* a large page */
#define PTE_G  (1ull << 8)
#define PTE_NX (1ull << 63)

#endif
