// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_io.h"

struct reading {
	struct symbols *s;
	const char *path;
	char *data; /* with a 0 behind its end */
	size_t n, room;
	struct err *err;
};

static int add(struct reading *r, uint64_t address, const char *name)
{
	struct symbols *s = r->s;

	if (s->n == r->room) {
		size_t room = r->room ? 2 * r->room : 4096;
		struct symbol *list = reallocarray(s->list, room, sizeof(*list));

		if (!list)
			return err_set(r->err, ENOMEM, "no memory for the symbols of '%s'",
				       r->path);
		s->list = list;
		r->room = room;
	}
	s->list[s->n++] = (struct symbol){ address, name };
	return 0;
}

/* ---- System.map ---- */
static bool is_code(char type)
{
	return type && strchr("tTwWi", type);
}

/* "ffffffff81000000 T _stext"; the line ends with a 0. */
static int take_line(struct reading *r, char *line, size_t number)
{
	char *end, type;
	uint64_t address = strtoull(line, &end, 16);

	if (end == line || strspn(line, "0123456789abcdefABCDEF") != (size_t)(end - line) ||
	    end - line > 16 || end[0] != ' ' || !end[1] || end[2] != ' ' || !end[3])
		return err_set(r->err, EINVAL,
			       "symbols '%s', line %zu: expected an address, a letter and a name, "
			       "as in System.map",
			       r->path, number);
	type = end[1];
	return is_code(type) ? add(r, address, end + 3) : 0;
}

static int take_map(struct reading *r)
{
	char *line = r->data, *last = r->data + r->n;
	size_t number = 0;
	int ret = 0;

	while (line < last && ret == 0) {
		char *end = memchr(line, '\n', (size_t)(last - line));

		end = end ? end : last;
		*end = 0;
		ret = take_line(r, line, ++number);
		line = end + 1;
	}
	return ret;
}

/* ---- ELF ---- */
/* Copies bytes at any offset, aligned or not; false: they are not all in the file. */
static bool get(const struct reading *r, uint64_t offset, void *to, size_t len)
{
	if (offset > r->n || len > r->n - offset)
		return false;
	memcpy(to, r->data + offset, len);
	return true;
}

static int damaged(const struct reading *r, uint64_t offset, const char *expected)
{
	return err_set(r->err, EINVAL, "symbols '%s', offset %llu: expected %s", r->path,
		       (unsigned long long)offset, expected);
}

static bool get_section(const struct reading *r, const Elf64_Ehdr *h, unsigned i, Elf64_Shdr *to)
{
	return i < h->e_shnum && h->e_shoff <= r->n &&
	       get(r, h->e_shoff + (uint64_t)i * sizeof(*to), to, sizeof(*to));
}

static bool is_code_symbol(const struct reading *r, const Elf64_Ehdr *h, const Elf64_Sym *sym)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info);
	Elf64_Shdr in;

	return (type == STT_FUNC || type == STT_NOTYPE) && sym->st_name &&
	       get_section(r, h, sym->st_shndx, &in) && (in.sh_flags & SHF_EXECINSTR);
}

/* names: of which every one has to end inside the file, where a 0 stands behind the end. */
static int take_table(struct reading *r, const Elf64_Ehdr *h, const Elf64_Shdr *table,
		      const Elf64_Shdr *names)
{
	int ret = 0;

	if (table->sh_entsize != sizeof(Elf64_Sym))
		return damaged(r, h->e_shoff, "symbols of 24 bytes");
	for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table->sh_size && ret == 0;
	     at += sizeof(Elf64_Sym)) {
		Elf64_Sym sym;

		if (table->sh_offset > r->n || at > r->n ||
		    !get(r, table->sh_offset + at, &sym, sizeof(sym)))
			return damaged(r, table->sh_offset, "a table of symbols inside the file");
		if (!is_code_symbol(r, h, &sym))
			continue;
		if (names->sh_offset > r->n || sym.st_name >= r->n - names->sh_offset)
			return damaged(r, table->sh_offset + at, "a name inside the file");
		ret = add(r, sym.st_value, r->data + names->sh_offset + sym.st_name);
	}
	return ret;
}

static int take_elf(struct reading *r)
{
	Elf64_Shdr table, names;
	Elf64_Ehdr h;

	if (!get(r, 0, &h, sizeof(h)) || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_shentsize != sizeof(Elf64_Shdr))
		return damaged(r, 0, "the header of a 64-bit ELF file");
	for (unsigned i = 0; i < h.e_shnum; i++) {
		if (!get_section(r, &h, i, &table))
			return damaged(r, h.e_shoff, "section headers inside the file");
		if (table.sh_type != SHT_SYMTAB)
			continue;
		if (!get_section(r, &h, table.sh_link, &names))
			return damaged(r, h.e_shoff, "a section with the symbols' names");
		return take_table(r, &h, &table, &names);
	}
	return err_set(r->err, EINVAL, "symbols '%s': the ELF file has no symbols (stripped?)",
		       r->path);
}

/* ---- all ---- */
/* Names at one address keep their order in the file, which is that of their text. */
static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

int symbols_parse(struct symbols *s, char *data, size_t n, const char *path, struct err *err)
{
	struct reading r = { .s = s, .path = path, .n = n, .err = err };
	int ret;

	*s = (struct symbols){ .text = realloc(data, n + 1) };
	if (!s->text) {
		free(data);
		return err_set(err, ENOMEM, "no memory for the symbols of '%s'", path);
	}
	r.data = s->text;
	r.data[n] = 0;
	ret = n >= SELFMAG && !memcmp(r.data, ELFMAG, SELFMAG) ? take_elf(&r) : take_map(&r);
	if (ret == 0 && !s->n)
		ret = err_set(err, EINVAL, "symbols '%s': there is no symbol of code in it", path);
	if (ret < 0)
		symbols_free(s);
	else
		qsort(s->list, s->n, sizeof(*s->list), by_address);
	return ret;
}

int symbols_read(struct symbols *s, int fd, const char *path, struct err *err)
{
	char *data;
	size_t n;
	int ret = file_read_whole(fd, path, SYMBOLS_MAX, &data, &n, err);

	return ret < 0 ? ret : symbols_parse(s, data, n, path, err);
}

const char *symbols_find(const struct symbols *s, uint64_t address)
{
	size_t low = 0, high = s->n; /* the last one that is not above it is in front of `high` */

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->list[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || address - s->list[low - 1].address >= SYMBOLS_REACH)
		return NULL;
	address = s->list[low - 1].address;
	while (low > 1 && s->list[low - 2].address == address)
		low--;
	return s->list[low - 1].name;
}

bool symbols_named(const struct symbols *s, const char *name, uint64_t *address, uint64_t *end)
{
	size_t i = 0;

	while (i < s->n && strcmp(s->list[i].name, name))
		i++;
	if (i == s->n)
		return false;
	*address = s->list[i].address;
	while (i < s->n && s->list[i].address == *address)
		i++;
	*end = i < s->n ? s->list[i].address : UINT64_MAX;
	return true;
}

void symbols_free(struct symbols *s)
{
	free(s->text);
	free(s->list);
	*s = (struct symbols){ 0 };
}
