// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/share.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/log.h"
#include "isolation/cgroup.h"
#include "isolation/host_file.h"
#include "isolation/host_info.h"
#include "isolation/process.h"
#include "host/control.h"
#include "host/machine_opts.h"

/* of a machine beside its guest's memory: translated code, queues, libraries */
#define OVERHEAD (64ull << 20)

static struct cgroup group;
static bool joined;

/* A promise to be asked for. */
static struct {
	char *path; /* NULL: none */
	uint64_t room;
	struct host_entry entry;
} promise;

/* ---- options ---- */

int share_parse_reserve(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	struct share_opts *s = target;

	s->no_reserve = !strcmp(arg, "off");
	s->reserve = 0;
	if (s->no_reserve || !strcmp(arg, "auto"))
		return 0;
	if (!limits_parse_size(arg, &s->reserve) || !s->reserve || s->reserve > 2 * MEMORY_MAX)
		return err_set(err, EINVAL,
			       "--reserve %s: must be auto, off or a size such as 512M", arg);
	return 0;
}

int share_parse_balloon_min(const struct option_row *row, void *target, const char *arg,
			    struct err *err)
{
	struct share_opts *s = target;

	if (!limits_parse_size(arg, &s->balloon_min) || s->balloon_min < PAGE_SIZE ||
	    s->balloon_min % PAGE_SIZE)
		return err_set(err, EINVAL,
			       "--balloon-min %s: must be a size of whole pages such as 64M", arg);
	return 0;
}

int share_parse_cpu_weight(const struct option_row *row, void *target, const char *arg,
			   struct err *err)
{
	return limits_take_cpu_weight(target, arg, err);
}

int share_parse_cpu_max(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	return limits_take_cpu_max(target, arg, err);
}

int share_parse_memory_max(const struct option_row *row, void *target, const char *arg,
			   struct err *err)
{
	return limits_take_memory_max(target, arg, err);
}

int share_parse_io_max(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	return limits_take_io_max(target, arg, err);
}

/* ---- control group ---- */

static void safe_name(const struct share_opts *s, char *name, size_t size)
{
	snprintf(name, size, "%s", s->name && *s->name ? s->name : "unnamed");
	for (char *p = name; *p; p++) {
		char one[2] = { *p };

		if (!host_file_name_ok(one))
			*p = '_';
	}
}

static void outer_end(void *ctx, pid_t pid)
{
	share_ended(ctx, pid);
}

void share_jail_begin(const struct share_opts *s, enum jail_mode mode)
{
	jail_at_end(outer_end, (void *)(uintptr_t)s);
	jail_begin(mode);
}

void share_ended(const struct share_opts *s, pid_t pid)
{
	struct cgroup_site site;

	if (!limits_any(&s->limits) || cgroup_find(&site, "/proc", s->cgroup, NULL) < 0)
		return;
	if (cgroup_sweep(&site, pid))
		log_error("the host ended the machine: it used more memory than --memory-max");
}

/* A limit is for a whole device: the one that a partition is of. */
static dev_t whole_device(dev_t dev)
{
	char path[96], text[32];
	unsigned major_, minor_;
	bool found;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(dev), minor(dev));
	if (access(path, F_OK) < 0)
		return dev;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(dev), minor(dev));
	file_read_line(path, text, sizeof(text));
	found = sscanf(text, "%u:%u", &major_, &minor_) == 2;
	return found ? makedev(major_, minor_) : dev;
}

static int find_devices(const char *const *disks, unsigned ndisks, dev_t *device, unsigned *n,
			struct err *err)
{
	for (unsigned i = 0; i < ndisks && *n < CGROUP_DEVICES; i++) {
		struct stat st;
		bool known = false;
		dev_t dev;

		if (stat(disks[i], &st) < 0)
			continue; /* whoever opens it says more */
		dev = whole_device(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev);
		if (!major(dev))
			return err_set(err, ENOTSUP, "--io-max: disk '%s' is not on a block device",
				       disks[i]);
		for (unsigned k = 0; k < *n; k++)
			known |= device[k] == dev;
		if (!known)
			device[(*n)++] = dev;
	}
	if (!*n)
		return err_set(err, EINVAL, "--io-max without --disk: there is nothing to limit");
	return 0;
}

int share_enter(const struct share_opts *s, const char *const *disks, unsigned ndisks,
		struct err *err)
{
	dev_t device[CGROUP_DEVICES];
	unsigned ndevices = 0;
	char name[HOST_NAME_LEN + 1];
	int ret;

	if (!limits_any(&s->limits)) {
		if (s->cgroup)
			return err_set(err, EINVAL,
				       "--cgroup goes with --cpu-weight, --cpu-max, --memory-max "
				       "or --io-max");
		return 0;
	}
	ret = limits_any_io(&s->limits) ? find_devices(disks, ndisks, device, &ndevices, err) : 0;
	if (ret == 0)
		ret = cgroup_find(&group.site, "/proc", s->cgroup, err);
	safe_name(s, name, sizeof(name));
	if (ret == 0)
		ret = cgroup_create(&group, name, jail_pid(), &s->limits, device, ndevices, err);
	if (ret == 0)
		ret = cgroup_join(&group, err);
	if (ret < 0)
		cgroup_remove(&group);
	joined = ret == 0;
	return ret;
}

void share_end(enum jail_mode mode)
{
	if (joined && mode == JAIL_OFF) /* else the process outside does it */
		cgroup_remove(&group);
	joined = false;
	free(promise.path);
	promise.path = NULL;
}

/* ---- memory ---- */

/* Bytes of the host that a guest with so many bytes of memory needs. */
static uint64_t share_need(uint64_t memory)
{
	return memory + OVERHEAD;
}

/* Memory that the guest keeps in any case. */
static uint64_t share_balloon_min(const struct share_opts *s, uint64_t memory)
{
	return s->balloon_min ? s->balloon_min : memory / 4 & ~(PAGE_SIZE - 1ull);
}

int share_host_file(const char *given, bool create, char **path, struct err *err)
{
	if (!given)
		return control_file("host", create, path, err);
	*path = strdup(given);
	return *path ? 0 : err_set(err, ENOMEM, "out of memory");
}

/*
 * Goes on without a promise that nobody has asked for, where there is no place for the host file:
 * the machine starts all the same.
 */
static int without(const struct share_opts *s, int ret, struct err *err)
{
	if (s->host_file || s->reserve ||
	    (ret != -EACCES && ret != -EPERM && ret != -EROFS && ret != -ENOENT))
		return ret;
	log_warn("no memory is reserved for the machine: %s", err->text);
	err->code = 0;
	free(promise.path);
	promise.path = NULL;
	return 0;
}

static int prepare(const struct share_opts *s, struct err *err)
{
	struct host_info host;
	int ret;

	if (s->no_reserve)
		return 0;
	host_info_read(&host, "");
	ret = share_host_file(s->host_file, true, &promise.path, err);
	if (ret < 0)
		return without(s, ret, err);
	promise.room = host_file_room(host.memory);
	promise.entry = (struct host_entry){ .pid = jail_pid(), .limits = s->limits };
	promise.entry.start = process_start(promise.entry.pid);
	safe_name(s, promise.entry.name, sizeof(promise.entry.name));
	return 0;
}

/* In the jail's keeper, or in this process. */
static int give(void *ctx, uint64_t memory, struct err *err)
{
	const struct share_opts *s = ctx;

	if (memory > MEMORY_MAX)
		return err_set(err, EINVAL, "no guest has so much memory");
	promise.entry.memory = memory;
	promise.entry.promised = s->reserve ? s->reserve : share_need(memory);
	promise.entry.balloon_min = share_balloon_min(s, memory);
	return host_file_promise(promise.path, &promise.entry, promise.room, err);
}

int share_promise_later(const struct share_opts *s, struct err *err)
{
	int ret = prepare(s, err);

	if (ret == 0 && promise.path)
		keeper_allow_promise(give, (void *)(uintptr_t)s);
	return ret;
}

static int check_sizes(const struct share_opts *s, uint64_t memory, struct err *err)
{
	if (s->reserve && s->reserve < memory)
		return err_set(err, EINVAL,
			       "--reserve: less than the guest's memory of %" PRIu64
			       " MiB, all of which it can use at any time",
			       memory >> 20);
	if (s->balloon_min > memory)
		return err_set(err, EINVAL,
			       "--balloon-min: more than the guest's memory of %" PRIu64 " MiB",
			       memory >> 20);
	if (s->limits.memory_max && s->limits.memory_max < share_need(memory))
		log_warn("--memory-max is less than the %" PRIu64
			 " MiB that the machine may need: the host ends it then",
			 share_need(memory) >> 20);
	return 0;
}

int share_promise(const struct share_opts *s, uint64_t memory, struct err *err)
{
	struct keeper *k = jail_keeper();
	int ret = check_sizes(s, memory, err);

	if (ret == 0 && !k && !promise.path)
		ret = prepare(s, err);
	if (ret < 0 || !promise.path)
		return ret;
	if (k)
		return keeper_promise_memory(k, memory, err);
	ret = give((void *)(uintptr_t)s, memory, err);
	return ret ? without(s, ret, err) : 0;
}

int share_check_balloon(const struct share_opts *s, uint64_t memory, int64_t bytes, struct err *err)
{
	uint64_t floor = share_balloon_min(s, memory);

	if (bytes < 0 || bytes % PAGE_SIZE || (uint64_t)bytes > memory)
		return err_set(err, EINVAL,
			       "a balloon's size is a multiple of 4096, at most the guest's memory "
			       "of %" PRIu64 " MiB",
			       memory >> 20);
	if (memory - (uint64_t)bytes < floor)
		return err_set(err, EINVAL,
			       "a balloon of %" PRIu64 " MiB would leave the guest %" PRIu64
			       " MiB of its %" PRIu64 ", less than the %" PRIu64
			       " that it keeps (--balloon-min)",
			       (uint64_t)bytes >> 20, (memory - (uint64_t)bytes) >> 20,
			       memory >> 20, floor >> 20);
	return 0;
}
