// SPDX-License-Identifier: GPL-2.0-or-later
/* cloud-init's disk: read back as ECMA-119 says, from the files that were given. */
#include "host/cloud_init.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit.h"

#define BLOCK 2048u

static char dir[40], user[80], meta[80], network[80];
static struct buf disk;
static struct err err;

static void put_file(const char *path, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
}

static void put(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

static void setup(void)
{
	strcpy(dir, "/tmp/twinstep-seed-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(user, sizeof(user), "%s/u,1", dir);
	snprintf(meta, sizeof(meta), "%s/m", dir);
	snprintf(network, sizeof(network), "%s/n", dir);
	put(user, "#cloud-config\nhostname: here\n");
	put(meta, "instance-id: one\n");
	put(network, "version: 2\n");
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	buf_free(&disk);
	unlink(user);
	unlink(meta);
	unlink(network);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int make(const char *m, const char *n)
{
	const struct cloud_init_opt o = { .user_data = user,
					  .meta_data = (char *)(uintptr_t)m,
					  .network_config = (char *)(uintptr_t)n };

	buf_clear(&disk);
	return cloud_init_make(&o, &disk, &err);
}

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The content of a file of the root directory, as a string; NULL: it is not there. */
static char *find(const char *name)
{
	const uint8_t *volume = disk.data + 16 * BLOCK, *root = volume + 156;
	const uint8_t *at = disk.data + (size_t)le32(root + 2) * BLOCK;
	const uint8_t *end = at + le32(root + 10);

	for (; at < end && *at; at += *at) {
		uint32_t size = le32(at + 10), block = le32(at + 2);

		ck_assert_uint_eq(*at % 2, 0);
		ck_assert_uint_eq(be32(at + 6), block);
		ck_assert_uint_eq(be32(at + 14), size);
		ck_assert((size_t)block * BLOCK + size <= disk.len);
		if (at[32] == strlen(name) && !memcmp(at + 33, name, at[32]))
			return strndup((const char *)disk.data + (size_t)block * BLOCK, size);
	}
	return NULL;
}

static void expect(const char *name, const char *content)
{
	char *got = find(name);

	ck_assert_msg(got && content ? !strcmp(got, content) : got == content, "%s: %s", name,
		      got ? got : "none");
	free(got);
}

START_TEST(a_volume_with_three_files)
{
	const uint8_t *volume;

	ck_assert_msg(make(meta, network) == 0, "%s", err.text);
	volume = disk.data + 16 * BLOCK;
	ck_assert_uint_eq(disk.len % BLOCK, 0);
	ck_assert_mem_eq(volume, "\1CD001\1", 7);
	ck_assert_mem_eq(volume + 40, "cidata ", 7);
	ck_assert_uint_eq(le32(volume + 80), disk.len / BLOCK);
	ck_assert_uint_eq(be32(volume + 84), disk.len / BLOCK);
	ck_assert_mem_eq(volume + 881, "\1", 1);
	ck_assert_mem_eq(volume + BLOCK,
			 "\xff"
			 "CD001\1",
			 7);
	expect("user-data", "#cloud-config\nhostname: here\n");
	expect("meta-data", "instance-id: one\n");
	expect("network-config", "version: 2\n");
	/* both path tables name the root */
	ck_assert_uint_eq(le32(disk.data + (size_t)le32(volume + 140) * BLOCK + 2), 20);
	ck_assert_uint_eq(be32(disk.data + (size_t)be32(volume + 148) * BLOCK + 2), 20);
}
END_TEST

START_TEST(an_instance_is_made_of_its_user_data)
{
	struct buf first;
	char *a, *b;

	ck_assert_int_eq(make(NULL, NULL), 0);
	first = disk;
	disk = (struct buf)BUF_INIT;
	ck_assert_int_eq(make(NULL, NULL), 0);
	ck_assert(first.len == disk.len && !memcmp(first.data, disk.data, disk.len));
	a = find("meta-data");
	expect("network-config", NULL);
	put(user, "#!/bin/sh\n");
	ck_assert_int_eq(make(NULL, NULL), 0);
	b = find("meta-data");
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert(!strncmp(a, "instance-id: twinstep-", 22) && strcmp(a, b));
	free(a);
	free(b);
	buf_free(&first);
}
END_TEST

static void refused(int code, const char *m, const char *n, const char *word)
{
	ck_assert_int_eq(make(m, n), -code);
	ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
	ck_assert_uint_eq(disk.len, 0);
}

START_TEST(what_cloud_init_would_pass_over)
{
	char *large = malloc(CLOUD_INIT_MAX + 1);

	ck_assert_ptr_nonnull(large);
	memset(large, '#', CLOUD_INIT_MAX + 1);
	put(user, "hostname: here\n");
	refused(EINVAL, NULL, NULL, "is no user-data");
	put(user, "");
	refused(EINVAL, NULL, NULL, "is no user-data");
	put_file(user, large, CLOUD_INIT_MAX);
	refused(EFBIG, meta, NULL, "too large for cloud-init");
	put_file(user, large, CLOUD_INIT_MAX + 1);
	ck_assert_int_eq(make(meta, NULL), -EFBIG);
	put_file(user, large, CLOUD_INIT_MAX - strlen("instance-id: one\n"));
	ck_assert_int_eq(make(meta, NULL), 0);
	unlink(network);
	buf_clear(&disk);
	ck_assert_int_eq(make(meta, network), -ENOENT);
	ck_assert_int_eq(make(dir, NULL), -EINVAL); /* no regular file */
	free(large);
}
END_TEST

static int parse(struct cloud_init_opt *o, const char *arg)
{
	*o = (struct cloud_init_opt){ 0 };
	return cloud_init_parse(o, "--cloud-init", arg, &err);
}

START_TEST(the_option)
{
	struct cloud_init_opt o;

	ck_assert_int_eq(parse(&o, "a,,b,,,c"), 0);
	ck_assert_str_eq(o.user_data, "a,b,");
	ck_assert_str_eq(o.meta_data, "c");
	ck_assert_ptr_null(o.network_config);
	ck_assert_int_eq(cloud_init_parse(&o, "--cloud-init", "b", &err), -EINVAL);
	cloud_init_free(&o);
	ck_assert_int_eq(parse(&o, "a,b,c"), 0);
	ck_assert_str_eq(o.network_config, "c");
	cloud_init_free(&o);
	ck_assert_int_eq(parse(&o, "a,b,c,d"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "three files at most"));
	cloud_init_free(&o);
	ck_assert_int_eq(parse(&o, ""), -EINVAL);
	cloud_init_free(&o);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_volume_with_three_files);
	tcase_add_test(tc, an_instance_is_made_of_its_user_data);
	tcase_add_test(tc, what_cloud_init_would_pass_over);
	tcase_add_test(tc, the_option);
}

UNIT_MAIN("cloud_init", add)
