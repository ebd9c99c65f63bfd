/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A multiboot guest that says on COM1 what Linux says last when it panics, and spins as Linux does. */
	.section .text.start, "ax"
	.code32
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.globl _start
_start:
	cld
#ifdef WAIT /* for a byte on COM1 */
	movw	$0x3fd, %dx
wait:
	inb	%dx, %al
	testb	$1, %al
	jz	wait
#endif
	movl	$text, %esi
	movw	$0x3f8, %dx
next:
	lodsb
	testb	%al, %al
	jz	spin
	outb	%al, %dx
	jmp	next
spin:
	pause
	jmp	spin
text:
	.asciz	"---[ end Kernel panic - not syncing: no init ]---\r\n"
