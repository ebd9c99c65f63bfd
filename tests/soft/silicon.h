/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instruction on the host CPU and on the software CPU from the same state. The instruction may
 * use RSI (and implicitly RDI) as pointers to a buffer of SIL_MEM bytes and must leave RSP alone.
 */
#ifndef TESTS_SOFT_SILICON_H
#define TESTS_SOFT_SILICON_H

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/fpu.h"
#include "tests/soft/guest.h"

#define SIL_MEM	      1024
#define SIL_GUEST_MEM 0x20000ull
#define SIL_NO_FAULT  (-1)
#define SIL_FLAGS     (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

struct sil_state {
	uint8_t fx[512] __attribute__((aligned(64))); /* FXSAVE64 image */
	uint64_t gpr[16];			      /* RSP is not used */
	uint64_t flags;
	uint8_t mem[SIL_MEM] __attribute__((aligned(64)));
	int fault;
};

/* ---- random numbers: xorshift, the same in every run ---- */
static uint64_t sil_seed = 0x9e3779b97f4a7c15ull;

static inline uint64_t sil_random(void)
{
	sil_seed ^= sil_seed << 13;
	sil_seed ^= sil_seed >> 7;
	sil_seed ^= sil_seed << 17;
	return sil_seed * 0x2545f4914f6cdd1dull;
}

static inline unsigned sil_below(unsigned n)
{
	return (unsigned)(sil_random() >> 33) % n;
}

/* ---- the host ---- */
#define SIL_PAGE 4096

struct sil_native {
	uint8_t *code; /* one page of code, one of data after it */
	uint8_t *data;
	uint8_t *epilogue;
};

/* Layout of the data page. */
enum {
	SIL_FX_IN = 0,
	SIL_FX_OUT = 512,
	SIL_GPR = 1024,
	SIL_RFLAGS = 1152,
	SIL_RSP = 1160,
	SIL_MXCSR = 1168,
	SIL_BUF = 2048,
};

static struct sil_native sil_native;
static volatile int sil_fault;

static void sil_on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (sig == SIGILL)
		sil_fault = VEC_UD;
	else if (sig == SIGFPE)
		sil_fault = VEC_XM; /* or #MF: the caller knows which unit it used */
	else
		sil_fault = VEC_GP;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)sil_native.epilogue;
}

static inline void sil_put(uint8_t **p, const void *bytes, size_t n)
{
	memcpy(*p, bytes, n);
	*p += n;
}

/*
 * An instruction whose last four bytes are a RIP-relative displacement to offset `to` of the data
 * page.
 */
static inline void sil_put_rel(uint8_t **p, const char *bytes, size_t n, unsigned to)
{
	int32_t disp;

	sil_put(p, bytes, n);
	disp = (int32_t)(sil_native.data + to - (*p + 4));
	sil_put(p, &disp, 4);
}

static inline void sil_put_gprs(uint8_t **p, char opcode)
{
	for (unsigned r = 0; r < 16; r++) {
		char insn[3] = { r < 8 ? 0x48 : 0x4c, opcode, (char)(5 | (r & 7) << 3) };

		if (r != R_RSP)
			sil_put_rel(p, insn, 3, SIL_GPR + 8 * r);
	}
}

static inline void sil_native_build(const uint8_t *insn, size_t n)
{
	uint8_t *p = sil_native.code;

	sil_put(&p, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); /* push rbx, rbp, r12 .. r15 */
	sil_put_rel(&p, "\x48\x89\x25", 3, SIL_RSP);
	sil_put_rel(&p, "\x48\x0f\xae\x0d", 4, SIL_FX_IN); /* fxrstor64 */
	sil_put_rel(&p, "\xff\x35", 2, SIL_RFLAGS);	   /* push, popfq */
	sil_put(&p, "\x9d", 1);
	sil_put_gprs(&p, (char)0x8b);
	sil_put(&p, insn, n);
	sil_native.epilogue = p;
	sil_put_gprs(&p, (char)0x89);
	sil_put(&p, "\x9c", 1); /* pushfq, pop */
	sil_put_rel(&p, "\x8f\x05", 2, SIL_RFLAGS);
	sil_put_rel(&p, "\x48\x0f\xae\x05", 4, SIL_FX_OUT); /* fxsave64 */
	sil_put(&p, "\xdb\xe3", 2);			    /* fninit */
	sil_put_rel(&p, "\x0f\xae\x15", 3, SIL_MXCSR);	    /* ldmxcsr */
	sil_put_rel(&p, "\x48\x8b\x25", 3, SIL_RSP);
	sil_put(&p, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 11);
}

static inline void sil_native_init(void)
{
	struct sigaction sa = { .sa_sigaction = sil_on_signal,
				.sa_flags = SA_SIGINFO | SA_NODEFER };
	const int signals[] = { SIGILL, SIGFPE, SIGSEGV, SIGBUS };
	uint32_t mxcsr = MXCSR_DEFAULT;

	if (sil_native.code)
		return;
	sil_native.code = mmap(NULL, 2 * SIL_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sil_native.code == MAP_FAILED)
		abort();
	sil_native.data = sil_native.code + SIL_PAGE;
	memcpy(sil_native.data + SIL_MXCSR, &mxcsr, 4);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

/* Executes insn, for which sil_native_build() was called last. */
static inline void sil_native_run(const struct sil_state *in, struct sil_state *out)
{
	uint8_t *d = sil_native.data;
	uint64_t gpr[16], flags = in->flags | 0x202;

	memcpy(gpr, in->gpr, sizeof(gpr));
	gpr[R_RSI] = gpr[R_RDI] = (uint64_t)(uintptr_t)(d + SIL_BUF);
	memcpy(d + SIL_FX_IN, in->fx, 512);
	memset(d + SIL_FX_OUT, 0, 512);
	memcpy(d + SIL_GPR, gpr, sizeof(gpr));
	memcpy(d + SIL_RFLAGS, &flags, 8);
	memcpy(d + SIL_BUF, in->mem, SIL_MEM);
	sil_fault = SIL_NO_FAULT;
	((void (*)(void))(uintptr_t)sil_native.code)();
	out->fault = sil_fault;
	memcpy(out->fx, d + SIL_FX_OUT, 512);
	memcpy(out->gpr, d + SIL_GPR, sizeof(out->gpr));
	memcpy(&out->flags, d + SIL_RFLAGS, 8);
	memcpy(out->mem, d + SIL_BUF, SIL_MEM);
	if (out->gpr[R_RSI] == gpr[R_RSI])
		out->gpr[R_RSI] = 0;
	if (out->gpr[R_RDI] == gpr[R_RDI])
		out->gpr[R_RDI] = 0;
}

/* ---- the software CPU ---- */
static struct guest sil_guest;

static inline struct cpu *sil_cpu(void)
{
	struct cpu_state s;

	if (!sil_guest.e) {
		guest_init(&sil_guest, 4 << 20);
		guest_long_mode(&sil_guest, 0x1000, 0, &s);
		guest_cpu(&sil_guest)->xcr0 = 3;
		guest_cpu(&sil_guest)->cr4 |= CR4_OSXSAVE;
	}
	return guest_cpu(&sil_guest);
}

static inline void sil_soft_run(const struct op *op, const struct sil_state *in,
				struct sil_state *out)
{
	struct cpu *cpu = sil_cpu();
	struct op alone[2] = { *op, { .fn = op_block_end } };

	memcpy(cpu->gpr, in->gpr, sizeof(in->gpr));
	cpu->gpr[R_RSI] = cpu->gpr[R_RDI] = SIL_GUEST_MEM;
	cpu->gpr[REG_RIPBASE] = 0x1000;
	flags_set(cpu, in->flags);
	memcpy(guest_ram(&sil_guest, SIL_GUEST_MEM), in->mem, SIL_MEM);
	if (fpu_from_fxsave(&cpu->fpu, in->fx) < 0)
		abort();
	cpu->op = alone;
	cpu->single = true;
	out->fault = SIL_NO_FAULT;
	if (setjmp(cpu->escape) == 0)
		alone[0].fn(cpu, alone);
	else
		out->fault = cpu->fault.vec;
	cpu->op = NULL;
	fpu_to_fxsave(&cpu->fpu, out->fx);
	memcpy(out->gpr, cpu->gpr, sizeof(out->gpr));
	out->flags = flags_get(cpu);
	memcpy(out->mem, guest_ram(&sil_guest, SIL_GUEST_MEM), SIL_MEM);
	if (out->gpr[R_RSI] == SIL_GUEST_MEM)
		out->gpr[R_RSI] = 0;
	if (out->gpr[R_RDI] == SIL_GUEST_MEM)
		out->gpr[R_RDI] = 0;
}

/* ---- comparison ---- */
/*
 * What is left out: FOP, FIP, FDP (AMD keeps them only for exceptions), MXCSR_MASK, reserved bytes.
 */
static inline void sil_normalise(struct sil_state *s)
{
	memset(s->fx + 5, 0, 19);
	memset(s->fx + 28, 0, 4);
	for (unsigned i = 0; i < 8; i++)
		memset(s->fx + 32 + 16 * i + 10, 0, 6);
	memset(s->fx + 416, 0, 96);
	s->flags &= SIL_FLAGS;
	s->gpr[R_RSP] = 0;
}

static inline size_t sil_hex(char *text, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "%02x", p[n - 1 - i]);
	return len;
}

/*
 * First difference between what the host gave (a) and the software CPU (b), as text; false when
 * there is none.
 */
static inline bool sil_differ(const struct sil_state *a, const struct sil_state *b, char *text,
			      size_t n)
{
	char x[80] = "", y[80] = "";

	if (a->fault != b->fault) {
		snprintf(text, n, "fault: host %d, soft %d", a->fault, b->fault);
		return true;
	}
	for (unsigned i = 0; i < 512; i += 8) {
		if (!memcmp(a->fx + i, b->fx + i, 8))
			continue;
		sil_hex(x, a->fx + (i & ~15u), 16);
		sil_hex(y, b->fx + (i & ~15u), 16);
		snprintf(text, n, "image at %u: host %s, soft %s", i, x, y);
		return true;
	}
	for (unsigned i = 0; i < 16; i++) {
		if (a->gpr[i] == b->gpr[i])
			continue;
		snprintf(text, n, "register %u: host %#llx, soft %#llx", i,
			 (unsigned long long)a->gpr[i], (unsigned long long)b->gpr[i]);
		return true;
	}
	if (a->flags != b->flags) {
		snprintf(text, n, "flags: host %#x, soft %#x", (unsigned)a->flags,
			 (unsigned)b->flags);
		return true;
	}
	for (unsigned i = 0; i < SIL_MEM; i++) {
		if (a->mem[i] == b->mem[i])
			continue;
		snprintf(text, n, "memory at %u: host %02x, soft %02x", i, a->mem[i], b->mem[i]);
		return true;
	}
	return false;
}

/* Describes an instruction and its operands for a failure message. */
static inline const char *sil_describe(const uint8_t *insn, size_t n, const struct sil_state *in)
{
	static char text[1400];
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "%02x ", insn[i]);
	len += (size_t)sprintf(text + len, "fcw/fsw/ftw ");
	len += sil_hex(text + len, in->fx, 5);
	len += (size_t)sprintf(text + len, " mxcsr ");
	len += sil_hex(text + len, in->fx + 24, 4);
	for (unsigned i = 0; i < 8; i++) {
		len += (size_t)sprintf(text + len, " st%u ", i);
		len += sil_hex(text + len, in->fx + 32 + 16 * i, 10);
	}
	for (unsigned i = 0; i < 16; i++) {
		len += (size_t)sprintf(text + len, " x%u ", i);
		len += sil_hex(text + len, in->fx + 160 + 16 * i, 16);
	}
	len += (size_t)sprintf(text + len, " mem ");
	sil_hex(text + len, in->mem, 16);
	return text;
}

#endif
