#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can go wrong around a log: where it is written, what is asked of it that it does not hold, what it is compared
# with. Each time one clear line, the right status, and nothing lost.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
log=$work/log disk=$work/disk disk2=$work/disk2 out=$work/out err=$work/err
head -c 1048576 /dev/zero | tr '\0' d >"$disk"
head -c 524288 /dev/zero | tr '\0' e >"$disk2"
script='sleep 1; dd if=/dev/urandom of=/dev/vda bs=64k count=4 conv=fsync 2>/dev/null; md5sum /dev/vda /dev/vdb /bin/busybox; echo x >/dev/vdb; exit 7'
# record LOG OPTION...: a recording with a checkpoint after its first second.
record() {
	local to=$1
	shift
	timeout 600 "$twinstep" record -o "$to" --kernel "$vmlinuz" --initrd "$initramfs" --disk "$disk" --disk "$disk2,ro" \
		--epoch 100 --append "$cmdline twinstep.run=\"$script\"" "$@" 2>"$err" </dev/null
}
replay() { timeout 600 "$twinstep" replay --console none "$@" >"$out" 2>"$err" </dev/null; }
# is STATUS WORD TEST: the last command ended so, with one line that has WORD in it.
is() {
	local status=$?
	check "$3" "status $status, not $1: $(cat "$err")" \
		eval "[ $status -eq $1 ] && [ \$(lines '$err') -eq 1 ] && grep -qF -- \"$2\" '$err'"
}
json() { sed -n "s/.*\"event\":\"replay\".*\"$1\":\([a-z0-9]*\).*/\1/p" "$out"; }

record "$log" --clock virtual --checkpoint 1 --console "$work/console"
is 7 'recorded' recorded

# ---- where it goes ----
kept() { [ "$(md5sum <"$1")" = "$(md5sum <"$2")" ]; }
cp "$log" "$work/copy"
record "$log" --console none
is 2 '--force replaces it' exists
record "$disk" --force --console none
is 2 'it is a disk image of this machine' over-disk
ln "$vmlinuz" "$work/kernel" 2>/dev/null || ln -s "$PWD/$vmlinuz" "$work/kernel"
record "$work/kernel" --force --console none
is 2 'it is the kernel of this machine' over-kernel
record "$work/both" --console "$work/both"
is 2 'it is the output of a console' over-console
(
	flock -x 9
	record "$log" --force --console none
	is 2 'a recording or a machine is using it' in-use
) 9<"$log"
check log-kept "a log that was in the way is another one now" kept "$log" "$work/copy"
mkfifo "$work/fifo"
record "$work/fifo" --force --console none
is 2 'not a regular file' over-fifo
check fifo-kept "the FIFO is gone" [ -p "$work/fifo" ]
ln -s "$work/fifo" "$work/link"
record "$work/link" --force --console none
is 2 'not a regular file' over-link
check link-kept "the link is gone" [ -L "$work/link" ]
record "$work/nowhere/log" --console none
is 2 'No such file' no-directory

# ---- how far it is replayed ----
replay "$log" --json
status=$?
end=$(json count)
check whole "status $status: $(cat "$err" "$out")" eval '[ $status -eq 7 ] && [ "$(json whole)" = true ]'
replay "$log" --until 100000000 --json
check until "$(head -n 2 "$out" "$err")" eval '[ "$(json count) $(json whole)" = "100000000 false" ]'
replay "$log" --until $((end + 1))
is_beyond=$?
check until-beyond "status $is_beyond: $(cat "$err")" eval "[ $is_beyond -eq 7 ] && grep -q 'not reached: the recording ends at count $end' '$err'"
replay "$log" --from-checkpoint 0 --until 1000
is 2 'is before the checkpoint' until-before-checkpoint
start=$("$twinstep" log "$log" | sed -n 's/^checkpoint 0 .*count \([0-9]*\),.*/\1/p')
# From the checkpoint, where it is and behind it, and from the start: the same registers.
for n in "$start" $((start + 77777)); do
	replay "$log" --from-checkpoint last --until "$n"
	grep -A 40 '^RAX' "$out" >"$work/from"
	replay "$log" --until "$n"
	grep -A 40 '^RAX' "$out" >"$work/whole"
	check "until-$((n - start))" "other registers from the checkpoint: $(diff "$work/from" "$work/whole" | head -n 3)" \
		eval "grep -qE 'count $n( |$)' '$work/from' && cmp -s '$work/from' '$work/whole'"
done

# ---- what is asked of it ----
for option in "--memory 64M" "--append x" "--net none" "--clock host" "--rtc 5" "--seed 00"; do
	# shellcheck disable=SC2086
	replay "$log" $option
	is 2 'the machine is the recorded one' "not-recorded${option%% *}"
done
replay "$log" --disk "$disk" --disk "$disk2" --disk "$disk"
is 2 'has 2 disks, and 3 are given' too-many-disks
replay "$log" --virtio-console none
is 2 'has no virtio console' no-virtio-console
mv "$disk2" "$work/moved"
replay "$log"
is 2 'may have moved (use --disk)' disk-missing
replay "$log" --disk "$disk" --disk "$work/moved"
is 7 'digests agree' disk-moved
mv "$work/moved" "$disk2"

# ---- packets ----
pcap() { timeout 600 "$twinstep" log "$log" --pcap "$@" >"$out" 2>"$err" </dev/null; }
pcap "$log"
is 2 'it is the log itself' pcap-over-log
pcap "$disk"
is 2 'it is a disk image' pcap-over-disk
check pcap-kept "the log is another one now" kept "$log" "$work/copy"
pcap /dev/full
is 122 'No space left' pcap-full
pcap "$work/nowhere/pcap"
is 2 'No such file' pcap-no-directory
pcap "$work/pcap" --jail on
is 0 'packets received' pcap-jail
mv "$disk2" "$work/moved"
pcap "$work/pcap2"
is 2 'may have moved' pcap-disk-missing
mv "$work/moved" "$disk2"
check pcap-nothing "an empty file was left behind" [ ! -e "$work/pcap2" ]
pcap -
check pcap-stdout "status $?: no packet file on standard output" eval "[ \"\$(head -c 4 '$out' | od -An -tx4 | tr -d ' ')\" = a1b23c4d ]"

# ---- a log that lacks its end: in a checkpoint's pages ----
head -c $(($(stat -c %s "$log") / 2)) "$log" >"$work/short"
"$twinstep" log "$work/short" >"$out" 2>"$err"
check short-summary "status $?: $(cat "$err" "$out")" eval "grep -q '^checkpoint 0 .*(cut short)' '$out' && grep -q 'was cut short' '$err'"
replay "$work/short" --from-checkpoint 0
is 2 'no whole checkpoint' short-checkpoint
replay "$work/short" --json
status=$?
check short-replay "status $status: $(cat "$err")" eval '[ $status -eq 0 ] && [ "$(json whole)" = false ]'

# ---- two logs ----
differ() {
	"$twinstep" diff "$1" "$2" >"$out" 2>"$err"
	status=$?
	check "$3" "status $status, not $4: $(cat "$err" "$out")" eval "[ $status -eq $4 ] && grep -qF -- \"$5\" '$out'"
}
differ "$log" "$log" diff-same 0 'the same'
differ "$log" "$work/short" diff-short 1 "'$log' goes on"
record "$work/again" --clock virtual --checkpoint 1 --console none
differ "$log" "$work/again" diff-again 0 'the same'
record "$work/seed" --clock virtual --checkpoint 1 --seed 01 --console none
differ "$log" "$work/seed" diff-seed 1 'record 1, 0.000000 s: input 1 (seed)'
record "$work/rtc" --clock virtual --checkpoint 1 --rtc 5 --console none
differ "$log" "$work/rtc" diff-rtc 1 'clock at the start (--rtc)'
"$twinstep" diff "$log" "$vmlinuz" >"$out" 2>"$err"
is 2 'not a Twinstep log' diff-no-log
exit $failed
