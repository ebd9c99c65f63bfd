// SPDX-License-Identifier: GPL-2.0-or-later
/* Delivery of events, INT n, IRET. */
#include "tests/soft/rig.h"

GUEST_CODE(g_int, 64, "int $0x80");
GUEST_CODE(g_int_then_more, 64, "int $0x80\n mov $7, %ecx\n hlt");
GUEST_CODE(g_ud, 64, "nop\n ud2");
GUEST_CODE(g_div, 64, "xor %ecx, %ecx\n div %ecx");
GUEST_CODE(g_gp, 64, "mov $0x1234, %eax\n mov %eax, %ds");
GUEST_CODE(g_pf, 64, "mov $0x90000000, %eax\n mov %rbx, (%rax)");
GUEST_CODE(g_int32, 32, "int $0x80\n hlt");
GUEST_CODE(g_gp32, 32, "mov $0x1234, %eax\n mov %eax, %ds");
GUEST_CODE(g_int16, 16, "int $0x21\n hlt");
GUEST_CODE(g_into, 32, "mov $0x7f, %al\n inc %al\n into\n hlt");
GUEST_CODE(g_int1, 64, ".byte 0xf1");
GUEST_CODE(g_sti, 64, "sti\n inc %eax\n inc %eax\n inc %eax\n hlt");
GUEST_CODE(g_movss, 64, "mov $0x10, %eax\n mov %eax, %ss\n inc %ebx\n inc %ebx\n hlt");
GUEST_CODE(g_nops, 64, "inc %eax\n inc %eax\n hlt");
GUEST_CODE(g_iretq, 64, "iretq");
GUEST_CODE(g_iret32, 32, "iret");
GUEST_CODE(g_iret16, 16, "iret");

/* ---- 64-bit mode ---- */
START_TEST(int_same_privilege)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.rflags = 2 | FL_IF | FL_CF | FL_NT;
	r->s.gpr[R_RSP] = STACK - 8; /* to be aligned */
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), 0x80);
	ck_hex(r->s.gpr[R_RSP], STACK - 16 - 40);
	ck_hex(rig_frame64(r, 0), CODE + 2);
	ck_hex(rig_frame64(r, 1), K_CODE64);
	ck_hex(rig_frame64(r, 2), 2 | FL_IF | FL_CF | FL_NT);
	ck_hex(rig_frame64(r, 3), STACK - 8);
	ck_hex(rig_frame64(r, 4), K_DATA);
	ck_hex(r->s.rflags, 2 | FL_CF);
	ck_hex(r->s.seg[SEG_SS].selector, K_DATA);
	ck_assert_uint_eq(r->s.count, 2);
	rig_free(r);
}
END_TEST

START_TEST(int_from_user)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	rig_gate64(r, 0x80, K_CODE64, HANDLER + 0x800, 15, 3, 0);
	r->s.rflags = 2 | FL_IF;
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), 0x80);
	ck_hex(r->s.gpr[R_RSP], STACK - 40);
	ck_hex(rig_frame64(r, 1), U_CODE64);
	ck_hex(rig_frame64(r, 3), USTACK);
	ck_hex(rig_frame64(r, 4), U_DATA);
	ck_hex(r->s.rflags, 2 | FL_IF); /* trap gate */
	ck_hex(r->s.seg[SEG_SS].selector, 0);
	ck_assert(r->s.seg[SEG_SS].attr & SEG_UNUSABLE);
	ck_hex(r->s.seg[SEG_CS].selector, K_CODE64);
	rig_free(r);
}
END_TEST

START_TEST(int_gate_dpl)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), 0x80 * 8 + 2); /* IDT, no EXT */
	ck_hex(rig_frame64(r, 1), CODE);	 /* the INT itself */
	ck_hex(rig_frame64(r, 3), 2 | FL_RF);
	ck_assert_uint_eq(r->s.count, 1);
	rig_free(r);
}
END_TEST

START_TEST(int_beyond_idt)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.idtr.limit = 0x80 * 16 - 1;
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), 0x80 * 8 + 2);
	rig_free(r);
}
END_TEST

START_TEST(int_not_present)
{
	struct rig *r = rig_new();
	uint64_t gate;

	rig_long(r, 0);
	gate = rig_get(r, IDT + 0x800, 8);
	rig_put64(r, IDT + 0x800, gate & ~(1ull << 47));
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), VEC_NP);
	ck_hex(rig_frame64(r, 0), 0x80 * 8 + 2);
	rig_free(r);
}
END_TEST

START_TEST(int_bad_code_segment)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	rig_gate64(r, 0x80, K_CODE32, HANDLER, 14, 0, 0); /* not a 64-bit segment */
	RIG_RUN(r, g_int);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), K_CODE32);
	rig_free(r);
}
END_TEST

START_TEST(ist)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	rig_gate64(r, VEC_UD, K_CODE64, HANDLER + VEC_UD * 16, 14, 0, 1);
	RIG_RUN(r, g_ud);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(r->s.gpr[R_RSP], STACK - 0x1010 - 40);
	ck_hex(rig_frame64(r, 0), CODE + 1);
	ck_hex(rig_frame64(r, 2), 2 | FL_RF);
	ck_hex(rig_frame64(r, 3), STACK);
	ck_hex(r->s.seg[SEG_SS].selector, K_DATA);
	ck_assert_uint_eq(r->s.count, 2); /* NOP and HLT */
	rig_free(r);
}
END_TEST

START_TEST(error_codes)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	RIG_RUN(r, g_gp);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(r->s.gpr[R_RSP], STACK - 48);
	ck_hex(rig_frame64(r, 0), 0x1234);
	ck_hex(rig_frame64(r, 1), CODE + 5);
	rig_free(r);
}
END_TEST

START_TEST(page_fault)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	RIG_RUN(r, g_pf);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(rig_frame64(r, 0), 2);
	ck_hex(r->s.cr2, 0x90000000);
	rig_free(r);
}
END_TEST

/* ---- double and triple faults ---- */
static void no_gate(struct rig *r, unsigned vec)
{
	rig_put64(r, IDT + vec * 16, 0);
}

START_TEST(contributory_makes_double)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	no_gate(r, VEC_DE);
	RIG_RUN(r, g_div);
	ck_assert_int_eq(rig_vector(r), VEC_DF);
	ck_hex(rig_frame64(r, 0), 0);
	ck_hex(rig_frame64(r, 1), CODE + 2);
	rig_free(r);
}
END_TEST

START_TEST(benign_is_serial)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	no_gate(r, VEC_UD);
	RIG_RUN(r, g_ud);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), VEC_UD * 8 + 2 + 1); /* IDT, EXT */
	rig_free(r);
}
END_TEST

START_TEST(page_fault_then_contributory)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	no_gate(r, VEC_PF);
	RIG_RUN(r, g_pf);
	ck_assert_int_eq(rig_vector(r), VEC_DF);
	ck_hex(r->s.cr2, 0x90000000);
	rig_free(r);
}
END_TEST

/* A contributory exception and then a page fault are handled one after the other. */
START_TEST(contributory_then_page_fault)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	rig_gate64(r, VEC_GP, K_CODE64, HANDLER + VEC_GP * 16, 14, 0, 2);
	rig_put64(r, TSS + 0x2c, 0x90001000); /* IST2 on a page that is not there */
	RIG_RUN(r, g_gp);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_hex(rig_frame64(r, 0), 2);
	ck_hex(r->s.cr2, 0x90001000 - 48);
	rig_free(r);
}
END_TEST

START_TEST(triple_fault)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	no_gate(r, VEC_DE);
	no_gate(r, VEC_DF);
	rig_code(r, g_div, g_div_end);
	ck_assert_int_eq(rig_run_for(r, 100), ENGINE_EXIT_SHUTDOWN);
	ck_assert(r->s.shutdown);
	ck_hex(r->s.rip, CODE + 2);
	rig_free(r);
}
END_TEST

START_TEST(int1_is_not_guarded)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	RIG_RUN(r, g_int1);
	ck_assert_int_eq(rig_vector(r), VEC_DB);
	ck_hex(rig_frame64(r, 0), CODE + 1);
	rig_free(r);
}
END_TEST

/* ---- interrupts ---- */
static void boundary(struct rig *r, uint64_t n)
{
	ck_assert_int_eq(rig_run_for(r, n), ENGINE_EXIT_UNTIL);
}

START_TEST(external)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	rig_code(r, g_nops, g_nops_end);
	r->s.rflags |= FL_IF;
	boundary(r, 1);
	r->s.intr_pending = true;
	r->s.intr_vector = 0x30;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), 0x30);
	ck_hex(r->s.gpr[R_RAX], 1);
	ck_hex(rig_frame64(r, 0), CODE + 2);
	ck_hex(rig_frame64(r, 2), 2 | FL_IF); /* RF clear */
	ck_assert_uint_eq(r->s.count, 2);
	rig_free(r);
}
END_TEST

START_TEST(sti_shadow)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.intr_pending = true;
	r->s.intr_vector = 0x30;
	RIG_RUN(r, g_sti);
	ck_assert_int_eq(rig_vector(r), 0x30);
	ck_hex(r->s.gpr[R_RAX], 1); /* one instruction ran after STI */
	rig_free(r);
}
END_TEST

START_TEST(movss_shadow)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.rflags |= FL_IF;
	rig_code(r, g_movss, g_movss_end);
	boundary(r, 2);
	ck_assert(r->s.movss_shadow);
	r->s.intr_pending = true;
	r->s.intr_vector = 0x30;
	r->s.nmi_pending = true;
	rig_run(r);
	/* NMI first, then the interrupt has to wait for IF. */
	ck_assert_int_eq(rig_vector(r), VEC_NMI);
	ck_hex(r->s.gpr[R_RBX], 1);
	ck_assert(r->s.nmi_blocked);
	rig_free(r);
}
END_TEST

START_TEST(single_step)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.rflags |= FL_TF;
	RIG_RUN(r, g_nops);
	ck_assert_int_eq(rig_vector(r), VEC_DB);
	ck_hex(r->s.gpr[R_RAX], 1);
	ck_hex(r->s.dr[6], 0xffff4ff0);
	ck_hex(rig_frame64(r, 0), CODE + 2);
	ck_hex(rig_frame64(r, 2), 2 | FL_TF);
	ck_hex(r->s.rflags & FL_TF, 0);
	rig_free(r);
}
END_TEST

START_TEST(nmi_until_iret)
{
	struct rig *r = rig_new();
	const uint8_t iretq[] = { 0x48, 0xcf };

	rig_long(r, 0);
	rig_put(r, HANDLER + VEC_NMI * 16, iretq, 2);
	r->s.nmi_pending = true;
	RIG_RUN(r, g_nops);
	ck_assert_int_eq(rig_vector(r), -1);
	ck_hex(r->s.gpr[R_RAX], 2);
	ck_assert(!r->s.nmi_blocked);
	ck_hex(r->s.gpr[R_RSP], STACK);
	ck_assert_uint_eq(r->s.count, 4);
	rig_free(r);
}
END_TEST

/* ---- IRET in 64-bit mode ---- */
static void frame64(struct rig *r, uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp,
		    uint64_t ss)
{
	const uint64_t v[5] = { rip, cs, flags, rsp, ss };

	rig_put(r, STACK - 40, v, sizeof(v));
	r->s.gpr[R_RSP] = STACK - 40;
}

START_TEST(iretq_to_user)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	frame64(r, DATA, U_CODE64, 2 | FL_IF | FL_AC | FL_CF | FL_IOPL, 0x2fff8, U_DATA);
	rig_put16(r, DATA, 0x0b0f); /* UD2 */
	r->s.seg[SEG_FS].base = 0x1234;
	RIG_RUN(r, g_iretq);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame64(r, 0), DATA);
	ck_hex(rig_frame64(r, 1), U_CODE64);
	ck_hex(rig_frame64(r, 2), 2 | FL_IF | FL_AC | FL_CF | FL_IOPL | FL_RF);
	ck_hex(rig_frame64(r, 3), 0x2fff8);
	ck_hex(rig_frame64(r, 4), U_DATA);
	/* ES, DS, FS, GS held segments of privilege 0. */
	ck_hex(r->s.seg[SEG_DS].selector, 0);
	ck_assert(r->s.seg[SEG_FS].attr & SEG_UNUSABLE);
	rig_free(r);
}
END_TEST

START_TEST(iretq_faults)
{
	static const struct {
		uint64_t rip, cs, ss;
		uint32_t err;
	} bad[] = {
		{ DATA, 0, K_DATA, 0 },
		{ DATA, K_DATA, K_DATA, K_DATA },
		{ DATA, 0x1000, K_DATA, 0x1000 },
		{ 0x800000000000, K_CODE64, K_DATA, 0 },
		{ DATA, U_CODE64, K_DATA, K_DATA },
		{ DATA, U_CODE64, 0, 0 },
		{ DATA, K_CODE32, 0, 0 },
		{ DATA, K_CODE64, 3, 0 },
		{ DATA, U_CODE64, U_CODE64, U_CODE64 & ~3 },
		{ DATA, K_CODE64, U_DATA, U_DATA & ~3 },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig *r = rig_new();

		rig_long(r, 0);
		frame64(r, bad[i].rip, bad[i].cs, 2, 0x2fff8, bad[i].ss);
		RIG_RUN(r, g_iretq);
		ck_assert_int_eq(rig_vector(r), VEC_GP);
		ck_hex(rig_frame64(r, 0), bad[i].err);
		ck_hex(rig_frame64(r, 1), CODE);
		ck_hex(rig_frame64(r, 4), STACK - 40);
		rig_free(r);
	}
}
END_TEST

/* At privilege 3 IRET leaves IF and IOPL alone. */
START_TEST(iretq_user_flags)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	frame64(r, DATA, U_CODE64, 2 | FL_IOPL | FL_ZF | FL_ID, 0x2fff8, U_DATA);
	rig_put16(r, DATA, 0x0b0f);
	r->s.rflags = 2 | FL_IF;
	RIG_RUN(r, g_iretq);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame64(r, 2), 2 | FL_IF | FL_ZF | FL_ID | FL_RF);
	rig_free(r);
}
END_TEST

START_TEST(iretq_nested_task)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.rflags |= FL_NT;
	RIG_RUN(r, g_iretq);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), 0);
	rig_free(r);
}
END_TEST

/* ---- protected mode ---- */
START_TEST(prot_same_privilege)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	r->s.rflags = 2 | FL_IF;
	RIG_RUN(r, g_int32);
	ck_assert_int_eq(rig_vector(r), 0x80);
	ck_hex(r->s.gpr[R_RSP], STACK - 12);
	ck_hex(rig_frame32(r, 0), CODE + 2);
	ck_hex(rig_frame32(r, 1), K_CODE32);
	ck_hex(rig_frame32(r, 2), 2 | FL_IF);
	rig_free(r);
}
END_TEST

START_TEST(prot_from_user)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	rig_gate32(r, 0x80, K_CODE32, HANDLER + 0x800, 14, 3);
	RIG_RUN(r, g_int32);
	ck_assert_int_eq(rig_vector(r), 0x80);
	ck_hex(r->s.gpr[R_RSP], STACK - 20);
	ck_hex(rig_frame32(r, 1), U_CODE32);
	ck_hex(rig_frame32(r, 3), USTACK);
	ck_hex(rig_frame32(r, 4), U_DATA);
	ck_hex(r->s.seg[SEG_SS].selector, K_DATA);
	rig_free(r);
}
END_TEST

START_TEST(prot_16bit_gate)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	rig_desc(r, S_FREE, CODE, 0xffff, A_CODE16);
	rig_gate32(r, 0x80, S_FREE, 0x8800, 6, 0);
	RIG_RUN(r, g_int32);
	ck_assert_int_eq(rig_vector(r), 0x80);
	ck_hex(r->s.gpr[R_RSP], STACK - 6);
	ck_hex(rig_frame32(r, 0),
	       (uint32_t)K_CODE32 << 16 | 2); /* low half of the return address */
	rig_free(r);
}
END_TEST

START_TEST(prot_bad_stack)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	rig_gate32(r, 0x80, K_CODE32, HANDLER, 14, 3);
	rig_put32(
		r, TSS + 8,
		U_DATA); /* not a stack for privilege 0: #TS, and its delivery fails too: #DF ... */
	rig_code(r, g_int32, g_int32_end);
	ck_assert_int_eq(rig_run_for(r, 100), ENGINE_EXIT_SHUTDOWN);
	rig_free(r);
}
END_TEST

START_TEST(into)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	RIG_RUN(r, g_into);
	ck_assert_int_eq(rig_vector(r), VEC_OF);
	ck_hex(rig_frame32(r, 0), CODE + 5);
	ck_hex(rig_frame32(r, 2) & FL_RF, 0);
	rig_free(r);
}
END_TEST

static void frame32(struct rig *r, const uint32_t *v, unsigned n)
{
	rig_put(r, STACK - 64, v, n * 4);
	r->s.gpr[R_RSP] = STACK - 64;
}

START_TEST(iret_outer)
{
	struct rig *r = rig_new();
	const uint32_t v[5] = { DATA, U_CODE32, 2 | FL_IF, 0x2fff0, U_DATA };

	rig_prot(r, 0);
	frame32(r, v, 5);
	rig_put16(r, DATA, 0x0b0f);
	RIG_RUN(r, g_iret32);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame32(r, 1), U_CODE32);
	ck_hex(rig_frame32(r, 3), 0x2fff0);
	ck_hex(rig_frame32(r, 4), U_DATA);
	ck_hex(r->s.seg[SEG_DS].selector, 0);
	rig_free(r);
}
END_TEST

/* ---- virtual-8086 mode ---- */
static struct rig *vm86(unsigned iopl, const uint8_t *code, const uint8_t *end)
{
	struct rig *r = rig_new();
	const uint32_t v[9] = { 8,     0x100, FL_VM | 2 | iopl << 12 | FL_IF,
				0x200, 0x300, 0x400,
				0x500, 0x600, 0x700 };

	rig_prot(r, 0);
	frame32(r, v, 9);
	rig_put(r, 0x1008, code, (uint64_t)(end - code));
	RIG_RUN(r, g_iret32);
	return r;
}

START_TEST(vm86_and_back)
{
	struct rig *r = vm86(3, g_int16, g_int16_end);
	static const uint32_t want[9] = { 10,	 0x100, 2 | FL_VM | FL_IOPL | FL_IF,
					  0x200, 0x300, 0x400,
					  0x500, 0x600, 0x700 };

	ck_assert_int_eq(rig_vector(r), VEC_GP); /* the gate has DPL 0 */
	ck_hex(rig_frame32(r, 0), 0x21 * 8 + 2);
	rig_free(r);
	r = rig_new();
	rig_prot(r, 0);
	rig_free(r);
	r = vm86(0, g_int16, g_int16_end);
	ck_assert_int_eq(rig_vector(r), VEC_GP); /* IOPL */
	ck_hex(rig_frame32(r, 0), 0);
	for (unsigned i = 1; i < 9; i++)
		ck_hex(rig_frame32(r, i + 1) & ~(uint32_t)(FL_RF | FL_IOPL),
		       i == 2 ? want[i] & ~FL_IOPL : want[i]);
	ck_hex(rig_frame32(r, 1), 8);
	ck_hex(r->s.rflags & FL_VM, 0);
	ck_hex(r->s.seg[SEG_GS].selector, 0);
	ck_assert(r->s.seg[SEG_DS].attr & SEG_UNUSABLE);
	ck_hex(r->s.seg[SEG_SS].selector, K_DATA);
	rig_free(r);
}
END_TEST

/* ---- real mode ---- */
START_TEST(real_int)
{
	struct rig *r = rig_new();

	rig_real(r);
	r->s.rflags = 2 | FL_IF | FL_TF | FL_AC;
	r->s.rflags &= ~(uint64_t)FL_TF;
	RIG_RUN(r, g_int16);
	ck_assert_int_eq(rig_vector(r), 0x21);
	ck_hex(r->s.gpr[R_RSP], 0x1000 - 6);
	ck_hex(rig_get(r, 0x20000 - 6, 2), 2);
	ck_hex(rig_get(r, 0x20000 - 4, 2), CODE >> 4);
	ck_hex(rig_get(r, 0x20000 - 2, 2), 2 | FL_IF);
	ck_hex(r->s.rflags, 2);
	rig_free(r);
}
END_TEST

START_TEST(real_iret)
{
	struct rig *r = rig_new();

	rig_real(r);
	rig_put16(r, 0x20000 - 6, 0x120);
	rig_put16(r, 0x20000 - 4, (HANDLER >> 4) - 0x12); /* lands at handler 0 */
	rig_put16(r, 0x20000 - 2, 0x7fd7);
	r->s.gpr[R_RSP] = 0x1000 - 6;
	r->s.rflags = 2;
	rig_put16(r, 0x20000 - 2, 0x7ed7); /* all but TF */
	RIG_RUN(r, g_iret16);
	ck_assert_int_eq(rig_vector(r), 0);
	ck_hex(r->s.rflags, 0x7ed7);
	ck_hex(r->s.gpr[R_RSP], 0x1000);
	rig_free(r);
}
END_TEST

START_TEST(real_beyond_ivt)
{
	struct rig *r = rig_new();

	rig_real(r);
	r->s.idtr.limit = 0x21 * 4 - 1;
	RIG_RUN(r, g_int16);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(r->s.gpr[R_RSP], 0x1000 - 6); /* no error code in real mode */
	rig_free(r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, int_same_privilege);
	tcase_add_test(tc, int_from_user);
	tcase_add_test(tc, int_gate_dpl);
	tcase_add_test(tc, int_beyond_idt);
	tcase_add_test(tc, int_not_present);
	tcase_add_test(tc, int_bad_code_segment);
	tcase_add_test(tc, ist);
	tcase_add_test(tc, error_codes);
	tcase_add_test(tc, page_fault);
	tcase_add_test(tc, contributory_makes_double);
	tcase_add_test(tc, benign_is_serial);
	tcase_add_test(tc, page_fault_then_contributory);
	tcase_add_test(tc, contributory_then_page_fault);
	tcase_add_test(tc, triple_fault);
	tcase_add_test(tc, int1_is_not_guarded);
	tcase_add_test(tc, external);
	tcase_add_test(tc, sti_shadow);
	tcase_add_test(tc, movss_shadow);
	tcase_add_test(tc, single_step);
	tcase_add_test(tc, nmi_until_iret);
	tcase_add_test(tc, iretq_to_user);
	tcase_add_test(tc, iretq_faults);
	tcase_add_test(tc, iretq_user_flags);
	tcase_add_test(tc, iretq_nested_task);
	tcase_add_test(tc, prot_same_privilege);
	tcase_add_test(tc, prot_from_user);
	tcase_add_test(tc, prot_16bit_gate);
	tcase_add_test(tc, prot_bad_stack);
	tcase_add_test(tc, into);
	tcase_add_test(tc, iret_outer);
	tcase_add_test(tc, vm86_and_back);
	tcase_add_test(tc, real_int);
	tcase_add_test(tc, real_iret);
	tcase_add_test(tc, real_beyond_ivt);
}

UNIT_MAIN("intr", add_tests)
