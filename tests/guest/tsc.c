/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time-stamp counter, what adjusts it, and RDTSCP. SDM vol. 3, 17.17. */
#include "tests/guest/rt64.h"

#define MSR_TSC	   0x10
#define MSR_ADJUST 0x3b
#define MSR_AUX	   0xc0000103
#define CR4_TSD	   4ull
#define PIT_HZ	   1193182

SNIPPET(user_rdtscp, "rdtscp; int $0x80");

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

/* TSC_AUX as RDTSCP gives it; *now: the count. */
static u64 rdtscp(u64 *now)
{
	u64 a = ~0ull, d = ~0ull, c = ~0ull;

	__asm__ volatile("rdtscp" : "+a"(a), "+d"(d), "+c"(c) : : "memory");
	*now = d << 32 | a;
	return (a >> 32 | d >> 32) ? ~0ull : c; /* the high halves are cleared */
}

static void test_counts(void)
{
	u64 last_one = rdtsc(), now, backwards = 0;
	u64 a = ~0ull, d = ~0ull;

	for (unsigned i = 0; i < 1000; i++) {
		now = i & 1 ? rdtsc() : rdmsr(MSR_TSC);
		backwards += now < last_one;
		last_one = now;
	}
	check_eq("tsc.never-backwards", backwards, 0);
	__asm__ volatile("rdtsc" : "+a"(a), "+d"(d) : : "memory");
	check_eq("tsc.high-halves", a >> 32 | d >> 32, 0);
}

static void test_rdtscp(void)
{
	u64 now, before;

	wrmsr(MSR_AUX, 0x89abcdef);
	before = rdtsc();
	check_eq("tsc.rdtscp.aux", rdtscp(&now), 0x89abcdef);
	check_eq("tsc.rdtscp.between", before <= now && now <= rdtsc(), 1);
	check_eq("tsc.aux.reserved", CATCH_ERR(wrmsr(MSR_AUX, 1ull << 32)), VE(GP, 0));
	check_eq("tsc.aux.stays", rdmsr(MSR_AUX), 0x89abcdef);
	user_setup();
	check_eq("tsc.rdtscp.cpl3", RUN_USER(user_rdtscp, 0, 0), 0x80);
	write_cr4(read_cr4() | CR4_TSD);
	check_eq("tsc.rdtscp.tsd", RUN_USER_ERR(user_rdtscp, 0, 0), VE(GP, 0));
	check_eq("tsc.rdtscp.tsd-cpl0", CATCH(rdtscp(&now)), NONE);
	write_cr4(read_cr4() & ~CR4_TSD);
}

/* Each write of the counter is added to IA32_TSC_ADJUST, and each of that to the counter. */
static void test_adjust(void)
{
	u32 r[4];
	u64 before, after, adjust, to = 1ull << 60;

	cpuid(7, 0, r);
	if (!(r[1] >> 1 & 1)) {
		print("skip tsc.adjust no IA32_TSC_ADJUST here\n");
		return;
	}
	wrmsr(MSR_ADJUST, 0);
	before = rdtsc();
	wrmsr(MSR_TSC, to);
	after = rdtsc();
	adjust = rdmsr(MSR_ADJUST);
	check_eq("tsc.written", after >= to && after - to < 1ull << 40, 1);
	/* Without it the time would be what it was before, and a little. */
	check_eq("tsc.written.adjusts",
		 after - adjust >= before && after - adjust < before + (1ull << 40), 1);
	wrmsr(MSR_ADJUST, adjust + (1ull << 50));
	check_eq("tsc.adjust.moves", rdtsc() >= after + (1ull << 50), 1);
	check_eq("tsc.adjust.read", rdmsr(MSR_ADJUST), adjust + (1ull << 50));
	wrmsr(MSR_TSC, 0);
	check_eq("tsc.zero", rdtsc() < 1ull << 40, 1);
	wrmsr(MSR_ADJUST, 0);
	check_eq("tsc.own-time", rdtsc() >= before && rdtsc() < 1ull << 50, 1);
}

static unsigned latched(void)
{
	unsigned v;

	outb(0x43, 0);
	v = inb(0x40);
	return v | (unsigned)inb(0x40) << 8;
}

/* The 8254's clock goes beside it, by the frequency of CPUID leaf 15h. */
static void test_frequency(void)
{
	u32 r[4];
	u64 hz, from, started, ends, ended, counts;
	unsigned start;

	cpuid(0x15, 0, r);
	hz = r[0] ? (u64)r[2] * r[1] / r[0] : 0;
	if (!hz) {
		print("skip tsc.frequency no CPUID leaf 15h here\n");
		return;
	}
	outb(0x43, 0x34); /* counter 0 goes round and round from ffff */
	outb(0x40, 0xff);
	outb(0x40, 0xff);
	do { /* again where a busy host let it go round */
		from = rdtsc();
		start = latched();
		started = rdtsc();
		while (rdtsc() - started < hz / 100)
			;
		ends = rdtsc();
		counts = (start - latched()) & 0xffff;
		ended = rdtsc();
	} while (ended - from >= hz / 25);
	check_eq("tsc.frequency",
		 counts + 2 >= (ends - started) * PIT_HZ / hz &&
			 counts <= (ended - from) * PIT_HZ / hz + 2,
		 1);
}

int main(void)
{
	test_counts();
	test_rdtscp();
	test_adjust();
	test_frequency();
	return 0;
}
