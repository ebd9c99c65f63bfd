#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody started `twinstep primary` beside a live pair, and forgot to mount the arbiter's directory.
# waits for the host: *
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
pids=()
cleanup() { [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null; wait 2>/dev/null; }
arbiter=file:$work/shared/web

# replica NAME ROLE OPTION...
options() {
	printf '%s\n' --insecure --arbiter "$arbiter" --timeout 5000 --console none --listen "unix:$work/$1.peer" \
		--control "$work/$1.sock" --events "$work/$1.events"
}
boot=(--no-wait --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline")
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
start() {
	local name=$1
	shift
	mapfile -t common < <(options "$name")
	"$twinstep" "$@" "${common[@]}" 2>"$work/$name.err" &
	pids+=($!)
}
kill_inner() {
	local inner
	inner=$(cat "/proc/$1/task/$1/children")
	kill -9 ${inner:-$1}
}

# Not mounted: an error, and nothing is made.
start early primary "${boot[@]}"
wait "${pids[0]}"
check not-mounted "status $?: $(cat "$work/early.err")" grep -q 'is it mounted' "$work/early.err"
check nothing-made "a directory was made" [ ! -e "$work/shared" ]
mkdir "$work/shared" "$work/shared/web"
start empty primary "${boot[@]}"
wait "${pids[1]}"
check no-marker "status $?: $(cat "$work/empty.err")" grep -q 'arbiter init' "$work/empty.err"
"$twinstep" arbiter init "$arbiter"
check init "status $?" [ $? -eq 0 ]
check show "$("$twinstep" arbiter show "$arbiter" 2>&1)" eval '"$twinstep" arbiter show "$arbiter" | grep -q "generation 0"'

# Beside a live pair: refused, no generation taken; with --force, it takes one. The pair's next failover works.
pids=()
start a primary "${boot[@]}"
wait_for 30 state a alone
start b backup --connect "unix:$work/a.peer"
check protected "$(cat "$work"/[ab].err)" wait_for 60 state a protected
mapfile -t common < <(options intruder)
"$twinstep" primary "${boot[@]}" "${common[@]}" 2>"$work/intruder.err"
status=$?
check refused "status $status: $(cat "$work/intruder.err")" [ $status -eq 118 ]
check refused-says "$(cat "$work/intruder.err")" grep -q -- 'twinstep backup.*--force' "$work/intruder.err"
check untouched "$("$twinstep" arbiter show "$arbiter")" eval '"$twinstep" arbiter show "$arbiter" --json | grep -q "\"generation\": 1,"'
start forced primary "${boot[@]}" --force
wait_for 60 state forced alone
kill_inner "${pids[2]}"
had() { grep -q "\"event\":\"$2\"" "$work/$1.events"; }
check taken "$(cat "$work/a.err")" wait_for 60 had a taken
check healed "$(cat "$work/a.err")" wait_for 60 had a healed
check still-protected "$("$twinstep" status "$work/a.sock")" state a protected
kill_inner "${pids[0]}"
check failover "$(cat "$work/b.err")" wait_for 60 state b alone
kill_inner "${pids[1]}"
wait "${pids[@]}" 2>/dev/null

# When none is live any more, a person says so.
pids=()
start again primary "${boot[@]}" --force
check force "$(cat "$work/again.err" 2>&1)" wait_for 30 state again alone
check next-generation "$("$twinstep" arbiter show "$arbiter")" eval '"$twinstep" arbiter show "$arbiter" | grep -q "generation 5,"'
exit $failed
