// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/pvh.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/elf.h"
#include "hypervisor/boot/program.h"

#define NOTE_NAME	  "Xen"
#define NOTE_PHYS32_ENTRY 18u
#define START_MAGIC	  0x336ec578u
#define START_VERSION	  1u /* has a memory map */

/* struct hvm_start_info */
struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, map;
	uint32_t map_entries, reserved;
};

struct start_module {
	uint64_t at, size, cmdline, reserved;
};

struct start_map {
	uint64_t at, size;
	uint32_t type, reserved; /* E820 numbering */
};

_Static_assert(sizeof(struct start_info) == 56, "layout of hvm_start_info");
_Static_assert(sizeof(struct start_module) == 32, "layout of hvm_modlist_entry");
_Static_assert(sizeof(struct start_map) == 24, "layout of hvm_memmap_table_entry");

bool pvh_is_program(const struct boot_image *image)
{
	uint64_t entry;

	return elf_find_note(image, NOTE_NAME, NOTE_PHYS32_ENTRY, &entry);
}

static int find_entry(struct program *p)
{
	uint64_t entry = 0;

	if (!elf_find_note(p->file, NOTE_NAME, NOTE_PHYS32_ENTRY, &entry) ||
	    !memory_at(p->mem, entry, 1) || entry >= MEMORY_HOLE_START)
		return err_set(p->err, EINVAL,
			       "%s: the PVH entry address 0x%llx is outside the guest's memory",
			       p->file->name, (unsigned long long)entry);
	p->entry = (uint32_t)entry;
	return 0;
}

static void put_modules(struct buf *b, const struct boot_request *req, const uint32_t *start,
			struct start_info *info)
{
	struct start_module list[BOOT_MODULES] = { 0 };

	for (size_t i = 0; i < req->nmodules; i++) {
		list[i].at = start[i];
		list[i].size = req->module[i].len;
		list[i].cmdline = program_put_string(b, program_module_text(req, i));
	}
	while (b->len % 8 && !b->bad)
		buf_put_u8(b, 0);
	info->modules = (uint32_t)req->nmodules;
	info->module_list = req->nmodules ? PROGRAM_INFO + b->len : 0;
	buf_put(b, list, req->nmodules * sizeof(list[0]));
}

static void put_map(struct buf *b, const struct memory *mem, struct start_info *info)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(mem, map);

	info->map = PROGRAM_INFO + b->len;
	info->map_entries = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		const struct start_map e = { .at = map[i].base,
					     .size = map[i].len,
					     .type = map[i].type };

		buf_put(b, &e, sizeof(e));
	}
}

static int write_info(struct program *p, const struct boot_request *req, const uint32_t *start,
		      struct cpu_state *s)
{
	struct start_info info = { .magic = START_MAGIC, .version = START_VERSION };
	struct buf b = BUF_INIT;

	if (req->acpi)
		info.rsdp = ACPI_RSDP;
	buf_put(&b, &info, sizeof(info)); /* again when it is whole */
	info.cmdline = program_put_string(&b, req->cmdline ? req->cmdline : "");
	put_modules(&b, req, start, &info);
	put_map(&b, p->mem, &info);
	program_put_gdt(&b, s);
	if (!b.bad)
		memcpy(b.data, &info, sizeof(info));
	return program_write_info(p, &b);
}

int pvh_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	     struct err *err)
{
	struct program p = { .file = &req->kernel, .mem = mem, .err = err };
	uint32_t start[BOOT_MODULES] = { 0 };
	uint64_t entry;
	int r;

	if ((r = program_check_strings(req, err)) || (r = program_begin(&p, req)) ||
	    (r = elf_load(&p, &entry)) || (r = find_entry(&p)) ||
	    (r = program_load_modules(&p, req, start)))
		return r;
	cpu_state_reset(state);
	boot_firmware_state(state);
	r = write_info(&p, req, start, state);
	if (!r)
		program_fill_cpu(state, &p, 0, PROGRAM_INFO);
	return r;
}
