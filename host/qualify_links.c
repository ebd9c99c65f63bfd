// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_links.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/exit.h"
#include "net/peer.h"
#include "net/peer_measure.h"
#include "net/rdma_ports.h"

#define PORTS	   64
#define CONNECT_MS 10000

/* ---- devices ---- */

static void print_port(const struct rdma_port *p)
{
	if (!p->number) {
		printf("  %s: %s\n", p->device, p->why);
		return;
	}
	printf("  %s port %u: %s, %s, %g Gbit/s, MTU %u\n", p->device, p->number, p->link_layer,
	       p->state, p->gbit, p->mtu);
	for (unsigned i = 0; i < p->ngids && i < RDMA_PORT_GIDS; i++)
		printf("    GID %s (%s)\n", p->gid[i].text, p->gid[i].kind);
	if (p->ngids > RDMA_PORT_GIDS)
		printf("    and %u more\n", p->ngids - RDMA_PORT_GIDS);
	if (!p->ngids)
		printf("    no GID: its interface has no address\n");
}

void qualify_rdma_print(void)
{
	static struct rdma_port port[PORTS];
	struct err err = ERR_INIT;
	int n = rdma_ports_list(port, PORTS, &err);

	if (n < 0)
		printf("RDMA: %s\n", err.text);
	else if (n == 0)
		printf("RDMA: this host has no device; pairs use TCP\n");
	else
		printf("RDMA: ports that a pair can use with an address rdma:HOST:PORT\n");
	for (int i = 0; i < n; i++)
		print_port(&port[i]);
}

static json_t *json_port(const struct rdma_port *p)
{
	json_t *o = json_pack("{s:s}", "device", p->device), *gids = json_array();

	for (unsigned i = 0; i < p->ngids && i < RDMA_PORT_GIDS; i++)
		json_array_append_new(gids, json_pack("{s:s, s:s}", "gid", p->gid[i].text, "kind",
						      p->gid[i].kind));
	if (p->number) {
		json_object_set_new(o, "port", json_integer(p->number));
		json_object_set_new(o, "link-layer", json_string(p->link_layer));
		json_object_set_new(o, "state", json_string(p->state));
		json_object_set_new(o, "gbit", json_real(p->gbit));
		json_object_set_new(o, "mtu", json_integer(p->mtu));
		json_object_set(o, "gids", gids);
	} else {
		json_object_set_new(o, "error", json_string(p->why));
	}
	json_decref(gids);
	return o;
}

json_t *qualify_rdma_json(void)
{
	static struct rdma_port port[PORTS];
	struct err err = ERR_INIT;
	int n = rdma_ports_list(port, PORTS, &err);
	json_t *list = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_port(&port[i]));
	return list;
}

/* ---- the way to another host ---- */

bool qualify_link_wanted(const struct options *o)
{
	return o->replica.listen || o->replica.connect;
}

static int answer_all(const struct replica_opts *o, const struct peer_key *key, struct err *err)
{
	struct peer_listener *l = peer_listen(o->listen, key, err);

	if (!l)
		return -err->code;
	log_info("answers at %s, until it is interrupted", o->listen);
	for (;;) {
		struct err why = ERR_INIT;
		struct peer *p = peer_accept(l, -1, &why);

		if (p && peer_measure_answer(p, &why) == 0)
			log_info("%s was answered, over %s", peer_name(p), peer_path(p, NULL, 0));
		else
			log_warn("%s", why.text);
		peer_close(p);
	}
}

static void link_print(const char *to, const struct peer_measure *m)
{
	printf("way to %s: %s%s%s\n", to, m->path, m->why[0] ? ", as there is no RDMA: " : "",
	       m->why);
	printf("  round trip of %u bytes, %u times: median %.1f us, 99 %% below %.1f us, longest "
	       "%.1f us\n",
	       PEER_MEASURE_RECORD, m->trips, m->median_us, m->p99_us, m->longest_us);
	printf("  frames of 64 KiB: %.1f MB/s\n", m->stream_mbyte);
	if (m->placed_mbyte > 0)
		printf("  pages from memory into memory: %.1f MB/s\n", m->placed_mbyte);
}

static void link_json(const char *to, const struct peer_measure *m)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f}", "to", to, "path",
			      m->path, "why", m->why, "trips", (int)m->trips, "median-us",
			      m->median_us, "p99-us", m->p99_us, "longest-us", m->longest_us,
			      "stream-mbyte", m->stream_mbyte, "placed-mbyte", m->placed_mbyte);

	json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
}

static int measure_one(const struct options *o, const struct peer_key *key, struct err *err)
{
	unsigned trips = o->quick ? 1000 : o->longer ? 100000 : 10000;
	struct peer *p = peer_connect(o->replica.connect, key, CONNECT_MS, err);
	struct peer_measure m;
	int ret = p ? peer_measure_ask(p, trips,
				       o->quick	   ? 300
				       : o->longer ? 10000
						   : 1000,
				       &m, err)
		    : -err->code;

	if (ret == 0 && o->json)
		link_json(o->replica.connect, &m);
	else if (ret == 0)
		link_print(o->replica.connect, &m);
	peer_close(p);
	return ret;
}

static int check(const struct replica_opts *o, struct err *err)
{
	if (o->listen && o->connect)
		return err_set(err, EINVAL, "--listen answers, --connect asks: one of them");
	if (!o->key_file == !o->insecure)
		return err_set(err, EINVAL,
			       "one of --key-file FILE (`twinstep keygen FILE` makes it) and "
			       "--insecure, as the pair will have it");
	return 0;
}

int qualify_link_run(const struct options *o)
{
	struct err err = ERR_INIT;
	struct peer_key *key = NULL;
	int ret = check(&o->replica, &err);

	if (ret == 0 && o->replica.key_file && !(key = peer_key_load(o->replica.key_file, &err)))
		ret = -err.code;
	if (ret == 0 && o->replica.rdma_clear)
		peer_rdma_allow_clear();
	if (ret == 0)
		ret = o->replica.listen ? answer_all(&o->replica, key, &err)
					: measure_one(o, key, &err);
	if (ret < 0)
		log_error("%s", err.text);
	peer_key_free(key);
	return ret < 0 ? EXIT_USAGE : 0;
}
