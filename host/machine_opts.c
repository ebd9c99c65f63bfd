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
#include "host/options.h"
#include "host/suboptions.h"

#define DEFAULT_MEMORY	 (256ull << 20)
#define DEFAULT_NET_ROM	 "/usr/lib/ipxe/qemu/pxe-virtio.rom" /* of Debian's package ipxe-qemu */
#define DEFAULT_FIRMWARE "/usr/share/seabios/bios-256k.bin"  /* of Debian's package seabios */

void machine_opts_defaults(struct machine_opts *o)
{
	*o = (struct machine_opts){
		.version = MACHINE_VERSION,
		.memory = DEFAULT_MEMORY,
		.engine = "auto",
		.console = "stdio",
	};
}

static void nic_opt_free(struct nic_opt *n)
{
	free(n->spec);
	free(n->bridge);
}

void machine_opts_free(struct machine_opts *o)
{
	for (unsigned i = 0; i < o->ndisks; i++) {
		free(o->disk[i].path);
		free(o->disk[i].meta);
	}
	for (unsigned i = 0; i < o->nnics; i++)
		nic_opt_free(&o->nic[i]);
	for (size_t i = 0; i < o->ninitrd; i++) {
		free(o->initrd[i].path);
		free(o->initrd[i].text);
	}
	cloud_init_free(&o->cloud_init);
	free(o->net_rom);
	o->net_rom = NULL;
	o->ndisks = o->nnics = 0;
	o->ninitrd = 0;
}

int machine_parse_memory(const struct option_row *row, void *target, const char *arg,
			 struct err *err)
{
	struct machine_opts *o = target;

	o->has_memory = true;
	if (!limits_parse_size(arg, &o->memory))
		return err_set(err, EINVAL, "--memory %s: not a size; write for example 256M or 2G",
			       arg);
	if (o->memory < MEMORY_MIN || o->memory > MEMORY_MAX)
		return err_set(err, EINVAL, "--memory %s: a guest has at least 1M and at most 64G",
			       arg);
	if (o->memory % PAGE_SIZE)
		return err_set(err, EINVAL, "--memory %s: must be a multiple of 4096 bytes", arg);
	return 0;
}

int machine_parse_version(const struct option_row *row, void *target, const char *arg,
			  struct err *err)
{
	struct machine_opts *o = target;
	uint64_t n;

	if (!parse_number(arg, &n) || n < 1 || n > MACHINE_VERSIONS)
		return err_set(err, EINVAL, "--machine %s: there are versions 1 to %d", arg,
			       MACHINE_VERSIONS);
	o->version = (unsigned)n;
	o->has_version = true;
	return 0;
}

int machine_parse_initrd(const struct option_row *row, void *target, const char *arg,
			 struct err *err)
{
	struct machine_opts *o = target;

	struct initrd_opt i = { 0 };
	const struct suboption known[] = { { .name = "text", .takes = "TEXT", .value = &i.text } };
	int ret;

	if (o->ninitrd == BOOT_MODULES)
		return err_set(err, EINVAL, "--initrd %s: at most %d", arg, BOOT_MODULES);
	ret = suboptions_parse("initrd", arg, &i.path, known, 1, err);
	o->initrd[o->ninitrd++] = i;
	return ret;
}

static int check_disk(const struct disk_opt *d, const char *format, const char *arg,
		      struct err *err)
{
	if (format && strcmp(format, "raw"))
		return err_set(err, EINVAL, "--disk %s: raw is the only format there is", arg);
	if (d->readonly && d->overlay)
		return err_set(err, EINVAL, "--disk %s: a read-only disk needs no overlay", arg);
	if (d->meta && (d->readonly || d->overlay))
		return err_set(
			err, EINVAL,
			"--disk %s: only a disk that is written has metadata: leave out meta=",
			arg);
	return 0;
}

int machine_parse_disk(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct machine_opts *o = target;
	struct disk_opt d = { 0 };
	char *format = NULL;
	const struct suboption known[] = {
		{ .name = "ro", .flag = &d.readonly },
		{ .name = "overlay", .flag = &d.overlay },
		{ .name = "format", .takes = "raw", .value = &format },
		{ .name = "meta", .takes = "FILE", .value = &d.meta },
	};
	int ret;

	if (o->ndisks == MACHINE_DISKS)
		return err_set(err, EINVAL, "--disk %s: at most %d disks", arg, MACHINE_DISKS);
	ret = suboptions_parse("disk", arg, &d.path, known, sizeof(known) / sizeof(known[0]), err);
	d.raw = format != NULL;
	o->disk[o->ndisks++] = d;
	if (ret == 0)
		ret = check_disk(&d, format, arg, err);
	free(format);
	return ret;
}

int machine_parse_cloud_init(const struct option_row *row, void *target, const char *arg,
			     struct err *err)
{
	struct machine_opts *o = target;

	return cloud_init_parse(&o->cloud_init, "--cloud-init", arg, err);
}

/* Checks the words of --boot: 0, or -EINVAL and err. */
static int check_boot(const char *from, const char *rom, const char *arg, struct err *err)
{
	if (strcmp(from, "disk") && strcmp(from, "cdrom") && strcmp(from, "net"))
		return err_set(err, EINVAL, "--boot %s: must be disk, cdrom or net", arg);
	if (rom && strcmp(from, "net"))
		return err_set(err, EINVAL, "--boot %s: rom= goes with net", arg);
	return 0;
}

int machine_parse_boot(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct machine_opts *o = target;
	char *from = NULL, *rom = NULL;
	const struct suboption known[] = { { .name = "rom", .takes = "FILE", .value = &rom } };
	int ret = suboptions_parse("boot", arg, &from, known, 1, err);

	if (ret == 0)
		ret = check_boot(from, rom, arg, err);
	free(o->net_rom);
	o->net_rom = NULL;
	o->boots_cd = ret == 0 && !strcmp(from, "cdrom");
	if (ret == 0 && !strcmp(from, "net")) {
		o->net_rom = rom ? rom : strdup(DEFAULT_NET_ROM);
		rom = NULL;
		if (!o->net_rom)
			ret = err_set(err, ENOMEM, "out of memory");
	}
	free(from);
	free(rom);
	return ret;
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

/* Checks the bridge and VLAN of a tap that is made; vlan: the word behind vlan=, or NULL. */
static int check_place(struct nic_opt *n, const char *vlan, const char *arg, struct err *err)
{
	uint64_t id = 0;

	if (n->bridge && strncmp(n->spec, "tap:", 4))
		return err_set(err, EINVAL, "--net %s: bridge= is for tap interfaces", arg);
	if (vlan && !n->bridge)
		return err_set(err, EINVAL,
			       "--net %s: vlan= is for a port of a bridge: add bridge=", arg);
	if (vlan && (!parse_number(vlan, &id) || id < 1 || id > 4094))
		return err_set(err, EINVAL, "--net %s: vlan= takes a number from 1 to 4094", arg);
	n->vlan = (unsigned)id;
	return 0;
}

int machine_parse_net(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct machine_opts *o = target;
	struct nic_opt n = { .mac = { 0x52, 0x54, 0, 0x12, 0x34, (uint8_t)(0x56 + o->nnics) } };
	char *mac = NULL, *vlan = NULL;
	const struct suboption known[] = {
		{ .name = "mac", .takes = "ADDRESS", .value = &mac },
		{ .name = "bridge", .takes = "BRIDGE", .value = &n.bridge },
		{ .name = "vlan", .takes = "N", .value = &vlan },
	};
	int r;

	if (o->nnics == MACHINE_NICS)
		return err_set(err, EINVAL, "--net %s: at most %d network cards", arg,
			       MACHINE_NICS);
	r = suboptions_parse("net", arg, &n.spec, known, sizeof(known) / sizeof(known[0]), err);
	if (!r && mac && !parse_mac(mac, n.mac))
		r = err_set(err, EINVAL,
			    "--net %s: mac= takes a unicast address such as 52:54:00:12:34:56",
			    arg);
	if (!r && nic_check_spec(n.spec, err))
		r = err_prefix(err, "--net %s", arg);
	if (!r)
		r = check_place(&n, vlan, arg, err);
	free(mac);
	free(vlan);
	if (r)
		nic_opt_free(&n);
	else
		o->nic[o->nnics++] = n;
	return r;
}

int machine_parse_console(const struct option_row *row, void *target, const char *arg,
			  struct err *err)
{
	*(const char **)target = arg;
	return console_check_spec(arg, err) ? err_prefix(err, "--%s %s", row->name, arg) : 0;
}

int machine_parse_rtc(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct machine_opts *o = target;

	o->has_rtc = true;
	if (!strcmp(arg, "now"))
		o->rtc = (uint64_t)time(NULL);
	else if (!parse_number(arg, &o->rtc) || o->rtc > UINT32_MAX)
		return err_set(err, EINVAL, "--rtc %s: must be 'now' or seconds since 1970", arg);
	return 0;
}

int machine_parse_seed(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct machine_opts *o = target;
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

int machine_parse_no_jail(const struct option_row *row, void *target, const char *arg,
			  struct err *err)
{
	struct machine_opts *o = target;

	o->jail = JAIL_OFF;
	return 0;
}

const char *machine_opts_firmware(const struct machine_opts *o)
{
	if (o->kernel || o->restore)
		return NULL;
	return o->firmware ? o->firmware : DEFAULT_FIRMWARE;
}

bool machine_opts_boots_net(const struct machine_opts *o)
{
	return o->net_rom || o->carried[CARRIED_NET_ROM].data;
}

bool machine_opts_boots_cd(const struct machine_opts *o)
{
	return o->boots_cd || o->carried[CARRIED_CD_ROM].data;
}

static int check_disk_boot(const struct machine_opts *o, struct err *err)
{
	if (!o->ndisks && !machine_opts_boots_net(o))
		return err_set(err, EINVAL,
			       "nothing to boot: use --kernel FILE, or --disk FILE with a disk "
			       "that boots by itself");
	if (!o->nnics && machine_opts_boots_net(o))
		return err_set(err, EINVAL, "--boot net needs a network card: --net");
	if (o->version < 2)
		return err_set(err, EINVAL,
			       "a machine of version 1 has no firmware to boot a disk: use "
			       "--kernel FILE, or leave out --machine 1");
	if (o->ninitrd || o->append)
		return err_set(err, EINVAL,
			       "--initrd and --append go with --kernel: a disk that boots by "
			       "itself has its own");
	return 0;
}

#define MORE_IN_2 "; without --machine 1 it has more"

/* A snapshot brings its version along: its machine is compared with what is given. */
static int check_numbers(const struct machine_opts *o, struct err *err)
{
	unsigned disks = machine_disks_max(o->version), nics = machine_nics_max(o->version);

	if (o->restore)
		return 0;
	if (o->ndisks + (o->cloud_init.user_data ? 1 : 0) > disks)
		return err_set(err, EINVAL, "%u disks%s: a machine of version %u has at most %u%s",
			       o->ndisks, o->cloud_init.user_data ? " and cloud-init's" : "",
			       o->version, disks, o->version > 1 ? "" : MORE_IN_2);
	if (o->nnics > nics)
		return err_set(err, EINVAL,
			       "%u network cards: a machine of version %u has at most %u%s",
			       o->nnics, o->version, nics, o->version > 1 ? "" : MORE_IN_2);
	return 0;
}

int machine_opts_check(const struct machine_opts *o, struct err *err)
{
	if (check_numbers(o, err))
		return -err->code;
	if (o->kernel && o->restore)
		return err_set(
			err, EINVAL,
			"--kernel and --restore exclude each other: a snapshot holds its kernel");
	if (o->restore_base && !o->restore)
		return err_set(err, EINVAL,
			       "--restore-base goes with --restore, whose snapshot holds changes "
			       "to it");
	if (o->restore && (o->ninitrd || o->append))
		return err_set(err, EINVAL,
			       "--initrd and --append do not go with --restore: the guest has "
			       "booted already");
	if (o->restore && o->cloud_init.user_data)
		return err_set(err, EINVAL,
			       "--cloud-init does not go with --restore: a snapshot has that disk "
			       "with it");
	if (o->restore && o->has_rtc)
		return err_set(err, EINVAL,
			       "--rtc does not go with --restore: the guest has its clock from the "
			       "snapshot");
	if (o->virtio_console && !strcmp(o->virtio_console, "stdio") &&
	    !strcmp(o->console, "stdio"))
		return err_set(err, EINVAL, "--console and --virtio-console cannot both be stdio");
	if (o->guest_agent && o->version < 2 && !o->restore)
		return err_set(err, EINVAL, "--guest-agent needs a machine of version 2");
	if (machine_opts_firmware(o))
		return check_disk_boot(o, err);
	if (o->net_rom || o->boots_cd)
		return err_set(err, EINVAL, "--boot does not go with %s: firmware looks for it",
			       o->kernel ? "--kernel" : "--restore");
	if (o->firmware)
		return err_set(err, EINVAL, "--firmware does not go with %s: firmware boots a disk",
			       o->kernel ? "--kernel" : "--restore");
	return 0;
}

int machine_opts_say_check(const struct machine_opts *o)
{
	struct err err = ERR_INIT;
	int ret = machine_opts_check(o, &err);

	if (ret < 0)
		log_error("%s", err.text);
	return ret;
}

const char *machine_opts_module_text(const struct initrd_opt *initrd)
{
	const char *slash = strrchr(initrd->path, '/');

	return initrd->text ? initrd->text : slash ? slash + 1 : initrd->path;
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
	if (same_file(machine_opts_firmware(o), path))
		return "the firmware";
	if (same_file(o->net_rom, path))
		return "the network card's ROM";
	if (same_file(o->restore, path) || same_file(o->restore_base, path))
		return "the snapshot";
	for (size_t i = 0; i < o->ninitrd; i++) {
		if (same_file(o->initrd[i].path, path))
			return "the initrd";
	}
	if (same_file(o->cloud_init.user_data, path) || same_file(o->cloud_init.meta_data, path) ||
	    same_file(o->cloud_init.network_config, path))
		return "a file of cloud-init's";
	for (unsigned i = 0; i < o->ndisks; i++) {
		if (same_file(o->disk[i].path, path))
			return "a disk image";
	}
	if (same_file(o->console, path) || same_file(o->virtio_console, path) ||
	    same_file(o->guest_agent, path) || same_file(o->debug_console, path))
		return "the output of a console";
	return NULL;
}

bool machine_opts_host_clock(const struct machine_opts *o)
{
	if (o->clock != CLOCK_AUTO)
		return o->clock == CLOCK_HOST;
	return o->nnics || console_is_interactive(o->console) ||
	       (o->virtio_console && console_is_interactive(o->virtio_console)) ||
	       (o->guest_agent && console_is_interactive(o->guest_agent));
}
