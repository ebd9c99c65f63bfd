#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command under ThreadSanitizer: a pair that loses its backup, its primary and its link.
# waits for the host: races.backup-kill races.primary-kill races.link-down races.pair
# beside others
# All unit tests under it: make san SAN=thread.
. "$(dirname "$0")/lib.sh"
need_guest
[ -x "$build/tsan/twinstep" ] || {
	skip all "no such build; run make san SAN=thread"
	exit 0
}
if ! unshare --net --mount true 2>/dev/null && ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
	skip all "this host lets nobody make network namespaces"
	exit 0
fi
mkdir -p "$work/build"
ln -s "$(realpath "$build/tsan/twinstep")" "$(realpath "$build/guest")" "$work/build/"
BUILD=$work/build tests/pair/pair.sh races.py "$(realpath "$twinstep")"
