#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs every fuzzer for its part of FUZZ_SECONDS (60 in all). Seeds come from tests/fuzz/corpus/NAME; what a run finds
# new stays in a temporary directory, but a crash is kept in BUILD/fuzz/crash-*. With FUZZ_KEEP=1 the corpus is made
# anew from what is there and what was found: few inputs that together reach every edge that any of them reaches, at
# most 128 files and 48 KiB for each fuzzer. FUZZ_FROM=DIR adds DIR/NAME to what was found (of a longer run elsewhere).
# FUZZ_SEED=N makes the same mutations in each run, as make check does: it fails when the code has changed, not by luck.
# usage: tests/fuzz/run.sh [NAME...]
# beside others
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
if [ $# -gt 0 ]; then
	bins=()
	for name in "$@"; do bins+=("$build/fuzz/tests/fuzz/fuzz_$name"); done
else
	mapfile -t bins < <(find "$build/fuzz/tests/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -executable 2>/dev/null | sort)
fi
[ ${#bins[@]} -gt 0 ] || {
	echo "skip fuzz: no fuzzers built (make fuzz; needs clang)"
	exit 0
}
total=${FUZZ_SECONDS:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# keep NAME BIN
keep() {
	local corpus=tests/fuzz/corpus/$1 size=0 n=0 file
	mkdir -p "$corpus" "$work/merged"
	local more=()
	[ -d "${FUZZ_FROM:-/nowhere}/$1" ] && more=("$FUZZ_FROM/$1")
	"$2" -set_cover_merge=1 -use_counters=0 "$work/merged" "$corpus" "$work/new/$1" "${more[@]}" >"$work/output" 2>&1 || {
		tail -n 3 "$work/output"
		return
	}
	rm -f "$corpus"/*
	while read -r file; do
		size=$((size + $(stat -c %s "$file"))) n=$((n + 1))
		[ $n -le 128 ] && [ $size -le 49152 ] && mv "$file" "$corpus/"
	done < <(find "$work/merged" -type f -printf '%s %p\n' | sort -n | cut -d' ' -f2)
	rm -rf "$work/merged"
}

status=0 i=0
for bin in "${bins[@]}"; do
	name=$(basename "$bin")
	name=${name#fuzz_}
	seconds=$((total * (i + 1) / ${#bins[@]} - total * i / ${#bins[@]}))
	i=$((i + 1))
	seeds=()
	[ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
	mkdir -p "$work/new/$name"
	# Long inputs from the start: a few seconds would never get there else. No limit here can be met because of load.
	if "$bin" -seed="${FUZZ_SEED:-0}" -max_total_time="$((seconds > 0 ? seconds : 1))" -len_control=0 -max_len=2048 -timeout=300 -rss_limit_mb=4096 \
		-artifact_prefix="$build/fuzz/crash-$name-" -print_final_stats=1 "$work/new/$name" "${seeds[@]}" >"$work/output" 2>&1; then
		echo "ok fuzz.$name ($(sed -n 's/^stat::number_of_executed_units: *//p' "$work/output") runs, $seconds s)"
		[ "${FUZZ_KEEP:-}" != 1 ] || keep "$name" "$bin"
	else
		echo "not ok fuzz.$name: $(grep -m 1 -E 'runtime error|ERROR|SUMMARY|internal error' "$work/output"); see $build/fuzz/crash-$name-*"
		tail -n 30 "$work/output"
		status=1
	fi
done
exit $status
