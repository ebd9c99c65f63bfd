/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's clocks, and sleeping by them. Nothing in the deterministic machine may look at either.
 */
#ifndef BASE_HOST_CLOCK_H
#define BASE_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds on CLOCK_MONOTONIC, CLOCK_BOOTTIME or another clock that the host always has. */
uint64_t host_clock_ns(clockid_t clock);
/* Nanoseconds on CLOCK_MONOTONIC. */
uint64_t host_mono_ns(void);
/* Milliseconds on CLOCK_MONOTONIC; signed, because what is left of a deadline may be negative. */
int64_t host_mono_ms(void);
/* Nanoseconds as the kernel wants them: a span of time, or a moment on a clock. */
struct timespec host_timespec(uint64_t ns);
/* Sleeps for so long, or until a signal has been handled. */
void host_sleep_ns(uint64_t ns);

#endif
