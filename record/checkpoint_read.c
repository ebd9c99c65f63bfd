// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "record/checkpoint_private.h"
#include "record/pages.h"

/* Allowance for the headers of blocks, in addition to the disk's size, in a disk's changes. */
#define DISK_BLOB_SLACK (1u << 20)

struct reader {
	const char *path;
	int fd;
	uint64_t offset; /* of the next byte */
	uint64_t at;	 /* of the section under way, for messages */
	uint64_t chain, sections, pages;
	uint64_t next_page; /* page numbers rise: the least one allowed */
	enum checkpoint_kind kind;
	unsigned disk;	     /* index of the disk being collected */
	bool content;	     /* its content follows, not changes */
	uint64_t next_block; /* block numbers rise as well */
	uint64_t disk_bytes; /* of its changes so far */
	ZSTD_DCtx *zstd;
	struct checkpoint_section head;
	uint8_t *stored, *raw;
	struct buf state, blob;
	struct checkpoint_info info;
	struct machine *m;		    /* NULL: verify only, or tell ... */
	const struct checkpoint_visitor *v; /* ... this one, if there is one */
	const struct checkpoint_restore_options *o;
	struct err *err;
};

#define DAMAGED(r, at, fmt, ...)                                                              \
	err_set((r)->err, EBADMSG,                                                            \
		"checkpoint '%s' is damaged at offset %" PRIu64 ": expected " fmt, (r)->path, \
		(uint64_t)(at), ##__VA_ARGS__)

static int reader_get(struct reader *r, void *data, size_t n, const char *what)
{
	uint8_t *p = data;

	while (n) {
		ssize_t got = pread(r->fd, p, n, (off_t)r->offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(r->err, errno,
				       "cannot read checkpoint '%s' at offset %" PRIu64 ": %s",
				       r->path, r->offset, strerror(errno));
		if (got == 0)
			return DAMAGED(r, r->offset, "%s, found the end of the file", what);
		p += got;
		n -= (size_t)got;
		r->offset += (uint64_t)got;
	}
	return 0;
}

/* ---- header ---- */

static bool get_name(struct rd *in, char *name, size_t size)
{
	size_t n;
	const uint8_t *p = rd_blob(in, size - 1, &n);

	if (!p || memchr(p, 0, n))
		return false;
	memcpy(name, p, n);
	name[n] = 0;
	return true;
}

static int parse_info(struct reader *r, struct rd *in)
{
	struct checkpoint_info *info = &r->info;
	struct rd config = { 0 };
	size_t n;
	const uint8_t *p = rd_blob(in, CHECKPOINT_HEADER_MAX, &n);

	if (p)
		config = (struct rd)RD_INIT(p, n);
	if (!p || machine_config_restore(&info->config, &config) < 0 || rd_left(&config))
		return DAMAGED(
			r, CHECKPOINT_PREAMBLE,
			"the configuration of a machine of version 1 to %d (revision %d of 2)",
			MACHINE_VERSIONS, MACHINE_V2_REVISION);
	if (!get_name(in, info->engine, sizeof(info->engine)) ||
	    !get_name(in, info->counter, sizeof(info->counter)))
		return DAMAGED(r, CHECKPOINT_PREAMBLE, "an engine's name");
	info->base = rd_u64(in);
	info->count = rd_u64(in);
	info->ns = rd_u64(in);
	info->record = rd_u64(in);
	if (in->bad || rd_left(in))
		return DAMAGED(r, CHECKPOINT_PREAMBLE, "a header of another length");
	return 0;
}

static int read_preamble(struct reader *r, uint8_t *preamble, uint32_t *len)
{
	uint32_t version;
	int ret = reader_get(r, preamble, CHECKPOINT_PREAMBLE, "a checkpoint's header");

	if (ret < 0)
		return ret;
	if (memcmp(preamble, CHECKPOINT_MAGIC, 8))
		return err_set(r->err, EBADMSG,
			       "'%s' is not a checkpoint: it does not start with its signature",
			       r->path);
	memcpy(&version, preamble + 8, 4);
	memcpy(len, preamble + 12, 4);
	if (version != CHECKPOINT_VERSION && version != CHECKPOINT_VERSION_PLAIN)
		return err_set(r->err, EBADMSG,
			       "checkpoint '%s' has version %u, this program reads versions %d and "
			       "%d",
			       r->path, version, CHECKPOINT_VERSION_PLAIN, CHECKPOINT_VERSION);
	r->info.contents = version == CHECKPOINT_VERSION;
	if (*len > CHECKPOINT_HEADER_MAX)
		return DAMAGED(r, 12, "a header of at most %d bytes, found %u",
			       CHECKPOINT_HEADER_MAX, *len);
	return 0;
}

static int read_header(struct reader *r)
{
	uint8_t header[CHECKPOINT_PREAMBLE + CHECKPOINT_HEADER_MAX];
	uint32_t len = 0;
	struct rd in;
	int ret = read_preamble(r, header, &len);

	if (ret == 0)
		ret = reader_get(r, header + CHECKPOINT_PREAMBLE, len, "the rest of the header");
	if (ret == 0)
		ret = reader_get(r, &r->chain, sizeof(r->chain), "the header's checksum");
	if (ret < 0)
		return ret;
	if (r->chain != XXH3_64bits(header, CHECKPOINT_PREAMBLE + len))
		return DAMAGED(r, 0, "a header that its checksum fits");
	in = (struct rd)RD_INIT(header + CHECKPOINT_PREAMBLE, len);
	return parse_info(r, &in);
}

/* ---- does it fit the machine? ---- */

static int other_machine(struct reader *r, const char *what, uint64_t theirs, uint64_t ours)
{
	return err_set(r->err, EINVAL,
		       "checkpoint '%s' is of another machine: its %s is %" PRIu64
		       ", this machine's %" PRIu64,
		       r->path, what, theirs, ours);
}

static int check_config(struct reader *r)
{
	const struct machine_config *a = &r->info.config, *b = machine_get_config(r->m);

	if (a->memory != b->memory)
		return other_machine(r, "memory in KiB", a->memory >> 10, b->memory >> 10);
	if (a->nnics != b->nnics)
		return other_machine(r, "number of NICs", a->nnics, b->nnics);
	if (a->ndisks != b->ndisks)
		return other_machine(r, "number of disks", a->ndisks, b->ndisks);
	for (unsigned i = 0; i < a->ndisks; i++) {
		if (a->disk_sectors[i] != b->disk_sectors[i])
			return other_machine(r, "disk size in sectors", a->disk_sectors[i],
					     b->disk_sectors[i]);
	}
	if (a->carried_sectors[CARRIED_CIDATA] != b->carried_sectors[CARRIED_CIDATA])
		return other_machine(r, "cloud-init's disk in sectors",
				     a->carried_sectors[CARRIED_CIDATA],
				     b->carried_sectors[CARRIED_CIDATA]);
	if (a->virtio_console != b->virtio_console)
		return other_machine(r, "number of virtio consoles", a->virtio_console,
				     b->virtio_console);
	if (a->agent != b->agent)
		return other_machine(r, "number of guest agents", a->agent, b->agent);
	if (a->rtc_epoch != b->rtc_epoch)
		return other_machine(r, "RTC epoch", a->rtc_epoch, b->rtc_epoch);
	if (machine_config_digest(a) != machine_config_digest(b))
		return err_set(r->err, EINVAL,
			       "checkpoint '%s' is of another machine: a MAC address or a disk's "
			       "write protection differs",
			       r->path);
	return 0;
}

static int check_machine(struct reader *r)
{
	const struct engine_ops *ops = machine_engine(r->m)->ops;

	if (strcmp(r->info.counter, ops->counter))
		return err_set(r->err, EINVAL,
			       "checkpoint '%s' counts '%s' (engine %s), this machine's engine %s "
			       "counts '%s'",
			       r->path, r->info.counter, r->info.engine, ops->name, ops->counter);
	if (r->info.base != r->o->base)
		return err_set(r->err, EINVAL,
			       "checkpoint '%s' holds changes to checkpoint %016" PRIx64
			       ", and the machine is in state %016" PRIx64,
			       r->path, r->info.base, r->o->base);
	return check_config(r);
}

/* ---- sections ---- */

static unsigned known_flags(const struct reader *r)
{
	return r->info.contents && r->head.kind == CHECKPOINT_DISK
		       ? CHECKPOINT_ZSTD | CHECKPOINT_CONTENT
		       : CHECKPOINT_ZSTD;
}

static int check_section(struct reader *r)
{
	const struct checkpoint_section *s = &r->head;

	if (s->magic != CHECKPOINT_SECTION)
		return DAMAGED(r, r->at, "the start of section %" PRIu64, r->sections + 1);
	if (s->chain != r->chain)
		return DAMAGED(r, r->at,
			       "the section that follows section %" PRIu64 ", found another one",
			       r->sections);
	if (s->kind < CHECKPOINT_STATE || s->kind >= CHECKPOINT_KIND_END_ || s->kind < r->kind ||
	    (s->flags & ~known_flags(r)) || (r->sections == 0 && s->kind != CHECKPOINT_STATE))
		return DAMAGED(r, r->at, "a section of kind %d to %d, found kind %u", r->kind,
			       CHECKPOINT_END, s->kind);
	if (s->raw > CHECKPOINT_RAW_MAX || s->stored > s->raw ||
	    (!(s->flags & CHECKPOINT_ZSTD) && s->stored != s->raw))
		return DAMAGED(r, r->at, "a section of at most %u bytes, found %u (%u stored)",
			       CHECKPOINT_RAW_MAX, s->raw, s->stored);
	return 0;
}

/* Reads and unpacks the next section into r->raw. */
static int read_section(struct reader *r)
{
	const struct checkpoint_section *s = &r->head;
	size_t n;
	int ret;

	r->at = r->offset;
	ret = reader_get(r, &r->head, sizeof(r->head), "a section");
	if (ret == 0)
		ret = check_section(r);
	if (ret == 0)
		ret = reader_get(r, r->stored, s->stored, "the rest of a section");
	if (ret < 0)
		return ret;
	if (s->check != checkpoint_check(s, r->stored))
		return DAMAGED(r, r->at, "a section that its checksum fits");
	r->chain = s->check;
	if (s->flags & CHECKPOINT_ZSTD) {
		n = ZSTD_decompressDCtx(r->zstd, r->raw, s->raw, r->stored, s->stored);
		if (ZSTD_isError(n) || n != s->raw)
			return DAMAGED(r, r->at, "%u compressed bytes", s->raw);
	} else {
		memcpy(r->raw, r->stored, s->raw);
	}
	return 0;
}

static int take_state(struct reader *r)
{
	if (r->state.len + r->head.raw > CHECKPOINT_STATE_MAX)
		return DAMAGED(r, r->at, "at most %u bytes of machine state", CHECKPOINT_STATE_MAX);
	buf_put(&r->state, r->raw, r->head.raw);
	return r->state.bad ? err_set(r->err, ENOMEM, "out of memory") : 0;
}

static int take_pages(struct reader *r)
{
	uint64_t limit = r->info.config.memory / PAGE_SIZE;
	struct rd in = RD_INIT(r->raw, r->head.raw);

	while (rd_left(&in)) {
		struct page page;

		if (pages_get(&in, r->next_page, limit, &page) < 0)
			return DAMAGED(r, r->at,
				       "a list of pages from %" PRIu64 " to %" PRIu64
				       " in the section",
				       r->next_page, limit);
		if (r->m)
			memory_load_page(machine_memory(r->m), page.number, page.data);
		else if (r->v && r->v->page(r->v->ctx, page.number, page.data) < 0)
			return -r->err->code;
		r->next_page = page.number + 1;
		r->pages++;
	}
	return 0;
}

/* Hands bytes of the present disk's content to the restoring callback. data NULL: zeros. */
static int put_content(struct reader *r, uint64_t offset, const uint8_t *data, uint64_t len)
{
	if (!r->m || !len)
		return 0;
	if (!r->o->disk_content)
		return err_set(r->err, EINVAL,
			       "checkpoint '%s' holds the content of disks, which cannot be put "
			       "anywhere here",
			       r->path);
	return r->o->disk_content(r->o->disk_ctx, r->disk, offset, data, len, r->err);
}

/* Fills in the blocks before this one: in a checkpoint that stands alone they are zeros. */
static int fill_content(struct reader *r, uint64_t block)
{
	uint64_t from = r->next_block * CHECKPOINT_BLOCK, to = block * CHECKPOINT_BLOCK,
		 size = r->info.config.disk_sectors[r->disk] * DISK_SECTOR;

	to = to < size ? to : size;
	return r->info.base || from >= to ? 0 : put_content(r, from, NULL, to - from);
}

static uint64_t disk_blocks(const struct reader *r)
{
	return (r->info.config.disk_sectors[r->disk] * DISK_SECTOR + CHECKPOINT_BLOCK - 1) /
	       CHECKPOINT_BLOCK;
}

static int finish_disk(struct reader *r)
{
	if (r->kind == CHECKPOINT_DISK && r->v && !r->content)
		return r->v->changes(r->v->ctx, r->disk, &r->blob);
	if (r->kind != CHECKPOINT_DISK || !r->m)
		return 0;
	if (r->content)
		return fill_content(r, disk_blocks(r));
	if (!r->o->disk_import)
		return err_set(r->err, EINVAL,
			       "checkpoint '%s' holds disk changes, which cannot be applied here",
			       r->path);
	return r->o->disk_import(r->o->disk_ctx, r->disk, r->blob.data, r->blob.len, r->err);
}

static int take_changes(struct reader *r)
{
	r->disk_bytes += r->head.raw;
	if (r->disk_bytes > r->info.config.disk_sectors[r->disk] * 513 + DISK_BLOB_SLACK)
		return DAMAGED(r, r->at, "no more changes of disk %u than it has sectors", r->disk);
	if (r->m || r->v)
		buf_put(&r->blob, r->raw, r->head.raw);
	return r->blob.bad ? err_set(r->err, ENOMEM, "out of memory") : 0;
}

static int take_content(struct reader *r)
{
	uint64_t sectors = r->info.config.disk_sectors[r->disk], end = disk_blocks(r);
	struct rd in = RD_INIT(r->raw, r->head.raw);
	int ret = 0;

	while (rd_left(&in) && ret == 0) {
		uint64_t head = rd_varint(&in), block = head >> 1;
		const uint8_t *data = NULL;
		unsigned len = 0;

		if (block >= r->next_block && block < end) {
			len = checkpoint_block_bytes(sectors, block);
			data = head & 1 ? NULL : rd_bytes(&in, len);
		}
		if (in.bad || !len)
			return DAMAGED(r, r->at,
				       "blocks of disk %u from %" PRIu64 " to %" PRIu64
				       " in the section",
				       r->disk, r->next_block, end);
		ret = r->v ? r->v->block(r->v->ctx, r->disk, block, data) : fill_content(r, block);
		if (ret == 0)
			ret = put_content(r, block * CHECKPOINT_BLOCK, data, len);
		r->next_block = block + 1;
	}
	return ret;
}

/* Handles the first section of a disk: the disks before it are complete. */
static int begin_disk(struct reader *r)
{
	int ret = finish_disk(r);

	buf_clear(&r->blob);
	r->disk = r->head.index;
	r->content = r->head.flags & CHECKPOINT_CONTENT;
	r->disk_bytes = r->next_block = 0;
	if (ret == 0 && r->v && r->content)
		ret = r->v->content(r->v->ctx, r->disk);
	return ret;
}

static int take_disk(struct reader *r)
{
	unsigned index = r->head.index;
	bool first = r->kind != CHECKPOINT_DISK, content = r->head.flags & CHECKPOINT_CONTENT;
	int ret = 0;

	if (index >= r->info.config.ndisks || (!first && (index < r->disk || index > r->disk + 1)))
		return DAMAGED(r, r->at, "the changes of disk %u, found disk %u",
			       first ? 0 : r->disk, index);
	if (first || index != r->disk)
		ret = begin_disk(r);
	else if (content != r->content)
		return DAMAGED(r, r->at, "%s of disk %u, found the other",
			       r->content ? "content" : "changes", index);
	if (ret < 0)
		return ret;
	return content ? take_content(r) : take_changes(r);
}

static int take_end(struct reader *r)
{
	struct rd in = RD_INIT(r->raw, r->head.raw);
	uint64_t pages = rd_u64(&in), sections = rd_u64(&in);
	uint8_t byte;
	int ret = finish_disk(r);

	if (ret < 0)
		return ret;
	if (in.bad || rd_left(&in) || pages != r->pages || sections != r->sections)
		return DAMAGED(r, r->at, "the end of %" PRIu64 " sections with %" PRIu64 " pages",
			       r->sections, r->pages);
	if (pread(r->fd, &byte, 1, (off_t)r->offset) != 0)
		return DAMAGED(r, r->offset, "the end of the file, found more");
	return 0;
}

/* The state is complete. */
static int tell_state(struct reader *r)
{
	bool now = r->v && r->kind == CHECKPOINT_STATE && r->head.kind != CHECKPOINT_STATE;

	return now ? r->v->state(r->v->ctx, &r->info, &r->state) : 0;
}

static int read_sections(struct reader *r)
{
	static int (*const take[CHECKPOINT_KIND_END_])(struct reader * r) = {
		[CHECKPOINT_STATE] = take_state,
		[CHECKPOINT_PAGES] = take_pages,
		[CHECKPOINT_DISK] = take_disk,
		[CHECKPOINT_END] = take_end,
	};
	int ret = 0;

	while (ret == 0 && r->kind != CHECKPOINT_END) {
		ret = read_section(r);
		if (ret == 0)
			ret = tell_state(r);
		if (ret == 0)
			ret = take[r->head.kind](r);
		r->kind = r->head.kind;
		r->sections++;
	}
	return ret;
}

/* ---- whole files ---- */

/*
 * Called when memory is complete: tells the engine, begins an epoch without dirty pages, and then
 * restores the state, which may read memory.
 */
static int restore_state(struct reader *r)
{
	struct rd in = RD_INIT(r->state.data, r->state.len);
	int ret;

	memory_load_end(machine_memory(r->m));
	ret = machine_restore(r->m, &in, r->err);
	if (ret < 0)
		return err_prefix(r->err, "checkpoint '%s'", r->path);
	if (machine_engine(r->m)->ops->count(machine_engine(r->m)) != r->info.count ||
	    machine_now(r->m) != r->info.ns)
		return DAMAGED(r, CHECKPOINT_PREAMBLE, "the count and time of the machine state");
	if (machine_config_digest(machine_get_config(r->m)) !=
	    machine_config_digest(&r->info.config))
		return DAMAGED(r, CHECKPOINT_PREAMBLE,
			       "the sizes of disks that the machine state has");
	return 0;
}

static int reader_init(struct reader *r)
{
	r->zstd = ZSTD_createDCtx();
	r->stored = malloc(CHECKPOINT_RAW_MAX);
	r->raw = malloc(CHECKPOINT_RAW_MAX);
	return r->zstd && r->stored && r->raw ? 0 : err_set(r->err, ENOMEM, "out of memory");
}

static void reader_fini(struct reader *r)
{
	ZSTD_freeDCtx(r->zstd);
	free(r->stored);
	free(r->raw);
	buf_free(&r->state);
	buf_free(&r->blob);
}

int checkpoint_restore_fd(int fd, const char *path, struct machine *m,
			  const struct checkpoint_restore_options *o, struct checkpoint_info *info,
			  struct err *err)
{
	struct reader r = { .path = path, .fd = fd, .m = m, .o = o, .err = err };
	int ret = reader_init(&r);

	if (ret == 0)
		ret = read_header(&r);
	if (ret == 0 && m)
		ret = check_machine(&r);
	if (ret == 0 && m && !r.info.base)
		ret = memory_clear(machine_memory(m), err);
	if (ret == 0)
		ret = read_sections(&r);
	if (ret == 0 && m && !o->below)
		ret = restore_state(&r);
	r.info.id = r.chain;
	r.info.pages = r.pages;
	r.info.bytes = r.offset;
	if (ret == 0 && info)
		*info = r.info;
	reader_fini(&r);
	return ret;
}

int checkpoint_visit_fd(int fd, const char *path, const struct checkpoint_visitor *v,
			struct checkpoint_info *info, struct err *err)
{
	struct reader r = { .path = path, .fd = fd, .v = v, .err = err };
	int ret = reader_init(&r);

	if (ret == 0)
		ret = read_header(&r);
	if (ret == 0)
		ret = read_sections(&r);
	r.info.id = r.chain;
	r.info.pages = r.pages;
	r.info.bytes = r.offset;
	if (ret == 0 && info)
		*info = r.info;
	reader_fini(&r);
	return ret;
}

/* Only regular files are checkpoints; O_NONBLOCK keeps open() from waiting on a pipe. */
int checkpoint_open(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_set(err, errno, "cannot open checkpoint '%s': %s", path,
			       strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(err, EINVAL, "'%s' is not a checkpoint: it is no regular file", path);
}

int checkpoint_read_info_fd(int fd, const char *path, struct checkpoint_info *info, struct err *err)
{
	struct reader r = { .path = path, .fd = fd, .err = err };
	int ret = read_header(&r);

	*info = r.info;
	return ret;
}
