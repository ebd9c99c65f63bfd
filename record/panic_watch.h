/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices that a guest's kernel has panicked. A kernel that panics and is not configured to reboot
 * spins for ever and uses its CPU. Linux reports this in its last line on every console, "---[ end
 * Kernel panic - not syncing: WHY ]---", which it prints only if it does not reboot. At the start
 * of any panic it also writes to the port of hypervisor/devices/pvpanic.h, if the machine has that
 * and the driver is loaded.
 *
 * The watch reads the guest's output for both signs. It does this on each replica, without any
 * state in the machine. Its action enters the machine as a control input, like one that an operator
 * asked for. So a recording contains it, and both replicas do it at the same instruction.
 */
#ifndef RECORD_PANIC_WATCH_H
#define RECORD_PANIC_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "record/console_out.h"

enum on_panic { PANIC_REPORT, PANIC_STOP, PANIC_RESET };

#define PANIC_LINE 160
#define PANIC_TEXT (PANIC_LINE + 80)

struct panic_watch {
	enum on_panic action;
	/* vCPU thread, once for each panic, before the action enters: a sentence, no controls. */
	void (*tell)(void *ctx, const char *text);
	void *ctx;
	atomic_bool seen; /* a panic that calls for an action was seen */

	/* the vCPU thread's: how much of the mark each console has shown, then the rest of the line
	 */
	size_t matched[CONSOLE_OUT_SLOTS];
	bool last[CONSOLE_OUT_SLOTS]; /* the mark began with "end" */
	char why[CONSOLE_OUT_SLOTS][PANIC_LINE];
	size_t len[CONSOLE_OUT_SLOTS];
	char reason[PANIC_LINE]; /* of the panic's first line, for the port, which has none */
	char text[PANIC_TEXT];	 /* sentence for tell(); empty: none */
	bool act;		 /* the action has to enter */
	bool crashed;		 /* a crash kernel was told of: a guest may say it for ever */
};

/* Shows the watch an output of the machine. w may be NULL. */
void panic_watch_output(struct panic_watch *w, const struct output *out);
/*
 * Called at sync points of the live side. True: there was a panic since the last call, and tell()
 * was called. *in: the input that has to enter; kind 0: none. w may be NULL.
 */
bool panic_watch_take(struct panic_watch *w, struct input *in);

#endif
