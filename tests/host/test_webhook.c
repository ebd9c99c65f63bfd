// SPDX-License-Identifier: GPL-2.0-or-later
/* Events over HTTP, to a server that takes them, refuses them, is silent, or is not there. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "host/webhook.h"
#include "tests/unit.h"

/* A server that answers each request with the next status. */
struct server {
	int fd;
	pthread_t thread;
	char url[60], body[4][600];
	int status[4]; /* the last one for all that follow; 0: never answers */
	atomic_uint requests;
	atomic_bool over;
};

static void answer(struct server *s, int c)
{
	unsigned i = atomic_fetch_add(&s->requests, 1);
	char text[4000] = "", line[80], *body;
	size_t len = 0, want = 0;
	int status = s->status[i < 4 ? i : 3];
	ssize_t n;

	do {
		n = read(c, text + len, sizeof(text) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
		text[len] = 0;
		body = strstr(text, "\r\n\r\n");
		if (body && strcasestr(text, "content-length:"))
			want = (size_t)atoi(strcasestr(text, "content-length:") + 15);
	} while (n > 0 && (!body || strlen(body + 4) < want));
	if (body && i < 4)
		snprintf(s->body[i], sizeof(s->body[i]), "%s", body + 4);
	if (status)
		snprintf(line, sizeof(line),
			 "HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
	while (!status && !atomic_load(&s->over))
		host_sleep_ns(10000000);
	if (status && write(c, line, strlen(line)) < 0)
		return;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int c;

	while ((c = accept(s->fd, NULL, NULL)) >= 0) {
		answer(s, c);
		close(c);
	}
	return NULL;
}

static void server_start(struct server *s)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sa);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&sa, n), 0);
	ck_assert_int_eq(listen(s->fd, 64), 0);
	getsockname(s->fd, (struct sockaddr *)&sa, &n);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d/hook", ntohs(sa.sin_port));
	ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	atomic_store(&s->over, true);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static struct webhook *opened(const char *url)
{
	struct err err = ERR_INIT;
	struct webhook *w = webhook_open(url, &err);

	ck_assert_msg(w != NULL, "%s", err.text);
	return w;
}

/* Waits until so many events have come to an end. */
static struct webhook_count settled(struct webhook *w, uint64_t events)
{
	struct webhook_count c;

	do {
		host_sleep_ns(10000000);
		webhook_counted(w, &c);
	} while (c.delivered + c.lost < events);
	return c;
}

START_TEST(events_arrive_in_order)
{
	struct server s = { .status = { 200, 204, 200, 200 } };
	struct webhook_count c;
	struct webhook *w;

	server_start(&s);
	w = opened(s.url);
	webhook_push(w, "{\"event\":\"live\"}");
	webhook_push(w, "{\"event\":\"protected\"}");
	c = settled(w, 2);
	ck_assert_uint_eq(c.delivered, 2);
	ck_assert_uint_eq(c.lost, 0);
	webhook_close(w);
	server_stop(&s);
	ck_assert_str_eq(s.body[0], "{\"event\":\"live\"}");
	ck_assert_str_eq(s.body[1], "{\"event\":\"protected\"}");
}
END_TEST

START_TEST(a_refusal_is_tried_again_a_few_times)
{
	struct server s = { .status = { 503, 200, 500, 500 } };
	struct webhook_count c;
	struct webhook *w;

	server_start(&s);
	w = opened(s.url);
	webhook_push(w, "one");
	c = settled(w, 1);
	ck_assert_uint_eq(c.delivered, 1);
	ck_assert_uint_eq(s.requests, 2);
	webhook_push(w, "two");
	c = settled(w, 2);
	ck_assert_uint_eq(c.lost, 1);
	ck_assert_uint_eq(s.requests, 2 + WEBHOOK_TRIES);
	webhook_close(w);
	server_stop(&s);
	ck_assert_str_eq(s.body[0], "one");
	ck_assert_str_eq(s.body[1], "one");
	ck_assert_str_eq(s.body[2], "two");
}
END_TEST

/* Whoever never answers holds nobody up, and what finds no place is counted. */
START_TEST(a_silent_server_holds_nobody_up)
{
	struct server s = { .status = { 0 } };
	struct webhook_count c;
	struct webhook *w;

	server_start(&s);
	w = opened(s.url);
	webhook_push(w, "first");
	while (!atomic_load(&s.requests))
		host_sleep_ns(1000000);
	for (unsigned i = 0; i < WEBHOOK_QUEUE + 7; i++)
		webhook_push(w, "more");
	webhook_counted(w, &c);
	ck_assert_uint_eq(c.delivered, 0);
	ck_assert_uint_ge(c.lost, 7);
	ck_assert_uint_le(c.lost, 8); /* the first one may have been given up meanwhile */
	webhook_close(w);	      /* with a full queue */
	server_stop(&s);
}
END_TEST

START_TEST(urls_are_checked)
{
	ck_assert(webhook_url_is_good("http://h/"));
	ck_assert(webhook_url_is_good("https://h:1/x?y=z"));
	ck_assert(!webhook_url_is_good("file:///etc/passwd"));
	ck_assert(!webhook_url_is_good("h:1/x"));
	ck_assert(!webhook_url_is_good("http://"));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, events_arrive_in_order);
	tcase_add_test(tc, a_refusal_is_tried_again_a_few_times);
	tcase_add_test(tc, a_silent_server_holds_nobody_up);
	tcase_add_test(tc, urls_are_checked);
}

UNIT_MAIN("webhook", add_tests)
