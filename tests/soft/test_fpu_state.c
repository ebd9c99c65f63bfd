// SPDX-License-Identifier: GPL-2.0-or-later
/* Images of the floating-point state, their instructions, and when a unit may not be used. */
#include <errno.h>

#include "hypervisor/soft/x87.h"
#include "tests/soft/silicon.h"
#include "tests/unit.h"

static void random_state(struct sil_state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 416; i += 8) {
		uint64_t v = sil_random();

		memcpy(s->fx + i, &v, 8);
	}
	s->fx[0] = 0x7f; /* nothing pending: all masked; bit 6 is always 1, bit 7 always 0 */
	s->fx[1] &= 0x1f;
	s->fx[2] &= 0x7f;
	s->fx[3] &= 0x7f;
	memset(s->fx + 5, 0, 19);
	s->fx[24] |= 0x80;
	s->fx[25] |= 0x1f;
	memset(s->fx + 26, 0, 6);
	for (unsigned i = 0; i < 8; i++)
		memset(s->fx + 32 + 16 * i + 10, 0, 6);
	for (unsigned i = 0; i < SIL_MEM; i += 8) {
		uint64_t v = sil_random();

		memcpy(s->mem + i, &v, 8);
	}
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = sil_random();
}

static void decode(const char *bytes, size_t n, uint32_t mode, struct op *op)
{
	sil_cpu();
	memset(op, 0, sizeof(*op));
	ck_assert_int_eq(decode_op((const uint8_t *)bytes, n, mode, 0, op), DECODE_OK);
}

static int run(const char *bytes, size_t n, const struct sil_state *in, struct sil_state *out)
{
	struct op op;

	decode(bytes, n, MODE_64, &op);
	sil_soft_run(&op, in, out);
	return out->fault;
}

static void request(struct sil_state *s, uint64_t mask)
{
	s->gpr[R_RAX] = 0xffffffff00000000 | (uint32_t)mask;
	s->gpr[R_RDX] = 0xffffffff00000000 | mask >> 32;
}

#define FXSAVE	  "\x0f\xae\x06", 3
#define FXSAVE64  "\x48\x0f\xae\x06", 4
#define FXRSTOR	  "\x0f\xae\x0e", 3
#define FXRSTOR64 "\x48\x0f\xae\x0e", 4
#define XSAVE	  "\x0f\xae\x26", 3
#define XRSTOR64  "\x48\x0f\xae\x2e", 4
#define XSAVE64	  "\x48\x0f\xae\x26", 4

START_TEST(image_round_trip)
{
	struct sil_state s;
	struct fpu_state f;
	uint8_t image[512];

	for (unsigned i = 0; i < 100; i++) {
		random_state(&s);
		ck_assert_int_eq(fpu_from_fxsave(&f, s.fx), 0);
		fpu_to_fxsave(&f, image);
		memset(s.fx + 28, 0xff, 2); /* MXCSR_MASK */
		ck_assert_mem_eq(image, s.fx, 512);
	}
	s.fx[26] = 1;
	f.cw = 0x1234;
	ck_assert_int_eq(fpu_from_fxsave(&f, s.fx), -EINVAL);
	ck_assert_uint_eq(f.cw, 0x1234);
}
END_TEST

START_TEST(reset_state)
{
	uint8_t image[512];
	struct fpu_state f;
	struct cpu_state s;

	cpu_state_reset(&s);
	ck_assert_int_eq(fpu_from_fxsave(&f, s.fxsave), 0);
	fpu_to_fxsave(&f, image);
	ck_assert_uint_eq(image[0] | image[1] << 8, 0x40);
	ck_assert_uint_eq(image[2] | image[3] << 8, 0);
	ck_assert_uint_eq(image[4], 0xff);
	ck_assert_uint_eq(image[24] | image[25] << 8, 0x1f80);
	for (unsigned i = 32; i < 512; i++)
		ck_assert_uint_eq(image[i], 0);
}
END_TEST

/* FXSAVE leaves bytes 464 to 511 to software; the rest is what the host stores. */
START_TEST(fxsave_as_host)
{
	static const char *const forms[] = { "\x0f\xae\x06", "\x48\x0f\xae\x06" };
	struct sil_state in, host, soft;
	struct op op;

	sil_native_init();
	for (unsigned k = 0; k < 2; k++) {
		decode(forms[k], 3 + k, MODE_64, &op);
		sil_native_build((const uint8_t *)forms[k], 3 + k);
		for (unsigned i = 0; i < 200; i++) {
			random_state(&in);
			sil_native_run(&in, &host);
			sil_soft_run(&op, &in, &soft);
			ck_assert_mem_eq(host.mem, soft.mem, 6);
			ck_assert_mem_eq(host.mem + 24, soft.mem + 24, 4);
			for (unsigned r = 0; r < 8; r++)
				ck_assert_mem_eq(host.mem + 32 + 16 * r, soft.mem + 32 + 16 * r,
						 10);
			ck_assert_mem_eq(host.mem + 160, soft.mem + 160, 256);
			ck_assert_mem_eq(in.mem + 464, soft.mem + 464, SIL_MEM - 464);
		}
	}
}
END_TEST

START_TEST(fxrstor_as_host)
{
	struct sil_state in, image, host, soft;
	struct op op;
	char why[200];

	sil_native_init();
	decode(FXRSTOR64, MODE_64, &op);
	sil_native_build((const uint8_t *)FXRSTOR64);
	for (unsigned i = 0; i < 500; i++) {
		random_state(&in);
		random_state(&image);
		image.fx[0] &= (uint8_t)sil_random(); /* pending exceptions come with it */
		memcpy(in.mem, image.fx, 512);
		sil_native_run(&in, &host);
		sil_soft_run(&op, &in, &soft);
		sil_normalise(&host);
		sil_normalise(&soft);
		if (sil_differ(&host, &soft, why, sizeof(why)))
			ck_abort_msg("%s", why);
	}
	in.mem[26] = 1;
	ck_assert_int_eq(run(FXRSTOR64, &in, &soft), VEC_GP);
	ck_assert_mem_eq(in.fx, soft.fx, 26);
}
END_TEST

/*
 * Pointers are recorded: FIP and FDP by an instruction with a memory operand, FOP with an unmasked
 * exception only.
 */
START_TEST(pointers)
{
	static struct sil_state in, out;
	uint64_t fip, fdp;

	random_state(&in);
	in.fx[0] = 0x7f & ~X87_ZE;
	in.fx[1] = 3;
	in.fx[2] = in.fx[3] = 0;
	in.fx[4] = 0xff;
	memset(in.fx + 32, 0, 10);
	in.fx[39] = 0x80;
	in.fx[41] = 0x3f;
	memset(in.mem, 0, 8);
	ck_assert_int_eq(run("\xd8\x06", 2, &in, &out), SIL_NO_FAULT); /* FADD m32 */
	memcpy(&fip, out.fx + 8, 8);
	memcpy(&fdp, out.fx + 16, 8);
	ck_assert_uint_eq(fip, 0x1000);
	ck_assert_uint_eq(fdp, SIL_GUEST_MEM);
	ck_assert_uint_eq(out.fx[6] | out.fx[7] << 8, 0);
	ck_assert_int_eq(run("\xdc\x36", 2, &in, &out),
			 SIL_NO_FAULT); /* FDIV m64: by zero, unmasked */
	ck_assert_uint_eq(out.fx[6] | out.fx[7] << 8, 0x436);
	ck_assert_uint_eq(out.fx[2], X87_ZE | X87_ES);
	ck_assert_uint_eq(out.fx[3] & 0x80, 0x80);
	in = out;
	ck_assert_int_eq(run("\x9b", 1, &in, &out), VEC_MF);	 /* FWAIT */
	ck_assert_int_eq(run("\xd9\xc0", 2, &in, &out), VEC_MF); /* FLD ST(0) */
	ck_assert_int_eq(run("\x0f\xfc\xc1", 3, &in, &out), VEC_MF);
	ck_assert_int_eq(run("\xdb\xe2", 2, &in, &out), SIL_NO_FAULT); /* FNCLEX */
	ck_assert_uint_eq(out.fx[2], 0);
}
END_TEST

/* FNOP is none of the control instructions. */
START_TEST(fnop_pointer)
{
	static struct sil_state in, out;
	uint64_t fip;

	random_state(&in);
	ck_assert_int_eq(run("\xd9\xd0", 2, &in, &out), SIL_NO_FAULT);
	memcpy(&fip, out.fx + 8, 8);
	ck_assert_uint_eq(fip, 0x1000);
}
END_TEST

/* ---- order of accesses: memory ends at BORDER ---- */
#define BORDER (2ull << 20)

static int run_at_border(const char *bytes, size_t n, uint64_t below, const struct sil_state *in,
			 struct sil_state *out)
{
	struct cpu *cpu = sil_cpu();
	struct op op;

	guest_poke(&sil_guest, GUEST_PD + 8, 0);
	mmu_flush_all(cpu);
	decode(bytes, n, MODE_64, &op);
	op.disp += (int64_t)(BORDER - below - SIL_GUEST_MEM);
	sil_soft_run(&op, in, out);
	guest_poke(&sil_guest, GUEST_PD + 8, BORDER | 0x87);
	mmu_flush_all(cpu);
	return out->fault;
}

/* Where the first access that faults lies shows in CR2; nothing is written before it. */
START_TEST(images_at_border)
{
	static const struct {
		const char *bytes;
		size_t n;
		unsigned below, cr2; /* bytes from the border; CR2, from the start */
	} cases[] = {
		{ "\x0f\xae\x06", 3, 496, 511 },     /* FXSAVE: all 512 bytes count */
		{ "\x0f\xae\x0e", 3, 496, 511 },     /* FXRSTOR */
		{ "\x0f\xae\x26", 3, 512, 575 },     /* XSAVE */
		{ "\x48\x0f\xae\x2e", 4, 512, 520 }, /* XRSTOR */
		{ "\xd9\x36", 2, 20, 27 },	     /* FNSTENV */
		{ "\xd9\x26", 2, 20, 27 },	     /* FLDENV */
		{ "\x66\xd9\x36", 3, 13, 13 },
		{ "\xdd\x36", 2, 70, 107 },    /* FNSAVE */
		{ "\xdd\x26", 2, 28, 107 },    /* FRSTOR */
		{ "\x66\xdd\x26", 3, 28, 93 }, /* with 16-bit fields */
		{ "\xd9\x36", 2, 2, 2 },       /* the first word crosses the border */
		{ "\xdd\x36", 2, 2, 2 },
	};
	static struct sil_state in, out;

	sil_cpu();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t start = BORDER - cases[i].below;
		uint8_t *ram = guest_ram(&sil_guest, start);

		random_state(&in);
		request(&in, 3);
		memset(ram, 0, cases[i].below);
		ck_assert_int_eq(
			run_at_border(cases[i].bytes, cases[i].n, cases[i].below, &in, &out),
			VEC_PF);
		ck_assert_uint_eq(sil_cpu()->fault.cr2, start + cases[i].cr2);
		sil_normalise(&in);
		sil_normalise(&out);
		ck_assert_mem_eq(in.fx, out.fx, 512);
		for (unsigned j = 0; j < cases[i].below; j++)
			ck_assert_uint_eq(ram[j], 0);
	}
}
END_TEST

/* FSTP m80 and FBSTP are stores of 8 and of 2 bytes. */
START_TEST(ten_bytes_at_border)
{
	static struct sil_state in, out;
	uint64_t v;

	random_state(&in);
	in.fx[4] = 0xff;
	sil_cpu();
	guest_poke(&sil_guest, BORDER - 8, 0);
	ck_assert_int_eq(run_at_border("\xdb\x3e", 2, 8, &in, &out), VEC_PF);
	ck_assert_uint_eq(sil_cpu()->fault.cr2, BORDER);
	memcpy(&v, guest_ram(&sil_guest, BORDER - 8), 8);
	ck_assert_mem_eq(&v, in.fx + 32, 8);
	sil_normalise(&in);
	sil_normalise(&out);
	ck_assert_mem_eq(in.fx, out.fx, 512); /* not popped */
}
END_TEST

/* ---- XSAVE ---- */
START_TEST(xsave_parts)
{
	static struct sil_state in, out;
	uint64_t bv;

	random_state(&in);
	memset(in.mem + 512, 0, 64);
	in.mem[512] = 4; /* a component that is not asked for keeps its bit */
	request(&in, ~0ull);
	ck_assert_int_eq(run(XSAVE64, &in, &out), SIL_NO_FAULT);
	memcpy(&bv, out.mem + 512, 8);
	ck_assert_uint_eq(bv, 7);
	ck_assert_mem_eq(out.mem + 160, in.fx + 160, 256);
	ck_assert_mem_eq(out.mem + 520, in.mem + 520, 56);
	ck_assert_mem_eq(out.mem + 416, in.mem + 416, 96);

	request(&in, 1);
	ck_assert_int_eq(run(XSAVE, &in, &out), SIL_NO_FAULT);
	ck_assert_mem_eq(out.mem + 24, in.mem + 24, 8); /* MXCSR belongs to SSE */
	ck_assert_mem_eq(out.mem + 160, in.mem + 160, 256);
	ck_assert_mem_eq(out.mem + 32, in.fx + 32, 10);

	request(&in, 2);
	ck_assert_int_eq(run(XSAVE, &in, &out), SIL_NO_FAULT);
	ck_assert_mem_eq(out.mem, in.mem, 24);
	ck_assert_mem_eq(out.mem + 24, in.fx + 24, 4);
	ck_assert_mem_eq(out.mem + 32, in.mem + 32, 128);
	ck_assert_mem_eq(out.mem + 160, in.fx + 160, 256);
}
END_TEST

static void xrstor_image(struct sil_state *in, uint64_t bv)
{
	struct sil_state image;

	random_state(in);
	random_state(&image);
	memcpy(in->mem, image.fx, 512);
	memset(in->mem + 512, 0, 64);
	memcpy(in->mem + 512, &bv, 8);
	request(in, ~0ull);
}

/* Against the host, which knows the same rules for the components that both have. */
START_TEST(xrstor_as_host)
{
	static struct sil_state in, host, soft;
	struct op op;
	char why[200];

	sil_native_init();
	decode(XRSTOR64, MODE_64, &op);
	sil_native_build((const uint8_t *)XRSTOR64);
	for (unsigned i = 0; i < 400; i++) {
		xrstor_image(&in, i & 3);
		request(&in, i >> 2 & 3);
		sil_native_run(&in, &host);
		sil_soft_run(&op, &in, &soft);
		sil_normalise(&host);
		sil_normalise(&soft);
		if (sil_differ(&host, &soft, why, sizeof(why)))
			ck_abort_msg("XSTATE_BV %u, mask %u: %s", i & 3, i >> 2 & 3, why);
	}
}
END_TEST

START_TEST(xrstor_refusals)
{
	static struct sil_state in, out;
	struct cpu *cpu = sil_cpu();

	xrstor_image(&in, 3);
	ck_assert_int_eq(run(XRSTOR64, &in, &out), SIL_NO_FAULT);
	xrstor_image(&in, 4); /* a component that XCR0 does not have */
	ck_assert_int_eq(run(XRSTOR64, &in, &out), VEC_GP);
	xrstor_image(&in, 3);
	in.mem[520] = 1; /* XCOMP_BV */
	ck_assert_int_eq(run(XRSTOR64, &in, &out), VEC_GP);
	xrstor_image(&in, 3);
	in.mem[535] = 1; /* header byte 23 */
	ck_assert_int_eq(run(XRSTOR64, &in, &out), VEC_GP);
	xrstor_image(&in, 3);
	in.mem[536] = 1; /* header byte 24: not checked */
	ck_assert_int_eq(run(XRSTOR64, &in, &out), SIL_NO_FAULT);
	xrstor_image(&in, 0);
	in.mem[26] = 1; /* MXCSR is loaded all the same */
	ck_assert_int_eq(run(XRSTOR64, &in, &out), VEC_GP);
	ck_assert_mem_eq(in.fx, out.fx, 26);
	request(&in, 1);
	ck_assert_int_eq(run(XRSTOR64, &in, &out), SIL_NO_FAULT);

	cpu->cr4 &= ~(uint64_t)CR4_OSXSAVE;
	ck_assert_int_eq(run(XRSTOR64, &in, &out), VEC_UD);
	ck_assert_int_eq(run(XSAVE, &in, &out), VEC_UD);
	cpu->cr4 |= CR4_OSXSAVE;
	cpu->cr0 |= CR0_TS;
	ck_assert_int_eq(run(XSAVE, &in, &out), VEC_NM);
	ck_assert_int_eq(run(FXSAVE, &in, &out), VEC_NM);
	cpu->cr0 &= ~(uint64_t)CR0_TS;
}
END_TEST

/* Forms that the CPU model does not have. */
START_TEST(absent)
{
	static struct sil_state in, out;

	random_state(&in);
	ck_assert_int_eq(run("\x0f\xae\x36", 3, &in, &out), VEC_UD);	 /* XSAVEOPT */
	ck_assert_int_eq(run("\x0f\xc7\x26", 3, &in, &out), VEC_UD);	 /* XSAVEC */
	ck_assert_int_eq(run("\x0f\xc7\x2e", 3, &in, &out), VEC_UD);	 /* XSAVES */
	ck_assert_int_eq(run("\xc5\xf8\x58\xc1", 4, &in, &out), VEC_UD); /* VADDPS */
	ck_assert_int_eq(run("\xf2\x0f\x79\xc1", 4, &in, &out), VEC_UD); /* INSERTQ (SSE4a) */
	ck_assert_int_eq(run("\x0f\x38\xc8\xc1", 4, &in, &out), VEC_UD); /* SHA1NEXTE */
}
END_TEST

START_TEST(ldmxcsr)
{
	static struct sil_state in, out;
	const uint32_t good = 0xffff, bad = 0x10000;

	random_state(&in);
	memcpy(in.mem, &good, 4);
	ck_assert_int_eq(run("\x0f\xae\x16", 3, &in, &out), SIL_NO_FAULT);
	ck_assert_mem_eq(out.fx + 24, &good, 4);
	memcpy(in.mem, &bad, 4);
	ck_assert_int_eq(run("\x0f\xae\x16", 3, &in, &out), VEC_GP);
	ck_assert_mem_eq(out.fx + 24, in.fx + 24, 4);
}
END_TEST

/* Alignment: 16 bytes for FXSAVE, 64 for XSAVE. */
START_TEST(alignment)
{
	static struct sil_state in, out;

	random_state(&in);
	request(&in, 3);
	ck_assert_int_eq(run("\x0f\xae\x46\x08", 4, &in, &out), VEC_GP);
	ck_assert_int_eq(run("\x0f\xae\x46\x10", 4, &in, &out), SIL_NO_FAULT);
	ck_assert_int_eq(run("\x0f\xae\x66\x20", 4, &in, &out), VEC_GP);
	ck_assert_int_eq(run("\x0f\xae\x66\x40", 4, &in, &out), SIL_NO_FAULT);
}
END_TEST

/* ---- availability of x87: #NM by EM or TS, FWAIT by MP and TS ---- */
static int fault_with(const char *bytes, size_t n, uint64_t cr0)
{
	static struct sil_state in, out;
	struct cpu *cpu = sil_cpu();
	uint64_t old = cpu->cr0;
	int fault;

	random_state(&in);
	cpu->cr0 = (old & ~(uint64_t)(CR0_EM | CR0_TS | CR0_MP)) | cr0;
	fault = run(bytes, n, &in, &out);
	cpu->cr0 = old;
	return fault;
}

START_TEST(x87_availability)
{
	static const struct {
		const char *bytes;
		size_t n;
	} insns[] = { { "\xd9\xe8", 2 }, { "\xd8\x06", 2 }, { "\xdb\xe3", 2 }, { "\xdf\xe0", 2 },
		      { "\xd9\x3e", 2 }, { "\xd9\x2e", 2 }, { "\xdd\x36", 2 }, { "\xd9\xd0", 2 } };

	for (unsigned i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		ck_assert_int_eq(fault_with(insns[i].bytes, insns[i].n, 0), SIL_NO_FAULT);
		ck_assert_int_eq(fault_with(insns[i].bytes, insns[i].n, CR0_TS), VEC_NM);
		ck_assert_int_eq(fault_with(insns[i].bytes, insns[i].n, CR0_EM), VEC_NM);
		ck_assert_int_eq(fault_with(insns[i].bytes, insns[i].n, CR0_MP), SIL_NO_FAULT);
	}
	ck_assert_int_eq(fault_with("\x9b", 1, CR0_TS), SIL_NO_FAULT);
	ck_assert_int_eq(fault_with("\x9b", 1, CR0_MP), SIL_NO_FAULT);
	ck_assert_int_eq(fault_with("\x9b", 1, CR0_TS | CR0_MP), VEC_NM);
	ck_assert_int_eq(fault_with("\x9b", 1, CR0_EM), SIL_NO_FAULT);
}
END_TEST

/* ---- environment images by mode and operand size ---- */
static void env_state(struct sil_state *in)
{
	const uint64_t fip = 0x12345678, fdp = 0x0abcdef0;

	random_state(in);
	in->fx[0] = 0x7f;
	in->fx[1] = 3;
	in->fx[6] = 0x23;
	in->fx[7] = 0x05;
	memcpy(in->fx + 8, &fip, 8);
	memcpy(in->fx + 16, &fdp, 8);
}

static void store_env(const char *bytes, size_t n, uint32_t mode, struct sil_state *out)
{
	static struct sil_state in;
	struct cpu *cpu = sil_cpu();
	uint32_t old = cpu->mode;
	struct op op;

	env_state(&in);
	cpu->mode = mode;
	decode(bytes, n, mode, &op);
	sil_soft_run(&op, &in, out);
	cpu->mode = old;
	ck_assert_int_eq(out->fault, SIL_NO_FAULT);
}

static uint32_t word32(const struct sil_state *s, unsigned i)
{
	uint32_t v;

	memcpy(&v, s->mem + 4 * i, 4);
	return v;
}

static uint16_t word16(const struct sil_state *s, unsigned i)
{
	uint16_t v;

	memcpy(&v, s->mem + 2 * i, 2);
	return v;
}

START_TEST(environment_formats)
{
	static struct sil_state out;

	store_env("\xd9\x36", 2, MODE_64, &out);
	ck_assert_uint_eq(word32(&out, 0), 0xffff037f);
	ck_assert_uint_eq(word32(&out, 3), 0x12345678);
	ck_assert_uint_eq(word32(&out, 4), 0x05230000);
	ck_assert_uint_eq(word32(&out, 5), 0x0abcdef0);
	store_env("\x66\xd9\x36", 3, MODE_64, &out);
	ck_assert_uint_eq(word16(&out, 0), 0x037f);
	ck_assert_uint_eq(word16(&out, 3), 0x5678);
	ck_assert_uint_eq(word16(&out, 4), 0);
	ck_assert_uint_eq(word16(&out, 5), 0xdef0);
	store_env("\x66\x67\xd9\x36", 4, MODE_16 | MODE_REAL, &out);
	ck_assert_uint_eq(word32(&out, 3), 0xffff5678);
	ck_assert_uint_eq(word32(&out, 4), 0x01234523);
	ck_assert_uint_eq(word32(&out, 5), 0xffffdef0);
	ck_assert_uint_eq(word32(&out, 6), 0x00abc000);
	store_env("\x67\xd9\x36", 3, MODE_16 | MODE_REAL, &out);
	ck_assert_uint_eq(word16(&out, 3), 0x5678);
	ck_assert_uint_eq(word16(&out, 4), 0x4523);
	ck_assert_uint_eq(word16(&out, 6), 0xc000);
}
END_TEST

/* FNSAVE, then FRSTOR of its image, gives the state back; FNSAVE itself initialises. */
START_TEST(save_and_restore)
{
	static struct sil_state in, saved, back;

	for (unsigned i = 0; i < 100; i++) {
		random_state(&in);
		ck_assert_int_eq(run("\xdd\x36", 2, &in, &saved), SIL_NO_FAULT);
		ck_assert_uint_eq(saved.fx[0] | saved.fx[1] << 8, 0x37f);
		ck_assert_uint_eq(saved.fx[2] | saved.fx[3] << 8 | saved.fx[4], 0);
		ck_assert_int_eq(run("\xdd\x26", 2, &saved, &back), SIL_NO_FAULT);
		ck_assert_mem_eq(back.fx, in.fx, 5);
		ck_assert_mem_eq(back.fx + 32, in.fx + 32, 128);
	}
}
END_TEST

/*
 * Outside of 64-bit mode FXSAVE and FXRSTOR leave XMM8 to XMM15 and their part of the image alone.
 */
START_TEST(fxsave_32)
{
	static struct sil_state in, out;
	struct cpu *cpu = sil_cpu();
	uint32_t old = cpu->mode;
	struct op op;

	random_state(&in);
	cpu->mode = MODE_32;
	decode(FXSAVE, MODE_32, &op);
	sil_soft_run(&op, &in, &out);
	ck_assert_mem_eq(out.mem + 160, in.fx + 160, 128);
	ck_assert_mem_eq(out.mem + 288, in.mem + 288, SIL_MEM - 288);
	memset(in.mem + 26, 0, 2); /* MXCSR */
	decode(FXRSTOR, MODE_32, &op);
	sil_soft_run(&op, &in, &out);
	cpu->mode = old;
	ck_assert_int_eq(out.fault, SIL_NO_FAULT);
	ck_assert_mem_eq(out.fx + 160, in.mem + 160, 128);
	ck_assert_mem_eq(out.fx + 288, in.fx + 288, 128);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, image_round_trip);
	tcase_add_test(tc, reset_state);
	tcase_add_test(tc, fxsave_as_host);
	tcase_add_test(tc, fxrstor_as_host);
	tcase_add_test(tc, pointers);
	tcase_add_test(tc, fnop_pointer);
	tcase_add_test(tc, images_at_border);
	tcase_add_test(tc, ten_bytes_at_border);
	tcase_add_test(tc, xsave_parts);
	tcase_add_test(tc, xrstor_as_host);
	tcase_add_test(tc, xrstor_refusals);
	tcase_add_test(tc, absent);
	tcase_add_test(tc, ldmxcsr);
	tcase_add_test(tc, alignment);
	tcase_add_test(tc, x87_availability);
	tcase_add_test(tc, environment_formats);
	tcase_add_test(tc, save_and_restore);
	tcase_add_test(tc, fxsave_32);
}

UNIT_MAIN("fpu_state", add_tests)
