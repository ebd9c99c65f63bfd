// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep jail`: shows what the jail is made of, and has it proved from the inside. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "host/jail_test.h"
#include "isolation/jail.h"
#include "isolation/seccomp.h"
#include "isolation/spec.h"
#include "tools/cmd.h"

/* ---- list ---- */

/* State of the controls over side channels that the host decides about, once they are set. */
struct side_channels {
	enum spec_state state[SPEC_CONTROLS];
	int core; /* 0 or -errno */
};

/* Tried out by a process that ends again: the settings stay with whoever made them. */
static struct side_channels side_channels(void)
{
	struct side_channels s = { .core = -ECHILD };
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return s;
	pid = fork();
	if (pid == 0) {
		spec_protect();
		s.core = spec_core_create();
		for (enum spec_control c = 0; c < SPEC_CONTROLS; c++)
			s.state[c] = spec_state(c);
		_exit(write(fd[1], &s, sizeof(s)) != (ssize_t)sizeof(s));
	}
	close(fd[1]);
	if (pid > 0) {
		while (read(fd[0], &s, sizeof(s)) < 0 && errno == EINTR)
			;
		waitpid(pid, NULL, 0);
	}
	close(fd[0]);
	return s;
}

static const char *core_text(int core)
{
	if (core)
		return core == -EOPNOTSUPP ? "not-offered" : strerror(-core);
	return spec_core_known() ? "protected" : "not-needed";
}

static void list_side_channels(void)
{
	struct side_channels s = side_channels();

	puts("\nSide channels, on this host:");
	for (enum spec_control c = 0; c < SPEC_CONTROLS; c++)
		printf("  %-20s %s\n", spec_name(c), spec_state_name(s.state[c]));
	printf("  %-20s %s\n", "core-scheduling", core_text(s.core));
}

static json_t *side_channels_json(void)
{
	struct side_channels s = side_channels();
	json_t *o = json_object();

	for (enum spec_control c = 0; c < SPEC_CONTROLS; c++)
		json_object_set_new(o, spec_name(c), json_string(spec_state_name(s.state[c])));
	json_object_set_new(o, "core-scheduling", json_string(core_text(s.core)));
	return o;
}

static void list_text(void)
{
	puts("Layers:");
	for (unsigned l = 0; l < LAYERS; l++)
		printf("  %-20s %s\n", jail_layer_name(l), jail_layer_purpose(l));
	list_side_channels();
	fflush(stdout);
	for (enum thread_role r = 0; r < THREAD_ROLES; r++) {
		printf("\n%s: %u system calls\n", thread_role_name(r), seccomp_count(r));
		for (size_t i = 0; i < seccomp_ncalls; i++) {
			const struct seccomp_call *c = &seccomp_calls[i];

			if (seccomp_allows(c, r))
				printf("  %-18s %-30s %s\n", c->name, seccomp_rule_text(c->rule),
				       c->why);
		}
	}
}

static json_t *list_role(enum thread_role r)
{
	json_t *calls = json_array();

	for (size_t i = 0; i < seccomp_ncalls; i++) {
		const struct seccomp_call *c = &seccomp_calls[i];

		if (seccomp_allows(c, r))
			json_array_append_new(calls,
					      json_pack("{s:s, s:s, s:b, s:s}", "call", c->name,
							"rule", seccomp_rule_text(c->rule), "rare",
							(int)(c->rare >> r & 1), "why", c->why));
	}
	return json_pack("{s:s, s:i, s:o}", "role", thread_role_name(r), "count",
			 (int)seccomp_count(r), "calls", calls);
}

static void list_json(void)
{
	json_t *layer_list = json_array(), *roles = json_array(), *o;

	for (unsigned l = 0; l < LAYERS; l++)
		json_array_append_new(layer_list,
				      json_pack("{s:s, s:s}", "layer", jail_layer_name(l),
						"purpose", jail_layer_purpose(l)));
	for (enum thread_role r = 0; r < THREAD_ROLES; r++)
		json_array_append_new(roles, list_role(r));
	o = json_pack("{s:o, s:o, s:o}", "layers", layer_list, "side_channels",
		      side_channels_json(), "roles", roles);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static int run(struct options *o)
{
	if (o->list == o->test || (o->test && o->json)) {
		log_error("one of --list, with or without --json, and --test; `twinstep jail "
			  "--help` tells more");
		return EXIT_USAGE;
	}
	if (o->test)
		return jail_test();
	if (o->json)
		list_json();
	else
		list_text();
	return 0;
}

const struct command cmd_jail = {
	.id = COMMAND_JAIL,
	.name = "jail",
	.summary = "show and test what keeps a guest in",
	.usage = "--list [--json] | --test",
	.text = "Shows what the jail of a machine is made of, or proves it.",
	.end = "Exit status: 0; 1 something was not denied.",
	.run = run,
};
