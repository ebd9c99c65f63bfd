/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 programs (Multiboot Specification 0.6.96): ELF32, ELF64, or any file with the address
 * fields ("a.out kludge"). The program starts in 32-bit protected mode without paging, EAX =
 * 0x2badb002, EBX = information structure.
 *
 *   MULTIBOOT_INFO ..     information structure, memory map, module list, strings, GDT: 64 KiB that
 * no part of the program may be loaded over behind the program    modules, each on a page of its
 * own
 */
#ifndef HYPERVISOR_BOOT_MULTIBOOT_H
#define HYPERVISOR_BOOT_MULTIBOOT_H

#include <stdbool.h>

#include "hypervisor/boot/image.h"

#define MULTIBOOT_INFO	   0x10000ull
#define MULTIBOOT_INFO_LEN 0x10000ull
#define MULTIBOOT_CMDLINE  4096u /* longest string, with the NUL */

/* There is a multiboot header with a right checksum, or the file starts like an ELF file. */
bool multiboot_is_program(const struct boot_image *image);

/* See boot_load(). */
int multiboot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
		   struct err *err);

#endif
