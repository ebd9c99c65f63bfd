// SPDX-License-Identifier: GPL-2.0-or-later
/* vmx:step stops at every count with the state that the software CPU has there. */
#include "tests/vtx/rig.h"

extern const char stepped[], stepped_end[];

#define COUNT_MAX 5000

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

/* The x87 pointers to the last instruction are not compared: processors differ in when they record them. */
static void forget_pointers(struct cpu_state *s)
{
	memset(s->fxsave + 6, 0, 18);
}

int main(void)
{
	struct rig a, b;
	const char *what = NULL;
	enum engine_exit_kind ka = ENGINE_EXIT_UNTIL, kb = ENGINE_EXIT_UNTIL;
	struct cpu_state sa, sb;
	uint64_t n;

	rig_start(&a, &soft_engine_ops, stepped, (size_t)(stepped_end - stepped));
	rig_start(&b, &vmx_step_engine_ops, stepped, (size_t)(stepped_end - stepped));
	for (n = 1; n < COUNT_MAX && !what && ka == ENGINE_EXIT_UNTIL && kb == ENGINE_EXIT_UNTIL; n++) {
		ka = rig_run(&a, n);
		kb = rig_run(&b, n);
		a.e->ops->get_state(a.e, &sa);
		b.e->ops->get_state(b.e, &sb);
		forget_pointers(&sa);
		forget_pointers(&sb);
		what = difference(&sa, &sb);
	}
	rig_check(!what, "step.every-count", "at count %llu %s differs: RIP %llx and %llx", (unsigned long long)n - 1,
		  what, (unsigned long long)sa.rip, (unsigned long long)sb.rip);
	rig_check(ka == ENGINE_EXIT_HALT && kb == ENGINE_EXIT_HALT, "step.end", "ended with %d and %d after %llu: %s",
		  ka, kb, (unsigned long long)n, b.e->ops->last_error(b.e));
	rig_check(n > 300, "step.length", "the program has %llu instructions only", (unsigned long long)n);
	rig_check(!memcmp(a.mem.base, b.mem.base, RIG_MEMORY), "step.memory", "memory differs at the end");
	rig_stop(&a);
	rig_stop(&b);
	return rig_failures != 0;
}
