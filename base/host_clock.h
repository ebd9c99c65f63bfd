/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's clocks. Nothing in the deterministic machine may look at them. */
#ifndef BASE_HOST_CLOCK_H
#define BASE_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds on CLOCK_MONOTONIC, CLOCK_BOOTTIME or another clock that the host always has. */
uint64_t host_clock_ns(clockid_t clock);

#endif
