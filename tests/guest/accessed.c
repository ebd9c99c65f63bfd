/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accessed and dirty bits: what holds on every processor (SDM vol. 3, 4.8 and 4.10), and, in a line
 * that begins with "seen", what the architecture leaves open, so that it may differ between a
 * processor and the software CPU, and from run to run on a processor: whether a bit that a guest
 * has cleared without a flush comes back, whether pages that were only guessed at have it, and
 * whether tables have it whose walk ended with a fault. The software CPU says 0 to all three: a
 * translation that it has kept stays, it guesses nothing, and a walk that faults leaves no trace.
 */
#include "tests/guest/rt64.h"

#define PAGES 16
#define AD    (PT_A | PT_D)

#define STALE_LIN (TEST_BASE + 0x400000)
#define GUESS_LIN (TEST_BASE + 0x600000)
#define SURE_LIN  (TEST_BASE + 0x800000)

static volatile u64 page[512] ALIGNED;
static u64 faulted; /* bit of a table on the way to a page that is not there */

static volatile u64 *at(u64 lin)
{
	return (volatile u64 *)lin;
}

/* Bits of the entry at each level, from the page's upwards, a byte each. */
static u64 bits_of(u64 lin)
{
	u64 bits = 0;

	for (int level = 4; level >= 1; level--)
		bits = bits << 8 | (*pt_entry(lin, level) & AD);
	return bits;
}

static void clear(u64 lin)
{
	for (int level = 4; level >= 1; level--)
		*pt_entry(lin, level) &= ~AD;
	flush_tlb();
}

/* After a flush the entries are walked, and a walk sets what the access asks for. */
static void test_walks(void)
{
	map(TEST_BASE, (const void *)page, PT_URW);
	clear(TEST_BASE);
	(void)*at(TEST_BASE);
	check_eq("accessed.read", bits_of(TEST_BASE), 0x20202020);
	*at(TEST_BASE) = 1;
	check_eq("accessed.write", bits_of(TEST_BASE), 0x20202060);
	(void)*at(TEST_BASE);
	check_eq("accessed.stays", bits_of(TEST_BASE), 0x20202060);
	*pt_entry(TEST_BASE, 1) &= ~AD;
	invlpg(TEST_BASE);
	(void)*at(TEST_BASE);
	check_eq("accessed.again", bits_of(TEST_BASE) & 0xff, PT_A);
	*pt_entry(TEST_BASE, 1) &= ~AD;
	invlpg(TEST_BASE);
	*at(TEST_BASE) = 2;
	check_eq("accessed.written", bits_of(TEST_BASE) & 0xff, AD);
}

/* What an access may not do sets no dirty bit; what is not there has no bits. */
static void test_faults(void)
{
	const u64 lin = TEST_BASE + 0x1000;

	map(lin, (const void *)page, PT_P | PT_U);
	clear(lin);
	check_eq("accessed.readonly", CATCH_ERR(*at(lin) = 1), VE(PF, 3));
	check_eq("accessed.readonly.dirty", *pt_entry(lin, 1) & PT_D, 0);
	*pt_entry(lin, 1) &= ~PT_P;
	clear(lin);
	check_eq("accessed.absent", CATCH_ERR((void)*at(lin)), VE(PF, 0));
	check_eq("accessed.absent.bits", *pt_entry(lin, 1) & AD, 0);
	faulted = *pt_entry(lin, 2) & PT_A;
}

/* A dirty bit is set by a write through a translation that a read has brought in, flushed or not.
 */
static void test_dirty_is_prompt(void)
{
	const u64 lin = TEST_BASE + 0x2000;
	u64 missing = 0;

	map(lin, (const void *)page, PT_URW);
	for (unsigned i = 0; i < 100; i++) {
		*pt_entry(lin, 1) &= ~AD;
		invlpg(lin);
		(void)*at(lin);
		*at(lin) = i;
		missing += !(*pt_entry(lin, 1) & PT_D);
	}
	check_eq("accessed.prompt", missing, 0);
}

static void map_all(u64 base)
{
	for (unsigned i = 0; i < PAGES; i++)
		map(base + i * 4096ul, (const void *)page, PT_URW);
}

static u64 count_accessed(u64 base)
{
	u64 n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += !!(*pt_entry(base + i * 4096ul, 1) & PT_A);
	return n;
}

/* Pages whose bit comes back at an access although the translation was there already. */
static u64 see_stale(void)
{
	map_all(STALE_LIN);
	for (unsigned i = 0; i < PAGES; i++)
		(void)*at(STALE_LIN + i * 4096ul);
	for (unsigned i = 0; i < PAGES; i++)
		*pt_entry(STALE_LIN + i * 4096ul, 1) &= ~PT_A;
	for (unsigned i = 0; i < PAGES; i++)
		(void)*at(STALE_LIN + i * 4096ul);
	return count_accessed(STALE_LIN);
}

/* Pages that are reached only where a branch is guessed wrongly. */
static u64 see_guessed(void)
{
	u64 random = 1;

	map_all(GUESS_LIN);
	map(SURE_LIN, (const void *)page, PT_URW);
	for (unsigned i = 0; i < PAGES; i++)
		*pt_entry(GUESS_LIN + i * 4096ul, 1) &= ~PT_A;
	flush_tlb();
	for (unsigned i = 0; i < 4000; i++) {
		u64 lin, slow;

		random = random * 6364136223846793005ul + 1442695040888963407ul;
		slow = random >> 60;
		lin = slow ? SURE_LIN : GUESS_LIN + (random >> 40) % PAGES * 4096;
		for (unsigned n = 0; n < 4; n++)
			__asm__ volatile("xor %%edx, %%edx\n\tdivq %1"
					 : "+a"(slow)
					 : "r"(1ul)
					 : "rdx");
		if (slow)
			(void)*at(lin);
	}
	return count_accessed(GUESS_LIN);
}

int main(void)
{
	u64 stale, guessed;

	test_walks();
	test_faults();
	test_dirty_is_prompt();
	stale = see_stale();
	guessed = see_guessed();
	print("seen accessed.stale %x accessed.guessed %x accessed.faulted %x\n", stale, guessed,
	      faulted);
	finish();
}
