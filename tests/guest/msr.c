/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of the processor by number: values that they hold, values that raise #GP and change
 * nothing. SDM vol. 4; PAT and MTRRs: vol. 3, 11.11 and 11.12.
 */
#include "tests/guest/rt64.h"

#define EFER	 0xc0000080
#define ADDRESS	 0x7fff12345678ull
#define HIGH	 0xffff800000000000ull
#define BEYOND	 0x800000000000ull
#define BEYOND_2 0x7fffffffffffffffull

/* Each value but zero is written and read again; zero ends the list. */
static const struct {
	const char *name;
	u32 msr;
	u64 holds[3], refuses[4];
} row[] = {
	{ "msr.sysenter-cs", 0x174, { 0x10, 0xffff }, { 0 } },
	{ "msr.sysenter-esp", 0x175, { ADDRESS, HIGH, 1 }, { BEYOND, BEYOND_2 } },
	{ "msr.sysenter-eip", 0x176, { ADDRESS, HIGH, 1 }, { BEYOND, BEYOND_2 } },
	{ "msr.star", 0xc0000081, { 0x0023001000000000, ~0ull, 1 }, { 0 } },
	{ "msr.lstar", 0xc0000082, { ADDRESS, HIGH }, { BEYOND, BEYOND_2 } },
	{ "msr.cstar", 0xc0000083, { ADDRESS, HIGH }, { BEYOND, BEYOND_2 } },
	{ "msr.fmask", 0xc0000084, { 0x47700, 0xffffffff }, { 0 } },
	{ "msr.fs-base", 0xc0000100, { ADDRESS, HIGH }, { BEYOND, BEYOND_2, 1ull << 63 } },
	{ "msr.gs-base", 0xc0000101, { ADDRESS, HIGH }, { BEYOND, BEYOND_2, 1ull << 63 } },
	{ "msr.kernel-gs-base", 0xc0000102, { ADDRESS, HIGH }, { BEYOND, BEYOND_2, 1ull << 63 } },
	{ "msr.tsc-aux", 0xc0000103, { 7, 0xffffffff }, { 1ull << 32, 1ull << 63 } },
	/* Memory types: 0, 1, 4 to 6, in the PAT 7 as well. */
	{ "msr.pat",
	  0x277,
	  { 0x0706050401000600, 0x0007040600070406 },
	  { 0x0007040600070402, 0x0300000000000000, 8, 0x80ull << 32 } },
	{ "msr.mtrr-default", 0x2ff, { 0xc06, 0x800, 0x406 }, { 0x1000, 0x802, 0x807, 0x100 } },
	{ "msr.mtrr-base-0", 0x200, { 0x80000006, 0xfee00000 }, { 2, 3, 7, 0x100 } },
	{ "msr.mtrr-mask-0", 0x201, { 0xff80000800, 0xfffffff000 }, { 0x400, 1, 1ull << 63 } },
	{ "msr.mtrr-fix-64k", 0x250, { 0x0606060606060606, 0x0405 }, { 2, 0x0700, 3ull << 56 } },
	{ "msr.mtrr-fix-16k", 0x259, { 0x0101010101010101 }, { 2, 0x0700, 3ull << 56 } },
	{ "msr.mtrr-fix-4k", 0x26f, { 0x0606060606060606 }, { 2, 0x0700, 3ull << 56 } },
};

/* Where something is not as the row says: in bits 63 to 8 the value, in bits 3 to 0 what. */
static u64 look(unsigned i)
{
	u64 before = rdmsr(row[i].msr), bad = 0;

	for (unsigned k = 0; k < 3 && row[i].holds[k]; k++) {
		u64 v = row[i].holds[k];

		if (catch_wrmsr(row[i].msr, v) != VE(NONE, 0) || rdmsr(row[i].msr) != v)
			bad = v << 8 | 1;
	}
	for (unsigned k = 0; k < 4 && row[i].refuses[k]; k++) {
		u64 v = row[i].refuses[k], was = rdmsr(row[i].msr);

		if (catch_wrmsr(row[i].msr, v) != VE(GP, 0))
			bad = v << 8 | 2;
		else if (rdmsr(row[i].msr) != was)
			bad = v << 8 | 3;
	}
	wrmsr(row[i].msr, before);
	return bad;
}

static void test_efer(void)
{
	u64 v = rdmsr(EFER), unlike = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		bool known = bit == 0 || bit == 8 || bit == 10 || bit == 11;

		/* LMA is read-only, and LME cannot go while paging is on. */
		if (!known && catch_wrmsr(EFER, v | 1ull << bit) != VE(GP, 0))
			unlike = 1ull << bit;
	}
	check_eq("msr.efer.reserved-bits", unlike, 0);
	check_eq("msr.efer.stays", rdmsr(EFER), v);
	wrmsr(EFER, v & ~1ull);
	check_eq("msr.efer.sce", rdmsr(EFER), v & ~1ull);
	wrmsr(EFER, v);
}

/* RDMSR clears the high halves, and takes the number from ECX alone. */
static void test_halves(void)
{
	u64 a = ~0ull, d = ~0ull, c = ~0ull << 32 | 0xc0000082;

	wrmsr(0xc0000082, ADDRESS);
	__asm__ volatile("rdmsr" : "+a"(a), "+d"(d) : "c"(c) : "memory");
	check_eq("msr.high-halves", a | d << 32, ADDRESS);
	a |= 0xdeadull << 32;
	d |= 0xdeadull << 32;
	__asm__ volatile("wrmsr" : : "a"(a), "d"(d), "c"(c) : "memory");
	check_eq("msr.low-halves", rdmsr(0xc0000082), ADDRESS);
}

int main(void)
{
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		check_eq(row[i].name, look(i), 0);
	test_efer();
	test_halves();
	return 0;
}
