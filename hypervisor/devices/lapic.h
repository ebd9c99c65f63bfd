/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC of the one processor (Intel SDM vol. 3, chapter 10): xAPIC with its registers in
 * memory, x2APIC with its registers as MSRs, and the timer in its three modes.
 *
 * There is one processor with APIC ID 0, so arbitration, lowest priority and start-up messages to
 * others have nothing to decide. The timer counts the core crystal of CPUID leaf 15h, 25 MHz of
 * virtual time; TSC deadlines are compared with virtual time plus what the guest has added to its
 * TSC.
 */
#ifndef DEVICES_LAPIC_H
#define DEVICES_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/clock.h"
#include "hypervisor/device.h"

#define LAPIC_BASE	   0xfee00000ull
#define LAPIC_BASE_BSP	   (1ull << 8)
#define LAPIC_BASE_X2APIC  (1ull << 10)
#define LAPIC_BASE_ENABLED (1ull << 11)

#define LAPIC_MSR_BASE	   0x1bu
#define LAPIC_MSR_DEADLINE 0x6e0u
#define LAPIC_MSR_FIRST	   0x800u
#define LAPIC_MSR_LAST	   0x8ffu

#define LAPIC_TICK_NS 40u /* 25 MHz */
/*
 * Interrupts of the periodic timer closer than this coalesce: what one guest can ask of timers is
 * bounded.
 */
#define LAPIC_MIN_REARM_NS 50000u

/* Delivery modes, as in the ICR, in the I/O APIC and in messages. */
enum apic_mode {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

/* An interrupt on its way to a local APIC. */
struct apic_message {
	uint32_t dest;
	bool logical; /* dest is a set of logical IDs */
	bool wide;    /* dest has 32 bits (an x2APIC sent it), else 8 */
	bool level;   /* level-triggered: its end is told to the I/O APIC */
	uint8_t mode; /* enum apic_mode */
	uint8_t vector;
};

/* The message that a device's write to the interrupt address range stands for (10.11). */
struct apic_message apic_message_of_msi(uint64_t address, uint32_t data);

enum lapic_lvt {
	LAPIC_LVT_TIMER,
	LAPIC_LVT_THERMAL,
	LAPIC_LVT_PERF,
	LAPIC_LVT_LINT0,
	LAPIC_LVT_LINT1,
	LAPIC_LVT_ERROR,
	LAPIC_LVTS
};

struct lapic_effects {
	void (*intr)(void *ctx, bool level); /* what lapic_pending() says has changed */
	void (*nmi)(void *ctx);
	void (*eoi)(void *ctx, uint8_t vector); /* a level-triggered interrupt has ended */
	uint8_t (*extint)(void *ctx);		/* the INTA cycles of the 8259 at LINT0 */
	void *ctx;
};

struct lapic {
	uint64_t base; /* IA32_APIC_BASE */
	uint32_t tpr, ldr, dfr, svr, icr_low, icr_high;
	uint32_t esr, errors; /* as latched by a write, and since then */
	uint32_t lvt[LAPIC_LVTS];
	uint32_t irr[8], isr[8], tmr[8];
	uint8_t lint; /* levels at LINT0 and LINT1 */

	uint32_t initial, divide;
	uint64_t start_ns;   /* when the count was `initial` (mod 2^64) */
	bool expired;	     /* the count is 0, in any mode, until `initial` is written */
	uint64_t deadline;   /* IA32_TSC_DEADLINE; 0: not armed */
	uint64_t tsc_offset; /* TSC minus virtual time, as the CPU has it */

	struct clock *clock;
	struct timer timer;
	struct lapic_effects fx;
	bool out; /* last level given to intr() */
};

void lapic_init(struct lapic *l, struct clock *clock, const struct lapic_effects *fx);
/* Sets the state that firmware leaves: enabled, the 8259 at LINT0 (virtual wire), NMI at LINT1. */
void lapic_firmware(struct lapic *l);

/* The processor is asked for an interrupt, of its own or of the 8259 behind LINT0. */
bool lapic_pending(const struct lapic *l);
uint8_t lapic_acknowledge(struct lapic *l);
/*
 * A fault: the request that would be acknowledged next is forgotten. False: the APIC has none of
 * its own, and the 8259 is asked.
 */
bool lapic_drop(struct lapic *l);
/* Level at LINT0 (n = 0) or LINT1. */
void lapic_set_lint(struct lapic *l, unsigned n, bool level);
/* True: an edge at LINT0, where the 8259 is, would be an NMI; nothing is at LINT1. */
bool lapic_may_nmi(const struct lapic *l);
/* Hands a message over. True: it was for this processor, which has taken it. */
bool lapic_receive(struct lapic *l, const struct apic_message *msg);

/* True: this physical address is one of the registers, where their base is now. */
bool lapic_decodes(const struct lapic *l, uint64_t gpa);
/* offset: from the base address. */
uint64_t lapic_mmio_read(struct lapic *l, uint64_t offset, unsigned size);
void lapic_mmio_write(struct lapic *l, uint64_t offset, unsigned size, uint64_t value);

/* MSRs 1Bh, 6E0h and 800h to 8FFh. False: #GP. */
bool lapic_msr_read(struct lapic *l, uint32_t n, uint64_t *v);
bool lapic_msr_write(struct lapic *l, uint32_t n, uint64_t v);
/* CR8: bits 7 to 4 of the task priority. */
uint64_t lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint64_t v);
/* The guest has set its TSC to virtual time + offset. */
void lapic_set_tsc_offset(struct lapic *l, uint64_t offset);

extern const struct device_ops lapic_ops;

#endif
