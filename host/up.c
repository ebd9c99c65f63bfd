// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/up.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/exit.h"
#include "host/notify.h"
#include "host/supervise.h"
#include "host/up_private.h"

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000
#define BARRED_MS    10000 /* until being primary is tried again after it was refused */
#define END_MS	     10000 /* for a replica to end in order */

/* ---- what others see ---- */

static const char *phase_of(const struct up *u)
{
	if (!u->child)
		return u->stopping ? "ending" : "waiting";
	return u->live ? "live" : u->backup ? "backup" : "starting";
}

static void put_webhook(const struct up *u, json_t *o)
{
	struct webhook_count c;

	if (!u->events.webhook)
		return;
	webhook_counted(u->events.webhook, &c);
	json_object_set_new(o, "webhook",
			    json_pack("{s:I, s:I}", "delivered", (json_int_t)c.delivered, "lost",
				      (json_int_t)c.lost));
}

static void show_state(const struct up *u)
{
	json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:I}", "phase", phase_of(u), "pid",
			      (int)getpid(), "replica", (int)u->child, "why",
			      u->child ? "" : u->why, "since", (json_int_t)time(NULL));

	if (u->conf)
		json_object_set_new(o, "conf", json_string(u->conf));
	put_webhook(u, o);
	run_dir_put_state(&u->dir, o);
	json_decref(o);
	notify_send("STATUS=%s%s%s", phase_of(u), u->child ? "" : ": ", u->child ? "" : u->why);
}

/* ---- the replica ---- */

static void seen_event(void *ctx, const char *event)
{
	struct up *u = ctx;

	if (!strcmp(event, "start") || !strcmp(event, "live"))
		u->live = u->began = true;
	if (!strcmp(event, "transferred"))
		u->joined = true;
	if (!strcmp(event, "fenced"))
		u->live = false;
	show_state(u);
}

static bool ended_in_order(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	return code >= 0 && code != EXIT_FENCED && code != EXIT_ENGINE && code != EXIT_USAGE &&
	       code != EXIT_DIVERGED && code != EXIT_RESET && code != 127;
}

/* The next one waits longer when this one came to nothing. */
static void plan_next(struct up *u, bool good)
{
	uint64_t now = host_mono_ms();

	u->pause_ms = good ? PAUSE_MIN_MS : u->pause_ms * 2;
	if (u->pause_ms > PAUSE_MAX_MS)
		u->pause_ms = PAUSE_MAX_MS;
	u->next_ms = now + u->pause_ms;
	if (good)
		u->lead_since_ms = 0;
}

static void child_ended(struct up *u, int status)
{
	const char *role = u->backup ? "backup" : "primary";
	bool good = u->began || u->joined;

	up_events_read(&u->events, seen_event, u);
	good |= u->began || u->joined;
	up_console_unplug(&u->console);
	u->child = 0;
	u->live = false;
	u->why[0] = 0;
	if (WIFSIGNALED(status))
		up_event(&u->events, "ended", "the replica (%s) was ended by signal %d", role,
			 WTERMSIG(status));
	else
		up_event(&u->events, "ended", "the replica (%s) ended with status %d", role,
			 WEXITSTATUS(status));
	if (!u->backup && !u->began)
		u->barred_until_ms = host_mono_ms() + BARRED_MS;
	if (u->stopping)
		u->status = 0;
	else if (ended_in_order(status))
		u->status = WEXITSTATUS(status);
	plan_next(u, good);
	show_state(u);
}

static void reap(struct up *u)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == u->child)
			child_ended(u, status);
		else
			up_events_hook_ended(&u->events);
	}
}

/* ---- which one to start ---- */

static void say_waiting(struct up *u, const char *why)
{
	if (!strcmp(u->why, why))
		return;
	snprintf(u->why, sizeof(u->why), "%.*s", (int)sizeof(u->why) - 1, why);
	up_event(&u->events, "waiting", "%s", why);
	show_state(u);
}

static void consider(struct up *u)
{
	struct err err = ERR_INIT;
	const char *why;
	enum role role;

	up_look_around(u);
	role = role_decide(&u->facts, &why);
	if (role == ROLE_WAIT) {
		if (u->facts.known)
			say_waiting(u, why);
		u->next_ms = host_mono_ms() + (u->pause_ms < 500 ? u->pause_ms * 2 : 500);
		return;
	}
	if (up_child_start(u, role, &err) < 0) {
		say_waiting(u, err.text);
		plan_next(u, false);
		return;
	}
	u->forced |= role == ROLE_PRIMARY && u->facts.force;
	u->why[0] = 0;
	up_event(&u->events, "role", "begins as %s after generation %llu",
		 role == ROLE_PRIMARY ? "primary" : "backup", (unsigned long long)u->facts.last);
	show_state(u);
}

/* ---- the end ---- */

/* A live replica that is protected leaves the guest to the other side; else the guest ends. */
static void end_child(struct up *u)
{
	up_event(&u->events, "down", "ends this host's replica, which is %s",
		 u->live ? "live" : "not live");
	kill(u->child, SIGTERM);
	u->kill_at_ms = host_mono_ms() + END_MS;
}

static void take_signals(struct up *u)
{
	struct signalfd_siginfo si;

	while (read(u->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		if (u->stopping && u->child) /* asked twice */
			kill(u->child, SIGKILL);
		else if (u->child)
			end_child(u);
		else
			u->status = 0;
		u->stopping = true;
		notify_send("STOPPING=1");
	}
	reap(u);
}

/* ---- the loop ---- */

static int time_left(const struct up *u)
{
	uint64_t now = host_mono_ms(), at = u->child ? u->kill_at_ms : u->next_ms;

	if (u->child && !at)
		return 1000;
	return at <= now ? 0 : at - now > 1000 ? 1000 : (int)(at - now);
}

static void wait_for_something(struct up *u)
{
	struct pollfd fd[2 + UP_CONSOLE_FDS] = { { .fd = u->signals, .events = POLLIN },
						 { .fd = u->events.pipe, .events = POLLIN } };

	up_console_poll(&u->console, fd + 2);
	if (poll(fd, 2 + UP_CONSOLE_FDS, time_left(u)) < 0)
		return;
	if (fd[1].revents)
		up_events_read(&u->events, seen_event, u);
	up_console_serve(&u->console, fd + 2);
	if (u->child && u->kill_at_ms && time_left(u) == 0)
		kill(u->child, SIGKILL);
}

static int loop(struct up *u)
{
	while (u->status < 0) {
		up_watch_tick(&u->watch, host_mono_ms(), u->child ? u->started_ms : 0);
		if (!u->child && !u->stopping && time_left(u) == 0)
			consider(u);
		wait_for_something(u);
		take_signals(u);
	}
	return u->status;
}

static int begin(struct up *u, struct err *err)
{
	char *console;
	int ret = run_dir_open(&u->dir, u->g->name, err);

	if (ret < 0)
		return ret;
	up_events_open(&u->events, u->g->name, u->dir.state, u->g->seen.on_event);
	if (u->g->seen.webhook && !(u->events.webhook = webhook_open(u->g->seen.webhook, err)))
		return -err->code;
	console = run_dir_file(u->dir.run, "console");
	ret = up_console_open(&u->console, console, err);
	free(console);
	signal(SIGPIPE, SIG_IGN);
	u->signals = supervise_signals();
	return ret;
}

int up_run(const struct options *o, struct guest_conf *g)
{
	static struct up u = { .status = -1,
			       .signals = -1,
			       .pause_ms = PAUSE_MIN_MS,
			       .events = { .pipe = -1 },
			       .console = { .listener = -1, .guest = -1 } };
	struct err err = ERR_INIT;
	int status = EXIT_USAGE;

	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++)
		u.console.client[i] = -1;
	u.o = o;
	u.g = g;
	u.conf = realpath(g->conf.path, NULL);
	u.dir.lock = -1;
	if (begin(&u, &err) < 0) {
		log_error("%s", err.text);
	} else {
		show_state(&u);
		notify_send("READY=1");
		up_watch_start(&u.watch, g->name, g->seen.replica.hang_timeout_ms);
		status = loop(&u);
		up_watch_stop(&u.watch);
	}
	arbiter_close(u.arbiter);
	up_console_close(&u.console);
	up_events_close(&u.events);
	run_dir_close(&u.dir);
	free(u.conf);
	return status;
}
