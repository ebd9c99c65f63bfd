/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inputs, outputs and sync points: the whole border between a machine and the world.
 *
 * Inputs enter only at sync points. The machine asks its input source how far it may run, runs, and
 * asks again for what enters there. A live source looks at the host (clock, network, console) and,
 * when recorded or replicated, hands each sync point to a recorder; a replaying source takes them
 * from a log or from the wire. The machine cannot tell.
 *
 * At a sync point the machine does, in this order: takes the anchor, applies the other inputs in
 * their order, fires the timers that are due, computes the digest if asked (INPUT_DIGEST, always
 * last).
 */
#ifndef HYPERVISOR_SYNC_H
#define HYPERVISOR_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/engine.h"

enum input_kind {
	INPUT_ANCHOR = 1, /* a = ns, b = rate; first in its sync point, at most one */
	INPUT_NET_RX,	  /* port = NIC, data = Ethernet frame */
	INPUT_CONSOLE,	  /* port = enum machine_console, data = bytes */
	INPUT_SEED,	  /* data = 32 bytes for the generator */
	INPUT_DISK_ERROR, /* port = disk, a = request number, b = errno */
	INPUT_CONTROL,	  /* a = enum control_command, b = its argument */
	INPUT_FLUSH_TLB,  /* a checkpoint is taken here */
	INPUT_DIGEST, /* end of an epoch: digest computed here; a = digest (filled in by the machine
			 when live, compared by the source when replayed) */
	INPUT_KIND_END_
};

struct machine;
struct input;

/* Fields that an input of a kind carries. */
enum input_shape {
	INPUT_SHAPE_NONE,
	INPUT_SHAPE_TIME,   /* a and b: virtual time and its rate */
	INPUT_SHAPE_DATA,   /* port, data */
	INPUT_SHAPE_PAIR,   /* port, a and b */
	INPUT_SHAPE_DIGEST, /* a state digest and what it says about its parts */
	INPUT_SHAPE_COUNT_
};

/* A kind of input: all that codec, machine and log text have to know of it. */
struct input_form {
	const char *name, *plural; /* in the text of a log, and in its summary */
	enum input_shape shape;
	/* The input enters the machine. 0 or -EINVAL: every field is checked, a record may be
	 * forged. */
	int (*apply)(struct machine *m, const struct input *in);
};

/* The form of a kind, or NULL when there is no such kind: any number may be asked. */
const struct input_form *input_form(unsigned kind);

enum control_command {
	CONTROL_STOP = 1, /* end the machine here */
	CONTROL_RESET,	  /* warm reset */
	CONTROL_NMI,
	CONTROL_BALLOON,  /* b = target in pages */
	CONTROL_LINK,	  /* port = NIC, b = 1 up, 0 down */
	CONTROL_ANNOUNCE, /* port = NIC: guest should announce itself (virtio-net
			     VIRTIO_NET_F_GUEST_ANNOUNCE), if offered */
	/* Faults of hardware: a sync point with nothing else takes no time, no timer fires. */
	CONTROL_FLIP_BIT,     /* b = bit number in guest RAM, counted from offset 0 of the memfd */
	CONTROL_FLIP_REG,     /* b = enum flip_word * 64 + bit */
	CONTROL_POWER_BUTTON, /* somebody presses it; machine version 2 */
	/* Faults of disks: port = disk. */
	CONTROL_DISK_LATE,   /* b = ns that the next requests take more, an hour at most */
	CONTROL_DISK_WRITES, /* b = enum disk_spoil, from the next write on */
	CONTROL_DISK_ROT,    /* b = bit number on the disk */
	/* Faults of the processor's surroundings. */
	CONTROL_FLIP_TLB, /* b = any number that chooses a translation held, * 64 + bit of its frame
			   */
	CONTROL_INTERRUPT, /* b = enum interrupt_fault */
	CONTROL_POWER, /* b = 0: disks have caches from now on; else the power fails, and the seed
			decides which writes of those are done; then a reset */
	CONTROL_DISK_GROW, /* port = disk, b = sectors that it has from now on */
	CONTROL_END_
};

/* Faults of writes that a disk takes; all but the last concern the next write alone. */
enum disk_spoil {
	DISK_SPOIL_NONE,
	DISK_SPOIL_LOST,   /* nothing is written, and success is said */
	DISK_SPOIL_TORN,   /* ... the first half of the sectors */
	DISK_SPOIL_ASTRAY, /* ... to the sectors right behind, or before where there are none */
	DISK_SPOIL_FULL,   /* every write fails */
	DISK_SPOILS
};

/* Faults of an interrupt at a sync point. */
enum interrupt_fault {
	INTERRUPT_LOST,	    /* what is requested when its timers have run is forgotten */
	INTERRUPT_SPURIOUS, /* one that nothing asks for; the CPU takes it, so it must be able to */
	INTERRUPT_FAULTS
};

/* A CPU's registers as words of 64 bits. */
enum flip_word {
	FLIP_WORD_GPR = 0, /* 16: enum gpr */
	FLIP_WORD_FLAGS = 16,
	FLIP_WORD_RIP = 17,
	FLIP_WORD_VECTOR = 18, /* 32: XMM0 low half, its high half, XMM1 ... */
	FLIP_WORD_X87 = 50,    /* 16: ST0, the 16 bits above that, ST1 ... */
	FLIP_WORDS = 66,
};

struct input {
	enum input_kind kind;
	uint8_t port;
	uint64_t a, b;
	const uint8_t *data; /* owned by the source, valid until the next call into it */
	size_t len;
};

#define SYNC_INPUTS_MAX 256
#define INPUT_DATA_MAX	65536

struct sync_point {
	uint64_t seq; /* number of the record, from 1 */
	struct landmark at;
	const struct input *input;
	size_t n;
};

/* True: an input of this kind enters here. */
static inline bool sync_point_has(const struct sync_point *sp, enum input_kind kind)
{
	for (size_t i = 0; i < sp->n; i++) {
		if (sp->input[i].kind == kind)
			return true;
	}
	return false;
}

/* Reason for which the machine asks for a sync point. */
enum sync_reason {
	SYNC_UNTIL, /* ran as far as it was allowed */
	SYNC_KICK,  /* the engine was kicked */
	SYNC_IDLE,  /* the vCPU waits in HLT: the source may block */
};

enum sync_verdict {
	SYNC_APPLY, /* *sp is filled in: apply it and go on */
	SYNC_AGAIN, /* nothing enters here: ask until() again and go on (not allowed with SYNC_IDLE)
		     */
	SYNC_END,   /* stop running here; machine_run() returns MACHINE_ENDED */
};

struct input_source {
	void *ctx;
	/*
	 * Fills in *until, the place to which the machine may run; count UINT64_MAX: until it is
	 * kicked. Called before every entry into the engine, so also after a bus callback has
	 * changed a timer.
	 */
	void (*until)(void *ctx, struct machine *m, struct landmark *until);
	/* The machine stands at `at`. */
	enum sync_verdict (*next)(void *ctx, struct machine *m, enum sync_reason why,
				  const struct landmark *at, struct sync_point *sp);
	/* The sync point was applied; digest is set when it held INPUT_DIGEST, else 0. False stops
	 * the machine with MACHINE_DIVERGED. May be NULL. */
	bool (*applied)(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest);
	/* The machine was kicked, but the guest has not come to a place that a landmark names for
	 * some milliseconds, so nothing can enter (ENGINE_EXIT_SPIN). True ends the run with
	 * MACHINE_SPINNING. May be NULL. */
	bool (*spins)(void *ctx, struct machine *m);
};

enum output_kind {
	OUTPUT_NET_TX = 1, /* port = NIC, data = Ethernet frame */
	OUTPUT_CONSOLE,	   /* port as for INPUT_CONSOLE, data = bytes */
	OUTPUT_DEBUG,	   /* debug console 0xe9 (port 0), 0x402 (port 1), data = bytes */
	OUTPUT_PANIC,	   /* the guest says that it has panicked, data = the events of
			      hypervisor/devices/pvpanic.h */
	OUTPUT_KIND_END_
};

struct output {
	enum output_kind kind;
	uint8_t port;
	const uint8_t *data;
	size_t len;
	uint64_t count; /* instructions retired before the one that caused it */
	uint64_t ns;	/* virtual time */
};

/*
 * Called on the vCPU thread, from inside the engine's run(); must not block for long and must not
 * call the machine.
 */
struct output_sink {
	void *ctx;
	void (*emit)(void *ctx, const struct output *out);
};

#endif
