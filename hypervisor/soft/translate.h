/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator: blocks that run often become host code. translate.c says how it works.
 */
#ifndef SOFT_TRANSLATE_H
#define SOFT_TRANSLATE_H

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/code.h"
#include "hypervisor/soft/emit.h"

/* Times that a block is interpreted before it is translated. */
#define TRANSLATE_HEAT 32

/*
 * A hold (struct hold) reports after HOLD_MISSES misses. Where so many reports came within so many
 * instructions, the place that reports gives its hold up: more than one miss in 50 instructions
 * is taken to cost more than the hits save.
 */
#define HOLD_EVENTS 8
#define HOLD_WEAR   (HOLD_EVENTS * HOLD_MISSES * 50u)

/* Host code that all blocks share: offsets into the code memory. */
struct trans_shared {
	uint32_t enter;	     /* from C, an op_fn */
	uint32_t call;	     /* the handler of an op, and back */
	uint32_t call_flags; /* the same; the guest's flags are the host's afterwards */
	uint32_t resume;     /* goes on with the handler of an op, in the interpreter */
	uint32_t link;	     /* links a jump to another page, and as resume */
	uint32_t edge;	     /* back to the run loop, in front of a block */
	uint32_t flags;	     /* the guest's flags become the host's */
	uint32_t worn;	     /* resume, at a place whose hold has missed often */
	uint32_t lookup[2];  /* the jump cache's entry of an address; [1] for user mode */
};

struct translator {
	struct code code;
	size_t used, start; /* bytes of code; of the shared part */
	unsigned heat;
	unsigned next_hold;
	unsigned worn_next;
	uint64_t worn[HOLD_EVENTS]; /* counts at which holds had missed often, the last ones */
	struct trans_shared shared;
};

/* A place that uses a hold, in the code memory in front of the code that reports it: offsets. */
struct trans_place {
	uint32_t start, probe, fill, found; /* as in struct cold_access */
	uint32_t hold;
};

/* Returns NULL when there is no memory; heat 0: TRANSLATE_HEAT. */
struct translator *trans_create(struct cpu *cpu, unsigned heat);
void trans_destroy(struct translator *t);

/* ---- for block.c ---- */
/* A block was built: says how it is entered. */
void trans_block_made(struct cpu *cpu, struct block *b);
/* A block became void: its code may not run any more. */
void trans_block_killed(struct cpu *cpu, struct block *b);
/* Forgets all translations: all blocks are void. */
void trans_forget(struct cpu *cpu);

/* ---- for run.c ---- */
/* The op in its block that a handler called by translated code stands for. */
const struct op *trans_original(const struct cpu *cpu, const struct op *op);

/* ---- trans_op.c ---- */
/*
 * Emits the code of block b at e->at. False: the block is better interpreted. What is known of the
 * code is in b->t.
 */
bool trans_emit_block(struct translator *t, struct block *b, struct emit *e);

/* ---- what both files share ---- */
/* Places of guest registers in translated code: a host register, or H_NONE for cpu->gpr. */
extern const uint8_t trans_reg[16];
#define H_CPU  H_RBP
#define H_S0   H_R13 /* scratch */
#define H_S1   H_R14
#define H_LEFT H_R15 /* cpu->chain_limit - count at the end of the present block */

#define CPU_FIELD(field)   HOST_MEM(H_CPU, (int32_t)offsetof(struct cpu, field))
#define CPU_GPR(g)	   HOST_MEM(H_CPU, (int32_t)(offsetof(struct cpu, gpr) + 8 * (size_t)(g)))
#define CPU_EA_BASE(s)	   HOST_MEM(H_CPU, (int32_t)(offsetof(struct cpu, ea_base) + 8 * (size_t)(s)))
#define HOST_STACK_SLOT(n) HOST_MEM(H_RSP, (n)*8)

/*
 * Flags that translated code leaves in cpu->lazy: types from LAZY_HOST on, kind * 4 + size index.
 * Values are whole registers, of which the size counts. translate.c makes types of flags.h of
 * them before anything else looks.
 */
enum trans_flags {
	TF_ADD,	  /* a + b */
	TF_SUB,	  /* a - b */
	TF_ADD_R, /* res = a + b, from b and res */
	TF_SUB_R,
	TF_LOGIC, /* res */
	TF_TEST,  /* a & b */
	TF_SHL,	  /* a by b; the count is not 0 and not yet masked */
	TF_SHR,
	TF_SAR,
	TF_HOST, /* res is RFLAGS; of size 0 */
	TF_MUL,	 /* res = the product's lower half; b, of which a byte counts: it does not fit */
};
#define LAZY_HOST	    16u
#define TF_TYPE(kind, size) (LAZY_HOST + (unsigned)(kind)*4 + (size))

/* lazy.inc: INC or DEC came after, with lazy.inc_res. */
#define TF_INC(size) (1u | (size) << 1)
#define TF_DEC(size) (9u | (size) << 1)
/* lazy.rot: a rotate that changed CF came after, with lazy.rot_res. */
#define TF_ROL(size) (1u | (size) << 1)
#define TF_ROR(size) (9u | (size) << 1)

#endif
