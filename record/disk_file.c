// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Jobs wait in a queue in the order in which they were started. A thread that finds the queue idle
 * executes its first job: the worker thread, or the thread that waits in finish(). So waiting needs
 * no switch to another thread if the worker has not begun. Only one job executes at a time, which
 * makes the order exact.
 */
#include "record/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file_io.h"
#include "base/log.h"
#include "base/thread.h"
#include "record/disk_cache.h"
#include "record/disk_copy.h"
#include "record/disk_image.h"

#define BLOCK	      4096u /* granule of the overlay */
#define BLOCK_SECTORS (BLOCK / DISK_SECTOR)
#define CHUNK	      (1u << 20) /* bytes hashed or zeroed at a time */
/* Size limit of an overlay: a damaged log must not make a bitmap that fills the host's memory. */
#define OVERLAY_SECTORS_MAX (1ull << 34)

struct job {
	struct job *next;
	uint64_t id;
	unsigned op; /* enum disk_op, or JOB_BETWEEN, JOB_KEEP */
	uint64_t sector;
	uint32_t sectors;
	uint8_t *data;
	struct cached_write *cached;		      /* of a write to a disk with a cache */
	int (*fn)(struct disk_backend *d, void *ctx); /* JOB_BETWEEN */
	void *ctx;
	uint64_t announced; /* bytes of a write that the metadata was told of */
	int error;
	bool done;
	bool alone; /* no thread waits for it */
};

/* A job that is no request of the guest's, with a number that none of those has. */
#define JOB_BETWEEN    DISK_OPS
#define JOB_KEEP       (DISK_OPS + 1)
#define JOB_OPS	       (DISK_OPS + 2)
#define JOB_BETWEEN_ID (1ull << 62)

struct disk {
	struct disk_backend backend; /* first */
	struct disk_image *image;    /* NULL: zeros */
	int overlay;	  /* memfd with the changed blocks, as sparse as they are; -1: none */
	uint8_t *changed; /* one bit a block */
	struct disk_cache *cache;	    /* of a disk whose power may fail; NULL: none */
	struct disk_meta *meta;		    /* NULL: none is kept */
	const atomic_uint_fast64_t *record; /* with it: last record made or applied */
	struct disk_copy
		*copy;	     /* keeps what is overwritten, NULL: nobody does; for job_execute() */
	unsigned copy_index; /* which of its disks this one is */
	uint64_t betweens;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool asked_thread, has_thread, stop, busy;
	struct job *todo, **todo_end; /* not begun */
	struct job *done;	      /* executed or executing, until finish() */
};

/* --- overlay --- */

static bool block_changed(const struct disk *d, uint64_t block)
{
	return d->changed[block / 8] >> (block % 8) & 1;
}

static void block_set_changed(struct disk *d, uint64_t block)
{
	d->changed[block / 8] |= (uint8_t)(1u << (block % 8));
}

static uint64_t blocks_of(uint64_t sectors)
{
	return (sectors + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
}

static uint64_t disk_blocks(const struct disk *d)
{
	return blocks_of(d->backend.sectors);
}

/* Reads from the image. A disk that has grown is longer than its image; zeros follow it. */
static int base_read(const struct disk *d, uint8_t *data, uint64_t len, uint64_t offset)
{
	uint64_t end = d->image ? d->image->bytes : 0, has = offset < end ? end - offset : 0;
	int error;

	has = has < len ? has : len;
	error = has ? d->image->ops->read(d->image, data, has, offset) : 0;
	if (!error)
		memset(data + has, 0, len - has);
	return error;
}

/* Reads runs of blocks that lie on the same side. */
static int overlay_read(const struct disk *d, uint8_t *data, uint64_t len, uint64_t offset)
{
	while (len) {
		uint64_t block = offset / BLOCK, end = (block + 1) * BLOCK, part;
		bool changed = block_changed(d, block);
		int error;

		while (end < offset + len && block_changed(d, end / BLOCK) == changed)
			end += BLOCK;
		part = end - offset < len ? end - offset : len;
		error = changed ? file_read_at(d->overlay, data, part, offset)
				: base_read(d, data, part, offset);
		if (error)
			return error;
		data += part;
		len -= part;
		offset += part;
	}
	return 0;
}

/*
 * Brings a block that will be changed in part into the overlay. The image may end inside the last
 * block.
 */
static int overlay_adopt(struct disk *d, uint64_t block)
{
	uint8_t data[BLOCK] = { 0 };
	uint64_t left = d->backend.sectors * DISK_SECTOR - block * BLOCK;
	int error;

	if (block_changed(d, block))
		return 0;
	error = base_read(d, data, left < BLOCK ? left : BLOCK, block * BLOCK);
	if (!error)
		error = file_write_at(d->overlay, data, BLOCK, block * BLOCK);
	if (!error)
		block_set_changed(d, block);
	return error;
}

/* Writes data, or zeros when data is NULL. */
static int overlay_write(struct disk *d, const uint8_t *data, uint64_t len, uint64_t offset)
{
	uint64_t first = offset / BLOCK, last = (offset + len - 1) / BLOCK;
	int error = 0;

	if (len == 0)
		return 0;
	if (offset % BLOCK)
		error = overlay_adopt(d, first);
	if (!error && (offset + len) % BLOCK)
		error = overlay_adopt(d, last);
	if (!error)
		error = data ? file_write_at(d->overlay, data, len, offset)
			     : file_zero_at(d->overlay, len, offset);
	for (uint64_t b = first; !error && b <= last; b++)
		block_set_changed(d, b);
	return error;
}

/* --- jobs --- */

static int disk_read(const struct disk *d, uint8_t *data, uint64_t len, uint64_t offset)
{
	return d->overlay >= 0 ? overlay_read(d, data, len, offset)
			       : d->image->ops->read(d->image, data, len, offset);
}

static int job_read(struct disk *d, struct job *j)
{
	return disk_read(d, j->data, (uint64_t)j->sectors * DISK_SECTOR, j->sector * DISK_SECTOR);
}

/* Tells the metadata of a write, in pieces that are not too long for it. */
static int job_announce(struct disk *d, struct job *j)
{
	uint64_t len = (uint64_t)j->sectors * DISK_SECTOR, offset = j->sector * DISK_SECTOR;

	while (d->meta && j->announced < len) {
		uint64_t left = len - j->announced;
		uint64_t part = left < DISK_META_WRITE_MAX ? left : DISK_META_WRITE_MAX;
		int error = disk_meta_write(d->meta, offset + j->announced, part);

		if (error)
			return error;
		j->announced += part;
	}
	return 0;
}

/*
 * Tells the metadata that a write has completed for the guest: what the guest does after it comes
 * after the next record.
 */
static void job_finished(struct disk *d, const struct job *j)
{
	uint64_t offset = j->sector * DISK_SECTOR;

	for (uint64_t done = 0; done < j->announced;) {
		uint64_t left = j->announced - done;
		uint64_t part = left < DISK_META_WRITE_MAX ? left : DISK_META_WRITE_MAX;

		disk_meta_finished(d->meta, offset + done, part, atomic_load(d->record) + 1);
		done += part;
	}
}

static void keep_copy(struct disk *d, uint64_t offset, uint64_t len)
{
	if (d->copy)
		disk_copy_before_write(d->copy, d->copy_index, offset, len);
}

/* Writes through the cache, which gets the content from before the write; data NULL: zeros. */
static int cache_write(struct disk *d, struct job *j, const uint8_t *data)
{
	uint64_t len = (uint64_t)j->sectors * DISK_SECTOR, offset = j->sector * DISK_SECTOR;
	int error = disk_read(d, disk_cache_before(j->cached), len, offset);

	if (error)
		return error;
	disk_cache_add(d->cache, j->cached, offset, data);
	j->cached = NULL;
	return 0;
}

static int job_write(struct disk *d, struct job *j)
{
	uint64_t len = (uint64_t)j->sectors * DISK_SECTOR, offset = j->sector * DISK_SECTOR;
	int error = job_announce(d, j);

	if (!error && j->cached)
		error = cache_write(d, j, j->data);
	if (error)
		return error;
	keep_copy(d, offset, len);
	return d->overlay >= 0 ? overlay_write(d, j->data, len, offset)
			       : d->image->ops->write(d->image, j->data, len, offset);
}

static int job_zero(struct disk *d, struct job *j)
{
	uint64_t len = (uint64_t)j->sectors * DISK_SECTOR, offset = j->sector * DISK_SECTOR;
	int error = job_announce(d, j);

	if (!error && j->cached)
		error = cache_write(d, j, NULL);
	if (error)
		return error;
	keep_copy(d, offset, len);
	return d->overlay >= 0 ? overlay_write(d, NULL, len, offset)
			       : d->image->ops->zero(d->image, len, offset);
}

/* Keeps content for a copy from this job on, or not any more (copy NULL). */
static int job_keep(struct disk *d, struct job *j)
{
	d->copy = j->ctx;
	d->copy_index = (unsigned)j->sector;
	return 0;
}

static int job_flush(struct disk *d, struct job *j)
{
	if (d->cache)
		disk_cache_flush(d->cache);
	return d->overlay >= 0 || d->backend.readonly ? 0 : d->image->ops->flush(d->image);
}

static int job_between(struct disk *d, struct job *j)
{
	return j->fn(&d->backend, j->ctx);
}

static int (*const job_execute[JOB_OPS])(struct disk *d, struct job *j) = {
	[DISK_READ] = job_read, [DISK_WRITE] = job_write,    [DISK_FLUSH] = job_flush,
	[DISK_ZERO] = job_zero, [JOB_BETWEEN] = job_between, [JOB_KEEP] = job_keep,
};

/* Frees one of the done jobs. With the lock held. */
static void job_forget(struct disk *d, struct job *j)
{
	struct job **at = &d->done;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	free(j);
}

/* Executes the first job. With the lock held and !busy. */
static void disk_step(struct disk *d)
{
	struct job *j = d->todo;

	d->todo = j->next;
	if (!d->todo)
		d->todo_end = &d->todo;
	j->next = d->done;
	d->done = j;
	d->busy = true;
	pthread_mutex_unlock(&d->lock);
	j->error = job_execute[j->op](d, j);
	pthread_mutex_lock(&d->lock);
	j->done = true;
	d->busy = false;
	if (j->alone)
		job_forget(d, j);
	pthread_cond_broadcast(&d->wake);
}

static void *disk_thread(void *arg)
{
	struct disk *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stop) {
		if (d->todo && !d->busy)
			disk_step(d);
		else
			pthread_cond_wait(&d->wake, &d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/*
 * Starts the disk's thread. This is done with the first job, so that opening a disk starts no
 * thread (isolation/jail.h). Without a thread the jobs are executed in finish().
 */
static void disk_run(struct disk *d)
{
	d->asked_thread = true;
	d->has_thread = !thread_start(&d->thread, THREAD_DISK, disk_thread, d);
}

/* Puts a job at the end of the queue. */
static void job_queue(struct disk *d, const struct job *job)
{
	struct job *j = malloc(sizeof(*j));

	must(j != NULL);
	*j = *job;
	pthread_mutex_lock(&d->lock);
	if (!d->asked_thread)
		disk_run(d);
	*d->todo_end = j;
	d->todo_end = &j->next;
	pthread_cond_broadcast(&d->wake);
	pthread_mutex_unlock(&d->lock);
}

static void disk_start(struct disk_backend *backend, uint64_t id, enum disk_op op, uint64_t sector,
		       uint32_t sectors, void *data)
{
	struct disk *d = (struct disk *)backend;
	struct job j = { .id = id, .op = op, .sector = sector, .sectors = sectors, .data = data };

	must(op < DISK_OPS && !(id & JOB_BETWEEN_ID));
	if (d->cache && sectors && (op == DISK_WRITE || op == DISK_ZERO)) {
		j.cached = disk_cache_write_new((uint64_t)sectors * DISK_SECTOR, op == DISK_ZERO);
		must(j.cached != NULL);
	}
	job_queue(d, &j);
}

/* Waits until everything that was started is done. With the lock held. */
static void disk_drain(struct disk *d)
{
	while (d->todo || d->busy) {
		if (!d->busy)
			disk_step(d);
		else
			pthread_cond_wait(&d->wake, &d->lock);
	}
}

/* The link that holds job id, which must have begun, or NULL. */
static struct job **job_find(struct disk *d, uint64_t id)
{
	struct job **j = &d->done;

	while (*j && (*j)->id != id)
		j = &(*j)->next;
	return *j ? j : NULL;
}

/*
 * Waits for job id and forgets it; executes jobs meanwhile where `steps`, or where there is no
 * other thread.
 */
static int job_wait(struct disk *d, uint64_t id, bool steps)
{
	struct job **at, *j;
	int error;

	pthread_mutex_lock(&d->lock);
	while (!(at = job_find(d, id)) || !(*at)->done) {
		must(d->todo || d->busy);
		if (!d->busy && (steps || !d->has_thread))
			disk_step(d);
		else
			pthread_cond_wait(&d->wake, &d->lock);
	}
	j = *at;
	*at = j->next;
	pthread_mutex_unlock(&d->lock);
	if (d->meta)
		job_finished(d, j);
	error = j->error;
	free(j->cached); /* of a write that failed */
	free(j);
	return error;
}

static int disk_finish(struct disk_backend *backend, uint64_t id)
{
	const struct disk *d = (struct disk *)backend;

	return job_wait((struct disk *)backend, id, !d->image || !d->image->ops->own_thread);
}

/* Queues a job that is no request; returns its number. */
static uint64_t queue_between(struct disk *d, struct job job)
{
	pthread_mutex_lock(&d->lock);
	job.id = JOB_BETWEEN_ID + d->betweens++;
	pthread_mutex_unlock(&d->lock);
	job_queue(d, &job);
	return job.id;
}

void disk_later(struct disk_backend *backend, int (*fn)(struct disk_backend *d, void *ctx),
		void *ctx)
{
	queue_between((struct disk *)backend,
		      (struct job){ .op = JOB_BETWEEN, .fn = fn, .ctx = ctx, .alone = true });
}

int disk_between(struct disk_backend *backend, int (*fn)(struct disk_backend *d, void *ctx),
		 void *ctx)
{
	struct disk *d = (struct disk *)backend;
	uint64_t id = queue_between(d, (struct job){ .op = JOB_BETWEEN, .fn = fn, .ctx = ctx });

	/* on the disk's own thread, as the caller's may not be allowed to use images */
	return job_wait(d, id, false);
}

void disk_keep_for(struct disk_backend *backend, struct disk_copy *c, unsigned i)
{
	queue_between((struct disk *)backend,
		      (struct job){ .op = JOB_KEEP, .sector = i, .ctx = c, .alone = true });
}

void disk_keep_not(struct disk_backend *backend)
{
	struct disk *d = (struct disk *)backend;

	job_wait(d, queue_between(d, (struct job){ .op = JOB_KEEP }), false);
}

int disk_raw_read(struct disk_backend *d, void *data, uint64_t len, uint64_t offset)
{
	return disk_read((struct disk *)d, data, len, offset);
}

int disk_raw_write(struct disk_backend *backend, const void *data, uint64_t len, uint64_t offset)
{
	struct disk *d = (struct disk *)backend;

	keep_copy(d, offset, len);
	if (d->overlay >= 0)
		return overlay_write(d, data, len, offset);
	return data ? d->image->ops->write(d->image, data, len, offset)
		    : d->image->ops->zero(d->image, len, offset);
}

/* ---- power ---- */

static int power_write(void *ctx, const uint8_t *data, uint64_t len, uint64_t offset)
{
	return disk_raw_write(ctx, data, len, offset);
}

/* Called only on the thread that starts requests, which may allocate memory. */
static int disk_power(struct disk_backend *backend, uint64_t seed)
{
	struct disk *d = (struct disk *)backend;
	int error = 0;

	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	if (seed && d->cache)
		error = disk_cache_lose(d->cache, seed, power_write, backend);
	disk_cache_free(d->cache);
	d->cache = seed ? NULL : disk_cache_new();
	pthread_mutex_unlock(&d->lock);
	return error ? error : seed || d->cache ? 0 : ENOMEM;
}

void disk_export_cache(struct disk_backend *backend, struct buf *out)
{
	struct disk *d = (struct disk *)backend;

	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	disk_cache_export(d->cache, out);
	pthread_mutex_unlock(&d->lock);
}

int disk_import_cache(struct disk_backend *backend, struct rd *in, struct err *err)
{
	struct disk *d = (struct disk *)backend;
	int error;

	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	error = disk_cache_import(&d->cache, in);
	pthread_mutex_unlock(&d->lock);
	return error ? err_set(err, error, "cannot restore a disk's cache: %s", strerror(error))
		     : 0;
}

int disk_flush_image(void *ctx)
{
	struct disk *d = ctx;

	return d->image ? d->image->ops->flush(d->image) : 0;
}

void disk_attach_meta(struct disk_backend *backend, struct disk_meta *m,
		      const atomic_uint_fast64_t *record)
{
	struct disk *d = (struct disk *)backend;

	d->meta = m;
	d->record = record;
}

static int disk_digest(struct disk_backend *backend, uint64_t *hash)
{
	struct disk *d = (struct disk *)backend;
	XXH3_state_t *state = XXH3_createState();
	uint8_t *data = malloc(CHUNK);
	uint64_t size = d->backend.sectors * DISK_SECTOR;
	int error = state && data ? 0 : ENOMEM;

	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	if (!error)
		XXH3_64bits_reset(state);
	for (uint64_t at = 0; at < size && !error; at += CHUNK) {
		uint64_t part = size - at < CHUNK ? size - at : CHUNK;

		error = disk_read(d, data, part, at);
		XXH3_64bits_update(state, data, part);
	}
	pthread_mutex_unlock(&d->lock);
	if (!error)
		*hash = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	free(data);
	return -error;
}

/* ---- growth ---- */

/*
 * Grows the image, then its metadata: in this order the metadata never describes more than there
 * is.
 */
static int grow_image(struct disk_backend *backend, void *ctx)
{
	const struct disk *d = (struct disk *)backend;
	uint64_t bytes = *(const uint64_t *)ctx * DISK_SECTOR, had = d->image->bytes;
	int error = 0;

	if (had < bytes)
		error = d->image->ops->grow ? d->image->ops->grow(d->image, bytes) : EOPNOTSUPP;
	error = error || !d->meta ? error : disk_meta_grow(d->meta, bytes);
	/* An image that is longer than its metadata says is refused at the next start. */
	if (error && had < bytes && d->image->ops->cut)
		d->image->ops->cut(d->image, had);
	return error;
}

int disk_grow_image(struct disk_backend *backend, uint64_t sectors)
{
	const struct disk *d = (struct disk *)backend;

	return d->overlay >= 0 ? 0 : disk_between(backend, grow_image, &sectors);
}

static int file_grow(struct disk_backend *backend, uint64_t sectors)
{
	struct disk *d = (struct disk *)backend;
	int error = disk_grow_image(backend, sectors);

	if (error)
		return error;
	pthread_mutex_lock(&d->lock);
	backend->sectors = sectors;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

/*
 * Shortens the metadata, then the image. If this is cut off in between, the image is longer than
 * its metadata says, and is refused with a message at the next start.
 */
static int cut_image(struct disk_backend *backend, void *ctx)
{
	const struct disk *d = (struct disk *)backend;
	uint64_t bytes = *(const uint64_t *)ctx * DISK_SECTOR;
	int error;

	if (!d->image->ops->shrinks || !d->image->ops->shrinks(d->image))
		return EOPNOTSUPP;
	error = d->meta ? disk_meta_cut(d->meta, bytes) : 0;
	if (!error)
		d->image->ops->cut(d->image, bytes);
	return error;
}

int disk_cut(struct disk_backend *backend, uint64_t sectors)
{
	struct disk *d = (struct disk *)backend;
	int error = EINVAL;

	if (d->overlay < 0 && sectors && sectors <= backend->sectors)
		error = disk_between(backend, cut_image, &sectors);
	if (error)
		return error;
	pthread_mutex_lock(&d->lock);
	backend->sectors = sectors;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

uint64_t disk_sectors(struct disk_backend *backend)
{
	struct disk *d = (struct disk *)backend;
	uint64_t sectors;

	pthread_mutex_lock(&d->lock);
	sectors = backend->sectors;
	pthread_mutex_unlock(&d->lock);
	return sectors;
}

/*
 * With the lock held and nothing under way: changes the size of the overlay. Changes beyond a
 * shorter end are forgotten; a longer end is unchanged zeros.
 */
static int overlay_resize(struct disk *d, uint64_t sectors)
{
	uint64_t had = (disk_blocks(d) + 7) / 8;
	uint64_t blocks = blocks_of(sectors), bytes = (blocks + 7) / 8;
	uint8_t *changed = calloc(bytes, 1);

	if (!changed)
		return ENOMEM;
	if (ftruncate(d->overlay, (off_t)(blocks * BLOCK)) < 0) {
		int error = errno;

		free(changed);
		return error;
	}
	memcpy(changed, d->changed, had < bytes ? had : bytes);
	if (blocks % 8)
		changed[bytes - 1] &= (uint8_t)((1u << blocks % 8) - 1);
	free(d->changed);
	d->changed = changed;
	d->backend.sectors = sectors;
	return 0;
}

static int overlay_set_size(struct disk_backend *backend, uint64_t sectors)
{
	struct disk *d = (struct disk *)backend;
	int error;

	if (sectors > OVERLAY_SECTORS_MAX)
		return EFBIG;
	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	error = overlay_resize(d, sectors);
	pthread_mutex_unlock(&d->lock);
	return error;
}

static void jobs_free(struct job *j)
{
	while (j) {
		struct job *next = j->next;

		free(j->cached);
		free(j);
		j = next;
	}
}

static void disk_free(struct disk_backend *backend)
{
	struct disk *d = (struct disk *)backend;

	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	d->stop = true;
	pthread_cond_broadcast(&d->wake);
	pthread_mutex_unlock(&d->lock);
	if (d->has_thread)
		pthread_join(d->thread, NULL);
	jobs_free(d->done);
	if (d->meta && disk_meta_close(d->meta))
		log_warn("a disk's metadata could not be closed: more will be compared next time");
	if (d->image)
		d->image->ops->close(d->image);
	if (d->overlay >= 0)
		close(d->overlay);
	free(d->changed);
	disk_cache_free(d->cache);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static const struct disk_backend_ops file_ops = {
	.name = "file",
	.start = disk_start,
	.finish = disk_finish,
	.digest = disk_digest,
	.power = disk_power,
	.grow = file_grow,
	.close = disk_free,
};

static const struct disk_backend_ops overlay_ops = {
	.name = "overlay",
	.start = disk_start,
	.finish = disk_finish,
	.digest = disk_digest,
	.power = disk_power,
	.grow = overlay_set_size,
	.fit = overlay_set_size,
	.close = disk_free,
};

/* --- opening and closing --- */

static struct disk *disk_new(const struct disk_backend_ops *ops, struct err *err)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	d->backend.ops = ops;
	d->overlay = -1;
	d->todo_end = &d->todo;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->wake, NULL);
	return d;
}

static int disk_open_image(struct disk *d, const char *name, bool writable, struct err *err)
{
	d->image = disk_image_open(name, writable, err);
	if (!d->image)
		return -err->code;
	d->backend.sectors = d->image->bytes / DISK_SECTOR;
	d->backend.readonly = !writable;
	return 0;
}

static int overlay_create(struct disk *d, struct err *err)
{
	uint64_t blocks = disk_blocks(d);

	d->backend.readonly = false;
	d->overlay = memfd_create("twinstep-disk-overlay", MFD_CLOEXEC);
	if (d->overlay < 0 || ftruncate(d->overlay, (off_t)(blocks * BLOCK)) < 0)
		return err_set(err, errno, "cannot create a disk overlay: %s", strerror(errno));
	d->changed = calloc((blocks + 7) / 8, 1);
	return d->changed ? 0 : err_set(err, ENOMEM, "out of memory");
}

struct disk_backend *disk_file_open(const char *path, bool readonly, struct err *err)
{
	struct disk *d = disk_new(&file_ops, err);

	if (!d)
		return NULL;
	if (disk_open_image(d, path, !readonly, err)) {
		disk_free(&d->backend);
		return NULL;
	}
	return &d->backend;
}

struct disk_backend *disk_overlay_open(const char *path, struct err *err)
{
	struct disk *d = disk_new(&overlay_ops, err);

	if (!d)
		return NULL;
	if (disk_open_image(d, path, false, err) || overlay_create(d, err)) {
		disk_free(&d->backend);
		return NULL;
	}
	return &d->backend;
}

struct disk_backend *disk_memory_open(uint64_t sectors, struct err *err)
{
	struct disk *d;

	if (sectors == 0 || sectors > INT64_MAX / DISK_SECTOR - BLOCK_SECTORS) {
		err_set(err, EINVAL, "a disk cannot have %llu sectors",
			(unsigned long long)sectors);
		return NULL;
	}
	d = disk_new(&overlay_ops, err);
	if (!d)
		return NULL;
	d->backend.sectors = sectors;
	if (overlay_create(d, err)) {
		disk_free(&d->backend);
		return NULL;
	}
	return &d->backend;
}

void disk_close(struct disk_backend *d)
{
	if (d)
		d->ops->close(d);
}

/* --- checkpoints: le64 sectors, varint changed blocks, then for each a varint (steps from the
 * block before) * 2 + 1 if it is all zeros, and 4096 bytes if it is not --- */

bool disk_has_overlay(const struct disk_backend *d)
{
	return d->ops == &overlay_ops;
}

bool disk_is_blank(const struct disk_backend *backend)
{
	const struct disk *d = (const struct disk *)backend;

	return d->image && d->image->ops->blank && d->image->ops->blank(d->image);
}

static int export_blocks(const struct disk *d, struct buf *out)
{
	uint64_t blocks = disk_blocks(d), prev = 0;
	uint8_t data[BLOCK];

	for (uint64_t b = 0; b < blocks; b++) {
		int error;
		bool zero;

		if (!block_changed(d, b))
			continue;
		error = file_read_at(d->overlay, data, BLOCK, b * BLOCK);
		if (error)
			return error;
		zero = bytes_are_zero(data, BLOCK);
		buf_put_varint(out, (b - prev) << 1 | zero);
		if (!zero)
			buf_put(out, data, BLOCK);
		prev = b;
	}
	return out->bad ? ENOMEM : 0;
}

static uint64_t count_changed(const struct disk *d)
{
	uint64_t n = 0;

	for (uint64_t b = 0; b < disk_blocks(d); b++)
		n += block_changed(d, b);
	return n;
}

int disk_overlay_export(struct disk_backend *backend, struct buf *out, struct err *err)
{
	struct disk *d = (struct disk *)backend;
	int error;

	if (backend->ops != &overlay_ops)
		return err_set(err, EINVAL, "this disk has no overlay to store");
	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	buf_put_u64(out, backend->sectors);
	buf_put_varint(out, count_changed(d));
	error = export_blocks(d, out);
	pthread_mutex_unlock(&d->lock);
	return error ? err_set(err, error, "cannot store the disk overlay: %s", strerror(error))
		     : 0;
}

static int overlay_clear(struct disk *d)
{
	uint64_t blocks = disk_blocks(d);

	memset(d->changed, 0, (blocks + 7) / 8);
	return file_zero_at(d->overlay, blocks * BLOCK, 0);
}

static int import_blocks(struct disk *d, struct rd *in)
{
	uint64_t blocks = disk_blocks(d), n = rd_varint(in), at = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t step = rd_varint(in);
		const uint8_t *data = step & 1 ? NULL : rd_bytes(in, BLOCK);

		step >>= 1;
		if (in->bad || step >= blocks - at || (i > 0 && step == 0))
			return EINVAL;
		at += step;
		if (data && file_write_at(d->overlay, data, BLOCK, at * BLOCK))
			return errno;
		block_set_changed(d, at);
	}
	return in->bad ? EINVAL : 0;
}

int disk_overlay_import(struct disk_backend *backend, struct rd *in, struct err *err)
{
	struct disk *d = (struct disk *)backend;
	int error;

	if (backend->ops != &overlay_ops)
		return err_set(err, EINVAL, "this disk has no overlay to restore");
	if (rd_u64(in) != backend->sectors)
		return err_set(err, EINVAL,
			       "the stored disk overlay belongs to a disk of another size");
	pthread_mutex_lock(&d->lock);
	disk_drain(d);
	error = overlay_clear(d);
	if (!error)
		error = import_blocks(d, in);
	if (error)
		overlay_clear(d);
	pthread_mutex_unlock(&d->lock);
	return error ? err_set(err, error, "cannot restore the disk overlay: %s", strerror(error))
		     : 0;
}

int disk_overlay_load(struct disk_backend *backend, struct rd *in, struct err *err)
{
	struct rd peek = *in;
	uint64_t sectors = rd_u64(&peek);
	int error = 0;

	if (backend->ops == &overlay_ops && sectors && sectors != backend->sectors)
		error = overlay_set_size(backend, sectors);
	return error ? err_set(err, error, "cannot restore the disk overlay: %s", strerror(error))
		     : disk_overlay_import(backend, in, err);
}
