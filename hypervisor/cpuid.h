/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processor that a guest sees: one fixed model per machine version, the same on every host and
 * engine.
 *
 * Version 1 is an x86-64-v2 processor with one logical CPU, no local APIC, no VMX, no MCA, no
 * performance monitoring: what is not offered here raises #UD or #GP when a guest uses it all the
 * same.
 *
 * Version 2 is the same processor with a local APIC (xAPIC, x2APIC, TSC deadline, always running)
 * and without XSAVE: with x87 and SSE alone FXSAVE does all, and an OS that finds no OSXSAVE has
 * nothing to switch or to probe. docs/cpu.md has the reasons.
 */
#ifndef HYPERVISOR_CPUID_H
#define HYPERVISOR_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/x86.h"

#define CPUID_1_EDX_APIC (1u << 9)

/* Family 6, model 2Ch, stepping 2; also what EDX holds after RESET. */
#define CPUID_V1_SIGNATURE 0x000206c2u

#define CPUID_V1_PHYS_BITS 40u
#define CPUID_V1_TSC_HZ	   1000000000ull

/*
 * Bits of CR4 that exist. No VME and PVI (virtual-8086 extensions), no MCE.
 */
#define CPUID_V1_CR4_MASK                                                                   \
	((uint64_t)(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | \
		    CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE |    \
		    CR4_SMEP | CR4_SMAP))
#define CPUID_V2_CR4_MASK  (CPUID_V1_CR4_MASK & ~(uint64_t)CR4_OSXSAVE)
#define CPUID_V1_EFER_MASK ((uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX))
/* x87 and SSE */
#define CPUID_V1_XCR0_MASK 3ull

#define CPUID_V1_MISC_ENABLE 0x1801ull	    /* fast strings; BTS and PEBS unavailable */
#define CPUID_V1_PLATFORM    0x0a00ull	    /* MSR CEh: maximum non-turbo ratio 10 times 100 MHz */
#define CPUID_V1_UCODE	     0x100000000ull /* MSR 8Bh: microcode revision 1 */
#define CPUID_V1_MTRR_CAP    0x508ull	    /* 8 variable ranges, fixed ranges, write combining */
#define CPUID_V1_MTRR_RANGES 8u
#define CPUID_V1_APIC_BASE   0xfee00100ull /* bootstrap processor, APIC disabled */

/* State of the CPU that answers depend on, besides leaf and subleaf. */
struct cpuid_dynamic {
	uint64_t cr4;	/* OSXSAVE */
	bool long_code; /* executed in 64-bit mode: SYSCALL is reported only there */
	bool apic_off;	/* IA32_APIC_BASE[11] is 0: no APIC is reported */
};

/* CPUID with EAX = leaf and ECX = sub on machine version 1; out: EAX, EBX, ECX, EDX. */
void cpuid_v1(uint32_t leaf, uint32_t sub, const struct cpuid_dynamic *dyn, uint32_t out[4]);

/* CPUID likewise on machine version 2. */
void cpuid_v2(uint32_t leaf, uint32_t sub, const struct cpuid_dynamic *dyn, uint32_t out[4]);

/* Row of a table for an executor of CPUID outside of this program: the VT-x module. */
struct cpuid_entry {
	uint32_t leaf, sub;
	bool any_sub; /* sub means nothing */
	bool osxsave; /* ECX bit 27 follows CR4.OSXSAVE; clear here */
	bool syscall; /* EDX bit 11 is set in 64-bit code only; set here */
	bool apic;    /* EDX bit 9 is clear while the APIC is disabled; set here if there is one */
	uint32_t out[4];
};

/*
 * Machine version 1 as a table: every leaf that exists, with the sub-leaves that are asked for in
 * practice. Returns the number of entries, at most max.
 */
size_t cpuid_v1_table(struct cpuid_entry *t, size_t max);
size_t cpuid_v2_table(struct cpuid_entry *t, size_t max);
/*
 * Revision of what instructions do where CPUID shows nothing: undefined flags, the order of faults,
 * bits of results. A change that gives a guest another answer raises the number, because digests of
 * state from before the change cannot be reached any more. Revision 1 is that of programs from
 * before the software CPU was held against Intel's silicon.
 */
#define CPUID_V1_REVISION 2u

/* XXH3 over the whole model and its revision: logs and replicas compare it. */
uint64_t cpuid_v1_digest(void);
/*
 * XXH3 over the model of machine version 2. What instructions do is the same CPU's in both, so its
 * revision is in cpuid_v1_digest(), which is compared for either; what version 2 does otherwise
 * (docs/cpu.md) changes with MACHINE_V2_REVISION.
 */
uint64_t cpuid_v2_digest(void);
/* The revision that a digest of this model stands for; 0: it is of another model, or a later one.
 */
unsigned cpuid_v1_revision(uint64_t digest);
/* A phrase that says why a recording or replica with this digest cannot go on here; NULL: it can.
 */
const char *cpuid_v1_refusal(uint64_t digest, char *text, size_t n);

_Static_assert(CPUID_V1_CR4_MASK == 0x00370fbc, "bits of CR4 in machine version 1");
_Static_assert(CPUID_V1_EFER_MASK == 0x0d01, "bits of EFER in machine version 1");

#endif
