/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the other side may be silent before it counts as lost: between --timeout and
 * --max-timeout, as delays in the last minutes suggest.
 *
 * An acknowledgement echoes the newest stamp that the backup had received. The age of that stamp,
 * when the acknowledgement arrives, includes every delay between the two sides: packets that were
 * lost and sent again, and threads that their host did not run in time. The other side counts as
 * lost after a silence of three times the largest age of the last ten to twenty minutes. So a host
 * that becomes busy, or a link that begins to lose packets, is borne and does not cost a replica.
 *
 * Both sides must agree on this time; otherwise the backup could go live while outputs of the live
 * side still leave. So each stamp says how long the backup has to bear silence after it, and the
 * lease that follows from its echo uses the same time: patience_of(). A backup never goes live
 * before the end of the longest time that any stamp has said, so a later stamp with a shorter time
 * is safe as well.
 */
#ifndef REPLICA_PATIENCE_H
#define REPLICA_PATIENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_TURN_NS (600ull * 1000000000)

struct patience {
	unsigned least_ms, most_ms; /* constant */
	atomic_uint now_ms;	    /* any thread may read it; the link's lock guards the rest */
	/* stamps made after this time say now_ms; all others say at least least_ms */
	uint64_t changed_ns;
	/* when the present period of ten minutes began */
	uint64_t turned_ns;
	uint64_t worst_ns, before_ns; /* largest age since turned_ns, and in the period before */
};

/* Sets the bounds. most_ms 0 or below least_ms: the time is always least_ms. */
void patience_init(struct patience *p, unsigned least_ms, unsigned most_ms);
/*
 * Notes the age of a stamp. clock_ns: now, by the clock of stamps, read with the lock held. True:
 * the next stamp says another time than before. Called with the lock held.
 */
bool patience_note(struct patience *p, uint64_t age_ns, uint64_t clock_ns);
/*
 * Silence, in ns, that the backup bears after a stamp. A stamp's time is read before the lock is
 * taken, so a stamp whose time is exactly that of a change may say less; it counts as least_ms.
 * Called with the lock held.
 */
uint64_t patience_of(const struct patience *p, uint64_t stamp_ns);
static inline unsigned patience_ms(const struct patience *p)
{
	return atomic_load_explicit(&p->now_ms, memory_order_relaxed);
}

#endif
