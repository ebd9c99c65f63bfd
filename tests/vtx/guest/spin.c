/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waits in HLT for a byte on COM1, then computes for ever without anything that leaves the guest.
 */
#include "tests/vtx/guest/com.h"

int main(void)
{
	char c;

	start_timer();
	do {
		c = com_wait();
		com_put(c);
	} while (c != 's');
	for (;;)
		__asm__ volatile("pause");
}
