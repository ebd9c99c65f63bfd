// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Order on stable storage, which makes the file true at any instant:
 *
 *   a write to the image      comes after the page of active extents that has its extent
 *   an extent that leaves     comes after the image's flush, and after its blocks in the bitmap
 *   a new name of the content comes before the first write that the name covers
 *
 * A page of active extents goes to the two places in turn: a torn one is the newer one, whose write
 * to the image had not begun. Which of two was torn cannot be told from one that storage has
 * damaged, so then all blocks are in doubt. Pages of identity go to both places, one after the
 * other, and first to the one that may be torn since the crash before.
 */
#include "record/disk_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file_io.h"
#include "record/disk_meta_layout.h"

#define EXTENT_BLOCKS (DISK_META_EXTENT / DISK_META_BLOCK)
#define AHEAD_EXTENTS 8u /* made active together where writes are sequential */
/* extents that leave when there is no room: one flush serves all */
#define LEAVE_AT_ONCE (META_ACTIVE_MAX / 8)
#define ALL_BLOCKS    UINT64_MAX

_Static_assert(EXTENT_BLOCKS == 64, "one word has a bit for each block of an extent");
_Static_assert(DISK_META_WRITE_MAX / DISK_META_EXTENT + 1 + AHEAD_EXTENTS < META_ACTIVE_MAX,
	       "one write finds room");

/* An active extent. */
struct slot {
	uint64_t written; /* blocks of the extent written since it became active */
	uint64_t record;  /* the other side has executed its writes when it has applied this one */
	uint32_t busy;	  /* writes under way */
	uint64_t used;	  /* number of the last write, to find the extent that was idle longest */
};

struct disk_meta {
	int fd;
	char *name;
	uint64_t blocks, bitmap_pages;
	int (*flush)(void *ctx);
	void *flush_ctx;

	pthread_mutex_t io; /* held while pages are written; guards what follows */
	struct disk_meta_identity id;
	uint64_t identity_seq;
	uint32_t identity_at; /* which of its two pages is intact and the newer one */
	uint64_t writes;
	bool parted; /* the name of the content says that the other side does not follow */
	/* the file was only read so far: the state found in it (recover()) is not written yet */
	bool opened;
	/* when the file was read, a copy may have got our name before we were cut off */
	bool was_offered;
	uint8_t page[META_PAGE];

	pthread_mutex_t lock; /* never held while waiting for storage; inside io; guards: */
	bool follows;
	uint64_t applied; /* by the other side */
	/* the count of writes under way was lost, so none counts as executed by the other side */
	bool lost_count;
	/* The set on stable storage, or a part of it. Changed only with io held as well. */
	struct meta_active active;
	struct slot slot[META_ACTIVE_MAX];
	uint64_t *bits;	   /* whole pages of them */
	uint64_t *todo;	   /* blocks still to be sent; NULL: nothing is being sent */
	uint64_t *unsaved; /* a bit for each page of the bitmap that changed since it was written */
	bool offered;	   /* since disk_meta_follow() another copy may have our name */
	bool parting;	   /* disk_meta_part() was called and is to take effect */
	uint64_t part_current, part_generation;
	/* disk_meta_change_sides() was called and is to take effect, before the parting */
	bool siding;
	struct {
		uint64_t generation, record;
		enum disk_meta_state state;
	} side;
};

/* ---- pages ---- */

static int page_write(const struct disk_meta *m, uint64_t at)
{
	return file_write_at(m->fd, m->page, META_PAGE, at * META_PAGE);
}

static int page_read(int fd, uint64_t at, uint8_t *page)
{
	return file_read_at(fd, page, META_PAGE, at * META_PAGE);
}

static int stable(const struct disk_meta *m)
{
	return fdatasync(m->fd) ? errno : 0;
}

static int identity_save(struct disk_meta *m)
{
	int error = 0;

	m->identity_seq++;
	/* The other one first: it may be torn since a crash, and then this one is all there is. */
	for (unsigned i = 0; i < 2 && !error; i++) {
		uint32_t at = META_AT_IDENTITY + !m->identity_at;

		meta_put_identity(m->page, at, &m->id, m->identity_seq);
		error = page_write(m, at);
		error = error ? error : stable(m);
		if (!error)
			m->identity_at = !m->identity_at;
	}
	return error;
}

/* Writes the set of active extents *a to its page, which makes it the set that counts. */
static int active_save(struct disk_meta *m, const struct meta_active *a)
{
	/* Two places take turns, so that the set before is still there if this write is cut off. */
	uint32_t at = META_AT_ACTIVE + (uint32_t)(a->seq & 1);
	int error;

	meta_put_active(m->page, at, a);
	error = page_write(m, at);
	return error ? error : stable(m);
}

/* ---- bitmap ---- */

static void bits_note(struct disk_meta *m, uint64_t block)
{
	uint64_t page = block / META_PAGE_BLOCKS;

	m->unsaved[page / 64] |= 1ull << (page % 64);
}

/* lock held. */
static void bit_set(struct disk_meta *m, uint64_t block)
{
	uint64_t bit = 1ull << (block % 64);

	if (m->todo)
		m->todo[block / 64] |= bit;
	if (m->bits[block / 64] & bit)
		return;
	m->bits[block / 64] |= bit;
	bits_note(m, block);
}

/* lock held. Blocks of an extent, of which the last one of the image may have fewer. */
static void bits_set_extent(struct disk_meta *m, uint32_t extent, uint64_t mask)
{
	uint64_t first = (uint64_t)extent * EXTENT_BLOCKS;

	for (unsigned i = 0; i < EXTENT_BLOCKS && first + i < m->blocks; i++)
		if (mask >> i & 1)
			bit_set(m, first + i);
}

/* lock held. The next page that has to be written, from `page` on. */
static uint64_t unsaved_page(const struct disk_meta *m, uint64_t page)
{
	while (page < m->bitmap_pages && !(m->unsaved[page / 64] >> (page % 64) & 1))
		page++;
	return page;
}

/* lock held. */
static void bitmap_note_all(struct disk_meta *m)
{
	for (uint64_t p = 0; p < m->bitmap_pages; p++)
		m->unsaved[p / 64] |= 1ull << (p % 64);
}

/*
 * io held. Makes the pages written so far stable. After a failed flush it is unknown which pages
 * are stable, and the next flush does not cover them; so all are marked to be written again.
 */
static int bitmap_flush(struct disk_meta *m)
{
	int error = stable(m);

	if (!error)
		return 0;
	pthread_mutex_lock(&m->lock);
	bitmap_note_all(m);
	pthread_mutex_unlock(&m->lock);
	return error;
}

/* io held. A page that cannot be written stays noted. */
static int bitmap_save(struct disk_meta *m)
{
	uint64_t words = META_PAGE_BLOCKS / 64;
	bool wrote = false;

	for (uint64_t p = 0;; p++) {
		int error;

		pthread_mutex_lock(&m->lock);
		p = unsaved_page(m, p);
		if (p < m->bitmap_pages) {
			m->unsaved[p / 64] &= ~(1ull << (p % 64));
			meta_put_bitmap(m->page, (uint32_t)(META_AT_BITMAP + p),
					m->bits + p * words);
		}
		pthread_mutex_unlock(&m->lock);
		if (p >= m->bitmap_pages)
			return wrote ? bitmap_flush(m) : 0;
		error = page_write(m, META_AT_BITMAP + p);
		if (error) {
			pthread_mutex_lock(&m->lock);
			m->unsaved[p / 64] |= 1ull << (p % 64);
			pthread_mutex_unlock(&m->lock);
			return error;
		}
		wrote = true;
	}
}

/*
 * io held, before anything else is written: writes the state that was found in the file, with an
 * empty set of active extents. The earlier process may have been killed, so what was read of the
 * image and of these pages may be only in the host's memory; therefore it is flushed first.
 */
static int recover(struct disk_meta *m)
{
	struct meta_active none = { .seq = m->active.seq };
	int error;

	if (!m->opened)
		return 0;
	error = m->flush(m->flush_ctx);
	error = error ? error : stable(m);
	if (!error && m->id.doubtful)
		error = identity_save(m);
	error = error ? error : bitmap_save(m);
	/* to both places, as one of them may be damaged */
	for (unsigned i = 0; i < 2 && !error; i++) {
		none.seq++;
		error = active_save(m, &none);
	}
	if (error)
		return error;
	m->active.seq = none.seq;
	m->opened = false;
	return 0;
}

/* ---- the other side goes ---- */

static void identity_push_history(struct disk_meta_identity *id, uint64_t name)
{
	memmove(id->history + 1, id->history, sizeof(id->history) - sizeof(id->history[0]));
	id->history[0] = name;
}

/* Which other copy may have the name of this content, although this one is ahead. */
enum name_known {
	NAME_KNOWN_HERE,   /* none: this content keeps its name */
	NAME_KNOWN_OF_OLD, /* perhaps one that was made before we were cut off */
	NAME_KNOWN_THERE,  /* the copy that no longer follows */
};

/*
 * Gives the content a name of its own. The bitmap then shows how it differs from the base: the copy
 * that followed; or still the earlier base, if it is not known whether another copy has followed.
 */
static void identity_part(struct disk_meta_identity *id, uint64_t current, uint64_t generation,
			  enum name_known known)
{
	id->generation = generation;
	id->offered = false;
	if (id->state == DISK_AHEAD && known == NAME_KNOWN_HERE)
		return;
	if (id->state == DISK_AHEAD && known == NAME_KNOWN_OF_OLD) {
		identity_push_history(id, id->current);
		id->current = current;
		return;
	}
	/*
	 * a mixture does not have the content that its name stands for, so only a comparison of all
	 * blocks can follow
	 */
	id->base = id->state == DISK_SYNCING ? 0 : id->current;
	if (id->base)
		identity_push_history(id, id->base);
	id->current = current;
	id->state = DISK_AHEAD;
}

/* lock held. True: the other side may not have executed all writes to the extent. */
static bool slot_unsure(const struct disk_meta *m, const struct slot *s)
{
	return m->lost_count || s->busy || s->record > m->applied;
}

/* lock held. Adds to the bitmap the blocks of the first n extents that the other side may lack. */
static void slots_to_bits(struct disk_meta *m, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (slot_unsure(m, &m->slot[i]))
			bits_set_extent(m, m->active.extent[i], m->slot[i].written);
}

void disk_meta_part(struct disk_meta *m, uint64_t current, uint64_t generation)
{
	pthread_mutex_lock(&m->lock);
	if (m->follows)
		slots_to_bits(m, m->active.n);
	m->follows = false;
	m->parting = true;
	m->part_current = current;
	m->part_generation = generation;
	pthread_mutex_unlock(&m->lock);
}

void disk_meta_change_sides(struct disk_meta *m, uint64_t generation, uint64_t record,
			    enum disk_meta_state state)
{
	pthread_mutex_lock(&m->lock);
	if (!m->parting) {
		m->siding = true;
		m->side.generation = generation;
		m->side.record = record;
		m->side.state = state;
	}
	pthread_mutex_unlock(&m->lock);
}

/*
 * lock held. Puts changes that were requested and have not taken effect into the identity. True:
 * there were any.
 */
static bool identity_catch_up(struct disk_meta *m)
{
	if (m->siding) {
		m->id.generation = m->side.generation;
		m->id.record = m->side.record;
		m->id.state = m->side.state;
	}
	if (m->parting)
		identity_part(&m->id, m->part_current, m->part_generation,
			      m->offered       ? NAME_KNOWN_THERE
			      : m->was_offered ? NAME_KNOWN_OF_OLD
					       : NAME_KNOWN_HERE);
	m->offered &= !m->parting;
	m->was_offered &= !m->parting;
	return m->siding || m->parting;
}

/* io held. Makes the changes of disk_meta_part() and disk_meta_change_sides() stable. */
static int take_effect(struct disk_meta *m)
{
	bool parts, sides;
	int error = 0;

	pthread_mutex_lock(&m->lock);
	parts = m->parting;
	sides = m->siding;
	if (!identity_catch_up(m)) {
		pthread_mutex_unlock(&m->lock);
		return 0;
	}
	m->siding = m->parting = false;
	pthread_mutex_unlock(&m->lock);
	error = recover(m);
	error = error ? error : identity_save(m);
	pthread_mutex_lock(&m->lock);
	/* A newer request counts; otherwise the one that could not be written is tried again. */
	if (error && parts)
		m->parting = true;
	else if (error && !m->parting)
		m->siding |= sides;
	pthread_mutex_unlock(&m->lock);
	m->parted |= parts && !error;
	return error;
}

void disk_meta_set_owner(struct disk_meta *m, const uint8_t owner[DISK_META_ID_LEN])
{
	pthread_mutex_lock(&m->io);
	memcpy(m->id.owner, owner, DISK_META_ID_LEN);
	pthread_mutex_unlock(&m->io);
}

void disk_meta_set_pair(struct disk_meta *m, const uint8_t pair[DISK_META_ID_LEN])
{
	pthread_mutex_lock(&m->io);
	if (bytes_are_zero(m->id.pair, DISK_META_ID_LEN))
		memcpy(m->id.pair, pair, DISK_META_ID_LEN);
	pthread_mutex_unlock(&m->io);
}

void disk_meta_applied(struct disk_meta *m, uint64_t record)
{
	pthread_mutex_lock(&m->lock);
	m->applied = record;
	pthread_mutex_unlock(&m->lock);
}

/* ---- active extents ---- */

static int active_find(const struct meta_active *a, uint64_t extent)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (a->extent[i] == extent)
			return (int)i;
	return -1;
}

/* True: slot a should be reused before b. A slot with unfinished writes comes last. */
static bool idler(const struct slot *a, const struct slot *b)
{
	return !a->busy != !b->busy ? !a->busy : a->used < b->used;
}

/* Index of the extent that was idle longest among those from `from` on. */
static uint32_t idle_longest(const struct disk_meta *m, uint32_t from)
{
	uint32_t best = from;

	for (uint32_t i = from + 1; i < m->active.n; i++)
		if (idler(&m->slot[i], &m->slot[best]))
			best = i;
	return best;
}

static void slots_swap(struct disk_meta *m, uint32_t i, uint32_t j)
{
	struct slot s = m->slot[i];
	uint32_t e = m->active.extent[i];

	m->slot[i] = m->slot[j];
	m->active.extent[i] = m->active.extent[j];
	m->slot[j] = s;
	m->active.extent[j] = e;
}

/*
 * io held. Prepares the first n extents to leave the set: flushes the image, and adds to the bitmap
 * the blocks that the other side may lack. While it follows, those are the ones that it may not
 * have written yet.
 */
static int slots_settle(struct disk_meta *m, uint32_t n)
{
	int error = m->flush(m->flush_ctx);

	if (error)
		return error;
	pthread_mutex_lock(&m->lock);
	if (m->follows)
		slots_to_bits(m, n);
	pthread_mutex_unlock(&m->lock);
	return bitmap_save(m);
}

/* io held. Removes the first n extents in memory; the caller has to write the page. */
static void slots_drop(struct disk_meta *m, uint32_t n)
{
	uint32_t left = m->active.n - n;

	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < n; i++)
		m->lost_count |= m->slot[i].busy != 0;
	memmove(m->slot, m->slot + n, left * sizeof(m->slot[0]));
	memmove(m->active.extent, m->active.extent + n, left * sizeof(m->active.extent[0]));
	m->active.n = left;
	pthread_mutex_unlock(&m->lock);
}

/* io held. Makes room for n extents in the set: those that were idle longest come first and leave.
 */
static int active_make_room(struct disk_meta *m, uint32_t n)
{
	uint32_t leave = n > LEAVE_AT_ONCE ? n : LEAVE_AT_ONCE;
	int error;

	if (m->active.n + n <= META_ACTIVE_MAX)
		return 0;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < leave; i++)
		slots_swap(m, i, idle_longest(m, i));
	pthread_mutex_unlock(&m->lock);
	error = slots_settle(m, leave);
	if (error)
		return error;
	/* Saved with the extents that come: until then the page on storage has more than it needs.
	 */
	slots_drop(m, leave);
	return 0;
}

/* io held. Extents first to last become active, with some more where writes are sequential. */
static int active_add(struct disk_meta *m, uint64_t first, uint64_t last)
{
	uint64_t end = (m->blocks + EXTENT_BLOCKS - 1) / EXTENT_BLOCKS;
	bool sequential = first > 0 && active_find(&m->active, first - 1) >= 0;
	struct meta_active a;
	int error;

	if (sequential)
		last = last + AHEAD_EXTENTS < end ? last + AHEAD_EXTENTS : end - 1;
	error = active_make_room(m, (uint32_t)(last - first + 1));
	if (error)
		return error;
	a = m->active;
	for (uint64_t e = first; e <= last; e++)
		if (active_find(&a, e) < 0)
			a.extent[a.n++] = (uint32_t)e;
	a.seq = m->active.seq + 1;
	error = active_save(m, &a);
	if (error)
		return error;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = m->active.n; i < a.n; i++)
		m->slot[i] = (struct slot){ .used = m->writes };
	m->active = a;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* io held. Notes the blocks of a write whose extents are active. */
static void write_note(struct disk_meta *m, uint64_t offset, uint64_t len)
{
	uint64_t first = offset / DISK_META_BLOCK, last = (offset + len - 1) / DISK_META_BLOCK;
	struct slot *s = NULL;

	pthread_mutex_lock(&m->lock);
	for (uint64_t b = first; b <= last; b++) {
		if (!s || b % EXTENT_BLOCKS == 0) {
			s = &m->slot[active_find(&m->active, b / EXTENT_BLOCKS)];
			s->busy++;
			s->used = m->writes;
		}
		s->written |= 1ull << (b % EXTENT_BLOCKS);
		if (!m->follows)
			bit_set(m, b);
	}
	pthread_mutex_unlock(&m->lock);
}

void disk_meta_finished(struct disk_meta *m, uint64_t offset, uint64_t len, uint64_t record)
{
	uint64_t first = offset / DISK_META_EXTENT, last = (offset + len - 1) / DISK_META_EXTENT;

	pthread_mutex_lock(&m->lock);
	for (uint64_t e = first; e <= last; e++) {
		int at = active_find(&m->active, e);

		if (at < 0 || !m->slot[at].busy)
			continue;
		m->slot[at].busy--;
		if (m->slot[at].record < record)
			m->slot[at].record = record;
	}
	pthread_mutex_unlock(&m->lock);
}

static bool follows(struct disk_meta *m)
{
	bool yes;

	pthread_mutex_lock(&m->lock);
	yes = m->follows;
	pthread_mutex_unlock(&m->lock);
	return yes;
}

static bool all_active(const struct disk_meta *m, uint64_t first, uint64_t last)
{
	for (uint64_t e = first; e <= last; e++)
		if (active_find(&m->active, e) < 0)
			return false;
	return true;
}

int disk_meta_write(struct disk_meta *m, uint64_t offset, uint64_t len)
{
	uint64_t first = offset / DISK_META_EXTENT, last = (offset + len - 1) / DISK_META_EXTENT;
	int error;

	if (len == 0 || len > DISK_META_WRITE_MAX || offset > m->id.image_bytes ||
	    len > m->id.image_bytes - offset)
		return EINVAL;
	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	if (!error && !m->parted && !follows(m))
		error = EPERM;
	error = error ? error : recover(m);
	m->writes++;
	if (!error && !all_active(m, first, last))
		error = active_add(m, first, last);
	if (!error)
		write_note(m, offset, len);
	pthread_mutex_unlock(&m->io);
	return error;
}

/* ---- what a join asks ---- */

void disk_meta_set(struct disk_meta *m, uint64_t block)
{
	pthread_mutex_lock(&m->lock);
	bit_set(m, block);
	pthread_mutex_unlock(&m->lock);
}

uint64_t disk_meta_blocks(struct disk_meta *m)
{
	uint64_t blocks;

	pthread_mutex_lock(&m->lock);
	blocks = m->blocks;
	pthread_mutex_unlock(&m->lock);
	return blocks;
}

/* First of `blocks` bits that is set, from `block` on; UINT64_MAX: none. */
static uint64_t bits_next(const uint64_t *bits, uint64_t blocks, uint64_t block)
{
	while (block < blocks) {
		uint64_t word = bits[block / 64] >> (block % 64);

		if (word)
			return block + (uint64_t)__builtin_ctzll(word);
		block = (block / 64 + 1) * 64;
	}
	return UINT64_MAX;
}

static uint64_t bits_count(const uint64_t *bits, uint64_t blocks)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < (blocks + 63) / 64; i++)
		n += (uint64_t)__builtin_popcountll(bits[i]);
	return n;
}

uint64_t disk_meta_next(struct disk_meta *m, uint64_t block)
{
	uint64_t found;

	pthread_mutex_lock(&m->lock);
	found = bits_next(m->bits, m->blocks, block);
	pthread_mutex_unlock(&m->lock);
	return found;
}

uint64_t disk_meta_count(struct disk_meta *m)
{
	uint64_t n;

	pthread_mutex_lock(&m->lock);
	n = bits_count(m->bits, m->blocks);
	pthread_mutex_unlock(&m->lock);
	return n;
}

/* ---- sending ---- */

static int identity_change(struct disk_meta *m, const struct disk_meta_identity *id);

bool disk_meta_sync_begin(struct disk_meta *m)
{
	uint64_t words = m->bitmap_pages * (META_PAGE_BLOCKS / 64);
	uint64_t *todo = malloc(words * sizeof(*todo));

	if (!todo)
		return false;
	pthread_mutex_lock(&m->lock);
	memcpy(todo, m->bits, words * sizeof(*todo));
	free(m->todo);
	m->todo = todo;
	pthread_mutex_unlock(&m->lock);
	return true;
}

/* The base is in the history, so the copy that has it is compared as a whole. */
int disk_meta_forget_base(struct disk_meta *m)
{
	struct disk_meta_identity id;
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	id = m->id;
	id.base = 0;
	if (!error && m->id.base)
		error = identity_change(m, &id);
	pthread_mutex_unlock(&m->io);
	return error;
}

int disk_meta_offer(struct disk_meta *m)
{
	struct disk_meta_identity id;
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	id = m->id;
	id.offered = true;
	if (!error && id.state == DISK_AHEAD && !m->id.offered)
		error = identity_change(m, &id);
	pthread_mutex_unlock(&m->io);
	return error;
}

void disk_meta_sync_end(struct disk_meta *m)
{
	pthread_mutex_lock(&m->lock);
	free(m->todo);
	m->todo = NULL;
	pthread_mutex_unlock(&m->lock);
}

uint64_t disk_meta_sync_take(struct disk_meta *m, uint64_t block)
{
	uint64_t found = UINT64_MAX;

	pthread_mutex_lock(&m->lock);
	if (m->todo)
		found = bits_next(m->todo, m->blocks, block);
	if (found != UINT64_MAX)
		m->todo[found / 64] &= ~(1ull << (found % 64));
	pthread_mutex_unlock(&m->lock);
	return found;
}

uint64_t disk_meta_sync_left(struct disk_meta *m)
{
	uint64_t n;

	pthread_mutex_lock(&m->lock);
	n = m->todo ? bits_count(m->todo, m->blocks) : 0;
	pthread_mutex_unlock(&m->lock);
	return n;
}

void disk_meta_sync_done(struct disk_meta *m, uint64_t block)
{
	uint64_t bit = 1ull << (block % 64);

	pthread_mutex_lock(&m->lock);
	if (m->todo && !(m->todo[block / 64] & bit) && m->bits[block / 64] & bit) {
		m->bits[block / 64] &= ~bit;
		bits_note(m, block);
	}
	pthread_mutex_unlock(&m->lock);
}

int disk_meta_get(struct disk_meta *m, struct disk_meta_identity *id)
{
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	*id = m->id;
	pthread_mutex_unlock(&m->io);
	return error;
}

int disk_meta_save(struct disk_meta *m)
{
	int error;

	pthread_mutex_lock(&m->io);
	error = recover(m);
	error = error ? error : bitmap_save(m);
	pthread_mutex_unlock(&m->io);
	return error;
}

static int identity_change(struct disk_meta *m, const struct disk_meta_identity *id)
{
	struct disk_meta_identity before = m->id;
	int error = recover(m);

	m->id = *id;
	error = error ? error : identity_save(m);
	if (error)
		m->id = before;
	return error;
}

int disk_meta_set_state(struct disk_meta *m, enum disk_meta_state s)
{
	struct disk_meta_identity id;
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	id = m->id;
	id.state = s;
	id.offered = false;
	error = error ? error : identity_change(m, &id);
	pthread_mutex_unlock(&m->io);
	return error;
}

int disk_meta_adopt(struct disk_meta *m, uint64_t generation, const uint8_t owner[DISK_META_ID_LEN])
{
	struct disk_meta_identity id;
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	id = m->id;
	memcpy(id.owner, owner, DISK_META_ID_LEN);
	if (generation) {
		id.generation = generation;
		/* this side was live in that generation, so no content is newer */
		if (id.state == DISK_FOLLOWS || id.state == DISK_BEHIND)
			id.state = DISK_IN_STEP;
	}
	error = error ? error : identity_change(m, &id);
	pthread_mutex_unlock(&m->io);
	return error;
}

int disk_meta_discard(struct disk_meta *m)
{
	struct disk_meta_identity id;
	int error;

	pthread_mutex_lock(&m->io);
	id = m->id;
	id.state = DISK_SYNCING;
	id.current = id.base = 0;
	id.offered = false;
	memset(id.history, 0, sizeof(id.history));
	error = identity_change(m, &id);
	pthread_mutex_unlock(&m->io);
	return error;
}

/* Writes that are not over are executed by the other side, too: from its state, or its records. */
void disk_meta_follow(struct disk_meta *m)
{
	pthread_mutex_lock(&m->lock);
	m->follows = m->offered = true;
	for (uint32_t i = 0; i < m->active.n; i++) {
		m->slot[i].record = 0;
		if (!m->slot[i].busy)
			m->slot[i].written = 0;
	}
	pthread_mutex_unlock(&m->lock);
}

/* lock held. What is left in the bitmap is what has been set since disk_meta_follow(). */
static void bits_forget(struct disk_meta *m)
{
	for (uint64_t i = 0; i < m->bitmap_pages * (META_PAGE_BLOCKS / 64); i++) {
		uint64_t since = m->todo ? m->todo[i] : 0;

		if (m->bits[i] != since)
			bits_note(m, i * 64);
		m->bits[i] = since;
	}
	free(m->todo);
	m->todo = NULL;
}

/* Writes the names before the empty bitmap, because a bitmap with too many bits does no harm. */
int disk_meta_join(struct disk_meta *m, const struct disk_meta_identity *common)
{
	struct disk_meta_identity id = *common;
	int error;

	pthread_mutex_lock(&m->io);
	if (!bytes_are_zero(m->id.pair, DISK_META_ID_LEN))
		memcpy(id.pair, m->id.pair, sizeof(id.pair));
	if (!bytes_are_zero(m->id.disk, DISK_META_ID_LEN))
		memcpy(id.disk, m->id.disk, sizeof(id.disk));
	memcpy(id.owner, m->id.owner, sizeof(id.owner));
	id.image_bytes = m->id.image_bytes;
	id.state = common->state == DISK_FOLLOWS ? DISK_FOLLOWS : DISK_IN_STEP;
	id.base = 0;
	id.doubtful = id.offered = false;
	error = m->flush(m->flush_ctx);
	error = error ? error : identity_change(m, &id);
	if (!error) {
		m->parted = false;
		pthread_mutex_lock(&m->lock);
		m->follows = true;
		m->offered = m->parting = m->siding = false;
		bits_forget(m);
		pthread_mutex_unlock(&m->lock);
		error = bitmap_save(m);
	}
	pthread_mutex_unlock(&m->io);
	return error;
}

/* ---- names ---- */

static bool in_history(const struct disk_meta_identity *id, uint64_t name)
{
	for (unsigned i = 0; i < DISK_META_HISTORY; i++)
		if (name && id->history[i] == name)
			return true;
	return false;
}

/* Relation of two contents with different names. */
static struct disk_relation relation_by_names(const struct disk_meta_identity *mine,
					      const struct disk_meta_identity *theirs)
{
	if (mine->base == theirs->current)
		return (struct disk_relation){ DISK_NEWER_MINE, false };
	if (theirs->base == mine->current)
		return (struct disk_relation){ DISK_NEWER_THEIRS, false };
	if (in_history(mine, theirs->current))
		return (struct disk_relation){ DISK_NEWER_MINE, true };
	if (in_history(theirs, mine->current))
		return (struct disk_relation){ DISK_NEWER_THEIRS, true };
	return (struct disk_relation){ DISK_NEWER_SPLIT, true };
}

/* Relation when one disk is an unfinished copy: the other one is right, if it is newer. */
static struct disk_relation relation_with_mixture(const struct disk_meta_identity *mine,
						  const struct disk_meta_identity *theirs)
{
	struct disk_relation r = relation_by_names(mine, theirs);
	bool my_own = mine->state == DISK_SYNCING;

	if (my_own && theirs->state == DISK_SYNCING)
		return (struct disk_relation){ DISK_NEWER_BROKEN, true };
	if (mine->current == theirs->current)
		r = (struct disk_relation){ my_own ? DISK_NEWER_THEIRS : DISK_NEWER_MINE, false };
	return r;
}

static bool other_id(const uint8_t *mine, const uint8_t *theirs)
{
	return !bytes_are_zero(mine, DISK_META_ID_LEN) &&
	       !bytes_are_zero(theirs, DISK_META_ID_LEN) && memcmp(mine, theirs, DISK_META_ID_LEN);
}

static struct disk_relation relation_by_content(const struct disk_meta_identity *mine,
						const struct disk_meta_identity *theirs)
{
	struct disk_relation r = { DISK_NEWER_NEITHER, false };

	if (!mine->current || !theirs->current)
		return (struct disk_relation){ mine->current	 ? DISK_NEWER_MINE
					       : theirs->current ? DISK_NEWER_THEIRS
								 : DISK_NEWER_UNKNOWN,
					       true };
	if (mine->state == DISK_SYNCING || theirs->state == DISK_SYNCING)
		r = relation_with_mixture(mine, theirs);
	else if (mine->current != theirs->current)
		r = relation_by_names(mine, theirs);
	r.whole |= mine->doubtful || theirs->doubtful;
	return r;
}

/*
 * True: the older copy may have another length, because the disk has grown since, or because the
 * copy grew while no other side followed it. New images must have equal lengths.
 */
static bool may_differ_in_length(enum disk_newer newer, const struct disk_meta_identity *mine,
				 const struct disk_meta_identity *theirs)
{
	return mine->current && theirs->current &&
	       (newer == DISK_NEWER_MINE || newer == DISK_NEWER_THEIRS);
}

struct disk_relation disk_meta_relation(const struct disk_meta_identity *mine,
					const struct disk_meta_identity *theirs)
{
	struct disk_relation r;

	if (other_id(mine->pair, theirs->pair) || other_id(mine->disk, theirs->disk))
		return (struct disk_relation){ DISK_NEWER_FOREIGN, true };
	r = relation_by_content(mine, theirs);
	if (mine->image_bytes != theirs->image_bytes &&
	    !may_differ_in_length(r.newer, mine, theirs))
		return (struct disk_relation){ DISK_NEWER_SIZE, true };
	return r;
}

const char *disk_meta_state_name(enum disk_meta_state s)
{
	static const char *const names[DISK_STATES] = {
		[DISK_IN_STEP] = "in step",
		[DISK_AHEAD] = "ahead",
		[DISK_BEHIND] = "behind",
		[DISK_SYNCING] = "being synchronised",
		[DISK_FOLLOWS] = "in step, following",
	};

	return s < DISK_STATES ? names[s] : "unknown";
}

const char *disk_meta_state_doubt(enum disk_meta_state s)
{
	static const char *const why[DISK_STATES] = {
		[DISK_BEHIND] = "the other side has gone on without it",
		[DISK_SYNCING] =
			"it is in the middle of being synchronised, so neither old nor new",
		[DISK_FOLLOWS] = "it followed a live side, which may have flushed more than had "
				 "arrived here",
	};

	return why[s];
}

/* ---- growth ---- */

/* Copies words that there are into as many as there are to be; the old ones stay the caller's. */
static uint64_t *words_grow(const uint64_t *from, uint64_t had, uint64_t words)
{
	uint64_t *to = calloc(words, sizeof(*to));

	if (to && had)
		memcpy(to, from, had * sizeof(*to));
	return to;
}

/* io held. Room in memory for the blocks of a longer image. */
static int sets_grow(struct disk_meta *m, uint64_t pages)
{
	uint64_t had = m->bitmap_pages * (META_PAGE_BLOCKS / 64);
	uint64_t words = pages * (META_PAGE_BLOCKS / 64), *bits, *unsaved, *todo;
	bool sends;

	pthread_mutex_lock(&m->lock);
	sends = m->todo != NULL;
	bits = words_grow(m->bits, had, words);
	unsaved = words_grow(m->unsaved, (m->bitmap_pages + 63) / 64, (pages + 63) / 64);
	todo = sends ? words_grow(m->todo, had, words) : NULL;
	if (!bits || !unsaved || (sends && !todo)) {
		pthread_mutex_unlock(&m->lock);
		free(bits);
		free(unsaved);
		free(todo);
		return ENOMEM;
	}
	free(m->bits);
	free(m->unsaved);
	free(m->todo);
	m->bits = bits;
	m->unsaved = unsaved;
	m->todo = todo;
	m->bitmap_pages = pages;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* io held. The pages of the bitmap that a longer image needs, all clear, on stable storage. */
static int bitmap_extend(struct disk_meta *m, uint64_t pages, uint64_t bytes)
{
	static const uint64_t none[META_PAGE_BLOCKS / 64];
	int error = pages > m->bitmap_pages
			    ? posix_fallocate(m->fd, 0, (off_t)meta_file_bytes(bytes))
			    : 0;

	for (uint64_t p = m->bitmap_pages; p < pages && !error; p++) {
		meta_put_bitmap(m->page, (uint32_t)(META_AT_BITMAP + p), none);
		error = page_write(m, META_AT_BITMAP + p);
	}
	return error || pages == m->bitmap_pages ? error : stable(m);
}

/* io held. Writes the identity last, when everything that it describes is there. */
static int grow(struct disk_meta *m, uint64_t bytes)
{
	uint64_t pages = meta_bitmap_pages(bytes), before = m->id.image_bytes;
	int error = recover(m);

	error = error ? error : bitmap_extend(m, pages, bytes);
	error = error || pages == m->bitmap_pages ? error : sets_grow(m, pages);
	if (error)
		return error;
	m->id.image_bytes = bytes;
	error = identity_save(m);
	if (error) {
		m->id.image_bytes = before;
		return error;
	}
	pthread_mutex_lock(&m->lock);
	m->blocks = meta_blocks(bytes);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

int disk_meta_grow(struct disk_meta *m, uint64_t image_bytes)
{
	int error = 0;

	if (image_bytes > DISK_META_IMAGE_MAX)
		return EFBIG;
	pthread_mutex_lock(&m->io);
	if (image_bytes > m->id.image_bytes) {
		error = take_effect(m);
		error = error ? error : grow(m, image_bytes);
	}
	pthread_mutex_unlock(&m->io);
	return error;
}

/*
 * io held. Writes the identity first: an image that is longer than it says is refused with a
 * message.
 */
static int shorten(struct disk_meta *m, uint64_t bytes)
{
	struct disk_meta_identity id;
	int error = take_effect(m);

	id = m->id;
	id.image_bytes = bytes;
	error = error ? error : identity_change(m, &id);
	if (error)
		return error;
	pthread_mutex_lock(&m->lock);
	for (uint64_t b = meta_blocks(bytes); b < m->blocks; b++) {
		m->bits[b / 64] &= ~(1ull << (b % 64));
		bits_note(m, b);
	}
	m->blocks = meta_blocks(bytes);
	pthread_mutex_unlock(&m->lock);
	return bitmap_save(m);
}

int disk_meta_cut(struct disk_meta *m, uint64_t image_bytes)
{
	int error = 0;

	if (!image_bytes)
		return EINVAL;
	pthread_mutex_lock(&m->io);
	if (m->active.n || m->todo)
		error = EBUSY;
	else if (image_bytes < m->id.image_bytes)
		error = shorten(m, image_bytes);
	pthread_mutex_unlock(&m->io);
	return error;
}

/* ---- opening and closing ---- */

static int name_error(struct err *err, const char *name, int error)
{
	return err_set(err, error, "disk metadata %s: %s", name, strerror(error));
}

int disk_meta_format(int fd, const char *name, const struct disk_meta_identity *id, struct err *err)
{
	struct disk_meta m = { .fd = fd, .id = *id };
	static const uint64_t none[META_PAGE_BLOCKS / 64];
	int error = 0;

	if (id->image_bytes == 0 || id->image_bytes > DISK_META_IMAGE_MAX)
		return err_set(err, EINVAL, "disk metadata %s: an image of %llu bytes has no place",
			       name, (unsigned long long)id->image_bytes);
	error = posix_fallocate(fd, 0, (off_t)meta_file_bytes(id->image_bytes));
	for (uint64_t p = 0; p < meta_bitmap_pages(id->image_bytes) && !error; p++) {
		meta_put_bitmap(m.page, (uint32_t)(META_AT_BITMAP + p), none);
		error = page_write(&m, META_AT_BITMAP + p);
	}
	for (m.active.seq = 0; m.active.seq < 2 && !error; m.active.seq++)
		error = active_save(&m, &m.active);
	if (!error)
		error = identity_save(&m);
	return error ? name_error(err, name, error) : 0;
}

/* The newer of two pages of identity. */
static int identity_load(struct disk_meta *m, struct err *err)
{
	bool found = false;
	int why = -EBADMSG;

	for (uint32_t i = 0; i < 2; i++) {
		struct disk_meta_identity id = { 0 };
		uint64_t seq;
		int error = page_read(m->fd, META_AT_IDENTITY + i, m->page), ret;

		if (error)
			return name_error(err, m->name, error);
		ret = meta_get_identity(m->page, META_AT_IDENTITY + i, &id, &seq);
		if (ret == -EPROTONOSUPPORT)
			why = ret;
		if (ret || (found && seq <= m->identity_seq))
			continue;
		found = true;
		m->id = id;
		m->identity_seq = seq;
		m->identity_at = i;
	}
	if (found)
		return 0;
	return why == -EPROTONOSUPPORT
		       ? err_set(err, -why, "disk metadata %s: of another version than 1 to %u",
				 m->name, META_VERSION)
		       : err_set(err, -why,
				 "disk metadata %s: no intact identity in its first 8 KiB: "
				 "damaged, or "
				 "not metadata of a disk",
				 m->name);
}

static int bitmap_load(struct disk_meta *m)
{
	uint64_t words = META_PAGE_BLOCKS / 64;

	for (uint64_t p = 0; p < m->bitmap_pages; p++) {
		int error = page_read(m->fd, META_AT_BITMAP + p, m->page);

		if (error)
			return error;
		if (!meta_get_bitmap(m->page, (uint32_t)(META_AT_BITMAP + p), m->bits + p * words))
			continue;
		/* Torn or damaged: any of its blocks may differ. */
		memset(m->bits + p * words, 0xff, words * sizeof(m->bits[0]));
		m->unsaved[p / 64] |= 1ull << (p % 64);
	}
	for (uint64_t b = m->blocks; b < m->bitmap_pages * META_PAGE_BLOCKS; b++)
		m->bits[b / 64] &= ~(1ull << (b % 64));
	return 0;
}

/* Extents that were being written when the image was closed, or cut off, count as written. */
static int active_load(struct disk_meta *m)
{
	struct meta_active *a = calloc(2, sizeof(*a));
	bool intact[2];
	int error = a ? 0 : ENOMEM;
	unsigned newer;

	for (uint32_t i = 0; i < 2 && !error; i++) {
		error = page_read(m->fd, META_AT_ACTIVE + i, m->page);
		intact[i] = !error &&
			    !meta_get_active(m->page, META_AT_ACTIVE + i, m->id.image_bytes, &a[i]);
	}
	if (!error) {
		newer = !intact[0] || (intact[1] && a[1].seq > a[0].seq);
		m->id.doubtful |= !intact[0] || !intact[1];
		m->active.seq = intact[newer] ? a[newer].seq : 1;
		for (uint32_t i = 0; intact[newer] && i < a[newer].n; i++)
			bits_set_extent(m, a[newer].extent[i], ALL_BLOCKS);
	}
	free(a);
	return error;
}

static int sets_load(struct disk_meta *m, struct err *err)
{
	int error;

	m->blocks = meta_blocks(m->id.image_bytes);
	m->bitmap_pages = meta_bitmap_pages(m->id.image_bytes);
	m->bits = calloc(m->bitmap_pages * (META_PAGE_BLOCKS / 64), sizeof(*m->bits));
	m->unsaved = calloc((m->bitmap_pages + 63) / 64, sizeof(*m->unsaved));
	error = m->bits && m->unsaved ? bitmap_load(m) : ENOMEM;
	error = error ? error : active_load(m);
	m->opened = true;
	return error ? name_error(err, m->name, error) : 0;
}

void disk_meta_abandon(struct disk_meta *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->io);
	pthread_mutex_destroy(&m->lock);
	free(m->bits);
	free(m->unsaved);
	free(m->todo);
	free(m->name);
	free(m);
}

int disk_meta_peek(int fd, const char *name, struct disk_meta_identity *id, struct err *err)
{
	struct disk_meta m = { .fd = fd, .name = (char *)(uintptr_t)name };
	int ret = identity_load(&m, err);

	if (ret == 0)
		*id = m.id;
	return ret;
}

struct disk_meta *disk_meta_open(int fd, const char *name, uint64_t image_bytes,
				 int (*flush)(void *ctx), void *ctx, struct err *err)
{
	struct disk_meta *m = calloc(1, sizeof(*m));

	if (!m || !(m->name = strdup(name))) {
		free(m);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	m->fd = fd;
	m->flush = flush;
	m->flush_ctx = ctx;
	pthread_mutex_init(&m->io, NULL);
	pthread_mutex_init(&m->lock, NULL);
	if (identity_load(m, err))
		goto fail;
	if (m->id.image_bytes != image_bytes) {
		err_set(err, EINVAL,
			"disk metadata %s: of an image of %llu bytes, and the image has %llu%s",
			name, (unsigned long long)m->id.image_bytes,
			(unsigned long long)image_bytes,
			image_bytes < m->id.image_bytes
				? ""
				: ". Where that is a growth that was cut off, cut the image back "
				  "to its old length (truncate -s BYTES)");
		goto fail;
	}
	if (sets_load(m, err))
		goto fail;
	m->was_offered = m->id.offered;
	return m;
fail:
	disk_meta_abandon(m);
	return NULL;
}

int disk_meta_close(struct disk_meta *m)
{
	struct meta_active none = { 0 };
	int error;

	pthread_mutex_lock(&m->io);
	error = take_effect(m);
	if (m->opened) { /* nothing was written since it was opened, so nothing need be now */
		pthread_mutex_unlock(&m->io);
		disk_meta_abandon(m);
		return error;
	}
	error = error ? error : slots_settle(m, m->active.n);
	if (!error && m->active.n) {
		none.seq = m->active.seq + 1;
		error = active_save(m, &none);
	}
	pthread_mutex_unlock(&m->io);
	disk_meta_abandon(m);
	return error;
}
