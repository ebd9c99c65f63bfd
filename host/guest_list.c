// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_list.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/host_clock.h"
#include "host/control.h"
#include "host/guest_alarms.h"
#include "host/guest_conf.h"
#include "host/guest_disks.h"
#include "host/run_dir.h"

#define ANSWER_MS 1000

/* ---- names ---- */

static void add_name(json_t *names, const char *name, const char *suffix)
{
	char text[300];
	size_t n = strlen(name), k = strlen(suffix);

	if (n <= k || n >= sizeof(text) || strcmp(name + n - k, suffix))
		return;
	snprintf(text, sizeof(text), "%.*s", (int)(n - k), name);
	if (guest_name_is_good(text))
		json_object_set_new(names, text, json_true());
}

static void add_names(json_t *names, const char *dir, const char *suffix)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		add_name(names, e->d_name, suffix);
	if (d)
		closedir(d);
}

/* Adds the guests of `up`: each has a directory with a lock in it. */
static void add_run_dirs(json_t *names, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char lock[600];

		snprintf(lock, sizeof(lock), "%s/%s/lock", dir, e->d_name);
		if (guest_name_is_good(e->d_name) && access(lock, F_OK) == 0)
			json_object_set_new(names, e->d_name, json_true());
	}
	if (d)
		closedir(d);
}

/* ---- one guest ---- */

static char *read_proc(pid_t pid, const char *file)
{
	char path[64], *text = malloc(4096);

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	if (text)
		file_read_text(path, text, 4096);
	return text;
}

/* CPU time, age and memory of the replica's process, as far as they can be seen. */
static void put_process(json_t *o, pid_t pid)
{
	char *stat = read_proc(pid, "stat"), *status = read_proc(pid, "status");
	const char *fields = stat ? strrchr(stat, ')') : NULL, *rss;
	unsigned long long user, system, start;
	double tick = (double)sysconf(_SC_CLK_TCK);

	if (fields && sscanf(fields,
			     ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu "
			     "%*d %*d %*d %*d %*d %*d %llu",
			     &user, &system, &start) == 3) {
		double age = (double)host_clock_ns(CLOCK_BOOTTIME) / 1e9 - (double)start / tick;

		json_object_set_new(o, "cpu_s", json_real((double)(user + system) / tick));
		json_object_set_new(o, "age_s", json_real(age > 0 ? age : 0));
	}
	rss = status ? strstr(status, "VmRSS:") : NULL;
	if (rss)
		json_object_set_new(o, "memory_bytes", json_integer(atoll(rss + 6) * 1024));
	free(stat);
	free(status);
}

static json_t *ask(const char *name)
{
	json_t *answer = control_ask(name, "status", ANSWER_MS, NULL);

	json_object_del(answer, "ok");
	return answer;
}

static void put_up(json_t *o, const char *name)
{
	struct run_dir d;
	json_t *state;

	json_object_set_new(o, "phase", json_string("down"));
	if (run_dir_find(&d, name, NULL) < 0)
		return;
	state = run_dir_holder(&d) ? run_dir_get_state(&d) : NULL;
	json_object_update(o, state);
	json_decref(state);
	run_dir_close(&d);
}

/* Adds the disks that are named in the file which `up` has read, or would read. */
static void put_disks(json_t *o, const char *conf)
{
	const char *read = json_string_value(json_object_get(o, "conf"));

	if (read || json_is_true(json_object_get(o, "configured")))
		json_object_set_new(o, "disks", guest_disks(read ? read : conf));
}

static json_t *describe(const char *name)
{
	char *conf = guest_conf_path(name);
	json_t *o = json_pack("{s:s, s:b}", "name", name, "configured", access(conf, R_OK) == 0);
	json_t *status = ask(name);
	pid_t pid;

	put_up(o, name);
	put_disks(o, conf);
	free(conf);
	pid = (pid_t)json_integer_value(json_object_get(o, "replica"));
	if (pid > 0)
		put_process(o, pid);
	if (status) {
		if (!strcmp(json_string_value(json_object_get(o, "phase")), "down"))
			json_object_set_new(o, "phase", json_string("by hand"));
		json_object_set_new(o, "status", status);
	}
	json_object_set_new(o, "alarms", guest_alarms(o));
	return o;
}

static json_t *all_names(void)
{
	json_t *names = json_object();
	char *dir;

	add_names(names, GUEST_CONF_DIR, ".conf");
	if (control_directory(false, &dir, NULL) == 0) {
		add_names(names, dir, ".sock");
		add_run_dirs(names, dir);
		free(dir);
	}
	return names;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *guest_list(void)
{
	json_t *list = json_array(), *names = all_names(), *v;
	size_t n = json_object_size(names), i = 0;
	const char **sorted = calloc(n + 1, sizeof(*sorted)), *key;

	json_object_foreach(names, key, v) sorted[i++] = key;
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (i = 0; i < n; i++) {
		json_t *o = describe(sorted[i]);

		/* A socket that a machine left behind when it was killed. */
		if (!json_is_true(json_object_get(o, "configured")) &&
		    !strcmp(json_string_value(json_object_get(o, "phase")), "down"))
			json_decref(o);
		else
			json_array_append_new(list, o);
	}
	free(sorted);
	json_decref(names);
	return list;
}
