/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Role of a replica of `twinstep up`: a pure function of the answers of the arbiter and of the
 * peer's address. It may be wrong about the peer at any time and is asked again and again. It only
 * decides which replica may try at all; the arbiter sees to it that at most one is live.
 *
 *   nobody has ever been live     the host that begins becomes primary, the other one waits for it
 *   the last live one was ours    it has ended. The other side may be about to go live, and has the
 *                                 guest's memory: it is joined if it answers. When it does not, or
 *                                 answers for a while without becoming live, we are primary again.
 *   it was the other side's       its data is the newest: we can only be its backup, and wait
 */
#ifndef HOST_UP_ROLE_H
#define HOST_UP_ROLE_H

#include <stdbool.h>
#include <stdint.h>

enum peer_seen {
	PEER_ANSWERS, /* somebody listens at its address */
	PEER_REFUSES, /* its host says that nobody does */
	PEER_SILENT,  /* nothing is heard from there */
};

struct role_facts {
	bool known;    /* the arbiter has answered; what follows is its answer */
	uint64_t last; /* generation taken last; 0: none ever */
	bool ours;     /* ... by a replica of this host */
	enum peer_seen peer;
	bool first;	    /* this host begins */
	bool force;	    /* a person has said that this host's data counts */
	bool barred;	    /* being primary was refused, of late */
	uint64_t waited_ms; /* since there was first reason to be primary */
	uint64_t grace_ms;  /* for the other side to go live, when it may be about to */
};

enum role { ROLE_WAIT, ROLE_PRIMARY, ROLE_BACKUP };

/* *why: a sentence about what is waited for. */
enum role role_decide(const struct role_facts *f, const char **why);

#endif
