#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Upgrades from earlier commits, which it builds (minutes): from the oldest one of this wire version without an outage, and
# from its predecessor, which is refused by name. On demand, in a clone with its history.
# usage: tests/soak/upgrade.sh [COMMIT TO COME FROM]
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
export BUILD=$build TIMEOUT=${TIMEOUT:-1500}
export MACHINE=${MACHINE:-1} # version 2 changes its revision within a wire version
since=${1:-$(git log -1 --format=%h -G'^#define WIRE_VERSION' -- replica/wire.h)}
# earlier COMMIT: builds it; prints where its program is.
earlier() {
	local commit dir
	commit=$(git rev-parse --short "$1")
	dir=$build/upgrade/$commit
	if [ ! -x "$dir/build/twinstep" ]; then
		mkdir -p "$dir"
		git archive "$commit" | tar -x -C "$dir"
		make -C "$dir" -j"$(nproc)" OPT=-O1 all >"$dir.log" 2>&1 || { echo "not ok upgrade: $commit does not build: $dir.log" && return 1; } >&2
	fi
	echo "$dir/build/twinstep"
}
failed=0
echo "# from $since"
program=$(earlier "$since")
tests/pair/pair.sh upgrade.py "$program" || failed=1
echo "# from the one before"
program=$(earlier "$(git log -1 --format=%h -G'^#define WIRE_VERSION' -- replica/wire.h)~1")
tests/pair/pair.sh upgrade.py "$program" --refused || failed=1
exit $failed
