#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# beside others
# The software CPU's own tests once more with every block translated as soon as it is entered: unit tests whose guests
# run many instructions, and golden vectors of silicon. The guest programs, which run translated by themselves, run
# interpreted.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
bad=0
# shown NAME COMMAND...: its lines, with the name before what it tests
shown() {
	local name=$1
	"${@:2}" 2>&1 | grep -E '^(ok|not ok|skip)' | sed -E "s/^(ok|not ok|skip) ([0-9]+ - )?/\1 $name./"
	[ "${PIPESTATUS[0]}" -eq 0 ] || bad=1
}
export SOFT_ENGINE=translate
for test in alu shift branch block run events order string mmu watch debug seg task intr msr collect sys_fuzz stress; do
	shown "translated.$test" "$build/tests/soft/test_$test"
done
shown translated "$build/tests/isa/isa" --seed 1000000 --count 200000 --reports 5
shown translated.golden "$build/tests/isa/isa" --against tests/isa/golden/intel-C06F2.bin.zst --reports 5
ENGINE=soft:interpret shown interpreted.guest tests/guest/run.sh
exit "$bad"
