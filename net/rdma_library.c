// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/rdma_library.h"

#include <stdbool.h>
#include <string.h>

#include "base/library.h"

static struct rdma_library ibv;

const struct rdma_library *rdma_library_load(struct err *err)
{
#define ROW(prefix, name) { #prefix #name, &ibv.name },
	static const struct library_function functions[] = { RDMA_LIBRARY_FUNCTIONS(ROW) };
#undef ROW
	static bool loaded;

	if (!loaded)
		loaded = library_load("libibverbs.so.1", "RDMA", "libibverbs1, ibverbs-providers",
				      functions, sizeof(functions) / sizeof(*functions), err) == 0;
	return loaded ? &ibv : NULL;
}

int rdma_query_port(const struct rdma_library *l, struct ibv_context *c, uint8_t port,
		    struct ibv_port_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	/* The exported function fills in the beginning, which has not changed since. */
	return l->query_port(c, port, (struct _compat_ibv_port_attr *)attr);
}
