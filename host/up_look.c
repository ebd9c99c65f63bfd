// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The look of `up` at the world: the arbiter's last generation, its owner, and the replica at the
 * peer's address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/disk_keep.h"
#include "host/up_private.h"
#include "net/peer.h"

#define DIAL_MS 500

/* The metadata of a disk knows who wrote it last, also where the file of names is lost. */
static bool disks_are_of(const struct up *u, const uint8_t owner[ARBITER_ID_LEN])
{
	const struct machine_opts *m = &u->g->seen.machine;

	for (unsigned i = 0; i < m->ndisks; i++) {
		struct disk_meta_identity id = { 0 };

		if (disk_keep_peek(&m->disk[i], &id, NULL) == 1 &&
		    !memcmp(id.owner, owner, ARBITER_ID_LEN))
			return true;
	}
	return false;
}

static bool is_ours(const struct up *u, const uint8_t owner[ARBITER_ID_LEN])
{
	char *path = run_dir_file(u->dir.state, "lineage");
	struct err err = ERR_INIT;
	struct lineage l;
	bool ours;

	if (lineage_read(&l, path, &err) < 0)
		log_warn("%s", err.text);
	ours = lineage_has(&l, owner) || disks_are_of(u, owner);
	lineage_free(&l);
	free(path);
	return ours;
}

static void ask_arbiter(struct up *u)
{
	uint8_t owner[ARBITER_ID_LEN] = { 0 };
	struct err err = ERR_INIT;
	uint64_t last = 0;
	int ret;

	if (!u->arbiter)
		u->arbiter = arbiter_open(u->g->seen.replica.arbiter, &err);
	ret = u->arbiter ? arbiter_last(u->arbiter, &last, &err) : -err.code;
	if (ret == 0 && last)
		ret = arbiter_owner(u->arbiter, last, owner, &err);
	u->facts.known = ret >= 0;
	if (ret < 0 && strncmp(u->why, err.text, sizeof(u->why) - 1)) {
		snprintf(u->why, sizeof(u->why), "%.*s", (int)sizeof(u->why) - 1, err.text);
		up_event(&u->events, "waiting", "the arbiter does not answer: %s", u->why);
	}
	if (ret < 0)
		return;
	u->facts.last = last;
	u->facts.ours = last && is_ours(u, owner);
}

/* A connection that is closed at once; a live side counts and forgets it. */
static enum peer_seen look_at_peer(const char *address)
{
	struct err err = ERR_INIT;
	struct peer *p = peer_dial(address, DIAL_MS, &err);

	if (!p)
		return err.code == ECONNREFUSED || err.code == ENOENT ? PEER_REFUSES : PEER_SILENT;
	peer_close(p);
	return PEER_ANSWERS;
}

void up_look_around(struct up *u)
{
	struct role_facts *f = &u->facts;
	uint64_t now = host_mono_ms(), timeout = replica_opts_max_timeout(&u->g->seen.replica);

	ask_arbiter(u);
	f->peer = look_at_peer(u->g->connect);
	if (!u->lead_since_ms || f->last != u->seen_last)
		u->lead_since_ms = now;
	u->seen_last = f->last;
	f->first = u->g->first;
	f->force = u->o->replica.force && !u->forced;
	f->barred = now < u->barred_until_ms;
	f->waited_ms = now - u->lead_since_ms;
	f->grace_ms = 2 * timeout + 2000;
}
