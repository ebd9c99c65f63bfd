/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot guest whose answer to a flip in its data follows from the program: 64 bytes, three times, and their sum in EBP;
 * then a while of nothing; then they go out on COM1, by -DSCHEME:
 *   1  as they are
 *   2  if the sum is right, and else it ends with status 9
 *   3  as two of the three are, bit by bit, which all three become
 */
	.set	DATA, 0x200000
	.set	SECOND, DATA + 0x1000
	.set	THIRD, DATA + 0x2000
	.set	BYTES, 64
	.include "tests/multiboot.inc"
	xorl	%ebp, %ebp
	xorl	%ecx, %ecx
fill:
	imull	$7, %ecx, %eax
	addb	$3, %al
	movb	%al, DATA(%ecx)
	movb	%al, SECOND(%ecx)
	movb	%al, THIRD(%ecx)
	movzbl	%al, %eax
	addl	%eax, %ebp
	incl	%ecx
	cmpl	$BYTES, %ecx
	jb	fill
	movl	$100000, %ecx
1:	loop	1b
	.if SCHEME == 2
	xorl	%ebx, %ebx
1:	movzbl	DATA(%ecx), %eax
	addl	%eax, %ebx
	incl	%ecx
	cmpl	$BYTES, %ecx
	jb	1b
	movb	$9, %al
	cmpl	%ebx, %ebp
	jne	end
	xorl	%ecx, %ecx
	.endif
	movw	$0x3f8, %dx
send:
	movb	DATA(%ecx), %al
	.if SCHEME == 3
	movb	SECOND(%ecx), %bl
	movb	THIRD(%ecx), %bh
	movb	%al, %ah
	andb	%bl, %ah
	andb	%bh, %al
	andb	%bh, %bl
	orb	%ah, %al
	orb	%bl, %al
	movb	%al, DATA(%ecx)
	movb	%al, SECOND(%ecx)
	movb	%al, THIRD(%ecx)
	movb	$0, %ah
	xorl	%ebx, %ebx
	.endif
	outb	%al, %dx
	incl	%ecx
	cmpl	$BYTES, %ecx
	jb	send
	movb	$0, %al
end:
	outb	%al, $0xf4
1:	hlt
	jmp	1b
