/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hypervisor/soft/code.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Code memory that the next machine gets: reserved for it, or left by one that is gone. */
static struct code *_Atomic kept;

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

static void unmap(const struct code *c)
{
	munmap(c->rw, CODE_MEMORY);
	munmap((void *)c->rx, CODE_MEMORY);
}

static int map_twice(int fd, struct code *c)
{
	void *rw = mmap(NULL, CODE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *rx = mmap(NULL, CODE_MEMORY, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	/* A process that is forked off, as a jail's keeper, shall hold no code of a guest's. */
	if (rw != MAP_FAILED && rx != MAP_FAILED && madvise(rw, CODE_MEMORY, MADV_DONTFORK) == 0 &&
	    madvise(rx, CODE_MEMORY, MADV_DONTFORK) == 0) {
		*c = (struct code){ rw, rx };
		return 0;
	}
	if (rw != MAP_FAILED)
		munmap(rw, CODE_MEMORY);
	if (rx != MAP_FAILED)
		munmap(rx, CODE_MEMORY);
	return -1;
}

/* Puts it by for the next code_take(), unless there is one already. */
static bool keep(const struct code *c)
{
	struct code *copy = malloc(sizeof(*copy)), *none = NULL;

	if (!copy)
		return false;
	*copy = *c;
	if (atomic_compare_exchange_strong(&kept, &none, copy))
		return true;
	free(copy);
	return false;
}

const char *code_reserve(void)
{
	struct code c;
	int fd, ret;

	if (atomic_load(&kept))
		return NULL;
	fd = make_file();
	if (fd < 0)
		return "there is no memory for translated code";
	ret = map_twice(fd, &c);
	close(fd);
	if (ret < 0)
		return "memory for translated code cannot be mapped executable";
	if (!keep(&c))
		unmap(&c);
	return NULL;
}

int code_take(struct code *c)
{
	struct code *taken;

	/* Another thread may take it in between. */
	while (!(taken = atomic_exchange(&kept, NULL))) {
		if (code_reserve())
			return -1;
	}
	*c = *taken;
	free(taken);
	return 0;
}

void code_free(struct code *c)
{
	if (!c->rw)
		return;
	/* A process that makes its next machine inside its jail cannot map another. */
	if (!keep(c))
		unmap(c);
	*c = (struct code){ 0 };
}
