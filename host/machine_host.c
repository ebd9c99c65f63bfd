// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/machine_host.h"

#include <errno.h>
#include <net/if.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/log.h"
#include "record/checkpoint.h"
#include "record/disk_file.h"
#include "record/disk_format.h"
#include "host/unpack.h"
#include "hypervisor/boot/eltorito.h"

#define KERNEL_MAX (1ull << 30)
#define MODULE_MAX (3ull << 30)
/* Read to say how long a file is that is none. */
#define FIRMWARE_MAX   (64ull << 20)
#define BOOT_RECORD_AT (17u * 2048)
#define NET_ROM_MAX    (256u << 10)

/* The last bytes of a master boot record */
#define BOOT_SIGNATURE_AT 510

/* Reads a whole regular file of at most max bytes into memory; drop_image() frees it. */
static int read_image(const char *path, size_t max, struct boot_image *image, struct err *err)
{
	int fd = open(path,
		      O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not block */
	char *data;
	int r;

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	r = file_read_whole(fd, path, max, &data, &image->len, err);
	close(fd);
	if (r)
		return r;
	image->name = path;
	image->data = (const uint8_t *)data;
	return 0;
}

/* Takes the place of a kernel among the images. */
static int open_firmware(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	const char *path = machine_opts_firmware(o);
	int r = read_image(path, FIRMWARE_MAX, &h->boot.kernel, err);

	if (r != -ENOENT || o->firmware)
		return r;
	return err_set(err, ENOENT,
		       "a disk boots by SeaBIOS, and there is no %s: apt install seabios, or "
		       "name another with --firmware FILE",
		       path);
}

static int open_images(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	int r = h->config.firmware ? open_firmware(h, o, err)
		: o->kernel	   ? read_image(o->kernel, KERNEL_MAX, &h->boot.kernel, err)
				   : 0;

	h->boot.cmdline = o->append ? o->append : "";
	h->boot.no_bios_data = o->no_bios_data;
	for (size_t i = 0; !r && i < o->ninitrd; i++) {
		r = read_image(o->initrd[i].path, MODULE_MAX, &h->boot.module[i], err);
		if (r)
			break;
		h->boot.text[i] = machine_opts_module_text(&o->initrd[i]);
		h->boot.nmodules++;
	}
	return r;
}

/* An option ROM says itself how long it is; it may be followed by more. */
static int read_net_rom(const char *path, struct buf *out, struct err *err)
{
	struct boot_image rom = { 0 };
	int r = read_image(path, NET_ROM_MAX, &rom, err);

	if (r == -ENOENT)
		return err_prefix(err, "to boot from the network (apt install ipxe-qemu)");
	if (r)
		return r;
	if (rom.len < 3 || rom.len % DISK_SECTOR || rom.data[0] != 0x55 || rom.data[1] != 0xaa ||
	    !rom.data[2] || (size_t)rom.data[2] * DISK_SECTOR > rom.len)
		r = err_set(err, EINVAL,
			    "%s is no option ROM: it has to begin with 55 aa and its length in 512 "
			    "bytes, and to be as long",
			    path);
	else
		buf_put(out, rom.data, rom.len);
	free((void *)(uintptr_t)rom.data);
	return r;
}

/* Makes the carried bytes out of their files, or takes them as they were recorded. */
static int make_carried(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	int r = o->cloud_init.user_data
			? cloud_init_make(&o->cloud_init, &h->carried[CARRIED_CIDATA], err)
			: 0;

	if (!r && o->net_rom)
		r = read_net_rom(o->net_rom, &h->carried[CARRIED_NET_ROM], err);
	if (!r && o->boots_cd)
		eltorito_put_rom(&h->carried[CARRIED_CD_ROM]);
	for (unsigned i = 0; !r && i < CARRIED; i++) {
		struct buf *b = &h->carried[i];

		if (o->carried[i].data)
			buf_put(b, o->carried[i].data, o->carried[i].size);
		if (b->bad)
			r = err_set(err, ENOMEM, "out of memory");
		h->config.carried_sectors[i] = (uint32_t)(b->len / DISK_SECTOR);
	}
	return r;
}

static int check_format(struct disk_backend *disk, const struct disk_opt *d, struct err *err)
{
	const char *format = d->raw ? NULL : disk_format_find(disk);

	return format ? err_set(err, EINVAL,
				"disk image %s is %s, and the guest would see that instead of its "
				"disk: convert it (qemu-img convert -O raw) or unpack it first; "
				"with ,format=raw it is taken as it is",
				d->path, format)
		      : 0;
}

static int open_disks(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	for (unsigned i = 0; i < o->ndisks; i++) {
		const struct disk_opt *d = &o->disk[i];

		h->disk[i] = d->overlay ? disk_overlay_open(d->path, err)
					: disk_file_open(d->path, d->readonly, err);
		if (!h->disk[i] || check_format(h->disk[i], d, err))
			return -err->code;
		h->config.disk_sectors[i] = h->disk[i]->sectors;
		h->config.disk_readonly[i] = h->disk[i]->readonly;
		h->config.ndisks = i + 1;
	}
	return 0;
}

/* What the ROM of --boot cdrom looks for, on any disk. */
static int check_boot_record(const struct machine_host *h, struct err *err)
{
	static const char record[] = "\0CD001\1EL TORITO SPECIFICATION";
	char got[sizeof(record) - 1];

	for (unsigned i = 0; i < h->config.ndisks; i++) {
		if (h->disk[i]->sectors * DISK_SECTOR >= BOOT_RECORD_AT + sizeof(got) &&
		    !disk_raw_read(h->disk[i], got, sizeof(got), BOOT_RECORD_AT) &&
		    !memcmp(got, record, sizeof(got)))
			return 0;
	}
	return err_set(err, EINVAL,
		       "--boot cdrom: no --disk is a bootable CD's image: none has an El Torito "
		       "boot record at byte %u",
		       BOOT_RECORD_AT);
}

/* Firmware would say no more than that it finds nothing, and only where somebody looks. */
static int check_boot_sector(const struct machine_host *h, const struct machine_opts *o,
			     struct err *err)
{
	uint8_t mark[2];

	if (h->config.firmware && machine_opts_boots_cd(o))
		return check_boot_record(h, err);
	if (!h->config.firmware || machine_opts_boots_net(o))
		return 0;
	if (h->disk[0]->sectors < 1 || disk_raw_read(h->disk[0], mark, 2, BOOT_SIGNATURE_AT))
		return err_set(err, EINVAL, "cannot read the boot sector of %s", o->disk[0].path);
	if (mark[0] != 0x55 || mark[1] != 0xaa)
		return err_set(err, EINVAL,
			       "%s has no boot sector: its bytes 510 and 511 are %02x %02x, not "
			       "55 aa; the first --disk is the one that boots (or use --kernel)",
			       o->disk[0].path, mark[0], mark[1]);
	return 0;
}

int machine_host_keep_disks(struct machine_host *h, const struct machine_opts *o,
			    enum disk_keep_new how, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < o->ndisks && ret == 0; i++)
		ret = disk_keep_open(&h->keep[i], &o->disk[i], h->disk[i], how, err);
	return ret;
}

static int load_meta(struct machine_host *h, struct err *err)
{
	for (unsigned i = 0; i < MACHINE_DISKS; i++) {
		if (!h->keep[i].path)
			continue;
		h->meta[i] = disk_keep_load(&h->keep[i], h->disk[i], &h->record, err);
		if (!h->meta[i])
			return -err->code;
		if (h->alone && disk_keep_part(&h->keep[i], h->meta[i], h->force, err))
			return -err->code;
	}
	return 0;
}

/* A tap that is to be in a bridge has to be made there: one of the moment would be in none. */
static int check_tap_exists(const struct nic_opt *nic, struct err *err)
{
	if (!nic->bridge || if_nametoindex(nic->spec + strlen("tap:")))
		return 0;
	return err_set(err, ENODEV,
		       "--net %s,bridge=%s: there is no such interface: `twinstep net create NAME` "
		       "makes it",
		       nic->spec, nic->bridge);
}

static int open_nics(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	for (unsigned i = 0; i < o->nnics; i++) {
		if (check_tap_exists(&o->nic[i], err) < 0)
			return -err->code;
		memcpy(h->config.mac[i], o->nic[i].mac, 6);
		h->nic[i] = nic_open(o->nic[i].spec, h->config.mac[i], err);
		if (!h->nic[i])
			return -err->code;
		h->config.nnics = i + 1;
	}
	return 0;
}

static int choose_seed(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	h->has_seed = o->has_seed;
	if (o->has_seed)
		memcpy(h->seed, o->seed, sizeof(h->seed));
	else if (h->clock == LIVE_CLOCK_HOST &&
		 getrandom(h->seed, sizeof(h->seed), 0) != (ssize_t)sizeof(h->seed))
		return err_set(err, EIO, "cannot get random bytes for the guest's generator: %s",
			       strerror(errno));
	return 0;
}

static int open_snapshot(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	if (!o->restore)
		return 0;
	h->restore_fd = checkpoint_open(o->restore, err);
	if (h->restore_fd < 0)
		return h->restore_fd;
	h->restore = o->restore;
	if (!o->restore_base)
		return 0;
	h->restore_base_fd = checkpoint_open(o->restore_base, err);
	h->restore_base = o->restore_base;
	return h->restore_base_fd < 0 ? h->restore_base_fd : 0;
}

/* The host's own part of a configuration that came from elsewhere: disks as they are, NICs with the
 * guest's addresses.
 */
static int take_config(struct machine_host *h, const struct machine_config *c, struct err *err)
{
	struct machine_config own = h->config;

	h->config = *c;
	memcpy(h->config.disk_sectors, own.disk_sectors, sizeof(own.disk_sectors));
	memcpy(h->config.disk_readonly, own.disk_readonly, sizeof(own.disk_readonly));
	for (unsigned i = 0; i < c->nnics; i++) {
		if (nic_set_mac(h->nic[i], c->mac[i], err))
			return -err->code;
	}
	return 0;
}

/* Logs, when the guest is about to start, the choice of `auto` and the layers that the jail lacks.
 */
static void announce(const struct machine_host *h)
{
	const struct engine_ops *ops = h->engine;

	jail_warn();
	if (strcmp(h->engine_name, "auto"))
		return;
	if (ops->about)
		log_info("engine %s: %s%s%s", ops->name, ops->about, h->passed ? ": " : "",
			 h->passed ? h->passed : "");
	else if (h->passed && !h->counter[0])
		log_info("engine %s: %s", ops->name, h->passed);
}

int machine_host_choose_engine(struct machine_host *h, const char *counter,
			       const struct traits *traits, struct err *err)
{
	struct engine_past past = { .traits = traits, .version = h->config.version };

	if (counter)
		snprintf(h->counter, sizeof(h->counter), "%s", counter);
	past.counter = h->counter[0] ? h->counter : NULL;
	h->engine = engine_find(h->engine_name, &past, &h->passed, err);
	if (!h->engine)
		return -err->code;
	return 0;
}

/* A snapshot brings its configuration along; the host's side has to fit. */
static int read_snapshot(struct machine_host *h, struct err *err)
{
	struct checkpoint_info info;
	int r = checkpoint_read_info_fd(h->restore_fd, h->restore, &info, err);

	if (r)
		return r;
	if (info.base && !h->restore_base)
		return err_set(err, EINVAL,
			       "%s holds changes only: give the snapshot that it was made from as "
			       "--restore-base",
			       h->restore);
	if (!info.base && h->restore_base)
		return err_set(err, EINVAL, "%s stands alone: leave out --restore-base",
			       h->restore);
	if (info.config.nnics != h->config.nnics || info.config.ndisks != h->config.ndisks)
		return err_set(err, EINVAL,
			       "%s is of a machine with %u NICs and %u disks: give as many --net "
			       "and --disk",
			       h->restore, info.config.nnics, info.config.ndisks);
	if (info.config.virtio_console != h->config.virtio_console)
		return err_set(err, EINVAL,
			       "%s is of a machine with%s a virtio console: %s --virtio-console",
			       h->restore, info.config.virtio_console ? "" : "out",
			       info.config.virtio_console ? "give" : "leave out");
	if (info.config.agent != h->config.agent)
		return err_set(err, EINVAL,
			       "%s is of a machine with%s a line to a guest agent: %s "
			       "--guest-agent",
			       h->restore, info.config.agent ? "" : "out",
			       info.config.agent ? "give" : "leave out");
	if (h->version_given && info.config.version != h->config.version)
		return err_set(err, EINVAL, "%s holds a machine of version %u: leave out --machine",
			       h->restore, info.config.version);
	if (h->memory_given && info.config.memory != h->config.memory)
		return err_set(err, EINVAL,
			       "%s is of a machine with %llu MiB of memory: leave out --memory",
			       h->restore, (unsigned long long)(info.config.memory >> 20));
	if (machine_host_choose_engine(h, info.counter, h->traits, err))
		return -err->code;
	return take_config(h, &info.config, err);
}

static int import_disk(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	struct machine_host *h = ctx;
	struct rd in = RD_INIT(data, len);

	if (!len) /* it cannot change, or has not */
		return 0;
	if (!disk_has_overlay(h->disk[i]))
		return err_set(err, EINVAL,
			       "%s holds changes to disk %u, which are not for the image itself: "
			       "use --disk FILE,overlay",
			       h->restore, i);
	return disk_overlay_import(h->disk[i], &in, err);
}

/*
 * What an image holds is not overwritten: it may be the only copy of something. An overlay leaves
 * its image as it is.
 */
static int check_fillable(const struct machine_host *h, unsigned i, struct err *err)
{
	const struct disk_backend *d = h->disk[i];

	if (d->readonly)
		return err_set(err, EINVAL,
			       "%s holds the content of disk %u: give an image without ,ro",
			       h->restore, i);
	if (disk_has_overlay(d) || disk_is_blank(d))
		return 0;
	return err_set(err, EEXIST,
		       "%s holds the content of disk %u, and the image that is given for it has "
		       "data already: give a new one, as from `truncate -s %llu FILE`, or use "
		       "--disk FILE,overlay",
		       h->restore, i, (unsigned long long)(d->sectors * DISK_SECTOR));
}

static int fill_disk(void *ctx, unsigned i, uint64_t offset, const uint8_t *data, uint64_t len,
		     struct err *err)
{
	struct machine_host *h = ctx;
	int ret = h->filled >> i & 1 ? 0 : check_fillable(h, i, err);

	if (ret < 0)
		return ret;
	h->filled |= 1u << i;
	ret = disk_raw_write(h->disk[i], data, len, offset);
	return ret ? err_set(err, ret, "%s: cannot write the content of disk %u: %s", h->restore, i,
			     strerror(ret))
		   : 0;
}

/* The guest has flushed what it knows to be on its disks. */
static int settle_disks(struct machine_host *h, struct err *err)
{
	for (unsigned i = 0; i < h->config.ndisks; i++) {
		int error = h->filled >> i & 1 ? disk_flush_image(h->disk[i]) : 0;

		if (error)
			return err_set(err, error, "%s: cannot write the content of disk %u: %s",
				       h->restore, i, strerror(error));
	}
	return 0;
}

static int restore_machine(struct machine *m, struct machine_host *h, struct err *err)
{
	struct checkpoint_restore_options o = { .disk_import = import_disk,
						.disk_content = fill_disk,
						.disk_ctx = h,
						.below = h->restore_base != NULL };
	struct checkpoint_info info;
	int ret = 0;

	if (h->restore_base) {
		ret = checkpoint_restore_fd(h->restore_base_fd, h->restore_base, m, &o, &info, err);
		o.base = info.id;
		o.below = false;
	}
	if (ret == 0)
		ret = checkpoint_restore_fd(h->restore_fd, h->restore, m, &o, &info, err);
	return ret ? ret : settle_disks(h, err);
}

int machine_host_open(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	const struct engine_past past = { o->counter, o->traits, o->version };
	int r;

	memset(h, 0, sizeof(*h));
	machine_config_defaults(&h->config);
	h->config.version = o->version;
	h->config.firmware = machine_opts_firmware(o) != NULL;
	h->version_given = o->has_version;
	h->config.memory = o->memory;
	h->memory_given = o->has_memory;
	h->config.virtio_console = o->virtio_console != NULL;
	h->config.agent = o->guest_agent != NULL;
	h->clock = machine_opts_host_clock(o) ? LIVE_CLOCK_HOST : LIVE_CLOCK_VIRTUAL;
	if (o->has_rtc)
		h->config.rtc_epoch = o->rtc;
	else if (h->clock == LIVE_CLOCK_HOST)
		h->rtc_now = true;
	h->engine_name = o->engine;
	h->traits = o->traits;
	if (o->restore) /* says what it counts when it is read, in the jail, where VT-x cannot be
			   opened any more */
		h->engine = engine_find(o->engine, &past, &h->passed, err);
	if (o->restore ? !h->engine : machine_host_choose_engine(h, o->counter, o->traits, err))
		return -err->code;
	if ((r = open_snapshot(h, o, err)) || (r = open_images(h, o, err)) ||
	    (r = make_carried(h, o, err)) || (r = open_disks(h, o, err)) ||
	    (r = check_boot_sector(h, o, err)) || (r = open_nics(h, o, err)) ||
	    (r = choose_seed(h, o, err)))
		machine_host_close(h);
	return r;
}

int machine_host_open_side(struct machine_host *h, const struct machine_opts *o, struct err *err)
{
	int r;

	memset(h, 0, sizeof(*h));
	machine_config_defaults(&h->config);
	h->clock = LIVE_CLOCK_HOST;
	h->engine_name = o->engine;
	/*
	 * The final choice of `auto` comes later, when the primary has said what it counts. VT-x
	 * has to be opened now all the same.
	 */
	h->engine = engine_find(o->engine, NULL, &h->passed, err);
	if (!h->engine)
		return -err->code;
	if ((r = open_disks(h, o, err)) || (r = open_nics(h, o, err)))
		machine_host_close(h);
	return r;
}

/*
 * A copy that has missed its disk's growth gets it in the join, and one that grew alone loses that:
 * the join knows whether it is one.
 */
static bool may_change(const struct machine_host *h, unsigned i)
{
	struct disk_meta_identity id = { 0 };

	if (h->meta[i])
		disk_meta_get(h->meta[i], &id);
	return id.current;
}

int machine_host_fit(struct machine_host *h, const struct machine_config *c, struct err *err)
{
	struct machine_config mine = *c;

	if (c->nnics != h->config.nnics || c->ndisks != h->config.ndisks)
		return err_set(err, EINVAL,
			       "the primary's machine has %u NICs and %u disks: give as many --net "
			       "and --disk",
			       c->nnics, c->ndisks);
	memcpy(mine.disk_readonly, h->config.disk_readonly, sizeof(mine.disk_readonly));
	for (unsigned i = 0; i < c->ndisks; i++)
		if (!may_change(h, i))
			mine.disk_sectors[i] = h->config.disk_sectors[i];
	if (machine_config_digest(&mine) != machine_config_digest(c))
		return err_set(err, EINVAL,
			       "our disks are not like the primary's: size and read-only must be "
			       "the same, unless one has grown since ours was a copy of it");
	return take_config(h, c, err);
}

int machine_host_enter_share(const struct machine_opts *o, struct err *err)
{
	const char *path[MACHINE_DISKS];

	for (unsigned i = 0; i < o->ndisks; i++)
		path[i] = o->disk[i].path;
	return share_enter(&o->share, path, o->ndisks, err);
}

int machine_host_promise(struct machine_host *h, const struct share_opts *s, struct err *err)
{
	return h->restore ? share_promise_later(s, err) : share_promise(s, h->config.memory, err);
}

int machine_host_settle(struct machine_host *h, const struct share_opts *s, struct err *err)
{
	if (load_meta(h, err))
		return -err->code;
	if (!h->restore)
		return 0;
	if (read_snapshot(h, err))
		return -err->code;
	return s ? share_promise(s, h->config.memory, err) : 0;
}

static int boot_machine(struct machine *m, struct machine_host *h, struct err *err)
{
	struct engine *e = machine_engine(m);
	struct cpu_state state = { 0 };
	int r;

	if (h->config.firmware)
		return machine_load_firmware(m, h->boot.kernel.data, h->boot.kernel.len,
					     h->boot.kernel.name, err);
	r = image_unpack(&h->boot.kernel, KERNEL_MAX, err);

	h->boot.acpi = h->config.version == 2;
	if (!r)
		r = boot_load(machine_memory(m), &h->boot, &state, err);
	return r ? r : e->ops->set_state(e, &state, err);
}

static void drop_image(struct boot_image *image)
{
	free((void *)(uintptr_t)image->data);
	*image = (struct boot_image){ .name = image->name };
}

/* Frees the bytes of kernel and modules: the guest has its copy. */
static void machine_host_drop_images(struct machine_host *h)
{
	drop_image(&h->boot.kernel);
	for (unsigned i = 0; i < CARRIED; i++)
		buf_free(&h->carried[i]);
	for (size_t i = 0; i < h->boot.nmodules; i++)
		drop_image(&h->boot.module[i]);
}

struct machine *machine_host_create(struct machine_host *h, const struct output_sink *sink,
				    struct err *err)
{
	struct machine *m;
	int r = 0;

	/* The time of the guest's start, and not that of the options: disks were read meanwhile. */
	if (h->rtc_now && !h->restore)
		h->config.rtc_epoch = (uint64_t)time(NULL);
	jail_limit_memory(h->config.memory);
	m = machine_create(&h->config, h->engine, h->disk, sink, err);
	if (m && h->restore)
		r = restore_machine(m, h, err);
	else if (m && h->boot.kernel.data)
		r = boot_machine(m, h, err);
	for (unsigned i = 0; m && !r && !h->restore && i < CARRIED; i++) {
		if (h->carried[i].len)
			r = machine_load_carried(m, i, h->carried[i].data, h->carried[i].len, err);
	}
	machine_host_drop_images(h);
	if (r) {
		machine_destroy(m);
		return NULL;
	}
	if (m)
		announce(h);
	return m;
}

int machine_host_open_consoles(struct machine_host *h, const struct machine_opts *o,
			       void (*quit)(void *ctx), void *ctx, struct err *err)
{
	const char *where[MACHINE_CONSOLES] = { [CONSOLE_SERIAL] = o->console,
						[CONSOLE_VIRTIO] = o->virtio_console,
						[CONSOLE_AGENT] = o->guest_agent };

	for (unsigned i = 0; i < MACHINE_CONSOLES; i++) {
		if (where[i] && !(h->console[i] = console_open(where[i], quit, ctx, err)))
			return -err->code;
	}
	if (o->debug_console && !(h->debug = console_open(o->debug_console, NULL, NULL, err)))
		return -err->code;
	return 0;
}

/*
 * Bound on the length of a file: the guest's memory, which is a file; a disk or the changes to it;
 * a snapshot, which holds all of them, and while it is made has them twice; with room for console
 * output. Only a log has no bound.
 */
#define FILE_SPARE (64ull << 30)

static uint64_t file_limit(const struct machine_host *h)
{
	uint64_t limit = 2 * MEMORY_MAX + FILE_SPARE;

	for (unsigned i = 0; i < h->config.ndisks; i++)
		limit += 2 * h->config.disk_sectors[i] * 512;
	return limit;
}

/* which: number of the NIC in the lowest 16 bits, above them the guest's address. */
static int attach_nic(void *ctx, uint64_t which)
{
	struct machine_host *h = ctx;
	unsigned nth = which & 0xffff;
	uint64_t mac = which >> 16;

	if (nth >= MACHINE_NICS || !h->nic[nth])
		return -EINVAL;
	return nic_attach(h->nic[nth], h->attach_fd, (const uint8_t *)&mac);
}

static int live_attach_nic(void *ctx, unsigned port, const uint8_t mac[6])
{
	uint64_t which = 0;

	memcpy(&which, mac, 6);
	which = which << 16 | port;
	return jail_keeper() ? keeper_ask_attach(jail_keeper(), which) : attach_nic(ctx, which);
}

/* The keeper can attach NICs anew, by their number, for an address. */
static void allow_attach(struct machine_host *h)
{
	bool any = false, taps = false;

	for (unsigned i = 0; i < MACHINE_NICS; i++) {
		if (!h->nic[i])
			continue;
		any = true;
		taps |= h->nic[i]->ops == &nic_tap_ops;
		if (nic_fd(h->nic[i]) >= 0)
			keeper_keep(nic_fd(h->nic[i]));
	}
	if (!any)
		return;
	keeper_allow_attach(attach_nic, h, taps);
	if (h->attach_fd >= 0)
		keeper_keep(h->attach_fd);
}

int machine_host_jail(struct machine_host *h, enum jail_mode mode, const struct jail_config *c,
		      struct err *err)
{
	struct jail_config jc = *c;
	int ret = memory_prepare(err);

	if (ret < 0)
		return ret;
	json_object_seed(0);	/* it would open a file for it later */
	jc.memory = MEMORY_MAX; /* until the machine is known */
	jc.file_size = jc.file_size == UINT64_MAX ? 0 : file_limit(h);
	h->attach_fd = nic_attach_socket();
	allow_attach(h);
	ret = jail_enter(mode, &jc, err);
	if (jail_keeper() && h->attach_fd >= 0) {
		close(h->attach_fd); /* the keeper has it */
		h->attach_fd = -1;
	}
	return ret;
}

int machine_host_start_consoles(struct machine_host *h, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < MACHINE_CONSOLES; i++)
		r = console_start(h->console[i], err);
	return r ? r : console_start(h->debug, err);
}

static struct console *debug_console(const struct machine_host *h)
{
	return h->debug ? h->debug : h->console[0];
}

void machine_host_live(const struct machine_host *h, struct live_config *c)
{
	c->clock = h->clock;
	c->resumed = h->restore != NULL;
	c->moved = c->resumed && h->clock == LIVE_CLOCK_HOST;
	c->agent = c->moved ? LIVE_AGENT_TIME : LIVE_AGENT_LEFT;
	c->reseed =
		h->has_seed ||
		h->clock ==
			LIVE_CLOCK_HOST; /* two machines from one snapshot must not agree on keys */
	memcpy(c->seed, h->seed, sizeof(c->seed));
	for (unsigned i = 0; i < MACHINE_NICS; i++)
		c->nic[i] = h->nic[i];
	c->attach = live_attach_nic;
	c->attach_ctx = (void *)(uintptr_t)h;
	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		c->console[i] = console_live(h->console[i]);
	c->debug = console_live(debug_console(h));
	c->firmware = console_live(h->debug);
}

void machine_host_console_out(const struct machine_host *h, struct console_out *out)
{
	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		out->console[i] = console_live(h->console[i]);
	out->console[CONSOLE_OUT_DEBUG] = console_live(debug_console(h));
	out->console[CONSOLE_OUT_FIRMWARE] = console_live(h->debug);
}

void machine_host_stop_input(struct machine_host *h)
{
	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		console_stop_input(h->console[i]);
}

void machine_host_set_patience(struct machine_host *h, int ms)
{
	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		console_set_patience(h->console[i], ms);
	console_set_patience(h->debug, ms);
}

uint64_t machine_host_console_lost(const struct machine_host *h)
{
	uint64_t lost = console_lost(h->debug);

	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		lost += console_lost(h->console[i]);
	return lost;
}

bool machine_host_console_waits(const struct machine_host *h)
{
	bool waits = console_waits(h->debug);

	for (unsigned i = 0; i < MACHINE_CONSOLES; i++)
		waits = waits || console_waits(h->console[i]);
	return waits;
}

void machine_host_close_consoles(struct machine_host *h)
{
	console_close(h->debug);
	h->debug = NULL;
	for (unsigned i = 0; i < MACHINE_CONSOLES; i++) {
		console_close(h->console[i]);
		h->console[i] = NULL;
	}
}

void machine_host_close(struct machine_host *h)
{
	machine_host_drop_images(h);
	if (h->restore_fd > 0)
		close(h->restore_fd);
	if (h->restore_base_fd > 0)
		close(h->restore_base_fd);
	for (unsigned i = 0; i < MACHINE_NICS; i++)
		nic_close(h->nic[i]);
	if (h->attach_fd > 0)
		close(h->attach_fd);
	for (unsigned i = 0; i < MACHINE_DISKS; i++) {
		disk_close(h->disk[i]);
		disk_keep_close(&h->keep[i]);
	}
	memset(h, 0, sizeof(*h));
}
