// SPDX-License-Identifier: GPL-2.0-or-later
/* Configuration files of guests: what is taken, and each fault with its place. */
#include <errno.h>

#include "host/guest_conf.h"
#include "tests/unit.h"

static struct guest_conf g;

static void read_as(const char *host, const char *text)
{
	guest_conf_free(&g);
	guest_conf_read(&g, "/etc/twinstep/web.conf", text, strlen(text), host);
}

#define HOSTS                                                   \
	"[host alpha]\nlisten = 10.0.0.1:7777\ndisk = /a.img\n" \
	"[host beta]\nlisten = 10.0.0.2:7777\ndisk = /b.img\n"
#define WEB "kernel = /vmlinuz\nkey-file = /key\narbiter = file:/shared\n"

START_TEST(a_file_is_read)
{
	read_as("alpha.example.org",
		"# a guest\n\n" WEB "append = \" quiet ; no # comment\"\nmemory = 128M\n" HOSTS);
	ck_assert_msg(g.conf.nfaults == 0, "%s", g.conf.fault[0]);
	ck_assert_str_eq(g.name, "web");
	ck_assert_str_eq(g.seen.machine.append, " quiet ; no # comment");
	ck_assert_uint_eq(g.seen.machine.memory, 128u << 20);
	ck_assert_str_eq(g.seen.replica.listen, "10.0.0.1:7777");
	ck_assert_str_eq(g.connect, "10.0.0.2:7777");
	ck_assert_uint_eq(g.seen.machine.ndisks, 1);
	ck_assert_str_eq(g.seen.machine.disk[0].path, "/a.img");
	ck_assert(g.first);
	ck_assert(!g.waits);
}
END_TEST

START_TEST(the_other_host_sees_its_own_section)
{
	read_as("BETA", WEB HOSTS);
	ck_assert_msg(g.conf.nfaults == 0, "%s", g.conf.fault[0]);
	ck_assert_str_eq(g.connect, "10.0.0.1:7777");
	ck_assert_str_eq(g.seen.machine.disk[0].path, "/b.img");
	ck_assert(!g.first);
}
END_TEST

START_TEST(first_names_the_host_that_begins)
{
	read_as("beta", WEB "first = beta\n" HOSTS);
	ck_assert_uint_eq(g.conf.nfaults, 0);
	ck_assert(g.first);
}
END_TEST

/* Each option goes to the role that takes it. */
START_TEST(roles_get_what_they_take)
{
	static const struct {
		enum command_id role;
		const char *has, *lacks;
	} cases[] = { { COMMAND_PRIMARY, "kernel", "connect" },
		      { COMMAND_BACKUP, "disk", "kernel" } };

	read_as("alpha", WEB "no-wait = no\nconnect-wait = 500\n" HOSTS);
	ck_assert(g.waits);
	for (size_t i = 0; i < 2; i++) {
		const struct option_row *row;
		const char *value;
		bool has = false;
		unsigned at = 0;

		while ((row = guest_conf_next(&g, cases[i].role, &at, &value))) {
			has |= !strcmp(row->name, cases[i].has);
			ck_assert_str_ne(row->name, cases[i].lacks);
			ck_assert_str_ne(row->name, "no-wait");
			ck_assert_str_ne(value, "/b.img");
		}
		ck_assert(has);
	}
}
END_TEST

static const struct fault {
	const char *text, *place, *cure;
} faults[] = {
	{ "kernl = /x\n", "/etc/twinstep/web.conf:1:1: ", "is 'kernel' meant" },
	{ "  quux = 1\n", ":1:3: ", "twinstep primary --help" },
	{ "memory = 12X\n", ":1:10: ", "write for example 256M" },
	{ "memory\n", ":1:1: ", "memory = SIZE" },
	{ "memory =\n", ":1:9: ", "missing" },
	{ "append = \"x\n", ":1:10: ", "closing quotation mark" },
	{ "append = \"x\" y\n", ":1:10: ", "only blanks" },
	{ "no-wait = maybe\n", ":1:11: ", "yes or no" },
	{ "= 3\n", ":1:1: ", "option = value" },
	{ "two words = 3\n", ":1:1: ", "option = value" },
	{ "a\x01z = 3\n", ":1:2: ", "control character" },
	{ "[host]\n", ":1:2: ", "[host NAME]" },
	{ "[host a\n", ":1:2: ", "[host NAME]" },
	{ "[guest a]\n", ":1:2: ", "unknown section" },
	{ "name = x\n", ":1:1: ", "that of the file" },
	{ "force\n", ":1:1: ", "by hand" },
	{ "first = nobody\n" WEB HOSTS, ":1:9: ", "no section" },
	{ WEB "[host other]\nlisten = 1.2.3.4:1\n", ":4:2: ", "[host alpha]" },
	{ WEB, ":1:1: ", "listen = ADDRESS:PORT" },
	{ WEB "listen = 0.0.0.0:7\n", ":1:1: ", "connect = ADDRESS:PORT" },
	{ "kernel = /vmlinuz\narbiter = file:/s\n" HOSTS, ":1:1: ", "twinstep keygen" },
	{ WEB HOSTS "[host alpha]\n", ":10:2: ", "in line 4 already" },
	{ WEB HOSTS "[host gamma]\n", ":10:2: ", "a pair has two" },
	{ WEB HOSTS "disk = /x,overlay,ro\ndsk = /y\n", ":11:1: ", "is 'disk' meant" },
};

START_TEST(faults_have_a_place_and_a_cure)
{
	const struct fault *f = &faults[_i];
	bool found = false;

	read_as("alpha", f->text);
	for (unsigned i = 0; i < g.conf.nfaults; i++)
		found |= strstr(g.conf.fault[i], f->place) && strstr(g.conf.fault[i], f->cure);
	ck_assert_msg(found, "no fault at %s with '%s' of: %s (%s)", f->place, f->cure, f->text,
		      g.conf.nfaults ? g.conf.fault[0] : "none");
}
END_TEST

START_TEST(faults_come_in_the_order_of_lines)
{
	read_as("alpha", "kernl = /x\nmemory = 12X\nappend = \"x\n");
	ck_assert_uint_eq(g.conf.nfaults, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(g.conf.fault_line[i], i + 1);
}
END_TEST

START_TEST(a_file_of_anything_else_is_refused)
{
	struct err err = ERR_INIT;
	char text[CONF_ENTRIES * 8 + 100] = "";

	guest_conf_free(&g);
	guest_conf_read(&g, "/x/web.conf", "a\0b", 3, "alpha");
	ck_assert_uint_ge(g.conf.nfaults, 1);
	for (unsigned i = 0; i <= CONF_ENTRIES; i++)
		strcat(text, "stats\n");
	read_as("alpha", text);
	ck_assert_uint_ge(g.conf.nfaults, 1);
	guest_conf_free(&g);
	ck_assert_int_eq(guest_conf_load(&g, "/etc", "alpha", false, &err), -EINVAL);
	ck_assert_int_eq(guest_conf_load(&g, "/nowhere/x.conf", "alpha", false, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/x.conf"));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_file_is_read);
	tcase_add_test(tc, the_other_host_sees_its_own_section);
	tcase_add_test(tc, first_names_the_host_that_begins);
	tcase_add_test(tc, roles_get_what_they_take);
	tcase_add_loop_test(tc, faults_have_a_place_and_a_cure, 0,
			    (int)(sizeof(faults) / sizeof(faults[0])));
	tcase_add_test(tc, faults_come_in_the_order_of_lines);
	tcase_add_test(tc, a_file_of_anything_else_is_refused);
}

UNIT_MAIN("conf", add_tests)
