// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep doctor`: whether what is installed here would do its work, and what to do if not. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "host/doctor.h"
#include "host/guest_conf.h"
#include "tools/cmd.h"

/* All guests that have a file here. */
static void look_at_all(struct doctor *d)
{
	struct dirent **found;
	int n = scandir(GUEST_CONF_DIR, &found, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		size_t len = strlen(found[i]->d_name);

		if (len > 5 && !strcmp(found[i]->d_name + len - 5, ".conf")) {
			found[i]->d_name[len - 5] = 0;
			if (guest_name_is_good(found[i]->d_name))
				doctor_guest(d, found[i]->d_name);
		}
		free(found[i]);
	}
	if (n >= 0)
		free(found);
}

static const char *word(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void print_text(const struct doctor *d)
{
	const char *guest = "";
	const json_t *o;
	size_t i;

	json_array_foreach(d->checks, i, o)
	{
		if (strcmp(guest, word(o, "guest"))) {
			guest = word(o, "guest");
			printf("\nguest %s\n", guest);
		}
		printf("%-8s %-12s %s\n", word(o, "verdict"), word(o, "check"), word(o, "text"));
		if (*word(o, "cure"))
			printf("%-8s %-12s -> %s\n", "", "", word(o, "cure"));
	}
	printf("\n%s\n", d->worst == DOCTOR_BAD	   ? "something has to be mended"
			 : d->worst == DOCTOR_WARN ? "it works, and could be better"
						   : "all is well");
}

static void print_json(const struct doctor *d)
{
	char host[256] = "";
	json_t *o;

	gethostname(host, sizeof(host) - 1);
	o = json_pack("{s:s, s:s, s:O}", "host", host, "verdict", doctor_verdict_name(d->worst),
		      "checks", d->checks);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

/* 0 good, 1 a warning, 2 bad: as programs that watch hosts take it. */
static int run(struct options *o)
{
	struct doctor d;
	int status;

	signal(SIGPIPE, SIG_IGN); /* whoever is asked may close the connection */
	doctor_begin(&d);
	doctor_host(&d);
	if (o->nargs)
		doctor_guest(&d, o->args[0]);
	else
		look_at_all(&d);
	if (o->json)
		print_json(&d);
	else
		print_text(&d);
	status = d.worst == DOCTOR_BAD ? 2 : d.worst == DOCTOR_WARN;
	doctor_end(&d);
	return status;
}

const struct command cmd_doctor = {
	.id = COMMAND_DOCTOR,
	.name = "doctor",
	.summary = "say whether this host and its guests are in order",
	.usage = "[NAME|FILE] [--json]",
	.text = "Checks this host, and one guest or all that have a file in /etc/twinstep: "
		"configuration, key, arbiter and how fast it answers, latency and losses to the "
		"other host, versions of both, disks, what a failover would do now. Each with a "
		"verdict and with what to do. Run it on both hosts.",
	.end = "Exit status: 0 all is well; 1 there is a warning; 2 something has to be mended, "
	       "or the command line is wrong.",
	.max_args = 1,
	.run = run,
};
