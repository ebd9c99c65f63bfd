#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What an experiment of a campaign costs from the nearest checkpoint, against a replay from boot.
# CAMPAIGN_BENCH (30): experiments, on the boot of Debian's kernel.
. "$(dirname "$0")/lib.sh"
count=${CAMPAIGN_BENCH:-30}

record_command twinstep.run=true --clock virtual --checkpoint 0
timeout 600 "${cmd[@]}" </dev/null >/dev/null 2>>"$work/err"
end=$("$twinstep" log "$work/log" | awk '/^end / { print $NF }')
# The CPU seconds of a whole command.
seconds() {
	local TIMEFORMAT='%U %S'
	{ time timeout 3600 "$@" </dev/null >/dev/null 2>>"$work/err"; } 2>&1 | awk '{ print $1 + $2 }'
}
boot=$(seconds "$twinstep" replay --no-jail --quiet --console none "$work/log")
# Faults in the last tenth: what is tested runs after a boot.
cat >"$work/plan.json" <<END
{"log": "$work/log", "experiments": $count, "from": $((end / 10 * 9)), "bound": 10000000, "faults": [{"place": "register"}]}
END
all=$(seconds "$twinstep" campaign run --no-jail "$work/plan.json" -o "$work/db")
sed "s/\"experiments\": $count/\"experiments\": 1/" "$work/plan.json" >"$work/one.json"
one=$(seconds "$twinstep" campaign run --no-jail "$work/one.json" -o "$work/one")
each=$(awk -v a="$all" -v o="$one" -v n="$count" 'BEGIN { print (n > 1 && a > o ? (a - o) / (n - 1) : "-") }')
row "experiments an hour of CPU" "from boot" "checkpoints" "ratio"
row "  register flips, last tenth of boot" "$(awk -v s="$boot" 'BEGIN { printf "%.0f", 3600 / s }')" \
	"$(awk -v s="$each" 'BEGIN { printf "%.0f", (s > 0 ? 3600 / s : 0) }')" "$(ratio "$boot" "$each")"
row "  CPU seconds each" "$boot" "$each" ""
