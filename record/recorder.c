// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/thread.h"
#include "record/codec.h"
#include "record/detail.h"
#include "record/pages.h"

#define BATCH_BYTES (32u << 10)
/* a batch is given to the writer at least this often, in virtual time */
#define BATCH_NS      500000000ull
#define IN_FLIGHT_MAX (64u << 20) /* the guest waits when more than this is not written yet */
#define WAIT_NS	      1000000	  /* of the guest, for a slow disk: then it looks again */
#define PAGES_A_FRAME 1024
#define DISK_PIECE    (4u << 20)

/* A frame on its way to the writer. */
struct chunk {
	struct queue_node node;
	enum log_frame_kind kind;
	bool mark; /* a checkpoint starts here */
	uint64_t record, count, ns;
	struct buf data;
};

struct recorder {
	struct recorder_config cfg;
	struct machine *m;
	struct log_writer *log;
	struct codec codec;
	struct detail detail;
	struct buf digest_detail;

	/* the batch under construction */
	struct buf batch;
	uint64_t batch_count, batch_ns, last_record;

	uint64_t next_checkpoint; /* virtual ns */
	uint8_t *changed;	  /* one byte a page: written since the last checkpoint */

	pthread_t thread;
	bool thread_started;
	struct queue queue;
	atomic_bool closing, failing, failed;
	struct err error;						     /* valid when failed */
	atomic_uint_fast64_t records, frames, bytes, checkpoints, waited_ns; /* recorder_stats */
};

/* ---- failure ---- */

/* The first failure counts; nothing is written after it. Any thread. */
static void recorder_fail(struct recorder *r, const struct err *err)
{
	bool none = false;

	if (!atomic_compare_exchange_strong(&r->failing, &none, true))
		return;
	r->error = *err;
	atomic_store(&r->failed, true);
	if (r->cfg.on_failure)
		r->cfg.on_failure(r->cfg.failure_ctx);
}

/* ---- the writer thread ---- */

static void writer_chunk(struct recorder *r, struct chunk *c)
{
	struct err err = ERR_INIT;

	if (atomic_load(&r->failed))
		return;
	if (c->data.bad) {
		err_set(&err, ENOMEM, "out of memory for the log");
		recorder_fail(r, &err);
		return;
	}
	if (c->mark)
		log_writer_mark(r->log, c->record, c->count, c->ns);
	if (log_writer_frame(r->log, c->kind, c->count, c->data.data, c->data.len, &err) < 0)
		recorder_fail(r, &err);
	atomic_store(&r->bytes, log_writer_bytes(r->log));
	atomic_fetch_add(&r->frames, 1);
}

static void *writer_thread(void *arg)
{
	struct recorder *r = arg;

	for (;;) {
		bool last = atomic_load(
			&r->closing); /* before looking: whatever was pushed by then is seen */
		struct queue_node *n = queue_pop(&r->queue);
		struct chunk *c;

		if (!n) {
			if (last)
				return NULL;
			queue_wait(&r->queue, -1);
			continue;
		}
		c = caa_container_of(n, struct chunk, node);
		writer_chunk(r, c);
		queue_release(&r->queue, n->bytes);
		buf_free(&c->data);
		free(c);
	}
}

/* ---- handing over ---- */

/*
 * Takes the content of data. Out of memory counts as the writer's failure: a record would be lost.
 */
static struct chunk *recorder_push(struct recorder *r, enum log_frame_kind kind, uint64_t count,
				   struct buf *data)
{
	struct chunk *c = calloc(1, sizeof(*c));
	struct err err = ERR_INIT;

	if (!c) {
		err_set(&err, ENOMEM, "out of memory for the log");
		recorder_fail(r, &err);
		buf_clear(data);
		return NULL;
	}
	*c = (struct chunk){ .kind = kind, .count = count, .data = *data };
	*data = (struct buf)BUF_INIT;
	return c;
}

static void recorder_send(struct recorder *r, struct chunk *c)
{
	if (c)
		queue_push(&r->queue, &c->node, c->data.len + sizeof(*c));
}

static void recorder_flush(struct recorder *r)
{
	if (r->batch.len)
		recorder_send(r, recorder_push(r, LOG_RECORDS, r->batch_count, &r->batch));
	codec_restart(&r->codec);
}

/* A slow disk slows the guest. */
static void recorder_pace(void *ctx, struct machine *m)
{
	struct recorder *r = ctx;

	while (queue_bytes(&r->queue) > r->cfg.in_flight_max && !atomic_load(&r->failed)) {
		host_sleep_ns(WAIT_NS);
		atomic_fetch_add(&r->waited_ns, WAIT_NS);
	}
}

/* ---- checkpoints ---- */

static void recorder_page(void *ctx, uint64_t offset, const void *page, uint64_t hash)
{
	struct recorder *r = ctx;

	r->changed[offset / PAGE_SIZE] = 1;
}

/* The first checkpoint is full: a page that it leaves out is zero. */
static void checkpoint_pages(struct recorder *r, uint64_t count)
{
	const struct memory *mem = machine_memory(r->m);
	struct buf b = BUF_INIT;
	unsigned n = 0;

	for (uint64_t i = 0; i < mem->pages; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;
		bool zero;

		if (!r->changed[i])
			continue;
		r->changed[i] = 0;
		zero = memory_page_is_zero(page);
		if (zero && !atomic_load(&r->checkpoints))
			continue;
		pages_put(&b, i, zero ? NULL : page);
		if (++n == PAGES_A_FRAME) {
			recorder_send(r, recorder_push(r, LOG_PAGES, count, &b));
			recorder_pace(r, r->m);
			n = 0;
		}
	}
	if (b.len)
		recorder_send(r, recorder_push(r, LOG_PAGES, count, &b));
	buf_free(&b);
}

/* Writes a disk's changes in pieces: u8 disk, u8 1 in the last piece, else 0, bytes. */
static void checkpoint_disk(struct recorder *r, unsigned i, uint64_t count,
			    const struct buf *changes)
{
	for (size_t at = 0; at < changes->len;) {
		size_t n = changes->len - at < DISK_PIECE ? changes->len - at : DISK_PIECE;
		struct buf b = BUF_INIT;

		buf_put_u8(&b, (uint8_t)i);
		buf_put_u8(&b, at + n == changes->len);
		buf_put(&b, changes->data + at, n);
		recorder_send(r, recorder_push(r, LOG_DISK, count, &b));
		recorder_pace(r, r->m);
		at += n;
	}
}

static void checkpoint_disks(struct recorder *r, uint64_t count)
{
	for (unsigned i = 0; r->cfg.disk_export && i < machine_get_config(r->m)->ndisks; i++) {
		struct buf b = BUF_INIT;
		struct err err = ERR_INIT;

		if (r->cfg.disk_export(r->cfg.disk_ctx, i, &b, &err) < 0 ||
		    (b.bad && err_set(&err, ENOMEM, "out of memory for the changes of disk %u", i)))
			recorder_fail(r, &err);
		else
			checkpoint_disk(r, i, count, &b);
		buf_free(&b);
	}
}

/* The state after the sync point that flushed the TLB and took a digest. */
static void recorder_checkpoint(struct recorder *r, const struct sync_point *sp)
{
	struct buf b = BUF_INIT;
	struct chunk *c;

	recorder_flush(r);
	buf_put_varint(&b, sp->seq);
	buf_put_varint(&b, sp->at.count);
	buf_put_varint(&b, machine_now(r->m));
	machine_save(r->m, &b);
	c = recorder_push(r, LOG_STATE, sp->at.count, &b);
	if (!c)
		return;
	c->mark = true;
	c->record = sp->seq;
	c->ns = machine_now(r->m);
	recorder_send(r, c);
	checkpoint_pages(r, sp->at.count);
	checkpoint_disks(r, sp->at.count);
	atomic_fetch_add(&r->checkpoints, 1);
}

/* ---- hooks ---- */

static size_t recorder_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct recorder *r = ctx;
	uint64_t now = machine_now(m);

	if (!r->cfg.checkpoint_ns || now < r->next_checkpoint || !max)
		return 0;
	r->next_checkpoint = now - now % r->cfg.checkpoint_ns + r->cfg.checkpoint_ns;
	in[0] = (struct input){ .kind = INPUT_FLUSH_TLB };
	return 1;
}

/*
 * True: this sync point ends the machine. One from a checkpoint that is made here would go on
 * instead.
 */
static bool ends_machine(const struct sync_point *sp)
{
	for (size_t i = 0; i < sp->n; i++) {
		const struct input *in = &sp->input[i];

		if (in->kind == INPUT_CONTROL && (in->a == CONTROL_STOP || in->a == CONTROL_RESET))
			return true;
	}
	return false;
}

static bool recorder_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			     uint64_t digest)
{
	struct recorder *r = ctx;
	bool has_digest = sync_point_has(sp, INPUT_DIGEST);
	uint64_t now = machine_now(m);

	if (!r->batch.len) {
		r->batch_count = sp->at.count;
		r->batch_ns = now;
	}
	buf_clear(&r->digest_detail);
	if (has_digest)
		detail_make(&r->detail, m, &r->digest_detail);
	codec_put(&r->codec, &r->batch, sp, digest, &r->digest_detail);
	r->last_record = sp->seq;
	atomic_fetch_add(&r->records, 1);
	if (has_digest && sync_point_has(sp, INPUT_FLUSH_TLB) && !ends_machine(sp))
		recorder_checkpoint(r, sp);
	else if (r->batch.len >= BATCH_BYTES || now - r->batch_ns >= BATCH_NS)
		recorder_flush(r);
	return true;
}

struct live_hooks recorder_hooks(struct recorder *r)
{
	return (struct live_hooks){ .ctx = r,
				    .applied = recorder_applied,
				    .inputs = recorder_inputs,
				    .pace = recorder_pace };
}

/* ---- life ---- */

static void recorder_free(struct recorder *r)
{
	detail_fini(&r->detail);
	machine_on_dirty_page(r->m, NULL, NULL);
	buf_free(&r->digest_detail);
	buf_free(&r->batch);
	if (r->queue.eventfd >= 0)
		queue_fini(&r->queue);
	free(r->changed);
	free(r);
}

int recorder_start(struct recorder *r, struct err *err)
{
	int ret = thread_start(&r->thread, THREAD_LOG, writer_thread, r);

	r->thread_started = ret == 0;
	return ret ? err_set(err, ret, "cannot start the log's writer thread: %s", strerror(ret))
		   : 0;
}

struct recorder *recorder_open(const struct recorder_config *config, struct machine *m,
			       struct err *err)
{
	struct recorder *r = calloc(1, sizeof(*r));

	if (!r || !(r->changed = malloc(machine_memory(m)->pages))) {
		free(r);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	memset(r->changed, 1, machine_memory(m)->pages);
	r->cfg = *config;
	if (!r->cfg.in_flight_max)
		r->cfg.in_flight_max = IN_FLIGHT_MAX;
	r->m = m;
	r->next_checkpoint = config->checkpoint_ns ? machine_now(m) + config->checkpoint_ns : 0;
	r->queue.eventfd = -1;
	detail_init(&r->detail, m, recorder_page, r);
	if (queue_init(&r->queue) < 0) {
		err_set(err, errno, "cannot create an eventfd: %s", strerror(errno));
	} else {
		r->log =
			config->fd
				? log_writer_open_fd(config->fd, config->path, config->header, err)
				: log_writer_open(config->path, config->header, config->force, err);
		if (r->log)
			return r;
	}
	recorder_free(r);
	return NULL;
}

/* End: u8 enum machine_end, u8 exit code, varint last record, the landmark, u64 digest. */
static void recorder_end(struct recorder *r, enum machine_end end)
{
	struct engine *e = machine_engine(r->m);
	struct buf b = BUF_INIT;
	struct landmark at;

	recorder_flush(r);
	e->ops->landmark(e, &at);
	buf_put_u8(&b, (uint8_t)end);
	buf_put_u8(&b, (uint8_t)machine_exit_code(r->m));
	buf_put_varint(&b, r->last_record);
	buf_put_varint(&b, at.count);
	buf_put_u8(&b, at.in_rep);
	buf_put_u64(&b, at.rip);
	buf_put_varint(&b, at.in_rep ? at.rcx : 0);
	buf_put_u64(&b, machine_digest(r->m));
	recorder_send(r, recorder_push(r, LOG_END, at.count, &b));
}

int recorder_close(struct recorder *r, enum machine_end end, struct err *err)
{
	int ret = 0;

	if (r->thread_started) {
		recorder_end(r, end);
		atomic_store(&r->closing, true);
		queue_wake(&r->queue);
		pthread_join(r->thread, NULL);
	}
	if (atomic_load(&r->failed)) {
		*err = r->error;
		ret = -err->code;
		log_writer_close(r->log, false, NULL);
	} else {
		ret = log_writer_close(r->log, true, err);
	}
	recorder_free(r);
	return ret;
}

void recorder_get_stats(const struct recorder *recorder, struct recorder_stats *s)
{
	struct recorder *r = (struct recorder *)(uintptr_t)recorder;

	*s = (struct recorder_stats){ .records = atomic_load(&r->records),
				      .frames = atomic_load(&r->frames),
				      .bytes = atomic_load(&r->bytes),
				      .checkpoints = atomic_load(&r->checkpoints),
				      .waited_ns = atomic_load(&r->waited_ns) };
}
