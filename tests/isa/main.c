/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa: the CPU against silicon. Without options, the number of cases that `make check` wants; one
 * result line a class.
 */
#include "tests/isa/golden.h"
#include "tests/isa/isa.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "hypervisor/engine.h"

#define BATCH	       512
#define DEFAULT_CASES  600000
#define SHRINK_MAX     500
#define STOP_EVERY     8
#define GOLDEN_DEFAULT "tests/isa/golden/intel-C06F2.bin.zst"

struct options {
	uint64_t seed, count;
	int cls; /* -1: all */
	ZydisMnemonic only;
	bool verbose, endless, list, seeds;
	unsigned max_reports;
	bool one_seed;	     /* --seed was given */
	const char *against; /* golden vectors in place of the host */
	const char *golden;  /* write them here */
	const char *kind;
	int group; /* -1: all */
};

struct tally {
	uint64_t cases, failed, timeouts, broken, faults;
};

/* Failures after shrinking, by the instruction that ends the sequence. */
struct failures {
	unsigned shrunk, reports;
	unsigned by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

static int usage(void)
{
	fputs("usage: isa [--seed N] [--count N] [--class NAME] [--only MNEMONIC] [--reports N] "
	      "[--endless] [--verbose]\n"
	      "       isa --against FILE [--group differs|shrunk|sample|grid] [--class NAME]\n"
	      "           [--kind NAME] [--only MNEMONIC] [--seed N] [--reports N] [--list] "
	      "[--verbose]\n"
	      "       isa --against FILE --seeds\n"
	      "       isa --golden FILE [--against FILE] [--count N] [--group NAME] [--class "
	      "NAME]\n"
	      "           [--kind NAME] [--only MNEMONIC] [--seed N]\n",
	      stderr);
	return 2;
}

static ZydisMnemonic find_mnemonic(const char *name)
{
	for (int m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		const char *s = ZydisMnemonicGetString((ZydisMnemonic)m);

		if (s && strcasecmp(s, name) == 0)
			return (ZydisMnemonic)m;
	}
	return ZYDIS_MNEMONIC_INVALID;
}

static int find_class(const char *name)
{
	for (int i = 0; i < CLS_COUNT; i++)
		if (strcmp(class_name[i], name) == 0)
			return i;
	return -1;
}

static int find_group(const char *name)
{
	for (int i = 0; i < GOLDEN_GROUPS; i++)
		if (strcmp(golden_group_name[i], name) == 0)
			return i;
	return -1;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'n' },
		{ "class", required_argument, NULL, 'c' },
		{ "only", required_argument, NULL, 'o' },
		{ "reports", required_argument, NULL, 'r' },
		{ "endless", no_argument, NULL, 'e' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "against", required_argument, NULL, 'a' },
		{ "golden", required_argument, NULL, 'w' },
		{ "group", required_argument, NULL, 'g' },
		{ "kind", required_argument, NULL, 'k' },
		{ "list", no_argument, NULL, 'l' },
		{ "seeds", no_argument, NULL, 'm' },
		{ 0 },
	};
	int c;

	*o = (struct options){
		.seed = 1, .count = DEFAULT_CASES, .cls = -1, .max_reports = 10, .group = -1
	};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			o->one_seed = true;
			break;
		case 'n':
			o->count = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->cls = find_class(optarg);
			if (o->cls < 0)
				return false;
			break;
		case 'o':
			o->only = find_mnemonic(optarg);
			if (o->only == ZYDIS_MNEMONIC_INVALID)
				return false;
			break;
		case 'r':
			o->max_reports = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'e':
			o->endless = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'a':
			o->against = optarg;
			break;
		case 'w':
			o->golden = optarg;
			break;
		case 'g':
			o->group = find_group(optarg);
			if (o->group < 0)
				return false;
			break;
		case 'k':
			o->kind = optarg;
			break;
		case 'l':
			o->list = true;
			break;
		case 'm':
			o->seeds = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc;
}

/* The class of a seed, when none was asked for. */
static enum isa_class class_of(const struct options *o, uint64_t seed)
{
	return o->cls >= 0 ? (enum isa_class)o->cls : (enum isa_class)(seed % CLS_COUNT);
}

/* Cases that the host does not execute. */
static struct refused {
	const char *what;
	unsigned long long cases;
} refused[4];

static void count_refused(const char *what)
{
	struct refused *r = refused;

	while (r->what && strcmp(r->what, what) != 0)
		r++;
	r->what = what;
	r->cases++;
}

static void print_refused(void)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && refused[i].what; i++)
		printf("skip isa.refused: %llu cases: this host does not run %s\n",
		       refused[i].cases, refused[i].what);
}

static bool make_case(const struct options *o, struct tcase *c, uint64_t seed)
{
	const char *why;

	if (!case_generate(c, seed, class_of(o, seed), o->only))
		return false;
	why = native_refuses(c);
	if (why)
		count_refused(why);
	return !why;
}

static size_t make_batch(const struct options *o, struct tcase *cases, uint64_t *seed, uint64_t end)
{
	size_t n = 0;

	while (n < BATCH && *seed < end) {
		uint64_t s = (*seed)++;

		n += make_case(o, &cases[n], s);
	}
	return n;
}

/* Mnemonic of the last instruction. */
static ZydisMnemonic culprit(const struct tcase *c)
{
	ZydisDecodedInstruction ins;
	const struct insn *last = c->n ? &c->insn[c->n - 1] : NULL;

	if (last && ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(policy_decoder(c->m32), NULL,
							       last->bytes, last->len, &ins)))
		return ins.mnemonic;
	return ZYDIS_MNEMONIC_INVALID;
}

/* One report for each instruction that ends a shrunk case; the others are counted. */
static void fail_case(struct bench *b, const struct options *o, const struct tcase *c,
		      const char *text, struct failures *f)
{
	struct tcase small = *c;
	ZydisMnemonic m;

	if (f->shrunk >= SHRINK_MAX)
		return;
	f->shrunk++;
	if (bench_case(b, c, NULL, 0) == 0) {
		printf("differed once only: --class %s --seed %llu\n%s", class_name[c->cls],
		       (unsigned long long)c->seed, text);
		return;
	}
	shrink(b, &small);
	m = culprit(&small);
	if (f->by_mnemonic[m]++ == 0 && f->reports++ < o->max_reports)
		report(b, &small, o->only, o->verbose);
}

static void print_culprits(const struct failures *f)
{
	for (int m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++)
		if (f->by_mnemonic[m])
			printf("%6u  %s\n", f->by_mnemonic[m],
			       m ? ZydisMnemonicGetString((ZydisMnemonic)m) : "bytes");
}

/*
 * Cases that differed are asked again at the end. A processor that then gives another answer, the
 * model's, was unsteady (seen once, in one batch, under a hypervisor); a model that does is wrong,
 * and so is one that still differs.
 */
#define DOUBTFUL_MAX 256

struct doubtful {
	struct tcase c;
	struct outcome native;
};

static struct doubtful doubtful[DOUBTFUL_MAX];
static unsigned ndoubtful;

static void doubt(const struct tcase *c, const struct outcome *native)
{
	if (ndoubtful < DOUBTFUL_MAX)
		doubtful[ndoubtful] = (struct doubtful){ *c, *native };
	ndoubtful++;
}

static bool was_unsteady(struct bench *b, const struct doubtful *d)
{
	const struct outcome *native;
	struct outcome model;
	struct err err;
	char text[64];

	if (native_start(b->native, &d->c, 1, &err) < 0 || !(native = native_finish(b->native)))
		return false;
	model_run(bench_model(b, &d->c), &d->c, &model);
	return outcome_compare(&d->c, &d->native, native, text, sizeof(text)) &&
	       !outcome_compare(&d->c, native, &model, text, sizeof(text));
}

static void ask_again(struct bench *b, struct tally *tally)
{
	for (unsigned i = 0; i < ndoubtful && ndoubtful <= DOUBTFUL_MAX; i++) {
		const struct tcase *c = &doubtful[i].c;

		if (!was_unsteady(b, &doubtful[i]))
			continue;
		tally[c->cls].failed--;
		printf("the processor was unsteady: --class %s --seed %llu\n", class_name[c->cls],
		       (unsigned long long)c->seed);
	}
}

static void tally_case(struct tally *t, const struct outcome *native)
{
	t->cases++;
	t->timeouts += native->status == OUT_TIMEOUT;
	t->broken += native->status == OUT_BROKEN;
	t->faults += native->status == OUT_OK && native->vector != 3;
}

/*
 * Every STOP_EVERY-th case again with stops: the same in every register, in memory and in the
 * count.
 */
static void check_stops(struct bench *b, const struct tcase *c, const struct outcome *straight,
			struct tally *t)
{
	struct outcome stopped;
	char text[2048];

	if (c->seed % STOP_EVERY || straight->status != OUT_OK)
		return;
	t->cases++;
	model_run_stopped(bench_model(b, c), c, &stopped);
	if (memcmp(&stopped, straight, sizeof(stopped)) == 0)
		return;
	if (t->failed++ < 5) {
		outcome_compare(c, straight, &stopped, text, sizeof(text));
		printf("stops change --class %s --seed %llu (host: without stops, soft: with)\n%s  "
		       "retired %llu and %llu\n",
		       class_name[c->cls], (unsigned long long)c->seed, text,
		       (unsigned long long)straight->retired, (unsigned long long)stopped.retired);
	}
}

static bool run_batch(struct bench *b, const struct options *o, const struct tcase *cases, size_t n,
		      struct tally *tally, struct failures *f)
{
	static struct outcome model[BATCH];
	static bool failed[BATCH];
	static char text[BATCH][1024];
	const struct outcome *native;
	struct err err;

	if (native_start(b->native, cases, n, &err) < 0) {
		fprintf(stderr, "isa: %s\n", err.text);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		model_run(bench_model(b, &cases[i]), &cases[i], &model[i]);
		check_stops(b, &cases[i], &model[i], &tally[CLS_COUNT]);
	}
	native = native_finish(b->native);
	if (!native)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct tally *t = &tally[cases[i].cls];

		tally_case(t, &native[i]);
		failed[i] = outcome_compare(&cases[i], &native[i], &model[i], text[i],
					    sizeof(text[i])) != 0;
		t->failed += failed[i];
		if (failed[i])
			doubt(&cases[i], &native[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (failed[i])
			fail_case(b, o, &cases[i], text[i], f);
	return true;
}

static int results(const struct tally *tally)
{
	int status = 0;

	for (unsigned i = 0; i <= CLS_COUNT; i++) {
		const struct tally *t = &tally[i];
		const char *name = i < CLS_COUNT ? class_name[i] : "stops";

		if (t->cases == 0)
			continue;
		if (t->failed) {
			printf("not ok isa.%s: %llu of %llu cases differ\n", name,
			       (unsigned long long)t->failed, (unsigned long long)t->cases);
			status = 1;
		} else {
			printf("ok isa.%s (%llu cases, %llu faulted, %llu ran away, %llu "
			       "unusable)\n",
			       name, (unsigned long long)t->cases, (unsigned long long)t->faults,
			       (unsigned long long)t->timeouts, (unsigned long long)t->broken);
		}
	}
	return status;
}

static int run(struct bench *b, const struct options *o)
{
	struct tcase *cases = calloc(BATCH, sizeof(*cases));
	struct tally tally[CLS_COUNT + 1] = { 0 }; /* the last one: stops */
	uint64_t seed = o->endless && o->seed == 1 ? (uint64_t)time(NULL) << 24 : o->seed;
	uint64_t end = o->endless ? UINT64_MAX : seed + o->count;
	uint64_t done = 0;
	static struct failures f;
	size_t n;

	if (!cases)
		return 1;
	while ((n = make_batch(o, cases, &seed, end)) > 0) {
		if (!run_batch(b, o, cases, n, tally, &f))
			return 1;
		done += n;
		if (o->endless && (done / BATCH) % 200 == 0) {
			printf("%llu cases, next seed %llu\n", (unsigned long long)done,
			       (unsigned long long)seed);
			fflush(stdout);
		}
		if (o->endless && f.reports >= o->max_reports)
			break;
	}
	free(cases);
	print_culprits(&f);
	ask_again(b, tally);
	print_refused();
	return results(tally);
}

static struct golden_options golden_options(const struct options *o)
{
	return (struct golden_options){
		.path = o->against ? o->against : GOLDEN_DEFAULT,
		.group = o->group,
		.cls = o->cls,
		.kind = o->kind,
		.mnemonic = o->only ? ZydisMnemonicGetString(o->only) : NULL,
		.seed = o->one_seed ? &o->seed : NULL,
		.reports = o->max_reports,
		.list = o->list,
		.verbose = o->verbose,
		.cases = o->count,
	};
}

static int run_against(const struct options *o)
{
	struct golden_options g = golden_options(o);
	struct err err = ERR_INIT;
	struct model *m = model_create(&soft_engine_ops, 1, &err);
	struct model *later = m ? model_create(&soft_engine_ops, 2, &err) : NULL;
	int status = 1;

	if (later)
		status = golden_against(m, later, &g);
	else
		fprintf(stderr, "isa: %s\n", err.text);
	model_destroy(later);
	model_destroy(m);
	return status;
}

static int run_golden(struct bench *b, const struct options *o)
{
	struct golden_options g = golden_options(o);
	struct err err = ERR_INIT;

	if (!native_has_32()) {
		printf("skip isa: this host executes no 32-bit code, which golden vectors have\n");
		return 0;
	}
	if (native_keep_memory(b->native, &err) < 0) {
		fprintf(stderr, "isa: %s\n", err.text);
		return 1;
	}
	return golden_write(b, o->golden, &g);
}

int main(int argc, char **argv)
{
	struct options o;
	struct bench b;
	struct err err = ERR_INIT;
	const char *why = native_unavailable();
	int status;

	if (!parse(argc, argv, &o))
		return usage();
	if (o.against && o.seeds)
		return golden_seeds(o.against);
	if (o.against && !o.golden)
		return run_against(&o);
	if (why) {
		printf("skip isa: %s\n", why);
		return 0;
	}
	b.native = native_create(BATCH, &err);
	b.model = b.native ? model_create(&soft_engine_ops, 1, &err) : NULL;
	b.counting = b.model ? model_create(&soft_engine_ops, 2, &err) : NULL;
	if (!b.counting) {
		fprintf(stderr, "isa: %s\n", err.text);
		return 1;
	}
	if (!o.golden) /* vectors are for models of version 1 */
		case_use_counts();
	status = o.golden ? run_golden(&b, &o) : run(&b, &o);
	model_destroy(b.counting);
	model_destroy(b.model);
	native_destroy(b.native);
	return status;
}
