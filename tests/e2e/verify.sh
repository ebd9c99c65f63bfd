#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What somebody else has written to one image of a protected pair is found, named, and mended from the side that is said.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }

# The guest writes to the first half of disk 0 all the time, once it has said that it is up. Before that its kernel reads
# the disks, and the two guests would differ where one side of what it reads is damaged.
guest='echo up; i=0; while :; do i=$((i+1)); dd if=/dev/urandom of=/dev/vda bs=16k seek=$((i*37%512)) count=1 conv=fsync,notrunc 2>/dev/null || echo BAD; done'
# replica SIDE ROLE OPTION...
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --disk "$work/$1-0.img" --disk "$work/$1-1.img" \
		--events "$work/$1.events" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/a.sock" --json | grep -q "\"state\": *\"$1\""; }
# rot SIDE DISK OFFSET: a byte that nobody has asked to be written
rot() { printf X | dd of="$work/$1-$2.img" bs=1 seek="$3" conv=notrunc status=none; }
# verify STATUS TEXT OPTION...: ends with that status and says that
verify() {
	timeout 600 "$twinstep" verify "$work/a.sock" "${@:3}" >"$work/said" 2>&1
	[ $? -eq "$1" ] && grep -q "$2" "$work/said"
}
: >"$work/said"
said() { cat "$work/said" "$work"/?.err; }
same() { cmp "$work/a-0.img" "$work/b-0.img" && cmp "$work/a-1.img" "$work/b-1.img"; }

truncate -s 20M "$work/a-0.img"
head -c 5000k /dev/urandom >"$work/a-1.img"
cp "$work/a-1.img" "$work/b-1.img"
truncate -s 20M "$work/b-0.img"
pair() {
	replica a primary --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$guest\"" "$@"
	replica b backup --connect "unix:$work/a.peer" --connect-wait 30000
	wait_for 60 state protected
	wait_for 120 grep -aq '^up' "$work/a.con"
}
end() {
	"$twinstep" stop "$work/a.sock"
	wait "${pid[a]}" "${pid[b]}"
	pid=()
}
pair
check nothing-differs "$(said)" verify 0 '^399 of 399 blocks compared, 0 differ'
"$twinstep" verify "$work/b.sock" >"$work/said" 2>&1
check backup-refuses "$(said)" grep -q 'not the live side' "$work/said"
check no-such-disk "$(said)" verify 1 'no such disk' --disk 3

rot b 0 15000000
rot b 1 5119999
check named "$(said)" verify 1 'disk 0 differs in the block at byte 14942208'
check last-block-named "$(said)" grep -q 'disk 1 differs in the block at byte 5111808' "$work/said"
check one-disk "$(said)" verify 1 '^79 of 79 blocks compared, 1 differ, 0 of them mended' --disk 1
check event "$(said)" wait_for 20 grep -q '"event":"differs".*disk 0' "$work/a.events"
check mended-from-the-live-side "$(said)" verify 0 '2 differ, 2 of them mended' --mend live
check equal-then "$(said)" verify 0 ' 0 differ'

rot a 0 15728639
rot a 1 0
check mended-from-the-backup "$(said)" verify 0 '2 differ, 2 of them mended' --mend backup
check equal-again "$(said)" verify 0 ' 0 differ'
check still-protected "$("$twinstep" status "$work/a.sock")" state protected
check guest-goes-on "$(tail -n 3 "$work/a.con")" eval '! grep -aq BAD "$work/a.con"'
end
check images-equal "$(same 2>&1)" same

: >"$work/a.events"
pair --scrub 0.00002
check scrub "$(said)" wait_for 20 grep -q '"event":"verified".*399 blocks' "$work/a.events"
end
exit $failed
