/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop of the software CPU: exact counts, landing, kicks, REP, bus accesses in the middle
 * of blocks.
 */
#include <stdatomic.h>
#include "tests/unit.h"

#include <pthread.h>
#include <time.h>

#include "base/buf.h"
#include "tests/soft/guest.h"

#define MEMORY (16ull << 20)
#define CODE   0x1000ull

/*
 * A bit of everything: short and long blocks, calls, string instructions over pages, port output,
 * unaligned data.
 */
GUEST_CODE(mix, "	mov	$1, %rax\n"
		"	xor	%r15d, %r15d\n"
		"1:	lea	0x100000(%r15), %rbx\n"
		"	mov	%rax, (%rbx)\n"
		"	add	%rax, 5(%rbx)\n"
		"	imul	$1103515245, %rax, %rax\n"
		"	add	$12345, %rax\n"
		"	mov	%rax, %r9\n"
		"	shr	$9, %r9\n"
		"	mov	%r9, 0x1ffc(%rbx)\n"
		"	mov	0x1ffd(%rbx), %r10d\n"
		"	add	%r10, %rax\n"
		"	call	2f\n"
		"	test	$4, %al\n"
		"	jz	3f\n"
		"	lea	0xff8(%rbx), %rdi\n"
		"	mov	%rbx, %rsi\n"
		"	mov	%eax, %ecx\n"
		"	and	$63, %ecx\n"
		"	rep movsb\n"
		"3:	mov	$40, %ecx\n"
		"	mov	%rbx, %rsi\n"
		"	lea	0x1000(%rbx), %rdi\n"
		"	repe cmpsb\n"
		"	cmovb	%rcx, %rdx\n"
		"	adc	%rdx, %rax\n"
		"	add	$0x7, %r15\n"
		"	and	$0x3fff, %r15\n"
		"	jmp	1b\n"
		"2:	push	%rax\n"
		"	mov	$5, %r11d\n"
		"4:	rol	$3, %rax\n"
		"	xor	(%rsp), %rax\n"
		"	dec	%r11d\n"
		"	jnz	4b\n"
		"	pop	%r12\n"
		"	ret\n");

static void start_code(struct guest *g, const uint8_t *code, const uint8_t *end)
{
	struct cpu_state s;

	guest_init(g, MEMORY);
	guest_load(g, CODE, code, end);
	guest_long_mode(g, CODE, 0, &s);
}

#define START(g, name) start_code((g), name##_start, name##_end)

static void state_bytes(struct guest *g, struct buf *b)
{
	struct cpu_state s;

	buf_clear(b);
	g->e->ops->get_state(g->e, &s);
	cpu_state_save(&s, b);
}

static bool same_state(struct guest *a, struct guest *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool same;

	state_bytes(a, &x);
	state_bytes(b, &y);
	same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0 &&
	       memcmp(a->mem.base, b->mem.base, a->mem.size) == 0;
	buf_free(&x);
	buf_free(&y);
	return same;
}

#define STEPS 3000

static uint64_t rip_at[STEPS + 1], rax_at[STEPS + 1];

static void reference(void)
{
	struct guest g;

	START(&g, mix);
	for (unsigned i = 0; i <= STEPS; i++) {
		ck_assert_int_eq(guest_run_to(&g, i), ENGINE_EXIT_UNTIL);
		ck_assert_uint_eq(g.e->ops->count(g.e), i);
		rip_at[i] = guest_cpu(&g)->rip;
		rax_at[i] = guest_cpu(&g)->gpr[R_RAX];
	}
	guest_fini(&g);
}

static const unsigned strides[] = { 2, 3, 7, 10, 63, 64, 65, 501, 2999 };

START_TEST(landing)
{
	unsigned stride = strides[_i];
	struct guest a, b;

	reference();
	START(&a, mix);
	START(&b, mix);
	for (unsigned i = 0; i <= STEPS; i += stride) {
		ck_assert_int_eq(guest_run_to(&a, i), ENGINE_EXIT_UNTIL);
		ck_assert_uint_eq(a.e->ops->count(a.e), i);
		ck_assert_uint_eq(guest_cpu(&a)->rip, rip_at[i]);
		ck_assert_uint_eq(guest_cpu(&a)->gpr[R_RAX], rax_at[i]);
	}
	guest_run_to(&a, STEPS + 10000);
	guest_run_to(&b, STEPS + 10000);
	ck_assert(same_state(&a, &b));
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

/* ---- kicks ---- */
static atomic_bool stop_kicking;

static void *kicker(void *arg)
{
	struct guest *g = arg;
	struct timespec pause = { 0, 20000 };

	while (!stop_kicking) {
		g->e->ops->kick(g->e);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

#define KICK_COUNT 3000000ull
#define KICKS_MIN  6

/* Runs g under kicks, KICK_COUNT instructions and on until there were some (on a busy host the
 * other thread may not get a turn so soon), and stores up to max landmarks where they stopped it.
 * *end: the count at the end. */
static size_t run_kicked(struct guest *g, struct landmark *lm, size_t max, uint64_t *end)
{
	pthread_t thread;
	size_t n = 0;

	*end = 0;

	stop_kicking = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, kicker, g), 0);
	do {
		*end += KICK_COUNT;
		while (guest_run_to(g, *end) == ENGINE_EXIT_KICK) {
			if (n < max)
				g->e->ops->landmark(g->e, &lm[n++]);
		}
	} while (n < KICKS_MIN && *end < 1000 * KICK_COUNT);
	stop_kicking = true;
	pthread_join(thread, NULL);
	return n;
}

START_TEST(kicks_are_invisible)
{
	static struct landmark lm[100000];
	struct guest a, b;
	uint64_t end;
	size_t n;

	START(&a, mix);
	START(&b, mix);
	n = run_kicked(&a, lm, sizeof(lm) / sizeof(lm[0]), &end);
	ck_assert_uint_ge(n, KICKS_MIN);
	/* Every landmark names a place that another run can stop at. */
	for (size_t i = 0; i < n; i++) {
		struct landmark at;

		ck_assert_int_eq(b.e->ops->run(b.e, &lm[i]), ENGINE_EXIT_UNTIL);
		b.e->ops->landmark(b.e, &at);
		ck_assert_uint_eq(at.count, lm[i].count);
		ck_assert_uint_eq(at.rip, lm[i].rip);
		ck_assert_uint_eq(at.rcx, lm[i].rcx);
		ck_assert_int_eq(at.in_rep, lm[i].in_rep);
	}
	guest_run_to(&b, end);
	ck_assert(same_state(&a, &b));
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

START_TEST(kick_before_run)
{
	struct guest g;

	START(&g, mix);
	g.e->ops->kick(g.e);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_KICK);
	ck_assert_uint_eq(g.e->ops->count(g.e), 0);
	ck_assert_int_eq(guest_run_to(&g, 100), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(g.e->ops->count(g.e), 100);
	guest_fini(&g);
}
END_TEST

/* ---- REP ---- */
GUEST_CODE(rep, "	mov	$0x100ffd, %rsi\n"
		"	mov	$0x200001, %rdi\n"
		"	mov	$10000, %ecx\n"
		"	rep movsb\n"
		"	mov	$300, %ecx\n"
		"	std\n"
		"	rep stosq\n"
		"	cld\n"
		"	nop\n");

static void rep_guest(struct guest *g)
{
	START(g, rep);
	for (unsigned i = 0; i < 0x4000; i++)
		guest_ram(g, 0x100000)[i] = (uint8_t)(i * 7 + i / 256);
	guest_cpu(g)->gpr[R_RAX] = 0x0123456789abcdef;
}

static const uint64_t rep_points[] = { 9999, 9998, 9997, 9000, 5904, 5903, 4096, 1 };

START_TEST(rep_landing)
{
	struct landmark at,
		until = { .count = 3, .rip = CODE + 19, .rcx = rep_points[_i], .in_rep = true };
	struct guest a, b;

	rep_guest(&a);
	rep_guest(&b);
	ck_assert_int_eq(a.e->ops->run(a.e, &until), ENGINE_EXIT_UNTIL);
	a.e->ops->landmark(a.e, &at);
	ck_assert_uint_eq(at.count, 3);
	ck_assert_uint_eq(at.rip, until.rip);
	ck_assert_uint_eq(at.rcx, until.rcx);
	ck_assert(at.in_rep);
	ck_assert_uint_eq(guest_cpu(&a)->gpr[R_RDI], 0x200001 + 10000 - until.rcx);
	ck_assert_uint_eq(guest_ram(&a, 0x200001)[10000 - until.rcx - 1],
			  guest_ram(&a, 0x100ffd)[10000 - until.rcx - 1]);
	ck_assert_uint_eq(guest_ram(&a, 0x200001)[10000 - until.rcx], 0);
	/* There already: returns at once. */
	ck_assert_int_eq(a.e->ops->run(a.e, &until), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(guest_cpu(&a)->gpr[R_RCX], until.rcx);
	for (uint64_t i = 3; i < 10; i++)
		ck_assert_int_eq(guest_run_to(&a, i), ENGINE_EXIT_UNTIL);
	guest_run_to(&b, 9);
	ck_assert(same_state(&a, &b));
	ck_assert_uint_eq(guest_cpu(&a)->gpr[R_RCX], 0);
	ck_assert_int_eq(memcmp(guest_ram(&a, 0x200001), guest_ram(&a, 0x100ffd), 2000), 0);
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

START_TEST(rep_landmark_that_never_comes)
{
	struct landmark until = { .count = 3, .rip = CODE + 19, .rcx = 20000, .in_rep = true };
	struct guest g;

	rep_guest(&g);
	ck_assert_int_eq(g.e->ops->run(g.e, &until), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(g.e->ops->count(g.e), 4);
	guest_fini(&g);
}
END_TEST

/* ---- the bus ---- */
GUEST_CODE(devices, "	mov	$0xd0000000, %eax\n" /* mapped at 1 GiB below */
		    "	mov	$0x40000000, %ebx\n"
		    "	inc	%rcx\n"
		    "	mov	%rcx, 8(%rbx)\n" /* instruction 3 */
		    "	inc	%rcx\n"
		    "	mov	4(%rbx), %edx\n"  /* instruction 5 */
		    "	add	%edx, 16(%rbx)\n" /* instruction 6: reads and writes */
		    "	inc	%rcx\n"
		    "	jmp	.\n");

static void devices_guest(struct guest *g)
{
	START(g, devices);
	guest_poke(g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(g, 0x74000, 0xd0000000 | 0x87);
	g->in = 0x5500000005;
}

START_TEST(mmio_has_exact_counts)
{
	static const struct {
		int kind;
		uint64_t addr, value, count;
		unsigned size;
	} want[] = {
		{ GUEST_MMIO_OUT, 0xd0000008, 1, 3, 8 },
		{ GUEST_MMIO_IN, 0xd0000004, 0, 5, 4 },
		{ GUEST_MMIO_IN, 0xd0000010, 0, 6, 4 },
		{ GUEST_MMIO_OUT, 0xd0000010, 10, 6, 4 },
	};
	struct guest g;

	devices_guest(&g);
	ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(g.n, 4);
	for (size_t i = 0; i < g.n; i++) {
		ck_assert_int_eq(g.log[i].kind, want[i].kind);
		ck_assert_uint_eq(g.log[i].addr, want[i].addr);
		ck_assert_uint_eq(g.log[i].value, want[i].value);
		ck_assert_uint_eq(g.log[i].count, want[i].count);
		ck_assert_uint_eq(g.log[i].size, want[i].size);
	}
	ck_assert_uint_eq(guest_cpu(&g)->gpr[R_RDX], 5);
	guest_fini(&g);
}
END_TEST

START_TEST(bus_stop_comes_after_the_instruction)
{
	static const uint64_t counts[] = { 4, 6, 7 };
	struct guest g;

	devices_guest(&g);
	g.stop_on_access = true;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_BUS);
		ck_assert_uint_eq(g.e->ops->count(g.e), counts[i]);
	}
	ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_UNTIL);
	guest_fini(&g);
}
END_TEST

/* ---- state ---- */
START_TEST(state_round_trip)
{
	struct err err = ERR_INIT;
	struct cpu_state s;
	struct guest a, b;

	START(&a, mix);
	START(&b, mix);
	guest_run_to(&a, 777);
	a.e->ops->get_state(a.e, &s);
	memcpy(b.mem.base, a.mem.base, a.mem.size);
	ck_assert_int_eq(b.e->ops->set_state(b.e, &s, &err), 0);
	ck_assert(same_state(&a, &b));
	guest_run_to(&a, 20000);
	guest_run_to(&b, 20000);
	ck_assert(same_state(&a, &b));
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

static void spoil(struct cpu_state *s, int how)
{
	switch (how) {
	case 0:
		s->cr0 &= ~1ull;
		break;
	case 1:
		s->cr0 |= 1ull << 40;
		break;
	case 2:
		s->cr4 &= ~(uint64_t)CR4_PAE;
		break;
	case 3:
		s->cr4 |= 1ull << 30;
		break;
	case 4:
		s->efer &= ~(uint64_t)EFER_LMA;
		break;
	case 5:
		s->xcr0 = 0xff;
		break;
	case 6:
		s->rflags |= 1ull << 40;
		break;
	case 7:
		s->rip = 1ull << 50;
		break;
	case 8:
		s->seg[SEG_FS].base = 1ull << 60;
		break;
	case 9:
		s->event = (struct event_state){ .valid = true, .type = 7 };
		break;
	}
}

START_TEST(impossible_states_are_refused)
{
	struct err err = ERR_INIT;
	struct cpu_state s;
	struct guest g;

	START(&g, mix);
	guest_run_to(&g, 10);
	g.e->ops->get_state(g.e, &s);
	spoil(&s, _i);
	ck_assert_int_lt(g.e->ops->set_state(g.e, &s, &err), 0);
	ck_assert_str_ne(err.text, "");
	ck_assert_int_eq(guest_run_to(&g, 20), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(g.e->ops->count(g.e), 20);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, landing, 0, sizeof(strides) / sizeof(strides[0]));
	tcase_add_test(tc, kicks_are_invisible);
	tcase_add_test(tc, kick_before_run);
	tcase_add_loop_test(tc, rep_landing, 0, sizeof(rep_points) / sizeof(rep_points[0]));
	tcase_add_test(tc, rep_landmark_that_never_comes);
	tcase_add_test(tc, mmio_has_exact_counts);
	tcase_add_test(tc, bus_stop_comes_after_the_instruction);
	tcase_add_test(tc, state_round_trip);
	tcase_add_loop_test(tc, impossible_states_are_refused, 0, 10);
}

UNIT_MAIN("soft_run", add)
