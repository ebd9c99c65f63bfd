/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing golden vectors of the host.
 *
 * Two kinds of questions are put to it. The tester's own cases, seed by seed: those in which the
 * model differs are kept, as they are and shrunk. And the questions of a file that exists: what
 * another processor was asked (groups sample and grid), with this processor's answers. That file
 * gives the base state, memory and mask, too, so both files have the same shape.
 *
 * Each question is asked three times; one of which an answer differs is dropped.
 */
#include "tests/isa/golden.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "base/buf.h"

#define BATCH	      256
#define ASKED	      3
#define NAMES_MAX     4096
#define LEVEL	      19
#define WINDOW_LOG    27
#define USER_END      0x7ffffffff000ull
#define FSW_AT	      2
#define MXCSR_MASK_AT 28

struct writer {
	const struct golden_options *o;
	struct bench *b;
	struct golden *asked;
	const struct golden_state *base, *mask;
	const uint8_t *memory;
	struct buf records;
	uint64_t count, dropped, by_group[GOLDEN_GROUPS];
	char *name[NAMES_MAX];
	unsigned names;
	struct golden_record question[BATCH];
	struct tcase cases[BATCH];
	size_t n;
	struct err err;
};

/* ---- pieces ---- */
static unsigned name_of(struct writer *w, const char *text)
{
	unsigned i = 0;

	while (i < w->names && strcmp(w->name[i], text) != 0)
		i++;
	if (i == w->names && i < NAMES_MAX && (w->name[i] = strdup(text)))
		w->names++;
	if (i == w->names)
		w->records.bad = true;
	return i;
}

/* The next run of bytes that differ, at or after `at`; it goes on over gaps of fewer than 4. */
static size_t next_run(const uint8_t *from, const uint8_t *to, size_t size, size_t at, size_t *len)
{
	size_t end;

	while (at < size && from[at] == to[at])
		at++;
	end = at;
	for (size_t i = at; i < size && i < end + 4; i++)
		if (from[i] != to[i])
			end = i + 1;
	*len = end - at;
	return at;
}

static void put_patch(struct buf *b, const void *from, const void *to, size_t size)
{
	size_t at = 0, len, runs = 0, last = 0;

	while ((at = next_run(from, to, size, at, &len)) < size) {
		at += len;
		runs++;
	}
	buf_put_varint(b, runs);
	for (at = 0; (at = next_run(from, to, size, at, &len)) < size; at += len, last = at) {
		buf_put_varint(b, at - last);
		buf_put_varint(b, len);
		buf_put(b, (const uint8_t *)to + at, len);
	}
}

/* `native` is the memory that the host ran with, where it is not the engine's. */
static void put_record(struct writer *w, const struct golden_record *r, const uint8_t *native)
{
	static const struct golden_state zero;
	static uint8_t masked[GOLDEN_MEMORY], nothing[GOLDEN_MEMORY];
	struct buf b = BUF_INIT;

	buf_put_u8(&b, (uint8_t)r->group);
	buf_put_u8(&b, (uint8_t)r->cls);
	buf_put_u8(&b, (uint8_t)r->flags);
	buf_put_varint(&b, r->seed);
	buf_put_varint(&b, name_of(w, r->mnemonic));
	buf_put_varint(&b, name_of(w, r->kind));
	buf_put_varint(&b, r->fields);
	put_patch(&b, w->base, &r->init, sizeof(r->init));
	put_patch(&b, w->memory, native, GOLDEN_MEMORY);
	put_patch(&b, native, r->before, GOLDEN_MEMORY);
	put_patch(&b, &r->init, &r->final, sizeof(r->final));
	put_patch(&b, native, r->after, GOLDEN_MEMORY);
	put_patch(&b, r->group == GOLDEN_GRID ? &zero : w->mask, &r->mask, sizeof(r->mask));
	for (size_t i = 0; i < GOLDEN_MEMORY; i++)
		masked[i] = r->other_code && i < CODE_SIZE ? 0 : (uint8_t)~r->unmasked[i];
	put_patch(&b, nothing, masked, GOLDEN_MEMORY);
	buf_put_blob(&w->records, b.data, b.len);
	w->records.bad |= b.bad;
	buf_free(&b);
	w->count++;
	w->by_group[r->group]++;
}

/* ---- asking ---- */
/* The case behind a question: its code is all that is not in every case. */
static bool case_of(const struct golden_record *r, const uint8_t *native, struct tcase *c)
{
	size_t first = 0, end = CODE_SIZE;

	memset(c, 0, sizeof(*c));
	while (first < CODE_SIZE && r->before[first] == 0xcc && native[first] == 0xcc)
		first++;
	while (end > first && r->before[end - 1] == 0xcc && native[end - 1] == 0xcc)
		end--;
	if (end - first > sizeof(c->code) ||
	    memcmp(native + CODE_SIZE, image_pristine(), IMAGE_SIZE) != 0)
		return false;
	c->seed = r->seed;
	c->cls = r->flags & GOLDEN_WRITABLE ? CLS_SMC : CLS_INT;
	c->m32 = r->flags & GOLDEN_M32;
	c->code_off = (uint16_t)(first < CODE_SIZE ? first : 0);
	c->code_len = (uint16_t)(end - first);
	memcpy(c->code, native + c->code_off, c->code_len);
	memcpy(c->model_code, r->before + c->code_off, c->code_len);
	memcpy(c->init.gpr, r->init.gpr, sizeof(c->init.gpr));
	memcpy(c->init.fx, r->init.fx, sizeof(r->init.fx));
	c->init.rip = r->init.rip;
	c->init.rflags = r->init.rflags;
	c->init.fs_base = r->init.fs_base;
	c->init.gs_base = r->init.gs_base;
	return true;
}

static void native_memory_of(const struct tcase *c, uint8_t *memory)
{
	memset(memory, 0xcc, CODE_SIZE);
	memcpy(memory + c->code_off, c->code, c->code_len);
	memcpy(memory + CODE_SIZE, image_pristine(), IMAGE_SIZE);
}

/* What the model makes of it, as the record says it. */
static void judge(struct writer *w, struct golden_record *r)
{
	struct golden_record bare = *r;
	struct golden_state mine;

	r->flags &= ~(GOLDEN_DIFFERED | GOLDEN_UNEQUAL);
	r->fields = golden_run(w->b->model, r, &mine);
	if (r->fields)
		r->flags |= GOLDEN_DIFFERED;
	memset(&bare.mask, 0, sizeof(bare.mask));
	if (golden_run(w->b->model, &bare, &mine))
		r->flags |= GOLDEN_UNEQUAL;
}

/* Answers to the questions that have been collected, all at once. */
static bool ask(struct writer *w)
{
	static struct outcome first[BATCH];
	static uint8_t kept[BATCH][GOLDEN_MEMORY];
	static bool steady[BATCH];
	static uint8_t native[GOLDEN_MEMORY];
	const struct outcome *out;

	for (unsigned round = 0; round < ASKED && w->n; round++) {
		if (native_start(w->b->native, w->cases, w->n, &w->err) < 0 ||
		    !(out = native_finish(w->b->native)))
			return false;
		for (size_t i = 0; i < w->n; i++) {
			const uint8_t *memory = native_kept(w->b->native, i);

			if (round == 0) {
				first[i] = out[i];
				steady[i] = out[i].status == OUT_OK;
				memcpy(kept[i], memory, GOLDEN_MEMORY);
			}
			steady[i] = steady[i] && memcmp(&first[i], &out[i], sizeof(out[i])) == 0 &&
				    memcmp(kept[i], memory, GOLDEN_MEMORY) == 0;
		}
	}
	for (size_t i = 0; i < w->n; i++) {
		struct golden_record *r = &w->question[i];

		w->dropped += !steady[i];
		if (!steady[i])
			continue;
		golden_state_of(&first[i], &r->final);
		memcpy(r->after, kept[i], GOLDEN_MEMORY);
		if (r->final.vector == 14 && r->final.cr2 >= USER_END)
			r->mask.error |= 1;		     /* Linux's */
		memset(r->mask.fx + MXCSR_MASK_AT, 0xff, 4); /* what bits it has, not what it did */
		judge(w, r);
		native_memory_of(&w->cases[i], native);
		put_record(w, r, native);
	}
	w->n = 0;
	return true;
}

static bool add(struct writer *w, const struct golden_record *r, const struct tcase *c)
{
	w->question[w->n] = *r;
	w->cases[w->n++] = *c;
	return w->n < BATCH || ask(w);
}

/* ---- the questions of a file ---- */
static bool ask_file(struct writer *w)
{
	static struct golden_record r;
	static struct tcase c;
	static uint8_t native[GOLDEN_MEMORY];
	int got;

	while ((got = golden_next(w->asked, &r, &w->err)) > 0) {
		if (r.group < GOLDEN_SAMPLE || !golden_wanted(w->o, &r))
			continue;
		memcpy(native, golden_native(w->asked), GOLDEN_MEMORY);
		if (!case_of(&r, native, &c)) {
			w->dropped++;
			continue;
		}
		r.flags &= ~GOLDEN_SKIPPED;
		if (!add(w, &r, &c))
			return false;
	}
	return got == 0 && ask(w);
}

/* ---- the tester's cases ---- */
/* Bits that the tester does not compare, where the host stopped. */
static void masks_of(struct writer *w, const struct tcase *c, const struct outcome *native,
		     struct golden_record *r)
{
	uint32_t undef = undefined_at(c, native->regs.rip);
	uint32_t conditions = undef >> UNDEF_C_SHIFT;
	uint16_t fsw = (uint16_t)((conditions & 7) << 8 | (conditions & 8) << 11);

	r->mask = *w->mask;
	r->mask.rflags |= (undef & FL_ARITH_ALL) | vendor_open_flags(native);
	r->mask.fx[FSW_AT] |= (uint8_t)fsw;
	r->mask.fx[FSW_AT + 1] |= (uint8_t)(fsw >> 8);
	memset(r->unmasked, 0xff, GOLDEN_MEMORY);
	for (unsigned i = 0; i < c->nmask; i++)
		memset(r->unmasked + CODE_SIZE + c->mask[i].off, 0, c->mask[i].len);
}

static const char *last_mnemonic(const struct tcase *c)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	if (c->n == 0 || !policy_decode(c->m32, &c->insn[c->n - 1], &ins, op))
		return "(bytes)";
	return ZydisMnemonicGetString(ins.mnemonic);
}

static bool add_case(struct writer *w, const struct tcase *c, enum golden_group group,
		     const char *kind, const char *mnemonic)
{
	static struct golden_record r;
	static struct tcase bare;
	const struct outcome *native;
	static uint8_t memory[GOLDEN_MEMORY];

	if (native_start(w->b->native, c, 1, &w->err) < 0 ||
	    !(native = native_finish(w->b->native)))
		return false;
	memset(&r, 0, sizeof(r));
	r.group = group;
	r.cls = c->cls;
	r.seed = c->seed;
	r.kind = kind;
	r.mnemonic = mnemonic;
	r.flags = (c->m32 ? GOLDEN_M32 : 0) | (c->cls == CLS_SMC ? GOLDEN_WRITABLE : 0) |
		  (c->approx == APPROX_RCP ? GOLDEN_RCP : 0) |
		  (c->approx == APPROX_X87 ? GOLDEN_X87 : 0) |
		  (c->undecodable ? GOLDEN_UNDECODABLE : 0);
	masks_of(w, c, native, &r);
	native_memory_of(c, memory);
	memcpy(r.before, memory, GOLDEN_MEMORY);
	memcpy(r.before + c->code_off, c->model_code, c->code_len);
	r.other_code = memcmp(c->code, c->model_code, c->code_len) != 0;
	if (r.other_code)
		memset(r.unmasked, 0, CODE_SIZE);
	memcpy(r.init.gpr, c->init.gpr, sizeof(r.init.gpr));
	memcpy(r.init.fx, c->init.fx, sizeof(r.init.fx));
	r.init.rip = c->init.rip;
	r.init.rflags = c->init.rflags;
	r.init.fs_base = c->init.fs_base;
	r.init.gs_base = c->init.gs_base;
	r.init.cs = w->base->cs;
	r.init.ss = w->base->ss;
	if (c->m32)
		r.init.cs = 0x23;
	return case_of(&r, memory, &bare) ? add(w, &r, &bare) : true;
}

static bool add_difference(struct writer *w, const struct tcase *c)
{
	struct tcase small = *c;
	const char *mnemonic;

	shrink(w->b, &small);
	mnemonic = last_mnemonic(&small);
	return (w->o->group >= 0 && w->o->group != GOLDEN_DIFFERS
			? true
			: add_case(w, c, GOLDEN_DIFFERS, "differs", mnemonic)) &&
	       (w->o->group >= 0 && w->o->group != GOLDEN_SHRUNK
			? true
			: add_case(w, &small, GOLDEN_SHRUNK, "shrunk", mnemonic));
}

static bool ask_cases(struct writer *w)
{
	static struct tcase cases[BATCH];
	static struct outcome model, native[BATCH];
	uint64_t seed = w->o->seed ? *w->o->seed : 1, end = seed + w->o->cases;
	const struct outcome *out;

	if (w->o->group >= GOLDEN_SAMPLE)
		return true;
	while (seed < end) {
		size_t n = 0;

		for (; n < BATCH && seed < end; seed++)
			n += case_generate(&cases[n], seed,
					   w->o->cls >= 0 ? (enum isa_class)w->o->cls
							  : (enum isa_class)(seed % CLS_COUNT),
					   ZYDIS_MNEMONIC_INVALID);
		if (n == 0)
			continue;
		if (native_start(w->b->native, cases, n, &w->err) < 0 ||
		    !(out = native_finish(w->b->native)))
			return false;
		memcpy(native, out, n * sizeof(out[0]));
		for (size_t i = 0; i < n; i++) {
			model_run(bench_model(w->b, &cases[i]), &cases[i], &model);
			if (outcome_compare(&cases[i], &native[i], &model, NULL, 0) &&
			    !add_difference(w, &cases[i]))
				return false;
		}
	}
	return ask(w);
}

/* ---- the file ---- */
static void put_processor(struct buf *b)
{
	unsigned a, v[3] = { 0 }, s = 0, brand[12] = { 0 }, max = 0, c, d;
	char text[160], vendor[13] = "", name[49] = "";

	if (__get_cpuid(0, &max, &v[0], &v[2], &v[1]))
		memcpy(vendor, v, 12);
	if (__get_cpuid(1, &s, &a, &c, &d))
		for (unsigned i = 0; i < 3; i++)
			__get_cpuid(0x80000002 + i, &brand[4 * i], &brand[4 * i + 1],
				    &brand[4 * i + 2], &brand[4 * i + 3]);
	memcpy(name, brand, 48);
	snprintf(text, sizeof(text), "%s, signature %05x, \"%s\"", vendor, s, name);
	buf_put_str(b, text);
}

static int pack(const struct buf *b, const char *path, struct err *err)
{
	size_t room = ZSTD_compressBound(b->len), n = 0;
	void *packed = malloc(room);
	ZSTD_CCtx *z = ZSTD_createCCtx();
	FILE *f;
	bool good;

	if (packed && z) {
		ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(z, ZSTD_c_enableLongDistanceMatching, 1);
		ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, WINDOW_LOG);
		ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
		n = ZSTD_compress2(z, packed, room, b->data, b->len);
	}
	ZSTD_freeCCtx(z);
	if (n == 0 || ZSTD_isError(n)) {
		free(packed);
		return err_set(err, ENOMEM, "%s: cannot be packed", path);
	}
	f = fopen(path, "wb");
	good = f && fwrite(packed, 1, n, f) == n;
	good = f && fclose(f) == 0 && good;
	free(packed);
	return good ? 0 : err_set(err, errno ? errno : EIO, "%s: cannot be written", path);
}

static int write_file(struct writer *w, const char *path)
{
	struct buf b = BUF_INIT;
	int status;

	buf_put(&b, "TWGOLD1\n", 8);
	put_processor(&b);
	buf_put_varint(&b, w->names);
	for (unsigned i = 0; i < w->names; i++)
		buf_put_str(&b, w->name[i]);
	buf_put_varint(&b, CLS_COUNT);
	buf_put_varint(&b, sizeof(*w->base));
	buf_put_varint(&b, GOLDEN_MEMORY);
	buf_put(&b, w->base, sizeof(*w->base));
	buf_put(&b, w->memory, GOLDEN_MEMORY);
	buf_put(&b, w->mask, sizeof(*w->mask));
	buf_put_varint(&b, w->count);
	buf_put(&b, w->records.data, w->records.len);
	status = b.bad || w->records.bad ? err_set(&w->err, ENOMEM, "out of memory")
					 : pack(&b, path, &w->err);
	buf_free(&b);
	return status;
}

int golden_write(struct bench *b, const char *path, const struct golden_options *o)
{
	struct writer *w = calloc(1, sizeof(*w));
	bool good = false;

	if (w && (w->asked = golden_open(o->path, &w->err))) {
		w->o = o;
		w->b = b;
		golden_base(w->asked, &w->base, &w->memory, &w->mask);
		for (unsigned i = 0; i < CLS_COUNT; i++)
			name_of(w, class_name[i]);
		good = ask_cases(w) && ask_file(w) && write_file(w, path) == 0;
	}
	if (good) {
		for (unsigned i = 0; i < GOLDEN_GROUPS; i++)
			printf("%8llu  %s\n", (unsigned long long)w->by_group[i],
			       golden_group_name[i]);
		printf("ok isa.golden.write (%llu records, %llu dropped)\n",
		       (unsigned long long)w->count, (unsigned long long)w->dropped);
	} else {
		printf("not ok isa.golden.write: %s\n",
		       w && w->err.text[0] ? w->err.text : "the native side ended early");
	}
	for (unsigned i = 0; w && i < w->names; i++)
		free(w->name[i]);
	if (w) {
		buf_free(&w->records);
		golden_close(w->asked);
	}
	free(w);
	return !good;
}

/* ---- seeds ---- */
/* Does the generator make from its seed the case that a record of group differs has? */
static bool same_case(const struct golden_record *r, const uint8_t *native)
{
	static struct tcase c;
	static uint8_t memory[GOLDEN_MEMORY];

	if (!case_generate(&c, r->seed, r->cls, ZYDIS_MNEMONIC_INVALID))
		return false;
	native_memory_of(&c, memory);
	return memcmp(memory, native, GOLDEN_MEMORY) == 0 && c.init.rip == r->init.rip &&
	       c.init.rflags == r->init.rflags && c.init.fs_base == r->init.fs_base &&
	       c.init.gs_base == r->init.gs_base &&
	       memcmp(c.init.gpr, r->init.gpr, sizeof(c.init.gpr)) == 0 &&
	       memcmp(c.init.fx, r->init.fx, sizeof(r->init.fx)) == 0;
}

int golden_seeds(const char *path)
{
	static struct golden_record r;
	struct err err = ERR_INIT;
	struct golden *g = golden_open(path, &err);
	uint64_t same = 0, others = 0;
	int got = -1;

	while (g && (got = golden_next(g, &r, &err)) > 0) {
		if (r.group != GOLDEN_DIFFERS || strcmp(r.kind, "differs") != 0)
			continue;
		if (same_case(&r, golden_native(g)))
			same++;
		else if (others++ < 5)
			printf("another case: --class %s --seed %llu\n", class_name[r.cls],
			       (unsigned long long)r.seed);
	}
	golden_close(g);
	if (got < 0)
		printf("%s\n", err.text);
	else
		printf("%llu cases, %llu other\n", (unsigned long long)(same + others),
		       (unsigned long long)others);
	return got < 0 || others || !same;
}
