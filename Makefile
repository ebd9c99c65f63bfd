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
# gold links a sanitizer's program in half of the time.
GOLD := $(if $(shell command -v ld.gold),-fuse-ld=gold)
LDFLAGS := $(if $(SAN),$(GOLD)) $(LDFLAGS)
CPPFLAGS += -I. -D_GNU_SOURCE -MMD -MP
CFLAGS := $(OPT) -std=gnu11 -pthread $(WARN) -fno-strict-aliasing $(SANFLAGS) $(CFLAGS)
LDLIBS := -lZydis -lZycore -lxxhash -lzstd -lz -lbz2 -llzma -llz4 -lpcap -lssl -lcrypto -lurcu-cds -lurcu-memb -lurcu-common -lseccomp -lcap-ng -ljansson -lsqlite3 -lm -pthread

LIBDIRS := base hypervisor hypervisor/soft hypervisor/devices hypervisor/boot hypervisor/vmx record net isolation replica host
LIBSRC := $(foreach d,$(LIBDIRS),$(wildcard $(d)/*.c))
TOOLSRC := $(wildcard tools/*.c)
UNITSRC := $(wildcard tests/*/test_*.c tests/*/*/test_*.c)

LIBOBJ := $(LIBSRC:%.c=$(BUILD)/obj/%.o)
TOOLOBJ := $(TOOLSRC:%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/libtwinstep.a
UNITBIN := $(UNITSRC:%.c=$(BUILD)/%)

.PHONY: all lib unit units man install-man deb check-unit setup guest guest-postgres guest-fio guest-spec demo soak-pair soak-record check check-quick san fuzz clang-warnings bench install uninstall format check-format clean help
all: $(BUILD)/twinstep

lib: $(LIB)

$(BUILD)/twinstep: $(TOOLOBJ) $(LIB)
	@echo "  LD  $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(TOOLOBJ) $(LIB) $(LDLIBS)

$(LIB): $(LIBOBJ)
	@echo "  AR  $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIBOBJ)

# What ACPI says of the machine, as bytes in C.
$(BUILD)/gen/%.hex: hypervisor/boot/%.asl
	@mkdir -p $(@D)
	@echo "  IASL  $<"
	$(Q)iasl -vs -vi -tc -p $(@D)/$* $< >$(@D)/$*.log 2>&1 || { cat $(@D)/$*.log; rm -f $@; exit 1; }

$(BUILD)/obj/hypervisor/boot/acpi.o: $(BUILD)/gen/dsdt.hex
$(BUILD)/obj/hypervisor/boot/acpi.o: CPPFLAGS += -I$(BUILD)/gen

# The option ROM of --boot cdrom, likewise.
$(BUILD)/gen/eltorito.hex: hypervisor/boot/eltorito.S
	@mkdir -p $(@D)
	@echo "  ROM $<"
	$(Q)$(CC) -m32 -nostdlib -static -Wl,-Ttext=0,--oformat=binary,--build-id=none -o $(@:.hex=.rom) $<
	$(Q)od -An -v -tx1 $(@:.hex=.rom) | sed 's/ \(..\)/0x\1,/g' >$@.new && mv $@.new $@

$(BUILD)/obj/hypervisor/boot/eltorito.o: $(BUILD)/gen/eltorito.hex
$(BUILD)/obj/hypervisor/boot/eltorito.o: CPPFLAGS += -I$(BUILD)/gen

# The exporter's page, as a string in C.
$(BUILD)/gen/tools/exporter_page.inc: tools/exporter.html
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	$(Q)sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' $< >$@

$(BUILD)/obj/tools/cmd_exporter.o: $(BUILD)/gen/tools/exporter_page.inc
$(BUILD)/obj/tools/cmd_exporter.o: CPPFLAGS += -I$(BUILD)/gen

# The package's version is the program's.
$(BUILD)/obj/base/version.o: debian/changelog
$(BUILD)/obj/base/version.o: CPPFLAGS += -DTWINSTEP_VERSION='"$(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)"'

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) -lcheck -lsubunit -lrt $(LDLIBS)

unit: $(UNITBIN) $(BUILD)/tests/replica/ask

check-unit: $(UNITBIN) $(BUILD)/tests/replica/ask
	$(Q)tests/run $(UNITBIN)

include tests/isa/rules.mk tests/guest/rules.mk tests/vtx/rules.mk tests/vmx/rules.mk tests/isolation/rules.mk tests/rdma/rules.mk

GUEST := $(BUILD)/guest/initramfs
GUESTSRC := $(filter-out %/postgres.sh,$(wildcard tools/guest/*))
GUESTBIN := $(BUILD)/guest-bin/cpubench

# The guest image: Debian's kernel, busybox, redis, fetched with apt and unpacked, not installed.
guest: $(GUEST)

$(GUEST): $(GUESTSRC) $(GUESTBIN)
	$(Q)CC="$(CC)" tools/guest/build.sh $(BUILD) $(GUESTBIN)

# A disk with PostgreSQL for that guest, and what stands between it and twinstep in the test.
guest-postgres: $(BUILD)/guest-postgres/disk.img $(BUILD)/tests/pair/diskdouble.so

$(BUILD)/guest-postgres/disk.img: tools/guest/postgres.sh tools/guest/lib.sh $(GUEST)
	$(Q)tools/guest/postgres.sh $(BUILD)

# A disk with fio for that guest (make bench).
guest-fio: $(BUILD)/guest-fio/disk.img

$(BUILD)/guest-fio/disk.img: tools/guest/fio.sh tools/guest/lib.sh $(GUEST)
	$(Q)tools/guest/fio.sh $(BUILD)

# Programs for the benchmark spec: 7z, openssl, sqlite3, python3, gcc.
guest-spec: $(BUILD)/guest-spec/initramfs

$(BUILD)/guest-spec/initramfs: $(wildcard tools/bench/spec/*) tools/guest/lib.sh $(GUEST)
	$(Q)tools/bench/spec/build.sh $(BUILD)

$(BUILD)/tests/pair/diskdouble.so: tests/pair/diskdouble.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

$(BUILD)/guest-bin/%: tools/bench/%.c
	@mkdir -p $(@D)
	@echo "  GUEST  $<"
	$(Q)$(CC) -O2 -Wall -Wextra -static -s -Wl,--build-id=none -o $@ $<

# Targets that build several things use every CPU unless told otherwise by -j.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
SUBMAKE = $(MAKE) $(JOBS) --no-print-directory

# Debian packages that building and testing need; a no-op when they are there.
setup:
	$(Q)tools/setup.sh

# The kernel module, for the kernel that runs, or KERNEL=6.1.0-50-amd64; DKMS does the same (dkms.conf).
KERNEL ?= $(shell uname -r)
KERNELHDR ?= /lib/modules/$(KERNEL)/build
MODULEBUILD := $(BUILD)/module/$(KERNEL)
.PHONY: module check-module
module:
	@[ -e "$(KERNELHDR)/Makefile" ] || { echo "$(KERNELHDR) is missing: apt-get install linux-headers-$(KERNEL)" >&2; exit 1; }
	$(Q)mkdir -p $(MODULEBUILD) && cp -u hypervisor/vmx/module/* $(MODULEBUILD)/
	$(Q)$(MAKE) -C $(KERNELHDR) M=$(abspath $(MODULEBUILD)) modules
	@echo "  MODULE  $(MODULEBUILD)/twinstep-vmx.ko"

# It builds without a warning for Debian's kernels, whose headers are downloaded, not installed.
check-module:
	$(Q)BUILD=$(BUILD) tests/run tests/vtx/kernels.sh

demo: setup
	+$(Q)$(SUBMAKE) all guest
	$(Q)BUILD=$(BUILD) tests/pair/pair.sh tools/demo.py

# The command and the unit tests under the address and undefined-behaviour sanitizers. With SAN=thread under
# ThreadSanitizer, in a directory of its own; then the unit tests and a pair run as well.
SANBUILD := $(BUILD)/san
SANOPT := -O1 -g1
TSANBUILD := $(BUILD)/tsan
SANUNIT := $(UNITSRC:%.c=$(SANBUILD)/%)
TSANUNIT := $(UNITSRC:%.c=$(TSANBUILD)/%)
TSANMAKE = $(SUBMAKE) BUILD=$(TSANBUILD) SAN=thread OPT="$(SANOPT)"
ifeq ($(SAN),thread)
san:
	+$(Q)$(SUBMAKE) SAN= all guest
	+$(Q)$(TSANMAKE) all unit
	$(Q)BUILD=$(BUILD) tests/run $(TSANUNIT) tests/e2e/races.sh
else
san:
	+$(Q)$(SUBMAKE) BUILD=$(SANBUILD) SAN=address,undefined OPT="$(SANOPT)" all unit
endif

# Fuzzers (libFuzzer, so clang): $(BUILD)/fuzz/tests/fuzz/fuzz_NAME. With FUZZ_SECONDS they run, for so long together.
FUZZBUILD := $(BUILD)/fuzz
FUZZSRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZBIN := $(FUZZSRC:%.c=$(FUZZBUILD)/%)
CLANG ?= clang
fuzz:
	+$(Q)$(SUBMAKE) BUILD=$(FUZZBUILD) CC="$(CLANG)" SAN=fuzzer-no-link,address,undefined OPT="$(SANOPT) -DSTUCK_DELIVERIES=2000u" lib
	+$(Q)$(SUBMAKE) FUZZING=1 $(FUZZBIN)
	$(if $(FUZZ_SECONDS),$(Q)BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh)

$(FUZZBUILD)/tests/fuzz/%: tests/fuzz/%.c $(FUZZBUILD)/libtwinstep.a
	@mkdir -p $(@D)
	@echo "  FUZZ  $<"
	$(Q)$(CLANG) $(CPPFLAGS) -O1 -g -std=gnu11 -pthread $(WARN) -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all $(GOLD) -o $@ $< $(FUZZBUILD)/libtwinstep.a $(LDLIBS)

# What clang has to say of all that the fuzzers' build does not compile.
SAID := $(TOOLSRC) $(UNITSRC) tests/replica/ask.c
clang-warnings: $(SAID:%.c=$(BUILD)/clang/%.said)

$(BUILD)/clang/%.said: %.c
	@mkdir -p $(@D)
	@echo "  CLANG  $<"
	$(Q)$(CLANG) $(CPPFLAGS) -MF $(@:.said=.d) -MT $@ $(CFLAGS) -fsyntax-only $<
	$(Q)touch $@
$(BUILD)/clang/tools/cmd_exporter.said: $(BUILD)/gen/tools/exporter_page.inc
$(BUILD)/clang/tools/cmd_exporter.said: CPPFLAGS += -I$(BUILD)/gen

# Everything that this host allows. The last line adds it all up; nothing is built while tests run. Of what may run side
# by side the longest comes first.
LONGEST := $(firstword $(VTXTESTS)) tests/e2e/pair.sh tests/e2e/jail.sh $(wordlist 2,9,$(VTXTESTS)) tests/fuzz/run.sh
CHECKS := $(LONGEST) "$(BUILD)/tests/isa/isa --count 300000" tests/isa/golden.sh tests/soft/translated.sh \
	$(filter-out $(LONGEST) %/lib.sh,$(wildcard tests/e2e/*.sh)) $(wildcard tests/accidents/*.sh) \
	$(SANUNIT) $(UNITBIN) tests/guest/run.sh tests/rdma/rdma.sh tests/model/failover.sh $(wildcard tests/scripts/*.sh)
check: setup
	+$(Q)$(SUBMAKE) all unit guest guest-postgres guest-programs vtx-programs rdma-programs isolation-programs isa $(BUILD)/tests/model/table
	+$(Q)$(SUBMAKE) san fuzz clang-warnings
	+$(Q)$(TSANMAKE) all
	$(Q)BUILD=$(BUILD) FUZZ_SEED=1 tests/run $(CHECKS)

# For the daily loop, 3 minutes: units, guest programs, one replay, one failover.
check-quick:
	+$(Q)$(SUBMAKE) all unit guest guest-programs
	$(Q)BUILD=$(BUILD) tests/run tests/e2e/logfile.sh "tests/e2e/pair.sh failover.primary-kill" $(UNITBIN) tests/guest/run.sh

# Long runs on demand; make check has short ones.
SOAK ?= 100
soak-pair: setup
	+$(Q)$(SUBMAKE) all guest
	$(Q)BUILD=$(BUILD) tests/pair/pair.sh soak.py --count $(SOAK)

# Recordings of a minute each under load, replayed: every digest and the console equal.
soak-record: setup
	$(Q)$(MAKE) --no-print-directory all guest
	$(Q)BUILD=$(BUILD) tests/soak/record.sh

# All, or those that are named: `make bench rdma`.
BENCHES := boot cpu spec memory redis exits record record-redis campaign walk pair disks join jail neighbours rdma
wanted = $(filter $(1),$(or $(filter $(BENCHES),$(MAKECMDGOALS)),$(BENCHES)))
bench: setup
	+$(Q)$(SUBMAKE) all guest $(if $(call wanted,disks),guest-postgres guest-fio) $(if $(call wanted,spec),guest-spec)
	$(Q)BUILD=$(BUILD) tools/bench/run.sh $(filter $(BENCHES),$(MAKECMDGOALS))
ifneq ($(filter bench,$(MAKECMDGOALS)),)
.PHONY: $(BENCHES)
$(BENCHES): bench
	@:
endif

BASH_COMPLETION := share/bash-completion/completions/twinstep
UNITS := twinstep@.service twinstep.target twinstep.slice twinstep-arbiter.service twinstep-exporter.service
UNITDIR ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
OCFDIR ?= $(PREFIX)/lib/ocf/resource.d/twinstep
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

$(BUILD)/systemd/%.service: tools/systemd/%.service.in
	@mkdir -p $(@D)
	$(Q)sed 's|@BINDIR@|$(PREFIX)/bin|' $< >$@

$(BUILD)/systemd/%: tools/systemd/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

units: $(UNITS:%=$(BUILD)/systemd/%) $(BUILD)/systemd/twinstep.tmpfiles $(BUILD)/systemd/twinstep.sysusers

install: all units
	install -D -m 755 $(BUILD)/twinstep "$(DESTDIR)$(PREFIX)/bin/twinstep"
	install -D -m 644 docs/twinstep.1 "$(DESTDIR)$(PREFIX)/share/man/man1/twinstep.1"
	$(BUILD)/twinstep completion bash >$(BUILD)/completion.bash
	install -D -m 644 $(BUILD)/completion.bash "$(DESTDIR)$(PREFIX)/$(BASH_COMPLETION)"
	install -D -m 755 -t "$(DESTDIR)$(PREFIX)/lib/twinstep" tools/image.py tools/debian-disk.sh tools/bootdisk.py
	install -D -m 755 -t "$(DESTDIR)$(OCFDIR)" tools/ocf/twinstep
	install -d "$(DESTDIR)$(UNITDIR)"
	install -m 644 $(UNITS:%=$(BUILD)/systemd/%) "$(DESTDIR)$(UNITDIR)"
	install -D -m 644 $(BUILD)/systemd/twinstep.tmpfiles "$(DESTDIR)$(TMPFILESDIR)/twinstep.conf"
	install -D -m 644 $(BUILD)/systemd/twinstep.sysusers "$(DESTDIR)$(SYSUSERSDIR)/twinstep.conf"

# Manual pages of the subcommands, from their --help.
man: all
	$(Q)tools/man/subcommand.py $(BUILD)/twinstep $(BUILD)/man

install-man: man
	install -d "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 644 $(BUILD)/man/*.1 "$(DESTDIR)$(PREFIX)/share/man/man1"

# Debian packages, in $(BUILD)/deb; needs debhelper and dh-dkms.
DEBDIR := $(BUILD)/deb
deb:
	$(Q)rm -rf $(DEBDIR) && mkdir -p $(DEBDIR)/twinstep
	$(Q)git ls-files -z | xargs -0 cp --parents -t $(DEBDIR)/twinstep
	cd $(DEBDIR)/twinstep && DEB_BUILD_OPTIONS="nocheck parallel=$(shell nproc)" dpkg-buildpackage -b -us -uc
	$(Q)rm -rf $(DEBDIR)/twinstep

uninstall:
	rm -rf "$(DESTDIR)$(PREFIX)/lib/twinstep" "$(DESTDIR)$(OCFDIR)"
	rm -f "$(DESTDIR)$(PREFIX)/bin/twinstep" "$(DESTDIR)$(PREFIX)/share/man/man1/twinstep.1" \
		"$(DESTDIR)$(PREFIX)/$(BASH_COMPLETION)" $(UNITS:%="$(DESTDIR)$(UNITDIR)/%") "$(DESTDIR)$(TMPFILESDIR)/twinstep.conf" \
		"$(DESTDIR)$(SYSUSERSDIR)/twinstep.conf"

format:
	$(Q)git ls-files '*.c' '*.h' | xargs -r clang-format -i

check-format:
	$(Q)git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror

clean:
	$(Q)rm -rf $(BUILD)

help:
	@echo "make              build $(BUILD)/twinstep (V=1 shows the commands)"
	@echo "make setup        install the Debian packages that are missing (as root; else say which)"
	@echo "make guest        make $(BUILD)/guest/{vmlinuz,initramfs}: Debian's kernel, busybox, redis"
	@echo "make demo         show what it does: redis in a pair, a client, the primary killed"
	@echo "make check        all tests that this host allows"
	@echo "make guest-postgres  a disk with Debian's PostgreSQL for it"
	@echo "make guest-fio   a disk with Debian's fio for it"
	@echo "make guest-spec   an initramfs with 7z, openssl, sqlite3, python3 and gcc for make bench spec"
	@echo "make check-quick  unit tests, guest programs, one replay, one failover: 3 minutes"
	@echo "make check-unit   unit tests alone          make check-isa    the software CPU against this one"
	@echo "make check-guest  guest programs alone      make san, fuzz    sanitizer and fuzzer builds"
	@echo "make san SAN=thread          unit tests and a pair under ThreadSanitizer"
	@echo "make fuzz FUZZ_SECONDS=600   run the fuzzers for so long together"
	@echo "make clang-warnings  what clang has to say of the tools and unit tests; make fuzz compiles the rest"
	@echo "make soak-pair    SOAK=100 failovers at random moments under load"
	@echo "make soak-record  SOAK=20 recordings of SOAK_SECONDS=60 under load, replayed"
	@echo "make check-vtx    the VT-x engine in Bochs  make vtx-shell    a shell there"
	@echo "make check-rdma   pairs over RDMA, on SoftRoCE in QEMU"
	@echo "make check-vtx-smp    the same on two CPUs"
	@echo "make check-vtx-pmu    the same with performance counters, in a Bochs built from source"
	@echo "make module       the kernel module, for this kernel or KERNEL=..."
	@echo "make check-module builds it for Debian's 6.1 and 6.12"
	@echo "make bench        speed, beside QEMU's"
	@echo "make install      to PREFIX=$(PREFIX), with manual page and completion; make uninstall"
	@echo "make man          manual pages of the subcommands; make install-man"
	@echo "make deb          Debian packages, in $(BUILD)/deb"
	@echo "make format       clang-format over everything; make check-format"
	@echo "make clean        remove $(BUILD)"

-include $(shell find $(BUILD)/obj $(BUILD)/tests $(BUILD)/clang -name '*.d' -type f 2>/dev/null)
