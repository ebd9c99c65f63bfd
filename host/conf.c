// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/conf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/log.h"

void conf_fault(struct conf *c, unsigned line, unsigned column, const char *fmt, ...)
{
	char text[480], *all;
	unsigned at;
	va_list ap;

	if (c->nfaults == CONF_FAULTS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	must(asprintf(&all, "%s:%u:%u: %s", c->path, line, column, text) >= 0);
	for (at = c->nfaults++; at && c->fault_line[at - 1] > line; at--) {
		c->fault[at] = c->fault[at - 1];
		c->fault_line[at] = c->fault_line[at - 1];
	}
	c->fault[at] = all;
	c->fault_line[at] = line;
}

static bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r';
}

static char *skip_blanks(char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

/* Ends the string behind its last character that is no blank. */
static void trim_end(char *s)
{
	size_t n = strlen(s);

	while (n && is_blank(s[n - 1]))
		s[--n] = 0;
}

static bool is_word(const char *s, const char *also)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr(also, *s))
			return false;
	}
	return true;
}

/* "[host alpha]": s points behind the bracket. */
static void take_section(struct conf *c, char *line, char *s, unsigned number)
{
	char *end = strchr(s, ']'), *name;
	unsigned column = (unsigned)(s - line) + 1;

	if (!end || *skip_blanks(end + 1)) {
		conf_fault(c, number, column,
			   "a section is written [host NAME], alone on its line");
		return;
	}
	*end = 0;
	s = skip_blanks(s);
	name = s + strcspn(s, " \t");
	if (*name)
		*name++ = 0;
	name = skip_blanks(name);
	trim_end(name);
	if (!is_word(s, "-") || !is_word(name, "-._")) {
		conf_fault(c, number, column,
			   "a section is written [host NAME], with the name that `hostname` prints "
			   "there");
		return;
	}
	if (c->nsections == CONF_SECTIONS) {
		conf_fault(c, number, column, "more than %d sections", CONF_SECTIONS - 1);
		return;
	}
	c->section[c->nsections++] = (struct conf_section){ s, name, number };
}

/* The value behind the '='; NULL: there is none, and a fault has been noted. */
static char *take_value(struct conf *c, char *line, char *s, unsigned number)
{
	char *end;

	if (*s != '"') {
		trim_end(s);
		if (*s)
			return s;
		conf_fault(c, number, (unsigned)(s - line) + 1, "a value is missing behind '='");
		return NULL;
	}
	end = strchr(++s, '"');
	if (end && !*skip_blanks(end + 1)) {
		*end = 0;
		return s;
	}
	conf_fault(c, number, (unsigned)(s - line),
		   end ? "only blanks may follow the closing quotation mark"
		       : "the closing quotation mark is missing");
	return NULL;
}

static void take_entry(struct conf *c, char *line, char *s, unsigned number)
{
	char *equals = strchr(s, '='), *value = NULL;
	struct conf_entry e = { .key = s,
				.section = c->nsections - 1,
				.line = number,
				.key_column = (unsigned)(s - line) + 1 };

	e.column = e.key_column;
	if (equals) {
		*equals = 0;
		value = skip_blanks(equals + 1);
		e.column = (unsigned)(value - line) + 1;
	}
	trim_end(s);
	if (!is_word(s, "-")) {
		conf_fault(c, number, e.key_column,
			   "a line is `option = value`, `option`, [host NAME] or a comment that "
			   "begins with #");
		return;
	}
	if (equals && !(e.value = take_value(c, line, value, number)))
		return;
	if (c->nentries == CONF_ENTRIES)
		conf_fault(c, number, 1, "more than %d options", CONF_ENTRIES);
	else
		c->entry[c->nentries++] = e;
}

static void take_line(struct conf *c, char *line, unsigned number)
{
	char *s = skip_blanks(line);

	for (const char *p = line; *p; p++) {
		if ((unsigned char)*p < ' ' && !is_blank(*p)) {
			conf_fault(c, number, (unsigned)(p - line) + 1,
				   "a control character (0x%02x): this is a file of text",
				   (unsigned char)*p);
			return;
		}
	}
	if (*s == '[')
		take_section(c, line, s + 1, number);
	else if (*s && *s != '#' && *s != ';')
		take_entry(c, line, s, number);
}

void conf_parse(struct conf *c, const char *path, const char *text, size_t len)
{
	unsigned number = 1;
	char *line;

	*c = (struct conf){ .path = strdup(path), .text = malloc(len + 1) };
	must(c->path && c->text);
	memcpy(c->text, text, len);
	c->text[len] = 0;
	c->section[c->nsections++] = (struct conf_section){ "", "", 0 };
	if (strlen(c->text) != len) {
		conf_fault(c, 1, 1, "byte %zu is 0: this is a file of text", strlen(c->text));
		return;
	}
	for (line = c->text; line; number++) {
		char *end = strchr(line, '\n');

		if (end)
			*end++ = 0;
		take_line(c, line, number);
		line = end;
	}
}

int conf_load(struct conf *c, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;
	char *text;
	size_t len;

	*c = (struct conf){ 0 };
	if (fd < 0)
		return err_set(err, errno, "cannot open configuration %s: %s", path,
			       strerror(errno));
	ret = file_read_whole(fd, path, CONF_BYTES, &text, &len, err);
	close(fd);
	if (ret)
		return ret;
	conf_parse(c, path, text, len);
	free(text);
	return 0;
}

void conf_free(struct conf *c)
{
	for (unsigned i = 0; i < c->nfaults; i++)
		free(c->fault[i]);
	free(c->path);
	free(c->text);
	*c = (struct conf){ 0 };
}
