#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `make vtx-shell`, on a terminal that this script types at.
# time limit: 3000 s
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
command -v script >/dev/null || {
	echo "skip vtx-shell: the program script is missing (Debian: bsdutils)"
	exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/in"
script -qfec "make -s BUILD=$build vtx-shell" "$work/log" <"$work/in" >/dev/null 2>&1 &
exec 9>"$work/in"

appears() { # PATTERN
	for _ in $(seq 1200); do
		tr -d '\r' <"$work/log" | grep -q "$1" && return 0
		kill -0 $! 2>/dev/null || return 1
		sleep 1
	done
	return 1
}
status=0
check() { # NAME STATUS
	if [ "$2" -eq 0 ]; then
		echo "ok vtx-shell.$1"
	else
		echo "not ok vtx-shell.$1: $(tr -d '\r\0' <"$work/log" | tail -n 3 | tr '\n' ' ')"
		status=1
	fi
}
appears 'exit powers off'
check prompt $?
printf 'twinstep qualify\n' >&9
appears '^verdict: '
check qualify $?
tr -d '\r' <"$work/log" | grep -q 'twinstep qualify$'
check echo $?
printf 'exit\n' >&9
exec 9>&-
wait $!
check exit $?
exit "$status"
