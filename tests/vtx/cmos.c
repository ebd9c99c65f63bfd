// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One byte of the PC's battery-backed memory, which a restart keeps. usage: cmos REGISTER [VALUE],
 * both decimal; without a value, prints the one that is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3)
		return 2;
	if (ioperm(CMOS_INDEX, 2, 1) < 0) {
		perror("ioperm");
		return 1;
	}
	outb((unsigned char)atoi(argv[1]), CMOS_INDEX);
	if (argc == 3)
		outb((unsigned char)atoi(argv[2]), CMOS_DATA);
	else
		printf("%u\n", inb(CMOS_DATA));
	return 0;
}
