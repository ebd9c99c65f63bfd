// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "net/peer.h"
#include "record/disk_image.h"
#include "replica/arbiter.h"

/* Options that a file may not set, because `up` decides on them. */
static const struct {
	const char *key, *why;
} decided[] = {
	{ "name", "the guest's name is that of the file" },
	{ "control", "the control socket is that of the guest's name" },
	{ "events", "events are kept with the guest's state: `twinstep log NAME` shows them" },
	{ "force", "--force is for one start, by hand: `twinstep up NAME --force`" },
};

bool guest_name_is_good(const char *name)
{
	size_t n = strlen(name);

	if (!n || n > GUEST_NAME_MAX || !isalnum((unsigned char)*name))
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("-._", *name))
			return false;
	}
	return true;
}

int guest_name_check(const char *name, struct err *err)
{
	return guest_name_is_good(name)
		       ? 0
		       : err_set(err, EINVAL,
				 "'%s' is no name of a guest; `twinstep list` shows the names that "
				 "are known here",
				 name);
}

char *guest_conf_path(const char *who)
{
	char *path;

	if (strchr(who, '/'))
		path = strdup(who);
	else if (asprintf(&path, GUEST_CONF_DIR "/%s.conf", who) < 0)
		path = NULL;
	must(path != NULL);
	return path;
}

/* ---- keys ---- */

static const enum command_id takers[] = { COMMAND_UP, COMMAND_PRIMARY, COMMAND_BACKUP };
#define TAKERS (sizeof(takers) / sizeof(takers[0]))

static const struct option_row *row_of(const char *key)
{
	for (size_t i = 0; i < TAKERS; i++) {
		const struct option_row *row = option_find(takers[i], key);

		if (row && row->config && !row->refusal)
			return row;
	}
	return NULL;
}

/* Number of characters to add, take away or replace to get from a to b; words of at most 31. */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[32];

	if (n > 31 || m > 31)
		return 99;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[m];
}

static const char *nearest_key(const char *key)
{
	const char *found = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < option_count; i++) {
		unsigned d = distance(key, option_table[i].name);

		if (d < best && row_of(option_table[i].name)) {
			best = d;
			found = option_table[i].name;
		}
	}
	return found;
}

static void say_unknown(struct guest_conf *g, const struct conf_entry *e)
{
	const char *near = g->conf.nfaults < CONF_FAULTS ? nearest_key(e->key) : NULL;

	for (size_t i = 0; i < sizeof(decided) / sizeof(decided[0]); i++) {
		if (!strcmp(decided[i].key, e->key)) {
			conf_fault(&g->conf, e->line, e->key_column, "'%s' cannot be set here: %s",
				   e->key, decided[i].why);
			return;
		}
	}
	if (near)
		conf_fault(&g->conf, e->line, e->key_column, "unknown option '%s': is '%s' meant?",
			   e->key, near);
	else
		conf_fault(&g->conf, e->line, e->key_column,
			   "unknown option '%s': `twinstep primary --help` lists them", e->key);
}

static bool is_yes(const char *value)
{
	return !value || !strcasecmp(value, "yes") || !strcmp(value, "1") ||
	       !strcasecmp(value, "on");
}

static bool is_no(const char *value)
{
	return value &&
	       (!strcasecmp(value, "no") || !strcmp(value, "0") || !strcasecmp(value, "off"));
}

/* An option that may stand in a section several times: each adds one. */
static bool adds_up(const struct option_row *row)
{
	return row->parse == machine_parse_disk || row->parse == machine_parse_net ||
	       row->parse == machine_parse_initrd;
}

/* An earlier entry of the same option in the same section; NULL: there is none. */
static const struct conf_entry *earlier(const struct guest_conf *g, const struct conf_entry *e)
{
	for (const struct conf_entry *o = g->conf.entry; o < e; o++) {
		if (o->section == e->section && !strcmp(o->key, e->key))
			return o;
	}
	return NULL;
}

/* A line between two is wrong: it may be the head of a section that the second one belongs to. */
static bool is_fault_between(const struct conf *c, unsigned first, unsigned second)
{
	for (unsigned i = 0; i < c->nfaults; i++) {
		if (c->fault_line[i] > first && c->fault_line[i] < second)
			return true;
	}
	return false;
}

/* HOST:PORT, [V6]:PORT, unix:PATH, as far as can be seen without asking anybody. */
static bool is_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (!strncmp(text, "unix:", 5))
		return text[5];
	return colon && colon[1] &&
	       (!isdigit((unsigned char)colon[1]) ||
		(parse_number(colon + 1, &port) && port > 0 && port <= 65535));
}

/* Checks values of options that are otherwise looked at only when they are used. */
static void check_value(struct guest_conf *g, const struct conf_entry *e)
{
	struct err err = ERR_INIT;

	if ((!strcmp(e->key, "listen") || !strcmp(e->key, "connect")) && !is_address(e->value))
		conf_fault(&g->conf, e->line, e->column,
			   "%s %s: expected HOST:PORT, [V6]:PORT or unix:PATH", e->key, e->value);
	if (!strcmp(e->key, "arbiter") && arbiter_check_kind(e->value, &err) < 0)
		conf_fault(&g->conf, e->line, e->column, "%s", err.text);
}

static void take_entry(struct guest_conf *g, const struct conf_entry *e)
{
	bool named = false;
	const struct option_row *row = row_of(e->key);
	const struct conf_entry *before;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < sizeof(decided) / sizeof(decided[0]); i++)
		named |= !strcmp(decided[i].key, e->key);
	if (!row || named) {
		say_unknown(g, e);
		return;
	}
	before = adds_up(row) ? NULL : earlier(g, e);
	if (before && !is_fault_between(&g->conf, before->line, e->line))
		conf_fault(&g->conf, e->line, e->key_column,
			   "'%s' stands in line %u already: remove one of them", e->key,
			   before->line);
	else if (row->arg && !e->value)
		conf_fault(&g->conf, e->line, e->key_column, "'%s' needs a value: %s = %s", e->key,
			   e->key, row->arg);
	else if (!row->arg && !is_yes(e->value) && !is_no(e->value))
		conf_fault(&g->conf, e->line, e->column, "'%s' is yes or no, not '%s'", e->key,
			   e->value);
	else if (!(is_no(e->value) && !row->arg) &&
		 row->parse(row, (char *)&g->seen + row->target, e->value, &err) < 0)
		conf_fault(&g->conf, e->line, e->column, "%s",
			   err.text + (strncmp(err.text, "--", 2) ? 0 : 2));
	else if (row->arg)
		check_value(g, e);
	if (!strcmp(e->key, "no-wait"))
		g->waits = is_no(e->value);
	g->own_console |= !strcmp(e->key, "console");
}

/* ---- hosts ---- */

static bool is_host(const char *section, const char *hostname)
{
	size_t n = strcspn(hostname, ".");

	return !strcasecmp(section, hostname) ||
	       (strlen(section) == n && !strncasecmp(section, hostname, n));
}

static void find_hosts(struct guest_conf *g, const char *hostname)
{
	struct conf *c = &g->conf;

	for (unsigned i = 1; i < c->nsections; i++) {
		const struct conf_section *s = &c->section[i];

		if (strcmp(s->kind, "host"))
			conf_fault(c, s->line, 2,
				   "unknown section [%s %s]: only [host NAME] is known", s->kind,
				   s->name);
		for (unsigned k = 1; k < i; k++) {
			if (!strcasecmp(c->section[k].name, s->name))
				conf_fault(c, s->line, 2, "[host %s] stands in line %u already",
					   s->name, c->section[k].line);
		}
		if (i > 2)
			conf_fault(c, s->line, 2, "a third host: a pair has two");
		if (is_host(s->name, hostname))
			g->here = s;
		else
			g->other = s;
	}
	if (c->nsections > 1 && !g->here)
		conf_fault(c, c->section[1].line, 2,
			   "there is no section for this host: write [host %s]", hostname);
}

/* The value of an option in one section, the last one; NULL. */
static const struct conf_entry *entry_in(const struct guest_conf *g, const struct conf_section *s,
					 const char *key)
{
	const struct conf_entry *found = NULL;

	for (unsigned i = 0; s && i < g->conf.nentries; i++) {
		const struct conf_entry *e = &g->conf.entry[i];

		if (e->section == s - g->conf.section && !strcmp(e->key, key))
			found = e;
	}
	return found;
}

static const struct conf_entry *entry_of(const struct guest_conf *g, const char *key)
{
	const struct conf_entry *e = entry_in(g, g->here, key);

	return e ? e : entry_in(g, &g->conf.section[0], key);
}

/* An address that only the host itself can make sense of: all of its own. */
static bool is_wildcard(const char *address)
{
	return *address == ':' || !strncmp(address, "0.0.0.0:", 8) || !strncmp(address, "[::]:", 5);
}

static void find_peer(struct guest_conf *g)
{
	const struct conf_entry *theirs = entry_in(g, g->other, "listen");

	g->connect = g->seen.replica.connect;
	if (!g->connect && theirs && theirs->value && !is_wildcard(theirs->value))
		g->connect = theirs->value;
	if (!g->seen.replica.listen)
		conf_fault(&g->conf, g->here ? g->here->line : 1, 1,
			   "no address of this host: add listen = ADDRESS:PORT");
	if (!g->connect)
		conf_fault(&g->conf, g->here ? g->here->line : 1, 1,
			   "no address of the other host: add connect = ADDRESS:PORT, or a section "
			   "[host NAME] of it with listen = ADDRESS:PORT");
}

static void find_first(struct guest_conf *g)
{
	const struct conf_entry *e = entry_of(g, "first");

	g->first = g->here == &g->conf.section[1];
	if (!e || !e->value)
		return;
	g->first = g->here && !strcasecmp(e->value, g->here->name);
	if (!g->first && !(g->other && !strcasecmp(e->value, g->other->name)))
		conf_fault(&g->conf, e->line, e->column, "there is no section [host %s]", e->value);
}

/* ---- the whole ---- */

/*
 * A sentence about options as they are on the command line, `--NAME VALUE`, as one about a file:
 * `NAME = VALUE`. *e: the first one of them that the file has.
 */
static void in_words_of_files(const struct guest_conf *g, const char *text, char *out, size_t size,
			      const struct conf_entry **e)
{
	const struct option_row *row;
	char name[32];
	size_t n = 0;
	int len;

	*e = NULL;
	while (*text && n + sizeof(name) + 3 < size) {
		len = 0;
		if (sscanf(text, "--%31[a-z-]%n", name, &len) == 1 && len && (row = row_of(name))) {
			text += len;
			*e = *e ? *e : entry_of(g, name);
			n += (size_t)sprintf(out + n, "%s", name);
			if (row->arg && *text == ' ' && text[1] >= 'A' && text[1] <= 'Z')
				n += (size_t)sprintf(out + n, " =");
		} else {
			out[n++] = *text++;
		}
	}
	out[n] = 0;
}

static void check(struct guest_conf *g)
{
	struct err err = ERR_INIT;
	char text[sizeof(err.text) + 64];
	const struct conf_entry *e;

	if (replica_opts_check(&g->seen.replica, &err) == 0 &&
	    machine_opts_check(&g->seen.machine, &err) == 0)
		return;
	in_words_of_files(g, err.text, text, sizeof(text), &e);
	conf_fault(&g->conf, e ? e->line : 1, e ? e->key_column : 1, "%s", text);
}

static bool applies(const struct guest_conf *g, const struct conf_entry *e)
{
	return e->section == 0 || &g->conf.section[e->section] == g->here;
}

static void digest(struct guest_conf *g, const char *path, const char *hostname)
{
	const char *base = strrchr(path, '/');
	size_t n;

	base = base ? base + 1 : path;
	n = strlen(base);
	if (n > 5 && !strcmp(base + n - 5, ".conf"))
		n -= 5;
	snprintf(g->name, sizeof(g->name), "%.*s", (int)n, base);
	if (n > GUEST_NAME_MAX || !guest_name_is_good(g->name))
		conf_fault(&g->conf, 1, 1,
			   "the name of this file is no name for a guest: NAME.conf, of letters, "
			   "digits and -._, at most %d",
			   GUEST_NAME_MAX);
	options_defaults(&g->seen, COMMAND_PRIMARY);
	find_hosts(g, hostname);
	for (unsigned i = 0; i < g->conf.nentries; i++) {
		if (applies(g, &g->conf.entry[i]))
			take_entry(g, &g->conf.entry[i]);
		else if (!row_of(g->conf.entry[i].key))
			say_unknown(g, &g->conf.entry[i]);
	}
	if (g->conf.nfaults)
		return;
	find_peer(g);
	find_first(g);
	check(g);
}

void guest_conf_read(struct guest_conf *g, const char *path, const char *text, size_t len,
		     const char *hostname)
{
	*g = (struct guest_conf){ 0 };
	conf_parse(&g->conf, path, text, len);
	digest(g, path, hostname);
}

static void check_key(struct guest_conf *g, const struct conf_entry *e, const char *path)
{
	struct err err = ERR_INIT;
	struct peer_key *key = peer_key_load(path, &err);

	if (!key)
		conf_fault(&g->conf, e->line, e->column, "%s", err.text);
	peer_key_free(key);
}

/* Checks that all files are there without which the guest cannot start. */
static void check_files(struct guest_conf *g)
{
	static const char *const keys[] = { "kernel", "initrd", "disk", "key-file", "on-event" };

	for (unsigned i = 0; i < g->conf.nentries; i++) {
		const struct conf_entry *e = &g->conf.entry[i];
		bool is_file = false;
		char *path;

		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			is_file |= !strcmp(keys[k], e->key);
		if (!is_file || !e->value || !applies(g, e))
			continue;
		path = strdup(e->value);
		must(path != NULL);
		if (strcmp(e->key, "kernel") && strcmp(e->key, "on-event"))
			path[strcspn(path, ", ")] = 0;
		if (!strcmp(e->key, "disk") && disk_image_is_nbd(path)) {
			free(path); /* whoever opens it says more */
			continue;
		}
		if (!strcmp(e->key, "key-file") && access(path, R_OK) == 0)
			check_key(g, e, path);
		else if (access(path, strcmp(e->key, "on-event") ? R_OK : X_OK) < 0)
			conf_fault(&g->conf, e->line, e->column, "%s: %s%s", path, strerror(errno),
				   strcmp(e->key, "key-file")
					   ? ""
					   : ": `twinstep keygen FILE` makes one, for both hosts");
		free(path);
	}
}

int guest_conf_load(struct guest_conf *g, const char *who, const char *hostname, bool files,
		    struct err *err)
{
	char *path = guest_conf_path(who);
	int ret;

	*g = (struct guest_conf){ 0 };
	ret = conf_load(&g->conf, path, err);
	if (ret == 0)
		digest(g, path, hostname);
	if (ret == 0 && files)
		check_files(g);
	free(path);
	return ret;
}

void guest_conf_free(struct guest_conf *g)
{
	options_free(&g->seen);
	conf_free(&g->conf);
}

const struct option_row *guest_conf_next(const struct guest_conf *g, enum command_id command,
					 unsigned *i, const char **value)
{
	while (*i < g->conf.nentries) {
		const struct conf_entry *e = &g->conf.entry[(*i)++];
		const struct option_row *row = option_find(command, e->key);

		if (!applies(g, e) || !row || row->refusal || (!row->arg && is_no(e->value)))
			continue;
		*value = row->arg ? e->value : NULL;
		return row;
	}
	return NULL;
}
