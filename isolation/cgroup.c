// SPDX-License-Identifier: GPL-2.0-or-later
/* Making, entering and removing groups; isolation/cgroup_find.c says where. */
#include "base/file_io.h"
#include "base/host_clock.h"
#include "isolation/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "isolation/process.h"

#define TRIES	   100 /* processes that were killed take a moment to go */
#define TRY_NAP_NS 10000000

static const char *const controller_names[] = { [CGROUP_CPU] = "cpu",
						[CGROUP_MEMORY] = "memory",
						[CGROUP_IO] = "io",
						[CGROUP_ACCOUNT] = "cpuacct" };

/* ---- files ---- */

static void join_path(char *out, const char *dir, const char *name)
{
	if (snprintf(out, CGROUP_PATH, "%s/%s", dir, name) >= CGROUP_PATH)
		out[0] = 0; /* and cannot be opened */
}

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[CGROUP_PATH];
	int fd, ret = 0;

	join_path(path, dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_TRUNC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = errno ? -errno : -EIO;
	close(fd);
	return ret;
}

static size_t read_text(const char *dir, const char *file, char *text, size_t size)
{
	char path[CGROUP_PATH];

	join_path(path, dir, file);
	return file_read_text(path, text, size);
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = strstr(text, word); p; p = strstr(p + 1, word)) {
		if ((p == text || p[-1] == ' ') && (!p[n] || p[n] == ' ' || p[n] == '\n'))
			return true;
	}
	return false;
}

static int refused(struct err *err, const char *what, const char *dir, int ret)
{
	const char *advice =
		ret == -EACCES || ret == -EPERM || ret == -EROFS
			? ": limits need root, or --cgroup with a group that was delegated to this "
			  "user"
		: ret == -EBUSY ? ": there are processes in it; name another group with --cgroup"
				: "";

	return err_set(err, -ret, "cannot %s control group '%s': %s%s", what, dir, strerror(-ret),
		       advice);
}

/* ---- limits, in either version's words ---- */

struct setting {
	const struct cgroup_tree *t;
	const char *dir;
	const struct limits *l;
	const dev_t *device;
	unsigned ndevices;
	struct err *err;
};

static int set(const struct setting *s, const char *option, const char *file, const char *text)
{
	int ret = write_text(s->dir, file, text);

	if (ret == -ENOENT)
		return err_set(s->err, ENOTSUP, "%s: this host's kernel has no %s in '%s'", option,
			       file, s->dir);
	if (ret < 0)
		return err_set(s->err, -ret, "%s: the host does not take '%s' for %s/%s: %s",
			       option, text, s->dir, file, strerror(-ret));
	return 0;
}

static int set_number(const struct setting *s, const char *option, const char *file, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return set(s, option, file, text);
}

/* Weights of v1 are "shares", 1024 where v2 has 100. */
static int set_cpu(const struct setting *s)
{
	const struct limits *l = s->l;
	uint64_t shares = l->cpu_weight * 1024 / CPU_WEIGHT_DEFAULT;
	char text[64];
	int ret = 0;

	if (l->cpu_weight && s->t->v2)
		ret = set_number(s, "--cpu-weight", "cpu.weight", l->cpu_weight);
	else if (l->cpu_weight)
		ret = set_number(s, "--cpu-weight", "cpu.shares", shares < 2 ? 2 : shares);
	if (ret || !l->cpu_quota_us)
		return ret;
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, l->cpu_quota_us, l->cpu_period_us);
	if (s->t->v2)
		return set(s, "--cpu-max", "cpu.max", text);
	ret = set_number(s, "--cpu-max", "cpu.cfs_period_us", l->cpu_period_us);
	return ret ? ret : set_number(s, "--cpu-max", "cpu.cfs_quota_us", l->cpu_quota_us);
}

static int set_memory(const struct setting *s)
{
	return s->l->memory_max ? set_number(s, "--memory-max",
					     s->t->v2 ? "memory.max" : "memory.limit_in_bytes",
					     s->l->memory_max)
				: 0;
}

static int set_device(const struct setting *s, dev_t dev)
{
	static const struct {
		const char *v1, *v2;
	} words[IO_LIMITS] = {
		[IO_READ_BPS] = { "blkio.throttle.read_bps_device", "rbps" },
		[IO_WRITE_BPS] = { "blkio.throttle.write_bps_device", "wbps" },
		[IO_READ_OPS] = { "blkio.throttle.read_iops_device", "riops" },
		[IO_WRITE_OPS] = { "blkio.throttle.write_iops_device", "wiops" },
	};
	int ret = 0;
	char text[96];

	for (unsigned i = 0; ret == 0 && i < IO_LIMITS; i++) {
		if (!s->l->io[i])
			continue;
		snprintf(text, sizeof(text), "%u:%u %s%s%" PRIu64, major(dev), minor(dev),
			 s->t->v2 ? words[i].v2 : "", s->t->v2 ? "=" : "", s->l->io[i]);
		ret = set(s, "--io-max", s->t->v2 ? "io.max" : words[i].v1, text);
	}
	return ret;
}

static int set_io(const struct setting *s)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && limits_any_io(s->l) && i < s->ndevices; i++)
		ret = set_device(s, s->device[i]);
	return ret;
}

static int set_nothing(const struct setting *s)
{
	return 0;
}

static int (*const setters[CGROUP_CONTROLLERS])(const struct setting *s) = {
	[CGROUP_CPU] = set_cpu,
	[CGROUP_MEMORY] = set_memory,
	[CGROUP_IO] = set_io,
	[CGROUP_ACCOUNT] = set_nothing
};

/* ---- making ---- */

/* v2: a group's children have the controllers that it hands down. */
static int hand_down(const char *dir, const char *controller, struct err *err)
{
	char text[512], plus[32];
	int ret;

	read_text(dir, "cgroup.subtree_control", text, sizeof(text));
	if (has_word(text, controller))
		return 0;
	snprintf(plus, sizeof(plus), "+%s", controller);
	ret = write_text(dir, "cgroup.subtree_control", plus);
	return ret < 0 ? refused(err, "hand controllers down in", dir, ret) : 0;
}

static int make_parent(const struct cgroup_site *s, const struct cgroup_tree *t, struct err *err)
{
	struct stat st;

	if (s->given) {
		if (stat(t->parent, &st) < 0 || !S_ISDIR(st.st_mode))
			return err_set(err, ENOENT, "--cgroup: there is no control group '%s'",
				       t->parent);
		return 0;
	}
	return mkdir(t->parent, 0755) < 0 && errno != EEXIST
		       ? refused(err, "make", t->parent, -errno)
		       : 0;
}

static int hand_all_down(const struct cgroup_site *s, unsigned tree, unsigned wanted,
			 struct err *err)
{
	const struct cgroup_tree *t = &s->tree[tree];
	char above[CGROUP_PATH];
	int ret = 0;

	strcpy(above, t->parent);
	*strrchr(above, '/') = 0;
	for (unsigned c = 0; ret == 0 && c < CGROUP_ACCOUNT; c++) {
		if (!t->v2 || !(wanted >> c & 1) || s->of[c] != (int)tree)
			continue;
		if (!s->given)
			ret = hand_down(above, controller_names[c], err);
		if (ret == 0)
			ret = hand_down(t->parent, controller_names[c], err);
	}
	return ret;
}

/* The parent goes with its last group, so another machine may remove it under us. */
static int make_group(const struct cgroup *g, unsigned tree, unsigned wanted, struct err *err)
{
	const struct cgroup_tree *t = &g->site.tree[tree];
	char dir[CGROUP_PATH];
	int ret = 0;

	join_path(dir, t->parent, g->name);
	for (unsigned i = 0; i < TRIES; i++) {
		ret = make_parent(&g->site, t, err);
		if (ret)
			return ret;
		ret = hand_all_down(&g->site, tree, wanted, err);
		if (ret == -ENOENT)
			continue;
		if (ret)
			return ret;
		if (mkdir(dir, 0755) == 0 || errno == EEXIST) {
			err->code = 0;
			return 0;
		}
		ret = -errno;
		if (ret != -ENOENT)
			break;
	}
	return refused(err, "make", dir, ret);
}

static unsigned wanted_controllers(const struct limits *l)
{
	return (unsigned)(l->cpu_weight || l->cpu_quota_us) << CGROUP_CPU |
	       (unsigned)(l->memory_max != 0) << CGROUP_MEMORY |
	       (unsigned)limits_any_io(l) << CGROUP_IO;
}

static int check_controllers(const struct cgroup_site *s, unsigned wanted, struct err *err)
{
	static const char *const options[] = { [CGROUP_CPU] = "--cpu-weight, --cpu-max",
					       [CGROUP_MEMORY] = "--memory-max",
					       [CGROUP_IO] = "--io-max" };

	for (unsigned c = 0; c < CGROUP_ACCOUNT; c++) {
		if (wanted >> c & 1 && s->of[c] < 0)
			return err_set(err, ENOTSUP,
				       "%s: this host has no %s controller, in cgroup v2 or v1, "
				       "where this process is",
				       options[c], controller_names[c]);
	}
	return 0;
}

static int make_all(struct cgroup *g, unsigned wanted, struct setting *s)
{
	int ret = 0;

	for (unsigned c = 0; ret == 0 && c < CGROUP_CONTROLLERS; c++) {
		int tree = g->site.of[c];
		char dir[CGROUP_PATH];

		if (tree < 0 || !(wanted >> c & 1))
			continue;
		if (!(g->trees >> tree & 1))
			ret = make_group(g, (unsigned)tree, wanted, s->err);
		if (ret && c == CGROUP_ACCOUNT) { /* nice to have */
			s->err->code = ret = 0;
			continue;
		}
		if (ret)
			break;
		g->trees |= 1u << tree;
		join_path(dir, g->site.tree[tree].parent, g->name);
		s->t = &g->site.tree[tree];
		s->dir = dir;
		ret = setters[c](s);
	}
	return ret;
}

int cgroup_create(struct cgroup *g, const char *name, pid_t owner, const struct limits *l,
		  const dev_t *device, unsigned ndevices, struct err *err)
{
	struct setting s = { .l = l, .device = device, .ndevices = ndevices, .err = err };
	unsigned wanted = wanted_controllers(l);
	int ret = check_controllers(&g->site, wanted, err);

	g->trees = 0;
	if (ret)
		return ret;
	if (wanted >> CGROUP_CPU & 1)
		wanted |= 1u << CGROUP_ACCOUNT;
	snprintf(g->name, sizeof(g->name), "%.40s.%d.%" PRIu64, name, (int)owner,
		 process_start(owner));
	cgroup_sweep(&g->site, 0);
	ret = make_all(g, wanted, &s);
	if (ret < 0)
		cgroup_remove(g);
	return ret;
}

int cgroup_join(struct cgroup *g, struct err *err)
{
	for (unsigned i = 0; i < g->site.ntrees; i++) {
		char dir[CGROUP_PATH];
		int ret;

		if (!(g->trees >> i & 1))
			continue;
		join_path(dir, g->site.tree[i].parent, g->name);
		ret = write_text(dir, "cgroup.procs", "0");
		if (ret < 0)
			return refused(err, "enter", dir, ret);
	}
	return 0;
}

/* ---- removing ---- */

static void remove_group(const char *dir, bool wait)
{
	for (int i = 0; rmdir(dir) < 0 && errno == EBUSY && wait && i < TRIES; i++)
		host_sleep_ns(TRY_NAP_NS);
}

void cgroup_remove(struct cgroup *g)
{
	for (unsigned i = 0; i < g->site.ntrees; i++) {
		const struct cgroup_tree *t = &g->site.tree[i];
		char dir[CGROUP_PATH];

		if (!(g->trees >> i & 1))
			continue;
		write_text(t->home, "cgroup.procs", "0");
		join_path(dir, t->parent, g->name);
		remove_group(dir, true);
		if (!g->site.given)
			rmdir(t->parent); /* unless there are others */
	}
	g->trees = 0;
}

/* NAME.PID.START, of which the last two are numbers; false: not one of ours. */
static bool parse_name(const char *name, pid_t *pid, uint64_t *start)
{
	const char *last = strrchr(name, '.'), *first = last;
	char *end;

	while (first && first > name && *--first != '.')
		;
	if (!last || first == name)
		return false;
	*start = strtoull(last + 1, &end, 10);
	if (*end || end == last + 1)
		return false;
	*pid = (pid_t)strtol(first + 1, &end, 10);
	return end == last && *pid > 0;
}

/* The last number behind "oom_kill " in memory.events (v2) or memory.oom_control (v1). */
static bool out_of_memory(const struct cgroup_tree *t, const char *dir)
{
	char text[512];
	const char *p;

	read_text(dir, t->v2 ? "memory.events" : "memory.oom_control", text, sizeof(text));
	p = strstr(text, "oom_kill ");
	return p && strtoull(p + 9, NULL, 10) > 0;
}

static bool sweep_tree(const struct cgroup_tree *t, bool given, pid_t ended)
{
	DIR *d = opendir(t->parent);
	bool oom = false;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char dir[CGROUP_PATH];
		uint64_t start;
		pid_t pid;

		if (!parse_name(e->d_name, &pid, &start) || process_start(pid) == start)
			continue;
		join_path(dir, t->parent, e->d_name);
		if (pid == ended)
			oom |= out_of_memory(t, dir);
		remove_group(dir, pid == ended);
	}
	if (d)
		closedir(d);
	if (!given)
		rmdir(t->parent);
	return oom;
}

bool cgroup_sweep(const struct cgroup_site *s, pid_t ended)
{
	bool oom = false;

	for (unsigned i = 0; i < s->ntrees; i++)
		oom |= sweep_tree(&s->tree[i], s->given, ended);
	return oom;
}
