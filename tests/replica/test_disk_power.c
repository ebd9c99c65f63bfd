// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pair whose hosts lose their power at every write and flush in turn.
 *
 * The images and their metadata lie on storage that forgets what was not flushed, sector by sector,
 * and keeps no order that a flush has not made. What runs on it is what a replica runs on: the
 * images' queue, the metadata, both ends of a join, and the check of who may start. A life of the
 * pair (joins while the guest writes, failovers, kills, changes of roles) is lived once to count
 * its writes and flushes, and then again for each of them, with the power of either host or of both
 * cut there, or the replicas alone killed there, whose hosts keep what was written in their memory,
 * and power cut once more some way behind. Each time the pair lives on to its end. Then
 *
 *   a side that goes live, or starts, has each sector as a guest may find it: as it was at the last
 *     flush that both sides know of, or as it was written since then on the side that counts;
 *   the other side can always join, and is equal then, byte for byte;
 *   after both hosts have lost their power, one of them may start without --force.
 *
 * POWER_LIVES=200 POWER_SEED=7 lives more lives than `make check` has time for.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/thread.h"

/* Small pieces, so that few sectors have many of them. */
#define DISK_META_BLOCK	    1024u
#define DISK_META_EXTENT    65536u
#define DISK_META_WRITE_MAX (1u << 20)
#define META_ACTIVE_MAX	    26u

static ssize_t sim_pwrite(int fd, const void *data, size_t len, off_t at);
static ssize_t sim_pread(int fd, void *data, size_t len, off_t at);
static int sim_fdatasync(int fd);
static int sim_fallocate(int fd, int mode, off_t at, off_t len);
static int sim_posix_fallocate(int fd, off_t at, off_t len);
static int sim_thread_start(void *(*fn)(void *));
static int sim_open(const char *path, int flags);
#define pwrite			       sim_pwrite
#define pread			       sim_pread
#define fdatasync		       sim_fdatasync
#define fallocate		       sim_fallocate
#define posix_fallocate		       sim_posix_fallocate
#define open(path, flags)	       sim_open(path, flags)
#define thread_start(t, role, fn, arg) sim_thread_start(fn)
#include "base/file_io.c"
#include "record/disk_file.c"
#include "record/disk_image.c"
#include "record/disk_meta.c"
#include "record/disk_meta_layout.c"
#include "replica/disk_sync.c"
#define takes source_takes
#include "replica/disk_source.c"
#undef takes
#define takes target_takes
#include "replica/disk_target.c"
#undef takes
#undef pwrite
#undef pread
#undef fdatasync
#undef fallocate
#undef posix_fallocate
#undef open

#include "replica/disks.h"
#include "tests/unit.h"

#define EXTENTS	  30u
#define IMAGE	  ((uint64_t)EXTENTS * DISK_META_EXTENT - 3 * DISK_META_BLOCK - 512)
#define SECTORS	  (IMAGE / DISK_SECTOR)
#define META	  (5u * META_PAGE)
#define UNFLUSHED 16u	/* versions of a sector between two flushes */
#define META_FD	  9000	/* and one more: those of the two hosts */
#define PENDING	  65536 /* sectors that wait for a flush */
#define QUEUE	  4096
#define ACTS	  7 /* in a life */

static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* As ck_assert_msg(), which writes to a file each time that it is passed. */
#define hold(what, ...)                            \
	do {                                       \
		if (!(what)) {                     \
			tell_where();              \
			ck_abort_msg(__VA_ARGS__); \
		}                                  \
	} while (0)

static unsigned life, life_cut;

static void tell_where(void)
{
	printf("# POWER_SEED=%u POWER_LIVES=1, cut %u\n", life, life_cut);
}

/* ---- storage ---- */

/* A file: as programs see it, and as it is found after a loss of power if nothing else is kept. */
struct store {
	uint8_t *now, *durable;
	uint64_t bytes;
	struct {
		uint32_t sector;
		uint8_t data[DISK_SECTOR];
	} * pending;
	unsigned npending;
};

/* A request of the guest's on its way to the side that follows; a flush has no sectors. */
struct carried {
	uint64_t sector, record;
	uint32_t sectors, version;
	bool zeros;
};

struct host {
	struct store image, meta;
	char path[40];
	int image_fd;
	bool off;    /* it has no power, or its replica is gone */
	bool killed; /* off, and what was written is in the host's memory still */
	bool up;     /* a replica runs there */
	bool follows;
	uint8_t id[DISK_META_ID_LEN]; /* of that replica */
	struct disk_sync_disk disk;
	atomic_uint_fast64_t record;
	struct carried queue[QUEUE];
	unsigned queued;
};

static struct host host[2];
static struct host *live; /* NULL: none */
static unsigned ops, cut_at, cut_whom;
static bool cut_kills; /* what is cut is the life of the replicas alone */
static bool torn;      /* a page of metadata is written by sectors */

/* The host is cut off in this write or flush: false. */
static bool power(struct host *h)
{
	if (++ops == cut_at)
		for (unsigned i = 0; i < 2; i++) {
			if (!(cut_whom >> i & 1))
				continue;
			host[i].killed = cut_kills && (!host[i].off || host[i].killed);
			host[i].off = true;
		}
	return !h->off;
}

static struct store *store_of(int fd, struct host **h)
{
	for (unsigned i = 0; i < 2; i++) {
		*h = &host[i];
		if (fd == META_FD + (int)i)
			return &host[i].meta;
		if (fd == host[i].image_fd)
			return &host[i].image;
	}
	ck_abort_msg("no such file");
}

static int sim_open(const char *path, int flags)
{
	int fd = open(path, flags);

	for (unsigned i = 0; i < 2; i++)
		if (!strcmp(path, host[i].path))
			host[i].image_fd = fd;
	return fd;
}

static void store_write(struct store *s, const uint8_t *data, uint64_t len, uint64_t at)
{
	hold(at + len <= s->bytes && at % DISK_SECTOR == 0 && len % DISK_SECTOR == 0, "a range");
	memcpy(s->now + at, data, len);
	for (uint64_t i = 0; i < len / DISK_SECTOR; i++) {
		hold(s->npending < PENDING, "room");
		s->pending[s->npending].sector = (uint32_t)(at / DISK_SECTOR + i);
		memcpy(s->pending[s->npending++].data, data + i * DISK_SECTOR, DISK_SECTOR);
	}
}

static ssize_t sim_pwrite(int fd, const void *data, size_t len, off_t at)
{
	struct host *h;
	struct store *s = store_of(fd, &h);

	errno = EIO;
	if (h->off)
		return -1;
	/* What is written when the power fails may be there. */
	store_write(s, data, len, (uint64_t)at);
	return power(h) ? (ssize_t)len : -1;
}

static ssize_t sim_pread(int fd, void *data, size_t len, off_t at)
{
	struct host *h;
	struct store *s = store_of(fd, &h);

	errno = EIO;
	if (h->off)
		return -1;
	hold((uint64_t)at + len <= s->bytes, "a range");
	memcpy(data, s->now + at, len);
	return (ssize_t)len;
}

static int sim_fdatasync(int fd)
{
	struct host *h;
	struct store *s = store_of(fd, &h);

	errno = EIO;
	if (h->off || !power(h))
		return -1;
	for (unsigned i = 0; i < s->npending; i++) {
		uint64_t at = (uint64_t)s->pending[i].sector * DISK_SECTOR;

		memcpy(s->durable + at, s->now + at, DISK_SECTOR);
	}
	s->npending = 0;
	return 0;
}

static int sim_fallocate(int fd, int mode, off_t at, off_t len)
{
	static const uint8_t zeros[UNFLUSHED * DISK_SECTOR];

	hold(mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), "a discard");
	hold((uint64_t)len <= sizeof(zeros), "a long discard");
	return sim_pwrite(fd, zeros, (size_t)len, at) < 0 ? -1 : 0;
}

static int sim_posix_fallocate(int fd, off_t at, off_t len)
{
	struct host *h;

	return (uint64_t)len <= store_of(fd, &h)->bytes ? 0 : ENOSPC;
}

/* Whoever waits for a request executes it: one order of writes for one life. */
static int sim_thread_start(void *(*fn)(void *))
{
	return -EAGAIN;
}

/*
 * Each sector is found as it was at any moment since the last flush, whatever became of others.
 * whole: pages are written as a whole or not at all.
 */
static void store_cut(struct store *s, bool whole)
{
	unsigned unit = whole ? META_PAGE / DISK_SECTOR : 1;
	uint16_t *seen = calloc(s->bytes / DISK_SECTOR, sizeof(*seen));

	for (unsigned i = 0; i + unit <= s->npending; i += unit) {
		uint32_t sector = s->pending[i].sector;

		/* The n-th version since then replaces what was chosen before with 1/(n + 1). */
		if (rnd(++seen[sector] + 1u) != 0)
			continue;
		for (unsigned k = 0; k < unit; k++)
			memcpy(s->durable + (uint64_t)(sector + k) * DISK_SECTOR,
			       s->pending[i + k].data, DISK_SECTOR);
	}
	s->npending = 0;
	memcpy(s->now, s->durable, s->bytes);
	free(seen);
}

static void store_new(struct store *s, uint64_t bytes)
{
	if (!s->now) {
		s->now = malloc(bytes);
		s->durable = malloc(bytes);
		s->pending = malloc(PENDING * sizeof(*s->pending));
		s->bytes = bytes;
	}
	memset(s->now, 0, bytes);
	memset(s->durable, 0, bytes);
	s->npending = 0;
}

/* ---- what a guest may find ---- */

static struct sector {
	uint32_t committed; /* version at the last flush that counts */
	uint32_t n, version[UNFLUSHED];
} sector[SECTORS];
static uint32_t versions;
static unsigned dirty; /* sectors with n > 0, at most */

static void model_write(uint64_t at, uint32_t n, uint32_t version)
{
	for (uint64_t s = at; s < at + n; s++) {
		hold(sector[s].n < UNFLUSHED, "room");
		sector[s].version[sector[s].n++] = version;
	}
	dirty++;
}

static void model_flush(void)
{
	for (uint64_t s = 0; s < SECTORS && dirty; s++) {
		if (sector[s].n)
			sector[s].committed = sector[s].version[sector[s].n - 1];
		sector[s].n = 0;
	}
	dirty = 0;
}

static uint32_t version_in(const struct host *h, uint64_t s)
{
	uint32_t v[2];

	memcpy(v, h->image.now + s * DISK_SECTOR, sizeof(v));
	hold(v[1] == (v[0] ? s : 0), "sector %llu has another's content", (unsigned long long)s);
	return v[0];
}

/* This side's content is what counts now: a guest may find it, and versions behind it are lost. */
static void model_check(const struct host *h, const char *when)
{
	for (uint64_t s = 0; s < SECTORS; s++) {
		uint32_t v = version_in(h, s), n = sector[s].n;

		while (n && sector[s].version[n - 1] != v)
			n--;
		hold(n || v == sector[s].committed,
		     "%s: sector %llu of host %c has version %u: flushed was %u", when,
		     (unsigned long long)s, h == host ? 'a' : 'b', v, sector[s].committed);
		sector[s].n = n;
	}
}

static void fill(uint8_t *data, uint64_t at, uint32_t n, uint32_t version)
{
	memset(data, 0, n * DISK_SECTOR);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t v[2] = { version, (uint32_t)at + i };

		memcpy(data + (uint64_t)i * DISK_SECTOR, v, sizeof(v));
	}
}

/* ---- hosts ---- */

static struct {
	uint64_t generation;
	uint8_t owner[DISK_META_ID_LEN];
} arbiter;
static struct {
	unsigned takeovers, starts, joins, whole, refused;
} seen;

static void host_start(struct host *h)
{
	struct err err = ERR_INIT;
	static uint64_t ids;

	ids++;
	memcpy(h->id, &ids, sizeof(ids));
	h->off = h->follows = false;
	h->queued = 0;
	h->disk.image = disk_file_open(h->path, false, &err);
	hold(h->disk.image != NULL, "%s", err.text);
	h->up = true;
	h->disk.meta = disk_meta_open(META_FD + (int)(h - host), "meta", IMAGE, disk_flush_image,
				      h->disk.image, &err);
	hold(h->disk.meta != NULL, "%s", err.text);
	disk_attach_meta(h->disk.image, h->disk.meta, &h->record);
}

/* The process is gone; what it wrote stays in the host's memory while there is power. */
static void host_kill(struct host *h)
{
	if (!h->up)
		return;
	disk_meta_abandon(h->disk.meta);
	((struct disk *)h->disk.image)->meta = NULL;
	disk_close(h->disk.image);
	h->image_fd = -1;
	h->up = h->follows = false;
	if (live == h)
		live = NULL;
}

static struct disks disks_of(struct host *h)
{
	return (struct disks){ .disk = { h->disk }, .n = 1 };
}

static void take_generation(struct host *h)
{
	arbiter.generation++;
	memcpy(arbiter.owner, h->id, sizeof(h->id));
	live = h;
}

static int settled(struct host *h)
{
	struct disk_meta_identity id;

	return disk_meta_get(h->disk.meta, &id);
}

static int host_part(struct host *h)
{
	disk_meta_part(h->disk.meta, disks_new_name(), arbiter.generation);
	return settled(h);
}

/* As replica_run_primary() does it. False: these disks may be old, or the power has failed. */
static bool start_primary(struct host *h)
{
	struct disks d = disks_of(h);
	struct err err = ERR_INIT;

	if (disks_check_start(&d, arbiter.generation, arbiter.owner, false, &err) ||
	    (arbiter.generation && !disks_are_known(&d) && !disks_are_of(&d, arbiter.owner))) {
		seen.refused++;
		return false;
	}
	if (disks_adopt(&d, arbiter.generation, arbiter.owner, h->id, &err))
		return false;
	take_generation(h);
	model_check(h, "start");
	disks_own(&d, h->id);
	disks_name_pair(&d);
	host_part(h);
	seen.starts++;
	return true;
}

/* The other one of two. */
static struct host *beside(const struct host *h)
{
	return h == host ? host + 1 : host;
}

/* ---- the guest, and the side that follows ---- */

static int request(struct host *h, const struct carried *c)
{
	static uint8_t data[8 * DISK_SECTOR];
	static uint64_t id;
	struct disk_backend *d = h->disk.image;

	fill(data, c->sector, c->sectors, c->version);
	d->ops->start(d, ++id,
		      c->zeros	   ? DISK_ZERO
		      : c->sectors ? DISK_WRITE
				   : DISK_FLUSH,
		      c->sector, c->sectors, c->sectors && !c->zeros ? data : NULL);
	return d->ops->finish(d, id);
}

static int guest_request(struct carried c)
{
	struct host *other = beside(live);
	int error;

	if (c.sectors)
		model_write(c.sector, c.sectors, c.version);
	error = request(live, &c);
	c.record = atomic_fetch_add(&live->record, 1) + 1;
	if (!error && other->follows) {
		hold(other->queued < QUEUE, "room");
		other->queue[other->queued++] = c;
	}
	if (!error && !c.sectors)
		model_flush();
	return error;
}

/* Often where it wrote before, so that sectors have several versions. */
static int guest_writes(void)
{
	static uint64_t at;
	uint32_t n = 1 + (uint32_t)rnd(5);
	bool zeros = rnd(8) == 0;

	at = rnd(3) ? at + n : rnd(4) ? rnd(6) * (SECTORS / 6) + rnd(24) : rnd(SECTORS);
	at = at + n <= SECTORS ? at : 0;
	for (uint64_t s = at; s < at + n; s++)
		if (sector[s].n == UNFLUSHED)
			return guest_request((struct carried){ 0 });
	return guest_request((struct carried){ at, 0, n, zeros ? 0 : ++versions, zeros });
}

static int guest_step(void)
{
	return rnd(12) ? guest_writes() : guest_request((struct carried){ 0 });
}

/* Executes up to n of the records that have arrived, and says so to the live side. */
static int follower_apply(struct host *h, unsigned n)
{
	unsigned i = 0;
	int error = 0;

	for (; i < h->queued && i < n && !error; i++) {
		atomic_store(&h->record, h->queue[i].record - 1);
		error = request(h, &h->queue[i]);
		atomic_store(&h->record, h->queue[i].record);
	}
	if (i && !error && live && live->up)
		disk_meta_applied(live->disk.meta, h->queue[i - 1].record);
	memmove(h->queue, h->queue + i, (h->queued - i) * sizeof(h->queue[0]));
	h->queued -= i;
	return error;
}

/* ---- joins ---- */

static struct {
	struct buf message[4096];
	unsigned first, n;
} way[2]; /* to the target, to the source */

static int put(void *ctx, struct buf *m)
{
	unsigned w = *(unsigned *)ctx;

	hold(way[w].n < 4096, "room");
	way[w].message[(way[w].first + way[w].n++) % 4096] = *m;
	*m = (struct buf)BUF_INIT;
	return 0;
}

static bool get(unsigned w, struct buf *m)
{
	if (!way[w].n)
		return false;
	*m = way[w].message[way[w].first];
	way[w].first = (way[w].first + 1) % 4096;
	way[w].n--;
	return true;
}

struct join {
	struct disk_source *s;
	struct disk_target *t;
	struct host *to;
	struct err err;
};

/* What is under way arrives; the target follows from EQUAL on. */
static int deliver(struct join *j)
{
	struct buf m;
	int ret = 0;

	while (!ret && get(1, &m)) {
		struct rd in = RD_INIT(m.data, m.len);

		ret = disk_source_take(j->s, &in, &j->err);
		buf_free(&m);
	}
	while (!ret && get(0, &m)) {
		struct rd in = RD_INIT(m.data, m.len);

		ret = disk_target_take(j->t, &in, &j->err);
		if (ret == 1)
			j->to->follows = true;
		ret = ret == 1 ? 0 : ret;
		buf_free(&m);
	}
	return ret;
}

/* Until little is left; the guest writes on meanwhile. */
static int join_rounds(struct join *j)
{
	int ret = disk_target_offer(j->t, &j->err);
	unsigned writes = 30;

	for (unsigned i = 0; !ret && i < 10000; i++) {
		ret = deliver(j);
		if (!ret && disk_source_begun(j->s)) {
			if (disk_source_left(j->s) <= 4 * DISK_META_BLOCK && !writes)
				return 0;
			ret = disk_source_step(j->s, 16, &j->err);
			ret = ret == 1 ? 0 : ret;
		}
		if (!ret && writes && rnd(3) == 0) {
			writes--;
			ret = guest_step();
		}
	}
	return ret;
}

/* The sync point, and what the guest does before the target has confirmed it. */
static int join_end(struct join *j)
{
	uint64_t record = atomic_load(&live->record);
	struct carried early[4];
	unsigned n = (unsigned)rnd(4);
	int ret = disk_source_finish(j->s, record, &j->err);

	for (unsigned i = 0; i < n && !ret; i++) {
		early[i] = (struct carried){ rnd(SECTORS - 2), 0, 2, ++versions, false };
		if (sector[early[i].sector].n > UNFLUSHED - 2 ||
		    sector[early[i].sector + 1].n > UNFLUSHED - 2)
			early[i].sectors = 0;
		if (early[i].sectors)
			ret = guest_request(early[i]);
		early[i].record = atomic_load(&live->record);
	}
	ret = ret ? ret : deliver(j);
	for (unsigned i = 0; i < n && !ret; i++)
		if (early[i].sectors)
			j->to->queue[j->to->queued++] = early[i];
	ret = ret ? ret : deliver(j);
	if (!ret && !disk_source_confirmed(j->s))
		hold(false, "the target has not confirmed the end of the join");
	return ret ? ret : disk_source_in_step(j->s, &j->err);
}

static void check_equal(void)
{
	for (uint64_t at = 0; at < IMAGE; at += DISK_SECTOR)
		hold(!memcmp(host[0].image.now + at, host[1].image.now + at, DISK_SECTOR),
		     "both sides are in step, and sector %llu differs",
		     (unsigned long long)(at / DISK_SECTOR));
}

/* The other side joins the live one. False: the power has failed. */
static bool join(void)
{
	static unsigned to_target = 0, to_source = 1;
	struct join j = { .to = beside(live), .err = ERR_INIT };
	struct disks d;
	struct buf m;
	bool whole;
	int ret;

	if (!j.to->up)
		host_start(j.to);
	d = disks_of(j.to);
	disks_own(&d, j.to->id);
	j.s = disk_source_new(&live->disk, 1, 1 + rnd(UINT64_MAX - 1), put, &to_target);
	j.t = disk_target_new(&j.to->disk, 1, put, &to_source);
	ret = join_rounds(&j);
	ret = ret ? ret : join_end(&j);
	whole = j.s->want_sums[0];
	disk_source_free(j.s);
	disk_target_free(j.t);
	for (unsigned w = 0; w < 2; w++)
		while (get(w, &m))
			buf_free(&m);
	hold(!ret || host[0].off || host[1].off, "the join failed with power on: %s", j.err.text);
	if (ret)
		return false;
	if (follower_apply(j.to, QUEUE))
		return false;
	seen.joins++;
	seen.whole += whole;
	check_equal();
	return true;
}

/* ---- what becomes of losses ---- */

/* The side that follows has the records in its memory; it is live when they are executed. */
static void take_over(struct host *h)
{
	if (follower_apply(h, QUEUE))
		return; /* its power has failed, too */
	h->follows = false;
	take_generation(h);
	model_check(h, "takeover");
	host_part(h);
	seen.takeovers++;
}

/* Nobody is live: one of the two has to be fit to start, whichever is asked first. */
static void start_again(void)
{
	struct host *first = &host[rnd(2)];

	for (unsigned i = 0; i < 2 && !live; i++, first = beside(first)) {
		host_kill(first);
		host_start(first);
		if (start_primary(first))
			return;
		if (first->off)
			return;
		host_kill(first);
	}
	hold(live != NULL, "neither side may start, and one of them has what counts");
}

/* Power comes back, and the pair goes on by itself as far as it can. */
static void recover_pair(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!host[i].off)
			continue;
		host_kill(&host[i]);
		if (!host[i].killed) {
			store_cut(&host[i].image, false);
			store_cut(&host[i].meta, !torn);
		}
		host[i].off = host[i].killed = false;
	}
	for (unsigned i = 0; i < 2 && !live; i++)
		if (host[i].up && host[i].follows)
			take_over(&host[i]);
	if (live && !live->off && !beside(live)->up)
		host_part(live);
	if (!live && !host[0].off && !host[1].off)
		start_again();
}

static void recover_all(void)
{
	while (!live || host[0].off || host[1].off || !live->up)
		recover_pair();
}

/* ---- a life ---- */

static void act_guest(void)
{
	struct host *other = beside(live);

	for (unsigned i = 10 + (unsigned)rnd(30); i; i--) {
		if (guest_step())
			return;
		if (other->follows && rnd(3) == 0 && follower_apply(other, 1 + (unsigned)rnd(8)))
			return;
	}
}

static void act_join(void)
{
	if (!beside(live)->follows)
		join();
}

/* Killed, with its host's memory and disks as they are. */
static void act_kill(void)
{
	host_kill(&host[rnd(2)]);
	recover_pair();
}

static void act_kill_both(void)
{
	host_kill(&host[0]);
	host_kill(&host[1]);
	recover_pair();
}

/* Both have executed all; the roles change behind the last record, in the next generation. */
static void act_switch(void)
{
	struct host *old = live, *new = beside(live);
	uint64_t record = atomic_load(&old->record);

	if (!new->follows || follower_apply(new, QUEUE))
		return;
	take_generation(new);
	old->follows = true;
	new->follows = false;
	atomic_store(&new->record, record);
	disk_meta_change_sides(new->disk.meta, arbiter.generation, record, DISK_IN_STEP);
	disk_meta_applied(new->disk.meta, record);
	disk_meta_change_sides(old->disk.meta, arbiter.generation, record, DISK_FOLLOWS);
	disk_meta_applied(old->disk.meta, UINT64_MAX);
	if (!settled(new))
		settled(old);
}

static void act_save(void)
{
	disk_meta_save(live->disk.meta);
}

static void (*const acts[])(void) = { act_guest, act_guest, act_guest,	   act_join,  act_join,
				      act_kill,	 act_save,  act_kill_both, act_switch };

static void pair_new(void)
{
	struct disk_meta_identity id = { .image_bytes = IMAGE };
	struct err err = ERR_INIT;

	live = NULL;
	memset(&arbiter, 0, sizeof(arbiter));
	memset(sector, 0, sizeof(sector));
	versions = dirty = ops = cut_at = 0;
	for (unsigned i = 0; i < 2; i++) {
		host[i].up = host[i].off = host[i].killed = false;
		host[i].image_fd = -1;
		atomic_store(&host[i].record, 0);
		store_new(&host[i].image, IMAGE);
		store_new(&host[i].meta, META);
		ck_assert_int_eq(disk_meta_format(META_FD + (int)i, "meta", &id, &err), 0);
	}
	ops = 0;
	host_start(&host[0]);
	ck_assert(start_primary(&host[0]));
}

/* In good order, and both say so afterwards. */
static void pair_end(void)
{
	struct host *other = beside(live);
	struct disk_meta_identity id[2];
	struct disk_relation r;

	ck_assert_int_eq(disk_flush_image(other->disk.image), 0);
	ck_assert_int_eq(disk_meta_set_state(other->disk.meta, DISK_IN_STEP), 0);
	for (unsigned i = 0; i < 2; i++) {
		disk_close(host[i].disk.image);
		host[i].up = false;
		host[i].image_fd = -1;
		host_start(&host[i]);
		ck_assert_int_eq(disk_meta_get(host[i].disk.meta, &id[i]), 0);
		ck_assert_int_eq(id[i].state, DISK_IN_STEP);
		host_kill(&host[i]);
	}
	r = disk_meta_relation(&id[0], &id[1]);
	ck_assert(r.newer == DISK_NEWER_NEITHER && !r.whole);
}

static void act_any(unsigned i)
{
	if (i < 2)
		(i ? act_join : act_guest)();
	else
		acts[rnd(sizeof(acts) / sizeof(acts[0]))]();
}

/* cut: the write or flush in which the power fails, 0: none; after: the next one behind that. */
static unsigned live_once(uint64_t of, unsigned cut, unsigned whom, unsigned after)
{
	life = (unsigned)of;
	life_cut = cut;
	seed = of * 0x9e3779b97f4a7c15ull + 1;
	pair_new();
	cut_at = cut;
	cut_whom = whom;
	cut_kills = cut % 4 == 1;
	for (unsigned i = 0; i < ACTS; i++) {
		act_any(i);
		if (host[0].off || host[1].off) {
			cut_at = ops + after;
			cut_whom = after ? 1 + after % 3 : 0;
			cut_kills = false;
			seed = (seed ^ (uint64_t)cut << 32) | 1;
		}
		recover_all();
	}
	cut_at = 0;
	while (!beside(live)->follows)
		act_join();
	ck_assert_int_eq(follower_apply(beside(live), QUEUE), 0);
	check_equal();
	model_check(live, "end");
	pair_end();
	return ops;
}

static void hosts_new(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd;

		strcpy(host[i].path, "/tmp/twinstep-power-XXXXXX");
		fd = mkstemp(host[i].path);
		ck_assert(fd >= 0 && ftruncate(fd, (off_t)IMAGE) == 0);
		close(fd);
	}
}

static void hosts_free(void)
{
	for (unsigned i = 0; i < 2; i++)
		unlink(host[i].path);
}

/* What the plain life has to have had, so that the others are worth something. */
static void check_seen(void)
{
	ck_assert_uint_gt(seen.takeovers, 0);
	ck_assert_uint_gt(seen.joins, 0);
	ck_assert_uint_gt(seen.joins, seen.whole);
	ck_assert_uint_gt(seen.whole, 0);
	ck_assert_uint_gt(seen.refused, 0);
	ck_assert_uint_gt(seen.starts, seen.refused);
}

START_TEST(power_fails_at_each_write_and_flush)
{
	uint64_t first = unit_setting("POWER_SEED", 9), lives = unit_setting("POWER_LIVES", 2);
	unsigned cuts = 0;

	hosts_new();
	for (uint64_t of = first; of < first + lives; of++) {
		unsigned n, whom = (unsigned)of % 3;

		torn = of % 2;
		n = live_once(of, 0, 0, 0);
		for (unsigned cut = 1; cut <= n; cut += unit_share()) {
			whom = (whom + 1) % 3;
			live_once(of, cut, 1 + whom, cut % 2 ? 1 + cut % 37 : 0);
			cuts++;
		}
	}
	check_seen();
	printf("# %u losses of power; %u starts (%u refused), %u takeovers, %u joins (%u of them "
	       "compared every block)\n",
	       cuts, seen.starts, seen.refused, seen.takeovers, seen.joins, seen.whole);
	hosts_free();
}
END_TEST

static void add_tests(TCase *tc)
{
	/* A long life takes 40 s where both processors are busy. */
	tcase_set_timeout(tc, 60 + 120 * (double)unit_setting("POWER_LIVES", 2));
	tcase_add_test(tc, power_fails_at_each_write_and_flush);
}

UNIT_MAIN("disk_power", add_tests)
