// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The live side of a synchronisation. Two threads use it: the receiver takes the target's messages,
 * and the sender sends blocks (at the sync point of the join the vCPU thread takes its place).
 * Fields that both use are guarded by the lock, which is not held while a thread waits for a disk
 * or the connection.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "record/disk_file.h"
#include "replica/disk_sync_private.h"

enum source_phase {
	SOURCE_OFFER, /* waits for identities */
	SOURCE_MARKS, /* waits for bitmaps */
	SOURCE_SUMS,  /* waits for checksums */
	SOURCE_SENDS, /* BEGIN was sent */
	SOURCE_EQUAL, /* EQUAL was sent */
	SOURCE_STEP,  /* ... and confirmed */
};

struct sent_block {
	unsigned disk;
	uint64_t block; /* SENT_AGAIN: the block was sent again, before a later mark */
};
#define SENT_AGAIN UINT64_MAX

/* Blocks between two marks. */
struct stretch {
	struct sent_block block[SYNC_MARK_EVERY];
	unsigned n;
};

struct disk_source {
	struct disk_sync_disk disk[DISK_SYNC_DISKS];
	unsigned n;
	uint64_t seed;
	disk_sync_send *send;
	void *send_ctx;
	struct disk_meta_identity id[DISK_SYNC_DISKS], theirs[DISK_SYNC_DISKS];
	bool want_sums[DISK_SYNC_DISKS];

	pthread_mutex_t lock; /* guards what follows */
	enum source_phase phase;
	struct stretch stretch[SYNC_MARKS_OPEN];
	/*
	 * numbers of the last marks sent and confirmed; stretch[marks % SYNC_MARKS_OPEN] is being
	 * filled
	 */
	uint64_t marks, done;
	uint64_t equal_mark;

	/* The sending thread's. */
	unsigned at_disk;
	uint64_t at_block;
	uint64_t sent;
	uint8_t data[DISK_META_BLOCK];
	/* The receiving thread's. */
	uint8_t compared[DISK_META_BLOCK];
};

struct source_disk {
	struct disk_source *s;
	unsigned i;
};

struct disk_source *disk_source_new(const struct disk_sync_disk *disks, unsigned n, uint64_t seed,
				    disk_sync_send *send, void *ctx)
{
	struct disk_source *s = n <= DISK_SYNC_DISKS ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return NULL;
	if (n)
		memcpy(s->disk, disks, n * sizeof(*disks));
	s->n = n;
	s->seed = seed;
	s->send = send;
	s->send_ctx = ctx;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void disk_source_free(struct disk_source *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++)
		if (s->disk[i].meta)
			disk_meta_sync_end(s->disk[i].meta);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int source_send(struct disk_source *s, struct buf *b, struct err *err)
{
	int ret = b->bad ? -ENOMEM : s->send(s->send_ctx, b);

	buf_free(b);
	return ret < 0 ? err_set(err, -ret, "cannot send to the joining backup: %s", strerror(-ret))
		       : 0;
}

static enum source_phase source_phase(struct disk_source *s)
{
	enum source_phase p;

	pthread_mutex_lock(&s->lock);
	p = s->phase;
	pthread_mutex_unlock(&s->lock);
	return p;
}

static void source_set_phase(struct disk_source *s, enum source_phase p)
{
	pthread_mutex_lock(&s->lock);
	s->phase = p;
	pthread_mutex_unlock(&s->lock);
}

/* ---- who is newer ---- */

/*
 * Sets the error that says why the target's disk cannot be made equal to ours. The target adds
 * advice for its operator.
 */
static int relation_refuse(unsigned disk, enum disk_newer newer,
			   const struct disk_meta_identity *mine,
			   const struct disk_meta_identity *theirs, struct err *err)
{
	static const char *const why[] = {
		[DISK_NEWER_THEIRS] = "the joining side's copy is newer than the live one's",
		[DISK_NEWER_SPLIT] = "both copies were written while the other side did not follow",
		[DISK_NEWER_BROKEN] = "both copies are incomplete",
		[DISK_NEWER_FOREIGN] = "the copies belong to different pairs or disks",
		[DISK_NEWER_SIZE] = "the copies have different lengths",
	};

	return err_set(err, ESTALE,
		       "disk %u: %s (live: generation %llu, %llu bytes; joining: generation %llu, "
		       "%llu bytes)",
		       disk, why[newer], (unsigned long long)mine->generation,
		       (unsigned long long)mine->image_bytes,
		       (unsigned long long)theirs->generation,
		       (unsigned long long)theirs->image_bytes);
}

/* Reads the identity, on the disk's own thread, like all that touches files. */
static int get_identity(struct disk_backend *d, void *ctx)
{
	struct source_disk *at = ctx;

	return disk_meta_get(at->s->disk[at->i].meta, &at->s->id[at->i]);
}

static int save_bitmap(struct disk_backend *d, void *ctx)
{
	struct source_disk *at = ctx;

	return disk_meta_save(at->s->disk[at->i].meta);
}

static int forget_base(struct disk_backend *d, void *ctx)
{
	struct source_disk *at = ctx;

	return disk_meta_forget_base(at->s->disk[at->i].meta);
}

static int offer_name(struct disk_backend *d, void *ctx)
{
	struct source_disk *at = ctx;

	return disk_meta_offer(at->s->disk[at->i].meta);
}

static int join_meta(struct disk_backend *d, void *ctx)
{
	struct source_disk *at = ctx;

	return disk_meta_join(at->s->disk[at->i].meta, &at->s->id[at->i]);
}

static int on_disk(struct disk_source *s, unsigned i, int (*fn)(struct disk_backend *d, void *ctx))
{
	struct source_disk at = { s, i };

	return disk_between(s->disk[i].image, fn, &at);
}

static int source_compare(struct disk_source *s, unsigned i, struct err *err)
{
	struct disk_relation r;
	int error = on_disk(s, i, get_identity);

	if (error)
		return err_set(err, error, "disk %u: cannot write its metadata: %s", i,
			       strerror(error));
	r = disk_meta_relation(&s->id[i], &s->theirs[i]);
	if (r.newer != DISK_NEWER_NEITHER && r.newer != DISK_NEWER_MINE &&
	    r.newer != DISK_NEWER_UNKNOWN)
		return relation_refuse(i, r.newer, &s->id[i], &s->theirs[i], err);
	s->want_sums[i] = r.whole;
	return 0;
}

static int take_offer(struct disk_source *s, struct rd *in, struct err *err)
{
	unsigned n = rd_u8(in);

	if (n != s->n)
		return err_set(err, EINVAL, "the joining side has %u disks, the live one %u", n,
			       s->n);
	for (unsigned i = 0; i < n; i++) {
		bool kept = rd_u8(in) != 0;
		int ret;

		if (in->bad)
			return sync_garbled(err, "an offer is cut short");
		if (kept != (s->disk[i].meta != NULL))
			return err_set(err, EINVAL,
				       "disk %u is kept in step on one side and not on the other: "
				       "read-only or an overlay there?",
				       i);
		if (!kept)
			continue;
		if (sync_get_identity(in, &s->theirs[i]))
			return sync_garbled(err, "a disk's identity");
		ret = source_compare(s, i, err);
		if (ret)
			return ret;
	}
	source_set_phase(s, SOURCE_MARKS);
	return 0;
}

static struct disk_meta *message_disk(struct disk_source *s, struct rd *in, unsigned *i)
{
	*i = rd_u8(in);
	return *i < s->n ? s->disk[*i].meta : NULL;
}

/*
 * Number of blocks in the longer of the two copies. A longer target's copy is cut when
 * synchronisation begins.
 */
static uint64_t end_of_both(const struct disk_source *s, unsigned disk)
{
	uint64_t mine = disk_meta_blocks(s->disk[disk].meta);
	uint64_t theirs = s->theirs[disk].image_bytes / DISK_META_BLOCK + 1;

	return s->theirs[disk].image_bytes > s->id[disk].image_bytes ? theirs : mine;
}

static int take_marks(struct disk_source *s, struct rd *in, struct err *err)
{
	unsigned disk;
	struct disk_meta *m = message_disk(s, in, &disk);
	uint64_t word = rd_varint(in), blocks = m ? disk_meta_blocks(m) : 0;
	uint64_t end = m ? end_of_both(s, disk) : 0;

	if (in->bad || !m || word > end / 64)
		return sync_garbled(err, "bits of a bitmap");
	for (; rd_left(in); word++) {
		uint64_t bits = rd_u64(in);

		for (; bits && !in->bad; bits &= bits - 1) {
			uint64_t block = word * 64 + (uint64_t)__builtin_ctzll(bits);

			if (block >= end)
				return sync_garbled(err, "a block beyond the disk's end");
			if (block < blocks)
				disk_meta_set(m, block);
		}
	}
	return in->bad ? sync_garbled(err, "bits of a bitmap") : 0;
}

/*
 * Marks the blocks beyond the end of a shorter target's copy: the target sent no checksums for
 * blocks that it does not have.
 */
static void mark_growth(struct disk_source *s, unsigned i)
{
	struct disk_meta *m = s->disk[i].meta;
	uint64_t end = disk_meta_blocks(m);

	if (!s->want_sums[i] || s->theirs[i].image_bytes >= s->id[i].image_bytes)
		return;
	for (uint64_t b = s->theirs[i].image_bytes / DISK_META_BLOCK; b < end; b++)
		disk_meta_set(m, b);
}

/* Begins to send, once all differences are known: puts them on stable storage and sends BEGIN. */
static int source_begin(struct disk_source *s, struct err *err)
{
	struct buf b = BUF_INIT;

	buf_put_u8(&b, SYNC_BEGIN);
	buf_put_u8(&b, (uint8_t)s->n);
	for (unsigned i = 0; i < s->n; i++) {
		struct disk_meta *m = s->disk[i].meta;
		int error;

		if (m)
			mark_growth(s, i);
		error = m ? on_disk(s, i, save_bitmap) : 0;
		if (!error && m && s->want_sums[i])
			error = on_disk(s, i, forget_base);
		if (!error && m)
			error = on_disk(s, i, offer_name);
		if (!error && m && !disk_meta_sync_begin(m))
			error = ENOMEM;
		if (error) {
			buf_free(&b);
			return err_set(err, error, "disk %u: cannot write its metadata: %s", i,
				       strerror(error));
		}
		if (m)
			sync_put_identity(&b, &s->id[i]);
	}
	source_set_phase(s, SOURCE_SENDS);
	return source_send(s, &b, err);
}

static int take_offer_end(struct disk_source *s, struct rd *in, struct err *err)
{
	struct buf b = BUF_INIT;

	buf_put_u8(&b, SYNC_WANT);
	buf_put_u64(&b, s->seed);
	buf_put_u8(&b, (uint8_t)s->n);
	for (unsigned i = 0; i < s->n; i++)
		buf_put_u8(&b, s->want_sums[i]);
	source_set_phase(s, SOURCE_SUMS);
	return source_send(s, &b, err);
}

static int take_sums(struct disk_source *s, struct rd *in, struct err *err)
{
	unsigned disk;
	struct disk_meta *m = message_disk(s, in, &disk);
	uint64_t block = rd_varint(in), end = m ? end_of_both(s, disk) : 0;

	if (in->bad || !m || rd_left(in) % SYNC_SUM_LEN || block > end ||
	    rd_left(in) / SYNC_SUM_LEN > end - block)
		return sync_garbled(err, "sums of blocks");
	for (; rd_left(in) && block < disk_meta_blocks(m); block++) {
		uint8_t sum[SYNC_SUM_LEN];
		int error = sync_block_sum(&s->disk[disk], block, s->seed, s->compared, sum);

		if (error)
			return sync_block_error(err, "read", disk, block, error);
		if (memcmp(sum, rd_bytes(in, SYNC_SUM_LEN), SYNC_SUM_LEN))
			disk_meta_set(m, block);
	}
	return 0;
}

static int take_sums_end(struct disk_source *s, struct rd *in, struct err *err)
{
	return source_begin(s, err);
}

static int take_alive(struct disk_source *s, struct rd *in, struct err *err)
{
	return 0;
}

static int take_done(struct disk_source *s, struct rd *in, struct err *err)
{
	uint64_t number = rd_varint(in);
	bool sense;

	pthread_mutex_lock(&s->lock);
	sense = !in->bad && number > s->done && number <= s->marks;
	while (sense && s->done < number) {
		struct stretch *t = &s->stretch[s->done++ % SYNC_MARKS_OPEN];

		for (unsigned i = 0; i < t->n; i++)
			if (t->block[i].block != SENT_AGAIN)
				disk_meta_sync_done(s->disk[t->block[i].disk].meta,
						    t->block[i].block);
		t->n = 0;
	}
	if (sense && s->phase == SOURCE_EQUAL && s->done == s->equal_mark)
		s->phase = SOURCE_STEP;
	pthread_mutex_unlock(&s->lock);
	return sense ? 0 : sync_garbled(err, "a mark is confirmed that was not set");
}

/* The messages that this side takes, and in which phases. */
static const struct {
	enum source_phase from, to;
	int (*take)(struct disk_source *s, struct rd *in, struct err *err);
} takes[] = {
	[SYNC_OFFER] = { SOURCE_OFFER, SOURCE_OFFER, take_offer },
	[SYNC_MARKS] = { SOURCE_MARKS, SOURCE_MARKS, take_marks },
	[SYNC_OFFER_END] = { SOURCE_MARKS, SOURCE_MARKS, take_offer_end },
	[SYNC_SUMS] = { SOURCE_SUMS, SOURCE_SUMS, take_sums },
	[SYNC_SUMS_END] = { SOURCE_SUMS, SOURCE_SUMS, take_sums_end },
	[SYNC_DONE] = { SOURCE_SENDS, SOURCE_EQUAL, take_done },
	[SYNC_ALIVE] = { SOURCE_OFFER, SOURCE_STEP, take_alive },
};

int disk_source_take(struct disk_source *s, struct rd *in, struct err *err)
{
	unsigned kind = rd_u8(in);
	enum source_phase p = source_phase(s);

	if (in->bad || kind >= sizeof(takes) / sizeof(takes[0]) || !takes[kind].take)
		return sync_garbled(err, "an unknown message");
	if (p < takes[kind].from || p > takes[kind].to)
		return sync_garbled(err, "a message at the wrong time");
	return takes[kind].take(s, in, err);
}

/* ---- sending ---- */

struct taken {
	struct disk_source *s;
	uint64_t from, block;
	uint32_t len;
};

/*
 * Takes the next block and reads it, between two writes of the guest: if a write follows, the block
 * is sent again.
 */
static int take_and_read(struct disk_backend *d, void *ctx)
{
	struct taken *t = ctx;
	const struct disk_sync_disk *disk = &t->s->disk[t->s->at_disk];

	t->block = disk_meta_sync_take(disk->meta, t->from);
	if (t->block == UINT64_MAX)
		return 0;
	t->len = sync_block_bytes(disk, t->block);
	return disk_raw_read(d, t->s->data, t->len, t->block * DISK_META_BLOCK);
}

static int send_mark(struct disk_source *s, struct err *err)
{
	struct buf b = BUF_INIT;

	buf_put_u8(&b, SYNC_MARK);
	pthread_mutex_lock(&s->lock);
	buf_put_varint(&b, ++s->marks);
	pthread_mutex_unlock(&s->lock);
	return source_send(s, &b, err);
}

/* True: the stretch that is being filled has room. */
static bool may_send(struct disk_source *s)
{
	bool may;

	pthread_mutex_lock(&s->lock);
	may = s->phase == SOURCE_SENDS && s->marks - s->done < SYNC_MARKS_OPEN;
	pthread_mutex_unlock(&s->lock);
	return may;
}

/*
 * Lock held. The block is sent again because it has changed, so a confirmation of its earlier
 * version must not count: otherwise this side would forget that the target may never get the
 * change.
 */
static void forget_sent(struct disk_source *s, uint64_t block)
{
	for (uint64_t mark = s->done; mark <= s->marks; mark++) {
		struct stretch *t = &s->stretch[mark % SYNC_MARKS_OPEN];

		for (unsigned i = 0; i < t->n; i++)
			if (t->block[i].block == block && t->block[i].disk == s->at_disk)
				t->block[i].block = SENT_AGAIN;
	}
}

/* Notes that a block was sent. True: its stretch is full now. */
static bool note_sent(struct disk_source *s, uint64_t block)
{
	struct stretch *t;
	bool full;

	pthread_mutex_lock(&s->lock);
	forget_sent(s, block);
	t = &s->stretch[s->marks % SYNC_MARKS_OPEN];
	t->block[t->n++] = (struct sent_block){ s->at_disk, block };
	full = t->n == SYNC_MARK_EVERY;
	pthread_mutex_unlock(&s->lock);
	return full;
}

static int send_block(struct disk_source *s, const struct taken *t, struct err *err)
{
	struct buf b = BUF_INIT;
	int ret;

	buf_put_u8(&b, SYNC_BLOCK);
	buf_put_u8(&b, (uint8_t)s->at_disk);
	buf_put_varint(&b, t->block);
	if (!bytes_are_zero(s->data, t->len))
		buf_put(&b, s->data, t->len);
	ret = source_send(s, &b, err);
	if (ret)
		return ret;
	s->sent += t->len;
	return note_sent(s, t->block) ? send_mark(s, err) : 0;
}

/* Sends the next block of any disk. 1; 0: there is none; -errno and err. */
static int send_next(struct disk_source *s, struct err *err)
{
	for (unsigned tried = 0; s->n && tried <= 2 * s->n; tried++) {
		struct taken t = { .s = s, .from = s->at_block, .block = UINT64_MAX };
		int error = s->disk[s->at_disk].meta
				    ? disk_between(s->disk[s->at_disk].image, take_and_read, &t)
				    : 0;
		int ret;

		if (error)
			return sync_block_error(err, "read", s->at_disk, t.block, error);
		if (t.block != UINT64_MAX) {
			s->at_block = t.block + 1;
			ret = send_block(s, &t, err);
			return ret ? ret : 1;
		}
		/* A round is over once each disk has been searched from its beginning. */
		if (s->at_block == 0)
			s->at_disk = (s->at_disk + 1) % s->n;
		s->at_block = 0;
	}
	return 0;
}

static bool stretch_open(struct disk_source *s)
{
	bool open;

	pthread_mutex_lock(&s->lock);
	open = s->stretch[s->marks % SYNC_MARKS_OPEN].n > 0 && s->marks - s->done < SYNC_MARKS_OPEN;
	pthread_mutex_unlock(&s->lock);
	return open;
}

int disk_source_step(struct disk_source *s, unsigned max, struct err *err)
{
	for (unsigned i = 0; i < max; i++) {
		int ret;

		if (!may_send(s))
			return 0;
		ret = send_next(s, err);
		if (ret < 0)
			return ret;
		if (ret == 0)
			return stretch_open(s) ? send_mark(s, err) : 0;
	}
	return 1;
}

bool disk_source_begun(struct disk_source *s)
{
	return source_phase(s) >= SOURCE_SENDS;
}

uint64_t disk_source_left(struct disk_source *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (s->disk[i].meta)
			n += disk_meta_sync_left(s->disk[i].meta) * DISK_META_BLOCK;
	return n;
}

uint64_t disk_source_sent(const struct disk_source *s)
{
	return s->sent;
}

/* ---- the end ---- */

/*
 * Sends all blocks that are left. They may be more than a stretch holds, so they are not noted: the
 * disks count as equal only when EQUAL is confirmed, and then all of them do.
 */
static int send_rest(struct disk_source *s, struct err *err)
{
	int ret;

	do {
		pthread_mutex_lock(&s->lock);
		s->stretch[s->marks % SYNC_MARKS_OPEN].n = 0;
		pthread_mutex_unlock(&s->lock);
		ret = send_next(s, err);
	} while (ret > 0);
	return ret;
}

int disk_source_finish(struct disk_source *s, uint64_t record, struct err *err)
{
	struct buf b = BUF_INIT;
	int ret = send_rest(s, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&s->lock);
	s->phase = SOURCE_EQUAL;
	s->equal_mark = ++s->marks;
	pthread_mutex_unlock(&s->lock);
	buf_put_u8(&b, SYNC_EQUAL);
	buf_put_varint(&b, s->equal_mark);
	buf_put_u8(&b, (uint8_t)s->n);
	for (unsigned i = 0; i < s->n; i++) {
		s->id[i].record = record;
		if (!s->disk[i].meta)
			continue;
		disk_meta_applied(s->disk[i].meta, record);
		disk_meta_follow(s->disk[i].meta);
		sync_put_identity(&b, &s->id[i]);
	}
	return source_send(s, &b, err);
}

bool disk_source_confirmed(struct disk_source *s)
{
	return source_phase(s) == SOURCE_STEP;
}

int disk_source_in_step(struct disk_source *s, struct err *err)
{
	for (unsigned i = 0; i < s->n; i++) {
		int error;

		s->id[i].state = DISK_IN_STEP;
		error = s->disk[i].meta ? on_disk(s, i, join_meta) : 0;
		if (error)
			return err_set(err, error, "disk %u: cannot write its metadata: %s", i,
				       strerror(error));
	}
	return 0;
}
