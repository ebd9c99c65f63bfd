#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs test programs while all CPUs are taken by other work, to find what assumes a quiet host.
# usage: [BUSY=N] tests/busy.sh 'PROGRAM [ARGUMENT...]'...     N: processes that do nothing but run (two for each CPU)
set -u
cd "$(dirname "$0")/.."
load=()
trap '[ ${#load[@]} -eq 0 ] || kill "${load[@]}" 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for _ in $(seq "${BUSY:-$((2 * $(nproc)))}"); do
	# It ends with this script even where that is killed.
	setpriv --pdeathsig KILL bash -c 'while :; do :; done' &
	load+=($!)
done
tests/run "$@"
