# SPDX-License-Identifier: GPL-2.0-or-later
# A program that tries control groups on a guest's kernel, as an initramfs to be put behind the guest image's.

CGROUP_GUEST := $(BUILD)/tests/isolation/guest
CGROUP_GUESTSRC := tests/isolation/guest/cgroup.c isolation/cgroup.c isolation/cgroup_find.c isolation/process.c base/err.c base/host_clock.c base/file_io.c

$(CGROUP_GUEST)/cgroup.cpio: $(CGROUP_GUESTSRC) $(wildcard isolation/*.h) tools/guest/newc.c
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -O1 -std=gnu11 $(WARN) -I. -D_GNU_SOURCE -static -s -o $(CGROUP_GUEST)/cgroup $(CGROUP_GUESTSRC) isolation/limits.c
	$(Q)$(CC) -O1 -Wall -o $(CGROUP_GUEST)/newc tools/guest/newc.c
	$(Q)printf 'file bin/cgroup 755 %s\n' $(CGROUP_GUEST)/cgroup | $(CGROUP_GUEST)/newc >$@

.PHONY: isolation-programs
isolation-programs: $(CGROUP_GUEST)/cgroup.cpio
