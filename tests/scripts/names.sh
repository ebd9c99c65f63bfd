#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# beside others
# A comment names only files and functions that there are: see names.py.
set -u
cd "$(dirname "$0")/../.."
command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1 || {
	echo "skip names: not a git work tree"
	exit 0
}
command -v python3 >/dev/null || {
	echo "skip names: python3 is not installed"
	exit 0
}
git ls-files | python3 tests/scripts/names.py
