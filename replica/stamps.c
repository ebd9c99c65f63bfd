// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/stamps.h"

void stamps_clear(struct stamps *s)
{
	s->n = 0;
}

void stamps_add(struct stamps *s, uint64_t seq, uint64_t now_ns)
{
	if (s->n == STAMPS) {
		s->stamp[(s->first + STAMPS - 1) % STAMPS].seq = seq;
		return;
	}
	s->stamp[(s->first + s->n) % STAMPS] = (struct stamp){ .seq = seq, .ns = now_ns };
	s->n++;
}

void stamps_applied(struct stamps *s, uint64_t applied)
{
	while (s->n && s->stamp[s->first % STAMPS].seq <= applied) {
		s->first++;
		s->n--;
	}
}

uint64_t stamps_lag_ns(const struct stamps *s, uint64_t now_ns)
{
	return s->n ? now_ns - s->stamp[s->first % STAMPS].ns : 0;
}

bool stamps_full(const struct stamps *s)
{
	return s->n == STAMPS;
}
