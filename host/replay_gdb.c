// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Serves one debugger at a time, on the vCPU's thread: while the machine moves, the socket is
 * only looked at for the byte that interrupts it. The machine's console output appears once, when
 * the execution gets there for the first time.
 */
#include "host/replay_gdb.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "host/exit.h"
#include "host/gdb_listen.h"
#include "host/gdb_stub.h"
#include "host/replay_machine.h"
#include "host/stop.h"
#include "hypervisor/translate.h"

#define NAP_MS 200

struct debugger {
	struct replay_machine rm; /* the first member, as replay_machine.h wants it */
	const struct options *o;
	struct console_out out;
	struct timeline *line;
	struct gdb_stub stub;
	int listen_fd, fd;
	const char *path; /* socket file, or NULL */
	bool physical;	  /* memory is read by physical address */
	uint64_t shown;	  /* console output before this count was written */
	struct err err;
};

static struct machine *machine_of(const struct debugger *d)
{
	return d->rm.up.machine;
}

/* ---- the target ---- */

static void target_state(void *ctx, struct cpu_state *s)
{
	struct engine *e = machine_engine(machine_of(ctx));

	e->ops->get_state(e, s);
}

static size_t target_read(void *ctx, uint64_t address, void *data, size_t len)
{
	struct debugger *d = ctx;
	const struct memory *mem = machine_memory(machine_of(d));
	struct cpu_state s;
	size_t done = 0;

	target_state(d, &s);
	while (done < len) {
		uint64_t at = address + done, gpa = at;
		size_t n = PAGE_SIZE - (at & (PAGE_SIZE - 1));

		if (n > len - done)
			n = len - done;
		if ((!d->physical && !cpu_state_translate(&s, mem, at, &gpa)) ||
		    !memory_read(mem, gpa, (uint8_t *)data + done, n))
			break;
		done += n;
	}
	return done;
}

static void begin_move(struct debugger *d)
{
	struct timeline_where w;

	timeline_where(d->line, &w);
	if (w.at.count > d->shown)
		d->shown = w.at.count;
	d->err = (struct err)ERR_INIT;
}

static enum timeline_stop end_move(struct debugger *d, enum timeline_stop why)
{
	if (why == TIMELINE_FAILED)
		log_error("%s", d->err.text);
	return why;
}

static enum timeline_stop target_move(void *ctx, enum gdb_move how, const struct timeline_probe *p,
				      struct timeline_where *w)
{
	static enum timeline_stop (*const moves[])(struct timeline * t, struct err * err) = {
		[GDB_STEP] = timeline_step,
		[GDB_CONTINUE] = timeline_forward,
		[GDB_STEP_BACK] = timeline_step_back,
		[GDB_BACK] = timeline_back,
	};
	struct debugger *d = ctx;
	enum timeline_stop why;

	begin_move(d);
	timeline_set_probe(d->line, p);
	why = end_move(d, moves[how](d->line, &d->err));
	timeline_where(d->line, w);
	return why;
}

/* ---- monitor ---- */

static void put(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct buf *b, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_put(b, line, strlen(line));
}

static void say_landmark(struct debugger *d, const char *arg, struct buf *text)
{
	struct engine *e = machine_engine(machine_of(d));
	struct timeline_where w;
	struct landmark at;

	timeline_where(d->line, &w);
	e->ops->landmark(e, &at);
	put(text, "count %" PRIu64, w.at.count);
	if (w.at.events && w.at.events != UINT32_MAX)
		put(text, "+%u", w.at.events);
	put(text, ", RIP 0x%" PRIx64 ", %.9f s\n", at.rip,
	    (double)machine_now(machine_of(d)) / 1e9);
}

static void say_time(struct debugger *d, const char *arg, struct buf *text)
{
	put(text, "%" PRIu64 " ns\n", machine_now(machine_of(d)));
}

/* COUNT, or COUNT+EVENTS */
static void seek(struct debugger *d, const char *arg, struct buf *text)
{
	struct moment to = { 0 };
	enum timeline_stop why;
	char *end;

	to.count = strtoull(arg, &end, 10);
	if (end != arg && *end == '+')
		to.events = (uint32_t)strtoul(end + 1, &end, 10);
	if (end == arg || *end || *arg == '-') {
		put(text, "seek COUNT, or COUNT+EVENTS, as `monitor landmark` says them\n");
		return;
	}
	begin_move(d);
	why = end_move(d, timeline_seek(d->line, &to, &d->err));
	if (why == TIMELINE_FAILED)
		put(text, "%s\n", d->err.text);
	else if (why == TIMELINE_BEGIN)
		put(text, "that is before the start of this replay\n");
	else if (why == TIMELINE_END)
		put(text, "the recording ends before\n");
	say_landmark(d, "", text);
}

static void say_inputs(struct debugger *d, const char *arg, struct buf *text)
{
	const struct codec_record *rec = timeline_next_record(d->line);

	if (!rec) {
		put(text, "no record follows, or it was not read yet: stepi, and ask again\n");
		return;
	}
	put(text, "record %" PRIu64 " enters at count %" PRIu64 "%s:\n", rec->sp.seq,
	    rec->sp.at.count, rec->sp.at.in_rep ? ", inside REP" : "");
	for (size_t i = 0; i < rec->sp.n; i++) {
		const struct input *in = &rec->sp.input[i];

		put(text, "  %s, port %u, 0x%" PRIx64 ", 0x%" PRIx64 ", %zu bytes\n",
		    input_form(in->kind)->name, in->port, in->a, in->b, in->len);
	}
}

static void set_physical(struct debugger *d, const char *arg, struct buf *text)
{
	if (!strcmp(arg, "on") || !strcmp(arg, "off"))
		d->physical = arg[1] == 'n';
	else
		put(text, "physical on, or off\n");
	put(text, "addresses of memory are %s\n", d->physical ? "physical" : "the guest's virtual");
}

static void say_checkpoints(struct debugger *d, const char *arg, struct buf *text)
{
	struct timeline_stats s;

	timeline_get_stats(d->line, &s);
	put(text, "%" PRIu64 " checkpoints, %" PRIu64 " MiB, one every %" PRIu64 " instructions\n",
	    s.checkpoints, s.bytes >> 20, s.spacing);
}

static void say_cpu(struct debugger *d, const char *arg, struct buf *text)
{
	char cpu[4096];

	machine_describe_cpu(machine_of(d), cpu, sizeof(cpu));
	buf_put(text, cpu, strlen(cpu));
}

static const struct {
	const char *name;
	void (*run)(struct debugger *d, const char *arg, struct buf *text);
	const char *help;
} monitor_commands[] = {
	{ "landmark", say_landmark, "where the machine is" },
	{ "time", say_time, "virtual time" },
	{ "seek", seek, "COUNT[+EVENTS]: go there; then `maintenance flush register-cache`" },
	{ "inputs", say_inputs, "the sync point that comes next" },
	{ "physical", set_physical, "on|off: how memory is addressed" },
	{ "checkpoints", say_checkpoints, "what is kept for the way back" },
	{ "cpu", say_cpu, "all registers, also those that GDB has no name for" },
};
#define MONITOR_COMMANDS (sizeof(monitor_commands) / sizeof(monitor_commands[0]))

static void target_monitor(void *ctx, const char *command, struct buf *text)
{
	size_t n = strcspn(command, " ");
	const char *arg = command + n + strspn(command + n, " ");

	for (size_t i = 0; i < MONITOR_COMMANDS; i++) {
		if (strlen(monitor_commands[i].name) == n &&
		    !strncmp(command, monitor_commands[i].name, n)) {
			monitor_commands[i].run(ctx, arg, text);
			return;
		}
	}
	for (size_t i = 0; i < MONITOR_COMMANDS; i++)
		put(text, "%-12s%s\n", monitor_commands[i].name, monitor_commands[i].help);
}

static const struct gdb_target target = {
	.state = target_state, .read = target_read, .move = target_move, .monitor = target_monitor
};

/* ---- the connection ---- */

/* The debugger wants the machine to stand still, or is gone. */
static bool asked(void *ctx)
{
	struct debugger *d = ctx;
	uint8_t byte;
	ssize_t n = recv(d->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	if (stop_signal() || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return true;
	return n == 1 && byte == 3 && recv(d->fd, &byte, 1, MSG_DONTWAIT) == 1;
}

static bool send_all(struct debugger *d)
{
	struct buf *b = &d->stub.out;
	size_t done = 0;

	while (done < b->len && !stop_signal()) {
		struct pollfd wait = { .fd = d->fd, .events = POLLOUT };
		ssize_t n = send(d->fd, b->data + done, b->len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		else
			poll(&wait, 1, NAP_MS);
	}
	buf_clear(b);
	return true;
}

static void serve_one(struct debugger *d)
{
	uint8_t data[4096];

	gdb_stub_init(&d->stub, &target, d);
	while (!stop_signal() && !d->stub.over) {
		struct pollfd wait = { .fd = d->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&wait, 1, NAP_MS) <= 0)
			continue;
		n = recv(d->fd, data, sizeof(data), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
		if (n > 0)
			gdb_stub_input(&d->stub, data, (size_t)n);
		if (d->stub.out.bad || !send_all(d))
			break;
	}
}

static void *serve(void *arg)
{
	struct debugger *d = arg;
	bool ended = false;

	while (!stop_signal() && !ended) {
		struct pollfd wait = { .fd = d->listen_fd, .events = POLLIN };

		if (poll(&wait, 1, NAP_MS) <= 0)
			continue;
		d->fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (d->fd < 0)
			continue;
		serve_one(d);
		ended = d->stub.ended;
		gdb_stub_fini(&d->stub);
		close(d->fd);
		d->fd = -1;
	}
	return NULL;
}

/* ---- the steps ---- */

static int open_names(void *ctx, struct err *err)
{
	struct debugger *d = ctx;

	d->listen_fd = gdb_listen(d->o->gdb, &d->path, err);
	return d->listen_fd < 0 ? d->listen_fd : 0;
}

static void close_names(void *ctx)
{
	struct debugger *d = ctx;

	if (d->listen_fd >= 0)
		close(d->listen_fd);
	if (d->path)
		jail_remove(d->path);
}

static void emit(void *ctx, const struct output *out)
{
	struct debugger *d = ctx;

	if (out->count >= d->shown)
		console_out_write(&d->out, out);
}

static struct output_sink get_sink(void *ctx)
{
	struct debugger *d = ctx;

	machine_host_console_out(&d->rm.up.host, &d->out);
	return (struct output_sink){ .ctx = d, .emit = emit };
}

static int start(void *ctx, struct err *err)
{
	struct debugger *d = ctx;
	struct engine *e = machine_engine(machine_of(d));
	int ret = d->o->from_checkpoint.given
			  ? replay_machine_seek(&d->rm, d->o->from_checkpoint.n, err)
			  : 0;

	if (ret < 0)
		return ret;
	d->shown = e->ops->count(e);
	d->line = replay_machine_timeline(&d->rm, asked, err);
	return d->line ? 0 : -err->code;
}

static void stop(void *ctx)
{
	struct debugger *d = ctx;

	timeline_close(d->line);
	d->line = NULL;
}

static int execute(void *ctx)
{
	struct debugger *d = ctx;
	int status;

	log_info("waiting for a debugger at %s", d->o->gdb);
	status = bringup_run_vcpu(serve, d);
	return !status && stop_signal() ? 128 + stop_signal() : status;
}

int replay_gdb_run(const struct options *o)
{
	static const struct bringup_role role = { .names = open_names,
						  .unname = close_names,
						  .sink = get_sink,
						  .start = start,
						  .stop = stop,
						  .consoles = true };
	static struct debugger d;

	d = (struct debugger){ .o = o, .listen_fd = -1, .fd = -1, .err = ERR_INIT };
	d.rm.given = &o->machine;
	d.rm.path = o->args[0];
	return replay_machine_live(&d.rm, &role, execute);
}
