/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The beginning of a 64-bit ELF program, for tests of what loads one. */
#ifndef TESTS_BOOT_ELF64_H
#define TESTS_BOOT_ELF64_H

#include <elf.h>
#include <stdint.h>
#include <string.h>

static inline Elf64_Phdr *elf64_phdr(uint8_t *file)
{
	return (Elf64_Phdr *)(void *)(file + sizeof(Elf64_Ehdr));
}

/* A file of zeros with the ELF header of `phnum` program headers, which follow it. */
static inline void elf64_begin(uint8_t *file, size_t size, uint64_t entry, uint16_t phnum)
{
	Elf64_Ehdr *e = (Elf64_Ehdr *)(void *)file;

	memset(file, 0, size);
	memcpy(e->e_ident, "\177ELF\2\1\1", 7);
	e->e_type = ET_EXEC;
	e->e_machine = EM_X86_64;
	e->e_entry = entry;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(Elf64_Phdr);
	e->e_phnum = phnum;
}

#endif
