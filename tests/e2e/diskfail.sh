#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair whose images lie on file systems that are full: what fails on the primary's host fails in the guest, in both
# replicas alike; a backup whose own image fails where the primary's did not is no copy any more, and ends.
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
if [ "$(id -u)" -ne 0 ]; then
	skip all "needs root: mounts small file systems"
	exit 0
fi
in_namespace "$@"
ip link set lo up
"$twinstep" keygen "$work/key"
pids=()
cleanup() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; }

# replica ROLE SIZE OPTION...: with an image of 1 MiB on a file system of SIZE
replica() {
	local role=$1 size=$2
	shift 2
	mkdir -p "$work/disk-$role"
	unshare --mount bash -c 'mount -t tmpfs -o size="$1" none "$2" && truncate -s 1M "$2/image" && shift 2 && exec "$@"' sh \
		"$size" "$work/disk-$role" "$twinstep" "$role" --key-file "$work/key" --arbiter "file:$work/arbiter" \
		--control "$work/$role.sock" --timeout 20000 --console "$work/$role.con" --disk "$work/disk-$role/image" "$@" \
		2>"$work/$role.err" &
	pids+=($!)
}
# pair PRIMARY BACKUP OPTION...: the sizes, and what the primary gets; the guest writes 400 KiB once both are there
pair() {
	rm -rf "$work/arbiter" "$work"/*.err "$work"/*.con
	"$twinstep" arbiter init "file:$work/arbiter"
	pids=()
	replica primary "$1" "${@:3}" --listen 127.0.0.1:7411 --kernel "$vmlinuz" --initrd "$initramfs" --append \
		"$cmdline twinstep.run=\"dd if=/dev/zero of=/dev/vda bs=4k count=100 conv=fsync; echo written \$?; sleep 1000\""
	wait_for 30 "$twinstep" status "$work/primary.sock"
	replica backup "$2" --connect 127.0.0.1:7411 --connect-wait 30000
	wait_for 200 grep -qa '^written' "$work/primary.con" "$work/backup.con"
}
protected() { "$twinstep" status "$work/primary.sock" --json | grep -q '"state": *"protected"'; }

pair 64k 2M --on-disk-error guest
check primary-guest-sees-it "$(tail -n 3 "$work/primary.con" "$work/primary.err")" grep -qa '^written 1' "$work/primary.con"
check primary-still-protected "$(cat "$work/primary.err" "$work/backup.err")" protected
cleanup

pair 64k 2M
check primary-hands-over "$(tail -n 3 "$work"/*.con "$work"/*.err)" wait_for 60 grep -qa '^written 0' "$work/backup.con"
check primary-says-why "$(cat "$work/primary.err")" wait_for 20 grep -q 'disk 0: No space left on device: this side ends' "$work/primary.err"
cleanup

pair 2M 64k
check backup-guest-goes-on "$(tail -n 3 "$work/primary.con" "$work/primary.err")" grep -qa '^written 0' "$work/primary.con"
timeout 600 tail --pid="${pids[1]}" -f /dev/null || kill "${pids[1]}"
wait "${pids[1]}"
status=$?
check backup-ends "status $status: $(cat "$work/backup.err")" eval \
	"[ $status -eq 122 ] && grep -q 'disk 0: .*No space left' '$work/backup.err'"
alone() { "$twinstep" status "$work/primary.sock" --json | grep -q '"state": *"alone"'; }
check backup-left-alone "$("$twinstep" status "$work/primary.sock")" wait_for 60 alone
exit $failed
