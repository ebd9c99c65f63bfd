// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Forces the queue pairs of the process that it is loaded into (LD_PRELOAD) into their error state,
 * as an adapter does that has lost its mind, when the file that RDMA_BREAK names appears; removes
 * it then.
 */
#include <limits.h>
#include <pthread.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DESCRIPTORS 256
#define HANDLES	    64 /* what is no queue pair is refused */
#define STATE_ERROR 6  /* IB_QPS_ERR */

static void break_one(int fd, unsigned handle)
{
	struct ib_uverbs_modify_qp cmd = { .qp_handle = handle,
					   .attr_mask = 1, /* IB_QP_STATE */
					   .qp_state = STATE_ERROR };
	const struct ib_uverbs_attr attr[] = {
		{ UVERBS_ATTR_WRITE_CMD,
		  8,
		  UVERBS_ATTR_F_MANDATORY,
		  { { 0 } },
		  { IB_USER_VERBS_CMD_MODIFY_QP } },
		{ UVERBS_ATTR_CORE_IN,
		  sizeof(cmd),
		  UVERBS_ATTR_F_MANDATORY,
		  { { 0 } },
		  { (unsigned long)&cmd } },
	};
	union {
		struct ib_uverbs_ioctl_hdr head;
		char bytes[sizeof(struct ib_uverbs_ioctl_hdr) + sizeof(attr)];
	} call = { .head = { .length = sizeof(call),
			     .object_id = UVERBS_OBJECT_DEVICE,
			     .method_id = UVERBS_METHOD_INVOKE_WRITE,
			     .num_attrs = sizeof(attr) / sizeof(*attr),
			     .driver_id = RDMA_DRIVER_RXE } };

	memcpy(call.bytes + sizeof(call.head), attr, sizeof(attr));
	if (ioctl(fd, RDMA_VERBS_IOCTL, &call) == 0)
		fprintf(stderr, "break: queue pair %u is in its error state\n", handle);
}

static void break_all(void)
{
	char path[64], to[PATH_MAX];

	for (int fd = 3; fd < DESCRIPTORS; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n <= 0)
			continue;
		to[n] = 0;
		for (unsigned h = 0; strstr(to, "/uverbs") && h < HANDLES; h++)
			break_one(fd, h);
	}
}

static void *wait_for_file(void *path)
{
	for (;;) {
		usleep(20000);
		if (unlink(path) == 0)
			break_all();
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	char *path = getenv("RDMA_BREAK");
	pthread_t t;

	if (path)
		pthread_create(&t, NULL, wait_for_file, path);
}
