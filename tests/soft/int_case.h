/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single instructions, on the software CPU and on the host. A guest stands ready in some mode with
 * an interrupt table whose gates lead to one HLT each, so a fault tells its vector by where the CPU
 * halted. The host executes the same bytes in a page of its own with the same registers; memory
 * operands are [rBX] with a buffer of each side's own.
 */
#ifndef TESTS_SOFT_INT_CASE_H
#define TESTS_SOFT_INT_CASE_H

#include <check.h>
#include <sys/mman.h>

#include "tests/soft/guest.h"

#define CASE_CODE  0x4000ull
#define CASE_DATA  0x8000ull
#define CASE_STACK 0x6000ull
#define CASE_IDT   0x2000ull
#define CASE_GDT   0x2800ull
#define CASE_HALTS 0x3000ull
#define CASE_RAM   (4ull << 20)

enum case_mode { CASE_64, CASE_32, CASE_REAL };

struct case_regs {
	uint64_t rax, rcx, rdx, rbx, flags;
	uint64_t mem[4];
};

struct int_case {
	struct guest g;
	enum case_mode mode;
	uint64_t count;
};

static inline void case_gates(struct guest *g, enum case_mode mode)
{
	memset(guest_ram(g, CASE_HALTS), 0xf4, 64);
	for (unsigned v = 0; v < 32; v++) {
		uint64_t to = CASE_HALTS + v;

		if (mode == CASE_REAL) {
			uint32_t ivt = (uint32_t)to;

			memcpy(guest_ram(g, 4 * v), &ivt, 4);
		} else {
			unsigned step = mode == CASE_64 ? 16 : 8;

			guest_poke(g, CASE_IDT + step * v, to | 8 << 16 | 0x8e00ull << 32);
		}
	}
	guest_poke(g, CASE_GDT + 8, mode == CASE_64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
	guest_poke(g, CASE_GDT + 16, 0x00cf93000000ffff);
}

static inline void case_flat(struct cpu_state *s, uint32_t code_attr)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct seg_state){ 0, UINT32_MAX, i == SEG_CS ? code_attr : 0xc093,
						i == SEG_CS ? 8 : 16 };
}

static inline void case_init(struct int_case *c, enum case_mode mode)
{
	struct cpu_state s;
	struct err err = ERR_INIT;

	memset(c, 0, sizeof(*c));
	c->mode = mode;
	guest_init(&c->g, CASE_RAM);
	if (mode == CASE_64) {
		guest_long_mode(&c->g, CASE_CODE, 0, &s);
	} else {
		cpu_state_reset(&s);
		for (unsigned i = SEG_ES; i <= SEG_GS; i++)
			s.seg[i].base = s.seg[i].selector = 0;
		if (mode == CASE_32) {
			s.cr0 = CR0_PE | CR0_ET | CR0_NE;
			case_flat(&s, 0xc09b);
		}
		s.rflags = 2;
	}
	case_gates(&c->g, mode);
	s.idtr.base = mode == CASE_REAL ? 0 : CASE_IDT;
	s.idtr.limit = 0x3ff;
	s.gdtr.base = CASE_GDT;
	s.gdtr.limit = 0x1f;
	s.gpr[R_RSP] = CASE_STACK;
	s.rip = CASE_CODE;
	ck_assert_int_eq(c->g.e->ops->set_state(c->g.e, &s, &err), 0);
}

static inline void case_fini(struct int_case *c)
{
	guest_fini(&c->g);
}

static inline struct cpu *case_cpu(struct int_case *c)
{
	return guest_cpu(&c->g);
}

static inline void case_code(struct int_case *c, const uint8_t *code, size_t n)
{
	memory_write(&c->g.mem, CASE_CODE, code, n);
}

/* The CPU of machine version 2 from now on. */
static inline void case_version_2(struct int_case *c)
{
	case_cpu(c)->bus.version = 2;
	cpu_mode_update(case_cpu(c));
}

/* Executes n instructions from CASE_CODE; returns the vector of a fault, or -1. */
static inline int case_run(struct int_case *c, unsigned n)
{
	struct cpu *cpu = case_cpu(c);
	enum engine_exit_kind kind;

	cpu->rip = CASE_CODE;
	cpu->halted = cpu->in_rep = false;
	c->count = cpu->count;
	kind = guest_run_to(&c->g, cpu->count + n);
	if (kind == ENGINE_EXIT_UNTIL && !cpu->halted)
		return -1;
	ck_assert_msg(cpu->halted, "exit %d at %llx", kind, (unsigned long long)cpu->rip);
	return (int)(cpu->rip - 1 - CASE_HALTS);
}

/* The same with registers and a memory operand in and out. */
static inline int case_step(struct int_case *c, struct case_regs *r)
{
	struct cpu *cpu = case_cpu(c);
	int vec;

	cpu->gpr[R_RAX] = r->rax;
	cpu->gpr[R_RCX] = r->rcx;
	cpu->gpr[R_RDX] = r->rdx;
	cpu->gpr[R_RBX] = CASE_DATA + 8;
	cpu->gpr[R_RSP] = CASE_STACK;
	flags_set(cpu, r->flags);
	memcpy(guest_ram(&c->g, CASE_DATA), r->mem, sizeof(r->mem));
	vec = case_run(c, 1);
	r->rax = cpu->gpr[R_RAX];
	r->rcx = cpu->gpr[R_RCX];
	r->rdx = cpu->gpr[R_RDX];
	r->flags = flags_get(cpu);
	memcpy(r->mem, guest_ram(&c->g, CASE_DATA), sizeof(r->mem));
	return vec;
}

/* ---- the host ---- */
static inline uint8_t *host_page(void)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		ck_assert(page != MAP_FAILED);
	}
	return page;
}

static inline void host_code(const uint8_t *code, size_t n, uint8_t ret)
{
	memcpy(host_page(), code, n);
	host_page()[n] = ret;
}

static inline void host_step(struct case_regs *r)
{
	uint64_t rbx = (uintptr_t)&r->mem[1], flags = r->flags;

	__asm__ volatile("lea	-128(%%rsp), %%rsp\n" /* below the red zone */
			 "push	%[flags]\n"
			 "popfq\n"
			 "call	*%[code]\n"
			 "pushfq\n"
			 "pop	%[flags]\n"
			 "lea	128(%%rsp), %%rsp\n"
			 "cld\n"
			 : "+a"(r->rax), "+c"(r->rcx), "+d"(r->rdx), "+b"(rbx), [flags] "+r"(flags)
			 : [code] "r"(host_page())
			 : "memory", "cc");
	r->flags = flags;
}

/* ---- random operands, with a liking for edges ---- */
static inline uint64_t case_random(uint64_t *seed)
{
	static const uint64_t edge[] = {
		0,	1,	    0x7f,	0x80,	    0xff,	0x7fff,		  0x8000,
		0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 63, (1ull << 63) - 1, ~0ull,
	};
	uint64_t r;

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	r = *seed;
	if (r % 3 == 0)
		return edge[r / 3 % (sizeof(edge) / sizeof(edge[0]))] + r / 64 % 3 - 1;
	return r * 0x9e3779b97f4a7c15ull >> (r % 5 == 0 ? r / 8 % 60 : 0);
}

static inline void case_random_regs(struct case_regs *r, uint64_t *seed)
{
	r->rax = case_random(seed);
	r->rcx = case_random(seed);
	r->rdx = case_random(seed);
	for (unsigned i = 0; i < 4; i++)
		r->mem[i] = case_random(seed);
	r->flags = (case_random(seed) & FL_ARITH) | FL_ONE | FL_IF;
}

/* One instruction with what it leaves undefined. */
struct case_insn {
	const char *name;
	uint8_t code[8];
	uint8_t len;
	uint32_t undefined;
};

#define INSN(n, undef, ...)                                                   \
	{                                                                     \
		n, { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), undef \
	}

/* Runs it on both sides with `rounds` sets of operands; `adjust` may make them legal. */
static inline void case_compare(struct int_case *c, const struct case_insn *insn, unsigned rounds,
				void (*adjust)(struct case_regs *))
{
	uint64_t seed =
		0x1234567 + insn->len * 977ull + insn->code[1] * 131ull + insn->code[insn->len - 1];

	case_code(c, insn->code, insn->len);
	host_code(insn->code, insn->len, 0xc3);
	for (unsigned i = 0; i < rounds; i++) {
		struct case_regs in, host, soft;
		int vec;

		case_random_regs(&in, &seed);
		if (adjust)
			adjust(&in);
		host = soft = in;
		host_step(&host);
		vec = case_step(c, &soft);
		ck_assert_msg(vec == -1, "%s: vector %d", insn->name, vec);
		host.flags = (host.flags ^ soft.flags) & FL_ARITH & ~insn->undefined;
		ck_assert_msg(host.flags == 0,
			      "%s: flags differ in %llx; rax %llx rcx %llx rdx %llx flags %llx",
			      insn->name, (unsigned long long)host.flags,
			      (unsigned long long)in.rax, (unsigned long long)in.rcx,
			      (unsigned long long)in.rdx, (unsigned long long)in.flags);
		host.flags = soft.flags = 0;
		ck_assert_msg(memcmp(&host, &soft, sizeof(host)) == 0,
			      "%s: rax %llx rcx %llx rdx %llx mem %llx: host %llx %llx %llx %llx, "
			      "soft %llx %llx %llx %llx",
			      insn->name, (unsigned long long)in.rax, (unsigned long long)in.rcx,
			      (unsigned long long)in.rdx, (unsigned long long)in.mem[1],
			      (unsigned long long)host.rax, (unsigned long long)host.rcx,
			      (unsigned long long)host.rdx, (unsigned long long)host.mem[1],
			      (unsigned long long)soft.rax, (unsigned long long)soft.rcx,
			      (unsigned long long)soft.rdx, (unsigned long long)soft.mem[1]);
	}
}

/*
 * All sizes of an instruction that has its 8-bit opcode at `op` and the wider ones at op + 1, with
 * a register (rCX as r/m) and a memory operand; reg is the ModRM reg field, imm the number of
 * immediate bytes of the wider form (0, 1 or 4; the 8-bit form has one whenever imm is not 0).
 */
static inline void case_compare_sizes(struct int_case *c, const char *name, const uint8_t *op,
				      unsigned oplen, unsigned reg, unsigned imm,
				      uint32_t undefined, unsigned rounds,
				      void (*adjust)(struct case_regs *))
{
	for (unsigned size = 0; size < 4; size++) {
		for (unsigned mem = 0; mem < 2; mem++) {
			struct case_insn insn = { .name = name, .undefined = undefined };
			unsigned n = 0, bytes = !imm || size == 0 ? imm != 0
						: imm == 1	  ? 1
						: size == 1	  ? 2
								  : 4;

			if (size == 1)
				insn.code[n++] = 0x66;
			if (size == 3)
				insn.code[n++] = 0x48;
			memcpy(insn.code + n, op, oplen);
			n += oplen;
			insn.code[n - 1] |= size != 0;
			insn.code[n++] = (uint8_t)((mem ? 3 : 0xc1) | reg << 3);
			for (unsigned i = 0; i < bytes; i++)
				insn.code[n++] = (uint8_t)(0x93 + 0x3b * i + 7 * size);
			insn.len = (uint8_t)n;
			case_compare(c, &insn, rounds, adjust);
		}
	}
}

#endif
