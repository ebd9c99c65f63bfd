#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What becomes of secrets in memory: guest RAM is sealed, mapped by one process, in no core file, not mergeable and gone at
# the end; a pair's key is in one locked page and nowhere else once the handshake is done, on both sides.
# waits for the host: protected
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
if [ "$(id -u)" -ne 0 ]; then
	skip all "needs root: a jailed process shows its memory to nobody else"
	exit 0
fi
in_namespace "$@"
ip link set lo up
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
replica() {
	local role=$1
	shift
	"$twinstep" "$role" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$role.sock" --timeout 20000 \
		--console none "$@" 2>"$work/$role.err" &
}
# A secret in the guest's memory: the command line is copied there.
secret=tw1nstep-s3cret-$RANDOM$RANDOM
replica primary --listen 127.0.0.1:7401 --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline secret=$secret" --clock host
primary=$!
backup=
cleanup() { kill "$primary" $backup 2>/dev/null; wait 2>/dev/null; }
wait_for 30 "$twinstep" status "$work/primary.sock"
replica backup --connect 127.0.0.1:7401 --connect-wait 30000
backup=$!
protected() { grep -q PROTECTED "$work/primary.err"; }
check protected "no backup: $(cat "$work/primary.err" "$work/backup.err")" wait_for 120 protected
[ $failed -eq 0 ] || exit 1
inner() { cat /proc/"$1"/task/*/children | tr ' ' '\n' | head -n 1; }
for role in primary backup; do
	pid=$(inner "${!role}")
	ram=$(grep -A 30 'memfd:twinstep-guest-ram' "/proc/$pid/smaps" | grep -m 1 VmFlags)
	check "$role-not-dumped" "guest memory would be in a core file: $ram" grep -qw dd <<<"$ram"
	check "$role-not-merged" "guest memory may be merged: $ram" eval "! grep -qw mg <<<'$ram'"
	inode=$(grep -m 1 'memfd:twinstep-guest-ram' "/proc/$pid/maps" | awk '{ print $5 }')
	n=$(grep -lE "^([^ ]+ +){4}$inode +/memfd:twinstep-guest-ram" /proc/[0-9]*/maps 2>/dev/null | wc -l)
	check "$role-one-process" "$n processes map its guest memory" [ "$n" -eq 1 ]
	check "$role-locked" "no locked memory" [ "$(sed -n 's/^VmLck:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")" -ge 4 ]
	keeper=$(inner "$pid")
	places=$(python3 tests/e2e/memory_scan.py "$work/key" "${!role}" "$pid" $keeper)
	check "$role-key-once" "the key is at: $places" [ "$(grep -c . <<<"$places")" -eq 1 ]
	check "$role-key-locked" "the key is at: $places" grep -q ' raw .*,lo,.*,dd ' <<<"$places"
	fds=$(ls -l "/proc/$pid/fd" | grep twinstep-guest-ram | sed 's/.* \([0-9]*\) -> .*/\1/')
	check "$role-sealed" "seals of guest memory" python3 -c "
import fcntl, os, sys
fd = os.open('/proc/$pid/fd/$fds', os.O_RDONLY)
sys.exit(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & 7 != 7)"
done
# Whoever held the primary's memory open finds nothing in it once the machine has ended in order.
pid=$(inner "$primary")
fd=$(ls -l "/proc/$pid/fd" | grep twinstep-guest-ram | sed 's/.* \([0-9]*\) -> .*/\1/')
exec 9<"/proc/$pid/fd/$fd"
check secret-there "the guest's memory was not found" grep -qa "$secret" /proc/self/fd/9
kill "$primary" $backup
wait "$primary" $backup 2>/dev/null
check wiped "the guest's memory is still there" eval "! tr -d '\\0' <&9 | grep -q ."
exec 9<&-
cleanup() { :; }
exit $failed
