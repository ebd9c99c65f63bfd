// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/limits.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX  10000u
#define PERIOD_US   100000u /* when a percentage is given */
#define PERIOD_MIN  1000u
#define PERIOD_MAX  1000000u
#define QUOTA_MIN   1000u
#define QUOTA_MAX   (1ull << 40)
#define PERCENT_MAX 1000000u	  /* ten thousand CPUs */
#define MEMORY_LOW  (32ull << 20) /* less than the process itself needs */

static const char *const io_names[IO_LIMITS] = { [IO_READ_BPS] = "read",
						 [IO_WRITE_BPS] = "write",
						 [IO_READ_OPS] = "read-ops",
						 [IO_WRITE_OPS] = "write-ops" };

/* Digits at *text, which moves on; false when there are none or too many. */
static bool digits(const char **text, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*n = strtoull(*text, &end, 10);
	*text = end;
	return !errno && *n <= INT64_MAX;
}

bool limits_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;

	if (!digits(&text, bytes))
		return false;
	if (!*text)
		return true;
	unit = strchr(units, toupper((unsigned char)*text));
	if (text[1])
		return false;
	for (long i = unit ? unit - units : -1; i >= 0; i--) {
		if (*bytes >> 53)
			return false;
		*bytes <<= 10;
	}
	return unit != NULL;
}

int limits_take_cpu_weight(struct limits *l, const char *text, struct err *err)
{
	const char *p = text;
	uint64_t n;

	if (!digits(&p, &n) || *p || n < 1 || n > WEIGHT_MAX)
		return err_set(err, EINVAL,
			       "--cpu-weight %s: must be a number from 1 to %u; others have %u",
			       text, WEIGHT_MAX, CPU_WEIGHT_DEFAULT);
	l->cpu_weight = n;
	return 0;
}

int limits_take_cpu_max(struct limits *l, const char *text, struct err *err)
{
	const char *p = text;
	uint64_t n, period = PERIOD_US;

	if (!digits(&p, &n))
		goto bad;
	if (*p == '/') {
		p++;
		if (!digits(&p, &period) || *p || period < PERIOD_MIN || period > PERIOD_MAX)
			goto bad;
	} else {
		p += *p == '%';
		if (*p || n > PERCENT_MAX)
			goto bad;
		n *= PERIOD_US / 100;
	}
	if (n < QUOTA_MIN || n > QUOTA_MAX)
		goto bad;
	l->cpu_quota_us = n;
	l->cpu_period_us = period;
	return 0;
bad:
	return err_set(err, EINVAL,
		       "--cpu-max %s: must be a percentage of one CPU such as 50%%, or "
		       "QUOTA/PERIOD in microseconds, both at least %u and the period at most %u",
		       text, QUOTA_MIN, PERIOD_MAX);
}

int limits_take_memory_max(struct limits *l, const char *text, struct err *err)
{
	if (!limits_parse_size(text, &l->memory_max) || l->memory_max < MEMORY_LOW)
		return err_set(err, EINVAL,
			       "--memory-max %s: must be a size of at least %lluM, such as 512M",
			       text, MEMORY_LOW >> 20);
	return 0;
}

/* Parses a "name=value" of --io-max. */
static bool take_io(struct limits *l, char *item)
{
	char *value = strchr(item, '=');
	uint64_t n;

	if (!value)
		return false;
	*value++ = 0;
	for (unsigned i = 0; i < IO_LIMITS; i++) {
		if (strcmp(item, io_names[i]))
			continue;
		if (l->io[i] || !limits_parse_size(value, &n) || !n)
			return false;
		l->io[i] = n;
		return true;
	}
	return false;
}

int limits_take_io_max(struct limits *l, const char *text, struct err *err)
{
	char copy[160], *at = copy, *item;
	bool good = strlen(text) < sizeof(copy);
	uint64_t n;

	memset(l->io, 0, sizeof(l->io));
	if (good && limits_parse_size(text, &n) && n) {
		l->io[IO_READ_BPS] = l->io[IO_WRITE_BPS] = n;
		return 0;
	}
	if (good)
		strcpy(copy, text);
	while (good && (item = strsep(&at, ",")))
		good = take_io(l, item);
	if (!good)
		return err_set(err, EINVAL,
			       "--io-max %s: must be bytes a second such as 20M, or a list of "
			       "read=SIZE, write=SIZE, read-ops=N, write-ops=N",
			       text);
	return 0;
}

bool limits_any_io(const struct limits *l)
{
	return l->io[0] || l->io[1] || l->io[2] || l->io[3];
}

bool limits_any(const struct limits *l)
{
	return l->cpu_weight || l->cpu_quota_us || l->memory_max || limits_any_io(l);
}

static void add(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list ap;

	if (n && n + 2 < size)
		n += (size_t)snprintf(text + n, size - n, ", ");
	va_start(ap, fmt);
	if (n < size)
		vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
}

void limits_describe(const struct limits *l, char *text, size_t size)
{
	text[0] = 0;
	if (l->cpu_weight)
		add(text, size, "CPU weight %" PRIu64, l->cpu_weight);
	if (l->cpu_quota_us)
		add(text, size, "%.4g%% of a CPU",
		    100.0 * (double)l->cpu_quota_us / (double)l->cpu_period_us);
	if (l->memory_max)
		add(text, size, "memory at most %" PRIu64 " MiB", l->memory_max >> 20);
	for (unsigned i = 0; i < IO_LIMITS; i++) {
		if (l->io[i])
			add(text, size, "%s %" PRIu64 "/s", io_names[i], l->io[i]);
	}
}
