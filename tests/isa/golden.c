/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a file of golden vectors. Nothing in it is trusted: lengths are held against what is
 * left. */
#include "tests/isa/golden.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#define MAGIC	   "TWGOLD1\n"
#define MAGIC_SIZE 8
#define NAMES_MAX  4096
#define PACKED_MAX (256ull << 20)
#define FILE_MAX   (1ull << 30) /* unpacked */

const char *const golden_group_name[GOLDEN_GROUPS] = { "differs", "shrunk", "sample", "grid" };

const char *const golden_field_name[GF_COUNT] = {
	"vector",      "error", "cr2", "gpr", "rip",	"flags", "rf",
	"other-flags", "bases", "fcw", "fsw", "ftw",	"st",	 "mxcsr",
	"xmm",	       "fop",	"fip", "fdp", "memory", "cs-ss", "lost",
};

struct golden {
	char path[512];
	uint8_t *data;
	size_t size, at;
	size_t end; /* of the record that is being read; else the size */
	char *processor, **name;
	uint64_t names, left, count;
	struct golden_state base, mask;
	const uint8_t *memory;
	uint8_t native[GOLDEN_MEMORY];
	const char *wrong; /* what should have been at `at` */
};

static const uint8_t nothing[GOLDEN_MEMORY];

/* ---- pieces ---- */
/* Remembers the first thing that is wrong; all that is read afterwards is 0. */
static void wrong(struct golden *g, const char *what)
{
	if (!g->wrong)
		g->wrong = what;
}

static const uint8_t *take(struct golden *g, uint64_t n, const char *what)
{
	const uint8_t *p = g->data + g->at;

	if (g->wrong || n > g->end - g->at) {
		wrong(g, what);
		return NULL;
	}
	g->at += n;
	return p;
}

static unsigned take_byte(struct golden *g, unsigned limit, const char *what)
{
	const uint8_t *p = take(g, 1, what);

	if (p && *p >= limit) {
		g->at--;
		wrong(g, what);
	}
	return g->wrong ? 0 : *p;
}

/* LEB128 without sign. */
static uint64_t take_var(struct golden *g, const char *what)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *p = take(g, 1, what);

		if (!p)
			return 0;
		if (shift == 63 && *p > 1)
			break;
		v |= (uint64_t)(*p & 127) << shift;
		if (*p < 128)
			return v;
	}
	wrong(g, what);
	return 0;
}

static char *take_text(struct golden *g, const char *what)
{
	uint64_t n = take_var(g, what);
	const uint8_t *p = take(g, n, what);
	char *text = p ? strndup((const char *)p, n) : NULL;

	if (p && !text)
		wrong(g, "memory for a name");
	return text;
}

static const char *take_name(struct golden *g, const char *what)
{
	uint64_t i = take_var(g, what);

	if (!g->wrong && i < g->names)
		return g->name[i];
	wrong(g, what);
	return "";
}

/* Runs of bytes that replace those of `to`. */
static void take_patch(struct golden *g, void *to, size_t size, const char *what)
{
	uint64_t at = 0;

	for (uint64_t runs = take_var(g, what); runs > 0 && !g->wrong; runs--) {
		uint64_t skip = take_var(g, what), n = take_var(g, what);
		const uint8_t *p = take(g, n, what);

		if (!p || skip > size - at || n > size - at - skip) {
			wrong(g, what);
			return;
		}
		memcpy((uint8_t *)to + at + skip, p, n);
		at += skip + n;
	}
}

/* ---- the file ---- */
static int damaged(const struct golden *g, struct err *err)
{
	return err_set(err, EINVAL, "%s: damaged at offset %zu of what is unpacked: %s expected",
		       g->path, g->at, g->wrong);
}

static uint8_t *read_file(const char *path, size_t *size, struct err *err)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = NULL;
	long n = -1;

	if (f && fseek(f, 0, SEEK_END) == 0)
		n = ftell(f);
	if (n >= 0 && (uint64_t)n <= PACKED_MAX && fseek(f, 0, SEEK_SET) == 0)
		p = malloc((size_t)n + 1);
	if (!p || fread(p, 1, (size_t)n, f) != (size_t)n) {
		err_set(err, errno ? errno : EIO, "%s: cannot be read", path);
		free(p);
		p = NULL;
	}
	if (f)
		fclose(f);
	*size = (size_t)n;
	return p;
}

static int unpack(struct golden *g, struct err *err)
{
	size_t packed, n;
	uint8_t *p = read_file(g->path, &packed, err);
	unsigned long long size;

	if (!p)
		return -err->code;
	size = ZSTD_getFrameContentSize(p, packed);
	if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > FILE_MAX) {
		free(p);
		return err_set(err, EINVAL,
			       "%s: no frame of zstd that says its size and stays below 1 GiB",
			       g->path);
	}
	g->data = malloc(size + 1);
	n = g->data ? ZSTD_decompress(g->data, size, p, packed) : 0;
	free(p);
	if (!g->data)
		return err_set(err, ENOMEM, "out of memory");
	if (ZSTD_isError(n))
		return err_set(err, EINVAL, "%s: %s", g->path, ZSTD_getErrorName(n));
	g->size = g->end = n;
	return 0;
}

static void take_names(struct golden *g)
{
	g->names = take_var(g, "the number of names");
	if (g->names > NAMES_MAX) {
		g->names = 0;
		wrong(g, "at most 4096 names");
	}
	g->name = calloc(NAMES_MAX, sizeof(g->name[0]));
	for (uint64_t i = 0; g->name && i < g->names; i++)
		g->name[i] = take_text(g, "a name");
}

/* The classes of this tester, in its order: a record's class is a number. */
static void take_classes(struct golden *g)
{
	for (unsigned i = 0; i < CLS_COUNT && !g->wrong; i++)
		if (i >= g->names || strcmp(g->name[i], class_name[i]) != 0)
			wrong(g, "the names of the tester's classes");
	if (take_var(g, "the number of classes") != CLS_COUNT)
		wrong(g, "22 classes");
}

static void take_header(struct golden *g)
{
	const uint8_t *p = take(g, MAGIC_SIZE, "TWGOLD1");

	if (p && memcmp(p, MAGIC, MAGIC_SIZE) != 0) {
		g->at = 0;
		wrong(g, "TWGOLD1");
	}
	g->processor = take_text(g, "the processor's name");
	take_names(g);
	take_classes(g);
	if (take_var(g, "the size of a state") != sizeof(g->base))
		wrong(g, "states of 648 bytes");
	if (take_var(g, "the size of memory") != GOLDEN_MEMORY)
		wrong(g, "32768 bytes of memory");
	if ((p = take(g, sizeof(g->base), "the base state")))
		memcpy(&g->base, p, sizeof(g->base));
	g->memory = take(g, GOLDEN_MEMORY, "the base memory");
	if ((p = take(g, sizeof(g->mask), "the base mask")))
		memcpy(&g->mask, p, sizeof(g->mask));
	g->count = g->left = take_var(g, "the number of records");
}

struct golden *golden_open(const char *path, struct err *err)
{
	struct golden *g = calloc(1, sizeof(*g));

	if (!g) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	snprintf(g->path, sizeof(g->path), "%s", path);
	if (unpack(g, err) < 0) {
		golden_close(g);
		return NULL;
	}
	take_header(g);
	if (g->wrong) {
		damaged(g, err);
		golden_close(g);
		return NULL;
	}
	return g;
}

void golden_close(struct golden *g)
{
	if (!g)
		return;
	for (uint64_t i = 0; g->name && i < g->names; i++)
		free(g->name[i]);
	free(g->name);
	free(g->processor);
	free(g->data);
	free(g);
}

const char *golden_processor(const struct golden *g)
{
	return g->processor;
}

uint64_t golden_count(const struct golden *g)
{
	return g->count;
}

void golden_base(const struct golden *g, const struct golden_state **state, const uint8_t **memory,
		 const struct golden_state **mask)
{
	*state = &g->base;
	*memory = g->memory;
	*mask = &g->mask;
}

const uint8_t *golden_native(const struct golden *g)
{
	return g->native;
}

/* ---- records ---- */
static void take_head(struct golden *g, struct golden_record *r)
{
	r->group = (enum golden_group)take_byte(g, GOLDEN_GROUPS, "a group");
	r->cls = (enum isa_class)take_byte(g, CLS_COUNT, "a class");
	r->flags = take_byte(g, 256, "flags");
	r->seed = take_var(g, "a seed");
	r->mnemonic = take_name(g, "a mnemonic");
	r->kind = take_name(g, "a kind");
	r->fields = (uint32_t)take_var(g, "fields");
}

static void take_patches(struct golden *g, struct golden_record *r)
{
	size_t at;

	r->init = g->base;
	memcpy(r->before, g->memory, GOLDEN_MEMORY);
	take_patch(g, &r->init, sizeof(r->init), "a patch of the initial state");
	take_patch(g, r->before, GOLDEN_MEMORY, "a patch of the initial memory");
	memcpy(r->after, r->before, GOLDEN_MEMORY);
	memcpy(g->native, r->before, GOLDEN_MEMORY);
	at = g->at;
	take_patch(g, r->before, GOLDEN_MEMORY, "a patch of the engine's memory");
	r->other_code = !g->wrong && g->data[at] != 0;
	r->final = r->init;
	take_patch(g, &r->final, sizeof(r->final), "a patch of the final state");
	take_patch(g, r->after, GOLDEN_MEMORY, "a patch of the final memory");
	r->mask = r->group == GOLDEN_GRID ? (struct golden_state){ 0 } : g->mask;
	take_patch(g, &r->mask, sizeof(r->mask), "a patch of the state's mask");
	memcpy(r->unmasked, nothing, GOLDEN_MEMORY);
	take_patch(g, r->unmasked, GOLDEN_MEMORY, "a patch of memory's mask");
	for (size_t i = 0; i < GOLDEN_MEMORY; i++)
		r->unmasked[i] = (uint8_t)~r->unmasked[i];
	if (r->other_code)
		memset(r->unmasked, 0, CODE_SIZE);
}

int golden_next(struct golden *g, struct golden_record *r, struct err *err)
{
	uint64_t size;

	if (g->left == 0 && g->at != g->size)
		wrong(g, "the end of the file");
	if (g->left == 0 && !g->wrong)
		return 0;
	r->offset = g->at;
	size = take_var(g, "the size of a record");
	if (size > g->size - g->at)
		wrong(g, "a record that ends within the file");
	if (!g->wrong)
		g->end = g->at + size;
	take_head(g, r);
	take_patches(g, r);
	if (!g->wrong && g->at != g->end)
		wrong(g, "the end of a record");
	if (g->wrong)
		return damaged(g, err);
	g->end = g->size;
	g->left--;
	return 1;
}

/* ---- fields ---- */
static bool any(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return true;
	return false;
}

uint32_t golden_fields(const struct golden_state *d)
{
	const uint8_t *fx = d->fx;
	uint32_t f = 0;

	f |= (uint32_t)(d->vector != 0) << GF_VECTOR | (uint32_t)(d->error != 0) << GF_ERROR |
	     (uint32_t)(d->cr2 != 0) << GF_CR2 | (uint32_t)any(d->gpr, sizeof(d->gpr)) << GF_GPR |
	     (uint32_t)(d->rip != 0) << GF_RIP |
	     (uint32_t)((d->rflags & FL_ARITH_ALL) != 0) << GF_FLAGS |
	     (uint32_t)(d->rflags >> 16 & 1) << GF_RF |
	     (uint32_t)((d->rflags & ~(uint64_t)(FL_ARITH_ALL | 0x10000)) != 0) << GF_OTHER_FLAGS |
	     (uint32_t)(d->fs_base || d->gs_base) << GF_BASES |
	     (uint32_t)(d->cs || d->ss) << GF_SEGMENTS;
	return f | (uint32_t)any(fx, 2) << GF_FCW | (uint32_t)any(fx + 2, 2) << GF_FSW |
	       (uint32_t)any(fx + 4, 2) << GF_FTW | (uint32_t)any(fx + 6, 2) << GF_FOP |
	       (uint32_t)any(fx + 8, 8) << GF_FIP | (uint32_t)any(fx + 16, 8) << GF_FDP |
	       (uint32_t)any(fx + 24, 8) << GF_MXCSR | (uint32_t)any(fx + 32, 128) << GF_ST |
	       (uint32_t)any(fx + 160, 256) << GF_XMM |
	       (uint32_t)any(fx + 416, sizeof(d->fx) - 416) << GF_XMM;
}
