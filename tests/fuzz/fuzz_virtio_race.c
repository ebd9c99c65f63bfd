// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A second thread writes to the rings while a device works on them, as another processor of a guest
 * could: indices, heads, descriptors and their flags change between any two looks at them.
 *
 * Such races are part of the design, not an error: what a guest's memory holds is never trusted,
 * only what was copied from it, once, by memory_read(). So this is no target for the thread
 * sanitizer; the address and undefined-behaviour sanitizers, the checks within the devices, and the
 * end of every call are what counts. A run is not repeatable.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/fuzz/virtio_targets.h"

static struct {
	pthread_t thread;
	struct rig *rig;
	atomic_bool begun, over;
} race;

static uint64_t race_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Where it hurts: the first descriptors, and the heads of both rings, of any queue. */
static uint32_t race_place(uint64_t x)
{
	unsigned q = x % 3;

	switch (x >> 8 & 3) {
	case 0:
		return RIG_AVAIL(q) + (x >> 16 & 0x3e);
	case 1:
		return RIG_USED(q) + (x >> 16 & 0x3e);
	default:
		return RIG_DESC(q) + (x >> 16 & 0xfe);
	}
}

static uint16_t race_value(uint64_t x, uint16_t now)
{
	switch (x >> 32 & 3) {
	case 0:
		return (uint16_t)(now + 1);
	case 1:
		return x >> 40 & 15;
	case 2:
		return (uint16_t)(now ^ 1u << (x >> 40 & 15));
	default:
		return (uint16_t)(x >> 40);
	}
}

static void *race_thread(void *arg)
{
	uint64_t x = 0x9e3779b97f4a7c15;

	atomic_store(&race.begun, true);
	while (!atomic_load(&race.over)) {
		volatile uint16_t *p;

		race_random(&x);
		p = (volatile uint16_t *)(race.rig->mem.base + race_place(x));
		*p = race_value(x, *p);
	}
	return NULL;
}

static void race_join(struct rig *r)
{
	race.rig = r;
	atomic_store(&race.begun, false);
	atomic_store(&race.over, false);
	must(pthread_create(&race.thread, NULL, race_thread, NULL) == 0);
	while (!atomic_load(&race.begun))
		sched_yield();
}

static void race_leave(void)
{
	atomic_store(&race.over, true);
	pthread_join(race.thread, NULL);
}

/* The first byte chooses the device. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_company company = { .join = race_join, .leave = race_leave };
	static void (*const run[])(const uint8_t *data,
				   size_t size) = { fuzz_balloon_run, fuzz_blk_run,
						    fuzz_console_run, fuzz_net_run,
						    fuzz_rng_run,     fuzz_port_run };

	if (!size)
		return 0;
	fuzz_company = &company;
	run[data[0] % (sizeof(run) / sizeof(run[0]))](data + 1, size - 1);
	return 0;
}
