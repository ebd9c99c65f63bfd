#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Control groups of version 2 and of version 1 on a real kernel, whatever this host has: the guest's.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
cpio=$build/tests/isolation/guest/cgroup.cpio
[ -f "$cpio" ] || {
	skip all "no $cpio; run make isolation-programs"
	exit 0
}
cat "$initramfs" "$cpio" >"$work/initramfs"
truncate -s 8M "$work/disk"
for version in v2 v1; do
	timeout 600 "$twinstep" run --kernel "$vmlinuz" --initrd "$work/initramfs" --disk "$work/disk,ro" --clock virtual \
		--console "$work/console" --append "$cmdline twinstep.run=\"cgroup $version\"" 2>"$work/err"
	status=$?
	tr -d '\r' <"$work/console" | grep -a '^\(not \)\?ok ' || not_ok "$version" "no results: $(tail -n 3 "$work/console" "$work/err")"
	[ "$status" -eq 0 ] || not_ok "$version" "status $status: $(tail -n 3 "$work/console" "$work/err")"
done
exit $failed
