// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/liveness.h"

#include "hypervisor/translate.h"
#include "hypervisor/x86.h"

bool next_instruction(const struct memory *mem, const struct cpu_state *s,
		      ZydisDecodedInstruction *insn,
		      ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT])
{
	bool wide = s->efer & EFER_LMA && s->seg[SEG_CS].attr & SEG_L;
	bool big = s->seg[SEG_CS].attr & SEG_DB;
	ZydisDecoder decoder;
	uint8_t bytes[15];
	unsigned n = 0;
	uint64_t gpa;

	while (n < sizeof(bytes) &&
	       cpu_state_translate(s, mem, s->seg[SEG_CS].base + s->rip + n, &gpa) &&
	       memory_read(mem, gpa, &bytes[n], 1))
		n++;
	if (wide)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (big)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, n, insn, operand));
}

/* True: a register of Zydis' is all or part of this general one. */
static bool is_of(ZydisRegister r, enum gpr reg)
{
	return r != ZYDIS_REGISTER_NONE &&
	       ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r) ==
		       (ZydisRegister)(ZYDIS_REGISTER_RAX + reg);
}

/* A write of 32 bits clears the upper half in 64-bit mode; callers do not ask in other modes. */
static enum liveness use_of(const ZydisDecodedOperand *o, enum gpr reg, bool wide)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
	    (is_of(o->mem.base, reg) || is_of(o->mem.index, reg)))
		return LIVENESS_READ;
	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || !is_of(o->reg.value, reg))
		return LIVENESS_NONE;
	return wide && o->size >= 32 && o->actions == ZYDIS_OPERAND_ACTION_WRITE ? LIVENESS_WRITTEN
										 : LIVENESS_READ;
}

enum liveness next_liveness(const struct memory *mem, const struct cpu_state *s, enum gpr reg)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	enum liveness all = LIVENESS_NONE;

	if (reg == R_RSP || s->halted || !next_instruction(mem, s, &insn, operand))
		return LIVENESS_READ;
	for (unsigned i = 0; i < insn.operand_count; i++) {
		enum liveness one =
			use_of(&operand[i], reg, insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64);

		if (one == LIVENESS_READ)
			return one;
		all = one == LIVENESS_WRITTEN ? one : all;
	}
	return all;
}
