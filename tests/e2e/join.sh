#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup joins a guest that writes all over its memory: the memory goes ahead while the guest runs, and little is left
# for the moment in which it stands still. A link that is cut on the way, and a backup that stops, cost the guest nothing.
# MIB=... of memory in use (256), GUEST=idle instead of dirtying: prints what a join costs.
# time limit: 1800 s
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
mib=${MIB:-256}
[ "${GUEST:-}" = idle ] && dirties=0 || dirties=1
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }

make_guest() {
	${CC:-gcc} -m32 -DMIB="$mib" -DDIRTIES="$dirties" -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none \
		-o "$work/toucher.elf" "$here/toucher.S"
}
if ! make_guest; then
	not_ok build "cannot build the guest"
	exit 1
fi
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null

# replica SIDE ROLE OPTION...
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --console none \
		--debug-console "$work/$1.out" --timeout 5000 --events "$work/$1.events" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
backup() { replica "$1" backup --connect "unix:${2:-$work/a.peer}" --connect-wait 30000 --listen "unix:$work/$1.peer"; }
end() {
	kill -9 "$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children")" 2>/dev/null || kill -9 "${pid[$1]}" 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}
number() { "$twinstep" status "$work/$1.sock" --json | grep -o "\"$2\": *[0-9.]*" | head -n 1 | sed "s/.*: *//"; }
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
events() { grep -c "\"event\":\"$2\"" "$work/$1.events" 2>/dev/null; }
more() { [ "$(events "$1" "$2")" -gt "$3" ]; }
passes() { tr -dc . <"$work/$1.out" | wc -c; }
passed() { [ "$(passes "$1")" -gt "$2" ]; }
# The last round's KiB, all KiB and the pause in ms, of the backup that joined last.
last() { sed -n 's/.*has the state: \([0-9]*\) KiB of memory sent, the last \([0-9]*\) KiB after a pause of \([0-9.]*\) ms.*/\2 \1 \3/p' "$work/a.events" | tail -n 1; }
told() { [ -n "$(last)" ]; }

replica a primary --no-wait --join-timeout 1000 --listen "unix:$work/a.peer" --memory $((mib + 64))M --kernel "$work/toucher.elf"
wait_for 120 passed a 0 || not_ok starts "$(cat "$work/a.err")"

# ---- a join ----
backup b
check joins "$(cat "$work"/*.err)" wait_for 60 state a protected
wait_for 20 told # events are written by the way
read -r last all pause < <(last)
echo "# $mib MiB ${GUEST:-dirtying}: pause $pause ms, $last KiB in the last round, $all KiB in all"
if [ -n "${MIB:-}" ]; then exit; fi
# --max-pause 50 has room for 2,500 pages, whatever the guest holds and the link takes.
check last-round "$last of $all KiB" [ "$last" -le 10000 ]
check all-of-it "$all KiB" [ "$all" -ge $((mib * 1024)) ]
check pause-shown "$(number a join_pause_ms)" [ -n "$(number a join_pause_ms)" ]
n=$(events a unprotected)
end b
wait_for 20 more a unprotected "$n"
n=$(passes a)
check goes-on-alone "$(cat "$work/a.err")" wait_for 60 passed a "$n"

# ---- a link that is cut ----
# Each time it goes on over a new connection with what it has, and the guest has seen nothing of it.
relay() {
	rm -f "$work/cut" "$work/cut.ready"
	python3 "$here/cut.py" "$work/cut" "$work/a.peer" "$@" &
	relay=$!
	wait_for 10 test -e "$work/cut.ready"
}
kept() { sed -n 's/.*has the state:.*; it had \([0-9]*\) KiB already.*/\1/p' "$work/a.events" | tail -n 1; }
went_on() { [ "$(number a instructions)" -gt "$before" ]; }
for percent in 10 50 90; do
	n=$(events a refused) m=$(events a protected) before=$(number a instructions)
	relay $((mib * 1048576 * percent / 100))
	backup b "$work/cut"
	check "cut-$percent" "$(tail -n 3 "$work/a.err")" wait_for 60 more a refused "$n"
	wait "$relay" 2>/dev/null
	check "cut-$percent.alone" "$(cat "$work/a.err")" wait_for 20 state a alone
	check "cut-$percent.waits" "$(cat "$work/b.err")" wait_for 20 more b interrupted 0
	# The next one is cut in the handshake already, which says nothing of the key.
	relay -1
	wait "$relay" 2>/dev/null
	relay 0
	check "cut-$percent.resumed" "$(tail -n 3 "$work/b.err")" wait_for 60 more a protected "$m"
	check "cut-$percent.went-on" "$before" went_on
	n=$(events a unprotected)
	end b
	wait_for 20 more a unprotected "$n"
	kill "$relay" 2>/dev/null
	wait "$relay" 2>/dev/null
	rm -f "$work/b.events" "$work/b.peer" "$work/b.sock"
done

# ---- a link that is slower than the guest ----
n=$(events a unprotected) m=$(events a protected) before=$(number a instructions) told=$(events a slow-join)
relay 0 "" 33554432
backup b "$work/cut"
check slow.told "$(tail -n 3 "$work/a.err")" wait_for 60 more a slow-join "${told:-0}"
check slow.told.what "$(tail -n 3 "$work/a.events")" grep -q 'has not joined after [0-9]* s: [0-9]* MiB are left, ' "$work/a.events"
check slow.went-on "$before" went_on
check slow.joins "$(tail -n 3 "$work/a.err")" wait_for 120 more a protected "$m"
end b
wait_for 20 more a unprotected "$n"
wait "$relay" 2>/dev/null
rm -f "$work/b.events" "$work/b.peer" "$work/b.sock"

# ---- a backup that stops ----
n=$(events a refused) before=$(number a instructions)
relay $((mib * 1048576 / 4)) "$work/held"
backup b "$work/cut"
check stopped.begins "$(tail -n 3 "$work/b.err")" wait_for 60 test -e "$work/held"
stopped=$(cat "/proc/${pid[b]}/task/${pid[b]}/children")
kill -STOP ${stopped:-${pid[b]}}
rm "$work/held"
check stopped "$(tail -n 3 "$work/a.err")" wait_for 20 more a refused "$n"
check stopped.alone "$(cat "$work/a.err")" wait_for 20 state a alone
check stopped.went-on "$before" went_on
end b
wait "$relay" 2>/dev/null
rm -f "$work/b.events"

# ---- one that was cut, and has all of it all the same ----
n=$(events a refused)
relay $((mib * 1048576 / 2))
backup b "$work/cut"
wait_for 60 more a refused "$n"
wait "$relay" 2>/dev/null
relay 0
check joins-again "$(cat "$work"/*.err)" wait_for 60 state a protected
check joins-again.resumed "$(cat "$work/b.events")" wait_for 20 more b interrupted 0
end a
check goes-live "$(cat "$work/b.err")" wait_for 20 state b alone
n=$(passes b)
# Two passes: each looks at every word that the one before has left there.
check memory-is-right "$(tail -c 100 "$work/b.out")" wait_for 120 passed b $((n + 1))
check nothing-differs "$(cat "$work/b.out")" [ -z "$(tr -dc X <"$work/b.out")" ]
end b
kill "$relay" 2>/dev/null

# ---- what came before the cut is not sent again, where the guest has left it as it was ----
rm -f "$work"/[ab].*
dirties=0
make_guest
"$twinstep" arbiter init "file:$work/arbiter.idle" >/dev/null
replica a primary --no-wait --join-timeout 1000 --listen "unix:$work/a.peer" --memory $((mib + 64))M --kernel "$work/toucher.elf" --arbiter "file:$work/arbiter.idle"
wait_for 120 passed a 0 || not_ok idle.starts "$(cat "$work/a.err")"
relay $((mib * 1048576 / 2))
replica b backup --connect "unix:$work/cut" --connect-wait 30000 --listen "unix:$work/b.peer" --arbiter "file:$work/arbiter.idle"
wait_for 60 more a refused 0
wait "$relay" 2>/dev/null
relay 0
check kept.protected "$(cat "$work"/*.err)" wait_for 60 state a protected
wait_for 20 told # events are written by the way
read -r last all pause < <(last)
echo "# idle, cut at 50 %: $all KiB sent afterwards, $(kept) KiB were there"
check kept "$(kept) KiB" [ "0$(kept)" -ge $((mib * 1024 / 4)) ]
check kept.not-sent "$all KiB" [ "$all" -le $((mib * 1024 * 3 / 4 + 10000)) ]
check kept.told "$(cat "$work/a.events")" wait_for 20 grep -q 'resumed, it has [0-9]* KiB' "$work/a.events"
end a # first: without the relay it would go on alone
check kept.goes-live "$(cat "$work/b.err")" wait_for 20 state b alone
kill "$relay" 2>/dev/null
exit $failed
