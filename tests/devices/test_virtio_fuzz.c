// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fuzz targets of the virtio devices with random scripts from a fixed seed; FUZZ_RUNS=n runs
 * more of them.
 */
#define LLVMFuzzerTestOneInput fuzz_virtio_net
#include "tests/fuzz/fuzz_virtio_net.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_virtio_blk
int fuzz_virtio_blk(const uint8_t *data, size_t size);
#include "tests/fuzz/fuzz_virtio_blk.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_virtio_console
int fuzz_virtio_console(const uint8_t *data, size_t size);
#include "tests/fuzz/fuzz_virtio_console.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_virtio_port
int fuzz_virtio_port(const uint8_t *data, size_t size);
#include "tests/fuzz/fuzz_virtio_port.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_virtio_rng
int fuzz_virtio_rng(const uint8_t *data, size_t size);
#include "tests/fuzz/fuzz_virtio_rng.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_virtio_balloon
int fuzz_virtio_balloon(const uint8_t *data, size_t size);
#include "tests/fuzz/fuzz_virtio_balloon.c"
#undef LLVMFuzzerTestOneInput

#include "tests/unit.h"

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void run(int (*target)(const uint8_t *data, size_t size))
{
	const char *text = getenv("FUZZ_RUNS");
	unsigned long runs = text ? strtoul(text, NULL, 10) : 1000;
	uint64_t seed = 0x9e3779b97f4a7c15;
	uint8_t script[4096];

	for (unsigned long i = 0; i < runs; i++) {
		size_t len = next_random(&seed) % sizeof(script);

		for (size_t k = 0; k < len; k++)
			script[k] = (uint8_t)(next_random(&seed) >> 32);
		target(script, len);
	}
}

START_TEST(random_net)
{
	run(fuzz_virtio_net);
}
END_TEST

START_TEST(random_blk)
{
	run(fuzz_virtio_blk);
}
END_TEST

START_TEST(random_console)
{
	run(fuzz_virtio_console);
}
END_TEST

START_TEST(random_port)
{
	run(fuzz_virtio_port);
}
END_TEST

START_TEST(random_rng)
{
	run(fuzz_virtio_rng);
}
END_TEST

START_TEST(random_balloon)
{
	run(fuzz_virtio_balloon);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, random_net);
	tcase_add_test(tc, random_blk);
	tcase_add_test(tc, random_console);
	tcase_add_test(tc, random_port);
	tcase_add_test(tc, random_rng);
	tcase_add_test(tc, random_balloon);
}

UNIT_MAIN("virtio-fuzz", add_tests)
