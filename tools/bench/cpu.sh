#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU program: CPU seconds of each kernel, taken outside because guest clocks are virtual, and whether its results
# are those of the host.
. "$(dirname "$0")/lib.sh"

instructions() {
	twinstep_command "$1" --clock virtual --console none --json
	"${cmd[@]}" | sed -n 's/.*"instructions":\([0-9]*\).*/\1/p'
}
for _ in $(seq "$runs"); do
	twinstep_command twinstep.run=cpubench --clock virtual
	run "$work/t" cpubench
	[ -n "$qemu" ] || continue
	qemu_command twinstep.run=cpubench
	run "$work/q" cpubench
done
"$build/guest-bin/cpubench" >"$work/native"
row "CPU program, CPU seconds" "twinstep" "qemu" "ratio"
all_t=0 all_q=0
for k in crc32 xorshift sieve quicksort sha256; do
	t=$(median_of "$work/t" $k.cpu) q=$(median_of "$work/q" $k.cpu)
	row "  $k" "$t" "$q" "$(ratio "$t" "$q")"
	all_t=$(awk "BEGIN { print $all_t + $t }") all_q=$(awk -v a="$all_q" -v b="$q" 'BEGIN { print a + b }')
	for side in t q; do
		wrong=$(awk -v k=$k 'NR == FNR { if ($2 == k) s = $5; next } $1 == k ".sum" && $2 != s { print $2; exit }' \
			"$work/native" "$work/$side" 2>/dev/null)
		[ -z "$wrong" ] || row "  WRONG RESULT of $k ($side)" "$wrong" "" ""
	done
done
row "  all" "$all_t" "$all_q" "$(ratio "$all_t" "$all_q")"
count=$(($(instructions twinstep.run=cpubench) - $(instructions twinstep.run=true)))
row "  million instructions a second" "$(awk -v n="$count" -v t="$all_t" 'BEGIN { printf "%.0f", n / t / 1e6 }')" "" ""
