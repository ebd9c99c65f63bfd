/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The timer of the local APIC: divisors, modes and changes between them, masks, TSC deadlines. SDM
 * vol. 3, 10.5.4. The crystal and the TSC are those of CPUID leaf 15h.
 */
#include "tests/guest/apic.h"

#define PERIODIC 0x20000
#define DEADLINE 0x40000

static u64 tsc_per_tick; /* of the crystal */

/*
 * Of two steps, where the second one is to come before what the first one has asked for: both
 * again, when a host that was busy let that happen. `within`: clocks of the TSC.
 */
#define IN_TIME(within, steps)                               \
	do {                                                 \
		u64 start_;                                  \
                                                             \
		do {                                         \
			window();                            \
			got = 0;                             \
			start_ = rdtsc();                    \
			steps;                               \
		} while (rdtsc() - start_ >= (u64)(within)); \
	} while (0)

/* Divides by 2, 4, ... 128, 1. */
static u32 divide_bits(unsigned shift)
{
	unsigned n = (shift - 1) & 7;

	return (n & 3) | (n & 4) << 1;
}

static void wait_ticks(u64 n)
{
	for (u64 from = rdtsc(); rdtsc() - from < n * tsc_per_tick;)
		;
}

/* The count has gone down by what lies between the shortest and the longest time. */
static bool counts_right(unsigned shift)
{
	u64 a, b, c, d, gone;

	reg_write(REG_DIVIDE, divide_bits(shift));
	a = rdtsc();
	reg_write(REG_INITIAL, 0xffffffff);
	b = rdtsc();
	wait_ticks(5000);
	c = rdtsc();
	gone = 0xffffffff - reg_read(REG_CURRENT);
	d = rdtsc();
	return gone >= (c - b) / tsc_per_tick >> shift &&
	       gone <= ((d - a) / tsc_per_tick >> shift) + 1;
}

static void test_divisors(void)
{
	u64 right = 0;

	reg_write(REG_LVT_TIMER, LVT_MASKED | VECTOR);
	for (unsigned shift = 0; shift < 8; shift++)
		right |= (u64)counts_right(shift) << shift;
	check_eq("apic.divide.rates", right, 0xff);
	reg_write(REG_DIVIDE, 0xffffffff);
	check_eq("apic.divide.bits", reg_read(REG_DIVIDE), 0xb);
	check_eq("apic.initial.read", reg_read(REG_INITIAL), 0xffffffff);
	reg_write(REG_INITIAL, 0);
	check_eq("apic.initial.stops", reg_read(REG_CURRENT), 0);
}

static void test_one_shot(void)
{
	reg_write(REG_LVT_TIMER, VECTOR);
	got = 0;
	reg_write(REG_INITIAL, 500);
	wait_ticks(600);
	check_eq("apic.one-shot.count", reg_read(REG_CURRENT), 0);
	check_eq("apic.one-shot.initial-stays", reg_read(REG_INITIAL), 500);
	check_eq("apic.one-shot.asked", reg_has(REG_IRR, VECTOR), 1);
	window();
	wait_ticks(2000);
	window();
	check_eq("apic.one-shot.once", got, 1);
	/* What expires under the mask is gone. */
	reg_write(REG_LVT_TIMER, LVT_MASKED | VECTOR);
	reg_write(REG_INITIAL, 500);
	wait_ticks(600);
	reg_write(REG_LVT_TIMER, VECTOR);
	window();
	check_eq("apic.one-shot.masked", got, 1);
	/* Written again before its end, it starts anew. */
	reg_write(REG_INITIAL, 1000000);
	reg_write(REG_INITIAL, 500);
	halt();
	check_eq("apic.one-shot.rewritten", got, 2);
	IN_TIME(5000 * tsc_per_tick, {
		reg_write(REG_INITIAL, 5000);
		reg_write(REG_INITIAL, 0);
	});
	wait_ticks(6000);
	window();
	check_eq("apic.one-shot.stopped", got, 0);
}

/* A change between one-shot and periodic leaves the count alone. */
static void test_mode_changes(void)
{
	u64 from, set, to, count, ticks = 100000;

	IN_TIME(ticks * tsc_per_tick, {
		reg_write(REG_LVT_TIMER, VECTOR);
		from = rdtsc();
		reg_write(REG_INITIAL, (u32)ticks);
		set = rdtsc();
		wait_ticks(ticks / 4);
		reg_write(REG_LVT_TIMER, PERIODIC | VECTOR);
		to = rdtsc();
		count = reg_read(REG_CURRENT);
	});
	check_eq("apic.change.count-goes-on",
		 ticks - count >= (to - set) / tsc_per_tick &&
			 ticks - count <= (rdtsc() - from) / tsc_per_tick,
		 1);
	halt();
	check_eq("apic.change.at-its-end", got, 1);
	count = reg_read(REG_CURRENT);
	check_eq("apic.change.reloads", count > 0 && count <= ticks, 1);
	reg_write(REG_LVT_TIMER, VECTOR);
	while (reg_read(REG_CURRENT))
		;
	window();
	check_eq("apic.change.once-more", got, 2);
	wait_ticks(ticks + ticks / 10);
	window();
	check_eq("apic.change.and-no-more", got << 32 | reg_read(REG_CURRENT), 2ull << 32);
	reg_write(REG_LVT_TIMER, PERIODIC | VECTOR); /* a count of 0 waits for INITIAL */
	wait_ticks(ticks + ticks / 10);
	window();
	check_eq("apic.change.zero-stays", got << 32 | reg_read(REG_CURRENT), 2ull << 32);
}

static void test_periodic(void)
{
	u64 from, ticks;

	got = 0;
	reg_write(REG_LVT_TIMER, PERIODIC | VECTOR);
	from = rdtsc();
	reg_write(REG_INITIAL, 5000);
	while (got < 10)
		halt();
	ticks = (rdtsc() - from) / tsc_per_tick;
	check_eq("apic.periodic.no-earlier", ticks >= 50000, 1);
	/* Several that were not taken are one. */
	reg_write(REG_INITIAL, 5000);
	wait_ticks(60000);
	got = 0;
	reg_write(REG_INITIAL, 0);
	window();
	check_eq("apic.periodic.missed", got, 1);
	window();
	check_eq("apic.periodic.stopped", got, 1);
}

/* Arms it so many TSC clocks from now; the clocks until it came. */
static u64 deadline_in(u64 clocks)
{
	u64 from = rdtsc();

	wrmsr(MSR_DEADLINE, from + clocks);
	halt();
	return rdtsc() - from;
}

static void test_deadline(void)
{
	u64 in_time = 0;

	reg_write(REG_LVT_TIMER, VECTOR);
	wrmsr(MSR_DEADLINE, rdtsc() + (1ull << 50));
	check_eq("apic.deadline.other-mode", rdmsr(MSR_DEADLINE), 0);
	reg_write(REG_INITIAL, 1000000);
	reg_write(REG_LVT_TIMER, DEADLINE | VECTOR);
	check_eq("apic.deadline.stops-the-count", reg_read(REG_CURRENT), 0);
	reg_write(REG_INITIAL, 1000000);
	check_eq("apic.deadline.no-count", reg_read(REG_INITIAL) | reg_read(REG_CURRENT), 0);
	got = 0;
	for (unsigned i = 0; i < 20; i++)
		in_time += deadline_in(20000) >= 20000;
	check_eq("apic.deadline.none-early", in_time << 32 | got, 20ull << 32 | 20);
	/* Zero disarms, another value takes the first one's place. */
	IN_TIME(100000, {
		wrmsr(MSR_DEADLINE, rdtsc() + 100000);
		wrmsr(MSR_DEADLINE, 0);
	});
	wait_ticks(10000);
	window();
	check_eq("apic.deadline.zero", got, 0);
	IN_TIME(100000, {
		wrmsr(MSR_DEADLINE, rdtsc() + 100000);
		wrmsr(MSR_DEADLINE, rdtsc() + (1ull << 50));
	});
	wait_ticks(10000);
	window();
	check_eq("apic.deadline.later", got, 0);
	check_eq("apic.deadline.sooner", deadline_in(50000) >= 50000 && got == 1, 1);
	wrmsr(MSR_DEADLINE, rdtsc() - 1);
	window();
	check_eq("apic.deadline.past-at-once", got, 2);
	/* Masked, it passes without an interrupt, and is disarmed all the same. */
	reg_write(REG_LVT_TIMER, DEADLINE | LVT_MASKED | VECTOR);
	wrmsr(MSR_DEADLINE, rdtsc() + 50000);
	wait_ticks(10000);
	check_eq("apic.deadline.masked", rdmsr(MSR_DEADLINE), 0);
	reg_write(REG_LVT_TIMER, DEADLINE | VECTOR);
	window();
	check_eq("apic.deadline.masked-lost", got, 2);
	/* Another mode disarms it. */
	IN_TIME(100000, {
		reg_write(REG_LVT_TIMER, DEADLINE | VECTOR);
		wrmsr(MSR_DEADLINE, rdtsc() + 100000);
		reg_write(REG_LVT_TIMER, VECTOR);
	});
	reg_write(REG_LVT_TIMER, DEADLINE | VECTOR);
	check_eq("apic.deadline.mode-disarms", rdmsr(MSR_DEADLINE), 0);
	wait_ticks(10000);
	window();
	check_eq("apic.deadline.disarmed-none", got, 0);
	/* A TSC that is set nearer brings it on. */
	wrmsr(MSR_DEADLINE, rdtsc() + (1ull << 50));
	wrmsr(MSR_TSC, rdmsr(MSR_DEADLINE) - 1000);
	halt();
	check_eq("apic.deadline.tsc-set-near", got, 1);
	wrmsr(MSR_ADJUST, 0);
	reg_write(REG_LVT_TIMER, LVT_MASKED);
}

int main(void)
{
	u32 r[4];

	map_apics();
	irq_fn[VECTOR] = on_xapic;
	cpuid(0x15, 0, r);
	tsc_per_tick = r[0] ? r[1] / r[0] : 0;
	check_eq("apic.crystal", tsc_per_tick != 0 && r[2] != 0, 1);
	test_divisors();
	reg_write(REG_DIVIDE, divide_bits(0));
	test_one_shot();
	test_mode_changes();
	test_periodic();
	test_deadline();
	return 0;
}
