#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Machine version 1, which is asked for by its number: its recording replays, its snapshot goes on as the machine itself
# did and brings its version along, a pair of it loses its primary. What it does not have is refused with a word.
# MACHINE=1 runs any other script on it.
# waits for the host: snapshot pair no-button
# beside others
MACHINE=1
. "$(dirname "$0")/lib.sh"
need_guest
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }
head -c 1048576 /dev/zero >"$work/disk"

script='cat /proc/interrupts; ls /sys/firmware; dmesg | grep -c ACPI.*RSDP; i=0; while :; do cat /proc/interrupts | md5sum; sleep 0.1; md5sum /dev/vda; i=$((i+1)); echo round $i; done'
# rounds CONSOLE N: it has so many more than it had when the last number was kept.
rounds() { [ "$(grep -ac '^round' "$1")" -ge $((before + $2)) ]; }
timeout 600 "$twinstep" record -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" --disk "$work/disk,overlay" --clock virtual \
	--checkpoint 1 --console "$work/console" --control "$work/sock" \
	--append "$cmdline twinstep.run=\"$script\"" >"$work/out" 2>"$work/err" &
machine=$!
before=0
wait_for 60 rounds "$work/console" 2 || {
	not_ok boot "$(tail -n 3 "$work/err" "$work/console")"
	exit 1
}
"$twinstep" snapshot "$work/sock" "$work/snap" >"$work/out" 2>"$work/err2"
check snapshot "no snapshot: $(cat "$work/err2")" [ -s "$work/snap" ]
"$twinstep" powerdown "$work/sock" 2>"$work/err2"
status=$?
check no-button "status $status: $(cat "$work/err2")" eval "[ $status -eq 1 ] && grep -q 'no power button' '$work/err2'"
before=$(grep -ac '^round' "$work/console")
wait_for 60 rounds "$work/console" 4
"$twinstep" stop "$work/sock"
wait "$machine"
machine=
check legacy "interrupts do not come by the 8259" grep -aqE 'XT-PIC +(timer|ttyS0|virtio)' "$work/console"
check no-acpi "ACPI on version 1" eval "! grep -aqE '^acpi' '$work/console'"
check log-names-version "the log does not say which machine" grep -q '^machine *version 1' <("$twinstep" log "$work/log")
"$twinstep" replay "$work/log" --quiet --from-checkpoint last --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check replay "status $status: $(tail -n 3 "$work/err" "$work/out")" grep -q 'digests agree' "$work/err"

# No version is given here: the snapshot knows its own.
timeout 600 "$build/twinstep" run --restore "$work/snap" --disk "$work/disk,overlay" --clock virtual \
	--console "$work/console3" --control "$work/sock" >"$work/out" 2>"$work/err" &
machine=$!
before=0
wait_for 60 rounds "$work/console3" 3
"$twinstep" stop "$work/sock"
wait "$machine"
machine=
first=$(grep -ao -m 1 'round [0-9]*' "$work/console3")
for c in console console3; do tr -d '\r' <"$work/$c" | grep -a -A 6 "^$first\$" >"$work/$c.rest"; done
check restored "the restored machine went another way: $(tail -n 4 "$work/console3")" \
	eval "[ $(wc -l <"$work/console.rest") -eq 7 ] && cmp -s '$work/console.rest' '$work/console3.rest'"
"$twinstep" run --machine 2 --restore "$work/snap" --disk "$work/disk,overlay" >"$work/out" 2>"$work/err"
check restore-other "not refused: $(cat "$work/err")" grep -q 'holds a machine of version 1' "$work/err"

many=()
for i in $(seq 5); do many+=(--disk "$work/disk,overlay"); done
"$twinstep" run --kernel "$vmlinuz" "${many[@]}" >"$work/out" 2>"$work/err"
status=$?
check too-many "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && grep -q 'version 1 has at most 4' '$work/err'"

MACHINE=1 tests/e2e/pair.sh failover.primary-kill >"$work/out" 2>&1
if grep -q '^skip' "$work/out"; then
	skip pair "$(grep '^skip' "$work/out" | head -n 1)"
else
	check pair "$(tail -n 3 "$work/out")" grep -q '^ok failover.primary-kill' "$work/out"
fi
exit $failed
