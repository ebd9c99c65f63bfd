/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Common parts of the files that emit the code of ops: trans_op.c for integers, trans_mem.c for
 * access to memory, trans_jump.c for branches, trans_sse.c for XMM registers.
 */
#ifndef SOFT_TRANS_OP_H
#define SOFT_TRANS_OP_H

#include "hypervisor/soft/translate.h"

/* A memory operand as the guest sees it. */
struct guest_mem {
	uint8_t base, idx, scale, seg;
	int64_t disp;
};

enum cold_kind {
	COLD_CALL,   /* the op's handler, and on with the next op */
	COLD_RESUME, /* the rest of the block in the interpreter, from the op on */
	/* trans_mem.c: a hold that does not have the page; one that missed often */
	COLD_HOLD,
	COLD_WORN,
	/* trans_jump.c: a jump to another page, its target looked up, a call likewise; to C code
	 * that links; an entry of the jump cache that is not the one or has to be looked through
	 * again */
	COLD_FAR,
	COLD_FAR_MISS,
	COLD_FAR_CALL,
	COLD_LINK,
	COLD_FIND,
	COLD_FIND_AGAIN,
};

/* An access through a hold; where its parts are in the code. */
struct cold_access {
	struct guest_mem m;
	uint8_t n, slow; /* bytes; enum cold_kind where the TLB does not allow it */
	bool write;
	uint16_t hold;
	uint8_t *start, *found; /* all of it; where the addend is in H_S1 */
	uint8_t *probe, *fill;	/* in cold code: the probe, and the filling after it */
};

struct cold {
	uint8_t *site, *back;
	int64_t target; /* of a jump: offset from the page's start */
	uint8_t op;
	uint8_t kind;
	bool flags;    /* COLD_CALL: they have to be the host's afterwards */
	uint8_t *stub; /* where it was put */
	int8_t way;    /* of a jump that can be linked, or -1 */
	/* of struct tr, at the site and at `back` */
	uint16_t xmm_new, xmm_back;
	bool mxcsr, mxcsr_back;
	struct cold_access at;
};

#define COLD_MAX (4 * BLOCK_OPS + 32)

/* Places are near to one another whose displacements are equal from this bit on. */
#define HOLD_REACH 8

struct tr_hold {
	struct guest_mem m;
	uint16_t number;
};

struct tr {
	struct translator *t;
	struct block *b;
	struct emit *e;
	const struct op *op;
	unsigned i;		       /* its index */
	bool own[BLOCK_OPS + 1];       /* has code of its own */
	uint8_t stored[BLOCK_OPS + 1]; /* flags after the op that have to be in cpu->lazy */
	uint8_t host;		       /* flags of which the host's are the guest's */
	uint8_t type;		       /* TF_TYPE() in cpu->lazy; 0: not known */
	unsigned colds;
	struct cold cold[COLD_MAX];
	/* Guest XMM registers that the host registers of the same numbers hold, and those of them
	 * that cpu->fpu has an old value of; MXCSR is the guest's. trans_sse.c. */
	uint16_t xmm, xmm_new;
	bool mxcsr;
	unsigned holds; /* those that the block's places share */
	struct tr_hold hold[16];
};

/* ---- registers ---- */
/* Host register with the value of guest register g, which is loaded to `scratch` if need be. */
static inline unsigned use(struct tr *tr, unsigned g, unsigned scratch)
{
	if (trans_reg[g] != H_NONE)
		return trans_reg[g];
	emit_load(tr->e, scratch, CPU_GPR(g));
	return scratch;
}

/* Host register for a result of a size; with less than 32 bits the rest of it has to be there. */
static inline unsigned dest(struct tr *tr, unsigned g, unsigned size, unsigned scratch)
{
	if (size < 2)
		return use(tr, g, scratch);
	return trans_reg[g] != H_NONE ? trans_reg[g] : scratch;
}

/* The result is in `reg`, from dest() or use(). */
static inline void done(struct tr *tr, unsigned g, unsigned reg)
{
	if (trans_reg[g] == H_NONE)
		emit_store(tr->e, reg, CPU_GPR(g));
}

static inline struct guest_mem trans_stack_at(unsigned reg, int64_t disp)
{
	return (struct guest_mem){ (uint8_t)reg, REG_ZERO, 0, SEG_NONE, disp };
}

struct guest_mem trans_operand(const struct tr *tr);

/*
 * host_at() (integer.h) for n bytes: the host's address, which lives in H_S1 and registers that
 * hold guest ones, so that H_S0 is free. Where the TLB does not allow it, or the address is no
 * multiple of `align` (a power of two), goes to cold code of that kind.
 */
struct host_mem trans_probe(struct tr *tr, struct guest_mem m, unsigned n, unsigned align,
			    bool write, enum cold_kind slow);

struct cold *trans_cold(struct tr *tr, uint8_t *site, enum cold_kind kind);

/* The host's flags are those that the op gives; keeps them for whoever may look. */
void trans_keep_flags(struct tr *tr);

/* Makes the host's flags those that the present op reads. Changes H_S0. */
void trans_need_host(struct tr *tr, unsigned mask);

/* ---- code memory ---- */
static inline uint32_t trans_offset_of(const struct tr *tr, const uint8_t *at)
{
	return (uint32_t)(at - tr->t->code.rw);
}

/* ---- shared code ---- */
static inline void trans_shared_call(struct tr *tr, uint32_t what)
{
	emit_aim(emit_call(tr->e), tr->t->code.rw + what);
}

static inline void trans_shared_jump(struct tr *tr, uint32_t what)
{
	emit_aim(emit_jmp(tr->e), tr->t->code.rw + what);
}

static inline void trans_name_op(struct tr *tr, unsigned i)
{
	emit_move_imm(tr->e, H_S1, i);
	emit_move_imm(tr->e, H_S0, (uintptr_t)tr->b);
}

static inline void trans_move_stack(struct tr *tr, unsigned from, int32_t by)
{
	emit_rm(tr->e, 3, 0x8d, trans_reg[R_RSP], HOST_MEM(trans_reg[from], by));
}

/* ---- trans_mem.c ---- */
void trans_cold_hold(struct tr *tr, const struct cold *c);
void trans_cold_worn(struct tr *tr, const struct cold *c);

/* ---- trans_jump.c ---- */
/*
 * Emits code that puts into host register `to` the place of the jump cache's entry for the address
 * in H_S0, which stays.
 */
void trans_jump_entry(struct emit *e, unsigned to);
void trans_jcc(struct tr *tr);
void trans_jmp(struct tr *tr);
void trans_jmp_to(struct tr *tr);
void trans_near_call(struct tr *tr);
void trans_near_call_to(struct tr *tr);
void trans_near_ret(struct tr *tr);
/* The end of a block that no branch ends. */
void trans_jump_on(struct tr *tr);
/*
 * Emits the check in front of an instruction that goes on in the next page: op_cross() of block.c.
 */
void trans_check_cross(struct tr *tr);
/* Cold code of the kinds from COLD_FAR on. */
void trans_cold_jump(struct tr *tr, const struct cold *c);

/* ---- trans_sse.c ---- */
/* True: the op has code of its own. */
bool trans_sse_fits(const struct op *op, uint32_t mode);
/* True: the op may go to the handler. */
bool trans_sse_exits(const struct op *op);
void trans_sse_op(struct tr *tr);
/* Makes cpu->fpu up to date, in front of whatever may look at it; host flags stay. */
void trans_sse_store(struct tr *tr);
/* The host's XMM registers are lost; everything was stored before. */
void trans_sse_lost(struct tr *tr);
/* Cold code before and behind a handler. */
void trans_sse_leave(struct tr *tr, const struct cold *c);
void trans_sse_back(struct tr *tr, const struct cold *c);

#endif
