/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software CPU: state, decoded instructions, and the rules that every instruction handler
 * keeps.
 *
 * Parts, apart from one another so that a translator to host code can stand on the same blocks:
 *
 *   decode.c              Zydis -> struct op, through tables of binders that semantics files export
 *   block.c               blocks of ops cached by physical page; self-modifying code
 *   mmu.c, mem.c, mem.h   page walks, TLBs, inline memory access
 *   soft.c, state.c       the engine interface, state in and out
 *   run.c                 the run loop
 *   alu.c ... xchg.c      semantics: handlers and the binders that pick them
 *   seg.c, intr.c ...     what the system instructions share
 *
 * Rules for a handler
 * - It is an op_fn, never called by another handler, and ends with OP_NEXT (fall through to the
 *   next op) or OP_EXIT (it changed RIP or anything that the next instruction's decoding or
 *   acceptance of interrupts depends on: control flow, CS, CR0/3/4, EFER, IF, TF, INVLPG, HLT,
 *   port I/O). An op whose handler uses OP_EXIT is bound with OPF_END and is the last of its
 *   block.
 * - All results are committed after the last point where it can fault. cpu_raise() never
 *   returns: it leaves the handler by longjmp with RIP at the faulting instruction. So no
 *   handler owns memory or locks.
 * - RIP: while a block runs, cpu->rip is stale; op_rip() is the address of the present
 *   instruction, op_next_rip() of the following one. A handler with OP_EXIT sets cpu->rip itself
 *   (cpu->rip = op_next_rip(cpu, op) when it falls through).
 * - cpu->op is the present op: the slow paths find everything from there.
 * - Memory that is not RAM, and writes to pages with cached code, must happen with exact count
 *   and a stop afterwards, and a TLB miss where no restart can follow it. The slow path sees to
 *   that: in the middle of a block it leaves the instruction (longjmp, nothing committed) and
 *   has the run loop execute it again alone. So a handler may be entered twice; rule two makes
 *   that harmless. One that reads memory after it has written some begins with cpu_need_alone().
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/cpustate.h"
#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/x86.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct cpu;
struct op;
struct block;

typedef void (*op_fn)(struct cpu *cpu, const struct op *op);

/* ---- exceptions ---- */
/*
 * Leaves the handler with a fault at the present instruction; err is ignored for vectors without an
 * error code.
 */
_Noreturn void cpu_raise(struct cpu *cpu, enum vector vec, uint32_t err);
/* #PF: sets CR2 (when it is delivered) and raises. err as in SDM vol. 3, figure 4-12. */
_Noreturn void cpu_raise_pf(struct cpu *cpu, uint64_t linear, uint32_t err);

/* ---- lazy arithmetic flags: owned by flags.h ---- */
struct lazy_flags {
	uint64_t res;  /* result, at operand size */
	uint64_t a, b; /* operands, as the type needs them */
	uint32_t type; /* enum lazy_type in flags.h; 0: the flags are in cpu->rflags */
	/*
	 * Later operations that change a part of the flags, noted by translated code alone
	 * (translate.h); else 0.
	 */
	uint16_t inc, rot;
	uint64_t inc_res, rot_res;
};

/* ---- execution mode: part of the key of a cached block ---- */
#define MODE_16	  0u /* CS.D = 0, not 64-bit */
#define MODE_32	  1u /* CS.D = 1, not 64-bit */
#define MODE_64	  2u /* 64-bit mode */
#define MODE_SIZE 3u
#define MODE_REAL (1u << 2) /* CR0.PE = 0 */
#define MODE_VM86 (1u << 3)
/* not 64-bit, and a data or code segment is not flat 0..4G, present, writable */
#define MODE_SEGCHECK (1u << 4)
#define MODE_SS16     (1u << 5) /* SS.B = 0 and not 64-bit: stack accesses use SP */
#define MODE_USER     (1u << 6) /* CPL 3 */
/* 64-bit, and CR0 or CR4 make instructions on XMM registers fault */
#define MODE_NO_SSE (1u << 7)
#define MODE_COUNTS (1u << 8) /* F3 BSF and F3 BSR are TZCNT and LZCNT: machine version 2 */

/* ---- a decoded instruction ---- */
#define REG_ZERO 16 /* gpr[16] is always 0: absent base or index */
/* gpr[17] is the RIP of the block's start: base of RIP-relative operands */
#define REG_RIPBASE 17
#define SEG_NONE    8 /* ea_base[8] is always 0 */

#define OPF_END	     (1u << 0) /* last of its block */
#define OPF_SEGCHECK (1u << 1) /* memory operand needs the segment's limit and type checked */
#define OPF_LOCK     (1u << 2)
#define OPF_REP	     (1u << 3) /* F3 */
#define OPF_REPNE    (1u << 4) /* F2 */
#define OPF_HIGH0    (1u << 5) /* r0 is AH, CH, DH or BH (r0 holds 0..3) */
#define OPF_HIGH1    (1u << 6) /* r1 likewise */
#define OPF_MEM	     (1u << 7) /* has a memory operand */
/* ... in 64-bit mode with 64-bit address size: no truncation, no segment checks */
#define OPF_FLAT  (1u << 8)
#define OPF_STACK (1u << 9) /* accesses the stack besides (PUSH, CALL ...) */
/* near branch: ends its block, but changes nothing that acceptance of events needs */
#define OPF_BRANCH (1u << 10)
/* the TF that it leaves decides on a trap after it: INT n, SYSCALL, SYSRET */
#define OPF_NEWSTEP (1u << 11)
#define OPF_FAR	    (1u << 12) /* changes CS: a branch, but not a near one */

struct op {
	op_fn fn;
	uint64_t imm; /* immediate, sign-extended to 64 bits where the instruction does so */
	int64_t disp; /* displacement; for RIP-relative operands plus offset of the next instruction
			 in the block */
	uint16_t off; /* bytes from the block's start to this instruction */
	uint16_t flags; /* OPF_* */
	uint16_t extra; /* free for the binder */
	uint8_t len;	/* bytes */
	uint8_t index_in_block;
	uint8_t r0, r1; /* register operands: number 0..15 (general, XMM, MM, segment ... as the
			   handler knows) */
	uint8_t base, idx, scale; /* memory operand: gpr[base] + (gpr[idx] << scale) + disp */
	uint8_t seg;		  /* enum seg or SEG_NONE for LEA */
	uint8_t asize;		  /* address size in bytes: 2, 4, 8 */
	uint8_t osize;		  /* operand size in bytes: 1, 2, 4, 8, 16 */
	uint8_t cc;		  /* condition code, or a second small operand */
	uint8_t r2;
	uint8_t kind, sub, form, size; /* form.h: what the translator knows of it */
	uint8_t reads, writes;	       /* arithmetic flags, FLAGS_* of form.h */
};
_Static_assert(sizeof(struct op) == 48, "op layout");

/* ---- TLBs (mmu.c); direct-mapped: replacement is a function of the addresses alone ---- */
#define TLB_BITS  11
#define TLB_SIZE  (1u << TLB_BITS)
#define PAGE_MASK (~0xfffull)
/* Bits in the low part of a tag that make the inline compare fail. */
#define TLB_INVALID 1u
/* valid, but: not RAM, a debug register watches the page, alignment is checked */
#define TLB_SLOW  2u
#define TLB_CLEAN 4u /* write tags: page not yet marked MEMORY_WRITTEN */
#define TLB_CODE  8u /* write tags: page holds cached code */
/* write tags: the page tables forbid it, and CR0.WP = 0 lets the supervisor write all the same */
#define TLB_WP 16u

struct tlb_entry {
	uint64_t rd;	  /* linear page | TLB_* bits, or TLB_INVALID */
	uint64_t wr;	  /* likewise, for writes (also needs D already set) */
	uintptr_t addend; /* host address = linear address + addend, for RAM */
	uint64_t gpa;	  /* guest physical page | bit 0: global */
};

/*
 * Holds of translated code in user mode: the entry of TLB MMU_USER that a place in the code found
 * last, so that its next access to that page need not look there. Those of an entry that is
 * replaced become void, and all as soon as one is dropped or marked: mmu_data_lost().
 */
#define HOLDS	    8192u  /* even ones for reads, odd ones for writes */
#define HOLD_NONE   0x800u /* the tag of a void one: no page with the lowest bits of an address */
#define HOLD_MISSES 64	   /* of a place until it reports */
struct hold {
	uint64_t tag;	  /* linear page */
	uintptr_t addend; /* as in the TLB */
	int32_t left;	  /* of HOLD_MISSES; those of void ones do not count */
};

/* Index of the data TLB in use: who accesses. */
enum mmu_index {
	MMU_USER,
	MMU_KERNEL,
	MMU_KERNEL_NOSMAP, /* supervisor with AC set, or SMAP off */
	MMU_USER_AC,	   /* user with alignment checks: every entry is TLB_SLOW */
	MMU_COUNT
};

struct itlb_entry {
	uint64_t tag; /* linear page | TLB_INVALID */
	uint64_t gpa; /* guest physical page | bit 0: global */
};

#include "hypervisor/soft/fpu_state.h"

struct cpu {
	/* hot */
	uint64_t gpr[18];      /* [16] zero, [17] RIP of the block's start */
	struct tlb_entry *tlb; /* the data TLB in use */
	const struct op *op;
	struct lazy_flags lazy;
	uint64_t ea_base[9]; /* segment bases as address calculation uses them: 0 for ES, CS, SS, DS
				in 64-bit mode */
	uint64_t rip;
	uint64_t rflags; /* all but the lazy ones; use flags_get() and flags_set() of flags.h */
	uint64_t count;	 /* retired instructions, exact at block boundaries; cpu_count() inside a
			    block */
	uint64_t count_limit; /* stop at this count */
	uint64_t exits;	    /* retired instructions of those that cpu_is_exit() marks: see run.c */
	uint64_t code_from; /* the count that stats.in_code has been taken up to */
	uint64_t page_lin;  /* of translated code: linear address of the page that runs */
	/* mode, and above it a number that changes whenever the ITLBs lose an entry (mmu.c) */
	uint64_t jump_key;
	uint64_t chain_limit; /* from this count on, blocks return to the run loop */
	uint32_t kicked;      /* by another thread: cpu_kicked() and __atomic_* only */
	uint32_t mode;	      /* MODE_* */
	uint8_t cpl;
	bool single;	  /* the present op runs alone: slow accesses may be done */
	bool stop_wanted; /* leave run() at the next boundary with BUS */
	bool window_wanted;
	bool shadow;	   /* STI or MOV SS shadow: no interrupt before the next instruction */
	bool shadow_movss; /* ... and it blocks debug traps too */
	bool halted, shutdown, nmi_blocked, nmi_pending, in_rep;
	bool count_exits;   /* the engine's count is `exits`, not `count` */
	bool exit_seen;	    /* the instruction under way is one of those */
	uint64_t spin_from; /* count when run() was called */
	bool at_landmark; /* such an instruction has just retired, and nothing has happened since */
	bool db_pending; /* single-step or data-breakpoint trap to deliver after this instruction */
	uint64_t db_dr6; /* its DR6 bits */
	uint64_t db_before; /* those that the instruction under way has found */
	bool branched;	    /* false: the near branch under way was not taken (written while it runs
			       alone) */
	bool task_switched; /* by the instruction under way */
	uint8_t intr_vector; /* injected external interrupt */
	bool intr_pending;
	/* times that MOV CR3, a task switch or INVLPG dropped translations: for vmx, which has
	 * others */
	uint32_t guest_flushes;
	uint32_t undelivered; /* events delivered since an instruction last retired */
	uint8_t ext; /* EXT bit of error codes: an event that no instruction asked for is being
			delivered */
	/* Leaving REP between iterations: see rep_should_stop(). */
	bool rep_stop_armed; /* a landmark inside a REP instruction is at the present count */
	bool rep_step;	     /* leave after every iteration (TF, breakpoints, page-crossing code) */
	bool rep_break;	     /* cached code was overwritten: decode the instruction again */
	uint64_t rep_stop_rip, rep_stop_rcx;  /* where, when armed */
	struct event_state event;	      /* restored event, delivered before anything else */
	const struct block *block;	      /* the block under way, NULL when an op runs alone */
	const struct engine_probe *probe;     /* of a debugger, or NULL: probe.h */
	const struct engine_sampler *sampler; /* or NULL */
	uint64_t sample_at;		      /* the count at which it wants to know */
	bool probe_due;			      /* a boundary came that it has not seen */
	bool probe_hit;			      /* ... behind an access that it watches */
	uint32_t paging_bits;	/* CR0, CR4, EFER bits that the TLBs were filled under (mode.c) */
	uint64_t deliver_count; /* count when the last event was delivered */
	uint64_t large_lo,
		large_hi; /* linear range that holds every large page in the TLBs (mmu.c) */

	jmp_buf escape; /* cpu_raise() and restarts leave handlers here; the value says which */

	/* the exception being raised or delivered */
	struct {
		enum vector vec;
		uint32_t err;
		uint64_t cr2;
	} fault;

	struct seg_state seg[SEG_COUNT];
	struct table_state gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0, efer;
	uint64_t pdpte[4];
	uint64_t dr[8];
	uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, pat, misc_enable, tsc_offset,
		apic_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys[16];
	uint64_t debugctl;
	struct fpu_state fpu;

	struct tlb_entry tlbs[MMU_COUNT][TLB_SIZE];
	struct itlb_entry itlb[2][TLB_SIZE]; /* by CPL 3 or not */
	/*
	 * Entries that were filled since the last flush, a bit each, and which of the words has
	 * one; then those of them that a load of CR3 drops, likewise (mmu.c).
	 */
	uint64_t tlb_used[MMU_COUNT + 2][TLB_SIZE / 64];
	uint32_t tlb_used_words[MMU_COUNT + 2];
	uint64_t tlb_local[MMU_COUNT + 2][TLB_SIZE / 64];
	uint32_t tlb_local_words[MMU_COUNT + 2];
	/* Last walk that filled a data TLB: the linear page, and its tables (mmu.c). */
	struct tlb_walk {
		uint64_t lin, table[4]; /* UINT64_MAX: no page's address */
	} walked;

	bool hold_any;		     /* one may be valid */
	uint8_t hold_slot[TLB_SIZE]; /* 1: one of this entry may be valid */
	uint64_t hold_used[HOLDS / 64];
	struct hold hold[HOLDS];

	struct op one[2];  /* the op that runs alone */
	struct op call[2]; /* the op whose handler translated code calls */
	struct op
		partial[64 + 1]; /* the first ops of a block that is longer than the count allows */

	struct memory *mem;
	struct engine_bus bus;
	struct block_cache *blocks;
	struct translator *trans; /* NULL: everything is interpreted */
	struct cpu_stats {
		uint64_t blocks, decoded, tlb_misses, walks, singles, smc, exceptions, interrupts,
			ports, mmio, cpuid, msr, rdtsc, hlt, translated, code_bytes, code_dropped,
			in_code;
	} stats;
};

/* DR6 of a debug exception with `bits`: breakpoints that it did not meet do not stay from before.
 */
static inline void cpu_debug_status(struct cpu *cpu, uint64_t bits)
{
	cpu->dr[6] = x86_debug_status(cpu->dr[6], bits);
}

/* ---- inside a handler ---- */
static inline uint64_t op_rip(const struct cpu *cpu, const struct op *op)
{
	return cpu->gpr[REG_RIPBASE] + op->off;
}

/*
 * RIP after the instruction (truncated to 32 or 16 bits by the caller where the mode asks for it).
 */
static inline uint64_t op_next_rip(const struct cpu *cpu, const struct op *op)
{
	return cpu->gpr[REG_RIPBASE] + op->off + op->len;
}

/* Instructions retired before the present one. */
static inline uint64_t cpu_count(const struct cpu *cpu)
{
	return cpu->op ? cpu->count + cpu->op->index_in_block : cpu->count;
}

/*
 * Ends of handlers. OP_NEXT jumps to the handler of the next op: an optimising compiler makes a
 * jump of the call, and where it does not, the stack grows by as many frames as a block has ops.
 * The op after the last one of a block returns to the run loop, as OP_EXIT does.
 */
#define OP_NEXT                                  \
	do {                                     \
		(cpu)->op = (op) + 1;            \
		((op) + 1)->fn((cpu), (op) + 1); \
		return;                          \
	} while (0)
#define OP_EXIT return

/*
 * Not 0: another thread has asked for an exit. All that it did before it asked is looked at after
 * the exit.
 */
static inline uint32_t cpu_kicked(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->kicked, __ATOMIC_RELAXED);
}

/*
 * REP instructions. The handler commits every iteration (RCX, RSI, RDI). After each chunk of at
 * most 4096 iterations, and after every single iteration that did not go through mem_bulk_read() or
 * mem_bulk_write() (which give NULL whenever iterations have to be looked at one by one), it asks
 * rep_should_stop(). When that holds and iterations are left, it sets cpu->in_rep, cpu->rip =
 * op_rip() and does OP_EXIT: the run loop then does not count the instruction and enters it again
 * later. When the instruction completes it ends with OP_NEXT and counts once. At least one
 * iteration is done before the first question. An op with OPF_REP or OPF_REPNE is made the last of
 * its block by the decoder.
 */
static inline bool rep_should_stop(const struct cpu *cpu)
{
	if (unlikely(cpu_kicked(cpu) | cpu->rep_step | cpu->rep_break))
		return true;
	return unlikely(cpu->rep_stop_armed) && cpu->gpr[R_RCX] == cpu->rep_stop_rcx &&
	       op_rip(cpu, cpu->op) == cpu->rep_stop_rip;
}

/*
 * Called by every instruction that always leaves the guest on VT-x, as part of its commitment: port
 * I/O, access to memory that is not RAM, RDTSC, CPUID, RDRAND, RDSEED, RDMSR, WRMSR, HLT. The set
 * is part of the machine version: it is what the count of engines without an instruction counter
 * means. Such an instruction ends its block.
 */
static inline void cpu_is_exit(struct cpu *cpu)
{
	cpu->exit_seen = true;
}

/* ---- what the parts offer one another ---- */
/* mode.c: after a change of CS, SS, data segments, CR0, EFER, EFLAGS.VM, CPL, EFLAGS.AC, CR4:
 * recompute mode, cpl-dependent TLB, ea_base. Cheap enough to call on every such change. */
void cpu_mode_update(struct cpu *cpu);

/* seg.c: loads of segment registers with all checks; vec is #GP unless the rules say otherwise. */
void seg_load(struct cpu *cpu, enum seg s,
	      uint16_t selector); /* MOV/POP/Lxx to ES, SS, DS, FS, GS */
void seg_load_real(struct cpu *cpu, enum seg s, uint16_t selector); /* real and virtual-8086 mode */
/* Slow check of an access through a segment in MODE_SEGCHECK; raises #GP(0) or #SS(0). */
void seg_check(struct cpu *cpu, unsigned s, uint64_t offset, unsigned size, bool write);

/* intr.c */
enum event_type {
	EVENT_EXTERNAL,
	EVENT_NMI,
	EVENT_EXCEPTION,
	EVENT_SOFT_INT,
	EVENT_INT1,
	EVENT_INT3
};
/* Delivers through the IVT or IDT, with double and triple fault; rip to push is cpu->rip. May leave
 * by longjmp on a nested fault only inside, never to the caller. Sets cpu->shutdown on a triple
 * fault. */
void intr_deliver(struct cpu *cpu, enum event_type type, uint8_t vector, bool has_err,
		  uint32_t err);

/* mmu.c */
void mmu_flush_all(struct cpu *cpu);	   /* every translation */
void mmu_flush_nonglobal(struct cpu *cpu); /* MOV CR3 */
/* An entry of a TLB (ITLBs come after the data TLBs) has been filled, with that gpa. */
void mmu_note_used(struct cpu *cpu, unsigned tlb, unsigned slot, uint64_t gpa);
void mmu_flush_page(struct cpu *cpu, uint64_t linear); /* INVLPG */
void mmu_flush_code_writes(struct cpu *cpu,
			   uint64_t gpa); /* page got cached code: set TLB_CODE in write tags */
/* An entry of TLB MMU_USER does not allow any more what it allowed, or user mode uses another TLB.
 */
void mmu_data_lost(struct cpu *cpu);
void mmu_debug_changed(struct cpu *cpu); /* after writes to DR0..DR3, DR7 */
/* Loads PDPTEs from CR3 under PAE; false when a reserved bit is set (caller raises #GP). */
bool mmu_load_pdptes(struct cpu *cpu, uint64_t cr3);

/* Guest physical page of the code at a linear address, through the ITLB; raises #PF or #GP. */
uint64_t mmu_fetch_page(struct cpu *cpu, uint64_t lin);
/* Makes every following write mark its page dirty again. */
void mmu_rearm_dirty(struct cpu *cpu);
/*
 * Leaves the handler; the run loop executes the instruction again, alone. Nothing may have been
 * committed.
 */
_Noreturn void cpu_restart(struct cpu *cpu);
/* Leaves the instruction likewise when it is not alone yet. */
static inline void cpu_need_alone(struct cpu *cpu)
{
	if (!cpu->single)
		cpu_restart(cpu);
}

/* Leaves the instruction likewise, but has it fetched first: op_cross() of block.c. */
_Noreturn void cpu_refetch(struct cpu *cpu);

/* Values of cpu->escape. */
enum { ESCAPE_FAULT = 1, ESCAPE_RESTART, ESCAPE_REFETCH };

/* run.c: handler of the op after the last one of a block. */
void op_block_end(struct cpu *cpu, const struct op *op);

/* block.c */
void block_invalidate(struct cpu *cpu, uint64_t gpa, uint64_t len); /* RAM was written */

#endif
