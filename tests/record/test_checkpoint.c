// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "hypervisor/devices/disk.h"
#include "record/checkpoint_diff.h"
#include "tests/boot_sector.h"
#include "tests/fuzz/checkpoint_forge.h"
#include "tests/unit.h"

#define RAM (2ul << 20)

static char dir[64], path[128];
static struct err err;

static void setup(void)
{
	strcpy(dir, "/tmp/twinstep-checkpoint-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left behind */
}

/*
 * Real mode at 0:7c00: counts in memory at 0x2000 and walks through memory with a step of 0x1234
 * bytes.
 */
static const uint8_t program[] = {
	0x66, 0x31, 0xdb,			  /* xor ebx, ebx */
	0xff, 0x06, 0x00, 0x20,			  /* next: inc word [0x2000] */
	0x66, 0x81, 0xc3, 0x34, 0x12, 0x00, 0x00, /* add ebx, 0x1234 */
	0x88, 0x87, 0x00, 0x40,			  /* mov [bx + 0x4000], al */
	0xfe, 0xc0,				  /* inc al */
	0xeb, 0xed,				  /* jmp next */
};

static struct machine *make(uint64_t memory)
{
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.memory = memory;
	m = machine_create(&c, &soft_engine_ops, NULL, &(struct output_sink){ 0 }, &err);
	ck_assert_msg(m != NULL, "%s", err.text);
	return m;
}

static struct machine *start(void)
{
	struct machine *m = make(RAM);

	boot_sector_load(m, program, sizeof(program));
	ck_assert(memory_write(machine_memory(m), RAM - 5, "end", 3));
	return m;
}

/* Runs to a count and takes a sync point with flush and digest there. */
struct stop {
	uint64_t count, digest;
	bool reached;
};

static void stop_until(void *ctx, struct machine *m, struct landmark *until)
{
	*until = (struct landmark){ .count = ((struct stop *)ctx)->count };
}

static enum sync_verdict stop_next(void *ctx, struct machine *m, enum sync_reason why,
				   const struct landmark *at, struct sync_point *sp)
{
	static const struct input input[] = { { .kind = INPUT_FLUSH_TLB },
					      { .kind = INPUT_DIGEST } };
	struct stop *s = ctx;

	if (at->count < s->count)
		return SYNC_AGAIN;
	if (s->reached)
		return SYNC_END;
	s->reached = true;
	*sp = (struct sync_point){ .seq = 1, .at = *at, .input = input, .n = 2 };
	return SYNC_APPLY;
}

static bool stop_applied(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	((struct stop *)ctx)->digest = digest;
	return true;
}

static uint64_t run_to(struct machine *m, uint64_t count)
{
	struct stop s = { .count = count };
	struct input_source source = {
		.ctx = &s, .until = stop_until, .next = stop_next, .applied = stop_applied
	};

	ck_assert_int_eq(machine_run(m, &source, &err), MACHINE_ENDED);
	ck_assert_uint_ne(s.digest, 0);
	return s.digest;
}

/* ---- files by their paths ---- */

static int write_path(const char *file, struct machine *m, const struct checkpoint_write_options *o,
		      struct checkpoint_info *info, struct err *e)
{
	char *tmp;
	int fd = checkpoint_file_create(file, o->force, &tmp, e), ret;

	if (fd < 0)
		return fd;
	ret = checkpoint_write_fd(fd, file, m, o, info, e);
	close(fd);
	if (ret == 0)
		return checkpoint_file_publish(file, tmp, o->force, e);
	checkpoint_file_drop(tmp);
	return ret;
}

static int info_path(const char *file, struct checkpoint_info *info, struct err *e)
{
	int fd = checkpoint_open(file, e), ret;

	if (fd < 0)
		return fd;
	ret = checkpoint_read_info_fd(fd, file, info, e);
	close(fd);
	return ret;
}

static int read_path(const char *file, struct machine *m,
		     const struct checkpoint_restore_options *o, struct checkpoint_info *info,
		     struct err *e)
{
	int fd = checkpoint_open(file, e), ret;

	if (fd < 0)
		return fd;
	ret = checkpoint_restore_fd(fd, file, m, o, info, e);
	close(fd);
	return ret;
}

static int verify_path(const char *file, struct checkpoint_info *info, struct err *e)
{
	return read_path(file, NULL, NULL, info, e);
}

static int restore_path(const char *file, struct machine *m,
			const struct checkpoint_restore_options *o, struct checkpoint_info *info,
			struct err *e)
{
	return read_path(file, m, o, info, e);
}

static void write_file(struct machine *m, const struct checkpoint_write_options *o,
		       struct checkpoint_info *info)
{
	ck_assert_msg(write_path(path, m, o, info, &err) == 0, "%s", err.text);
}

static struct buf slurp(void)
{
	struct buf b = BUF_INIT;
	struct stat st;
	int fd = open(path, O_RDONLY);

	ck_assert(fd >= 0 && fstat(fd, &st) == 0);
	ck_assert_int_eq(read(fd, buf_grow(&b, (size_t)st.st_size), (size_t)st.st_size),
			 st.st_size);
	close(fd);
	return b;
}

static int verify_bytes(const void *data, size_t n)
{
	int fd = forge_fd(data, n), ret;

	err = (struct err)ERR_INIT;
	ret = checkpoint_restore_fd(fd, "file", NULL, NULL, NULL, &err);
	close(fd);
	return ret;
}

START_TEST(restored_machine_continues_exactly)
{
	struct machine *m = start(), *n = make(RAM);
	struct checkpoint_write_options o = { .record = 77 };
	struct checkpoint_restore_options ro = { 0 };
	struct checkpoint_info w, r, v;
	uint64_t digest;

	run_to(m, 50000);
	write_file(m, &o, &w);
	ck_assert_uint_eq(w.count, 50000);
	digest = run_to(m, 123457);
	ck_assert_int_eq(info_path(path, &r, &err), 0);
	ck_assert_uint_eq(r.config.memory, RAM);
	ck_assert_uint_eq(r.record, 77);
	ck_assert_int_eq(verify_path(path, &v, &err), 0);
	ck_assert(memory_write(machine_memory(n), 0x100000, "old", 3)); /* must not survive */
	ck_assert_msg(restore_path(path, n, &ro, &r, &err) == 0, "%s", err.text);
	ck_assert(r.id == w.id && v.id == w.id && r.pages == w.pages && r.bytes == w.bytes);
	ck_assert(machine_memory(n)->base[0x100000] == 0);
	ck_assert_str_eq((char *)machine_memory(n)->base + RAM - 5, "end");
	ck_assert_uint_eq(run_to(n, 123457), digest);
	ck_assert_mem_eq(machine_memory(n)->base, machine_memory(m)->base, RAM);
	machine_destroy(m);
	machine_destroy(n);
}
END_TEST

START_TEST(changes_on_top_of_a_full_one)
{
	struct machine *m = start(), *n = make(RAM);
	struct checkpoint_write_options o = { 0 };
	struct checkpoint_restore_options ro = { 0 };
	struct checkpoint_info full, part;
	uint8_t changed[RAM / PAGE_SIZE] = { 0 };
	char first[160];
	uint64_t digest;

	run_to(m, 100);
	write_file(m, &o, &full);
	snprintf(first, sizeof(first), "%s.first", path);
	ck_assert_int_eq(rename(path, first), 0);
	memset(changed, 1, 0x20);
	ck_assert(memory_zero(machine_memory(m), RAM - 5, 3)); /* a page that becomes zero */
	changed[RAM / PAGE_SIZE - 1] = 1;
	run_to(m, 200);
	o.changed = changed;
	o.base = full.id;
	write_file(m, &o, &part);
	ck_assert_uint_eq(part.pages, 0x21);
	digest = run_to(m, 3000);
	ck_assert_int_eq(restore_path(path, n, &ro, NULL, &err), -EINVAL); /* alone it is nothing */
	ck_assert_int_eq(restore_path(first, n, &ro, NULL, &err), 0);
	ro.base = full.id;
	ck_assert_int_eq(restore_path(first, n, &ro, NULL, &err), -EINVAL);
	ck_assert_msg(restore_path(path, n, &ro, NULL, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(machine_memory(n)->base[RAM - 5], 0);
	ck_assert_uint_eq(run_to(n, 3000), digest);
	unlink(first);
	machine_destroy(m);
	machine_destroy(n);
}
END_TEST

static uint8_t disk_seen[3 << 20];
static size_t disk_len[2];

static int disk_export(void *ctx, unsigned i, struct buf *out, struct err *e)
{
	uint8_t *p = i ? NULL : buf_grow(out, sizeof(disk_seen));

	for (size_t k = 0; p && k < sizeof(disk_seen); k++)
		p[k] = (uint8_t)(k * k >> 7);
	return 0;
}

static int disk_import(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *e)
{
	disk_len[i] = len + 1;
	if (len)
		memcpy(disk_seen, data, len);
	return 0;
}

static void none_close(struct disk_backend *d)
{
}

START_TEST(disk_changes)
{
	static const struct disk_backend_ops ops = { .name = "none", .close = none_close };
	struct disk_backend d[2] = { { &ops, 8192, false }, { &ops, 8, false } };
	struct disk_backend *const list[2] = { &d[0], &d[1] };
	struct machine_config c;
	struct checkpoint_write_options o = { .disk_export = disk_export };
	struct checkpoint_restore_options ro = { 0 };
	struct machine *m;
	struct buf want = BUF_INIT;

	machine_config_defaults(&c);
	c.memory = RAM;
	c.ndisks = 2;
	c.disk_sectors[0] = 8192;
	c.disk_sectors[1] = 8;
	m = machine_create(&c, &soft_engine_ops, list, &(struct output_sink){ 0 }, &err);
	ck_assert_ptr_nonnull(m);
	machine_digest(m);
	write_file(m, &o, NULL);
	ck_assert_int_eq(restore_path(path, m, &ro, NULL, &err), -EINVAL);
	ro.disk_import = disk_import;
	ck_assert_msg(restore_path(path, m, &ro, NULL, &err) == 0, "%s", err.text);
	disk_export(NULL, 0, &want, NULL);
	ck_assert_uint_eq(disk_len[0], sizeof(disk_seen) + 1);
	ck_assert_uint_eq(disk_len[1], 1);
	ck_assert_mem_eq(disk_seen, want.data, want.len);
	buf_free(&want);
	machine_destroy(m);
}
END_TEST

#define BLOCKS	3u /* of the first disk; the last one is short */
#define SECTORS (2u * CHECKPOINT_BLOCK / 512 + 3)

static uint8_t image[2][SECTORS * 512];
static uint64_t image_at[2];

/* Bytes come in order, and none is left out: in a checkpoint of changes those between may be. */
static int disk_content(void *ctx, unsigned i, uint64_t offset, const uint8_t *data, uint64_t len,
			struct err *e)
{
	ck_assert(*(const bool *)ctx ? offset >= image_at[i] : offset == image_at[i]);
	ck_assert_uint_le(offset + len, sizeof(image[i]));
	if (data)
		memcpy(image[i] + offset, data, len);
	else
		memset(image[i] + offset, 0, len);
	image_at[i] = offset + len;
	return 0;
}

/* block[i]: the first byte of the first disk's block i, 0: a block of zeros, -1: not written. */
static void write_parts(struct machine *m, const char *file, uint64_t base, bool pages,
			const int block[BLOCKS], struct checkpoint_info *info)
{
	const struct memory *mem = machine_memory(m);
	struct checkpoint_info d = checkpoint_describe(m, 7, base);
	struct buf state = BUF_INIT;
	static uint8_t data[CHECKPOINT_BLOCK];
	struct checkpoint_out *w;
	char *tmp;
	int fd = checkpoint_file_create(file, true, &tmp, &err);

	d.contents = true;
	machine_save(m, &state);
	w = checkpoint_out_begin(fd, file, &d, &state, &err);
	ck_assert_ptr_nonnull(w);
	for (uint64_t i = 0; pages && i < mem->pages; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;

		if (!memory_page_is_zero(page))
			ck_assert_int_eq(checkpoint_out_page(w, i, page), 0);
	}
	ck_assert_int_eq(checkpoint_out_content(w, 0), 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		data[0] = (uint8_t)block[i];
		if (block[i] >= 0)
			ck_assert_int_eq(checkpoint_out_block(w, i, block[i] ? data : NULL), 0);
	}
	ck_assert_int_eq(checkpoint_out_content(w, 1), 0);
	ck_assert_int_eq(checkpoint_out_end(w, info), 0);
	ck_assert_int_eq(checkpoint_out_sync(w), 0);
	checkpoint_out_free(w);
	buf_free(&state);
	close(fd);
	ck_assert_int_eq(checkpoint_file_publish(file, tmp, true, &err), 0);
}

static void write_content(struct machine *m, uint64_t base, const int block[BLOCKS],
			  struct checkpoint_info *info)
{
	write_parts(m, path, base, false, block, info);
}

static void write_pages(struct machine *m, const char *file, const int block[BLOCKS],
			struct checkpoint_info *info)
{
	write_parts(m, file, 0, true, block, info);
}

static struct machine *with_disks(void)
{
	static const struct disk_backend_ops ops = { .name = "none", .close = none_close };
	static struct disk_backend d[2] = { { &ops, SECTORS, false }, { &ops, 8, false } };
	struct disk_backend *const list[2] = { &d[0], &d[1] };
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.memory = RAM;
	c.ndisks = 2;
	c.disk_sectors[0] = SECTORS;
	c.disk_sectors[1] = 8;
	m = machine_create(&c, &soft_engine_ops, list, &(struct output_sink){ 0 }, &err);
	ck_assert_ptr_nonnull(m);
	machine_digest(m);
	return m;
}

/* All of a disk comes back, what is zero as well; changes leave the rest as it is. */
START_TEST(contents_of_disks)
{
	struct checkpoint_restore_options o = { 0 };
	struct checkpoint_info full, changes;
	struct machine *m = with_disks();
	bool some = false;

	write_content(m, 0, (int[]){ -1, 5, 6 }, &full);
	ck_assert_int_eq(restore_path(path, m, &o, NULL, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "content of disks"));
	o.disk_content = disk_content;
	o.disk_ctx = &some;
	memset(image, 0xff, sizeof(image));
	image_at[0] = image_at[1] = 0;
	ck_assert_msg(restore_path(path, m, &o, NULL, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(image_at[0], SECTORS * 512);
	ck_assert_uint_eq(image_at[1], 8 * 512);
	ck_assert(!image[0][0] && image[0][CHECKPOINT_BLOCK] == 5);
	ck_assert(image[0][2 * CHECKPOINT_BLOCK] == 6 && !image[0][SECTORS * 512 - 1]);
	ck_assert(!image[1][0] && !image[1][8 * 512 - 1] && image[1][8 * 512] == 0xff);

	write_content(m, full.id, (int[]){ 9, -1, 0 }, &changes);
	ck_assert_uint_lt(changes.bytes, full.bytes + 1000);
	some = true;
	o.base = full.id;
	image_at[0] = image_at[1] = 0;
	ck_assert_msg(restore_path(path, m, &o, NULL, &err) == 0, "%s", err.text);
	ck_assert(image[0][0] == 9 && image[0][CHECKPOINT_BLOCK] == 5);
	ck_assert(!image[0][2 * CHECKPOINT_BLOCK]);
	ck_assert_msg(verify_path(path, NULL, &err) == 0, "%s", err.text);
	machine_destroy(m);
}
END_TEST

static uint64_t visits;

static int see_state(void *ctx, const struct checkpoint_info *info, const struct buf *state)
{
	ck_assert_uint_gt(state->len, 0);
	return 0;
}

static int see_page(void *ctx, uint64_t number, const uint8_t *data)
{
	visits++;
	return 0;
}

static int see_changes(void *ctx, unsigned disk, const struct buf *changes)
{
	return 0;
}

static int see_content(void *ctx, unsigned disk)
{
	return 0;
}

static int see_block(void *ctx, unsigned disk, uint64_t block, const uint8_t *data)
{
	visits += 1000;
	return 0;
}

static int diff_paths(const char *below, const char *from, const char *to,
		      struct checkpoint_info *info)
{
	struct checkpoint_file a = { checkpoint_open(below, &err), below },
			       b = { checkpoint_open(from, &err), from }, c = { .name = to };
	char *tmp;
	int ret;

	c.fd = checkpoint_file_create(to, true, &tmp, &err);
	ck_assert(a.fd >= 0 && b.fd >= 0 && c.fd >= 0);
	ret = checkpoint_diff(&a, &b, &c, info, &err);
	close(a.fd);
	close(b.fd);
	close(c.fd);
	if (ret == 0)
		return checkpoint_file_publish(to, tmp, true, &err);
	checkpoint_file_drop(tmp);
	return ret;
}

/* What differs, and what has become zero; restored on top of the one below it is the other one. */
START_TEST(changes_of_two)
{
	static const struct checkpoint_visitor v = { NULL,	  see_state,   see_page,
						     see_changes, see_content, see_block };
	struct machine *m = with_disks();
	struct memory *mem = machine_memory(m);
	struct checkpoint_restore_options o = { .disk_content = disk_content, .below = true };
	struct checkpoint_info below, from, changes;
	char first[160], second[160];
	bool some = true;
	int fd;

	snprintf(first, sizeof(first), "%s.first", path);
	snprintf(second, sizeof(second), "%s.second", path);
	mem->base[5 * PAGE_SIZE] = 1;
	mem->base[6 * PAGE_SIZE] = 2;
	mem->base[7 * PAGE_SIZE] = 3;
	write_pages(m, first, (int[]){ 4, 5, -1 }, &below);
	mem->base[6 * PAGE_SIZE] = 0;
	mem->base[7 * PAGE_SIZE] = 9;
	mem->base[9 * PAGE_SIZE] = 8;
	write_pages(m, second, (int[]){ 4, 6, 7 }, &from);
	ck_assert_msg(diff_paths(first, second, path, &changes) == 0, "%s", err.text);
	ck_assert_uint_eq(changes.base, below.id);
	ck_assert_uint_eq(changes.pages, 3);
	fd = checkpoint_open(path, &err);
	visits = 0;
	ck_assert_msg(checkpoint_visit_fd(fd, path, &v, NULL, &err) == 0, "%s", err.text);
	close(fd);
	ck_assert_uint_eq(visits, 2003);

	o.disk_ctx = &some;
	memset(image, 0xff, sizeof(image));
	image_at[0] = image_at[1] = 0;
	ck_assert_msg(restore_path(first, m, &o, NULL, &err) == 0, "%s", err.text);
	ck_assert(mem->base[5 * PAGE_SIZE] == 1 && mem->base[6 * PAGE_SIZE] == 2 &&
		  mem->base[7 * PAGE_SIZE] == 3);
	o.base = below.id;
	o.below = false;
	image_at[0] = image_at[1] = 0;
	ck_assert_msg(restore_path(path, m, &o, NULL, &err) == 0, "%s", err.text);
	ck_assert(mem->base[5 * PAGE_SIZE] == 1 && mem->base[6 * PAGE_SIZE] == 0 &&
		  mem->base[7 * PAGE_SIZE] == 9 && mem->base[9 * PAGE_SIZE] == 8);
	ck_assert(image[0][0] == 4 && image[0][CHECKPOINT_BLOCK] == 6 &&
		  image[0][2 * CHECKPOINT_BLOCK] == 7);

	ck_assert_int_eq(diff_paths(path, second, "/tmp/none", NULL), -EINVAL);
	ck_assert_int_eq(diff_paths(first, path, "/tmp/none", NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "holds changes only"));
	unlink(first);
	unlink(second);
	machine_destroy(m);
}
END_TEST

/* Another machine's, and one that is cut off: refused. */
START_TEST(changes_of_strangers)
{
	struct machine *m = with_disks(), *other = start();
	struct checkpoint_write_options o = { .force = true };
	struct checkpoint_info info;
	char first[160];

	snprintf(first, sizeof(first), "%s.first", path);
	write_pages(m, first, (int[]){ 4, 5, -1 }, &info);
	run_to(other, 10);
	write_file(other, &o, NULL);
	ck_assert_int_eq(diff_paths(path, first, "/tmp/none", NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "is of another machine"));
	ck_assert_int_eq(truncate(first, (off_t)info.bytes - 1), 0);
	ck_assert_int_eq(diff_paths(first, path, "/tmp/none", NULL), -EBADMSG);
	unlink(first);
	machine_destroy(other);
	machine_destroy(m);
}
END_TEST

START_TEST(never_over_another_file)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { 0 };
	struct checkpoint_info a, b;

	ck_assert_int_eq(write_path(path, m, &o, NULL, &err), -EBUSY); /* no digest taken */
	run_to(m, 10);
	write_file(m, &o, &a);
	ck_assert_int_eq(write_path(path, m, &o, NULL, &err), -EEXIST);
	run_to(m, 20);
	o.force = true;
	write_file(m, &o, &b);
	ck_assert_uint_ne(a.id, b.id);
	ck_assert_int_eq(write_path(dir, m, &o, NULL, &err), -EINVAL);
	ck_assert_int_eq(write_path("/proc/none/x", m, &o, NULL, &err), -ENOENT);
	machine_destroy(m);
}
END_TEST

/* The write that does not fit fails; neither the file nor a part of it stays. */
START_TEST(full_disk_leaves_nothing)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { 0 };
	struct rlimit limit = { 600, RLIM_INFINITY };

	run_to(m, 2000);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(write_path(path, m, &o, NULL, &err), -EFBIG);
	ck_assert_ptr_nonnull(strstr(err.text, "offset"));
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	machine_destroy(m);
}
END_TEST

START_TEST(no_checkpoints)
{
	struct checkpoint_info info;

	ck_assert_int_eq(verify_path(path, &info, &err), -ENOENT);
	ck_assert_int_eq(verify_path(dir, &info, &err), -EINVAL);
	ck_assert_int_eq(verify_path("/dev/zero", &info, &err), -EINVAL);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(verify_path(path, &info, &err), -EINVAL); /* does not wait for a writer */
	ck_assert_int_eq(verify_bytes("TWINLOG\n________________", 24), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "not a checkpoint"));
	ck_assert_int_eq(verify_bytes("", 0), -EBADMSG);
}
END_TEST

START_TEST(truncation_at_every_byte)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { 0 };
	struct buf b;

	run_to(m, 2000);
	write_file(m, &o, NULL);
	b = slurp();
	ck_assert_int_eq(verify_bytes(b.data, b.len), 0);
	for (size_t n = 0; n < b.len; n++) {
		ck_assert_int_eq(verify_bytes(b.data, n), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(err.text, "end of the file"));
	}
	buf_put_u8(&b, 0);
	ck_assert_int_eq(verify_bytes(b.data, b.len), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "found more"));
	buf_free(&b);
	machine_destroy(m);
}
END_TEST

/* Under a sanitizer one bit of each byte at least. */
START_TEST(every_bit_flip_is_found)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { 0 };
	struct buf b;

	run_to(m, 2000);
	write_file(m, &o, NULL);
	b = slurp();
	for (size_t bit = 0; bit < b.len * 8; bit += unit_share()) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_msg(verify_bytes(b.data, b.len) == -EBADMSG, "bit %zu", bit);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_int_eq(verify_bytes(b.data, b.len), 0);
	buf_free(&b);
	machine_destroy(m);
}
END_TEST

START_TEST(sections_swapped_doubled_missing)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { 0 };
	struct checkpoint_section s;
	struct buf b, cut = BUF_INIT;
	uint32_t body;
	size_t at, next;

	run_to(m, 2000);
	write_file(m, &o, NULL);
	b = slurp();
	memcpy(&body, b.data + 12, 4);
	for (at = CHECKPOINT_PREAMBLE + body + 8; at < b.len; at = next) {
		memcpy(&s, b.data + at, sizeof(s));
		next = at + sizeof(s) + s.stored;
		buf_clear(&cut); /* without it */
		buf_put(&cut, b.data, at);
		buf_put(&cut, b.data + next, b.len - next);
		ck_assert_int_eq(verify_bytes(cut.data, cut.len), -EBADMSG);
		buf_clear(&cut); /* twice */
		buf_put(&cut, b.data, next);
		buf_put(&cut, b.data + at, b.len - at);
		ck_assert_int_eq(verify_bytes(cut.data, cut.len), -EBADMSG);
	}
	buf_free(&b);
	buf_free(&cut);
	machine_destroy(m);
}
END_TEST

/* The first section of one checkpoint, the rest of another one of the same machine. */
START_TEST(sections_of_two_checkpoints)
{
	struct machine *m = start();
	struct checkpoint_write_options o = { .force = true };
	struct checkpoint_section s;
	struct buf a, b;
	uint32_t body;
	size_t at, end_a, end_b;

	run_to(m, 2000);
	write_file(m, &o, NULL);
	a = slurp();
	run_to(m, 2002); /* the same pages */
	write_file(m, &o, NULL);
	b = slurp();
	memcpy(&body, a.data + 12, 4);
	at = CHECKPOINT_PREAMBLE + body + 8;
	memcpy(&s, a.data + at, sizeof(s));
	end_a = at + sizeof(s) + s.stored;
	memcpy(&s, b.data + at, sizeof(s));
	end_b = at + sizeof(s) + s.stored;
	a.len = end_a;
	buf_put(&a, b.data + end_b, b.len - end_b);
	ck_assert_int_eq(verify_bytes(a.data, a.len), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "follows section 1"));
	buf_free(&a);
	buf_free(&b);
	machine_destroy(m);
}
END_TEST

START_TEST(another_version)
{
	struct machine_config c;
	struct buf body = BUF_INIT;
	struct forge f = { 0 };

	machine_config_defaults(&c);
	forge_body(&body, &c, "retired", 0);
	forge_header(&f, CHECKPOINT_VERSION + 1, &body);
	ck_assert_int_eq(verify_bytes(f.file.data, f.file.len), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "versions 2 and 3"));
	buf_free(&f.file);
	buf_free(&body);
}
END_TEST

static void check_other(const struct machine_config *c, const char *counter, const char *says)
{
	struct checkpoint_restore_options ro = { 0 };
	struct machine *m = make(RAM);
	struct buf body = BUF_INIT;
	struct forge f = { 0 };
	int fd;

	forge_body(&body, c, counter, 0);
	forge_header(&f, CHECKPOINT_VERSION, &body);
	fd = forge_fd(f.file.data, f.file.len);
	ck_assert_int_eq(checkpoint_restore_fd(fd, "file", m, &ro, NULL, &err), -EINVAL);
	ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
	close(fd);
	buf_free(&f.file);
	buf_free(&body);
	machine_destroy(m);
}

START_TEST(another_machine)
{
	struct machine_config same, c;

	machine_config_defaults(&same);
	same.memory = RAM;
	c = same;
	c.memory = 2 * RAM;
	check_other(&c, "retired", "memory in KiB is 4096, this machine's 2048");
	c = same;
	c.nnics = 1;
	check_other(&c, "retired", "number of NICs");
	c = same;
	c.ndisks = 1;
	check_other(&c, "retired", "number of disks");
	c = same;
	c.virtio_console = !c.virtio_console;
	check_other(&c, "retired", "virtio console");
	c = same;
	c.agent = true;
	check_other(&c, "retired", "number of guest agents is 1, this machine's 0");
	c = same;
	c.rtc_epoch++;
	check_other(&c, "retired", "RTC epoch");
	check_other(&same, "exits", "counts 'exits'");
}
END_TEST

/* Behind right checksums: each list of sections is refused for the reason given. */
static void check_forged(void (*fill)(struct forge *f), const char *says)
{
	struct machine_config c;
	struct buf body = BUF_INIT;
	struct forge f = { 0 };

	machine_config_defaults(&c);
	c.memory = RAM;
	c.ndisks = 2;
	c.disk_sectors[0] = c.disk_sectors[1] = 8;
	forge_body(&body, &c, "retired", 0);
	forge_header(&f, CHECKPOINT_VERSION, &body);
	fill(&f);
	ck_assert_int_eq(verify_bytes(f.file.data, f.file.len), -EBADMSG);
	ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
	buf_free(&f.file);
	buf_free(&body);
}

static void put_pages(struct forge *f, const uint64_t *head, size_t n)
{
	struct buf b = BUF_INIT;

	forge_section(f, CHECKPOINT_STATE, 0, 0, 0, "", 0);
	for (size_t i = 0; i < n; i++)
		buf_put_varint(&b, head[i]);
	forge_section(f, CHECKPOINT_PAGES, 0, 0, (uint32_t)b.len, b.data, b.len);
	buf_free(&b);
}

static void page_outside(struct forge *f)
{
	put_pages(f, (uint64_t[]){ RAM / PAGE_SIZE << 1 | 1 }, 1);
}

static void page_twice(struct forge *f)
{
	put_pages(f, (uint64_t[]){ 5 << 1 | 1, 5 << 1 | 1 }, 2);
}

static void page_short(struct forge *f)
{
	put_pages(f, (uint64_t[]){ 5 << 1 }, 1);
}

static void wrong_totals(struct forge *f)
{
	static const uint8_t totals[16] = { 3, 0, 0, 0, 0, 0, 0, 0, 2 };

	put_pages(f, (uint64_t[]){ 5 << 1 | 1, 6 << 1 | 1 }, 2);
	forge_section(f, CHECKPOINT_END, 0, 0, 16, totals, 16);
}

static void pages_before_state(struct forge *f)
{
	forge_section(f, CHECKPOINT_PAGES, 0, 0, 0, "", 0);
}

static void state_after_pages(struct forge *f)
{
	put_pages(f, NULL, 0);
	forge_section(f, CHECKPOINT_STATE, 0, 0, 0, "", 0);
}

static void section_too_long(struct forge *f)
{
	forge_section(f, CHECKPOINT_STATE, CHECKPOINT_ZSTD, 0, CHECKPOINT_RAW_MAX + 1, "", 0);
}

static void disk_that_is_not(struct forge *f)
{
	put_pages(f, NULL, 0);
	forge_section(f, CHECKPOINT_DISK, 0, 2, 0, "", 0);
}

/* A small file that says it holds far more than a disk of 8 sectors. */
static void disk_bomb(struct forge *f)
{
	static uint8_t zero[CHECKPOINT_CHUNK], packed[4096];
	size_t n = ZSTD_compress(packed, sizeof(packed), zero, sizeof(zero), 1);

	put_pages(f, NULL, 0);
	for (unsigned i = 0; i < 3; i++)
		forge_section(f, CHECKPOINT_DISK, CHECKPOINT_ZSTD, 0, sizeof(zero), packed, n);
}

/* Blocks of a disk of 8 sectors. */
static void put_content(struct forge *f, const uint64_t *head, size_t n)
{
	struct buf b = BUF_INIT;

	put_pages(f, NULL, 0);
	for (size_t i = 0; i < n; i++)
		buf_put_varint(&b, head[i]);
	forge_section(f, CHECKPOINT_DISK, CHECKPOINT_CONTENT, 0, (uint32_t)b.len, b.data, b.len);
	buf_free(&b);
}

static void block_outside(struct forge *f)
{
	put_content(f, (uint64_t[]){ 1 << 1 | 1 }, 1);
}

static void block_twice(struct forge *f)
{
	put_content(f, (uint64_t[]){ 1, 1 }, 2);
}

static void block_short(struct forge *f)
{
	put_content(f, (uint64_t[]){ 0 }, 1);
}

static void content_and_changes(struct forge *f)
{
	put_content(f, NULL, 0);
	forge_section(f, CHECKPOINT_DISK, 0, 0, 0, "", 0);
}

static void content_of_pages(struct forge *f)
{
	forge_section(f, CHECKPOINT_STATE, 0, 0, 0, "", 0);
	forge_section(f, CHECKPOINT_PAGES, CHECKPOINT_CONTENT, 0, 0, "", 0);
}

static void bad_compression(struct forge *f)
{
	forge_section(f, CHECKPOINT_STATE, CHECKPOINT_ZSTD, 0, 100, "no frame", 8);
}

START_TEST(nonsense_behind_right_checksums)
{
	check_forged(page_outside, "a list of pages from 0 to 512");
	check_forged(page_twice, "a list of pages from 6 to 512");
	check_forged(page_short, "a list of pages");
	check_forged(wrong_totals, "the end of 2 sections with 2 pages");
	check_forged(pages_before_state, "a section of kind");
	check_forged(state_after_pages, "a section of kind 2 to 4, found kind 1");
	check_forged(section_too_long, "a section of at most");
	check_forged(disk_that_is_not, "found disk 2");
	check_forged(disk_bomb, "no more changes of disk 0");
	check_forged(block_outside, "blocks of disk 0 from 0 to 1");
	check_forged(block_twice, "blocks of disk 0 from 1 to 1");
	check_forged(block_short, "blocks of disk 0 from 0 to 1");
	check_forged(content_and_changes, "content of disk 0, found the other");
	check_forged(content_of_pages, "a section of kind");
	check_forged(bad_compression, "100 compressed bytes");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, restored_machine_continues_exactly);
	tcase_add_test(tc, changes_on_top_of_a_full_one);
	tcase_add_test(tc, disk_changes);
	tcase_add_test(tc, contents_of_disks);
	tcase_add_test(tc, changes_of_two);
	tcase_add_test(tc, changes_of_strangers);
	tcase_add_test(tc, never_over_another_file);
	tcase_add_test(tc, full_disk_leaves_nothing);
	tcase_add_test(tc, no_checkpoints);
	tcase_add_test(tc, truncation_at_every_byte);
	tcase_add_test(tc, every_bit_flip_is_found);
	tcase_add_test(tc, sections_swapped_doubled_missing);
	tcase_add_test(tc, sections_of_two_checkpoints);
	tcase_add_test(tc, another_version);
	tcase_add_test(tc, another_machine);
	tcase_add_test(tc, nonsense_behind_right_checksums);
}

UNIT_MAIN("checkpoint", add_tests)
