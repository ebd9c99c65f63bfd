// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/panic_watch.h"

#include <stdio.h>
#include <string.h>

#include "hypervisor/devices/pvpanic.h"

/* Mark of a panic's last line; its first line has the mark without "end ". */
static const char mark[] = "end Kernel panic - not syncing";
#define FIRST 4

static size_t slot_of(const struct output *out)
{
	if (out->kind == OUTPUT_DEBUG)
		return MACHINE_CONSOLES;
	if (out->kind == OUTPUT_CONSOLE && out->port < MACHINE_CONSOLES)
		return out->port;
	return CONSOLE_OUT_SLOTS;
}

/* Notes a panic. The port and every console tell of the same one, so only the first counts. */
static void found(struct panic_watch *w, const char *what, const char *why)
{
	if (atomic_exchange(&w->seen, true))
		return;
	snprintf(w->text, sizeof(w->text), "%s%s", what, why);
	w->act = true;
}

/* Takes a line that has ended, or of which no more is kept. */
static void end_line(struct panic_watch *w, size_t slot)
{
	if (w->len[slot] >= 5 && !memcmp(w->why[slot] + w->len[slot] - 5, " ]---", 5))
		w->len[slot] -= 5;
	w->why[slot][w->len[slot]] = 0;
	w->matched[slot] = w->len[slot] = 0;
	if (w->last[slot])
		found(w, "the guest's kernel has panicked and will not reboot", w->why[slot]);
	else
		memcpy(w->reason, w->why[slot], sizeof(w->reason));
}

static size_t match(struct panic_watch *w, size_t slot, char c)
{
	size_t matched = w->matched[slot];

	if (matched && c == mark[matched])
		return matched + 1;
	w->last[slot] = c == mark[0];
	return w->last[slot] ? 1 : c == mark[FIRST] ? FIRST + 1 : 0;
}

static void take_byte(struct panic_watch *w, size_t slot, uint8_t c)
{
	if (w->matched[slot] < sizeof(mark) - 1)
		w->matched[slot] = match(w, slot, (char)c);
	else if (c == '\n' || c == '\r' || w->len[slot] == PANIC_LINE - 1)
		end_line(w, slot);
	else
		w->why[slot][w->len[slot]++] = c < ' ' || c >= 0x7f ? '?' : (char)c;
}

/* Takes an event of the port. If the guest's crash kernel takes over, no action is needed. */
static void take_event(struct panic_watch *w, uint8_t events)
{
	if (events & PVPANIC_PANICKED)
		found(w, "the guest has panicked", w->reason);
	else if (!w->crashed)
		snprintf(w->text, sizeof(w->text),
			 "the guest has panicked, and its crash kernel takes over%s", w->reason);
	w->crashed = true;
}

void panic_watch_output(struct panic_watch *w, const struct output *out)
{
	size_t slot = slot_of(out);

	if (w && out->kind == OUTPUT_PANIC && out->len)
		take_event(w, out->data[0]);
	for (size_t i = 0; w && slot < CONSOLE_OUT_SLOTS && i < out->len; i++)
		take_byte(w, slot, out->data[i]);
}

bool panic_watch_take(struct panic_watch *w, struct input *in)
{
	static const enum control_command command[] = {
		[PANIC_STOP] = CONTROL_STOP, [PANIC_RESET] = CONTROL_RESET
	};

	if (!w || !w->text[0])
		return false;
	*in = (struct input){ 0 };
	if (w->act && w->action != PANIC_REPORT)
		*in = (struct input){ .kind = INPUT_CONTROL, .a = command[w->action] };
	if (w->tell)
		w->tell(w->ctx, w->text);
	w->text[0] = 0;
	/* A guest that is reset may panic again. */
	if (w->act && w->action == PANIC_RESET)
		atomic_store(&w->seen, false);
	w->act = false;
	return true;
}
