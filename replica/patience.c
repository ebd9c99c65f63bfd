// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/patience.h"

#define AGES	       3 /* silence counts as death after this multiple of the largest age */
#define PATIENCE_MS_NS 1000000ull

void patience_init(struct patience *p, unsigned least_ms, unsigned most_ms)
{
	*p = (struct patience){ .least_ms = least_ms,
				.most_ms = most_ms > least_ms ? most_ms : least_ms };
	atomic_store(&p->now_ms, least_ms);
}

static unsigned wanted_ms(const struct patience *p)
{
	uint64_t worst = p->worst_ns > p->before_ns ? p->worst_ns : p->before_ns;
	uint64_t ms = worst / PATIENCE_MS_NS;

	ms = ms < p->most_ms ? ms * AGES : p->most_ms;
	return ms < p->least_ms ? p->least_ms : ms > p->most_ms ? p->most_ms : (unsigned)ms;
}

bool patience_note(struct patience *p, uint64_t age_ns, uint64_t clock_ns)
{
	unsigned ms;

	if (clock_ns - p->turned_ns >= PATIENCE_TURN_NS) {
		p->before_ns = clock_ns - p->turned_ns < 2 * PATIENCE_TURN_NS ? p->worst_ns : 0;
		p->worst_ns = 0;
		p->turned_ns = clock_ns;
	}
	if (age_ns > p->worst_ns)
		p->worst_ns = age_ns;
	ms = wanted_ms(p);
	if (ms == patience_ms(p))
		return false;
	atomic_store(&p->now_ms, ms);
	p->changed_ns = clock_ns;
	return true;
}

uint64_t patience_of(const struct patience *p, uint64_t stamp_ns)
{
	return (stamp_ns > p->changed_ns ? patience_ms(p) : p->least_ms) * PATIENCE_MS_NS;
}
