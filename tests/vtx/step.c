// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmx:step stops at every count with the state that the software CPU has there; with the argument
 * "pmu", vmx:pmu does so at counts apart, which it lands on by the counter's overflow.
 */
#include "hypervisor/vmx/vmx.h"
#include "tests/vtx/rig.h"

extern const char stepped[], stepped_end[], landed[], landed_end[], stuck[], stuck_end[];

#define COUNT_MAX 5000
#define LANDINGS  200
#define LAND_END  220000 /* before the end of the program */
#define STUCK_AT  300u	 /* deliveries: fewer than would be waited for, 6 bytes of stack each */

/* Name of the first register that differs, or NULL. */
static const char *difference(const struct cpu_state *a, const struct cpu_state *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool same;

	if (a->rip != b->rip)
		return "RIP";
	if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)))
		return "a general register";
	if (a->rflags != b->rflags)
		return "RFLAGS";
	if (memcmp(a->fxsave, b->fxsave, 512))
		return "the FPU";
	cpu_state_save(a, &x);
	cpu_state_save(b, &y);
	same = x.len == y.len && !memcmp(x.data, y.data, x.len);
	for (size_t i = 0; !same && i < x.len; i++)
		if (x.data[i] != y.data[i])
			printf("byte %zu: %02x %02x\n", i, x.data[i], y.data[i]);
	buf_free(&x);
	buf_free(&y);
	return same ? NULL : "another register";
}

/*
 * The x87 pointers to the last instruction are not compared: processors differ in when they record
 * them.
 */
static void forget_pointers(struct cpu_state *s)
{
	memset(s->fxsave + 6, 0, 18);
}

/* NULL, or what differs between the two where they are. */
static const char *compare(struct rig *a, struct rig *b)
{
	struct cpu_state sa, sb;

	a->e->ops->get_state(a->e, &sa);
	b->e->ops->get_state(b->e, &sb);
	forget_pointers(&sa);
	forget_pointers(&sb);
	return difference(&sa, &sb);
}

static void land(void)
{
	enum engine_exit_kind kind = ENGINE_EXIT_UNTIL;
	const char *what = NULL;
	struct landing l;
	struct rig a, b;
	uint64_t n = 0;

	rig_start(&a, &soft_engine_ops, landed, (size_t)(landed_end - landed));
	rig_start(&b, &vmx_pmu_engine_ops, landed, (size_t)(landed_end - landed));
	((struct vmx *)b.e)->landing.margin = LANDING_MARGIN_MIN; /* stops are near one another */
	for (unsigned i = 0; i < LANDINGS && !what && kind == ENGINE_EXIT_UNTIL; i++) {
		n += 1 + (i * 7919 + 13) % (2 * LAND_END / LANDINGS);
		rig_run(&a, n);
		kind = rig_run(&b, n);
		what = compare(&a, &b);
	}
	vmx_landing(b.e, &l);
	rig_check(!what && kind == ENGINE_EXIT_UNTIL, "land.counts", "at count %llu: %s, %s",
		  (unsigned long long)n, what ? what : "stopped", b.e->ops->last_error(b.e));
	rig_check(l.overflows > LANDINGS / 4 && l.landings == LANDINGS, "land.overflows",
		  "%llu overflows, %llu landings", (unsigned long long)l.overflows,
		  (unsigned long long)l.landings);
	rig_check(l.skid_max > 0 && l.skid_max < LANDING_MARGIN_MIN, "land.skid", "at most %llu",
		  (unsigned long long)l.skid_max);
	rig_check(rig_run(&a, UINT64_MAX) == ENGINE_EXIT_HALT &&
			  rig_run(&b, UINT64_MAX) == ENGINE_EXIT_HALT && !compare(&a, &b) &&
			  !memcmp(a.mem.base, b.mem.base, RIG_MEMORY),
		  "land.end", "%s", b.e->ops->last_error(b.e));
	rig_stop(&a);
	rig_stop(&b);
}

/* Steps see a guest that can only fault, as the software CPU does. */
static void get_stuck(void)
{
	enum engine_exit_kind kind;
	struct cpu_state s;
	struct rig r;

	rig_start(&r, &vmx_step_engine_ops, stuck, (size_t)(stuck_end - stuck));
	rig_check(((struct vmx *)r.e)->stuck_after == STUCK_DELIVERIES, "step.stuck.limit",
		  "other than the software CPU's");
	((struct vmx *)r.e)->stuck_after = STUCK_AT;
	kind = rig_run(&r, UINT64_MAX);
	r.e->ops->get_state(r.e, &s);
	rig_check(kind == ENGINE_EXIT_STUCK && s.count == 4 &&
			  s.gpr[R_RSP] == RIG_CODE - 6 * STUCK_AT,
		  "step.stuck", "ended with %d after %llu instructions, RSP %#llx: %s", kind,
		  (unsigned long long)s.count, (unsigned long long)s.gpr[R_RSP],
		  r.e->ops->last_error(r.e));
	rig_stop(&r);
}

int main(int argc, char **argv)
{
	struct rig a, b;
	const char *what = NULL;
	enum engine_exit_kind ka = ENGINE_EXIT_UNTIL, kb = ENGINE_EXIT_UNTIL;
	struct cpu_state sa, sb;
	uint64_t n;

	if (argc > 1) {
		land();
		return rig_failures != 0;
	}
	rig_start(&a, &soft_engine_ops, stepped, (size_t)(stepped_end - stepped));
	rig_start(&b, &vmx_step_engine_ops, stepped, (size_t)(stepped_end - stepped));
	for (n = 1; n < COUNT_MAX && !what && ka == ENGINE_EXIT_UNTIL && kb == ENGINE_EXIT_UNTIL;
	     n++) {
		ka = rig_run(&a, n);
		kb = rig_run(&b, n);
		a.e->ops->get_state(a.e, &sa);
		b.e->ops->get_state(b.e, &sb);
		forget_pointers(&sa);
		forget_pointers(&sb);
		what = difference(&sa, &sb);
	}
	rig_check(!what, "step.every-count", "at count %llu %s differs: RIP %llx and %llx",
		  (unsigned long long)n - 1, what, (unsigned long long)sa.rip,
		  (unsigned long long)sb.rip);
	rig_check(ka == ENGINE_EXIT_HALT && kb == ENGINE_EXIT_HALT, "step.end",
		  "ended with %d and %d after %llu: %s", ka, kb, (unsigned long long)n,
		  b.e->ops->last_error(b.e));
	rig_check(n > 300, "step.length", "the program has %llu instructions only",
		  (unsigned long long)n);
	rig_check(!memcmp(a.mem.base, b.mem.base, RIG_MEMORY), "step.memory",
		  "memory differs at the end");
	rig_stop(&a);
	rig_stop(&b);
	get_stuck();
	return rig_failures != 0;
}
