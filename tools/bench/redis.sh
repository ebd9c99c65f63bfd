#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# redis-server in the guest over virtio-net and tap, redis-benchmark with 10 clients on the host: requests a second.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
command -v redis-benchmark >/dev/null || {
	echo "redis: skipped, redis-tools is not installed"
	exit 0
}
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.3.1/24 dev tap0 && ip link set tap0 up
append="twinstep.ip=10.77.3.2/24 twinstep.redis"

# measure OUT: boots a guest with the command line in cmd, measures, stops it.
measure() {
	local out=$1 pid
	"${cmd[@]}" </dev/null >/dev/null 2>&1 &
	pid=$!
	background=$pid
	for _ in $(seq 300); do
		timeout 1 redis-cli -h 10.77.3.2 ping >/dev/null 2>&1 && break
		sleep 0.1
	done
	timeout 120 redis-benchmark -h 10.77.3.2 -c 10 -n "${BENCH_REQUESTS:-10000}" -t set,get -q 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^\(SET\|GET\): \([0-9.]*\) requests per second, p50=\([0-9.]*\).*/\1 \2 \3/p' >>"$out"
	kill "$pid"
	wait "$pid" 2>/dev/null
	background=
}
for _ in $(seq "$runs"); do
	twinstep_command "$append" --net tap:tap0 --console none
	measure "$work/t"
	[ -n "$qemu" ] || continue
	qemu_command "$append" -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=n
	measure "$work/q"
done
touch "$work/t" "$work/q"
row "redis, 10 clients" "twinstep" "qemu" "ratio"
for op in SET GET; do
	t=$(awk -v o=$op '$1 == o { print $2 }' "$work/t" | median) q=$(awk -v o=$op '$1 == o { print $2 }' "$work/q" | median)
	row "  $op requests a second" "$t" "$q" "$(ratio "$t" "$q")"
	t=$(awk -v o=$op '$1 == o { print $3 }' "$work/t" | median) q=$(awk -v o=$op '$1 == o { print $3 }' "$work/q" | median)
	row "  $op median latency, ms" "$t" "$q" "$(ratio "$t" "$q")"
done
