#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A campaign on pairs: each fault of a replica or of the link comes at a drawn moment, and nobody outside sees it.
# PAIRS (7) experiments, PAIR_LINES (100) lines of the guest, PAIR_EVERY (10000000) ns between two of them, PAIR_JOBS (2).
# PAIR_SEED (69): with it seven experiments have a place each.
# beside others
# waits for the host: outcomes show directory-goes golden-* disturbed tried-again too-late
. "$(dirname "$0")/lib.sh"
out=$work/out err=$work/err plan=$work/plan.json
count=${PAIRS:-7} lines=${PAIR_LINES:-100}
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -DLINES="$lines" \
	-DEVERY="${PAIR_EVERY:-10000000}" -o "$work/guest.elf" tests/e2e/campaign_pair.S 2>"$err"; then
	skip all "no compiler of 32-bit programs: $(tail -n 1 "$err")"
	exit 0
fi
campaign() { timeout 3000 "$twinstep" campaign "$@" >"$out" 2>"$err" </dev/null; }
cat >"$plan" <<END
{"pair": ["--kernel", "$work/guest.elf", "--memory", "4M", "--epoch", "50"], "seed": ${PAIR_SEED:-69}, "experiments": $count, "from": 20000,
 "to": 400000, "faults": [{"place": "primary killed"}, {"place": "backup killed"}, {"place": "primary stopped", "amount": 3000},
  {"place": "backup stopped", "amount": 3000}, {"place": "pair cut", "amount": 3000},
  {"place": "primary differs", "first": 2097152}, {"place": "backup differs", "first": 2097152}]}
END
campaign plan "$plan" --check
check plan "status $?: $(cat "$err")" [ ! -s "$out" ]
campaign run "$plan" -o "$work/a.db" --jobs "${PAIR_JOBS:-2}"
check run "status $?: $(cat "$err")" grep -q "$count experiments are done" "$err"
campaign report "$work/a.db" --csv
cp "$out" "$work/a.csv"
check outcomes "$(cat "$work/a.csv")" python3 - "$work/a.csv" "$count" <<'END'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert len(rows) == int(sys.argv[2]), len(rows)
for row in rows:
    assert row["outcome"] == ("divergence" if "differs" in row["place"] else "masked"), row
assert len({row["place"] for row in rows}) >= (7 if len(rows) == 7 else 1), "few places"
END
campaign report "$work/a.db" --html "$work/page.html"
check page "status $?: $(cat "$err")" eval "grep -q 'a pair' '$work/page.html' && grep -q '[0-9] µs<' '$work/page.html' &&
	! grep -q -e 'nstructions' -e 'count [0-9]' '$work/page.html'"
campaign show "$work/a.db" 0
check show "status $?: $(cat "$out" "$err")" grep -q 'the same as in the campaign' "$out"
campaign show "$work/a.db" 0 --record "$work/no.log"
check no-recording "$(cat "$err")" grep -q 'is no recording' "$err"

# What a host does beside the faults is no outcome: such an experiment is tried again, and one whose guest is over each time has had
# no fault.
guest() { # guest FILE LINES
	${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -DLINES="$2" -DEVERY=10000000 -o "$1" \
		tests/e2e/campaign_pair.S
}
guest "$work/long.elf" 250
guest "$work/short.elf" 60
cat >"$plan" <<END
{"pair": ["--kernel", "$work/long.elf", "--memory", "4M", "--epoch", "50"], "experiments": 5, "from": 1500000, "to": 1700000,
 "faults": [{"place": "backup differs", "first": 2097152}]}
END
disturbed() { # disturbed WHAT DB
	GUEST=$work/long.elf SHORT=$work/short.elf timeout 600 tests/e2e/campaign_pair.py "$1" "$2" "$twinstep" campaign run "$plan" -o "$2" \
		>"$out" 2>"$err" </dev/null
}
disturbed end "$work/end.db"
status=$?
check directory-goes "status $status: $(cat "$out" "$err")" [ $status = 0 ]
disturbed golden "$work/golden.db"
check golden-fails "$(cat "$err")" grep -q 'both replicas of the plan.s pair fail without a fault' "$err"
# A golden run that comes apart is tried again, and no longer than it takes to see that this is how it is.
disturbed apart "$work/apart.db"
status=$?
check golden-tried-again "status $status: $(cat "$err")" grep -q '5 experiments are done' "$err"
sed 's/long.elf/short.elf/; s/1500000/1/; s/1700000/2/' "$plan" >"$work/apart.json"
plan=$work/apart.json disturbed always "$work/always.db"
status=$?
check golden-apart "status $status: $(cat "$err")" eval "[ $status != 0 ] && grep -q 'comes apart without a fault, however often' '$err'"
disturbed experiments "$work/disturbed.db"
check disturbed "status $?: $(cat "$err")" grep -q '5 experiments are done' "$err"
campaign report "$work/disturbed.db" --csv
check tried-again "$(cat "$out")" [ "$(tail -n +2 "$out" | head -n 3 | cut -d, -f6 | sort -u)" = divergence ]
check too-late "$(cat "$out")" [ "$(tail -n 1 "$out" | cut -d, -f6)" = refused ]

# One line for each kind of nonsense.
bad() { # bad NAME PLAN MESSAGE
	echo "$2" >"$plan"
	campaign plan "$plan"
	check "$1" "status $?: $(cat "$err")" eval "[ \$(wc -l <'$err') = 1 ] && grep -q '$3' '$err'"
}
bad mixed '{"pair": ["--kernel", "x"], "experiments": 1, "faults": [{"place": "register"}]}' 'are those of two replicas'
bad no-pair '{"log": "x", "experiments": 1, "faults": [{"place": "primary killed"}]}' 'are of a "pair"'
bad no-moment '{"pair": ["--kernel", "x"], "when": {"output": "x"}, "experiments": 1, "faults": []}' 'nothing is called "when" here'
bad no-option '{"pair": ["--kernel", "x", "--nonsense"], "experiments": 1, "faults": [{"place": "pair cut"}]}' 'nonsense'
bad long '{"pair": ["--kernel", "x"], "experiments": 1, "faults": [{"place": "pair cut", "amount": 86400001}]}' 'at most a day of ms'
bad bound '{"pair": ["--kernel", "x"], "experiments": 1, "bound": 86400001, "faults": [{"place": "pair cut"}]}' 'at most a day of ms'
bad far '{"pair": ["--kernel", "x", "--memory", "4M"], "experiments": 1, "faults": [{"place": "backup differs", "first": 4194304}]}' 'behind the 4194304 bytes'
bad nowhere '{"pair": ["--kernel", "x"], "experiments": 1, "faults": [{"place": "pair cut", "first": 1}]}' 'is at most 0$'
bad our-option '{"pair": ["--kernel", "x", "--console", "none"], "experiments": 1, "faults": [{"place": "pair cut"}]}' 'sees to that itself'
echo '{"pair": ["--kernel", "/nothing/here"], "experiments": 1, "faults": [{"place": "pair cut"}]}' >"$plan"
campaign run "$plan" -o "$work/none.db"
status=$?
check no-kernel "status $status: $(cat "$err")" eval "[ $status != 0 ] && grep -q 'does not come up: .*/nothing/here' '$err'"
exit "$failed"
