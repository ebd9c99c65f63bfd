// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop. Handled here: the host's interrupts, first writes to clean pages, and what serve.c
 * completes. Everything else ends the run.
 */
#include <linux/hw_breakpoint.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/irqflags.h>
#include <asm/mce.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>

#include "vcpu.h"

#define ENTRY_FAILED	 (1u << 31)
#define INFO_KEPT	 0x80000fffu /* of IDT-vectoring information, what may go into the entry field */
#define QUAL_NMI_UNBLOCK (1u << 12)
#define QUAL_WRITE	 2u
#define QUAL_FETCH	 4u
#define BLOCKED_BY_NMI	 8u
#define BLOCKED_BY_SS	 2u
#define DR6_BS		 (1u << 14)

enum next { NEXT_ENTER, NEXT_SECTION, NEXT_LEAVE };

/* ---- around an entry ---- */

/* The largest L1 data cache of a processor that leaks, twice: replacement is not strict. */
#define L1D_BYTES (64u << 10)
#define L1D_LINE  64u

/*
 * Leaves no host data in the L1 cache of processors that leak it; entry.S clears their buffers.
 * Without the command of newer microcode, other data takes the place of what is there. `l1tf=off`
 * and `mitigations=off` hold here, too.
 */
static void clear_cache(void)
{
	static const u8 filler[L1D_BYTES] __aligned(4096);

	if (!boot_cpu_has_bug(X86_BUG_L1TF) || l1tf_mitigation == L1TF_MITIGATION_OFF)
		return;
	if (boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
		return;
	}
	for (u32 i = 0; i < sizeof(filler); i += PAGE_SIZE)
		READ_ONCE(filler[i]); /* translations first */
	for (u32 i = 0; i < sizeof(filler); i += L1D_LINE)
		READ_ONCE(filler[i]);
}

/*
 * Where IBRS holds off what less privileged code has trained, it has to be written after that code
 * has run.
 */
static void renew_ibrs(void)
{
	u64 v;

	if (!boot_cpu_has(X86_FEATURE_KERNEL_IBRS))
		return;
	rdmsrl(MSR_IA32_SPEC_CTRL, v);
	wrmsrl(MSR_IA32_SPEC_CTRL, v);
}

/*
 * The processor would write the host's event records to the same linear addresses, which are the
 * guest's in a guest.
 */
static u64 pebs_stop(void)
{
	u64 v = 0;

	if (boot_cpu_has(X86_FEATURE_PEBS))
		rdmsrl(MSR_IA32_PEBS_ENABLE, v);
	if (v)
		wrmsrl(MSR_IA32_PEBS_ENABLE, 0);
	return v;
}

/*
 * The guest's addresses are in the registers only while no interrupt can come, whose handler might
 * switch on a breakpoint of the host's; and those that are on must not meet them on the way.
 */
static void breakpoints_load(const struct vm *vm)
{
	if (!vm->breakpoints)
		return;
	if (hw_breakpoint_active())
		set_debugreg(0, 7);
	set_debugreg(vm->dr[0], 0);
	set_debugreg(vm->dr[1], 1);
	set_debugreg(vm->dr[2], 2);
	set_debugreg(vm->dr[3], 3);
}

/* A VM exit has switched every breakpoint off. */
static void breakpoints_restore(const struct vm *vm)
{
	if (vm->breakpoints)
		set_debugreg(DR6_FIXED, 6);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
}

static int enter(struct vm *vm)
{
	u64 pebs = pebs_stop(), debugctl = get_debugctlmsr();
	unsigned long cr2;
	int failed;

	asm volatile("mov %0, %%cr2" : : "r"((unsigned long)vm->cr2));
	host_refresh(vm);
	clear_cache();
	breakpoints_load(vm);
	failed = twvmx_enter(vm->gpr, vm->launched);
	renew_ibrs();
	breakpoints_restore(vm);
	if (debugctl) /* a VM exit clears it */
		update_debugctlmsr(debugctl);
	asm volatile("mov %%cr2, %0" : "=r"(cr2));
	vm->cr2 = cr2;
	if (pebs)
		wrmsrl(MSR_IA32_PEBS_ENABLE, pebs);
	vm->run->entries++;
	return failed;
}

/*
 * A machine check in the guest, for the host's handler. It gets the registers of user mode: what
 * the guest has met concerns this process alone, and the handler ends that where it cannot go on,
 * on the way back to user mode. Taken for the kernel's own, it would end the host.
 */
static void machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = { .cs = 3, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#endif
}

/*
 * Reasons for the end of the guest's run, or its entry: events of the host's, or something of the
 * guest's.
 */
enum ended_by { BY_GUEST, BY_INTERRUPT, BY_NMI, BY_MACHINE_CHECK };

static enum ended_by ended_by(u32 reason)
{
	u32 info;

	if (reason == EXIT_REASON_EXTERNAL_INTERRUPT)
		return BY_INTERRUPT;
	if (reason == (ENTRY_FAILED | EXIT_REASON_MCE_DURING_VMENTRY))
		return BY_MACHINE_CHECK;
	if (reason != EXIT_REASON_EXCEPTION_NMI)
		return BY_GUEST;
	info = vmread(VM_EXIT_INTR_INFO);
	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		return BY_NMI;
	return (info & INTR_INFO_VECTOR_MASK) == X86_TRAP_MC ? BY_MACHINE_CHECK : BY_GUEST;
}

/*
 * An NMI or machine check that ended the guest's run, or its entry, is the host's: its handler runs
 * as if it had come just now.
 */
static void pass_on(enum ended_by by)
{
	if (by == BY_MACHINE_CHECK)
		machine_check();
	else if (by == BY_NMI)
		asm volatile("int $2");
}

/*
 * An event whose delivery was interrupted goes in again at the next entry. Software interrupts do
 * not: RIP is at their instruction, which is executed again, and so retires and counts; injected,
 * it would not.
 */
static void reinject(struct vm *vm)
{
	u32 info = vmread(IDT_VECTORING_INFO_FIELD), state;

	if (!(info & INTR_INFO_VALID_MASK) ||
	    (info & INTR_INFO_INTR_TYPE_MASK) >= INTR_TYPE_SOFT_INTR)
		return;
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, info & INFO_KEPT);
	if (info & INTR_INFO_DELIVER_CODE_MASK)
		vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, vmread(IDT_VECTORING_ERROR_CODE));
	vmwrite(VM_ENTRY_INSTRUCTION_LEN, vmread(VM_EXIT_INSTRUCTION_LEN));
	state = vmread(GUEST_INTERRUPTIBILITY_INFO);
	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		vmwrite(GUEST_INTERRUPTIBILITY_INFO, state & ~BLOCKED_BY_NMI);
}

/* IRET ends NMI blocking before it faults; the instruction is going to be executed again. */
static void restore_nmi_blocking(u64 qualification)
{
	if (!(qualification & QUAL_NMI_UNBLOCK) ||
	    vmread(IDT_VECTORING_INFO_FIELD) & INTR_INFO_VALID_MASK)
		return;
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, vmread(GUEST_INTERRUPTIBILITY_INFO) | BLOCKED_BY_NMI);
}

/* ---- exits ---- */

static enum next leave_with(struct vm *vm, u32 reason)
{
	vm->run->exit_reason = reason;
	return NEXT_LEAVE;
}

/*
 * An exit in the middle of an instruction may leave a pending single-step trap although the
 * instruction has not retired and is going to be executed again. Under a MOV SS shadow the trap is
 * one of the instruction before.
 */
static void drop_early_trap(void)
{
	if (!(vmread(GUEST_INTERRUPTIBILITY_INFO) & BLOCKED_BY_SS))
		vmwrite(GUEST_PENDING_DBG_EXCEPTIONS,
			vmread(GUEST_PENDING_DBG_EXCEPTIONS) & ~(u64)DR6_BS);
}

/* True when it was the first write to a clean page: the instruction is executed again. */
static bool ept_violation(struct vm *vm)
{
	u64 qualification = vmread(EXIT_QUALIFICATION), gpa = vmread(GUEST_PHYSICAL_ADDRESS);

	restore_nmi_blocking(qualification);
	if (qualification & QUAL_WRITE && ept_make_writable(vm, gpa))
		vm->run->dirty_exits++;
	else if (!(qualification & QUAL_FETCH) || !ept_make_executable(vm, gpa))
		return false;
	drop_early_trap();
	reinject(vm);
	if (vm->needs_invept)
		vmx_flush(vm);
	return true;
}

/* Every end of a run that steps by RFLAGS.TF takes the flag back. */
static void disarm_step(struct vm *vm)
{
	if (!(vm->flags & TWVMX_RUN_STEP) || vmx_config.has & TWVMX_MTF)
		return;
	vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) & ~(u64)X86_EFLAGS_TF);
	drop_early_trap();
}

/* A single step ends with an exit of its own, or with #DB when it is one by RFLAGS.TF. */
static bool has_stepped(u32 reason)
{
	if (vmx_config.has & TWVMX_MTF)
		return reason == EXIT_REASON_MONITOR_TRAP_FLAG;
	return reason == EXIT_REASON_EXCEPTION_NMI &&
	       (vmread(VM_EXIT_INTR_INFO) & INTR_INFO_VECTOR_MASK) == X86_TRAP_DB &&
	       vmread(EXIT_QUALIFICATION) & DR6_BS;
}

static enum next end_run(struct vm *vm, u32 reason)
{
	if (vm->flags & TWVMX_RUN_STEP && has_stepped(reason)) {
		reason = TWVMX_EXIT_STEP;
		vm->count += !(vm->flags & TWVMX_RUN_COUNT);
	}
	disarm_step(vm);
	return leave_with(vm, reason);
}

/*
 * The only boundaries where a kick or the limit stops the guest: right behind an instruction that
 * counts.
 */
static enum next served(struct vm *vm)
{
	vm->since = jiffies;
	if (vm->flags & TWVMX_RUN_STEP) {
		disarm_step(vm);
		return leave_with(vm, TWVMX_EXIT_STEP);
	}
	if (vm->count >= vm->limit)
		return leave_with(vm, TWVMX_EXIT_LIMIT);
	return READ_ONCE(vm->run->kick) ? leave_with(vm, TWVMX_EXIT_KICK) : NEXT_ENTER;
}

/*
 * Nothing of the guest's: it goes on, unless somebody has waited for a slice and nothing was
 * served.
 */
static enum next go_on(struct vm *vm)
{
	if (!READ_ONCE(vm->run->kick))
		return NEXT_ENTER;
	/* With a counter, user space leads the guest to a place that a record can name. */
	if (!(vm->flags & TWVMX_RUN_COUNT) &&
	    time_before(jiffies, vm->since + msecs_to_jiffies(SLICE_MS)))
		return NEXT_ENTER;
	disarm_step(vm);
	return leave_with(vm, TWVMX_EXIT_SLICE);
}

/*
 * What a machine check has left to be done (this process may have to end, a page to be taken away)
 * the kernel does on the way to user mode.
 */
static enum next hosts(struct vm *vm, enum ended_by by)
{
	vm->run->irqs++;
	reinject(vm);
	if (by != BY_MACHINE_CHECK)
		return go_on(vm);
	ept_suspect_all(vm);
	disarm_step(vm);
	return leave_with(vm, TWVMX_EXIT_SIGNAL);
}

static enum next handle_exit(struct vm *vm, u32 reason, enum ended_by by)
{
	if (by != BY_GUEST)
		return hosts(vm, by);
	if (reason == EXIT_REASON_EPT_VIOLATION) {
		if (ept_is_poisoned(vm, vmread(GUEST_PHYSICAL_ADDRESS)))
			return end_run(vm, TWVMX_EXIT_POISON);
		if (ept_violation(vm))
			return NEXT_ENTER;
	}
	if (reason == EXIT_REASON_PREEMPTION_TIMER)
		return vm->flags & TWVMX_RUN_NONE ? leave_with(vm, TWVMX_EXIT_NONE) : go_on(vm);
	if (serve_instruction(vm, reason))
		return served(vm);
	return end_run(vm, reason);
}

static enum next entry_failed(struct vm *vm, u32 error)
{
	vm->run->exit_error = error;
	disarm_step(vm);
	return leave_with(vm, TWVMX_EXIT_ENTRY);
}

/*
 * The FPU is the guest's in a section, which since 6.15 holds the CPU's softirqs off, and ends with
 * the tick. A page of the guest's that may have failed is looked at between two.
 */
static bool section_ends(const struct vm *vm)
{
	return need_resched() || signal_pending(current) || jiffies != vm->began ||
	       READ_ONCE(vm->unmapped);
}

/* One entry and its exit. Interrupts are on before and after. */
static enum next enter_once(struct vm *vm)
{
	enum ended_by by;
	u32 reason;
	bool lost;
	int failed;

	local_irq_disable();
	if (section_ends(vm)) {
		local_irq_enable();
		return NEXT_SECTION;
	}
	reason = pmu_enter(vm);
	if (reason) {
		local_irq_enable();
		disarm_step(vm);
		return leave_with(vm, reason);
	}
	failed = enter(vm);
	if (failed) {
		local_irq_enable();
		return entry_failed(vm, failed == 2 ? vmread(VM_INSTRUCTION_ERROR) : 0);
	}
	vm->launched = true;
	lost = pmu_was_lost(vm);
	reason = vmread(VM_EXIT_REASON);
	by = ended_by(reason);
	pass_on(by);
	if (reason & ENTRY_FAILED) {
		local_irq_enable();
		return entry_failed(vm, reason);
	}
	pmu_account(vm);
	local_irq_enable();
	return lost ? end_run(vm, TWVMX_EXIT_LOST) : handle_exit(vm, reason & 0xffff, by);
}

/* ---- sections ---- */

/*
 * An event that did not get in, or not all the way, is reported, so that the next run can inject
 * it.
 */
static void report_event(struct twvmx_run *run)
{
	u32 pending = vmread(VM_ENTRY_INTR_INFO_FIELD);

	run->idt_info = 0;
	if (pending & INTR_INFO_VALID_MASK) {
		run->idt_info = pending;
		run->idt_error = vmread(VM_ENTRY_EXCEPTION_ERROR_CODE);
		run->idt_len = vmread(VM_ENTRY_INSTRUCTION_LEN);
		vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	} else if (run->exit_reason < TWVMX_EXIT_SIGNAL || run->exit_reason == TWVMX_EXIT_STEP) {
		run->idt_info = vmread(IDT_VECTORING_INFO_FIELD) & INFO_KEPT;
		run->idt_error = vmread(IDT_VECTORING_ERROR_CODE);
		run->idt_len = vmread(VM_EXIT_INSTRUCTION_LEN);
	}
}

static void report(struct vm *vm)
{
	struct twvmx_run *run = vm->run;

	run->exit_len = vmread(VM_EXIT_INSTRUCTION_LEN);
	run->exit_info = vmread(VM_EXIT_INTR_INFO);
	if (run->exit_reason != TWVMX_EXIT_ENTRY)
		run->exit_error = vmread(VM_EXIT_INTR_ERROR_CODE);
	run->instr_info = vmread(VMX_INSTRUCTION_INFO);
	run->qualification = vmread(EXIT_QUALIFICATION);
	run->gpa = vmread(GUEST_PHYSICAL_ADDRESS);
	run->linear = vmread(GUEST_LINEAR_ADDRESS);
	run->count = vm->count;
	report_event(run);
	state_store(vm, &run->regs);
}

static void inject(const struct vm *vm, u32 info, u32 error, u32 len)
{
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, info & INTR_INFO_VALID_MASK ? info : 0);
	vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, error);
	vmwrite(VM_ENTRY_INSTRUCTION_LEN, len);
}

static void first_section(struct vm *vm, u32 load)
{
	struct twvmx_run *run = vm->run;

	if (!vm->vmcs_ready)
		vmcs_init(vm);
	vm->vmcs_ready = true;
	state_load(vm, &vm->regs, load);
	inject(vm, READ_ONCE(run->entry_info), READ_ONCE(run->entry_error),
	       READ_ONCE(run->entry_len));
	vmcs_arm(vm);
}

/* load is 0 after the first section of a run. */
static int section(struct vm *vm, bool first, u32 load, enum next *next)
{
	struct host host;
	int ret;

	kernel_fpu_begin_mask(KFPU_387 | KFPU_MXCSR);
	ret = vmcs_load(vm);
	if (ret) {
		kernel_fpu_end();
		return ret;
	}
	if (first)
		first_section(vm, load);
	vmx_flush(vm);
	vm->began = jiffies;
	pmu_section_begin(vm);
	host_enter(vm, &host);
	vm->run->sections++;
	do {
		*next = enter_once(vm);
	} while (*next == NEXT_ENTER);
	host_leave(vm, &host);
	if (*next == NEXT_SECTION && signal_pending(current)) {
		disarm_step(vm);
		*next = leave_with(vm, TWVMX_EXIT_SIGNAL);
	}
	if (!pmu_section_is_sound(vm)) {
		disarm_step(vm);
		*next = leave_with(vm, TWVMX_EXIT_SMI);
	}
	if (*next == NEXT_LEAVE)
		report(vm);
	vmcs_clear(vm);
	kernel_fpu_end();
	return 0;
}

/* 0: the run page says why the guest stopped. */
int vcpu_run(struct vm *vm)
{
	u32 load = READ_ONCE(vm->run->load);
	enum next next;
	bool first = true;
	int ret;

	vm->flags = READ_ONCE(vm->run->flags);
	if (READ_ONCE(vm->run->version) != TWVMX_VERSION || vm->flags & ~TWVMX_RUN_ALL ||
	    load & ~TWVMX_LOAD_ALL)
		return -EINVAL;
	if (!vm->vmcs_ready && load != TWVMX_LOAD_ALL)
		return -EINVAL;
	memcpy(&vm->regs, &vm->run->regs, sizeof(vm->regs));
	ret = state_check(&vm->regs, load);
	if (ret)
		return ret;
	if (vm->flags & TWVMX_RUN_FLUSH)
		vm->needs_invvpid = true;
	vm->count = READ_ONCE(vm->run->count);
	vm->limit = READ_ONCE(vm->run->limit);
	vm->stop = READ_ONCE(vm->run->stop);
	memcpy(&vm->time, &vm->run->time, sizeof(vm->time));
	vm->since = jiffies;
	ret = pmu_begin(vm);
	if (ret)
		return ret;
	do {
		ept_drop_poisoned(vm);
		ret = section(vm, first, load, &next);
		first = false;
		cond_resched();
	} while (!ret && next != NEXT_LEAVE);
	return ret;
}
