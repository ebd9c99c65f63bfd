#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An unmodified Debian kernel on the soft engine: to userspace, to a shell, to power-off; the same translated
# and interpreted, with the CPU program after it.
# waits for the host: shell socket
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
run() { timeout 600 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" "$@"; }

run --console "$work/c1" --digest-every 10000000 --append "$cmdline twinstep.run=\"uname -r; cpubench; exit 7\"" >"$work/d1" 2>"$work/e1"
status=$?
check exit-code "status $status, not 7: $(tail -n 3 "$work/e1" "$work/c1")" [ "$status" -eq 7 ]
check userspace "no 'twinstep: userspace' on the console" grep -q 'twinstep: userspace' "$work/c1"
check uname "uname printed no kernel version" grep -q 'cloud-amd64' "$work/c1"
check cpu-program "the CPU program did not end: $(tail -n 3 "$work/c1")" grep -q '^cpubench total' "$work/c1"
run --engine soft:interpret --console "$work/c2" --digest-every 10000000 --append "$cmdline twinstep.run=\"uname -r; cpubench; exit 7\"" >"$work/d2" 2>"$work/e2"
n=$(grep -c '^digest [0-9]*0000000 [0-9a-f]\{16\}$' "$work/d1")
check digests "only $n digests" [ "$n" -ge 150 ]
check repeatable "translated and interpreted runs differ: $(diff "$work/d1" "$work/d2" | head -n 2 | tr '\n' ' ')" cmp -s "$work/d1" "$work/d2"
check same-console "the consoles of two runs differ" cmp -s "$work/c1" "$work/c2"

# at_prompt FILE TEXT...: types each text when one prompt more than before has appeared on the console in FILE.
at_prompt() {
	local file=$1 n=1 text
	shift
	for text in "$@"; do
		wait_for 60 eval "[ \$(grep -ao '/ # ' '$file' | wc -l) -ge $n ]"
		printf '%s\n' "$text"
		n=$((n + 1))
	done
}

: >"$work/c3"
at_prompt "$work/c3" 'echo shell-$((6*7))' exit | run --append "$cmdline" >"$work/c3" 2>"$work/e3"
status=$?
check shell "no answer from the shell: $(tail -n 3 "$work/c3")" grep -aq 'shell-42' "$work/c3"
check poweroff "status $status after power-off: $(cat "$work/e3")" [ "$status" -eq 0 ]

run --console none --json --append "$cmdline twinstep.run=true" >"$work/j" 2>"$work/e4"
status=$?
check json "no JSON summary: $(cat "$work/j" "$work/e4" | head -n 2)" grep -q '"event":"end".*"status":0.*"instructions":[1-9]' "$work/j"

"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --console "unix:$work/sock" --append "$cmdline" \
	>"$work/o5" 2>"$work/e5" &
machine=$!
cleanup() { kill "$machine" 2>/dev/null; }
if command -v socat >/dev/null; then
	wait_for 10 test -S "$work/sock"
	: >"$work/c5"
	at_prompt "$work/c5" 'echo socket-$((40+2))' '' |
		timeout 600 socat -t 1 - "UNIX-CONNECT:$work/sock" >"$work/c5" 2>&1
	check socket "no answer over the socket: $(tail -n 3 "$work/c5")" grep -aq socket-42 "$work/c5"
else
	skip socket "socat is not installed"
fi
kill "$machine"
wait "$machine"
status=$?
check terminated "status $status after SIGTERM, not 143" [ "$status" -eq 143 ]
check socket-removed "the socket is still there" [ ! -e "$work/sock" ]
exit $failed
