/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the instructions of a case lie, and which flags are undefined before each. */
#include "tests/isa/isa.h"

#include <cpuid.h>
#include <string.h>

/* Where the label of instruction i is: forwards never between glued instructions. */
static unsigned target_index(const struct tcase *c, unsigned i)
{
	int target = c->insn[i].target;
	unsigned t = target > (int)c->n ? c->n : (unsigned)target;

	while (t > i && t > 0 && t < c->n && c->insn[t - 1].glued)
		t++;
	return t;
}

static bool fix_labels(struct tcase *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct insn *in = &c->insn[i];
		int64_t end = c->at[i] + in->len, to, v;

		to = in->target >= 0 ? c->at[target_index(c, i)]
				     : (int64_t)(in->rip_target - CODE_BASE);
		v = to + in->label_off - end;
		if (in->rel_size == 1 && v != (int8_t)v)
			return false;
		if (in->rel_size)
			memcpy(in->bytes + in->rel_at, &v, (size_t)in->rel_size);
		if (in->rip_at)
			memcpy(in->bytes + in->rip_at, &v, 4);
	}
	return true;
}

static bool is_call(const struct tcase *c, unsigned i)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	return policy_decode(c->m32, &c->insn[i], &ins, op) && ins.mnemonic == ZYDIS_MNEMONIC_CALL;
}

/*
 * Adds flags that are undefined before instruction `to` when it is reached from `from`; true: look
 * at all again.
 */
static bool flow_edge(struct tcase *c, unsigned from, unsigned to, uint32_t out)
{
	if ((c->undef[to] | out) == c->undef[to])
		return false;
	c->undef[to] |= out;
	return to <= from;
}

static bool is_indirect(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	return ins->mnemonic == ZYDIS_MNEMONIC_RET ||
	       ((ins->mnemonic == ZYDIS_MNEMONIC_JMP || ins->mnemonic == ZYDIS_MNEMONIC_CALL) &&
		op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE);
}

static bool flow_from(struct tcase *c, unsigned i)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct flag_effect f;
	uint32_t out = c->undef[i];
	bool again = false;

	if (policy_decode(c->m32, &c->insn[i], &ins, op)) {
		if (c->flow_host)
			policy_flags(&ins, op, &f);
		else
			case_flags(c, &ins, op, &f);
		c->reads_undefined |= (f.tested & out) != 0;
		out = (out & ~f.defined) | f.undefined;
		/* RET and jumps through a register or memory may go behind any CALL and to any
		 * label that was loaded.
		 */
		for (unsigned k = 0; k < c->n && is_indirect(&ins, op); k++) {
			if (is_call(c, k))
				again |= flow_edge(c, i, k + 1, out);
			if (c->insn[k].target >= 0 && c->insn[k].rip_at && !c->insn[k].label_off)
				again |= flow_edge(c, i, target_index(c, k), out);
		}
	}
	if (c->insn[i].target >= 0)
		again |= flow_edge(c, i, target_index(c, i), out);
	return flow_edge(c, i, i + 1, out) || again;
}

/* A fixed point over all paths. */
static void flow_all(struct tcase *c)
{
	bool again = true;

	memset(c->undef, 0, sizeof(c->undef));
	c->reads_undefined = false;
	while (again) {
		again = false;
		for (unsigned i = 0; i < c->n; i++)
			again |= flow_from(c, i);
	}
}

/*
 * Undefined flags before each instruction. A case is one on every host or on none, so whether it
 * reads such a flag is asked under the rules of all makers; what is compared is the host's matter.
 */
static void flow_undefined(struct tcase *c)
{
	bool reads;

	c->flow_host = false;
	flow_all(c);
	if (!vendor_compares_all())
		return;
	reads = c->reads_undefined;
	c->flow_host = true;
	flow_all(c);
	c->reads_undefined = reads;
}

static void find_masks(struct tcase *c)
{
	c->nmask = 0;
	for (unsigned i = 0; i < c->n; i++) {
		ZydisDecodedInstruction ins;
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		ZyanU64 addr;

		struct insn in = c->insn[i];

		if (in.foreign)
			memcpy(in.bytes, in.model, sizeof(in.bytes));
		if (!policy_decode(c->m32, &in, &ins, op) || ins.operand_count_visible == 0 ||
		    op[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (ZYAN_SUCCESS(
			    ZydisCalcAbsoluteAddress(&ins, &op[0], CODE_BASE + c->at[i], &addr)))
			policy_mask(c, &ins, addr);
	}
}

/* ---- TZCNT and LZCNT ---- */

static bool use_counts;

void case_use_counts(void)
{
	unsigned a, b, c, d;
	bool bmi1 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_BMI;

	use_counts = bmi1 && __get_cpuid(0x80000001, &a, &b, &c, &d) && c & bit_ABM;
}

/* Has the model of version 2 all that the case has? No XSAVE, and who knows what bytes are. */
static bool version_2_can(const struct tcase *c)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	if (c->undecodable || c->cls == CLS_SMC)
		return false;
	for (unsigned i = 0; i < c->n; i++) {
		if (policy_decode(c->m32, &c->insn[i], &ins, op) &&
		    ins.meta.isa_ext == ZYDIS_ISA_EXT_XSAVE)
			return false;
	}
	return true;
}

static void place_prefixes(struct tcase *c)
{
	c->counts = use_counts && version_2_can(c);
	for (unsigned i = 0; i < c->n; i++) {
		struct insn *in = &c->insn[i];

		if (in->f3_at >= 0)
			in->bytes[in->f3_at] = c->counts ? 0xf3 : 0x3e;
	}
}

bool case_layout(struct tcase *c)
{
	unsigned len = 0;

	place_prefixes(c);
	for (unsigned i = 0; i < c->n; i++)
		len += c->insn[i].len;
	if (c->runoff)
		c->code_off = (uint16_t)(CODE_SIZE - len);
	else if (c->straddle)
		c->code_off = (uint16_t)(PAGE - c->code_salt % (len + 1));
	else
		c->code_off = (uint16_t)(16 + c->code_salt % 512);
	len = 0;
	for (unsigned i = 0; i < c->n; i++) {
		c->at[i] = (uint16_t)(c->code_off + len);
		len += c->insn[i].len;
	}
	c->at[c->n] = (uint16_t)(c->code_off + len);
	if (!fix_labels(c))
		return false;
	for (unsigned i = 0; i < c->n; i++)
		memcpy(c->code + c->at[i] - c->code_off, c->insn[i].bytes, c->insn[i].len);
	if (!c->runoff)
		c->code[len++] = 0xcc;
	memcpy(c->model_code, c->code, len);
	for (unsigned i = 0; i < c->n; i++) {
		uint8_t *p = c->model_code + c->at[i] - c->code_off;

		if (c->insn[i].foreign)
			memcpy(p, c->insn[i].model, c->insn[i].len);
		else if (c->insn[i].f3_at >= 0)
			p[c->insn[i].f3_at] = 0xf3;
	}
	c->code_len = (uint16_t)len;
	c->init.rip = CODE_BASE + c->code_off;
	flow_undefined(c);
	find_masks(c);
	return true;
}

void case_text(const struct tcase *c, unsigned i, char *text, size_t n)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisFormatter f;

	ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
	struct insn in = c->insn[i];

	if (in.foreign)
		memcpy(in.bytes, in.model, sizeof(in.bytes));
	if (!policy_decode(c->m32, &in, &ins, op) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &ins, op, ins.operand_count_visible,
							  text, n, CODE_BASE + c->at[i], NULL)))
		strncpy(text, "(not an instruction)", n);
}
