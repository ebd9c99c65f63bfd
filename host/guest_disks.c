// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_disks.h"

#include <unistd.h>

#include "host/disk_keep.h"
#include "host/guest_conf.h"

static json_t *describe(const struct disk_opt *o)
{
	struct disk_meta_identity id = { 0 };
	struct err err = ERR_INIT;
	int ret = disk_keep_peek(o, &id, &err);

	if (ret < 0)
		return json_pack("{s:s, s:s}", "path", o->path, "error", err.text);
	if (ret == 0)
		return json_pack("{s:s, s:s}", "path", o->path, "state", "not kept");
	return json_pack("{s:s, s:s, s:I, s:I}", "path", o->path, "state",
			 disk_meta_state_name(id.state), "bytes", (json_int_t)id.image_bytes,
			 "generation", (json_int_t)id.generation);
}

json_t *guest_disks(const char *path)
{
	char hostname[256] = "";
	struct err err = ERR_INIT;
	struct guest_conf g;
	json_t *disks = NULL;

	gethostname(hostname, sizeof(hostname) - 1);
	if (guest_conf_load(&g, path, hostname, false, &err) == 0 && !g.conf.nfaults) {
		disks = json_array();
		for (unsigned i = 0; i < g.seen.machine.ndisks; i++)
			json_array_append_new(disks, describe(&g.seen.machine.disk[i]));
	}
	guest_conf_free(&g);
	return disks;
}
