// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replica_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "base/version.h"
#include "host/resize.h"
#include "host/run_end.h"

#define SWITCH_NS     8000000000ull /* after that it is not wanted any more */
#define SWITCH_NAP_NS 2000000

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_last_failover(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	put(o, "count", s->failovers);
	json_object_set_new(o, "ms", json_real(s->last_failover_ms));
	json_object_set_new(reply, "failover", o);
}

static void put_last_switch(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	put(o, "count", s->switches);
	json_object_set_new(o, "ms", json_real(s->last_switch_ms));
	json_object_set_new(reply, "switch", o);
}

/* Memory that goes ahead to a joining backup. */
static void put_memory(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	put(o, "memory_bytes", s->memory_bytes);
	put(o, "memory_sent", s->memory_sent);
	put(o, "memory_kept", s->memory_kept);
	put(o, "memory_left", s->memory_left);
	put(o, "memory_bytes_s", s->memory_bytes_s);
	put(o, "dirty_bytes_s", s->dirty_bytes_s);
	json_object_set_new(o, "guest_share", json_real(s->guest_share));
	json_object_set_new(reply, "join", o);
}

/* Disks that are being made equal. */
static void put_sync(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	put(o, "bytes", s->sync_bytes);
	if (s->primary) {
		put(o, "left", s->sync_left);
		json_object_set_new(o, "bytes_s", json_real(s->sync_bytes_s));
		if (s->sync_bytes_s > 0)
			json_object_set_new(o, "left_s",
					    json_real((double)s->sync_left / s->sync_bytes_s));
	}
	json_object_set_new(reply, "sync", o);
}

static void put_move(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "to", json_string(s->move_to));
	json_object_set_new(o, "stage", json_string(s->move_stage));
	if (s->move_why[0])
		json_object_set_new(o, "why", json_string(s->move_why));
	json_object_set_new(reply, "move", o);
}

static void put_divergence(json_t *reply, const struct replica_status *s)
{
	json_t *o = json_object();

	put(o, "count", s->divergence_count);
	json_object_set_new(o, "rip",
			    json_sprintf("0x%llx", (unsigned long long)s->divergence_rip));
	json_object_set_new(o, "differs", json_string(s->divergence));
	json_object_set_new(reply, "divergence", o);
}

/* The comparison of disks that is under way, or the last one. */
static void put_verify(json_t *reply, const struct verify_progress *p)
{
	json_t *o = json_object(), *found = json_array();

	json_object_set_new(o, "running", json_boolean(p->running));
	put(o, "blocks", p->blocks);
	put(o, "compared", p->compared);
	put(o, "differing", p->differing);
	put(o, "mended", p->mended);
	if (p->error[0])
		json_object_set_new(o, "error", json_string(p->error));
	for (uint64_t i = 0; i < p->differing && i < VERIFY_FOUND; i++)
		json_array_append_new(
			found, json_pack("{s:i, s:I}", "disk", (int)p->found[i].disk, "offset",
					 (json_int_t)(p->found[i].block * DISK_META_BLOCK)));
	json_object_set_new(o, "found", found);
	json_object_set_new(reply, "verify", o);
}

static void put_snapshot(json_t *reply, const struct snapshot_progress *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "stage", json_string(snapshot_stage_name(p->stage)));
	put(o, "number", p->number);
	if (p->stage == SNAPSHOT_FAILED)
		json_object_set_new(o, "why", json_string(p->why));
	if (p->stage == SNAPSHOT_DONE) {
		put(o, "instructions", p->info.count);
		put(o, "virtual_ns", p->info.ns);
		put(o, "record", p->info.record);
		put(o, "pages", p->info.pages);
		put(o, "bytes", p->info.bytes);
		put(o, "pause_ns", p->pause_ns);
	}
	json_object_set_new(reply, "snapshot", o);
}

static int verb_status(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct snapshot_progress snapshot;
	struct verify_progress verified;
	struct replica_status s;

	replica_get_status(r->replica, &s);
	replica_snapshot_progress(r->replica, &snapshot);
	replica_verify_progress(r->replica, &verified);
	json_object_set_new(reply, "state", json_string(replica_state_name(s.state)));
	json_object_set_new(reply, "role", json_string(s.primary ? "primary" : "backup"));
	json_object_set_new(reply, "live", json_boolean(s.live));
	json_object_set_new(reply, "version", json_string(twinstep_version));
	put(reply, "generation", s.generation);
	put(reply, "console_lost", machine_host_console_lost(&r->up.host));
	put(reply, "log_lost", log_lost());
	put(reply, "events_lost", s.events_lost);
	json_object_set_new(reply, "panicked", json_boolean(atomic_load(&r->panic.seen)));
	if (s.peer[0])
		json_object_set_new(reply, "peer", json_string(s.peer));
	if (s.peer_version[0])
		json_object_set_new(reply, "peer_version", json_string(s.peer_version));
	if (s.path[0])
		json_object_set_new(reply, "path", json_string(s.path));
	if (s.path_why[0])
		json_object_set_new(reply, "path_why", json_string(s.path_why));
	put(reply, "instructions", s.instructions);
	put(reply, "virtual_ns", s.virtual_ns);
	put(reply, "records", s.records);
	put(reply, "acknowledged", s.acked);
	put(reply, "applied", s.applied);
	put(reply, "lag_records", s.records > s.applied ? s.records - s.applied : 0);
	json_object_set_new(reply, "lag_ms", json_real(s.lag_ms));
	json_object_set_new(reply, "ack_us", json_real(s.ack_us));
	put(reply, "timeout_ms", s.timeout_ms);
	put(reply, "log_bytes", s.log_bytes);
	json_object_set_new(reply, "log_bytes_s", json_real(s.log_bytes_s));
	put(reply, "outputs_held", s.outputs_held);
	put(reply, "outputs_released", s.outputs_released);
	put(reply, "digests_compared", s.digests);
	put(reply, "paced_ms", s.paced_ms);
	json_object_set_new(reply, "vcpu_ms", json_real(s.vcpu_ms));
	if (s.peer[0])
		json_object_set_new(reply, "peer_vcpu_ms", json_real(s.peer_vcpu_ms));
	if (s.syncing)
		put_sync(reply, &s);
	if (s.syncing && s.primary)
		put_memory(reply, &s);
	if (s.join_pause_ms > 0)
		json_object_set_new(reply, "join_pause_ms", json_real(s.join_pause_ms));
	put_last_failover(reply, &s);
	if (s.healed)
		put(reply, "generations_healed", s.healed);
	if (s.switches)
		put_last_switch(reply, &s);
	if (s.move_stage[0])
		put_move(reply, &s);
	if (s.divergence[0])
		put_divergence(reply, &s);
	if (verified.known)
		put_verify(reply, &verified);
	if (snapshot.stage != SNAPSHOT_NOT)
		put_snapshot(reply, &snapshot);
	return 0;
}

static int verb_stop(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct replica_status s;

	replica_get_status(r->replica, &s);
	if (!s.primary && s.state != REPLICA_CLAIMING)
		return err_set(err, EPERM,
			       "this replica is not live: the pair is stopped at the other one");
	replica_stop(r->replica);
	return 0;
}

/* Turns the result of a control that was given to the replica into an answer. */
static int control_answer(int ret, struct err *err)
{
	if (ret == -EPERM)
		return err_set(err, EPERM, "this replica is not live: ask the other one");
	return ret < 0 ? err_set(err, -ret, "too many requests wait") : 0;
}

/* Waits for the end of a switch: the guest stands still for milliseconds, a backup may be behind.
 */
static int wait_for_switch(struct replica_run *r, uint64_t before, struct replica_status *s,
			   struct err *err)
{
	uint64_t until = host_mono_ns() + SWITCH_NS;

	do {
		host_sleep_ns(SWITCH_NAP_NS);
		replica_get_status(r->replica, s);
		if (s->switches != before)
			return 0;
	} while (host_mono_ns() < until &&
		 (s->state == REPLICA_PROTECTED || s->state == REPLICA_HANDING_OVER));
	replica_switch_not(r->replica);
	return err_set(err, ETIMEDOUT, "the backup has not taken over: this replica is %s",
		       replica_state_name(s->state));
}

static int verb_switch(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct replica_status s;
	uint64_t before;
	int ret;

	replica_get_status(r->replica, &s);
	before = s.switches;
	ret = replica_switch(r->replica);
	if (ret == -EPERM)
		return err_set(err, EPERM, "this replica is not live: ask the other one");
	if (ret < 0)
		return err_set(err, -ret, "no backup is protecting the guest that could take over");
	ret = wait_for_switch(r, before, &s, err);
	if (ret < 0)
		return ret;
	put(reply, "generation", s.generation);
	json_object_set_new(reply, "pause_ms", json_real(s.last_switch_ms));
	return 0;
}

/*
 * {"command": "migrate", "to": ADDR} with a connection to it: the guest is to move there; with
 * "cancel": true it is not. What comes of it is in the status.
 */
static int verb_migrate(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	const char *to = json_string_value(json_object_get(args, "to"));
	struct stat st;

	if (json_is_true(json_object_get(args, "cancel"))) {
		replica_move_not(r->replica);
		return 0;
	}
	if (!to || control_passed(r->control) < 0 || fstat(control_passed(r->control), &st) ||
	    !S_ISSOCK(st.st_mode))
		return err_set(err, EINVAL,
			       "'to' must be an address, with a connection to it passed along");
	return replica_move(r->replica, control_take_passed(r->control), to, err);
}

/*
 * A backup begins a snapshot into the file that came along; "number" tells which one of those in
 * the status that is.
 */
static int verb_snapshot(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct replica_status s;
	uint64_t number;
	struct stat st;
	int ret;

	replica_get_status(r->replica, &s);
	if (s.primary && s.peer[0])
		return err_set(err, EPERM,
			       "this replica is live: its backup, %s, takes the snapshot, and the "
			       "guest need not wait",
			       s.peer);
	if (control_passed(r->control) < 0 || fstat(control_passed(r->control), &st) ||
	    !S_ISREG(st.st_mode))
		return err_set(err, EINVAL,
			       "a snapshot needs a file, passed along as an open descriptor");
	ret = replica_snapshot(r->replica, control_passed(r->control), &number, err);
	if (ret < 0)
		return ret;
	control_take_passed(r->control);
	put(reply, "number", number);
	return 0;
}

/* A backup goes, and the live side goes on without it; one that is live has `stop` and `switch`. */
static int verb_leave(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct replica_status s;

	replica_get_status(r->replica, &s);
	if (s.primary || s.state == REPLICA_CLAIMING || s.state == REPLICA_TAKING_OVER)
		return err_set(err, EPERM, "this replica is not a backup");
	replica_leave(r->replica);
	return 0;
}

static int verb_powerdown(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;

	if (r->up.machine) { /* a backup that joins has none, and is not live */
		int ret = machine_config_check_power_button(machine_get_config(r->up.machine), err);

		if (ret < 0)
			return ret;
	}
	return control_answer(replica_control(r->replica, CONTROL_POWER_BUTTON, 0, 0), err);
}

static int verb_balloon(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	json_int_t bytes = json_integer_value(json_object_get(args, "bytes"));
	int ret;

	if (!json_is_integer(json_object_get(args, "bytes")))
		bytes = -1;
	if (r->up.machine) { /* a backup that joins has none, and is not live */
		ret = share_check_balloon(&r->o->machine.share,
					  machine_get_config(r->up.machine)->memory, bytes, err);
		if (ret < 0)
			return ret;
	}
	return control_answer(
		replica_control(r->replica, CONTROL_BALLOON, 0, (uint64_t)bytes / PAGE_SIZE), err);
}

/* The backup's image grows when it applies the record, or that is its end. */
static int verb_resize(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	struct replica_status s;
	struct resize to = { 0 };
	int ret;

	replica_get_status(r->replica, &s);
	if (!s.live)
		return control_answer(-EPERM, err);
	if (replica_grow_begin(r->replica) < 0)
		return err_set(err, EBUSY,
			       "a backup is joining: a disk grows before or after that");
	ret = resize_begin(&to, args, r->up.host.disk, r->up.host.config.ndisks, err);
	replica_grow_end(r->replica, to.disk, ret == 0 ? to.sectors : 0);
	if (ret == 0)
		ret = control_answer(
			replica_control(r->replica, CONTROL_DISK_GROW, to.disk, to.sectors), err);
	return ret < 0 ? ret : resize_end(&to, r->up.host.disk, reply, err);
}

/*
 * {"command": "fault", "kind": "memory"|"register", "bit": N}: for tests of divergence detection;
 * {"command": "fault", "kind": "hang", "ms": N}: the vCPU's thread hangs, with 0 for ever.
 */
static int verb_fault(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	struct replica_run *r = ctx;
	const char *kind = json_string_value(json_object_get(args, "kind"));
	json_int_t bit = json_integer_value(json_object_get(args, "bit"));
	json_int_t ms = json_integer_value(json_object_get(args, "ms"));

	if (kind && !strcmp(kind, "hang") && ms >= 0 && ms <= 3600000) {
		replica_inject_hang(r->replica, (uint64_t)ms);
		return 0;
	}
	if (!kind || (strcmp(kind, "memory") && strcmp(kind, "register")) || bit < 0)
		return err_set(
			err, EINVAL,
			"'kind' must be memory or register and 'bit' a number, or hang and 'ms'");
	replica_inject_fault(r->replica,
			     strcmp(kind, "memory") ? CONTROL_FLIP_REG : CONTROL_FLIP_BIT,
			     (uint64_t)bit);
	return 0;
}

/* {"command": "verify", "disk": N (or all), "mend": "no"|"live"|"backup"} */
static int verb_verify(void *ctx, const json_t *args, json_t *reply, struct err *err)
{
	const char *mend = json_string_value(json_object_get(args, "mend"));
	const json_t *disk = json_object_get(args, "disk");
	struct replica_run *r = ctx;
	unsigned how = 0;

	while (mend && how < VERIFY_MEND_KINDS && strcmp(mend, verify_mend_names[how]))
		how++;
	if (how == VERIFY_MEND_KINDS ||
	    (disk && (!json_is_integer(disk) || json_integer_value(disk) < 0 ||
		      json_integer_value(disk) >= MACHINE_DISKS)))
		return err_set(err, EINVAL,
			       "'disk' must be the number of a disk, 'mend' no, live or backup");
	return replica_verify(r->replica, disk ? (unsigned)json_integer_value(disk) : VERIFY_DISKS,
			      (enum verify_mend)how, err);
}

static const struct control_verb verbs[] = {
	{ "switch", verb_switch },	 { "status", verb_status },	{ "stop", verb_stop },
	{ "powerdown", verb_powerdown }, { "balloon", verb_balloon },	{ "resize", verb_resize },
	{ "fault", verb_fault },	 { "verify", verb_verify },	{ "migrate", verb_migrate },
	{ "leave", verb_leave },	 { "snapshot", verb_snapshot }, { 0 },
};

int replica_control_open(struct replica_run *r, struct err *err)
{
	char *path;
	int ret = control_options_path(r->o->control, r->o->name, &path, err);

	if (ret < 0 || !path)
		return ret;
	r->control = control_open(path, verbs, r, err);
	free(path);
	return r->control ? 0 : -err->code;
}

void replica_control_close(struct replica_run *r)
{
	control_close(r->control);
	r->control = NULL;
}
