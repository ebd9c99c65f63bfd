/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small guest that is recorded to a file and replayed from it, for tests of recorder and
 * replayer.
 */
#ifndef TESTS_RECORD_LOG_RIG_H
#define TESTS_RECORD_LOG_RIG_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/clock.h"
#include "hypervisor/cpuid.h"
#include "record/disk_file.h"
#include "record/hooks.h"
#include "record/logstream.h"
#include "record/recorder.h"
#include "record/replay.h"
#include "tests/boot_sector.h"
#include "tests/unit.h"

#define RIG_RAM (2ul << 20)
/* Upper half of how many bytes a round stores, which is one instruction however many they are. */
#define CX_H (UNIT_SHARE == 1 ? 0x40 : 0x08)

/*
 * Real mode at 0:7c00: counts in memory at 0x2000, steps through memory, fills 0x8000..., prints a
 * byte a round on COM1, and ends with status 5 after as many rounds as the dword at 0x2004 says.
 */
static const uint8_t rig_program[] = {
	0xfc,			      /* cld */
	0xff, 0x06, 0x00, 0x20,	      /* next: inc word [0x2000] */
	0x81, 0xc3, 0x34, 0x12,	      /* add bx, 0x1234 */
	0x81, 0xe3, 0xff, 0x1f,	      /* and bx, 0x1fff */
	0x88, 0x87, 0x00, 0x40,	      /* mov [bx + 0x4000], al */
	0xb9, 0x00, CX_H,	      /* mov cx, 0x4000 */
	0xbf, 0x00, 0x80,	      /* mov di, 0x8000 */
	0xf3, 0xaa,		      /* rep stosb */
	0xba, 0xf8, 0x03,	      /* mov dx, 0x3f8 */
	0xec,			      /* in al, dx: what was typed, if anything */
	0x02, 0x06, 0x00, 0x20,	      /* add al, [0x2000] */
	0xee,			      /* out dx, al */
	0x66, 0xff, 0x0e, 0x04, 0x20, /* dec dword [0x2004] */
	0x75, 0xd8,		      /* jnz next */
	0xb0, 0x05, 0xe6, 0xf4,	      /* mov al, 5; out 0xf4, al */
	0xf4,			      /* hlt */
};

/* Another program in its place; NULL: none. */
static const uint8_t *rig_code;
static size_t rig_code_len;
/* With NICs packets arrive, one at each: frame n, from 0 on, has "frame n" behind its head. */
#define RIG_NICS 2
static unsigned rig_nics;

static char rig_dir[64], rig_path[128];
static struct err rig_err;

struct rig {
	struct machine *m;
	struct disk_backend *disk; /* in memory, or NULL */
	struct live_sink sink;
	struct live *live;
	struct recorder *recorder;
	struct log_header header;
	struct live_hooks_chain hooks;
	unsigned typed; /* sync points with console input so far */
	uint8_t frame[RIG_NICS][60];
	unsigned frames;
	uint64_t stop_count;
	uint64_t stop_control;
	enum machine_end end;
	atomic_bool poking;
	pthread_t poker;
	bool stopping; /* by a thread of the test's, which must be done before all is freed */
	pthread_t stopper;
};

static inline void rig_setup(void)
{
	strcpy(rig_dir, "/tmp/twinstep-log-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig_dir));
	snprintf(rig_path, sizeof(rig_path), "%s/log", rig_dir);
	rig_err = (struct err)ERR_INIT;
}

static inline void rig_teardown(void)
{
	unlink(rig_path);
	ck_assert_int_eq(rmdir(rig_dir), 0);
}

static inline struct machine *rig_machine(struct disk_backend *disk, const struct output_sink *sink,
					  uint32_t rounds)
{
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.version = 1; /* what later programs have to take */
	c.memory = RIG_RAM;
	c.nnics = rig_nics;
	c.ndisks = disk != NULL;
	c.disk_sectors[0] = disk ? disk->sectors : 0;
	m = machine_create(&c, &soft_engine_ops, &disk, sink, &rig_err);
	ck_assert_msg(m != NULL, "%s", rig_err.text);
	boot_sector_load(m, rig_code ? rig_code : rig_program,
			 rig_code ? rig_code_len : sizeof(rig_program));
	ck_assert(memory_write(machine_memory(m), 0x2004, &rounds, 4));
	ck_assert(memory_write(machine_memory(m), RIG_RAM - 5, "never",
			       5)); /* only a full checkpoint has it */
	return m;
}

/* Every third sync point something is typed, and the balloon changes now and then. */
static inline size_t rig_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct rig *r = ctx;
	size_t n = 0;

	if (machine_engine(m)->ops->count(machine_engine(m)) >= r->stop_count) {
		if (r->stop_control)
			in[n++] = (struct input){ .kind = INPUT_CONTROL, .a = r->stop_control };
		else
			live_stop(r->live);
	}
	if (++r->typed % 3 == 0)
		in[n++] = (struct input){ .kind = INPUT_CONSOLE,
					  .data = (const uint8_t *)"typed",
					  .len = r->typed % 5 + 1 };
	if (r->typed % 7 == 0)
		in[n++] = (struct input){ .kind = INPUT_CONTROL,
					  .a = CONTROL_BALLOON,
					  .b = r->typed % 100 };
	for (unsigned i = 0; i < rig_nics && r->typed % 2 == 0; i++) {
		uint8_t *frame = r->frame[i];

		memset(frame, 0, sizeof(r->frame[i]));
		snprintf((char *)frame + 14, sizeof(r->frame[i]) - 14, "frame %u", r->frames++);
		in[n++] = (struct input){ .kind = INPUT_NET_RX,
					  .port = (uint8_t)i,
					  .data = frame,
					  .len = sizeof(r->frame[i]) };
	}
	return n;
}

static inline void rig_header(struct log_header *h, struct machine *m)
{
	*h = (struct log_header){ .config = *machine_get_config(m),
				  .engine = "soft",
				  .counter = "retired",
				  .cpuid_digest = cpuid_v1_digest(),
				  .append = "",
				  .start_digest = machine_digest(m),
				  .rate = CLOCK_RATE_ONE };
}

struct rig_options {
	uint32_t rounds;
	uint64_t checkpoint_ns, digest_count;
	size_t in_flight_max;
	bool poke; /* from another thread: sync points anywhere, inside REP too */
	bool disk;
	uint64_t stop_count;   /* it ends at the first sync point from there; 0: it runs on */
	uint64_t stop_control; /* by CONTROL_STOP or _RESET; 0: the source ends it */
};

static inline bool rig_wants(void *ctx)
{
	return atomic_load(&((struct rig *)ctx)->poking);
}

static inline void *rig_poke(void *ctx)
{
	struct rig *r = ctx;

	while (atomic_load(&r->poking)) {
		live_wake(r->live);
		/* Under ThreadSanitizer hardly anything would happen in between else. */
		usleep(UNIT_THREAD_SANITIZER ? 2000 : 50);
	}
	return NULL;
}

static inline void rig_failed(void *ctx)
{
	live_stop(((struct rig *)ctx)->live);
}

static inline int rig_export(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	return disk_overlay_export(((struct rig *)ctx)->disk, out, err);
}

/* Something that the disk of a machine holds beside its (empty) base. */
static inline void rig_fill_disk(struct disk_backend *d)
{
	struct buf b = BUF_INIT;
	struct rd in;
	uint8_t page[4096];

	buf_put_u64(&b, d->sectors);
	buf_put_varint(&b, d->sectors / 8);
	for (uint64_t i = 0; i < d->sectors / 8; i++) {
		memset(page, (int)(i % 251 + 1), sizeof(page));
		buf_put_varint(&b, (i > 0) << 1);
		buf_put(&b, page, sizeof(page));
	}
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_msg(disk_overlay_import(d, &in, &rig_err) == 0, "%s", rig_err.text);
	buf_free(&b);
}

static inline void rig_open(struct rig *r, const struct rig_options *o)
{
	struct recorder_config rc = { .path = rig_path,
				      .header = &r->header,
				      .checkpoint_ns = o->checkpoint_ns,
				      .in_flight_max = o->in_flight_max,
				      .disk_export = rig_export,
				      .disk_ctx = r,
				      .on_failure = rig_failed,
				      .failure_ctx = r };
	struct live_config c = { .clock = LIVE_CLOCK_VIRTUAL,
				 .digest_count = o->digest_count,
				 .next_seq = 1 };
	struct live_hooks typing = { .ctx = r, .inputs = rig_inputs, .wants_sync = rig_wants },
			  recording;
	struct output_sink sink;

	memset(r, 0, sizeof(*r));
	r->stop_count = o->stop_count ? o->stop_count : UINT64_MAX;
	r->stop_control = o->stop_control;
	sink = live_sink_ops(&r->sink);
	r->disk = o->disk ? disk_memory_open(80000, &rig_err) : NULL;
	if (r->disk)
		rig_fill_disk(r->disk);
	r->m = rig_machine(r->disk, &sink, o->rounds);
	rig_header(&r->header, r->m);
	r->recorder = recorder_open(&rc, r->m, &rig_err);
	ck_assert_msg(r->recorder != NULL && recorder_start(r->recorder, &rig_err) == 0, "%s",
		      rig_err.text);
	recording = recorder_hooks(r->recorder);
	live_hooks_chain_add(&r->hooks, &typing);
	live_hooks_chain_add(&r->hooks, &recording);
	c.hooks = live_hooks_chain_ops(&r->hooks);
	r->live = live_create(&c, r->m, &rig_err);
	ck_assert_msg(r->live != NULL, "%s", rig_err.text);
	live_sink_attach(&r->sink, r->live);
	atomic_store(&r->poking, o->poke);
	if (o->poke)
		ck_assert_int_eq(pthread_create(&r->poker, NULL, rig_poke, r), 0);
}

/* Runs to the end and closes everything; what recorder_close() said. */
static inline int rig_run(struct rig *r, struct recorder_stats *stats)
{
	struct err ignored = ERR_INIT;
	bool poked = atomic_load(&r->poking);
	int ret;

	r->end = machine_run(r->m, live_source(r->live), &ignored);
	atomic_store(&r->poking, false);
	if (poked)
		pthread_join(r->poker, NULL);
	if (r->stopping)
		pthread_join(r->stopper, NULL);
	recorder_get_stats(r->recorder, stats);
	live_sink_attach(&r->sink, NULL);
	ret = recorder_close(r->recorder, r->end, &rig_err);
	live_destroy(r->live);
	machine_destroy(r->m);
	disk_close(r->disk);
	return ret;
}

static inline struct recorder_stats rig_record(const struct rig_options *o)
{
	struct recorder_stats stats;
	struct rig r;

	rig_open(&r, o);
	ck_assert_msg(rig_run(&r, &stats) == 0, "%s", rig_err.text);
	ck_assert_int_eq(r.end, MACHINE_EXIT);
	return stats;
}

/* ---- replay ---- */

struct rig_replay {
	struct log_reader *reader;
	struct logstream stream;
	struct record_stream records;
	struct disk_backend *disk;
	struct machine *m;
	struct replay replay;
	uint64_t applied, in_rep;
	/* After `fault_after` records this happens to the machine without being in the log. */
	uint64_t fault_after;
	struct input fault;
	uint64_t fault_digests; /* those that were compared before it */
	uint64_t stop_after;	/* replay_stop() after so many records */
};

static inline int rig_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	return logstream_next(&((struct rig_replay *)ctx)->stream, rec, err);
}

static inline const struct replay_end *rig_end(void *ctx)
{
	struct rig_replay *r = ctx;

	return r->stream.has_end ? &r->stream.end : NULL;
}

static inline void rig_applied(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct rig_replay *r = ctx;

	r->applied++;
	r->in_rep += rec->sp.at.in_rep;
	if (r->fault_after && r->applied == r->fault_after) {
		r->fault_digests = r->replay.digests;
		ck_assert_int_eq(machine_inject_fault(m, &r->fault), 0);
	}
	if (r->stop_after && r->applied == r->stop_after)
		replay_stop(&r->replay);
}

static inline int rig_import(void *ctx, unsigned i, const uint8_t *data, size_t len,
			     struct err *err)
{
	struct rd in = RD_INIT(data, len);

	return disk_overlay_import(((struct rig_replay *)ctx)->disk, &in, err);
}

/* Opens the log and makes its machine; rounds and disk as when recorded. */
static inline void rig_replay_open(struct rig_replay *r, const char *path,
				   const struct rig_options *o)
{
	const struct output_sink none = { 0 };

	r->reader = log_reader_open(path, &rig_err);
	ck_assert_msg(r->reader != NULL, "%s", rig_err.text);
	logstream_init(&r->stream, r->reader);
	r->records = (struct record_stream){
		.ctx = r, .next = rig_next, .end = rig_end, .applied = rig_applied
	};
	r->disk = o->disk ? disk_memory_open(80000, &rig_err) : NULL;
	r->m = rig_machine(r->disk, &none, o->rounds);
	ck_assert_uint_eq(machine_digest(r->m), log_reader_header(r->reader)->start_digest);
}

static inline int rig_replay_run(struct rig_replay *r, uint64_t stop_count)
{
	enum machine_end end;
	int ret;

	rig_err = (struct err)ERR_INIT;
	replay_init(&r->replay, r->m, &r->records);
	r->replay.stop_count = stop_count;
	end = machine_run(r->m, replay_source(&r->replay), &rig_err);
	ret = replay_verdict(&r->replay, end, &rig_err);
	replay_fini(&r->replay);
	return ret;
}

static inline void rig_replay_close(struct rig_replay *r)
{
	machine_destroy(r->m);
	disk_close(r->disk);
	log_reader_close(r->reader);
}

#endif
