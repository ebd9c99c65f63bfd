#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs every fuzzer for a while: FUZZ_SECONDS each, or 60 s in all. Seeds come from tests/fuzz/corpus/NAME; what a run
# finds new stays in a temporary directory, but a crash is kept in BUILD/fuzz/crash-*.
# usage: tests/fuzz/run.sh [NAME...]
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
seconds=${FUZZ_SECONDS:-$((60 / ${#bins[@]} + 1))}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
for bin in "${bins[@]}"; do
	name=$(basename "$bin")
	name=${name#fuzz_}
	seeds=()
	[ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
	mkdir "$work/$name"
	if "$bin" -max_total_time="$seconds" -rss_limit_mb=2048 -artifact_prefix="$build/fuzz/crash-$name-" -print_final_stats=1 \
		"$work/$name" "${seeds[@]}" >"$work/log" 2>&1; then
		echo "ok fuzz.$name ($(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") runs)"
	else
		tail -n 30 "$work/log"
		echo "not ok fuzz.$name: $(grep -m 1 -E 'ERROR|SUMMARY|internal error' "$work/log"); see $build/fuzz/crash-$name-*"
		status=1
	fi
done
exit $status
