# SPDX-License-Identifier: GPL-2.0-or-later
# Twinstep. `make help` lists the targets; V=1 shows the commands.

BUILD ?= build
CC ?= cc
PREFIX ?= /usr/local
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wundef -Wstrict-prototypes -Wno-unused-parameter -Werror
OPT ?= -O2 -g
SAN ?=
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CPPFLAGS += -I. -D_GNU_SOURCE -MMD -MP
CFLAGS := $(OPT) -std=gnu11 -pthread $(WARN) -fno-strict-aliasing $(SANFLAGS) $(CFLAGS)
LDLIBS := -lZydis -lZycore -lxxhash -lzstd -lpcap -lssl -lcrypto -lurcu-cds -lurcu-memb -lseccomp -lcap-ng -ljansson -lm -pthread

LIBDIRS := base hypervisor hypervisor/soft hypervisor/devices hypervisor/boot hypervisor/vmx record net isolation replica
LIBSRC := $(foreach d,$(LIBDIRS),$(wildcard $(d)/*.c))
TOOLSRC := $(wildcard tools/*.c)
UNITSRC := $(wildcard tests/*/test_*.c tests/*/*/test_*.c)

LIBOBJ := $(LIBSRC:%.c=$(BUILD)/obj/%.o)
TOOLOBJ := $(TOOLSRC:%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/libtwinstep.a
UNITBIN := $(UNITSRC:%.c=$(BUILD)/%)

.PHONY: all lib unit check-unit guest format check-format clean help
all: $(BUILD)/twinstep

lib: $(LIB)

$(BUILD)/twinstep: $(TOOLOBJ) $(LIB)
	@echo "  LD  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(TOOLOBJ) $(LIB) $(LDLIBS)

$(LIB): $(LIBOBJ)
	@echo "  AR  $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIBOBJ)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) -lcheck -lsubunit -lrt $(LDLIBS)

unit: $(UNITBIN)

check-unit: $(UNITBIN)
	$(Q)tests/run $(UNITBIN)

include tests/isa/rules.mk tests/guest/rules.mk

GUEST := $(BUILD)/guest/initramfs
GUESTSRC := $(wildcard tools/guest/*)

# The guest image: Debian's kernel, busybox, redis, fetched with apt and unpacked, not installed.
guest: $(GUEST)

$(GUEST): $(GUESTSRC)
	$(Q)CC="$(CC)" tools/guest/build.sh $(BUILD)

format:
	$(Q)git ls-files '*.c' '*.h' | xargs -r clang-format -i

check-format:
	$(Q)git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror

clean:
	$(Q)rm -rf $(BUILD)

help:
	@echo "make          build $(BUILD)/twinstep"
	@echo "make guest    make the guest image $(BUILD)/guest/{vmlinuz,initramfs} from Debian packages"
	@echo "make clean    remove $(BUILD)"

-include $(shell find $(BUILD)/obj $(BUILD)/tests -name '*.d' -type f 2>/dev/null)
