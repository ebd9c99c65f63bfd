// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/panic_watch.h"

#include <string.h>

static const char mark[] = "end Kernel panic - not syncing";

static size_t slot_of(const struct output *out)
{
	if (out->kind == OUTPUT_DEBUG)
		return MACHINE_CONSOLES;
	if (out->kind == OUTPUT_CONSOLE && out->port < MACHINE_CONSOLES)
		return out->port;
	return CONSOLE_OUT_SLOTS;
}

/* The line's end, or as much of it as anybody needs. */
static void end_line(struct panic_watch *w, size_t slot)
{
	if (w->len[slot] >= 5 && !memcmp(w->why[slot] + w->len[slot] - 5, " ]---", 5))
		w->len[slot] -= 5;
	w->why[slot][w->len[slot]] = 0;
	w->matched[slot] = w->len[slot] = 0;
	/* The same line comes on every console of the guest's. */
	if (!atomic_exchange(&w->seen, true))
		w->pending = (int)slot + 1;
}

static void take_byte(struct panic_watch *w, size_t slot, uint8_t c)
{
	size_t *matched = &w->matched[slot];

	if (*matched < sizeof(mark) - 1)
		*matched = c == mark[*matched] ? *matched + 1 : c == mark[0];
	else if (c == '\n' || c == '\r' || w->len[slot] == PANIC_LINE - 1)
		end_line(w, slot);
	else
		w->why[slot][w->len[slot]++] = c < ' ' || c >= 0x7f ? '?' : (char)c;
}

void panic_watch_output(struct panic_watch *w, const struct output *out)
{
	size_t slot = slot_of(out);

	for (size_t i = 0; w && slot < CONSOLE_OUT_SLOTS && i < out->len; i++)
		take_byte(w, slot, out->data[i]);
}

bool panic_watch_take(struct panic_watch *w, struct input *in)
{
	static const enum control_command command[] = {
		[PANIC_STOP] = CONTROL_STOP, [PANIC_RESET] = CONTROL_RESET
	};

	if (!w || !w->pending)
		return false;
	*in = (struct input){ 0 };
	if (w->action != PANIC_REPORT)
		*in = (struct input){ .kind = INPUT_CONTROL, .a = command[w->action] };
	if (w->tell)
		w->tell(w->ctx, w->why[w->pending - 1]);
	w->pending = 0;
	/* A guest that is reset may panic again. */
	if (w->action == PANIC_RESET)
		atomic_store(&w->seen, false);
	return true;
}
