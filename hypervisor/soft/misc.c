/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flag instructions, hints, fences, CLFLUSH, SALC. */
#include "hypervisor/soft/integer.h"

OP(nop)
{
	OP_NEXT;
}

/* Checked like a load of one byte (SDM vol. 2, CLFLUSH). */
OP(clflush)
{
	mem_probe_read(cpu, op_lin(cpu, op, 1, false), 1);
	OP_NEXT;
}

OP(clc)
{
	flags_set_cf(cpu, false);
	OP_NEXT;
}

OP(stc)
{
	flags_set_cf(cpu, true);
	OP_NEXT;
}

OP(cmc)
{
	flags_set_cf(cpu, !flags_cf(cpu));
	OP_NEXT;
}

OP(cld)
{
	cpu->rflags &= ~(uint64_t)FL_DF;
	OP_NEXT;
}

OP(std)
{
	cpu->rflags |= FL_DF;
	OP_NEXT;
}

#define FL_LOW (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)

OP(lahf)
{
	set_reg8(cpu, REG8_AH, (flags_arith(cpu) & FL_LOW) | FL_ONE);
	OP_NEXT;
}

OP(sahf)
{
	flags_set_arith(cpu, (flags_arith(cpu) & FL_OF) | (reg8(cpu, REG8_AH) & FL_LOW));
	OP_NEXT;
}

OP(salc)
{
	set_reg8(cpu, REG8_AL, flags_cf(cpu) ? 0xff : 0);
	OP_NEXT;
}

enum {
	MISC_NOP,
	MISC_CLFLUSH,
	MISC_CLC,
	MISC_STC,
	MISC_CMC,
	MISC_CLD,
	MISC_STD,
	MISC_LAHF,
	MISC_SAHF,
	MISC_SALC,
	MISC_COUNT
};

static bool bind_misc(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[MISC_COUNT] = {
		[MISC_NOP] = nop,   [MISC_CLFLUSH] = clflush, [MISC_CLC] = clc, [MISC_STC] = stc,
		[MISC_CMC] = cmc,   [MISC_CLD] = cld,	      [MISC_STD] = std, [MISC_LAHF] = lahf,
		[MISC_SAHF] = sahf, [MISC_SALC] = salc,
	};

	if (arg == MISC_NOP)
		op_form(op, OPK_NOP, 0, FORM_OTHER, 0, 0, 0);
	return int_pick(op, fn[arg]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_NOP, bind_misc, MISC_NOP },
	/* With REX.B as well: F3 makes XCHG R8 a PAUSE. */
	{ ZYDIS_MNEMONIC_PAUSE, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCH, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHNTA, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHT0, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHT1, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHT2, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHW, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_PREFETCHWT1, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_ENDBR32, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_ENDBR64, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_LFENCE, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_MFENCE, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_SFENCE, bind_misc, MISC_NOP },
	{ ZYDIS_MNEMONIC_CLFLUSH, bind_misc, MISC_CLFLUSH },
	{ ZYDIS_MNEMONIC_CLC, bind_misc, MISC_CLC },
	{ ZYDIS_MNEMONIC_STC, bind_misc, MISC_STC },
	{ ZYDIS_MNEMONIC_CMC, bind_misc, MISC_CMC },
	{ ZYDIS_MNEMONIC_CLD, bind_misc, MISC_CLD },
	{ ZYDIS_MNEMONIC_STD, bind_misc, MISC_STD },
	{ ZYDIS_MNEMONIC_LAHF, bind_misc, MISC_LAHF },
	{ ZYDIS_MNEMONIC_SAHF, bind_misc, MISC_SAHF },
	{ ZYDIS_MNEMONIC_SALC, bind_misc, MISC_SALC },
};

BINDING_TABLE(misc_bindings, rows);
