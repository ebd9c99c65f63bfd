/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small real-mode program where a BIOS puts a boot sector, for machines of tests. */
#ifndef TESTS_BOOT_SECTOR_H
#define TESTS_BOOT_SECTOR_H

#include "hypervisor/machine.h"
#include "tests/unit.h"

#define BOOT_SECTOR 0x7c00u

/* The processor stands at its beginning then. */
static inline void boot_sector_load(struct machine *m, const void *program, size_t len)
{
	struct engine *e = machine_engine(m);
	struct err err = ERR_INIT;
	struct cpu_state s;

	e->ops->get_state(e, &s);
	s.seg[SEG_CS].base = 0;
	s.seg[SEG_CS].selector = 0;
	s.rip = BOOT_SECTOR;
	ck_assert_int_eq(e->ops->set_state(e, &s, &err), 0);
	ck_assert(memory_write(machine_memory(m), BOOT_SECTOR, program, len));
}

#endif
