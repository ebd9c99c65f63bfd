#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which of Debian's kernels boot on which machine version, without special words: a table of instructions up to the first
# program, in millions. On demand, a minute for each kernel:
#
#   tests/soak/flavours.sh DIR...
#
# Below each DIR lie linux-image packages unpacked (dpkg -x), and below one of them busybox-static of i386, which is the
# first program for kernels of 32 and of 64 bits.
set -u
[ $# -gt 0 ] || {
	sed -n '6,9s/^# \?//p' "$0" >&2
	exit 2
}
build=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
busybox=$(find "$@" -path '*/bin/busybox' -type f | head -n 1)
[ -n "$busybox" ] || {
	echo "there is no bin/busybox below $*" >&2
	exit 2
}
cat >"$work/init" <<'END'
#!/bin/sh
echo "twinstep: userspace of $(uname -r) $(uname -m)"
exec reboot -f
END
cat >"$work/list" <<END
dir bin 0755
dir dev 0755
file bin/busybox 0755 $busybox
link bin/sh busybox
link bin/uname busybox
link bin/reboot busybox
char dev/console 0600 5 1
char dev/null 0666 1 3
file init 0755 $work/init
END
"$build/guest-pkgs/newc" <"$work/list" >"$work/initramfs" || exit
# boots KERNEL MACHINE: millions of instructions up to the reset that the first program asks for, or how it ended
boots() {
	timeout "${LIMIT:-600}" "$build/twinstep" run --machine "$2" --kernel "$1" --initrd "$work/initramfs" --append console=ttyS0 \
		--memory 512M --net none --console "$work/console" --json >"$work/json" 2>"$work/err" </dev/null
	local status=$?
	if [ $status -eq 119 ] && grep -aq 'twinstep: userspace' "$work/console"; then
		sed -n 's/.*"instructions":\([0-9]*\)[0-9]\{6\},"virtual_ns".*/\1/p' "$work/json"
	else
		echo "no (status $status)"
	fi
}
failed=0
printf '| kernel | version 1 | version 2 |\n| --- | --- | --- |\n'
while read -r kernel; do
	one=$(boots "$kernel" 1)
	two=$(boots "$kernel" 2)
	printf '| %s | %s | %s |\n' "${kernel##*/vmlinuz-}" "$one" "$two"
	case $two in no*) failed=1 ;; esac
done < <(find "$@" -name 'vmlinuz-*' | sort -V)
exit $failed
