// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/webhook.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "replica/curl_library.h"

#define CONNECT_MS 2000L
#define ANSWER_MS  4000L
#define PAUSE_MS   500	/* before the second try; then twice as long */
#define LAST_MS	   2000 /* for what waits at the end */

struct webhook {
	const struct curl_library *curl;
	CURL *easy;
	struct curl_slist *headers;
	char *url;
	pthread_t thread;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more;
	char *waiting[WEBHOOK_QUEUE]; /* a ring */
	unsigned first, n;
	struct webhook_count count;
	bool ending, grumbled;
	int64_t end_ms; /* when ending: nothing goes on after it */
};

bool webhook_url_is_good(const char *url)
{
	return (!strncmp(url, "http://", 7) && url[7]) || (!strncmp(url, "https://", 8) && url[8]);
}

/* ---- the thread ---- */

/* Whatever is answered is not looked at. */
static size_t swallow(char *data, size_t size, size_t n, void *ctx)
{
	return size * n;
}

static bool ends(struct webhook *w, int64_t *end_ms)
{
	bool ending;

	pthread_mutex_lock(&w->lock);
	ending = w->ending;
	*end_ms = w->end_ms;
	pthread_mutex_unlock(&w->lock);
	return ending;
}

/* At the end no answer is waited for any longer. */
static int go_on(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	int64_t end_ms;

	return ends(ctx, &end_ms) && host_mono_ms() >= end_ms;
}

static bool post(struct webhook *w, const char *text, char *why, size_t size)
{
	const struct curl_library *c = w->curl;
	long status = 0;
	CURLcode ret;

	c->easy_setopt(w->easy, CURLOPT_POSTFIELDS, text);
	c->easy_setopt(w->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
	ret = c->easy_perform(w->easy);
	if (ret == CURLE_OK)
		c->easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &status);
	if (ret != CURLE_OK)
		snprintf(why, size, "%s", c->easy_strerror(ret));
	else if (status < 200 || status > 299)
		snprintf(why, size, "it answers with status %ld", status);
	return ret == CURLE_OK && status >= 200 && status <= 299;
}

/* Sleeps between two tries; false: there is no time left for another one. */
static bool rest(struct webhook *w, unsigned ms)
{
	int64_t end_ms;

	for (unsigned i = 0; i < ms; i += 50) {
		if (ends(w, &end_ms))
			return false;
		host_sleep_ns(50000000);
	}
	return true;
}

static void deliver(struct webhook *w, const char *text)
{
	unsigned pause = PAUSE_MS;
	char why[200] = "";
	bool good = false;

	for (unsigned i = 0; !good && i < WEBHOOK_TRIES; i++) {
		if (i && !rest(w, pause))
			break;
		pause *= i ? 2 : 1;
		good = post(w, text, why, sizeof(why));
	}
	pthread_mutex_lock(&w->lock);
	if (good) {
		w->count.delivered++;
		w->grumbled = false;
	} else {
		w->count.lost++;
	}
	if (!good && !w->grumbled) {
		log_warn("--webhook %s: an event is lost: %s; said once", w->url, why);
		w->grumbled = true;
	}
	pthread_mutex_unlock(&w->lock);
}

/* The next event, to be freed; NULL: the end. */
static char *take(struct webhook *w)
{
	char *text = NULL;

	pthread_mutex_lock(&w->lock);
	while (!w->n && !w->ending)
		pthread_cond_wait(&w->more, &w->lock);
	if (w->n && (!w->ending || host_mono_ms() < w->end_ms)) {
		text = w->waiting[w->first];
		w->first = (w->first + 1) % WEBHOOK_QUEUE;
		w->n--;
	}
	pthread_mutex_unlock(&w->lock);
	return text;
}

static void *run(void *arg)
{
	struct webhook *w = arg;
	char *text;

	while ((text = take(w))) {
		deliver(w, text);
		free(text);
	}
	return NULL;
}

/* ---- its owner ---- */

static bool prepare(struct webhook *w, const char *url)
{
	const struct curl_library *c = w->curl;

	w->url = strdup(url);
	w->easy = c->easy_init();
	w->headers = c->slist_append(NULL, "Content-Type: application/json");
	if (!w->url || !w->easy || !w->headers)
		return false;
	c->easy_setopt(w->easy, CURLOPT_URL, w->url);
	c->easy_setopt(w->easy, CURLOPT_HTTPHEADER, w->headers);
	c->easy_setopt(w->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	c->easy_setopt(w->easy, CURLOPT_NOSIGNAL, 1L);
	c->easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	c->easy_setopt(w->easy, CURLOPT_TIMEOUT_MS, ANSWER_MS);
	c->easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, swallow);
	c->easy_setopt(w->easy, CURLOPT_NOPROGRESS, 0L);
	c->easy_setopt(w->easy, CURLOPT_XFERINFOFUNCTION, go_on);
	c->easy_setopt(w->easy, CURLOPT_XFERINFODATA, w);
	return true;
}

static void release(struct webhook *w)
{
	for (; w->n; w->n--) {
		free(w->waiting[w->first]);
		w->first = (w->first + 1) % WEBHOOK_QUEUE;
	}
	if (w->easy)
		w->curl->easy_cleanup(w->easy);
	w->curl->slist_free_all(w->headers);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
	free(w->url);
	free(w);
}

/* Signals are for the owner's thread. */
static int start(struct webhook *w)
{
	sigset_t all, was;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	ret = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return ret;
}

struct webhook *webhook_open(const char *url, struct err *err)
{
	const struct curl_library *curl = curl_library_load(err);
	struct webhook *w = curl ? calloc(1, sizeof(*w)) : NULL;

	if (!curl)
		return NULL;
	if (!w) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	w->curl = curl;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	if (prepare(w, url) && start(w) == 0)
		return w;
	release(w);
	err_set(err, ENOMEM, "--webhook %s: out of memory or threads", url);
	return NULL;
}

void webhook_push(struct webhook *w, const char *text)
{
	char *copy = strdup(text);

	pthread_mutex_lock(&w->lock);
	if (copy && w->n < WEBHOOK_QUEUE) {
		w->waiting[(w->first + w->n++) % WEBHOOK_QUEUE] = copy;
		copy = NULL;
		pthread_cond_signal(&w->more);
	} else {
		w->count.lost++;
	}
	pthread_mutex_unlock(&w->lock);
	free(copy);
}

void webhook_counted(struct webhook *w, struct webhook_count *c)
{
	pthread_mutex_lock(&w->lock);
	*c = w->count;
	pthread_mutex_unlock(&w->lock);
}

void webhook_close(struct webhook *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	w->end_ms = host_mono_ms() + LAST_MS;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	release(w);
}
