// SPDX-License-Identifier: GPL-2.0-or-later
/* Segment loads, questions about selectors, far JMP, CALL and RET, call gates. */
#include "tests/soft/rig.h"

GUEST_CODE(g_load, 64, "mov %eax, %ds\n hlt");
GUEST_CODE(g_load_ss, 64, "mov %eax, %ss\n hlt");
GUEST_CODE(g_load_fs, 64, "mov %eax, %fs\n mov %fs:0, %ebx\n hlt");
GUEST_CODE(g_lss, 32, "lss 0x7000, %ebx\n hlt");
GUEST_CODE(g_push_pop, 64,
	   "push %fs\n pop %gs\n push $-1\n mov %rsp, %rbx\n .byte 0x66\n push %fs\n mov %rsp, "
	   "%rcx\n hlt");
GUEST_CODE(g_push32, 32, "push $-1\n pop %ebx\n push %ds\n mov (%esp), %eax\n hlt");
GUEST_CODE(g_query, 64,
	   "mov $-1, %ebx\n mov $-1, %ecx\n lar %eax, %ebx\n setz %dl\n lsl %eax, %ecx\n setz %dh\n"
	   "verr %ax\n setz %sil\n verw %ax\n setz %dil\n hlt");
GUEST_CODE(
	g_arpl, 32,
	"mov $0x10, %ax\n mov $3, %bx\n arpl %bx, %ax\n setz %cl\n arpl %bx, %ax\n setz %ch\n hlt");
GUEST_CODE(g_lldt, 64, "lldt %ax\n sldt %rbx\n hlt");
GUEST_CODE(g_ltr, 64, "ltr %ax\n str %ebx\n hlt");
GUEST_CODE(g_read, 32, "mov (%eax), %ebx\n hlt");
GUEST_CODE(g_write, 32, "mov %ebx, (%eax)\n hlt");
GUEST_CODE(g_write_cs, 32, "mov %ebx, %cs:(%eax)\n hlt");
GUEST_CODE(g_jmp_mem, 64, ".byte 0x48\n ljmp *0x7000\n");
GUEST_CODE(g_call_mem, 64, ".byte 0x48\n lcall *0x7000\n hlt");
GUEST_CODE(g_call_user, 64, ".byte 0x48\n lcall *0x7000\n ud2");
GUEST_CODE(g_lcall32, 32, "lcall $0x70, $0x11223344\n hlt");
GUEST_CODE(g_lret32, 32, "lret $4");
GUEST_CODE(g_lret64, 64, "lretq");
GUEST_CODE(g_lcall16, 16, "lcall $0x1800, $0x70\n hlt");
GUEST_CODE(g_lret16, 16, "lret $6");
GUEST_CODE(g_lds_real, 16, "lds 0x100, %bx\n mov %ds, %cx\n hlt");
GUEST_CODE(g_real_limit, 16, "mov 0xffff, %ax\n hlt");
GUEST_CODE(g_sgdt, 64, "sgdt 0x7000\n sidt 0x7010\n hlt");
GUEST_CODE(g_lgdt16, 32, ".byte 0x66\n lgdt 0x7000\n hlt");
GUEST_CODE(g_bound, 32, "bound %eax, 0x7000\n hlt");

/* ---- loads ---- */
struct load_case {
	uint64_t desc; /* at S_FREE */
	uint16_t sel;
	unsigned cpl;
	int vec; /* -1: loads */
	uint32_t err;
};

static struct rig *run_load(const struct load_case *c, const uint8_t *code, const uint8_t *end)
{
	struct rig *r = rig_new();

	rig_long(r, c->cpl);
	rig_put64(r, GDT + S_FREE, c->desc);
	r->s.gpr[R_RAX] = c->sel;
	rig_code(r, code, end);
	/* HLT at privilege 3 is #GP(0): good enough an end. */
	rig_run(r);
	return r;
}

static void check_load(const struct load_case *c, enum seg s, const uint8_t *code,
		       const uint8_t *end)
{
	struct rig *r = run_load(c, code, end);

	if (c->vec < 0) {
		if (c->cpl)
			ck_hex(rig_frame64(r, 0), 0);
		else
			ck_assert_int_eq(rig_vector(r), -1);
		if (s != SEG_SS || !c->cpl)
			ck_hex(r->s.seg[s].selector, c->sel);
	} else {
		ck_assert_int_eq(rig_vector(r), c->vec);
		ck_hex(rig_frame64(r, 0), c->err);
		ck_hex(rig_frame64(r, 1), CODE);
	}
	rig_free(r);
}

#define D(attr) desc_make(0x1000, 0xfff, attr)

START_TEST(load_data)
{
	static const uint32_t present = SEG_P | SEG_S;
	const struct load_case c[] = {
		{ D(present | 2), S_FREE, 0, -1, 0 },
		{ D(present | 0), S_FREE, 0, -1, 0 }, /* read-only */
		{ D(present | 2), 0, 0, -1, 0 },
		{ D(present | 2), 3, 3, -1, 0 },
		{ D(present | 10), S_FREE, 0, -1, 0 },	       /* readable code */
		{ D(present | 8), S_FREE, 0, VEC_GP, S_FREE }, /* execute-only */
		{ D(present | 14), S_FREE | 3, 3, -1, 0 },     /* conforming code of privilege 0 */
		{ D(present | 2), S_FREE | 3, 3, VEC_GP, S_FREE }, /* CPL > DPL */
		{ D(present | 2), S_FREE | 3, 0, VEC_GP, S_FREE }, /* RPL > DPL */
		{ D(present | A_DPL(3) | 2), S_FREE, 3, -1, 0 },   /* RPL 0 with CPL 3 */
		{ D(SEG_S | 2), S_FREE, 0, VEC_NP, S_FREE },	   /* not present */
		{ D(SEG_P | 2), S_FREE, 0, VEC_GP, S_FREE },	   /* an LDT */
		{ D(present | 2), 0x100, 0, VEC_GP, 0x100 },	   /* beyond the limit */
		{ D(present | 2), 0x104 | 3, 0, VEC_GP, 0x104 },   /* beyond the LDT's */
		{ D(SEG_S | 2), S_FREE | 3, 0, VEC_GP, S_FREE },   /* privilege before presence */
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		check_load(&c[i], SEG_DS, g_load, g_load_end);
}
END_TEST

START_TEST(load_stack)
{
	static const uint32_t present = SEG_P | SEG_S;
	const struct load_case c[] = {
		{ D(present | 2), S_FREE, 0, -1, 0 },
		{ D(present | 0), S_FREE, 0, VEC_GP, S_FREE },
		{ D(present | 10), S_FREE, 0, VEC_GP, S_FREE },
		{ D(present | 2), 0, 0, -1, 0 }, /* null is good in 64-bit mode below privilege 3 */
		{ D(present | 2), 3, 0, VEC_GP, 0 },
		{ D(present | 2), 3, 3, VEC_GP, 0 },
		{ D(present | A_DPL(3) | 2), S_FREE | 3, 3, -1, 0 },
		{ D(present | A_DPL(3) | 2), S_FREE, 3, VEC_GP, S_FREE },
		{ D(present | A_DPL(3) | 2), S_FREE | 3, 0, VEC_GP, S_FREE },
		{ D(SEG_S | 2), S_FREE, 0, VEC_SS, S_FREE },
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		check_load(&c[i], SEG_SS, g_load_ss, g_load_ss_end);
}
END_TEST

START_TEST(accessed_bit)
{
	const struct load_case c = { D(SEG_P | SEG_S | 2), S_FREE, 0, -1, 0 };
	struct rig *r = run_load(&c, g_load, g_load_end);

	ck_hex(rig_get(r, GDT + S_FREE, 8), c.desc | 1ull << 40);
	ck_hex(r->s.seg[SEG_DS].attr, SEG_P | SEG_S | 3);
	ck_hex(r->s.seg[SEG_DS].base, 0x1000);
	ck_hex(r->s.seg[SEG_DS].limit, 0xfff);
	rig_free(r);
}
END_TEST

START_TEST(load_from_ldt)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	rig_desc(r, 0x14, DATA, 0xfff, SEG_P | SEG_S | 2);
	rig_put32(r, DATA, 0x55667788);
	r->s.gpr[R_RAX] = 0x14;
	RIG_RUN(r, g_load_fs);
	ck_hex(r->s.gpr[R_RBX], 0x55667788);
	rig_free(r);
}
END_TEST

START_TEST(lss)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	rig_put32(r, DATA, 0x12345678);
	rig_put16(r, DATA + 4, K_DATA);
	RIG_RUN(r, g_lss);
	ck_hex(r->s.gpr[R_RBX], 0x12345678);
	rig_put16(r, DATA + 4, K_CODE32);
	r->s.halted = false;
	r->s.rip = CODE;
	r->s.gpr[R_RBX] = 7;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame32(r, 0), K_CODE32);
	ck_hex(r->s.gpr[R_RBX], 7);
	rig_free(r);
}
END_TEST

START_TEST(push_pop)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.seg[SEG_GS].selector = 0;
	RIG_RUN(r, g_push_pop);
	ck_hex(r->s.seg[SEG_GS].selector, K_DATA);
	ck_hex(r->s.gpr[R_RBX], STACK - 8);
	ck_hex(r->s.gpr[R_RCX], STACK - 10);
	rig_free(r);
	r = rig_new();
	rig_prot(r, 0);
	RIG_RUN(r, g_push32);
	ck_hex(r->s.gpr[R_RAX], 0xffff0000 | K_DATA); /* two bytes are written */
	rig_free(r);
}
END_TEST

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */
struct query_case {
	uint64_t desc;
	uint16_t sel;
	bool lar, lsl, verr, verw;
};

START_TEST(query)
{
	static const uint32_t seg = SEG_P | SEG_S;
	const struct query_case c[] = {
		{ D(seg | 3), 0, false, false, false, false },
		{ D(seg | 3), S_FREE, true, true, true, true },
		{ D(seg | 1), S_FREE, true, true, true, false },
		{ D(seg | 9), S_FREE, true, true, false, false },
		{ D(seg | 11), S_FREE, true, true, true, false },
		{ D(seg | 3), S_FREE | 3, false, false, false, false }, /* RPL */
		{ D(seg | 15), S_FREE | 3, true, true, true, false },	/* conforming */
		{ D(SEG_S | 3), S_FREE, true, true, true, true },	/* presence is not asked */
		{ D(SEG_P | 2), S_FREE, true, true, false, false },
		{ D(SEG_P | 12), S_FREE, true, false, false, false }, /* call gate */
		{ D(SEG_P | 14), S_FREE, false, false, false, false },
		{ D(SEG_P | 1), S_FREE, false, false, false,
		  false }, /* no 16-bit TSS in long mode */
		{ D(seg | 3), 0x200, false, false, false, false },
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = rig_new();

		rig_long(r, 0);
		rig_put64(r, GDT + S_FREE, c[i].desc);
		r->s.gpr[R_RAX] = c[i].sel;
		RIG_RUN(r, g_query);
		ck_hex(r->s.gpr[R_RBX], c[i].lar ? (c[i].desc >> 32) & 0xffff00 : 0xffffffff);
		ck_hex(r->s.gpr[R_RCX], c[i].lsl ? 0xfff : 0xffffffff);
		ck_hex(r->s.gpr[R_RDX] & 0xffff, c[i].lar | c[i].lsl << 8);
		ck_hex(r->s.gpr[R_RSI] & 0xff, c[i].verr);
		ck_hex(r->s.gpr[R_RDI] & 0xff, c[i].verw);
		rig_free(r);
	}
}
END_TEST

START_TEST(arpl)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	RIG_RUN(r, g_arpl);
	ck_hex(r->s.gpr[R_RAX], 0x13);
	ck_hex(r->s.gpr[R_RCX] & 0xffff, 1);
	rig_free(r);
}
END_TEST

/* ---- LDTR, TR, tables ---- */
START_TEST(lldt)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.gpr[R_RAX] = S_LDT;
	rig_put64(r, GDT + S_LDT + 8, 0xffff8000); /* upper half of the base */
	RIG_RUN(r, g_lldt);
	ck_assert_int_eq(rig_vector(r), -1);
	ck_hex(r->s.gpr[R_RBX], S_LDT);
	ck_hex(r->s.seg[SEG_LDTR].base, 0xffff800000000000 | LDT);
	rig_free(r);

	r = rig_new();
	rig_long(r, 0);
	r->s.gpr[R_RAX] = S_LDT;
	rig_put64(r, GDT + S_LDT + 8, 0x8000); /* not canonical */
	RIG_RUN(r, g_lldt);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), S_LDT);
	rig_free(r);
}
END_TEST

START_TEST(ltr)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.gpr[R_RAX] = S_TSS2;
	RIG_RUN(r, g_ltr);
	ck_hex(r->s.gpr[R_RBX], S_TSS2);
	ck_hex(r->s.seg[SEG_TR].base, TSS2);
	ck_hex(r->s.seg[SEG_TR].attr, SEG_P | 11);
	ck_hex(rig_get(r, GDT + S_TSS2 + 5, 1), SEG_P | 11);
	/* Busy now: once more is #GP. */
	r->s.halted = false;
	r->s.rip = CODE;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), S_TSS2);
	rig_free(r);
}
END_TEST

START_TEST(tables)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	r->s.gdtr.base = 0xffff800000003000;
	RIG_RUN(r, g_sgdt);
	ck_hex(rig_get(r, DATA, 8), 0xff | 0x800000003000ull << 16);
	ck_hex(rig_get(r, DATA + 8, 2), 0xffff);
	ck_hex(rig_get(r, DATA + 0x12, 8), IDT);
	rig_free(r);

	/*
	 * UMIP forbids it to user mode; the limit of LGDT with 16-bit operands keeps 24 bits of the
	 * base.
	 */
	r = rig_new();
	rig_long(r, 3);
	r->s.cr4 |= CR4_UMIP;
	RIG_RUN(r, g_sgdt);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
	r = rig_new();
	rig_prot(r, 0);
	rig_put64(r, DATA, 0x123456780123);
	RIG_RUN(r, g_lgdt16);
	ck_hex(r->s.gdtr.base, 0x345678);
	ck_hex(r->s.gdtr.limit, 0x123);
	rig_free(r);
}
END_TEST

/* ---- limits and types ---- */
struct limit_case {
	struct seg_state seg;
	uint32_t off;
	bool ok;
};

static void check_limits(enum seg s, const struct limit_case *c, unsigned n, const uint8_t *code,
			 const uint8_t *end)
{
	for (unsigned i = 0; i < n; i++) {
		struct rig *r = rig_new();

		rig_prot(r, 0);
		r->s.seg[s] = c[i].seg;
		r->s.gpr[R_RAX] = c[i].off;
		rig_gate32(r, VEC_SS, K_CODE32, HANDLER + VEC_SS * 16, 14, 0);
		rig_code(r, code, end);
		rig_run(r);
		ck_assert_msg(rig_vector(r) == (c[i].ok	      ? -1
						: s == SEG_SS ? VEC_SS
							      : VEC_GP),
			      "case %u: vector %d", i, rig_vector(r));
		rig_free(r);
	}
}

START_TEST(limits)
{
	const uint32_t rw = SEG_P | SEG_S | 3, down = SEG_P | SEG_S | 7;
	const struct limit_case data[] = {
		{ { .limit = 0xfff, .attr = rw }, 0xffc, true },
		{ { .limit = 0xfff, .attr = rw }, 0xffd, false },
		{ { .limit = 0xfff, .attr = rw }, 0xfffffffe, false },
		{ { .limit = 0xfff, .attr = down }, 0x1000, true },
		{ { .limit = 0xfff, .attr = down }, 0xfff, false },
		{ { .limit = 0xfff, .attr = down }, 0xfffc, true },
		{ { .limit = 0xfff, .attr = down }, 0xfffd, false },
		{ { .limit = 0xfff, .attr = down | SEG_DB }, 0xfffd, true },
		{ { .attr = SEG_UNUSABLE }, 0, false },
		{ { .limit = 0xfff, .attr = SEG_P | SEG_S | 9 }, 0, false }, /* execute-only */
	};
	const struct limit_case writes[] = {
		{ { .limit = 0xfff, .attr = rw }, 0xffc, true },
		{ { .limit = 0xfff, .attr = SEG_P | SEG_S | 1 }, 0, false },
		{ { .limit = 0xfff, .attr = SEG_P | SEG_S | 11 }, 0, false },
	};

	check_limits(SEG_DS, data, sizeof(data) / sizeof(data[0]), g_read, g_read_end);
	check_limits(SEG_DS, writes, sizeof(writes) / sizeof(writes[0]), g_write, g_write_end);
}
END_TEST

START_TEST(code_is_not_writable)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	r->s.gpr[R_RAX] = DATA;
	RIG_RUN(r, g_write_cs);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
}
END_TEST

/* ---- far transfers ---- */
static void far_pointer(struct rig *r, uint64_t off, uint16_t sel)
{
	rig_put64(r, DATA, off);
	rig_put16(r, DATA + 8, sel);
}

START_TEST(far_jmp)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	far_pointer(r, HANDLER + 0xf00, K_CODE64);
	RIG_RUN(r, g_jmp_mem);
	ck_assert_int_eq(rig_vector(r), 0xf0);
	rig_free(r);

	/* To compatibility mode. */
	r = rig_new();
	rig_long(r, 0);
	far_pointer(r, HANDLER + 0xf00, K_CODE32);
	RIG_RUN(r, g_jmp_mem);
	ck_assert_int_eq(rig_vector(r), 0xf0);
	ck_hex(r->s.seg[SEG_CS].selector, K_CODE32);
	ck_assert(!(r->s.seg[SEG_CS].attr & SEG_L));
	rig_free(r);
}
END_TEST

START_TEST(far_jmp_faults)
{
	static const struct {
		uint64_t off;
		uint16_t sel;
		uint8_t vec;
		uint32_t err;
	} c[] = {
		{ HANDLER, 0, VEC_GP, 0 },
		{ HANDLER, K_DATA, VEC_GP, K_DATA },
		{ HANDLER, U_CODE64, VEC_GP, U_CODE64 & ~3 },
		{ HANDLER, K_CODE64 | 3, VEC_GP, K_CODE64 },
		{ 1ull << 47, K_CODE64, VEC_GP, 0 },
		{ HANDLER, 0x180, VEC_GP, 0x180 },
		{ HANDLER, S_FREE, VEC_NP, S_FREE },
		{ HANDLER, S_FREE + 8, VEC_GP, S_FREE + 8 }, /* L and D */
		{ HANDLER, S_TSS2, VEC_GP, S_TSS2 },	     /* no task switch in long mode */
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = rig_new();

		rig_long(r, 0);
		rig_desc(r, S_FREE, 0, UINT32_MAX, A_CODE64 & ~SEG_P);
		rig_desc(r, S_FREE + 8, 0, UINT32_MAX, A_CODE64 | SEG_DB);
		far_pointer(r, c[i].off, c[i].sel);
		RIG_RUN(r, g_jmp_mem);
		ck_assert_int_eq(rig_vector(r), c[i].vec);
		ck_hex(rig_frame64(r, 0), c[i].err);
		rig_free(r);
	}
}
END_TEST

static void call_gate64(struct rig *r, uint16_t sel, uint64_t off, unsigned dpl)
{
	rig_put64(r, GDT + S_FREE, gate_make(sel, (uint32_t)off, 12, dpl, 0));
	rig_put64(r, GDT + S_FREE + 8, off >> 32);
}

START_TEST(call_gate_inner64)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	call_gate64(r, K_CODE64, HANDLER + 0xf00, 3);
	far_pointer(r, 0xdead, S_FREE | 3);
	RIG_RUN(r, g_call_user);
	ck_assert_int_eq(rig_vector(r), 0xf0);
	ck_hex(r->s.gpr[R_RSP], STACK - 32);
	ck_hex(rig_frame64(r, 0), CODE + (uint64_t)(g_call_user_end - g_call_user) - 2);
	ck_hex(rig_frame64(r, 1), U_CODE64);
	ck_hex(rig_frame64(r, 2), USTACK);
	ck_hex(rig_frame64(r, 3), U_DATA);
	ck_hex(r->s.seg[SEG_SS].selector, 0);
	ck_hex(r->s.seg[SEG_CS].selector, K_CODE64);
	rig_free(r);
}
END_TEST

START_TEST(call_gate_and_back64)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	call_gate64(r, K_CODE64, DATA + 0x100, 3);
	rig_put(r, DATA + 0x100, g_lret64, (uint64_t)(g_lret64_end - g_lret64));
	far_pointer(r, 0xdead, S_FREE | 3);
	r->s.gpr[R_RBX] = 5;
	RIG_RUN(r, g_call_user);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame64(r, 1), U_CODE64);
	ck_hex(rig_frame64(r, 3), USTACK);
	ck_hex(rig_frame64(r, 4), U_DATA);
	rig_free(r);
}
END_TEST

START_TEST(call_gate_faults64)
{
	struct rig *r = rig_new();

	rig_long(r, 3);
	call_gate64(r, K_CODE64, HANDLER, 0); /* gate is not for user mode */
	far_pointer(r, 0, S_FREE | 3);
	RIG_RUN(r, g_call_user);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), S_FREE);
	rig_free(r);

	r = rig_new();
	rig_long(r, 3);
	call_gate64(r, K_CODE32, HANDLER, 3); /* has to lead to 64-bit code */
	far_pointer(r, 0, S_FREE | 3);
	RIG_RUN(r, g_call_user);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(rig_frame64(r, 0), K_CODE32);
	rig_free(r);
}
END_TEST

START_TEST(call_same_privilege)
{
	struct rig *r = rig_new();

	rig_long(r, 0);
	far_pointer(r, HANDLER, K_CODE64);
	RIG_RUN(r, g_call_mem);
	ck_assert_int_eq(rig_vector(r), 0);
	ck_hex(r->s.gpr[R_RSP], STACK - 16);
	ck_hex(rig_frame64(r, 0), CODE + (uint64_t)(g_call_mem_end - g_call_mem) - 1);
	ck_hex(rig_frame64(r, 1), K_CODE64);
	rig_free(r);
}
END_TEST

/* 32-bit gate from privilege 3 with three parameters. */
START_TEST(call_gate_parameters)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	rig_put64(r, GDT + S_FREE, gate_make(K_CODE32, HANDLER, 12, 3, 3));
	for (unsigned i = 0; i < 3; i++)
		rig_put32(r, USTACK - 12 + 4 * i, 0x100 + i);
	r->s.gpr[R_RSP] = USTACK - 12;
	RIG_RUN(r, g_lcall32);
	ck_assert_int_eq(rig_vector(r), 0);
	ck_hex(r->s.gpr[R_RSP], STACK - 28);
	ck_hex(rig_frame32(r, 0), CODE + 7);
	ck_hex(rig_frame32(r, 1), U_CODE32);
	for (unsigned i = 0; i < 3; i++)
		ck_hex(rig_frame32(r, 2 + i), 0x100 + i);
	ck_hex(rig_frame32(r, 5), USTACK - 12);
	ck_hex(rig_frame32(r, 6), U_DATA);
	rig_free(r);
}
END_TEST

/* 31 parameters do not fit into one store. */
START_TEST(call_gate_many_parameters)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	rig_put64(r, GDT + S_FREE, gate_make(K_CODE32, HANDLER, 12, 3, 31));
	for (unsigned i = 0; i < 31; i++)
		rig_put32(r, USTACK - 124 + 4 * i, 0x100 + i);
	r->s.gpr[R_RSP] = USTACK - 124;
	RIG_RUN(r, g_lcall32);
	ck_hex(r->s.gpr[R_RSP], STACK - 140);
	for (unsigned i = 0; i < 31; i++)
		ck_hex(rig_frame32(r, 2 + i), 0x100 + i);
	ck_hex(rig_frame32(r, 33), USTACK - 124);
	rig_free(r);
}
END_TEST

START_TEST(call_gate_bad_stack)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	rig_put64(r, GDT + S_FREE, gate_make(K_CODE32, HANDLER, 12, 3, 0));
	rig_desc(r, S_FREE + 16, 0, 0x10, SEG_P | SEG_S | SEG_DB | 3); /* no room */
	rig_put32(r, TSS + 4, 8);
	rig_put32(r, TSS + 8, S_FREE + 16);
	rig_code(r, g_lcall32, g_lcall32_end);
	/* #SS of the new stack, whose delivery has no stack either. */
	ck_assert_int_eq(rig_run_for(r, 10), ENGINE_EXIT_SHUTDOWN);
	ck_hex(r->s.rip, CODE);
	rig_free(r);
}
END_TEST

START_TEST(ret_outer)
{
	struct rig *r = rig_new();
	const uint32_t v[5] = { DATA, U_CODE32, 0xaaaa, USTACK, U_DATA };

	rig_prot(r, 0);
	rig_put(r, STACK - 32, v, sizeof(v));
	r->s.gpr[R_RSP] = STACK - 32;
	rig_put16(r, DATA, 0x0b0f);
	RIG_RUN(r, g_lret32);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame32(r, 0), DATA);
	ck_hex(rig_frame32(r, 1), U_CODE32);
	ck_hex(rig_frame32(r, 3), USTACK + 4); /* parameters are released there too */
	ck_hex(r->s.seg[SEG_ES].selector, 0);
	rig_free(r);
}
END_TEST

START_TEST(real_far)
{
	struct rig *r = rig_new();

	rig_real(r);
	RIG_RUN(r, g_lcall16);
	ck_assert_int_eq(rig_vector(r), 7);
	ck_hex(r->s.gpr[R_RSP], 0x1000 - 4);
	ck_hex(rig_get(r, 0x20000 - 4, 2), 5);
	ck_hex(rig_get(r, 0x20000 - 2, 2), CODE >> 4);
	rig_free(r);

	r = rig_new();
	rig_real(r);
	rig_put16(r, 0x20000 - 10, 0x90);
	rig_put16(r, 0x20000 - 8, HANDLER >> 4);
	r->s.gpr[R_RSP] = 0x1000 - 10;
	RIG_RUN(r, g_lret16);
	ck_assert_int_eq(rig_vector(r), 9);
	ck_hex(r->s.gpr[R_RSP], 0x1000);
	rig_free(r);
}
END_TEST

START_TEST(real_loads)
{
	struct rig *r = rig_new();

	rig_real(r);
	rig_put32(r, 0x100, 0x12345678);
	RIG_RUN(r, g_lds_real);
	ck_hex(r->s.gpr[R_RBX], 0x5678);
	ck_hex(r->s.gpr[R_RCX], 0x1234);
	ck_hex(r->s.seg[SEG_DS].base, 0x12340);
	ck_hex(r->s.seg[SEG_DS].limit, 0xffff);
	rig_free(r);

	r = rig_new();
	rig_real(r);
	RIG_RUN(r, g_real_limit); /* a word at FFFF */
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
}
END_TEST

START_TEST(bound)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	rig_put64(r, DATA, 0x00000005fffffffe); /* -2 .. 5 */
	r->s.gpr[R_RAX] = 0xffffffff;
	RIG_RUN(r, g_bound);
	ck_assert_int_eq(rig_vector(r), -1);
	r->s.halted = false;
	r->s.rip = CODE;
	r->s.gpr[R_RAX] = 6;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_BR);
	ck_hex(rig_frame32(r, 0), CODE);
	rig_free(r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, load_data);
	tcase_add_test(tc, load_stack);
	tcase_add_test(tc, accessed_bit);
	tcase_add_test(tc, load_from_ldt);
	tcase_add_test(tc, lss);
	tcase_add_test(tc, push_pop);
	tcase_add_test(tc, query);
	tcase_add_test(tc, arpl);
	tcase_add_test(tc, lldt);
	tcase_add_test(tc, ltr);
	tcase_add_test(tc, tables);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, code_is_not_writable);
	tcase_add_test(tc, far_jmp);
	tcase_add_test(tc, far_jmp_faults);
	tcase_add_test(tc, call_gate_inner64);
	tcase_add_test(tc, call_gate_and_back64);
	tcase_add_test(tc, call_gate_faults64);
	tcase_add_test(tc, call_same_privilege);
	tcase_add_test(tc, call_gate_parameters);
	tcase_add_test(tc, call_gate_many_parameters);
	tcase_add_test(tc, call_gate_bad_stack);
	tcase_add_test(tc, ret_outer);
	tcase_add_test(tc, real_far);
	tcase_add_test(tc, real_loads);
	tcase_add_test(tc, bound);
}

UNIT_MAIN("seg", add_tests)
