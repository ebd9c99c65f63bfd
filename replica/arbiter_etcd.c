// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An arbiter in an etcd cluster:
 * etcd://HOST:PORT[,HOST:PORT...]/PREFIX[,ca=FILE][,cert=FILE][,key=FILE][,login=FILE]. Generation
 * n is the key PREFIX/generation/n, whose value is its owner.
 *
 * A request is sent to one member of the cluster. If that has not answered after a moment, the
 * request is sent to the next member as well, and the first answer that can be understood counts.
 * This is safe because a request may take effect several times: the transaction that takes a
 * generation returns the owner if there is one already. Only a member that has a majority behind it
 * answers. Without a majority there is no answer, and the arbiter cannot tell.
 *
 * After the arbiter is opened, requests need neither a name server nor a file: names are looked up
 * and certificates read when it is opened.
 */
#include "base/file_io.h"
#include "replica/arbiter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "replica/curl_library.h"
#include "replica/etcd_json.h"

static const struct curl_library *curl; /* set by the first open */

#define ENDPOINTS  9
#define NEXT_MS	   150	/* without an answer after this time the next member is asked as well */
#define WAIT_MS	   3000 /* time for any member to answer; each failure doubles it */
#define WAIT_MAX   12000
#define FILE_MAX   (1u << 20)
#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"

struct text {
	char *data, *path;
	size_t len;
};

struct endpoint {
	char host[256], port[6];
	bool v6;
	struct curl_slist *addresses; /* "HOST:PORT:ADDRESS"; NULL: the host is an address */
	CURL *easy;
	bool runs;
	char *answer;
	size_t len;
	char why[CURL_ERROR_SIZE]; /* libcurl's description of a failure; may be empty */
};

struct etcd_arbiter {
	struct arbiter base;
	char prefix[ETCD_PREFIX_MAX + 1];
	struct endpoint endpoint[ENDPOINTS];
	unsigned n;
	bool tls;
	struct text ca, cert, key;
	char *user, *password, *login; /* login: path of the file with user and password */
	pthread_mutex_t lock;	       /* one request at a time; guards what follows */
	CURLM *multi;
	char *token;
	struct curl_slist *headers;
	unsigned first;	  /* the endpoint that has answered last */
	unsigned wait_ms; /* for the next request */
	uint64_t cluster; /* 0: not known yet */
};

/* A request, and how its answer is read. */
struct question {
	const char *path;
	char *text;
	int (*parse)(struct etcd_arbiter *a, struct question *q, const struct endpoint *e,
		     struct err *err);
	const uint8_t *id; /* id of the process that takes a generation */
	struct etcd_answer answer;
};

/* ---- opening ---- */

static int read_file(const char *path, bool secret, struct text *t, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		ret = err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
	else if (secret && st.st_mode & 077)
		ret = err_set(err, EACCES, "'%s' is a secret that others may read: chmod 600 it",
			      path);
	else
		ret = file_read_whole(fd, path, FILE_MAX, &t->data, &t->len, err);
	if (ret == 0 && !t->len)
		ret = err_set(err, EINVAL, "'%s' is empty", path);
	if (ret == 0 && !t->path && !(t->path = strdup(path)))
		ret = err_set(err, ENOMEM, "out of memory");
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Reads a file with a line "USER:PASSWORD". */
static int read_login(struct etcd_arbiter *a, const char *path, struct err *err)
{
	struct text t = { 0 };
	int ret = read_file(path, true, &t, err);
	char *colon;

	if (ret == 0) {
		t.data[strcspn(t.data, "\r\n")] = 0;
		colon = strchr(t.data, ':');
		if (!colon || colon == t.data)
			ret = err_set(err, EINVAL, "'%s': its first line must be USER:PASSWORD",
				      path);
	}
	if (ret == 0) {
		*colon = 0;
		a->user = strdup(t.data);
		a->password = strdup(colon + 1);
		a->login = strdup(path);
		if (!a->user || !a->password || !a->login)
			ret = err_set(err, ENOMEM, "out of memory");
	}
	free(t.data);
	free(t.path);
	return ret;
}

static int take_option(struct etcd_arbiter *a, const char *option, struct err *err)
{
	if (!strncmp(option, "ca=", 3)) {
		a->tls = true;
		return read_file(strcmp(option + 3, "system") ? option + 3 : SYSTEM_CAS, false,
				 &a->ca, err);
	}
	if (!strncmp(option, "cert=", 5))
		return read_file(option + 5, false, &a->cert, err);
	if (!strncmp(option, "key=", 4))
		return read_file(option + 4, true, &a->key, err);
	if (!strncmp(option, "login=", 6))
		return read_login(a, option + 6, err);
	return err_set(err, EINVAL,
		       "--arbiter etcd: unknown suboption '%s': expected ca=, cert=, key= or "
		       "login=FILE",
		       option);
}

static int bad_endpoint(const char *text, struct err *err)
{
	return err_set(err, EINVAL, "--arbiter etcd: '%s' is no HOST:PORT or [V6]:PORT", text);
}

/* Adds an endpoint: HOST, HOST:PORT or [V6]:PORT. */
static int take_endpoint(struct etcd_arbiter *a, const char *text, struct err *err)
{
	struct endpoint *e = &a->endpoint[a->n];
	const char *from = text, *end, *port;
	long number;

	if (a->n == ENDPOINTS)
		return err_set(err, EINVAL, "--arbiter etcd: more than %d endpoints", ENDPOINTS);
	e->v6 = *text == '[';
	from += e->v6;
	end = e->v6 ? strchr(from, ']') : strchrnul(from, ':');
	if (!end || end == from || (size_t)(end - from) >= sizeof(e->host))
		return bad_endpoint(text, err);
	memcpy(e->host, from, (size_t)(end - from));
	end += e->v6;
	port = *end == ':' ? end + 1 : "2379";
	number = strtol(port, NULL, 10);
	if ((*end && *end != ':') || number < 1 || number > 65535 ||
	    port[strspn(port, "0123456789")] ||
	    e->host[strspn(e->host, "0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:_")])
		return bad_endpoint(text, err);
	snprintf(e->port, sizeof(e->port), "%ld", number);
	a->n++;
	return 0;
}

/*
 * Looks the address of an endpoint up, so that later questions need no name server. 0, or -errno
 * and err.
 */
static int look_up(struct endpoint *e, struct err *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char line[1024], address[64];
	size_t n;
	int ret = getaddrinfo(e->host, e->port, &hints, &list);

	if (ret)
		return err_set(err, EHOSTUNREACH, "arbiter etcd: cannot find host '%s': %s",
			       e->host, gai_strerror(ret));
	n = (size_t)snprintf(line, sizeof(line), "%s:%s:", e->host, e->port);
	for (struct addrinfo *i = list; i && n + sizeof(address) < sizeof(line); i = i->ai_next) {
		if (getnameinfo(i->ai_addr, i->ai_addrlen, address, sizeof(address), NULL, 0,
				NI_NUMERICHOST) == 0)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s",
					      i == list ? "" : ",", address);
	}
	freeaddrinfo(list);
	if (!e->v6)
		e->addresses = curl->slist_append(NULL, line);
	return 0;
}

/*
 * Looks all endpoints up. One member is enough, since others may be down. 0; -errno and err: none
 * was found.
 */
static int look_up_all(struct etcd_arbiter *a, struct err *err)
{
	unsigned found = 0;

	for (unsigned i = 0; i < a->n; i++) {
		if (look_up(&a->endpoint[i], err) == 0)
			found++;
		else
			log_warn("%s", err->text);
	}
	return found ? 0 : -err->code;
}

/* Calls take() for each part of list; commas separate them. */
static int split(struct etcd_arbiter *a, char *list,
		 int (*take)(struct etcd_arbiter *a, const char *part, struct err *err),
		 struct err *err)
{
	char *save, *part = strtok_r(list, ",", &save);
	int ret = 0;

	for (; part && ret == 0; part = strtok_r(NULL, ",", &save))
		ret = take(a, part, err);
	return ret;
}

static int parse(struct etcd_arbiter *a, char *spec, struct err *err)
{
	char *prefix = strncmp(spec, "//", 2) ? NULL : strchr(spec + 2, '/'), *options;
	int ret;

	if (!prefix || prefix == spec + 2 || !prefix[1] || prefix[1] == ',')
		return err_set(err, EINVAL,
			       "--arbiter etcd: expected etcd://HOST:PORT[,HOST:PORT...]/PREFIX");
	*prefix++ = 0;
	options = strchrnul(prefix, ',');
	if (*options)
		*options++ = 0;
	if (strlen(prefix) > ETCD_PREFIX_MAX ||
	    prefix[strspn(prefix, "0123456789abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_/")])
		return err_set(err, EINVAL,
			       "--arbiter etcd: a prefix is at most %d of a-z, A-Z, 0-9 and .-_/",
			       ETCD_PREFIX_MAX);
	strcpy(a->prefix, prefix);
	ret = split(a, spec + 2, take_endpoint, err);
	if (ret == 0)
		ret = split(a, options, take_option, err);
	if (ret == 0 && !a->cert.data != !a->key.data)
		ret = err_set(err, EINVAL, "--arbiter etcd: cert=FILE and key=FILE go together");
	if (ret == 0 && a->cert.data && !a->tls)
		ret = err_set(err, EINVAL,
			      "--arbiter etcd: a client certificate needs ca=FILE, that of the "
			      "cluster, or ca=system");
	return ret ? ret : look_up_all(a, err);
}

static void text_free(struct text *t)
{
	free(t->data);
	free(t->path);
}

static void etcd_close(struct arbiter *base)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)base;

	for (unsigned i = 0; i < ENDPOINTS; i++) {
		struct endpoint *e = &a->endpoint[i];

		if (e->runs)
			curl->multi_remove_handle(a->multi, e->easy);
		curl->easy_cleanup(e->easy);
		curl->slist_free_all(e->addresses);
		free(e->answer);
	}
	curl->multi_cleanup(a->multi);
	curl->slist_free_all(a->headers);
	free(a->token);
	free(a->user);
	free(a->password);
	free(a->login);
	text_free(&a->ca);
	text_free(&a->cert);
	text_free(&a->key);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static struct arbiter *etcd_open(const char *name, struct err *err)
{
	struct err mine = ERR_INIT;
	struct etcd_arbiter *a = calloc(1, sizeof(*a));
	char *spec = strdup(name);

	if (a && spec)
		curl = curl_library_load(err);
	else
		err_set(err, ENOMEM, "out of memory");
	if (!a || !spec || !curl) {
		free(a);
		free(spec);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	a->wait_ms = WAIT_MS;
	if (parse(a, spec, &mine) < 0) {
		err_set(err, mine.code, "%s", mine.text);
		etcd_close(&a->base);
		a = NULL;
	} else if (!a->tls) {
		log_warn("--arbiter etcd without ca=FILE: whoever can change packets on the way to "
			 "it decides who is live");
	}
	free(spec);
	return a ? &a->base : NULL;
}

/* ---- one member ---- */

static size_t keep(char *data, size_t size, size_t n, void *endpoint)
{
	struct endpoint *e = endpoint;

	if (n > ETCD_ANSWER_MAX - e->len)
		return 0;
	memcpy(e->answer + e->len, data, n);
	e->len += n;
	return n;
}

static void set_blob(CURL *easy, CURLoption option, const struct text *t)
{
	struct curl_blob blob = { .data = t->data, .len = t->len, .flags = CURL_BLOB_NOCOPY };

	if (t->data)
		curl->easy_setopt(easy, option, &blob);
}

static bool endpoint_prepare(struct etcd_arbiter *a, struct endpoint *e)
{
	if (e->easy)
		return true;
	e->answer = e->answer ? e->answer : malloc(ETCD_ANSWER_MAX);
	if (!e->answer || !(e->easy = curl->easy_init()))
		return false;
	curl->easy_setopt(e->easy, CURLOPT_NOSIGNAL, 1L);
	/* whatever the environment says, use no proxy */
	curl->easy_setopt(e->easy, CURLOPT_PROXY, "");
	curl->easy_setopt(e->easy, CURLOPT_PROTOCOLS_STR, a->tls ? "https" : "http");
	curl->easy_setopt(e->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl->easy_setopt(e->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl->easy_setopt(e->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl->easy_setopt(e->easy, CURLOPT_WRITEFUNCTION, keep);
	curl->easy_setopt(e->easy, CURLOPT_WRITEDATA, e);
	curl->easy_setopt(e->easy, CURLOPT_PRIVATE, e);
	curl->easy_setopt(e->easy, CURLOPT_ERRORBUFFER, e->why);
	curl->easy_setopt(e->easy, CURLOPT_RESOLVE, e->addresses);
	set_blob(e->easy, CURLOPT_CAINFO_BLOB, &a->ca);
	set_blob(e->easy, CURLOPT_SSLCERT_BLOB, &a->cert);
	set_blob(e->easy, CURLOPT_SSLKEY_BLOB, &a->key);
	return true;
}

static void endpoint_start(struct etcd_arbiter *a, struct endpoint *e, struct question *q)
{
	char url[512];

	if (!endpoint_prepare(a, e))
		return;
	snprintf(url, sizeof(url), "%s://%s%s%s:%s/v3/%s", a->tls ? "https" : "http",
		 e->v6 ? "[" : "", e->host, e->v6 ? "]" : "", e->port, q->path);
	e->len = 0;
	e->why[0] = 0;
	curl->easy_setopt(e->easy, CURLOPT_URL, url);
	curl->easy_setopt(e->easy, CURLOPT_HTTPHEADER, a->headers);
	curl->easy_setopt(e->easy, CURLOPT_POSTFIELDS, q->text);
	curl->easy_setopt(e->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)a->wait_ms);
	e->runs = curl->multi_add_handle(a->multi, e->easy) == CURLM_OK;
}

static void endpoint_stop(struct etcd_arbiter *a, struct endpoint *e)
{
	if (e->runs)
		curl->multi_remove_handle(a->multi, e->easy);
	e->runs = false;
}

/*
 * Checks that all members are of the same cluster: two clusters would each give every generation
 * away.
 */
static int check_cluster(struct etcd_arbiter *a, const struct endpoint *e, uint64_t cluster,
			 struct err *err)
{
	if (a->cluster && a->cluster != cluster)
		return err_set(err, EBADMSG, "%s:%s is of another cluster than the other endpoints",
			       e->host, e->port);
	a->cluster = cluster;
	return 0;
}

static const char *or_nothing(const char *path)
{
	return path ? path : "(none)";
}

/* Writes a cure for the error, in words; "": none is known. */
static void write_cure(const struct etcd_arbiter *a, CURLcode code, char *cure, size_t size)
{
	*cure = 0;
	switch ((int)code) {
	case CURLE_COULDNT_CONNECT:
		snprintf(cure, size, "; see that etcd runs there, and lets this host in");
		break;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		snprintf(cure, size, "%s",
			 !a->tls ? "; if it speaks TLS only, add ,ca=FILE"
			 : !a->cert.data
				 ? "; if it wants a client's certificate, add ,cert=FILE,key=FILE"
				 : "; it may not take the client's certificate of ,cert=");
		break;
	case CURLE_SSL_CONNECT_ERROR:
		snprintf(cure, size, "; if it speaks no TLS, leave out ,ca=%s",
			 a->cert.data ? ""
				      : ", and if it wants a client's certificate, add "
					",cert=FILE,key=FILE");
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		snprintf(cure, size,
			 "; its certificate has to be valid, for that name, and of the authority "
			 "in %s",
			 or_nothing(a->ca.path));
		break;
	case CURLE_SSL_CACERT_BADFILE:
		snprintf(cure, size, "; %s has to hold the authority's certificate, as PEM",
			 or_nothing(a->ca.path));
		break;
	case CURLE_SSL_CERTPROBLEM:
		snprintf(cure, size, "; %s and %s have to be a certificate and its key, as PEM",
			 or_nothing(a->cert.path), or_nothing(a->key.path));
		break;
	}
}

static int say_failure(const struct etcd_arbiter *a, const struct endpoint *e, CURLcode code,
		       struct err *err)
{
	char cure[300];

	write_cure(a, code, cure, sizeof(cure));
	return err_set(err, EAGAIN, "%s:%s: %s%s", e->host, e->port,
		       *e->why ? e->why : curl->easy_strerror(code), cure);
}

static int endpoint_result(struct etcd_arbiter *a, struct endpoint *e, struct question *q,
			   CURLcode code, struct err *err)
{
	long status = 0;
	int ret;

	if (code != CURLE_OK)
		return say_failure(a, e, code, err);
	curl->easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
	ret = q->parse(a, q, e, err);
	if (status != 200 && (ret == 0 || ret == -EBADMSG))
		ret = err_set(err, EBADMSG, "HTTP status %ld: is this etcd's client port?", status);
	if (ret == 0 && q->answer.cluster)
		ret = check_cluster(a, e, q->answer.cluster, err);
	return ret ? err_prefix(err, "%s:%s", e->host, e->port) : 0;
}

/* ---- all of them ---- */

/*
 * Handles the transfers that have ended. 1: an answer came; 0: none came; -EACCES: etcd asks for a
 * login.
 */
static int look_at_results(struct etcd_arbiter *a, struct question *q, struct err *err)
{
	int left, ret;
	CURLMsg *m;

	while ((m = curl->multi_info_read(a->multi, &left))) {
		char *private = NULL;
		struct endpoint *e;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
		e = (struct endpoint *)(void *)private;
		ret = endpoint_result(a, e, q, m->data.result, err);
		endpoint_stop(a, e);
		if (ret == 0)
			a->first = (unsigned)(e - a->endpoint);
		if (ret == 0 || ret == -EACCES)
			return ret == 0 ? 1 : ret;
	}
	return 0;
}

static unsigned running(const struct etcd_arbiter *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++)
		n += a->endpoint[i].runs;
	return n;
}

static int ask_members(struct etcd_arbiter *a, struct question *q, struct err *err)
{
	uint64_t now = host_mono_ms(), until = now + a->wait_ms, next = now;
	unsigned asked = 0;
	int ret = 0, runs;

	err_set(err, EAGAIN, "no endpoint has answered in %u ms", a->wait_ms);
	while (ret == 0 && now < until && (asked < a->n || running(a))) {
		if (asked < a->n && (now >= next || !running(a))) {
			endpoint_start(a, &a->endpoint[(a->first + asked++) % a->n], q);
			next = now + NEXT_MS;
		}
		curl->multi_perform(a->multi, &runs);
		ret = look_at_results(a, q, err);
		if (ret == 0 && running(a)) {
			uint64_t wake = asked < a->n && next < until ? next : until;

			curl->multi_poll(a->multi, NULL, 0, wake > now ? (int)(wake - now) : 0,
					 NULL);
		}
		now = host_mono_ms();
	}
	for (unsigned i = 0; i < a->n; i++)
		endpoint_stop(a, &a->endpoint[i]);
	return ret ? ret : -err->code;
}

static bool set_headers(struct etcd_arbiter *a)
{
	char line[1100];

	curl->slist_free_all(a->headers);
	a->headers = curl->slist_append(NULL, "Content-Type: application/json");
	if (a->headers && a->token) {
		snprintf(line, sizeof(line), "Authorization: %s", a->token);
		return curl->slist_append(a->headers, line) != NULL;
	}
	return a->headers != NULL;
}

static int parse_login(struct etcd_arbiter *a, struct question *q, const struct endpoint *e,
		       struct err *err)
{
	free(a->token);
	a->token = NULL;
	return etcd_login_parse(e->answer, e->len, &a->token, err);
}

/* Sets the error for a refused login. */
static void say_login(const struct etcd_arbiter *a, struct err *err)
{
	const struct err said = *err;

	if (strstr(said.text, "etcd says"))
		err_set(err, said.code, "%s; user and password are those of %s", said.text,
			a->login);
}

static int log_in(struct etcd_arbiter *a, struct err *err)
{
	struct question q = { .path = "auth/authenticate", .parse = parse_login };
	int ret;

	free(a->token);
	a->token = NULL;
	q.text = etcd_login_text(a->user, a->password);
	if (!q.text || !set_headers(a))
		ret = err_set(err, ENOMEM, "out of memory");
	else
		ret = ask_members(a, &q, err);
	if (ret == -EACCES || ret == -EAGAIN)
		say_login(a, err);
	free(q.text);
	return ret < 0 ? ret : set_headers(a) ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int ask_logged_in(struct etcd_arbiter *a, struct question *q, struct err *err)
{
	bool fresh = false;
	int ret;

	if (!a->multi && (!(a->multi = curl->multi_init()) || !set_headers(a)))
		return err_set(err, ENOMEM, "out of memory");
	if (a->user && !a->token) {
		ret = log_in(a, err);
		if (ret < 0)
			return ret;
		fresh = true;
	}
	ret = ask_members(a, q, err);
	if (ret != -EACCES || !a->user || fresh)
		return ret;
	ret = log_in(a, err); /* the old login, which lasts some minutes, has expired */
	return ret < 0 ? ret : ask_members(a, q, err);
}

static int ask(struct etcd_arbiter *a, struct question *q, struct err *err)
{
	struct err mine = ERR_INIT;
	int ret;

	if (!q->text)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_lock(&a->lock);
	ret = ask_logged_in(a, q, &mine);
	if (ret > 0)
		a->wait_ms = WAIT_MS;
	else if (a->wait_ms < WAIT_MAX)
		a->wait_ms *= 2;
	pthread_mutex_unlock(&a->lock);
	free(q->text);
	return ret > 0 ? 0 : err_set(err, mine.code, "arbiter etcd '%s': %s", a->prefix, mine.text);
}

/* ---- the operations ---- */

static int parse_take(struct etcd_arbiter *a, struct question *q, const struct endpoint *e,
		      struct err *err)
{
	return etcd_take_parse(e->answer, e->len, q->id, &q->answer, err);
}

static int parse_owner(struct etcd_arbiter *a, struct question *q, const struct endpoint *e,
		       struct err *err)
{
	return etcd_owner_parse(e->answer, e->len, &q->answer, err);
}

static int parse_last(struct etcd_arbiter *a, struct question *q, const struct endpoint *e,
		      struct err *err)
{
	return etcd_last_parse(e->answer, e->len, &q->answer, err);
}

static int etcd_take(struct arbiter *base, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		     struct err *err)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)base;
	struct question q = { .path = "kv/txn",
			      .text = etcd_take_text(a->prefix, generation, id),
			      .parse = parse_take,
			      .id = id };
	int ret = ask(a, &q, err);

	if (ret == 0 && q.answer.result == -EPERM)
		return err_set(err, EPERM,
			       "arbiter etcd '%s': generation %" PRIu64
			       " is not the next one: the one before is nobody's",
			       a->prefix, generation);
	return ret < 0 ? ret : q.answer.result;
}

static int etcd_owner(struct arbiter *base, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		      struct err *err)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)base;
	struct question q = { .path = "kv/range",
			      .text = etcd_owner_text(a->prefix, generation),
			      .parse = parse_owner };
	int ret = ask(a, &q, err);

	if (ret < 0)
		return ret;
	memcpy(id, q.answer.id, ARBITER_ID_LEN);
	return q.answer.result;
}

static int etcd_last(struct arbiter *base, uint64_t *generation, struct err *err)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)base;
	struct question q = { .path = "kv/range",
			      .text = etcd_last_text(a->prefix),
			      .parse = parse_last };
	int ret = ask(a, &q, err);

	*generation = q.answer.generation;
	return ret;
}

static int etcd_fd(const struct arbiter *base)
{
	return -1;
}

/*
 * Erases the secrets in this process: the keeper has a copy of its own, and an attacker who takes
 * over the replica should not find any.
 */
static void etcd_delegate(struct arbiter *base)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)base;

	if (a->key.data)
		explicit_bzero(a->key.data, a->key.len);
	if (a->password)
		explicit_bzero(a->password, strlen(a->password));
}

const struct arbiter_ops arbiter_etcd_ops = {
	.prefix = "etcd",
	.network = true,
	/* a login, the request, a login again and the request again, each with the longest wait */
	.wait_ms = 4 * WAIT_MAX + 1000,
	.open = etcd_open,
	.close = etcd_close,
	.take = etcd_take,
	.owner = etcd_owner,
	.last = etcd_last,
	.fd = etcd_fd,
	.delegate = etcd_delegate,
};
