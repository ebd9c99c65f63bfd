// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_host.h"

#include <asm/prctl.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/qualify_keep.h"
#include "hypervisor/x86.h"

#define CR4_VMXE	    (1u << 13)
#define DEBUGCTL_FREEZE_SMM (1ull << 14)

/* IN and a jump back to it. */
static const char port_loop_code[] = "\xe4\x10\xeb\xfc";

const struct bench_program qualify_port_loop = {
	.name = "port loop",
	.code = port_loop_code,
	.end = port_loop_code + sizeof(port_loop_code) - 1,
};

bool qualify_run_times(struct bench *b, unsigned runs)
{
	for (unsigned i = 1; i <= runs; i++) {
		if (bench_run(b, b->e->ops->count(b->e) + 1) != ENGINE_EXIT_UNTIL)
			return false;
	}
	return true;
}

/* The guest of these checks; false: the check is settled. */
static bool start(const struct check_input *in, struct bench *b, struct check *c)
{
	struct err err = ERR_INIT;

	if (in->no_vmx) {
		qualify_settle(c, CHECK_NOT_DONE, "no guest can run");
		return false;
	}
	if (bench_start(b, &vmx_engine_ops, 2, &qualify_port_loop, &err) == 0)
		return true;
	qualify_settle(c, CHECK_BAD, "%.200s", err.text);
	return false;
}

/* ---- 2: one entry ---- */

static void settle_entry(const struct check_input *in, const struct twvmx_host *h, uint64_t seen,
			 struct check *c)
{
	bool frozen = in->info->has & TWVMX_SMI_FROZEN, mce = h->cr4 & CR4_MCE;
	bool good = h->guest_cr4 & CR4_VMXE && (h->guest_cr4 & CR4_MCE) == (h->cr4 & CR4_MCE) &&
		    !(seen & (CR4_MCE | CR4_VMXE)) &&
		    h->guest_debugctl == (frozen ? DEBUGCTL_FREEZE_SMM : 0);

	qualify_settle(c,
		       !good ? CHECK_BAD
		       : mce ? CHECK_GOOD
			     : CHECK_NOTE,
		       "in the guest the processor had CR4 %#llx (machine checks %s) and DEBUGCTL "
		       "%#llx (%s); the guest sees CR4 %#llx",
		       (unsigned long long)h->guest_cr4,
		       h->guest_cr4 & CR4_MCE ? "on, as in the host"
		       : mce		      ? "OFF: one would shut the host down"
					      : "off, as in the host: one shuts it down",
		       (unsigned long long)h->guest_debugctl,
		       frozen ? "counters are to stand still in system management mode"
			      : "nothing is wanted there",
		       (unsigned long long)seen);
}

void qualify_check_entry(const struct check_input *in, struct check *c)
{
	struct twvmx_host h;
	struct cpu_state s;
	struct bench b;
	int ret;

	if (!start(in, &b, c))
		return;
	if (!qualify_run_times(&b, 1)) {
		qualify_settle(c, CHECK_BAD, "the guest stopped: %.200s",
			       b.e->ops->last_error(b.e));
	} else if ((ret = vmx_device_host_state(b.e, true, &h)) < 0) {
		qualify_settle(c, ret == -ENOTTY ? CHECK_NOT_DONE : CHECK_BAD, "the module %s",
			       ret == -ENOTTY ? "is older than this program" : strerror(-ret));
	} else {
		b.e->ops->get_state(b.e, &s);
		settle_entry(in, &h, s.cr4, c);
	}
	bench_stop(&b);
}

/* ---- 3: before and after ---- */

static const char *const register_name[TWVMX_HOST_REGS] = {
	[TWVMX_HOST_CR0] = "CR0",
	[TWVMX_HOST_CR4] = "CR4",
	[TWVMX_HOST_DR7] = "DR7",
	[TWVMX_HOST_DR0] = "DR0",
	[TWVMX_HOST_DR1] = "DR1",
	[TWVMX_HOST_DR2] = "DR2",
	[TWVMX_HOST_DR3] = "DR3",
	[TWVMX_HOST_XCR0] = "XCR0",
	[TWVMX_HOST_GDT] = "GDTR",
	[TWVMX_HOST_GDT_LIMIT] = "limit of GDTR",
	[TWVMX_HOST_IDT] = "IDTR",
	[TWVMX_HOST_IDT_LIMIT] = "limit of IDTR",
	[TWVMX_HOST_TR] = "TR",
	[TWVMX_HOST_LDTR] = "LDTR",
	[TWVMX_HOST_EFER] = "EFER",
	[TWVMX_HOST_STAR] = "STAR",
	[TWVMX_HOST_LSTAR] = "LSTAR",
	[TWVMX_HOST_CSTAR] = "CSTAR",
	[TWVMX_HOST_FMASK] = "FMASK",
	[TWVMX_HOST_FS_BASE] = "FS_BASE",
	[TWVMX_HOST_GS_BASE] = "GS_BASE",
	[TWVMX_HOST_KERNEL_GS_BASE] = "KERNEL_GS_BASE",
	[TWVMX_HOST_TSC_AUX] = "TSC_AUX",
	[TWVMX_HOST_SYSENTER_CS] = "SYSENTER_CS",
	[TWVMX_HOST_SYSENTER_ESP] = "SYSENTER_ESP",
	[TWVMX_HOST_SYSENTER_EIP] = "SYSENTER_EIP",
	[TWVMX_HOST_DEBUGCTL] = "DEBUGCTL",
	[TWVMX_HOST_PEBS_ENABLE] = "PEBS_ENABLE",
	[TWVMX_HOST_PERF_GLOBAL_CTRL] = "PERF_GLOBAL_CTRL (or perf began or ended meanwhile)",
	[TWVMX_HOST_TSX_CTRL] = "TSX_CTRL",
	[TWVMX_HOST_SPEC_CTRL] = "SPEC_CTRL",
	[TWVMX_HOST_PAT] = "PAT",
	[TWVMX_HOST_MTRR] = "MTRR_DEF_TYPE",
	[TWVMX_HOST_XSS] = "XSS",
};

/* What a program can read by itself. */
struct kept {
	unsigned long fs, gs;
	uint16_t ds, es, fs_selector, gs_selector, x87;
	uint32_t mxcsr;
};

static void kept_read(struct kept *k)
{
	memset(k, 0, sizeof(*k));
	syscall(SYS_arch_prctl, ARCH_GET_FS, &k->fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &k->gs);
	__asm__ volatile("mov %%ds, %0" : "=r"(k->ds));
	__asm__ volatile("mov %%es, %0" : "=r"(k->es));
	__asm__ volatile("mov %%fs, %0" : "=r"(k->fs_selector));
	__asm__ volatile("mov %%gs, %0" : "=r"(k->gs_selector));
	__asm__ volatile("fnstcw %0" : "=m"(k->x87));
	__asm__ volatile("stmxcsr %0" : "=m"(k->mxcsr));
}

/* What this host let be tried; of several CPUs: on each of them. */
struct tried {
	bool vectors, port, breakpoint;
	uint64_t registers; /* bits of twvmx_host.present */
};

/* "" or what the module found changed. */
static const char *module_says(const struct bench *b, struct tried *tried)
{
	struct twvmx_host h;
	int ret;

	if (!tried->registers)
		return "";
	ret = vmx_device_host_state(b->e, false, &h);
	if (ret < 0)
		return ret == -EAGAIN ? "the module cannot compare: this thread was moved to "
					"another CPU"
				      : "the module cannot compare: VT-x is off";
	for (unsigned i = 0; i < TWVMX_HOST_REGS; i++) {
		if (h.changed >> i & 1)
			return register_name[i];
	}
	return "";
}

static bool module_begins(const struct bench *b, struct tried *tried)
{
	struct twvmx_host h;
	int ret = vmx_device_host_state(b->e, true, &h);

	tried->registers = ret < 0 ? 0 : h.present;
	return ret == 0 || ret == -ENOTTY;
}

static const char *kept_differs(const struct kept *before, const struct kept *after)
{
	if (before->fs != after->fs || before->gs != after->gs)
		return "the base of FS or GS";
	if (before->x87 != after->x87 || before->mxcsr != after->mxcsr)
		return "the x87 control word or MXCSR";
	return memcmp(before, after, sizeof(*before)) ? "a segment register" : "";
}

/* "" when all is as before, else what is not; `runs` on the CPU where this thread is. */
static const char *registers_stay(struct bench *b, unsigned runs, struct tried *tried)
{
	struct qualify_keep *keep = qualify_keep_begin();
	struct kept before, after;
	bool looked, ran, vectors, port, stopped;
	const char *changed;

	tried->vectors = keep;
	tried->breakpoint = qualify_keep_watch();
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0x123456789000ul);
	kept_read(&before);
	looked = module_begins(b, tried);
	ran = qualify_run_times(b, runs);
	changed = module_says(b, tried);
	kept_read(&after);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0ul);
	stopped = qualify_keep_watched();
	vectors = !keep || qualify_keep_end(keep);
	port = qualify_keep_port(&tried->port);
	if (!looked)
		return "the module did not look at them";
	if (!ran)
		return "the guest stopped";
	if (changed[0])
		return changed;
	if (!vectors)
		return "vector registers of another thread";
	if (tried->breakpoint && !stopped)
		return "a breakpoint of this process";
	if (tried->port && !port)
		return "the right to use a port (ioperm)";
	return kept_differs(&before, &after);
}

static void settle_registers(unsigned runs, unsigned cpus, const struct tried *t, const char *lost,
			     struct check *c)
{
	bool all = t->vectors && t->port && t->breakpoint && t->registers;

	if (lost[0])
		qualify_settle(c, CHECK_BAD,
			       "%u runs on each of %u CPUs did not leave all as it was: %s", runs,
			       cpus, lost);
	else if (!cpus)
		qualify_settle(c, CHECK_NOT_DONE, "this process may be moved to no CPU");
	else
		qualify_settle(c, all ? CHECK_GOOD : CHECK_NOTE,
			       "FS, GS, their bases, DS, ES, x87, MXCSR%s%s%s stay over %u runs on "
			       "each of %u CPUs%s (%d control registers, MSRs and tables)",
			       t->vectors ? ", vectors of another thread (AVX)" : "",
			       t->port ? ", the right to a port (ioperm)" : "",
			       t->breakpoint ? ", a breakpoint" : "", runs, cpus,
			       t->registers ? ", and what the module reads"
					    : "; the module is older than this program",
			       __builtin_popcountll(t->registers));
}

void qualify_check_registers(const struct check_input *in, struct check *c)
{
	cpu_set_t all, one;
	struct bench b;
	struct tried tried = { true, true, true, UINT64_MAX }, here;
	const char *lost = "";
	unsigned cpus = 0;

	if (!start(in, &b, c))
		return;
	sched_getaffinity(0, sizeof(all), &all);
	for (int cpu = 0; cpu < CPU_SETSIZE && !lost[0]; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!CPU_ISSET(cpu, &all) || sched_setaffinity(0, sizeof(one), &one) < 0)
			continue;
		lost = registers_stay(&b, in->runs, &here);
		tried.vectors &= here.vectors;
		tried.port &= here.port;
		tried.breakpoint &= here.breakpoint;
		tried.registers &= here.registers;
		cpus++;
	}
	sched_setaffinity(0, sizeof(all), &all);
	bench_stop(&b);
	settle_registers(in->runs, cpus, &tried, lost, c);
}
