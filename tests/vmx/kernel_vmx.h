/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VT-x in numbers (Intel SDM vol. 3, appendices A and B), by the kernel's names; part of kernel.h.
 */
#ifndef TESTS_VMX_KERNEL_VMX_H
#define TESTS_VMX_KERNEL_VMX_H

/* ---- VMCS fields ---- */

#define CPU_BASED_VM_EXEC_CONTROL     0x4002
#define CR0_GUEST_HOST_MASK	      0x6000
#define CR0_READ_SHADOW		      0x6004
#define CR3_TARGET_COUNT	      0x400a
#define CR4_GUEST_HOST_MASK	      0x6002
#define CR4_READ_SHADOW		      0x6006
#define ENCLS_EXITING_BITMAP	      0x202e
#define EPT_POINTER		      0x201a
#define EXCEPTION_BITMAP	      0x4004
#define EXIT_QUALIFICATION	      0x6400
#define GUEST_ACTIVITY_STATE	      0x4826
#define GUEST_CR0		      0x6800
#define GUEST_CR3		      0x6802
#define GUEST_CR4		      0x6804
#define GUEST_CS_AR_BYTES	      0x4816
#define GUEST_DR7		      0x681a
#define GUEST_ES_AR_BYTES	      0x4814
#define GUEST_ES_BASE		      0x6806
#define GUEST_ES_LIMIT		      0x4800
#define GUEST_ES_SELECTOR	      0x0800
#define GUEST_GDTR_BASE		      0x6816
#define GUEST_GDTR_LIMIT	      0x4810
#define GUEST_IA32_DEBUGCTL	      0x2802
#define GUEST_IA32_EFER		      0x2806
#define GUEST_IA32_PERF_GLOBAL_CTRL   0x2808
#define GUEST_IDTR_BASE		      0x6818
#define GUEST_IDTR_LIMIT	      0x4812
#define GUEST_INTERRUPTIBILITY_INFO   0x4824
#define GUEST_LINEAR_ADDRESS	      0x640a
#define GUEST_PDPTR0		      0x280a
#define GUEST_PENDING_DBG_EXCEPTIONS  0x6822
#define GUEST_PHYSICAL_ADDRESS	      0x2400
#define GUEST_RFLAGS		      0x6820
#define GUEST_RIP		      0x681e
#define GUEST_RSP		      0x681c
#define GUEST_SYSENTER_CS	      0x482a
#define GUEST_SYSENTER_EIP	      0x6826
#define GUEST_SYSENTER_ESP	      0x6824
#define HOST_CR0		      0x6c00
#define HOST_CR3		      0x6c02
#define HOST_CR4		      0x6c04
#define HOST_CS_SELECTOR	      0x0c02
#define HOST_DS_SELECTOR	      0x0c06
#define HOST_ES_SELECTOR	      0x0c00
#define HOST_FS_BASE		      0x6c06
#define HOST_FS_SELECTOR	      0x0c08
#define HOST_GDTR_BASE		      0x6c0c
#define HOST_GS_BASE		      0x6c08
#define HOST_GS_SELECTOR	      0x0c0a
#define HOST_IA32_EFER		      0x2c02
#define HOST_IA32_PERF_GLOBAL_CTRL    0x2c04
#define HOST_IA32_SYSENTER_CS	      0x4c00
#define HOST_IA32_SYSENTER_EIP	      0x6c12
#define HOST_IA32_SYSENTER_ESP	      0x6c10
#define HOST_IDTR_BASE		      0x6c0e
#define HOST_RIP		      0x6c16
#define HOST_SS_SELECTOR	      0x0c04
#define HOST_TR_BASE		      0x6c0a
#define HOST_TR_SELECTOR	      0x0c0c
#define IDT_VECTORING_ERROR_CODE      0x440a
#define IDT_VECTORING_INFO_FIELD      0x4408
#define PAGE_FAULT_ERROR_CODE_MASK    0x4006
#define PAGE_FAULT_ERROR_CODE_MATCH   0x4008
#define PIN_BASED_VM_EXEC_CONTROL     0x4000
#define SECONDARY_VM_EXEC_CONTROL     0x401e
#define VIRTUAL_PROCESSOR_ID	      0x0000
#define VMCS_LINK_POINTER	      0x2800
#define VMX_INSTRUCTION_INFO	      0x440e
#define VMX_PREEMPTION_TIMER_VALUE    0x482e
#define VM_ENTRY_CONTROLS	      0x4012
#define VM_ENTRY_EXCEPTION_ERROR_CODE 0x4018
#define VM_ENTRY_INSTRUCTION_LEN      0x401a
#define VM_ENTRY_INTR_INFO_FIELD      0x4016
#define VM_ENTRY_MSR_LOAD_COUNT	      0x4014
#define VM_EXIT_CONTROLS	      0x400c
#define VM_EXIT_INSTRUCTION_LEN	      0x440c
#define VM_EXIT_INTR_ERROR_CODE	      0x4406
#define VM_EXIT_INTR_INFO	      0x4404
#define VM_EXIT_MSR_LOAD_COUNT	      0x4010
#define VM_EXIT_MSR_STORE_COUNT	      0x400e
#define VM_EXIT_REASON		      0x4402
#define VM_INSTRUCTION_ERROR	      0x4400

/* ---- control bits ---- */

#define CPU_BASED_ACTIVATE_SECONDARY_CONTROLS 0x80000000u
#define CPU_BASED_CR8_LOAD_EXITING	      0x80000u
#define CPU_BASED_CR8_STORE_EXITING	      0x100000u
#define CPU_BASED_HLT_EXITING		      0x80u
#define CPU_BASED_INTR_WINDOW_EXITING	      0x4u
#define CPU_BASED_MONITOR_EXITING	      0x20000000u
#define CPU_BASED_MONITOR_TRAP_FLAG	      0x8000000u
#define CPU_BASED_MOV_DR_EXITING	      0x800000u
#define CPU_BASED_MWAIT_EXITING		      0x400u
#define CPU_BASED_NMI_WINDOW_EXITING	      0x400000u
#define CPU_BASED_RDPMC_EXITING		      0x800u
#define CPU_BASED_RDTSC_EXITING		      0x1000u
#define CPU_BASED_UNCOND_IO_EXITING	      0x1000000u
#define PIN_BASED_EXT_INTR_MASK		      0x1u
#define PIN_BASED_NMI_EXITING		      0x8u
#define PIN_BASED_VIRTUAL_NMIS		      0x20u
#define PIN_BASED_VMX_PREEMPTION_TIMER	      0x40u
#define SECONDARY_EXEC_DESC		      0x4u
#define SECONDARY_EXEC_ENABLE_EPT	      0x2u
#define SECONDARY_EXEC_ENABLE_RDTSCP	      0x8u
#define SECONDARY_EXEC_ENABLE_VPID	      0x20u
#define SECONDARY_EXEC_ENCLS_EXITING	      0x8000u
#define SECONDARY_EXEC_RDRAND_EXITING	      0x800u
#define SECONDARY_EXEC_RDSEED_EXITING	      0x10000u
#define SECONDARY_EXEC_UNRESTRICTED_GUEST     0x80u
#define SECONDARY_EXEC_WBINVD_EXITING	      0x40u
#define VM_ENTRY_IA32E_MODE		      0x200u
#define VM_ENTRY_LOAD_DEBUG_CONTROLS	      0x4u
#define VM_ENTRY_LOAD_IA32_EFER		      0x8000u
#define VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL   0x2000u
#define VM_EXIT_HOST_ADDR_SPACE_SIZE	      0x200u
#define VM_EXIT_LOAD_IA32_EFER		      0x200000u
#define VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL    0x1000u
#define VM_EXIT_SAVE_DEBUG_CONTROLS	      0x4u
#define VM_EXIT_SAVE_IA32_EFER		      0x100000u

/* ---- interruption information ---- */

#define INTR_INFO_DELIVER_CODE_MASK 0x800u
#define INTR_INFO_INTR_TYPE_MASK    0x700u
#define INTR_INFO_VALID_MASK	    0x80000000u
#define INTR_INFO_VECTOR_MASK	    0xffu
#define INTR_TYPE_EXT_INTR	    (0 << 8)
#define INTR_TYPE_HARD_EXCEPTION    (3 << 8)
#define INTR_TYPE_NMI_INTR	    (2 << 8)
#define INTR_TYPE_PRIV_SW_EXCEPTION (5 << 8)
#define INTR_TYPE_SOFT_EXCEPTION    (6 << 8)
#define INTR_TYPE_SOFT_INTR	    (4 << 8)
#define X86_TRAP_DB		    1
#define X86_TRAP_NMI		    2
#define X86_TRAP_UD		    6
#define X86_TRAP_PF		    14
#define X86_TRAP_AC		    17
#define X86_TRAP_MC		    18

/* ---- IA32_VMX_EPT_VPID_CAP ---- */

#define VMX_EPTP_WB_BIT			   (1ull << 14)
#define VMX_EPT_2MB_PAGE_BIT		   (1ull << 16)
#define VMX_EPT_AD_BIT			   (1ull << 21)
#define VMX_EPT_EXTENT_CONTEXT_BIT	   (1ull << 25)
#define VMX_EPT_EXTENT_GLOBAL_BIT	   (1ull << 26)
#define VMX_EPT_INVEPT_BIT		   (1ull << 20)
#define VMX_EPT_PAGE_WALK_4_BIT		   (1ull << 6)
#define VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT (1ull << 10)
#define VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT (1ull << 9)
#define VMX_VPID_INVVPID_BIT		   (1ull << 0)

#endif
