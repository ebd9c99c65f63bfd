#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The control socket of a running machine: status, stop, balloon, and snapshots; a restored machine goes on exactly as
# the original, disks included.
# waits for the host: status status-* snapshot snapshot-2 exit-code restored-? console-? record-restored interrupted balloon-grows
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
export XDG_RUNTIME_DIR=$work/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }
every=20000000
head -c 4194304 /dev/zero | tr '\0' d >"$work/disk"
shown() { grep -ao '^round [0-9]*' "$1" | tr -d 'a-z '; }
# It goes on until it is told to end, as fast as the host may be.
script='i=0; while :; do head -c 100000 /dev/urandom | dd of=/dev/vda bs=100k seek=$((i%8)) conv=notrunc,fsync 2>/dev/null; md5sum /dev/vda; cat /proc/interrupts | md5sum; i=$((i+1)); echo round $i; done'

"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --disk "$work/disk,overlay" --clock virtual \
	--digest-every $every --console "$work/console" --control "$work/sock" \
	--append "$cmdline twinstep.run=\"$script\"" >"$work/digests" 2>"$work/err" &
machine=$!
wait_for 60 grep -aq 'round 1' "$work/console"
"$twinstep" status "$work/sock" >"$work/status"
check status "no status: $(cat "$work/status" "$work/err")" grep -q '^state *running' "$work/status"
"$twinstep" status "$work/sock" --json >"$work/json"
check status-json "no JSON: $(cat "$work/json")" grep -q '"instructions":[1-9].*"ok":true' "$work/json"
there=$PWD/$twinstep
[ "${twinstep:0:1}" != / ] || there=$twinstep
(cd "$work" && "$there" status sock) >"$work/status" 2>&1
check status-here "the socket's name alone is not enough: $(cat "$work/status")" grep -q '^state *running' "$work/status"
"$twinstep" snapshot "$work/sock" "$work/snap1" --json >"$work/s1" 2>"$work/err2"
check snapshot "no snapshot: $(cat "$work/err2")" grep -q '"ok":true' "$work/s1"
"$twinstep" snapshot "$work/sock" "$work/snap1" 2>"$work/err2"
status=$?
check no-overwrite "not refused: $(cat "$work/err2")" [ $status -eq 1 ]
# Six rounds lie between the snapshots, wherever the guest was when the first was taken.
wait_for 60 grep -aq "^round $(($(shown "$work/console" | tail -n 1) + 6))[^0-9]" "$work/console"
"$twinstep" snapshot "$work/sock" "$work/snap2" --json >"$work/s2" 2>"$work/err2"
check snapshot-2 "no snapshot: $(cat "$work/err2")" [ -s "$work/snap2" ]
# finish CONSOLE: tells the machine to end when its guest has come so far; its status in $status.
last=$(($(shown "$work/console" | tail -n 1) + 6))
finish() {
	wait_for 90 grep -aq "^round $last[^0-9]" "$1"
	"$twinstep" stop "$work/sock" 2>"$work/err2"
	wait "$machine"
	status=$?
	machine=
}
finish "$work/console"
check exit-code "status $status: $(tail -n 2 "$work/err" "$work/err2" "$work/console")" [ "$status" -eq 0 ]
check socket-gone "the control socket is still there" [ ! -e "$work/sock" ]

# Taking a snapshot is an input of the original as well, which the one restored from the first does not get.
second=$(sed -n 's/.*"instructions":\([0-9]*\).*/\1/p' "$work/s2")
last_of() { sed -n '$s/digest \([0-9]*\) .*/\1/p' "$1"; }
# From the first whole round of the restored one to the last that both have shown.
rounds() { sed -n "/^round $1[^0-9]/,/^round $last[^0-9]/p" "$2"; }
for k in 1 2; do
	"$twinstep" run --restore "$work/snap$k" --disk "$work/disk,overlay" --clock virtual --digest-every $every \
		--control "$work/sock" --console "$work/console$k" >"$work/digests$k" 2>"$work/err" </dev/null &
	machine=$!
	finish "$work/console$k"
	check "restored-$k" "status $status: $(tail -n 2 "$work/err" "$work/err2")" [ "$status" -eq 0 ]
	first=$(sed -n '1s/digest \([0-9]*\) .*/\1/p' "$work/digests$k")
	end=$(printf '%s\n' "$(last_of "$work/digests")" "$(last_of "$work/digests$k")" | sort -n | head -n 1)
	for f in digests "digests$k"; do
		awk -v k=$k -v a="$first" -v b="$second" -v end="$end" '$2 >= a && $2 <= end && (k == 2 || $2 < b)' "$work/$f" >"$work/compare-$f"
	done
	n=$(wc -l <"$work/compare-digests$k")
	check "enough-$k" "only $n digests to compare" [ "$n" -ge 5 ]
	check "same-$k" "the restored machine went another way: $(diff "$work/compare-digests" "$work/compare-digests$k" | head -n 3)" \
		cmp -s "$work/compare-digests" "$work/compare-digests$k"
	whole=$(shown "$work/console$k" | head -n 1)
	check "console-$k" "another console output from round $whole on" \
		eval "[ -n '$whole' ] && [ '$whole' -lt $last ] && cmp -s <(rounds '$whole' '$work/console') <(rounds '$whole' '$work/console$k')"
done
head -c 100000 "$work/snap1" >"$work/short"
timeout 600 "$twinstep" run --restore "$work/short" --disk "$work/disk,overlay" 2>"$work/err" </dev/null
status=$?
check restore-short "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && [ \$(lines '$work/err') -eq 1 ]"

# What does not fit a snapshot.
refused() {
	local test=$1 word=$2 status
	shift 2
	timeout 600 "$twinstep" run --restore "$work/snap1" --console none "$@" 2>"$work/err" </dev/null
	status=$?
	check "restore-$test" "status $status: $(cat "$work/err")" \
		eval "[ $status -eq 2 ] && [ \$(lines '$work/err') -eq 1 ] && grep -qF -- '$word' '$work/err'"
}
refused memory 'with 256 MiB of memory: leave out --memory' --disk "$work/disk,overlay" --memory 128M
refused no-disk '0 NICs and 1 disks'
refused disk-in-place 'use --disk FILE,overlay' --disk "$work/disk"
head -c 2097152 "$work/disk" >"$work/half"
refused disk-size 'disk size in sectors' --disk "$work/half,overlay"

# A recording of a restored machine replays; its snapshot too.
"$twinstep" record -o "$work/log" --restore "$work/snap2" --disk "$work/disk,overlay" --clock host --checkpoint 2 \
	--control "$work/sock" --console "$work/console3" 2>"$work/err" </dev/null &
machine=$!
finish "$work/console3"
check record-restored "status $status: $(cat "$work/err")" [ "$status" -eq 0 ]
timeout 600 "$twinstep" replay "$work/log" --console "$work/console4" 2>"$work/err"
status=$?
check replay-restored "status $status: $(cat "$work/err")" eval "[ $status -eq 0 ] && cmp -s '$work/console3' '$work/console4'"
timeout 600 "$twinstep" replay "$work/log" --restore "$work/snap1" --console none 2>"$work/err"
status=$?
check other-snapshot "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && grep -q 'not the one' '$work/err'"

# A disk that is written in place; balloon; stop; names.
"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --disk "$work/disk" --clock host --console "$work/console5" \
	--name test-machine --append "$cmdline twinstep.run=\"echo ready; while :; do grep MemFree /proc/meminfo; sleep 1; done\"" 2>"$work/err" &
machine=$!
wait_for 60 grep -aq ready "$work/console5"
"$twinstep" snapshot test-machine "$work/snap3" 2>"$work/err2"
status=$?
"$twinstep" status test-machine --json >"$work/json"
pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' "$work/json")
kill -STOP "$pid"
timeout --preserve-status -s INT 1 "$twinstep" snapshot test-machine "$work/snap4" 2>"$work/err3"
interrupted=$?
kill -CONT "$pid"
check interrupted "status $interrupted, left behind: $(ls "$work")" \
	[ "$interrupted $(find "$work" -name 'snap4*')" = "130 " ]
check in-place "status $status: $(cat "$work/err2")" eval "[ $status -eq 1 ] && grep -q 'written in place' '$work/err2' && [ ! -e '$work/snap3' ]"
"$twinstep" balloon test-machine 64M 2>"$work/err2"
status=$?
check balloon "refused: $(cat "$work/err2")" [ $status -eq 0 ]
free() { grep -a MemFree "$work/console5" | tail -n 1 | tr -dc 0-9; }
before=$(free)
shrunk() { [ "$(free)" -lt $((before - 40000)) ]; }
check balloon-grows "memory did not shrink from $before kB: $(free)" wait_for 20 shrunk
"$twinstep" balloon test-machine 1T 2>"$work/err2"
status=$?
check balloon-limit "a balloon larger than the guest was accepted" [ $status -eq 1 ]
check private "the directory of the sockets is open to others" [ "$(stat -c %a "$XDG_RUNTIME_DIR/twinstep" 2>/dev/null || stat -c %a /run/twinstep)" = 700 ]
"$twinstep" stop test-machine 2>"$work/err2"
status=$?
check stop "refused: $(cat "$work/err2")" [ $status -eq 0 ]
wait "$machine"
status=$?
machine=
check stopped "status $status: $(cat "$work/err")" [ "$status" -eq 0 ]
"$twinstep" status test-machine 2>"$work/err2"
status=$?
check nobody "status $status: $(cat "$work/err2")" eval "[ $status -eq 1 ] && grep -q 'no such machine' '$work/err2'"
exit $failed
