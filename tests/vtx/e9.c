// SPDX-License-Identifier: GPL-2.0-or-later
/* Copies standard input to port 0xE9, which Bochs shows on its own output: the emulated UART is
 * slow and loses its end.
 */
#include <stdio.h>
#include <sys/io.h>

int main(void)
{
	int c;

	if (iopl(3)) {
		perror("iopl");
		return 1;
	}
	while ((c = getchar()) != EOF)
		outb((unsigned char)c, 0xe9);
	return 0;
}
