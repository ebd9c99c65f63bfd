// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/measure.h"

#include <string.h>

#include "hypervisor/vmx/vmx.h"

#define LANDINGS 40
#define STRIDE	 20011u
#define VERSION	 2	   /* of the machine, which decides nothing here */
#define ENOUGH	 20000000u /* instructions: more than any of the programs has */

/*
 * At BENCH_CODE, in 16-bit real mode (segments 0, RSP below the code) and in 64-bit mode (bench.h
 * has the tables). Each ends with HLT.
 */
__asm__(".pushsection .rodata\n"
	".code16\n"
	"measure_loop:\n" /* no exits at all */
	"	movl $500000, %ecx\n"
	"1:	incl %eax\n"
	"	.byte 0x67\n" /* address size: LOOP counts in ECX */
	"	loop 1b\n"
	"	hlt\n"
	"measure_memory:\n" /* page by page: first writes leave the guest in the middle of an
			       instruction */
	"	movw $0x1000, %bx\n"
	"1:	movw %bx, %ds\n"
	"	movw $256, %cx\n"
	"2:	movw %cx, %si\n"
	"	shlw $4, %si\n"
	"	addw %cx, -16(%si)\n"
	"	loop 2b\n"
	"	addw $0x100, %bx\n"
	"	cmpw $0xf000, %bx\n"
	"	jne 1b\n"
	"	hlt\n"
	"measure_exits:\n" /* instructions that are emulated */
	"	movw $2000, %si\n"
	"1:	inb $0x10, %al\n"
	"	rdtsc\n"
	"	xorl %eax, %eax\n"
	"	cpuid\n"
	"	outb %al, $0x11\n"
	"	decw %si\n"
	"	jnz 1b\n"
	"	hlt\n"
	"measure_strings:\n" /* one each, however long they are and whatever interrupts them */
	"	movw $40, %dx\n"
	"	cld\n"
	"1:	movw $0x3000, %ax\n"
	"	movw %ax, %es\n"
	"	xorw %di, %di\n"
	"	movw $0xffff, %cx\n"
	"	rep stosb\n"
	"	xorw %si, %si\n"
	"	xorw %di, %di\n"
	"	movw $0x4000, %cx\n"
	"	rep movsw\n"
	"	decw %dx\n"
	"	jnz 1b\n"
	"	hlt\n"
	"measure_faults:\n" /* faults do not retire, software interrupts do */
	"	xorw %ax, %ax\n"
	"	movw %ax, %ds\n"
	"	movw $2f - measure_faults + 0x8000, 0\n"
	"	movw %ax, 2\n"
	"	movw $3f - measure_faults + 0x8000, 0x40*4\n"
	"	movw %ax, 0x40*4+2\n"
	"	movw $3000, %si\n"
	"1:	xorb %cl, %cl\n"
	"	divb %cl\n"
	"	int $0x40\n"
	"	decw %si\n"
	"	jnz 1b\n"
	"	hlt\n"
	"2:	movw %sp, %bp\n" /* #DE: skips DIV */
	"	addw $2, (%bp)\n"
	"	iret\n"
	"3:	incw %di\n"
	"	iret\n"
	".code64\n" BENCH_ASM_GATE
	"measure_paging:\n" /* a page is taken away, its fault brings it back */
	"	gate 14, 2f\n"
	"	movl $2000, %esi\n"
	"1:	movl %esi, %edi\n"
	"	andl $15, %edi\n"
	"	andb $0xfe, 0x4200(,%rdi,8)\n"
	"	movl %edi, %ebp\n"
	"	shll $12, %ebp\n"
	"	addl $0x40000, %ebp\n"
	"	invlpg (%rbp)\n"
	"	incl (%rbp)\n"
	"	testl $63, %esi\n"
	"	jnz 3f\n"
	"	movq %cr3, %rax\n"
	"	movq %rax, %cr3\n"
	"3:	decl %esi\n"
	"	jnz 1b\n"
	"	hlt\n"
	"2:	addq $8, %rsp\n"
	"	orb $1, 0x4200(,%rdi,8)\n"
	"	incl %ebx\n"
	"	iretq\n"
	"measure_calls:\n" /* user mode, and back by SYSCALL */
	"	movl $0xc0000081, %ecx\n"
	"	xorl %eax, %eax\n"
	"	movl $0x00180008, %edx\n"
	"	wrmsr\n"
	"	incl %ecx\n"
	"	leaq 2f(%rip), %rax\n"
	"	xorl %edx, %edx\n"
	"	wrmsr\n"
	"	movl $0xc0000084, %ecx\n"
	"	xorl %eax, %eax\n"
	"	wrmsr\n"
	"	movl $5000, %esi\n"
	"	leaq 1f(%rip), %rcx\n"
	"	movl $2, %r11d\n"
	"	sysretq\n"
	"1:	addl $3, %ebx\n"
	"	syscall\n"
	"	jmp 1b\n"
	"2:	decl %esi\n"
	"	jz 3f\n"
	"	incl %ebp\n"
	"	sysretq\n"
	"3:	hlt\n"
	"measure_assists:\n" /* numbers that processors hand to microcode; the x87 stack overflows
			      */
	"	fninit\n"
	"	movl $2000, %esi\n"
	"1:	movd %esi, %xmm0\n"
	"	movaps %xmm0, %xmm1\n"
	"	addss %xmm1, %xmm0\n"
	"	mulss %xmm0, %xmm1\n"
	"	sqrtss %xmm0, %xmm2\n"
	"	cvtss2sd %xmm0, %xmm3\n"
	"	divss %xmm2, %xmm0\n"
	"	movq %rsi, 0x20000\n"
	"	fldl 0x20000\n"
	"	fldl 0x20000\n"
	"	faddp\n"
	"	fstpt 0x20010\n"
	"	fldt 0x20010\n"
	"	fmul %st(0), %st\n"
	"	fstpl 0x20000\n"
	"	fldl 0x20000\n"
	"	movl $9, %ecx\n"
	"2:	fld1\n"
	"	loop 2b\n"
	"	fninit\n"
	"	decl %esi\n"
	"	jnz 1b\n"
	"	hlt\n"
	"measure_interrupts:\n" /* which come from outside, every few instructions */
	"	gate 0x40, 2f\n"
	"	movl $60000, %ecx\n"
	"	sti\n"
	"1:	incl %eax\n"
	"	pushq %rax\n"
	"	popq %rdx\n"
	"	loop 1b\n"
	"	cli\n"
	"	hlt\n"
	"2:	incl %edi\n"
	"	iretq\n"
	"measure_interrupted:\n" /* the same between two iterations of REP */
	"	gate 0x40, 2f\n"
	"	movl $60, %ebx\n"
	"	cld\n"
	"	sti\n"
	"1:	movl $0x20000, %edi\n"
	"	movl $0x10000, %ecx\n"
	"	rep stosb\n"
	"	movl $0x20000, %esi\n"
	"	movl $0x40000, %edi\n"
	"	movl $0x2000, %ecx\n"
	"	rep movsq\n"
	"	decl %ebx\n"
	"	jnz 1b\n"
	"	cli\n"
	"	hlt\n"
	"2:	incl %ebp\n"
	"	iretq\n"
	"measure_end:\n"
	".popsection\n");

extern const char measure_loop[], measure_memory[], measure_exits[], measure_strings[],
	measure_faults[], measure_paging[], measure_calls[], measure_assists[],
	measure_interrupts[], measure_interrupted[], measure_end[];

static const struct bench_program programs[MEASURE_PROGRAMS] = {
	{ .name = "loop", .code = measure_loop, .end = measure_memory },
	{ .name = "memory", .code = measure_memory, .end = measure_exits },
	{ .name = "exits", .code = measure_exits, .end = measure_strings },
	{ .name = "strings", .code = measure_strings, .end = measure_faults },
	{ .name = "faults and interrupts", .code = measure_faults, .end = measure_paging },
	{ .name = "page faults", .code = measure_paging, .end = measure_calls, .long_mode = true },
	{ .name = "system calls",
	  .code = measure_calls,
	  .end = measure_assists,
	  .long_mode = true },
	{ .name = "assists",
	  .code = measure_assists,
	  .end = measure_interrupts,
	  .long_mode = true },
	{ .name = "injected interrupts",
	  .code = measure_interrupts,
	  .end = measure_interrupted,
	  .long_mode = true,
	  .every = 2003 },
	{ .name = "interrupts inside REP",
	  .code = measure_interrupted,
	  .end = measure_end,
	  .long_mode = true,
	  .every = 5 },
};

/* ---- what is measured ---- */

static int count_to_end(const struct engine_ops *ops, const struct bench_program *p,
			struct measure *m, uint64_t *count, struct err *err)
{
	struct cpu_state s;
	int ret = bench_run_program(ops, VERSION, p, ENOUGH, &s, m->error, err);

	if (ret == 0)
		*count = s.count;
	return ret;
}

static int measure_program(const struct engine_ops *ops, unsigned repeats,
			   const struct bench_program *p, struct measure_row *row,
			   struct measure *m, struct err *err)
{
	int ret = count_to_end(&soft_interpret_engine_ops, p, m, &row->expected, err);

	row->name = p->name;
	row->interrupted = p->every;
	for (unsigned i = 0; i < repeats && !ret; i++) {
		uint64_t count = 0;
		int64_t off;

		ret = count_to_end(ops, p, m, &count, err);
		off = (int64_t)(count - row->expected);
		row->runs += !ret;
		row->wrong += off != 0;
		if (off < row->low)
			row->low = off;
		if (off > row->high)
			row->high = off;
	}
	return ret;
}

static bool same_place(struct bench *a, struct bench *b)
{
	struct cpu_state x, y;

	a->e->ops->get_state(a->e, &x);
	b->e->ops->get_state(b->e, &y);
	return x.count == y.count && x.rip == y.rip && x.rflags == y.rflags &&
	       !memcmp(x.gpr, y.gpr, sizeof(x.gpr));
}

/* Stops at counts far enough apart for the overflow to be used. */
static void land(struct measure *m, struct bench *a, struct bench *b)
{
	for (uint64_t n = 1; n <= LANDINGS && !m->error[0]; n++) {
		enum engine_exit_kind kind = bench_run(a, n * STRIDE + n % 7);

		bench_run(b, n * STRIDE + n % 7);
		m->landings++;
		if (kind != ENGINE_EXIT_UNTIL)
			bench_note_error(a, kind, m->error);
		m->missed += kind != ENGINE_EXIT_UNTIL || !same_place(a, b);
	}
}

static int start_loop(struct bench *b, const struct engine_ops *ops, struct err *err)
{
	return bench_start(b, ops, VERSION, &programs[0], err);
}

static int measure_landings(const struct engine_ops *ops, struct measure *m, struct err *err)
{
	struct bench a, b;
	int ret = start_loop(&a, ops, err);

	if (ret < 0)
		return ret;
	ret = start_loop(&b, &soft_interpret_engine_ops, err);
	if (ret == 0) {
		land(m, &a, &b);
		vmx_landing(a.e, &m->landing);
		bench_stop(&b);
	}
	bench_stop(&a);
	return ret;
}

int measure_skid(const struct engine_ops *ops, struct measure *m, struct err *err)
{
	memset(m, 0, sizeof(*m));
	return measure_landings(ops, m, err);
}

int measure_engine(const struct engine_ops *ops, unsigned repeats, struct measure *m,
		   struct err *err)
{
	int ret = 0;

	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < MEASURE_PROGRAMS && !ret; i++)
		ret = measure_program(ops, repeats, &programs[i], &m->row[i], m, err);
	if (ret == 0)
		ret = measure_landings(ops, m, err);
	m->exact = ret == 0 && !m->error[0] && !m->missed;
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++)
		m->exact &= !m->row[i].wrong;
	return ret;
}

static struct landing known_landing;

bool measure_pmu_is_exact(void)
{
	static enum { UNKNOWN, EXACT, NOT_EXACT } known;
	struct err err = ERR_INIT;
	struct measure m;

	if (known != UNKNOWN)
		return known == EXACT;
	known = !measure_engine(&vmx_pmu_engine_ops, 1, &m, &err) && m.exact ? EXACT : NOT_EXACT;
	if (known == EXACT)
		known_landing = m.landing;
	return known == EXACT;
}

const struct landing *measure_pmu_landing(void)
{
	return known_landing.margin ? &known_landing : NULL;
}
