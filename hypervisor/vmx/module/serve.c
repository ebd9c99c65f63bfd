// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that are completed here instead of in user space, because guests execute them often:
 * RDTSC, RDTSCP and CPUID. What they do is what the software CPU does (hypervisor/soft/msr.c), bit
 * for bit: TSC from the virtual clock at the count before the instruction, CPUID from the table
 * that user space gave.
 *
 * Only the plain case is served. Under an interrupt shadow, with a trap that waits, or while the
 * guest traces itself, more happens at the end of an instruction, and user space does it.
 *
 * CR4.TSD and the LOCK prefix need no look: what they forbid faults before it exits (SDM vol.
 * 3, 26.1.1).
 */
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vcpu.h"

#define GPR_RAX 0
#define GPR_RCX 1
#define GPR_RDX 2
#define GPR_RBX 3

#define BLOCKED_BY_STI 1u
#define BLOCKED_BY_SS  2u
#define PENDING_BS     (1u << 14)
#define CS_LONG	       (1u << 13) /* access rights: L */
#define RATE_SHIFT     16

#define ECX_OSXSAVE (1u << 27)
#define EDX_SYSCALL (1u << 11)

static bool in_long_code(void)
{
	return vmread(GUEST_IA32_EFER) & EFER_LMA && vmread(GUEST_CS_AR_BYTES) & CS_LONG;
}

/* While the module steps by RFLAGS.TF, the flag and the trap that waits are its own. */
static bool is_plain(const struct vm *vm)
{
	bool by_flag = vm->flags & TWVMX_RUN_STEP && !(vmx_config.has & TWVMX_MTF);

	if (vmread(GUEST_INTERRUPTIBILITY_INFO) & (BLOCKED_BY_STI | BLOCKED_BY_SS))
		return false;
	if (vmread(GUEST_PENDING_DBG_EXCEPTIONS) & ~(u64)(by_flag ? PENDING_BS : 0))
		return false;
	return by_flag || !(vmread(GUEST_RFLAGS) & X86_EFLAGS_TF);
}

static void retire(struct vm *vm)
{
	u64 rip = vmread(GUEST_RIP) + vmread(VM_EXIT_INSTRUCTION_LEN);

	vmwrite(GUEST_RIP, in_long_code() ? rip : (u32)rip);
	vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) & ~(u64)X86_EFLAGS_RF);
	vm->count++;
}

static bool serve_tsc(struct vm *vm, bool with_aux)
{
	const struct twvmx_time *t = &vm->time;
	u64 tsc = t->anchor_ns + mul_u64_u32_shr(vm->count - t->anchor_count, t->rate, RATE_SHIFT) +
		  t->tsc_offset;

	vm->gpr[GPR_RAX] = (u32)tsc;
	vm->gpr[GPR_RDX] = tsc >> 32;
	if (with_aux)
		vm->gpr[GPR_RCX] = (u32)vm->tsc_aux;
	vm->run->served_tsc++;
	return true;
}

static const struct twvmx_cpuid_entry *cpuid_find(const struct vm *vm, u32 leaf, u32 sub)
{
	for (u32 i = 0; i < vm->ncpuid; i++) {
		const struct twvmx_cpuid_entry *e = &vm->cpuid[i];

		if (e->leaf == leaf && (e->flags & TWVMX_CPUID_ANY_SUB || e->sub == sub))
			return e;
	}
	return NULL;
}

static bool serve_cpuid(struct vm *vm)
{
	const struct twvmx_cpuid_entry *e =
		cpuid_find(vm, (u32)vm->gpr[GPR_RAX], (u32)vm->gpr[GPR_RCX]);
	u32 ecx, edx;

	if (!e)
		return false;
	ecx = e->ecx;
	edx = e->edx;
	if (e->flags & TWVMX_CPUID_OSXSAVE && vmread(CR4_READ_SHADOW) & X86_CR4_OSXSAVE)
		ecx |= ECX_OSXSAVE;
	if (e->flags & TWVMX_CPUID_SYSCALL && !in_long_code())
		edx &= ~EDX_SYSCALL;
	vm->gpr[GPR_RAX] = e->eax;
	vm->gpr[GPR_RBX] = e->ebx;
	vm->gpr[GPR_RCX] = ecx;
	vm->gpr[GPR_RDX] = edx;
	vm->run->served_cpuid++;
	return true;
}

bool serve_instruction(struct vm *vm, u32 reason)
{
	bool done = false;

	if (reason != EXIT_REASON_RDTSC && reason != EXIT_REASON_RDTSCP &&
	    reason != EXIT_REASON_CPUID)
		return false;
	if (!(vm->flags & (reason == EXIT_REASON_CPUID ? TWVMX_RUN_CPUID : TWVMX_RUN_TIME)) ||
	    !is_plain(vm))
		return false;
	if (reason == EXIT_REASON_CPUID)
		done = serve_cpuid(vm);
	else
		done = serve_tsc(vm, reason == EXIT_REASON_RDTSCP);
	if (done)
		retire(vm);
	return done;
}

/* ---- the table ---- */

static int entries_check(const struct twvmx_cpuid_entry *e, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		if (e[i].flags & ~TWVMX_CPUID_ALL || e[i].reserved)
			return -EINVAL;
	}
	return 0;
}

int serve_set_cpuid(struct vm *vm, const struct twvmx_cpuid *c)
{
	struct twvmx_cpuid_entry *e = NULL;
	int ret = 0;

	if (c->version != TWVMX_VERSION || c->n > TWVMX_CPUID_MAX)
		return -EINVAL;
	if (c->n) {
		e = kmalloc_array(c->n, sizeof(*e), GFP_KERNEL_ACCOUNT);
		if (!e)
			return -ENOMEM;
		if (copy_from_user(e, u64_to_user_ptr(c->entries), c->n * sizeof(*e)))
			ret = -EFAULT;
		else
			ret = entries_check(e, c->n);
	}
	if (ret) {
		kfree(e);
		return ret;
	}
	kfree(vm->cpuid);
	vm->cpuid = e;
	vm->ncpuid = c->n;
	return 0;
}
