#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module and the rest of the host: KVM, suspend and hibernation, large pages. Inside Bochs.
# time limit: 1800 s
# beside others
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
# From 6.12 on KVM asks for the callback that the module holds while it has VMs: the kernel refuses that with a warning.
[ -z "${VTX_KERNEL:-}" ] || export VTX_WARNS='cpu_emergency_(un)?register_virt_callback'
MEGS=320 vtx_boot vtx-host "$here/host.script" "$image"/kvm/*.ko "$build"/tests/vtx/guest/serial.elf
