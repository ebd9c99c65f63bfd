// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A backup's vCPU thread by itself: batches are put into its queue as its receiver would, and what
 * it makes of them and of their end is looked at. No thread runs beside it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "record/codec.h"
#include "replica/replica_private.h"
#include "tests/boot_sector.h"
#include "tests/unit.h"

#define RAM (2ul << 20)

struct rig {
	struct replica *r;
	struct wire primary; /* its end of the connection */
	struct codec codec;
	struct err err;
	enum machine_end end;
};

/* One instruction for ever: any count is reached, always at its address. */
static struct machine *make_machine(const struct output_sink *sink, struct err *err)
{
	static const uint8_t loop[] = { 0xeb, 0xfe };
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.memory = RAM;
	m = machine_create(&c, &soft_engine_ops, NULL, sink, err);
	ck_assert_msg(m != NULL, "%s", err->text);
	boot_sector_load(m, loop, sizeof(loop));
	return m;
}

/* A backup that has the state, and is counted on if `counted`. */
static void begin(struct rig *g, enum replica_survivor survivor, bool counted)
{
	const struct replica_config cfg = { .timeout_ms = 500, .hang_timeout_ms = 500 };
	static const struct output_sink nowhere;
	struct session *s;
	int fd[2];

	memset(g, 0, sizeof(*g));
	log_set_level(LOG_ERROR);
	g->r = replica_create(&cfg, &g->err);
	ck_assert_msg(g->r != NULL, "%s", g->err.text);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	s = session_new(g->r, peer_from_socket(fd[0], "primary"));
	ck_assert_ptr_nonnull(s);
	s->theirs = (struct wire_hello){ .timeout_ms = 500,
					 .hang_timeout_ms = 500,
					 .on_divergence = (uint8_t)survivor };
	wire_init(&g->primary, peer_from_socket(fd[1], "backup"));
	g->r->follower.primary = s;
	g->r->m = make_machine(&nowhere, &g->err);
	failover_event(&g->r->failover, FAILOVER_LOAD);
	failover_event(&g->r->failover, FAILOVER_READY);
	if (counted)
		failover_event(&g->r->failover, FAILOVER_COUNTED);
	codec_restart(&g->codec);
}

static void finish(struct rig *g)
{
	struct machine *m = g->r->m;

	replica_destroy(g->r);
	machine_destroy(m);
	peer_close(g->primary.peer);
	wire_fini(&g->primary);
}

static void push(struct rig *g, struct buf *b)
{
	struct parcel *p = parcel_new(WIRE_RECORDS, b);

	ck_assert_ptr_nonnull(p);
	queue_push(&g->r->follower.incoming, &p->node, p->data.len);
}

/* A batch of n records, the first of them number seq, each 1000 instructions after the one before.
 */
static void batch(struct rig *g, uint64_t seq, unsigned n, uint64_t rip)
{
	struct buf b = BUF_INIT, detail = BUF_INIT;

	codec_restart(&g->codec);
	for (; n--; seq++) {
		struct sync_point sp = { .seq = seq, .at = { .count = 1000 * seq, .rip = rip } };

		codec_put(&g->codec, &b, &sp, 0, &detail);
	}
	push(g, &b);
}

/* The receiver has ended: with a goodbye after so many instructions, or (0) without. */
static void stream_ends(struct rig *g, uint64_t bye)
{
	struct follower *f = &g->r->follower;

	f->said_bye = bye != 0;
	f->bye = (struct replay_end){ .end = MACHINE_ENDED, .count = bye, .rip = BOOT_SECTOR };
	strcpy(f->lost_why, "a test");
	atomic_store(&f->stream_over, true);
}

static int run(struct rig *g)
{
	return follower_run(g->r, &g->end, &g->err);
}

/* The next frame that the primary gets. */
static struct wire_frame told(struct rig *g)
{
	struct wire_frame f;

	wire_established(&g->primary);
	ck_assert_msg(wire_recv(&g->primary, &f, 5000, &g->err) == 1, "%s", g->err.text);
	return f;
}

START_TEST(batches_are_replayed_to_the_goodbye)
{
	struct rig g;
	struct follower *f;

	begin(&g, SURVIVOR_PRIMARY, true);
	f = &g.r->follower;
	batch(&g, 1, 3, BOOT_SECTOR);
	batch(&g, 4, 2, BOOT_SECTOR);
	stream_ends(&g, 7000);
	ck_assert_uint_eq(follower_next_record(f), 1);
	ck_assert_int_eq(run(&g), 0);
	ck_assert_int_eq(g.end, MACHINE_ENDED);
	ck_assert_uint_eq(f->applied, 5);
	ck_assert_uint_eq(follower_next_record(f), 6);
	ck_assert_uint_eq(queue_bytes(&f->incoming), 0);
	ck_assert_uint_eq(machine_engine(g.r->m)->ops->count(machine_engine(g.r->m)), 7000);
	ck_assert_int_eq(failover_state(&g.r->failover), REPLICA_ENDED);
	ck_assert_int_eq(told(&g).type, WIRE_BYE);
	finish(&g);
}
END_TEST

START_TEST(a_backup_nobody_counts_on_ends_with_its_primary)
{
	struct rig g;

	begin(&g, SURVIVOR_PRIMARY, false);
	batch(&g, 1, 2, BOOT_SECTOR);
	stream_ends(&g, 0);
	ck_assert_int_eq(run(&g), -ECONNRESET);
	ck_assert_ptr_nonnull(strstr(g.err.text, "a test"));
	ck_assert_uint_eq(g.r->follower.applied, 2);
	ck_assert_int_eq(failover_state(&g.r->failover), REPLICA_ENDED);
	finish(&g);
}
END_TEST

/* Nothing after it can be believed, so nobody is asked whether this replica may go live. */
START_TEST(a_record_that_cannot_be_read_ends_it)
{
	static const uint8_t noise[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};
	struct buf b = BUF_INIT;
	struct rig g;

	begin(&g, SURVIVOR_BACKUP, true);
	batch(&g, 1, 1, BOOT_SECTOR);
	buf_put(&b, noise, sizeof(noise));
	push(&g, &b);
	stream_ends(&g, 0);
	ck_assert_int_lt(run(&g), 0);
	ck_assert_int_ne(g.err.code, 0);
	ck_assert_uint_eq(g.r->follower.applied, 1);
	ck_assert_int_eq(failover_state(&g.r->failover), REPLICA_ENDED);
	finish(&g);
}
END_TEST

/* A record that the machine cannot come to: the primary is told where, and goes on alone. */
START_TEST(a_divergence_is_told_and_yields)
{
	struct replica_status s;
	struct wire_frame f;
	struct rig g;

	begin(&g, SURVIVOR_PRIMARY, true);
	batch(&g, 1, 1, BOOT_SECTOR);
	batch(&g, 2, 1, 0xdead);
	stream_ends(&g, 0);
	ck_assert_int_eq(run(&g), -EILSEQ);
	f = told(&g);
	ck_assert_int_eq(f.type, WIRE_DIVERGED);
	ck_assert_uint_eq(rd_u64(&(struct rd)RD_INIT(f.data, f.len)), 2000);
	replica_get_status(g.r, &s);
	ck_assert(s.divergence[0]);
	ck_assert_int_eq(failover_state(&g.r->failover), REPLICA_ENDED);
	finish(&g);
}
END_TEST

/*
 * Its receiver still tells the old primary that it is there when it has taken over, and no primary
 * is left; nor need the primary have sent a single stamp before it handed over.
 */
START_TEST(who_has_taken_over_acknowledges_without_a_stamp)
{
	struct session *s;
	struct rig g;

	begin(&g, SURVIVOR_PRIMARY, true);
	s = g.r->follower.primary;
	ck_assert_uint_eq(g.r->follower.silence_ms, 0);
	g.r->follower.primary = NULL;
	ck_assert_uint_eq(follower_timeout_ns(s), 500 * NS_PER_MS);
	ck_assert_int_eq(follower_acknowledge(s, &g.err), 0);
	ck_assert_int_eq(told(&g).type, WIRE_ACK);
	g.r->follower.primary = s;
	finish(&g);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, batches_are_replayed_to_the_goodbye);
	tcase_add_test(tc, a_backup_nobody_counts_on_ends_with_its_primary);
	tcase_add_test(tc, a_record_that_cannot_be_read_ends_it);
	tcase_add_test(tc, a_divergence_is_told_and_yields);
	tcase_add_test(tc, who_has_taken_over_acknowledges_without_a_stamp);
}

UNIT_MAIN("follower", add_tests)
