// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The live side's link by itself: a guest may end while a backup joins or follows, and the threads
 * of that session see its end while the link is taken down.
 */
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "replica/replica_private.h"
#include "tests/unit.h"

/* As a receiver whose connection ends, which is not before somebody ends it. */
static void *loses_at_the_end(void *arg)
{
	struct session *s = arg;

	while (!atomic_load(&s->over))
		replica_nap();
	link_lost(s, "a test");
	return NULL;
}

static struct replica *make_replica(void)
{
	const struct replica_config cfg = { .timeout_ms = 500, .hang_timeout_ms = 500 };
	struct err err = ERR_INIT;
	struct replica *r = replica_create(&cfg, &err);

	log_set_level(LOG_ERROR);
	ck_assert_msg(r != NULL, "%s", err.text);
	return r;
}

/* The other end of its connection is put into *backup. */
static struct session *make_session(struct replica *r, struct peer **backup)
{
	struct err err = ERR_INIT;
	struct session *s;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	s = session_new(r, peer_from_socket(fd[0], "backup"));
	ck_assert_ptr_nonnull(s);
	*backup = peer_from_socket(fd[1], "primary");
	ck_assert_int_eq(session_start(s, NULL, loses_at_the_end, &err), 0);
	return s;
}

/* Freed once: the sanitizer build sees a second time, and so does the allocator mostly. */
START_TEST(a_joining_backup_is_lost_while_the_link_ends)
{
	struct replica *r = make_replica();
	struct peer *backup;

	r->link.joining = make_session(r, &backup);
	replica_destroy(r);
	peer_close(backup);
}
END_TEST

START_TEST(a_backup_is_lost_while_the_link_ends)
{
	struct replica *r = make_replica();
	struct peer *backup;

	failover_take(&r->failover, FAILOVER_START, 1);
	failover_event(&r->failover, FAILOVER_JOIN);
	atomic_store(&r->link.bye_sent, true);
	r->link.session = make_session(r, &backup);
	replica_destroy(r);
	peer_close(backup);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_joining_backup_is_lost_while_the_link_ends);
	tcase_add_test(tc, a_backup_is_lost_while_the_link_ends);
}

UNIT_MAIN("link", add_tests)
