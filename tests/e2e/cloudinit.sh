#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --cloud-init: the guest finds the disk; a recording, a snapshot and the other side of a pair have it with them when the
# files are gone; what cannot be is refused with a word.
# waits for the host: running snapshot protected live sums-after
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

script='md5sum </dev/vda; echo 1 >/dev/vda || echo read-only; sleep 3; exit 5'
timeout 600 "$twinstep" record -o "$work/log" "${kernel[@]}" --append "$cmdline twinstep.run=\"$script\"" --clock virtual --checkpoint 1 \
	--cloud-init "$user,$meta,$network" --console "$work/console" 2>"$work/err"
status=$?
check guest "status $status, not 5: $(tail -n 3 "$work/err" "$work/console")" [ "$status" -eq 5 ]
check content "another disk than image seed makes: $(tail -n 3 "$work/console")" grep -aq "^$sum" "$work/console"
check read-only "not read-only" grep -aq '^read-only' "$work/console"
rm -r "$work/files"
for from in "" "--from-checkpoint last"; do
	# shellcheck disable=SC2086 # two words
	timeout 600 "$twinstep" replay "$work/log" --quiet $from --console "$work/console2" >"$work/out" 2>"$work/err"
	status=$?
	check "replay${from:+-checkpoint}" "status $status, not 5: $(tail -n 3 "$work/err")" [ "$status" -eq 5 ]
done
check log "$("$twinstep" log "$work/log" | head -n 12)" grep -q 'disk of cloud-init *[0-9]* KiB' <("$twinstep" log "$work/log")

# A snapshot, and a pair that loses its primary.
mkdir "$work/files" && again
loop='while :; do echo 3 >/proc/sys/vm/drop_caches; echo sum $(md5sum </dev/vda); done'
live=("${kernel[@]}" --append "$cmdline twinstep.run=\"$loop\"" --cloud-init "$user,$meta,$network")
"$twinstep" run "${live[@]}" --control "$work/s" --console "$work/console" 2>"$work/err" &
pid[run]=$!
sums_in() { [ "$(grep -ac "^sum $sum" "$1")" -gt "${2:-2}" ]; }
wait_for 60 sums_in "$work/console" || not_ok running "$(tail -n 3 "$work/console" "$work/err")"
check snapshot "none: $(cat "$work/err")" "$twinstep" snapshot "$work/s" "$work/snap"
kill "${pid[run]}"; wait "${pid[run]}" 2>/dev/null
rm -r "$work/files"
"$twinstep" run --restore "$work/snap" --console "$work/console2" 2>"$work/err" &
pid[run]=$!
check restored "$(tail -n 3 "$work/console2" "$work/err")" wait_for 60 sums_in "$work/console2"
kill "${pid[run]}"; wait "${pid[run]}" 2>/dev/null; unset "pid[run]"
mkdir "$work/files" && again
"$twinstep" keygen "$work/key" && "$twinstep" arbiter init "file:$work/arbiter"
side() { # SIDE ROLE OPTION...
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
side a primary "${live[@]}"
wait_for 60 sums_in "$work/a.con"
rm -r "$work/files"
side b backup --connect "unix:$work/a.peer" --connect-wait 30000
check protected "$(tail -n 2 "$work"/?.err)" wait_for 60 state b backup
# The process of a replica is a child of the one that was started, unless there is no jail.
inner=$(cat "/proc/${pid[a]}/task/${pid[a]}/children" 2>/dev/null)
kill -9 ${inner:-${pid[a]}} 2>/dev/null
wait "${pid[a]}" 2>/dev/null; unset "pid[a]"
check live "$(tail -n 2 "$work/b.err")" wait_for 60 state b alone
there=$(grep -ac "^sum $sum" "$work/b.con")
check sums-after "$(tail -n 3 "$work/b.con" "$work/b.err")" wait_for 60 sums_in "$work/b.con" $((there + 2))
"$twinstep" stop "$work/b.sock"; wait "${pid[b]}" 2>/dev/null; unset "pid[b]"

# refused TEST "text" ARGUMENTS...: status 2 and a line with the text.
refused() {
	local test=$1 text=$2
	shift 2
	timeout 600 "$twinstep" run --console none "$@" >"$work/out" 2>"$work/err" </dev/null
	local status=$?
	check "$test" "status $status: $(head -n 2 "$work/err")" eval "[ $status -eq 2 ] && grep -qF -- '$text' '$work/err'"
}
mkdir "$work/files" && again
echo 'hostname: here' >"$work/bad"
disks=()
for i in 1 2 3 4; do truncate -s 1M "$work/d$i" && disks+=(--disk "$work/d$i,ro"); done
refused no-user-data "is no user-data" "${kernel[@]}" --cloud-init "$work/bad"
refused no-file "cannot open $work/nothing" "${kernel[@]}" --cloud-init "$user,$work/nothing"
refused four "three files at most" "${kernel[@]}" --cloud-init "$user,$meta,$network,$user"
refused with-restore "does not go with --restore" --restore "$work/snap" --cloud-init "$user"
refused too-many "a machine of version 1 has at most 4" --machine 1 "${kernel[@]}" "${disks[@]}" \
	--cloud-init "$user"
exit $failed
