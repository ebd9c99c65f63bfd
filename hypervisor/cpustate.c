// SPDX-License-Identifier: GPL-2.0-or-later
/* Reset state of a vCPU, and its byte image for checkpoints, digests and the wire. */
#include <errno.h>
#include <string.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/cpustate.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SEG_ATTR_CODE 0x9bu /* present, readable code, accessed */
#define SEG_ATTR_DATA 0x93u /* present, writable data, accessed */
#define SEG_ATTR_LDT  0x82u
#define SEG_ATTR_TSS  0x8bu /* busy 32-bit TSS */
#define SEG_ATTR_BITS 0x1f0ffu

#define EVENT_TYPE_MAX 6

static const struct cpu_state reset_state = {
	.gpr = { [R_RDX] = CPUID_V1_SIGNATURE },
	.rip = 0xfff0,
	.rflags = FL_ONE,
	.seg = {
		[SEG_ES] = { .limit = 0xffff, .attr = SEG_ATTR_DATA },
		[SEG_CS] = { .base = 0xffff0000, .limit = 0xffff, .attr = SEG_ATTR_CODE, .selector = 0xf000 },
		[SEG_SS] = { .limit = 0xffff, .attr = SEG_ATTR_DATA },
		[SEG_DS] = { .limit = 0xffff, .attr = SEG_ATTR_DATA },
		[SEG_FS] = { .limit = 0xffff, .attr = SEG_ATTR_DATA },
		[SEG_GS] = { .limit = 0xffff, .attr = SEG_ATTR_DATA },
		[SEG_LDTR] = { .limit = 0xffff, .attr = SEG_ATTR_LDT },
		[SEG_TR] = { .limit = 0xffff, .attr = SEG_ATTR_TSS },
	},
	.gdtr = { .limit = 0xffff },
	.idtr = { .limit = 0xffff },
	.cr0 = CR0_CD | CR0_NW | CR0_ET,
	.xcr0 = 1,
	.dr = { [6] = DR6_ONES, [7] = DR7_ONES },
	.pat = 0x0007040600070406,
	.misc_enable = CPUID_V1_MISC_ENABLE,
	.apic_base = CPUID_V1_APIC_BASE,
	.fxsave = {
		[0] = 0x40,		    /* FCW */
		[4] = 0xff,		    /* tag word 5555h: eight registers with +0.0 */
		[24] = 0x80, [25] = 0x1f,   /* MXCSR */
		[28] = 0xff, [29] = 0xff,   /* MXCSR_MASK */
	},
};

void cpu_state_reset(struct cpu_state *s)
{
	memcpy(s, &reset_state, sizeof(*s));
}

static void put_array(struct buf *out, const uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_put_u64(out, v[i]);
}

static void get_array(struct rd *in, uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i] = rd_u64(in);
}

/* The fields in the order of the byte image; one list for both directions. */
/* clang-format off */
#define CPU_SCALARS(X)                                                                  \
	X(rip) X(rflags) X(cr0) X(cr2) X(cr3) X(cr4) X(cr8) X(xcr0) X(efer)             \
	X(star) X(lstar) X(cstar) X(fmask) X(kernel_gs_base) X(tsc_aux) X(pat)          \
	X(misc_enable) X(sysenter_cs) X(sysenter_esp) X(sysenter_eip) X(tsc_offset)     \
	X(apic_base) X(mtrr_def_type) X(debugctl) X(debug_dr6) X(count)
#define CPU_ARRAYS(X) X(gpr) X(pdpte) X(dr) X(mtrr_fixed) X(mtrr_phys)
#define CPU_BOOLS(X)                                                                    \
	X(halted) X(sti_shadow) X(movss_shadow) X(nmi_blocked) X(shutdown)              \
	X(nmi_pending) X(intr_pending) X(in_rep) X(debug_pending)                       \
	X(event.valid) X(event.has_error)
/* clang-format on */

void cpu_state_save(const struct cpu_state *s, struct buf *out)
{
#define PUT(f)	     buf_put_u64(out, s->f);
#define PUT_ARRAY(f) put_array(out, s->f, ARRAY_SIZE(s->f));
#define PUT_BOOL(f)  buf_put_u8(out, s->f);
	CPU_SCALARS(PUT)
	CPU_ARRAYS(PUT_ARRAY)
	CPU_BOOLS(PUT_BOOL)
	for (size_t i = 0; i < SEG_COUNT; i++) {
		buf_put_u64(out, s->seg[i].base);
		buf_put_u32(out, s->seg[i].limit);
		buf_put_u32(out, s->seg[i].attr);
		buf_put_u16(out, s->seg[i].selector);
	}
	buf_put_u64(out, s->gdtr.base);
	buf_put_u16(out, s->gdtr.limit);
	buf_put_u64(out, s->idtr.base);
	buf_put_u16(out, s->idtr.limit);
	buf_put(out, s->fxsave, sizeof(s->fxsave));
	buf_put_u8(out, s->event.vector);
	buf_put_u8(out, s->event.type);
	buf_put_u32(out, s->event.error);
	buf_put_u8(out, s->intr_vector);
}

/* A bool is 0 or 1 in the image; anything else spoils the reader. */
static bool get_bool(struct rd *in)
{
	uint8_t v = rd_u8(in);

	if (v > 1)
		in->bad = true;
	return v == 1;
}

static bool state_valid(const struct cpu_state *s)
{
	bool paging = s->cr0 & CR0_PG, protection = s->cr0 & CR0_PE, pae = s->cr4 & CR4_PAE;
	bool lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;

	for (size_t i = 0; i < SEG_COUNT; i++) {
		if (s->seg[i].attr & ~SEG_ATTR_BITS)
			return false;
	}
	if (s->cr0 >> 32 || (paging && !protection) || (s->cr4 & ~CPUID_V1_CR4_MASK))
		return false;
	if ((s->efer & ~CPUID_V1_EFER_MASK) || lma != (lme && paging) || (lma && !pae))
		return false;
	if (s->rip >> 32 &&
	    !(lma && s->seg[SEG_CS].attr & SEG_L)) /* no such bits, as VT-x demands */
		return false;
	if (s->cr3 >> CPUID_V1_PHYS_BITS || s->cr8 > 15 || (s->xcr0 & ~CPUID_V1_XCR0_MASK) ||
	    !(s->xcr0 & 1))
		return false;
	return s->event.type <= EVENT_TYPE_MAX && !(s->debugctl & ~(uint64_t)DEBUGCTL_BTF);
}

int cpu_state_restore(struct cpu_state *s, struct rd *in)
{
	memset(s, 0, sizeof(*s));
#define GET(f)	     s->f = rd_u64(in);
#define GET_ARRAY(f) get_array(in, s->f, ARRAY_SIZE(s->f));
#define GET_BOOL(f)  s->f = get_bool(in);
	CPU_SCALARS(GET)
	CPU_ARRAYS(GET_ARRAY)
	CPU_BOOLS(GET_BOOL)
	for (size_t i = 0; i < SEG_COUNT; i++) {
		s->seg[i].base = rd_u64(in);
		s->seg[i].limit = rd_u32(in);
		s->seg[i].attr = rd_u32(in);
		s->seg[i].selector = rd_u16(in);
	}
	s->gdtr.base = rd_u64(in);
	s->gdtr.limit = rd_u16(in);
	s->idtr.base = rd_u64(in);
	s->idtr.limit = rd_u16(in);
	rd_get(in, s->fxsave, sizeof(s->fxsave));
	s->event.vector = rd_u8(in);
	s->event.type = rd_u8(in);
	s->event.error = rd_u32(in);
	s->intr_vector = rd_u8(in);
	return in->bad || !state_valid(s) ? -EINVAL : 0;
}
