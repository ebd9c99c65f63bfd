#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# redis-server in the guest, used by redis-cli and redis-benchmark on the host: across a tap interface, and across a
# veth pair by packet capture.
# waits for the host: *-ping *-set *-get *-large *-benchmark
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
need_redis
in_namespace "$@"
ip link set lo up
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

use() {
	local test=$1 guest=$2 n
	check "$test-set" "SET failed" [ "$(redis-cli -h "$guest" set k value)" = OK ]
	check "$test-get" "GET gave something else" [ "$(redis-cli -h "$guest" get k)" = value ]
	head -c 200000 /dev/urandom | base64 -w0 >"$work/big"
	redis-cli -h "$guest" -x set big <"$work/big" >/dev/null
	check "$test-large" "a large value came back different" cmp -s "$work/big" <(redis-cli -h "$guest" --raw get big | tr -d '\n')
	n=$(timeout 600 redis-benchmark -h "$guest" -c 10 -n 2000 -t set,get -q 2>/dev/null | tr '\r' '\n' | grep -c 'requests per second, p50')
	check "$test-benchmark" "redis-benchmark did not finish" [ "$n" -eq 2 ]
}

ip tuntap add tap0 mode tap && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up
if serve tap:tap0 10.77.1.2; then
	ok tap-ping
	use tap 10.77.1.2
else
	not_ok tap-ping "no answer: $(tail -n 3 "$work/err" "$work/console")"
fi
stop

ip link add veth0 type veth peer name veth1 && ip addr add 10.77.2.1/24 dev veth0
ip link set veth0 up && ip link set veth1 up
if serve pcap:veth1 10.77.2.2; then
	ok pcap-ping
	use pcap 10.77.2.2
else
	not_ok pcap-ping "no answer: $(tail -n 3 "$work/err" "$work/console")"
fi
stop
check no-tap "the tap interface that the machine did not make is gone" ip link show tap0
exit $failed
