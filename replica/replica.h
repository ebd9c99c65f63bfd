/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A replica of a pair. It is born as primary or as backup; a backup whose primary is gone becomes
 * live, and a live one that listens takes a new backup. Its states are those of failover.h.
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
	REPLICA_STARTING,     /* has neither a generation nor a primary */
	REPLICA_ALONE,	      /* live, unprotected */
	REPLICA_JOINING,      /* live, unprotected: a backup takes over the state */
	REPLICA_HOLDING,      /* live: outputs wait for a backup that follows and is not told yet */
	REPLICA_COUNTED_ON,   /* live: the backup is being told that it is counted on */
	REPLICA_PROTECTED,    /* live: the backup knows that it is counted on */
	REPLICA_HANDING_OVER, /* gives the guest to the backup, which is to go live; nothing leaves
			       */
	REPLICA_ASKING,	      /* the backup is lost, the arbiter is asked; nothing leaves */
	REPLICA_LOADING,      /* takes over the primary's state */
	REPLICA_FOLLOWING,    /* replays, and is not counted on yet */
	REPLICA_BACKUP,	      /* replays, and goes live when the primary is lost */
	REPLICA_TAKING_OVER,  /* is given the guest, the arbiter is asked */
	REPLICA_CLAIMING,     /* the primary is lost, the arbiter is asked */
	REPLICA_FENCED,	      /* another one is live: stops for good */
	REPLICA_ENDED,
	REPLICA_STATES
};

/* The replica that goes on after a divergence. */
enum replica_survivor { SURVIVOR_PRIMARY, SURVIVOR_BACKUP, SURVIVOR_NOBODY };

struct replica_config {
	const char *listen;	    /* where a backup may join; NULL: nobody joins */
	const char *connect;	    /* backup: where the primary is; NULL: waits for one to come */
	const struct peer_key *key; /* NULL: no authentication */
	struct arbiter *arbiter;
	unsigned timeout_ms;	  /* silence after which the peer counts as dead, at least */
	unsigned max_timeout_ms;  /* ... and at most: replica/patience.h; 0: the same */
	unsigned hang_timeout_ms; /* a peer whose vCPU makes no progress for so long counts as dead
				   */
	unsigned max_lag_ms;	  /* the primary waits when the backup is further behind */
	unsigned max_stall_ms;	  /* the guest goes on without a backup that holds it up for longer;
				     0: than 500 ms, and than silence may last */
	unsigned min_speed;	  /* ... or lets it run for less than these percent of its time */
	uint64_t epoch_ns;	  /* virtual time between digests */
	enum replica_survivor on_divergence;
	bool wait_for_backup;	  /* primary: the guest starts when a backup has joined */
	unsigned connect_wait_ms; /* backup: how long to try to reach the primary */
	/*
	 * Backup: the primary again, when the connection is cut while it joins; not greeted. NULL
	 * and err: not now. The function NULL: it is not tried.
	 */
	struct peer *(*redial)(void *ctx, struct err *err);
	void *redial_ctx;
	bool durable_both; /* outputs wait until the backup has executed what is before them */
	bool disk_error_to_guest; /* else the side whose disk fails ends, where the other follows */
	bool force;		  /* primary: its disks count, whatever their metadata says; backup:
				     its disks' content is given up */
	unsigned max_pause_ms;	  /* for how long the guest may stand still when a backup joins */
	unsigned join_timeout_ms; /* a join that takes longer is told of */
	uint64_t scrub_ns;	  /* disks are compared every so often; 0: never by themselves */
	uint64_t sync_rate;	  /* bytes of disks a second to a joining backup; 0: no bound */
	/*
	 * True: the id is that of an earlier replica of this host, which has ended. NULL: none is
	 * known.
	 */
	bool (*ours)(void *ctx, const uint8_t id[ARBITER_ID_LEN]);
	void *ours_ctx;
	FILE *events; /* one JSON object a line, by its descriptor, which does not wait; NULL: none
		       */
	/*
	 * NICs, consoles and seed as for an unreplicated machine; clock, epoch and hooks are filled
	 * in here.
	 */
	struct live_config live;
	/* Backup: makes the machine that the primary describes, on an engine that counts what the
	 * primary's does and, where there is a choice, shows guests the same traits (NULL: not
	 * known), and fills in NICs and consoles of *live. NULL and err when this host cannot. */
	struct machine *(*create)(void *ctx, const struct machine_config *c, const char *counter,
				  const struct traits *traits, const struct output_sink *sink,
				  struct live_config *live, struct err *err);
	void *create_ctx;
	/*
	 * The vCPU thread hangs and another replica is live: ends the process. From any thread;
	 * need not return.
	 */
	void (*abandon)(void *ctx);
	void *abandon_ctx;
};

struct replica;

struct replica *replica_create(const struct replica_config *config, struct err *err);
void replica_destroy(struct replica *r);
/* Its name at the arbiter, ARBITER_ID_LEN bytes. */
const uint8_t *replica_id(const struct replica *r);
/*
 * The sink for machine_create(): it holds outputs until the backup has the records that explain
 * them.
 */
struct output_sink replica_sink(struct replica *r);

/*
 * The machine's disks, before it runs. record: tells the disks of the last record; it lives as long
 * as they do.
 */
void replica_set_disks(struct replica *r, const struct disk_sync_disk *disks, unsigned n,
		       atomic_uint_fast64_t *record);

/* Listens for a backup where the configuration says so. 0 or -errno. */
int replica_listen(struct replica *r, struct err *err);
/* A backup: connects to the primary's address, if it has one; nothing is said yet. 0 or -errno. */
int replica_connect(struct replica *r, struct err *err);

/*
 * Runs a primary: the machine is in its start state and was created with replica_sink(). Returns
 * when the machine ends
 * (*end), the replica is fenced, or something fails (-errno).
 */
int replica_run_primary(struct replica *r, struct machine *m, enum machine_end *end,
			struct err *err);
/*
 * A backup: agrees with the primary and takes over its state. *m is the machine (owned by the
 * caller from then on).
 */
int replica_join(struct replica *r, struct machine **m, struct err *err);
/* Runs a backup that has joined and, after a failover, the live machine. */
int replica_run_backup(struct replica *r, enum machine_end *end, struct err *err);
/* Asks for an orderly end of the pair. From any thread and from signal handlers. */
void replica_stop(struct replica *r);
/*
 * Asks for an orderly end of this replica alone: a protected one gives the guest to the backup and
 * ends fenced; without a backup that could go on it ends the pair. From any thread and from signal
 * handlers.
 */
void replica_leave(struct replica *r);
/*
 * Lets the two replicas change places, soon. 0: replica_get_status() tells when; -EPERM: this one
 * is not live; -ENOTCONN: no backup follows that could take over. From any thread.
 */
int replica_switch(struct replica *r);
/* The change of places is not wanted any more; it may have begun all the same. */
void replica_switch_not(struct replica *r);
/*
 * Lets the guest move to the replica that waits at the other end of fd, a connected socket, which
 * is owned from now on. That replica joins as backup, in place of one that is there;
 * replica_get_status() tells how far that is. to: its address, for messages. 0; -EPERM: this one is
 * not live; -EBUSY: the guest is on its way already. From any thread.
 */
int replica_move(struct replica *r, int fd, const char *to, struct err *err);
/* Takes the request to move back; a replica that protects the guest by now stays as its backup. */
void replica_move_not(struct replica *r);

/*
 * The control thread: begins a snapshot of the guest into fd, an empty file, which is owned from
 * now on; *number tells it from others in replica_snapshot_progress(). 0; -EPERM: this replica is
 * no backup that protects a guest; -EBUSY: one is being taken.
 */
int replica_snapshot(struct replica *r, int fd, uint64_t *number, struct err *err);
void replica_snapshot_progress(struct replica *r, struct snapshot_progress *p);

/*
 * Gives the machine a control input, while this replica is live. -EPERM when it is not. From any
 * thread.
 */
int replica_control(struct replica *r, enum control_command cmd, unsigned port, uint64_t arg);
/*
 * The image of a disk is to grow: no backup begins to join until replica_grow_end(). 0; -EPERM:
 * this replica is not live; -EBUSY: a backup is joining, or a disk grows already. From any thread.
 */
int replica_grow_begin(struct replica *r);
/*
 * The image of a disk has so many sectors, and the machine has been told, or has to be: backups
 * wait until it has them as well. sectors 0: no image has grown.
 */
void replica_grow_end(struct replica *r, unsigned disk, uint64_t sectors);
/*
 * Test hook: damages this replica's own machine, at its next sync point, without telling the other
 * one.
 */
void replica_inject_fault(struct replica *r, enum control_command flip, uint64_t where);

/*
 * Test hook: this replica's vCPU thread hangs for so many ms at its next sync point; 0: for ever.
 */
void replica_inject_hang(struct replica *r, uint64_t ms);

struct replica_status {
	enum replica_state state;
	bool live;    /* its outputs leave */
	bool primary; /* it runs the guest, and does not follow another replica */
	uint64_t generation;
	char peer[128], peer_version[TWINSTEP_VERSION_LEN]; /* the latter: its program's */
	char path[16], path_why[160];	  /* how bytes travel to it, and why not better */
	uint64_t records, acked, applied; /* numbers of records: made (or received), acknowledged,
					     applied by the backup */
	double lag_ms;	     /* age of the oldest record that the backup has not applied */
	double ack_us;	     /* acknowledgement latency, moving average */
	uint64_t timeout_ms; /* silence after which the other side counts as dead now */
	uint64_t log_bytes;  /* sent (or received) in all */
	double log_bytes_s;  /* over the last second */
	uint64_t outputs_held, outputs_released;
	uint64_t digests;
	uint64_t failovers;
	uint64_t healed;				  /* generations taken after a stranger's */
	char move_to[128], move_stage[16], move_why[300]; /* a move, or the last one; else empty */
	uint64_t switches;	 /* how often this replica gave the guest to the other one */
	double last_switch_ms;	 /* for how long the guest stood still then */
	double last_failover_ms; /* from the last sign of the primary to going live; 0: none */
	uint64_t paced_ms;	 /* how long the guest was slowed down in all */
	uint64_t divergence_count, divergence_rip;
	char divergence[400]; /* empty: none */
	uint64_t instructions, virtual_ns;
	uint64_t events_lost; /* lines that --events did not take at once */
	bool syncing;	      /* a backup joins, and disks are made equal while the guest runs */
	uint64_t sync_bytes, sync_left; /* bytes of disks sent to it (or received) and to be sent */
	double sync_bytes_s;
	/* likewise of memory: in use at first, sent, left, sent a second, written a second */
	uint64_t memory_kept; /* of it the new backup had from a join that was cut: not sent */
	uint64_t memory_bytes, memory_sent, memory_left, memory_bytes_s, dirty_bytes_s;
	double guest_share;   /* of the time in which the guest may run meanwhile */
	double join_pause_ms; /* for how long it stood still for the backup that joined last */
	double vcpu_ms;	      /* since our own vCPU thread has shown progress */
	double peer_vcpu_ms;  /* ... and the other replica's, as far as was seen */
};

void replica_get_status(struct replica *r, struct replica_status *s);
const char *replica_state_name(enum replica_state s);

/* Compares the disks of both sides (verify.h): begins, and shows. Any thread. */
int replica_verify(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err);
void replica_verify_progress(struct replica *r, struct verify_progress *p);

#endif
