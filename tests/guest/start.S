/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 64-bit guest programs: multiboot entry in 32-bit protected mode, on to long mode with the first GiB mapped
 * one to one for the supervisor in 2 MiB pages, then main(). Exceptions and interrupts reach trap_entry() of rt64.h.
 */
#define PTE_P 1
#define PTE_W 2
#define PTE_A 0x20
#define PTE_D 0x40
#define PTE_PS 0x80

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.bss
	.balign 4096
	.globl pml4, pd_low
pml4:	.skip 4096
pdpt:	.skip 4096
pd_low:	.skip 4096
	.globl main_stack, irq_stack, ist_stack
	.skip 32768
main_stack:
	.skip 16384
irq_stack:			/* RSP0 of the TSS */
	.skip 16384
ist_stack:			/* IST1 */
	.globl tss, idt
	.balign 16
tss:	.skip 104
	.skip 8192		/* I/O bitmap, when a program wants one */
	.byte 0
	.balign 16
idt:	.skip 4096

	.data
	.balign 16
	.globl gdt, gdt_tss
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 32-bit code, ring 0 */
	.quad 0x00af9b000000ffff	/* 10 64-bit code, ring 0 */
	.quad 0x00cf93000000ffff	/* 18 data, ring 0 */
	.quad 0x00cffb000000ffff	/* 20 32-bit code, ring 3 */
	.quad 0x00cff3000000ffff	/* 28 data, ring 3 */
	.quad 0x00affb000000ffff	/* 30 64-bit code, ring 3 */
	.quad 0				/* 38 */
gdt_tss:
	.quad 0, 0			/* 40 TSS */
	.fill 16, 8, 0			/* 50.. free for programs */
gdt_end:
	.globl gdtr
gdtr:	.word gdt_end - gdt - 1
	.quad gdt

	.text
	.code32
	.globl start
start:
	mov	$main_stack, %esp
	mov	$pdpt, %eax
	/*
	 * Accessed and dirty bits from the start: Bochs sets them behind the back of EPT, which a real processor asks
	 * first, so that the page of a table would not count as written there.
	 */
	or	$(PTE_P | PTE_W | PTE_A), %eax
	mov	%eax, pml4
	mov	$pd_low, %eax
	or	$(PTE_P | PTE_W | PTE_A), %eax
	mov	%eax, pdpt
	mov	$(PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D), %eax
	mov	$pd_low, %edi
	mov	$512, %ecx
1:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	1b
	mov	%cr4, %eax
	or	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x901, %eax		/* SCE, LME, NXE */
	wrmsr
	mov	$0x80010033, %eax	/* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	lgdt	gdtr
	ljmp	$0x10, $1f
	.code64
1:	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$main_stack, %rsp
	fninit
	call	rt_init
	call	main
	movzbl	%al, %eax
	mov	$0xf4, %dx
	outb	%al, %dx
2:	cli
	hlt
	jmp	2b

/* 256 entries of 16 bytes: those without an error code push a 0. */
	.balign 16
	.globl vectors
vectors:
	vec = 0
	.rept 256
	.balign 16
	.if (vec == 8) || (vec >= 10 && vec <= 14) || (vec == 17)
	.else
	push	$0
	.endif
	push	$vec
	jmp	trap_common
	vec = vec + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	trap_entry
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq
	.section .note.GNU-stack, "", @progbits
