#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot of the unmodified Debian cloud kernel until /init prints its first line, "twinstep: userspace".
. "$(dirname "$0")/lib.sh"
for _ in $(seq "$runs"); do
	twinstep_command twinstep.run=true --clock virtual
	run "$work/t" 'twinstep: userspace'
	[ -n "$qemu" ] || continue
	qemu_command twinstep.run=true
	run "$work/q" 'twinstep: userspace'
done
row "boot to userspace" "twinstep" "qemu" "ratio"
for kind in wall cpu; do
	t=$(median_of "$work/t" userspace.$kind) q=$(median_of "$work/q" userspace.$kind)
	row "  $kind seconds" "$t" "$q" "$(ratio "$t" "$q")"
done
