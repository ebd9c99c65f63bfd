/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between lapic.c and lapic_timer.c alone. */
#ifndef DEVICES_LAPIC_PRIVATE_H
#define DEVICES_LAPIC_PRIVATE_H

#include "hypervisor/devices/lapic.h"

#define LVT_STATUS     (1u << 12)
#define LVT_REMOTE_IRR (1u << 14)
#define LVT_LEVEL      (1u << 15)
#define LVT_MASKED     (1u << 16)
#define LVT_TIMER_MODE (3u << 17)

#define SVR_ENABLED (1u << 8)

/* lapic.c */

static inline bool lapic_is_on(const struct lapic *l)
{
	return l->base & LAPIC_BASE_ENABLED;
}

/* An interrupt from within, as its entry in the local vector table says. */
void lapic_local(struct lapic *l, enum lapic_lvt n);

/* lapic_timer.c */

void lapic_timer_fire(void *lapic);
/* Sets the next event after a change of the local vector table. */
void lapic_timer_rearm(struct lapic *l);
void lapic_timer_set_lvt(struct lapic *l, uint32_t v);
void lapic_timer_set_initial(struct lapic *l, uint32_t v);
void lapic_timer_set_divide(struct lapic *l, uint32_t v);
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc);
uint32_t lapic_timer_count(const struct lapic *l);
/* IA32_TSC_DEADLINE as the guest reads it. */
uint64_t lapic_timer_deadline(const struct lapic *l);

#endif
