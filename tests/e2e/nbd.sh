#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks at NBD servers, in the jail: nbdkit's files and qemu-nbd's qcow2, what is refused by name, a server that goes away,
# a pair with a server on each side.
# time limit: 1800 s
# waits for the host: gone* pair.* hung.*
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
if ! command -v nbdkit >/dev/null; then
	skip all "nbdkit is not installed"
	exit 0
fi
pids=()
cleanup() { [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null; wait 2>/dev/null; }

# uri NAME: of the server that listens on $work/NAME.nbd
uri() { echo "nbd+unix:///?socket=$work/$1.nbd"; }
# server NAME ARGUMENT...: nbdkit on that socket
server() {
	local name=$1
	shift
	nbdkit --foreground --exit-with-parent --unix "$work/$name.nbd" "$@" 2>"$work/$name.nbdkit" &
	pids+=($!)
	wait_for 20 test -S "$work/$name.nbd"
}
# guest DISK COMMAND OPTION...: a machine with that disk, which ends by itself
guest() {
	local disk=$1 command=$2
	shift 2
	timeout 300 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"$command\"" \
		--console "$work/con" --disk "$disk" "$@" 2>"$work/err"
}
# refused TEST WORDS DISK [OPTION...]: by name, before a guest runs
refused() {
	local test=$1 words=$2 disk=$3
	shift 3
	guest "$disk" true "$@"
	check "$test" "status $?: $(cat "$work/err")" grep -q -e "$words" "$work/err"
}
mark() { dd if="$1" bs=512 skip=100 count=1 2>/dev/null | tr -d '\0'; }
kept=kept-$RANDOM
read_mark="\$(dd if=/dev/vda bs=512 skip=100 count=1 | head -c ${#kept})"
write_mark="(echo $kept; cat /dev/zero) | head -c 512 | dd of=/dev/vda bs=512 seek=100 conv=fsync; echo written \$? read $read_mark"

truncate -s 8M "$work/plain.img"
server plain file "$work/plain.img"
guest "$(uri plain)" "$write_mark"
check write "$(tail -n 2 "$work/con" "$work/err")" [ "$(mark "$work/plain.img")" = "$kept" ]
check read "$(tail -n 2 "$work/con")" grep -qa "^written 0 read $kept" "$work/con"
guest "nbd:$(uri plain),overlay" "dd if=/dev/zero of=/dev/vda bs=4k count=100 conv=fsync; echo written \$?"
check overlay "$(tail -n 2 "$work/con" "$work/err")" eval \
	"grep -qa '^written 0' '$work/con' && [ '$(mark "$work/plain.img")' = '$kept' ]"

if command -v qemu-nbd >/dev/null; then
	qemu-img create -q -f qcow2 "$work/disk.qcow2" 8M
	qemu-nbd --persistent --socket "$work/qcow2.nbd" --format qcow2 "$work/disk.qcow2" &
	pids+=($!)
	wait_for 20 test -S "$work/qcow2.nbd"
	guest "$(uri qcow2)" "$write_mark"
	kill "${pids[-1]}"
	wait "${pids[-1]}"
	qemu-img convert -O raw "$work/disk.qcow2" "$work/raw.img"
	check qcow2 "$(tail -n 2 "$work/con" "$work/err")" [ "$(mark "$work/raw.img")" = "$kept" ]
else
	skip qcow2 "qemu-utils is not installed"
fi

server readonly --readonly file "$work/plain.img"
refused refused.readonly "the server lets nobody write: use ,ro" "$(uri readonly)"
guest "$(uri readonly),ro" "echo written 0 read $read_mark"
check readonly "$(tail -n 2 "$work/con" "$work/err")" grep -qa "^written 0 read $kept" "$work/con"
server odd memory 1000
refused refused.size "1000 bytes) must be a multiple of 512" "$(uri odd)"
server coarse --filter=blocksize-policy memory 8M blocksize-minimum=4k blocksize-error-policy=error
refused refused.blocks "takes requests of 4096 bytes and more" "$(uri coarse)"
refused refused.absent "cannot open disk nbd.*No such file" "$(uri absent)"
refused refused.tls "NBD over TLS is not used here" nbds://localhost/web
refused refused.scheme "cannot open disk nbd:http" nbd:http://localhost/
truncate -s 8M "$work/qcow2-inside.img"
printf 'QFI\xfb\0\0\0\3' | dd of="$work/qcow2-inside.img" conv=notrunc status=none
server inside file "$work/qcow2-inside.img"
refused refused.format "is a qcow2 image" "$(uri inside)"
"$twinstep" record -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" --disk "$(uri plain)" 2>"$work/err"
check refused.record "$(cat "$work/err")" grep -q "is at an NBD server: a recording" "$work/err"
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
"$twinstep" primary --key-file "$work/key" --arbiter "file:$work/arbiter" --listen "unix:$work/peer" --kernel "$vmlinuz" \
	--initrd "$initramfs" --disk "$(uri plain)" 2>"$work/err"
check refused.pair "$(cat "$work/err")" grep -q "is at an NBD server: say where its metadata lies" "$work/err"

# The server ends under a running guest, which sees errors from then on, and goes on.
server gone memory 8M
guest "$(uri gone)" "dd if=/dev/vda bs=1M count=1; echo read \$?; while dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct; do :; done; echo failed" &
machine=$!
check gone.before "$(tail -n 2 "$work/con" "$work/err")" wait_for 60 grep -qa '^read 0' "$work/con"
kill -9 "${pids[-1]}"
wait "$machine"
status=$?
check gone "status $status: $(tail -n 2 "$work/con" "$work/err")" eval "grep -qa '^failed' '$work/con' && [ $status -eq 0 ]"

# A pair: the join makes the second server's disk equal, and the guest's flushes are on both.
truncate -s 8M "$work/a.img" "$work/b.img"
head -c 300000 /dev/urandom | dd of="$work/a.img" conv=notrunc status=none
arbiter=$work/arbiter
declare -A servers
for side in a b; do
	server $side file "$work/$side.img"
	servers[$side]=${pids[-1]}
done
replica() {
	local side=$1 role=$2
	shift 2
	"$twinstep" "$role" --key-file "$work/key" --arbiter "file:$arbiter" --control "$work/$side.sock" --timeout 20000 \
		--console "$work/$side.con" --disk "$(uri "$side"),meta=$work/$side.twin" "$@" 2>"$work/$side.err" &
	pids+=($!)
}
protected() { "$twinstep" status "$work/a.sock" --json | grep -q '"state": *"protected"'; }
replica a primary --listen "unix:$work/peer" --kernel "$vmlinuz" --initrd "$initramfs" --append \
	"$cmdline twinstep.run=\"while sleep 0.2; do date | dd of=/dev/vda bs=512 seek=200 conv=fsync,notrunc; echo kept; done\""
replica b backup --connect "unix:$work/peer" --connect-wait 30000
check pair.protected "$(tail -n 3 "$work"/[ab].err 2>/dev/null)" wait_for 60 protected
check pair.runs "$(tail -n 3 "$work"/[ab].con 2>/dev/null)" wait_for 60 grep -qa '^kept' "$work/b.con" "$work/a.con"
check pair.verify "$(tail -n 3 "$work"/[ab].err 2>/dev/null)" "$twinstep" verify "$work/a.sock"
"$twinstep" stop "$work/a.sock"
wait "${pids[@]: -2}"
check pair.equal "the images differ" cmp "$work/a.img" "$work/b.img"
check pair.synced "nothing was sent" eval '! cmp -s -n 200000 "$work/b.img" /dev/zero'

# A server that no longer answers is a disk that hangs: the side that it serves is the one that is lost.
lines() { grep -ac '^kept' "$work/$1.con"; }
# goes_on SIDE: the guest there has written and flushed more than at the call
goes_on() {
	local before
	before=$(lines "$1")
	wait_for 30 eval "[ \$(lines $1) -gt $((before + 3)) ]"
}
# hung SIDE OTHER: a pair whose server of SIDE stops
hung() {
	local side=$1 other=$2 machines
	arbiter=$work/arbiter.$side
	"$twinstep" arbiter init "file:$arbiter"
	rm -f "$work"/[ab].con "$work"/[ab].twin
	replica a primary --listen "unix:$work/peer.$side" --hang-timeout 4000 --kernel "$vmlinuz" --initrd "$initramfs" --append \
		"$cmdline twinstep.run=\"while sleep 0.2; do date | dd of=/dev/vda bs=512 seek=200 conv=fsync,notrunc; echo kept; done\""
	replica b backup --connect "unix:$work/peer.$side" --hang-timeout 4000 --connect-wait 30000
	machines=("${pids[@]: -2}")
	check "hung.$side.protected" "$(tail -n 3 "$work"/[ab].err)" wait_for 60 protected
	goes_on a
	kill -STOP "${servers[$side]}"
	check "hung.$side.alone" "$(tail -n 3 "$work"/[ab].err)" wait_for 60 eval \
		"'$twinstep' status '$work/$other.sock' --json 2>/dev/null | grep -q '\"state\": *\"alone\"'"
	check "hung.$side.goes-on" "$(tail -n 3 "$work"/[ab].err)" goes_on "$other"
	kill -CONT "${servers[$side]}"
	"$twinstep" stop "$work/$other.sock"
	wait "${machines[@]}"
}
hung b a
hung a b
exit $failed
