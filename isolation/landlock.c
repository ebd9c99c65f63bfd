// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Landlock by its bare system calls (Documentation/userspace-api/landlock.rst): older headers do
 * not know all of it.
 */
#include "isolation/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL_CREATE_RULESET    444
#define CALL_RESTRICT_SELF     446
#define CREATE_RULESET_VERSION 1u

struct ruleset {
	uint64_t fs, net, scoped;
};

/*
 * All access rights that version 1, 2, ... of the interface knows are handled, and no rule allows
 * any.
 */
static const struct {
	struct ruleset set;
	size_t size;
} versions[] = {
	{ { .fs = (1ull << 13) - 1 }, 8 },
	{ { .fs = (1ull << 14) - 1 }, 8 },	      /* 2: to another directory */
	{ { .fs = (1ull << 15) - 1 }, 8 },	      /* 3: truncate */
	{ { .fs = (1ull << 15) - 1, .net = 3 }, 16 }, /* 4: bind, connect */
	{ { .fs = (1ull << 16) - 1, .net = 3 }, 16 }, /* 5: ioctl on devices */
	{ { .fs = (1ull << 16) - 1, .net = 3, .scoped = 3 },
	  24 }, /* 6: abstract sockets, signals */
};
#define VERSIONS ((long)(sizeof(versions) / sizeof(versions[0])))

int landlock_enter(void)
{
	long version = syscall(CALL_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION), fd, ret;

	if (version < 1)
		return version < 0 ? -errno : -ENOSYS;
	if (version > VERSIONS)
		version = VERSIONS;
	fd = syscall(CALL_CREATE_RULESET, &versions[version - 1].set, versions[version - 1].size,
		     0);
	if (fd < 0)
		return -errno;
	ret = syscall(CALL_RESTRICT_SELF, fd, 0) < 0 ? -errno : 0;
	close((int)fd);
	return (int)ret;
}
