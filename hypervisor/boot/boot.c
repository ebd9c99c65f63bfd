// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/image.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/linux.h"
#include "hypervisor/boot/multiboot.h"

enum boot_kind boot_image_kind(const struct boot_image *image)
{
	if (linux_is_bzimage(image))
		return BOOT_LINUX;
	if (multiboot_is_program(image))
		return BOOT_MULTIBOOT;
	return BOOT_UNKNOWN;
}

const char *boot_kind_name(enum boot_kind kind)
{
	static const char *const names[] = {
		[BOOT_UNKNOWN] = "unknown file",
		[BOOT_LINUX] = "Linux bzImage",
		[BOOT_MULTIBOOT] = "multiboot program",
	};

	return names[kind];
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
	default:
		return err_set(err, EINVAL,
			       "%s (%zu bytes) is neither a Linux bzImage (no \"HdrS\" at offset "
			       "0x202) nor a multiboot program",
			       req->kernel.name, req->kernel.len);
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
