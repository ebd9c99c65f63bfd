// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: ask ARBITER      (tests/e2e/etcd.py)
 *
 * Asks an arbiter through its keeper, as a replica in a jail does. Lines of standard input:
 *	take GENERATION ID | owner GENERATION | last	ID: a number from 0 to 255
 * Each is answered by a line: result, owner's number or last generation, milliseconds, error.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "isolation/keeper.h"
#include "replica/arbiter.h"

static void answer(struct arbiter *a, const char *line)
{
	uint64_t generation = 0, start = host_mono_ns();
	uint8_t id[ARBITER_ID_LEN] = { 0 };
	struct err err = ERR_INIT;
	unsigned number = 0;
	int ret;

	if (sscanf(line, "take %" SCNu64 " %u", &generation, &number) == 2) {
		id[0] = (uint8_t)number;
		ret = arbiter_take(a, generation, id, &err);
	} else if (sscanf(line, "owner %" SCNu64, &generation) == 1) {
		ret = arbiter_owner(a, generation, id, &err);
		number = id[0];
	} else {
		ret = arbiter_last(a, &generation, &err);
		number = (unsigned)generation;
	}
	printf("%d %u %" PRIu64 " %s\n", ret, number, (host_mono_ns() - start) / 1000000, err.text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct arbiter *a = argc == 2 ? arbiter_open(argv[1], &err) : NULL;
	struct keeper_post post;
	struct keeper *k;
	char line[100];

	if (!a) {
		fprintf(stderr, "%s\n", argc == 2 ? err.text : "usage: ask ARBITER");
		return 2;
	}
	post = arbiter_post(a);
	k = keeper_start(&post, &err);
	if (!k) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	arbiter_delegate(a, k);
	while (fgets(line, sizeof(line), stdin))
		answer(a, line);
	keeper_end(k);
	arbiter_close(a);
	return 0;
}
