#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The VT-x engine and its module, in a Debian kernel inside Bochs. usage: tests/vtx/run.sh [SCRIPT]
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
here=tests/vtx
why=$("$here/build.sh" "$build" "$build/twinstep" "$build"/tests/vtx/{step,isolation,fuzz} 2>&1)
case $? in
0) ;;
77)
	echo "skip vtx: $why"
	exit 0
	;;
*)
	echo "not ok vtx.build: $why"
	exit 1
	;;
esac
out=$("$here/boot.sh" "$build" "${1:-$here/check.script}" "$build"/tests/guest/*.elf "$build"/tests/vtx/guest/*.elf)
status=$?
while read -r name reason; do
	[ "$name" = '#' ] || out=$(sed "s|^not ok $name:.*|skip $name: $reason|" <<<"$out")
done <"$here/known"
echo "$out"
if grep '^kernel: ' <<<"$out"; then
	echo "not ok vtx.kernel-log: the kernel complained"
	exit 1
fi
[ "$status" -eq 0 ] && echo "ok vtx.kernel-log"
[ "$status" -eq 0 ] && ! grep -q '^not ok ' <<<"$out"
