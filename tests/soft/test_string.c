/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: overlap, direction, sizes, page crossings, faults in the middle, REP
 * conditions, landmarks.
 */
#include "tests/unit.h"

#include "tests/soft/int_case.h"

static struct int_case c;

static void teardown(void)
{
	case_fini(&c);
}

#define AREA	  0x100000ull
#define AREA_SIZE 0x6000u

struct move {
	uint64_t from, to, count;
	unsigned size;
	bool down;
};

/* What the manual says: one element after the other. */
static void move_reference(uint8_t *area, const struct move *m)
{
	for (uint64_t i = 0; i < m->count; i++) {
		int64_t off = (int64_t)(i * m->size) * (m->down ? -1 : 1);
		uint8_t element[8];

		memcpy(element, area + (int64_t)m->from + off, m->size);
		memcpy(area + (int64_t)m->to + off, element, m->size);
	}
}

static void string_code(uint8_t opcode, unsigned size, uint8_t prefix)
{
	uint8_t code[4];
	unsigned n = 0;

	if (prefix)
		code[n++] = prefix;
	if (size == 2)
		code[n++] = 0x66;
	if (size == 8)
		code[n++] = 0x48;
	code[n++] = opcode | (size != 1);
	case_code(&c, code, n);
}

static uint64_t low(uint64_t *seed, uint64_t n)
{
	return case_random(seed) % n;
}

START_TEST(movs)
{
	static uint8_t before[AREA_SIZE];
	unsigned size = 1u << _i;
	uint64_t seed = 31 + size;
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	string_code(0xa4, size, 0xf3);
	for (unsigned i = 0; i < unit_cases(4000); i++) {
		struct move m = { .size = size,
				  .count = low(&seed, i % 4 ? 40 : 5000 / size),
				  .down = i % 8 == 7 };

		m.from = 0x2000 + low(&seed, 0x1000);
		m.to = i % 3 ? m.from + low(&seed, 64) - 32 : 0x2000 + low(&seed, 0x1000);
		for (unsigned k = 0; k < AREA_SIZE / 8; k++)
			guest_poke(&c.g, AREA + 8 * k, k * 0x9e3779b97f4a7c15ull + i);
		memcpy(before, guest_ram(&c.g, AREA), AREA_SIZE);
		move_reference(before, &m);
		cpu->gpr[R_RSI] = AREA + m.from;
		cpu->gpr[R_RDI] = AREA + m.to;
		cpu->gpr[R_RCX] = m.count;
		flags_set(cpu, m.down ? FL_DF : 0);
		ck_assert_int_eq(case_run(&c, 1), -1);
		ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
		ck_assert_uint_eq(cpu->gpr[R_RSI],
				  AREA + m.from + (m.down ? -1 : 1) * m.count * size);
		ck_assert_uint_eq(cpu->gpr[R_RDI],
				  AREA + m.to + (m.down ? -1 : 1) * m.count * size);
		ck_assert_msg(memcmp(before, guest_ram(&c.g, AREA), AREA_SIZE) == 0,
			      "from %llx to %llx count %llu %s", (unsigned long long)m.from,
			      (unsigned long long)m.to, (unsigned long long)m.count,
			      m.down ? "down" : "up");
	}
}
END_TEST

START_TEST(stos_and_lods)
{
	unsigned size = 1u << _i;
	uint64_t value = 0x1122334455667788, seed = 5,
		 mask = size == 8 ? ~0ull : (1ull << 8 * size) - 1;
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t count = 1 + low(&seed, 5000 / size),
			 to = AREA + 0x800 + low(&seed, 0x1000);

		string_code(0xaa, size, 0xf3);
		memset(guest_ram(&c.g, AREA), 0xee, AREA_SIZE);
		cpu->gpr[R_RAX] = value;
		cpu->gpr[R_RDI] = to;
		cpu->gpr[R_RCX] = count;
		flags_set(cpu, 0);
		ck_assert_int_eq(case_run(&c, 1), -1);
		ck_assert_uint_eq(cpu->gpr[R_RDI], to + count * size);
		for (uint64_t k = 0; k < count; k++)
			ck_assert_uint_eq(guest_peek(&c.g, to + k * size) & mask, value & mask);
		ck_assert_uint_eq(*guest_ram(&c.g, to - 1), 0xee);
		ck_assert_uint_eq(*guest_ram(&c.g, to + count * size), 0xee);
		string_code(0xac, size, 0xf3);
		cpu->gpr[R_RAX] = ~0ull;
		cpu->gpr[R_RSI] = to;
		cpu->gpr[R_RCX] = count;
		ck_assert_int_eq(case_run(&c, 1), -1);
		ck_assert_uint_eq(cpu->gpr[R_RSI], to + count * size);
		ck_assert_uint_eq(cpu->gpr[R_RAX],
				  size == 4 ? (uint32_t)value : (~mask | (value & mask)));
	}
}
END_TEST

/* REPE and REPNE stop after the element that decides, with its flags. */
START_TEST(compare_and_scan)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	memset(guest_ram(&c.g, AREA), 7, 0x4000);
	*guest_ram(&c.g, AREA + 0x1005) = 6;
	string_code(0xa6, 1, 0xf3);
	cpu->gpr[R_RSI] = AREA;
	cpu->gpr[R_RDI] = AREA + 0x2000;
	cpu->gpr[R_RCX] = 0x2000;
	flags_set(cpu, 0);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0x2000 - 0x1006);
	ck_assert_uint_eq(cpu->gpr[R_RSI], AREA + 0x1006);
	ck_assert_uint_eq(flags_arith(cpu), FL_CF | FL_SF | FL_AF | FL_PF);
	string_code(0xae, 1, 0xf2);
	cpu->gpr[R_RAX] = 6;
	cpu->gpr[R_RDI] = AREA;
	cpu->gpr[R_RCX] = ~0ull;
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RDI], AREA + 0x1006);
	ck_assert_uint_eq(cpu->gpr[R_RCX], ~0ull - 0x1006);
	ck_assert_uint_eq(flags_arith(cpu), FL_ZF | FL_PF);
	/* Count 0: nothing happens, flags included. */
	cpu->gpr[R_RCX] = 0;
	flags_set(cpu, FL_CF);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RDI], AREA + 0x1006);
	ck_assert_uint_eq(flags_arith(cpu), FL_CF);
}
END_TEST

/* A page fault in iteration k leaves the registers after k - 1; the page before is written. */
START_TEST(fault_in_the_middle)
{
	struct cpu *cpu;
	uint64_t end = 0x400000; /* the table maps 2 MiB pages; RAM ends here, and so does the
				    mapping below */

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	guest_poke(&c.g, GUEST_PD + 16, 0);
	string_code(0xaa, 8, 0xf3);
	cpu->gpr[R_RAX] = 0x55;
	cpu->gpr[R_RDI] = end - 0x1804;
	cpu->gpr[R_RCX] = 0x1000;
	flags_set(cpu, 0);
	ck_assert_int_eq(case_run(&c, 1), VEC_PF);
	ck_assert_uint_eq(cpu->cr2, end);
	ck_assert_uint_eq(cpu->gpr[R_RDI], end - 4);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0x1000 - 0x300);
	ck_assert_uint_eq(guest_peek(&c.g, end - 12), 0x55);
	ck_assert_uint_eq(guest_peek(&c.g, end - 8) >> 32, 0);
	/* The frame of the fault holds the address of the instruction. */
	ck_assert_uint_eq(guest_peek(&c.g, cpu->gpr[R_RSP] + 8), CASE_CODE);
}
END_TEST

/* Every RCX inside a REP instruction can be landed at, and going on gives the same end. */
START_TEST(landmarks)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	string_code(0xa4, 1, 0xf3);
	for (uint64_t at = 1; at < 9000; at += 1 + at / 3) {
		struct landmark lm = { .count = cpu->count,
				       .rip = CASE_CODE,
				       .rcx = 9000 - at,
				       .in_rep = true },
				now;

		cpu->rip = CASE_CODE;
		cpu->gpr[R_RSI] = AREA;
		cpu->gpr[R_RDI] = AREA + 0x3000;
		cpu->gpr[R_RCX] = 9000;
		flags_set(cpu, 0);
		memset(guest_ram(&c.g, AREA), (int)at, 0x3000);
		memset(guest_ram(&c.g, AREA + 0x3000), 0, 0x3000);
		ck_assert_int_eq(c.g.e->ops->run(c.g.e, &lm), ENGINE_EXIT_UNTIL);
		c.g.e->ops->landmark(c.g.e, &now);
		ck_assert(now.in_rep && now.count == lm.count && now.rip == CASE_CODE &&
			  now.rcx == lm.rcx);
		ck_assert_uint_eq(cpu->gpr[R_RDI], AREA + 0x3000 + at);
		ck_assert_uint_eq(*guest_ram(&c.g, AREA + 0x3000 + at - 1), at & 0xff);
		ck_assert_uint_eq(*guest_ram(&c.g, AREA + 0x3000 + at), 0);
		ck_assert_int_eq(guest_run_to(&c.g, lm.count + 1), ENGINE_EXIT_UNTIL);
		ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
		ck_assert_uint_eq(cpu->gpr[R_RDI], AREA + 0x3000 + 9000);
		ck_assert_uint_eq(cpu->rip, CASE_CODE + 2);
		ck_assert_uint_eq(cpu->count, lm.count + 1);
	}
}
END_TEST

/* ---- real mode: 16-bit registers wrap, segments have bases and limits ---- */
START_TEST(real_mode)
{
	static const uint8_t code[] = { 0xf3, 0x26,
					0xa4 }; /* rep movsb with ES override of the source */
	struct cpu_state s;
	struct err err = ERR_INIT;
	struct cpu *cpu;

	case_init(&c, CASE_REAL);
	cpu = case_cpu(&c);
	c.g.e->ops->get_state(c.g.e, &s);
	s.seg[SEG_ES].base = 0x20000;
	s.seg[SEG_ES].selector = 0x2000;
	ck_assert_int_eq(c.g.e->ops->set_state(c.g.e, &s, &err), 0);
	case_code(&c, code, sizeof(code));
	for (unsigned i = 0; i < 0x10000; i++)
		*guest_ram(&c.g, 0x20000 + i) = (uint8_t)(i ^ i >> 8);
	cpu->gpr[R_RSI] = 0xabcdfff0;
	cpu->gpr[R_RDI] = 0x12348000;
	cpu->gpr[R_RCX] = 0x55550020;
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RSI], 0xabcd0010);
	ck_assert_uint_eq(cpu->gpr[R_RDI], 0x12348020);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0x55550000);
	ck_assert_uint_eq(*guest_ram(&c.g, 0x2800f), 0xffff % 256 ^ 0xff);
	ck_assert_uint_eq(*guest_ram(&c.g, 0x2801f), 0x0f);
}
END_TEST

/* An element that crosses the end of a 64 KiB segment is #GP; those before it are done. */
START_TEST(segment_limit)
{
	static const uint8_t code[] = { 0xf3, 0xab }; /* rep stosw */
	struct cpu *cpu;

	case_init(&c, CASE_REAL);
	cpu = case_cpu(&c);
	case_code(&c, code, sizeof(code));
	cpu->gpr[R_RAX] = 0x1234;
	cpu->gpr[R_RDI] = 0xfffb;
	cpu->gpr[R_RCX] = 5;
	ck_assert_int_eq(case_run(&c, 1), VEC_GP);
	ck_assert_uint_eq(cpu->gpr[R_RDI], 0xffff);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 3);
	ck_assert_uint_eq(guest_peek(&c.g, 0xfffb) & 0xffffffffff, 0x0012341234);
}
END_TEST

/* 32-bit addresses in 64-bit mode: registers are zero-extended, addresses wrap at 4 GiB. */
START_TEST(address_size_32)
{
	static const uint8_t code[] = { 0x67, 0xf3, 0xa4 };
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	case_code(&c, code, sizeof(code));
	memset(guest_ram(&c.g, AREA), 0x77, 16);
	cpu->gpr[R_RSI] = 0x500000000 + AREA;
	cpu->gpr[R_RDI] = 0x600000000 + AREA + 0x1000;
	cpu->gpr[R_RCX] = 0x700000010;
	flags_set(cpu, 0);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RSI], AREA + 16);
	ck_assert_uint_eq(cpu->gpr[R_RDI], AREA + 0x1010);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
	ck_assert_uint_eq(guest_peek(&c.g, AREA + 0x1008), 0x7777777777777777);
}
END_TEST

/*
 * ... also by a count of 0: of RCX always, of the pointers by MOVS and STOS (as Intel's cores do).
 */
START_TEST(address_size_32_without_count)
{
	static const struct {
		uint8_t opcode;
		bool src, dst;
	} row[] = { { 0xa4, true, true },   { 0xa5, true, true },   { 0xaa, false, true },
		    { 0xac, false, false }, { 0xa6, false, false }, { 0xae, false, false } };
	const uint64_t high = 0x500000000;
	uint8_t code[] = { 0x67, 0xf3, row[_i].opcode };
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	case_code(&c, code, sizeof(code));
	cpu->gpr[R_RSI] = cpu->gpr[R_RDI] = high + AREA;
	cpu->gpr[R_RCX] = high;
	flags_set(cpu, FL_ZF | FL_CF);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
	ck_assert_uint_eq(cpu->gpr[R_RSI], (row[_i].src ? 0 : high) + AREA);
	ck_assert_uint_eq(cpu->gpr[R_RDI], (row[_i].dst ? 0 : high) + AREA);
	ck_assert_uint_eq(flags_get(cpu), FL_ZF | FL_CF | FL_ONE);
}
END_TEST

/* REP STOS over its own code: the new bytes are what runs next. */
START_TEST(overwrites_itself)
{
	static const uint8_t code[] = { 0xf3, 0xaa, 0x90, 0x90, 0x90, 0x90 };
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	case_code(&c, code, sizeof(code));
	cpu->gpr[R_RAX] = 0xf4; /* HLT */
	cpu->gpr[R_RDI] = CASE_CODE + 2;
	cpu->gpr[R_RCX] = 4;
	flags_set(cpu, 0);
	cpu->rip = CASE_CODE;
	ck_assert_int_eq(guest_run_to(&c.g, cpu->count + 10), ENGINE_EXIT_HALT);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 3);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
}
END_TEST

/* Device memory: one access an element, in order. */
START_TEST(device_memory)
{
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	string_code(0xaa, 4, 0xf3);
	cpu->gpr[R_RAX] = 0xcafe;
	cpu->gpr[R_RDI] = 0x800ff8;
	cpu->gpr[R_RCX] = 4;
	flags_set(cpu, 0);
	ck_assert_int_eq(case_run(&c, 1), -1);
	ck_assert_uint_eq(c.g.n, 4);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(c.g.log[i].kind, GUEST_MMIO_OUT);
		ck_assert_uint_eq(c.g.log[i].addr, 0x800ff8 + 4 * i);
		ck_assert_uint_eq(c.g.log[i].value, 0xcafe);
		ck_assert_uint_eq(c.g.log[i].size, 4);
	}
}
END_TEST

/* ---- source and destination in one slot of the TLB ---- */
#define SHARED	     (TLB_SIZE * PAGE_SIZE) /* linear pages from here on, in the slots of 0 on */
#define SHARED_TABLE 0x73000ull
#define SHARED_PAGES 512u

static struct int_case alone; /* where each element is moved by itself */

static bool rnd_one_in(uint64_t *seed, unsigned n)
{
	return low(seed, n) == 0;
}

/* Of a page from SHARED on: mostly RAM in AREA; `tables`: sometimes the table of these itself. */
static uint64_t shared_entry(uint64_t *seed, bool tables)
{
	if (tables && rnd_one_in(seed, 4))
		return SHARED_TABLE | 7;
	return (AREA + low(seed, AREA_SIZE / PAGE_SIZE) * PAGE_SIZE) | (rnd_one_in(seed, 30)   ? 0
									: rnd_one_in(seed, 15) ? 5
											       : 7);
}

/* The same in both machines. */
static void poke_both(uint64_t gpa, uint64_t v)
{
	guest_poke(&c.g, gpa, v);
	guest_poke(&alone.g, gpa, v);
}

static void shared_pages(uint64_t seed, bool tables)
{
	for (unsigned i = 0; i < SHARED_PAGES; i++)
		poke_both(SHARED_TABLE + 8 * i, shared_entry(&seed, tables));
	for (unsigned i = 0; i < AREA_SIZE / 8; i++)
		poke_both(AREA + 8 * i, shared_entry(&seed, tables));
	poke_both(GUEST_PD + 8 * (SHARED >> 21), SHARED_TABLE | 7);
}

static void shared_registers(struct int_case *m, uint64_t seed, unsigned align)
{
	struct cpu *cpu = case_cpu(m);
	bool down = rnd_one_in(&seed, 8), back = low(&seed, 2);
	uint64_t base = align > 1 && !down && low(&seed, 2) ? SHARED_TABLE : AREA,
		 a = base + low(&seed, 0x2000) / align * align,
		 b = base + low(&seed, 0x2000) / align * align;

	cpu->gpr[R_RSI] = back ? SHARED + b : a;
	cpu->gpr[R_RDI] = back ? a : SHARED + b;
	cpu->gpr[R_RCX] = 2 + low(&seed, rnd_one_in(&seed, 4) ? 3000 : 600);
	flags_set(cpu, down ? FL_DF : 0);
	case_gates(&m->g, CASE_64);
}

/* A landmark in front of the last element. */
static void run_alone_to_the_end(void)
{
	struct cpu *cpu = case_cpu(&alone);
	const struct landmark lm = {
		.count = cpu->count, .rip = CASE_CODE, .rcx = 1, .in_rep = true
	};

	cpu->rip = CASE_CODE;
	cpu->halted = cpu->in_rep = false;
	if (alone.g.e->ops->run(alone.g.e, &lm) == ENGINE_EXIT_UNTIL && cpu->in_rep)
		guest_run_to(&alone.g, lm.count + 1);
}

static void same_machines(unsigned i)
{
	struct cpu *a = case_cpu(&c), *b = case_cpu(&alone);
	bool tlbs = true;

	ck_assert_msg(memcmp(a->gpr, b->gpr, 16 * sizeof(a->gpr[0])) == 0 && a->rip == b->rip &&
			      a->count == b->count && a->cr2 == b->cr2 &&
			      flags_get(a) == flags_get(b),
		      "case %u: rip %llx and %llx, rcx %llx and %llx", i,
		      (unsigned long long)a->rip, (unsigned long long)b->rip,
		      (unsigned long long)a->gpr[R_RCX], (unsigned long long)b->gpr[R_RCX]);
	for (unsigned k = 0; k < MMU_COUNT * TLB_SIZE; k++) {
		const struct tlb_entry *x = &a->tlbs[k / TLB_SIZE][k % TLB_SIZE],
				       *y = &b->tlbs[k / TLB_SIZE][k % TLB_SIZE];

		tlbs &= x->rd == y->rd && x->wr == y->wr && x->gpa == y->gpa;
	}
	ck_assert_msg(tlbs, "case %u: TLBs", i);
	ck_assert_msg(memcmp(c.g.mem.base, alone.g.mem.base, CASE_RAM) == 0, "case %u: memory", i);
	ck_assert_msg(memcmp(c.g.mem.dirty, alone.g.mem.dirty, c.g.mem.pages) == 0,
		      "case %u: dirty", i);
}

START_TEST(movs_in_one_slot)
{
	unsigned size = 1u << _i;
	uint64_t seed = 77 + size, walks = 0, walks_alone = 0;

	case_init(&c, CASE_64);
	case_init(&alone, CASE_64);
	for (unsigned i = 0; i < unit_cases(400); i++) {
		bool tables = size == 8 && i % 2;
		uint64_t now = case_random(&seed) | 1;

		shared_pages(now, tables);
		string_code(0xa4, size, 0xf3);
		memory_write(&alone.g.mem, CASE_CODE, guest_ram(&c.g, CASE_CODE), 4);
		shared_registers(&c, now, tables ? 8 : 1);
		shared_registers(&alone, now, tables ? 8 : 1);
		walks -= tables ? 0 : case_cpu(&c)->stats.walks;
		walks_alone -= tables ? 0 : case_cpu(&alone)->stats.walks;
		case_run(&c, 1);
		run_alone_to_the_end();
		same_machines(i);
		walks += tables ? 0 : case_cpu(&c)->stats.walks;
		walks_alone += tables ? 0 : case_cpu(&alone)->stats.walks;
		if (i % 3 == 0) {
			mmu_flush_all(case_cpu(&c));
			mmu_flush_all(case_cpu(&alone));
		}
	}
	/* Most that go up were moved together. */
	ck_assert_uint_lt(walks, walks_alone / 2);
	case_fini(&alone);
}
END_TEST

/* The first element takes the prefix away; so it is the only one of that instruction. */
START_TEST(movs_in_one_slot_overwrites_itself)
{
	static const uint8_t code[] = { 0xf3, 0xa4, 0xf4, 0xf4 },
			     from[] = { 0x90, 0xf4, 0xf5, 0xf5 };
	struct cpu *cpu;

	case_init(&c, CASE_64);
	cpu = case_cpu(&c);
	guest_poke(&c.g, GUEST_PD + 8 * (SHARED >> 21), 0x200087);
	case_code(&c, code, sizeof(code));
	memory_write(&c.g.mem, 0x200000 + CASE_CODE, from, sizeof(from));
	cpu->gpr[R_RSI] = SHARED + CASE_CODE;
	cpu->gpr[R_RDI] = CASE_CODE;
	cpu->gpr[R_RCX] = 4;
	flags_set(cpu, 0);
	cpu->rip = CASE_CODE;
	ck_assert_int_eq(guest_run_to(&c.g, cpu->count + 10), ENGINE_EXIT_HALT);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 3);
	ck_assert_uint_eq(cpu->rip, CASE_CODE + 3);
	ck_assert_uint_eq(guest_peek(&c.g, CASE_CODE) & 0xffffffff, 0xf4f4f490);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_loop_test(tc, movs, 0, 4);
	tcase_add_loop_test(tc, movs_in_one_slot, 0, 4);
	tcase_add_test(tc, movs_in_one_slot_overwrites_itself);
	tcase_add_loop_test(tc, stos_and_lods, 0, 4);
	tcase_add_test(tc, compare_and_scan);
	tcase_add_test(tc, fault_in_the_middle);
	tcase_add_test(tc, landmarks);
	tcase_add_test(tc, real_mode);
	tcase_add_test(tc, segment_limit);
	tcase_add_test(tc, address_size_32);
	tcase_add_loop_test(tc, address_size_32_without_count, 0, 6);
	tcase_add_test(tc, overwrites_itself);
	tcase_add_test(tc, device_memory);
}

UNIT_MAIN("string", add_tests)
