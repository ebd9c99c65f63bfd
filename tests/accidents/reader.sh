#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody stopped the pager, terminal or program that read a guest's console (Ctrl-S, Ctrl-Z), or ended it.
# waits for the host: *
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" tests/accidents/chatter.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
for kind in pipe fifo pty unix; do
	mkdir "$work/$kind"
	python3 tests/accidents/reader.py $kind "$twinstep" "$work/guest.elf" "$work/$kind" || failed=1
done

# Virtual time stands still while nobody reads: nothing is lost, status tells, and the machine can be ended all the same.
stands_still() { "$twinstep" status "$work/control" --json | grep -q '"console_waits": *true'; }
for how in stop signal; do
	mkfifo "$work/$how.fifo"
	exec 9<>"$work/$how.fifo"
	"$twinstep" run --kernel "$work/guest.elf" --console "$work/$how.fifo" --control "$work/control" 2>"$work/err" </dev/null 9<&- &
	machine=$!
	wait_for 20 test -S "$work/control"
	wait_for 20 stands_still
	check "virtual-$how-waits" "$("$twinstep" status "$work/control" --json 2>&1)" stands_still
	"$twinstep" snapshot "$work/control" "$work/snapshot" 2>"$work/err2"
	check "virtual-$how-told" "status $?: $(cat "$work/err2")" grep -q 'waits until somebody reads its console' "$work/err2"
	if [ $how = stop ]; then "$twinstep" stop "$work/control" 2>"$work/err2"; else kill $machine; fi
	wait_for 10 eval "! kill -0 $machine"
	check "virtual-$how" "it does not end: $(cat "$work/err" "$work/err2")" eval '! kill -9 $machine 2>/dev/null'
	wait $machine
	status=$?
	exec 9<&-
	check "virtual-$how-status" "status $status: $(cat "$work/err")" [ $status -eq $([ $how = stop ] && echo 0 || echo 143) ]
done
exit $failed
