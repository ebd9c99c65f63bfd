// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep net`: makes and removes what a guest's network needs on this host. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "host/net_ports.h"
#include "tools/cmd.h"

static void this_host(char *name, size_t size)
{
	if (gethostname(name, size))
		name[0] = 0;
	name[size - 1] = 0;
}

static int create(const struct options *o, struct err *err)
{
	static struct guest_conf g;
	char hostname[256];
	int ret;

	this_host(hostname, sizeof(hostname));
	ret = guest_conf_load(&g, o->args[1], hostname, false, err);
	if (ret == 0 && g.conf.nfaults)
		ret = err_set(err, EINVAL, "%s", g.conf.fault[0]);
	if (ret == 0)
		ret = net_ports_create(&g, o->user, stdout, err);
	guest_conf_free(&g);
	return ret;
}

/* Removes a guest's ports also when its file is gone, or wrong by now. */
static int delete (const struct options *o, struct err *err)
{
	static struct guest_conf g;
	struct err ignored = ERR_INIT;
	char hostname[256];
	bool has_file;
	int ret;

	this_host(hostname, sizeof(hostname));
	has_file = guest_conf_load(&g, o->args[1], hostname, false, &ignored) == 0;
	if (!has_file && !guest_name_is_good(o->args[1]))
		ret = err_set(err, ignored.code, "%s", ignored.text);
	else if (has_file && !guest_name_is_good(g.name))
		ret = err_set(err, EINVAL, "%s", g.conf.fault[0]);
	else
		ret = net_ports_delete(has_file ? g.name : o->args[1],
				       has_file && !g.conf.nfaults ? &g : NULL, stdout, err);
	guest_conf_free(&g);
	return ret;
}

static int run(struct options *o)
{
	struct err err = ERR_INIT;
	int ret;

	if (!strcmp(o->args[0], "create"))
		ret = create(o, &err);
	else if (!strcmp(o->args[0], "delete"))
		ret = delete (o, &err);
	else
		ret = err_set(&err, EINVAL, "'%s' is neither create nor delete", o->args[0]);
	if (ret == 0)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

const struct command cmd_net = {
	.id = COMMAND_NET,
	.name = "net",
	.summary = "make, or remove, what a guest's network needs on this host",
	.usage = "create|delete NAME|FILE [--user USER]",
	.text = "create: makes the tap interfaces of the guest's configuration that are not there, "
		"puts each into the bridge and VLAN that its line names, as net = "
		"tap:NAME,bridge=BRIDGE,vlan=N, and brings it up. delete: removes what create has "
		"made for this guest, and nothing else. Both may be repeated.",
	.end = "Exit status: 0; 2 it cannot be done, and says why.",
	.min_args = 2,
	.max_args = 2,
	.run = run,
};
