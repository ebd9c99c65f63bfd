// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the host itself, whichever guests it has. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/version.h"
#include "host/doctor.h"
#include "host/run_dir.h"
#include "host/share.h"
#include "hypervisor/vmx/vmx.h"
#include "isolation/host_file.h"
#include "isolation/host_info.h"
#include "record/checkpoint.h"
#include "record/codec.h"
#include "record/logfile.h"
#include "replica/wire.h"

#define LOW_MEMORY (128ull << 20) /* available: less than one small guest */
#define LOW_SPACE  (64ull << 20)  /* on the disk of the events */
#define FILES_MIN  1024u
#define CLOCK_FILE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static void check_version(struct doctor *d)
{
	doctor_say(d, "version", DOCTOR_NOTE, NULL,
		   "twinstep %s: machine %d, log %d, checkpoint %d, records %d, wire %d",
		   twinstep_version, MACHINE_VERSIONS, LOG_VERSION, CHECKPOINT_VERSION,
		   CODEC_VERSION, WIRE_VERSION);
}

static void check_processor(struct doctor *d)
{
	const char *why = vmx_engine_ops.probe();

	if (why)
		doctor_say(d, "vt-x", DOCTOR_NOTE, NULL,
			   "not usable (%s): guests run on the software CPU", why);
	else
		doctor_say(d, "vt-x", DOCTOR_GOOD, NULL,
			   "usable; `twinstep qualify` says how exactly it counts");
}

static void check_memory(struct doctor *d)
{
	static struct host_state state;
	struct err err = ERR_INIT;
	struct host_info info;
	uint64_t room, promised;
	char *path = NULL;
	int ret = share_host_file(NULL, false, &path, &err);

	memset(&state, 0, sizeof(state));
	if (ret == 0)
		ret = host_file_read(path, &state, &err);
	free(path);
	host_info_read(&info, "");
	room = state.limit ? state.limit : host_file_room(info.memory);
	promised = host_file_promised(&state);
	if (ret < 0 && ret != -ENOENT)
		doctor_say(d, "memory", DOCTOR_BAD, "look at that file", "%s", err.text);
	else if (promised > room || info.memory_available < LOW_MEMORY)
		doctor_say(d, "memory", DOCTOR_WARN,
			   "end something, or give guests less: `twinstep host` says who has what",
			   "%" PRIu64 " of %" PRIu64 " MiB for guests are promised, %" PRIu64
			   " MiB are available",
			   promised >> 20, room >> 20, info.memory_available >> 20);
	else
		doctor_say(d, "memory", DOCTOR_GOOD, NULL,
			   "%" PRIu64 " of %" PRIu64 " MiB for guests are promised, %" PRIu64
			   " MiB are available",
			   promised >> 20, room >> 20, info.memory_available >> 20);
}

static void check_limits(struct doctor *d)
{
	struct rlimit files = { 0 }, locked = { 0 };
	char text[40] = "any";

	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_MEMLOCK, &locked);
	if (locked.rlim_cur != RLIM_INFINITY)
		snprintf(text, sizeof(text), "%" PRIu64 " KiB of", (uint64_t)locked.rlim_cur >> 10);
	doctor_say(d, "limits", files.rlim_cur < FILES_MIN ? DOCTOR_WARN : DOCTOR_GOOD,
		   files.rlim_cur < FILES_MIN ? "ulimit -n 4096, or start guests by systemd" : NULL,
		   "%" PRIu64 " open files, %s locked memory", (uint64_t)files.rlim_cur, text);
}

/* The pair needs no common time; its guests' date, certificates and the events do. */
static void check_clock(struct doctor *d)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);
	char source[40];

	file_read_line(CLOCK_FILE, source, sizeof(source));
	if (source[0] && (!strcmp(source, "hpet") || !strcmp(source, "acpi_pm") ||
			  !strcmp(source, "jiffies") || !strcmp(source, "refined-jiffies")))
		doctor_say(d, "clock-source", DOCTOR_WARN,
			   "look into the kernel's log for why it does not use tsc",
			   "the kernel's clock is %s: each look at it takes long", source);
	if (state < 0)
		doctor_say(d, "clock", DOCTOR_NOTE, NULL, "nobody can tell: %s", strerror(errno));
	else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_say(d, "clock", DOCTOR_WARN,
			   "apt install systemd-timesyncd, or chrony, on both hosts",
			   "the clock is not synchronized: the guest's date and the events of the "
			   "two hosts drift apart");
	else
		doctor_say(d, "clock", DOCTOR_GOOD, NULL, "synchronized, %.3f s off at most, by %s",
			   (double)t.maxerror / 1e6, source[0] ? source : "an unknown clock");
}

static void check_rdma(struct doctor *d)
{
	char names[200] = "";
	struct dirent *e;
	DIR *dir = opendir("/sys/class/infiniband");

	while (dir && (e = readdir(dir))) {
		size_t n = strlen(names);

		if (e->d_name[0] != '.')
			snprintf(names + n, sizeof(names) - n, "%s%.60s", n ? ", " : "", e->d_name);
	}
	if (dir)
		closedir(dir);
	doctor_say(d, "rdma", DOCTOR_NOTE, NULL, names[0] ? "devices: %s" : "no devices%s", names);
}

/* The disk of events and lineage, by the nearest directory that is there. */
static void check_space(struct doctor *d)
{
	struct statvfs s = { 0 };
	struct run_dir dirs;
	struct err err = ERR_INIT;
	uint64_t room;

	if (run_dir_find(&dirs, "x", &err) < 0) {
		doctor_say(d, "space", DOCTOR_NOTE, NULL, "no guest has run here: %s", err.text);
		return;
	}
	while (statvfs(dirs.state, &s) < 0 && strrchr(dirs.state + 1, '/'))
		*strrchr(dirs.state + 1, '/') = 0;
	room = (uint64_t)s.f_bavail * s.f_frsize;
	doctor_say(d, "space", room < LOW_SPACE ? DOCTOR_BAD : DOCTOR_GOOD,
		   room < LOW_SPACE ? "make room: events and the names of replicas are kept there"
				    : NULL,
		   "%" PRIu64 " MiB are free at %s", room >> 20, dirs.state);
	run_dir_close(&dirs);
}

void doctor_host(struct doctor *d)
{
	d->guest = NULL;
	check_version(d);
	check_processor(d);
	check_memory(d);
	check_limits(d);
	check_clock(d);
	check_rdma(d);
	check_space(d);
}
