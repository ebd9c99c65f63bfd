#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What recording costs: the CPU program with and without, the replay of it, and how large logs are.
. "$(dirname "$0")/lib.sh"

# The CPU seconds of a whole command.
seconds() {
	local TIMEFORMAT='%U %S'
	{ time timeout 300 "$@" </dev/null >/dev/null 2>>"$work/err"; } 2>&1 | awk '{ print $1 + $2 }'
}
for _ in $(seq "$runs"); do
	twinstep_command twinstep.run=cpubench --clock host
	seconds "${cmd[@]}" >>"$work/plain"
	record_command twinstep.run=cpubench --clock host
	seconds "${cmd[@]}" >>"$work/recorded"
	seconds "$twinstep" replay --no-jail --quiet --console none "$work/log" >>"$work/replay"
	stat -c %s "$work/log" >>"$work/size"
done
record_command twinstep.run=true --clock host
seconds "${cmd[@]}" >/dev/null
boot=$(stat -c %s "$work/log")

"$twinstep" record --no-jail -o "$work/idle" --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline" --clock host --checkpoint 0 \
	</dev/null >"$work/console" 2>>"$work/err" &
background=$!
for _ in $(seq 300); do
	grep -aq '/ # ' "$work/console" && break
	sleep 0.1
done
sleep 5
before=$(stat -c %s "$work/idle")
sleep 20
after=$(stat -c %s "$work/idle")
kill "$background"
wait "$background"
background=

plain=$(median <"$work/plain") recorded=$(median <"$work/recorded") replay=$(median <"$work/replay")
row "boot and CPU program, CPU seconds" "without" "recording" "ratio"
row "  recording" "$plain" "$recorded" "$(ratio "$recorded" "$plain")"
row "" "recording" "replay" "ratio"
row "  replay" "$recorded" "$replay" "$(ratio "$replay" "$recorded")"
row "log" "boot" "with program" ""
row "  bytes" "$boot" "$(median <"$work/size")" ""
row "  bytes a second of an idle guest" "$(((after - before) / 20))" "" ""
