/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differences between what the host and the engine did, under the rules of isa.h. */
#include "tests/isa/isa.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define USER_END 0x7ffffffff000ull

static const char *const gpr_name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",	 "r9",	"r10", "r11", "r12", "r13", "r14", "r15" };

struct cmp {
	const struct tcase *c;
	const struct outcome *a, *b; /* host, model */
	char *text;
	size_t n;
	unsigned differences;
	uint32_t undef;
	bool completed; /* reached the terminator */
};

__attribute__((format(printf, 2, 3))) static void differ(struct cmp *k, const char *fmt, ...)
{
	va_list ap;
	int len;

	k->differences++;
	if (!k->text || k->n < 2)
		return;
	va_start(ap, fmt);
	len = vsnprintf(k->text, k->n, fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= k->n)
		len = (int)k->n - 1;
	k->text += len;
	k->n -= (size_t)len;
}

static void cmp_u64(struct cmp *k, const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		differ(k, "  %-8s host %016llx  soft %016llx\n", name, (unsigned long long)a,
		       (unsigned long long)b);
}

uint32_t undefined_at(const struct tcase *c, uint64_t rip)
{
	uint32_t all = 0;

	for (unsigned i = 0; i <= c->n; i++) {
		if (CODE_BASE + c->at[i] == rip)
			return c->undef[i];
		all |= c->undef[i];
	}
	if (rip == CODE_BASE + c->at[c->n] + 1)
		return c->undef[c->n];
	return all;
}

static uint32_t mxcsr_of(const struct regs *r)
{
	uint32_t v;

	memcpy(&v, r->fx + 24, 4);
	return v;
}

static uint16_t u16_at(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static void cmp_hex(struct cmp *k, const char *name, unsigned i, const uint8_t *a, const uint8_t *b,
		    unsigned n)
{
	char ta[40], tb[40];

	if (memcmp(a, b, n) == 0)
		return;
	for (unsigned j = 0; j < n; j++) {
		snprintf(ta + 2 * j, 3, "%02x", a[n - 1 - j]);
		snprintf(tb + 2 * j, 3, "%02x", b[n - 1 - j]);
	}
	differ(k, "  %s%u%*s host %s\n           soft %s\n", name, i, i > 9 ? 3 : 4, "", ta, tb);
}

/* ---- approximate results ---- */
static bool rcp_close(uint32_t a, uint32_t b)
{
	float x, y;

	if (a == b)
		return true;
	memcpy(&x, &a, 4);
	memcpy(&y, &b, 4);
	if (!isfinite(x) || !isfinite(y))
		return false;
	return fabsf(x - y) <= fabsf(x) * 1.5f / 2048;
}

static bool xmm_close(const uint8_t *a, const uint8_t *b)
{
	uint32_t x[4], y[4];

	memcpy(x, a, 16);
	memcpy(y, b, 16);
	for (unsigned i = 0; i < 4; i++)
		if (!rcp_close(x[i], y[i]))
			return false;
	return true;
}

bool x87_close(const uint8_t *a, const uint8_t *b)
{
	long double x = 0, y = 0;

	if (memcmp(a, b, 10) == 0)
		return true;
	memcpy(&x, a, 10);
	memcpy(&y, b, 10);
	if (!isfinite(x) || !isfinite(y))
		return false;
	return fabsl(x - y) <= fabsl(x) * 0x1p-62L || fabsl(x - y) <= 0x1p-16444L;
}

/* ---- the parts ---- */
static void cmp_fault(struct cmp *k)
{
	uint32_t a = k->a->error, b = k->b->error;

	if (k->a->vector != k->b->vector) {
		differ(k, "  vector   host %u  soft %u\n", k->a->vector, k->b->vector);
		return;
	}
	if (k->a->vector == 14) {
		cmp_u64(k, "cr2", k->a->cr2, k->b->cr2);
		if (k->a->cr2 >= USER_END)
			b |= 1;
	}
	cmp_u64(k, "error", a, b);
}

static void cmp_integer(struct cmp *k)
{
	uint32_t ignore = (k->undef & FL_ARITH_ALL) | vendor_open_flags(k->a) | native_open_flags();
	uint64_t a = k->a->regs.rflags & ~(uint64_t)ignore,
		 b = k->b->regs.rflags & ~(uint64_t)ignore;

	for (unsigned i = 0; i < 16; i++)
		cmp_u64(k, gpr_name[i], k->a->regs.gpr[i], k->b->regs.gpr[i]);
	cmp_u64(k, "rip", k->a->regs.rip, k->b->regs.rip);
	if (a != b)
		differ(k, "  rflags   host %06llx  soft %06llx  (differ in %llx)\n",
		       (unsigned long long)k->a->regs.rflags, (unsigned long long)k->b->regs.rflags,
		       (unsigned long long)(a ^ b));
	cmp_u64(k, "fs_base", k->a->regs.fs_base, k->b->regs.fs_base);
	cmp_u64(k, "gs_base", k->a->regs.gs_base, k->b->regs.gs_base);
}

static void cmp_x87(struct cmp *k)
{
	const uint8_t *a = k->a->regs.fx, *b = k->b->regs.fx;
	uint32_t c = k->undef >> UNDEF_C_SHIFT;
	uint16_t ignore = (uint16_t)((c & 7) << 8 | (c & 8) << 11);
	bool approx = k->completed && k->c->approx == APPROX_X87;

	/*
	 * C1 and PE say which way the last bit was rounded; DE of FYL2X beside ZE is a matter of
	 * order.
	 */
	if (approx)
		ignore |= u16_at(b) & 0x20 ? 0x222 : 0x82a2;
	cmp_u64(k, "fcw", u16_at(a), u16_at(b));
	if ((u16_at(a + 2) & ~ignore) != (u16_at(b + 2) & ~ignore))
		differ(k, "  fsw      host %04x  soft %04x\n", u16_at(a + 2), u16_at(b + 2));
	cmp_u64(k, "ftw", a[4], b[4]);
	for (unsigned i = 0; i < 8; i++) {
		if (approx && x87_close(a + 32 + 16 * i, b + 32 + 16 * i))
			continue;
		cmp_hex(k, "st", i, a + 32 + 16 * i, b + 32 + 16 * i, 10);
	}
}

static void cmp_sse(struct cmp *k)
{
	const uint8_t *a = k->a->regs.fx, *b = k->b->regs.fx;
	uint32_t x_csr = mxcsr_of(&k->a->regs), y_csr = mxcsr_of(&k->b->regs);
	bool approx = k->completed && k->c->approx == APPROX_RCP && !vendor_exact_estimates();

	cmp_u64(k, "mxcsr", x_csr, y_csr);
	for (unsigned i = 0; i < 16; i++) {
		const uint8_t *x = a + 160 + 16 * i, *y = b + 160 + 16 * i;

		if (approx && xmm_close(x, y))
			continue;
		cmp_hex(k, "xmm", i, x, y, 16);
	}
}

unsigned outcome_compare(const struct tcase *c, const struct outcome *native,
			 const struct outcome *model, char *text, size_t n)
{
	struct cmp k = { .c = c, .a = native, .b = model, .text = text, .n = n };

	if (text && n)
		text[0] = 0;
	if (native->status != OUT_OK || model->status == OUT_TIMEOUT)
		return 0;
	if (model->status != OUT_OK) {
		differ(&k, "  the engine did not reach a handler: exit %u, rip %llx, vector %x\n",
		       model->why, (unsigned long long)model->regs.rip, model->vector);
		return k.differences;
	}
	/* The host knows an extension there, or a NOP, and has gone on to what is not tracked. */
	if (c->undecodable &&
	    (native->vector != 6 || native->regs.rip > CODE_BASE + c->at[c->n - 1]) &&
	    native->regs.rip >= CODE_BASE + c->at[c->n - 1])
		return 0;
	k.undef = undefined_at(c, native->regs.rip);
	/* INT3 behind the sequence, or a single step over its last instruction */
	k.completed = (native->vector == 3 && native->regs.rip == CODE_BASE + c->at[c->n] + 1) ||
		      (native->vector == 1 && native->regs.rip == CODE_BASE + c->at[c->n]);
	cmp_fault(&k);
	cmp_integer(&k);
	cmp_x87(&k);
	cmp_sse(&k);
	if (native->memory != model->memory)
		differ(&k, "  memory differs\n");
	return k.differences && !vendor_excuse(c, native, model) ? k.differences : 0;
}
