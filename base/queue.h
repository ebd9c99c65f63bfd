/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue between threads: any number of producers, one consumer. Pushing is wait-free (liburcu's
 * wfcqueue) and never blocks, so a vCPU thread may do it. The queue counts the bytes in flight, so
 * that a producer can bound them.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

/* Embedded in what is queued. */
struct queue_node {
	struct cds_wfcq_node link;
	size_t bytes;
};

struct queue {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	int eventfd; /* readable when something was pushed: for a consumer that polls other things
			as well */
	size_t bytes;
};

/* 0 or -errno. */
int queue_init(struct queue *q);
/* The queue must be empty. */
void queue_fini(struct queue *q);
void queue_push(struct queue *q, struct queue_node *n, size_t bytes);
/* Oldest node, or NULL when the queue is empty. Consumer only. */
struct queue_node *queue_pop(struct queue *q);
/* Waits until something was pushed or woken, at most timeout_ms (-1: for ever). Consumer only. */
void queue_wait(struct queue *q, int timeout_ms);
/* Ends a queue_wait(). Safe in a signal handler. */
void queue_wake(struct queue *q);
/* Bytes pushed and not yet released. */
size_t queue_bytes(const struct queue *q);
/* The consumer is done with a node's bytes. */
void queue_release(struct queue *q, size_t bytes);

#endif
