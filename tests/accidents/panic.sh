#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody's guest panicked without panic= on its command line: it span for ever, and nobody saw.
# waits for the host: report status *-protected *-event
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
build_guest() {
	${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/$1.elf" "${@:2}" tests/accidents/panic.S
}
if ! build_guest guest || ! build_guest waits -DWAIT || ! build_guest port -DPORT || ! build_guest port-waits -DPORT -DWAIT ||
	! build_guest halt -DHALT || ! build_guest halt-waits -DHALT -DWAIT || ! build_guest nmi -DNMI; then
	not_ok build "cannot build the guest"
	exit 1
fi
said='has panicked and will not reboot: no init'
machine=(--kernel "$work/guest.elf" --console "$work/out")

# Told, and left as it is.
"$twinstep" run "${machine[@]}" --control "$work/control" 2>"$work/err" </dev/null &
pid[run]=$!
check report "$(cat "$work/err")" wait_for 10 grep -qF "$said" "$work/err"
check status "$("$twinstep" status "$work/control")" wait_for 20 eval '"$twinstep" status "$work/control" --json | grep -q "\"panicked\":true"'
"$twinstep" stop "$work/control"
wait "${pid[run]}"
status=$?
check stopped "status $status: $(cat "$work/err")" eval "[ $status -eq 0 ] && [ \$(grep -c panicked '$work/err') -eq 1 ]"

# Ended, also where it is recorded: the replay ends there too.
for clock in host virtual; do
	timeout 600 "$twinstep" run "${machine[@]}" --clock $clock --on-panic stop 2>"$work/err" </dev/null
	status=$?
	check "stop-$clock" "status $status: $(cat "$work/err")" [ $status -eq 117 ]
done
timeout 600 "$twinstep" run "${machine[@]}" --on-panic reset 2>"$work/err" </dev/null
status=$?
check reset "status $status: $(cat "$work/err")" [ $status -eq 119 ]
timeout 600 "$twinstep" record -o "$work/log" "${machine[@]}" --on-panic stop 2>"$work/err" </dev/null
status=$?
check recorded "status $status: $(cat "$work/err")" [ $status -eq 117 ]
timeout 600 "$twinstep" replay "$work/log" --console none >"$work/replayed" 2>&1
status=$?
check replayed "status $status: $(cat "$work/replayed")" [ $status -eq 0 ]

# Machine version 2 has QEMU's port for it, too, and knows a processor that nothing can wake.
# ends TEST STATUS WORDS GUEST OPTION...
ends() {
	timeout 600 "$twinstep" run --machine 2 --kernel "$work/$4.elf" --console "$work/out" "${@:5}" 2>"$work/err" </dev/null
	local status=$?
	check "$1" "status $status: $(cat "$work/err")" eval "[ $status -eq $2 ] && grep -qF '$3' '$work/err'"
}
halted='halted with interrupts off'
ends port-stop 117 'the guest has panicked' port --on-panic stop
ends port-reset 119 'the guest has panicked' port --on-panic reset
ends halt-report 0 "$halted" halt
ends halt-stop 117 "$halted" halt --on-panic stop
ends halt-reset 119 "$halted" halt --on-panic reset
timeout 600 "$twinstep" run --machine 2 --kernel "$work/nmi.elf" --console "$work/out" 2>"$work/err" </dev/null
status=$?
check halt-nmi "an NMI would have woken it: status $status, $(cat "$work/err")" eval "[ $status -eq 42 ] && ! grep -q halted '$work/err'"
timeout 600 "$twinstep" run --machine 1 --kernel "$work/halt.elf" --console "$work/out" 2>"$work/err" </dev/null
status=$?
check halt-version-1 "status $status: $(cat "$work/err")" eval "[ $status -eq 0 ] && ! grep -q halted '$work/err'"
for guest in port halt; do
	timeout 600 "$twinstep" record --force -o "$work/log" --machine 2 --kernel "$work/$guest.elf" --console "$work/out" --on-panic stop \
		2>"$work/err" </dev/null
	status=$?
	check "$guest-recorded" "status $status: $(cat "$work/err")" [ $status -eq 117 ]
	timeout 600 "$twinstep" replay "$work/log" --console none >"$work/replayed" 2>&1
	status=$?
	check "$guest-replayed" "status $status: $(cat "$work/replayed")" [ $status -eq 0 ]
done

# A pair: both end, and neither takes the other's end for a failure.
"$twinstep" keygen "$work/key"
mkfifo "$work/typed"
replica() {
	"$twinstep" "$1" --key-file "$work/key" --arbiter "file:$work/arbiter-$guest" --timeout 5000 --on-panic stop \
		--events "$work/$1.events" "${@:2}" 2>"$work/$1.err" >/dev/null <>"$work/typed" &
	pid[$1]=$!
}
# pair_ends GUEST OPTION...
pair_ends() {
	guest=$1
	rm -f "$work"/*.events
	"$twinstep" arbiter init "file:$work/arbiter-$guest" >/dev/null
	replica primary --kernel "$work/$guest.elf" --listen "unix:$work/peer" "${@:2}"
	replica backup --console none --connect "unix:$work/peer" --connect-wait 30000
	check "$guest-protected" "$(cat "$work"/*.err)" wait_for 30 grep -q '"protected"' "$work/primary.events"
	echo x >"$work/typed"
	for role in primary backup; do
		wait "${pid[$role]}"
		status=$?
		check "$guest-$role" "status $status: $(cat "$work"/*.err)" [ $status -eq 117 ]
	done
	check "$guest-live" "a failover" eval "! grep -q '\"live\"' '$work/backup.events'"
	pid=()
}
pair_ends waits
check waits-event "$(cat "$work"/*.events)" grep -q '"event":"panic".*no init' "$work/primary.events"
pair_ends port-waits --machine 2
check port-event "$(cat "$work"/*.events)" grep -q '"event":"panic".*has panicked' "$work/primary.events"
pair_ends halt-waits --machine 2
check halt-said "$(cat "$work"/*.err)" eval "grep -q '$halted' '$work/primary.err' && grep -q '$halted' '$work/backup.err'"

# Linux itself.
if [ -f "$vmlinuz" ]; then
	timeout 600 "$twinstep" run --kernel "$vmlinuz" --append "$cmdline" --console "$work/out" --on-panic stop 2>"$work/err" </dev/null
	status=$?
	check linux "status $status: $(cat "$work/err")" eval "[ $status -eq 117 ] && grep -q 'will not reboot: VFS: Unable to mount root' '$work/err'"
fi
# Debian's driver, which finds the port by ACPI, tells before the last line, and although a reboot comes.
modules=$(find "$build/guest-pkgs" -name pvpanic-mmio.ko 2>/dev/null | head -n 1)
if [ -n "$modules" ] && [ -f "$initramfs" ]; then
	modules=$(dirname "$modules")
	printf 'file lib/modules/%s.ko 0644 %s/%s.ko\n' pvpanic "$modules" pvpanic pvpanic-mmio "$modules" pvpanic-mmio >"$work/list"
	{ cat "$initramfs" && "$build/guest-pkgs/newc" <"$work/list"; } >"$work/initramfs"
	loads='insmod /lib/modules/pvpanic.ko; insmod /lib/modules/pvpanic-mmio.ko; echo c >/proc/sysrq-trigger'
	timeout 600 "$twinstep" run --machine 2 --kernel "$vmlinuz" --initrd "$work/initramfs" --console "$work/out" --on-panic stop \
		--append "console=ttyS0 quiet mitigations=off panic=60 \"twinstep.run=$loads\"" 2>"$work/err" </dev/null
	status=$?
	check linux-port "status $status: $(cat "$work/err"; tail -n 5 "$work/out")" \
		eval "[ $status -eq 117 ] && grep -q 'the guest has panicked: sysrq triggered crash' '$work/err'"
fi
exit $failed
