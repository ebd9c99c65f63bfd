#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU program while it is recorded, beside plain TCG, TCG with -icount and the host itself: CPU seconds of each
# kernel, taken outside because guest clocks are virtual, and whether its results are those of the host.
. "$(dirname "$0")/lib.sh"

instructions() {
	twinstep_command "$1" --clock virtual --console none --json
	"${cmd[@]}" | sed -n 's/.*"instructions":\([0-9]*\).*/\1/p'
}
# The program here: each kernel's result, and its CPU seconds: what it took itself, as nothing else waits in it.
native() {
	local TIMEFORMAT=%U used
	used=$({ time "$build/guest-bin/cpubench" >"$work/lines"; } 2>&1)
	# On a busy host the times of its own clock are too long: they are shares of the CPU time.
	awk -v used="$used" '$3 ~ /^[0-9]/ { name[NR] = $2; s[NR] = $3; sum[NR] = $5; if ($2 != "total") all += $3 }
		END { for (i in s) if (name[i] != "total") printf "%s.cpu %.4f\n%s.sum %s\n", name[i], used * s[i] / all, name[i], sum[i] }' "$work/lines"
}
for _ in $(seq "$runs"); do
	record_command twinstep.run=cpubench
	run "$work/twinstep" cpubench
	native >>"$work/native"
	[ -n "$qemu" ] || continue
	tcg_command twinstep.run=cpubench
	run "$work/tcg" cpubench
	qemu_command twinstep.run=cpubench
	run "$work/icount" cpubench
done
kernels=(crc32 xorshift sieve quicksort sha256)
# sum_of FILE: the medians of all kernels together
sum_of() { for k in "${kernels[@]}"; do median_of "$1" "$k.cpu"; done | awk '$1 == "-" { none = 1 } { n += $1 } END { print none ? "-" : n }'; }
table_head "CPU program, CPU seconds"
for k in "${kernels[@]}"; do
	table "  $k" $(for side in twinstep tcg icount native; do median_of "$work/$side" "$k.cpu"; done)
	for side in twinstep tcg icount; do
		wrong=$(awk -v k="$k.sum" 'NR == FNR { if ($1 == k) s = $2; next } $1 == k && $2 != s { print $2; exit }' \
			"$work/native" "$work/$side" 2>/dev/null)
		[ -z "$wrong" ] || row "  WRONG RESULT of $k ($side)" "$wrong" "" ""
	done
done
table "  all, recording" $(for side in twinstep tcg icount native; do sum_of "$work/$side"; done)
count=$(($(instructions twinstep.run=cpubench) - $(instructions twinstep.run=true)))
row "  million instructions a second" "$(awk -v n="$count" -v t="$(sum_of "$work/twinstep")" 'BEGIN { printf "%.0f", n / t / 1e6 }')" "" ""
