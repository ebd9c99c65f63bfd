// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's protocol is lines of JSON. What an earlier client left half said or unread goes by
 * guest-sync-delimited: a byte 0xff resets the agent's parser, and one stands before the answer.
 * What comes back is the guest's, and hostile: its length and the waiting are bounded, and an
 * error's words are handed on as plain ASCII.
 */
#include "host/guest_agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/unix_socket.h"

#define ANSWER_MAX \
	(64u << 20) /* bytes in all: guest-file-read answers with at most 48 MiB, in base64 */
#define SYNC 0xff

/*
 * A machine whose guest has not opened the port takes nobody: who comes then waits to be taken, as
 * do those before, and the kernel lets few wait. 0 or -errno and err.
 */
static int reach(struct agent *a, uint64_t ms, struct err *err)
{
	const struct timeval wait = { .tv_sec = (time_t)(ms / 1000),
				      .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
	struct sockaddr_un sa;
	int ret = unix_socket_address(a->where, &sa, err);

	if (ret < 0)
		return ret;
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(a->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_set(err, errno, "cannot reach the agent's socket %s: %s", a->where,
			       errno == EAGAIN ? "others wait there, and the guest has not opened "
						 "its port"
					       : strerror(errno));
	return 0;
}

/* ---- lines ---- */

/* anew: forget what came before. The agent takes a SYNC elsewhere for an error. */
static int agent_say(struct agent *a, bool anew, const json_t *request, struct err *err)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct buf line = BUF_INIT;
	int ret = 0;

	if (anew)
		buf_put_u8(&line, SYNC);
	if (text)
		buf_put(&line, text, strlen(text));
	buf_put_u8(&line, '\n');
	free(text);
	for (size_t done = 0; ret == 0 && done < line.len;) {
		ssize_t n = send(a->fd, line.data + done, line.len - done, MSG_NOSIGNAL);

		if (n < 0)
			ret = err_set(err, errno, "%s: %s", a->where, strerror(errno));
		else
			done += (size_t)n;
	}
	buf_free(&line);
	return ret;
}

/* More of what the agent says: 0, -ENODATA: it is gone, -ETIMEDOUT, or -errno. */
static int agent_hear(struct agent *a, struct err *err)
{
	uint64_t now = host_clock_ns(CLOCK_MONOTONIC);
	int left = a->deadline > now ? (int)((a->deadline - now) / 1000000) : 0;
	struct pollfd p = { .fd = a->fd, .events = POLLIN };
	uint8_t data[4096];
	ssize_t n;

	if (a->got.len > ANSWER_MAX)
		return err_set(err, EFBIG, "%s: more than %u MiB came as answers", a->where,
			       ANSWER_MAX >> 20);
	/* What never stops talking is not in time either. */
	if (now >= a->deadline || poll(&p, 1, left) == 0)
		return err_set(err, ETIMEDOUT,
			       "%s: no answer in time: the agent does not run in the guest, or "
			       "somebody else is connected",
			       a->where);
	n = recv(a->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return err_set(err, ENODATA, "%s: the machine has ended", a->where);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN
			       ? 0
			       : err_set(err, errno, "%s: %s", a->where, strerror(errno));
	buf_put(&a->got, data, (size_t)n);
	return a->got.bad ? err_set(err, ENOMEM, "out of memory") : 0;
}

/* The next line, or what is left of one behind a SYNC; *text is valid until the next call. */
static int agent_line(struct agent *a, const char **text, size_t *len, struct err *err)
{
	size_t seen = a->taken;

	for (;;) {
		const uint8_t *from = a->got.data + a->taken, *end;
		size_t n = a->got.len - seen;

		end = n ? memchr(a->got.data + seen, '\n', n) : NULL;
		if (end) {
			const uint8_t *sync = memrchr(from, SYNC, (size_t)(end - from));

			if (sync)
				from = sync + 1;
			*text = (const char *)from;
			*len = (size_t)(end - from);
			a->taken = (size_t)(end + 1 - a->got.data);
			return 0;
		}
		seen = a->got.len;
		if (agent_hear(a, err) < 0)
			return -err->code;
	}
}

/* ---- requests ---- */

static json_t *agent_answer(struct agent *a, struct err *err)
{
	json_error_t bad;
	const char *text = NULL;
	size_t len = 0;
	json_t *answer;

	if (agent_line(a, &text, &len, err) < 0)
		return NULL;
	answer = json_loadb(text, len, 0, &bad);
	if (!answer)
		err_set(err, EPROTO, "%s: an answer that is no JSON: %s", a->where, bad.text);
	return answer;
}

/* Answers to others, and what is none at all, come before ours. */
static int agent_sync(struct agent *a, struct err *err)
{
	json_int_t id = (json_int_t)(host_clock_ns(CLOCK_MONOTONIC) & 0x7fffffff);
	json_t *request = json_pack("{s:s, s:{s:I}}", "execute", "guest-sync-delimited",
				    "arguments", "id", id);
	int ret = agent_say(a, true, request, err);
	bool ours = false;

	json_decref(request);
	while (ret == 0 && !ours) {
		json_t *answer = agent_answer(a, err);
		const json_t *value = json_object_get(answer, "return");

		if (!answer && err->code != EPROTO)
			ret = -err->code;
		ours = json_is_integer(value) && json_integer_value(value) == id;
		json_decref(answer);
	}
	return ret;
}

/* Those that say nothing when they have done it. */
static bool is_silent(const char *command)
{
	return !strcmp(command, "guest-shutdown") ||
	       !strncmp(command, "guest-suspend-", strlen("guest-suspend-"));
}

/* The agent's words for a terminal: bounded, and plain. */
static void copy_plain(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] && n < size - 1; n++)
		to[n] = from[n] >= ' ' && from[n] <= '~' ? from[n] : '?';
	to[n] = 0;
}

json_t *agent_ask(struct agent *a, const char *command, json_t *arguments, struct err *err)
{
	json_t *request = json_pack("{s:s, s:O}", "execute", command, "arguments", arguments);
	json_t *answer = NULL, *value;
	const char *desc = "neither a result nor an error came back";
	char why[200];

	if (agent_sync(a, err) == 0 && agent_say(a, false, request, err) == 0)
		answer = agent_answer(a, err);
	json_decref(request);
	if (!answer)
		return err->code == ENODATA && is_silent(command) ? json_object() : NULL;
	value = json_incref(json_object_get(answer, "return"));
	json_unpack(answer, "{s:{s:s}}", "error", "desc", &desc);
	copy_plain(why, sizeof(why), desc);
	if (!value)
		err_set(err, EREMOTEIO, "%s: %s: %s", a->where, command, why);
	json_decref(answer);
	return value;
}

int agent_tell(struct agent *a, const char *command, struct err *err)
{
	json_t *request = json_pack("{s:s}", "execute", command);
	int ret = agent_say(a, true, request, err);

	json_decref(request);
	return ret;
}

int agent_connect(struct agent *a, const char *where, uint64_t ms, struct err *err)
{
	*a = (struct agent){ .fd = -1, .got = BUF_INIT, .where = where };
	agent_wait_from_now(a, ms);
	return reach(a, ms, err);
}

void agent_wait_from_now(struct agent *a, uint64_t ms)
{
	a->deadline = host_clock_ns(CLOCK_MONOTONIC) + ms * 1000000;
}

void agent_close(struct agent *a)
{
	buf_free(&a->got);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}
