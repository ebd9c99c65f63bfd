#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# beside others
# mostly waits
# What tests/run makes of tests that fail, die or hang: a second chance for those that wait for the host, and for no other.
set -u
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# program NAME HEAD BODY: a script for the runner; in it, "first" succeeds the first time that it is asked
program() {
	cat >"$work/$1.sh" <<-END
		#!/usr/bin/env bash
		# $2
		first() { mkdir "$work/$1.\${1:-ran}" 2>/dev/null; }
		$3
	END
	chmod +x "$work/$1.sh"
}
# ran NAME STATUS LAST WORD...: what tests/run says of that script: its exit status, its last line, and lines (patterns)
ran() {
	local test=$1 want=$2 last=$3 status out
	shift 3
	out=$(TEST_TIMEOUT=2 tests/run "$work/$test.sh" 2>&1)
	status=$?
	if [ "$status" -ne "$want" ] || [ "$(tail -n 1 <<<"$out")" != "$last" ]; then
		echo "not ok runner.$test: status $status: $(tail -n 3 <<<"$out" | tr '\n' ' ')"
		bad=1
		return
	fi
	for line in "$@"; do
		grep -qxE -- "$line" <<<"$out" && continue
		echo "not ok runner.$test: no line '$line' in: $(tr '\n' '|' <<<"$out")"
		bad=1
		return
	done
	echo "ok runner.$test"
}

program passes 'a head' 'echo "ok passes.a"; echo "skip passes.b: no such thing"'
ran passes 0 '1 passed, 0 failed, 1 skipped' 'skip passes.b: no such thing'

program steady 'a head' 'echo "ok steady.a"; first && echo "not ok steady.b: once" || echo "ok steady.b"'
ran steady 1 '1 passed, 1 failed, 0 skipped'

program unsteady 'waits for the host: b*' 'echo "ok unsteady.a"; first && echo "not ok unsteady.b1: slow, once" || echo "ok unsteady.b1"'
ran unsteady 0 '2 passed, 0 failed, 0 skipped' 'unsteady unsteady\.b1: slow, once' '1 unsteady: .*'

program named 'waits for the host: b c' '
if [ $# -eq 0 ]; then echo "ok named.a"; echo "not ok named.b: slow"; else for t; do echo "ok $t"; [ "$t" = named.b ] || exit 1; done; fi'
ran named 0 '2 passed, 0 failed, 0 skipped' 'unsteady named\.b: slow'

program twice 'waits for the host: b' 'echo "ok twice.a"; echo "not ok twice.b: slow again"'
ran twice 1 '1 passed, 1 failed, 0 skipped' 'failed twice: twice\.b: slow again'

# What fails before its parts are known has the name of the whole.
program parts 'waits for the host: parts*' 'first && echo "not ok parts: slow" || { echo "ok parts.a"; echo "ok parts.b"; }'
ran parts 0 '1 passed, 0 failed, 0 skipped' 'unsteady parts: slow'
program parts-fail 'waits for the host: parts-fail*' 'first && echo "not ok parts-fail: slow" || { echo "ok parts-fail.a"; echo "not ok parts-fail.b: wrong"; }'
ran parts-fail 1 '0 passed, 2 failed, 0 skipped' 'failed twice: parts-fail: slow'

program mixed 'waits for the host: b' 'first && { echo "not ok mixed.a: wrong"; echo "not ok mixed.b: slow"; } || { echo "ok mixed.a"; echo "ok mixed.b"; }'
ran mixed 1 '1 passed, 1 failed, 0 skipped' 'unsteady mixed\.b: slow'

program later 'waits for the host: b' 'first && { echo "ok later.a"; echo "not ok later.b: slow"; } || { echo "not ok later.a: wrong now"; echo "ok later.b"; }'
ran later 1 '2 passed, 1 failed, 0 skipped' 'unsteady later\.b: slow' 'failed: later\.a: wrong now'

# A program that dies, hangs or says nothing.
program dies 'a head' 'echo "ok dies.a"; first && kill -SEGV $$; true'
ran dies 1 '1 passed, 1 failed, 0 skipped' '    not ok .*dies.sh: exit status 139'
program hangs 'a head' 'echo "ok hangs.a"; first && sleep 60; true'
ran hangs 1 '1 passed, 1 failed, 0 skipped' '    not ok .*hangs.sh: exit status 124'
program mute 'a head' 'first || echo "ok mute.a"; true'
ran mute 1 '0 passed, 1 failed, 0 skipped' '    not ok .*mute.sh: printed no result'
program dies-waiting 'waits for the host: *' 'echo "ok dies-waiting.a"; first && kill -SEGV $$; true'
ran dies-waiting 0 '2 passed, 0 failed, 0 skipped' 'unsteady .*dies-waiting.sh: exit status 139'
program hangs-waiting 'waits for the host: *' 'first && sleep 60; echo "ok hangs-waiting.a"'
ran hangs-waiting 0 '1 passed, 0 failed, 0 skipped' 'unsteady .*hangs-waiting.sh: exit status 124'
program hangs-twice 'waits for the host: *' 'sleep 60'
ran hangs-twice 1 '0 passed, 1 failed, 0 skipped' 'failed twice: .*hangs-twice.sh: exit status 124'
# The part that waits for the host says nothing of the program as a whole.
program part-dies 'waits for the host: a' 'echo "ok part-dies.a"; first && kill -SEGV $$; true'
ran part-dies 1 '1 passed, 1 failed, 0 skipped' '    not ok .*part-dies.sh: exit status 139'

# Unit tests: one that fails, one that dies, one that hangs, each the first time it runs, in a table as in tests/unit.h.
cat >"$work/test_unit.c" <<'END'
#include <fcntl.h>
#include <unistd.h>
#include "tests/unit.h"
static bool first(const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/unit.%s", getenv("RUNNER_WORK"), name);
	return open(path, O_CREAT | O_EXCL, 0600) >= 0;
}
START_TEST(fails) { ck_assert_msg(!first("fails"), "slow: once"); } END_TEST
START_TEST(dies) { if (first("dies")) abort(); } END_TEST
START_TEST(hangs) { if (first("hangs")) sleep(60); } END_TEST
START_TEST(is_wrong_once) { ck_assert(!getenv("RUNNER_WRONG") || !first("is_wrong_once")); } END_TEST
START_TEST(passes) { } END_TEST
static void add(TCase *tc)
{
	tcase_set_timeout(tc, 1);
	tcase_add_host_test(tc, fails);
	tcase_add_host_test(tc, dies);
	tcase_add_host_test(tc, hangs);
	tcase_add_test(tc, is_wrong_once);
	tcase_add_test(tc, passes);
}
UNIT_MAIN("unit", add)
END
if ${CC:-cc} -I. -D_GNU_SOURCE -pthread -o "$work/test_unit" "$work/test_unit.c" -lcheck -lsubunit -lrt -lm 2>"$work/err"; then
	mkdir "$work/a" && mv "$work/test_unit" "$work/a/"
	unit() { # NAME STATUS LAST LINE...
		local test=$1 want=$2 last=$3 out status
		shift 3
		rm -f "$work"/unit.{fails,dies,hangs,is_wrong_once}
		out=$(RUNNER_WORK=$work TEST_TIMEOUT=60 tests/run "$work/a/test_unit" 2>&1)
		status=$?
		for line in "$@"; do
			grep -qE -- "^$line" <<<"$out" || status="$status, no line '$line'"
		done
		if [ "$status" = "$want" ] && [ "$(tail -n 1 <<<"$out")" = "$last" ]; then
			echo "ok runner.$test"
		else
			echo "not ok runner.$test: status $status: $(tr '\n' '|' <<<"$out")"
			bad=1
		fi
	}
	unit unit 0 '5 passed, 0 failed, 0 skipped' 'unsteady .*:fails: slow: once' 'unsteady .*:dies: .*signal' \
		'unsteady .*:hangs: .*timeout'
	RUNNER_WRONG=1 unit unit-wrong 1 '4 passed, 1 failed, 0 skipped' '    not ok .*:is_wrong_once:'
else
	echo "not ok runner.unit: $(head -n 1 "$work/err")"
	bad=1
fi

# Deterministic programs run side by side, those that wait for the host alone; the order of the second runs is last.
for i in 1 2; do
	program "beside$i" 'beside others' "echo begin >>$work/order; sleep 0.5; echo end >>$work/order; echo 'ok beside$i'"
	program "alone$i" 'a head' "echo Begin >>$work/order; sleep 0.1; echo End >>$work/order; echo 'ok alone$i'"
done
TEST_JOBS=2 tests/run "$work"/{alone1,beside1,alone2,beside2}.sh >/dev/null 2>&1
order=$(tr '\n' ' ' <"$work/order")
if [ "$order" = 'begin begin end end Begin End Begin End ' ]; then
	echo "ok runner.order"
else
	echo "not ok runner.order: $order"
	bad=1
fi
# One that mostly waits runs beside as many others as there are CPUs: here each waits for the other.
meets() { echo "touch $work/$1; for _ in \$(seq 100); do [ -e $work/$2 ] && echo 'ok $1' && exit; sleep 0.1; done; exit 1"; }
program waits 'beside others' "$(meets waits works)"
sed -i '2a # mostly waits' "$work/waits.sh"
program works 'beside others' "$(meets works waits)"
out=$(TEST_JOBS=1 TEST_TIMEOUT=30 tests/run "$work"/{works,waits}.sh 2>&1)
if [ "$(tail -n 1 <<<"$out")" = '2 passed, 0 failed, 0 skipped' ]; then
	echo "ok runner.waiting"
else
	echo "not ok runner.waiting: $(tr '\n' '|' <<<"$out")"
	bad=1
fi
exit $bad
