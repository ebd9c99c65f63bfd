#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An emergency restart (sysrq-b) with a VM on each of two CPUs, inside Bochs. It leads into the firmware by real mode, which
# a CPU cannot enter that is left in VMX operation; and one that is does not answer to the INIT by which it is started anew.
# Bochs' firmware sends the command to start right behind INIT, and Bochs loses it where INIT finds a CPU at work. So the
# other CPU is there after one more restart, before which nobody has touched it.
# time limit: 1800 s
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without a reset IA32_FEATURE_CONTROL stays locked, and Bochs' firmware faults where it writes to it: the kernel does instead.
LC_ALL=C sed 's/\x0f\x32\(\x66\{0,1\}\)\x83\xc8\x05\x0f\x30/\x0f\x32\1\x83\xc8\x05\x90\x90/' /usr/share/bochs/BIOS-bochs-latest \
	>"$work/bios"
cmp -s "$work/bios" /usr/share/bochs/BIOS-bochs-latest && echo "not ok restart.bios: nothing found to patch"
# APICs, too, are as the kernel has left them: their interrupts would have vectors for which the firmware has no handler.
export CPUS=2 MEGS=320 APPEND="reboot=bios noapic nolapic_timer" VTX_BIOS=$work/bios
vtx_boot vtx-restart "$here/restart.script"
