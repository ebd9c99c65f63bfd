#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Profiles of a guest program: repeatable, the same translated, interpreted and replayed, without effect on the run.
# beside others
. "$(dirname "$0")/lib.sh"
program=$build/tests/guest/priv.elf log=$work/log
[ -e "$program" ] || { skip profile "$program is missing (make guest-programs)"; exit 0; }
run() { timeout 600 "$twinstep" run --console none --debug-console none --memory 64M --kernel "$program" "$@"; }

run --digest-every 1000 --stats >"$work/plain" 2>"$work/err"
status=$?
run --digest-every 1000 --profile "$work/p1" --profile-every 100 >"$work/profiled" 2>"$work/err1"
check status "status $?, not $status: $(cat "$work/err1")" [ $? -eq "$status" ]
digests() { grep '^digest' "$1"; }
check unchanged "digests differ from those without a profile" eval "[ -n \"\$(digests '$work/plain')\" ] && diff <(digests '$work/plain') <(digests '$work/profiled')"
run --engine soft:interpret --profile "$work/p2" --profile-every 100 >"$work/out" 2>&1
check interpreted "interpreted, it is another: $(diff "$work/p1" "$work/p2" | head -n 2)" cmp -s "$work/p1" "$work/p2"
count=$(awk '$1 == "instructions" { print $2 }' "$work/plain")
samples=$(awk '{ n += $NF } END { print n + 0 }' "$work/p1")
check samples "$samples samples of $count instructions" [ $((samples - count / 100)) -le 0 -a $((count / 100 - samples)) -le 1 ]
run --profile "$work/each" --profile-every 1 >"$work/out" 2>&1
check each "$(awk '{ n += $NF } END { print n }' "$work/each") samples, not one an instruction ($count)" \
	[ $((count - $(awk '{ n += $NF } END { print n + 0 }' "$work/each"))) -le 1 ]
check modes "not both modes: $(head -n 3 "$work/each")" eval "grep -q '^kernel;0x' '$work/each' && grep -q '^user;0x' '$work/each'"

# Names, from an ELF file and from nm.
run --profile "$work/p3" --profile-every 100 --symbols "$program.64" >"$work/out" 2>&1
check elf "no names: $(head -n 3 "$work/out" "$work/p3")" grep -q '^kernel;[a-z_]* [0-9]*$' "$work/p3"
check all "samples are lost with names" [ "$(awk '{ n += $NF } END { print n }' "$work/p3")" = "$samples" ]
nm "$program.64" | grep -E '^[0-9a-f]' >"$work/map"
run --profile "$work/p4" --profile-every 100 --symbols "$work/map" >"$work/out" 2>&1
check map "names of nm differ: $(diff "$work/p3" "$work/p4" | head -n 4)" \
	[ "$(cut -d';' -f1 "$work/p3" | sort | uniq -c)" = "$(cut -d';' -f1 "$work/p4" | sort | uniq -c)" ]

timeout 600 "$twinstep" record -o "$log" --console none --debug-console none --memory 64M --kernel "$program" \
	--profile "$work/p5" --profile-every 100 >"$work/out" 2>&1
check recorded "no profile of a recording: $(cat "$work/out")" [ -s "$work/p5" ]
timeout 600 "$twinstep" replay "$log" --quiet --console none --debug-console none --profile "$work/p6" --profile-every 100 >"$work/out" 2>&1
check replayed "another in the replay: $(diff "$work/p5" "$work/p6" | head -n 2; cat "$work/out")" cmp -s "$work/p5" "$work/p6"

refused() { # NAME WORD ARGUMENT...
	run "${@:3}" >"$work/out" 2>&1
	status=$?
	check "refused-$1" "status $status: $(cat "$work/out")" eval "[ $status -eq 2 ] && grep -qF -- '$2' '$work/out'"
}
refused place 'cannot make profile' --profile "$work/none/p"
refused symbols 'cannot open symbols' --profile "$work/p7" --symbols "$work/none"
echo rubbish >"$work/rubbish"
refused rubbish 'line 1: expected' --profile "$work/p7" --symbols "$work/rubbish"
refused alone '--profile' --symbols "$work/map"
exit $failed
