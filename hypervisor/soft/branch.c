/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near branches: Jcc JMP CALL RET LOOPcc JCXZ. Far ones are in the system instructions.
 *
 * Direct targets are kept relative to the block's RIP base: in op->imm the target's, and in
 * op->disp the following instruction's. In 64-bit mode a target that is not canonical is #GP at the
 * branch; elsewhere the target is cut to the operand size and checked against the limit of CS.
 * Faults come before anything is stored, but for the return address of CALL in 64-bit mode.
 */
#include "hypervisor/soft/block.h"
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/stack.h"

static inline uint64_t target_check64(struct cpu *cpu, uint64_t target)
{
	if (unlikely((uint64_t)((int64_t)(target << 16) >> 16) != target))
		cpu_raise(cpu, VEC_GP, 0);
	return target;
}

/* Cuts a branch's target to the operand size and checks it, in any mode. */
static uint64_t target_check(struct cpu *cpu, const struct op *op, uint64_t target)
{
	if ((cpu->mode & MODE_SIZE) == MODE_64)
		return target_check64(cpu, op->osize == 2 ? (uint16_t)target : target);
	target = op->osize == 2 ? (uint16_t)target : (uint32_t)target;
	if ((cpu->mode & MODE_SEGCHECK) && target > cpu->seg[SEG_CS].limit)
		cpu_raise(cpu, VEC_GP, 0);
	return target;
}

static inline uint64_t target_direct(const struct cpu *cpu, const struct op *op)
{
	return cpu->gpr[REG_RIPBASE] + op->imm;
}

static inline uint64_t target_next(const struct cpu *cpu, const struct op *op)
{
	return cpu->gpr[REG_RIPBASE] + (uint64_t)op->disp;
}

/* Return address or fall-through, at the width of RIP in this mode. */
static inline uint64_t next_rip(const struct cpu *cpu, const struct op *op)
{
	uint64_t rip = op_next_rip(cpu, op);

	return (cpu->mode & MODE_SIZE) == MODE_64 ? rip : (uint32_t)rip;
}

static void branch_if(struct cpu *cpu, const struct op *op, bool taken)
{
	cpu->branched = taken;
	cpu->rip = taken ? target_check(cpu, op, target_direct(cpu, op)) : next_rip(cpu, op);
}

/* ---- Jcc ---- */
#define JCC64(suffix, code, expr)                                               \
	OP(j##suffix##_64)                                                      \
	{                                                                       \
		if (expr) {                                                     \
			cpu->rip = target_check64(cpu, target_direct(cpu, op)); \
			block_chain(cpu, BLOCK_TAKEN);                          \
		} else {                                                        \
			cpu->rip = target_next(cpu, op);                        \
			block_chain(cpu, BLOCK_ON);                             \
		}                                                               \
		OP_EXIT;                                                        \
	}

FLAGS_CONDITIONS(JCC64)

#define JCC64_ENTRY(suffix, code, expr) [code] = j##suffix##_64,

static const op_fn jcc64_fn[16] = { FLAGS_CONDITIONS(JCC64_ENTRY) };

OP(jcc)
{
	branch_if(cpu, op, flags_cond(cpu, op->cc));
	OP_EXIT;
}

/* ---- JMP ---- */
OP(jmp_rel64)
{
	cpu->rip = target_check64(cpu, target_direct(cpu, op));
	block_chain(cpu, BLOCK_TAKEN);
	OP_EXIT;
}

OP(jmp_rel)
{
	branch_if(cpu, op, true);
	OP_EXIT;
}

/* Indirect target at the operand size. */
static uint64_t target_load(struct cpu *cpu, const struct op *op)
{
	uint64_t lin;

	if (!(op->flags & OPF_MEM))
		return cpu->gpr[op->r0];
	lin = op_lin(cpu, op, op->osize, false);
	if (op->osize == 8)
		return mem_ld64(cpu, lin);
	return op->osize == 4 ? mem_ld32(cpu, lin) : mem_ld16(cpu, lin);
}

OP(jmp_r64)
{
	cpu->rip = target_check64(cpu, cpu->gpr[op->r0]);
	block_chain_indirect(cpu);
	OP_EXIT;
}

OP(jmp_m64)
{
	cpu->rip = target_check64(cpu, OP_LOAD(64));
	block_chain_indirect(cpu);
	OP_EXIT;
}

OP(jmp_indirect)
{
	cpu->rip = target_check(cpu, op, target_load(cpu, op));
	OP_EXIT;
}

/* ---- CALL and RET ---- */
/*
 * The return address is pushed before the target is looked at: the faults of that store come first,
 * and the address lies in memory when the target is not canonical. RSP has not moved then.
 */
#define CALL64(name, destination, chain)                                   \
	OP_COLD(name##_slow)                                               \
	{                                                                  \
		uint64_t target = (destination), sp = cpu->gpr[R_RSP] - 8; \
                                                                           \
		mem_st64(cpu, sp, target_next(cpu, op));                   \
		cpu->rip = target_check64(cpu, target);                    \
		cpu->gpr[R_RSP] = sp;                                      \
		OP_EXIT;                                                   \
	}                                                                  \
	OP(name)                                                           \
	{                                                                  \
		uint64_t target = (destination), sp = cpu->gpr[R_RSP] - 8; \
		void *host;                                                \
                                                                           \
		if (unlikely(!host_at(cpu, sp, 8, true, &host))) {         \
			name##_slow(cpu, op);                              \
			return;                                            \
		}                                                          \
		host_set64(host, target_next(cpu, op));                    \
		cpu->rip = target_check64(cpu, target);                    \
		cpu->gpr[R_RSP] = sp;                                      \
		chain;                                                     \
		OP_EXIT;                                                   \
	}

CALL64(call_rel64, target_direct(cpu, op), block_chain(cpu, BLOCK_TAKEN))
CALL64(call_r64, cpu->gpr[op->r0], block_chain_indirect(cpu))

/* The memory operand needs op->disp, so the return address comes from offset and length. */
OP(call_m64)
{
	uint64_t target = OP_LOAD(64), sp = cpu->gpr[R_RSP] - 8;

	mem_st64(cpu, sp, op_next_rip(cpu, op));
	cpu->rip = target_check64(cpu, target);
	cpu->gpr[R_RSP] = sp;
	block_chain_indirect(cpu);
	OP_EXIT;
}

OP(call_rel)
{
	uint64_t target = target_check(cpu, op, target_direct(cpu, op));

	stack_push(cpu, op->osize, next_rip(cpu, op));
	cpu->rip = target;
	OP_EXIT;
}

OP(call_indirect)
{
	uint64_t target = target_check(cpu, op, target_load(cpu, op));

	stack_push(cpu, op->osize, next_rip(cpu, op));
	cpu->rip = target;
	OP_EXIT;
}

OP_COLD(ret64_slow)
{
	uint64_t sp = cpu->gpr[R_RSP];

	cpu->rip = target_check64(cpu, mem_ld64(cpu, sp));
	cpu->gpr[R_RSP] = sp + 8;
	OP_EXIT;
}

OP(ret64)
{
	uint64_t sp = cpu->gpr[R_RSP];
	void *host;

	if (unlikely(!host_at(cpu, sp, 8, false, &host))) {
		ret64_slow(cpu, op);
		return;
	}
	cpu->rip = target_check64(cpu, host_get64(host));
	cpu->gpr[R_RSP] = sp + 8;
	block_chain_indirect(cpu);
	OP_EXIT;
}

/* op->imm more bytes are released. */
OP(ret)
{
	uint64_t target = target_check(cpu, op, stack_load(cpu, stack_ptr(cpu, 0), op->osize));

	stack_set(cpu, stack_ptr(cpu, (int64_t)(op->osize + op->imm)));
	cpu->rip = target;
	OP_EXIT;
}

/* ---- LOOPcc, JCXZ: the counter has the address size ---- */
static uint64_t counter_mask(const struct op *op)
{
	return op->asize == 8 ? ~0ull : op->asize == 4 ? 0xffffffff : 0xffff;
}

OP(jcxz)
{
	branch_if(cpu, op, (cpu->gpr[R_RCX] & counter_mask(op)) == 0);
	OP_EXIT;
}

enum { LOOP_ALWAYS, LOOP_E, LOOP_NE };

OP(loop)
{
	uint64_t count = (cpu->gpr[R_RCX] - 1) & counter_mask(op);
	bool taken = count && (op->cc == LOOP_ALWAYS || flags_zf(cpu) == (op->cc == LOOP_E));

	branch_if(cpu, op, taken);
	if (op->asize == 2)
		set_reg16(cpu, R_RCX, (uint16_t)count);
	else
		cpu->gpr[R_RCX] = count;
	OP_EXIT;
}

/* ---- binders ---- */
static void bind_direct(const struct decoded *d, struct op *op)
{
	op->disp = op->off + op->len;
	op->imm = d->opnd[0].imm.value.u + (uint64_t)op->disp;
}

static bool is_wide(const struct decoded *d, const struct op *op)
{
	return (d->mode & MODE_SIZE) == MODE_64 && op->osize == 8;
}

/* Common part: near branches only, and they end their block. */
static bool bind_near(const struct decoded *d, struct op *op)
{
	op->flags |= OPF_END;
	return d->ins.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
}

static bool bind_jcc(const struct decoded *d, struct op *op, uintptr_t cc)
{
	op->cc = (uint8_t)cc;
	bind_direct(d, op);
	if (is_wide(d, op))
		op_form(op, OPK_JCC, (unsigned)cc, FORM_RI, 3, form_flags_of_cc((unsigned)cc), 0);
	return bind_near(d, op) && int_pick(op, is_wide(d, op) ? jcc64_fn[cc] : jcc);
}

struct branch_forms {
	op_fn rel64, r64, m64, rel, indirect;
};

static bool bind_branch(const struct decoded *d, struct op *op, uintptr_t is_call)
{
	static const struct branch_forms forms[2] = {
		{ jmp_rel64, jmp_r64, jmp_m64, jmp_rel, jmp_indirect },
		{ call_rel64, call_r64, call_m64, call_rel, call_indirect },
	};
	const struct branch_forms *f = &forms[is_call];
	bool wide = is_wide(d, op);

	if (!bind_near(d, op))
		return false;
	if (opnd_is_imm(d, 0)) {
		bind_direct(d, op);
		if (wide)
			op_form(op, is_call ? OPK_CALL : OPK_JMP, 0, FORM_RI, 3, 0, 0);
		return int_pick(op, wide ? f->rel64 : f->rel);
	}
	if (wide)
		op_form(op, is_call ? OPK_CALL_TO : OPK_JMP_TO, 0,
			opnd_is_mem(d, 0) ? FORM_RM : FORM_RR, 3, 0, 0);
	if (opnd_is_mem(d, 0))
		return int_pick(op, wide ? f->m64 : f->indirect);
	op->disp = op->off + op->len;
	return int_is_gpr(d, 0) && int_pick(op, wide ? f->r64 : f->indirect);
}

static bool bind_ret(const struct decoded *d, struct op *op, uintptr_t arg)
{
	bool plain = !opnd_is_imm(d, 0);

	op->imm = plain ? 0 : d->opnd[0].imm.value.u & 0xffff;
	if (plain && is_wide(d, op))
		op_form(op, OPK_RET, 0, FORM_RM, 3, 0, 0);
	return bind_near(d, op) && int_pick(op, plain && is_wide(d, op) ? ret64 : ret);
}

static bool bind_loop(const struct decoded *d, struct op *op, uintptr_t kind)
{
	op->cc = (uint8_t)kind;
	bind_direct(d, op);
	return bind_near(d, op) && int_pick(op, loop);
}

static bool bind_jcxz(const struct decoded *d, struct op *op, uintptr_t arg)
{
	bind_direct(d, op);
	return bind_near(d, op) && int_pick(op, jcxz);
}

static const struct binding rows[] = {
	INT_CC_ROWS(J, bind_jcc),
	{ ZYDIS_MNEMONIC_JMP, bind_branch, 0 },
	{ ZYDIS_MNEMONIC_CALL, bind_branch, 1 },
	{ ZYDIS_MNEMONIC_RET, bind_ret, 0 },
	{ ZYDIS_MNEMONIC_LOOP, bind_loop, LOOP_ALWAYS },
	{ ZYDIS_MNEMONIC_LOOPE, bind_loop, LOOP_E },
	{ ZYDIS_MNEMONIC_LOOPNE, bind_loop, LOOP_NE },
	{ ZYDIS_MNEMONIC_JCXZ, bind_jcxz, 0 },
	{ ZYDIS_MNEMONIC_JECXZ, bind_jcxz, 0 },
	{ ZYDIS_MNEMONIC_JRCXZ, bind_jcxz, 0 },
};

BINDING_TABLE(branch_bindings, rows);
