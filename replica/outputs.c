// SPDX-License-Identifier: GPL-2.0-or-later
/* Outputs that wait: a list in the order in which the guest made them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "replica/replica_private.h"

#define CONSOLE_MERGE 256 /* serial ports speak byte by byte */

static bool held_merge(struct held_list *l, uint64_t needs, const struct output *out)
{
	struct held_output *h = l->last;

	if (!h || out->kind == OUTPUT_NET_TX || h->needs != needs || h->out.kind != out->kind ||
	    h->out.port != out->port || h->out.len + out->len > h->cap)
		return false;
	memcpy(h->data + h->out.len, out->data, out->len);
	h->out.len += out->len;
	l->bytes += out->len;
	return true;
}

void held_add(struct held_list *l, uint64_t needs, const struct output *out)
{
	size_t cap =
		out->kind == OUTPUT_NET_TX || out->len > CONSOLE_MERGE ? out->len : CONSOLE_MERGE;
	struct held_output *h;

	if (held_merge(l, needs, out))
		return;
	h = malloc(sizeof(*h) + cap);
	must(h != NULL);
	*h = (struct held_output){ .needs = needs, .out = *out, .cap = cap };
	if (out->len)
		memcpy(h->data, out->data, out->len);
	h->out.data = h->data;
	if (l->last)
		l->last->next = h;
	else
		l->first = h;
	l->last = h;
	l->n++;
	l->bytes += out->len;
}

struct held_output *held_take(struct held_list *l, uint64_t seq)
{
	struct held_output *h = l->first;

	if (!h || h->needs > seq)
		return NULL;
	l->first = h->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	l->bytes -= h->out.len;
	return h;
}

void held_drop(struct held_list *l, uint64_t seq)
{
	struct held_output *h;

	while ((h = held_take(l, seq)))
		free(h);
}
