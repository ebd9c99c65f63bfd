// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define PHDRS_MAX 64u

bool elf_is(const struct boot_image *f)
{
	return f->len >= SELFMAG && !memcmp(f->data, ELFMAG, SELFMAG);
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

static int elf_check(const struct boot_image *f, const struct elf_class **cls, struct err *err)
{
	const struct elf_class *c;
	unsigned machine;

	if (f->len < sizeof(Elf32_Ehdr))
		return err_set(err, EINVAL, "%s is cut short: %zu bytes are not even an ELF header",
			       f->name, f->len);
	if (f->data[EI_CLASS] != ELFCLASS32 && f->data[EI_CLASS] != ELFCLASS64)
		return err_set(err, EINVAL, "%s: unknown ELF class %u at offset 4", f->name,
			       f->data[EI_CLASS]);
	*cls = c = f->data[EI_CLASS] == ELFCLASS32 ? &elf32 : &elf64;
	if (f->len < c->ehdr_len)
		return err_set(err, EINVAL, "%s is cut short: %zu bytes are not even an ELF header",
			       f->name, f->len);
	if (f->data[EI_DATA] != ELFDATA2LSB)
		return err_set(err, EINVAL,
			       "%s: ELF data encoding %u at offset 5 is not little-endian", f->name,
			       f->data[EI_DATA]);
	if (elf_get(f, offsetof(Elf32_Ehdr, e_type), 2) != ET_EXEC)
		return err_set(
			err, EINVAL,
			"%s: ELF type %u at offset 16 is not a program with fixed addresses (2)",
			f->name, (unsigned)elf_get(f, offsetof(Elf32_Ehdr, e_type), 2));
	machine = (unsigned)elf_get(f, offsetof(Elf32_Ehdr, e_machine), 2);
	if (machine != c->machine)
		return err_set(err, EINVAL,
			       "%s: ELF machine %u at offset 18 is not x86 (%u in this class)",
			       f->name, machine, c->machine);
	return 0;
}

/* A program may be linked high and loaded low: the entry is a virtual address then. */
static void elf_relocate_entry(const struct program_segment *s, uint64_t *entry, bool *found)
{
	if (*found || *entry < s->vaddr || *entry - s->vaddr >= s->memsz)
		return;
	*entry = *entry - s->vaddr + s->paddr;
	*found = true;
}

/* Place and number of the program headers. */
struct elf_headers {
	const struct elf_class *cls;
	uint64_t at;
	unsigned n;
};

static int elf_load_segments(struct program *p, const struct elf_headers *h, uint64_t *physical)
{
	const struct boot_image *f = p->file;
	const struct elf_class *c = h->cls;
	uint64_t entry = elf_get(f, c->entry, c->width);
	bool found = false;

	for (unsigned i = 0; i < h->n; i++) {
		uint64_t at = h->at + i * c->phdr_len;
		struct program_segment s = {
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
		r = program_load_segment(p, &s);
		if (r)
			return r;
		elf_relocate_entry(&s, &entry, &found);
	}
	*physical = found ? entry : UINT64_MAX;
	return 0;
}

static int elf_find_headers(const struct boot_image *f, struct elf_headers *h, struct err *err)
{
	const struct elf_class *c = NULL;
	unsigned phentsize;
	int r = elf_check(f, &c, err);

	if (r)
		return r;
	*h = (struct elf_headers){ .cls = c,
				   .at = elf_get(f, c->phoff, c->width),
				   .n = (unsigned)elf_get(f, c->phentsize + 2, 2) };
	phentsize = (unsigned)elf_get(f, c->phentsize, 2); /* e_phnum comes next */
	if (phentsize != c->phdr_len)
		return err_set(err, EINVAL,
			       "%s: program headers of %u bytes (offset %zu), expected %zu",
			       f->name, phentsize, c->phentsize, c->phdr_len);
	if (!h->n || h->n > PHDRS_MAX)
		return err_set(err, EINVAL, "%s: %u program headers (offset %zu), expected 1 to %u",
			       f->name, h->n, c->phentsize + 2, PHDRS_MAX);
	if (h->at > f->len || h->n * c->phdr_len > f->len - h->at)
		return err_set(err, EINVAL,
			       "%s is cut short or damaged: %u program headers at offset 0x%llx do "
			       "not fit into %zu bytes",
			       f->name, h->n, (unsigned long long)h->at, f->len);
	return 0;
}

int elf_load(struct program *p, uint64_t *entry)
{
	struct elf_headers h;
	int r = elf_find_headers(p->file, &h, p->err);

	return r ? r : elf_load_segments(p, &h, entry);
}

/* ---- notes: u32 length of the name, of the value, type; name and value, each padded to 4 ---- */

#define NOTE_HEADER 12u
#define NOTE_PAD(n) (((uint64_t)(n) + 3) & ~3ull)

static bool find_in_segment(const struct boot_image *f, uint64_t at, uint64_t end, const char *name,
			    uint32_t type, uint64_t *value)
{
	while (at <= end && end - at >= NOTE_HEADER) {
		uint64_t namesz = elf_get(f, at, 4), descsz = elf_get(f, at + 4, 4);
		uint64_t desc = at + NOTE_HEADER + NOTE_PAD(namesz);

		if (desc > end || descsz > end - desc)
			return false;
		if (elf_get(f, at + 8, 4) == type && namesz == strlen(name) + 1 &&
		    !memcmp(f->data + at + NOTE_HEADER, name, namesz) &&
		    (descsz == 4 || descsz == 8)) {
			*value = elf_get(f, desc, descsz);
			return true;
		}
		at = desc + NOTE_PAD(descsz);
	}
	return false;
}

bool elf_find_note(const struct boot_image *f, const char *name, uint32_t type, uint64_t *value)
{
	struct elf_headers h;

	if (!elf_is(f) || elf_find_headers(f, &h, NULL))
		return false;
	for (unsigned i = 0; i < h.n; i++) {
		uint64_t at = h.at + i * h.cls->phdr_len;
		uint64_t offset = elf_get(f, at + h.cls->p_offset, h.cls->width);
		uint64_t len = elf_get(f, at + h.cls->p_filesz, h.cls->width);

		if (elf_get(f, at, 4) == PT_NOTE && offset <= f->len && len <= f->len - offset &&
		    find_in_segment(f, offset, offset + len, name, type, value))
			return true;
	}
	return false;
}
