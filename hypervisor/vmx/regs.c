// SPDX-License-Identifier: GPL-2.0-or-later
/* struct cpu_state and the module's struct twvmx_regs. */
#include <string.h>

#include "hypervisor/vmx/vmx.h"

#define SHADOW_STI  1u
#define SHADOW_SS   2u
#define BLOCKED_NMI 8u
#define PENDING_ANY 0x100fu /* B0..B3, enabled breakpoint */

#define SS_DPL 0x60u

#define FX_RESERVED  5
#define FX_MASK	     28
#define FX_ST	     32
#define FX_ST_BYTES  10
#define FX_UNDEFINED 416 /* after XMM15 */

_Static_assert(SEG_COUNT == 8, "segments of the run page");

static void segs_from_state(struct twvmx_regs *r, const struct cpu_state *s)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		r->seg[i] = (struct twvmx_seg){ .base = s->seg[i].base,
						.limit = s->seg[i].limit,
						.attr = s->seg[i].attr,
						.selector = s->seg[i].selector };
	r->gdtr = (struct twvmx_table){ s->gdtr.base, s->gdtr.limit };
	r->idtr = (struct twvmx_table){ s->idtr.base, s->idtr.limit };
}

/*
 * The processor leaves parts of an unusable segment undefined; this is what the software CPU has
 * there. FS and GS keep their base in long mode, where it is set apart from the selector; SS keeps
 * the DPL, which is the CPL.
 */
static void seg_normalise(struct seg_state *s, unsigned i, bool long_mode)
{
	if (!(s->attr & SEG_UNUSABLE))
		return;
	s->attr = SEG_UNUSABLE | (i == SEG_SS ? s->attr & SS_DPL : 0);
	s->limit = 0;
	if (!long_mode || (i != SEG_FS && i != SEG_GS))
		s->base = 0;
}

static void segs_to_state(const struct twvmx_regs *r, struct cpu_state *s)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct seg_state){ .base = r->seg[i].base,
						.limit = r->seg[i].limit,
						.attr = r->seg[i].attr,
						.selector = (uint16_t)r->seg[i].selector };
	for (unsigned i = 0; i < SEG_COUNT; i++)
		seg_normalise(&s->seg[i], i, r->efer & EFER_LMA);
	s->gdtr = (struct table_state){ r->gdtr.base, (uint16_t)r->gdtr.limit };
	s->idtr = (struct table_state){ r->idtr.base, (uint16_t)r->idtr.limit };
}

/* Registers with one name on both sides. */
#define COPY_SAME(to, from)                                                 \
	do {                                                                \
		memcpy((to)->gpr, (from)->gpr, sizeof((to)->gpr));          \
		memcpy((to)->pdpte, (from)->pdpte, sizeof((to)->pdpte));    \
		(to)->rip = (from)->rip;                                    \
		(to)->rflags = (from)->rflags;                              \
		(to)->cr0 = (from)->cr0;                                    \
		(to)->cr2 = (from)->cr2;                                    \
		(to)->cr3 = (from)->cr3;                                    \
		(to)->cr4 = (from)->cr4;                                    \
		(to)->efer = (from)->efer;                                  \
		(to)->star = (from)->star;                                  \
		(to)->lstar = (from)->lstar;                                \
		(to)->cstar = (from)->cstar;                                \
		(to)->fmask = (from)->fmask;                                \
		(to)->kernel_gs_base = (from)->kernel_gs_base;              \
		(to)->tsc_aux = (from)->tsc_aux;                            \
		(to)->sysenter_cs = (from)->sysenter_cs;                    \
		(to)->sysenter_esp = (from)->sysenter_esp;                  \
		(to)->sysenter_eip = (from)->sysenter_eip;                  \
		(to)->xcr0 = (from)->xcr0;                                  \
		memcpy((to)->fxsave, (from)->fxsave, sizeof((to)->fxsave)); \
	} while (0)

void vmx_regs_from_state(struct twvmx_regs *r, const struct cpu_state *s)
{
	COPY_SAME(r, s);
	segs_from_state(r, s);
	memcpy(r->dr, s->dr, sizeof(r->dr));
	r->dr7 = s->dr[7];
	r->interruptibility = (s->sti_shadow ? SHADOW_STI : 0) | (s->movss_shadow ? SHADOW_SS : 0) |
			      (s->nmi_blocked ? BLOCKED_NMI : 0);
	r->pending_debug = s->debug_pending ? s->debug_dr6 & (DR6_TRAPS | DR6_BS) : 0;
	/* Under a shadow VM entry wants the trap of RFLAGS.TF to wait, and no other (26.3.1.5). */
	if (s->sti_shadow || s->movss_shadow)
		r->pending_debug =
			(r->pending_debug & ~(uint64_t)DR6_BS) | (s->rflags & FL_TF ? DR6_BS : 0);
	if (r->pending_debug & 0xf)
		r->pending_debug |= PENDING_ANY & ~0xfu;
}

/* Bytes that FXSAVE leaves alone or that differ between processors. */
static void fxsave_normalise(uint8_t *fx)
{
	static const uint8_t mask[4] = { 0xff, 0xff };

	fx[FX_RESERVED] = 0;
	memcpy(fx + FX_MASK, mask, sizeof(mask));
	for (unsigned i = 0; i < 8; i++)
		memset(fx + FX_ST + 16 * i + FX_ST_BYTES, 0, 16 - FX_ST_BYTES);
	memset(fx + FX_UNDEFINED, 0, 512 - FX_UNDEFINED);
}

void vmx_regs_to_state(const struct twvmx_regs *r, struct cpu_state *s)
{
	uint64_t pending;

	COPY_SAME(s, r);
	segs_to_state(r, s);
	s->dr[7] = r->dr7;
	s->sti_shadow = r->interruptibility & SHADOW_STI;
	s->movss_shadow = r->interruptibility & SHADOW_SS;
	s->nmi_blocked = r->interruptibility & BLOCKED_NMI;
	pending = r->pending_debug;
	/* After STI it is the trap of the next instruction, which raises it without being told. */
	if (s->sti_shadow && !s->movss_shadow)
		pending &= ~(uint64_t)DR6_BS;
	s->debug_pending = pending & (PENDING_ANY | DR6_BS);
	s->debug_dr6 = s->debug_pending ? pending & (DR6_TRAPS | DR6_BS) : 0;
	fxsave_normalise(s->fxsave);
}
