// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/image.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/linux.h"
#include "hypervisor/boot/multiboot.h"
#include "hypervisor/boot/pvh.h"

/* A PE file that is no bzImage: it wants firmware's services. */
static bool is_efi(const struct boot_image *f)
{
	uint64_t pe = 0;

	if (f->len < 0x40 || memcmp(f->data, "MZ", 2))
		return false;
	for (unsigned i = 4; i--;)
		pe = pe << 8 | f->data[0x3c + i];
	return pe <= f->len - 4 && !memcmp(f->data + pe, "PE\0\0", 4);
}

enum boot_kind boot_image_kind(const struct boot_image *image)
{
	if (linux_is_bzimage(image))
		return BOOT_LINUX;
	if (is_efi(image)) /* Xen's has a multiboot header as well, and no addresses */
		return BOOT_UNKNOWN;
	if (multiboot_is_program(image))
		return BOOT_MULTIBOOT;
	if (pvh_is_program(image))
		return BOOT_PVH;
	return BOOT_UNKNOWN;
}

/* Files that people take for kernels: what is found where, what that is, what to do. */
static const struct {
	size_t at, len;
	const char *bytes, *is;
} no_kernels[] = {
	{ 0, 4,
	  "\x7f"
	  "ELF",
	  "an ELF file with neither a multiboot header nor a PVH note: of Linux give the bzImage "
	  "(vmlinuz)" },
	{ 0, 6, "070701", "an initramfs: give it with --initrd, and its kernel with --kernel" },
	{ 0x8001, 5, "CD001",
	  "a CD image: give it with --disk FILE,ro, and the kernel that is on it "
	  "with --kernel" },
	{ 0x38, 4, "ARM\x64", "a kernel for 64-bit ARM: an x86-64 one is needed" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image: give the kernel that is inside" },
	{ 0, 3, "QFI",
	  "a qcow2 disk image: it is no kernel, and for --disk it has to be converted" },
	{ 0x1fe, 2, "\x55\xaa",
	  "a boot sector or a disk image (no \"HdrS\" at offset 0x202): give it with --disk, and a "
	  "kernel with --kernel" },
};

static int refuse(const struct boot_image *f, struct err *err)
{
	if (is_efi(f))
		return err_set(
			err, EINVAL,
			"%s is an EFI application, and there is no EFI here: give the kernel "
			"that it was made from (of Xen xen.gz; of a unified image: objcopy -O "
			"binary --only-section=.linux FILE vmlinuz)",
			f->name);
	for (size_t i = 0; i < sizeof(no_kernels) / sizeof(no_kernels[0]); i++) {
		if (f->len >= no_kernels[i].at + no_kernels[i].len &&
		    !memcmp(f->data + no_kernels[i].at, no_kernels[i].bytes, no_kernels[i].len))
			return err_set(err, EINVAL, "%s is %s", f->name, no_kernels[i].is);
	}
	return err_set(
		err, EINVAL,
		"%s (%zu bytes) is neither a Linux bzImage (no \"HdrS\" at offset 0x202) nor "
		"a multiboot 1 or PVH program",
		f->name, f->len);
}

int boot_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	      struct err *err)
{
	if (req->acpi && !acpi_write_tables(mem))
		return err_set(err, ENOMEM, "the guest's memory has no room for ACPI tables");
	switch (boot_image_kind(&req->kernel)) {
	case BOOT_LINUX:
		return linux_load(mem, req, state, err);
	case BOOT_MULTIBOOT:
		return multiboot_load(mem, req, state, err);
	case BOOT_PVH:
		return pvh_load(mem, req, state, err);
	default:
		return refuse(&req->kernel, err);
	}
}

size_t boot_memory_map(const struct memory *mem, struct boot_map_entry map[BOOT_MAP_MAX])
{
	size_t n = 0;

	map[n++] = (struct boot_map_entry){ 0, BOOT_LOW_END, BOOT_MAP_RAM };
	map[n++] = (struct boot_map_entry){ BOOT_LOW_END, BOOT_HIGH_BASE - BOOT_LOW_END,
					    BOOT_MAP_RESERVED };
	if (mem->low_size > BOOT_HIGH_BASE)
		map[n++] = (struct boot_map_entry){ BOOT_HIGH_BASE, mem->low_size - BOOT_HIGH_BASE,
						    BOOT_MAP_RAM };
	if (mem->high_size)
		map[n++] = (struct boot_map_entry){ MEMORY_HOLE_END, mem->high_size, BOOT_MAP_RAM };
	return n;
}

void boot_flat_segment(struct cpu_state *s, enum seg seg, uint16_t selector, uint32_t attr)
{
	s->seg[seg] = (struct seg_state){
		.selector = selector, .base = 0, .limit = 0xffffffff, .attr = attr
	};
}

/*
 * SDM vol. 3, figure 3-8: limit 15:0 in bits 15:0, access byte in 47:40, limit 19:16 in 51:48,
 * flags in 55:52.
 */
uint64_t boot_flat_descriptor(uint32_t attr)
{
	return 0xffffull | (uint64_t)(attr & 0xff) << 40 | 0xfull << 48 |
	       (uint64_t)(attr >> 12 & 0xf) << 52;
}

void boot_firmware_state(struct cpu_state *s)
{
	/* VM entry wants a busy TSS in TR and takes an unusable LDTR (SDM vol. 3, 27.3.1.2). */
	s->seg[SEG_TR] = (struct seg_state){ .limit = 0x67, .attr = SEG_P | 0xb };
	s->seg[SEG_LDTR] = (struct seg_state){ .attr = SEG_UNUSABLE };
	/*
	 * MTRRs on, fixed ranges off, default type write-back: with the reset value Linux would
	 * give up its PAT.
	 */
	s->mtrr_def_type = 0x806;
}
