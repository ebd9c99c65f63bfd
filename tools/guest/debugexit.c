// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest program `debugexit [STATUS]`: writes a byte to the debug exit port, which ends the machine
 * with that status. The cloud kernel has no /dev/port. Freestanding, so that it is a page and not a
 * C library.
 */
#define DEBUG_EXIT_PORT 0xf4
#define SYS_EXIT	60
#define SYS_IOPERM	173

static long syscall3(long number, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

__attribute__((used)) static void program(const long *stack)
{
	const char *arg = stack[0] > 1 ? (const char *)stack[2] : "0";
	unsigned char status = 0;

	while (*arg >= '0' && *arg <= '9')
		status = (unsigned char)(status * 10 + *arg++ - '0');
	if (!syscall3(SYS_IOPERM, DEBUG_EXIT_PORT, 1, 1))
		__asm__ volatile("outb %b0, %w1"
				 :
				 : "a"(status), "Nd"((unsigned short)DEBUG_EXIT_PORT));
	syscall3(SYS_EXIT, 1, 0, 0); /* still here: no such port */
	__builtin_unreachable();
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall program\n");
