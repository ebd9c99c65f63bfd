// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control thread never touches the machine. It leaves a request, wakes the vCPU, and waits; the
 * vCPU thread serves requests when it makes its next sync point, where the machine's state is well
 * defined.
 */
#include "base/host_clock.h"
#include "host/guest_control.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "record/checkpoint.h"
#include "record/disk_file.h"
#include "host/machine_host.h"
#include "host/resize.h"
#include "host/run_end.h"

#define STATUS_WAIT_MS	 2000
#define SNAPSHOT_WAIT_MS 600000

/* Figures of the machine at one moment. */
struct glance {
	uint64_t count, virtual_ns, host_ns;
	struct live_stats live;
};

struct guest_control {
	struct guest_run *g;
	const char *kind;
	struct control *control;
	uint64_t started_ns, start_count;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool running, ended;

	bool wants_glance;
	struct glance glance;
	struct input pending; /* a control to enter at the next sync point; kind 0: none */

	int snapshot; /* descriptor to write to; -1: none asked for */
	bool flushing, snapshot_done;
	struct checkpoint_info info;
	struct err snapshot_err;
	uint64_t snapshot_ns;
};

/* ---- vCPU thread ---- */

static void take_glance(struct guest_control *c, struct machine *m)
{
	struct engine *e = machine_engine(m);

	c->glance = (struct glance){ .count = e->ops->count(e),
				     .virtual_ns = machine_now(m),
				     .host_ns = host_mono_ns() - c->started_ns };
	live_get_stats(c->g->live, &c->glance.live);
	c->wants_glance = false;
	pthread_cond_broadcast(&c->changed);
}

static size_t control_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct guest_control *c = ctx;
	size_t n = 0;

	pthread_mutex_lock(&c->lock);
	if (c->wants_glance)
		take_glance(c, m);
	if (c->pending.kind && n < max) {
		in[n++] = c->pending;
		c->pending.kind = 0;
		pthread_cond_broadcast(&c->changed);
	}
	if (c->snapshot >= 0 && !c->snapshot_done && n < max) {
		in[n++] = (struct input){ .kind = INPUT_FLUSH_TLB };
		c->flushing = true;
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* No input can enter, but questions can be answered, and a stop is granted without one. */
static bool control_spins(void *ctx, struct machine *m)
{
	struct guest_control *c = ctx;
	bool end;

	pthread_mutex_lock(&c->lock);
	if (c->wants_glance)
		take_glance(c, m);
	end = c->pending.kind == INPUT_CONTROL && c->pending.a == CONTROL_STOP;
	if (end) {
		c->pending.kind = 0;
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	return end;
}

static int export_disk(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	struct guest_control *c = ctx;
	struct disk_backend *d = c->g->up.host.disk[i];

	return d->readonly ? 0 : disk_overlay_export(d, out, err);
}

/*
 * The sync point with the flush was applied: this is the state that a restored machine starts from.
 */
static bool control_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	struct guest_control *c = ctx;
	struct checkpoint_write_options o = { .record = sp->seq,
					      .disk_export = export_disk,
					      .disk_ctx = c };
	uint64_t start = host_mono_ns();

	if (!c->flushing)
		return true;
	c->flushing = false;
	checkpoint_write_fd(c->snapshot, "the snapshot", m, &o, &c->info, &c->snapshot_err);
	pthread_mutex_lock(&c->lock);
	c->snapshot_ns = host_mono_ns() - start;
	c->snapshot_done = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return true;
}

/* ---- control thread ---- */

static void control_wake(struct guest_control *c)
{
	if (c->running && !c->ended)
		live_wake(c->g->live);
}

/* -EAGAIN: the reader of a console holds the machine up; -ETIMEDOUT: something else does. */
static int no_sync_point(struct guest_control *c, int ms, struct err *err)
{
	if (machine_host_console_waits(&c->g->up.host))
		return err_set(err, EAGAIN, "the machine waits until somebody reads its console");
	return err_set(err, ETIMEDOUT, "the machine did not come to a sync point within %d s",
		       ms / 1000);
}

/*
 * Lock held: waits until *flag is `value`, the machine ended, or time is up; no longer than
 * STATUS_WAIT_MS for a machine that itself waits for the reader of a console.
 */
static int control_wait(struct guest_control *c, const bool *flag, bool value, int ms,
			struct err *err)
{
	uint64_t step = STATUS_WAIT_MS * UINT64_C(1000000), now = host_mono_ns(),
		 end = now + (uint64_t)ms * 1000000;

	control_wake(c);
	for (; *flag != value && !c->ended && now < end; now = host_mono_ns()) {
		struct timespec until = host_timespec(end - now < step ? end : now + step);

		if (pthread_cond_timedwait(&c->changed, &c->lock, &until) == ETIMEDOUT &&
		    machine_host_console_waits(&c->g->up.host))
			break;
	}
	if (*flag == value)
		return 0;
	if (c->ended)
		return err_set(err, ESHUTDOWN, "the machine has ended");
	return no_sync_point(c, ms, err);
}

static void put_number(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_nic_errors(json_t *o, const struct live_stats *s, unsigned nnics)
{
	for (unsigned i = 0; i < nnics; i++) {
		char key[24];

		snprintf(key, sizeof(key), "nic%u_errors", i);
		put_number(o, key, s->nic_errors[i]);
	}
}

static void put_glance(json_t *o, const struct glance *g, uint64_t start, bool ended)
{
	uint64_t busy = g->host_ns > g->live.idle_ns ? g->host_ns - g->live.idle_ns : 0;

	json_object_set_new(o, "state", json_string(ended ? "ended" : "running"));
	put_number(o, "instructions", g->count);
	put_number(o, "virtual_ns", g->virtual_ns);
	put_number(o, "host_ns", g->host_ns);
	put_number(o, "idle_ns", g->live.idle_ns);
	json_object_set_new(o, "mips",
			    json_real(busy ? (double)(g->count - start) * 1e3 / (double)busy : 0));
	put_number(o, "sync_points", g->live.sync_points);
	put_number(o, "rx_packets", g->live.rx_packets);
	put_number(o, "rx_dropped", g->live.rx_dropped_host);
	put_number(o, "rx_unusable", g->live.rx_unusable);
	put_number(o, "tx_packets", g->live.tx_packets);
	put_number(o, "tx_errors", g->live.tx_errors);
	put_number(o, "nic_losses", g->live.nic_losses);
	put_number(o, "console_in", g->live.console_in);
	put_number(o, "console_out", g->live.console_out);
}

static int verb_status(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	bool stands;
	int ret;

	pthread_mutex_lock(&c->lock);
	c->wants_glance = true;
	ret = control_wait(c, &c->wants_glance, false, STATUS_WAIT_MS, err);
	/* A machine that waits for a reader stands where it stood at its last sync point. */
	stands = ret == -EAGAIN;
	if (stands)
		ret = 0;
	json_object_set_new(reply, "kind", json_string(c->kind));
	json_object_set_new(reply, "pid", json_integer(jail_pid()));
	json_object_set_new(reply, "panicked", json_boolean(atomic_load(&c->g->panic.seen)));
	put_number(reply, "memory", machine_get_config(c->g->up.machine)->memory);
	json_object_set_new(reply, "console_waits", json_boolean(stands));
	put_number(reply, "console_lost", machine_host_console_lost(&c->g->up.host));
	put_glance(reply, &c->glance, c->start_count, c->ended);
	put_nic_errors(reply, &c->glance.live, machine_get_config(c->g->up.machine)->nnics);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

/* Lock held: gives the machine one control at its next sync point. */
static int control_send_to(struct guest_control *c, enum control_command what, unsigned port,
			   uint64_t arg, struct err *err)
{
	uint64_t tries = STATUS_WAIT_MS / 10;

	c->pending =
		(struct input){ .kind = INPUT_CONTROL, .port = (uint8_t)port, .a = what, .b = arg };
	control_wake(c);
	while (c->pending.kind && !c->ended && tries--) {
		pthread_mutex_unlock(&c->lock);
		host_sleep_ns(10000000);
		pthread_mutex_lock(&c->lock);
	}
	if (!c->pending.kind)
		return 0;
	c->pending.kind = 0;
	return c->ended ? err_set(err, ESHUTDOWN, "the machine has ended")
			: no_sync_point(c, STATUS_WAIT_MS, err);
}

static int control_send(struct guest_control *c, enum control_command what, uint64_t arg,
			struct err *err)
{
	return control_send_to(c, what, 0, arg, err);
}

static int verb_stop(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	int ret;

	machine_host_set_patience(&c->g->up.host, 0); /* it may be waiting for one to be read */
	pthread_mutex_lock(&c->lock);
	ret = control_send(c, CONTROL_STOP, 0, err);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

static int verb_powerdown(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	int ret = machine_config_check_power_button(machine_get_config(c->g->up.machine), err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&c->lock);
	ret = control_send(c, CONTROL_POWER_BUTTON, 0, err);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

static int verb_balloon(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	const json_t *bytes = json_object_get(args, "bytes");
	uint64_t memory = machine_get_config(c->g->up.machine)->memory;
	json_int_t n = json_integer_value(bytes);
	int ret;

	ret = share_check_balloon(&c->g->o->machine.share, memory, json_is_integer(bytes) ? n : -1,
				  err);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&c->lock);
	ret = control_send(c, CONTROL_BALLOON, (uint64_t)n / PAGE_SIZE, err);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

static int verb_resize(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	struct disk_backend *const *disks = c->g->up.host.disk;
	struct resize r;
	int ret = resize_begin(&r, args, disks, c->g->o->machine.ndisks, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&c->lock);
	ret = control_send_to(c, CONTROL_DISK_GROW, r.disk, r.sectors, err);
	pthread_mutex_unlock(&c->lock);
	return ret < 0 ? ret : resize_end(&r, disks, reply, err);
}

/* A disk that is written in place changes under the snapshot. */
static int snapshot_check(const struct guest_control *c, struct err *err)
{
	struct stat st;

	if (control_passed(c->control) < 0 || fstat(control_passed(c->control), &st) ||
	    !S_ISREG(st.st_mode))
		return err_set(err, EINVAL,
			       "a snapshot needs a file, passed along as an open descriptor");
	for (unsigned i = 0; i < c->g->o->machine.ndisks; i++) {
		const struct disk_opt *d = &c->g->o->machine.disk[i];

		if (!d->readonly && !d->overlay)
			return err_set(
				err, EINVAL,
				"disk %u (%s) is written in place, so a snapshot would not fit it "
				"any more: start the machine with --disk %s,overlay or ,ro",
				i, d->path, d->path);
	}
	return 0;
}

/* Lock held. */
static int snapshot_take(struct guest_control *c, json_t *reply, struct err *err)
{
	int ret = control_wait(c, &c->snapshot_done, true, SNAPSHOT_WAIT_MS, err);

	if (ret < 0)
		return ret;
	if (c->snapshot_err.code) {
		*err = c->snapshot_err;
		return -err->code;
	}
	put_number(reply, "instructions", c->info.count);
	put_number(reply, "virtual_ns", c->info.ns);
	put_number(reply, "pages", c->info.pages);
	put_number(reply, "bytes", c->info.bytes);
	put_number(reply, "pause_ns", c->snapshot_ns);
	return 0;
}

static int verb_snapshot(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct guest_control *c = ctx;
	int ret = snapshot_check(c, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&c->lock);
	c->snapshot = control_passed(c->control);
	c->snapshot_err = (struct err)ERR_INIT;
	c->snapshot_done = false;
	ret = snapshot_take(c, reply, err);
	/* A sync point that is being applied still writes. */
	while (c->flushing && !c->snapshot_done && !c->ended)
		pthread_cond_wait(&c->changed, &c->lock);
	c->snapshot = -1;
	pthread_mutex_unlock(&c->lock);
	return ret;
}

static const struct control_verb verbs[] = {
	{ "status", verb_status },
	{ "stop", verb_stop },
	{ "powerdown", verb_powerdown },
	{ "snapshot", verb_snapshot },
	{ "balloon", verb_balloon },
	{ "resize", verb_resize },
	{ 0 },
};

/* ---- life ---- */

static struct guest_control *control_new(struct guest_run *g, const char *kind)
{
	struct guest_control *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->g = g;
	c->kind = kind;
	c->snapshot = -1;
	c->started_ns = host_mono_ns();
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

int guest_control_open(struct guest_control **gc, struct guest_run *g, const char *kind,
		       struct live_hooks_chain *hooks, struct err *err)
{
	struct live_hooks h = { .applied = control_applied,
				.inputs = control_inputs,
				.waits = true,
				.spins = control_spins };
	char *path = NULL;

	*gc = NULL;
	if (control_options_path(g->o->control, g->o->name, &path, err) < 0)
		return -err->code;
	if (!path)
		return 0;
	*gc = control_new(g, kind);
	if (*gc)
		(*gc)->control = control_open(path, verbs, *gc, err);
	else
		err_set(err, ENOMEM, "out of memory");
	free(path);
	if (!*gc || !(*gc)->control) {
		guest_control_close(*gc);
		*gc = NULL;
		return -err->code;
	}
	h.ctx = *gc;
	live_hooks_chain_add(hooks, &h);
	return 0;
}

int guest_control_start(struct guest_control *gc, struct err *err)
{
	if (!gc)
		return 0;
	pthread_mutex_lock(&gc->lock);
	gc->start_count =
		machine_engine(gc->g->up.machine)->ops->count(machine_engine(gc->g->up.machine));
	gc->running = true;
	pthread_mutex_unlock(&gc->lock);
	return control_start(gc->control, err);
}

void guest_control_close(struct guest_control *gc)
{
	if (!gc)
		return;
	pthread_mutex_lock(&gc->lock);
	gc->ended = true;
	pthread_cond_broadcast(&gc->changed);
	pthread_mutex_unlock(&gc->lock);
	control_close(gc->control);
	pthread_cond_destroy(&gc->changed);
	pthread_mutex_destroy(&gc->lock);
	free(gc);
}
