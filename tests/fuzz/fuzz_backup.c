// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a backup whose primary means harm: handshake, state, pages, records, heartbeats and goodbye
 * come as the script says (wire_stream.h) and go through the session, the replayer and the decision
 * at the end. The backup ends in an orderly way, whatever it was told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replica/replica_private.h"
#include "tests/fuzz/bounded.h"
#include "tests/fuzz/wire_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BACKUP_COUNT 3000 /* instructions that the guest may take */

/* ---- an arbiter that knows the peer, and gives away what the script says ---- */

static struct {
	struct arbiter base;
	int answer;
	bool marked; /* generation 2 is the peer's, which counted on us when it took it */
} judge;

static int judge_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		      struct err *err)
{
	int answer = judge.answer;

	if (answer >= 0)
		return answer;
	judge.answer = 1; /* it is asked again */
	return err_set(err, EIO, "nobody answers");
}

static int judge_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		       struct err *err)
{
	memset(id, 0, ARBITER_ID_LEN);
	if (generation == 2 && judge.marked)
		id[ARBITER_ID_LEN - 1] = ARBITER_COUNTS_ON;
	return generation <= 2;
}

static int judge_last(struct arbiter *a, uint64_t *generation, struct err *err)
{
	*generation = 2;
	return 0;
}

static const struct arbiter_ops judge_ops = {
	.prefix = "fuzz", .take = judge_take, .owner = judge_owner, .last = judge_last
};

/* ---- the machine ---- */

static struct machine *create(void *ctx, const struct machine_config *c, const char *counter,
			      const struct traits *traits, const struct output_sink *sink,
			      struct live_config *live, struct err *err)
{
	if (c->memory > MEMORY_MIN || c->ndisks) {
		err_set(err, EINVAL, "this host has no room for that");
		return NULL;
	}
	return machine_create(c, bounded_engine(BACKUP_COUNT), NULL, sink, err);
}

/* A true state: number of the last record, then a machine's image with some bytes changed, which
 * goes on at STREAM_CODE. */
static void state(struct buf *b, struct rd *in, struct stream *s)
{
	static struct buf image;
	uint64_t seq = rd_u8(in);

	if (!image.len)
		first_state(machine_create(&stream_config, &soft_engine_ops, NULL,
					   &(struct output_sink){ 0 }, NULL),
			    STREAM_CODE, &image);
	s->seq = seq;
	buf_put_u64(b, seq);
	buf_put(b, image.data, image.len);
	stream_patch(b, in);
}

/* ---- the peer ---- */

static void say(struct stream *s, enum wire_type type, void (*make)(struct buf *b, struct rd *in),
		struct rd *in)
{
	struct buf b = BUF_INIT;

	make(&b, in);
	must(wire_send(&s->wire, type, b.data, b.len, false, 0, NULL) == 0);
	buf_free(&b);
}

static void say_state(struct stream *s, struct rd *in)
{
	struct buf b = BUF_INIT;

	state(&b, in, s);
	must(wire_send(&s->wire, WIRE_STATE, b.data, b.len, true, 0, NULL) == 0);
	buf_free(&b);
}

/*
 * The machine has no disks, and that is agreed on: what a source says then does not depend on what
 * it hears.
 */
static void say_disks(struct stream *s)
{
	static const uint8_t want[] = { 4, 1, 2, 3, 4, 5, 6, 7, 8, 0 }, begin[] = { 7, 0 },
			     equal[] = { 11, 1, 0 };

	must(wire_send(&s->wire, WIRE_DISK, want, sizeof(want), false, 0, NULL) == 0);
	must(wire_send(&s->wire, WIRE_DISK, begin, sizeof(begin), false, 0, NULL) == 0);
	must(wire_send(&s->wire, WIRE_DISK, equal, sizeof(equal), false, 0, NULL) == 0);
}

/* It lives on without reading: answers have room in the socket. */
static struct peer *speak(int fd, struct rd *in)
{
	struct stream s = { .state = state };
	struct peer *peer = peer_from_socket(fd, "fuzz");
	uint8_t start = rd_u8(in);
	static const uint8_t zeros[2];
	struct rd plain = RD_INIT(zeros, 2);

	must(peer);
	wire_init(&s.wire, peer);
	/* Almost always it starts as it has to, and mostly its state is a good one. */
	if (start & 15)
		say(&s, WIRE_HELLO, stream_hello, &plain);
	if (start & 14) {
		say_disks(&s);
		say_state(&s, start & 12 ? &plain : in);
		must(wire_send(&s.wire, WIRE_STATE_END, NULL, 0, false, 0, NULL) == 0);
	}
	for (unsigned i = 0; i < STREAM_FRAMES && rd_left(in) && stream_frame(&s, in); i++)
		;
	shutdown(fd, SHUT_WR);
	wire_fini(&s.wire);
	return peer;
}

static void run(struct replica *r, struct err *err)
{
	enum machine_end end;
	int ret;

	ret = follower_join(r, err);
	if (ret == 0)
		ret = follower_run(r, &end, err);
	must(ret >= 0 || err->code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	struct replica_config cfg = { .arbiter = &judge.base,
				      .timeout_ms = 1000,
				      .hang_timeout_ms = 1000,
				      .connect = "fuzz",
				      .create = create };
	struct err err = ERR_INIT;
	struct replica *r;
	struct machine *m;
	struct peer *peer;
	int fd[2];

	log_set_level(LOG_ERROR);
	judge.base.ops = &judge_ops;
	judge.answer = rd_u8(&in);
	judge.marked = judge.answer & 0x80;
	judge.answer = judge.answer % 3 - 1;
	r = replica_create(&cfg, &err);
	must(r && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	r->follower.dialled = peer_from_socket(fd[0], "fuzz");
	peer = speak(fd[1], &in);
	run(r, &err);
	m = r->m;
	replica_destroy(r);
	machine_destroy(m);
	peer_close(peer);
	return 0;
}
