// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the mounted hierarchies of control groups, their controllers, and our own place in them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_io.h"
#include "isolation/cgroup.h"

#define GROUP "twinstep"

/* v1's names; v2's differ for io, and v2 accounts without being asked. */
static const char *const v1_names[CGROUP_CONTROLLERS] = { [CGROUP_CPU] = "cpu",
							  [CGROUP_MEMORY] = "memory",
							  [CGROUP_IO] = "blkio",
							  [CGROUP_ACCOUNT] = "cpuacct" };
static const char *const v2_names[CGROUP_ACCOUNT] = {
	[CGROUP_CPU] = "cpu", [CGROUP_MEMORY] = "memory", [CGROUP_IO] = "io"
};

static bool in_list(const char *list, const char *word, const char *separators)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, separators)) {
		p += strspn(p, separators);
		if (!strncmp(p, word, n) && (!p[n] || strchr(separators, p[n])))
			return true;
	}
	return false;
}

/* Spaces in paths are \040, and so on: undone in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* A line of mountinfo about a control group file system. */
struct mount_line {
	char *root, *point, *type, *options;
};

/*
 * proc(5): id parent major:minor root mount-point options [optional...] - type source super-options
 */
static bool split_mount(char *line, struct mount_line *m)
{
	char *field[6], *save, *dash = strstr(line, " - ");

	if (!dash)
		return false;
	*dash = 0;
	field[0] = strtok_r(line, " ", &save);
	for (unsigned i = 1; i < 6; i++)
		field[i] = strtok_r(NULL, " ", &save);
	m->type = strtok_r(dash + 3, " \n", &save);
	m->options = strtok_r(NULL, " \n", &save) ? strtok_r(NULL, " \n", &save) : NULL;
	m->root = field[3];
	m->point = field[4];
	if (!m->options || !m->point || (strcmp(m->type, "cgroup") && strcmp(m->type, "cgroup2")))
		return false;
	unescape(m->root);
	unescape(m->point);
	return true;
}

/*
 * Finds our own group's path in a hierarchy. The lines of /proc/self/cgroup are
 * "id:controllers:path"; v2's id is 0.
 */
static bool find_self(const char *proc, bool v2, const char *controller, char *path, size_t size)
{
	char file[CGROUP_PATH], line[1024];
	bool found = false;
	FILE *f;

	snprintf(file, sizeof(file), "%s/self/cgroup", proc);
	f = fopen(file, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		char *list = strchr(line, ':'), *p = list ? strchr(list + 1, ':') : NULL;

		if (!p || p[1] != '/')
			continue;
		*list++ = *p++ = 0;
		p[strcspn(p, "\n")] = 0;
		found = v2 ? !strcmp(line, "0") && !*list : in_list(list, controller, ",");
		if (found && (size_t)snprintf(path, size, "%s", p) >= size)
			found = false;
	}
	if (f)
		fclose(f);
	return found;
}

/* Paths with ".." come from a namespace that we are outside of. */
static bool escapes(const char *path)
{
	return strstr(path, "/../") ||
	       (strlen(path) >= 3 && !strcmp(path + strlen(path) - 3, "/.."));
}

static bool put_path(char *out, const char *a, const char *b, const char *c)
{
	return snprintf(out, CGROUP_PATH, "%s%s%s", a, strcmp(b, "/") ? b : "", c) < CGROUP_PATH;
}

static bool place_tree(struct cgroup_tree *t, const char *point, const char *self,
		       const char *parent)
{
	char beside[CGROUP_PATH];
	char *slash;

	if (escapes(self) || !put_path(t->root, point, "", "") ||
	    !put_path(t->home, point, self, ""))
		return false;
	if (parent)
		return put_path(t->parent, point, parent, "");
	strcpy(beside, t->home);
	slash = strrchr(beside, '/');
	if (t->v2 && strcmp(self, "/") && slash)
		*slash = 0;
	return put_path(t->parent, beside, "", "/" GROUP);
}

/* v2: what the group has in which ours will be, be it that it hands it down already or not. */
static void offered(const struct cgroup_tree *t, bool given, char *text, size_t size)
{
	const char *slash = strrchr(t->parent, '/');
	size_t above = slash ? (size_t)(slash - t->parent) : 0;
	char file[CGROUP_PATH + 32];

	snprintf(file, sizeof(file), "%.*s/cgroup.controllers", given ? CGROUP_PATH : (int)above,
		 t->parent);
	file_read_text(file, text, size);
}

static void add_tree(struct cgroup_site *s, const struct mount_line *m, const char *proc,
		     const char *parent)
{
	struct cgroup_tree t = { .v2 = !strcmp(m->type, "cgroup2") };
	char self[CGROUP_PATH], list[512];
	const char *path = self;
	size_t n = strlen(m->root);
	unsigned has = 0;

	for (unsigned c = 0; !t.v2 && c < CGROUP_CONTROLLERS; c++)
		has |= (unsigned)in_list(m->options, v1_names[c], ",") << c;
	if (!t.v2 && !has)
		return;
	if (!find_self(proc, t.v2, v1_names[has ? __builtin_ctz(has) : 0], self, sizeof(self)))
		return;
	if (n > 1 && !strncmp(self, m->root, n) && (self[n] == '/' || !self[n]))
		path = self[n] ? self + n : "/";
	if (!place_tree(&t, m->point, path, parent))
		return;
	if (t.v2)
		offered(&t, s->given, list, sizeof(list));
	for (unsigned c = 0; t.v2 && c < CGROUP_ACCOUNT; c++)
		has |= (unsigned)in_list(list, v2_names[c], " \n") << c;
	for (unsigned c = 0; has && s->ntrees < CGROUP_CONTROLLERS && c < CGROUP_CONTROLLERS; c++) {
		if (has >> c & 1 && s->of[c] < 0)
			s->of[c] = (int)s->ntrees;
		else
			has &= ~(1u << c);
	}
	if (has)
		s->tree[s->ntrees++] = t;
}

static int check_parent(const char *parent, struct err *err)
{
	if (!parent)
		return 0;
	if (parent[0] != '/' || strlen(parent) >= CGROUP_PATH / 2 || escapes(parent) ||
	    strchr(parent, '\n'))
		return err_set(
			err, EINVAL,
			"--cgroup %s: must be a path from the root of the control groups, /a/b",
			parent);
	return 0;
}

int cgroup_find(struct cgroup_site *s, const char *proc, const char *parent, struct err *err)
{
	char file[CGROUP_PATH], line[4096];
	struct mount_line m;
	FILE *f;
	int ret = check_parent(parent, err);

	*s = (struct cgroup_site){ .given = parent != NULL, .of = { -1, -1, -1, -1 } };
	if (ret)
		return ret;
	snprintf(file, sizeof(file), "%s/self/mountinfo", proc);
	f = fopen(file, "re");
	if (!f)
		return err_set(err, errno, "cannot read '%s': %s", file, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (split_mount(line, &m))
			add_tree(s, &m, proc, parent);
	}
	fclose(f);
	return 0;
}
