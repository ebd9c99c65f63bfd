#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a step backward costs a debugger late in a recording: of the boot of Debian's kernel, beside QEMU's reverse
# debugging of the same boot (-icount rr=replay, whose one snapshot is at its start). WALK_BENCH (20): steps; QEMU's are
# two.
. "$(dirname "$0")/lib.sh"
steps=${WALK_BENCH:-20}
command -v gdb >/dev/null || { echo "gdb is not installed" >&2; exit 2; }

# debug SOCKET COMMAND...: in one session; its lines go to $work/gdb.
debug() {
	local args=() c
	for c in "${@:2}"; do args+=(-ex "$c"); done
	timeout 900 gdb -nx -q -batch -ex 'set confirm off' -ex 'set pagination off' -ex 'set remotetimeout 600' \
		-ex 'set architecture i386:x86-64' -ex "target remote $1" "${args[@]}" >"$work/gdb" 2>&1 </dev/null
}
# The seconds between two times, in lines that "shell date +%s.%N" has printed.
between() { grep -E '^[0-9]+\.[0-9]+$' "$work/gdb" | awk -v a="$1" -v b="$2" '{ t[NR] = $1 } END { printf "%.3f", t[b] - t[a] }'; }
mark='shell date +%s.%N'
# walk SOCKET STEPS: seconds to get to the program that ends the guest, for a step backward, for a step forward.
entry=$(readelf -h "$build/guest-pkgs/debugexit" | awk '/Entry point/ { print $NF }')
walk() {
	local back=() i
	for ((i = 0; i < $2; i++)); do back+=('reverse-stepi'); done
	debug "$1" "hbreak *$entry" "$mark" continue "$mark" "${back[@]}" "$mark" 'stepi' "$mark" 'kill'
	if [ "$(grep -cE '^[0-9]+\.[0-9]+$' "$work/gdb")" != 4 ] || grep -qE 'not support this|not being run|connection closed' "$work/gdb"; then
		tail -n 3 "$work/gdb" >&2
		return 1
	fi
	to_end=$(between 1 2) back_each=$(awk -v s="$(between 2 3)" -v n="$2" 'BEGIN { printf "%.3f", s / n }') forward=$(between 3 4)
}
serving() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ -S "$1" ] && return
		sleep 0.1
	done
	return 1
}

record_command twinstep.run=true --clock virtual --checkpoint 0
timeout 600 "${cmd[@]}" </dev/null >/dev/null 2>>"$work/err"
"$twinstep" replay "$work/log" --no-jail --quiet --console none --gdb "unix:$work/socket" 2>>"$work/err" &
background=$!
serving "$work/socket" && walk "$work/socket" "$steps" || exit 1
wait "$background"
background=
ours=$back_each ours_end=$to_end ours_forward=$forward

back_each=- to_end=- forward=-
if [ -n "$qemu" ] && command -v qemu-img >/dev/null; then
	qemu-img create -q -f qcow2 "$work/snapshots" 64M
	rr() {
		cmd=("$qemu" -accel tcg -M pc -cpu max -m 256 -nodefaults -display none -serial "file:$work/serial" -no-reboot
			-drive "file=$work/snapshots,if=none,id=rr,format=qcow2" -device isa-debug-exit,iobase=0xf4,iosize=1
			-icount "shift=1,rr=$1,rrfile=$work/rr,rrsnapshot=start" -kernel "$vmlinuz" -initrd "$initramfs"
			-append "$cmdline twinstep.run=true" "${@:2}")
	}
	rr record
	timeout 300 "${cmd[@]}" </dev/null >/dev/null 2>>"$work/err"
	rr replay -S -gdb "unix:$work/qemu,server=on,wait=off"
	timeout 1200 "${cmd[@]}" </dev/null >/dev/null 2>>"$work/err" &
	background=$!
	serving "$work/qemu" && walk "$work/qemu" 2
	kill "$background" 2>/dev/null
	wait "$background" 2>/dev/null
	background=
fi
row "seconds, at the end of a boot" QEMU twinstep ratio
row "  to get there" "$to_end" "$ours_end" "$(ratio "$ours_end" "$to_end")"
row "  a step backward" "$back_each" "$ours" "$(ratio "$ours" "$back_each")"
row "  a step forward" "$forward" "$ours_forward" "$(ratio "$ours_forward" "$forward")"
