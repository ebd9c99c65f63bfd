// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPUID, machine versions 1 and 2. Field layouts: Intel SDM vol. 2, CPUID.
 *
 * The signature is that of a Westmere, whose model number selects no workaround in Linux that would
 * touch a register which this model lacks, and good string functions in glibc. Bits that promise
 * immunity against side channels (IA32_ARCH_CAPABILITIES) are left out: the same model runs on
 * silicon that may not keep the promise.
 */
#include <stddef.h>
#include <stdio.h>
#include <xxhash.h>

#include "hypervisor/cpuid.h"

#define BIT(n) (1u << (n))

#define CR4_OSXSAVE_BIT BIT(18)
#define FEAT_OSXSAVE	BIT(27)
#define FEAT_SYSCALL	BIT(11)

#define LEAF_BASIC_MAX 0x16u
#define LEAF_EXT_MAX   0x80000008u
#define LEAF_HV	       0x40000000u

#define XSAVE_X87_SSE 576u /* legacy area and header: SDM vol. 1, 13.4 */

#define ANY_SUB UINT32_MAX

struct cpuid_row {
	uint32_t leaf, sub;
	uint32_t eax, ebx, ecx, edx;
};

/* Four characters as a register holds them. */
#define CHARS(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Leaves that are not here read as zeros. */
static const struct cpuid_row cpuid_rows[] = {
	/* 0: highest leaf, "GenuineIntel" */
	{ 0, ANY_SUB, LEAF_BASIC_MAX, CHARS('G', 'e', 'n', 'u'), CHARS('n', 't', 'e', 'l'),
	  CHARS('i', 'n', 'e', 'I') },
	/* 1: signature; CLFLUSH line of 64 bytes, APIC ID 0.
	 * ECX: SSE3, PCLMULQDQ, SSSE3, CX16, PCID, SSE4.1, SSE4.2, POPCNT, AES, XSAVE, RDRAND,
	 * hypervisor present (Linux then leaves microcode and host-only registers alone). EDX: FPU,
	 * DE, PSE, TSC, MSR, PAE, CX8, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFSH, MMX, FXSR, SSE,
	 * SSE2 */
	{ 1, ANY_SUB, CPUID_V1_SIGNATURE, 8u << 8,
	  BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(23) | BIT(25) |
		  BIT(26) | BIT(30) | BIT(31),
	  BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(12) |
		  BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) |
		  BIT(26) },
	/* 2: cache descriptor FFh: see leaf 4 */
	{ 2, ANY_SUB, 0x0000ff01, 0, 0, 0 },
	/*
	 * 4: L1 data 32 KiB 8 ways, L1 code 32 KiB 4 ways, L2 256 KiB 8 ways, L3 8 MiB 16 ways;
	 * lines of 64 bytes
	 */
	{ 4, 0, 0x00000121, 7u << 22 | 63, 63, 0 },
	{ 4, 1, 0x00000122, 3u << 22 | 63, 127, 0 },
	{ 4, 2, 0x00000143, 7u << 22 | 63, 511, 0 },
	{ 4, 3, 0x00000163, 15u << 22 | 63, 8191, 0 },
	/* 7: EBX: FSGSBASE, TSC_ADJUST, SMEP, ERMS, FCS and FDS deprecated, RDSEED, SMAP; ECX:
	 * UMIP. TSC_ADJUST tells Linux that the TSC needs no watchdog. */
	{ 7, 0, 0, BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(13) | BIT(18) | BIT(20), BIT(2), 0 },
	/*
	 * 0Dh: XCR0 may hold x87 and SSE; the area has the same size with one of them. No XSAVEOPT,
	 * XSAVEC, XSAVES.
	 */
	{ 0xd, 0, (uint32_t)CPUID_V1_XCR0_MASK, XSAVE_X87_SSE, XSAVE_X87_SSE, 0 },
	/* 15h: TSC = 25 MHz crystal * 40 / 1 = 1 GHz */
	{ 0x15, ANY_SUB, 1, 40, 25000000, 0 },
	/* 16h: base and maximum frequency, bus frequency in MHz */
	{ 0x16, ANY_SUB, 1000, 1000, 100, 0 },
	/* 40000000h: own hypervisor signature, no further leaves */
	{ LEAF_HV, ANY_SUB, LEAF_HV, CHARS('T', 'w', 'i', 'n'), CHARS('s', 't', 'e', 'p'),
	  CHARS('T', 'w', 'i', 'n') },
	/* 80000000h: highest extended leaf */
	{ 0x80000000, ANY_SUB, LEAF_EXT_MAX, 0, 0, 0 },
	/* 80000001h: ECX: LAHF in 64-bit mode; EDX: SYSCALL, NX, 1 GiB pages, RDTSCP, long mode */
	{ 0x80000001, ANY_SUB, 0, 0, BIT(0), FEAT_SYSCALL | BIT(20) | BIT(26) | BIT(27) | BIT(29) },
	/* 80000002h..4h: brand string */
	{ 0x80000002, ANY_SUB, CHARS('T', 'w', 'i', 'n'), CHARS('s', 't', 'e', 'p'),
	  CHARS(' ', 'v', 'i', 'r'), CHARS('t', 'u', 'a', 'l') },
	{ 0x80000003, ANY_SUB, CHARS(' ', 'C', 'P', 'U'), CHARS(' ', 'v', '1', 0), 0, 0 },
	/* 80000006h: L2 256 KiB, 8 ways, lines of 64 bytes */
	{ 0x80000006, ANY_SUB, 0, 0, 256u << 16 | 6u << 12 | 64, 0 },
	/* 80000007h: the TSC keeps its rate in every state */
	{ 0x80000007, ANY_SUB, 0, 0, 0, BIT(8) },
	/* 80000008h: physical and linear address width */
	{ 0x80000008, ANY_SUB, CPUID_V1_PHYS_BITS | 48u << 8, 0, 0, 0 },
};

/* Version 2: where it differs, and rows that version 1 has not; the last row of a leaf counts. */
static const struct cpuid_row cpuid_rows_v2[] = {
	/* 1: as above without XSAVE; ECX: x2APIC, TSC deadline; EDX: APIC, whose ID in EBX is 0 */
	{ 1, ANY_SUB, CPUID_V1_SIGNATURE, 8u << 8,
	  BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(21) | BIT(23) |
		  BIT(24) | BIT(25) | BIT(30) | BIT(31),
	  BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(11) |
		  BIT(12) | BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) |
		  BIT(25) | BIT(26) },
	/* 6: the APIC's timer runs in every state */
	{ 6, ANY_SUB, BIT(2), 0, 0, 0 },
	/* 0Bh: one thread in one core, x2APIC ID 0 in EDX */
	{ 0xb, 0, 0, 1, 0x100, 0 },
	{ 0xb, 1, 0, 1, 0x201, 0 },
	{ 0xb, 2, 0, 0, 2, 0 },
	/* 0Dh: no XSAVE */
	{ 0xd, 0, 0, 0, 0, 0 },
	{ 0x80000003, ANY_SUB, CHARS(' ', 'C', 'P', 'U'), CHARS(' ', 'v', '2', 0), 0, 0 },
};

/*
 * A leaf beyond the highest one answers like the highest basic leaf; the hypervisor's range answers
 * with zeros.
 */
static uint32_t cpuid_clamp(uint32_t leaf)
{
	if (leaf >= LEAF_HV && leaf <= LEAF_HV + 0xffffff)
		return leaf;
	if (leaf & 0x80000000u)
		return leaf <= LEAF_EXT_MAX ? leaf : LEAF_BASIC_MAX;
	return leaf <= LEAF_BASIC_MAX ? leaf : LEAF_BASIC_MAX;
}

#define ROWS(t) (t), sizeof(t) / sizeof((t)[0])

static const struct cpuid_row *row_find(const struct cpuid_row *rows, size_t n, uint32_t leaf,
					uint32_t sub)
{
	const struct cpuid_row *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (rows[i].leaf == leaf && (rows[i].sub == ANY_SUB || rows[i].sub == sub))
			found = &rows[i];
	}
	return found;
}

static const struct cpuid_row *model_row(unsigned version, uint32_t leaf, uint32_t sub)
{
	const struct cpuid_row *row = NULL;

	if (version == 2)
		row = row_find(ROWS(cpuid_rows_v2), leaf, sub);
	return row ? row : row_find(ROWS(cpuid_rows), leaf, sub);
}

static void cpuid_model(unsigned version, uint32_t leaf, uint32_t sub,
			const struct cpuid_dynamic *dyn, uint32_t out[4])
{
	const struct cpuid_row *row;

	leaf = cpuid_clamp(leaf);
	row = model_row(version, leaf, sub);
	out[0] = row ? row->eax : 0;
	out[1] = row ? row->ebx : 0;
	out[2] = row ? row->ecx : 0;
	out[3] = row ? row->edx : 0;
	if (leaf == 1 && (dyn->cr4 & CR4_OSXSAVE_BIT))
		out[2] |= FEAT_OSXSAVE;
	if (leaf == 1 && dyn->apic_off)
		out[3] &= ~CPUID_1_EDX_APIC;
	if (leaf == 0x80000001 && !dyn->long_code)
		out[3] &= ~FEAT_SYSCALL;
}

void cpuid_v1(uint32_t leaf, uint32_t sub, const struct cpuid_dynamic *dyn, uint32_t out[4])
{
	cpuid_model(1, leaf, sub, dyn, out);
}

void cpuid_v2(uint32_t leaf, uint32_t sub, const struct cpuid_dynamic *dyn, uint32_t out[4])
{
	cpuid_model(2, leaf, sub, dyn, out);
}

static bool has_subs(unsigned version, uint32_t leaf)
{
	const struct cpuid_row *row = model_row(version, leaf, 0);

	return row && row->sub != ANY_SUB;
}

/* Guests go through sub-leaves until one is empty. */
#define SUBS 8

static size_t table_add(unsigned version, struct cpuid_entry *t, size_t room, uint32_t leaf)
{
	const struct cpuid_dynamic dyn = { .long_code = true };
	size_t n = has_subs(version, leaf) ? SUBS : 1;

	for (uint32_t sub = 0; sub < n && sub < room; sub++) {
		t[sub] = (struct cpuid_entry){ .leaf = leaf,
					       .sub = sub,
					       .any_sub = n == 1,
					       .osxsave = leaf == 1,
					       .syscall = leaf == 0x80000001,
					       .apic = leaf == 1 };
		cpuid_model(version, leaf, sub, &dyn, t[sub].out);
	}
	return n < room ? n : room;
}

static size_t model_table(unsigned version, struct cpuid_entry *t, size_t max)
{
	static const struct {
		uint32_t first, last;
	} range[] = { { 0, LEAF_BASIC_MAX }, { LEAF_HV, LEAF_HV }, { 0x80000000, LEAF_EXT_MAX } };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		for (uint32_t leaf = range[i].first; leaf <= range[i].last; leaf++)
			n += table_add(version, t + n, max - n, leaf);
	}
	return n;
}

size_t cpuid_v1_table(struct cpuid_entry *t, size_t max)
{
	return model_table(1, t, max);
}

size_t cpuid_v2_table(struct cpuid_entry *t, size_t max)
{
	return model_table(2, t, max);
}

/* Revision 1 had no number: its digest is that of the rows alone. */
static uint64_t digest_of(unsigned revision)
{
	return XXH3_64bits_withSeed(cpuid_rows, sizeof(cpuid_rows), revision - 1);
}

uint64_t cpuid_v1_digest(void)
{
	return digest_of(CPUID_V1_REVISION);
}

uint64_t cpuid_v2_digest(void)
{
	return XXH3_64bits_withSeed(cpuid_rows_v2, sizeof(cpuid_rows_v2),
				    XXH3_64bits(cpuid_rows, sizeof(cpuid_rows)));
}

unsigned cpuid_v1_revision(uint64_t digest)
{
	unsigned revision = CPUID_V1_REVISION;

	while (revision && digest_of(revision) != digest)
		revision--;
	return revision;
}

const char *cpuid_v1_refusal(uint64_t digest, char *text, size_t n)
{
	unsigned revision = cpuid_v1_revision(digest);

	if (revision == CPUID_V1_REVISION)
		return NULL;
	if (revision)
		snprintf(text, n,
			 "an earlier software CPU (revision %u), which left other undefined flags "
			 "and faulted in another order than this one (revision %u)",
			 revision, CPUID_V1_REVISION);
	else
		snprintf(text, n, "another CPUID model, or a later revision of the CPU than %u",
			 CPUID_V1_REVISION);
	return text;
}
