// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Experiments on two live replicas. Each starts a pair of its own: `twinstep primary` and `backup`
 * as on two hosts, whose link leads through a third process that hands bytes on. So all that can
 * happen to a host or to the link is a signal: SIGKILL, or SIGSTOP and SIGCONT. Outputs are what
 * either replica writes to its console, in the order in which it left.
 *
 * When the fault comes is a time under protection, on the host's clock, which the guest's follows.
 * Which records have arrived by then differs from run to run; what the world sees must not.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "host/argv.h"
#include "host/campaign.h"
#include "host/control.h"
#include "host/exit.h"
#include "host/pair.h"
#include "host/replay_worker.h"
#include "host/stop.h"
#include "host/supervise.h"

#define NS_PER_MS  1000000ull
#define LOOK_MS	   2
#define START_MS   120000u /* until the guest is protected; a host may be busy */
#define LINGER_MS  20000u  /* for a replica that has lost, behind the end of the guest */
#define SHOWN_MAX  (64u << 20)
#define LINK_PIPES 16

enum { PRIMARY, BACKUP, LINK, PROCESSES };

static const char letter[] = "ab";

struct trial {
	const struct options *o;
	atomic_uint_fast64_t *beats; /* shows that the worker goes on */
	char dir[PAIR_DIR_LEN];
	int lock;		 /* of dir */
	int out;		 /* what both show; -1: all of it is there */
	pid_t pid[PROCESSES];	 /* 0: it has ended */
	int status[PROCESSES];	 /* then, as waitpid() has it */
	uint64_t protected_ns;	 /* since then the guest is */
	uint64_t fault_ns;	 /* 0: none was done */
	uint64_t end_ns;	 /* the first replica came to the guest's end */
	bool missed;		 /* the fault: there was no pair, or no guest, any more */
	bool differed, survived; /* by the events behind the fault */
	struct buf shown;
};

struct lab {
	struct options o; /* of `twinstep pair` */
	atomic_uint_fast64_t *beats;
	struct buf golden;
	unsigned status;	     /* of the golden run's guest */
	uint64_t length;	     /* and how long it was protected, in microseconds */
	struct machine_config space; /* what faults are drawn from */
};

/* ---- options ---- */

static bool is_ours(const char *name)
{
	static const char *const ours[] = { "name",	     "events",	       "console",
					    "debug-console", "virtio-console", "guest-agent" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (!strcmp(name, ours[i]))
			return true;
	}
	return false;
}

/* The strings must live as long as the options. */
static int read_options(struct options *o, const struct campaign_plan *p, char **argv,
			struct err *err)
{
	static char pair[] = "pair";
	int ret;

	argv[0] = pair;
	memcpy(argv + 1, p->pair, p->npair * sizeof(*argv));
	options_defaults(o, COMMAND_PAIR);
	ret = options_parse(o, (int)p->npair + 1, argv, 0, 0, 'a', err);
	for (size_t i = 0; i < o->ngiven && ret == 0; i++) {
		if (is_ours(o->given[i].row->name))
			ret = err_set(err, EINVAL,
				      "--%s: a campaign sees to that itself: leave it out of the "
				      "plan's \"pair\"",
				      o->given[i].row->name);
	}
	if (ret == 0 && o->help)
		ret = err_set(err, EINVAL, "--help is no argument of a \"pair\"");
	return ret == 0 ? machine_opts_check(&o->machine, err) : ret;
}

/* Each fault has a byte in the pair's memory, where it is about one. */
static int check_faults(const struct campaign_plan *p, uint64_t memory, struct err *err)
{
	const struct machine_config space = { .memory = memory };
	uint64_t last;

	for (size_t i = 0; i < p->nfaults; i++) {
		if (fault_last(p->fault[i].place, &space, &last) && p->fault[i].first > last)
			return err_set(err, EINVAL,
				       "the \"first\" of a fault of the place \"%s\" is behind the "
				       "%llu bytes of the pair's memory",
				       fault_place_name(p->fault[i].place),
				       (unsigned long long)memory);
	}
	return 0;
}

int campaign_pair_check(const struct campaign_plan *p, struct err *err)
{
	static struct options o;
	char *argv[CAMPAIGN_PAIR + 2] = { 0 };
	int ret = read_options(&o, p, argv, err);

	if (ret == 0)
		ret = check_faults(p, o.machine.memory, err);
	options_free(&o);
	return ret;
}

/* ---- the link ---- */

/* One way of a connection. */
struct pipe {
	int from, to; /* -1: over */
	uint8_t data[65536];
	size_t len, done;
};

static void pipe_close(struct pipe *p)
{
	shutdown(p->to, SHUT_WR);
	p->from = -1;
}

static void pipe_move(struct pipe *p, short revents)
{
	ssize_t n;

	if (p->done < p->len) {
		n = revents ? send(p->to, p->data + p->done, p->len - p->done,
				   MSG_DONTWAIT | MSG_NOSIGNAL)
			    : 0;
		if (n > 0)
			p->done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			pipe_close(p);
		return;
	}
	n = revents ? recv(p->from, p->data, sizeof(p->data), MSG_DONTWAIT) : -1;
	if (n > 0) {
		p->len = (size_t)n;
		p->done = 0;
	} else if (n == 0 || (revents && errno != EAGAIN && errno != EINTR)) {
		pipe_close(p);
	}
}

/* The primary may not listen yet. */
static int reach(const char *path)
{
	int fd = control_connect(path);

	for (unsigned i = 0; fd < 0 && i < START_MS / LOOK_MS; i++) {
		host_sleep_ns(LOOK_MS * NS_PER_MS);
		fd = control_connect(path);
	}
	return fd;
}

static void link_accept(int listener, const char *path, struct pipe *p)
{
	int in = accept4(listener, NULL, NULL, SOCK_CLOEXEC), out = in < 0 ? -1 : reach(path);

	if (out < 0) {
		close(in);
		return;
	}
	p[0] = (struct pipe){ .from = in, .to = out };
	p[1] = (struct pipe){ .from = out, .to = in };
}

/* Hands on what a backup and the primary say, until it is killed. */
static _Noreturn void be_link(int listener, const char *path)
{
	static struct pipe pipe[LINK_PIPES];
	struct pollfd wait[LINK_PIPES + 1];
	size_t n = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (size_t i = 0; i < n; i++) {
			bool full = pipe[i].done < pipe[i].len;

			wait[i] = (struct pollfd){ .fd = pipe[i].from < 0 ? -1
							 : full		  ? pipe[i].to
									  : pipe[i].from,
						   .events = full ? POLLOUT : POLLIN };
		}
		wait[n] = (struct pollfd){ .fd = n < LINK_PIPES ? listener : -1, .events = POLLIN };
		if (poll(wait, n + 1, -1) < 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (pipe[i].from >= 0)
				pipe_move(&pipe[i], wait[i].revents);
		}
		if (wait[n].revents) {
			pipe[n].from = pipe[n + 1].from = -1;
			link_accept(listener, path, &pipe[n]);
			n += pipe[n].from >= 0 ? 2 : 0;
		}
	}
}

/* ---- processes ---- */

static void add_given(struct argv *a, const struct options *o, unsigned side)
{
	enum command_id role = side == PRIMARY ? COMMAND_PRIMARY : COMMAND_BACKUP;

	for (size_t i = 0; i < o->ngiven; i++) {
		const struct option_row *row = option_find(role, o->given[i].row->name);
		char *value;

		if (!row || row->refusal)
			continue;
		value = o->given[i].arg ? options_substitute(o->given[i].arg, letter[side]) : NULL;
		argv_add_option(a, row, value);
		free(value);
	}
}

static _Noreturn void become_replica(const struct trial *t, unsigned side, int out)
{
	struct argv a = { 0 };
	char log[PAIR_DIR_LEN + 16];
	int null, err;

	argv_add(&a, "twinstep");
	argv_add(&a, side == PRIMARY ? "primary" : "backup");
	add_given(&a, t->o, side);
	argv_add(&a, "--listen=unix:%s/%c.sock", t->dir, letter[side]);
	if (side == BACKUP)
		argv_add(&a, "--connect=unix:%s/s/link", t->dir);
	argv_add(&a, "--key-file=%s/key", t->dir);
	argv_add(&a, "--arbiter=file:%s/arbiter", t->dir);
	argv_add(&a, "--events=%s/%c.events", t->dir, letter[side]);
	argv_add(&a, "--control=%s/s/%c", t->dir, letter[side]);
	argv_add(&a, "--console=stdio");
	snprintf(log, sizeof(log), "%s/%c.log", t->dir, letter[side]);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	err = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (null < 0 || err < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	supervise_exec(a.arg);
}

static int start_replica(struct trial *t, unsigned side, int out)
{
	fflush(NULL);
	t->pid[side] = t->o->machine.jail == JAIL_OFF ? fork() : jail_fork();
	if (t->pid[side] == 0)
		become_replica(t, side, out);
	return t->pid[side] < 0 ? -errno : 0;
}

static int start_link(struct trial *t, struct err *err)
{
	char path[PAIR_DIR_LEN + 16], to[PAIR_DIR_LEN + 16];
	int listener;

	/* Who listens locks the directory for a moment, and this one is locked all along. */
	snprintf(path, sizeof(path), "%s/s", t->dir);
	if (mkdir(path, 0700) < 0)
		return err_set(err, errno, "cannot make '%s': %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/s/link", t->dir);
	snprintf(to, sizeof(to), "%s/a.sock", t->dir);
	listener = unix_socket_listen(path, LINK_PIPES, err);
	if (listener < 0)
		return listener;
	fflush(NULL);
	t->pid[LINK] = fork();
	if (t->pid[LINK] == 0)
		be_link(listener, to);
	close(listener);
	return t->pid[LINK] < 0 ? err_set(err, errno, "cannot start a link") : 0;
}

static struct trial trial_of(const struct options *o, atomic_uint_fast64_t *beats)
{
	return (struct trial){ .o = o, .beats = beats, .lock = -1, .out = -1 };
}

static int trial_start(struct trial *t, struct err *err)
{
	int out[2], ret = pair_dir_make(t->dir, &t->lock, err);

	if (ret < 0)
		return ret;
	if (start_link(t, err) < 0)
		return -err->code;
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_set(err, errno, "cannot make a pipe: %s", strerror(errno));
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	t->out = out[0];
	ret = start_replica(t, PRIMARY, out[1]);
	if (ret == 0)
		ret = start_replica(t, BACKUP, out[1]);
	close(out[1]);
	return ret < 0 ? err_set(err, -ret, "cannot start a replica: %s", strerror(-ret)) : 0;
}

static void reap(struct trial *t, bool wait)
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		if (t->pid[i] <= 0 || waitpid(t->pid[i], &t->status[i], wait ? 0 : WNOHANG) <= 0)
			continue;
		if (i != LINK)
			share_ended(&t->o->machine.share, t->pid[i]);
		t->pid[i] = 0;
	}
}

static void trial_close(struct trial *t)
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		if (t->pid[i] > 0)
			kill(t->pid[i], SIGKILL);
	}
	reap(t, true);
	if (t->dir[0])
		pair_dir_remove(t->dir);
	if (t->lock >= 0)
		close(t->lock);
	if (t->out >= 0)
		close(t->out);
	buf_free(&t->shown);
}

/* ---- looking ---- */

static void take_output(struct trial *t)
{
	uint8_t data[16384];
	ssize_t n;

	while (t->out >= 0 && (n = read(t->out, data, sizeof(data))) != -1) {
		if (n > 0 && t->shown.len < SHOWN_MAX)
			buf_put(&t->shown, data, (size_t)n);
		if (n > 0)
			continue;
		close(t->out);
		t->out = -1;
	}
}

/* Waits a little for something to be shown. */
static void look(struct trial *t)
{
	struct pollfd wait = { .fd = t->out, .events = POLLIN };

	replay_watch_beat(t->beats);
	poll(&wait, 1, LOOK_MS);
	take_output(t);
	reap(t, false);
}

/* It has come to the end of the guest, or of what it was told. */
static bool ended_in_order(const struct trial *t, unsigned side)
{
	int code = WIFEXITED(t->status[side]) ? WEXITSTATUS(t->status[side]) : -1;

	return !t->pid[side] && code >= 0 && code != EXIT_FENCED && code != EXIT_ENGINE &&
	       code != EXIT_USAGE && code != EXIT_DIVERGED;
}

static bool is_over(const struct trial *t)
{
	return ended_in_order(t, PRIMARY) || ended_in_order(t, BACKUP) ||
	       (!t->pid[PRIMARY] && !t->pid[BACKUP]);
}

/* Until a time, or the end of the guest; then that is known. */
static void look_until(struct trial *t, uint64_t ns)
{
	while (host_mono_ns() < ns && !is_over(t) && !stop_signal())
		look(t);
	if (is_over(t) && !t->end_ns)
		t->end_ns = host_mono_ns();
}

/* When a replica told of an event, at a time or later; 0: it did not. */
static uint64_t event_ns(const struct trial *t, unsigned side, const char *name, uint64_t from)
{
	char path[PAIR_DIR_LEN + 16], line[8192];
	uint64_t found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%c.events", t->dir, letter[side]);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		json_t *o = json_loads(line, 0, NULL);
		const char *event = json_string_value(json_object_get(o, "event"));
		uint64_t ns = (uint64_t)(json_real_value(json_object_get(o, "mono_s")) * 1e9);

		if (event && !strcmp(event, name) && ns >= from)
			found = ns;
		json_decref(o);
	}
	if (f)
		fclose(f);
	return found;
}

/* Whether one went on without the other before the fault: a busy host keeps a replica silent too.
 */
static bool came_apart(const struct trial *t)
{
	static const char *const names[] = { "unprotected", "live" };
	uint64_t until = t->fault_ns ? t->fault_ns : UINT64_MAX;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = event_ns(t, i % 2 ? BACKUP : PRIMARY, names[i / 2], t->protected_ns);

		if (at && at < until)
			return true;
	}
	return false;
}

/* The last line that a replica has written. */
static void last_line(const struct trial *t, unsigned side, char *line, size_t size)
{
	char path[PAIR_DIR_LEN + 16], text[8192], *end;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%c.log", t->dir, letter[side]);
	f = fopen(path, "re");
	n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = 0;
	end = strrchr(text, '\n');
	snprintf(line, size, "%.*s", (int)size - 1, end ? end + 1 : text);
}

static int wait_for_protection(struct trial *t, struct err *err)
{
	uint64_t until = host_mono_ns() + START_MS * NS_PER_MS;
	char line[300];
	unsigned side;

	while (host_mono_ns() < until && !stop_signal()) {
		t->protected_ns = event_ns(t, PRIMARY, "protected", 0);
		if (t->protected_ns)
			return 0;
		if (!t->pid[PRIMARY] || !t->pid[BACKUP])
			break;
		look(t);
	}
	if (is_over(t) && ended_in_order(t, PRIMARY))
		return err_set(err, EAGAIN,
			       "the guest of the plan's pair ends before it is protected");
	side = t->pid[PRIMARY] ? BACKUP : PRIMARY;
	last_line(t, side, line, sizeof(line));
	return err_set(err, EIO, "the pair does not come up: %s", line);
}

/* ---- faults ---- */

static void send_signal(const struct trial *t, unsigned process, int sig)
{
	if (t->pid[process] > 0)
		kill(t->pid[process], sig);
}

/* A bit of one replica's memory flips. 0; -EAGAIN where it did not hear. */
static int make_differ(struct trial *t, unsigned side, const struct fault *f, struct err *err)
{
	char who[PAIR_DIR_LEN + 16];
	struct err why = ERR_INIT;
	json_t *request = json_pack("{s:s, s:s, s:I}", "command", "fault", "kind", "memory", "bit",
				    (json_int_t)(f->index * 8 + f->bit));
	json_t *answer;

	snprintf(who, sizeof(who), "%s/s/%c", t->dir, letter[side]);
	answer = control_request(who, request, 5000, &why);
	json_decref(request);
	json_decref(answer);
	if (answer)
		return 0;
	look(t);
	t->missed = is_over(t);
	return err_set(err, EAGAIN, "a fault could not be done: %s", why.text);
}

/* What is done, and to which process; what stops goes on later. */
static int do_fault(struct trial *t, const struct fault *f, struct err *err)
{
	static const struct {
		unsigned process;
		int sig; /* 0: it differs */
	} what[FAULT_PLACES] = {
		[FAULT_PRIMARY_KILLED] = { PRIMARY, SIGKILL },
		[FAULT_BACKUP_KILLED] = { BACKUP, SIGKILL },
		[FAULT_PRIMARY_STOPPED] = { PRIMARY, SIGSTOP },
		[FAULT_BACKUP_STOPPED] = { BACKUP, SIGSTOP },
		[FAULT_PAIR_CUT] = { LINK, SIGSTOP },
		[FAULT_PRIMARY_DIFFERS] = { PRIMARY, 0 },
		[FAULT_BACKUP_DIFFERS] = { BACKUP, 0 },
	};

	t->fault_ns = host_mono_ns();
	if (!what[f->place].sig)
		return make_differ(t, what[f->place].process, f, err);
	send_signal(t, what[f->place].process, what[f->place].sig);
	if (what[f->place].sig != SIGSTOP)
		return 0;
	look_until(t, t->fault_ns + f->amount * NS_PER_MS);
	send_signal(t, what[f->place].process, SIGCONT);
	return 0;
}

/* At its time, if the guest runs and has two replicas then: -EAGAIN and t->missed otherwise. */
static int fault_in_time(struct trial *t, const struct fault *f, struct err *err)
{
	look_until(t, t->protected_ns + f->count * 1000);
	t->missed = is_over(t) || came_apart(t);
	return t->missed ? err_set(err, EAGAIN, "the pair or its guest ends before the fault")
			 : do_fault(t, f, err);
}

/* ---- what came of it ---- */

/* Since the fault the replicas were found to differ, or one went on without the other. */
static void read_events(struct trial *t)
{
	for (unsigned side = PRIMARY; side <= BACKUP && t->fault_ns; side++) {
		t->differed |= event_ns(t, side, "divergence", t->fault_ns) > 0;
		t->survived |= event_ns(t, side, "live", t->fault_ns) > 0 ||
			       event_ns(t, side, "unprotected", t->fault_ns) > 0;
	}
}

/* One without a fault came to the guest's end, and the primary is who brought it there. */
static int golden_ended(const struct trial *t, uint64_t bound_ns, struct err *err)
{
	char line[300];

	if (ended_in_order(t, PRIMARY))
		return 0;
	if (!is_over(t))
		return err_set(err, ETIMEDOUT,
			       "the guest of the plan's pair does not end within %llu ms",
			       (unsigned long long)(bound_ns / NS_PER_MS));
	if (ended_in_order(t, BACKUP))
		return err_set(err, EAGAIN,
			       "the plan's pair comes apart without a fault, however often it is "
			       "tried: its host is too busy");
	last_line(t, PRIMARY, line, sizeof(line));
	return err_set(err, EIO,
		       "both replicas of the plan's pair fail without a fault; the primary: %s",
		       *line ? line : "no word");
}

/* From the start to the end of the guest, and of what a replica that has lost still says. */
static int trial_once(struct trial *t, const struct fault *f, uint64_t bound_ns, struct err *err)
{
	uint64_t until;

	if (trial_start(t, err) < 0 || wait_for_protection(t, err) < 0)
		return -err->code;
	if (f && fault_in_time(t, f, err) < 0)
		return -err->code;
	look_until(t, t->protected_ns + bound_ns);
	for (unsigned i = 0; i < PROCESSES; i++)
		send_signal(t, i, SIGCONT);
	until = host_mono_ns() + (is_over(t) ? LINGER_MS * NS_PER_MS : 0);
	while ((t->pid[PRIMARY] || t->pid[BACKUP]) && host_mono_ns() < until && !stop_signal())
		look(t);
	take_output(t);
	read_events(t);
	t->missed = f && came_apart(t); /* an event that is from before may be written behind */
	if (t->missed)
		return err_set(err, EAGAIN, "the pair comes apart before the fault");
	if (t->shown.bad)
		return err_set(err, ENOMEM, "out of memory");
	return f ? 0 : golden_ended(t, bound_ns, err);
}

/* A busy host may protect a short guest too late, or take a replica for dead. */
#define TRIES 10

static int trial_run(struct trial *t, const struct fault *f, uint64_t bound_ns, struct err *err)
{
	int ret;

	for (unsigned i = 0;; i++) {
		*err = (struct err)ERR_INIT;
		ret = trial_once(t, f, bound_ns, err);
		if (stop_signal())
			return err_set(err, EINTR, "it was told to stop");
		if (ret != -EAGAIN || i == TRIES)
			return ret;
		trial_close(t);
		*t = trial_of(t->o, t->beats);
	}
}

bool campaign_pair_same(const struct buf *want, const struct buf *shown, bool again,
			uint64_t *differs)
{
	size_t begin = 0, end = 0, less = want->len < shown->len ? want->len : shown->len;

	while (begin < less && want->data[begin] == shown->data[begin])
		begin++;
	while (end < less && want->data[want->len - 1 - end] == shown->data[shown->len - 1 - end])
		end++;
	*differs = begin;
	return want->len == shown->len
		       ? begin == less
		       : again && shown->len > want->len && begin + end >= shown->len;
}

static bool diverged(const struct trial *t)
{
	return t->differed ||
	       (WIFEXITED(t->status[PRIMARY]) && WEXITSTATUS(t->status[PRIMARY]) == EXIT_DIVERGED);
}

static enum outcome classify(const struct lab *l, const struct trial *t,
			     struct experiment_result *r)
{
	bool good = ended_in_order(t, PRIMARY) || ended_in_order(t, BACKUP), same;
	uint64_t differs;

	if (!is_over(t))
		return OUTCOME_HANG;
	if (!good)
		return diverged(t) ? OUTCOME_DIVERGED : OUTCOME_LOST;
	same = campaign_pair_same(&l->golden, &t->shown, t->survived || t->differed, &differs);
	r->status = (unsigned)WEXITSTATUS(t->status[ended_in_order(t, PRIMARY) ? PRIMARY : BACKUP]);
	if (!same)
		r->first_difference = differs;
	if (!same && differs == t->shown.len)
		return OUTCOME_LOST;
	if (!same || r->status != l->status)
		return OUTCOME_WRONG;
	return diverged(t) ? OUTCOME_DIVERGED : t->survived ? OUTCOME_MASKED : OUTCOME_NONE;
}

static uint64_t length_us(const struct trial *t)
{
	return t->end_ns > t->protected_ns ? (t->end_ns - t->protected_ns) / 1000 : 0;
}

/* Twice without a fault: what differs then is no fault's. */
static int run_golden(struct lab *l, const struct campaign_plan *p, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < 2 && ret == 0; i++) {
		struct trial t = trial_of(&l->o, l->beats);
		uint64_t differs;

		ret = trial_run(&t, NULL, p->bound * NS_PER_MS, err);
		if (ret == 0 && i == 0) {
			l->golden = t.shown;
			t.shown = (struct buf)BUF_INIT;
			l->status = (unsigned)WEXITSTATUS(t.status[PRIMARY]);
			l->length = length_us(&t);
		} else if (ret == 0 && !campaign_pair_same(&l->golden, &t.shown, false, &differs)) {
			ret = err_set(err, EILSEQ,
				      "the golden run does not repeat, so nothing can be compared "
				      "with it: its outputs differ from byte %llu on",
				      (unsigned long long)differs);
		}
		trial_close(&t);
	}
	return ret;
}

/* ---- a worker ---- */

static int do_one(const struct campaign_run *r, struct lab *l, uint64_t n, int fd, struct err *err)
{
	const struct campaign_space s = { .end = l->length, .config = &l->space };
	struct campaign_row row = { .n = n, .result.first_difference = UINT64_MAX };
	struct fault fault[CAMPAIGN_TOGETHER] = { 0 };
	struct trial t = trial_of(&l->o, l->beats);
	uint64_t began = host_mono_ns();
	int ret;

	if (!campaign_plan_draw(r->plan, n, &s, fault))
		return err_set(err, EINVAL,
			       "the plan's window or range holds nothing of this pair");
	row.fault = fault[0];
	ret = trial_run(&t, &row.fault, l->length * 1000 + r->plan->bound * NS_PER_MS, err);
	if (ret == 0 || (ret == -EAGAIN && t.missed)) {
		ret = 0;
		row.result.outcome = t.missed ? OUTCOME_REFUSED : classify(l, &t, &row.result);
		row.result.end_count = length_us(&t);
		row.host_ns = host_mono_ns() - began;
		if (write(fd, &row, sizeof(row)) != (ssize_t)sizeof(row))
			ret = err_set(err, EPIPE, "nobody takes the results any more");
	}
	trial_close(&t);
	return ret;
}

/* A trial that is told to stop sees it within LOOK_MS, and takes its pair down. */
static void stop_nothing(void *ctx)
{
}

int campaign_pair_live(const struct campaign_run *r, unsigned number, int fd,
		       atomic_uint_fast64_t *beats)
{
	static struct lab l;
	char *argv[CAMPAIGN_PAIR + 2] = { 0 };
	struct err err = ERR_INIT;
	int ret = read_options(&l.o, r->plan, argv, &err);

	stop_on_signals(stop_nothing, NULL);
	l.golden = (struct buf)BUF_INIT;
	l.beats = beats;
	if (ret == 0) {
		l.space.memory = l.o.machine.memory;
		ret = run_golden(&l, r->plan, &err);
	}
	for (uint64_t n = 0; n < r->plan->experiments && ret == 0; n++) {
		if (campaign_run_is_of(r, number, n))
			ret = do_one(r, &l, n, fd, &err);
	}
	if (ret < 0 && !stop_signal())
		log_error("%s", err.text);
	buf_free(&l.golden);
	options_free(&l.o);
	return ret < 0 ? EXIT_ENGINE : 0;
}
