// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_checks.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file_io.h"
#include "host/qualify_host.h"
#include "host/qualify_load.h"
#include "host/qualify_replay.h"
#include "host/qualify_translations.h"
#include "hypervisor/vmx/agree.h"
#include "hypervisor/vmx/bench.h"

#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"

void qualify_settle(struct check *c, enum check_state state, const char *fmt, ...)
{
	va_list ap;

	c->state = state;
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
}

/* ---- 1: what this host is ---- */

static void microcode_read(char *line, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *colon = NULL;

	while (f && fgets(line, (int)size, f) && !colon) {
		if (!strncmp(line, "microcode", 9) && (colon = strchr(line, ':')))
			memmove(line, colon + 2, strlen(colon + 2) + 1);
		if (colon)
			break;
	}
	if (f)
		fclose(f);
	if (!colon)
		snprintf(line, size, "unknown");
	line[strcspn(line, "\n")] = '\0';
}

/*
 * Names of what the kernel says this host is vulnerable to, in whole or in part ("Mitigation: PTE
 * Inversion; VMX: vulnerable").
 */
static void vulnerabilities_read(const char *from, char *list, size_t size)
{
	DIR *d = opendir(from);
	struct dirent *e;

	list[0] = '\0';
	while (d && (e = readdir(d))) {
		char file[400], line[200];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%.100s/%s", from, e->d_name);
		file_read_line(file, line, sizeof(line));
		if (strcasestr(line, "vulnerable") && strlen(list) + strlen(e->d_name) + 2 < size) {
			strcat(list, " ");
			strcat(list, e->d_name);
		}
	}
	if (d)
		closedir(d);
}

static void check_identity(struct check *c)
{
	char host[TRAITS_HOST], microcode[128], smt[8], open[360];

	vmx_device_host(host, sizeof(host));
	microcode_read(microcode, sizeof(microcode));
	file_read_line("/sys/devices/system/cpu/smt/active", smt, sizeof(smt));
	vulnerabilities_read(VULNERABILITIES, open, sizeof(open));
	qualify_settle(c, open[0] || smt[0] == '1' ? CHECK_NOTE : CHECK_GOOD,
		       "%s, microcode %s, threads %s cores; vulnerable to:%s", host, microcode,
		       smt[0] == '1' ? "share" : "do not share",
		       open[0] ? open : " nothing that the kernel knows of");
}

/* ---- 4: perf beside a VM ---- */

#define WATCHDOG "/proc/sys/kernel/nmi_watchdog"

/* What the NMI watchdog does: it holds a counter on each CPU when it is on. */
static const char *watchdog_read(const char *from)
{
	char line[8];

	file_read_line(from, line, sizeof(line));
	if (line[0] == '1')
		return "on, and whether it still barks was not looked at";
	return line[0] == '0' ? "off, so not checked" : "not in this kernel";
}

static void check_perf(const struct check_input *in, struct check *c)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_HW_INSTRUCTIONS,
					.exclude_kernel = 1,
					.exclude_hv = 1 };
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct err err = ERR_INIT;
	uint64_t before = 0, after = 0;
	bool ran = false;
	struct bench b;

	if (fd < 0 || in->no_vmx) {
		qualify_settle(c, CHECK_NOT_DONE, "%s",
			       in->no_vmx ? "no guest can run"
					  : "perf counts no instructions here");
	} else if (bench_start(&b, &vmx_engine_ops, 2, &qualify_port_loop, &err) == 0) {
		ran = read(fd, &before, sizeof(before)) == sizeof(before) &&
		      qualify_run_times(&b, 100) &&
		      read(fd, &after, sizeof(after)) == sizeof(after);
		qualify_settle(c, ran && after > before ? CHECK_GOOD : CHECK_BAD,
			       "perf counted %llu instructions of this process beside a VM; the "
			       "NMI watchdog is %s",
			       (unsigned long long)(after - before), watchdog_read(WATCHDOG));
		bench_stop(&b);
	} else {
		qualify_settle(c, CHECK_BAD, "%.200s", err.text);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- 5, 6, 8: the counter ---- */

static void describe_moved(const struct qualify_moved *m, char *text, size_t n)
{
	if (m->cpus < 2)
		snprintf(text, n, "not tried while the thread moves: there is one CPU only");
	else
		snprintf(text, n,
			 "%u of %u and %u of %u while the thread moved %lu times between %u "
			 "CPUs%s%s",
			 m->wrong, m->runs, m->missed, m->stops, m->moves, m->cpus,
			 m->error[0] ? ": " : "", m->error);
}

static void check_counting(const struct check_input *in, struct check *c)
{
	unsigned wrong = 0, runs = 0;
	char moved[400];

	if (!in->pmu) {
		qualify_settle(c, CHECK_NOT_DONE, "%.300s", in->no_vmx ? in->no_vmx : in->no_pmu);
		return;
	}
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++) {
		wrong += in->pmu->row[i].wrong;
		runs += in->pmu->row[i].runs;
	}
	describe_moved(in->moved, moved, sizeof(moved));
	qualify_settle(c, in->pmu->exact && qualify_moved_well(in->moved) ? CHECK_GOOD : CHECK_BAD,
		       "%u of %u runs wrong, %u of %u stops missed; %s", wrong, runs,
		       in->pmu->missed, in->pmu->landings, moved);
}

static void check_smi(const struct check_input *in, struct check *c)
{
	uint32_t has = in->info->version ? in->info->has : 0;

	if (has & TWVMX_SMI_FROZEN)
		qualify_settle(c, CHECK_GOOD, "counters stand still in system management mode");
	else if (has & TWVMX_SMI_COUNTED)
		qualify_settle(
			c, CHECK_NOTE,
			"a counted run that meets system management mode ends with an error");
	else
		qualify_settle(c, in->info->version ? CHECK_NOTE : CHECK_NOT_DONE,
			       in->info->version
				       ? "this processor does not say when it was in system "
					 "management mode, where counters may count"
				       : "there is no module to ask");
}

/* Beside threads that keep CPUs and caches busy. */
static void check_skid(const struct check_input *in, struct check *c)
{
	struct qualify_load *load;
	unsigned threads, cpus;
	struct err err = ERR_INIT;
	struct measure busy;
	int ret;

	if (!in->pmu) {
		qualify_settle(c, CHECK_NOT_DONE, "no counter, no skid");
		return;
	}
	load = qualify_load_begin(&threads, &cpus);
	ret = measure_skid(&vmx_pmu_engine_ops, &busy, &err);
	qualify_load_end(load);
	if (ret < 0 || busy.error[0] || busy.missed)
		qualify_settle(c, CHECK_BAD, "on a busy host %u of %u stops are missed: %.200s",
			       busy.missed, busy.landings, ret < 0 ? err.text : busy.error);
	else
		qualify_settle(c, threads >= cpus ? CHECK_GOOD : CHECK_NOTE,
			       "at most %llu instructions late, %llu while %u threads on %u CPUs "
			       "write all "
			       "over memory; margin %llu",
			       (unsigned long long)in->pmu->landing.skid_max,
			       (unsigned long long)busy.landing.skid_max, threads, cpus,
			       (unsigned long long)busy.landing.margin);
}

/* ---- 9, 10: against the software CPU, and against itself ---- */

static void name_differing(const bool same[TRAITS], char *names, size_t n)
{
	size_t len = 0;

	names[0] = 0;
	for (unsigned i = 0; i < TRAITS && len < n; i++) {
		if (!same[i])
			len += (size_t)snprintf(names + len, n - len, " %s", trait_name[i]);
	}
}

/* Which engines may replay each other's records; a replay and a pair refuse the others. */
static void settle_agreement(const struct agree *a, struct check *c)
{
	char two[140], one[140];

	name_differing(a->same, two, sizeof(two));
	name_differing(a->same_in_version_1, one, sizeof(one));
	if (a->all)
		qualify_settle(
			c, CHECK_GOOD,
			"as the software CPU: vmx and soft replay each other's records; machine "
			"version 1 differs in:%s",
			one[0] ? one : " nothing");
	else
		qualify_settle(
			c, CHECK_NOTE,
			"other than the software CPU:%s (machine version 1:%s); records replay on "
			"vmx of hosts with the same answers, not on soft, nor soft's here",
			two, one);
}

static void check_agreement(const struct check_input *in, const struct engine_ops *ops,
			    struct agree *a, struct check *c)
{
	struct err err = ERR_INIT;

	if (in->no_vmx)
		qualify_settle(c, CHECK_NOT_DONE, "no guest can run");
	else if (agree_engine(ops, in->repeats, a, &err) == 0)
		settle_agreement(a, c);
	else
		qualify_settle(c, CHECK_BAD, "%.200s", err.text);
	if (err.code && !a->error[0]) /* the next check needs to say it too */
		snprintf(a->error, sizeof(a->error), "%.200s", err.text);
}

/* Small programs beside the software CPU, and recordings with their replays; without VT-x on soft.
 */
static void check_repeatable(const struct check_input *in, const struct engine_ops *ops,
			     const struct agree *a, struct check *c)
{
	struct qualify_replay r;
	char small[100] = "";
	bool good;

	qualify_replay(ops->name, in->repeats, &r);
	good = r.rounds == in->repeats && r.digests >= r.rounds && !a->unsteady && !a->error[0] &&
	       (in->no_vmx || a->repeats == in->repeats);
	if (a->repeats)
		snprintf(small, sizeof(small), "; %u of %u small runs differ from the software CPU",
			 a->unsteady, a->repeats);
	qualify_settle(c,
		       !good	    ? CHECK_BAD
		       : in->no_vmx ? CHECK_NOTE
				    : CHECK_GOOD,
		       "%u of %u recordings of half a second on %s replayed alike (%lu "
		       "digests)%s%s%s%s%.100s",
		       r.rounds, in->repeats, ops->name, r.digests, r.why[0] ? ": " : "", r.why,
		       small, a->error[0] ? "; small runs: " : "", a->error);
}

/* ---- all of them ---- */

void qualify_check(const struct check_input *in, struct check *checks)
{
	static const char *const names[QUALIFY_CHECKS] = {
		"host", "entry", "registers", "perf",	   "counting",
		"smi",	"tlb",	 "skid",      "agreement", "repeatable",
	};
	const struct engine_ops *ops = in->no_vmx		   ? &soft_engine_ops
				       : in->pmu && in->pmu->exact ? &vmx_pmu_engine_ops
								   : &vmx_engine_ops;
	struct agree agree = { 0 };

	for (unsigned i = 0; i < QUALIFY_CHECKS; i++)
		checks[i] = (struct check){ .name = names[i] };
	check_identity(&checks[0]);
	qualify_check_entry(in, &checks[1]);
	qualify_check_registers(in, &checks[2]);
	check_perf(in, &checks[3]);
	check_counting(in, &checks[4]);
	check_smi(in, &checks[5]);
	qualify_check_translations(in, &checks[6]);
	check_skid(in, &checks[7]);
	check_agreement(in, ops, &agree, &checks[8]);
	check_repeatable(in, ops, &agree, &checks[9]);
}

static const char *const words[] = { "good", "limited", "BAD", "not checked" };

void qualify_print(const struct check *checks)
{
	printf("checks:\n");
	for (unsigned i = 0; i < QUALIFY_CHECKS; i++)
		printf("  %2u %-11s %-12s %s\n", i + 1, checks[i].name, words[checks[i].state],
		       checks[i].text);
}

json_t *qualify_json(const struct check *checks)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < QUALIFY_CHECKS; i++)
		json_array_append_new(list,
				      json_pack("{s:i, s:s, s:s, s:s}", "number", (int)i + 1,
						"check", checks[i].name, "state",
						words[checks[i].state], "text", checks[i].text));
	return list;
}
