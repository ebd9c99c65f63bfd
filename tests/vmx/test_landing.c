// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Landing on exact counts: the hardware behind the core is the software CPU, whose overflow
 * interrupt is made to come late, to get lost, or to lose against an exit; port I/O has to be
 * emulated; steps may deliver an event only.
 */
#include <errno.h>

#include "hypervisor/vmx/landing.h"
#include "tests/unit.h"
#include "tests/vtx/rig.h"

__asm__(".pushsection .rodata\n"
	".code16\n"
	"program:\n"
	"	xorl %edx, %edx\n"
	"	xorw %ax, %ax\n"
	"	movw %ax, %ds\n"
	"	movw %ax, %es\n"
	"	movw $handler - program + 0x8000, 6*4\n" /* #UD */
	"	movw %ax, 6*4+2\n"
	"	movw $40, %dx\n"
	"1:	movw $25, %cx\n"
	"2:	addw %cx, %bx\n"
	"	rorw %bx\n"
	"	movw %bx, 0x600(,%edx,2)\n"
	"	loop 2b\n"
	"	inb $0x10, %al\n"
	"	outb %al, $0x11\n"
	"	ud2\n"
	"	movw $0x6000, %di\n"
	"	movw $30, %cx\n"
	"	rep stosb\n"
	"	rdtsc\n"
	"	xorw %ax, %bx\n"
	"	movw %si, %dx\n"
	"	incw %si\n"
	"	movw $40, %dx\n"
	"	subw %si, %dx\n"
	"	jnz 1b\n"
	"	movl $60000, %ecx\n" /* a long way without an exit */
	"3:	incl %edi\n"
	"	.byte 0x67\n" /* address size: LOOP counts in ECX */
	"	loop 3b\n"
	"	outb %al, $0x12\n"
	"	hlt\n"
	"handler:\n"
	"	movw %sp, %bp\n"
	"	addw $2, (%bp)\n"
	"	iret\n"
	"program_end:\n"
	".code64\n"
	".popsection\n");
extern const char program[], program_end[];

#define EXITS_MAX 256
#define LOOP_END  (end_count - 2) /* count before the last OUT */

/* Counts whose next instruction is port I/O, and where HLT has retired. */
static uint64_t exit_at[EXITS_MAX], end_count;
static size_t nexits;

struct sim {
	struct rig r;
	struct landing l;
	uint64_t retired, emulated;	   /* what the counter sees, and what was emulated */
	unsigned skid_min, skid_max, lose; /* every so many overflows one is lost */
	unsigned overflows, idle;	   /* every so many steps one retires nothing */
	unsigned step_extra;		   /* a broken counter */
	uint64_t random;
	bool exited, may_pass;
};

static uint32_t draw(struct sim *s, uint32_t n)
{
	s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((s->random >> 33) % n);
}

static uint64_t sim_count(void *ctx)
{
	const struct sim *s = ctx;

	return s->retired + s->emulated;
}

static void sim_execute(struct sim *s, uint64_t n)
{
	uint64_t before = s->r.e->ops->count(s->r.e);

	rig_run(&s->r, before + n);
	s->retired += s->r.e->ops->count(s->r.e) - before;
}

static uint64_t next_exit(uint64_t count)
{
	for (size_t i = 0; i < nexits; i++)
		if (exit_at[i] >= count)
			return exit_at[i];
	return end_count;
}

static enum landing_stop sim_run(void *ctx, uint64_t distance)
{
	struct sim *s = ctx;
	uint64_t now = sim_count(s), exit = next_exit(now), overflow = UINT64_MAX;
	bool lost = distance && s->lose && ++s->overflows % s->lose == 0;

	if (distance && !lost)
		overflow = now + distance + s->skid_min + draw(s, s->skid_max - s->skid_min + 1);
	s->exited = exit <= overflow;
	sim_execute(s, (s->exited ? exit : overflow) - now);
	return s->exited ? LANDING_EXIT : LANDING_OVERFLOW;
}

static bool sim_complete(void *ctx)
{
	struct sim *s = ctx;

	ck_assert(s->exited);
	s->exited = false;
	sim_execute(s, 1);
	s->retired--;
	s->emulated++;
	return true;
}

static bool sim_step(void *ctx)
{
	struct sim *s = ctx;

	if (s->idle && draw(s, s->idle) == 0)
		return true;
	sim_execute(s, 1);
	s->retired += s->step_extra;
	return true;
}

static const struct landing_ops ops = { sim_run, sim_complete, sim_step, sim_count };

static void sim_start(struct sim *s)
{
	memset(s, 0, sizeof(*s));
	rig_start(&s->r, &soft_engine_ops, program, (size_t)(program_end - program));
	landing_init(&s->l);
	s->l.margin = LANDING_MARGIN_MIN; /* as on a host that is known */
}

/* Where the exits are; once. */
static void survey(void)
{
	struct rig r;

	rig_start(&r, &soft_engine_ops, program, (size_t)(program_end - program));
	for (uint64_t n = 0; !end_count && n < 1000000; n++) {
		uint64_t ports = r.ports;

		if (rig_run(&r, n + 1) == ENGINE_EXIT_HALT)
			end_count = n;
		if (r.ports != ports) {
			ck_assert_uint_lt(nexits, EXITS_MAX);
			exit_at[nexits++] = n;
		}
	}
	rig_stop(&r);
	ck_assert_uint_gt(nexits, 40);
	ck_assert_uint_gt(end_count, 120000);
}

static int land(struct sim *s, uint64_t target)
{
	int ret = 0;

	while (!ret && sim_count(s) < target)
		ret = landing_advance(&s->l, &ops, s, target, s->may_pass);
	return ret;
}

static void same_place(struct sim *s, struct rig *ref)
{
	struct cpu_state a, b;
	struct buf x = BUF_INIT, y = BUF_INIT;

	s->r.e->ops->get_state(s->r.e, &a);
	ref->e->ops->get_state(ref->e, &b);
	cpu_state_save(&a, &x);
	cpu_state_save(&b, &y);
	ck_assert(x.len == y.len && !memcmp(x.data, y.data, x.len));
	ck_assert(!memcmp(s->r.mem.base, ref->mem.base, RIG_MEMORY));
	buf_free(&x);
	buf_free(&y);
}

/* Lands at from, from + stride, ... each time from the start of the program. */
static void check_every(uint64_t from, uint64_t to, uint64_t stride)
{
	struct rig ref;
	struct sim s;

	rig_start(&ref, &soft_engine_ops, program, (size_t)(program_end - program));
	for (uint64_t n = from; n <= to; n += stride) {
		sim_start(&s);
		s.random = n;
		s.skid_max = 200;
		s.idle = 7;
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_eq(sim_count(&s), n);
		rig_run(&ref, n);
		same_place(&s, &ref);
		ck_assert_uint_ge(s.l.landings, 1);
		rig_stop(&s.r);
	}
	rig_stop(&ref);
}

START_TEST(every_count)
{
	survey();
	check_every(1, 600, 1);
	check_every(exit_at[nexits - 2] - 5, exit_at[nexits - 2] + 200, 1);
}
END_TEST

START_TEST(counts_far_apart)
{
	survey();
	check_every(end_count - 1009 * 40, end_count, 1009);
}
END_TEST

/* One machine that lands again and again, as one that is replayed. */
START_TEST(random_counts)
{
	struct rig ref;
	struct sim s;
	uint64_t n = 0;

	survey();
	sim_start(&s);
	rig_start(&ref, &soft_engine_ops, program, (size_t)(program_end - program));
	s.skid_max = 120;
	s.idle = 5;
	while (n + 3000 < end_count) {
		n += 1 + draw(&s, 2500);
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_eq(sim_count(&s), n);
		rig_run(&ref, n);
		same_place(&s, &ref);
	}
	ck_assert_uint_gt(s.emulated, 30);
	ck_assert_uint_gt(s.l.overflows, 20);
	ck_assert_uint_le(s.l.skid_max, 120);
	ck_assert_uint_eq(s.l.margin, 2 * LANDING_MARGIN_MIN); /* four times the longest skid */
	rig_stop(&s.r);
	rig_stop(&ref);
}
END_TEST

START_TEST(skid_is_measured)
{
	struct sim s;
	uint64_t sum = 0;

	survey();
	sim_start(&s);
	s.skid_min = s.skid_max = 100;
	for (uint64_t n = exit_at[nexits - 2] + 1000; n < LOOP_END; n += 1000)
		ck_assert_int_eq(land(&s, n), 0);
	for (unsigned b = 0; b < LANDING_BUCKETS; b++)
		sum += s.l.skid[b];
	ck_assert_uint_gt(sum, 50);
	ck_assert_uint_eq(sum, s.l.overflows);
	ck_assert_uint_eq(s.l.skid_max, 100);
	ck_assert_uint_ge(s.l.skid[7],
			  s.l.overflows - 2); /* 64 to 127; before, exits cut some short */
	rig_stop(&s.r);
}
END_TEST

START_TEST(margin_grows_with_skid)
{
	static const struct {
		unsigned skid;
		uint64_t margin;
	} row[] = { { 128, 256 },
		    { 129, 512 },
		    { 400, 1024 },
		    { 1000, 2048 },
		    { 2000, 4096 },
		    { 4090, 8192 },
		    { 8000, LANDING_MARGIN_MAX } };
	struct sim s;
	uint64_t n;

	survey();
	sim_start(&s);
	n = exit_at[nexits - 2] + 1;
	ck_assert_int_eq(land(&s, n), 0);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		s.skid_min = s.skid_max = row[i].skid;
		n += 12000;
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_eq(s.l.margin, row[i].margin);
	}
	s.skid_min = s.skid_max = 8192;
	ck_assert_int_eq(land(&s, n + 12000), -EOVERFLOW);
	rig_stop(&s.r);
}
END_TEST

/* Wide at first; what the host needs when it has been seen; wider again for what comes then. */
START_TEST(margin_is_learnt)
{
	struct sim s;
	uint64_t n;

	survey();
	sim_start(&s);
	landing_init(&s.l);
	s.skid_min = s.skid_max = 120;
	n = exit_at[nexits - 2] + 1;
	while (s.l.overflows < LANDING_LEARNT) {
		ck_assert_uint_eq(s.l.margin, LANDING_MARGIN_FIRST);
		n += 2200;
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_lt(n, LOOP_END);
	}
	ck_assert_uint_eq(s.l.margin, 512);
	s.skid_min = s.skid_max = 300;
	ck_assert_int_eq(land(&s, n + 1000), 0);
	ck_assert_uint_eq(s.l.margin, 1024);
	rig_stop(&s.r);
}
END_TEST

/* Quiet overflows do not make a machine forget what the host has been seen to do. */
START_TEST(measured_skid_is_kept)
{
	struct landing measured;
	struct sim s;
	uint64_t n;

	survey();
	landing_init(&measured);
	measured.skid_max = 300;
	measured.margin = 2048;
	sim_start(&s);
	landing_init(&s.l);
	landing_know(&s.l, &measured);
	n = exit_at[nexits - 2] + 1;
	while (s.l.overflows < LANDING_LEARNT) {
		n += 2200;
		ck_assert_int_eq(land(&s, n), 0);
	}
	ck_assert_uint_eq(s.l.learnt, LANDING_LEARNT);
	ck_assert_uint_eq(s.l.margin, 2048);
	ck_assert_uint_eq(s.l.skid_max, 300);
	s.skid_min = s.skid_max = 300;
	ck_assert_int_eq(land(&s, n + 5000), 0);
	ck_assert_uint_eq(sim_count(&s), n + 5000);
	rig_stop(&s.r);
}
END_TEST

/* The margin that was measured is the least, whatever the skid would do with. */
START_TEST(measured_margin_is_the_least)
{
	struct landing measured;
	struct sim s;
	uint64_t n;

	survey();
	landing_init(&measured);
	measured.skid_max = 10;
	measured.margin = 1024;
	sim_start(&s);
	landing_know(&s.l, &measured);
	n = exit_at[nexits - 2] + 1;
	while (s.l.learnt <= LANDING_LEARNT) {
		n += 1200;
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_eq(s.l.margin, 1024);
	}
	s.skid_min = s.skid_max = 600;
	ck_assert_int_eq(land(&s, n + 5000), 0);
	ck_assert_uint_eq(s.l.margin, 2048);
	rig_stop(&s.r);
}
END_TEST

/* Exits that come between where the counter was armed and its interrupt cut the skid short. */
START_TEST(exits_teach_nothing)
{
	struct sim s;

	survey();
	sim_start(&s);
	landing_init(&s.l);
	s.lose = 1;
	for (size_t i = 0; i + 1 < nexits; i++) {
		uint64_t target = sim_count(&s) + LANDING_MARGIN_FIRST + LANDING_RUN_MIN + 1;

		ck_assert_int_eq(landing_advance(&s.l, &ops, &s, target, false), 0);
		ck_assert_uint_eq(s.l.margin, LANDING_MARGIN_FIRST);
	}
	ck_assert_uint_gt(s.l.late, LANDING_LEARNT);
	ck_assert_uint_eq(s.l.overflows, s.l.late);
	ck_assert_uint_eq(s.l.learnt, 0);
	ck_assert_uint_gt(s.l.skid_max, 0);
	rig_stop(&s.r);
}
END_TEST

/*
 * A machine that runs live goes on where it came to; the place that its record names comes by a
 * step, also where the target was met in free run.
 */
START_TEST(overshoot_is_counted_where_it_may_be)
{
	struct sim s;
	uint64_t from, n;

	survey();
	for (unsigned beyond = 0; beyond < 2; beyond++) {
		sim_start(&s);
		s.may_pass = true;
		from = exit_at[nexits - 2] + 1;
		ck_assert_int_eq(land(&s, from), 0);
		s.skid_min = s.skid_max = LANDING_MARGIN_MIN + beyond;
		n = from + 5000;
		ck_assert_int_eq(land(&s, n), 0);
		ck_assert_uint_eq(sim_count(&s), n + beyond);
		ck_assert_uint_eq(s.l.overshoots, 1);
		ck_assert_uint_eq(s.l.overshoot_max, beyond);
		ck_assert_uint_eq(s.l.landings, 1); /* the one before */
		ck_assert_uint_eq(s.l.margin, 2 * LANDING_MARGIN_MIN << beyond);
		ck_assert_int_eq(land(&s, n + 5000), 0);
		ck_assert_uint_eq(sim_count(&s), n + 5000);
		ck_assert_uint_eq(s.l.overshoots, 1);
		ck_assert_uint_eq(s.l.landings, 2);
		rig_stop(&s.r);
	}
}
END_TEST

/*
 * Beyond the target, and exactly at it: in free run that is no boundary that a landmark can name.
 */
START_TEST(overshoot_is_an_error)
{
	struct sim s;

	survey();
	for (unsigned skid = LANDING_MARGIN_MIN; skid < LANDING_MARGIN_MIN + 2; skid++) {
		sim_start(&s);
		land(&s, exit_at[nexits - 2] + 1);
		s.skid_min = s.skid_max = skid;
		ck_assert_int_eq(land(&s, exit_at[nexits - 2] + 5000), -EOVERFLOW);
		ck_assert_ptr_nonnull(strstr(s.l.error, "past the count"));
		rig_stop(&s.r);
	}
	sim_start(&s);
	land(&s, exit_at[nexits - 2] + 1);
	s.skid_min = s.skid_max = LANDING_MARGIN_MIN - 1;
	ck_assert_int_eq(land(&s, exit_at[nexits - 2] + 5000), 0);
	rig_stop(&s.r);
}
END_TEST

START_TEST(lost_overflow_is_an_error)
{
	struct sim s;

	survey();
	sim_start(&s);
	land(&s, exit_at[nexits - 2] + 1);
	s.lose = 1;
	ck_assert_int_eq(land(&s, exit_at[nexits - 2] + 5000), -EOVERFLOW);
	ck_assert_uint_gt(sim_count(&s), exit_at[nexits - 2] + 5000);
	rig_stop(&s.r);
}
END_TEST

/* A lost interrupt does no harm where an exit comes within the margin. */
START_TEST(exit_stands_in_for_overflow)
{
	struct sim s;
	uint64_t n;

	survey();
	sim_start(&s);
	land(&s, exit_at[nexits - 2] + 1);
	s.lose = 1;
	n = LOOP_END + 100; /* the program ends before that */
	ck_assert_int_eq(landing_advance(&s.l, &ops, &s, n, false), 0);
	ck_assert_uint_eq(sim_count(&s), LOOP_END + 1);
	ck_assert_uint_eq(s.l.late, 1);
	ck_assert_uint_eq(s.l.skid_max, LANDING_MARGIN_MIN - 100);
	rig_stop(&s.r);
}
END_TEST

START_TEST(wrong_counter_is_an_error)
{
	struct sim s;

	survey();
	sim_start(&s);
	s.step_extra = 1;
	ck_assert_int_eq(land(&s, 3), -EPROTO);
	ck_assert_ptr_nonnull(strstr(s.l.error, "not exact"));
	rig_stop(&s.r);
}
END_TEST

START_TEST(without_target_only_exits_stop)
{
	struct sim s;

	survey();
	sim_start(&s);
	s.lose = 1;
	for (size_t i = 0; i < nexits; i++)
		ck_assert_int_eq(landing_advance(&s.l, &ops, &s, UINT64_MAX, false), 0);
	ck_assert_uint_eq(sim_count(&s), exit_at[nexits - 1] + 1);
	ck_assert_uint_eq(s.emulated, nexits);
	ck_assert_uint_eq(s.l.steps, 0);
	rig_stop(&s.r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, every_count);
	tcase_add_test(tc, counts_far_apart);
	tcase_add_test(tc, random_counts);
	tcase_add_test(tc, skid_is_measured);
	tcase_add_test(tc, margin_grows_with_skid);
	tcase_add_test(tc, margin_is_learnt);
	tcase_add_test(tc, measured_skid_is_kept);
	tcase_add_test(tc, measured_margin_is_the_least);
	tcase_add_test(tc, exits_teach_nothing);
	tcase_add_test(tc, overshoot_is_counted_where_it_may_be);
	tcase_add_test(tc, overshoot_is_an_error);
	tcase_add_test(tc, lost_overflow_is_an_error);
	tcase_add_test(tc, exit_stands_in_for_overflow);
	tcase_add_test(tc, wrong_counter_is_an_error);
	tcase_add_test(tc, without_target_only_exits_stop);
}

UNIT_MAIN("landing", add_tests)
