// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum log_level log_threshold = LOG_INFO;
static const char *log_name = "twinstep";
static bool log_raw;

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

/* One write() a line, so that lines of several threads and processes do not mix. */
void log_at(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, m;

	if (level > log_threshold)
		return;
	n = snprintf(line, sizeof(line), "%s%s: ", log_raw ? "\r" : "", log_name);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	if (n > (int)sizeof(line) - 3)
		n = (int)sizeof(line) - 3;
	if (log_raw)
		line[n++] = '\r';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void must_failed(const char *expr, const char *file, int line)
{
	log_error("internal error: %s does not hold (%s:%d); please report this", expr, file, line);
	abort();
}
