/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The beginning of a multiboot guest in assembler: its header, and where it starts. */
	.section .text.start, "ax"
	.code32
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.globl _start
_start:
