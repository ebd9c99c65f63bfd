// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/bus.h"
#include "tests/unit.h"

struct dev {
	uint64_t answer, offset, value;
	unsigned size, reads, writes;
};

static uint64_t dev_read(void *ctx, uint64_t offset, unsigned size)
{
	struct dev *d = ctx;

	d->offset = offset;
	d->size = size;
	d->reads++;
	return d->answer;
}

static void dev_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct dev *d = ctx;

	d->offset = offset;
	d->size = size;
	d->value = value;
	d->writes++;
}

static bool add(struct bus *b, uint64_t base, uint64_t len, struct dev *d)
{
	return bus_add(b, BUS_PORT, base, len, dev_read, dev_write, d, "dev");
}

START_TEST(an_access_goes_to_the_range_of_its_first_byte)
{
	struct dev low = { .answer = 0x11 }, high = { .answer = 0x22 };
	static struct bus b;

	bus_init(&b);
	ck_assert(add(&b, 0x70, 2, &high));
	ck_assert(add(&b, 0x20, 2, &low));
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0x21, 2), 0x11); /* past the end: the device's */
	ck_assert(low.offset == 1 && low.size == 2 && low.reads == 1 && !high.reads);
	bus_write(&b, BUS_PORT, 0x70, 1, 0x5a);
	ck_assert(high.offset == 0 && high.value == 0x5a && high.writes == 1 && !low.writes);
	ck_assert_uint_eq(b.range[BUS_PORT][0].reads, 1);
	ck_assert_uint_eq(b.range[BUS_PORT][1].writes, 1);
}
END_TEST

START_TEST(values_are_as_wide_as_the_access)
{
	struct dev d = { .answer = UINT64_MAX };
	static struct bus b;

	bus_init(&b);
	ck_assert(add(&b, 0, 16, &d));
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0, 1), 0xff);
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0, 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0, 8), UINT64_MAX);
	bus_write(&b, BUS_PORT, 0, 2, 0x12345678);
	ck_assert_uint_eq(d.value, 0x5678);
}
END_TEST

START_TEST(unclaimed_reads_are_ones_and_counted)
{
	struct dev d = { 0 };
	static struct bus b;

	bus_init(&b);
	ck_assert(add(&b, 0x20, 2, &d));
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0x1f, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&b, BUS_PORT, 0x22, 4), 0xffffffff);
	bus_write(&b, BUS_PORT, 0, 1, 1);
	ck_assert_uint_eq(b.unclaimed[BUS_PORT], 3);
	/* Ports and memory are apart. */
	ck_assert_uint_eq(bus_read(&b, BUS_MMIO, 0x20, 8), UINT64_MAX);
	ck_assert_uint_eq(b.unclaimed[BUS_MMIO], 1);
	ck_assert(!d.reads && !d.writes);
}
END_TEST

START_TEST(ranges_never_overlap)
{
	struct dev d = { 0 };
	static struct bus b;

	bus_init(&b);
	ck_assert(add(&b, 0x100, 0x10, &d));
	ck_assert(!add(&b, 0x100, 1, &d));
	ck_assert(!add(&b, 0x10f, 1, &d));
	ck_assert(!add(&b, 0xff, 2, &d));
	ck_assert(!add(&b, 0x80, 0x200, &d));
	ck_assert(add(&b, 0x110, 1, &d));
	ck_assert(add(&b, 0xff, 1, &d));
	ck_assert_uint_eq(b.n[BUS_PORT], 3);
}
END_TEST

START_TEST(a_full_table_takes_no_more)
{
	struct dev d = { 0 };
	static struct bus b;

	bus_init(&b);
	for (unsigned i = 0; i < BUS_RANGES; i++)
		ck_assert(add(&b, 1000 - 2 * i, 1, &d)); /* downwards: each before all others */
	ck_assert(!add(&b, 5000, 1, &d));
	for (unsigned i = 0; i < BUS_RANGES; i++)
		bus_read(&b, BUS_PORT, 1000 - 2 * i, 1);
	ck_assert_uint_eq(d.reads, BUS_RANGES);
	ck_assert_uint_eq(b.unclaimed[BUS_PORT], 0);
}
END_TEST

START_TEST(a_range_is_removed_by_its_device)
{
	struct dev d = { 0 }, other = { 0 };
	static struct bus b;

	bus_init(&b);
	ck_assert(add(&b, 0x20, 2, &d) && add(&b, 0x30, 2, &other));
	bus_remove(&b, BUS_PORT, 0x20, &other);
	bus_remove(&b, BUS_PORT, 0x21, &d);
	bus_read(&b, BUS_PORT, 0x20, 1);
	ck_assert_uint_eq(d.reads, 1);
	bus_remove(&b, BUS_PORT, 0x20, &d);
	bus_read(&b, BUS_PORT, 0x20, 1);
	bus_read(&b, BUS_PORT, 0x30, 1);
	ck_assert(d.reads == 1 && other.reads == 1 && b.unclaimed[BUS_PORT] == 1);
	ck_assert(add(&b, 0x20, 2, &d));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, an_access_goes_to_the_range_of_its_first_byte);
	tcase_add_test(tc, values_are_as_wide_as_the_access);
	tcase_add_test(tc, unclaimed_reads_are_ones_and_counted);
	tcase_add_test(tc, ranges_never_overlap);
	tcase_add_test(tc, a_full_table_takes_no_more);
	tcase_add_test(tc, a_range_is_removed_by_its_device);
}

UNIT_MAIN("bus", add_tests)
