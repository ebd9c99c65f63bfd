/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near branches and stack instructions in every mode: widths, wrapping, limits, order of faults and
 * stores.
 */
#include "tests/unit.h"

#include "tests/soft/int_case.h"

static struct int_case c;

static void teardown(void)
{
	case_fini(&c);
}

#define RUN(...)                                                \
	({                                                      \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		case_code(&c, code_, sizeof(code_));            \
		case_run(&c, 1);                                \
	})

/* ---- 64-bit mode ---- */
START_TEST(jumps_64)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	ck_assert_int_eq(RUN(0xeb, 0x10), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 0x12);
	ck_assert_int_eq(RUN(0xe9, 0x00, 0xf0, 0xff, 0xff), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 5 - 0x1000);
	/* The operand-size prefix means nothing to near branches in 64-bit mode. */
	ck_assert_int_eq(RUN(0x66, 0xe9, 0x00, 0x00, 0x01, 0x00), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 6 + 0x10000);
	cpu->gpr[R_RAX] = 0x123456789abc;
	ck_assert_int_eq(RUN(0xff, 0xe0), -1);
	ck_assert_uint_eq(cpu->rip, 0x123456789abc);
	guest_poke(&c.g, CASE_DATA, 0xffff800000000123);
	cpu->gpr[R_RBX] = CASE_DATA;
	ck_assert_int_eq(RUN(0xff, 0x23), -1);
	ck_assert_uint_eq(cpu->rip, 0xffff800000000123);
}
END_TEST

/* #GP at the branch, before anything is pushed or popped. */
START_TEST(not_canonical)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	guest_poke(&c.g, CASE_STACK - 8, 0x5a5a);
	guest_poke(&c.g, CASE_STACK, 0x800000000000);
	for (unsigned i = 0; i < 3; i++) {
		cpu->gpr[R_RSP] = CASE_STACK;
		cpu->gpr[R_RAX] = 0x800000000000;
		ck_assert_int_eq(i == 0	  ? RUN(0xff, 0xd0)
				 : i == 1 ? RUN(0xff, 0xe0)
					  : RUN(0xc3),
				 VEC_GP);
		/* Five words and an error code, on a stack aligned to 16. */
		ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 48);
		ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 40), CASE_CODE);
		ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 16), CASE_STACK);
	}
}
END_TEST

START_TEST(calls_64)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	cpu->gpr[R_RSP] = CASE_STACK;
	ck_assert_int_eq(RUN(0xe8, 0x10, 0x00, 0x00, 0x00), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 0x15);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 8);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 8), CASE_CODE + 5);
	/* The target of CALL [RSP-8] is read before the push. */
	guest_poke(&c.g, CASE_STACK - 16, 0x7777);
	ck_assert_int_eq(RUN(0xff, 0x54, 0x24, 0xf8), -1);
	ck_assert_uint_eq(cpu->rip, 0x7777);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 16), CASE_CODE + 4);
	ck_assert_int_eq(RUN(0xc2, 0x08, 0x00), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 4);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK);
}
END_TEST

START_TEST(loops)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	cpu->gpr[R_RCX] = 0x100000001;
	ck_assert_int_eq(RUN(0xe2, 0x10), -1);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 0x12);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0x100000000);
	ck_assert_int_eq(RUN(0xe3, 0x10), -1); /* JRCXZ */
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 2);
	ck_assert_int_eq(RUN(0x67, 0xe3, 0x10), -1); /* JECXZ */
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 0x13);
	cpu->gpr[R_RCX] = 0x100000001;
	ck_assert_int_eq(RUN(0x67, 0xe2, 0x10), -1); /* ECX counts and is zero-extended */
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 3);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
	for (unsigned zf = 0; zf < 2; zf++) {
		for (unsigned ne = 0; ne < 2; ne++) {
			cpu->gpr[R_RCX] = 5;
			flags_set(cpu, zf ? FL_ZF : 0);
			ck_assert_int_eq(ne ? RUN(0xe0, 0x10) : RUN(0xe1, 0x10), -1);
			ck_assert_uint_eq(cpu->rip, CASE_CODE + (zf != ne ? 0x12 : 2));
			ck_assert_uint_eq(cpu->gpr[R_RCX], 4);
		}
	}
}
END_TEST

START_TEST(stack_64)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	cpu->gpr[R_RSP] = CASE_STACK;
	ck_assert_int_eq(RUN(0x54), -1); /* PUSH RSP pushes the old value */
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 8), CASE_STACK);
	ck_assert_int_eq(RUN(0x6a, 0x80), -1);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 16), (uint64_t)-128);
	ck_assert_int_eq(RUN(0x66, 0x6a, 0x80), -1); /* 16 bits */
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 18);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 18) & 0xffff, 0xff80);
	cpu->gpr[R_RCX] = ~0ull;
	ck_assert_int_eq(RUN(0x66, 0x59), -1);
	ck_assert_uint_eq(cpu->gpr[R_RCX], ~0ull << 16 | 0xff80);
	/* POP [RSP+8] uses RSP after the pop. */
	ck_assert_int_eq(RUN(0x8f, 0x44, 0x24, 0x08), -1);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK), (uint64_t)-128);
	ck_assert_int_eq(RUN(0x5c), -1); /* POP RSP: the value, not the pointer */
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK);
	/* POP [mem] that faults leaves RSP. */
	cpu->gpr[R_RAX] = 0x800000000000;
	ck_assert_int_eq(RUN(0x8f, 0x00), VEC_GP);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 16), CASE_STACK);
}
END_TEST

/* ENTER 16, n then LEAVE. */
START_TEST(frames)
{
	static const uint8_t leave = 0xc9;
	uint8_t enter[4] = { 0xc8, 16, 0, (uint8_t)_i };
	unsigned levels = (unsigned)_i & 31;
	uint64_t frame = CASE_STACK - 8, old = CASE_DATA + 0x100;
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	cpu->gpr[R_RSP] = CASE_STACK;
	cpu->gpr[R_RBP] = old;
	for (unsigned i = 1; i < 32; i++)
		guest_poke(&c.g, old - 8 * i, 0x1000 + i);
	case_code(&c, enter, 4);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RBP], frame);
	ck_assert_uint_eq(cpu->gpr[R_RSP], frame - 8 * levels - 16);
	ck_assert_uint_eq(guest_peek(&c.g, frame), old);
	for (unsigned i = 1; i < levels; i++)
		ck_assert_uint_eq(guest_peek(&c.g, frame - 8 * i), 0x1000 + i);
	if (levels)
		ck_assert_uint_eq(guest_peek(&c.g, frame - 8 * levels), frame);
	case_code(&c, &leave, 1);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RBP], old);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK);
}
END_TEST

/* ---- 32-bit ---- */
START_TEST(widths_32)
{
	struct cpu *cpu;

	case_init(&c, CASE_32);
	cpu = case_cpu(&c);
	cpu->gpr[R_RSP] = CASE_STACK;
	ck_assert_int_eq(RUN(0xe8, 0xfb, 0xbf, 0xff, 0xff), -1); /* to 0 */
	ck_assert_uint_eq(cpu->rip, 0);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 4);
	ck_assert_uint_eq((uint32_t)guest_peek(&c.g, CASE_STACK - 4), CASE_CODE + 5);
	ck_assert_int_eq(RUN(0xe9, 0xfa, 0xbf, 0xff, 0xff), -1); /* wraps below 0 */
	ck_assert_uint_eq(cpu->rip, 0xffffffff);
	ck_assert_int_eq(RUN(0x66, 0xe9, 0x00, 0xb0), -1); /* 16-bit operand: EIP is cut */
	ck_assert_uint_eq(cpu->rip, 0xf004);
	flags_set(cpu, FL_ZF);
	ck_assert_int_eq(RUN(0x66, 0x0f, 0x84, 0x00, 0xb0), -1);
	ck_assert_uint_eq(cpu->rip, 0xf005);
	ck_assert_int_eq(RUN(0x66, 0xc3), -1); /* 16-bit RET */
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 5);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 2);
}
END_TEST

START_TEST(push_all)
{
	struct cpu *cpu;

	case_init(&c, CASE_32);
	cpu = case_cpu(&c);
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = 0x11110000 * i + 0x1000 + i;
	cpu->gpr[R_RSP] = CASE_STACK;
	ck_assert_int_eq(RUN(0x60), -1);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 32);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq((uint32_t)guest_peek(&c.g, CASE_STACK - 4 - 4 * i),
				  i == R_RSP ? CASE_STACK : 0x11110000 * i + 0x1000 + i);
	for (unsigned i = 0; i < 8; i++)
		if (i != R_RSP)
			cpu->gpr[i] = 0;
	ck_assert_int_eq(RUN(0x61), -1);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(cpu->gpr[i],
				  i == R_RSP ? CASE_STACK : 0x11110000 * i + 0x1000 + i);
	ck_assert_int_eq(RUN(0x66, 0x60), -1);
	ck_assert_uint_eq(cpu->gpr[R_RSP], CASE_STACK - 16);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_STACK - 4) & 0xffffffff, 0x10001001);
}
END_TEST

/* ---- real mode ---- */
START_TEST(widths_16)
{
	struct cpu *cpu;

	case_init(&c, CASE_REAL);
	cpu = case_cpu(&c);
	cpu->gpr[R_RSP] = 0xabcd0000; /* SP 0: the push wraps to FFFEh */
	cpu->gpr[R_RAX] = 0x1234;
	ck_assert_int_eq(RUN(0x50), -1);
	ck_assert_uint_eq(cpu->gpr[R_RSP], 0xabcdfffe);
	ck_assert_uint_eq(guest_peek(&c.g, 0xfffe) & 0xffff, 0x1234);
	ck_assert_int_eq(RUN(0x66, 0x50), -1); /* 32-bit operand, 16-bit stack */
	ck_assert_uint_eq(cpu->gpr[R_RSP], 0xabcdfffa);
	ck_assert_int_eq(RUN(0xe9, 0x00, 0xb0), -1); /* below 0: wraps */
	ck_assert_uint_eq(cpu->rip, 0xf003);
	ck_assert_int_eq(RUN(0x66, 0xe9, 0xfa, 0xbf, 0x00, 0x00),
			 VEC_GP); /* 32-bit: beyond the limit of CS */
	cpu->gpr[R_RCX] = 0x10000;
	ck_assert_int_eq(RUN(0xe3, 0x10), -1); /* JCXZ looks at CX */
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 0x12);
	ck_assert_int_eq(RUN(0xe2, 0x10), -1);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0x1ffff);
	/* A word at SP FFFFh crosses the limit: #SS. */
	cpu->gpr[R_RSP] = 0xffff;
	ck_assert_int_eq(RUN(0x58), VEC_SS);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, jumps_64);
	tcase_add_test(tc, not_canonical);
	tcase_add_test(tc, calls_64);
	tcase_add_test(tc, loops);
	tcase_add_test(tc, stack_64);
	tcase_add_loop_test(tc, frames, 0, 34);
	tcase_add_test(tc, widths_32);
	tcase_add_test(tc, push_all);
	tcase_add_test(tc, widths_16);
}

UNIT_MAIN("branch", add_tests)
