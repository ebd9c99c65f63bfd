// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel module's device node. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "hypervisor/cpuid.h"
#include "hypervisor/vmx/vmx.h"

#define RUN_PAGE	4096
#define CREATE_PATIENCE 100	 /* naps */
#define CREATE_NAP_NS	10000000 /* 10 ms */

static int open_node(void)
{
	return open(TWVMX_DEVICE, O_RDWR | O_CLOEXEC);
}

int vmx_device_info(struct twvmx_info *info)
{
	int fd = open_node(), ret = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, TWVMX_IOC_INFO, info) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static const char *const verdicts[] = {
	[TWVMX_OK] = NULL,
	[TWVMX_NO_VMX] = "this processor has no VT-x",
	[TWVMX_LOCKED] =
		"the firmware has switched VT-x off and locked it; look for it in the BIOS set-up",
	[TWVMX_BUSY] = NULL, /* who_holds() */
	[TWVMX_NO_CONTROLS] =
		"this processor's VT-x lacks something that is needed; `twinstep qualify` names it",
};

/*
 * Other users of VT-x, by the directory that their module has in sysfs, also when it is built in.
 */
static const struct {
	const char *module, *text;
} holders[] = {
	/* From Linux 6.12 on it takes VT-x when it is loaded, virtual machines or not. */
	{ "/sys/module/kvm/parameters/enable_virt_at_load",
	  "KVM holds VT-x from when it is loaded (kvm.enable_virt_at_load); unload it (rmmod "
	  "kvm_intel), or load kvm with enable_virt_at_load=0 and end its virtual machines" },
	{ "/sys/module/kvm_intel",
	  "KVM holds VT-x; end its virtual machines, or unload it (rmmod kvm_intel)" },
	{ "/sys/module/vboxdrv",
	  "VirtualBox holds VT-x; end its virtual machines, or unload it (rmmod vboxdrv)" },
	{ "/sys/module/vmmon",
	  "VMware holds VT-x; end its virtual machines, or unload it (rmmod vmmon)" },
};

/*
 * The node cannot be opened from within the jail: it is opened when the engine is chosen, and kept
 * for its VM.
 */
static int kept_fd = -1;
/*
 * Findings of that moment, because the jail hides them later: the reason why there is no counter,
 * and the program that holds VT-x.
 */
static const char *kept_no_pmu, *kept_holder;

static const char *who_holds(void)
{
	if (kept_holder)
		return kept_holder;
	for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
		if (!access(holders[i].module, F_OK))
			return holders[i].text;
	}
	return "another hypervisor holds VT-x; end its virtual machines, or unload it";
}

/*
 * Raises the limit of locked memory: guest memory will be pinned, perhaps after this process has
 * lost the right to exceed the limit.
 */
void vmx_device_raise_limit(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY }, now;

	if (setrlimit(RLIMIT_MEMLOCK, &all) < 0 && getrlimit(RLIMIT_MEMLOCK, &now) == 0) {
		now.rlim_cur = now.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &now);
	}
}

static void keep_node(void)
{
	kept_no_pmu = vmx_device_pmu_unavailable();
	kept_holder = who_holds();
	kept_fd = open_node();
	vmx_device_raise_limit();
}

void vmx_device_host(char *text, size_t n)
{
	unsigned a = 0, b = 0, c = 0, d = 0, signature = 0;
	char vendor[13] = "";

	if (__get_cpuid(0, &a, &b, &c, &d)) {
		memcpy(vendor, &b, 4);
		memcpy(vendor + 4, &d, 4);
		memcpy(vendor + 8, &c, 4);
	}
	if (__get_cpuid(1, &a, &b, &c, &d))
		signature = a;
	snprintf(text, n, "%s %08X", vendor, signature);
}

bool vmx_device_loaded(void)
{
	return access(TWVMX_DEVICE, F_OK) == 0;
}

/* Some of what may be missing is not VT-x, and has words of its own. */
static const char *judge_missing(const struct twvmx_info *info)
{
	if (info->missing & TWVMX_NO_FRED)
		return "the host's kernel uses FRED, which the module does not switch; boot with "
		       "fred=off";
	if (info->missing & TWVMX_ONE_KIND)
		return "this processor has cores of several kinds (hybrid), on which a replay may "
		       "differ";
	if (info->missing == TWVMX_BIT_COUNTS)
		return "this processor lacks TZCNT and LZCNT (BMI1, ABM), which the guest's "
		       "processor has";
	return verdicts[TWVMX_NO_CONTROLS];
}

const char *vmx_device_judge(const struct twvmx_info *info)
{
	if (info->version != TWVMX_VERSION)
		return "the module twinstep-vmx is of another version than this program";
	if (info->verdict >= sizeof(verdicts) / sizeof(verdicts[0]))
		return "unknown verdict";
	if (!verdicts[info->verdict] && (info->cr4_fixed1 & VMX_GUEST_CR4) != VMX_GUEST_CR4)
		return "this processor lacks what the guest's processor has; `twinstep qualify` "
		       "names it";
	return info->verdict == TWVMX_NO_CONTROLS ? judge_missing(info) : verdicts[info->verdict];
}

const char *vmx_device_unavailable(void)
{
	struct twvmx_info info;
	int ret = vmx_device_info(&info);
	const char *why;

	if (ret == -EACCES || ret == -EPERM)
		return "no permission to open " TWVMX_DEVICE;
	if (ret == -ENOENT || ret == -ENXIO || ret == -ENODEV)
		return "there is no " TWVMX_DEVICE ": the module twinstep-vmx is not loaded";
	if (ret < 0)
		return "the module twinstep-vmx does not answer";
	why = vmx_device_judge(&info);
	return !why && info.verdict == TWVMX_BUSY ? who_holds() : why;
}

static const char *const pmu_verdicts[] = {
	[TWVMX_PMU_OK] = NULL,
	[TWVMX_PMU_NONE] = "this processor has no performance counters",
	[TWVMX_PMU_DEAD] = "this processor claims performance counters, but they do not keep what "
			   "is written to them",
	[TWVMX_PMU_UNUSED] =
		"the host's kernel does not use the performance counters, so it lends none",
	[TWVMX_PMU_NO_SWITCH] =
		"this processor's VT-x cannot switch performance counters at VM entry and exit",
	[TWVMX_PMU_TAKEN] =
		"other programs hold the performance counters (perf, profilers); end them",
};

const char *vmx_device_pmu_unavailable(void)
{
	struct twvmx_info info;

	if (kept_fd >= 0)
		return kept_no_pmu;
	if (vmx_device_info(&info) < 0 || info.version != TWVMX_VERSION)
		return "the module twinstep-vmx does not answer";
	return info.pmu < sizeof(pmu_verdicts) / sizeof(pmu_verdicts[0]) ? pmu_verdicts[info.pmu]
									 : "unknown verdict";
}

/*
 * Creates a VM. A signal may interrupt that, so it is tried again. patience: how often to try while
 * VT-x is in use, since its user may just be ending.
 */
static int create_vm(int fd, unsigned patience)
{
	int ret;

	for (;;) {
		ret = ioctl(fd, TWVMX_IOC_CREATE, TWVMX_VERSION);
		if (ret == 0 || (errno != EINTR && (errno != EBUSY || !patience)))
			return ret;
		if (errno == EBUSY) {
			patience--;
			host_sleep_ns(CREATE_NAP_NS);
		}
	}
}

/*
 * A VM of its own, because the one that is wanted may belong to another process, inside the jail.
 */
static const char *try_create(void)
{
	int fd = open_node();
	bool made = fd >= 0 && create_vm(fd, 0) == 0;
	bool busy = !made && errno == EBUSY;

	if (fd >= 0)
		close(fd);
	if (busy)
		return who_holds();
	return made ? NULL : "the module twinstep-vmx cannot make a VM";
}

const char *vmx_device_reserve(void)
{
	const char *why = kept_fd >= 0 ? NULL : vmx_device_unavailable();

	if (kept_fd >= 0 || why)
		return why;
	why = try_create();
	if (!why)
		keep_node();
	return why;
}

int vmx_device_open(struct vmx *v, struct err *err)
{
	v->fd = kept_fd >= 0 ? kept_fd : open_node();
	kept_fd = -1;
	if (v->fd < 0)
		return err_set(err, errno, "cannot open " TWVMX_DEVICE ": %s", strerror(errno));
	if (create_vm(v->fd, CREATE_PATIENCE) < 0)
		return err_set(err, errno, "cannot make a VM: %s",
			       errno == EBUSY ? who_holds() : strerror(errno));
	v->run = mmap(NULL, RUN_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_set(err, errno, "cannot map the run page of " TWVMX_DEVICE ": %s",
			       strerror(errno));
	}
	return 0;
}

void vmx_device_close(struct vmx *v)
{
	if (v->run)
		munmap(v->run, RUN_PAGE);
	if (v->fd >= 0)
		close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

bool vmx_device_cpuid(struct vmx *v)
{
	struct cpuid_entry t[TWVMX_CPUID_MAX];
	struct twvmx_cpuid_entry e[TWVMX_CPUID_MAX];
	size_t n = (v->bus.version == 2 ? cpuid_v2_table : cpuid_v1_table)(t, TWVMX_CPUID_MAX);
	const struct twvmx_cpuid arg = { .version = TWVMX_VERSION,
					 .n = (uint32_t)n,
					 .entries = (uintptr_t)e };

	for (size_t i = 0; i < n; i++)
		e[i] = (struct twvmx_cpuid_entry){
			.leaf = t[i].leaf,
			.sub = t[i].sub,
			.flags = (t[i].any_sub ? TWVMX_CPUID_ANY_SUB : 0) |
				 (t[i].osxsave ? TWVMX_CPUID_OSXSAVE : 0) |
				 (t[i].syscall ? TWVMX_CPUID_SYSCALL : 0),
			.eax = t[i].out[0],
			.ebx = t[i].out[1],
			.ecx = t[i].out[2],
			.edx = t[i].apic && v->cpuid_apic_off ? t[i].out[3] & ~CPUID_1_EDX_APIC
							      : t[i].out[3],
		};
	return ioctl(v->fd, TWVMX_IOC_CPUID, &arg) == 0;
}

static int set_slot(struct vmx *v, uint32_t slot, uint64_t gpa, uint64_t size, const uint8_t *user)
{
	const struct twvmx_slot s = { .version = TWVMX_VERSION,
				      .slot = slot,
				      .gpa = gpa,
				      .size = size,
				      .user = (uintptr_t)user };

	return ioctl(v->fd, TWVMX_IOC_SLOT, &s) < 0 ? -errno : 0;
}

int vmx_device_map(struct vmx *v)
{
	const struct memory *m = v->mem;
	int ret = set_slot(v, 0, 0, m->low_size, m->base);

	if (!ret && m->high_size)
		ret = set_slot(v, 1, MEMORY_HOLE_END, m->high_size, m->base + m->low_size);
	if (ret)
		snprintf(v->error, sizeof(v->error), "cannot map %llu MiB of guest memory: %s%s",
			 (unsigned long long)m->size >> 20, strerror(-ret),
			 ret == -ENOMEM ? " (see ulimit -l: guest memory stays in RAM)" : "");
	v->mapped = !ret;
	return ret;
}

void vmx_device_unmap(struct vmx *v)
{
	if (!v->mapped)
		return;
	set_slot(v, 0, 0, 0, NULL);
	set_slot(v, 1, 0, 0, NULL);
	v->mapped = false;
}

int vmx_device_dirty(struct vmx *v)
{
	const struct memory *m = v->mem;
	struct twvmx_dirty d = { .version = TWVMX_VERSION,
				 .pages = m->low_size / PAGE_SIZE,
				 .map = (uintptr_t)m->dirty };

	if (!v->mapped)
		return 0;
	if (ioctl(v->fd, TWVMX_IOC_DIRTY, &d) < 0)
		return -errno;
	if (!m->high_size)
		return 0;
	d.slot = 1;
	d.map += d.pages;
	d.pages = m->high_size / PAGE_SIZE;
	return ioctl(v->fd, TWVMX_IOC_DIRTY, &d) < 0 ? -errno : 0;
}

struct twvmx_stats vmx_device_stats(const struct vmx *v)
{
	struct twvmx_stats stats = { 0 };

	if (ioctl(v->fd, TWVMX_IOC_STATS, &stats) < 0)
		return (struct twvmx_stats){ 0 };
	return stats;
}

int vmx_device_host_state(const struct engine *e, bool remember, struct twvmx_host *h)
{
	*h = (struct twvmx_host){ .version = TWVMX_VERSION, .remember = remember };
	return ioctl(((const struct vmx *)e)->fd, TWVMX_IOC_HOST, h) < 0 ? -errno : 0;
}
