/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * Interface of the kernel module behind the vmx engine; docs/vmx-module.md tells it in prose.
 *
 * One file descriptor of /dev/twinstep-vmx is one VM with one vCPU. Its run page, mapped at offset
 * 0, holds the guest's registers and says why the guest stopped. Only the ioctls below change
 * anything; the page is read when TWVMX_RUN enters and written when it returns, and the module
 * believes nothing in it.
 */
#ifndef TWINSTEP_VMX_H
#define TWINSTEP_VMX_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TWVMX_DEVICE  "/dev/twinstep-vmx"
#define TWVMX_VERSION 3

/* ---- what the host can do ---- */

enum twvmx_verdict {
	TWVMX_OK,
	TWVMX_NO_VMX,	   /* the processor has no VT-x */
	TWVMX_LOCKED,	   /* the firmware switched VT-x off and locked it */
	TWVMX_BUSY,	   /* another hypervisor holds VT-x */
	TWVMX_NO_CONTROLS, /* VT-x lacks something that the guest cannot be run without: see missing
			    */
};

/* Bits of twvmx_info.missing (needed) and .has (optional). */
#define TWVMX_EPT	   (1u << 0)
#define TWVMX_UNRESTRICTED (1u << 1)
#define TWVMX_VPID	   (1u << 2)
#define TWVMX_VNMI	   (1u << 3)
#define TWVMX_TIMER	   (1u << 4) /* preemption timer */
#define TWVMX_RDRAND_EXIT  (1u << 5)
#define TWVMX_RDSEED_EXIT  (1u << 6)
#define TWVMX_WBINVD_EXIT  (1u << 7)
#define TWVMX_DESC_EXIT	   (1u << 8)
#define TWVMX_MTF	   (1u << 9)
#define TWVMX_EPT_AD	   (1u << 10)
#define TWVMX_PERF_SWITCH  (1u << 11) /* PERF_GLOBAL_CTRL in the entry and exit controls */
#define TWVMX_PMU	   (1u << 12) /* a counter of retired instructions can be had at this moment */
#define TWVMX_EPT_2M	   (1u << 13)
#define TWVMX_NO_FRED	   (1u << 14) /* the host takes its events through the IDT */
#define TWVMX_ONE_KIND	   (1u << 15) /* all CPUs are of one kind: no hybrid processor */
#define TWVMX_SMI_FROZEN   (1u << 16) /* counters stand still in system management mode */
#define TWVMX_SMI_COUNTED  (1u << 17) /* the processor counts its system management interrupts */
#define TWVMX_TSX_OFF	   (1u << 18) /* no transactional memory in the guest */
#define TWVMX_ENCLS_EXIT   (1u << 19)
#define TWVMX_BIT_COUNTS   (1u << 20) /* F3 BSF is TZCNT, F3 BSR LZCNT */

/* twvmx_info.pmu: can retired instructions be counted? */
enum twvmx_pmu {
	TWVMX_PMU_OK,
	TWVMX_PMU_NONE,	     /* the processor claims no architectural counters */
	TWVMX_PMU_DEAD,	     /* it does, but they do not keep what is written to them */
	TWVMX_PMU_UNUSED,    /* the kernel does not use them, so it lends none */
	TWVMX_PMU_NO_SWITCH, /* VT-x cannot switch them at VM entry and exit */
	TWVMX_PMU_TAKEN,     /* the kernel has none to spare */
};

struct twvmx_info {
	__u32 version;
	__u32 verdict; /* enum twvmx_verdict */
	__u32 has;
	__u32 missing;
	__u32 vms; /* open VMs on this host */
	__u32 cpus;
	__u32 pmu_width;  /* bits of a fixed counter, as the kernel uses it */
	__u32 pmu;	  /* enum twvmx_pmu */
	__u64 cr4_fixed1; /* bits of CR4 that this processor has */
	__u64 basic;	  /* IA32_VMX_BASIC */
};

/* ---- guest state ---- */

/* Order of twvmx_regs.seg: ES, CS, SS, DS, FS, GS, LDTR, TR. attr: VMX access rights. */
struct twvmx_seg {
	__u64 base;
	__u32 limit;
	__u32 attr;
	__u64 selector;
};

struct twvmx_table {
	__u64 base;
	__u64 limit;
};

struct twvmx_regs {
	__u64 gpr[16]; /* as instructions number them */
	__u64 rip, rflags;
	struct twvmx_seg seg[8];
	struct twvmx_table gdtr, idtr;
	__u64 cr0, cr2, cr3, cr4, efer; /* as the guest sees them */
	__u64 dr[4], dr7;
	__u64 pdpte[4];
	__u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
	__u64 sysenter_cs, sysenter_esp, sysenter_eip;
	__u64 xcr0;
	__u64 pending_debug;	/* VMCS field of that name */
	__u32 interruptibility; /* likewise */
	__u32 reserved;
	__u8 fxsave[512]; /* FXSAVE64 image; at a multiple of 16 */
};

/* ---- the run page ---- */

/* twvmx_run.flags */
#define TWVMX_RUN_WINDOW (1u << 0) /* stop when an interrupt can be injected */
#define TWVMX_RUN_NMI	 (1u << 1) /* stop when an NMI can be injected */
#define TWVMX_RUN_STEP	 (1u << 2) /* stop after one instruction */
#define TWVMX_RUN_NONE	 (1u << 3) /* inject, then stop before the first instruction */
#define TWVMX_RUN_FLUSH	 (1u << 4) /* drop the guest's cached translations first */
#define TWVMX_RUN_TIME	 (1u << 5) /* serve RDTSC and RDTSCP from `time` */
#define TWVMX_RUN_CPUID	 (1u << 6) /* serve CPUID from the table of TWVMX_IOC_CPUID */
#define TWVMX_RUN_COUNT	 (1u << 7) /* count what the guest retires, with the performance counter */
#define TWVMX_RUN_ALL	 255u

/* twvmx_run.load: which registers the page gives; the others keep what the guest left. */
#define TWVMX_LOAD_GPR (1u << 0) /* gpr, rip, rflags, interruptibility, pending_debug */
#define TWVMX_LOAD_SYS (1u << 1) /* everything else but fxsave */
#define TWVMX_LOAD_FPU (1u << 2) /* fxsave, xcr0 */
#define TWVMX_LOAD_ALL 7u

/* twvmx_run.exit_reason: VMX basic exit reasons (SDM vol. 3, appendix C) as they are, and these. */
#define TWVMX_EXIT_SIGNAL 0x1000u /* a signal waits for the thread */
/* twvmx_run.kick is set, and an instruction has just been served */
#define TWVMX_EXIT_KICK 0x1001u
/* VM entry failed: exit_error holds the reason or VM-instruction error */
#define TWVMX_EXIT_ENTRY 0x1002u
/* TWVMX_RUN_STEP: an instruction has retired, or its interruption is in exit_info */
#define TWVMX_EXIT_STEP 0x1003u
#define TWVMX_EXIT_NONE 0x1004u /* TWVMX_RUN_NONE: injected */
/* an instruction has just been served, and the count is at the limit or beyond */
#define TWVMX_EXIT_LIMIT 0x1005u
/* twvmx_run.kick is set, and nothing was served for a slice (10 ms) */
#define TWVMX_EXIT_SLICE 0x1006u
#define TWVMX_EXIT_COUNT 0x1007u /* TWVMX_RUN_COUNT: the count is at `stop` or beyond */
/* TWVMX_RUN_COUNT: the guest was not entered, its counter is not there; try again */
#define TWVMX_EXIT_PMU 0x1008u
/* the host's memory behind the guest address `gpa` has failed: no instruction can go on there */
#define TWVMX_EXIT_POISON 0x1009u
/* TWVMX_RUN_COUNT: the count is not that of the guest any more */
#define TWVMX_EXIT_SMI	0x100au /* the processor was in system management mode meanwhile */
#define TWVMX_EXIT_LOST 0x100bu /* the kernel stopped the counter at the moment of an entry */

/*
 * Virtual time, as hypervisor/clock.h has it:
 *   TSC = anchor_ns + ((count - anchor_count) * rate >> 16) + tsc_offset
 */
struct twvmx_time {
	__u64 anchor_ns;
	__u64 anchor_count;
	__u64 tsc_offset;
	__u32 rate;
	__u32 reserved;
};

struct twvmx_run {
	/* to the module */
	__u32 version;
	__u32 flags;
	__u32 load;
	__u32 kick; /* may be set at any time by another thread: see TWVMX_EXIT_KICK and _SLICE */
	__u32 entry_info; /* event to inject: VM-entry interruption-information field; bit 31: valid
			   */
	__u32 entry_error; /* its error code */
	__u32 entry_len;   /* length of the instruction, for software interrupts */
	__u32 reserved;
	/* from the module */
	__u32 exit_reason;
	__u32 exit_len;	  /* instruction length */
	__u32 exit_info;  /* VM-exit interruption information */
	__u32 exit_error; /* its error code */
	__u32 idt_info;	  /* event that is still to be delivered: the exit came before or during its
			     delivery */
	__u32 idt_error;
	__u32 instr_info;
	__u32 idt_len; /* length of the instruction behind idt_info, for software interrupts */
	__u64 qualification;
	__u64 gpa, linear;
	/* counters since the VM was made */
	__u64 entries;
	__u64 irqs;	   /* exits for the host's own interrupts */
	__u64 dirty_exits; /* first writes to clean pages */
	__u64 sections;	   /* stretches on one CPU */
	__u64 served_tsc, served_cpuid;
	/*
	 * Both ways: the engine's count. One more for each instruction that the module completes:
	 * served, or stepped; with TWVMX_RUN_COUNT for each that the guest retires, or the module
	 * serves.
	 */
	__u64 count;
	/* to the module */
	__u64 stop;  /* TWVMX_RUN_COUNT: leave the guest when the count is there or beyond;
			UINT64_MAX: do not */
	__u64 limit; /* stop after the served instruction that brings the count there */
	struct twvmx_time time;
	struct twvmx_regs regs __attribute__((aligned(16)));
};

_Static_assert(sizeof(struct twvmx_info) == 48, "twvmx_info");
_Static_assert(sizeof(struct twvmx_seg) == 24, "twvmx_seg");
_Static_assert(sizeof(struct twvmx_regs) == 1088, "twvmx_regs");
_Static_assert(__builtin_offsetof(struct twvmx_run, qualification) == 64, "twvmx_run");
_Static_assert(sizeof(struct twvmx_time) == 32, "twvmx_time");
_Static_assert(__builtin_offsetof(struct twvmx_run, count) == 136, "twvmx_run.count");
_Static_assert(__builtin_offsetof(struct twvmx_run, regs) == 192, "twvmx_run.regs");
_Static_assert(sizeof(struct twvmx_run) == 1280, "twvmx_run");

/* ---- memory ---- */

struct twvmx_slot {
	__u32 version;
	__u32 slot; /* 0 or 1 */
	__u64 gpa;  /* multiple of 4096 */
	__u64 size; /* bytes, multiple of 4096; 0: unmap the slot */
	__u64 user; /* address in the calling process, multiple of 4096 */
};

#define TWVMX_SLOTS 2

_Static_assert(sizeof(struct twvmx_slot) == 32, "twvmx_slot");

/*
 * Copies the bytes of pages written by the guest since the last time: one byte a page, 1 is stored,
 * others are left.
 */
struct twvmx_dirty {
	__u32 version;
	__u32 slot;
	__u64 pages; /* of the slot: what it was made with */
	__u64 map;   /* address of that many bytes */
};

_Static_assert(sizeof(struct twvmx_dirty) == 24, "twvmx_dirty");

/* How guest memory is mapped. */
struct twvmx_stats {
	__u32 version;
	__u32 reserved;
	__u64 pages;  /* pinned, of 4 KiB */
	__u64 large;  /* entries of 2 MiB at this moment */
	__u64 splits; /* of such entries into 4 KiB, so far */
	__u64 tables; /* pages in use for page tables */
};

_Static_assert(sizeof(struct twvmx_stats) == 40, "twvmx_stats");

/* ---- CPUID ---- */

/* twvmx_cpuid_entry.flags */
#define TWVMX_CPUID_ANY_SUB (1u << 0) /* the answer does not depend on ECX */
#define TWVMX_CPUID_OSXSAVE (1u << 1) /* ECX bit 27 is set while the guest has CR4.OSXSAVE */
#define TWVMX_CPUID_SYSCALL (1u << 2) /* EDX bit 11 is clear outside 64-bit code */
#define TWVMX_CPUID_ALL	    7u

struct twvmx_cpuid_entry {
	__u32 leaf, sub; /* EAX, ECX */
	__u32 flags;
	__u32 reserved; /* 0 */
	__u32 eax, ebx, ecx, edx;
};

/* Replaces the table. A leaf that it does not have exits to user space. */
struct twvmx_cpuid {
	__u32 version;
	__u32 n;       /* entries, at most TWVMX_CPUID_MAX; 0: none */
	__u64 entries; /* address of the first one */
};

#define TWVMX_CPUID_MAX 128

_Static_assert(sizeof(struct twvmx_cpuid_entry) == 32, "twvmx_cpuid_entry");
_Static_assert(sizeof(struct twvmx_cpuid) == 16, "twvmx_cpuid");

/* ---- the host's registers ---- */

/* Bits of twvmx_host.present and .changed: what a CPU has to have again after a run. */
enum twvmx_host_reg {
	TWVMX_HOST_CR0,
	TWVMX_HOST_CR4,
	TWVMX_HOST_DR7,
	TWVMX_HOST_DR0, /* these four where DR7 switches a breakpoint on */
	TWVMX_HOST_DR1,
	TWVMX_HOST_DR2,
	TWVMX_HOST_DR3,
	TWVMX_HOST_XCR0,
	TWVMX_HOST_GDT,
	TWVMX_HOST_GDT_LIMIT,
	TWVMX_HOST_IDT,
	TWVMX_HOST_IDT_LIMIT,
	TWVMX_HOST_TR,
	TWVMX_HOST_LDTR,
	TWVMX_HOST_EFER,
	TWVMX_HOST_STAR,
	TWVMX_HOST_LSTAR,
	TWVMX_HOST_CSTAR,
	TWVMX_HOST_FMASK,
	TWVMX_HOST_FS_BASE,
	TWVMX_HOST_GS_BASE,
	TWVMX_HOST_KERNEL_GS_BASE,
	TWVMX_HOST_TSC_AUX,
	TWVMX_HOST_SYSENTER_CS,
	TWVMX_HOST_SYSENTER_ESP,
	TWVMX_HOST_SYSENTER_EIP,
	TWVMX_HOST_DEBUGCTL,
	TWVMX_HOST_PEBS_ENABLE,
	TWVMX_HOST_PERF_GLOBAL_CTRL,
	TWVMX_HOST_TSX_CTRL,
	TWVMX_HOST_SPEC_CTRL,
	TWVMX_HOST_PAT,
	TWVMX_HOST_MTRR,
	TWVMX_HOST_XSS,
	TWVMX_HOST_REGS
};

/*
 * Remembers the registers of the CPU that the call is made on, or says which of them differ from
 * what the VM's last such call has remembered, on the same CPU. Values stay in the kernel.
 */
struct twvmx_host {
	__u32 version;
	__u32 remember; /* 1, or 0: compare */
	/* from the module */
	__u64 present; /* registers that this processor has */
	__u64 changed;
	__u64 cr4; /* the host's */
	/* What the processor had in them when it last left the guest; 0: it never was there. */
	__u64 guest_cr4, guest_debugctl;
};

_Static_assert(sizeof(struct twvmx_host) == 48, "twvmx_host");

/* Type of the ioctls, and the first of eight numbers: what a filter of system calls lets through.
 */
#define TWVMX_IOC_TYPE	'T'
#define TWVMX_IOC_FIRST 0xe0

#define TWVMX_IOC_INFO	 _IOR(TWVMX_IOC_TYPE, 0xe0, struct twvmx_info)
#define TWVMX_IOC_CREATE _IO(TWVMX_IOC_TYPE, 0xe1) /* argument: TWVMX_VERSION */
#define TWVMX_IOC_SLOT	 _IOW(TWVMX_IOC_TYPE, 0xe2, struct twvmx_slot)
#define TWVMX_IOC_RUN	 _IO(TWVMX_IOC_TYPE, 0xe3)
#define TWVMX_IOC_DIRTY	 _IOW(TWVMX_IOC_TYPE, 0xe4, struct twvmx_dirty)
#define TWVMX_IOC_CPUID	 _IOW(TWVMX_IOC_TYPE, 0xe5, struct twvmx_cpuid)
#define TWVMX_IOC_HOST	 _IOWR(TWVMX_IOC_TYPE, 0xe6, struct twvmx_host)
#define TWVMX_IOC_STATS	 _IOR(TWVMX_IOC_TYPE, 0xe7, struct twvmx_stats)

#endif
