// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/queue.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * The barriers that order a node's content are liburcu's own, which ThreadSanitizer does not know:
 * it is told here.
 */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define node_pushed(n) __tsan_release(n)
#define node_popped(n) __tsan_acquire(n)
#else
#define node_pushed(n) ((void)(n))
#define node_popped(n) ((void)(n))
#endif

int queue_init(struct queue *q)
{
	cds_wfcq_init(&q->head, &q->tail);
	q->bytes = 0;
	q->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return q->eventfd < 0 ? -errno : 0;
}

void queue_fini(struct queue *q)
{
	cds_wfcq_destroy(&q->head, &q->tail);
	if (q->eventfd >= 0)
		close(q->eventfd);
	q->eventfd = -1;
}

void queue_wake(struct queue *q)
{
	uint64_t one = 1;

	if (write(q->eventfd, &one, sizeof(one)) < 0)
		return; /* the counter is full: the consumer is woken already */
}

void queue_push(struct queue *q, struct queue_node *n, size_t bytes)
{
	bool was_empty;

	cds_wfcq_node_init(&n->link);
	n->bytes = bytes;
	node_pushed(&n->link);
	__atomic_add_fetch(&q->bytes, bytes, __ATOMIC_RELAXED);
	/*
	 * A full barrier inside: a consumer that saw the queue empty will see this node, or be
	 * woken by it.
	 */
	was_empty = !cds_wfcq_enqueue(&q->head, &q->tail, &n->link);
	if (was_empty)
		queue_wake(q);
}

struct queue_node *queue_pop(struct queue *q)
{
	struct cds_wfcq_node *n = __cds_wfcq_dequeue_blocking(&q->head, &q->tail);

	if (!n)
		return NULL;
	node_popped(n);
	return caa_container_of(n, struct queue_node, link);
}

void queue_wait(struct queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = q->eventfd, .events = POLLIN };
	uint64_t n;

	if (!cds_wfcq_empty(&q->head, &q->tail))
		return;
	poll(&p, 1, timeout_ms);
	if (read(q->eventfd, &n, sizeof(n)) < 0)
		return;
}

size_t queue_bytes(const struct queue *q)
{
	return __atomic_load_n(&q->bytes, __ATOMIC_RELAXED);
}

void queue_release(struct queue *q, size_t bytes)
{
	__atomic_sub_fetch(&q->bytes, bytes, __ATOMIC_RELAXED);
}
