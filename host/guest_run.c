// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_run.h"

#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "host/exit.h"
#include "host/guest_control.h"
#include "host/run_end.h"
#include "host/stop.h"

void guest_run_stop(void *guest_run)
{
	struct guest_run *g = guest_run;

	if (g->live)
		live_stop(g->live);
}

void guest_run_choose_report(struct guest_run *g)
{
	g->report = strcmp(g->opts.console, "stdio") ? stdout : stderr;
}

int guest_run_open(struct guest_run *g, const char *kind, struct err *err)
{
	int ret = machine_host_enter_share(&g->opts, err);

	if (ret == 0)
		ret = machine_host_open(&g->host, &g->opts, err);
	if (ret == 0)
		ret = machine_host_promise(&g->host, &g->opts.share, err);
	if (ret == 0)
		ret = machine_host_open_consoles(&g->host, &g->opts, guest_run_stop, g, err);
	if (ret == 0)
		ret = guest_control_open(&g->control, g, kind, &g->control_opts, &g->hooks, err);
	return ret;
}

int guest_run_jail(struct guest_run *g, struct err *err)
{
	const struct jail_config jail = { .service_fd = -1,
					  .file_size = g->writes_log ? UINT64_MAX : 0,
					  .without = machine_opts_jail_without(&g->opts) };
	struct output_sink sink = live_sink_ops(&g->sink);
	int ret = machine_host_jail(&g->host, g->opts.jail, &jail, err);

	if (ret == 0)
		ret = machine_host_settle(&g->host, &g->opts.share, err);
	if (ret)
		return ret;
	g->machine = machine_host_create(&g->host, &sink, err);
	return g->machine ? 0 : -err->code;
}

int guest_run_take(struct guest_run *g, int opt, const char *arg, struct err *err)
{
	int ret = machine_opts_take(&g->opts, opt, arg, err);

	if (ret)
		return ret;
	switch (opt) {
	case OPT_RUN_STATS:
		g->stats = true;
		return 1;
	case OPT_RUN_JSON:
		g->json = true;
		return 1;
	case OPT_RUN_CONTROL:
		g->control_opts.path = arg;
		return 1;
	case OPT_RUN_NAME:
		g->control_opts.name = g->opts.share.name = arg;
		return 1;
	default:
		return 0;
	}
}

void guest_run_help(FILE *f)
{
	fputs("  --stats                 print instructions, speed and exits by kind at the end\n"
	      "  --json                  the same as lines of JSON\n"
	      "  --name NAME             answers `twinstep status NAME`, stop, snapshot and "
	      "balloon\n"
	      "  --control PATH          the same, at a socket of this path\n",
	      f);
}

int guest_run_start(struct guest_run *g, struct live_config *c, struct err *err)
{
	int ret = machine_host_start_consoles(&g->host, err);

	if (ret)
		return ret;
	machine_host_live(&g->host, c);
	c->hooks = live_hooks_chain_ops(&g->hooks);
	g->live = live_create(c, g->machine, err);
	if (!g->live)
		return -err->code;
	live_sink_attach(&g->sink, g->live);
	if (guest_control_start(g->control, err) < 0)
		return -err->code;
	if (stop_signal()) /* it came before there was anything to stop */
		live_stop(g->live);
	return 0;
}

struct execution {
	struct guest_run *g;
	struct err err;
};

static void *execute(void *arg)
{
	struct execution *x = arg;

	x->g->end = machine_run(x->g->machine, live_source(x->g->live), &x->err);
	return NULL;
}

int guest_run_execute(struct guest_run *g)
{
	struct execution x = { .g = g, .err = ERR_INIT };
	struct run_summary s = { .host_ns = monotonic_ns() };
	struct engine *e = machine_engine(g->machine);
	struct live_stats ls;

	s.start = e->ops->count(e);
	if ((s.status = thread_host(THREAD_VCPU, execute, &x, NULL))) {
		log_error("cannot start the vCPU's thread: %s", strerror(s.status));
		return EXIT_ENGINE;
	}
	s.end = g->end;
	s.host_ns = monotonic_ns() - s.host_ns;
	guest_control_close(g->control); /* nobody asks a machine that has ended */
	g->control = NULL;
	s.status = run_end_status(g->machine, s.end, stop_signal());
	s.count = e->ops->count(e);
	s.virtual_ns = machine_now(g->machine);
	live_get_stats(g->live, &ls);
	s.idle_ns = ls.idle_ns;
	run_end_report(g->machine, s.end, &x.err);
	if (g->json)
		run_summary_json(g->report, g->machine, &s);
	else if (g->stats)
		run_summary_print(g->report, g->machine, &s);
	return s.status;
}

void guest_run_close(struct guest_run *g)
{
	stop_restore();
	guest_control_close(g->control);
	g->control = NULL;
	machine_host_stop_input(&g->host);
	live_sink_attach(&g->sink, NULL);
	live_destroy(g->live);
	machine_destroy(g->machine);
	machine_host_close(&g->host);
	share_end(g->opts.jail);
	machine_opts_free(&g->opts);
	jail_end();
}
