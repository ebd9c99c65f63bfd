/* SPDX-License-Identifier: GPL-2.0-only */
/* A VMCS that is a table, behind the module's vmread() and vmwrite(); before the module's files. */
#ifndef TESTS_VMX_VMCS_H
#define TESTS_VMX_VMCS_H

#include "tests/vmx/kernel.h"

#define vmread	processor_vmread
#define vmwrite processor_vmwrite
#include "hypervisor/vmx/module/vcpu.h"
#undef vmread
#undef vmwrite

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

#endif
