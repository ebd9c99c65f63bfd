// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit.h"

static struct symbols s;
static struct err err;

static int parse(const void *data, size_t n)
{
	char *copy = malloc(n ? n : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, n);
	err = (struct err)ERR_INIT;
	return symbols_parse(&s, copy, n, "names", &err);
}

static int parse_text(const char *text)
{
	return parse(text, strlen(text));
}

START_TEST(a_map_names_code)
{
	ck_assert_int_eq(parse_text("0000000000000000 A percpu\n"
				    "ffffffff81000100 T second\n"
				    "ffffffff81000000 T first\n"
				    "ffffffff81000000 T also_first\n"
				    "ffffffff81000200 d data\n"
				    "ffffffff81000300 t last"),
			 0);
	ck_assert_uint_eq(s.n, 4);
	ck_assert_ptr_null(symbols_find(&s, 0x400000));
	ck_assert_ptr_null(symbols_find(&s, 0xffffffff80ffffff));
	ck_assert_str_eq(symbols_find(&s, 0xffffffff81000000), "first");
	ck_assert_str_eq(symbols_find(&s, 0xffffffff810000ff), "first");
	ck_assert_str_eq(symbols_find(&s, 0xffffffff81000100), "second");
	ck_assert_str_eq(symbols_find(&s, 0xffffffff81000250), "second");
	ck_assert_str_eq(symbols_find(&s, 0xffffffff81000300), "last");
	ck_assert_ptr_null(symbols_find(&s, 0xffffffff81000300 + SYMBOLS_REACH));
	symbols_free(&s);
}
END_TEST

START_TEST(a_damaged_map_is_refused)
{
	static const char *const bad[] = {
		"",
		"ffffffff81000000 d data\n",
		"ffffffff81000000 T first\nffffffff8100\n",
		"ffffffff81000000 T\n",
		"ffffffff81000000 T \n",
		"-1 T first\n",
		"0x10 T first\n",
		" 10 T first\n",
		"10000000000000000 T first\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(parse_text(bad[i]), -EINVAL);
		ck_assert_ptr_nonnull(strstr(err.text, "names"));
	}
	ck_assert_int_eq(parse_text(bad[2]), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "line 2"));
}
END_TEST

/* A file with a section of code, one of data, symbols and their names. */
struct elf {
	Elf64_Ehdr h;
	Elf64_Shdr section[4];
	Elf64_Sym symbol[5];
	char names[32];
};

static struct elf make_elf(void)
{
	struct elf e = {
		.h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB },
		       .e_shoff = offsetof(struct elf, section),
		       .e_shentsize = sizeof(Elf64_Shdr),
		       .e_shnum = 4 },
		.section = { { .sh_flags = SHF_ALLOC },
			     { .sh_flags = SHF_ALLOC | SHF_EXECINSTR },
			     { .sh_type = SHT_SYMTAB,
			       .sh_offset = offsetof(struct elf, symbol),
			       .sh_size = 5 * sizeof(Elf64_Sym),
			       .sh_entsize = sizeof(Elf64_Sym),
			       .sh_link = 3 },
			     { .sh_type = SHT_STRTAB, .sh_offset = offsetof(struct elf, names) } },
		.symbol = { { 0 },
			    { .st_name = 1,
			      .st_info = STT_FUNC,
			      .st_shndx = 1,
			      .st_value = 0x1000 },
			    { .st_name = 7,
			      .st_info = STT_NOTYPE,
			      .st_shndx = 1,
			      .st_value = 0x1100 },
			    { .st_name = 13,
			      .st_info = STT_OBJECT,
			      .st_shndx = 1,
			      .st_value = 0x1200 },
			    { .st_name = 13,
			      .st_info = STT_FUNC,
			      .st_shndx = 0,
			      .st_value = 0x1300 } },
		.names = "\0alpha\0label\0other",
	};

	return e;
}

START_TEST(an_elf_file_names_code)
{
	struct elf e = make_elf();

	ck_assert_int_eq(parse(&e, sizeof(e)), 0);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_str_eq(symbols_find(&s, 0x10ff), "alpha");
	ck_assert_str_eq(symbols_find(&s, 0x1400), "label");
	ck_assert_ptr_null(symbols_find(&s, 0xfff));
	symbols_free(&s);
}
END_TEST

static void refused(const struct elf *e, size_t n, const char *expected)
{
	ck_assert_int_eq(parse(e, n), -EINVAL);
	ck_assert_msg(strstr(err.text, expected), "%s", err.text);
}

START_TEST(a_damaged_elf_file_is_refused)
{
	struct elf e = make_elf(), bad = e;

	refused(&e, 20, "header");
	bad.h.e_ident[EI_CLASS] = ELFCLASS32;
	refused(&bad, sizeof(bad), "64-bit");
	bad = e;
	bad.h.e_shoff = UINT64_MAX - 8;
	refused(&bad, sizeof(bad), "section headers");
	bad = e;
	bad.section[2].sh_type = 0;
	refused(&bad, sizeof(bad), "no symbols");
	bad = e;
	bad.section[2].sh_link = 9;
	refused(&bad, sizeof(bad), "names");
	bad = e;
	bad.section[2].sh_size = UINT64_MAX;
	refused(&bad, sizeof(bad), "symbols inside");
	bad = e;
	bad.section[2].sh_offset = UINT64_MAX - 4;
	refused(&bad, sizeof(bad), "symbols inside");
	bad = e;
	bad.section[3].sh_offset = sizeof(bad);
	refused(&bad, sizeof(bad), "a name inside");
	bad = e;
	bad.symbol[1].st_name = 4000;
	refused(&bad, sizeof(bad), "a name inside");
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, a_map_names_code);
	tcase_add_test(tc, a_damaged_map_is_refused);
	tcase_add_test(tc, an_elf_file_names_code);
	tcase_add_test(tc, a_damaged_elf_file_is_refused);
}

UNIT_MAIN("symbols", add)
