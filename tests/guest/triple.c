/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A triple fault must end the machine: #UD with an IDT of limit 0. SDM vol. 3, 6.15, interrupt 8.
 */
#include "tests/guest/rt64.h"

int main(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) idtr = { 0, 0 };

	check_eq("triple.before", CATCH(__asm__ volatile("ud2")), UD);
	__asm__ volatile("lidt %0; ud2" : : "m"(idtr));
	print("not ok triple.survived: the program went on\n");
	failures++;
	finish();
}
