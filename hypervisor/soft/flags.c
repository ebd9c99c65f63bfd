/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hypervisor/soft/flags.h"

static uint32_t aux_bits(bool cf, uint64_t of_sign, uint64_t af_bit4)
{
	return (cf ? FL_CF : 0) | ((of_sign >> 63) ? FL_OF : 0) | (uint32_t)(af_bit4 & FL_AF);
}

uint32_t flags_lazy_aux(const struct cpu *cpu)
{
	uint64_t a = cpu->lazy.a, b = cpu->lazy.b, res = cpu->lazy.res;

	switch (cpu->lazy.type) {
	case LAZY_SUB:
	case LAZY_SBB:
		return aux_bits(flags_cf(cpu), (a ^ b) & (a ^ res), a ^ b ^ res);
	case LAZY_ADD:
	case LAZY_ADC:
		return aux_bits(flags_cf(cpu), (a ^ res) & (b ^ res), a ^ b ^ res);
	case LAZY_INC:
		return aux_bits(b, ~a & res, a ^ res);
	case LAZY_DEC:
		return aux_bits(b, a & ~res, a ^ res);
	case LAZY_AUX:
		return (uint32_t)b;
	default:
		return 0;
	}
}

uint32_t flags_arith(const struct cpu *cpu)
{
	uint32_t f;

	if (cpu->lazy.type == LAZY_NONE)
		return cpu->rflags & FL_ARITH;
	f = flags_lazy_aux(cpu);
	if (cpu->lazy.res == 0)
		f |= FL_ZF;
	if ((int64_t)cpu->lazy.res < 0)
		f |= FL_SF;
	if (!__builtin_parity(cpu->lazy.res & 0xff))
		f |= FL_PF;
	return f;
}

bool flags_cond(const struct cpu *cpu, unsigned cc)
{
#define FLAGS_CASE(suffix, code, expr) \
	case code:                     \
		return expr;

	switch (cc & 15) {
		FLAGS_CONDITIONS(FLAGS_CASE)
	}
#undef FLAGS_CASE
	return false;
}
