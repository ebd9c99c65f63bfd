/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hypervisor/soft/code.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct code kept;

/* The seals keep its size, so that no mapping can lose its pages; and nobody may add others. */
static int make_file(void)
{
	int fd = memfd_create("twinstep-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, CODE_MEMORY) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	close(fd);
	return -1;
}

static int map_twice(int fd, struct code *c)
{
	void *rw = mmap(NULL, CODE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *rx = mmap(NULL, CODE_MEMORY, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	if (rw != MAP_FAILED && rx != MAP_FAILED) {
		*c = (struct code){ rw, rx };
		return 0;
	}
	if (rw != MAP_FAILED)
		munmap(rw, CODE_MEMORY);
	if (rx != MAP_FAILED)
		munmap(rx, CODE_MEMORY);
	return -1;
}

const char *code_reserve(void)
{
	int fd, ret;

	if (kept.rw)
		return NULL;
	fd = make_file();
	if (fd < 0)
		return "there is no memory for translated code";
	ret = map_twice(fd, &kept);
	close(fd);
	return ret < 0 ? "memory for translated code cannot be mapped executable" : NULL;
}

int code_take(struct code *c)
{
	if (code_reserve())
		return -1;
	*c = kept;
	kept = (struct code){ 0 };
	return 0;
}

void code_free(struct code *c)
{
	if (!c->rw)
		return;
	munmap(c->rw, CODE_MEMORY);
	munmap((void *)c->rx, CODE_MEMORY);
	*c = (struct code){ 0 };
}
