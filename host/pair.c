// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The supervisor of a pair on one host: starts both replicas and keeps them going. When one dies,
 * the other is live or alone, and a new backup is started in its place, until the guest ends.
 *
 * The replicas are ordinary `twinstep primary` and `backup` processes. They meet at unix sockets in
 * a directory of mode 0700, with a key and an arbiter made for this pair. Their event logs, which
 * are pipes here, tell the supervisor what happens; a replica that another one has replaced is
 * killed, so that it can never wake up again.
 */
#include "host/pair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/argv.h"
#include "host/console.h"
#include "host/exit.h"
#include "host/run_end.h"
#include "host/supervise.h"
#include "replica/arbiter.h"

#define EVENTS_MAX 8192
#define NS_PER_S   1000000000ull
/*
 * A replica that fails within a second of its start is started again later and later: the guest may
 * have no other copy than the one that runs, so there is no end to this.
 */
#define PAUSE_NS     200000000ull
#define PAUSE_MAX_NS (30 * NS_PER_S)
#define TELL_AT	     10 /* such failures, one after the other */
#define OLD_S	     10 /* s: a younger one may be about to be locked */
#define DIR_PREFIX   "twinstep.pair-"

struct slot {
	char letter; /* 'a' or 'b' */
	pid_t pid;   /* 0: none */
	int status;  /* of the process that ended last */
	bool live;
	bool whole; /* it has the guest: runs it, or has its whole state */
	int events; /* read end of its event pipe */
	char line[EVENTS_MAX];
	size_t len;
	uint64_t started_ns;
	uint64_t not_before_ns; /* when it has failed: it is not started again */
};

struct pair {
	const struct options *o;
	char dir[PAIR_DIR_LEN];
	int dirfd; /* locked, as long as this process lives */
	struct slot slot[2];
	int signals; /* signalfd */
	int early_failures;
	int stop_signal;
	bool started;  /* both have been, once */
	bool together; /* they have been a pair: either can go on alone */
	bool nobody;   /* has the guest any more */
	FILE *events;
	struct termios tty;
	bool has_tty;
};

/* ---- one replica ---- */

/* Adds the pair's options that a replica of this role takes, with this replica's values. */
static void add_given(struct argv *a, const struct pair *p, char letter, enum command_id role)
{
	for (size_t i = 0; i < p->o->ngiven; i++) {
		const struct option_given *g = &p->o->given[i];
		const struct option_row *row = option_find(role, g->row->name);
		char *value;

		if (g->row->own || !row || row->refusal)
			continue;
		value = g->arg ? options_substitute(g->arg, letter) : NULL;
		argv_add_option(a, row, value);
		free(value);
	}
}

static void slot_exec(struct pair *p, struct slot *s, const struct slot *other, bool primary,
		      int events)
{
	struct argv a = { 0 };

	argv_add(&a, "twinstep");
	argv_add(&a, primary ? "primary" : "backup");
	add_given(&a, p, s->letter, primary ? COMMAND_PRIMARY : COMMAND_BACKUP);
	argv_add(&a, "--listen=unix:%s/%c.sock", p->dir, s->letter);
	if (!primary)
		argv_add(&a, "--connect=unix:%s/%c.sock", p->dir, other->letter);
	if (p->o->newer && !p->started)
		argv_add(&a, "--force");
	argv_add(&a, "--key-file=%s/key", p->dir);
	argv_add(&a, "--arbiter=file:%s/arbiter", p->dir);
	argv_add(&a, "--events=/dev/fd/%d", events);
	if (p->o->name)
		argv_add(&a, "--name=%s-%c", p->o->name, s->letter);
	supervise_exec(a.arg);
}

static int slot_start(struct pair *p, struct slot *s, bool primary)
{
	const struct slot *other = &p->slot[s == &p->slot[0]];
	int fd[2];

	if (pipe(fd) < 0)
		return -errno;
	fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	fflush(NULL);
	s->pid = p->o->machine.jail == JAIL_OFF ? fork() : jail_fork();
	if (s->pid == 0)
		slot_exec(p, s, other, primary, fd[1]);
	close(fd[1]);
	if (s->events >= 0)
		close(s->events);
	s->events = fd[0];
	fcntl(s->events, F_SETFL, O_NONBLOCK);
	s->len = 0;
	s->live = s->whole = primary;
	s->started_ns = host_mono_ns();
	return s->pid < 0 ? -errno : 0;
}

/* ---- events ---- */

static void kill_replaced(struct pair *p, struct slot *winner)
{
	struct slot *other = &p->slot[winner == &p->slot[0]];

	winner->live = winner->whole = true;
	other->live = false;
	if (other->pid > 0)
		kill(other->pid, SIGKILL);
}

static void take_event(struct pair *p, struct slot *s, const char *line)
{
	json_t *o = json_loads(line, 0, NULL);
	const char *event = json_string_value(json_object_get(o, "event"));

	if (o && p->events) {
		char letter[2] = { s->letter, 0 };
		char *text;

		json_object_set_new(o, "replica", json_string(letter));
		text = json_dumps(o, JSON_COMPACT);
		if (text)
			fprintf(p->events, "%s\n", text);
		fflush(p->events);
		free(text);
	}
	if (event && !strcmp(event, "switched")) { /* the other one follows it */
		p->slot[0].live = p->slot[1].live = false;
		s->live = true;
	}
	if (event && !strcmp(event, "protected"))
		p->together = true;
	if (event && !strcmp(event, "backup")) /* before it may go live */
		s->whole = true;
	if (event && (!strcmp(event, "live") || !strcmp(event, "unprotected")))
		kill_replaced(p, s);
	json_decref(o);
}

static void read_events(struct pair *p, struct slot *s)
{
	ssize_t n = read(s->events, s->line + s->len, sizeof(s->line) - 1 - s->len);
	char *end;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		close(s->events);
		s->events = -1;
		return;
	}
	s->len += n > 0 ? (size_t)n : 0;
	s->line[s->len] = 0;
	while ((end = strchr(s->line, '\n'))) {
		*end = 0;
		take_event(p, s, s->line);
		s->len -= (size_t)(end + 1 - s->line);
		memmove(s->line, end + 1, s->len + 1);
	}
	if (s->len == sizeof(s->line) - 1)
		s->len = 0;
}

/* ---- keeping them going ---- */

static bool ended_in_order(const struct slot *s)
{
	int code = WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1;

	return code >= 0 && code != EXIT_FENCED && code != EXIT_ENGINE && code != EXIT_USAGE &&
	       code != EXIT_DIVERGED;
}

/*
 * A replica is gone before they were a pair, and no guest runs that the other one could go on with.
 */
static bool failed_to_start(const struct pair *p, const struct slot *dead)
{
	bool refused = WIFEXITED(dead->status) && WEXITSTATUS(dead->status) == EXIT_USAGE;

	return !p->together && !p->stop_signal &&
	       (dead->live || (refused && !p->o->replica.no_wait));
}

static void reap(struct pair *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < 2; i++) {
			struct slot *s = &p->slot[i];

			if (s->pid != pid)
				continue;
			if (s->events >= 0)
				read_events(p, s);
			s->pid = 0;
			s->status = status;
			share_ended(&p->o->machine.share, pid);
		}
	}
}

static void take_signals(struct pair *p)
{
	struct signalfd_siginfo si;

	while (read(p->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		p->stop_signal = (int)si.ssi_signo;
		for (unsigned i = 0; i < 2; i++) {
			if (p->slot[i].pid > 0 && p->slot[i].live)
				kill(p->slot[i].pid, SIGINT); /* SIGTERM: the other goes on */
		}
	}
	reap(p);
}

/* Pause before the next try, after so many quick failures. */
static uint64_t pause_ns(int failures)
{
	uint64_t ns = failures ? PAUSE_NS : 0;

	for (; failures > 1 && ns < PAUSE_MAX_NS; failures--)
		ns *= 2;
	return ns < PAUSE_MAX_NS ? ns : PAUSE_MAX_NS;
}

static void tell_replaced(const struct pair *p, const struct slot *dead)
{
	const struct slot *other = &p->slot[dead == &p->slot[0]];

	log_info("replica %c is gone (%s %d); starting a new backup for replica %c", dead->letter,
		 WIFSIGNALED(dead->status) ? "signal" : "status",
		 WIFSIGNALED(dead->status) ? WTERMSIG(dead->status) : WEXITSTATUS(dead->status),
		 other->letter);
	if (p->early_failures == TELL_AT)
		log_error("replica %c fails again and again: the guest is UNPROTECTED; it is "
			  "started again every %u s at most",
			  dead->letter, (unsigned)(PAUSE_MAX_NS / NS_PER_S));
}

/* A replica has gone while the other one has the guest: a new one takes its place, in time. */
static void replace(struct pair *p, struct slot *dead)
{
	uint64_t now = host_mono_ns();

	if (!dead->not_before_ns) {
		bool early = now - dead->started_ns < NS_PER_S;

		p->early_failures = early ? p->early_failures + 1 : 0;
		dead->not_before_ns = now + pause_ns(p->early_failures);
		tell_replaced(p, dead);
	}
	if (now < dead->not_before_ns)
		return;
	dead->not_before_ns = 0;
	if (slot_start(p, dead, false) < 0)
		dead->not_before_ns = now + PAUSE_MAX_NS;
}

/*
 * A replica has failed. Where the other one has not even the guest's state, nobody has: then there
 * is nothing to keep going.
 */
static void deal_with_failure(struct pair *p, struct slot *dead)
{
	struct slot *other = &p->slot[dead == &p->slot[0]];

	if (other->events >= 0)
		read_events(p, other);
	if (other->whole) {
		replace(p, dead);
		return;
	}
	log_error("replica %c is gone, and replica %c has not its state: the guest is lost",
		  dead->letter, other->letter);
	p->nobody = true;
	if (other->pid > 0)
		kill(other->pid, SIGKILL);
}

static void wait_for_something(struct pair *p, int timeout)
{
	struct pollfd fd[3] = { { .fd = p->signals, .events = POLLIN },
				{ .fd = p->slot[0].events, .events = POLLIN },
				{ .fd = p->slot[1].events, .events = POLLIN } };

	poll(fd, 3, timeout);
	for (unsigned i = 0; i < 2; i++) {
		if (fd[i + 1].revents)
			read_events(p, &p->slot[i]);
	}
	take_signals(p);
}

static int slot_result(const struct slot *s)
{
	return WIFSIGNALED(s->status) ? 128 + WTERMSIG(s->status) : WEXITSTATUS(s->status);
}

static int supervise(struct pair *p)
{
	struct slot *a = &p->slot[0], *b = &p->slot[1], *last = a, *failed = NULL;

	while (a->pid > 0 || b->pid > 0) {
		struct slot *dead = a->pid <= 0 ? a : b->pid <= 0 ? b : NULL;

		if (dead && !failed && failed_to_start(p, dead)) {
			failed = dead;
			kill((dead == a ? b : a)->pid, SIGKILL);
		}
		if (dead && !failed && !p->stop_signal && !p->nobody && !ended_in_order(dead))
			deal_with_failure(p, dead);
		if (dead && ended_in_order(dead))
			last = dead;
		wait_for_something(p, dead && dead->not_before_ns ? 50 : 1000);
	}
	if (failed)
		last = failed;
	else if (!ended_in_order(last)) {
		last = a->live ? a : b;
		if (!p->nobody && !p->stop_signal)
			log_error("both replicas are gone: the guest is lost");
	}
	return p->stop_signal ? 128 + p->stop_signal : slot_result(last);
}

/* ---- the whole ---- */

void pair_dir_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[400];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) < 0 && errno == EISDIR)
			pair_dir_remove(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

/* Removes the directory of a supervisor that was killed, which a free lock shows. */
static void remove_left(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_uid == getuid() && st.st_mtime < time(NULL) - OLD_S &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0) {
		log_info("removing '%s', which a pair that was killed has left behind", path);
		pair_dir_remove(path);
	}
	close(fd);
}

static void remove_all_left(const char *where)
{
	DIR *d = opendir(where);
	struct dirent *e;
	char path[400];

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, DIR_PREFIX, strlen(DIR_PREFIX)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", where, e->d_name);
		remove_left(path);
	}
	if (d)
		closedir(d);
}

int pair_dir_make(char dir[PAIR_DIR_LEN], int *lock, struct err *err)
{
	const char *where = getuid() ? "/tmp" : "/run";
	char key[96], arbiter[96];
	int ret;

	*lock = -1;
	remove_all_left(where);
	snprintf(dir, PAIR_DIR_LEN, "%s/" DIR_PREFIX "XXXXXX", where);
	if (!mkdtemp(dir)) {
		dir[0] = 0;
		return err_set(err, errno, "cannot make a directory for the pair: %s",
			       strerror(errno));
	}
	*lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*lock < 0 || flock(*lock, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, errno, "cannot lock '%s': %s", dir, strerror(errno));
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(arbiter, sizeof(arbiter), "file:%s/arbiter", dir);
	ret = peer_key_create(key, err);
	return ret ? ret : arbiter_init(arbiter, err);
}

static int start(struct pair *p, char live, struct err *err)
{
	const char *console = p->o->machine.console;
	struct slot *first;
	/* Both replicas open it: an error is told once, here, rather than by each of them. */
	int ret = console ? console_check_file(console, err) : 0;

	if (ret == 0)
		ret = pair_dir_make(p->dir, &p->dirfd, err);
	if (ret < 0)
		return ret;
	if (p->o->replica.events && !(p->events = fopen(p->o->replica.events, "ae")))
		return err_set(err, errno, "cannot open event log '%s': %s", p->o->replica.events,
			       strerror(errno));
	p->has_tty = tcgetattr(STDIN_FILENO, &p->tty) == 0;
	p->signals = supervise_signals();
	p->slot[0] = (struct slot){ .letter = 'a', .events = -1 };
	p->slot[1] = (struct slot){ .letter = 'b', .events = -1 };
	first = &p->slot[live == 'b'];
	if (p->signals < 0 || slot_start(p, first, true) < 0 ||
	    slot_start(p, &p->slot[live != 'b'], false) < 0)
		return err_set(err, errno, "cannot start the replicas: %s", strerror(errno));
	p->started = true;
	return 0;
}

static void finish(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		if (p->slot[i].pid <= 0)
			continue;
		kill(p->slot[i].pid, SIGKILL);
		waitpid(p->slot[i].pid, NULL, 0);
		share_ended(&p->o->machine.share, p->slot[i].pid);
	}
	if (p->has_tty) /* a replica that was killed could not put the terminal right */
		tcsetattr(STDIN_FILENO, TCSANOW, &p->tty);
	if (p->dir[0])
		pair_dir_remove(p->dir);
	if (p->dirfd >= 0)
		close(p->dirfd);
	if (p->events)
		fclose(p->events);
}

int pair_run(const struct options *o, char live)
{
	static struct pair p;
	struct err err = ERR_INIT;
	int status;

	p.o = o;
	p.dirfd = -1;
	if (start(&p, live, &err) < 0) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		status = supervise(&p);
	}
	finish(&p);
	return status;
}
