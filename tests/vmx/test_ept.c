// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: what the extended page tables say after mapping, first writes, splits, reports of
 * dirty pages, and when the host's memory fails. The tables are real, the pages this process's.
 */
#include "tests/vmx/kernel.h"

static unsigned long pins;
static int pin_user_pages_fast(unsigned long start, int n, unsigned flags, struct page **pages);
static void unpin_user_pages_dirty_lock(struct page **pages, unsigned long n, bool dirty);

#include "hypervisor/vmx/module/ept.c"
#include "tests/unit.h"

struct vmx_config vmx_config;

#define MEMORY (4ul << 20)
#define PAGES  (MEMORY / PAGE_SIZE)
#define LARGE  (2ul << 20)

static struct vm *vm;
static struct mm_struct mm;
static u8 *memory; /* at a multiple of 2 MiB */

static int pin_user_pages_fast(unsigned long start, int n, unsigned flags, struct page **pages)
{
	for (int i = 0; i < n; i++) {
		void *at = (void *)(start + (unsigned long)i * PAGE_SIZE);
		struct page *p = mock_page_of(at);

		pages[i] = p ? p : mock_page_add(at);
	}
	pins += (unsigned long)n;
	return n;
}

static void unpin_user_pages_dirty_lock(struct page **pages, unsigned long n, bool dirty)
{
	pins -= n;
}

static void set_up(void)
{
	vm = calloc(1, sizeof(*vm));
	vm->mm = &mm;
	mm.locked = pins = 0;
	mock_features = 0;
	mock_no_memory = 0;
	vmx_config.has = TWVMX_EPT_2M;
	memory = aligned_alloc(LARGE, MEMORY);
	ck_assert_int_eq(ept_init(vm), 0);
}

/* Nothing stays: pins, charges and pages of tables. */
static void tear_down(void)
{
	ept_free(vm);
	ck_assert_uint_eq(pins, 0);
	ck_assert_uint_eq(mm.locked, 0);
	while (mock_pages) {
		struct page *p = mock_pages;

		ck_assert((u8 *)p->at >= memory && (u8 *)p->at < memory + MEMORY);
		mock_pages = p->next;
		free(p);
	}
	free(memory);
	free(vm);
}

static void map(u64 gpa)
{
	const struct twvmx_slot a = {
		.version = TWVMX_VERSION, .gpa = gpa, .size = MEMORY, .user = (uintptr_t)memory
	};

	ck_assert_int_eq(ept_set_slot(vm, &a), 0);
}

/* What the processor would find for a guest address: the entry, of 4 KiB or 2 MiB. */
static u64 walk(u64 gpa)
{
	const u64 *t = vm->ept_root;

	for (int level = 3;; level--) {
		u64 e = t[index_of(gpa, level)];

		if (!e || !level || e & EPT_LARGE)
			return e;
		t = __va(e & EPT_ADDR);
	}
}

static u64 where(u64 gpa)
{
	u64 e = walk(gpa), size = e & EPT_LARGE ? LARGE : PAGE_SIZE;

	return (e & EPT_ADDR & ~(size - 1)) | (gpa & (size - 1));
}

START_TEST(maps_every_page_for_reading)
{
	vmx_config.has = _i ? TWVMX_EPT_2M : 0;
	map(0);
	for (u64 gpa = 0; gpa < MEMORY; gpa += PAGE_SIZE) {
		ck_assert_uint_eq(walk(gpa) & EPT_RWX, EPT_R | EPT_X);
		ck_assert_uint_eq(where(gpa), __pa(memory) + gpa);
	}
	ck_assert_uint_eq(vm->ept_large, _i ? 2 : 0);
	ck_assert_uint_eq(walk(MEMORY), 0);
}
END_TEST

START_TEST(a_first_write_splits_and_marks)
{
	u8 dirty[PAGES] = { 0 };
	const struct twvmx_dirty d = { .version = TWVMX_VERSION,
				       .pages = PAGES,
				       .map = (uintptr_t)dirty };

	map(0);
	ck_assert(ept_make_writable(vm, 0x5678));
	ck_assert_uint_eq(walk(0x5000) & EPT_RWX, EPT_RWX);
	ck_assert_uint_eq(walk(0x6000) & EPT_RWX, EPT_R | EPT_X);
	ck_assert_uint_eq(where(0x6000), __pa(memory) + 0x6000);
	ck_assert_uint_eq(vm->ept_large, 1);
	ck_assert(vm->needs_invept);
	ck_assert_int_eq(ept_fetch_dirty(vm, &d), 0);
	for (u64 i = 0; i < PAGES; i++)
		ck_assert_uint_eq(dirty[i], i == 5);
	ck_assert_uint_eq(walk(0x5000) & EPT_RWX, EPT_R | EPT_X); /* the next write is seen, too */
}
END_TEST

START_TEST(no_table_no_write)
{
	map(0);
	mock_no_memory = 1;
	ck_assert(!ept_make_writable(vm, 0x5000)); /* user space does the write */
	ck_assert_uint_eq(walk(0x5000) & EPT_RWX, EPT_R | EPT_X);
	ck_assert(ept_make_writable(vm, 0x5000));
}
END_TEST

START_TEST(device_memory_is_nobodys)
{
	map(0);
	ck_assert(!ept_make_writable(vm, MEMORY));
	ck_assert(!ept_make_executable(vm, MEMORY));
	ck_assert(!ept_is_poisoned(vm, MEMORY));
}
END_TEST

START_TEST(large_pages_that_could_stop_the_host_are_not_executed)
{
	mock_features = 1ull << X86_BUG_ITLB_MULTIHIT;
	map(0);
	ck_assert_uint_eq(walk(0) & EPT_RWX, EPT_R);
	ck_assert(ept_make_executable(vm, 0x3000));
	ck_assert_uint_eq(walk(0x3000) & (EPT_RWX | EPT_LARGE), EPT_R | EPT_X);
}
END_TEST

START_TEST(an_unmapped_slot_leaves_nothing)
{
	const struct twvmx_slot none = { .version = TWVMX_VERSION };

	map(0);
	ept_make_writable(vm, 0x5000);
	ck_assert_int_eq(ept_set_slot(vm, &none), 0);
	for (u64 gpa = 0; gpa < MEMORY; gpa += PAGE_SIZE)
		ck_assert_uint_eq(walk(gpa), 0);
	ck_assert_uint_eq(vm->ept_large, 0);
	map(0); /* the table that was left behind gives way to a large page */
	ck_assert_uint_eq(vm->ept_large, 2);
}
END_TEST

/* ---- memory that fails ---- */

static void fail_page(u64 gpa)
{
	mock_page_of(memory + gpa)->poisoned = true;
	ept_note_unmapped(vm, (uintptr_t)memory + gpa, (uintptr_t)memory + gpa + PAGE_SIZE);
}

START_TEST(a_failed_page_goes_and_no_other)
{
	map(0);
	if (_i)
		ept_make_writable(vm, 0x5000);
	vm->unmapped = vm->needs_invept = false;
	fail_page(0x5000);
	ept_drop_poisoned(vm);
	ck_assert_uint_eq(walk(0x5000), 0);
	for (u64 gpa = 0; gpa < MEMORY; gpa += PAGE_SIZE) {
		if (gpa != 0x5000)
			ck_assert_uint_eq(where(gpa), __pa(memory) + gpa);
	}
	ck_assert(vm->needs_invept);
	ck_assert(!vm->unmapped);
	ck_assert(ept_is_poisoned(vm, 0x5fff));
	ck_assert(!ept_is_poisoned(vm, 0x6000));
	ck_assert(!ept_make_writable(vm, 0x5000)); /* nor does it come back */
	ck_assert_uint_eq(walk(0x5000), 0);
}
END_TEST

/* Without memory for a table all of the large page goes: the guest ends rather than the host. */
START_TEST(a_failed_page_goes_without_a_table)
{
	map(0);
	fail_page(0x5000);
	mock_no_memory = 1;
	ept_drop_poisoned(vm);
	ck_assert_uint_eq(walk(0x5000), 0);
	ck_assert_uint_ne(walk(LARGE), 0);
	ck_assert_uint_eq(vm->ept_large, 1);
}
END_TEST

START_TEST(only_guest_memory_is_looked_at)
{
	map(0);
	ept_drop_poisoned(vm);
	ck_assert(!vm->unmapped);
	ept_note_unmapped(vm, 0x1000, 0x2000);
	ept_note_unmapped(vm, (uintptr_t)memory + MEMORY, (uintptr_t)memory + MEMORY + PAGE_SIZE);
	ck_assert(!vm->unmapped);
	ept_note_unmapped(vm, 0, UINT64_MAX);
	ck_assert(vm->unmapped);
}
END_TEST

/* Two pages taken away one after the other, before a section looks: neither is forgotten. */
START_TEST(all_that_was_taken_is_looked_at)
{
	map(0);
	ept_drop_poisoned(vm);
	fail_page(0x3ff000);
	fail_page(0x5000);
	mock_page_of(memory + 0x1000)->poisoned = true; /* of which nobody was told */
	ept_drop_poisoned(vm);
	ck_assert_uint_eq(walk(0x3ff000), 0);
	ck_assert_uint_eq(walk(0x5000), 0);
	ck_assert_uint_ne(walk(0x1000), 0);
	ept_suspect_all(vm);
	ept_drop_poisoned(vm);
	ck_assert_uint_eq(walk(0x1000), 0);
}
END_TEST

/* One that has failed before anybody was told. */
START_TEST(a_page_that_failed_early_goes)
{
	mock_page_add(memory + 0x7000)->poisoned = true;
	map(0);
	ept_drop_poisoned(vm);
	ck_assert_uint_eq(walk(0x7000), 0);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, maps_every_page_for_reading, 0, 2);
	tcase_add_test(tc, a_first_write_splits_and_marks);
	tcase_add_test(tc, no_table_no_write);
	tcase_add_test(tc, device_memory_is_nobodys);
	tcase_add_test(tc, large_pages_that_could_stop_the_host_are_not_executed);
	tcase_add_test(tc, an_unmapped_slot_leaves_nothing);
	tcase_add_loop_test(tc, a_failed_page_goes_and_no_other, 0, 2);
	tcase_add_test(tc, a_failed_page_goes_without_a_table);
	tcase_add_test(tc, only_guest_memory_is_looked_at);
	tcase_add_test(tc, all_that_was_taken_is_looked_at);
	tcase_add_test(tc, a_page_that_failed_early_goes);
}

UNIT_MAIN("ept", add)
