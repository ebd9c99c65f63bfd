#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair with a disk: what the guest has flushed is there after every failover, on whichever side; once the pair is
# protected both images are equal, byte for byte; old data never goes live.
# waits for the host: *
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
other() { [ "$1" = a ] && echo b || echo a; }

# Writes a block, flushes it, and reads the last ones back from the disk, for ever.
guest='i=0; while :; do i=$((i+1)); printf %4096d $i | dd of=/dev/vda bs=4096 seek=$((i%512*17)) conv=fsync,notrunc 2>/dev/null || echo BAD $i;'
guest+=' echo 3 >/proc/sys/vm/drop_caches; j=$((i>24?i-24:1)); while [ $j -le $i ]; do'
guest+=' v=$(dd if=/dev/vda bs=4096 skip=$((j%512*17)) count=1 2>/dev/null | tr -dc 0-9); [ x$v = x$j ] || echo BAD $j is $v; j=$((j+1)); done; echo kept $i; done'

# replica SIDE ROLE OPTION...
replica() {
	local side=$1 role=$2
	shift 2
	"$twinstep" "$role" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$side.sock" --timeout 5000 \
		--listen "unix:$work/$side.peer" --console "$work/$side.con" --disk "$work/data-$side.img" \
		--events "$work/$side.events" "$@" 2>"$work/$side.err" &
	pid[$side]=$!
}
primary() { replica "$1" primary --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\"" "${@:2}"; }
backup() { replica "$1" backup --connect "unix:$work/$(other "$1").peer" --connect-wait 30000 "${@:2}"; }
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
kept() { grep -a '^kept' "$work/$1.con" | tail -n 1 | tr -dc 0-9; }
kept_since() { [ "$(kept "$1")" -gt "${2:-0}" ]; }
# runs SIDE N: the guest there has written and read N blocks more
runs() { local n; n=$(kept "$1"); wait_for 60 kept_since "$1" $((${n:-0} + $2)); }
# Of a pair that stands still in the same place.
same() { cmp "$work/data-a.img" "$work/data-b.img"; }
# The process of a replica is a child of the one that was started, unless there is no jail.
kill_replica() {
	local inner
	inner=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children")
	kill -9 ${inner:-${pid[$1]}}
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}

mkdir "$work/arbiter"
truncate -s 40M "$work/data-a.img" "$work/data-b.img"
primary a
backup b
check protected "$(cat "$work"/*.err)" wait_for 60 state a protected
runs a 3 || not_ok runs "$(tail -n 3 "$work/a.con" "$work/a.err")"
live=a
for n in 1 2 3; do
	dead=$live live=$(other "$live")
	kill_replica "$dead"
	check "failover-$n" "$(cat "$work/$live.err")" wait_for 60 state "$live" alone
	check "goes-on-$n" "$(tail -n 3 "$work/$live.con")" runs "$live" 5
	backup "$dead"
	check "protected-again-$n" "$(cat "$work"/*.err)" wait_for 60 state "$live" protected
	check "goes-on-protected-$n" "$(tail -n 3 "$work/$live.con")" runs "$live" 3
done
check nothing-lost "$(grep -ah BAD "$work"/*.con | head -n 3)" eval '! grep -aq BAD "$work"/a.con "$work"/b.con'
"$twinstep" stop "$work/$live.sock"
wait "${pid[a]}" "${pid[b]}"
check equal-at-the-end "$(same 2>&1)" same
exit $failed
