// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/console_out.h"

#include "record/live.h"

/* Slot of the console that an output is for; -1: none. */
static int slot_of(const struct console_out *o, const struct output *out)
{
	int slot = -1;

	if (out->kind == OUTPUT_DEBUG)
		slot = out->port ? CONSOLE_OUT_FIRMWARE : CONSOLE_OUT_DEBUG;
	else if (out->kind == OUTPUT_CONSOLE && out->port < MACHINE_CONSOLES)
		slot = out->port;
	return slot >= 0 && o->console[slot] ? slot : -1;
}

static void flush_slot(struct console_out *o, int slot)
{
	struct console_out_buffer *b = &o->buffer[slot];

	if (b->len)
		o->console[slot]->write(o->console[slot]->ctx, b->data, b->len);
	b->len = 0;
}

void console_out_gather(struct console_out *o, const struct output *out)
{
	int slot = slot_of(o, out);

	for (size_t i = 0; slot >= 0 && i < out->len; i++) {
		struct console_out_buffer *b = &o->buffer[slot];

		if (b->len == CONSOLE_OUT_BUFFER)
			flush_slot(o, slot);
		b->data[b->len++] = out->data[i];
	}
}

void console_out_write(struct console_out *o, const struct output *out)
{
	int slot = slot_of(o, out);

	if (slot >= 0)
		o->console[slot]->write(o->console[slot]->ctx, out->data, out->len);
}

void console_out_flush(struct console_out *o)
{
	for (int i = 0; i < CONSOLE_OUT_SLOTS; i++)
		flush_slot(o, i);
}
