#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot of the unmodified Debian cloud kernel until /init prints its first line, "twinstep: userspace".
. "$(dirname "$0")/lib.sh"
for _ in $(seq "$runs"); do
	twinstep_command twinstep.run=true --clock virtual
	run "$work/twinstep" 'twinstep: userspace'
	[ -n "$qemu" ] || continue
	tcg_command twinstep.run=true
	run "$work/tcg" 'twinstep: userspace'
	qemu_command twinstep.run=true
	run "$work/icount" 'twinstep: userspace'
done
table_head "boot to userspace"
for kind in wall cpu; do
	table "  $kind seconds" $(for side in twinstep tcg icount; do median_of "$work/$side" userspace.$kind; done) -
done
