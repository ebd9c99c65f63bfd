// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/process.h"
#include "base/file_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * proc(5): "pid (name) state ppid ...", where the name may hold anything; the start time is the
 * 22nd field.
 */
uint64_t process_start(pid_t pid)
{
	char path[40], text[512], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file_read_text(path, text, sizeof(text));
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p, NULL, 10) : 0;
}
