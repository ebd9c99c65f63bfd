/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command-line options that describe a machine: the same for every subcommand that makes one. */
#ifndef HOST_MACHINE_OPTS_H
#define HOST_MACHINE_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/boot/image.h"
#include "hypervisor/machine.h"
#include "isolation/jail.h"
#include "record/panic_watch.h"
#include "host/cloud_init.h"
#include "host/share.h"

/* Speculation of the processor: protected, or left as fast as it is. */
enum speculation { SPECULATION_PROTECT, SPECULATION_ALLOW };

enum clock_choice { CLOCK_AUTO, CLOCK_HOST, CLOCK_VIRTUAL };

struct disk_opt {
	char *path; /* owned */
	char *meta; /* where its metadata lies, owned; NULL: beside it */
	bool raw;   /* whatever stands in it */
	bool readonly;
	bool overlay; /* changes stay in memory */
};

struct initrd_opt {
	char *path; /* owned */
	char *text; /* a multiboot module's string, owned; NULL: the file's name without folders */
};

struct nic_opt {
	char *spec; /* for nic_open(), owned */
	uint8_t mac[6];
	char *bridge;  /* that a tap made for the guest is put into, owned; NULL: none */
	unsigned vlan; /* there; 0: whatever the bridge does without being asked */
};

struct machine_opts {
	const char *kernel;
	const char *restore;	  /* a snapshot instead of a kernel */
	const char *restore_base; /* which holds changes to this one only; or NULL */
	const char *firmware;	  /* that boots a disk, where there is neither; NULL: Debian's */
	struct initrd_opt initrd[BOOT_MODULES];
	size_t ninitrd;
	const char *append;
	bool no_bios_data; /* no option: see struct boot_request */
	unsigned version;  /* of the machine */
	bool has_version;  /* it was asked for */
	uint64_t memory;
	bool has_memory; /* it was asked for */
	struct disk_opt disk[MACHINE_DISKS];
	unsigned ndisks;
	struct nic_opt nic[MACHINE_NICS];
	unsigned nnics;
	struct cloud_init_opt cloud_init;
	char *net_rom; /* boots from a network card by this option ROM, owned; NULL: it does not */
	bool boots_cd; /* the CD's image on a disk, before the disks */
	struct {
		const uint8_t *data;
		size_t size;
	} carried[CARRIED]; /* no option: as a recording has them; NULL: it has none */
	const char *engine;
	bool mixed; /* replay what a processor with other answers than this engine's recorded */
	const struct traits *traits; /* no option: of what executed its past, or NULL */
	const char *counter;	    /* no option: what the machine's past was counted in, or NULL */
	const char *console;	    /* COM1; see console.h */
	const char *virtio_console; /* NULL: the machine has none */
	const char *guest_agent;    /* likewise */
	const char *debug_console;  /* NULL: where the console's output goes */
	enum clock_choice clock;
	bool has_rtc;
	uint64_t rtc; /* seconds since 1970 */
	bool has_seed;
	uint8_t seed[32];
	enum jail_mode jail;
	struct share_opts share;
	enum speculation speculation;
	enum on_panic on_panic;
};

void machine_opts_defaults(struct machine_opts *o);
void machine_opts_free(struct machine_opts *o);
/* After the last option: what does not go together, what is missing. 0 or -EINVAL. */
int machine_opts_check(const struct machine_opts *o, struct err *err);
/* Checks them likewise, and logs the error. */
int machine_opts_say_check(const struct machine_opts *o);
/*
 * The machine's file that is at this path, perhaps by another name, in words ("the kernel", "a disk
 * image"); NULL: none.
 */
const char *machine_opts_file(const struct machine_opts *o, const char *path);
/* The module's string that a multiboot guest sees: it shows nothing of the file's place. */
const char *machine_opts_module_text(const struct initrd_opt *initrd);
/* True: both paths name one file. */
bool same_file(const char *a, const char *b);

/* For jail_config.without: layers that the user did not want. */
static inline uint32_t machine_opts_jail_without(const struct machine_opts *o)
{
	return o->speculation == SPECULATION_ALLOW ? 1u << LAYER_SPECULATION : 0;
}

/* The firmware that boots the machine's disk; NULL: a kernel or a snapshot is given. */
const char *machine_opts_firmware(const struct machine_opts *o);
/* True: firmware boots from a network card, before any disk. */
bool machine_opts_boots_net(const struct machine_opts *o);
bool machine_opts_boots_cd(const struct machine_opts *o);

/* Decision of CLOCK_AUTO. True: the host's clock, as something outside can talk to the guest. */
bool machine_opts_host_clock(const struct machine_opts *o);

/* Parsers of the option table (options.h): target is the struct machine_opts. */
struct option_row;
int machine_parse_version(const struct option_row *row, void *target, const char *arg,
			  struct err *err);
int machine_parse_memory(const struct option_row *row, void *target, const char *arg,
			 struct err *err);
int machine_parse_initrd(const struct option_row *row, void *target, const char *arg,
			 struct err *err);
int machine_parse_disk(const struct option_row *row, void *target, const char *arg,
		       struct err *err);
int machine_parse_cloud_init(const struct option_row *row, void *target, const char *arg,
			     struct err *err);
int machine_parse_boot(const struct option_row *row, void *target, const char *arg,
		       struct err *err);
int machine_parse_net(const struct option_row *row, void *target, const char *arg, struct err *err);
int machine_parse_rtc(const struct option_row *row, void *target, const char *arg, struct err *err);
int machine_parse_seed(const struct option_row *row, void *target, const char *arg,
		       struct err *err);
int machine_parse_no_jail(const struct option_row *row, void *target, const char *arg,
			  struct err *err);
/* target: the const char * of one console. */
int machine_parse_console(const struct option_row *row, void *target, const char *arg,
			  struct err *err);

#endif
