// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/agree.h"

#include <string.h>
#include <xxhash.h>

#define ENOUGH 20000000u
#define STOPS  40u /* of a whole run, at which everything is compared */
#define STRIDE 50u /* exits, or instructions */

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
	"	xorl %ebx, %ebx\n"
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
	"	fold %edx\n"
	"	movl $77, %edx\n"
	"	.byte 0xf3\n"
	"	bsrl %ecx, %edx\n"
	"	fold %edx\n"
	"	movl $0x1000, %ecx\n"
	"	.byte 0xf3\n"
	"	bsrl %ecx, %edx\n"
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
	agree_functions[], agree_arithmetic[], agree_work[], agree_end[];

static const struct program {
	const char *name, *what, *code, *end;
} programs[AGREE_PROGRAMS] = {
	{ "flags", "flags that the manuals leave undefined", agree_flags, agree_scans },
	{ "bit-scans", "F3 BSF and F3 BSR, which newer processors take for TZCNT and LZCNT",
	  agree_scans, agree_estimates },
	{ "estimates", "RCPSS and RSQRTSS", agree_estimates, agree_pointers },
	{ "x87-pointers", "the last x87 operand's address, and its segments", agree_pointers,
	  agree_functions },
	{ "x87-functions", "FSIN, FPATAN, FYL2X in the last place", agree_functions,
	  agree_arithmetic },
	{ "arithmetic", "SQRTSS and DIVSS, which IEEE 754 settles", agree_arithmetic, agree_work },
};

static int number_of(const struct engine_ops *ops, const struct program *p, struct agree *a,
		     uint32_t *number, struct err *err)
{
	struct cpu_state s;
	int ret = bench_run_program(ops, p->code, (size_t)(p->end - p->code), ENOUGH, &s, a->error,
				    err);

	if (ret == 0)
		*number = (uint32_t)s.gpr[R_RBX];
	return ret;
}

/* Registers and memory at STOPS counts, in one number. */
static int whole_run(const struct engine_ops *ops, struct agree *a, uint64_t *digest,
		     struct err *err)
{
	struct bench b;
	struct cpu_state s;
	int ret = bench_start(&b, ops, agree_work, (size_t)(agree_end - agree_work), err);

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
	int ret = 0;

	memset(a, 0, sizeof(*a));
	a->all = true;
	for (unsigned i = 0; i < AGREE_PROGRAMS && !ret; i++) {
		struct agree_row *r = &a->row[i];

		r->name = programs[i].name;
		r->what = programs[i].what;
		ret = number_of(&soft_interpret_engine_ops, &programs[i], a, &r->soft, err);
		if (!ret)
			ret = number_of(ops, &programs[i], a, &r->here, err);
		r->same = r->soft == r->here;
		a->all &= r->same;
	}
	return ret ? ret : repeat(ops, repeats, a, err);
}
