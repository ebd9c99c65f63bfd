/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way of a process to a running machine and back: the same steps in the same order for every
 * subcommand that runs one. bringup.c gives the reasons for the order.
 */
#ifndef HOST_BRINGUP_H
#define HOST_BRINGUP_H

#include <stdbool.h>

#include "base/err.h"
#include "host/machine_host.h"
#include "host/machine_opts.h"
#include "hypervisor/machine.h"
#include "isolation/jail.h"

/*
 * A subcommand's own part of the steps. Each function gets bringup.ctx and returns, where it
 * returns something, 0 or -errno and err; NULL: nothing to do. The functions of the way back are
 * called whenever their step was begun, even if it failed half way.
 */
struct bringup_role {
	/* Opens what the machine is made of, into bringup.host; NULL: what the options say. */
	int (*open)(void *ctx, struct err *err);
	void (*close)(void *ctx);
	/* Opens what else has a name: control socket, log, listening socket. */
	int (*names)(void *ctx, struct err *err);
	void (*unname)(void *ctx);
	/* Adds to what the jail leaves open; called right before it closes, and right after. */
	void (*jail)(void *ctx, struct jail_config *c);
	void (*jailed)(void *ctx);
	/* The sink of the machine's outputs; NULL: the machine is made later, by the role itself.
	 */
	struct output_sink (*sink)(void *ctx);
	/* The machine is in its start state. */
	int (*created)(void *ctx, struct err *err);
	/* Starts what runs beside the vCPU. After stop() nothing uses the machine any more. */
	int (*start)(void *ctx, struct err *err);
	void (*stop)(void *ctx);
	/* Ends the run. Any thread and signal handlers may call it. */
	void (*quit)(void *ctx);
	bool consoles;	   /* it has the machine's consoles */
	bool escape_key;   /* where a person at the terminal can end the run */
	bool memory_later; /* how much memory the guest has is known in the jail only */
};

struct bringup {
	const struct bringup_role *role;
	void *ctx;
	/* The options as they were given: they decide on the share of the host and the jail. */
	const struct machine_opts *given;
	/* The options that the machine is made from; NULL: the same. A replay's are its log's. */
	const struct machine_opts *opts;
	struct machine_host host;
	struct machine *machine;
	unsigned reached; /* steps begun */
};

/*
 * The whole life: up, run(run_ctx), down. Says what went wrong on the way up. Returns the exit
 * status: run()'s, or EXIT_USAGE.
 */
int bringup_run(struct bringup *b, int (*run)(void *run_ctx), void *run_ctx);
/* fn(arg) as the vCPU's thread, to its end. Exit status: 0, or EXIT_ENGINE, said in the log. */
int bringup_run_vcpu(void *(*fn)(void *arg), void *arg);

#endif
