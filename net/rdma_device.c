// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Verbs on hardware, and on SoftRoCE: libibverbs (ibv_create_qp(3), ibv_modify_qp(3),
 * ibv_post_send(3), ibv_poll_cq(3), ibv_get_cq_event(3)).
 *
 * A device is found by an IP address. On Ethernet (RoCE) that is a port's GID as it stands; on
 * InfiniBand the GID is the end of the hardware address of the interface that has the IP address
 * (RFC 4391, 9.1.1). Nothing is left for librdmacm to do: the other side's address comes over TLS,
 * from somebody who is known.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netpacket/packet.h>
#include <openssl/rand.h>
#include <poll.h>
#include <pthread.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "net/rdma_library.h"
#include "net/rdma_private.h"

/*
 * Memory that is pinned: two peers' rings (one that is lost, and its successor), a window for
 * pages, and queues of drivers that pin them.
 */
#define PINNED (2 * 2 * RDMA_HALF + (3u << 20))

/*
 * An answer that does not come for about 17 ms is asked for again, three times: a path that is gone
 * is noticed within a part of the timeout of a pair.
 */
#define ACK_TIMEOUT 12
#define ACK_RETRIES 3

/*
 * Queue pairs of a device at one time: those of a peer that is lost and of its successor, and as
 * many on their way down. Their completion channels are opened with the device, before the jail
 * closes.
 */
#define CHANNELS 4

struct verbs_device {
	struct ibv_context *context;
	struct ibv_pd *pd;
	uint8_t port;
	union ibv_gid gid;
	pthread_mutex_t lock; /* guards what follows */
	unsigned holders;
	bool gone; /* for good: what was opened stays useless when the device returns */
	struct ibv_comp_channel *channel[CHANNELS]; /* that no queue pair has, else NULL */
};

struct verbs_memory {
	struct ibv_mr *mr;
};

struct verbs_qp {
	struct verbs_device *device;
	struct ibv_comp_channel *channel;
	struct ibv_cq *sent, *arrived;
	struct ibv_qp *qp;
	uint32_t psn;
	char why[96];
};

static const struct rdma_library *ibv;

/* ---- finding a device ---- */

struct gids {
	union ibv_gid gid[2];
	unsigned n;
};

static void gid_of_address(const struct sockaddr *a, union ibv_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	if (a->sa_family == AF_INET6) {
		memcpy(gid->raw, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
		return;
	}
	gid->raw[10] = gid->raw[11] = 0xff;
	memcpy(gid->raw + 12, &((const struct sockaddr_in *)a)->sin_addr, 4);
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	union ibv_gid x, y;

	if (!b || a->sa_family != b->sa_family)
		return false;
	gid_of_address(a, &x);
	gid_of_address(b, &y);
	return !memcmp(&x, &y, sizeof(x));
}

/* The GID in the hardware address of an IPoIB interface. */
static bool gid_of_interface(const struct ifaddrs *list, const char *name, union ibv_gid *gid)
{
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_ll *ll =
			(const struct sockaddr_ll *)(const void *)i->ifa_addr;

		if (!ll || ll->sll_family != AF_PACKET || strcmp(i->ifa_name, name) ||
		    ll->sll_halen != 20)
			continue;
		memcpy(gid->raw, (const uint8_t *)ll->sll_addr + 4, 16);
		return true;
	}
	return false;
}

static void gids_of(const struct sockaddr *a, struct gids *g)
{
	struct ifaddrs *list = NULL;

	gid_of_address(a, &g->gid[0]);
	g->n = 1;
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i && g->n == 1; i = i->ifa_next) {
		if (same_address(a, i->ifa_addr) && gid_of_interface(list, i->ifa_name, &g->gid[1]))
			g->n = 2;
	}
	freeifaddrs(list);
}

/* Its place in the port's table, RoCE version 2 before version 1; -1: it is not there. */
static int gid_index(struct ibv_context *c, uint8_t port, const union ibv_gid *gid)
{
	struct ibv_port_attr attr;
	struct ibv_gid_entry e;
	int found = -1;

	if (rdma_query_port(ibv, c, port, &attr))
		return -1;
	for (int i = 0; i < attr.gid_tbl_len; i++) {
		if (ibv->query_gid_ex(c, port, (uint32_t)i, &e, 0, sizeof(e)) ||
		    memcmp(&e.gid, gid, sizeof(*gid)))
			continue;
		if (e.gid_type != IBV_GID_TYPE_ROCE_V1)
			return i;
		found = found < 0 ? i : found;
	}
	return found;
}

/* The port of this device that has one of the GIDs; 0: none. */
static uint8_t port_with(struct ibv_context *c, const struct gids *g, union ibv_gid *gid)
{
	struct ibv_device_attr attr;

	if (ibv->query_device(c, &attr))
		return 0;
	for (uint8_t port = 1; port <= attr.phys_port_cnt; port++) {
		for (unsigned i = 0; i < g->n; i++) {
			*gid = g->gid[i];
			if (gid_index(c, port, gid) >= 0)
				return port;
		}
	}
	return 0;
}

static void address_text(const struct sockaddr *a, char *text, size_t n)
{
	const void *at = a->sa_family == AF_INET6
				 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
				 : (const void *)&((const struct sockaddr_in *)a)->sin_addr;

	if (!inet_ntop(a->sa_family, at, text, (socklen_t)n))
		snprintf(text, n, "?");
}

static bool is_any(const struct sockaddr *a)
{
	union ibv_gid gid, v4 = { .raw = { [10] = 0xff, [11] = 0xff } }, v6 = { .raw = { 0 } };

	gid_of_address(a, &gid);
	return !memcmp(&gid, &v4, sizeof(gid)) || !memcmp(&gid, &v6, sizeof(gid));
}

/* Names of the devices that the host has, for the message that the wanted one is not there. */
static void names_of(struct ibv_device **list, int n, char *text, size_t size)
{
	size_t at = 0;

	text[0] = 0;
	for (int i = 0; i < n && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "",
				       ibv->get_device_name(list[i]));
}

static struct ibv_context *find_in(struct ibv_device **list, int n, const struct sockaddr *local,
				   uint8_t *port, union ibv_gid *gid, struct err *err)
{
	char text[64], names[128];
	struct gids g;
	int unopened = 0;

	gids_of(local, &g);
	for (int i = 0; i < n; i++) {
		struct ibv_context *c = ibv->open_device(list[i]);

		if (!c) {
			unopened = errno ? errno : EACCES;
			continue;
		}
		*port = port_with(c, &g, gid);
		if (*port)
			return c;
		ibv->close_device(c);
	}
	address_text(local, text, sizeof(text));
	names_of(list, n, names, sizeof(names));
	if (!n)
		err_set(err, EINVAL,
			"this host has no RDMA device; for SoftRoCE on an interface: rdma link add "
			"rxe0 type rxe netdev IFACE");
	else if (unopened)
		err_set(err, EINVAL, "cannot open RDMA device %s: %s", names, strerror(unopened));
	else
		err_set(err, EINVAL,
			"no RDMA device has a GID for the address %s (there are: %s): use the "
			"address of an interface that has one; `rdma link` and `ibv_devinfo -v` "
			"list them",
			text, names);
	return NULL;
}

static struct ibv_context *find_context(const struct sockaddr *local, uint8_t *port,
					union ibv_gid *gid, struct err *err)
{
	struct ibv_device **list;
	struct ibv_context *c;
	int n = 0;

	if (is_any(local)) {
		err_set(err, EINVAL,
			"rdma: needs the address of one interface, rather than of all of them");
		return NULL;
	}
	list = ibv->get_device_list(&n);
	c = find_in(list, list ? n : 0, local, port, gid, err);
	if (list)
		ibv->free_device_list(list);
	return c;
}

/* ---- queue pairs ---- */

static struct ibv_comp_channel *channel_take(struct verbs_device *d)
{
	struct ibv_comp_channel *c = NULL;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < CHANNELS && !c; i++) {
		c = d->channel[i];
		d->channel[i] = NULL;
	}
	pthread_mutex_unlock(&d->lock);
	return c;
}

/* Its queue is gone, and with that all news in the channel (ibv_destroy_cq(3)). */
static void channel_return(struct verbs_device *d, struct ibv_comp_channel *c)
{
	unsigned i = 0;

	pthread_mutex_lock(&d->lock);
	while (d->channel[i])
		i++;
	d->channel[i] = c;
	pthread_mutex_unlock(&d->lock);
}

static void device_qp_free(struct verbs_qp *q)
{
	if (q->qp)
		ibv->destroy_qp(q->qp);
	if (q->sent)
		ibv->destroy_cq(q->sent);
	if (q->arrived)
		ibv->destroy_cq(q->arrived);
	if (q->channel)
		channel_return(q->device, q->channel);
	free(q);
}

static int qp_failed(const struct verbs_device *d, const char *what, struct err *err)
{
	int code = errno ? errno : EIO;

	if (code == EOPNOTSUPP || code == ENOSYS)
		return err_set(err, EINVAL,
			       "RDMA device %s has no reliable connected queue pairs: it cannot be "
			       "used",
			       ibv->get_device_name(d->context->device));
	return err_set(err, code, "RDMA device %s: no %s: %s%s",
		       ibv->get_device_name(d->context->device), what, strerror(code),
		       code == ENOMEM ? " (RLIMIT_MEMLOCK?)" : "");
}

static int qp_queues(struct verbs_qp *q, unsigned writes, unsigned arrivals, struct err *err)
{
	struct verbs_device *d = q->device;

	q->channel = channel_take(d);
	if (!q->channel)
		return err_set(err, EBUSY, "RDMA device %s: earlier queue pairs are not gone yet",
			       ibv->get_device_name(d->context->device));
	errno = 0;
	q->sent = ibv->create_cq(d->context, (int)writes, NULL, NULL, 0);
	q->arrived = ibv->create_cq(d->context, (int)arrivals, NULL, q->channel, 0);
	if (!q->sent || !q->arrived)
		return qp_failed(d, "completion queue", err);
	return 0;
}

static int qp_post_receive(struct verbs_qp *q)
{
	struct ibv_recv_wr wr = { 0 }, *bad;

	return ibv_post_recv(q->qp, &wr, &bad);
}

static int qp_init(struct verbs_qp *q, unsigned arrivals, struct err *err)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT,
				    .port_num = q->device->port,
				    .qp_access_flags = IBV_ACCESS_REMOTE_WRITE };
	int ret = ibv->modify_qp(
		q->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);

	for (unsigned i = 0; i < arrivals && ret == 0; i++)
		ret = qp_post_receive(q);
	errno = ret;
	return ret ? qp_failed(q->device, "queue pair in its first state", err) : 0;
}

static struct verbs_qp *qp_make(struct verbs_device *d, unsigned writes, unsigned arrivals,
				struct err *err)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = writes,
			 .max_recv_wr = arrivals,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	struct verbs_qp *q = calloc(1, sizeof(*q));

	if (!q) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	q->device = d;
	if (qp_queues(q, writes, arrivals, err) == 0) {
		init.send_cq = q->sent;
		init.recv_cq = q->arrived;
		errno = 0;
		q->qp = ibv->create_qp(d->pd, &init);
		if (!q->qp)
			qp_failed(d, "queue pair", err);
		else if (qp_init(q, arrivals, err) == 0)
			return q;
	}
	device_qp_free(q);
	return NULL;
}

static struct verbs_qp *device_qp_new(struct verbs_device *d, unsigned writes, unsigned arrivals,
				      struct verbs_address *own, struct err *err)
{
	struct verbs_qp *q = qp_make(d, writes, arrivals, err);
	struct ibv_port_attr port;

	if (!q)
		return NULL;
	if (rdma_query_port(ibv, d->context, d->port, &port) ||
	    RAND_bytes((unsigned char *)&q->psn, sizeof(q->psn)) != 1) {
		err_set(err, EIO, "RDMA device %s does not tell of its port",
			ibv->get_device_name(d->context->device));
		device_qp_free(q);
		return NULL;
	}
	q->psn &= 0xffffff;
	*own = (struct verbs_address){
		.qpn = q->qp->qp_num,
		.psn = q->psn,
		.lid = port.lid,
		.mtu = (uint8_t)port.active_mtu,
		.roce = port.link_layer == IBV_LINK_LAYER_ETHERNET,
	};
	memcpy(own->gid, d->gid.raw, VERBS_GID);
	return q;
}

static int qp_ready_to_receive(struct verbs_qp *q, const struct verbs_address *theirs,
			       const struct ibv_port_attr *port, int index)
{
	bool roce = port->link_layer == IBV_LINK_LAYER_ETHERNET;
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = theirs->mtu < port->active_mtu ? theirs->mtu : port->active_mtu,
		.dest_qp_num = theirs->qpn,
		.rq_psn = theirs->psn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .dlid = theirs->lid, .port_num = q->device->port },
	};

	/* Another subnet of InfiniBand is reached by GID as well. */
	if (roce || memcmp(theirs->gid, q->device->gid.raw, 8)) {
		attr.ah_attr.is_global = 1;
		attr.ah_attr.grh.sgid_index = (uint8_t)index;
		attr.ah_attr.grh.hop_limit = 64;
		memcpy(attr.ah_attr.grh.dgid.raw, theirs->gid, VERBS_GID);
	}
	return ibv->modify_qp(q->qp, &attr,
			      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				      IBV_QP_MIN_RNR_TIMER);
}

static int qp_ready_to_send(struct verbs_qp *q)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.sq_psn = q->psn,
		.timeout = ACK_TIMEOUT,
		.retry_cnt = ACK_RETRIES,
		.rnr_retry = 6,
		.max_rd_atomic = 1,
	};

	return ibv->modify_qp(q->qp, &attr,
			      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static int device_qp_connect(struct verbs_qp *q, const struct verbs_address *theirs,
			     struct err *err)
{
	struct verbs_device *d = q->device;
	const char *name = ibv->get_device_name(d->context->device);
	int index = gid_index(d->context, d->port, &d->gid), ret;
	struct ibv_port_attr port;

	if (index < 0)
		return err_set(err, ENETDOWN, "RDMA device %s has lost its address", name);
	if (rdma_query_port(ibv, d->context, d->port, &port))
		return err_set(err, ENETDOWN, "RDMA device %s is gone", name);
	if (theirs->roce != (port.link_layer == IBV_LINK_LAYER_ETHERNET))
		return err_set(err, EINVAL, "one port is Ethernet, the other one InfiniBand");
	ret = qp_ready_to_receive(q, theirs, &port, index);
	if (ret == 0)
		ret = qp_ready_to_send(q);
	return ret ? err_set(err, ret, "RDMA device %s cannot reach the other side's GID: %s", name,
			     strerror(ret))
		   : 0;
}

/*
 * SoftRoCE's driver rings its doorbell with write(), which the kernel takes from nobody whose
 * credentials have changed since the device was opened, as those of a jail have: a write() can be
 * brought about in somebody else's name. An ioctl() cannot, and asks the same of the kernel: to
 * look into the queue, where the request is by now.
 */
static int doorbell_ring(const struct verbs_qp *q)
{
	struct ib_uverbs_post_send cmd = { .qp_handle = q->qp->handle,
					   .wqe_size = sizeof(struct ib_uverbs_send_wr) };
	struct ib_uverbs_post_send_resp resp = { 0 };
	const struct ib_uverbs_attr attr[] = {
		{ UVERBS_ATTR_WRITE_CMD,
		  8,
		  UVERBS_ATTR_F_MANDATORY,
		  { { 0 } },
		  { IB_USER_VERBS_CMD_POST_SEND } },
		{ UVERBS_ATTR_CORE_IN,
		  sizeof(cmd),
		  UVERBS_ATTR_F_MANDATORY,
		  { { 0 } },
		  { (uintptr_t)&cmd } },
		{ UVERBS_ATTR_CORE_OUT,
		  sizeof(resp),
		  UVERBS_ATTR_F_MANDATORY,
		  { { 0 } },
		  { (uintptr_t)&resp } },
	};
	union {
		struct ib_uverbs_ioctl_hdr head;
		uint8_t bytes[sizeof(struct ib_uverbs_ioctl_hdr) + sizeof(attr)];
	} call = { .head = { .length = sizeof(call),
			     .object_id = UVERBS_OBJECT_DEVICE,
			     .method_id = UVERBS_METHOD_INVOKE_WRITE,
			     .num_attrs = sizeof(attr) / sizeof(*attr),
			     .driver_id = RDMA_DRIVER_RXE } };

	memcpy(call.bytes + sizeof(call.head), attr, sizeof(attr));
	return ioctl(q->device->context->cmd_fd, RDMA_VERBS_IOCTL, &call) < 0 ? -errno : 0;
}

static int device_write(struct verbs_qp *q, const struct verbs_write *w)
{
	struct ibv_sge sge = { .addr = (uintptr_t)w->from, .length = w->len, .lkey = w->from_key };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = w->tells ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.imm_data = htonl(w->number),
		.wr.rdma = { .remote_addr = w->to, .rkey = w->to_key },
	};
	struct ibv_send_wr *bad = NULL; /* stays so when the request is in the queue */
	int ret = -ibv_post_send(q->qp, &wr, &bad);

	return ret == -EACCES && !bad ? doorbell_ring(q) : ret;
}

static struct verbs_completion completion(struct verbs_qp *q, const struct ibv_wc *wc)
{
	if (wc->status == IBV_WC_SUCCESS && wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM &&
	    qp_post_receive(q) == 0)
		return (struct verbs_completion){ .what = VERBS_ARRIVED,
						  .number = ntohl(wc->imm_data) };
	if (wc->status == IBV_WC_SUCCESS && wc->opcode == IBV_WC_RDMA_WRITE)
		return (struct verbs_completion){ .what = VERBS_WRITTEN };
	snprintf(q->why, sizeof(q->why), "%s",
		 wc->status ? ibv->wc_status_str(wc->status) : "something else than a write came");
	return (struct verbs_completion){ .what = VERBS_BROKEN, .why = q->why };
}

static unsigned device_poll(struct verbs_qp *q, struct verbs_completion *c, unsigned n)
{
	struct ibv_cq *const queue[] = { q->sent, q->arrived };
	struct ibv_wc wc;
	unsigned got = 0;

	for (unsigned i = 0; i < 2; i++) {
		while (got < n && ibv_poll_cq(queue[i], 1, &wc) == 1)
			c[got++] = completion(q, &wc);
	}
	return got;
}

static int device_arm(struct verbs_qp *q)
{
	return -ibv_req_notify_cq(q->arrived, 0);
}

static int device_descriptor(struct verbs_qp *q)
{
	return q->channel->fd;
}

static void device_drain(struct verbs_qp *q)
{
	struct ibv_cq *cq;
	void *context;

	while (ibv->get_cq_event(q->channel, &cq, &context) == 0)
		ibv->ack_cq_events(cq, 1);
}

/* ---- the device ---- */

static void device_hold(struct verbs_device *d)
{
	pthread_mutex_lock(&d->lock);
	d->holders++;
	pthread_mutex_unlock(&d->lock);
}

static void device_close(struct verbs_device *d)
{
	bool last;

	pthread_mutex_lock(&d->lock);
	last = !--d->holders;
	pthread_mutex_unlock(&d->lock);
	if (!last)
		return;
	for (unsigned i = 0; i < CHANNELS && d->channel[i]; i++)
		ibv->destroy_comp_channel(d->channel[i]);
	if (d->pd)
		ibv->dealloc_pd(d->pd);
	ibv->close_device(d->context);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int device_events(struct verbs_device *d)
{
	return d->context->async_fd;
}

/* Takes the device's news. True: it is removed, or has failed (ibv_get_async_event(3)). */
static bool device_is_gone(struct verbs_device *d)
{
	struct pollfd p = { .fd = d->context->async_fd, .events = POLLIN };
	struct ibv_async_event e;
	bool gone;

	pthread_mutex_lock(&d->lock);
	while (poll(&p, 1, 0) == 1 && p.revents & POLLIN &&
	       ibv->get_async_event(d->context, &e) == 0) {
		d->gone |= e.event_type == IBV_EVENT_DEVICE_FATAL;
		ibv->ack_async_event(&e);
	}
	gone = d->gone;
	pthread_mutex_unlock(&d->lock);
	return gone;
}

static int device_check(struct verbs_device *d, struct err *err)
{
	const char *name = ibv->get_device_name(d->context->device);
	struct ibv_port_attr port;

	if (device_is_gone(d) || rdma_query_port(ibv, d->context, d->port, &port))
		return err_set(err, ENODEV, "RDMA device %s is gone", name);
	if (port.state != IBV_PORT_ACTIVE)
		return err_set(err, ENETDOWN, "port %u of RDMA device %s is down (%s)", d->port,
			       name, ibv->port_state_str(port.state));
	return 0;
}

/* Registered memory counts against RLIMIT_MEMLOCK, in the jail also that of root. */
static int memlock_check(struct err *err)
{
	struct rlimit r, more;

	if (getrlimit(RLIMIT_MEMLOCK, &r) < 0 || r.rlim_cur >= PINNED)
		return 0;
	more = (struct rlimit){ .rlim_cur = PINNED,
				.rlim_max = r.rlim_max > PINNED ? r.rlim_max : PINNED };
	if (setrlimit(RLIMIT_MEMLOCK, &more) == 0)
		return 0;
	return err_set(err, EINVAL,
		       "RDMA pins %u KiB of memory, and RLIMIT_MEMLOCK is %llu KiB: raise it "
		       "(ulimit -l, LimitMEMLOCK=)",
		       PINNED >> 10, (unsigned long long)r.rlim_cur >> 10);
}

static int channels_open(struct verbs_device *d, struct err *err)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct ibv_comp_channel *c = ibv->create_comp_channel(d->context);

		d->channel[i] = c;
		if (!c || fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) < 0)
			return qp_failed(d, "completion channel", err);
	}
	return 0;
}

/* Tries to make a queue pair, now that a person can still be told of a failure. */
static int device_try(struct verbs_device *d, struct err *err)
{
	struct verbs_qp *q;

	errno = 0;
	if (channels_open(d, err) < 0)
		return -err->code;
	d->pd = ibv->alloc_pd(d->context);
	if (!d->pd)
		return qp_failed(d, "protection domain", err);
	q = qp_make(d, 1, 1, err);
	if (q)
		device_qp_free(q);
	return q ? 0 : -err->code;
}

static struct verbs_device *device_open(const struct sockaddr *local, struct err *err)
{
	struct verbs_device *d;
	struct ibv_context *c;
	union ibv_gid gid;
	uint8_t port = 0;

	if (memlock_check(err) < 0)
		return NULL;
	c = find_context(local, &port, &gid, err);
	if (!c)
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d) {
		err_set(err, ENOMEM, "out of memory");
		ibv->close_device(c);
		return NULL;
	}
	*d = (struct verbs_device){ .context = c, .port = port, .gid = gid, .holders = 1 };
	pthread_mutex_init(&d->lock, NULL);
	if (device_try(d, err) == 0)
		return d;
	device_close(d);
	return NULL;
}

static struct verbs_memory *device_memory_add(struct verbs_device *d, void *at, size_t n,
					      bool written, uint32_t *key, struct err *err)
{
	struct verbs_memory *m = calloc(1, sizeof(*m));

	errno = ENOMEM;
	if (m)
		m->mr = ibv->reg_mr(d->pd, at, n,
				    written ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE : 0);
	if (m && m->mr) {
		*key = written ? m->mr->rkey : m->mr->lkey;
		return m;
	}
	err_set(err, errno, "cannot register %zu KiB of memory: %s%s", n >> 10, strerror(errno),
		errno == ENOMEM ? " (RLIMIT_MEMLOCK?)" : "");
	free(m);
	return NULL;
}

static void device_memory_remove(struct verbs_memory *m)
{
	ibv->dereg_mr(m->mr);
	free(m);
}

static const struct verbs_ops device_ops = {
	.open = device_open,
	.hold = device_hold,
	.close = device_close,
	.check = device_check,
	.events = device_events,
	.memory_add = device_memory_add,
	.memory_remove = device_memory_remove,
	.qp_new = device_qp_new,
	.qp_connect = device_qp_connect,
	.qp_free = device_qp_free,
	.write = device_write,
	.poll = device_poll,
	.arm = device_arm,
	.descriptor = device_descriptor,
	.drain = device_drain,
};

const struct verbs_ops *verbs_load(struct err *err)
{
	ibv = rdma_library_load(err);
	return ibv ? &device_ops : NULL;
}
