// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/multiboot.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "hypervisor/boot/elf.h"
#include "hypervisor/boot/program.h"

#define HEADER_MAGIC   0x1badb002u
#define LOADER_MAGIC   0x2badb002u
#define HEADER_SEARCH  8192u
#define HEADER_LEN     12u
#define KLUDGE_LEN     32u
#define FLAG_ALIGN     (1u << 0)
#define FLAG_MEMORY    (1u << 1)
#define FLAG_ADDRESSES (1u << 16)
#define FLAGS_KNOWN    (FLAG_ALIGN | FLAG_MEMORY)
#define FLAGS_REQUIRED 0xffffu /* bits 0-15 must be understood, bits 16-31 may be ignored */

/* Information structure: offsets and the flags that say which of its fields are valid. */
enum {
	INFO_MEM_LOWER = 4,
	INFO_CMDLINE = 16,
	INFO_MODS_COUNT = 20,
	INFO_MMAP_LENGTH = 44,
	INFO_LOADER_NAME = 64,
	INFO_LEN = 120,
};
#define INFO_HAS_MEM	 (1u << 0)
#define INFO_HAS_CMDLINE (1u << 2)
#define INFO_HAS_MODS	 (1u << 3)
#define INFO_HAS_MMAP	 (1u << 6)
#define INFO_HAS_NAME	 (1u << 9)

struct multiboot {
	struct program p;
	uint32_t header; /* offset of the multiboot header */
	uint32_t flags;
};

static uint32_t get32(const struct boot_image *f, size_t at)
{
	struct rd r = RD_INIT(f->data, f->len);

	rd_bytes(&r, at);
	return rd_u32(&r);
}

static bool find_header(const struct boot_image *f, uint32_t *at)
{
	size_t end = f->len < HEADER_SEARCH ? f->len : HEADER_SEARCH;

	for (size_t i = 0; i + HEADER_LEN <= end; i += 4) {
		if (get32(f, i) != HEADER_MAGIC ||
		    get32(f, i) + get32(f, i + 4) + get32(f, i + 8) != 0)
			continue;
		*at = (uint32_t)i;
		return true;
	}
	return false;
}

bool multiboot_is_program(const struct boot_image *image)
{
	uint32_t at;

	return find_header(image, &at);
}

static int load_by_addresses(struct multiboot *mb)
{
	struct program *p = &mb->p;
	const struct boot_image *f = p->file;
	uint32_t header_addr, load_addr, load_end, bss_end;
	struct program_segment s = { .at = mb->header + HEADER_LEN };

	if (f->len - mb->header < KLUDGE_LEN)
		return err_set(
			p->err, EINVAL,
			"%s is cut short: it ends inside the multiboot header at offset 0x%x",
			f->name, mb->header);
	header_addr = get32(f, mb->header + 12);
	load_addr = get32(f, mb->header + 16);
	load_end = get32(f, mb->header + 20);
	bss_end = get32(f, mb->header + 24);
	p->entry = get32(f, mb->header + 28);
	if (load_addr > header_addr || header_addr - load_addr > mb->header)
		return err_set(p->err, EINVAL,
			       "%s: load address 0x%x and header address 0x%x at offset 0x%x do "
			       "not fit the header's place",
			       f->name, load_addr, header_addr, mb->header + 12);
	s.offset = mb->header - (header_addr - load_addr);
	s.paddr = load_addr;
	s.filesz = f->len - s.offset;
	if (load_end) /* 0: the rest of the file */
		s.filesz = load_end >= load_addr ? load_end - load_addr : UINT64_MAX;
	s.memsz = s.filesz;
	if (bss_end >= load_addr && bss_end - load_addr > s.filesz) /* 0: no bss */
		s.memsz = bss_end - load_addr;
	if (p->entry < load_addr || p->entry - load_addr >= s.memsz)
		return err_set(p->err, EINVAL,
			       "%s: entry address 0x%x at offset 0x%x is outside the program",
			       f->name, p->entry, mb->header + 28);
	return program_load_segment(p, &s);
}

static void set32(struct buf *b, size_t at, uint32_t v)
{
	for (size_t i = 0; !b->bad && i < 4; i++)
		b->data[at + i] = (uint8_t)(v >> (8 * i));
}

static void put_memory_map(struct buf *b, const struct memory *mem)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(mem, map);

	set32(b, INFO_MMAP_LENGTH, (uint32_t)n * 24);
	set32(b, INFO_MMAP_LENGTH + 4, (uint32_t)(PROGRAM_INFO + b->len));
	for (size_t i = 0; i < n; i++) {
		buf_put_u32(b, 20); /* bytes that follow */
		buf_put_u64(b, map[i].base);
		buf_put_u64(b, map[i].len);
		buf_put_u32(b, map[i].type);
	}
}

static void put_modules(struct buf *b, const struct boot_request *req, const uint32_t *start)
{
	size_t table = b->len;

	set32(b, INFO_MODS_COUNT, (uint32_t)req->nmodules);
	set32(b, INFO_MODS_COUNT + 4, (uint32_t)(PROGRAM_INFO + table));
	for (size_t i = 0; i < req->nmodules; i++) {
		buf_put_u32(b, start[i]);
		buf_put_u32(b, (uint32_t)(start[i] + req->module[i].len));
		buf_put_u32(b, 0);
		buf_put_u32(b, 0);
	}
	for (size_t i = 0; i < req->nmodules; i++)
		set32(b, table + i * 16 + 8, program_put_string(b, program_module_text(req, i)));
}

static int write_info(struct program *p, const struct boot_request *req, const uint32_t *start,
		      struct cpu_state *s)
{
	uint64_t upper = p->mem->low_size > BOOT_HIGH_BASE ? p->mem->low_size - BOOT_HIGH_BASE : 0;
	uint32_t flags = INFO_HAS_MEM | INFO_HAS_CMDLINE | INFO_HAS_MMAP | INFO_HAS_NAME;
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < INFO_LEN; i++)
		buf_put_u8(&b, 0);
	set32(&b, 0, flags | (req->nmodules ? INFO_HAS_MODS : 0));
	set32(&b, INFO_MEM_LOWER, BOOT_LOW_END / 1024);
	set32(&b, INFO_MEM_LOWER + 4, (uint32_t)(upper / 1024));
	set32(&b, INFO_CMDLINE, program_put_string(&b, req->cmdline ? req->cmdline : ""));
	set32(&b, INFO_LOADER_NAME, program_put_string(&b, "twinstep"));
	put_memory_map(&b, p->mem);
	if (req->nmodules)
		put_modules(&b, req, start);
	program_put_gdt(&b, s);
	return program_write_info(p, &b);
}

static int check_header(struct multiboot *mb)
{
	const struct boot_image *f = mb->p.file;
	uint32_t unknown;

	if (!find_header(f, &mb->header))
		return err_set(
			mb->p.err, EINVAL,
			"%s: no multiboot header with a right checksum in the first 8192 bytes",
			f->name);
	mb->flags = get32(f, mb->header + 4);
	unknown = mb->flags & FLAGS_REQUIRED & ~FLAGS_KNOWN;
	if (unknown)
		return err_set(
			mb->p.err, EINVAL,
			"%s: the multiboot header asks for unknown features 0x%x (offset 0x%x)",
			f->name, unknown, mb->header + 4);
	return 0;
}

static int load_elf(struct program *p)
{
	uint64_t entry = 0;
	int r = elf_load(p, &entry);

	if (!r && entry == UINT64_MAX)
		r = err_set(p->err, EINVAL, "%s: entry address (offset 24) is in no loaded segment",
			    p->file->name);
	p->entry = (uint32_t)entry;
	return r;
}

static int load_file(struct multiboot *mb)
{
	if (mb->flags & FLAG_ADDRESSES)
		return load_by_addresses(mb);
	if (elf_is(mb->p.file))
		return load_elf(&mb->p);
	return err_set(mb->p.err, EINVAL,
		       "%s: neither an ELF file nor load addresses in the multiboot header at "
		       "offset 0x%x",
		       mb->p.file->name, mb->header);
}

int multiboot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
		   struct err *err)
{
	struct multiboot mb = { .p = { .file = &req->kernel, .mem = mem, .err = err } };
	uint32_t start[BOOT_MODULES] = { 0 };
	int r;

	if ((r = program_check_strings(req, err)) || (r = check_header(&mb)) ||
	    (r = program_begin(&mb.p, req)) || (r = load_file(&mb)) ||
	    (r = program_load_modules(&mb.p, req, start)))
		return r;
	cpu_state_reset(state);
	boot_firmware_state(state);
	r = write_info(&mb.p, req, start, state);
	if (!r)
		program_fill_cpu(state, &mb.p, LOADER_MAGIC, PROGRAM_INFO);
	return r;
}
