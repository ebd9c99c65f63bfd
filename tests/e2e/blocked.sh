#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Everything that a replica writes to is full and nobody reads it: standard error, --events, the console, a client of its
# control socket. It goes live all the same, and lets another backup join; no thread of it waits for any of them.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
declare -A pid
stuck=
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; [ -z "$stuck" ] || kill -9 $stuck 2>/dev/null; wait 2>/dev/null; }
guest='while :; do echo abcdefghijklmnopqrstuvwxyz; done'
# fifo NAME: one that is full, held open by this shell, which does not read it
fifo() {
	mkfifo "$work/$1"
	exec {fd}<>"$work/$1"
	dd if=/dev/zero of="$work/$1" bs=4096 oflag=nonblock 2>/dev/null
}
full() { ! dd if=/dev/zero of="$work/$1" bs=4096 count=1 oflag=nonblock 2>/dev/null; }
# replica SIDE ROLE OPTION...: its standard error and events go to full pipes, its console to a socket
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 1000 \
		--max-timeout 10000 --listen "unix:$work/$1.peer" --events "$work/$1.events" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
inner() { local p; p=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null); p=${p%% *}; echo "${p:-${pid[$1]}}"; }
field() { timeout 100 "$twinstep" status "$work/$1.sock" --json | sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
state() { [ "$(field "$1" state)" = "$2" ]; }
# gets_on SIDE: its guest executes instructions
gets_on() {
	local n
	n=$(field "$1" instructions)
	wait_for 30 eval "[ \"\$(field $1 instructions)\" -gt $n ]"
}
# What the threads are in, a line each: name, number of the system call that it waits in.
threads() {
	local t
	for t in /proc/"$(inner "$1")"/task/*; do
		echo "$(cat "$t/comm") $(cut -d' ' -f1 "$t/syscall" 2>/dev/null)"
	done
}
# write, pwrite64, writev, sendto, sendmsg
writes() { threads "$1" | grep -E ' (1|18|20|44|46)$'; }
# walk SIDE: no thread is found in a call that writes, twenty times in a row at most once by chance
walk() {
	local n=0 i
	for ((i = 0; i < 20; i++)); do
		writes "$1" >>"$work/writes" && n=$((n + 1))
		sleep 0.05
	done
	[ $n -le 5 ]
}

fifo b.err
fifo b.events
fifo b.con
full b.err && full b.events && full b.con || not_ok pipes "they are not full"
replica a primary --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\"" --console "$work/a.con" 2>/dev/null
replica b backup --connect "unix:$work/a.peer" --connect-wait 30000 --console "$work/b.con"
check joined "$(cat "$work/a.err")" wait_for 60 state a protected
# A client that asks and asks and reads no answer.
python3 - "$work/b.sock" "$work/stuck" <<-'EOF' &
	import socket, sys, time
	s = None
	while True:
	    try:
	        if not s:
	            s = socket.socket(socket.AF_UNIX)
	            s.settimeout(0.2)
	            s.connect(sys.argv[1])
	        s.sendall(b'{"command":"status"}\n' * 100)
	    except OSError as e:  # no room is left for a question; or it was shown the door, and comes again
	        open(sys.argv[2], "w").close()
	        if not isinstance(e, socket.timeout):
	            s = None
	            time.sleep(0.01)
EOF
stuck=$!
wait_for 20 test -e "$work/stuck"
kill -9 "$(inner a)"
wait "${pid[a]}" 2>/dev/null
unset "pid[a]"
check goes-live "$(threads b | tr '\n' ' ')" wait_for 30 state b alone
check guest-gets-on "$(threads b | tr '\n' ' ')" gets_on b
: >"$work/writes"
check no-thread-waits "$(sort "$work/writes" | uniq -c | tr '\n' ' ')" walk b
check still-full "somebody has read a pipe" eval 'full b.err && full b.events && full b.con'
check counted "$(field b log_lost) lines, $(field b events_lost) events" \
	eval '[ "$(field b log_lost)" -gt 0 ] && [ "$(field b events_lost)" -gt 0 ]'
# Another one joins what is now the live side, whose pipes are still full, and takes over.
rm -f "$work"/a.*
replica a backup --connect "unix:$work/b.peer" --connect-wait 30000 --console none
check joins-again "$(cat "$work/a.err"; threads b | tr '\n' ' ')" wait_for 60 state b protected
timeout 300 "$twinstep" switch "$work/b.sock" >"$work/said" 2>&1
check switches "$(cat "$work/said")" wait_for 30 state a protected
# Read again, the log says how much is missing.
cat <"$work/b.err" >"$work/read" &
reader=$!
timeout 300 "$twinstep" switch "$work/a.sock" >"$work/said" 2>&1
check tells-what-was-lost "$(tr -d '\0' <"$work/read" | tail -n 3)" wait_for 30 grep -aq 'lines were lost here' "$work/read"
kill $reader
check guest-gets-on-then "$(threads b | tr '\n' ' ')" gets_on b
exit $failed
