// SPDX-License-Identifier: GPL-2.0-or-later
/* What `up` decides from: the table of roles, and the names of this host's replicas. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "host/lineage.h"
#include "host/up_role.h"
#include "tests/unit.h"

/* ---- roles ---- */

static enum role decide(struct role_facts f)
{
	const char *why = NULL;
	enum role role = role_decide(&f, &why);

	ck_assert_ptr_nonnull(why);
	return role;
}

#define GRACE	 3000
#define SAW(...) decide((struct role_facts){ .known = true, .grace_ms = GRACE, __VA_ARGS__ })

START_TEST(without_an_arbiter_nobody_begins)
{
	ck_assert_int_eq(decide((struct role_facts){ .force = true, .first = true }), ROLE_WAIT);
}
END_TEST

START_TEST(the_first_host_begins)
{
	ck_assert_int_eq(SAW(.first = true, .peer = PEER_SILENT), ROLE_PRIMARY);
	ck_assert_int_eq(SAW(.first = true, .peer = PEER_REFUSES), ROLE_PRIMARY);
	ck_assert_int_eq(SAW(.peer = PEER_REFUSES), ROLE_WAIT);
	ck_assert_int_eq(SAW(.peer = PEER_SILENT, .waited_ms = 1000000), ROLE_WAIT);
	ck_assert_int_eq(SAW(.peer = PEER_ANSWERS), ROLE_BACKUP);
}
END_TEST

/* Whoever was not live last never begins by itself, however long it has waited. */
START_TEST(old_data_never_begins)
{
	for (enum peer_seen peer = PEER_ANSWERS; peer <= PEER_SILENT; peer++) {
		for (uint64_t waited = 0; waited < 100 * GRACE; waited += GRACE / 2) {
			enum role role =
				SAW(.last = 7, .peer = peer, .first = true, .waited_ms = waited);

			ck_assert_int_eq(role, peer == PEER_ANSWERS ? ROLE_BACKUP : ROLE_WAIT);
		}
	}
	ck_assert_int_eq(SAW(.last = 7, .peer = PEER_SILENT, .force = true), ROLE_PRIMARY);
}
END_TEST

START_TEST(who_was_live_gives_the_other_side_time)
{
	ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = PEER_ANSWERS), ROLE_BACKUP);
	ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = PEER_SILENT), ROLE_WAIT);
	ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = PEER_REFUSES), ROLE_PRIMARY);
	for (enum peer_seen peer = PEER_ANSWERS; peer <= PEER_SILENT; peer++)
		ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = peer, .waited_ms = GRACE),
				 ROLE_PRIMARY);
	ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = PEER_REFUSES, .barred = true),
			 ROLE_WAIT);
	ck_assert_int_eq(SAW(.last = 7, .ours = true, .peer = PEER_ANSWERS, .barred = true,
			     .waited_ms = GRACE),
			 ROLE_BACKUP);
}
END_TEST

/* ---- names ---- */

static char path[] = "/tmp/twinstep-lineage-XXXXXX";
static const uint8_t id[3][ARBITER_ID_LEN] = { { 1, 0xab }, { 2 }, { 3 } };

static void new_file(const char *text)
{
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int enter(struct lineage *l, unsigned i)
{
	struct err err = ERR_INIT;
	int fd = lineage_enter(l, path, id[i], &err);

	ck_assert_msg(fd >= 0, "%s", err.text);
	return fd;
}

START_TEST(names_are_kept)
{
	struct lineage l;

	new_file("");
	for (unsigned i = 0; i < 3; i++) {
		close(enter(&l, i));
		ck_assert_uint_eq(l.n, i);
		for (unsigned k = 0; k < 3; k++) /* its own name is not an earlier one's */
			ck_assert_int_eq(lineage_has(&l, id[k]), k < i);
		lineage_free(&l);
	}
	ck_assert_int_eq(lineage_read(&l, path, NULL), 0);
	ck_assert(lineage_has(&l, id[2]));
	lineage_free(&l);
	unlink(path);
}
END_TEST

START_TEST(a_line_that_was_cut_spoils_nothing)
{
	struct lineage l;

	new_file("zz\n00112233445566778899aabbccddeeff0\n02000000000000000000000000000000\n0300");
	close(enter(&l, 0));
	ck_assert_uint_eq(l.n, 1);
	ck_assert(lineage_has(&l, id[1]));
	lineage_free(&l);
	ck_assert_int_eq(lineage_read(&l, path, NULL), 0);
	ck_assert_uint_eq(l.n, 2);
	ck_assert(lineage_has(&l, id[0]));
	lineage_free(&l);
	unlink(path);
}
END_TEST

START_TEST(one_process_has_it)
{
	struct err err = ERR_INIT;
	struct lineage l, other;
	int fd;

	new_file("");
	fd = enter(&l, 0);
	ck_assert_int_eq(lineage_enter(&other, path, id[1], &err), -EBUSY);
	ck_assert_int_eq(lineage_read(&other, path, NULL), 0);
	ck_assert_uint_eq(other.n, 1);
	close(fd);
	lineage_free(&l);
	lineage_free(&other); /* and so does a failure */
	ck_assert_int_lt(lineage_enter(&other, "/proc/version", id[1], &err), 0);
	ck_assert_int_eq(lineage_read(&other, "/nowhere/at/all", &err), 0);
	unlink(path);
}
END_TEST

START_TEST(a_long_one_begins_anew_with_the_last)
{
	size_t n = 40000;
	char *text = malloc(n * 33 + 1);
	struct lineage l;

	for (size_t i = 0; i < n; i++)
		snprintf(text + 33 * i, 34, "%032x\n", (unsigned)i + 1000);
	new_file(text);
	close(enter(&l, 0));
	lineage_free(&l);
	ck_assert_int_eq(lineage_read(&l, path, NULL), 0);
	ck_assert_uint_lt(l.n, 2000);
	ck_assert(lineage_has(&l, id[0]));
	lineage_free(&l);
	free(text);
	unlink(path);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, without_an_arbiter_nobody_begins);
	tcase_add_test(tc, the_first_host_begins);
	tcase_add_test(tc, old_data_never_begins);
	tcase_add_test(tc, who_was_live_gives_the_other_side_time);
	tcase_add_test(tc, names_are_kept);
	tcase_add_test(tc, a_line_that_was_cut_spoils_nothing);
	tcase_add_test(tc, one_process_has_it);
	tcase_add_test(tc, a_long_one_begins_anew_with_the_last);
}

UNIT_MAIN("up", add_tests)
