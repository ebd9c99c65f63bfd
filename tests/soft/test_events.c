/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions, interrupts, single-stepping, breakpoints and HLT: where they happen and what they
 * count.
 */
#include <stdatomic.h>
#include "tests/unit.h"

#include <pthread.h>
#include <time.h>

#include "base/buf.h"
#include "hypervisor/soft/block.h"
#include "tests/soft/guest.h"

#define MEMORY	(16ull << 20)
#define CODE	0x1000ull
#define HANDLER 0x4000ull

static struct guest g;
static struct cpu *cpu;

static void start_code(struct guest *to, const uint8_t *code, const uint8_t *end)
{
	struct cpu_state s;

	guest_init(to, MEMORY);
	guest_load(to, CODE, code, end);
	guest_long_mode(to, CODE, 0, &s);
	guest_tables(to);
	cpu = guest_cpu(to);
}

#define START(name) start_code(&g, name##_start, name##_end)

/*
 * Handlers that put the frame into registers: R8 vector error code or RIP ..., then skip RDX bytes
 * of the program.
 */
GUEST_CODE(with_error, "	pop	%r8\n"
		       "	add	%rdx, (%rsp)\n"
		       "	iretq\n");
GUEST_CODE(no_error, "	mov	(%rsp), %r9\n"
		     "	inc	%r8\n"
		     "	add	%rdx, (%rsp)\n"
		     "	iretq\n");

static void handler(unsigned vector, const uint8_t *code, const uint8_t *end)
{
	guest_load(&g, HANDLER + vector * 64, code, end);
	guest_gate(&g, vector, HANDLER + vector * 64, 0);
}

#define HANDLE(vector, name) handler((vector), name##_start, name##_end)

GUEST_CODE(fault, "	mov	$1, %eax\n"
		  "	inc	%rax\n"
		  "	mov	(%rbx), %rcx\n" /* 3 bytes, instruction 2 */
		  "	inc	%rax\n"
		  "	ud2\n"
		  "	jmp	.\n");

START_TEST(faults_do_not_count)
{
	START(fault);
	HANDLE(VEC_PF, with_error);
	HANDLE(VEC_UD, no_error);
	cpu->gpr[R_RBX] = 0x7000000000;
	cpu->gpr[R_RDX] = 3;
	ck_assert_int_eq(guest_run_to(&g, 2), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, CODE + 8);
	/*
	 * The boundary after instruction 2 is before the delivery; the next one is in the handler.
	 */
	ck_assert_int_eq(guest_run_to(&g, 3), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, HANDLER + VEC_PF * 64 + 2);
	ck_assert_uint_eq(cpu->cr2, 0x7000000000);
	ck_assert_uint_eq(cpu->gpr[R_R8], 0);
	ck_assert_int_eq(guest_run_to(&g, 5), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, CODE + 11);
	cpu->gpr[R_RDX] = 2;
	ck_assert_int_eq(guest_run_to(&g, 10), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, CODE + 16);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 3);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 14);
	ck_assert_uint_eq(cpu->gpr[R_R8], 1);
	guest_fini(&g);
}
END_TEST

/* ---- interrupts ---- */
GUEST_CODE(sti, "	nop\n"
		"	sti\n"
		"	inc	%rax\n" /* in the shadow */
		"	inc	%rax\n"
		"	cli\n"
		"	inc	%rax\n"
		"	jmp	.\n");

START_TEST(window_after_the_sti_shadow)
{
	START(sti);
	HANDLE(0x30, no_error);
	g.e->ops->window(g.e, true);
	ck_assert(!g.e->ops->can_interrupt(g.e));
	ck_assert_int_eq(guest_run_to(&g, 2), ENGINE_EXIT_UNTIL);
	ck_assert(!g.e->ops->can_interrupt(g.e));
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_WINDOW);
	ck_assert_uint_eq(g.e->ops->count(g.e), 3);
	ck_assert(g.e->ops->can_interrupt(g.e));
	g.e->ops->inject(g.e, 0x30);
	g.e->ops->window(g.e, false);
	ck_assert(!g.e->ops->can_interrupt(g.e));
	ck_assert_int_eq(guest_run_to(&g, 3), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, CODE + 5);
	ck_assert_int_eq(guest_run_to(&g, 7), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 5);
	ck_assert_uint_eq(cpu->rip, CODE + 5);
	ck_assert(cpu->rflags & FL_IF);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(sti_rep, "	sti\n"
		    "	rep stosb\n"
		    "	nop\n"
		    "	jmp	.\n");

START_TEST(sti_shadow_lasts_as_long_as_rep)
{
	struct landmark inside = { .count = 1, .rip = CODE + 1, .rcx = 50, .in_rep = true };

	START(sti_rep);
	cpu->gpr[R_RCX] = 100;
	cpu->gpr[R_RDI] = 0x200000;
	g.e->ops->window(g.e, true);
	ck_assert_int_eq(g.e->ops->run(g.e, &inside), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 50);
	ck_assert(!g.e->ops->can_interrupt(g.e));
	ck_assert_int_eq(guest_run_to(&g, 10), ENGINE_EXIT_WINDOW);
	ck_assert_uint_eq(g.e->ops->count(g.e), 2);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(hlt, "	sti\n"
		"	hlt\n"
		"	inc	%rax\n"
		"	cli\n"
		"	hlt\n"
		"	jmp	.\n");

START_TEST(halt_and_wake)
{
	START(hlt);
	HANDLE(0x30, no_error);
	HANDLE(VEC_NMI, no_error);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_HALT);
	ck_assert_uint_eq(g.e->ops->count(g.e), 2);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_HALT);
	ck_assert(g.e->ops->can_interrupt(g.e));
	g.e->ops->inject(g.e, 0x30);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_HALT);
	ck_assert_uint_eq(g.e->ops->count(g.e), 9);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 2);
	ck_assert(!g.e->ops->can_interrupt(g.e));
	g.e->ops->kick(g.e);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_KICK);
	g.e->ops->inject_nmi(g.e);
	ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->gpr[R_R8], 2);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 7);
	guest_fini(&g);
}
END_TEST

START_TEST(pending_events_survive_a_move)
{
	struct err err = ERR_INIT;
	struct cpu_state s;

	START(hlt);
	HANDLE(0x30, no_error);
	HANDLE(VEC_NMI, no_error);
	guest_run_to(&g, 100);
	g.e->ops->inject(g.e, 0x30);
	g.e->ops->inject_nmi(g.e);
	g.e->ops->get_state(g.e, &s);
	ck_assert_int_eq(g.e->ops->set_state(g.e, &s, &err), 0);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_HALT);
	ck_assert_uint_eq(cpu->gpr[R_R8], 2);
	guest_fini(&g);
}
END_TEST

/* ---- single steps and breakpoints ---- */
GUEST_CODE(step, "	pushfq\n"
		 "	orl	$0x100, (%rsp)\n"
		 "	popfq\n"
		 "	inc	%rax\n" /* traps after this one ... */
		 "	mov	%ss, %ecx\n"
		 "	mov	%ecx, %ss\n" /* ... not after this one ... */
		 "	nop\n"		     /* ... but after this one */
		 "	mov	$3, %ecx\n"
		 "	mov	$0x200000, %edi\n"
		 "	rep stosb\n" /* three iterations, three traps */
		 "	pushfq\n"
		 "	andl	$~0x100, (%rsp)\n"
		 "	popfq\n" /* the last trap */
		 "	jmp	.\n");

START_TEST(single_steps)
{
	START(step);
	HANDLE(VEC_DB, no_error);
	cpu->gpr[R_RDX] = 0;
	ck_assert_int_eq(guest_run_to(&g, 200), ENGINE_EXIT_UNTIL);
	/* inc, mov, (mov ss) nop, mov, mov, stosb x 3, pushfq, andl, popfq */
	ck_assert_uint_eq(cpu->gpr[R_R8], 11);
	ck_assert_uint_eq(cpu->dr[6] & 0xf000, 0x4000);
	ck_assert(!(cpu->rflags & FL_TF));
	guest_fini(&g);
}
END_TEST

GUEST_CODE(rf_handler, "	orl	$0x10000, 16(%rsp)\n"
		       "	mov	(%rsp), %r9\n"
		       "	inc	%r8\n"
		       "	iretq\n");

START_TEST(instruction_breakpoint)
{
	START(fault);
	HANDLE(VEC_DB, rf_handler);
	HANDLE(VEC_UD, no_error);
	cpu->gpr[R_RBX] = 0x100000;
	cpu->dr[2] = CODE + 11;
	cpu->dr[7] = 1u << 4;
	ck_assert_int_eq(guest_run_to(&g, 3), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, CODE + 11);
	ck_assert_uint_eq(cpu->gpr[R_R8], 0);
	ck_assert_int_eq(guest_run_to(&g, 8), ENGINE_EXIT_UNTIL);
	/* The handler returned with RF set: the instruction runs, once. */
	ck_assert_uint_eq(cpu->gpr[R_R8], 1);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 11);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 3);
	ck_assert_uint_eq(cpu->dr[6] & 15, 4);
	guest_fini(&g);
}
END_TEST

GUEST_CODE(watch, "	mov	$4, %ecx\n"
		  "	mov	$0x200000, %edi\n"
		  "	mov	$7, %eax\n"
		  "	rep stosb\n" /* the third iteration hits */
		  "	mov	%eax, 4(%rdi)\n"
		  "	jmp	.\n");

START_TEST(data_breakpoint)
{
	START(watch);
	HANDLE(VEC_DB, no_error);
	cpu->dr[0] = 0x200002;
	cpu->dr[7] = 2u | 1u << 16;
	mmu_debug_changed(cpu);
	ck_assert_int_eq(guest_run_to(&g, 4), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 1);
	ck_assert_uint_eq(cpu->gpr[R_R9], CODE + 15);
	ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->gpr[R_R8], 1);
	ck_assert_uint_eq(guest_peek(&g, 0x200000), 0x07070707);
	ck_assert_uint_eq(cpu->dr[6] & 15, 1);
	guest_fini(&g);
}
END_TEST

/* ---- no way on ---- */
START_TEST(triple_fault)
{
	START(fault);
	cpu->gpr[R_RBX] = 0x7000000000;
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_SHUTDOWN);
	ck_assert_uint_eq(g.e->ops->count(g.e), 2);
	ck_assert_uint_eq(cpu->rip, CODE + 8);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_SHUTDOWN);
	guest_fini(&g);
}
END_TEST

START_TEST(stuck)
{
	START(fault);
	guest_gate(&g, VEC_UD, CODE + 14,
		   1); /* the handler is the faulting UD2, on a fresh stack each time */
	cpu->gpr[R_RBX] = 0x100000;
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_STUCK);
	ck_assert_uint_eq(g.e->ops->count(g.e), 4);
	guest_fini(&g);
}
END_TEST

/* ---- all of it at once ---- */
/*
 * System calls by INT, page faults that the handler resolves, divide errors in the middle of
 * blocks, user mode.
 */
GUEST_CODE(busy, "1:	mov	%rax, %rbx\n"
		 "	shr	$3, %rbx\n"
		 "	and	$0x3f000, %ebx\n"
		 "	add	%rax, 0x40000000(%rbx)\n"
		 "	imul	$1103515245, %rax, %rax\n"
		 "	add	$12345, %rax\n"
		 "	test	$0x700, %eax\n"
		 "	jnz	2f\n"
		 "	int	$0x80\n"
		 "2:	mov	%eax, %ecx\n"
		 "	and	$15, %ecx\n"
		 "	mov	%rax, %rsi\n"
		 "	xor	%edx, %edx\n"
		 "	shr	$1, %rax\n"
		 "	div	%rcx\n" /* #DE now and then */
		 "	mov	%rsi, %rax\n"
		 "	lea	0x40000f00(%rbx), %rdi\n"
		 "	mov	%eax, %ecx\n"
		 "	and	$0x1ff, %ecx\n"
		 "	rep stosb\n"
		 "	jmp	1b\n");
/* #PF: maps the page at CR2 if it was not, else removes the one after it. */
GUEST_CODE(busy_pf,
	   "	push	%rax\n	push	%rbx\n"
	   "	mov	%cr2, %rax\n"
	   "	mov	%rax, %rbx\n"
	   "	shr	$12, %rbx\n"
	   "	and	$0x1ff, %ebx\n"
	   "	and	$~0xfff, %eax\n"
	   "	sub	$0x3f000000, %eax\n" /* 40000000 -> 1000000, wraps into the 16 MiB below */
	   "	and	$0x3ff000, %eax\n"
	   "	or	$0x400007, %eax\n"
	   "	mov	%rax, 0x73000(,%rbx,8)\n"
	   "	add	$7, %ebx\n"
	   "	and	$0x3f, %ebx\n"
	   "	movq	$0, 0x73000(,%rbx,8)\n"
	   "	shl	$12, %rbx\n"
	   "	invlpg	0x40000000(%rbx)\n"
	   "	pop	%rbx\n	pop	%rax\n"
	   "	add	$8, %rsp\n"
	   "	iretq\n");
GUEST_CODE(busy_de, "	addq	$3, (%rsp)\n"
		    "	iretq\n");
GUEST_CODE(busy_int, "	incq	0x200000\n"
		     "	iretq\n");

static void start_busy(struct guest *to, unsigned cpl)
{
	struct err err = ERR_INIT;
	struct cpu_state s;

	guest_init(to, MEMORY);
	GUEST_LOAD(to, CODE, busy);
	GUEST_LOAD(to, HANDLER, busy_pf);
	GUEST_LOAD(to, HANDLER + 0x100, busy_de);
	GUEST_LOAD(to, HANDLER + 0x200, busy_int);
	guest_long_mode(to, CODE, 0, &s);
	guest_tables(to);
	guest_gate(to, VEC_PF, HANDLER, 0);
	guest_gate(to, VEC_DE, HANDLER + 0x100, 1);
	guest_gate(to, 0x80, HANDLER + 0x200, 0);
	guest_poke(to, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(to, 0x74000, 0x73000 | 7);
	to->e->ops->get_state(to->e, &s);
	if (cpl) {
		s.seg[SEG_CS] = (struct seg_state){ 0, UINT32_MAX, 0xa0fb, 0x1b };
		s.seg[SEG_SS] = (struct seg_state){ 0, UINT32_MAX, 0xc0f3, 0x23 };
	}
	s.gpr[R_RAX] = 1;
	if (to->e->ops->set_state(to->e, &s, &err) < 0)
		abort();
}

static bool same_state(struct guest *a, struct guest *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	struct cpu_state s;
	bool same;

	a->e->ops->get_state(a->e, &s);
	cpu_state_save(&s, &x);
	b->e->ops->get_state(b->e, &s);
	cpu_state_save(&s, &y);
	same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0 &&
	       memcmp(a->mem.base, b->mem.base, a->mem.size) == 0;
	buf_free(&x);
	buf_free(&y);
	return same;
}

static const unsigned strides[] = { 1, 2, 5, 17, 64, 1000 };

START_TEST(busy_landing)
{
	unsigned stride = strides[_i % 6], cpl = _i < 6 ? 0 : 3;
	struct guest a, b;

	start_busy(&a, cpl);
	start_busy(&b, cpl);
	for (uint64_t n = 0; n < unit_cases(60000); n += stride) {
		ck_assert_int_eq(guest_run_to(&a, n), ENGINE_EXIT_UNTIL);
		ck_assert_uint_eq(a.e->ops->count(a.e), n);
		/* What only the host does must not show. */
		if (n % 3 == 0)
			block_drop_all(guest_cpu(&a));
		if (n % 5 == 0)
			a.e->ops->sync_dirty(a.e);
	}
	guest_run_to(&a, 100000);
	guest_run_to(&b, 100000);
	ck_assert(same_state(&a, &b));
	ck_assert_uint_gt(guest_peek(&a, 0x200000), 100); /* there were system calls */
	ck_assert_uint_gt(guest_cpu(&a)->stats.exceptions, 500);
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

static atomic_bool stop_kicking;

static void *kicker(void *arg)
{
	struct timespec pause = { 0, 5000 };

	while (!stop_kicking) {
		((struct guest *)arg)->e->ops->kick(((struct guest *)arg)->e);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

START_TEST(busy_kicks)
{
	static struct landmark lm[100000];
	struct guest a, b;
	uint64_t end = 0;
	pthread_t thread;
	size_t n = 0;

	start_busy(&a, 3);
	start_busy(&b, 3);
	stop_kicking = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, kicker, &a), 0);
	/* On a busy host it may be long before the other thread gets a turn. */
	do {
		end += 3000000;
		while (guest_run_to(&a, end) == ENGINE_EXIT_KICK) {
			if (n < sizeof(lm) / sizeof(lm[0]))
				a.e->ops->landmark(a.e, &lm[n++]);
		}
	} while (n < 6 && end < 3000000000);
	stop_kicking = true;
	pthread_join(thread, NULL);
	ck_assert_uint_ge(n, 6);
	for (size_t i = 0; i < n; i++) {
		struct landmark at;

		ck_assert_int_eq(b.e->ops->run(b.e, &lm[i]), ENGINE_EXIT_UNTIL);
		b.e->ops->landmark(b.e, &at);
		ck_assert_uint_eq(at.count, lm[i].count);
		ck_assert_uint_eq(at.rip, lm[i].rip);
		ck_assert_int_eq(at.in_rep, lm[i].in_rep);
	}
	guest_run_to(&b, end);
	ck_assert(same_state(&a, &b));
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

GUEST_CODE(enable_and_out, "	sti\n"
			   "	out	%al, $0x80\n"
			   "	jmp	.\n");
GUEST_CODE(undefined, "	ud2\n");

/* Where exits are counted, they are instructions: a frame that goes to device memory is none. */
START_TEST(deliveries_are_no_exits)
{
	START(undefined);
	HANDLE(VEC_UD, enable_and_out);
	HANDLE(VEC_NMI, enable_and_out);
	cpu->count_exits = true;
	cpu->gpr[R_RSP] = 2 * MEMORY;
	if (_i)
		g.e->ops->inject_nmi(g.e);
	ck_assert_int_eq(guest_run_to(&g, 1), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->rip, HANDLER + 64 * (_i ? VEC_NMI : VEC_UD) + 3);
	ck_assert_int_eq(g.log[0].kind, GUEST_MMIO_OUT);
	ck_assert_int_eq(g.log[g.n - 1].kind, GUEST_PORT_OUT);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, faults_do_not_count);
	tcase_add_test(tc, window_after_the_sti_shadow);
	tcase_add_test(tc, sti_shadow_lasts_as_long_as_rep);
	tcase_add_test(tc, halt_and_wake);
	tcase_add_test(tc, pending_events_survive_a_move);
	tcase_add_test(tc, single_steps);
	tcase_add_test(tc, instruction_breakpoint);
	tcase_add_test(tc, data_breakpoint);
	tcase_add_test(tc, triple_fault);
	tcase_add_test(tc, stuck);
	tcase_add_loop_test(tc, busy_landing, 0, 12);
	tcase_add_test(tc, busy_kicks);
	tcase_add_loop_test(tc, deliveries_are_no_exits, 0, 2);
}

UNIT_MAIN("soft_events", add)
