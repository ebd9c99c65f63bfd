#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command itself under the address and undefined-behaviour sanitizers: bad input, and a boot to userspace.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
[ -x "$build/san/twinstep" ] || {
	skip all "no sanitizer build; run make san"
	exit 0
}
mkdir -p "$work/build/guest"
ln -s "$PWD/$build/san/twinstep" "$work/build/twinstep"
ln -s "$PWD/$vmlinuz" "$PWD/$initramfs" "$work/build/guest/"
BUILD=$work/build tests/e2e/badinput.sh >"$work/bad" 2>&1
check badinput "$(grep '^not ok' "$work/bad" | head -n 1)" [ $? -eq 0 ]
# Without the jail: sanitizers ask the kernel for more than any role does.
timeout 600 "$build/san/twinstep" run --no-jail --kernel "$vmlinuz" --initrd "$initramfs" --net none --virtio-console none \
	--console "$work/console" --append "$cmdline twinstep.run=\"redis-server --version; exit 5\"" >"$work/out" 2>&1 </dev/null
status=$?
check boot "status $status, not 5: $(head -n 3 "$work/out" | tr '\n' ' ')" [ "$status" -eq 5 ]
spoke=$(grep -v -e '--no-jail: ' "$work/out" | head -n 1)
check quiet "a sanitizer spoke: $spoke" [ -z "$spoke" ]
check redis "redis-server does not run" grep -aq 'Redis server v=' "$work/console"
exit $failed
