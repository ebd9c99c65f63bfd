#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What recording costs a server: redis requests a second, 10 clients over tap, with and without, by turns.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
command -v redis-benchmark >/dev/null || {
	echo "record-redis: skipped, redis-tools is not installed"
	exit 0
}
ip link set lo up
for side in plain recorded; do
	n=$([ $side = plain ] && echo 4 || echo 5)
	ip tuntap add tap$n mode tap && ip addr add 10.77.$n.1/24 dev tap$n && ip link set tap$n up
done

# Both guests run all the time and are asked by turns: whatever the host does meanwhile, it does to both.
twinstep_command "twinstep.ip=10.77.4.2/24 twinstep.redis" --net tap:tap4 --console none
"${cmd[@]}" </dev/null >/dev/null 2>&1 &
background=$!
record_command "twinstep.ip=10.77.5.2/24 twinstep.redis" --net tap:tap5 --console none
"${cmd[@]}" </dev/null >/dev/null 2>&1 &
background="$background $!"
for n in 4 5; do
	for _ in $(seq 600); do
		timeout 1 redis-cli -h 10.77.$n.2 ping >/dev/null 2>&1 && break
		sleep 0.1
	done
done
ask() {
	timeout 120 redis-benchmark -h "10.77.$1.2" -c 10 -n "${BENCH_REQUESTS:-10000}" -t set,get -q 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^\(SET\|GET\): \([0-9.]*\) requests per second.*/\1 \2/p' >>"$work/$1"
}
for _ in $(seq "$runs"); do
	ask 4
	ask 5
done
kill $background
wait 2>/dev/null
background=
row "redis, 10 clients" "recording" "without" "ratio"
for op in SET GET; do
	a=$(median_of "$work/5" $op) b=$(median_of "$work/4" $op)
	row "  $op requests a second" "$a" "$b" "$(ratio "$a" "$b")"
done
