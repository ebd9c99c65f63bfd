#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Set-ups that are wrong: each is answered by one line that names file, line and cure (the table is in setups.py; SHOW=1 prints
# the answers).
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
if [ "$(id -u)" -ne 0 ] || ! unshare --net --mount --uts true 2>/dev/null; then
	skip all "needs root and namespaces"
	exit 0
fi
chmod 755 "$work"
cp "$twinstep" "$work/twinstep" # where another user can run it
mkdir "$work/dir"
chmod 755 "$work/dir"
unshare --net --mount --uts sh -c 'hostname alpha && ip link set lo up && mount -t tmpfs none /run && exec python3 tests/e2e/setups.py "$@"' \
	sh "$work/twinstep" "$(realpath "$build/guest")" "$work/dir" || failed=1
exit $failed
