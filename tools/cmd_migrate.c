// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep migrate`: a guest moves to another host. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/control.h"
#include "host/stop.h"
#include "net/peer.h"
#include "tools/cmd.h"

#define DIAL_MS	  5000
#define ANSWER_MS 5000
#define SWITCH_MS 15000
#define NAP_NS	  (100ull * 1000000)
#define TRIES	  3 /* of the change of places: the new side may be behind for a moment */
#define SETTLE_NS (15 * 1000000000ull) /* in which one has an outcome, unless nobody decides */

#define MIB(bytes) ((double)(bytes) / (1u << 20))

/* The guest, as far as the replica here tells. */
enum place { HERE, THERE, NOBODY_KNOWS };

static json_t *ask(const char *who, json_t *request, int fd, int timeout_ms, struct err *err)
{
	json_t *answer = control_request_fd(who, request, fd, timeout_ms, err);

	json_decref(request);
	return answer;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double number_of(const json_t *status, const char *part, const char *key)
{
	return json_number_value(json_object_get(json_object_get(status, part), key));
}

/* Shows progress in a line that stays in its place, on a terminal. */
static void show_progress(const json_t *status)
{
	double disks = number_of(status, "sync", "left");
	double memory = number_of(status, "join", "memory_left");
	double rate =
		number_of(status, "sync", "bytes_s") + number_of(status, "join", "memory_bytes_s");

	if (!isatty(STDERR_FILENO))
		return;
	if (json_object_get(status, "join"))
		fprintf(stderr,
			"\r\033[K%.0f MiB of disks and %.0f MiB of memory are left; %.1f MiB/s",
			MIB(disks), MIB(memory), MIB(rate));
	else
		fprintf(stderr, "\r\033[K%s", text_of(status, "state"));
	fflush(stderr);
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static void note_signal(void *ctx)
{
}

/* The new side's socket goes to the live replica, which has no way of its own to it. */
static int begin(const struct options *o, struct err *err)
{
	const char *who = o->args[0];
	int fd = peer_dial_socket(o->to, DIAL_MS, err);
	json_t *answer;

	if (fd < 0)
		return -err->code;
	answer = ask(who, json_pack("{s:s, s:s}", "command", "migrate", "to", o->to), fd, ANSWER_MS,
		     err);
	close(fd);
	json_decref(answer);
	return answer ? 0 : -err->code;
}

static void cancel(const char *who)
{
	struct err err = ERR_INIT;
	json_t *answer = ask(who, json_pack("{s:s, s:b}", "command", "migrate", "cancel", 1), -1,
			     ANSWER_MS, &err);

	if (!answer)
		log_error("%s", err.text);
	json_decref(answer);
}

static bool is_role(const json_t *status, const char *role)
{
	return !strcmp(text_of(status, "role"), role);
}

/* State of a move that is under way already, say by a `migrate` before this one that was killed. */
enum progress { NOT_BEGUN, BEGUN, MOVED, ELSEWHERE };

/*
 * A backup that gave the guest away, and whose primary has the address: it moved there. *pause_ms:
 * for how long the guest stood still then. ELSEWHERE: err.
 */
static enum progress progress_of(const struct options *o, const json_t *status, double *pause_ms,
				 struct err *err)
{
	const json_t *move = json_object_get(status, "move");
	const char *stage = text_of(move, "stage"), *peer = text_of(status, "peer");

	if (is_role(status, "backup") && *peer) {
		*pause_ms = number_of(status, "switch", "ms");
		if (number_of(status, "switch", "count") > 0 && !strcmp(peer, o->to))
			return MOVED;
		err_set(err, EPERM, "is live at %s, and moves from there", peer);
		return ELSEWHERE;
	}
	if (strcmp(text_of(move, "to"), o->to))
		return NOT_BEGUN;
	return !strcmp(stage, "calling") || !strcmp(stage, "joining") || !strcmp(stage, "follows")
		       ? BEGUN
		       : NOT_BEGUN;
}

/* *pair: the guest has a backup, which has to give way. */
static enum progress find_progress(const struct options *o, double *pause_ms, bool *pair,
				   struct err *err)
{
	struct err ignored = ERR_INIT;
	json_t *status = control_ask(o->args[0], "status", ANSWER_MS, &ignored);
	enum progress p = status ? progress_of(o, status, pause_ms, err) : NOT_BEGUN;

	*pair = p == NOT_BEGUN && is_role(status, "primary") &&
		strcmp(text_of(status, "state"), "alone");
	json_decref(status);
	return p;
}

/* Once, when the new side has been let in. */
static void tell_unprotected(const struct options *o, const char *stage, bool *pair)
{
	if (!*pair || strcmp(stage, "joining"))
		return;
	*pair = false;
	end_progress();
	log_warn("%s: its backup has made room for the one at %s: the guest is UNPROTECTED until "
		 "that one follows",
		 o->args[0], o->to);
}

/*
 * Until the new side protects the guest. 0; -ECANCELED: a signal came, or (err) somebody else lets
 * it move to another address by now; -errno and err. *switches: how often the replica here has
 * handed over, as long as it is live.
 */
static int wait_until_follows(const struct options *o, bool pair, double *switches, struct err *err)
{
	for (;;) {
		json_t *status = control_ask(o->args[0], "status", ANSWER_MS, err);
		const json_t *move = json_object_get(status, "move");
		const char *stage = text_of(move, "stage"), *to = text_of(move, "to");
		int ret = 1;

		if (!status)
			return -err->code;
		if (is_role(status, "primary"))
			*switches = number_of(status, "switch", "count");
		tell_unprotected(o, stage, &pair);
		if (stop_signal())
			ret = -ECANCELED;
		else if (*to && strcmp(to, o->to))
			ret = err_set(err, ECANCELED, "it is on its way to %s now", to);
		else if (!strcmp(stage, "follows"))
			ret = 0;
		else if (strcmp(stage, "calling") && strcmp(stage, "joining"))
			ret = err_set(err, ECONNABORTED, "%s", text_of(move, "why"));
		else
			show_progress(status);
		json_decref(status);
		if (ret <= 0)
			return ret;
		host_sleep_ns(NAP_NS);
	}
}

/* The guest's place, as the replica's status shows it; *open: the replica does not know yet. */
static enum place place_of(const json_t *status, double switches, bool *open)
{
	const char *state = text_of(status, "state");

	*open = !strcmp(state, "handing-over") || !strcmp(state, "asking");
	if (is_role(status, "primary") && !*open)
		return HERE;
	return is_role(status, "backup") && number_of(status, "switch", "count") > switches
		       ? THERE
		       : NOBODY_KNOWS;
}

/*
 * Finds the guest's place after a change of places that has not been confirmed. It may have worked
 * all the same: its answer comes late, and a second request meets a backup; or another command has
 * asked for it. The replica here answers when it is done with the request before.
 */
static enum place find_place(const char *who, double switches, double *pause_ms)
{
	uint64_t until = host_mono_ns() + SETTLE_NS;
	enum place place = NOBODY_KNOWS;
	bool open = true;

	while (open && host_mono_ns() < until) {
		struct err err = ERR_INIT;
		json_t *status = control_ask(who, "status", ANSWER_MS, &err);

		if (status) {
			place = place_of(status, switches, &open);
			*pause_ms = number_of(status, "switch", "ms");
		} else {
			open = err.code == ETIMEDOUT;
		}
		json_decref(status);
		if (open)
			host_sleep_ns(NAP_NS);
	}
	return place;
}

/* Has the two change places. Returns the guest's place then; unless it is THERE, err says why. */
static enum place change_places(const char *who, double switches, double *pause_ms, struct err *err)
{
	json_t *answer = NULL;

	for (unsigned i = 0; !answer && i < TRIES && !stop_signal(); i++) {
		if (i)
			host_sleep_ns(NAP_NS);
		answer = control_ask(who, "switch", SWITCH_MS, err);
	}
	if (!answer)
		return find_place(who, switches, pause_ms);
	*pause_ms = json_number_value(json_object_get(answer, "pause_ms"));
	json_decref(answer);
	return THERE;
}

/* The old side has handed over, and follows: the new one goes on without it. */
static void leave(const char *who)
{
	struct err err = ERR_INIT;
	json_t *answer = control_ask(who, "leave", ANSWER_MS, &err);

	if (!answer)
		log_warn("%s has moved, and the replica here goes on as its backup: %s", who,
			 err.text);
	json_decref(answer);
}

static int tell(const struct options *o, double pause, uint64_t begun_ns)
{
	double seconds = (double)(host_mono_ns() - begun_ns) / 1e9;

	if (!o->json) {
		printf("%s: live at %s after %.1f s, stood still for %.1f ms\n", o->args[0], o->to,
		       seconds, pause);
		return 0;
	}
	json_t *line = json_pack("{s:s, s:s, s:f, s:f, s:b}", "name", o->args[0], "to", o->to,
				 "seconds", seconds, "pause_ms", pause, "kept", o->keep);
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(line);
	return 0;
}

/* Tells how things stand with a guest that has not moved. */
static int stays(const struct options *o, const struct err *err)
{
	if (stop_signal()) {
		cancel(o->args[0]);
		log_error("%s stays here: cancelled", o->args[0]);
		return 128 + stop_signal();
	}
	log_error("%s stays here: %s", o->args[0], err->text);
	return 1;
}

static int may_have_moved(const struct options *o, const struct err *err)
{
	log_error("%s may have moved to %s, and the replica here cannot tell (%s): ask "
		  "`twinstep status` on both hosts",
		  o->args[0], o->to, err->text);
	return 1;
}

/* From the beginning, or from where a move was left. Where the guest is then; err: why. */
static enum place bring(const struct options *o, bool begun, bool pair, double *pause_ms,
			struct err *err)
{
	double switches = 0;
	int ret;

	if (!begun && begin(o, err) < 0)
		return HERE;
	ret = wait_until_follows(o, pair, &switches, err);
	end_progress();
	if (ret == 0)
		return change_places(o->args[0], switches, pause_ms, err);
	return ret == -ECANCELED ? HERE : find_place(o->args[0], switches, pause_ms);
}

static int move(const struct options *o)
{
	uint64_t begun = host_mono_ns();
	struct err err = ERR_INIT;
	double pause_ms = 0;
	bool pair;
	enum progress progress = find_progress(o, &pause_ms, &pair, &err);
	enum place place = THERE;

	if (progress == ELSEWHERE) {
		log_error("%s %s", o->args[0], err.text);
		return 1;
	}
	if (progress != MOVED)
		place = bring(o, progress == BEGUN, pair, &pause_ms, &err);
	if (place == HERE)
		return stays(o, &err);
	if (place == NOBODY_KNOWS)
		return may_have_moved(o, &err);
	if (!o->keep)
		leave(o->args[0]);
	return tell(o, pause_ms, begun);
}

static int run(struct options *o)
{
	if (!o->to) {
		log_error("no address: use --to ADDR");
		return EXIT_USAGE;
	}
	stop_on_signals(note_signal, NULL);
	return move(o);
}

const struct command cmd_migrate = {
	.id = COMMAND_MIGRATE,
	.name = "migrate",
	.summary = "let a guest move to another host",
	.usage = "NAME|PATH --to ADDR [--keep] [--json]",
	.text = "The guest of NAME, which is live, goes live at ADDR, where `twinstep backup "
		"--listen ADDR` without --connect waits on the other host: with its memory and "
		"disks, which go ahead while it runs, and with its connections. Then the replica "
		"here ends. A backup that it had is dismissed when ADDR answers: until the new "
		"side follows, the guest is unprotected. A signal cancels: the guest stays.",
	.end = "Exit status: 0 it has moved; 1 it has not, or the replica here cannot tell, and "
	       "was "
	       "told of; 128+N cancelled by signal N.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
