/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image of a CD that boots by El Torito without emulation: its program reads the sector of the CD behind itself again
 * and again by INT 13h from drive E0h, and shows the text in it and the number of the round, in hexadecimal. It never ends.
 */
#define SECTOR(n) ((n) * 2048)
#define AT(label) ((label) - _start + 0x7c00)
	.code16
	.globl image
image:
	.org SECTOR(17)
	.ascii "\0CD001\1EL TORITO SPECIFICATION"
	.org SECTOR(17) + 0x47
	.long 18

	.org SECTOR(18)		/* validation entry, initial entry */
	.byte 1, 0
	.org SECTOR(18) + 0x1c
	.word 0x55aa, 0xaa55	/* all words add up to 0 */
	.byte 0x88, 0
	.word 0
	.byte 0, 0
	.word 4
	.long 19

	.org SECTOR(19)
	.globl _start
_start:
	cld
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	xor %ebp, %ebp
round:
	movl $0, 0x8000
	mov $AT(packet), %si
	mov $0x42, %ah
	mov $0xe0, %dl
	int $0x13
	mov $AT(failed), %si
	jc 1f
	mov $0x8000, %si
1:	lodsb
	test %al, %al
	jz 2f
	call say
	jmp 1b
2:	mov $28, %cl
3:	mov %ebp, %eax
	shr %cl, %eax
	and $15, %al
	add $'0', %al
	cmp $'9', %al
	jbe 4f
	add $'a' - '9' - 1, %al
4:	call say
	sub $4, %cl
	jns 3b
	mov $'\r', %al
	call say
	mov $'\n', %al
	call say
	inc %ebp
	sti
	hlt			/* until the next tick of 55 ms */
	hlt
	jmp round
say:
	pushal
	mov $0x0e, %ah
	mov $7, %bx
	int $0x10
	popal
	ret

packet:	.byte 16, 0
	.word 1, 0x8000, 0
	.quad 20
failed:	.asciz "BAD "
	.org SECTOR(20)
	.asciz "read from the CD: "
	.org SECTOR(32)
