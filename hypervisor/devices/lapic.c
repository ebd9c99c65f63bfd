// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Local APIC: registers, messages, priorities. The timer is in lapic_timer.c.
 *
 * The output to the processor is a function of IRR, ISR, TPR and LINT0, computed after each change.
 */
#include "hypervisor/devices/lapic.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/devices/lapic_private.h"

#define REG(offset) ((offset) >> 4)

enum {
	REG_ID = REG(0x020),
	REG_VERSION = REG(0x030),
	REG_TPR = REG(0x080),
	REG_APR = REG(0x090),
	REG_PPR = REG(0x0a0),
	REG_EOI = REG(0x0b0),
	REG_RRD = REG(0x0c0),
	REG_LDR = REG(0x0d0),
	REG_DFR = REG(0x0e0),
	REG_SVR = REG(0x0f0),
	REG_ISR = REG(0x100),
	REG_TMR = REG(0x180),
	REG_IRR = REG(0x200),
	REG_ESR = REG(0x280),
	REG_ICR_LOW = REG(0x300),
	REG_ICR_HIGH = REG(0x310),
	REG_LVT = REG(0x320),
	REG_INITIAL = REG(0x380),
	REG_CURRENT = REG(0x390),
	REG_DIVIDE = REG(0x3e0),
	REG_SELF_IPI = REG(0x3f0),
};

#define VERSION 0x00050014u /* integrated, six LVT entries, no suppression of EOI messages */

#define ERROR_SEND_VECTOR    (1u << 5)
#define ERROR_RECEIVE_VECTOR (1u << 6)
#define ERROR_REGISTER	     (1u << 7)

#define ICR_MODE(v)	 (((v) >> 8) & 7u)
#define ICR_LOGICAL	 (1u << 11)
#define ICR_LEVEL	 (1u << 14)
#define ICR_SHORTHAND(v) (((v) >> 18) & 3u)
#define ICR_BITS	 0xccfffu

#define SVR_BITS       0x1ffu
#define DFR_FLAT       0xffffffffu
#define DFR_FIXED_ONES 0x0fffffffu
#define DIVIDE_BITS    0xbu

#define X2APIC_ID  0u
#define X2APIC_LDR 1u /* cluster 0, first of it: 10.12.10.2 */

/* Bits of each LVT entry that can be written; delivery status and remote IRR only read. */
static const uint32_t lvt_bits[LAPIC_LVTS] = {
	[LAPIC_LVT_TIMER] = 0x700ff, [LAPIC_LVT_THERMAL] = 0x107ff, [LAPIC_LVT_PERF] = 0x107ff,
	[LAPIC_LVT_LINT0] = 0x1a7ff, [LAPIC_LVT_LINT1] = 0x1a7ff,   [LAPIC_LVT_ERROR] = 0x100ff,
};
#define LVT_READ_ONLY(n)                                                                \
	((n) == LAPIC_LVT_LINT0 || (n) == LAPIC_LVT_LINT1 ? LVT_STATUS | LVT_REMOTE_IRR \
							  : LVT_STATUS)

/* ---- sets of vectors ---- */

static void vector_set(uint32_t set[8], unsigned v, bool on)
{
	uint32_t bit = 1u << (v & 31);

	set[v / 32] = on ? set[v / 32] | bit : set[v / 32] & ~bit;
}

static bool vector_in(const uint32_t set[8], unsigned v)
{
	return set[v / 32] >> (v & 31) & 1;
}

/* The highest vector in the set, or -1. */
static int vector_top(const uint32_t set[8])
{
	for (int i = 7; i >= 0; i--) {
		if (set[i])
			return 32 * i + 31 - __builtin_clz(set[i]);
	}
	return -1;
}

/* ---- what the processor sees ---- */

static bool is_x2apic(const struct lapic *l)
{
	return l->base & LAPIC_BASE_X2APIC;
}

static uint32_t lapic_ppr(const struct lapic *l)
{
	int top = vector_top(l->isr);
	uint32_t serving = top < 0 ? 0 : (uint32_t)top;

	return (l->tpr & 0xf0) >= (serving & 0xf0) ? l->tpr : serving & 0xf0;
}

/* The vector that the processor would be given, or -1. */
static int lapic_request(const struct lapic *l)
{
	int top = vector_top(l->irr);

	return lapic_is_on(l) && top >= 0 && (uint32_t)top >> 4 > lapic_ppr(l) >> 4 ? top : -1;
}

/* The 8259 is heard: with the APIC off LINT0 is the processor's own INTR pin. */
static bool lapic_extint(const struct lapic *l)
{
	uint32_t lvt = l->lvt[LAPIC_LVT_LINT0];

	if (!(l->lint & 1))
		return false;
	return !lapic_is_on(l) || (!(lvt & LVT_MASKED) && ICR_MODE(lvt) == APIC_EXTINT);
}

bool lapic_pending(const struct lapic *l)
{
	return l->out;
}

/* Tells the processor when there is something new to tell. */
static void lapic_update(struct lapic *l)
{
	bool out = lapic_extint(l) || lapic_request(l) >= 0;

	if (out == l->out)
		return;
	l->out = out;
	l->fx.intr(l->fx.ctx, out);
}

uint8_t lapic_acknowledge(struct lapic *l)
{
	int v = lapic_request(l);

	if (v < 0)
		return lapic_extint(l) ? l->fx.extint(l->fx.ctx) : (uint8_t)l->svr;
	vector_set(l->irr, (unsigned)v, false);
	vector_set(l->isr, (unsigned)v, true);
	lapic_update(l);
	return (uint8_t)v;
}

bool lapic_drop(struct lapic *l)
{
	int v = lapic_request(l);

	if (v < 0)
		return false;
	vector_set(l->irr, (unsigned)v, false);
	lapic_update(l);
	return true;
}

/* ---- interrupts that come in ---- */

static void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	vector_set(l->irr, vector, true);
	vector_set(l->tmr, vector, level);
	lapic_update(l);
}

/* The error interrupt itself may have a vector that is none; that is no further error. */
static void lapic_error(struct lapic *l, uint32_t bit)
{
	uint32_t lvt = l->lvt[LAPIC_LVT_ERROR];

	l->errors |= bit;
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		lapic_accept(l, (uint8_t)lvt, false);
}

static bool lapic_fixed(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_is_on(l) || !(l->svr & SVR_ENABLED))
		return false;
	if (vector < 16) {
		lapic_error(l, ERROR_RECEIVE_VECTOR);
		return false;
	}
	lapic_accept(l, vector, level);
	return true;
}

void lapic_local(struct lapic *l, enum lapic_lvt n)
{
	uint32_t lvt = l->lvt[n];

	if (lvt & LVT_MASKED)
		return;
	if (n != LAPIC_LVT_TIMER && n != LAPIC_LVT_ERROR && ICR_MODE(lvt) == APIC_NMI)
		l->fx.nmi(l->fx.ctx);
	else if (n == LAPIC_LVT_TIMER || n == LAPIC_LVT_ERROR || ICR_MODE(lvt) == APIC_FIXED)
		lapic_fixed(l, (uint8_t)lvt, false);
}

/* A level-triggered pin is asked again after the end of its interrupt. */
static void lint_level(struct lapic *l, unsigned n)
{
	uint32_t *lvt = &l->lvt[LAPIC_LVT_LINT0 + n];

	if (!(l->lint >> n & 1) || (*lvt & (LVT_MASKED | LVT_REMOTE_IRR)) ||
	    ICR_MODE(*lvt) != APIC_FIXED || !(*lvt & LVT_LEVEL))
		return;
	if (lapic_fixed(l, (uint8_t)*lvt, true))
		*lvt |= LVT_REMOTE_IRR;
}

bool lapic_may_nmi(const struct lapic *l)
{
	uint32_t lvt = l->lvt[LAPIC_LVT_LINT0];

	return lapic_is_on(l) && !(lvt & LVT_MASKED) && ICR_MODE(lvt) == APIC_NMI;
}

void lapic_set_lint(struct lapic *l, unsigned n, bool level)
{
	bool was = l->lint >> n & 1;

	l->lint = (uint8_t)(level ? l->lint | 1u << n : l->lint & ~(1u << n));
	if (lapic_is_on(l) && level && !was && !(l->lvt[LAPIC_LVT_LINT0 + n] & LVT_LEVEL))
		lapic_local(l, LAPIC_LVT_LINT0 + n);
	else if (lapic_is_on(l))
		lint_level(l, n);
	lapic_update(l);
}

/* 10.6.2.2 and 10.12.10: does a set of logical IDs hold ours? */
static bool matches_logical(const struct lapic *l, const struct apic_message *msg)
{
	uint8_t id = (uint8_t)(l->ldr >> 24), dest = (uint8_t)msg->dest;

	if (is_x2apic(l))
		return !(msg->dest >> 16) && (msg->dest & X2APIC_LDR);
	if (l->dfr == DFR_FLAT)
		return id & dest;
	return (id >> 4 == dest >> 4 || dest >> 4 == 15) && (id & dest & 15);
}

static bool lapic_matches(const struct lapic *l, const struct apic_message *msg)
{
	if (msg->dest == (msg->wide ? 0xffffffffu : 0xffu))
		return true;
	return msg->logical ? matches_logical(l, msg) : msg->dest == X2APIC_ID;
}

/*
 * Whatever is not for the only processor has nobody to go to. INIT and start-up messages are for
 * other processors: the one that runs does not start itself. There is no system management mode.
 */
bool lapic_receive(struct lapic *l, const struct apic_message *msg)
{
	if (!lapic_is_on(l) || !lapic_matches(l, msg))
		return false;
	switch (msg->mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		return lapic_fixed(l, msg->vector, msg->level);
	case APIC_NMI:
		l->fx.nmi(l->fx.ctx);
		return true;
	default:
		return false;
	}
}

struct apic_message apic_message_of_msi(uint64_t address, uint32_t data)
{
	return (struct apic_message){
		.dest = address >> 12 & 0xff,
		.logical = address >> 2 & 1,
		.level = data >> 15 & 1,
		.mode = data >> 8 & 7,
		.vector = (uint8_t)data,
	};
}

/* ---- interrupts that go out ---- */

static void send_to_self(struct lapic *l, uint8_t vector)
{
	if (vector < 16)
		lapic_error(l, ERROR_SEND_VECTOR);
	else
		lapic_fixed(l, vector, false);
}

static void lapic_send(struct lapic *l)
{
	uint32_t v = l->icr_low;
	struct apic_message msg = {
		.dest = is_x2apic(l) ? l->icr_high : l->icr_high >> 24,
		.wide = is_x2apic(l),
		.logical = v & ICR_LOGICAL,
		.mode = ICR_MODE(v),
		.vector = (uint8_t)v,
	};
	bool fixed = msg.mode == APIC_FIXED || msg.mode == APIC_LOWEST;

	if (fixed && msg.vector < 16) {
		lapic_error(l, ERROR_SEND_VECTOR);
		return;
	}
	switch (ICR_SHORTHAND(v)) {
	case 1: /* self: fixed only (table 10-3) */
		if (msg.mode == APIC_FIXED)
			send_to_self(l, msg.vector);
		return;
	case 2: /* all */
		msg.dest = msg.wide ? 0xffffffff : 0xff;
		break;
	case 3: /* all others */
		return;
	}
	lapic_receive(l, &msg);
}

static void lapic_end(struct lapic *l)
{
	int v = vector_top(l->isr);

	if (v < 0)
		return;
	vector_set(l->isr, (unsigned)v, false);
	for (unsigned n = 0; n < 2; n++) {
		uint32_t *lvt = &l->lvt[LAPIC_LVT_LINT0 + n];

		if ((*lvt & LVT_REMOTE_IRR) && (*lvt & 0xff) == (uint32_t)v) {
			*lvt &= ~LVT_REMOTE_IRR;
			lint_level(l, n);
		}
	}
	if (vector_in(l->tmr, (unsigned)v))
		l->fx.eoi(l->fx.ctx, (uint8_t)v);
	lapic_update(l);
}

/* ---- registers ---- */

static void svr_write(struct lapic *l, uint32_t v)
{
	l->svr = v & SVR_BITS;
	if (l->svr & SVR_ENABLED)
		return;
	for (unsigned i = 0; i < LAPIC_LVTS; i++) /* 10.4.7.2 */
		l->lvt[i] |= LVT_MASKED;
	lapic_timer_rearm(l);
}

static void lvt_write(struct lapic *l, unsigned n, uint32_t v)
{
	uint32_t old = l->lvt[n];

	v = (v & lvt_bits[n]) | (old & LVT_REMOTE_IRR);
	if (!(v & LVT_LEVEL))
		v &= ~LVT_REMOTE_IRR;
	if (!(l->svr & SVR_ENABLED))
		v |= LVT_MASKED;
	if (n == LAPIC_LVT_TIMER) {
		lapic_timer_set_lvt(l, v);
		return;
	}
	l->lvt[n] = v;
	if (n == LAPIC_LVT_LINT0 || n == LAPIC_LVT_LINT1)
		lint_level(l, n - LAPIC_LVT_LINT0);
}

static bool reg_is_lvt(unsigned reg)
{
	return reg >= REG_LVT && reg < REG_LVT + LAPIC_LVTS;
}

/* True and *v when there is such a register to read, in either mode. */
static bool reg_read(struct lapic *l, unsigned reg, uint32_t *v)
{
	if (reg >= REG_ISR && reg < REG_ISR + 8u)
		*v = l->isr[reg - REG_ISR];
	else if (reg >= REG_TMR && reg < REG_TMR + 8u)
		*v = l->tmr[reg - REG_TMR];
	else if (reg >= REG_IRR && reg < REG_IRR + 8u)
		*v = l->irr[reg - REG_IRR];
	else if (reg_is_lvt(reg))
		*v = l->lvt[reg - REG_LVT];
	else if (reg == REG_ID)
		*v = X2APIC_ID;
	else if (reg == REG_VERSION)
		*v = VERSION;
	else if (reg == REG_TPR)
		*v = l->tpr;
	else if (reg == REG_PPR)
		*v = lapic_ppr(l);
	else if (reg == REG_LDR)
		*v = is_x2apic(l) ? X2APIC_LDR : l->ldr;
	else if (reg == REG_SVR)
		*v = l->svr;
	else if (reg == REG_ESR)
		*v = l->esr;
	else if (reg == REG_ICR_LOW)
		*v = l->icr_low;
	else if (reg == REG_INITIAL)
		*v = l->initial;
	else if (reg == REG_CURRENT)
		*v = lapic_timer_count(l);
	else if (reg == REG_DIVIDE)
		*v = l->divide;
	else
		return false;
	return true;
}

/* Likewise; what a bit that is reserved means is the caller's to know. */
static bool reg_write(struct lapic *l, unsigned reg, uint32_t v)
{
	if (reg_is_lvt(reg))
		lvt_write(l, reg - REG_LVT, v);
	else if (reg == REG_TPR)
		l->tpr = v & 0xff;
	else if (reg == REG_EOI)
		lapic_end(l);
	else if (reg == REG_SVR)
		svr_write(l, v);
	else if (reg == REG_INITIAL)
		lapic_timer_set_initial(l, v);
	else if (reg == REG_DIVIDE)
		lapic_timer_set_divide(l, v & DIVIDE_BITS);
	else if (reg == REG_ESR) {
		l->esr = l->errors;
		l->errors = 0;
	} else if (reg == REG_ICR_LOW) {
		l->icr_low = v & ICR_BITS;
		lapic_send(l);
	} else {
		return false;
	}
	lapic_update(l);
	return true;
}

/* ---- xAPIC: registers in memory ---- */

bool lapic_decodes(const struct lapic *l, uint64_t gpa)
{
	return lapic_is_on(l) && !is_x2apic(l) && gpa >> 12 == l->base >> 12;
}

/* Registers that x2APIC mode does not have. */
static bool xapic_read(struct lapic *l, unsigned reg, uint32_t *v)
{
	if (reg == REG_APR || reg == REG_RRD)
		*v = 0;
	else if (reg == REG_EOI)
		*v = 0;
	else if (reg == REG_DFR)
		*v = l->dfr;
	else if (reg == REG_ICR_HIGH)
		*v = l->icr_high;
	else
		return reg_read(l, reg, v);
	return true;
}

static bool xapic_write(struct lapic *l, unsigned reg, uint32_t v)
{
	uint32_t dummy;

	if (reg == REG_LDR)
		l->ldr = v & 0xff000000;
	else if (reg == REG_DFR)
		l->dfr = v | DFR_FIXED_ONES;
	else if (reg == REG_ICR_HIGH)
		l->icr_high = v & 0xff000000;
	else if (!reg_write(l, reg, v))
		return xapic_read(l, reg, &dummy); /* read-only ones are no error */
	return true;
}

/* Registers are the first four bytes of each sixteen. */
uint64_t lapic_mmio_read(struct lapic *l, uint64_t offset, unsigned size)
{
	uint32_t v = 0;

	if ((offset & 15) > 3)
		return 0;
	if (!xapic_read(l, (unsigned)(offset & 0xfff) >> 4, &v))
		lapic_error(l, ERROR_REGISTER);
	return v >> 8 * (offset & 3);
}

/* A write reaches a register only when it is of 32 bits and aligned (10.4.1). */
void lapic_mmio_write(struct lapic *l, uint64_t offset, unsigned size, uint64_t value)
{
	if (size == 4 && !(offset & 15) &&
	    !xapic_write(l, (unsigned)(offset & 0xfff) >> 4, (uint32_t)value))
		lapic_error(l, ERROR_REGISTER);
}

/* ---- x2APIC: registers as MSRs (10.12.1) ---- */

static bool x2apic_read(struct lapic *l, unsigned reg, uint64_t *v)
{
	uint32_t low;

	if (!reg_read(l, reg, &low))
		return false;
	*v = reg == REG_ICR_LOW ? low | (uint64_t)l->icr_high << 32 : low;
	return true;
}

/* Bits that may be set; 0: anything else than zero raises #GP. */
static uint64_t x2apic_bits(unsigned reg)
{
	if (reg_is_lvt(reg))
		return lvt_bits[reg - REG_LVT] | LVT_READ_ONLY(reg - REG_LVT);
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return 0xff;
	case REG_SVR:
		return SVR_BITS;
	case REG_ICR_LOW:
		return 0xffffffff00000000 | ICR_BITS;
	case REG_INITIAL:
		return 0xffffffff;
	case REG_DIVIDE:
		return DIVIDE_BITS;
	default:
		return 0;
	}
}

static bool x2apic_write(struct lapic *l, unsigned reg, uint64_t v)
{
	if (v & ~x2apic_bits(reg))
		return false;
	if (reg == REG_SELF_IPI) {
		send_to_self(l, (uint8_t)v);
		return true;
	}
	if (reg == REG_ICR_LOW)
		l->icr_high = (uint32_t)(v >> 32);
	return reg_write(l, reg, (uint32_t)v);
}

/* ---- IA32_APIC_BASE ---- */

static void lapic_clear(struct lapic *l)
{
	uint8_t lint = l->lint;
	uint64_t base = l->base, offset = l->tsc_offset;

	*l = (struct lapic){ .clock = l->clock, .timer = l->timer, .fx = l->fx, .out = l->out };
	timer_stop(l->clock, &l->timer);
	l->base = base;
	l->lint = lint;
	l->tsc_offset = offset;
	l->dfr = DFR_FLAT;
	l->svr = 0xff;
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		l->lvt[i] = LVT_MASKED;
}

/* The transitions of figure 10-27: out of x2APIC mode only through "disabled". */
static bool base_write(struct lapic *l, uint64_t v)
{
	const uint64_t known = LAPIC_BASE_BSP | LAPIC_BASE_X2APIC | LAPIC_BASE_ENABLED |
			       (((1ull << CPUID_V1_PHYS_BITS) - 1) & ~0xfffull);
	bool on = v & LAPIC_BASE_ENABLED, x2 = v & LAPIC_BASE_X2APIC;

	if ((v & ~known) || (x2 && !on) || (x2 && !is_x2apic(l) && !lapic_is_on(l)) ||
	    (!x2 && on && is_x2apic(l)))
		return false;
	if (x2 && !is_x2apic(l)) { /* 10.12.5.1: ID and LDR are derived, ICR starts afresh */
		l->icr_low = l->icr_high = 0;
		l->ldr = 0;
		l->dfr = DFR_FLAT;
	}
	l->base = v;
	if (!on)
		lapic_clear(l);
	lapic_update(l);
	return true;
}

bool lapic_msr_read(struct lapic *l, uint32_t n, uint64_t *v)
{
	if (n == LAPIC_MSR_BASE)
		*v = l->base;
	else if (n == LAPIC_MSR_DEADLINE)
		*v = lapic_timer_deadline(l);
	else
		return n >= LAPIC_MSR_FIRST && n <= LAPIC_MSR_LAST && is_x2apic(l) &&
		       x2apic_read(l, n - LAPIC_MSR_FIRST, v);
	return true;
}

bool lapic_msr_write(struct lapic *l, uint32_t n, uint64_t v)
{
	if (n == LAPIC_MSR_BASE)
		return base_write(l, v);
	if (n == LAPIC_MSR_DEADLINE) {
		lapic_timer_set_deadline(l, v);
		lapic_update(l);
		return true;
	}
	return n >= LAPIC_MSR_FIRST && n <= LAPIC_MSR_LAST && is_x2apic(l) &&
	       x2apic_write(l, n - LAPIC_MSR_FIRST, v);
}

uint64_t lapic_cr8(const struct lapic *l)
{
	return l->tpr >> 4;
}

void lapic_set_cr8(struct lapic *l, uint64_t v)
{
	l->tpr = (uint32_t)(v & 15) << 4;
	lapic_update(l);
}

/* ---- the verbs ---- */

static void lapic_reset(void *dev)
{
	struct lapic *l = dev;

	l->base = LAPIC_BASE | LAPIC_BASE_BSP | LAPIC_BASE_ENABLED;
	l->tsc_offset = 0;
	l->lint = 0;
	lapic_clear(l);
	lapic_update(l);
}

void lapic_init(struct lapic *l, struct clock *clock, const struct lapic_effects *fx)
{
	memset(l, 0, sizeof(*l));
	l->clock = clock;
	l->fx = *fx;
	timer_init(clock, &l->timer, "lapic", lapic_timer_fire, l);
	lapic_reset(l);
}

void lapic_firmware(struct lapic *l)
{
	l->svr = SVR_ENABLED | 0xff;
	l->lvt[LAPIC_LVT_LINT0] = APIC_EXTINT << 8;
	l->lvt[LAPIC_LVT_LINT1] = APIC_NMI << 8;
	lapic_update(l);
}

static void lapic_save(const void *dev, struct buf *out)
{
	const struct lapic *l = dev;
	const uint32_t reg[] = { l->tpr,      l->ldr, l->dfr,	 l->svr,    l->icr_low,
				 l->icr_high, l->esr, l->errors, l->divide, l->initial };

	buf_put_u64(out, l->base);
	for (size_t i = 0; i < sizeof(reg) / sizeof(reg[0]); i++)
		buf_put_u32(out, reg[i]);
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		buf_put_u32(out, l->lvt[i]);
	for (unsigned i = 0; i < 8; i++) {
		buf_put_u32(out, l->irr[i]);
		buf_put_u32(out, l->isr[i]);
		buf_put_u32(out, l->tmr[i]);
	}
	buf_put_u8(out, l->lint);
	buf_put_u8(out, l->expired);
	buf_put_u64(out, l->start_ns);
	buf_put_u64(out, l->deadline);
	buf_put_u64(out, l->tsc_offset);
}

static bool lapic_is_sane(const struct lapic *l)
{
	bool x2 = is_x2apic(l);

	if ((l->base & 0x2ff) || l->base >> CPUID_V1_PHYS_BITS || (x2 && !lapic_is_on(l)) ||
	    l->tpr > 0xff || (l->svr & ~SVR_BITS) || (l->icr_low & ~ICR_BITS) ||
	    (l->divide & ~DIVIDE_BITS) || l->lint > 3 || (l->ldr & 0xffffff) ||
	    (l->dfr & DFR_FIXED_ONES) != DFR_FIXED_ONES || (!x2 && (l->icr_high & 0xffffff)) ||
	    (l->irr[0] & 0xffff) || (l->isr[0] & 0xffff) || (l->tmr[0] & 0xffff))
		return false;
	for (unsigned i = 0; i < LAPIC_LVTS; i++) {
		if ((l->lvt[i] & ~(lvt_bits[i] | (LVT_READ_ONLY(i) & LVT_REMOTE_IRR))) ||
		    (!(l->svr & SVR_ENABLED) && !(l->lvt[i] & LVT_MASKED)))
			return false;
	}
	return true;
}

/* The timer's next event is the clock's to restore. */
static int lapic_restore(void *dev, struct rd *in)
{
	struct lapic *l = dev;
	uint32_t *const reg[] = { &l->tpr,	&l->ldr, &l->dfr,    &l->svr,	 &l->icr_low,
				  &l->icr_high, &l->esr, &l->errors, &l->divide, &l->initial };
	uint8_t expired;

	l->base = rd_u64(in);
	for (size_t i = 0; i < sizeof(reg) / sizeof(reg[0]); i++)
		*reg[i] = rd_u32(in);
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		l->lvt[i] = rd_u32(in);
	for (unsigned i = 0; i < 8; i++) {
		l->irr[i] = rd_u32(in);
		l->isr[i] = rd_u32(in);
		l->tmr[i] = rd_u32(in);
	}
	l->lint = rd_u8(in);
	expired = rd_u8(in);
	l->expired = expired;
	l->start_ns = rd_u64(in);
	l->deadline = rd_u64(in);
	l->tsc_offset = rd_u64(in);
	if (in->bad || expired > 1 || !lapic_is_sane(l)) {
		lapic_reset(l);
		return -EINVAL;
	}
	lapic_update(l);
	return 0;
}

const struct device_ops lapic_ops = {
	.name = "lapic",
	.reset = lapic_reset,
	.save = lapic_save,
	.restore = lapic_restore,
};
