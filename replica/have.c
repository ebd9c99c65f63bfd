// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/have.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* block length of SHA-256 in bytes; the key is padded to one, so that it is hashed only once */
#define SHA256_BLOCK 64u
#define SHA256_LEN   32u

/* ---- the hash ---- */

struct hasher {
	EVP_MD_CTX *keyed, *page; /* state after the key; state for one page */
};

static void hasher_fini(struct hasher *h)
{
	EVP_MD_CTX_free(h->keyed);
	EVP_MD_CTX_free(h->page);
	*h = (struct hasher){ 0 };
}

static int hasher_init(struct hasher *h, const uint8_t key[HAVE_KEY])
{
	uint8_t block[SHA256_BLOCK] = { 0 };

	memcpy(block, key, HAVE_KEY);
	h->keyed = EVP_MD_CTX_new();
	h->page = EVP_MD_CTX_new();
	if (h->keyed && h->page && EVP_DigestInit_ex(h->keyed, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(h->keyed, block, sizeof(block)) == 1)
		return 0;
	hasher_fini(h);
	return -ENOMEM;
}

static bool hasher_get(struct hasher *h, const void *page, uint8_t hash[HAVE_HASH])
{
	uint8_t all[SHA256_LEN];

	if (EVP_MD_CTX_copy_ex(h->page, h->keyed) != 1 ||
	    EVP_DigestUpdate(h->page, page, PAGE_SIZE) != 1 ||
	    EVP_DigestFinal_ex(h->page, all, NULL) != 1)
		return false;
	memcpy(hash, all, HAVE_HASH);
	return true;
}

int have_prepare(struct err *err)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint8_t hash[HAVE_HASH];
	struct hasher h;
	bool works = hasher_init(&h, zeros) == 0 && hasher_get(&h, zeros, hash);

	hasher_fini(&h);
	return works ? 0 : err_set(err, ENOMEM, "OpenSSL has no SHA-256");
}

/* ---- the joining side ---- */

struct teller {
	const struct memory *mem;
	have_send *send;
	void *ctx;
	uint8_t key[HAVE_KEY];
	struct hasher hasher;
	struct buf message;
	unsigned in_message;
	/* number of the page after the last one listed; pages listed in all */
	uint64_t next, pages;
};

static void start_message(struct teller *t)
{
	t->in_message = 0;
	buf_clear(&t->message);
	buf_put_u8(&t->message, 0);
	buf_put(&t->message, t->key, sizeof(t->key));
}

static int send_message(struct teller *t, bool last, struct err *err)
{
	int ret;

	if (t->message.bad)
		return err_set(err, ENOMEM, "out of memory");
	t->message.data[0] = last;
	ret = t->send(t->ctx, &t->message);
	start_message(t);
	return ret < 0 ? err_set(err, -ret, "cannot send to the live side: %s", strerror(-ret)) : 0;
}

static int tell_page(struct teller *t, uint64_t page, struct err *err)
{
	const uint8_t *data = t->mem->base + page * PAGE_SIZE;
	uint8_t hash[HAVE_HASH];

	if (memory_page_is_zero(data))
		return 0;
	if (!hasher_get(&t->hasher, data, hash))
		return err_set(err, ENOMEM, "out of memory");
	buf_put_varint(&t->message, page - t->next);
	buf_put(&t->message, hash, sizeof(hash));
	t->next = page + 1;
	t->pages++;
	return ++t->in_message < HAVE_FRAME_PAGES ? 0 : send_message(t, false, err);
}

static int tell_all(struct teller *t, struct err *err)
{
	const struct memory *m = t->mem;
	int ret = 0;

	start_message(t);
	for (uint64_t i = memory_next_used(m, 0); i < m->pages && ret == 0;
	     i = memory_next_used(m, i)) {
		uint64_t end = memory_next_unused(m, i);

		for (; i < end && ret == 0; i++)
			ret = tell_page(t, i, err);
	}
	return ret < 0 ? ret : send_message(t, true, err);
}

int have_tell(const struct memory *mem, have_send *send, void *ctx, uint64_t *pages,
	      struct err *err)
{
	struct teller t = { .mem = mem, .send = send, .ctx = ctx };
	int ret;

	if (getrandom(t.key, sizeof(t.key), 0) != (ssize_t)sizeof(t.key))
		return err_set(err, EIO, "the host has no random numbers");
	if (hasher_init(&t.hasher, t.key) < 0)
		return err_set(err, ENOMEM, "out of memory");
	ret = tell_all(&t, err);
	*pages = t.pages;
	hasher_fini(&t.hasher);
	buf_free(&t.message);
	return ret;
}

/* ---- the live side ---- */

struct have {
	uint64_t pages, next; /* pages of the guest; number of the page after the last one listed */
	uint64_t n;	      /* pages on the list */
	atomic_bool complete;
	uint8_t key[HAVE_KEY];
	struct hasher hasher; /* no contexts before the first message */
	uint64_t *listed;     /* set of pages */
	uint64_t *claimed;    /* listed pages that were neither compared nor forgotten */
	uint64_t *first;      /* for each word of `listed`: index of its first page's hash */
	struct buf hashes;    /* hashes of the listed pages, in order of their numbers */
};

struct have *have_new(uint64_t pages)
{
	uint64_t words = page_set_words(pages);
	struct have *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->pages = pages;
	h->listed = calloc(words, sizeof(*h->listed));
	h->claimed = calloc(words, sizeof(*h->claimed));
	h->first = calloc(words, sizeof(*h->first));
	if (h->listed && h->claimed && h->first)
		return h;
	have_free(h);
	return NULL;
}

void have_free(struct have *h)
{
	if (!h)
		return;
	hasher_fini(&h->hasher);
	buf_free(&h->hashes);
	free(h->listed);
	free(h->claimed);
	free(h->first);
	free(h);
}

/*
 * Reads an entry. Its number says how many pages are skipped before it, so no page can be listed
 * twice.
 */
static int take_entry(struct have *h, struct rd *in, struct err *err)
{
	uint64_t skip = rd_varint(in), page;
	const uint8_t *hash = rd_bytes(in, HAVE_HASH);

	if (!hash || in->bad)
		return err_set(err, EBADMSG, "the backup's list of pages: entry %llu is cut short",
			       (unsigned long long)h->n);
	if (skip >= h->pages - h->next)
		return err_set(err, EBADMSG,
			       "the backup's list of pages: entry %llu is behind the end of the "
			       "guest's memory of %llu pages",
			       (unsigned long long)h->n, (unsigned long long)h->pages);
	page = h->next + skip;
	if (!h->listed[page / 64])
		h->first[page / 64] = h->n;
	page_set_add(h->listed, page);
	page_set_add(h->claimed, page);
	buf_put(&h->hashes, hash, HAVE_HASH);
	h->next = page + 1;
	h->n++;
	return h->hashes.bad ? err_set(err, ENOMEM, "out of memory for the backup's list of pages")
			     : 0;
}

static int take_key(struct have *h, struct rd *in, struct err *err)
{
	uint8_t key[HAVE_KEY];

	rd_get(in, key, sizeof(key));
	if (in->bad)
		return err_set(err, EBADMSG, "the backup's list of pages: a message is cut short");
	if (h->hasher.keyed)
		return memcmp(key, h->key, sizeof(key))
			       ? err_set(err, EBADMSG,
					 "the backup's list of pages: its key changes")
			       : 0;
	memcpy(h->key, key, sizeof(key));
	return hasher_init(&h->hasher, key) < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

int have_take(struct have *h, const uint8_t *data, size_t len, struct err *err)
{
	struct rd in = RD_INIT(data, len);
	uint8_t last = rd_u8(&in);
	uint64_t before = h->n;
	int ret;

	if (atomic_load(&h->complete))
		return err_set(err, EBADMSG, "the backup's list of pages goes on after its end");
	ret = take_key(h, &in, err);
	if (ret == 0 && last > 1)
		return err_set(err, EBADMSG, "the backup's list of pages: a message of kind %u",
			       last);
	while (ret == 0 && rd_left(&in)) {
		if (h->n - before == HAVE_FRAME_PAGES)
			return err_set(err, EBADMSG,
				       "the backup's list of pages: more than %u pages in a "
				       "message",
				       HAVE_FRAME_PAGES);
		ret = take_entry(h, &in, err);
	}
	if (ret == 0 && last)
		atomic_store(&h->complete, true);
	return ret;
}

bool have_is_complete(const struct have *h)
{
	return atomic_load(&h->complete);
}

uint64_t have_count(const struct have *h)
{
	return h->n;
}

uint64_t have_next(const struct have *h, uint64_t page)
{
	return page_set_next(h->listed, h->pages, page);
}

bool have_claims(const struct have *h, uint64_t page)
{
	return page_set_has(h->claimed, page);
}

void have_forget(struct have *h, uint64_t page)
{
	page_set_remove(h->claimed, page);
}

bool have_equal(struct have *h, uint64_t page, const void *data)
{
	uint64_t before = h->listed[page / 64] & ((1ull << (page % 64)) - 1);
	uint64_t at = h->first[page / 64] + (uint64_t)__builtin_popcountll(before);
	uint8_t hash[HAVE_HASH];

	if (!have_claims(h, page))
		return false;
	have_forget(h, page);
	return hasher_get(&h->hasher, data, hash) &&
	       !memcmp(hash, h->hashes.data + at * HAVE_HASH, HAVE_HASH);
}
