// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMCS that is current on a CPU while a section lasts, and what of it is cleared when the host
 * crashes. Intel SDM vol. 3, 25.11.1.
 */
#include <linux/percpu.h>

#include "vcpu.h"

static DEFINE_PER_CPU(void *, loaded_vmcs);

int vmcs_load(struct vm *vm)
{
	if (!vmx_on_here())
		return -EIO;
	vm->launched = false;
	/* Before it is loaded: the crash may come in between. */
	this_cpu_write(loaded_vmcs, vm->vmcs);
	if (vmptrld(__pa(vm->vmcs)))
		return 0;
	/* Nobody calls vmcs_clear() now, and the page may be freed. */
	this_cpu_write(loaded_vmcs, NULL);
	return -EIO;
}

void vmcs_clear(struct vm *vm)
{
	vmclear(__pa(vm->vmcs));
	this_cpu_write(loaded_vmcs, NULL);
}

void vmcs_clear_loaded(void)
{
	void *vmcs = this_cpu_read(loaded_vmcs);

	if (vmcs)
		vmclear(__pa(vmcs));
}
