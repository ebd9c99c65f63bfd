/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux/x86 boot protocol (Documentation/arch/x86/boot.rst in the kernel tree, 2.12 and later): the
 * 64-bit entry, and the 32-bit one of kernels that have no other.
 *
 * Guest memory when the kernel starts:
 *
 *   LINUX_GDT           null, null, __BOOT_CS (0x10), __BOOT_DS (0x18)
 *   LINUX_PAGE_TABLES   PML4, PDPT, four PDs: identity map of the first 4 GiB in 2 MiB pages
 *                       (64-bit entry)
 *   LINUX_ZERO_PAGE     struct boot_params
 *   LINUX_CMDLINE       command line, up to the kernel's cmdline_size
 *   pref_address        protected-mode kernel, init_size bytes reserved
 *   below the end of    initrd, page aligned, as high as initrd_addr_max allows
 *   low memory
 */
#ifndef HYPERVISOR_BOOT_LINUX_H
#define HYPERVISOR_BOOT_LINUX_H

#include <stdbool.h>

#include "hypervisor/boot/image.h"

#define LINUX_GDT	  0x1000ull
#define LINUX_PAGE_TABLES 0x9000ull
#define LINUX_ZERO_PAGE	  0x10000ull
#define LINUX_CMDLINE	  0x20000ull
#define LINUX_CMDLINE_MAX 0x10000ull /* bytes with the NUL */

/* The setup header's magic is there (the image may still be damaged). */
bool linux_is_bzimage(const struct boot_image *image);

/* See boot_load(). */
int linux_load(struct memory *mem, const struct boot_request *req, struct cpu_state *state,
	       struct err *err);

#endif
