// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/host_clock.h"

uint64_t host_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
