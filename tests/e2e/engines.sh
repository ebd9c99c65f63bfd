#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A session of redis over tap, recorded translated and replayed interpreted, then the other way round: the same digest
# every 10 million instructions. (boot.sh compares a boot and the CPU program so.)
# waits for the host: *.guest *.load
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
need_redis
in_namespace "$@"
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up
guest=10.77.1.2 log=$work/log
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

# record NAME ENGINE: a session, to its end; its log is in $log.
record() {
	timeout 600 "$twinstep" record -o "$log" --force --engine "$2" --digest-every 10000000 --checkpoint 0 --kernel "$vmlinuz" \
		--initrd "$initramfs" --net tap:tap0 --console "$work/console" --control "$work/control" \
		--append "$cmdline twinstep.ip=$guest/24 twinstep.redis" >"$work/out" 2>"$work/err" &
	machine=$!
	check "$1.guest" "redis does not answer: $(tail -n 3 "$work/err")" wait_for 90 answers
	n=$(timeout 600 redis-benchmark -h "$guest" -c 10 -n 1000 -t set,get,incr,lpush -q 2>/dev/null | tr '\r' '\n' |
		grep -c 'requests per second, p50')
	check "$1.load" "redis-benchmark did not finish" [ "$n" -eq 4 ]
	"$twinstep" stop "$work/control" || kill "$machine"
	wait "$machine"
	status=$?
	machine=
	check "$1.recorded" "status $status: $(tail -n 3 "$work/err")" [ "$status" -eq 0 ]
}

# replay NAME ENGINE: every digest of the log, and one for each 10 million instructions, is the replay's as well.
replay() {
	timeout 600 "$twinstep" replay "$log" --engine "$2" --json --stats --console "$work/console2" >"$work/replay" 2>&1
	status=$?
	check "$1.replayed" "status $status: $(tail -n 3 "$work/replay")" \
		eval "[ $status -eq 0 ] && grep -q '\"event\":\"replay\".*\"whole\":true' '$work/replay' && cmp '$work/console' '$work/console2'"
	count=$(sed -n 's/.*"event":"replay".*"count":\([0-9]*\).*/\1/p' "$work/replay")
	n=$("$twinstep" log "$log" --json 2>/dev/null | grep -c '"count":[0-9]*0000000,.*"kind":"digest"')
	check "$1.digests" "$n digests in $count instructions" [ "$n" -ge 50 -a "$n" -eq $((${count:-0} / 10000000)) ]
}

# translated: how many instructions the replay executed in host code
translated() { sed -n 's/.*"in_code":\([0-9]*\).*/\1/p' "$work/replay"; }

record translated soft
replay translated soft:interpret
check interpreted "the interpreter has host code" [ "$(translated)" = 0 ]
record interpreted soft:interpret
replay interpreted soft
check translated "only $(translated) instructions were translated" [ "$(translated)" -ge 100000000 ]
exit $failed
