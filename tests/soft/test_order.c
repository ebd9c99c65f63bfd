// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which fault of several shows, and what an instruction that faults leaves behind: as Intel's
 * silicon answered.
 */
#include "tests/soft/rig.h"

#define WINDOW	0x80000000ull /* one page to write, one to read; the rest is absent */
#define RO	(WINDOW + 0x1000)
#define ABSENT	(WINDOW + 0x2000)
#define BEYOND	0x2000000000000ull /* not canonical */
#define LAST	0x7fffffffffffull
#define W_PAGE	0x40000u
#define RO_PAGE 0x41000u
#define PF_W	2u
#define PF_U	4u

/* The user's code with a window into memory of which some is missing. */
static struct rig *user(void)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	r->s.cr0 |= CR0_AM;
	rig_put64(r, PDPT + 16, 0x8000 | 7);
	rig_put64(r, 0x8000, 0x9000 | 7);
	rig_put64(r, 0x9000, W_PAGE | 7);
	rig_put64(r, 0x9008, RO_PAGE | 5);
	return r;
}

/* The same in compatibility mode. */
static struct rig *user32(void)
{
	struct rig *r = user();

	rig_seg(r, SEG_CS, U_CODE32, A_CODE32 | A_DPL(3));
	return r;
}

static void run_bytes(struct rig *r, const uint8_t *code, size_t n)
{
	rig_put(r, CODE, code, n);
	rig_put16(r, CODE + n, 0x0b0f); /* UD2 */
	rig_run(r);
}

#define RUN(r, ...) \
	run_bytes(r, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* Frame in the handler: error code first where the vector has one. */
static uint64_t saved_rsp(struct rig *r, bool error)
{
	return rig_frame64(r, error ? 4 : 3);
}

static uint64_t saved_flags(struct rig *r, bool error)
{
	return rig_frame64(r, error ? 3 : 2) & 0xcd5;
}

START_TEST(cmps_looks_at_rdi_first)
{
	struct rig *r = user();

	r->s.gpr[R_RSI] = ABSENT;
	r->s.gpr[R_RDI] = BEYOND;
	RUN(r, 0xa6);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
	r = user();
	r->s.gpr[R_RSI] = BEYOND;
	r->s.gpr[R_RDI] = ABSENT;
	RUN(r, 0xa6);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	rig_free(r);
	r = user();
	r->s.gpr[R_RSI] = ABSENT;
	r->s.gpr[R_RDI] = BEYOND;
	RUN(r, 0xa4); /* MOVS: the source */
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	rig_free(r);
}
END_TEST

/* CMPS and SCAS write flags when they end; a fault shows those from before, and the counts of now.
 */
START_TEST(repeated_comparison_faults)
{
	struct rig *r = user();

	r->s.rflags = 2 | FL_CF | FL_ZF | FL_AF;
	r->s.gpr[R_RSI] = WINDOW;
	r->s.gpr[R_RDI] = ABSENT - 3;
	r->s.gpr[R_RCX] = 9;
	RUN(r, 0xf3, 0xa6);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(saved_flags(r, true), FL_CF | FL_ZF | FL_AF);
	ck_hex(r->s.gpr[R_RCX], 6);
	ck_hex(r->s.gpr[R_RSI], WINDOW + 3);
	rig_free(r);
	r = user();
	r->s.rflags = 2 | FL_CF | FL_ZF;
	r->s.gpr[R_RAX] = 7;
	r->s.gpr[R_RDI] = ABSENT - 2;
	r->s.gpr[R_RCX] = 9;
	RUN(r, 0xf2, 0xae);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(saved_flags(r, true), FL_CF | FL_ZF);
	ck_hex(r->s.gpr[R_RCX], 7);
	rig_free(r);
}
END_TEST

/* So does a stop between two iterations, and the state that is taken there goes on as if none had
 * been. */
START_TEST(repeated_comparison_stops)
{
	struct rig *r = user();
	struct landmark until = { .rip = CODE, .rcx = 5, .in_rep = true };

	r->s.rflags = 2 | FL_CF | FL_OF;
	r->s.gpr[R_RSI] = WINDOW;
	r->s.gpr[R_RDI] = WINDOW + 0x100;
	r->s.gpr[R_RCX] = 8;
	rig_put16(r, W_PAGE + 6, 0x0001); /* differs from 106 on */
	rig_put(r, CODE, (const uint8_t[]){ 0xf3, 0xa6, 0x0f, 0x0b }, 4);
	until.count = r->s.count;
	ck_assert_int_eq(r->e->ops->set_state(r->e, &r->s, NULL), 0);
	ck_assert_int_eq(r->e->ops->run(r->e, &until), ENGINE_EXIT_UNTIL);
	r->e->ops->get_state(r->e, &r->s);
	ck_hex(r->s.gpr[R_RCX], 5);
	ck_hex(r->s.rflags, 2 | FL_CF | FL_OF);
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(r->s.gpr[R_RCX], 1);
	ck_hex(saved_flags(r, false), 0);
	rig_free(r);
}
END_TEST

START_TEST(call_pushes_first)
{
	struct rig *r = user();

	r->s.gpr[R_RAX] = BEYOND;
	rig_put64(r, USTACK - 8, 0);
	RUN(r, 0xff, 0xd0);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_get(r, USTACK - 8, 8), CODE + 2);
	ck_hex(saved_rsp(r, true), USTACK);
	rig_free(r);
	r = user();
	r->s.gpr[R_RAX] = BEYOND;
	r->s.gpr[R_RSP] = RO + 8;
	RUN(r, 0xff, 0xd0);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	rig_free(r);
}
END_TEST

/* #GP of the first byte, #AC, and then all the rest. */
START_TEST(alignment_before_pages)
{
	static const struct {
		uint64_t at;
		int vec;
	} row[] = { { ABSENT + 1, VEC_AC }, { ABSENT - 1, VEC_AC }, { LAST, VEC_AC },
		    { BEYOND + 1, VEC_GP }, { ABSENT, VEC_PF },	    { WINDOW + 2, VEC_AC } };

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct rig *r = user();

		r->s.rflags |= FL_AC;
		r->s.gpr[R_RAX] = row[i].at;
		RUN(r, 0x8b, 0x08);
		ck_assert_msg(rig_vector(r) == row[i].vec, "at %llx: %d",
			      (unsigned long long)row[i].at, rig_vector(r));
		rig_free(r);
	}
}
END_TEST

/* A far CALL pushes two numbers: each has to be aligned, not the two as one. */
START_TEST(far_call_alignment)
{
	for (unsigned i = 0; i < 2; i++) {
		struct rig *r = user32();

		r->s.rflags |= FL_AC;
		r->s.gpr[R_RSP] = USTACK - (i ? 2 : 4);
		RUN(r, 0x9a, 0x07, 0x00, 0x01, 0x00, U_CODE32, 0x00); /* to what follows */
		ck_assert_int_eq(rig_vector(r), i ? VEC_AC : VEC_UD);
		rig_free(r);
	}
}
END_TEST

START_TEST(push_all_in_part)
{
	struct rig *r = user32();

	rig_put32(r, W_PAGE, 0);
	r->s.gpr[R_RSP] = WINDOW + 8;
	r->s.gpr[R_RAX] = 0x11;
	r->s.gpr[R_RCX] = 0x22;
	rig_put64(r, PDPT + 8, 0); /* below the window nothing is there */
	RUN(r, 0x60);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(rig_get(r, W_PAGE + 4, 4), 0x11);
	ck_hex(rig_get(r, W_PAGE, 4), 0x22);
	ck_hex(saved_rsp(r, true), WINDOW + 8);
	rig_free(r);
}
END_TEST

START_TEST(pop_all_in_part)
{
	struct rig *r = user32();

	rig_put64(r, RO_PAGE + 0xff8, 0x2222222211111111);
	r->s.gpr[R_RSP] = ABSENT - 8;
	r->s.gpr[R_RBP] = 0x33;
	RUN(r, 0x61);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(r->s.gpr[R_RDI], 0x11111111);
	ck_hex(r->s.gpr[R_RSI], 0x22222222);
	ck_hex(r->s.gpr[R_RBP], 0x33);
	ck_hex(saved_rsp(r, true), ABSENT - 8);
	rig_free(r);
}
END_TEST

START_TEST(pop_to_memory)
{
	struct rig *r = user();

	r->s.gpr[R_RSP] = r->s.gpr[R_RDI] = BEYOND;
	RUN(r, 0x8f, 0x07);
	ck_assert_int_eq(rig_vector(r), VEC_SS);
	rig_free(r);
	r = user();
	r->s.gpr[R_RDI] = BEYOND;
	RUN(r, 0x8f, 0x07);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
}
END_TEST

START_TEST(bound_compares_the_lower_one_first)
{
	struct rig *r = user32();

	rig_put32(r, RO_PAGE + 0xffc, 10);
	r->s.gpr[R_RDI] = ABSENT - 4;
	r->s.gpr[R_RAX] = 9;
	RUN(r, 0x62, 0x07);
	ck_assert_int_eq(rig_vector(r), VEC_BR);
	rig_free(r);
	r = user32();
	rig_put32(r, RO_PAGE + 0xffc, 10);
	r->s.gpr[R_RDI] = ABSENT - 4;
	r->s.gpr[R_RAX] = 10;
	RUN(r, 0x62, 0x07);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	rig_free(r);
}
END_TEST

/* ARPL writes only where the RPL grows. */
START_TEST(arpl_reads_first)
{
	static const struct {
		uint64_t at;
		uint16_t src;
		int vec;
		uint32_t err;
	} row[] = { { RO, 1, VEC_UD, 0 },
		    { RO, 3, VEC_PF, PF_U | PF_W | 1 },
		    { ABSENT, 3, VEC_PF, PF_U },
		    { WINDOW, 3, VEC_UD, 0 } };

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct rig *r = user32();

		rig_put16(r, RO_PAGE, 0x12);
		rig_put16(r, W_PAGE, 0x12);
		r->s.gpr[R_RDI] = row[i].at;
		r->s.gpr[R_RAX] = row[i].src;
		RUN(r, 0x63, 0x07);
		ck_assert_int_eq(rig_vector(r), row[i].vec);
		if (row[i].vec == VEC_PF)
			ck_hex(rig_frame64(r, 0), row[i].err);
		ck_hex(rig_get(r, W_PAGE, 2), row[i].at == WINDOW ? 0x13 : 0x12);
		rig_free(r);
	}
}
END_TEST

/* Privilege comes before the count. */
START_TEST(ports_without_count)
{
	struct rig *r = user();

	r->s.gpr[R_RCX] = 0;
	RUN(r, 0xf3, 0x6c);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
	r = user();
	r->s.rflags |= FL_IOPL;
	r->s.gpr[R_RCX] = 0;
	RUN(r, 0xf3, 0x6e);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_assert_uint_eq(r->nports, 0);
	rig_free(r);
}
END_TEST

/* A push that ends with the last byte there is does not wrap: it is a write like others. */
START_TEST(pushf_at_the_top)
{
	struct rig *r = user();

	r->s.gpr[R_RSP] = 0;
	RUN(r, 0x9c);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(rig_frame64(r, 0), PF_U | PF_W);
	ck_hex(r->s.cr2, (uint64_t)-8);
	rig_free(r);
}
END_TEST

START_TEST(zero_extends_before_the_first_access)
{
	const uint64_t high = 5ull << 32;
	struct rig *r = user();

	r->s.gpr[R_RSI] = high | ABSENT;
	r->s.gpr[R_RDI] = high | WINDOW;
	r->s.gpr[R_RCX] = high | 2;
	RUN(r, 0x67, 0xf3, 0xa4);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(r->s.gpr[R_RSI], ABSENT);
	ck_hex(r->s.gpr[R_RDI], WINDOW);
	ck_hex(r->s.gpr[R_RCX], 2);
	rig_free(r);
	r = user();
	r->s.gpr[R_RDI] = high | ABSENT;
	r->s.gpr[R_RCX] = high | 2;
	RUN(r, 0x67, 0xf3, 0xae);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(r->s.gpr[R_RDI], high | ABSENT);
	ck_hex(r->s.gpr[R_RCX], 2);
	rig_free(r);
}
END_TEST

/* MOVSXD with 66h reads two bytes; F3 makes a PAUSE of XCHG R8, rAX. */
START_TEST(odd_encodings)
{
	struct rig *r = user();

	rig_put16(r, RO_PAGE + 0xffe, 0x8765);
	r->s.gpr[R_RDI] = ABSENT - 2;
	r->s.gpr[R_RAX] = ~0ull;
	r->s.gpr[R_R8] = 8;
	RUN(r, 0x66, 0x63, 0x07, 0xf2, 0xf3, 0x49, 0x90);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(r->s.gpr[R_RAX], 0xffffffffffff8765);
	ck_hex(r->s.gpr[R_R8], 8);
	rig_free(r);
	r = user();
	r->s.gpr[R_R8] = 8;
	RUN(r, 0xf3, 0xf2, 0x49, 0x90);
	ck_hex(r->s.gpr[R_RAX], 8);
	rig_free(r);
}
END_TEST

/* The frame pointer is all of ESP, also where the stack uses SP alone. */
START_TEST(enter_on_a_16_bit_stack)
{
	for (unsigned level = 0; level < 2; level++) {
		struct rig *r = rig_new();

		rig_prot(r, 0);
		rig_seg(r, SEG_SS, K_DATA, A_DATA & ~SEG_DB);
		r->s.gpr[R_RSP] = 0x12348000;
		r->s.gpr[R_RBP] = 0xabcd;
		RUN(r, 0xc8, 0x10, 0x00, (uint8_t)level, 0xf4);
		ck_hex(r->s.gpr[R_RBP], 0x12347ffc);
		ck_hex(r->s.gpr[R_RSP], 0x12347fec - 4 * level);
		ck_hex(rig_get(r, 0x7ffc, 4), 0xabcd);
		if (level)
			ck_hex(rig_get(r, 0x7ff8, 4), 0x12347ffc);
		rig_free(r);
	}
}
END_TEST

/* IRET to less privilege: selectors become null, the base that 64-bit code sees stays. */
START_TEST(return_keeps_bases)
{
	for (unsigned far = 0; far < 2; far++) {
		const uint64_t iret[5] = { DATA, U_CODE64, 2, USTACK, U_DATA };
		const uint64_t lret[4] = { DATA, U_CODE64, USTACK, U_DATA };
		struct rig *r = rig_new();

		rig_long(r, 0);
		r->s.seg[SEG_FS].base = 0x12345000;
		r->s.seg[SEG_GS].base = 0x23456000;
		r->s.gpr[R_RSP] = STACK - 64;
		rig_put(r, STACK - 64, far ? lret : iret, far ? sizeof(lret) : sizeof(iret));
		rig_put16(r, DATA, 0x0b0f);
		RUN(r, 0x48, far ? 0xcb : 0xcf);
		ck_assert_int_eq(rig_vector(r), VEC_UD);
		ck_hex(r->s.seg[SEG_FS].selector, 0);
		ck_hex(r->s.seg[SEG_FS].base, 0x12345000);
		ck_hex(r->s.seg[SEG_GS].base, 0x23456000);
		ck_hex(r->s.seg[SEG_GS].limit, UINT32_MAX);
		ck_assert(r->s.seg[SEG_GS].attr & SEG_UNUSABLE);
		rig_free(r);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, cmps_looks_at_rdi_first);
	tcase_add_test(tc, repeated_comparison_faults);
	tcase_add_test(tc, repeated_comparison_stops);
	tcase_add_test(tc, call_pushes_first);
	tcase_add_test(tc, alignment_before_pages);
	tcase_add_test(tc, far_call_alignment);
	tcase_add_test(tc, push_all_in_part);
	tcase_add_test(tc, pop_all_in_part);
	tcase_add_test(tc, pop_to_memory);
	tcase_add_test(tc, bound_compares_the_lower_one_first);
	tcase_add_test(tc, arpl_reads_first);
	tcase_add_test(tc, ports_without_count);
	tcase_add_test(tc, pushf_at_the_top);
	tcase_add_test(tc, zero_extends_before_the_first_access);
	tcase_add_test(tc, odd_encodings);
	tcase_add_test(tc, enter_on_a_16_bit_stack);
	tcase_add_test(tc, return_keeps_bases);
}

UNIT_MAIN("order", add_tests)
