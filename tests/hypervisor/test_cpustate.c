// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/cpustate.h"
#include "tests/unit.h"

/* SDM vol. 3, table 10-1. */
START_TEST(the_state_after_reset)
{
	struct cpu_state s;

	cpu_state_reset(&s);
	ck_assert_uint_eq(s.seg[SEG_CS].base + s.rip, 0xfffffff0);
	ck_assert_uint_eq(s.seg[SEG_CS].selector, 0xf000);
	ck_assert_uint_eq(s.rflags, 2);
	ck_assert_uint_eq(s.cr0, 0x60000010);
	ck_assert_uint_eq(s.gpr[R_RDX], CPUID_V1_SIGNATURE);
	ck_assert_uint_eq(s.dr[6], 0xffff0ff0);
	ck_assert_uint_eq(s.dr[7], 0x400);
	ck_assert_uint_eq(s.xcr0, 1);
	ck_assert_uint_eq(s.fxsave[0] | s.fxsave[1] << 8, 0x40);
	ck_assert_uint_eq(s.fxsave[24] | s.fxsave[25] << 8, 0x1f80);
	ck_assert(!s.halted && !s.event.valid && !s.count && !s.efer && !s.cr4);
}
END_TEST

static int round_trip(const struct cpu_state *s, struct cpu_state *again)
{
	struct buf b = BUF_INIT;
	struct rd in;
	int ret;

	cpu_state_save(s, &b);
	in = (struct rd)RD_INIT(b.data, b.len);
	ret = cpu_state_restore(again, &in);
	ck_assert_uint_eq(rd_left(&in), 0);
	buf_free(&b);
	return ret;
}

/* A state with another value in each field that may have any. */
static void fill(struct cpu_state *s)
{
	cpu_state_reset(s);
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = 0x1111111111111111ull * i + 1;
	s->rip = 0x12345678;
	s->rflags = 0x246;
	s->cr2 = 0xffff800000001234;
	s->cr3 = 0x5000;
	s->cr8 = 5;
	s->pdpte[2] = 0x7001;
	s->dr[3] = 0x9999;
	s->star = 1;
	s->lstar = 2;
	s->cstar = 3;
	s->fmask = 4;
	s->kernel_gs_base = 5;
	s->tsc_aux = 6;
	s->sysenter_cs = 7;
	s->sysenter_esp = 8;
	s->sysenter_eip = 9;
	s->tsc_offset = UINT64_MAX;
	s->mtrr_fixed[10] = 10;
	s->mtrr_phys[15] = 11;
	s->gdtr = (struct table_state){ 0x1000, 0x7f };
	s->idtr = (struct table_state){ 0x2000, 0xfff };
	s->seg[SEG_FS].base = 0xdeadbeefcafe;
	s->fxsave[160] = 0xaa;
	s->halted = s->sti_shadow = s->nmi_pending = s->debug_pending = true;
	s->debug_dr6 = 1;
	s->intr_pending = true;
	s->intr_vector = 0x33;
	s->event = (struct event_state){ true, 14, 3, true, 7 };
	s->count = 1ull << 50;
}

START_TEST(a_saved_state_is_the_same)
{
	struct cpu_state s, again;
	struct buf a = BUF_INIT, b = BUF_INIT;

	fill(&s);
	ck_assert_int_eq(round_trip(&s, &again), 0);
	cpu_state_save(&s, &a);
	cpu_state_save(&again, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	ck_assert_mem_eq(again.gpr, s.gpr, sizeof(s.gpr));
	ck_assert_mem_eq(again.fxsave, s.fxsave, sizeof(s.fxsave));
	ck_assert(again.event.error == 7 && again.intr_vector == 0x33 && again.halted);
	buf_free(&a);
	buf_free(&b);
}
END_TEST

START_TEST(a_cut_image_is_refused)
{
	struct cpu_state s, again;
	struct buf b = BUF_INIT;

	fill(&s);
	cpu_state_save(&s, &b);
	for (size_t len = 0; len < b.len; len++) {
		struct rd in = RD_INIT(b.data, len);

		ck_assert_int_eq(cpu_state_restore(&again, &in), -EINVAL);
	}
	buf_free(&b);
}
END_TEST

/* What no vCPU of this machine can be in, one fault at a time. */
START_TEST(impossible_states_are_refused)
{
	struct cpu_state s, again;

#define REFUSED(change)                                            \
	do {                                                       \
		cpu_state_reset(&s);                               \
		change;                                            \
		ck_assert_int_eq(round_trip(&s, &again), -EINVAL); \
	} while (0)
	REFUSED(s.cr0 |= CR0_PG); /* without protection */
	REFUSED(s.cr0 |= 1ull << 32);
	REFUSED(s.cr4 |= CR4_VME);
	REFUSED(s.efer |= 1u << 1);
	REFUSED(s.efer |= EFER_LMA);
	REFUSED((s.cr0 |= CR0_PE | CR0_PG, s.efer |= EFER_LME));
	REFUSED((s.cr0 |= CR0_PE | CR0_PG, s.efer |= EFER_LME | EFER_LMA)); /* without PAE */
	REFUSED(s.rip = 1ull << 32);
	REFUSED(s.cr3 = 1ull << CPUID_V1_PHYS_BITS);
	REFUSED(s.cr8 = 16);
	REFUSED(s.xcr0 = 2);
	REFUSED(s.xcr0 = 7);
	REFUSED(s.seg[SEG_DS].attr |= 1u << 9);
	REFUSED(s.event.type = 7);
	REFUSED(s.debugctl = 1);
#undef REFUSED
	cpu_state_reset(&s);
	s.cr0 |= CR0_PE | CR0_PG;
	s.cr4 |= CR4_PAE;
	s.efer |= EFER_LME | EFER_LMA;
	ck_assert_int_eq(round_trip(&s, &again), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, the_state_after_reset);
	tcase_add_test(tc, a_saved_state_is_the_same);
	tcase_add_test(tc, a_cut_image_is_refused);
	tcase_add_test(tc, impossible_states_are_refused);
}

UNIT_MAIN("cpustate", add_tests)
