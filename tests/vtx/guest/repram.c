/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spends nearly all of its time inside REP STOSB over RAM between the first byte from COM1 and a q:
 * the processor begins such an instruction by itself, and the host's interrupts come in the middle.
 */
#include "tests/vtx/guest/com.h"

#define SIZE 0x400000ul

static u8 area[SIZE];

int main(void)
{
	char c = 0;
	u8 fill = 0;

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
