/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command-line options that describe a machine: the same for every subcommand that makes one. */
#ifndef HOST_MACHINE_OPTS_H
#define HOST_MACHINE_OPTS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "hypervisor/boot/image.h"
#include "hypervisor/machine.h"
#include "isolation/jail.h"
#include "host/share.h"

enum clock_choice { CLOCK_AUTO, CLOCK_HOST, CLOCK_VIRTUAL };

struct disk_opt {
	char *path; /* owned */
	bool readonly;
	bool overlay; /* changes stay in memory */
};

struct nic_opt {
	char *spec; /* for nic_open(), owned */
	uint8_t mac[6];
};

struct machine_opts {
	const char *kernel;
	const char *restore; /* a snapshot instead of a kernel */
	const char *initrd[BOOT_MODULES];
	size_t ninitrd;
	const char *append;
	uint64_t memory;
	bool has_memory; /* it was asked for */
	struct disk_opt disk[MACHINE_DISKS];
	unsigned ndisks;
	struct nic_opt nic[MACHINE_NICS];
	unsigned nnics;
	const char *engine;
	const char *counter;	    /* no option: what the machine's past was counted in, or NULL */
	const char *console;	    /* COM1; see console.h */
	const char *virtio_console; /* NULL: the machine has none */
	const char *debug_console;  /* NULL: where the console's output goes */
	enum clock_choice clock;
	bool has_rtc;
	uint64_t rtc; /* seconds since 1970 */
	bool has_seed;
	uint8_t seed[32];
	enum jail_mode jail;
	struct share_opts share;
	bool speculates; /* the processor's guesses are left as fast as they are */
};

/* Values of struct option.val; a subcommand's own start at OPT_COMMAND. */
enum {
	OPT_MACHINE = 256,
	OPT_KERNEL = OPT_MACHINE,
	OPT_RESTORE,
	OPT_INITRD,
	OPT_APPEND,
	OPT_MEMORY,
	OPT_DISK,
	OPT_NET,
	OPT_ENGINE,
	OPT_CONSOLE,
	OPT_VIRTIO_CONSOLE,
	OPT_DEBUG_CONSOLE,
	OPT_CLOCK,
	OPT_RTC,
	OPT_SEED,
	OPT_JAIL,
	OPT_NO_JAIL,
	OPT_SPECULATION,
	OPT_MACHINE_END,
	OPT_HELP,
	OPT_COMMAND = 512,
};

/* For the subcommand's array of struct option, before its own and the terminating entry. */
#define MACHINE_OPTIONS                                                            \
	{ "kernel", required_argument, NULL, OPT_KERNEL },                         \
		{ "restore", required_argument, NULL, OPT_RESTORE },               \
		{ "initrd", required_argument, NULL, OPT_INITRD },                 \
		{ "append", required_argument, NULL, OPT_APPEND },                 \
		{ "memory", required_argument, NULL, OPT_MEMORY },                 \
		{ "disk", required_argument, NULL, OPT_DISK },                     \
		{ "net", required_argument, NULL, OPT_NET },                       \
		{ "engine", required_argument, NULL, OPT_ENGINE },                 \
		{ "console", required_argument, NULL, OPT_CONSOLE },               \
		{ "virtio-console", required_argument, NULL, OPT_VIRTIO_CONSOLE }, \
		{ "debug-console", required_argument, NULL, OPT_DEBUG_CONSOLE },   \
		{ "clock", required_argument, NULL, OPT_CLOCK },                   \
		{ "rtc", required_argument, NULL, OPT_RTC },                       \
		{ "jail", required_argument, NULL, OPT_JAIL },                     \
		{ "no-jail", no_argument, NULL, OPT_NO_JAIL },                     \
		{ "speculation", required_argument, NULL, OPT_SPECULATION },       \
		{ "seed", required_argument, NULL, OPT_SEED }, SHARE_OPTIONS,      \
	{                                                                          \
		"help", no_argument, NULL, OPT_HELP                                \
	}

void machine_opts_defaults(struct machine_opts *o);
void machine_opts_free(struct machine_opts *o);
/*
 * Takes one option that getopt_long() found: 1 when it was one of ours, 0 when not, -EINVAL and err
 * for a bad value.
 */
int machine_opts_take(struct machine_opts *o, int opt, const char *arg, struct err *err);
/* After the last option: what does not go together, what is missing. 0 or -EINVAL. */
int machine_opts_check(const struct machine_opts *o, struct err *err);
/*
 * Which of the machine's files has this path, by whatever name ("the kernel", "a disk image");
 * NULL: none.
 */
const char *machine_opts_file(const struct machine_opts *o, const char *path);
/* Whether both name one file. */
bool same_file(const char *a, const char *b);
void machine_opts_help(FILE *f);

/* For jail_config.without: layers that the user did not want. */
static inline uint32_t machine_opts_jail_without(const struct machine_opts *o)
{
	return o->speculates ? 1u << LAYER_SPECULATION : 0;
}

/* What CLOCK_AUTO comes to: the host's clock where something outside can talk to the guest. */
bool machine_opts_host_clock(const struct machine_opts *o);

/*
 * One turn of an option loop: like getopt_long() without short options, but says itself what is
 * wrong with an unknown option, a missing value or a left-over argument, and returns '?' then; -1
 * at the end.
 */
int options_next(int argc, char **argv, const struct option *options);
/* The same with short options, as for getopt(). */
int options_next_short(int argc, char **argv, const char *shorts, const struct option *options);
/* "64M", "1G", "4096"; false when it is not a number or does not fit. */
bool parse_size(const char *s, uint64_t *bytes);
/* A whole decimal number; false when there is anything else. */
bool parse_number(const char *s, uint64_t *n);

#endif
