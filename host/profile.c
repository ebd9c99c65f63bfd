// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file_io.h"
#include "host/symbols.h"

/* Places that are told apart; samples of more go to one line. */
#define PLACES (1u << 18)
#define FULL   (PLACES / 4 * 3)
#define LINE   256

struct place {
	uint64_t rip, samples; /* none: free */
	bool user;
};

struct profile {
	const char *path, *symbols_path;
	int fd, symbols_fd;
	struct symbols symbols;
	struct engine_sampler sampler;
	size_t used;
	uint64_t others;
	struct place place[PLACES];
};

static void take(void *ctx, uint64_t rip, bool user)
{
	struct profile *p = ctx;
	size_t i = (rip * 0x9e3779b97f4a7c15ull >> 40) % PLACES;

	while (p->place[i].samples && (p->place[i].rip != rip || p->place[i].user != user))
		i = (i + 1) % PLACES;
	if (!p->place[i].samples) {
		if (p->used == FULL) {
			p->others++;
			return;
		}
		p->used++;
		p->place[i] = (struct place){ .rip = rip, .user = user };
	}
	p->place[i].samples++;
}

int profile_open(struct profile **profile, const char *path, const char *symbols, uint64_t every,
		 struct err *err)
{
	struct profile *p;

	*profile = NULL;
	if (!path)
		return err_set(err, EINVAL,
			       "--symbols has names for what --profile writes: give "
			       "--profile FILE as well");
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, ENOMEM, "no memory for a profile");
	p->path = path;
	p->symbols_path = symbols;
	p->sampler = (struct engine_sampler){ .every = every, .take = take, .ctx = p };
	p->symbols_fd = symbols ? open(symbols, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	p->fd = -1;
	if (symbols && p->symbols_fd < 0) {
		err_set(err, errno, "cannot open symbols '%s': %s", symbols, strerror(errno));
	} else {
		p->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0644);
		if (p->fd >= 0) {
			*profile = p;
			return 0;
		}
		err_set(err, errno, "cannot make profile '%s': %s", path, strerror(errno));
	}
	profile_close(p);
	return -err->code;
}

int profile_start(struct profile *p, struct engine *e, struct err *err)
{
	int ret = 0;

	if (!p)
		return 0;
	if (!e->ops->sample)
		return err_set(err, ENOTSUP, "engine %s takes no profile: use --engine soft",
			       e->ops->name);
	if (p->symbols_fd >= 0)
		ret = symbols_read(&p->symbols, p->symbols_fd, p->symbols_path, err);
	if (ret == 0)
		e->ops->sample(e, &p->sampler);
	return ret;
}

/* ---- the file ---- */
struct row {
	char text[LINE];
	uint64_t samples;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->text, ((const struct row *)b)->text);
}

/* Replaces characters that a name in a line of folded stacks cannot have. */
static void make_plain(char *s)
{
	for (; *s; s++) {
		if (*s <= ' ' || *s > '~' || *s == ';')
			*s = '_';
	}
}

static void name_place(const struct profile *p, const struct place *at, struct row *row)
{
	const char *name = symbols_find(&p->symbols, at->rip), *mode = at->user ? "user" : "kernel";
	char *text = row->text;

	row->samples = at->samples;
	if (name)
		snprintf(text, LINE, "%s;%s", mode, name);
	else
		snprintf(text, LINE, "%s;0x%llx", mode, (unsigned long long)at->rip);
	make_plain(strchr(text, ';') + 1);
}

/* Rows with the same text become one; returns how many are left. */
static size_t merge(struct row *row, size_t n)
{
	size_t last = 0;

	qsort(row, n, sizeof(*row), by_text);
	for (size_t i = 1; i < n; i++) {
		if (!strcmp(row[last].text, row[i].text))
			row[last].samples += row[i].samples;
		else
			row[++last] = row[i];
	}
	return n ? last + 1 : 0;
}

static void put_rows(const struct row *row, size_t n, struct buf *out)
{
	char line[LINE + 24];

	for (size_t i = 0; i < n; i++) {
		int len = snprintf(line, sizeof(line), "%s %llu\n", row[i].text,
				   (unsigned long long)row[i].samples);

		buf_put(out, line, (size_t)len);
	}
}

int profile_write(struct profile *p, struct err *err)
{
	struct row *row = calloc(p->used + 1, sizeof(*row));
	struct buf out = BUF_INIT;
	size_t n = 0;
	int error = ENOMEM;

	for (size_t i = 0; row && i < PLACES; i++) {
		if (p->place[i].samples)
			name_place(p, &p->place[i], &row[n++]);
	}
	if (row && p->others)
		row[n++] = (struct row){ "elsewhere", p->others };
	if (row)
		put_rows(row, merge(row, n), &out);
	if (row && !out.bad)
		error = file_write_at(p->fd, out.data, out.len, 0);
	buf_free(&out);
	free(row);
	return error ? err_set(err, error, "cannot write profile '%s': %s", p->path,
			       strerror(error))
		     : 0;
}

void profile_close(struct profile *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	if (p->symbols_fd >= 0)
		close(p->symbols_fd);
	symbols_free(&p->symbols);
	free(p);
}
