// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a guest's configuration file. Each fault has a place inside the file; what is right is
 * right for both of its hosts or says why not, and the roles' command lines can be made of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/argv.h"
#include "host/guest_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_faults(const struct guest_conf *g, const char *text, size_t size)
{
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	for (unsigned i = 0; i < g->conf.nfaults; i++) {
		must(!strncmp(g->conf.fault[i], "web.conf:", 9));
		must(g->conf.fault_line[i] >= 1 && g->conf.fault_line[i] <= lines);
		must(!i || g->conf.fault_line[i] >= g->conf.fault_line[i - 1]);
	}
}

static void make_lines(const struct guest_conf *g)
{
	for (enum command_id role = COMMAND_PRIMARY; role <= COMMAND_BACKUP; role++) {
		struct argv a = { 0 };
		const struct option_row *row;
		const char *value;
		unsigned i = 0;

		while (a.n < OPTIONS_GIVEN && (row = guest_conf_next(g, role, &i, &value))) {
			must(!row->arg == !value);
			argv_add_option(&a, row, value);
		}
		argv_free(&a);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = { "alpha", "beta.example.org" };
	static struct guest_conf g;

	for (unsigned i = 0; i < 2; i++) {
		guest_conf_read(&g, "web.conf", (const char *)data, size, hosts[i]);
		check_faults(&g, (const char *)data, size);
		if (!g.conf.nfaults) {
			must(g.connect && g.seen.replica.listen && g.seen.machine.kernel);
			make_lines(&g);
		}
		guest_conf_free(&g);
	}
	return 0;
}
