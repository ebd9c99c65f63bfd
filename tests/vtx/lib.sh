# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the test programs of this directory share; to be sourced. Sets build, here, image and unpacked.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
build=${BUILD:-build}
# Of the kernel that is booted, see build.sh.
# shellcheck disable=SC2034
image=$build/vtx${VTX_KERNEL:+-$VTX_KERNEL} unpacked=$build/vtx-pkgs${VTX_KERNEL:+-$VTX_KERNEL}/root
# shellcheck disable=SC2034
here=tests/vtx

# Makes the image, or ends the test: skipped where its parts cannot be had.
vtx_image() {
	local why
	why=$(flock "$build" tests/vtx/build.sh "$build" "$build/twinstep" "$build"/tests/vtx/{step,isolation,fuzz,huge,smp,create,kvmguest,hold,crash,cmos} 2>&1)
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
}

# vtx_boot NAME SCRIPT [FILE...]: prints its results; false when any is not good or the kernel complained. VTX_WARNS: a
# warning of the kernel's that has to be, as a pattern.
vtx_boot() {
	local name=$1 out status known reason
	shift
	out=$(tests/vtx/boot.sh "$build" "$@")
	status=$?
	while read -r known reason; do
		[ "$known" = '#' ] || out=$(sed "s|^not ok $known:.*|skip $known: $reason|" <<<"$out")
	done <tests/vtx/known
	[ -z "${VTX_WARNS:-}" ] || out=$(awk -v wanted="$VTX_WARNS" '
		/^kernel: .*WARNING: / { drop = $0 ~ wanted; if (drop) next }
		drop && /^kernel: .*(RIP: |Call Trace:)/ { next } { print }' <<<"$out")
	echo "$out"
	if grep '^kernel: ' <<<"$out"; then
		echo "not ok $name.kernel-log: the kernel complained"
		return 1
	fi
	[ "$status" -eq 0 ] || return 1
	echo "ok $name.kernel-log"
	! grep -q '^not ok ' <<<"$out"
}
