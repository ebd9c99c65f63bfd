// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "base/hex.h"
#include "tests/unit.h"

START_TEST(bytes_come_back)
{
	uint8_t in[256], out[256];
	char text[2 * sizeof(in) + 1];

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	hex_put(text, in, sizeof(in));
	ck_assert_uint_eq(strlen(text), 2 * sizeof(in));
	ck_assert(!strncmp(text + 2 * 0xa5, "a5a6", 4));
	ck_assert(hex_get(text, out, sizeof(out), HEX_LOWER));
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert(hex_get("Fe0", out, 1, HEX_ANY));
	ck_assert_uint_eq(out[0], 0xfe);
}
END_TEST

START_TEST(other_texts_are_refused)
{
	static const char *const bad[] = {
		"", "a", "0g", "g0", " 1", "0x", "-1", "a:", "@0", "`0"
	};
	uint8_t out;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!hex_get(bad[i], &out, 1, HEX_ANY), "%s", bad[i]);
	ck_assert(!hex_get("Fe", &out, 1, HEX_LOWER));
	ck_assert(!hex_get("eF", &out, 1, HEX_LOWER));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, bytes_come_back);
	tcase_add_test(tc, other_texts_are_refused);
}

UNIT_MAIN("hex", add_tests)
