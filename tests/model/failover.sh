#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# beside others
# Walks every state of tests/model/failover.pml with spin: the rules of failover hold for the table that the program
# uses (tests/model/table.c prints it). Then leaves out one rule at a time, and each must be missed. docs/failover.md.
set -u
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
model=$PWD/tests/model/failover.pml
if ! command -v spin >/dev/null; then
	echo "skip model.failover: spin is not installed"
	exit 0
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
"$build/tests/model/table" >table.pml || exit 2
cp "$model" . || exit 2

check() { # RULE OPTION...: checks the model, without this rule; the checker's words in ./said
	rm -f pan ./*.trail
	spin ${1:+-DBROKEN_$1} "${@:2}" -a failover.pml >said 2>&1 &&
		cc -O1 -w -DSAFETY -DMEMLIM=2000 -o pan pan.c >>said 2>&1 &&
		./pan -m100000 -E >said 2>&1
}

# The second run is with a stranger at the arbiter, the third with a backup that is dismissed; both with a record less.
holds() { # NAME OPTION...
	check "" "${@:2}"
	if ! grep -q 'errors: 0$' said || grep -q 'truncated\|out of memory\|max search depth' said; then
		echo "not ok model.$1: $(grep -m 1 '^pan:\|rror' said)"
		spin "${@:2}" -t -g failover.pml 2>/dev/null | tail -n 60
		exit 1
	fi
	echo "ok model.$1: $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' said) states"
}
holds failover
holds stranger -DSTRANGERS=1 -DRECORDS=1
holds dismissal -DDISMISSALS=1 -DRECORDS=1
bad=0
for rule in LEASE OUTLAST COUNT ANNOUNCE CLOSE ARBITER MARK PASSED; do
	[ $rule = PASSED ] && check $rule -DSTRANGERS=1 -DRECORDS=1 || check $rule
	if grep -q '^pan:1: assertion violated' said; then
		echo "ok model.without_$rule: $(sed -n 's/^pan:1: //p' said)"
	else
		echo "not ok model.without_$rule: the model does not miss it: $(tail -n 1 said)"
		bad=1
	fi
done
exit $bad
