// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/unix_socket.h"
#include "host/stop.h"
#include "isolation/jail.h"

#define ESCAPE	       ('A' - '@')
#define CLIENT_WAIT_MS 100 /* how long a client that does not read may hold up the machine */
#define PIECE	       512 /* what a terminal or a pipe takes without waiting, when it takes anything */
#define GLANCE_MS      100 /* so soon does who waits for a reader see that nobody shall */
#define UNIX_PREFIX    "unix:"

struct console_kind;

struct console {
	struct live_console live; /* what the live source sees */
	const struct console_kind *kind;
	int in, out;  /* descriptors, -1: none */
	int listener; /* unix: the listening socket; in == out == the client */
	bool write_failed;
	/* Longest time that a reader who does not read may hold up the machine; -1: no limit. */
	atomic_int patience_ms;
	atomic_uint_fast64_t lost; /* bytes that nobody read in time */
	atomic_bool waits;	   /* for the reader, and the machine with it */
	bool stalled;		   /* it did: until it reads again, output is lost at once */
	char path[108];		   /* of the socket; empty: none to remove */
	const char *file;	   /* name of an output file */
	bool created, emptied;	   /* that file is new; is this console's from now on */

	/* A terminal: a thread reads it, so that the escape key works whatever the guest does. */
	bool terminal;
	pthread_t thread;
	int pipe_in, stop_fd;
	bool escaped;
	void (*quit)(void *ctx);
	void *ctx;
};

/* ---- the terminal's mode, restored on every way out of the process ---- */

static struct termios saved_mode;
static atomic_bool mode_changed;

static void restore_terminal(void)
{
	if (atomic_exchange(&mode_changed, false)) {
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_mode);
		log_set_raw(false);
	}
}

void console_abandon(void)
{
	if (!jail_keeper())
		restore_terminal();
}

static void fatal_signal(int sig)
{
	console_abandon();
	raise(sig);
	_exit(128 + sig); /* the first process of a pid namespace does not get its own signals */
}

static int make_raw(struct err *err)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS };
	const struct sigaction sa = { .sa_handler = fatal_signal,
				      .sa_flags = (int)SA_RESETHAND | SA_NODEFER };
	static bool registered;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_mode))
		return err_set(err, errno, "cannot read the terminal's mode: %s", strerror(errno));
	if (!registered)
		atexit(restore_terminal);
	registered = true;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
	raw = saved_mode;
	cfmakeraw(&raw);
	atomic_store(&mode_changed, true);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw)) {
		atomic_store(&mode_changed, false);
		return err_set(err, errno, "cannot put the terminal into raw mode: %s",
			       strerror(errno));
	}
	log_set_raw(true);
	return 0;
}

/* ---- what all kinds share ---- */

static int console_fd(void *ctx)
{
	const struct console *c = ctx;

	return c->in >= 0 ? c->in : c->listener;
}

/*
 * Reads without blocking. A descriptor that other processes have as well (a terminal, a pipe)
 * cannot be made non-blocking, so poll() asks first.
 */
static ssize_t read_ready(int fd, uint8_t *data, size_t n)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t r;

	if (poll(&p, 1, 0) <= 0)
		return -EAGAIN;
	r = read(fd, data, n);
	if (r < 0)
		return errno == EINTR || errno == EAGAIN ? -EAGAIN : 0;
	return r;
}

static ssize_t console_read(void *ctx, uint8_t *data, size_t n)
{
	struct console *c = ctx;

	return c->in < 0 ? 0 : read_ready(c->in, data, n);
}

static bool is_read(struct console *c)
{
	struct pollfd p = { .fd = c->out, .events = POLLOUT };
	int waited = 0, patience = c->stalled ? 0 : atomic_load(&c->patience_ms), ready;

	for (;;) {
		ready = poll(&p, 1,
			     patience < 0 || patience - waited > GLANCE_MS ? GLANCE_MS
									   : patience - waited);
		if (ready)
			break;
		waited += GLANCE_MS;
		patience = c->stalled || stop_signal() ? 0 : atomic_load(&c->patience_ms);
		if (patience >= 0 && waited >= patience)
			break;
		atomic_store(&c->waits, true);
	}
	atomic_store(&c->waits, false);
	return ready != 0;
}

/* The message comes now, and not before: standard error may have been stuck as well. */
static void reader_is_back(struct console *c)
{
	if (c->stalled)
		log_warn("nobody read the console for a while: output is missing there, %llu bytes "
			 "so far",
			 (unsigned long long)atomic_load(&c->lost));
	c->stalled = false;
}

/* True: the reader takes bytes, within our patience; else n bytes are counted as lost. */
static bool wait_for_reader(struct console *c, size_t n)
{
	if (is_read(c)) {
		reader_is_back(c);
		return true;
	}
	c->stalled = true;
	atomic_fetch_add(&c->lost, n);
	return false;
}

static void console_write(void *ctx, const uint8_t *data, size_t n)
{
	struct console *c = ctx;

	while (n && c->out >= 0 && !c->write_failed) {
		ssize_t r;

		if (!wait_for_reader(c, n))
			return;
		r = write(c->out, data, n > PIECE ? PIECE : n);
		if (r > 0) {
			data += r;
			n -= (size_t)r;
		} else if (r < 0 && errno != EINTR && errno != EAGAIN) {
			c->write_failed = true;
			if (errno != EPIPE)
				log_error("console output is lost from here on: %s",
					  strerror(errno));
		}
	}
	if (c->write_failed)
		atomic_fetch_add(&c->lost, n);
}

/* ---- stdio ---- */

/* Takes the escape sequences out of what was typed; returns the bytes left for the guest. */
static size_t take_escapes(struct console *c, uint8_t *data, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		if (!c->escaped && data[i] == ESCAPE) {
			c->escaped = true;
			continue;
		}
		if (c->escaped) {
			c->escaped = false;
			if (data[i] == 'x' || data[i] == 'X') {
				c->quit(c->ctx);
				continue;
			}
			if (data[i] == 'a' || data[i] == 'A')
				data[i] = ESCAPE;
			else if (data[i] != ESCAPE) {
				log_info("Ctrl-A x quits, Ctrl-A a sends Ctrl-A");
				continue;
			}
		}
		data[out++] = data[i];
	}
	return out;
}

static void *terminal_thread(void *arg)
{
	struct console *c = arg;
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = c->stop_fd, .events = POLLIN } };
	uint8_t data[256];

	for (;;) {
		ssize_t n;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			break;
		if (!p[0].revents)
			continue;
		n = read(STDIN_FILENO, data, sizeof(data));
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			break;
		if (n <= 0)
			continue;
		n = (ssize_t)take_escapes(c, data, (size_t)n);
		/*
		 * A full pipe: 64 KiB that the guest did not read; more is dropped, as by a serial
		 * line.
		 */
		if (n && write(c->pipe_in, data, (size_t)n) < 0)
			continue;
	}
	return NULL;
}

static int open_terminal(struct console *c, struct err *err)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
		return err_set(err, errno, "cannot make a pipe for the console: %s",
			       strerror(errno));
	c->in = fd[0];
	c->pipe_in = fd[1];
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (c->stop_fd < 0)
		return err_set(err, errno, "cannot make an event for the console: %s",
			       strerror(errno));
	return make_raw(err);
}

/* A file keeps its content until a machine is there to write another. */
static int empty_file(struct console *c, struct err *err)
{
	struct stat st;

	if (!c->file || c->emptied)
		return 0;
	c->emptied = true;
	if (fstat(c->out, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(c->out, 0) < 0)
		return err_set(err, errno, "cannot empty %s: %s", c->file, strerror(errno));
	return 0;
}

int console_start(struct console *c, struct err *err)
{
	int r;

	if (c && empty_file(c, err) < 0)
		return -err->code;
	if (!c || c->pipe_in < 0 || c->terminal)
		return 0;
	r = thread_start(&c->thread, THREAD_CONSOLE, terminal_thread, c);
	c->terminal = !r;
	return r ? err_set(err, r, "cannot start the console's thread: %s", strerror(r)) : 0;
}

/*
 * Standard output again, so that writing to it never blocks: the descriptor that we were given is
 * others' as well. Where that cannot be, a terminal that takes less than a piece may hold us up.
 */
static int open_output(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? STDOUT_FILENO : fd;
}

static int stdio_open(struct console *c, const char *spec, struct err *err)
{
	c->out = open_output();
	if (isatty(STDIN_FILENO) && c->quit)
		return open_terminal(c, err);
	c->in = STDIN_FILENO;
	return 0;
}

void console_stop_input(struct console *c)
{
	uint64_t one = 1;

	if (c && c->terminal && write(c->stop_fd, &one, sizeof(one)) == sizeof(one)) {
		pthread_join(c->thread, NULL);
		c->terminal = false;
	}
}

static void stdio_close(struct console *c)
{
	console_stop_input(c);
	restore_terminal();
	if (c->out > STDERR_FILENO)
		close(c->out);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	if (c->pipe_in >= 0) {
		close(c->pipe_in);
		close(c->in);
	}
}

/* ---- file and none ---- */

static int file_open(struct console *c, const char *spec, struct err *err)
{
	struct stat st;

	c->out = open(spec, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);
	c->created = c->out >= 0;
	if (c->out < 0 && errno == EEXIST)
		c->out = open(spec, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
	/* Waiting for a reader would be waiting with signals blocked. */
	if (c->out < 0 && errno == ENXIO && stat(spec, &st) == 0 && S_ISFIFO(st.st_mode))
		return err_set(err, EINVAL, "nobody reads the FIFO %s: start its reader first",
			       spec);
	if (c->out < 0)
		return err_set(err, errno, "cannot write %s: %s", spec, strerror(errno));
	if (fstat(c->out, &st) || S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "%s is a directory", spec);
	c->file = spec;
	if (c->created)
		jail_will_remove(spec);
	return 0;
}

static void file_close(struct console *c)
{
	if (c->out >= 0)
		close(c->out);
	if (c->created && !c->emptied)
		jail_remove(c->file); /* there was nothing to run */
}

static int none_open(struct console *c, const char *spec, struct err *err)
{
	return 0;
}

static void none_close(struct console *c)
{
}

/* ---- unix ---- */

static int unix_open(struct console *c, const char *spec, struct err *err)
{
	const char *path = spec + strlen(UNIX_PREFIX);

	c->listener = unix_socket_listen(path, 1, err);
	if (c->listener < 0)
		return c->listener;
	snprintf(c->path, sizeof(c->path), "%s", path);
	jail_will_remove(c->path);
	return 0;
}

static void drop_client(struct console *c)
{
	if (c->in >= 0)
		close(c->in);
	c->in = c->out = -1;
	c->stalled = false; /* the next one reads, until we know better */
}

static ssize_t unix_read(void *ctx, uint8_t *data, size_t n)
{
	struct console *c = ctx;
	ssize_t r;

	if (c->in < 0) {
		c->in = c->out = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		return -EAGAIN;
	}
	r = recv(c->in, data, n, MSG_DONTWAIT);
	if (r > 0)
		return r;
	if (r == 0 || (errno != EAGAIN && errno != EINTR))
		drop_client(c);
	return -EAGAIN;
}

static void unix_write(void *ctx, const uint8_t *data, size_t n)
{
	struct console *c = ctx;

	while (n && c->out >= 0) {
		ssize_t r = send(c->out, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r >= 0) {
			reader_is_back(c);
			data += r;
			n -= (size_t)r;
		} else if (errno == EAGAIN || errno == EINTR) {
			if (!wait_for_reader(c, n))
				return;
		} else {
			drop_client(c);
		}
	}
}

static void unix_close(struct console *c)
{
	drop_client(c);
	if (c->listener >= 0)
		close(c->listener);
	if (c->path[0])
		jail_remove(c->path);
}

/* ---- kinds ---- */

struct console_kind {
	int (*open)(struct console *c, const char *spec, struct err *err);
	void (*close)(struct console *c);
	ssize_t (*read)(void *ctx, uint8_t *data, size_t n);
	void (*write)(void *ctx, const uint8_t *data, size_t n);
};

static const struct console_kind kind_stdio = { stdio_open, stdio_close, console_read,
						console_write };
static const struct console_kind kind_none = { none_open, none_close, console_read, console_write };
static const struct console_kind kind_file = { file_open, file_close, console_read, console_write };
static const struct console_kind kind_unix = { unix_open, unix_close, unix_read, unix_write };

static const struct console_kind *kind_of(const char *spec)
{
	if (!strcmp(spec, "stdio"))
		return &kind_stdio;
	if (!strcmp(spec, "none"))
		return &kind_none;
	return strncmp(spec, UNIX_PREFIX, strlen(UNIX_PREFIX)) ? &kind_file : &kind_unix;
}

int console_check_spec(const char *spec, struct err *err)
{
	const char *path = kind_of(spec) == &kind_unix ? spec + strlen(UNIX_PREFIX) : spec;

	if (!*path)
		return err_set(err, EINVAL,
			       "a console needs a name: stdio, none, unix:PATH or FILE");
	if (kind_of(spec) == &kind_unix &&
	    strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return err_set(err, EINVAL,
			       "the path of a socket has at most 107 bytes, this one %zu",
			       strlen(path));
	return 0;
}

bool console_is_interactive(const char *spec)
{
	return kind_of(spec) == &kind_unix ||
	       (kind_of(spec) == &kind_stdio && isatty(STDIN_FILENO));
}

struct console *console_open(const char *spec, void (*quit)(void *ctx), void *ctx, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	c->kind = kind_of(spec);
	c->patience_ms = c->kind == &kind_unix ? CLIENT_WAIT_MS : -1;
	c->in = c->out = c->listener = c->pipe_in = c->stop_fd = -1;
	c->quit = quit;
	c->ctx = ctx;
	c->live = (struct live_console){
		.ctx = c, .fd = console_fd, .read = c->kind->read, .write = c->kind->write
	};
	if (console_check_spec(spec, err) || c->kind->open(c, spec, err)) {
		console_close(c);
		return NULL;
	}
	return c;
}

int console_check_file(const char *spec, struct err *err)
{
	struct console *c;
	struct stat st;

	if (kind_of(spec) != &kind_file || (stat(spec, &st) == 0 && !S_ISREG(st.st_mode)))
		return 0;
	c = console_open(spec, NULL, NULL, err);
	console_close(c);
	return c ? 0 : -err->code;
}

void console_close(struct console *c)
{
	if (!c)
		return;
	c->kind->close(c);
	free(c);
}

void console_set_patience(struct console *c, int ms)
{
	if (c)
		atomic_store(&c->patience_ms, ms);
}

uint64_t console_lost(const struct console *c)
{
	return c ? atomic_load(&c->lost) : 0;
}

bool console_waits(const struct console *c)
{
	return c && atomic_load(&c->waits);
}

struct live_console *console_live(struct console *c)
{
	return c ? &c->live : NULL;
}
