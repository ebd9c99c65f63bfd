// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A replica against a scripted other side, which says and does not say what a well-behaved one
 * would: when a backup is counted on, who goes on, and that nobody goes live or sends before the
 * other one must be silent.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "hypervisor/cpuid.h"
#include "record/codec.h"
#include "record/disk_file.h"
#include "record/pages.h"
#include "replica/replica_private.h"
#include "tests/boot_sector.h"
#include "replica/disk_sync_private.h"
#include "tests/unit.h"

#define RAM	   (2ul << 20)
#define TIMEOUT_MS 2000 /* of silence: a script that gets no turn for so long is taken for dead */

/* Real mode at 0:7c00: fills memory and prints a byte on COM1, for ever. */
static const uint8_t program[] = {
	0xfc,		  /* cld */
	0xb9, 0x00, 0x40, /* next: mov cx, 0x4000 */
	0xbf, 0x00, 0x80, /* mov di, 0x8000 */
	0xf3, 0xaa,	  /* rep stosb */
	0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
	0xb0, 0x78,	  /* mov al, 'x' */
	0xee,		  /* out dx, al */
	0xeb, 0xf0,	  /* jmp next */
};

/* By the guest, a round: one that is to make many records fills less; 0: as above. */
static uint16_t fill_bytes;

static uint8_t script_id[WIRE_ID_LEN] = "the script";

/* An arbiter that cannot tell, as long as the test says so; or that loses an answer. */
struct shaky {
	struct arbiter base;
	struct arbiter *real;
	atomic_bool broken, loses;
	atomic_uint asked;
};

struct rig {
	struct shaky arbiter;
	char dir[64], address[128], spec[128];
	struct replica_config cfg;
	struct replica *r;
	struct machine *m;
	enum machine_end end;
	pthread_t thread;
	bool runs;
	int ret;
	struct peer_listener *listener;
	struct err err;
	struct wire w; /* the script's end */
	uint64_t last; /* record that the primary sent last */
	struct wire_stamp stamp;
};

static int shaky_take(struct arbiter *a, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		      struct err *err)
{
	struct shaky *s = (struct shaky *)a;

	if (atomic_exchange(&s->loses, false)) {
		ck_assert_int_eq(arbiter_take(s->real, generation, id, err), 1);
		return err_set(err, ETIMEDOUT, "no answer");
	}
	if (!atomic_load(&s->broken))
		return arbiter_take(s->real, generation, id, err);
	atomic_fetch_add(&s->asked, 1);
	return err_set(err, EROFS, "the file system is read-only");
}

static int shaky_owner(struct arbiter *a, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		       struct err *err)
{
	return arbiter_owner(((struct shaky *)a)->real, generation, id, err);
}

static int shaky_last(struct arbiter *a, uint64_t *generation, struct err *err)
{
	return arbiter_last(((struct shaky *)a)->real, generation, err);
}

static const struct arbiter_ops shaky_ops = { .take = shaky_take,
					      .owner = shaky_owner,
					      .last = shaky_last };

static struct machine *make_machine(const struct output_sink *sink, struct err *err)
{
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.memory = RAM;
	c.nnics = 1;
	m = machine_create(&c, &soft_engine_ops, NULL, sink, err);
	ck_assert_msg(m != NULL, "%s", err->text);
	boot_sector_load(m, program, sizeof(program));
	if (fill_bytes)
		ck_assert(memory_write(machine_memory(m), BOOT_SECTOR + 2, &fill_bytes, 2));
	return m;
}

static struct machine *create_as_told(void *ctx, const struct machine_config *c,
				      const char *counter, const struct traits *traits,
				      const struct output_sink *sink, struct live_config *live,
				      struct err *err)
{
	return machine_create(c, &soft_engine_ops, NULL, sink, err);
}

static void open_rig(struct rig *g, enum replica_survivor survivor)
{
	memset(g, 0, sizeof(*g));
	log_set_level(LOG_ERROR);
	strcpy(g->dir, "/tmp/twinstep-roles-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(g->dir));
	snprintf(g->address, sizeof(g->address), "unix:%s/socket", g->dir);
	snprintf(g->spec, sizeof(g->spec), "file:%s/arbiter", g->dir);
	ck_assert_int_eq(arbiter_init(g->spec, &g->err), 0);
	g->arbiter.base.ops = &shaky_ops;
	g->arbiter.real = arbiter_open(g->spec, &g->err);
	ck_assert_msg(g->arbiter.real != NULL, "%s", g->err.text);
	g->cfg = (struct replica_config){ .arbiter = &g->arbiter.base,
					  .timeout_ms = TIMEOUT_MS,
					  .hang_timeout_ms = 60000,
					  .max_lag_ms = 5000,
					  .max_stall_ms = 60000,
					  .max_pause_ms = 50,
					  .join_timeout_ms = 60000,
					  .epoch_ns = 100 * NS_PER_MS,
					  .connect_wait_ms = 5000,
					  .on_divergence = survivor,
					  .create = create_as_told };
}

static void remove_all(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static void join_thread(struct rig *g)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	ck_assert_msg(pthread_timedjoin_np(g->thread, NULL, &until) == 0,
		      "the replica does not end");
	g->runs = false;
}

static void close_rig(struct rig *g)
{
	if (g->runs) {
		replica_stop(g->r);
		if (g->w.peer)
			peer_shutdown(g->w.peer);
		join_thread(g);
	}
	if (g->w.peer)
		peer_close(g->w.peer);
	wire_fini(&g->w);
	peer_listener_close(g->listener);
	replica_destroy(g->r);
	machine_destroy(g->m);
	arbiter_close(g->arbiter.real);
	remove_all(g->dir);
}

/* What the scripted side says of its processor, where that is not the software CPU. */
static struct traits their_traits;
static bool says_no_traits;
static uint64_t script_generation = 1;

static void send_hello(struct rig *g, bool primary)
{
	struct wire_hello h = { .wire_version = WIRE_VERSION,
				.codec_version = CODEC_VERSION,
				.primary = primary,
				.generation = script_generation,
				.cpuid_digest = cpuid_v1_digest(),
				.counter = "retired",
				.on_divergence = (uint8_t)g->cfg.on_divergence,
				.timeout_ms = TIMEOUT_MS,
				.hang_timeout_ms = 60000,
				.traits = their_traits };
	struct buf b = BUF_INIT;

	memcpy(h.id, script_id, sizeof(h.id));
	if (!their_traits.n && !says_no_traits)
		traits_of_soft(MACHINE_VERSION, &h.traits);
	machine_config_defaults(&h.config);
	h.config.memory = RAM;
	h.config.nnics = 1;
	h.config_digest = machine_config_digest(&h.config);
	wire_hello_save(&h, &b);
	ck_assert_msg(wire_send(&g->w, WIRE_HELLO, b.data, b.len, false, 5000, &g->err) == 0, "%s",
		      g->err.text);
	buf_free(&b);
}

static struct wire_frame receive(struct rig *g)
{
	struct wire_frame f;

	ck_assert_msg(wire_recv(&g->w, &f, 10000, &g->err) == 1, "%s", g->err.text);
	return f;
}

static void send_buf(struct rig *g, enum wire_type type, struct buf *b)
{
	ck_assert_msg(wire_send(&g->w, type, b->data, b->len, false, 5000, &g->err) == 0, "%s",
		      g->err.text);
	buf_free(b);
}

static bool taken(struct rig *g, uint64_t generation)
{
	uint8_t id[ARBITER_ID_LEN];

	return arbiter_owner(g->cfg.arbiter, generation, id, &g->err) == 1;
}

/* ---- a real primary, a scripted backup ---- */

static void *primary_main(void *arg)
{
	struct rig *g = arg;

	g->ret = replica_run_primary(g->r, g->m, &g->end, &g->err);
	return NULL;
}

static void make_primary(struct rig *g)
{
	struct output_sink sink;

	g->cfg.listen = g->address;
	g->r = replica_create(&g->cfg, &g->err);
	ck_assert_msg(g->r != NULL && replica_listen(g->r, &g->err) == 0, "%s", g->err.text);
	sink = replica_sink(g->r);
	g->m = make_machine(&sink, &g->err);
}

static void start_primary(struct rig *g)
{
	ck_assert_int_eq(pthread_create(&g->thread, NULL, primary_main, g), 0);
	g->runs = true;
}

/* ---- disks: there are none, and that is agreed on ---- */

static int say_disk(void *ctx, struct buf *message)
{
	send_buf(ctx, WIRE_DISK, message);
	return 0;
}

/* A backup that has nothing of the guest. */
static void say_have(struct rig *g)
{
	static const uint8_t none[1 + HAVE_KEY] = { 1 };
	struct buf b = BUF_INIT;

	buf_put(&b, none, sizeof(none));
	send_buf(g, WIRE_HAVE, &b);
}

/* Says hello as a backup: what the primary answers. */
static struct wire_frame call_primary(struct rig *g)
{
	struct peer *p = peer_connect(g->address, NULL, 5000, &g->err);

	ck_assert_msg(p != NULL, "%s", g->err.text);
	wire_init(&g->w, p);
	send_hello(g, false);
	return receive(g);
}

/* Up to the end of the state. */
static void join_as_backup(struct rig *g)
{
	struct disk_target *disks = disk_target_new(NULL, 0, say_disk, g);
	struct wire_frame f;
	bool equal = false;

	ck_assert_int_eq(call_primary(g).type, WIRE_HELLO);
	wire_established(&g->w);
	say_have(g);
	ck_assert_int_eq(disk_target_offer(disks, &g->err), 0);
	do {
		f = receive(g);
		if (f.type == WIRE_DISK)
			equal |= disk_target_take(disks, &(struct rd)RD_INIT(f.data, f.len),
						  &g->err) == 1;
		if (f.type == WIRE_STATE)
			g->last = rd_u64(&(struct rd)RD_INIT(f.data, f.len));
	} while (f.type != WIRE_STATE_END);
	ck_assert(equal);
	disk_target_free(disks);
}

/* The next frame from the primary: its stamp, its last record. */
static void hear(struct rig *g)
{
	struct wire_frame f = receive(g);
	struct rd in = RD_INIT(f.data, f.len);
	size_t n;

	ck_assert(f.type == WIRE_RECORDS || f.type == WIRE_HEARTBEAT);
	ck_assert_int_eq(wire_stamp_restore(&g->stamp, &in, &g->err), 0);
	while (rd_left(&in)) {
		g->last = rd_varint(&in);
		rd_blob(&in, WIRE_FRAME_MAX, &n);
	}
}

static void acknowledge(struct rig *g, uint64_t received)
{
	struct wire_ack a = { .echo_ns = g->stamp.sent_ns,
			      .received = received,
			      .applied = received };
	struct buf b = BUF_INIT;

	wire_ack_save(&a, &b);
	send_buf(g, WIRE_ACK, &b);
}

static void acknowledge_as(struct rig *g, uint64_t received, uint64_t applied)
{
	struct wire_ack a = { .echo_ns = g->stamp.sent_ns,
			      .received = received,
			      .applied = applied };
	struct buf b = BUF_INIT;

	wire_ack_save(&a, &b);
	send_buf(g, WIRE_ACK, &b);
}

/* A primary that runs, and whose backup the test is from here on. */
static void open_primary(struct rig *g, enum replica_survivor survivor)
{
	open_rig(g, survivor);
	make_primary(g);
	start_primary(g);
	join_as_backup(g);
}

static void say_ready(struct rig *g)
{
	send_buf(g, WIRE_READY, &(struct buf)BUF_INIT);
}

static void follow_until_protected(struct rig *g)
{
	uint64_t until = host_mono_ns() + 10 * NS_PER_S;
	struct replica_status s;

	do {
		ck_assert(host_mono_ns() < until);
		hear(g);
		acknowledge(g, g->last);
		replica_get_status(g->r, &s);
	} while (s.state != REPLICA_PROTECTED);
}

/*
 * What left before outputs began to wait may need a record that is not acknowledged yet. A backup
 * without that record must not go live, and so must not be told that it may.
 */
START_TEST(a_backup_is_counted_on_when_it_has_what_left)
{
	uint64_t until, had;
	struct replica_status s;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	hear(&g);
	had = g.last;
	for (until = host_mono_ns() + 500 * NS_PER_MS; host_mono_ns() < until; hear(&g)) {
		acknowledge(&g, had);
		ck_assert_msg(!g.stamp.protecting, "counted on with record %llu",
			      (unsigned long long)had);
	}
	replica_get_status(g.r, &s);
	ck_assert_int_eq(s.state, REPLICA_HOLDING);
	follow_until_protected(&g);
	ck_assert(g.stamp.protecting);
	close_rig(&g);
}
END_TEST

/*
 * A backup that is not counted on yet ends when it diverges: "the backup goes on" would be nobody.
 */
START_TEST(a_joining_backup_that_diverges_takes_nobody_along)
{
	struct buf b = BUF_INIT;
	struct replica_status s;
	struct rig g;

	open_primary(&g, SURVIVOR_BACKUP);
	buf_put_u64(&b, 1);
	buf_put_u64(&b, 2);
	buf_put_str(&b, "a test");
	send_buf(&g, WIRE_DIVERGED, &b);
	for (uint64_t until = host_mono_ns() + 10 * NS_PER_S; host_mono_ns() < until;
	     usleep(1000)) {
		replica_get_status(g.r, &s);
		if (s.state == REPLICA_FENCED || (s.divergence[0] && s.state == REPLICA_ALONE))
			break;
	}
	ck_assert_str_eq(replica_state_name(s.state), "alone");
	ck_assert(s.live);
	close_rig(&g);
}
END_TEST

/* A signal may come before there is anything to stop. */
START_TEST(a_stop_that_comes_early_is_kept)
{
	struct rig g;

	open_rig(&g, SURVIVOR_PRIMARY);
	make_primary(&g);
	replica_stop(g.r);
	start_primary(&g);
	join_thread(&g);
	ck_assert_int_eq(g.ret, 0);
	close_rig(&g);
}
END_TEST

START_TEST(a_rate_is_there_without_having_been_asked_for)
{
	struct replica_status s = { 0 };
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	for (uint64_t until = host_mono_ns() + 2500 * NS_PER_MS; host_mono_ns() < until;) {
		hear(&g);
		acknowledge(&g, g.last);
	}
	replica_get_status(g.r, &s);
	ck_assert(s.log_bytes_s > 0);
	close_rig(&g);
}
END_TEST

/* ---- announcements ---- */

static int pipe_fd[2];

static int to_pipe_fd(const struct nic *nic)
{
	return pipe_fd[1];
}

static int to_pipe_send(struct nic *nic, const void *frame, size_t len)
{
	return write(pipe_fd[1], frame, len) < 0 ? -EIO : 0;
}

static size_t piped(void)
{
	uint8_t frames[4096];
	ssize_t n = read(pipe_fd[0], frames, sizeof(frames));

	return n > 0 ? (size_t)n : 0;
}

/* They come late: the replica may be another one's primary by then, or nobody's. */
START_TEST(announcements_keep_to_the_lease)
{
	static const struct nic_ops ops = { .fd = to_pipe_fd,
					    .send = to_pipe_send,
					    .send_call = SYS_write };
	struct nic nic = { .ops = &ops };
	struct rig g;

	open_rig(&g, SURVIVOR_PRIMARY);
	make_primary(&g);
	ck_assert_int_eq(pipe2(pipe_fd, O_NONBLOCK), 0);
	g.r->m = g.m;
	g.r->cfg.live.nic[0] = &nic;
	outbox_set_mode(&g.r->outbox, OUTBOX_LEASED);
	announce_start(g.r);
	ck_assert_uint_eq(piped(), 0);
	outbox_acknowledged(&g.r->outbox, 0, replica_lease_clock_ns(), TIMEOUT_MS * NS_PER_MS);
	announce_start(g.r);
	ck_assert_uint_eq(piped(), 60);
	outbox_set_mode(&g.r->outbox, OUTBOX_CLOSED);
	announce_start(g.r);
	ck_assert_uint_eq(piped(), 0);
	outbox_set_mode(&g.r->outbox, OUTBOX_OPEN);
	announce_start(g.r);
	ck_assert_uint_eq(piped(), 60);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	close_rig(&g);
}
END_TEST

/* ---- a real backup, a scripted primary ---- */

static void *backup_main(void *arg)
{
	struct rig *g = arg;

	g->ret = replica_connect(g->r, &g->err);
	if (g->ret == 0)
		g->ret = replica_join(g->r, &g->m, &g->err);
	if (g->ret == 0)
		g->ret = replica_run_backup(g->r, &g->end, &g->err);
	return NULL;
}

/* The machine without its memory. */
static void send_first_state(struct rig *g)
{
	struct output_sink none = { 0 };
	struct machine *m = make_machine(&none, &g->err);
	struct buf b = BUF_INIT;

	buf_put_u64(&b, 0);
	machine_save(m, &b);
	send_buf(g, WIRE_STATE, &b);
	machine_destroy(m);
}

static void send_state(struct rig *g)
{
	struct output_sink none = { 0 };
	struct machine *m = make_machine(&none, &g->err);
	const struct memory *mem = machine_memory(m);
	struct buf b = BUF_INIT;

	buf_put_u64(&b, 0);
	machine_save(m, &b);
	send_buf(g, WIRE_STATE, &b);
	for (uint64_t i = 0; i < mem->pages; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;

		/* A page of zeros may be there without its bytes, as in a log. */
		pages_put(&b, i, memory_page_is_zero(page) ? NULL : page);
		send_buf(g, WIRE_PAGES, &b);
	}
	send_buf(g, WIRE_STATE_END, &(struct buf)BUF_INIT);
	machine_destroy(m);
}

/* Agrees about the disks that there are not. */
static void send_disks(struct rig *g)
{
	struct disk_source *disks = disk_source_new(NULL, 0, 1, say_disk, g);

	while (!disk_source_begun(disks)) {
		struct wire_frame f = receive(g);

		if (f.type == WIRE_HAVE)
			continue;
		ck_assert_int_eq(f.type, WIRE_DISK);
		ck_assert_int_eq(
			disk_source_take(disks, &(struct rd)RD_INIT(f.data, f.len), &g->err), 0);
	}
	ck_assert_int_eq(disk_source_finish(disks, 0, &g->err), 0);
	disk_source_free(disks);
}

/* The next frame that is not about disks. */
static enum wire_type receive_type(struct rig *g)
{
	enum wire_type type;

	do
		type = receive(g).type;
	while (type == WIRE_DISK || type == WIRE_HAVE);
	return type;
}

static bool redials; /* the backup dials again when its join is cut */

static struct peer *redial(void *ctx, struct err *err)
{
	struct rig *g = ctx;

	return peer_dial(g->address, 2000, err);
}

/* Up to the end of the handshake. */
static void meet_backup(struct rig *g, enum replica_survivor survivor)
{
	struct wire_hello theirs;
	struct wire_frame hello;
	open_rig(g, survivor);
	ck_assert_int_eq(arbiter_take(g->cfg.arbiter, 1, script_id, &g->err), 1);
	g->listener = peer_listen(g->address, NULL, &g->err);
	g->cfg.connect = g->address;
	if (redials) {
		g->cfg.redial = redial;
		g->cfg.redial_ctx = g;
		g->cfg.connect_wait_ms = 10000;
	}
	g->r = replica_create(&g->cfg, &g->err);
	ck_assert_msg(g->r != NULL && replica_listen(g->r, &g->err) == 0, "%s", g->err.text);
	ck_assert_int_eq(pthread_create(&g->thread, NULL, backup_main, g), 0);
	g->runs = true;
	wire_init(&g->w, NULL);
	g->w.peer = peer_accept(g->listener, 5000, &g->err);
	ck_assert_msg(g->w.peer != NULL, "%s", g->err.text);
	send_hello(g, true);
	hello = receive(g);
	ck_assert_int_eq(wire_hello_restore(&theirs, &hello, &g->err), 0);
	ck_assert_uint_eq(theirs.config.version, 1); /* which every program reads */
	wire_established(&g->w);
}

/* The connection ends with so many bytes of a frame on their way, and the backup is there again. */
static void cut_backup(struct rig *g, size_t inside)
{
	struct peer *old = g->w.peer;
	struct wire_hello theirs;
	struct wire_frame hello;

	if (inside)
		ck_assert_int_eq(peer_send(g->w.peer, "TWIR", inside, 1000, &g->err), 0);
	peer_shutdown(old); /* closed with bytes unread, it would take back what was sent */
	wire_fini(&g->w);
	wire_init(&g->w, NULL);
	g->w.peer = peer_accept(g->listener, 10000, &g->err);
	ck_assert_msg(g->w.peer != NULL, "%s", g->err.text);
	peer_close(old);
	send_hello(g, true);
	hello = receive(g);
	ck_assert_int_eq(wire_hello_restore(&theirs, &hello, &g->err), 0);
	wire_established(&g->w);
}

/* How many pages the backup says that it has. */
static uint64_t hear_have(struct rig *g)
{
	struct have *have = have_new(RAM / PAGE_SIZE);
	uint64_t n;

	while (!have_is_complete(have)) {
		struct wire_frame f = receive(g);

		if (f.type == WIRE_HAVE)
			ck_assert_msg(have_take(have, f.data, f.len, &g->err) == 0, "%s",
				      g->err.text);
	}
	for (struct wire_frame f = { 0 }; f.type != WIRE_DISK || f.data[0] != SYNC_OFFER_END;)
		f = receive(g); /* nothing more is said by then */
	n = have_count(have);
	have_free(have);
	return n;
}

static void send_page(struct rig *g, uint64_t number)
{
	static const uint8_t page[PAGE_SIZE] = { 1, 2, 3 };
	struct buf b = BUF_INIT;

	pages_put(&b, number, page);
	send_buf(g, WIRE_PAGES, &b);
}

/* Up to READY, and a heartbeat that says that we count on it. */
static void open_backup(struct rig *g, enum replica_survivor survivor)
{
	struct wire_stamp stamp = { .sent_ns = 1, .protecting = true, .silence_ms = TIMEOUT_MS };
	struct buf b = BUF_INIT;

	meet_backup(g, survivor);
	send_disks(g);
	send_state(g);
	ck_assert_int_eq(receive_type(g), WIRE_READY);
	wire_stamp_save(&stamp, &b);
	send_buf(g, WIRE_HEARTBEAT, &b);
	while (receive(g).type != WIRE_ACK)
		;
}

/* A guest that uses what differs would go two ways: the pair is not made. */
/* Cut between two frames, inside of one, and behind the machine's state. */
START_TEST(a_join_that_is_cut_goes_on_with_what_there_is)
{
	static const size_t inside[] = { 0, 3, 0 };
	struct rig g;

	redials = true;
	meet_backup(&g, SURVIVOR_PRIMARY);
	ck_assert_uint_eq(hear_have(&g), 0);
	for (unsigned i = 0; i < 3; i++) {
		send_page(&g, 40 + i);
		if (i == 2)
			send_first_state(&g);
		cut_backup(&g, inside[i]);
		ck_assert_uint_ge(hear_have(&g), i + 1);
	}
	close_rig(&g);
	redials = false;
}
END_TEST

/* Another process answers: its guest is another one, even if it looks the same. */
START_TEST(a_join_goes_on_with_the_same_replica_only)
{
	struct rig g;

	redials = true;
	meet_backup(&g, SURVIVOR_PRIMARY);
	hear_have(&g);
	send_page(&g, 40);
	script_id[0] ^= 1;
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, script_id, &g.err), 1);
	script_generation = 2;
	cut_backup(&g, 0);
	join_thread(&g);
	ck_assert_int_eq(g.ret, -EINVAL);
	script_generation = 1;
	script_id[0] ^= 1;
	close_rig(&g);
	redials = false;
}
END_TEST

START_TEST(a_backup_on_another_processor_is_refused)
{
	struct rig g;

	traits_of_soft(MACHINE_VERSION, &their_traits);
	strcpy(their_traits.host, "GenuineIntel 000306D4");
	their_traits.number[TRAIT_ESTIMATES] ^= 1;
	meet_backup(&g, SURVIVOR_PRIMARY);
	join_thread(&g);
	ck_assert_int_eq(g.ret, -EPROTO);
	ck_assert_ptr_nonnull(strstr(g.err.text, "GenuineIntel 000306D4"));
	ck_assert_ptr_nonnull(strstr(g.err.text, "difference in: estimates;"));
	close_rig(&g);
}
END_TEST

START_TEST(a_primary_without_traits_is_refused)
{
	struct rig g;

	says_no_traits = true;
	meet_backup(&g, SURVIVOR_PRIMARY);
	join_thread(&g);
	ck_assert_int_eq(g.ret, -EPROTO);
	ck_assert_ptr_nonnull(strstr(g.err.text, "does not say what executes"));
	close_rig(&g);
}
END_TEST

/* The time from `since` until the backup has taken generation 2. */
static uint64_t taken_after(struct rig *g, uint64_t since)
{
	while (!taken(g, 2)) {
		ck_assert_msg(host_mono_ns() - since < 10 * NS_PER_S, "it does not go live");
		usleep(500);
	}
	return host_mono_ns() - since;
}

/*
 * The stream is damaged, the connection stands: the primary may be alive, and its lease is not
 * over.
 */
START_TEST(a_damaged_frame_does_not_shorten_the_lease)
{
	struct rig g;
	uint64_t t;

	open_backup(&g, SURVIVOR_PRIMARY);
	t = host_mono_ns();
	say_ready(&g);
	ck_assert_uint_ge(taken_after(&g, t), TIMEOUT_MS * NS_PER_MS);
	close_rig(&g);
}
END_TEST

static void send_stamp(struct rig *g, uint64_t sent_ns, uint32_t silence_ms)
{
	struct wire_stamp stamp = { .sent_ns = sent_ns,
				    .protecting = true,
				    .silence_ms = silence_ms };
	struct buf b = BUF_INIT;

	wire_stamp_save(&stamp, &b);
	send_buf(g, WIRE_HEARTBEAT, &b);
}

/* A lease may build on the longer time that was said before, and lasts as long. */
START_TEST(a_shorter_silence_waits_for_the_end_of_a_longer_one)
{
	struct rig g;
	uint64_t t;

	open_backup(&g, SURVIVOR_PRIMARY);
	t = host_mono_ns();
	send_stamp(&g, 2, TIMEOUT_MS + 500);
	send_stamp(&g, 3, 50);
	ck_assert_uint_ge(taken_after(&g, t), (TIMEOUT_MS + 500) * NS_PER_MS);
	close_rig(&g);
}
END_TEST

START_TEST(a_connection_that_ends_is_enough)
{
	struct rig g;
	uint64_t t;

	open_backup(&g, SURVIVOR_PRIMARY);
	t = host_mono_ns();
	peer_shutdown(g.w.peer);
	ck_assert_uint_lt(taken_after(&g, t), TIMEOUT_MS * NS_PER_MS);
	close_rig(&g);
}
END_TEST

static void expect_fenced(struct rig *g)
{
	struct replica_status s;

	join_thread(g);
	replica_get_status(g->r, &s);
	ck_assert_int_eq(s.state, REPLICA_FENCED);
	ck_assert(!s.live);
	ck_assert_uint_eq(s.generation, 1);
}

/* Until the replica is in that state. */
static struct replica_status wait_state(struct rig *g, enum replica_state state)
{
	uint64_t until = host_mono_ns() + 10 * NS_PER_S;
	struct replica_status s;

	do {
		usleep(1000);
		replica_get_status(g->r, &s);
		ck_assert_msg(host_mono_ns() < until, "it stays %s, and is not %s",
			      replica_state_name(s.state), replica_state_name(state));
	} while (s.state != state);
	return s;
}

/* The other side is lost while the arbiter cannot tell: it is asked again and again. */
static void lose_both(struct rig *g, enum replica_state asking)
{
	struct replica_status s;

	atomic_store(&g->arbiter.broken, true);
	peer_shutdown(g->w.peer);
	s = wait_state(g, asking);
	while (atomic_load(&g->arbiter.asked) < 3)
		usleep(1000);
	replica_get_status(g->r, &s);
	ck_assert_int_eq(s.state, asking);
	ck_assert(!s.live);
	ck_assert(!taken(g, 2));
}

/* It may be the only copy: an arbiter that is away for a moment does not end it. */
START_TEST(a_backup_without_arbiter_asks_until_it_knows)
{
	struct replica_status s;
	struct rig g;

	open_backup(&g, SURVIVOR_PRIMARY);
	lose_both(&g, REPLICA_CLAIMING);
	atomic_store(&g.arbiter.broken, false);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert(s.live && s.primary);
	ck_assert_uint_eq(s.generation, 2);
	close_rig(&g);
}
END_TEST

START_TEST(a_primary_without_arbiter_asks_until_it_knows)
{
	struct replica_status s, before;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	lose_both(&g, REPLICA_ASKING);
	replica_get_status(g.r, &before);
	ck_assert_uint_gt(before.outputs_held, 0);
	ck_assert(before.primary);
	atomic_store(&g.arbiter.broken, false);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert(s.live);
	ck_assert_uint_eq(s.generation, 2);
	while (s.outputs_released <= before.outputs_released)
		s = wait_state(&g, REPLICA_ALONE);
	close_rig(&g);
}
END_TEST

/*
 * The generation was taken and the answer was lost: a backup that cannot go live any more does not
 * pass for one that protects the guest.
 */
START_TEST(a_dismissal_whose_answer_is_lost_is_settled)
{
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	atomic_store(&g.arbiter.loses, true);
	ck_assert_msg(arbitrate_dismiss(g.r, "a test", &g.err) == 0, "%s", g.err.text);
	ck_assert_uint_eq(failover_generation(&g.r->failover), 2);
	wait_state(&g, REPLICA_ALONE);
	close_rig(&g);
}
END_TEST

/* The answer comes late, and is that another one is live. */
START_TEST(a_late_answer_fences)
{
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	lose_both(&g, REPLICA_ASKING);
	ck_assert_int_eq(arbiter_take(g.arbiter.real, 2, script_id, &g.err), 1);
	atomic_store(&g.arbiter.broken, false);
	expect_fenced(&g);
	close_rig(&g);
}
END_TEST

/* Told to stop while they ask: they end, and let nothing out. */
START_TEST(who_asks_can_be_stopped)
{
	struct replica_status s;
	uint64_t released;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	lose_both(&g, REPLICA_ASKING);
	replica_get_status(g.r, &s);
	released = s.outputs_released;
	replica_stop(g.r);
	join_thread(&g);
	replica_get_status(g.r, &s);
	ck_assert_str_eq(replica_state_name(s.state), "ended");
	ck_assert_uint_eq(s.outputs_released, released);
	close_rig(&g);

	open_backup(&g, SURVIVOR_PRIMARY);
	lose_both(&g, REPLICA_CLAIMING);
	replica_stop(g.r);
	join_thread(&g);
	replica_get_status(g.r, &s);
	ck_assert_str_eq(replica_state_name(s.state), "ended");
	close_rig(&g);
}
END_TEST

/*
 * The connection ends, and nothing but frames of a living primary came before. Records up to
 * `applied` are.
 */
static void hear_until_it_closes(struct rig *g, uint64_t applied)
{
	struct buf b = BUF_INIT;
	struct wire_frame f;
	int ret;

	while ((ret = wire_recv(&g->w, &f, 10000, &g->err)) == 1) {
		struct rd in = RD_INIT(f.data, f.len);
		size_t n;

		ck_assert_int_eq(wire_stamp_restore(&g->stamp, &in, &g->err), 0);
		while (rd_left(&in)) {
			g->last = rd_varint(&in);
			rd_blob(&in, WIRE_FRAME_MAX, &n);
		}
		wire_ack_save(
			&(struct wire_ack){ .echo_ns = g->stamp.sent_ns,
					    .received = g->last,
					    .applied = g->last < applied ? g->last : applied },
			&b);
		/* It may be closed by now. */
		wire_send(&g->w, WIRE_ACK, b.data, b.len, false, 5000, NULL);
		buf_clear(&b);
	}
	buf_free(&b);
	ck_assert_int_ne(ret, -EAGAIN);
}

/* A host that shuts down: the backup has everything, and goes on. */
START_TEST(a_primary_that_leaves_gives_the_guest_away)
{
	struct replica_status s;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	replica_leave(g.r);
	hear_until_it_closes(&g, UINT64_MAX);
	expect_fenced(&g);
	replica_get_status(g.r, &s);
	ck_assert_uint_eq(s.records, g.last);
	ck_assert(!taken(&g, 2));
	close_rig(&g);
}
END_TEST

/* Nobody could go on: it ends as if it had been stopped. */
START_TEST(a_primary_that_leaves_alone_ends)
{
	struct replica_status s;
	struct rig g;

	open_rig(&g, SURVIVOR_PRIMARY);
	make_primary(&g);
	start_primary(&g);
	wait_state(&g, REPLICA_ALONE);
	replica_leave(g.r);
	join_thread(&g);
	replica_get_status(g.r, &s);
	ck_assert_str_eq(replica_state_name(s.state), "ended");
	ck_assert_int_eq(g.ret, 0);
	close_rig(&g);
}
END_TEST

/* It has every record in its memory and comes to none of them: the guest may not wait for ever. */
START_TEST(a_backup_that_holds_the_guest_up_is_left_behind)
{
	struct replica_status s;
	uint64_t t;
	struct rig g;

	fill_bytes = 16;
	open_rig(&g, SURVIVOR_PRIMARY);
	g.cfg.max_lag_ms = 100;
	g.cfg.max_stall_ms = 400;
	make_primary(&g);
	start_primary(&g);
	join_as_backup(&g);
	say_ready(&g);
	follow_until_protected(&g);
	t = host_mono_ns();
	hear_until_it_closes(&g, g.last);
	ck_assert_uint_ge(host_mono_ns() - t, 400 * NS_PER_MS);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 2);
	close_rig(&g);
}
END_TEST

/* ---- the two change places ---- */

static void take_marked(struct rig *g, uint64_t generation, const uint8_t *who)
{
	uint8_t id[ARBITER_ID_LEN];

	memcpy(id, who, sizeof(id));
	id[ARBITER_ID_LEN - 1] |= ARBITER_COUNTS_ON;
	ck_assert_int_eq(arbiter_take(g->cfg.arbiter, generation, id, &g->err), 1);
}

/* A protected primary that has offered the guest to the script. */
static void be_offered(struct rig *g)
{
	struct replica_status s;
	struct wire_frame f;
	struct rd in;
	size_t n;

	open_primary(g, SURVIVOR_PRIMARY);
	say_ready(g);
	follow_until_protected(g);
	ck_assert_int_eq(replica_switch(g->r), 0);
	for (;;) {
		f = receive(g);
		in = (struct rd)RD_INIT(f.data, f.len);
		if (f.type == WIRE_SWITCH)
			break;
		ck_assert_int_eq(wire_stamp_restore(&g->stamp, &in, &g->err), 0);
		while (rd_left(&in)) {
			g->last = rd_varint(&in);
			rd_blob(&in, WIRE_FRAME_MAX, &n);
		}
		acknowledge(g, g->last);
	}
	ck_assert_uint_eq(rd_u64(&in), g->last);
	replica_get_status(g->r, &s);
	ck_assert_str_eq(replica_state_name(s.state), "handing-over");
	ck_assert_uint_eq(s.records, g->last);
}

/* It is offered the guest and is gone: the live side goes on alone. */
START_TEST(a_backup_that_is_lost_while_it_takes_over_costs_nothing)
{
	struct replica_status s;
	struct rig g;

	be_offered(&g);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 2);
	while (s.records <= g.last)
		s = wait_state(&g, REPLICA_ALONE);
	close_rig(&g);
}
END_TEST

START_TEST(a_backup_that_does_not_take_over_costs_two_seconds)
{
	struct replica_status s;
	struct rig g;
	uint64_t t;

	be_offered(&g);
	t = host_mono_ns();
	do {
		acknowledge(&g, g.last);
		usleep(20000);
		replica_get_status(g.r, &s);
	} while (s.state == REPLICA_HANDING_OVER);
	ck_assert_uint_ge(host_mono_ns() - t, NS_PER_S);
	wait_state(&g, REPLICA_ALONE);
	close_rig(&g);
}
END_TEST

/* It took the generation and died before it could say so: it had counted on us. */
START_TEST(a_backup_that_dies_right_after_taking_over_is_followed)
{
	struct replica_status s;
	struct rig g;

	be_offered(&g);
	take_marked(&g, 2, script_id);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 3);
	close_rig(&g);
}
END_TEST

/* It never heard the offer, and went on alone. */
START_TEST(a_backup_that_went_on_alone_fences_who_offered)
{
	struct rig g;

	be_offered(&g);
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, script_id, &g.err), 1);
	peer_shutdown(g.w.peer);
	expect_fenced(&g);
	close_rig(&g);
}
END_TEST

/* It is live, and dies some time later: the one that followed goes live. */
START_TEST(who_gave_the_guest_away_gets_it_back_after_a_failure)
{
	struct replica_status s;
	struct buf b = BUF_INIT;
	struct rig g;

	be_offered(&g);
	take_marked(&g, 2, script_id);
	buf_put_u64(&b, 2);
	send_buf(&g, WIRE_SWITCHED, &b);
	s = wait_state(&g, REPLICA_BACKUP);
	ck_assert_uint_eq(s.generation, 2);
	ck_assert_uint_eq(s.switches, 1);
	ck_assert(!s.live && !s.primary);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 3);
	while (s.records <= g.last)
		s = wait_state(&g, REPLICA_ALONE);
	close_rig(&g);
}
END_TEST

/* The primary is gone as soon as it has handed over. */
START_TEST(who_takes_over_and_is_left_goes_on_alone)
{
	struct replica_status s;
	struct buf b = BUF_INIT;
	struct rig g;

	open_backup(&g, SURVIVOR_PRIMARY);
	buf_put_u64(&b, 0);
	buf_put_u64(&b, 0);
	send_buf(&g, WIRE_SWITCH, &b);
	while (receive(&g).type != WIRE_SWITCHED)
		;
	replica_get_status(g.r, &s);
	ck_assert_uint_eq(s.generation, 2);
	ck_assert(s.primary && s.live);
	ck_assert_uint_eq(s.outputs_released, 0);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 3);
	close_rig(&g);
}
END_TEST

/* ---- strangers at the arbiter ---- */

static const uint8_t stranger_id[WIRE_ID_LEN] = "a stranger";

START_TEST(a_pair_heals_when_a_stranger_took_the_next_generation)
{
	struct replica_status s;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, stranger_id, &g.err), 1);
	do {
		hear(&g);
		acknowledge(&g, g.last);
		s = wait_state(&g, REPLICA_PROTECTED);
	} while (!s.healed);
	ck_assert_uint_eq(s.generation, 3);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 4);
	close_rig(&g);
}
END_TEST

START_TEST(a_backup_of_a_healed_pair_goes_live)
{
	struct replica_status s;
	struct rig g;

	open_backup(&g, SURVIVOR_PRIMARY);
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, stranger_id, &g.err), 1);
	take_marked(&g, 3, script_id);
	peer_shutdown(g.w.peer);
	s = wait_state(&g, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 4);
	close_rig(&g);
}
END_TEST

/* The primary went on alone first: a mark that it set later is for another backup. */
START_TEST(a_backup_that_was_left_behind_does_not_come_back)
{
	struct rig g;

	open_backup(&g, SURVIVOR_PRIMARY);
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, script_id, &g.err), 1);
	take_marked(&g, 3, script_id);
	peer_shutdown(g.w.peer);
	expect_fenced(&g);
	close_rig(&g);
}
END_TEST

static void open_second(struct rig *x, struct rig *p)
{
	memset(x, 0, sizeof(*x));
	x->cfg = p->cfg;
	x->cfg.connect = p->address;
	x->cfg.listen = NULL;
	x->r = replica_create(&x->cfg, &x->err);
	ck_assert_msg(x->r != NULL && replica_listen(x->r, &x->err) == 0, "%s", x->err.text);
	ck_assert_int_eq(pthread_create(&x->thread, NULL, backup_main, x), 0);
	x->runs = true;
}

/* Until the guest has made so many records more, and the other side has compared digests. */
static void let_run(struct rig *live, struct rig *other)
{
	struct replica_status s = wait_state(live, REPLICA_PROTECTED), t;
	uint64_t records = s.records, digests;

	replica_get_status(other->r, &t);
	digests = t.digests;
	do {
		s = wait_state(live, REPLICA_PROTECTED);
		replica_get_status(other->r, &t);
	} while (s.records < records + 20 || t.digests < digests + 2);
	ck_assert_str_eq(t.divergence, "");
}

START_TEST(two_replicas_change_places_again_and_again)
{
	struct rig p, x, *live = &p, *other = &x, *was;
	struct replica_status s;

	fill_bytes = 16;
	open_rig(&p, SURVIVOR_PRIMARY);
	p.cfg.epoch_ns = 10 * NS_PER_MS;
	p.cfg.max_lag_ms = 100;
	make_primary(&p);
	start_primary(&p);
	open_second(&x, &p);
	for (unsigned i = 0; i < 4; i++) {
		let_run(live, other);
		ck_assert_int_eq(replica_switch(live->r), 0);
		ck_assert_int_eq(replica_switch(other->r), -EPERM);
		was = live;
		live = other;
		other = was;
		s = wait_state(live, REPLICA_PROTECTED);
		ck_assert_uint_eq(s.generation, i + 2);
		s = wait_state(other, REPLICA_BACKUP);
		ck_assert_uint_eq(s.generation, i + 2);
		printf("# the guest stood still for %.1f ms\n", s.last_switch_ms);
	}
	let_run(live, other);
	replica_stop(live->r);
	join_thread(&p);
	join_thread(&x);
	ck_assert_int_eq(p.ret, 0);
	ck_assert_int_eq(x.ret, 0);
	replica_destroy(x.r);
	machine_destroy(x.m);
	close_rig(&p);
}
END_TEST

/* It was quicker: the primary that lost its backup finds the generation gone. */
START_TEST(a_primary_that_comes_second_stops)
{
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	say_ready(&g);
	follow_until_protected(&g);
	ck_assert_int_eq(arbiter_take(g.cfg.arbiter, 2, script_id, &g.err), 1);
	peer_shutdown(g.w.peer);
	expect_fenced(&g);
	close_rig(&g);
}
END_TEST

/* A backup that was never counted on leaves the generations alone. */
START_TEST(a_joining_backup_that_is_lost_costs_no_generation)
{
	struct replica_status s;
	struct rig g;

	open_primary(&g, SURVIVOR_PRIMARY);
	peer_shutdown(g.w.peer);
	for (uint64_t until = host_mono_ns() + 10 * NS_PER_S; host_mono_ns() < until;
	     usleep(1000)) {
		replica_get_status(g.r, &s);
		if (s.state == REPLICA_ALONE)
			break;
	}
	ck_assert_int_eq(s.state, REPLICA_ALONE);
	ck_assert_uint_eq(s.generation, 1);
	ck_assert(!taken(&g, 2));
	close_rig(&g);
}
END_TEST

static void hang_up(struct rig *g)
{
	peer_close(g->w.peer);
	wire_fini(&g->w);
	memset(&g->w, 0, sizeof(g->w));
}

static void expect_refused(struct rig *g, const char *why)
{
	struct wire_frame f = call_primary(g);

	ck_assert_int_eq(f.type, WIRE_REFUSE);
	ck_assert_ptr_nonnull(memmem(f.data, f.len, why, strlen(why)));
	hang_up(g);
}

/* The same for a backup that says its HELLO late. */
static void expect_refused_late(struct rig *g, const char *why)
{
	struct peer *p = peer_connect(g->address, NULL, 5000, &g->err);
	struct wire_frame f;

	ck_assert_msg(p != NULL, "%s", g->err.text);
	wire_init(&g->w, p);
	f = receive(g);
	ck_assert_int_eq(f.type, WIRE_REFUSE);
	ck_assert_ptr_nonnull(memmem(f.data, f.len, why, strlen(why)));
	usleep(200000); /* for a primary that does not wait */
	send_hello(g, false);
	hang_up(g);
}

/* A disk of 8 sectors, which the machine does not use. */
static struct disk_backend *give_disk(struct rig *g)
{
	struct disk_sync_disk disk = { 0 };
	static atomic_uint_fast64_t record;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/image", g->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && ftruncate(fd, 4096) == 0);
	close(fd);
	disk.image = disk_file_open(path, false, &g->err);
	ck_assert_msg(disk.image != NULL, "%s", g->err.text);
	replica_set_disks(g->r, &disk, 1, &record);
	return disk.image;
}

/* A backup that joined meanwhile would have the disk shorter than the primary, or longer. */
START_TEST(no_backup_joins_while_a_disk_grows)
{
	uint64_t until = host_mono_ns() + 10 * NS_PER_S;
	struct disk_backend *disk;
	struct rig g;
	int ret;

	open_rig(&g, SURVIVOR_PRIMARY);
	make_primary(&g);
	ck_assert_int_eq(replica_grow_begin(g.r), -EPERM);
	disk = give_disk(&g);
	start_primary(&g);
	while ((ret = replica_grow_begin(g.r)) == -EPERM && host_mono_ns() < until)
		usleep(1000);
	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(replica_grow_begin(g.r), -EBUSY);
	expect_refused(&g, "is growing"); /* the image is */
	expect_refused_late(&g, "is growing");
	replica_grow_end(g.r, 0, 16);
	expect_refused(&g, "is growing"); /* the machine does not know yet */
	ck_assert_int_eq(disk->ops->grow(disk, 16), 0);
	ck_assert_int_eq(call_primary(&g).type, WIRE_HELLO);
	ck_assert_int_eq(replica_grow_begin(g.r), -EBUSY); /* one joins */
	hang_up(&g);
	while ((ret = replica_grow_begin(g.r)) == -EBUSY && host_mono_ns() < until)
		usleep(1000);
	ck_assert_int_eq(ret, 0);
	replica_grow_end(g.r, 0, 0); /* it could not */
	ck_assert_int_eq(call_primary(&g).type, WIRE_HELLO);
	close_rig(&g);
	disk_close(disk);
}
END_TEST

/* A record that the machine cannot come to: it diverged. */
static uint64_t diverge(struct rig *g)
{
	struct sync_point sp = { .seq = 1, .at = { .count = 50, .rip = 0xdead } };
	struct wire_stamp stamp = { .sent_ns = 2, .protecting = true, .silence_ms = TIMEOUT_MS };
	struct buf records = BUF_INIT, b = BUF_INIT, detail = BUF_INIT;
	struct codec codec = { 0 };
	uint64_t t = host_mono_ns();

	codec_restart(&codec);
	codec_put(&codec, &records, &sp, 0, &detail);
	wire_stamp_save(&stamp, &b);
	buf_put_varint(&b, 1);
	buf_put_blob(&b, records.data, records.len);
	buf_free(&records);
	send_buf(g, WIRE_RECORDS, &b);
	while (receive(g).type != WIRE_DIVERGED)
		;
	return t;
}

START_TEST(who_goes_on_after_a_divergence_waits_for_the_primary)
{
	struct rig g;

	open_backup(&g, SURVIVOR_BACKUP);
	ck_assert_uint_ge(taken_after(&g, diverge(&g)), TIMEOUT_MS * NS_PER_MS);
	close_rig(&g);
}
END_TEST

START_TEST(who_goes_on_after_a_divergence_sees_the_primary_yield)
{
	struct rig g;
	uint64_t t;

	open_backup(&g, SURVIVOR_BACKUP);
	t = diverge(&g);
	peer_shutdown(g.w.peer);
	ck_assert_uint_lt(taken_after(&g, t), TIMEOUT_MS * NS_PER_MS);
	close_rig(&g);
}
END_TEST

/* What is only in the backup's memory is not enough there. */
START_TEST(with_durability_both_outputs_wait_for_what_is_executed)
{
	struct replica_status s, before;
	uint64_t executed;
	struct rig g;

	open_rig(&g, SURVIVOR_PRIMARY);
	g.cfg.durable_both = true;
	/* What the guest prints meanwhile joins what waits: only the epochs make records. */
	g.cfg.epoch_ns = NS_PER_MS;
	make_primary(&g);
	start_primary(&g);
	join_as_backup(&g);
	say_ready(&g);
	follow_until_protected(&g);
	executed = g.last;
	acknowledge_as(&g, g.last, executed);
	usleep(100000);
	replica_get_status(g.r, &before);
	do {
		hear(&g);
		acknowledge_as(&g, g.last, executed);
		replica_get_status(g.r, &s);
	} while (s.acked <= executed);
	ck_assert_uint_gt(s.outputs_held, 0);
	ck_assert_uint_eq(s.outputs_released, before.outputs_released);
	do {
		hear(&g);
		acknowledge_as(&g, g.last, g.last);
		replica_get_status(g.r, &s);
	} while (s.outputs_released == before.outputs_released);
	close_rig(&g);
}
END_TEST

#define RAISED_MS 15000u

/* The backup has what was heard last; when the lease that this gives ends. */
static uint64_t lease_after_acknowledging(struct rig *g)
{
	const uint64_t until = host_mono_ns() + 10 * NS_PER_S;
	struct replica_status s;
	uint64_t lease;

	acknowledge(g, g->last);
	do {
		ck_assert(host_mono_ns() < until);
		replica_nap();
		replica_get_status(g->r, &s);
	} while (s.acked < g->last);
	outbox_begin(&g->r->outbox);
	lease = outbox_sends_until(&g->r->outbox);
	outbox_end(&g->r->outbox);
	return lease;
}

/* A record that is not acknowledged yet. */
static void hear_a_record(struct rig *g)
{
	const uint64_t before = g->last;

	for (hear(g); g->last == before; hear(g))
		acknowledge(g, before);
}

/*
 * The backup goes live when the silence is over that the stamp has told it of: a lease that builds
 * on what later stamps say would let outputs leave on both sides.
 */
START_TEST(a_lease_is_as_long_as_its_stamp_has_said)
{
	uint64_t lease, said;
	struct rig g;

	open_rig(&g, SURVIVOR_PRIMARY);
	g.cfg.max_timeout_ms = RAISED_MS;
	g.cfg.epoch_ns = NS_PER_MS; /* so that records come whatever the guest prints */
	make_primary(&g);
	start_primary(&g);
	join_as_backup(&g);
	say_ready(&g);
	follow_until_protected(&g);
	hear_a_record(&g);
	pthread_mutex_lock(&g.r->link.lock);
	said = patience_ms(&g.r->patience); /* TIMEOUT_MS, unless the host was busy up to now */
	patience_note(&g.r->patience, 90 * NS_PER_S, replica_lease_clock_ns());
	pthread_mutex_unlock(&g.r->link.lock);
	lease = lease_after_acknowledging(&g);
	ck_assert_uint_le(lease, g.stamp.sent_ns + said * NS_PER_MS);
	do
		hear_a_record(&g);
	while (g.stamp.silence_ms != RAISED_MS);
	lease = lease_after_acknowledging(&g);
	ck_assert_uint_le(lease, g.stamp.sent_ns + RAISED_MS * NS_PER_MS);
	ck_assert_uint_gt(lease, g.stamp.sent_ns + RAISED_MS * NS_PER_MS / 2);
	close_rig(&g);
}
END_TEST

static void add_tests(TCase *tc)
{
	unit_mostly_waits();
	tcase_add_test(tc, a_backup_on_another_processor_is_refused);
	tcase_add_test(tc, a_primary_without_traits_is_refused);
	tcase_add_host_test(tc, a_backup_is_counted_on_when_it_has_what_left);
	tcase_add_host_test(tc, a_joining_backup_that_diverges_takes_nobody_along);
	tcase_add_test(tc, a_stop_that_comes_early_is_kept);
	tcase_add_test(tc, a_rate_is_there_without_having_been_asked_for);
	tcase_add_host_test(tc, announcements_keep_to_the_lease);
	tcase_add_host_test(tc, a_damaged_frame_does_not_shorten_the_lease);
	tcase_add_host_test(tc, a_shorter_silence_waits_for_the_end_of_a_longer_one);
	tcase_add_host_test(tc, a_connection_that_ends_is_enough);
	tcase_add_host_test(tc, a_backup_without_arbiter_asks_until_it_knows);
	tcase_add_host_test(tc, a_primary_without_arbiter_asks_until_it_knows);
	tcase_add_host_test(tc, a_dismissal_whose_answer_is_lost_is_settled);
	tcase_add_host_test(tc, a_late_answer_fences);
	tcase_add_host_test(tc, who_asks_can_be_stopped);
	tcase_add_host_test(tc, a_primary_that_leaves_gives_the_guest_away);
	tcase_add_test(tc, a_primary_that_leaves_alone_ends);
	tcase_add_host_test(tc, a_backup_that_holds_the_guest_up_is_left_behind);
	tcase_add_host_test(tc, a_backup_that_is_lost_while_it_takes_over_costs_nothing);
	tcase_add_host_test(tc, a_backup_that_does_not_take_over_costs_two_seconds);
	tcase_add_host_test(tc, a_backup_that_dies_right_after_taking_over_is_followed);
	tcase_add_host_test(tc, a_backup_that_went_on_alone_fences_who_offered);
	tcase_add_host_test(tc, who_gave_the_guest_away_gets_it_back_after_a_failure);
	tcase_add_host_test(tc, who_takes_over_and_is_left_goes_on_alone);
	tcase_add_host_test(tc, a_pair_heals_when_a_stranger_took_the_next_generation);
	tcase_add_host_test(tc, a_backup_of_a_healed_pair_goes_live);
	tcase_add_host_test(tc, a_backup_that_was_left_behind_does_not_come_back);
	tcase_add_host_test(tc, two_replicas_change_places_again_and_again);
	tcase_add_host_test(tc, a_primary_that_comes_second_stops);
	tcase_add_host_test(tc, a_joining_backup_that_is_lost_costs_no_generation);
	tcase_add_host_test(tc, no_backup_joins_while_a_disk_grows);
	tcase_add_host_test(tc, who_goes_on_after_a_divergence_waits_for_the_primary);
	tcase_add_host_test(tc, who_goes_on_after_a_divergence_sees_the_primary_yield);
	tcase_add_host_test(tc, with_durability_both_outputs_wait_for_what_is_executed);
	tcase_add_host_test(tc, a_lease_is_as_long_as_its_stamp_has_said);
	tcase_add_test(tc, a_join_that_is_cut_goes_on_with_what_there_is);
	tcase_add_test(tc, a_join_goes_on_with_the_same_replica_only);
}

UNIT_MAIN("roles", add_tests)
