#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hosts whose VT-x cannot be used, inside Bochs: each is told why, and nothing else happens.
# time limit: 1800 s
# beside others
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
status=0
# NAME, errno of CREATE, what `run` and `qualify` say.
try() {
	printf 'name=%s errno=%d text="%s"\n' "$1" "$2" "$3" >"$work/why"
	vtx_boot "vtx-$1" "$here/refuse.script" "$build/tests/guest/smc.elf" "$work/why" || status=1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Bochs' firmware writes "VT-x on, locked" to IA32_FEATURE_CONTROL; this one only locks it.
LC_ALL=C sed 's/\x0f\x32\(\x66\{0,1\}\)\x83\xc8\x05\x0f\x30/\x0f\x32\1\x83\xc8\x01\x0f\x30/' /usr/share/bochs/BIOS-bochs-latest \
	>"$work/bios"
cmp -s "$work/bios" /usr/share/bochs/BIOS-bochs-latest && echo "not ok refuse.locked.bios: nothing found to patch"
VTX_BIOS=$work/bios try locked 13 'the firmware has switched VT-x off and locked it'
MODEL=p4_prescott_celeron_336 try no-vtx 19 'this processor has no VT-x'
MODEL=core2_penryn_t9600 try no-ept 95 "this processor's VT-x lacks something"
exit "$status"
