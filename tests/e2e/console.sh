#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The console on a terminal: raw mode, the escape key, and the terminal as it was after every kind of end.
# waits for the host: *-status *-restored raw ctrl-c-guest
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
command -v script >/dev/null || {
	skip all "script(1) is not installed"
	exit 0
}

cat >"$work/session" <<SESSION
stty -a >"$work/before"
"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline" &
echo \$! >"$work/pid"
fg >/dev/null
echo \$? >"$work/status"
stty -a >"$work/after"
SESSION

# session TEST STATUS COMMAND...: runs the session on a terminal of its own; once the guest's shell is there, COMMAND
# says what is typed.
session() {
	local test=$1 want=$2
	shift 2
	rm -f "$work"/{pid,status,before,after,screen}
	: >"$work/screen"
	{
		wait_for 60 grep -aq '/ # ' "$work/screen" && stty -a -F "/proc/$(cat "$work/pid")/fd/0" >"$work/during"
		"$@"
		wait_for 20 test -s "$work/after"
	} | timeout 600 script -qfec "bash -m $work/session" /dev/null >"$work/screen" 2>&1
	check "$test-status" "status $(cat "$work/status"), not $want" [ "$(cat "$work/status")" = "$want" ]
	check "$test-restored" "the terminal's mode is not what it was" cmp -s "$work/before" "$work/after"
}
prompts() { [ "$(grep -ao '/ # ' "$work/screen" | wc -l)" -ge "$1" ]; }
type_escape() { printf '\001x'; }
type_ctrl_c() {
	printf 'echo sleeps-$((6*7)); sleep 1000\n'
	wait_for 60 grep -aq sleeps-42 "$work/screen"
	printf '\003'
	wait_for 60 prompts 2
	printf 'echo alive-$((6*7))\n'
	wait_for 20 grep -aq alive-42 "$work/screen"
	printf '\001x'
}
send_signal() { kill "-$1" "$(cat "$work/pid")"; }

session escape 0 type_escape
check raw "the terminal was not raw while the machine ran" grep -q -- '-icanon' "$work/during"
session ctrl-c 0 type_ctrl_c
check ctrl-c-guest "Ctrl-C did not reach the guest" grep -aq alive-42 "$work/screen"
session term 143 send_signal TERM
session abort 134 send_signal ABRT
exit $failed
