/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the time a thousand times and CPUID a hundred times, in the ways that there are, and writes
 * a sum to the debug console. */
#include "tests/guest/rt64.h"

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static u64 rdtscp(u32 *aux)
{
	u32 lo, hi;

	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(*aux));
	return (u64)hi << 32 | lo;
}

static u64 sum;

static void mix(u64 v)
{
	sum = (sum ^ v) * 0x9e3779b97f4a7c15ull;
}

static void read_time(void)
{
	u64 before = rdtsc(), now;
	u32 aux, backwards = 0;

	wrmsr(0xc0000103, 0x1234567);
	for (unsigned i = 0; i < 499; i++) {
		now = rdtsc();
		backwards += now <= before;
		mix(now);
		before = rdtscp(&aux);
		backwards += before <= now || aux != 0x1234567;
		mix(before);
		if (i % 100 == 0)
			wrmsr(0x10, before + 1000000);
	}
	check_eq("time.forward", backwards, 0);
}

static void read_cpuid(u64 cr4)
{
	u32 r[4];

	write_cr4(cr4);
	for (u32 leaf = 0; leaf <= 0x16; leaf++) {
		cpuid(leaf, leaf & 3, r);
		for (unsigned i = 0; i < 4; i++)
			mix(r[i]);
	}
	cpuid(1, 0, r);
	check_eq("time.osxsave", r[2] >> 27 & 1, cr4 >> 18 & 1);
	for (u32 leaf = 0x80000000; leaf <= 0x80000008; leaf++) {
		cpuid(leaf, ~0u, r);
		for (unsigned i = 0; i < 4; i++)
			mix(r[i]);
	}
}

int main(void)
{
	u64 cr4 = read_cr4();

	read_time();
	for (unsigned i = 0; i < 3; i++)
		read_cpuid(i & 1 ? cr4 | 1u << 18 : cr4 & ~(1ull << 18));
	write_cr4(cr4);
	print("%x\n", sum);
	finish();
}
