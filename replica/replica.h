/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A replica of a pair. It starts as primary or as backup. A backup whose primary is gone becomes
 * live; a live replica that listens accepts a new backup. failover.h has its states.
 */
#ifndef REPLICA_REPLICA_H
#define REPLICA_REPLICA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/version.h"
#include "hypervisor/machine.h"
#include "net/peer.h"
#include "record/live.h"
#include "replica/arbiter.h"
#include "replica/disk_sync.h"
#include "replica/snapshot.h"
#include "replica/verify.h"

enum replica_state {
	REPLICA_STARTING, /* has neither a generation nor a primary */
	REPLICA_ALONE,	  /* live, unprotected */
	REPLICA_JOINING,  /* live, unprotected: a backup takes over the state */
	/*
	 * live: outputs wait for a backup that follows and has not been told that it is counted on
	 */
	REPLICA_HOLDING,
	REPLICA_COUNTED_ON,   /* live: the backup is being told that it is counted on */
	REPLICA_PROTECTED,    /* live: the backup knows that it is counted on */
	REPLICA_HANDING_OVER, /* gives the guest to the backup, which is to go live; nothing leaves
			       */
	REPLICA_ASKING,	      /* the backup is lost; asks the arbiter, and nothing leaves */
	REPLICA_LOADING,      /* takes over the primary's state */
	REPLICA_FOLLOWING,    /* replays, and is not counted on yet */
	REPLICA_BACKUP,	      /* replays, and goes live when the primary is lost */
	REPLICA_TAKING_OVER,  /* is given the guest and asks the arbiter */
	REPLICA_CLAIMING,     /* the primary is lost; asks the arbiter */
	REPLICA_FENCED,	      /* another one is live: stops for good */
	REPLICA_ENDED,
	REPLICA_STATES
};

/* The replica that goes on after a divergence. */
enum replica_survivor { SURVIVOR_PRIMARY, SURVIVOR_BACKUP, SURVIVOR_NOBODY };

struct replica_config {
	const char *listen; /* address at which a backup may join; NULL: none can join */
	/* backup: the primary's address; NULL: waits until a primary connects */
	const char *connect;
	const struct peer_key *key; /* NULL: no authentication */
	struct arbiter *arbiter;
	unsigned timeout_ms; /* silence after which the peer counts as dead, at least */
	/* ... and at most (replica/patience.h); 0: the same as timeout_ms */
	unsigned max_timeout_ms;
	unsigned hang_timeout_ms; /* a peer whose vCPU makes no progress for so long counts as dead
				   */
	unsigned max_lag_ms;	  /* the guest waits while the backup is further behind than this */
	/*
	 * a backup that holds the guest up for longer is given up; 0: longer than 500 ms and than
	 * silence may last
	 */
	unsigned max_stall_ms;
	/* ... as is one that lets the guest run for less than this percentage of the time */
	unsigned min_speed;
	uint64_t epoch_ns; /* virtual time between digests */
	enum replica_survivor on_divergence;
	bool wait_for_backup;	  /* primary: the guest starts only when a backup has joined */
	unsigned connect_wait_ms; /* backup: how long to try to reach the primary */
	/*
	 * Backup: connects to the primary again when the connection is cut during the join; the new
	 * peer is not greeted yet. Returns NULL and err when the primary cannot be reached now.
	 * redial itself NULL: no new connection is tried.
	 */
	struct peer *(*redial)(void *ctx, struct err *err);
	void *redial_ctx;
	/* outputs wait until the backup has executed, not only received, the records before them */
	bool durable_both;
	/*
	 * the guest sees a disk's error; else the side whose disk fails ends, if the other side
	 * follows
	 */
	bool disk_error_to_guest;
	/*
	 * primary: uses its disks whatever their metadata says; backup: gives up its disks' content
	 */
	bool force;
	unsigned max_pause_ms;	  /* how long the guest may stand still when a backup joins */
	unsigned join_timeout_ms; /* a join that takes longer is reported as an event */
	uint64_t scrub_ns;	  /* disks are compared every so often; 0: never by themselves */
	uint64_t sync_rate;	  /* bytes of disks per second to a joining backup; 0: no limit */
	/*
	 * Returns true when the id is that of an earlier replica of this host that has ended. NULL:
	 * no such ids are known.
	 */
	bool (*ours)(void *ctx, const uint8_t id[ARBITER_ID_LEN]);
	void *ours_ctx;
	/*
	 * events, one JSON object per line, written to the file's descriptor, which must be
	 * non-blocking; NULL: none
	 */
	FILE *events;
	/*
	 * NICs, consoles and seed, as for a machine without a pair. The replica sets clock, epoch
	 * and hooks itself.
	 */
	struct live_config live;
	/*
	 * Backup: makes the machine that the primary describes, and fills in NICs and consoles of
	 * *live. The engine must count in the primary's unit (`counter`) and, if several do, should
	 * show guests the same traits (NULL: not known). NULL and err: this host cannot run such a
	 * machine.
	 */
	struct machine *(*create)(void *ctx, const struct machine_config *c, const char *counter,
				  const struct traits *traits, const struct output_sink *sink,
				  struct live_config *live, struct err *err);
	void *create_ctx;
	/*
	 * Ends the process, when the vCPU thread hangs and another replica is live. Called from any
	 * thread; it need not return.
	 */
	void (*abandon)(void *ctx);
	void *abandon_ctx;
};

struct replica;

struct replica *replica_create(const struct replica_config *config, struct err *err);
void replica_destroy(struct replica *r);
/* The replica's id at the arbiter, ARBITER_ID_LEN bytes. */
const uint8_t *replica_id(const struct replica *r);
/*
 * The sink for machine_create(): it holds outputs until the backup has the records that explain
 * them.
 */
struct output_sink replica_sink(struct replica *r);

/*
 * Tells the replica of the machine's disks, before it runs. record: the replica stores the number
 * of the last record there, for the disks; it must live as long as they do.
 */
void replica_set_disks(struct replica *r, const struct disk_sync_disk *disks, unsigned n,
		       atomic_uint_fast64_t *record);

/* Listens for a backup at the configured address. 0, or -errno and err. */
int replica_listen(struct replica *r, struct err *err);
/*
 * Backup: connects to the primary's address, if it was given one, without shaking hands yet. 0, or
 * -errno and err.
 */
int replica_connect(struct replica *r, struct err *err);

/*
 * Runs a primary. The machine is in its start state and was created with replica_sink(). Returns
 * when the machine ends or the replica is fenced (0 and *end), or something fails (-errno and err).
 */
int replica_run_primary(struct replica *r, struct machine *m, enum machine_end *end,
			struct err *err);
/*
 * Backup: shakes hands with the primary and takes over its state. *m is the new machine, which the
 * caller owns. 0, or -errno and err.
 */
int replica_join(struct replica *r, struct machine **m, struct err *err);
/*
 * Runs a backup that has joined and, after a failover, the live machine. Result as of
 * replica_run_primary().
 */
int replica_run_backup(struct replica *r, enum machine_end *end, struct err *err);
/* Asks for an orderly end of the pair. From any thread and from signal handlers. */
void replica_stop(struct replica *r);
/*
 * Asks for an orderly end of this replica alone. A live replica that is protected gives the guest
 * to its backup and ends fenced; without a backup that could go on, the whole pair ends. From any
 * thread and from signal handlers.
 */
void replica_leave(struct replica *r);
/*
 * Asks that the two replicas change places soon. 0: replica_get_status() tells when that has
 * happened; -EPERM: this replica is not live; -ENOTCONN: there is no backup that follows and could
 * take over. From any thread.
 */
int replica_switch(struct replica *r);
/* Takes back the request of replica_switch(), unless the change of places has already begun. */
void replica_switch_not(struct replica *r);
/*
 * Asks that the guest move to the replica that waits at the other end of fd, a connected socket,
 * which this replica owns from now on. The replica there joins as backup, in place of a present
 * one; replica_get_status() shows the progress. to: its address, for messages. 0; -EPERM: this
 * replica is not live; -EBUSY: a move is under way. From any thread.
 */
int replica_move(struct replica *r, int fd, const char *to, struct err *err);
/*
 * Takes back the request of replica_move(). If the new replica already protects the guest, it stays
 * as backup.
 */
void replica_move_not(struct replica *r);

/*
 * Control thread: begins a snapshot of the guest into fd, an empty file that this replica owns from
 * now on. *number identifies it in replica_snapshot_progress(). 0; -EPERM: this replica is not a
 * backup that protects a guest; -EBUSY: a snapshot is being taken.
 */
int replica_snapshot(struct replica *r, int fd, uint64_t *number, struct err *err);
void replica_snapshot_progress(struct replica *r, struct snapshot_progress *p);

/*
 * Gives the machine a control input at its next sync point. 0; -EPERM: this replica is not live;
 * -EBUSY: too many wait. From any thread.
 */
int replica_control(struct replica *r, enum control_command cmd, unsigned port, uint64_t arg);
/*
 * Announces that the image of a disk is to grow: no backup can begin to join until
 * replica_grow_end(). 0; -EPERM: this replica is not live; -EBUSY: a backup is joining, or a disk
 * grows already. From any thread.
 */
int replica_grow_begin(struct replica *r);
/*
 * Announces that the image of a disk has `sectors` sectors now. Backups still cannot join until the
 * machine's disk has them as well. sectors 0: no image has grown.
 */
void replica_grow_end(struct replica *r, unsigned disk, uint64_t sectors);
/*
 * Test hook: damages this replica's machine at its next sync point, without a record, so that the
 * two machines diverge.
 */
void replica_inject_fault(struct replica *r, enum control_command flip, uint64_t where);

/* Test hook: the vCPU thread hangs for ms milliseconds at its next sync point; 0: for ever. */
void replica_inject_hang(struct replica *r, uint64_t ms);

struct replica_status {
	enum replica_state state;
	bool live;    /* its outputs leave */
	bool primary; /* it runs the guest, and does not follow another replica */
	uint64_t generation;
	/* name of the other side; version of its program */
	char peer[128], peer_version[TWINSTEP_VERSION_LEN];
	char path[16], path_why[160];	  /* transport in use, and why a better one is not */
	uint64_t records, acked, applied; /* numbers of records: made (or received), acknowledged,
					     applied by the backup */
	double lag_ms;	     /* age in ms of the oldest record that the backup has not applied */
	double ack_us;	     /* moving average of the time to an acknowledgement, in microseconds */
	uint64_t timeout_ms; /* silence after which the other side counts as dead now */
	uint64_t log_bytes;  /* sent (or received) in all */
	double log_bytes_s;  /* over the last second */
	uint64_t outputs_held, outputs_released;
	uint64_t digests;
	uint64_t failovers;
	/* generations taken because a stranger had taken the one before (healing.c) */
	uint64_t healed;
	char move_to[128], move_stage[16], move_why[300]; /* the present or last move; else empty */
	uint64_t switches;	 /* how often this replica gave the guest to the other one */
	double last_switch_ms;	 /* how long the guest stood still in the last change of places */
	double last_failover_ms; /* from the last sign of the primary to going live; 0: none */
	uint64_t paced_ms;	 /* how long the guest was slowed down in all */
	uint64_t divergence_count, divergence_rip;
	char divergence[400]; /* empty: none */
	uint64_t instructions, virtual_ns;
	uint64_t events_lost; /* lines that --events did not take at once */
	bool syncing;	      /* a backup joins, and disks are made equal while the guest runs */
	/* bytes of disks sent to the backup (or received), and still to be sent */
	uint64_t sync_bytes, sync_left;
	double sync_bytes_s;
	/*
	 * bytes of memory that are not sent, because the new backup had them from a join that was
	 * cut
	 */
	uint64_t memory_kept;
	/*
	 * bytes of memory: in use at the start, sent, left, sent per second, written by the guest
	 * per second
	 */
	uint64_t memory_bytes, memory_sent, memory_left, memory_bytes_s, dirty_bytes_s;
	double guest_share;   /* share of the time in which the guest may run during a join */
	double join_pause_ms; /* how long the guest stood still for the backup that joined last */
	double vcpu_ms;	      /* time since our own vCPU thread last made progress */
	double peer_vcpu_ms;  /* time since the other replica's did, as far as this side has seen */
};

void replica_get_status(struct replica *r, struct replica_status *s);
const char *replica_state_name(enum replica_state s);

/*
 * Starts a comparison of both sides' disks, and shows its progress: as verify_start() and
 * verify_get_progress(). Any thread.
 */
int replica_verify(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err);
void replica_verify_progress(struct replica *r, struct verify_progress *p);

#endif
