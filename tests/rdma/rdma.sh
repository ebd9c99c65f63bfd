#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pairs over RDMA, on SoftRoCE in Debian's kernel in QEMU: what tests/rdma/script does there.
# waits for the host: rdma.*
# time limit: 1600 s
# RDMA_SCRIPT (tests/rdma/script), RDMA_IMAGE (rdma, below BUILD): another script, and where its image is made; RDMA_TIMEOUT
# (1500) seconds; RDMA_DEBUG: keeps nothing back.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
image=${RDMA_IMAGE:-rdma}
why=$(flock "$build" tests/rdma/build.sh "$build" "$image" "${RDMA_SCRIPT:-tests/rdma/script}" tests/rdma/lib.sh \
	"$build"/tests/rdma/{guest.elf,break.so} 2>&1)
case $? in
0) ;;
77)
	echo "skip rdma: $why"
	exit 0
	;;
*)
	echo "not ok rdma.build: $why"
	exit 1
	;;
esac
work=$(mktemp -d)
[ -z "${RDMA_DEBUG:-}" ] || echo "$work"
trap 'rm -rf "$work"' EXIT
timeout -k 5 "${RDMA_TIMEOUT:-1500}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nographic -no-reboot -nodefaults \
	-serial "file:$work/serial" -kernel "$build/$image/vmlinuz" -initrd "$build/$image/initrd" \
	-append "console=ttyS0 quiet mitigations=off cryptomgr.notests no_timer_check panic=-1" </dev/null >"$work/qemu" 2>&1
# What the firmware last sent to the screen may stand before the first of these words, on its line.
tr -d '\r' <"$work/serial" | sed -n '/rdma-begin$/,/^rdma-end/p' | sed '/rdma-begin$/d; /^rdma-end/d' >"$work/out"
cat "$work/out"
[ -z "${RDMA_DEBUG:-}" ] || cat "$work/serial"
if ! grep -aq '^rdma-end' "$work/serial"; then
	echo "not ok rdma.end: the script did not end: $(tail -n 1 "$work/serial")"
	exit 1
fi
if grep -q '^kernel: ' "$work/out"; then
	echo "not ok rdma.kernel-log: the kernel complained"
	exit 1
fi
! grep -q '^not ok ' "$work/out"
