// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replica_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "host/exit.h"
#include "host/replica_control.h"
#include "host/run_end.h"
#include "host/stop.h"

/* SIGINT and the console's escape key end the pair; a host that shuts down ends its own side. */
static void quit(void *replica_run)
{
	struct replica_run *r = replica_run;
	int sig = stop_signal();

	if (r->replica && (sig == SIGTERM || sig == SIGHUP))
		replica_leave(r->replica);
	else if (r->replica)
		replica_stop(r->replica);
}

/* The vCPU thread will not come back: nothing can be closed in order. */
static void abandon_process(void *replica_run)
{
	console_abandon();
	_exit(EXIT_FENCED);
}

/* ---- the steps (bringup.h) ---- */

static int open_machine(void *ctx, struct err *err)
{
	struct replica_run *r = ctx;
	int ret = r->backup ? machine_host_open_side(&r->up.host, &r->o->machine, err)
			    : machine_host_open(&r->up.host, &r->o->machine, err);

	return ret ? ret
		   : machine_host_keep_disks(&r->up.host, &r->o->machine,
					     r->backup ? DISK_KEEP_MAKE : DISK_KEEP_MAKE_ID, err);
}

/* Tells the replica of the disks that it has to keep in step. */
static void hand_over_disks(struct replica_run *r)
{
	struct disk_sync_disk disk[MACHINE_DISKS];
	struct machine_host *h = &r->up.host;

	for (unsigned i = 0; i < h->config.ndisks; i++)
		disk[i] = (struct disk_sync_disk){ h->disk[i], h->meta[i] };
	replica_set_disks(r->replica, disk, h->config.ndisks, &h->record);
}

/* The machine that the primary describes, on what this host has. */
static struct machine *create_machine(void *ctx, const struct machine_config *c,
				      const char *counter, const struct traits *traits,
				      const struct output_sink *sink, struct live_config *live,
				      struct err *err)
{
	struct replica_run *r = ctx;

	if (machine_host_fit(&r->up.host, c, err) ||
	    share_promise(&r->o->machine.share, c->memory, err) ||
	    machine_host_choose_engine(&r->up.host, counter, traits, err))
		return NULL;
	machine_host_live(&r->up.host, live);
	return machine_host_create(&r->up.host, sink, err);
}

static bool is_ours(void *ctx, const uint8_t id[ARBITER_ID_LEN])
{
	struct replica_run *r = ctx;

	return lineage_has(&r->lineage, id);
}

static struct peer *redial(void *ctx, struct err *err)
{
	struct replica_run *r = ctx;

	return dialler_dial(&r->dialler, err);
}

static void configure(struct replica_run *r)
{
	const struct replica_opts *o = &r->o->replica;

	r->cfg = (struct replica_config){ .listen = o->listen,
					  .connect = o->connect,
					  .timeout_ms = (unsigned)replica_opts_timeout(o),
					  .max_timeout_ms = (unsigned)replica_opts_max_timeout(o),
					  .hang_timeout_ms = (unsigned)o->hang_timeout_ms,
					  .max_lag_ms = (unsigned)o->max_lag_ms,
					  .max_stall_ms = (unsigned)o->max_stall_ms,
					  .min_speed = (unsigned)o->min_speed,
					  .epoch_ns = o->epoch_ms * 1000000,
					  .on_divergence = o->on_divergence,
					  .connect_wait_ms = (unsigned)o->connect_wait_ms,
					  .wait_for_backup = !r->backup && !o->no_wait,
					  .durable_both = o->durability == DURABLE_BOTH,
					  .disk_error_to_guest =
						  o->on_disk_error == DISK_ERROR_GUEST,
					  .force = o->force,
					  .max_pause_ms = (unsigned)o->max_pause_ms,
					  .join_timeout_ms = (unsigned)o->join_timeout_ms,
					  .sync_rate = o->sync_rate,
					  .scrub_ns = (uint64_t)(o->scrub_days * 86400e9),
					  .ours = is_ours,
					  .ours_ctx = r,
					  .create = create_machine,
					  .create_ctx = r,
					  .abandon = abandon_process };
	r->panic.action = r->o->machine.on_panic;
	r->cfg.live.panic = &r->panic;
	if (!r->backup)
		machine_host_live(&r->up.host, &r->cfg.live);
}

/* The descriptor stays open, and so the lock is held, for as long as this process can be live. */
static int enter_lineage(struct replica_run *r, struct err *err)
{
	const char *path = r->o->replica.lineage;
	int fd = path ? lineage_enter(&r->lineage, path, replica_id(r->replica), err) : 0;

	return fd < 0 ? fd : 0;
}

/* A pipe that nobody reads yet is opened all the same; nothing waits for who reads it. */
static FILE *open_events(const char *path, struct err *err)
{
	const int flags = O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, O_WRONLY | flags, 0666);
	FILE *f;

	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	f = fd >= 0 ? fdopen(fd, "a") : NULL;
	if (!f)
		err_set(err, errno, "cannot open event log '%s': %s", path, strerror(errno));
	if (!f && fd >= 0)
		close(fd);
	return f;
}

/* Key, arbiter, event log, control socket, and the ways to the other replica. */
static int open_names(void *ctx, struct err *err)
{
	struct replica_run *r = ctx;
	const struct replica_opts *o = &r->o->replica;
	struct replica_config *c = &r->cfg;

	configure(r);
	log_never_wait();
	if (o->key_file && !(r->key = peer_key_load(o->key_file, err)))
		return -err->code;
	if (o->connect && dialler_init(&r->dialler, o->connect, NULL) == 0) {
		c->redial = redial;
		c->redial_ctx = r;
	}
	if (!r->key)
		log_warn("--insecure: whoever reaches our port is believed, and can read and "
			 "change everything");
	if (o->rdma_clear) {
		log_warn("--rdma-clear: whoever is on the fabric can read and change everything "
			 "there: the guest's memory, its records, its packets");
		peer_rdma_allow_clear();
	}
	c->key = r->key;
	c->arbiter = arbiter_open(o->arbiter, err);
	if (!c->arbiter)
		return -err->code;
	if (o->events && !(c->events = open_events(o->events, err)))
		return -err->code;
	r->replica = replica_create(c, err);
	if (!r->replica || enter_lineage(r, err) < 0 || replica_control_open(r, err) < 0 ||
	    replica_listen(r->replica, err) < 0)
		return -err->code;
	if (stop_signal()) /* it came before there was anything to stop */
		replica_stop(r->replica);
	return r->backup ? replica_connect(r->replica, err) : 0;
}

/* Nothing asks the replica, or is asked by it, any more. */
static void end_replica(void *ctx)
{
	struct replica_run *r = ctx;

	replica_control_close(r);
	replica_destroy(r->replica);
	r->replica = NULL;
}

static void close_names(void *ctx)
{
	struct replica_run *r = ctx;

	end_replica(r);
	if (r->cfg.events)
		fclose(r->cfg.events);
	arbiter_close(r->cfg.arbiter);
	peer_key_free(r->key);
	lineage_free(&r->lineage);
}

/* The keeper asks the arbiter for a replica that has no names any more. */
static void fill_jail(void *ctx, struct jail_config *c)
{
	struct replica_run *r = ctx;

	r->post = arbiter_post(r->cfg.arbiter);
	c->service = &r->post;
	r->dial_post = dialler_post(&r->dialler);
	if (r->cfg.redial)
		c->dialler = &r->dial_post;
}

static void delegate(void *ctx)
{
	struct replica_run *r = ctx;

	r->dialler.keeper = jail_dialler();
	if (jail_service_keeper())
		arbiter_delegate(r->cfg.arbiter, jail_service_keeper());
}

static struct output_sink get_sink(void *ctx)
{
	struct replica_run *r = ctx;

	return replica_sink(r->replica);
}

static int start(void *ctx, struct err *err)
{
	struct replica_run *r = ctx;

	/* A terminal that was stopped, or a pipe that nobody reads, must not make a replica look
	 * dead. */
	machine_host_set_patience(&r->up.host, (int)r->cfg.timeout_ms / 8);
	hand_over_disks(r);
	return r->control ? control_start(r->control, err) : 0;
}

static const struct bringup_role primary_role = { .open = open_machine,
						  .names = open_names,
						  .unname = close_names,
						  .jail = fill_jail,
						  .jailed = delegate,
						  .sink = get_sink,
						  .start = start,
						  .stop = end_replica,
						  .quit = quit,
						  .consoles = true,
						  .escape_key = true };

/* A backup's machine comes from the primary, when it runs. */
static const struct bringup_role backup_role = { .open = open_machine,
						 .names = open_names,
						 .unname = close_names,
						 .jail = fill_jail,
						 .jailed = delegate,
						 .start = start,
						 .stop = end_replica,
						 .quit = quit,
						 .consoles = true,
						 .escape_key = true,
						 .memory_later = true };

/* ---- the run ---- */

struct vcpu_run {
	struct replica_run *r;
	struct err *err;
	int ret;
};

static void *vcpu_main(void *arg)
{
	struct vcpu_run *v = arg;
	struct replica_run *r = v->r;

	v->ret = r->backup ? replica_run_backup(r->replica, &r->end, v->err)
			   : replica_run_primary(r->replica, r->up.machine, &r->end, v->err);
	return NULL;
}

/* The replica's vCPU thread to its end: an errno, or r->end is what became of the machine. */
static int run_vcpu(struct replica_run *r, struct err *err)
{
	struct vcpu_run v = { .r = r, .err = err };
	int ret = thread_host(THREAD_VCPU, vcpu_main, &v, NULL);

	return ret ? err_set(err, ret, "cannot start the vCPU's thread: %s", strerror(ret)) : v.ret;
}

/* --stats, --json: of the machine as this replica knows it, from its first instruction on. */
static void summarize(const struct replica_run *r, int status)
{
	FILE *f = run_end_stream(r->o->machine.console);
	const struct machine *m = r->up.machine;
	struct engine *e = machine_engine(r->up.machine);
	struct run_summary s = { .end = r->end,
				 .status = status,
				 .count = e->ops->count(e),
				 .start = r->started_count,
				 .virtual_ns = machine_now(m),
				 .host_ns = host_mono_ns() - r->started_ns };

	if (r->o->json)
		run_summary_json(f, m, &s);
	else if (r->o->stats)
		run_summary_print(f, m, &s);
}

/* Exit status after run_vcpu() gave ret; says what went wrong. */
static int tell_end(struct replica_run *r, int ret, const struct err *err)
{
	struct replica_status s;

	replica_get_status(r->replica, &s);
	if (ret == -EILSEQ) {
		log_error("%s", err->text);
		return EXIT_DIVERGED;
	}
	if (s.state == REPLICA_FENCED)
		return s.divergence[0] ? EXIT_DIVERGED : EXIT_FENCED;
	if (ret < 0) {
		log_error("%s", err->text);
		return ret == -EIO ? EXIT_ENGINE : ret == -EBUSY ? EXIT_FENCED : EXIT_USAGE;
	}
	run_end_report(r->up.machine, r->end, err);
	ret = run_end_status(r->up.machine, r->end, stop_signal());
	ret = run_end_panic_status(r->up.machine, &r->panic, r->end, ret);
	summarize(r, ret);
	return ret;
}

static int execute(void *ctx)
{
	struct replica_run *r = ctx;
	struct err err = ERR_INIT;
	int ret = r->backup ? replica_join(r->replica, &r->up.machine, &err) : 0;

	jail_end_dialler();
	if (ret == 0) {
		r->started_ns = host_mono_ns();
		r->started_count =
			machine_engine(r->up.machine)->ops->count(machine_engine(r->up.machine));
		ret = run_vcpu(r, &err);
	}
	return tell_end(r, ret, &err);
}

int replica_run_live(struct replica_run *r)
{
	r->up = (struct bringup){ .role = r->backup ? &backup_role : &primary_role,
				  .ctx = r,
				  .given = &r->o->machine };
	return bringup_run(&r->up, execute, r);
}
