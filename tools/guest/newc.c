// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes a cpio archive in the newc format, as the kernel wants its initramfs, to standard output.
 * No root is needed for device nodes, and the same input gives the same bytes: owner 0, time 0,
 * inode numbers in the order of the list.
 *
 * The list on standard input has one entry a line; parents come before their children:
 *
 *     dir PATH MODE
 *     file PATH MODE SOURCE
 *     link PATH TARGET
 *     char PATH MODE MAJOR MINOR
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_MAX (256u << 20)

static unsigned long written;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "newc: %s: %s\n", name, what);
	exit(2);
}

static void put(const void *data, size_t n)
{
	if (fwrite(data, 1, n, stdout) != n)
		die(strerror(errno), "standard output");
	written += n;
}

static void pad4(void)
{
	put("\0\0\0", (4 - written % 4) % 4);
}

static void put_entry(const char *path, unsigned mode, unsigned major, unsigned minor,
		      const void *data, size_t len)
{
	static unsigned inode;
	char header[111];

	snprintf(header, sizeof(header),
		 "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++inode, mode, 0u,
		 0u, S_ISDIR(mode) ? 2u : 1u, 0u, (unsigned)len, 0u, 0u, major, minor,
		 (unsigned)strlen(path) + 1, 0u);
	put(header, 110);
	put(path, strlen(path) + 1);
	pad4();
	put(data, len);
	pad4();
}

static void put_file(const char *path, unsigned mode, const char *source)
{
	FILE *f = fopen(source, "rb");
	struct stat st;
	void *data;

	if (!f || fstat(fileno(f), &st))
		die(strerror(errno), source);
	if (!S_ISREG(st.st_mode) || st.st_size > ENTRY_MAX)
		die("not a regular file of reasonable size", source);
	data = malloc((size_t)st.st_size + 1);
	if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		die("cannot be read", source);
	put_entry(path, S_IFREG | mode, 0, 0, data, (size_t)st.st_size);
	free(data);
	fclose(f);
}

int main(void)
{
	char line[4096], kind[8], path[1024], arg[2048];
	unsigned mode, major, minor;

	/* A file must not get the number of a standard descriptor that was left closed. */
	for (int fd = 0; fd <= STDERR_FILENO;)
		fd = open("/dev/null", O_RDWR);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%7s", kind) != 1 || kind[0] == '#')
			continue;
		if (!strcmp(kind, "dir") && sscanf(line, "%*s %1023s %o", path, &mode) == 2)
			put_entry(path, S_IFDIR | mode, 0, 0, "", 0);
		else if (!strcmp(kind, "file") &&
			 sscanf(line, "%*s %1023s %o %2047s", path, &mode, arg) == 3)
			put_file(path, mode, arg);
		else if (!strcmp(kind, "link") && sscanf(line, "%*s %1023s %2047s", path, arg) == 2)
			put_entry(path, S_IFLNK | 0777, 0, 0, arg, strlen(arg));
		else if (!strcmp(kind, "char") &&
			 sscanf(line, "%*s %1023s %o %u %u", path, &mode, &major, &minor) == 4)
			put_entry(path, S_IFCHR | mode, major, minor, "", 0);
		else
			die("not an entry", line);
	}
	put_entry("TRAILER!!!", 0, 0, 0, "", 0);
	while (written % 512)
		put("", 1);
	if (fflush(stdout))
		die(strerror(errno), "standard output");
	return 0;
}
