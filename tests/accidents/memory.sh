#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An operator gave a machine more memory than 4 GiB, and disks that are larger.
# waits for the host: protected failover* pair restore* run-status
. "$(dirname "$0")/../e2e/lib.sh"
program=$(ls "$build"/tests/guest/priv*.elf 2>/dev/null | head -n 1)
[ -n "$program" ] || {
	skip all "no guest programs; run make guest-programs"
	exit 0
}
with() { timeout 600 "$twinstep" "$1" --kernel "$program" --console none --reserve off --clock virtual "${@:2}" >"$work/out" 2>&1; }

for size in 4097M 5G 64G; do
	with run --memory $size
	status=$?
	check "run-$size" "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]
done
with record --memory 5G -o "$work/log"
status=$?
check record-5G "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]
timeout 600 "$twinstep" replay --reserve off "$work/log" >"$work/out" 2>&1
status=$?
check replay-5G "status $status: $(tail -n 2 "$work/out")" [ "$status" -eq 0 ]

# A snapshot of 5 GiB, of which the guest has touched little; a pair, its join and its failover.
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" tests/accidents/chatter.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
export XDG_RUNTIME_DIR=$work # where sockets with names are, but for root
big=(--kernel "$work/guest.elf" --memory 5G --reserve off --console none)
# wide NAME: the machine has 5 GiB.
wide() { wait_for 30 eval "'$twinstep' status '$work/$1.sock' --json | grep -q '\"memory\": *5368709120'"; }
"$twinstep" run "${big[@]}" --clock host --control "$work/run.sock" 2>"$work/err" </dev/null &
pid[run]=$!
check run-status "$(cat "$work/err")" wide run
read -r inner <"/proc/${pid[run]}/task/${pid[run]}/children"
limit=$(sed -n 's/^Max file size *\([a-z0-9]*\).*/\1/p' "/proc/${inner:-${pid[run]}}/limits")
check file-limit "a file may have $limit bytes" eval "[ '$limit' = unlimited ] || [ '${limit:-0}' -gt 68719476736 ]"
"$twinstep" snapshot "$work/run.sock" "$work/snapshot" >/dev/null 2>"$work/err2"
check snapshot "$(cat "$work/err2")" [ -s "$work/snapshot" ]
"$twinstep" stop "$work/run.sock"
wait "${pid[run]}"
"$twinstep" run --restore "$work/snapshot" --reserve off --console none --clock host --control "$work/restore.sock" 2>"$work/err" </dev/null &
pid[run]=$!
check restore "$(cat "$work/err")" wide restore
"$twinstep" stop "$work/restore.sock"
wait "${pid[run]}"
status=$?
check restored "status $status: $(cat "$work/err")" [ $status -eq 0 ]

# Files that grow longer than 4 GiB: a console that goes on behind what is there, and a log, which has no limit.
truncate -s 5G "$work/long"
echo x | timeout 600 "$twinstep" run --kernel "$work/guest.elf" --console stdio >>"$work/long" 2>"$work/err"
status=$?
check long-console "status $status: $(cat "$work/err")" eval "[ $status -eq 0 ] && [ \"\$(tail -c +5368709121 '$work/long' | head -n 1)\" = 00000000 ]"
"$twinstep" record -o "$work/log" --force --kernel "$work/guest.elf" --console none --clock host --control "$work/record.sock" 2>"$work/err" </dev/null &
pid[run]=$!
wait_for 30 test -S "$work/record.sock"
number() { "$twinstep" status "$work/record.sock" --json | sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }
limit=$(sed -n 's/^Max file size *\([a-z0-9]*\).*/\1/p' "/proc/$(number pid)/limits")
check log-limit "a log may have $limit bytes" [ "$limit" = unlimited ]
"$twinstep" stop "$work/record.sock"
wait "${pid[run]}"
status=$?
check log-end "status $status: $(cat "$work/err")" [ $status -eq 0 ]

"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null
common=(--key-file "$work/key" --arbiter "file:$work/arbiter" --timeout 10000 --reserve off)
"$twinstep" primary "${common[@]}" "${big[@]}" --events "$work/events" --listen "unix:$work/peer" 2>"$work/err" </dev/null &
pid[primary]=$!
"$twinstep" backup "${common[@]}" --console none --events "$work/events2" --control "$work/backup.sock" --connect "unix:$work/peer" \
	--connect-wait 30000 2>"$work/err2" </dev/null &
pid[backup]=$!
check protected "$(cat "$work/err" "$work/err2")" wait_for 60 grep -q '"protected"' "$work/events"
kill -9 "$(cat "/proc/${pid[primary]}/task/${pid[primary]}/children")"
check failover "$(cat "$work/err2")" wait_for 30 grep -q '"live"' "$work/events2"
"$twinstep" stop "$work/backup.sock"
wait "${pid[backup]}"
status=$?
check failover-end "status $status: $(cat "$work/err2")" [ $status -eq 0 ]
"$twinstep" pair "${big[@]}" --name "wide$$" 2>"$work/err" </dev/null &
pid=([pair]=$!)
check pair "$(cat "$work/err")" wait_for 60 eval '"$twinstep" status "wide$$-a" --json | grep -q protected || "$twinstep" status "wide$$-b" --json | grep -q protected'
kill "${pid[pair]}"
wait "${pid[pair]}"

# Disks and overlays behind 4 GiB: what is written there is there.
if [ -f "$vmlinuz" ]; then
	truncate -s 6G "$work/disk.img" "$work/base.img"
	script='for d in vda vdb; do echo $d-at-the-end | dd of=/dev/$d bs=1M seek=5000 conv=notrunc,fsync && dd if=/dev/$d bs=1M skip=5000 count=1'
	script+=' | head -n 1 | grep -q $d-at-the-end || exit 9; done 2>/dev/null'
	timeout 300 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --disk "$work/disk.img" --disk "$work/base.img,overlay" \
		--append "$cmdline \"twinstep.run=$script\"" --console "$work/out" 2>"$work/err" </dev/null
	status=$?
	check disks "status $status: $(tail -n 3 "$work/err" "$work/out")" [ $status -eq 0 ]
	check disk-content "$(tail -n 3 "$work/out")" eval 'dd if="$work/disk.img" bs=1M skip=5000 count=1 2>/dev/null | grep -aq vda-at-the-end'
	check base-untouched "the base has been written" [ "$(du -k "$work/base.img" | cut -f 1)" -lt 64 ]
fi
exit $failed
