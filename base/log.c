// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum log_level log_threshold = LOG_INFO;
static const char *log_name = "twinstep";
static bool log_raw;
static atomic_uint_fast64_t lost; /* lines */
static atomic_uint_fast64_t told; /* of them, the reader was told of */

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

void log_set_name(const char *name)
{
	log_name = name;
}

void log_set_raw(bool raw)
{
	log_raw = raw;
}

/* A description of our own of what descriptor 2 is, or the one there is. */
static void set_nonblocking(const struct stat *st)
{
	int fd = S_ISSOCK(st->st_mode)
			 ? -1
			 : open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO) {
		close(fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (!S_ISCHR(st->st_mode))
		fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
}

void log_never_wait(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == 0 && !S_ISREG(st.st_mode))
		set_nonblocking(&st);
}

uint64_t log_lost(void)
{
	return atomic_load(&lost);
}

/* Cures for errors of the system, added to a line that ends with its words. */
static const struct cure {
	int code;
	const char *text;
} cures[] = {
	{ ENOENT, "check the path, and make what is missing" },
	{ ENOTDIR, "check the path: one of its parts is a file" },
	{ EISDIR, "name a file in it" },
	{ EROFS, "mount that for writing, or name another place" },
	{ ENOSPC, "make room there, or name another place" },
	{ EDQUOT, "make room there, or name another place" },
	{ EACCES, "be root, or have that user let in (chown, chmod)" },
	{ EADDRINUSE, "end what has it, or choose another one" },
	{ ECONNREFUSED, "see that it runs there, and lets this host in" },
	{ EMFILE, "raise the limit on open files (ulimit -n, LimitNOFILE=)" },
	{ EIO, "look at what the kernel says of that device (`dmesg`)" },
};

static const char *cure_of(const char *line)
{
	size_t len = strlen(line);

	for (size_t i = 0; i < sizeof(cures) / sizeof(cures[0]); i++) {
		const char *said = strerrordesc_np(cures[i].code);
		size_t n = strlen(said);

		if (len > n && !strcmp(line + len - n, said))
			return cures[i].text;
	}
	return NULL;
}

/* Tells how many lines were lost since the last time; that line may be lost as well. */
static void tell_lost(void)
{
	uint64_t now = atomic_load(&lost), before = atomic_exchange(&told, now);
	char line[100];
	int n;

	if (now == before)
		return;
	n = snprintf(line, sizeof(line), "%s: %" PRIu64 " lines were lost here\n", log_name,
		     now - before);
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		atomic_store(&told, before);
}

static void put_line(const char *line, size_t n)
{
	tell_lost();
	if (write(STDERR_FILENO, line, n) < 0 && errno == EAGAIN)
		atomic_fetch_add(&lost, 1);
}

/* One write() a line, so that lines of several threads and processes do not mix. */
static void log_line(enum log_level level, const char *fmt, va_list ap)
{
	char line[1024];
	const char *cure;
	int n, m;

	n = snprintf(line, sizeof(line), "%s%s: ", log_raw ? "\r" : "", log_name);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	if (m < 0)
		return;
	n += m;
	cure = level <= LOG_WARN && n < (int)sizeof(line) ? cure_of(line) : NULL;
	if (cure)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "; %s", cure);
	if (n > (int)sizeof(line) - 3)
		n = (int)sizeof(line) - 3;
	if (log_raw)
		line[n++] = '\r';
	line[n++] = '\n';
	put_line(line, (size_t)n);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_threshold)
		return;
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

void log_try(enum log_level level, const char *fmt, ...)
{
	/* A pipe that is ready takes a whole line (pipe(7): PIPE_BUF). */
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	va_list ap;

	if (level > log_threshold || poll(&p, 1, 0) != 1)
		return;
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

void must_failed(const char *expr, const char *file, int line)
{
	log_error("internal error: %s does not hold (%s:%d); please report this", expr, file, line);
	abort();
}
