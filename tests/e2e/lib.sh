# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the end-to-end tests: paths, a temporary directory, result lines.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
build=${BUILD:-build}
twinstep=$build/twinstep
vmlinuz=$build/guest/vmlinuz
initramfs=$build/guest/initramfs
cmdline="console=ttyS0 quiet nokaslr mitigations=off cryptomgr.notests"
name=$(basename "$0" .sh)
work=$(mktemp -d)
# MACHINE=1: kernels run on machine version 1, but where the script says on which.
if [ "${MACHINE:-2}" = 1 ]; then
	cmdline="acpi=off nolapic noapic $cmdline"
	twinstep=$work/twinstep
	cat >"$twinstep" <<-END
		#!/usr/bin/env bash
		[[ " \$* " != *" --kernel "* || " \$* " = *" --machine "* ]] || set -- "\$1" --machine 1 "\${@:2}"
		exec $(realpath "$build")/twinstep "\$@"
	END
	chmod +x "$twinstep"
fi
failed=0
cleanup() { :; }
trap 'cleanup; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

ok() { echo "ok $name.$1"; }
not_ok() {
	echo "not ok $name.$1: $2"
	failed=1
}
skip() { echo "skip $name.$1: $2"; }
# check TEST "what is wrong" COMMAND...: the command's success decides.
check() {
	local test=$1 why=$2
	shift 2
	if "$@"; then ok "$test"; else not_ok "$test" "$why"; fi
}
# run_refused TEST "text" ARGUMENT...: `twinstep run` ends with status 2 and a line with the text.
run_refused() {
	local test=$1 text=$2
	shift 2
	timeout 600 "$twinstep" run --console none "$@" >"$work/out" 2>"$work/err" </dev/null
	local status=$?
	check "$test" "status $status: $(head -n 2 "$work/err")" eval "[ $status -eq 2 ] && grep -qF -- '$text' '$work/err'"
}
# need_guest: leaves with a skip line when the guest image was not made.
need_guest() {
	[ -f "$vmlinuz" ] && [ -f "$initramfs" ] && return
	skip all "no guest image; run make guest"
	exit 0
}
need_redis() {
	command -v redis-cli >/dev/null && command -v redis-benchmark >/dev/null && return
	skip all "redis-tools is not installed"
	exit 0
}
# serve NIC GUEST: a machine whose guest, at that address, answers redis-cli; control socket in $work/control.
machine=
answers() { timeout 2 redis-cli -h "$guest" ping; }
serve() {
	guest=$2
	"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --net "$1" --console "$work/console" --control "$work/control" \
		--append "$cmdline twinstep.ip=$2/24 twinstep.redis" >"$work/out" 2>"$work/err" &
	machine=$!
	wait_for 90 answers
}
# stop: ends it and leaves its exit status in $status.
stop() {
	kill "$machine"
	wait "$machine"
	status=$?
	machine=
}
# tree PID: the process and its descendants; over PID...: all of them have ended, though perhaps nobody has waited for them.
tree() {
	local child
	echo "$1"
	for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
over() {
	local pid
	for pid in "$@"; do ! grep -q '^State:	[^ZX]' "/proc/$pid/status" 2>/dev/null || return 1; done
}
# Lines in a file, but for the one about layers of the jail that this host does not have: a guest had been made.
lines() { grep -vc 'the jail goes without' "$1"; }
# wait_for SECONDS COMMAND...: until the command succeeds; the seconds are those of a host that is not busy, and any host
# has five times as many, two minutes at least.
wait_for() {
	local end=$((SECONDS + ($1 > 24 ? $1 : 24) * 5))
	shift
	while :; do
		"$@" >/dev/null 2>&1 && return 0
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}
# The script again in a network namespace of its own, which goes away with it.
in_namespace() {
	[ "${TWINSTEP_TEST_INSIDE:-}" = 1 ] && return
	local flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	if ! unshare "${flags[@]}" true 2>/dev/null; then
		skip all "cannot make a network namespace here"
		exit 0
	fi
	rm -rf "$work"
	TWINSTEP_TEST_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
}
