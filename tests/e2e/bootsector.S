/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector: reads the second sector through the BIOS (INT 13h, AH = 42h) and shows its text, then asks for a reset;
 * started again, which a byte of the CMOS memory tells it, it ends the machine with status 42.
 */
#define AT(label) ((label) - _start + 0x7c00)
#define MARK 0x50 /* of the CMOS memory: nobody's */
	.code16
	.globl _start
_start:
	ljmp $0, $AT(start)
start:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	mov $AT(packet), %si
	mov $0x42, %ah
	int $0x13 /* DL is the drive that we were read from */
	mov $AT(failed), %si
	jc 1f
	mov $0x7e00, %si
1:	lodsb
	test %al, %al
	jz 2f
	mov $0x0e, %ah
	xor %bx, %bx
	int $0x10
	jmp 1b
2:	mov $MARK, %al
	out %al, $0x70
	in $0x71, %al
	cmp $1, %al
	je 3f
	mov $1, %al
	out %al, $0x71
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
	hlt
3:	mov $42, %al
	out %al, $0xf4
	hlt

packet:	.byte 16, 0
	.word 1, 0x7e00, 0
	.quad 1
failed:	.asciz "cannot read\r\n"
	.org 510
	.word 0xaa55
	.asciz "read by the BIOS\r\n"
	.org 1024
