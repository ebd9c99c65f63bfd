// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of control sockets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "host/control.h"

#define SOCKET_SUFFIX ".sock"
#define LEFT_S	      10 /* a younger socket's machine may be about to listen */
#define PATH_MAX_LEN  (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static char *directory_name(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *dir = NULL;
	int n;

	if (geteuid() == 0)
		n = asprintf(&dir, "/run/twinstep");
	else if (runtime && runtime[0] == '/')
		n = asprintf(&dir, "%s/twinstep", runtime);
	else
		n = asprintf(&dir, "/tmp/twinstep-%u", (unsigned)geteuid());
	return n < 0 ? NULL : dir;
}

/* Ours alone: where others may write, they could put their own socket in our place. */
static int check_directory(const char *dir, bool create, struct err *err)
{
	struct stat st;

	if (create && mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "cannot create '%s' for the control socket: %s", dir,
			       strerror(errno));
	if (lstat(dir, &st) < 0 && errno == ENOENT)
		return err_set(err, ENOENT,
			       "no machine of this user runs under a name: there is no '%s'", dir);
	if (lstat(dir, &st) < 0)
		return err_set(err, errno, "cannot look for the control socket in '%s': %s", dir,
			       strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		return err_set(err, EPERM, "'%s' must be a directory of this user alone, mode 0700",
			       dir);
	return 0;
}

static int path_in(const char *name, const char *suffix, bool create, char **path, struct err *err)
{
	char *dir = directory_name();
	int ret = dir ? check_directory(dir, create, err) : err_set(err, ENOMEM, "out of memory");

	if (ret == 0 && asprintf(path, "%s/%s%s", dir, name, suffix) < 0) {
		*path = NULL;
		ret = err_set(err, ENOMEM, "out of memory");
	}
	free(dir);
	return ret;
}

int control_file(const char *name, bool create, char **path, struct err *err)
{
	*path = NULL;
	return path_in(name, "", create, path, err);
}

int control_directory(bool create, char **path, struct err *err)
{
	int ret;

	*path = directory_name();
	ret = *path ? check_directory(*path, create, err) : err_set(err, ENOMEM, "out of memory");
	if (ret < 0) {
		free(*path);
		*path = NULL;
	}
	return ret;
}

/* A socket in the current directory, whose path is a plain name. */
static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

int control_path(const char *who, bool create, char **path, struct err *err)
{
	int ret;

	*path = NULL;
	if (!*who || (*who == '.' && !strchr(who, '/')))
		return err_set(err, EINVAL, "'%s' cannot be the name of a machine", who);
	ret = strchr(who, '/') ? -ENOENT : path_in(who, SOCKET_SUFFIX, create, path, err);
	if (strchr(who, '/') || (!create && is_socket(who) && (ret < 0 || !is_socket(*path)))) {
		free(*path);
		*path = strdup(who);
		ret = *path ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	if (ret == 0 && strlen(*path) > PATH_MAX_LEN)
		ret = err_set(err, ENAMETOOLONG,
			      "the control socket's path '%s' is longer than %zu bytes", *path,
			      PATH_MAX_LEN);
	if (ret < 0) {
		free(*path);
		*path = NULL;
	}
	return ret;
}

/*
 * A name of its own takes over the socket that its machine left behind; those of other names, whose
 * machines were killed and never started again, would stay for ever.
 */
static int path_of_new(const char *name, char **path, struct err *err)
{
	int ret = control_path(name, true, path, err);
	char *dir = NULL;
	unsigned n = 0;

	if (ret == 0 && control_directory(false, &dir, NULL) == 0)
		n = unix_socket_sweep(dir, SOCKET_SUFFIX, LEFT_S);
	if (n)
		log_info("removed %u control socket%s that killed machines had left in '%s'", n,
			 n == 1 ? "" : "s", dir);
	free(dir);
	return ret;
}

int control_options_path(const char *control, const char *name, char **path, struct err *err)
{
	*path = NULL;
	if (control && name)
		return err_set(err, EINVAL, "--name and --control exclude each other");
	if (name)
		return path_of_new(name, path, err);
	if (control && !(*path = strdup(control)))
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}
