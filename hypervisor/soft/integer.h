/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the integer handlers share. Handlers come in forms, by kind and size of their operands, made
 * by macros; the binder picks one from a table [size][form].
 *
 * 8-bit registers are addressed by byte offset in cpu->gpr, so AH..BH are as fast as AL: int_form()
 * turns op->r0 and op->r1 into such offsets for 8-bit operands.
 */
#ifndef SOFT_INTEGER_H
#define SOFT_INTEGER_H

#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/mem.h"

#define INT_SIZES 4 /* index 0..3: 8, 16, 32, 64 bits */

enum int_form {
	FORM_RR,
	FORM_RI,
	FORM_RM,
	FORM_MR,
	FORM_MI,
	INT_FORMS,
	FORM_OTHER,
};

/* X(bits) for every operand size. */
#define INT_EACH_SIZE(X) X(8) X(16) X(32) X(64)

/* Size index of explicit operand i, or -1 when it has another size. */
static inline int int_size(const struct decoded *d, unsigned i)
{
	switch (d->opnd[i].size) {
	case 8:
		return 0;
	case 16:
		return 1;
	case 32:
		return 2;
	case 64:
		return 3;
	default:
		return -1;
	}
}

/* True: explicit operand i is a general register. */
bool int_is_gpr(const struct decoded *d, unsigned i);
/*
 * Form of an instruction with one or two explicit operands (FORM_OTHER when one of them is neither
 * general register, memory nor immediate); makes byte offsets of 8-bit register numbers. An
 * instruction with a single operand has the form of one with an immediate. To be called once per
 * op.
 */
enum int_form int_form(const struct decoded *d, struct op *op);
/*
 * Segment (with override), address size and flags of an implicit memory operand, as of XLAT and
 * string instructions.
 */
void int_implicit_mem(const struct decoded *d, struct op *op);
/* Sets op->fn from a table; false when the entry is empty. */
static inline bool int_pick(struct op *op, op_fn fn)
{
	op->fn = fn;
	return fn != NULL;
}

/*
 * The flags of SHL, SHR or SAR of x by c, which is not 0 and masked; x is sign-extended from the
 * size of that index.
 */
void shift_flags(struct cpu *cpu, enum shift_op op, unsigned size, uint64_t x, unsigned c);

/* ---- registers ---- */
static inline uint8_t reg8(const struct cpu *cpu, unsigned r)
{
	return ((const uint8_t *)cpu->gpr)[r];
}
static inline uint16_t reg16(const struct cpu *cpu, unsigned r)
{
	return (uint16_t)cpu->gpr[r];
}
static inline uint32_t reg32(const struct cpu *cpu, unsigned r)
{
	return (uint32_t)cpu->gpr[r];
}
static inline uint64_t reg64(const struct cpu *cpu, unsigned r)
{
	return cpu->gpr[r];
}
static inline void set_reg8(struct cpu *cpu, unsigned r, uint8_t v)
{
	((uint8_t *)cpu->gpr)[r] = v;
}
static inline void set_reg16(struct cpu *cpu, unsigned r, uint16_t v)
{
	memcpy(&cpu->gpr[r], &v, sizeof(v));
}
static inline void set_reg32(struct cpu *cpu, unsigned r, uint32_t v)
{
	cpu->gpr[r] = v;
}
static inline void set_reg64(struct cpu *cpu, unsigned r, uint64_t v)
{
	cpu->gpr[r] = v;
}

/* Byte offsets of registers that instructions name themselves. */
#define REG8_AL (R_RAX * 8)
#define REG8_AH (R_RAX * 8 + 1)
#define REG8_CL (R_RCX * 8)

/* ---- memory operand ---- */
#define OP_LOAD(bits)	 mem_ld##bits(cpu, op_lin(cpu, op, (bits) / 8, false))
#define OP_RMW_LIN(bits) op_lin(cpu, op, (bits) / 8, true)

#define UINT(bits) uint##bits##_t
#define SINT(bits) int##bits##_t

#define OP(name) static void name(struct cpu *cpu, const struct op *op)
#define OP_COLD(name) \
	static __attribute__((noinline, cold)) void name(struct cpu *cpu, const struct op *op)

/*
 * Frequent handlers with a memory operand come twice: the handler itself takes only the way where
 * the TLB hits and the address needs no checks, which needs no stack frame and no saved registers,
 * and goes over to the cold one otherwise.
 */
/*
 * Host address of [lin, lin+size); false: not inside one page, or the TLB does not allow the access
 * at once.
 */
static inline bool host_at(const struct cpu *cpu, uint64_t lin, unsigned size, bool write,
			   void **host)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	*host = (void *)(lin + e->addend);
	/* The next page has another slot, so an access that runs into it does not match. */
	return likely((write ? e->wr : e->rd) == ((lin + size - 1) & PAGE_MASK));
}

/* Finds the host address of the op's memory operand in the same way. */
static inline bool op_host(const struct cpu *cpu, const struct op *op, unsigned size, bool write,
			   void **host)
{
	if (unlikely(!(op->flags & OPF_FLAT)))
		return false;
	return host_at(cpu,
		       cpu->ea_base[op->seg] + cpu->gpr[op->base] +
			       (cpu->gpr[op->idx] << op->scale) + (uint64_t)op->disp,
		       size, write, host);
}

#define HOST_ACCESS(bits)                                        \
	static inline UINT(bits) host_get##bits(const void *p)   \
	{                                                        \
		UINT(bits) v;                                    \
                                                                 \
		memcpy(&v, p, sizeof(v));                        \
		return v;                                        \
	}                                                        \
	static inline void host_set##bits(void *p, UINT(bits) v) \
	{                                                        \
		memcpy(p, &v, sizeof(v));                        \
	}

INT_EACH_SIZE(HOST_ACCESS)

/* `body(what, bits, source)` with the operand loaded; `what` is for the body alone. */
#define OP_LOADING(name, bits, body, what)                                   \
	OP_COLD(name##_slow)                                                 \
	{                                                                    \
		body(what, bits, OP_LOAD(bits));                             \
		OP_NEXT;                                                     \
	}                                                                    \
	OP(name)                                                             \
	{                                                                    \
		void *host;                                                  \
                                                                             \
		if (unlikely(!op_host(cpu, op, (bits) / 8, false, &host))) { \
			name##_slow(cpu, op);                                \
			return;                                              \
		}                                                            \
		body(what, bits, host_get##bits(host));                      \
		OP_NEXT;                                                     \
	}

/* Stores `value`. */
#define OP_STORING(name, bits, value)                                       \
	OP_COLD(name##_slow)                                                \
	{                                                                   \
		mem_st##bits(cpu, OP_RMW_LIN(bits), (value));               \
		OP_NEXT;                                                    \
	}                                                                   \
	OP(name)                                                            \
	{                                                                   \
		void *host;                                                 \
                                                                            \
		if (unlikely(!op_host(cpu, op, (bits) / 8, true, &host))) { \
			name##_slow(cpu, op);                               \
			return;                                             \
		}                                                           \
		host_set##bits(host, (value));                              \
		OP_NEXT;                                                    \
	}

/* Sixteen binding rows, one a condition code, for mnemonics that start with `prefix`. */
#define INT_CC_ROWS(prefix, bind)                                                                  \
	{ ZYDIS_MNEMONIC_##prefix##O, bind, 0 }, { ZYDIS_MNEMONIC_##prefix##NO, bind, 1 },         \
		{ ZYDIS_MNEMONIC_##prefix##B, bind, 2 }, { ZYDIS_MNEMONIC_##prefix##NB, bind, 3 }, \
		{ ZYDIS_MNEMONIC_##prefix##Z, bind, 4 }, { ZYDIS_MNEMONIC_##prefix##NZ, bind, 5 }, \
		{ ZYDIS_MNEMONIC_##prefix##BE, bind, 6 },                                          \
		{ ZYDIS_MNEMONIC_##prefix##NBE, bind, 7 },                                         \
		{ ZYDIS_MNEMONIC_##prefix##S, bind, 8 }, { ZYDIS_MNEMONIC_##prefix##NS, bind, 9 }, \
		{ ZYDIS_MNEMONIC_##prefix##P, bind, 10 },                                          \
		{ ZYDIS_MNEMONIC_##prefix##NP, bind, 11 },                                         \
		{ ZYDIS_MNEMONIC_##prefix##L, bind, 12 },                                          \
		{ ZYDIS_MNEMONIC_##prefix##NL, bind, 13 },                                         \
		{ ZYDIS_MNEMONIC_##prefix##LE, bind, 14 },                                         \
	{                                                                                          \
		ZYDIS_MNEMONIC_##prefix##NLE, bind, 15                                             \
	}

#define BINDING_TABLE(name, rows) \
	const struct binding_table name = { rows, sizeof(rows) / sizeof((rows)[0]) }

/*
 * CF = OF = the product does not fit; SF and PF follow its low half, ZF and AF are 0
 * (docs/undefined-flags.md). 256 has the SF and PF of 0 without its ZF.
 */
static inline void mul_flags(struct cpu *cpu, int64_t lo, bool overflow)
{
	lazy_set_aux(cpu, lo ? lo : 256, overflow ? FL_CF | FL_OF : 0);
}

#endif
