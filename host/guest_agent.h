/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of QEMU's guest agent, at the socket of --guest-agent. */
#ifndef HOST_GUEST_AGENT_H
#define HOST_GUEST_AGENT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define AGENT_PATIENCE_MS 60000 /* what an agent on a busy host may take, if nobody says else */

struct agent {
	int fd;
	uint64_t deadline; /* of everything, on the host's monotonic clock in ns */
	struct buf got;
	size_t taken;	   /* of got */
	const char *where; /* for messages */
};

/*
 * Connects to the socket at path `where`, which is kept for messages. What is asked until
 * agent_wait_from_now() ends within `ms` milliseconds from here. 0, or -errno and err;
 * agent_close() in both cases.
 */
int agent_connect(struct agent *a, const char *where, uint64_t ms, struct err *err);
void agent_wait_from_now(struct agent *a, uint64_t ms);
void agent_close(struct agent *a);

/*
 * Asks for a command of the agent's (guest-...). What it returned, for the caller to drop; NULL and
 * err: the agent's or our own sentence, ETIMEDOUT where it did not answer in time.
 */
json_t *agent_ask(struct agent *a, const char *command, json_t *arguments, struct err *err);
/* Sends a command without arguments and waits for nothing. 0 or -errno. */
int agent_tell(struct agent *a, const char *command, struct err *err);

#endif
