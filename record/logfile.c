// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parts of log files that their writer and reader share: the header and digests of files.
 * docs/log-format.md
 */
#include "record/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "hypervisor/clock.h"
#include "hypervisor/devices/disk.h"
#include "hypervisor/engine.h"
#include "record/logfile_private.h"

#define PATH_LEN_MAX   4096
#define APPEND_LEN_MAX 4096

static void ref_free(struct log_file_ref *r)
{
	free(r->path);
	r->path = NULL;
}

void log_header_free(struct log_header *h)
{
	free(h->append);
	h->append = NULL;
	ref_free(&h->kernel);
	for (unsigned i = 0; i < h->ninitrd; i++) {
		ref_free(&h->initrd[i].file);
		free(h->initrd[i].text);
	}
	h->ninitrd = 0;
	ref_free(&h->snapshot);
	for (unsigned i = 0; i < CARRIED; i++) {
		free(h->carried[i]);
		h->carried[i] = NULL;
	}
	for (unsigned i = 0; i < MACHINE_DISKS; i++)
		ref_free(&h->disk[i]);
}

static void ref_save(const struct log_file_ref *r, struct buf *out)
{
	buf_put_u8(out, r->path != NULL);
	if (!r->path)
		return;
	buf_put_str(out, r->path);
	buf_put_u64(out, r->digest);
}

static size_t carried_size(const struct log_header *h, unsigned which)
{
	return (size_t)h->config.carried_sectors[which] * DISK_SECTOR;
}

void log_header_save(const struct log_header *h, struct buf *out)
{
	struct buf config = BUF_INIT;

	machine_config_save(&h->config, &config);
	buf_put_blob(out, config.data, config.len);
	buf_free(&config);
	buf_put_str(out, h->engine);
	buf_put_str(out, h->counter);
	buf_put_u64(out, h->cpuid_digest);
	buf_put_str(out, h->append ? h->append : "");
	ref_save(&h->kernel, out);
	buf_put_u8(out, (uint8_t)h->ninitrd);
	for (unsigned i = 0; i < h->ninitrd; i++) {
		buf_put_str(out, h->initrd[i].file.path);
		buf_put_u64(out, h->initrd[i].file.digest);
		buf_put_str(out, h->initrd[i].text);
	}
	ref_save(&h->snapshot, out);
	for (unsigned i = 0; i < h->config.ndisks; i++)
		ref_save(&h->disk[i], out);
	for (unsigned i = 0; i < CARRIED; i++) {
		if (h->carried[i])
			buf_put_blob(out, h->carried[i], carried_size(h, i));
	}
	buf_put_u64(out, h->start_digest);
	buf_put_u64(out, h->start_count);
	buf_put_u64(out, h->anchor_ns);
	buf_put_u64(out, h->anchor_count);
	buf_put_u64(out, h->rate);
	buf_put_u64(out, h->epoch_ns);
	buf_put_u64(out, h->wall_ns);
	traits_save(&h->traits, out);
}

/* A string of at most max bytes without NUL inside, allocated; NULL (and r->bad) otherwise. */
static char *get_string(struct rd *r, size_t max)
{
	size_t n;
	const uint8_t *p = rd_blob(r, max, &n);
	char *s;

	if (r->bad || (n && memchr(p, 0, n))) {
		r->bad = true;
		return NULL;
	}
	s = malloc(n + 1);
	if (!s) {
		r->bad = true;
		return NULL;
	}
	if (n)
		memcpy(s, p, n);
	s[n] = 0;
	return s;
}

static void get_name(struct rd *r, char *name, size_t max)
{
	char *s = get_string(r, max - 1);

	if (s)
		strcpy(name, s);
	free(s);
}

static void ref_restore(struct log_file_ref *ref, struct rd *in)
{
	if (!rd_u8(in))
		return;
	ref->path = get_string(in, PATH_LEN_MAX);
	ref->digest = rd_u64(in);
}

static void modules_restore(struct log_header *h, struct rd *in)
{
	unsigned n = rd_u8(in);

	if (n > (h->version == LOG_VERSION_OLD ? 1 : BOOT_MODULES))
		in->bad = true;
	while (!in->bad && h->ninitrd < n) {
		struct log_module *m = &h->initrd[h->ninitrd++];

		m->file.path = get_string(in, PATH_LEN_MAX);
		m->file.digest = rd_u64(in);
		m->text = h->version == LOG_VERSION_OLD
				  ? (m->file.path ? strdup(m->file.path) : NULL)
				  : get_string(in, PATH_LEN_MAX);
		in->bad |= !m->text;
	}
}

/* Reads carried bytes, as many as the configuration says, which has been checked. */
static void carried_restore(struct log_header *h, unsigned which, struct rd *in)
{
	size_t size = carried_size(h, which), n;
	const uint8_t *data = size ? rd_blob(in, size, &n) : NULL;

	if (!size || in->bad || n != size) {
		in->bad |= size != 0;
		return;
	}
	h->carried[which] = malloc(size);
	if (h->carried[which])
		memcpy(h->carried[which], data, size);
	in->bad |= !h->carried[which];
}

/* The software CPU is the same everywhere, also where a log does not say so. */
static void header_traits(struct log_header *h, struct rd *in)
{
	if (h->version > LOG_VERSION_3)
		traits_restore(&h->traits, in);
	else if (engine_executor(h->engine) == ENGINE_SOFTWARE)
		traits_of_soft(h->config.version, &h->traits);
}

int log_header_restore(struct log_header *h, uint32_t version, struct rd *in, struct err *err)
{
	size_t n;
	const uint8_t *config = rd_blob(in, 4096, &n);
	struct rd c = { 0 };

	*h = (struct log_header){ .version = version };
	if (config)
		c = (struct rd)RD_INIT(config, n);
	if (in->bad || machine_config_restore(&h->config, &c) < 0 || rd_left(&c))
		return err_set(err, EINVAL,
			       "the header has no valid machine configuration of a version that "
			       "this program has (1 to %d, revision %d of 2)",
			       MACHINE_VERSIONS, MACHINE_V2_REVISION);
	get_name(in, h->engine, sizeof(h->engine));
	get_name(in, h->counter, sizeof(h->counter));
	h->cpuid_digest = rd_u64(in);
	h->append = get_string(in, APPEND_LEN_MAX);
	ref_restore(&h->kernel, in);
	modules_restore(h, in);
	ref_restore(&h->snapshot, in);
	for (unsigned i = 0; i < h->config.ndisks; i++)
		ref_restore(&h->disk[i], in);
	for (unsigned i = 0; i < CARRIED; i++)
		carried_restore(h, i, in);
	h->start_digest = rd_u64(in);
	h->start_count = rd_u64(in);
	h->anchor_ns = rd_u64(in);
	h->anchor_count = rd_u64(in);
	h->rate = rd_u64(in);
	h->epoch_ns = rd_u64(in);
	h->wall_ns = rd_u64(in);
	header_traits(h, in);
	if (in->bad || rd_left(in) || !h->rate || h->rate > CLOCK_RATE_MAX ||
	    h->anchor_count > h->start_count) {
		log_header_free(h);
		return err_set(err, EINVAL,
			       "the header has a wrong length or values that cannot be");
	}
	return 0;
}

uint64_t log_frame_check(const struct log_frame_header *h, const void *stored)
{
	uint64_t head = XXH3_64bits(h, offsetof(struct log_frame_header, check));

	return XXH3_64bits_withSeed(stored, h->stored, head);
}

int log_file_digest(const char *path, uint64_t *digest, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	XXH3_state_t *state = XXH3_createState();
	char *chunk = malloc(1 << 20);
	ssize_t n = 0;

	if (fd < 0) {
		ret = err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
	} else if (!state || !chunk) {
		ret = err_set(err, ENOMEM, "out of memory");
	} else {
		XXH3_64bits_reset(state);
		while ((n = read(fd, chunk, 1 << 20)) > 0)
			XXH3_64bits_update(state, chunk, (size_t)n);
		if (n < 0)
			ret = err_set(err, errno, "cannot read '%s': %s", path, strerror(errno));
		*digest = XXH3_64bits_digest(state);
	}
	free(chunk);
	XXH3_freeState(state);
	if (fd >= 0)
		close(fd);
	return ret;
}
