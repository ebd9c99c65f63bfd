// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `twinstep exporter`: what the guests of this host do, over HTTP, to look at only. libmicrohttpd
 * is loaded here alone: linked, it and the libraries behind it would be in every process that runs
 * a guest.
 */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/library.h"
#include "base/log.h"
#include "host/guest_history.h"
#include "host/guest_list.h"
#include "host/metrics.h"
#include "host/notify.h"
#include "host/stop.h"
#include "tools/cmd.h"

#define CONNECTIONS 16
#define SECONDS	    10 /* for a client that says nothing */
#define LOOK_NS	    100000000
#define LOOKS	    (GUEST_HISTORY_SECONDS * 1000000000ull / LOOK_NS)

static const char page[] = {
#include "tools/exporter_page.inc"
};

/* Lag and latency of the last minutes. */
static struct {
	pthread_mutex_t lock; /* guards what follows */
	json_t *history;
} past = { .lock = PTHREAD_MUTEX_INITIALIZER };

#define FUNCTIONS(F)                   \
	F(start_daemon)                \
	F(stop_daemon)                 \
	F(create_response_from_buffer) \
	F(add_response_header)         \
	F(queue_response)              \
	F(destroy_response)

static struct {
#define MEMBER(name) __typeof__(&MHD_##name) name;
	FUNCTIONS(MEMBER)
#undef MEMBER
} mhd;

static int load(struct err *err)
{
#define ROW(name) { "MHD_" #name, &mhd.name },
	static const struct library_function functions[] = { FUNCTIONS(ROW) };
#undef ROW

	return library_load("libmicrohttpd.so.12", "the exporter", "libmicrohttpd12", functions,
			    sizeof(functions) / sizeof(*functions), err);
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type,
			      char *text)
{
	struct MHD_Response *r =
		text ? mhd.create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE)
		     : NULL;
	enum MHD_Result ret;

	if (!r) {
		free(text);
		return MHD_NO;
	}
	mhd.add_response_header(r, "Content-Type", type);
	mhd.add_response_header(r, "X-Content-Type-Options", "nosniff");
	mhd.add_response_header(r, "Content-Security-Policy",
				"default-src 'none'; connect-src 'self'; "
				"style-src 'unsafe-inline'; script-src 'unsafe-inline'");
	ret = mhd.queue_response(c, status, r);
	mhd.destroy_response(r);
	return ret;
}

static char *metrics(void)
{
	json_t *guests = guest_list();
	char *text = metrics_text(guests);

	json_decref(guests);
	return text;
}

static void take_look(void)
{
	json_t *guests = guest_list();

	pthread_mutex_lock(&past.lock);
	guest_history_take(past.history, guests);
	pthread_mutex_unlock(&past.lock);
	json_decref(guests);
}

static json_t *history_of(const json_t *guest)
{
	json_t *copy;

	pthread_mutex_lock(&past.lock);
	copy = json_deep_copy(
		json_object_get(past.history, json_string_value(json_object_get(guest, "name"))));
	pthread_mutex_unlock(&past.lock);
	return copy;
}

static char *machines(void)
{
	json_t *o = metrics_machines(guest_list()), *guest;
	char *text;
	size_t i;

	json_array_foreach(json_object_get(o, "machines"), i, guest)
		json_object_set_new(guest, "history", history_of(guest));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return answer(c, 405, "text/plain", strdup("only GET\n"));
	if (!strcmp(url, "/metrics"))
		return answer(c, 200, "text/plain; version=0.0.4; charset=utf-8", metrics());
	if (!strcmp(url, "/api/v1/machines"))
		return answer(c, 200, "application/json", machines());
	if (!strcmp(url, "/"))
		return answer(c, 200, "text/html; charset=utf-8", strdup(page));
	return answer(c, 404, "text/plain", strdup("there is /, /metrics and /api/v1/machines\n"));
}

/* "ADDRESS:PORT" or "[V6]:PORT", numbers alone. */
static int parse_address(const char *text, struct sockaddr_storage *sa, struct err *err)
{
	const struct addrinfo numbers = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
					  .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[' && colon && colon > text && colon[-1] == ']';
	struct addrinfo *found;
	char host[64] = "";
	uint64_t port;

	if (colon && (size_t)(colon - text) < sizeof(host))
		memcpy(host, text + v6, (size_t)(colon - text) - 2 * v6);
	if (!*host || (!v6 && strchr(host, ':')) || !parse_number(colon + 1, &port) || !port ||
	    port > 65535 || getaddrinfo(host, colon + 1, &numbers, &found))
		return err_set(err, EINVAL,
			       "--listen %s: expected an address in numbers and a port, such as "
			       "127.0.0.1:9177 or [::1]:9177",
			       text);
	memcpy(sa, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

static void nothing(void *ctx)
{
}

static int serve(const char *listen, struct err *err)
{
	struct sockaddr_storage sa;
	struct MHD_Daemon *d;
	int ret = parse_address(listen, &sa, err);

	if (ret == 0)
		ret = load(err);
	if (ret < 0)
		return ret;
	past.history = json_object();
	stop_on_signals(nothing, NULL);
	d = mhd.start_daemon(MHD_USE_INTERNAL_POLLING_THREAD |
				     (sa.ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0),
			     0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, &sa,
			     MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
			     MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SECONDS, MHD_OPTION_END);
	if (!d)
		return err_set(err, errno ? errno : EIO, "cannot listen at %s: %s", listen,
			       strerror(errno ? errno : EIO));
	notify_send("READY=1");
	log_info("http://%s/ shows the guests of this host", listen);
	for (uint64_t i = 0; !stop_signal(); i++) {
		if (i % LOOKS == 0)
			take_look();
		host_sleep_ns(LOOK_NS);
	}
	mhd.stop_daemon(d);
	json_decref(past.history);
	stop_restore();
	return 0;
}

static int run(struct options *o)
{
	struct err err = ERR_INIT;

	log_set_name("twinstep exporter");
	if (serve(o->replica.listen ? o->replica.listen : "127.0.0.1:9177", &err) == 0)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

const struct command cmd_exporter = {
	.id = COMMAND_EXPORTER,
	.name = "exporter",
	.summary = "show this host's guests over HTTP",
	.usage = "[--listen ADDR]",
	.text = "Shows what the guests of this host do, to look at only: a page at /, metrics for "
		"Prometheus at /metrics, JSON at /api/v1/machines. Runs as the user whose guests "
		"it shows. Whoever reaches the address can read it.",
	.end = "Exit status: 0; 2 the address cannot be used, or libmicrohttpd is missing.",
	.run = run,
};
