/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks of `twinstep doctor`, each with a verdict, a sentence, and a cure. None of them changes a
 * guest. The other side of a pair may note a look at it as an event: where nothing but its HELLO
 * tells its version.
 */
#ifndef HOST_DOCTOR_H
#define HOST_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "host/up_role.h"
#include "record/disk_meta.h"

/* From good to bad; a note is good to know, and no fault. */
enum doctor_verdict { DOCTOR_GOOD, DOCTOR_NOTE, DOCTOR_WARN, DOCTOR_BAD, DOCTOR_VERDICTS };

/* Result of a check; cure NULL: nothing is to be done. */
struct doctor_finding {
	enum doctor_verdict verdict;
	char text[600];
	const char *cure;
};

struct doctor {
	json_t *checks;	   /* array of {guest?, check, verdict, text, cure?} */
	const char *guest; /* the guest that the next checks are about; NULL: the host */
	enum doctor_verdict worst;
};

void doctor_begin(struct doctor *d);
void doctor_end(struct doctor *d);
void doctor_add(struct doctor *d, const char *check, const struct doctor_finding *f);
void doctor_say(struct doctor *d, const char *check, enum doctor_verdict v, const char *cure,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));
const char *doctor_verdict_name(enum doctor_verdict v);

/* doctor_host.c: the host itself, whichever guests run on it. */
void doctor_host(struct doctor *d);
/* doctor_guest.c: a guest by name or by the path of its file, as this host reads it. */
void doctor_guest(struct doctor *d, const char *who);

/* ---- how findings come about, without looking at anything ---- */

/* Connections to the other host: tried, answered, and the milliseconds of the quickest and slowest.
 */
struct doctor_link {
	unsigned tries, answers;
	double min_ms, max_ms;
	uint64_t timeout_ms; /* of the pair */
};
void doctor_judge_link(const struct doctor_link *l, const char *address, struct doctor_finding *f);

/* running: by a replica on this host, whose state the metadata need not have been told yet. */
void doctor_judge_disk(const struct disk_meta_identity *id, const char *path, bool running,
		       struct doctor_finding *f);

/* A guest's fate if a host died now. status: of this host's replica; NULL: none answers. */
struct doctor_fate {
	const json_t *status;
	bool arbiter_answers;
	struct role_facts facts; /* where no replica answers */
};
void doctor_judge_fate(const struct doctor_fate *f, struct doctor_finding *out);

/* ---- doctor_peer.c ---- */

/* Looks for so long whether the other host answers, by connections that are closed at once. */
void doctor_link_measure(struct doctor_link *l, const char *address, enum peer_seen *seen);
/*
 * Asks the replica that listens at the address for its HELLO. 1, and its program's version. 0: it
 * holds the key, but does not tell its version, for the reason in err. -errno and err: it does
 * not hold the key, or cannot be asked.
 */
int doctor_peer_version(const char *address, const char *key_file, char *version, size_t size,
			struct err *err);

#endif
