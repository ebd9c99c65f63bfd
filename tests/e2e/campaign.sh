#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A campaign of bit flips: the same outcomes whatever happens to it on the way, and one line for each kind of nonsense.
# beside others
. "$(dirname "$0")/lib.sh"
program=$build/tests/guest/walk.elf
log=$work/log out=$work/out err=$work/err plan=$work/plan.json
if [ ! -f "$program" ]; then
	skip all "no guest programs; run make guest-programs"
	exit 0
fi
timeout 600 "$twinstep" record -o "$log" --engine soft --console none --debug-console none --memory 8M --kernel "$program" \
	>"$err" 2>&1 </dev/null
check recorded "$(cat "$err")" [ -s "$log" ]
plan() { cat >"$plan"; }
plan <<END
{"log": "$log", "seed": 3, "experiments": 60, "bound": 100000, "detect": ["not ok"], "detect_status": [1],
 "faults": [{"place": "register"}, {"place": "rip"}, {"place": "memory", "first": 1048576, "last": 1150000}]}
END
campaign() { timeout 600 "$twinstep" campaign "$@" >"$out" 2>"$err" </dev/null; }
campaign plan "$plan"
check plan "$(cat "$err")" grep -q '60 experiments' "$out"
campaign run "$plan" -o "$work/a.db" --jobs 2
check run "status $?: $(cat "$err")" [ ! -s "$out" ]
campaign report "$work/a.db" --csv
cp "$out" "$work/a.csv"
check all-done "$(wc -l <"$work/a.csv") lines" [ "$(wc -l <"$work/a.csv")" = 61 ]
check outcomes "only one kind of outcome" [ "$(tail -n +2 "$work/a.csv" | cut -d, -f6 | sort -u | wc -l)" -ge 3 ]

# One that is killed twice, and once its workers, and another that is killed once: what both have done is the same. They have
# more experiments than any host does meanwhile.
sed 's/"experiments": 60/"experiments": 50000/' "$plan" >"$work/long.json"
rows=5
for victim in campaign workers campaign; do
	timeout 600 tests/e2e/campaign_kill.py "$work/b.db" $rows $victim "$twinstep" campaign run "$work/long.json" -o "$work/b.db" --jobs 2 \
		>"$out" 2>"$err"
	check "killed-$rows-$victim" "$(cat "$out" "$err")" grep -q '^killed at' "$out"
	[ $victim = campaign ] || check workers-killed "$(cat "$err")" grep -q 'a worker has ended by signal 9' "$err"
	[ $rows = 5 ] || check "resumed-$rows" "all were done again: $(cat "$err")" eval "! grep -q '50000 of 50000' '$err'"
	rows=$(($(sed -n 's/^killed at \([0-9]*\) rows.*/\1/p' "$out") + 20))
done
timeout 600 tests/e2e/campaign_kill.py "$work/c.db" 45 campaign "$twinstep" campaign run "$work/long.json" -o "$work/c.db" --jobs 2 \
	>"$out" 2>"$err"
check same-outcomes "$(cat "$out" "$err")" python3 - "$work/b.db" "$work/c.db" <<'END'
import sqlite3, sys
b, c = ({row[0]: row for row in sqlite3.connect(path).execute("SELECT n, count, place, idx, bit, outcome, end_count, status,"
        " first_difference FROM result")} for path in sys.argv[1:])
both = b.keys() & c.keys()
assert len(both) >= 20 and all(b[n] == c[n] for n in both), (len(b), len(c), len(both))
END

# A worker that stands still, with all of its processes, is not waited for.
descendants() {
	local pid
	for pid in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		echo "$pid"
		descendants "$pid"
	done
}
"$twinstep" campaign run "$work/long.json" -o "$work/still.db" --patience 3 >"$out" 2>"$err" </dev/null &
running=$!
wait_for 60 [ -s "$work/still.db" ]
wait_for 60 eval '[ -n "$(descendants $running)" ]'
# A process that is listed may fork before it stops: once all that are there are stopped, no more can come.
stopped=
for _ in {1..100}; do
	listed=$(descendants $running | sort)
	[ "$listed" != "$stopped" ] || break
	kill -STOP $listed
	stopped=$listed
done
check all-stopped "still forking: $listed" [ "$listed" = "$stopped" ]
wait $running
status=$?
check stands-still "status $status: $(cat "$err")" eval "[ $status = 122 ] && grep -q 'has not gone on for 3 s' '$err'"

campaign report "$work/a.db"
check table "$(cat "$out")" grep -q 'all: 60 experiments' "$out"
campaign report "$work/a.db" --json
check json "$(cat "$out")" python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert sum(o["n"] for o in r["outcomes"].values()) == 60' "$out"

# The page: whole as HTML, whole drawings, nothing from elsewhere; a browser opens it.
campaign report "$work/a.db" --html "$work/page.html"
check html-page "status $?: $(cat "$err")" tests/e2e/campaign_page.py "$work/page.html" "$work/a.csv"
if command -v chromium >/dev/null; then
	for width in 400 1200; do
		timeout 300 chromium --headless --no-sandbox --disable-gpu --window-size=$width,2400 --virtual-time-budget=2000 \
			--screenshot="${SCREENSHOTS:-$work}/campaign-$width.png" "file://$work/page.html" >"$work/chromium" 2>&1
		check "html-opens-$width" "$(tail -n 2 "$work/chromium")" test -s "${SCREENSHOTS:-$work}/campaign-$width.png"
	done
else
	skip html-opens "no chromium"
fi
for n in 0 17 59; do
	campaign show "$work/a.db" $n
	check "show-$n" "status $?: $(cat "$out" "$err")" grep -q 'the same as in the campaign' "$out"
done


# In two parts, then put together.
for i in 1 2; do
	campaign run "$plan" -o "$work/part$i.db" --shard $i/2
	check "shard-$i" "status $?: $(cat "$err")" grep -q ' of 30 experiments are to be done' "$err"
done
campaign merge -o "$work/whole.db" "$work/part1.db" "$work/part2.db"
check merge "status $?: $(cat "$err")" grep -q '60 of 60 experiments are there' "$err"
campaign report "$work/whole.db" --csv
check merged-outcomes "outcomes differ" cmp -s "$out" "$work/a.csv"

# With a margin it ends early, and at the same experiment whatever the workers do.
sed 's/"experiments": 60/"experiments": 400, "margin": 0.12, "confidence": 0.9/' "$plan" >"$work/margin.json"
for jobs in 1 2; do
	campaign run "$work/margin.json" -o "$work/margin$jobs.db" --jobs $jobs
	check "enough-$jobs" "status $?: $(cat "$err")" grep -q 'are done, which is enough' "$err"
	campaign report "$work/margin$jobs.db" --csv
	cp "$out" "$work/margin$jobs.csv"
done
check same-end "$(wc -l "$work"/margin?.csv)" cmp -s "$work/margin1.csv" "$work/margin2.csv"
campaign run "$work/margin.json" -o "$work/margin1.db"
check enough-again "$(cat "$err")" grep -q '0 of 400 experiments are to be done' "$err"

# An experiment as a recording: it replays to the same end, and differs from the golden run from the fault on.
golden() { "$twinstep" campaign report "$work/a.db" --csv | awk -F, -v n="$1" '$1 == n { print $'"$2"' }'; }
for outcome in detected hang latent; do
	n=$(awk -F, -v o=$outcome '$6 == o { print $1; exit }' "$work/a.csv")
	[ -n "$n" ] || continue
	campaign show "$work/a.db" "$n" --record "$work/x.$outcome"
	check "record-$outcome" "status $?: $(cat "$err")" grep -q 'the same as in the campaign' "$out"
	timeout 600 "$twinstep" replay "$work/x.$outcome" --console none --debug-console none >"$out" 2>"$err" </dev/null
	check "record-$outcome-replays" "status $?: $(cat "$err")" grep -q '1 digests agree' "$err"
	timeout 600 "$twinstep" log "$work/x.$outcome" >"$out" 2>"$err" </dev/null
	check "record-$outcome-end" "$(cat "$out" "$err")" grep -q "^end .* at count $(golden "$n" 7)$" "$out"
	timeout 600 "$twinstep" diff "$log" "$work/x.$outcome" >"$out" 2>"$err" </dev/null
	status=$?
	check "record-$outcome-differs" "status $status: $(cat "$out" "$err")" [ $status = 1 ]
done
n=$(awk -F, '$6 == "detected" { print $1; exit }' "$work/a.csv")
campaign show "$work/a.db" "$n"
check spread "$(cat "$out")" grep -q 'first difference in RAM: by the instruction at count' "$out"

# Faults of other kinds, when a line comes out; a recording of each replays.
plan <<END
{"log": "$log", "experiments": 40, "bound": 100000, "detect": ["not ok"], "detect_status": [1], "when": {"output": "^ok"},
 "faults": [{"place": "skip"}, {"place": "tlb"}, {"place": "replace"}, {"place": "page table", "width": 2}, {"place": "register", "width": 8},
  {"place": "clock jump", "amount": "0x10000000"}, {"place": "nmi"}]}
END
campaign run "$plan" -o "$work/kinds.db" --jobs 2
check kinds "status $?: $(cat "$err")" grep -q '40 experiments are done' "$err"
campaign report "$work/kinds.db" --csv
cp "$out" "$work/kinds.csv"
check kinds-when "more counts than lines" [ "$(tail -n +2 "$work/kinds.csv" | cut -d, -f2 | sort -u | wc -l)" -lt 35 ]
for place in skip replace "page table" tlb "clock jump" nmi; do
	k=$(awk -F, -v p="$place" '$3 == p && $6 != "refused" { print $1; exit }' "$work/kinds.csv")
	campaign show "$work/kinds.db" "$k" --record "$work/k.$k"
	check "kind-${place// /-}" "status $?: $(cat "$err")" grep -q 'the same as in the campaign' "$out"
	timeout 600 "$twinstep" replay "$work/k.$k" --console none --debug-console none >"$out" 2>"$err" </dev/null
	check "kind-${place// /-}-replays" "status $?: $(cat "$err")" grep -q '1 digests agree' "$err"
done

# Two faults at once, with their recording.
sed 's/"experiments": 40/"experiments": 12, "together": 2/' "$plan" >"$work/two.json"
campaign run "$work/two.json" -o "$work/two.db"
check two "status $?: $(cat "$err")" grep -q '12 experiments are done' "$err"
campaign report "$work/two.db" --csv
k=$(awk -F, '$1 != "n" && $6 != "refused" { print $1; exit }' "$out")
campaign show "$work/two.db" "$k" --record "$work/two.log"
check two-shown "status $?: $(cat "$err" "$out")" eval "grep -q 'and at once: ' '$out' && grep -q 'the same as in the campaign' '$out'"
timeout 600 "$twinstep" replay "$work/two.log" --console none --debug-console none >"$out" 2>"$err" </dev/null
check two-replays "status $?: $(cat "$err")" grep -q '1 digests agree' "$err"

# A function by its name: where it begins, and the bytes of it.
plan <<END
{"log": "$log", "experiments": 12, "bound": 100000, "detect": ["not ok"], "detect_status": [1], "symbols": "$program.64",
 "when": {"executed": "writer", "nth": 7}, "faults": [{"place": "linear", "symbol": "writer"}, {"place": "register stuck"}]}
END
campaign run "$plan" -o "$work/names.db"
check names "status $?: $(cat "$err")" grep -q '12 experiments are done' "$err"
campaign report "$work/names.db" --csv
check names-where "$(cat "$out")" python3 - "$out" "$program.64" <<'END'
import csv, subprocess, sys
nm = sorted((int(l.split()[0], 16), l.split()[2]) for l in subprocess.check_output(["nm", sys.argv[2]], text=True).splitlines() if l.split()[1] in "tT")
at = [a for a, name in nm if name == "writer"][0]
end = min(a for a, name in nm if a > at)
rows = [r for r in csv.DictReader(open(sys.argv[1])) if r["place"] == "linear"]
assert rows and all(at <= int(r["index"]) < end for r in rows) and len({r["count"] for r in rows}) == 1
END
cp "$out" "$work/names.csv"
campaign report "$work/names.db" --symbols "$program.64" --html "$work/names.html"
check names-report "$(cat "$out" "$err")" grep -q "^writer: $(grep -c ,linear, "$work/names.csv") experiments" "$out"
check names-page "status $?: $(cat "$err")" grep -q "<td>writer</td><td>$(grep -c ,linear, "$work/names.csv")</td>" "$work/names.html"
campaign report "$work/names.db" --symbols "$program.64" --json
check names-json "$(cat "$out")" python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert list(r["symbols"]) == ["writer"]' "$out"
sed 's/"symbol": "writer"/"symbol": "nobody"/' "$plan" >"$work/nobody.json"

# prune N NAME: the plan's N experiments pruned have the outcomes, one by one, that they have when all are run. $out: their rows.
prune() {
	local whole=$work/unpruned$2.csv
	campaign run "$plan" -o "$work/unpruned$2.db" --jobs 2
	campaign report "$work/unpruned$2.db" --csv
	cut -d, -f1-9 "$out" >"$whole"
	sed 's/"seed"/"prune": true, "seed"/' "$plan" >"$work/prune$2.json"
	campaign run "$work/prune$2.json" -o "$work/prune$2.db" --jobs 2
	check "prune$2" "status $?: $(cat "$err")" grep -q "$1 experiments are done" "$err"
	campaign report "$work/prune$2.db" --csv
	check "pruned$2-the-same" "$(cut -d, -f1-9 "$out" | diff "$whole" - | head -n 5)" eval "cut -d, -f1-9 '$out' | cmp -s '$whole' -"
}

# Pruned, registers have the same outcomes one by one, and some were not run.
plan <<END
{"log": "$log", "seed": 8, "experiments": 120, "bound": 100000, "detect": ["not ok"], "detect_status": [1], "faults": [{"place": "register"}]}
END
prune 120 ""
check pruned-some "none was pruned" grep -q ',1$' "$out"
campaign report "$work/prune.db"
check pruned-report "$(cat "$out")" grep -q 'were not run: nothing reads what they change' "$out"

# The same of flips in RAM: of the program's, of which it overwrites much, and of all, of which it uses little.
plan <<END
{"log": "$log", "seed": 9, "experiments": 160, "bound": 100000, "detect": ["not ok"], "detect_status": [1],
 "faults": [{"place": "memory", "first": 1048576, "last": 1310719, "width": 3}, {"place": "memory"}]}
END
prune 160 -ram
check pruned-ram "$(cut -d, -f3,6,12 "$out" | sort | uniq -c)" eval "[ \$(grep -c ',latent,.*,1$' '$out') -gt 20 ] && grep -q ',0$' '$out'"
campaign show "$work/prune-ram.db" 1
check show-pruned "status $?: $(cat "$out" "$err")" grep -q 'the same as in the campaign' "$out"

# refused WORD TEST COMMAND...
refused() {
	local status
	local word=$1 test=$2
	shift 2
	campaign "$@"
	status=$?
	check "$test" "status $status: $(cat "$err")" eval "[ $status -ne 0 ] && grep -qF -- \"$word\" '$err'"
}
sed 's/"seed": 3/"seed": 4/' "$plan" >"$work/other.json"
refused 'the results of another plan' another-plan run "$work/other.json" -o "$work/a.db"
refused 'the results of another plan' merge-plans merge -o "$work/d.db" "$work/a.db" "$work/margin1.db"
refused 'a part and their number' bad-shard run "$plan" -o "$work/d.db" --shard 3/2
python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("UPDATE result SET outcome = CASE outcome WHEN 0 THEN 1 ELSE 0 END WHERE n = 1"); d.commit()' \
	"$work/part2.db"
refused 'experiment 1 is' merge-unlike merge -o "$work/a.db" "$work/part1.db" "$work/part2.db"
refused 'cannot write' no-room report "$work/a.db" --html /dev/full
refused 'File exists' record-there show "$work/a.db" "$n" --record "$work/x.detected"
refused 'nothing to record' record-nothing show "$work/a.db" "$(awk -F, '$6 == "refused" { print $1; exit }' "$work/a.csv")" --record "$work/y"
python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("PRAGMA user_version=99"); d.commit()' "$work/part1.db"
refused 'results of version 5 (it says 99)' other-version report "$work/part1.db"
(ulimit -f 16 && timeout 600 "$twinstep" campaign run "$plan" -o "$work/full.db" >"$out" 2>"$err" </dev/null)
status=$?
check full-disk "status $status: $(cat "$err")" eval "[ $status -ne 0 ] && grep -Eq 'results .*(full|I/O error)' '$err'"
refused 'N is the number of an experiment' no-such-experiment show "$work/a.db" 60
refused 'not a database' not-results report "$log"
refused 'unable to open' no-file report "$work/nothing"
refused '-o FILE' no-output run "$plan"
refused 'plan, run, report, merge or show' no-verb walk "$plan"
echo '{"log": "x", "experiments": 5, "faults": [{"place": "soul"}]}' >"$work/bad.json"
refused "must be register, flags" no-place plan "$work/bad.json"
refused 'cannot open symbols' no-names report "$work/names.db" --symbols /nothing
refused 'cannot open symbols' no-names-for-page report "$work/names.db" --symbols /nothing --html "$work/nothing.html"
refused 'no code is called nobody' no-symbol plan "$work/nobody.json"
echo '{"log": "x", "experiments": 5, "fautls": []}' >"$work/bad.json"
refused 'nothing is called' no-key plan "$work/bad.json"
bad() {
	echo "{\"log\": \"x\", \"experiments\": 5, $3}" >"$work/bad.json"
	refused "$1" "$2" plan "$work/bad.json" --check
}
bad 'from 1 to the bits' bad-width '"faults": [{"place": "memory", "width": 9}]'
bad 'of that' bad-amount '"faults": [{"place": "nmi", "amount": 9}]'
bad 'the path of a System.map' no-symbols '"faults": [{"place": "linear", "symbol": "main"}]'
bad 'is a name' bad-symbol '"faults": [{"place": "nmi", "symbol": "main"}]'
bad 'cannot read symbols' no-symbols-file '"symbols": "/nothing", "faults": [{"place": "nmi"}]'
bad 'is at most 15' bad-first '"faults": [{"place": "register", "first": 16}]'
bad 'says which NIC' bad-range '"when": {"packet": "08"}, "faults": [{"place": "packet lost", "first": 0}]'
bad 'is an errno' bad-errno '"faults": [{"place": "disk error", "amount": 0}]'
bad 'at most an hour' bad-slow-disk '"faults": [{"place": "disk slow", "amount": 3600000000001}]'
bad 'at most 1000000' bad-slow-clock '"faults": [{"place": "clock slow", "amount": 1000001}]'
bad 'one of executed' bad-when '"when": {"executed": 1, "output": "x"}, "faults": [{"place": "nmi"}]'
bad 'no regular expression' bad-output '"when": {"output": "("}, "faults": [{"place": "nmi"}]'
bad 'is no regular expression' bad-mask '"mask": ["("], "faults": [{"place": "nmi"}]'
bad 'a list of at most 32' bad-detect '"detect": "oops", "faults": [{"place": "nmi"}]'
bad 'from 1 to 8' bad-together '"together": 9, "faults": [{"place": "nmi"}]'
bad 'must be between' bad-margin '"margin": 0.7, "faults": [{"place": "nmi"}]'
bad 'a number from 0' bad-number '"faults": [{"place": "linear", "first": "0xzz"}]'
bad 'true or false' bad-prune '"prune": 1, "faults": [{"place": "nmi"}]'
echo '{"log": "x", ' >"$work/bad.json"
refused 'line 2' no-json plan "$work/bad.json"
sed 's/"bound"/"from": 99999999999, "bound"/' "$plan" >"$work/far.json"
refused 'holds nothing of this recording' nothing-there run "$work/far.json" -o "$work/far.db"
exit "$failed"
