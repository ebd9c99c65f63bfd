/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM with its one vCPU, and declarations that the files of this module share.
 *
 *   main.c    the device node, ioctls, life of a VM
 *   vmx.c     abilities of the processor; VMXON on every CPU; the VMCS, with a reason for each
 *             control
 *   state.c   guest registers between the run page, this module's copy, and the VMCS; registers of
 *             the host
 *   exits.c   the run loop
 *   serve.c   instructions that are completed here: time and CPUID
 *   pmu.c     counting what the guest retires
 *   audit.c   whether the host's registers stay as they were
 *   ept.c     guest memory: pinned pages, extended page tables, dirty tracking
 *   entry.S   VMLAUNCH and VMRESUME
 *
 * A VMCS is loaded only inside a section: a stretch of the run ioctl with preemption off, on one
 * CPU. A section ends with VMCLEAR. So a VM that does not run has nothing in any CPU, may go on
 * elsewhere, and needs no care when a CPU goes offline or the host is suspended.
 */
#ifndef TWINSTEP_VCPU_H
#define TWINSTEP_VCPU_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <asm/desc.h>
#include <asm/trapnr.h>
#include <asm/vmx.h>

#include "twinstep_vmx.h"

#define CR0_HOST_OWNED (~(u64)(X86_CR0_TS | X86_CR0_EM | X86_CR0_MP | X86_CR0_WP | X86_CR0_AM))
#define CR4_HOST_OWNED (~(u64)(X86_CR4_PGE | X86_CR4_TSD))
#define DR6_FIXED      0xffff0ff0ul
#define DR7_FIXED      0x400ul
#define DR7_ENABLED    0xfful
#define SLICE_MS       10 /* the longest that a guest runs without an exit */

struct perf_event;

/* Control bits and EPT capabilities that this processor offers and this module uses. */
struct vmx_config {
	u32 pin, primary, secondary, exit, entry;
	u32 revision;
	u32 slice;			    /* preemption timer */
	u32 has, missing;		    /* TWVMX_* */
	bool invept_single, invvpid_single; /* can drop what one VM has; else everything goes */
	u64 debugctl;			    /* the guest's */
};

extern struct vmx_config vmx_config;

struct slot {
	u64 gpa, npages, user; /* addresses of the guest and of its process */
	struct page **pages;
	u64 *dirty; /* bitmap */
};

struct vm {
	struct mutex lock; /* everything here; run, slot and dirty ioctls exclude one another */
	bool created;
	struct mm_struct *mm;	 /* the only one that may drive this VM; stays when the VM has gone
				    with its process */
	struct mmu_notifier end; /* of mm */
	struct twvmx_run *run;
	struct page *run_page;
	void *vmcs;
	u16 vpid;
	int last_cpu; /* where it last ran */
	bool launched, needs_invept, needs_invvpid;

	struct slot slot[TWVMX_SLOTS];
	u64 *ept_root;
	struct list_head ept_pages;
	u64 ept_tables; /* pages in use for tables */
	u64 ept_large, ept_splits;
	/* Pages of the process have been taken away, at these addresses: some may have failed. */
	bool unmapped;
	u64 unmapped_from, unmapped_to;
	spinlock_t unmapped_lock;

	/* guest registers that the VMCS does not hold */
	u64 gpr[16]; /* entry.S knows that RSP's place is unused */
	u64 cr2, dr[4], xcr0;
	bool breakpoints; /* DR7 has some enabled */
	u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
	u8 fx[512] __aligned(16);

	struct twvmx_cpuid_entry *cpuid;
	u32 ncpuid;

	u64 host_cr3, host_cr4; /* as the VMCS has them */
	u32 flags;		/* TWVMX_RUN_* of the run under way */
	u64 count, limit, stop; /* as in the run page */
	struct twvmx_time time; /* likewise, copied when the run began */
	struct perf_event
		*pmu_event; /* of the thread that ran last; NULL before the first run that counts */
	u64 pmu_seen;	    /* what it had counted when last read */
	bool pmu_armed;	    /* it overflows at an interval that was asked for */
	unsigned long since;	    /* jiffies when the run began, or something was last served */
	unsigned long began;	    /* jiffies when the section did */
	u64 smis;		    /* system management interrupts on this CPU, likewise */
	bool vmcs_ready;	    /* vmcs_init() was done */
	u64 audit[TWVMX_HOST_REGS]; /* the host's registers as audit_host() has last remembered them
				     */
	int audit_cpu;		    /* where that was, plus one; 0: nowhere yet */
	struct twvmx_regs regs;	    /* private copy of what the run page holds: nobody changes it
				       between check and use */
};

/*
 * Host registers that a section changes and puts back.
 *
 * Of the MSRs these are the ones that guest code reads without an exit, or that decide what it
 * does, and that VT-x does not switch:
 *
 *   STAR, LSTAR, CSTAR, FMASK    SYSCALL and SYSRET
 *   KERNEL_GS_BASE               SWAPGS
 *   TSC_AUX                      RDPID, where the processor has it
 *   FS_BASE, GS_BASE             lost with the selectors; the host-state area loads them
 *
 * Each entry does the same for PEBS_ENABLE and for what a VM exit clears: DEBUGCTL and DR7
 * (exits.c). The VMCS has the guest's SYSENTER_*, EFER, DEBUGCTL, FS and GS base. PEBS_ENABLE is 0
 * in the guest, PERF_GLOBAL_CTRL has one counter or stays (nothing in the guest can read a
 * counter). All others stay the host's, out of the guest's sight, because every RDMSR and WRMSR
 * exits: PAT and MTRRs have no effect under EPT with "ignore PAT", SPEC_CTRL is the host's own
 * protection.
 */
struct host {
	u64 xcr0, star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, fs_base, gs_base, tsx_ctrl;
	u16 ds, es, fs, gs, ldt;
	struct desc_ptr gdt, idt;
};

/* ---- VMCS access ---- */
static inline u64 vmread(unsigned long field)
{
	unsigned long v;

	asm volatile("vmread %1, %0" : "=r"(v) : "r"(field) : "cc");
	return v;
}

/* Fields come from tables of this module and exist wherever vmx_config says so. */
static inline void vmwrite(unsigned long field, u64 v)
{
	asm volatile("vmwrite %1, %0" : : "r"(field), "r"(v) : "cc");
}

/* False: the processor does not take this VMCS; the one that was current stays so. */
static inline bool vmptrld(u64 pa)
{
	bool failed;

	asm volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(pa) : "memory");
	return !failed;
}

static inline void vmclear(u64 pa)
{
	asm volatile("vmclear %0" : : "m"(pa) : "cc", "memory");
}

static inline u64 xcr0_read(void)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (u64)hi << 32 | lo;
}

/* ---- vmx.c ---- */
void vmx_fill_info(struct twvmx_info *info);
int vmx_get(void);  /* one more VM: VMXON everywhere when it is the first */
void vmx_put(void); /* one VM less: VMXOFF everywhere when it was the last */
int vmx_init(void);
void vmx_exit(void);
bool vmx_on_here(void);
int vmcs_alloc(struct vm *vm);
void vmcs_free(struct vm *vm);
void vmcs_init(struct vm *vm);
void vmcs_arm(struct vm *vm);
void vmx_flush(struct vm *vm);

/* ---- current.c: the VMCS of this CPU; preemption is off ---- */
int vmcs_load(struct vm *vm); /* -EIO: VT-x is off, or the processor does not take the VMCS */
void vmcs_clear(struct vm *vm);
void vmcs_clear_loaded(void); /* in an NMI: VMCLEAR of what vmcs_load() loaded here, if anything */

/* ---- state.c ---- */
int state_check(const struct twvmx_regs *r, u32 load);
void state_load(struct vm *vm, const struct twvmx_regs *r, u32 load);
void state_store(struct vm *vm, struct twvmx_regs *r);
void host_enter(struct vm *vm, struct host *h);
void host_refresh(struct vm *vm);
void host_leave(struct vm *vm, const struct host *h);

/* ---- audit.c ---- */
int audit_host(struct vm *vm, struct twvmx_host *h);

/* ---- exits.c ---- */
int vcpu_run(struct vm *vm);

/* ---- serve.c ---- */
/*
 * Completes the instruction that exited for this reason; false when it is none that is served, or
 * not now.
 */
bool serve_instruction(struct vm *vm, u32 reason);
int serve_set_cpuid(struct vm *vm, const struct twvmx_cpuid *c);

/* ---- pmu.c ---- */
u32 pmu_state(void);
u32 pmu_width(void);
int pmu_begin(struct vm *vm);
void pmu_free(struct vm *vm);
void pmu_load(struct vm *vm);
u32 pmu_enter(struct vm *vm);
void pmu_account(struct vm *vm);
bool pmu_was_lost(const struct vm *vm);
void pmu_section_begin(struct vm *vm);
bool pmu_section_is_sound(struct vm *vm);

/* ---- ept.c ---- */
int ept_init(struct vm *vm);
void ept_free(struct vm *vm);
int ept_set_slot(struct vm *vm, const struct twvmx_slot *s);
int ept_fetch_dirty(struct vm *vm, const struct twvmx_dirty *d);
bool ept_make_writable(struct vm *vm, u64 gpa);
bool ept_make_executable(struct vm *vm, u64 gpa);
bool ept_is_poisoned(struct vm *vm, u64 gpa);
void ept_note_unmapped(struct vm *vm, u64 start, u64 end);
void ept_suspect_all(struct vm *vm);
void ept_drop_poisoned(struct vm *vm);
void ept_fill_stats(const struct vm *vm, struct twvmx_stats *stats);
u64 ept_pointer(const struct vm *vm);

/* ---- entry.S ---- */
/* 0 after a VM exit, 1 VMfailInvalid, 2 VMfailValid. Interrupts are off. */
int twvmx_enter(u64 *gpr, bool launched);
extern const char twvmx_exit_point[];

#endif
