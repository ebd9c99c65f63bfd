#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A machine that has booted from a CD reads on from it where it has been restored from a snapshot, and on the backup of a
# pair whose primary was killed: the program on tests/e2e/cdloop.S counts its rounds.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
if [ ! -f /usr/share/seabios/bios-256k.bin ]; then
	skip all "no SeaBIOS; apt install seabios"
	exit 0
fi
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
if ! ${CC:-cc} -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0 -o "$work/cd.elf" tests/e2e/cdloop.S ||
	! objcopy -O binary -j .text "$work/cd.elf" "$work/cd.iso"; then
	not_ok build "cannot build the CD's image"
	exit 1
fi
# rounds FILE: the numbers of the rounds in a console's text, as far as their lines are whole
rounds() { tr -d '\r' <"$1" 2>/dev/null | grep -ax 'read from the CD: [0-9a-f]\{8\}' | while read -r _ _ _ _ n; do echo $((16#$n)); done; }
last() { rounds "$1" | tail -n 1; }
# reached FILE N
reached() { local n; n=$(last "$1"); [ "${n:--1}" -ge "$2" ]; }
# without_gap: each number follows the one before it
without_gap() { awk 'NR > 1 && $1 != n + 1 { exit 1 } { n = $1 } END { exit NR == 0 }'; }
bad() { grep -aq BAD "$1"; }
inner() { local p; p=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children" 2>/dev/null); echo ${p:-${pid[$1]}}; }

touch "$work/console" "$work/restored" "$work/a.con" "$work/b.con"
"$twinstep" run --boot cdrom --disk "$work/cd.iso,ro" --control "$work/s" --console "$work/console" 2>"$work/err" </dev/null &
pid[run]=$!
check rounds "$(tail -n 3 "$work/console" "$work/err")" wait_for 60 reached "$work/console" 3
"$twinstep" snapshot "$work/s" "$work/snap" >"$work/said" 2>&1
check snapshot "$(cat "$work/said")" [ -s "$work/snap" ]
"$twinstep" stop "$work/s" >"$work/said" 2>&1
wait "${pid[run]}"; unset "pid[run]"
till=$(($(last "$work/console") + 2)) # a line may have begun when it was taken
"$twinstep" run --restore "$work/snap" --disk "$work/cd.iso,ro" --control "$work/s" --console "$work/restored" 2>"$work/err" </dev/null &
pid[run]=$!
check restored "$(tail -n 3 "$work/restored" "$work/err")" wait_for 60 reached "$work/restored" $((till + 3))
"$twinstep" stop "$work/s" >"$work/said" 2>&1
wait "${pid[run]}"; unset "pid[run]"
first=$(rounds "$work/restored" | head -n 1)
check where-it-was "at ${first:-none}; the first machine was before $till" \
	eval '[ "$first" -gt 0 ] && [ "$first" -le "$till" ] && rounds "$work/restored" | without_gap && ! bad "$work/restored"'

# A pair, with a CD on each side.
"$twinstep" keygen "$work/key" && "$twinstep" arbiter init "file:$work/arbiter"
for side in a b; do cp "$work/cd.iso" "$work/$side.iso"; done
replica() { # SIDE ROLE OPTION...
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --disk "$work/$1.iso,ro" "${@:3}" 2>"$work/$1.err" </dev/null &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
replica a primary --boot cdrom
replica b backup --connect "unix:$work/a.peer" --connect-wait 30000
check protected "$(tail -n 2 "$work"/?.err)" wait_for 60 state a protected
check pair-rounds "$(tail -n 3 "$work/a.con" "$work/a.err")" wait_for 60 reached "$work/a.con" 3
kill -9 "$(inner a)" 2>/dev/null
wait "${pid[a]}" 2>/dev/null; unset "pid[a]"
check live "$(tail -n 2 "$work/b.err")" wait_for 60 state b alone
seen=$(last "$work/a.con")
check pair-goes-on "$(tail -n 3 "$work/b.con" "$work/b.err")" wait_for 60 reached "$work/b.con" $((seen + 5))
"$twinstep" stop "$work/b.sock" >"$work/said" 2>&1
wait "${pid[b]}" 2>/dev/null; unset "pid[b]"
first=$(rounds "$work/b.con" | head -n 1)
check pair-no-round-lost "a showed $seen, then b ${first:-none}" \
	eval '[ "$first" -le $((seen + 2)) ] && rounds "$work/b.con" | without_gap && ! bad "$work/b.con"'
exit $failed
