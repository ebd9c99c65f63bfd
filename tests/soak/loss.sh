#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How often a healthy pair loses a replica because its link loses packets, or because its host is busy: a guest that does
# little, LOSS (5) percent of the packets between the two dropped at random (nftables), for MINUTES (5), with
# PAIR_TIMEOUT ("": the default, which adapts; else milliseconds for --timeout, fixed) and while BUSY (0) processes burn the
# CPUs. A replica that is lost joins again. Prints one line: losses, failovers among them, the timeout that is in force.
# STOPS (0): before that both are stopped together so often, for three seconds, as when a hypervisor below both stands
# still. At most MOST losses pass (any number).
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
in_namespace "$@"
loss=${LOSS:-5} minutes=${MINUTES:-5} busy=${BUSY:-0} stops=${STOPS:-0} timeout=()
[ -z "${PAIR_TIMEOUT:-}" ] || timeout=(--timeout "$PAIR_TIMEOUT")
declare -A pid
burners=()
cleanup() { kill -9 "${pid[@]}" "${burners[@]}" 2>/dev/null; wait 2>/dev/null; }
ip link set lo up
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null

# replica SIDE ROLE OPTION...: each side listens on a port of its own.
replica() {
	local port=7001
	[ "$1" = a ] || port=7002
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --console none \
		--listen 127.0.0.1:$port "${timeout[@]}" --events "$work/$1.$((++n)).events" "${@:3}" 2>>"$work/$1.err" &
	pid[$1]=$!
}
join() {
	local port=7002
	[ "$1" = a ] || port=7001
	replica "$1" backup --connect 127.0.0.1:$port --connect-wait 60000
}
number() { "$twinstep" status "$work/$1.sock" --json | grep -o "\"$2\": *[0-9.]*" | head -n 1 | sed "s/.*: *//"; }
protected() { "$twinstep" status "$work/$1.sock" --json 2>/dev/null | grep -q '"state": *"protected"'; }
either() { protected a || protected b; }
n=0
replica a primary --no-wait --memory 128M --kernel "$vmlinuz" --initrd "$initramfs" \
	--append "$cmdline twinstep.run=\"while :; do echo -n x; sleep 0.05; done\""
join b
wait_for 60 either || { not_ok starts "$(cat "$work"/*.err)"; exit 1; }
sleep 3
# family PID: it and all that it started.
family() {
	echo "$1"
	local child
	for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do family "$child"; done
}
for _ in $(seq "$stops"); do
	mapfile -t both < <(family "${pid[a]}"; family "${pid[b]}")
	kill -STOP "${both[@]}"
	sleep 3
	kill -CONT "${both[@]}"
	sleep 2
done
[ "$stops" -eq 0 ] || check stops "$(cat "$work"/*.err)" eval "protected a && ! cat '$work'/*.events | grep -qE '\"event\":\"(live|unprotected|fenced)\"'"
nft -f - <<RULES
table inet loss {
	chain input {
		type filter hook input priority 0
		tcp dport { 7001, 7002 } numgen random mod 1000 < $((loss * 10)) counter drop
		tcp sport { 7001, 7002 } numgen random mod 1000 < $((loss * 10)) counter drop
	}
}
RULES
for _ in $(seq "$busy"); do
	while :; do :; done &
	burners+=($!)
done
end=$((SECONDS + minutes * 60)) lost=0 longest=0
while [ $SECONDS -lt $end ]; do
	sleep 1
	for side in a b; do
		[ -e "/proc/${pid[$side]}/status" ] && ! grep -q '^State:.*zombie' "/proc/${pid[$side]}/status" && continue
		wait "${pid[$side]}" 2>/dev/null
		lost=$((lost + 1))
		join $side
	done
	for side in a b; do
		now=$(number $side timeout_ms)
		[ "${now%.*}" -gt "$longest" ] 2>/dev/null && longest=${now%.*}
	done
done
failovers=$(cat "$work"/*.events | grep -c '"event":"live"')
echo "# $loss % lost, timeout ${PAIR_TIMEOUT:-default} (at most $longest ms), $busy burn the CPUs: $lost replicas lost in $minutes minutes, $failovers failovers"
wait_for 60 either
check pair "$(tail -n 3 "$work"/*.err)" either
[ -z "${MOST:-}" ] || check losses "$lost replicas lost" [ "$lost" -le "$MOST" ]
exit $failed
