// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/curl_library.h"

#include <errno.h>
#include <stdbool.h>

#include "base/library.h"

#define LIBRARY "libcurl.so.4"

static struct curl_library curl;

static int load(struct err *err)
{
#define ROW(name) { "curl_" #name, &curl.name },
	static const struct library_function functions[] = { CURL_LIBRARY_FUNCTIONS(ROW) };
#undef ROW
	int ret = library_load(LIBRARY, "etcd or a webhook", "libcurl4", functions,
			       sizeof(functions) / sizeof(*functions), err);

	if (ret == 0 && curl.global_init(CURL_GLOBAL_DEFAULT))
		ret = err_set(err, ENOMEM, "%s cannot be initialized", LIBRARY);
	return ret;
}

const struct curl_library *curl_library_load(struct err *err)
{
	static bool loaded;

	if (!loaded)
		loaded = load(err) == 0;
	return loaded ? &curl : NULL;
}
