/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of a running machine or replica: a thread that answers requests on a unix
 * socket, one JSON object a line in, one out. Requests are {"command": NAME, ...}; answers {"ok":
 * true, ...} or {"ok": false, "error": TEXT}.
 *
 * The mode of the socket keeps out all but the same user and root. A client may be hostile all the
 * same: lines, clients and waiting times are bounded, and the machine never waits for a client.
 */
#ifndef HOST_CONTROL_H
#define HOST_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct control_verb {
	const char *name;
	/*
	 * Runs on the control thread. args: the request; what is put into reply goes back beside
	 * "ok". 0, or -errno and the sentence in err.
	 */
	int (*run)(void *ctx, const json_t *args, json_t *reply, struct err *err);
};

struct control;

/*
 * Listens at path; a socket left behind by a process that is gone is replaced. `commands` is kept,
 * up to an entry without a name. NULL and err on failure.
 */
struct control *control_open(const char *path, const struct control_verb *commands, void *ctx,
			     struct err *err);
/* Starts to answer. 0 or -errno. */
int control_start(struct control *c, struct err *err);
/* For a verb: the descriptor that came with its request, closed after it; -1: none. */
int control_passed(const struct control *c);
/* Hands that descriptor over: the verb closes it. */
int control_take_passed(struct control *c);
/* Ends the thread and removes the socket. NULL allowed. No command runs when it returns. */
void control_close(struct control *c);

/*
 * Finds the socket of `who`: a path when there is a '/' in it, else a name under /run/twinstep
 * (root), $XDG_RUNTIME_DIR/twinstep, or /tmp/twinstep-UID. With `create` the directory is made,
 * mode 0700; one that somebody else could use is refused. Free *path.
 */
int control_path(const char *who, bool create, char **path, struct err *err);

/*
 * Path of the socket that --control PATH or --name NAME ask for, NULL: neither; both is an error.
 * Free *path. 0 or -errno.
 */
int control_options_path(const char *control, const char *name, char **path, struct err *err);

/* A file in that directory that is not a machine's. Free *path. */
int control_file(const char *name, bool create, char **path, struct err *err);

/* The directory itself, as control_file() knows it. Free *path. */
int control_directory(bool create, char **path, struct err *err);

/* A stream to a unix socket at this path, or -errno. */
int control_connect(const char *path);

/*
 * The other end: sends a request and waits up to timeout_ms for its answer. NULL and err when
 * nobody answers or the answer is "ok": false.
 */
json_t *control_request(const char *who, const json_t *request, int timeout_ms, struct err *err);
/* Sends a request that is a command alone, likewise. */
json_t *control_ask(const char *who, const char *command, int timeout_ms, struct err *err);
/* A request with a descriptor for the other side; -1: none. */
json_t *control_request_fd(const char *who, const json_t *request, int pass, int timeout_ms,
			   struct err *err);

#endif
