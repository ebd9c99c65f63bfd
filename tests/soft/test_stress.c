/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block cache against none: random programs at CPL 0 that overwrite their own code through
 * several addresses, remap its pages with and without INVLPG, run through page ends, fault,
 * single-step and jump into the middle of instructions, once in cached blocks, with kicks, stops at
 * any count and the cache dropped in between, and once with every instruction fetched and decoded
 * by itself. State, memory, dirty marks, TLBs and accesses to the bus must be equal. STRESS_CASES
 * (60) and STRESS_SEED (1) for more.
 */
#include <stdlib.h>

#include "tests/unit.h"

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/run.h"
#include "tests/soft/guest.h"

#define MEMORY (4ull << 20)
/* linear: 16 pages of 4 KiB, each of which maps one of the code pages */
#define WINDOW	0x40000000ull
#define WINDOWS 16
#define CODE	0x100000ull /* physical, also reached at this linear address */
#define PAGES	8
#define PD2	0x74000ull
#define PT	0x75000ull
#define ENTRY	0x48000ull /* where snippets start: 64 offsets into the window */
#define HANDLER 0x40000ull
#define LENGTH	20000u /* instructions of a case */

/* rbx: random numbers, in rcx after this. r12 window, r13 its page table, r14 code at its other
 * address, r15 entries.
 */
#define RAND                              \
	"	imul	$1103515245, %rbx, %rbx\n" \
	"	add	$12345, %rbx\n"             \
	"	mov	%rbx, %rcx\n	shr	$16, %rcx\n"
#define JUMP                                                                \
	RAND "	and	$63, %ecx\n	mov	(%r15,%rcx,4), %edx\n	add	%r12, %rdx\n	" \
	     "jmp	*%rdx\n"
#define SPOT RAND "	and	$0x7fff, %ecx\n"

GUEST_CODE(handler, "	mov	$0x40000000, %r12d\n	mov	$0x75000, %r13d\n	mov	"
		    "$0x100000, %r14d\n"
		    "	mov	$0x48000, %r15d\n	cld\n" JUMP);

#define SNIPPETS(X)                                                                             \
	X(alu, "	add	%ebx, %eax\n	rol	$3, %rax\n	cmp	%ecx, %edx\n	"                             \
	       "jb	1f\n	"                                                                       \
	       "inc	%rdx\n"                                                                     \
	       "1:	test	%al, %al\n	jns	2f\n	xor	%ecx, %eax\n2:\n")      \
	X(loop,                                                                                 \
	  "	mov	$5, %ecx\n1:	add	%rcx, %rbp\n	dec	%ecx\n	jnz	1b\n")  \
	X(calls, "	call	1f\n	jmp	2f\n1:	sub	%rbp, %rax\n	ret\n2:\n")     \
	X(nops, "	.byte	0x66,0x0f,0x1f,0x84,0,0,0,0,0, 0x0f,0x1f,0x80,0,0,0,0, "                \
		"0x0f,0x1f,0x40,0\n")                                                           \
	X(load, SPOT "	add	(%r12,%rcx), %rax\n	sub	(%r14,%rcx), %edx\n")           \
	X(rewrite8, SPOT "	movb	(%r14,%rcx), %al\n	movb	%al, (%r14,%rcx)\n")    \
	X(rewrite64, SPOT "	mov	(%r12,%rcx), %rax\n	mov	%rax, (%r12,%rcx)\n")   \
	X(rewrite128, SPOT "	movups	(%r12,%rcx), %xmm1\n	movups	%xmm1, (%r12,%rcx)\n")  \
	X(rewrite_rep, SPOT                                                                     \
	  "	lea	(%r12,%rcx), %rsi\n	mov	%rsi, %rdi\n	mov	$90, %ecx\n"                           \
	  "	rep movsb\n	mov	$5, %ecx\n	rep movsq\n")                           \
	X(garbage, SPOT "	movb	%dl, (%r14,%rcx)\n")                                    \
	X(own_imm, "	incl	1f+1(%rip)\n1:	mov	$0, %eax\n	add	%rax, %rbp\n")  \
	X(other_imm,                                                                            \
	  "	lea	1f(%rip), %rsi\n	sub	%r12, %rsi\n	and	$0x7fff, %esi\n"                          \
	  "	incw	2(%r14,%rsi)\n	nop\n1:	mov	$0x55667788, %eax\n	add	%rax, "                     \
	  "%rbp\n")                                                                             \
	X(remap, RAND "	mov	%ecx, %edx\n	and	$15, %ecx\n	shr	$4, %edx\n	"                       \
		      "and	$7, %edx\n"                                                          \
		      "	shl	$12, %edx\n	add	$0x100003, %edx\n	mov	%rdx, "                       \
		      "(%r13,%rcx,8)\n")                                                        \
	X(remap_flush, RAND "	mov	%ecx, %edx\n	and	$15, %ecx\n	shr	$4, "                        \
			    "%edx\n	and	$7, %edx\n"                                             \
			    "	shl	$12, %edx\n	add	$0x100003, %edx\n	mov	"                       \
			    "%rdx, (%r13,%rcx,8)\n"                                             \
			    "	shl	$12, %ecx\n	invlpg	(%r12,%rcx)\n")                 \
	X(unmap, RAND "	and	$15, %ecx\n	btcq	$0, (%r13,%rcx,8)\n")                   \
	X(clean, RAND "	and	$15, %ecx\n	andq	$~0x60, (%r13,%rcx,8)\n")               \
	X(repair, "	xor	%ecx, %ecx\n1:	orq	$3, (%r13,%rcx,8)\n	inc	%ecx\n"                      \
		  "	cmp	$16, %ecx\n	jb	1b\n")                                  \
	X(cr3, "	mov	%cr3, %rax\n	mov	%rax, %cr3\n")                          \
	X(step, "	pushfq\n	orl	$0x100, (%rsp)\n	popfq\n	nop\n	nop\n") \
	X(fault, "	ud2\n")                                                                 \
	X(port, "	out	%al, $0x80\n	in	$0x81, %al\n")                          \
	X(time, "	rdtsc\n	add	%rax, %rbp\n")                                          \
	X(away, JUMP)                                                                           \
	X(astray, RAND "	and	$0xffff, %ecx\n	add	%r12, %rcx\n	jmp	*%rcx\n")

#define SNIPPET_CODE(name, text) GUEST_CODE(name, text);
SNIPPETS(SNIPPET_CODE)

#define SNIPPET_ROW(name, text) { name##_start, name##_end },
static const struct {
	const uint8_t *start, *end;
} snippets[] = { SNIPPETS(SNIPPET_ROW) };

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

/* ---- a program ---- */
/*
 * Snippets to the last byte of each page, so that all kinds of instructions go on in the next one.
 */
static void fill_code(uint8_t *code, uint32_t *entry)
{
	unsigned at = 0, n = 0, m = 32;

	memset(code, 0x90, PAGES * PAGE_SIZE);
	for (;;) {
		unsigned i = rnd(sizeof(snippets) / sizeof(snippets[0]));
		unsigned len = (unsigned)(snippets[i].end - snippets[i].start);
		uint32_t where = at + (rnd(2) ? (uint32_t)(PAGES * PAGE_SIZE) : 0);

		if (at + len > PAGES * PAGE_SIZE)
			break;
		memcpy(code + at, snippets[i].start, len);
		if (at / PAGE_SIZE != (at + len) / PAGE_SIZE)
			entry[m++ % 32 + 32] = where; /* half of the jumps go to page ends */
		else if (n < 32 || !rnd(4))
			entry[n++ < 32 ? n - 1 : rnd(32)] = where;
		at += len + rnd(3);
	}
	for (unsigned i = m; i < 64; i++)
		entry[i] = entry[32 + i % (m - 32)];
}

static void load_program(struct guest *g, const uint8_t *code, const uint32_t *entry,
			 uint64_t start)
{
	struct cpu_state s;

	guest_init(g, MEMORY);
	g->in = 0x5a;
	guest_long_mode(g, HANDLER, 0, &s);
	guest_tables(g);
	for (unsigned v = 0; v < 32; v++)
		guest_gate(g, v, HANDLER, 1);
	GUEST_LOAD(g, HANDLER, handler);
	memory_write(&g->mem, CODE, code, PAGES * PAGE_SIZE);
	memory_write(&g->mem, ENTRY, entry, 64 * sizeof(entry[0]));
	guest_poke(g, GUEST_PDPT + 8, PD2 | 7);
	guest_poke(g, PD2, PT | 7);
	for (unsigned i = 0; i < WINDOWS; i++)
		guest_poke(g, PT + 8 * i, (CODE + (i % PAGES) * PAGE_SIZE) | 3);
	guest_cpu(g)->gpr[R_RBX] = start;
}

/* ---- both ways ---- */
static bool over(const struct cpu *cpu)
{
	return cpu->halted || cpu->shutdown;
}

/* To `count` or the end, in blocks. False: the end. */
static bool run_cached(struct guest *g, uint64_t count, bool *stuck)
{
	struct cpu *cpu = guest_cpu(g);
	enum engine_exit_kind kind;

	do {
		if (!rnd(4))
			g->e->ops->kick(g->e);
		if (cpu->in_rep && cpu->count == count)
			count++; /* a kick came inside a REP instruction, where the other way has no
				    stops */
		kind = guest_run_to(
			g, rnd(2) ? count : cpu->count + rnd((uint32_t)(count - cpu->count) + 1));
		if (!rnd(50))
			block_drop_all(cpu);
	} while (!over(cpu) && kind != ENGINE_EXIT_STUCK && (cpu->count < count || cpu->in_rep));
	cpu->kicked = 0;
	*stuck = kind == ENGINE_EXIT_STUCK;
	return !over(cpu);
}

/* To `count`, and when that was the end, to the last event. */
static void run_stepped(struct guest *g, uint64_t count, bool end)
{
	struct cpu *cpu = guest_cpu(g);

	while (!over(cpu) && (cpu->count < count || (end && cpu->count == count)))
		soft_step_cpu(cpu, NULL, false);
}

/* What the host alone needs is left out, and so is what invalid entries hold. */
static bool same_entry(const struct tlb_entry *a, const struct tlb_entry *b)
{
	const uint64_t own = TLB_CLEAN | TLB_CODE;

	return a->rd == b->rd &&
	       ((a->rd & TLB_INVALID) || (a->gpa == b->gpa && (a->wr & ~own) == (b->wr & ~own)));
}

static bool same_translations(const struct cpu *a, const struct cpu *b)
{
	for (unsigned i = 0; i < TLB_SIZE; i++) {
		for (unsigned idx = 0; idx < MMU_COUNT; idx++) {
			if (!same_entry(&a->tlbs[idx][i], &b->tlbs[idx][i]))
				return false;
		}
		for (unsigned user = 0; user < 2; user++) {
			const struct itlb_entry *s = &a->itlb[user][i], *t = &b->itlb[user][i];

			if (s->tag != t->tag || (!(s->tag & TLB_INVALID) && s->gpa != t->gpa))
				return false;
		}
	}
	return true;
}

static void same_machines(struct guest *a, struct guest *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	struct cpu_state s, t;

	soft_state_get(guest_cpu(a), &s);
	soft_state_get(guest_cpu(b), &t);
	ck_assert_uint_eq(s.count, t.count);
	ck_assert_uint_eq(s.rip, t.rip);
	ck_assert_mem_eq(s.gpr, t.gpr, sizeof(s.gpr));
	cpu_state_save(&s, &x);
	cpu_state_save(&t, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.data, y.data, x.len);
	buf_free(&x);
	buf_free(&y);
	ck_assert(memcmp(a->mem.base, b->mem.base, CODE + (PAGES + 1) * PAGE_SIZE) == 0);
	ck_assert(memcmp(a->mem.dirty, b->mem.dirty, a->mem.pages) == 0);
	ck_assert_uint_eq(a->n, b->n);
	ck_assert_mem_eq(a->log, b->log, a->n * sizeof(a->log[0]));
	ck_assert(same_translations(guest_cpu(a), guest_cpu(b)));
}

static void run_case(uint64_t number)
{
	static uint8_t code[PAGES * PAGE_SIZE];
	uint32_t entry[64] = { 0 };
	struct guest a, b;
	bool going = true, stuck = false;

	seed = number * 0x9e3779b97f4a7c15ull | 1;
	fill_code(code, entry);
	load_program(&a, code, entry, number);
	load_program(&b, code, entry, number);
	while (going && !stuck && guest_cpu(&a)->count < LENGTH) {
		going = run_cached(&a, guest_cpu(&a)->count + 1 + rnd(rnd(4) ? 2000 : 20), &stuck);
		if (stuck)
			break; /* faults for ever; how many is nobody's business */
		run_stepped(&b, guest_cpu(&a)->count, !going);
		same_machines(&a, &b);
	}
	ck_assert(stuck || memcmp(a.mem.base, b.mem.base, MEMORY) == 0);
	guest_fini(&a);
	guest_fini(&b);
}

START_TEST(blocks_are_invisible)
{
	uint64_t first = unit_setting("STRESS_SEED", 1),
		 n = unit_setting("STRESS_CASES", unit_cases(60));

	for (uint64_t i = first; i < first + n; i++) {
		if (getenv("STRESS_CASES"))
			fprintf(stderr, "seed %llu\n", (unsigned long long)i);
		run_case(i);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, blocks_are_invisible);
}

UNIT_MAIN("soft_stress", add)
