#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a machine takes of the host's memory beyond the guest's own, after booting to an idle shell.
. "$(dirname "$0")/lib.sh"
twinstep_command '' --clock host
"${cmd[@]}" </dev/null >"$work/console" 2>"$work/err" &
pid=$! background=$!
sleep 0.2
for _ in $(seq 300); do
	grep -aq '/ # ' "$work/console" && break
	sleep 0.1
done
awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = /memfd:/ } /^Rss:/ { if (guest) g += $2; else o += $2 }
	END { printf "%.1f %.1f\n", g / 1024, o / 1024 }' "/proc/$pid/smaps" >"$work/m"
kill "$pid"
wait 2>/dev/null
background=
row "memory, MiB" "guest" "beyond it" ""
row "  resident after boot" "$(cut -d' ' -f1 "$work/m")" "$(cut -d' ' -f2 "$work/m")" ""
