/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CPU against silicon: random instruction sequences are executed by the host CPU in user mode
 * and by the software CPU at CPL 3, from the same state, and everything that the instructions can
 * change is compared.
 *
 *   gen.c, tmpl.c, layout.c
 *                   a case from a 64-bit seed: initial state and up to some twenty instructions
 *   policy.c        which instructions may be compared, and which flags they leave undefined
 *   vendor.c        where makers of processors differ
 *   native.c        executes cases on the host in a child process
 *   model.c         executes cases on an engine, through the engine interface
 *   compare.c       differences between two outcomes
 *   shrink.c        the shortest sequence that still differs, and the report
 *   golden.c, golden_write.c, against.c
 *                   what other processors answered, in files, and the engine against them
 *   main.c          options, batches, result lines
 *
 * Memory that a case sees (all else faults):
 *
 *   CODE   2 pages, read and execute (and write, for class smc)
 *   DATA   3 pages read and write, then 1 page read-only; below 4 GiB; unmapped on both sides
 *   FAR    1 page read and write, above 4 GiB
 *   SCRATCH 1 page read and write: images of FXSAVE, XSAVE, FNSTENV, FNSAVE; no pointer leads there
 *
 * The host may know instructions that the model must not have. Then the two sides get different
 * bytes of the same length: where the model has to raise #UD, the host gets UD2; where the model
 * has to ignore the F3 in front of BSF and BSR, the host gets a segment prefix instead; unless the
 * host has TZCNT and LZCNT, which a model of machine version 2 has, too: then both get the F3.
 *
 * Rules for what may differ between CPUs that are both right
 * - Undefined flags (SDM vol. 2, per instruction) are tracked through the sequence; an
 *   instruction that reads one is preceded by an instruction that defines it, and the flags
 *   still undefined at the end are not compared.
 * - FIP, FDP, FOP, FCS and FDS are not compared, in registers or images: AMD stores them only
 *   with a pending exception.
 * - RCPxx and RSQRTxx and the x87 transcendental instructions come last in their sequence and
 *   are compared within the error that the manual allows; the first two exactly on Intel.
 * - Where AMD and Intel differ, `soft` follows Intel: vendor.c has each such rule, and its
 *   maker.
 * - The present bit in the error code of a page fault above the user half is not compared: Linux
 *   sets it always.
 */
#ifndef TESTS_ISA_H
#define TESTS_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "base/err.h"

#define PAGE	     0x1000u
#define CODE_BASE    0x10000000ull
#define CODE_SIZE    (2 * PAGE)
#define DATA_BASE    0x20000000ull
#define DATA_RW_SIZE (3 * PAGE)
#define DATA_SIZE    (4 * PAGE)
#define FAR_BASE     0x3456789a0000ull
#define FAR_SIZE     PAGE
#define SCRATCH_BASE 0x20010000ull
#define SCRATCH_SIZE PAGE

/* The image of all data memory, as both sides keep it: DATA, FAR, SCRATCH one after the other. */
#define IMAGE_DATA    0u
#define IMAGE_FAR     DATA_SIZE
#define IMAGE_SCRATCH (DATA_SIZE + FAR_SIZE)
#define IMAGE_SIZE    (DATA_SIZE + FAR_SIZE + SCRATCH_SIZE)

#define FL_ARITH_ALL 0x8d5u
/* Undefined x87 condition codes travel in the same mask, above the flags: C0..C3 at bits 28..31. */
#define UNDEF_C_SHIFT 28

/* ---- random numbers ---- */
struct rng {
	uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);
bool rng_chance(struct rng *r, unsigned percent);
/* A 64-bit value that instructions may find interesting. */
uint64_t rng_edge(struct rng *r);
uint32_t rng_float(struct rng *r);
uint64_t rng_double(struct rng *r);
void rng_x87(struct rng *r, uint8_t out[10]);

/* ---- cases ---- */
enum isa_class {
	CLS_INT,
	CLS_SHIFT,
	CLS_BIT,
	CLS_MULDIV,
	CLS_STRING,
	CLS_STACK,
	CLS_BRANCH,
	CLS_ATOMIC,
	CLS_X87,
	CLS_MMX,
	CLS_SSE_FP,
	CLS_SSE_INT,
	CLS_CRYPTO,
	CLS_FPSTATE,
	CLS_SYSTEM,
	CLS_FAULT,
	CLS_ALIGN,
	CLS_BYTES,
	CLS_MIX,
	CLS_COMPAT,  /* 32-bit code in compatibility mode */
	CLS_SMC,     /* code that changes itself; the code pages are writable */
	CLS_FOREIGN, /* instructions that the model must not have */
	CLS_COUNT
};
extern const char *const class_name[CLS_COUNT];

#define CASE_INSNS 40

enum approx { APPROX_NONE, APPROX_RCP, APPROX_X87 };

/* One instruction; label fields are resolved by case_layout(). */
struct insn {
	uint8_t bytes[16];
	uint8_t len;
	int8_t rel_at, rel_size; /* where a branch displacement lies, 0 size: none */
	int8_t rip_at;		 /* where a RIP-relative disp32 lies; 0: none */
	bool glued;		 /* the next instruction cannot do without it */
	int16_t target; /* index of the instruction a rel or RIP-relative label points at; -1: none
			 */
	bool foreign;	/* the model executes model[] and must raise #UD */
	int8_t f3_at;	/* of BSF and BSR, where the model has F3; -1: nowhere */
	uint8_t model[16];
	int8_t label_off;    /* a RIP-relative label points so far into its instruction */
	uint64_t rip_target; /* address for a RIP-relative operand without label */
};

struct mem_mask {
	uint32_t off, len; /* in the image */
};

struct regs {
	uint64_t gpr[16];
	uint64_t rip, rflags, fs_base, gs_base;
	uint8_t fx[512]; /* FXSAVE64 */
};

struct tcase {
	uint64_t seed;
	enum isa_class cls;
	struct insn insn[CASE_INSNS];
	unsigned n;
	bool m32;	  /* compatibility mode: 32-bit code */
	bool runoff;	  /* ends at the end of the code pages, without a terminator */
	bool straddle;	  /* lies across the page boundary */
	bool undecodable; /* last instruction is one that the host may know and the model must not
			   */
	bool reads_undefined; /* an instruction reads a flag that one before it left undefined */
	bool flow_host;	      /* flow_undefined() is at the host's rules */
	bool unmasked;	      /* x87 exceptions may be unmasked */
	bool counts;	      /* F3 BSF is TZCNT, F3 BSR LZCNT, on both sides */
	enum approx approx;
	uint16_t code_salt;
	uint16_t code_off; /* set by case_layout(), as are the next three */
	uint16_t code_len;
	uint16_t at[CASE_INSNS + 1];
	uint8_t code[CASE_INSNS * 15 + 16];
	uint8_t model_code[CASE_INSNS * 15 + 16];
	uint32_t undef[CASE_INSNS + 1]; /* flags undefined before instruction i, on this host */
	struct mem_mask mask[3 * CASE_INSNS];
	unsigned nmask;
	struct regs init;
};

enum outcome_status { OUT_NONE, OUT_OK, OUT_TIMEOUT, OUT_BROKEN };

struct outcome {
	enum outcome_status status;
	struct regs regs;
	uint32_t vector, error;
	uint16_t cs, ss;
	uint64_t cr2;
	uint64_t memory;  /* hash of the image, masked */
	unsigned why;	  /* the engine's exit, when it did not end in a handler */
	uint64_t retired; /* by the engine, up to and with the HLT of the handler */
	uint64_t tables;  /* hash of the engine's page tables: accessed and dirty bits */
};

/*
 * The case of a seed; `only` restricts it to one mnemonic (ZYDIS_MNEMONIC_INVALID: all). False: no
 * such case.
 */
bool case_generate(struct tcase *c, uint64_t seed, enum isa_class cls, ZydisMnemonic only);
/* Places the instructions and computes the undefined flags. False when it does not fit. */
bool case_layout(struct tcase *c);
/* From now on the host executes TZCNT and LZCNT, if it has them. */
void case_use_counts(void);
/* Text of instruction i. */
void case_text(const struct tcase *c, unsigned i, char *text, size_t n);
/* Pristine content of all data memory. */
const uint8_t *image_pristine(void);
/* Zeroes what is not compared and hashes. */
uint64_t image_hash(const struct tcase *c, uint8_t *image);

/* ---- policy ---- */
/* An instruction set that the model does not offer, so that its instructions raise #UD. */
bool policy_foreign(const ZydisDecodedInstruction *ins);
enum verdict { POLICY_OK, POLICY_LAST, POLICY_REJECT };
enum verdict policy_check(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
			  bool scratch, enum approx *approx);
enum isa_class policy_class(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op);
struct flag_effect {
	uint32_t tested, defined, undefined;
};
void policy_flags(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op,
		  struct flag_effect *e);
/* The same, with what depends on the case and on the maker of the processor. */
void case_flags(const struct tcase *c, const ZydisDecodedInstruction *ins,
		const ZydisDecodedOperand *op, struct flag_effect *e);
/* Image bytes that the instruction stores and that are not compared. */
void policy_mask(struct tcase *c, const ZydisDecodedInstruction *ins, uint64_t addr);
const ZydisDecoder *policy_decoder(bool m32);
/* Decodes all of an instruction; false when it is none, or shorter. */
bool policy_decode(bool m32, const struct insn *in, ZydisDecodedInstruction *ins,
		   ZydisDecodedOperand *op);

/* ---- vendors ---- */
/* Why a difference is none: the host's maker does it so. NULL: it is one. */
const char *vendor_excuse(const struct tcase *c, const struct outcome *native,
			  const struct outcome *model);
/* RFLAGS that are not compared after what the host did. */
uint32_t vendor_open_flags(const struct outcome *native);
/* Has the host the bits of RCPxx and RSQRTxx that the model has? */
bool vendor_exact_estimates(void);
/* Are flags compared that vendor_undefined() names? */
bool vendor_compares_all(void);
/* Flags and x87 conditions, as in struct tcase's `undef`, that makers do not agree on. */
uint32_t vendor_undefined(const struct tcase *c, const ZydisDecodedInstruction *ins);
/* An instruction that the generator does not make, on any host. */
bool vendor_rejects(const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op);
/* A REP instruction that the generator gives a count of at least 1. */
bool vendor_needs_count(enum isa_class cls, const ZydisDecodedInstruction *ins);

/* ---- templates ---- */
enum imm_kind { I_NONE, I_B, I_W, I_Z, I_V, I_MOFFS, I_ENTER };
#define T_MODRM (1u << 0)
#define T_MEM	(1u << 1) /* memory form only */
#define T_REG	(1u << 2) /* register form only */
#define T_LOCK	(1u << 3) /* LOCK allowed with memory */
#define T_PLUS	(1u << 4) /* register in the opcode */
#define T_REP	(1u << 5) /* REP and REPNE allowed */
/* SSE: likes aligned pointers; any mandatory prefix when pfx is PFX_ANY */
#define T_VEC	 (1u << 6)
#define T_SCR	 (1u << 7) /* operand in SCRATCH */
#define T_DIV	 (1u << 8) /* prepare the dividend */
#define T_FPU	 (1u << 9)
#define T_FAULTY (1u << 10) /* always faults: last */
#define T_HOST3E (1u << 12) /* encoded with 3E, which is F3 for the model */
#define PFX_ANY	 1

struct tmpl {
	uint8_t cls;
	uint8_t map, op, n, step;
	uint8_t pfx; /* mandatory prefix, 0 or PFX_ANY */
	int8_t ext;  /* /digit, or -1 */
	uint8_t imm;
	uint16_t flags;
};
extern const struct tmpl tmpl_table[];
extern const size_t tmpl_count;

/* ---- the two sides ---- */
/* Why the host cannot run cases natively, or NULL. */
const char *native_unavailable(void);
/* False: the host executes no 32-bit code, as under a hypervisor without such a segment. */
bool native_has_32(void);
/* What of the case the host's kernel, or a hypervisor below, does not do as the processor; or NULL.
 */
const char *native_refuses(const struct tcase *c);
/* RFLAGS that a case may lose on this host, whatever it does. */
uint32_t native_open_flags(void);
struct native;
struct native *native_create(size_t max, struct err *err);
void native_destroy(struct native *n);
/* Starts a child that executes the cases; native_finish() waits for it and returns the outcomes. */
int native_start(struct native *n, const struct tcase *cases, size_t count, struct err *err);
const struct outcome *native_finish(struct native *n);
/* Image after the last case of a batch of one. */
const uint8_t *native_image(const struct native *n);
/* From now on, all memory after each case is kept; -1 and *err without memory for it. */
int native_keep_memory(struct native *n, struct err *err);
/* The code pages and the image as case i of the last batch left them. */
const uint8_t *native_kept(const struct native *n, size_t i);

struct engine_ops;
struct model;
/* A model of that machine version. */
struct model *model_create(const struct engine_ops *ops, unsigned version, struct err *err);
void model_destroy(struct model *m);
void model_run(struct model *m, const struct tcase *c, struct outcome *out);
/* The same, but the engine is stopped at random counts and kicked in between, and its state is
 * saved and restored there: the outcome must be the same, too. */
void model_run_stopped(struct model *m, const struct tcase *c, struct outcome *out);
const uint8_t *model_image(const struct model *m);
/*
 * Runs from registers and all of memory (the code pages, then the image), without a case. The
 * outcome has no hashes; model_memory() is what the run left.
 */
void model_run_memory(struct model *m, const struct regs *init, bool m32, bool writable,
		      const uint8_t *memory, struct outcome *out);
const uint8_t *model_memory(const struct model *m);

/* ---- comparing ---- */
/* Undefined flags where the host stopped, as in `undef`. */
uint32_t undefined_at(const struct tcase *c, uint64_t rip);
/* Writes what differs, one line each, and returns the number of differences; text may be NULL. */
unsigned outcome_compare(const struct tcase *c, const struct outcome *native,
			 const struct outcome *model, char *text, size_t n);

/* Two x87 numbers within a few units in the last place of the double that both are near to. */
bool x87_close(const uint8_t *a, const uint8_t *b);

struct bench {
	struct native *native;
	struct model *model, *counting; /* of machine version 1 and 2 */
};
/* The one that executes the case. */
struct model *bench_model(const struct bench *b, const struct tcase *c);
/* Both sides of one case; number of differences. */
unsigned bench_case(struct bench *b, const struct tcase *c, char *text, size_t n);
void shrink(struct bench *b, struct tcase *c);
void report(struct bench *b, const struct tcase *c, ZydisMnemonic only, bool verbose);

#endif
