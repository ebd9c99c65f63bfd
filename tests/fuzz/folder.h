/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory of the fuzzer's own, in memory where there is such a place, emptied after each input.
 */
#ifndef TESTS_FUZZ_FOLDER_H
#define TESTS_FUZZ_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static struct {
	char path[64];
	int fd;
} folder;

static inline void folder_empty(void)
{
	int fd = openat(folder.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);
	struct dirent *e;

	must(d);
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(folder.fd, e->d_name, 0);
	}
	closedir(d);
}

static inline void folder_remove(void)
{
	folder_empty();
	rmdir(folder.path);
}

static inline void folder_make(void)
{
	if (folder.path[0])
		return;
	strcpy(folder.path, "/dev/shm/twinstep-fuzz-XXXXXX");
	if (!mkdtemp(folder.path)) {
		strcpy(folder.path, "/tmp/twinstep-fuzz-XXXXXX");
		must(mkdtemp(folder.path));
	}
	folder.fd = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(folder.fd >= 0);
	atexit(folder_remove);
}

static inline void folder_file(const char *name, const void *data, size_t n)
{
	int fd = openat(folder.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	close(fd);
}

#endif
