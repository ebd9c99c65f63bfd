#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot of the unmodified Debian cloud kernel to userspace: host seconds until /init prints its first line.
. "$(dirname "$0")/lib.sh"
for _ in $(seq "$runs"); do
	seconds_to 'twinstep: userspace' run_twinstep 'twinstep.run=true' --clock virtual >>"$work/t"
	[ -z "$qemu" ] || seconds_to 'twinstep: userspace' run_qemu 'twinstep.run=true' >>"$work/q"
done
touch "$work/q"
t=$(median <"$work/t") q=$(median <"$work/q")
row "boot to userspace" "twinstep" "qemu" "ratio"
row "  seconds" "$t" "$q" "$(ratio "$t" "$q")"
