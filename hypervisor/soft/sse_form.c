/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions on XMM registers that the translator may put into host code as they are: those whose
 * handlers execute the same instruction, or compute what it is defined to give without a choice.
 * Not among them: what makers do differently (RCP, RSQRT, DPPS), HADDPS and its like (order of
 * NaNs), whatever touches MMX registers, what has an operand that its encoding does not name
 * (PCMPxSTRx), and ROUNDxx and MPSADBW, which are seldom met.
 */
#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/form.h"
#include "hypervisor/soft/integer.h"

/* Properties of a mnemonic. */
#define KNOWN	  (1u << 0)
#define WHOLE	  (1u << 1) /* SSE_WHOLE */
#define WHOLE_MEM (1u << 2) /* SSE_WHOLE with a source in memory */
#define FP	  (1u << 3) /* SSE_FP */
#define COMPARES  (1u << 4) /* writes flags alone */
#define UNALIGNED (1u << 5) /* 16 bytes of memory at any address */
#define PREDICATE (1u << 6) /* bits 2 to 0 of the immediate say what is compared */

#define IS(name)	 [ZYDIS_MNEMONIC_##name] = KNOWN
#define AS(name, traits) [ZYDIS_MNEMONIC_##name] = KNOWN | (traits)
#define EACH_CASE(name)	 IS(name##B), IS(name##W), IS(name##D)
#define EACH_FP(name)	 AS(name##PS, FP), AS(name##PD, FP), AS(name##SS, FP), AS(name##SD, FP)
#define EACH_WIDEN(name)                                                                    \
	AS(name##BW, WHOLE), AS(name##BD, WHOLE), AS(name##BQ, WHOLE), AS(name##WD, WHOLE), \
		AS(name##WQ, WHOLE), AS(name##DQ, WHOLE)

static const uint8_t sse_kind[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	/* clang-format off */
	AS(MOVAPS, WHOLE), AS(MOVAPD, WHOLE), AS(MOVDQA, WHOLE),
	AS(MOVNTPS, WHOLE), AS(MOVNTPD, WHOLE), AS(MOVNTDQ, WHOLE), AS(MOVNTDQA, WHOLE),
	AS(MOVUPS, WHOLE | UNALIGNED), AS(MOVUPD, WHOLE | UNALIGNED),
	AS(MOVDQU, WHOLE | UNALIGNED), AS(LDDQU, WHOLE | UNALIGNED),
	AS(MOVSS, WHOLE_MEM), AS(MOVSD, WHOLE_MEM), AS(MOVD, WHOLE), AS(MOVQ, WHOLE),
	IS(MOVLPS), IS(MOVLPD), IS(MOVHPS), IS(MOVHPD), IS(MOVHLPS), IS(MOVLHPS),
	AS(MOVDDUP, WHOLE), AS(MOVSLDUP, WHOLE), AS(MOVSHDUP, WHOLE),
	IS(MOVMSKPS), IS(MOVMSKPD), IS(PMOVMSKB),

	EACH_CASE(PADD), IS(PADDQ), IS(PADDSB), IS(PADDSW), IS(PADDUSB), IS(PADDUSW),
	EACH_CASE(PSUB), IS(PSUBQ), IS(PSUBSB), IS(PSUBSW), IS(PSUBUSB), IS(PSUBUSW),
	IS(PMULLW), IS(PMULHW), IS(PMULHUW), IS(PMULHRSW), IS(PMULUDQ), IS(PMULDQ), IS(PMULLD),
	IS(PMADDWD), IS(PMADDUBSW), IS(PSADBW), IS(PAVGB), IS(PAVGW),
	IS(PMINUB), IS(PMINSW), IS(PMINSB), IS(PMINSD), IS(PMINUW), IS(PMINUD),
	IS(PMAXUB), IS(PMAXSW), IS(PMAXSB), IS(PMAXSD), IS(PMAXUW), IS(PMAXUD),
	AS(PABSB, WHOLE), AS(PABSW, WHOLE), AS(PABSD, WHOLE), EACH_CASE(PSIGN),
	EACH_CASE(PCMPEQ), IS(PCMPEQQ), EACH_CASE(PCMPGT), IS(PCMPGTQ),
	IS(PAND), IS(PANDN), IS(POR), IS(PXOR),
	IS(ANDPS), IS(ANDPD), IS(ANDNPS), IS(ANDNPD), IS(ORPS), IS(ORPD), IS(XORPS), IS(XORPD),
	IS(PACKSSWB), IS(PACKSSDW), IS(PACKUSWB), IS(PACKUSDW),
	IS(PHADDW), IS(PHADDD), IS(PHADDSW), IS(PHSUBW), IS(PHSUBD), IS(PHSUBSW),
	IS(PUNPCKLBW), IS(PUNPCKLWD), IS(PUNPCKLDQ), IS(PUNPCKLQDQ),
	IS(PUNPCKHBW), IS(PUNPCKHWD), IS(PUNPCKHDQ), IS(PUNPCKHQDQ),
	IS(UNPCKLPS), IS(UNPCKHPS), IS(UNPCKLPD), IS(UNPCKHPD),
	AS(PHMINPOSUW, WHOLE), IS(PSHUFB), EACH_WIDEN(PMOVSX), EACH_WIDEN(PMOVZX),
	IS(PSLLW), IS(PSLLD), IS(PSLLQ), IS(PSRLW), IS(PSRLD), IS(PSRLQ), IS(PSRAW), IS(PSRAD),
	IS(PSLLDQ), IS(PSRLDQ),

	AS(PSHUFD, WHOLE), AS(PSHUFLW, WHOLE), AS(PSHUFHW, WHOLE), IS(SHUFPS), IS(SHUFPD),
	IS(PALIGNR), IS(PBLENDW), IS(BLENDPS), IS(BLENDPD), IS(INSERTPS),
	IS(PINSRB), IS(PINSRW), IS(PINSRD), IS(PINSRQ),
	IS(PEXTRB), IS(PEXTRW), IS(PEXTRD), IS(PEXTRQ), IS(EXTRACTPS), AS(PTEST, COMPARES),

	IS(AESENC), IS(AESENCLAST), IS(AESDEC), IS(AESDECLAST), AS(AESIMC, WHOLE),
	AS(AESKEYGENASSIST, WHOLE), IS(PCLMULQDQ),

	EACH_FP(ADD), EACH_FP(SUB), EACH_FP(MUL), EACH_FP(DIV), EACH_FP(MIN), EACH_FP(MAX),
	EACH_FP(SQRT), AS(CMPPS, FP | PREDICATE), AS(CMPPD, FP | PREDICATE),
	AS(CMPSS, FP | PREDICATE), AS(CMPSD, FP | PREDICATE), AS(ADDSUBPS, FP), AS(ADDSUBPD, FP),
	AS(CVTSS2SD, FP), AS(CVTSD2SS, FP), AS(CVTPS2PD, FP), AS(CVTPD2PS, FP),
	AS(CVTDQ2PS, FP), AS(CVTDQ2PD, FP), AS(CVTPS2DQ, FP), AS(CVTTPS2DQ, FP),
	AS(CVTPD2DQ, FP), AS(CVTTPD2DQ, FP), AS(CVTSI2SS, FP), AS(CVTSI2SD, FP),
	AS(CVTSS2SI, FP), AS(CVTTSS2SI, FP), AS(CVTSD2SI, FP), AS(CVTTSD2SI, FP),
	AS(COMISS, FP | COMPARES), AS(COMISD, FP | COMPARES),
	AS(UCOMISS, FP | COMPARES), AS(UCOMISD, FP | COMPARES),
	/* clang-format on */
};

static bool is_register(const struct decoded *d, unsigned i, ZydisRegisterClass class)
{
	return opnd_is_reg(d, i) && ZydisRegisterGetClass(d->opnd[i].reg.value) == class;
}

static bool is_xmm(const struct decoded *d, unsigned i)
{
	return is_register(d, i, ZYDIS_REGCLASS_XMM);
}

static bool is_general(const struct decoded *d, unsigned i)
{
	return is_register(d, i, ZYDIS_REGCLASS_GPR32) || is_register(d, i, ZYDIS_REGCLASS_GPR64);
}

/*
 * MOVAPS for stores past the caches: other threads of this process read guest memory, and those
 * stores would reach them out of order.
 */
static unsigned opcode_of(const struct decoded *d)
{
	switch (d->ins.mnemonic) {
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_MOVNTDQ:
		return 0x29;
	default:
		return d->ins.opcode;
	}
}

/* The encoding without registers; 0 when it is none of SSE's. */
static unsigned encoding_of(const struct decoded *d)
{
	unsigned e = opcode_of(d), map, prefix = 0;

	switch (d->ins.opcode_map) {
	case ZYDIS_OPCODE_MAP_0F:
		map = 0;
		break;
	case ZYDIS_OPCODE_MAP_0F38:
		map = 1;
		break;
	case ZYDIS_OPCODE_MAP_0F3A:
		map = 2;
		break;
	default:
		return 0;
	}
	for (unsigned i = 0; i < d->ins.raw.prefix_count; i++) {
		if (d->ins.raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY) {
			uint8_t v = d->ins.raw.prefixes[i].value;

			prefix = v == 0x66 ? 1 : v == 0xf3 ? 2 : 3;
		}
	}
	return e | map << SSE_MAP_SHIFT | prefix << SSE_PREFIX_SHIFT |
	       (d->ins.raw.rex.W ? SSE_W : 0) | (d->ins.raw.imm[0].size ? SSE_IMM : 0);
}

/* SSE_* of two explicit operands, or -1. */
static int operands_of(const struct decoded *d, unsigned traits, struct op *op)
{
	bool rm_first = d->opnd[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM, alone;
	unsigned rm = !rm_first, reg = rm_first, sub = rm_first ? SSE_RM_FIRST : 0;

	alone = opnd_is_imm(d, 1);
	if (d->opnd[rm].encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM ||
	    (!alone && d->opnd[reg].encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG))
		return -1;
	if (is_general(d, rm))
		sub |= SSE_RM_GPR;
	else if (!opnd_is_mem(d, rm) && !is_xmm(d, rm))
		return -1;
	if (alone)
		sub |= SSE_DIGIT;
	else if (is_general(d, reg))
		sub |= SSE_REG_GPR;
	else if (!is_xmm(d, reg))
		return -1;
	op->r2 = d->ins.raw.modrm.reg;
	if ((traits & WHOLE) || ((traits & WHOLE_MEM) && opnd_is_mem(d, 1)))
		sub |= SSE_WHOLE;
	if ((traits & COMPARES) || opnd_is_mem(d, 0))
		sub |= SSE_READS;
	return (int)sub;
}

void sse_form(const struct decoded *d, struct op *op)
{
	unsigned traits = sse_kind[d->ins.mnemonic], encoding, bits = 0;
	enum int_form form = FORM_RR;
	int sub;

	if (!traits || op->kind != OPK_NONE || !(is_xmm(d, 0) || is_xmm(d, 1)))
		return;
	sub = operands_of(d, traits, op);
	encoding = encoding_of(d);
	if (sub < 0 || !encoding)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (opnd_is_mem(d, i)) {
			form = i ? FORM_RM : FORM_MR;
			bits = d->opnd[i].size;
		}
	}
	if (bits & (bits - 1) || bits > 128 || (form != FORM_RR && bits < 8))
		return;
	if (bits == 128 && !(traits & UNALIGNED))
		sub |= SSE_ALIGNED;
	op_form(op, OPK_SSE, (unsigned)sub | (traits & FP ? SSE_FP : 0), form,
		bits ? (unsigned)__builtin_ctz(bits / 8) : 0, 0, traits & COMPARES ? FLAGS_ALL : 0);
	op->extra = (uint16_t)encoding;
	/* Bits 7 to 3 of a comparison's predicate are reserved: handlers do not look at them. */
	if (traits & PREDICATE)
		op->imm &= 7;
}
