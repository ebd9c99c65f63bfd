#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each function that a header declares has a caller outside tests, unless the comment above its declaration says that it
# is there for tests. The objects' symbols tell.
# beside others
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1 || {
	echo "skip callers: not a git work tree"
	exit 0
}
command -v python3 >/dev/null || {
	echo "skip callers: python3 is not installed"
	exit 0
}
python3 tests/scripts/callers.py "$build"
