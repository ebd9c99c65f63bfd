#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody (or NTP) set the host's clock an hour forth and an hour back under a running pair and a recording.
# waits for the host: *
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" tests/accidents/chatter.S ||
	! ${CC:-gcc} -shared -fPIC -O1 -o "$work/clock.so" tests/accidents/clock.c; then
	not_ok build "cannot build guest and clock"
	exit 1
fi
set_clock() { python3 -c 'import struct, sys; open(sys.argv[1], "r+b").write(struct.pack("q", int(sys.argv[2])))' "$work/step" "$1"; }
head -c 8 /dev/zero >"$work/step"
export CLOCK_STEP=$work/step
stepped() { LD_PRELOAD=$work/clock.so "$@"; }
set_clock 3600
there=$(stepped date +%s) here=$(date +%s)
check double "the clock was not moved: $there, $here" [ $((there - here)) -gt 3500 ]
set_clock 0

# number NAME FIELD
number() { "$twinstep" status "$work/$1.sock" --json | sed "s/.*\"$2\": *\([0-9]*\).*/\1/"; }
# goes_on NAME: executes, and its time has not jumped with the host's.
goes_on() {
	local count now=$(number "$1" virtual_ns)
	count=$(number "$1" instructions)
	wait_for 20 eval "[ \$(number $1 instructions) -gt $((count + 100000)) ]" && [ $(($(number "$1" virtual_ns) - now)) -lt 1800000000000 ]
}
steps=(3600 -3600 0)

"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null
replica() {
	stepped "$twinstep" "$1" --key-file "$work/key" --arbiter "file:$work/arbiter" --timeout "${TIMEOUT:-10000}" --hang-timeout 30000 --console none \
		--control "$work/$1.sock" --events "$work/$1.events" "${@:2}" 2>"$work/$1.err" </dev/null &
	pid[$1]=$!
}
replica primary --kernel "$work/guest.elf" --listen "unix:$work/peer"
replica backup --connect "unix:$work/peer" --connect-wait 30000
check protected "$(cat "$work"/*.err)" wait_for 30 grep -q '"protected"' "$work/primary.events"
for step in "${steps[@]}"; do
	set_clock "$step"
	check "pair-$step" "the guest does not go on: $("$twinstep" status "$work/primary.sock")" goes_on primary
done
check pair-state "$(cat "$work"/*.events)" grep -q '"state": *"protected"' <("$twinstep" status "$work/primary.sock" --json)
check pair-quiet "$(cat "$work"/*.events)" eval "! grep -Eq '\"(unprotected|hang|slow-backup|divergence|asking)\"' '$work/primary.events'"
kill -9 "$(cat "/proc/${pid[primary]}/task/${pid[primary]}/children")"
check failover "$(cat "$work/backup.err")" wait_for 30 grep -q '"live"' "$work/backup.events"
set_clock -3600
check alone "the guest does not go on after the failover" goes_on backup
"$twinstep" stop "$work/backup.sock"
wait "${pid[@]}"
pid=()

# What was recorded while the clock was set is replayed, and its own time is even.
stepped "$twinstep" record -o "$work/log" --kernel "$work/guest.elf" --console none --clock host --control "$work/record.sock" \
	2>"$work/err" </dev/null &
pid[record]=$!
wait_for 20 test -S "$work/record.sock"
for step in "${steps[@]}"; do
	set_clock "$step"
	check "record-$step" "$(cat "$work/err")" goes_on record
done
"$twinstep" stop "$work/record.sock"
wait "${pid[record]}"
status=$?
pid=()
check recorded "status $status: $(cat "$work/err")" [ $status -eq 0 ]
timeout 300 "$twinstep" replay "$work/log" --console none >"$work/out" 2>&1
status=$?
check replayed "status $status: $(cat "$work/out")" [ $status -eq 0 ]
exit $failed
