/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A multiboot guest that says a number on COM1, again and again, until it hears something there; then it ends. */
	.section .text.start, "ax"
	.code32
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.globl _start
_start:
	xorl	%ebx, %ebx
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
	movw	$0x3fd, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	line
	movb	$0, %al
	outb	%al, $0xf4
