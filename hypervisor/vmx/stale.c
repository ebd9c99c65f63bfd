// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/stale.h"

#include <string.h>

#define ENOUGH	  2000000u /* instructions, and exits */
#define STATS_MAX 64

/*
 * In 64-bit mode with the tables of bench.h: the entry of page n is at 4000h + 8n. Each leaves its
 * number in EBX and ends with HLT.
 */
__asm__(".pushsection .rodata\n"
	".code64\n" BENCH_ASM_GATE
	/* A page is read while it cannot be written; then it can, and the entry is not flushed. */
	"stale_faults:\n"
	"	gate 14, 2f\n"
	"	xorl %ebx, %ebx\n"
	"	movl $2000, %esi\n"
	"1:	movl %esi, %edi\n"
	"	andl $15, %edi\n"
	"	movl %edi, %ebp\n"
	"	shll $12, %ebp\n"
	"	addl $0x40000, %ebp\n"
	"	andb $0xfd, 0x4200(,%rdi,8)\n"
	"	invlpg (%rbp)\n"
	"	movl (%rbp), %eax\n"
	"	orb $2, 0x4200(,%rdi,8)\n"
	"	incl (%rbp)\n"
	"	decl %esi\n"
	"	jnz 1b\n"
	"	hlt\n"
	"2:	addq $8, %rsp\n" /* only where the tables allow the access */
	"	incl %ebx\n"
	"	invlpg (%rbp)\n"
	"	iretq\n"
	/* Accessed bits that go while the translation stays, and of pages that are only guessed. */
	"stale_accessed:\n"
	"	xorl %ebx, %ebx\n"
	"	movl $64, %esi\n"
	"1:	movl $15, %edi\n"
	"2:	movl %edi, %ebp\n"
	"	shll $12, %ebp\n"
	"	movl 0x40000(%rbp), %eax\n"
	"	andb $0xdf, 0x4200(,%rdi,8)\n"
	"	decl %edi\n"
	"	jns 2b\n"
	"	movl $1000, %ecx\n"
	"3:	loop 3b\n"
	"	movl $15, %edi\n"
	"4:	movl %edi, %ebp\n"
	"	shll $12, %ebp\n"
	"	movl 0x40000(%rbp), %eax\n"
	"	movl 0x4200(,%rdi,8), %eax\n"
	"	shrl $5, %eax\n"
	"	andl $1, %eax\n"
	"	addl %eax, %ebx\n"
	"	decl %edi\n"
	"	jns 4b\n"
	"	decl %esi\n"
	"	jnz 1b\n"
	"	movl $15, %edi\n"
	"5:	andb $0xdf, 0x4280(,%rdi,8)\n"
	"	decl %edi\n"
	"	jns 5b\n"
	"	movq %cr3, %rax\n"
	"	movq %rax, %cr3\n"
	"	movl $0x9e3779b9, %r8d\n"
	"	movl $1, %r9d\n"
	"	movl $2000, %esi\n"
	"6:	imull $1103515245, %r8d, %r8d\n"
	"	addl $12345, %r8d\n"
	"	movl %r8d, %edi\n"
	"	shrl $16, %edi\n"
	"	andl $15, %edi\n"
	"	shll $12, %edi\n"
	"	addl $0x50000, %edi\n" /* one of 16 pages that nothing accesses */
	"	movl %r8d, %eax\n"
	"	shrl $24, %eax\n"
	"	andl $7, %eax\n" /* 0: nothing is accessed this time */
	"	movl $0x60000, %ebp\n"
	"	cmovz %edi, %ebp\n"
	"	.rept 4\n" /* the branch is decided late */
	"	xorl %edx, %edx\n"
	"	divl %r9d\n"
	"	.endr\n"
	"	testl %eax, %eax\n"
	"	jz 7f\n"
	"	movl (%rbp), %edx\n"
	"7:	decl %esi\n"
	"	jnz 6b\n"
	"	shll $8, %ebx\n"
	"	movl $15, %edi\n"
	"8:	movl 0x4280(,%rdi,8), %eax\n"
	"	shrl $5, %eax\n"
	"	andl $1, %eax\n"
	"	addl %eax, %ebx\n"
	"	decl %edi\n"
	"	jns 8b\n"
	"	hlt\n"
	/* What XSAVE says is in use: after it was, was made anew, was loaded by FXRSTOR. */
	"stale_xinuse:\n"
	".macro in_use\n"
	"	movl $3, %eax\n"
	"	xorl %edx, %edx\n"
	"	xsave 0x20000\n"
	"	movl 0x20200, %ecx\n"
	"	andl $3, %ecx\n"
	"	imull $0x01000193, %ebx, %ebx\n"
	"	xorl %ecx, %ebx\n"
	".endm\n"
	"	movq %cr4, %rax\n"
	"	orl $0x40000, %eax\n"
	"	movq %rax, %cr4\n"
	"	xorl %ecx, %ecx\n"
	"	xorl %edx, %edx\n"
	"	movl $3, %eax\n"
	"	xsetbv\n"
	"	movl $0x9e3779b9, %ebx\n"
	"	movl $200, %esi\n"
	"1:	fninit\n"
	"	xorps %xmm0, %xmm0\n"
	"	in_use\n"
	"	movq $0, 0x20200\n"
	"	xrstor 0x20000\n"
	"	in_use\n"
	"	fxsave 0x21000\n"
	"	fxrstor 0x21000\n"
	"	in_use\n"
	"	fld1\n"
	"	movd %esi, %xmm0\n"
	"	in_use\n"
	"	decl %esi\n"
	"	jnz 1b\n"
	"	hlt\n"
	"stale_end:\n"
	".popsection\n");

extern const char stale_faults[], stale_accessed[], stale_xinuse[], stale_end[];

static const struct {
	struct bench_program program;
	unsigned version; /* of the machine: only the first has XSAVE */
} kinds[STALE_KINDS] = {
	[STALE_FAULTS] = { { .name = "faults",
			     .code = stale_faults,
			     .end = stale_accessed,
			     .long_mode = true },
			   2 },
	[STALE_ACCESSED] = { { .name = "accessed bits",
			       .code = stale_accessed,
			       .end = stale_xinuse,
			       .long_mode = true },
			     2 },
	[STALE_XINUSE] = { { .name = "XINUSE",
			     .code = stale_xinuse,
			     .end = stale_end,
			     .long_mode = true },
			   1 },
};

static uint64_t spurious_of(const struct engine *e)
{
	struct engine_stat stats[STATS_MAX];
	size_t n = e->ops->stats(e, stats, STATS_MAX);

	for (size_t i = 0; i < n && i < STATS_MAX; i++) {
		if (!strcmp(stats[i].name, "spurious_faults"))
			return stats[i].value;
	}
	return 0;
}

static uint32_t run_once(struct bench *b, struct stale *s)
{
	enum engine_exit_kind kind = bench_run(b, ENOUGH);
	struct cpu_state end;

	if (kind != ENGINE_EXIT_HALT)
		bench_note_error(b, kind, s->error);
	b->e->ops->get_state(b->e, &end);
	return (uint32_t)end.gpr[R_RBX];
}

static int wanted(unsigned kind, uint32_t *number, struct stale *s, struct err *err)
{
	struct bench b;
	int ret = bench_start(&b, &soft_interpret_engine_ops, kinds[kind].version,
			      &kinds[kind].program, err);

	if (ret < 0)
		return ret;
	*number = run_once(&b, s);
	bench_stop(&b);
	return 0;
}

/* All runs in one VM, whose caches then hold what the run before has left. */
static int measure_kind(const struct engine_ops *ops, unsigned kind, struct stale *s,
			struct err *err)
{
	struct bench b;
	uint32_t number;
	int ret = wanted(kind, &number, s, err);

	if (!ret)
		ret = bench_start(&b, ops, kinds[kind].version, &kinds[kind].program, err);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < s->runs && !ret && !s->error[0]; i++) {
		ret = i ? bench_load(&b, &kinds[kind].program, err) : 0;
		s->differ[kind] += !ret && run_once(&b, s) != number;
	}
	s->spurious += spurious_of(b.e);
	bench_stop(&b);
	return ret;
}

int stale_measure(const struct engine_ops *ops, unsigned runs, struct stale *s, struct err *err)
{
	int ret = 0;

	*s = (struct stale){ .runs = runs };
	for (unsigned kind = 0; kind < STALE_KINDS && !ret; kind++)
		ret = measure_kind(ops, kind, s, err);
	return ret;
}
