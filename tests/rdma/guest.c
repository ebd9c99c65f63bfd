/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes 1001, 1002, ... to COM1, one in 10 ms, and ends with 1600: no gap may be seen in what
 * left. */
#include "tests/vtx/guest/com.h"

#define LINES 600

static void put_number(u32 n)
{
	for (u32 unit = 1000; unit; unit /= 10)
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
		put_number(1000 + n);
	}
	check_eq("rdma.ticks", ticks >= 10 * LINES, 1);
	finish();
}
