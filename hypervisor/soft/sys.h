/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Common parts of the files with system instructions: binders and small helpers. */
#ifndef SOFT_SYS_H
#define SOFT_SYS_H

#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/mem.h"
#include "hypervisor/soft/seg.h"

/* ---- operands ---- */
static inline void reg_put(struct cpu *cpu, unsigned r, unsigned size, uint64_t v)
{
	if (size == 2)
		cpu->gpr[r] = (cpu->gpr[r] & ~0xffffull) | (uint16_t)v;
	else
		cpu->gpr[r] = size == 4 ? (uint32_t)v : v;
}

static inline uint64_t reg_get(const struct cpu *cpu, unsigned r, unsigned size)
{
	return size == 8 ? cpu->gpr[r] : cpu->gpr[r] & ((1ull << (size * 8)) - 1);
}

/* The 16-bit operand r/m16: in register r unless the op has a memory operand. */
static inline uint16_t rm16_get(struct cpu *cpu, const struct op *op, unsigned r)
{
	return op->flags & OPF_MEM ? mem_ld16(cpu, op_lin(cpu, op, 2, false))
				   : (uint16_t)cpu->gpr[r];
}

/* RIP after the instruction, as the mode holds it. */
static inline uint64_t next_rip(const struct cpu *cpu, const struct op *op)
{
	uint64_t rip = op_next_rip(cpu, op);

	return cpu_mode64(cpu) ? rip : (uint32_t)rip;
}

/* ---- privilege ---- */
static inline void require_cpl0(struct cpu *cpu)
{
	if (unlikely(cpu->cpl))
		cpu_raise(cpu, VEC_GP, 0);
}

static inline unsigned cpu_iopl(const struct cpu *cpu)
{
	return (cpu->rflags & FL_IOPL) >> 12;
}

/* ---- events that an instruction asks for (intr.c) ---- */
/*
 * INT n, INT3, INTO, INT1: delivers with the address of the next instruction; faults are those of
 * the instruction.
 */
void intr_software(struct cpu *cpu, const struct op *op, enum event_type type, uint8_t vector);

/*
 * Stands in place of the error code that #DB has not: a fault that pushes RF set, as all do but
 * instruction breakpoints.
 */
#define DB_GENERAL_DETECT 1u

/* ---- task switch (task.c) ---- */
enum task_via { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

struct task_event {
	bool has_err;
	uint32_t err; /* pushed on the stack of the new task */
};

/*
 * Switches to the task of TSS descriptor `tss` (fetched and checked for type and privilege by the
 * caller). `rip` and `flags` are what the old task's TSS gets. Faults before the switch leave
 * everything as it was; faults after it belong to the new task and are raised at its first
 * instruction.
 */
void task_switch(struct cpu *cpu, struct desc *tss, enum task_via via, uint64_t rip, uint64_t flags,
		 const struct task_event *event);
/*
 * Fetches the TSS descriptor that sel names, for a switch through JMP, CALL or a task gate; vec is
 * #GP or #TS.
 */
void task_fetch_tss(struct cpu *cpu, uint16_t sel, enum vector vec, bool busy, struct desc *d);

/* ---- binders ---- */
/* A handler that fits all forms of its mnemonic: arg is the op_fn. The second ends the block. */
bool bind_plain(const struct decoded *d, struct op *op, uintptr_t arg);
bool bind_end(const struct decoded *d, struct op *op, uintptr_t arg);
/* Binds likewise; #UD in real and virtual-8086 mode. */
bool bind_protected(const struct decoded *d, struct op *op, uintptr_t arg);
/* Binds likewise; #UD outside 64-bit mode. */
bool bind_long(const struct decoded *d, struct op *op, uintptr_t arg);

/* The table that a file exports, over its array of rows. */
#define BINDING_TABLE(name, rows) \
	const struct binding_table name = { rows, sizeof(rows) / sizeof((rows)[0]) }

#endif
