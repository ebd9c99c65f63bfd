// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/unix_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int unix_socket_address(const char *path, struct sockaddr_un *sa, struct err *err)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path)
		return err_set(err, EINVAL, "a socket's path is empty");
	if (strlen(path) >= sizeof(sa->sun_path))
		return err_set(err, EINVAL, "socket path '%s' is longer than %zu bytes", path,
			       sizeof(sa->sun_path) - 1);
	strcpy(sa->sun_path, path);
	return 0;
}

static int make_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/*
 * 0 when the process that made the socket is gone, -EADDRINUSE when it listens, or -errno when that
 * cannot be told. Only a refused connection says that nobody is there; one that would have to wait
 * (EAGAIN) finds the queue of those who want to be heard full.
 */
static int look_for_listener(const struct sockaddr_un *sa)
{
	int fd = make_socket(), ret = -EADDRINUSE;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 && errno != EAGAIN)
		ret = errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
	close(fd);
	return ret;
}

int unix_socket_vacate(const char *path, struct err *err)
{
	struct sockaddr_un sa;
	struct stat st;
	int ret = unix_socket_address(path, &sa, err);

	if (ret || lstat(path, &st) < 0)
		return ret;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST,
			       "'%s' exists and is not a socket: remove it, or name another place",
			       path);
	ret = look_for_listener(&sa);
	if (ret == -EADDRINUSE)
		return err_set(err, EADDRINUSE,
			       "socket '%s' is in use: a process listens there; end it, or name "
			       "another place",
			       path);
	if (ret < 0)
		return err_set(err, -ret, "cannot tell whether a process listens at '%s': %s", path,
			       strerror(-ret));
	unlink(path);
	return 0;
}

/*
 * The directory, with a lock on it: looking at a socket and removing it is one step for those who
 * make one there. A descriptor, or -errno.
 */
static int lock_directory(const char *dir, int how)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, how) == 0)
		return fd;
	close(fd);
	return -EAGAIN;
}

static bool sweep_one(const char *path, unsigned age_s)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_mtime < time(NULL) - (time_t)age_s && unix_socket_vacate(path, NULL) == 0;
}

unsigned unix_socket_sweep(const char *dir, const char *suffix, unsigned age_s)
{
	size_t end = strlen(suffix);
	unsigned swept = 0;
	/* If sockets are being made, or others sweep, there will be another time for it. */
	int lock = lock_directory(dir, LOCK_EX | LOCK_NB);
	DIR *d = lock < 0 ? NULL : opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
		size_t len = strlen(e->d_name);
		int n = snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);

		if (len >= end && !strcmp(e->d_name + len - end, suffix) && n > 0 &&
		    (size_t)n < sizeof(path))
			swept += sweep_one(path, age_s);
	}
	if (d)
		closedir(d);
	if (lock >= 0)
		close(lock);
	return swept;
}

/* Opens and locks the directory of a path. A descriptor, or -errno: there is none to lock. */
static int lock_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return lock_directory(dir, LOCK_SH);
}

/* Like unix_socket_listen(), while nobody sweeps the directory. */
static int listen_at(const char *path, int backlog, struct err *err)
{
	struct sockaddr_un sa;
	bool bound = false;
	int fd = -1, ret = unix_socket_vacate(path, err);

	if (ret)
		return ret;
	unix_socket_address(path, &sa, NULL);
	fd = make_socket();
	/* The mode of the socket before it is bound becomes that of the file. */
	if (fd >= 0 && fchmod(fd, 0600) == 0)
		bound = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;
	if (bound && listen(fd, backlog) == 0)
		return fd;
	ret = err_set(err, errno, "cannot listen at '%s': %s", path, strerror(errno));
	if (bound)
		unlink(path);
	if (fd >= 0)
		close(fd);
	return ret;
}

int unix_socket_listen(const char *path, int backlog, struct err *err)
{
	int lock = lock_parent(path);
	int ret = listen_at(path, backlog, err);

	if (lock >= 0)
		close(lock);
	return ret;
}
