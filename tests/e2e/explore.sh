#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A service with a race is recorded, explored until it fails, shrunk; the failure's recording replays, and gdb walks back
# from the assertion to the write that lost an update. EXPLORE_WORK (20) steps of other work for each update, EXPLORE_RUNS
# (4000), EXPLORE_REPLAYS (3), EXPLORE_NATIVE (0): so often the service runs on this host itself, on one of its processors.
# beside others
# waits for the host: found
. "$(dirname "$0")/lib.sh"
need_guest
log=$work/log out=$work/out err=$work/err socket=$work/gdb.sock
rounds=${EXPLORE_ROUNDS:-150} jobs=${EXPLORE_JOBS:-2}
${CC:-cc} -O1 -g -Wall -static -pthread -no-pie -DROUNDS=$rounds -DWORK="${EXPLORE_WORK:-20}" -o "$work/service" tests/explore/service.c \
	2>"$err" || { not_ok compile "$(cat "$err")"; exit 1; }
printf 'dir dev 0755\nchar dev/console 0600 5 1\nfile init 0755 %s\n' "$work/service" | "$build/guest-pkgs/newc" >"$work/initramfs"
if [ "${EXPLORE_NATIVE:-0}" -gt 0 ]; then
	failures=0
	for _ in $(seq "$EXPLORE_NATIVE"); do taskset -c 0 "$work/service" >/dev/null </dev/null || failures=$((failures + 1)); done
	echo "on this host itself $failures of $EXPLORE_NATIVE runs fail"
fi

# The recording begins where the service waits for its first byte.
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }
mkfifo "$work/in"
sleep 1000 >"$work/in" &
holder=$!
timeout 3000 "$twinstep" run --kernel "$vmlinuz" --initrd "$work/initramfs" --memory 80M --clock virtual --control "$work/control" \
	--append "$cmdline" <"$work/in" >"$work/console" 2>"$err" &
machine=$!
wait_for 60 grep -aq '^ready' "$work/console"
"$twinstep" snapshot "$work/control" "$work/snapshot" >"$out" 2>"$err"
check snapshot "status $?: $(cat "$err" "$work/console")" [ -s "$work/snapshot" ]
[ "$failed" = 0 ] || exit 1
"$twinstep" stop "$work/control" >/dev/null 2>&1
kill "$holder"
wait "$machine"
machine=
echo | timeout 3000 "$twinstep" record -o "$log" --restore "$work/snapshot" --clock virtual >"$work/console" 2>"$err"
check recorded "status $?: $(cat "$err" "$work/console")" grep -aq '^begin' "$work/console"
[ "$failed" = 0 ] || exit 1

explore() { timeout 3000 "$twinstep" explore "$@" >"$out" 2>"$err" </dev/null; }
began=$SECONDS
explore "$log" -o "$work/failure" --jobs "$jobs" --runs "${EXPLORE_RUNS:-4000}" --after '^begin' --fail-status 1 --json
status=$?
check found "status $status: $(cat "$out" "$err")" [ $status = 0 ]
[ "$failed" = 0 ] || exit 1
echo "after $((SECONDS - began)) s: $(cat "$out")"
# How few are left differs with the recording. Each of them was left out once, and the run with all of them repeated.
check fewest "$(cat "$out")" python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
counts = [c["count"] for c in r["changes"]]
assert 1 <= len(counts) <= r["drawn"] and counts == sorted(counts), counts
assert r["shrinking"] > (len(counts) if len(counts) > 1 else 0), r["shrinking"]' "$out"
good=0
for _ in $(seq "${EXPLORE_REPLAYS:-3}"); do
	timeout 3000 "$twinstep" replay "$work/failure" >"$work/console" 2>"$err" </dev/null
	[ $? = 1 ] && grep -aq '^lost update' "$work/console" && good=$((good + 1))
done
check replays "$good of them fail: $(cat "$err")" [ "$good" = "${EXPLORE_REPLAYS:-3}" ]

# From the assertion back: the last write that did not make the counter larger is the one that lost updates.
timeout 3000 "$twinstep" replay "$work/failure" --gdb "unix:$socket" --console none >"$work/replay" 2>&1 &
machine=$!
wait_for 20 [ -S "$socket" ]
timeout 3000 gdb -nx -q -batch -ex 'set confirm off' -ex 'set pagination off' -ex "file $work/service" \
	-ex "target remote $socket" -x tests/explore/walk.gdb >"$out" 2>&1 </dev/null
check walk "$(tail -n 20 "$out")" grep -q '^at the assertion: [0-9]* of' "$out"
check racing-write "$(tail -n 20 "$out")" grep -Eq '^the racing write: [0-9]+ became [0-9]+' "$out"
check racing-place "$(tail -n 20 "$out")" grep -q '^count_one + ' "$out"
wait "$machine"
machine=
exit "$failed"
