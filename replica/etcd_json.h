/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to etcd and its answers, as texts of the JSON gateway of its v3 API. Keys and values
 * travel in base64. An answer is hostile: one that is not exactly as expected is an error, never a
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
	uint64_t generation; /* of last: 0: there is none */
};

/*
 * Texts of questions. A take is one transaction: it puts the generation's key when nobody has it
 * and somebody has the one before, else reads both. The owner is read back by the same request, so
 * an answer that got lost is found by asking again. All of them: to be freed by free(); NULL: out
 * of memory.
 */
char *etcd_take_text(const char *prefix, uint64_t generation, const uint8_t id[ARBITER_ID_LEN]);
char *etcd_owner_text(const char *prefix, uint64_t generation);
char *etcd_last_text(const char *prefix);
char *etcd_login_text(const char *user, const char *password);

/*
 * 0 and *a; -EBADMSG: that is no answer to such a request; -EAGAIN: etcd says that it cannot tell
 * (err has its words); -EACCES: it wants a login, or a new one.
 */
int etcd_take_parse(const char *text, size_t len, const uint8_t id[ARBITER_ID_LEN],
		    struct etcd_answer *a, struct err *err);
int etcd_owner_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err);
int etcd_last_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err);
/* *token: to be freed by free(). 0 or -errno. */
int etcd_login_parse(const char *text, size_t len, char **token, struct err *err);

#endif
