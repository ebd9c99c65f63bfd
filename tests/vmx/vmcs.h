/* SPDX-License-Identifier: GPL-2.0-only */
/* A VMCS that is a table, behind the module's vmread() and vmwrite(); before the module's files. */
#ifndef TESTS_VMX_VMCS_H
#define TESTS_VMX_VMCS_H

#include "tests/vmx/kernel.h"

#define vmread	processor_vmread
#define vmwrite processor_vmwrite
#define vmptrld processor_vmptrld
#define vmclear processor_vmclear
#include "hypervisor/vmx/module/vcpu.h"
#undef vmread
#undef vmwrite
#undef vmptrld
#undef vmclear

#define MOCK_FIELDS 0x7000u

MOCK u64 mock_vmcs[MOCK_FIELDS];
MOCK unsigned mock_writes; /* to any field */

static inline u64 vmread(unsigned long field)
{
	return mock_vmcs[field % MOCK_FIELDS];
}

static inline void vmwrite(unsigned long field, u64 v)
{
	mock_writes++;
	mock_vmcs[field % MOCK_FIELDS] = v;
}

MOCK u64 mock_current;	/* physical address of the current VMCS, or 0 */
MOCK bool mock_refuses; /* VMPTRLD fails */
MOCK u64 mock_cleared;	/* by the last VMCLEAR */

static inline bool vmptrld(u64 pa)
{
	if (!mock_refuses)
		mock_current = pa;
	return !mock_refuses;
}

static inline void vmclear(u64 pa)
{
	mock_cleared = pa;
	if (mock_current == pa)
		mock_current = 0;
}

#endif
