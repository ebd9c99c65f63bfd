// SPDX-License-Identifier: GPL-2.0-or-later
/* Registers on their way to the processor and back: what VM entry checks, and what only it knows.
 */
#include "hypervisor/vmx/vmx.h"
#include "tests/unit.h"

#define SHADOW_STI 1u
#define SHADOW_SS  2u

/* There and back. */
static struct cpu_state through(const struct cpu_state *s, struct twvmx_regs *r)
{
	struct cpu_state back = *s;

	vmx_regs_from_state(r, s);
	vmx_regs_to_state(r, &back);
	return back;
}

/*
 * SDM vol. 3, 26.3.1.5: under a shadow the pending trap of a single step is there exactly when
 * RFLAGS.TF is set; else the entry fails.
 */
START_TEST(a_shadow_and_tf_want_a_pending_trap)
{
	bool sti = _i & 1, movss = _i & 2, tf = _i & 4, pending = _i & 8;
	struct cpu_state s = { 0 };
	struct twvmx_regs r;

	s.rflags = 2 | (tf ? FL_TF : 0);
	s.sti_shadow = sti;
	s.movss_shadow = movss;
	s.debug_pending = pending;
	s.debug_dr6 = pending ? DR6_BS : 0;
	through(&s, &r);
	if (sti || movss)
		ck_assert_int_eq(!!(r.pending_debug & DR6_BS), tf);
	else
		ck_assert_int_eq(!!(r.pending_debug & DR6_BS), pending);
}
END_TEST

/* A trap that is there for the check alone is none of the guest's. */
START_TEST(the_trap_after_sti_is_the_processors)
{
	struct cpu_state s = { .rflags = 2 | FL_TF, .sti_shadow = true }, back;
	struct twvmx_regs r;

	back = through(&s, &r);
	ck_assert(!back.debug_pending);
	ck_assert_uint_eq(back.debug_dr6, 0);
	ck_assert(back.sti_shadow);
}
END_TEST

START_TEST(the_trap_after_movss_waits)
{
	struct cpu_state s = { .rflags = 2 | FL_TF,
			       .movss_shadow = true,
			       .debug_pending = true,
			       .debug_dr6 = DR6_BS | 1 },
			 back;
	struct twvmx_regs r;

	back = through(&s, &r);
	ck_assert(back.debug_pending);
	ck_assert_uint_eq(back.debug_dr6, DR6_BS | 1);
	ck_assert_uint_eq(r.interruptibility, SHADOW_SS);
	ck_assert_uint_eq(r.pending_debug, DR6_BS | 1 | 1u << 12);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, a_shadow_and_tf_want_a_pending_trap, 0, 16);
	tcase_add_test(tc, the_trap_after_sti_is_the_processors);
	tcase_add_test(tc, the_trap_after_movss_waits);
}

UNIT_MAIN("regs", add)
