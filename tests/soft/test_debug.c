// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Debug traps: single steps from branch to branch, and what may not trap. SDM vol. 3, chapter 17.
 */
#include "tests/unit.h"

#include "base/buf.h"
#include "tests/soft/guest.h"

#define MEMORY	(16ull << 20)
#define CODE	0x1000ull
#define HANDLER 0x4000ull
#define TRAPS	0x300000ull /* where the handler writes the addresses that it was called from */

static struct guest g;
static struct cpu *cpu;

/*
 * #DB: notes RIP at (R15), collects in R14 what DEBUGCTL still has, in R13 what DR6 says; writes
 * R12 to DEBUGCTL.
 */
GUEST_CODE(note, "	push	%rax\n	push	%rcx\n	push	%rdx\n"
		 "	mov	24(%rsp), %rax\n"
		 "	mov	%rax, (%r15)\n"
		 "	add	$8, %r15\n"
		 "	mov	$0x1d9, %ecx\n"
		 "	rdmsr\n"
		 "	or	%rax, %r14\n"
		 "	mov	%r12, %rax\n"
		 "	wrmsr\n"
		 "	mov	%dr6, %rax\n"
		 "	or	%rax, %r13\n"
		 "	pop	%rdx\n	pop	%rcx\n	pop	%rax\n"
		 "	iretq\n");
GUEST_CODE(skip, "	add	$8, %rsp\n" /* error code */
		 "	incq	%r11\n"
		 "	addq	$2, (%rsp)\n"
		 "	iretq\n");

static void start(const uint8_t *code, const uint8_t *end, uint64_t debugctl)
{
	struct cpu_state s;

	guest_init(&g, MEMORY);
	guest_load(&g, CODE, code, end);
	guest_long_mode(&g, CODE, 0, &s);
	guest_tables(&g);
	cpu = guest_cpu(&g);
	guest_load(&g, HANDLER, note_start, note_end);
	guest_gate(&g, VEC_DB, HANDLER, 0);
	guest_load(&g, HANDLER + 0x100, skip_start, skip_end);
	guest_gate(&g, VEC_PF, HANDLER + 0x100, 0);
	cpu->gpr[R_R15] = TRAPS;
	cpu->gpr[R_R12] = debugctl;
	cpu->debugctl = debugctl;
}

#define START(name, debugctl) start(name##_start, name##_end, (debugctl))

static void run_to_halt(void)
{
	ck_assert_int_eq(guest_run_to(&g, 10000), ENGINE_EXIT_HALT);
}

static unsigned traps(void)
{
	return (unsigned)((cpu->gpr[R_R15] - TRAPS) / 8);
}

/* The n addresses are those of the traps. */
static void check_traps(const uint8_t *code, const uint8_t *const at[], unsigned n)
{
	for (unsigned i = 0; i < traps() && i < n; i++)
		ck_assert_msg(guest_peek(&g, TRAPS + 8 * i) == CODE + (uint64_t)(at[i] - code),
			      "trap %u at +%ld, not +%ld", i,
			      (long)(guest_peek(&g, TRAPS + 8 * i) - CODE), (long)(at[i] - code));
	ck_assert_uint_eq(traps(), n);
}

#define CHECK_TRAPS(name, ...)                                             \
	do {                                                               \
		static const uint8_t *const at[] = { __VA_ARGS__ };        \
		check_traps(name##_start, at, sizeof(at) / sizeof(at[0])); \
	} while (0)

#define TF_ON	    "	pushfq\n	orl	$0x100, (%rsp)\n	popfq\n"
#define TF_OFF	    "	pushfq\n	andl	$~0x100, (%rsp)\n	popfq\n"
#define LABEL(name) extern const uint8_t name[]

GUEST_CODE(near, TF_ON "	xor	%eax, %eax\n"
		       "	jmp	n1\n	nop\n"
		       "n1:	jnz	n2\n	nop\n"
		       "n2:	jz	n3\n" /* taken, and goes where it would go anyway */
		       "n3:	call	n_fn\n"
		       "n4:	mov	$3, %ecx\n"
		       "n5:	loop	n5\n"
		       "	jrcxz	n6\n"
		       "n6:	inc	%ecx\n"
		       "	jrcxz	n7\n"
		       "n7:	lea	n8(%rip), %rax\n"
		       "	jmp	*%rax\n"
		       "n8:	lea	n9(%rip), %rax\n"
		       "	push	%rax\n"
		       "	jmp	*(%rsp)\n	nop\n"
		       "n9:	mov	$0x310000, %edi\n"
		       "	mov	$4, %ecx\n"
		       "	rep stosb\n" TF_OFF "	hlt\n"
		       "n_fn:	nop\n"
		       "	ret\n");
LABEL(n1);
LABEL(n3);
LABEL(n_fn);
LABEL(n4);
LABEL(n5);
LABEL(n6);
LABEL(n8);
LABEL(n9);

START_TEST(near_branches)
{
	START(near, DEBUGCTL_BTF);
	run_to_halt();
	CHECK_TRAPS(near, n1, n3, n_fn, n4, n5, n5, n6, n8, n9);
	ck_assert_uint_eq(cpu->gpr[R_R14], 0); /* every debug exception clears BTF */
	ck_assert_uint_eq(cpu->gpr[R_R13] & 0xe00f, 0x4000);
	ck_assert_uint_eq(cpu->debugctl, DEBUGCTL_BTF);
	guest_fini(&g);
}
END_TEST

/* A kernel that does not set it again gets every instruction from the second trap on. */
START_TEST(btf_is_for_one_branch)
{
	START(near, DEBUGCTL_BTF);
	cpu->gpr[R_R12] = 0;
	run_to_halt();
	ck_assert_uint_eq(guest_peek(&g, TRAPS), CODE + (uint64_t)(n1 - near_start));
	ck_assert_uint_eq(guest_peek(&g, TRAPS + 8), CODE + (uint64_t)(n1 - near_start) + 2);
	guest_fini(&g);
}
END_TEST

/* Far transfers are branches. INT is one, but clears TF. */
GUEST_CODE(far, TF_ON "	mov	%ss, %eax\n"
		      "	mov	%rsp, %rbx\n"
		      "	push	%rax\n"
		      "	push	%rbx\n"
		      "	pushfq\n"
		      "	push	$8\n"
		      "	lea	f1(%rip), %rax\n"
		      "	push	%rax\n"
		      "	iretq\n	nop\n"
		      "f1:	push	$8\n"
		      "	lea	f2(%rip), %rax\n"
		      "	push	%rax\n"
		      "	lretq\n	nop\n"
		      "f2:	sub	$16, %rsp\n"
		      "	lea	f3(%rip), %rax\n"
		      "	mov	%eax, (%rsp)\n"
		      "	movw	$8, 4(%rsp)\n"
		      "	ljmpl	*(%rsp)\n	nop\n"
		      "f3:	nop\n" TF_OFF "	hlt\n");
LABEL(f1);
LABEL(f2);
LABEL(f3);

START_TEST(far_branches)
{
	START(far, DEBUGCTL_BTF);
	run_to_halt();
	CHECK_TRAPS(far, f1, f2, f3);
	guest_fini(&g);
}
END_TEST

/*
 * SYSRET that loads TF traps before the instruction that it goes to, whether SYSRET itself was
 * stepped or not.
 */
GUEST_CODE(sysret, "	sysretq\n");
GUEST_CODE(user, "	nop\n	nop\n	ud2\n");

START_TEST(sysret_traps_at_once)
{
	const uint64_t user_code = 0x9000;

	START(sysret, _i & 1 ? DEBUGCTL_BTF : 0);
	GUEST_LOAD(&g, user_code, user);
	cpu->star = 0x0010ull << 48 | 8ull << 32;
	cpu->gpr[R_RCX] = user_code;
	cpu->gpr[R_R11] = 2 | FL_TF;
	cpu->rflags |= _i & 2 ? FL_TF : 0;
	/* SYSRET, then as far as the first instruction of the handler. */
	ck_assert_int_eq(guest_run_to(&g, 2), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, HANDLER + 1);
	ck_assert_uint_eq(guest_peek(&g, GUEST_SP0 - 40), user_code);
	ck_assert_uint_eq(cpu->dr[6] & 0x4000, 0x4000);
	guest_fini(&g);
}
END_TEST

START_TEST(sysret_without_tf)
{
	START(sysret, 0);
	GUEST_LOAD(&g, 0x9000, user);
	cpu->star = 0x0010ull << 48 | 8ull << 32;
	cpu->gpr[R_RCX] = 0x9000;
	cpu->gpr[R_R11] = 2;
	cpu->rflags |= FL_TF;
	ck_assert_int_eq(guest_run_to(&g, 3), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, 0x9002);
	guest_fini(&g);
}
END_TEST

/* ---- breakpoints ---- */
GUEST_CODE(moves, "	mov	$0x200000, %esi\n"
		  "	mov	$0x7000000000, %rdi\n"
		  "	movsq\n" /* reads what is watched, then faults; two bytes */
		  "	nop\n"
		  "	hlt\n");

/*
 * A watched operand of an instruction that then faults is no trap: the instruction was not
 * executed.
 */
START_TEST(fault_drops_watched_operands)
{
	START(moves, 0);
	cpu->dr[0] = 0x200000;
	cpu->dr[7] = 2u | 3u << 16 | 3u << 18;
	mmu_debug_changed(cpu);
	run_to_halt();
	ck_assert_uint_eq(cpu->gpr[R_R11], 1);
	ck_assert_uint_eq(traps(), 0);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(held,
	   "	mov	0x200000, %ss\n" /* watched: the trap comes after the next instruction */
	   "	nop\n"
	   "h1:	hlt\n");
LABEL(h1);

START_TEST(mov_ss_holds_a_breakpoint)
{
	START(held, 0);
	guest_poke(&g, 0x200000, 0x10);
	cpu->dr[0] = 0x200000;
	cpu->dr[7] = 2u | 3u << 16 | 1u << 18;
	mmu_debug_changed(cpu);
	run_to_halt();
	CHECK_TRAPS(held, h1);
	ck_assert_uint_eq(cpu->gpr[R_R13] & 0xe00f, 1);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(held_icebp, "	mov	0x200000, %ss\n"
		       "	.byte	0xf1\n" /* INT1 is the exception that reports it */
		       "i1:	nop\n"
		       "i2:	hlt\n");
LABEL(i1);

START_TEST(int1_takes_what_mov_ss_holds)
{
	START(held_icebp, 0);
	guest_poke(&g, 0x200000, 0x10);
	cpu->dr[0] = 0x200000;
	cpu->dr[6] = 0xffff0ff0 | 2;
	cpu->dr[7] = 2u | 3u << 16 | 1u << 18;
	mmu_debug_changed(cpu);
	run_to_halt();
	CHECK_TRAPS(held_icebp, i1);
	ck_assert_uint_eq(cpu->gpr[R_R13] & 0xe00f, 1);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(one_step, TF_ON "	nop\n"
			   "s1:	nop\n" TF_OFF "	hlt\n");

/* Breakpoints that this exception did not meet do not stay in DR6; BD, BS and BT do. */
START_TEST(old_breakpoints_go)
{
	START(one_step, 0);
	cpu->dr[6] = 0xffff0ff0 | 1u << 15 | 15;
	run_to_halt();
	ck_assert_uint_gt(traps(), 0);
	ck_assert_uint_eq(cpu->gpr[R_R13] & 0xe00f, 1u << 15 | DR6_BS);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(port_string, "	mov	$3, %ecx\n"
			"	mov	$0x200000, %esi\n"
			"	mov	$0x80, %edx\n"
			"p1:	rep outsb\n"
			"p2:	hlt\n");
LABEL(p1);
LABEL(p2);

/* Vol. 3, 17.2.4: repeated INS and OUTS trap after the iteration that met the port. */
START_TEST(port_breakpoint_in_rep)
{
	START(port_string, 0);
	cpu->cr4 |= CR4_DE;
	cpu->dr[1] = 0x80;
	cpu->dr[7] = 8u | 2u << 20;
	run_to_halt();
	CHECK_TRAPS(port_string, p1, p1, p2);
	ck_assert_uint_eq(g.n, 3);
	ck_assert_uint_eq(cpu->gpr[R_R13] & 0xe00f, 2);
	guest_fini(&g);
}
END_TEST

/* ---- state ---- */
START_TEST(btf_is_state)
{
	struct buf a = BUF_INIT;
	struct err err = ERR_INIT;
	struct cpu_state s, t;
	struct rd in;

	START(near, DEBUGCTL_BTF);
	g.e->ops->get_state(g.e, &s);
	ck_assert_uint_eq(s.debugctl, DEBUGCTL_BTF);
	cpu_state_save(&s, &a);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(cpu_state_restore(&t, &in), 0);
	ck_assert_uint_eq(t.debugctl, DEBUGCTL_BTF);
	cpu->debugctl = 0;
	ck_assert_int_eq(g.e->ops->set_state(g.e, &t, &err), 0);
	ck_assert_uint_eq(cpu->debugctl, DEBUGCTL_BTF);
	t.debugctl = 1;
	ck_assert_int_lt(g.e->ops->set_state(g.e, &t, &err), 0);
	a.len = 0;
	cpu_state_save(&t, &a);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(cpu_state_restore(&s, &in), -22);
	buf_free(&a);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, near_branches);
	tcase_add_test(tc, btf_is_for_one_branch);
	tcase_add_test(tc, far_branches);
	tcase_add_loop_test(tc, sysret_traps_at_once, 0, 4);
	tcase_add_test(tc, sysret_without_tf);
	tcase_add_test(tc, fault_drops_watched_operands);
	tcase_add_test(tc, mov_ss_holds_a_breakpoint);
	tcase_add_test(tc, int1_takes_what_mov_ss_holds);
	tcase_add_test(tc, old_breakpoints_go);
	tcase_add_test(tc, port_breakpoint_in_rep);
	tcase_add_test(tc, btf_is_state);
}

UNIT_MAIN("soft_debug", add)
