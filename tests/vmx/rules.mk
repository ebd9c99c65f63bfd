# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests that compile files of the kernel module: each header of the kernel that one of them names is made here,
# and leads to tests/vmx/kernel.h (after the one that the kernel shows to programs, where there is one).

MODULESRC := $(wildcard hypervisor/vmx/module/*.[ch])
MODULETESTS := $(foreach t,test_exits test_ept test_audit test_current,$(BUILD)/tests/vmx/$(t) $(BUILD)/clang/tests/vmx/$(t).said)
KERNELDIR := $(BUILD)/gen/kernel

$(KERNELDIR)/made: $(MODULESRC) tests/vmx/rules.mk
	@mkdir -p $(@D)
	$(Q)for h in $$(sed -n 's,^#include <\(.*\)>,\1,p' $(MODULESRC) | sort -u); do \
		mkdir -p "$$(dirname "$(@D)/$$h")" && \
		printf '#if __has_include_next(<%s>)\n#include_next <%s>\n#endif\n#include "tests/vmx/kernel.h"\n' "$$h" "$$h" \
			>"$(@D)/$$h" || exit 1; done
	$(Q)touch $@

$(MODULETESTS): $(KERNELDIR)/made
# The module is written for the kernel's choice of warnings.
# Private: else what they are linked with would be compiled so as well.
$(MODULETESTS): private CFLAGS += -I$(KERNELDIR) -Wno-sign-compare -Wno-missing-field-initializers -Wno-pointer-arith
