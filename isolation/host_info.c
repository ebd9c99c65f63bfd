// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/host_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_io.h"
#include "isolation/spec.h"

/* The first line of a small file; empty when there is none. */
static void read_line(const char *root, const char *path, char *text, size_t n)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	file_read_line(full, text, n);
}

/* A list of ranges, as in "0-3,8". */
static unsigned count_cpus(const char *root)
{
	char text[256], *p = text;
	unsigned long first, last;
	unsigned n = 0;

	read_line(root, "/sys/devices/system/cpu/online", text, sizeof(text));
	while (*p >= '0' && *p <= '9') {
		first = last = strtoul(p, &p, 10);
		if (*p == '-')
			last = strtoul(p + 1, &p, 10);
		n += last >= first ? (unsigned)(last - first + 1) : 0;
		p += *p == ',';
	}
	return n;
}

static void read_memory(struct host_info *h, const char *root)
{
	char path[512], line[128];
	unsigned long long kib;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			h->memory = kib << 10;
		else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			h->memory_available = kib << 10;
	}
	fclose(f);
}

/*
 * Documentation/ABI/testing/sysfs-devices-system-cpu: "control" knows why, "active" only whether.
 */
static enum host_smt read_smt(const char *root)
{
	char active[16], control[32];

	read_line(root, "/sys/devices/system/cpu/smt/active", active, sizeof(active));
	read_line(root, "/sys/devices/system/cpu/smt/control", control, sizeof(control));
	if (!strcmp(active, "1"))
		return HOST_SMT_ON;
	if (!strcmp(control, "off") || !strcmp(control, "forceoff"))
		return HOST_SMT_OFF;
	if (!strcmp(control, "notsupported") || !strcmp(control, "notimplemented"))
		return HOST_SMT_ABSENT;
	return strcmp(active, "0") ? HOST_SMT_UNKNOWN : HOST_SMT_OFF;
}

void host_info_read(struct host_info *h, const char *root)
{
	*h = (struct host_info){ .cpus = count_cpus(root), .smt = read_smt(root) };
	read_memory(h, root);
	h->core_scheduling = spec_core_known();
}

const char *host_smt_name(enum host_smt smt)
{
	static const char *const names[] = {
		[HOST_SMT_UNKNOWN] = "unknown",
		[HOST_SMT_ABSENT] = "absent",
		[HOST_SMT_OFF] = "off",
		[HOST_SMT_ON] = "on",
	};

	return names[smt];
}
