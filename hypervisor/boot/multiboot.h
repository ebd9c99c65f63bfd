/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 programs (Multiboot Specification 0.6.96): ELF32, ELF64, or any file with the address
 * fields ("a.out kludge"). The program starts in 32-bit protected mode without paging, EAX =
 * 0x2badb002, EBX = information structure, at PROGRAM_INFO (program.h).
 */
#ifndef HYPERVISOR_BOOT_MULTIBOOT_H
#define HYPERVISOR_BOOT_MULTIBOOT_H

#include <stdbool.h>

#include "hypervisor/boot/image.h"

/* True: the image has a multiboot header with a right checksum. */
bool multiboot_is_program(const struct boot_image *image);

/* See boot_load(). */
int multiboot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
		   struct err *err);

#endif
