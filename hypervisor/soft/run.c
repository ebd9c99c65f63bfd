/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop.
 *
 * At a boundary (between two instructions) the rules of boundary.h decide whether run() ends there,
 * and what is pending is delivered; then instructions run until something happens that may concern
 * events: either whole blocks, one after the other, as long as they end with near branches, or one
 * instruction alone (the careful way) when anything has to be looked at after it: TF, RF,
 * breakpoints, an interrupt shadow, a kick that came while events were being delivered.
 *
 * cpu->count is exact at block boundaries. A handler that faults leaves by longjmp; leave_op() then
 * adds the instructions of the block before the faulting one. Slow accesses in the middle of a
 * block leave the same way before anything was committed (cpu_restart()), and the instruction runs
 * again alone.
 *
 * "Fresh" boundary: an instruction retired since the last event was delivered. Only fresh
 * boundaries (and those inside REP) are named by a landmark, so kicks and bus stops wait for one. A
 * guest whose exceptions fault for ever has none; that is ENGINE_EXIT_STUCK.
 */
#include <string.h>

#include "hypervisor/boundary.h"
#include "hypervisor/soft/block.h"
#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/probe.h"
#include "hypervisor/soft/run.h"
#include "hypervisor/soft/translate.h"

/* instructions without an exit after which a guest whose kick waits is taken to spin */
#define SPIN_COUNT 100000u
#define SPIN_PARTS 2000u /* of REP instructions, likewise */

/* ---- leaving a handler ---- */
void cpu_raise(struct cpu *cpu, enum vector vec, uint32_t err)
{
	cpu->fault.vec = vec;
	cpu->fault.err = err;
	longjmp(cpu->escape, ESCAPE_FAULT);
}

void cpu_raise_pf(struct cpu *cpu, uint64_t linear, uint32_t err)
{
	cpu->fault.cr2 = linear;
	cpu_raise(cpu, VEC_PF, err);
}

void cpu_restart(struct cpu *cpu)
{
	longjmp(cpu->escape, ESCAPE_RESTART);
}

void cpu_refetch(struct cpu *cpu)
{
	longjmp(cpu->escape, ESCAPE_REFETCH);
}

static uint64_t wrap_rip(const struct cpu *cpu, uint64_t rip)
{
	return (cpu->mode & MODE_SIZE) == MODE_64 ? rip : (uint32_t)rip;
}

/* Makes count and RIP those of the boundary before the op that was left. */
static void leave_op(struct cpu *cpu)
{
	if (cpu->op) {
		cpu->count += cpu->op->index_in_block;
		cpu->rip = wrap_rip(cpu, op_rip(cpu, cpu->op));
	}
	cpu->op = NULL;
	cpu->block = NULL;
	cpu->single = cpu->rep_step = cpu->exit_seen = false;
}

/* Counts an exit, after an instruction that ends its block or ran alone. */
static void count_exit(struct cpu *cpu)
{
	if (!cpu->exit_seen || cpu->in_rep)
		return;
	cpu->exit_seen = false;
	cpu->at_landmark = true;
	cpu->exits++;
}

/* ---- events ---- */
static bool has_error_code(enum vector vec)
{
	return vec == VEC_DF || (vec >= VEC_TS && vec <= VEC_PF) || vec == VEC_AC;
}

static bool is_fresh(const struct cpu *cpu)
{
	return !cpu->undelivered || cpu->deliver_count != cpu->count;
}

static void deliver(struct cpu *cpu, enum event_type type, uint8_t vector, bool has_err,
		    uint32_t err)
{
	if (is_fresh(cpu))
		cpu->undelivered = 0;
	cpu->undelivered++;
	cpu->deliver_count = cpu->count;
	cpu->halted = false;
	cpu->single = true;
	intr_deliver(cpu, type, vector, has_err, err);
	cpu->single = false;
	cpu->exit_seen = false; /* its frame in device memory is no instruction's access */
	cpu->shadow = cpu->shadow_movss = false;
	cpu->in_rep = false;
}

/*
 * The data breakpoints that an instruction met before it faulted are no traps: it has not been
 * executed.
 */
static void drop_watched(struct cpu *cpu)
{
	if (!cpu->single)
		return;
	cpu->db_dr6 = cpu->db_before;
	cpu->db_pending = cpu->db_before != 0;
}

static void deliver_fault(struct cpu *cpu)
{
	drop_watched(cpu);
	leave_op(cpu);
	cpu->stats.exceptions++;
	if (cpu->fault.vec == VEC_PF)
		cpu->cr2 = cpu->fault.cr2;
	deliver(cpu, EVENT_EXCEPTION, (uint8_t)cpu->fault.vec, has_error_code(cpu->fault.vec),
		cpu->fault.err);
}

static void deliver_debug_trap(struct cpu *cpu)
{
	cpu_debug_status(cpu, cpu->db_dr6);
	cpu->db_pending = false;
	cpu->db_dr6 = 0;
	cpu->stats.exceptions++;
	deliver(cpu, EVENT_EXCEPTION, VEC_DB, false, 0);
}

static void deliver_restored(struct cpu *cpu)
{
	static const enum event_type type[8] = {
		[0] = EVENT_EXTERNAL, [2] = EVENT_NMI,	[3] = EVENT_EXCEPTION,
		[4] = EVENT_SOFT_INT, [5] = EVENT_INT1, [6] = EVENT_INT3,
	};
	struct event_state e = cpu->event;

	cpu->event = (struct event_state){ 0 };
	deliver(cpu, type[e.type & 7], e.vector, e.has_error, e.error);
}

static inline struct boundary_events events_of(const struct cpu *cpu)
{
	return (struct boundary_events){
		.rflags = cpu->rflags,
		.shadow = cpu->shadow,
		.movss = cpu->shadow_movss,
		.event = cpu->event.valid,
		.debug = cpu->db_pending,
		.nmi = cpu->nmi_pending,
		.blocked = cpu->nmi_blocked,
		.intr = cpu->intr_pending,
		.shutdown = cpu->shutdown,
	};
}

bool soft_can_interrupt(const struct cpu *cpu)
{
	struct boundary_events e = events_of(cpu);

	return boundary_can_interrupt(&e);
}

static void deliver_nmi(struct cpu *cpu)
{
	cpu->nmi_pending = false;
	cpu->nmi_blocked = true;
	cpu->stats.interrupts++;
	deliver(cpu, EVENT_NMI, VEC_NMI, false, 0);
}

static void deliver_interrupt(struct cpu *cpu)
{
	cpu->intr_pending = false;
	cpu->stats.interrupts++;
	deliver(cpu, EVENT_EXTERNAL, cpu->intr_vector, false, 0);
}

/* Delivers the first event that can be delivered now; false when there is none. */
static bool deliver_pending(struct cpu *cpu)
{
	struct boundary_events e = events_of(cpu);

	switch (boundary_event(&e)) {
	case BOUNDARY_NONE:
		return false;
	case BOUNDARY_EVENT:
		deliver_restored(cpu);
		break;
	case BOUNDARY_DEBUG:
		deliver_debug_trap(cpu);
		break;
	case BOUNDARY_NMI:
		deliver_nmi(cpu);
		break;
	case BOUNDARY_INTR:
		deliver_interrupt(cpu);
		break;
	}
	return true;
}

/* ---- boundaries ---- */
/* True: its count alone names this boundary. */
static bool is_nameable(const struct cpu *cpu)
{
	return cpu->count_exits ? cpu->at_landmark : is_fresh(cpu);
}

static inline bool is_stuck(void *ctx)
{
	const struct cpu *cpu = ctx;

	return cpu->undelivered >= STUCK_DELIVERIES && !is_fresh(cpu);
}

static inline bool take_kick(void *ctx)
{
	struct cpu *cpu = ctx;

	if (!cpu_kicked(cpu))
		return false;
	/* With its full barrier: a kick that comes now is seen later, or what led to it is now. */
	return __atomic_exchange_n(&cpu->kicked, 0, __ATOMIC_SEQ_CST) != 0;
}

/*
 * Counting exits, a kick waits for one. Where it finds the guest inside a REP instruction, nothing
 * retires for as long as page tables that lead to one page in many ways let that last; so each part
 * of one is taken for some instructions.
 */
static inline bool take_spin(void *ctx)
{
	struct cpu *cpu = ctx;

	if (!cpu->count_exits || !cpu_kicked(cpu))
		return false;
	cpu->spin_from -= cpu->in_rep ? SPIN_COUNT / SPIN_PARTS : 0;
	return cpu->count - cpu->spin_from >= SPIN_COUNT;
}

/* True: run() ends here, for the reason in *kind. */
static inline bool run_ends(struct cpu *cpu, const struct landmark *until,
			    enum engine_exit_kind *kind)
{
	static const struct boundary_ops ops = { is_stuck, take_kick, take_spin };
	const struct boundary b = {
		.events = events_of(cpu),
		.count = cpu->count_exits ? cpu->exits : cpu->count,
		.rip = cpu->rip,
		.rcx = cpu->gpr[R_RCX],
		.retired = !cpu->count_exits,
		.named = is_nameable(cpu) || (!cpu->count_exits && cpu->halted),
		.in_rep = !cpu->count_exits && cpu->in_rep,
		.halted = cpu->halted,
		.window_wanted = cpu->window_wanted,
		.stop_wanted = &cpu->stop_wanted,
	};

	return boundary_exit(&b, &ops, cpu, until, kind);
}

/* ---- one instruction ---- */
static unsigned fetch_bytes(struct cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n)
{
	uint64_t gpa = mmu_fetch_page(cpu, lin) | (lin & ~PAGE_MASK);
	uint64_t room = PAGE_SIZE - (lin & ~PAGE_MASK), off = memory_offset(cpu->mem, gpa);

	if (n > room)
		n = (unsigned)room;
	if (off != UINT64_MAX) {
		memory_tell(cpu->mem, off, n, MEMORY_FETCH);
		memcpy(buf, cpu->mem->base + off, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++)
		buf[i] = (uint8_t)cpu->bus.mmio_read(cpu->bus.ctx, gpa + i, 1);
	return n;
}

/*
 * Reads an instruction's bytes again, after all translations: their accessed bits may lie in these
 * very bytes. A block would not show them as they were either.
 */
static void read_again(struct cpu *cpu, uint64_t lin, uint64_t next, uint8_t *buf, unsigned n)
{
	uint64_t off = memory_offset(cpu->mem, mmu_fetch_page(cpu, lin) | (lin & ~PAGE_MASK));

	mmu_fetch_page(cpu, next);
	if (off != UINT64_MAX)
		memcpy(buf, cpu->mem->base + off, n);
}

/*
 * An instruction that no block can hold, from outside RAM, or one through two pages that runs
 * alone.
 */
static void fetch_by_hand(struct cpu *cpu, uint64_t lin, struct op *op)
{
	uint8_t buf[15];
	unsigned n = fetch_bytes(cpu, lin, buf, sizeof(buf));

	if (decode_op(buf, n, cpu->mode, 0, op) == DECODE_SHORT) {
		uint64_t next = wrap_rip(cpu, lin + n);

		read_again(cpu, lin, next, buf, n);
		n += fetch_bytes(cpu, next, buf + n, (unsigned)sizeof(buf) - n);
		if (decode_op(buf, n, cpu->mode, 0, op) == DECODE_SHORT)
			cpu_raise(cpu, VEC_GP, 0);
	}
	cpu->rep_step = true; /* its bytes are not watched for writes */
}

static uint64_t code_linear(const struct cpu *cpu)
{
	return wrap_rip(cpu, cpu->ea_base[SEG_CS] + cpu->rip);
}

static void set_one(struct cpu *cpu, const struct block *b, uint64_t lin)
{
	if (b && !block_is_cross(b))
		cpu->one[0] = b->op[0];
	else
		fetch_by_hand(cpu, lin, &cpu->one[0]);
	if ((cpu->mode & MODE_SEGCHECK) && cpu->rip + cpu->one[0].len - 1 > cpu->seg[SEG_CS].limit)
		cpu_raise(cpu, VEC_GP, 0);
	cpu->gpr[REG_RIPBASE] = cpu->rip;
}

static void fetch_one(struct cpu *cpu)
{
	uint64_t lin = code_linear(cpu);

	/* The block that ran last is not under way: a walk may write to its code. */
	cpu->op = NULL;
	cpu->block = NULL;
	set_one(cpu, block_find(cpu, lin), lin);
}

/*
 * True: there is a single-step trap after the op that has just run alone. With BTF that is so after
 * branches only; after a task switch never, as the T flag of a TSS serves that (SDM vol. 3,
 * 17.4.3).
 */
static bool has_stepped(const struct cpu *cpu, const struct op *op, uint64_t old_flags)
{
	uint64_t tf = op->flags & OPF_NEWSTEP ? cpu->rflags : old_flags;

	if (!(tf & FL_TF) || cpu->shadow_movss || cpu->task_switched)
		return false;
	if (!(cpu->debugctl & DEBUGCTL_BTF))
		return true;
	return op->flags & OPF_BRANCH ? cpu->branched : op->flags & OPF_FAR;
}

/* Runs cpu->one[0], whose RIP base is set. */
static void run_alone(struct cpu *cpu)
{
	struct op *op = &cpu->one[0];
	bool shadow = cpu->shadow, movss = cpu->shadow_movss;
	uint64_t old = cpu->rflags;

	cpu->stats.singles++;
	op->index_in_block = 0;
	cpu->shadow = cpu->shadow_movss = cpu->in_rep = cpu->rep_break = cpu->task_switched = false;
	cpu->branched = true;
	cpu->db_before = cpu->db_pending ? cpu->db_dr6 : 0;
	cpu->rflags &= ~(uint64_t)FL_RF;
	if (old & FL_TF)
		cpu->rep_step = true;
	cpu->single = true;
	cpu->block = NULL;
	cpu->op = op;
	cpu->rip = wrap_rip(cpu, op_next_rip(cpu, op));
	op[1].fn = op_block_end;
	op->fn(cpu, op);
	cpu->op = NULL;
	cpu->single = false;
	cpu->rep_step = false;
	if (has_stepped(cpu, op, old)) {
		cpu->db_pending = true;
		cpu->db_dr6 |= DR6_BS;
	}
	if (cpu->in_rep) {
		cpu->shadow = shadow;
		cpu->shadow_movss = movss;
		cpu->rflags |= old & FL_RF;
	} else {
		cpu->count++;
		count_exit(cpu);
	}
}

/* Raises #DB when an instruction breakpoint is at RIP. */
static void check_code_breakpoints(struct cpu *cpu)
{
	uint64_t lin = code_linear(cpu), hits = 0;

	if ((cpu->rflags & FL_RF) || cpu->in_rep || cpu->shadow_movss)
		return;
	for (unsigned i = 0; i < 4; i++) {
		if ((cpu->dr[7] & (3u << (2 * i))) && !((cpu->dr[7] >> (16 + 4 * i)) & 3) &&
		    cpu->dr[i] == lin)
			hits |= 1u << i;
	}
	if (hits) {
		cpu->op = NULL;
		cpu_debug_status(cpu, hits);
		cpu_raise(cpu, VEC_DB, 0);
	}
}

static void run_careful(struct cpu *cpu)
{
	if (unlikely(cpu->dr[7] & 0xff))
		check_code_breakpoints(cpu);
	fetch_one(cpu);
	run_alone(cpu);
}

/* ---- blocks ---- */
void op_block_end(struct cpu *cpu, const struct op *op)
{
}

static void run_ops(struct cpu *cpu, const struct op *op)
{
	cpu->op = op;
	op->fn(cpu, op);
}

/* The first n ops of a block that is longer than the count allows. */
static void run_partial(struct cpu *cpu, const struct block *b, unsigned n)
{
	memcpy(cpu->partial, b->op, n * sizeof(b->op[0]));
	cpu->gpr[REG_RIPBASE] = cpu->rip;
	cpu->rip = wrap_rip(cpu, cpu->rip + b->op[n].off);
	cpu->block = b;
	cpu->partial[n].fn = op_block_end;
	run_ops(cpu, cpu->partial);
	cpu->count += n;
}

static bool beyond_limit(const struct cpu *cpu, const struct block *b)
{
	return (cpu->mode & MODE_SEGCHECK) && cpu->rip + b->bytes - 1 > cpu->seg[SEG_CS].limit;
}

/*
 * Instructions that blocks may run one after the other by themselves: bounds the time that a kick
 * waits, and the stack where the compiler makes no jumps of tail calls.
 */
#define CHAIN_LENGTH 4096

static void set_chain_limit(struct cpu *cpu)
{
	uint64_t room = cpu->count_limit - cpu->count;

	cpu->chain_limit = cpu->count + (room < CHAIN_LENGTH ? room : CHAIN_LENGTH);
}

/*
 * Counts the last block of a chain; returns it, or NULL when events have to be looked at after it.
 */
static struct block *finish_chain(struct cpu *cpu)
{
	struct block *b = (struct block *)cpu->block;

	cpu->count += b->n;
	if (b->plain)
		return b;
	cpu->count -= cpu->in_rep;
	count_exit(cpu);
	return NULL;
}

/* Something that holds for the next instruction only. */
static bool has_shadow(const struct cpu *cpu)
{
	return cpu->shadow || (cpu->rflags & FL_RF);
}

/*
 * Ends it at the start of block b. False: the first instruction has to run by itself, because
 * something waits for the boundary after it, or because it may be left in the middle.
 */
static bool shadow_end(struct cpu *cpu, const struct block *b)
{
	if (cpu->intr_pending || cpu->nmi_pending || cpu->window_wanted || cpu->db_pending ||
	    cpu->event.valid || (b->op[0].flags & OPF_END) || block_is_cross(b))
		return false;
	cpu->shadow = cpu->shadow_movss = false;
	cpu->rflags &= ~(uint64_t)FL_RF;
	return true;
}

/*
 * Runs at least one instruction: a kick that comes now must not make a boundary out of the place
 * inside a REP instruction that the caller has just left (in_rep is off already).
 */
static void run_blocks(struct cpu *cpu)
{
	struct block *b = block_find(cpu, code_linear(cpu));
	bool ran = false;

	while (b && (likely(!cpu_kicked(cpu)) || !ran) && likely(!beyond_limit(cpu, b))) {
		uint64_t room = cpu->count_limit - cpu->count;

		/* No room: asked to stop where no landmark can, so one instruction later. */
		if (unlikely(!room) || (unlikely(has_shadow(cpu)) && !shadow_end(cpu, b)))
			break;
		if (unlikely(room < b->n)) {
			run_partial(cpu, b, (unsigned)room);
			return;
		}
		cpu->gpr[REG_RIPBASE] = cpu->rip;
		cpu->rip = wrap_rip(cpu, cpu->rip + b->bytes);
		cpu->block = b;
		set_chain_limit(cpu);
		cpu->op = b->op;
		b->enter(cpu, b->op);
		ran = true;
		b = finish_chain(cpu);
		/* Fetching may fault, and the boundary comes before that. */
		if (!b || unlikely(cpu->count == cpu->count_limit))
			return;
		b = block_next(cpu, b);
	}
	if (unlikely(cpu->probe) && ran)
		return;
	if (!cpu_kicked(cpu) || !ran) {
		fetch_one(cpu);
		run_alone(cpu);
	}
}

/* Anything to look at after each instruction? */
static bool must_be_careful(const struct cpu *cpu)
{
	return (cpu->rflags & FL_TF) || cpu_kicked(cpu) || (cpu->dr[7] & 0xff) ||
	       cpu->rep_stop_armed || probe_steps(cpu);
}

static void execute(struct cpu *cpu)
{
	if (unlikely(must_be_careful(cpu))) {
		run_careful(cpu);
		return;
	}
	cpu->in_rep = cpu->rep_break = false;
	run_blocks(cpu);
	cpu->op = NULL;
	cpu->block = NULL;
}

/*
 * May block b go on after `op` of it, which has run alone? Not when a boundary has to be looked at.
 */
static bool may_resume(const struct cpu *cpu, const struct block *b, const struct op *op)
{
	return b && b->mode == cpu->mode && op == &b->op[op->index_in_block] &&
	       !(op->flags & OPF_END) && !cpu->at_landmark && !cpu->in_rep && !cpu->db_pending &&
	       !cpu->stop_wanted && !cpu->probe_hit && !has_shadow(cpu) && !must_be_careful(cpu);
}

/* The op that was left runs again, alone, and then the rest of its block. */
static void restart_alone(struct cpu *cpu)
{
	const struct block *b = cpu->block;
	const struct op *op = trans_original(cpu, cpu->op);

	cpu->one[0] = *op;
	leave_op(cpu);
	run_alone(cpu);
	if (!may_resume(cpu, b, op))
		return;
	cpu->count -= op->index_in_block + 1u;
	cpu->rip = wrap_rip(cpu, cpu->gpr[REG_RIPBASE] + b->bytes);
	cpu->block = b;
	run_ops(cpu, op + 1);
	finish_chain(cpu);
	cpu->op = NULL;
	cpu->block = NULL;
}

/* The ITLB does not hold the second page of the instruction that was left, or holds another one. */
static void refetch_alone(struct cpu *cpu)
{
	uint64_t lin;

	leave_op(cpu);
	lin = code_linear(cpu);
	set_one(cpu, block_find_slow(cpu, lin), lin);
	run_alone(cpu);
}

static void set_limits(struct cpu *cpu, const struct landmark *until)
{
	bool here = !cpu->count_exits && until->in_rep && cpu->count == until->count;

	cpu->count_limit =
		cpu->count_exits ? UINT64_MAX : until->count + (here && until->count != UINT64_MAX);
	if (cpu->sample_at < cpu->count_limit)
		cpu->count_limit = cpu->sample_at;
	cpu->rep_stop_armed = here;
	cpu->rep_stop_rip = until->rip;
	cpu->rep_stop_rcx = until->rcx;
}

static void take_sample(struct cpu *cpu)
{
	cpu->sample_at += cpu->sampler->every;
	cpu->sampler->take(cpu->sampler->ctx, cpu->rip, cpu->cpl == 3);
}

enum engine_exit_kind soft_run_cpu(struct cpu *cpu, const struct landmark *until)
{
	enum engine_exit_kind kind;

	cpu->spin_from = cpu->count;
	cpu->probe_due = cpu->probe_hit = false;
	switch (setjmp(cpu->escape)) {
	case ESCAPE_FAULT:
		cpu->probe_due = true;
		deliver_fault(cpu);
		break;
	case ESCAPE_RESTART:
		cpu->probe_due = true;
		restart_alone(cpu);
		break;
	case ESCAPE_REFETCH:
		cpu->probe_due = true;
		refetch_alone(cpu);
		break;
	}
	while (!probe_ends(cpu, &kind) && !run_ends(cpu, until, &kind)) {
		cpu->at_landmark = false;
		cpu->probe_due = true;
		if (unlikely(cpu->count >= cpu->sample_at))
			take_sample(cpu);
		if (deliver_pending(cpu))
			continue;
		set_limits(cpu, until);
		execute(cpu);
	}
	cpu->rep_stop_armed = false;
	if (!cpu->in_rep && is_nameable(cpu))
		cpu->stop_wanted =
			false; /* run() has returned after the instruction, whatever for */
	return kind;
}

static void arm_rep_stop(struct cpu *cpu, const struct landmark *rep)
{
	cpu->rep_stop_armed = rep;
	if (!rep)
		return;
	cpu->rep_stop_rip = rep->rip;
	cpu->rep_stop_rcx = rep->rcx;
}

static bool stands_in_rep(const struct cpu *cpu)
{
	return cpu_kicked(cpu) || (cpu->rep_stop_armed && cpu->gpr[R_RCX] == cpu->rep_stop_rcx &&
				   cpu->rip == cpu->rep_stop_rip);
}

enum soft_step soft_step_cpu(struct cpu *cpu, const struct landmark *rep, bool breakpoints)
{
	cpu->exit_seen = false;
	arm_rep_stop(cpu, rep);
	switch (setjmp(cpu->escape)) {
	case ESCAPE_FAULT:
		deliver_fault(cpu);
		return SOFT_STEP_EVENT;
	}
	if (deliver_pending(cpu))
		return SOFT_STEP_EVENT;
	cpu->at_landmark = false;
	if (breakpoints && (cpu->dr[7] & 0xff))
		check_code_breakpoints(cpu);
	do {
		cpu->op = NULL;
		fetch_by_hand(cpu, code_linear(cpu), &cpu->one[0]);
		if ((cpu->mode & MODE_SEGCHECK) &&
		    cpu->rip + cpu->one[0].len - 1 > cpu->seg[SEG_CS].limit)
			cpu_raise(cpu, VEC_GP, 0);
		cpu->gpr[REG_RIPBASE] = cpu->rip;
		/* Many iterations at once need code whose page is watched for writes. */
		if (cpu->one[0].flags & (OPF_REP | OPF_REPNE)) {
			cpu->rep_step = false;
			fetch_one(cpu);
		}
		run_alone(cpu);
	} while (cpu->in_rep && !cpu->db_pending && !stands_in_rep(cpu));
	if (cpu->in_rep)
		return SOFT_STEP_REP;
	return cpu->at_landmark ? SOFT_STEP_EXIT : SOFT_STEP_RETIRED;
}
