// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/guest_conf.h"
#include "host/run_dir.h"

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

static bool print_file(FILE *f, const char *path, bool json)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	while (in && getline(&line, &size, in) > 0)
		print_line(f, line, json);
	free(line);
	if (in)
		fclose(in);
	return in != NULL;
}

int guest_log_print(FILE *f, const char *name, bool json, struct err *err)
{
	struct run_dir d;
	char *now, *before;
	bool any;
	int ret = guest_name_is_good(name)
			  ? run_dir_find(&d, name, err)
			  : err_set(err, EINVAL, "'%s' is no name of a guest", name);

	if (ret < 0)
		return ret;
	now = run_dir_file(d.state, "events");
	before = run_dir_file(d.state, "events.1");
	any = print_file(f, before, json);
	any = print_file(f, now, json) || any;
	if (!any)
		ret = err_set(err, ENOENT, "nothing is known of a guest %s: there is no %s", name,
			      now);
	free(before);
	free(now);
	run_dir_close(&d);
	return ret;
}
