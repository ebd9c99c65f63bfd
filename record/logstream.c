// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/logstream.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "record/pages.h"

void logstream_init(struct logstream *s, struct log_reader *reader)
{
	*s = (struct logstream){ .reader = reader };
	log_reader_here(reader, &s->place.batch);
}

static int stream_end(struct logstream *s, const struct log_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);

	s->has_end = false;
	s->end.end = rd_u8(&in);
	s->end.exit_code = rd_u8(&in);
	s->end.record = rd_varint(&in);
	s->end.count = rd_varint(&in);
	s->end.in_rep = rd_u8(&in) != 0;
	s->end.rip = rd_u64(&in);
	s->end.rcx = rd_varint(&in);
	s->end.digest = rd_u64(&in);
	if (in.bad || rd_left(&in) || s->end.end > MACHINE_SPINNING || s->end.count == UINT64_MAX)
		return err_set(err, EBADMSG,
			       "frame %" PRIu64 " at offset %" PRIu64 ": the end is damaged",
			       f->seq, f->offset);
	s->has_end = true;
	return 0;
}

/* Reads frames up to the next batch of records: 1, or 0 at the end. */
static int stream_batch(struct logstream *s, struct err *err)
{
	struct log_frame f;
	int ret;

	for (;;) {
		struct logstream_place here = { .seq = s->codec.seq };

		log_reader_here(s->reader, &here.batch);
		ret = log_reader_next(s->reader, &f, err);
		if (ret <= 0)
			return ret;
		s->bytes = f.offset + f.stored;
		if (s->on_frame)
			s->on_frame(s->on_frame_ctx, &f);
		if (f.kind == LOG_END && (ret = stream_end(s, &f, err)) < 0)
			return ret;
		if (f.kind != LOG_RECORDS)
			continue;
		s->place = here;
		s->batch = (struct rd)RD_INIT(f.raw, f.raw_len);
		codec_restart(&s->codec);
		return 1;
	}
}

int logstream_next(struct logstream *s, const struct codec_record **rec, struct err *err)
{
	int ret;

	while (!rd_left(&s->batch)) {
		ret = stream_batch(s, err);
		if (ret <= 0)
			return ret;
	}
	ret = codec_get(&s->codec, &s->batch, &s->rec, err);
	if (ret < 0)
		return ret;
	s->place.records++;
	*rec = &s->rec;
	return 1;
}

int logstream_go(struct logstream *s, const struct logstream_place *place, struct err *err)
{
	const struct codec_record *rec;
	int ret = log_reader_seek(s->reader, &place->batch, err);

	s->batch = (struct rd){ 0 };
	s->codec = (struct codec){ .seq = place->seq };
	codec_restart(&s->codec);
	s->has_end = false;
	s->place = *place;
	s->place.records = 0;
	for (uint64_t i = 0; i < place->records && ret == 0; i++) {
		ret = logstream_next(s, &rec, err);
		ret = ret > 0 ? 0 : ret < 0 ? ret : err_set(err, EBADMSG, "the log became shorter");
	}
	return ret;
}

static int stream_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	return logstream_next(ctx, rec, err);
}

static const struct replay_end *stream_get_end(void *ctx)
{
	struct logstream *s = ctx;

	return s->has_end ? &s->end : NULL;
}

struct record_stream logstream_records(struct logstream *s)
{
	return (struct record_stream){ .ctx = s, .next = stream_next, .end = stream_get_end };
}

/* ---- checkpoints ---- */

static int restore_pages(struct machine *m, const struct log_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);

	if (pages_load(&in, machine_memory(m)) < 0)
		return err_set(err, EBADMSG,
			       "frame %" PRIu64 " at offset %" PRIu64 ": damaged list of pages",
			       f->seq, f->offset);
	return 0;
}

typedef int (*disk_import_fn)(void *ctx, unsigned disk, const uint8_t *data, size_t len,
			      struct err *err);

/* Restoring one checkpoint. */
struct restore {
	struct logstream *s;
	struct machine *m;
	disk_import_fn import;
	void *ctx;
	bool last;	  /* of the list: only its state and disks count */
	struct buf state; /* of the machine */
	struct buf blob;  /* a disk's changes, from the pieces so far */
	int disk;	  /* whose, or -1 */
	bool imported;	  /* some disk has its changes */
};

static int restore_state(struct restore *t, struct err *err)
{
	struct rd in = RD_INIT(t->state.data, t->state.len);

	return machine_restore(t->m, &in, err);
}

/* The frame comes before those of disks, and says how long these are. */
static int take_state(struct restore *t, const struct log_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);

	t->s->codec = (struct codec){ .seq = rd_varint(&in) };
	rd_varint(&in); /* count and time are in the state as well */
	rd_varint(&in);
	buf_clear(&t->state);
	buf_put(&t->state, in.p, rd_left(&in));
	return t->state.bad ? err_set(err, ENOMEM, "out of memory") : restore_state(t, err);
}

/* Most bytes that a disk's changes can take: all of the disk, and a few bytes for each block. */
static uint64_t blob_max(const struct machine *m, unsigned disk)
{
	return machine_get_config(m)->disk_sectors[disk] * 513 + 65536;
}

static int restore_disk(struct restore *t, const struct log_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);
	unsigned disk = rd_u8(&in), last = rd_u8(&in);

	/* Of a checkpoint before, the machine does not know how long the disk was then. */
	if (in.bad || last > 1 || disk >= machine_get_config(t->m)->ndisks ||
	    (t->disk >= 0 && (int)disk != t->disk) ||
	    (t->last && t->blob.len + rd_left(&in) > blob_max(t->m, disk)))
		return err_set(err, EBADMSG,
			       "frame %" PRIu64 " at offset %" PRIu64 ": damaged changes of a disk",
			       f->seq, f->offset);
	if (t->last)
		buf_put(&t->blob, in.p, rd_left(&in));
	if (t->blob.bad)
		return err_set(err, ENOMEM, "out of memory");
	t->disk = (int)disk;
	if (!last)
		return 0;
	t->disk = -1;
	if (t->last && t->import) {
		if (t->import(t->ctx, disk, t->blob.data, t->blob.len, err) < 0)
			return -err->code;
		t->imported = true;
	}
	buf_clear(&t->blob);
	return 0;
}

static int restore_frame(struct restore *t, const struct log_frame *f, struct err *err)
{
	if (f->kind == LOG_PAGES)
		return restore_pages(t->m, f, err);
	if (f->kind == LOG_DISK)
		return restore_disk(t, f, err);
	return t->last ? take_state(t, f, err) : 0;
}

/* The frames of one checkpoint; the stream goes on behind them. */
static int restore_mark(struct restore *t, const struct log_mark *mark, struct err *err)
{
	struct log_reader *reader = t->s->reader;
	struct log_mark here = *mark;
	struct log_frame f;
	int ret = log_reader_seek(reader, mark, err);

	for (unsigned n = 0; ret == 0; n++) {
		ret = log_reader_next(reader, &f, err);
		if (ret < 0)
			return ret;
		if (ret == 0 || (f.kind == LOG_STATE) != (n == 0))
			return err_set(err, EBADMSG,
				       "the checkpoint at offset %" PRIu64 " is not whole",
				       mark->offset);
		if (n && f.kind != LOG_PAGES && f.kind != LOG_DISK)
			break;
		ret = restore_frame(t, &f, err);
		log_reader_here(reader, &here);
	}
	if (ret >= 0 && t->disk >= 0)
		return err_set(err, EBADMSG,
			       "the checkpoint at offset %" PRIu64 " lacks changes of disk %d",
			       mark->offset, t->disk);
	/* Reads under way begin with the state: again, now that the disks are what they were. */
	if (ret >= 0 && t->imported)
		ret = restore_state(t, err);
	return ret < 0 ? ret : log_reader_seek(reader, &here, err);
}

int logstream_restore(struct logstream *s, struct machine *m, size_t index, disk_import_fn import,
		      void *ctx, struct err *err)
{
	struct memory *mem = machine_memory(m);
	const struct log_mark *mark;
	size_t n;
	int ret = log_reader_marks(s->reader, &mark, &n, err);

	if (ret < 0)
		return ret;
	if (index >= n)
		return err_set(err, ENOENT,
			       "there is no checkpoint %zu: the log has %zu, numbered from 0",
			       index, n);
	ret = memory_clear(mem, err);
	for (size_t i = 0; i <= index && ret == 0; i++) {
		struct restore t = {
			.s = s, .m = m, .import = import, .ctx = ctx, .last = i == index, .disk = -1
		};

		ret = restore_mark(&t, &mark[i], err);
		buf_free(&t.state);
		buf_free(&t.blob);
	}
	memory_load_end(mem);
	s->batch = (struct rd){ 0 };
	codec_restart(&s->codec);
	s->place = (struct logstream_place){ .seq = s->codec.seq };
	log_reader_here(s->reader, &s->place.batch);
	return ret;
}
