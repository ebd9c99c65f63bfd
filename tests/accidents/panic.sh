#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody's guest panicked without panic= on its command line: it span for ever, and nobody saw.
# waits for the host: report status protected pair-event
. "$(dirname "$0")/../e2e/lib.sh"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
build_guest() {
	${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/$1.elf" "${@:2}" tests/accidents/panic.S
}
if ! build_guest guest || ! build_guest waits -DWAIT; then
	not_ok build "cannot build the guest"
	exit 1
fi
said='has panicked and will not reboot: no init'
machine=(--kernel "$work/guest.elf" --console "$work/out")

# Told, and left as it is.
"$twinstep" run "${machine[@]}" --control "$work/control" 2>"$work/err" </dev/null &
pid[run]=$!
check report "$(cat "$work/err")" wait_for 10 grep -qF "$said" "$work/err"
check status "$("$twinstep" status "$work/control")" eval '"$twinstep" status "$work/control" --json | grep -q "\"panicked\":true"'
"$twinstep" stop "$work/control"
wait "${pid[run]}"
status=$?
check stopped "status $status: $(cat "$work/err")" eval "[ $status -eq 0 ] && [ \$(grep -c panicked '$work/err') -eq 1 ]"

# Ended, also where it is recorded: the replay ends there too.
for clock in host virtual; do
	timeout 60 "$twinstep" run "${machine[@]}" --clock $clock --on-panic stop 2>"$work/err" </dev/null
	status=$?
	check "stop-$clock" "status $status: $(cat "$work/err")" [ $status -eq 117 ]
done
timeout 60 "$twinstep" run "${machine[@]}" --on-panic reset 2>"$work/err" </dev/null
status=$?
check reset "status $status: $(cat "$work/err")" [ $status -eq 119 ]
timeout 60 "$twinstep" record -o "$work/log" "${machine[@]}" --on-panic stop 2>"$work/err" </dev/null
status=$?
check recorded "status $status: $(cat "$work/err")" [ $status -eq 117 ]
timeout 60 "$twinstep" replay "$work/log" --console none >"$work/replayed" 2>&1
status=$?
check replayed "status $status: $(cat "$work/replayed")" [ $status -eq 0 ]

# A pair: both end, and neither takes the other's end for a failure.
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null
replica() {
	"$twinstep" "$1" --key-file "$work/key" --arbiter "file:$work/arbiter" --timeout 5000 --on-panic stop \
		--events "$work/$1.events" "${@:2}" 2>"$work/$1.err" >/dev/null <>"$work/typed" &
	pid[$1]=$!
}
mkfifo "$work/typed"
replica primary --kernel "$work/waits.elf" --listen "unix:$work/peer"
replica backup --console none --connect "unix:$work/peer" --connect-wait 30000
check protected "$(cat "$work"/*.err)" wait_for 30 grep -q '"protected"' "$work/primary.events"
echo x >"$work/typed"
for role in primary backup; do
	wait "${pid[$role]}"
	status=$?
	check "pair-$role" "status $status: $(cat "$work"/*.err)" [ $status -eq 117 ]
done
check pair-event "$(cat "$work"/*.events)" grep -q '"event":"panic".*no init' "$work/primary.events"
check pair-live "a failover" eval "! grep -q '\"live\"' '$work/backup.events'"
pid=()

# Linux itself.
if [ -f "$vmlinuz" ]; then
	timeout 300 "$twinstep" run --kernel "$vmlinuz" --append "$cmdline" --console "$work/out" --on-panic stop 2>"$work/err" </dev/null
	status=$?
	check linux "status $status: $(cat "$work/err")" eval "[ $status -eq 117 ] && grep -q 'will not reboot: VFS: Unable to mount root' '$work/err'"
fi
exit $failed
