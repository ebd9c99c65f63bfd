/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything on the host that a machine needs, opened from its options. The functions are the
 * steps of bringup.h, which calls them in their order.
 */
#ifndef HOST_MACHINE_HOST_H
#define HOST_MACHINE_HOST_H

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/boot/image.h"
#include "hypervisor/engine.h"
#include "hypervisor/machine.h"
#include "net/nic.h"
#include "record/console_out.h"
#include "record/live.h"
#include "host/console.h"
#include "host/disk_keep.h"
#include "host/machine_opts.h"

struct machine_host {
	struct machine_config config;
	struct boot_request boot;    /* with the images' bytes until the machine is made */
	struct buf carried[CARRIED]; /* likewise */
	const char *restore;	     /* snapshot that the machine starts from, or NULL */
	int restore_fd;		     /* and the open file */
	const char *restore_base;    /* what that one holds changes to, or NULL */
	int restore_base_fd;
	uint32_t filled; /* a bit for each disk that has its content from there */
	bool version_given;
	bool memory_given; /* config.memory was asked for: the snapshot must have as much */
	const struct engine_ops *engine;
	const char *engine_name;     /* as asked for */
	const char *passed;	     /* why `auto` passed by the engine before it, or NULL */
	const struct traits *traits; /* of what has executed the machine so far, or NULL */
	char counter[16]; /* what the machine's past was counted in; empty: it has none */
	struct disk_backend *disk[MACHINE_DISKS];
	struct disk_keep keep[MACHINE_DISKS];  /* files of their metadata */
	bool alone, force;		       /* no replica's: the disks of pairs go on alone */
	struct disk_meta *meta[MACHINE_DISKS]; /* the disks'; NULL: not kept in step */
	atomic_uint_fast64_t record;	       /* last one made or applied, for the metadata */
	struct nic *nic[MACHINE_NICS];
	int attach_fd; /* for nic_attach(), outside of the jail; -1: none */
	struct console *console[MACHINE_CONSOLES];
	struct console *debug; /* NULL: the output goes to console 0 */
	enum live_clock clock;
	bool rtc_now; /* the guest's date is the host's when its machine is made */
	uint8_t seed[32];
	bool has_seed; /* given by the user */
};

/* Fills in *h, config and seed included. Zeroes on failure: nothing is left open. */
int machine_host_open(struct machine_host *h, const struct machine_opts *o, struct err *err);
/* The host side of a machine whose configuration comes later (a backup's, from its primary). */
int machine_host_open_side(struct machine_host *h, const struct machine_opts *o, struct err *err);
/*
 * Opens the metadata of the disks that are written (disk_keep_open()); they are read when the
 * machine is settled.
 */
int machine_host_keep_disks(struct machine_host *h, const struct machine_opts *o,
			    enum disk_keep_new how, struct err *err);
/*
 * Chooses the engine; with `auto`, one that counts `counter` (NULL: what h->counter says, if
 * anything) and shows guests `traits` (NULL: any).
 */
int machine_host_choose_engine(struct machine_host *h, const char *counter,
			       const struct traits *traits, struct err *err);
/* Checks that the host's side fits this configuration of the machine. 0, or -errno and err. */
int machine_host_fit(struct machine_host *h, const struct machine_config *c, struct err *err);
/*
 * Takes the machine's share of the host: the first step in the process that will be the machine.
 * Disks are told by their paths. 0 or -errno.
 */
int machine_host_enter_share(const struct machine_opts *o, struct err *err);
/*
 * Before the jail closes: memory is promised, or prepared to be when a snapshot has said how much.
 * 0 or -errno.
 */
int machine_host_promise(struct machine_host *h, const struct share_opts *s, struct err *err);
/*
 * In the jail: takes the machine's configuration from the snapshot, if there is one, and has its
 * memory promised. s NULL: nothing is promised. 0 or -errno.
 */
int machine_host_settle(struct machine_host *h, const struct share_opts *s, struct err *err);
/* Makes the machine, once it is settled, and loads the kernel, or the snapshot, into it. */
struct machine *machine_host_create(struct machine_host *h, const struct output_sink *sink,
				    struct err *err);
/* quit(ctx): see console_open(). */
int machine_host_open_consoles(struct machine_host *h, const struct machine_opts *o,
			       void (*quit)(void *ctx), void *ctx, struct err *err);
/*
 * Closes the jail: everything is open. c->file_size is chosen here when it is 0 and no log is
 * written (UINT64_MAX: one is). 0 or -errno.
 */
int machine_host_jail(struct machine_host *h, enum jail_mode mode, const struct jail_config *c,
		      struct err *err);
/* The machine is made: starts what reads terminals. 0 or -errno. */
int machine_host_start_consoles(struct machine_host *h, struct err *err);
/* Clock, seed, NICs and consoles of a live source; the rest of *c is left alone. */
void machine_host_live(const struct machine_host *h, struct live_config *c);
/* Destination of console output, for a machine without a live source. */
void machine_host_console_out(const struct machine_host *h, struct console_out *out);
/* From here on the consoles' quit() is not called any more. */
void machine_host_stop_input(struct machine_host *h);
/* console_set_patience() of all consoles; what all of them have lost. */
void machine_host_set_patience(struct machine_host *h, int ms);
uint64_t machine_host_console_lost(const struct machine_host *h);
/* Whether the reader of any console holds the machine up just now. Any thread may ask. */
bool machine_host_console_waits(const struct machine_host *h);
void machine_host_close_consoles(struct machine_host *h);
/* All but the consoles. */
void machine_host_close(struct machine_host *h);

#endif
