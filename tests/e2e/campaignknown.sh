#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs whose answer to a flip in their data is known: what a campaign counts follows from them.
# beside others
. "$(dirname "$0")/lib.sh"
out=$work/out err=$work/err
campaign() { timeout 600 "$twinstep" campaign "$@" >"$out" 2>"$err" </dev/null; }
# known NAME SCHEME OUTCOME-OF-DATA OUTCOME-OF-COPIES NOT-RUN: 60 flips at any time while nothing happens, in one of the three;
# pruned, those whose lines match NOT-RUN are not run.
known() {
	if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -DSCHEME="$2" -o "$work/$1.elf" \
		tests/e2e/campaign_known.S 2>"$err"; then
		skip "$1" "no compiler of 32-bit programs: $(tail -n 1 "$err")"
		return
	fi
	timeout 600 "$twinstep" record -o "$work/$1.log" --engine soft --console none --debug-console none --memory 4M \
		--kernel "$work/$1.elf" >"$err" 2>&1 </dev/null
	check "$1-recorded" "$(cat "$err")" [ -s "$work/$1.log" ]
	cat >"$work/$1.json" <<-PLAN
		{"log": "$work/$1.log", "experiments": 60, "from": 2000, "to": 90000, "bound": 100000, "detect_status": [9],
		 "faults": [{"place": "memory", "first": 2097152, "last": 2097215}, {"place": "memory", "first": 2101248, "last": 2101311},
		  {"place": "memory", "first": 2105344, "last": 2105407}]}
	PLAN
	campaign run "$work/$1.json" -o "$work/$1.db" --jobs 2
	check "$1-run" "status $?: $(cat "$err")" grep -q '60 experiments are done' "$err"
	campaign report "$work/$1.db" --csv
	check "$1" "$(cat "$out")" python3 - "$out" "$3" "$4" <<-'CHECK'
		import csv, sys
		rows = list(csv.DictReader(open(sys.argv[1])))
		data = [r["outcome"] for r in rows if int(r["index"]) < 0x201000]
		copies = [r["outcome"] for r in rows if int(r["index"]) >= 0x201000]
		assert len(rows) == 60 and len(data) > 5 and len(copies) > 20, (len(data), len(copies))
		assert set(data) == {sys.argv[2]} and set(copies) == {sys.argv[3]}, (set(data), set(copies))
	CHECK
	# The same without the runs that need not be.
	cut -d, -f1-9 "$out" >"$work/$1.csv"
	sed 's/"experiments"/"prune": true, "experiments"/' "$work/$1.json" >"$work/$1.prune.json"
	campaign run "$work/$1.prune.json" -o "$work/$1.prune.db" --jobs 2
	check "$1-prune" "status $?: $(cat "$err")" grep -q '60 experiments are done' "$err"
	campaign report "$work/$1.prune.db" --csv
	check "$1-pruned-the-same" "$(cut -d, -f1-9 "$out" | diff "$work/$1.csv" - | head -n 5)" eval "cut -d, -f1-9 '$out' | cmp -s '$work/$1.csv' -"
	check "$1-pruned" "$(cut -d, -f12 "$out" | sort | uniq -c)" [ "$(grep -c ',1$' "$out")" = "$(grep -c "$5" "$out")" ]
}
known plain 1 'wrong output' latent ,latent,
known checksum 2 detected latent ,latent,
known triple 3 'no effect' 'no effect' nothing
exit "$failed"
