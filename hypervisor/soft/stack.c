/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH POP PUSHA POPA ENTER LEAVE. The stack pointer moves when nothing can fault any more. */
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/stack.h"

/* Operand at a size known at run time: 2, 4 or 8 bytes. */
static uint64_t load_operand(struct cpu *cpu, const struct op *op)
{
	uint64_t lin = op_lin(cpu, op, op->osize, false);

	if (op->osize == 8)
		return mem_ld64(cpu, lin);
	return op->osize == 4 ? mem_ld32(cpu, lin) : mem_ld16(cpu, lin);
}

static void set_sized(struct cpu *cpu, unsigned r, unsigned size, uint64_t v)
{
	if (size == 2)
		set_reg16(cpu, r, (uint16_t)v);
	else
		cpu->gpr[r] = size == 4 ? (uint32_t)v : v;
}

/* ---- 64-bit mode, 64-bit operands ---- */
#define PUSH64(name, value)                                        \
	OP_COLD(name##_slow)                                       \
	{                                                          \
		uint64_t v = (value), sp = cpu->gpr[R_RSP] - 8;    \
                                                                   \
		mem_st64(cpu, sp, v);                              \
		cpu->gpr[R_RSP] = sp;                              \
		OP_NEXT;                                           \
	}                                                          \
	OP(name)                                                   \
	{                                                          \
		uint64_t v = (value), sp = cpu->gpr[R_RSP] - 8;    \
		void *host;                                        \
                                                                   \
		if (unlikely(!host_at(cpu, sp, 8, true, &host))) { \
			name##_slow(cpu, op);                      \
			return;                                    \
		}                                                  \
		host_set64(host, v);                               \
		cpu->gpr[R_RSP] = sp;                              \
		OP_NEXT;                                           \
	}

PUSH64(push64_r, cpu->gpr[op->r0])
PUSH64(push64_i, op->imm)

OP(push64_m)
{
	uint64_t v = OP_LOAD(64), sp = cpu->gpr[R_RSP] - 8;

	mem_st64(cpu, sp, v);
	cpu->gpr[R_RSP] = sp;
	OP_NEXT;
}

OP_COLD(pop64_r_slow)
{
	uint64_t sp = cpu->gpr[R_RSP];
	uint64_t v = mem_ld64(cpu, sp);

	cpu->gpr[R_RSP] = sp + 8;
	cpu->gpr[op->r0] = v;
	OP_NEXT;
}

OP(pop64_r)
{
	uint64_t sp = cpu->gpr[R_RSP];
	void *host;

	if (unlikely(!host_at(cpu, sp, 8, false, &host))) {
		pop64_r_slow(cpu, op);
		return;
	}
	cpu->gpr[R_RSP] = sp + 8;
	cpu->gpr[op->r0] = host_get64(host);
	OP_NEXT;
}

OP(leave64)
{
	uint64_t sp = cpu->gpr[R_RBP];

	cpu->gpr[R_RBP] = mem_ld64(cpu, sp);
	cpu->gpr[R_RSP] = sp + 8;
	OP_NEXT;
}

/* ---- every other width ---- */
OP(push_r)
{
	stack_push(cpu, op->osize, cpu->gpr[op->r0]);
	OP_NEXT;
}

OP(push_i)
{
	stack_push(cpu, op->osize, op->imm);
	OP_NEXT;
}

OP(push_m)
{
	stack_push(cpu, op->osize, load_operand(cpu, op));
	OP_NEXT;
}

OP(pop_r)
{
	uint64_t v = stack_load(cpu, stack_ptr(cpu, 0), op->osize);

	stack_set(cpu, stack_ptr(cpu, op->osize));
	set_sized(cpu, op->r0, op->osize, v);
	OP_NEXT;
}

static bool stack_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* The stack is read first, so its #SS comes before what is wrong with the destination. */
static void check_stack_top(struct cpu *cpu, uint64_t sp, unsigned size)
{
	if (!stack_is_64(cpu))
		return;
	if (!stack_canonical(sp))
		cpu_raise(cpu, VEC_SS, 0);
	mem_check_alignment(cpu, sp, size);
	if (!stack_canonical(sp + size - 1))
		cpu_raise(cpu, VEC_SS, 0);
}

/*
 * An address based on the stack pointer is computed with the pointer after the POP (SDM vol. 2,
 * POP).
 */
OP(pop_m)
{
	uint64_t top = stack_ptr(cpu, 0), sp = stack_ptr(cpu, op->osize), v, lin;
	struct op at = *op;

	check_stack_top(cpu, top, op->osize);
	v = stack_load(cpu, top, op->osize);
	if (op->base == R_RSP)
		at.disp += (int64_t)(sp - top);
	lin = op_lin(cpu, &at, op->osize, true);
	if (op->osize == 8)
		mem_st64(cpu, lin, v);
	else if (op->osize == 4)
		mem_st32(cpu, lin, (uint32_t)v);
	else
		mem_st16(cpu, lin, (uint16_t)v);
	stack_set(cpu, sp);
	OP_NEXT;
}

OP(leave)
{
	uint64_t bp = cpu->gpr[R_RBP] & stack_mask(cpu);
	uint64_t v = stack_load(cpu, bp, op->osize);

	stack_set(cpu, bp + op->osize);
	set_sized(cpu, R_RBP, op->osize, v);
	OP_NEXT;
}

/* Eight stores: a fault in one of them leaves those before it in memory, and eSP where it was. */
OP(pusha)
{
	for (unsigned i = 0; i < 8; i++)
		stack_store(cpu, stack_ptr(cpu, -(int64_t)op->osize * (i + 1)), op->osize,
			    cpu->gpr[i]);
	stack_set(cpu, stack_ptr(cpu, -(int64_t)op->osize * 8));
	OP_NEXT;
}

/* Eight loads: a fault leaves the registers before it loaded, and eSP where it was. */
OP(popa)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = stack_load(cpu, stack_ptr(cpu, (int64_t)op->osize * i), op->osize);

		if (7 - i != R_RSP)
			set_sized(cpu, 7 - i, op->osize, v);
	}
	stack_set(cpu, stack_ptr(cpu, (int64_t)op->osize * 8));
	OP_NEXT;
}

/*
 * SDM vol. 2, ENTER: op->imm bytes of locals, op->extra nesting levels. The frame pointer is all of
 * eSP, also of a 16-bit stack, where only SP has moved.
 */
OP(enter)
{
	unsigned size = op->osize;
	uint64_t sp = stack_ptr(cpu, -(int64_t)size), bp = cpu->gpr[R_RBP];
	uint64_t frame = (cpu->gpr[R_RSP] & ~stack_mask(cpu)) | sp;

	if (op->extra)
		cpu_need_alone(cpu); /* it may load what it has stored */
	stack_store(cpu, sp, size, cpu->gpr[R_RBP]);
	for (unsigned i = 1; i <= op->extra; i++) {
		uint64_t v = frame;

		if (i < op->extra) {
			bp -= size;
			v = stack_load(cpu, bp & stack_mask(cpu), size);
		}
		sp = (sp - size) & stack_mask(cpu);
		stack_store(cpu, sp, size, v);
	}
	sp = (sp - op->imm) & stack_mask(cpu);
	mem_probe_write(cpu, stack_lin(cpu, sp, size, true), size);
	stack_set(cpu, sp);
	set_sized(cpu, R_RBP, size, frame);
	OP_NEXT;
}

/* ---- binders ---- */
static bool is_wide(const struct decoded *d, const struct op *op)
{
	return (d->mode & MODE_SIZE) == MODE_64 && op->osize == 8;
}

static bool bind_push(const struct decoded *d, struct op *op, uintptr_t arg)
{
	bool wide = is_wide(d, op);

	if (wide && !opnd_is_mem(d, 0))
		op_form(op, OPK_PUSH, 0, opnd_is_imm(d, 0) ? FORM_MI : FORM_MR, 3, 0, 0);
	if (int_is_gpr(d, 0))
		return int_pick(op, wide ? push64_r : push_r);
	if (opnd_is_imm(d, 0))
		return int_pick(op, wide ? push64_i : push_i);
	return opnd_is_mem(d, 0) && int_pick(op, wide ? push64_m : push_m);
}

static bool bind_pop(const struct decoded *d, struct op *op, uintptr_t arg)
{
	if (int_is_gpr(d, 0) && is_wide(d, op))
		op_form(op, OPK_POP, 0, FORM_RM, 3, 0, 0);
	if (int_is_gpr(d, 0))
		return int_pick(op, is_wide(d, op) ? pop64_r : pop_r);
	return opnd_is_mem(d, 0) && int_pick(op, pop_m);
}

enum { STACK_PUSHA, STACK_POPA, STACK_ENTER, STACK_LEAVE, STACK_COUNT };

static bool bind_stack(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[STACK_COUNT] = {
		[STACK_PUSHA] = pusha,
		[STACK_POPA] = popa,
		[STACK_ENTER] = enter,
		[STACK_LEAVE] = leave,
	};

	if (arg == STACK_ENTER) {
		op->imm = d->opnd[0].imm.value.u & 0xffff;
		op->extra = d->opnd[1].imm.value.u & 31;
	}
	if (arg == STACK_LEAVE && is_wide(d, op)) {
		op_form(op, OPK_LEAVE, 0, FORM_RM, 3, 0, 0);
		return int_pick(op, leave64);
	}
	return int_pick(op, fn[arg]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_PUSH, bind_push, 0 },
	{ ZYDIS_MNEMONIC_POP, bind_pop, 0 },
	{ ZYDIS_MNEMONIC_PUSHA, bind_stack, STACK_PUSHA },
	{ ZYDIS_MNEMONIC_PUSHAD, bind_stack, STACK_PUSHA },
	{ ZYDIS_MNEMONIC_POPA, bind_stack, STACK_POPA },
	{ ZYDIS_MNEMONIC_POPAD, bind_stack, STACK_POPA },
	{ ZYDIS_MNEMONIC_ENTER, bind_stack, STACK_ENTER },
	{ ZYDIS_MNEMONIC_LEAVE, bind_stack, STACK_LEAVE },
};

BINDING_TABLE(stack_bindings, rows);
