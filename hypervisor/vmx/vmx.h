/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmx engine: VT-x through the kernel module in module/.
 *
 * Between two entries the guest's registers are a struct cpu_state, as everywhere above the engine.
 * What the processor does not do by itself (port I/O, device memory, time, MSRs, task switches,
 * instructions that this processor lacks) is done by the software CPU, one instruction at a time,
 * over the same memory and with the same callbacks: so both engines have one implementation of all
 * that, and an instruction behaves the same on either.
 *
 * Three count sources (count.c):
 *
 *   vmx:pmu     counts all retired instructions with a performance counter that runs in the guest
 *               only, and lands on any count (landing.h). Instructions that are completed outside
 *               the guest are added.
 *   vmx:exits   counts the instructions that cpu_is_exit() (soft/cpu.h) marks. They leave the guest
 *               on any VT-x, so the count is exact without a performance counter. Sync points fall
 *               on them only.
 *   vmx:step    counts all retired instructions, by single steps: for tests and for looking closely
 */
#ifndef HYPERVISOR_VMX_H
#define HYPERVISOR_VMX_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/vmx/landing.h"
#include "hypervisor/vmx/module/twinstep_vmx.h"

#define VMX_REASONS 70

struct cpu;
struct vmx;

struct count_source {
	bool retired; /* counts every instruction, not only exits */
	bool pmu;     /* with the performance counter */
	/*
	 * Moves the run loop on: runs the guest and completes its exit, or executes an instruction
	 * in software. False: v->error says why.
	 */
	bool (*advance)(struct vmx *v);
};

extern const struct count_source vmx_count_exits, vmx_count_steps, vmx_count_pmu;

struct vmx {
	struct engine e;
	struct memory *mem;
	int fd;
	struct twvmx_run *run; /* the run page */
	struct engine *soft;   /* executes single instructions */
	struct engine_bus bus;
	bool cpuid_served;   /* the module has the table of CPUID */
	bool cpuid_apic_off; /* the one for a disabled local APIC */
	struct cpu_state st; /* registers, between entries */
	const struct count_source *source;
	uint64_t count;
	uint64_t stop; /* leave the guest at this count or soon after: see landing.h */
	struct landing landing;
	unsigned lost;	  /* times in a row that the counter was not there */
	uint32_t load;	  /* TWVMX_LOAD_*: parts of st that the module does not have yet */
	bool flush;	  /* cached translations may be stale */
	bool mapped;	  /* the module has the guest's memory */
	bool at_landmark; /* a landmark names this boundary */
	bool stop_wanted, window_wanted;
	bool rep_unnamed;      /* inside a REP instruction where no landmark may lie */
	bool rep_exits;	       /* which was left, and one of whose parts was an exit */
	bool spins;	       /* the module gave the guest back because a kick waits */
	unsigned barren;       /* steps of the run loop since a landmark */
	unsigned deliveries;   /* events since an instruction last retired; known when every one is
				  stepped over */
	unsigned stuck_after;  /* such events */
	struct landmark until; /* of the run() under way */
	char error[600];
	uint32_t guest_flushes; /* of the software CPU, as last seen */
	uint64_t entries, soft_steps, events, spurious_faults, reasons[VMX_REASONS];
	/* REP instructions completed in software while a kick waited; times that one was left. */
	uint64_t reps_completed, reps_left;
};

/* ---- vmx.c ---- */

/* The parts that count_source.advance() is put together from. False: v->error says why. */

/* Runs the guest until it exits, or the performance counter has reached `stop` (UINT64_MAX: none).
 */
bool vmx_run_free(struct vmx *v, uint64_t stop);
/* Completes the exit: emulates what the guest left off with. */
bool vmx_complete(struct vmx *v);
/*
 * Runs the guest for one instruction or event, and completes the exit; or executes the instruction
 * in software.
 */
bool vmx_single_step(struct vmx *v);
bool vmx_is_kicked(const struct vmx *v);
/*
 * Counters of the landings so far; zeros when the engine does not land by the performance counter.
 */
void vmx_landing(const struct engine *e, struct landing *l);

/* ---- device.c ---- */

/* Bits of CR4 that guests of machine version 1 may set and no software can stand in for: SMEP,
 * SMAP, PCID, FSGSBASE, XSAVE. */
#define VMX_GUEST_CR4 (CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_FSGSBASE | CR4_OSXSAVE)

/*
 * The reason why a host with these answers cannot run our guests (static string), or NULL. Other
 * programs that hold VT-x are not looked for here.
 */
const char *vmx_device_judge(const struct twvmx_info *info);
/* The reason why the module cannot be used (static string), or NULL. */
const char *vmx_device_unavailable(void);
/* Name of this host's processor, for people: "GenuineIntel 000C06F2". */
void vmx_device_host(char *text, size_t n);
/* True: there is a device node, usable or not. */
bool vmx_device_loaded(void);
/*
 * Answers like vmx_device_unavailable(), after having made a VM to see; keeps the node open for
 * vmx_device_open().
 */
const char *vmx_device_reserve(void);
/* Lets this process pin as much memory as its rights allow. */
void vmx_device_raise_limit(void);
/* The module's answer about this host; -errno when there is no module. */
int vmx_device_info(struct twvmx_info *info);
/* The reason why no performance counter can be used (static string), or NULL. */
const char *vmx_device_pmu_unavailable(void);
int vmx_device_open(struct vmx *v, struct err *err);
void vmx_device_close(struct vmx *v);
/* Gives the guest's memory to the module. */
int vmx_device_map(struct vmx *v);
void vmx_device_unmap(struct vmx *v);
int vmx_device_dirty(struct vmx *v);
struct twvmx_stats vmx_device_stats(const struct vmx *v); /* zeros when it cannot say */
/*
 * The host's registers on this CPU, see twvmx_host: remembers them, or compares. 0, or -errno:
 * -ENOTTY the module is older than this, -EAGAIN nothing of this CPU is remembered.
 */
int vmx_device_host_state(const struct engine *e, bool remember, struct twvmx_host *h);
/*
 * Gives CPUID, as v->cpuid_apic_off has it, to the module; false when it does not take it, and
 * CPUID exits to us.
 */
bool vmx_device_cpuid(struct vmx *v);

/* ---- regs.c ---- */
void vmx_regs_from_state(struct twvmx_regs *r, const struct cpu_state *s);
/* The registers that the processor holds; what only the engine knows stays as it is in *s. */
void vmx_regs_to_state(const struct twvmx_regs *r, struct cpu_state *s);

/* ---- step.c ---- */
/* True: the guest wants to step from branch to branch (DEBUGCTL.BTF). */
bool vmx_steps_branches(const struct vmx *v);
/*
 * True: the instruction at RIP has to be executed in software when the guest is stepped. It would
 * see or lose RFLAGS.TF, or is not one step.
 */
bool vmx_step_needs_soft(const struct vmx *v);

#endif
