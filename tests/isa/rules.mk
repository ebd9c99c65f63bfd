# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU against silicon: build/tests/isa/isa

ISA_SRC := $(wildcard tests/isa/*.c)
ISA_OBJ := $(ISA_SRC:%.c=$(BUILD)/obj/%.o)

$(BUILD)/tests/isa/isa: $(ISA_OBJ) $(LIB)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(ISA_OBJ) $(LIB) $(LDLIBS)

.PHONY: isa check-isa
isa: $(BUILD)/tests/isa/isa
check-isa: $(BUILD)/tests/isa/isa
	$(Q)BUILD=$(BUILD) tests/run $(BUILD)/tests/isa/isa tests/isa/golden.sh
