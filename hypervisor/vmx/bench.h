/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU with nothing around it, for small programs whose end is known: ports, device memory, time
 * and random numbers that depend on nothing outside.
 */
#ifndef HYPERVISOR_VMX_BENCH_H
#define HYPERVISOR_VMX_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/engine.h"
#include "hypervisor/memory.h"

#define BENCH_MEMORY (1u << 20)
#define BENCH_CODE   0x8000u
#define BENCH_ERROR  256

struct bench {
	struct memory mem;
	struct engine *e;
};

/*
 * Loaded at BENCH_CODE, RSP below it, EDX 0. In 16-bit real mode segments are 0. In 64-bit mode, at
 * privilege 0, all memory is mapped where it is, a page a table entry, open to user mode:
 *
 *   0x1000   PML4, then PDPT, PD, PT
 *   0x5000   IDT, empty, for all vectors
 *   0x6000   GDT
 *   0x6100   TSS
 *
 * Selectors: 08h code and 10h data of privilege 0, 18h 32-bit code, 20h data and 28h code of user
 * mode, as SYSCALL and SYSRET want them, 30h the TSS, whose RSP0 is 0x7800.
 */
struct bench_program {
	const char *name;
	const char *code, *end;
	bool long_mode;
	/*
	 * Interrupt BENCH_VECTOR comes after every so many instructions and, where a REP
	 * instruction is near, in the middle of it. 0: none comes. 64-bit mode only.
	 */
	unsigned every;
};

#define BENCH_VECTOR 0x40

#define BENCH_PT  0x4000u
#define BENCH_IDT 0x5000u

/* For assembler code in 64-bit mode: an interrupt gate to a handler that ends with IRETQ. RAX goes.
 */
#define BENCH_ASM_GATE                            \
	".macro gate vector, to\n"                \
	"	leaq \\to(%rip), %rax\n"                \
	"	movw %ax, 0x5000+\\vector*16\n"         \
	"	movl $0x8e000008, 0x5002+\\vector*16\n" \
	"	movw $0, 0x5006+\\vector*16\n"          \
	".endm\n"

/*
 * Makes a vCPU as on a machine of that version, with program p. 0; -ENOMEM, or -errno and err of
 * creating the engine: then bench_stop() is not needed.
 */
int bench_start(struct bench *b, const struct engine_ops *ops, unsigned version,
		const struct bench_program *p, struct err *err);
/* Loads another program and resets the vCPU; the rest of memory stays. 0, or -errno and err. */
int bench_load(struct bench *b, const struct bench_program *p, struct err *err);
/* Runs until `count`, or until an exit before it. */
enum engine_exit_kind bench_run(struct bench *b, uint64_t count);
void bench_stop(struct bench *b);

/*
 * Runs a program from its start to its HLT, within `limit` instructions. *s: the state at its end.
 * If it ends otherwise, error says how. Result as of bench_start().
 */
int bench_run_program(const struct engine_ops *ops, unsigned version, const struct bench_program *p,
		      uint64_t limit, struct cpu_state *s, char error[BENCH_ERROR],
		      struct err *err);
/* Notes why a run ended as it should not have: the first reason stays. */
void bench_note_error(const struct bench *b, enum engine_exit_kind kind, char error[BENCH_ERROR]);

#endif
