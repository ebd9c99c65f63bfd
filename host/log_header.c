// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/host_clock.h"
#include "host/log_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hypervisor/clock.h"
#include "hypervisor/cpuid.h"
#include "hypervisor/devices/disk.h"
#include "hypervisor/engine.h"
#include "record/disk_image.h"

static int make_ref(struct log_file_ref *ref, const char *path, struct err *err)
{
	if (!path)
		return 0;
	if (disk_image_is_nbd(path))
		return err_set(err, EINVAL,
			       "'%s' is at an NBD server: a recording names its disks by files, "
			       "whose content a replay can compare: give it a copy",
			       path);
	/* The absolute path serves whatever directory the replay is started in. */
	ref->path = realpath(path, NULL);
	if (!ref->path)
		return err_set(err, errno, "cannot find '%s': %s", path, strerror(errno));
	return log_file_digest(ref->path, &ref->digest, err);
}

static int make_module(struct log_module *m, const struct initrd_opt *initrd, struct err *err)
{
	m->text = strdup(machine_opts_module_text(initrd));
	return m->text ? make_ref(&m->file, initrd->path, err)
		       : err_set(err, ENOMEM, "out of memory");
}

static int make_refs(struct log_header *lh, const struct machine_opts *o, struct err *err)
{
	const char *firmware = machine_opts_firmware(o);
	int ret = make_ref(&lh->kernel, firmware ? firmware : o->kernel, err);

	for (size_t i = 0; ret == 0 && i < o->ninitrd; i++)
		ret = make_module(&lh->initrd[lh->ninitrd++], &o->initrd[i], err);
	if (ret == 0)
		ret = make_ref(&lh->snapshot, o->restore, err);
	for (unsigned i = 0; ret == 0 && i < o->ndisks; i++)
		ret = make_ref(&lh->disk[i], o->disk[i].path, err);
	return ret;
}

int log_header_files(struct log_header *lh, const struct machine_opts *o, struct err *err)
{
	int ret;

	*lh = (struct log_header){ .append = strdup(o->append ? o->append : "") };
	ret = lh->append ? make_refs(lh, o, err) : err_set(err, ENOMEM, "out of memory");
	if (ret < 0)
		log_header_free(lh);
	return ret;
}

static int make_carried(struct log_header *lh, const struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < CARRIED; i++) {
		size_t size;
		const uint8_t *data = machine_carried(m, i, &size);

		if (!data)
			continue;
		lh->carried[i] = malloc(size);
		if (!lh->carried[i])
			return err_set(err, ENOMEM, "out of memory");
		memcpy(lh->carried[i], data, size);
	}
	return 0;
}

int log_header_make(struct log_header *lh, const struct machine_host *h, struct machine *m,
		    uint64_t epoch_ns, struct err *err)
{
	const struct engine_ops *ops = machine_engine(m)->ops;

	lh->config = h->config;
	lh->cpuid_digest = cpuid_v1_digest();
	lh->epoch_ns = epoch_ns;
	traits_of(ops, h->config.version, &lh->traits);
	strncpy(lh->engine, ops->name, sizeof(lh->engine) - 1);
	strncpy(lh->counter, ops->counter, sizeof(lh->counter) - 1);
	lh->wall_ns = host_clock_ns(CLOCK_REALTIME);
	lh->start_count = machine_engine(m)->ops->count(machine_engine(m));
	lh->anchor_ns = machine_clock(m)->anchor_ns;
	lh->anchor_count = machine_clock(m)->anchor_count;
	lh->rate = machine_clock(m)->rate;
	lh->start_digest = machine_digest(m);
	return make_carried(lh, m, err);
}

static int recorded_disks(const struct log_header *lh, const struct machine_opts *where,
			  struct machine_opts *o, struct err *err)
{
	for (unsigned i = 0; i < lh->config.ndisks; i++) {
		const char *path = i < where->ndisks ? where->disk[i].path : lh->disk[i].path;

		o->disk[i] = (struct disk_opt){ .path = path ? strdup(path) : NULL,
						.raw = true, /* it was taken so */
						.readonly = lh->config.disk_readonly[i],
						.overlay = !lh->config.disk_readonly[i] };
		if (!o->disk[i].path)
			return err_set(err, EINVAL,
				       "the log does not say where disk %u is: use --disk", i);
		o->ndisks = i + 1;
	}
	return 0;
}

/* Takes the modules' present paths, with the recorded texts, because the guest saw those. */
static int recorded_modules(const struct log_header *lh, const struct machine_opts *where,
			    struct machine_opts *o, struct err *err)
{
	if (where->ninitrd > lh->ninitrd)
		return err_set(err, EINVAL,
			       "the recording was made with %u --initrd, and %zu are given",
			       lh->ninitrd, where->ninitrd);
	for (unsigned i = 0; i < lh->ninitrd; i++) {
		const char *path =
			i < where->ninitrd ? where->initrd[i].path : lh->initrd[i].file.path;
		struct initrd_opt *initrd = &o->initrd[o->ninitrd++];

		if (i < where->ninitrd && where->initrd[i].text)
			return err_set(
				err, EINVAL,
				"--initrd %s: a recording has its text, leave out text=", path);
		*initrd = (struct initrd_opt){ .path = strdup(path),
					       .text = strdup(lh->initrd[i].text) };
		if (!initrd->path || !initrd->text)
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

int log_header_options(const struct log_header *lh, const struct machine_opts *where,
		       struct machine_opts *o, struct err *err)
{
	machine_opts_defaults(o);
	if (where->ndisks > lh->config.ndisks)
		return err_set(err, EINVAL, "the recorded machine has %u disks, and %u are given",
			       lh->config.ndisks, where->ndisks);
	if (where->virtio_console && !lh->config.virtio_console)
		return err_set(
			err, EINVAL,
			"the recorded machine has no virtio console: leave out --virtio-console");
	if (where->guest_agent && !lh->config.agent)
		return err_set(err, EINVAL,
			       "the recorded machine has no guest agent: leave out --guest-agent");
	o->version = lh->config.version;
	o->memory = lh->config.memory;
	o->engine = where->engine;
	o->mixed = where->mixed;
	o->counter = lh->counter;
	o->traits = where->mixed ? NULL : &lh->traits;
	o->append = lh->kernel.path && !lh->config.firmware ? lh->append : NULL;
	o->no_bios_data = lh->version == LOG_VERSION_OLD;
	o->has_rtc = lh->kernel.path != NULL; /* a snapshot has a clock of its own */
	o->rtc = lh->config.rtc_epoch;
	o->clock = CLOCK_VIRTUAL;
	o->console = where->console;
	o->virtio_console = lh->config.virtio_console
				    ? (where->virtio_console ? where->virtio_console : "none")
				    : NULL;
	o->guest_agent =
		lh->config.agent ? (where->guest_agent ? where->guest_agent : "none") : NULL;
	o->debug_console = where->debug_console;
	o->restore = where->restore ? where->restore : lh->snapshot.path;
	if (lh->config.firmware && !o->restore)
		o->firmware = where->firmware ? where->firmware : lh->kernel.path;
	else
		o->kernel = where->kernel ? where->kernel : lh->kernel.path;
	if (recorded_modules(lh, where, o, err))
		return -err->code;
	for (unsigned i = 0; i < CARRIED; i++) {
		o->carried[i].data = lh->carried[i];
		o->carried[i].size = (size_t)lh->config.carried_sectors[i] * DISK_SECTOR;
	}
	o->nnics = lh->config.nnics;
	for (unsigned i = 0; i < o->nnics; i++) {
		o->nic[i].spec = strdup("none:");
		memcpy(o->nic[i].mac, lh->config.mac[i], 6);
	}
	return recorded_disks(lh, where, o, err);
}

/* option: the one that says where the file is. */
static int check_ref(const struct log_file_ref *ref, const char *path, const char *what,
		     const char *option, struct err *err)
{
	uint64_t digest;
	int ret;

	if (!ref->path && !path)
		return 0;
	if (!ref->path || !path)
		return err_set(err, EINVAL, "the recording was made with%s %s",
			       ref->path ? " a" : "out", what);
	ret = log_file_digest(path, &digest, err);
	if (ret < 0 && !strcmp(path, ref->path))
		return err_prefix(err, "the recorded %s may have moved (use %s)", what, option);
	if (ret < 0)
		return ret;
	if (digest != ref->digest)
		return err_set(err, EINVAL,
			       "%s '%s' is not the one that was recorded: its content has digest "
			       "%016llx, recorded was %016llx",
			       what, path, (unsigned long long)digest,
			       (unsigned long long)ref->digest);
	return 0;
}

/*
 * Checks the software CPU's revision. It does not matter where silicon has executed the recording
 * and does so again.
 */
static int check_cpu(const struct log_header *lh, const struct machine_opts *o, struct err *err)
{
	char text[200];

	if (!cpuid_v1_refusal(lh->cpuid_digest, text, sizeof(text)))
		return 0;
	if (cpuid_v1_revision(lh->cpuid_digest) && engine_executor(lh->engine) == ENGINE_SILICON &&
	    engine_executor(o->engine) == ENGINE_SILICON)
		return 0;
	return err_set(err, EINVAL, "the recording was made with %s", text);
}

int log_header_check(const struct log_header *lh, const struct machine_opts *o, struct err *err)
{
	int ret = check_cpu(lh, o, err);

	if (ret == 0)
		ret = lh->config.firmware
			      ? check_ref(&lh->kernel, machine_opts_firmware(o), "firmware",
					  "--firmware", err)
			      : check_ref(&lh->kernel, o->kernel, "kernel", "--kernel", err);
	for (unsigned i = 0; ret == 0 && i < lh->ninitrd; i++)
		ret = check_ref(&lh->initrd[i].file, o->initrd[i].path, "initrd", "--initrd", err);
	if (ret == 0)
		ret = check_ref(&lh->snapshot, o->restore, "snapshot", "--restore", err);
	for (unsigned i = 0; ret == 0 && i < lh->config.ndisks; i++)
		ret = check_ref(&lh->disk[i], o->disk[i].path, "disk image", "--disk", err);
	return ret;
}
