#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest with a disk moves to other hosts: from a single machine and from a pair, and back; what is killed or cancelled
# on the way costs it nothing, and both images are equal at the end.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }

# Writes a block, flushes it, and reads the last ones back from the disk, for ever.
guest='i=0; while :; do i=$((i+1)); printf %4096d $i | dd of=/dev/vda bs=4096 seek=$((i%512*17)) conv=fsync,notrunc 2>/dev/null || echo BAD $i;'
guest+=' echo 3 >/proc/sys/vm/drop_caches; j=$((i>24?i-24:1)); while [ $j -le $i ]; do'
guest+=' v=$(dd if=/dev/vda bs=4096 skip=$((j%512*17)) count=1 2>/dev/null | tr -dc 0-9); [ x$v = x$j ] || echo BAD $j is $v; j=$((j+1)); done; echo kept $i; done'

# start SIDE COMMAND OPTION...
start() {
	local side=$1
	rm -f "$work/$side.err" "$work/$side.events" # of the one before
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$side.sock" \
		--console "$work/$side.con" --disk "$work/$side.img" "${@:3}" 2>"$work/$side.err" &
	pid[$side]=$!
}
# single SIDE; await SIDE: waits for a guest that moves there; joiner SIDE OF
single() { start "$1" run --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\"" "${@:2}"; }
await() {
	start "$1" backup --listen "unix:$work/$1.peer" --timeout 5000 --events "$work/$1.events" "${@:2}"
	wait_for 30 grep -q 'waiting at' "$work/$1.err"
}
joiner() { start "$1" backup --connect "unix:$work/$2.peer" --listen "unix:$work/$1.peer" --timeout 5000 --connect-wait 30000; }
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
kept() { grep -a "^kept" "$work/$1.con" 2>/dev/null | tail -n 1 | tr -dc 0-9; }
kept_since() { [ "$(kept "$1")" -gt "${2:-0}" ]; }
runs() { local n; n=$(kept "$1"); wait_for 60 kept_since "$1" $((${n:-0} + $2)); }
move() { timeout 300 "$twinstep" migrate "$work/$1.sock" --to "unix:$work/$2.peer" "${@:3}" >"$work/moved" 2>"$work/move.err"; }
begin_move() {
	"$twinstep" migrate "$work/$1.sock" --to "unix:$work/$2.peer" >"$work/moved" 2>"$work/move.err" &
	mover=$!
	wait_for 60 eval "syncing $1 || ! kill -0 $mover"
}
syncing() { "$twinstep" status "$work/$1.sock" --json | grep -q '"join"'; }
moving() { "$twinstep" status "$work/$1.sock" --json | grep -q '"move"'; }
ended() { timeout 120 tail --pid="${pid[$1]}" -f /dev/null && wait "${pid[$1]}"; }
kill_replica() {
	local inner
	inner=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null)
	kill -9 ${inner:-${pid[$1]}} 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}
same() { cmp "$work/$1.img" "$work/$2.img"; }
moved() { check "$1" "$(cat "$work/move.err" "$work"/?.err | tail -n 6)" move "${@:2}"; }

"$twinstep" arbiter init "file:$work/arbiter"
head -c 24M /dev/urandom >"$work/a.img"
truncate -s 40M "$work"/{a,b,c,d}.img
single a --sync-rate 6M # it takes four seconds
runs a 1 || not_ok runs "$(tail -n 3 "$work/a".[ce]*)"

# Nobody there, somebody without the key, a backup that dies while it is being brought up to date, a signal: it stays.
check nobody-there "it has moved" eval '! move a b'
check says-where "$(cat "$work/move.err")" grep -q "cannot connect to '$work/b.peer'" "$work/move.err"
"$twinstep" keygen "$work/other.key"
await b --key-file "$work/other.key"
check another-key "it has moved" eval '! move a b'
check says-the-key "$(cat "$work/move.err")" grep -q 'does not hold our key\|ended the connection in the TLS handshake' "$work/move.err"
check still-waits "$(tail -n 3 "$work/b.err")" kill -0 "${pid[b]}"
kill_replica b
await b
"$twinstep" qualify --quick --connect "unix:$work/b.peer" --key-file "$work/key" >/dev/null 2>&1
check refuses-others "$(tail -n 3 "$work/b.err")" wait_for 10 grep -q '"refused"' "$work/b.events"
check waits-on "$(tail -n 3 "$work/b.err")" kill -0 "${pid[b]}"
begin_move a b
kill_replica b
check killed-on-the-way "it has moved" eval '! wait $mover'
runs a 1 || not_ok goes-on-after-a-kill "$(tail -n 3 "$work/a".[ce]*)"
await b
begin_move a b
kill -INT $mover
wait $mover
status=$?
check cancelled "status $status: $(cat "$work/move.err")" [ $status -eq 130 ]
kill_replica b
runs a 1 || not_ok goes-on-after-a-signal "$(tail -n 3 "$work/a".[ce]*)"

# `migrate` itself is killed: the new side, which has to be sent everything, joins all the same, and who asks again takes
# the move up.
rm -f "$work"/b.img*
truncate -s 40M "$work/b.img"
await b
begin_move a b
kill -9 $mover
wait $mover 2>/dev/null
check killed-migrate "$(tail -n 3 "$work/a.err")" wait_for 60 state a protected
runs a 1 || not_ok goes-on-after-a-killed-migrate "$(tail -n 3 "$work/a".[ce]*)"
moved taken-up a b --keep
check both-are-there "$(tail -n 3 "$work"/[ab].err)" wait_for 60 state b protected
"$twinstep" switch "$work/b.sock" >"$work/err" 2>&1 || not_ok back "$(cat "$work/err")"
kill_replica b
runs a 1 || not_ok back-again "$(tail -n 3 "$work/a".[ce]*)"

# A single machine moves, with its disk, and ends where it was.
await b --sync-rate 8M # for when it is live: a new copy takes three seconds
moved single a b --json
check told "$(cat "$work/moved")" grep -q '"pause_ms"' "$work/moved"
check old-one-ends "status $?" ended a
unset "pid[a]"
runs b 1 || not_ok runs-there "$(tail -n 3 "$work/b".[ce]*)"

# From a pair: the old backup goes, and the one that was live stays as backup.
joiner d b
check pair "$(tail -n 3 "$work"/[bd].err)" wait_for 60 state b protected
await c
moved from-a-pair b c --keep
check says-unprotected "$(cat "$work/move.err")" grep -q 'is UNPROTECTED until' "$work/move.err"
check kept-as-backup "$(tail -n 3 "$work"/[bc].err)" wait_for 60 state c protected
check the-move-is-over "$("$twinstep" status "$work/b.sock" --json)" eval '! moving b'
# As when `migrate` was killed before it let the old side end; and from here to nowhere else.
moved has-moved-already b c --keep
check not-from-a-backup "it has moved" eval '! move b a'
check says-where-it-is "$(cat "$work/move.err")" grep -q "is live at unix:$work/c.peer" "$work/move.err"
ended d
status=$?
check backup-dismissed "status $status: $(tail -n 2 "$work/d.err")" [ $status -eq 118 ]
unset "pid[d]"
runs c 1 || not_ok runs-at-c "$(tail -n 3 "$work/c".[ce]*)"
kill_replica c
runs b 2 || not_ok the-kept-one-goes-live "$(tail -n 3 "$work/b".[ce]*)"

# It may move again. The third copy comes back after the second, a new one, was lost on its way: it lacks nothing.
rm -f "$work"/c.img*
truncate -s 40M "$work/c.img"
await c
begin_move b c
check the-third-begins "$(cat "$work/move.err"; tail -n 3 "$work/b.err")" syncing b
kill_replica c
wait $mover
status=$?
check the-third-is-lost "status $status: $(cat "$work/move.err")" [ $status -eq 1 ]
runs b 1
joiner d b
check third-copy "$(tail -n 3 "$work"/[bd].err)" wait_for 60 state b protected
runs b 1
"$twinstep" stop "$work/b.sock"
wait "${pid[b]}" "${pid[d]}"
pid=()
check equal-at-the-end "$(same b d 2>&1)" same b d
check nothing-lost "$(grep -ah BAD "$work"/*.con | head -n 3)" eval '! grep -aq BAD "$work"/?.con'
check refused-without-a-name "it began" eval '! "$twinstep" run --kernel "$vmlinuz" --key-file "$work/key" --arbiter "file:$work/arbiter" 2>/dev/null'
exit $failed
