// SPDX-License-Identifier: GPL-2.0-only
/*
 * Comparison of the host's registers before and after a run. Programs cannot read most of them, so
 * the module looks, for `twinstep qualify`, apart from the code that saves and restores them.
 * Values that it has read stay here: addresses of the kernel's are not for user space.
 */
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/special_insns.h>

#include "vcpu.h"

static const u32 msrs[TWVMX_HOST_REGS] = {
	[TWVMX_HOST_EFER] = MSR_EFER,
	[TWVMX_HOST_STAR] = MSR_STAR,
	[TWVMX_HOST_LSTAR] = MSR_LSTAR,
	[TWVMX_HOST_CSTAR] = MSR_CSTAR,
	[TWVMX_HOST_FMASK] = MSR_SYSCALL_MASK,
	[TWVMX_HOST_FS_BASE] = MSR_FS_BASE,
	[TWVMX_HOST_GS_BASE] = MSR_GS_BASE,
	[TWVMX_HOST_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
	[TWVMX_HOST_TSC_AUX] = MSR_TSC_AUX,
	[TWVMX_HOST_SYSENTER_CS] = MSR_IA32_SYSENTER_CS,
	[TWVMX_HOST_SYSENTER_ESP] = MSR_IA32_SYSENTER_ESP,
	[TWVMX_HOST_SYSENTER_EIP] = MSR_IA32_SYSENTER_EIP,
	[TWVMX_HOST_DEBUGCTL] = MSR_IA32_DEBUGCTLMSR,
	[TWVMX_HOST_PEBS_ENABLE] = MSR_IA32_PEBS_ENABLE,
	[TWVMX_HOST_PERF_GLOBAL_CTRL] = MSR_CORE_PERF_GLOBAL_CTRL,
	[TWVMX_HOST_TSX_CTRL] = MSR_IA32_TSX_CTRL,
	[TWVMX_HOST_SPEC_CTRL] = MSR_IA32_SPEC_CTRL,
	[TWVMX_HOST_PAT] = MSR_IA32_CR_PAT,
	[TWVMX_HOST_MTRR] = MSR_MTRRdefType,
	[TWVMX_HOST_XSS] = MSR_IA32_XSS,
};

struct reading {
	u64 reg[TWVMX_HOST_REGS], present;
};

static void note(struct reading *r, enum twvmx_host_reg reg, u64 value)
{
	r->reg[reg] = value;
	r->present |= BIT_ULL(reg);
}

static void read_msrs(struct reading *r)
{
	u64 v;

	for (u32 reg = 0; reg < TWVMX_HOST_REGS; reg++) {
		if (msrs[reg] && !rdmsrl_safe(msrs[reg], &v))
			note(r, reg, v);
	}
}

/* Addresses of breakpoints that are off are whatever they are. */
static void read_debug(struct reading *r)
{
	unsigned long v;

	get_debugreg(v, 7);
	note(r, TWVMX_HOST_DR7, v);
	if (!(v & DR7_ENABLED))
		return;
	get_debugreg(v, 0);
	note(r, TWVMX_HOST_DR0, v);
	get_debugreg(v, 1);
	note(r, TWVMX_HOST_DR1, v);
	get_debugreg(v, 2);
	note(r, TWVMX_HOST_DR2, v);
	get_debugreg(v, 3);
	note(r, TWVMX_HOST_DR3, v);
}

static void read_tables(struct reading *r)
{
	struct desc_ptr gdt = {}, idt = {};
	u16 tr, ldt;

	native_store_gdt(&gdt);
	store_idt(&idt);
	asm volatile("str %0" : "=r"(tr));
	asm volatile("sldt %0" : "=r"(ldt));
	note(r, TWVMX_HOST_GDT, gdt.address);
	note(r, TWVMX_HOST_GDT_LIMIT, gdt.size);
	note(r, TWVMX_HOST_IDT, idt.address);
	note(r, TWVMX_HOST_IDT_LIMIT, idt.size);
	note(r, TWVMX_HOST_TR, tr);
	note(r, TWVMX_HOST_LDTR, ldt);
}

static void read_all(struct reading *r)
{
	note(r, TWVMX_HOST_CR0, read_cr0());
	note(r, TWVMX_HOST_CR4, __read_cr4());
	if (boot_cpu_has(X86_FEATURE_OSXSAVE))
		note(r, TWVMX_HOST_XCR0, xcr0_read());
	read_debug(r);
	read_tables(r);
	read_msrs(r);
}

/* A VM exit writes both to the VMCS, as they were in the processor. */
static int read_guest(struct vm *vm, struct twvmx_host *h)
{
	int ret;

	h->guest_cr4 = h->guest_debugctl = 0;
	if (!vm->vmcs_ready)
		return 0;
	ret = vmcs_load(vm);
	if (ret)
		return ret;
	h->guest_cr4 = vmread(GUEST_CR4);
	h->guest_debugctl = vmread(GUEST_IA32_DEBUGCTL);
	vmcs_clear(vm);
	return 0;
}

static void remember(struct vm *vm, const struct reading *now, int cpu)
{
	memcpy(vm->audit, now->reg, sizeof(vm->audit));
	vm->audit_cpu = cpu + 1;
}

static u64 changed_since(const struct vm *vm, const struct reading *now)
{
	u64 changed = 0;

	for (u32 reg = 0; reg < TWVMX_HOST_REGS; reg++) {
		if (now->reg[reg] != vm->audit[reg])
			changed |= BIT_ULL(reg);
	}
	return changed;
}

/* What TWVMX_IOC_HOST does. -EAGAIN: nothing of this CPU is remembered; -EIO: VT-x went off. */
int audit_host(struct vm *vm, struct twvmx_host *h)
{
	struct reading now = {};
	unsigned long flags;
	int cpu, ret;

	if (h->version != TWVMX_VERSION || h->remember > 1)
		return -EINVAL;
	preempt_disable();
	cpu = smp_processor_id();
	local_irq_save(flags);
	read_all(&now);
	ret = read_guest(vm, h);
	local_irq_restore(flags);
	preempt_enable();
	h->present = now.present;
	h->changed = 0;
	h->cr4 = now.reg[TWVMX_HOST_CR4];
	if (ret)
		return ret;
	if (h->remember)
		remember(vm, &now, cpu);
	else if (vm->audit_cpu != cpu + 1)
		return -EAGAIN;
	else
		h->changed = changed_since(vm, &now);
	return 0;
}
