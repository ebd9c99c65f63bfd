// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/host_clock.h"

#define NS 1000000000ull /* in a second */

uint64_t host_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

uint64_t host_mono_ns(void)
{
	return host_clock_ns(CLOCK_MONOTONIC);
}

int64_t host_mono_ms(void)
{
	return (int64_t)(host_mono_ns() / 1000000);
}

struct timespec host_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS) };
}

void host_sleep_ns(uint64_t ns)
{
	struct timespec ts = host_timespec(ns);

	nanosleep(&ts, NULL);
}
