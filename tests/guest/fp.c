/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floating point that comes out the same everywhere: digests of results and exception flags over a
 * grid of operands and controls, held against digests that are stored here.
 *
 * The software CPU must give these on every host, whoever made it: nothing that makers or
 * generations do differently (estimates, NaNs of dot products, flushed denormals, x87) may come
 * from an instruction of the host. They are what an Intel processor gives where the golden vectors
 * of tests/isa cover it.
 */
#include "tests/guest/rt64.h"

#define MXCSR_MASKED 0x1f80u
#define FTZ	     0x8000u
#define DAZ	     0x40u
#define RC(n)	     ((u32)(n) << 13)

static u64 digest;
static u64 a[2], b[2], out[2];
static u8 wide_a[10], wide_b[10], wide_out[10];
static u32 mxcsr;
static u16 fcw, fsw;

/* FNV-1a */
static void hash(const void *p, size_t n)
{
	const u8 *c = p;

	for (size_t i = 0; i < n; i++)
		digest = (digest ^ c[i]) * 0x100000001b3ull;
}

/* ---- operands ---- */
/* Singles and, in pairs, doubles: zeros, denormals, edges, infinities, NaNs with a payload. */
static const u64 edge[] = {
	0,
	0x8000000000000000,
	0x3f8000003f800000,
	0x3ff0000000000000,
	0xbff8000000000001,
	0x0000000100000001,
	0x000fffffffffffff,
	0x8010000000000000,
	0x007fffff80000001,
	0x7f7fffffff7fffff,
	0x7fefffffffffffff,
	0x7f800000ff800000,
	0x7ff0000000000000,
	0xfff0000000000000,
	0x7fc00123ffc00456,
	0x7ff8000000000789,
	0x7fa00123ff800001,
	0xfff4000000000abc,
	0x41dfffffffc00000,
	0xc3e0000000000000,
	0x4effffffcf000000,
	0x3eaaaaab40490fdb,
	0x400921fb54442d18,
};
#define EDGES (sizeof(edge) / sizeof(edge[0]))

static const u32 controls[] = {
	MXCSR_MASKED,
	MXCSR_MASKED | RC(1),
	MXCSR_MASKED | RC(2),
	MXCSR_MASKED | RC(3),
	MXCSR_MASKED | FTZ,
	MXCSR_MASKED | DAZ,
	MXCSR_MASKED | FTZ | DAZ,
	MXCSR_MASKED | FTZ | RC(3),
};
#define CONTROLS (sizeof(controls) / sizeof(controls[0]))

/* ---- SSE ---- */
#define SSE(name, insn)                                                \
	static void name(void)                                         \
	{                                                              \
		__asm__ volatile("ldmxcsr %[c]\n\t"                    \
				 "movups %[x], %%xmm0\n\t"             \
				 "movups %[y], %%xmm1\n\t" insn "\n\t" \
				 "movups %%xmm0, %[z]\n\t"             \
				 "stmxcsr %[c]"                        \
				 : [z] "=m"(out), [c] "+m"(mxcsr)      \
				 : [x] "m"(a), [y] "m"(b)              \
				 : "rax", "memory", "cc");             \
	}
#define SSE4(op)                             \
	SSE(op##ps, #op "ps %%xmm1, %%xmm0") \
	SSE(op##pd, #op "pd %%xmm1, %%xmm0") \
	SSE(op##ss, #op "ss %%xmm1, %%xmm0") \
	SSE(op##sd, #op "sd %%xmm1, %%xmm0")
SSE4(add)
SSE4(sub)
SSE4(mul)
SSE4(div)
SSE4(min)
SSE4(max)
SSE4(sqrt)
SSE(cmpltps, "cmpltps %%xmm1, %%xmm0")
SSE(cmpunordpd, "cmpunordpd %%xmm1, %%xmm0")
SSE(comiss, "comiss %%xmm1, %%xmm0; pushf; pop %%rax; and $0x8d5, %%eax; movq %%rax, %%xmm0")
SSE(ucomisd, "ucomisd %%xmm1, %%xmm0; pushf; pop %%rax; and $0x8d5, %%eax; movq %%rax, %%xmm0")
SSE(cvtps2pd, "cvtps2pd %%xmm1, %%xmm0")
SSE(cvtpd2ps, "cvtpd2ps %%xmm1, %%xmm0")
SSE(cvtps2dq, "cvtps2dq %%xmm1, %%xmm0")
SSE(cvttps2dq, "cvttps2dq %%xmm1, %%xmm0")
SSE(cvtpd2dq, "cvtpd2dq %%xmm1, %%xmm0")
SSE(cvttpd2dq, "cvttpd2dq %%xmm1, %%xmm0")
SSE(cvtdq2ps, "cvtdq2ps %%xmm1, %%xmm0")
SSE(cvtsd2ss, "cvtsd2ss %%xmm1, %%xmm0")
SSE(cvtss2sd, "cvtss2sd %%xmm1, %%xmm0")
SSE(cvtsd2si, "cvtsd2si %%xmm1, %%rax; movq %%rax, %%xmm0")
SSE(cvttss2si, "cvttss2si %%xmm1, %%rax; movq %%rax, %%xmm0")
SSE(rcpps, "rcpps %%xmm1, %%xmm0")
SSE(rsqrtps, "rsqrtps %%xmm1, %%xmm0")
SSE(rcpss, "rcpss %%xmm1, %%xmm0")
SSE(rsqrtss, "rsqrtss %%xmm1, %%xmm0")
SSE(dpps, "dpps $0xff, %%xmm1, %%xmm0")
SSE(dpps_part, "dpps $0x7a, %%xmm1, %%xmm0")
SSE(dppd, "dppd $0x33, %%xmm1, %%xmm0")
SSE(haddps, "haddps %%xmm1, %%xmm0")
SSE(hsubpd, "hsubpd %%xmm1, %%xmm0")
SSE(addsubps, "addsubps %%xmm1, %%xmm0")
SSE(roundps, "roundps $4, %%xmm1, %%xmm0")
SSE(roundsd, "roundsd $9, %%xmm1, %%xmm0")

static void run_sse(void (*const *op)(void), size_t n)
{
	for (size_t i = 0; i < n * CONTROLS * EDGES * EDGES; i++) {
		size_t x = i % EDGES, y = i / EDGES % EDGES;

		a[0] = edge[x];
		a[1] = edge[(x + y + 5) % EDGES];
		b[0] = edge[y];
		b[1] = edge[(x * 3 + y) % EDGES];
		mxcsr = controls[i / EDGES / EDGES % CONTROLS];
		op[i / EDGES / EDGES / CONTROLS]();
		hash(out, sizeof(out));
		hash(&mxcsr, sizeof(mxcsr));
	}
}

/* ---- x87 ---- */
#define X87(name, insn)                                                           \
	static void name(void)                                                    \
	{                                                                         \
		__asm__ volatile("fninit\n\tfldcw %[c]\n\t"                       \
				 "fldt %[x]\n\tfldt %[y]\n\t" insn "\n\t"         \
				 "fnstsw %[s]\n\tfstpt %[z]\n\tfninit"            \
				 : [z] "=m"(wide_out), [s] "=m"(fsw)              \
				 : [c] "m"(fcw), [x] "m"(wide_a), [y] "m"(wide_b) \
				 : "memory", "cc");                               \
	}
X87(fadd, "faddp")
X87(fsub, "fsubp")
X87(fmul, "fmulp")
X87(fdiv, "fdivp")
X87(fsqrt, "fsqrt")
X87(frndint, "frndint")
X87(fscale, "fscale")
X87(fxtract, "fxtract")
X87(fprem, "fprem")
X87(fprem1, "fprem1")
X87(fcom, "fcom")
X87(fxam, "fxam")
X87(to_single, "fstps %[z]; flds %[z]")
X87(to_double, "fstpl %[z]; fldl %[z]")
X87(to_integer, "fistpll %[z]; fildll %[z]")
X87(to_short, "fistps %[z]; filds %[z]")
X87(to_bcd, "fbstp %[z]; fbld %[z]")

/* The edges as numbers of 80 bits: exponent and fraction of an edge, some without integer bit. */
static void make_wide(u8 *w, size_t i)
{
	static const u16 exponent[] = { 0,	0x8000, 0x3fff, 0xbffe, 0x4000, 0x7ffe,
					0x7fff, 0xffff, 1,	0x403d, 0xc01e, 0x3ff0 };
	u64 fraction = edge[i] << 8 | 0x8000000000000000;
	u16 e = exponent[i % 12];

	if (i % 12 < 2 || i % 11 == 10)
		fraction &= 0x7fffffffffffffff;
	memcpy(w, &fraction, 8);
	memcpy(w + 8, &e, 2);
}

static void run_x87(void (*const *op)(void), size_t n)
{
	static const u16 control[] = { 0x37f, 0x77f, 0xb7f, 0xf7f, 0x27f, 0x07f };

	for (size_t i = 0; i < n * 6 * EDGES * EDGES; i++) {
		make_wide(wide_a, i % EDGES);
		make_wide(wide_b, i / EDGES % EDGES);
		fcw = control[i / EDGES / EDGES % 6];
		memset(wide_out, 0, sizeof(wide_out));
		op[i / EDGES / EDGES / 6]();
		hash(wide_out, sizeof(wide_out));
		hash(&fsw, sizeof(fsw));
	}
}

/* Functions, in the part of their domain that all have in common. */
X87(fsin, "fsin")
X87(fcos, "fcos")
X87(fsincos, "fsincos; faddp")
X87(fptan, "fptan; fstp %%st(0)")
X87(fpatan, "fpatan")
X87(f2xm1, "f2xm1")
X87(fyl2x, "fabs; fyl2x")
X87(fyl2xp1, "fyl2xp1")

static void run_functions(void (*const *op)(void), size_t n)
{
	for (size_t i = 0; i < n * EDGES * EDGES; i++) {
		size_t x = i % EDGES, y = i / EDGES % EDGES;
		u64 fraction_x = edge[x] * 0x9e3779b97f4a7c15 | 0x8000000000000000;
		u64 fraction_y = edge[y] << 9 | 0x8000000000000000;
		u16 exponent_x = (u16)(0x3ff0 + x % 16), exponent_y = (u16)(0x3fee + y % 15);

		memcpy(wide_a, &fraction_x, 8);
		memcpy(wide_a + 8, &exponent_x, 2);
		exponent_y |= (u16)(y % 2 << 15);
		memcpy(wide_b, &fraction_y, 8);
		memcpy(wide_b + 8, &exponent_y, 2);
		fcw = 0x37f;
		op[i / EDGES / EDGES]();
		hash(wide_out, sizeof(wide_out));
		hash(&fsw, sizeof(fsw));
	}
}

/* ---- groups ---- */
typedef void (*operation)(void);
#define GROUP(...) \
	(operation[]){ __VA_ARGS__ }, sizeof((operation[]){ __VA_ARGS__ }) / sizeof(operation)

static void group(const char *name, void (*run)(const operation *, size_t), const operation *op,
		  size_t n, u64 want)
{
	digest = 0xcbf29ce484222325ull;
	run(op, n);
	check_eq(name, digest, want);
}

static bool has_apic(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[3] >> 9 & 1;
}

int main(void)
{
	write_cr0((read_cr0() & ~0xcull) | 2); /* no EM, no TS; MP */
	write_cr4(read_cr4() | 0x600);	       /* OSFXSR, OSXMMEXCPT */
	group("fp.add", run_sse, GROUP(addps, addpd, addss, addsd, subps, subpd, subss, subsd),
	      0x676f26ee5fbaa405);
	group("fp.mul", run_sse, GROUP(mulps, mulpd, mulss, mulsd), 0x8a9cc0dd9497cdd2);
	group("fp.div", run_sse, GROUP(divps, divpd, divss, divsd, sqrtps, sqrtpd, sqrtss, sqrtsd),
	      0x696d4215a60013ae);
	group("fp.minmax", run_sse, GROUP(minps, minpd, minss, minsd, maxps, maxpd, maxss, maxsd),
	      0xc5a92b1e76d1b2ad);
	group("fp.compare", run_sse, GROUP(cmpltps, cmpunordpd, comiss, ucomisd),
	      0x3ab5bba9ad4d1e3d);
	group("fp.convert", run_sse,
	      GROUP(cvtps2pd, cvtpd2ps, cvtps2dq, cvttps2dq, cvtpd2dq, cvttpd2dq, cvtdq2ps,
		    cvtsd2ss, cvtss2sd, cvtsd2si, cvttss2si),
	      0x031399e0bf39e02e);
	group("fp.estimate", run_sse, GROUP(rcpps, rsqrtps, rcpss, rsqrtss), 0x22da4532076bebb5);
	group("fp.dot", run_sse, GROUP(dpps, dpps_part, dppd), 0x9795ed66e01d9cd9);
	group("fp.horizontal", run_sse, GROUP(haddps, hsubpd, addsubps, roundps, roundsd),
	      0x8cd8e46d47670825);
	group("fp.x87", run_x87,
	      GROUP(fadd, fsub, fmul, fdiv, fsqrt, frndint, fscale, fxtract, fprem, fprem1),
	      0x8275e1d39cae7371);
	group("fp.x87_compare", run_x87, GROUP(fcom, fxam), 0xf02b6c0b1c4293b5);
	group("fp.x87_convert", run_x87, GROUP(to_single, to_double, to_integer, to_short, to_bcd),
	      0xb80c69d64dba950b);
	/* Machine version 1, which has no APIC, keeps what it gave before more was known. */
	group("fp.x87_functions", run_functions,
	      GROUP(fsin, fcos, fsincos, fptan, fpatan, f2xm1, fyl2x, fyl2xp1),
	      has_apic() ? 0x95d518c63c5d5e18 : 0xb52f08feaa75f964);
	finish();
}
