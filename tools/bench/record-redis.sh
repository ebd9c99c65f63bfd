#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What recording costs a server: redis requests a second, 10 clients over tap, with and without, by turns.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
for program in redis-benchmark redis-cli; do
	command -v $program >/dev/null || {
		echo "record-redis: skipped, redis-tools is not installed"
		exit 0
	}
done
requests=${BENCH_REQUESTS:-5000}
patience=${BENCH_PATIENCE:-300} # seconds for a boot or for one measurement, on a host that is busy with other things
fail() {
	echo "record-redis: $1" >&2
	[ -z "${2:-}" ] || tail -n 5 "$2" >&2
	exit 1
}

ip link set lo up
# start NUMBER: runs the guest of the command line in cmd behind tap NUMBER; its process is in pid[NUMBER].
declare -A pid
start() {
	ip tuntap add "tap$1" mode tap && ip addr add "10.77.$1.1/24" dev "tap$1" && ip link set "tap$1" up ||
		fail "cannot make a tap interface"
	"${cmd[@]}" --net "tap:tap$1" --console "$work/console$1" </dev/null >"$work/log$1" 2>&1 &
	pid[$1]=$!
	background="$background $!"
}
# ready NUMBER: waits until the guest's redis answers, for as long as its process lives.
ready() {
	local end=$((SECONDS + patience))
	until [ "$(timeout 2 redis-cli -h "10.77.$1.2" ping 2>/dev/null)" = PONG ]; do
		kill -0 "${pid[$1]}" 2>/dev/null || fail "the guest of tap$1 ended before redis answered:" "$work/log$1"
		[ "$SECONDS" -lt "$end" ] || fail "redis of tap$1 does not answer after $patience s:" "$work/console$1"
		sleep 0.2
	done
}
# What the guest's process has used of the CPU, all threads, in ns. The guests run without the jail, in one process each.
used() { cat /proc/"${pid[$1]}"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'; }
# ask NUMBER: adds "SET|GET requests-a-second" to the guest's results.
ask() {
	local before
	before=$(used "$1")
	timeout "$patience" redis-benchmark -h "10.77.$1.2" -c 10 -n "$requests" -t set,get --csv >"$work/csv" 2>"$work/err" ||
		fail "redis-benchmark of tap$1 failed or took longer than $patience s:" "$work/err"
	tr -d '"' <"$work/csv" | awk -F, '$1 == "SET" || $1 == "GET" { print $1, $2; n++ } END { exit n != 2 }' >>"$work/$1" ||
		fail "redis-benchmark said:" "$work/csv"
	echo "CPU $((($(used "$1") - before) / (2 * requests)))" >>"$work/$1"
}

# Both guests run all the time and are asked by turns: whatever the host does meanwhile, it does to both. The order
# changes from turn to turn, so that neither always comes after the other.
twinstep_command "twinstep.ip=10.77.4.2/24 twinstep.redis"
start 4
record_command "twinstep.ip=10.77.5.2/24 twinstep.redis"
start 5
ready 4
ready 5
for i in $(seq "$runs"); do
	[ $((i % 2)) -eq 0 ] && order="4 5" || order="5 4"
	for n in $order; do
		ask "$n"
	done
done
row "redis, 10 clients" "recording" "without" "ratio"
for op in SET GET CPU; do
	a=$(median_of "$work/5" $op) b=$(median_of "$work/4" $op)
	name="$op requests a second"
	[ $op != CPU ] || name="host CPU, ns a request"
	row "  $name" "$a" "$b" "$(ratio "$a" "$b")"
done
kill $background
wait 2>/dev/null
[ -s "$work/log" ] || fail "there is no log"
row "  log, bytes a request" "$(awk -v b="$(stat -c %s "$work/log")" -v n=$((runs * 2 * requests)) 'BEGIN { printf "%.0f", b / n }')" "" ""
background=
