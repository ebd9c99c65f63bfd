# SPDX-License-Identifier: GPL-2.0-or-later
# The guest of the RDMA tests, and what breaks queue pairs there

RDMAGUEST := $(BUILD)/tests/rdma/guest.elf
RDMABREAK := $(BUILD)/tests/rdma/break.so

$(RDMAGUEST): tests/rdma/guest.c tests/vtx/guest/com.h $(GUESTHDR)
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -m64 -mno-red-zone $(GUESTCFLAGS) -o $@.64 tests/guest/start.S $<
	$(Q)objcopy -I elf64-x86-64 -O elf32-i386 $@.64 $@

$(RDMABREAK): tests/rdma/break.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared -o $@ $<

.PHONY: rdma-programs check-rdma
rdma-programs: $(RDMAGUEST) $(RDMABREAK)
check-rdma: $(BUILD)/twinstep rdma-programs
	$(Q)BUILD=$(BUILD) tests/run tests/rdma/rdma.sh
