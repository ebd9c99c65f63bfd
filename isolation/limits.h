/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on a machine's use of the host: how they are written as options, and how they are stored.
 */
#ifndef ISOLATION_LIMITS_H
#define ISOLATION_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CPU_WEIGHT_DEFAULT 100 /* weight of a group that was given none */

enum io_limit { IO_READ_BPS, IO_WRITE_BPS, IO_READ_OPS, IO_WRITE_OPS, IO_LIMITS };

struct limits {
	uint64_t cpu_weight;	/* 1 to 10000; 0: not given */
	uint64_t cpu_quota_us;	/* CPU time in each period; 0: not given */
	uint64_t cpu_period_us; /* 1000 to 1000000 */
	uint64_t memory_max;	/* bytes; 0: not given */
	uint64_t io[IO_LIMITS]; /* a second, for each disk; 0: not given */
};

/* Each takes an option's value: 0, or -EINVAL and err. */
int limits_take_cpu_weight(struct limits *l, const char *text, struct err *err);
/* "50", "50%" of one CPU, or "QUOTA/PERIOD" in microseconds. */
int limits_take_cpu_max(struct limits *l, const char *text, struct err *err);
int limits_take_memory_max(struct limits *l, const char *text, struct err *err);
/*
 * "SIZE" a second for reads and for writes, or any of read=SIZE,write=SIZE,read-ops=N,write-ops=N.
 */
int limits_take_io_max(struct limits *l, const char *text, struct err *err);

/* True: any limit is given; or, for the second function, any limit of disks. */
bool limits_any(const struct limits *l);
bool limits_any_io(const struct limits *l);
/* "weight 200, 50% of a CPU, ...", or "" when none is given. */
void limits_describe(const struct limits *l, char *text, size_t size);

/* "64M", "1G", "4096": bytes; false for anything else. The whole text, and at most 2^63 - 1. */
bool limits_parse_size(const char *text, uint64_t *bytes);

#endif
