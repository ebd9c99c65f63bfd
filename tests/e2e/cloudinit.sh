#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --cloud-init: the guest finds the disk; a recording, a snapshot and the other side of a pair have it with them when the
# files are gone; what cannot be is refused with a word.
# waits for the host: running snapshot restored protected sums live sums-after
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
kernel=(--kernel "$vmlinuz" --initrd "$initramfs")
mkdir "$work/files"
user=$work/files/user meta=$work/files/meta network=$work/files/network
again() {
	printf '#cloud-config\nhostname: here\n' >"$user"
	echo 'instance-id: one' >"$meta"
	echo 'version: 2' >"$network"
}
again
"$twinstep" image seed "$work/seed" "$user" "$meta" "$network"
sum=$(md5sum <"$work/seed" | cut -d' ' -f1)

loop='echo 1 >/dev/vda || echo read-only; while :; do echo 3 >/proc/sys/vm/drop_caches; echo sum $(md5sum </dev/vda); done'
guest=("${kernel[@]}" --append "$cmdline twinstep.run=\"$loop\"" --cloud-init "$user,$meta,$network")
sums_in() { [ "$(grep -ac "^sum $sum" "$1")" -gt "${2:-2}" ]; }
touch "$work/console" "$work/a.con"
"$twinstep" record -o "$work/log" "${guest[@]}" --clock virtual --control "$work/s" --console "$work/console" --checkpoint 1 2>"$work/err" &
pid[run]=$!
check running "$(tail -n 3 "$work/console" "$work/err")" wait_for 60 sums_in "$work/console"
"$twinstep" snapshot "$work/s" "$work/snap" --json >"$work/out" 2>>"$work/err"
check snapshot "none: $(cat "$work/err")" [ -s "$work/snap" ]
kill "${pid[run]}"; wait "${pid[run]}" 2>/dev/null
check read-only "not read-only" grep -aq '^read-only' "$work/console"
rm -r "$work/files"
timeout 600 "$twinstep" replay "$work/log" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check replay "status $status: $(tail -n 3 "$work/err")" eval "[ $status -eq 0 ] && cmp -s '$work/console' '$work/console2'"
check log "$("$twinstep" log "$work/log" | head -n 12)" grep -q 'disk of cloud-init *[0-9]* KiB' <("$twinstep" log "$work/log")
"$twinstep" run --restore "$work/snap" --console "$work/console3" 2>"$work/err" &
pid[run]=$!
touch "$work/console3"
check restored "$(tail -n 3 "$work/console3" "$work/err")" wait_for 60 sums_in "$work/console3"
kill "${pid[run]}"; wait "${pid[run]}" 2>/dev/null; unset "pid[run]"

# A pair that loses its primary.
mkdir "$work/files" && again
"$twinstep" keygen "$work/key" && "$twinstep" arbiter init "file:$work/arbiter"
side() { # SIDE ROLE OPTION...
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
side a primary "${guest[@]}"
side b backup --connect "unix:$work/a.peer" --connect-wait 30000
check protected "$(tail -n 2 "$work"/?.err)" wait_for 60 state b backup
rm -r "$work/files"
check sums "$(tail -n 3 "$work/a.con" "$work/a.err")" wait_for 60 sums_in "$work/a.con"
# The process of a replica is a child of the one that was started, unless there is no jail.
inner=$(cat "/proc/${pid[a]}/task/${pid[a]}/children" 2>/dev/null)
kill -9 ${inner:-${pid[a]}} 2>/dev/null
wait "${pid[a]}" 2>/dev/null; unset "pid[a]"
check live "$(tail -n 2 "$work/b.err")" wait_for 60 state b alone
there=$(grep -ac "^sum $sum" "$work/b.con")
check sums-after "$(tail -n 3 "$work/b.con" "$work/b.err")" wait_for 60 sums_in "$work/b.con" $((there + 2))
"$twinstep" stop "$work/b.sock" >"$work/out"; wait "${pid[b]}" 2>/dev/null; unset "pid[b]"

mkdir "$work/files" && again
echo 'hostname: here' >"$work/bad"
disks=()
for i in 1 2 3 4; do truncate -s 1M "$work/d$i" && disks+=(--disk "$work/d$i,ro"); done
run_refused no-user-data "is no user-data" "${kernel[@]}" --cloud-init "$work/bad"
run_refused no-file "cannot open $work/nothing" "${kernel[@]}" --cloud-init "$user,$work/nothing"
run_refused four "three files at most" "${kernel[@]}" --cloud-init "$user,$meta,$network,$user"
run_refused with-restore "does not go with --restore" --restore "$work/snap" --cloud-init "$user"
run_refused too-many "a machine of version 1 has at most 4" --machine 1 "${kernel[@]}" "${disks[@]}" \
	--cloud-init "$user"
exit $failed
