/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest whose kernel panics and is not told to reboot spins for ever, and keeps its CPU. Linux
 * says so in its last line on every console, "---[ end Kernel panic - not syncing: WHY ]---", which
 * it prints only when no reboot comes; and, at the start of any panic, through the port of
 * hypervisor/devices/pvpanic.h, where the machine has it and the driver is loaded. The watch reads
 * the guest's output for both, on every replica alike and without any state of the machine; what is
 * to be done enters as a control, as if somebody had asked, so a recording has it and both replicas
 * do it at one instruction.
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
	atomic_bool seen; /* ever one that is to be acted upon */

	/* the vCPU thread's: how much of the mark each console has shown, then the rest of the line
	 */
	size_t matched[CONSOLE_OUT_SLOTS];
	bool last[CONSOLE_OUT_SLOTS]; /* the mark began with "end" */
	char why[CONSOLE_OUT_SLOTS][PANIC_LINE];
	size_t len[CONSOLE_OUT_SLOTS];
	char reason[PANIC_LINE]; /* of the panic's first line, for the port, which has none */
	char text[PANIC_TEXT];	 /* to be told; empty: nothing */
	bool act;		 /* and to be acted upon */
	bool crashed;		 /* a crash kernel was told of: a guest may say it for ever */
};

/* An output as the machine makes it. w may be NULL. */
void panic_watch_output(struct panic_watch *w, const struct output *out);
/*
 * True: there was a panic since the last call; it is told. Called at sync points of the live side.
 * *in becomes the input that is to enter, of kind 0 for none. w may be NULL.
 */
bool panic_watch_take(struct panic_watch *w, struct input *in);

#endif
