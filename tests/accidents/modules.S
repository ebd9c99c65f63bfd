/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot guest that prints, a line for each of its modules, the module's string and its first
 * byte: once at the start, and once more when a byte has come on COM1, for which it asks again and
 * again. Then it ends with status 0.
 */
#include "../multiboot.inc"
	cld
	movl	%ebx, %ebp
	movl	$0x200000, %esp
	call	print
wait:
	movw	$0x3fd, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	wait
	call	print
	movb	$0, %al
	outb	%al, $0xf4

print:
	movl	20(%ebp), %ecx		/* mods_count */
	movl	24(%ebp), %edi		/* mods_addr */
	jecxz	printed
module:
	movl	8(%edi), %esi
character:
	lodsb
	testb	%al, %al
	jz	content
	outb	%al, $0xe9
	jmp	character
content:
	movb	$'=', %al
	outb	%al, $0xe9
	movl	(%edi), %esi
	lodsb
	outb	%al, $0xe9
	movb	$'\n', %al
	outb	%al, $0xe9
	addl	$16, %edi
	loop	module
printed:
	ret
