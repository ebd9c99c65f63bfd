/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of a bound instruction: what the translator has to know of it beside the handler. A
 * binder that says nothing leaves OPK_NONE: only the handler knows the instruction, and it may read
 * any flag.
 *
 * A handler can be called as a subroutine: copied into a pair of ops of which the second one's
 * handler is op_block_end(), it returns when its instruction is done (translate.c does so).
 *
 * An instruction that has a kind accesses memory at one address at most, but for CALL with its
 * target in memory (mmu.c relies on it).
 */
#ifndef SOFT_FORM_H
#define SOFT_FORM_H

#include "hypervisor/soft/cpu.h"

/* The arithmetic flags in the groups in which instructions read and write them. */
#define FLAGS_CF   1u
#define FLAGS_OF   2u
#define FLAGS_REST 4u /* PF, AF, ZF, SF */
#define FLAGS_ALL  7u

/*
 * Kinds of ops. The meaning of op->sub stands beside each kind; r0, r1, imm and the memory operand
 * are used as by handlers. Without a comment sub means nothing.
 */
enum op_kind {
	OPK_NONE,
	OPK_NOP,
	OPK_MOV,
	OPK_ALU,   /* enum alu_op */
	OPK_ONE,   /* enum one_op */
	OPK_MOVZX, /* size index of the source */
	OPK_MOVSX, /* likewise */
	OPK_LEA,
	OPK_BSWAP,
	OPK_EXTEND_ACC, /* CBW CWDE CDQE: 0; CWD CDQ CQO: 1 */
	OPK_CMOV,	/* condition code */
	OPK_SETCC,	/* condition code */
	OPK_SHIFT,	/* enum shift_op; register operands only, FORM_RI: by imm, FORM_RR: by CL */
	OPK_IMUL,	/* two operands: 0, three: 1 */
	OPK_DIVIDE,	/* DIV: 0, IDIV: 1; of 32 or 64 bits */
	OPK_SCAN,	/* BSF: 0, BSR: 1; likewise */
	OPK_SSE,	/* SSE_* below; sse_form.c */
	OPK_PUSH,	/* 64 bits in 64-bit mode; so all below */
	OPK_POP,
	OPK_LEAVE,
	OPK_JCC, /* condition code */
	OPK_JMP,
	OPK_JMP_TO, /* register or memory */
	OPK_CALL,
	OPK_CALL_TO, /* register or memory */
	OPK_RET,
};

enum alu_op {
	ALU_ADD,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR, /* so far as the instruction set numbers them */
	ALU_CMP,
	ALU_TEST,
	ALU_COUNT
};

enum one_op { ONE_INC, ONE_DEC, ONE_NEG, ONE_NOT, ONE_COUNT };

enum shift_op {
	SHIFT_SHL,
	SHIFT_SHR,
	SHIFT_SAR,
	SHIFT_ROL,
	SHIFT_ROR,
	SHIFT_RCL,
	SHIFT_RCR,
	SHIFT_COUNT
};

/*
 * OPK_SSE: an instruction on XMM registers that may be executed as it is. extra is its encoding:
 * opcode, map (0f, 0f 38, 0f 3a), mandatory prefix (none, 66, f3, f2), REX.W, and whether imm
 * follows. size: of the memory operand, 4 for 16 bytes.
 */
#define SSE_RM_FIRST (1u << 0) /* r0 is in ModRM.rm, r1 in ModRM.reg; else the other way round */
#define SSE_REG_GPR  (1u << 1) /* ModRM.reg is a general register */
#define SSE_RM_GPR   (1u << 2) /* ModRM.rm likewise */
#define SSE_WHOLE    (1u << 3) /* the old value of the XMM register that is written is not used */
#define SSE_ALIGNED  (1u << 4) /* its memory operand has to be */
#define SSE_FP	     (1u << 5) /* under MXCSR */
#define SSE_READS    (1u << 6) /* writes no register, perhaps memory */
#define SSE_DIGIT    (1u << 7) /* ModRM.reg is the number in r2 */

#define SSE_MAP_SHIFT	 8
#define SSE_PREFIX_SHIFT 10
#define SSE_W		 (1u << 12)
#define SSE_IMM		 (1u << 13)

/* Flags that condition code cc depends on. */
static inline uint8_t form_flags_of_cc(unsigned cc)
{
	static const uint8_t reads[8] = {
		FLAGS_OF,
		FLAGS_CF,
		FLAGS_REST,
		FLAGS_CF | FLAGS_REST,
		FLAGS_REST,
		FLAGS_REST,
		FLAGS_OF | FLAGS_REST,
		FLAGS_OF | FLAGS_REST,
	};

	return reads[(cc & 15) >> 1];
}

/*
 * Says what the op is. form: enum int_form of the operands, size: their size index; reads, writes:
 * FLAGS_*; flags that are left undefined by the manual count as written, flags that may stay as
 * they are count as read.
 */
static inline void op_form(struct op *op, enum op_kind kind, unsigned sub, unsigned form,
			   unsigned size, unsigned reads, unsigned writes)
{
	op->kind = (uint8_t)kind;
	op->sub = (uint8_t)sub;
	op->form = (uint8_t)form;
	op->size = (uint8_t)size;
	op->reads = (uint8_t)reads;
	op->writes = (uint8_t)writes;
}

#endif
