/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time for which the other side may be silent before it counts as lost: from --timeout to
 * --max-timeout, as the last minutes were.
 *
 * An acknowledgement echoes the newest stamp that the backup had heard. The age of that stamp, when
 * the acknowledgement is taken, is all that stands between the two: a packet that was lost and sent
 * again, a thread of either side that its host did not let run. Silence counts as death after three
 * times the largest age of the last ten to twenty minutes, and so a host that becomes busy, or a
 * link that begins to lose packets, is borne before it costs a replica.
 *
 * Both sides have to agree, or the backup would go live while the live side's outputs still leave.
 * So each stamp says how long the backup shall bear silence after it, and only what a stamp has
 * said counts for the lease that its echo gives: patience_of(). A backup never goes live before the
 * end of what any stamp has said, so a shorter time is safe as well.
 */
#ifndef REPLICA_PATIENCE_H
#define REPLICA_PATIENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_TURN_NS (600ull * 1000000000)

struct patience {
	unsigned least_ms, most_ms; /* constant */
	atomic_uint now_ms;	    /* any thread looks; the rest is with the lock of the link */
	uint64_t changed_ns;	    /* stamps after that say now_ms, all others at least least_ms */
	uint64_t turned_ns;
	uint64_t worst_ns, before_ns; /* ages, since it turned and in the turn before */
};

/* most_ms: 0, or below least_ms: always least_ms. */
void patience_init(struct patience *p, unsigned least_ms, unsigned most_ms);
/*
 * Notes an age. clock_ns: time of the clock of stamps, read with the lock. True: the next stamp
 * says another time. With the lock.
 */
bool patience_note(struct patience *p, uint64_t age_ns, uint64_t clock_ns);
/*
 * Silence, in ns, that the backup bears after a stamp. A stamp's time is read before the lock is
 * taken, and so one of the very time of a change may have said less. With the lock.
 */
uint64_t patience_of(const struct patience *p, uint64_t stamp_ns);
static inline unsigned patience_ms(const struct patience *p)
{
	return atomic_load_explicit(&p->now_ms, memory_order_relaxed);
}

#endif
