/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done to a machine that follows a recording. A fault is a list of inputs, so that a
 * machine with a fault can be recorded as any other: flips of bits (CONTROL_FLIP_*).
 */
#ifndef RECORD_FAULT_H
#define RECORD_FAULT_H

#include "hypervisor/machine.h"

enum fault_place {
	FAULT_REGISTER, /* index: enum gpr */
	FAULT_FLAGS,	/* RFLAGS */
	FAULT_RIP,
	FAULT_VECTOR, /* index: XMM register */
	FAULT_X87,    /* index: ST register */
	FAULT_MEMORY, /* index: byte of RAM, by offset in the memfd */
	FAULT_PLACES
};

struct fault {
	uint64_t count; /* flipped at this boundary, before the next instruction */
	enum fault_place place;
	uint64_t index;
	unsigned bit; /* from 0, below fault_bits() */
};

/* Bits of one register or byte of a place. */
unsigned fault_bits(enum fault_place place);
const char *fault_place_name(enum fault_place place);
/* The inputs that make it; 0: there is no such register, byte or bit. */
size_t fault_inputs(const struct fault *f, const struct machine_config *c, struct input *in,
		    size_t max);

#endif
