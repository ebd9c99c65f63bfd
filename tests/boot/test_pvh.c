// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/pvh.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/program.h"
#include "tests/boot/elf64.h"
#include "tests/unit.h"

#define MIB   (1ull << 20)
#define NOTES 0x300
#define CODE  0x400

static struct memory mem;
static uint8_t file[0x800];
static struct boot_request req;
static struct cpu_state cpu;
static struct err err;

static Elf64_Phdr *phdr(void)
{
	return elf64_phdr(file);
}

/* Puts a note behind *at. */
static void put_note(size_t *at, const char *name, uint32_t type, uint64_t value, uint32_t len)
{
	const uint32_t head[3] = { (uint32_t)strlen(name) + 1, len, type };

	memcpy(file + *at, head, sizeof(head));
	memcpy(file + *at + 12, name, head[0]);
	*at += 12 + ((head[0] + 3) & ~3u);
	memcpy(file + *at, &value, len < 8 ? len : 8);
	*at += (len + 3) & ~3u;
}

/* Linked high and loaded low, entered where neither the ELF header nor an address says. */
static void make(void)
{
	size_t end = NOTES;

	elf64_begin(file, sizeof(file), 0x1000000, 2);
	put_note(&end, "GNU", 18, 0x555, 4);
	put_note(&end, "Xen", 6, 0, 5);
	put_note(&end, "Xen", 18, 0x100020, 4);
	phdr()[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = NOTES, .p_filesz = end - NOTES };
	phdr()[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_offset = CODE,
				  .p_vaddr = 0xffffffff81000000,
				  .p_paddr = 0x100000,
				  .p_filesz = 0x400,
				  .p_memsz = 0x2000 };
	memset(file + CODE, 0xcc, 0x400);
}

static void setup(void)
{
	ck_assert_int_eq(memory_init(&mem, 8 * MIB, NULL), 0);
	make();
	err = (struct err)ERR_INIT;
	req = (struct boot_request){ .kernel = { "vmlinux", file, sizeof(file) },
				     .cmdline = "one two" };
}

static void teardown(void)
{
	memory_fini(&mem);
}

static int load(void)
{
	memory_zero(&mem, 0, 8 * MIB);
	return boot_load(&mem, &req, &cpu, &err);
}

static uint64_t guest(uint64_t gpa, size_t n)
{
	uint64_t v = 0;

	ck_assert(memory_read(&mem, gpa, &v, n));
	return v;
}

START_TEST(starts_at_the_note)
{
	ck_assert_int_eq(boot_image_kind(&req.kernel), BOOT_PVH);
	ck_assert_msg(load() == 0, "%s", err.text);
	ck_assert_uint_eq(cpu.rip, 0x100020);
	ck_assert_uint_eq(cpu.gpr[R_RBX], PROGRAM_INFO);
	ck_assert_uint_eq(cpu.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	ck_assert_uint_eq(cpu.efer, 0);
	ck_assert_uint_eq(guest(0x100000, 4), 0xcccccccc);
}
END_TEST

START_TEST(gives_information)
{
	const uint64_t info = PROGRAM_INFO;
	uint64_t list, map;

	req.module[0] = (struct boot_image){ "initrd", (const uint8_t *)"abcdefgh", 8 };
	req.text[0] = "words";
	req.nmodules = 1;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(info, 4), 0x336ec578);
	ck_assert_uint_eq(guest(info + 4, 4), 1);
	ck_assert_uint_eq(guest(info + 12, 4), 1);
	list = guest(info + 16, 8);
	ck_assert_str_eq(memory_at(&mem, guest(info + 24, 8), 8), "one two");
	ck_assert_uint_eq(guest(info + 32, 8), 0);
	ck_assert_uint_eq(guest(list, 8), 0x102000); /* behind the bss */
	ck_assert_uint_eq(guest(0x102000, 4), 0x64636261);
	ck_assert_uint_eq(guest(list + 8, 8), 8);
	ck_assert_str_eq(memory_at(&mem, guest(list + 16, 8), 6), "words");
	map = guest(info + 40, 8);
	ck_assert_uint_eq(guest(info + 48, 4), 3);
	ck_assert_uint_eq(guest(map + 48, 8), 0x100000);
	ck_assert_uint_eq(guest(map + 56, 8), 7 * MIB);
	ck_assert_uint_eq(guest(map + 64, 4), 1);
	req.acpi = true;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(info + 32, 8), ACPI_RSDP);
}
END_TEST

START_TEST(has_a_bios_data_area)
{
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(0x413, 2), 639);
	ck_assert_uint_eq(guest(0x400, 2), 0x3f8);
	ck_assert_uint_eq(guest(0x40e, 2) << 4, BOOT_LOW_END);
	ck_assert_uint_eq(guest(BOOT_LOW_END, 1), 1);
	ck_assert_uint_eq(guest(0x10 * 4, 4), 0xf000ff53);
	ck_assert_uint_eq(guest(0xfff53 + 8, 1), 0xcf);
	req.no_bios_data = true;
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest(0x413, 2), 0);
	ck_assert_uint_eq(guest(BOOT_LOW_END, 1), 0);
}
END_TEST

START_TEST(refuses_an_entry_without_memory)
{
	static const uint64_t bad[] = { 0x800000, MEMORY_HOLE_START, ~0ull };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t at = NOTES;

		make();
		put_note(&at, "Xen", 18, bad[i], 8);
		ck_assert_int_eq(load(), -EINVAL);
		ck_assert_msg(strstr(err.text, "PVH entry") != NULL, "%s", err.text);
	}
}
END_TEST

/* Each fits by itself; together they would have the guest's memory zeroed again and again. */
START_TEST(refuses_segments_over_each_other)
{
	Elf64_Phdr *p = phdr();

	((Elf64_Ehdr *)(void *)file)->e_phnum = 4;
	for (int i = 2; i < 4; i++)
		p[i] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_paddr = 0x200000, .p_memsz = 3 * MIB };
	ck_assert_msg(load() == 0, "%s", err.text);
	p[3].p_memsz = 6 * MIB;
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_msg(strstr(err.text, "vmlinux: with the segment described at offset 0xe8 ") &&
			      strstr(err.text, "memory (0x800000)"),
		      "%s", err.text);
}
END_TEST

/* Without its note it is no program that could be started. */
START_TEST(needs_the_note)
{
	phdr()[0].p_filesz -= 1;
	ck_assert_int_eq(boot_image_kind(&req.kernel), BOOT_UNKNOWN);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_msg(strstr(err.text, "vmlinuz") != NULL, "%s", err.text);
	make();
	phdr()[0].p_offset = ~0ull - 8;
	ck_assert_int_eq(boot_image_kind(&req.kernel), BOOT_UNKNOWN);
}
END_TEST

START_TEST(survives_bit_flips)
{
	for (size_t bit = 0; bit < CODE * 8; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!load())
			ck_assert_ptr_nonnull(memory_at(&mem, cpu.rip, 1));
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, starts_at_the_note);
	tcase_add_test(tc, gives_information);
	tcase_add_test(tc, has_a_bios_data_area);
	tcase_add_test(tc, refuses_an_entry_without_memory);
	tcase_add_test(tc, refuses_segments_over_each_other);
	tcase_add_test(tc, needs_the_note);
	tcase_add_test(tc, survives_bit_flips);
}

UNIT_MAIN("pvh", add)
