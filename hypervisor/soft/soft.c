/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine interface of the software CPU. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/probe.h"
#include "hypervisor/soft/run.h"
#include "hypervisor/soft/translate.h"

struct soft {
	struct engine e;
	struct cpu cpu __attribute__((aligned(64)));
};

static struct cpu *cpu_of(struct engine *e)
{
	return &((struct soft *)e)->cpu;
}

static const struct cpu *const_cpu_of(const struct engine *e)
{
	return &((const struct soft *)e)->cpu;
}

/* Guests are told of these, and handlers and translated code have the host execute them. */
static const char *soft_probe(void)
{
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("aes") ||
	    !__builtin_cpu_supports("pclmul"))
		return "this host's processor lacks SSE4.2, AES or PCLMULQDQ, which guests have";
	return NULL;
}

static const char *soft_reserve(void)
{
	const char *why = soft_probe();

	return why ? why : code_reserve();
}

static void soft_destroy(struct engine *e)
{
	if (!e)
		return;
	block_cache_destroy(cpu_of(e)->blocks);
	trans_destroy(cpu_of(e)->trans);
	free(e);
}

static void invalidate_tlbs(struct cpu *cpu)
{
	for (unsigned i = 0; i < MMU_COUNT * TLB_SIZE; i++)
		cpu->tlbs[i / TLB_SIZE][i % TLB_SIZE].rd =
			cpu->tlbs[i / TLB_SIZE][i % TLB_SIZE].wr = TLB_INVALID;
	for (unsigned i = 0; i < 2 * TLB_SIZE; i++)
		cpu->itlb[i / TLB_SIZE][i % TLB_SIZE].tag = TLB_INVALID;
}

static struct engine *soft_create_interpret(struct memory *mem, const struct engine_bus *bus,
					    struct err *err)
{
	struct soft *s = aligned_alloc(64, sizeof(*s));
	struct cpu_state reset;

	if (!s) {
		err_set(err, ENOMEM, "no memory for the software CPU");
		return NULL;
	}
	memset(s, 0, sizeof(*s));
	s->e.ops = &soft_interpret_engine_ops;
	s->cpu.mem = mem;
	s->cpu.bus = *bus;
	s->cpu.sample_at = UINT64_MAX;
	s->cpu.blocks = block_cache_create(mem);
	if (!s->cpu.blocks) {
		err_set(err, ENOMEM, "no memory for the block cache of the software CPU");
		free(s);
		return NULL;
	}
	decode_init();
	invalidate_tlbs(&s->cpu);
	cpu_state_reset(&reset);
	if (soft_state_set(&s->cpu, &reset, err) < 0) {
		soft_destroy(&s->e);
		return NULL;
	}
	return &s->e;
}

static struct engine *soft_create_exits(struct memory *mem, const struct engine_bus *bus,
					struct err *err)
{
	struct engine *e = soft_create_interpret(mem, bus, err);

	if (!e)
		return NULL;
	e->ops = &soft_exits_engine_ops;
	cpu_of(e)->count_exits = true;
	return e;
}

static struct engine *soft_create(struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct engine *e = soft_create_interpret(mem, bus, err);

	if (!e)
		return NULL;
	e->ops = &soft_engine_ops;
	cpu_of(e)->trans = trans_create(cpu_of(e), 0);
	if (cpu_of(e)->trans)
		return e;
	err_set(err, ENOMEM, "no memory for the translated code of the software CPU");
	soft_destroy(e);
	return NULL;
}

struct cpu *soft_engine_cpu(struct engine *e)
{
	return cpu_of(e);
}

static enum engine_exit_kind soft_run(struct engine *e, const struct landmark *until)
{
	return soft_run_cpu(cpu_of(e), until);
}

static void soft_kick(struct engine *e)
{
	__atomic_store_n(&cpu_of(e)->kicked, 1, __ATOMIC_RELEASE);
}

static void soft_get_state(struct engine *e, struct cpu_state *s)
{
	soft_state_get(cpu_of(e), s);
}

static int soft_set_state(struct engine *e, const struct cpu_state *s, struct err *err)
{
	return soft_state_set(cpu_of(e), s, err);
}

static uint64_t soft_count(const struct engine *e)
{
	const struct cpu *cpu = const_cpu_of(e);

	return cpu->count_exits ? cpu->exits : cpu_count(cpu);
}

static void soft_landmark(const struct engine *e, struct landmark *lm)
{
	const struct cpu *cpu = const_cpu_of(e);

	*lm = (struct landmark){
		.count = soft_count(e),
		.rip = cpu->op ? op_rip(cpu, cpu->op) : cpu->rip,
		.rcx = cpu->gpr[R_RCX],
		.in_rep = cpu->in_rep && !cpu->count_exits,
	};
}

static bool soft_interruptible(const struct engine *e)
{
	return soft_can_interrupt(const_cpu_of(e));
}

static void soft_inject(struct engine *e, uint8_t vector)
{
	struct cpu *cpu = cpu_of(e);

	cpu->intr_vector = vector;
	cpu->intr_pending = true;
}

static void soft_inject_nmi(struct engine *e)
{
	cpu_of(e)->nmi_pending = true;
}

static void soft_window(struct engine *e, bool wanted)
{
	cpu_of(e)->window_wanted = wanted;
}

static void soft_bus_stop(struct engine *e)
{
	cpu_of(e)->stop_wanted = true;
}

static void soft_flush_tlb(struct engine *e)
{
	mmu_flush_all(cpu_of(e));
}

static void soft_memory_written(struct engine *e, uint64_t gpa, uint64_t len)
{
	block_invalidate(cpu_of(e), gpa, len);
}

/* Code that runs from here on is fetched once more. */
static void soft_memory_watched(struct engine *e)
{
	block_drop_all(cpu_of(e));
	mmu_debug_changed(cpu_of(e));
}

static void soft_sync_dirty(struct engine *e)
{
	mmu_rearm_dirty(cpu_of(e));
}

#define STAT(field)                                                                     \
	{                                                                               \
#field, offsetof(struct cpu, stats) + offsetof(struct cpu_stats, field) \
	}

static size_t soft_stats(const struct engine *e, struct engine_stat *stats, size_t max)
{
	static const struct {
		const char *name;
		size_t offset;
	} row[] = {
		STAT(blocks),	    STAT(decoded), STAT(tlb_misses), STAT(walks),
		STAT(singles),	    STAT(smc),	   STAT(exceptions), STAT(interrupts),
		STAT(ports),	    STAT(mmio),	   STAT(cpuid),	     STAT(msr),
		STAT(rdtsc),	    STAT(hlt),	   STAT(translated), STAT(code_bytes),
		STAT(code_dropped), STAT(in_code),
	};
	const size_t n = sizeof(row) / sizeof(row[0]);

	for (size_t i = 0; i < n && i < max; i++) {
		stats[i].name = row[i].name;
		memcpy(&stats[i].value, (const char *)const_cpu_of(e) + row[i].offset,
		       sizeof(uint64_t));
	}
	return n;
}

static const char *soft_last_error(const struct engine *e)
{
	return "the software CPU never fails";
}

static void soft_debug(struct engine *e, const struct engine_probe *p)
{
	probe_set(cpu_of(e), p);
}

/* The first count above the present one that is a multiple. */
static void soft_sample(struct engine *e, const struct engine_sampler *s)
{
	struct cpu *cpu = cpu_of(e);

	cpu->sampler = s;
	cpu->sample_at = s ? (cpu->count / s->every + 1) * s->every : UINT64_MAX;
}

static void soft_hidden_save(struct engine *e, struct buf *out)
{
	hidden_save(cpu_of(e), out);
}

static int soft_hidden_restore(struct engine *e, struct rd *in)
{
	return hidden_restore(cpu_of(e), in);
}

static int soft_flip_tlb(struct engine *e, uint64_t which)
{
	return hidden_flip(cpu_of(e), which);
}

#define SOFT_OPS                                                                                   \
	.probe = soft_probe, .destroy = soft_destroy, .run = soft_run, .kick = soft_kick,          \
	.get_state = soft_get_state, .set_state = soft_set_state, .count = soft_count,             \
	.landmark = soft_landmark, .can_interrupt = soft_interruptible, .inject = soft_inject,     \
	.inject_nmi = soft_inject_nmi, .window = soft_window, .bus_stop = soft_bus_stop,           \
	.flush_tlb = soft_flush_tlb, .memory_written = soft_memory_written,                        \
	.memory_watched = soft_memory_watched, .sync_dirty = soft_sync_dirty, .debug = soft_debug, \
	.sample = soft_sample, .hidden_save = soft_hidden_save,                                    \
	.hidden_restore = soft_hidden_restore, .flip_tlb = soft_flip_tlb, .stats = soft_stats,     \
	.last_error = soft_last_error

const struct engine_ops soft_engine_ops = { .name = "soft",
					    .counter = "retired",
					    .count_ns = 1,
					    .reserve = soft_reserve,
					    .create = soft_create,
					    SOFT_OPS };
/* The same engine without host code: for comparing, and where nothing may be mapped executable. */
const struct engine_ops soft_interpret_engine_ops = { .name = "soft:interpret",
						      .counter = "retired",
						      .count_ns = 1,
						      .reserve = soft_probe,
						      .create = soft_create_interpret,
						      SOFT_OPS };
/*
 * Counts what an engine without an instruction counter counts, so that each can replay the other's
 * records.
 */
const struct engine_ops soft_exits_engine_ops = { .name = "soft:exits",
						  .counter = "exits",
						  .count_ns = COUNT_NS_EXITS,
						  .reserve = soft_probe,
						  .create = soft_create_exits,
						  SOFT_OPS };
