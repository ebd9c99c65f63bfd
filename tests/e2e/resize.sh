#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk grows while its guest runs, alone and in a pair; what cannot be is refused in one line.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }

# Waits for 40 MiB (81920 sectors), and writes to the last of them.
guest='echo up; while [ $(cat /sys/block/vda/size) != 81920 ]; do sleep 0.1; done; echo seen;
	tr \\000 Z </dev/zero | dd of=/dev/vda bs=64k seek=639 count=1 iflag=fullblock conv=fsync,notrunc 2>/dev/null && echo written; sleep 1000'
boot=(--kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"${guest//$'\n'/ }\"")
# resize STATUS TEXT NAME OPTION...: ends with that status and says that, in one line
resize() {
	timeout 600 "$twinstep" resize "$work/$3.sock" "${@:4}" >"$work/said" 2>&1
	[ $? -eq "$1" ] && grep -q "$2" "$work/said" && [ "$(wc -l <"$work/said")" -eq 1 ]
}
: >"$work/said"
said() { cat "$work/said" "$work"/*.err; tail -n 3 "$work"/*.con; }
tail_of() { head -c 41943040 "$1" | tail -c 65536 | tr -d Z | wc -c; }

# ---- alone
truncate -s 20M "$work/alone.img"
"$twinstep" run "${boot[@]}" --disk "$work/alone.img" --control "$work/alone.sock" --console "$work/alone.con" 2>"$work/alone.err" &
pid[alone]=$!
wait_for 60 grep -aq '^up' "$work/alone.con"
check shrink "$(said)" resize 1 'does not shrink' alone --disk 0 --size 10M
check unknown-disk "$(said)" resize 1 'there is no disk 3' alone --disk 3 --size 40M
check nonsense "$(said)" resize 2 'not a size' alone --disk 0 --size much
check odd-size "$(said)" resize 1 'multiple of 512' alone --disk 0 --size 40000001
check no-size "$(said)" resize 2 'needs --disk N and --size' alone --disk 0
check untouched "$(stat -c %s "$work/alone.img")" [ "$(stat -c %s "$work/alone.img")" -eq 20971520 ]
check grows "$(said)" resize 0 'disk 0 has 41943040 bytes' alone --disk 0 --size +20M
check guest-writes-there "$(said)" wait_for 30 grep -aq '^written' "$work/alone.con"
"$twinstep" stop "$work/alone.sock"
wait "${pid[alone]}"
pid=()
check image-is-long "$(stat -c %s "$work/alone.img")" [ "$(stat -c %s "$work/alone.img")" -eq 41943040 ]
check data-is-there "$(tail_of "$work/alone.img") other bytes" [ "$(tail_of "$work/alone.img")" -eq 0 ]

# ---- a pair
# replica SIDE ROLE OPTION...
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 --hang-timeout 60000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --disk "$work/$1.img" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
truncate -s 20M "$work/a.img" "$work/b.img"
replica a primary "${boot[@]}"
replica b backup --connect "unix:$work/a.peer" --connect-wait 30000
wait_for 60 state a protected
wait_for 120 grep -aq '^up' "$work/a.con"
check backup-refuses "$(said)" resize 1 'not live' b --disk 0 --size 40M
check pair-grows "$(said)" resize 0 'has 41943040 bytes' a --disk 0 --size 40M
check pair-guest-writes "$(said)" wait_for 60 grep -aq '^written' "$work/a.con"
check still-protected "$("$twinstep" status "$work/a.sock")" state a protected
mapfile -t killed < <(tree "${pid[a]}")
kill -9 "${pid[a]}"
check lives-on "$(said)" wait_for 60 state b alone
wait_for 20 over "${killed[@]}" # and with them what they hold
replica a backup --connect "unix:$work/b.peer" --connect-wait 30000
check joins-again "$(said)" wait_for 60 state b protected
check pair-verify "$(said)" eval '"$twinstep" verify "$work/b.sock" >"$work/said" 2>&1'

# ---- a copy that was away when the disk grew; not one that is new and happens to be short
kill -9 "${pid[a]}"
wait "${pid[a]}" 2>/dev/null
wait_for 60 state b alone
check grows-alone "$(said)" resize 0 'has 50331648 bytes' b --disk 0 --size +8M
truncate -s 40M "$work/c.img"
replica c backup --connect "unix:$work/b.peer" --connect-wait 30000
wait "${pid[c]}"
check new-is-short "status $?: $(said)" grep -q 'size and read-only must be the same' "$work/c.err"
unset "pid[c]"
check new-is-untouched "$(stat -c '%s %b' "$work/c.img")" [ "$(stat -c '%s %b' "$work/c.img")" = '41943040 0' ]
replica a backup --connect "unix:$work/b.peer" --connect-wait 30000
check missed-growth.joins "$(said)" wait_for 60 state b protected
check missed-growth.length "$(stat -c %s "$work/a.img")" [ "$(stat -c %s "$work/a.img")" -eq 50331648 ]
check missed-growth.verify "$(said)" eval '"$twinstep" verify "$work/b.sock" >"$work/said" 2>&1'

# ---- a live side whose image has grown, and which is lost before its guest and its backup know
ask() { python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b"\n"); print(s.recv(4096).decode())' "$@"; }
hangs() { [ "$("$twinstep" status "$work/$1.sock" --json | sed -n 's/.*"vcpu_ms": *\([0-9]*\).*/\1/p')" -ge 5000 ]; }
long() { [ "$(stat -c %s "$1")" -eq "$2" ]; }
check grew-alone.hangs "$(said)" eval 'ask "$work/b.sock" "{\"command\": \"fault\", \"kind\": \"hang\", \"ms\": 0}" | grep -q "\"ok\": *true"'
check grew-alone.stands "$(said)" wait_for 60 hangs b
timeout 60 "$twinstep" resize "$work/b.sock" --disk 0 --size 64M >/dev/null 2>&1 &
pid[resize]=$!
check grew-alone.image "$(said)" wait_for 60 long "$work/b.img" 67108864
mapfile -t killed < <(tree "${pid[b]}")
kill -9 "${pid[b]}"
wait "${pid[b]}" "${pid[resize]}" 2>/dev/null
unset "pid[resize]"
check grew-alone.lives-on "$(said)" wait_for 60 state a alone
wait_for 20 over "${killed[@]}"
replica b backup --connect "unix:$work/a.peer" --connect-wait 30000
check grew-alone.joins "$(said)" wait_for 60 state a protected
check grew-alone.length "$(stat -c %s "$work/b.img")" long "$work/b.img" 50331648
check grew-alone.verify "$(said)" eval '"$twinstep" verify "$work/a.sock" >"$work/said" 2>&1'
"$twinstep" stop "$work/a.sock"
wait "${pid[a]}" "${pid[b]}"
pid=()
check pair-images-are-long "$(stat -c %s "$work"/[ab].img)" [ "$(stat -c %s "$work/a.img" "$work/b.img" | uniq)" = 50331648 ]
check pair-images-equal "$(cmp "$work/a.img" "$work/b.img")" cmp -s "$work/a.img" "$work/b.img"
check pair-data-is-there "$(tail_of "$work/a.img") other bytes" [ "$(tail_of "$work/a.img")" -eq 0 ]

# ---- a recording: the overlay grows, the image stays; the replay grows at the same instruction
truncate -s 20M "$work/base.img"
"$twinstep" record -o "$work/log" "${boot[@]}" --disk "$work/base.img" --control "$work/rec.sock" --console "$work/rec.con" \
	2>"$work/rec.err" &
pid[rec]=$!
wait_for 120 grep -aq '^up' "$work/rec.con"
check recording-grows "$(said)" resize 0 'has 41943040 bytes' rec --disk 0 --size 40M
check recording-guest-writes "$(said)" wait_for 60 grep -aq '^written' "$work/rec.con"
"$twinstep" stop "$work/rec.sock"
wait "${pid[rec]}"
pid=()
check base-untouched "$(stat -c %s "$work/base.img")" [ "$(stat -c %s "$work/base.img")" -eq 20971520 ]
timeout 300 "$twinstep" replay "$work/log" --console "$work/replay.con" >"$work/said" 2>&1
check replays "status $?: $(said)" cmp "$work/rec.con" "$work/replay.con"
exit $failed
