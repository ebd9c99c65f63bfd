// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/rdma_ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/rdma_library.h"

double rdma_ports_gbit(unsigned width, unsigned speed)
{
	static const struct {
		unsigned bit;
		double value;
	} lanes[] = { { 1, 1 }, { 2, 4 }, { 4, 8 }, { 8, 12 }, { 16, 2 } },
	  lane[] = { { 1, 2.5 },      { 2, 5 },		{ 4, 10 },  { 8, 10.3125 },
		     { 16, 14.0625 }, { 32, 25.78125 }, { 64, 50 }, { 128, 100 } };
	double gbit = 0;

	for (size_t i = 0; i < sizeof(lane) / sizeof(*lane); i++)
		gbit = lane[i].bit == speed ? lane[i].value : gbit;
	for (size_t i = 0; i < sizeof(lanes) / sizeof(*lanes); i++) {
		if (lanes[i].bit == width)
			return gbit * lanes[i].value;
	}
	return 0;
}

static const char *gid_kind(uint32_t type)
{
	return type == IBV_GID_TYPE_IB	      ? "InfiniBand"
	       : type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1"
					      : "RoCE v2";
}

static void gid_text(const union ibv_gid *gid, char *text, size_t n)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = !memcmp(gid->raw, mapped, sizeof(mapped));

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, gid->raw + (v4 ? 12 : 0), text, (socklen_t)n))
		snprintf(text, n, "?");
}

static void list_gids(const struct rdma_library *ibv, struct ibv_context *c, int table,
		      struct rdma_port *p)
{
	static const union ibv_gid none;
	struct ibv_gid_entry e;

	for (int i = 0; i < table; i++) {
		if (ibv->query_gid_ex(c, (uint8_t)p->number, (uint32_t)i, &e, 0, sizeof(e)) ||
		    !memcmp(&e.gid, &none, sizeof(none)))
			continue;
		if (p->ngids < RDMA_PORT_GIDS) {
			struct rdma_port_gid *g = &p->gid[p->ngids];

			gid_text(&e.gid, g->text, sizeof(g->text));
			g->kind = gid_kind(e.gid_type);
		}
		p->ngids++;
	}
}

static void look_at_port(const struct rdma_library *ibv, struct ibv_context *c, struct rdma_port *p)
{
	struct ibv_port_attr a;

	if (rdma_query_port(ibv, c, (uint8_t)p->number, &a)) {
		p->state = "not told";
		p->link_layer = "not told";
		return;
	}
	p->state = ibv->port_state_str(a.state);
	p->link_layer = a.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand";
	p->gbit = rdma_ports_gbit(a.active_width, a.active_speed);
	p->mtu = a.active_mtu >= 1 && a.active_mtu <= 5 ? 128u << a.active_mtu : 0;
	list_gids(ibv, c, a.gid_tbl_len, p);
}

/* Fills in the ports of one device; their number. */
static size_t look_at_device(const struct rdma_library *ibv, struct ibv_device *d,
			     struct rdma_port *p, size_t n)
{
	struct ibv_context *c = ibv->open_device(d);
	struct ibv_device_attr attr;
	int ret = c ? ibv->query_device(c, &attr) : errno;
	size_t ports = ret ? 1 : attr.phys_port_cnt;

	for (size_t i = 0; i < ports && i < n; i++) {
		p[i] = (struct rdma_port){ .number = ret ? 0 : (unsigned)i + 1 };
		snprintf(p[i].device, sizeof(p[i].device), "%s", ibv->get_device_name(d));
		if (ret)
			snprintf(p[i].why, sizeof(p[i].why), "cannot be opened: %s", strerror(ret));
		else
			look_at_port(ibv, c, &p[i]);
	}
	if (c)
		ibv->close_device(c);
	return ports < n ? ports : n;
}

int rdma_ports_list(struct rdma_port *p, size_t n, struct err *err)
{
	const struct rdma_library *ibv = rdma_library_load(err);
	struct ibv_device **list;
	int devices = 0;
	size_t got = 0;

	if (!ibv)
		return -ENOENT;
	list = ibv->get_device_list(&devices);
	for (int i = 0; list && i < devices; i++)
		got += look_at_device(ibv, list[i], p + got, n - got);
	if (list)
		ibv->free_device_list(list);
	return (int)got;
}
