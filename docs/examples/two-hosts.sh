#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Two hosts on one machine, as root: host names and run directories of their own, loopback addresses. Starts a guest that
# counts, kills the host where it is live, and shows that the count goes on at the other one.
# usage: two-hosts.sh KERNEL INITRD    (of `make guest`, or any initrd that takes twinstep.run="COMMAND")
set -eu
kernel=$(realpath "$1") initrd=$(realpath "$2")
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
mkdir -p "$work/alpha/run" "$work/alpha/lib" "$work/beta/run" "$work/beta/lib"
chmod 755 "$work"
twinstep keygen "$work/key"
twinstep arbiter init "file:$work/arbiter"
cat >"$work/counter.conf" <<EOF
kernel = $kernel
initrd = $initrd
append = console=ttyS0 quiet nokaslr mitigations=off cryptomgr.notests twinstep.run="i=0; while :; do i=\$((i+1)); echo count \$i; sleep 0.2; done"
memory = 128M
arbiter = file:$work/arbiter
key-file = $work/key
timeout = 2000
[host alpha]
listen = 127.0.0.2:7777
[host beta]
listen = 127.0.0.3:7777
EOF
# on HOST COMMAND...
on() {
	host=$1
	shift
	unshare --uts --mount sh -c 'hostname "$1" && mount --bind "$2/run" /run && mount --bind "$2/lib" /var/lib && shift 2 && exec "$@"' sh \
		"$host" "$work/$host" "$@"
}
# until COMMAND...: it succeeds, within five minutes
until_true() {
	n=0
	while ! "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 1500 ] || { echo "gave up on: $*"; cat "$work"/*.err; exit 1; }
		sleep 0.2
	done
}
protected() { on alpha twinstep list --json | grep -q '"state": *"protected"'; }
counted() { on "$1" twinstep console counter --history | grep -q "count $2"; }
last() { on "$1" twinstep console counter --history | grep -o 'count [0-9]*' | tail -n 1; }
for host in alpha beta; do
	on $host twinstep check-config "$work/counter.conf"
	on $host twinstep up "$work/counter.conf" 2>"$work/$host.err" &
done
until_true protected
until_true counted alpha 5
on alpha twinstep list
echo "alpha is lost at: $(last alpha)"
kill -9 "$(cat "$work/alpha/run/twinstep/counter/lock")"
until_true counted beta '[0-9][0-9]'
on beta twinstep list
echo "beta goes on:     $(last beta)"
on beta twinstep log counter | tail -n 3
on beta twinstep down counter --all
