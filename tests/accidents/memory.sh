#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An operator gave a machine more memory than 4 GiB.
. "$(dirname "$0")/../e2e/lib.sh"
program=$(ls "$build"/tests/guest/priv*.elf 2>/dev/null | head -n 1)
[ -n "$program" ] || {
	skip all "no guest programs; run make guest-programs"
	exit 0
}
with() { timeout 60 "$twinstep" "$1" --kernel "$program" --console none --reserve off --clock virtual "${@:2}" >"$work/out" 2>&1; }

for size in 4097M 5G 64G; do
	with run --memory $size
	status=$?
	check "run-$size" "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]
done
with record --memory 5G -o "$work/log"
status=$?
check record-5G "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]
timeout 60 "$twinstep" replay --reserve off "$work/log" >"$work/out" 2>&1
status=$?
check replay-5G "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]

exit $failed
