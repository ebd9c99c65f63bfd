#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The units of systemd as its own tools judge them; what `up` tells systemd, to a socket that stands in for it; the jail
# whole inside the unit's capabilities. Under a systemd that is process 1: tests/soak/systemd.py.
# waits for the host: ready watchdog hang stopping
. "$(dirname "$0")/lib.sh"
need_guest
units=$work/units
mkdir -p "$units"
for f in tools/systemd/*.in tools/systemd/*.target tools/systemd/*.slice; do
	sed "s|@BINDIR@/twinstep|$(realpath "$twinstep")|" "$f" >"$units/$(basename "$f" .in)"
done
# A guest's unit has to keep CAP_SYS_ADMIN and namespaces for the jail: 5.7 of 10 is what that leaves.
if command -v systemd-analyze >/dev/null; then
	SYSTEMD_UNIT_PATH=$units: systemd-analyze verify --man=no "$units/twinstep@web.service" "$units/twinstep.target" \
		"$units/twinstep.slice" "$units/twinstep-arbiter.service" "$units/twinstep-exporter.service" >"$work/verify" 2>&1
	check verify "$(cat "$work/verify")" eval '! grep -q "$units" "$work/verify"'
	systemd-analyze security --offline=yes --threshold=60 "$units/twinstep@.service" >"$work/security" 2>&1
	status=$?
	check security "$(grep -i overall "$work/security")" [ $status -eq 0 ]
	# The exporter is root, which costs it most of what it has.
	for bound in arbiter:20 exporter:26; do
		systemd-analyze security --offline=yes --threshold=${bound#*:} "$units/twinstep-${bound%:*}.service" >"$work/security" 2>&1
		status=$?
		check security-${bound%:*} "$(grep -i overall "$work/security")" [ $status -eq 0 ]
	done
else
	skip verify "systemd-analyze is not installed"
fi

# What may be missing in the unit shows here: the jail says what it goes without.
caps=$(sed -n 's/^CapabilityBoundingSet=//p' "$units/twinstep@.service" | tr 'A-Z ' 'a-z,' | sed 's/cap_//g')
once() { "$@" "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --console none --append "$cmdline twinstep.run=true"; }
bounded() { setpriv --no-new-privs --bounding-set="-all,+${caps//,/,+}" --inh-caps="-all" "$@"; }
if [ "$(id -u)" -eq 0 ]; then
	once env 2>"$work/outside" &
	once bounded 2>"$work/inside" && wait $!
	status=$?
	check jail "the jail inside the unit says: $(cat "$work/inside")" eval '[ $status -eq 0 ] && cmp -s "$work/outside" "$work/inside"'
else
	skip jail "needs root"
fi

cat >"$work/listen.py" <<-'EOF'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(sys.argv[1])
	while True:
	    with open(sys.argv[2], "a") as f:
	        f.write(s.recv(4096).decode() + "\n")
EOF
python3 "$work/listen.py" "$work/notify" "$work/told" &
listener=$!
cleanup() { kill "$listener" ${up:-} 2>/dev/null; }
: >"$work/err"
mkdir -p "$work/run" "$work/lib"
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
cat >"$work/sd.conf" <<-EOF
	kernel = $(realpath "$vmlinuz")
	initrd = $(realpath "$initramfs")
	append = $cmdline twinstep.run="while :; do :; done"
	memory = 128M
	arbiter = file:$work/arbiter
	key-file = $work/key
	listen = unix:$work/peer
	connect = unix:$work/nobody
	first = here
	hang-timeout = 2000
	[host here]
EOF
export XDG_STATE_HOME=$work/lib XDG_RUNTIME_DIR=$work/run
inside() {
	unshare --uts --mount ${map:-} sh -c 'hostname here; if [ "$(id -u)" -eq 0 ]; then mount --bind "$1/run" /run; mount --bind "$1/lib" /var/lib; mkdir -p -m 700 /run/twinstep; fi; shift; exec "$@"' \
		sh "$work" "$@"
}
[ "$(id -u)" -eq 0 ] || map="--user --map-root-user"
wait_for 10 test -S "$work/notify"
NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=2000000 inside "$(realpath "$twinstep")" up "$work/sd.conf" 2>"$work/err" &
up=$!
check ready "not told that it is ready: $(tail -n 2 "$work/err")" wait_for 20 grep -q '^READY=1' "$work/told"
check status "no status: $(cat "$work/told")" wait_for 20 grep -q '^STATUS=live' "$work/told"
beats() { grep -c '^WATCHDOG=1' "$work/told"; }
beats_since() { [ "$(beats)" -gt "$1" ]; }
check watchdog "no sign of life" wait_for 20 beats_since "$(beats)"
fault() { inside python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/twinstep/sd.sock'); s.sendall(b'{\"command\":\"fault\",\"kind\":\"hang\",\"ms\":$1}\n'); print(s.recv(1000))"; }
fault 3600000 >"$work/fault"
# Three of them are missing in a row.
no_beats() {
	local n
	n=$(beats)
	sleep 4
	[ "$(beats)" -eq "$n" ]
}
check hang "signs of life of a vCPU that hangs: $(beats)" wait_for 20 no_beats
pid=$(cat "$work"/run/twinstep/sd/lock)
kill -TERM "$pid"
check stopping "not told that it stops" wait_for 10 grep -q '^STOPPING=1' "$work/told"
kill -TERM "$pid" # asked twice: at once, whatever hangs
wait "$up"
exit $failed
