// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the processor offers, VMXON and VMXOFF on every CPU, and the VMCS. Intel SDM vol. 3,
 * chapters 24 to 27 and appendix A; names of fields and bits are those of <asm/vmx.h>.
 */
#include <linux/cpu.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/namei.h>
#include <linux/percpu.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/syscore_ops.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/reboot.h>
#include <asm/tlbflush.h>
#include <asm/tsc.h>

#include "vcpu.h"

struct vmx_config vmx_config;

static DEFINE_PER_CPU(void *, vmxon_region);
static DEFINE_PER_CPU(bool, vmx_is_on);
static DEFINE_MUTEX(users_lock);
static unsigned int users;
static bool going_down; /* the host; VT-x stays off */
static bool kvm_is_loaded;
static enum cpuhp_state hp_state;
static DEFINE_IDA(vpids);

/* ---- capabilities ---- */

/*
 * Each control with its reason. `need`: the guest cannot be run without. Bits that are not listed
 * stay 0 where the processor allows that.
 */
struct control {
	u32 bit;
	u32 flag; /* TWVMX_*, or 0 for those that every VT-x has */
	bool need;
};

static const struct control pin_controls[] = {
	{ PIN_BASED_EXT_INTR_MASK, 0, true },	      /* the host's interrupts belong to the host */
	{ PIN_BASED_NMI_EXITING, 0, true },	      /* likewise */
	{ PIN_BASED_VIRTUAL_NMIS, TWVMX_VNMI, true }, /* the guest's NMI blocking is its own */
	/* Stop right after an injected event; and a bound on the time between two exits. */
	{ PIN_BASED_VMX_PREEMPTION_TIMER, TWVMX_TIMER, true },
	{},
};

static const struct control primary_controls[] = {
	{ CPU_BASED_HLT_EXITING, 0, true },	  /* HLT is a sync point */
	{ CPU_BASED_MWAIT_EXITING, 0, true },	  /* not offered to the guest */
	{ CPU_BASED_MONITOR_EXITING, 0, true },	  /* likewise */
	{ CPU_BASED_RDPMC_EXITING, 0, true },	  /* the guest has no PMU */
	{ CPU_BASED_RDTSC_EXITING, 0, true },	  /* the guest's time is virtual */
	{ CPU_BASED_CR8_LOAD_EXITING, 0, true },  /* CR8 is the engine's, or its APIC's */
	{ CPU_BASED_CR8_STORE_EXITING, 0, true }, /* likewise */
	{ CPU_BASED_MOV_DR_EXITING, 0, true },	  /* DR0-3 and DR6 are loaded by software only */
	{ CPU_BASED_UNCOND_IO_EXITING, 0, true }, /* every port belongs to the machine */
	{ CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, 0, true },
	{ CPU_BASED_INTR_WINDOW_EXITING, 0, true }, /* switched on when asked for; off at first */
	{ CPU_BASED_NMI_WINDOW_EXITING, TWVMX_VNMI, true }, /* likewise */
	{ CPU_BASED_MONITOR_TRAP_FLAG, TWVMX_MTF,
	  false }, /* likewise, for single steps; else RFLAGS.TF */
	/*
	 * "Use MSR bitmaps" stays 0, so that every RDMSR and WRMSR exits: no host MSR is visible,
	 * and they count.
	 */
	/*
	 * CR3 load and store exiting, INVLPG exiting stay 0: EPT and VPID make the guest's paging
	 * its own.
	 */
	{},
};

static const struct control secondary_controls[] = {
	{ SECONDARY_EXEC_ENABLE_EPT, TWVMX_EPT, true }, /* guest physical memory */
	{ SECONDARY_EXEC_UNRESTRICTED_GUEST, TWVMX_UNRESTRICTED,
	  true }, /* real mode and no paging */
	{ SECONDARY_EXEC_ENABLE_VPID, TWVMX_VPID,
	  true }, /* the guest's TLB entries survive exits */
	{ SECONDARY_EXEC_ENABLE_RDTSCP, 0,
	  false }, /* RDTSCP exits; without it, #UD, and that exits */
	{ SECONDARY_EXEC_WBINVD_EXITING, TWVMX_WBINVD_EXIT,
	  true }, /* the guest may not flush the host's caches */
	/*
	 * Random numbers are recorded inputs. Needed where the processor has the instruction:
	 * probe_random().
	 */
	{ SECONDARY_EXEC_RDRAND_EXITING, TWVMX_RDRAND_EXIT, false },
	{ SECONDARY_EXEC_RDSEED_EXITING, TWVMX_RDSEED_EXIT, false }, /* likewise */
	{ SECONDARY_EXEC_DESC, TWVMX_DESC_EXIT,
	  false }, /* switched on with CR4.UMIP where the CPU has none */
	/* With all leaves: else a guest could make enclaves out of the host's protected memory. */
	{ SECONDARY_EXEC_ENCLS_EXITING, TWVMX_ENCLS_EXIT, false },
	/* INVPCID, XSAVES, VMFUNC, PML, ... stay 0: not offered to the guest, so #UD. */
	{},
};

static const struct control exit_controls[] = {
	{ VM_EXIT_SAVE_DEBUG_CONTROLS, 0, true },  /* DR7 */
	{ VM_EXIT_HOST_ADDR_SPACE_SIZE, 0, true }, /* the host is 64-bit */
	{ VM_EXIT_SAVE_IA32_EFER, 0, true },	   /* LMA follows CR0.PG */
	{ VM_EXIT_LOAD_IA32_EFER, 0,
	  true }, /* the host's SCE and NXE at the same time as its tables */
	{ VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL, TWVMX_PERF_SWITCH,
	  false }, /* pmu.c; on when a run counts */
	/* PAT stays the host's: EPT ignores the guest's, which is state of the engine. */
	{},
};

static const struct control entry_controls[] = {
	{ VM_ENTRY_LOAD_DEBUG_CONTROLS, 0,
	  true }, /* DR7; and DEBUGCTL, without BTF, which is done in software */
	{ VM_ENTRY_LOAD_IA32_EFER, 0, true }, /* the guest's SCE, LME, NXE */
	{ VM_ENTRY_IA32E_MODE, 0, true },     /* follows EFER.LMA; off at first */
	{ VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL, TWVMX_PERF_SWITCH, false }, /* likewise */
	{},
};

/* The bits of a table that the capability MSR allows, on top of those that it demands. */
static u32 choose(const struct control *c, u32 msr, bool *ok)
{
	u32 must, may, bits;

	if (rdmsr_safe(msr, &must, &may)) {
		*ok = false;
		return 0;
	}
	bits = must;
	for (; c->bit; c++) {
		if (may & c->bit) {
			bits |= c->bit;
			vmx_config.has |= c->flag;
		} else if (c->need) {
			vmx_config.missing |= c->flag;
			*ok = false;
		}
	}
	return bits;
}

static u64 msr_or_zero(u32 msr)
{
	u64 v = 0;

	return rdmsrl_safe(msr, &v) ? 0 : v;
}

/*
 * True: translations that a CPU has cached under a VPID can be dropped. The names of these bits
 * count from 32.
 */
static bool probe_vpid(void)
{
	u32 cap = msr_or_zero(MSR_IA32_VMX_EPT_VPID_CAP) >> 32;

	vmx_config.invvpid_single = cap & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT;
	return cap & VMX_VPID_INVVPID_BIT &&
	       cap & (VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT | VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT);
}

static bool probe_ept(void)
{
	u64 cap = msr_or_zero(MSR_IA32_VMX_EPT_VPID_CAP);

	if (cap & VMX_EPT_AD_BIT)
		vmx_config.has |= TWVMX_EPT_AD;
	if (cap & VMX_EPT_2MB_PAGE_BIT)
		vmx_config.has |= TWVMX_EPT_2M;
	vmx_config.invept_single = cap & VMX_EPT_EXTENT_CONTEXT_BIT;
	/* Four-level tables in write-back memory, pages without any right but reading. */
	return (cap & VMX_EPT_PAGE_WALK_4_BIT) && (cap & VMX_EPTP_WB_BIT) &&
	       (cap & VMX_EPT_INVEPT_BIT) && (cap & VMX_EPT_EXTENT_GLOBAL_BIT);
}

/*
 * Without the exit, a guest would get numbers that no record has; without the instruction, #UD
 * exits.
 */
static bool probe_random(void)
{
	if (cpuid_ecx(1) & 1u << 30 && !(vmx_config.has & TWVMX_RDRAND_EXIT))
		vmx_config.missing |= TWVMX_RDRAND_EXIT;
	if (cpuid_eax(0) >= 7 && cpuid_ebx(7) & 1u << 18 && !(vmx_config.has & TWVMX_RDSEED_EXIT))
		vmx_config.missing |= TWVMX_RDSEED_EXIT;
	return !(vmx_config.missing & (TWVMX_RDRAND_EXIT | TWVMX_RDSEED_EXIT));
}

#define HOST_CR4_FRED	    BIT_ULL(32)
#define LEAF7_HYBRID	    BIT(15) /* EDX */
#define LEAF7_SGX	    BIT(2)  /* EBX */
#define LEAF7_BMI1	    BIT(3)  /* EBX */
#define LEAF8_LZCNT	    BIT(5)  /* 80000001H: ECX */
#define LEAF1_PDCM	    BIT(15) /* ECX */
#define DEBUGCTL_FREEZE_SMM BIT_ULL(14)
#define CAPABILITY_FREEZE   BIT_ULL(12)

/* Needs of a host besides controls. */
#define HOST_NEEDS (TWVMX_NO_FRED | TWVMX_ONE_KIND | TWVMX_BIT_COUNTS)

/*
 * A host whose events do not come through the IDT would need other host state at an exit. CPUs of
 * several kinds differ in what the guest can see of undefined flags and estimates, and in their
 * counters. The guest's processor (machine version 2) has TZCNT and LZCNT, which are BSF and BSR
 * where the host's has not, without an exit.
 */
static bool probe_host(void)
{
	bool has7 = cpuid_eax(0) >= 7;

	if (has7 && cpuid_ebx(7) & LEAF7_BMI1 && cpuid_ecx(0x80000001) & LEAF8_LZCNT)
		vmx_config.has |= TWVMX_BIT_COUNTS;
	if (!(__read_cr4() & HOST_CR4_FRED))
		vmx_config.has |= TWVMX_NO_FRED;
	if (!has7 || !(cpuid_edx(7) & LEAF7_HYBRID))
		vmx_config.has |= TWVMX_ONE_KIND;
	/* Enclaves of a guest whose attempts do not exit would be the host's. */
	if (has7 && cpuid_ebx(7) & LEAF7_SGX && !(vmx_config.has & TWVMX_ENCLS_EXIT))
		vmx_config.missing |= TWVMX_ENCLS_EXIT;
	vmx_config.missing |= ~vmx_config.has & HOST_NEEDS;
	return !(vmx_config.missing & (HOST_NEEDS | TWVMX_ENCLS_EXIT));
}

/* Finds out what can be done about system management mode, and about transactions. */
static void probe_extras(void)
{
	u64 smis;

	if (cpuid_ecx(1) & LEAF1_PDCM &&
	    msr_or_zero(MSR_IA32_PERF_CAPABILITIES) & CAPABILITY_FREEZE) {
		vmx_config.has |= TWVMX_SMI_FROZEN;
		vmx_config.debugctl = DEBUGCTL_FREEZE_SMM;
	}
	if (!rdmsrl_safe(MSR_SMI_COUNT, &smis))
		vmx_config.has |= TWVMX_SMI_COUNTED;
	if (msr_or_zero(MSR_IA32_ARCH_CAPABILITIES) & ARCH_CAP_TSX_CTRL_MSR)
		vmx_config.has |= TWVMX_TSX_OFF;
}

static bool probe_controls(void)
{
	bool ok = true, true_msrs = msr_or_zero(MSR_IA32_VMX_BASIC) >> 55 & 1;
	struct vmx_config *c = &vmx_config;

	c->revision = msr_or_zero(MSR_IA32_VMX_BASIC) & 0x7fffffff;
	c->pin = choose(pin_controls,
			true_msrs ? MSR_IA32_VMX_TRUE_PINBASED_CTLS : MSR_IA32_VMX_PINBASED_CTLS,
			&ok);
	c->primary = choose(
		primary_controls,
		true_msrs ? MSR_IA32_VMX_TRUE_PROCBASED_CTLS : MSR_IA32_VMX_PROCBASED_CTLS, &ok);
	if (c->primary & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
		c->secondary = choose(secondary_controls, MSR_IA32_VMX_PROCBASED_CTLS2, &ok);
	c->exit = choose(exit_controls,
			 true_msrs ? MSR_IA32_VMX_TRUE_EXIT_CTLS : MSR_IA32_VMX_EXIT_CTLS, &ok);
	c->entry = choose(entry_controls,
			  true_msrs ? MSR_IA32_VMX_TRUE_ENTRY_CTLS : MSR_IA32_VMX_ENTRY_CTLS, &ok);
	if (!probe_ept()) {
		c->missing |= TWVMX_EPT;
		ok = false;
	}
	if (!probe_vpid()) {
		c->missing |= TWVMX_VPID;
		ok = false;
	}
	ok &= probe_random();
	ok &= probe_host();
	probe_extras();
	/* Switched on when needed, not always. */
	c->primary &= ~(CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING |
			CPU_BASED_MONITOR_TRAP_FLAG);
	c->slice = min_t(u64, (u64)tsc_khz * SLICE_MS >> (msr_or_zero(MSR_IA32_VMX_MISC) & 31),
			 U32_MAX);
	c->secondary &= ~SECONDARY_EXEC_DESC;
	c->entry &= ~(VM_ENTRY_IA32E_MODE | VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
	c->exit &= ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	return ok;
}

/* What the choice was made by: every CPU has to say the same. */
static const u32 capability_msrs[] = {
	MSR_IA32_VMX_BASIC,	      MSR_IA32_VMX_PINBASED_CTLS,
	MSR_IA32_VMX_PROCBASED_CTLS,  MSR_IA32_VMX_EXIT_CTLS,
	MSR_IA32_VMX_ENTRY_CTLS,      MSR_IA32_VMX_TRUE_PINBASED_CTLS,
	MSR_IA32_VMX_TRUE_EXIT_CTLS,  MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	MSR_IA32_VMX_TRUE_ENTRY_CTLS, MSR_IA32_VMX_MISC,
	MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_EPT_VPID_CAP,
	MSR_IA32_VMX_CR0_FIXED0,      MSR_IA32_VMX_CR0_FIXED1,
	MSR_IA32_VMX_CR4_FIXED1,
};

static u64 capabilities[ARRAY_SIZE(capability_msrs)];

static void remember_capabilities(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_msrs); i++)
		capabilities[i] = msr_or_zero(capability_msrs[i]);
}

static bool same_capabilities(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_msrs); i++) {
		if (msr_or_zero(capability_msrs[i]) != capabilities[i])
			return false;
	}
	return true;
}

static int firmware_allows(void)
{
	u64 v = msr_or_zero(MSR_IA32_FEAT_CTL);

	if (v & FEAT_CTL_LOCKED)
		return v & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX ? 0 : -EACCES;
	return 0;
}

static int probe_result;

/*
 * Once, when the module is loaded: what runs relies on vmx_config staying as it is.
 * 0, or: -ENODEV no VT-x, -EACCES locked by the firmware, -EOPNOTSUPP it lacks something.
 */
static int vmx_probe(void)
{
	if (!(cpuid_ecx(1) & 1u << 5))
		return -ENODEV;
	if (firmware_allows())
		return -EACCES;
	remember_capabilities();
	return probe_controls() ? 0 : -EOPNOTSUPP;
}

void vmx_fill_info(struct twvmx_info *info)
{
	u32 pmu = pmu_state();

	*info = (struct twvmx_info){
		.version = TWVMX_VERSION,
		.has = vmx_config.has | (pmu == TWVMX_PMU_OK ? TWVMX_PMU : 0),
		.missing = vmx_config.missing,
		.vms = READ_ONCE(users),
		.cpus = num_online_cpus(),
		.pmu_width = pmu_width(),
		.pmu = pmu,
		.cr4_fixed1 = msr_or_zero(MSR_IA32_VMX_CR4_FIXED1),
		.basic = msr_or_zero(MSR_IA32_VMX_BASIC),
	};
	switch (probe_result) {
	case 0:
		info->verdict = !users && cr4_read_shadow() & X86_CR4_VMXE ? TWVMX_BUSY : TWVMX_OK;
		break;
	case -ENODEV:
		info->verdict = TWVMX_NO_VMX;
		break;
	case -EACCES:
		info->verdict = TWVMX_LOCKED;
		break;
	default:
		info->verdict = TWVMX_NO_CONTROLS;
	}
}

/* ---- VMXON ---- */

/* VMXON faults when something is not as the probe, which ran on one CPU only, has found it. */
static bool vmxon(u64 pa)
{
	bool failed;

	asm volatile("stc\n"
		     "1: vmxon %1\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : "=@ccbe"(failed)
		     : "m"(pa)
		     : "memory");
	return !failed;
}

/*
 * A CPU whose firmware left the register open gets it locked with VT-x on, as the kernel's own
 * set-up does.
 */
static void open_feature_control(void)
{
	u64 v = msr_or_zero(MSR_IA32_FEAT_CTL);

	if (!(v & FEAT_CTL_LOCKED))
		wrmsrl_safe(MSR_IA32_FEAT_CTL,
			    v | FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX);
}

/* On this CPU, preemption off. */
static int cpu_on(void)
{
	void *region = this_cpu_read(vmxon_region);

	if (this_cpu_read(vmx_is_on))
		return 0;
	if (cr4_read_shadow() & X86_CR4_VMXE)
		return -EBUSY;
	if (firmware_allows())
		return -EACCES;
	if (!same_capabilities()) {
		pr_err_once(
			"twinstep-vmx: the CPUs of this host differ in what their VT-x offers\n");
		return -EOPNOTSUPP;
	}
	open_feature_control();
	cr4_set_bits(X86_CR4_VMXE);
	*(u32 *)region = vmx_config.revision;
	intel_pt_handle_vmx(
		1); /* VMXON faults while a trace is written, where the processor cannot do both */
	if (!vmxon(__pa(region))) {
		intel_pt_handle_vmx(0);
		cr4_clear_bits(X86_CR4_VMXE);
		return -EIO;
	}
	this_cpu_write(vmx_is_on, true);
	asm volatile("invept %0, %1" : : "m"(*(u64[2]){}), "r"(2ul) : "cc", "memory");
	return 0;
}

static void cpu_off(void)
{
	if (!this_cpu_read(vmx_is_on))
		return;
	asm volatile("vmxoff" : : : "cc", "memory");
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
	this_cpu_write(vmx_is_on, false);
}

/* ---- the host crashes ---- */

#ifdef TWVMX_VIRT_CALLBACK
/*
 * On each CPU when the kernel crashes or restarts in an emergency, in an NMI: VMX operation blocks
 * the INIT by which the next kernel starts a CPU, and the CR4 that it wants. Older kernels do this
 * by themselves, where CR4.VMXE is set. Nothing here runs on afterwards.
 */
static void emergency_off(void)
{
	if (!this_cpu_read(vmx_is_on) || !(__read_cr4() & X86_CR4_VMXE))
		return;
	vmcs_clear_loaded();
	asm volatile("1: vmxoff\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     :
		     :
		     : "cc", "memory");
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

static bool registered;

/*
 * One module can have the kernel's callback, and the kernel complains where two want it. Before
 * 6.12, KVM has it from when it is loaded, and its callback switches VT-x off whoever has switched
 * it on; from 6.12 on, only while it has VT-x itself, when this module has not. users_lock is held.
 */
static void emergency_update(void)
{
	bool want = users && !(LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0) && kvm_is_loaded);

	if (want && !registered)
		cpu_emergency_register_virt_callback(emergency_off);
	else if (!want && registered)
		cpu_emergency_unregister_virt_callback(emergency_off);
	registered = want;
}
#else
static void emergency_update(void)
{
}
#endif

/* KVM comes before its own code has run, and goes after that. */
static int module_changes(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct module *m = data;

	if (strcmp(m->name, "kvm_intel"))
		return NOTIFY_DONE;
	mutex_lock(&users_lock);
	kvm_is_loaded = event != MODULE_STATE_GOING;
	emergency_update();
	mutex_unlock(&users_lock);
	return NOTIFY_DONE;
}

static struct notifier_block modules = { .notifier_call = module_changes };

/* True: there is a module of that name at this moment, or built in. */
static bool is_loaded(const char *name)
{
	char file[64];
	struct path path;

	snprintf(file, sizeof(file), "/sys/module/%s", name);
	if (kern_path(file, 0, &path))
		return false;
	path_put(&path);
	return true;
}

/* ---- who has VT-x ---- */

/* /sys/module/twinstep_vmx/parameters/holder */
static int holder_get(char *buffer, const struct kernel_param *kp)
{
	static const char *const others[] = { "kvm_intel", "vboxdrv", "vmmon" };

	if (READ_ONCE(users))
		return sysfs_emit(buffer, "twinstep_vmx\n");
	if (!(cr4_read_shadow() & X86_CR4_VMXE))
		return sysfs_emit(buffer, "nobody\n");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (is_loaded(others[i]))
			return sysfs_emit(buffer, "%s\n", others[i]);
	}
	return sysfs_emit(buffer, "unknown\n");
}

static const struct kernel_param_ops holder_ops = { .get = holder_get };
module_param_cb(holder, &holder_ops, NULL, 0444);
MODULE_PARM_DESC(holder, "the module that has switched VT-x on; read-only");

/* ---- all CPUs ---- */

static void cpu_on_ipi(void *error)
{
	int ret = cpu_on();

	if (ret)
		atomic_set(error, ret);
}

static void cpu_off_ipi(void *unused)
{
	cpu_off();
}

bool vmx_on_here(void)
{
	return this_cpu_read(vmx_is_on);
}

int vmx_get(void)
{
	atomic_t error = ATOMIC_INIT(0);
	int ret;

	if (probe_result)
		return probe_result;
	cpus_read_lock();
	mutex_lock(&users_lock);
	if (going_down)
		atomic_set(&error, -ESHUTDOWN);
	else if (!users) {
		on_each_cpu(cpu_on_ipi, &error, 1);
		if (atomic_read(&error))
			on_each_cpu(cpu_off_ipi, NULL, 1);
	}
	ret = atomic_read(&error);
	if (!ret) {
		users++;
		emergency_update();
	}
	mutex_unlock(&users_lock);
	cpus_read_unlock();
	return ret;
}

void vmx_put(void)
{
	cpus_read_lock();
	mutex_lock(&users_lock);
	if (!--users)
		on_each_cpu(cpu_off_ipi, NULL, 1);
	emergency_update();
	mutex_unlock(&users_lock);
	cpus_read_unlock();
}

/* ---- CPUs that come and go ---- */

/*
 * A CPU that comes online with VT-x taken would leave VMs that cannot run there: it stays offline.
 */
static int cpu_comes(unsigned int cpu)
{
	int ret = 0;

	preempt_disable();
	if (READ_ONCE(users) && !READ_ONCE(going_down))
		ret = cpu_on();
	preempt_enable();
	return ret;
}

static int cpu_goes(unsigned int cpu)
{
	preempt_disable();
	cpu_off();
	preempt_enable();
	return 0;
}

/* Newer kernels, and some that Debian has patched, hand over a pointer of the caller's. */
#ifdef TWVMX_SYSCORE_DATA
#define SYSCORE_ARG void *data
#else
#define SYSCORE_ARG void
#endif

/* The boot CPU; the others have gone offline before. */
static int host_suspends(SYSCORE_ARG)
{
	cpu_off();
	return 0;
}

static void host_resumes(SYSCORE_ARG)
{
	if (users && cpu_on())
		pr_err("twinstep-vmx: VT-x cannot be switched on again after the suspend\n");
}

static struct syscore_ops syscore_ops = { .suspend = host_suspends, .resume = host_resumes };

#ifdef TWVMX_SYSCORE_DATA
static struct syscore syscore = { .ops = &syscore_ops };

#define syscore_begin() register_syscore(&syscore)
#define syscore_end()	unregister_syscore(&syscore)
#else
#define syscore_begin() register_syscore_ops(&syscore_ops)
#define syscore_end()	unregister_syscore_ops(&syscore_ops)
#endif

static int cpu_off_stopped(void *unused)
{
	cpu_off();
	return 0;
}

/*
 * Power off, reboot, kexec: firmware and the next kernel start CPUs by INIT, which VMX operation
 * blocks. While all CPUs are stopped none is in a section; RUN fails from then on.
 */
static int host_goes_down(struct notifier_block *nb, unsigned long event, void *unused)
{
	mutex_lock(&users_lock);
	going_down = true;
	mutex_unlock(&users_lock);
	stop_machine(cpu_off_stopped, NULL, cpu_online_mask);
	return NOTIFY_DONE;
}

static struct notifier_block reboot = { .notifier_call = host_goes_down };

static void free_regions(void)
{
	int cpu;

	for_each_possible_cpu(cpu) free_page((unsigned long)per_cpu(vmxon_region, cpu));
}

int vmx_init(void)
{
	int cpu, ret;

	probe_result = vmx_probe();
	for_each_possible_cpu(cpu)
	{
		per_cpu(vmxon_region, cpu) = (void *)get_zeroed_page(GFP_KERNEL);
		if (!per_cpu(vmxon_region, cpu)) {
			free_regions();
			return -ENOMEM;
		}
	}
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "twinstep/vmx:online", cpu_comes, cpu_goes);
	if (ret < 0) {
		free_regions();
		return ret;
	}
	hp_state = ret;
	syscore_begin();
	register_reboot_notifier(&reboot);
	register_module_notifier(&modules);
	kvm_is_loaded = is_loaded("kvm_intel");
	return 0;
}

void vmx_exit(void)
{
	unregister_module_notifier(&modules);
	unregister_reboot_notifier(&reboot);
	syscore_end();
	cpuhp_remove_state(hp_state);
	free_regions();
	ida_destroy(&vpids);
}

/* ---- the VMCS ---- */

int vmcs_alloc(struct vm *vm)
{
	int id = ida_alloc_range(&vpids, 1, 0xffff, GFP_KERNEL);

	if (id < 0)
		return id;
	vm->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vm->vmcs) {
		ida_free(&vpids, id);
		return -ENOMEM;
	}
	*(u32 *)vm->vmcs = vmx_config.revision;
	vm->vpid = id;
	vm->last_cpu = -1;
	return 0;
}

void vmcs_free(struct vm *vm)
{
	if (!vm->vmcs)
		return;
	ida_free(&vpids, vm->vpid);
	free_page((unsigned long)vm->vmcs);
	vm->vmcs = NULL;
}

static void invept_all(struct vm *vm)
{
	struct {
		u64 eptp, zero;
	} d = { ept_pointer(vm), 0 };

	asm volatile("invept %0, %1"
		     :
		     : "m"(d), "r"(vmx_config.invept_single ? 1ul : 2ul)
		     : "cc", "memory");
}

static void invvpid_all(struct vm *vm)
{
	struct {
		u64 vpid, linear;
	} d = { vm->vpid, 0 };

	asm volatile("invvpid %0, %1"
		     :
		     : "m"(d), "r"(vmx_config.invvpid_single ? 1ul : 2ul)
		     : "cc", "memory");
}

/*
 * Drops what this CPU may have cached and must not use. A CPU keeps entries tagged with a VPID and
 * an EPT pointer while the VM runs elsewhere, so coming to another CPU drops everything there.
 */
void vmx_flush(struct vm *vm)
{
	bool moved = vm->last_cpu != smp_processor_id();

	if (moved || vm->needs_invept)
		invept_all(vm);
	if (moved || vm->needs_invvpid)
		invvpid_all(vm);
	vm->last_cpu = smp_processor_id();
	vm->needs_invept = vm->needs_invvpid = false;
}

/*
 * Exceptions that exit: #DB and #AC, because a guest could make their delivery loop without end,
 * and #DB because of the engine's own single steps; #UD, so that instructions of the machine's
 * processor which this one lacks can be done in software; #PF, because some come from translations
 * that this processor happens to have kept; #MC, which is the host's.
 */
#define EXCEPTIONS                                                                       \
	(1u << X86_TRAP_DB | 1u << X86_TRAP_AC | 1u << X86_TRAP_UD | 1u << X86_TRAP_PF | \
	 1u << X86_TRAP_MC)

/* Everything that stays as it is for the life of the VM. The VMCS is loaded. */
void vmcs_init(struct vm *vm)
{
	static const u16 zero[] = {
		PAGE_FAULT_ERROR_CODE_MASK, PAGE_FAULT_ERROR_CODE_MATCH,
		CR3_TARGET_COUNT,	    VM_EXIT_MSR_STORE_COUNT,
		VM_EXIT_MSR_LOAD_COUNT,	    VM_ENTRY_MSR_LOAD_COUNT,
		VM_ENTRY_INTR_INFO_FIELD,   GUEST_ACTIVITY_STATE,
		HOST_FS_SELECTOR,	    HOST_GS_SELECTOR,
		HOST_DS_SELECTOR,	    HOST_ES_SELECTOR,
	};

	for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
		vmwrite(zero[i], 0);
	vmwrite(VMCS_LINK_POINTER, ~0ull);
	vmwrite(PIN_BASED_VM_EXEC_CONTROL, vmx_config.pin);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, vmx_config.primary);
	vmwrite(SECONDARY_VM_EXEC_CONTROL, vmx_config.secondary);
	vmwrite(VM_EXIT_CONTROLS, vmx_config.exit);
	vmwrite(VM_ENTRY_CONTROLS, vmx_config.entry);
	vmwrite(EXCEPTION_BITMAP, EXCEPTIONS);
	if (vmx_config.has & TWVMX_ENCLS_EXIT)
		vmwrite(ENCLS_EXITING_BITMAP, ~0ull);
	vmwrite(GUEST_IA32_DEBUGCTL, vmx_config.debugctl);
	vmwrite(EPT_POINTER, ept_pointer(vm));
	vmwrite(VIRTUAL_PROCESSOR_ID, vm->vpid);
	vmwrite(CR0_GUEST_HOST_MASK, CR0_HOST_OWNED);
	vmwrite(CR4_GUEST_HOST_MASK, CR4_HOST_OWNED);
}

/* Sets the controls that the flags of a run ask for. */
void vmcs_arm(struct vm *vm)
{
	u32 pin = vmx_config.pin, primary = vmx_config.primary;
	bool step = vm->flags & TWVMX_RUN_STEP;

	if (vm->flags & TWVMX_RUN_WINDOW)
		primary |= CPU_BASED_INTR_WINDOW_EXITING;
	if (vm->flags & TWVMX_RUN_NMI)
		primary |= CPU_BASED_NMI_WINDOW_EXITING;
	if (step && vmx_config.has & TWVMX_MTF)
		primary |= CPU_BASED_MONITOR_TRAP_FLAG;
	else if (step)
		vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) | X86_EFLAGS_TF);
	vmwrite(PIN_BASED_VM_EXEC_CONTROL, pin);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, primary);
	vmwrite(EXCEPTION_BITMAP, step ? ~0u : EXCEPTIONS);
	pmu_load(vm);
	vmwrite(VMX_PREEMPTION_TIMER_VALUE, vm->flags & TWVMX_RUN_NONE ? 0 : vmx_config.slice);
}
