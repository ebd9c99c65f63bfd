/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes a machine's console output to the host: finds the console that an output is for, and
 * gathers bytes, because serial ports emit single ones.
 */
#ifndef RECORD_CONSOLE_OUT_H
#define RECORD_CONSOLE_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/machine.h"
#include "hypervisor/sync.h"

struct live_console;

/* Slots after those of the consoles: the debug console, and the firmware's log. */
#define CONSOLE_OUT_DEBUG    MACHINE_CONSOLES
#define CONSOLE_OUT_FIRMWARE (MACHINE_CONSOLES + 1)
#define CONSOLE_OUT_SLOTS    (MACHINE_CONSOLES + 2)
#define CONSOLE_OUT_BUFFER   4096

struct console_out {
	struct live_console *console[CONSOLE_OUT_SLOTS]; /* NULL: output to it is dropped */
	struct console_out_buffer {
		uint8_t data[CONSOLE_OUT_BUFFER];
		size_t len;
	} buffer[CONSOLE_OUT_SLOTS];
};

/* The next two functions ignore outputs that are not for a console, or for one that is NULL. */
/* Gathers the bytes until the next console_out_flush(), or until a buffer is full. */
void console_out_gather(struct console_out *o, const struct output *out);
/* Writes an output's bytes at once. Bytes gathered earlier stay gathered. */
void console_out_write(struct console_out *o, const struct output *out);
/* Writes all gathered bytes. */
void console_out_flush(struct console_out *o);

#endif
