/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest code for the programs that run inside Bochs; all of it starts in 16-bit real mode at 0x8000. */
	.section .rodata
	.code16
	.macro code name
	.globl \name, \name\()_end
\name:
	.endm
	.macro code_end name
\name\()_end:
	.endm
#define AT(label, start) (0x8000 + (label) - (start))

/* A bit of everything that a single step can stumble over. Ends with HLT. */
code stepped
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss			/* holds the next trap off */
	movw	$0x7000, %sp
	movw	$AT(ud_handler, stepped), 6*4	/* #UD */
	movw	%ax, 6*4+2
	movw	$AT(int_handler, stepped), 0x40*4
	movw	%ax, 0x40*4+2
	movw	$20, %cx
1:	addw	%cx, %bx
	loop	1b
	cpuid					/* exits like faults: a trap may wait behind them */
	rdtsc
	inb	$0x10, %al
	outb	%al, $0x11
	rdtsc
	cpuid
	pushf					/* sees the flags */
	popw	%dx
	pushw	%dx
	popf
	int	$0x40
	ud2					/* faults, handler skips it */
	movw	$0x6000, %di
	movw	$30, %cx
	rep stosb
	movw	$0x6000, %si
	movw	$0x6100, %di
	movw	$15, %cx
	rep movsw
	pushw	%ss
	popw	%ss
	pushf
	cli
	sti
	nop
	cli
	popf
	movl	$0xc0000080, %ecx
	rdmsr
	wrmsr
	movl	%cr0, %eax
	orb	$2, %al
	movl	%eax, %cr0
	fninit
	fld1
	fldpi
	faddp
	fstpl	0x6200
	rdrand	%eax
	movw	$0xffff, %cx
2:	decw	%cx
	cmpw	$0xff00, %cx
	jne	2b
	hlt
ud_handler:
	movw	%sp, %bp
	addw	$2, (%bp)
	iret
int_handler:
	incw	%bx
	iret
code_end stepped

/* Long stretches without an exit, and everything that makes counts differ. Ends with HLT. */
code landed
	xorl	%edx, %edx
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	$AT(ud_skip, landed), 6*4	/* #UD */
	movw	%ax, 6*4+2
	movw	$AT(int_count, landed), 0x40*4
	movw	%ax, 0x40*4+2
	movw	$60, %bp
1:	movw	$900, %cx
2:	addw	%cx, %bx
	rorw	%bx
	movw	%cx, %si
	movw	%bx, 0x600(%si)
	loop	2b
	inb	$0x10, %al
	outb	%al, $0x11
	pushw	%bp
	ud2
	int	$0x40
	popw	%bp
	movw	$0x3000, %di
	movw	$700, %cx
	rep stosb
	movw	$0x3000, %si
	movw	$0x4000, %di
	movw	$300, %cx
	rep movsw
	rdtsc
	cpuid
	xorl	%edx, %edx
	pushf
	popw	%cx
	pushw	%ss
	popw	%ss
	decw	%bp
	jnz	1b
	hlt
ud_skip:
	movw	%sp, %bp
	addw	$2, (%bp)
	iret
int_count:
	incl	%edi
	iret
code_end landed

/* Adds to registers and XMM0 for ever, with an OUT now and then: what two VMs that take turns must not mix up. */
code counter
	movl	%cr4, %eax
	orl	$0x600, %eax
	movl	%eax, %cr4
	fninit
	xorl	%eax, %eax
	xorl	%esi, %esi
	pxor	%xmm0, %xmm0
	movl	0x500, %edi			/* this VM's own number */
	movd	%edi, %xmm1
	movd	%edi, %mm3
	movl	%edi, %dr0
1:	addl	%edi, %esi
	paddd	%xmm1, %xmm0
	addl	%edi, 0x600
	incl	%eax
	testb	$0x3f, %al
	jne	1b
	outb	%al, $0x80
	jmp	1b
code_end counter

/* Executes everything that is forbidden: each #UD or #GP skips one instruction (its length is in %cl). */
code hostile
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$AT(skip, hostile), 6*4
	movw	%ax, 6*4+2
	movw	$AT(skip, hostile), 13*4
	movw	%ax, 13*4+2
	xorl	%ebx, %ebx			/* every MSR of the two ranges, and some beyond */
1:	movl	%ebx, %ecx
	xorl	%eax, %eax
	movl	%eax, %edx
	pushw	%bx
	movb	$2, %bl
	pushl	%ecx
	wrmsr
	popl	%ecx
	rdmsr
	popw	%bx
	incl	%ebx
	cmpl	$0x1000, %ebx
	jb	2f
	cmpl	$0xc0000000, %ebx
	jae	2f
	movl	$0xc0000000, %ebx
2:	cmpl	$0xc0000110, %ebx
	jb	1b
	movb	$3, %bl
	vmcall
	.byte 0x0f, 0x01, 0xc2			/* VMLAUNCH */
	.byte 0x0f, 0x01, 0xc3			/* VMRESUME */
	.byte 0x0f, 0x01, 0xc4			/* VMXOFF */
	.byte 0x0f, 0x01, 0xd4			/* VMFUNC */
	movb	$6, %bl
	.byte 0xf3, 0x0f, 0xc7, 0x36, 0x00, 0x60	/* VMXON */
	movb	$2, %bl
	wbinvd
	invd
	movb	$3, %bl
	monitor
	mwait
	xsetbv
	movl	$0xffffffff, %eax
	movl	%eax, %cr4			/* #GP */
	movl	$0xffffdfff, %eax		/* every breakpoint, without GD */
	movl	%eax, %dr7
	xorl	%eax, %eax
	movl	%eax, %dr7
	movb	$1, %al				/* beyond RAM */
	movw	$0xffff, %bx
	movw	%bx, %ds
	movb	%al, 0xfff0
	xorw	%bx, %bx
	movw	%bx, %ds
	movb	$0xaa, %al
	outb	%al, $0x99			/* survived */
	movw	$0xdead, %sp
	movw	$0, 0x600
	lidtl	0x600				/* limit 0 and #UD in protected mode: triple fault */
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ud2
skip:	pushw	%bp
	movw	%sp, %bp
	movb	$0, %bh
	addw	%bx, 2(%bp)
	popw	%bp
	iret
code_end hostile

/* Takes interrupts 0x20 and NMIs all the time and counts them; an OUT in the loop and in the handlers. */
code flooded
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7000, %sp
	movw	$AT(intr_handler, flooded), 0x20*4
	movw	%ax, 0x20*4+2
	movw	$AT(nmi_handler, flooded), 2*4
	movw	%ax, 2*4+2
	sti
1:	incl	0x600
	outb	%al, $0x80
	jmp	1b
intr_handler:
	incl	0x604
	outb	%al, $0x81
	iret
nmi_handler:
	incl	0x608
	outb	%al, $0x82
	iret
code_end flooded

/* Every OUT has the stack elsewhere: by turns on a page that nobody wrote yet, and behind the end of memory. */
code delivered
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$AT(3f, delivered), 0x20*4
	movw	%ax, 0x20*4+2
	movw	$AT(3f, delivered), 2*4
	movw	%ax, 2*4+2
	movw	$0x1000, %si
	movw	$0xffff, %di
	sti
1:	movw	%si, %ss
	movw	$0x1010, %sp
	outb	%al, $0x80
	incl	0x600 /* an event comes before this, and does not come back to it */
2:	xchgw	%si, %di
	cmpw	$0xffff, %si
	je	1b
	addw	$0x100, %si
	jmp	1b
3:	incl	0x604
	xorw	%ax, %ax
	movw	%ax, %ss
	movw	$0x7000, %sp
	pushw	$0x202
	pushw	%ax
	pushw	$AT(2b, delivered)
	iret
code_end delivered

/* Spins without an exit. */
code spinner
1:	incl	%eax
	jmp	1b
code_end spinner

/* A division fault whose handler faults the same way, for ever. */
code looper
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$AT(1f, looper), 0
	movw	%ax, 2
1:	movw	$0x7000, %sp
	divb	%al
	jmp	1b
code_end looper

/* A division fault whose handler is the division: nothing retires any more. */
code stuck
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$AT(1f, stuck), 0
	movw	%ax, 2
1:	divb	%al
code_end stuck

/* Writes into 64 pages, one after the other, with an OUT each. */
code walker
	xorl	%eax, %eax
	xorw	%si, %si
1:	addw	$0x100, %si
	andw	$0x3f00, %si
	movw	%si, %ds
	incl	0xff0
	incl	%eax
	outb	%al, $0x80
	jmp	1b
code_end walker

/* Takes dwords from a list at 0x1000, up to a 0: reads where an odd one says, writes to an even one, and an OUT each. */
code toucher
	movl	$0x1000, %esi
1:	addr32 lodsl
	testl	%eax, %eax
	je	3f
	testb	$1, %al
	jne	2f
	addr32 movb %ah, (%eax)
	outb	%al, $0x80
	jmp	1b
2:	addr32 addb (%eax), %bl
	outb	%al, $0x81
	jmp	1b
3:	hlt
code_end toucher
	.section .note.GNU-stack, "", @progbits
