/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading a guest program into a machine: what kind it is, where it goes, how the vCPU starts in
 * it.
 *
 * Everything here works on bytes that somebody else has read: images come from outside and every
 * field in them is hostile. The result is a function of the images, the command line and the size
 * of memory, and of nothing else.
 */
#ifndef HYPERVISOR_BOOT_IMAGE_H
#define HYPERVISOR_BOOT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/cpustate.h"
#include "hypervisor/memory.h"

struct boot_image {
	const char *name; /* the file's name, for messages: the guest sees nothing of it */
	const uint8_t *data;
	size_t len;
};

enum boot_kind { BOOT_UNKNOWN, BOOT_LINUX, BOOT_MULTIBOOT, BOOT_PVH };

#define BOOT_MODULES 16

struct boot_request {
	struct boot_image kernel;
	struct boot_image module[BOOT_MODULES]; /* Linux: at most one, the initrd */
	size_t nmodules;
	const char *text[BOOT_MODULES]; /* multiboot: each module's string; NULL: empty */
	bool acpi;			/* the machine has it: tables are written */
	bool no_bios_data;		/* for recordings made before multiboot programs had it */
	const char *cmdline;		/* without the kernel's name; NULL: empty */
};

/* Kind of the image by its magic numbers alone; nothing else of it has been checked. */
enum boot_kind boot_image_kind(const struct boot_image *image);

/*
 * Writes the program and what its boot protocol wants into memory (which must be all zero, as after
 * memory_init()) and fills in the state in which the vCPU starts. Returns 0, or -EINVAL (a damaged
 * image, a field out of range) or -ENOMEM (the guest's memory is too small), with a sentence that
 * names the file and, where there is one, the offset.
 */
int boot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	      struct err *err);

/* Shared by the loaders. */

#define BOOT_LOW_END   0x9fc00ull  /* end of RAM below the legacy hole */
#define BOOT_HIGH_BASE 0x100000ull /* RAM goes on at 1 MiB */

enum { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2 };

struct boot_map_entry {
	uint64_t base, len;
	uint32_t type;
};

#define BOOT_MAP_MAX 4

/* The memory map in the numbering of INT 15h, E820h; returns the number of entries. */
size_t boot_memory_map(const struct memory *mem, struct boot_map_entry map[BOOT_MAP_MAX]);

/*
 * Sets a segment register to a flat segment with the attributes, selector and the matching limit.
 */
void boot_flat_segment(struct cpu_state *s, enum seg seg, uint16_t selector, uint32_t attr);
/* Attributes of the flat segments (layout: cpustate.h). */
#define BOOT_ATTR_CODE32 (SEG_G | SEG_DB | SEG_P | SEG_S | 0xbu)
#define BOOT_ATTR_CODE64 (SEG_G | SEG_L | SEG_P | SEG_S | 0xbu)
#define BOOT_ATTR_DATA	 (SEG_G | SEG_DB | SEG_P | SEG_S | 0x3u)
/* The GDT descriptor of such a flat segment. */
uint64_t boot_flat_descriptor(uint32_t attr);
/*
 * State that firmware leaves behind in both protocols: TR and LDTR that VT-x accepts, write-back as
 * the memory type.
 */
void boot_firmware_state(struct cpu_state *s);

#endif
