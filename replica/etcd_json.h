/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to etcd and its answers, as JSON for the gateway of its v3 API. Keys and values travel
 * in base64. An answer is hostile input: one that is not exactly as expected is an error, never a
 * yes or a no.
 */
#ifndef REPLICA_ETCD_JSON_H
#define REPLICA_ETCD_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "replica/arbiter.h"

#define ETCD_PREFIX_MAX 128
#define ETCD_ANSWER_MAX (64u << 10) /* bytes of an answer that are looked at */

struct etcd_answer {
	uint64_t cluster; /* that of the answer's header */
	/*
	 * Result. A take: 1: the generation is ours; 0: another process has it; -EPERM: it is not
	 * the next one. A question for an owner: 1 and id, or 0: there is none. A question for the
	 * last generation: 0.
	 */
	int result;
	uint8_t id[ARBITER_ID_LEN];
	uint64_t generation; /* answer to etcd_last_text(); 0: no generation is taken */
};

/*
 * Each makes the text of a request, to be freed by free(); NULL: out of memory. To take a
 * generation is one transaction: if nobody has the generation and somebody has the one before, it
 * writes the generation's key; otherwise it reads both keys. So the same request also tells the
 * owner, and a lost answer is found by asking again.
 */
char *etcd_take_text(const char *prefix, uint64_t generation, const uint8_t id[ARBITER_ID_LEN]);
char *etcd_owner_text(const char *prefix, uint64_t generation);
char *etcd_last_text(const char *prefix);
char *etcd_login_text(const char *user, const char *password);

/*
 * Each reads an answer. 0 and *a; -EBADMSG: it is not an answer to such a request; -EAGAIN: etcd
 * says that it cannot tell (err has its words); -EACCES: etcd asks for a login, or for a new one.
 */
int etcd_take_parse(const char *text, size_t len, const uint8_t id[ARBITER_ID_LEN],
		    struct etcd_answer *a, struct err *err);
int etcd_owner_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err);
int etcd_last_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err);
/* Reads the answer to a login. *token is to be freed by free(). 0, or -errno and err. */
int etcd_login_parse(const char *text, size_t len, char **token, struct err *err);

#endif
