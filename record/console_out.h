/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The road of a machine's console output to the host: which console an output is for, and the
 * gathering of single bytes. Serial ports speak byte by byte; the host is told in pieces.
 */
#ifndef RECORD_CONSOLE_OUT_H
#define RECORD_CONSOLE_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/machine.h"
#include "hypervisor/sync.h"

struct live_console;

/* Behind the consoles: debug console, firmware's log. */
#define CONSOLE_OUT_DEBUG    MACHINE_CONSOLES
#define CONSOLE_OUT_FIRMWARE (MACHINE_CONSOLES + 1)
#define CONSOLE_OUT_SLOTS    (MACHINE_CONSOLES + 2)
#define CONSOLE_OUT_BUFFER   4096

struct console_out {
	struct live_console *console[CONSOLE_OUT_SLOTS]; /* NULL: what goes there is dropped */
	struct console_out_buffer {
		uint8_t data[CONSOLE_OUT_BUFFER];
		size_t len;
	} buffer[CONSOLE_OUT_SLOTS];
};

/* Both take outputs of consoles; for others, and without a console, nothing happens. */
/* Gathers the bytes until the next console_out_flush(), or until a buffer is full. */
void console_out_gather(struct console_out *o, const struct output *out);
/* Writes them at once; what was gathered before stays gathered. */
void console_out_write(struct console_out *o, const struct output *out);
void console_out_flush(struct console_out *o);

#endif
