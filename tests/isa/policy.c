/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may be compared with the host, and what an instruction leaves undefined. */
#include "tests/isa/isa.h"

#include <string.h>

#define CF    (1u << 0)
#define PF    (1u << 2)
#define AF    (1u << 4)
#define ZF    (1u << 6)
#define SF    (1u << 7)
#define OF    (1u << 11)
#define C_ALL (15u << UNDEF_C_SHIFT)

const ZydisDecoder *policy_decoder(bool m32)
{
	static ZydisDecoder decoder[2];
	static bool ready;

	if (!ready) {
		ZydisDecoderInit(&decoder[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		ZydisDecoderInit(&decoder[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
				 ZYDIS_STACK_WIDTH_32);
		ready = true;
	}
	return &decoder[m32];
}

/* Instruction sets of the CPU model. */
static bool isa_in_model(ZydisISAExt ext)
{
	switch (ext) {
	case ZYDIS_ISA_EXT_BASE:
	case ZYDIS_ISA_EXT_LONGMODE:
	case ZYDIS_ISA_EXT_X87:
	case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_SSE:
	case ZYDIS_ISA_EXT_SSE2:
	case ZYDIS_ISA_EXT_SSE3:
	case ZYDIS_ISA_EXT_SSSE3:
	case ZYDIS_ISA_EXT_SSE4:
	case ZYDIS_ISA_EXT_AES:
	case ZYDIS_ISA_EXT_PCLMULQDQ:
	case ZYDIS_ISA_EXT_PAUSE:
	case ZYDIS_ISA_EXT_XSAVE:
	case ZYDIS_ISA_EXT_CLFSH:
	case ZYDIS_ISA_EXT_RDWRFSGS:
		return true;
	default:
		return false;
	}
}

bool policy_foreign(const ZydisDecodedInstruction *ins)
{
	switch (ins->meta.isa_ext) {
	/* in the model, but not comparable */
	case ZYDIS_ISA_EXT_RDRAND:
	case ZYDIS_ISA_EXT_RDSEED:
	case ZYDIS_ISA_EXT_RDTSCP:
	/*
	 * NOPs, or an older instruction with a prefix that means nothing, where they are not
	 * offered
	 */
	case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
	case ZYDIS_ISA_EXT_PREFETCHWT1:
	case ZYDIS_ISA_EXT_CLDEMOTE:
	case ZYDIS_ISA_EXT_CET:
	case ZYDIS_ISA_EXT_MPX:
	case ZYDIS_ISA_EXT_LZCNT:
	case ZYDIS_ISA_EXT_BMI1:
	case ZYDIS_ISA_EXT_SMX:
		return ins->meta.isa_ext == ZYDIS_ISA_EXT_BMI1 &&
		       ins->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	default:
		return !isa_in_model(ins->meta.isa_ext);
	}
}

/* Host, kernel or vendor decide what these do. */
static const ZydisMnemonic rejected[] = {
	ZYDIS_MNEMONIC_CPUID,	 ZYDIS_MNEMONIC_RDTSC,	  ZYDIS_MNEMONIC_RDPMC,
	ZYDIS_MNEMONIC_SYSCALL,	 ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSEXIT,
	ZYDIS_MNEMONIC_SYSRET,	 ZYDIS_MNEMONIC_INT,	  ZYDIS_MNEMONIC_INT1,
	ZYDIS_MNEMONIC_IRET,	 ZYDIS_MNEMONIC_IRETD,	  ZYDIS_MNEMONIC_IRETQ,
	ZYDIS_MNEMONIC_SGDT,	 ZYDIS_MNEMONIC_SIDT,	  ZYDIS_MNEMONIC_SLDT,
	ZYDIS_MNEMONIC_STR,	 ZYDIS_MNEMONIC_SMSW,	  ZYDIS_MNEMONIC_LAR,
	ZYDIS_MNEMONIC_LSL,	 ZYDIS_MNEMONIC_VERR,	  ZYDIS_MNEMONIC_VERW,
	ZYDIS_MNEMONIC_LFS,	 ZYDIS_MNEMONIC_LGS,	  ZYDIS_MNEMONIC_LSS,
	ZYDIS_MNEMONIC_XGETBV,	 ZYDIS_MNEMONIC_XSETBV,	  ZYDIS_MNEMONIC_PREFETCHW,
	ZYDIS_MNEMONIC_PREFETCH, ZYDIS_MNEMONIC_WBINVD,	  ZYDIS_MNEMONIC_UD0,
	ZYDIS_MNEMONIC_RSM,	 ZYDIS_MNEMONIC_SWAPGS,	  ZYDIS_MNEMONIC_PREFETCHWT1,
	ZYDIS_MNEMONIC_INVD,	 ZYDIS_MNEMONIC_UD1,	  ZYDIS_MNEMONIC_FSTPNCE, /* undocumented */
};

static bool is_rejected(ZydisMnemonic m)
{
	for (size_t i = 0; i < sizeof(rejected) / sizeof(rejected[0]); i++)
		if (rejected[i] == m)
			return true;
	return false;
}

static bool is_fp_image(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FRSTOR:
		return true;
	default:
		return false;
	}
}

static enum approx approx_kind(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_RCPPS:
	case ZYDIS_MNEMONIC_RCPSS:
	case ZYDIS_MNEMONIC_RSQRTPS:
	case ZYDIS_MNEMONIC_RSQRTSS:
		return APPROX_RCP;
	case ZYDIS_MNEMONIC_FSIN:
	case ZYDIS_MNEMONIC_FCOS:
	case ZYDIS_MNEMONIC_FSINCOS:
	case ZYDIS_MNEMONIC_FPTAN:
	case ZYDIS_MNEMONIC_FPATAN:
	case ZYDIS_MNEMONIC_F2XM1:
	case ZYDIS_MNEMONIC_FYL2X:
	case ZYDIS_MNEMONIC_FYL2XP1:
		return APPROX_X87;
	default:
		return APPROX_NONE;
	}
}

static bool segment_write(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	for (unsigned i = 0; i < ins->operand_count; i++)
		if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(op[i].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
		    (op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return true;
	return false;
}

/* Undefined destinations: BSWAP of 16 bits, SHLD/SHRD of 16 bits by more than 16. */
static bool undefined_result(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	if (ins->mnemonic == ZYDIS_MNEMONIC_BSWAP)
		return ins->operand_width == 16;
	if ((ins->mnemonic == ZYDIS_MNEMONIC_SHLD || ins->mnemonic == ZYDIS_MNEMONIC_SHRD) &&
	    ins->operand_width == 16)
		return op[2].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || (op[2].imm.value.u & 31) > 16;
	return false;
}

enum verdict policy_check(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
			  bool scratch, enum approx *approx)
{
	enum approx kind = approx_kind(ins->mnemonic);

	if (!isa_in_model(ins->meta.isa_ext) || is_rejected(ins->mnemonic))
		return POLICY_REJECT;
	if (ins->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || segment_write(ins, op) ||
	    undefined_result(ins, op) || vendor_rejects(ins, op))
		return POLICY_REJECT;
	if (is_fp_image(ins->mnemonic) && !scratch)
		return POLICY_REJECT;
	if (kind != APPROX_NONE) {
		*approx = kind;
		return POLICY_LAST;
	}
	return POLICY_OK;
}

static bool has_regclass(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
			 ZydisRegisterClass class)
{
	for (unsigned i = 0; i < ins->operand_count; i++)
		if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(op[i].reg.value) == class)
			return true;
	return false;
}

static bool has_float(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	for (unsigned i = 0; i < ins->operand_count_visible; i++)
		if (op[i].element_type == ZYDIS_ELEMENT_TYPE_FLOAT32 ||
		    op[i].element_type == ZYDIS_ELEMENT_TYPE_FLOAT64 ||
		    op[i].element_type == ZYDIS_ELEMENT_TYPE_STRUCT)
			return true;
	return false;
}

/* Class of an instruction that a vector template made; the others keep their template's. */
enum isa_class policy_class(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	if (ins->meta.isa_ext == ZYDIS_ISA_EXT_AES ||
	    ins->meta.isa_ext == ZYDIS_ISA_EXT_PCLMULQDQ || ins->mnemonic == ZYDIS_MNEMONIC_CRC32 ||
	    ins->mnemonic == ZYDIS_MNEMONIC_POPCNT)
		return CLS_CRYPTO;
	if (has_regclass(ins, op, ZYDIS_REGCLASS_MMX))
		return CLS_MMX;
	return has_float(ins, op) ? CLS_SSE_FP : CLS_SSE_INT;
}

/* ---- flags ---- */
static void shift_flags(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
			struct flag_effect *e)
{
	bool rotate = ins->mnemonic == ZYDIS_MNEMONIC_ROL || ins->mnemonic == ZYDIS_MNEMONIC_ROR ||
		      ins->mnemonic == ZYDIS_MNEMONIC_RCL || ins->mnemonic == ZYDIS_MNEMONIC_RCR;
	bool dbl = ins->mnemonic == ZYDIS_MNEMONIC_SHLD || ins->mnemonic == ZYDIS_MNEMONIC_SHRD;
	const ZydisDecodedOperand *count = &op[dbl ? 2 : 1];
	unsigned size = ins->operand_width;
	uint32_t all = rotate ? CF | OF : CF | OF | AF | SF | ZF | PF;
	unsigned n;

	e->tested =
		ins->mnemonic == ZYDIS_MNEMONIC_RCL || ins->mnemonic == ZYDIS_MNEMONIC_RCR ? CF : 0;
	e->defined = 0;
	e->undefined = OF | (rotate ? 0 : AF);
	if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		if (!rotate && size < 32)
			e->undefined |= CF;
		return;
	}
	n = (unsigned)count->imm.value.u & (size == 64 ? 63 : 31);
	if (n == 0) {
		e->undefined = 0;
		return;
	}
	if (n == 1)
		e->undefined &= ~OF;
	if (!rotate && n >= size)
		e->undefined |= CF;
	e->defined = all & ~e->undefined;
	if (rotate && size < 32 && n > size - 1)
		e->defined = 0; /* a whole turn may leave CF as it was */
}

static bool is_shift(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return true;
	default:
		return false;
	}
}

static bool reads_x87_conditions(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_FNSTSW || m == ZYDIS_MNEMONIC_FNSTENV ||
	       m == ZYDIS_MNEMONIC_FNSAVE || m == ZYDIS_MNEMONIC_FXSAVE ||
	       m == ZYDIS_MNEMONIC_FXSAVE64 || m == ZYDIS_MNEMONIC_XSAVE ||
	       m == ZYDIS_MNEMONIC_XSAVE64;
}

void policy_flags(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
		  struct flag_effect *e)
{
	*e = (struct flag_effect){ 0 };
	if (is_shift(ins->mnemonic)) {
		shift_flags(ins, op, e);
		return;
	}
	if (ins->cpu_flags) {
		const ZydisAccessedFlags *f = ins->cpu_flags;

		e->tested = f->tested & FL_ARITH_ALL;
		e->undefined = f->undefined & FL_ARITH_ALL;
		e->defined = (f->modified | f->set_0 | f->set_1) & FL_ARITH_ALL & ~e->undefined;
		if (ins->attributes &
		    (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
			e->defined = 0; /* a count of 0 leaves all flags alone */
	}
	if (ins->mnemonic == ZYDIS_MNEMONIC_PUSHF || ins->mnemonic == ZYDIS_MNEMONIC_PUSHFD ||
	    ins->mnemonic == ZYDIS_MNEMONIC_PUSHFQ)
		e->tested = FL_ARITH_ALL;
	if (ins->mnemonic == ZYDIS_MNEMONIC_BSF || ins->mnemonic == ZYDIS_MNEMONIC_BSR) {
		e->defined = ZF;
		e->undefined = CF | PF | AF | SF | OF;
	}
	if (reads_x87_conditions(ins->mnemonic))
		e->tested |= C_ALL;
	if (ins->fpu_flags) {
		const ZydisAccessedFlags *f = ins->fpu_flags;

		e->undefined |= f->undefined << UNDEF_C_SHIFT;
		e->defined |= ((f->modified | f->set_0 | f->set_1) & ~f->undefined)
			      << UNDEF_C_SHIFT;
	}
}

void case_flags(const struct tcase *c, const ZydisDecodedInstruction *ins,
		const ZydisDecodedOperand *op, struct flag_effect *e)
{
	uint32_t open;

	policy_flags(ins, op, e);
	open = vendor_undefined(c, ins);
	e->defined &= ~open;
	e->undefined |= open;
}

/* ---- images of the FPU ---- */
static void mask_add(struct tcase *c, uint64_t addr, unsigned off, unsigned len)
{
	uint64_t at = addr - SCRATCH_BASE + off;

	if (c->nmask < sizeof(c->mask) / sizeof(c->mask[0]) && addr >= SCRATCH_BASE &&
	    at + len <= SCRATCH_SIZE)
		c->mask[c->nmask++] = (struct mem_mask){ (uint32_t)(IMAGE_SCRATCH + at), len };
}

void policy_mask(struct tcase *c, const ZydisDecodedInstruction *ins, uint64_t addr)
{
	switch (ins->mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FNSAVE:
		if (ins->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE)
			mask_add(c, addr, 6, 8);
		else
			mask_add(c, addr, 12, 16);
		break;
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
		mask_add(c, addr, 512,
			 1); /* which parts are in their initial state is up to the CPU */
			     /* fallthrough */
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
		mask_add(c, addr, 6, 18);
		mask_add(c, addr, 28, 4);
		break;
	default:
		break;
	}
}

bool policy_decode(bool m32, const struct insn *in, ZydisDecodedInstruction *ins,
		   ZydisDecodedOperand *op)
{
	return ZYAN_SUCCESS(
		       ZydisDecoderDecodeFull(policy_decoder(m32), in->bytes, in->len, ins, op)) &&
	       ins->length == in->len;
}
