/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic and logic, moves and exchanges against the host CPU; decimal arithmetic too, in a
 * 32-bit code segment.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit.h"

#include "tests/soft/int_case.h"

#define ROUNDS unit_cases(1500)

static struct int_case c;

static void setup64(void)
{
	case_init(&c, CASE_64);
}

static void teardown(void)
{
	case_fini(&c);
}

/* ADD OR ADC SBB AND SUB XOR CMP: opcodes 8 * i and group 80h..83h. */
START_TEST(binary)
{
	static const char *const name[] = { "add", "or", "adc", "sbb", "and", "sub", "xor", "cmp" };
	uint32_t undefined = _i == 1 || _i == 4 || _i == 6 ? FL_AF : 0;
	uint8_t store = (uint8_t)(8 * _i), load = (uint8_t)(8 * _i + 2), group = 0x80;

	case_compare_sizes(&c, name[_i], &store, 1, R_RAX, 0, undefined, ROUNDS, NULL);
	case_compare_sizes(&c, name[_i], &load, 1, R_RAX, 0, undefined, ROUNDS, NULL);
	case_compare_sizes(&c, name[_i], &load, 1, R_RDX, 0, undefined, ROUNDS, NULL);
	case_compare_sizes(&c, name[_i], &group, 1, (unsigned)_i, 4, undefined, ROUNDS, NULL);
}
END_TEST

START_TEST(short_immediates)
{
	for (unsigned i = 0; i < 8; i++) {
		const struct case_insn insn[] = {
			INSN("op ecx, imm8", i == 1 || i == 4 || i == 6 ? FL_AF : 0, 0x83,
			     (uint8_t)(0xc1 | i << 3), 0x85),
			INSN("op rcx, imm8", i == 1 || i == 4 || i == 6 ? FL_AF : 0, 0x48, 0x83,
			     (uint8_t)(0xc1 | i << 3), 0x7f),
			INSN("op ch, imm8", i == 1 || i == 4 || i == 6 ? FL_AF : 0, 0x80,
			     (uint8_t)(0xc5 | i << 3), 0x80),
			INSN("op ah, al", i == 1 || i == 4 || i == 6 ? FL_AF : 0, (uint8_t)(8 * i),
			     0xc4),
		};

		for (unsigned k = 0; k < 4; k++)
			case_compare(&c, &insn[k], ROUNDS, NULL);
	}
}
END_TEST

START_TEST(test_and_unary)
{
	static const uint8_t test = 0x84, unary = 0xf6, incdec = 0xfe, xadd[] = { 0x0f, 0xc0 },
			     cmpxchg[] = { 0x0f, 0xb0 }, xchg = 0x86;

	case_compare_sizes(&c, "test", &test, 1, R_RAX, 0, FL_AF, ROUNDS, NULL);
	case_compare_sizes(&c, "test imm", &unary, 1, 0, 4, FL_AF, ROUNDS, NULL);
	case_compare_sizes(&c, "not", &unary, 1, 2, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "neg", &unary, 1, 3, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "inc", &incdec, 1, 0, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "dec", &incdec, 1, 1, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "xadd", xadd, 2, R_RDX, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "xadd same", xadd, 2, R_RCX, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "cmpxchg", cmpxchg, 2, R_RDX, 0, 0, ROUNDS, NULL);
	case_compare_sizes(&c, "xchg", &xchg, 1, R_RDX, 0, 0, ROUNDS, NULL);
}
END_TEST

static void sometimes_equal(struct case_regs *r)
{
	if (r->rcx & 1) {
		r->rax = r->mem[1];
		r->rdx = r->rcx & 2 ? r->mem[2] : r->rdx;
	}
}

START_TEST(compare_exchange)
{
	static const struct case_insn insn[] = {
		INSN("cmpxchg [rbx], cl", 0, 0x0f, 0xb0, 0x0b),
		INSN("cmpxchg [rbx], ecx", 0, 0x0f, 0xb1, 0x0b),
		INSN("cmpxchg [rbx], rcx", 0, 0x48, 0x0f, 0xb1, 0x0b),
	};

	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, sometimes_equal);
}
END_TEST

/* CMPXCHG8B and CMPXCHG16B: of the flags ZF alone changes; _i: 16 bytes. */
START_TEST(compare_exchange_wide)
{
	static const uint8_t code[] = { 0x48, 0x0f, 0xc7, 0x0b };
	unsigned half = _i ? 8 : 4;
	struct case_regs r = { 0 };
	struct cpu *cpu = case_cpu(&c);

	case_code(&c, code + !_i, sizeof(code) - !_i);
	for (unsigned equal = 0; equal < 2; equal++) {
		uint64_t was[2] = { 0x1111, 0x2222 }, now[2] = { 0 };

		memcpy(guest_ram(&c.g, CASE_DATA), &was[0], half);
		memcpy(guest_ram(&c.g, CASE_DATA) + half, &was[1], half);
		cpu->gpr[R_RAX] = 0x1111;
		cpu->gpr[R_RDX] = equal ? 0x2222 : 0x2223;
		cpu->gpr[R_RBX] = CASE_DATA;
		cpu->gpr[R_RCX] = 0x4444;
		flags_set(cpu, FL_CF | FL_OF | (equal ? 0 : FL_ZF));
		ck_assert_int_eq(case_run(&c, 1), -1);
		memcpy(&now[0], guest_ram(&c.g, CASE_DATA), half);
		memcpy(&now[1], guest_ram(&c.g, CASE_DATA) + half, half);
		ck_assert_uint_eq(now[0], equal ? CASE_DATA : 0x1111);
		ck_assert_uint_eq(now[1], equal ? 0x4444 : 0x2222);
		ck_assert_uint_eq(cpu->gpr[R_RDX], 0x2222);
		ck_assert_uint_eq(flags_get(cpu), FL_ONE | FL_CF | FL_OF | (equal ? FL_ZF : 0));
	}
	/* [rBX] is not on a 16-byte boundary: #GP for the wide one. */
	ck_assert_int_eq(case_step(&c, &r), _i ? VEC_GP : -1);
}
END_TEST

START_TEST(moves)
{
	static const struct case_insn insn[] = {
		INSN("mov cl, dh", 0, 0x88, 0xf1),
		INSN("mov cx, dx", 0, 0x66, 0x89, 0xd1),
		INSN("mov ecx, edx", 0, 0x89, 0xd1),
		INSN("mov rcx, [rbx]", 0, 0x48, 0x8b, 0x0b),
		INSN("mov [rbx+1], ah", 0, 0x88, 0x63, 0x01),
		INSN("mov word [rbx], imm", 0, 0x66, 0xc7, 0x03, 0x34, 0x12),
		INSN("movzx ecx, dh", 0, 0x0f, 0xb6, 0xce),
		INSN("movzx cx, byte [rbx]", 0, 0x66, 0x0f, 0xb6, 0x0b),
		INSN("movzx rcx, word [rbx]", 0, 0x48, 0x0f, 0xb7, 0x0b),
		INSN("movsx ecx, ah", 0, 0x0f, 0xbe, 0xcc),
		INSN("movsx rcx, dl", 0, 0x48, 0x0f, 0xbe, 0xca),
		INSN("movsx cx, byte [rbx]", 0, 0x66, 0x0f, 0xbe, 0x0b),
		INSN("movsx rcx, word [rbx]", 0, 0x48, 0x0f, 0xbf, 0x0b),
		INSN("movsxd rcx, edx", 0, 0x48, 0x63, 0xca),
		INSN("movsxd rcx, [rbx]", 0, 0x48, 0x63, 0x0b),
		INSN("movsxd ecx, edx", 0, 0x63, 0xca),
		INSN("lea rcx, [rax+rdx*8-5]", 0, 0x48, 0x8d, 0x4c, 0xd0, 0xfb),
		INSN("lea ecx, [rax+rdx*2]", 0, 0x8d, 0x0c, 0x50),
		INSN("lea cx, [rdx+7]", 0, 0x66, 0x8d, 0x4a, 0x07),
		INSN("lea rcx, [eax+edx]", 0, 0x67, 0x48, 0x8d, 0x0c, 0x10),
		INSN("bswap ecx", 0, 0x0f, 0xc9),
		INSN("bswap rcx", 0, 0x48, 0x0f, 0xc9),
		INSN("cbw", 0, 0x66, 0x98),
		INSN("cwde", 0, 0x98),
		INSN("cdqe", 0, 0x48, 0x98),
		INSN("cwd", 0, 0x66, 0x99),
		INSN("cdq", 0, 0x99),
		INSN("cqo", 0, 0x48, 0x99),
		INSN("xchg ah, dl", 0, 0x86, 0xe2),
		INSN("xchg eax, ecx", 0, 0x91),
		INSN("movnti [rbx], edx", 0, 0x0f, 0xc3, 0x13),
		INSN("lahf", 0, 0x9f),
		INSN("sahf", 0, 0x9e),
		INSN("cmc", 0, 0xf5),
		INSN("clc", 0, 0xf8),
		INSN("stc", 0, 0xf9),
	};

	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++)
		case_compare(&c, &insn[i], ROUNDS, NULL);
}
END_TEST

/*
 * SETcc and CMOVcc of every condition, with the flags in RFLAGS and after each kind of instruction
 * that delays them.
 */
static const uint8_t producers[][3] = {
	{ 0x90, 0x90, 0x90 }, /* nop */
	{ 0x48, 0x01, 0xca }, /* add rdx, rcx */
	{ 0x48, 0x11, 0xca }, /* adc */
	{ 0x48, 0x29, 0xca }, /* sub */
	{ 0x48, 0x19, 0xca }, /* sbb */
	{ 0x90, 0x38, 0xca }, /* cmp dl, cl */
	{ 0x66, 0x39, 0xca }, /* cmp dx, cx */
	{ 0x90, 0x39, 0xca }, /* cmp edx, ecx */
	{ 0x48, 0x21, 0xca }, /* and */
	{ 0x90, 0xfe, 0xc2 }, /* inc dl */
	{ 0x48, 0xff, 0xca }, /* dec rdx */
	{ 0x48, 0xd1, 0xe2 }, /* shl rdx, 1 */
	{ 0x90, 0xf7, 0xda }, /* neg edx */
};

START_TEST(conditions)
{
	uint64_t seed = 77;

	for (unsigned p = 0; p < sizeof(producers) / sizeof(producers[0]); p++) {
		bool nop = producers[p][0] == 0x90;
		uint8_t code[10] = { 0 };
		unsigned n = nop ? 2 : 3;

		memcpy(code, producers[p] + nop, n);
		code[n] = 0x0f;
		code[n + 1] = (uint8_t)(0x90 | _i);
		code[n + 2] = 0xc0; /* setcc al */
		code[n + 3] = 0x0f;
		code[n + 4] = (uint8_t)(0x40 | _i);
		code[n + 5] = 0xca; /* cmovcc ecx, edx */
		case_code(&c, code, n + 6);
		host_code(code, n + 6, 0xc3);
		for (unsigned i = 0; i < 200; i++) {
			struct case_regs host, soft;

			case_random_regs(&host, &seed);
			if (i % 4 == 0)
				host.rdx = host.rcx;
			soft = host;
			host_step(&host);
			/* NOP, NOP is two instructions. */
			ck_assert_int_eq(case_step(&c, &soft), -1);
			for (unsigned k = 0; k < (p == 0 ? 3u : 2u); k++)
				guest_run_to(&c.g, case_cpu(&c)->count + 1);
			ck_assert_msg((soft.rax = case_cpu(&c)->gpr[R_RAX]) == host.rax,
				      "set%d after %u", _i, p);
			ck_assert_msg(case_cpu(&c)->gpr[R_RCX] == host.rcx, "cmov%d after %u", _i,
				      p);
		}
	}
}
END_TEST

/*
 * ---- decimal arithmetic: the host executes it in its 32-bit code segment, on a stack below 4 GiB
 * ----
 */
struct host32 {
	uint64_t rax, flags;
	uint32_t offset;
	uint16_t selector;
};

extern const uint8_t host32_start[], host32_end[];
__asm__(".pushsection .rodata\n"
	"host32_start:\n" /* rdi: struct host32, rsi: stack */
	"	mov	%rsp, %rax\n"
	"	mov	%rsi, %rsp\n"
	"	push	%rax\n"
	"	push	8(%rdi)\n"
	"	popfq\n"
	"	mov	(%rdi), %rax\n"
	"	lcall	*16(%rdi)\n"
	"	pushfq\n"
	"	pop	8(%rdi)\n"
	"	mov	%rax, (%rdi)\n"
	"	pop	%rsp\n"
	"	ret\n"
	"host32_end:\n"
	".popsection\n");

static void host32_step(uint16_t *ax, uint32_t *flags)
{
	uint8_t *page = host_page();
	struct host32 *h = (struct host32 *)(page + 0x800);
	void (*enter)(struct host32 *, void *) =
		(void (*)(struct host32 *, void *))(uintptr_t)(page + 0x400);

	memcpy(page + 0x400, host32_start, (size_t)(host32_end - host32_start));
	*h = (struct host32){ *ax, *flags, (uint32_t)(uintptr_t)page, 0x23 };
	enter(h, page + 0x1f00);
	*ax = (uint16_t)h->rax;
	*flags = (uint32_t)h->flags & FL_ARITH;
}

/* Not every kernel has a 32-bit code segment for programs. */
static bool host_has_code32(void)
{
	static const uint8_t nop = 0x90;
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		uint16_t ax = 0;
		uint32_t flags = FL_ONE;

		host_code(&nop, 1, 0xcb);
		host32_step(&ax, &flags);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static const struct case_insn decimal_insn[] = {
	INSN("daa", FL_OF, 0x27),
	INSN("das", FL_OF, 0x2f),
	INSN("aaa", FL_OF | FL_SF | FL_ZF | FL_PF, 0x37),
	INSN("aas", FL_OF | FL_SF | FL_ZF | FL_PF, 0x3f),
	INSN("aam 10", FL_OF | FL_AF | FL_CF, 0xd4, 0x0a),
	INSN("aam 7", FL_OF | FL_AF | FL_CF, 0xd4, 0x07),
	INSN("aad 10", FL_OF | FL_AF | FL_CF, 0xd5, 0x0a),
	INSN("aad 255", FL_OF | FL_AF | FL_CF, 0xd5, 0xff),
	INSN("salc", 0, 0xd6),
};

START_TEST(decimal)
{
	static const uint32_t in_flags[] = { FL_ONE, FL_ONE | FL_CF, FL_ONE | FL_AF,
					     FL_ONE | FL_CF | FL_AF };
	const struct case_insn *insn = &decimal_insn[_i];

	case_init(&c, CASE_32);
	case_code(&c, insn->code, insn->len);
	host_code(insn->code, insn->len, 0xcb);
	for (unsigned i = 0; i < 4 * 65536; i += 5 * unit_share()) {
		uint16_t host_ax = (uint16_t)(i >> 2);
		uint32_t host_flags = in_flags[i & 3];
		struct case_regs r = { .rax = host_ax, .flags = host_flags };

		host32_step(&host_ax, &host_flags);
		ck_assert_int_eq(case_step(&c, &r), -1);
		ck_assert_msg((uint16_t)r.rax == host_ax &&
				      !((r.flags ^ host_flags) & FL_ARITH & ~insn->undefined),
			      "%s: ax %x flags %x: host %x %x, soft %llx %llx", insn->name, i >> 2,
			      in_flags[i & 3], host_ax, host_flags, (unsigned long long)r.rax,
			      (unsigned long long)r.flags);
	}
	case_fini(&c);
}
END_TEST

/* The flags of AAD that the manual leaves open are those of its addition. */
START_TEST(aad_flags)
{
	static const struct {
		uint16_t ax;
		uint8_t base, al;
		uint32_t flags;
	} row[] = {
		{ 0x0205, 10, 25, 0 },
		{ 0x01ff, 1, 0, FL_CF | FL_AF | FL_ZF | FL_PF },
		{ 0x407f, 1, 0xbf, FL_OF | FL_SF },
		{ 0x2680, 10, 0xfc, FL_SF | FL_PF },
		{ 0x0808, 1, 0x10, FL_AF },
	};

	case_init(&c, CASE_32);
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const uint8_t code[] = { 0xd5, row[i].base };
		struct case_regs r = { .rax = row[i].ax, .flags = FL_ARITH };

		case_code(&c, code, sizeof(code));
		ck_assert_int_eq(case_step(&c, &r), -1);
		ck_assert_uint_eq(r.rax, row[i].al);
		ck_assert_msg((r.flags & FL_ARITH) == row[i].flags, "row %u: flags %llx", i,
			      (unsigned long long)r.flags & FL_ARITH);
	}
	case_fini(&c);
}
END_TEST

START_TEST(decimal_faults)
{
	static const uint8_t aam0[] = { 0xd4, 0x00 };
	struct case_regs r = { .rax = 0x1234 };

	case_init(&c, CASE_32);
	case_code(&c, aam0, sizeof(aam0));
	ck_assert_int_eq(case_step(&c, &r), VEC_DE);
	case_fini(&c);
	case_init(&c, CASE_64);
	case_code(&c, decimal_insn[0].code, 1);
	ck_assert_int_eq(case_step(&c, &r), VEC_UD);
	case_fini(&c);
}
END_TEST

static void add_tests(TCase *tc)
{
	if (host_has_code32())
		tcase_add_loop_test(tc, decimal, 0, sizeof(decimal_insn) / sizeof(decimal_insn[0]));
	else if (!unit_names_waits)
		puts("skip test_alu.decimal: this host's kernel has no 32-bit code segment");
	tcase_add_test(tc, decimal_faults);
	tcase_add_test(tc, aad_flags);
}

static void add_tests64(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup64, teardown);
	tcase_add_loop_test(tc, binary, 0, 8);
	tcase_add_test(tc, short_immediates);
	tcase_add_test(tc, test_and_unary);
	tcase_add_test(tc, compare_exchange);
	tcase_add_loop_test(tc, compare_exchange_wide, 0, 2);
	tcase_add_test(tc, moves);
	tcase_add_loop_test(tc, conditions, 0, 16);
}

int main(int argc, char **argv)
{
	int a, b;

	unit_arguments(argc, argv);
	a = unit_run("alu", add_tests64);
	b = unit_run("decimal", add_tests);
	return a | b;
}
