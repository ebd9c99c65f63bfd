# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the benchmarks. A benchmark runs Twinstep and QEMU (TCG, -icount shift=1) by turns, so that a host which
# becomes faster or slower meanwhile does so for both, and prints medians.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
build=${BUILD:-build}
twinstep=$build/twinstep
vmlinuz=$build/guest/vmlinuz
initramfs=$build/guest/initramfs
runs=${BENCH_RUNS:-5}
cmdline="console=ttyS0 acpi=off nolapic noapic quiet nokaslr mitigations=off cryptomgr.notests"
qemu=$(command -v qemu-system-x86_64 || true)
work=$(mktemp -d)
background=
trap '[ -z "$background" ] || kill $background 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

[ -x "$twinstep" ] && [ -f "$initramfs" ] || {
	echo "make all guest first" >&2
	exit 2
}

# twinstep_command CMDLINE [OPTION...], qemu_command ...: put the command line into the array cmd; the serial console is
# on standard output. run_twinstep, run_qemu: run it.
twinstep_command() {
	cmd=("$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --append "$cmdline $1" "${@:2}")
}
qemu_command() {
	cmd=("$qemu" -accel tcg -icount shift=1 -M pc -cpu max -m 256 -nodefaults -display none -serial stdio -no-reboot
		-device isa-debug-exit,iobase=0xf4,iosize=1 -kernel "$vmlinuz" -initrd "$initramfs" -append "$cmdline $1" "${@:2}")
}
run_twinstep() {
	twinstep_command "$@"
	timeout 300 "${cmd[@]}" </dev/null
}
run_qemu() {
	qemu_command "$@"
	timeout 300 "${cmd[@]}" </dev/null
}
# Median of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; else print "-" }'; }
# seconds_to PATTERN COMMAND...: host seconds until a line with PATTERN is on the command's standard output.
seconds_to() {
	local pattern=$1 start=$EPOCHREALTIME
	shift
	"$@" 2>/dev/null | while IFS= read -r line; do
		case $line in *"$pattern"*) awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }' ;; esac
	done
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a > 0 && b > 0) printf "%.2f", a / b; else print "-" }'; }
row() { printf '%-34s %12s %12s %8s\n' "$@"; }
