// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/linux.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"

/* Offsets of the setup header, the same in the file and in struct boot_params. */
enum {
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x200,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_SETUP_DATA = 0x250,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_NEEDED = 0x268, /* protocol 2.12 has all of the fields before */
	HDR_LIMIT = 0x290,  /* where the header's place in struct boot_params ends */

	BP_ACPI_RSDP = 0x70,
	BP_E820_ENTRIES = 0x1e8,
	BP_E820_TABLE = 0x2d0,
	BP_E820_ENTRY = 20,
};

#define LOADED_HIGH	1u
#define XLF_KERNEL_64	1u
#define BOOT_FLAG	0xaa55u
#define SECTOR		512ull
#define ENTRY_64	0x200ull
#define LOADER_OTHER	0xff
#define BOOT_CS		0x10
#define BOOT_DS		0x18
#define PD_COUNT	4
#define PAGE_ENTRIES	512
#define PAGE_ALIGN(x)	(((x) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
#define PAGE_FLOOR(x)	((x) & ~(PAGE_SIZE - 1))
#define MIB_CEIL(bytes) (((bytes) + 0xfffff) >> 20)

/* Values out of the header, after they were checked. */
struct linux_layout {
	uint64_t payload_offset, payload_len; /* protected-mode kernel in the file */
	uint64_t load, reserved;	      /* where it goes, and how much it needs there */
	uint64_t initrd_limit; /* first address behind the highest place for an initrd */
	uint64_t cmdline_max;  /* bytes without the NUL */
	size_t header_len;     /* bytes from HDR_SETUP_SECTS that go to struct boot_params */
	bool wide;	       /* 64-bit entry; else the 32-bit one */
};

static uint64_t get_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void put_le(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

bool linux_is_bzimage(const struct boot_image *image)
{
	return image->len >= HDR_MAGIC + 4 && !memcmp(image->data + HDR_MAGIC, "HdrS", 4);
}

static int check_magic(const struct boot_image *k, struct err *err)
{
	unsigned version;

	if (k->len < HDR_NEEDED)
		return err_set(
			err, EINVAL,
			"%s is cut short: %zu bytes end inside the setup header (0x1f1-0x267)",
			k->name, k->len);
	if (get_le(k->data + HDR_BOOT_FLAG, 2) != BOOT_FLAG)
		return err_set(err, EINVAL,
			       "%s is damaged: no boot signature 0xaa55 at offset 0x1fe", k->name);
	version = (unsigned)get_le(k->data + HDR_VERSION, 2);
	if (version < 0x20c)
		return err_set(err, EINVAL,
			       "%s speaks boot protocol %u.%02u (offset 0x206); 2.12 or later is "
			       "needed (Linux 3.8)",
			       k->name, version >> 8, version & 0xff);
	if (!(k->data[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(err, EINVAL,
			       "%s is a zImage that wants to be loaded low (offset 0x211)",
			       k->name);
	return 0;
}

static int parse_payload(const struct boot_image *k, struct linux_layout *l, struct err *err)
{
	unsigned sects = k->data[HDR_SETUP_SECTS];
	uint64_t end;

	l->payload_offset = ((sects ? sects : 4) + 1) * SECTOR; /* 0 means 4, for old kernels */
	l->payload_len = get_le(k->data + HDR_SYSSIZE, 4) * 16;
	end = l->payload_offset + l->payload_len;
	/* A program that is no Linux has no compressed payload, and may end inside the last unit.
	 */
	if (end > k->len && end - k->len < 16 && !get_le(k->data + HDR_PAYLOAD_LENGTH, 4)) {
		l->payload_len -= end - k->len;
		end = k->len;
	}
	if (end > k->len)
		return err_set(
			err, EINVAL,
			"%s is cut short or damaged: the kernel ends at offset 0x%llx (setup_sects "
			"at 0x1f1, syssize at 0x1f4) but the file has %zu bytes",
			k->name, (unsigned long long)end, k->len);
	l->wide = k->data[HDR_XLOADFLAGS] & XLF_KERNEL_64;
	if (l->payload_len <= ENTRY_64)
		return err_set(err, EINVAL,
			       "%s is damaged: a kernel of %llu bytes (syssize at offset 0x1f4) "
			       "has no entry",
			       k->name, (unsigned long long)l->payload_len);
	l->header_len = HDR_MAGIC + (size_t)k->data[HDR_JUMP + 1];
	if (l->header_len < HDR_NEEDED || l->header_len > HDR_LIMIT || l->header_len > k->len)
		return err_set(err, EINVAL,
			       "%s is damaged: the setup header ends at 0x%zx (jump at offset "
			       "0x200), not in 0x268-0x290",
			       k->name, l->header_len);
	l->header_len -= HDR_SETUP_SECTS;
	return 0;
}

static int parse_placement(const struct boot_image *k, const struct memory *mem,
			   struct linux_layout *l, struct err *err)
{
	uint64_t init_size = get_le(k->data + HDR_INIT_SIZE, 4);

	l->load = get_le(k->data + HDR_PREF_ADDRESS, 8);
	if (l->load < BOOT_HIGH_BASE || l->load >= MEMORY_HOLE_START || l->load & (PAGE_SIZE - 1))
		return err_set(err, EINVAL,
			       "%s is damaged: load address 0x%llx (offset 0x258) is not a page "
			       "between 1 MiB and 3 GiB",
			       k->name, (unsigned long long)l->load);
	l->reserved = PAGE_ALIGN(init_size > l->payload_len ? init_size : l->payload_len);
	if (l->load + l->reserved > mem->low_size)
		return err_set(err, ENOMEM,
			       "%s needs memory up to %llu MiB (load address at offset 0x258, "
			       "init_size at 0x260) and the guest has %llu MiB below 4 GiB; give "
			       "it more with --memory",
			       k->name, (unsigned long long)MIB_CEIL(l->load + l->reserved),
			       (unsigned long long)(mem->low_size >> 20));
	l->initrd_limit = get_le(k->data + HDR_INITRD_ADDR_MAX, 4) + 1;
	if (l->initrd_limit > mem->low_size)
		l->initrd_limit = mem->low_size;
	l->cmdline_max = get_le(k->data + HDR_CMDLINE_SIZE, 4);
	if (l->cmdline_max > LINUX_CMDLINE_MAX - 1)
		l->cmdline_max = LINUX_CMDLINE_MAX - 1;
	return 0;
}

static int place_initrd(const struct boot_request *req, const struct linux_layout *l,
			uint64_t *addr, struct err *err)
{
	const struct boot_image *rd = &req->module[0];
	uint64_t kernel_end = l->load + l->reserved;

	*addr = 0;
	if (req->nmodules > 1)
		return err_set(err, EINVAL,
			       "%s is a Linux kernel and takes one initrd; %zu were given",
			       req->kernel.name, req->nmodules);
	if (!req->nmodules)
		return 0;
	if (!rd->len)
		return err_set(err, EINVAL, "%s is empty and cannot be an initrd", rd->name);
	if (rd->len > l->initrd_limit || PAGE_FLOOR(l->initrd_limit - rd->len) < kernel_end)
		return err_set(err, ENOMEM,
			       "%s (%zu bytes) does not fit between the end of the kernel at %llu "
			       "MiB and the highest place for an initrd at %llu MiB; give the "
			       "guest more memory with --memory",
			       rd->name, rd->len, (unsigned long long)MIB_CEIL(kernel_end),
			       (unsigned long long)(l->initrd_limit >> 20));
	*addr = PAGE_FLOOR(l->initrd_limit - rd->len);
	return 0;
}

static void fill_zero_page(uint8_t *zp, const struct boot_request *req,
			   const struct linux_layout *l, const struct memory *mem, uint64_t initrd)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(mem, map);

	memset(zp, 0, PAGE_SIZE);
	memcpy(zp + HDR_SETUP_SECTS, req->kernel.data + HDR_SETUP_SECTS, l->header_len);
	if (req->acpi)
		put_le(zp + BP_ACPI_RSDP, ACPI_RSDP, 8);
	zp[HDR_TYPE_OF_LOADER] = LOADER_OTHER;
	put_le(zp + HDR_VID_MODE, 0xffff, 2); /* "normal" */
	put_le(zp + HDR_CMD_LINE_PTR, LINUX_CMDLINE, 4);
	put_le(zp + HDR_RAMDISK_IMAGE, initrd, 4);
	put_le(zp + HDR_RAMDISK_SIZE, initrd ? req->module[0].len : 0, 4);
	put_le(zp + HDR_SETUP_DATA, 0, 8);
	zp[BP_E820_ENTRIES] = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		uint8_t *e = zp + BP_E820_TABLE + i * BP_E820_ENTRY;

		put_le(e, map[i].base, 8);
		put_le(e + 8, map[i].len, 8);
		put_le(e + 16, map[i].type, 4);
	}
}

static bool write_page_tables(struct memory *mem)
{
	uint8_t table[PAGE_SIZE] = { 0 };
	uint64_t pdpt = LINUX_PAGE_TABLES + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	bool ok;

	put_le(table, pdpt | PTE_P | PTE_W, 8);
	ok = memory_write(mem, LINUX_PAGE_TABLES, table, PAGE_SIZE);
	for (uint64_t i = 0; i < PD_COUNT; i++)
		put_le(table + 8 * i, (pd + i * PAGE_SIZE) | PTE_P | PTE_W, 8);
	ok = ok && memory_write(mem, pdpt, table, PAGE_SIZE);
	for (uint64_t i = 0; i < PD_COUNT; i++) {
		for (uint64_t j = 0; j < PAGE_ENTRIES; j++)
			put_le(table + 8 * j, (i * PAGE_ENTRIES + j) << 21 | PTE_PS | PTE_P | PTE_W,
			       8);
		ok = ok && memory_write(mem, pd + i * PAGE_SIZE, table, PAGE_SIZE);
	}
	return ok;
}

static unsigned code_attr(const struct linux_layout *l)
{
	return l->wide ? BOOT_ATTR_CODE64 : BOOT_ATTR_CODE32;
}

static bool write_gdt(struct memory *mem, const struct linux_layout *l)
{
	uint8_t gdt[32] = { 0 };

	put_le(gdt + BOOT_CS, boot_flat_descriptor(code_attr(l)), 8);
	put_le(gdt + BOOT_DS, boot_flat_descriptor(BOOT_ATTR_DATA), 8);
	return memory_write(mem, LINUX_GDT, gdt, sizeof(gdt));
}

static void fill_cpu(struct cpu_state *s, const struct linux_layout *l)
{
	cpu_state_reset(s);
	boot_firmware_state(s);
	boot_flat_segment(s, SEG_CS, BOOT_CS, code_attr(l));
	for (enum seg seg = SEG_ES; seg <= SEG_GS; seg++) {
		if (seg != SEG_CS)
			boot_flat_segment(s, seg, BOOT_DS, BOOT_ATTR_DATA);
	}
	s->gdtr = (struct table_state){ .base = LINUX_GDT, .limit = 31 };
	s->idtr = (struct table_state){ .base = 0, .limit = 0 };
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[R_RSI] = LINUX_ZERO_PAGE;
	s->gpr[R_RSP] = LINUX_ZERO_PAGE; /* the kernel sets its own; a stack that is RAM helps an
					    early fault */
	s->rip = l->load;
	s->rflags = 2;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (!l->wide)
		return;
	s->rip += ENTRY_64;
	s->cr0 |= CR0_PG;
	s->cr3 = LINUX_PAGE_TABLES;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
}

static bool write_all(struct memory *mem, const struct boot_request *req,
		      const struct linux_layout *l, uint64_t initrd)
{
	const char *cmdline = req->cmdline ? req->cmdline : "";
	uint8_t zero_page[PAGE_SIZE];

	fill_zero_page(zero_page, req, l, mem, initrd);
	return write_gdt(mem, l) && (!l->wide || write_page_tables(mem)) &&
	       memory_write(mem, LINUX_ZERO_PAGE, zero_page, sizeof(zero_page)) &&
	       memory_write(mem, LINUX_CMDLINE, cmdline, strlen(cmdline) + 1) &&
	       memory_write(mem, l->load, req->kernel.data + l->payload_offset, l->payload_len) &&
	       (!initrd || memory_write(mem, initrd, req->module[0].data, req->module[0].len));
}

int linux_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	       struct err *err)
{
	struct linux_layout l = { 0 };
	size_t cmdline_len = req->cmdline ? strlen(req->cmdline) : 0;
	uint64_t initrd;
	int r;

	if ((r = check_magic(&req->kernel, err)) || (r = parse_payload(&req->kernel, &l, err)) ||
	    (r = parse_placement(&req->kernel, mem, &l, err)) ||
	    (r = place_initrd(req, &l, &initrd, err)))
		return r;
	if (cmdline_len > l.cmdline_max)
		return err_set(
			err, EINVAL,
			"the command line has %zu bytes and %s takes at most %llu (offset 0x238)",
			cmdline_len, req->kernel.name, (unsigned long long)l.cmdline_max);
	if (!write_all(mem, req, &l, initrd))
		return err_set(err, ENOMEM, "%s does not fit into the guest's memory of %llu MiB",
			       req->kernel.name, (unsigned long long)(mem->size >> 20));
	fill_cpu(state, &l);
	return 0;
}
