/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding: Zydis does the instruction format, this file turns its answer into the common fields of
 * struct op, and the binders of the semantics files choose the handler.
 *
 * Zydis knows far more instructions than the CPU model (x86-64-v2): whatever has no binder is an
 * invalid opcode. Where a later extension gave a meaning to encodings that older CPUs execute as
 * something else (CET, MPX and CLDEMOTE hints), the decoder modes switch the extension off; TZCNT
 * and LZCNT, too, but for machine version 2 (MODE_COUNTS).
 */
#include <pthread.h>

#include "base/log.h"

#include "hypervisor/soft/decode.h"

static const struct binding_table *const tables[] = {
	&alu_bindings,	   &mov_bindings,	   &xchg_bindings,	&shift_bindings,
	&bits_bindings,	   &muldiv_bindings,	   &bcd_bindings,	&stack_bindings,
	&branch_bindings,  &string_bindings,	   &misc_bindings,	&x87_bindings,
	&x87_mem_bindings, &x87_rem_bindings,	   &x87_trans_bindings, &x87_ctl_bindings,
	&sse_fp_bindings,  &sse_int_bindings,	   &sse_move_bindings,	&sse4_bindings,
	&sse42_bindings,   &sse_estimate_bindings, &aes_bindings,	&fpu_state_bindings,
	&system_bindings,  &segop_bindings,	   &far_bindings,	&fastcall_bindings,
	&msr_bindings,	   &port_bindings,
};

/* Rows of one mnemonic, chained in the order of the tables. */
struct bind_row {
	const struct binding *b;
	uint16_t next; /* index + 1 into rows[], 0: none */
};

#define ROWS_MAX 4096

static struct bind_row rows[ROWS_MAX];
static uint16_t first_row[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* index + 1 */

enum { DECODER_REAL16, DECODER_16, DECODER_32, DECODER_64, DECODER_COUNT };

static ZydisDecoder decoders[2][DECODER_COUNT]; /* without, and with TZCNT and LZCNT */
static pthread_once_t initialised = PTHREAD_ONCE_INIT;

static void add_row(const struct binding *b, size_t *n)
{
	uint16_t *link = &first_row[b->mnemonic];

	while (*link)
		link = &rows[*link - 1].next;
	rows[*n].b = b;
	rows[*n].next = 0;
	*link = (uint16_t)++ * n;
}

static void decoder_init(unsigned which, ZydisMachineMode mode, ZydisStackWidth width)
{
	static const ZydisDecoderMode off[] = {
		ZYDIS_DECODER_MODE_MPX,
		ZYDIS_DECODER_MODE_CET,
		ZYDIS_DECODER_MODE_CLDEMOTE,
		ZYDIS_DECODER_MODE_WBNOINVD,
	};

	for (unsigned counts = 0; counts < 2; counts++) {
		ZydisDecoder *d = &decoders[counts][which];

		ZydisDecoderInit(d, mode, width);
		for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
			ZydisDecoderEnableMode(d, off[i], ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_TZCNT, (ZyanBool)counts);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_LZCNT, (ZyanBool)counts);
	}
}

static void make_tables(void)
{
	size_t n = 0;

	decoder_init(DECODER_REAL16, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
	decoder_init(DECODER_16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	decoder_init(DECODER_32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	decoder_init(DECODER_64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		must(n + tables[t]->n <= ROWS_MAX);
		for (size_t i = 0; i < tables[t]->n; i++)
			add_row(&tables[t]->row[i], &n);
	}
}

void decode_init(void)
{
	pthread_once(&initialised, make_tables);
}

/* ---- operands ---- */
static uint8_t reg_number(ZydisRegister reg)
{
	/* Zydis numbers AH and SPL alike; the distinction is in OPF_HIGH*. */
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
		return (uint8_t)(reg - ZYDIS_REGISTER_AL);
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return (uint8_t)(reg - ZYDIS_REGISTER_AH);
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
		return (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
	return (uint8_t)ZydisRegisterGetId(reg);
}

static bool reg_is_high(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

static uint8_t reg_or_zero(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return REG_ZERO;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return REG_RIPBASE;
	return reg_number(reg);
}

static void fill_memory(const struct decoded *d, const ZydisDecodedOperand *o, struct op *op)
{
	static const uint8_t shift[9] = { [1] = 0, [2] = 1, [4] = 2, [8] = 3 };

	op->base = reg_or_zero(o->mem.base);
	op->idx = reg_or_zero(o->mem.index);
	op->scale = o->mem.scale <= 8 ? shift[o->mem.scale] : 0;
	op->disp = o->mem.disp.value;
	if (op->base == REG_RIPBASE)
		op->disp += op->off + op->len;
	op->seg = d->ins.mnemonic == ZYDIS_MNEMONIC_LEA || o->mem.segment == ZYDIS_REGISTER_NONE
			  ? SEG_NONE
			  : (uint8_t)ZydisRegisterGetId(o->mem.segment);
	if (op->seg > SEG_GS)
		op->seg = SEG_NONE;
}

static bool is_stack_operand(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
	       o->mem.segment == ZYDIS_REGISTER_SS;
}

/* ES:DI of the string instructions, which no prefix can override. */
static bool is_string_destination(const ZydisDecodedOperand *o)
{
	return o->mem.segment == ZYDIS_REGISTER_ES &&
	       (o->mem.base == ZYDIS_REGISTER_RDI || o->mem.base == ZYDIS_REGISTER_EDI ||
		o->mem.base == ZYDIS_REGISTER_DI);
}

static void fill_operands(const struct decoded *d, struct op *op)
{
	uint8_t *const reg[] = { &op->r0, &op->r1, &op->r2 };
	bool have_imm = false, have_mem = false;

	for (unsigned i = 0; i < d->ins.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->opnd[i];
		bool visible = i < d->ins.operand_count_visible;

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && visible && i < 3) {
			*reg[i] = reg_number(o->reg.value);
			if (i < 2 && reg_is_high(o->reg.value))
				op->flags |= i ? OPF_HIGH1 : OPF_HIGH0;
		} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && visible && !have_imm) {
			op->imm = o->imm.value.u;
			have_imm = true;
		} else if (is_stack_operand(o)) {
			op->flags |= OPF_STACK;
		} else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && !have_mem &&
			   (visible || !is_string_destination(o))) {
			/* Hidden ones (DS:SI, XLAT, MASKMOVQ) give their segment only. */
			fill_memory(d, o, op);
			have_mem = true;
			if (visible)
				op->flags |= OPF_MEM;
		}
	}
}

static void fill_prefixes(const struct decoded *d, struct op *op)
{
	ZydisInstructionCategory cat = d->ins.meta.category;
	uint64_t attr = d->ins.attributes;

	if (attr & ZYDIS_ATTRIB_HAS_LOCK)
		op->flags |= OPF_LOCK;
	if (attr & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
		op->flags |= OPF_REP;
	if (attr & ZYDIS_ATTRIB_HAS_REPNE)
		op->flags |= OPF_REPNE;
	if (cat != ZYDIS_CATEGORY_STRINGOP && cat != ZYDIS_CATEGORY_IOSTRINGOP)
		op->flags &= (uint16_t) ~(OPF_REP | OPF_REPNE);
}

static bool is_near_branch(const struct decoded *d)
{
	ZydisInstructionCategory cat = d->ins.meta.category;

	return (cat == ZYDIS_CATEGORY_COND_BR || cat == ZYDIS_CATEGORY_UNCOND_BR ||
		cat == ZYDIS_CATEGORY_CALL || cat == ZYDIS_CATEGORY_RET) &&
	       (d->ins.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT ||
		d->ins.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR);
}

/* Far JMP, CALL and RET, IRET, and what enters or leaves the kernel. */
static bool is_far_branch(const struct decoded *d)
{
	ZydisInstructionCategory cat = d->ins.meta.category;

	return !is_near_branch(d) &&
	       (cat == ZYDIS_CATEGORY_UNCOND_BR || cat == ZYDIS_CATEGORY_CALL ||
		cat == ZYDIS_CATEGORY_RET || cat == ZYDIS_CATEGORY_SYSCALL ||
		cat == ZYDIS_CATEGORY_SYSRET);
}

/* INT n and its like clear TF, SYSCALL may, and SYSRET traps at once with the TF that it loads. */
static bool steps_with_new_tf(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_INT || m == ZYDIS_MNEMONIC_INT1 || m == ZYDIS_MNEMONIC_INT3 ||
	       m == ZYDIS_MNEMONIC_INTO || m == ZYDIS_MNEMONIC_SYSCALL ||
	       m == ZYDIS_MNEMONIC_SYSRET;
}

static void fill_flags(const struct decoded *d, struct op *op)
{
	uint32_t size = d->mode & MODE_SIZE;

	if (op->flags & OPF_MEM) {
		if (size == MODE_64 && op->asize == 8)
			op->flags |= OPF_FLAT;
		/* A code segment is never writable and perhaps not readable. */
		if ((d->mode & MODE_SEGCHECK) || (size != MODE_64 && op->seg == SEG_CS))
			op->flags |= op->seg == SEG_NONE ? 0 : OPF_SEGCHECK;
	}
	if (op->flags & (OPF_REP | OPF_REPNE))
		op->flags |= OPF_END;
	if (is_near_branch(d))
		op->flags |= OPF_BRANCH;
	if (is_far_branch(d))
		op->flags |= OPF_FAR;
	if (steps_with_new_tf(d->ins.mnemonic))
		op->flags |= OPF_NEWSTEP;
}

static void fill_common(const struct decoded *d, struct op *op)
{
	op->len = d->ins.length;
	op->asize = d->ins.address_width / 8;
	op->osize = d->ins.operand_width / 8;
	op->base = op->idx = REG_ZERO;
	op->seg = SEG_DS;
	op->reads = FLAGS_ALL;
	fill_prefixes(d, op);
	fill_operands(d, op);
	fill_flags(d, op);
}

/* ---- exceptions instead of instructions ---- */
static void op_ud(struct cpu *cpu, const struct op *op)
{
	cpu_raise(cpu, VEC_UD, 0);
}

static void op_gp(struct cpu *cpu, const struct op *op)
{
	cpu_raise(cpu, VEC_GP, 0);
}

static enum decode_result decode_raise(struct op *op, op_fn fn, size_t avail)
{
	op->fn = fn;
	/*
	 * The op is as long as the bytes that may have been looked at: the block has to go when one
	 * of them changes.
	 */
	op->len = (uint8_t)(avail < ZYDIS_MAX_INSTRUCTION_LENGTH ? avail
								 : ZYDIS_MAX_INSTRUCTION_LENGTH);
	op->base = op->idx = REG_ZERO;
	op->seg = SEG_DS;
	op->flags = OPF_END;
	op->reads = FLAGS_ALL;
	return DECODE_OK;
}

static bool bind(const struct decoded *d, struct op *op)
{
	const struct op common = *op;

	if (d->ins.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	for (unsigned i = first_row[d->ins.mnemonic]; i; i = rows[i - 1].next) {
		const struct binding *b = rows[i - 1].b;

		if (b->bind(d, op, b->arg) && op->fn)
			return true;
		*op = common;
	}
	return false;
}

static const ZydisDecoder *decoder_for(uint32_t mode)
{
	const ZydisDecoder *d = decoders[(mode & MODE_COUNTS) != 0];

	if ((mode & MODE_SIZE) == MODE_64)
		return &d[DECODER_64];
	if ((mode & MODE_SIZE) == MODE_32)
		return &d[DECODER_32];
	return &d[mode & (MODE_REAL | MODE_VM86) ? DECODER_REAL16 : DECODER_16];
}

enum decode_result decode_op(const uint8_t *bytes, size_t avail, uint32_t mode, uint16_t off,
			     struct op *op)
{
	struct decoded d;
	ZyanStatus st;

	d.mode = mode;
	*op = (struct op){ .off = off };
	st = ZydisDecoderDecodeFull(decoder_for(mode), bytes, avail, &d.ins, d.opnd);
	if (st == ZYDIS_STATUS_NO_MORE_DATA)
		return avail < ZYDIS_MAX_INSTRUCTION_LENGTH ? DECODE_SHORT
							    : decode_raise(op, op_gp, avail);
	if (st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return decode_raise(op, op_gp, avail);
	if (!ZYAN_SUCCESS(st))
		return decode_raise(op, op_ud, avail);
	fill_common(&d, op);
	if (!bind(&d, op))
		return decode_raise(op, op_ud, avail);
	sse_form(&d, op);
	return DECODE_OK;
}
