#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What becomes of the events of a guest that is up: the program of --on-event, the server of --webhook, the journal, and
# `log --follow`; a server that is gone holds nobody up, and what it does not take is counted.
# waits for the host: *
. "$(dirname "$0")/lib.sh"
in_namespace "$@"
need_guest
ip link set lo up
map=
[ "$(id -u)" -eq 0 ] || map="--user --map-root-user"
mkdir -p "$work/run/systemd/journal" "$work/lib"
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
cat >"$work/hook" <<-EOF
	#!/bin/sh
	# Slow, and fails: nobody waits for it.
	echo "\$TWINSTEP_GUEST \$TWINSTEP_EVENT \$1 \$(cat)" >>"$work/hooked"
	sleep 2
	exit 3
EOF
chmod +x "$work/hook"
cat >"$work/ev.conf" <<-EOF
	kernel = $(realpath "$vmlinuz")
	initrd = $(realpath "$initramfs")
	append = $cmdline twinstep.run="while :; do :; done"
	memory = 128M
	arbiter = file:$work/arbiter
	key-file = $work/key
	listen = unix:$work/peer
	connect = unix:$work/nobody
	first = here
	on-event = $work/hook
	webhook = http://127.0.0.1:8099/hook
	[host here]
EOF
# Answers the first request with 503 and keeps what comes with the others; the journal's socket is kept beside.
cat >"$work/listen.py" <<-'EOF'
	import http.server, os, socket, sys, threading
	work = sys.argv[1]
	class Hook(http.server.BaseHTTPRequestHandler):
	    seen = 0
	    def do_POST(self):
	        body = self.rfile.read(int(self.headers["Content-Length"]))
	        Hook.seen += 1
	        if Hook.seen > 1:
	            with open(work + "/posted", "ab") as f:
	                f.write(self.headers["Content-Type"].encode() + b" " + body + b"\n")
	        self.send_response(503 if Hook.seen == 1 else 204)
	        self.end_headers()
	    def log_message(self, *args):
	        pass
	journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	journal.bind(work + "/run/systemd/journal/socket")
	def keep():
	    while True:
	        got = journal.recv(65536)
	        with open(work + "/journal", "ab") as f:
	            f.write(got + b"\n")
	threading.Thread(target=keep, daemon=True).start()
	http.server.HTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
EOF
python3 "$work/listen.py" "$work" &
listener=$!
export XDG_STATE_HOME=$work/lib XDG_RUNTIME_DIR=$work/run
inside() {
	exec unshare --uts --mount $map sh -c 'hostname here; mount --bind "$1/run" /run; mount --bind "$1/lib" /var/lib; mkdir -p -m 700 /run/twinstep; shift; exec "$@"' \
		sh "$work" "$@"
}
cleanup() { kill "$listener" ${up:-} ${follower:-} 2>/dev/null; wait 2>/dev/null; }
wait_for 10 test -S "$work/run/systemd/journal/socket"
JOURNAL_STREAM=1:1 inside "$(realpath "$twinstep")" up "$work/ev.conf" 2>"$work/err" &
up=$!
inside "$(realpath "$twinstep")" log ev --follow >"$work/followed" 2>"$work/err2" &
follower=$!
check on-event "$(cat "$work/hooked" "$work/err" 2>&1)" wait_for 30 grep -q '^ev start start {.*"event":"start".*}$' "$work/hooked"
check webhook "$(cat "$work/posted" "$work/err" 2>&1)" wait_for 30 grep -q '^application/json {.*"event":"start".*"guest":"ev"' "$work/posted"
check webhook-again "the first event did not come after a 503: $(cat "$work/posted")" wait_for 20 grep -q '"event":"role"' "$work/posted"
check follow "$(cat "$work/followed" "$work/err2")" wait_for 20 grep -qE 'Z +start ' "$work/followed"
check journal "$(cat "$work/journal" 2>&1)" wait_for 20 grep -q '^TWINSTEP_EVENT=start' "$work/journal"
check journal-guest "$(cat "$work/journal")" grep -q '^TWINSTEP_GUEST=ev' "$work/journal"
kill "$listener"
wait "$listener" 2>/dev/null
# Nobody takes them now. A stranger at the peer's socket is an event, and `up` goes on all the same.
state() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get("webhook", {}).get(sys.argv[2], 0))' "$work/run/twinstep/ev/state" "$1"; }
knock() { python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"hello?\n" * 9); s.recv(100)' "$work/peer" 2>/dev/null; }
refused() { knock; [ "$(grep -c ' refused ' "$work/followed")" -ge 3 ]; }
check follow-on "$(cat "$work/followed")" wait_for 20 refused
lost() { knock; [ "$(state lost)" -ge 1 ]; }
check lost "delivered $(state delivered), lost $(state lost): $(cat "$work/err")" wait_for 30 lost
check delivered "none was" [ "$(state delivered)" -ge 1 ]
check said-once "$(grep webhook "$work/err")" [ "$(grep -c 'is lost' "$work/err")" -eq 1 ]
kill -TERM "$follower"
wait "$follower"
status=$?
check follow-ends "status $status: $(cat "$work/err2")" [ $status -eq 0 ]
kill -TERM "$up"
wait "$up"
status=$?
check ends "status $status: $(tail -n 2 "$work/err")" [ $status -eq 0 ]
exit $failed
