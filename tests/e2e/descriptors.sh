#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Standard descriptors that are closed at the start, as some supervisors leave them: no other file takes their place.
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
untouched record none record -o "$work/log"
timeout 600 "$twinstep" replay "$work/log" <&- >&- 2>&-
check replay "exit status $?" [ $? -eq 0 ]
exit $failed
