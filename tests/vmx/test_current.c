// SPDX-License-Identifier: GPL-2.0-only
/* Which VMCS is cleared when the host crashes: the loaded one, and none that is not. */
#include "tests/vmx/vmcs.h"

#include "hypervisor/vmx/module/current.c"
#include "tests/unit.h"

static struct vm *vm;
static u64 page[512] __attribute__((aligned(4096)));
static bool on;

bool vmx_on_here(void)
{
	return on;
}

static void set_up(void)
{
	vm = calloc(1, sizeof(*vm));
	vm->vmcs = page;
	vm->launched = true;
	on = true;
	mock_refuses = false;
	mock_current = mock_cleared = 0;
}

static void tear_down(void)
{
	vmcs_clear(vm);
	free(vm);
}

START_TEST(a_crash_clears_what_is_loaded)
{
	ck_assert_int_eq(vmcs_load(vm), 0);
	ck_assert_uint_eq(mock_current, __pa(page));
	ck_assert(!vm->launched); /* VMLAUNCH comes first, behind VMCLEAR */
	vmcs_clear_loaded();
	ck_assert_uint_eq(mock_cleared, __pa(page));
	ck_assert_uint_eq(mock_current, 0);
}
END_TEST

START_TEST(a_crash_after_a_section_clears_nothing)
{
	ck_assert_int_eq(vmcs_load(vm), 0);
	vmcs_clear(vm);
	ck_assert_uint_eq(mock_cleared, __pa(page));
	mock_cleared = 0;
	vmcs_clear_loaded();
	ck_assert_uint_eq(mock_cleared, 0);
}
END_TEST

/* Its page may be somebody else's by then, and VMCLEAR writes to it. */
START_TEST(a_crash_clears_none_that_was_refused)
{
	mock_refuses = true;
	ck_assert_int_eq(vmcs_load(vm), -EIO);
	vmcs_clear_loaded();
	ck_assert_uint_eq(mock_cleared, 0);
}
END_TEST

START_TEST(nothing_is_loaded_without_vtx)
{
	on = false;
	ck_assert_int_eq(vmcs_load(vm), -EIO);
	vmcs_clear_loaded();
	ck_assert_uint_eq(mock_current | mock_cleared, 0);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_crash_clears_what_is_loaded);
	tcase_add_test(tc, a_crash_after_a_section_clears_nothing);
	tcase_add_test(tc, a_crash_clears_none_that_was_refused);
	tcase_add_test(tc, nothing_is_loaded_without_vtx);
}

UNIT_MAIN("current", add)
