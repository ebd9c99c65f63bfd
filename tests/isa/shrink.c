/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shortest sequence that still differs, and what a person wants to see of it. */
#include "tests/isa/isa.h"

#include <stdio.h>
#include <string.h>

struct model *bench_model(const struct bench *b, const struct tcase *c)
{
	return c->counts ? b->counting : b->model;
}

unsigned bench_case(struct bench *b, const struct tcase *c, char *text, size_t n)
{
	struct outcome model;
	const struct outcome *native;
	struct err err;

	if (native_start(b->native, c, 1, &err) < 0)
		return 0;
	native = native_finish(b->native);
	if (!native)
		return 0;
	model_run(bench_model(b, c), c, &model);
	return outcome_compare(c, native, &model, text, n);
}

/* Takes instruction i out; labels keep pointing at the same instructions. */
static bool without(const struct tcase *c, unsigned i, struct tcase *out)
{
	if (c->insn[i].glued)
		return false;
	for (unsigned k = 0; k < c->n; k++) /* something else would be overwritten */
		if (c->insn[k].label_off && c->insn[k].target == (int)i)
			return false;
	*out = *c;
	for (unsigned k = i; k-- > 0 && out->insn[k].glued;)
		out->insn[k].glued = false;
	memmove(&out->insn[i], &out->insn[i + 1], (c->n - i - 1) * sizeof(c->insn[0]));
	out->n--;
	for (unsigned k = 0; k < out->n; k++)
		if (out->insn[k].target > (int)i)
			out->insn[k].target--;
	if (i == c->n - 1) {
		out->approx = APPROX_NONE;
		out->undecodable = false;
	}
	return case_layout(out) && !out->reads_undefined;
}

void shrink(struct bench *b, struct tcase *c)
{
	struct tcase smaller;
	bool again = true;

	while (again) {
		again = false;
		for (unsigned i = c->n; i-- > 0;) {
			if (!without(c, i, &smaller) || bench_case(b, &smaller, NULL, 0) == 0)
				continue;
			*c = smaller;
			again = true;
		}
	}
}

static void print_registers(const struct regs *r)
{
	static const char *const name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					      "r12", "r13", "r14", "r15" };

	for (unsigned i = 0; i < 16; i++)
		printf("  %-4s %016llx%s", name[i], (unsigned long long)r->gpr[i],
		       i % 4 == 3 ? "\n" : "");
	printf("  rflags %06llx  fs_base %llx  gs_base %llx\n", (unsigned long long)r->rflags,
	       (unsigned long long)r->fs_base, (unsigned long long)r->gs_base);
}

static void print_bytes(const char *name, unsigned i, const uint8_t *p, unsigned n)
{
	printf("  %s%u ", name, i);
	for (unsigned j = n; j-- > 0;)
		printf("%02x", p[j]);
	putchar('\n');
}

/* Registers that the disassembly names, or all of them. */
static void print_fpu(const uint8_t *fx, const char *code, bool all)
{
	char name[8];

	printf("  fcw %02x%02x fsw %02x%02x ftw %02x mxcsr %02x%02x\n", fx[1], fx[0], fx[3], fx[2],
	       fx[4], fx[25], fx[24]);
	for (unsigned i = 0; i < 8; i++)
		if (all || strstr(code, " st0") || strstr(code, " f") || strstr(code, " mm") ||
		    strstr(code, "emms"))
			print_bytes("st", i, fx + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "xmm%u", i);
		if (all || strstr(code, name) || (i == 0 && strstr(code, "blendv")))
			print_bytes("xmm", i, fx + 160 + 16 * i, 16);
	}
}

/* Prints the instructions and collects their text. */
static void print_code(const struct tcase *c, char *all, size_t n)
{
	char text[128];

	all[0] = 0;

	for (unsigned i = 0; i < c->n; i++) {
		case_text(c, i, text, sizeof(text));
		if (strlen(all) + strlen(text) + 2 < n)
			strcat(strcat(all, " "), text);
		printf("  %llx  %-44s ", (unsigned long long)(CODE_BASE + c->at[i]), text);
		for (unsigned k = 0; k < c->insn[i].len; k++)
			printf("%02x", c->insn[i].bytes[k]);
		putchar('\n');
	}
}

static void print_memory(const struct bench *b, const struct tcase *c)
{
	const uint8_t *a = native_image(b->native), *m = model_image(bench_model(b, c)),
		      *p = image_pristine();
	unsigned shown = 0;

	for (unsigned i = 0; i < IMAGE_SIZE && shown < 16; i++) {
		uint64_t addr = i < IMAGE_FAR	    ? DATA_BASE + i
				: i < IMAGE_SCRATCH ? FAR_BASE + i - IMAGE_FAR
						    : SCRATCH_BASE + i - IMAGE_SCRATCH;

		if (a[i] == m[i])
			continue;
		printf("  [%llx] was %02x host %02x soft %02x\n", (unsigned long long)addr, p[i],
		       a[i], m[i]);
		shown++;
	}
}

void report(struct bench *b, const struct tcase *c, ZydisMnemonic only, bool verbose)
{
	char text[8192], code[4096];

	printf("isa --class %s --seed %llu --count 1%s%s\n", class_name[c->cls],
	       (unsigned long long)c->seed, only ? " --only " : "",
	       only ? ZydisMnemonicGetString(only) : "");
	print_code(c, code, sizeof(code));
	bench_case(b, c, text, sizeof(text));
	fputs(text, stdout);
	print_memory(b, c);
	printf(" before:\n");
	print_registers(&c->init);
	print_fpu(c->init.fx, code, verbose);
	fflush(stdout);
}
