// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counting the instructions that the guest retires.
 *
 * The performance counters belong to the kernel's perf subsystem: its NMI watchdog and every `perf
 * stat` program them, on every CPU, and its handler answers their interrupt. A driver that wrote to
 * a counter of its own choice would fight with that. So this module asks perf for one, pinned, for
 * the thread that runs the guest, as a guest-only event (exclude_host). perf then picks the counter
 * (fixed counter 0, or a general one when somebody holds that), keeps it through context switches,
 * and never switches it on in the host. What perf leaves to a hypervisor is done here: VM entry
 * loads PERF_GLOBAL_CTRL with the counter's bit alone, VM exit loads the host's value. So nothing
 * else counts in the guest and this counts nowhere else.
 *
 * The overflow interrupt is an NMI, which ends the guest's run; perf's own handler serves it.
 * Whether the count has been reached is read from the counter before each entry: an interrupt that
 * comes after another exit, or not at all, is found at the next exit, 10 ms later at most.
 */
#include <linux/perf_event.h>
#include <asm/perf_event.h>

#include "vcpu.h"

/*
 * Intervals between overflows when none is wanted; less than half of what a 48-bit counter holds.
 */
#define PERIOD_MAX ((1ull << 46) - 0x1234)
#define PERIOD_MIN 2ull

/* The interrupt has done its work when it has ended the guest's run. */
static void overflowed(struct perf_event *event, struct perf_sample_data *data,
		       struct pt_regs *regs)
{
}

static struct perf_event *event_create(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.size = sizeof(attr),
		.sample_period = PERIOD_MAX,
		.pinned = 1,
		.exclude_host = 1,
	};

	return perf_event_create_kernel_counter(&attr, -1, current, overflowed, NULL);
}

/*
 * True: the event is on a counter of this CPU, and not held back because it interrupted too often.
 * Preemption is off.
 */
static bool event_counts(const struct perf_event *event)
{
	return event->state == PERF_EVENT_STATE_ACTIVE && event->oncpu == smp_processor_id() &&
	       !event->hw.state && event->hw.idx >= 0 && event->hw.idx < 64;
}

static u64 event_read(struct perf_event *event)
{
	event->pmu->read(event);
	return local64_read(&event->count);
}

/* ---- what there is ---- */

/*
 * A counter that nobody drives is written and read back: some processors claim registers that do
 * not exist.
 */
static bool registers_keep(void)
{
	u64 old, seen = 0;

	preempt_disable();
	if (!rdmsrl_safe(MSR_CORE_PERF_FIXED_CTR0, &old) &&
	    !wrmsrl_safe(MSR_CORE_PERF_FIXED_CTR0, 0x12345)) {
		rdmsrl_safe(MSR_CORE_PERF_FIXED_CTR0, &seen);
		wrmsrl_safe(MSR_CORE_PERF_FIXED_CTR0, old);
	}
	preempt_enable();
	return seen == 0x12345;
}

/*
 * True: perf has put the event's value into the register, and it is there. The event does not count
 * outside a guest.
 */
static bool event_is_real(struct perf_event *event)
{
	u64 seen = 0, put;
	bool real;

	preempt_disable();
	real = event_counts(event) && !rdmsrl_safe(event->hw.event_base, &seen);
	put = local64_read(&event->hw.prev_count);
	preempt_enable();
	return real && seen && !((seen ^ put) & 0xffffffff);
}

/* enum twvmx_pmu: what this host has at this moment. Asks perf for a counter and gives it back. */
u32 pmu_state(void)
{
	unsigned int eax, ebx, ecx, edx;
	struct x86_pmu_capability cap;
	struct perf_event *event;
	bool real;

	cpuid(10, &eax, &ebx, &ecx, &edx);
	if ((eax & 0xff) < 2 || !(edx & 0x1f))
		return TWVMX_PMU_NONE;
	perf_get_x86_pmu_capability(&cap);
	if (!cap.version)
		return registers_keep() ? TWVMX_PMU_UNUSED : TWVMX_PMU_DEAD;
	if (!(vmx_config.has & TWVMX_PERF_SWITCH))
		return TWVMX_PMU_NO_SWITCH;
	event = event_create();
	if (IS_ERR(event))
		return TWVMX_PMU_TAKEN;
	real = event_is_real(event);
	perf_event_release_kernel(event);
	return real ? TWVMX_PMU_OK : TWVMX_PMU_TAKEN;
}

u32 pmu_width(void)
{
	struct x86_pmu_capability cap;

	perf_get_x86_pmu_capability(&cap);
	return cap.bit_width_fixed;
}

/* ---- one VM ---- */

void pmu_free(struct vm *vm)
{
	if (vm->pmu_event)
		perf_event_release_kernel(vm->pmu_event);
	vm->pmu_event = NULL;
}

/* The event belongs to the thread that runs the guest; another thread gets another. */
static int pmu_follow_thread(struct vm *vm)
{
	struct perf_event *event = vm->pmu_event;

	/* A pinned event that found no counter once is in ERROR state for good. */
	if (event && event->hw.target == current && event->state != PERF_EVENT_STATE_ERROR)
		return 0;
	pmu_free(vm);
	event = event_create();
	if (IS_ERR(event))
		return PTR_ERR(event) == -EBUSY ? -EBUSY : -EOPNOTSUPP;
	vm->pmu_event = event;
	vm->pmu_seen = 0;
	vm->pmu_armed = false;
	return 0;
}

/*
 * Before a run, in process context: vm->flags, count and stop are set. A single step leaves the
 * overflow where it is. Setting a period also lets an event go on that perf has held back.
 */
int pmu_begin(struct vm *vm)
{
	u64 left = vm->stop > vm->count ? vm->stop - vm->count : 0;
	bool arm = left < PERIOD_MAX;
	int ret;

	if (!(vm->flags & TWVMX_RUN_COUNT))
		return 0;
	if (!(vmx_config.has & TWVMX_PERF_SWITCH))
		return -EOPNOTSUPP;
	ret = pmu_follow_thread(vm);
	if (ret)
		return ret;
	if (!READ_ONCE(vm->pmu_event->hw.state) &&
	    (vm->flags & TWVMX_RUN_STEP || (!arm && !vm->pmu_armed)))
		return 0;
	vm->pmu_armed = arm;
	return perf_event_period(vm->pmu_event, arm ? max(left, PERIOD_MIN) : PERIOD_MAX);
}

/* The VMCS is loaded, vm->flags are those of this run. */
void pmu_load(struct vm *vm)
{
	u64 entry = vmread(VM_ENTRY_CONTROLS) & ~(u64)VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
	bool on = vm->flags & TWVMX_RUN_COUNT;

	vmwrite(VM_ENTRY_CONTROLS, entry | (on ? VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL : 0));
	vmwrite(VM_EXIT_CONTROLS, vmx_config.exit | (on ? VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL : 0));
}

/* Right before an entry, interrupts off. 0, or why the guest must not be entered. */
u32 pmu_enter(struct vm *vm)
{
	const struct perf_event *event = vm->pmu_event;
	u64 host, bit;

	if (!(vm->flags & TWVMX_RUN_COUNT))
		return 0;
	if (vm->count >= vm->stop)
		return TWVMX_EXIT_COUNT;
	if (!event_counts(event))
		return TWVMX_EXIT_PMU;
	bit = BIT_ULL(event->hw.idx);
	rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, host);
	vmwrite(GUEST_IA32_PERF_GLOBAL_CTRL, bit);
	vmwrite(HOST_IA32_PERF_GLOBAL_CTRL, host & ~bit);
	return 0;
}

/*
 * After an exit, interrupts off and NMIs not yet passed on: was the event stopped while the guest
 * ran? An NMI between pmu_enter() and the entry may have held it back; those that come later end
 * the guest's run before the kernel sees them.
 */
bool pmu_was_lost(const struct vm *vm)
{
	return vm->flags & TWVMX_RUN_COUNT && !event_counts(vm->pmu_event);
}

static u64 smi_count(void)
{
	u64 n = 0;

	rdmsrl(MSR_SMI_COUNT, n);
	return n;
}

/* Where counters do not stand still in system management mode, nothing may have been there. */
static bool watches_smis(const struct vm *vm)
{
	return vm->flags & TWVMX_RUN_COUNT && vmx_config.has & TWVMX_SMI_COUNTED &&
	       !(vmx_config.has & TWVMX_SMI_FROZEN);
}

void pmu_section_begin(struct vm *vm)
{
	if (watches_smis(vm))
		vm->smis = smi_count();
}

bool pmu_section_is_sound(struct vm *vm)
{
	return !watches_smis(vm) || vm->smis == smi_count();
}

/* After an exit, interrupts off: adds what the guest has retired. */
void pmu_account(struct vm *vm)
{
	u64 now;

	if (!(vm->flags & TWVMX_RUN_COUNT))
		return;
	now = event_read(vm->pmu_event);
	vm->count += now - vm->pmu_seen;
	vm->pmu_seen = now;
}
