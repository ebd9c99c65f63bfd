/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live input source turns the host's monotonic clock, and input from the guest's NICs and
 * consoles, into sync points. A recorder or primary, which keeps or sends them, gets them by
 * live_hooks. The same object is the sink of a machine whose outputs leave at once.
 *
 * Time. With LIVE_CLOCK_HOST virtual time follows the monotonic clock: at sync points the source
 * re-anchors it, and sets the rate to the speed that the engine really reaches. With
 * LIVE_CLOCK_VIRTUAL time is a function of the count alone (1 ns an instruction) and HLT jumps to
 * the next timer, so a run without inputs is the same every time.
 *
 * Threads. Everything runs on the vCPU thread except one poller. The poller waits for descriptors
 * and kicks the machine. It also asks the keeper for what the jail does not allow: to attach a lost
 * interface, or to change a filter to another address. So the guest never waits for such an answer.
 */
#ifndef RECORD_LIVE_H
#define RECORD_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "hypervisor/machine.h"
#include "hypervisor/sync.h"
#include "net/nic.h"

enum live_clock { LIVE_CLOCK_HOST, LIVE_CLOCK_VIRTUAL };

/* A console's host side. */
struct live_console {
	void *ctx;
	/*
	 * Descriptor to wait on for input, or -1 for none; may change between calls (a socket's
	 * next client).
	 */
	int (*fd)(void *ctx);
	/*
	 * Without blocking: bytes read (> 0), -EAGAIN for nothing at present, 0 when the input has
	 * ended for good.
	 */
	ssize_t (*read)(void *ctx, uint8_t *data, size_t n);
	void (*write)(void *ctx, const uint8_t *data, size_t n);
};

struct live_hooks {
	void *ctx;
	/*
	 * A sync point was applied; digest as for input_source.applied. False ends the run with
	 * MACHINE_DIVERGED.
	 */
	bool (*applied)(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest);
	/* Before a sync point is made: may append inputs of its own (controls, INPUT_FLUSH_TLB);
	 * returns how many. The data must stay valid until applied(). */
	size_t (*inputs)(void *ctx, struct machine *m, struct input *in, size_t max);
	/*
	 * True when a sync point is wanted even though nothing enters (an output waits for its
	 * record).
	 */
	bool (*wants_sync)(void *ctx);
	/*
	 * The host has failed a request of disk `disk` with a positive errno, and the guest is
	 * about to be told. True: the run ends before that.
	 */
	bool (*disk_error)(void *ctx, unsigned disk, int error);
	/*
	 * The guest is in HLT and there is nothing to do: now is the time for work that was put
	 * off.
	 */
	void (*idle)(void *ctx);
	/* Called on the vCPU thread before it goes on; may block to slow the guest down. */
	void (*pace)(void *ctx, struct machine *m);
	/* Longest virtual time, in ns, between two calls of the source, if less than usual. */
	uint64_t (*slice_ns)(void *ctx);
	/*
	 * inputs() may have something later, announced by live_wake(): a guest in HLT without a
	 * timer waits for it.
	 */
	bool waits;
	/* Like input_source.spins: nothing can enter yet; true ends the run. vCPU thread. */
	bool (*spins)(void *ctx, struct machine *m);
};

struct panic_watch;

/* What the guest's agent is told at first, where one has its port open. */
enum live_agent {
	LIVE_AGENT_LEFT, /* nothing */
	LIVE_AGENT_THAW, /* to thaw file systems: who froze them cannot reach it any more */
	LIVE_AGENT_TIME, /* that, and the host's time */
};

struct live_config {
	enum live_clock clock;
	uint8_t seed[32]; /* first seed of the generator; the caller fills it from getrandom() or
			     zeroes */
	bool resumed;	  /* the machine ran before: it keeps its time, and its generator unless
			     `reseed` */
	bool reseed;
	/*
	 * how far an outage has put virtual time behind; it runs 5 % faster until it has caught up
	 */
	uint64_t behind_ns;
	bool moved; /* the machine was elsewhere before: its guest is asked to tell the network */
	enum live_agent agent;
	struct nic *nic[MACHINE_NICS];
	/*
	 * Calls nic_attach() for NIC `port` in a process that may. NULL: a lost NIC stays lost, and
	 * what is captured stays the frames for the guest's first address. Called by the poller.
	 */
	int (*attach)(void *ctx, unsigned port, const uint8_t mac[6]);
	void *attach_ctx;
	struct live_console *console[MACHINE_CONSOLES];
	struct live_console *debug;    /* where the debug console's output goes, or NULL */
	struct live_console *firmware; /* and firmware's log */
	uint64_t epoch_ns;	       /* a digest every so much virtual time; 0: never */
	uint64_t digest_count;	       /* a digest every so many instructions exactly; 0: never */
	struct live_hooks hooks;
	struct panic_watch *panic; /* called at each sync point; or NULL */
	uint64_t idle_max_ns;	   /* in HLT, hooks.inputs() is asked at least this often, and the
				      poller comes by; 0: only when something happens */
	uint64_t next_seq; /* number of the first sync point (1 at the start of a machine) */
};

struct live;

/* The machine must exist already and be given later to machine_run() with live_source(). */
struct live *live_create(const struct live_config *config, struct machine *m, struct err *err);
void live_destroy(struct live *l);
const struct input_source *live_source(struct live *l);

/*
 * The sink for machine_create(): outputs go to the consoles and NICs of `live` once
 * live_sink_attach() was called; outputs before that are dropped. It is made before the machine and
 * must outlive it.
 */
struct live_sink {
	struct live *live;
	struct panic_watch *panic; /* is shown every output; or NULL */
};
struct output_sink live_sink_ops(struct live_sink *s);
void live_sink_attach(struct live_sink *s, struct live *l);
/*
 * Hands an output that was held back to the host now. A frame leaves before CLOCK_BOOTTIME shows
 * deadline_ns (UINT64_MAX: no deadline) or not at all. 0; -ETIME: the deadline has passed.
 */
int live_emit(struct live *l, const struct output *out, uint64_t deadline_ns);

/* Makes machine_run() return MACHINE_ENDED soon. Any thread and a signal handler may call it. */
void live_stop(struct live *l);
/* Makes the vCPU come to a sync point soon, even when it is idle. Any thread may call it. */
void live_wake(struct live *l);

/*
 * The time (host_mono_ns()) at which the poller last went through its loop; the present time when
 * that thread has ended on purpose. live_wake_poller() makes it do so soon. Any thread may call
 * both.
 */
uint64_t live_poller_beat(const struct live *l);
void live_wake_poller(struct live *l);

struct live_stats {
	uint64_t sync_points, rx_packets, rx_dropped_host, tx_packets, tx_errors, console_in,
		console_out, nic_losses, rx_unusable;
	/*
	 * For each NIC: receptions and sendings that failed for another reason than that there was
	 * no frame or no room.
	 */
	uint64_t nic_errors[MACHINE_NICS];
	uint64_t idle_ns; /* time spent waiting in HLT */
};
void live_get_stats(const struct live *l, struct live_stats *s);

#endif
