/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address translation by a vCPU's state, for looking from outside: no accessed bits, no
 * permissions, no faults.
 */
#ifndef HYPERVISOR_TRANSLATE_H
#define HYPERVISOR_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/cpustate.h"
#include "hypervisor/memory.h"

/* Physical address of a linear one; false when it is not mapped or a table is not in RAM. */
bool cpu_state_translate(const struct cpu_state *s, const struct memory *mem, uint64_t linear,
			 uint64_t *gpa);

#endif
