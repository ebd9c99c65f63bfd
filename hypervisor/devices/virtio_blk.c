// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request lives from the notification that takes it from the ring until its due time. At the
 * notification a write has its data copied out of the guest and is handed to the backend; a read is
 * handed to the backend with an empty buffer, which goes to the guest when the request is due. The
 * backend works in order, so a read sees every write before it and none after it.
 *
 * Saving must not disturb: the content of the disk is stored elsewhere, with every write in it that
 * was started. A read under way is started again by a restore, and finds the same bytes, unless a
 * later write touched its sectors in the meantime. So whoever writes to sectors that a read under
 * way covers waits for that read first, and from then on its data is part of the state.
 */
#include "hypervisor/devices/virtio_blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"

#define QUEUE 0u

/* Feature bits (5.2.3) */
#define F_SIZE_MAX     (1ull << 1)
#define F_SEG_MAX      (1ull << 2)
#define F_RO	       (1ull << 5)
#define F_BLK_SIZE     (1ull << 6)
#define F_FLUSH	       (1ull << 9)
#define F_CONFIG_WCE   (1ull << 11)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)
#define FEATURES       (F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH)
#define FEATURES_RW    (F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES)

/* struct virtio_blk_config (5.2.4) */
enum {
	CONFIG_CAPACITY = 0,
	CONFIG_SIZE_MAX = 8,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_WRITEBACK = 32,
	CONFIG_NUM_QUEUES = 34,
	CONFIG_MAX_DISCARD_SECTORS = 36,
	CONFIG_MAX_DISCARD_SEG = 40,
	CONFIG_DISCARD_ALIGNMENT = 44,
	CONFIG_MAX_ZEROES_SECTORS = 48,
	CONFIG_MAX_ZEROES_SEG = 52,
	CONFIG_ZEROES_MAY_UNMAP = 56,
	CONFIG_SIZE = 60,
};

/* Request types and status bytes (5.2.6) */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

#define HDR_SIZE   16u
#define ID_SIZE	   20u
#define RANGE_SIZE 16u
#define ERRNO_MAX  4095
#define FLUSH_ID   (1ull << 63)
#define NUMBER_MAX (1ull << 62) /* of a request number or time in a stored state */

/* Kinds of requests, by what is done when they are due; stored in checkpoints. */
enum blk_kind { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_ZERO, BLK_ID, BLK_REFUSE, BLK_KINDS };

struct blk_request {
	struct blk_request *next;
	uint64_t number;
	uint64_t due; /* ns */
	uint64_t sector;
	uint32_t sectors;
	uint8_t kind;
	uint8_t refusal; /* BLK_REFUSE: the status byte */
	uint16_t error;	 /* announced by an input; 0: success */
	uint16_t head;
	uint16_t nsegs; /* writable ones */
	bool on_host;	/* given to the backend and not waited for */
	bool through;	/* ... together with a flush, whose id is number | FLUSH_ID */
	bool pinned;	/* read whose data is state, see above */
	bool told;	/* the live source knows host_error; not state */
	int host_error;
	uint64_t len; /* bytes of data */
	uint8_t *data;
	struct virtq_seg seg[];
};

static struct virtio_blk *blk_of(struct virtio *v)
{
	return (struct virtio_blk *)v;
}

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void blk_config_get(struct virtio *v, uint8_t *config)
{
	const struct virtio_blk *b = blk_of(v);

	memset(config, 0, CONFIG_SIZE);
	put_le(config + CONFIG_CAPACITY, b->disk->sectors, 8);
	put_le(config + CONFIG_SIZE_MAX, VIRTIO_BLK_SIZE_MAX, 4);
	put_le(config + CONFIG_SEG_MAX, VIRTIO_BLK_SEG_MAX, 4);
	put_le(config + CONFIG_BLK_SIZE, DISK_SECTOR, 4);
	config[CONFIG_WRITEBACK] = b->writeback;
	put_le(config + CONFIG_NUM_QUEUES, 1, 2);
	put_le(config + CONFIG_MAX_DISCARD_SECTORS, VIRTIO_BLK_ZERO_MAX, 4);
	put_le(config + CONFIG_MAX_DISCARD_SEG, 1, 4);
	put_le(config + CONFIG_DISCARD_ALIGNMENT, 8, 4);
	put_le(config + CONFIG_MAX_ZEROES_SECTORS, VIRTIO_BLK_ZERO_MAX, 4);
	put_le(config + CONFIG_MAX_ZEROES_SEG, 1, 4);
	config[CONFIG_ZEROES_MAY_UNMAP] = 1;
}

static void blk_config_put(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	if (offset == CONFIG_WRITEBACK && virtio_has(v, F_CONFIG_WCE))
		blk_of(v)->writeback = value & 1;
}

/* --- requests under way --- */

static struct blk_request *request_new(const struct virtq_seg *seg, unsigned nsegs)
{
	struct blk_request *r = calloc(1, sizeof(*r) + nsegs * sizeof(r->seg[0]));

	must(r != NULL);
	r->nsegs = (uint16_t)nsegs;
	if (nsegs)
		memcpy(r->seg, seg, nsegs * sizeof(r->seg[0]));
	return r;
}

static void request_buffer(struct blk_request *r)
{
	r->len = (uint64_t)r->sectors * DISK_SECTOR;
	r->data = malloc(r->len ? r->len : 1);
	must(r->data != NULL);
}

static void request_free(struct blk_request *r)
{
	free(r->data);
	free(r);
}

static void request_append(struct virtio_blk *b, struct blk_request *r)
{
	if (b->last)
		b->last->next = r;
	else
		b->first = r;
	b->last = r;
	b->underway++;
	b->held += r->len;
}

static struct blk_request *request_take(struct virtio_blk *b)
{
	struct blk_request *r = b->first;

	b->first = r->next;
	if (!b->first)
		b->last = NULL;
	b->underway--;
	b->held -= r->len;
	return r;
}

/*
 * True: a completed write may still be in a cache. The driver decides on that where it has
 * negotiated that it can, else it is so where the driver is able to flush (5.2.6.2). For any other
 * driver a write is on the medium when it completes.
 */
static bool blk_caches(const struct virtio_blk *b)
{
	return virtio_has(&b->virtio, F_CONFIG_WCE) ? b->writeback
						    : virtio_has(&b->virtio, F_FLUSH);
}

/* Place on the disk for a request's data; no sectors: the data goes nowhere. */
struct blk_place {
	uint64_t sector;
	uint32_t sectors;
};

static void request_start(struct virtio_blk *b, struct blk_request *r, const struct blk_place *to)
{
	static const enum disk_op op[BLK_KINDS] = { [BLK_READ] = DISK_READ,
						    [BLK_WRITE] = DISK_WRITE,
						    [BLK_FLUSH] = DISK_FLUSH,
						    [BLK_ZERO] = DISK_ZERO };

	if (r->kind == BLK_ID || r->kind == BLK_REFUSE || (r->kind == BLK_WRITE && !to->sectors))
		return;
	r->on_host = true;
	b->disk->ops->start(b->disk, r->number, op[r->kind], to->sector, to->sectors, r->data);
	r->through = !blk_caches(b) && (r->kind == BLK_WRITE || r->kind == BLK_ZERO);
	if (r->through)
		b->disk->ops->start(b->disk, r->number | FLUSH_ID, DISK_FLUSH, 0, 0, NULL);
}

static void request_wait(struct virtio_blk *b, struct blk_request *r)
{
	if (!r->on_host)
		return;
	r->host_error = b->disk->ops->finish(b->disk, r->number);
	if (r->through) {
		int error = b->disk->ops->finish(b->disk, r->number | FLUSH_ID);

		if (!r->host_error)
			r->host_error = error;
	}
	r->on_host = false;
}

/* See the top: reads under way that a write overlaps keep the data from before it. */
static void request_pin_reads(struct virtio_blk *b, const struct blk_place *w)
{
	for (struct blk_request *r = b->first; r; r = r->next) {
		if (r->kind != BLK_READ || r->sector >= w->sector + w->sectors ||
		    w->sector >= r->sector + r->sectors)
			continue;
		request_wait(b, r);
		r->pinned = true;
	}
}

static void request_hash(struct virtio_blk *b, const struct blk_request *w,
			 const struct blk_place *to)
{
	uint8_t head[32];

	put_le(head, b->written, 8);
	put_le(head + 8, w->kind, 8);
	put_le(head + 16, to->sector, 8);
	put_le(head + 24, to->sectors, 8);
	b->written = XXH3_64bits_withSeed(
		w->data, w->kind == BLK_WRITE ? (uint64_t)to->sectors * DISK_SECTOR : 0,
		XXH3_64bits(head, sizeof(head)));
}

static bool range_ok(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->disk->sectors && sectors <= b->disk->sectors - sector;
}

/* The place of a write, under the disk's present fault. Most faults are over with one write. */
static struct blk_place write_place(struct virtio_blk *b, struct blk_request *r)
{
	struct blk_place to = { r->sector, r->sectors };

	if (r->kind != BLK_WRITE || b->spoil == DISK_SPOIL_NONE)
		return to;
	if (b->spoil == DISK_SPOIL_FULL) {
		r->error = ENOSPC;
		return (struct blk_place){ 0 };
	}
	if (b->spoil == DISK_SPOIL_LOST)
		to.sectors = 0;
	else if (b->spoil == DISK_SPOIL_TORN)
		to.sectors /= 2;
	else if (range_ok(b, to.sector + to.sectors, to.sectors))
		to.sector += to.sectors;
	else if (to.sector >= to.sectors)
		to.sector -= to.sectors;
	else
		to.sectors = 0;
	b->spoil = DISK_SPOIL_NONE;
	return to;
}

/* --- taking requests from the ring --- */

struct blk_header {
	uint32_t type;
	uint64_t sector;
};

static uint8_t prepare_data(struct virtio_blk *b, struct blk_request *r, uint64_t sector,
			    uint64_t len)
{
	if (len == 0 || len % DISK_SECTOR || len > VIRTIO_BLK_BYTES_MAX ||
	    !range_ok(b, sector, len / DISK_SECTOR))
		return S_IOERR;
	r->sector = sector;
	r->sectors = (uint32_t)(len / DISK_SECTOR);
	request_buffer(r);
	return S_OK;
}

static uint8_t prepare_in(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h)
{
	r->kind = BLK_READ;
	b->reads++;
	return prepare_data(b, r, h->sector, b->chain.write_len - 1);
}

static uint8_t prepare_out(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h)
{
	uint8_t refusal;

	r->kind = BLK_WRITE;
	b->writes++;
	if (b->disk->readonly)
		return S_IOERR;
	refusal = prepare_data(b, r, h->sector, b->chain.read_len - HDR_SIZE);
	if (refusal)
		return refusal;
	return virtq_read(&b->virtio, &b->chain, HDR_SIZE, r->data, r->len) ? S_OK : S_IOERR;
}

static uint8_t prepare_flush(struct virtio_blk *b, struct blk_request *r,
			     const struct blk_header *h)
{
	r->kind = BLK_FLUSH;
	b->flushes++;
	return S_OK;
}

static uint8_t prepare_id(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h)
{
	r->kind = BLK_ID;
	return b->chain.write_len - 1 < ID_SIZE ? S_IOERR : S_OK;
}

/*
 * Prepares a discard or a write of zeroes of one range (max_discard_seg, max_write_zeroes_seg):
 * le64 sector, le32 sectors, le32 flags, of which bit 0 means unmap.
 */
static uint8_t prepare_zero(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h)
{
	uint8_t range[RANGE_SIZE];
	struct rd in = RD_INIT(range, sizeof(range));
	uint32_t flags;

	r->kind = BLK_ZERO;
	b->discards++;
	if (b->disk->readonly)
		return S_IOERR;
	if (b->chain.read_len != HDR_SIZE + RANGE_SIZE ||
	    !virtq_read(&b->virtio, &b->chain, HDR_SIZE, range, sizeof(range)))
		return S_IOERR;
	r->sector = rd_u64(&in);
	r->sectors = rd_u32(&in);
	flags = rd_u32(&in);
	if ((flags & ~1u) || (h->type == T_DISCARD && flags))
		return S_UNSUPP;
	return r->sectors <= VIRTIO_BLK_ZERO_MAX && range_ok(b, r->sector, r->sectors) ? S_OK
										       : S_IOERR;
}

static const struct {
	bool known;
	uint64_t feature;
	uint8_t (*prepare)(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h);
} blk_type[] = {
	[T_IN] = { true, 0, prepare_in },
	[T_OUT] = { true, 0, prepare_out },
	[T_FLUSH] = { true, 0, prepare_flush },
	[T_GET_ID] = { true, 0, prepare_id },
	[T_DISCARD] = { true, F_DISCARD, prepare_zero },
	[T_WRITE_ZEROES] = { true, F_WRITE_ZEROES, prepare_zero },
};

static uint8_t request_prepare(struct virtio_blk *b, struct blk_request *r,
			       const struct blk_header *h)
{
	if (h->type >= sizeof(blk_type) / sizeof(blk_type[0]) || !blk_type[h->type].known ||
	    !virtio_has(&b->virtio, blk_type[h->type].feature))
		return S_UNSUPP;
	return blk_type[h->type].prepare(b, r, h);
}

/* A refused request says so when it is due, like the others. */
static void request_refuse(struct blk_request *r, uint8_t refusal)
{
	r->kind = BLK_REFUSE;
	r->refusal = refusal;
	free(r->data);
	r->data = NULL;
	r->len = 0;
	r->sector = r->sectors = 0;
}

/*
 * The disk transfers one request after the other, a byte a nanosecond; its answer takes
 * VIRTIO_BLK_LATENCY more.
 */
static void request_schedule(struct virtio_blk *b, struct blk_request *r)
{
	uint64_t now = clock_now(b->clock);

	b->busy_until = (b->busy_until > now ? b->busy_until : now) + r->len;
	r->due = b->busy_until + VIRTIO_BLK_LATENCY;
}

static void request_accept(struct virtio_blk *b, struct blk_request *r)
{
	struct blk_place to = write_place(b, r);

	r->number = b->next_number++;
	request_schedule(b, r);
	if ((r->kind == BLK_WRITE && to.sectors) || r->kind == BLK_ZERO) {
		request_pin_reads(b, &to);
		request_hash(b, r, &to);
	}
	request_append(b, r);
	request_start(b, r, &to);
	if (r->kind == BLK_READ)
		b->bytes_read += r->len;
	else if (r->kind == BLK_WRITE)
		b->bytes_written += r->len;
}

/* Takes the popped chain. False: the device is broken. */
static bool blk_take(struct virtio_blk *b)
{
	struct virtio *v = &b->virtio;
	struct virtq_chain *c = &b->chain;
	uint8_t raw[HDR_SIZE];
	struct rd in = RD_INIT(raw, sizeof(raw));
	struct blk_header h;
	struct blk_request *r;
	uint8_t refusal;

	if (c->read_len < HDR_SIZE || c->write_len < 1) {
		virtio_break(v);
		return false;
	}
	if (!virtq_read(v, c, 0, raw, sizeof(raw)))
		return false;
	h.type = rd_u32(&in);
	rd_u32(&in);
	h.sector = rd_u64(&in);
	r = request_new(c->seg + c->nread, c->nwrite);
	r->head = c->head;
	refusal = request_prepare(b, r, &h);
	if (!virtio_live(v)) {
		request_free(r);
		return false;
	}
	if (refusal)
		request_refuse(r, refusal);
	request_accept(b, r);
	return true;
}

static void blk_set_timer(struct virtio_blk *b)
{
	if (b->first)
		timer_set(b->clock, &b->timer, b->first->due);
	else
		timer_stop(b->clock, &b->timer);
}

/*
 * Takes what the ring offers, as long as there is room for buffers; the rest follows when requests
 * complete.
 */
static void blk_pump(struct virtio_blk *b)
{
	struct virtio *v = &b->virtio;

	for (unsigned n = 0; n < v->limit && b->held < VIRTIO_BLK_HELD_MAX; n++) {
		if (b->underway == v->limit || !virtq_pop(v, QUEUE, &b->chain) || !blk_take(b))
			break;
	}
	virtq_listen(v, QUEUE);
	blk_set_timer(b);
}

static void blk_notify(struct virtio *v, unsigned queue)
{
	blk_pump(blk_of(v));
}

/* --- completion --- */

static void request_check_host(struct virtio_blk *b, const struct blk_request *r)
{
	if (b->host_fault || !r->host_error || r->error)
		return;
	b->host_fault = r->host_error;
	b->host_fault_number = r->number;
}

/*
 * Writes `len` bytes and the status byte, which is the last writable one, into the request's
 * segments.
 */
static void request_answer(struct virtio_blk *b, const struct blk_request *r, const void *data,
			   uint64_t len, uint8_t status)
{
	struct virtio *v = &b->virtio;
	struct virtq_chain *c = &b->chain;

	c->nread = 0;
	c->nwrite = r->nsegs;
	c->write_len = 0;
	for (unsigned i = 0; i < r->nsegs; i++) {
		c->seg[i] = r->seg[i];
		c->write_len += r->seg[i].len;
	}
	if (!virtq_write(v, c, 0, data, len) || !virtq_write(v, c, c->write_len - 1, &status, 1))
		return;
	virtq_push(v, QUEUE, r->head, (uint32_t)len + 1);
}

static void request_complete(struct virtio_blk *b, struct blk_request *r)
{
	request_wait(b, r);
	request_check_host(b, r);
	if (!virtio_live(&b->virtio))
		return;
	if (r->error)
		b->errors++;
	if (r->kind == BLK_REFUSE)
		request_answer(b, r, NULL, 0, r->refusal);
	else if (r->error)
		request_answer(b, r, NULL, 0, S_IOERR);
	else if (r->kind == BLK_READ)
		request_answer(b, r, r->data, r->len, S_OK);
	else if (r->kind == BLK_ID)
		request_answer(b, r, b->serial, ID_SIZE, S_OK);
	else
		request_answer(b, r, NULL, 0, S_OK);
}

static void blk_fire(void *ctx)
{
	struct virtio_blk *b = ctx;
	uint64_t now = clock_now(b->clock);

	while (b->first && b->first->due <= now) {
		struct blk_request *r = request_take(b);

		request_complete(b, r);
		request_free(r);
	}
	virtq_signal(&b->virtio, QUEUE);
	blk_pump(b);
}

static struct blk_request *blk_find(const struct virtio_blk *b, uint64_t number)
{
	struct blk_request *r = b->first;

	while (r && r->number != number)
		r = r->next;
	return r;
}

int virtio_blk_next_error(struct virtio_blk *b, uint64_t ns, uint64_t *number)
{
	for (struct blk_request *r = b->first; r && r->due <= ns; r = r->next) {
		request_wait(b, r);
		if (!r->host_error || r->told)
			continue;
		r->told = true;
		*number = r->number;
		return r->host_error;
	}
	return 0;
}

bool virtio_blk_request(const struct virtio_blk *b, uint64_t *number)
{
	const struct blk_request *r = b->first;

	while (r && r->error)
		r = r->next;
	if (r)
		*number = r->number;
	return r != NULL;
}

int virtio_blk_set_error(struct virtio_blk *b, uint64_t number, int error)
{
	struct blk_request *r = blk_find(b, number);

	if (!r)
		return -ENOENT;
	if (error < 1 || error > ERRNO_MAX)
		return -EINVAL;
	r->error = (uint16_t)error;
	return 0;
}

/* --- faults --- */

int virtio_blk_delay(struct virtio_blk *b, uint64_t ns)
{
	uint64_t now = clock_now(b->clock);

	if (ns > 3600000000000ull)
		return -EINVAL;
	b->busy_until = (b->busy_until > now ? b->busy_until : now) + ns;
	return 0;
}

int virtio_blk_spoil(struct virtio_blk *b, uint64_t spoil)
{
	if (spoil >= DISK_SPOILS || b->disk->readonly)
		return -EINVAL;
	b->spoil = (uint8_t)spoil;
	return 0;
}

/* The backend works in order: everything that was started before is done before. */
static int disk_do(struct virtio_blk *b, enum disk_op op, uint64_t sector, uint8_t *data)
{
	uint64_t number = b->next_number++;
	int error;

	b->disk->ops->start(b->disk, number, op, sector, 1, data);
	error = b->disk->ops->finish(b->disk, number);
	if (error && !b->host_fault) {
		b->host_fault = error;
		b->host_fault_number = number;
	}
	return error;
}

int virtio_blk_power(struct virtio_blk *b, uint64_t seed)
{
	uint8_t head[16];
	int error;

	if (b->disk->readonly)
		return 0;
	if (!b->disk->ops->power)
		return -EINVAL;
	error = b->disk->ops->power(b->disk, seed);
	if (error && !b->host_fault)
		b->host_fault = error;
	put_le(head, b->written, 8);
	put_le(head + 8, seed, 8);
	b->written = XXH3_64bits(head, sizeof(head));
	return 0;
}

int virtio_blk_rot(struct virtio_blk *b, uint64_t bit)
{
	const struct blk_place at = { bit / 8 / DISK_SECTOR, 1 };
	uint8_t data[DISK_SECTOR];
	const struct blk_request w = { .kind = BLK_WRITE, .data = data };

	if (!range_ok(b, at.sector, 1) || b->disk->readonly)
		return -EINVAL;
	request_pin_reads(b, &at);
	if (disk_do(b, DISK_READ, at.sector, data))
		return 0; /* the machine stops by host_fault */
	data[bit / 8 % DISK_SECTOR] ^= (uint8_t)(1u << bit % 8);
	request_hash(b, &w, &at);
	disk_do(b, DISK_WRITE, at.sector, data);
	return 0;
}

/* --- growth --- */

int virtio_blk_grow(struct virtio_blk *b, uint64_t sectors)
{
	int error;

	if (sectors > DISK_SECTORS_MAX || b->disk->readonly || !b->disk->ops->grow)
		return -EINVAL;
	if (sectors <= b->disk->sectors)
		return 0;
	error = b->disk->ops->grow(b->disk, sectors);
	if (error && !b->host_fault)
		b->host_fault = error;
	if (!error)
		virtio_config_changed(&b->virtio);
	return 0;
}

/* --- verbs --- */

/*
 * Requests under way end without an answer; what they wrote stays written. Request numbers and the
 * chain of hashes go on through resets: they belong to the disk.
 */
static void blk_drop(struct virtio_blk *b)
{
	while (b->first) {
		struct blk_request *r = request_take(b);

		request_wait(b, r);
		request_free(r);
	}
	blk_set_timer(b);
}

static void blk_class_reset(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	blk_drop(b);
	b->busy_until = 0;
	b->writeback = true;
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,
	.nqueues = 1,
	.config_size = CONFIG_SIZE,
	.config_get = blk_config_get,
	.config_put = blk_config_put,
	.notify = blk_notify,
	.reset = blk_class_reset,
};

void virtio_blk_init(struct virtio_blk *b, struct memory *mem, struct clock *clock,
		     struct disk_backend *disk, const char *serial)
{
	memset(b, 0, sizeof(*b));
	b->clock = clock;
	b->disk = disk;
	b->writeback = true;
	b->next_number = 1;
	memcpy(b->serial, serial, strnlen(serial, sizeof(b->serial)));
	timer_init(clock, &b->timer, "virtio-blk", blk_fire, b);
	virtio_init(&b->virtio, &blk_class, mem, FEATURES | (disk->readonly ? F_RO : FEATURES_RW));
}

void virtio_blk_fini(struct virtio_blk *b)
{
	while (b->first) {
		struct blk_request *r = request_take(b);

		request_wait(b, r);
		request_free(r);
	}
}

static void blk_reset(void *dev)
{
	virtio_reset(&((struct virtio_blk *)dev)->virtio);
}

static void request_save(const struct blk_request *r, struct buf *out)
{
	buf_put_u64(out, r->number);
	buf_put_u64(out, r->due);
	buf_put_u8(out, r->kind);
	buf_put_u8(out, r->refusal);
	buf_put_u8(out, r->pinned);
	buf_put_u16(out, r->error);
	buf_put_u16(out, r->head);
	buf_put_u64(out, r->sector);
	buf_put_u32(out, r->sectors);
	buf_put_u16(out, r->nsegs);
	for (unsigned i = 0; i < r->nsegs; i++) {
		buf_put_u64(out, r->seg[i].gpa);
		buf_put_u32(out, r->seg[i].len);
	}
	if (r->pinned)
		buf_put(out, r->data, r->len);
}

static void blk_save(const void *dev, struct buf *out)
{
	const struct virtio_blk *b = dev;

	virtio_save(&b->virtio, out);
	buf_put_u64(out, b->disk->sectors);
	buf_put_u8(out, (uint8_t)(b->writeback | b->spoil << 1));
	buf_put_u64(out, b->next_number);
	buf_put_u64(out, b->busy_until);
	buf_put_u64(out, b->written);
	buf_put_u16(out, (uint16_t)b->underway);
	for (const struct blk_request *r = b->first; r; r = r->next)
		request_save(r, out);
}

static struct blk_request *request_restore_segs(const struct virtio_blk *b, struct rd *in,
						uint64_t *write_len)
{
	struct virtq_seg seg[VIRTQ_SIZE_MAX];
	uint16_t n = rd_u16(in);

	*write_len = 0;
	if (in->bad || n > b->virtio.limit)
		return NULL;
	for (unsigned i = 0; i < n; i++) {
		seg[i].gpa = rd_u64(in);
		seg[i].len = rd_u32(in);
		*write_len += seg[i].len;
	}
	return in->bad || *write_len < 1 ? NULL : request_new(seg, n);
}

/* True: the rest of a stored request, still to be done, is possible for its kind. */
static bool request_plausible(const struct virtio_blk *b, const struct blk_request *r,
			      uint64_t write_len)
{
	uint64_t sectors_max =
		r->kind == BLK_ZERO ? VIRTIO_BLK_ZERO_MAX : VIRTIO_BLK_BYTES_MAX / DISK_SECTOR;

	if (r->kind >= BLK_KINDS || (r->pinned && r->kind != BLK_READ) || r->error > ERRNO_MAX ||
	    (r->kind == BLK_REFUSE) != (r->refusal != S_OK))
		return false;
	if (r->sectors > sectors_max || !range_ok(b, r->sector, r->sectors))
		return false;
	if (r->kind == BLK_READ)
		return write_len == (uint64_t)r->sectors * DISK_SECTOR + 1;
	return r->kind != BLK_ID || write_len > ID_SIZE;
}

/* A write or flush was executed before the disk's content was stored; only reads start again. */
static struct blk_request *request_restore(struct virtio_blk *b, struct rd *in)
{
	struct blk_request head = { 0 }, *r;
	uint64_t write_len;

	head.number = rd_u64(in);
	head.due = rd_u64(in);
	head.kind = rd_u8(in);
	head.refusal = rd_u8(in);
	head.pinned = rd_u8(in) != 0;
	head.error = rd_u16(in);
	head.head = rd_u16(in);
	head.sector = rd_u64(in);
	head.sectors = rd_u32(in);
	r = request_restore_segs(b, in, &write_len);
	if (!r)
		return NULL;
	head.nsegs = r->nsegs;
	*r = head;
	if (!request_plausible(b, r, write_len))
		goto bad;
	if (r->kind == BLK_READ)
		request_buffer(r);
	else if (r->kind == BLK_WRITE)
		r->len = (uint64_t)r->sectors * DISK_SECTOR;
	if (r->pinned)
		rd_get(in, r->data, r->len);
	if (!in->bad)
		return r;
bad:
	request_free(r);
	return NULL;
}

static bool blk_restore_requests(struct virtio_blk *b, struct rd *in)
{
	uint16_t n = rd_u16(in);

	if (in->bad || n > b->virtio.limit)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct blk_request *r = request_restore(b, in);
		const struct blk_request *last = b->last;

		if (!r)
			return false;
		if (r->number >= b->next_number ||
		    (last && (r->number <= last->number || r->due < last->due)) ||
		    r->due > b->busy_until + VIRTIO_BLK_LATENCY || b->held >= VIRTIO_BLK_HELD_MAX) {
			request_free(r);
			return false;
		}
		request_append(b, r);
		if (r->kind == BLK_READ && !r->pinned)
			request_start(b, r, &(struct blk_place){ r->sector, r->sectors });
	}
	return true;
}

/* False: the disk cannot have had that size. */
static bool blk_fit(const struct virtio_blk *b, uint64_t sectors)
{
	if (sectors == b->disk->sectors)
		return true;
	return sectors && sectors <= DISK_SECTORS_MAX && b->disk->ops->fit &&
	       !b->disk->ops->fit(b->disk, sectors);
}

static int blk_restore(void *dev, struct rd *in)
{
	struct virtio_blk *b = dev;
	uint64_t sectors, number, busy;
	uint8_t flags;

	blk_drop(b);
	if (virtio_restore(&b->virtio, in))
		return -EINVAL;
	sectors = rd_u64(in);
	flags = rd_u8(in);
	b->writeback = flags & 1;
	b->spoil = flags >> 1;
	number = rd_u64(in);
	busy = rd_u64(in);
	b->written = rd_u64(in);
	if (in->bad || number > NUMBER_MAX || busy > NUMBER_MAX || b->spoil >= DISK_SPOILS ||
	    !blk_fit(b, sectors))
		goto bad;
	b->next_number = number;
	b->busy_until = busy;
	if (!blk_restore_requests(b, in))
		goto bad;
	blk_set_timer(b);
	return 0;
bad:
	b->spoil = DISK_SPOIL_NONE;
	blk_reset(b);
	return -EINVAL;
}

const struct device_ops virtio_blk_ops = {
	.name = "virtio-blk",
	.reset = blk_reset,
	.save = blk_save,
	.restore = blk_restore,
};
