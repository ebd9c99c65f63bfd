// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_run.h"

#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/exit.h"
#include "host/guest_control.h"
#include "host/profile.h"
#include "host/run_end.h"
#include "host/stop.h"

#define CONSOLE_WAIT_MS 100 /* who reads a console may hold up a guest for so long */

void guest_run_stop(void *guest_run)
{
	struct guest_run *g = guest_run;

	if (g->live)
		live_stop(g->live);
}

static void close_control(struct guest_run *g)
{
	guest_control_close(g->control);
	g->control = NULL;
}

struct execution {
	struct guest_run *g;
	struct err err;
};

static void *execute(void *arg)
{
	struct execution *x = arg;

	x->g->end = machine_run(x->g->up.machine, live_source(x->g->live), &x->err);
	return NULL;
}

int guest_run_execute(struct guest_run *g)
{
	struct execution x = { .g = g, .err = ERR_INIT };
	struct run_summary s = { .host_ns = host_mono_ns() };
	struct engine *e = machine_engine(g->up.machine);
	struct live_stats ls;

	s.start = e->ops->count(e);
	s.status = bringup_run_vcpu(execute, &x);
	if (s.status)
		return s.status;
	s.end = g->end;
	s.host_ns = host_mono_ns() - s.host_ns;
	close_control(g); /* nobody asks a machine that has ended */
	s.status = run_end_status(g->up.machine, s.end, stop_signal());
	s.status = run_end_panic_status(g->up.machine, &g->panic, s.end, s.status);
	s.count = e->ops->count(e);
	s.virtual_ns = machine_now(g->up.machine);
	live_get_stats(g->live, &ls);
	s.idle_ns = ls.idle_ns;
	run_end_report(g->up.machine, s.end, &x.err);
	if (g->profile && profile_write(g->profile, &x.err) < 0)
		log_error("%s", x.err.text);
	if (g->o->json)
		run_summary_json(g->report, g->up.machine, &s);
	else if (g->o->stats)
		run_summary_print(g->report, g->up.machine, &s);
	return s.status;
}

/* ---- the steps that run and record share ---- */

/* A disk of a pair's may be among those that this machine writes. */
static int open_machine(void *ctx, struct err *err)
{
	struct guest_run *g = ctx;
	struct machine_host *h = &g->up.host;
	int ret = machine_host_open(h, &g->o->machine, err);

	h->alone = true;
	h->force = g->o->replica.force;
	return ret ? ret : machine_host_keep_disks(h, &g->o->machine, DISK_KEEP_LEAVE, err);
}

static int open_names(void *ctx, struct err *err)
{
	struct guest_run *g = ctx;
	const struct options *o = g->o;
	int ret = guest_control_open(&g->control, g, g->role->kind, &g->hooks, err);

	if (ret == 0 && (o->profile || o->symbols))
		ret = profile_open(&g->profile, o->profile, o->symbols, o->profile_every, err);
	return ret || !g->role->names ? ret : g->role->names(g->ctx, err);
}

static void close_names(void *ctx)
{
	struct guest_run *g = ctx;

	close_control(g);
	profile_close(g->profile);
	g->profile = NULL;
	if (g->role->unname)
		g->role->unname(g->ctx);
}

static void fill_jail(void *ctx, struct jail_config *c)
{
	struct guest_run *g = ctx;

	c->file_size = g->role->writes_log ? UINT64_MAX : 0;
}

static void tell_panic(void *ctx, const char *text)
{
	log_warn("%s", text);
}

static struct output_sink get_sink(void *ctx)
{
	struct guest_run *g = ctx;

	g->panic.action = g->o->machine.on_panic;
	g->panic.tell = tell_panic;
	g->sink.panic = &g->panic;

	return live_sink_ops(&g->sink);
}

static int created(void *ctx, struct err *err)
{
	struct guest_run *g = ctx;

	return g->role->created ? g->role->created(g->ctx, err) : 0;
}

static int start(void *ctx, struct err *err)
{
	struct guest_run *g = ctx;

	if (profile_start(g->profile, machine_engine(g->up.machine), err) < 0)
		return -err->code;
	machine_host_live(&g->up.host, &g->live_config);
	/* A guest that nobody hears goes on; one whose time stands still meanwhile can wait. */
	if (g->live_config.clock == LIVE_CLOCK_HOST)
		machine_host_set_patience(&g->up.host, CONSOLE_WAIT_MS);
	g->live_config.panic = &g->panic;
	g->live_config.hooks = live_hooks_chain_ops(&g->hooks);
	g->live = live_create(&g->live_config, g->up.machine, err);
	if (!g->live)
		return -err->code;
	live_sink_attach(&g->sink, g->live);
	if (guest_control_start(g->control, err) < 0)
		return -err->code;
	if (stop_signal()) /* it came before there was anything to stop */
		live_stop(g->live);
	return g->role->started ? g->role->started(g->ctx, err) : 0;
}

static void stop(void *ctx)
{
	struct guest_run *g = ctx;

	close_control(g);
	live_sink_attach(&g->sink, NULL);
	live_destroy(g->live);
	g->live = NULL;
	if (g->role->stopped)
		g->role->stopped(g->ctx);
}

static const struct bringup_role bringup_role = { .open = open_machine,
						  .names = open_names,
						  .unname = close_names,
						  .jail = fill_jail,
						  .sink = get_sink,
						  .created = created,
						  .start = start,
						  .stop = stop,
						  .quit = guest_run_stop,
						  .consoles = true,
						  .escape_key = true };

int guest_run_live(struct guest_run *g, int (*run)(void *ctx))
{
	g->up = (struct bringup){ .role = &bringup_role, .ctx = g, .given = &g->o->machine };
	g->report = run_end_stream(g->o->machine.console);
	return bringup_run(&g->up, run, g->ctx);
}
