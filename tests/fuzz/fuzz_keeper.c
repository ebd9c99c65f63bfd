// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: what sits in the jail asks its keeper, and means harm: requests of any kind and length,
 * with and without descriptors; the arbiter behind the keeper reads a directory whose files say
 * anything; NICs are attached anew by their number and an address. Nothing is removed that was not
 * named, memory is promised once at most, no NIC is touched but the machine's, and a generation has
 * one owner for ever. Or what is behind it is a joining backup's dialler, which hands out nothing
 * but connections to its one address, while somebody listens there.
 */
#include "base/buf.h"
#include "host/machine_host.c"
#include "isolation/keeper.c"
#include "replica/arbiter.h"
#include "replica/dialler.h"
#include "tests/fuzz/folder.h"

#include <sys/un.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS 24 /* all of them fit into the socket before anybody reads */

static unsigned promises;
static char named_path[KEEPER_DATA], other_path[KEEPER_DATA];

static int count_promise(void *ctx, uint64_t bytes, struct err *err)
{
	promises++;
	return bytes & 1 ? err_set(err, ENOMEM, "there is no room for %llu bytes",
				   (unsigned long long)bytes)
			 : 0;
}

/* Two of the machine's NICs have a backend; each is attached for what the request says, or not. */
static struct machine_host host = { .attach_fd = -1 };
static struct nic backend[2];
static unsigned attached;

static int count_mac(struct nic *nic, const uint8_t mac[6], struct err *err)
{
	must(nic == &backend[0] || nic == &backend[1]);
	return mac[0] & 1 ? -EINVAL : 0;
}

static int count_attach(struct nic *nic, int socket_fd)
{
	must(socket_fd == host.attach_fd);
	attached++;
	return nic == &backend[0] ? 0 : -ENODEV;
}

static const struct nic_ops backend_ops = { .scheme = "fuzz",
					    .set_mac = count_mac,
					    .attach = count_attach };

static void put_path(struct keeper_message *m, struct rd *in, uint8_t how)
{
	const char *path = how & 1 ? named_path : other_path;

	memset(m->data, how & 2 ? 'x' : 0, sizeof(m->data));
	memcpy(m->data, path, strlen(path) + (how & 4 ? 0 : 1));
	for (unsigned n = how >> 6; n; n--) {
		uint8_t at = rd_u8(in);

		m->data[at] = rd_u8(in);
	}
}

/* ---- the dialler ---- */

static struct dialler dialler;
static int listener = -1; /* at its address; -1: nobody is there */

/* The first byte of the input, of which only two bits are taken else. */
#define ASKS_DIALLER 0x80
#define LISTENS	     0x40

static void begin_dialler(bool listens)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char address[128];

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/peer", folder.path);
	snprintf(address, sizeof(address), "unix:%s", un.sun_path);
	must(dialler_init(&dialler, address, NULL) == 0);
	if (!listens)
		return;
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(listener >= 0 && bind(listener, (struct sockaddr *)&un, sizeof(un)) == 0 &&
	     listen(listener, REQUESTS) == 0);
}

static void end_dialler(void)
{
	if (listener >= 0)
		close(listener);
	listener = -1;
}

/* What came along with an answer: of the dialler, and a connection to its address. */
static void look_at_descriptor(int fd, bool dialled)
{
	struct sockaddr_un un = { 0 };
	socklen_t len = sizeof(un);

	if (fd < 0)
		return;
	must(dialled && listener >= 0);
	must(getpeername(fd, (struct sockaddr *)&un, &len) == 0 && un.sun_family == AF_UNIX &&
	     !strcmp(un.sun_path, dialler.address + strlen("unix:")));
	close(fd);
}

static void ask_one(int fd, struct rd *in)
{
	uint8_t head = rd_u8(in), how = rd_u8(in);
	struct keeper_message m = { .op = head & 7, .arg = rd_u8(in) };
	size_t len = sizeof(m);
	int pass = -1;

	if (m.op == KEEPER_REMOVE)
		put_path(&m, in, how);
	else
		rd_get(in, m.data, rd_left(in) < 16 ? rd_left(in) : 16);
	if (head & 8)
		m.arg = rd_u64(in);
	if (head & 0x10)
		m.op = (int32_t)rd_u32(in);
	if (head & 0x20)
		pass = fd;
	if ((head & 0xc0) == 0xc0)
		len = rd_u16(in) % sizeof(m);
	if (len == sizeof(m))
		must(send_message(fd, &m, pass));
	else
		must(send(fd, &m, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* What the keeper said, request by request. */
static void look_at_answers(int fd, bool dialled)
{
	struct keeper_message m;
	int passed;

	while (receive_message(fd, &m, &passed))
		look_at_descriptor(passed, dialled);
}

static bool owner_of(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN])
{
	struct err err = ERR_INIT;
	int ret = arbiter_owner(a, generation, id, &err);

	must(ret >= 0 || err.code == -ret);
	return ret == 1;
}

/* The files that an arbiter finds: generations, claims, other things. */
static void put_files(struct rd *in)
{
	for (unsigned n = rd_u8(in) & 3; n; n--) {
		uint8_t how = rd_u8(in);
		char name[64], text[64];
		size_t len = rd_u8(in) & 63;

		if (how & 1)
			snprintf(name, sizeof(name), "generation-%u", how >> 1 & 7);
		else
			snprintf(name, sizeof(name), "generation-%llu%s",
				 (unsigned long long)rd_u64(in), how & 2 ? "x" : "");
		memset(text, '0' + (how >> 4), sizeof(text));
		text[32] = '\n';
		if (how & 8)
			rd_get(in, text, len < rd_left(in) ? len : rd_left(in));
		folder_file(name, text, how & 4 ? len : 33);
	}
}

static void put_marker(void)
{
	folder_file("twinstep-arbiter", "0123456789abcdef0123456789abcdef\n", 33);
}

static struct arbiter *begin(void)
{
	static struct arbiter *arbiter;
	char spec[80];

	if (!arbiter) {
		folder_make();
		snprintf(spec, sizeof(spec), "file:%s", folder.path);
		put_marker();
		arbiter = arbiter_open(spec, NULL);
		snprintf(named_path, sizeof(named_path), "%s/named", folder.path);
		snprintf(other_path, sizeof(other_path), "%s/other", folder.path);
		keeper_allow_remove(named_path);
		for (unsigned i = 0; i < 2; i++)
			backend[i].ops = &backend_ops;
		host.nic[0] = &backend[0];
		host.nic[MACHINE_NICS - 1] = &backend[1];
		keeper_allow_attach(attach_nic, &host, false);
	}
	must(arbiter);
	return arbiter;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arbiter *arbiter = begin();
	struct rd in = RD_INIT(data, size);
	uint8_t before[ARBITER_ID_LEN], after[ARBITER_ID_LEN];
	bool owned, dialled = size && data[0] & ASKS_DIALLER;
	int fd[2];

	promises = attached = 0;
	keeper_allow_promise(count_promise, NULL);
	put_marker();
	put_files(&in);
	folder_file("named", "", 0);
	folder_file("other", "", 0);
	owned = owner_of(arbiter, 1, before);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0);
	for (unsigned i = 0; i < REQUESTS && rd_left(&in); i++)
		ask_one(fd[0], &in);
	shutdown(fd[0], SHUT_WR);
	if (dialled) {
		begin_dialler(data[0] & LISTENS);
		serve(fd[1], dialler_serve, &dialler);
	} else {
		serve(fd[1], arbiter_serve, arbiter);
	}
	shutdown(fd[1], SHUT_RDWR);
	look_at_answers(fd[0], dialled);
	end_dialler();
	close(fd[0]);
	close(fd[1]);
	must(attached <= REQUESTS);
	must(promises <= 1 && access(other_path, F_OK) == 0);
	must(!owned || (owner_of(arbiter, 1, after) && !memcmp(before, after, sizeof(after))));
	folder_empty();
	return 0;
}
