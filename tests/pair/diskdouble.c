// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk that can fail and lose power, between twinstep and its images (LD_PRELOAD). Beside an
 * image or its metadata, PATH.undo is a file that this maps:
 *
 *   u32 errno that every access fails with, 0: none; u32 zero; u64 bytes used behind these 16
 *   then, for each write since the last flush: u64 offset, u64 length, what was there before
 *
 * What is in it, storage need not have kept: a test that ends the process and its host's power
 * (postgres.py) puts old sectors back, each as it was at some moment since the flush, in any order.
 * Memory alone is written here, so nothing needs a system call that the jail does not allow. A log
 * that is full is a disk that has written out what it had.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 1024

struct undo {
	volatile uint32_t fail;
	uint32_t zero;
	uint64_t used;
	uint8_t data[];
};

static struct double_file {
	struct undo *undo;
	uint64_t room;
} file[FILES];

static int (*real_open)(const char *path, int flags, ...);
static ssize_t (*real_pread)(int fd, void *data, size_t len, off_t at);
static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t at);
static int (*real_fdatasync)(int fd);
static int (*real_fallocate)(int fd, int mode, off_t at, off_t len);

/* Other libraries' constructors may open files before this one's. */
__attribute__((constructor)) static void find_real(void)
{
	if (real_open)
		return;
	*(void **)&real_open = dlsym(RTLD_NEXT, "open");
	*(void **)&real_pread = dlsym(RTLD_NEXT, "pread");
	*(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
	*(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	*(void **)&real_fallocate = dlsym(RTLD_NEXT, "fallocate");
}

/* The file's double; NULL: it has none. */
static struct double_file *find(int fd)
{
	return fd >= 0 && fd < FILES && file[fd].undo ? &file[fd] : NULL;
}

static int failed(const struct double_file *f)
{
	if (f && f->undo->fail)
		errno = (int)f->undo->fail;
	return f && f->undo->fail;
}

static void flushed(struct double_file *f)
{
	f->undo->used = 0;
}

/* Keeps what is about to be overwritten. */
static void keep(struct double_file *f, int fd, uint64_t len, uint64_t at)
{
	struct undo *u = f->undo;
	uint64_t head[2] = { at, len };
	ssize_t got;

	if (u->used + sizeof(head) + len > f->room)
		flushed(f);
	if (sizeof(head) + len > f->room)
		return;
	got = real_pread(fd, u->data + u->used + sizeof(head), len, (off_t)at);
	if (got != (ssize_t)len)
		return;
	memcpy(u->data + u->used, head, sizeof(head));
	u->used += sizeof(head) + len;
}

static void attach(int fd, const char *path)
{
	char name[4096];
	struct stat st;
	void *map;
	int undo;

	if (fd < 0 || fd >= FILES || strlen(path) + 6 > sizeof(name))
		return;
	file[fd].undo = NULL;
	snprintf(name, sizeof(name), "%s.undo", path);
	undo = real_open(name, O_RDWR | O_CLOEXEC);
	if (undo < 0)
		return;
	if (!fstat(undo, &st) && st.st_size > (off_t)sizeof(struct undo)) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, undo, 0);
		if (map != MAP_FAILED)
			file[fd] = (struct double_file){ map, (uint64_t)st.st_size -
								      sizeof(struct undo) };
	}
	close(undo);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;
	int fd;

	find_real();
	va_start(ap, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	fd = real_open(path, flags, mode);
	if (flags & O_RDWR)
		attach(fd, path);
	else if (fd >= 0 && fd < FILES)
		file[fd].undo = NULL;
	return fd;
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	return failed(find(fd)) ? -1 : real_pread(fd, data, len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	struct double_file *f = find(fd);

	if (failed(f))
		return -1;
	if (f)
		keep(f, fd, len, (uint64_t)at);
	return real_pwrite(fd, data, len, at);
}

/* The host of a test does not lose its power, so what is flushed need not reach its storage. */
int fdatasync(int fd)
{
	struct double_file *f = find(fd);

	if (!f)
		return real_fdatasync(fd);
	if (failed(f))
		return -1;
	flushed(f);
	return 0;
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	struct double_file *f = find(fd);

	if (failed(f))
		return -1;
	if (f)
		keep(f, fd, (uint64_t)len, (uint64_t)at);
	return real_fallocate(fd, mode, at, len);
}
