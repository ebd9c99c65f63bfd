// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/curl_library.h"

#include <dlfcn.h>
#include <errno.h>

#define LIBRARY "libcurl.so.4"

static struct curl_library curl;

static int find(void *library, const char *name, void *function, struct err *err)
{
	*(void **)function = dlsym(library, name);
	return *(void **)function
		       ? 0
		       : err_set(err, ENOENT, "%s has no %s(): %s", LIBRARY, name, dlerror());
}

const struct curl_library *curl_library_load(struct err *err)
{
	static void *library;
	int ret = 0;

	if (library)
		return &curl;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		err_set(err, ENOENT,
			"what goes over HTTP (an arbiter that is etcd, --webhook) needs %s "
			"(package libcurl4): %s",
			LIBRARY, dlerror());
		return NULL;
	}
#define FIND(name) ret = ret ? ret : find(library, "curl_" #name, &curl.name, err);
	CURL_LIBRARY_FUNCTIONS(FIND)
#undef FIND
	if (ret == 0 && curl.global_init(CURL_GLOBAL_DEFAULT))
		ret = err_set(err, ENOMEM, "%s cannot be initialized", LIBRARY);
	if (ret == 0)
		return &curl;
	dlclose(library);
	library = NULL;
	return NULL;
}
