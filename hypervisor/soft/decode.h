/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From Zydis to ops. Each semantics file exports a table of bindings, one row a mnemonic; decode.c
 * decodes, fills in the common fields of the op (length, memory operand, sizes, prefixes,
 * immediate, registers of explicit operands 0 and 1) and calls the row's binder, which chooses the
 * handler. A mnemonic without a row is an invalid opcode.
 *
 * Some mnemonics have rows in several tables, because Zydis names several instructions alike (MOV
 * to control or segment registers, PUSH of segment registers, far JMP, CALL and RET, MOVSD and
 * CMPSD as string and SSE instructions): each binder takes the forms of its own file and returns
 * false for the others, and decode.c tries the next row.
 */
#ifndef SOFT_DECODE_H
#define SOFT_DECODE_H

#include <Zydis/Zydis.h>

#include "hypervisor/soft/cpu.h"
#include "hypervisor/soft/form.h"

struct decoded {
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand opnd[ZYDIS_MAX_OPERAND_COUNT]; /* explicit ones first:
							      ins.operand_count_visible of them */
	uint32_t mode;					   /* MODE_* of the block */
};

/*
 * Chooses op->fn and fills in what is special; returns false for a form that it does not know (#UD
 * when no other row of the mnemonic takes it). With op_form() it may say more for the translator.
 * On entry these are set: len, off, flags (LOCK, REP, REPNE, MEM, FLAT, SEGCHECK, HIGH0/1), base,
 * idx, scale, disp, seg, asize, osize (bytes, from the instruction's operand width), imm (first
 * immediate, sign-extended as Zydis says), r0 and r1 (numbers of explicit register operands 0 and
 * 1, whatever their class; r2 that of operand 2).
 */
typedef bool (*op_binder)(const struct decoded *d, struct op *op, uintptr_t arg);

struct binding {
	ZydisMnemonic mnemonic;
	op_binder bind;
	uintptr_t arg;
};

struct binding_table {
	const struct binding *row;
	size_t n;
};

/* Tables of bindings, one of each semantics file; decode.c lists them. */
extern const struct binding_table alu_bindings;
extern const struct binding_table mov_bindings;
extern const struct binding_table xchg_bindings;
extern const struct binding_table shift_bindings;
extern const struct binding_table bits_bindings;
extern const struct binding_table muldiv_bindings;
extern const struct binding_table bcd_bindings;
extern const struct binding_table stack_bindings;
extern const struct binding_table branch_bindings;
extern const struct binding_table string_bindings;
extern const struct binding_table misc_bindings; /* flag bits, hints, fences */
extern const struct binding_table
	system_bindings; /* control registers, descriptor tables, flags, HLT ... */
extern const struct binding_table segop_bindings;    /* segment registers, LAR ... ARPL */
extern const struct binding_table far_bindings;	     /* far JMP, CALL, RET, IRET, INT n, BOUND */
extern const struct binding_table fastcall_bindings; /* SYSCALL, SYSENTER, SWAPGS ... */
extern const struct binding_table msr_bindings;	     /* RDMSR, WRMSR, RDTSC, CPUID, RDRAND ... */
extern const struct binding_table port_bindings;     /* IN, OUT, INS, OUTS */
extern const struct binding_table x87_bindings;
extern const struct binding_table x87_mem_bindings;   /* loads, stores, constants */
extern const struct binding_table x87_rem_bindings;   /* FPREM, FXTRACT */
extern const struct binding_table x87_trans_bindings; /* FSIN, FYL2X ... */
extern const struct binding_table x87_ctl_bindings;   /* FLDCW, FNSTENV, FNSAVE ... */
extern const struct binding_table sse_fp_bindings;
extern const struct binding_table sse_int_bindings;
extern const struct binding_table sse_move_bindings;
extern const struct binding_table sse4_bindings;	 /* what has no simple two-operand form */
extern const struct binding_table sse42_bindings;	 /* PCMPxSTRx */
extern const struct binding_table sse_estimate_bindings; /* RCPPS, RSQRTPS ... */
extern const struct binding_table aes_bindings;
extern const struct binding_table fpu_state_bindings; /* FXSAVE, XSAVE, LDMXCSR, EMMS ... */

/*
 * sse_form.c: makes an op of kind OPK_SSE of a bound instruction that may be executed as it is;
 * leaves others alone.
 */
void sse_form(const struct decoded *d, struct op *op);

/* True: explicit operand i is in memory. */
static inline bool opnd_is_mem(const struct decoded *d, unsigned i)
{
	return i < d->ins.operand_count_visible && d->opnd[i].type == ZYDIS_OPERAND_TYPE_MEMORY;
}
static inline bool opnd_is_reg(const struct decoded *d, unsigned i)
{
	return i < d->ins.operand_count_visible && d->opnd[i].type == ZYDIS_OPERAND_TYPE_REGISTER;
}
static inline bool opnd_is_imm(const struct decoded *d, unsigned i)
{
	return i < d->ins.operand_count_visible && d->opnd[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* Builds the tables; before the first decode_op(), any number of times. */
void decode_init(void);

enum decode_result {
	DECODE_OK,
	DECODE_SHORT, /* the instruction goes on past `avail` bytes */
};

/*
 * Decodes one instruction of at most `avail` bytes (at most 15 count). Invalid opcodes, a LOCK
 * prefix where it is not allowed and instructions over 15 bytes (#GP) become ops that raise the
 * exception, so they are DECODE_OK too.
 */
enum decode_result decode_op(const uint8_t *bytes, size_t avail, uint32_t mode, uint16_t off,
			     struct op *op);

#endif
