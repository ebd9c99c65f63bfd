/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine against golden vectors: each record runs on it and is held against what the processor
 * did, under the record's mask.
 *
 * What is left out besides the mask:
 * - x87 transcendental instructions have their error, as everywhere in the tester. How often the
 * last bit or C1 differs is counted, on machine versions 1 and 2, and may not grow (docs/cpu.md).
 * - The last bytes of a case that no manual knows: a later processor may have an instruction there.
 * - FDP where the processor kept it: one with CPUID.7:EBX bit 6 writes it with an unmasked
 * exception only. The model does not have that bit, so it always writes it.
 */
#include "tests/isa/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINES_MAX   256 /* result lines: classes and kinds */
#define SORTS_MAX   2048
#define X87_ROUNDED 0x222u /* C1, PE and DE: which way, and in which order, the last bit came */
#define FSW_AT	    2
#define FDP_AT	    16
#define ST_AT	    32

/* A result line. */
struct tally {
	const char *group, *name;
	uint64_t records, differ;
};

/* Differences of one sort: the same instruction, in the same fields. */
struct sort {
	const char *line, *mnemonic;
	uint32_t fields;
	uint64_t count, seed;
};

/*
 * Records of x87 transcendental instructions that differ from Intel's core in the last place or in
 * C1, on machine versions 1 and 2: known so far, and found.
 */
struct last_place {
	const char *mnemonic;
	unsigned known[2], found[2];
};

static const struct last_place last_places[] = {
	{ "f2xm1", { 3, 3 }, { 0 } },  { "fcos", { 14, 10 }, { 0 } },
	{ "fpatan", { 2, 2 }, { 0 } }, { "fptan", { 8, 8 }, { 0 } },
	{ "fsin", { 10, 9 }, { 0 } },  { "fsincos", { 13, 9 }, { 0 } },
	{ "fyl2x", { 3, 3 }, { 0 } },  { "fyl2xp1", { 24, 14 }, { 0 } },
};

#define LAST_PLACES (sizeof(last_places) / sizeof(last_places[0]))

struct run {
	const struct golden_options *o;
	struct model *model, *later; /* machine versions 1 and 2 */
	struct last_place last[LAST_PLACES];
	unsigned transcendental; /* such records */
	struct tally tally[LINES_MAX];
	unsigned tallies;
	struct sort sort[SORTS_MAX];
	unsigned sorts, reports;
};

/* ---- comparing ---- */
void golden_state_of(const struct outcome *o, struct golden_state *s)
{
	*s = (struct golden_state){ .rip = o->regs.rip,
				    .rflags = o->regs.rflags,
				    .fs_base = o->regs.fs_base,
				    .gs_base = o->regs.gs_base,
				    .cs = o->cs,
				    .ss = o->ss,
				    .vector = o->vector,
				    .error = o->error,
				    .cr2 = o->vector == 14 ? o->cr2 : 0 };
	memcpy(s->gpr, o->regs.gpr, sizeof(s->gpr));
	memcpy(s->fx, o->regs.fx, sizeof(s->fx));
}

static void pardon_x87(const struct golden_record *r, const struct golden_state *mine,
		       struct golden_state *d)
{
	uint16_t fsw;

	for (unsigned i = 0; i < 8; i++) {
		const unsigned at = ST_AT + 16 * i;

		if (x87_close(r->final.fx + at, mine->fx + at))
			memset(d->fx + at, 0, 10);
	}
	memcpy(&fsw, d->fx + FSW_AT, 2);
	fsw &= (uint16_t)~X87_ROUNDED;
	memcpy(d->fx + FSW_AT, &fsw, 2);
}

/* What differs, as bits of enum golden_field. */
static uint32_t compare(const struct golden_record *r, const struct outcome *out,
			const uint8_t *memory, struct golden_state *mine)
{
	struct golden_state d;
	uint32_t fields;

	golden_state_of(out, mine);
	if (out->status != OUT_OK)
		return 1u << GF_LOST;
	if ((r->flags & GOLDEN_UNDECODABLE) && out->vector == 6 && r->final.vector != 6)
		return 0;
	for (size_t i = 0; i < sizeof(d); i++)
		((uint8_t *)&d)[i] =
			(uint8_t)((((const uint8_t *)mine)[i] ^ ((const uint8_t *)&r->final)[i]) &
				  ~((const uint8_t *)&r->mask)[i]);
	if ((r->flags & GOLDEN_X87) || strcmp(r->kind, "x87-transcendental") == 0)
		pardon_x87(r, mine, &d);
	if (memcmp(r->init.fx + FDP_AT, r->final.fx + FDP_AT, 8) == 0)
		memset(d.fx + FDP_AT, 0, 8);
	fields = golden_fields(&d);
	for (size_t i = 0; i < GOLDEN_MEMORY; i++)
		if ((memory[i] ^ r->after[i]) & r->unmasked[i])
			return fields | 1u << GF_MEMORY;
	return fields;
}

uint32_t golden_run(struct model *m, const struct golden_record *r, struct golden_state *mine)
{
	struct regs init = { .rip = r->init.rip,
			     .rflags = r->init.rflags,
			     .fs_base = r->init.fs_base,
			     .gs_base = r->init.gs_base };
	struct outcome out;

	memcpy(init.gpr, r->init.gpr, sizeof(init.gpr));
	memcpy(init.fx, r->init.fx, sizeof(r->init.fx));
	model_run_memory(m, &init, r->flags & GOLDEN_M32, r->flags & GOLDEN_WRITABLE, r->before,
			 &out);
	return compare(r, &out, model_memory(m), mine);
}

/* ---- reports ---- */
static void print_fields(uint32_t fields)
{
	for (unsigned i = 0; i < GF_COUNT; i++)
		if (fields >> i & 1)
			printf(" %s", golden_field_name[i]);
}

static void print_name(const struct golden_record *r)
{
	printf("%s %s %llu %s %s%s%s", golden_group_name[r->group], class_name[r->cls],
	       (unsigned long long)r->seed, r->kind, r->mnemonic,
	       r->flags & GOLDEN_M32 ? " m32" : "", r->flags & GOLDEN_WRITABLE ? " writable" : "");
}

static void print_code(const struct golden_record *r)
{
	uint64_t at = r->init.rip - CODE_BASE;

	for (unsigned i = 0; i < CASE_INSNS && at < CODE_SIZE && (i == 0 || r->before[at] != 0xcc);
	     i++) {
		ZydisDisassembledInstruction d;
		size_t room = CODE_SIZE - at < 15 ? CODE_SIZE - at : 15;
		bool ok = ZYAN_SUCCESS(ZydisDisassembleIntel(
			r->flags & GOLDEN_M32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
					      : ZYDIS_MACHINE_MODE_LONG_64,
			CODE_BASE + at, r->before + at, room, &d));
		size_t len = ok ? d.info.length : room;

		printf("  %llx  %-44s ", (unsigned long long)(CODE_BASE + at),
		       ok ? d.text : "(no instruction)");
		for (size_t k = 0; k < len; k++)
			printf("%02x", r->before[at + k]);
		putchar('\n');
		at += len;
	}
}

static void print_word(const char *name, uint64_t before, uint64_t golden, uint64_t mine,
		       uint64_t mask, bool all)
{
	if (!all && before == golden && golden == mine)
		return;
	printf("  %-8s before %016llx  golden %016llx  soft %016llx%s", name,
	       (unsigned long long)before, (unsigned long long)golden, (unsigned long long)mine,
	       (golden ^ mine) & ~mask ? " !" : "");
	if (mask)
		printf("  (not compared: %llx)", (unsigned long long)mask);
	putchar('\n');
}

static uint64_t word_at(const struct golden_state *s, size_t at, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, (const uint8_t *)s + at, n);
	return v;
}

static void print_state(const struct golden_record *r, const struct golden_state *mine, bool all)
{
	static const struct {
		const char *name;
		uint16_t at, size;
	} word[] = {
		{ "rax", 0, 8 },       { "rcx", 8, 8 },	      { "rdx", 16, 8 },
		{ "rbx", 24, 8 },      { "rsp", 32, 8 },      { "rbp", 40, 8 },
		{ "rsi", 48, 8 },      { "rdi", 56, 8 },      { "r8", 64, 8 },
		{ "r9", 72, 8 },       { "r10", 80, 8 },      { "r11", 88, 8 },
		{ "r12", 96, 8 },      { "r13", 104, 8 },     { "r14", 112, 8 },
		{ "r15", 120, 8 },     { "rip", 128, 8 },     { "rflags", 136, 8 },
		{ "fs_base", 144, 8 }, { "gs_base", 152, 8 }, { "fcw", 160, 2 },
		{ "fsw", 162, 2 },     { "ftw", 164, 2 },     { "fop", 166, 2 },
		{ "fip", 168, 8 },     { "fdp", 176, 8 },     { "mxcsr", 184, 4 },
		{ "cs", 624, 2 },      { "ss", 626, 2 },      { "vector", 628, 4 },
		{ "error", 632, 4 },   { "cr2", 640, 8 },
	};
	char name[16];

	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		print_word(word[i].name, word_at(&r->init, word[i].at, word[i].size),
			   word_at(&r->final, word[i].at, word[i].size),
			   word_at(mine, word[i].at, word[i].size),
			   word_at(&r->mask, word[i].at, word[i].size), all);
	for (unsigned i = 0; i < 48; i++) {
		size_t at = 192 + 8 * (size_t)i;

		snprintf(name, sizeof(name), "%s%u%s", i < 16 ? "st" : "xmm",
			 i < 16 ? i / 2 : i / 2 - 8, i % 2 ? ".hi" : ".lo");
		print_word(name, word_at(&r->init, at, 8), word_at(&r->final, at, 8),
			   word_at(mine, at, 8), word_at(&r->mask, at, 8), all);
	}
}

static uint64_t linear_of(size_t at)
{
	if (at < CODE_SIZE)
		return CODE_BASE + at;
	at -= CODE_SIZE;
	return at < IMAGE_FAR	    ? DATA_BASE + at
	       : at < IMAGE_SCRATCH ? FAR_BASE + at - IMAGE_FAR
				    : SCRATCH_BASE + at - IMAGE_SCRATCH;
}

static void print_memory(const struct golden_record *r, const uint8_t *mine)
{
	unsigned shown = 0;

	for (size_t i = 0; i < GOLDEN_MEMORY && shown < 32; i++) {
		if (!((r->after[i] ^ mine[i]) & r->unmasked[i]))
			continue;
		printf("  [%llx] was %02x golden %02x soft %02x !\n",
		       (unsigned long long)linear_of(i), r->before[i], r->after[i], mine[i]);
		shown++;
	}
}

static void report_record(struct run *run, const struct golden_record *r,
			  const struct golden_state *mine, uint32_t fields)
{
	print_name(r);
	printf(":");
	print_fields(fields);
	printf("  (at offset %zu)\n", r->offset);
	print_code(r);
	print_state(r, mine, run->o->verbose);
	print_memory(r, model_memory(run->model));
	fflush(stdout);
}

/* ---- counting ---- */
static struct tally *tally_of(struct run *run, const struct golden_record *r)
{
	bool grid = r->group == GOLDEN_GRID;
	const char *name = grid ? r->kind : class_name[r->cls];
	const char *group = grid ? "grid" : "cases";
	struct tally *t = run->tally;

	for (; t < run->tally + run->tallies; t++)
		if (t->group[0] == group[0] && strcmp(t->name, name) == 0)
			return t;
	if (run->tallies < LINES_MAX - 1)
		run->tallies++;
	*t = (struct tally){ .group = group, .name = name };
	return t;
}

/* True for the first of its sort. */
static bool count_sort(struct run *run, const struct golden_record *r, const struct tally *t,
		       uint32_t fields)
{
	struct sort *s = run->sort;

	for (; s < run->sort + run->sorts; s++)
		if (s->fields == fields && s->line == t->name &&
		    strcmp(s->mnemonic, r->mnemonic) == 0) {
			s->count++;
			return false;
		}
	if (run->sorts == SORTS_MAX)
		return false;
	run->sorts++;
	*s = (struct sort){ t->name, r->mnemonic, fields, 1, r->seed };
	return true;
}

static bool is_exact(const struct golden_record *r, const struct golden_state *mine)
{
	for (unsigned i = 0; i < 8; i++) {
		const unsigned at = ST_AT + 16 * i;

		if (memcmp(r->final.fx + at, mine->fx + at, 10) != 0)
			return false;
	}
	return memcmp(r->final.fx + FSW_AT, mine->fx + FSW_AT, 2) == 0;
}

static void count_last_place(struct run *run, const struct golden_record *r,
			     const struct golden_state *mine)
{
	struct golden_state later;
	struct last_place *l = run->last;

	if (strcmp(r->kind, "x87-transcendental") != 0)
		return;
	run->transcendental++;
	while (l < run->last + LAST_PLACES - 1 && strcmp(l->mnemonic, r->mnemonic) != 0)
		l++;
	golden_run(run->later, r, &later);
	l->found[0] += !is_exact(r, mine);
	l->found[1] += !is_exact(r, &later);
}

static void check(struct run *run, const struct golden_record *r)
{
	struct tally *t = tally_of(run, r);
	struct golden_state mine;
	uint32_t fields = golden_run(run->model, r, &mine);
	bool first;

	count_last_place(run, r, &mine);
	t->records++;
	if (!fields)
		return;
	t->differ++;
	first = count_sort(run, r, t, fields);
	if ((first || run->o->verbose) && run->reports < run->o->reports) {
		run->reports++;
		report_record(run, r, &mine, fields);
	} else if (run->o->list) {
		print_name(r);
		print_fields(fields);
		putchar('\n');
	}
}

bool golden_wanted(const struct golden_options *o, const struct golden_record *r)
{
	return (o->group < 0 || o->group == (int)r->group) &&
	       (o->cls < 0 || o->cls == (int)r->cls) && (!o->kind || !strcmp(o->kind, r->kind)) &&
	       (!o->mnemonic || !strcasecmp(o->mnemonic, r->mnemonic)) &&
	       (!o->seed || *o->seed == r->seed);
}

/* Judged against the core whose numbers are known; of another one they are told only. */
static bool result_of_last_place(const struct run *run, unsigned version, bool judged)
{
	unsigned sum = 0;
	bool more = false;

	for (unsigned i = 0; i < LAST_PLACES; i++) {
		sum += run->last[i].found[version];
		more |= judged && run->last[i].found[version] > run->last[i].known[version];
	}
	printf("%s isa.golden.last-place.version-%u (%u of %u", more ? "not ok" : "ok", version + 1,
	       sum, run->transcendental);
	for (unsigned i = 0; i < LAST_PLACES; i++)
		printf("%s %s %u", i ? "," : ":", run->last[i].mnemonic,
		       run->last[i].found[version]);
	puts(")");
	return more;
}

static int results(const struct run *run)
{
	int bad = 0;

	for (unsigned i = 0; i < run->sorts; i++) {
		const struct sort *s = &run->sort[i];

		printf("%7llu  %s %s, first %llu:", (unsigned long long)s->count, s->line,
		       s->mnemonic, (unsigned long long)s->seed);
		print_fields(s->fields);
		putchar('\n');
	}
	for (unsigned i = 0; i < run->tallies; i++) {
		const struct tally *t = &run->tally[i];

		bad |= t->differ != 0;
		if (t->differ)
			printf("not ok isa.golden.%s.%s: %llu of %llu records differ\n", t->group,
			       t->name, (unsigned long long)t->differ,
			       (unsigned long long)t->records);
		else
			printf("ok isa.golden.%s.%s (%llu records)\n", t->group, t->name,
			       (unsigned long long)t->records);
	}
	if (!run->tallies)
		puts("not ok isa.golden: no such record");
	return bad || !run->tallies;
}

int golden_against(struct model *m, struct model *later, const struct golden_options *o)
{
	static struct golden_record r;
	struct err err = ERR_INIT;
	struct golden *g = golden_open(o->path, &err);
	struct run *run = calloc(1, sizeof(*run));
	int status = 1, got = -1;

	if (g && run) {
		run->o = o;
		run->model = m;
		run->later = later;
		memcpy(run->last, last_places, sizeof(run->last));
		while ((got = golden_next(g, &r, &err)) > 0)
			if (golden_wanted(o, &r))
				check(run, &r);
		status = results(run);
		for (unsigned i = 0; run->transcendental && i < 2; i++)
			status |= result_of_last_place(
				run, i, strcasestr(golden_processor(g), "C06F2") != NULL);
	}
	if (got < 0) {
		printf("not ok isa.golden: %s\n", err.text[0] ? err.text : "out of memory");
		status = 1;
	}
	free(run);
	golden_close(g);
	return status;
}
