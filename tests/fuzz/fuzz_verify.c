// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: what the two sides say to each other about comparing disks. Whatever a backup is asked, its
 * image changes only where a block that was taken says so, and its answer has the length that the
 * asker expects; whatever a live side is answered, only what it waits for counts, once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "replica/disk_sync_private.h"
#include "replica/replica_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCKS 3u
#define IMAGE  ((uint64_t)BLOCKS * DISK_META_BLOCK - 512)

static struct replica *r;
static struct disk_sync_disk disk;
static atomic_uint_fast64_t record;
static int meta_fd;
static uint8_t holds[IMAGE]; /* what the image is to hold */

static int flush_nothing(void *ctx)
{
	return 0;
}

static int nothing(struct disk_backend *d, void *ctx)
{
	return 0;
}

static void open_all(void)
{
	const struct replica_config cfg = { .timeout_ms = 1000 };
	struct disk_meta_identity id = { .image_bytes = IMAGE };
	struct err err = ERR_INIT;

	memset(holds, 0, sizeof(holds));
	meta_fd = memfd_create("meta", MFD_CLOEXEC);
	must(meta_fd >= 0 && disk_meta_format(meta_fd, "meta", &id, &err) == 0);
	disk.image = disk_memory_open(IMAGE / DISK_SECTOR, &err);
	disk.meta = disk_meta_open(meta_fd, "meta", IMAGE, flush_nothing, NULL, &err);
	r = replica_create(&cfg, &err);
	must(disk.image && disk.meta && r);
	disk_attach_meta(disk.image, disk.meta, &record);
	replica_set_disks(r, &disk, 1, &record);
}

static void close_all(void)
{
	verify_end(r);
	replica_destroy(r);
	disk_close(disk.image); /* and the metadata, which is its */
	close(meta_fd);
}

/* A message that may make sense, with bytes of the input behind it. */
static void put_ask(struct buf *b, struct rd *in)
{
	static uint8_t block[DISK_META_BLOCK];
	uint8_t shape = rd_u8(in), what = rd_u8(in) % (VERIFY_WHATS + 1);
	uint64_t at = rd_u8(in) % (BLOCKS + 1);
	size_t len = what == VERIFY_WRITE ? DISK_META_BLOCK : 0;

	if (what == VERIFY_WRITE && at == BLOCKS - 1)
		len -= 512;
	buf_put_u64(b, shape & 1 ? 100 + rd_u8(in) : rd_u64(in));
	buf_put_u64(b, rd_u8(in));
	buf_put_u8(b, what);
	buf_put_u8(b, shape & 2 ? rd_u8(in) : 0);
	buf_put_varint(b, shape & 4 ? rd_u64(in) : at);
	buf_put_u8(b, shape & 8 ? rd_u8(in) : 1);
	if (shape & 16)
		len = len * rd_u8(in) / 255 + rd_u8(in) % 3;
	memset(block, rd_u8(in), sizeof(block));
	buf_put(b, block, len < sizeof(block) ? len : sizeof(block));
}

/* A copy of its own, so that a step outside is seen. */
static int take(bool ask, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct err err = ERR_INIT;
	struct rd in = RD_INIT(copy, len);
	int ret;

	must(copy);
	if (len)
		memcpy(copy, data, len);
	ret = ask ? verify_take_ask(r, 50, &in, &err) : verify_take_answer(r, &in, &err);
	must(ret == 0 || (ret == -EBADMSG && err.text[0]));
	free(copy);
	return ret;
}

static void ask(struct rd *in, bool raw)
{
	struct buf b = BUF_INIT;

	if (raw)
		for (unsigned n = rd_u8(in); n && rd_left(in); n--)
			buf_put_u8(&b, rd_u8(in));
	else
		put_ask(&b, in);
	must(!b.bad);
	take(true, b.data, b.len);
	buf_free(&b);
}

static size_t expected(const struct verify_job *j)
{
	size_t block = j->ask.block == BLOCKS - 1 ? DISK_META_BLOCK - 512 : DISK_META_BLOCK;

	if (j->error || j->ask.what == VERIFY_WRITE)
		return 0;
	return j->ask.what == VERIFY_SUMS ? j->ask.n * VERIFY_SUM : block;
}

/* The record is applied; when the disk is done there is one answer, of the right length. */
static void apply(struct rd *in)
{
	const struct verify_job *j = &r->verify.asked;
	bool waits = atomic_load(&j->state) == VERIFY_JOB_WAITS;
	struct buf b = BUF_INIT;

	if (!waits)
		return;
	if (rd_u8(in) & 1) {
		verify_applied(r, j->ask.record + 1);
		must(!verify_answer(r, &b));
		return;
	}
	if (j->ask.what == VERIFY_WRITE)
		memcpy(holds + j->ask.block * DISK_META_BLOCK, j->data,
		       sync_block_bytes(&disk, j->ask.block));
	verify_applied(r, j->ask.record);
	must(disk_between(disk.image, nothing, NULL) == 0);
	must(verify_answer(r, &b) && b.len == 8 + 1 + expected(j));
	buf_clear(&b);
	must(!verify_answer(r, &b));
	buf_free(&b);
}

static void answer(struct rd *in)
{
	struct verify *v = &r->verify;
	uint8_t shape = rd_u8(in);
	struct buf b = BUF_INIT;
	bool expects;

	v->waits_for = rd_u8(in) % 3;
	v->answered = shape & 1;
	buf_put_u64(&b, shape & 2 ? rd_u64(in) : v->waits_for);
	buf_put_varint(&b, shape & 4 ? rd_u64(in) : 0);
	for (unsigned n = shape & 8 ? rd_u16(in) : rd_u8(in); n; n--)
		buf_put_u8(&b, rd_u8(in));
	must(!b.bad);
	expects = v->waits_for && !v->answered;
	take(false, b.data, shape & 16 ? b.len * rd_u8(in) / 255 : b.len);
	must(!v->answered || expects || shape & 1);
	buf_free(&b);
}

static void compare(void)
{
	static uint8_t found[IMAGE];

	must(disk_raw_read(disk.image, found, IMAGE, 0) == 0);
	must(!memcmp(found, holds, IMAGE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);

	log_set_level(LOG_ERROR);
	open_all();
	for (unsigned i = 0; i < 100 && rd_left(&in); i++) {
		switch (rd_u8(&in) & 3) {
		case 0:
			answer(&in);
			break;
		case 1:
			apply(&in);
			break;
		default:
			ask(&in, rd_u8(&in) % 4 == 0);
		}
	}
	verify_end(r);
	compare();
	close_all();
	return 0;
}
