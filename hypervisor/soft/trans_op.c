/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code of one block: which ops become code of their own, which flags have to be stored, and
 * the code. The shape is the same for all: operands into host registers (memory through the TLB
 * probe), the same instruction on the host, results where they live.
 *
 * Code that seldom runs (slow memory, jumps that are not linked, the way back to the run loop)
 * stands behind the block.
 */
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/trans_op.h"

_Static_assert(offsetof(struct lazy_flags, type) % 8 == 0 &&
		       offsetof(struct lazy_flags, rot) == offsetof(struct lazy_flags, type) + 6,
	       "type, inc and rot are stored at once");

/* ---- which ops have code of their own ---- */
static bool is_low(uint8_t r)
{
	return (r & 7) == 0;
}

/* No AH to BH. */
static bool registers_fit(const struct op *op)
{
	bool two = op->form == FORM_RR || op->form == FORM_MR;

	if (op->kind == OPK_MOVZX || op->kind == OPK_MOVSX)
		return op->sub || op->form != FORM_RR || is_low(op->r1);
	if (op->size || op->kind == OPK_NOP || op->kind == OPK_SSE)
		return true;
	if (op->kind == OPK_SETCC || op->kind == OPK_SHIFT || op->kind == OPK_ONE)
		two = false;
	return ((op->form == FORM_MR || op->form == FORM_MI) || is_low(op->r0)) &&
	       (!two || is_low(op->r1));
}

static bool memory_fits(const struct op *op)
{
	if (op->kind == OPK_NOP || !(op->flags & OPF_MEM))
		return true;
	return (op->flags & OPF_FLAT) && !(op->flags & OPF_LOCK) && op->disp > -0x7fff0000ll &&
	       op->disp < 0x7fff0000ll;
}

static unsigned shift_count(const struct op *op)
{
	return (unsigned)op->imm & (op->size == 3 ? 63 : 31);
}

static bool shift_fits(const struct op *op, unsigned stored, unsigned read)
{
	bool rotate = op->sub == SHIFT_ROL || op->sub == SHIFT_ROR;

	if (op->sub == SHIFT_RCL || op->sub == SHIFT_RCR)
		return false;
	/* By more than they have bits, the flags are not the same on all processors. */
	if (op->size < 2 && (op->form == FORM_RR || shift_count(op) >= 8u << op->size))
		return false;
	if (op->form == FORM_RR)
		return rotate ? !(stored | read) : stored || !read;
	if (!shift_count(op))
		return true;
	if (!rotate)
		return stored || shift_count(op) == 1 || !(read & FLAGS_OF);
	if (shift_count(op) == 1)
		return !stored && !(read & (FLAGS_CF | FLAGS_OF));
	/*
	 * OF stays as it was, and the host's flags do not have it any more: it has to be among
	 * those that are stored, or be read by nothing.
	 */
	return stored ? (stored & FLAGS_OF) || !(read & FLAGS_OF) : !(read & (FLAGS_CF | FLAGS_OF));
}

/* stored, read: flags after it that have to be in cpu->lazy, and that instructions read. */
static bool has_code(const struct op *op, uint32_t mode, unsigned stored, unsigned read)
{
	if (!registers_fit(op) || !memory_fits(op))
		return false;
	switch (op->kind) {
	case OPK_NONE:
		return false;
	case OPK_SSE:
		return trans_sse_fits(op, mode);
	case OPK_ONE:
		/* Flags that are not stored are the host's all together, or nobody reads them. */
		return op->sub > ONE_DEC || stored || !(read & FLAGS_CF);
	case OPK_LEA:
	case OPK_BSWAP:
		return op->size >= 2;
	case OPK_SHIFT:
		return shift_fits(op, stored, read);
	case OPK_IMUL:
		return stored || !(read & FLAGS_REST);
	default:
		return true;
	}
}

/* May C code run in it? */
static bool is_exit(const struct op *op, bool own)
{
	if (!own)
		return true;
	if (op->kind == OPK_NOP || op->kind == OPK_LEA)
		return false;
	if (op->kind == OPK_DIVIDE || (op->kind == OPK_SSE && trans_sse_exits(op)))
		return true;
	return (op->flags & (OPF_MEM | OPF_STACK | OPF_END)) || op->kind >= OPK_PUSH;
}

/* Flags before an op from those after it. */
static void flags_before(const struct op *op, unsigned *stored, unsigned *read)
{
	unsigned writes = op->writes, reads = op->reads;

	if (op->kind == OPK_SHIFT && op->form == FORM_RR) {
		/* A count of 0 leaves all as they are: then they are looked at in cpu->lazy. */
		*stored = *read = *stored | *read ? FLAGS_ALL : 0;
		return;
	}
	if (op->kind == OPK_SHIFT && op->sub >= SHIFT_ROL && shift_count(op)) {
		writes = shift_count(op) == 1 ? FLAGS_CF | FLAGS_OF : FLAGS_CF;
		reads = 0;
	}
	*stored &= ~writes;
	*read = (*read & ~writes) | reads;
}

/* False: too little of the block would be code of its own. */
static bool plan(struct tr *tr)
{
	unsigned stored = FLAGS_ALL, read = FLAGS_ALL, calls = 0;

	for (unsigned i = tr->b->n; i-- > 0;) {
		const struct op *op = block_op(tr->b, i);

		tr->stored[i] = (uint8_t)stored;
		tr->own[i] = has_code(op, tr->b->mode, stored, read);
		calls += !tr->own[i] && !(op->flags & OPF_END);
		if (is_exit(op, tr->own[i]))
			stored = read = FLAGS_ALL;
		else
			flags_before(op, &stored, &read);
	}
	return calls * 3 <= tr->b->n;
}

/* ---- registers ---- */
/* Register operands of an op: 8-bit ones are byte offsets. */
static unsigned first(const struct op *op)
{
	return op->size ? op->r0 : op->r0 / 8;
}

static unsigned second(const struct op *op)
{
	return op->size ? op->r1 : op->r1 / 8;
}

/* ---- cold code ---- */
struct cold *trans_cold(struct tr *tr, uint8_t *site, enum cold_kind kind)
{
	struct cold *c = &tr->cold[tr->colds];

	if (tr->colds + 1 < COLD_MAX)
		tr->colds++;
	else
		tr->e->full = true;
	*c = (struct cold){ .site = site,
			    .op = (uint8_t)tr->i,
			    .kind = (uint8_t)kind,
			    .way = -1,
			    .xmm_new = tr->xmm_new,
			    .mxcsr = tr->mxcsr };
	return c;
}

/* ---- memory ---- */
static struct host_mem op_probe(struct tr *tr, unsigned size, bool write)
{
	return trans_probe(tr, trans_operand(tr), 1u << size, 1, write, COLD_CALL);
}

/* A whole register with the value at the lower end. */
static void load_sized(struct tr *tr, unsigned size, unsigned reg, struct host_mem m)
{
	static const uint16_t opcode[4] = { 0x0fb6, 0x0fb7, 0x8b, 0x8b };

	emit_rm(tr->e, size < 2 ? 2 : size, opcode[size], reg, m);
}

/* ---- flags ---- */
static bool must_store(const struct tr *tr)
{
	return tr->stored[tr->i];
}

/* The operands or results are stored. */
static void flags_stored(struct tr *tr, enum trans_flags kind, unsigned size)
{
	emit_store_imm(tr->e, CPU_FIELD(lazy.type), (int32_t)TF_TYPE(kind, size));
	tr->type = (uint8_t)TF_TYPE(kind, size);
}

static void store16(struct tr *tr, struct host_mem m, unsigned v)
{
	emit_rm(tr->e, 1, 0xc7, 0, m);
	emit_imm(tr->e, 1, v);
}

void trans_need_host(struct tr *tr, unsigned mask)
{
	unsigned kind = (tr->type - LAZY_HOST) / 4, size = tr->type % 4;

	if ((tr->host & mask) == mask)
		return;
	tr->host = FLAGS_ALL;
	if (!tr->type || (kind != TF_ADD && kind != TF_SUB && kind != TF_LOGIC)) {
		trans_sse_store(tr);
		trans_sse_lost(tr);
		trans_shared_call(tr, tr->t->shared.flags);
		return;
	}
	if (kind == TF_LOGIC) {
		emit_load(tr->e, H_S0, CPU_FIELD(lazy.res));
		emit_rr(tr->e, size, emit_sized(0x84, size), H_S0, H_S0);
		return;
	}
	emit_load(tr->e, H_S0, CPU_FIELD(lazy.a));
	emit_rm(tr->e, size, emit_sized(kind == TF_ADD ? 0x02 : 0x3a, size), H_S0,
		CPU_FIELD(lazy.b));
}

void trans_keep_flags(struct tr *tr)
{
	tr->host = FLAGS_ALL;
	tr->type = 0;
	if (!must_store(tr))
		return;
	emit8(tr->e, 0x9c);				 /* PUSHF */
	emit_rm(tr->e, 2, 0x8f, 0, CPU_FIELD(lazy.res)); /* POP */
	flags_stored(tr, TF_HOST, 0);
	tr->type = 0;
}

/* ---- MOV and its like ---- */
static void op_mov_register(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned d = dest(tr, first(op), op->size, H_S0);

	if (op->form == FORM_RR) {
		emit_rr(tr->e, op->size, emit_sized(0x88, op->size), use(tr, second(op), H_S1), d);
	} else if (op->size >= 2) {
		emit_move_imm(tr->e, d, op->size == 2 ? (uint32_t)op->imm : op->imm);
	} else {
		emit_rr(tr->e, op->size, emit_sized(0xc6, op->size), 0, d);
		emit_imm(tr->e, op->size, op->imm);
	}
	done(tr, first(op), d);
}

static void op_mov(struct tr *tr)
{
	const struct op *op = tr->op;
	struct host_mem m;

	if (op->form == FORM_RR || op->form == FORM_RI) {
		op_mov_register(tr);
		return;
	}
	m = op_probe(tr, op->size, op->form != FORM_RM);
	if (op->form == FORM_RM) {
		unsigned d = dest(tr, first(op), op->size, H_S0);

		emit_rm(tr->e, op->size, emit_sized(0x8a, op->size), d, m);
		done(tr, first(op), d);
	} else if (op->form == FORM_MR) {
		emit_rm(tr->e, op->size, emit_sized(0x88, op->size), use(tr, second(op), H_S0), m);
	} else {
		emit_rm(tr->e, op->size, emit_sized(0xc6, op->size), 0, m);
		emit_imm(tr->e, op->size, op->imm);
	}
}

static void op_extend(struct tr *tr)
{
	const struct op *op = tr->op;
	bool sign = op->kind == OPK_MOVSX;
	unsigned opcode = op->sub == 2 ? 0x63u : (sign ? 0x0fbeu : 0x0fb6u) | op->sub, d;

	if (op->form == FORM_RM) {
		struct host_mem m = op_probe(tr, op->sub, false);

		d = dest(tr, op->r0, op->size, H_S0);
		emit_rm(tr->e, op->size, opcode, d, m);
	} else {
		d = dest(tr, op->r0, op->size, H_S0);
		emit_rr(tr->e, op->size, opcode, d, use(tr, op->sub ? op->r1 : op->r1 / 8u, H_S1));
	}
	done(tr, op->r0, d);
}

static void op_lea(struct tr *tr)
{
	struct guest_mem m = trans_operand(tr);
	struct host_mem a = { H_S0, H_NONE, m.scale, (int32_t)m.disp };
	unsigned d = dest(tr, tr->op->r0, 2, H_S0);

	/* Nothing here changes host flags. */
	if (m.base < 16)
		a.base = (uint8_t)use(tr, m.base, H_S0);
	else if (m.base == REG_RIPBASE)
		emit_load(tr->e, H_S0, CPU_FIELD(page_lin));
	else
		emit_move_imm(tr->e, H_S0, 0);
	if (m.idx != REG_ZERO)
		a.idx = (uint8_t)use(tr, m.idx, H_S1);
	emit_rm(tr->e, tr->op->size, 0x8d, d, a);
	done(tr, tr->op->r0, d);
}

static void op_bswap(struct tr *tr)
{
	unsigned d = use(tr, tr->op->r0, H_S0);

	emit_op(tr->e, tr->op->size, 0x0fc8 | (d & 7), 0, 0, d);
	done(tr, tr->op->r0, d);
}

static void op_extend_acc(struct tr *tr)
{
	emit_op(tr->e, tr->op->size, tr->op->sub ? 0x99 : 0x98, 0, 0, 0);
}

static void op_cmov(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned d, opcode = 0x0f40u | op->sub;
	struct host_mem m;

	if (op->form == FORM_RM)
		m = op_probe(tr, op->size, false);
	trans_need_host(tr, op->reads);
	d = use(tr, op->r0, H_S0);
	if (op->form == FORM_RM) {
		emit_rm(tr->e, op->size, opcode, d, m);
		tr->host = 0;
	} else {
		emit_rr(tr->e, op->size, opcode, d, use(tr, op->r1, H_S1));
	}
	done(tr, op->r0, d);
}

static void op_setcc(struct tr *tr)
{
	const struct op *op = tr->op;

	if (op->form == FORM_MI) {
		struct host_mem m = op_probe(tr, 0, true);

		trans_need_host(tr, op->reads);
		emit_rm(tr->e, 0, 0x0f90u | op->sub, 0, m);
		tr->host = 0;
	} else {
		unsigned d;

		trans_need_host(tr, op->reads);
		d = use(tr, op->r0 / 8u, H_S0);
		emit_rr(tr->e, 0, 0x0f90u | op->sub, 0, d);
		done(tr, op->r0 / 8u, d);
	}
}

/* ---- arithmetic ---- */
static bool only_flags(const struct op *op)
{
	return op->sub == ALU_CMP || op->sub == ALU_TEST;
}

static bool has_carry(const struct op *op)
{
	return op->sub == ALU_ADC || op->sub == ALU_SBB;
}

static enum trans_flags alu_flags(const struct op *op)
{
	switch (op->sub) {
	case ALU_ADD:
		return TF_ADD;
	case ALU_SUB:
	case ALU_CMP:
		return TF_SUB;
	case ALU_TEST:
		return TF_TEST;
	default:
		return TF_LOGIC;
	}
}

/*
 * Notes both operands before the operation, where flags need them. right: H_NONE for the immediate.
 */
static void alu_store(struct tr *tr, unsigned left, unsigned right)
{
	if (!must_store(tr) || has_carry(tr->op) || alu_flags(tr->op) == TF_LOGIC)
		return;
	emit_store(tr->e, left, CPU_FIELD(lazy.a));
	if (right == H_NONE)
		emit_store_imm(tr->e, CPU_FIELD(lazy.b), (int32_t)tr->op->imm);
	else
		emit_store(tr->e, right, CPU_FIELD(lazy.b));
}

/* Notes the result after the operation. */
static void alu_stored(struct tr *tr, unsigned result)
{
	tr->host = FLAGS_ALL;
	tr->type = 0;
	if (has_carry(tr->op)) {
		trans_keep_flags(tr);
		return;
	}
	if (!must_store(tr))
		return;
	if (alu_flags(tr->op) == TF_LOGIC)
		emit_store(tr->e, result, CPU_FIELD(lazy.res));
	flags_stored(tr, alu_flags(tr->op), tr->op->size);
	/* Where the handler did it there are no operands. */
	if (tr->op->sub == ALU_TEST)
		tr->type = 0;
}

/* left OP= right, or the immediate. */
static void alu_host(struct tr *tr, unsigned left, unsigned right)
{
	const struct op *op = tr->op;

	alu_store(tr, left, right);
	if (op->sub == ALU_TEST && right == H_NONE) {
		emit_rr(tr->e, op->size, emit_sized(0xf6, op->size), 0, left);
		emit_imm(tr->e, op->size, op->imm);
	} else if (op->sub == ALU_TEST) {
		emit_rr(tr->e, op->size, emit_sized(0x84, op->size), right, left);
	} else if (right == H_NONE) {
		emit_alu_imm(tr->e, op->sub, op->size, left, (int32_t)op->imm);
	} else {
		emit_rr(tr->e, op->size, emit_sized(op->sub * 8u, op->size), right, left);
	}
	alu_stored(tr, left);
}

static void alu_register(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned left, right = H_NONE;

	if (has_carry(op))
		trans_need_host(tr, FLAGS_CF);
	left = use(tr, first(op), H_S0);
	if (op->form == FORM_RR)
		right = use(tr, second(op), H_S1);
	alu_host(tr, left, right);
	if (!only_flags(op))
		done(tr, first(op), left);
}

/* Register and memory; the register is changed or nothing is. */
static void alu_load(struct tr *tr)
{
	const struct op *op = tr->op;
	struct host_mem m = op_probe(tr, op->size, false);
	unsigned left;

	if (has_carry(op)) {
		trans_need_host(tr, FLAGS_CF);
		left = use(tr, first(op), H_S0);
		emit_rm(tr->e, op->size, emit_sized(op->sub * 8u | 2, op->size), left, m);
		trans_keep_flags(tr);
		done(tr, first(op), left);
		return;
	}
	load_sized(tr, op->size, H_S0, m);
	if (op->form == FORM_RM) {
		left = use(tr, first(op), H_S1);
		alu_host(tr, left, H_S0);
		if (!only_flags(op))
			done(tr, first(op), left);
	} else {
		alu_host(tr, H_S0, op->form == FORM_MI ? H_NONE : use(tr, second(op), H_S1));
	}
}

/* Memory is changed. */
static void alu_change(struct tr *tr)
{
	const struct op *op = tr->op;
	struct host_mem m = op_probe(tr, op->size, true);
	bool logic = alu_flags(op) == TF_LOGIC, carry = has_carry(op);
	unsigned right;

	if (carry)
		trans_need_host(tr, FLAGS_CF);
	if (op->form == FORM_MI) {
		emit_alu_imm_mem(tr->e, op->sub, op->size, m, (int32_t)op->imm);
		if (must_store(tr) && !logic && !carry)
			emit_store_imm(tr->e, CPU_FIELD(lazy.b), (int32_t)op->imm);
	} else {
		right = use(tr, second(op), H_S0);
		emit_rm(tr->e, op->size, emit_sized(op->sub * 8u, op->size), right, m);
		if (must_store(tr) && !logic && !carry)
			emit_store(tr->e, right, CPU_FIELD(lazy.b));
	}
	if (carry) {
		trans_keep_flags(tr);
		return;
	}
	tr->host = FLAGS_ALL;
	tr->type = 0;
	if (!must_store(tr))
		return;
	load_sized(tr, op->size, H_S0, m);
	emit_store(tr->e, H_S0, CPU_FIELD(lazy.res));
	flags_stored(tr, logic ? TF_LOGIC : op->sub == ALU_ADD ? TF_ADD_R : TF_SUB_R, op->size);
}

static void op_alu(struct tr *tr)
{
	const struct op *op = tr->op;

	if (op->form == FORM_RR || op->form == FORM_RI)
		alu_register(tr);
	else if (op->form == FORM_RM || only_flags(op))
		alu_load(tr);
	else
		alu_change(tr);
}

/* NEG: as 0 - x. */
static void neg_store(struct tr *tr, unsigned x)
{
	if (!must_store(tr))
		return;
	emit_store_imm(tr->e, CPU_FIELD(lazy.a), 0);
	emit_store(tr->e, x, CPU_FIELD(lazy.b));
}

static void one_stored(struct tr *tr, unsigned result)
{
	const struct op *op = tr->op;

	if (op->sub == ONE_NOT)
		return;
	tr->type = 0;
	if (op->sub == ONE_NEG) {
		tr->host = FLAGS_ALL;
		if (must_store(tr))
			flags_stored(tr, TF_SUB, op->size);
		return;
	}
	tr->host = (tr->host & FLAGS_CF) | FLAGS_OF | FLAGS_REST;
	if (!must_store(tr))
		return;
	emit_store(tr->e, result, CPU_FIELD(lazy.inc_res));
	store16(tr, CPU_FIELD(lazy.inc), op->sub == ONE_INC ? TF_INC(op->size) : TF_DEC(op->size));
}

static void op_one(struct tr *tr)
{
	static const uint8_t digit[ONE_COUNT] = {
		[ONE_INC] = 0, [ONE_DEC] = 1, [ONE_NEG] = 3, [ONE_NOT] = 2
	};
	const struct op *op = tr->op;
	unsigned opcode = emit_sized(op->sub <= ONE_DEC ? 0xfe : 0xf6, op->size), d;

	if (op->form == FORM_MI) {
		struct host_mem m = op_probe(tr, op->size, true);

		if (op->sub == ONE_NEG) {
			load_sized(tr, op->size, H_S0, m);
			neg_store(tr, H_S0);
		}
		emit_rm(tr->e, op->size, opcode, digit[op->sub], m);
		if (op->sub <= ONE_DEC && must_store(tr))
			load_sized(tr, op->size, H_S0, m);
		one_stored(tr, H_S0);
		return;
	}
	d = use(tr, first(op), H_S0);
	if (op->sub == ONE_NEG)
		neg_store(tr, d);
	emit_rr(tr->e, op->size, opcode, digit[op->sub], d);
	one_stored(tr, d);
	done(tr, first(op), d);
}

static const uint8_t shift_digit[SHIFT_COUNT] = {
	[SHIFT_SHL] = 4, [SHIFT_SHR] = 5, [SHIFT_SAR] = 7, [SHIFT_ROL] = 0, [SHIFT_ROR] = 1,
};

static void shift_by_cl(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned d = use(tr, op->r0, H_S0);

	if (must_store(tr)) {
		uint8_t *over;

		emit_rr(tr->e, 0, 0xf6, 0, H_RCX); /* TEST */
		emit8(tr->e, op->size == 3 ? 63 : 31);
		over = emit_jcc(tr->e, 4);
		emit_store(tr->e, d, CPU_FIELD(lazy.a));
		emit_store(tr->e, H_RCX, CPU_FIELD(lazy.b));
		flags_stored(tr, (enum trans_flags)(TF_SHL + op->sub), op->size);
		emit_aim(over, tr->e->at);
	}
	emit_rr(tr->e, op->size, 0xd3, shift_digit[op->sub], d);
	/* With a count of 0 nothing zero-extends a register that is not kept as one. */
	if (op->size == 2)
		emit_move(tr->e, 2, d, d);
	tr->host = tr->type = 0;
	done(tr, op->r0, d);
}

static void shift_stored(struct tr *tr, unsigned d, unsigned count)
{
	const struct op *op = tr->op;

	tr->type = 0;
	if (op->sub < SHIFT_ROL) {
		tr->host = FLAGS_CF | FLAGS_REST | (count == 1 ? FLAGS_OF : 0);
		if (must_store(tr))
			flags_stored(tr, (enum trans_flags)(TF_SHL + op->sub), op->size);
		return;
	}
	tr->host = (tr->host & FLAGS_REST) | FLAGS_CF | (count == 1 ? FLAGS_OF : 0);
	if (!must_store(tr))
		return;
	emit_store(tr->e, d, CPU_FIELD(lazy.rot_res));
	store16(tr, CPU_FIELD(lazy.rot),
		op->sub == SHIFT_ROL ? TF_ROL(op->size) : TF_ROR(op->size));
}

static void op_shift(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned count = shift_count(op), d;

	if (op->form == FORM_RR) {
		shift_by_cl(tr);
		return;
	}
	if (!count && op->size < 2)
		return;
	d = use(tr, first(op), H_S0);
	if (!count) {
		emit_move(tr->e, op->size, d, d);
		done(tr, first(op), d);
		return;
	}
	if (op->sub < SHIFT_ROL && must_store(tr)) {
		emit_store(tr->e, d, CPU_FIELD(lazy.a));
		emit_store_imm(tr->e, CPU_FIELD(lazy.b), (int32_t)count);
	}
	emit_rr(tr->e, op->size, emit_sized(0xc0, op->size), shift_digit[op->sub], d);
	emit8(tr->e, count);
	shift_stored(tr, d, count);
	done(tr, first(op), d);
}

static void op_imul(struct tr *tr)
{
	const struct op *op = tr->op;
	unsigned d, opcode = op->sub ? 0x69 : 0x0faf;

	if (op->form == FORM_RM) {
		struct host_mem m = op_probe(tr, op->size, false);

		d = use(tr, op->r0, H_S0);
		emit_rm(tr->e, op->size, opcode, d, m);
	} else {
		d = use(tr, op->r0, H_S0);
		emit_rr(tr->e, op->size, opcode, d, use(tr, op->r1, H_S1));
	}
	if (op->sub)
		emit_imm(tr->e, op->size, op->imm);
	tr->host = FLAGS_CF | FLAGS_OF;
	tr->type = 0;
	if (must_store(tr)) {
		emit_store(tr->e, d, CPU_FIELD(lazy.res));
		emit_rm(tr->e, 0, 0x0f90, 0, CPU_FIELD(lazy.b)); /* SETO */
		flags_stored(tr, TF_MUL, op->size);
	}
	done(tr, op->r0, d);
}

/*
 * Where it may fault, or the dividend is wider than the divisor (of IDIV, than the sign tells), the
 * handler does it.
 */
static void op_divide(struct tr *tr)
{
	const struct op *op = tr->op;
	struct emit *e = tr->e;
	unsigned d = H_S0;

	if (op->form == FORM_RM)
		emit_rm(e, op->size, 0x8b, H_S0, op_probe(tr, op->size, false));
	else
		d = use(tr, op->r0, H_S0);
	if (op->sub) {
		emit_move(e, op->size, H_S1, H_RAX);
		emit_rr(e, op->size, 0xc1, 7, H_S1); /* SAR */
		emit8(e, op->size == 3 ? 63 : 31);
		emit_rr(e, op->size, 0x39, H_RDX, H_S1); /* CMP */
		trans_cold(tr, emit_jcc(e, 5), COLD_CALL);
		/* Neither 0 nor -1. */
		emit_rm(e, op->size, 0x8d, H_S1, HOST_MEM(d, 1)); /* LEA */
		emit_alu_imm(e, ALU_CMP, op->size, H_S1, 1);
		trans_cold(tr, emit_jcc(e, 6), COLD_CALL);
	} else {
		emit_rr(e, op->size, 0x39, d, H_RDX);
		trans_cold(tr, emit_jcc(e, 3), COLD_CALL);
	}
	emit_rr(e, op->size, 0xf7, op->sub ? 7 : 6, d);
	tr->host = 0;
}

/* BSF and BSR; their flags are those of lazy_set_logic() as the handler calls it. */
static void op_scan(struct tr *tr)
{
	const struct op *op = tr->op;
	struct emit *e = tr->e;
	uint8_t *none;
	unsigned d;

	if (op->form == FORM_RM)
		emit_rm(e, op->size, 0x8b, H_S0, op_probe(tr, op->size, false));
	else
		emit_move(e, op->size, H_S0, use(tr, op->r1, H_S0));
	d = use(tr, op->r0, H_S1);
	emit_rr(e, op->size, 0x85, H_S0, H_S0); /* TEST */
	none = emit_jcc(e, 4);
	emit_rr(e, op->size, op->sub ? 0x0fbd : 0x0fbc, d, H_S0);
	emit_move(e, 2, H_S0, d);
	emit_alu_imm(e, ALU_OR, 2, H_S0, 256);
	emit_aim(none, e->at);
	emit_rr(e, 2, 0x85, H_S0, H_S0);
	tr->host = FLAGS_ALL;
	tr->type = 0;
	if (must_store(tr)) {
		emit_store(e, H_S0, CPU_FIELD(lazy.res));
		flags_stored(tr, TF_LOGIC, 2);
	}
	done(tr, op->r0, d);
}

/* ---- stack ---- */
static void op_push(struct tr *tr)
{
	struct host_mem m = trans_probe(tr, trans_stack_at(R_RSP, -8), 8, 1, true, COLD_CALL);

	if (tr->op->form == FORM_MI)
		emit_store_imm(tr->e, m, (int32_t)tr->op->imm);
	else
		emit_store(tr->e, use(tr, tr->op->r0, H_S0), m);
	trans_move_stack(tr, R_RSP, -8);
}

static void op_pop(struct tr *tr)
{
	struct host_mem m = trans_probe(tr, trans_stack_at(R_RSP, 0), 8, 1, false, COLD_CALL);

	emit_load(tr->e, H_S0, m);
	trans_move_stack(tr, R_RSP, 8);
	if (trans_reg[tr->op->r0] != H_NONE)
		emit_move(tr->e, 3, trans_reg[tr->op->r0], H_S0);
	done(tr, tr->op->r0, H_S0);
}

static void op_leave(struct tr *tr)
{
	struct host_mem m = trans_probe(tr, trans_stack_at(R_RBP, 0), 8, 1, false, COLD_CALL);

	emit_load(tr->e, H_S0, m);
	trans_move_stack(tr, R_RBP, 8);
	emit_move(tr->e, 3, trans_reg[R_RBP], H_S0);
}

static void op_nop(struct tr *tr)
{
}

/* ---- blocks ---- */
static void (*const op_code[])(struct tr *tr) = {
	[OPK_NOP] = op_nop,
	[OPK_MOV] = op_mov,
	[OPK_ALU] = op_alu,
	[OPK_ONE] = op_one,
	[OPK_MOVZX] = op_extend,
	[OPK_MOVSX] = op_extend,
	[OPK_LEA] = op_lea,
	[OPK_BSWAP] = op_bswap,
	[OPK_EXTEND_ACC] = op_extend_acc,
	[OPK_CMOV] = op_cmov,
	[OPK_SETCC] = op_setcc,
	[OPK_SHIFT] = op_shift,
	[OPK_IMUL] = op_imul,
	[OPK_DIVIDE] = op_divide,
	[OPK_SCAN] = op_scan,
	[OPK_PUSH] = op_push,
	[OPK_POP] = op_pop,
	[OPK_LEAVE] = op_leave,
	[OPK_JCC] = trans_jcc,
	[OPK_JMP] = trans_jmp,
	[OPK_JMP_TO] = trans_jmp_to,
	[OPK_CALL] = trans_near_call,
	[OPK_CALL_TO] = trans_near_call_to,
	[OPK_RET] = trans_near_ret,
	[OPK_SSE] = trans_sse_op,
};

static void one_op(struct tr *tr)
{
	unsigned from = tr->colds;

	if (!tr->own[tr->i] || (tr->op->flags & OPF_END))
		trans_sse_store(tr);
	if (tr->own[tr->i]) {
		op_code[tr->op->kind](tr);
	} else if (tr->op->flags & OPF_END) {
		trans_cold(tr, emit_jmp(tr->e), COLD_RESUME);
	} else {
		trans_name_op(tr, tr->i);
		trans_shared_call(tr, tr->t->shared.call);
		trans_sse_lost(tr);
		tr->host = tr->type = 0;
	}
	for (; from < tr->colds; from++) {
		if (tr->cold[from].kind != COLD_CALL && tr->cold[from].kind != COLD_HOLD)
			continue;
		tr->cold[from].back = tr->e->at;
		tr->cold[from].flags = tr->host;
		tr->cold[from].xmm_back = tr->xmm;
		tr->cold[from].mxcsr_back = tr->mxcsr;
	}
}

static void one_cold(struct tr *tr, struct cold *c)
{
	c->stub = tr->e->at;
	emit_aim(c->site, c->stub);
	tr->i = c->op;
	switch ((enum cold_kind)c->kind) {
	case COLD_CALL:
		trans_sse_leave(tr, c);
		trans_name_op(tr, c->op);
		trans_shared_call(tr, c->flags ? tr->t->shared.call_flags : tr->t->shared.call);
		trans_sse_back(tr, c);
		emit_aim(emit_jmp(tr->e), c->back);
		break;
	case COLD_RESUME:
		trans_sse_leave(tr, c);
		trans_name_op(tr, c->op);
		trans_shared_jump(tr, tr->t->shared.resume);
		break;
	case COLD_HOLD:
		trans_cold_hold(tr, c);
		break;
	case COLD_WORN:
		trans_cold_worn(tr, c);
		break;
	case COLD_FAR:
	case COLD_FAR_MISS:
	case COLD_FAR_CALL:
	case COLD_LINK:
	case COLD_FIND:
	case COLD_FIND_AGAIN:
		trans_cold_jump(tr, c);
		break;
	}
	if (c->kind == COLD_RESUME && c->way >= 0)
		tr->b->t.stub[c->way] = trans_offset_of(tr, c->stub);
}

/* Takes the block's instructions off what may run; returns the jump where that is too much. */
static uint8_t *block_head(struct tr *tr)
{
	tr->b->t.body = trans_offset_of(tr, tr->e->at);
	emit_alu_imm(tr->e, ALU_SUB, 2, H_LEFT, tr->b->n);
	return emit_jcc(tr->e, 8);
}

static void block_edge(struct tr *tr, uint8_t *site)
{
	emit_aim(site, tr->e->at);
	emit_alu_imm(tr->e, ALU_ADD, 2, H_LEFT, tr->b->n);
	tr->b->t.dead = trans_offset_of(tr, tr->e->at);
	trans_name_op(tr, 0);
	trans_shared_jump(tr, tr->t->shared.edge);
}

bool trans_emit_block(struct translator *t, struct block *b, struct emit *e)
{
	static _Thread_local struct tr tr;
	uint8_t *edge;

	tr.t = t;
	tr.b = b;
	tr.e = e;
	tr.host = tr.type = 0;
	tr.colds = tr.holds = 0;
	tr.xmm = tr.xmm_new = 0;
	tr.mxcsr = false;
	if (!plan(&tr))
		return false;
	edge = block_head(&tr);
	tr.i = 0;
	if (block_is_cross(b))
		trans_check_cross(&tr);
	for (tr.i = 0; tr.i < b->n && !e->full; tr.i++) {
		tr.op = block_op(b, tr.i);
		one_op(&tr);
	}
	if (!(block_op(b, b->n - 1u)->flags & OPF_END)) {
		trans_sse_store(&tr);
		trans_jump_on(&tr);
	}
	for (unsigned i = 0; i < tr.colds && !e->full; i++)
		one_cold(&tr, &tr.cold[i]);
	block_edge(&tr, edge);
	return !e->full;
}
