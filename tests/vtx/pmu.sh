#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The VT-x engine on a processor with performance counters and the monitor trap flag: a Bochs of our own (pmu/build.sh). The
# overflow interrupt comes up to 40 instructions late; in a second boot every third one is lost. Part of no other target.
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
why=$(tests/vtx/pmu/build.sh "$build" 2>&1)
case $? in
0) ;;
77)
	echo "skip vtx.pmu: $why"
	exit 0
	;;
*)
	echo "not ok vtx.pmu.build: $why"
	exit 1
	;;
esac
VTX_BOCHS=$(realpath "$build")/vtx-bochs/bochs
export VTX_BOCHS
vtx_boot vtx.pmu "$here/pmu.script" "$build"/tests/guest/*.elf "$build"/tests/vtx/guest/*.elf
status=$?
BOCHS_PMU_LOSE=3 vtx_boot vtx.pmu.lossy "$here/pmu-lossy.script" "$build"/tests/guest/*.elf || status=1
exit $status
