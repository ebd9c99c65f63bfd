#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The live side is killed while its guest moves: at each stage of the move, and ROUNDS times (10) at any moment of the
# first seconds (SEED chooses them). A new side that has protected the guest goes live, one that has not does not, and what
# the guest has flushed is where it goes on.
# usage: [ROUNDS=N] [SEED=N] tests/soak/migratekill.sh        about 10 s a round
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
rounds=${ROUNDS:-10}
RANDOM=${SEED:-1}
declare -A pid
mover=
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" $mover 2>/dev/null; wait 2>/dev/null; }

# Writes a block and flushes it, for ever; goes on from the highest number that is on the disk.
guest='i=$(dd if=/dev/vda bs=4096 count=1 2>/dev/null | tr -dc 0-9); i=${i:-0}; while :; do i=$((i+1)); printf %4096d $i >/tmp/b;'
guest+=' dd if=/tmp/b of=/dev/vda bs=4096 conv=fsync,notrunc 2>/dev/null && dd if=/tmp/b of=/dev/vda bs=4096 seek=$((i%512*17+1)) conv=fsync,notrunc 2>/dev/null && echo kept $i; done'

# start SIDE COMMAND OPTION...
start() {
	local side=$1
	rm -f "$work/$side".{err,events,con}
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$side.sock" --timeout 5000 \
		--console "$work/$side.con" --disk "$work/$side.img" --sync-rate 20M --events "$work/$side.events" "${@:3}" \
		2>"$work/$side.err" &
	pid[$side]=$!
}
single() { start "$1" primary --no-wait --listen "unix:$work/$1.peer" --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\""; }
await() {
	start "$1" backup --listen "unix:$work/$1.peer"
	wait_for 30 grep -q 'waiting at' "$work/$1.err"
}
state() { "$twinstep" status "$work/$1.sock" --json 2>/dev/null | grep -q "\"state\": *\"$2\""; }
other() { [ "$1" = a ] && echo b || echo a; }
kept() { grep -a "^kept" "$work/$1.con" 2>/dev/null | tail -n 1 | tr -dc 0-9; }
kept_since() { [ "$(kept "$1")" -gt "${2:-0}" ]; }
runs() { local n; n=$(kept "$1"); wait_for 60 kept_since "$1" $((${n:-0} + $2)); }
# since[SIDE]: how many events there were when the move began
declare -A since
happened() { tail -n +$((${since[$1]:-0} + 1)) "$work/$1.events" 2>/dev/null | grep -q "\"event\":\"$2\""; }
over() { ! kill -0 "${pid[$1]}" 2>/dev/null; }
inner() { local p; p=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null); echo ${p:-${pid[$1]}}; }
kill_replica() {
	kill -9 "$(inner "$1")" 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}
# Block N of an image has what the guest wrote there last.
block() { dd if="$work/$1.img" bs=4096 skip=$(($2 % 512 * 17 + 1)) count=1 2>/dev/null | tr -dc 0-9; }
# Nobody has called it, or it has forgotten who did.
waits() { "$twinstep" status "$work/$1.sock" --json 2>/dev/null | grep '"state": *"loading"' | grep -qv '"peer"'; }
decided() { state "$1" alone || over "$1" || waits "$1"; }

# kill_in TEST SIDE COMMAND...: the guest of SIDE moves; when the command succeeds, or the move is over, SIDE is killed.
# The live side is in $live then, and its guest goes on.
kill_in() {
	local test=$1 from=$2 to seen status
	to=$(other "$from")
	shift 2
	since[$from]=$(wc -l 2>/dev/null <"$work/$from.events") since[$to]=0
	await "$to"
	"$twinstep" migrate "$work/$from.sock" --to "unix:$work/$to.peer" --keep >"$work/moved" 2>"$work/move.err" &
	mover=$!
	until "$@" || ! kill -0 $mover 2>/dev/null; do sleep 0.01; done
	kill_replica "$from"
	seen=$(kept "$from")
	wait $mover
	status=$?
	mover=
	wait_for 60 decided "$to" || not_ok "$test" "$to neither goes live nor ends: $("$twinstep" status "$work/$to.sock" 2>&1)"
	if state "$to" alone; then # it was counted on, though the other one may not have said so yet
		live=$to
		runs "$to" 1 || not_ok "$test-goes-on" "$(tail -n 3 "$work/$to".[ce]*)"
		[ "$test" != joining ] || not_ok "$test-goes-live" "before it has the state: $(cat "$work/$to.err")"
	else
		kill_replica "$to" # it has ended, or waits for a guest
		live=$from
		check "$test-was-not-protected" "$(cat "$work"/?.err)" eval "! happened $from protected"
		check "$test-says-so" "status $status: $(cat "$work/move.err")" [ $status -eq 1 ]
		single "$from"
		wait_for 60 kept_since "$from" "$seen" || not_ok "$test-starts-again" "$(tail -n 3 "$work/$from".[ce]*)"
	fi
	: "${seen:=0}"
	check "$test-has-what-was-flushed" "block $seen is $(block "$live" "$seen") at $live" \
		eval "[ $seen -eq 0 ] || [ \"\$(block $live $seen)\" -ge $seen ]"
}
joins() { "$twinstep" status "$work/$1.sock" --json 2>/dev/null | grep -q '"join"'; }

truncate -s 40M "$work"/{a,b}.img
live=a
single a
runs a 1 || not_ok runs "$(tail -n 3 "$work/a".[ce]*)"
kill_in joining "$live" joins "$live"
kill_in transferred "$live" happened "$live" transferred
kill_in protected "$live" happened "$live" protected
kill_in switched "$live" eval 'happened a follows || happened b follows'
for ((n = 1; n <= rounds; n++)); do
	at=$((SECONDS * 1000 + RANDOM % 4000))
	kill_in "random-$n" "$live" eval "[ \$((SECONDS * 1000)) -ge $at ]"
done
kill_replica "$live"
exit $failed
