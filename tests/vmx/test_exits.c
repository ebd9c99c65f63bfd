// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's decisions at a VM exit, on a VMCS that the test lays out: what is injected again,
 * what is served, when the guest goes on, what ends a run and what is then said about it.
 */
#include "tests/vmx/vmcs.h"

#include "hypervisor/vmx/module/exits.c"
#include "hypervisor/vmx/module/pmu.c"
#include "hypervisor/vmx/module/serve.c"
#include "hypervisor/vmx/module/state.c"
#include "tests/unit.h"

struct vmx_config vmx_config;
const char twvmx_exit_point[1];

static struct vm *vm;
static bool ept_writable, ept_executable, ept_poisoned;
static unsigned flushes;

static enum next handle(struct vm *v, u32 reason)
{
	return handle_exit(v, reason, ended_by(reason));
}

/* ---- what the rest of the module would do ---- */

bool ept_make_writable(struct vm *v, u64 gpa)
{
	return ept_writable;
}

bool ept_make_executable(struct vm *v, u64 gpa)
{
	return ept_executable;
}

bool ept_is_poisoned(struct vm *v, u64 gpa)
{
	return ept_poisoned;
}

void ept_suspect_all(struct vm *v)
{
	v->unmapped = true;
}

void ept_drop_poisoned(struct vm *v)
{
}

void vmx_flush(struct vm *v)
{
	flushes++;
	v->needs_invept = v->needs_invvpid = false;
}

int vmcs_load(struct vm *v)
{
	return 0;
}

void vmcs_clear(struct vm *v)
{
}

void vmcs_init(struct vm *v)
{
}

void vmcs_arm(struct vm *v)
{
}

int twvmx_enter(u64 *gpr, bool launched)
{
	abort(); /* no processor here */
}

/* ---- the bench ---- */

static void set_up(void)
{
	memset(mock_vmcs, 0, sizeof(mock_vmcs));
	memset(&vmx_config, 0, sizeof(vmx_config));
	vm = calloc(1, sizeof(*vm));
	vm->run = aligned_alloc(16, sizeof(*vm->run));
	memset(vm->run, 0, sizeof(*vm->run));
	vm->limit = UINT64_MAX;
	vm->stop = UINT64_MAX;
	jiffies = 1000;
	vm->since = jiffies;
	ept_writable = ept_executable = ept_poisoned = false;
	memset(&mock_machine_check, 0, sizeof(mock_machine_check));
	mock_signal = mock_resched = false;
	mock_features = mock_cr4 = 0;
	mock_cpu = 0;
	mock_msrs = 0;
	mock_event_error = 0;
	mock_events = 0;
	mock_writes = flushes = 0;
}

static void tear_down(void)
{
	pmu_free(vm);
	free(vm->cpuid);
	free(vm->run);
	free(vm);
}

#define VALID	     0x80000000u
#define TYPE(t)	     ((t) << 8)
#define EXTERNAL     0u
#define NMI	     2u
#define HARDWARE     3u
#define SOFTWARE_INT 4u
#define WITH_ERROR   0x800u

static void exception_exit(u32 vector, u32 type)
{
	vmwrite(VM_EXIT_INTR_INFO, VALID | TYPE(type) | vector);
}

/* An instruction of two bytes at 1000h in 64-bit code. */
static void instruction_exit(void)
{
	vmwrite(GUEST_RIP, 0x1000);
	vmwrite(VM_EXIT_INSTRUCTION_LEN, 2);
	vmwrite(GUEST_IA32_EFER, EFER_LMA);
	vmwrite(GUEST_CS_AR_BYTES, 1u << 13);
}

/* ---- an event whose delivery was interrupted ---- */

START_TEST(reinjects_what_was_on_its_way)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(HARDWARE) | WITH_ERROR | 0x1000 | 14);
	vmwrite(IDT_VECTORING_ERROR_CODE, 0x17);
	reinject(vm);
	/* Bit 12 is undefined in this field and reserved in the other. */
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD),
			  VALID | TYPE(HARDWARE) | WITH_ERROR | 14);
	ck_assert_uint_eq(vmread(VM_ENTRY_EXCEPTION_ERROR_CODE), 0x17);
}
END_TEST

START_TEST(reinjects_no_software_event)
{
	static const u32 types[] = { SOFTWARE_INT, 5, 6 };

	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(types[_i]) | 0x40);
	mock_writes = 0;
	reinject(vm);
	ck_assert_uint_eq(mock_writes, 0); /* RIP is at the instruction: it comes again */
}
END_TEST

START_TEST(reinjects_nothing_invalid)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, TYPE(HARDWARE) | 14);
	mock_writes = 0;
	reinject(vm);
	ck_assert_uint_eq(mock_writes, 0);
}
END_TEST

START_TEST(reinjected_nmi_is_not_blocked)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(NMI) | 2);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 8 | 1);
	reinject(vm);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), VALID | TYPE(NMI) | 2);
	ck_assert_uint_eq(vmread(GUEST_INTERRUPTIBILITY_INFO), 1);
}
END_TEST

START_TEST(other_events_leave_nmi_blocking)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(EXTERNAL) | 0x20);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 8);
	reinject(vm);
	ck_assert_uint_eq(vmread(GUEST_INTERRUPTIBILITY_INFO), 8);
}
END_TEST

/* ---- go_on ---- */

START_TEST(goes_on_without_a_kick)
{
	jiffies += 1000;
	ck_assert_int_eq(go_on(vm), NEXT_ENTER);
}
END_TEST

START_TEST(a_kick_waits_for_a_slice)
{
	vm->run->kick = 1;
	jiffies += SLICE_MS - 1;
	ck_assert_int_eq(go_on(vm), NEXT_ENTER);
	jiffies += 1;
	ck_assert_int_eq(go_on(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_SLICE);
}
END_TEST

START_TEST(a_kick_ends_a_counted_run_at_once)
{
	vm->run->kick = 1;
	vm->flags = TWVMX_RUN_COUNT;
	ck_assert_int_eq(go_on(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_SLICE);
}
END_TEST

/* Time is taken by differences: jiffies wrap five minutes after a boot. */
START_TEST(a_slice_over_the_wrap_of_jiffies)
{
	vm->run->kick = 1;
	vm->since = (unsigned long)-5;
	jiffies = vm->since + SLICE_MS - 1;
	ck_assert_int_eq(go_on(vm), NEXT_ENTER);
	jiffies++;
	ck_assert_int_eq(go_on(vm), NEXT_LEAVE);
}
END_TEST

START_TEST(a_step_that_is_broken_off_takes_its_flag_back)
{
	vm->run->kick = 1;
	vm->flags = TWVMX_RUN_COUNT | TWVMX_RUN_STEP;
	vmwrite(GUEST_RFLAGS, X86_EFLAGS_TF | 2);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 1u << 14);
	ck_assert_int_eq(go_on(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vmread(GUEST_RFLAGS), 2);
	ck_assert_uint_eq(vmread(GUEST_PENDING_DBG_EXCEPTIONS), 0);
}
END_TEST

/* ---- served ---- */

START_TEST(serves_on)
{
	jiffies = 5000;
	ck_assert_int_eq(served(vm), NEXT_ENTER);
	ck_assert_uint_eq(vm->since, 5000); /* a kick's patience begins anew */
}
END_TEST

START_TEST(stops_behind_a_served_instruction)
{
	vm->run->kick = 1;
	ck_assert_int_eq(served(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_KICK);
}
END_TEST

START_TEST(the_limit_comes_before_a_kick)
{
	vm->run->kick = 1;
	vm->count = vm->limit = 77;
	ck_assert_int_eq(served(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_LIMIT);
}
END_TEST

START_TEST(a_served_instruction_is_a_step)
{
	vm->flags = TWVMX_RUN_STEP;
	vmwrite(GUEST_RFLAGS, X86_EFLAGS_TF);
	ck_assert_int_eq(served(vm), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_STEP);
	ck_assert_uint_eq(vmread(GUEST_RFLAGS), 0);
}
END_TEST

/* ---- end_run ---- */

START_TEST(a_trap_ends_a_step_by_flag)
{
	vm->flags = TWVMX_RUN_STEP;
	exception_exit(X86_TRAP_DB, HARDWARE);
	vmwrite(EXIT_QUALIFICATION, 1u << 14);
	ck_assert_int_eq(end_run(vm, EXIT_REASON_EXCEPTION_NMI), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_STEP);
	ck_assert_uint_eq(vm->count, 1);
}
END_TEST

START_TEST(a_counter_counts_its_own_step)
{
	vm->flags = TWVMX_RUN_STEP | TWVMX_RUN_COUNT;
	vmx_config.has = TWVMX_MTF;
	ck_assert_int_eq(end_run(vm, EXIT_REASON_MONITOR_TRAP_FLAG), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_STEP);
	ck_assert_uint_eq(vm->count, 0);
}
END_TEST

START_TEST(a_breakpoint_is_no_step)
{
	vm->flags = TWVMX_RUN_STEP;
	exception_exit(X86_TRAP_DB, HARDWARE);
	vmwrite(EXIT_QUALIFICATION, 1);
	end_run(vm, EXIT_REASON_EXCEPTION_NMI);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_EXCEPTION_NMI);
	ck_assert_uint_eq(vm->count, 0);
}
END_TEST

/* With the monitor trap flag a #DB is the guest's own. */
START_TEST(a_trap_is_no_step_beside_the_monitor_flag)
{
	vm->flags = TWVMX_RUN_STEP;
	vmx_config.has = TWVMX_MTF;
	exception_exit(X86_TRAP_DB, HARDWARE);
	vmwrite(EXIT_QUALIFICATION, 1u << 14);
	vmwrite(GUEST_RFLAGS, X86_EFLAGS_TF);
	end_run(vm, EXIT_REASON_EXCEPTION_NMI);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_EXCEPTION_NMI);
	ck_assert_uint_eq(vmread(GUEST_RFLAGS), X86_EFLAGS_TF);
}
END_TEST

START_TEST(a_trap_under_movss_stays)
{
	vm->flags = TWVMX_RUN_STEP;
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 2);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 1u << 14);
	end_run(vm, EXIT_REASON_CPUID);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_CPUID);
	ck_assert_uint_eq(vmread(GUEST_PENDING_DBG_EXCEPTIONS), 1u << 14);
}
END_TEST

/* ---- which exit leads where ---- */

START_TEST(interrupts_are_the_hosts)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(HARDWARE) | 6);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EXTERNAL_INTERRUPT), NEXT_ENTER);
	ck_assert_uint_eq(vm->run->irqs, 1);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), VALID | TYPE(HARDWARE) | 6);
}
END_TEST

START_TEST(exceptions_are_the_guests_but_for_two)
{
	exception_exit(2, NMI);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EXCEPTION_NMI), NEXT_ENTER);
	exception_exit(X86_TRAP_MC, HARDWARE);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EXCEPTION_NMI), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->irqs, 2);
	exception_exit(X86_TRAP_UD, HARDWARE);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EXCEPTION_NMI), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_EXCEPTION_NMI);
}
END_TEST

/* ---- machine checks ---- */

START_TEST(a_machine_check_is_one_of_user_mode)
{
	exception_exit(X86_TRAP_MC, HARDWARE);
	pass_on(ended_by(EXIT_REASON_EXCEPTION_NMI));
	ck_assert_uint_eq(mock_machine_check.cs & 3, 3);
	memset(&mock_machine_check, 0, sizeof(mock_machine_check));
	pass_on(ended_by(ENTRY_FAILED | EXIT_REASON_MCE_DURING_VMENTRY));
	ck_assert_uint_eq(mock_machine_check.cs & 3, 3);
}
END_TEST

START_TEST(other_exits_are_no_machine_check)
{
	exception_exit(X86_TRAP_DB, HARDWARE);
	pass_on(ended_by(EXIT_REASON_EXCEPTION_NMI));
	vmwrite(VM_EXIT_INTR_INFO,
		VALID | TYPE(HARDWARE) | X86_TRAP_MC); /* left by an older exit */
	pass_on(ended_by(EXIT_REASON_CPUID));
	pass_on(ended_by(
		EXIT_REASON_MCE_DURING_VMENTRY)); /* a reason without the bit of a failed entry */
	ck_assert_uint_eq(mock_machine_check.cs, 0);
}
END_TEST

/* The process goes to user mode, where the kernel does what is left: the event comes again after.
 */
START_TEST(a_machine_check_ends_the_run)
{
	vm->flags = TWVMX_RUN_STEP;
	vmwrite(GUEST_RFLAGS, X86_EFLAGS_TF);
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(EXTERNAL) | 0x30);
	exception_exit(X86_TRAP_MC, HARDWARE);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EXCEPTION_NMI), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_SIGNAL);
	ck_assert(vm->unmapped); /* which page has failed is looked for */
	ck_assert_uint_eq(vmread(GUEST_RFLAGS), 0);
	report_event(vm->run);
	ck_assert_uint_eq(vm->run->idt_info, VALID | TYPE(EXTERNAL) | 0x30);
}
END_TEST

START_TEST(memory_that_failed_ends_the_run)
{
	ept_poisoned = ept_writable = true;
	vmwrite(EXIT_QUALIFICATION, 2);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EPT_VIOLATION), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_POISON);
	ck_assert_uint_eq(vm->run->dirty_exits, 0);
}
END_TEST

START_TEST(the_host_keeps_its_machine_checks)
{
	struct twvmx_regs r = { .cr4 = X86_CR4_PAE }, seen;

	mock_msr_set(MSR_IA32_VMX_CR4_FIXED1, ~0ull);
	mock_cr4 = X86_CR4_MCE;
	crs_load(vm, &r);
	ck_assert(vmread(GUEST_CR4) & X86_CR4_MCE);
	crs_store(vm, &seen);
	ck_assert_uint_eq(seen.cr4, X86_CR4_PAE);
	r.cr4 |= X86_CR4_MCE;
	mock_cr4 = 0;
	crs_load(vm, &r);
	ck_assert(!(vmread(GUEST_CR4) & X86_CR4_MCE));
	crs_store(vm, &seen);
	ck_assert_uint_eq(seen.cr4, r.cr4);
}
END_TEST

/* ---- sections ---- */

START_TEST(a_section_is_bounded)
{
	vm->began = jiffies;
	ck_assert(!section_ends(vm));
	jiffies++;
	ck_assert(section_ends(vm));
	vm->began = jiffies;
	vm->unmapped = true;
	ck_assert(section_ends(vm));
	vm->unmapped = false;
	mock_signal = true;
	ck_assert(section_ends(vm));
	mock_signal = false;
	mock_resched = true;
	ck_assert(section_ends(vm));
	ck_assert_int_eq(enter_once(vm), NEXT_SECTION);
}
END_TEST

START_TEST(transactions_are_off_in_the_guest)
{
	struct host h = { 0 };

	mock_msr_set(MSR_IA32_TSX_CTRL, 2);
	tsx_off(&h);
	ck_assert_uint_eq(*mock_msr_find(MSR_IA32_TSX_CTRL), 2); /* not where it cannot be */
	vmx_config.has = TWVMX_TSX_OFF;
	tsx_off(&h);
	ck_assert_uint_eq(*mock_msr_find(MSR_IA32_TSX_CTRL), 3);
	tsx_restore(&h);
	ck_assert_uint_eq(*mock_msr_find(MSR_IA32_TSX_CTRL), 2);
}
END_TEST

/* Where L1TF leaks the cache, it is emptied by the command, or else by other data; or by nothing.
 */
START_TEST(the_cache_is_cleared_where_it_leaks)
{
	l1tf_mitigation = L1TF_MITIGATION_FLUSH;
	mock_features = 1ull << X86_FEATURE_FLUSH_L1D;
	clear_cache();
	ck_assert_ptr_null(mock_msr_find(MSR_IA32_FLUSH_CMD));
	mock_features |= 1ull << X86_BUG_L1TF;
	l1tf_mitigation = L1TF_MITIGATION_OFF;
	clear_cache();
	ck_assert_ptr_null(mock_msr_find(MSR_IA32_FLUSH_CMD));
	l1tf_mitigation = L1TF_MITIGATION_FLUSH;
	mock_features = 1ull << X86_BUG_L1TF;
	clear_cache();
	ck_assert_ptr_null(mock_msr_find(MSR_IA32_FLUSH_CMD));
	mock_features |= 1ull << X86_FEATURE_FLUSH_L1D;
	clear_cache();
	ck_assert_uint_eq(*mock_msr_find(MSR_IA32_FLUSH_CMD), 1);
}
END_TEST

/* ---- memory ---- */

START_TEST(the_first_write_goes_on)
{
	ept_writable = true;
	vm->needs_invept = true;
	vmwrite(EXIT_QUALIFICATION, 2);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 1u << 14); /* of an instruction that comes again */
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(EXTERNAL) | 0x30);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EPT_VIOLATION), NEXT_ENTER);
	ck_assert_uint_eq(vm->run->dirty_exits, 1);
	ck_assert_uint_eq(flushes, 1);
	ck_assert_uint_eq(vmread(GUEST_PENDING_DBG_EXCEPTIONS), 0);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), VALID | TYPE(EXTERNAL) | 0x30);
}
END_TEST

/* An NMI whose frame goes to a clean page: it goes in again, which it could not while blocked. */
START_TEST(an_nmi_that_meets_a_clean_page_goes_in_again)
{
	ept_writable = true;
	vmwrite(EXIT_QUALIFICATION, 2);
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(NMI) | 2);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 8);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EPT_VIOLATION), NEXT_ENTER);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), VALID | TYPE(NMI) | 2);
	ck_assert_uint_eq(vmread(GUEST_INTERRUPTIBILITY_INFO), 0);
}
END_TEST

/* One whose frame goes to device memory is reported, and no second one comes before it. */
START_TEST(an_nmi_that_meets_device_memory_leaves)
{
	vmwrite(EXIT_QUALIFICATION, 2);
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(NMI) | 2);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 8);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EPT_VIOLATION), NEXT_LEAVE);
	report(vm);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_EPT_VIOLATION);
	ck_assert_uint_eq(vm->run->idt_info, VALID | TYPE(NMI) | 2);
	ck_assert_uint_eq(vm->run->regs.interruptibility, 8);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), 0);
}
END_TEST

START_TEST(a_read_of_device_memory_leaves)
{
	ept_writable = true;
	vmwrite(EXIT_QUALIFICATION, 1);
	ck_assert_int_eq(handle(vm, EXIT_REASON_EPT_VIOLATION), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_EPT_VIOLATION);
}
END_TEST

/* IRET has ended NMI blocking and then met a clean page: blocking holds until it is done. */
START_TEST(iret_that_comes_again_blocks_nmis)
{
	ept_writable = true;
	vmwrite(EXIT_QUALIFICATION, 2 | 1u << 12);
	handle(vm, EXIT_REASON_EPT_VIOLATION);
	ck_assert_uint_eq(vmread(GUEST_INTERRUPTIBILITY_INFO), 8);
}
END_TEST

/* The bit means nothing while an event was being delivered. */
START_TEST(no_blocking_out_of_a_delivery)
{
	ept_writable = true;
	vmwrite(EXIT_QUALIFICATION, 2 | 1u << 12);
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(EXTERNAL) | 0x30);
	handle(vm, EXIT_REASON_EPT_VIOLATION);
	ck_assert_uint_eq(vmread(GUEST_INTERRUPTIBILITY_INFO), 0);
}
END_TEST

START_TEST(the_timer_stops_behind_an_event)
{
	vm->flags = TWVMX_RUN_NONE;
	ck_assert_int_eq(handle(vm, EXIT_REASON_PREEMPTION_TIMER), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, TWVMX_EXIT_NONE);
	vm->flags = 0;
	ck_assert_int_eq(handle(vm, EXIT_REASON_PREEMPTION_TIMER), NEXT_ENTER);
}
END_TEST

/* ---- what is served ---- */

START_TEST(tsc_is_that_of_the_clock)
{
	instruction_exit();
	vm->flags = TWVMX_RUN_TIME;
	vm->count = 1100;
	vm->time = (struct twvmx_time){
		.anchor_ns = 5ull << 32, .anchor_count = 100, .rate = 3 << 16, .tsc_offset = 7
	};
	vm->gpr[GPR_RAX] = vm->gpr[GPR_RDX] = ~0ull;
	ck_assert_int_eq(handle(vm, EXIT_REASON_RDTSC), NEXT_ENTER);
	ck_assert_uint_eq(vm->gpr[GPR_RAX], 3007);
	ck_assert_uint_eq(vm->gpr[GPR_RDX], 5);
	ck_assert_uint_eq(vm->count, 1101);
	ck_assert_uint_eq(vmread(GUEST_RIP), 0x1002);
}
END_TEST

START_TEST(rip_wraps_outside_long_code)
{
	instruction_exit();
	vmwrite(GUEST_CS_AR_BYTES, 0);
	vmwrite(GUEST_RIP, 0xffffffff);
	vm->flags = TWVMX_RUN_TIME;
	handle(vm, EXIT_REASON_RDTSC);
	ck_assert_uint_eq(vmread(GUEST_RIP), 1);
}
END_TEST

START_TEST(only_the_plain_case_is_served)
{
	static const struct {
		unsigned field;
		u64 value;
	} odd[] = { { GUEST_INTERRUPTIBILITY_INFO, 1 },
		    { GUEST_INTERRUPTIBILITY_INFO, 2 },
		    { GUEST_PENDING_DBG_EXCEPTIONS, 1u << 14 },
		    { GUEST_RFLAGS, X86_EFLAGS_TF } };

	instruction_exit();
	vm->flags = TWVMX_RUN_TIME;
	vmwrite(odd[_i].field, odd[_i].value);
	ck_assert_int_eq(handle(vm, EXIT_REASON_RDTSC), NEXT_LEAVE);
	ck_assert_uint_eq(vm->run->exit_reason, EXIT_REASON_RDTSC);
	ck_assert_uint_eq(vm->count, 0);
}
END_TEST

START_TEST(nothing_is_served_unasked)
{
	instruction_exit();
	ck_assert_int_eq(handle(vm, EXIT_REASON_RDTSC), NEXT_LEAVE);
	ck_assert_int_eq(handle(vm, EXIT_REASON_CPUID), NEXT_LEAVE);
	ck_assert_uint_eq(vmread(GUEST_RIP), 0x1000);
}
END_TEST

START_TEST(cpuid_follows_the_guest)
{
	const struct twvmx_cpuid_entry row[] = {
		{ .leaf = 1, .flags = TWVMX_CPUID_ANY_SUB | TWVMX_CPUID_OSXSAVE, .ecx = 4 },
		{ .leaf = 0x80000001,
		  .flags = TWVMX_CPUID_ANY_SUB | TWVMX_CPUID_SYSCALL,
		  .edx = 1u << 11 | 1 },
	};
	const struct twvmx_cpuid c = { .version = TWVMX_VERSION,
				       .n = 2,
				       .entries = (uintptr_t)row };

	ck_assert_int_eq(serve_set_cpuid(vm, &c), 0);
	instruction_exit();
	vm->flags = TWVMX_RUN_CPUID;
	vmwrite(CR4_READ_SHADOW, X86_CR4_OSXSAVE);
	vm->gpr[GPR_RAX] = 1;
	vm->gpr[GPR_RCX] = 99;
	ck_assert_int_eq(handle(vm, EXIT_REASON_CPUID), NEXT_ENTER);
	ck_assert_uint_eq(vm->gpr[GPR_RCX], 4 | 1u << 27);
	vmwrite(GUEST_CS_AR_BYTES, 0);
	vm->gpr[GPR_RAX] = 0x80000001;
	ck_assert_int_eq(handle(vm, EXIT_REASON_CPUID), NEXT_ENTER);
	ck_assert_uint_eq(vm->gpr[GPR_RDX], 1);
	vm->gpr[GPR_RAX] = 2;
	ck_assert_int_eq(handle(vm, EXIT_REASON_CPUID), NEXT_LEAVE);
}
END_TEST

/* ---- what a run reports ---- */

START_TEST(reports_an_event_that_did_not_get_in)
{
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, VALID | TYPE(HARDWARE) | WITH_ERROR | 13);
	vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, 0x28);
	vm->run->exit_reason = TWVMX_EXIT_SIGNAL;
	report_event(vm->run);
	ck_assert_uint_eq(vm->run->idt_info, VALID | TYPE(HARDWARE) | WITH_ERROR | 13);
	ck_assert_uint_eq(vm->run->idt_error, 0x28);
	ck_assert_uint_eq(vmread(VM_ENTRY_INTR_INFO_FIELD), 0);
}
END_TEST

/* What an exit that the module dealt with has left there is old. */
START_TEST(reports_vectoring_of_the_last_exit_only)
{
	vmwrite(IDT_VECTORING_INFO_FIELD, VALID | TYPE(HARDWARE) | 0x1000 | 13);
	vm->run->exit_reason = TWVMX_EXIT_SLICE;
	report_event(vm->run);
	ck_assert_uint_eq(vm->run->idt_info, 0);
	vm->run->exit_reason = EXIT_REASON_EPT_VIOLATION;
	report_event(vm->run);
	ck_assert_uint_eq(vm->run->idt_info, VALID | TYPE(HARDWARE) | 13);
}
END_TEST

/* ---- the counter ---- */

static void count_run(u64 count, u64 stop)
{
	vmx_config.has |= TWVMX_PERF_SWITCH;
	vm->flags |= TWVMX_RUN_COUNT;
	vm->count = count;
	vm->stop = stop;
	ck_assert_int_eq(pmu_begin(vm), 0);
}

START_TEST(the_overflow_is_armed_at_the_stop)
{
	count_run(1000, 5000);
	ck_assert_uint_eq(mock_period, 4000);
	mock_msr_set(MSR_CORE_PERF_GLOBAL_CTRL, 0x70000000full);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	ck_assert_uint_eq(vmread(GUEST_IA32_PERF_GLOBAL_CTRL), 1ull << 32);
	ck_assert_uint_eq(vmread(HOST_IA32_PERF_GLOBAL_CTRL), 0x60000000full);
	mock_retired = 3999;
	pmu_account(vm);
	ck_assert_uint_eq(vm->count, 4999);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	mock_retired = 4000;
	pmu_account(vm);
	ck_assert_uint_eq(pmu_enter(vm), TWVMX_EXIT_COUNT);
}
END_TEST

START_TEST(a_lost_counter_keeps_the_guest_out)
{
	count_run(0, 5000);
	vm->pmu_event->hw.state = 1; /* held back */
	ck_assert_uint_eq(pmu_enter(vm), TWVMX_EXIT_PMU);
	vm->pmu_event->hw.state = 0;
	vm->pmu_event->oncpu = 3;
	ck_assert_uint_eq(pmu_enter(vm), TWVMX_EXIT_PMU);
}
END_TEST

START_TEST(a_step_leaves_the_overflow_where_it_is)
{
	count_run(0, 5000);
	mock_period = 0;
	vm->flags |= TWVMX_RUN_STEP;
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_eq(mock_period, 0);
	vm->pmu_event->hw.state = 1; /* a period lets it go on */
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_ne(mock_period, 0);
}
END_TEST

START_TEST(another_thread_gets_its_own_event)
{
	struct task_struct other;

	count_run(0, 5000);
	ck_assert_uint_eq(mock_events, 1);
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_eq(mock_events, 1);
	vm->pmu_event->hw.target = &other;
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_eq(mock_events, 2);
}
END_TEST

/* A pinned event that found no counter once never gets one again. */
START_TEST(an_event_in_error_is_made_anew)
{
	count_run(0, 5000);
	mock_retired = 70;
	pmu_account(vm);
	vm->pmu_event->state = PERF_EVENT_STATE_ERROR;
	ck_assert_uint_eq(pmu_enter(vm), TWVMX_EXIT_PMU);
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_eq(mock_events, 2);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	mock_retired = 5;
	pmu_account(vm);
	ck_assert_uint_eq(vm->count, 75);
}
END_TEST

START_TEST(an_event_stopped_at_the_entry_is_seen)
{
	ck_assert(!pmu_was_lost(vm)); /* nothing is counted */
	count_run(0, 5000);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	ck_assert(!pmu_was_lost(vm));
	vm->pmu_event->hw.state = 1; /* by an NMI before the guest ran */
	ck_assert(pmu_was_lost(vm));
}
END_TEST

/* The thread goes to another CPU, where perf has another counter for it. */
START_TEST(a_counter_goes_along_to_another_cpu)
{
	count_run(1000, 5000);
	mock_msr_set(MSR_CORE_PERF_GLOBAL_CTRL, 0x70000000full);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	mock_retired = 300;
	pmu_account(vm);
	mock_cpu = 1; /* before perf has followed */
	ck_assert_uint_eq(pmu_enter(vm), TWVMX_EXIT_PMU);
	vm->pmu_event->oncpu = 1;
	vm->pmu_event->hw.idx = 2;
	mock_msr_set(MSR_CORE_PERF_GLOBAL_CTRL, 0x70000000dull);
	ck_assert_int_eq(pmu_begin(vm), 0);
	ck_assert_uint_eq(mock_events, 1);
	ck_assert_uint_eq(mock_period, 3700);
	ck_assert_uint_eq(pmu_enter(vm), 0);
	ck_assert_uint_eq(vmread(GUEST_IA32_PERF_GLOBAL_CTRL), 4);
	ck_assert_uint_eq(vmread(HOST_IA32_PERF_GLOBAL_CTRL), 0x700000009ull);
	ck_assert(!pmu_was_lost(vm));
	mock_retired = 350;
	pmu_account(vm);
	ck_assert_uint_eq(vm->count, 1350);
}
END_TEST

START_TEST(system_management_is_noticed)
{
	count_run(0, 5000);
	mock_msr_set(MSR_SMI_COUNT, 7);
	pmu_section_begin(vm);
	mock_msr_set(MSR_SMI_COUNT, 8);
	ck_assert(pmu_section_is_sound(vm)); /* this processor does not count them */
	vmx_config.has |= TWVMX_SMI_COUNTED;
	pmu_section_begin(vm);
	ck_assert(pmu_section_is_sound(vm));
	mock_msr_set(MSR_SMI_COUNT, 9);
	ck_assert(!pmu_section_is_sound(vm));
	vmx_config.has |= TWVMX_SMI_FROZEN; /* counters stand still */
	ck_assert(pmu_section_is_sound(vm));
	vmx_config.has &= ~TWVMX_SMI_FROZEN;
	vm->flags &= ~TWVMX_RUN_COUNT;
	ck_assert(pmu_section_is_sound(vm));
}
END_TEST

/* ---- registers ---- */

START_TEST(bad_registers_are_refused)
{
	struct twvmx_regs r = { .xcr0 = 3 };

	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_ALL), 0);
	r.lstar = 1ull << 47;
	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_ALL), -EINVAL);
	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_GPR), 0);
	r.lstar = 0xffff800000000000;
	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_ALL), 0);
	r.cr4 = 1u << 22; /* PKE */
	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_ALL), -EINVAL);
	r.cr4 = 0;
	r.xcr0 = 7;
	ck_assert_int_eq(state_check(&r, TWVMX_LOAD_ALL), -EINVAL);
}
END_TEST

START_TEST(the_guest_sees_its_own_cr4)
{
	struct twvmx_regs r = { .cr4 = X86_CR4_PAE | X86_CR4_UMIP | X86_CR4_PGE }, seen;

	mock_msr_set(MSR_IA32_VMX_CR4_FIXED1, 0x7ff & ~0ull);
	vmx_config.has = TWVMX_DESC_EXIT;
	crs_load(vm, &r);
	ck_assert(vmread(GUEST_CR4) & X86_CR4_VMXE);
	ck_assert(!(vmread(GUEST_CR4) & X86_CR4_UMIP));
	ck_assert_uint_eq(vmread(SECONDARY_VM_EXEC_CONTROL), SECONDARY_EXEC_DESC);
	vmwrite(GUEST_CR4, vmread(GUEST_CR4) & ~X86_CR4_PGE); /* the guest's own bit */
	crs_store(vm, &seen);
	ck_assert_uint_eq(seen.cr4, X86_CR4_PAE | X86_CR4_UMIP);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, reinjects_what_was_on_its_way);
	tcase_add_loop_test(tc, reinjects_no_software_event, 0, 3);
	tcase_add_test(tc, reinjects_nothing_invalid);
	tcase_add_test(tc, reinjected_nmi_is_not_blocked);
	tcase_add_test(tc, other_events_leave_nmi_blocking);
	tcase_add_test(tc, goes_on_without_a_kick);
	tcase_add_test(tc, a_kick_waits_for_a_slice);
	tcase_add_test(tc, a_kick_ends_a_counted_run_at_once);
	tcase_add_test(tc, a_slice_over_the_wrap_of_jiffies);
	tcase_add_test(tc, a_step_that_is_broken_off_takes_its_flag_back);
	tcase_add_test(tc, serves_on);
	tcase_add_test(tc, stops_behind_a_served_instruction);
	tcase_add_test(tc, the_limit_comes_before_a_kick);
	tcase_add_test(tc, a_served_instruction_is_a_step);
	tcase_add_test(tc, a_trap_ends_a_step_by_flag);
	tcase_add_test(tc, a_counter_counts_its_own_step);
	tcase_add_test(tc, a_breakpoint_is_no_step);
	tcase_add_test(tc, a_trap_is_no_step_beside_the_monitor_flag);
	tcase_add_test(tc, a_trap_under_movss_stays);
	tcase_add_test(tc, interrupts_are_the_hosts);
	tcase_add_test(tc, exceptions_are_the_guests_but_for_two);
	tcase_add_test(tc, the_first_write_goes_on);
	tcase_add_test(tc, an_nmi_that_meets_a_clean_page_goes_in_again);
	tcase_add_test(tc, an_nmi_that_meets_device_memory_leaves);
	tcase_add_test(tc, a_read_of_device_memory_leaves);
	tcase_add_test(tc, iret_that_comes_again_blocks_nmis);
	tcase_add_test(tc, no_blocking_out_of_a_delivery);
	tcase_add_test(tc, the_timer_stops_behind_an_event);
	tcase_add_test(tc, tsc_is_that_of_the_clock);
	tcase_add_test(tc, rip_wraps_outside_long_code);
	tcase_add_loop_test(tc, only_the_plain_case_is_served, 0, 4);
	tcase_add_test(tc, nothing_is_served_unasked);
	tcase_add_test(tc, cpuid_follows_the_guest);
	tcase_add_test(tc, reports_an_event_that_did_not_get_in);
	tcase_add_test(tc, reports_vectoring_of_the_last_exit_only);
	tcase_add_test(tc, the_overflow_is_armed_at_the_stop);
	tcase_add_test(tc, a_lost_counter_keeps_the_guest_out);
	tcase_add_test(tc, a_step_leaves_the_overflow_where_it_is);
	tcase_add_test(tc, another_thread_gets_its_own_event);
	tcase_add_test(tc, an_event_in_error_is_made_anew);
	tcase_add_test(tc, an_event_stopped_at_the_entry_is_seen);
	tcase_add_test(tc, a_counter_goes_along_to_another_cpu);
	tcase_add_test(tc, system_management_is_noticed);
	tcase_add_test(tc, a_machine_check_is_one_of_user_mode);
	tcase_add_test(tc, other_exits_are_no_machine_check);
	tcase_add_test(tc, a_machine_check_ends_the_run);
	tcase_add_test(tc, memory_that_failed_ends_the_run);
	tcase_add_test(tc, the_host_keeps_its_machine_checks);
	tcase_add_test(tc, a_section_is_bounded);
	tcase_add_test(tc, transactions_are_off_in_the_guest);
	tcase_add_test(tc, the_cache_is_cleared_where_it_leaks);
	tcase_add_test(tc, bad_registers_are_refused);
	tcase_add_test(tc, the_guest_sees_its_own_cr4);
}

UNIT_MAIN("exits", add)
