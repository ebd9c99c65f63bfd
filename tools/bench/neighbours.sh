#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three guests on one CPU: redis with weight 200, one that burns CPU and one that churns memory with 100 each. Requests a
# second of the first with the neighbours stopped and running, by turns: its share is a half.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	TWINSTEP_BENCH_INSIDE=1 exec unshare --net "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
command -v redis-benchmark >/dev/null || {
	echo "neighbours: skipped, redis-tools is not installed"
	exit 0
}
cpu=$(taskset -pc $$ | sed 's/.*[^0-9]//') share=0.5 guests=()
finish() {
	kill -CONT "${inner[@]}"
	kill "${guests[@]}"
	wait
	rm -rf "$work"
} 2>/dev/null
trap finish EXIT
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.3.1/24 dev tap0 && ip link set tap0 up

# guest NAME WEIGHT CMDLINE [OPTION...]
guest() {
	local name=$1 weight=$2 line=$3
	shift 3
	taskset -c "$cpu" "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --console none --clock host \
		--name "bench-$$-$name" --cpu-weight "$weight" --memory-max 400M --append "$cmdline $line" "$@" </dev/null 2>>"$work/err" &
	guests+=($!)
}
pid_of() { "$twinstep" status "bench-$$-$1" --json 2>/dev/null | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }
# CPU seconds by the group's own account.
used() {
	local f
	f=$(find /sys/fs/cgroup -path "*/bench-$$-$1.*" \( -name cpuacct.usage -o -name cpu.stat \) 2>/dev/null | sort -r | head -n 1)
	awk 'NR == 1 { print ($1 == "usage_usec" ? $2 / 1e6 : $1 / 1e9) }' "$f"
}
# Whatever else runs on that CPU does so for both sides; it should just not take much.
come_first() {
	local dir
	dir=$(find /sys/fs/cgroup -path "*/twinstep/bench-$$-redis.*" \( -name cpu.shares -o -name cpu.weight \) 2>/dev/null | head -n 1)
	dir=${dir%/*/*}
	echo 262144 >"$dir/cpu.shares" || echo 10000 >"$dir/cpu.weight"
} 2>/dev/null
# measure OUT: adds "REQUESTS-A-SECOND CPU-OF-REDIS REQUESTS-A-CPU-SECOND SHARE".
measure() {
	local before after n=${BENCH_REQUESTS:-10000} start=$EPOCHREALTIME rate
	before=($(used redis) $(used cpu) $(used memory))
	rate=$(requests "$n")
	after=($(used redis) $(used cpu) $(used memory))
	echo "$rate $n $start $EPOCHREALTIME ${before[*]} ${after[*]}" | awk '{ r = $8 - $5
		print $1, r / ($4 - $3), $2 / r, r / (r + $9 - $6 + $10 - $7) }' >>"$1"
}
column() { awk -v c="$1" '{ print $c }' "$2" | median; }
requests() {
	redis-benchmark -h 10.77.3.2 -c 20 -P 4 -n "$1" -t set -q 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^SET: \([0-9.]*\) requests per second.*/\1/p' | tail -n 1
}
guest redis 200 "twinstep.ip=10.77.3.2/24 twinstep.redis" --net tap:tap0
guest cpu 100 'twinstep.run="while :; do :; done"'
guest memory 100 'twinstep.run="mkdir -p /t; mount -t tmpfs t /t; while :; do dd if=/dev/zero of=/t/f bs=1M count=100; done"'
for _ in $(seq 600); do
	timeout 1 redis-cli -h 10.77.3.2 ping >/dev/null 2>&1 && break
	sleep 0.1
done
for _ in $(seq 100); do
	inner=($(pid_of cpu) $(pid_of memory))
	[ ${#inner[@]} -eq 2 ] && break
	sleep 0.2
done
[ ${#inner[@]} -eq 2 ] || {
	echo "neighbours: skipped: $(head -n 1 "$work/err")"
	exit 0
}
sleep 5 # the neighbours boot
come_first
for _ in $(seq "$runs"); do
	kill -STOP "${inner[@]}"
	measure "$work/alone"
	kill -CONT "${inner[@]}"
	measure "$work/together"
done
a=$(column 1 "$work/alone") t=$(column 1 "$work/together")
row "three guests on one CPU" "alone" "together" "ratio"
row "  redis SET a second" "$a" "$t" "$(ratio "$t" "$a")"
for c in "2:  CPU that redis had" "3:  SET a CPU second"; do
	a2=$(column "${c%%:*}" "$work/alone") t2=$(column "${c%%:*}" "$work/together")
	row "${c#*:}" "$(printf %.3g "$a2")" "$(printf %.3g "$t2")" "$(ratio "$t2" "$a2")"
done
row "  share of the three's CPU" "" "$(printf %.3f "$(column 4 "$work/together")")" "$(ratio "$(column 4 "$work/together")" "$share")"
row "  throughput of its share" "" "" "$(ratio "$(ratio "$t" "$a")" "$share")"
