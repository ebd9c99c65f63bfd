# SPDX-License-Identifier: GPL-2.0-or-later
# Guest programs: build/tests/guest/NAME.elf, one multiboot ELF32 each; NAME32 runs in 32-bit protected mode

GUESTPROG_SRC := $(wildcard tests/guest/*.c)
GUESTPROGS := $(GUESTPROG_SRC:%.c=$(BUILD)/%.elf)
GUESTHDR := $(wildcard tests/guest/*.h tests/guest/*.S) tests/guest/guest.ld
GUESTCFLAGS := -O1 -std=gnu11 -ffreestanding -fno-pic -fno-pie -mgeneral-regs-only -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-omit-frame-pointer \
	-Wall -Wextra -Werror -I. -nostdlib -static -Wl,--build-id=none -Wl,-T,tests/guest/guest.ld \
	-Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments

$(BUILD)/tests/guest/%32.elf: tests/guest/%32.c $(GUESTHDR)
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -m32 $(GUESTCFLAGS) -o $@ tests/guest/start32.S $<

$(BUILD)/tests/guest/%.elf: tests/guest/%.c $(GUESTHDR)
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -m64 -mno-red-zone $(GUESTCFLAGS) -o $@.64 tests/guest/start.S $<
	$(Q)objcopy -I elf64-x86-64 -O elf32-i386 $@.64 $@

.PHONY: guest-programs check-guest
guest-programs: $(GUESTPROGS)
check-guest: $(GUESTPROGS) $(BUILD)/twinstep
	$(Q)BUILD=$(BUILD) tests/run tests/guest/run.sh
