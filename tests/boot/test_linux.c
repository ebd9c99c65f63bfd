// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/linux.h"

#include <errno.h>

#include "tests/boot/bzimage.h"
#include "tests/unit.h"

#define MIB (1ull << 20)

static struct memory mem;
static uint8_t image[BZ_LEN];
static struct boot_request req;
static struct cpu_state cpu;
static struct err err;

static void setup_sized(uint64_t bytes)
{
	ck_assert_int_eq(memory_init(&mem, bytes, NULL), 0);
	bz_make(image);
	err = (struct err)ERR_INIT;
	req = (struct boot_request){ .kernel = { "vmlinuz", image, sizeof(image) },
				     .cmdline = "console=ttyS0 quiet" };
}

static void setup(void)
{
	setup_sized(64 * MIB);
}

static void teardown(void)
{
	memory_fini(&mem);
}

static uint64_t guest(uint64_t gpa, size_t n)
{
	uint64_t v = 0;

	ck_assert(memory_read(&mem, gpa, &v, n));
	return v;
}

static int load(void)
{
	return boot_load(&mem, &req, &cpu, &err);
}

/* Walks the page tables as the CPU would. */
static uint64_t translate(uint64_t va)
{
	uint64_t table = cpu.cr3 & ~0xfffull, e = 0;

	for (int shift = 39; shift >= 21; shift -= 9) {
		e = guest(table + 8 * (va >> shift & 511), 8);
		ck_assert_uint_eq(e & 3, 3);
		table = e & 0xffffffffff000ull;
	}
	ck_assert_uint_eq(e & 0x80, 0x80);
	return (e & 0xfffffffe00000ull) | (va & 0x1fffff);
}

START_TEST(places_kernel)
{
	ck_assert_int_eq(boot_image_kind(&req.kernel), BOOT_LINUX);
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(memcmp(memory_at(&mem, BZ_LOAD, BZ_PAYLOAD), image + BZ_SETUP, BZ_PAYLOAD),
			 0);
	ck_assert_uint_eq(guest(BZ_LOAD + BZ_PAYLOAD, 8), 0);
}
END_TEST

START_TEST(starts_in_long_mode)
{
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(cpu.rip, BZ_LOAD + 0x200);
	ck_assert_uint_eq(cpu.gpr[R_RSI], LINUX_ZERO_PAGE);
	ck_assert_uint_eq(cpu.rflags, 2);
	ck_assert_uint_eq(cpu.efer & 0x500, 0x500);
	ck_assert_uint_eq(cpu.cr4 & 0x20, 0x20);
	ck_assert_uint_eq(cpu.cr0 & 0x80000001, 0x80000001);
	ck_assert_uint_eq(cpu.seg[SEG_CS].selector, 0x10);
	ck_assert_uint_eq(cpu.seg[SEG_CS].attr & (SEG_L | SEG_DB | SEG_P), SEG_L | SEG_P);
	ck_assert_uint_eq(cpu.seg[SEG_DS].selector, 0x18);
	ck_assert_uint_eq(guest(cpu.gdtr.base + 0x10, 8), 0x00af9b000000ffffull);
	ck_assert_uint_eq(guest(cpu.gdtr.base + 0x18, 8), 0x00cf93000000ffffull);
	for (uint64_t va = 0; va < 1ull << 32; va += 0x1ffff003)
		ck_assert_uint_eq(translate(va), va);
}
END_TEST

/* A kernel of 32 bits has no 64-bit entry: xloadflags, bit 0. */
START_TEST(starts_in_protected_mode)
{
	bz_put(image, 0x236, 0, 2);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(cpu.rip, BZ_LOAD);
	ck_assert_uint_eq(cpu.gpr[R_RSI], LINUX_ZERO_PAGE);
	ck_assert_uint_eq(cpu.gpr[R_RBP] | cpu.gpr[R_RDI] | cpu.gpr[R_RBX], 0);
	ck_assert_uint_eq(cpu.rflags, 2);
	ck_assert_uint_eq(cpu.efer | cpu.cr4 | cpu.cr3, 0);
	ck_assert_uint_eq(cpu.cr0 & 0x80000001, 1);
	ck_assert_uint_eq(cpu.seg[SEG_CS].selector, 0x10);
	ck_assert_uint_eq(cpu.seg[SEG_CS].attr & (SEG_L | SEG_DB | SEG_P), SEG_DB | SEG_P);
	ck_assert_uint_eq(cpu.seg[SEG_DS].selector, 0x18);
	ck_assert_uint_eq(cpu.seg[SEG_SS].selector, 0x18);
	ck_assert_uint_eq(guest(cpu.gdtr.base + 0x10, 8), 0x00cf9b000000ffffull);
	ck_assert_uint_eq(guest(cpu.gdtr.base + 0x18, 8), 0x00cf93000000ffffull);
	ck_assert_uint_eq(guest(LINUX_PAGE_TABLES, 8), 0);
	ck_assert_int_eq(memcmp(memory_at(&mem, BZ_LOAD, BZ_PAYLOAD), image + BZ_SETUP, BZ_PAYLOAD),
			 0);
}
END_TEST

START_TEST(fills_zero_page)
{
	const uint64_t zp = LINUX_ZERO_PAGE;

	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(zp + 0x202, 4), 0x53726448); /* the header was copied */
	ck_assert_uint_eq(guest(zp + 0x210, 1), 0xff);
	ck_assert_uint_eq(guest(zp + 0x228, 4), LINUX_CMDLINE);
	ck_assert_str_eq(memory_at(&mem, LINUX_CMDLINE, 20), "console=ttyS0 quiet");
	ck_assert_uint_eq(guest(zp + 0x1e8, 1), 3);
	ck_assert_uint_eq(guest(zp + 0x2d0, 8), 0);
	ck_assert_uint_eq(guest(zp + 0x2d8, 8), 0x9fc00);
	ck_assert_uint_eq(guest(zp + 0x2e0, 4), 1);
	ck_assert_uint_eq(guest(zp + 0x2e4, 8), 0x9fc00);
	ck_assert_uint_eq(guest(zp + 0x2ec, 8), 0x100000 - 0x9fc00);
	ck_assert_uint_eq(guest(zp + 0x2f4, 4), 2);
	ck_assert_uint_eq(guest(zp + 0x2f8, 8), 0x100000);
	ck_assert_uint_eq(guest(zp + 0x300, 8), 63 * MIB);
	ck_assert_uint_eq(guest(zp + 0x308, 4), 1);
	ck_assert_uint_eq(guest(zp + 0x218, 8), 0); /* no initrd */
}
END_TEST

START_TEST(maps_high_memory)
{
	memory_fini(&mem);
	setup_sized(4096 * MIB);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x1e8, 1), 4);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x300, 8), 3071 * MIB);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x30c, 8), 4096 * MIB);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x314, 8), 1024 * MIB);
}
END_TEST

START_TEST(places_initrd)
{
	static uint8_t rd[10000];

	memset(rd, 0x5a, sizeof(rd));
	req.module[0] = (struct boot_image){ "initrd", rd, sizeof(rd) };
	req.nmodules = 1;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x218, 4), 64 * MIB - 3 * 4096);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x21c, 4), sizeof(rd));
	ck_assert_int_eq(memcmp(memory_at(&mem, 64 * MIB - 3 * 4096, sizeof(rd)), rd, sizeof(rd)),
			 0);
}
END_TEST

START_TEST(respects_initrd_addr_max)
{
	static uint8_t rd[4096];

	bz_put(image, 0x22c, 0x1fffffff >> 4, 4); /* 32 MiB - 1 */
	req.module[0] = (struct boot_image){ "initrd", rd, sizeof(rd) };
	req.nmodules = 1;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(LINUX_ZERO_PAGE + 0x218, 4), 32 * MIB - 4096);
	bz_put(image, 0x22c, BZ_LOAD + BZ_INIT, 4); /* no room above the kernel */
	ck_assert_int_eq(load(), -ENOMEM);
}
END_TEST

START_TEST(refuses_what_does_not_fit)
{
	static uint8_t big[64 * 1024 * 1024];

	req.module[0] = (struct boot_image){ "initrd", big, sizeof(big) };
	req.nmodules = 1;
	ck_assert_int_eq(load(), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err.text, "initrd"));
	req.module[0].len = 64 * MIB - (BZ_LOAD + BZ_INIT);
	ck_assert_int_eq(load(), 0);
	req.module[0].len++;
	ck_assert_int_eq(load(), -ENOMEM);
	req.module[0].len = 0;
	ck_assert_int_eq(load(), -EINVAL);
	req.nmodules = 2;
	ck_assert_int_eq(load(), -EINVAL);
	req.nmodules = 0;
	memory_fini(&mem);
	setup_sized(17 * MIB);
	ck_assert_int_eq(load(), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err.text, "18 MiB"));
}
END_TEST

START_TEST(limits_cmdline)
{
	char text[2049];

	memset(text, 'x', sizeof(text));
	text[2047] = '\0';
	req.cmdline = text;
	ck_assert_int_eq(load(), 0);
	text[2047] = 'x';
	text[2048] = '\0';
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "0x238"));
	req.cmdline = NULL;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(LINUX_CMDLINE, 1), 0);
}
END_TEST

/* A file that ends anywhere before its last byte is refused, with the file named. */
START_TEST(refuses_every_truncation)
{
	for (size_t n = 0; n < sizeof(image); n++) {
		uint8_t *copy =
			malloc(n ? n : 1); /* so that a sanitizer sees a read past the end */

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, image, n);
		req.kernel.data = copy;
		req.kernel.len = n;
		err = (struct err)ERR_INIT;
		ck_assert_int_eq(load(), -EINVAL);
		ck_assert_ptr_nonnull(strstr(err.text, "vmlinuz"));
		free(copy);
	}
}
END_TEST

/* memtest86+ ends inside the last of syssize's units, and has no payload that could be cut. */
START_TEST(takes_part_of_a_unit)
{
	bz_put(image, 0x24c, 0, 4);
	req.kernel.len = sizeof(image) - 15;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(BZ_LOAD + BZ_PAYLOAD - 16, 8), (uint8_t)image[sizeof(image) - 16]);
	req.kernel.len = sizeof(image) - 16;
	ck_assert_int_eq(load(), -EINVAL);
}
END_TEST

struct bad {
	size_t at, n;
	uint64_t value;
	const char *says;
};

static const struct bad bad_fields[] = {
	{ 0x1fe, 2, 0, "0x1fe" },	   { 0x202, 4, 0x12345678, "0x202" },
	{ 0x206, 2, 0x20b, "0x206" },	   { 0x211, 1, 0, "0x211" },
	{ 0x1f1, 1, 9, "0x1f1" },	   { 0x1f4, 4, 0xffffffff, "0x1f4" },
	{ 0x1f4, 4, 0, "0x1f4" },	   { 0x201, 1, 0x10, "0x200" },
	{ 0x201, 1, 0xff, "0x200" },	   { 0x258, 8, 0, "0x258" },
	{ 0x258, 8, 0x1000001, "0x258" },  { 0x258, 8, 0xfffffffffffff000, "0x258" },
	{ 0x260, 4, 0xffffffff, "0x260" },
};

START_TEST(names_the_bad_field)
{
	const struct bad *b = &bad_fields[_i];

	bz_put(image, b->at, b->value, b->n);
	ck_assert_int_lt(load(), 0);
	ck_assert_msg(strstr(err.text, b->says) != NULL, "%s", err.text);
}
END_TEST

/*
 * Whatever bit is wrong: an error or a state inside the guest's memory, and nothing written
 * outside.
 */
START_TEST(survives_bit_flips)
{
	for (size_t bit = 0x1f1 * 8; bit < 0x270 * 8; bit++) {
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!load()) {
			ck_assert_uint_lt(cpu.rip, mem.low_size);
			ck_assert_ptr_nonnull(memory_at(&mem, cpu.rip, 1));
		} else {
			ck_assert_str_ne(err.text, "");
		}
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

/* What people take for a kernel: one line that says what it is. */
START_TEST(says_what_is_no_kernel)
{
	static const struct {
		size_t at;
		const char *bytes, *says;
	} kinds[] = {
		{ 0, "070701", "an initramfs" },
		{ 0x38, "ARM\x64", "64-bit ARM" },
		{ 0x1fe, "\x55\xaa", "disk image" },
		{ 0,
		  "\x7f"
		  "ELF",
		  "PVH note" },
		{ 0, "MZ", "neither a Linux bzImage" },
		{ 0x80, "PE", "neither a Linux bzImage" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memset(image, 0, sizeof(image));
		memcpy(image + kinds[i].at, kinds[i].bytes, strlen(kinds[i].bytes));
		ck_assert_int_eq(load(), -EINVAL);
		ck_assert_msg(strstr(err.text, kinds[i].says) != NULL, "%s", err.text);
	}
	memcpy(image, "MZ", 2);
	image[0x3c] = 0x80;
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_msg(strstr(err.text, "EFI application") != NULL, "%s", err.text);
}
END_TEST

START_TEST(knows_kinds)
{
	static const uint8_t junk[100] = { 0x7f, 'E', 'L', 'X' };
	struct boot_image j = { "junk", junk, sizeof(junk) };

	ck_assert_int_eq(boot_image_kind(&j), BOOT_UNKNOWN);
	req.kernel = j;
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "junk"));
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, places_kernel);
	tcase_add_test(tc, starts_in_long_mode);
	tcase_add_test(tc, starts_in_protected_mode);
	tcase_add_test(tc, fills_zero_page);
	tcase_add_test(tc, maps_high_memory);
	tcase_add_test(tc, places_initrd);
	tcase_add_test(tc, respects_initrd_addr_max);
	tcase_add_test(tc, refuses_what_does_not_fit);
	tcase_add_test(tc, limits_cmdline);
	tcase_add_test(tc, refuses_every_truncation);
	tcase_add_test(tc, takes_part_of_a_unit);
	tcase_add_loop_test(tc, names_the_bad_field, 0, sizeof(bad_fields) / sizeof(bad_fields[0]));
	tcase_add_test(tc, survives_bit_flips);
	tcase_add_test(tc, says_what_is_no_kernel);
	tcase_add_test(tc, knows_kinds);
}

UNIT_MAIN("linux", add)
