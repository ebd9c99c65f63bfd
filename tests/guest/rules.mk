# SPDX-License-Identifier: GPL-2.0-or-later
# Guest programs: build/tests/guest/NAME.elf, one multiboot ELF32 each

GUESTPROG_SRC := $(wildcard tests/guest/*.c)
GUESTPROGS := $(GUESTPROG_SRC:%.c=$(BUILD)/%.elf)
GUESTCFLAGS := -O1 -std=gnu11 -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing -Wall -Wextra -Werror

$(BUILD)/tests/guest/%.elf: tests/guest/%.c tests/guest/start.S tests/guest/guest.ld $(wildcard tests/guest/*.h)
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -m64 $(GUESTCFLAGS) -I. -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-T,tests/guest/guest.ld \
		-Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments -o $@.64 tests/guest/start.S $<
	$(Q)objcopy -I elf64-x86-64 -O elf32-i386 $@.64 $@

.PHONY: guest-programs check-guest
guest-programs: $(GUESTPROGS)
check-guest: $(GUESTPROGS) $(BUILD)/twinstep
	$(Q)BUILD=$(BUILD) tests/run tests/guest/run.sh
