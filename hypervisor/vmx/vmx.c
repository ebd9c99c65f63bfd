// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The run loop and the engine interface; hypervisor/vmx/vmx.h tells the idea.
 *
 * The boundaries at which run() may return are those of the software CPU: boundary.h has the rules.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/boundary.h"
#include "hypervisor/soft/run.h"
#include "hypervisor/vmx/agree.h"
#include "hypervisor/vmx/measure.h"
#include "hypervisor/vmx/vmx.h"

/* VMX basic exit reasons: SDM vol. 3, appendix C. */
#define EXIT_EXCEPTION	  0
#define EXIT_TRIPLE_FAULT 2
#define EXIT_WINDOW	  7
#define EXIT_NMI_WINDOW	  8

#define INFO_VALID	(1u << 31)
#define INFO_HAS_ERROR	(1u << 11)
#define INFO_TYPE(info) ((info) >> 8 & 7)
#define TYPE_NMI	2
#define TYPE_EXCEPTION	3
#define TYPE_SOFTWARE	4 /* and above */
#define TYPE_PRIVILEGED 5 /* INT1 */

#define DR6_CAUSES (DR6_TRAPS | DR6_BD | DR6_BS)

/*
 * Steps of the run loop without a landmark after which a guest whose kick waits is taken to spin.
 */
#define BARREN_MAX 1000

/*
 * Parts of at most 4096 iterations of a REP instruction that are still done when a kick waits and
 * no landmark can name a place inside: some milliseconds. Page tables that lead to one page in many
 * ways let a guest ask for minutes.
 */
#define REP_PARTS_MAX 4096u

static struct vmx *vmx_of(struct engine *e)
{
	return (struct vmx *)e;
}

static const struct vmx *const_vmx_of(const struct engine *e)
{
	return (const struct vmx *)e;
}

static bool set_error(struct vmx *v, const char *text)
{
	snprintf(v->error, sizeof(v->error), "%s", text);
	return false;
}

/* ---- boundaries ---- */

static bool has_shadow(const struct cpu_state *s)
{
	return s->sti_shadow || s->movss_shadow;
}

static struct boundary_events events_of(const struct cpu_state *s)
{
	return (struct boundary_events){
		.rflags = s->rflags,
		.shadow = has_shadow(s),
		.movss = s->movss_shadow,
		.event = s->event.valid,
		.debug = s->debug_pending,
		.nmi = s->nmi_pending,
		.blocked = s->nmi_blocked,
		.intr = s->intr_pending,
		.shutdown = s->shutdown,
	};
}

/* The flag that a kick sets is the one in the run page: the module looks at it too. */
bool vmx_is_kicked(const struct vmx *v)
{
	return __atomic_load_n(&v->run->kick, __ATOMIC_ACQUIRE);
}

/* Between two iterations of a REP instruction, where a landmark with RCX names the place. */
static bool in_rep(const struct vmx *v)
{
	return v->source->retired && v->st.in_rep && !v->rep_unnamed;
}

static bool take_kick(void *ctx)
{
	struct vmx *v = ctx;

	if (!vmx_is_kicked(v))
		return false;
	soft_engine_cpu(v->soft)->kicked = 0;
	return __atomic_exchange_n(&v->run->kick, 0, __ATOMIC_ACQ_REL);
}

/* A kick waits for a landmark, and none comes: the caller may want to give up. */
static bool take_spin(void *ctx)
{
	struct vmx *v = ctx;
	bool spins = vmx_is_kicked(v) && (v->spins || v->barren >= BARREN_MAX);

	v->spins = false;
	if (spins || v->at_landmark)
		v->barren = 0;
	return spins && !v->at_landmark;
}

/*
 * Faults that fault again: only where every step is seen; elsewhere the processor delivers them by
 * itself.
 */
static bool is_stuck(void *ctx)
{
	const struct vmx *v = ctx;

	return v->source->retired && !v->source->pmu && !v->at_landmark &&
	       v->deliveries >= v->stuck_after;
}

static bool run_ends(struct vmx *v, const struct landmark *until, enum engine_exit_kind *kind)
{
	static const struct boundary_ops ops = { is_stuck, take_kick, take_spin };
	const struct boundary b = {
		.events = events_of(&v->st),
		.count = v->count,
		.rip = v->st.rip,
		.rcx = v->st.gpr[R_RCX],
		.retired = v->source->retired,
		.named = v->at_landmark,
		.in_rep = in_rep(v),
		.halted = v->st.halted,
		.window_wanted = v->window_wanted && !v->rep_unnamed,
		.stop_wanted = &v->stop_wanted,
	};

	return boundary_exit(&b, &ops, v, until, kind);
}

/* ---- the software CPU ---- */

#define PAGING_BITS(s) ((s)->cr0 ^ (s)->cr4 << 1 ^ (s)->efer << 40)

static void soft_begin(struct vmx *v, struct cpu_state *s)
{
	*s = v->st;
	s->count = v->count;
	s->intr_pending = s->nmi_pending = false; /* the processor delivers those */
}

static void soft_end(struct vmx *v, const struct cpu_state *before)
{
	struct cpu_state *s = &v->st;
	bool intr = s->intr_pending, nmi = s->nmi_pending;
	uint8_t vector = s->intr_vector;

	soft_state_get(soft_engine_cpu(v->soft), s);
	s->intr_pending = intr;
	s->nmi_pending = nmi;
	s->intr_vector = vector;
	v->load |= TWVMX_LOAD_GPR | TWVMX_LOAD_SYS;
	if (memcmp(s->fxsave, before->fxsave, sizeof(s->fxsave)) || s->xcr0 != before->xcr0)
		v->load |= TWVMX_LOAD_FPU;
	/* The processor has cached translations of its own, which the instruction did not reach. */
	v->flush |= soft_engine_cpu(v->soft)->guest_flushes != v->guest_flushes;
	v->guest_flushes = soft_engine_cpu(v->soft)->guest_flushes;
	v->flush |= s->cr0 != before->cr0 || s->cr3 != before->cr3 || s->cr4 != before->cr4 ||
		    s->efer != before->efer;
}

/* The landmark inside a REP instruction that may come next, or NULL. */
static const struct landmark *rep_target(const struct vmx *v)
{
	return v->source->retired && v->until.in_rep && v->until.count == v->count ? &v->until
										   : NULL;
}

/*
 * A processor that an interrupt of the host's has stopped between two iterations of REP shows RF,
 * whether or not the instruction began with it; the software CPU shows what it began with. So no
 * landmark may lie inside an instruction that the processor may have begun. Where the software CPU
 * begins it, as on the way to a record's landmark, both agree.
 */
static bool may_be_begun(const struct vmx *v)
{
	return v->source->pmu && v->st.rflags & FL_RF && !v->st.in_rep && !rep_target(v);
}

/* Where exits are counted, no landmark lies inside any instruction. */
static bool must_be_whole(const struct vmx *v)
{
	return v->rep_unnamed || !v->source->retired || may_be_begun(v);
}

/*
 * Tells the software CPU of a kick that waits. A kick sets the run page's flag first, then this
 * one; so the page is read behind a full barrier, or one that comes now would be lost.
 */
static void pass_on_kick(struct vmx *v, struct cpu *cpu)
{
	__atomic_exchange_n(&cpu->kicked, 0, __ATOMIC_SEQ_CST);
	if (vmx_is_kicked(v))
		__atomic_store_n(&cpu->kicked, 1, __ATOMIC_RELEASE);
}

/*
 * An instruction inside which no landmark may lie, to its end. A kick that comes meanwhile stays in
 * the run page; where the end is far, its caller is told that no place comes that has a name, and
 * may look after others, or give up. An exit in one part makes an exit of the whole.
 */
static enum soft_step execute_whole(struct vmx *v, struct cpu *cpu, bool fresh)
{
	enum soft_step step;
	unsigned parts = 0;
	bool exits = v->rep_exits, left;

	do {
		pass_on_kick(v, cpu);
		step = soft_step_cpu(cpu, NULL, fresh);
		exits |= cpu->exit_seen;
	} while (step == SOFT_STEP_REP && !cpu->db_pending && parts++ < REP_PARTS_MAX);
	left = step == SOFT_STEP_REP && !cpu->db_pending;
	v->rep_unnamed = step == SOFT_STEP_REP;
	v->rep_exits = left && exits;
	v->spins |= left;
	v->reps_left += left;
	v->reps_completed += parts && !v->rep_unnamed;
	return step == SOFT_STEP_RETIRED && exits ? SOFT_STEP_EXIT : step;
}

static enum soft_step soft_execute(struct vmx *v, bool fresh)
{
	struct cpu *cpu = soft_engine_cpu(v->soft);

	if (must_be_whole(v))
		return execute_whole(v, cpu, fresh);
	return soft_step_cpu(cpu, rep_target(v), fresh);
}

/*
 * One instruction, or the delivery of st.event, in software. `fresh`: the processor has not looked
 * at it.
 */
static bool soft_step(struct vmx *v, bool fresh)
{
	struct cpu_state before;
	struct err err = ERR_INIT;
	enum soft_step step;

	soft_begin(v, &before);
	if (soft_state_set(soft_engine_cpu(v->soft), &before, &err) < 0)
		return set_error(v, err.text);
	v->soft_steps++;
	step = soft_execute(v, fresh);
	soft_end(v, &before);
	if (step == SOFT_STEP_EXIT || (v->source->retired && step == SOFT_STEP_RETIRED)) {
		v->count++;
		v->at_landmark = true;
	}
	if (step == SOFT_STEP_RETIRED || step == SOFT_STEP_EXIT)
		v->deliveries = 0;
	else
		v->deliveries +=
			soft_engine_cpu(v->soft)
				->undelivered; /* two, where the first one's delivery faults */
	return true;
}

/* ---- into the guest ---- */

static uint32_t event_info(const struct event_state *e)
{
	return INFO_VALID | e->vector | (uint32_t)e->type << 8 |
	       (e->has_error ? INFO_HAS_ERROR : 0);
}

/* Takes the event that is delivered at this boundary out of the state; false: there is none. */
static bool take_event(struct cpu_state *s, struct event_state *e)
{
	const struct boundary_events pending = events_of(s);

	switch (boundary_event(&pending)) {
	case BOUNDARY_NONE:
		return false;
	case BOUNDARY_EVENT:
		*e = s->event;
		s->event = (struct event_state){ 0 };
		break;
	case BOUNDARY_DEBUG:
		s->dr[6] = x86_debug_status(s->dr[6], s->debug_dr6);
		s->debugctl = 0;
		s->debug_pending = false;
		s->debug_dr6 = 0;
		*e = (struct event_state){ .vector = VEC_DB, .type = TYPE_EXCEPTION };
		break;
	case BOUNDARY_NMI:
		s->nmi_pending = false;
		*e = (struct event_state){ .vector = VEC_NMI, .type = TYPE_NMI };
		break;
	case BOUNDARY_INTR:
		s->intr_pending = false;
		*e = (struct event_state){ .vector = s->intr_vector };
		break;
	}
	return true;
}

/* Chooses the event that the entry delivers. */
static void choose_event(struct vmx *v)
{
	struct cpu_state *s = &v->st;
	struct event_state e = { 0 };
	bool chosen = take_event(s, &e);

	v->run->entry_info = chosen ? event_info(&e) : 0;
	v->run->entry_error = e.error;
	v->run->entry_len = 0;
	if (!chosen)
		return;
	v->events++;
	if (s->halted || has_shadow(s) || s->in_rep)
		v->load |= TWVMX_LOAD_GPR;
	if (s->in_rep)
		s->rflags |= FL_RF;
	if (e.type == TYPE_NMI && s->nmi_blocked) {
		s->nmi_blocked = false; /* by this very one */
		v->load |= TWVMX_LOAD_GPR;
	}
	s->halted = s->sti_shadow = s->movss_shadow = s->in_rep = false;
	v->rep_unnamed = v->rep_exits = false;
}

static uint32_t run_flags(struct vmx *v, bool step)
{
	uint32_t flags = v->flush ? TWVMX_RUN_FLUSH : 0;

	if (v->bus.time_line)
		flags |= TWVMX_RUN_TIME;
	if (v->cpuid_served)
		flags |= TWVMX_RUN_CPUID;
	if (v->window_wanted || v->st.intr_pending)
		flags |= TWVMX_RUN_WINDOW;
	if (v->st.nmi_pending)
		flags |= TWVMX_RUN_NMI;
	if (v->source->pmu)
		flags |= TWVMX_RUN_COUNT;
	if (step && v->run->entry_info)
		flags |= TWVMX_RUN_NONE;
	else if (step)
		flags |= TWVMX_RUN_STEP;
	return flags;
}

/* Hands over count and clock: the module completes instructions that count by them. */
static void hand_over_count(struct vmx *v)
{
	struct twvmx_run *r = v->run;
	struct engine_time t;

	r->count = v->count;
	r->limit = v->stop_wanted ? 0 : v->until.count;
	r->stop = v->stop;
	if (!v->bus.time_line)
		return;
	v->bus.time_line(v->bus.ctx, &t);
	r->time = (struct twvmx_time){ .anchor_ns = t.anchor_ns,
				       .anchor_count = t.anchor_count,
				       .tsc_offset = v->st.tsc_offset,
				       .rate = t.rate };
}

/*
 * An event that did not get through. Software interrupts come again by themselves: RIP is at the
 * instruction.
 */
static void take_back_event(struct vmx *v)
{
	const struct twvmx_run *r = v->run;
	struct cpu_state *s = &v->st;

	if (!(r->idt_info & INFO_VALID) || INFO_TYPE(r->idt_info) >= TYPE_SOFTWARE)
		return;
	/* Its delivery has begun, so that no instruction comes before it, on neither engine. */
	if (INFO_TYPE(r->idt_info) == TYPE_NMI)
		s->nmi_blocked = true;
	s->event = (struct event_state){
		.valid = true,
		.vector = (uint8_t)r->idt_info,
		.type = INFO_TYPE(r->idt_info),
		.has_error = r->idt_info & INFO_HAS_ERROR,
		.error = r->idt_info & INFO_HAS_ERROR ? r->idt_error : 0,
	};
}

static bool enter(struct vmx *v, bool step)
{
	struct twvmx_run *r = v->run;

	if (!v->mapped && vmx_device_map(v) < 0)
		return false;
	if (v->cpuid_served && engine_apic_is_off(&v->bus) != v->cpuid_apic_off) {
		v->cpuid_apic_off = !v->cpuid_apic_off;
		v->cpuid_served = vmx_device_cpuid(v);
	}
	choose_event(v);
	if (v->load)
		vmx_regs_from_state(&r->regs, &v->st);
	r->version = TWVMX_VERSION;
	r->load = v->load;
	r->flags = run_flags(v, step);
	hand_over_count(v);
	if (ioctl(v->fd, TWVMX_IOC_RUN, 0) < 0) {
		snprintf(v->error, sizeof(v->error), "the module cannot run the guest: %s",
			 strerror(errno));
		return false;
	}
	v->entries++;
	v->load = 0;
	v->flush = false;
	v->count = r->count;
	vmx_regs_to_state(&r->regs, &v->st);
	take_back_event(v);
	return true;
}

/* ---- exits ---- */

static void raise(struct vmx *v, uint8_t vector, bool has_error, uint32_t error)
{
	v->st.event = (struct event_state){ .valid = true,
					    .vector = vector,
					    .type = TYPE_EXCEPTION,
					    .has_error = has_error,
					    .error = error };
}

/*
 * An #AC that the guest has not asked for is the host's, which looks for locked accesses across
 * cache lines.
 */
static bool is_hosts_alignment_check(const struct cpu_state *s, uint8_t vector)
{
	bool user = SEG_DPL(s->seg[SEG_SS].attr) == 3 || s->rflags & FL_VM;

	return vector == VEC_AC && !(user && s->cr0 & CR0_AM && s->rflags & FL_AC);
}

/* The exit came before the instruction retired, so its single-step trap is not due. */
static void drop_early_trap(struct vmx *v)
{
	if (v->st.movss_shadow)
		return;
	v->st.debug_pending = false;
	v->st.debug_dr6 = 0;
}

/*
 * A translation that the processor has kept although the guest's tables allow more by now makes a
 * fault that another processor, or the software CPU, does not have; Linux sees some of these. So
 * the software CPU walks the tables anew: either it faults too, or the instruction is done, and the
 * old translation goes.
 */
static bool exit_page_fault(struct vmx *v)
{
	uint64_t faults = soft_engine_cpu(v->soft)->stats.exceptions;

	drop_early_trap(v);
	if (!soft_step(v, false))
		return false;
	if (soft_engine_cpu(v->soft)->stats.exceptions == faults) {
		v->spurious_faults++;
		v->flush = true;
	}
	return true;
}

static bool exit_exception(struct vmx *v)
{
	uint8_t vector = (uint8_t)v->run->exit_info;

	if (vector == VEC_PF && !v->st.event.valid)
		return exit_page_fault(v);
	/* INT1 is an instruction that has to be executed, not a trap that came. */
	if (v->st.event.valid || vector == VEC_UD ||
	    INFO_TYPE(v->run->exit_info) == TYPE_PRIVILEGED ||
	    is_hosts_alignment_check(&v->st, vector))
		return soft_step(v, false);
	if (vector == VEC_DB) {
		v->st.dr[6] = x86_debug_status(v->st.dr[6], v->run->qualification & DR6_CAUSES);
		v->st.dr[7] &= ~DR7_GD;
		v->st.debugctl = 0;
		v->load |= TWVMX_LOAD_SYS;
	}
	raise(v, vector, v->run->exit_info & INFO_HAS_ERROR, v->run->exit_error);
	return true;
}

static bool exit_entry_failed(struct vmx *v)
{
	snprintf(v->error, sizeof(v->error),
		 "VM entry failed (%#x): the guest is in a state that VT-x cannot enter",
		 v->run->exit_error);
	return false;
}

static bool exit_unsound(struct vmx *v)
{
	switch (v->run->exit_reason) {
	case TWVMX_EXIT_POISON:
		snprintf(v->error, sizeof(v->error),
			 "the host's memory behind guest address %#llx has failed (an uncorrected "
			 "error, see the host's log)",
			 (unsigned long long)v->run->gpa);
		return false;
	case TWVMX_EXIT_SMI:
		return set_error(v, "the processor was in system management mode while the guest "
				    "ran, and counts instructions there: the count is lost");
	default:
		return set_error(v,
				 "the kernel stopped the performance counter at the moment of an "
				 "entry: the count is lost (kernel.perf_event_max_sample_rate)");
	}
}

static bool handle_exit(struct vmx *v)
{
	uint32_t reason = v->run->exit_reason;

	if (reason < VMX_REASONS)
		v->reasons[reason]++;
	switch (reason) {
	case EXIT_EXCEPTION:
		return exit_exception(v);
	case EXIT_TRIPLE_FAULT:
		v->st.shutdown = true;
		return true;
	case EXIT_WINDOW:
	case EXIT_NMI_WINDOW:
	case TWVMX_EXIT_COUNT:
	case TWVMX_EXIT_PMU:
		return true;
	case TWVMX_EXIT_NONE:
		v->deliveries++;
		return true;
	case TWVMX_EXIT_KICK:
	case TWVMX_EXIT_LIMIT:
	case TWVMX_EXIT_STEP:
		v->at_landmark = true;
		v->deliveries = 0;
		return true;
	case TWVMX_EXIT_SIGNAL:
	case TWVMX_EXIT_SLICE:
		v->spins = !v->source->pmu;
		return true;
	case TWVMX_EXIT_ENTRY:
		return exit_entry_failed(v);
	case TWVMX_EXIT_POISON:
	case TWVMX_EXIT_SMI:
	case TWVMX_EXIT_LOST:
		return exit_unsound(v);
	default:
		drop_early_trap(v);
		return soft_step(v, false);
	}
}

static bool has_event(const struct cpu_state *s)
{
	const struct boundary_events e = events_of(s);

	return boundary_event(&e) != BOUNDARY_NONE;
}

bool vmx_run_free(struct vmx *v, uint64_t stop)
{
	v->stop = stop;
	return enter(v, false);
}

bool vmx_complete(struct vmx *v)
{
	return handle_exit(v);
}

bool vmx_single_step(struct vmx *v)
{
	if (!has_event(&v->st) && vmx_step_needs_soft(v))
		return soft_step(v, true);
	v->stop = UINT64_MAX;
	return enter(v, true) && handle_exit(v);
}

static bool advance(struct vmx *v)
{
	v->at_landmark = false;
	v->barren++;
	return v->source->advance(v);
}

static enum engine_exit_kind vmx_run(struct engine *e, const struct landmark *until)
{
	struct vmx *v = vmx_of(e);
	enum engine_exit_kind kind = ENGINE_EXIT_ERROR;

	v->until = *until;
	while (!run_ends(v, until, &kind)) {
		if (!advance(v))
			return ENGINE_EXIT_ERROR;
	}
	if (v->at_landmark)
		v->stop_wanted = false;
	return kind;
}

/* ---- the interface ---- */

static const char *vmx_pmu_probe(void)
{
	const char *why = vmx_device_unavailable();

	return why ? why : vmx_device_pmu_unavailable();
}

/* Measured where the module's device node can be opened: outside of the jail. */
static struct traits measured;

/* NULL, or why the processor's traits are not known. */
static const char *measure_traits(void)
{
	struct err err = ERR_INIT;
	char error[BENCH_ERROR] = "";
	static char why[BENCH_ERROR + sizeof(err.text)];
	int ret;

	if (measured.n)
		return NULL;
	vmx_device_raise_limit();
	ret = agree_numbers(&vmx_engine_ops, 2, measured.number, error, &err);
	if (ret < 0 || error[0]) {
		snprintf(why, sizeof(why),
			 "a small guest that tells processors apart does not get to its end: %s",
			 ret < 0 ? err.text : error);
		return why;
	}
	vmx_device_host(measured.host, sizeof(measured.host));
	measured.n = TRAITS;
	return NULL;
}

static void vmx_traits(struct traits *t)
{
	if (!measured.n && !vmx_device_unavailable())
		measure_traits();
	*t = measured;
}

/*
 * vmx_device_reserve() keeps the node open for the machine's VM; measuring makes VMs of its own and
 * would use that one up, so it comes first.
 */
static const char *vmx_reserve(void)
{
	const char *unknown = vmx_device_unavailable() ? NULL : measure_traits();
	const char *why = vmx_device_reserve();

	return why ? why : unknown;
}

static const char *vmx_pmu_reserve(void)
{
	const char *why = vmx_reserve();

	return why ? why : vmx_device_pmu_unavailable();
}

static const char *vmx_pmu_doubt(void)
{
	return measure_pmu_is_exact()
		       ? NULL
		       : "the performance counter is not exact, see `twinstep qualify`";
}

static void vmx_destroy(struct engine *e)
{
	struct vmx *v = vmx_of(e);

	if (!e)
		return;
	vmx_device_close(v);
	if (v->soft)
		v->soft->ops->destroy(v->soft);
	free(v);
}

static int vmx_set_state(struct engine *e, const struct cpu_state *s, struct err *err)
{
	struct vmx *v = vmx_of(e);
	int ret = soft_state_set(soft_engine_cpu(v->soft), s, err);

	if (ret < 0)
		return ret;
	v->st = *s;
	v->count = s->count;
	v->load = TWVMX_LOAD_ALL;
	v->flush = true;
	v->at_landmark = true;
	v->rep_unnamed = v->rep_exits = false;
	v->deliveries = 0;
	return 0;
}

static struct engine *create(const struct engine_ops *ops, const struct count_source *source,
			     struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct vmx *v = calloc(1, sizeof(*v));
	struct cpu_state reset;

	if (!v) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	v->e.ops = ops;
	v->source = source;
	v->stuck_after = STUCK_DELIVERIES;
	landing_init(&v->landing);
	v->mem = mem;
	v->bus = *bus;
	v->fd = -1;
	v->soft = soft_interpret_engine_ops.create(mem, bus, err);
	cpu_state_reset(&reset);
	if (!v->soft || vmx_device_open(v, err) < 0 || vmx_set_state(&v->e, &reset, err) < 0) {
		vmx_destroy(&v->e);
		return NULL;
	}
	v->cpuid_served = vmx_device_cpuid(v);
	return &v->e;
}

static struct engine *vmx_create_exits(struct memory *mem, const struct engine_bus *bus,
				       struct err *err)
{
	return create(&vmx_engine_ops, &vmx_count_exits, mem, bus, err);
}

static struct engine *vmx_create_steps(struct memory *mem, const struct engine_bus *bus,
				       struct err *err)
{
	return create(&vmx_step_engine_ops, &vmx_count_steps, mem, bus, err);
}

static struct engine *vmx_create_pmu(struct memory *mem, const struct engine_bus *bus,
				     struct err *err)
{
	struct engine *e = create(&vmx_pmu_engine_ops, &vmx_count_pmu, mem, bus, err);

	if (e && measure_pmu_landing())
		landing_know(&vmx_of(e)->landing, measure_pmu_landing());
	return e;
}

void vmx_landing(const struct engine *e, struct landing *l)
{
	memset(l, 0, sizeof(*l));
	if (e->ops == &vmx_pmu_engine_ops)
		*l = const_vmx_of(e)->landing;
}

static void vmx_kick(struct engine *e)
{
	struct vmx *v = vmx_of(e);

	__atomic_store_n(&v->run->kick, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&soft_engine_cpu(v->soft)->kicked, 1, __ATOMIC_RELEASE);
}

static void vmx_get_state(struct engine *e, struct cpu_state *s)
{
	*s = vmx_of(e)->st;
	s->count = vmx_of(e)->count;
}

static uint64_t vmx_count(const struct engine *e)
{
	return const_vmx_of(e)->count;
}

static void vmx_landmark(const struct engine *e, struct landmark *lm)
{
	const struct vmx *v = const_vmx_of(e);

	*lm = (struct landmark){
		.count = v->count, .rip = v->st.rip, .rcx = v->st.gpr[R_RCX], .in_rep = in_rep(v)
	};
}

static bool vmx_can_interrupt(const struct engine *e)
{
	const struct boundary_events pending = events_of(&const_vmx_of(e)->st);

	return boundary_can_interrupt(&pending);
}

static void vmx_inject(struct engine *e, uint8_t vector)
{
	vmx_of(e)->st.intr_vector = vector;
	vmx_of(e)->st.intr_pending = true;
}

static void vmx_inject_nmi(struct engine *e)
{
	vmx_of(e)->st.nmi_pending = true;
}

static void vmx_window(struct engine *e, bool wanted)
{
	vmx_of(e)->window_wanted = wanted;
}

static void vmx_bus_stop(struct engine *e)
{
	vmx_of(e)->stop_wanted = true;
}

static void vmx_flush_tlb(struct engine *e)
{
	vmx_of(e)->flush = true;
}

/* The processor sees writes to code by itself. */
static void vmx_memory_written(struct engine *e, uint64_t gpa, uint64_t len)
{
}

static void vmx_memory_moved(struct engine *e)
{
	vmx_device_unmap(vmx_of(e));
}

/* A failure here would leave dirty pages out of a digest: the next run() reports it. */
static void vmx_sync_dirty(struct engine *e)
{
	struct vmx *v = vmx_of(e);

	mmu_rearm_dirty(soft_engine_cpu(v->soft));
	if (vmx_device_dirty(v) < 0)
		memset(v->mem->dirty, MEMORY_WRITTEN, v->mem->pages);
}

static size_t vmx_stats(const struct engine *e, struct engine_stat *stats, size_t max)
{
	const struct vmx *v = const_vmx_of(e);
	const struct twvmx_stats mapped = vmx_device_stats(v);
	const struct engine_stat row[] = {
		{ "vm_entries", v->run->entries },
		{ "runs", v->entries },
		{ "soft_steps", v->soft_steps },
		{ "reps_completed", v->reps_completed },
		{ "reps_left", v->reps_left },
		{ "events", v->events },
		{ "spurious_faults", v->spurious_faults },
		{ "host_interrupts", v->run->irqs },
		{ "dirty_exits", v->run->dirty_exits },
		{ "pages_2m", mapped.large },
		{ "splits_2m", mapped.splits },
		{ "ept_tables", mapped.tables },
		{ "served_rdtsc", v->run->served_tsc },
		{ "served_cpuid", v->run->served_cpuid },
		{ "landings", v->landing.landings },
		{ "landing_runs", v->landing.runs },
		{ "landing_steps", v->landing.steps },
		{ "landing_margin", v->source->pmu ? v->landing.margin : 0 },
		{ "landing_overshoots", v->landing.overshoots },
		{ "landing_overshoot_max", v->landing.overshoot_max },
		{ "skid_max", v->landing.skid_max },
		{ "exits_exception", v->reasons[0] },
		{ "exits_window", v->reasons[7] },
		{ "exits_cpuid", v->reasons[10] },
		{ "exits_hlt", v->reasons[12] },
		{ "exits_rdtsc", v->reasons[16] + v->reasons[51] },
		{ "exits_cr", v->reasons[28] },
		{ "exits_port", v->reasons[30] },
		{ "exits_msr", v->reasons[31] + v->reasons[32] },
		{ "exits_ept", v->reasons[48] },
		{ "exits_random", v->reasons[57] + v->reasons[61] },
	};
	const size_t n = sizeof(row) / sizeof(row[0]);

	for (size_t i = 0; i < n && i < max; i++)
		stats[i] = row[i];
	return n;
}

static const char *vmx_last_error(const struct engine *e)
{
	return const_vmx_of(e)->error;
}

#define VMX_OPS                                                                                   \
	.present = vmx_device_loaded, .traits = vmx_traits, .destroy = vmx_destroy,               \
	.run = vmx_run, .kick = vmx_kick, .get_state = vmx_get_state, .set_state = vmx_set_state, \
	.count = vmx_count, .landmark = vmx_landmark, .can_interrupt = vmx_can_interrupt,         \
	.inject = vmx_inject, .inject_nmi = vmx_inject_nmi, .window = vmx_window,                 \
	.bus_stop = vmx_bus_stop, .flush_tlb = vmx_flush_tlb,                                     \
	.memory_written = vmx_memory_written, .memory_moved = vmx_memory_moved,                   \
	.sync_dirty = vmx_sync_dirty, .stats = vmx_stats, .last_error = vmx_last_error

const struct engine_ops vmx_engine_ops = {
	.name = "vmx:exits",
	.family = "vmx",
	.counter = "exits",
	.count_ns = COUNT_NS_EXITS,
	.about = "VT-x through the module twinstep-vmx; inputs enter where the guest exits",
	.probe = vmx_device_unavailable,
	.reserve = vmx_reserve,
	.create = vmx_create_exits,
	VMX_OPS
};
const struct engine_ops vmx_step_engine_ops = { .name = "vmx:step",
						.counter = "retired",
						.count_ns = 1,
						.probe = vmx_device_unavailable,
						.reserve = vmx_reserve,
						.create = vmx_create_steps,
						VMX_OPS };
const struct engine_ops vmx_pmu_engine_ops = {
	.name = "vmx:pmu",
	.family = "vmx",
	.counter = "retired",
	.count_ns = 1,
	.about = "VT-x through the module twinstep-vmx; every instruction is counted",
	.probe = vmx_pmu_probe,
	.reserve = vmx_pmu_reserve,
	.doubt = vmx_pmu_doubt,
	.create = vmx_create_pmu,
	VMX_OPS
};
