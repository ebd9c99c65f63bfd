/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where makers of processors differ, and both are right. Every rule of the tester that is about a
 * maker stands here and names it.
 *
 * `soft` follows Intel, so an Intel host is held against it without excuse. On an AMD host a
 * difference is excused where one of its processors was seen to do otherwise (not each of them
 * does: a rule of the table need not show on every host). A processor of another maker gets what
 * the two agree on.
 *
 * The second half is for the generator: what it does not make, and which flags it does not read.
 * That holds on every host, because a seed must give the same case everywhere: the golden vectors
 * name cases by their seeds. Golden vectors of group grid have what it leaves out.
 */
#include "tests/isa/isa.h"

#include <cpuid.h>
#include <string.h>

#define FL_RF 0x10000u
#define C1    2u
#define C_ALL (15u << UNDEF_C_SHIFT)

enum vendor { VENDOR_INTEL = 1, VENDOR_AMD = 2 };
#define VENDOR_UNKNOWN (VENDOR_INTEL | VENDOR_AMD) /* the rules of both */

static unsigned host_vendor(void)
{
	static unsigned vendor;
	unsigned a, b, c, d;

	if (vendor)
		return vendor;
	vendor = VENDOR_UNKNOWN;
	if (!__get_cpuid(0, &a, &b, &c, &d))
		return vendor;
	if (b == signature_INTEL_ebx && d == signature_INTEL_edx && c == signature_INTEL_ecx)
		vendor = VENDOR_INTEL;
	else if (b == signature_AMD_ebx && d == signature_AMD_edx && c == signature_AMD_ecx)
		vendor = VENDOR_AMD;
	return vendor;
}

/* ---- a case that differs ---- */
struct place {
	bool known; /* the exception came at an instruction of the case */
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

struct scene {
	const struct tcase *c;
	const struct outcome *native, *model;
	struct place host, soft; /* where each of them stopped */
	bool same_place;
};

static bool is_memory_fault(unsigned vector)
{
	return (vector >= 12 && vector <= 14) || vector == 17;
}

static bool is_rep(const ZydisDecodedInstruction *ins)
{
	return (ins->attributes &
		(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

static bool is_cmps(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_CMPSB || m == ZYDIS_MNEMONIC_CMPSW ||
	       m == ZYDIS_MNEMONIC_CMPSD || m == ZYDIS_MNEMONIC_CMPSQ;
}

static bool is_scas(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_SCASB || m == ZYDIS_MNEMONIC_SCASW ||
	       m == ZYDIS_MNEMONIC_SCASD || m == ZYDIS_MNEMONIC_SCASQ;
}

static bool is_string(const ZydisDecodedInstruction *ins)
{
	return ins->meta.category == ZYDIS_CATEGORY_STRINGOP;
}

static bool contains(const struct tcase *c, bool (*what)(const ZydisDecodedInstruction *))
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	for (unsigned i = 0; i < c->n; i++)
		if (policy_decode(c->m32, &c->insn[i], &ins, op) && what(&ins))
			return true;
	return false;
}

/* 90h with F3 and REX.B: Intel's PAUSE does nothing, AMD exchanges RAX and R8. */
static bool is_pause_r8(const ZydisDecodedInstruction *ins)
{
	return ins->opcode == 0x90 && ins->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       (ins->attributes & ZYDIS_ATTRIB_HAS_REX) && ins->raw.rex.B;
}

static bool pause_r8(const struct scene *s)
{
	return contains(s->c, is_pause_r8);
}

/* Which of several NaNs comes through, and the flags of the steps after one that faulted. */
static bool is_dot_product(const ZydisDecodedInstruction *ins)
{
	return ins->mnemonic == ZYDIS_MNEMONIC_DPPS || ins->mnemonic == ZYDIS_MNEMONIC_DPPD;
}

static bool dot_product(const struct scene *s)
{
	return contains(s->c, is_dot_product);
}

/* A store from an MMX register that faults has entered MMX mode on Intel. */
static bool mmx_store(const struct scene *s)
{
	return s->same_place && is_memory_fault(s->native->vector) &&
	       s->host.op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       s->host.op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(s->host.op[1].reg.value) == ZYDIS_REGCLASS_MMX;
}

/* CMPS of which both operands fault: Intel reads that of RDI first. */
static bool cmps_order(const struct scene *s)
{
	return s->same_place && is_cmps(s->host.ins.mnemonic) &&
	       is_memory_fault(s->native->vector) && is_memory_fault(s->model->vector);
}

/* CMPS and SCAS write their flags when they end, on Intel, else after each iteration. */
static bool compare_flags(const struct scene *s)
{
	return s->same_place && is_rep(&s->host.ins) &&
	       (is_cmps(s->host.ins.mnemonic) || is_scas(s->host.ins.mnemonic));
}

/* REP with 32-bit addresses: Intel clears upper halves before the first iteration. */
static bool rep_upper_halves(const struct scene *s)
{
	return s->same_place && is_rep(&s->host.ins) && is_string(&s->host.ins) &&
	       s->host.ins.address_width == 32 && !s->c->m32;
}

static bool is_x87(const struct place *p)
{
	return p->known && (p->ins.meta.isa_ext == ZYDIS_ISA_EXT_X87 ||
			    p->ins.mnemonic == ZYDIS_MNEMONIC_FISTTP);
}

/*
 * An x87 store that raises an unmasked exception does not look at its operand on Intel. One of ten
 * bytes is two stores, of which one may lie beyond the canonical half.
 */
static bool x87_store(const struct scene *s)
{
	return (is_x87(&s->host) && is_memory_fault(s->native->vector)) ||
	       (is_x87(&s->soft) && is_memory_fault(s->model->vector));
}

static bool is_movsxd16(const struct place *p)
{
	return p->known && p->ins.mnemonic == ZYDIS_MNEMONIC_MOVSXD && p->ins.operand_width == 16;
}

/* MOVSXD without REX.W reads two bytes with 66 on Intel, four on AMD. */
static bool movsxd_size(const struct scene *s)
{
	return is_movsxd16(&s->host) || is_movsxd16(&s->soft);
}

/* What comes first where an operand is misaligned and cannot be accessed either. */
static bool alignment_order(const struct scene *s)
{
	return s->same_place && ((s->native->vector == 17 && is_memory_fault(s->model->vector)) ||
				 (s->model->vector == 17 && is_memory_fault(s->native->vector)));
}

/* AMD checks the alignment of some vector operands that Intel leaves alone. */
static bool vector_alignment(const struct scene *s)
{
	return s->native->vector == 17 && s->host.known &&
	       s->host.ins.meta.isa_ext != ZYDIS_ISA_EXT_BASE &&
	       s->host.ins.meta.isa_ext != ZYDIS_ISA_EXT_LONGMODE;
}

/* MXCSR.MM is a bit of AMD's. */
static bool ldmxcsr_mm(const struct scene *s)
{
	return s->soft.known && s->soft.ins.mnemonic == ZYDIS_MNEMONIC_LDMXCSR &&
	       s->model->vector == 13 && !s->same_place;
}

/* CALL that can neither push nor go to its target, and POPA that has loaded some registers. */
static bool call_or_popa(const struct scene *s)
{
	ZydisMnemonic m = s->host.known ? s->host.ins.mnemonic : ZYDIS_MNEMONIC_INVALID;

	return s->same_place && is_memory_fault(s->native->vector) &&
	       is_memory_fault(s->model->vector) &&
	       (m == ZYDIS_MNEMONIC_CALL || m == ZYDIS_MNEMONIC_POPA || m == ZYDIS_MNEMONIC_POPAD);
}

/*
 * An access across the end of 4 GiB in compatibility mode faults or wraps around (SDM vol. 3, 5.3).
 */
static bool segment_end(const struct scene *s)
{
	return s->c->m32 && s->same_place && (s->native->vector == 12 || s->native->vector == 13) &&
	       s->model->vector == 14 && (s->model->cr2 >= 0xffffff00 || s->model->cr2 < 0x100);
}

/*
 * ENTER copies pointers of outer frames; where those overlap the new frame, Intel reads what it has
 * just written. A processor of AMD's (family 26) mostly read what was there before.
 */
static bool is_nested_enter(const ZydisDecodedInstruction *ins)
{
	return ins->mnemonic == ZYDIS_MNEMONIC_ENTER && (ins->raw.imm[1].value.u & 31) > 1;
}

static bool nested_enter(const struct scene *s)
{
	return s->native->vector == s->model->vector && contains(s->c, is_nested_enter);
}

static const struct rule {
	enum vendor who; /* does otherwise than `soft` */
	const char *what;
	bool (*applies)(const struct scene *);
} rules[] = {
	{ VENDOR_AMD, "90h with F3 and REX.B exchanges RAX and R8", pause_r8 },
	{ VENDOR_AMD, "order of the sums of DPPS and DPPD", dot_product },
	{ VENDOR_AMD, "MMX mode after a store that faults", mmx_store },
	{ VENDOR_AMD, "which operand of CMPS is read first", cmps_order },
	{ VENDOR_AMD, "flags of a REP CMPS or SCAS that was interrupted", compare_flags },
	{ VENDOR_AMD, "upper halves in REP with 32-bit addresses", rep_upper_halves },
	{ VENDOR_AMD, "x87 exceptions before the operand is accessed", x87_store },
	{ VENDOR_AMD, "size of MOVSXD with 66", movsxd_size },
	{ VENDOR_AMD, "alignment before or after translation", alignment_order },
	{ VENDOR_AMD, "alignment of vector operands", vector_alignment },
	{ VENDOR_AMD, "MXCSR.MM", ldmxcsr_mm },
	{ VENDOR_AMD, "faults of CALL and POPA", call_or_popa },
	{ VENDOR_AMD, "accesses across the end of a segment", segment_end },
	{ VENDOR_AMD, "ENTER that copies frames onto themselves", nested_enter },
};

static void find_place(const struct tcase *c, uint64_t rip, struct place *p)
{
	for (unsigned i = 0; i < c->n && !p->known; i++)
		if (CODE_BASE + c->at[i] == rip)
			p->known = policy_decode(c->m32, &c->insn[i], &p->ins, p->op);
}

const char *vendor_excuse(const struct tcase *c, const struct outcome *native,
			  const struct outcome *model)
{
	struct scene s = { .c = c, .native = native, .model = model };

	find_place(c, native->regs.rip, &s.host);
	find_place(c, model->regs.rip, &s.soft);
	s.same_place = s.host.known && native->regs.rip == model->regs.rip;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if ((rules[i].who & host_vendor()) && rules[i].applies(&s))
			return rules[i].what;
	return NULL;
}

/* ---- what is compared at all ---- */
/* RF after a single step within a REP instruction (SDM vol. 3, 17.3.1.1): AMD clears it. */
uint32_t vendor_open_flags(const struct outcome *native)
{
	return native->vector == 1 && (host_vendor() & VENDOR_AMD) ? FL_RF : 0;
}

/* RCPxx and RSQRTxx: `soft` gives Intel's bits; others have a table of their own. */
bool vendor_exact_estimates(void)
{
	return host_vendor() == VENDOR_INTEL;
}

/*
 * C1: AMD leaves it alone in FCMOVcc and FCOMI. FLD ST(i) from an empty register onto a full one is
 * an underflow to Intel and an overflow to AMD.
 */
static bool c1_differs(const ZydisDecodedInstruction *ins)
{
	switch (ins->mnemonic) {
	case ZYDIS_MNEMONIC_FLD:
		return ins->raw.modrm.mod == 3;
	case ZYDIS_MNEMONIC_FCOMI:
	case ZYDIS_MNEMONIC_FCOMIP:
	case ZYDIS_MNEMONIC_FUCOMI:
	case ZYDIS_MNEMONIC_FUCOMIP:
	case ZYDIS_MNEMONIC_FCMOVB:
	case ZYDIS_MNEMONIC_FCMOVBE:
	case ZYDIS_MNEMONIC_FCMOVE:
	case ZYDIS_MNEMONIC_FCMOVNB:
	case ZYDIS_MNEMONIC_FCMOVNBE:
	case ZYDIS_MNEMONIC_FCMOVNE:
	case ZYDIS_MNEMONIC_FCMOVNU:
	case ZYDIS_MNEMONIC_FCMOVU:
		return true;
	default:
		return false;
	}
}

static bool is_x87_compare(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_FCOM:
	case ZYDIS_MNEMONIC_FCOMP:
	case ZYDIS_MNEMONIC_FCOMPP:
	case ZYDIS_MNEMONIC_FUCOM:
	case ZYDIS_MNEMONIC_FUCOMP:
	case ZYDIS_MNEMONIC_FUCOMPP:
	case ZYDIS_MNEMONIC_FICOM:
	case ZYDIS_MNEMONIC_FICOMP:
	case ZYDIS_MNEMONIC_FTST:
		return true;
	default:
		return false;
	}
}

static bool is_x87_compare_flags(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_FCOMI || m == ZYDIS_MNEMONIC_FCOMIP ||
	       m == ZYDIS_MNEMONIC_FUCOMI || m == ZYDIS_MNEMONIC_FUCOMIP;
}

/*
 * Flags and condition codes that are not the same on both: C1 as above, and what comparisons do
 * with an unmasked exception. The manual (SDM vol. 2, FCOM) says that they leave them alone;
 * processors of both makers were seen to set them to "unordered".
 */
uint32_t vendor_undefined(const struct tcase *c, const ZydisDecodedInstruction *ins)
{
	uint32_t flags = c1_differs(ins) ? C1 << UNDEF_C_SHIFT : 0;

	if (c->unmasked && is_x87_compare(ins->mnemonic))
		flags |= C_ALL;
	if (c->unmasked && is_x87_compare_flags(ins->mnemonic))
		flags |= FL_ARITH_ALL;
	return flags;
}

bool vendor_compares_all(void)
{
	return host_vendor() == VENDOR_INTEL;
}

/* ---- what the generator does not make ---- */
bool vendor_rejects(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	if (ins->opcode == 0x0d && ins->opcode_map == ZYDIS_OPCODE_MAP_0F)
		return true; /* PREFETCHW: with registers a NOP on Intel */
	/* Of both, Intel accesses all bytes, whatever the mask, and the upper half first. */
	if ((ins->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
	     ins->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU) &&
	    ((ins->attributes & ZYDIS_ATTRIB_HAS_SEGMENT) || ins->address_width == 16))
		return true;
	/* PUSH of a segment register in 32-bit code writes 2 bytes on Intel, 4 on AMD. */
	if (ins->mnemonic == ZYDIS_MNEMONIC_PUSH && ins->operand_width == 32 &&
	    op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    ZydisRegisterGetClass(op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
		return true;
	/* ARPL reads first on Intel, and writes only what changes. */
	if (ins->mnemonic == ZYDIS_MNEMONIC_ARPL && op[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
		return true;
	/* AMD lets a 66 prefix cut RIP to 16 bits where Intel ignores it. */
	if (ins->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
	    (ins->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
		return true;
	/* The manual lets CVTPI2PS enter MMX mode also with memory; neither maker's does. */
	return ins->mnemonic == ZYDIS_MNEMONIC_CVTPI2PS && op[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

/*
 * A count of 0: Intel checks the privilege of INS and OUTS before it, and zero-extends registers
 * with 32-bit addresses.
 */
bool vendor_needs_count(enum isa_class cls, const ZydisDecodedInstruction *ins)
{
	return cls == CLS_SYSTEM || ins->address_width == 32;
}
