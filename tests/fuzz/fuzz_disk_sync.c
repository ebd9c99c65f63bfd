// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: two sides of a join whose messages are delivered, damaged, or made up by the input.
 * Whatever the joiner says, the live side's image is as its guest wrote it; where nothing was
 * damaged, disks that are said to be in step are equal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "replica/disk_sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCKS	3u
#define IMAGE	((uint64_t)BLOCKS * DISK_META_BLOCK - 512)
#define WAITING 64u

struct side {
	int fd;
	struct disk_sync_disk disk;
	atomic_uint_fast64_t record;
};

struct queue {
	struct buf message[WAITING];
	unsigned first, n;
};

struct join {
	struct side live, joiner;
	struct queue to_live, to_joiner;
	struct disk_source *source;
	struct disk_target *target;
	uint8_t written[IMAGE]; /* what the guest's writes come to */
	bool damaged, over;
};

static struct join join;

static int flush_nothing(void *ctx)
{
	return 0;
}

static void open_side(struct side *s)
{
	struct disk_meta_identity id = { .image_bytes = IMAGE };
	struct err err = ERR_INIT;

	s->fd = memfd_create("meta", MFD_CLOEXEC);
	must(s->fd >= 0 && disk_meta_format(s->fd, "meta", &id, &err) == 0);
	s->disk.image = disk_memory_open(IMAGE / DISK_SECTOR, &err);
	s->disk.meta = disk_meta_open(s->fd, "meta", IMAGE, flush_nothing, NULL, &err);
	must(s->disk.image && s->disk.meta);
	disk_attach_meta(s->disk.image, s->disk.meta, &s->record);
}

static int put(void *ctx, struct buf *m)
{
	struct queue *q = ctx;

	if (q->n == WAITING)
		return -ECONNRESET;
	q->message[(q->first + q->n++) % WAITING] = *m;
	*m = (struct buf)BUF_INIT;
	return 0;
}

static struct buf get(struct queue *q)
{
	struct buf m = q->message[q->first];

	q->first = (q->first + 1) % WAITING;
	q->n--;
	return m;
}

/* An error ends the join, as it ends the connection. */
static void take(bool live, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1); /* so that a step outside is seen */
	struct rd in = RD_INIT(copy, len);
	struct err err = ERR_INIT;
	int ret;

	must(copy);
	if (len)
		memcpy(copy, data, len);
	ret = live ? disk_source_take(join.source, &in, &err)
		   : disk_target_take(join.target, &in, &err);
	must(ret >= 0 || err.text[0]);
	join.over |= ret < 0;
	free(copy);
}

static void deliver(bool live, struct rd *in, bool damage)
{
	struct queue *q = live ? &join.to_live : &join.to_joiner;
	struct buf m;

	if (!q->n)
		return;
	m = get(q);
	if (damage && m.len) {
		size_t at = rd_u16(in) % (m.len < 64 ? m.len : 64);

		m.data[at] ^= rd_u8(in);
		if (rd_u8(in) & 1)
			m.len = at;
		join.damaged = true;
	}
	take(live, m.data, m.len);
	buf_free(&m);
}

static void make_up(bool live, struct rd *in)
{
	uint8_t text[256];
	size_t len = rd_u8(in);

	len = len < rd_left(in) ? len : rd_left(in);
	rd_get(in, text, len);
	join.damaged = true;
	take(live, text, len);
}

static void guest_write(struct rd *in)
{
	static uint64_t id;
	uint64_t sector = rd_u16(in) % (IMAGE / DISK_SECTOR);
	struct disk_backend *d = join.live.disk.image;
	uint8_t data[DISK_SECTOR];

	memset(data, rd_u8(in) % 3, sizeof(data));
	d->ops->start(d, ++id, DISK_WRITE, sector, 1, data);
	must(d->ops->finish(d, id) == 0);
	memcpy(join.written + sector * DISK_SECTOR, data, sizeof(data));
}

static void compare(struct disk_backend *d)
{
	static uint8_t found[IMAGE];

	must(disk_raw_read(d, found, IMAGE, 0) == 0);
	must(!memcmp(found, join.written, IMAGE));
}

/* Everything up to the end of the join, nothing damaged from here on. */
static void finish(void)
{
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < 64 && !join.over; i++) {
		deliver(true, NULL, false);
		deliver(false, NULL, false);
		if (!join.over && disk_source_begun(join.source))
			join.over = disk_source_step(join.source, 2, &err) < 0;
	}
	if (!join.over && disk_source_begun(join.source))
		join.over = disk_source_finish(join.source, 7, &err) < 0;
	while (!join.over && (join.to_joiner.n || join.to_live.n)) {
		deliver(false, NULL, false);
		deliver(true, NULL, false);
	}
	if (join.over || !disk_source_confirmed(join.source))
		return;
	must(disk_source_in_step(join.source, &err) == 0);
	if (!join.damaged)
		compare(join.joiner.disk.image);
}

static void step(struct rd *in)
{
	struct err err = ERR_INIT;
	uint8_t op = rd_u8(in);
	bool live = op & 1;

	switch (op >> 1 & 7) {
	case 0:
	case 1:
	case 2:
		deliver(live, in, false);
		break;
	case 3:
		deliver(live, in, true);
		break;
	case 4:
		make_up(live, in);
		break;
	case 5:
		guest_write(in);
		break;
	default:
		if (disk_source_begun(join.source))
			join.over |= disk_source_step(join.source, 1 + (op >> 4), &err) < 0;
	}
}

static void close_side(struct side *s)
{
	disk_close(s->disk.image); /* and the metadata, which is its */
	close(s->fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	struct err err = ERR_INIT;

	memset(&join, 0, sizeof(join));
	open_side(&join.live);
	open_side(&join.joiner);
	disk_meta_part(join.live.disk.meta, 1000, 1);
	for (unsigned i = rd_u8(&in) % 8; i && rd_left(&in); i--)
		guest_write(&in);
	join.source = disk_source_new(&join.live.disk, 1, 42, put, &join.to_joiner);
	join.target = disk_target_new(&join.joiner.disk, 1, put, &join.to_live);
	must(join.source && join.target && disk_target_offer(join.target, &err) == 0);
	for (unsigned i = 0; i < 200 && rd_left(&in) && !join.over; i++)
		step(&in);
	finish();
	compare(join.live.disk.image);
	disk_source_free(join.source);
	disk_target_free(join.target);
	while (join.to_live.n) {
		struct buf m = get(&join.to_live);

		buf_free(&m);
	}
	while (join.to_joiner.n) {
		struct buf m = get(&join.to_joiner);

		buf_free(&m);
	}
	close_side(&join.live);
	close_side(&join.joiner);
	return 0;
}
