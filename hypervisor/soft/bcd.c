/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DAA DAS AAA AAS AAM AAD: decimal arithmetic outside 64-bit mode (SDM vol. 2, each instruction's
 * operation).
 */
#include "hypervisor/soft/integer.h"

/* ZF, SF and PF from AL, OF 0. */
static void bcd_flags(struct cpu *cpu, bool cf, bool af)
{
	lazy_set_aux(cpu, (int8_t)reg8(cpu, REG8_AL), (cf ? FL_CF : 0) | (af ? FL_AF : 0));
}

static void decimal_adjust(struct cpu *cpu, int sign)
{
	uint32_t f = flags_arith(cpu);
	uint8_t old = reg8(cpu, REG8_AL), al = old;
	bool af = (old & 15) > 9 || (f & FL_AF), cf = old > 0x99 || (f & FL_CF), borrow = f & FL_CF;

	if (af) {
		al = (uint8_t)(old + 6 * sign);
		if (sign < 0)
			borrow |= old < 6;
	}
	if (cf)
		al = (uint8_t)(al + 0x60 * sign);
	set_reg8(cpu, REG8_AL, al);
	/* DAS also takes the borrow of its first step; for DAA that carry implies old > 0x99. */
	bcd_flags(cpu, cf || (sign < 0 && af && borrow), af);
}

OP(daa)
{
	decimal_adjust(cpu, 1);
	OP_NEXT;
}

OP(das)
{
	decimal_adjust(cpu, -1);
	OP_NEXT;
}

static void ascii_adjust(struct cpu *cpu, int sign)
{
	bool adjust = (reg8(cpu, REG8_AL) & 15) > 9 || (flags_arith(cpu) & FL_AF);
	uint16_t ax = reg16(cpu, R_RAX);

	if (adjust)
		ax = (uint16_t)(ax + 0x106 * sign);
	set_reg16(cpu, R_RAX, ax & 0xff0f);
	bcd_flags(cpu, adjust, adjust);
}

OP(aaa)
{
	ascii_adjust(cpu, 1);
	OP_NEXT;
}

OP(aas)
{
	ascii_adjust(cpu, -1);
	OP_NEXT;
}

OP(aam)
{
	uint8_t base = (uint8_t)op->imm, al = reg8(cpu, REG8_AL);

	if (base == 0)
		cpu_raise(cpu, VEC_DE, 0);
	set_reg16(cpu, R_RAX, (uint16_t)((al / base) << 8 | al % base));
	bcd_flags(cpu, false, false);
	OP_NEXT;
}

/* AAD sets all flags as the addition of eight bits does. */
OP(aad)
{
	uint8_t al = reg8(cpu, REG8_AL), tens = (uint8_t)(reg8(cpu, REG8_AH) * (uint8_t)op->imm);
	uint8_t sum = (uint8_t)(al + tens);

	set_reg16(cpu, R_RAX, sum);
	lazy_set(cpu, LAZY_ADD, (int8_t)sum, (int8_t)al, (int8_t)tens);
	OP_NEXT;
}

enum { BCD_DAA, BCD_DAS, BCD_AAA, BCD_AAS, BCD_AAM, BCD_AAD, BCD_COUNT };

static bool bind_bcd(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[BCD_COUNT] = {
		[BCD_DAA] = daa, [BCD_DAS] = das, [BCD_AAA] = aaa,
		[BCD_AAS] = aas, [BCD_AAM] = aam, [BCD_AAD] = aad,
	};

	return (d->mode & MODE_SIZE) != MODE_64 && int_pick(op, fn[arg]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_DAA, bind_bcd, BCD_DAA }, { ZYDIS_MNEMONIC_DAS, bind_bcd, BCD_DAS },
	{ ZYDIS_MNEMONIC_AAA, bind_bcd, BCD_AAA }, { ZYDIS_MNEMONIC_AAS, bind_bcd, BCD_AAS },
	{ ZYDIS_MNEMONIC_AAM, bind_bcd, BCD_AAM }, { ZYDIS_MNEMONIC_AAD, bind_bcd, BCD_AAD },
};

BINDING_TABLE(bcd_bindings, rows);
