// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/up_events.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/run_dir.h"

#define FILE_MAX_BYTES (1 << 20) /* then it becomes events.1 */
#define HOOKS_MAX      16

void up_events_open(struct up_events *e, const char *guest, const char *state_dir, const char *hook)
{
	*e = (struct up_events){
		.guest = guest, .hook = hook, .path = run_dir_file(state_dir, "events"), .pipe = -1
	};
	gethostname(e->host, sizeof(e->host) - 1);
}

void up_events_close(struct up_events *e)
{
	if (e->pipe >= 0)
		close(e->pipe);
	webhook_close(e->webhook);
	free(e->path);
	*e = (struct up_events){ .pipe = -1 };
}

static void rotate(const struct up_events *e)
{
	struct stat st;
	char *old;

	if (stat(e->path, &st) < 0 || st.st_size < FILE_MAX_BYTES)
		return;
	must(asprintf(&old, "%s.1", e->path) >= 0);
	rename(e->path, old);
	free(old);
}

/* Appends a line in one write, so that nothing but a crash can cut it short. */
static void append(struct up_events *e, const char *text)
{
	size_t n = strlen(text);
	int fd;

	rotate(e);
	fd = open(e->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, text, n) == (ssize_t)n)
		e->full = false;
	else if (!e->full) {
		log_warn("events are missing from %s: %s", e->path, strerror(errno));
		e->full = true;
	}
	if (fd >= 0)
		close(fd);
}

/* ---- the journal ---- */

/* An event's text as one line: a line feed in it would begin a field of somebody else's choice. */
static void take_text(char *line, size_t size, const char *text)
{
	snprintf(line, size, "%s", text ? text : "");
	for (; *line; line++) {
		if (iscntrl((unsigned char)*line))
			*line = ' ';
	}
}

/* Priority of an event, in the numbers of syslog(3): critical, warning, notice. */
static int priority_of(const char *event)
{
	static const struct {
		const char *event;
		int priority;
	} loud[] = {
		{ "divergence", 2 }, { "hang", 2 },	   { "panic", 2 },  { "disk-error", 2 },
		{ "fenced", 4 },     { "unprotected", 4 }, { "asking", 4 }, { "slow-backup", 4 },
		{ "differs", 4 },    { "slow-join", 4 },
	};

	for (size_t i = 0; i < sizeof(loud) / sizeof(loud[0]); i++) {
		if (!strcmp(event, loud[i].event))
			return loud[i].priority;
	}
	return 5;
}

/*
 * Sends an event to the journal, where standard error goes there, with fields to search by:
 * TWINSTEP_GUEST, _EVENT, _GENERATION (systemd's native protocol: a datagram of FIELD=VALUE lines).
 */
static void tell_journal(const struct up_events *e, const json_t *o, const char *event)
{
	char text[600];
	const json_t *generation = json_object_get(o, "generation");
	struct sockaddr_un sa = { .sun_family = AF_UNIX,
				  .sun_path = "/run/systemd/journal/socket" };
	char line[1400];
	int fd, n;

	if (!getenv("JOURNAL_STREAM"))
		return;
	take_text(text, sizeof(text), json_string_value(json_object_get(o, "text")));
	n = snprintf(line, sizeof(line),
		     "MESSAGE=%s: %s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=twinstep\nTWINSTEP_GUEST=%s\n"
		     "TWINSTEP_EVENT=%s\nTWINSTEP_GENERATION=%lld\n",
		     event, text, priority_of(event), e->guest, event,
		     (long long)json_integer_value(generation));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && n > 0 && n < (int)sizeof(line))
		sendto(fd, line, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&sa, sizeof(sa));
	if (fd >= 0)
		close(fd);
}

/* ---- programs ---- */

/* The program gets the line on its standard input; nobody waits for it. */
static void run_hook(struct up_events *e, const char *event, const char *text)
{
	int fd[2];
	pid_t pid;

	if (!e->hook || e->hooks >= HOOKS_MAX || pipe2(fd, O_CLOEXEC) < 0)
		return;
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	if (write(fd[1], text, strlen(text)) < 0)
		log_warn("--on-event: the event does not fit into a pipe");
	close(fd[1]);
	pid = fork();
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL); /* which is ignored here, as exec would keep it */
		dup2(fd[0], STDIN_FILENO);
		setenv("TWINSTEP_EVENT", event, 1);
		setenv("TWINSTEP_GUEST", e->guest, 1);
		execl(e->hook, e->hook, event, (char *)NULL);
		_exit(127);
	}
	close(fd[0]);
	e->hooks += pid > 0;
}

void up_events_hook_ended(struct up_events *e)
{
	e->hooks -= e->hooks > 0;
}

static void keep(struct up_events *e, json_t *o, const char *event)
{
	struct timespec now = host_timespec(host_clock_ns(CLOCK_REALTIME));
	struct tm tm;
	char stamp[40], *text, *line;

	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + strlen(stamp), sizeof(stamp) - strlen(stamp), ".%03ldZ",
		 now.tv_nsec / 1000000);
	json_object_set_new(o, "time", json_string(stamp));
	json_object_set_new(o, "guest", json_string(e->guest));
	json_object_set_new(o, "host", json_string(e->host));
	text = json_dumps(o, JSON_COMPACT);
	if (text && asprintf(&line, "%s\n", text) >= 0) {
		append(e, line);
		tell_journal(e, o, event);
		run_hook(e, event, line);
		if (e->webhook)
			webhook_push(e->webhook, text);
		free(line);
	}
	free(text);
}

void up_event(struct up_events *e, const char *event, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	json_t *o;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info("%s", text);
	o = json_pack("{s:s, s:s}", "event", event, "text", text);
	if (o)
		keep(e, o, event);
	json_decref(o);
}

static void take_line(struct up_events *e, const char *line,
		      void (*seen)(void *ctx, const char *event), void *ctx)
{
	json_t *o = json_loads(line, 0, NULL);
	const char *event = json_string_value(json_object_get(o, "event"));

	if (event) {
		seen(ctx, event);
		keep(e, o, event);
	}
	json_decref(o);
}

void up_events_read(struct up_events *e, void (*seen)(void *ctx, const char *event), void *ctx)
{
	ssize_t n;
	char *end;

	while (e->pipe >= 0 &&
	       (n = read(e->pipe, e->line + e->len, sizeof(e->line) - 1 - e->len)) != 0) {
		if (n < 0)
			return;
		e->len += (size_t)n;
		e->line[e->len] = 0;
		while ((end = memchr(e->line, '\n', e->len))) {
			*end = 0;
			take_line(e, e->line, seen, ctx);
			e->len -= (size_t)(end + 1 - e->line);
			memmove(e->line, end + 1, e->len);
		}
		if (e->len == sizeof(e->line) - 1) /* no event of ours is as long */
			e->len = 0;
	}
	if (e->pipe >= 0)
		close(e->pipe);
	e->pipe = -1;
}
