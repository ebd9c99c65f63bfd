#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Recordings of a guest under load, one after the other, each replayed at once: every digest equal, console equal byte
# for byte. SOAK recordings (20) of SOAK_SECONDS (60), every other one, or with SOAK_BUSY=1 each, while all of the host's
# CPUs are busy. RECORD_ENGINE and REPLAY_ENGINE (auto) may differ; with SOAK_BOTH=1 two recordings are made translated
# and replayed interpreted, the next two the other way round, and so on.
# SOAK_KEEP=DIRECTORY: log and consoles of one that failed are kept there.
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
need_redis
in_namespace "$@"
count=${SOAK:-20} seconds=${SOAK_SECONDS:-60}
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up
guest=10.77.1.2
running=()
cleanup() { [ ${#running[@]} -eq 0 ] || kill "${running[@]}" 2>/dev/null; }
head -c 8388608 /dev/zero | tr '\0' d >"$work/disk"

busy() {
	for _ in $(seq "$(nproc)"); do
		while :; do :; done &
		running+=($!)
	done
}
idle() {
	[ ${#running[@]} -eq 0 ] || kill "${running[@]}" 2>/dev/null
	wait "${running[@]}" 2>/dev/null
	running=()
}
# Disk writes and console output in the guest until it is told to stop; then it powers off.
session() {
	wait_for 300 grep -aq '/ # ' "$work/console"
	echo 'while :; do dd if=/dev/urandom of=/dev/vda bs=16k count=64 seek=$((RANDOM % 400)) conv=fsync,notrunc 2>/dev/null; md5sum /dev/vda; cat /proc/uptime /proc/interrupts; done'
	while [ ! -e "$work/stop" ]; do
		echo "typed $RANDOM"
		sleep 0.$((RANDOM % 9 + 1))
	done
}
load() {
	local end n=0
	wait_for 300 timeout 2 redis-cli -h "$guest" ping || return 1
	end=$((SECONDS + seconds))
	while [ $SECONDS -lt $end ]; do
		timeout 60 redis-benchmark -h "$guest" -c 10 -n 500 -d $((RANDOM % 2000 + 1)) -t set,get,incr,lpush -q >/dev/null 2>&1
		n=$((n + 1))
	done
	[ $n -gt 0 ]
}

# Which engines recording $1 is made and replayed by.
choose_engines() {
	recorder=${RECORD_ENGINE:-auto} replayer=${REPLAY_ENGINE:-auto}
	[ -z "${SOAK_BOTH:-}" ] && return
	recorder=soft replayer=soft:interpret
	[ $((($1 - 1) / 2 % 2)) -eq 0 ] || recorder=soft:interpret replayer=soft
}

same=0
for i in $(seq "$count"); do
	choose_engines "$i"
	rm -f "$work/log" "$work/stop"
	: >"$work/console"
	[ -z "${SOAK_BUSY:-}" ] && [ $((i % 2)) -eq 1 ] || busy
	session | "$twinstep" record -o "$work/log" --engine "$recorder" --checkpoint 20 --kernel "$vmlinuz" --initrd "$initramfs" --net tap:tap0 \
		--disk "$work/disk" --control "$work/sock" --append "$cmdline twinstep.ip=$guest/24 twinstep.redis" \
		>"$work/console" 2>"$work/err" &
	machine=$!
	load || echo "no answer from redis: $(tail -n 2 "$work/err")"
	"$twinstep" stop "$work/sock" || kill "$machine"
	touch "$work/stop"
	wait "$machine"
	recorded=$?
	start=$SECONDS
	"$twinstep" replay "$work/log" --engine "$replayer" --json --console "$work/console2" >"$work/out" 2>"$work/err2"
	status=$?
	result=$(sed -n 's/.*"event":"replay","records":\([0-9]*\),"digests":\([0-9]*\),"count":\([0-9]*\).*/\1 records, \2 digests, \3 instructions/p' "$work/out")
	idle
	if [ "$recorded" -eq 0 ] && [ "$status" -eq 0 ] && [ -n "$result" ] && cmp -s "$work/console" "$work/console2"; then
		same=$((same + 1))
		echo "recording $i ($recorder, replayed by $replayer): $result, $(stat -c %s "$work/log") bytes, replayed in $((SECONDS - start)) s"
	else
		not_ok "recording-$i" "recorded with status $recorded, replayed with $status: $(tail -n 2 "$work/err" "$work/err2" | tr '\n' ' ')"
		[ -z "${SOAK_KEEP:-}" ] || cp "$work/log" "$work/console" "$work/console2" "$SOAK_KEEP"
	fi
done
check same "$same of $count recordings replayed the same" [ "$same" -eq "$count" ]
exit $failed
