/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libibverbs, loaded by those who use it: it looks for drivers of all kinds of devices, and would
 * do that in every process that runs a guest.
 */
#ifndef NET_RDMA_LIBRARY_H
#define NET_RDMA_LIBRARY_H

#include <infiniband/verbs.h>

#include "base/err.h"

/* Functions of the library that are used, without their prefix; its header calls others itself. */
#define RDMA_LIBRARY_FUNCTIONS(F)     \
	F(ibv_, get_device_list)      \
	F(ibv_, free_device_list)     \
	F(ibv_, get_device_name)      \
	F(ibv_, open_device)          \
	F(ibv_, close_device)         \
	F(ibv_, query_device)         \
	F(ibv_, query_port)           \
	F(_ibv_, query_gid_ex)        \
	F(ibv_, alloc_pd)             \
	F(ibv_, dealloc_pd)           \
	F(ibv_, reg_mr)               \
	F(ibv_, dereg_mr)             \
	F(ibv_, create_comp_channel)  \
	F(ibv_, destroy_comp_channel) \
	F(ibv_, create_cq)            \
	F(ibv_, destroy_cq)           \
	F(ibv_, get_cq_event)         \
	F(ibv_, ack_cq_events)        \
	F(ibv_, create_qp)            \
	F(ibv_, modify_qp)            \
	F(ibv_, destroy_qp)           \
	F(ibv_, get_async_event)      \
	F(ibv_, ack_async_event)      \
	F(ibv_, port_state_str)       \
	F(ibv_, wc_status_str)

struct rdma_library {
#define RDMA_LIBRARY_MEMBER(prefix, name) __typeof__(&prefix##name) name;
	RDMA_LIBRARY_FUNCTIONS(RDMA_LIBRARY_MEMBER)
#undef RDMA_LIBRARY_MEMBER
};

/* Loads it, once for the process; before the jail closes. NULL and err: it is not installed. */
const struct rdma_library *rdma_library_load(struct err *err);

/* ibv_query_port(3), with a whole structure. 0, or a positive errno. */
int rdma_query_port(const struct rdma_library *l, struct ibv_context *c, uint8_t port,
		    struct ibv_port_attr *attr);

#endif
