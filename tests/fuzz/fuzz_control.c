// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a client of the control socket: lines of a replica that waits, in pieces, cut off, with
 * descriptors along. Every answer is one JSON object on one line that says whether the request was
 * good.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "host/replica_control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS (1u << 20)

static struct options options;
static struct replica_run run = { .o = &options };
static char dir[] = "/tmp/twinstep-fuzz-XXXXXX", path[64];

static void end(void)
{
	replica_control_close(&run);
	replica_destroy(run.replica);
	rmdir(dir);
}

static void begin(void)
{
	struct err err = ERR_INIT;

	must(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control", dir);
	options.control = path;
	run.replica = replica_create(&run.cfg, &err);
	must(run.replica && replica_control_open(&run, &err) == 0 &&
	     control_start(run.control, &err) == 0);
	atexit(end);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	must(fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0);
	return fd;
}

/* A request with the script's words in it. */
static void put_request(struct buf *line, struct rd *in)
{
	static const char *const command[] = {
		"status", "stop", "balloon", "fault", "snapshot", ""
	};
	static const char *const kind[] = { "memory", "register", "hang", "" };
	uint8_t how = rd_u8(in);
	json_t *o = json_object();
	char *text;

	json_object_set_new(o, "command", json_string(command[how % 6]));
	if (how & 0x40)
		json_object_set_new(o, "bytes",
				    how & 0x80 ? json_integer((json_int_t)rd_u64(in))
					       : json_real(rd_u8(in)));
	if (how & 0x20) {
		uint8_t more = rd_u8(in);

		json_object_set_new(o, "kind", json_string(kind[more & 3]));
		json_object_set_new(o, more & 4 ? "bit" : "ms",
				    json_integer((json_int_t)(more & 8 ? rd_u64(in) : rd_u8(in))));
	}
	text = json_dumps(o, JSON_COMPACT);
	must(text);
	buf_put(line, text, strlen(text));
	free(text);
	json_decref(o);
}

static void put_lines(struct buf *out, struct rd *in)
{
	while (rd_left(in) && out->len < 8192) {
		uint8_t kind = rd_u8(in);
		size_t n, from = out->len;

		if (kind & 1) {
			put_request(out, in);
			for (n = kind >> 5; n && rd_left(in); n--) {
				uint16_t at = rd_u16(in);

				out->data[from + at % (out->len - from)] = rd_u8(in);
			}
		} else {
			n = (size_t)kind << (kind & 2 ? 5 : 0);
			n = n < rd_left(in) ? n : rd_left(in);
			buf_put(out, in->p, n);
			in->p += n;
		}
		buf_put_u8(out, '\n');
	}
}

/* With a descriptor along. */
static void send_passing(int fd, const void *data, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} u = { .space = { 0 } };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.space,
			      .msg_controllen = CMSG_SPACE(2 * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	const int pass[2] = { fd, fd };

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(pass));
	memcpy(CMSG_DATA(c), pass, sizeof(pass));
	sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static void check(const char *text, size_t n)
{
	const char *end_of_line;

	for (; (end_of_line = memchr(text, '\n', n));
	     n -= (size_t)(end_of_line + 1 - text), text = end_of_line + 1) {
		json_t *o = json_loadb(text, (size_t)(end_of_line - text), JSON_REJECT_DUPLICATES,
				       NULL);
		const json_t *ok = json_object_get(o, "ok");

		must(json_is_boolean(ok) && json_is_true(ok) == !json_object_get(o, "error"));
		json_decref(o);
	}
	must(!n);
}

/* The first byte chooses: a line's end at the end or not, two pieces, descriptors. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char answer[ANSWERS];
	struct rd in = RD_INIT(data, size);
	struct buf out = BUF_INIT;
	uint8_t how = rd_u8(&in);
	size_t have = 0, half;
	ssize_t n;
	int fd;

	if (!run.control)
		begin();
	put_lines(&out, &in);
	half = how & 2 ? out.len / 2 : out.len;
	if (out.len && how & 1)
		out.len--;
	half = half < out.len ? half : out.len;
	fd = dial();
	if (how & 4 && half)
		send_passing(fd, out.data, half);
	else if (half)
		send(fd, out.data, half, MSG_NOSIGNAL);
	if (out.len > half)
		send(fd, out.data + half, out.len - half, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	while (have < sizeof(answer) && (n = recv(fd, answer + have, sizeof(answer) - have, 0)) > 0)
		have += (size_t)n;
	close(fd);
	check(answer, have);
	buf_free(&out);
	return 0;
}
