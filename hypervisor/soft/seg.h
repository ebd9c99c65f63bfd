/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segments: descriptors, their checks, and stacks that need not be the current one. What the far
 * transfers, the delivery of events and the task switch share.
 *
 * Error codes carry cpu->ext: 1 while an event is being delivered that no instruction asked for
 * (SDM vol. 3, 6.13).
 */
#ifndef SOFT_SEG_H
#define SOFT_SEG_H

#include "hypervisor/soft/cpu.h"

/* Types of system descriptors (SDM vol. 3, table 3-2). */
enum sys_type {
	SYS_TSS16 = 1,
	SYS_LDT = 2,
	SYS_TSS16_BUSY = 3,
	SYS_CALL16 = 4,
	SYS_TASK = 5,
	SYS_INTR16 = 6,
	SYS_TRAP16 = 7,
	SYS_TSS32 = 9,
	SYS_TSS32_BUSY = 11,
	SYS_CALL32 = 12,
	SYS_INTR32 = 14,
	SYS_TRAP32 = 15,
};
#define SYS_TSS_BUSY_BIT 2u
#define SYS_32		 8u /* set in the types of 32-bit (in long mode: 64-bit) gates and TSSs */

struct desc {
	struct seg_state s; /* unpacked, selector as given */
	uint64_t raw;
	uint64_t lin; /* where it lies */
};

/* ---- attributes ---- */
static inline bool attr_is_code(uint32_t attr)
{
	return (attr & (SEG_S | 8)) == (SEG_S | 8);
}

static inline bool attr_is_conforming(uint32_t attr)
{
	return (attr & (SEG_S | 12)) == (SEG_S | 12);
}

static inline bool attr_is_writable_data(uint32_t attr)
{
	return (attr & (SEG_S | 10)) == (SEG_S | 2);
}

/* Data, or code that can be read. */
static inline bool attr_is_readable(uint32_t attr)
{
	return (attr & SEG_S) && (attr & 10) != 8;
}

/* ---- modes ---- */
static inline bool cpu_long(const struct cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}

static inline bool cpu_mode64(const struct cpu *cpu)
{
	return (cpu->mode & MODE_SIZE) == MODE_64;
}

/* Protected mode proper: not real, not virtual-8086. */
static inline bool cpu_protected(const struct cpu *cpu)
{
	return (cpu->mode & (MODE_REAL | MODE_VM86)) == 0;
}

static inline bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* ---- errors ---- */
static inline uint32_t sel_error(const struct cpu *cpu, uint16_t sel)
{
	return (sel & 0xfffcu) | cpu->ext;
}

static inline bool sel_null(uint16_t sel)
{
	return (sel & 0xfffc) == 0;
}

/* ---- descriptors ---- */
/*
 * Fetches the descriptor that sel names; false when it lies outside its table. Faults only on
 * memory.
 */
bool desc_lookup(struct cpu *cpu, uint16_t sel, struct desc *d);
/* Fetches the descriptor likewise; raises vec(sel) when it lies outside. */
void desc_fetch(struct cpu *cpu, uint16_t sel, enum vector vec, struct desc *d);
/* Upper half of a 16-byte system descriptor: completes the base; raises vec(sel) when outside the
 * table or malformed.
 */
void desc_fetch_upper(struct cpu *cpu, struct desc *d, enum vector vec);
/* Sets the accessed bit in memory and in d. */
void desc_mark_accessed(struct cpu *cpu, struct desc *d);
/* Sets or clears the busy bit of a TSS descriptor in memory. */
void desc_set_busy(struct cpu *cpu, const struct desc *d, bool busy);

/* ---- loads; the caller calls cpu_mode_update() ---- */
/* Checks `sel` as a stack segment for privilege cpl; vec is raised for what is wrong with it, #SS
 * when not present. The null selector is allowed where null_ok. */
void seg_check_ss(struct cpu *cpu, uint16_t sel, uint8_t cpl, bool null_ok, enum vector vec,
		  struct desc *d);
/* Checks a data segment for CPL cpl; d->s is unusable for null. */
void seg_check_data(struct cpu *cpu, uint16_t sel, uint8_t cpl, enum vector vec, struct desc *d);
/* Set a segment register as a load in real or virtual-8086 mode does. */
void seg_set_real(struct cpu *cpu, enum seg s, uint16_t sel);
void seg_set_vm86(struct cpu *cpu, enum seg s, uint16_t sel);
void seg_set_null(struct cpu *cpu, enum seg s, uint16_t sel);
/* CS with CPL as its RPL. */
void seg_set_cs(struct cpu *cpu, const struct desc *d, uint8_t cpl);
/* A return to less privilege: ES, DS, FS, GS that the new CPL may not use become null. */
void seg_drop_inner(struct cpu *cpu);
/* #GP(0) unless rip may be executed in code segment `cs` (long: IA-32e mode is active). */
void seg_check_rip(struct cpu *cpu, const struct seg_state *cs, uint64_t rip);

static inline bool seg_is_code64(const struct cpu *cpu, const struct seg_state *cs)
{
	return (cs->attr & SEG_L) && cpu_long(cpu);
}

/* ---- stacks ---- */
struct stack {
	struct seg_state ss;
	uint64_t sp;
	uint64_t mask; /* of the stack pointer; all ones: 64-bit stack without base and limit */
	uint8_t cpl;   /* privilege that it is accessed with */
};

/* The stack in use. */
struct stack stack_current(const struct cpu *cpu);
/* Pointer mask of a stack segment outside 64-bit mode. */
static inline uint64_t stack_mask(const struct seg_state *ss)
{
	return ss->attr & SEG_DB ? 0xffffffff : 0xffff;
}

#define STACK_ITEMS_MAX 40

/* Pushes val[0], val[1] ...: all of them or none; faults with #SS(err). */
void stack_push(struct cpu *cpu, struct stack *st, const uint64_t *val, unsigned n, unsigned size,
		uint32_t err);
/* The item of `size` bytes at `off` bytes above the stack pointer; #SS(err). */
uint64_t stack_peek(struct cpu *cpu, const struct stack *st, uint64_t off, unsigned size,
		    uint32_t err);
/* Writes RSP, as wide as the mask says. */
void stack_set_pointer(struct cpu *cpu, uint64_t sp, uint64_t mask);

/* Linear address of byte `off` of the TSS in use. */
uint64_t tss_linear(const struct cpu *cpu, uint32_t off);
/* Stack for privilege cpl from the TSS, with all checks (16- and 32-bit TSS). */
void tss_stack(struct cpu *cpu, uint8_t cpl, struct stack *st);
/* Stack pointer from a 64-bit TSS: slot 0..2 RSP0..2, 3 + n ISTn. */
uint64_t tss_stack64(struct cpu *cpu, unsigned slot);
#define TSS_SLOT_IST 3

#endif
