# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the benchmarks. A benchmark runs Twinstep and QEMU (plain TCG, and TCG with -icount shift=1) by turns, so that
# a host which becomes faster or slower meanwhile does so for all, and prints medians. "CPU seconds" are what the process used, on all
# its threads: they hold on a busy host too.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
build=${BUILD:-build}
twinstep=$build/twinstep
vmlinuz=$build/guest/vmlinuz
initramfs=$build/guest/initramfs
runs=${BENCH_RUNS:-5}
cmdline="console=ttyS0 quiet nokaslr mitigations=off cryptomgr.notests"
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

# These put a command line into the array cmd; the guest's serial console is on standard output.
# twinstep_command CMDLINE [OPTION...], record_command ... (the log is $work/log), tcg_command ..., qemu_command ... (icount)
# Without the jail, whose first process would be measured in place of the guest's.
twinstep_command() {
	cmd=("$twinstep" run --no-jail --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --append "$cmdline $1" "${@:2}")
}
record_command() {
	rm -f "$work/log"
	cmd=("$twinstep" record --no-jail -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M
		--append "$cmdline $1" "${@:2}")
}
qemu_command() { tcg_command "$@" -icount shift=1; }
tcg_command() {
	cmd=("$qemu" -accel tcg -M pc -cpu max -m 256 -nodefaults -display none -serial stdio -no-reboot
		-device isa-debug-exit,iobase=0xf4,iosize=1 -kernel "$vmlinuz" -initrd "$initramfs" -append "$cmdline $1" "${@:2}")
}

# Median of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; else print "-" }'; }
# median_of FILE NAME: of the lines "NAME NUMBER" in a file, which need not exist.
median_of() { [ ! -f "$1" ] && echo - || awk -v n="$2" '$1 == n { print $2 }' "$1" | median; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a > 0 && b > 0) printf "%.2f", a / b; else print "-" }'; }
# table NAME TWINSTEP TCG ICOUNT NATIVE: with the ratios of the first to the others.
table_head() { printf '%-24s %9s %9s %9s %9s %8s %8s %8s\n' "$1" twinstep tcg icount native "/ tcg" "/ icount" "/ native"; }
table() {
	printf '%-24s %9s %9s %9s %9s %8s %8s %8s\n' "$@" "$(ratio "$2" "$3")" "$(ratio "$2" "$4")" "$(ratio "$2" "$5")"
}
row() { printf '%-34s %12s %12s %8s\n' "$@"; }

# CPU time that process $1 has used so far, in ns, and the present time in ns.
clocks() {
	local total=0 ns rest
	for stat in /proc/"$1"/task/*/schedstat; do
		read -r ns rest <"$stat" && total=$((total + ns))
	done 2>/dev/null
	cpu_ns=$total wall_ns=${EPOCHREALTIME/./}000
}

# run OUT PATTERN: runs the command in cmd, stops it 300 s later at the latest. For each line of its output with PATTERN
# in it, adds to OUT: "NAME.cpu SECONDS", "NAME.wall SECONDS" since the line before it (or the start), "NAME.sum CHECKSUM".
# NAME is the line's second word.
run() {
	local out=$1 pattern=$2 line last_cpu=0 last_wall name sum words
	last_wall=${EPOCHREALTIME/./}000
	exec 3< <(exec "${cmd[@]}" </dev/null 2>>"$work/err")
	background=$!
	while IFS= read -r -t 300 line <&3; do
		case $line in *"$pattern"*) ;; *) continue ;; esac
		clocks "$background"
		[ "$cpu_ns" -ge "$last_cpu" ] || continue # it has ended before we looked
		read -r -a words <<<"${line%$'\r'}"
		name=${words[1]} sum=${words[4]:-}
		awk -v n="$name" -v c=$((cpu_ns - last_cpu)) -v w=$((wall_ns - last_wall)) \
			'BEGIN { printf "%s.cpu %.4f\n%s.wall %.4f\n", n, c / 1e9, n, w / 1e9 }' >>"$out"
		[ -z "$sum" ] || echo "$name.sum $sum" >>"$out"
		last_cpu=$cpu_ns last_wall=$wall_ns
	done
	exec 3<&-
	kill "$background" 2>/dev/null
	wait "$background" 2>/dev/null
	background=
}
