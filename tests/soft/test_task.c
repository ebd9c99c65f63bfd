// SPDX-License-Identifier: GPL-2.0-or-later
/* Hardware task switches: JMP, CALL, task gates, IRET. */
#include "tests/soft/rig.h"

#define NEW_CODE  0x12000u
#define NEW_STACK 0x28000u

GUEST_CODE(g_jmp, 32, "ljmp $0x60, $0\n hlt");
GUEST_CODE(g_call, 32, "lcall $0x60, $0\n inc %edx\n hlt");
GUEST_CODE(g_call_gate, 32, "lcall $0x70, $0\n inc %edx\n hlt");
GUEST_CODE(g_iret, 32, "mov $0x77, %esi\n iret\n hlt");
GUEST_CODE(g_hlt, 32, "hlt");
GUEST_CODE(g_gp, 32, "mov %eax, %ds\n hlt");

/* Fields of a 32-bit TSS. */
enum {
	T_LINK = 0,
	T_CR3 = 0x1c,
	T_EIP = 0x20,
	T_FLAGS = 0x24,
	T_EAX = 0x28,
	T_ESP = 0x38,
	T_ES = 0x48,
	T_LDT = 0x60
};

static void new_task(struct rig *r, uint32_t flags, const uint8_t *code, const uint8_t *end)
{
	static const uint16_t sel[6] = { K_DATA, K_CODE32, K_DATA, K_DATA, 0, 0 };

	rig_put32(r, TSS2 + T_EIP, NEW_CODE);
	rig_put32(r, TSS2 + T_FLAGS, flags);
	for (unsigned i = 0; i < 8; i++)
		rig_put32(r, TSS2 + T_EAX + 4 * i, 0x1000 + i);
	rig_put32(r, TSS2 + T_ESP, NEW_STACK);
	for (unsigned i = 0; i < 6; i++)
		rig_put32(r, TSS2 + T_ES + 4 * i, sel[i]);
	rig_put32(r, TSS2 + T_LDT, S_LDT);
	rig_put(r, NEW_CODE, code, (uint64_t)(end - code));
}

static struct rig *task_rig(uint32_t flags, const uint8_t *code, const uint8_t *end)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	for (unsigned i = 0; i < 8; i++)
		r->s.gpr[i] = i == R_RSP ? STACK : 0x500 + i;
	new_task(r, flags, code, end);
	return r;
}

static uint8_t access_of(struct rig *r, uint16_t sel)
{
	return (uint8_t)rig_get(r, GDT + sel + 5, 1);
}

START_TEST(jmp)
{
	struct rig *r = task_rig(2 | FL_ZF, g_hlt, g_hlt_end);

	r->s.rflags = 2 | FL_CF | FL_NT;
	RIG_RUN(r, g_jmp);
	ck_hex(r->s.rip, NEW_CODE + 1);
	ck_hex(r->s.gpr[R_RAX], 0x1000);
	ck_hex(r->s.gpr[R_RSP], NEW_STACK);
	ck_hex(r->s.gpr[R_RDI], 0x1007);
	ck_hex(r->s.rflags, 2 | FL_ZF);
	ck_hex(r->s.seg[SEG_TR].selector, S_TSS2);
	ck_hex(r->s.seg[SEG_TR].base, TSS2);
	ck_hex(r->s.seg[SEG_LDTR].base, LDT);
	ck_assert(r->s.seg[SEG_FS].attr & SEG_UNUSABLE);
	ck_assert(r->s.cr0 & CR0_TS);
	ck_hex(access_of(r, S_TSS), SEG_P | 9);
	ck_hex(access_of(r, S_TSS2), SEG_P | 11);
	/* What the old task left. */
	ck_hex(rig_get(r, TSS + T_EIP, 4), CODE + 7);
	ck_hex(rig_get(r, TSS + T_FLAGS, 4), 2 | FL_CF | FL_NT);
	ck_hex(rig_get(r, TSS + T_EAX + 4, 4), 0x501);
	ck_hex(rig_get(r, TSS + T_ESP, 4), STACK);
	ck_hex(rig_get(r, TSS + T_ES + 4, 4), K_CODE32);
	ck_assert_uint_eq(r->s.count, 2);
	rig_free(r);
}
END_TEST

START_TEST(call_and_iret)
{
	struct rig *r = task_rig(2, g_iret, g_iret_end);

	r->s.rflags = 2 | FL_CF;
	RIG_RUN(r, g_call);
	ck_assert_int_eq(rig_vector(r), -1);
	ck_hex(r->s.rip, CODE + 9);
	ck_hex(r->s.gpr[R_RDX], 0x503);
	ck_hex(r->s.rflags & ~(uint64_t)(FL_PF | FL_AF), 2 | FL_CF);
	ck_hex(r->s.seg[SEG_TR].selector, S_TSS);
	ck_hex(access_of(r, S_TSS), SEG_P | 11);
	ck_hex(access_of(r, S_TSS2), SEG_P | 9);
	ck_hex(rig_get(r, TSS2 + T_LINK, 2), S_TSS);
	ck_hex(rig_get(r, TSS2 + T_FLAGS, 4) & FL_NT, 0); /* cleared on the way out */
	ck_hex(rig_get(r, TSS2 + T_EAX + 4 * R_RSI, 4), 0x77);
	ck_hex(rig_get(r, TSS2 + T_EIP, 4), NEW_CODE + 6);
	rig_free(r);
}
END_TEST

START_TEST(call_sets_nt)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_put64(r, GDT + S_FREE, gate_make(S_TSS2, 0, 5, 0, 0));
	RIG_RUN(r, g_call_gate);
	ck_hex(r->s.rip, NEW_CODE + 1);
	ck_hex(r->s.rflags, 2 | FL_NT);
	ck_hex(access_of(r, S_TSS), SEG_P | 11); /* stays busy */
	rig_free(r);
}
END_TEST

START_TEST(busy)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_desc(r, S_TSS2, TSS2, 0x67, SEG_P | 11);
	RIG_RUN(r, g_jmp);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame32(r, 0), S_TSS2);
	ck_hex(r->s.seg[SEG_TR].selector, S_TSS);
	rig_free(r);
}
END_TEST

START_TEST(short_tss)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_desc(r, S_TSS2, TSS2, 0x66, SEG_P | 9);
	RIG_RUN(r, g_jmp);
	ck_assert_int_eq(rig_vector(r), VEC_TS);
	ck_hex(rig_frame32(r, 0), S_TSS2);
	ck_hex(rig_frame32(r, 1), CODE);
	rig_free(r);
}
END_TEST

/* A bad segment is found in the new task. */
START_TEST(bad_segment)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_put32(r, TSS2 + T_ES + 12, 0x1230); /* DS */
	RIG_RUN(r, g_jmp);
	ck_assert_int_eq(rig_vector(r), VEC_TS);
	ck_hex(rig_frame32(r, 0), 0x1230);
	ck_hex(rig_frame32(r, 1), NEW_CODE);
	ck_hex(r->s.seg[SEG_TR].selector, S_TSS2);
	ck_hex(r->s.gpr[R_RSP], NEW_STACK - 16);
	rig_free(r);
}
END_TEST

START_TEST(exception_through_gate)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_put64(r, IDT + VEC_GP * 8, gate_make(S_TSS2, 0, 5, 0, 0));
	r->s.gpr[R_RAX] = 0x1238;
	RIG_RUN(r, g_gp);
	ck_hex(r->s.rip, NEW_CODE + 1);
	ck_hex(r->s.gpr[R_RSP], NEW_STACK - 4);
	ck_hex(rig_get(r, NEW_STACK - 4, 4), 0x1238);
	ck_hex(rig_get(r, TSS + T_EIP, 4), CODE);
	ck_hex(rig_get(r, TSS + T_FLAGS, 4), 2 | FL_RF);
	ck_hex(r->s.rflags, 2 | FL_NT);
	ck_hex(rig_get(r, TSS2 + T_LINK, 2), S_TSS);
	rig_free(r);
}
END_TEST

START_TEST(task_16bit)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);
	static const uint16_t sel[4] = { K_DATA, K_CODE32, K_DATA, K_DATA };

	rig_desc(r, S_TSS2, TSS2, 0x2b, SEG_P | 1);
	rig_put16(r, TSS2 + 0x0e, 0x7100);
	rig_put16(r, TSS2 + 0x10, 2 | FL_CF);
	for (unsigned i = 0; i < 8; i++)
		rig_put16(r, TSS2 + 0x12 + 2 * i, (uint16_t)(0x7700 + i));
	rig_put(r, TSS2 + 0x22, sel, sizeof(sel));
	rig_put16(r, TSS2 + 0x2a, 0);
	rig_put16(r, 0x7100, 0x90f4);
	RIG_RUN(r, g_jmp);
	ck_hex(r->s.rip, 0x7101);
	ck_hex(r->s.gpr[R_RDI], 0x7707);
	ck_hex(r->s.rflags, 2 | FL_CF);
	ck_hex(r->s.seg[SEG_TR].attr, SEG_P | 3);
	ck_assert(r->s.seg[SEG_LDTR].attr & SEG_UNUSABLE);
	rig_free(r);
}
END_TEST

/* To virtual-8086 mode. */
START_TEST(task_vm86)
{
	struct rig *r = task_rig(2 | FL_VM, g_hlt, g_hlt_end);

	rig_put32(r, TSS2 + T_EIP, 0x10);
	rig_put32(r, TSS2 + T_ES + 4, NEW_CODE >> 4);
	rig_put16(r, NEW_CODE + 0x10, 0x0b0f); /* UD2 */
	rig_put32(r, TSS2 + 4, STACK);
	rig_put32(r, TSS2 + 8, K_DATA);
	RIG_RUN(r, g_jmp);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame32(r, 0), 0x10);
	ck_hex(rig_frame32(r, 1), NEW_CODE >> 4);
	ck_hex(rig_frame32(r, 2), 2 | FL_VM | FL_RF);
	ck_hex(rig_frame32(r, 3), NEW_STACK);
	rig_free(r);
}
END_TEST

START_TEST(debug_trap)
{
	struct rig *r = task_rig(2, g_hlt, g_hlt_end);

	rig_put16(r, TSS2 + 0x64, 1);
	RIG_RUN(r, g_jmp);
	ck_assert_int_eq(rig_vector(r), VEC_DB);
	ck_hex(rig_frame32(r, 0), NEW_CODE);
	ck_hex(r->s.dr[6], 0xffff8ff0);
	rig_free(r);
}
END_TEST

/*
 * A task switch is never stepped (SDM vol. 3, 17.4.3): TF of the old task ends with it, that of the
 * new one begins.
 */
START_TEST(no_step_after_switch)
{
	struct rig *r = task_rig(2 | (_i & 1 ? FL_TF : 0), g_hlt, g_hlt_end);

	r->s.rflags = 2 | FL_TF;
	r->s.debugctl = _i & 2 ? DEBUGCTL_BTF : 0;
	RIG_RUN(r, g_jmp);
	if (_i == 1) {
		/* After the HLT of the new task. */
		ck_assert_int_eq(rig_vector(r), VEC_DB);
		ck_hex(rig_frame32(r, 0), NEW_CODE + 1);
	} else {
		ck_hex(r->s.rip, NEW_CODE + 1);
	}
	rig_free(r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, jmp);
	tcase_add_test(tc, call_and_iret);
	tcase_add_test(tc, call_sets_nt);
	tcase_add_test(tc, busy);
	tcase_add_test(tc, short_tss);
	tcase_add_test(tc, bad_segment);
	tcase_add_test(tc, exception_through_gate);
	tcase_add_test(tc, task_16bit);
	tcase_add_test(tc, task_vm86);
	tcase_add_test(tc, debug_trap);
	tcase_add_loop_test(tc, no_step_after_switch, 0, 4);
}

UNIT_MAIN("task", add_tests)
