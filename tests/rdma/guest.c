/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes 100001, 100002, ... to COM1, one in 10 ms, until it is stopped: no gap may be seen in what
 * left.
 */
#include "tests/vtx/guest/com.h"

#define LINES 800000 /* more than two hours */

static void put_number(u32 n)
{
	for (u32 unit = 100000; unit; unit /= 10)
		com_put((char)('0' + n / unit % 10));
	com_put('\n');
}

int main(void)
{
	start_timer();
	for (u32 n = 1; n <= LINES; n++) {
		u64 until = ticks + 10;

		while (ticks < until)
			__asm__ volatile("hlt");
		put_number(100000 + n);
	}
	finish();
}
