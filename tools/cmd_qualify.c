// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep qualify`: what this host can do, what that means, and a verdict. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/vmx/vmx.h"
#include "isolation/host_info.h"
#include "tools/cmd.h"
#include "tools/machine_opts.h"

enum { OPT_JSON = OPT_COMMAND };

static const struct option options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

/* VT-x controls: bit in twvmx_info, name, what it is for or what its absence means. */
struct trait {
	uint32_t bit;
	const char *name, *why;
};

static const struct trait traits[] = {
	{ TWVMX_EPT, "ept", "guest memory; needed" },
	{ TWVMX_UNRESTRICTED, "unrestricted-guest", "real mode; needed" },
	{ TWVMX_VPID, "vpid", "guest translations survive exits; needed" },
	{ TWVMX_VNMI, "virtual-nmi", "the guest's NMIs; needed" },
	{ TWVMX_TIMER, "preemption-timer", "stop right after an injected event; needed" },
	{ TWVMX_WBINVD_EXIT, "wbinvd-exiting", "the guest cannot flush the host's caches; needed" },
	{ TWVMX_RDRAND_EXIT, "rdrand-exiting", "random numbers are inputs; without it guests must not use RDRAND" },
	{ TWVMX_RDSEED_EXIT, "rdseed-exiting", "likewise RDSEED" },
	{ TWVMX_DESC_EXIT, "descriptor-exiting", "UMIP on processors that lack it (SMSW excepted)" },
	{ TWVMX_MTF, "monitor-trap-flag", "single steps; without it by RFLAGS.TF" },
	{ TWVMX_EPT_2M, "ept-2m", "large pages for guest memory" },
	{ TWVMX_EPT_AD, "ept-ad", "present, not used: its dirty bits include page tables that nobody wrote" },
	{ TWVMX_PERF_SWITCH, "perf-global-switch", "counting in the guest only" },
	{ TWVMX_PMU, "pmu-fixed-counter", "a retired-instruction counter that keeps what is written to it" },
};

#define NTRAITS (sizeof(traits) / sizeof(traits[0]))

/* Bits of CR4 that guests of machine version 1 may set and no software can stand in for. */
static const struct trait features[] = {
	{ 1u << 20, "smep", "the guest processor has SMEP" },
	{ 1u << 21, "smap", "the guest processor has SMAP" },
	{ 1u << 17, "pcid", "the guest processor has PCID" },
	{ 1u << 16, "fsgsbase", "the guest processor has FSGSBASE" },
	{ 1u << 18, "xsave", "the guest processor has XSAVE" },
};

#define NFEATURES (sizeof(features) / sizeof(features[0]))

static bool host_matches(const struct twvmx_info *info)
{
	for (size_t i = 0; i < NFEATURES; i++) {
		if (!(info->cr4_fixed1 & features[i].bit))
			return false;
	}
	return true;
}

/* The engine counts retired instructions by single steps only, so a usable VT-x host is one for exits. */
static const char *verdict(const char *why_not, const struct twvmx_info *info)
{
	return why_not || !host_matches(info) ? "soft" : "exits-only";
}

static const char *const meaning[] = {
	"soft: guests run on the software CPU (--engine soft), exactly counted, on any host",
	"exits-only: guests may run on VT-x (--engine vmx); inputs enter where the guest exits, so a guest that "
	"computes\n"
	"  for long without an exit gets its timer ticks and packets late. The software CPU counts every instruction.",
};

static void print_smt(void)
{
	struct host_info h;

	host_info_read(&h, "");
	printf("SMT: %s: %s\n", host_smt_name(h.smt), host_smt_meaning(&h));
}

static json_t *smt_json(void)
{
	struct host_info h;

	host_info_read(&h, "");
	return json_pack("{s:s, s:b, s:i}", "smt", host_smt_name(h.smt), "core_scheduling", (int)h.core_scheduling,
			 "cpus", (int)h.cpus);
}

static void print_text(const char *why_not, const struct twvmx_info *info)
{
	const char *v = verdict(why_not, info);

	if (why_not)
		printf("VT-x: not usable: %s\n", why_not);
	else
		printf("VT-x: usable, %u VMs open\n", info->vms);
	for (size_t i = 0; info->version && i < NTRAITS; i++)
		printf("  %-20s %-8s %s\n", traits[i].name,
		       info->has & traits[i].bit       ? "yes"
		       : info->missing & traits[i].bit ? "MISSING"
						       : "no",
		       traits[i].why);
	for (size_t i = 0; info->version && i < NFEATURES; i++)
		printf("  %-20s %-8s %s\n", features[i].name, info->cr4_fixed1 & features[i].bit ? "yes" : "MISSING",
		       features[i].why);
	print_smt();
	printf("verdict: %s\n", meaning[strcmp(v, "soft") != 0]);
}

static int print_json(const char *why_not, const struct twvmx_info *info)
{
	json_t *o = json_object(), *t = json_object();

	json_object_set_new(o, "verdict", json_string(verdict(why_not, info)));
	json_object_set_new(o, "vmx", json_boolean(!why_not));
	if (why_not)
		json_object_set_new(o, "reason", json_string(why_not));
	for (size_t i = 0; info->version && i < NTRAITS; i++)
		json_object_set_new(t, traits[i].name, json_boolean(info->has & traits[i].bit));
	for (size_t i = 0; info->version && i < NFEATURES; i++)
		json_object_set_new(t, features[i].name, json_boolean(info->cr4_fixed1 & features[i].bit));
	json_object_set_new(o, "host", t);
	json_object_set_new(o, "cpu", smt_json());
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
	return 0;
}

static void print_help(void)
{
	puts("usage: twinstep qualify [--json]\n\n"
	     "Says what this host's processor and kernel module offer to the vmx engine, and what that means.\n"
	     "Verdict: exits-only or soft. Exit status 0 whatever it is.");
}

static int run(int argc, char **argv)
{
	struct twvmx_info info = { 0 };
	bool json = false;
	const char *why_not;
	int opt;

	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (opt == OPT_HELP) {
			print_help();
			return 0;
		}
		json |= opt == OPT_JSON;
	}
	if (optind < argc) {
		log_error("unexpected argument '%s'; `twinstep qualify --help` tells more", argv[optind]);
		return EXIT_USAGE;
	}
	why_not = vmx_device_unavailable();
	if (vmx_device_info(&info) < 0)
		info.version = 0;
	if (json)
		return print_json(why_not, &info);
	print_text(why_not, &info);
	return 0;
}

const struct command cmd_qualify = { "qualify", "say what this host can do", run };
