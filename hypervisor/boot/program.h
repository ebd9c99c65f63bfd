/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading of programs that start in 32-bit protected mode, whichever protocol they speak: segments
 * of the file into memory, modules behind them, an area with information from the loader, the data
 * of a BIOS that old programs look for, and the vCPU's state.
 *
 *   0                      real-mode interrupts, all to a stub in the BIOS's place
 *   0x400 ..               BIOS data area, as far as programs read it; 0x9fc00: extended
 *   PROGRAM_INFO ..        the loader's information, strings, GDT: 64 KiB that no part of the
 *                          program may be loaded over
 *   behind the program     modules, each on a page of its own
 */
#ifndef HYPERVISOR_BOOT_PROGRAM_H
#define HYPERVISOR_BOOT_PROGRAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "hypervisor/boot/image.h"

#define PROGRAM_INFO	 0x10000ull
#define PROGRAM_INFO_LEN 0x10000ull
#define PROGRAM_CMDLINE	 4096u /* longest string, with the NUL */

/* A program on its way into memory. */
struct program {
	const struct boot_image *file;
	struct memory *mem;
	struct err *err;
	uint64_t end;	 /* first byte behind everything loaded */
	uint64_t loaded; /* bytes of all segments so far, bounded by the guest's memory */
	uint32_t entry;
};

/* A stretch of the file, and where it goes. */
struct program_segment {
	uint64_t offset, vaddr, paddr, filesz, memsz;
	uint64_t at; /* where the file says so, for messages */
};

/* Before all segments: the BIOS's data, unless the request goes without. */
int program_begin(struct program *p, const struct boot_request *req);
/*
 * Copies file bytes to paddr and leaves the rest up to memsz zero. All segments of a program have
 * at most as many bytes as the guest's memory below 4 GiB. 0, -EINVAL or -ENOMEM.
 */
int program_load_segment(struct program *p, const struct program_segment *s);
/* Loads the request's modules; start: the address at which each of them begins then. */
int program_load_modules(struct program *p, const struct boot_request *req,
			 uint32_t start[BOOT_MODULES]);
/* Checks that neither the command line nor a module's text is too long. 0, or -errno and err. */
int program_check_strings(const struct boot_request *req, struct err *err);
/* The words of the request behind a module's file name; never NULL. */
const char *program_module_text(const struct boot_request *req, size_t i);

/* A string in the information area, which b will become; returns its address. */
uint32_t program_put_string(struct buf *b, const char *s);
/* A GDT for the state that program_fill_cpu() makes, which is told of it. */
void program_put_gdt(struct buf *b, struct cpu_state *s);
/* Writes the area. Frees b. */
int program_write_info(struct program *p, struct buf *b);
/* The vCPU at the program's entry: flat segments, no paging, interrupts off. */
void program_fill_cpu(struct cpu_state *s, const struct program *p, uint32_t eax, uint32_t ebx);

#endif
