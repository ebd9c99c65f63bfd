// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/campaign_symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int named_tallies_open(struct named_tallies *t, const char *path, struct err *err)
{
	int fd, ret;

	*t = (struct named_tallies){ 0 };
	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "cannot open symbols '%s': %s", path, strerror(errno));
	ret = symbols_read(&t->symbols, fd, path, err);
	close(fd);
	return ret;
}

/* The list is by the addresses of the names while it grows: where one is, or belongs. */
static size_t place_of(const struct named_tallies *t, const char *name)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->list[middle].name < name)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool make_room(struct named_tallies *t)
{
	size_t room = t->room ? 2 * t->room : 64;
	struct named_tally *more;

	if (t->n < t->room)
		return true;
	more = realloc(t->list, room * sizeof(*more));
	if (!more)
		return false;
	t->list = more;
	t->room = room;
	return true;
}

void named_tallies_add(struct named_tallies *t, const struct fault *f, enum outcome o)
{
	const char *name = f->place == FAULT_LINEAR ? symbols_find(&t->symbols, f->index) : NULL;
	size_t at;

	if (!name)
		return;
	at = place_of(t, name);
	if (at == t->n || t->list[at].name != name) {
		if (!make_room(t)) {
			t->bad = true;
			return;
		}
		memmove(&t->list[at + 1], &t->list[at], (t->n - at) * sizeof(*t->list));
		t->list[at] = (struct named_tally){ .name = name };
		t->n++;
	}
	campaign_tally_add(&t->list[at].t, o);
}

static int by_experiments(const void *a, const void *b)
{
	const struct named_tally *x = a, *y = b;

	if (x->t.n != y->t.n)
		return x->t.n > y->t.n ? -1 : 1;
	return strcmp(x->name, y->name);
}

int named_tallies_sort(struct named_tallies *t, struct err *err)
{
	if (t->n)
		qsort(t->list, t->n, sizeof(*t->list), by_experiments);
	return t->bad ? err_set(err, ENOMEM, "no memory for outcomes by symbol") : 0;
}

void named_tallies_free(struct named_tallies *t)
{
	free(t->list);
	symbols_free(&t->symbols);
	*t = (struct named_tallies){ 0 };
}
