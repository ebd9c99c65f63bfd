// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The order in which a process becomes a machine.
 *
 * A guest may take over the process that runs it. All that it wins then is what the process still
 * holds and may still do when the guest's first byte is looked at. This order keeps that little;
 * it stands here once because each step relies on the steps before it.
 *
 *   begin     The process splits: one outside waits and cleans up, one inside becomes the machine.
 *             First of all, because the one inside must be the first of its pid namespace, and so
 *             must not have threads or children yet. Signals that end a run wait until there is a
 *             handler for them.
 *   share     The machine's control group. Before anything large is allocated, so that all of it
 *             counts against the group's limits.
 *   open      Images, disks, NICs, the engine's device: all that has a name and may be wrong, as
 *             the user who started us. Files are opened and not looked into: what is in them may
 *             come from somebody who means harm.
 *   promise   The host promises the guest's memory, or this run is refused while nobody has
 *             noticed it yet. The host file has a name, too. How much a snapshot's machine needs
 *             is not known before the snapshot is read, in the jail: the keeper outside the jail
 *             is then prepared to enter a promise, and nothing else, later.
 *   consoles  After all that is likely to fail, because opening them is seen: a terminal changes
 *             its mode, a socket appears.
 *   names     What else has a name: control socket, log, the other replica's address.
 *   jail      The door closes. From here on the process has no names, no network, no rights; each
 *             thread that starts gets the system calls of its role only. What is open now is all
 *             that there will ever be, so nothing above may move below this line. Nothing below
 *             can move above it, either: it is the first to look at what a stranger wrote.
 *   settle    The snapshot says which machine it is of; its memory is promised.
 *   create    The machine is made; kernel, snapshot or log is parsed.
 *   start     Threads: terminal, control, recorder. In the jail, so that their filters hold. Files
 *             of consoles lose their old content only here: a run that never came to be leaves
 *             them as they were.
 *
 * The end takes the same steps in reverse. Threads stop before the machine that they look at goes;
 * names are removed (by the keeper, where there is a jail) before the keeper goes; the process
 * outside, last, removes the control group. A step that fails half way is taken back like one that
 * succeeded, so each way back copes with what is not there.
 */
#include "host/bringup.h"

#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "host/exit.h"
#include "host/share.h"
#include "host/stop.h"

static const struct machine_opts *machine_options(const struct bringup *b)
{
	return b->opts ? b->opts : b->given;
}

static void nothing(void *ctx)
{
}

static int begin_up(struct bringup *b, struct err *err)
{
	share_jail_begin(&b->given->share, b->given->jail);
	stop_on_signals(b->role->quit ? b->role->quit : nothing, b->ctx);
	return 0;
}

static void begin_down(struct bringup *b)
{
	jail_end();
}

static int share_up(struct bringup *b, struct err *err)
{
	return machine_host_enter_share(b->given, err);
}

static void share_down(struct bringup *b)
{
	share_end(b->given->jail);
}

static int open_up(struct bringup *b, struct err *err)
{
	return b->role->open ? b->role->open(b->ctx, err)
			     : machine_host_open(&b->host, b->given, err);
}

static void open_down(struct bringup *b)
{
	if (b->role->close)
		b->role->close(b->ctx);
	machine_host_close(&b->host);
}

static int promise_up(struct bringup *b, struct err *err)
{
	return b->role->memory_later ? share_promise_later(&b->given->share, err)
				     : machine_host_promise(&b->host, &b->given->share, err);
}

static int consoles_up(struct bringup *b, struct err *err)
{
	void (*quit)(void *ctx) = b->role->escape_key ? b->role->quit : NULL;

	if (!b->role->consoles)
		return 0;
	return machine_host_open_consoles(&b->host, machine_options(b), quit, b->ctx, err);
}

static void consoles_down(struct bringup *b)
{
	machine_host_close_consoles(&b->host);
}

static int names_up(struct bringup *b, struct err *err)
{
	return b->role->names ? b->role->names(b->ctx, err) : 0;
}

static void names_down(struct bringup *b)
{
	if (b->role->unname)
		b->role->unname(b->ctx);
}

static int jail_up(struct bringup *b, struct err *err)
{
	struct jail_config c = { .without = machine_opts_jail_without(b->given) };
	int ret;

	if (b->role->jail)
		b->role->jail(b->ctx, &c);
	ret = machine_host_jail(&b->host, b->given->jail, &c, err);
	if (ret == 0 && b->role->jailed)
		b->role->jailed(b->ctx);
	return ret;
}

/* Out of a jail there is no way back; the guest memory that went along may not have been used. */
static void jail_down(struct bringup *b)
{
	memory_unprepare();
}

static int settle_up(struct bringup *b, struct err *err)
{
	return machine_host_settle(&b->host, &b->given->share, err);
}

static int create_up(struct bringup *b, struct err *err)
{
	struct output_sink sink;

	if (!b->role->sink)
		return 0;
	sink = b->role->sink(b->ctx);
	b->machine = machine_host_create(&b->host, &sink, err);
	if (!b->machine)
		return -err->code;
	return b->role->created ? b->role->created(b->ctx, err) : 0;
}

static void create_down(struct bringup *b)
{
	machine_destroy(b->machine);
	b->machine = NULL;
}

static int start_up(struct bringup *b, struct err *err)
{
	int ret = machine_host_start_consoles(&b->host, err);

	return ret || !b->role->start ? ret : b->role->start(b->ctx, err);
}

static void start_down(struct bringup *b)
{
	machine_host_stop_input(&b->host);
	if (b->role->stop)
		b->role->stop(b->ctx);
}

/* A promise ends with its process. */
static void nothing_down(struct bringup *b)
{
}

static const struct {
	int (*up)(struct bringup *b, struct err *err);
	void (*down)(struct bringup *b);
} steps[] = {
	{ begin_up, begin_down },     { share_up, share_down },	      { open_up, open_down },
	{ promise_up, nothing_down }, { consoles_up, consoles_down }, { names_up, names_down },
	{ jail_up, jail_down },	      { settle_up, nothing_down },    { create_up, create_down },
	{ start_up, start_down },
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* All steps up to the machine that is about to run; bringdown() is due whatever it returns. */
static int bringup(struct bringup *b, struct err *err)
{
	int ret = 0;

	for (b->reached = 0; ret == 0 && b->reached < STEPS; b->reached++)
		ret = steps[b->reached].up(b, err);
	return ret;
}

/* The way back from wherever bringup() came to. */
static void bringdown(struct bringup *b)
{
	stop_restore();
	while (b->reached > 0)
		steps[--b->reached].down(b);
}

int bringup_run(struct bringup *b, int (*run)(void *run_ctx), void *run_ctx)
{
	struct err err = ERR_INIT;
	int status = EXIT_USAGE;

	if (bringup(b, &err) < 0)
		log_error("%s", err.text);
	else
		status = run(run_ctx);
	bringdown(b);
	return status;
}

int bringup_run_vcpu(void *(*fn)(void *arg), void *arg)
{
	int error = thread_host(THREAD_VCPU, fn, arg, NULL);

	if (!error)
		return 0;
	log_error("cannot start the vCPU's thread: %s", strerror(error));
	return EXIT_ENGINE;
}
