/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PVH: an ELF file whose note says where it wants to be entered, as a Linux vmlinux built with
 * CONFIG_PVH has (PVH boot ABI of the Xen project: "struct hvm_start_info"). The program
 * starts in 32-bit protected mode without paging, EBX = start information, at PROGRAM_INFO
 * (program.h). The first module is Linux' initrd.
 */
#ifndef HYPERVISOR_BOOT_PVH_H
#define HYPERVISOR_BOOT_PVH_H

#include <stdbool.h>

#include "hypervisor/boot/image.h"

/* True: the image is an ELF file with the PVH note. */
bool pvh_is_program(const struct boot_image *image);

/* See boot_load(). */
int pvh_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	     struct err *err);

#endif
