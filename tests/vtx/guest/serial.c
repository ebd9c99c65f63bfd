/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timer interrupts and console input: echoes COM1 with the number of ticks so far, until it reads
 * q.
 */
#include "tests/vtx/guest/com.h"

int main(void)
{
	char c = 0;

	start_timer();
	while (c != 'q') {
		c = com_wait();
		com_put(c);
		print("%x ", ticks);
	}
	check_eq("serial.ticks", ticks > 0, 1);
	finish();
}
