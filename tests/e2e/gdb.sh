#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's gdb moves along a recording: breakpoints, watches, and the same backward.
# beside others
. "$(dirname "$0")/lib.sh"
program=$build/tests/guest/walk.elf
log=$work/log socket=$work/gdb.sock out=$work/out
if [ ! -f "$program" ]; then
	skip all "no guest programs; run make guest-programs"
	exit 0
fi
timeout 600 "$twinstep" record -o "$log" --engine soft --console none --debug-console none --memory 64M --kernel "$program" \
	>"$work/record" 2>&1 </dev/null
check recorded "status $?: $(cat "$work/record")" [ -s "$log" ]
"$twinstep" replay "$log" --gdb "unix:$socket" --console none --debug-console "$work/console" >"$work/replay" 2>&1 &
pid=$!
cleanup() { kill "$pid" 2>/dev/null; }
wait_for 20 [ -S "$socket" ]
# debug COMMAND...: all in one session of gdb.
debug() {
	local args=()
	for c in "$@"; do args+=(-ex "$c"); done
	timeout 600 gdb -nx -q -batch -ex 'set confirm off' -ex 'set pagination off' -ex "target remote $socket" "${args[@]}" \
		"$program.64" >"$out" 2>&1 </dev/null
}
# has WORDS TEST
has() { check "$2" "no '$1' in: $(cat "$out")" grep -qF -- "$1" "$out"; }

debug 'break look' 'continue' 'printf "value %lx\n", *(unsigned long *)&shared' 'delete' 'watch *(unsigned long *)&shared' \
	'reverse-continue' 'printf "argument %lx\n", $rdi' 'x/i $pc' 'info symbol $pc' 'printf "before %lx\n", *(unsigned long *)&shared' \
	'stepi' 'printf "after %lx\n", *(unsigned long *)&shared' 'reverse-continue' \
	'printf "earlier %lx\n", $rdi'
has 'value bad' breakpoint
has 'argument bad' reverse-watch
has 'writer' in-the-writer
has 'before 63' in-front-of-the-write
has 'after bad' stepi
has 'earlier 63' reverse-watch-again

debug 'monitor seek 0' 'maintenance flush register-cache' 'break writer' 'ignore 1 50' 'continue' 'printf "forward %ld\n", $rdi' 'reverse-continue' 'printf "back %ld\n", $rdi' \
	'reverse-stepi' 'stepi' 'printf "same %ld\n", $rdi' 'delete' 'reverse-finish' 'info symbol $pc' 'reverse-continue'
has 'forward 50' ignored-breakpoints
has 'back 49' reverse-continue
has 'same 49' reverse-stepi
has 'main' reverse-finish
has 'No more reverse-execution history' begin

debug 'monitor seek 0' 'maintenance flush register-cache' 'break *writer' 'continue' 'delete' 'print/x $cr0' 'print $mxcsr' 'print $st0' 'print $fctrl' 'print $gs_base' 'monitor landmark' \
	'monitor seek 100000' 'monitor seek 99999999999' 'monitor time' 'monitor inputs' 'monitor physical on' 'x/4xb 0x100000' \
	'monitor physical off' 'monitor checkpoints' 'monitor nonsense' 'set var *(long *)&shared = 1' 'print $rax = 3'
has 'count 100000,' seek
has 'the recording ends before' seek-too-far
has 'checkpoints' monitor
has '= 895' x87
has 'ns' time
has 'what is kept for the way back' monitor-help
check read-only "memory was written: $(cat "$out")" grep -qiE 'cannot (access|be changed)|could not|error' "$out"

debug 'continue'
has 'No more reverse-execution history' end
debug kill
wait "$pid"
check killed "status $?: $(cat "$work/replay")" [ ! -e "$socket" ]
cleanup() { :; }
check console "the guest's lines: $(cat "$work/console")" [ "$(grep -c '^ok walk' "$work/console")" = 2 ]

# usage ADDR WORD TEST
usage() {
	timeout 600 "$twinstep" replay "$log" --gdb "$1" --console none >"$out" 2>&1 </dev/null
	check "$3" "status $?: $(cat "$out")" grep -qF -- "$2" "$out"
}
usage 192.0.2.1:9999 'only a loopback address' not-loopback
usage nonsense 'must be unix:PATH' no-address
exit "$failed"
