#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A snapshot of a pair, disk included, is taken on the backup while the guest goes on; it goes on elsewhere, on a new image,
# from where it was; the pair stays a pair.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }

# Writes a block, flushes it, and reads those of the last rounds back from the disk, for ever, with rests.
guest='i=0; while :; do i=$((i+1)); printf %4096d $i | dd of=/dev/vda bs=4096 seek=$((i%512*17)) conv=fsync,notrunc 2>/dev/null || echo BAD $i;'
guest+=' echo 3 >/proc/sys/vm/drop_caches; j=$((i>6?i-6:1)); while [ $j -le $i ]; do'
guest+=' v=$(dd if=/dev/vda bs=4096 skip=$((j%512*17)) count=1 2>/dev/null | tr -dc 0-9); [ x$v = x$j ] || echo BAD $j is $v; j=$((j+1)); done; echo kept $i; sleep 0.2; done'
# replica SIDE ROLE OPTION...
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 10000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --disk "$work/data-$1.img" --events "$work/$1.events" \
		"${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
kept() { grep -a '^kept' "$work/$1.con" 2>/dev/null | tail -n 1 | tr -dc 0-9; }
first_kept() { grep -a '^kept' "$work/$1.con" 2>/dev/null | head -n 1 | tr -dc 0-9; }
kept_since() { [ "$(kept "$1")" -gt "${2:-0}" ]; }
# runs SIDE N: the guest there has written and read N blocks more
runs() { local n; n=$(kept "$1"); wait_for 60 kept_since "$1" $((${n:-0} + $2)); }
inner() { local p; p=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null); echo ${p:-${pid[$1]}}; }
# snapshot SIDE FILE OPTION...: takes one; what is said is in $work/said
snapshot() { timeout 600 "$twinstep" snapshot "$work/$1.sock" "$work/$2" --json "${@:3}" >"$work/said" 2>&1; }
shown() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"snapshot\":{[^}]*\"stage\": *\"$2\"[^}]*"; }
# restored FILE OPTION...: that machine, with the control socket r.sock
restored() {
	"$twinstep" run --restore "$work/$1" --control "$work/r.sock" --console "$work/r.con" "${@:2}" 2>"$work/r.err" </dev/null &
	pid[r]=$!
}
end_restored() {
	"$twinstep" stop "$work/r.sock" 2>"$work/said" || kill -9 "${pid[r]}"
	wait "${pid[r]}"
	unset "pid[r]"
}
bad() { grep -aq BAD "$work"/?.con; }

truncate -s 40M "$work/data-a.img" "$work/data-b.img"
replica a primary --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\""
replica b backup --connect "unix:$work/a.peer" --connect-wait 30000
check joined "$(cat "$work"/?.err)" wait_for 60 state a protected
runs a 3 || not_ok runs "$(tail -n 3 "$work/a.con" "$work/a.err")"
snapshot a none
check live-side-refuses "$(cat "$work/said")" eval 'grep -q "this replica is live" "$work/said" && [ ! -e "$work/none" ]'

from=$(kept a)
snapshot b snap
check snapshot "$(cat "$work/said" "$work/b.err")" grep -q '"record":[1-9].*"ok":true' "$work/said"
check its-size "$(stat -c %s "$work/snap"): $(cat "$work/said")" \
	grep -q "\"bytes\":$(stat -c %s "$work/snap")[,}]" "$work/said"
check guest-goes-on "$(tail -n 3 "$work/a.con")" runs a 3
till=$(kept a) # what came before the snapshot is shown now, however late the console is
check still-protected "$("$twinstep" status "$work/a.sock")" state a protected

# Restored: on an image that has data it is not, on a new one it goes on from where it was.
cp "$work/data-a.img" "$work/full.img"
sum=$(sha256sum <"$work/full.img")
restored snap --disk "$work/full.img"
wait "${pid[r]}"
status=$?
unset "pid[r]"
check not-over-data "status $status: $(cat "$work/r.err")" \
	eval '[ $status -eq 2 ] && grep -q "has data already" "$work/r.err" && [ "$sum" = "$(sha256sum <"$work/full.img")" ]'
truncate -s 40M "$work/new.img"
restored snap --disk "$work/new.img"
check restored "$(cat "$work/r.err")" runs r 3
check where-it-was "the pair was between $from and $till, the restored one at $(first_kept r)" \
	eval '[ "$(first_kept r)" -gt "$from" ] && [ "$(first_kept r)" -le $till ]'
end_restored
: >"$work/r.con"
restored snap --disk "$work/full.img,overlay"
check restored-in-memory "$(cat "$work/r.err")" runs r 2
check image-as-before "it was written to" eval '[ "$sum" = "$(sha256sum <"$work/full.img")" ]'
end_restored

# Only what has changed since.
runs a 2 # what is shown was there before the next snapshot
snapshot b more --incremental-from "$work/snap"
check changes-only "$(cat "$work/said"; ls -l "$work"/snap "$work/more")" \
	eval '[ "$(stat -c %s "$work/more")" -lt $(($(stat -c %s "$work/snap") * 2 / 3)) ]'
restored more --disk "$work/full.img,overlay"
wait "${pid[r]}"
status=$?
unset "pid[r]"
check not-without-base "status $status: $(cat "$work/r.err")" \
	eval '[ $status -eq 2 ] && grep -q "as --restore-base" "$work/r.err"'
snapshot b most --incremental-from "$work/more"
check not-of-changes "$(cat "$work/said")" eval 'grep -q "holds changes only" "$work/said" && ! ls "$work"/most* 2>/dev/null'
truncate -s 40M "$work/newest.img"
: >"$work/r.con"
restored more --restore-base "$work/snap" --disk "$work/newest.img"
check restored-changes "$(cat "$work/r.err")" runs r 3
check later-than-the-base "the base was taken before $till, this one goes on from $(first_kept r)" \
	eval '[ "$(first_kept r)" -gt "$till" ]'
end_restored

# The command is gone before the backup has come to it: nobody waits for that one.
kill -STOP "$(inner b)"
"$twinstep" snapshot "$work/b.sock" "$work/half" >"$work/said" 2>&1 &
asks=$!
wait_for 30 eval 'ls "$work"/half.?????? 2>/dev/null'
kill -INT $asks
wait $asks
kill -CONT "$(inner b)"
check command-gone "$("$twinstep" status "$work/b.sock")" wait_for 60 shown b failed
check nothing-left "$(ls "$work"/half* 2>&1)" eval '! ls "$work"/half* >/dev/null 2>&1'
check protected-then "$("$twinstep" status "$work/a.sock")" wait_for 60 state a protected

# The live side fails before the record has come: the backup goes live, and the snapshot is none.
kill -STOP "$(inner a)"
snapshot b half
check failover-ends-it "$(cat "$work/said")" grep -q 'stopped following' "$work/said"
kill -9 "$(inner a)"
wait "${pid[a]}" 2>/dev/null
unset "pid[a]"
check live "$(cat "$work/b.err")" wait_for 60 state b alone
check goes-on "$(tail -n 3 "$work/b.con")" runs b 3

# The sides have changed: the same again on the other one.
replica a backup --connect "unix:$work/b.peer" --connect-wait 30000
check joined-again "$(cat "$work"/?.err)" wait_for 60 state b protected
snapshot a again
check snapshot-again "$(cat "$work/said" "$work/a.err")" grep -q '"ok":true' "$work/said"
check runs-again "$(tail -n 3 "$work/b.con")" runs b 2
truncate -s 40M "$work/newer.img"
: >"$work/r.con"
restored again --disk "$work/newer.img"
check restored-again "$(cat "$work/r.err")" runs r 2
end_restored
"$twinstep" stop "$work/b.sock"
wait "${pid[a]}" "${pid[b]}"
pid=()
check images-equal "they differ" cmp "$work/data-a.img" "$work/data-b.img"
check nothing-lost "$(grep -ah BAD "$work"/*.con | head -n 3)" eval '! bad'
exit $failed
