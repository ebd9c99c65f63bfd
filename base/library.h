/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared libraries that few processes need. Linked, each would be loaded, with all that it needs
 * itself, into every process that runs a guest.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stddef.h>

#include "base/err.h"

struct library_function {
	const char *name;
	void *pointer; /* address of the function pointer that is filled in */
};

/*
 * Loads a library and looks up n functions of it, for as long as the process lives. Messages
 * say for which purpose it is needed ("RDMA") and which Debian package has it. 0, or -ENOENT and
 * err; then nothing stays loaded.
 */
int library_load(const char *file, const char *purpose, const char *package,
		 const struct library_function *f, size_t n, struct err *err);

#endif
