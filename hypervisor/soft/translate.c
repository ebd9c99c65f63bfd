/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translation of blocks to host code.
 *
 * What runs. Eleven guest registers are in host registers while translated code runs, the others in
 * cpu->gpr; translated blocks jump to one another. Handlers stay the one definition of semantics:
 * whatever the emitter does not know, and every access to memory that the TLB does not allow at
 * once, calls the op's handler, with cpu in the state that the interpreter would have it in. So
 * faults, restarts, slow memory and code that changes take the interpreter's own ways: a handler
 * that leaves by longjmp() leaves translated code with it, because nothing of the guest's state is
 * outside *cpu during the call.
 *
 * Where. Blocks are translated once for all linear addresses: a block knows its offset in the page,
 * and cpu->page_lin is the linear address of the page that runs. Jumps of known distance are
 * patched into the code (links); trans_jump.c has the others. A block in another page is entered
 * through the ITLB entry of its page, as ever.
 *
 * Counting. H_LEFT is cpu->chain_limit minus the count. Every block takes its instructions off
 * first and goes back to the run loop in front of itself (trans_edge()) when that is too much, as
 * block_enter() does. Where C code runs, cpu->count is made from it.
 *
 * Flags. An instruction whose flags may be looked at stores its operands (enum trans_flags), like
 * the lazy flags of the interpreter. They may be looked at where C code may run: there the emitter
 * has them stored. Between, host flags serve.
 *
 * Code memory is bounded. When it is full, all translations are dropped, and blocks that run are
 * translated again.
 */
#include "hypervisor/soft/translate.h"

#include <stdlib.h>

#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/trans_op.h"

/* More than any block needs. */
#define ROOM (64u << 10)

const uint8_t trans_reg[16] = {
	[R_RAX] = H_RAX, [R_RCX] = H_RCX, [R_RDX] = H_RDX, [R_RBX] = H_RBX,
	[R_RSP] = H_R11, [R_RBP] = H_R12, [R_RSI] = H_RSI, [R_RDI] = H_RDI,
	[8] = H_R8,	 [9] = H_R9,	  [10] = H_R10,	   [11] = H_NONE,
	[12] = H_NONE,	 [13] = H_NONE,	  [14] = H_NONE,   [15] = H_NONE,
};

static const uint8_t callee_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

/* ---- flags ---- */
static uint64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned unused = 64 - (8u << size);

	return (uint64_t)((int64_t)(v << unused) >> unused);
}

static void settle_base(struct cpu *cpu)
{
	struct lazy_flags *l = &cpu->lazy;
	unsigned kind = (l->type - LAZY_HOST) / 4, size = (l->type - LAZY_HOST) % 4;

	l->a = sign_extend(l->a, size);
	l->b = sign_extend(kind >= TF_SHL ? l->b & (size == 3 ? 63 : 31) : l->b, size);
	l->res = sign_extend(l->res, size);
	switch (kind) {
	case TF_ADD_R:
		l->a = sign_extend(l->res - l->b, size);
		l->type = LAZY_ADD;
		break;
	case TF_SUB_R:
		l->a = sign_extend(l->res + l->b, size);
		l->type = LAZY_SUB;
		break;
	case TF_ADD:
		l->res = sign_extend(l->a + l->b, size);
		l->type = LAZY_ADD;
		break;
	case TF_SUB:
		l->res = sign_extend(l->a - l->b, size);
		l->type = LAZY_SUB;
		break;
	case TF_LOGIC:
		l->type = LAZY_LOGIC;
		break;
	case TF_TEST:
		l->res = l->a & l->b;
		l->type = LAZY_LOGIC;
		break;
	case TF_MUL:
		mul_flags(cpu, (int64_t)l->res, l->b & 1);
		break;
	default:
		shift_flags(cpu, (enum shift_op)(kind - TF_SHL), size, l->a, (unsigned)l->b);
	}
}

/* Makes what translated code left in cpu->lazy what flags.h knows. */
static void trans_settle(struct cpu *cpu)
{
	struct lazy_flags *l = &cpu->lazy;

	if (l->type == TF_TYPE(TF_HOST, 0))
		flags_set_arith(cpu, (uint32_t)l->res);
	else if (l->type >= LAZY_HOST)
		settle_base(cpu);
	if (l->rot) {
		unsigned top = (8u << (l->rot >> 1 & 3)) - 1;

		flags_set_cf(cpu, l->rot_res >> (l->rot & 8 ? top : 0) & 1);
		l->rot = 0;
	}
	if (l->inc) {
		unsigned size = l->inc >> 1 & 3, dec = l->inc >> 3;
		uint64_t before = l->inc_res + (dec ? 1 : UINT64_MAX);

		lazy_set(cpu, dec ? LAZY_DEC : LAZY_INC, (int64_t)sign_extend(l->inc_res, size),
			 (int64_t)sign_extend(before, size), flags_cf(cpu));
		l->inc = 0;
	}
}

/* ---- from translated code to C; `left` is H_LEFT ---- */
/* The state that the interpreter has inside block b, in front of op i. */
static void stand_in(struct cpu *cpu, struct block *b, const struct op *op, uint32_t left)
{
	trans_settle(cpu);
	cpu->count = cpu->chain_limit - (uint64_t)(int32_t)left - b->n;
	cpu->gpr[REG_RIPBASE] = cpu->page_lin | (b->gpa & ~PAGE_MASK);
	cpu->rip = cpu->gpr[REG_RIPBASE] + b->bytes;
	cpu->block = b;
	cpu->op = op;
}

/* Translated code is left, and everything up to `count` has been executed in it. */
static void count_translated(struct cpu *cpu, uint64_t count)
{
	cpu->stats.in_code += count - cpu->code_from;
	cpu->code_from = count;
}

static uint64_t trans_call(struct cpu *cpu, struct block *b, unsigned i, uint32_t left)
{
	cpu->call[0] = *block_op(b, i);
	stand_in(cpu, b, cpu->call, left);
	count_translated(cpu, cpu->count + i);
	cpu->call[0].fn(cpu, cpu->call);
	return 0;
}

static uint64_t trans_call_flags(struct cpu *cpu, struct block *b, unsigned i, uint32_t left)
{
	trans_call(cpu, b, i, left);
	return flags_arith(cpu) | FL_ONE;
}

static uint64_t trans_load_flags(struct cpu *cpu)
{
	trans_settle(cpu);
	return flags_arith(cpu) | FL_ONE;
}

static uint8_t *code_at(const struct translator *t, uint32_t off)
{
	return t->code.rw + off;
}

static const uint8_t nop5[5] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

static void link_to(struct translator *t, struct block *b, enum block_way way, struct block *to)
{
	emit_aim(code_at(t, b->t.site[way]), code_at(t, to->t.body));
	if (b->t.page[way]) {
		uint32_t page = (uint32_t)(to->gpa >> PAGE_SHIFT);

		memcpy(code_at(t, b->t.page[way]), &page, sizeof(page));
	}
	if (b->t.gate[way])
		memcpy(code_at(t, b->t.gate[way]), nop5, sizeof(nop5));
	b->t.linked[way] = true;
	b->t.from[way] = to->t.into;
	b->t.from_way[way] = to->t.into_way;
	to->t.into = b;
	to->t.into_way = (uint8_t)way;
}

/* Lets b jump to the block that follows it that way in its page, when both are translated. */
static void link_way(struct translator *t, struct block *b, enum block_way way)
{
	struct block *to = b->link[way].to;

	if (!b->t.site[way] || b->t.linked[way] || b->t.page[way] || to->mode != b->mode ||
	    !to->t.body || (to->gpa & ~PAGE_MASK) != b->t.target[way] ||
	    ((to->gpa ^ b->gpa) & PAGE_MASK))
		return;
	link_to(t, b, way, to);
}

static void unlink_way(struct translator *t, struct block *b, unsigned way)
{
	if (b->t.gate[way]) {
		*code_at(t, b->t.gate[way]) = 0xe9;
		emit_aim(code_at(t, b->t.gate[way]) + 1, code_at(t, b->t.stub[way]));
	} else {
		emit_aim(code_at(t, b->t.site[way]), code_at(t, b->t.stub[way]));
	}
	b->t.linked[way] = false;
}

/* Goes on with op i of block b in the interpreter. */
static void trans_resume(struct cpu *cpu, struct block *b, unsigned i, uint32_t left)
{
	/* The first one with the check that stands before it, where it goes through two pages. */
	const struct op *op = i ? block_op(b, i) : b->op;

	if (i + 1u >= b->n) {
		link_way(cpu->trans, b, BLOCK_ON);
		link_way(cpu->trans, b, BLOCK_TAKEN);
	}
	stand_in(cpu, b, op, left);
	count_translated(cpu, cpu->count + i);
	op->fn(cpu, op);
}

/* Gives a hold up: from now on the place probes the TLB each time. */
static void give_hold_up(struct translator *t, const struct trans_place *p)
{
	*code_at(t, p->start) = 0xe9;
	emit_aim(code_at(t, p->start) + 1, code_at(t, p->probe));
	*code_at(t, p->fill) = 0xe9;
	emit_aim(code_at(t, p->fill) + 1, code_at(t, p->found));
}

/*
 * Resumes like trans_resume(), at a place whose hold has missed often; `at`: where it is described.
 */
static void trans_worn(struct cpu *cpu, struct block *b, unsigned i_at, uint32_t left)
{
	struct translator *t = cpu->trans;
	uint64_t now = cpu->chain_limit - (uint64_t)(int32_t)left,
		 *then = &t->worn[t->worn_next++ % HOLD_EVENTS];
	struct trans_place p;

	memcpy(&p, code_at(t, i_at >> 8), sizeof(p));
	if (now - *then < HOLD_WEAR)
		give_hold_up(t, &p);
	*then = now;
	cpu->hold[p.hold].left = HOLD_MISSES;
	trans_resume(cpu, b, i_at & 0xff, left);
}

/*
 * Links a jump to another page, which is op i, that way, if that can be done; comes in front of the
 * jump.
 */
static void trans_link(struct cpu *cpu, struct block *b, unsigned i_way, uint32_t left)
{
	unsigned i = i_way & 0xff, way = i_way >> 8;
	uint64_t off = way == BLOCK_TAKEN ? block_op(b, i)->imm : b->bytes;
	struct block *to = block_hit(cpu, cpu->page_lin + (b->gpa & ~PAGE_MASK) + off);

	if (to && to->t.body)
		link_to(cpu->trans, b, (enum block_way)way, to);
	trans_resume(cpu, b, i, left);
}

/* Back to the run loop in front of block b. */
static void trans_edge(struct cpu *cpu, struct block *b, unsigned i, uint32_t left)
{
	trans_settle(cpu);
	cpu->count = cpu->chain_limit - (uint64_t)(int32_t)left;
	count_translated(cpu, cpu->count);
	cpu->rip = cpu->gpr[REG_RIPBASE] = cpu->page_lin | (b->gpa & ~PAGE_MASK);
	cpu->block = cpu->blocks->edge;
	cpu->op = NULL;
}

/* ---- shared code ---- */
static void emit_registers(struct emit *e, bool store)
{
	for (unsigned g = 0; g < 16; g++) {
		if (trans_reg[g] != H_NONE)
			emit_rm(e, 3, store ? 0x89 : 0x8b, trans_reg[g], CPU_GPR(g));
	}
}

static void emit_push(struct emit *e, unsigned reg)
{
	emit_op(e, 2, 0x50 | (reg & 7), 0, 0, reg);
}

static void emit_pop(struct emit *e, unsigned reg)
{
	emit_op(e, 2, 0x58 | (reg & 7), 0, 0, reg);
}

static void emit_ret(struct emit *e)
{
	emit8(e, 0xc3);
}

#define HOST_FRAME 24 /* slots for translated code, and alignment */

/* op_fn: cpu->block is entered; its count, RIP and so on are set. */
static void emit_enter(struct emit *e)
{
	for (unsigned i = 0; i < sizeof(callee_saved); i++)
		emit_push(e, callee_saved[i]);
	emit_alu_imm(e, ALU_SUB, 3, H_RSP, HOST_FRAME);
	emit_move(e, 3, H_CPU, H_RDI);
	emit_load(e, H_LEFT, CPU_FIELD(chain_limit));
	emit_load(e, H_S0, CPU_FIELD(count));
	emit_rr(e, 3, 0x29, H_S0, H_LEFT); /* SUB */
	emit_store(e, H_S0, CPU_FIELD(code_from));
	emit_load(e, H_S0, CPU_GPR(REG_RIPBASE));
	emit_alu_imm(e, ALU_AND, 3, H_S0, -(int32_t)PAGE_SIZE);
	emit_store(e, H_S0, CPU_FIELD(page_lin));
	emit_load(e, H_S1, CPU_FIELD(block));
	emit_load(e, H_S1, HOST_MEM(H_S1, offsetof(struct block, t.run)));
	emit_registers(e, false);
	emit_rr(e, 2, 0xff, 4, H_S1); /* JMP */
}

static void emit_leave(struct emit *e)
{
	emit_alu_imm(e, ALU_ADD, 3, H_RSP, HOST_FRAME);
	for (unsigned i = sizeof(callee_saved); i-- > 0;)
		emit_pop(e, callee_saved[i]);
}

/* Block in H_S0, index in H_S1. */
static void emit_arguments(struct emit *e)
{
	emit_registers(e, true);
	emit_move(e, 3, H_RDI, H_CPU);
	emit_move(e, 3, H_RSI, H_S0);
	emit_move(e, 2, H_RDX, H_S1);
	emit_move(e, 2, H_RCX, H_LEFT);
}

typedef uint64_t (*trans_fn)(struct cpu *cpu, struct block *b, unsigned i, uint32_t left);
typedef void (*trans_tail_fn)(struct cpu *cpu, struct block *b, unsigned i, uint32_t left);

static void emit_call_c(struct emit *e, uintptr_t fn, bool flags)
{
	emit_arguments(e);
	emit_alu_imm(e, ALU_SUB, 3, H_RSP, 8);
	emit_move_imm(e, H_RAX, fn);
	emit_rr(e, 2, 0xff, 2, H_RAX);
	emit_alu_imm(e, ALU_ADD, 3, H_RSP, 8);
	if (flags)
		emit_move(e, 3, H_S0, H_RAX);
	emit_registers(e, false);
	if (flags) {
		emit_push(e, H_S0);
		emit8(e, 0x9d); /* POPF */
	}
	emit_ret(e);
}

/* The guest's flags of that type become the host's; a and b are in cpu->lazy, or res is. */
static void emit_flags_of(struct emit *e, enum trans_flags kind, unsigned size)
{
	static const uint8_t opcode[] = { [TF_ADD] = 0x02, [TF_SUB] = 0x3a, [TF_TEST] = 0x84 };
	uint8_t *other;

	emit_alu_imm(e, ALU_CMP, 3, H_S0, (int32_t)TF_TYPE(kind, size));
	other = emit_jcc(e, 5);
	if (kind == TF_LOGIC) {
		emit_load(e, H_S0, CPU_FIELD(lazy.res));
		emit_rr(e, size, emit_sized(0x84, size), H_S0, H_S0);
	} else {
		emit_load(e, H_S0, CPU_FIELD(lazy.a));
		emit_rm(e, size, emit_sized(opcode[kind], size), H_S0, CPU_FIELD(lazy.b));
	}
	emit_ret(e);
	emit_aim(other, e->at);
}

/*
 * The guest's flags become the host's: by the instruction that made them once more, where that is
 * one of the common ones and none came after that changes some of them. Changes H_S0.
 */
static void emit_flags(struct emit *e)
{
	static const enum trans_flags common[] = { TF_SUB, TF_TEST, TF_LOGIC, TF_ADD };

	/* With lazy.inc and lazy.rot. */
	emit_load(e, H_S0, CPU_FIELD(lazy.type));
	for (unsigned i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		emit_flags_of(e, common[i], 2);
		emit_flags_of(e, common[i], 3);
		emit_flags_of(e, common[i], 0);
		emit_flags_of(e, common[i], 1);
	}
	emit_call_c(e, (uintptr_t)trans_load_flags, true);
}

static void emit_tail(struct emit *e, trans_tail_fn fn)
{
	emit_arguments(e);
	emit_leave(e);
	emit_move_imm(e, H_RAX, (uintptr_t)fn);
	emit_rr(e, 2, 0xff, 4, H_RAX);
}

static void emit_found(struct emit *e)
{
	emit_pop(e, H_RCX);
	emit_pop(e, H_RAX);
	emit_ret(e);
}

/* The ITLB entry of the address in H_S0: its `gpa` to H_S1. Jumps when the ITLB does not have it.
 */
static uint8_t *emit_itlb(struct emit *e, bool user)
{
	uint8_t *miss;

	emit_move(e, 2, H_RCX, H_S0);
	emit_rr(e, 2, 0xc1, 5, H_RCX);
	emit8(e, PAGE_SHIFT);
	emit_alu_imm(e, ALU_AND, 2, H_RCX, TLB_SIZE - 1);
	emit_rr(e, 2, 0xc1, 4, H_RCX);
	emit8(e, 4);
	emit_move(e, 3, H_S1, H_S0);
	emit_alu_imm(e, ALU_AND, 3, H_S1, -(int32_t)PAGE_SIZE);
	emit_rr(e, 3, 0x01, H_CPU, H_RCX);
	emit_rm(e, 3, 0x3b, H_S1,
		HOST_MEM(H_RCX, (int32_t)offsetof(struct cpu, itlb[user][0].tag)));
	miss = emit_jcc(e, 5);
	emit_load(e, H_S1, HOST_MEM(H_RCX, (int32_t)offsetof(struct cpu, itlb[user][0].gpa)));
	return miss;
}

/*
 * block_hit() for the address in H_S0, in the mode that runs: leaves its entry of the jump cache in
 * H_S1, which now has the block's code and the present key, or 0 when it is not at hand or not
 * translated. Changes host flags. The code of a block that is void by now leads back to the run
 * loop.
 */
static void emit_lookup(struct emit *e, bool user)
{
	uint8_t *miss[5];

	emit_push(e, H_RAX);
	emit_push(e, H_RCX);
	trans_jump_entry(e, H_RAX);
	emit_rm(e, 3, 0x3b, H_S0, HOST_MEM(H_RAX, offsetof(struct jump_entry, lin)));
	miss[0] = emit_jcc(e, 5);
	miss[1] = emit_itlb(e, user);
	emit_load(e, H_RCX, HOST_MEM(H_RAX, offsetof(struct jump_entry, b)));
	emit_rm(e, 3, 0x33, H_S1, HOST_MEM(H_RCX, offsetof(struct block, gpa)));
	emit_alu_imm(e, ALU_AND, 3, H_S1, -(int32_t)PAGE_SIZE);
	miss[2] = emit_jcc(e, 5);
	emit_rm(e, 2, 0x8b, H_S1, CPU_FIELD(mode));
	emit_rm(e, 2, 0x3b, H_S1, HOST_MEM(H_RCX, offsetof(struct block, mode)));
	miss[3] = emit_jcc(e, 5);
	emit_load(e, H_S1, HOST_MEM(H_RCX, offsetof(struct block, t.run)));
	emit_rr(e, 3, 0x85, H_S1, H_S1); /* TEST */
	miss[4] = emit_jcc(e, 4);
	emit_store(e, H_S1, HOST_MEM(H_RAX, offsetof(struct jump_entry, run)));
	emit_load(e, H_S1, CPU_FIELD(jump_key));
	emit_store(e, H_S1, HOST_MEM(H_RAX, offsetof(struct jump_entry, key)));
	emit_move(e, 3, H_S1, H_RAX);
	emit_found(e);

	for (unsigned i = 0; i < 5; i++)
		emit_aim(miss[i], e->at);
	emit_rr(e, 2, 0x31, H_S1, H_S1);
	emit_found(e);
}

_Static_assert(MODE_64 &&MODE_COUNTS < PAGE_SIZE,
	       "a key has the mode at its lower end, and is never 0");
_Static_assert(sizeof(struct jump_entry) == 32 && sizeof(struct itlb_entry) == 16, "shifts");
_Static_assert(CODE_MEMORY <= 1u << 24 && BLOCK_OPS < 256, "an offset and an op in 32 bits");
_Static_assert(offsetof(struct block_cache, jump) == 0, "found from cpu->blocks");

static void emit_shared(struct translator *t)
{
	struct emit e = { .at = t->code.rw + 64, .end = t->code.rw + ROOM };

#define HERE ((uint32_t)(e.at - t->code.rw))
	t->shared.enter = HERE;
	emit_enter(&e);
	t->shared.call = HERE;
	emit_call_c(&e, (uintptr_t)trans_call, false);
	t->shared.call_flags = HERE;
	emit_call_c(&e, (uintptr_t)trans_call_flags, true);
	t->shared.flags = HERE;
	emit_flags(&e);
	t->shared.resume = HERE;
	emit_tail(&e, trans_resume);
	t->shared.worn = HERE;
	emit_tail(&e, trans_worn);
	t->shared.link = HERE;
	emit_tail(&e, trans_link);
	t->shared.edge = HERE;
	emit_tail(&e, trans_edge);
	for (unsigned user = 0; user < 2; user++) {
		t->shared.lookup[user] = HERE;
		emit_lookup(&e, user);
	}
	t->start = t->used = (HERE + 63u) & ~63u;
#undef HERE
}

/* ---- blocks ---- */
static void enter_translated(struct cpu *cpu, struct block *b)
{
	const struct translator *t = cpu->trans;
	op_fn enter;
	uintptr_t at = (uintptr_t)(t->code.rx + t->shared.enter);

	memcpy(&enter, &at, sizeof(enter));
	b->enter = enter;
	b->t.run = t->code.rx + b->t.body;
}

static void untranslated(struct block *b, op_fn enter)
{
	b->enter = enter;
	b->t = (struct block_code){ .heat = b->t.heat };
}

static void op_heat(struct cpu *cpu, const struct op *op);

/* Drops all translations; their blocks stay. None runs. */
static void drop_code(struct cpu *cpu)
{
	for (struct block *b = NULL; (b = block_each(cpu->blocks, b));) {
		if (b->t.body)
			untranslated(b, op_heat);
	}
	for (unsigned i = 0; i < JUMP_SIZE; i++)
		cpu->blocks->jump[i].key = 0;
	cpu->trans->used = cpu->trans->start;
	cpu->stats.code_dropped++;
}

static void translate(struct cpu *cpu, struct block *b)
{
	struct translator *t = cpu->trans;
	struct emit e;

	if (t->used + ROOM > CODE_MEMORY)
		drop_code(cpu);
	e = (struct emit){ .at = t->code.rw + t->used, .end = t->code.rw + CODE_MEMORY };
	b->enter = b->op[0].fn;
	if (!trans_emit_block(t, b, &e) || e.full) {
		untranslated(b, b->op[0].fn);
		return;
	}
	t->used = ((size_t)(e.at - t->code.rw) + 15) & ~(size_t)15;
	cpu->stats.translated++;
	if (t->used > cpu->stats.code_bytes)
		cpu->stats.code_bytes = t->used;
	enter_translated(cpu, b);
}

/* Stands before the first op of a block that may become hot. */
static void op_heat(struct cpu *cpu, const struct op *op)
{
	struct block *b = (struct block *)cpu->block;

	if (++b->t.heat >= cpu->trans->heat) {
		translate(cpu, b);
		b->enter(cpu, op);
		return;
	}
	op->fn(cpu, op);
}

void trans_block_made(struct cpu *cpu, struct block *b)
{
	b->t = (struct block_code){ 0 };
	b->enter = b->op[0].fn;
	if (cpu->trans && (b->mode & MODE_SIZE) == MODE_64)
		b->enter = op_heat;
}

void trans_block_killed(struct cpu *cpu, struct block *b)
{
	struct translator *t = cpu->trans;
	struct block *from = b->t.into;
	unsigned way = b->t.into_way;

	if (!b->t.body)
		return;
	while (from) {
		struct block *next = from->t.from[way];
		unsigned next_way = from->t.from_way[way];

		unlink_way(t, from, way);
		from = next;
		way = next_way;
	}
	b->t.into = NULL;
	*code_at(t, b->t.body) = 0xe9;
	emit_aim(code_at(t, b->t.body) + 1, code_at(t, b->t.dead));
}

void trans_forget(struct cpu *cpu)
{
	if (cpu->trans)
		cpu->trans->used = cpu->trans->start;
}

const struct op *trans_original(const struct cpu *cpu, const struct op *op)
{
	return op == cpu->call && cpu->block ? block_op(cpu->block, op->index_in_block) : op;
}

struct translator *trans_create(struct cpu *cpu, unsigned heat)
{
	struct translator *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	if (code_take(&t->code) < 0) {
		free(t);
		return NULL;
	}
	t->heat = heat ? heat : TRANSLATE_HEAT;
	for (unsigned i = 0; i < HOLDS; i++)
		cpu->hold[i] = (struct hold){ .tag = HOLD_NONE, .left = HOLD_MISSES };
	cpu->call[1].fn = op_block_end;
	emit_shared(t);
	return t;
}

void trans_destroy(struct translator *t)
{
	if (!t)
		return;
	code_free(&t->code);
	free(t);
}
