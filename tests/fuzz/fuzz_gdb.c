// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes from a debugger: packets, and what they ask. Checksums are made right, or few would be
 * read. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/gdb_stub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void state(void *ctx, struct cpu_state *s)
{
	cpu_state_reset(s);
}

static size_t read_memory(void *ctx, uint64_t address, void *data, size_t len)
{
	memset(data, (int)address, len);
	return address % 3 ? len : len / 2;
}

static enum timeline_stop move(void *ctx, enum gdb_move how, const struct timeline_probe *p,
			       struct timeline_where *w)
{
	unsigned *moves = ctx;

	must(p->nbreakpoints <= PROBE_BREAKPOINTS && p->nwatches <= PROBE_WATCHES);
	*w = (struct timeline_where){ .at = { .count = ++*moves } };
	if (p->nwatches) {
		w->watch = *moves % p->nwatches;
		w->address = p->watch[w->watch].address;
		return TIMELINE_WATCH;
	}
	return *moves % 2 ? TIMELINE_BREAKPOINT : TIMELINE_END;
}

static void monitor(void *ctx, const char *command, struct buf *text)
{
	must(strlen(command) < GDB_PACKET_MAX);
	buf_put(text, command, strlen(command));
}

static const struct gdb_target target = {
	.state = state, .read = read_memory, .move = move, .monitor = monitor
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gdb_stub s;
	unsigned moves = 0;

	gdb_stub_init(&s, &target, &moves);
	gdb_stub_input(&s, data, size / 2);
	while (size > 2 && !s.over) {
		size_t n = data[0] < size - 1 ? data[0] : size - 1;
		struct buf b = BUF_INIT;

		gdb_packet_put(&b, data + 1, n);
		gdb_stub_input(&s, b.data, b.len);
		buf_free(&b);
		buf_clear(&s.out);
		data += n + 1;
		size -= n + 1;
	}
	gdb_stub_fini(&s);
	return 0;
}
