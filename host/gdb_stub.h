/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The far end of GDB's remote protocol: what a debugger asks, answered by a target that may be
 * looked at and moved, and not changed.
 */
#ifndef HOST_GDB_STUB_H
#define HOST_GDB_STUB_H

#include "host/gdb_packet.h"
#include "record/timeline.h"

enum gdb_move { GDB_STEP, GDB_CONTINUE, GDB_STEP_BACK, GDB_BACK };

struct gdb_target {
	void (*state)(void *ctx, struct cpu_state *s);
	/* Reads from address on; the number of bytes that could be read. */
	size_t (*read)(void *ctx, uint64_t address, void *data, size_t len);
	enum timeline_stop (*move)(void *ctx, enum gdb_move how, const struct timeline_probe *p,
				   struct timeline_where *w);
	/* Answers a `monitor` command. */
	void (*monitor)(void *ctx, const char *command, struct buf *text);
};

struct gdb_stub {
	const struct gdb_target *target;
	void *ctx;
	struct gdb_packet in;
	struct buf out;	 /* to be sent; the sender clears it */
	struct buf last; /* the last packet, for when it has to be sent again */
	bool no_ack;
	bool over;  /* the debugger has detached */
	bool ended; /* ... and wants the target to end */
	struct timeline_probe points;
	uint8_t breakpoint_type[PROBE_BREAKPOINTS], watch_type[PROBE_WATCHES]; /* as in Z packets */
	enum timeline_stop why;
	struct timeline_where where;
};

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target, void *ctx);
void gdb_stub_fini(struct gdb_stub *s);
void gdb_stub_input(struct gdb_stub *s, const uint8_t *data, size_t len);

/* gdb_registers.c: the description of the registers, and their values in that order. */
extern const char gdb_target_xml[];
void gdb_registers_put(const struct cpu_state *s, struct buf *out);

#endif
