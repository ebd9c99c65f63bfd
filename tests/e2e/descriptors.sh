#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Standard descriptors that are closed at the start, as some supervisors leave them: no other file takes their place.
# waits for the host: helpers-*
. "$(dirname "$0")/lib.sh"
kernel=$build/tests/guest/except.elf
[ -f "$kernel" ] || {
	skip all "no guest programs; run make guest-programs"
	exit 0
}
image=$work/fd.img
truncate -s 64K "$work/zero"

# untouched TEST COMMAND...: the command, started with descriptors closed, runs its guest and leaves the disk image alone.
untouched() {
	local test=$1 status=0
	shift
	cp "$work/zero" "$image"
	"$@" || status=$?
	check "$test" "exit status $status, or something was written to the image" \
		eval '[ "$status" -eq 0 ] && cmp -s "$image" "$work/zero"'
}
run() { timeout 600 "$twinstep" "$1" --kernel "$kernel" --disk "$image" --console stdio "${@:2}"; }
none() { run "$@" <&- >&- 2>&-; }
no_input() { run "$@" <&- >/dev/null 2>&1; }
no_output() { run "$@" </dev/null >&- 2>/dev/null; }
no_errors() { run "$@" </dev/null >/dev/null 2>&-; }

for closed in none no_input no_output no_errors; do
	untouched "run-$closed" "$closed" run
	untouched "run-no-jail-$closed" "$closed" run --no-jail
done

# Commands with processes of their own (replicas, keepers, what asks the arbiter): all of them have /dev/null in all three
# places, but for those of the keeper that it has closed.
pids=()
cleanup() { [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null; wait 2>/dev/null; }
# standard PID N: it has become at least N processes, of which no one has a file in place of a standard descriptor.
standard() {
	local process fd link all
	mapfile -t all < <(tree "$1")
	echo "${#all[@]} processes" >"$work/found"
	[ ${#all[@]} -ge "$2" ] || return 1
	for process in "${all[@]}"; do
		for fd in 0 1 2; do
			link=$(readlink "/proc/$process/fd/$fd")
			[ "${link:-/dev/null}" = /dev/null ] || {
				echo "$(cat "/proc/$process/comm"): $fd is $link" >"$work/found"
				return 1
			}
		done
	done
}
# helpers TEST N COMMAND OPTION...: N processes or more come of it.
helpers() {
	"$twinstep" "${@:3}" <&- >&- 2>&- &
	pids=($!)
	wait_for 20 standard "${pids[0]}" "$2"
	check "helpers-$1" "$(cat "$work/found")" standard "${pids[0]}" "$2"
	kill "${pids[0]}"
	wait "${pids[0]}"
	pids=()
}
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" tests/accidents/chatter.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
"$twinstep" keygen "$work/key"
mkdir "$work/arbiter"
helpers run 3 run --kernel "$work/guest.elf" --console none --control "$work/run.sock"
helpers record 3 record --kernel "$work/guest.elf" --console none -o "$work/helpers.log"
helpers pair 6 pair --kernel "$work/guest.elf" --console none --name "descriptors$$"
helpers exporter 1 exporter --listen 127.0.0.1:7439
helpers witness 1 arbiter serve "$work/arbiter" --listen 127.0.0.1:7440 --key-file "$work/key"

untouched record none record -o "$work/log"
timeout 600 "$twinstep" replay "$work/log" <&- >&- 2>&-
check replay "exit status $?" [ $? -eq 0 ]
exit $failed
