/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot guest that says its lines' numbers on COM1, LINES of them, one each EVERY ns of its time, and ends with status 0.
 * So it takes as long on every host.
 */
	.include "tests/multiboot.inc"
	xorl	%ebx, %ebx
	rdtsc
	movl	%eax, %esi
line:
	movl	$28, %ecx
digit:
	movl	%ebx, %eax
	shrl	%cl, %eax
	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	1f
	addb	$'a' - '9' - 1, %al
1:	movw	$0x3f8, %dx
	outb	%al, %dx
	subl	$4, %ecx
	jns	digit
	movb	$'\n', %al
	outb	%al, %dx
	incl	%ebx
	addl	$EVERY, %esi
1:	rdtsc
	subl	%esi, %eax
	js	1b
	cmpl	$LINES, %ebx
	jb	line
	movb	$0, %al
	outb	%al, $0xf4
1:	hlt
	jmp	1b
