/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction that a vCPU executes next, and what it does with a register. */
#ifndef RECORD_LIVENESS_H
#define RECORD_LIVENESS_H

#include <Zydis/Zydis.h>

#include "hypervisor/cpustate.h"
#include "hypervisor/memory.h"

/* Decodes the next instruction. False: it cannot be fetched or decoded. */
bool next_instruction(const struct memory *mem, const struct cpu_state *s,
		      ZydisDecodedInstruction *insn,
		      ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT]);

enum liveness {
	LIVENESS_NONE,	  /* the instruction neither reads nor writes the register */
	LIVENESS_READ,	  /* the instruction reads the register, or may do so */
	LIVENESS_WRITTEN, /* the whole register gets a new value if the instruction retires */
};

/* Use that the next instruction makes of a general register other than RSP. */
enum liveness next_liveness(const struct memory *mem, const struct cpu_state *s, enum gpr reg);

#endif
