// SPDX-License-Identifier: GPL-2.0-or-later
/* Questions to the other host: how quickly it answers, and its version. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "host/doctor.h"
#include "net/peer.h"
#include "replica/wire.h"

#define PATIENCE_MS 400
#define NAP_NS	    10000000
#define SILENCES    4 /* in a row: that host is not there */
#define ASK_MS	    2000
#define WHY_ONLY    "`twinstep doctor` has looked at this side"

/* Tries to connect. True: the host has answered, perhaps that nothing listens there. */
static bool knock(const char *address, enum peer_seen *seen)
{
	struct err err = ERR_INIT;
	struct peer *p = peer_dial(address, PATIENCE_MS, &err);

	*seen = p						 ? PEER_ANSWERS
		: err.code == ECONNREFUSED || err.code == ENOENT ? PEER_REFUSES
								 : PEER_SILENT;
	peer_close(p);
	return *seen != PEER_SILENT;
}

void doctor_link_measure(struct doctor_link *l, const char *address, enum peer_seen *seen)
{
	unsigned wanted = l->tries, silences = 0;

	*seen = PEER_SILENT;
	for (l->tries = 0; l->tries < wanted && silences < SILENCES;) {
		uint64_t from = host_clock_ns(CLOCK_MONOTONIC);
		enum peer_seen now;
		bool answered = knock(address, &now);
		double ms = (double)(host_clock_ns(CLOCK_MONOTONIC) - from) / 1e6;

		l->tries++;
		silences = answered ? 0 : silences + 1;
		if (!answered)
			continue;
		*seen = now;
		l->min_ms = !l->answers || ms < l->min_ms ? ms : l->min_ms;
		l->max_ms = ms > l->max_ms ? ms : l->max_ms;
		l->answers++;
		host_sleep_ns(NAP_NS);
	}
}

/* The first frame of a live side: its HELLO, or why there is no place for a backup. */
static int take_hello(struct wire *w, char *version, size_t size, struct err *err)
{
	struct wire_hello h;
	struct wire_frame f;
	int ret = wire_recv(w, &f, ASK_MS, err);

	if (ret <= 0)
		return ret ? ret : err_set(err, ECONNRESET, "it closed the connection");
	if (f.type == WIRE_REFUSE) {
		err_set(err, EBUSY, "%.*s", (int)(f.len < 200 ? f.len : 200), (const char *)f.data);
		return 0;
	}
	ret = wire_hello_restore(&h, &f, err);
	if (ret < 0)
		return ret;
	snprintf(version, size, "%s", h.version);
	wire_send(w, WIRE_REFUSE, WHY_ONLY, strlen(WHY_ONLY), false, ASK_MS, NULL);
	return 1;
}

int doctor_peer_version(const char *address, const char *key_file, char *version, size_t size,
			struct err *err)
{
	struct peer_key *key = key_file ? peer_key_load(key_file, err) : NULL;
	struct peer *p = key || !key_file ? peer_connect(address, key, ASK_MS, err) : NULL;
	int ret = p ? 0 : -err->code;
	struct wire w;

	if (p) {
		wire_init(&w, p);
		ret = take_hello(&w, version, size, err);
		wire_fini(&w);
		peer_close(p);
	}
	peer_key_free(key);
	return ret;
}
