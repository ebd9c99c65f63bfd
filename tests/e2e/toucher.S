/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot guest that holds MIB megabytes from 16 MiB on: every word of them is another, and none
 * is zero for long. It prints '.' on port 0xe9 when they are filled. Then, with DIRTIES, it passes
 * over them again and again, looks whether each word is what it left there, and changes it: '.' for
 * each pass, 'X' and the end of the machine (exit code 3) for a word that is not. Without, it sleeps.
 */
#define FROM 0x1000000

#include "../multiboot.inc"
	cld
	movl	$FROM, %edi
	movl	$(MIB << 18), %ecx
	movl	$1, %eax
fill:
	stosl
	addl	$0x9e3779b9, %eax
	decl	%ecx
	jnz	fill
	movb	$'.', %al
	outb	%al, $0xe9
#if !DIRTIES
sleep:
	sti
	hlt
	jmp	sleep
#endif
	movl	$1, %ebx
pass:
	movl	$FROM, %edi
	movl	$(MIB << 18), %ecx
	movl	%ebx, %eax
	incl	%ebx
word:
	cmpl	%eax, (%edi)
	jne	differs
	incl	(%edi)
	addl	$4, %edi
	addl	$0x9e3779b9, %eax
	decl	%ecx
	jnz	word
	movb	$'.', %al
	outb	%al, $0xe9
	jmp	pass
differs:
	movb	$'X', %al
	outb	%al, $0xe9
	movb	$1, %al
	outb	%al, $0xf4
	jmp	differs
