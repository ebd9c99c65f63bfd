// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/etcd_json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

#define KEY_MAX	      (ETCD_PREFIX_MAX + 40)
#define B64_LEN(n)    (((n) + 2) / 3 * 4 + 1)
#define GENERATION_AT "/generation/"
/* digits of a generation: with a fixed number of them, keys sort as numbers do \ */
#define DIGITS 20

/* gRPC codes that mean, as "code" of an answer, that the caller has to log in (again). */
#define GRPC_INVALID_ARGUMENT  3
#define GRPC_PERMISSION_DENIED 7
#define GRPC_UNAUTHENTICATED   16

/* ---- requests ---- */

static void encode(char *out, const void *data, size_t len)
{
	EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

static void put_key(char out[B64_LEN(KEY_MAX)], const char *prefix, uint64_t generation)
{
	char key[KEY_MAX];
	int n = snprintf(key, sizeof(key), "%.*s" GENERATION_AT "%0*" PRIu64, ETCD_PREFIX_MAX,
			 prefix, DIGITS, generation);

	encode(out, key, (size_t)n);
}

/* Writes the end of the range that contains the keys of all generations. */
static void put_end(char out[B64_LEN(KEY_MAX)], const char *prefix)
{
	char key[KEY_MAX];
	int n = snprintf(key, sizeof(key), "%.*s" GENERATION_AT ":", ETCD_PREFIX_MAX, prefix);

	encode(out, key, (size_t)n);
}

static char *text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *text_of(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

char *etcd_take_text(const char *prefix, uint64_t generation, const uint8_t id[ARBITER_ID_LEN])
{
	char key[B64_LEN(KEY_MAX)], before[B64_LEN(KEY_MAX)], hex[2 * ARBITER_ID_LEN + 1];
	char value[B64_LEN(sizeof(hex))];

	put_key(key, prefix, generation);
	put_key(before, prefix, generation - 1);
	hex_put(hex, id, ARBITER_ID_LEN);
	encode(value, hex, sizeof(hex) - 1);
	return text_of("{\"compare\":[{\"target\":\"CREATE\",\"key\":\"%s\",\"result\":\"EQUAL\","
		       "\"create_revision\":\"0\"},"
		       "{\"target\":\"CREATE\",\"key\":\"%s\",\"result\":\"%s\","
		       "\"create_revision\":\"0\"}],"
		       "\"success\":[{\"request_put\":{\"key\":\"%s\",\"value\":\"%s\"}}],"
		       "\"failure\":[{\"request_range\":{\"key\":\"%s\"}}]}",
		       key, before, generation == 1 ? "EQUAL" : "GREATER", key, value, key);
}

char *etcd_owner_text(const char *prefix, uint64_t generation)
{
	char key[B64_LEN(KEY_MAX)];

	put_key(key, prefix, generation);
	return text_of("{\"key\":\"%s\"}", key);
}

char *etcd_last_text(const char *prefix)
{
	char from[B64_LEN(KEY_MAX)], end[B64_LEN(KEY_MAX)];

	put_key(from, prefix, 0);
	put_end(end, prefix);
	return text_of("{\"key\":\"%s\",\"range_end\":\"%s\",\"limit\":\"1\","
		       "\"sort_order\":\"DESCEND\",\"sort_target\":\"KEY\"}",
		       from, end);
}

char *etcd_login_text(const char *user, const char *password)
{
	json_t *j = json_pack("{ss ss}", "name", user, "password", password);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}

/* ---- answers ---- */

static int refuse(struct err *err, const char *what)
{
	return err_set(err, EBADMSG, "etcd's answer cannot be understood: %s", what);
}

/* Turns a complaint of etcd into an error: {"error": ..., "code": ..., "message": ...}. */
static int complaint(const json_t *j, struct err *err)
{
	const char *message = json_string_value(json_object_get(j, "message"));
	const char *error = json_string_value(json_object_get(j, "error"));
	json_int_t code = json_integer_value(json_object_get(j, "code"));
	const char *words = error ? error : message;
	bool token = words && strstr(words, "token");
	bool login = code == GRPC_UNAUTHENTICATED || code == GRPC_PERMISSION_DENIED ||
		     (code == GRPC_INVALID_ARGUMENT && words && strstr(words, "user name"));

	if (!words)
		return 0;
	return err_set(err, token || login ? EACCES : EAGAIN, "etcd says: %.200s%s", words,
		       strstr(words, "no leader") ? ": a majority of its members has to run" : "");
}

static json_t *load(const char *text, size_t len, struct err *err)
{
	json_error_t e;
	json_t *j =
		len <= ETCD_ANSWER_MAX ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &e) : NULL;

	if (!json_is_object(j))
		refuse(err, "no JSON object; is it an etcd, with its JSON gateway on?");
	else if (complaint(j, err) == 0)
		return j;
	json_decref(j);
	return NULL;
}

/* Reads a 64-bit number, which etcd writes as a string. */
static bool get_number(const json_t *j, uint64_t *n)
{
	const char *s = json_string_value(j);
	char *end;

	if (!s || *s < '0' || *s > '9')
		return false;
	errno = 0;
	*n = strtoull(s, &end, 10);
	return errno == 0 && !*end;
}

static int get_cluster(const json_t *j, struct etcd_answer *a, struct err *err)
{
	const json_t *header = json_object_get(j, "header");

	*a = (struct etcd_answer){ 0 };
	if (!get_number(json_object_get(header, "cluster_id"), &a->cluster))
		return refuse(err, "no header with a cluster's number");
	return 0;
}

/* Decodes base64. Returns the length; -1: more than max - 1 bytes, or not base64. */
static int decode(const json_t *j, char *out, size_t max)
{
	const char *s = json_string_value(j);
	size_t n = s ? strlen(s) : 0;
	unsigned char raw[(B64_LEN(KEY_MAX) / 4 + 1) * 3];
	int len;

	if (!n || n % 4 || n > B64_LEN(KEY_MAX))
		return -1;
	len = EVP_DecodeBlock(raw, (const unsigned char *)s, (int)n);
	if (len >= 0)
		len -= (s[n - 1] == '=') + (s[n - 2] == '=');
	if (len < 0 || (size_t)len >= max)
		return -1;
	memcpy(out, raw, (size_t)len);
	out[len] = 0;
	return len;
}

static int get_id(const json_t *kv, uint8_t id[ARBITER_ID_LEN], struct err *err)
{
	char hex[2 * ARBITER_ID_LEN + 1];

	if (decode(json_object_get(kv, "value"), hex, sizeof(hex)) != 2 * ARBITER_ID_LEN)
		return refuse(err, "a generation's owner is damaged");
	return hex_get(hex, id, ARBITER_ID_LEN, HEX_LOWER)
		       ? 0
		       : refuse(err, "a generation's owner is damaged");
}

/*
 * Reads the one key that a range request found; *kv is NULL when it found none. 0; -EBADMSG and
 * err: the answer is anything else.
 */
static int get_kv(const json_t *range, const json_t **kv, struct err *err)
{
	const json_t *kvs = json_object_get(range, "kvs");

	*kv = NULL;
	if (!kvs || json_array_size(kvs) == 0)
		return kvs && !json_is_array(kvs) ? refuse(err, "no list of keys") : 0;
	*kv = json_array_get(kvs, 0);
	return json_array_size(kvs) == 1 ? 0 : refuse(err, "more than one key");
}

static int take_failed(const json_t *j, const uint8_t id[ARBITER_ID_LEN], struct etcd_answer *a,
		       struct err *err)
{
	const json_t *responses = json_object_get(j, "responses"), *range, *kv;
	int ret;

	range = json_object_get(json_array_get(responses, 0), "response_range");
	if (json_array_size(responses) != 1 || !json_is_object(range))
		return refuse(err, "a transaction without what it found");
	ret = get_kv(range, &kv, err);
	if (ret < 0)
		return ret;
	a->result = -EPERM;
	if (!kv)
		return 0;
	ret = get_id(kv, a->id, err);
	a->result = !memcmp(a->id, id, ARBITER_ID_LEN);
	return ret;
}

static int take_succeeded(const json_t *j, struct etcd_answer *a, struct err *err)
{
	const json_t *responses = json_object_get(j, "responses");

	if (json_array_size(responses) != 1 ||
	    !json_object_get(json_array_get(responses, 0), "response_put"))
		return refuse(err, "a transaction that has put nothing");
	a->result = 1;
	return 0;
}

int etcd_take_parse(const char *text, size_t len, const uint8_t id[ARBITER_ID_LEN],
		    struct etcd_answer *a, struct err *err)
{
	json_t *j = load(text, len, err);
	const json_t *succeeded = json_object_get(j, "succeeded");
	int ret;

	if (!j)
		return -err->code;
	ret = get_cluster(j, a, err);
	if (ret == 0 && succeeded && !json_is_boolean(succeeded))
		ret = refuse(err, "neither success nor failure");
	if (ret == 0)
		ret = json_is_true(succeeded) ? take_succeeded(j, a, err)
					      : take_failed(j, id, a, err);
	json_decref(j);
	return ret;
}

/* Reads an answer about one key; the caller releases it. *kv: NULL when the key does not exist. */
static json_t *load_kv(const char *text, size_t len, struct etcd_answer *a, const json_t **kv,
		       struct err *err)
{
	json_t *j = load(text, len, err);

	if (!j || (get_cluster(j, a, err) == 0 && get_kv(j, kv, err) == 0))
		return j;
	json_decref(j);
	return NULL;
}

int etcd_owner_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err)
{
	const json_t *kv;
	json_t *j = load_kv(text, len, a, &kv, err);
	int ret;

	if (!j)
		return -err->code;
	ret = kv ? get_id(kv, a->id, err) : 0;
	a->result = kv != NULL;
	json_decref(j);
	return ret;
}

static int get_generation(const json_t *kv, uint64_t *generation, struct err *err)
{
	char key[KEY_MAX + 1], *end;
	int n = decode(json_object_get(kv, "key"), key, sizeof(key));

	if (n < DIGITS || strspn(key + n - DIGITS, "0123456789") != DIGITS)
		return refuse(err, "a key that is no generation's");
	errno = 0;
	*generation = strtoull(key + n - DIGITS, &end, 10);
	return errno || *end ? refuse(err, "a key that is no generation's") : 0;
}

int etcd_last_parse(const char *text, size_t len, struct etcd_answer *a, struct err *err)
{
	const json_t *kv;
	json_t *j = load_kv(text, len, a, &kv, err);
	int ret;

	if (!j)
		return -err->code;
	ret = kv ? get_generation(kv, &a->generation, err) : 0;
	json_decref(j);
	return ret;
}

int etcd_login_parse(const char *text, size_t len, char **token, struct err *err)
{
	json_t *j = load(text, len, err);
	const char *t = json_string_value(json_object_get(j, "token"));
	int ret = 0;

	if (!j)
		return -err->code;
	if (!t || !*t || strlen(t) > 1024 || strpbrk(t, "\r\n"))
		ret = refuse(err, "a login without a token");
	else if (!(*token = strdup(t)))
		ret = err_set(err, ENOMEM, "out of memory");
	json_decref(j);
	return ret;
}
