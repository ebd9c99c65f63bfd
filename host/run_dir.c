// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "host/control.h"

char *run_dir_file(const char *dir, const char *file)
{
	char *path;

	must(asprintf(&path, "%s/%s", dir, file) >= 0);
	return path;
}

static char *state_base(void)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return strdup("/var/lib/twinstep");
	if (xdg && xdg[0] == '/')
		return run_dir_file(xdg, "twinstep");
	return run_dir_file(home && home[0] == '/' ? home : "/tmp", ".local/state/twinstep");
}

/* A directory and those above it, ours alone; 0 or -errno. */
static int make_path(const char *path, struct err *err)
{
	char *copy = strdup(path);
	int ret = 0;

	must(copy != NULL);
	for (char *s = copy + 1; ret == 0 && s; s = strchr(s + 1, '/')) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			ret = -errno;
		*s = '/';
	}
	if (ret == 0 && mkdir(copy, 0700) < 0 && errno != EEXIST)
		ret = -errno;
	free(copy);
	return ret ? err_set(err, -ret, "cannot make the directory %s: %s", path, strerror(-ret))
		   : 0;
}

static int paths(struct run_dir *d, const char *name, bool create, struct err *err)
{
	char *base, *run;
	int ret = control_directory(create, &run, err);

	*d = (struct run_dir){ .lock = -1 };
	if (ret < 0)
		return ret;
	base = state_base();
	must(base != NULL);
	d->run = run_dir_file(run, name);
	d->state = run_dir_file(base, name);
	free(base);
	free(run);
	return 0;
}

static int take_lock(struct run_dir *d, const char *name, struct err *err)
{
	char *path = run_dir_file(d->run, "lock"), text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), n, ret = 0;

	if (fd < 0)
		ret = err_set(err, errno, "cannot make %s: %s", path, strerror(errno));
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		ret = err_set(err, EBUSY,
			      "guest %s is up on this host already (process %d); `twinstep list` "
			      "shows it",
			      name, (int)run_dir_holder(d));
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ret == 0 && (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n))
		ret = err_set(err, errno ? errno : EIO, "cannot write %s: %s", path,
			      strerror(errno ? errno : EIO));
	if (ret < 0 && fd >= 0)
		close(fd);
	free(path);
	d->lock = ret < 0 ? -1 : fd;
	return ret;
}

int run_dir_open(struct run_dir *d, const char *name, struct err *err)
{
	int ret = paths(d, name, true, err);

	if (ret == 0)
		ret = make_path(d->run, err);
	if (ret == 0)
		ret = make_path(d->state, err);
	return ret ? ret : take_lock(d, name, err);
}

int run_dir_find(struct run_dir *d, const char *name, struct err *err)
{
	return paths(d, name, false, err);
}

void run_dir_close(struct run_dir *d)
{
	if (d->lock >= 0) {
		run_dir_put_state(d, NULL);
		close(d->lock);
	}
	free(d->run);
	free(d->state);
	*d = (struct run_dir){ .lock = -1 };
}

pid_t run_dir_holder(const struct run_dir *d)
{
	char *path = run_dir_file(d->run, "lock"), text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	pid_t pid = 0;

	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && pread(fd, text, sizeof(text) - 1, 0) > 0)
		pid = atoi(text);
	if (fd >= 0)
		close(fd);
	free(path);
	return pid > 0 ? pid : 0; /* kill() has other uses for what is below */
}

void run_dir_put_state(const struct run_dir *d, const json_t *state)
{
	char *path = run_dir_file(d->run, "state"), *tmp = run_dir_file(d->run, "state.new");

	if (!state)
		unlink(path);
	else if (json_dump_file(state, tmp, JSON_COMPACT) == 0 && rename(tmp, path) < 0)
		unlink(tmp);
	free(tmp);
	free(path);
}

json_t *run_dir_get_state(const struct run_dir *d)
{
	char *path = run_dir_file(d->run, "state");
	json_t *o = json_load_file(path, 0, NULL);

	free(path);
	return o;
}
