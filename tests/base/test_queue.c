// SPDX-License-Identifier: GPL-2.0-or-later
#include <poll.h>
#include <pthread.h>

#include "base/queue.h"
#include "tests/unit.h"

#define PRODUCERS 3
#define EACH	  20000

struct item {
	struct queue_node node;
	unsigned producer, number;
};

static struct queue q;
static struct item items[PRODUCERS][EACH];

static void setup(void)
{
	ck_assert_int_eq(queue_init(&q), 0);
}

static void teardown(void)
{
	queue_fini(&q);
	ck_assert_int_eq(q.eventfd, -1);
}

static bool readable(void)
{
	struct pollfd p = { .fd = q.eventfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static struct item *pop(void)
{
	struct queue_node *n = queue_pop(&q);

	return n ? caa_container_of(n, struct item, node) : NULL;
}

START_TEST(first_in_first_out)
{
	ck_assert_ptr_null(pop());
	for (unsigned i = 0; i < 3; i++)
		queue_push(&q, &items[0][i].node, 10 + i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_ptr_eq(pop(), &items[0][i]);
	ck_assert_ptr_null(pop());
}
END_TEST

START_TEST(bytes_count_until_they_are_released)
{
	queue_push(&q, &items[0][0].node, 100);
	queue_push(&q, &items[0][1].node, 20);
	ck_assert_uint_eq(queue_bytes(&q), 120);
	ck_assert_uint_eq(pop()->node.bytes, 100);
	ck_assert_uint_eq(queue_bytes(&q), 120);
	queue_release(&q, 100);
	ck_assert_uint_eq(queue_bytes(&q), 20);
	ck_assert_ptr_eq(pop(), &items[0][1]);
	queue_release(&q, 20);
	ck_assert_uint_eq(queue_bytes(&q), 0);
}
END_TEST

START_TEST(a_push_onto_nothing_makes_it_readable)
{
	ck_assert(!readable());
	queue_push(&q, &items[0][0].node, 1);
	ck_assert(readable());
	queue_wait(&q, -1); /* there is something: returns at once */
	ck_assert_ptr_eq(pop(), &items[0][0]);
	queue_wait(&q, -1); /* the push from before, seen late */
	ck_assert(!readable());
	queue_wake(&q);
	queue_wait(&q, -1);
	queue_wait(&q, 1); /* nothing: at most a millisecond */
	ck_assert_ptr_null(pop());
}
END_TEST

static void *produce(void *arg)
{
	unsigned p = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		items[p][i].producer = p;
		items[p][i].number = i;
		queue_push(&q, &items[p][i].node, 1);
	}
	return NULL;
}

START_TEST(many_producers_lose_nothing)
{
	unsigned next[PRODUCERS] = { 0 }, n = 0;
	pthread_t t[PRODUCERS];

	for (unsigned i = 0; i < PRODUCERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, produce, (void *)(uintptr_t)i), 0);
	while (n < PRODUCERS * EACH) {
		struct item *item = pop();

		if (!item) {
			queue_wait(&q, -1);
			continue;
		}
		ck_assert_uint_eq(item->number, next[item->producer]++);
		queue_release(&q, 1);
		n++;
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(t[i], NULL);
	ck_assert_ptr_null(pop());
	ck_assert_uint_eq(queue_bytes(&q), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, first_in_first_out);
	tcase_add_test(tc, bytes_count_until_they_are_released);
	tcase_add_test(tc, a_push_onto_nothing_makes_it_readable);
	tcase_add_test(tc, many_producers_lose_nothing);
}

UNIT_MAIN("queue", add_tests)
