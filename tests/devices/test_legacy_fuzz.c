// SPDX-License-Identifier: GPL-2.0-or-later
/* The fuzz function of the legacy devices on generated input: the same on every run. */
#include "tests/fuzz/legacy.h"
#include "tests/unit.h"

#define ROUNDS 2000
#define BYTES  600

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

START_TEST(random_access)
{
	static uint8_t data[BYTES];
	uint64_t state = 0x9e3779b97f4a7c15ull + (unsigned)_i;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)(next(&state) >> 32);
		legacy_fuzz((enum legacy_device)_i, data, sizeof(data));
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, random_access, 0, LEGACY_DEVICES);
}

UNIT_MAIN("legacy_fuzz", add_tests)
