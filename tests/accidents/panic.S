/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot guest that says on COM1 what Linux says last when it panics, and spins as Linux does;
 * with PORT it says so by pvpanic instead, with HALT it stops the processor.
 */
#include "../multiboot.inc"
	cld
#ifdef WAIT /* for a byte on COM1 */
	movw	$0x3fd, %dx
wait:
	inb	%dx, %al
	testb	$1, %al
	jz	wait
#endif
#ifdef PORT /* what Linux' driver does */
	movw	$0x505, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	spin
	movb	$1, %al
	outb	%al, %dx
	jmp	spin
#endif
#ifdef HALT
	cli
	hlt
#endif
#ifdef NMI /* HLT, too, but the 8254 gives an NMI by the I/O APIC; its handler ends the machine */
	lgdt	descriptors
	ljmp	$8, $1f
1:	movl	$handler, %eax
	movw	%ax, gate
	shrl	$16, %eax
	movw	%ax, gate + 6
	lidt	vectors
	movl	$0xfec00000, %eax
	movl	$0x14, (%eax)		/* input 2, low half */
	movl	$0x400, 0x10(%eax)	/* an NMI at an edge */
	movb	$0x30, %al		/* counter 0, mode 0 */
	outb	%al, $0x43
	movb	$0xff, %al
	outb	%al, $0x40
	outb	%al, $0x40
	cli
	hlt
	movb	$1, %al
	outb	%al, $0xf4
handler:
	movb	$42, %al
	outb	%al, $0xf4
	.balign	8
table:	.quad	0, 0x00cf9b000000ffff
gates:	.quad	0, 0
gate:	.word	0, 8, 0x8e00, 0
descriptors:
	.word	15
	.long	table
vectors:
	.word	23
	.long	gates
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
