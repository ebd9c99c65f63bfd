/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spends nearly all of its time inside REP INSB between the first byte from COM1 and a q: so inputs
 * enter there.
 */
#include "tests/vtx/guest/com.h"

#define SCRATCH (COM1 + 7)
#define SIZE	0x2000ul

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

		outb(SCRATCH, ++fill);
		__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(SCRATCH) : "memory");
		if (inb(COM1 + 5) & 1) {
			c = (char)inb(COM1);
			com_put(c);
		}
	} while (c != 'q');
	check_eq("rep.filled", area[0] == fill && area[SIZE - 1] == fill, 1);
	finish();
}
