# SPDX-License-Identifier: GPL-2.0-or-later
# VT-x tests: programs that run inside Bochs, and their guests

VTXPROGS := $(addprefix $(BUILD)/tests/vtx/,step isolation fuzz huge smp create kvmguest hold crash cmos)
VTXTESTS := $(addprefix tests/vtx/,run.sh host.sh refuse.sh mitigations.sh)
VTXGUESTS := $(patsubst %.c,$(BUILD)/%.elf,$(wildcard tests/vtx/guest/*.c))

$(BUILD)/obj/tests/vtx/code.o: tests/vtx/code.S
	@mkdir -p $(@D)
	@echo "  AS  $<"
	$(Q)$(CC) -c -o $@ $<

$(VTXPROGS): $(BUILD)/tests/vtx/%: tests/vtx/%.c tests/vtx/rig.h $(BUILD)/obj/tests/vtx/code.o $(LIB)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/obj/tests/vtx/code.o $(LIB) $(LDLIBS)

$(BUILD)/tests/vtx/guest/%.elf: tests/vtx/guest/%.c tests/vtx/guest/com.h $(GUESTHDR)
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -m64 -mno-red-zone $(GUESTCFLAGS) -o $@.64 tests/guest/start.S $<
	$(Q)objcopy -I elf64-x86-64 -O elf32-i386 $@.64 $@

.PHONY: vtx-programs check-vtx check-vtx-smp vtx-shell check-vtx-linux
vtx-programs: $(VTXPROGS) $(VTXGUESTS)
check-vtx: $(BUILD)/twinstep guest-programs vtx-programs
	$(Q)BUILD=$(BUILD) tests/run $(VTXTESTS)

# Two CPUs inside Bochs; a crash and an emergency restart of the host with VMs; the shell of vtx-shell.
check-vtx-smp: $(BUILD)/twinstep guest-programs vtx-programs
	$(Q)BUILD=$(BUILD) tests/run tests/vtx/smp.sh tests/vtx/crash.sh tests/vtx/restart.sh tests/vtx/shell.sh

# A shell inside Bochs, on this terminal; `exit` powers off.
vtx-shell: $(BUILD)/twinstep guest-programs vtx-programs
	$(Q)tests/vtx/build.sh $(BUILD) $(BUILD)/twinstep $(VTXPROGS)
	$(Q)VTX_TTY=$$(tty) VTX_TIMEOUT=86400 VTX_CPU=86400 tests/vtx/boot.sh $(BUILD) tests/vtx/shell.script $(GUESTPROGS) $(VTXGUESTS)

# Debian's kernel as a guest under the module, inside Bochs: minutes.
check-vtx-linux: $(BUILD)/twinstep vtx-programs guest-programs guest
	$(Q)BUILD=$(BUILD) TEST_TIMEOUT=3000 tests/run tests/vtx/linux.sh

# The same on a processor with performance counters: builds a Bochs from source first (minutes).
.PHONY: check-vtx-pmu
check-vtx-pmu: $(BUILD)/twinstep guest-programs vtx-programs
	$(Q)BUILD=$(BUILD) CC="$(CC)" TEST_TIMEOUT=3000 tests/run tests/vtx/pmu.sh
