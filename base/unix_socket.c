// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/unix_socket.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
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

/* EAGAIN: the queue of those who want to be heard is full. */
static bool is_served(const struct sockaddr_un *sa)
{
	int fd = make_socket();
	bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 ||
				  errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return served;
}

int unix_socket_vacate(const char *path, struct err *err)
{
	struct sockaddr_un sa;
	struct stat st;
	int ret = unix_socket_address(path, &sa, err);

	if (ret || lstat(path, &st) < 0)
		return ret;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST, "'%s' exists and is not a socket", path);
	if (is_served(&sa))
		return err_set(err, EADDRINUSE, "socket '%s' is in use: a process listens there",
			       path);
	unlink(path);
	return 0;
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
	DIR *d = opendir(dir);
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
	return swept;
}

int unix_socket_listen(const char *path, int backlog, struct err *err)
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
