/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of other threads to the vCPU thread, for its next sync point. */
#ifndef REPLICA_ORDERS_H
#define REPLICA_ORDERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/sync.h"

#define CONTROLS 16

struct orders {
	pthread_mutex_t lock; /* guards all fields; no function is called with it held */
	struct input controls[CONTROLS];
	unsigned ncontrols;
	struct input fault; /* test hook; kind 0: none */
};

void orders_init(struct orders *o);
void orders_fini(struct orders *o);
/* Adds a control input. 0; -EBUSY: too many wait. */
int orders_add(struct orders *o, const struct input *control);
/* Takes control inputs, at most max; returns how many. */
size_t orders_take(struct orders *o, struct input *in, size_t max);
/* True: a request waits for the next sync point. */
bool orders_wait(struct orders *o);
/* True: one of the waiting requests stops the machine. */
bool orders_stop(struct orders *o);
void orders_set_fault(struct orders *o, const struct input *fault);
/* Takes the fault that was set, so it strikes once; kind 0: none. */
struct input orders_take_fault(struct orders *o);

#endif
