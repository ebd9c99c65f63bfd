/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: memory, one vCPU, devices and a virtual clock, as a pure function of its start state
 * and its inputs.
 */
#ifndef HYPERVISOR_MACHINE_H
#define HYPERVISOR_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/sync.h"

#define MACHINE_VERSION	 2 /* of a machine that nobody has asked another of */
#define MACHINE_VERSIONS 2 /* 1 to this */
/*
 * Machine version 2 is not finished: whatever changes its board, its tables or its saved state
 * raises this number, and states of another number are refused.
 */
#define MACHINE_V2_REVISION 11
/* Of the version that has most; version 1 has at most MACHINE_V1_DEVICES of each. */
#define MACHINE_NICS	   8
#define MACHINE_DISKS	   16
#define MACHINE_V1_DEVICES 4

/* Serial port, virtio console, line to the guest agent. */
enum machine_console { CONSOLE_SERIAL, CONSOLE_VIRTIO, CONSOLE_AGENT, MACHINE_CONSOLES };

/* A disk image behind virtio-blk. Content is part of the start state; one copy per replica. See
 * devices/virtio_blk.h.
 */
struct disk_backend;

/*
 * Bytes that a machine has with it in its state, so that no file is needed after the start: the
 * content of one more disk, read-only and behind the others, of which cloud-init takes what the
 * guest is to be; the option ROMs by which firmware boots from a network card, or the image of a CD
 * on a disk, before any disk.
 */
enum machine_carried { CARRIED_CIDATA, CARRIED_NET_ROM, CARRIED_CD_ROM, CARRIED };

/* Two machines of equal configuration are the same; logs and the handshake compare its digest. */
struct machine_config {
	uint32_t version; /* of the board and the CPU's model: 1 to MACHINE_VERSIONS */
	uint64_t memory;  /* bytes */
	unsigned nnics;
	uint8_t mac[MACHINE_NICS][6];
	unsigned ndisks;
	uint64_t disk_sectors[MACHINE_DISKS]; /* 512 bytes each */
	bool disk_readonly[MACHINE_DISKS];
	bool virtio_console;
	bool agent;	    /* version 2: a virtio port to the guest agent */
	uint64_t rtc_epoch; /* seconds since 1970 shown by the RTC at virtual time 0 */
	bool firmware;	    /* version 2: it starts at its reset vector, and a reset is one */
	uint32_t carried_sectors[CARRIED]; /* sizes in 512 bytes; 0: it has none */
};

void machine_config_defaults(struct machine_config *c);
/* Most network cards and disks of a machine of that version. */
unsigned machine_nics_max(unsigned version);
unsigned machine_disks_max(unsigned version);
void machine_config_save(const struct machine_config *c, struct buf *out);
/* 0 or -EINVAL: damaged, or of a version or revision that this program does not have. */
int machine_config_restore(struct machine_config *c, struct rd *in);
uint64_t machine_config_digest(const struct machine_config *c);
/* Checks that CONTROL_POWER_BUTTON can be an input of such a machine: 0, or -EINVAL and err. */
int machine_config_check_power_button(const struct machine_config *c, struct err *err);

struct machine;

/* disks: config->ndisks backends (kept, not owned). Returns NULL and err on failure. */
struct machine *machine_create(const struct machine_config *config, const struct engine_ops *engine,
			       struct disk_backend *const *disks, const struct output_sink *sink,
			       struct err *err);
void machine_destroy(struct machine *m);

/*
 * Puts firmware into a machine that was made for it and has not run: its start state. 0, or
 * -EINVAL: no firmware has this size; name: the file's.
 */
int machine_load_firmware(struct machine *m, const uint8_t *image, size_t size, const char *name,
			  struct err *err);

/*
 * Fills one of config.carried_sectors, likewise: 0, or -EINVAL: it has another size, or the machine
 * has none. machine_carried: *size bytes that are in it; NULL: it has none.
 */
int machine_load_carried(struct machine *m, enum machine_carried which, const uint8_t *data,
			 size_t size, struct err *err);
const uint8_t *machine_carried(const struct machine *m, enum machine_carried which, size_t *size);

enum machine_end {
	MACHINE_ENDED,	  /* the source said SYNC_END */
	MACHINE_POWEROFF, /* guest powered off, or halted for good (HLT with interrupts off) */
	MACHINE_RESET,	  /* guest asked for a reset, and no firmware is there to start again */
	MACHINE_EXIT,	  /* debug exit port: machine_exit_code() */
	MACHINE_TRIPLE,	  /* triple fault */
	MACHINE_STUCK,	  /* no instruction can retire any more */
	MACHINE_STOPPED,  /* CONTROL_STOP */
	MACHINE_DIVERGED, /* source->applied() said so, or a sync point could not be applied */
	MACHINE_FAILED,	  /* engine failure: see err */
	MACHINE_SPINNING, /* like MACHINE_ENDED, but somewhere behind the last landmark, where none
			     can name it */
	MACHINE_PROBED,	  /* a debugger's probe stopped the vCPU; never the end of a recording */
};

/*
 * Runs until one of the ends. May be called again after MACHINE_ENDED with another source (go
 * live).
 */
enum machine_end machine_run(struct machine *m, const struct input_source *source, struct err *err);
unsigned machine_exit_code(const struct machine *m);
/*
 * After MACHINE_POWEROFF: whether nobody asked for it, and the vCPU sits in HLT with interrupts off
 * where nothing can wake it. A machine of version 1 has no other power-off, so there it is false.
 */
bool machine_is_halted(const struct machine *m);
/* Requests that INTERRUPT_LOST has found so far. */
uint64_t machine_lost_interrupts(const struct machine *m);
/* True: an interrupt that nothing asks for (INTERRUPT_SPURIOUS) can be taken here. */
bool machine_takes_spurious(const struct machine *m);
/* Makes the machine ask its input source soon. Any thread may call it. */
void machine_kick(struct machine *m);

const struct machine_config *machine_get_config(const struct machine *m);
struct memory *machine_memory(struct machine *m);
struct engine *machine_engine(struct machine *m);
uint64_t machine_now(const struct machine *m);		 /* virtual ns */
uint64_t machine_next_deadline(const struct machine *m); /* virtual ns, or CLOCK_NEVER */
struct clock *machine_clock(struct machine *m);
/*
 * Bytes that console `port` can take now without losing any: a live source feeds no more than that.
 */
size_t machine_console_room(const struct machine *m, unsigned port);
/*
 * True: NIC `port` would take the frame now (link, filter). A frame that it would not take need not
 * become an input.
 */
bool machine_wants_frame(const struct machine *m, unsigned port, const uint8_t *frame, size_t len);
/* The address that NIC `port` has now: its driver may have changed the configured one. */
const uint8_t *machine_nic_mac(const struct machine *m, unsigned port);
/*
 * For a live source, before a sync point at virtual time ns: waits for the host's disk I/O that
 * falls due by then and turns its errors into inputs of that sync point. Returns their number.
 */
size_t machine_disk_errors(struct machine *m, uint64_t ns, struct input *in, size_t max);

/* Number of the oldest request of a disk that is under way and has no error yet; false: none. */
bool machine_disk_request(const struct machine *m, unsigned disk, uint64_t *number);

/*
 * Test hook, between two calls of next(): a CONTROL_FLIP_* happens to this machine without a
 * record.
 */
int machine_inject_fault(struct machine *m, const struct input *flip);

/*
 * State of everything but RAM: engine state, clock, devices, generator. Valid between two calls of
 * next().
 */
void machine_save(struct machine *m, struct buf *out);
int machine_restore(struct machine *m, struct rd *in, struct err *err);

/*
 * State digest: XXH3 over the vCPU state, every device, the clock, and for each page dirtied since
 * the last digest its number and content, chained with the previous digest. Clears the dirty
 * bitmap. Called by the machine at INPUT_DIGEST.
 */
uint64_t machine_digest(struct machine *m);
/*
 * Digests of the parts at the last machine_digest(): to say what differs. Names: "cpu", "memory",
 * each device's.
 */
struct digest_part {
	char name[24];
	uint64_t hash;
};
size_t machine_digest_parts(const struct machine *m, struct digest_part *part, size_t max);
/*
 * Called for every page dirtied since the last digest while it is computed; for checkpoints and
 * page reports.
 */
void machine_on_dirty_page(struct machine *m,
			   void (*fn)(void *ctx, uint64_t offset, const void *page, uint64_t hash),
			   void *ctx);

/* Registers and the bytes at RIP, as text for a person. */
void machine_describe_cpu(struct machine *m, char *text, size_t n);

/* Exits by kind and engine counters, in a fixed order. */
size_t machine_stats(const struct machine *m, struct engine_stat *stats, size_t max);

#endif
