// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hold COMMAND...: runs it while this holds every performance counter of CPU 0, as a profiler
 * might.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS 16

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.size = sizeof(attr),
		.pinned = 1,
	};

	if (argc < 2)
		return 2;
	for (unsigned i = 0; i < EVENTS; i++) {
		if (syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0) < 0)
			break;
	}
	execvp(argv[1], argv + 1);
	return 127;
}
