// SPDX-License-Identifier: GPL-2.0-or-later
/* Decides which changes a run tries, and whether it has failed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file_io.h"
#include "host/campaign.h"
#include "host/explore.h"
#include "host/replay_worker.h"
#include "host/run_end.h"

/* ---- answers ---- */

/* A byte that another process wrote into a bool may be neither 0 nor 1, so it is read as a byte. */
static bool is_flag(const bool *b)
{
	uint8_t byte;

	memcpy(&byte, b, 1);
	return byte <= 1;
}

bool explore_answer_can_be(const struct experiment_try *t, const struct explore_space *s,
			   uint64_t shown)
{
	return is_flag(&t->refused) && (unsigned)t->end <= MACHINE_PROBED &&
	       s->nnics <= MACHINE_NICS && s->ndisks <= MACHINE_DISKS && shown <= EXPLORE_SHOWN;
}

/* ---- failures ---- */

/* Executes the program with the console output as its standard input. Does not return. */
static void become_checker(const struct explore_failure *f, const struct explore_answer *a, int fd)
{
	char status[16];

	snprintf(status, sizeof(status), "%u", a->t.status);
	setenv("TWINSTEP_STATUS", status, 1);
	setenv("TWINSTEP_END", run_end_name(a->t.end), 1);
	signal(SIGPIPE, SIG_DFL); /* this process ignores it, and exec would hand that on */
	if (dup2(fd, 0) == 0)
		execlp(f->check, f->check, (char *)NULL);
	_exit(127);
}

static int ask_checker(const struct explore_failure *f, const struct explore_answer *a,
		       struct err *err)
{
	int fd = memfd_create("twinstep-shown", MFD_CLOEXEC), status = 0, ret;
	pid_t pid;

	if (fd < 0)
		return err_set(err, errno, "cannot make a file in memory: %s", strerror(errno));
	ret = file_write_at(fd, a->shown.data, a->shown.len, 0);
	fflush(NULL);
	pid = ret ? -1 : fork();
	if (pid == 0)
		become_checker(f, a, fd);
	close(fd);
	if (pid < 0)
		return err_set(err, ret ? ret : errno, "cannot start '%s': %s", f->check,
			       strerror(ret ? ret : errno));
	replay_worker_reap(&pid, 1, f->patience_s * 1000, &status);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return err_set(err, ETIMEDOUT, "the program '%s' does not end within %u s: killed",
			       f->check, f->patience_s);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return err_set(err, ENOEXEC, "the program '%s' cannot be run to its end", f->check);
	return WEXITSTATUS(status) != 0;
}

static bool shows(const regex_t *r, const struct buf *shown)
{
	struct buf line = BUF_INIT;
	bool found = false;

	for (size_t i = 0; i <= shown->len && !found; i++) {
		uint8_t c = i < shown->len ? shown->data[i] : '\n';

		if (c != '\n' && c != '\r') {
			buf_put_u8(&line, c ? c : ' ');
			continue;
		}
		buf_put_u8(&line, 0);
		found = !line.bad && !regexec(r, (const char *)line.data, 0, NULL, 0);
		buf_clear(&line);
	}
	buf_free(&line);
	return found;
}

int explore_judge(const struct explore_failure *f, const struct explore_answer *a, struct err *err)
{
	const struct experiment_try *t = &a->t, *golden = &f->golden;

	if (t->refused)
		return 0;
	if (f->by_status && t->end == MACHINE_EXIT && t->status == f->status)
		return 1;
	if (f->console && shows(&f->expression, &a->shown))
		return 1;
	if (f->check)
		return ask_checker(f, a, err);
	return !f->by_status && !f->console &&
	       (t->end != golden->end || t->status != golden->status);
}

/* ---- drawing ---- */

/* Kinds of changes with the least and greatest amount; orders of magnitude are equally likely. */
static const struct {
	enum fault_place place;
	unsigned weight;
	uint64_t low, high;
} kinds[] = {
	{ FAULT_CLOCK_JUMP, 8, 1000000, 50000000 }, /* ns: as if the host had been busy */
	{ FAULT_CLOCK_FAST, 2, 100000, 50000000 },  /* fewer instructions between two ticks */
	{ FAULT_CLOCK_SLOW, 2, 100000, 900000 },    { FAULT_PACKET_LATE, 4, 1000, 20000000 },
	{ FAULT_PACKET_SWAPPED, 2, 0, 0 },	    { FAULT_DISK_SLOW, 4, 100000, 200000000 },
};

static bool is_there(enum fault_place place, const struct explore_space *s)
{
	if (fault_is_packet(place))
		return s->nnics > 0;
	return place != FAULT_DISK_SLOW || s->ndisks > 0;
}

/* A value from low to high; half as large a value is twice as likely. */
static uint64_t draw_amount(uint64_t *state, uint64_t low, uint64_t high)
{
	unsigned doublings = 0;

	while (low && low << (doublings + 1) < high)
		doublings++;
	low <<= campaign_random_below(state, doublings + 1);
	high = low < high - low ? 2 * low : high;
	return low + (high > low ? campaign_random_below(state, high - low + 1) : 0);
}

static void draw_one(const struct explore_space *s, uint64_t *state, struct fault *f)
{
	unsigned all = 0, choice;
	size_t k = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		all += is_there(kinds[i].place, s) ? kinds[i].weight : 0;
	choice = (unsigned)campaign_random_below(state, all);
	for (;; k++) {
		unsigned weight = is_there(kinds[k].place, s) ? kinds[k].weight : 0;

		if (choice < weight)
			break;
		choice -= weight;
	}
	*f = (struct fault){ .place = kinds[k].place,
			     .count = s->after + campaign_random_below(state, s->end - s->after),
			     .amount = draw_amount(state, kinds[k].low, kinds[k].high) };
	if (fault_is_packet(f->place))
		f->index = campaign_random_below(state, s->nnics);
	if (f->place == FAULT_DISK_SLOW)
		f->index = campaign_random_below(state, s->ndisks);
}

static int by_count(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;

	return x->count < y->count ? -1 : x->count > y->count;
}

size_t explore_draw(const struct explore_space *s, uint64_t seed, uint64_t n, unsigned most,
		    struct fault *faults)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15ull + n;
	size_t count = 1 + (size_t)campaign_random_below(&state, most);

	for (size_t i = 0; i < count; i++)
		draw_one(s, &state, &faults[i]);
	qsort(faults, count, sizeof(*faults), by_count);
	return count;
}

/* ---- shrinking ---- */

/*
 * Takes away halves of the list, then quarters and so on, as long as a run with the rest fails. At
 * the end each change has been left out alone, and none of these runs has failed.
 */
static int take_away(struct fault *faults, size_t *n, explore_fails_fn *fails, void *ctx)
{
	struct fault rest[DEVIATE_FAULTS];
	size_t piece = (*n + 1) / 2;

	while (*n > 1) {
		bool less = false;

		for (size_t at = 0; at<*n && * n> 1;) {
			size_t out = piece < *n - at ? piece : *n - at, left = *n - out;
			int ret = 0;

			memcpy(rest, faults, at * sizeof(*rest));
			memcpy(rest + at, faults + at + out, (left - at) * sizeof(*rest));
			if (left)
				ret = fails(ctx, rest, left);
			if (ret < 0)
				return ret;
			if (!ret) {
				at += out;
				continue;
			}
			memcpy(faults, rest, left * sizeof(*rest));
			*n = left;
			less = true;
		}
		if (piece == 1 && !less)
			break;
		piece = piece > 1 ? piece / 2 : 1;
	}
	return 0;
}

#define NEAR 20000u /* instructions */

/* The `try`-th list of `fewer` of the changes, each a little earlier or later than it was. */
static void redraw(const struct explore_space *s, uint64_t seed, uint64_t try,
		   const struct fault *from, size_t n, struct fault *to, size_t fewer)
{
	uint64_t state = (seed * 0x9e3779b97f4a7c15ull + try) * 0x9e3779b97f4a7c15ull + fewer;

	for (size_t i = 0; i < fewer; i++) {
		uint64_t count, away = campaign_random_below(&state, 2 * NEAR + 1);
		/* Where most changes are kept, one is left out; where few are, any are picked. */
		size_t which =
			fewer + 1 < n ? campaign_random_below(&state, n) : i + (i >= try % n);

		to[i] = from[which];
		count = to[i].count + away;
		to[i].count = count > s->after + NEAR ? count - NEAR : s->after;
		if (to[i].count >= s->end)
			to[i].count = s->end - 1;
	}
	qsort(to, fewer, sizeof(*to), by_count);
}

/* How many lists of this length are tried: the shorter the list, the more tries it is worth. */
#define TRIES_OF_FEW  400
#define TRIES_OF_MANY 100

/*
 * Looks for a shorter list whose changes come a little earlier or later: when a change is taken
 * away, the others often come at the wrong time. 1: *list is such a list, and a run with it fails.
 */
static int look_around(const struct explore_space *s, uint64_t seed, struct fault *faults,
		       size_t *n, size_t fewer, explore_fails_fn *fails, void *ctx)
{
	struct fault fault[DEVIATE_FAULTS];
	uint64_t tries = fewer > 2 ? TRIES_OF_MANY : TRIES_OF_FEW;
	int ret = 0;

	for (uint64_t i = 0; i < tries && ret == 0; i++) {
		redraw(s, seed, i, faults, *n, fault, fewer);
		ret = fails(ctx, fault, fewer);
	}
	if (ret > 0) {
		memcpy(faults, fault, fewer * sizeof(*fault));
		*n = fewer;
	}
	return ret;
}

static int look_for_fewer(const struct explore_space *s, uint64_t seed, struct fault *faults,
			  size_t *n, explore_fails_fn *fails, void *ctx)
{
	const size_t fewer[] = { 1, 2, *n / 2, *n - 1 };
	size_t last = 0;
	int ret = 0;

	for (size_t i = 0; i < sizeof(fewer) / sizeof(fewer[0]) && ret == 0; i++) {
		if (fewer[i] <= last || fewer[i] >= *n)
			continue;
		last = fewer[i];
		ret = look_around(s, seed, faults, n, last, fails, ctx);
	}
	return ret;
}

int explore_shrink(const struct explore_space *s, uint64_t seed, struct fault *faults, size_t *n,
		   explore_fails_fn *fails, void *ctx)
{
	int ret;

	do {
		ret = take_away(faults, n, fails, ctx);
		if (ret == 0)
			ret = look_for_fewer(s, seed, faults, n, fails, ctx);
	} while (ret > 0);
	return ret;
}
