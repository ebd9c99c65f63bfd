#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the guest programs on an engine: ENGINE (default auto). Their lines are the result lines; a program that ends
# otherwise than with status 0 or 1 is a failure itself. A program named triple* has to end by a triple fault. One named
# apic* is for machine version 2; MACHINE=2 runs all on it.
# beside others
set -u
build=${BUILD:-build}
run=("$build/twinstep" run --engine "${ENGINE:-auto}" --console none --debug-console stdio --memory 64M)
failed=0
triple_status=120

for program in "$build"/tests/guest/*.elf; do
	name=$(basename "$program" .elf)
	machine=${MACHINE:-1}
	[[ $name != apic* ]] || machine=2
	out=$(timeout 600 "${run[@]}" --machine "$machine" --kernel "$program" 2>&1)
	status=$?
	case $name in
	triple*) expected=$triple_status ;;
	*) expected=0 ;;
	esac
	grep -E '^(ok|not ok|skip) ' <<<"$out"
	grep -q '^not ok ' <<<"$out" && failed=1
	if [ "$status" -eq "$expected" ]; then
		echo "ok $name.end"
	elif [ "$status" -ne 1 ]; then
		echo "not ok $name.end: status $status, expected $expected"
		grep -vE '^(ok|skip) ' <<<"$out" | tail -n 25
		failed=1
	fi
done
exit "$failed"
