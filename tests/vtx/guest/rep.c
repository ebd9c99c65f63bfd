/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spends nearly all of its time inside REP STOSB until it reads q from COM1: so inputs enter there. */
#include "tests/vtx/guest/com.h"

#define AREA ((u8 *)0x800000)
#define SIZE 0x600000ul

int main(void)
{
	char c = 0;
	u8 fill = 0;

	start_timer();
	do {
		u8 *to = AREA;
		u64 n = SIZE;

		__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(fill++) : "memory");
		if (inb(COM1 + 5) & 1) {
			c = (char)inb(COM1);
			com_put(c);
		}
	} while (c != 'q');
	check_eq("rep.filled", AREA[0] == (u8)(fill - 1) && AREA[SIZE - 1] == (u8)(fill - 1), 1);
	check_eq("rep.ticks", ticks > 0, 1);
	finish();
}
