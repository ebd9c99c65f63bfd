/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF programs with fixed addresses, of either class, for x86. */
#ifndef HYPERVISOR_BOOT_ELF_H
#define HYPERVISOR_BOOT_ELF_H

#include <stdbool.h>

#include "hypervisor/boot/program.h"

/* The file starts like an ELF file. */
bool elf_is(const struct boot_image *image);
/*
 * Loads all segments at their physical addresses. *entry: the physical address of the ELF header's
 * entry (a program may be linked high and loaded low), UINT64_MAX where no segment has it. 0,
 * -EINVAL or -ENOMEM.
 */
int elf_load(struct program *p, uint64_t *entry);
/*
 * The value (4 or 8 bytes) of the note of that name and type. False: there is none, or the file is
 * too damaged to tell.
 */
bool elf_find_note(const struct boot_image *image, const char *name, uint32_t type,
		   uint64_t *value);

#endif
