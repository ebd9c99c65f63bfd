/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden vectors: what a processor did with instruction sequences, in a file.
 *
 * tests/isa/golden/README.md describes the format. A record holds everything that an engine needs
 * (state and memory before), what the processor made of it, and a mask of what is not compared.
 */
#ifndef TESTS_ISA_GOLDEN_H
#define TESTS_ISA_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tests/isa/isa.h"

/* The code pages, then the image of all data memory. */
#define GOLDEN_MEMORY (CODE_SIZE + IMAGE_SIZE)

enum golden_group { GOLDEN_DIFFERS, GOLDEN_SHRUNK, GOLDEN_SAMPLE, GOLDEN_GRID, GOLDEN_GROUPS };
extern const char *const golden_group_name[GOLDEN_GROUPS];

#define GOLDEN_M32	   1u  /* 32-bit code, in compatibility mode */
#define GOLDEN_WRITABLE	   2u  /* the code pages are */
#define GOLDEN_DIFFERED	   4u  /* `soft`, as it was, differs under the mask */
#define GOLDEN_UNEQUAL	   8u  /* ... outside of it */
#define GOLDEN_RCP	   16u /* ends in RCPxx or RSQRTxx */
#define GOLDEN_X87	   32u /* ends in a transcendental x87 instruction */
#define GOLDEN_UNDECODABLE 64u /* the last bytes are no instruction that the tester knows */
#define GOLDEN_SKIPPED	   128u

/* A state as the file has it. Vector, error and cr2 are 0 before. */
struct golden_state {
	uint64_t gpr[16];
	uint64_t rip, rflags, fs_base, gs_base;
	uint8_t fx[464]; /* FXSAVE64, without what is behind XMM15 */
	uint16_t cs, ss;
	uint32_t vector, error, zero;
	uint64_t cr2;
};
_Static_assert(sizeof(struct golden_state) == 648, "a state has 648 bytes in the file");

/* Parts of a state, and memory: what `fields` of a record and golden_fields() name by bit. */
enum golden_field {
	GF_VECTOR,
	GF_ERROR,
	GF_CR2,
	GF_GPR,
	GF_RIP,
	GF_FLAGS,
	GF_RF,
	GF_OTHER_FLAGS,
	GF_BASES,
	GF_FCW,
	GF_FSW,
	GF_FTW,
	GF_ST,
	GF_MXCSR,
	GF_XMM,
	GF_FOP,
	GF_FIP,
	GF_FDP,
	GF_MEMORY,
	GF_SEGMENTS,
	GF_LOST, /* no handler was reached */
	GF_COUNT
};
extern const char *const golden_field_name[GF_COUNT];

struct golden_record {
	enum golden_group group;
	enum isa_class cls;
	unsigned flags;
	uint64_t seed;
	const char *mnemonic, *kind;
	uint32_t fields;
	size_t offset;	 /* where it begins in the unpacked file */
	bool other_code; /* the engine gets other code than the processor */
	struct golden_state init, final, mask;
	uint8_t before[GOLDEN_MEMORY];	 /* what the engine gets */
	uint8_t after[GOLDEN_MEMORY];	 /* what the processor left */
	uint8_t unmasked[GOLDEN_MEMORY]; /* 1 bits are compared */
};

/* Fields of a state that are not all zero: give it the difference of two. */
uint32_t golden_fields(const struct golden_state *difference);

/* ---- reading ---- */
struct golden;

/*
 * Opens and unpacks a file. NULL: *err names the file, the offset in what was unpacked, and what
 * belongs there.
 */
struct golden *golden_open(const char *path, struct err *err);
void golden_close(struct golden *g);
const char *golden_processor(const struct golden *g);
uint64_t golden_count(const struct golden *g);
/* What each record's state, memory and mask start from. They live as long as the file is open. */
void golden_base(const struct golden *g, const struct golden_state **state, const uint8_t **memory,
		 const struct golden_state **mask);
/* The memory that the processor had before the last record, where the engine's is another. */
const uint8_t *golden_native(const struct golden *g);
/* The next record: 1; 0: there is none; negative errno: the file is damaged. */
int golden_next(struct golden *g, struct golden_record *r, struct err *err);

/* ---- comparing ---- */
struct golden_options {
	const char *path;
	int group, cls;	      /* -1: all */
	const char *kind;     /* NULL: all */
	const char *mnemonic; /* NULL: all */
	const uint64_t *seed; /* NULL: all */
	unsigned reports;     /* examples in full */
	bool list;	      /* a line for each record that differs */
	bool verbose;	      /* all registers, not just those that the record changes */
	uint64_t cases;	      /* golden_write(): how many of the tester's own */
};
bool golden_wanted(const struct golden_options *o, const struct golden_record *r);
/* What an outcome left, as a record has it. */
void golden_state_of(const struct outcome *o, struct golden_state *s);
/* Runs a record on an engine: the fields in which it differs, and the state it left. */
uint32_t golden_run(struct model *m, const struct golden_record *r, struct golden_state *mine);
/*
 * Holds an engine against a file; prints a result line a class, and one a kind of grid. 0: equal. m
 * and later: models of machine versions 1 and 2. The second one runs what the two differ in.
 */
int golden_against(struct model *m, struct model *later, const struct golden_options *o);

/* ---- writing ---- */
/*
 * Asks the host and writes what it answers: the tester's own cases from o->seed on in which the
 * model differs (groups differs and shrunk), and the questions of the file o->path (sample and
 * grid), those that *o selects. Prints a result line. 0: written. Needs native_keep_memory().
 */
int golden_write(struct bench *b, const char *path, const struct golden_options *o);
/* Holds the generator against the seeds and cases of group differs; 0: it makes each of them. */
int golden_seeds(const char *path);

#endif
