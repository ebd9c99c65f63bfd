/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Classification of operands for the integer binders. */
#include "hypervisor/soft/integer.h"

bool int_is_gpr(const struct decoded *d, unsigned i)
{
	if (!opnd_is_reg(d, i))
		return false;
	switch (ZydisRegisterGetClass(d->opnd[i].reg.value)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return true;
	default:
		return false;
	}
}

enum int_form int_form(const struct decoded *d, struct op *op)
{
	bool g0 = int_is_gpr(d, 0), g1 = int_is_gpr(d, 1);

	if (g0 && d->opnd[0].size == 8)
		op->r0 = op->r0 * 8 + ((op->flags & OPF_HIGH0) ? 1 : 0);
	if (g1 && d->opnd[1].size == 8)
		op->r1 = op->r1 * 8 + ((op->flags & OPF_HIGH1) ? 1 : 0);
	if (g0 && g1)
		return FORM_RR;
	if (g0 && opnd_is_mem(d, 1))
		return FORM_RM;
	if (opnd_is_mem(d, 0) && g1)
		return FORM_MR;
	if (d->ins.operand_count_visible > 1 && !opnd_is_imm(d, 1))
		return FORM_OTHER;
	if (g0)
		return FORM_RI;
	return opnd_is_mem(d, 0) ? FORM_MI : FORM_OTHER;
}

void int_implicit_mem(const struct decoded *d, struct op *op)
{
	static const struct {
		uint64_t attrib;
		enum seg seg;
	} override[] = {
		{ ZYDIS_ATTRIB_HAS_SEGMENT_ES, SEG_ES }, { ZYDIS_ATTRIB_HAS_SEGMENT_CS, SEG_CS },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_SS, SEG_SS }, { ZYDIS_ATTRIB_HAS_SEGMENT_DS, SEG_DS },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_FS, SEG_FS }, { ZYDIS_ATTRIB_HAS_SEGMENT_GS, SEG_GS },
	};

	op->seg = SEG_DS;
	for (size_t i = 0; i < sizeof(override) / sizeof(override[0]); i++)
		if (d->ins.attributes & override[i].attrib)
			op->seg = override[i].seg;
	op->asize = d->ins.address_width / 8;
	op->flags &= ~(OPF_FLAT | OPF_SEGCHECK);
	if ((d->mode & MODE_SIZE) == MODE_64 && op->asize == 8)
		op->flags |= OPF_FLAT;
	/* A code segment is never writable and perhaps not readable. */
	if ((d->mode & MODE_SEGCHECK) || ((d->mode & MODE_SIZE) != MODE_64 && op->seg == SEG_CS))
		op->flags |= OPF_SEGCHECK;
}
