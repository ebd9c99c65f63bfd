// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>

int library_load(const char *file, const char *purpose, const char *package,
		 const struct library_function *f, size_t n, struct err *err)
{
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return err_set(err, ENOENT, "%s needs %s (package %s): %s", purpose, file, package,
			       dlerror());
	for (size_t i = 0; i < n; i++) {
		void **pointer = f[i].pointer;

		*pointer = dlsym(library, f[i].name);
		if (*pointer)
			continue;
		err_set(err, ENOENT, "%s has no %s(): %s", file, f[i].name, dlerror());
		dlclose(library);
		return -ENOENT;
	}
	return 0;
}
