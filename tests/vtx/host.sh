#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module and the rest of the host: KVM, suspend and hibernation, large pages. Inside Bochs.
# time limit: 1800 s
# beside others
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
MEGS=320 vtx_boot vtx-host "$here/host.script" "$image"/kvm/*.ko "$build"/tests/vtx/guest/serial.elf
