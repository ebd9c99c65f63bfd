// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/disks.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "replica/replica_private.h"

/* ---- who may start ---- */

static int check_disk(unsigned i, const struct disk_meta_identity *id, uint64_t last, bool owner,
		      bool force, struct err *err)
{
	const char *doubt = disk_meta_state_doubt(id->state);
	char why[160];

	if (!id->current && id->state != DISK_SYNCING)
		return 0; /* the disk has never belonged to a pair */
	/* This side was live last, and was cut off before its metadata could say so. */
	if (owner && id->state != DISK_SYNCING)
		return 0;
	if (!doubt && id->generation < last) {
		snprintf(why, sizeof(why), "another replica was live later, in generation %llu",
			 (unsigned long long)last);
		doubt = why;
	}
	if (!doubt)
		return 0;
	if (force) {
		log_warn("disk %u was written last in generation %llu and %s: --force makes it "
			 "what counts",
			 i, (unsigned long long)id->generation, doubt);
		return 0;
	}
	return err_set(err, ESTALE,
		       "disk %u may be old (%s; written last in generation %llu): %s. Start the "
		       "other side as primary and this one as backup. --force starts from this "
		       "disk and loses what the other side has written since generation %llu",
		       i, disk_meta_state_name(id->state), (unsigned long long)id->generation,
		       doubt, (unsigned long long)id->generation);
}

/*
 * Finds the pair that the disks belong to; zeros: none yet. 0; -ESTALE and err: they belong to
 * different pairs.
 */
static int find_pair(const struct disks *d, uint8_t pair[DISK_META_ID_LEN], struct err *err)
{
	unsigned first = 0;

	memset(pair, 0, DISK_META_ID_LEN);
	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta_identity id = { 0 };

		if (d->disk[i].meta)
			disk_meta_get(d->disk[i].meta, &id);
		if (bytes_are_zero(id.pair, DISK_META_ID_LEN))
			continue;
		if (bytes_are_zero(pair, DISK_META_ID_LEN)) {
			memcpy(pair, id.pair, DISK_META_ID_LEN);
			first = i;
		} else if (memcmp(pair, id.pair, DISK_META_ID_LEN)) {
			return err_set(err, ESTALE,
				       "disk %u belongs to another pair than disk %u: which image "
				       "is the right one? One that is to change its pair needs its "
				       "metadata removed, and counts as new then",
				       i, first);
		}
	}
	return 0;
}

int disks_check_start(const struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		      bool force, struct err *err)
{
	uint8_t pair[DISK_META_ID_LEN];

	if (find_pair(d, pair, err))
		return -err->code;
	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta_identity id;
		int ret;

		if (!d->disk[i].meta)
			continue;
		disk_meta_get(d->disk[i].meta, &id);
		ret = check_disk(i, &id, last, last && arbiter_same_owner(id.owner, owner), force,
				 err);
		if (ret)
			return ret;
	}
	return 0;
}

bool disks_are_known(const struct disks *d)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta_identity id = { 0 };

		if (d->disk[i].meta)
			disk_meta_get(d->disk[i].meta, &id);
		if (id.current)
			return true;
	}
	return false;
}

bool disks_are_of(const struct disks *d, const uint8_t owner[DISK_META_ID_LEN])
{
	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta_identity id = { 0 };

		if (d->disk[i].meta)
			disk_meta_get(d->disk[i].meta, &id);
		if (!bytes_are_zero(owner, DISK_META_ID_LEN) && arbiter_same_owner(id.owner, owner))
			return true;
	}
	return false;
}

struct adoption {
	struct disk_meta *meta;
	uint64_t generation;
	const uint8_t *id;
};

static int adopt(struct disk_backend *d, void *ctx)
{
	struct adoption *a = ctx;

	return disk_meta_adopt(a->meta, a->generation, a->id);
}

int disks_adopt(struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		const uint8_t id[DISK_META_ID_LEN], struct err *err)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct adoption a = { .meta = d->disk[i].meta, .id = id };
		struct disk_meta_identity now;
		int error;

		if (!a.meta)
			continue;
		disk_meta_get(a.meta, &now);
		if (now.current && now.state != DISK_SYNCING && last &&
		    arbiter_same_owner(now.owner, owner))
			a.generation = last;
		error = disk_between(d->disk[i].image, adopt, &a);
		if (error)
			return err_set(err, error, "disk %u: its metadata cannot be written: %s", i,
				       strerror(error));
	}
	return 0;
}

void disks_own(struct disks *d, const uint8_t owner[DISK_META_ID_LEN])
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->disk[i].meta)
			disk_meta_set_owner(d->disk[i].meta, owner);
}

void disks_name_pair(struct disks *d)
{
	uint8_t pair[DISK_META_ID_LEN];

	if (find_pair(d, pair, NULL))
		return;
	if (bytes_are_zero(pair, sizeof(pair)))
		must(getrandom(pair, sizeof(pair), 0) == (ssize_t)sizeof(pair));
	for (unsigned i = 0; i < d->n; i++)
		if (d->disk[i].meta)
			disk_meta_set_pair(d->disk[i].meta, pair);
}

uint64_t disks_generation(const struct disks *d)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta_identity id = { 0 };

		if (d->disk[i].meta)
			disk_meta_get(d->disk[i].meta, &id);
		newest = id.generation > newest ? id.generation : newest;
	}
	return newest;
}

/* ---- while it runs ---- */

uint64_t disks_new_name(void)
{
	uint64_t name = 0;

	while (!name)
		must(getrandom(&name, sizeof(name), 0) == (ssize_t)sizeof(name));
	return name;
}

/* Puts the note of disk_meta_part() or disk_meta_change_sides() on stable storage. */
static int settle(struct disk_backend *d, void *meta)
{
	struct disk_meta_identity id;

	return disk_meta_get(meta, &id);
}

void disks_part(struct replica *r)
{
	uint64_t generation = failover_generation(&r->failover);
	struct disks *d = &r->disks;

	for (unsigned i = 0; i < d->n; i++) {
		if (!d->disk[i].meta)
			continue;
		disk_meta_part(d->disk[i].meta, disks_new_name(), generation);
		/* If the name cannot be written now, the disk's first write writes it, or fails. */
		disk_later(d->disk[i].image, settle, d->disk[i].meta);
	}
}

static int set_state(struct disk_backend *d, void *meta, enum disk_meta_state state)
{
	int error = disk_flush_image(d);

	return error ? error : disk_meta_set_state(meta, state);
}

static int set_behind(struct disk_backend *d, void *meta)
{
	return set_state(d, meta, DISK_BEHIND);
}

static int set_in_step(struct disk_backend *d, void *meta)
{
	return set_state(d, meta, DISK_IN_STEP);
}

/* Calls fn on each disk's own thread: the caller's thread may not be allowed to use files. */
static void on_disks(struct disks *d, int (*fn)(struct disk_backend *d, void *meta))
{
	for (unsigned i = 0; i < d->n; i++) {
		struct disk_meta *meta = d->disk[i].meta;
		int error = meta ? disk_between(d->disk[i].image, fn, meta) : 0;

		if (error)
			log_warn("disk %u: its metadata cannot be written: %s", i, strerror(error));
	}
}

void disks_settle(struct replica *r)
{
	on_disks(&r->disks, settle);
}

void disks_change_sides(struct replica *r, uint64_t seq, bool live)
{
	uint64_t generation = failover_generation(&r->failover);
	struct disks *d = &r->disks;

	for (unsigned i = 0; i < d->n; i++) {
		if (!d->disk[i].meta)
			continue;
		disk_meta_change_sides(d->disk[i].meta, generation, seq,
				       live ? DISK_IN_STEP : DISK_FOLLOWS);
		disk_meta_applied(d->disk[i].meta, live ? seq : UINT64_MAX);
		disk_later(d->disk[i].image, settle, d->disk[i].meta);
	}
}

void disks_applied(struct disks *d, uint64_t record)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->disk[i].meta)
			disk_meta_applied(d->disk[i].meta, record);
}

void disks_note_record(struct disks *d, uint64_t record)
{
	if (d->record)
		atomic_store(d->record, record);
}

void disks_end(struct disks *d, bool in_step, bool behind)
{
	if (behind)
		on_disks(d, set_behind);
	else if (in_step)
		on_disks(d, set_in_step);
}
