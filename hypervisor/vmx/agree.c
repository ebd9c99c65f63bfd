// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/agree.h"

#include <string.h>
#include <xxhash.h>

#define ENOUGH	20000000u
#define STOPS	40u /* of a whole run, at which everything is compared */
#define STRIDE	50u /* exits, or instructions */
#define VERSION 2u  /* of the machine */

/* Each leaves its number in EBX and ends with HLT. SSE is switched on first. */
__asm__(".pushsection .rodata\n"
	".code16\n"
	".macro fold reg\n" /* EBX = rotate(EBX, 5) ^ reg */
	"	roll $5, %ebx\n"
	"	xorl \\reg, %ebx\n"
	".endm\n"
	".macro fold_flags\n"
	"	pushfl\n"
	"	popl %eax\n"
	"	andl $0x8d5, %eax\n"
	"	fold %eax\n"
	".endm\n"
	".macro begin\n"
	"	movl $0x9e3779b9, %ebx\n"
	"	movl %cr4, %eax\n"
	"	orl $0x200, %eax\n" /* OSFXSR */
	"	movl %eax, %cr4\n"
	"	fninit\n"
	".endm\n"
	"agree_flags:\n"
	"	begin\n"
	"	movw $200, %si\n"
	"1:	movl %esi, %edx\n"
	"	imull $0x9e3779b9, %edx\n"
	"	movl %esi, %ecx\n"
	"	shll %cl, %edx\n"
	"	fold_flags\n"
	"	rorl %cl, %edx\n"
	"	fold_flags\n"
	"	rclw %cl, %dx\n"
	"	fold_flags\n"
	"	shldw %cl, %si, %dx\n"
	"	fold_flags\n"
	"	fold %edx\n"
	"	andl $0xff00, %edx\n"
	"	fold_flags\n"
	"	movl %esi, %eax\n"
	"	mull %edx\n"
	"	fold_flags\n"
	"	bsfl %esi, %eax\n"
	"	fold_flags\n"
	"	decw %si\n"
	"	jnz 1b\n"
	"	hlt\n"
	"agree_scans:\n" /* F3 BSF is TZCNT where there is BMI1, F3 BSR LZCNT */
	"	begin\n"
	"	xorl %ecx, %ecx\n"
	"	movl $77, %edx\n"
	"	.byte 0xf3\n"
	"	bsfl %ecx, %edx\n"
	"	fold_flags\n"
	"	fold %edx\n"
	"	movl $77, %edx\n"
	"	.byte 0xf3\n"
	"	bsrl %ecx, %edx\n"
	"	fold_flags\n"
	"	fold %edx\n"
	"	movl $0x1000, %ecx\n"
	"	.byte 0xf3\n"
	"	bsrl %ecx, %edx\n"
	"	fold_flags\n"
	"	fold %edx\n"
	"	hlt\n"
	"agree_estimates:\n"
	"	begin\n"
	"	movl $0x3f800000, %ecx\n"
	"1:	movd %ecx, %xmm0\n"
	"	rcpss %xmm0, %xmm1\n"
	"	movd %xmm1, %eax\n"
	"	fold %eax\n"
	"	rsqrtss %xmm0, %xmm1\n"
	"	movd %xmm1, %eax\n"
	"	fold %eax\n"
	"	addl $0x1003, %ecx\n"
	"	cmpl $0x40800000, %ecx\n"
	"	jb 1b\n"
	"	hlt\n"
	"agree_pointers:\n" /* what FXSAVE says of the last x87 instruction and its operand */
	"	begin\n"
	"	flds 0x600\n"
	"	fxsave 0x700\n"
	"	fold 0x708\n"
	"	fold 0x70c\n"
	"	fold 0x710\n"
	"	fold 0x714\n"
	"	hlt\n"
	"agree_functions:\n"
	"	begin\n"
	"	movw $300, %si\n"
	"1:	movw %si, 0x600\n"
	"	filds 0x600\n"
	"	fsqrt\n"
	"	fsin\n"
	"	fstpt 0x700\n"
	"	fold 0x700\n"
	"	filds 0x600\n"
	"	fsqrt\n"
	"	fld1\n"
	"	fpatan\n"
	"	fstpt 0x700\n"
	"	fold 0x700\n"
	"	fld1\n"
	"	filds 0x600\n"
	"	fyl2x\n"
	"	fstpt 0x700\n"
	"	fold 0x700\n"
	"	decw %si\n"
	"	jnz 1b\n"
	"	hlt\n"
	"agree_arithmetic:\n" /* what IEEE 754 settles, as a control */
	"	begin\n"
	"	movl $0x3f800000, %ecx\n"
	"1:	movd %ecx, %xmm0\n"
	"	sqrtss %xmm0, %xmm1\n"
	"	divss %xmm0, %xmm1\n"
	"	movd %xmm1, %eax\n"
	"	fold %eax\n"
	"	addl $0x10003, %ecx\n"
	"	cmpl $0x40800000, %ecx\n"
	"	jb 1b\n"
	"	hlt\n"
	"agree_addresses:\n" /* in 64-bit mode: five levels of tables let 57 bits through */
	".code64\n"
	"	leaq 1f(%rip), %rax\n" /* gate of #GP */
	"	movw %ax, 0x50d0\n"
	"	movl $0x8e000008, 0x50d2\n"
	"	movw $0, 0x50d6\n"
	"	xorl %ebx, %ebx\n"
	"	movabsq $0x0080000000000000, %rax\n"
	"	wrfsbase %rax\n"
	"	movl $2, %ebx\n"
	"	hlt\n"
	"1:	movl $1, %ebx\n"
	"	hlt\n"
	".code16\n"
	"agree_work:\n" /* for whole runs: exits, memory, strings */
	"	movw $500, %si\n"
	"1:	inb $0x10, %al\n"
	"	rdtsc\n"
	"	shlw $4, %si\n"
	"	movl %eax, 0x4000(%esi)\n"
	"	shrw $4, %si\n"
	"	xorl %eax, %eax\n"
	"	cpuid\n"
	"	movw $0x2000, %di\n"
	"	movw $64, %cx\n"
	"	rep stosb\n"
	"	outb %al, $0x11\n"
	"	decw %si\n"
	"	jnz 1b\n"
	"	hlt\n"
	"agree_end:\n"
	".code64\n"
	".popsection\n");

extern const char agree_flags[], agree_scans[], agree_estimates[], agree_pointers[],
	agree_functions[], agree_arithmetic[], agree_addresses[], agree_work[], agree_end[];

static const struct bench_program programs[TRAITS] = {
	[TRAIT_FLAGS] = { .name = "flags", .code = agree_flags, .end = agree_scans },
	[TRAIT_BIT_SCANS] = { .name = "bit scans", .code = agree_scans, .end = agree_estimates },
	[TRAIT_ESTIMATES] = { .name = "estimates", .code = agree_estimates, .end = agree_pointers },
	[TRAIT_X87_POINTERS] = { .name = "x87 pointers",
				 .code = agree_pointers,
				 .end = agree_functions },
	[TRAIT_X87_FUNCTIONS] = { .name = "x87 functions",
				  .code = agree_functions,
				  .end = agree_arithmetic },
	[TRAIT_ARITHMETIC] = { .name = "arithmetic",
			       .code = agree_arithmetic,
			       .end = agree_addresses },
	[TRAIT_ADDRESSES] = { .name = "addresses",
			      .code = agree_addresses,
			      .end = agree_work,
			      .long_mode = true },
};

static const struct bench_program work = { .name = "work", .code = agree_work, .end = agree_end };

/* All in one VM: making one costs more than they do. */
static int run_all(struct bench *b, uint32_t number[TRAITS], char error[BENCH_ERROR],
		   struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < TRAITS && !ret; i++) {
		enum engine_exit_kind kind;
		struct cpu_state s;

		ret = bench_load(b, &programs[i], err);
		if (ret)
			break;
		kind = bench_run(b, ENOUGH);
		if (kind != ENGINE_EXIT_HALT)
			bench_note_error(b, kind, error);
		b->e->ops->get_state(b->e, &s);
		number[i] = (uint32_t)s.gpr[R_RBX];
	}
	return ret;
}

int agree_numbers(const struct engine_ops *ops, unsigned version, uint32_t number[TRAITS],
		  char error[BENCH_ERROR], struct err *err)
{
	struct bench b;
	int ret = bench_start(&b, ops, version, &programs[0], err);

	memset(number, 0, TRAITS * sizeof(number[0]));
	if (ret < 0)
		return ret;
	ret = run_all(&b, number, error, err);
	bench_stop(&b);
	return ret;
}

/* Registers and memory at STOPS counts, in one number. */
static int whole_run(const struct engine_ops *ops, struct agree *a, uint64_t *digest,
		     struct err *err)
{
	struct bench b;
	struct cpu_state s;
	int ret = bench_start(&b, ops, VERSION, &work, err);

	if (ret < 0)
		return ret;
	*digest = 0;
	for (unsigned n = 1; n <= STOPS && !a->error[0]; n++) {
		enum engine_exit_kind kind = bench_run(&b, n * STRIDE);

		if (kind != ENGINE_EXIT_UNTIL)
			bench_note_error(&b, kind, a->error);
		b.e->ops->get_state(b.e, &s);
		*digest = XXH3_64bits_withSeed(b.mem.base, BENCH_MEMORY, *digest);
		*digest = XXH3_64bits_withSeed(s.gpr, sizeof(s.gpr), *digest ^ s.rip ^ s.rflags);
	}
	bench_stop(&b);
	return 0;
}

static int repeat(const struct engine_ops *ops, unsigned repeats, struct agree *a, struct err *err)
{
	const struct engine_ops *reference = strcmp(ops->counter, "exits") == 0
						     ? &soft_exits_engine_ops
						     : &soft_interpret_engine_ops;
	uint64_t first, digest;
	int ret = whole_run(reference, a, &first, err);

	for (unsigned i = 0; i < repeats && !ret && !a->error[0]; i++) {
		ret = whole_run(ops, a, &digest, err);
		a->repeats += !ret;
		a->unsteady += !ret && digest != first;
	}
	return ret;
}

int agree_engine(const struct engine_ops *ops, unsigned repeats, struct agree *a, struct err *err)
{
	struct traits one, two;
	uint32_t here[TRAITS];
	int ret;

	memset(a, 0, sizeof(*a));
	traits_of_soft(1, &one);
	traits_of_soft(2, &two);
	ret = agree_numbers(ops, VERSION, here, a->error, err);
	a->all = true;
	for (unsigned i = 0; i < TRAITS; i++) {
		a->same[i] = here[i] == two.number[i];
		a->same_in_version_1[i] = here[i] == one.number[i];
		a->all &= a->same[i];
	}
	return ret ? ret : repeat(ops, repeats, a, err);
}
