// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers: the guest's, between the run page, this module's copy and the VMCS; and the host's,
 * around a section.
 *
 * CR0 and CR4 in the run page are what the guest sees. The processor runs with the bits that VT-x
 * demands (NE, VMXE) on top, and without those that only mean something to software (CD, NW) or
 * that it lacks (UMIP); the read shadow hides the difference, and an attempt to change a bit that
 * is not the guest's own exits.
 */
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/msr.h>
#include <asm/mmu_context.h>
#include <asm/nospec-branch.h>

#include "vcpu.h"

#define FX_MXCSR      24
#define FX_MXCSR_MASK 0xffffu
#define EFER_KNOWN    (EFER_SCE | EFER_LME | EFER_LMA | EFER_NX)

/*
 * What a machine has, and what has a meaning without registers that would be the host's (CET, PKE).
 */
#define CR4_KNOWN                                                                                 \
	((u64)(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE | \
	       X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |    \
	       X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE | X86_CR4_SMEP | \
	       X86_CR4_SMAP))

static bool canonical(u64 v)
{
	return (u64)((s64)(v << 16) >> 16) == v;
}

/*
 * VM entry checks what goes into the VMCS and fails cleanly; this is about what the module loads
 * itself, where a bad value would be a fault of the kernel's.
 */
int state_check(const struct twvmx_regs *r, u32 load)
{
	if (load & TWVMX_LOAD_SYS) {
		if (!canonical(r->lstar) || !canonical(r->cstar) || !canonical(r->kernel_gs_base))
			return -EINVAL;
		if (r->fmask >> 32 || r->tsc_aux >> 32 || r->dr7 >> 32 ||
		    r->efer & ~(u64)EFER_KNOWN)
			return -EINVAL;
		if (r->cr0 >> 32 || r->cr4 & ~CR4_KNOWN)
			return -EINVAL;
	}
	if (load & TWVMX_LOAD_FPU) {
		if (r->xcr0 != 1 && r->xcr0 != 3)
			return -EINVAL;
	}
	return 0;
}

/* ---- segments ---- */

/* The fields of the eight segments are eight times two (selectors) or one after the other. */
static void segs_load(const struct twvmx_regs *r)
{
	for (unsigned int i = 0; i < 8; i++) {
		vmwrite(GUEST_ES_SELECTOR + 2 * i, r->seg[i].selector & 0xffff);
		vmwrite(GUEST_ES_BASE + 2 * i, r->seg[i].base);
		vmwrite(GUEST_ES_LIMIT + 2 * i, r->seg[i].limit);
		vmwrite(GUEST_ES_AR_BYTES + 2 * i, r->seg[i].attr);
	}
	vmwrite(GUEST_GDTR_BASE, r->gdtr.base);
	vmwrite(GUEST_GDTR_LIMIT, r->gdtr.limit);
	vmwrite(GUEST_IDTR_BASE, r->idtr.base);
	vmwrite(GUEST_IDTR_LIMIT, r->idtr.limit);
}

static void segs_store(struct twvmx_regs *r)
{
	for (unsigned int i = 0; i < 8; i++) {
		r->seg[i].selector = vmread(GUEST_ES_SELECTOR + 2 * i);
		r->seg[i].base = vmread(GUEST_ES_BASE + 2 * i);
		r->seg[i].limit = vmread(GUEST_ES_LIMIT + 2 * i);
		r->seg[i].attr = vmread(GUEST_ES_AR_BYTES + 2 * i);
	}
	r->gdtr.base = vmread(GUEST_GDTR_BASE);
	r->gdtr.limit = vmread(GUEST_GDTR_LIMIT);
	r->idtr.base = vmread(GUEST_IDTR_BASE);
	r->idtr.limit = vmread(GUEST_IDTR_LIMIT);
}

/* ---- control registers ---- */

static u64 cr0_real(u64 cr0)
{
	return (cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW)) | X86_CR0_NE | X86_CR0_ET;
}

/*
 * MCE is the host's: with it off, a machine check in the guest shuts the processor down instead of
 * ending the guest's run. The guest sees its own.
 */
static u64 cr4_real(u64 cr4)
{
	u64 fixed1, mce = cr4_read_shadow() & X86_CR4_MCE;

	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, fixed1);
	return (cr4 & (fixed1 | ~(u64)X86_CR4_UMIP) & ~(u64)X86_CR4_MCE) | X86_CR4_VMXE | mce;
}

/* Without UMIP in hardware, the instructions that it forbids exit. */
static void umip_load(u64 cr4)
{
	u32 sec = vmx_config.secondary;

	if ((cr4 & ~cr4_real(cr4)) & X86_CR4_UMIP && vmx_config.has & TWVMX_DESC_EXIT)
		sec |= SECONDARY_EXEC_DESC;
	vmwrite(SECONDARY_VM_EXEC_CONTROL, sec);
}

static void crs_load(struct vm *vm, const struct twvmx_regs *r)
{
	vmwrite(GUEST_CR0, cr0_real(r->cr0));
	vmwrite(CR0_READ_SHADOW, r->cr0);
	vmwrite(GUEST_CR3, r->cr3);
	vmwrite(GUEST_CR4, cr4_real(r->cr4));
	vmwrite(CR4_READ_SHADOW, r->cr4);
	umip_load(r->cr4);
	vmwrite(GUEST_IA32_EFER, r->efer);
	vmwrite(VM_ENTRY_CONTROLS,
		vmx_config.entry | (r->efer & EFER_LMA ? VM_ENTRY_IA32E_MODE : 0));
	for (unsigned int i = 0; i < 4; i++)
		vmwrite(GUEST_PDPTR0 + 2 * i, r->pdpte[i]);
	vm->cr2 = r->cr2;
}

static void crs_store(struct vm *vm, struct twvmx_regs *r)
{
	r->cr0 = (vmread(GUEST_CR0) & ~CR0_HOST_OWNED) | (vmread(CR0_READ_SHADOW) & CR0_HOST_OWNED);
	r->cr4 = (vmread(GUEST_CR4) & ~CR4_HOST_OWNED) | (vmread(CR4_READ_SHADOW) & CR4_HOST_OWNED);
	r->cr3 = vmread(GUEST_CR3);
	r->efer = vmread(GUEST_IA32_EFER);
	for (unsigned int i = 0; i < 4; i++)
		r->pdpte[i] = vmread(GUEST_PDPTR0 + 2 * i);
	r->cr2 = vm->cr2;
}

/* ---- all of it ---- */

static void gpr_load(struct vm *vm, const struct twvmx_regs *r)
{
	memcpy(vm->gpr, r->gpr, sizeof(vm->gpr));
	vmwrite(GUEST_RSP, r->gpr[4]);
	vmwrite(GUEST_RIP, r->rip);
	vmwrite(GUEST_RFLAGS, r->rflags);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, r->interruptibility);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, r->pending_debug);
}

static void sys_load(struct vm *vm, const struct twvmx_regs *r)
{
	segs_load(r);
	crs_load(vm, r);
	memcpy(vm->dr, r->dr, sizeof(vm->dr));
	vm->breakpoints = r->dr7 & DR7_ENABLED;
	vmwrite(GUEST_DR7, r->dr7 | DR7_FIXED);
	vmwrite(GUEST_SYSENTER_CS, r->sysenter_cs);
	vmwrite(GUEST_SYSENTER_ESP, r->sysenter_esp);
	vmwrite(GUEST_SYSENTER_EIP, r->sysenter_eip);
	vm->star = r->star;
	vm->lstar = r->lstar;
	vm->cstar = r->cstar;
	vm->fmask = r->fmask;
	vm->kernel_gs_base = r->kernel_gs_base;
	vm->tsc_aux = r->tsc_aux;
}

/* FXRSTOR faults on reserved bits of MXCSR. */
static void fpu_load(struct vm *vm, const struct twvmx_regs *r)
{
	u32 mxcsr;

	memcpy(vm->fx, r->fxsave, sizeof(vm->fx));
	memcpy(&mxcsr, vm->fx + FX_MXCSR, sizeof(mxcsr));
	mxcsr &= FX_MXCSR_MASK;
	memcpy(vm->fx + FX_MXCSR, &mxcsr, sizeof(mxcsr));
	vm->xcr0 = r->xcr0;
}

void state_load(struct vm *vm, const struct twvmx_regs *r, u32 load)
{
	if (load & TWVMX_LOAD_GPR)
		gpr_load(vm, r);
	if (load & TWVMX_LOAD_SYS)
		sys_load(vm, r);
	if (load & TWVMX_LOAD_FPU)
		fpu_load(vm, r);
}

void state_store(struct vm *vm, struct twvmx_regs *r)
{
	memcpy(r->gpr, vm->gpr, sizeof(r->gpr));
	r->gpr[4] = vmread(GUEST_RSP);
	r->rip = vmread(GUEST_RIP);
	r->rflags = vmread(GUEST_RFLAGS);
	r->interruptibility = vmread(GUEST_INTERRUPTIBILITY_INFO);
	r->pending_debug = vmread(GUEST_PENDING_DBG_EXCEPTIONS);
	segs_store(r);
	crs_store(vm, r);
	memcpy(r->dr, vm->dr, sizeof(r->dr));
	r->dr7 = vmread(GUEST_DR7);
	r->sysenter_cs = vmread(GUEST_SYSENTER_CS);
	r->sysenter_esp = vmread(GUEST_SYSENTER_ESP);
	r->sysenter_eip = vmread(GUEST_SYSENTER_EIP);
	r->star = vm->star;
	r->lstar = vm->lstar;
	r->cstar = vm->cstar;
	r->fmask = vm->fmask;
	r->kernel_gs_base = vm->kernel_gs_base;
	r->tsc_aux = vm->tsc_aux;
	r->xcr0 = vm->xcr0;
	memcpy(r->fxsave, vm->fx, sizeof(r->fxsave));
}

/* ---- the host's registers ---- */

static void xcr0_write(u64 v)
{
	asm volatile("xsetbv" : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(0));
}

static void *tss_base(const struct desc_ptr *gdt, u16 tr)
{
	const struct ldttss_desc *d = (void *)(gdt->address + tr);

	return (void *)(d->base0 | (u64)d->base1 << 16 | (u64)d->base2 << 24 | (u64)d->base3 << 32);
}

/* The host state that a VM exit loads. */
static void host_vmcs(struct vm *vm, const struct host *h)
{
	unsigned long cr0;
	u64 v;
	u16 tr;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("str %0" : "=r"(tr));
	vmwrite(HOST_CR0, cr0);
	vm->host_cr3 = vm->host_cr4 = 0;
	vmwrite(HOST_CS_SELECTOR, __KERNEL_CS);
	vmwrite(HOST_SS_SELECTOR, __KERNEL_DS);
	vmwrite(HOST_TR_SELECTOR, tr);
	vmwrite(HOST_TR_BASE, (u64)tss_base(&h->gdt, tr));
	vmwrite(HOST_GDTR_BASE, h->gdt.address);
	vmwrite(HOST_IDTR_BASE, h->idt.address);
	vmwrite(HOST_FS_BASE, h->fs_base);
	vmwrite(HOST_GS_BASE, h->gs_base);
	rdmsrl(MSR_EFER, v);
	vmwrite(HOST_IA32_EFER, v);
	rdmsrl(MSR_IA32_SYSENTER_CS, v);
	vmwrite(HOST_IA32_SYSENTER_CS, v);
	rdmsrl(MSR_IA32_SYSENTER_ESP, v);
	vmwrite(HOST_IA32_SYSENTER_ESP, v);
	rdmsrl(MSR_IA32_SYSENTER_EIP, v);
	vmwrite(HOST_IA32_SYSENTER_EIP, v);
	vmwrite(HOST_RIP, (u64)twvmx_exit_point);
}

/*
 * Another CPU may have these changed by an interrupt in the middle of a section. Before each entry,
 * interrupts off.
 */
void host_refresh(struct vm *vm)
{
	unsigned long cr3 = __get_current_cr3_fast(), cr4 = cr4_read_shadow();

	if (cr3 != vm->host_cr3)
		vmwrite(HOST_CR3, cr3);
	if (cr4 != vm->host_cr4)
		vmwrite(HOST_CR4, cr4);
	vm->host_cr3 = cr3;
	vm->host_cr4 = cr4;
}

static void msrs_save(struct host *h)
{
	rdmsrl(MSR_STAR, h->star);
	rdmsrl(MSR_LSTAR, h->lstar);
	rdmsrl(MSR_CSTAR, h->cstar);
	rdmsrl(MSR_SYSCALL_MASK, h->fmask);
	rdmsrl(MSR_KERNEL_GS_BASE, h->kernel_gs_base);
	rdmsrl(MSR_FS_BASE, h->fs_base);
	rdmsrl(MSR_GS_BASE, h->gs_base);
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrl(MSR_TSC_AUX, h->tsc_aux);
}

/* The system-call MSRs matter in user mode only, so the guest's may stay until the section ends. */
static void msrs_switch(u64 star, u64 lstar, u64 cstar, u64 fmask, u64 kernel_gs_base, u64 tsc_aux)
{
	wrmsrl(MSR_STAR, star);
	wrmsrl(MSR_LSTAR, lstar);
	wrmsrl(MSR_CSTAR, cstar);
	wrmsrl(MSR_SYSCALL_MASK, fmask);
	wrmsrl(MSR_KERNEL_GS_BASE, kernel_gs_base);
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		wrmsrl(MSR_TSC_AUX, tsc_aux);
}

/*
 * Leaves nothing of another process's in the registers that the guest does not see (upper halves of
 * XMM, ZMM, masks, tiles), as XRSTOR does from an image that has nothing. The kernel has saved
 * them; it keeps PKRU in the register. XCR0 is the host's.
 */
static void vectors_clear(u64 xcr0)
{
	static const u8 nothing[576] __aligned(64);
	u64 parts = xcr0 & ~(u64)(XFEATURE_MASK_FPSSE | XFEATURE_MASK_PKRU);

	if (parts)
		asm volatile("xrstor64 %0"
			     :
			     : "m"(nothing), "a"((u32)parts), "d"((u32)(parts >> 32)));
}

/*
 * The guest's processor has no transactional memory, so its instructions must not begin one: where
 * they abort is chance.
 */
static void tsx_off(struct host *h)
{
	if (!(vmx_config.has & TWVMX_TSX_OFF))
		return;
	rdmsrl(MSR_IA32_TSX_CTRL, h->tsx_ctrl);
	if (!(h->tsx_ctrl & TSX_CTRL_RTM_DISABLE))
		wrmsrl(MSR_IA32_TSX_CTRL, h->tsx_ctrl | TSX_CTRL_RTM_DISABLE);
}

static void tsx_restore(const struct host *h)
{
	if (vmx_config.has & TWVMX_TSX_OFF && !(h->tsx_ctrl & TSX_CTRL_RTM_DISABLE))
		wrmsrl(MSR_IA32_TSX_CTRL, h->tsx_ctrl);
}

/*
 * Begin of a section: preemption is off, Linux's kernel_fpu_begin() has saved the process's own FPU
 * state, the VMCS is loaded. Speculation: another VM or process may have trained the branch
 * predictors, hence the barrier; buffers are cleared before each entry (exits.c, entry.S).
 */
void host_enter(struct vm *vm, struct host *h)
{
	native_store_gdt(&h->gdt);
	store_idt(&h->idt);
	asm volatile("sldt %0" : "=r"(h->ldt));
	savesegment(ds, h->ds);
	savesegment(es, h->es);
	savesegment(fs, h->fs);
	savesegment(gs, h->gs);
	msrs_save(h);
	host_vmcs(vm, h);
	indirect_branch_prediction_barrier();
	msrs_switch(vm->star, vm->lstar, vm->cstar, vm->fmask, vm->kernel_gs_base, vm->tsc_aux);
	tsx_off(h);
	if (boot_cpu_has(X86_FEATURE_OSXSAVE)) {
		h->xcr0 = xcr0_read();
		vectors_clear(h->xcr0);
		if (vm->xcr0 != h->xcr0)
			xcr0_write(vm->xcr0);
	}
	asm volatile("fxrstor64 %0" : : "m"(vm->fx)); /* XRSTOR has written to MXCSR */
}

/* Selectors that a VM exit lost; only processes with segments of their own have any. */
static void segments_restore(const struct host *h)
{
	if (h->ldt)
		asm volatile("lldt %0" : : "r"(h->ldt));
	loadsegment(ds, h->ds);
	loadsegment(es, h->es);
	if (h->fs) {
		loadsegment(fs, h->fs);
		wrmsrl(MSR_FS_BASE, h->fs_base);
	}
	if (h->gs)
		load_gs_index(h->gs);
}

/*
 * Where what the guest has trained would lead this process astray, the kernel puts a barrier before
 * user mode.
 */
static void barrier_before_user(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

void host_leave(struct vm *vm, const struct host *h)
{
	unsigned long flags;

	if (boot_cpu_has(X86_FEATURE_OSXSAVE) && vm->xcr0 != h->xcr0)
		xcr0_write(h->xcr0);
	asm volatile("fxsave64 %0" : "=m"(vm->fx));
	tsx_restore(h);
	local_irq_save(flags);
	rdmsrl(MSR_KERNEL_GS_BASE, vm->kernel_gs_base); /* SWAPGS does not exit */
	segments_restore(h);
	msrs_switch(h->star, h->lstar, h->cstar, h->fmask, h->kernel_gs_base, h->tsc_aux);
	local_irq_restore(flags);
	native_load_gdt(&h->gdt);
	load_idt(&h->idt);
	invalidate_tss_limit();
	barrier_before_user();
}
