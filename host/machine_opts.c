// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/machine_opts.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "net/nic.h"
#include "host/console.h"

#define DEFAULT_MEMORY (256ull << 20)

void machine_opts_defaults(struct machine_opts *o)
{
	*o = (struct machine_opts){
		.memory = DEFAULT_MEMORY,
		.engine = "auto",
		.console = "stdio",
	};
}

void machine_opts_free(struct machine_opts *o)
{
	for (unsigned i = 0; i < o->ndisks; i++)
		free(o->disk[i].path);
	for (unsigned i = 0; i < o->nnics; i++)
		free(o->nic[i].spec);
	o->ndisks = o->nnics = 0;
}

bool parse_number(const char *s, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*n = strtoull(s, &end, 10);
	return !errno && !*end;
}

bool parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*bytes = strtoull(s, &end, 10);
	if (errno)
		return false;
	if (!*end)
		return true;
	unit = strchr(units, toupper((unsigned char)*end));
	if (!unit || end[1])
		return false;
	for (long i = unit - units; i >= 0; i--) {
		if (*bytes >> 54)
			return false;
		*bytes <<= 10;
	}
	return true;
}

static int take_memory(struct machine_opts *o, const char *arg, struct err *err)
{
	if (!parse_size(arg, &o->memory))
		return err_set(err, EINVAL, "--memory %s: not a size; write for example 256M or 2G",
			       arg);
	if (o->memory < MEMORY_MIN || o->memory > MEMORY_MAX)
		return err_set(err, EINVAL, "--memory %s: a guest has at least 1M and at most 64G",
			       arg);
	if (o->memory % PAGE_SIZE)
		return err_set(err, EINVAL, "--memory %s: must be a multiple of 4096 bytes", arg);
	return 0;
}

static int take_initrd(struct machine_opts *o, const char *arg, struct err *err)
{
	if (o->ninitrd == BOOT_MODULES)
		return err_set(err, EINVAL, "--initrd %s: at most %d", arg, BOOT_MODULES);
	o->initrd[o->ninitrd++] = arg;
	return 0;
}

/* Cuts ",word" off the end of s. */
static bool cut_suffix(char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	if (n <= m || strcmp(s + n - m, suffix))
		return false;
	s[n - m] = '\0';
	return true;
}

static int take_disk(struct machine_opts *o, const char *arg, struct err *err)
{
	struct disk_opt d = { 0 };

	if (o->ndisks == MACHINE_DISKS)
		return err_set(err, EINVAL, "--disk %s: at most %d disks", arg, MACHINE_DISKS);
	d.path = strdup(arg);
	if (!d.path)
		return err_set(err, ENOMEM, "out of memory");
	d.readonly = cut_suffix(d.path, ",ro");
	d.overlay = cut_suffix(d.path, ",overlay");
	if (d.readonly && d.overlay) {
		free(d.path);
		return err_set(err, EINVAL, "--disk %s: a read-only disk needs no overlay", arg);
	}
	o->disk[o->ndisks++] = d;
	return 0;
}

static bool parse_mac(const char *s, uint8_t mac[6])
{
	unsigned v[6];
	int n = 0;

	if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &n) !=
		    6 ||
	    s[n])
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
	return !(mac[0] & 1) && (v[0] | v[1] | v[2] | v[3] | v[4] | v[5]);
}

static int take_net(struct machine_opts *o, const char *arg, struct err *err)
{
	struct nic_opt n = { .mac = { 0x52, 0x54, 0, 0x12, 0x34, (uint8_t)(0x56 + o->nnics) } };
	char *mac;
	int r = 0;

	if (o->nnics == MACHINE_NICS)
		return err_set(err, EINVAL, "--net %s: at most %d network cards", arg,
			       MACHINE_NICS);
	n.spec = strdup(arg);
	if (!n.spec)
		return err_set(err, ENOMEM, "out of memory");
	mac = strstr(n.spec, ",mac=");
	if (mac) {
		*mac = '\0';
		if (!parse_mac(mac + 5, n.mac))
			r = err_set(
				err, EINVAL,
				"--net %s: mac= takes a unicast address such as 52:54:00:12:34:56",
				arg);
	}
	if (!r && nic_check_spec(n.spec, err))
		r = err_prefix(err, "--net %s", arg);
	if (r)
		free(n.spec);
	else
		o->nic[o->nnics++] = n;
	return r;
}

static int take_console(const char **where, const char *name, const char *arg, struct err *err)
{
	*where = arg;
	return console_check_spec(arg, err) ? err_prefix(err, "--%s %s", name, arg) : 0;
}

static int take_clock(struct machine_opts *o, const char *arg, struct err *err)
{
	static const char *const names[] = {
		[CLOCK_AUTO] = "auto", [CLOCK_HOST] = "host", [CLOCK_VIRTUAL] = "virtual"
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(arg, names[i])) {
			o->clock = (enum clock_choice)i;
			return 0;
		}
	}
	return err_set(err, EINVAL, "--clock %s: must be auto, host or virtual", arg);
}

static int take_rtc(struct machine_opts *o, const char *arg, struct err *err)
{
	o->has_rtc = true;
	if (!strcmp(arg, "now"))
		o->rtc = (uint64_t)time(NULL);
	else if (!parse_number(arg, &o->rtc) || o->rtc > UINT32_MAX)
		return err_set(err, EINVAL, "--rtc %s: must be 'now' or seconds since 1970", arg);
	return 0;
}

static int take_seed(struct machine_opts *o, const char *arg, struct err *err)
{
	size_t n = strlen(arg);

	o->has_seed = true;
	memset(o->seed, 0, sizeof(o->seed));
	if (!n || n > 2 * sizeof(o->seed) || n % 2)
		return err_set(err, EINVAL,
			       "--seed %s: must be 1 to 32 bytes as hexadecimal digits", arg);
	for (size_t i = 0; i < n; i += 2) {
		unsigned v;

		if (!isxdigit((unsigned char)arg[i]) || !isxdigit((unsigned char)arg[i + 1]) ||
		    sscanf(arg + i, "%2x", &v) != 1)
			return err_set(err, EINVAL,
				       "--seed %s: must be 1 to 32 bytes as hexadecimal digits",
				       arg);
		o->seed[i / 2] = (uint8_t)v;
	}
	return 0;
}

static int take_jail(struct machine_opts *o, const char *arg, struct err *err)
{
	if (!jail_mode_parse(arg, &o->jail))
		return err_set(err, EINVAL, "--jail %s: must be on, strict or off", arg);
	return 0;
}

static int take_speculation(struct machine_opts *o, const char *arg, struct err *err)
{
	o->speculates = !strcmp(arg, "allow");
	if (!o->speculates && strcmp(arg, "protect"))
		return err_set(err, EINVAL, "--speculation %s: must be protect or allow", arg);
	return 0;
}

static int take_string(const char **where, const char *arg)
{
	*where = arg;
	return 0;
}

static int take(struct machine_opts *o, int opt, const char *arg, struct err *err)
{
	switch (opt) {
	case OPT_KERNEL:
		return take_string(&o->kernel, arg);
	case OPT_RESTORE:
		return take_string(&o->restore, arg);
	case OPT_INITRD:
		return take_initrd(o, arg, err);
	case OPT_APPEND:
		return take_string(&o->append, arg);
	case OPT_MEMORY:
		o->has_memory = true;
		return take_memory(o, arg, err);
	case OPT_DISK:
		return take_disk(o, arg, err);
	case OPT_NET:
		return take_net(o, arg, err);
	case OPT_ENGINE:
		return take_string(&o->engine, arg);
	case OPT_CONSOLE:
		return take_console(&o->console, "console", arg, err);
	case OPT_VIRTIO_CONSOLE:
		return take_console(&o->virtio_console, "virtio-console", arg, err);
	case OPT_DEBUG_CONSOLE:
		return take_console(&o->debug_console, "debug-console", arg, err);
	case OPT_CLOCK:
		return take_clock(o, arg, err);
	case OPT_RTC:
		return take_rtc(o, arg, err);
	case OPT_JAIL:
		return take_jail(o, arg, err);
	case OPT_NO_JAIL:
		return take_jail(o, "off", err);
	case OPT_SPECULATION:
		return take_speculation(o, arg, err);
	default:
		return take_seed(o, arg, err);
	}
}

int machine_opts_take(struct machine_opts *o, int opt, const char *arg, struct err *err)
{
	int r;

	r = share_opts_take(&o->share, opt, arg, err);
	if (r)
		return r;
	if (opt < OPT_MACHINE || opt >= OPT_MACHINE_END)
		return 0;
	r = take(o, opt, arg, err);
	return r ? r : 1;
}

int machine_opts_check(const struct machine_opts *o, struct err *err)
{
	if (o->kernel && o->restore)
		return err_set(
			err, EINVAL,
			"--kernel and --restore exclude each other: a snapshot holds its kernel");
	if (o->restore && (o->ninitrd || o->append))
		return err_set(err, EINVAL,
			       "--initrd and --append do not go with --restore: the guest has "
			       "booted already");
	if (!o->kernel && !o->restore)
		return err_set(err, EINVAL, "no kernel given: use --kernel FILE");
	if (o->virtio_console && !strcmp(o->virtio_console, "stdio") &&
	    !strcmp(o->console, "stdio"))
		return err_set(err, EINVAL, "--console and --virtio-console cannot both be stdio");
	return 0;
}

bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	if (!a || !b)
		return false;
	return !strcmp(a, b) ||
	       (!stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

const char *machine_opts_file(const struct machine_opts *o, const char *path)
{
	if (same_file(o->kernel, path))
		return "the kernel";
	if (same_file(o->restore, path))
		return "the snapshot";
	for (size_t i = 0; i < o->ninitrd; i++) {
		if (same_file(o->initrd[i], path))
			return "the initrd";
	}
	for (unsigned i = 0; i < o->ndisks; i++) {
		if (same_file(o->disk[i].path, path))
			return "a disk image";
	}
	if (same_file(o->console, path) || same_file(o->virtio_console, path) ||
	    same_file(o->debug_console, path))
		return "the output of a console";
	return NULL;
}

bool machine_opts_host_clock(const struct machine_opts *o)
{
	if (o->clock != CLOCK_AUTO)
		return o->clock == CLOCK_HOST;
	return o->nnics || console_is_interactive(o->console) ||
	       (o->virtio_console && console_is_interactive(o->virtio_console));
}

void machine_opts_help(FILE *f)
{
	fputs("Machine:\n"
	      "  --restore FILE          go on from a snapshot instead of booting a kernel\n"
	      "  --kernel FILE           Linux bzImage or multiboot program (ELF)\n"
	      "  --initrd FILE           initial RAM disk; for multiboot a module, may be "
	      "repeated\n"
	      "  --append TEXT           kernel command line\n"
	      "  --memory SIZE           guest memory, 1M to 64G (256M)\n"
	      "  --disk FILE[,ro|,overlay]\n"
	      "                          raw disk image; overlay keeps changes in memory; up to 4\n"
	      "  --net tap:NAME | pcap:IFACE | none, each with [,mac=ADDRESS]\n"
	      "                          network card; up to 4\n"
	      "  --engine NAME           soft, vmx or auto (auto)\n"
	      "  --console WHERE         serial port: stdio, none, unix:PATH or FILE (stdio)\n"
	      "  --virtio-console WHERE  adds a virtio console\n"
	      "  --debug-console WHERE   output of port 0xe9 (where --console goes)\n"
	      "  --clock auto|host|virtual\n"
	      "                          virtual time follows the host's clock, or the instruction "
	      "count alone;\n"
	      "                          auto: host with --net, or when the console is a terminal "
	      "or socket\n"
	      "  --rtc SECONDS|now       time of the guest's clock at the start\n"
	      "  --jail on|strict        strict: refuse to start when this host lacks a layer of "
	      "the jail (on)\n"
	      "  --no-jail               keep all rights of this user: only to look for errors\n"
	      "  --speculation protect|allow\n"
	      "                          allow: leave the processor's speculation controls as they "
	      "are (protect)\n"
	      "  --seed HEX              seed of the guest's random numbers (host clock: random; "
	      "else zero)\n",
	      f);
	share_opts_help(f);
}

int options_next(int argc, char **argv, const struct option *options)
{
	return options_next_short(argc, argv, "", options);
}

int options_next_short(int argc, char **argv, const char *shorts, const struct option *options)
{
	char all[32];
	int opt;

	snprintf(all, sizeof(all), ":%s", shorts);
	opterr = 0;
	opt = getopt_long(argc, argv, all, options, NULL);
	if (opt == '?') {
		if (optopt)
			log_error("option '%s' takes no value or is unknown; `twinstep %s --help` "
				  "lists them",
				  argv[optind - 1], argv[0]);
		else
			log_error("unknown option '%s'; `twinstep %s --help` lists them",
				  argv[optind - 1], argv[0]);
	} else if (opt == ':') {
		log_error("option '%s' needs a value; see `twinstep %s --help`", argv[optind - 1],
			  argv[0]);
		return '?';
	}
	return opt;
}
