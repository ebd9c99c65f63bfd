#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel crashes with a VM on each of two CPUs, inside Bochs: the kernel that takes over comes up, which it cannot on a
# processor that is left in VMX operation (CR4 cannot be set). Says "ok crash.kdump" from in there.
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
{
	/bin/busybox echo
	/bin/busybox echo "ok crash.kdump"
	/bin/busybox echo "vtx-end"
} | /bin/e9
/bin/busybox poweroff -f
END
printf 'dir bin 0755\ndir dev 0755\nchar dev/console 0600 5 1\nfile init 0755 %s\nfile bin/busybox 0755 %s\nfile bin/e9 0755 %s\n' \
	"$work/init" "$unpacked/bin/busybox" "$image/e9" | "$image/newc" >"$work/crash.initrd"
out=$(CPUS=2 MEGS=640 APPEND="crashkernel=192M" tests/vtx/boot.sh "$build" "$here/crash.script" "$image/vmlinuz" "$work/crash.initrd")
# The crash itself is in the kernel's log.
grep -v '^kernel: ' <<<"$out"
grep -q '^ok crash.kdump' <<<"$out" || {
	echo "not ok crash.kdump: the next kernel did not come up"
	exit 1
}
