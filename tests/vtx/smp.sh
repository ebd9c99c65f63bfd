#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module on two CPUs, inside Bochs.
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
CPUS=2 MEGS=320 VTX_CPU=400 vtx_boot vtx-smp "$here/smp.script" "$build"/tests/guest/{paging,intr,smc}.elf
