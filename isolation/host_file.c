// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * twinstep-host 1 BOOT-ID
 * limit BYTES
 * vm NAME PID START PROMISED MEMORY BALLOON-MIN WEIGHT QUOTA PERIOD MEMORY-MAX READ-BPS WRITE-BPS
 * READ-OPS WRITE-OPS
 */
#include "base/file_io.h"
#include "base/host_clock.h"
#include "isolation/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "isolation/process.h"

#define FILE_MAX    65536
#define BOOT_LEN    36
#define LOCK_TRIES  200
#define LOCK_NAP_NS 10000000
#define PATH_LEN    512
#define MARGIN_MIN  (64ull << 20)
#define MARGIN_MAX  (2ull << 30)
#define NUMBERS	    13

uint64_t host_file_room(uint64_t host_memory)
{
	uint64_t margin = host_memory / 16;

	margin = margin < MARGIN_MIN ? MARGIN_MIN : margin > MARGIN_MAX ? MARGIN_MAX : margin;
	return host_memory > margin ? host_memory - margin : 0;
}

uint64_t host_file_promised(const struct host_state *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->n; i++)
		sum += s->entry[i].promised;
	return sum;
}

bool host_file_name_ok(const char *name)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n && n <= HOST_NAME_LEN && !name[n];
}

static void boot_id(char id[BOOT_LEN + 1])
{
	if (file_read_text("/proc/sys/kernel/random/boot_id", id, BOOT_LEN + 1) != BOOT_LEN)
		strcpy(id, "unknown");
}

/* ---- reading ---- */

struct reader {
	const char *path;
	char *at;
	unsigned line;
	struct err *err;
};

static int bad(const struct reader *r, const char *why)
{
	return err_set(r->err, EBADMSG,
		       "host file '%s', line %u: %s; look at it, and remove it if nobody needs it",
		       r->path, r->line, why);
}

/* The next line, cut off; NULL at the end. A last line without a newline is no line. */
static char *next_line(struct reader *r)
{
	char *line = r->at, *end = line ? strchr(line, '\n') : NULL;

	if (!end)
		return NULL;
	*end = 0;
	r->at = end + 1;
	r->line++;
	return line;
}

/* Exactly n decimal numbers with one space before each. */
static bool read_numbers(const char *text, uint64_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char *end;

		if (text[0] != ' ' || text[1] < '0' || text[1] > '9')
			return false;
		errno = 0;
		v[i] = strtoull(text + 1, &end, 10);
		if (errno || v[i] > INT64_MAX)
			return false;
		text = end;
	}
	return !*text;
}

static int read_entry(struct reader *r, struct host_state *s, char *line)
{
	struct host_entry *e = &s->entry[s->n];
	char *space = strchr(line, ' ');
	uint64_t v[NUMBERS];

	if (s->n == HOST_ENTRIES)
		return bad(r, "too many machines");
	if (!space || !read_numbers(space, v, NUMBERS))
		return bad(r, "not a name and 13 numbers");
	*space = 0;
	if (!host_file_name_ok(line))
		return bad(r, "not a machine's name");
	if (!v[0] || v[0] > INT32_MAX || v[2] > INT64_MAX / HOST_ENTRIES)
		return bad(r, "a number that cannot be");
	*e = (struct host_entry){ .pid = (pid_t)v[0],
				  .start = v[1],
				  .promised = v[2],
				  .memory = v[3],
				  .balloon_min = v[4],
				  .limits = {
					  v[5], v[6], v[7], v[8], { v[9], v[10], v[11], v[12] } } };
	strcpy(e->name, line);
	if (e->limits.cpu_quota_us && !e->limits.cpu_period_us)
		return bad(r, "a number that cannot be");
	s->n++;
	return 0;
}

static int parse(struct reader *r, struct host_state *s)
{
	char boot[BOOT_LEN + 1], want[80], *line = next_line(r);
	bool this_boot;
	int ret = 0;

	boot_id(boot);
	snprintf(want, sizeof(want), "twinstep-host 1 %s", boot);
	if (!line || strncmp(line, want, strlen("twinstep-host 1 ")) || strlen(line) > sizeof(want))
		return bad(r, "not a host file of this version");
	this_boot = !strcmp(line, want);
	line = next_line(r);
	if (!line || strncmp(line, "limit", 5) || !read_numbers(line + 5, &s->limit, 1))
		return bad(r, "no limit");
	while (ret == 0 && (line = next_line(r)))
		ret = strncmp(line, "vm ", 3) ? bad(r, "not an entry") : read_entry(r, s, line + 3);
	if (ret == 0 && *r->at) {
		r->line++;
		ret = bad(r, "cut short");
	}
	if (!this_boot)
		s->n = 0;
	return ret;
}

static void drop_dead(struct host_state *s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (process_start(s->entry[i].pid) == s->entry[i].start)
			s->entry[kept++] = s->entry[i];
	}
	s->n = kept;
}

/* Refuses a file that others may write: with such a one they could promise the whole host away. */
static int check_file(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "cannot look at '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (st.st_uid && st.st_uid != geteuid()) || st.st_mode & 022)
		return err_set(err, EINVAL,
			       "host file '%s' must be a regular file of root or this user that "
			       "others cannot write",
			       path);
	return 0;
}

static int read_fd(int fd, const char *path, struct host_state *s, struct err *err)
{
	struct reader r = { .path = path, .err = err };
	int ret = check_file(fd, path, err);
	char *text;
	size_t n;

	memset(s, 0, sizeof(*s));
	if (ret == 0)
		ret = file_read_whole(fd, path, FILE_MAX - 1, &text, &n, err);
	if (ret)
		return ret;
	r.at = text;
	if (n)
		ret = strlen(text) == n ? parse(&r, s) : bad(&r, "it holds bytes that are no text");
	free(text);
	if (ret == 0)
		drop_dead(s);
	return ret;
}

int host_file_read(const char *path, struct host_state *s, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), ret;

	memset(s, 0, sizeof(*s));
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
	ret = read_fd(fd, path, s, err);
	close(fd);
	return ret;
}

/* ---- writing ---- */

static int lock_fd(int fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		host_sleep_ns(LOCK_NAP_NS);
	}
	return -ETIMEDOUT;
}

static bool same_file(int fd, const char *path)
{
	int now = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat a, b;
	bool same = now >= 0 && fstat(now, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino;

	if (now >= 0)
		close(now);
	return same;
}

/*
 * The lock is on the file that has the name now: whoever held it before may have put another one
 * there.
 */
static int open_locked(const char *path, struct err *err)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		int fd = open(path,
			      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
			      0600),
		    ret;

		if (fd < 0)
			return err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
		ret = lock_fd(fd);
		if (ret == 0 && same_file(fd, path))
			return fd;
		close(fd);
		if (ret)
			return err_set(err, -ret, "cannot lock '%s': %s", path, strerror(-ret));
	}
	return err_set(err, EBUSY, "cannot lock '%s': it is replaced again and again", path);
}

static bool put_entry(char *text, size_t *n, const struct host_entry *e)
{
	const struct limits *l = &e->limits;
	const uint64_t v[NUMBERS] = { (uint64_t)e->pid, e->start,	  e->promised,
				      e->memory,	e->balloon_min,	  l->cpu_weight,
				      l->cpu_quota_us,	l->cpu_period_us, l->memory_max,
				      l->io[0],		l->io[1],	  l->io[2],
				      l->io[3] };

	*n += (size_t)snprintf(text + *n, FILE_MAX - *n, "vm %s", e->name);
	for (unsigned i = 0; i < NUMBERS && *n < FILE_MAX; i++)
		*n += (size_t)snprintf(text + *n, FILE_MAX - *n, " %" PRIu64, v[i]);
	if (*n < FILE_MAX)
		*n += (size_t)snprintf(text + *n, FILE_MAX - *n, "\n");
	return *n < FILE_MAX;
}

static int write_new(const char *tmp, const char *text, size_t n)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, n) != (ssize_t)n)
		ret = -ENOSPC;
	close(fd);
	return ret;
}

static int replace(const char *path, const struct host_state *s, struct err *err)
{
	char boot[BOOT_LEN + 1], tmp[PATH_LEN], *text = malloc(FILE_MAX);
	size_t n = 0;
	bool fits = text && snprintf(tmp, sizeof(tmp), "%s.new", path) < (int)sizeof(tmp);
	int ret = fits ? 0 : -ENAMETOOLONG;

	boot_id(boot);
	if (fits)
		n = (size_t)snprintf(text, FILE_MAX, "twinstep-host 1 %s\nlimit %" PRIu64 "\n",
				     boot, s->limit);
	for (unsigned i = 0; fits && i < s->n; i++)
		fits = put_entry(text, &n, &s->entry[i]);
	if (ret == 0)
		ret = fits ? write_new(tmp, text, n) : -EFBIG;
	if (ret == 0 && rename(tmp, path) < 0)
		ret = -errno;
	free(text);
	return ret ? err_set(err, -ret, "cannot write '%s': %s", path, strerror(-ret)) : 0;
}

/* ---- what is done to it ---- */

static int refuse(const struct host_state *s, const struct host_entry *e, uint64_t limit,
		  struct err *err)
{
	char who[320] = "";
	size_t n = 0;

	for (unsigned i = 0; i < s->n && n < sizeof(who) - 100; i++)
		n += (size_t)snprintf(who + n, sizeof(who) - n, "%s%s %" PRIu64 " MiB (process %d)",
				      i ? ", " : ": ", s->entry[i].name, s->entry[i].promised >> 20,
				      s->entry[i].pid);
	return err_set(err, ENOMEM,
		       "no memory for machine %s: it needs %" PRIu64 " MiB, and of %" PRIu64
		       " MiB for guests %" PRIu64 " are promised to %u machine%s%s",
		       e->name, e->promised >> 20, limit >> 20, host_file_promised(s) >> 20, s->n,
		       s->n == 1 ? "" : "s", who);
}

static int add_entry(struct host_state *s, const struct host_entry *e, uint64_t room,
		     struct err *err)
{
	uint64_t limit = s->limit ? s->limit : room, have;
	unsigned kept = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->entry[i].pid != e->pid)
			s->entry[kept++] = s->entry[i];
	}
	s->n = kept;
	have = host_file_promised(s);
	if (s->n == HOST_ENTRIES)
		return err_set(err, ENOSPC, "there are %d machines on this host already",
			       HOST_ENTRIES);
	if (have > limit || e->promised > limit - have)
		return refuse(s, e, limit, err);
	s->entry[s->n++] = *e;
	return 0;
}

/*
 * Changes what the file says, under its lock: `change` gets its state, and what it leaves there is
 * written.
 */
static int update(const char *path, int (*change)(struct host_state *s, void *ctx, struct err *err),
		  void *ctx, struct err *err)
{
	struct host_state *s = malloc(sizeof(*s));
	int fd, ret;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	fd = open_locked(path, err);
	ret = fd < 0 ? fd : read_fd(fd, path, s, err);
	if (ret == 0)
		ret = change(s, ctx, err);
	if (ret == 0)
		ret = replace(path, s, err);
	if (fd >= 0)
		close(fd);
	free(s);
	return ret;
}

struct promise {
	const struct host_entry *entry;
	uint64_t room;
};

static int change_promise(struct host_state *s, void *ctx, struct err *err)
{
	const struct promise *p = ctx;

	return add_entry(s, p->entry, p->room, err);
}

int host_file_promise(const char *path, const struct host_entry *e, uint64_t room, struct err *err)
{
	struct promise p = { e, room };

	return update(path, change_promise, &p, err);
}

static int change_limit(struct host_state *s, void *ctx, struct err *err)
{
	s->limit = *(uint64_t *)ctx;
	return 0;
}

int host_file_set_limit(const char *path, uint64_t bytes, struct err *err)
{
	return update(path, change_limit, &bytes, err);
}
