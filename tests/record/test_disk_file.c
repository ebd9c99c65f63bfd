// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"
#include "record/disk_file.h"
#include "record/disk_image.h"
#include "tests/unit.h"

#define SECTORS 36u /* the last block of 4 KiB is half outside */
#define BYTES	(SECTORS * DISK_SECTOR)

static char path[64];
static uint8_t model[BYTES];

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void make_image(size_t bytes)
{
	int fd;

	strcpy(path, "/tmp/twinstep-disk-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < BYTES; i++)
		model[i] = (uint8_t)(i / 512 + 1);
	ck_assert_int_eq(write(fd, model, bytes), (ssize_t)bytes);
	close(fd);
}

static void remove_image(void)
{
	unlink(path);
}

static int request(struct disk_backend *d, enum disk_op op, uint64_t sector, uint32_t sectors,
		   void *data)
{
	static uint64_t id;

	d->ops->start(d, ++id, op, sector, sectors, data);
	return d->ops->finish(d, id);
}

/* Random requests, up to 16 under way, against a plain array. */
static void exercise(struct disk_backend *d, uint64_t seed)
{
	static uint8_t buffer[16][BYTES], expect[16][BYTES];

	for (unsigned round = 0; round < 200; round++) {
		enum disk_op op[16];
		uint32_t n[16];

		for (unsigned i = 0; i < 16; i++) {
			uint64_t sector = next_random(&seed) % SECTORS;

			op[i] = next_random(&seed) % DISK_OPS;
			n[i] = (uint32_t)(next_random(&seed) % (SECTORS - sector + 1));
			memset(buffer[i], (int)next_random(&seed), BYTES);
			if (op[i] == DISK_WRITE)
				memcpy(model + sector * 512, buffer[i], n[i] * 512);
			else if (op[i] == DISK_ZERO)
				memset(model + sector * 512, 0, n[i] * 512);
			memcpy(expect[i], model + sector * 512, n[i] * 512);
			d->ops->start(d, i, op[i], sector, n[i], buffer[i]);
		}
		for (unsigned k = 0; k < 16; k++) {
			unsigned i = round & 1 ? k : 15 - k;

			ck_assert_int_eq(d->ops->finish(d, i), 0);
			if (op[i] == DISK_READ)
				ck_assert_mem_eq(buffer[i], expect[i], n[i] * 512);
		}
	}
}

static uint64_t digest_of(struct disk_backend *d)
{
	uint64_t hash = 0;

	ck_assert_int_eq(d->ops->digest(d, &hash), 0);
	return hash;
}

START_TEST(raw_file)
{
	static uint8_t content[BYTES];
	struct disk_backend *d;
	struct err err = ERR_INIT;
	uint64_t hash;

	make_image(BYTES);
	d = disk_file_open(path, false, &err);
	ck_assert_msg(d != NULL, "%s", err.text);
	ck_assert_uint_eq(d->sectors, SECTORS);
	ck_assert(!d->readonly);
	exercise(d, 1);
	hash = digest_of(d);
	disk_close(d);
	d = disk_file_open(path, true, &err);
	ck_assert_ptr_nonnull(d);
	ck_assert(d->readonly);
	ck_assert_int_eq(request(d, DISK_READ, 0, SECTORS, content), 0);
	ck_assert_mem_eq(content, model, BYTES);
	ck_assert_uint_eq(digest_of(d), hash);
	ck_assert_int_eq(request(d, DISK_FLUSH, 0, 0, NULL), 0);
	ck_assert_int_eq(request(d, DISK_WRITE, 0, 1, content), EBADF);
	disk_close(d);
	remove_image();
}
END_TEST

START_TEST(overlay)
{
	static uint8_t content[BYTES], original[BYTES];
	struct disk_backend *d, *e;
	struct err err = ERR_INIT;
	struct buf blob = BUF_INIT;
	struct rd in;

	make_image(BYTES);
	memcpy(original, model, BYTES);
	d = disk_overlay_open(path, &err);
	ck_assert_msg(d != NULL, "%s", err.text);
	ck_assert(!d->readonly);
	exercise(d, 2);
	ck_assert_int_eq(disk_overlay_export(d, &blob, &err), 0);
	/* Two machines can share the base; a stored overlay makes them equal. */
	e = disk_overlay_open(path, &err);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_ne(digest_of(d), digest_of(e));
	ck_assert_int_eq(request(e, DISK_ZERO, 0, SECTORS, NULL), 0);
	in = (struct rd)RD_INIT(blob.data, blob.len);
	ck_assert_int_eq(disk_overlay_import(e, &in, &err), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	ck_assert_uint_eq(digest_of(d), digest_of(e));
	ck_assert_int_eq(request(e, DISK_READ, 0, SECTORS, content), 0);
	ck_assert_mem_eq(content, model, BYTES);
	for (size_t n = 0; n < blob.len; n += 97) {
		in = (struct rd)RD_INIT(blob.data, n);
		ck_assert_int_lt(disk_overlay_import(e, &in, &err), 0);
	}
	disk_close(e);
	disk_close(d);
	/* The base has not changed. */
	d = disk_file_open(path, true, &err);
	ck_assert_int_eq(request(d, DISK_READ, 0, SECTORS, content), 0);
	ck_assert_mem_eq(content, original, BYTES);
	in = (struct rd)RD_INIT(blob.data, blob.len);
	ck_assert_int_eq(disk_overlay_import(d, &in, &err), -EINVAL);
	disk_close(d);
	buf_free(&blob);
	remove_image();
}
END_TEST

static int write_behind(const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = pwrite(fd, text, strlen(text), BYTES) == (ssize_t)strlen(text);

	close(fd);
	return good ? 0 : -1;
}

static bool zeros(struct disk_backend *d, uint64_t sector)
{
	uint8_t data[512];

	ck_assert_int_eq(request(d, DISK_READ, sector, 1, data), 0);
	return bytes_are_zero(data, sizeof(data));
}

START_TEST(raw_file_grows)
{
	struct disk_backend *d;
	struct err err = ERR_INIT;
	uint8_t data[512] = { 5 };
	struct stat st;

	make_image(BYTES);
	d = disk_file_open(path, false, &err);
	ck_assert_ptr_nonnull(d);
	/* Behind the end lies what somebody has put there since. */
	ck_assert_int_eq(truncate(path, BYTES + 1024), 0);
	ck_assert_int_eq(write_behind("left over"), 0);
	ck_assert_int_eq(disk_grow_image(d, SECTORS + 8), 0);
	ck_assert_uint_eq(disk_sectors(d), SECTORS);
	ck_assert_int_eq(d->ops->grow(d, SECTORS + 8), 0);
	ck_assert_uint_eq(disk_sectors(d), SECTORS + 8);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, BYTES + 8 * 512);
	ck_assert(zeros(d, SECTORS) && zeros(d, SECTORS + 7));
	ck_assert_int_eq(request(d, DISK_WRITE, SECTORS + 7, 1, data), 0);
	ck_assert(!zeros(d, SECTORS + 7) && !zeros(d, SECTORS - 1));
	disk_close(d);
	remove_image();
}
END_TEST

/* A seek backwards brings the disk back as it was, in length too; one forwards likewise. */
START_TEST(overlay_grows_and_shrinks)
{
	struct disk_backend *d;
	struct err err = ERR_INIT;
	struct buf before = BUF_INIT, after = BUF_INIT;
	uint8_t data[512] = { 5 };
	struct rd in;
	struct stat st;

	make_image(BYTES);
	d = disk_overlay_open(path, &err);
	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(disk_overlay_export(d, &before, &err), 0);
	ck_assert_int_eq(d->ops->grow(d, 5 * SECTORS + 3), 0);
	ck_assert(zeros(d, SECTORS) && zeros(d, 5 * SECTORS + 2));
	ck_assert_int_eq(request(d, DISK_WRITE, 5 * SECTORS + 2, 1, data), 0);
	ck_assert_int_eq(request(d, DISK_WRITE, SECTORS, 1, data), 0);
	ck_assert_int_eq(disk_overlay_export(d, &after, &err), 0);
	in = (struct rd)RD_INIT(before.data, before.len);
	ck_assert_int_eq(disk_overlay_load(d, &in, &err), 0);
	ck_assert_uint_eq(d->sectors, SECTORS);
	ck_assert_int_eq(d->ops->grow(d, 5 * SECTORS + 3), 0);
	ck_assert(zeros(d, SECTORS) && zeros(d, 5 * SECTORS + 2));
	in = (struct rd)RD_INIT(after.data, after.len);
	ck_assert_int_eq(disk_overlay_load(d, &in, &err), 0);
	ck_assert(!zeros(d, SECTORS) && !zeros(d, 5 * SECTORS + 2));
	ck_assert_int_eq(d->ops->grow(d, DISK_SECTORS_MAX), EFBIG);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, BYTES);
	disk_close(d);
	buf_free(&before);
	buf_free(&after);
	remove_image();
}
END_TEST

START_TEST(overlay_blob_is_small)
{
	struct disk_backend *d = disk_memory_open(1ull << 31, NULL);
	struct buf blob = BUF_INIT;
	uint8_t data[512] = { 1 };

	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(request(d, DISK_WRITE, (1ull << 31) - 1, 1, data), 0);
	ck_assert_int_eq(request(d, DISK_ZERO, 800, 8000, NULL), 0);
	ck_assert_int_eq(disk_overlay_export(d, &blob, NULL), 0);
	ck_assert_uint_lt(blob.len, 4096 + 1200);
	buf_free(&blob);
	disk_close(d);
}
END_TEST

START_TEST(bad_overlay_blobs)
{
	static const uint8_t bad[][12] = {
		{ 0, 1, 0, 0, 0, 0, 0, 0, 1, 32 << 1 | 1 },	    /* block beyond the end */
		{ 0, 1, 0, 0, 0, 0, 0, 0, 2, 3, 1 },		    /* the same block twice */
		{ 0, 1, 0, 0, 0, 0, 0, 0, 1, 2 },		    /* no data */
		{ 1, 1, 0, 0, 0, 0, 0, 0, 0 },			    /* another size */
		{ 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff }, /* count cut off */
	};
	struct disk_backend *d = disk_memory_open(256, NULL);
	struct rd in;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		in = (struct rd)RD_INIT(bad[i], sizeof(bad[i]));
		ck_assert_int_eq(disk_overlay_import(d, &in, NULL), -EINVAL);
	}
	disk_close(d);
}
END_TEST

/* Sectors 0, 1, 2 and 8 to 11 are written: the first before a flush, the others behind it. */
static struct disk_backend *open_cached(void)
{
	struct err err = ERR_INIT;
	struct disk_backend *d = disk_memory_open(SECTORS, &err);
	uint8_t data[4 * DISK_SECTOR];

	ck_assert_ptr_nonnull(d);
	memset(data, 'a', sizeof(data));
	ck_assert_int_eq(request(d, DISK_WRITE, 2, 1, data), 0);
	ck_assert_int_eq(d->ops->power(d, 0), 0);
	ck_assert_int_eq(request(d, DISK_WRITE, 0, 1, data), 0);
	ck_assert_int_eq(request(d, DISK_FLUSH, 0, 0, NULL), 0);
	memset(data, 'b', sizeof(data));
	ck_assert_int_eq(request(d, DISK_WRITE, 1, 1, data), 0);
	ck_assert_int_eq(request(d, DISK_ZERO, 2, 1, NULL), 0);
	ck_assert_int_eq(request(d, DISK_WRITE, 8, 4, data), 0);
	return d;
}

static void read_back(struct disk_backend *d, char text[13])
{
	uint8_t data[12 * DISK_SECTOR];

	ck_assert_int_eq(request(d, DISK_READ, 0, 12, data), 0);
	for (unsigned i = 0; i < 12; i++)
		text[i] = data[i * DISK_SECTOR] ? (char)data[i * DISK_SECTOR] : '.';
	text[12] = 0;
}

/* What was flushed stays; of the rest each write is there, or not, or only its beginning. */
START_TEST(power)
{
	struct err err = ERR_INIT;
	bool none = false, all = false, reordered = false, torn = false;
	char text[13], again[13];

	for (uint64_t seed = 1; seed < 400; seed++) {
		struct disk_backend *d = open_cached(), *other = disk_memory_open(SECTORS, &err);
		struct buf b = BUF_INIT;
		struct rd in;

		ck_assert_int_eq(disk_overlay_export(d, &b, &err), 0);
		disk_export_cache(d, &b);
		in = (struct rd)RD_INIT(b.data, b.len);
		ck_assert_int_eq(disk_overlay_import(other, &in, &err), 0);
		ck_assert_int_eq(disk_import_cache(other, &in, &err), 0);
		ck_assert_int_eq(d->ops->power(d, seed), 0);
		ck_assert_int_eq(other->ops->power(other, seed), 0);
		read_back(d, text);
		read_back(other, again);
		ck_assert_str_eq(text, again);
		ck_assert(text[0] == 'a' && (text[1] == 'b' || text[1] == '.'));
		ck_assert(text[2] == 'a' || text[2] == '.');
		none |= !strcmp(text, "a.a.........");
		all |= !strcmp(text, "ab......bbbb");
		reordered |= text[1] == '.' && text[2] == '.';
		torn |= text[8] == 'b' && text[11] == '.';
		buf_free(&b);
		disk_close(d);
		disk_close(other);
	}
	ck_assert(none && all && reordered && torn);
}
END_TEST

START_TEST(a_bad_cache)
{
	struct err err = ERR_INIT;
	struct disk_backend *d = open_cached();
	struct buf b = BUF_INIT;

	disk_export_cache(d, &b);
	for (size_t len = 0; len < b.len; len += len < 40 ? 1 : 397) {
		struct rd in = RD_INIT(b.data, len);

		ck_assert_int_eq(disk_import_cache(d, &in, &err), -EINVAL);
	}
	buf_free(&b);
	disk_close(d);
}
END_TEST

START_TEST(open_errors)
{
	struct err err = ERR_INIT;
	struct disk_backend *d;

	ck_assert_ptr_null(disk_file_open("/nonexistent/disk", false, &err));
	ck_assert_int_eq(err.code, ENOENT);
	ck_assert_ptr_null(disk_file_open("/tmp", true, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "not a regular file"));
	ck_assert_ptr_null(disk_file_open("/tmp", false, &err));
	ck_assert_ptr_null(disk_file_open("/dev/null", false, &err));
	ck_assert_ptr_null(disk_memory_open(0, &err));
	ck_assert_ptr_null(disk_memory_open(UINT64_MAX, &err));
	make_image(1000);
	ck_assert_ptr_null(disk_file_open(path, false, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "multiple of 512"));
	remove_image();
	make_image(0);
	ck_assert_ptr_null(disk_overlay_open(path, &err));
	remove_image();
	/* One writer, or any number of readers. */
	make_image(BYTES);
	d = disk_file_open(path, false, &err);
	ck_assert_ptr_nonnull(d);
	ck_assert_ptr_null(disk_overlay_open(path, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	disk_close(d);
	disk_close(NULL);
	remove_image();
}
END_TEST

/* An image that shrinks under the machine is an I/O error, not a crash. */
START_TEST(host_error)
{
	uint8_t data[512];
	struct disk_backend *d;

	make_image(BYTES);
	d = disk_file_open(path, false, NULL);
	ck_assert_int_eq(truncate(path, 512), 0);
	ck_assert_int_eq(request(d, DISK_READ, 0, 1, data), 0);
	ck_assert_int_eq(request(d, DISK_READ, 5, 1, data), EIO);
	disk_close(d);
	remove_image();
}
END_TEST

/* ---- metadata ---- */

/* Where the metadata finds no room, the image is as long as before, and grows less far. */
START_TEST(growth_is_taken_back)
{
	struct disk_meta_identity id = { .image_bytes = BYTES };
	int fd = memfd_create("meta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	atomic_uint_fast64_t record = 0;
	struct err err = ERR_INIT;
	struct disk_backend *d;
	struct disk_meta *m;
	struct stat st;

	make_image(BYTES);
	d = disk_file_open(path, false, &err);
	ck_assert_int_eq(disk_meta_format(fd, "meta", &id, &err), 0);
	m = disk_meta_open(fd, "meta", BYTES, disk_flush_image, d, &err);
	ck_assert(d && m);
	disk_attach_meta(d, m, &record);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	ck_assert_int_ne(d->ops->grow(d, (8ull << 30) / DISK_SECTOR), 0);
	ck_assert_uint_eq(disk_sectors(d), SECTORS);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, BYTES);
	ck_assert_int_eq(d->ops->grow(d, SECTORS + 8), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, BYTES + 8 * 512);
	disk_close(d);
	remove_image();
	close(fd);
}
END_TEST

#define LONG_SECTORS (3u * DISK_META_WRITE_MAX / DISK_SECTOR + 8)

static int read_number(struct disk_backend *d, void *ctx)
{
	return disk_raw_read(d, ctx, 4, 0);
}

START_TEST(writes_are_announced_to_the_metadata)
{
	struct disk_meta_identity id = { .image_bytes = (uint64_t)LONG_SECTORS * DISK_SECTOR,
					 .current = 1 };
	int fd = memfd_create("meta", MFD_CLOEXEC);
	atomic_uint_fast64_t record = 4;
	struct err err = ERR_INIT;
	struct disk_backend *d;
	struct disk_meta *m;
	uint32_t data[128] = { 7 }, number = 0;

	make_image(BYTES);
	ck_assert_int_eq(truncate(path, (off_t)id.image_bytes), 0);
	d = disk_file_open(path, false, &err);
	ck_assert_msg(d != NULL, "%s", err.text);
	ck_assert_int_eq(disk_meta_format(fd, "meta", &id, &err), 0);
	m = disk_meta_open(fd, "meta", id.image_bytes, disk_flush_image, d, &err);
	ck_assert_msg(m != NULL, "%s", err.text);
	disk_attach_meta(d, m, &record);

	/* Nobody has said yet what a write means: it does not happen. */
	ck_assert_int_eq(request(d, DISK_WRITE, 0, 1, data), EPERM);
	ck_assert_int_eq(disk_between(d, read_number, &number), 0);
	ck_assert_uint_eq(number, 0x01010101);

	/* The other side has executed what it has applied the record behind of. */
	ck_assert_int_eq(disk_meta_join(m, &id), 0);
	ck_assert_int_eq(request(d, DISK_WRITE, 0, 1, data), 0);
	record = 9;
	ck_assert_int_eq(request(d, DISK_WRITE, 8 * DISK_META_EXTENT / DISK_SECTOR, 1, data), 0);
	disk_meta_applied(m, 5);
	disk_meta_part(m, 2, 2);
	ck_assert_uint_eq(disk_meta_next(m, 0), 8 * DISK_META_EXTENT / DISK_META_BLOCK);
	ck_assert_uint_eq(disk_meta_count(m), 1);
	ck_assert_int_eq(disk_between(d, read_number, &number), 0);
	ck_assert_uint_eq(number, 7);

	/* One request may be longer than the metadata takes at once. */
	ck_assert_int_eq(request(d, DISK_ZERO, 0, LONG_SECTORS, NULL), 0);
	ck_assert_uint_eq(disk_meta_count(m), disk_meta_blocks(m));
	disk_close(d);
	m = disk_meta_open(fd, "meta", id.image_bytes, NULL, NULL, &err);
	ck_assert_uint_eq(disk_meta_count(m), disk_meta_blocks(m));
	disk_meta_abandon(m);
	close(fd);
	remove_image();
}
END_TEST

START_TEST(names_of_exports_and_of_files)
{
	ck_assert(disk_image_is_nbd("nbd://host/export"));
	ck_assert(disk_image_is_nbd("nbd:nbd+unix:///?socket=/x"));
	ck_assert(disk_image_is_nbd("nbd+unix:///?socket=/x"));
	ck_assert(disk_image_is_nbd("nbds://host/export"));
	ck_assert(!disk_image_is_nbd("nbds.img"));
	ck_assert(!disk_image_is_nbd("nbdstore/disk"));
	ck_assert(!disk_image_is_nbd("nbd.img"));
	ck_assert(!disk_image_is_nbd("/srv/nbd:x"));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, raw_file);
	tcase_add_test(tc, overlay);
	tcase_add_test(tc, raw_file_grows);
	tcase_add_test(tc, overlay_grows_and_shrinks);
	tcase_add_test(tc, overlay_blob_is_small);
	tcase_add_test(tc, bad_overlay_blobs);
	tcase_add_test(tc, power);
	tcase_add_test(tc, a_bad_cache);
	tcase_add_test(tc, open_errors);
	tcase_add_test(tc, host_error);
	tcase_add_test(tc, growth_is_taken_back);
	tcase_add_test(tc, writes_are_announced_to_the_metadata);
	tcase_add_test(tc, names_of_exports_and_of_files);
}

UNIT_MAIN("disk-file", add_tests)
