/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU with nothing around it, for small programs whose end is known: ports, device memory, time
 * and random numbers that depend on nothing outside.
 */
#ifndef HYPERVISOR_VMX_BENCH_H
#define HYPERVISOR_VMX_BENCH_H

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
 * A program of len bytes at BENCH_CODE, in 16-bit real mode, segments 0, RSP below it, EDX 0.
 * 0, -ENOMEM, or what creating the engine failed with: then there is nothing to stop.
 */
int bench_start(struct bench *b, const struct engine_ops *ops, const void *code, size_t len,
		struct err *err);
/* Runs until that count or another exit. */
enum engine_exit_kind bench_run(struct bench *b, uint64_t count);
void bench_stop(struct bench *b);

/*
 * A program from its start to its HLT, within `limit` instructions; *s: where it ended. Another end
 * is noted. Result as bench_start().
 */
int bench_run_program(const struct engine_ops *ops, const void *code, size_t len, uint64_t limit,
		      struct cpu_state *s, char error[BENCH_ERROR], struct err *err);
/* Why a run ended as it should not have: the first reason stays. */
void bench_note_error(const struct bench *b, enum engine_exit_kind kind, char error[BENCH_ERROR]);

#endif
