#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The runbook of docs/operations.md, command by command, on three hosts that are namespaces; then one of them is lost.
# time limit: 600 s
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest

if ! unshare --net --mount --uts --pid --fork true 2>/dev/null; then
	skip all "this host lets nobody make namespaces"
	exit 0
fi
mkdir "$work/upper" "$work/work" "$work/root"
if ! unshare --mount mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root" 2>/dev/null; then
	skip all "no overlay of the root file system here"
	exit 0
fi
BUILD=$build tests/pair/pair.sh runbook.py || failed=1
exit $failed
