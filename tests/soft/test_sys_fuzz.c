// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random system instructions over random descriptor tables, in all modes. Whatever the guest does,
 * the engine comes back, and the state that it ends in is one that can be saved, restored and run
 * on.
 *
 * SYS_FUZZ_SEED, SYS_FUZZ_CASES: where it begins, and how many.
 */
#include "tests/soft/rig.h"

static uint64_t rng_state;

static uint64_t rng(void)
{
	/* xorshift64* */
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned n)
{
	return (unsigned)(rng() >> 33) % n;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

/* Opcodes without operands, or with immediate bytes that come from the generator. */
static const struct {
	uint8_t len, bytes[3], tail;
} plain[] = {
	{ 1, { 0xcc }, 0 },
	{ 1, { 0xcd }, 1 },
	{ 1, { 0xce }, 0 },
	{ 1, { 0xcf }, 0 },
	{ 2, { 0x48, 0xcf }, 0 },
	{ 1, { 0xca }, 2 },
	{ 1, { 0xcb }, 0 },
	{ 2, { 0x48, 0xcb }, 0 },
	{ 1, { 0x9c }, 0 },
	{ 1, { 0x9d }, 0 },
	{ 1, { 0xfa }, 0 },
	{ 1, { 0xfb }, 0 },
	{ 1, { 0x06 }, 0 },
	{ 1, { 0x07 }, 0 },
	{ 1, { 0x16 }, 0 },
	{ 1, { 0x17 }, 0 },
	{ 1, { 0x1e }, 0 },
	{ 1, { 0x1f }, 0 },
	{ 2, { 0x0f, 0xa0 }, 0 },
	{ 2, { 0x0f, 0xa1 }, 0 },
	{ 2, { 0x0f, 0xa8 }, 0 },
	{ 2, { 0x0f, 0xa9 }, 0 },
	{ 1, { 0x6c }, 0 },
	{ 1, { 0x6d }, 0 },
	{ 1, { 0x6e }, 0 },
	{ 1, { 0x6f }, 0 },
	{ 1, { 0xe4 }, 1 },
	{ 1, { 0xed }, 0 },
	{ 1, { 0xe6 }, 1 },
	{ 1, { 0xef }, 0 },
	{ 1, { 0xf1 }, 0 },
	{ 1, { 0xf4 }, 0 },
	{ 2, { 0x0f, 0x05 }, 0 },
	{ 2, { 0x0f, 0x07 }, 0 },
	{ 3, { 0x48, 0x0f, 0x07 }, 0 },
	{ 2, { 0x0f, 0x34 }, 0 },
	{ 2, { 0x0f, 0x35 }, 0 },
	{ 2, { 0x0f, 0x06 }, 0 },
	{ 2, { 0x0f, 0x08 }, 0 },
	{ 2, { 0x0f, 0x09 }, 0 },
	{ 2, { 0x0f, 0x30 }, 0 },
	{ 2, { 0x0f, 0x31 }, 0 },
	{ 2, { 0x0f, 0x32 }, 0 },
	{ 2, { 0x0f, 0x33 }, 0 },
	{ 2, { 0x0f, 0xa2 }, 0 },
	{ 3, { 0x0f, 0x01, 0xd0 }, 0 },
	{ 3, { 0x0f, 0x01, 0xd1 }, 0 },
	{ 3, { 0x0f, 0x01, 0xf8 }, 0 },
	{ 3, { 0x0f, 0x01, 0xf9 }, 0 },
	{ 3, { 0x0f, 0x01, 0xca }, 0 },
	{ 3, { 0x0f, 0x01, 0xcb }, 0 },
	{ 1, { 0x90 }, 0 },
};

/* Opcodes with a ModRM byte. */
static const struct {
	uint8_t len, bytes[3];
} modrm[] = {
	{ 1, { 0x8c } },       { 1, { 0x8e } },	      { 1, { 0x8e } },
	{ 1, { 0xff } },       { 2, { 0x48, 0xff } }, { 2, { 0x0f, 0x00 } },
	{ 2, { 0x0f, 0x01 } }, { 2, { 0x0f, 0x02 } }, { 2, { 0x0f, 0x03 } },
	{ 2, { 0x0f, 0x20 } }, { 2, { 0x0f, 0x21 } }, { 2, { 0x0f, 0x22 } },
	{ 2, { 0x0f, 0x23 } }, { 2, { 0x0f, 0xb2 } }, { 2, { 0x0f, 0xb4 } },
	{ 2, { 0x0f, 0xb5 } }, { 1, { 0xc4 } },	      { 1, { 0xc5 } },
	{ 1, { 0x62 } },       { 1, { 0x63 } },	      { 3, { 0xf3, 0x0f, 0xae } },
	{ 2, { 0x0f, 0xc7 } }, { 1, { 0x89 } },	      { 1, { 0x8b } },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint16_t any_selector(void)
{
	static const uint16_t known[] = {
		0,	  K_CODE32, K_DATA, K_CODE64, U_CODE32, U_DATA,
		U_CODE64, S_TSS,    S_LDT,  S_TSS2,   S_FREE,	S_FREE + 8
	};

	return chance(80) ? (uint16_t)(known[below(COUNT(known))] ^ (chance(10) ? below(8) : 0))
			  : (uint16_t)rng();
}

static uint64_t any_value(void)
{
	static const uint64_t known[] = {
		DATA,	STACK - 64,   USTACK - 64, CODE,       CODE + 64, HANDLER, 0,
		PML4,	GDT,	      TSS,	   0xc0000080, 0x1b,	  0x10,	   0x8000001b,
		CR0_PE, 1u << 31 | 1, 0x20,	   0x6f0,      0x277,	  0x3f8,   1ull << 47
	};

	return chance(75)   ? known[below(COUNT(known))] + below(3)
	       : chance(50) ? any_selector()
			    : rng();
}

static uint64_t any_descriptor(void)
{
	uint32_t attr = (uint32_t)rng() & 0xf0ff;

	if (chance(80))
		attr |= SEG_P;
	if (chance(30))
		return gate_make(any_selector(), (uint32_t)any_value(), below(16), below(4),
				 below(8));
	return desc_make(chance(70) ? 0 : (uint32_t)any_value(),
			 chance(70) ? UINT32_MAX : below(0x10000), attr);
}

static unsigned put_instruction(uint8_t *p)
{
	unsigned n = 0, i;

	if (chance(8))
		p[n++] = 0x66;
	if (chance(3))
		p[n++] = 0x67;
	if (chance(4)) {
		/* far JMP or CALL with an immediate, where the mode has it */
		uint16_t sel = any_selector();
		uint32_t off = (uint32_t)any_value();

		p[n++] = chance(50) ? 0xea : 0x9a;
		memcpy(p + n, &off, 4);
		memcpy(p + n + 4, &sel, 2);
		return n + 6;
	}
	if (chance(50)) {
		i = below(COUNT(plain));
		memcpy(p + n, plain[i].bytes, plain[i].len);
		n += plain[i].len;
		for (unsigned t = 0; t < plain[i].tail; t++)
			p[n++] = (uint8_t)rng();
		return n;
	}
	i = below(COUNT(modrm));
	memcpy(p + n, modrm[i].bytes, modrm[i].len);
	n += modrm[i].len;
	p[n++] = chance(50) ? (uint8_t)(rng() | 0xc0) : (uint8_t)(rng() & 0x3f);
	return n;
}

static void put_code(struct rig *r, uint64_t gpa)
{
	uint8_t code[256 + 16];
	unsigned n = 0;

	while (n < 256)
		n += put_instruction(code + n);
	rig_put(r, gpa, code, n);
}

static void fill_tables(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		rig_put64(r, GDT + 8 + 8 * below(31), any_descriptor());
	for (unsigned i = 0; i < 8; i++)
		rig_put64(r, LDT + 8 * below(32), any_descriptor());
	for (unsigned i = 0; i < 12; i++)
		rig_put64(r, IDT + 8 * below(512), any_descriptor());
	for (unsigned i = 0; i < 26; i++) {
		if (chance(50))
			rig_put32(r, TSS2 + 4 * i, (uint32_t)any_value());
		if (chance(10))
			rig_put32(r, TSS + 4 * i, (uint32_t)any_value());
	}
	for (unsigned i = 0; i < 16; i++) {
		uint64_t v[4] = { any_value(), any_value(), any_selector(), rng() & 0x247fd7 };

		rig_put64(r, STACK - 64 + 8 * i, v[below(4)]);
		rig_put64(r, USTACK - 64 + 8 * i, v[below(4)]);
		rig_put64(r, DATA + 8 * i, v[below(4)]);
	}
}

static void start_mode(struct rig *r)
{
	unsigned cpl = chance(40) ? 3 : 0;

	switch (below(4)) {
	case 0:
		rig_real(r);
		break;
	case 1:
		rig_prot(r, cpl);
		break;
	case 2:
		rig_long(r, cpl);
		break;
	default:
		/* compatibility mode */
		rig_long(r, cpl);
		rig_seg(r, SEG_CS, cpl ? U_CODE32 : K_CODE32, A_CODE32 | A_DPL(cpl));
		break;
	}
	r->s.rflags = 2 | (rng() & (FL_IF | FL_NT | FL_IOPL | FL_AC | FL_DF));
	if (chance(10))
		r->s.rflags |= FL_TF;
	if (r->s.cr0 & CR0_PG)
		r->s.cr4 |= rng() & (CR4_DE | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_TSD);
	r->s.star = rng();
	r->s.lstar = CODE;
	r->s.fmask = rng();
	r->s.sysenter_cs = any_selector();
	r->s.sysenter_eip = CODE;
	r->s.sysenter_esp = STACK;
}

/* The state has to survive both ways of moving it. */
static void check_state(struct rig *r, uint64_t seed)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	struct cpu_state t;
	struct rd in;

	ck_assert_msg(r->e->ops->set_state(r->e, &r->s, &err) == 0, "seed %lu: %s", (long)seed,
		      err.text);
	cpu_state_save(&r->s, &b);
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_msg(cpu_state_restore(&t, &in) == 0, "seed %lu: state is refused", (long)seed);
	r->e->ops->get_state(r->e, &t);
	ck_assert_msg(t.rflags == r->s.rflags && t.rip == r->s.rip && t.count == r->s.count,
		      "seed %lu: rflags %#lx %#lx", (long)seed, (long)t.rflags, (long)r->s.rflags);
	buf_free(&b);
}

static void one_case(uint64_t seed)
{
	enum engine_exit_kind kind;
	struct rig *r = rig_new();

	rng_state = seed * 0x9e3779b97f4a7c15ull + 1;
	start_mode(r);
	fill_tables(r);
	for (unsigned i = 0; i < 16; i++) {
		if (i != R_RSP)
			r->s.gpr[i] = any_value();
	}
	put_code(r, CODE);
	put_code(r, DATA + 0x200);
	for (unsigned round = 0; round < 6; round++) {
		kind = rig_run_for(r, 50);
		ck_assert_msg(kind != ENGINE_EXIT_ERROR && kind != ENGINE_EXIT_BUS,
			      "seed %lu: exit %d", (long)seed, kind);
		check_state(r, seed);
		if (kind == ENGINE_EXIT_SHUTDOWN || kind == ENGINE_EXIT_STUCK)
			break;
		r->s.intr_pending = true;
		r->s.intr_vector = (uint8_t)rng();
		r->s.nmi_pending = chance(20);
		if (kind == ENGINE_EXIT_HALT)
			r->s.rflags |= FL_IF;
	}
	rig_free(r);
}

START_TEST(random_system_code)
{
	uint64_t first = unit_setting("SYS_FUZZ_SEED", 1),
		 cases = unit_setting("SYS_FUZZ_CASES", unit_cases(1500));

	for (uint64_t i = 0; i < cases; i++)
		one_case(first + i);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, random_system_code);
}

UNIT_MAIN("sys_fuzz", add_tests)
