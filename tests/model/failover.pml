/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two replicas, an arbiter, and everything that may go wrong (docs/failover.md). Each alternative of
 * a replica's loop is a step of one of its threads; that steps interleave freely is what a freeze,
 * a busy host and a slow network do. Time is there in one form only: when a backup has waited for
 * the timeout, every lease that its acknowledgements could give is over (lease_ends).
 *
 * Claims, in every reachable state:
 *   - at most one replica may send (may_send);
 *   - what leaves, leaves a replica that holds the last generation that either of them took (leave);
 *   - a replica that goes live has the record of everything that ever left (win);
 *   - no event meets a state for which the table says that it cannot happen (step).
 *
 * BROKEN_... leave out one rule each; tests/model/failover.sh shows that each is missed.
 */
#include "table.pml"

inline step(s, e)
{
	assert(NEXT(s, e) != NEVER);
	s = NEXT(s, e)
}

#ifndef RECORDS
#define RECORDS 2 /* made at most */
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef STRANGERS
#define STRANGERS 0 /* that take the next generation, and are never live */
#endif
#ifndef DISMISSALS
#define DISMISSALS 0 /* of a backup that another one is to replace */
#endif
#define NOBODY 2
#define STRANGER 3
#define OTHER (1 - i)

byte st[2];
bool up[2] = true;    /* its process runs */
byte gen[2];
byte made[2];	      /* last record; of a backup: last one received */
byte acked[2];	      /* live side: last record that the backup has */
byte count_from[2];   /* live side: the backup is told when it has this one */
byte held[2];	      /* record that the oldest waiting output needs; 0: none waits */
bool lease[2];
bool direct[2];	      /* vCPU thread: has found that an output need not wait, and will send it */
bool announcing[2];   /* acceptor: the same, with the right to send */
byte flying[2];	      /* receiver: has taken an output from the list, with the right to send */
bool session[2];      /* live side: a backup is present */
bool bye[2];	      /* live side: the guest has ended */

/* The connection. One message each way is under way at most; its numbers are cumulative. */
bool closed;	      /* by the live side, or because its process is gone */
bool loaded;	      /* READY was said */
bool down, down_told, down_bye, ack, ack_told, ack_fresh, ack_diverged, ack_bye;
byte down_seq, ack_seq;

byte generation, owner = NOBODY; /* the arbiter: the last one, and whose it is */
bool marked;			 /* its owner took it while it counted on the other one */
bool asked;			 /* the live side has said SWITCH: it says nothing more */
byte took;			 /* the other one has said SWITCHED, in this generation */
byte left;			 /* the highest record that an output needed which has left */
bool over[2];	      /* since its generation the other one took one without the mark */
byte heal_at[2];      /* live side's acceptor: has seen a stranger's, and will take this one; 0: no */
byte heir = NOBODY, since; /* who of the two may be live, from which generation on */
byte restarts, switches, strangers, dismissals;
byte survivor; /* of a divergence: 0 the live side, 1 the backup, 2 nobody */

/* The right to send is somebody's. */
#define SENDING(i) (announcing[i] || flying[i])
#define MAY_SEND(i) (up[i] && (OPEN(st[i]) && st[i] != STARTING || LEASED(st[i]) && lease[i]))

#ifdef BROKEN_LEASE
#define LEASE(i) true
#else
#define LEASE(i) lease[i]
#endif
#ifdef BROKEN_OUTLAST
#define OUTLAST skip
#else
#define OUTLAST lease_ends()
#endif
#ifdef BROKEN_COUNT
#define MORE 0
#else
#define MORE 1
#endif
#ifdef BROKEN_ANNOUNCE
#define FREE_TO_HEAR(i) !flying[i]
#else
#define FREE_TO_HEAR(i) !SENDING(i)
#endif
#ifdef BROKEN_ARBITER
#define TAKE(i) win(i)
#else
#define TAKE(i) take(i)
#endif

/* The last one was taken by one of the two, and it and those before with the mark, or by strangers. */
#ifdef BROKEN_MARK
#define MOVED(i) (generation > gen[i] && (owner == OTHER || owner == i))
#else
#define MOVED(i) (generation > gen[i] && (owner == OTHER || owner == i) && marked && !over[i])
#endif
#ifdef BROKEN_PASSED
#define PASSED(i) false
#else
#define PASSED(i) over[i]
#endif
#define COUNTS(i) (st[i] == COUNTED_ON || st[i] == PROTECTED)

inline leave(i, needs)
{
	assert(heir == i && gen[i] >= since);
	left = (needs > left -> needs : left)
}

inline lease_ends()
{
	lease[0] = false; lease[1] = false; ack_fresh = false
}

inline forget_connection()
{
	closed = false; loaded = false;
	down = false; down_told = false; down_bye = false; down_seq = 0;
	ack = false; ack_told = false; ack_fresh = false; ack_diverged = false; ack_bye = false;
	ack_seq = 0;
	asked = false; took = 0
}

inline end_session(i)
{
	session[i] = false;
	lease[i] = false;
	closed = true
}

/* The live side loses its backup: first the state, with the right to send, then the end. */
inline lose(i, e)
{
	step(st[i], e);
	end_session(i)
}

inline win(i)
{
	assert(st[i] == ASKING || left <= made[i]);
	step(st[i], E_WON)
}

/* The generation after the one that it is, or was following, in. */
inline take(i)
{
	if
	:: generation == gen[i] ->
		generation++;
		owner = i;
		marked = (st[i] == TAKING_OVER);
		over[OTHER] = over[OTHER] || !marked;
		over[i] = false;
		heir = i;
		since = generation;
		gen[i] = generation;
		win(i)
	/* it was taken to dismiss the backup: the arbiter says so again */
	:: generation == gen[i] + 1 && owner == i && !marked && !over[i] -> gen[i] = generation; win(i)
	:: MOVED(i) -> assert(left <= made[i]); step(st[i], E_MOVED); gen[i] = generation
	:: else -> step(st[i], E_TAKEN)
	fi
}

/* ---- the two change places ---- */

/* Every record is on its way, and behind them SWITCH: the other one hears both at once. */
inline offer(i)
{
	step(st[i], E_SWITCH);
	lease[i] = false;
	down = true; down_seq = made[i]; down_told = true;
	asked = true
}

/* Its own acknowledgements do not come back; copies of what was made behind the last record wait. */
inline take_over(i)
{
	take(i);
	if
	:: st[i] == COUNTED_ON ->
		session[i] = true; acked[i] = made[i]; count_from[i] = made[i];
		held[i] = made[i] + 1;
		ack = false; ack_told = false; ack_fresh = false; ack_seq = 0;
		took = gen[i]
	:: else
	fi
}

inline follow(i)
{
	step(st[i], E_SWITCHED);
	gen[i] = took; over[i] = false;
	session[i] = false; lease[i] = false; held[i] = 0;
	asked = false; took = 0
}

/* ---- a stranger takes a generation ---- */

inline stranger()
{
	strangers++;
	generation++;
	owner = STRANGER;
	marked = false
}

/* If nobody was faster. The answer may be lost. */
inline heal(i)
{
	if
	:: generation + 1 == heal_at[i] ->
		generation++;
		owner = i;
		marked = true;
		if
		:: COUNTS(i) -> step(st[i], E_MOVED); gen[i] = generation
		:: true
		fi
	:: else
	fi;
	heal_at[i] = 0
}

/*
 * The next generation before the backup is lost, which may happen at any time from here on. It has
 * no mark: the backup cannot go on any more. An answer that was lost is no step of its own: the
 * backup is lost then, too, and whether the generation was taken shows when the arbiter is asked.
 */
inline dismiss(i)
{
	dismissals++;
	generation++;
	owner = i;
	marked = false;
	over[OTHER] = true
}

/* ---- the live side ---- */

inline note_ack(i)
{
	acked[i] = (ack_seq > acked[i] -> ack_seq : acked[i]);
	lease[i] = lease[i] || ack_fresh;
	if
	:: st[i] == COUNTED_ON && ack_told -> step(st[i], E_HEARD)
	:: else
	fi;
	ack = false; ack_seq = 0; ack_fresh = false; ack_told = false
}

inline hold(i)
{
	count_from[i] = made[i] + MORE;
	lease[i] = false;
	step(st[i], E_FOLLOWS)
}

inline diverged(i)
{
	if
	:: survivor == 0 || survivor == 1 && st[i] != PROTECTED && st[i] != HANDING_OVER -> lose(i, E_STAY)
	:: else -> lose(i, E_YIELD)
	fi
}

inline send_stamp(i)
{
	down = true;
	down_seq = made[i];
	down_bye = bye[i] && LEASED(st[i]);
	if
	:: st[i] == HOLDING && acked[i] >= count_from[i] -> step(st[i], E_TELL)
	:: else
	fi;
	down_told = (st[i] == COUNTED_ON || st[i] == PROTECTED)
}

/* ---- the side that follows ---- */

inline hear(i)
{
	made[i] = (down_seq > made[i] -> down_seq : made[i]);
	if
	:: down_told -> step(st[i], E_COUNTED)
	:: else
	fi;
	if
	:: down_bye -> step(st[i], E_END); ack_bye = true
	:: else -> ack = true; ack_seq = made[i]; ack_told = down_told; ack_fresh = true
	fi;
	down = false; down_told = false; down_bye = false; down_seq = 0
}

inline diverge(i)
{
	ack_diverged = true;
	if
	:: survivor == 1 -> lease_ends(); step(st[i], E_STAY)
	:: else -> step(st[i], E_YIELD)
	fi
}

/*
 * The live side gives its state, at a sync point of its vCPU thread: no output is on its way past the
 * outbox. A backup whose connection was cut before it had the state dials again, and is LOADING still.
 */
#define GIVES(i) (up[i] && st[i] == ALONE && !session[i] && !bye[i] && !direct[i])
inline receive_state(i)
{
	forget_connection();
	gen[i] = gen[OTHER]; over[i] = false;
	made[i] = made[OTHER];
	acked[OTHER] = made[OTHER];
	lease[OTHER] = false;
	session[OTHER] = true;
	step(st[OTHER], E_JOIN)
}

/* ---- both ---- */

inline crash(i)
{
	closed = closed || session[i];
	up[i] = false;
	session[i] = false; lease[i] = false; held[i] = 0; flying[i] = 0;
	direct[i] = false; announcing[i] = false; bye[i] = false;
	gen[i] = 0; made[i] = 0; acked[i] = 0; count_from[i] = 0;
	over[i] = false; heal_at[i] = 0;
	st[i] = ENDED
}

inline restart(i)
{
	restarts++;
	owner = (owner == i -> NOBODY : owner);
	heir = (heir == i -> NOBODY : heir);
	up[i] = true;
	st[i] = STARTING
}

#define LIVE(i)    (OPEN(st[i]) && st[i] != STARTING || LEASED(st[i]))
#define RUNS(i)	   (LIVE(i) || st[i] == ASKING)
#define FOLLOWS(i) (st[i] == FOLLOWING || st[i] == BACKUP)
#define ASKS(i)	   (st[i] == ASKING || st[i] == CLAIMING)
#ifndef SWITCHES
#define SWITCHES 1
#endif
/* It may leave by what the replica knows. */
#define MAY_LEAVE(i) (OPEN(st[i]) || LEASED(st[i]) && LEASE(i))

proctype replica(byte i)
{
	do
	/* vCPU thread: an output that need not wait; one that must; a record; the end of the guest */
	:: atomic { RUNS(i) && !bye[i] && !direct[i] && OPEN(st[i]) && !held[i] && !flying[i] ->
		direct[i] = true }
	:: atomic { direct[i] -> leave(i, made[i] + 1); direct[i] = false }
	:: atomic { RUNS(i) && !bye[i] && !direct[i] && !OPEN(st[i]) && !held[i] ->
		held[i] = made[i] + 1 }
	:: atomic { RUNS(i) && !bye[i] && !direct[i] && made[i] < RECORDS -> made[i]++ }
	:: atomic { !bye[i] && !direct[i] && LEASED(st[i]) && session[i] -> bye[i] = true }

	/* acceptor */
	:: atomic { LIVE(i) && OPEN(st[i]) && !SENDING(i) -> announcing[i] = true }
	:: atomic { announcing[i] -> leave(i, 0); announcing[i] = false }

	:: atomic { COUNTS(i) && !heal_at[i] && generation > gen[i] && owner == STRANGER && !PASSED(i) ->
		heal_at[i] = generation + 1 }
	:: atomic { heal_at[i] -> heal(i) }
	:: atomic { COUNTS(i) && !heal_at[i] && generation == gen[i] && dismissals < DISMISSALS -> dismiss(i) }
	:: atomic { COUNTS(i) && generation > gen[i] && owner == i && marked && !over[i] ->
		step(st[i], E_MOVED); gen[i] = generation }

	/* receiver; the send itself is before the end of the lease, or does not happen (rseq) */
	:: atomic { session[i] && ack && FREE_TO_HEAR(i) -> note_ack(i) }
	:: atomic { session[i] && st[i] == JOINING && loaded && FREE_TO_HEAR(i) -> hold(i) }
	:: atomic { RUNS(i) && held[i] && !SENDING(i) && MAY_LEAVE(i) &&
			(OPEN(st[i]) || held[i] <= acked[i]) ->
		flying[i] = held[i]; held[i] = 0 }
	:: atomic { flying[i] && (OPEN(st[i]) || LEASE(i)) -> leave(i, flying[i]); flying[i] = 0 }
	:: atomic { flying[i] && !OPEN(st[i]) && !LEASE(i) -> held[i] = flying[i]; flying[i] = 0 }
	:: atomic { session[i] && ack_bye && !SENDING(i) -> lose(i, E_BYE) }
	:: atomic { session[i] && ack_diverged && !SENDING(i) -> diverged(i) }

	/* sender or receiver: silence, a damaged frame, an end: whatever it sees, whenever */
#ifdef BROKEN_CLOSE
	:: atomic { session[i] && !ack_bye && !closed -> closed = true }
	:: atomic { session[i] && !ack_bye && closed && !SENDING(i) -> lose(i, E_LOST) }
#else
	:: atomic { session[i] && !ack_bye && !SENDING(i) -> lose(i, E_LOST) }
#endif
	:: atomic { session[i] && loaded && !down && !asked -> send_stamp(i) }

	/* the side that follows; its stream ends behind what was sent, or instead of it */
	:: atomic { st[i] == LOADING && !closed -> step(st[i], E_READY); loaded = true }
	:: atomic { st[i] == LOADING && closed -> step(st[i], E_LOST) }
	:: atomic { FOLLOWS(i) && down && !ack -> hear(i) }
	:: atomic { FOLLOWS(i) && closed -> step(st[i], E_LOST) }
	/* silence, a damaged frame: it acknowledges nothing more, and outlasts the lease */
	:: atomic { FOLLOWS(i) -> OUTLAST; step(st[i], E_LOST) }
	:: atomic { FOLLOWS(i) && !closed -> diverge(i) }

	/* the two change places, at a sync point of the vCPU thread */
	:: atomic { session[i] && st[i] == PROTECTED && !bye[i] && !direct[i] && !SENDING(i) && !down &&
			switches < SWITCHES -> switches++; offer(i) }
	:: atomic { st[i] == BACKUP && asked && !down -> step(st[i], E_SWITCH) }
	:: atomic { st[i] == TAKING_OVER -> take_over(i) }
	:: atomic { st[i] == TAKING_OVER -> step(st[i], E_UNKNOWN) }
	:: atomic { session[i] && st[i] == HANDING_OVER && took -> follow(i) }

	/* both */
	:: atomic { up[i] && st[i] == STARTING && GIVES(OTHER) -> step(st[i], E_LOAD); receive_state(i) }
	:: atomic { up[i] && st[i] == LOADING && closed && GIVES(OTHER) -> receive_state(i) }
	:: atomic { ASKS(i) -> TAKE(i) }
	:: atomic { ASKS(i) -> step(st[i], E_UNKNOWN) }
	:: atomic { up[i] && st[i] != STARTING -> crash(i) }
	:: atomic { !up[i] && restarts < RESTARTS -> restart(i) }
	:: atomic { i == 0 && strangers < STRANGERS -> stranger() }
	od
}

/* Time goes by. */
proctype clock()
{
	do
	:: atomic { lease[0] || lease[1] || ack_fresh -> lease_ends() }
	od
}

proctype monitor()
{
	atomic { MAY_SEND(0) && MAY_SEND(1) -> assert(false) }
}

init
{
	d_step { fill_table() }
	atomic {
		generation = 1;
		owner = 0;
		heir = 0;
		since = 1;
		gen[0] = 1;
		step(st[0], E_START);
		select(survivor : 0 .. 2);
		run replica(0);
		run replica(1);
		run clock();
		run monitor()
	}
}
