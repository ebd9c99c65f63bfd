/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine interface: what executes the vCPU. Implemented by soft/ (a software CPU) and vmx/
 * (VT-x). Nothing above asks which one runs: what has to be known of an engine stands in its ops.
 *
 * An engine executes guest instructions and calls back into the machine (struct engine_bus) for
 * everything outside the CPU: ports, memory that is not RAM, time, random numbers. Those callbacks
 * happen at an exact instruction boundary: the instruction that caused one has not retired yet, and
 * engine->count() inside the callback is the count of the instructions before it. run() returns at
 * an instruction boundary, for one of the reasons of enum engine_exit_kind.
 *
 * Counting. The count goes up by one when an instruction retires. A faulting instruction, the
 * delivery of an exception or interrupt, and single iterations of a REP instruction do not count;
 * the REP instruction counts once, when it completes. HLT counts.
 *
 * Landing. "Boundary with count N" means the first boundary after the N-th instruction retired,
 * before any event is delivered there. An engine stops nowhere else: when it is kicked it finishes
 * the instruction under way (or stops between two iterations of a REP instruction, or stays in
 * HLT). So a count names one boundary, except inside REP, where RCX tells which.
 */
#ifndef HYPERVISOR_ENGINE_H
#define HYPERVISOR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/cpustate.h"

/* A point in the guest's execution. */
struct landmark {
	uint64_t count; /* retired instructions */
	uint64_t rip;
	uint64_t rcx; /* meaningful when in_rep */
	bool in_rep;  /* between two iterations of the REP instruction at rip */
	/* Only where run() goes to: a later boundary will do as well. In no record. */
	bool may_pass;
};

enum engine_exit_kind {
	ENGINE_EXIT_UNTIL,  /* the landmark was reached */
	ENGINE_EXIT_KICK,   /* another thread asked */
	ENGINE_EXIT_HALT,   /* the vCPU is in HLT (or was when run() was called) */
	ENGINE_EXIT_WINDOW, /* an interrupt can be injected now, as asked for by window() */
	ENGINE_EXIT_BUS, /* a bus callback asked to stop after its instruction (engine_bus_stop) */
	ENGINE_EXIT_SHUTDOWN, /* triple fault */
	ENGINE_EXIT_SPIN, /* kicked, but no boundary that a landmark names has come for a while; the
			     kick waits on */
	ENGINE_EXIT_STUCK, /* exceptions are delivered without end and no instruction retires */
	ENGINE_EXIT_PROBE, /* a debugger's probe asked for it */
	ENGINE_EXIT_ERROR, /* the engine failed; last_error() says why */
	ENGINE_EXIT_COUNT_
};

/* Virtual time between two sync points: ns = anchor_ns + ((count - anchor_count) * rate >> 16). */
struct engine_time {
	uint64_t anchor_ns, anchor_count;
	uint32_t rate;
};

/*
 * Calls of the CPU into the machine. Set once at creation; every function may be called from run()
 * only.
 */
struct engine_bus {
	void *ctx;
	/* Port I/O: size 1, 2 or 4. Unclaimed ports read as all ones. */
	uint32_t (*port_read)(void *ctx, uint16_t port, unsigned size);
	void (*port_write)(void *ctx, uint16_t port, unsigned size, uint32_t value);
	/* Physical addresses outside RAM; size 1, 2, 4 or 8; never crosses an 8-byte boundary. */
	uint64_t (*mmio_read)(void *ctx, uint64_t gpa, unsigned size);
	void (*mmio_write)(void *ctx, uint64_t gpa, unsigned size, uint64_t value);
	/* Virtual time in ns at the engine's present count; the TSC runs at 1 GHz on it. */
	uint64_t (*time_ns)(void *ctx);
	/* Next 64 bits of the recorded generator (RDRAND, RDSEED). */
	uint64_t (*random)(void *ctx);
	/*
	 * The formula by which time_ns() computes until the next sync point changes it. May be
	 * NULL: only time_ns() can tell the time.
	 */
	void (*time_line)(void *ctx, struct engine_time *t);
	/* Machine version, which decides on the CPU's CPUID and CR4 (0 is 1). */
	unsigned version;
	/*
	 * The local APIC, NULL where the machine has none: its MSRs (IA32_APIC_BASE,
	 * IA32_TSC_DEADLINE, 800h to 8FFh; false: #GP), CR8, and that the TSC is time_ns() plus
	 * `offset` from now on.
	 */
	bool (*apic_read)(void *ctx, uint32_t msr, uint64_t *v);
	bool (*apic_write)(void *ctx, uint32_t msr, uint64_t v);
	uint64_t (*cr8_read)(void *ctx);
	void (*cr8_write)(void *ctx, uint64_t v);
	void (*tsc_changed)(void *ctx, uint64_t offset);
};

/*
 * True: the machine has a local APIC, and the guest has disabled it as a whole; CPUID shows none
 * then (SDM vol. 3, 10.4.3).
 */
static inline bool engine_apic_is_off(const struct engine_bus *bus)
{
	uint64_t base;

	return bus->apic_read && bus->apic_read(bus->ctx, MSR_APIC_BASE, &base) &&
	       !(base & APIC_BASE_ENABLED);
}

/*
 * Every boundary by name, also those that no landmark names: after `events` deliveries of events
 * since the boundary with that count. Boundaries inside a REP instruction have none.
 */
struct moment {
	uint64_t count;
	uint32_t events;
};

struct engine_watch {
	uint64_t address, length; /* linear; at least one byte */
	bool read, write;
};

#define PROBE_BREAKPOINTS 256
#define PROBE_WATCHES	  16

/*
 * A debugger's breakpoints and watched ranges. A probe changes nothing that the guest, a count or a
 * digest shows; a run without one pays nothing for the possibility.
 */
struct engine_probe {
	void *ctx;
	bool step; /* every boundary is of interest; else those at breakpoints and behind accesses
		    */
	uint64_t breakpoint[PROBE_BREAKPOINTS]; /* linear addresses of instructions */
	size_t nbreakpoints;
	struct engine_watch watch[PROBE_WATCHES];
	size_t nwatches;
	/*
	 * The vCPU has come to a boundary of interest. True ends run() there with
	 * ENGINE_EXIT_PROBE. The boundary where run() began is not told of.
	 */
	bool (*boundary)(void *ctx, const struct moment *at, uint64_t linear);
	/* The vCPU accessed [lin, lin+size) of watch[i], on its way from moment `from`. */
	void (*access)(void *ctx, size_t i, const struct moment *from, uint64_t lin, uint64_t size);
};

struct memory;
struct engine; /* embedded at the start of each implementation */

/* Counters for --stats: name and value pairs, in a fixed order. */
struct engine_stat {
	const char *name;
	uint64_t value;
};

/* engine_ops.count_ns where a count is the stretch between two exits */
#define COUNT_NS_EXITS 1000

/* A profile: asks where a guest's instructions go. */
struct engine_sampler {
	uint64_t every; /* instructions; not 0 */
	/* At the boundary after an instruction whose number is a multiple of that; user: CPL 3. */
	void (*take)(void *ctx, uint64_t rip, bool user);
	void *ctx;
};

/*
 * Events delivered without an instruction that retires after which a guest is stuck; the same on
 * every engine.
 */
#ifndef STUCK_DELIVERIES /* fuzzers have less time */
#define STUCK_DELIVERIES 1000000u
#endif

struct traits;

struct engine_ops {
	const char *name;
	/* Engines of one family are chosen by its name too: the first that can be used. May be
	 * NULL. */
	const char *family;
	const char *counter; /* "retired" or "exits": the unit of the count */
	uint32_t count_ns;   /* virtual ns that a count is worth where time follows the count */
	/* A line that is logged when "auto" takes this engine; NULL: none. */
	const char *about;

	/*
	 * Before a machine is made; where the result is a string (static), it says why not.
	 *
	 * present: is there anything on this host that is for this engine alone? Without, its
	 * absence is not worth a word. NULL: there is.
	 * probe: NULL when this host can run the engine. Leaves nothing behind.
	 * reserve: the same, having tried; and takes what create() needs and could not get any more
	 * when the jail is closed. May be asked again.
	 * doubt: NULL when its count is believed without having been asked for by name. Measures,
	 * and uses up what was reserved. NULL: it is always believed.
	 */
	bool (*present)(void);
	const char *(*probe)(void);
	const char *(*reserve)(void);
	const char *(*doubt)(void);

	/*
	 * Traits of the silicon that executes the guest (hypervisor/traits.h), measured when the
	 * engine was reserved, else now. NULL: no silicon executes it, and the traits are those of
	 * the software CPU.
	 */
	void (*traits)(struct traits *t);

	/* Creates a vCPU in reset state over mem. Returns NULL and sets err on failure. */
	struct engine *(*create)(struct memory *mem, const struct engine_bus *bus, struct err *err);
	void (*destroy)(struct engine *e);

	/*
	 * Executes until the landmark (until->count at least the present count; UINT64_MAX: none)
	 * or another exit. When until->in_rep, stops where count, RIP and RCX all match. Returns at
	 * once with UNTIL when the landmark is the present one, with HALT when halted.
	 */
	enum engine_exit_kind (*run)(struct engine *e, const struct landmark *until);
	/*
	 * Makes run() return soon with KICK, the call that runs or else the next one. Any thread
	 * may call it. Several kicks may be answered by one return.
	 */
	void (*kick)(struct engine *e);

	void (*get_state)(struct engine *e, struct cpu_state *s);
	int (*set_state)(struct engine *e, const struct cpu_state *s, struct err *err);
	uint64_t (*count)(const struct engine *e);
	void (*landmark)(const struct engine *e, struct landmark *lm);

	/*
	 * Between two run() calls: true when an external interrupt would be accepted now (IF set,
	 * no shadow).
	 */
	bool (*can_interrupt)(const struct engine *e);
	/* Queues external interrupt `vector`; can_interrupt() must hold. Ends HLT. */
	void (*inject)(struct engine *e, uint8_t vector);
	void (*inject_nmi)(struct engine *e);
	/* Asks run() to return with WINDOW at the first boundary where can_interrupt() holds;
	 * allowed from callbacks.
	 */
	void (*window)(struct engine *e, bool wanted);
	/*
	 * From a bus callback: run() returns with BUS (or WINDOW, or HALT) after the instruction
	 * that is under way.
	 */
	void (*bus_stop)(struct engine *e);

	/*
	 * Drops every cached translation. Part of the machine's state (a TLB decides when accessed
	 * bits are written), so called only at sync points whose record says so.
	 */
	void (*flush_tlb)(struct engine *e);
	/*
	 * RAM in [gpa, gpa+len) was written from outside the vCPU (device, restore): cached code
	 * there is void.
	 */
	void (*memory_written)(struct engine *e, uint64_t gpa, uint64_t len);
	/* RAM has other pages behind the same addresses now (memory_clear()). May be NULL. */
	void (*memory_moved)(struct engine *e);
	/*
	 * Between two run() calls: the watch in struct memory is another one. NULL: the engine does
	 * not tell of its uses of RAM.
	 */
	void (*memory_watched)(struct engine *e);
	/*
	 * Before the marks in struct memory (enum memory_mark) are read and changed: makes them
	 * complete, re-arms tracking.
	 */
	void (*sync_dirty)(struct engine *e);

	/*
	 * Between two run() calls: sets the probe of a debugger; p NULL: none from now on. *p stays
	 * the caller's, who changes it only right before another call. NULL: the engine cannot.
	 */
	void (*debug)(struct engine *e, const struct engine_probe *p);
	/*
	 * Between two run() calls: tells *s (the caller's, which stays) from now on where the vCPU
	 * is at every s->every instructions of the count; NULL: no more. Changes nothing that a
	 * guest, a count or a digest shows. NULL: the engine cannot.
	 */
	void (*sample)(struct engine *e, const struct engine_sampler *s);
	/*
	 * State that get_state() leaves out, and on which it depends how the vCPU goes on: its
	 * translations, and requests such as window(). Saved between two run() calls, at a fresh
	 * boundary. Restored after set_state() and RAM; -EINVAL for bytes that hidden_save() did
	 * not write. NULL: the engine cannot.
	 */
	void (*hidden_save)(struct engine *e, struct buf *out);
	int (*hidden_restore)(struct engine *e, struct rd *in);
	/*
	 * A fault of hardware, between two run() calls: a bit of a translation that is held flips.
	 * which: any number, which chooses the translation, times 64, and the bit, from 0, of its
	 * page frame's number. -EINVAL: none is held, or there is no such bit. NULL: the engine
	 * cannot.
	 */
	int (*flip_tlb)(struct engine *e, uint64_t which);

	/* Statistics; returns the number of entries (stats may be NULL when max is 0). */
	size_t (*stats)(const struct engine *e, struct engine_stat *stats, size_t max);
	/* After ENGINE_EXIT_ERROR: a sentence. */
	const char *(*last_error)(const struct engine *e);
};

struct engine {
	const struct engine_ops *ops;
};

extern const struct engine_ops soft_engine_ops;
extern const struct engine_ops soft_exits_engine_ops;
extern const struct engine_ops soft_interpret_engine_ops; /* soft without host code */
extern const struct engine_ops vmx_engine_ops;		  /* vmx:exits */
extern const struct engine_ops vmx_pmu_engine_ops;
extern const struct engine_ops vmx_step_engine_ops;

/* The past of a machine that is to go on: NULL or 0 where it does not matter, or there is none. */
struct engine_past {
	const char *counter;	     /* what it was counted in */
	const struct traits *traits; /* of what executed it */
	unsigned version;	     /* of the machine; matters with traits */
};

/*
 * Engine by name, a family's, or "auto": the first of all that this host can run. Where the machine
 * has a past, of those that count as it did, and show guests the same traits where any of those
 * does; the caller compares, when none does. It is reserved.
 *
 * *passed (may be NULL): why the engine before the one that "auto" took was not taken, where that
 * is worth a word; else NULL. The result is NULL, with err set, when there is none.
 */
const struct engine_ops *engine_find(const char *name, const struct engine_past *past,
				     const char **passed, struct err *err);
/* Processor that executes a guest's instructions. */
enum engine_executor {
	ENGINE_UNKNOWN,	 /* the name is no engine's, as that of a later program, "auto", NULL */
	ENGINE_SOFTWARE, /* the software CPU */
	ENGINE_SILICON,	 /* the host's */
};
/* Executor of the engines of a name, or of a family, which need not be usable here. */
enum engine_executor engine_executor(const char *name);
/*
 * The reason (static string) why no engine of that name, or family, can be used here; NULL: one
 * can, or there is none of that name. Reserves nothing.
 */
const char *engine_unusable(const char *name);

#endif
