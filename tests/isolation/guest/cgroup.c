// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs in a guest, as root, on a real kernel: groups are made, entered, obeyed and removed. usage:
 * cgroup v1|v2 Result lines on standard output, as tests/run counts them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "isolation/cgroup.h"
#include "isolation/process.h"

#define ROOT "/sys/fs/cgroup"

static const char *version;
static bool v2;
static int failed;

static void result(bool good, const char *test, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void result(bool good, const char *test, const char *fmt, ...)
{
	va_list ap;

	printf("%s cgroup.%s-%s%s", good ? "ok" : "not ok", version, test, good ? " (" : ": ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	puts(good ? ")" : "");
	failed |= !good;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void mount_v1(const char *controllers)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s", controllers);
	mkdir(path, 0755);
	if (mount("cgroup", path, "cgroup", 0, controllers) < 0)
		result(false, "mount", "%s: %s", controllers, strerror(errno));
}

static void mount_groups(void)
{
	if (v2) {
		if (mount("cgroup2", ROOT, "cgroup2", 0, NULL) < 0)
			result(false, "mount", "cgroup2: %s", strerror(errno));
		return;
	}
	mount("tmpfs", ROOT, "tmpfs", 0, "mode=755");
	mount_v1("cpu,cpuacct");
	mount_v1("memory");
	mount_v1("blkio");
}

static uint64_t number_in(const char *path, const char *key)
{
	char text[1024];
	const char *p;
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = 0;
	p = strstr(text, key);
	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

/* CPU time of a group by its own account, in seconds. */
static double cpu_used(const struct cgroup *g)
{
	char path[2 * CGROUP_PATH];
	const struct cgroup_tree *t = &g->site.tree[g->site.of[CGROUP_CPU]];

	snprintf(path, sizeof(path), "%s/%s/%s", t->parent, g->name,
		 v2 ? "cpu.stat" : "cpuacct.usage");
	return (double)number_in(path, v2 ? "usage_usec " : "") / (v2 ? 1e6 : 1e9);
}

/*
 * A process in a group of its own that runs fn; *g is filled in here as well. 0: it could not be.
 */
static pid_t start(struct cgroup *g, const char *name, const struct limits *l, const dev_t *dev,
		   void (*fn)(void))
{
	struct err err = ERR_INIT;
	int ready[2];
	pid_t pid;
	char byte;

	if (pipe(ready) < 0 || cgroup_find(&g->site, "/proc", NULL, &err) < 0)
		return 0;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (cgroup_create(g, name, getpid(), l, dev, dev != NULL, &err) ||
		    cgroup_join(g, &err)) {
			result(false, name, "%s", err.text);
			fflush(stdout);
			_exit(1);
		}
		close(ready[0]);
		close(ready[1]);
		fn();
		_exit(0);
	}
	close(ready[1]);
	(void)!read(ready[0], &byte, 1);
	close(ready[0]);
	snprintf(g->name, sizeof(g->name), "%s.%d.%" PRIu64, name, (int)pid, process_start(pid));
	return pid;
}

static void finish(struct cgroup *g, pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cgroup_sweep(&g->site, pid);
}

static void burn(void)
{
	for (volatile uint64_t i = 0;; i++)
		;
}

static void cpu_max(void)
{
	const struct limits l = { .cpu_quota_us = 5000, .cpu_period_us = 20000 };
	struct cgroup g = { 0 };
	pid_t pid = start(&g, "max", &l, NULL, burn);
	double wall = now(), used = cpu_used(&g);

	usleep(1000000);
	used = cpu_used(&g) - used;
	wall = now() - wall;
	result(used > 0.15 * wall && used < 0.30 * wall, "cpu-max", "25 %% asked for, %.1f %% used",
	       100 * used / wall);
	finish(&g, pid);
}

static void cpu_weight(void)
{
	struct cgroup a = { 0 }, b = { 0 };
	pid_t pa = start(&a, "heavy", &(struct limits){ .cpu_weight = 300 }, NULL, burn);
	pid_t pb = start(&b, "light", &(struct limits){ .cpu_weight = 100 }, NULL, burn);
	double ua = cpu_used(&a), ub = cpu_used(&b);

	usleep(1500000);
	ua = cpu_used(&a) - ua;
	ub = cpu_used(&b) - ub;
	result(ub > 0 && ua / ub > 2.4 && ua / ub < 3.6, "cpu-weight",
	       "300 to 100 gave %.2f s to %.2f s", ua, ub);
	finish(&a, pa);
	finish(&b, pb);
}

static void eat(void)
{
	char *p = mmap(NULL, 100 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < 100 << 20; i += 4096)
		p[i] = 1;
}

static void memory_max(void)
{
	struct cgroup g = { 0 };
	pid_t pid = start(&g, "memory", &(struct limits){ .memory_max = 40 << 20 }, NULL, eat);
	int status = 0;
	bool oom;

	waitpid(pid, &status, 0);
	oom = cgroup_sweep(&g.site, pid);
	result(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && oom, "memory-max",
	       "100 MiB in a group of 40: status 0x%x, %s", status, oom ? "named" : "not named");
}

static void read_disk(void)
{
	int fd = open("/dev/vda", O_RDONLY | O_DIRECT);
	char *p = aligned_alloc(4096, 65536);

	for (int i = 0; i < 24; i++) {
		if (pread(fd, p, 65536, i * 65536) != 65536)
			_exit(9);
	}
}

static void io_max(void)
{
	struct limits l = { .io = { [IO_READ_BPS] = 1 << 20 } };
	struct cgroup g = { 0 };
	double before = now();
	struct stat st = { 0 };
	int status = 0;
	pid_t pid;

	stat("/dev/vda", &st);
	pid = start(&g, "io", &l, &st.st_rdev, read_disk);
	waitpid(pid, &status, 0);
	before = now() - before;
	result(status == 0 && before > 1.0 && before < 6, "io-max",
	       "1.5 MiB at 1 MiB a second took %.2f s", before);
	finish(&g, pid);
}

/* Beside a group that has processes, as on a host with systemd. */
static void beside(void)
{
	const struct limits l = { .cpu_weight = 500,
				  .cpu_quota_us = 20000,
				  .cpu_period_us = 100000 };
	struct err err = ERR_INIT;
	struct cgroup g = { 0 };
	struct stat st;
	bool good = true;
	int fd;

	mkdir(ROOT "/slice", 0755);
	mkdir(ROOT "/slice/session", 0755);
	fd = open(ROOT "/slice/session/cgroup.procs", O_WRONLY);
	good &= fd >= 0 && write(fd, "0", 1) == 1;
	close(fd);
	fd = open(ROOT "/slice/cgroup.subtree_control", O_WRONLY);
	good &= fd >= 0 && write(fd, "+cpu", 4) == 4;
	close(fd);
	good &= cgroup_find(&g.site, "/proc", NULL, &err) == 0 &&
		cgroup_create(&g, "mine", getpid(), &l, NULL, 0, &err) == 0 &&
		cgroup_join(&g, &err) == 0;
	good &= stat(ROOT "/slice/twinstep", &st) == 0;
	cgroup_remove(&g);
	good &= stat(ROOT "/slice/twinstep", &st) < 0;
	result(good, "beside", "%s", err.code ? err.text : "a group next to our own");
	fd = open(ROOT "/cgroup.procs", O_WRONLY);
	(void)!write(fd, "0", 1);
	close(fd);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return good;
}

/*
 * What systemd does for Delegate=yes (cgroups(7), "Delegation"): the directory and these three of
 * its files.
 */
static void give_to(const char *dir, uid_t uid)
{
	static const char *const files[] = { "", "/cgroup.procs", "/cgroup.subtree_control",
					     "/cgroup.threads" };
	char path[CGROUP_PATH];

	mkdir(dir, 0755);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, files[i]);
		if (chown(path, uid, uid) < 0)
			result(false, "delegation", "%s: %s", path, strerror(errno));
	}
}

/* Makes a group with limits, looks whether they and it are there, and removes it. */
static int use_delegated(const char *parent, const char *where)
{
	const struct limits l = { .cpu_weight = 300,
				  .cpu_quota_us = 50000,
				  .cpu_period_us = 100000,
				  .memory_max = 200 << 20 };
	struct err err = ERR_INIT;
	struct cgroup g = { 0 };
	char path[2 * CGROUP_PATH];
	int good;

	if (cgroup_find(&g.site, "/proc", parent, &err) ||
	    cgroup_create(&g, "mine", getpid(), &l, NULL, 0, &err) || cgroup_join(&g, &err)) {
		printf("# %s\n", err.text);
		return err.code;
	}
	snprintf(path, sizeof(path), "%s/%s/memory.max", where, g.name);
	good = number_in(path, "") == 200 << 20;
	snprintf(path, sizeof(path), "%s/%s/cpu.weight", where, g.name);
	good &= number_in(path, "") == 300;
	snprintf(path, sizeof(path), "%s/%s/cpu.max", where, g.name);
	good &= number_in(path, "50000 ") == 100000;
	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", where, g.name);
	good &= number_in(path, "") == (uint64_t)getpid();
	cgroup_remove(&g);
	return good && access(path, F_OK) < 0 ? 0 : EBADMSG;
}

/* As a user without rights, in a group: what came of it, an errno. */
static int as_user(const char *group, const char *parent, const char *where)
{
	char path[CGROUP_PATH];
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		if (!put(path, "0") || setresgid(1000, 1000, 1000) < 0 ||
		    setresuid(1000, 1000, 1000) < 0)
			_exit(ESRCH);
		status = use_delegated(parent, where);
		fflush(stdout);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static void delegated(void)
{
	int ret;

	put(ROOT "/cgroup.subtree_control", "+cpu +memory");
	give_to(ROOT "/user", 1000);
	give_to(ROOT "/user/scope", 1000);
	ret = as_user(ROOT "/user/scope", NULL, ROOT "/user/twinstep");
	result(ret == 0 && access(ROOT "/user/twinstep", F_OK) < 0, "delegated",
	       "beside a user's own group: %s", strerror(ret));
	ret = as_user(ROOT "/user/scope", "/user", ROOT "/user");
	result(ret == 0, "delegated-named", "--cgroup with a user's group: %s", strerror(ret));
	mkdir(ROOT "/others", 0755);
	mkdir(ROOT "/others/scope", 0755);
	ret = as_user(ROOT "/others/scope", NULL, ROOT "/others/twinstep");
	result(ret == EACCES, "not-delegated", "beside somebody else's: %s", strerror(ret));
	ret = as_user(ROOT "/others/scope", "/user", ROOT "/user");
	result(ret == EACCES, "delegated-elsewhere",
	       "from a group that is not below the user's: %s", strerror(ret));
}

static void killed(void)
{
	struct cgroup g = { 0 }, next = { 0 };
	struct err err = ERR_INIT;
	pid_t pid = start(&g, "killed", &(struct limits){ .cpu_weight = 5 }, NULL, burn);
	char path[2 * CGROUP_PATH];
	bool there, gone;

	snprintf(path, sizeof(path), "%s/%s", g.site.tree[g.site.of[CGROUP_CPU]].parent, g.name);
	there = access(path, F_OK) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cgroup_find(&next.site, "/proc", NULL, &err);
	cgroup_create(&next, "next", getpid(), &(struct limits){ .cpu_weight = 5 }, NULL, 0, &err);
	gone = access(path, F_OK) < 0;
	cgroup_remove(&next);
	result(there && gone, "left-behind", "%s",
	       there ? "removed by the next" : "it was never there");
	*strrchr(path, '/') = 0;
	result(access(path, F_OK) < 0, "nothing-left", "%s", path);
}

int main(int argc, char **argv)
{
	struct cgroup_site s;
	struct err err = ERR_INIT;

	version = argc > 1 ? argv[1] : "v2";
	v2 = !strcmp(version, "v2");
	mount_groups();
	cgroup_find(&s, "/proc", NULL, &err);
	for (unsigned c = 0; c < CGROUP_ACCOUNT; c++) {
		if (s.of[c] < 0 || s.tree[s.of[c]].v2 != v2)
			result(false, "find", "controller %u is not there", c);
	}
	cpu_max();
	cpu_weight();
	memory_max();
	io_max();
	if (v2) {
		beside();
		delegated();
	}
	killed();
	return failed;
}
