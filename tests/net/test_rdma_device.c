// SPDX-License-Identifier: GPL-2.0-or-later
/* What is wrong with a host's RDMA devices is told in one line, on devices that are made up. */
#include <errno.h>
#include <sys/wait.h>

#include "net/rdma_device.c"
#include "tests/unit.h"

/* ---- one device with one port ---- */

static struct {
	int devices, open_errno, qp_errno, channels;
	enum ibv_port_state state;
	enum ibv_event_type event;
} host;

static struct ibv_device device = { .name = "made0" }, *devices[] = { &device, NULL };
static struct ibv_context context = { .device = &device, .async_fd = -1 };
static struct ibv_pd pd;

static struct ibv_device **make_list(int *n)
{
	*n = host.devices;
	return devices;
}

static void free_list(struct ibv_device **list)
{
}

static const char *name_of(struct ibv_device *d)
{
	return d->name;
}

static struct ibv_context *open_made(struct ibv_device *d)
{
	errno = host.open_errno;
	return host.open_errno ? NULL : &context;
}

static int close_made(struct ibv_context *c)
{
	return 0;
}

static int query_made(struct ibv_context *c, struct ibv_device_attr *a)
{
	*a = (struct ibv_device_attr){ .phys_port_cnt = 1 };
	return 0;
}

/* 192.0.2.7, at place 1. */
static int query_gid(struct ibv_context *c, uint32_t port, uint32_t i, struct ibv_gid_entry *e,
		     uint32_t flags, size_t size)
{
	static const uint8_t gid[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };

	if (i != 1)
		return ENODATA;
	memcpy(e->gid.raw, gid, sizeof(gid));
	e->gid_type = IBV_GID_TYPE_ROCE_V2;
	return 0;
}

static struct ibv_pd *make_pd(struct ibv_context *c)
{
	return &pd;
}

static int free_pd(struct ibv_pd *p)
{
	return 0;
}

static struct ibv_comp_channel *make_channel(struct ibv_context *c)
{
	struct ibv_comp_channel *channel = calloc(1, sizeof(*channel));

	if (!channel || !host.channels)
		ck_abort_msg("no channel");
	host.channels--;
	channel->fd = dup(0);
	return channel;
}

static int free_channel(struct ibv_comp_channel *c)
{
	host.channels++;
	close(c->fd);
	free(c);
	return 0;
}

static struct ibv_cq *make_cq(struct ibv_context *c, int n, void *ctx, struct ibv_comp_channel *ch,
			      int vector)
{
	static struct ibv_cq cq;

	return &cq;
}

static int free_cq(struct ibv_cq *cq)
{
	return 0;
}

static struct ibv_qp *make_qp(struct ibv_pd *p, struct ibv_qp_init_attr *a)
{
	struct ibv_qp *q = host.qp_errno ? NULL : calloc(1, sizeof(*q));

	ck_assert_int_eq(a->qp_type, IBV_QPT_RC);
	errno = host.qp_errno;
	if (q)
		q->context = &context;
	return q;
}

static int free_qp(struct ibv_qp *q)
{
	free(q);
	return 0;
}

static int modify_made(struct ibv_qp *q, struct ibv_qp_attr *a, int mask)
{
	return 0;
}

static int post_made(struct ibv_qp *q, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	return 0;
}

static const char *state_text(enum ibv_port_state s)
{
	return s == IBV_PORT_ACTIVE ? "PORT_ACTIVE" : "PORT_DOWN";
}

/* Each byte in the pipe is one. */
static int get_event(struct ibv_context *c, struct ibv_async_event *e)
{
	char x;

	*e = (struct ibv_async_event){ .event_type = host.event };
	return read(c->async_fd, &x, 1) == 1 ? 0 : -1;
}

static void ack_event(struct ibv_async_event *e)
{
}

static const struct rdma_library made = {
	.get_device_list = make_list,
	.free_device_list = free_list,
	.get_device_name = name_of,
	.open_device = open_made,
	.close_device = close_made,
	.query_device = query_made,
	.query_gid_ex = query_gid,
	.alloc_pd = make_pd,
	.dealloc_pd = free_pd,
	.create_comp_channel = make_channel,
	.destroy_comp_channel = free_channel,
	.create_cq = make_cq,
	.destroy_cq = free_cq,
	.create_qp = make_qp,
	.destroy_qp = free_qp,
	.modify_qp = modify_made,
	.port_state_str = state_text,
	.get_async_event = get_event,
	.ack_async_event = ack_event,
};

/* These take the place of net/rdma_library.c. */
const struct rdma_library *rdma_library_load(struct err *err)
{
	return &made;
}

int rdma_query_port(const struct rdma_library *l, struct ibv_context *c, uint8_t port,
		    struct ibv_port_attr *a)
{
	*a = (struct ibv_port_attr){ .state = host.state, .gid_tbl_len = 4 };
	return 0;
}

/* ---- what is told ---- */

static void set_up(void)
{
	struct err err = ERR_INIT;

	host.devices = 1;
	host.open_errno = 0;
	host.qp_errno = EOPNOTSUPP;
	host.state = IBV_PORT_ACTIVE;
	host.channels = CHANNELS;
	context.ops.post_recv = post_made;
	ck_assert_ptr_nonnull(verbs_load(&err));
}

static void refused(const char *address, const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct err err = ERR_INIT;

	inet_pton(AF_INET, address, &in.sin_addr);
	ck_assert_ptr_null(device_ops.open((const struct sockaddr *)&in, &err));
	ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_int_eq(host.channels, CHANNELS);
}

START_TEST(no_device)
{
	host.devices = 0;
	refused("192.0.2.7", "this host has no RDMA device");
}
END_TEST

START_TEST(a_device_that_cannot_be_opened)
{
	host.open_errno = EACCES;
	refused("192.0.2.7", "cannot open RDMA device made0: Permission denied");
}
END_TEST

START_TEST(an_address_that_no_port_has)
{
	refused("192.0.2.8",
		"no RDMA device has a GID for the address 192.0.2.8 (there are: made0)");
}
END_TEST

START_TEST(all_addresses_are_none)
{
	refused("0.0.0.0", "rdma: needs the address of one interface");
}
END_TEST

START_TEST(a_device_without_reliable_connections)
{
	refused("192.0.2.7", "RDMA device made0 has no reliable connected queue pairs");
	host.qp_errno = ENOMEM;
	refused("192.0.2.7", "RDMA device made0: no queue pair: Cannot allocate memory "
			     "(RLIMIT_MEMLOCK?)");
}
END_TEST

/* All that there will be are opened with the device: the jail lets nobody open one later. */
START_TEST(completion_channels)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct err err = ERR_INIT;
	struct verbs_qp *q[CHANNELS];
	struct verbs_address own;
	struct verbs_device *d;

	host.qp_errno = 0;
	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	d = device_ops.open((const struct sockaddr *)&in, &err);
	ck_assert_msg(d != NULL, "%s", err.text);
	ck_assert_int_eq(host.channels, 0);
	for (unsigned i = 0; i < CHANNELS; i++) {
		q[i] = device_ops.qp_new(d, 1, 1, &own, &err);
		ck_assert_msg(q[i] != NULL, "%s", err.text);
		ck_assert_int_ne(fcntl(device_ops.descriptor(q[i]), F_GETFL) & O_NONBLOCK, 0);
		for (unsigned k = 0; k < i; k++)
			ck_assert_int_ne(device_ops.descriptor(q[i]), device_ops.descriptor(q[k]));
	}
	ck_assert_ptr_null(device_ops.qp_new(d, 1, 1, &own, &err));
	ck_assert_str_eq(err.text, "RDMA device made0: earlier queue pairs are not gone yet");
	device_ops.qp_free(q[1]);
	q[1] = device_ops.qp_new(d, 1, 1, &own, &err);
	ck_assert_ptr_nonnull(q[1]);
	for (unsigned i = 0; i < CHANNELS; i++)
		device_ops.qp_free(q[i]);
	device_ops.close(d);
	ck_assert_int_eq(host.channels, CHANNELS);
}
END_TEST

START_TEST(a_port_that_is_down)
{
	struct verbs_device d = { .context = &context, .port = 1 };
	struct err err = ERR_INIT;

	pthread_mutex_init(&d.lock, NULL);
	ck_assert_int_eq(device_ops.check(&d, &err), 0);
	host.state = IBV_PORT_DOWN;
	ck_assert_int_eq(device_ops.check(&d, &err), -ENETDOWN);
	ck_assert_str_eq(err.text, "port 1 of RDMA device made0 is down (PORT_DOWN)");
}
END_TEST

/* Whatever its port says, or another device in its place: what was opened is of no use any more. */
START_TEST(a_device_that_is_gone)
{
	struct verbs_device d = { .context = &context, .port = 1 };
	struct err err = ERR_INIT;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	context.async_fd = fd[0];
	pthread_mutex_init(&d.lock, NULL);
	host.event = IBV_EVENT_PORT_ERR;
	ck_assert_int_eq(write(fd[1], "12", 2), 2);
	ck_assert_int_eq(device_ops.check(&d, &err), 0);
	host.event = IBV_EVENT_DEVICE_FATAL;
	ck_assert_int_eq(write(fd[1], "3", 1), 1);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(device_ops.check(&d, &err), -ENODEV);
		ck_assert_str_eq(err.text, "RDMA device made0 is gone");
	}
	context.async_fd = -1;
	close(fd[0]);
	close(fd[1]);
}
END_TEST

/* Root may raise it, others may not. */
START_TEST(a_limit_that_is_too_low)
{
	const struct rlimit low = { 1 << 20, 1 << 20 };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setrlimit(RLIMIT_MEMLOCK, &low) < 0 || (geteuid() == 0 && setuid(65534) < 0))
			_exit(1);
		refused("192.0.2.7", "KiB of memory, and RLIMIT_MEMLOCK is 1024 KiB: raise it");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, no_device);
	tcase_add_test(tc, a_device_that_cannot_be_opened);
	tcase_add_test(tc, an_address_that_no_port_has);
	tcase_add_test(tc, all_addresses_are_none);
	tcase_add_test(tc, a_device_without_reliable_connections);
	tcase_add_test(tc, completion_channels);
	tcase_add_test(tc, a_port_that_is_down);
	tcase_add_test(tc, a_device_that_is_gone);
	tcase_add_test(tc, a_limit_that_is_too_low);
}

UNIT_MAIN("rdma_device", add_tests)
