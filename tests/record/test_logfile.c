// SPDX-License-Identifier: GPL-2.0-or-later
// Log files that are whole, and all the ways in which one may not be.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "hypervisor/devices/disk.h"
#include "record/codec.h"
#include "record/logstream.h"
#include "tests/fuzz/log_forge.h"
#include "tests/record/log_frames.h"
#include "tests/unit.h"

#define FRAMES_MAX 64

static char dir[64], path[128];
static struct err err;
static struct buf whole; /* a good log */
static struct log_mark place[FRAMES_MAX];
static uint64_t frame_hash[FRAMES_MAX];
static size_t nframes; /* with the index */

static void put_batch(struct log_writer *w, uint64_t *seq, unsigned records)
{
	struct codec c = { 0 };
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < records; i++) {
		struct input in = { .kind = INPUT_CONSOLE,
				    .data = (const uint8_t *)"typed typed typed",
				    .len = *seq % 17 };
		struct sync_point sp = { .seq = ++*seq,
					 .at = { .count = *seq * 1000, .rip = *seq },
					 .input = &in,
					 .n = *seq % 2 };

		codec_put(&c, &b, &sp, 0, NULL);
	}
	ck_assert_msg(log_writer_frame(w, LOG_RECORDS, *seq * 1000, b.data, b.len, &err) == 0, "%s",
		      err.text);
	buf_free(&b);
}

static void slurp(void)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	ck_assert(fd >= 0 && fstat(fd, &st) == 0);
	buf_clear(&whole);
	ck_assert_int_eq(read(fd, buf_grow(&whole, (size_t)st.st_size), (size_t)st.st_size),
			 st.st_size);
	close(fd);
}

static void header_of(struct log_header *h)
{
	*h = (struct log_header){
		.engine = "soft", .counter = "retired", .append = "quiet", .rate = CLOCK_RATE_ONE
	};
	machine_config_defaults(&h->config);
	h->config.memory = MEMORY_MIN;
	h->kernel = (struct log_file_ref){ .path = "/boot/vmlinuz", .digest = 99 };
}

static struct log_reader *open_bytes(const void *data, size_t n, int *fd)
{
	struct log_reader *r;
	char name[32];

	err = (struct err)ERR_INIT;
	log_forge_open(data, n, fd, name);
	r = log_reader_open(name, &err);
	ck_assert((r != NULL) != (err.code != 0));
	return r;
}

static uint64_t hash_frame(const struct log_frame *f)
{
	return XXH3_64bits_withSeed(f->raw, f->raw_len, f->seq * 16 + f->kind);
}

/* Where the good log's frames are. */
static void survey(void)
{
	struct log_frame f;
	int fd, ret;
	struct log_reader *r = open_bytes(whole.data, whole.len, &fd);

	ck_assert_msg(r != NULL, "%s", err.text);
	for (nframes = 0;; nframes++) {
		log_reader_here(r, &place[nframes]);
		ret = log_reader_next(r, &f, &err);
		ck_assert_msg(ret >= 0, "%s", err.text);
		if (!ret)
			break;
		frame_hash[nframes] = hash_frame(&f);
	}
	ck_assert_ptr_null(log_reader_cut(r));
	log_reader_close(r);
	close(fd);
	nframes++; /* the index */
}

static void setup(void)
{
	struct log_header h;
	struct log_writer *w;
	uint64_t seq = 0;

	strcpy(dir, "/tmp/twinstep-logfile-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	header_of(&h);
	w = log_writer_open(path, &h, false, &err);
	ck_assert_msg(w != NULL, "%s", err.text);
	put_batch(w, &seq, 20);
	put_checkpoint(w, seq);
	put_batch(w, &seq, 30);
	put_batch(w, &seq, 10);
	put_checkpoint(w, seq);
	put_batch(w, &seq, 5);
	put_end(w, seq);
	ck_assert_int_eq(log_writer_close(w, true, &err), 0);
	slurp();
	survey();
}

static void teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
	buf_free(&whole);
}

enum reading { READ_WHOLE, READ_CUT, READ_BAD };

/* Reads a log to its end; every frame that comes out must be one of the good log's, in order. */
static enum reading read_bytes(const void *data, size_t n, size_t *frames)
{
	enum reading result = READ_WHOLE;
	struct log_frame f;
	struct log_reader *r;
	int fd, ret = 0;

	*frames = 0;
	r = open_bytes(data, n, &fd);
	if (!r)
		result = READ_BAD;
	while (r && (ret = log_reader_next(r, &f, &err)) > 0) {
		ck_assert_uint_lt(*frames, nframes - 1);
		ck_assert_uint_eq(hash_frame(&f), frame_hash[*frames]);
		++*frames;
	}
	if (ret < 0)
		result = READ_BAD;
	else if (r && log_reader_cut(r))
		result = READ_CUT;
	if (result == READ_BAD)
		ck_assert(err.code == EBADMSG && err.text[0] && !strchr(err.text, '\n'));
	log_reader_close(r);
	close(fd);
	return result;
}

START_TEST(a_whole_log_is_read)
{
	struct log_reader *r;
	size_t frames;
	int fd;

	ck_assert_int_eq(read_bytes(whole.data, whole.len, &frames), READ_WHOLE);
	ck_assert_uint_eq(frames, 9);
	r = open_bytes(whole.data, whole.len, &fd);
	ck_assert_str_eq(log_reader_header(r)->append, "quiet");
	ck_assert_str_eq(log_reader_header(r)->kernel.path, "/boot/vmlinuz");
	ck_assert_uint_eq(log_reader_header(r)->kernel.digest, 99);
	ck_assert_uint_eq(log_reader_header(r)->ninitrd, 0);
	log_reader_close(r);
	close(fd);
}
END_TEST

START_TEST(records_come_out_of_frames)
{
	const struct codec_record *rec;
	struct logstream s;
	int fd;
	uint64_t n = 0;
	struct log_reader *r = open_bytes(whole.data, whole.len, &fd);

	logstream_init(&s, r);
	while (logstream_next(&s, &rec, &err) > 0) {
		n++;
		ck_assert_uint_eq(rec->sp.seq, n);
		ck_assert_uint_eq(rec->sp.at.count, n * 1000);
	}
	ck_assert_msg(!err.code, "%s", err.text);
	ck_assert_uint_eq(n, 65);
	ck_assert(s.has_end && s.end.count == 65000 && s.end.digest == 4711);
	log_reader_close(r);
	close(fd);
}
END_TEST

static size_t count_marks(const void *data, size_t n)
{
	const struct log_mark *m;
	size_t marks = 0;
	int fd;
	struct log_reader *r = open_bytes(data, n, &fd);

	ck_assert_msg(log_reader_marks(r, &m, &marks, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < marks; i++)
		ck_assert_uint_eq(m[i].record, i ? 60 : 20);
	log_reader_close(r);
	close(fd);
	return marks;
}

START_TEST(checkpoints_are_found)
{
	ck_assert_uint_eq(count_marks(whole.data, whole.len), 2);
	/*
	 * Without an index by reading through; one whose pages may not be all there does not count.
	 */
	ck_assert_uint_eq(count_marks(whole.data, whole.len - 10), 2);
	ck_assert_uint_eq(count_marks(whole.data, place[7].offset), 1);
	ck_assert_uint_eq(count_marks(whole.data, place[6].offset), 1);
	ck_assert_uint_eq(count_marks(whole.data, place[8].offset), 2);
}
END_TEST

START_TEST(truncation_at_every_byte)
{
	for (size_t n = 0; n < whole.len; n++) {
		size_t frames, want = 0;
		enum reading got = read_bytes(whole.data, n, &frames);

		while (want + 1 < nframes && place[want + 1].offset <= n)
			want++;
		if (n < place[0].offset) {
			ck_assert_int_eq(got, READ_BAD);
		} else {
			ck_assert_msg(got == READ_CUT, "cut at %zu: %s", n, err.text);
			ck_assert_uint_eq(frames, want);
		}
	}
}
END_TEST

START_TEST(single_bits)
{
	uint64_t seed = 88172645463325252ull;

	for (unsigned i = 0; i < 10000; i++) {
		size_t bit, frames;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		bit = seed % (whole.len * 8);
		whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/*
		 * Inside the trailer's signature the log looks as if its last bytes were missing;
		 * still it says so.
		 */
		ck_assert_msg(read_bytes(whole.data, whole.len, &frames) != READ_WHOLE, "bit %zu",
			      bit);
		whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

/* A log with the good one's header and its frames in the given order (numbers from 0, -1 ends). */
static struct buf rearrange(const int *order)
{
	struct buf b = BUF_INIT;

	buf_put(&b, whole.data, place[0].offset);
	for (; *order >= 0; order++) {
		size_t from = place[*order].offset;
		size_t to = *order + 1 < (int)nframes ? place[*order + 1].offset : whole.len;

		buf_put(&b, whole.data + from, to - from);
	}
	return b;
}

static void expect_damage(const int *order, size_t frames_before)
{
	struct buf b = rearrange(order);
	size_t frames;

	ck_assert_int_eq(read_bytes(b.data, b.len, &frames), READ_BAD);
	ck_assert_uint_eq(frames, frames_before);
	buf_free(&b);
}

START_TEST(frames_doubled_swapped_missing)
{
	expect_damage((const int[]){ 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1 }, 1);
	expect_damage((const int[]){ 0, 1, 2, 4, 3, 5, 6, 7, 8, 9, -1 }, 3);
	expect_damage((const int[]){ 0, 1, 2, 3, 5, 6, 7, 8, 9, -1 }, 4);
	expect_damage((const int[]){ 1, 2, 3, 4, 5, 6, 7, 8, 9, -1 }, 0);
	expect_damage((const int[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, -1 }, 9);
	expect_damage((const int[]){ 0, 1, 2, 3, 4, 5, 6, 7, 9, -1 }, 8);
}
END_TEST

/* A frame with the right number and its own checksum right, but of another log. */
START_TEST(a_frame_of_another_log)
{
	struct log_frame_header h;
	size_t frames, at = place[3].offset, n = place[4].offset - at;
	uint8_t *saved = malloc(n);

	memcpy(saved, whole.data + at, n);
	memcpy(&h, saved, sizeof(h));
	h.chain ^= 1;
	h.check = log_frame_check(&h, saved + sizeof(h));
	memcpy(whole.data + at, &h, sizeof(h));
	ck_assert_int_eq(read_bytes(whole.data, whole.len, &frames), READ_BAD);
	ck_assert_uint_eq(frames, 3);
	ck_assert_ptr_nonnull(strstr(err.text, "does not follow"));
	free(saved);
}
END_TEST

START_TEST(other_versions)
{
	size_t frames;

	whole.data[8]++;
	ck_assert_int_eq(read_bytes(whole.data, whole.len, &frames), READ_BAD);
	ck_assert_ptr_nonnull(strstr(err.text, "format version"));
	whole.data[8]--;
	whole.data[0]++;
	ck_assert_int_eq(read_bytes(whole.data, whole.len, &frames), READ_BAD);
	ck_assert_ptr_nonnull(strstr(err.text, "not a Twinstep log"));
}
END_TEST

/* Behind right checksums. */
static void expect_refused(struct log_forge *f, const char *word)
{
	size_t frames;

	ck_assert_int_eq(read_bytes(f->file.data, f->file.len, &frames), READ_BAD);
	ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
	buf_free(&f->file);
}

/* Traits are the last field, which version 3 does not have. */
static void cut_traits(const struct log_header *h, struct buf *body)
{
	struct buf traits = BUF_INIT;

	traits_save(&h->traits, &traits);
	body->len -= traits.len;
	buf_free(&traits);
}

/* The header's body in the layout of version 2: a module has no text of its own there. */
static void save_old(const struct log_header *h, struct buf *body)
{
	size_t n = strlen(h->initrd[0].text) + 1; /* with its length */
	uint8_t *at;

	log_header_save(h, body);
	cut_traits(h, body);
	at = memmem(body->data, body->len, h->initrd[0].text, n - 1);
	ck_assert_ptr_nonnull(at);
	memmove(at - 1, at + n - 1, body->len - (size_t)(at + n - 1 - body->data));
	body->len -= n;
}

static void expect_modules(uint32_t version, const struct buf *body, unsigned n, const char *text)
{
	struct rd in = RD_INIT(body->data, body->len);
	struct log_header got;

	ck_assert_msg(log_header_restore(&got, version, &in, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(got.ninitrd, n);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_str_eq(got.initrd[i].file.path, "/boot/module");
		ck_assert_uint_eq(got.initrd[i].file.digest, 7);
		ck_assert_str_eq(got.initrd[i].text, text);
	}
	log_header_free(&got);
}

/* The content of cloud-init's disk stands in the header, as long as the configuration says. */
START_TEST(disk_of_cloud_init)
{
	static uint8_t content[2 * DISK_SECTOR];
	struct buf body = BUF_INIT;
	struct log_header h, got;
	struct rd in;

	memset(content, 0xc5, sizeof(content));
	header_of(&h);
	h.config.carried_sectors[CARRIED_CIDATA] = 2;
	h.carried[CARRIED_CIDATA] = content;
	log_header_save(&h, &body);
	in = (struct rd)RD_INIT(body.data, body.len);
	ck_assert_msg(log_header_restore(&got, LOG_VERSION, &in, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(got.config.carried_sectors[CARRIED_CIDATA], 2);
	ck_assert_mem_eq(got.carried[CARRIED_CIDATA], content, sizeof(content));
	log_header_free(&got);
	ck_assert_ptr_null(got.carried[CARRIED_CIDATA]);
	for (size_t n = 0; n < body.len; n++) { /* cut anywhere */
		in = (struct rd)RD_INIT(body.data, n);
		ck_assert_int_lt(log_header_restore(&got, LOG_VERSION, &in, &err), 0);
	}
	h.config.carried_sectors[CARRIED_CIDATA] = 1;
	buf_clear(&body);
	log_header_save(&h, &body);
	cut_traits(&h, &body);
	body.data[body.len - 7 * 8 - DISK_SECTOR - 2] ^= 1; /* longer than the configuration says */
	in = (struct rd)RD_INIT(body.data, body.len);
	ck_assert_int_lt(log_header_restore(&got, LOG_VERSION_3, &in, &err), 0);
	buf_free(&body);
}
END_TEST

START_TEST(modules_of_both_versions)
{
	static char file[] = "/boot/module", text[] = "some words";
	struct buf body = BUF_INIT;
	struct log_header h;
	struct rd in;

	header_of(&h);
	for (h.ninitrd = 0; h.ninitrd < BOOT_MODULES; h.ninitrd++)
		h.initrd[h.ninitrd] =
			(struct log_module){ .file = { .path = file, .digest = 7 }, .text = text };
	log_header_save(&h, &body);
	expect_modules(LOG_VERSION, &body, BOOT_MODULES, text);
	in = (struct rd)RD_INIT(body.data, body.len);
	ck_assert_int_eq(log_header_restore(&(struct log_header){ 0 }, LOG_VERSION_OLD, &in, &err),
			 -EINVAL);
	buf_free(&body);
	h.ninitrd = 1;
	body = (struct buf)BUF_INIT;
	save_old(&h, &body);
	expect_modules(LOG_VERSION_OLD, &body, 1, file);
	buf_free(&body);
}
END_TEST

static void restored(const struct log_header *h, uint32_t version, struct traits *t)
{
	struct buf body = BUF_INIT;
	struct log_header got;
	struct rd in;

	log_header_save(h, &body);
	if (version == LOG_VERSION_3)
		cut_traits(h, &body);
	in = (struct rd)RD_INIT(body.data, body.len);
	ck_assert_msg(log_header_restore(&got, version, &in, &err) == 0, "%s", err.text);
	*t = got.traits;
	log_header_free(&got);
	buf_free(&body);
}

/* Logs say what executed; of old ones the software CPU is known, and no processor. */
START_TEST(traits_of_the_recorder)
{
	struct traits t, soft;
	struct log_header h;
	char differs[TRAITS_TEXT];

	header_of(&h);
	traits_of_soft(h.config.version, &soft);
	h.traits = (struct traits){ .host = "GenuineIntel\n 1", .n = 2, .number = { 5, 6 } };
	restored(&h, LOG_VERSION, &t);
	ck_assert_str_eq(t.host, "GenuineIntel? 1");
	ck_assert_uint_eq(t.n, 2);
	ck_assert_uint_eq(t.number[1], 6);
	ck_assert(traits_differ(&t, &soft, differs, sizeof(differs)));
	ck_assert_str_eq(differs, "flags, bit-scans");
	strcpy(h.engine, "soft:exits");
	restored(&h, LOG_VERSION_3, &t);
	ck_assert(t.n == soft.n && !traits_differ(&t, &soft, differs, sizeof(differs)));
	strcpy(h.engine, "vmx:exits");
	restored(&h, LOG_VERSION_3, &t);
	ck_assert_uint_eq(t.n, 0);
	ck_assert(!traits_differ(&t, &soft, differs, sizeof(differs)));
}
END_TEST

START_TEST(forged_frames)
{
	static const uint8_t zeros[100];
	struct log_forge head = { 0 }, f;
	struct log_header h;
	struct buf body = BUF_INIT;

	header_of(&h);
	log_header_save(&h, &body);
	for (unsigned i = 0; i < 5; i++) {
		f = head;
		log_forge_header(&f, LOG_VERSION, &body);
		if (i == 0) {
			log_forge_frame(&f, LOG_KIND_END_, 0, 100, zeros, 100);
			expect_refused(&f, "header is damaged");
		} else if (i == 1) {
			log_forge_frame(&f, LOG_RECORDS, 0, 101, zeros, 100);
			expect_refused(&f, "lengths");
		} else if (i == 2) {
			log_forge_frame(&f, LOG_RECORDS, LOG_FRAME_ZSTD, 1000, zeros, 100);
			expect_refused(&f, "decompress");
		} else if (i == 3) {
			log_forge_frame(&f, LOG_INDEX, 0, 100, zeros, 100);
			expect_refused(&f, "no end before it");
		} else {
			log_forge_frame(&f, LOG_RECORDS, LOG_FRAME_ZSTD, LOG_FRAME_MAX + 1, zeros,
					100);
			expect_refused(&f, "header is damaged");
		}
	}
	buf_free(&body);
}
END_TEST

START_TEST(an_existing_file_is_kept)
{
	struct log_header h;

	header_of(&h);
	ck_assert_ptr_null(log_writer_open(path, &h, false, &err));
	ck_assert_int_eq(err.code, EEXIST);
	ck_assert_ptr_nonnull(strstr(err.text, "--force"));
}
END_TEST

/* A FIFO, or a log that somebody else writes: neither is emptied or removed. */
START_TEST(what_is_in_use_is_kept)
{
	char fifo[sizeof(path) + 8];
	struct log_writer *w;
	struct log_header h;
	struct stat before, after;
	bool created;

	header_of(&h);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_ptr_null(log_writer_open(fifo, &h, true, &err));
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_int_eq(stat(fifo, &before), 0);
	ck_assert(S_ISFIFO(before.st_mode));
	unlink(fifo);
	w = log_writer_open(path, &h, true, &err);
	ck_assert_msg(w != NULL, "%s", err.text);
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(log_file_create(path, true, &created, &err), -EBUSY);
	ck_assert(!created);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq(log_writer_close(w, true, &err), 0);
	w = log_writer_open(path, &h, true, &err);
	ck_assert_msg(w != NULL, "%s", err.text);
	ck_assert_int_eq(log_writer_close(w, true, &err), 0);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_whole_log_is_read);
	tcase_add_test(tc, records_come_out_of_frames);
	tcase_add_test(tc, checkpoints_are_found);
	tcase_add_test(tc, truncation_at_every_byte);
	tcase_add_test(tc, single_bits);
	tcase_add_test(tc, frames_doubled_swapped_missing);
	tcase_add_test(tc, a_frame_of_another_log);
	tcase_add_test(tc, other_versions);
	tcase_add_test(tc, modules_of_both_versions);
	tcase_add_test(tc, disk_of_cloud_init);
	tcase_add_test(tc, traits_of_the_recorder);
	tcase_add_test(tc, forged_frames);
	tcase_add_test(tc, an_existing_file_is_kept);
	tcase_add_test(tc, what_is_in_use_is_kept);
}

UNIT_MAIN("logfile", add)
