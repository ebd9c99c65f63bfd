// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/host_clock.h"
#include "replica/replica_private.h"

#define BATCH_NS      NS_PER_MS /* how long a record may be put off when no output waits for it */
#define BATCH_BYTES   16384
#define BATCH_MIN_LAG 20 /* ms: if --max-lag is less, every record is sent at once */

void batch_init(struct replica *r)
{
	struct batch *b = &r->batch;

	if (!b->has_detail)
		detail_init(&b->detail, r->m, NULL, NULL);
	b->has_detail = true;
}

void batch_fini(struct batch *b)
{
	if (b->has_detail)
		detail_fini(&b->detail);
	buf_free(&b->detail_buf);
	buf_free(&b->records);
}

void batch_restart(struct batch *b)
{
	codec_restart(&b->codec);
	buf_clear(&b->records);
}

void batch_note_digest(struct replica *r, bool has_digest)
{
	buf_clear(&r->batch.detail_buf);
	if (has_digest)
		detail_make(&r->batch.detail, r->m, &r->batch.detail_buf);
}

void batch_push(struct replica *r)
{
	struct batch *b = &r->batch;
	struct parcel *p;

	if (!b->records.len)
		return;
	p = parcel_new(WIRE_RECORDS, &b->records);
	if (p)
		p->last = b->last;
	codec_restart(&b->codec);
	pthread_mutex_lock(&r->link.lock);
	if (r->link.session)
		session_push(r->link.session, p);
	else
		parcel_free(p);
	pthread_mutex_unlock(&r->link.lock);
}

/*
 * True: the record is sent at once, because an output waits for it or the backup needs it before it
 * can be told that it is counted on.
 */
static bool is_urgent(struct replica *r, const struct sync_point *sp)
{
	return outbox_newest_need(&r->outbox) >= sp->seq || link_wants_record(r, sp->seq - 1);
}

void batch_add(struct replica *r, const struct sync_point *sp, uint64_t digest)
{
	uint64_t now = host_mono_ns();
	struct batch *b = &r->batch;

	if (!b->records.len)
		b->since_ns = now;
	codec_put(&b->codec, &b->records, sp, digest, &b->detail_buf);
	b->last = sp->seq;
	link_add_stamp(&r->link, sp->seq, now);
	if (is_urgent(r, sp) || b->records.len > BATCH_BYTES || r->cfg.max_lag_ms < BATCH_MIN_LAG ||
	    now - b->since_ns > BATCH_NS || sync_point_has(sp, INPUT_DIGEST))
		batch_push(r);
}

void batch_push_old(struct replica *r)
{
	if (r->batch.records.len && host_mono_ns() - r->batch.since_ns > BATCH_NS &&
	    outbox_newest_need(&r->outbox) <= atomic_load(&r->made))
		batch_push(r);
}
