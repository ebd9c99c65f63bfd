#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU program: host seconds of each kernel. Guest clocks are virtual on both sides, so the time is taken outside,
# from line to line of the program's output.
. "$(dirname "$0")/lib.sh"

# Adds "NAME SECONDS" lines for one run to a file.
timed() {
	local out=$1 last=
	shift
	"$@" 2>>"$work/err" | while IFS= read -r line; do
		now=$EPOCHREALTIME
		line=${line%$'\r'}
		case $line in
		*'cpubench start'*) first=$now ;;
		*'cpubench total'*) awk -v a="$first" -v b="$now" 'BEGIN { printf "total %.4f\n", b - a }' >>"$out" ;;
		*cpubench*)
			set -- $line
			awk -v n="$2" -v a="$last" -v b="$now" 'BEGIN { printf "%s %.4f\n", n, b - a }' >>"$out"
			echo "$2 $5" >>"$out.sums"
			;;
		esac
		last=$now
	done
}

for _ in $(seq "$runs"); do
	timed "$work/t" run_twinstep "twinstep.run=cpubench" --clock virtual
	[ -z "$qemu" ] || timed "$work/q" run_qemu "twinstep.run=cpubench"
done
"$build/guest-bin/cpubench" | awk '$2 != "total" && $2 != "start" { print $2, $5 }' | sort >"$work/native"
for side in t q; do
	[ -f "$work/$side.sums" ] || continue
	sort -u "$work/$side.sums" | cmp -s - "$work/native" || echo "WRONG RESULTS ($side): $(sort -u "$work/$side.sums" | tr '\n' ' ')"
done
count=$(run_twinstep "twinstep.run=cpubench" --clock virtual --console none --json | sed -n 's/.*"instructions":\([0-9]*\).*/\1/p')
boot=$(run_twinstep "twinstep.run=true" --clock virtual --console none --json | sed -n 's/.*"instructions":\([0-9]*\).*/\1/p')
touch "$work/q"
row "CPU program, seconds" "twinstep" "qemu" "ratio"
for k in crc32 xorshift sieve quicksort sha256 total; do
	t=$(awk -v k=$k '$1 == k { print $2 }' "$work/t" | median) q=$(awk -v k=$k '$1 == k { print $2 }' "$work/q" | median)
	row "  $k" "$t" "$q" "$(ratio "$t" "$q")"
done
row "  million instructions a second" "$(awk -v n=$((count - boot)) -v t="$t" 'BEGIN { printf "%.0f", n / t / 1e6 }')" "" ""
