// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checks of a guest as this host has it: its file, key, arbiter, link, the other side, disks, its
 * fate.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/version.h"
#include "host/control.h"
#include "host/disk_keep.h"
#include "host/doctor.h"
#include "host/guest_conf.h"
#include "host/lineage.h"
#include "host/run_dir.h"
#include "hypervisor/engine.h"
#include "net/peer.h"

#define STATUS_MS 2000
#define KNOCKS	  20
#define QUESTIONS 5

/* A guest, with all that has been found out so far. */
struct patient {
	struct doctor *d;
	struct guest_conf g;
	json_t *status; /* of this host's replica; NULL: none answers */
	struct doctor_fate fate;
	char address[300]; /* of the other host, with its name looked up; "" when it has none */
	enum peer_seen peer;
};

static const struct replica_opts *pair_of(const struct patient *p)
{
	return &p->g.seen.replica;
}

/* ---- its file ---- */

static bool check_config(struct patient *p, const char *who)
{
	struct err err = ERR_INIT;
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	if (guest_conf_load(&p->g, who, host, true, &err) < 0) {
		doctor_say(p->d, "config", DOCTOR_BAD,
			   "write it: docs/examples/guest.conf is a pattern", "%s", err.text);
		return false;
	}
	p->d->guest = p->g.name;
	for (unsigned i = 0; i < p->g.conf.nfaults; i++)
		doctor_say(p->d, "config", DOCTOR_BAD,
			   "mend that line; `twinstep check-config` says more", "%s",
			   p->g.conf.fault[i]);
	if (!p->g.conf.nfaults)
		doctor_say(p->d, "config", DOCTOR_GOOD, NULL, "%s is in order", p->g.conf.path);
	return !p->g.conf.nfaults;
}

static void check_engine(struct patient *p)
{
	const char *name = p->g.seen.machine.engine;
	const char *why = engine_unusable(name);

	if (why)
		doctor_say(p->d, "engine", DOCTOR_BAD, "engine = auto, or mend what is missing",
			   "engine = %s, and that cannot be used here: %s", name, why);
}

static void check_key(struct patient *p)
{
	const char *path = pair_of(p)->key_file;
	struct err err = ERR_INIT;
	struct peer_key *key = path ? peer_key_load(path, &err) : NULL;

	if (!path)
		doctor_say(p->d, "key", DOCTOR_WARN,
			   "twinstep keygen FILE, and key-file = FILE on both hosts",
			   "there is none: whoever can connect is believed");
	else if (!key)
		doctor_say(p->d, "key", DOCTOR_BAD,
			   "chmod 600 for a file that others can read; the same file on both hosts",
			   "%s", err.text);
	else
		doctor_say(p->d, "key", DOCTOR_GOOD, NULL, "%s is readable by its owner alone",
			   path);
	peer_key_free(key);
}

/* ---- who decides ---- */

/* True: the owner, live last, was a replica of this host. */
static bool is_ours(const struct patient *p, const uint8_t owner[ARBITER_ID_LEN])
{
	const struct machine_opts *m = &p->g.seen.machine;
	struct err err = ERR_INIT;
	struct lineage l = { 0 };
	struct run_dir dirs;
	bool ours = false;

	if (run_dir_find(&dirs, p->g.name, &err) == 0) {
		char *path = run_dir_file(dirs.state, "lineage");

		ours = lineage_read(&l, path, &err) == 0 && lineage_has(&l, owner);
		lineage_free(&l);
		free(path);
		run_dir_close(&dirs);
	}
	for (unsigned i = 0; i < m->ndisks; i++) {
		struct disk_meta_identity id = { 0 };

		ours = ours || (disk_keep_peek(&m->disk[i], &id, NULL) == 1 &&
				!memcmp(id.owner, owner, ARBITER_ID_LEN));
	}
	return ours;
}

static int ask_arbiter(struct patient *p, struct arbiter *a, double *slowest, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN] = { 0 };
	struct role_facts *f = &p->fate.facts;
	int ret = 0;

	*slowest = 0;
	for (unsigned i = 0; ret == 0 && i < QUESTIONS; i++) {
		uint64_t from = host_clock_ns(CLOCK_MONOTONIC);
		double ms;

		ret = arbiter_last(a, &f->last, err);
		ms = (double)(host_clock_ns(CLOCK_MONOTONIC) - from) / 1e6;
		*slowest = ms > *slowest ? ms : *slowest;
	}
	if (ret == 0 && f->last)
		ret = arbiter_owner(a, f->last, owner, err);
	f->ours = ret >= 0 && f->last && is_ours(p, owner);
	return ret < 0 ? ret : 0;
}

static void check_arbiter(struct patient *p)
{
	struct role_facts *f = &p->fate.facts;
	struct err err = ERR_INIT;
	struct arbiter *a = arbiter_open(pair_of(p)->arbiter, &err);
	double slowest = 0;
	int ret = a ? ask_arbiter(p, a, &slowest, &err) : -err.code;
	bool slow = slowest > (double)replica_opts_timeout(pair_of(p));

	arbiter_close(a);
	f->known = p->fate.arbiter_answers = ret == 0;
	if (ret < 0)
		doctor_say(p->d, "arbiter", DOCTOR_BAD,
			   "start it, or mend the way to it; `twinstep arbiter show` asks again",
			   "%s", err.text);
	else
		doctor_say(p->d, "arbiter", slow ? DOCTOR_WARN : DOCTOR_GOOD,
			   slow ? "a failover takes so much longer: find out why it is slow" : NULL,
			   "answers within %.1f ms: generation %" PRIu64 "%s", slowest, f->last,
			   !f->last  ? ", nobody was ever live"
			   : f->ours ? ", of this host"
				     : ", of the other host");
}

/* ---- the other host ---- */

static void check_link(struct patient *p)
{
	struct doctor_link l = { .tries = pair_of(p)->insecure ? 1 : KNOCKS,
				 .timeout_ms = replica_opts_timeout(pair_of(p)) };
	const char *address = p->g.connect;
	struct doctor_finding f = { 0 };
	struct err err = ERR_INIT;

	p->peer = PEER_SILENT;
	if (!strncmp(address, "rdma:", 5))
		address += 5;
	if (peer_resolve(address, p->address, sizeof(p->address), &err) < 0) {
		p->address[0] = 0;
		doctor_say(p->d, "link", DOCTOR_BAD,
			   "write the address in numbers, or mend the names of hosts", "%s",
			   err.text);
		return;
	}
	doctor_link_measure(&l, p->address, &p->peer);
	doctor_judge_link(&l, p->g.connect, &f);
	doctor_add(p->d, "link", &f);
}

static void say_versions(struct patient *p, const char *theirs)
{
	bool same = !strcmp(theirs, twinstep_version);

	doctor_say(p->d, "peer", same ? DOCTOR_GOOD : DOCTOR_WARN,
		   same ? NULL : "install the same version on both hosts",
		   same ? "the other host has version %s as well"
			: "the other host has version %s, this one another",
		   theirs);
}

static void ask_peer(struct patient *p)
{
	char version[TWINSTEP_VERSION_LEN] = "";
	struct err err = ERR_INIT;
	int ret = doctor_peer_version(p->address, pair_of(p)->key_file, version, sizeof(version),
				      &err);

	if (ret > 0)
		say_versions(p, version);
	else if (ret == 0)
		doctor_say(p->d, "peer", DOCTOR_NOTE, NULL,
			   "the other host holds the key; its version is not known: %s", err.text);
	else
		doctor_say(p->d, "peer", DOCTOR_BAD,
			   "both hosts need the same key file and the same release", "%s",
			   err.text);
}

/* Both programs: of the two hosts, and of a replica that has gone on through an upgrade. */
static void check_peer(struct patient *p)
{
	const char *theirs = json_string_value(json_object_get(p->status, "peer_version"));
	const char *running = json_string_value(json_object_get(p->status, "version"));
	bool linked = json_object_get(p->status, "peer") != NULL;

	if (running && strcmp(running, twinstep_version))
		doctor_say(p->d, "upgrade", DOCTOR_WARN,
			   "start it again while the other side is live: `twinstep switch` first",
			   "the replica that runs here is of version %s, installed is %s", running,
			   twinstep_version);
	if (theirs)
		say_versions(p, theirs);
	else if (!linked && p->peer == PEER_ANSWERS)
		ask_peer(p);
	else
		doctor_say(p->d, "peer", DOCTOR_NOTE, NULL,
			   "no replica of the other host answers: its version is not known");
}

/* ---- this host ---- */

static void check_disks(struct patient *p)
{
	const struct machine_opts *m = &p->g.seen.machine;

	for (unsigned i = 0; i < m->ndisks; i++) {
		struct disk_meta_identity id = { 0 };
		struct doctor_finding f = { 0 };
		struct err err = ERR_INIT;
		int ret = disk_keep_peek(&m->disk[i], &id, &err);

		if (ret < 0)
			doctor_say(p->d, "disk", DOCTOR_BAD,
				   "mend it, or remove it: then every block is compared", "%s",
				   err.text);
		else if (ret == 0)
			doctor_say(p->d, "disk", DOCTOR_NOTE, NULL, "%s: nothing is kept of it",
				   m->disk[i].path);
		else {
			doctor_judge_disk(&id, m->disk[i].path, p->status != NULL, &f);
			doctor_add(p->d, "disk", &f);
		}
	}
}

static void check_replica(struct patient *p)
{
	double still = json_number_value(json_object_get(p->status, "vcpu_ms"));
	const json_t *divergence = json_object_get(p->status, "divergence");
	const char *path_why = json_string_value(json_object_get(p->status, "path_why"));

	if (divergence)
		doctor_say(p->d, "digests", DOCTOR_BAD,
			   "replace the host that is wrong; keep what `twinstep status` shows",
			   "the two replicas differed: %s",
			   json_string_value(json_object_get(divergence, "differs")));
	if (still > (double)pair_of(p)->hang_timeout_ms)
		doctor_say(p->d, "vcpu", DOCTOR_BAD, "look at this host's disks and at its load",
			   "the vCPU has shown no progress for %.1f s", still / 1e3);
	if (path_why)
		doctor_say(p->d, "path", DOCTOR_WARN, "see docs/rdma.md", "not by RDMA: %s",
			   path_why);
}

static void check_fate(struct patient *p)
{
	struct role_facts *facts = &p->fate.facts;
	struct doctor_finding f = { 0 };

	p->fate.status = p->status;
	facts->peer = p->peer;
	facts->first = p->g.first;
	/* The decision of `up` after it has waited. */
	facts->waited_ms = facts->grace_ms = 1;
	doctor_judge_fate(&p->fate, &f);
	doctor_add(p->d, "failover", &f);
}

void doctor_guest(struct doctor *d, const char *who)
{
	struct patient p = { .d = d };

	d->guest = who;
	if (check_config(&p, who)) {
		p.status = control_ask(p.g.name, "status", STATUS_MS, NULL);
		check_engine(&p);
		check_key(&p);
		check_arbiter(&p);
		check_link(&p);
		check_peer(&p);
		check_disks(&p);
		check_replica(&p);
		check_fate(&p);
		json_decref(p.status);
	}
	d->guest = NULL;
	guest_conf_free(&p.g);
}
