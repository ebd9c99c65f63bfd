// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/multiboot.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/boot/program.h"
#include "tests/boot/elf64.h"
#include "tests/unit.h"

#define MIB  (1ull << 20)
#define CODE 0x400 /* offset of the code in the ELF files below */

static struct memory mem;
static uint8_t file[0x800];
static struct boot_request req;
static struct cpu_state cpu;
static struct err err;

static void put32(size_t at, uint32_t v)
{
	memcpy(file + at, &v, 4);
}

static void put_header(size_t at, uint32_t flags)
{
	put32(at, 0x1badb002);
	put32(at + 4, flags);
	put32(at + 8, 0u - 0x1badb002u - flags);
}

static Elf32_Phdr *phdr32(void)
{
	return (Elf32_Phdr *)(void *)(file + sizeof(Elf32_Ehdr));
}

static Elf64_Phdr *phdr64(void)
{
	return elf64_phdr(file);
}

static void make_elf32(void)
{
	Elf32_Ehdr *e = (Elf32_Ehdr *)(void *)file;

	memset(file, 0, sizeof(file));
	memcpy(e->e_ident, "\177ELF\1\1\1", 7);
	e->e_type = ET_EXEC;
	e->e_machine = EM_386;
	e->e_entry = 0xc0100010;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(Elf32_Phdr);
	e->e_phnum = 1;
	*phdr32() = (Elf32_Phdr){ .p_type = PT_LOAD,
				  .p_offset = CODE,
				  .p_vaddr = 0xc0100000,
				  .p_paddr = 0x100000,
				  .p_filesz = 0x400,
				  .p_memsz = 0x2000 };
	put_header(0x200, 3);
	memset(file + CODE, 0xcc, 0x400);
}

static void make_elf64(void)
{
	elf64_begin(file, sizeof(file), 0x100020, 2);
	phdr64()[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = ~0ull };
	phdr64()[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				    .p_offset = CODE,
				    .p_vaddr = 0x100000,
				    .p_paddr = 0x100000,
				    .p_filesz = 0x400,
				    .p_memsz = 0x400 };
	put_header(0x200, 0);
	memset(file + CODE, 0xcc, 0x400);
}

/* No ELF: the address fields say that the file is loaded from its first byte to 1 MiB. */
static void make_flat(void)
{
	memset(file, 0x90, sizeof(file));
	put_header(0x40, 1u << 16);
	put32(0x4c, 0x100040);
	put32(0x50, 0x100000);
	put32(0x54, 0x100800);
	put32(0x58, 0x101000);
	put32(0x5c, 0x100060);
}

static void setup(void)
{
	ck_assert_int_eq(memory_init(&mem, 8 * MIB, NULL), 0);
	err = (struct err)ERR_INIT;
	req = (struct boot_request){ .kernel = { "prog", file, sizeof(file) },
				     .cmdline = "one two" };
}

static void teardown(void)
{
	memory_fini(&mem);
}

static uint32_t guest32(uint64_t gpa)
{
	uint32_t v = 0;

	ck_assert(memory_read(&mem, gpa, &v, 4));
	return v;
}

static const char *guest_string(uint64_t gpa)
{
	const char *s = memory_at(&mem, gpa, 64);

	ck_assert_ptr_nonnull(s);
	return s;
}

static int load(void)
{
	return boot_load(&mem, &req, &cpu, &err);
}

static void check_entry(uint32_t entry)
{
	ck_assert_uint_eq(cpu.rip, entry);
	ck_assert_uint_eq(cpu.gpr[R_RAX], 0x2badb002);
	ck_assert_uint_eq(cpu.gpr[R_RBX], PROGRAM_INFO);
	ck_assert_uint_eq(cpu.cr0 & 0x80000001, 1);
	ck_assert_uint_eq(cpu.efer, 0);
	ck_assert_uint_eq(cpu.rflags, 2);
	ck_assert_uint_eq(cpu.seg[SEG_CS].attr, SEG_G | SEG_DB | SEG_P | SEG_S | 0xb);
	ck_assert_uint_eq(cpu.seg[SEG_SS].attr, SEG_G | SEG_DB | SEG_P | SEG_S | 0x3);
	ck_assert_uint_eq(cpu.seg[SEG_CS].limit, 0xffffffff);
}

START_TEST(loads_elf32)
{
	make_elf32();
	ck_assert_int_eq(boot_image_kind(&req.kernel), BOOT_MULTIBOOT);
	ck_assert_int_eq(load(), 0);
	check_entry(0x100010); /* linked high, loaded low */
	ck_assert_uint_eq(guest32(0x1003fc), 0xcccccccc);
	ck_assert_uint_eq(guest32(0x100400), 0);
}
END_TEST

START_TEST(loads_elf64)
{
	make_elf64();
	ck_assert_int_eq(load(), 0);
	check_entry(0x100020);
	ck_assert_uint_eq(guest32(0x100020), 0xcccccccc);
}
END_TEST

START_TEST(loads_by_addresses)
{
	make_flat();
	ck_assert_int_eq(load(), 0);
	check_entry(0x100060);
	ck_assert_uint_eq(guest32(0x100040), 0x1badb002);
	ck_assert_uint_eq(guest32(0x1007fc), 0x90909090);
	ck_assert_uint_eq(guest32(0x100800), 0);
	put32(0x54, 0); /* the rest of the file */
	put32(0x58, 0);
	ck_assert_int_eq(load(), 0);
}
END_TEST

START_TEST(gives_information)
{
	uint32_t flags, mmap, mods;

	make_elf32();
	req.module[0] = (struct boot_image){ "first", (const uint8_t *)"abcd", 4 };
	req.module[1] = (struct boot_image){ "second", (const uint8_t *)"efgh", 4 };
	req.nmodules = 2;
	req.text[0] = "a text";
	ck_assert_int_eq(load(), 0);
	flags = guest32(PROGRAM_INFO);
	ck_assert_uint_eq(flags, 1 | 4 | 8 | 0x40 | 0x200);
	ck_assert_uint_eq(guest32(PROGRAM_INFO + 4), 639);
	ck_assert_uint_eq(guest32(PROGRAM_INFO + 8), 7 * 1024);
	ck_assert_str_eq(guest_string(guest32(PROGRAM_INFO + 16)), "one two");
	ck_assert_str_eq(guest_string(guest32(PROGRAM_INFO + 64)), "twinstep");
	ck_assert_uint_eq(guest32(PROGRAM_INFO + 20), 2);
	mods = guest32(PROGRAM_INFO + 24);
	ck_assert_uint_eq(guest32(mods), 0x102000); /* behind the bss */
	ck_assert_uint_eq(guest32(mods + 4), 0x102004);
	ck_assert_str_eq(guest_string(guest32(mods + 8)), "a text");
	ck_assert_uint_eq(guest32(mods + 16), 0x103000);
	ck_assert_uint_eq(guest32(0x103000), 0x68676665);
	ck_assert_str_eq(guest_string(guest32(mods + 24)), "");
	mmap = guest32(PROGRAM_INFO + 48);
	ck_assert_uint_eq(guest32(PROGRAM_INFO + 44), 3 * 24);
	ck_assert_uint_eq(guest32(mmap), 20);
	ck_assert_uint_eq(guest32(mmap + 48 + 4), 0x100000);
	ck_assert_uint_eq(guest32(mmap + 48 + 12), 7 * MIB);
	ck_assert_uint_eq(guest32(mmap + 48 + 20), 1);
}
END_TEST

START_TEST(has_a_gdt)
{
	uint64_t code;

	make_elf32();
	ck_assert_int_eq(load(), 0);
	ck_assert(memory_read(&mem, cpu.gdtr.base + cpu.seg[SEG_CS].selector, &code, 8));
	ck_assert_uint_eq(code, 0x00cf9b000000ffffull);
	ck_assert_uint_ge(cpu.gdtr.limit, cpu.seg[SEG_DS].selector + 7);
}
END_TEST

/*
 * Wherever the file ends before its last loaded byte: an error that names it, no read past its end.
 */
static void truncate_everywhere(void (*make)(void))
{
	make();
	for (size_t n = 0; n < sizeof(file); n++) {
		uint8_t *copy = malloc(n ? n : 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, file, n);
		req.kernel.data = copy;
		req.kernel.len = n;
		err = (struct err)ERR_INIT;
		ck_assert_int_eq(load(), -EINVAL);
		ck_assert_ptr_nonnull(strstr(err.text, "prog"));
		free(copy);
	}
}

START_TEST(refuses_every_truncation)
{
	truncate_everywhere(make_elf32);
	truncate_everywhere(make_elf64);
	truncate_everywhere(make_flat);
}
END_TEST

START_TEST(survives_bit_flips)
{
	static void (*const make[])(void) = { make_elf32, make_elf64, make_flat };

	make[_i]();
	for (size_t bit = 0; bit < 0x300 * 8; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!load())
			ck_assert_ptr_nonnull(memory_at(&mem, cpu.rip, 1));
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

#define REFUSED(change, word)                                                               \
	do {                                                                                \
		make_elf32();                                                               \
		change;                                                                     \
		ck_assert_int_lt(load(), 0);                                                \
		ck_assert_msg(strstr(err.text, word) != NULL, "%s: %s", #change, err.text); \
	} while (0)

START_TEST(refuses_bad_elf)
{
	Elf32_Ehdr *e = (Elf32_Ehdr *)(void *)file;

	REFUSED(put32(0x208, 0), "header");
	REFUSED(put_header(0x200, 0x8), "0x204");
	REFUSED(e->e_ident[EI_CLASS] = 3, "offset 4");
	REFUSED(e->e_ident[EI_DATA] = ELFDATA2MSB, "offset 5");
	REFUSED(e->e_type = ET_DYN, "offset 16");
	REFUSED(e->e_machine = EM_X86_64, "offset 18");
	REFUSED(e->e_phentsize = 8, "offset 42");
	REFUSED(e->e_phnum = 0, "offset 44");
	REFUSED(e->e_phnum = 65535, "offset 44");
	REFUSED(e->e_phoff = 0xfffffff0, "program headers");
	REFUSED(e->e_entry = 0x100000, "offset 24");
	REFUSED(phdr32()->p_filesz = 0x2001, "offset 0x34");
	REFUSED(phdr32()->p_offset = 0xffffffff, "offset 0x34");
	REFUSED(phdr32()->p_paddr = 0x9f000, "no memory");
	REFUSED(phdr32()->p_paddr = 0x7fe001, "no memory");
	REFUSED(phdr32()->p_paddr = 0xfffff000, "no memory");
	REFUSED(phdr32()->p_memsz = 0xffffffff, "no memory");
	REFUSED(phdr32()->p_paddr = 0x1f000, "boot information");
}
END_TEST

START_TEST(refuses_wrapping_elf64)
{
	make_elf64();
	phdr64()[1].p_paddr = ~0xfffull;
	phdr64()[1].p_memsz = 0x2000;
	ck_assert_int_lt(load(), 0);
	make_elf64();
	phdr64()[1].p_offset = ~0ull - 0x3ff;
	ck_assert_int_lt(load(), 0);
}
END_TEST

START_TEST(refuses_bad_addresses)
{
	make_flat();
	put32(0x50, 0x100041); /* load address behind the header's */
	ck_assert_int_lt(load(), 0);
	make_flat();
	put32(0x50, 0xfff00); /* header would be before the file */
	ck_assert_int_lt(load(), 0);
	make_flat();
	put32(0x54, 0xfffff); /* ends before it begins */
	ck_assert_int_lt(load(), 0);
	make_flat();
	put32(0x5c, 0x200000);
	ck_assert_int_lt(load(), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "entry"));
}
END_TEST

START_TEST(limits_modules_and_strings)
{
	static uint8_t big[8 * 1024 * 1024];
	char text[4097];

	make_elf32();
	req.module[0] = (struct boot_image){ "big", big, 8 * MIB - 0x102000 };
	req.nmodules = 1;
	ck_assert_int_eq(load(), 0);
	req.module[0].len++;
	ck_assert_int_eq(load(), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err.text, "big"));
	req.module[0].len--;
	memset(text, 'x', sizeof(text));
	text[2048] = '\0';
	req.text[0] = text;
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "text of module big"));
	text[2047] = '\0';
	ck_assert_int_eq(load(), 0);
	req.nmodules = 0;
	memset(text, 'x', sizeof(text));
	text[4095] = '\0';
	req.cmdline = text;
	ck_assert_int_eq(load(), 0);
	text[4095] = 'x';
	text[4096] = '\0';
	ck_assert_int_eq(load(), -EINVAL);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, loads_elf32);
	tcase_add_test(tc, loads_elf64);
	tcase_add_test(tc, loads_by_addresses);
	tcase_add_test(tc, gives_information);
	tcase_add_test(tc, has_a_gdt);
	tcase_add_test(tc, refuses_every_truncation);
	tcase_add_loop_test(tc, survives_bit_flips, 0, 3);
	tcase_add_test(tc, refuses_bad_elf);
	tcase_add_test(tc, refuses_wrapping_elf64);
	tcase_add_test(tc, refuses_bad_addresses);
	tcase_add_test(tc, limits_modules_and_strings);
}

UNIT_MAIN("multiboot", add)
