// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints the table of replica/failover.c as Promela, for tests/model/failover.pml: states, events,
 * what the outbox does in each state, and which state comes next. What the model checker walks is
 * so what the program does.
 */
#include <ctype.h>
#include <stdio.h>

#include "replica/failover.h"

static void print_name(const char *prefix, const char *name)
{
	fputs(prefix, stdout);
	for (; *name; name++)
		putchar(isalnum((unsigned char)*name) ? toupper((unsigned char)*name) : '_');
}

static void print_names(void)
{
	for (int s = 0; s < REPLICA_STATES; s++) {
		print_name("#define ", replica_state_name((enum replica_state)s));
		printf(" %d\n", s);
	}
	for (int e = 0; e < FAILOVER_EVENTS; e++) {
		print_name("#define E_", failover_event_name((enum failover_event)e));
		printf(" %d\n", e);
	}
}

static void print_mode(const char *name, enum outbox_mode mode)
{
	printf("#define %s(s) (false", name);
	for (int s = 0; s < REPLICA_STATES; s++) {
		if (failover_outbox_mode((enum replica_state)s) == mode)
			printf(" || s == %d", s);
	}
	puts(")");
}

/* An array that is not part of the state that the checker keeps: it never changes. */
static void print_table(void)
{
	printf("#define NEVER 255\nhidden byte table[%d];\ninline fill_table()\n{\n",
	       REPLICA_STATES * FAILOVER_EVENTS);
	for (int s = 0; s < REPLICA_STATES; s++) {
		for (int e = 0; e < FAILOVER_EVENTS; e++) {
			int next = failover_next((enum replica_state)s, (enum failover_event)e);

			printf("\ttable[%d] = %d;\n", s * FAILOVER_EVENTS + e,
			       next < 0 ? 255 : next);
		}
	}
	puts("\tskip\n}");
	printf("#define NEXT(s, e) table[(s) * %d + (e)]\n", FAILOVER_EVENTS);
}

int main(void)
{
	print_names();
	print_mode("OPEN", OUTBOX_OPEN);
	print_mode("LEASED", OUTBOX_LEASED);
	print_table();
	return 0;
}
