#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots an unmodified Debian kernel with redis-server in a machine and uses redis from the host across a tap interface.
# Everything happens in a network namespace of its own that goes away with this process, however it ends; root is not
# needed where the host lets users make namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
guest_ip=10.77.0.2 host_ip=10.77.0.1

if [ "${TWINSTEP_DEMO_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_DEMO_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi

work=$(mktemp -d)
machine=
finish() {
	status=$?
	trap - EXIT
	set +e
	[ -z "$machine" ] || { kill "$machine" 2>/dev/null && wait "$machine" 2>/dev/null; }
	[ "$status" -eq 0 ] || { [ -s "$work/log" ] && tail -n 20 "$work/log"; [ -s "$work/console" ] && tail -n 20 "$work/console"; }
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

started=$(date +%s%N)
say() { printf '%7.2f s  %s\n' "$((($(date +%s%N) - started) / 1000000))e-3" "$*"; }
fail() { say "FAILED: $*" && exit 1; }

ip link set lo up
ip tuntap add tap0 mode tap
ip addr add "$host_ip/24" dev tap0
ip link set tap0 up
say "network namespace with tap0, $host_ip; starting the machine"

# The machine dies with this script, even if that is killed.
setpriv --pdeathsig KILL "$build/twinstep" run --kernel "$build/guest/vmlinuz" --initrd "$build/guest/initramfs" --memory 256M --net tap:tap0 \
	--console "$work/console" --stats \
	--append "console=ttyS0 acpi=off nolapic noapic quiet nokaslr mitigations=off cryptomgr.notests twinstep.ip=$guest_ip/24 twinstep.redis" \
	>"$work/stats" 2>"$work/log" &
machine=$!

wait_for() {
	local what=$1 seconds=$2
	shift 2
	for _ in $(seq $((seconds * 10))); do
		"$@" >/dev/null 2>&1 && { say "$what" && return; }
		kill -0 "$machine" 2>/dev/null || fail "the machine ended early"
		sleep 0.1
	done
	fail "no sign of: $what"
}
cli() { redis-cli -h "$guest_ip" "$@"; }

wait_for "the guest's kernel has reached userspace" 60 grep -q 'twinstep: userspace' "$work/console"
wait_for "redis-server in the guest answers PING" 60 timeout 2 redis-cli -h "$guest_ip" ping
say "INFO: $(cli info server | tr -d '\r' | grep -E '^(redis_version|os):' | tr '\n' ' ')"
say "SET greeting 'hello from the host': $(cli set greeting 'hello from the host')"
say "GET greeting: $(cli get greeting)"
for _ in 1 2 3; do cli incr counter >/dev/null; done
[ "$(cli get counter)" = 3 ] || fail "the counter is not 3"
say "redis-benchmark, 10 clients:"
redis-benchmark -h "$guest_ip" -c 10 -n 5000 -t set,get -q | tr '\r' '\n' | grep 'requests per second' | sed 's/^/             /'
say "stopping the machine"
kill "$machine"
wait "$machine" || true
machine=
grep -E '^(instructions|MIPS|host time)' "$work/stats" | sort -u | sed 's/^/             /'
say "done"
