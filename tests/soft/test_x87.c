// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every x87 instruction form against the host CPU, with random stacks, control words and pending
 * exceptions; and the transcendental functions, which do not come from the host, within one unit in
 * the last place.
 */
#include <math.h>

#include "hypervisor/soft/x87.h"
#include "tests/soft/operands.h"
#include "tests/soft/silicon.h"
#include "tests/unit.h"

static bool is_transcendental(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_FSIN:
	case ZYDIS_MNEMONIC_FCOS:
	case ZYDIS_MNEMONIC_FSINCOS:
	case ZYDIS_MNEMONIC_FPTAN:
	case ZYDIS_MNEMONIC_FPATAN:
	case ZYDIS_MNEMONIC_F2XM1:
	case ZYDIS_MNEMONIC_FYL2X:
	case ZYDIS_MNEMONIC_FYL2XP1:
		return true;
	default:
		return false;
	}
}

/*
 * Images in memory with pointers and reserved fields, and instructions whose operand would be
 * random there.
 */
static bool has_image(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_FNSTENV || m == ZYDIS_MNEMONIC_FNSAVE;
}

static bool skipped(const ZydisDecodedInstruction *ins, const struct sil_state *in)
{
	/* Digits above 9 are undefined. */
	if (ins->mnemonic == ZYDIS_MNEMONIC_FBLD) {
		for (unsigned i = 0; i < 18; i++)
			if ((in->mem[i / 2] >> (4 * (i & 1)) & 15) > 9)
				return true;
	}
	return false;
}

/* The pointers in an image of FNSTENV or FNSAVE with 32-bit fields; here AMD and Intel differ. */
static void forget_pointers(struct sil_state *s, unsigned operand_width)
{
	memset(s->mem + (operand_width == 16 ? 6 : 12), 0, operand_width == 16 ? 8 : 16);
}

static void check_form(const uint8_t *bytes, size_t n, unsigned rounds, const char **seen)
{
	static struct sil_state in, host, soft;
	ZydisDecoder decoder;
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand opnd[ZYDIS_MAX_OPERAND_COUNT];
	struct op op;
	char why[200];

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	memset(&op, 0, sizeof(op));
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, bytes, n, &ins, opnd)) ||
	    is_transcendental(ins.mnemonic))
		return;
	ck_assert_int_eq(decode_op(bytes, n, MODE_64, 0, &op), DECODE_OK);
	sil_native_build(bytes, n);
	*seen = ZydisMnemonicGetString(ins.mnemonic);
	for (unsigned i = 0; i < rounds; i++) {
		x87_random_state(&in, i % 8 == 0);
		if (skipped(&ins, &in))
			continue;
		sil_native_run(&in, &host);
		sil_soft_run(&op, &in, &soft);
		if (soft.fault == VEC_MF) /* SIGFPE for both */
			soft.fault = VEC_XM;
		if (has_image(ins.mnemonic)) {
			forget_pointers(&host, ins.operand_width);
			forget_pointers(&soft, ins.operand_width);
		}
		sil_normalise(&host);
		sil_normalise(&soft);
		if (sil_differ(&host, &soft, why, sizeof(why)))
			ck_abort_msg("%s: %s; %s", *seen, why, sil_describe(bytes, n, &in));
	}
}

/* Forms with first byte D8 + _i. */
START_TEST(opcode)
{
	uint8_t bytes[3] = { 0x66, (uint8_t)(0xd8 + _i), 0 };
	const char *seen = NULL;

	sil_native_init();
	sil_cpu();
	for (unsigned reg = 0; reg < 8; reg++) {
		bytes[2] = (uint8_t)(reg << 3 | 6); /* [RSI] */
		check_form(bytes + 1, 2, 1000, &seen);
		check_form(bytes, 3, 100, &seen);
	}
	for (unsigned modrm = 0xc0; modrm < 0x100; modrm++) {
		bytes[2] = (uint8_t)modrm;
		check_form(bytes + 1, 2, 400, &seen);
	}
	ck_assert_ptr_nonnull(seen);
}
END_TEST

/* ---- transcendental functions ---- */
enum domain { ANGLE, UNIT, POSITIVE, ANY, NEAR_ZERO };

static const struct function {
	const char *name;
	uint8_t opcode;
	enum domain st0, st1;
} functions[] = {
	{ "f2xm1", 0xf0, UNIT, ANY },	     { "fyl2x", 0xf1, POSITIVE, ANY },
	{ "fptan", 0xf2, ANGLE, ANY },	     { "fpatan", 0xf3, ANY, ANY },
	{ "fyl2xp1", 0xf9, NEAR_ZERO, ANY }, { "fsincos", 0xfb, ANGLE, ANY },
	{ "fsin", 0xfe, ANGLE, ANY },	     { "fcos", 0xff, ANGLE, ANY },
};

static struct x87_reg in_domain(enum domain d)
{
	struct x87_reg v = { sil_random() | X87_INT_BIT, (uint16_t)(sil_below(2) << 15) };

	switch (d) {
	case ANGLE:
		v.exp |= (uint16_t)(0x3fff - 40 + sil_below(sil_below(2) ? 42 : 103));
		break;
	case UNIT:
		v.exp |= (uint16_t)(0x3ffe - (sil_below(2) ? sil_below(3) : sil_below(60)));
		break;
	case POSITIVE:
		v.exp = (uint16_t)(sil_below(2) ? 0x3ffd + sil_below(4) : 1 + sil_below(0x7ffd));
		break;
	case NEAR_ZERO: /* below 1 - sqrt(1/2) */
		v.exp |= (uint16_t)(0x3ffc - (sil_below(2) ? sil_below(3) : sil_below(60)));
		break;
	default:
		v.exp |= (uint16_t)(0x3fff - 60 + sil_below(120));
	}
	return v;
}

static void put_st(struct sil_state *s, unsigned i, struct x87_reg v)
{
	memcpy(s->fx + 32 + 16 * i, &v.mant, 8);
	memcpy(s->fx + 40 + 16 * i, &v.exp, 2);
}

static struct x87_reg get_st(const struct sil_state *s, unsigned i)
{
	struct x87_reg v = { 0 };

	memcpy(&v.mant, s->fx + 32 + 16 * i, 8);
	memcpy(&v.exp, s->fx + 40 + 16 * i, 2);
	return v;
}

/* Distance in units of the last place. */
static uint64_t distance(struct x87_reg a, struct x87_reg b)
{
	__int128 x = (__int128)x87_exp(a) << 63 | (a.mant & ~X87_INT_BIT);
	__int128 y = (__int128)x87_exp(b) << 63 | (b.mant & ~X87_INT_BIT);
	__int128 d;

	d = (x87_sign(a) ? -x : x) - (x87_sign(b) ? -y : y);
	d = d < 0 ? -d : d;
	return d >> 64 ? UINT64_MAX : (uint64_t)d;
}

/* Compares a run with both; C1 depends on the last bit and is left out. */
static void check_near(const struct function *fn, const struct sil_state *in, unsigned ulps)
{
	static struct sil_state host, soft;
	const uint8_t bytes[] = { 0xd9, fn->opcode };
	const unsigned ignore = X87_C1;
	uint16_t a, b;
	struct op op;

	memset(&op, 0, sizeof(op));
	ck_assert_int_eq(decode_op(bytes, 2, MODE_64, 0, &op), DECODE_OK);
	sil_native_run(in, &host);
	sil_soft_run(&op, in, &soft);
	memcpy(&a, host.fx + 2, 2);
	memcpy(&b, soft.fx + 2, 2);
	if ((a ^ b) & ~ignore)
		ck_abort_msg("%s: status host %04x, soft %04x; %s", fn->name, a, b,
			     sil_describe(bytes, 2, in));
	ck_assert_uint_eq(host.fx[4], soft.fx[4]);
	for (unsigned i = 0; i < 8; i++) {
		struct x87_reg x = get_st(&host, i), y = get_st(&soft, i);

		if (distance(x, y) > ulps)
			ck_abort_msg("%s: st%u host %04x %016llx, soft %04x %016llx; %s", fn->name,
				     i, x.exp, (unsigned long long)x.mant, y.exp,
				     (unsigned long long)y.mant, sil_describe(bytes, 2, in));
	}
}

static void plain_state(struct sil_state *in, uint16_t cw)
{
	memset(in, 0, sizeof(*in));
	memcpy(in->fx, &cw, 2);
	in->fx[3] = 3 << 3;
	in->fx[4] = 0x78;
	in->fx[24] = 0x80;
	in->fx[25] = 0x1f;
	for (unsigned i = 0; i < 8; i++)
		put_st(in, i, (struct x87_reg){ X87_INT_BIT, 0x3fff });
}

START_TEST(transcendental)
{
	const struct function *fn = &functions[_i];
	static struct sil_state in;

	sil_native_init();
	sil_cpu();
	sil_native_build((const uint8_t[]){ 0xd9, fn->opcode }, 2);
	for (unsigned i = 0; i < unit_cases(20000); i++) {
		sil_cpu()->bus.version = 1 + i % 2;
		plain_state(&in, (uint16_t)(0x37f | sil_below(4) << 10));
		put_st(&in, 0, in_domain(fn->st0));
		put_st(&in, 1, in_domain(fn->st1));
		check_near(fn, &in, 1);
	}
}
END_TEST

/*
 * Results of an Intel core (records of tests/isa/golden) that machine version 2 gives, last place
 * and C1, and version 1 does not.
 */
static const struct last_place {
	uint8_t opcode;
	struct x87_reg x, y, result;
	bool c1;
} last_places[] = {
	{ 0xfe, { 0x9bc3b7fb60c2cdb3, 0xbfff }, { 0 }, { 0xf022f081aef97e40, 0xbffe }, true },
	{ 0xff, { 0xef601f054ddbebe4, 0xc000 }, { 0 }, { 0xd37b2254bbd6dbf3, 0xbffe }, true },
	{ 0xff, { 0xb21044be5f485b9d, 0x3ffd }, { 0 }, { 0xf0ac7552fb21bf23, 0x3ffe }, false },
	{ 0xff, { 0xc45e0fd4f2893a6b, 0xc001 }, { 0 }, { 0xfd400980219d81d2, 0x3ffe }, true },
	{ 0xfb, { 0xf6b681321f574fd2, 0xc029 }, { 0 }, { 0xdacfbcde56a18e65, 0x3ffe }, false },
	{ 0xfb, { 0xd275b87b63ba700b, 0x4002 }, { 0 }, { 0xd5183e0735036064, 0x3ffe }, true },
	{ 0xf9,
	  { 0x943b1d43be0c5f6d, 0x3fc1 },
	  { 0xab507ed6f77ec1b7, 0xbfeb },
	  { 0x8f1bef8ca4a93d17, 0xbfae },
	  true },
	{ 0xf9,
	  { 0xc4e9aeb9a64835c9, 0xbff7 },
	  { 0xb024bcd5febdd8e0, 0x3fee },
	  { 0xc40eb6406a8aae7d, 0xbfe7 },
	  false },
	{ 0xf9,
	  { 0xe627b3f7467cdb59, 0x3ff7 },
	  { 0xc94e23159b49db0d, 0xc000 },
	  { 0x82183b592917fed5, 0xbffa },
	  true },
	{ 0xf9,
	  { 0x9ec397069a142081, 0x3fe4 },
	  { 0x8ec93f04d54b27ea, 0xc006 },
	  { 0xff81c4d23f26b257, 0xbfeb },
	  false },
};

static bool gives_last_place(const struct last_place *l, unsigned version)
{
	static struct sil_state in, out;
	struct x87_reg r;
	struct op op;
	uint16_t sw;

	sil_cpu()->bus.version = version; /* before anything is decoded */
	memset(&op, 0, sizeof(op));
	ck_assert_int_eq(decode_op((const uint8_t[]){ 0xd9, l->opcode }, 2, MODE_64, 0, &op),
			 DECODE_OK);
	plain_state(&in, 0x37f);
	put_st(&in, 0, l->x);
	put_st(&in, 1, l->y);
	sil_soft_run(&op, &in, &out);
	r = get_st(&out, 0);
	memcpy(&sw, out.fx + 2, 2);
	return r.mant == l->result.mant && r.exp == l->result.exp && !!(sw & X87_C1) == l->c1;
}

START_TEST(last_place)
{
	ck_assert(gives_last_place(&last_places[_i], 2));
	ck_assert(!gives_last_place(&last_places[_i], 1));
}
END_TEST

/* Zeros, infinities, NaNs, denormals, unsupported values, ones; and all exceptions unmasked. */
START_TEST(transcendental_special)
{
	static const struct x87_reg values[] = {
		{ 0, 0 },
		{ X87_INT_BIT, 0x7fff },
		{ 0xc000000000000000, 0x7fff },
		{ 0xe000000000000001, 0x7fff },
		{ 0xa000000000000000, 0x7fff },
		{ 1, 0 },
		{ 0x7fffffffffffffff, 0 },
		{ X87_INT_BIT, 0 },
		{ 0x4000000000000000, 0x3fff },
		{ X87_INT_BIT, 0x3fff },
		{ 0xc000000000000000, 0x3ffe },
		{ X87_INT_BIT, 0x4000 },
		{ 0xffffffffffffffff, 0x7ffe },
		{ X87_INT_BIT, 1 },
		{ X87_INT_BIT, 0x403e },
		{ 0xffffffffffffffff, 0x403d },
	};
	const unsigned n = sizeof(values) / sizeof(values[0]);
	const struct function *fn = &functions[_i];
	static struct sil_state in;

	sil_native_init();
	sil_cpu();
	sil_native_build((const uint8_t[]){ 0xd9, fn->opcode }, 2);
	for (unsigned i = 0; i < 2 * n; i++) {
		for (unsigned j = 0; j < 2 * n; j++) {
			struct x87_reg a = values[i / 2], b = values[j / 2];

			a.exp |= (uint16_t)((i & 1) << 15);
			b.exp |= (uint16_t)((j & 1) << 15);
			if (fn->st0 == NEAR_ZERO && x87_exp(a) >= X87_EXP_BIAS - 1 &&
			    x87_exp(a) < X87_EXP_MAX)
				continue; /* undefined */
			for (unsigned masks = 0; masks < 64; masks += 21) {
				plain_state(&in, (uint16_t)(0x340 | masks));
				put_st(&in, 0, a);
				put_st(&in, 1, b);
				check_near(fn, &in, 1);
			}
		}
	}
}
END_TEST

/* ---- stores: an unmasked exception that leaves no result comes before any access to memory ----
 */
START_TEST(pending_before_access)
{
	static const struct {
		uint8_t opcode, modrm;
		uint16_t unmasked, sw; /* exceptions that come up */
		struct x87_reg v;
		int fault;
	} cases[] = {
		{ 0xdb, 0x16, X87_IE, X87_IE, { X87_INT_BIT, 0x7fff }, SIL_NO_FAULT }, /* FIST m32
											*/
		{ 0xdb, 0x16, 0, 0, { X87_INT_BIT, 0x7fff }, VEC_GP },
		{ 0xdf, 0x36, X87_IE, X87_IE, { X87_INT_BIT, 0x7fff }, SIL_NO_FAULT }, /* FBSTP */
		{ 0xd9, 0x1e, X87_OE, X87_OE, { X87_INT_BIT, 0x7ffe }, SIL_NO_FAULT }, /* FSTP m32
											*/
		{ 0xdd, 0x1e, X87_UE, X87_UE, { X87_INT_BIT, 1 }, SIL_NO_FAULT }, /* FSTP m64 */
		{ 0xdd, 0x1e, X87_PE, 0, { X87_INT_BIT | 1, 0x3fff }, VEC_GP },
	};
	static struct sil_state in, out;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t cw = (uint16_t)(0x37f & ~cases[i].unmasked), sw;
		uint8_t bytes[] = { cases[i].opcode, cases[i].modrm };
		struct op op;

		sil_cpu();
		memset(&op, 0, sizeof(op));
		ck_assert_int_eq(decode_op(bytes, 2, MODE_64, 0, &op), DECODE_OK);
		op.disp += 1ll << 62; /* not canonical */
		plain_state(&in, cw);
		put_st(&in, 0, cases[i].v);
		sil_soft_run(&op, &in, &out);
		memcpy(&sw, out.fx + 2, 2);
		ck_assert_int_eq(out.fault, cases[i].fault);
		ck_assert_uint_eq(sw & X87_FLAGS & ~X87_PE, cases[i].sw);
		ck_assert_uint_eq(!!(sw & X87_ES), cases[i].sw != 0);
		ck_assert_uint_eq(out.fx[4], in.fx[4]); /* not popped */
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	const int n = sizeof(functions) / sizeof(functions[0]);

	tcase_add_loop_test(tc, transcendental, 0, n);
	tcase_add_loop_test(tc, transcendental_special, 0, n);
	tcase_add_loop_test(tc, last_place, 0, sizeof(last_places) / sizeof(last_places[0]));
	tcase_add_loop_test(tc, opcode, 0, 8);
	tcase_add_test(tc, pending_before_access);
}

UNIT_MAIN("x87", add_tests)
