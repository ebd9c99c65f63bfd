// SPDX-License-Identifier: GPL-2.0-or-later
/* What the module's answers about a host mean. */
#include <string.h>

#include "hypervisor/vmx/vmx.h"
#include "tests/unit.h"

static const struct twvmx_info good = { .version = TWVMX_VERSION,
					.verdict = TWVMX_OK,
					.cr4_fixed1 = VMX_GUEST_CR4 };

static const char *judge(uint32_t version, uint32_t verdict, uint64_t cr4)
{
	const struct twvmx_info info = { .version = version,
					 .verdict = verdict,
					 .cr4_fixed1 = cr4 };

	return vmx_device_judge(&info);
}

START_TEST(good_host)
{
	ck_assert_ptr_null(vmx_device_judge(&good));
	ck_assert_ptr_null(judge(TWVMX_VERSION, TWVMX_OK, UINT64_MAX));
}
END_TEST

START_TEST(each_reason)
{
	ck_assert_ptr_nonnull(
		strstr(judge(TWVMX_VERSION + 1, TWVMX_OK, UINT64_MAX), "another version"));
	ck_assert_ptr_nonnull(strstr(judge(TWVMX_VERSION, TWVMX_NO_VMX, 0), "no VT-x"));
	ck_assert_ptr_nonnull(strstr(judge(TWVMX_VERSION, TWVMX_LOCKED, UINT64_MAX), "firmware"));
	ck_assert_ptr_nonnull(
		strstr(judge(TWVMX_VERSION, TWVMX_NO_CONTROLS, UINT64_MAX), "lacks something"));
	ck_assert_ptr_nonnull(strstr(judge(TWVMX_VERSION, 1000, UINT64_MAX), "unknown"));
}
END_TEST

START_TEST(what_is_missing_has_a_name)
{
	struct twvmx_info info = { .version = TWVMX_VERSION, .verdict = TWVMX_NO_CONTROLS };

	info.missing = TWVMX_NO_FRED;
	ck_assert_ptr_nonnull(strstr(vmx_device_judge(&info), "fred=off"));
	info.missing = TWVMX_ONE_KIND | TWVMX_EPT;
	ck_assert_ptr_nonnull(strstr(vmx_device_judge(&info), "hybrid"));
	info.missing = TWVMX_BIT_COUNTS;
	ck_assert_ptr_nonnull(strstr(vmx_device_judge(&info), "TZCNT"));
	info.missing = TWVMX_EPT;
	ck_assert_ptr_nonnull(strstr(vmx_device_judge(&info), "lacks something"));
}
END_TEST

/* A guest that switched such a bit on could not be entered any more. */
START_TEST(each_feature)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *why = judge(TWVMX_VERSION, TWVMX_OK, ~(1ull << bit));

		if (bit < 32 && VMX_GUEST_CR4 & 1u << bit)
			ck_assert_ptr_nonnull(strstr(why, "lacks what the guest's processor has"));
		else
			ck_assert_ptr_null(why);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, good_host);
	tcase_add_test(tc, each_reason);
	tcase_add_test(tc, what_is_missing_has_a_name);
	tcase_add_test(tc, each_feature);
}

UNIT_MAIN("device", add_tests)
