// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/host_clock.h"
#include "host/guest_conf.h"
#include "host/run_dir.h"

#define LOOK_NS 200000000 /* between two looks at a file that is followed */

static void print_line(FILE *f, const char *line, bool json)
{
	json_t *o = json ? NULL : json_loads(line, 0, NULL);
	const char *time = "", *event = "", *text = "";

	if (json)
		fputs(line, f);
	else if (json_unpack(o, "{s?s, s?s, s?s}", "time", &time, "event", &event, "text", &text) ==
		 0)
		fprintf(f, "%-24s %-13s %s\n", time, event, text);
	json_decref(o);
}

/* Whole lines from here on; a last one that is not whole yet stays to be read again. */
static void print_lines(FILE *f, FILE *in, bool json)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, in)) > 0) {
		if (line[n - 1] != '\n') {
			fseek(in, -n, SEEK_CUR);
			break;
		}
		print_line(f, line, json);
	}
	clearerr(in);
	free(line);
}

static bool print_file(FILE *f, const char *path, bool json)
{
	FILE *in = fopen(path, "re");

	if (in) {
		print_lines(f, in, json);
		fclose(in);
	}
	return in != NULL;
}

/* True: another file has taken the place of the one that is open. */
static bool is_another(FILE *in, const char *path)
{
	struct stat now, open;

	return stat(path, &now) == 0 && fstat(fileno(in), &open) == 0 &&
	       (now.st_ino != open.st_ino || now.st_dev != open.st_dev);
}

void guest_log_follow(FILE *f, const char *path, bool json, bool (*stop)(void *ctx), void *ctx)
{
	FILE *in = NULL;

	while (!stop(ctx) && !ferror(f)) {
		bool another = in && is_another(in, path);

		if (!in)
			in = fopen(path, "re");
		if (in)
			print_lines(f, in, json);
		fflush(f);
		if (another) { /* what it got before it was put aside has been read */
			fclose(in);
			in = NULL;
			continue;
		}
		host_sleep_ns(LOOK_NS);
	}
	if (in)
		fclose(in);
}

/* The files of a guest: now, and the one before. 0 or -errno. */
static int find(const char *name, char **now, char **before, struct err *err)
{
	struct run_dir d;
	int ret = guest_name_check(name, err);

	*now = *before = NULL;
	if (ret == 0)
		ret = run_dir_find(&d, name, err);
	if (ret < 0)
		return ret;
	*now = run_dir_file(d.state, "events");
	*before = run_dir_file(d.state, "events.1");
	run_dir_close(&d);
	return 0;
}

static int print_all(FILE *f, const char *name, bool json, bool (*stop)(void *ctx), void *ctx,
		     struct err *err)
{
	char *now, *before;
	int ret = find(name, &now, &before, err);
	bool any = ret == 0 && print_file(f, before, json);

	if (ret == 0 && stop)
		guest_log_follow(f, now, json, stop, ctx);
	else if (ret == 0)
		any = print_file(f, now, json) || any;
	if (ret == 0 && !any && !stop)
		ret = err_set(err, ENOENT, "nothing is known of a guest %s: there is no %s", name,
			      now);
	free(before);
	free(now);
	return ret;
}

int guest_log_print(FILE *f, const char *name, bool json, struct err *err)
{
	return print_all(f, name, json, NULL, NULL, err);
}

int guest_log_watch(FILE *f, const char *name, bool json, bool (*stop)(void *ctx), void *ctx,
		    struct err *err)
{
	return print_all(f, name, json, stop, ctx, err);
}
