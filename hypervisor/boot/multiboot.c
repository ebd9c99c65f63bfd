// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/multiboot.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

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
#define PHDRS_MAX      64u
#define LOAD_CS	       0x08
#define LOAD_DS	       0x10

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

struct program {
	const struct boot_image *file;
	struct memory *mem;
	struct err *err;
	uint32_t header; /* offset of the multiboot header */
	uint32_t flags;
	uint64_t end; /* first byte behind everything loaded */
	uint32_t entry;
};

/* The fields of a program header that matter, of either class. */
struct segment {
	uint64_t offset, vaddr, paddr, filesz, memsz;
	uint64_t at; /* where the program header is in the file */
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

static bool is_elf(const struct boot_image *f)
{
	return f->len >= SELFMAG && !memcmp(f->data, ELFMAG, SELFMAG);
}

bool multiboot_is_program(const struct boot_image *image)
{
	uint32_t at;

	return is_elf(image) || find_header(image, &at);
}

static bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen && blen && a < b + blen && b < a + alen;
}

/*
 * Copies file bytes to paddr and leaves the rest up to memsz zero; `at` is where the file says so.
 */
static int load_segment(struct program *p, const struct segment *s)
{
	const struct boot_image *f = p->file;
	uint64_t end = s->paddr + s->memsz;

	if (s->filesz > s->memsz)
		return err_set(p->err, EINVAL,
			       "%s: the segment described at offset 0x%llx has more bytes in the "
			       "file than in memory",
			       f->name, (unsigned long long)s->at);
	if (s->offset > f->len || s->filesz > f->len - s->offset)
		return err_set(p->err, EINVAL,
			       "%s is cut short or damaged: the segment described at offset 0x%llx "
			       "needs bytes 0x%llx to 0x%llx and the file has 0x%zx",
			       f->name, (unsigned long long)s->at, (unsigned long long)s->offset,
			       (unsigned long long)(s->offset + s->filesz), f->len);
	if (end < s->paddr || end > p->mem->low_size ||
	    ranges_overlap(s->paddr, s->memsz, BOOT_LOW_END, BOOT_HIGH_BASE - BOOT_LOW_END))
		return err_set(p->err,
			       end > p->mem->low_size && end < MEMORY_HOLE_START ? ENOMEM : EINVAL,
			       "%s: the segment described at offset 0x%llx wants addresses 0x%llx "
			       "to 0x%llx, where the guest (%llu MiB) has no memory",
			       f->name, (unsigned long long)s->at, (unsigned long long)s->paddr,
			       (unsigned long long)end, (unsigned long long)(p->mem->size >> 20));
	if (ranges_overlap(s->paddr, s->memsz, MULTIBOOT_INFO, MULTIBOOT_INFO_LEN))
		return err_set(p->err, EINVAL,
			       "%s: the segment described at offset 0x%llx lies over "
			       "0x%llx-0x%llx, which the boot information needs",
			       f->name, (unsigned long long)s->at, MULTIBOOT_INFO,
			       MULTIBOOT_INFO + MULTIBOOT_INFO_LEN);
	if ((s->filesz && !memory_write(p->mem, s->paddr, f->data + s->offset, s->filesz)) ||
	    (s->memsz > s->filesz &&
	     !memory_zero(p->mem, s->paddr + s->filesz, s->memsz - s->filesz)))
		return err_set(p->err, ENOMEM, "%s does not fit into the guest's memory", f->name);
	if (s->memsz && end > p->end)
		p->end = end;
	return 0;
}

static int load_by_addresses(struct program *p)
{
	const struct boot_image *f = p->file;
	uint32_t header_addr, load_addr, load_end, bss_end;
	struct segment s = { .at = p->header + HEADER_LEN };

	if (f->len - p->header < KLUDGE_LEN)
		return err_set(
			p->err, EINVAL,
			"%s is cut short: it ends inside the multiboot header at offset 0x%x",
			f->name, p->header);
	header_addr = get32(f, p->header + 12);
	load_addr = get32(f, p->header + 16);
	load_end = get32(f, p->header + 20);
	bss_end = get32(f, p->header + 24);
	p->entry = get32(f, p->header + 28);
	if (load_addr > header_addr || header_addr - load_addr > p->header)
		return err_set(p->err, EINVAL,
			       "%s: load address 0x%x and header address 0x%x at offset 0x%x do "
			       "not fit the header's place",
			       f->name, load_addr, header_addr, p->header + 12);
	s.offset = p->header - (header_addr - load_addr);
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
			       f->name, p->entry, p->header + 28);
	return load_segment(p, &s);
}

/* Shape of the two ELF classes: where the fields are that differ. */
struct elf_class {
	size_t ehdr_len, phdr_len;
	size_t entry, phoff, phentsize; /* offsets in the ELF header */
	size_t width;			/* bytes of an address */
	uint16_t machine;
	size_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz; /* offsets in a program header */
};

static const struct elf_class elf32 = {
	.ehdr_len = sizeof(Elf32_Ehdr),
	.phdr_len = sizeof(Elf32_Phdr),
	.entry = offsetof(Elf32_Ehdr, e_entry),
	.phoff = offsetof(Elf32_Ehdr, e_phoff),
	.phentsize = offsetof(Elf32_Ehdr, e_phentsize),
	.width = 4,
	.machine = EM_386,
	.p_offset = offsetof(Elf32_Phdr, p_offset),
	.p_vaddr = offsetof(Elf32_Phdr, p_vaddr),
	.p_paddr = offsetof(Elf32_Phdr, p_paddr),
	.p_filesz = offsetof(Elf32_Phdr, p_filesz),
	.p_memsz = offsetof(Elf32_Phdr, p_memsz),
};

static const struct elf_class elf64 = {
	.ehdr_len = sizeof(Elf64_Ehdr),
	.phdr_len = sizeof(Elf64_Phdr),
	.entry = offsetof(Elf64_Ehdr, e_entry),
	.phoff = offsetof(Elf64_Ehdr, e_phoff),
	.phentsize = offsetof(Elf64_Ehdr, e_phentsize),
	.width = 8,
	.machine = EM_X86_64,
	.p_offset = offsetof(Elf64_Phdr, p_offset),
	.p_vaddr = offsetof(Elf64_Phdr, p_vaddr),
	.p_paddr = offsetof(Elf64_Phdr, p_paddr),
	.p_filesz = offsetof(Elf64_Phdr, p_filesz),
	.p_memsz = offsetof(Elf64_Phdr, p_memsz),
};

static uint64_t elf_get(const struct boot_image *f, uint64_t at, size_t width)
{
	uint64_t v = 0;

	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)f->data[at + i] << (8 * i);
	return v;
}

static int elf_check(struct program *p, const struct elf_class **cls)
{
	const struct boot_image *f = p->file;
	const struct elf_class *c;
	unsigned machine;

	if (f->len < sizeof(Elf32_Ehdr))
		return err_set(p->err, EINVAL,
			       "%s is cut short: %zu bytes are not even an ELF header", f->name,
			       f->len);
	if (f->data[EI_CLASS] != ELFCLASS32 && f->data[EI_CLASS] != ELFCLASS64)
		return err_set(p->err, EINVAL, "%s: unknown ELF class %u at offset 4", f->name,
			       f->data[EI_CLASS]);
	*cls = c = f->data[EI_CLASS] == ELFCLASS32 ? &elf32 : &elf64;
	if (f->len < c->ehdr_len)
		return err_set(p->err, EINVAL,
			       "%s is cut short: %zu bytes are not even an ELF header", f->name,
			       f->len);
	if (f->data[EI_DATA] != ELFDATA2LSB)
		return err_set(p->err, EINVAL,
			       "%s: ELF data encoding %u at offset 5 is not little-endian", f->name,
			       f->data[EI_DATA]);
	if (elf_get(f, offsetof(Elf32_Ehdr, e_type), 2) != ET_EXEC)
		return err_set(
			p->err, EINVAL,
			"%s: ELF type %u at offset 16 is not a program with fixed addresses (2)",
			f->name, (unsigned)elf_get(f, offsetof(Elf32_Ehdr, e_type), 2));
	machine = (unsigned)elf_get(f, offsetof(Elf32_Ehdr, e_machine), 2);
	if (machine != c->machine)
		return err_set(p->err, EINVAL,
			       "%s: ELF machine %u at offset 18 is not x86 (%u in this class)",
			       f->name, machine, c->machine);
	return 0;
}

/* A program may be linked high and loaded low: the entry is a virtual address then. */
static void elf_relocate_entry(const struct segment *s, uint64_t *entry, bool *found)
{
	if (*found || *entry < s->vaddr || *entry - s->vaddr >= s->memsz)
		return;
	*entry = *entry - s->vaddr + s->paddr;
	*found = true;
}

static int elf_load_segments(struct program *p, const struct elf_class *c, uint64_t phoff,
			     unsigned n)
{
	const struct boot_image *f = p->file;
	uint64_t entry = elf_get(f, c->entry, c->width);
	bool found = false;

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = phoff + i * c->phdr_len;
		struct segment s = {
			.offset = elf_get(f, at + c->p_offset, c->width),
			.vaddr = elf_get(f, at + c->p_vaddr, c->width),
			.paddr = elf_get(f, at + c->p_paddr, c->width),
			.filesz = elf_get(f, at + c->p_filesz, c->width),
			.memsz = elf_get(f, at + c->p_memsz, c->width),
			.at = at,
		};
		int r;

		if (elf_get(f, at, 4) != PT_LOAD || !s.memsz)
			continue;
		r = load_segment(p, &s);
		if (r)
			return r;
		elf_relocate_entry(&s, &entry, &found);
	}
	if (!found)
		return err_set(p->err, EINVAL,
			       "%s: entry address 0x%llx at offset 24 is in no loaded segment",
			       f->name, (unsigned long long)entry);
	p->entry = (uint32_t)entry;
	return 0;
}

static int load_elf(struct program *p)
{
	const struct boot_image *f = p->file;
	const struct elf_class *c = NULL;
	uint64_t phoff;
	unsigned phentsize, n;
	int r = elf_check(p, &c);

	if (r)
		return r;
	phoff = elf_get(f, c->phoff, c->width);
	phentsize = (unsigned)elf_get(f, c->phentsize, 2);
	n = (unsigned)elf_get(f, c->phentsize + 2, 2); /* e_phnum comes next */
	if (phentsize != c->phdr_len)
		return err_set(p->err, EINVAL,
			       "%s: program headers of %u bytes (offset %zu), expected %zu",
			       f->name, phentsize, c->phentsize, c->phdr_len);
	if (!n || n > PHDRS_MAX)
		return err_set(p->err, EINVAL,
			       "%s: %u program headers (offset %zu), expected 1 to %u", f->name, n,
			       c->phentsize + 2, PHDRS_MAX);
	if (phoff > f->len || n * c->phdr_len > f->len - phoff)
		return err_set(p->err, EINVAL,
			       "%s is cut short or damaged: %u program headers at offset 0x%llx do "
			       "not fit into %zu bytes",
			       f->name, n, (unsigned long long)phoff, f->len);
	return elf_load_segments(p, c, phoff, n);
}

static const char *module_text(const struct boot_request *req, size_t i)
{
	return req->text[i] ? req->text[i] : "";
}

/* A string in the information area; returns its address. */
static uint32_t put_string(struct buf *b, const char *s)
{
	uint32_t at = (uint32_t)(MULTIBOOT_INFO + b->len);

	buf_put(b, s, strlen(s) + 1);
	return at;
}

static void set32(struct buf *b, size_t at, uint32_t v)
{
	for (size_t i = 0; !b->bad && i < 4; i++)
		b->data[at + i] = (uint8_t)(v >> (8 * i));
}

static int load_modules(struct program *p, const struct boot_request *req, uint32_t *start)
{
	uint64_t at = p->end < BOOT_HIGH_BASE ? BOOT_HIGH_BASE : p->end;

	for (size_t i = 0; i < req->nmodules; i++) {
		const struct boot_image *m = &req->module[i];

		at = (at + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		if (at > p->mem->low_size || m->len > p->mem->low_size - at)
			return err_set(
				p->err, ENOMEM,
				"module %s (%zu bytes) does not fit between 0x%llx and the end of "
				"the guest's memory (%llu MiB); give it more with --memory",
				m->name, m->len, (unsigned long long)at,
				(unsigned long long)(p->mem->size >> 20));
		if (m->len && !memory_write(p->mem, at, m->data, m->len))
			return err_set(p->err, ENOMEM,
				       "module %s does not fit into the guest's memory", m->name);
		start[i] = (uint32_t)at;
		at += m->len;
	}
	return 0;
}

static void put_memory_map(struct buf *b, const struct memory *mem)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(mem, map);

	set32(b, INFO_MMAP_LENGTH, (uint32_t)n * 24);
	set32(b, INFO_MMAP_LENGTH + 4, (uint32_t)(MULTIBOOT_INFO + b->len));
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
	set32(b, INFO_MODS_COUNT + 4, (uint32_t)(MULTIBOOT_INFO + table));
	for (size_t i = 0; i < req->nmodules; i++) {
		buf_put_u32(b, start[i]);
		buf_put_u32(b, (uint32_t)(start[i] + req->module[i].len));
		buf_put_u32(b, 0);
		buf_put_u32(b, 0);
	}
	for (size_t i = 0; i < req->nmodules; i++)
		set32(b, table + i * 16 + 8, put_string(b, module_text(req, i)));
}

static void put_gdt(struct buf *b, struct cpu_state *s)
{
	while (b->len % 8 && !b->bad)
		buf_put_u8(b, 0);
	s->gdtr = (struct table_state){ .base = MULTIBOOT_INFO + b->len, .limit = 23 };
	buf_put_u64(b, 0);
	buf_put_u64(b, boot_flat_descriptor(BOOT_ATTR_CODE32));
	buf_put_u64(b, boot_flat_descriptor(BOOT_ATTR_DATA));
}

static int write_info(struct program *p, const struct boot_request *req, const uint32_t *start,
		      struct cpu_state *s)
{
	uint64_t upper = p->mem->low_size > BOOT_HIGH_BASE ? p->mem->low_size - BOOT_HIGH_BASE : 0;
	uint32_t flags = INFO_HAS_MEM | INFO_HAS_CMDLINE | INFO_HAS_MMAP | INFO_HAS_NAME;
	struct buf b = BUF_INIT;
	bool ok;

	for (size_t i = 0; i < INFO_LEN; i++)
		buf_put_u8(&b, 0);
	set32(&b, 0, flags | (req->nmodules ? INFO_HAS_MODS : 0));
	set32(&b, INFO_MEM_LOWER, BOOT_LOW_END / 1024);
	set32(&b, INFO_MEM_LOWER + 4, (uint32_t)(upper / 1024));
	set32(&b, INFO_CMDLINE, put_string(&b, req->cmdline ? req->cmdline : ""));
	set32(&b, INFO_LOADER_NAME, put_string(&b, "twinstep"));
	put_memory_map(&b, p->mem);
	if (req->nmodules)
		put_modules(&b, req, start);
	put_gdt(&b, s);
	ok = !b.bad && b.len <= MULTIBOOT_INFO_LEN &&
	     memory_write(p->mem, MULTIBOOT_INFO, b.data, b.len);
	buf_free(&b);
	return ok ? 0
		  : err_set(p->err, ENOMEM, "the boot information for %s does not fit into memory",
			    p->file->name);
}

static void fill_cpu(struct cpu_state *s, uint32_t entry)
{
	boot_flat_segment(s, SEG_CS, LOAD_CS, BOOT_ATTR_CODE32);
	for (enum seg seg = SEG_ES; seg <= SEG_GS; seg++) {
		if (seg != SEG_CS)
			boot_flat_segment(s, seg, LOAD_DS, BOOT_ATTR_DATA);
	}
	s->idtr = (struct table_state){ .base = 0, .limit = 0 };
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[R_RAX] = LOADER_MAGIC;
	s->gpr[R_RBX] = MULTIBOOT_INFO;
	s->rip = entry;
	s->rflags = FL_ONE;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
}

static int check_strings(const struct boot_request *req, struct err *err)
{
	if (req->cmdline && strlen(req->cmdline) >= MULTIBOOT_CMDLINE)
		return err_set(
			err, EINVAL,
			"the command line has %zu bytes; a multiboot program gets at most %u",
			strlen(req->cmdline), MULTIBOOT_CMDLINE - 1);
	for (size_t i = 0; i < req->nmodules; i++) {
		if (strlen(module_text(req, i)) >= MULTIBOOT_CMDLINE / 2)
			return err_set(err, EINVAL,
				       "the text of module %s has %zu bytes; at most %u are taken",
				       req->module[i].name, strlen(req->text[i]),
				       MULTIBOOT_CMDLINE / 2 - 1);
	}
	return 0;
}

static int check_header(struct program *p)
{
	if (!find_header(p->file, &p->header))
		return err_set(
			p->err, EINVAL,
			"%s: no multiboot header with a right checksum in the first 8192 bytes",
			p->file->name);
	p->flags = get32(p->file, p->header + 4);
	if (p->flags & FLAGS_REQUIRED & ~FLAGS_KNOWN)
		return err_set(
			p->err, EINVAL,
			"%s: the multiboot header asks for unknown features 0x%x (offset 0x%x)",
			p->file->name, p->flags & FLAGS_REQUIRED & ~FLAGS_KNOWN, p->header + 4);
	return 0;
}

int multiboot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
		   struct err *err)
{
	struct program p = { .file = &req->kernel, .mem = mem, .err = err };
	uint32_t start[BOOT_MODULES] = { 0 };
	int r;

	if ((r = check_strings(req, err)) || (r = check_header(&p)))
		return r;
	if (p.flags & FLAG_ADDRESSES)
		r = load_by_addresses(&p);
	else if (is_elf(p.file))
		r = load_elf(&p);
	else
		r = err_set(err, EINVAL,
			    "%s: neither an ELF file nor load addresses in the multiboot header at "
			    "offset 0x%x",
			    p.file->name, p.header);
	if (r || (r = load_modules(&p, req, start)))
		return r;
	cpu_state_reset(state);
	boot_firmware_state(state);
	r = write_info(&p, req, start, state);
	if (!r)
		fill_cpu(state, p.entry);
	return r;
}
