#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Several guests on one host, each in its share: redis, one that burns CPU, one that fills its memory. Limits are where
# the kernel looks for them and bind; memory is promised once only; what is killed leaves nothing; a balloon stays in its
# bounds, and a replay and both replicas of a pair follow it.
# waits for the host: released room-again shrinks pair-* cpu-max-binds weights-bind protected
. "$(dirname "$0")/lib.sh"
need_guest
in_namespace "$@"

hosts=(--host-file "$work/host")
base=(--kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --console none --clock host "${hosts[@]}")
tag=nb$$
burn='twinstep.run="while :; do :; done"'
churn='twinstep.run="mkdir -p /t; mount -t tmpfs t /t; while :; do dd if=/dev/zero of=/t/f bs=1M count=150; done"'
declare -A outer
cleanup() {
	for p in "${outer[@]}"; do kill "$p" 2>/dev/null; done
	wait
	rm -f "/run/twinstep/$tag"-*.sock # of those that were killed
}

# guest NAME CMDLINE OPTION...
guest() {
	local name=$1 line=$2
	shift 2
	"$twinstep" run "${base[@]}" --name "$tag-$name" --append "$cmdline $line" "$@" </dev/null >/dev/null 2>"$work/err-$name" &
	outer[$name]=$!
}
up() { wait_for 60 "$twinstep" status "$tag-$1"; }
pid_of() { "$twinstep" status "$tag-$1" --json | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }
end() {
	kill "${outer[$1]}" 2>/dev/null
	wait "${outer[$1]}" 2>/dev/null
	unset "outer[$1]"
}
# file NAME V2 V1: the first that there is of a group's files.
file() { find /sys/fs/cgroup -path "*/$tag-$1.*" \( -name "$2" -o -name "$3" \) 2>/dev/null | sort | head -n 1; }
groups() { find /sys/fs/cgroup -type d -path "*/$tag-$1.*" 2>/dev/null; }
# is NAME V2-FILE V2-TEXT V1-FILE V1-TEXT
is() {
	local f
	f=$(file "$1" "$2" "$4")
	[ -n "$f" ] && case $f in
	*/"$2") grep -q "^$3" "$f" ;;
	*) grep -q "^$5" "$f" ;;
	esac
}
used_us() {
	local f
	f=$(file "$1" cpuacct.usage cpuacct.usage)
	if [ -n "$f" ]; then
		awk '{ printf "%d", $1 / 1000 }' "$f"
	else
		awk '$1 == "usage_usec" { print $2 }' "$(file "$1" cpu.stat cpu.stat)"
	fi
}
field() { python3 -c 'import json, sys; h = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }
host() { "$twinstep" host --json "${hosts[@]}" | field "$1"; }
# refused TEST WORD OPTION...: status 2 and one line with WORD.
refused() {
	local test=$1 word=$2 status
	shift 2
	timeout 600 "$twinstep" run "${base[@]}" --engine soft --append "$cmdline twinstep.run=true" "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	check "$test" "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && [ \$(wc -l <'$work/err') -eq 1 ] && grep -qF -- '$word' '$work/err'"
}

# ---- values ----
refused bad-weight "--cpu-weight" --cpu-weight 0
refused bad-cpu-max "--cpu-max" --cpu-max 0/100000
refused bad-memory-max "--memory-max" --memory-max 5
refused bad-io-max "--io-max" --io-max fast
refused bad-group "--cgroup" --cpu-weight 5 --cgroup /../..
refused no-such-group "there is no control group" --cpu-weight 5 --cgroup "/nowhere-$$"
refused group-alone "--cgroup goes with" --cgroup /x
refused bad-reserve "--reserve" --reserve some
refused small-reserve "less than the guest" --reserve 100M
refused bad-floor "--balloon-min" --balloon-min 5000
refused floor-too-high "--balloon-min" --balloon-min 1G
refused io-without-disk "without --disk" --io-max 1M
printf 'twinstep-host 1 x\nlimit 0\nvm ../x 1\n' >"$work/hostile"
refused hostile-file "line 3" --host-file "$work/hostile"
check untouched "the hostile file was changed" [ "$(wc -l <"$work/hostile")" -eq 3 ]

for args in "--limit x" "--limit 0" "--frobnicate" "surplus" "--host-file $work"; do
	# shellcheck disable=SC2086
	"$twinstep" host $args >/dev/null 2>"$work/err"
	status=$?
	check "host-${args%% *}" "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && [ \$(wc -l <'$work/err') -eq 1 ]"
done

# ---- memory is promised once ----
"$twinstep" host --limit 700M "${hosts[@]}" >/dev/null
guest first "$burn"
up first
guest second "$burn"
up second
check promised "promised $(host 'h["promised"] >> 20') MiB" [ "$(host 'h["promised"] >> 20')" -eq 640 ]
refused overcommit "$tag-first 320 MiB"
check in-words "no words of it" eval "'$twinstep' host --host-file '$work/host' | grep -q '$tag-second .* 320'"
kill -9 "${outer[first]}"
wait "${outer[first]}" 2>/dev/null
released() { [ "$(host 'len(h["machines"])')" -eq 1 ]; }
check released "a killed machine keeps its promise" wait_for 10 released
guest third "$burn"

check room-again "refused: $(cat "$work/err-third")" up third
end second
end third
unset "outer[first]"
timeout 600 "$twinstep" run "${base[@]}" --reserve off --append "$cmdline twinstep.run=true" 2>"$work/err" >/dev/null
status=$?
check reserve-off "status $status: $(cat "$work/err")" [ $status -eq 0 ]
"$twinstep" host --limit auto "${hosts[@]}" >/dev/null

# ---- a balloon between its bounds; a replay follows it ----
mem='twinstep.run="while :; do cat /proc/meminfo >/dev/ttyS0; sleep 0.3; done"'
"$twinstep" record -o "$work/log" "${base[@]}" --console "$work/console" --name "$tag-rec" --balloon-min 128M \
	--append "$cmdline $mem" 2>"$work/err-rec" &
outer[rec]=$!
free() { tr -d '\r' <"$1" | awk '$1 == "MemFree:" { t = $2 } END { print t + 0 }'; }
prints() { [ "$(free "$work/console")" -gt 0 ]; }
wait_for 60 prints
before=$(free "$work/console")
"$twinstep" balloon "$tag-rec" 160M 2>"$work/err"
status=$?
check floor "status $status: $(cat "$work/err")" eval "[ $status -eq 1 ] && grep -q 'balloon-min' '$work/err'"
"$twinstep" balloon "$tag-rec" 64M 2>"$work/err"
status=$?
check balloon "refused: $(cat "$work/err")" [ $status -eq 0 ]
shrunk() { [ "$(free "$1")" -lt $((before - 60000)) ]; }
check shrinks "$before kB before, $(free "$work/console") after" wait_for 30 shrunk "$work/console"
end rec
timeout 600 "$twinstep" replay --quiet --console "$work/console2" "$work/log" 2>"$work/err"
status=$?
check replay "status $status: $(tail -n 2 "$work/err")" [ $status -eq 0 ]
check replay-balloon "another console" cmp -s "$work/console" "$work/console2"

# ---- both replicas of a pair ----
"$twinstep" pair "${base[@]}" --console "$work/pair-%r" --name "$tag-pair" --balloon-min 128M --timeout 3000 \
	--events "$work/events" --append "$cmdline $mem" 2>"$work/err-pair" &
outer[pair]=$!
event() { grep -q "\"event\":\"$1\"" "$work/events"; }
wait_for 60 event protected
check pair-promised "$(host '[m["name"] for m in h["machines"]]')" [ "$(host 'sum("pair" in m["name"] for m in h["machines"])')" -eq 2 ]
pair_prints() { [ "$(free "$work/pair-a")" -gt 0 ]; }
wait_for 60 pair_prints
before=$(free "$work/pair-a")
"$twinstep" balloon "$tag-pair-b" 64M 2>"$work/err"
check not-live "a backup took it: $(cat "$work/err")" grep -q 'not live' "$work/err"
"$twinstep" balloon "$tag-pair-a" 160M 2>"$work/err"
check pair-floor "$(cat "$work/err")" grep -q balloon-min "$work/err"
"$twinstep" balloon "$tag-pair-a" 64M 2>"$work/err"
status=$?
check pair-balloon "refused: $(cat "$work/err")" [ $status -eq 0 ]
check pair-shrinks "$before kB before, $(free "$work/pair-a") after" wait_for 30 shrunk "$work/pair-a"
digests() { "$twinstep" status "$tag-pair-b" --json | field 'h["digests_compared"]'; }
n=$(digests)
more() { [ "$(digests)" -gt $((n + 3)) ]; }
check pair-agrees "$(tail -n 2 "$work/err-pair")" eval "wait_for 30 more && ! event divergence"
live=$("$twinstep" host --json "${hosts[@]}" | field "[m['pid'] for m in h['machines'] if m['name'] == '$tag-pair-a'][0]")
kill -9 "$live"
check pair-failover "no failover: $(tail -n 2 "$work/err-pair")" wait_for 30 event live
took_over() { [ "$(free "$work/pair-b")" -gt 0 ] && shrunk "$work/pair-b"; }
check pair-keeps-balloon "$(free "$work/pair-b") kB" wait_for 30 took_over
end pair

# ---- control groups ----
[ -c /dev/net/tun ] || {
	skip groups "no /dev/net/tun for the redis guest"
	exit $failed
}
guest redis "twinstep.ip=10.77.5.2/24 twinstep.redis" --net tap:tap0 --cpu-weight 300 --cpu-max 500% --memory-max 450M
if ! up redis; then
	if grep -q 'need root\|this host has no' "$work/err-redis"; then
		skip groups "$(head -n 1 "$work/err-redis")"
	else
		not_ok groups "$(cat "$work/err-redis")"
	fi
	exit $failed
fi
guest cpu "$burn" --cpu-weight 100 --cpu-max 30%
guest memory "$churn" --cpu-weight 100 --memory-max 400M
ip addr add 10.77.5.1/24 dev tap0 && ip link set tap0 up
up cpu
up memory
check weight-set "$(file redis cpu.weight cpu.shares): $(cat "$(file redis cpu.weight cpu.shares)")" is redis cpu.weight 300 cpu.shares 3072
check cpu-max-set "not set" is cpu cpu.max "30000 100000" cpu.cfs_quota_us 30000
check memory-max-set "not set" is memory memory.max 419430400 memory.limit_in_bytes 419430400
member() { grep -qx "$(pid_of "$1")" "$(file "$1" cpu.weight cpu.shares | sed 's|[^/]*$|cgroup.procs|')"; }
check members "the machine is not in its group" eval "member redis && member cpu && member memory"
shares=$(host 'sorted([m["cpu_weight"], m["cpu_max_percent"] or 0, (m["memory_max"] or 0) >> 20] for m in h["machines"])')
check host-lists "$shares" [ "$shares" = "[[100, 0, 400], [100, 30.0, 0], [300, 500.0, 450]]" ]
t=$EPOCHREALTIME u=$(used_us cpu)
sleep 4
percent=$(awk -v a="$u" -v b="$(used_us cpu)" -v s="$t" -v e="$EPOCHREALTIME" 'BEGIN { print int((b - a) / (e - s) / 1e4) }')
check cpu-max-binds "30 % asked for, $percent % used" [ "$percent" -gt 0 -a "$percent" -le 36 ]
answers() { timeout 2 redis-cli -h 10.77.5.2 ping 2>/dev/null | grep -q PONG; }
check protected "redis does not answer beside its neighbours" wait_for 60 answers
kill -9 "${outer[cpu]}"
wait "${outer[cpu]}" 2>/dev/null
unset "outer[cpu]"
"$twinstep" stop "$tag-memory"
wait "${outer[memory]}"
unset "outer[memory]"
check group-removed "left: $(groups memory)" [ -z "$(groups memory)" ]

# Weights, on one CPU; the first of them removes what the killed one has left.
one_cpu=$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')
for w in 300 100; do
	taskset -c "$one_cpu" "$twinstep" run "${base[@]}" --name "$tag-w$w" --cpu-weight $w --append "$cmdline $burn" 2>"$work/err-w$w" >/dev/null &
	outer[w$w]=$!
done
up w300
up w100
check left-behind-removed "left: $(groups cpu)" [ -z "$(groups cpu)" ]
a=$(used_us w300) b=$(used_us w100)
sleep 6
share=$(awk -v a="$a" -v b="$b" -v c="$(used_us w300)" -v d="$(used_us w100)" 'BEGIN { print int(100 * (c - a) / (d - b + 1)) }')
check weights-bind "weights of 3 to 1 gave $share to 100" [ "$share" -gt 200 -a "$share" -lt 450 ]
end w300
end w100
end redis

# A pair has a group for each replica, a machine without a jail removes its own, a replay may be limited as well.
"$twinstep" pair "${base[@]}" --name "$tag-two" --cpu-weight 70 --memory-max 500M --append "$cmdline $burn" 2>"$work/err-two" >/dev/null &
outer[two]=$!
up two-a
up two-b
check pair-limits "$(groups two-a) $(groups two-b)" eval "is two-a cpu.weight 70 cpu.shares 716 && is two-b cpu.weight 70 cpu.shares 716"
end two
check pair-groups-removed "left: $(groups two)" [ -z "$(find /sys/fs/cgroup -type d -path "*/$tag-two*")" ]
guest bare "$burn" --no-jail --cpu-weight 70
up bare
check bare-limits "not set" is bare cpu.weight 70 cpu.shares 716
end bare
check bare-group-removed "left: $(groups bare)" [ -z "$(groups bare)" ]
"$twinstep" replay --quiet --console none --cpu-weight 70 --cpu-max 90% --memory-max 500M "$work/log" 2>"$work/err"
status=$?
check replay-limits "status $status: $(tail -n 2 "$work/err")" [ $status -eq 0 ]

guest hungry "$churn" --memory-max 200M
wait "${outer[hungry]}"
status=$?
unset "outer[hungry]"
check memory-max-binds "status $status: $(cat "$work/err-hungry")" eval "[ $status -eq 137 ] && grep -q 'more memory than --memory-max' '$work/err-hungry'"

truncate -s 1M "$work/disk"
dev=$(stat -c %d "$work/disk")
guest disk "$burn" --disk "$work/disk" --io-max 5M
if [ $((dev >> 8)) -eq 0 ]; then
	wait "${outer[disk]}"
	check io-max "$(cat "$work/err-disk")" grep -q 'not on a block device' "$work/err-disk"
elif up disk; then
	check io-max-set "$(cat "$(file disk io.max blkio.throttle.write_bps_device)")" grep -q '[0-9]*:[0-9]* .*5242880' "$(file disk io.max blkio.throttle.write_bps_device)"
	end disk
else
	check io-max "$(cat "$work/err-disk")" grep -q 'this host has no io' "$work/err-disk"
fi
if setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$PWD/$twinstep" 2>/dev/null; then
	setpriv --reuid 65534 --regid 65534 --clear-groups timeout 600 "$PWD/$twinstep" run --kernel "$PWD/$vmlinuz" --reserve off \
		--console none --cpu-weight 5 </dev/null >/dev/null 2>"$work/err"
	check not-root "$(cat "$work/err")" grep -q 'limits need root, or --cgroup' "$work/err"
else
	skip not-root "another user cannot reach $PWD"
fi
check nothing-left "left: $(groups '')" [ -z "$(find /sys/fs/cgroup -type d -path "*/$tag-*")" ]
exit $failed
