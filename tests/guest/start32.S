/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 32-bit guest programs: multiboot entry, own descriptor tables, main(). Exceptions and interrupts reach
 * trap_entry() of rt32.h. real_run() takes the processor to real mode and back.
 */
	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.bss
	.balign 4096
	.globl main_stack, irq_stack, tss, idt
	.skip 32768
main_stack:
	.skip 16384
irq_stack:			/* ESP0 of the TSS */
	.balign 16
tss:	.skip 104
	.balign 16
idt:	.skip 2048

	.data
	.balign 16
	.globl gdt, gdtr
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 code, ring 0 */
	.quad 0x00cf93000000ffff	/* 10 data, ring 0 */
	.quad 0x00cffb000000ffff	/* 18 code, ring 3 */
	.quad 0x00cff3000000ffff	/* 20 data, ring 3 */
	.quad 0				/* 28 TSS */
	.quad 0x00009b000000ffff	/* 30 16-bit code, base 0, 64 KiB */
	.quad 0x000093000000ffff	/* 38 16-bit data, base 0, 64 KiB */
	.fill 24, 8, 0			/* 40.. free for programs */
gdt_end:
gdtr:	.word gdt_end - gdt - 1
	.long gdt

	.text
	.code32
	.globl start
start:
	mov	$main_stack, %esp
	lgdt	gdtr
	ljmp	$0x08, $1f
1:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	push	$2
	popf
	call	rt_init
	call	main
	mov	$0xf4, %dx
	outb	%al, %dx
2:	cli
	hlt
	jmp	2b

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
	pusha
	push	%ds
	push	%es
	push	%fs
	push	%gs
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	cld
	mov	%esp, %ebx
	push	%ebx
	call	trap_entry
	mov	%ebx, %esp
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

/*
 * void real_run(u32 entry): real mode, far call to 0000:entry, and back. Registers as the caller left them in
 * real_regs (ax, bx, cx, dx, si, di, 16 bits each), stored back there; stack at 0000:7000.
 */
	.globl real_run, real_run_end, real_regs
real_run:
	pusha
	mov	%esp, saved_esp
	mov	36(%esp), %eax
	mov	%eax, real_entry
	/* the 16-bit part lives below 64 KiB */
	mov	$real_low, %esi
	mov	$0x7800, %edi
	mov	$real_low_end - real_low, %ecx
	rep movsb
	mov	real_entry, %eax
	mov	%eax, 0x7800 + real_target - real_low
	mov	$real_regs, %esi
	mov	$0x7400, %edi
	mov	$12, %ecx
	rep movsb
	lidt	real_idtr
	ljmp	$0x30, $0x7800
real_back:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	saved_esp, %esp
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	lidt	idtr
	lgdt	gdtr
	mov	$0x7400, %esi
	mov	$real_regs, %edi
	mov	$12, %ecx
	rep movsb
	popa
	ret

	.data
real_idtr:
	.word	0x3ff
	.long	0
	.globl idtr
idtr:	.word	2047
	.long	idt
saved_esp:
	.long	0
real_entry:
	.long	0
real_regs:
	.skip	12

	.text
	.code16
real_low:
	mov	$0x38, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%cr0, %eax
	and	$~1, %al
	mov	%eax, %cr0
	ljmp	$0, $0x7800 + 1f - real_low
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %fs
	mov	%ax, %gs
	mov	$0x7000, %esp
	mov	0x7400, %ax
	mov	0x7402, %bx
	mov	0x7404, %cx
	mov	0x7406, %dx
	mov	0x7408, %si
	mov	0x740a, %di
	lcall	*%cs:0x7800 + real_target - real_low
	pushw	$0		/* whatever the code left: NT, DF ... */
	popfw
	push	%ax
	xor	%ax, %ax
	mov	%ax, %ds
	pop	%ax
	mov	%ax, 0x7400
	mov	%bx, 0x7402
	mov	%cx, 0x7404
	mov	%dx, 0x7406
	mov	%si, 0x7408
	mov	%di, 0x740a
	xor	%ax, %ax
	mov	%ax, %ss
	lgdtl	%cs:0x7800 + real_gdtr - real_low
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x08, $real_back
	.balign 4
real_target:
	.long	0
real_gdtr:
	.word	gdt_end - gdt - 1
	.long	gdt
real_low_end:
	.section .note.GNU-stack, "", @progbits
