// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/program.h"

#include <errno.h>
#include <string.h>

#define LOAD_CS	     0x08
#define LOAD_DS	     0x10
#define BIOS_SEGMENT 0xf000u
#define BIOS_IRET    0xff53u  /* where PCs have had one since the first */
#define LEGACY_HOLE  0xa0000u /* where RAM ends for a PC */

static bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen && blen && a < b + blen && b < a + alen;
}

int program_load_segment(struct program *p, const struct program_segment *s)
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
	if (ranges_overlap(s->paddr, s->memsz, PROGRAM_INFO, PROGRAM_INFO_LEN))
		return err_set(p->err, EINVAL,
			       "%s: the segment described at offset 0x%llx lies over "
			       "0x%llx-0x%llx, which the boot information needs",
			       f->name, (unsigned long long)s->at, PROGRAM_INFO,
			       PROGRAM_INFO + PROGRAM_INFO_LEN);
	if (s->memsz > p->mem->low_size - p->loaded)
		return err_set(
			p->err, EINVAL,
			"%s: with the segment described at offset 0x%llx its segments have "
			"more bytes than the guest's memory (0x%llx): they lie over each other",
			f->name, (unsigned long long)s->at, (unsigned long long)p->mem->low_size);
	p->loaded += s->memsz;
	if ((s->filesz && !memory_write(p->mem, s->paddr, f->data + s->offset, s->filesz)) ||
	    (s->memsz > s->filesz &&
	     !memory_zero(p->mem, s->paddr + s->filesz, s->memsz - s->filesz)))
		return err_set(p->err, ENOMEM, "%s does not fit into the guest's memory", f->name);
	if (s->memsz && end > p->end)
		p->end = end;
	return 0;
}

int program_load_modules(struct program *p, const struct boot_request *req,
			 uint32_t start[BOOT_MODULES])
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

const char *program_module_text(const struct boot_request *req, size_t i)
{
	return req->text[i] ? req->text[i] : "";
}

int program_check_strings(const struct boot_request *req, struct err *err)
{
	if (req->cmdline && strlen(req->cmdline) >= PROGRAM_CMDLINE)
		return err_set(
			err, EINVAL,
			"the command line has %zu bytes; a multiboot program gets at most %u",
			strlen(req->cmdline), PROGRAM_CMDLINE - 1);
	for (size_t i = 0; i < req->nmodules; i++) {
		if (strlen(program_module_text(req, i)) >= PROGRAM_CMDLINE / 2)
			return err_set(err, EINVAL,
				       "the text of module %s has %zu bytes; at most %u are taken",
				       req->module[i].name, strlen(req->text[i]),
				       PROGRAM_CMDLINE / 2 - 1);
	}
	return 0;
}

uint32_t program_put_string(struct buf *b, const char *s)
{
	uint32_t at = (uint32_t)(PROGRAM_INFO + b->len);

	buf_put(b, s, strlen(s) + 1);
	return at;
}

void program_put_gdt(struct buf *b, struct cpu_state *s)
{
	while (b->len % 8 && !b->bad)
		buf_put_u8(b, 0);
	s->gdtr = (struct table_state){ .base = PROGRAM_INFO + b->len, .limit = 23 };
	buf_put_u64(b, 0);
	buf_put_u64(b, boot_flat_descriptor(BOOT_ATTR_CODE32));
	buf_put_u64(b, boot_flat_descriptor(BOOT_ATTR_DATA));
}

static bool write_word(struct memory *mem, uint64_t at, uint16_t value)
{
	const uint8_t v[2] = { (uint8_t)value, (uint8_t)(value >> 8) };

	return memory_write(mem, at, v, 2);
}

/*
 * Words of the BIOS data area (IBM PS/2 and PC BIOS technical reference): programs size low memory
 * by them, or take it from them.
 */
static bool write_bios_data(struct memory *mem)
{
	static const struct {
		uint16_t at, value;
	} words[] = {
		{ 0x400, 0x3f8 },	       /* first serial port */
		{ 0x40e, BOOT_LOW_END >> 4 },  /* segment of the extended area */
		{ 0x410, 1 << 9 | 1 << 1 },    /* equipment: a serial port, an FPU */
		{ 0x413, BOOT_LOW_END >> 10 }, /* KiB of low memory */
	};
	const uint8_t kib = (LEGACY_HOLE - BOOT_LOW_END) >> 10; /* of the extended area */
	bool ok = memory_write(mem, BOOT_LOW_END, &kib, 1);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		ok = ok && write_word(mem, words[i].at, words[i].value);
	return ok;
}

/*
 * Every interrupt of real mode comes back at once, with the carry flag that says "no such
 * function": Xen asks for memory, disks and screen before it looks at what the loader has told.
 */
static bool write_bios_stub(struct memory *mem)
{
	static const uint8_t code[] = {
		0x55,			/* push bp */
		0x89, 0xe5,		/* mov bp, sp */
		0x80, 0x4e, 0x06, 0x01, /* or byte [bp + 6], 1: the flags that IRET takes */
		0x5d,			/* pop bp */
		0xcf,			/* iret */
	};
	bool ok = memory_write(mem, (BIOS_SEGMENT << 4) + BIOS_IRET, code, sizeof(code));

	for (uint64_t vector = 0; vector < 256; vector++)
		ok = ok && write_word(mem, vector * 4, BIOS_IRET) &&
		     write_word(mem, vector * 4 + 2, BIOS_SEGMENT);
	return ok;
}

int program_begin(struct program *p, const struct boot_request *req)
{
	return req->no_bios_data || (write_bios_data(p->mem) && write_bios_stub(p->mem))
		       ? 0
		       : err_set(p->err, ENOMEM, "the guest has no memory for a BIOS's data");
}

int program_write_info(struct program *p, struct buf *b)
{
	bool ok = !b->bad && b->len <= PROGRAM_INFO_LEN &&
		  memory_write(p->mem, PROGRAM_INFO, b->data, b->len);

	buf_free(b);
	return ok ? 0
		  : err_set(p->err, ENOMEM, "the boot information for %s does not fit into memory",
			    p->file->name);
}

void program_fill_cpu(struct cpu_state *s, const struct program *p, uint32_t eax, uint32_t ebx)
{
	boot_flat_segment(s, SEG_CS, LOAD_CS, BOOT_ATTR_CODE32);
	for (enum seg seg = SEG_ES; seg <= SEG_GS; seg++) {
		if (seg != SEG_CS)
			boot_flat_segment(s, seg, LOAD_DS, BOOT_ATTR_DATA);
	}
	s->idtr = (struct table_state){ .base = 0, .limit = 0 };
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[R_RAX] = eax;
	s->gpr[R_RBX] = ebx;
	s->rip = p->entry;
	s->rflags = FL_ONE;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
}
