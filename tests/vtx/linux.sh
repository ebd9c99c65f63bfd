#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's kernel in a VM under the module, in a Debian kernel in Bochs: a minute or more. Part of no other target.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
here=tests/vtx
image=$build/vtx${VTX_KERNEL:+-$VTX_KERNEL} unpacked=$build/vtx-pkgs${VTX_KERNEL:+-$VTX_KERNEL}/root
why=$("$here/build.sh" "$build" "$build/twinstep" 2>&1) || {
	echo "skip vtx.linux: $why"
	exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$image/vmlinuz" "$work/vmlinuz"
cat >"$work/init" <<-'END'
	#!/bin/busybox sh
	/bin/busybox echo "userspace reached"
	/bin/busybox poweroff -f
END
printf 'dir bin 0755\ndir dev 0755\nchar dev/console 0600 5 1\nfile init 0755 %s\nfile bin/busybox 0755 %s\n' "$work/init" \
	"$unpacked/bin/busybox" | "$image/newc" >"$work/initrd"
MEGS=768 VTX_CPU=900 VTX_TIMEOUT=${VTX_TIMEOUT:-2900} "$here/boot.sh" "$build" "$here/linux.script" "$work/vmlinuz" "$work/initrd"
