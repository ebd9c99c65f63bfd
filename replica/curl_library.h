/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl, loaded only by processes that ask an arbiter over HTTP or report events by HTTP. If it
 * were linked, every process that runs a guest would load libcurl and some thirty libraries that it
 * needs, and take twice as long to start.
 */
#ifndef REPLICA_CURL_LIBRARY_H
#define REPLICA_CURL_LIBRARY_H

#include <curl/curl.h>

#include "base/err.h"

/* Functions of the library that are used, without the prefix curl_. */
#define CURL_LIBRARY_FUNCTIONS(F) \
	F(global_init)            \
	F(easy_init)              \
	F(easy_setopt)            \
	F(easy_perform)           \
	F(easy_getinfo)           \
	F(easy_strerror)          \
	F(easy_cleanup)           \
	F(multi_init)             \
	F(multi_add_handle)       \
	F(multi_remove_handle)    \
	F(multi_perform)          \
	F(multi_poll)             \
	F(multi_info_read)        \
	F(multi_cleanup)          \
	F(slist_append)           \
	F(slist_free_all)

struct curl_library {
#define CURL_LIBRARY_MEMBER(name) __typeof__(&curl_##name) name;
	CURL_LIBRARY_FUNCTIONS(CURL_LIBRARY_MEMBER)
#undef CURL_LIBRARY_MEMBER
};

/*
 * Loads and initializes libcurl, once for the process, before the jail closes. NULL and err: it is
 * not installed.
 */
const struct curl_library *curl_library_load(struct err *err);

#endif
