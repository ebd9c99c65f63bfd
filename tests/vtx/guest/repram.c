/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spends nearly all of its time inside REP STOSB over RAM between the first byte from COM1 and a q:
 * the processor begins such an instruction by itself, and the host's interrupts come in the middle.
 */
#include "tests/vtx/guest/com.h"

#define SIZE 0x400000ul

static u8 area[SIZE];

/*
 * Accessed and dirty bits are set from the start: Bochs sets them behind the back of EPT, which a
 * real processor asks first, so the page of a table would not count as written there.
 */
static void set_bits(void)
{
	u64 *pdpt, *pd;

	pml4[0] |= 0x20;
	pdpt = (u64 *)(pml4[0] & ~0xffful);
	pdpt[0] |= 0x20;
	pd = (u64 *)(pdpt[0] & ~0xffful);
	for (unsigned i = 0; i < 8; i++)
		pd[i] |= 0x60;
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

int main(void)
{
	char c = 0;
	u8 fill = 0;

	set_bits();
	while (!(inb(COM1 + 5) & 1))
		;
	com_put((char)inb(COM1));
	do {
		u8 *to = area;
		u64 n = SIZE;

		fill++;
		__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(fill) : "memory");
		if (inb(COM1 + 5) & 1) {
			c = (char)inb(COM1);
			com_put(c);
		}
	} while (c != 'q');
	check_eq("repram.filled", area[0] == fill && area[SIZE - 1] == fill, 1);
	finish();
}
