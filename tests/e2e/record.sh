#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Record a boot with redis under redis-benchmark over tap, a console session and disk writes; replay it in another
# process, whole and from every checkpoint; look into the log; replay what does not fit it.
# waits for the host: guest load session
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
need_redis
in_namespace "$@"
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up
guest=10.77.1.2 log=$work/log disk=$work/disk
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

# prompts N: the guest's shell has prompted N times.
prompts() { [ "$(grep -ao '/ # ' "$work/console" | wc -l)" -ge "$1" ]; }
session() {
	wait_for 120 prompts 1 && echo 'dd if=/dev/urandom of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; md5sum /dev/vda'
	wait_for 60 prompts 2 && echo 'head -c 20000 /dev/hwrng | md5sum; dd if=/dev/vda bs=1M 2>/dev/null | tail -c 1000 | md5sum'
	wait_for 60 prompts 3 && echo 'yes log-line | head -n 200; sleep 4'
	wait_for 120 test -e "$work/benchmarked"
	echo exit
}

head -c 8388608 /dev/zero | tr '\0' d >"$disk"
md5sum "$disk" >"$work/disk.md5"
: >"$work/console"
session | timeout 600 "$twinstep" record -o "$log" --epoch 200 --checkpoint 1 --kernel "$vmlinuz" --initrd "$initramfs" \
	--net tap:tap0 --disk "$disk" --append "$cmdline twinstep.ip=$guest/24 twinstep.redis" >"$work/console" 2>"$work/err" &
machine=$!
if wait_for 120 timeout 2 redis-cli -h "$guest" ping; then ok guest; else not_ok guest "redis does not answer: $(tail -n 3 "$work/err" "$work/console")"; fi
n=$(timeout 600 redis-benchmark -h "$guest" -c 10 -n 3000 -t set,get,incr -q 2>/dev/null | tr '\r' '\n' | grep -c 'requests per second, p50')
check load "redis-benchmark did not finish" [ "$n" -eq 3 ]
touch "$work/benchmarked"
wait "$machine"
status=$?
machine=
check recorded "status $status: $(tail -n 3 "$work/err")" [ "$status" -eq 0 ]
check disk-untouched "recording changed the disk image" md5sum -c --quiet "$work/disk.md5"
check session "the console session did not run: $(tail -n 3 "$work/console")" grep -aq '^log-line' "$work/console"

replay() { timeout 600 "$twinstep" replay "$@"; }
replay "$log" --json >"$work/console2" 2>"$work/err2"
status=$?
check replay "status $status: $(tail -n 3 "$work/err2")" [ "$status" -eq 0 ]
check console "the console differs" cmp "$work/console" "$work/console2"
digests=$(sed -n 's/.*"event":"replay".*"digests":\([0-9]*\).*/\1/p' "$work/err2")
check digests "only '$digests' digests compared" [ "${digests:-0}" -ge 20 ]
n=$("$twinstep" log "$log" 2>&1 | grep -c '^checkpoint ')
check checkpoints "only $n checkpoints" [ "$n" -ge 2 ]
replay "$log" --engine soft:interpret --console "$work/console3" --json >"$work/err3" 2>&1
status=$?
check interpreted "status $status: $(tail -n 3 "$work/err3")" \
	eval "[ $status -eq 0 ] && cmp '$work/console' '$work/console3' && grep -q '\"event\":\"replay\".*\"digests\":$digests' '$work/err3'"
count=$(sed -n 's/.*"event":"replay".*"count":\([0-9]*\).*/\1/p' "$work/err2")
# Each of them, unless a slow host took long and made many: then some all over the log, and the last.
for k in $(seq 0 $(((n + 7) / 8)) $((n - 2))) $((n - 1)); do
	replay "$log" --from-checkpoint "$k" --json --console none >"$work/from" 2>&1
	status=$?
	check "from-checkpoint-$k" "status $status: $(tail -n 3 "$work/from")" \
		eval "[ $status -eq 0 ] && grep -q '\"count\":$count,\"whole\":true' '$work/from'"
done
replay "$log" --until $((count / 3)) --console none >"$work/until" 2>&1
check until "--until did not stop there: $(tail -n 3 "$work/until")" grep -qE "count $((count / 3))( |\$)" "$work/until"

# The log itself.
check summary "no packets in the summary" eval "'$twinstep' log '$log' | grep -q '^  packets'"
command -v python3 >/dev/null && check json "a line is not JSON" eval "'$twinstep' log '$log' --json | python3 -c 'import json,sys
for l in sys.stdin: json.loads(l)'"
check diff-same "a log differs from itself" eval "'$twinstep' diff '$log' '$log' >'$work/diff'"
timeout 600 "$twinstep" log "$log" --pcap "$work/pcap" 2>"$work/err3"
check pcap "status $?: $(cat "$work/err3")" [ -s "$work/pcap" ]
if command -v tcpdump >/dev/null; then
	both=$(tcpdump -nr "$work/pcap" 2>/dev/null | awk '/10.77.1.1.*> 10.77.1.2.6379/ { a++ } /10.77.1.2.6379 > 10.77.1.1/ { b++ } END { print (a > 1000 && b > 1000) }')
	check pcap-both "not both directions in the file" [ "$both" = 1 ]
fi

# What does not fit: one line that says so, status 2, nothing is run.
refused() {
	local test=$1 word=$2
	shift 2
	timeout 600 "$twinstep" replay "$@" --console none >"$work/out" 2>"$work/err4"
	status=$?
	check "refused-$test" "status $status: $(head -n 3 "$work/err4")" \
		eval "[ $status -eq 2 ] && [ \$(lines '$work/err4') -eq 1 ] && grep -qF '$word' '$work/err4'"
}
refused no-checkpoint 'there is no checkpoint 99' "$log" --from-checkpoint 99
refused kernel 'is not the one that was recorded' "$log" --kernel "$initramfs"
refused initrd 'is not the one that was recorded' "$log" --initrd "$vmlinuz"
printf x | dd of="$disk" bs=1 seek=4000000 conv=notrunc status=none
refused disk 'is not the one that was recorded' "$log"
cp "$log" "$work/version"
printf '\x63' | dd of="$work/version" bs=1 seek=8 conv=notrunc status=none
refused version 'format version 99' "$work/version"
refused no-log 'not a Twinstep log' "$vmlinuz"
refused revision 'an earlier software CPU (revision 1)' tests/record/revision1.log
exit $failed
