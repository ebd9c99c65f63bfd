#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The control socket among clients that behave badly: the machine goes on, and good ones are still answered.
# waits for the host: status still-root long-line noise silent replaced name-*
# beside others
# mostly waits
. "$(dirname "$0")/lib.sh"
need_guest
command -v socat >/dev/null || {
	skip all "socat is not installed"
	exit 0
}
start() {
	"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --console none --clock host --control "$work/sock" \
		--append "$cmdline twinstep.run=\"while :; do :; done\"" 2>"$work/err" &
	machine=$!
	wait_for 30 test -S "$work/sock"
}
clients=()
cleanup() { kill "$machine" "${clients[@]}" 2>/dev/null; }
answers() { timeout 120 "$twinstep" status "$work/sock" >"$work/out" 2>&1; }
# say TEXT: sends the bytes (as for printf) and prints what comes back until the machine closes the connection, as it does
# when it has read its end.
say() { printf "$1" | timeout 120 socat -t 100 - "UNIX-CONNECT:$work/sock" 2>/dev/null; }

start
check status "no answer: $(cat "$work/out" 2>/dev/null)" answers
check mode "the socket is open to others" [ "$(stat -c %a "$work/sock")" = 600 ]
# Somebody who may reach the socket, because its mode was changed, is refused for who he is.
if [ "$(id -u)" -eq 0 ]; then
	chmod 755 "$work"
	chmod 666 "$work/sock"
	as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups timeout 120 "$@" 2>&1; }
	check other-user "another user was answered" grep -q 'only root and the user' \
		<(as_nobody socat -u "UNIX-CONNECT:$work/sock" -)
	cp "$twinstep" "$work/twinstep"
	check other-user-command "another user was answered" grep -q 'only root and the user' \
		<(as_nobody "$work/twinstep" status "$work/sock")
	chmod 600 "$work/sock"
	check still-root "no answer after that: $(cat "$work/out" 2>/dev/null)" answers
else
	skip other-user "needs root"
fi
check not-json "no error for garbage" grep -q '"ok":false' <(say 'hello\n')
check not-object "no error for a list" grep -q '"ok":false' <(say '[1,2]\n')
check unknown "no error for an unknown command" grep -q 'no such command' <(say '{"command":"fly"}\n')
check no-command "no error without a command" grep -q '"ok":false' <(say '{"command":7}\n')
check types "no error for a wrong type" grep -q '"ok":false' <(say '{"command":"balloon","bytes":"all"}\n{"command":"balloon","bytes":-4096}\n')
check no-file "a snapshot to no file was taken" grep -q '"ok":false' <(say '{"command":"snapshot","file":"x"}\n')
check deep "no error for deep nesting" grep -q '"ok":false' <(say "$(printf '[%.0s' $(seq 4000))\\n")
check two "two requests in one piece get two answers" [ "$(say '{"command":"status"}\n{"command":"status"}\n' | grep -c '"ok":true')" -eq 2 ]
head -c 1000000 /dev/zero | tr '\0' x | timeout 120 socat -u - "UNIX-CONNECT:$work/sock" 2>/dev/null
check long-line "no answer after a line without end" answers
head -c 100000 /dev/urandom | timeout 120 socat -u - "UNIX-CONNECT:$work/sock" 2>/dev/null
check noise "no answer after noise" answers
# As many silent clients as there is room for: they are dropped after a while.
python3 - "$work/sock" "$work/held" <<-'EOF' &
	import socket, sys, time
	clients = [socket.socket(socket.AF_UNIX) for _ in range(12)]
	for c in clients:
	    c.connect(sys.argv[1])
	open(sys.argv[2], "w").close()
	time.sleep(3600)
EOF
clients+=($!)
wait_for 20 test -e "$work/held"
check silent "silent clients keep others out" wait_for 20 answers
check in-use "a second machine took the socket" eval "! timeout 600 '$twinstep' run --kernel '$vmlinuz' --console none --control '$work/sock' 2>'$work/err2' && grep -q 'in use' '$work/err2'"
check still "the machine ended: $(cat "$work/err")" kill -0 "$machine"
kill -KILL "$machine"
wait "$machine" 2>/dev/null
silent() { ! answers; }
wait_for 10 silent # the process inside the jail goes with the one outside, a moment later
check left-behind "no socket left to test with" [ -S "$work/sock" ]
start
check replaced "a socket left behind is not replaced: $(cat "$work/err")" wait_for 10 answers
"$twinstep" stop "$work/sock"
wait "$machine"
status=$?
check stopped "status $status: $(cat "$work/err")" [ "$status" -eq 0 ]
# Names of machines that were killed and not started again: the next machine with a name removes their sockets.
named() {
	"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --console none --clock host --name "$1" --append "$cmdline" \
		2>"$work/err" </dev/null &
	machine=$!
	wait_for 30 "$twinstep" status "$1"
}
[ "$(id -u)" -eq 0 ] && sockets=/run/twinstep || export XDG_RUNTIME_DIR=$work sockets=$work/twinstep
killed=control-killed-$$
named "$killed"
inner=$(cat "/proc/$machine/task/$machine/children")
kill -KILL $inner
wait "$machine" 2>/dev/null
check name-left "no socket left to test with" [ -S "$sockets/$killed.sock" ]
touch -d '1 hour ago' "$sockets/$killed.sock"
check name-next "$(cat "$work/err")" named "control-next-$$"
check name-swept "it is there still" eval "[ ! -e '$sockets/$killed.sock' ] && grep -q 'removed .* control socket' '$work/err'"
"$twinstep" stop "control-next-$$"
wait "$machine"
printf x >"$work/file"
timeout 600 "$twinstep" run --kernel "$vmlinuz" --console none --control "$work/file" 2>"$work/err2"
status=$?
check not-a-socket "status $status: $(cat "$work/err2")" eval "[ $status -eq 2 ] && [ -s '$work/file' ]"
exit $failed
