// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep qualify`: what this host can do, what that means, and a verdict. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/qualify_checks.h"
#include "host/qualify_links.h"
#include "hypervisor/vmx/measure.h"
#include "hypervisor/vmx/vmx.h"
#include "tools/cmd.h"

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
	{ TWVMX_RDRAND_EXIT, "rdrand-exiting",
	  "random numbers are inputs; needed where the processor has RDRAND" },
	{ TWVMX_RDSEED_EXIT, "rdseed-exiting", "likewise RDSEED" },
	{ TWVMX_DESC_EXIT, "descriptor-exiting",
	  "UMIP on processors that lack it (SMSW excepted)" },
	{ TWVMX_MTF, "monitor-trap-flag", "single steps; without it by RFLAGS.TF" },
	{ TWVMX_EPT_2M, "ept-2m", "large pages for guest memory" },
	{ TWVMX_EPT_AD, "ept-ad",
	  "present, not used: its dirty bits include page tables that nobody wrote" },
	{ TWVMX_PERF_SWITCH, "perf-global-switch",
	  "counting in the guest only: switched at VM entry and exit" },
	{ TWVMX_NO_FRED, "idt", "the host takes its events through the IDT, not by FRED; needed" },
	{ TWVMX_ONE_KIND, "one-kind-of-core", "no hybrid processor; needed" },
	{ TWVMX_BIT_COUNTS, "bit-counts",
	  "F3 BSF and F3 BSR are TZCNT and LZCNT, as for machine version 2; needed" },
	{ TWVMX_ENCLS_EXIT, "encls-exiting",
	  "no enclaves in guests; needed where the processor has SGX" },
	{ TWVMX_TSX_OFF, "tsx-off", "transactions can be, and are, switched off in the guest" },
	{ TWVMX_SMI_FROZEN, "smi-freeze", "counters stand still in system management mode" },
	{ TWVMX_SMI_COUNTED, "smi-count",
	  "else a counted run that meets system management mode fails" },
	{ TWVMX_PMU, "pmu-counter", "a counter of retired instructions that the kernel lends" },
};

#define NTRAITS (sizeof(traits) / sizeof(traits[0]))

/* The bits of VMX_GUEST_CR4; needed. */
static const struct trait features[] = {
	{ 1u << 20, "smep", "the guest processor has SMEP; needed" },
	{ 1u << 21, "smap", "the guest processor has SMAP; needed" },
	{ 1u << 17, "pcid", "the guest processor has PCID; needed" },
	{ 1u << 16, "fsgsbase", "the guest processor has FSGSBASE; needed" },
	{ 1u << 18, "xsave", "the guest processor has XSAVE; needed" },
};

#define NFEATURES (sizeof(features) / sizeof(features[0]))

/* Findings about this host. */
struct findings {
	struct twvmx_info info; /* version 0: there is no module to ask */
	const char *no_vmx;	/* why VT-x cannot be used, or NULL */
	const char *no_pmu;	/* why retired instructions cannot be counted, or NULL */
	bool measured;
	struct measure pmu;
	struct qualify_moved moved;
	struct err err; /* why not measured */
	struct check checks[QUALIFY_CHECKS];
};

/* How much is done: runs of each counted program, whole runs compared, entries on each CPU. */
struct effort {
	unsigned repeats, whole, runs;
};

static struct effort effort_of(const struct options *o)
{
	if (o->quick)
		return (struct effort){ 2, 3, 100 };
	if (o->longer)
		return (struct effort){ 100, 200, 100000 };
	return (struct effort){ 10, 20, 10000 };
}

enum verdict { NOTHING, SOFT, EXITS_ONLY, EXACT };

static const char *const verdicts[] = { "nothing", "soft", "exits-only", "exact" };

static const char *const meaning[] = {
	"nothing: no guest runs here: the processor lacks SSE4.2, AES or PCLMULQDQ, which guests "
	"have",
	"soft: guests run on the software CPU (--engine soft), exactly counted",
	"exits-only: guests may run on VT-x (--engine vmx); inputs enter where the guest exits, so "
	"a guest that computes\n  for long without an exit gets its timer ticks and packets late. "
	"The software CPU counts every instruction.",
	"exact: guests run on VT-x (--engine vmx) and every instruction is counted: inputs enter "
	"anywhere, and records\n"
	"  replay on the software CPU too",
};

static enum verdict verdict(const struct findings *f)
{
	if (f->no_vmx)
		return soft_engine_ops.probe() ? NOTHING : SOFT;
	return f->measured && f->pmu.exact && qualify_moved_well(&f->moved) ? EXACT : EXITS_ONLY;
}

static void check_all(struct findings *f, const struct effort *effort)
{
	const struct check_input in = { .info = &f->info,
					.no_vmx = f->no_vmx,
					.no_pmu = f->no_pmu ? f->no_pmu : f->err.text,
					.pmu = f->measured ? &f->pmu : NULL,
					.moved = &f->moved,
					.repeats = effort->whole,
					.runs = effort->runs };

	qualify_check(&in, f->checks);
}

static void find_out(struct findings *f, const struct effort *effort)
{
	f->no_vmx = vmx_engine_ops.probe();
	if (vmx_device_info(&f->info) < 0)
		f->info.version = 0;
	if (f->no_vmx)
		return;
	f->no_pmu = vmx_pmu_engine_ops.probe();
	f->measured = !f->no_pmu &&
		      measure_engine(&vmx_pmu_engine_ops, effort->repeats, &f->pmu, &f->err) == 0 &&
		      qualify_move(&vmx_pmu_engine_ops, effort->repeats, &f->moved, &f->err) == 0;
}

/* ---- as text ---- */

static void print_traits(const struct twvmx_info *info)
{
	for (size_t i = 0; info->version && i < NTRAITS; i++)
		printf("  %-20s %-8s %s\n", traits[i].name,
		       info->has & traits[i].bit       ? "yes"
		       : info->missing & traits[i].bit ? "MISSING"
						       : "no",
		       traits[i].why);
	for (size_t i = 0; info->version && i < NFEATURES; i++)
		printf("  %-20s %-8s %s\n", features[i].name,
		       info->cr4_fixed1 & features[i].bit ? "yes" : "MISSING", features[i].why);
}

static void print_skid(const struct landing *l)
{
	printf("  skid of %llu overflow interrupts, in instructions: at most %llu; margin %llu\n",
	       (unsigned long long)l->overflows, (unsigned long long)l->skid_max,
	       (unsigned long long)l->margin);
	for (unsigned b = 0; b < LANDING_BUCKETS; b++) {
		if (l->skid[b])
			printf("    %5u to %-5u %llu\n", b ? 1u << (b - 1) : 0,
			       b ? (1u << b) - 1 : 0, (unsigned long long)l->skid[b]);
	}
}

static void print_pmu(const struct findings *f)
{
	if (f->no_vmx)
		return;
	if (!f->measured) {
		printf("performance counter: not usable: %s\n",
		       f->no_pmu ? f->no_pmu : f->err.text);
		return;
	}
	printf("performance counter: %s, lent by the kernel (perf), %u bits\n",
	       f->pmu.exact ? "exact" : "NOT EXACT", f->info.pmu_width);
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++) {
		const struct measure_row *r = &f->pmu.row[i];

		printf("  %-22s %9llu instructions, %u of %u runs wrong", r->name,
		       (unsigned long long)r->expected, r->wrong, r->runs);
		printf(r->wrong ? ", by %lld to %lld\n" : "\n", (long long)r->low,
		       (long long)r->high);
	}
	printf("  %-22s %9u, %u missed\n", "landings", f->pmu.landings, f->pmu.missed);
	if (f->pmu.error[0])
		printf("  stopped: %s\n", f->pmu.error);
	print_skid(&f->pmu.landing);
}

static void print_text(const struct findings *f)
{
	if (f->no_vmx)
		printf("VT-x: not usable: %s\n", f->no_vmx);
	else
		printf("VT-x: usable, %u VMs open\n", f->info.vms);
	print_traits(&f->info);
	print_pmu(f);
	qualify_print(f->checks);
	qualify_rdma_print();
	printf("verdict: %s\n", meaning[verdict(f)]);
}

/* ---- as JSON ---- */

static json_t *json_measure(const struct measure *m)
{
	json_t *o = json_object(), *rows = json_array(), *skid = json_array();

	json_object_set_new(o, "exact", json_boolean(m->exact));
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++)
		json_array_append_new(
			rows,
			json_pack("{s:s, s:I, s:i, s:i, s:I, s:I}", "program", m->row[i].name,
				  "instructions", (json_int_t)m->row[i].expected, "runs",
				  (int)m->row[i].runs, "wrong", (int)m->row[i].wrong, "low",
				  (json_int_t)m->row[i].low, "high", (json_int_t)m->row[i].high));
	json_object_set_new(o, "programs", rows);
	json_object_set_new(o, "landings", json_integer(m->landings));
	json_object_set_new(o, "missed", json_integer(m->missed));
	if (m->error[0])
		json_object_set_new(o, "error", json_string(m->error));
	/* How many interrupts came 0, 1, 2 to 3, 4 to 7, ... instructions late. */
	for (unsigned b = 0; b < LANDING_BUCKETS; b++)
		json_array_append_new(skid, json_integer((json_int_t)m->landing.skid[b]));
	json_object_set_new(o, "skid", skid);
	json_object_set_new(o, "skid-max", json_integer((json_int_t)m->landing.skid_max));
	json_object_set_new(o, "margin", json_integer((json_int_t)m->landing.margin));
	return o;
}

static json_t *json_traits(const struct twvmx_info *info)
{
	json_t *t = json_object();

	for (size_t i = 0; info->version && i < NTRAITS; i++)
		json_object_set_new(t, traits[i].name, json_boolean(info->has & traits[i].bit));
	for (size_t i = 0; info->version && i < NFEATURES; i++)
		json_object_set_new(t, features[i].name,
				    json_boolean(info->cr4_fixed1 & features[i].bit));
	return t;
}

static void print_json(const struct findings *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "verdict", json_string(verdicts[verdict(f)]));
	json_object_set_new(o, "vmx", json_boolean(!f->no_vmx));
	if (f->no_vmx)
		json_object_set_new(o, "reason", json_string(f->no_vmx));
	if (f->info.version)
		json_object_set_new(o, "vms", json_integer(f->info.vms));
	json_object_set_new(o, "host", json_traits(&f->info));
	if (f->measured)
		json_object_set_new(o, "pmu", json_measure(&f->pmu));
	else if (!f->no_vmx)
		json_object_set_new(o, "no-pmu", json_string(f->no_pmu ? f->no_pmu : f->err.text));
	json_object_set_new(o, "checks", qualify_json(f->checks));
	json_object_set_new(o, "rdma", qualify_rdma_json());
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
}

static int run(struct options *o)
{
	struct findings f = { .err = ERR_INIT };

	const struct effort effort = effort_of(o);

	if (qualify_link_wanted(o))
		return qualify_link_run(o);
	find_out(&f, &effort);
	check_all(&f, &effort);
	if (o->json)
		print_json(&f);
	else
		print_text(&f);
	return 0;
}

const struct command cmd_qualify = {
	.id = COMMAND_QUALIFY,
	.name = "qualify",
	.summary = "say what this host can do",
	.usage = "[--json] [--quick|--long]|--listen ADDR|--connect ADDR",
	.text = "Says what this host's processor and kernel module offer to the vmx engine, and "
		"what that means. Where there is a performance counter, it is measured: small "
		"guests whose count is known run ten times each. Ten checks follow, each with what "
		"it "
		"found, or why it could not be done here; then the RDMA devices. With --listen on "
		"one host and --connect on another one nothing is done but to measure the way "
		"between them, over TCP or RDMA as the address says.",
	.end = "Verdict: exact, exits-only or soft. Exit status 0 whatever it is.",
	.run = run,
};
