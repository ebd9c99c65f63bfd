#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair with a disk: what the guest has flushed is there after every failover, on whichever side; once the pair is
# protected both images are equal, byte for byte; old data never goes live.
# time limit: 1800 s
# waits for the host: *
# beside others
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
# run SIDE OPTION...: a machine outside of the pair writes that side's image, once, and ends
once='dd if=/dev/urandom of=/dev/vda bs=64k seek=200 count=9 conv=fsync,notrunc'
run() {
	"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$once\"" --console none \
		--disk "$work/data-$1.img" "${@:2}" 2>"$work/$1.err" &
	pid[$1]=$!
}
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
	inner=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null)
	kill -9 ${inner:-${pid[$1]}} 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}

# refused SIDE TEXT: the replica started last has ended with a message that has this in it, and nothing was written.
refused() { timeout 300 tail --pid="${pid[$1]}" -f /dev/null && grep -q "$2" "$work/$1.err"; }
sums() { cat "$work/data-$1"* | sha256sum; }
# refuses TEST SIDE ROLE TEXT OPTION...: and nothing is written.
refuses() {
	local test=$1 side=$2 role=$3 text=$4 before
	before=$(sums "$side")
	"$role" "$side" "${@:5}"
	if refused "$side" "$text"; then ok "$test"; else not_ok "$test" "$(tail -n 2 "$work/$side.err")"; fi
	unset "pid[$side]"
	check "$test-nothing-written" "files have changed" [ "$before" = "$(sums "$side")" ]
}
# stop SIDE: the pair ends in good order
stop() {
	"$twinstep" stop "$work/$1.sock" || kill -9 "${pid[@]}"
	wait "${pid[a]}" "${pid[b]}"
	pid=()
}
joined() { check "$1" "$(cat "$work"/?.err)" wait_for 60 state "$2" protected; }

"$twinstep" arbiter init "file:$work/arbiter"
truncate -s 40M "$work/data-a.img" "$work/data-b.img"
primary a
backup b
joined protected a
runs a 3 || not_ok runs "$(tail -n 3 "$work/a.con" "$work/a.err")"
live=a
for n in 1 2; do
	dead=$live live=$(other "$live")
	kill_replica "$dead"
	check "goes-on-$n" "$(tail -n 3 "$work/$live".[ce]*)" runs "$live" 4
	backup "$dead"
	joined "protected-again-$n" "$live"
	runs "$live" 2 || not_ok "runs-$n" "$(tail -n 3 "$work/$live.con")"
done
check nothing-lost "$(grep -ah BAD "$work"/*.con | head -n 3)" eval '! grep -aq BAD "$work"/a.con "$work"/b.con'

# Both hosts lose power: a, which was live, may start, and b, which followed, may not; nor may a side that has missed a
# generation.
kill_replica b
kill_replica a
refuses power-loss-follower b primary 'disk 0 may be old (in step, following'
refuses run-on-a-follower b run 'may be old (in step, following)'
primary a --no-wait
runs a 1 || not_ok power-loss-live-starts "$(tail -n 3 "$work/a".[ce]*)"
refuses generation-missed b primary 'disk 0 may be old'

# A copy that was cut off is neither old nor new; it is gone on with where it was.
left() { "$twinstep" status "$work/a.sock" --json | grep -o '"left": *[0-9]*' | tr -dc 0-9; }
progress() { local n; n=$(left); [ -n "$n" ] && [ "$n" -lt 25000000 ] && [ "$n" -gt 0 ]; }
kill_replica a
head -c 30M /dev/urandom >"$work/random"
rm "$work/data-b.img.twin"
dd if="$work/random" of="$work/data-b.img" bs=1M conv=notrunc status=none
primary a --no-wait --sync-rate 3M # ten seconds, of which eight are looked for
backup b
check progress-shown "$("$twinstep" status "$work/a.sock" 2>&1)" wait_for 60 progress
kill_replica b
refuses cut-off-copy b primary 'being synchronised'
backup b
check gone-on-with "$("$twinstep" status "$work/a.sock" 2>&1)" wait_for 60 progress
joined after-the-cut a
runs a 2 || not_ok after-the-cut "$(tail -n 3 "$work/a".[ce]*)"
stop a
check equal-at-the-end "$(same 2>&1)" same

# A machine outside of the pair writes one of the images: the other side gets that when it joins.
run a
check run-on-an-image "$(cat "$work/a.err")" wait "${pid[a]}"
unset "pid[a]"
check run-wrote "the images are equal" eval '! same 2>/dev/null'
primary a --no-wait
backup b
joined after-a-run a
stop a
check equal-after-a-run "$(same 2>&1)" same

# Both go on alone: a person chooses.
primary a --no-wait
runs a 1 || not_ok split "$(tail -n 3 "$work/a".[ce]*)"
kill_replica a
refuses split-start b primary 'another replica was live later'
primary b --no-wait --force
runs b 1 || not_ok split "$(tail -n 3 "$work/b".[ce]*)"
refuses split a backup 'both copies were written'
backup a --force
joined split-decided b
stop b
check equal-after-the-split "$(same 2>&1)" same

# Files that are not what they should be.
cp "$work/data-a.img.twin" "$work/twin"
printf x | dd of="$work/data-a.img.twin" bs=1 seek=100 conv=notrunc status=none
printf x | dd of="$work/data-a.img.twin" bs=1 seek=4196 conv=notrunc status=none
refuses damaged a primary 'data-a.img.twin: no intact identity'
cp "$work/twin" "$work/data-a.img.twin"
truncate -s 41M "$work/data-a.img"
refuses grown a primary 'data-a.img.twin: of an image of 41943040 bytes'
truncate -s 39M "$work/data-a.img"
refuses truncated a primary 'data-a.img.twin: of an image of 41943040 bytes'
rm "$work"/data-?.img*
truncate -s 1M "$work"/data-{a,b,c}.img
primary a --no-wait --force --disk "$work/data-c.img" # new disks, but the arbiter is not new
wait_for 60 state a alone
kill_replica a
mv "$work/data-a.img" "$work/data-x.img"
mv "$work/data-a.img.twin" "$work/data-x.img.twin"
mv "$work/data-c.img" "$work/data-b.img"
mv "$work/data-c.img.twin" "$work/data-b.img.twin"
mv "$work/data-x.img" "$work/data-a.img"
mv "$work/data-x.img.twin" "$work/data-a.img.twin"
primary a --no-wait
wait_for 60 state a alone
refuses foreign b backup 'belong to different pairs or disks'
kill_replica a

rm -f "$work"/data-?.img*
for n in c a; do # each in a pair of its own
	truncate -s 1M "$work/data-a.img"
	primary a --no-wait --force
	wait_for 60 state a alone
	kill_replica a
	[ $n = a ] || for file in "$work"/data-a.img*; do mv "$file" "${file/data-a/data-c}"; done
done
refuses two-pairs a primary 'disk 1 belongs to another pair than disk 0' --disk "$work/data-c.img"
rm "$work/data-c.img"*

# `twinstep pair` begins with the side that was live last.
rm "$work"/data-?.img*
truncate -s 8M "$work"/data-{a,b}.img
pair() {
	"$twinstep" pair --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"${guest//512/8}\"" --timeout 5000 \
		--disk "$work/data-%r.img" --console "$work/%r.con" --name "disks-$$" --events "$work/pair.events" 2>"$work/pair.err" &
	pid[pair]=$!
}
events() { grep -c "\"event\":\"$1\"" "$work/pair.events"; }
had() { [ "$(events "$1")" -ge "$2" ]; }
pair
wait_for 60 had protected 1
kill -9 "$(pgrep -P "${pid[pair]}" -f -- '--listen=unix:[^ ]*/a.sock')"
check pair-protected-again "$(tail -n 3 "$work/pair.err")" wait_for 60 had protected 2
mapfile -t processes < <(tree "${pid[pair]}")
kill -9 "${pid[pair]}"
wait "${pid[pair]}" 2>/dev/null
wait_for 20 over "${processes[@]}" # they end with it, and what they hold with them
: >"$work/pair.events"
pair
wait_for 60 had protected 1
check pair-begins-with-the-newer "$(head -n 3 "$work/pair.events")" grep -q '"event":"start".*"replica":"b"' "$work/pair.events"
exit $failed
