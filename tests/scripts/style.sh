#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Licence line on top of every source file; lists in comments are whole; clang-format agrees where it is installed.
# beside others
set -u
cd "$(dirname "$0")/../.."
command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1 || {
	echo "skip style: not a git work tree"
	exit 0
}
bad=0
for f in $(git ls-files '*.c' '*.h' '*.S' '*.sh' '*.ld' '*.mk' Makefile); do
	[ -f "$f" ] || continue
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' && continue
	echo "not ok style.licence.$f: no SPDX line in the first three"
	bad=1
done
[ "$bad" -ne 0 ] || echo "ok style.licence"
# A row of a list that is longer than a line, and behind which clang-format puts the next row without its indentation.
joined=$(git ls-files '*.c' '*.h' '*.S' | xargs awk '
	FNR == 1 { row = 0 }
	/^[ \t]*\* [^ -]/ && !/ usage/ && (row || /[^ ]   +[^ *]/) { print FILENAME ":" FNR }
	{ row = /^[ \t]*\*   +[^ ]/ }')
if [ -z "$joined" ]; then
	echo "ok style.lists"
else
	echo "not ok style.lists: rows of a list run into each other:" $joined
	bad=1
fi
if ! command -v clang-format >/dev/null; then
	echo "skip style.format: clang-format is not installed"
elif out=$(git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1); then
	echo "ok style.format"
else
	echo "not ok style.format: $(echo "$out" | grep -m 1 error)"
	bad=1
fi
exit $bad
