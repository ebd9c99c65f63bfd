// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/rdma_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#define LIBRARY "libibverbs.so.1"

static struct rdma_library ibv;

static int find(void *library, const char *name, void *function, struct err *err)
{
	*(void **)function = dlsym(library, name);
	return *(void **)function
		       ? 0
		       : err_set(err, EINVAL, "%s has no %s(): %s", LIBRARY, name, dlerror());
}

const struct rdma_library *rdma_library_load(struct err *err)
{
	static void *library;
	int ret = 0;

	if (library)
		return &ibv;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		err_set(err, EINVAL, "RDMA needs %s (packages libibverbs1, ibverbs-providers): %s",
			LIBRARY, dlerror());
		return NULL;
	}
#define FIND(prefix, name) ret = ret ? ret : find(library, #prefix #name, &ibv.name, err);
	RDMA_LIBRARY_FUNCTIONS(FIND)
#undef FIND
	if (ret == 0)
		return &ibv;
	dlclose(library);
	library = NULL;
	return NULL;
}

int rdma_query_port(const struct rdma_library *l, struct ibv_context *c, uint8_t port,
		    struct ibv_port_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	/* The exported function fills in the beginning, which has not changed since. */
	return l->query_port(c, port, (struct _compat_ibv_port_attr *)attr);
}
