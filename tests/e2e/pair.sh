#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The pair: each kind of failure once under load, a divergence, hostile connections, the demonstration, `twinstep pair`.
# usage: tests/e2e/pair.sh [TEST...], for instance failover.primary-kill hang.backup_for_ever
# time limit: 2400 s
# waits for the host: *
# beside others
# The longer runs: make soak-pair. Silence counts late here, because a test host may be busy with other things.
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build} TIMEOUT=${TIMEOUT:-1500}

if ! unshare --net --mount true 2>/dev/null && ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
	echo "skip pair: this host lets nobody make network namespaces"
	exit 0
fi
# part PROGRAM [ARG...]: one that ends early without saying which test failed has failed as well
part() {
	tests/pair/pair.sh "$@" 2>&1 | tee "$BUILD/pair.part"
	[ "${PIPESTATUS[0]}" -eq 0 ] || grep -q '^not ok' "$BUILD/pair.part" ||
		echo "not ok ${1%.py}.ended: early: $(tail -n 1 "$BUILD/pair.part")"
}
demo() {
	if tests/pair/pair.sh tools/demo.py >"$BUILD/demo.out" 2>&1; then
		echo "ok demo: $(grep -o 'outage .*' "$BUILD/demo.out")"
	else
		echo "not ok demo: $(tail -n 3 "$BUILD/demo.out" | tr '\n' ' ')"
	fi
}
if [ $# -eq 0 ]; then
	part soak.py --count 10 --clients 10
	for program in divergence hostile hang console address; do part $program.py; done
	demo
	part onehost.py
fi
for test in "$@"; do
	case $test in
	demo) demo ;;
	failover.frames | failover.growth | failover.images) part soak.py --count 10 --clients 10 ;;
	failover.*) part soak.py --count 1 --clients 10 --only "${test#*.}" ;;
	console* | onehost*) part "${test%%.*}.py" ;;
	address) part address.py ;;
	*.ended) part "${test%%.*}.py" ;;
	*) part "${test%%.*}.py" "${test#*.}" ;;
	esac
done
