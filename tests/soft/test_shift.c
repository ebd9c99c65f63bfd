/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts, rotates, bit instructions, multiplication and division against the host CPU. */
#include <cpuid.h>

#include "tests/unit.h"

#include "tests/soft/int_case.h"

#define ROUNDS unit_cases(3000)

static struct int_case c;

static void setup(void)
{
	case_init(&c, CASE_64);
}

static void teardown(void)
{
	case_fini(&c);
}

/* Counts of 1 define OF; others leave it undefined. AF never is defined. */
START_TEST(by_one)
{
	static const char *const name[] = { "rol 1", "ror 1", "rcl 1", "rcr 1",
					    "shl 1", "shr 1", "sal 1", "sar 1" };
	static const uint8_t op = 0xd0;

	case_compare_sizes(&c, name[_i], &op, 1, (unsigned)_i, 0, _i < 4 ? 0 : FL_AF, ROUNDS, NULL);
}
END_TEST

static void count_0_or_1(struct case_regs *r)
{
	r->rcx = (r->rcx & ~0x3full) | (r->rcx >> 7 & 1);
}

/*
 * A masked count of 0 changes no flag at all; so AF may be compared for it, which the shifts alone
 * leave open.
 */
START_TEST(by_cl)
{
	static const char *const name[] = { "rol cl", "ror cl", "rcl cl", "rcr cl",
					    "shl cl", "shr cl", "sal cl", "sar cl" };
	uint32_t undefined = FL_OF | (_i < 4 ? 0 : FL_AF);
	bool counts = _i >= 4; /* CF is undefined for counts beyond the size, of SHL and SHR */

	for (unsigned size = 0; size < 4; size++) {
		for (unsigned mem = 0; mem < 2; mem++) {
			struct case_insn insn = { name[_i], { 0 }, 0, undefined };

			if (size == 1)
				insn.code[insn.len++] = 0x66;
			if (size == 3)
				insn.code[insn.len++] = 0x48;
			insn.code[insn.len++] = 0xd2 | (size != 0);
			insn.code[insn.len++] = (uint8_t)((mem ? 3 : 0xc2) | _i << 3);
			if (counts && _i != 7 && size < 2)
				insn.undefined |= FL_CF;
			case_compare(&c, &insn, ROUNDS, NULL);
			insn.undefined = _i < 4 ? 0 : FL_AF;
			if (size >= 2)
				case_compare(&c, &insn, ROUNDS, count_0_or_1);
		}
	}
}
END_TEST

START_TEST(by_immediate)
{
	static const uint8_t op = 0xc0;

	for (unsigned reg = 0; reg < 8; reg++)
		case_compare_sizes(&c, "shift imm8", &op, 1, reg, 1,
				   FL_OF | (reg < 4 ? 0 : FL_AF | FL_CF), ROUNDS / 4, NULL);
}
END_TEST

START_TEST(double_shifts)
{
	static const struct case_insn insn[] = {
		INSN("shld edx, eax, cl", FL_OF | FL_AF, 0x0f, 0xa5, 0xc2),
		INSN("shld rdx, rax, cl", FL_OF | FL_AF, 0x48, 0x0f, 0xa5, 0xc2),
		INSN("shld [rbx], rax, cl", FL_OF | FL_AF, 0x48, 0x0f, 0xa5, 0x03),
		INSN("shld [rbx], eax, 9", FL_OF | FL_AF, 0x0f, 0xa4, 0x03, 0x09),
		INSN("shld dx, ax, 1", FL_AF, 0x66, 0x0f, 0xa4, 0xc2, 0x01),
		INSN("shld dx, ax, 13", FL_OF | FL_AF, 0x66, 0x0f, 0xa4, 0xc2, 0x0d),
		INSN("shrd edx, eax, cl", FL_OF | FL_AF, 0x0f, 0xad, 0xc2),
		INSN("shrd rdx, rax, cl", FL_OF | FL_AF, 0x48, 0x0f, 0xad, 0xc2),
		INSN("shrd [rbx], rax, cl", FL_OF | FL_AF, 0x48, 0x0f, 0xad, 0x03),
		INSN("shrd [rbx], eax, 31", FL_OF | FL_AF, 0x0f, 0xac, 0x03, 0x1f),
		INSN("shrd dx, ax, 1", FL_AF, 0x66, 0x0f, 0xac, 0xc2, 0x01),
		INSN("shrd dx, ax, 16", FL_OF | FL_AF, 0x66, 0x0f, 0xac, 0xc2, 0x10),
	};

	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, NULL);
}
END_TEST

/* ---- bits ---- */
#define BT_UNDEFINED  (FL_OF | FL_SF | FL_AF | FL_PF)
#define BS_UNDEFINED  (FL_CF | FL_OF | FL_SF | FL_AF | FL_PF)
#define CNT_UNDEFINED (FL_OF | FL_SF | FL_AF | FL_PF)

START_TEST(bits)
{
	static const struct case_insn insn[] = {
		INSN("bt dx, ax", BT_UNDEFINED, 0x66, 0x0f, 0xa3, 0xc2),
		INSN("bt edx, eax", BT_UNDEFINED, 0x0f, 0xa3, 0xc2),
		INSN("bts rdx, rax", BT_UNDEFINED, 0x48, 0x0f, 0xab, 0xc2),
		INSN("btr edx, eax", BT_UNDEFINED, 0x0f, 0xb3, 0xc2),
		INSN("btc rdx, rax", BT_UNDEFINED, 0x48, 0x0f, 0xbb, 0xc2),
		INSN("bt dword [rbx], 77", BT_UNDEFINED, 0x0f, 0xba, 0x23, 77),
		INSN("bts word [rbx], 21", BT_UNDEFINED, 0x66, 0x0f, 0xba, 0x2b, 21),
		INSN("btr qword [rbx], 63", BT_UNDEFINED, 0x48, 0x0f, 0xba, 0x33, 63),
		INSN("btc edx, 40", BT_UNDEFINED, 0x0f, 0xba, 0xfa, 40),
		INSN("bsf cx, dx", BS_UNDEFINED, 0x66, 0x0f, 0xbc, 0xca),
		INSN("bsf ecx, edx", BS_UNDEFINED, 0x0f, 0xbc, 0xca),
		INSN("bsf rcx, [rbx]", BS_UNDEFINED, 0x48, 0x0f, 0xbc, 0x0b),
		INSN("bsr ecx, [rbx]", BS_UNDEFINED, 0x0f, 0xbd, 0x0b),
		INSN("bsr rcx, rdx", BS_UNDEFINED, 0x48, 0x0f, 0xbd, 0xca),
		INSN("popcnt cx, dx", 0, 0x66, 0xf3, 0x0f, 0xb8, 0xca),
		INSN("popcnt ecx, [rbx]", 0, 0xf3, 0x0f, 0xb8, 0x0b),
		INSN("popcnt rcx, rdx", 0, 0xf3, 0x48, 0x0f, 0xb8, 0xca),
		INSN("crc32 ecx, dh", 0, 0xf2, 0x0f, 0x38, 0xf0, 0xce),
		INSN("crc32 ecx, dx", 0, 0x66, 0xf2, 0x0f, 0x38, 0xf1, 0xca),
		INSN("crc32 ecx, [rbx]", 0, 0xf2, 0x0f, 0x38, 0xf1, 0x0b),
		INSN("crc32 rcx, rdx", 0, 0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xca),
		INSN("crc32 rcx, byte [rbx]", 0, 0xf2, 0x48, 0x0f, 0x38, 0xf0, 0x0b),
	};

	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, NULL);
}
END_TEST

static void near_bit(struct case_regs *r)
{
	r->rax = (uint64_t)((int64_t)(r->rax % 256) - 64);
}

/* A register index reaches beyond the operand, both ways. */
START_TEST(bit_strings)
{
	static const struct case_insn insn[] = {
		INSN("bt [rbx], ax", BT_UNDEFINED, 0x66, 0x0f, 0xa3, 0x03),
		INSN("bts [rbx], eax", BT_UNDEFINED, 0x0f, 0xab, 0x03),
		INSN("btr [rbx], rax", BT_UNDEFINED, 0x48, 0x0f, 0xb3, 0x03),
		INSN("btc [rbx], ax", BT_UNDEFINED, 0x66, 0x0f, 0xbb, 0x03),
	};

	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, near_bit);
}
END_TEST

static bool host_counts(void)
{
	unsigned a, b, cx, d;
	bool bmi1 = __get_cpuid_count(7, 0, &a, &b, &cx, &d) && b & bit_BMI;

	return bmi1 && __get_cpuid(0x80000001, &a, &b, &cx, &d) && cx & bit_ABM;
}

/* F3 BSF and F3 BSR on machine version 2: as the host does, and by hand where it cannot. */
START_TEST(counts)
{
	static const struct case_insn insn[] = {
		INSN("tzcnt cx, dx", CNT_UNDEFINED, 0x66, 0xf3, 0x0f, 0xbc, 0xca),
		INSN("tzcnt ecx, edx", CNT_UNDEFINED, 0xf3, 0x0f, 0xbc, 0xca),
		INSN("tzcnt rcx, [rbx]", CNT_UNDEFINED, 0xf3, 0x48, 0x0f, 0xbc, 0x0b),
		INSN("lzcnt cx, [rbx]", CNT_UNDEFINED, 0x66, 0xf3, 0x0f, 0xbd, 0x0b),
		INSN("lzcnt ecx, edx", CNT_UNDEFINED, 0xf3, 0x0f, 0xbd, 0xca),
		INSN("lzcnt rcx, rdx", CNT_UNDEFINED, 0xf3, 0x48, 0x0f, 0xbd, 0xca),
	};
	static const struct {
		unsigned i;
		uint64_t rdx, rcx, flags;
	} row[] = {
		{ 0, 0, 16, FL_CF }, { 1, 0, 32, FL_CF },      { 1, 1, 0, FL_ZF },
		{ 1, 8, 3, 0 },	     { 4, 0, 32, FL_CF },      { 4, 1u << 31, 0, FL_ZF },
		{ 5, 0, 64, FL_CF }, { 5, 1ull << 40, 23, 0 },
	};

	case_version_2(&c);
	for (unsigned i = 0; host_counts() && i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, NULL);
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const struct case_insn *in = &insn[row[i].i];
		struct case_regs r = { .rcx = 99, .rdx = row[i].rdx, .flags = FL_ARITH };

		case_code(&c, in->code, in->len);
		ck_assert_int_eq(case_step(&c, &r), -1);
		ck_assert_uint_eq(r.rcx & 0xffff, row[i].rcx);
		ck_assert_uint_eq(r.flags & FL_ARITH, row[i].flags);
	}
}
END_TEST

/* F3 in front of BSF and BSR means nothing to a CPU without BMI1 and LZCNT: machine version 1. */
START_TEST(no_tzcnt)
{
	static const uint8_t tzcnt[] = { 0xf3, 0x0f, 0xbc, 0xca },
			     lzcnt[] = { 0xf3, 0x0f, 0xbd, 0xca };
	struct case_regs r = { .rcx = 99, .rdx = 0 };

	case_code(&c, tzcnt, sizeof(tzcnt));
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_uint_eq(r.rcx, 99);
	ck_assert(r.flags & FL_ZF);
	case_code(&c, lzcnt, sizeof(lzcnt));
	r.rdx = 0x100;
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_uint_eq(r.rcx, 8);
}
END_TEST

/* ---- multiplication and division ---- */
#define MUL_UNDEFINED (FL_SF | FL_ZF | FL_AF | FL_PF)

START_TEST(multiply)
{
	static const uint8_t group = 0xf6;
	static const struct case_insn insn[] = {
		INSN("imul cx, dx", MUL_UNDEFINED, 0x66, 0x0f, 0xaf, 0xca),
		INSN("imul ecx, edx", MUL_UNDEFINED, 0x0f, 0xaf, 0xca),
		INSN("imul rcx, [rbx]", MUL_UNDEFINED, 0x48, 0x0f, 0xaf, 0x0b),
		INSN("imul cx, dx, imm", MUL_UNDEFINED, 0x66, 0x69, 0xca, 0x34, 0x92),
		INSN("imul ecx, [rbx], imm8", MUL_UNDEFINED, 0x6b, 0x0b, 0xf3),
		INSN("imul rcx, rdx, imm", MUL_UNDEFINED, 0x48, 0x69, 0xca, 0x01, 0x00, 0x00, 0x80),
	};

	case_compare_sizes(&c, "mul", &group, 1, 4, 0, MUL_UNDEFINED, ROUNDS, NULL);
	case_compare_sizes(&c, "imul", &group, 1, 5, 0, MUL_UNDEFINED, ROUNDS, NULL);
	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, NULL);
}
END_TEST

/* What is divided: chosen so that the quotient mostly fits, on one edge or the other. */
struct division {
	unsigned bits;
	bool is_signed;
};

static __int128 div_dividend(const struct division *v, const struct case_regs *r)
{
	unsigned __int128 n = (unsigned __int128)r->rdx << 64 | r->rax;
	unsigned wide = 2 * v->bits;

	if (v->bits == 8)
		n = (uint16_t)r->rax;
	else if (v->bits < 64)
		n = (unsigned __int128)(r->rdx & ((1ull << v->bits) - 1)) << v->bits |
		    (r->rax & ((1ull << v->bits) - 1));
	if (!v->is_signed)
		return (__int128)n;
	return (__int128)(n << (128 - wide)) >> (128 - wide);
}

/* Is the quotient representable? Found by multiplication, not by division. */
static bool div_fits(const struct division *v, __int128 n, uint64_t divisor)
{
	__int128 d = v->is_signed
			     ? (__int128)((int64_t)(divisor << (64 - v->bits)) >> (64 - v->bits))
			     : (__int128)(divisor << (64 - v->bits) >> (64 - v->bits));
	__int128 max, min;

	if (d == 0)
		return false;
	if (!v->is_signed)
		return (unsigned __int128)n >> v->bits < (unsigned __int128)d;
	max = ((__int128)1 << (v->bits - 1)) - 1;
	min = -max - 1;
	/* n / d <= max and >= min, truncated: |n| < |d| * (limit + 1) for the limit of its sign. */
	if ((n < 0) == (d < 0))
		return d > 0 ? n < d * (max + 1) : n > d * (max + 1);
	return d > 0 ? n > d * (min - 1) : n < d * (min - 1);
}

START_TEST(divide)
{
	struct division v = { 8u << (_i & 3), _i >= 4 };
	uint8_t code[3] = { v.bits == 16   ? 0x66
			    : v.bits == 64 ? 0x48
					   : 0x40,
			    v.bits == 8 ? 0xf6 : 0xf7, v.is_signed ? 0xf9 : 0xf1 };
	uint64_t seed = 4711 + (unsigned)_i;
	unsigned faults = 0;

	case_code(&c, code, 3);
	host_code(code, 3, 0xc3);
	for (unsigned i = 0; i < unit_cases(20000); i++) {
		struct case_regs in, host, soft;
		bool fits;

		case_random_regs(&in, &seed);
		if (i % 2)
			in.rdx = 0;
		if (i % 8 == 1 && v.is_signed && in.rax >> (v.bits - 1) & 1)
			in.rdx = ~0ull;
		if (i % 5 == 0)
			in.rdx = in.rcx >> 1;
		host = soft = in;
		fits = div_fits(&v, div_dividend(&v, &in), in.rcx);
		faults += !fits;
		ck_assert_msg(case_step(&c, &soft) == (fits ? -1 : VEC_DE),
			      "rax %llx rdx %llx by %llx", (unsigned long long)in.rax,
			      (unsigned long long)in.rdx, (unsigned long long)in.rcx);
		if (fits)
			host_step(&host);
		ck_assert_uint_eq(soft.rax, host.rax);
		ck_assert_uint_eq(soft.rdx, host.rdx);
		if (fits)
			ck_assert_uint_eq(soft.flags & FL_ARITH, in.flags & FL_ARITH);
	}
	ck_assert(faults > 100 && faults < 19000);
}
END_TEST

/* ---- what the manual leaves open: docs/undefined-flags.md ---- */
static const struct pinned {
	struct case_insn insn;
	uint64_t rax, rcx, rdx, flags;
	uint64_t out_rax, out_rdx, out_flags; /* arithmetic flags */
} pinned[] = {
	{ INSN("and al, al", 0, 0x20, 0xc0), 0x81, 0, 0, FL_AF | FL_CF, 0x81, 0, FL_SF | FL_PF },
	{ INSN("mul cl", 0, 0xf6, 0xe1), 0x10, 0x10, 0, FL_AF, 0x100, 0, FL_CF | FL_OF | FL_PF },
	{ INSN("imul eax, ecx: 0", 0, 0x0f, 0xaf, 0xc1), 0, 7, 0, FL_ARITH, 0, 0, FL_PF },
	{ INSN("imul rax, rcx, 2", 0, 0x48, 0x6b, 0xc1, 2), 5, 1ull << 63, 0, 0, 0, 0,
	  FL_CF | FL_OF | FL_PF },
	{ INSN("imul eax, ecx", 0, 0x0f, 0xaf, 0xc1), 3, ~0ull, 0, FL_AF | FL_ZF, 0xfffffffd, 0,
	  FL_SF },
	{ INSN("div ecx", 0, 0xf7, 0xf1), 7, 2, 0, FL_ARITH, 3, 1, FL_ARITH },
	{ INSN("shl al, cl: 8", 0, 0xd2, 0xe0), 1, 8, 0, 0, 0, 0, FL_CF | FL_ZF | FL_PF },
	{ INSN("shl al, cl: 9", 0, 0xd2, 0xe0), 0xff, 9, 0, FL_CF | FL_AF, 0, 0, FL_ZF | FL_PF },
	{ INSN("shl eax, cl: 2", 0, 0xd3, 0xe0), 0x60000000, 2, 0, 0, 0x80000000, 0,
	  FL_CF | FL_OF | FL_SF | FL_PF },
	{ INSN("shr al, cl: 8", 0, 0xd2, 0xe8), 0x80, 8, 0, 0, 0, 0,
	  FL_CF | FL_OF | FL_ZF | FL_PF },
	{ INSN("shr eax, cl: 2", 0, 0xd3, 0xe8), 0xc0000000, 2, 0, 0, 0x30000000, 0,
	  FL_OF | FL_PF },
	{ INSN("sar ax, cl: 31", 0, 0x66, 0xd3, 0xf8), 0x8000, 31, 0, FL_OF, 0xffff, 0,
	  FL_CF | FL_SF | FL_PF },
	{ INSN("rol al, cl: 8", 0, 0xd2, 0xc0), 0x81, 8, 0, FL_ZF, 0x81, 0, FL_CF | FL_OF | FL_ZF },
	{ INSN("rol eax, cl: 2", 0, 0xd3, 0xc0), 0xa0000000, 2, 0, 0, 0x80000002, 0, FL_OF },
	{ INSN("ror al, cl: 16", 0, 0xd2, 0xc8), 0x80, 16, 0, 0, 0x80, 0, FL_CF | FL_OF },
	{ INSN("rcl al, cl: 9", 0, 0xd2, 0xd0), 0x80, 9, 0, FL_OF | FL_AF, 0x80, 0, FL_OF | FL_AF },
	{ INSN("rcr al, cl: 2", 0, 0xd2, 0xd8), 0x01, 2, 0, FL_OF, 0x80, 0, 0 },
	{ INSN("rcr al, cl: 2, carry", 0, 0xd2, 0xd8), 0x01, 2, 0, FL_CF, 0xc0, 0, FL_OF },
	{ INSN("rol eax, 2", 0, 0xc1, 0xc0, 2), 0xa0000000, 0, 0, FL_ZF, 0x80000002, 0, FL_ZF },
	{ INSN("rol eax, 2, overflow", 0, 0xc1, 0xc0, 2), 1, 0, 0, FL_OF, 4, 0, FL_OF },
	{ INSN("rol eax, 33", 0, 0xc1, 0xc0, 33), 0x80000000, 0, 0, 0, 1, 0, FL_CF | FL_OF },
	{ INSN("ror ax, 16", 0, 0x66, 0xc1, 0xc8, 16), 0x8000, 0, 0, 0, 0x8000, 0, FL_CF },
	{ INSN("ror al, 9", 0, 0xc0, 0xc8, 9), 1, 0, 0, 0, 0x80, 0, FL_CF },
	{ INSN("ror rax, 64", 0, 0x48, 0xc1, 0xc8, 64), 1, 0, 0, FL_OF, 1, 0, FL_OF },
	{ INSN("shld ax, dx, 20", 0, 0x66, 0x0f, 0xa4, 0xd0, 20), 0xabcd, 0, 0x1234, FL_AF, 0x234a,
	  0x1234, FL_CF | FL_OF },
	{ INSN("shrd ax, dx, 20", 0, 0x66, 0x0f, 0xac, 0xd0, 20), 0xabcd, 0, 0x1234, FL_AF, 0xd123,
	  0x1234, FL_OF | FL_SF },
	{ INSN("bt eax, ecx", 0, 0x0f, 0xa3, 0xc8), 2, 1, 0, FL_OF | FL_SF | FL_PF, 2, 0,
	  FL_CF | FL_OF | FL_SF | FL_PF },
	{ INSN("bsf eax, ecx", 0, 0x0f, 0xbc, 0xc1), 5, 8, 0, FL_ARITH, 3, 0, FL_PF },
	{ INSN("bsf eax, ecx: bit 0", 0, 0x0f, 0xbc, 0xc1), 5, 1, 0, FL_ARITH, 0, 0, FL_PF },
	{ INSN("bsr eax, ecx: bit 31", 0, 0x0f, 0xbd, 0xc1), 5, 1u << 31, 0, 0, 31, 0, 0 },
	{ INSN("bsr eax, ecx: 0", 0, 0x0f, 0xbd, 0xc1), ~0ull, 0, 0, FL_CF, ~0ull, 0,
	  FL_PF | FL_ZF },
	{ INSN("bswap ax", 0, 0x66, 0x0f, 0xc8), 0x12345678, 0, 0, 0, 0x12340000, 0, 0 },
};

START_TEST(left_open)
{
	const struct pinned *p = &pinned[_i];
	struct case_regs r = { .rax = p->rax, .rcx = p->rcx, .rdx = p->rdx, .flags = p->flags };

	case_code(&c, p->insn.code, p->insn.len);
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_msg(r.rax == p->out_rax && r.rdx == p->out_rdx &&
			      (r.flags & FL_ARITH) == p->out_flags,
		      "%s: rax %llx rdx %llx flags %llx", p->insn.name, (unsigned long long)r.rax,
		      (unsigned long long)r.rdx, (unsigned long long)r.flags & FL_ARITH);
}
END_TEST

/* In memory an immediate does what CL does: OF is that of a count of 1. */
START_TEST(rotate_in_memory)
{
	static const uint8_t rol[] = { 0x48, 0xc1, 0x03, 2 }, ror[] = { 0x48, 0xc1, 0x0b, 2 };
	struct case_regs r = { .mem = { 0, 1ull << 62 }, .flags = FL_ONE };

	case_code(&c, rol, sizeof(rol));
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_uint_eq(r.mem[1], 1);
	ck_assert_uint_eq(r.flags & FL_ARITH, FL_CF | FL_OF);
	case_code(&c, ror, sizeof(ror));
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_uint_eq(r.mem[1], 1ull << 62);
	ck_assert_uint_eq(r.flags & FL_ARITH, FL_OF);
	r.mem[1] = 4;
	ck_assert_int_eq(case_step(&c, &r), -1);
	ck_assert_uint_eq(r.flags & FL_ARITH, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, by_one, 0, 8);
	tcase_add_loop_test(tc, by_cl, 0, 8);
	tcase_add_test(tc, by_immediate);
	tcase_add_test(tc, double_shifts);
	tcase_add_test(tc, bits);
	tcase_add_test(tc, bit_strings);
	tcase_add_test(tc, no_tzcnt);
	tcase_add_test(tc, counts);
	tcase_add_test(tc, multiply);
	tcase_add_loop_test(tc, divide, 0, 8);
	tcase_add_test(tc, rotate_in_memory);
	tcase_add_loop_test(tc, left_open, 0, sizeof(pinned) / sizeof(pinned[0]));
}

UNIT_MAIN("shift", add_tests)
