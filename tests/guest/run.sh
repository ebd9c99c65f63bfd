#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the guest programs on an engine: ENGINE (default auto). Their lines are the result lines; a program that ends
# otherwise than with status 0 or 1 is a failure itself. A program named triple* has to end by a triple fault. All run on
# machine version 2, and but for apic* on version 1, where v1. stands before their names; with MACHINE=1 or 2 on one.
# beside others
set -u
build=${BUILD:-build}
run=("$build/twinstep" run --engine "${ENGINE:-auto}" --console none --debug-console stdio --memory 64M)
failed=0
triple_status=120

run_one() { # PROGRAM MACHINE PREFIX
	local name out status expected
	name=$(basename "$1" .elf)
	out=$(timeout 600 "${run[@]}" --machine "$2" --kernel "$1" 2>&1)
	status=$?
	case $name in
	triple*) expected=$triple_status ;;
	*) expected=0 ;;
	esac
	grep -E '^(ok|not ok|skip) ' <<<"$out" | sed -E "s/^(ok|not ok|skip) /&$3/"
	grep -q '^not ok ' <<<"$out" && failed=1
	if [ "$status" -eq "$expected" ]; then
		echo "ok $3$name.end"
	elif [ "$status" -ne 1 ]; then
		echo "not ok $3$name.end: status $status, expected $expected"
		grep -vE '^(ok|skip) ' <<<"$out" | tail -n 25
		failed=1
	fi
}
for machine in ${MACHINE:-2 1}; do
	for program in "$build"/tests/guest/*.elf; do
		case $machine,$program in
		1,*/apic*) ;;
		1,*) run_one "$program" 1 v1. ;;
		*) run_one "$program" "$machine" '' ;;
		esac
	done
done
exit "$failed"
