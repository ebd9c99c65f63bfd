/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software CPU for guests that nobody has written: a run ends after so many instructions, and
 * after a quarter of a second of this process's own time on the CPU (one REP instruction can do
 * work without end and never retire). Then the engine fails, as the machine sees it.
 */
#ifndef TESTS_FUZZ_BOUNDED_H
#define TESTS_FUZZ_BOUNDED_H

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

#include "base/log.h"
#include "hypervisor/engine.h"
#include "hypervisor/machine.h"

#define BOUNDED_US 250000

static struct {
	struct engine_ops ops;
	_Atomic(struct engine *) e;
	atomic_bool over; /* time is up */
	uint64_t left;	  /* instructions */
} bounded;

static inline void bounded_alarm(int sig)
{
	struct engine *e = atomic_load(&bounded.e);

	atomic_store(&bounded.over, true);
	if (e)
		soft_engine_ops.kick(e);
}

static inline void bounded_timer(long us)
{
	const struct itimerval t = { .it_value = { .tv_usec = us } };

	setitimer(ITIMER_VIRTUAL, &t, NULL);
}

static inline struct engine *bounded_create(struct memory *mem, const struct engine_bus *bus,
					    struct err *err)
{
	struct engine *e = soft_engine_ops.create(mem, bus, err);

	if (e)
		e->ops = &bounded.ops;
	atomic_store(&bounded.e, e);
	return e;
}

static inline void bounded_destroy(struct engine *e)
{
	bounded_timer(0);
	atomic_store(&bounded.e, NULL);
	soft_engine_ops.destroy(e);
}

static inline enum engine_exit_kind bounded_run(struct engine *e, const struct landmark *until)
{
	uint64_t from = soft_engine_ops.count(e), n = until->count - from;
	struct landmark near = { .count = from + bounded.left };
	enum engine_exit_kind kind;

	if (atomic_load(&bounded.over) || !bounded.left)
		return ENGINE_EXIT_ERROR;
	kind = soft_engine_ops.run(e, n > bounded.left ? &near : until);
	n = soft_engine_ops.count(e) - from;
	bounded.left -= n < bounded.left ? n + 1 : bounded.left;
	return kind;
}

static inline const char *bounded_last_error(const struct engine *e)
{
	return "the guest has run long enough";
}

/* An engine for the next machine; runs take n instructions together. */
static inline const struct engine_ops *bounded_engine(uint64_t n)
{
	if (!bounded.ops.name) {
		struct sigaction sa = { .sa_handler = bounded_alarm, .sa_flags = SA_RESTART };

		bounded.ops = soft_engine_ops;
		bounded.ops.create = bounded_create;
		bounded.ops.destroy = bounded_destroy;
		bounded.ops.run = bounded_run;
		bounded.ops.last_error = bounded_last_error;
		must(sigaction(SIGVTALRM, &sa, NULL) == 0);
	}
	atomic_store(&bounded.over, false);
	bounded.left = n;
	bounded_timer(BOUNDED_US);
	return &bounded.ops;
}

/*
 * What the machine saves before its first instruction, which is at rip; the machine is gone
 * afterwards.
 */
static inline void first_state(struct machine *m, uint64_t rip, struct buf *state)
{
	struct cpu_state cpu;
	struct engine *e;

	must(m);
	e = machine_engine(m);
	e->ops->get_state(e, &cpu);
	cpu.seg[SEG_CS].base = cpu.seg[SEG_CS].selector = 0;
	cpu.rip = rip;
	must(e->ops->set_state(e, &cpu, NULL) == 0);
	machine_save(m, state);
	must(!state->bad && state->len);
	machine_destroy(m);
}

#endif
