#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A campaign on redis under load: a recording of requests from redis-benchmark, then CAMPAIGN (2000) bit flips in the time
# of the requests, twice with the same seed; the second time it or a worker of it is killed now and then, and it is taken
# up again. Both have the same outcomes. CAMPAIGN_REQUESTS (200), CAMPAIGN_JOBS (one a CPU); CAMPAIGN_KEEP=DIRECTORY:
# results and page go there.
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
need_redis
in_namespace "$@"
count=${CAMPAIGN:-2000} jobs=${CAMPAIGN_JOBS:-$(nproc)}
keep=${CAMPAIGN_KEEP:-$work}
guest=10.77.1.2
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up

# The recording begins where redis answers, so that no worker has to boot it.
"$twinstep" run --memory 160M --kernel "$vmlinuz" --initrd "$initramfs" --net tap:tap0 --control "$work/sock" \
	--console "$work/console" --append "$cmdline twinstep.ip=$guest/24 twinstep.redis" >"$work/out" 2>"$work/err" </dev/null &
machine=$!
wait_for 120 answers
"$twinstep" snapshot "$work/sock" "$keep/snapshot" --force >"$work/out" 2>&1
"$twinstep" stop "$work/sock"
wait "$machine"
"$twinstep" record -o "$keep/log" --force --checkpoint 0 --restore "$keep/snapshot" --net tap:tap0 --control "$work/sock" \
	--console "$work/console" >"$work/out" 2>"$work/err" </dev/null &
machine=$!
wait_for 120 answers
timeout 300 redis-benchmark -h "$guest" -c 4 -n "${CAMPAIGN_REQUESTS:-200}" -d 100 -t set,get,incr -q >"$work/load" 2>&1
"$twinstep" stop "$work/sock"
wait "$machine"
machine=
check recorded "$(tail -n 3 "$work/err" "$work/load")" [ -s "$keep/log" ]

cat >"$keep/plan.json" <<END
{"log": "$keep/log", "seed": 1, "experiments": $count, "bound": 50000000,
 "detect": ["Oops", "Kernel panic", "BUG:", "general protection", "segfault", "traps:", "Guru Meditation", "crashed by signal"],
 "faults": [{"place": "register"}, {"place": "register"}, {"place": "rip"}, {"place": "flags"}, {"place": "vector"},
  {"place": "memory"}, {"place": "page table"}, {"place": "skip"}, {"place": "packet lost"}, {"place": "packet corrupt"}]}
END
campaign() { "$twinstep" campaign "$@" </dev/null; }
began=$SECONDS
campaign run "$keep/plan.json" -o "$keep/a.db" --jobs "$jobs" 2>"$work/err"
check run "status $?: $(tail -n 2 "$work/err")" grep -q "$count experiments are done" "$work/err"
echo "$count experiments in $((SECONDS - began)) s with $jobs jobs"
campaign report "$keep/a.db" --html "$keep/page.html"
campaign report "$keep/a.db" --csv >"$work/a.csv"
if [ -z "${CAMPAIGN_ONCE:-}" ]; then
	# Three quarters of the way are cut by kills, the whole campaign and single workers by turns, each at some moment.
	rows() { [ "$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM result").fetchone()[0])' \
		"$keep/b.db" 2>/dev/null || echo 0)" -ge "$1" ]; }
	killed=0
	for i in 1 2 3 4; do
		"$twinstep" campaign run "$keep/plan.json" -o "$keep/b.db" --jobs "$jobs" 2>"$work/err.$i" </dev/null &
		pid=$!
		wait_for 3600 rows $((count * i / 6 + RANDOM % (count / 12 + 1)))
		victim=$pid
		[ $((i % 2)) = 0 ] && victim=$(pgrep -P "$pid" | head -n 1)
		kill -KILL "$victim" 2>/dev/null && killed=$((killed + 1))
		wait "$pid" 2>/dev/null
	done
	check killed "$killed of 4" [ "$killed" = 4 ]
	campaign run "$keep/plan.json" -o "$keep/b.db" --jobs "$jobs" 2>"$work/err"
	check again "status $?: $(tail -n 2 "$work/err")" grep -q "$count experiments are done" "$work/err"
	campaign report "$keep/b.db" --csv >"$work/b.csv"
	check same-outcomes "$(diff "$work/a.csv" "$work/b.csv" | head -n 5)" cmp -s "$work/a.csv" "$work/b.csv"
fi
exit "$failed"
