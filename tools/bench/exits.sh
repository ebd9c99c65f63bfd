#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a request of redis costs on machine version 1 and 2, 10 clients at a time: accesses to devices, interrupts, exits of
# the engine, instructions. The difference between a run with BENCH_REQUESTS requests (4000) and one with a tenth of them.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
command -v redis-benchmark >/dev/null || {
	echo "exits: skipped, redis-tools is not installed"
	exit 0
}
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.3.1/24 dev tap0 && ip link set tap0 up
declare -A words=([1]="acpi=off nolapic noapic " [2]="")
many=${BENCH_REQUESTS:-4000} few=$((${BENCH_REQUESTS:-4000} / 10))

# count VERSION REQUESTS: adds "NAME NUMBER" lines of one run to $work/VERSION.REQUESTS
count() {
	local pid
	twinstep_command "${words[$1]}twinstep.ip=10.77.3.2/24 twinstep.redis" --machine "$1" --net tap:tap0 --console none --json
	"${cmd[@]}" </dev/null >"$work/json" 2>/dev/null &
	pid=$!
	background=$pid
	for _ in $(seq 3000); do
		timeout 5 redis-cli -h 10.77.3.2 ping >/dev/null 2>&1 && break
		sleep 0.1
	done
	redis-benchmark -h 10.77.3.2 -c 10 -n "$2" -t set -q >/dev/null 2>&1
	kill "$pid"
	wait "$pid" 2>/dev/null
	background=
	tr ',{' '\n\n' <"$work/json" | sed -n 's/^"\([a-z_]*\)":\([0-9]*\)}*$/\1 \2/p' >>"$work/$1.$2"
}

# for_each VERSION NAME...: of one request, the sum of these counters
for_each() {
	local version=$1 name sum=0
	shift
	for name in "$@"; do
		sum=$(awk -v s="$sum" -v a="$(median_of "$work/$version.$many" "$name")" -v b="$(median_of "$work/$version.$few" "$name")" \
			-v n=$((many - few)) 'BEGIN { printf "%.4f", s + (a - b) / n }')
	done
	awk -v s="$sum" 'BEGIN { printf s < 1000 ? "%.2f" : "%.0f", s }'
}

for _ in $(seq "$runs"); do
	for version in 1 2; do
		count "$version" "$few"
		count "$version" "$many"
	done
done
row "redis SET, for each request" "version 1" "version 2" "2 / 1"
while read -r name counters; do
	read -r -a list <<<"$counters"
	a=$(for_each 1 "${list[@]}") b=$(for_each 2 "${list[@]}")
	row "  ${name//-/ }" "$a" "$b" "$(ratio "$b" "$a")"
done <<-'END'
	ports ports
	MMIO mmio
	interrupts interrupts
	exits-for-devices exit_bus
	exits-for-interrupt-windows exit_window
	exits-at-sync-points exit_until exit_kick exit_halt
	instructions instructions
END
