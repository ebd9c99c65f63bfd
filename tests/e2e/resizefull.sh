#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk that cannot grow where its image lies: on a full file system of either side of a pair, on a block device that is
# still short. What is refused has left nothing half done, and the guest goes on.
# waits for the host: *
# beside others
if [ "${TWINSTEP_MOUNTS:-}" != 1 ]; then
	flags=(--mount --propagation private)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	if ! unshare "${flags[@]}" true 2>/dev/null; then
		echo "skip resizefull.all: cannot make a namespace for mounts here"
		exit 0
	fi
	TWINSTEP_MOUNTS=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
need_guest
"$twinstep" keygen "$work/key"
declare -A pid
loop=
cleanup() {
	[ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null
	wait 2>/dev/null
	[ -z "$loop" ] || losetup -d "$loop"
	umount "$work/a" "$work/b" 2>/dev/null
}

# replica SIDE ROLE DISK OPTION...
replica() {
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --disk "$3" "${@:4}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
# resize STATUS TEXT NAME OPTION...: ends with that status and says that, in one line
resize() {
	timeout 120 "$twinstep" resize "$work/$3.sock" "${@:4}" >"$work/said" 2>&1
	[ $? -eq "$1" ] && grep -q "$2" "$work/said" && [ "$(wc -l <"$work/said")" -eq 1 ]
}
said() { cat "$work/said" "$work"/*.err; tail -n 3 "$work"/*.con; }
: >"$work/said"
long() { [ "$(stat -c %s "$1")" -eq "$2" ]; }
boot() { echo --kernel "$vmlinuz" --initrd "$initramfs" --append; }

# ---- file systems that are full: the metadata of so long a disk finds no room there, where the sparse image would
mkdir "$work/a" "$work/b"
for side in a b; do
	mount -t tmpfs -o size=256k none "$work/$side"
	truncate -s 20M "$work/$side/disk.img"
done
fill() { head -c 1M /dev/zero >"$work/$1/filler" 2>/dev/null; }
"$twinstep" arbiter init "file:$work/arbiter"
replica a primary "$work/a/disk.img" $(boot) "$cmdline twinstep.run=\"echo up; sleep 1000\""
replica b backup "$work/b/disk.img" --connect "unix:$work/a.peer" --connect-wait 30000
wait_for 60 state a protected
wait_for 120 grep -aq '^up' "$work/a.con"
fill a
check live-is-full "$(said)" resize 1 'disk 0 cannot grow to 8589934592 bytes: No space left' a --disk 0 --size 8G
check live-is-full.length "$(stat -c %s "$work/a/disk.img")" long "$work/a/disk.img" 20971520
check live-is-full.backup "$(stat -c %s "$work/b/disk.img")" long "$work/b/disk.img" 20971520
check live-is-full.protected "$(said)" state a protected
rm "$work/a/filler"
fill b
check backup-is-full "$(said)" resize 0 'disk 0 has 8589934592 bytes' a --disk 0 --size 8G
check backup-is-full.alone "$(said)" wait_for 60 state a alone
wait "${pid[b]}"
check backup-is-full.says-why "$(said)" grep -q 'disk 0: .*No space left' "$work/b.err"
check backup-is-full.length "$(stat -c %s "$work/b/disk.img")" long "$work/b/disk.img" 20971520
rm "$work/b/filler"
replica b backup "$work/b/disk.img" --connect "unix:$work/a.peer" --connect-wait 30000
check then-there-is-room "$(said)" wait_for 60 state a protected
check then-there-is-room.length "$(stat -c %s "$work/b/disk.img")" long "$work/b/disk.img" 8589934592
kill -9 "${pid[a]}"
check lives-on "$(said)" wait_for 60 state b alone
"$twinstep" stop "$work/b.sock"
wait "${pid[a]}" "${pid[b]}" 2>/dev/null
pid=()

# ---- a block device, which somebody else makes longer; what lay behind its end is nobody's
truncate -s 20M "$work/device.img" "$work/file.img"
if ! loop=$(losetup -f --show "$work/device.img" 2>/dev/null); then
	loop=
	skip device "cannot make a loop device here"
	exit $failed
fi
guest='echo up; while [ $(cat /sys/block/vda/size) != 81920 ]; do sleep 0.1; done;
	tr \\000 Z </dev/zero | dd of=/dev/vda bs=64k seek=639 count=1 iflag=fullblock conv=fsync,notrunc 2>/dev/null && echo written; sleep 1000'
"$twinstep" arbiter init "file:$work/arbiter.device"
replica c primary "$loop,meta=$work/device.twin" --arbiter "file:$work/arbiter.device" $(boot) \
	"$cmdline twinstep.run=\"${guest//$'\n'/ }\""
replica d backup "$work/file.img" --arbiter "file:$work/arbiter.device" --connect "unix:$work/c.peer" --connect-wait 30000
wait_for 60 state c protected
wait_for 120 grep -aq '^up' "$work/c.con"
check device-is-short "$(said)" resize 1 'disk 0 cannot grow to 41943040 bytes: .*made longer first' c --disk 0 --size 40M
check device-is-short.protected "$(said)" state c protected
check device-is-short.backup "$(stat -c %s "$work/file.img")" long "$work/file.img" 20971520
head -c 20M /dev/urandom >>"$work/device.img"
losetup -c "$loop"
check device-grows "$(said)" resize 0 'disk 0 has 41943040 bytes' c --disk 0 --size 40M
check device-grows.written "$(said)" wait_for 60 grep -aq '^written' "$work/c.con"
check device-grows.protected "$(said)" state c protected
"$twinstep" stop "$work/c.sock"
wait "${pid[c]}" "${pid[d]}"
pid=()
check device-equal "$(cmp "$loop" "$work/file.img")" cmp -s "$loop" "$work/file.img"
check device-data "of 65536: $(tail -c 65536 "$work/file.img" | tr -d Z | wc -c)" [ "$(tail -c 65536 "$work/file.img" | tr -d Z | wc -c)" -eq 0 ]
exit $failed
